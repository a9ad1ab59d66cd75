#!/bin/bash
# The preloaded library prints nothing unless asked: one line for `verbose`, the
# tables at exit for `stats`, a word on an option that it does not know; and a
# set-id program does not ask.
set -u

cd "$QUARRY_BUILD/tests/preload" || exit 1
unset UMEM_DEBUG UMEM_OPTIONS UMEM_LOGGING QUARRY_OPTIONS
out=$(mktemp -d)
chmod 755 "$out"
trap 'rm -rf "$out"' EXIT
bad=0
# What is called python3 may be a script that finds one.
python=$(python3 -c 'import sys; print(sys.executable)')

fail() {
	echo "$*"
	cat "$out/stderr"
	bad=1
}

# with [<variable>=<value>]... <command>...: run it preloaded.
with() {
	env LD_PRELOAD="$QUARRY_PRELOAD" "$@" >"$out/stdout" 2>"$out/stderr"
}

# A form that is given up when restartable sequences are turned off.
case ${GLIBC_TUNABLES-} in
*rseq=0*) form='lock' ;;
*) form='(rseq, (mm_cid|cpu)|lock)' ;;
esac
active="^quarry: version [0-9.]+ active in true, process [0-9]+, per-CPU form: $form\$"

# ---- T90: nothing ----

silent=(
	'true'
	'ls -l /'
	'sh -c "echo hello; exit 0"'
	'cat /proc/self/status'
	'awk "BEGIN { for (i = 0; i < 9999; i++) a[i] = i; print a[42] }"'
	'./threads'
	"$python -c 'print(sum(len(str(i)) for i in range(100000)))'"
)
for command in "${silent[@]}"; do
	with sh -c "$command" || fail "$command: exit status $?"
	[ ! -s "$out/stderr" ] || fail "$command: something on stderr"
done
with true
[ ! -s "$out/stdout" ] || fail 'true: something on stdout'
with QUARRY_OPTIONS= UMEM_DEBUG= UMEM_OPTIONS= UMEM_LOGGING= true
[ ! -s "$out/stderr" ] || fail 'empty variables: something on stderr'

# ---- verbose ----

with QUARRY_OPTIONS=verbose /bin/true
[ "$(wc -l <"$out/stderr")" -eq 1 ] || fail 'verbose: not one line'
grep -Eq "$active" "$out/stderr" || fail 'verbose: another line'
[ ! -s "$out/stdout" ] || fail 'verbose: something on stdout'

# Where libc comes first, and under memcheck, malloc is not ours.  That may not be
# able to run what another compiler has made.
foreign='^quarry: version [0-9.]+ without its malloc in'
with env LD_PRELOAD= QUARRY_OPTIONS=verbose ./behind
grep -Eq "$foreign behind, process" "$out/stderr" || fail 'verbose: behind libc'
if command -v valgrind >/dev/null && with env LD_PRELOAD= QUARRY_OPTIONS=verbose \
	valgrind -q ./sizes_shared t81_every_block_is_aligned_to_16; then
	grep -Eq "$foreign sizes_shared, process" "$out/stderr" ||
		fail 'verbose: under memcheck'
fi
for form in shared static alone; do
	with env LD_PRELOAD= QUARRY_OPTIONS=verbose ./sizes_$form \
		t81_every_block_is_aligned_to_16
	grep -q ' active in ' "$out/stderr" || fail "verbose: sizes_$form"
done

# ---- stats ----

# shellcheck disable=SC2016
# A header names the columns; each row has a name and as many numbers.
tables='
function row(n,   i) {
	if (NF != n)
		wrong("a row of " NF " columns")
	for (i = 2; i <= n; i++)
		if ($i !~ /^[0-9]+K?$/)
			wrong("no number: " $i)
}
function wrong(what) {
	print FNR ": " what
	bad = 1
}
/^quarry [0-9.]+ in .*, process [0-9]+:$/ { titles++ }
/^cache +size +in use +cached +free +memory +allocs +fails$/ {
	columns = 8
	caches++
	next
}
/^arena +in use +total +import +allocs +fails$/ {
	columns = 6
	arenas++
	next
}
/^$/ { columns = 0 }
columns { rows[columns]++; row(columns) }
END {
	if (titles != 1 || caches != 1 || arenas != 1)
		wrong("not one of each table")
	if (!rows[6] || (!rows[8] && !idle))
		wrong("an empty table")
	exit bad
}'

# stats <command>...: it prints the tables, once, and nothing else.
stats() {
	with QUARRY_OPTIONS=stats "$@" || fail "$*: exit status $?"
	awk "$tables" "$out/stderr" >"$out/stdout" ||
		fail "stats of $*: $(cat "$out/stdout")"
}

stats /bin/ls /
stats ./threads t87_calloc_of_2_to_64_threads_gives_disjoint_zeroed_blocks
for form in shared static alone; do
	stats env LD_PRELOAD= ./sizes_$form t81_every_block_is_aligned_to_16
