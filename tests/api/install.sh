#!/bin/sh
# Install into a directory and move it, for consumers to be built against.
#
#   install.sh <build tree> <directory>
set -eu
build=$1
prefix=$2

rm -rf "$prefix" "$prefix.first"
cmake --install "$build" --prefix "$prefix.first"
mv "$prefix.first" "$prefix"
