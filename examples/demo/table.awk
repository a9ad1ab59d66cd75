# table.awk - the demo's table.
#
# Input: "program variant milliseconds processor-milliseconds kilobytes" per
# run, and "account program" before each line that Quarry itself wrote.  The
# k-th runs of two variants stood side by side in time: ratios are medians of
# the pairs.
#
# SPDX-License-Identifier: BSD-2-Clause

function median(list,    v, n, i, j, x) {
	n = split(list, v, " ")
	if (n == 0)
		return 0
	for (i = 2; i <= n; i++) {
		x = v[i] + 0
		for (j = i - 1; j > 0 && v[j] + 0 > x; j--)
			v[j + 1] = v[j]
		v[j + 1] = x
	}
	return n % 2 ? v[(n + 1) / 2] + 0 : (v[n / 2] + v[n / 2 + 1]) / 2
}

function ratios(field, p, base,    k, list) {
	for (k = 1; k <= runs[p, base] && k <= runs[p, "quarry"]; k++)
		list = list " " value[field, p, "quarry", k] / value[field, p, base, k]
	return median(list)
}

function all(field, p, base,    k, list) {
	for (k = 1; k <= runs[p, base]; k++)
		list = list " " value[field, p, base, k]
	return median(list)
}

function table_row(p, base, label,    line, i) {
	line = sprintf("%-20s%4d%7.2f%6.2f%6.2f%8.1f%6.2f", label, \
	    runs[p, base], all("ms", p, base) / 1000, ratios("ms", p, base), \
	    ratios("cpu", p, base), all("kb", p, base) / 1024, \
	    ratios("kb", p, base))
	for (i = 1; i <= nparts; i++)
		line = line ((p, parts[i]) in held ? \
		    sprintf("%7.1f", held[p, parts[i]] / 1024) : sprintf("%7s", "?"))
	print line
}

# Quarry's totals; of the processes of a program, the one that mapped most.
function take_account(p, text,    i, mapped) {
	mapped = amount(text, "mapped")
	if ((p, "mapped") in held && held[p, "mapped"] >= mapped)
		return
	for (i = 1; i <= nparts; i++)
		held[p, parts[i]] = amount(text, parts[i])
}

# The number before " KiB WHAT".
function amount(text, what) {
	if (!match(text, "[0-9]+ KiB (of )?" what))
		return 0
	return substr(text, RSTART) + 0
}

BEGIN {
	nparts = split("in use,cached,free,idle,metadata,mapped", parts, ",")
}

$1 == "account" {
	if (!($2 in text) && !/KiB in use/)
		next
	text[$2] = text[$2] " " $0
	if (/KiB mapped/) {
		take_account($2, text[$2])
		delete text[$2]
	}
	next
}

NF == 5 {
	k = ++runs[$1, $2]
	if (k == 1 && $2 == "plain")
		order[++n] = $1
	value["ms", $1, $2, k] = $3
	value["cpu", $1, $2, k] = $4
	value["kb", $1, $2, k] = $5
}

END {
	printf "%-20s%4s%7s%6s%6s%8s%6s  %s\n", "", "", "plain", "time", "cpu", \
	    "plain", "peak", "MB at exit, by Quarry's own account"
	printf "%-20s%4s%7s%6s%6s%8s%6s", "program", "runs", "s", "x", "x", "MB", "x"
	printf "%7s%7s%7s%7s%7s%7s\n", "in use", "cached", "free", "idle", \
	    "meta", "mapped"
	for (i = 1; i <= n; i++) {
		p = order[i]
		if ((p, "glibc") in runs) {
			table_row(p, "glibc", p)
			table_row(p, "plain", p ", its jemalloc")
		} else {
			table_row(p, "plain", p)
		}
	}
	print "Time is elapsed, cpu processor time; ratios are medians of runs side by side."
	print "redis: time is its client's.  python3: with PYTHONMALLOC=malloc."
}
