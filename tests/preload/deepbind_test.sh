#!/bin/sh
# A module that is loaded with RTLD_DEEPBIND has the malloc of the program.
set -eu

cd "$QUARRY_BUILD/tests/preload"
FAMILY=$(sed -n 's/^\t\([a-z0-9_]*\);$/\1/p' "$QUARRY_SOURCE/lib/malloc/malloc.map" |
	grep -vx -e dlopen -e __register_atfork)
export FAMILY
LD_PRELOAD=$QUARRY_PRELOAD exec ./deepbind
