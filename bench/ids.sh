#!/usr/bin/env bash
# ids.sh - id_space beside the allocators of identifiers that people write, on
# the rows of ids_bench.
#
# SPDX-License-Identifier: BSD-2-Clause
set -euo pipefail

usage='ids.sh [--rounds N] [--only REGEX] [--ms N] [--quick] [--list]
Identifiers: id_space beside a bitmap with a hint, a free list, a red-black tree
of ranges and a radix tree of bitmaps as in Linux, in turn.  Printed are medians
of N runs (5), first of the time, then of what describes the identifiers;
bench/ids_bench.c says what of.  "net" is ours less what it takes to touch the
same memory.  A "+" marks a process that has had a second thread.  --quick is a
few rows, once; --only are the rows whose name matches (an expression of awk);
--list prints all of them.'
# shellcheck disable=SC2034
rounds=5 ms=60 only=. threads=1
. "$(dirname "$0")/lib.sh"

on_quick() {
	rounds=1 ms=20 only='^(next|first)[.]100k[.]99$|^sparse'
}

take_options --rounds= --only= --ms= --quick --list -- "$@"
start_work
build_quarry

engines=(touch bitmap freelist ranges ida quarry bitmap+ quarry+)

bench_rows() {
	"$build/bench/ids_bench" quarry --list
}

[ $list -eq 0 ] || { bench_rows && exit 0; }
bench_plan >"$work/plan"
total=$(wc -l <"$work/plan")
[ "$total" -gt 0 ] || die "no row matches $only"
done=0
while read -r r t row; do
	progress $((++done)) "$total" "round $r, $row"
	for ((k = 0; k < ${#engines[@]}; k++)); do
		engine=${engines[(k + r) % ${#engines[@]}]}
		"$build/bench/ids_bench" "$engine" --row "$row" --threads "$t" \
			--ms "$ms" </dev/null | sed "s/^/$engine /" ||
			die "$engine: $row failed"
	done
done <"$work/plan" >"$work/results"
[ ! -t 2 ] || printf '\r%70s\r' '' >&2

bench_machine
awk -v names="${engines[*]}" "$(cat "$root/bench/median.awk")"'
function heading(what, last,    i, line) {
	line = sprintf("%-18s", what)
	for (i = 1; i <= n; i++)
		line = line sprintf("%9s", name[i])
	print line last
}
# The cells of one row, and the best of those without a "+" but ours.
function cells(v, r,    i, line) {
	best = ""
	line = sprintf("%-18s", row[r])
	for (i = 1; i <= n; i++) {
		line = line sprintf("%9s", show(v[r, name[i]]))
		if (name[i] ~ /^(touch|quarry.*|.*[+])$/ || v[r, name[i]] == "")
			continue
		if (best == "" || v[r, name[i]] < best)
			best = v[r, name[i]]
	}
	return line
}
{
	if (!($2 in seen)) {
		seen[$2] = 1
		row[++nrows] = $2
	}
	times[$2, $1] = times[$2, $1] " " $4
	sizes[$2, $1] = sizes[$2, $1] " " $5 / 1000
}
END {
	n = split(names, name, " ")
	for (r = 1; r <= nrows; r++)
		for (i = 1; i <= n; i++)
			if ((row[r], name[i]) in times) {
				ns[r, name[i]] = median(times[row[r], name[i]])
				bits[r, name[i]] = median(sizes[row[r], name[i]])
			}
	heading("ns per pair", sprintf("%7s%7s", "net", "x best"))
	for (r = 1; r <= nrows; r++) {
		line = cells(ns, r)
		net = ns[r, "touch"] == "" ? "" : ns[r, "quarry"] - ns[r, "touch"]
		print line sprintf("%7s%7.2f", show(net), ns[r, "quarry"] / best)
	}
	print ""
	heading("bits each", sprintf("%7s%7s", "", "x best"))
	for (r = 1; r <= nrows; r++) {
		line = cells(bits, r)
		print line sprintf("%7s%7.2f", "", bits[r, "quarry"] / best)
	}
}' "$work/results"
