#!/usr/bin/env bash
# new.sh - operators new and delete under Quarry's malloc beside the others.
#
# SPDX-License-Identifier: BSD-2-Clause
set -euo pipefail

usage='new.sh [options] - time and peak memory of new and delete in C++
Each row runs in a process of its own, allocators in turn; what is printed are
medians, and ratios to the best peer of the row.'
rounds=5 ms=60
. "$(dirname "$0")/lib.sh"
quick_rows='^(pair|list)$'

bench_preloads new_bench "$@"
