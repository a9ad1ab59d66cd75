#!/usr/bin/env bash
# umem.sh - umem caches and umem_alloc beside malloc and a locked free list, on
# the rows of umem_bench.
#
# SPDX-License-Identifier: BSD-2-Clause
set -euo pipefail

usage='umem.sh [options] - time and peak memory of umem and what it replaces
Peers serve the same requests by malloc; "mutex" is a free list under a lock,
"debug" is umem with UMEM_DEBUG=default.'
rounds=5 ms=60
. "$(dirname "$0")/lib.sh"
quick_rows='^(cache[.]64|alloc[.]64|batch[.]100|swap)$'

bench_rows() {
	"$build/bench/umem_bench" umem --list
}

bench_one() {
	local engine=malloc debug=
	case $1 in
	quarry) engine=umem ;;
	debug) engine=umem debug=default ;;
	mutex) engine=mutex ;;
	esac
	UMEM_DEBUG=$debug LD_PRELOAD=$2 "$build/bench/umem_bench" $engine --row "$3" --threads "$4" --ms "$ms"
}

bench_parse "$@"
names+=(mutex debug quarry)
libs+=("" "" "")
bench_run
