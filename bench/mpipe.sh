#!/usr/bin/env bash
# mpipe.sh - malloc pipelines beside Debian's DPDK mempools, a mutex with a LIFO
# and a condition variable, malloc bounded by a semaphore, and GLib's queue.
#
# SPDX-License-Identifier: BSD-2-Clause
set -euo pipefail

usage='mpipe.sh [--rounds N] [--quick]
Pools of buffers, all in one process and in turn.  What is printed are medians
of N runs (5):

  pair T        ns of processor time to get and put a buffer, with T threads
  pair.zero T   the same with 2 KiB zeroed at each put
  wait.*        ns from a put to the end of the wait for it; futex: nothing but
                the system calls
  unfair        four threads want one buffer: most served / least served
  stranded      of 63 free buffers, those that an idle thread keeps from others

--quick is one run with 1 and 2 threads.'
rounds=5 quick=
. "$(dirname "$0")/lib.sh"

on_quick() {
	rounds=1 quick=quick
}

take_options --rounds= --quick -- "$@"
start_work
build_quarry
need_toolchain
need dpdk-dev=/usr/include/dpdk/rte_mempool.h pkg-config=pkg-config \
	libglib2.0-dev=/usr/include/glib-2.0/glib.h

# shellcheck disable=SC2046
cc -O2 -fno-builtin-malloc -o "$work/mpipe_bench" "$root"/bench/mpipe_bench.c \
	-I"$root"/include $(pkg-config --cflags libdpdk glib-2.0) \
	-L"$build" -lquarry -Wl,-rpath,"$build" -lrte_eal -lrte_mempool \
	-lrte_ring $(pkg-config --libs glib-2.0) -pthread 2>"$work/cc.log" || {
	tail -n 20 "$work/cc.log" >&2
	die 'cannot compile the benchmark'
}

for ((r = 1; r <= rounds; r++)); do
	DPDK_ARGS='--no-huge -m 256 --no-pci --no-telemetry --no-shconf -l 0' \
		"$work/mpipe_bench" 1 ${quick:+"$quick"} 2>"$work/dpdk.log" ||
		die "$(tail -n 3 "$work/dpdk.log")"
	progress $r "$rounds" "round $r"
done >"$work/results"
[ ! -t 2 ] || printf '\r%70s\r' '' >&2

bench_machine
awk "$(cat "$root/bench/median.awk")"'
function ratio(what, row, a, b) {
	if ((row, a) in list && (row, b) in list)
		printf "%-46s %.2f\n", what, \
		    median(list[row, a]) / median(list[row, b])
}
{
	row = $1 " " $2
	if (!(row in seen)) {
		seen[row] = 1
		order[++n] = row
	}
	list[row, $3] = list[row, $3] " " $4
}
END {
	m = split("quarry rte256 rte0 mutex sem gqueue futex", column, " ")
	line = sprintf("%-14s %3s", "", "thr")
	for (i = 1; i <= m; i++)
		line = line sprintf(" %8s", column[i])
	print line
	for (k = 1; k <= n; k++) {
		split(order[k], part, " ")
		line = sprintf("%-14s %3s", part[1], part[2])
		for (i = 1; i <= m; i++)
			line = line sprintf(" %8s", (order[k], column[i]) in list ? \
			    show(median(list[order[k], column[i]])) : "-")
		print line
	}
	print ""
	ratio("pair, 1 thread: quarry / rte256", "pair 1", "quarry", "rte256")
	ratio("throughput, 2 threads: quarry / rte256", "pair 2", "rte256", "quarry")
	ratio("hand-off, median: quarry / futex", "wait.p50 2", "quarry", "futex")
}' "$work/results"
