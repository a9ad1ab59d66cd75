/*
 * picture_rows.c - the rows of an SVG.
 *
 * Segments of some width are drawn each; of narrower neighbours so many are
 * drawn as one column that it has that width, filled to the part of it that is
 * allocated.  So the number of elements is bounded by the area, whatever the
 * number of segments.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/picture_svg.h"

enum {
	STRIP = 3,  /* height of the line that shows spans */
	COLUMN = 4, /* width below which segments are drawn together */
	LABEL = 70, /* width from which a segment has its size inside */
};

/* Less than this is no width. */
static const double nothing = 0.001;

/* Some segments, or parts of them, side by side in one row. */
struct column {
	unsigned c_row;
	double c_x0, c_x1;
	double c_alloc, c_free; /* widths */
	size_t c_spans;
	struct pic_class c_allocs, c_frees;
	size_t c_owned[QR_OWNERS_MAX];
	struct pic_seg c_seg; /* the first */
	uintptr_t c_last;     /* the last integer */
};

/* What is being drawn. */
struct rows {
	struct svg *w_svg;
	struct column w_segs;  /* being filled */
	struct column w_spans; /* the same for the spans */
	uintptr_t w_span;      /* the last one drawn */
	bool w_odd;            /* neighbours differ in shade */
};

/* "START - LAST", for hovering. */
static void
svg_title(struct svg *v, uintptr_t first, uintptr_t last)
{
	char a[PIC_TEXT], b[PIC_TEXT];

	qr_out_printf(v->v_out, "<title>%s - %s\n",
	    pic_addr(v->v_pic, first, a), pic_addr(v->v_pic, last, b));
}

/* ---- segments ---- */

static void
svg_single(struct svg *v, const struct pic_seg *seg, unsigned row, double x0,
    double x1)
{
	bool alloc = seg->s_kind == PIC_ALLOC;
	bool largest = !alloc && seg->s_start == v->v_sums.su_largest_at;
	bool dark = alloc &&
	    (v->v_pic->p_owners != 0 ||
		pic_shade(v, seg->s_extent) >= PIC_SHADES / 2);
	double y = pic_row_y(v, row);
	double gap = x1 - x0 > 3 ? 0.6 : 0;
	char a[PIC_TEXT];

	if (alloc)
		pic_owned(v, seg->s_owner, seg->s_extent, PIC_LEFT + x0, y,
		    x1 - x0 - gap, v->v_height);
	else
		pic_shaded(v, PIC_FREE, seg->s_extent, PIC_LEFT + x0, y,
		    x1 - x0 - gap, v->v_height);
	qr_out_printf(v->v_out, ">");
	svg_title(v, seg->s_start, seg->s_start + (seg->s_extent - 1));
	pic_exact_size(v, alloc ? "allocated:" : "free:", seg->s_size);
	if (alloc && v->v_pic->p_owners != 0) {
		qr_out_printf(v->v_out, " of ");
		qr_out_xml(v->v_out, v->v_pic->p_owner[seg->s_owner]);
	}
	qr_out_printf(v->v_out, "%s</title></rect>\n",
	    largest ? "\nthe largest free segment" : "");
	if (largest) {
		pic_rect(v->v_out, "l", PIC_LEFT + x0, y, x1 - x0, v->v_height);
		qr_out_printf(v->v_out, "/>\n");
	}
	if (x1 - x0 >= LABEL && v->v_height >= 24)
		qr_out_printf(v->v_out,
		    "<text class=\"%c\" x=\"%.1f\" y=\"%.1f\">%s</text>\n",
		    dark ? 'w' : 'm', PIC_LEFT + (x0 + x1) / 2,
		    y + v->v_height / 2 + 4,
		    pic_size(v->v_pic, seg->s_size, a));
}

/* What is there at all shows, however little it is. */
static double
filled(const struct svg *v, const struct column *c)
{
	double width = c->c_alloc + c->c_free;
	double part = width > 0 ? v->v_height * c->c_alloc / width : 0;
	double least = v->v_height / 8, most = v->v_height - least;

	if (c->c_allocs.c_count == 0)
		return (0);
	if (c->c_frees.c_count == 0)
		return (v->v_height);
	return (part < least ? least : part > most ? most : part);
}

/* Who has most of it. */
static unsigned
owner_of(const struct column *c)
{
	unsigned most = 0;

	for (unsigned i = 1; i < QR_OWNERS_MAX; i++)
		most = c->c_owned[i] > c->c_owned[most] ? i : most;
	return (most);
}

/* One kind of the segments of a column; nothing when there are none. */
static void
svg_part(struct svg *v, const struct column *c, enum pic_kind kind,
    const struct pic_class *class, double y, double height)
{
	double x = PIC_LEFT + c->c_x0, width = c->c_x1 - c->c_x0;

	if (class->c_count == 0)
		return;
	width = width > 1 ? width : 1;
	if (kind == PIC_ALLOC)
		pic_owned(v, owner_of(c), class->c_extent / class->c_count, x,
		    y, width, height);
	else
		pic_shaded(v, kind, class->c_extent / class->c_count, x, y,
		    width, height);
	qr_out_printf(v->v_out, "/>");
}

