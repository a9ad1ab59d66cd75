#!/bin/sh
# lib/core.ld is true to the code: what it names is there, its core is small, and
# a program that is preloaded with the malloc has nothing else in memory, neither
# of its text nor of what only reports read.
#
#   core.sh <root> <shared object>
set -eu
root=$1
object=$2
list=$root/lib/core.ld
bad=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# "file function" of each, which is in the file or in a header; "file" of all of one
sed -n 's/^\t\t\*\/\([a-z0-9_]*\.c\)\.o(\.text\.\(unlikely\.\)\{0,1\}\([a-z_0-9]*\).*/\1 \3/p' \
    "$list" | grep -v ' \(hot\|rseq_abort\)$' >"$scratch/named"
[ -s "$scratch/named" ] || { echo "$list names nothing"; bad=1; }
while read -r file name; do
	grep -qr --include="$file" --include='*.h' "^$name${name:+(}" "$root/lib" && continue
	echo "$list names $name() of $file, which is no function of lib/"
	bad=1
done <"$scratch/named"

# how much of the object's segment at an offset in its file is in memory, in KiB
kb()
{
	LC_ALL=C LD_PRELOAD=$object cat /proc/self/smaps | awk \
	    -v object="$(readlink -f "$object")" -v offset="$(printf %08x "$1")" '
	/^[0-9a-f]+-[0-9a-f]+ / { mine = $6 == object && $3 == offset }
	mine && /^Rss:/ { print $2 }'
}
# the segments: offset in the file, and bytes
readelf -lW "$object" | awk '$1 == "LOAD" { print $2, $5 }' >"$scratch/segments"
read -r _ core <"$scratch/segments"
cold=$(tail -n 1 "$scratch/segments" | cut -d ' ' -f 1)
core=$((core)) asked=57344
echo "core $core bytes"
if [ $core -gt $asked ]; then
	echo "the core of $object has $core bytes, asked at most $asked"
	bad=1
fi
resident=$(kb "$cold")
if [ "$resident" -ne 0 ]; then
	echo "$resident KiB of $object at $cold are in memory, asked none"
	bad=1
fi
exit $bad
