#!/bin/sh
# lib/core.ld is true to the code: what it names is there, and a program that is
# preloaded with the malloc has no more of its text in memory than that and what
# the kernel maps around it.
#
#   core.sh <root> <shared object>
set -eu
root=$1
object=$2
list=$root/lib/core.ld
bad=0

for name in $(sed -n 's/^\t\t\*(\.text\.\(unlikely\.\)\{0,1\}\([a-z_0-9]*\).*/\2/p' "$list"); do
	case $name in
	startup | hot) continue ;;
	esac
	grep -qr --include='*.[ch]' "^$name(" "$root/lib" && continue
	echo "$list names $name(), which is no function of lib/"
	bad=1
done

# how much of the object's text is in memory, in KiB
kb()
{
	LC_ALL=C LD_PRELOAD=$object cat /proc/self/smaps | awk -v object="$(readlink -f "$object")" '
	/^[0-9a-f]+-[0-9a-f]+ / { mine = $6 == object && $2 == "r-xp" }
	mine && /^Rss:/ { print $2 }'
}
core=$(($(size -A "$object" | awk '$1 == ".text.core" { print $2 }') / 1024))
around=72 # a window, and what begins and ends within a page
resident=$(for i in 1 2 3 4 5 6 7 8 9; do kb; done | sort -n | sed -n 5p)
echo "core $core KiB, resident text $resident KiB"
if [ "$resident" -gt $((core + around)) ]; then
	echo "of the text of $object are $resident KiB in memory," \
	    "asked at most $core + $around"
	bad=1
fi
exit $bad
