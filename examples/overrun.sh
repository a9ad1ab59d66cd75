#!/usr/bin/env bash
# Find the overrun in a program that was built without Quarry, and name the
# line it is in.
#
#   overrun.sh <directory of libquarry_malloc.so.1>
set -euo pipefail
preload=$(realpath "$1")/libquarry_malloc.so.1
cd "$(dirname "$0")/overrun"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
ulimit -c 0

# Frame pointers make the stacks whole.
cc -g -fno-omit-frame-pointer -o "$work/names" names.c

echo '$ ./names gilbert'
"$work/names" gilbert

echo '$ LD_PRELOAD=libquarry_malloc.so.1 UMEM_DEBUG=default,verbose ./names gilbert'
{ # the shell has a word to say on the abort
	UMEM_DEBUG=default,verbose LD_PRELOAD=$preload "$work/names" gilbert \
		>/dev/null 2>"$work/report" || true
} 2>/dev/null
sed "s,$work/,," "$work/report"

# Who allocated the buffer: the first frame of its last transaction.
frame=$(sed -n '/^previous transaction/,/^umem:/s/.*(\(.*\)+\(0x[0-9a-f]*\)) .*/\1 \2/p' \
	"$work/report" | head -n 1)
echo "\$ addr2line -f -s -e ./names ${frame#* }"
# shellcheck disable=SC2086
addr2line -f -s -e $frame
