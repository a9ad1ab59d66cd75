#!/bin/sh
# Every public function has a manual page by its name in the installed tree.
#
#   pages.sh <source tree> <directory of manual pages>
set -eu
bad=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1/tests/api/data_symbols.sh" "$1" >"$work/data"
"$1/tests/api/map_symbols.sh" "$1/lib/quarry.map" |
	comm -23 - "$work/data" >"$work/functions"

while read -r name; do
	page=$2/man3/$name.3
	link=$(sed -n 's/^\.so //p' "$page") || bad=1
	[ -z "$link" ] || page=$2/$link
	if ! grep -q "^\.Nm $name\( ,\)*$" "$page"; then
		echo "$name: $page is not about it"
		bad=1
	fi
done <"$work/functions"
exit $bad
