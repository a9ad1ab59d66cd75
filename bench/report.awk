# report.awk - medians and ratios of allocators that ran the same rows.
#
# Needs median.awk.  Input: "allocator row threads ns kilobytes" per run.
# names: the allocators in the order of the columns, ours last.  json: a file
# for all medians.
# unit, scale: what the times are shown in.  svg: a file for the chart, which
# chart.awk draws.
# Ratios are ours to the best of the others on the same row.
#
# SPDX-License-Identifier: BSD-2-Clause

# The best of the others on row r, in v; its name is left in `who`.
function best(v, r,    i, b) {
	b = 0
	for (i = 1; i < n; i++)
		if (b == 0 || v[r, i] < b) {
			b = v[r, i]
			who = name[i]
		}
	return b
}

function lose(kind, row, ratio, who) {
	lost[++nlost] = sprintf("%s %.6f %-6s %-28s %.2f x %s", kind, ratio, \
	    kind, row, ratio, who)
}

function report_row(r,    i, line, b, bt, bm) {
	bt = best(ns, r)
	tratio[r] = ns[r, n] / bt
	line = sprintf("%-20s%4s", row[r], threads[r])
	for (i = 1; i <= n; i++)
		line = line sprintf("%9s", show(ns[r, i] * scale))
	line = line sprintf("%7.2f", tratio[r])
	if (tratio[r] > 1.05)
		lose("time", row[r] " " threads[r], tratio[r], who)
	bm = best(kb, r)
	mratio[r] = kb[r, n] / bm
	if (mratio[r] > 1.10)
		lose("memory", row[r] " " threads[r], mratio[r], who)
	print line sprintf("%9.1f%9.1f%7.2f", bm / 1024, kb[r, n] / 1024, mratio[r])
}

function geometric(v, i, against,    r, sum) {
	sum = 0
	for (r = 1; r <= nrows; r++)
		sum += log(v[r, i] / v[r, against])
	return exp(sum / nrows)
}

function report_means(    i, bt, bm, st, sm, t, m, r) {
	st = sm = 0
	for (r = 1; r <= nrows; r++) {
		st += log(tratio[r])
		sm += log(mratio[r])
	}
	printf "\n%-34s%8s%8s\n", "geometric mean over " nrows " rows", "time", "memory"
	for (i = 1; i <= n; i++) {
		t = geometric(ns, i, 1)
		m = geometric(kb, i, 1)
		if (i < n && (bt == 0 || t < bt))
			bt = t
		if (i < n && (bm == 0 || m < bm))
			bm = m
		printf "  %-32s%8.2f%8.2f\n", name[i] " / " name[1], t, m
	}
	printf "  %-32s%8.2f%8.2f\n", name[n] " / best single peer", t / bt, m / bm
	printf "  %-32s%8.2f%8.2f\n", name[n] " / best peer of each row", \
	    exp(st / nrows), exp(sm / nrows)
}

function report_worst(    r, t, m) {
	t = m = 1
	for (r = 2; r <= nrows; r++) {
		if (tratio[r] > tratio[t])
			t = r
		if (mratio[r] > mratio[m])
			m = r
	}
	printf "\nworst row: time %.2f (%s, %s threads), memory %.2f (%s, %s threads)\n", \
	    tratio[t], row[t], threads[t], mratio[m], row[m], threads[m]
}

# The worst twenty of each kind; the table has the rest.
function report_lost(    i, sorter) {
	if (nlost == 0)
		return
	print "behind the best peer, in time by over 5 % or in memory by over 10 %:"
	sorter = "sort -k1,1r -k2,2gr | awk '++n[$1] <= 20 { print } " \
	    "END { for (k in n) if (n[k] > 20) print k, 0, k, n[k] - 20, \"more\" }' | " \
	    "sort -s -k1,1r | cut -d' ' -f3- | sed 's/^/  /'"
	for (i = 1; i <= nlost; i++)
		print lost[i] | sorter
	close(sorter)
}

function json_object(v, r,    i, s) {
	for (i = 1; i <= n; i++)
		s = s (i > 1 ? ", " : "") sprintf("\"%s\": %.3f", name[i], v[r, i])
	return "{" s "}"
}

function write_json(    r) {
	print "[" >json
	for (r = 1; r <= nrows; r++)
		printf "{\"row\": \"%s\", \"threads\": %d, \"ns\": %s, \"kb\": %s, " \
		    "\"time_ratio\": %.4f, \"memory_ratio\": %.4f}%s\n", row[r], \
		    threads[r], json_object(ns, r), json_object(kb, r), tratio[r], \
		    mratio[r], r < nrows ? "," : "" >json
	print "]" >json
	close(json)
}

{
	key = $2 " " $3
	if (!(key in index_of)) {
		index_of[key] = ++nrows
		row[nrows] = $2
		threads[nrows] = $3
	}
	times[key, $1] = times[key, $1] " " $4
	sizes[key, $1] = sizes[key, $1] " " $5
}

END {
	n = split(names, name, " ")
	line = sprintf("%-20s%4s", unit == "" ? "ns per operation" : unit, "thr")
	for (i = 1; i <= n; i++)
		line = line sprintf("%9s", name[i])
	print line sprintf("%7s%9s%9s%7s", "x best", "MB best", "MB ours", "x best")
	for (r = 1; r <= nrows; r++) {
		key = row[r] " " threads[r]
		for (i = 1; i <= n; i++) {
			ns[r, i] = median(times[key, name[i]])
			kb[r, i] = median(sizes[key, name[i]])
		}
		report_row(r)
	}
	report_means()
	report_worst()
	report_lost()
	if (json != "")
		write_json()
	if (svg != "")
		chart()
}
