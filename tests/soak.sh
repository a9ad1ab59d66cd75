#!/usr/bin/env bash
# soak.sh - the tests at random and under stress, for as long as one likes.
set -euo pipefail

usage='soak.sh [options] - model tests with seeds never used before, and stress
tests, one after the other until the time is over; every other round without
restartable sequences.  The library checks itself all the while.  Stops at the
first failure and prints the command that repeats it.
  --seconds N   how long (3600)
  --seed N      the seed of the first round (seconds since 1970)
Exit status: 0, 1 when a test failed, 2 when none can run.  QUARRY_BUILD names
a tree that is built.'
. "$(dirname "$0")/../bench/lib.sh"

seconds=3600
seed=$(date +%s)
take_options --seconds= --seed= -- "$@"

start_work
build=${QUARRY_BUILD:-$root/build/debug}
if [ -z "${QUARRY_BUILD:-}" ]; then
	need_toolchain
	need libcmocka-dev=/usr/include/cmocka.h
	(cd "$root" && cmake --preset debug && cmake --build --preset debug) \
		>"$work/log" 2>&1 ||
		{ tail -n 40 "$work/log" && die 'the build failed'; }
fi

# run COMMAND... - one test; none hangs.
run() {
	timeout -k 10 1200 env "${environment[@]}" "$@" >"$work/log" 2>&1 && return
	tail -n 60 "$work/log"
	echo "FAILED after $SECONDS s: ${environment[*]} $*"
	exit 1
}

round=0
while [ $SECONDS -lt "$seconds" ]; do
	environment=("QR_TEST_SEED=$((seed + 4 * round))")
	[ $((round % 2)) -eq 0 ] ||
		environment+=(GLIBC_TUNABLES=glibc.pthread.rseq=0)
	for test in "$build"/tests/{model,stress}_*; do
		[ $SECONDS -lt "$seconds" ] || break
		case $test in
		*/model_*) run "$test" 3000 4 $((seed + 4 * round)) ;;
		*) run "$test" ;;
		esac
	done
	round=$((round + 1))
done
echo "$round rounds in $SECONDS s, seeds from $seed: no failure"
