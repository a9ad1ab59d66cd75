#!/bin/sh
# The manual pages are valid mdoc.
#
#   manual.sh <source tree>
set -eu
cd "$1"
command -v mandoc >/dev/null || exit 77
set -- man/*.[1-9]
[ -e "$1" ] || exit 77

mandoc -T lint -W warning "$@"
