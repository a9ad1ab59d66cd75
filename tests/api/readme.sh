#!/usr/bin/env bash
# What README.md says is so.
#
#   readme.sh <source tree>
#
# shellcheck disable=SC2016
#
# Fences, by their first line:
#   ```sh          is run, in order, in one shell, in a copy of the source tree
#                  and with a home of its own;
#   ```sh WORD     takes minutes, or would run this test again: its program must
#                  be there and parse, and is run by hand or by another test;
#   ```text        after ```sh: each line but "..." is one that the commands
#                  printed, numbers and the per-CPU form aside.  After
#                  ```sh demo and ```sh bench: the headings are those of the
#                  report.  After ```sh check: the last line is of that form;
#   ```c FILE      is that file.
# Any other fence is refused.  A picture that the commands make, or the page shows,
# is XML.  Options are ones that the library accepts, all of
# its own among them, and the bound on magazines is the one that a unit test adds
# up.
set -euo pipefail
cd "$1"
api=$PWD/tests/api
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

complain()
{
	echo "README.md: $*"
	bad=1
}

# Each fenced block to a file NUMBER.KIND, its words to NUMBER.words.
split_fences()
{
	awk -v work="$work" '
	/^```/ && !open {
		open = 1
		kind = substr($1, 4)
		name = sprintf("%s/%02d.%s", work, ++n, kind)
		printf "" >name
		words = $0
		sub(/^```[a-z]* */, "", words)
		printf "%s", words >(sprintf("%s/%02d.words", work, n))
		next
	}
	/^```/ {
		open = 0
		close(name)
		next
	}
	open {
		print >name
	}' README.md
}

# Numbers, columns and what depends on the kernel.
normal()
{
	sed -E -e 's/0x[0-9a-f]+/P/g' -e 's/[0-9]+/N/g' -e 's/[ \t]+/ /g' \
		-e 's/(per-CPU form:).*/\1/' "$@"
}

# printed <README's text> <real text>
printed()
{
	local line
	while IFS= read -r line; do
		[ "$line" = ... ] && continue
		normal <<<"$line" >"$work/line"
		normal "$2" | grep -Fxq -e "$(cat "$work/line")" ||
			complain "nothing prints: $line"
	done <"$1"
}

# The programs that are not run here.
by_hand()
{
	local program
	read -r program _ <"$1"
	if [ ! -x "$program" ] || ! bash -n "$program"; then
		complain "$program cannot be run"
	fi
}

# What of a report does not depend on what was measured.
headings_of()
{
	case $1 in
	demo)
		awk -f examples/demo/table.awk </dev/null
		;;
	bench)
		printf '%s pair.64 1 1 1\n' glibc jemalloc mimalloc tcmalloc quarry |
			awk -f bench/median.awk -f bench/report.awk -f bench/chart.awk \
				-v names='glibc jemalloc mimalloc tcmalloc quarry' |
			head -n 1
		;;
	esac
}

copy_tree()
{
	mkdir "$work/tree" "$work/home"
	tar -c --exclude=./.git --exclude='./build*' . | tar -x -C "$work/tree"
}

# run_blocks <file>...: one shell runs them all; the output of each is beside it.
run_blocks()
{
	{
		echo 'set -eu'
		for block; do
			printf 'exec >%q 2>&1\n' "$block.out"
			cat "$block"
		done
	} >"$work/all"
	if ! (cd "$work/tree" && HOME=$work/home bash "$work/all"); then
		complain 'a command failed; the last ones printed:'
		tail -n 20 "$work"/*.out
	fi
}

split_fences
blocks=()
last=
for words in "$work"/*.words; do
	n=${words%.words}
	word=$(<"$words")
	if [ -e "$n.sh" ]; then
		last=$n.sh
		if [ -z "$word" ]; then
			blocks+=("$n.sh")
		else
			by_hand "$n.sh"
		fi
	elif [ -e "$n.c" ]; then
		diff -u "$word" "$n.c" || complain "quotes another $word"
	elif [ -e "$n.text" ]; then
		[ -n "$last" ] || complain 'text of no command'
		echo "$last" >"$n.of"
		last=
	else
		complain "a fence of no known kind: ${n##*/}"
	fi
done
[ ${#blocks[@]} -gt 0 ] || complain 'no commands'

copy_tree
run_blocks "${blocks[@]}"
find "$work/tree" -name '*.svg' >"$work/pictures"
while IFS= read -r picture; do
	python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' \
		"$picture" 2>"$work/why" ||
		complain "${picture#"$work/tree/"}: $(tail -n 1 "$work/why")"
done <"$work/pictures"

for of in "$work"/*.of; do
	text=${of%.of}.text
	block=$(<"$of")
	word=$(<"${block%.sh}.words")
	case $word in
	'')
		printed "$text" "$block.out"
		;;
	check)
		echo '1 passed, 0 failed, 0 skipped' >"$work/report"
		tail -n 1 "$text" >"$work/last"
		printed "$work/last" "$work/report"
		;;
	*)
		headings_of "$word" >"$work/report"
		printed "$work/report" "$text"
		;;
	esac
done

"$api/options.sh" . >"$work/accepted"
sed -nE 's/^\| `([A-Z_]+)` \| `([a-z_]+)[=`].*/\1 \2/p' README.md | sort \
	>"$work/listed"
comm -13 "$work/accepted" "$work/listed" >"$work/unknown"
grep '^QUARRY_OPTIONS' "$work/accepted" | comm -23 - "$work/listed" \
	>"$work/missing"
for wrong in unknown missing; do
	[ ! -s "$work/$wrong" ] ||
		complain "$wrong options: $(paste -s -d, "$work/$wrong")"
done

read -r sizes most first < <(sed -n \
	's/.*CLASSES = \([0-9]*\), KIB_PER_CPU = \([0-9]*\), KIB_AT_FIRST = \([0-9]*\).*/\1 \2 \3/p' \
	tests/unit/umem/umem_bound_test.c) || :
for page in README.md man/quarry_malloc.7; do
	tr '\n' ' ' <"$page" | grep -q "all $sizes sizes.* $first KiB.* $most KiB" ||
		complain "$page: the bounds on magazines are not $first and $most KiB"
done
exit $bad
