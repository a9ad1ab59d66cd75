/*
 * picture_svg.c - a picture for a browser: self-contained, without scripts.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/picture_svg.h"

#include "base/bits.h"

#include <string.h>

enum {
	WIDTH = 1240,
	TOP = 122,   /* of the rows */
	LEGEND = 20, /* height of a line of it, between heading and rows */
	ROWS = 32,
	SEGMENTS_PER_ROW = 48,
	BARS = 64, /* height of the highest bar of sizes */
	BAR_WIDTH_MAX = 64,
	ABOVE_BARS = 46,
	BELOW_BARS = 70,
};

void
pic_rect(struct qr_out *o, const char *class, double x, double y, double width,
    double height)
{
	qr_out_printf(o,
	    "<rect class=\"%s\" x=\"%.2f\" y=\"%.1f\" width=\"%.2f\""
	    " height=\"%.1f\"",
	    class, x, y, width, height);
}

void
pic_exact_size(struct svg *v, const char *what, size_t size)
{
	char a[PIC_TEXT];

	qr_out_printf(v->v_out, "%s %zu %s", what, size, v->v_pic->p_unit);
	if (v->v_pic->p_memory && size >= 1024)
		qr_out_printf(v->v_out, " (%s)", pic_size(v->v_pic, size, a));
}

unsigned
pic_shade(const struct svg *v, size_t size)
{
	unsigned range = v->v_max - v->v_min;

	if (size == 0 || range == 0)
		return (PIC_SHADES / 2);
	return ((qr_log2(size) - v->v_min) * (PIC_SHADES - 1) / range);
}

void
pic_shaded(struct svg *v, enum pic_kind kind, size_t size, double x, double y,
    double width, double height)
{
	char class[] = {kind == PIC_ALLOC ? 'a' : 'f',
	    (char)('0' + pic_shade(v, size)), '\0'};

	pic_rect(v->v_out, class, x, y, width, height);
}

void
pic_owned(struct svg *v, unsigned owner, size_t size, double x, double y,
    double width, double height)
{
	char class[] = {'o', (char)('0' + owner), '\0'};

	if (v->v_pic->p_owners == 0)
		pic_shaded(v, PIC_ALLOC, size, x, y, width, height);
	else
		pic_rect(v->v_out, class, x, y, width, height);
}

/* ---- around the rows ---- */

/*
 * Allocated: pale to dark blue, or a colour for each owner; free: from orange
 * crumbs to pale green.
 */
static void
svg_style(struct qr_out *o)
{
	static const unsigned alloc[PIC_SHADES] = {0xb5d0ec, 0x95bbe1, 0x74a5d5,
	    0x558fc8, 0x3c79b8, 0x2863a3, 0x184e8a, 0x0b396e};
	static const unsigned free[PIC_SHADES] = {0xf0913a, 0xf2a85c, 0xf4bd80,
	    0xf2cfa2, 0xecdcbd, 0xe4e6cc, 0xd9ead0, 0xcdebd0};
	static const unsigned owner[QR_OWNERS_MAX] = {0x3c79b8, 0xb5485d,
	    0x7a5aa6, 0x3f8f8b, 0x8a6d3b, 0xc46fae, 0x556b2f, 0x777777};

	qr_out_printf(o,
	    "<style>text{font:12px sans-serif;fill:#222;white-space:pre}\n"
	    ".h{font-size:18px;font-weight:bold}"
	    ".r{text-anchor:end;font-family:monospace}"
	    ".m{text-anchor:middle}.w{text-anchor:middle;fill:#fff}\n"
	    ".n{text-anchor:middle;fill:#666}.c{"
	    "fill:#666}.t{stroke:#bbb}"
	    ".s0{fill:#444}.s1{fill:#999}"
	    ".d{fill:#fff;fill-opacity:.6;pointer-events:none}"
	    ".g{stroke:#c00;stroke-dasharray:3 2;pointer-events:none}"
	    ".l{fill:none;stroke:#2a8f3c;stroke-width:1.5;pointer-events:"
	    "none}");
	for (unsigned i = 0; i < PIC_SHADES; i++)
		qr_out_printf(o, "\n.a%u{fill:#%06x}.f%u{fill:#%06x}", i,
		    alloc[i], i, free[i]);
	for (unsigned i = 0; i < QR_OWNERS_MAX; i++)
		qr_out_printf(o, "\n.o%u{fill:#%06x}", i, owner[i]);
	qr_out_printf(o, "</style>\n");
}

