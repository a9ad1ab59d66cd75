#!/bin/sh
# Print the data that the public headers declare, sorted; all else is functions.
#
#   data_symbols.sh <source tree>
set -eu
sed -n -e 's/^MALLOC_DECLARE(\([A-Za-z0-9_]*\));.*/\1/p' \
	-e 's/^} \([a-z0-9_]*\);$/\1/p' "$1"/include/quarry/*.h | sort
