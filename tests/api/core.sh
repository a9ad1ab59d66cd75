#!/bin/sh
# lib/core.ld is true to the code: what it names is there and is what the kernel
# maps for one function, and a program that is preloaded with the malloc has no
# more of its text in memory, and nothing of what only reports read.
#
#   core.sh <root> <shared object>
set -eu
root=$1
object=$2
list=$root/lib/core.ld
bad=0

for name in $(sed -n 's/^\t\t\*(\.text\.\(unlikely\.\)\{0,1\}\([a-z_0-9]*\).*/\2/p' "$list"); do
	case $name in
	startup | hot | unlikely) continue ;;
	esac
	grep -qr --include='*.[ch]' "^$name(" "$root/lib" && continue
	echo "$list names $name(), which is no function of lib/"
	bad=1
done

# how much of the object's segment at an offset in its file is in memory, in KiB
kb()
{
	LC_ALL=C LD_PRELOAD=$object cat /proc/self/smaps | awk \
	    -v object="$(readlink -f "$object")" -v offset="$(printf %08x "$1")" '
	/^[0-9a-f]+-[0-9a-f]+ / { mine = $6 == object && $3 == offset }
	mine && /^Rss:/ { print $2 }'
}
# the offsets of its segments with these flags
segments()
{
	readelf -lW "$object" | awk -v flags="$1" '
	$1 == "LOAD" && ($8 ~ /^0x/ ? $7 : $7 " " $8) == flags { print $2 }'
}
# where a symbol is
at()
{
	echo $((0x$(nm "$object" | awk -v name="$1" '$3 == name { print $1 }')))
}
window=64 # KiB
ends=32    # where the file is cached in larger pieces
core=$((($(at qr_core_end) - $(at _init) + 1023) / 1024))
text=$(segments 'R E')
resident=$(for i in 1 2 3 4 5 6 7 8 9; do kb "$text"; done | sort -n | sed -n 5p)
cold=$(kb "$(segments R | tail -n 1)")
echo "core $core KiB, resident text $resident KiB, read by reports $cold KiB"
if [ "$core" -gt $window ]; then
	echo "the core of $object has $core KiB, asked at most $window"
	bad=1
fi
if [ "$resident" -gt $((window + ends)) ]; then
	echo "of the text of $object are $resident KiB in memory," \
	    "asked at most $window + $ends"
	bad=1
fi
if [ "$cold" -gt 0 ]; then
	echo "$cold KiB beside .rodata.cold of $object are in memory"
	bad=1
fi
exit $bad
