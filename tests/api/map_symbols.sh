#!/bin/sh
# Print the global symbols of version scripts, sorted.
#
#   map_symbols.sh <version script>...
set -eu
sed -e ':again' -e 's|/\*[^*]*\*/||g' -e '/\/\*/{N;b again' -e '}' "$@" |
	sed -n '/global:/,/local:\|}/s/^[[:space:]]*\([A-Za-z0-9_]*\);.*/\1/p' | sort
