/*
 * picture_frame.c - the frame of an SVG: the window and the boundaries of a
 * request, over the rows.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/bits.h"
#include "base/picture_svg.h"

/* Lines that are nearer than this are no help. */
enum { LINES_APART = 4 };

/* Part of a row, from one address up to another. */
struct stretch {
	double st_scale; /* width of an integer */
	const struct pic_bit *st_bit;
	uintptr_t st_last; /* of the bit */
};

static double
x_of(const struct stretch *st, uintptr_t addr)
{
	return (PIC_LEFT + st->st_bit->b_x0 +
	    (double)(addr - st->st_bit->b_addr) * st->st_scale);
}

static void
pale(struct svg *v, const struct stretch *st, double x0, double x1)
{
	if (x1 <= x0)
		return;
	pic_rect(v->v_out, "d", x0, pic_row_y(v, st->st_bit->b_row), x1 - x0,
	    v->v_height);
	qr_out_printf(v->v_out, "/>\n");
}

static void
window(struct svg *v, const struct stretch *st)
{
	uintptr_t first = st->st_bit->b_addr, last = st->st_last;
	double begin = x_of(st, first), end = PIC_LEFT + st->st_bit->b_x1;

	if (!pic_framed(v->v_pic, &first, &last)) {
		pale(v, st, begin, end);
		return;
	}
	pale(v, st, begin, x_of(st, first));
	if (last != st->st_last)
		pale(v, st, x_of(st, last + 1), end);
}

static void
boundaries(struct svg *v, const struct stretch *st)
{
	size_t step = v->v_pic->p_frame->fr_boundary;
	uintptr_t at = qr_roundup(st->st_bit->b_addr, step);
	double y = pic_row_y(v, st->st_bit->b_row);

	for (; at - st->st_bit->b_addr <= st->st_last - st->st_bit->b_addr;
	     at += step) {
		double x = x_of(st, at);

		qr_out_printf(v->v_out,
		    "<line class=\"g\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\""
		    " y2=\"%.1f\"/>\n",
		    x, x, y - 2, y + v->v_height + 2);
	}
}

void
pic_svg_frame(struct svg *v)
{
	double scale = v->v_layout.y_width / (double)v->v_layout.y_units;
	size_t step = v->v_pic->p_frame->fr_boundary;
	struct pic_pen pn;
	struct pic_bit bit;

	pic_pen_init(&pn, v->v_pic, &v->v_layout);
	while (pic_draw(&pn, &bit)) {
		struct stretch st = {scale, &bit, 0};

		if (bit.b_seg->s_kind != PIC_SPAN)
			continue;
		st.st_last = bit.b_addr +
		    ((size_t)((bit.b_x1 - bit.b_x0) / scale + 0.5) - 1);
		window(v, &st);
		if (step != 0 && (double)step * scale >= LINES_APART)
			boundaries(v, &st);
	}
}
