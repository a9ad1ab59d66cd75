#!/bin/sh
# A library defines the symbols of quarry.map, a shared one under the version
# QUARRY_1.0, those of the second list without a version, and no others.  An
# archive has nothing of libc's or of C++ but the family of malloc.
#
#   exports.sh <source tree> <library> [<list of unversioned symbols>]
set -eu
source=$1
library=$2
unversioned=${3-/dev/null}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $library in
*.a)
	version=
	absent='^_\|^dlopen$'
	set -- --extern-only
	;;
*)
	version=@@QUARRY_1.0
	absent='^$'
	set -- --dynamic --with-symbol-versions
	;;
esac

{
	"$source/tests/api/map_symbols.sh" "$source/lib/quarry.map" |
		sed "s/\$/$version/"
	"$source/tests/api/map_symbols.sh" "$unversioned" | grep -v "$absent"
} | sort >"$work/listed"

# Absolute symbols are the names of the versions themselves.
nm --defined-only "$@" "$library" |
	awk 'NF == 3 && $2 != "A" { print $3 }' | sort >"$work/exported"

diff -u --label 'listed' "$work/listed" \
	--label "exported by $library" "$work/exported"