static void
svg_heading(struct svg *v)
{
	const struct qr_picture *p = v->v_pic;
	const struct pic_sums *sums = &v->v_sums;
	struct qr_out *o = v->v_out;
	char a[PIC_TEXT], b[PIC_TEXT], c[PIC_TEXT];

	qr_out_printf(o, "<text class=\"h\" x=\"16\" y=\"30\">");
	qr_out_xml(o, p->p_name);
	qr_out_printf(o,
	    "</text>\n<text x=\"16\" y=\"52\">%s in %s, quantum %s</text>\n",
	    pic_amount(p, sums->su_total, a),
	    pic_count(sums->su_spans, "span", b), pic_size(p, p->p_quantum, c));
	qr_out_printf(o, "<text x=\"16\" y=\"72\">allocated: %s, %s, in %s",
	    pic_size(p, sums->su_allocated, a),
	    pic_share(sums->su_allocated, sums->su_total, b),
	    pic_count(sums->su_alloc.c_count, "segment", c));
	if (sums->su_alloc.c_extent != sums->su_allocated)
		qr_out_printf(o, ", rounded up by %s",
		    pic_size(
			p, sums->su_alloc.c_extent - sums->su_allocated, a));
	qr_out_printf(o, ";    free: %s, %s, in %s",
	    pic_size(p, sums->su_free.c_extent, a),
	    pic_share(sums->su_free.c_extent, sums->su_total, b),
	    pic_count(sums->su_free.c_count, "segment", c));
	if (sums->su_free.c_count != 0)
		qr_out_printf(o,
		    ";    largest free run: %s, %s of what is free",
		    pic_size(p, sums->su_largest, a),
		    pic_share(sums->su_largest, sums->su_free.c_extent, b));
	qr_out_printf(o, "</text>\n");
}

/* The colours of owners, and what the frame is. */
static void
svg_legend(struct svg *v)
{
	const struct qr_picture *p = v->v_pic;
	const struct qr_frame *fr = p->p_frame;
	struct qr_out *o = v->v_out;
	char a[PIC_TEXT], b[PIC_TEXT];
	double step = (double)(WIDTH - 32) / QR_OWNERS_MAX, y = 92;

	for (unsigned i = 0; i < p->p_owners; i++) {
		double x = 16 + i * step;

		pic_owned(v, i, 0, x, y - 9, 10, 10);
		qr_out_printf(o, "/><text x=\"%.1f\" y=\"%.0f\">", x + 15, y);
		qr_out_xml(o, p->p_owner[i]);
		qr_out_printf(o, " %s</text>\n",
		    pic_size(p, v->v_sums.su_owned[i].c_extent, a));
	}
	if (fr == NULL)
		return;
	y += p->p_owners != 0 ? LEGEND : 0;
	qr_out_printf(o,
	    "<text class=\"c\" x=\"16\" y=\"%.0f\">the last request was for "
	    "%s to %s",
	    y, pic_addr(p, fr->fr_first, a), pic_addr(p, fr->fr_last, b));
	if (fr->fr_boundary != 0)
		qr_out_printf(
		    o, ", boundary %s", pic_size(p, fr->fr_boundary, a));
	qr_out_printf(o, "</text>\n");
}

/*
 * Lines at round distances: from the beginning of each row, or at round
 * addresses when there is one row only.
 */
static void
svg_axis(struct svg *v)
{
	const struct qr_picture *p = v->v_pic;
	const struct pic_layout *y = &v->v_layout;
	size_t step = pic_round(qr_max(1, y->y_units / 8), p->p_memory);
	uintptr_t base = y->y_rows == 1 ? p->p_piece[0].e_start : 0;
	double bottom = pic_row_y(v, y->y_rows);
	char a[PIC_TEXT];

	if (!y->y_breaks)
		return;
	for (size_t at = (step - base % step) % step;
	     at <= y->y_units && at <= SIZE_MAX - step; at += step) {
		double x =
		    PIC_LEFT + PIC_ROW_WIDTH * (double)at / (double)y->y_units;

		qr_out_printf(v->v_out,
		    "<line class=\"t\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.0f\""
		    " y2=\"%.1f\"/>"
		    "<text class=\"n\" x=\"%.1f\" y=\"%.0f\">%s%s</text>\n",
		    x, x, v->v_top - 10, bottom, x, v->v_top - 14,
		    y->y_rows == 1 ? "" : "+", pic_addr(p, base + at, a));
	}
}

/* ---- sizes ---- */

/* One bar from the line in the middle, up or down, with the number it is of. */
static void
svg_bar(struct svg *v, enum pic_kind kind, unsigned log2,
    const struct pic_class *c, double x, double middle, double width)
{
	double height = (double)c->c_extent * v->v_scale;
	size_t from = (size_t)1 << log2;
	char a[PIC_TEXT], b[PIC_TEXT];
	bool up = kind == PIC_ALLOC;

	if (c->c_count == 0)
		return;
	if (height < 1)
		height = 1;
	pic_shaded(v, kind, from, x, up ? middle - height : middle + 18, width,
	    height);
	qr_out_printf(v->v_out, "><title>%zu %s segments of %s to %s,",
	    c->c_count, up ? "allocated" : "free", pic_size(v->v_pic, from, a),
	    pic_size(v->v_pic, from + (from - 1), b));
	pic_exact_size(v, " in all", c->c_extent);
	qr_out_printf(v->v_out,
	    "</title></rect>"
	    "<text class=\"n\" x=\"%.1f\" y=\"%.1f\">%zu</text>\n",
	    x + width / 2, up ? middle - height - 4 : middle + 18 + height + 13,
	    c->c_count);
}

