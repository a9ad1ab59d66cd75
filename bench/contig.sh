#!/usr/bin/env bash
# contig.sh - contigmalloc beside posix_memalign, mmap, a bitmap of pages, and
# Debian's DPDK, on the rows of contig_bench.
#
# SPDX-License-Identifier: BSD-2-Clause
set -euo pipefail

usage='contig.sh [--rounds N] [--only REGEX] [--quick] [--no-dpdk] [--list]
Contiguous memory: contigmalloc and what programs do without it, in turn.  What
is printed are medians of N runs (3); bench/contig_rows.h says what of.  As root
DPDK is measured a second time, with huge pages and physical addresses, if they
can be had; their number is restored.  --quick is a few rows, once; --only are
the rows whose name matches (an expression of awk); --list prints all of them.'
rounds=3 only=. dpdk=1
. "$(dirname "$0")/lib.sh"
shopt -s extglob

on_quick() {
	rounds=1 only='^(pair|worst|translate)$'
}

on_no-dpdk() {
	dpdk=0
}

take_options --rounds= --only= --quick --no-dpdk --list -- "$@"
start_work
build_quarry

# The engines of DPDK, each with the arguments of EAL.
small_pages='--no-huge -m 1200'
# Its frees look at every huge page that they adjoin, so it gets no more.
huge_pages='-m 128 --iova-mode=pa --in-memory'
nr_huge=/proc/sys/vm/nr_hugepages
had_huge=

restore_huge() {
	[ -z "$had_huge" ] || echo "$had_huge" >$nr_huge
}

# 160 MiB of huge pages, where root may have them.
get_huge() {
	local want=80
	[ -w $nr_huge ] && had_huge=$(cat $nr_huge) || return 1
	[ "$had_huge" -lt $want ] || return 0
	trap 'restore_huge; rm -rf "$work"' EXIT
	echo $want >$nr_huge
	[ "$(cat $nr_huge)" -ge $want ]
}

if [ $dpdk -eq 1 ]; then
	need_toolchain
	need dpdk-dev=/usr/include/dpdk/rte_memzone.h pkg-config=pkg-config
	# shellcheck disable=SC2046
	cc -O2 -o "$work/contig_dpdk" "$root"/bench/contig_dpdk.c \
		"$root"/bench/contig_rows.c "$root"/bench/harness.c \
		$(pkg-config --cflags libdpdk) -lrte_eal -pthread ||
		die 'cannot compile the engines of DPDK'
fi

# run_one ENGINE ROW: DPDK's engines end in .huge with huge pages.
run_one() {
	case $1 in
	memzone* | rte_malloc*)
		local args=$small_pages
		[ "$1" = "${1%.huge}" ] || args=$huge_pages
		# Its heap is the space that others have.
		[ "$2" != largest ] || args=${args/-m 1*([0-9])/-m 64}
		DPDK_ARGS="$args --no-pci --no-telemetry --no-shconf -l 0" \
			"$work/contig_dpdk" "${1%.huge}" "$2" 2>"$work/dpdk.log" |
			sed -n "s/^${1%.huge} $2 /$1 $2 /p"
		;;
	*) "$build/bench/contig_bench" "$1" "$2" ;;
	esac
}

{
	"$build/bench/contig_bench" --list
	[ $dpdk -eq 0 ] || "$work/contig_dpdk" --list
	if [ $dpdk -eq 1 ] && get_huge; then
		"$work/contig_dpdk" --list | sed 's/ /.huge /'
	fi
} >"$work/all"
[ $list -eq 0 ] || { cut -d ' ' -f 2 "$work/all" | sort -u && exit 0; }
awk -v only="$only" '$2 ~ only' "$work/all" >"$work/plan"
[ -s "$work/plan" ] || die "no row matches $only"

for ((r = 1; r <= rounds; r++)); do
	# Engines take turns within each row.
	sort -s -k 2,2 "$work/plan" | while read -r engine row; do
		# These are the same every time, and slow.
		case $row in served | largest) [ $r -eq 1 ] || continue ;; esac
		run_one "$engine" "$row" </dev/null || die "$engine: $row failed"
	done
	progress $r $rounds "round $r"
done >"$work/results"
[ ! -t 2 ] || printf '\r%70s\r' '' >&2

bench_machine
awk -v order="$(cut -d ' ' -f 2 "$work/all" | awk '!seen[$0]++' | tr '\n' ' ')" "$(cat "$root/bench/median.awk")"'
{
	if (!($1 in known)) {
		known[$1] = 1
		name[++n] = $1
	}
	list[$1, $2] = list[$1, $2] " " $3
	have[$2] = 1
}
END {
	split("quarry bestfit bitmap posix_memalign mmap inline memzone " \
	    "rte_malloc memzone.huge rte_malloc.huge", column, " ")
	nrows = split(order, row, " ")
	line = sprintf("%-12s", "")
	for (i = 1; i in column; i++)
		if (column[i] in known)
			line = line sprintf(" %*s", length(column[i]) > 8 ? \
			    length(column[i]) : 8, column[i])
	print line
	for (k = 1; k <= nrows; k++) {
		if (!(row[k] in have))
			continue
		line = sprintf("%-12s", row[k])
		for (i = 1; i in column; i++) {
			if (!(column[i] in known))
				continue
			cell = (column[i], row[k]) in list ? \
			    show(median(list[column[i], row[k]])) : "-"
			line = line sprintf(" %*s", length(column[i]) > 8 ? \
			    length(column[i]) : 8, cell)
		}
		print line
	}
	print ""
	split("pair memzone pair rte_malloc worst bitmap translate inline " \
	    "translate rte_malloc.huge", pair, " ")
	for (i = 1; i in pair; i += 2)
		if (("quarry", pair[i]) in list && (pair[i + 1], pair[i]) in list)
			printf "quarry / %-16s %-12s %.4f\n", pair[i + 1], pair[i], \
			    median(list["quarry", pair[i]]) / \
			    median(list[pair[i + 1], pair[i]])
}' "$work/results"
