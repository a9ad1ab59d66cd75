#!/bin/sh
# lib/core.ld is true to the code: what it names is there, its core is small, and
# programs that are preloaded with the malloc have nothing else in memory, neither
# of its text nor of what only reports read.
#
#   core.sh <root> <shared object> <program with threads that prints its smaps>
set -eu
root=$1
object=$2
threads=$3
list=$root/lib/core.ld
bad=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# "file function" of each, which is in the file or in a header; "file" of all of one
sed -n 's/^\t\t\*\/\([a-z0-9_]*\.c\)\.o(\.text\.\(unlikely\.\)\{0,1\}\([a-z_0-9]*\).*/\1 \3/p' \
    "$list" | grep -v ' \(hot\|rseq_abort\|_\)$' >"$scratch/named"
[ -s "$scratch/named" ] || { echo "$list names nothing"; bad=1; }
while read -r file name; do
	grep -qr --include="$file" --include='*.h' "^$name${name:+(}" "$root/lib" && continue
	echo "$list names $name() of $file, which is no function of lib/"
	bad=1
done <"$scratch/named"

# kb <offset> <command>...: how much of the object's segment at that offset in its
# file the command finds in its own memory, in KiB
kb()
{
	offset=$1
	shift
	LC_ALL=C LD_PRELOAD=$object "$@" | awk \
	    -v object="$(readlink -f "$object")" -v offset="$(printf %08x "$offset")" '
	/^[0-9a-f]+-[0-9a-f]+ / { mine = $6 == object && $3 == offset }
	mine && /^Rss:/ { print $2 }'
}
# the segments: offset in the file, and bytes
readelf -lW "$object" | awk '$1 == "LOAD" { print $2, $5 }' >"$scratch/segments"
read -r _ core <"$scratch/segments"
cold=$(tail -n 1 "$scratch/segments" | cut -d ' ' -f 1)
core=$((core)) asked=61440
echo "core $core bytes"
if [ $core -gt $asked ]; then
	echo "the core of $object has $core bytes, asked at most $asked"
	bad=1
fi
for command in "cat /proc/self/smaps" "$threads"; do
	# shellcheck disable=SC2086
	resident=$(kb "$cold" $command)
	if [ "$resident" != 0 ]; then
		echo "${command%% *}: $resident KiB of $object at $cold are in memory, asked none"
		bad=1
	fi
done
exit $bad
