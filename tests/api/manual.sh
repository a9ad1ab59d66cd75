#!/bin/sh
# The manual pages are valid mdoc.
#
#   manual.sh <source tree>
set -eu
cd "$1"
command -v mandoc >/dev/null || exit 77
pages=$(find man -name '*.[1-9]')
[ -n "$pages" ] || exit 77

# A reference to a page that is not installed here is no mistake.
# shellcheck disable=SC2086
mandoc -T lint -W warning $pages
