#!/bin/sh
# The manual pages are valid mdoc, for mandoc and for groff, which is man(1) on
# most systems.
#
#   manual.sh <source tree>
set -eu
cd "$1"
command -v mandoc >/dev/null || exit 77
command -v groff >/dev/null || exit 77
set -- man/*.[1-9]
[ -e "$1" ] || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

mandoc -T lint -W warning "$@" || bad=1
for page; do
	groff -mdoc -ww -Tutf8 "$page" 2>"$work/said" >/dev/null || bad=1
	[ -s "$work/said" ] || continue
	cat "$work/said"
	bad=1
done
exit $bad
