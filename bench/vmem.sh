#!/usr/bin/env bash
# vmem.sh - arenas beside what one would write instead, on the rows of vmem_bench.
#
# SPDX-License-Identifier: BSD-2-Clause
set -euo pipefail

usage='vmem.sh [--rounds N] [--only REGEX] [--threads N,...] [--ms N]
	[--against DIR] [--quick] [--list]
Time of arenas against the number of live segments, beside boundary tags with a
hash, the lists of TLSF, a first-fit list and a bitmap, in turn; then single
constrained requests on a million segments, and what a long random trace leaves
of the free space.  What is printed are medians of N runs (3).  "chase" is a
cache line of 64 bytes for each segment, followed in random order, and "malloc"
a pair of glibc; "cache" is an object cache.  DIR has another libumem.so, whose
column is "against".  --only are the rows whose name matches (an expression of
awk); --quick is a few rows, once; --list prints all of them.'
rounds=3 threads=1,2,8 ms=60 only=. trace=1
against=
. "$(dirname "$0")/lib.sh"

on_quick() {
	rounds=1 ms=20 threads=1,2 trace=0
	only='^(instant|pair|qpair|first)[.]100$'
}

take_options --rounds= --only= --threads= --ms= --against= --quick --list -- "$@"
start_work
build_quarry

bench_rows() {
	"$build/bench/vmem_bench" tags --list
}

# An engine that cannot run a row says so by exiting with 3.
bench_one() {
	"$build/bench/vmem_bench" "$2" --row "$3" --threads "$4" --ms "$ms" ||
		[ $? -eq 3 ]
}

[ $list -eq 0 ] || { bench_rows && exit 0; }
quarry=$build/libquarry.so.1
names=(chase malloc list bitmap tlsf tags)
libs=("${names[@]}")
names+=(cache quarry)
libs+=("cache=$quarry" "vmem=$quarry")
if [ -n "$against" ]; then
	[ -e "$against/libumem.so" ] || die "no $against/libumem.so"
	names+=(against)
	libs+=("vmem=$against/libumem.so")
fi

bench_measure
bench_machine
awk -v names="${names[*]}" -f "$root/bench/median.awk" \
	-f "$root/bench/vmem.awk" "$work/results"
[ $trace -eq 1 ] || exit 0

# What follows is for those engines of the above that can.
printf '\n%-34s%9s%9s%9s%9s\n' 'constrained requests, ns' first median 99.9% worst
for ((i = 0; i < ${#names[@]}; i++)); do
	case ${names[i]} in
	quarry | against)
		"$build/bench/vmem_bench" "${libs[i]}" --tail |
			awk -v name="${names[i]}" '{
				printf "%-34s%9d%9d%9d%9d\n", name, $1, $2, $3, $4
			}'
		;;
	esac
done
printf '\n%-34s%9s%9s%9s\n' 'left of 85 % in use' largest runs failed
for ((i = 2; i < ${#names[@]}; i++)); do
	for policy in instant best first next; do
		("$build/bench/vmem_bench" "${libs[i]}" --fragmentation $policy ||
			[ $? -eq 3 ]) |
			awk -v name="${names[i]}" '{
				printf "%-20s%-14s%8.1f%%%9d%8.2f%%\n", name, $1, $2 * 100, $3, $4 / 10
			}'
	done
done
