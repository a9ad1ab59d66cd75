# chart.awk - the medians of a comparison as a picture: one line for each row,
# one dot on it for each allocator, on a logarithmic scale of the ratio to the
# best of the others.  Ours is the diamond.  The name of a row has its
# numbers as a title.
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

# A dot is a stroke of no length with round ends: all of one kind are a path.
function dot(i, x, y) {
	if (i == n)
		dots[i] = dots[i] sprintf("M%d %dl5 5-5 5-5-5z", x, y - 5)
	else
		dots[i] = dots[i] sprintf("M%d %dh0", x, y)
}

function chart_head(    i, x, r) {
	printf "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' " \
	    "font-family='sans-serif' font-size='12'>\n", left + width + 60, \
	    top + nrows * step + 20 >svg
	print "<style>text{fill:#222}.n{text-anchor:end}line{stroke:#ddd}" \
	    ".one{stroke:#888}path{stroke-width:8;stroke-linecap:round}" \
	    "</style>" >svg
	print "<rect width='100%' height='100%' fill='#fff'/>" >svg
	for (i = 1; i <= n; i++) {
		x = left + (i - 1) * 100
		dot(i, x, 20)
		printf "<text x='%d' y='24'>%s</text>\n", x + 10, escape(name[i]) >svg
	}
	for (r = low; r <= high; r *= 2) {
		x = x_of(r)
		printf "<line class='%s' x1='%d' x2='%d' y1='%d' y2='%d'/>\n", \
		    r == 1 ? "one" : "", x, x, top - 10, top + nrows * step >svg
		printf "<text x='%d' y='%d' text-anchor='middle'>%s%s</text>\n", \
		    x, top - 16, r, r == 1 ? " = best peer" : "" >svg
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
		grid = grid sprintf("M%d %dh%d", left, y, width)
		printf "<text class='n' x='%d' y='%d'><title>", left - 12, y + 4 >svg
		for (i = 1; i <= n; i++) {
			dot(i, x_of(ns[r, i] / b), y)
			printf "%s%s %s", i == 1 ? "" : ", ", escape(name[i]), \
			    show(ns[r, i] * scale) >svg
		}
		printf "</title>%s, %s</text>\n", escape(row[r]), threads[r] >svg
	}
	printf "<path stroke='#ddd' style='stroke-width:1' d='%s'/>\n", grid >svg
	for (i = 1; i < n; i++)
		printf "<path stroke='%s' d='%s'/>\n", color[i], dots[i] >svg
	printf "<path fill='#c00' d='%s'/>\n</svg>\n", dots[n] >svg
	close(svg)
}
