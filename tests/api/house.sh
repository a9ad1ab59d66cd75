#!/bin/sh
# lib/README.md is true to the code: it names every file below lib/ and no
# other, lists the lock ranks in their order, and names only functions that are
# defined.
#
#   house.sh <source tree>
#
# shellcheck disable=SC2016
set -eu
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
page=lib/README.md
bad=0

# same <label> <label>: files 1 and 2 are equal.
same()
{
	diff -u --label "$1" "$work/1" --label "$2" "$work/2" || bad=1
}

(cd lib && find . -name '*.[ch]' -o -name '*.map') | sed 's,^\./,,' |
	sort >"$work/1"
grep -oE '`([a-z]+/)?[a-z0-9_]+\.(c|h|map)`' $page | tr -d '`' |
	sort -u >"$work/2"
same 'below lib/' "named in $page"

sed -n 's/^\tQR_RANK_\([A-Z_]*\)\(,\| =.*\)$/\1/p' lib/os/os_lock.h |
	grep -vx NONE >"$work/1"
sed -n 's/^| \([A-Z_]*\) | .*/\1/p' $page >"$work/2"
same lib/os/os_lock.h "ranks in $page"

# A definition begins its line; `struct x` and `x()` are what a page names.
grep -oE '`[a-z0-9_]+\(\)`' $page | tr -d '`()' | sort -u |
	while read -r name; do
		grep -rqE "^$name\(" lib || echo "$page: no function $name"
	done >"$work/missing"
cat "$work/missing"
[ ! -s "$work/missing" ] || bad=1

# Other paths, from the root of the tree.
grep -oE '`(cmake|tests|include)/[A-Za-z0-9_./]+`' $page | tr -d '`' |
	while read -r path; do
		[ -e "$path" ] || echo "$page: no file $path"
	done >"$work/missing"
cat "$work/missing"
[ ! -s "$work/missing" ] || bad=1
exit $bad
