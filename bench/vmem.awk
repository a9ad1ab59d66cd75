# vmem.awk - the report of vmem.sh.
#
# Needs median.awk.  Input: "engine row threads ns kilobytes" per run; not every
# engine runs every row.  names: the engines in the order of the columns.
#
# SPDX-License-Identifier: BSD-2-Clause

# Median of a cell, or 0.
function cell(key, engine) {
	return (key, engine) in times ? median(times[key, engine]) : 0
}

function ratio(a, b) {
	return a > 0 && b > 0 ? sprintf("%.2f", a / b) : "-"
}

# The best of what does the same, in ns, or 0.
function best(key,    i, b, x) {
	for (i = 1; i <= n; i++) {
		x = cell(key, name[i])
		if (name[i] !~ /^(quarry|chase|malloc|cache)$/ && x > 0 && (!b || x < b))
			b = x
	}
	return b
}

function report_row(key,    part, i, line, x) {
	split(key, part, " ")
	line = sprintf("%-18s%4s", part[1], part[2])
	for (i = 1; i <= n; i++) {
		x = cell(key, name[i])
		line = line sprintf("%9s", x > 0 ? show(x) : "-")
	}
	x = cell(key, "quarry")
	print line sprintf("%8s%8s", ratio(x, cell(key, "tags")), ratio(x, best(key)))
}

# One statement: a / b, which shall be at most `most`.
function state(what, a, b, most) {
	if (a > 0 && b > 0)
		printf("%-58s%6.2f%8s %.2f%s\n", what, a / b, "at most", most, \
		    a / b > most ? "  MISSED" : "")
}

function report_statements(    q, t, u) {
	print ""
	q = cell("instant.1000000 1", "quarry")
	state("replace 10^6 / tags with a hash", q, cell("instant.1000000 1", "tags"), 0.5)
	t = cell("instant.100 1", "quarry")
	u = cell("pair.100 1", "malloc")
	state("replace 10^2 / glibc's pair", t, u, 45 / 12)
	state("replace 10^4 / glibc's pair", cell("instant.10000 1", "quarry"), u, 45 / 12)
	state("replace, 10^6 / 10^4, over the same of the chase", \
	    q / (cell("instant.10000 1", "quarry") + 1e-9), \
	    cell("instant.1000000 1", "chase") / (cell("instant.10000 1", "chase") + 1e-9), 1)
	state("pair 10^6 / 10^2", cell("pair.1000000 1", "quarry"), \
	    cell("pair.100 1", "quarry"), 1.25)
	state("pair from a quantum cache / from an object cache", \
	    cell("qpair.100 1", "quarry"), cell("qpair.100 1", "cache"), 1.2)
	state("the same, 2 threads", cell("qpair.100 2", "quarry"), \
	    cell("qpair.100 2", "cache"), 1.2)
}

{
	key = $2 " " $3
	if (!(key in seen)) {
		seen[key] = 1
		order[++nrows] = key
	}
	times[key, $1] = times[key, $1] " " $4
}

END {
	n = split(names, name, " ")
	line = sprintf("%-18s%4s", "ns per operation", "thr")
	for (i = 1; i <= n; i++)
		line = line sprintf("%9s", name[i])
	print line sprintf("%8s%8s", "x tags", "x best")
	for (r = 1; r <= nrows; r++)
		report_row(order[r])
	report_statements()
}
