#!/bin/sh
# Every public function has a manual page by its name in the installed tree.
#
#   pages.sh <source tree> <directory of manual pages>
set -eu
bad=0

for name in $("$1/tests/api/map_symbols.sh" "$1/lib/quarry.map"); do
	page=$2/man3/$name.3
	link=$(sed -n 's/^\.so //p' "$page") || bad=1
	[ -z "$link" ] || page=$2/$link
	if ! grep -q "^\.Nm $name\( ,\)*$" "$page"; then
		echo "$name: $page is not about it"
		bad=1
	fi
done
exit $bad
