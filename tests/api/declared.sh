#!/bin/sh
# The version script lists exactly the functions and data that the public
# headers declare.
#
#   declared.sh <source tree>
set -eu
cd "$1"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

tests/api/data_symbols.sh . >"$work/data"
for header in include/quarry/*.h; do
	# The lines of -aux-info begin with a comment that names the header.
	echo "#include \"$header\"" |
		gcc -Iinclude -fsyntax-only -aux-info "$work/aux" -x c -
	sed -nE "s,^/\* $header:.*\*/ extern [^(]*(\(\*|[ *])([a-z0-9_]+) \(.*,\2,p" \
		"$work/aux"
done | sort -u - "$work/data" >"$work/declared"
tests/api/map_symbols.sh lib/quarry.map >"$work/listed"

diff -u --label 'declared by a header' "$work/declared" \
	--label 'listed in quarry.map' "$work/listed"
