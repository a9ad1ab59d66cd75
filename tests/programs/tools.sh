#!/bin/bash
# ls, sort, awk, sed, grep, find, and what the dynamic linker loads
set -e
# shellcheck disable=SC2012
ls -lR /usr/include | sort | cksum
sort -n "$INPUTS/lines" | cksum
sort -k2,2 -S 1M -T . "$INPUTS/lines" | cksum
cat "$INPUTS/lines" "$INPUTS/lines" "$INPUTS/lines" >big
sort --parallel=4 -S 64M big | cksum
awk '{ n[$2] += $1 } END { for (w in n) print w, n[w] }' "$INPUTS/lines" |
	sort | cksum
sed -n 's/\(.*\) \(word[0-9]*\) .*/\2 \1/p' "$INPUTS/lines" | tail -n 5
grep -E '(word|line) ?1[0-9]+7' "$INPUTS/lines" | cksum
grep -c word12 "$INPUTS/lines"
find /usr/share/doc /usr/lib/python3* -name '*e*' -type f | sort | cksum
ldd /bin/ls | cut -d' ' -f1 | grep -c libc.so
getent passwd root
locale -a | head -n 1
