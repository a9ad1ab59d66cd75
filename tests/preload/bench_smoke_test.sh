#!/bin/sh
# Every benchmark script runs, knows its rows and prints its report.
set -eu

cd "$QUARRY_SOURCE"
for peer in libjemalloc.so.2 libmimalloc.so.2 libtcmalloc_minimal.so.4; do
	/sbin/ldconfig -p | grep -F "$peer" >/dev/null || [ "$(id -u)" -eq 0 ] || {
		echo "$peer is not installed, and only root can install it"
		exit 77
	}
done
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

fail() {
	cat "$out/table" "$out/json"
	echo "$*"
	exit 1
}

for script in malloc new umem programs; do
	bench/$script.sh --quick --json "$out/json" --svg "$out/svg" >"$out/table"
	grep -q '^worst row: time' "$out/table" || fail "$script.sh: no report"
	grep -q ' quarry .* x best' "$out/table" || fail "$script.sh: no ratios"
	grep -q '"time_ratio"' "$out/json" || fail "$script.sh: no medians"
	python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' \
		"$out/svg" || fail "$script.sh: no picture"
done

bench/vmem.sh --quick >"$out/table"
grep -q '^pair from a quantum cache .* at most' "$out/table" ||
	fail "vmem.sh: no statements"
grep -q '^first[.]100 .* - ' "$out/table" || fail "vmem.sh: no row with a gap"

bench/contig.sh --quick --no-dpdk >"$out/table"
grep -q '^quarry / bitmap  *worst  *0[.]' "$out/table" ||
	fail "contig.sh: no comparison"

bench/malloc.sh --only '^no such row$' >"$out/table" 2>&1 &&
	fail "a row that does not exist was run"
bench/malloc.sh --peers none=/no/such/lib.so >"$out/table" 2>&1 &&
	fail "a peer that does not exist was measured"
exit 0
