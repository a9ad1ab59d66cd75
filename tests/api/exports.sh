#!/bin/sh
# A shared object exports the symbols of quarry.map under the version
# QUARRY_1.0, those of the second list without one, and nothing else.
#
#   exports.sh <source tree> <shared object> [<list of unversioned symbols>]
set -eu
source=$1
object=$2
unversioned=${3-/dev/null}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

{
	"$source/tests/api/map_symbols.sh" "$source/lib/quarry.map" |
		sed 's/$/@@QUARRY_1.0/'
	"$source/tests/api/map_symbols.sh" "$unversioned"
} | sort >"$work/listed"

# Absolute symbols are the names of the versions themselves.
nm --dynamic --defined-only --with-symbol-versions "$object" |
	awk '$2 != "A" { print $3 }' | sort >"$work/exported"

diff -u --label 'listed' "$work/listed" \
	--label "exported by $object" "$work/exported"