static void
svg_several(struct svg *v, const struct column *c)
{
	const struct pic_class *alloc = &c->c_allocs, *free = &c->c_frees;
	double part = filled(v, c), y = pic_row_y(v, c->c_row);

	qr_out_printf(v->v_out, "<g>");
	svg_title(v, c->c_seg.s_start, c->c_last);
	qr_out_printf(v->v_out, "%zu allocated", alloc->c_count);
	if (alloc->c_count != 0)
		pic_exact_size(v, ":", alloc->c_extent);
	qr_out_printf(v->v_out, "\n%zu free", free->c_count);
	if (free->c_count != 0)
		pic_exact_size(v, ":", free->c_extent);
	qr_out_printf(v->v_out, "</title>");
	svg_part(v, c, PIC_FREE, free, y, v->v_height - part);
	svg_part(v, c, PIC_ALLOC, alloc, y + v->v_height - part, part);
	qr_out_printf(v->v_out, "</g>\n");
}

static void
svg_span(struct svg *v, const struct column *c, bool odd)
{
	double width = c->c_x1 - c->c_x0;

	pic_rect(v->v_out, odd ? "s1" : "s0", PIC_LEFT + c->c_x0,
	    pic_row_y(v, c->c_row) + v->v_height + 1, width > 1 ? width : 1,
	    STRIP);
	qr_out_printf(v->v_out, ">");
	svg_title(v, c->c_seg.s_start, c->c_last);
	if (c->c_spans > 1)
		qr_out_printf(v->v_out, "%zu spans", c->c_spans);
	else
		pic_exact_size(v, "span:", c->c_seg.s_extent);
	qr_out_printf(v->v_out, "</title></rect>\n");
}

/* ---- columns ---- */

static bool
column_empty(const struct column *c)
{
	return (c->c_spans + c->c_allocs.c_count + c->c_frees.c_count == 0);
}

static void
column_flush(struct rows *w, struct column *c)
{
	size_t segments = c->c_allocs.c_count + c->c_frees.c_count;

	if (c->c_spans != 0) {
		w->w_odd ^= c->c_seg.s_start != w->w_span;
		w->w_span = c->c_seg.s_start;
		svg_span(w->w_svg, c, w->w_odd);
	} else if (segments > 1) {
		svg_several(w->w_svg, c);
	} else if (segments == 1) {
		svg_single(w->w_svg, &c->c_seg, c->c_row, c->c_x0,
		    c->c_x1 > c->c_x0 + 1 ? c->c_x1 : c->c_x0 + 1);
	}
	*c = (struct column){.c_row = 0};
}

/* Add the part of a bit that lies in [x0, x1). */
static void
column_add(struct column *c, const struct pic_bit *bit, double x0, double x1)
{
	const struct pic_seg *seg = bit->b_seg;

	if (column_empty(c)) {
		c->c_row = bit->b_row;
		c->c_x0 = x0;
		c->c_seg = *seg;
	}
	c->c_x1 = x1;
	c->c_last = seg->s_start + (seg->s_extent - 1);
	if (seg->s_kind == PIC_SPAN) {
		c->c_spans++;
	} else if (seg->s_kind == PIC_ALLOC) {
		c->c_alloc += x1 - x0;
		c->c_allocs.c_count++;
		c->c_allocs.c_extent += seg->s_extent;
		c->c_owned[seg->s_owner] += seg->s_extent;
	} else {
		c->c_free += x1 - x0;
		c->c_frees.c_count++;
		c->c_frees.c_extent += seg->s_extent;
	}
}

/*
 * A column that was begun takes what it still needs from the left end of the
 * bit, however wide the bit is.
 */
static void
column_feed(struct rows *w, struct column *c, const struct pic_bit *bit)
{
	double x0 = bit->b_x0, x1;

	if (!column_empty(c) &&
	    (c->c_row != bit->b_row || x0 > c->c_x1 + nothing))
		column_flush(w, c);
	do {
		double room = COLUMN - (c->c_x1 - c->c_x0);

		x1 = bit->b_x1;
		if (!column_empty(c) && x1 - x0 > room)
			x1 = x0 + room;
		column_add(c, bit, x0, x1);
		if (c->c_x1 - c->c_x0 >= COLUMN - nothing)
			column_flush(w, c);
		x0 = x1;
	} while (x1 < bit->b_x1 - nothing);
}

/* ---- rows ---- */

static void
row_address(struct svg *v, const struct pic_bit *bit)
{
	char a[PIC_TEXT];

	qr_out_printf(v->v_out,
	    "<text class=\"r\" x=\"%d\" y=\"%.1f\">%s</text>\n", PIC_LEFT - 8,
	    pic_row_y(v, bit->b_row) + v->v_height / 2 + 4,
	    pic_addr(v->v_pic, bit->b_addr, a));
}

void
pic_svg_rows(struct svg *v)
{
	struct rows w = {.w_svg = v};
	struct pic_pen pn;
	struct pic_bit bit;
	unsigned labelled = 0;

	pic_pen_init(&pn, v->v_pic, &v->v_layout);
	while (pic_draw(&pn, &bit)) {
		if (labelled == bit.b_row) {
			row_address(v, &bit);
			labelled++;
		}
		column_feed(&w,
		    bit.b_seg->s_kind == PIC_SPAN ? &w.w_spans : &w.w_segs,
		    &bit);
	}
	column_flush(&w, &w.w_spans);
	column_flush(&w, &w.w_segs);
}
