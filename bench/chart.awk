# chart.awk - the medians of a comparison as a picture: one line for each row,
# one dot on it for each allocator, on a logarithmic scale of the ratio to the
# best of the others.  Ours is the diamond.
#
# Input and names: as for report.awk, whose medians and keys it shares.
#
# SPDX-License-Identifier: BSD-2-Clause

function escape(s) {
	gsub(/&/, "\\&amp;", s)
	gsub(/</, "\\&lt;", s)
	return s
}

function x_of(ratio) {
	ratio = ratio < low ? low : ratio > high ? high : ratio
	return left + width * log(ratio / low) / log(high / low)
}

function dot(i, x, y, title) {
	if (i == n)
		printf "<path class='ours' d='M%.1f %.1fl6 6l-6 6l-6-6z'>", x, y - 6 >svg
	else
		printf "<circle cx='%.1f' cy='%.1f' r='4' fill='%s'>", x, y, color[i] >svg
	printf "<title>%s</title>%s\n", title, i == n ? "</path>" : "</circle>" >svg
}

function chart_head(    i, x, r) {
	printf "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' " \
	    "font-family='sans-serif' font-size='12'>\n", left + width + 60, \
	    top + nrows * step + 20 >svg
	print "<style>.ours{fill:#c00}text{fill:#222}line{stroke:#ddd}" \
	    ".one{stroke:#888}</style>" >svg
	print "<rect width='100%' height='100%' fill='#fff'/>" >svg
	for (i = 1; i <= n; i++) {
		x = left + (i - 1) * 100
		dot(i, x, 20, name[i])
		printf "<text x='%d' y='24'>%s</text>\n", x + 10, escape(name[i]) >svg
	}
	for (r = low; r <= high; r *= 2) {
		printf "<line class='%s' x1='%.1f' x2='%.1f' y1='%d' y2='%d'/>\n", \
		    r == 1 ? "one" : "", x_of(r), x_of(r), top - 10, \
		    top + nrows * step >svg
		printf "<text x='%.1f' y='%d' text-anchor='middle'>%s%s</text>\n", \
		    x_of(r), top - 16, r, r == 1 ? " = best peer" : "" >svg
	}
}

function chart(    r, i, y, b) {
	split("#4878a8 #6a9f58 #8f6bb1 #d08a3c #6b6b6b #3b8f8f", color, " ")
	left = 190
	width = 640
	top = 70
	step = 17
	low = 0.25
	high = 16
	chart_head()
	for (r = 1; r <= nrows; r++) {
		y = top + (r - 0.5) * step
		b = best(ns, r)
		printf "<line x1='%d' x2='%d' y1='%.1f' y2='%.1f'/>" \
		    "<text x='%d' y='%.1f' text-anchor='end'>%s, %s</text>\n", left, \
		    left + width, y, y, left - 12, y + 4, escape(row[r]), \
		    threads[r] >svg
		for (i = 1; i <= n; i++)
			dot(i, x_of(ns[r, i] / b), y, sprintf("%s: %s, %.2f x best", \
			    name[i], show(ns[r, i] * scale), ns[r, i] / b))
	}
	print "</svg>" >svg
	close(svg)
}
