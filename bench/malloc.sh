#!/usr/bin/env bash
# malloc.sh - Quarry's malloc beside the others, on the rows of malloc_bench.
#
# SPDX-License-Identifier: BSD-2-Clause
set -euo pipefail

usage='malloc.sh [options] - time and peak memory of Quarry and its peers
Each row runs in a process of its own, allocators in turn; what is printed are
medians, and ratios to the best peer of the row.'
rounds=5 ms=60
. "$(dirname "$0")/lib.sh"
quick_rows='^(pair[.]64|batch[.]1000[.]fifo|churn[.]1000|prodcons[.]64|realloc[.]append)$'

bench_preloads malloc_bench "$@"