done
with QUARRY_OPTIONS=stats sh -c 'echo $$; exec ls /'
grep -q "^quarry .* in ls, process $(head -n 1 "$out/stdout"):\$" "$out/stderr" ||
	fail 'stats of ls: not in its name'
# `ls` closes its standard error before the library is asked; so do these.
# shellcheck disable=SC2016
stats perl -e 'close(STDERR); my @a = map { "x" x $_ } 1 .. 1000;'
stats "$python" -c 'import os; os.close(2)'

# A program that allocates nothing has no caches.
with QUARRY_OPTIONS=stats /bin/true || fail 'true: exit status'
awk -v idle=1 "$tables" "$out/stderr" || fail 'stats of true'

# Blocks that are lost are in the account: 500 of 1000 bytes, and a large one.
stats ./leak
awk '$1 == "umem_alloc_1024" && $3 >= 500 { found = 1 }
	END { exit !found }' "$out/stderr" || fail 'stats: 500 blocks missing'
grep -Eq '^[1-9][0-9]* blocks larger than any class: [0-9]{3,} KiB$' \
	"$out/stderr" || fail 'stats: the large block is missing'
awk '$1 == "umem_alloc_1024" && $7 >= 500 { found = 1 }
	END { exit !found }' "$out/stderr" || fail 'stats: allocations missing'

with QUARRY_OPTIONS=stats,verbose /bin/true
[ "$(grep -Ec "$active" "$out/stderr")" -eq 1 ] ||
	fail 'stats,verbose: not one line that says so'

# ---- options ----

# warns <variable>=<value> <line>...: exactly these lines, from `true`.
warns() {
	with "$1" /bin/true || fail "$1: exit status $?"
	shift
	printf 'quarry: %s\n' "$@" >"$out/expected"
	cmp -s "$out/expected" "$out/stderr" || fail "expected: $*"
}

warns QUARRY_OPTIONS=verbse \
	"QUARRY_OPTIONS: 'verbse' not recognized; did you mean QUARRY_OPTIONS=verbose?"
warns UMEM_DEBUG=guard \
	"UMEM_DEBUG: 'guard' not recognized; did you mean UMEM_DEBUG=guards?"
warns QUARRY_OPTIONS=guards \
	"QUARRY_OPTIONS: 'guards' not recognized; did you mean UMEM_DEBUG=guards?"
warns QUARRY_OPTIONS=something-else-altogether \
	"QUARRY_OPTIONS: 'something-else-altogether' not recognized"
warns QUARRY_OPTIONS=idle_max \
	'QUARRY_OPTIONS: idle_max: Required value missing'
warns QUARRY_OPTIONS=idle_max=lots \
	'QUARRY_OPTIONS: idle_max: not a number'
warns QUARRY_OPTIONS=idle_max=99999999999999999999 \
	'QUARRY_OPTIONS: idle_max: overflowed'
warns QUARRY_OPTIONS=harden=1 \
	'QUARRY_OPTIONS: harden: does not take a value. ignored'
warns QUARRY_OPTIONS=percpu=always \
	'QUARRY_OPTIONS: percpu: not one of auto, cpu, lock'
warns 'QUARRY_OPTIONS=idle_max=1m, ,depot_max=1m' \
	'QUARRY_OPTIONS: empty option'

# A wrong one does not keep the right ones from working.
with QUARRY_OPTIONS='verbse, verbose ,idle_max=x' /bin/true
[ "$(wc -l <"$out/stderr")" -eq 3 ] || fail 'a wrong option among others'
grep -Eq "$active" "$out/stderr" || fail 'a wrong option before a right one'

# ---- set-id ----

set_id() {
	local copy=$out/program line='QUARRY_OPTIONS=verbose,stats,nonsense'
	local run=(setpriv --reuid=65534 --regid=65534 --clear-groups)

	if [ "$(id -u)" -ne 0 ]; then
		echo 'set-id programs were not tested: that takes root'
		return
	fi
	cp ./sizes_static "$copy"
	chown 0:0 "$copy"
	chmod 755 "$copy"
	if ! "${run[@]}" env "$line" "$copy" \
		t81_every_block_is_aligned_to_16 >/dev/null 2>"$out/stderr"; then
		echo 'set-id programs were not tested: no other user can run one'
		return
	fi
	[ -s "$out/stderr" ] || fail 'a program that is not set-id was silent'
	chmod 4755 "$copy"
	if findmnt -no OPTIONS -T "$out" | grep -qw nosuid; then
		echo 'set-id programs were not tested: a nosuid file system'
		return
	fi
	"${run[@]}" env "$line" UMEM_DEBUG=nonsense "$copy" \
		t81_every_block_is_aligned_to_16 >/dev/null 2>"$out/stderr" ||
		fail "a set-id program: exit status $?"
	[ ! -s "$out/stderr" ] || fail 'a set-id program listened'
}
set_id

exit $bad