static size_t
most(const struct pic_class *classes)
{
	size_t extent = 0;

	for (unsigned i = 0; i < PIC_CLASSES; i++)
		extent = qr_max(extent, classes[i].c_extent);
	return (extent);
}

static bool
class_used(const struct svg *v, unsigned i)
{
	return (v->v_sums.su_allocs[i].c_count != 0 ||
	    v->v_sums.su_frees[i].c_count != 0);
}

static void
svg_sizes(struct svg *v, double top)
{
	const struct pic_sums *sums = &v->v_sums;
	struct qr_out *o = v->v_out;
	double middle = top + ABOVE_BARS + v->v_up;
	double x = PIC_LEFT, step;
	unsigned bars = 0;
	char a[PIC_TEXT];

	for (unsigned i = 0; i < PIC_CLASSES; i++)
		bars += class_used(v, i);
	step = (double)PIC_ROW_WIDTH / bars;
	if (step > BAR_WIDTH_MAX)
		step = BAR_WIDTH_MAX;
	qr_out_printf(o,
	    "<text x=\"16\" y=\"%.1f\">Segments by size: how much they"
	    " occupy in all, and how many they are.</text>\n"
	    "<text class=\"r\" x=\"%d\" y=\"%.1f\">allocated</text>\n"
	    "<text class=\"r\" x=\"%d\" y=\"%.1f\">size from</text>\n"
	    "<text class=\"r\" x=\"%d\" y=\"%.1f\">free</text>\n",
	    top + 16, PIC_LEFT - 8, middle - 4, PIC_LEFT - 8, middle + 13,
	    PIC_LEFT - 8, middle + 30);
	for (unsigned i = 0; i < PIC_CLASSES; i++) {
		if (!class_used(v, i))
			continue;
		qr_out_printf(o,
		    "<text class=\"m\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
		    x + step / 2, middle + 13,
		    pic_size(v->v_pic, (size_t)1 << i, a));
		svg_bar(v, PIC_ALLOC, i, &sums->su_allocs[i], x + 2, middle,
		    step - 4);
		svg_bar(v, PIC_FREE, i, &sums->su_frees[i], x + 2, middle,
		    step - 4);
		x += step;
	}
}

/* ---- the whole ---- */

static void
svg_measure(struct svg *v)
{
	static const struct pic_paper paper = {PIC_ROW_WIDTH, 0, 6, 48, 32};
	double up = (double)most(v->v_sums.su_allocs);
	double down = (double)most(v->v_sums.su_frees);
	unsigned rows;

	v->v_scale = BARS / (up > down ? up : down);
	v->v_up = up * v->v_scale;
	v->v_down = down * v->v_scale;
	v->v_min = PIC_CLASSES;
	for (unsigned i = 0; i < PIC_CLASSES; i++) {
		if (!class_used(v, i))
			continue;
		v->v_min = (unsigned)qr_min(v->v_min, i);
		v->v_max = i;
	}
	pic_lay_out(v->v_pic, &v->v_sums, &paper, &v->v_layout);
	rows = v->v_layout.y_rows;
	v->v_height = rows == 1 ? 72 : rows <= 4 ? 40 : rows <= 12 ? 24 : 16;
	v->v_pitch = v->v_height + (rows <= 12 ? 14 : 8);
}

void
pic_svg(const struct qr_picture *p, struct qr_out *o)
{
	struct svg v = {.v_pic = p, .v_out = o};
	double bottom, height;

	pic_sum(p, &v.v_sums);
	v.v_top = TOP + LEGEND * ((p->p_owners != 0) + (p->p_frame != NULL));
	if (v.v_sums.su_spans != 0)
		svg_measure(&v);
	bottom = pic_row_y(&v, v.v_layout.y_rows);
	height = bottom + ABOVE_BARS + v.v_up + v.v_down + BELOW_BARS;
	qr_out_printf(o,
	    "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\""
	    " height=\"%.0f\" viewBox=\"0 0 %d %.0f\">\n",
	    WIDTH, height, WIDTH, height);
	svg_style(o);
	qr_out_printf(
	    o, "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n");
	svg_heading(&v);
	svg_legend(&v);
	if (v.v_sums.su_spans != 0) {
		svg_axis(&v);
		pic_svg_rows(&v);
		if (p->p_frame != NULL)
			pic_svg_frame(&v);
		svg_sizes(&v, bottom);
		qr_out_printf(o,
		    "<text class=\"c\" x=\"16\" y=\"%.1f\">Narrow neighbours "
		    "are"
		    " one column, dark from below as far as they are allocated."
		    "</text>\n",
		    height - 14);
	}
	qr_out_printf(o, "</svg>\n");
}
