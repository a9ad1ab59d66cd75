#!/bin/sh
# Memory stays within what is live and a fixed bound on what is cached, and a
# program that does nothing pays next to nothing.
#
# QR_TEST_QUICK makes it shorter; QR_TEST_SECONDS=60 hands blocks from thread to
# thread for so long.
set -eu

cd "$QUARRY_BUILD/tests/preload"
LD_PRELOAD=$QUARRY_PRELOAD ./bounds
exec ./startup "$QUARRY_PRELOAD" /bin/true
