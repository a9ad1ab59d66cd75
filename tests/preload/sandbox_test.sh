#!/bin/sh
# A program that has given up most system calls goes on allocating.
set -eu

cd "$QUARRY_BUILD/tests/preload"
for options in '' nothread; do
	QUARRY_OPTIONS=$options LD_PRELOAD=$QUARRY_PRELOAD ./sandbox
	QUARRY_OPTIONS=$options UMEM_OPTIONS=nomagazines \
		LD_PRELOAD=$QUARRY_PRELOAD ./sandbox
done
