#!/usr/bin/env bash
# programs.sh - real programs under Quarry's malloc do what they do without it.
set -euo pipefail

export PATH=/usr/bin:/bin:/usr/sbin:$PATH LC_ALL=C
usage='programs.sh [options] - real programs under libquarry_malloc.so
Each row is a script of tests/programs.  It runs twice in an empty directory:
plainly, and with the library preloaded into all that it starts.  It has to
print the same both times and to succeed.  What a row needs is installed by the
names of Debian; where that cannot be, the row is skipped.
  --full         also the rows of tests/programs/full, which take minutes: the
                 test suite of CPython, servers under load, a build of Quarry
  --only NAME    this row; may be repeated
  --list         print the names of the rows
The last line counts.  Exit status: 0, 1 when a row fails, 2 when none can run.
QUARRY_BUILD names a tree that is built, QUARRY_PRELOAD another library.'
. "$(dirname "$0")/../bench/lib.sh"

rows=("$root"/tests/programs/*.sh)
only=()
list=0
while [ $# -gt 0 ]; do
	case $1 in
	--full) rows+=("$root"/tests/programs/full/*.sh) ;;
	--only)
		[ $# -ge 2 ] || die "$1 needs a value"
		only+=("$2")
		shift
		;;
	--list) list=1 ;;
	--help) say "$usage" && exit 0 ;;
	*) die "unknown argument $1 (see --help)" ;;
	esac
	shift
done
if [ ${#only[@]} -gt 0 ]; then
	rows=()
	for name in "${only[@]}"; do
		row=$(echo "$root/tests/programs/"{,full/}"$name.sh" |
			xargs ls 2>/dev/null) || [ -n "$row" ] || die "no row $name"
		rows+=("$row")
	done
fi
if [ $list -eq 1 ]; then
	for row in "${rows[@]}"; do
		sed -n "2s/^# \(.*\)/$(basename "$row" .sh): \1/p" "$row"
	done
	exit 0
fi

start_work
build_quarry
# Servers that refuse to be root's are to find it.
chmod 755 "$work"
cp -L "$preload" "$work/libquarry_malloc.so.1"
preload=$work/libquarry_malloc.so.1
check_quarry
export QUARRY_SOURCE=$root INPUTS=$work
awk 'BEGIN {
	s = 42
	for (i = 0; i < 60000; i++) {
		s = (s * 1103515245 + 12345) % 2147483648
		printf "%d word%d line %d\n", s, s % 5000, i
	}
}' >"$INPUTS/lines"

# For the rows.  await FILE PID - until the server has made this socket, or has
# written something into this file; fails when it ends before.
await() {
	until [ -S "$1" ] || [ -s "$1" ]; do
		kill -0 "$2" || return
		sleep 0.05
	done
}
export -f await

# trial FORM LIBRARY ROW - run it; leaves FORM.out, FORM.err and FORM.status.
trial() {
	local status=0
	rm -rf "$work/run" "$work/tmp"
	mkdir "$work/run" "$work/tmp"
	(cd "$work/run" && TMPDIR=$work/tmp LD_PRELOAD=$2 \
		timeout -k 10 1200 bash "$3") \
		</dev/null >"$work/$1.out" 2>"$work/$1.err" || status=$?
	echo "exit status $status" >"$work/$1.status"
}

# judge ROW - run it both ways and say what differs, if anything does.
judge() {
	local what
	trial plain '' "$1"
	if ! grep -qx 'exit status 0' "$work/plain.status"; then
		echo "without the preload:"
		tail -n 5 "$work/plain.out" "$work/plain.err" "$work/plain.status"
		return 1
	fi
	trial with "$preload" "$1"
	for what in status out err; do
		diff --label plain --label preloaded \
			"$work/plain.$what" "$work/with.$what" >"$work/diff" || {
			echo "$what differs:"
			head -n 10 "$work/diff"
			return 1
		}
	done
}

passed=0 failed=0 skipped=0
for row in "${rows[@]}"; do
	name=$(basename "$row" .sh)
	start=$SECONDS
	# shellcheck disable=SC2046
	if ! (need $(sed -n 's/^# needs //p' "$row")); then
		echo "SKIP $name: a package is missing"
		skipped=$((skipped + 1))
	elif judge "$row" >"$work/why"; then
		echo "PASS $name ($((SECONDS - start)) s)"
		passed=$((passed + 1))
	else
		echo "FAIL $name"
		sed 's/^/  /' "$work/why"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
