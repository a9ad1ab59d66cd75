#!/bin/sh
# Real programs do the same, preloaded or not, and blocks that overlap are
# noticed.
set -eu

"$QUARRY_SOURCE/tests/programs.sh"
QUARRY_PRELOAD=$QUARRY_BUILD/tests/preload/overlap.so \
	"$QUARRY_SOURCE/tests/programs.sh" --only perl |
	grep '^FAIL perl'
