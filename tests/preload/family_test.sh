#!/bin/sh
# The malloc family keeps its promises to a program that is preloaded with the
# library, linked with the shared or the static one, or linked with no shared
# library at all.
set -eu

cd "$QUARRY_BUILD/tests/preload"
unset LD_PRELOAD
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

fail() {
	echo "$*"
	cat "$out/stdout" "$out/stderr"
	exit 1
}

# run <program> [<argument>...]: its tests pass, and it is silent otherwise.
run() {
	preload=$QUARRY_PRELOAD
	case $1 in
	*_shared | *_static | *_alone) preload= ;;
	esac
	program=./$1
	shift
	LD_PRELOAD=$preload "$program" "$@" >"$out/stdout" 2>"$out/stderr" ||
		fail "$program: exit status $?"
	[ ! -s "$out/stderr" ] || fail "$program: something on stderr"
}

for form in '' _shared _static _alone; do
	for name in sizes realloc pairs info threads early lifecycle cxx; do
		[ -x "$name$form" ] || continue
		run "$name$form"
		[ "$(grep -c '^ok ' "$out/stdout")" -gt 1 ] ||
			fail "$name$form: no tests"
		echo "$name$form: $(grep -c '^ok ' "$out/stdout") tests"
	done
done

# Operators of C++: before those of another malloc, and with a program's own.
for name in operators replaced; do
	[ -x "$name" ] || continue
	run "$name"
	echo "$name: $(grep -c '^ok ' "$out/stdout") tests"
done

# Where new has no memory, the operator behind ours says what happens; if there is
# none, we do.
if LD_PRELOAD=$QUARRY_PRELOAD ./runtime >"$out/stdout" 2>"$out/stderr"; then
	fail "runtime: no memory, and nobody minds"
fi
grep -qx '_Znwm: there is no C++ runtime' "$out/stderr" ||
	fail "runtime: another message"
if LD_PRELOAD="$QUARRY_PRELOAD ./rival.so" ./runtime >"$out/stdout" 2>"$out/stderr"; then
	fail "runtime, with another's operators: nobody minds"
fi
! grep -q Znwm "$out/stderr" || fail "runtime: not the operator behind ours"

# There may be classes of which none has the alignment.
LD_PRELOAD=$QUARRY_PRELOAD UMEM_OPTIONS=size_clear,size_add=48 ./sizes \
	alignment_and_size_are_independent >"$out/stdout" 2>"$out/stderr" ||
	fail "sizes with one class: exit status $?"

# The destructor that runs after ours has the last word, ours with the
# statistics not.
for form in '' _shared _static; do
	preload=$QUARRY_PRELOAD
	[ -z "$form" ] || preload=
	QUARRY_OPTIONS=stats LD_PRELOAD=$preload ./lifecycle$form \
		>"$out/stdout" 2>&1 || fail "lifecycle$form: exit status $?"
	: >"$out/stderr"
	tail -n 1 "$out/stdout" |
		grep -qx 'late: malloc works to the end' ||
		fail "lifecycle$form: the last destructor said something else"
done
grep -q '^  .* KiB in use' "$out/stdout" || fail "no statistics at exit"

run info malloc_info_to_stdout
python3 - "$out/stdout" <<-'END' || fail "malloc_info: not the XML of glibc"
	import sys
	import xml.etree.ElementTree as tree

	root = tree.parse(sys.argv[1]).getroot()
	assert root.tag == 'malloc' and root.get('version') == '1'
	heap = root.find('heap')
	assert heap.get('nr') == '0'
	sizes = heap.find('sizes').findall('size')
	assert any(int(s.get('to')) >= 112 for s in sizes)
	for s in sizes:
	    assert int(s.get('from')) <= int(s.get('to'))
	    assert int(s.get('total')) == int(s.get('count')) * int(s.get('to'))
	kinds = {t.get('type'): int(t.get('size')) for t in heap.findall('total')}
	assert set(kinds) == {'fast', 'rest', 'mmap'}
	assert int(heap.find('system').get('size')) > 100000 * 112
END

LD_PRELOAD=$QUARRY_PRELOAD ./info malloc_stats_to_stderr \
	2>"$out/stderr" >"$out/stdout" || fail "malloc_stats: exit status $?"
[ ! -s "$out/stdout" ] || fail "malloc_stats: something on stdout"
grep -Eq '^umem_alloc_112 +112 +100000 ' "$out/stderr" ||
	fail "malloc_stats: 100000 blocks are missing"
