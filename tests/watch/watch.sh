#!/bin/bash
# Valgrind and AddressSanitizer find what is wrong with objects of caches.
#
#   watch.sh asan <program>
#   watch.sh valgrind <program> <valgrind>
set -u
kind=$1 program=$2 valgrind=${3-}
unset UMEM_DEBUG QUARRY_OPTIONS
ulimit -c 0
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
exec 3>&1 2>/dev/null
bad=0

run() {
	if [ "$kind" = asan ]; then
		"$program" "$1" >"$out/report" 2>&1
	else
		"$valgrind" -q --error-exitcode=9 --leak-check=full \
			--errors-for-leak-kinds=definite \
			"$program" "$1" >"$out/report" 2>&1
	fi
	status=$?
}

# finds <mistake> <pattern>...: each is in a line of the report.
finds() {
	local mistake=$1
	shift
	run "$mistake"
	[ $status -ne 0 ] || set -- "$@" 'a report'
	for pattern; do
		grep -Eq -e "$pattern" "$out/report" && continue
		echo "$mistake: nothing about $pattern" >&3
		cat "$out/report" >&3
		bad=1
	done
}

run nothing
if [ $status -ne 0 ] || [ -s "$out/report" ]; then
	echo "nothing is wrong: exit status $status" >&3
	cat "$out/report" >&3
	bad=1
fi
case $kind in
asan)
	for mistake in read-after-free write-after-free write-past \
		write-before read-past; do
		finds $mistake 'ERROR: AddressSanitizer: use-after-poison'
	done
	;;
valgrind)
	finds read-after-free 'Invalid read of size' \
		'is 0 bytes inside a block of size 48 (free|client)' \
		'by 0x.*: read_after_free'
	finds write-after-free 'Invalid write of size 1' \
		'is 50 bytes inside a block of size 100 (free|client)'
	finds write-past 'Invalid write of size 1' \
		'is 0 bytes after a block of size 100 '
	finds write-before 'Invalid write of size 1' \
		'is 1 bytes before a block of size 100 '
	finds read-past 'Invalid read of size 1' \
		'is 0 bytes after a block of size 48 '
	finds undefined 'depends on uninitialised value'
	finds leak '144 bytes in 3 blocks are definitely lost' \
		'100 bytes in 1 blocks are definitely lost' 'by 0x.*: lose'
	;;
esac
exit $bad
