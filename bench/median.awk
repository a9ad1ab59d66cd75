# median.awk - what the reports share: medians, and short numbers.
#
# SPDX-License-Identifier: BSD-2-Clause

function median(list,    v, n, i, j, x) {
	n = split(list, v, " ")
	for (i = 2; i <= n; i++) {
		x = v[i] + 0
		for (j = i - 1; j > 0 && v[j] + 0 > x; j--)
			v[j + 1] = v[j]
		v[j + 1] = x
	}
	return n % 2 ? v[(n + 1) / 2] + 0 : (v[n / 2] + v[n / 2 + 1]) / 2
}

function show(x) {
	return x == "" ? "-" : x >= 1e6 ? sprintf("%.2fM", x / 1e6) : \
	    x >= 1e4 ? sprintf("%.1fk", x / 1e3) : \
	    x >= 100 ? sprintf("%.0f", x) : sprintf("%.1f", x)
}
