#!/bin/sh
# Handlers of fork are registered when there is a use for them, and next to the
# fork, whoever registered before the library was there.
set -eu

cd "$QUARRY_BUILD/tests/preload"
LD_PRELOAD="$QUARRY_PRELOAD ./spy.so" ./atfork
LD_PRELOAD="$QUARRY_PRELOAD ./spy.so" ./atfork first
./behind
