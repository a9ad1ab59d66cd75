#!/bin/sh
# Programs that use find_package build against an installed tree and run.
#
#   find_package.sh <source tree> <installed tree> <generator> \
#       <C compiler>
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake -S "$1/tests/api/consumer" -B "$work" -G "$3" \
	-DCMAKE_C_COMPILER="$4" -DCMAKE_PREFIX_PATH="$2"
cmake --build "$work"
cd "$work"
ctest --output-on-failure
