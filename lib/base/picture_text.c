/*
 * picture_text.c - a picture for a terminal of 80 columns.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/picture_impl.h"

#include "base/bits.h"

#include <string.h>

enum { COLUMNS = 64 };

/* The row that is being filled: parts of each character. */
struct row {
	uintptr_t r_addr;
	uintptr_t r_last;
	double r_alloc[COLUMNS];
	double r_free[COLUMNS];
	char r_letter[COLUMNS]; /* of who allocated, or '#': several did */
};

static void
text_line(const struct qr_picture *p, const char *what, size_t size,
    size_t whole, struct qr_out *o)
{
	char a[PIC_TEXT], b[PIC_TEXT];

	qr_out_printf(o, "%14s %10s %7s ", what, pic_size(p, size, a),
	    pic_share(size, whole, b));
}

static void
text_sums(
    const struct qr_picture *p, const struct pic_sums *sums, struct qr_out *o)
{
	char a[PIC_TEXT], b[PIC_TEXT], c[PIC_TEXT];

	qr_out_printf(o, "%s: %s in %s, quantum %s\n", p->p_name,
	    pic_amount(p, sums->su_total, a),
	    pic_count(sums->su_spans, "span", b), pic_size(p, p->p_quantum, c));
	text_line(p, "allocated", sums->su_allocated, sums->su_total, o);
	qr_out_printf(
	    o, " in %s", pic_count(sums->su_alloc.c_count, "segment", a));
	if (sums->su_alloc.c_extent != sums->su_allocated)
		qr_out_printf(o, ", rounded up by %s",
		    pic_size(
			p, sums->su_alloc.c_extent - sums->su_allocated, a));
	qr_out_printf(o, "\n");
	text_line(p, "free", sums->su_free.c_extent, sums->su_total, o);
	qr_out_printf(
	    o, " in %s\n", pic_count(sums->su_free.c_count, "segment", a));
	if (sums->su_free.c_count == 0)
		return;
	text_line(
	    p, "largest free", sums->su_largest, sums->su_free.c_extent, o);
	qr_out_printf(o, " of what is free, at %s\n",
	    pic_addr(p, sums->su_largest_at, b));
}

/* Nothing allocated or nothing free is shown only where that is so. */
static char
shade(const struct row *r, size_t i)
{
	if (r->r_alloc[i] <= 0)
		return (r->r_free[i] <= 0 ? ' ' : '.');
	if (r->r_free[i] <= 0)
		return (r->r_letter[i]);
	return (r->r_alloc[i] < r->r_free[i] ? '-' : '+');
}

static char
letter(const struct qr_picture *p, unsigned owner)
{
	return (p->p_owners == 0 ? '#' : (char)('a' + owner));
}

static void
row_flush(const struct qr_picture *p, struct row *r, struct qr_out *o)
{
	uintptr_t first = r->r_addr, last = r->r_last;
	bool marked = p->p_frame != NULL && pic_framed(p, &first, &last);
	char line[COLUMNS + 1], addr[PIC_TEXT];
	size_t n = 0;

	for (size_t i = 0; i < COLUMNS; i++) {
		line[i] = shade(r, i);
		if (line[i] != ' ')
			n = i + 1;
	}
	line[n] = '\0';
	if (n != 0)
		qr_out_printf(o, "%14s%c%s\n", pic_addr(p, r->r_addr, addr),
		    marked ? '|' : ' ', line);
	memset(r, 0, sizeof(*r));
}

/* A bit is there, however small. */
static void
row_add(const struct qr_picture *p, struct row *r, const struct pic_bit *bit)
{
	bool alloc = bit->b_seg->s_kind == PIC_ALLOC;
	double *part = alloc ? r->r_alloc : r->r_free;
	char c = letter(p, bit->b_seg->s_owner);
	size_t i = qr_min((size_t)(bit->b_x0 + 1e-6), COLUMNS - 1);

	do {
		double from = bit->b_x0 > (double)i ? bit->b_x0 : (double)i;
		double to =
		    bit->b_x1 < (double)i + 1 ? bit->b_x1 : (double)i + 1;

		part[i] += to > from ? to - from : 1e-9;
		if (alloc)
			r->r_letter[i] =
			    r->r_letter[i] == '\0' || r->r_letter[i] == c ? c
									  : '#';
		i++;
	} while (i < COLUMNS && (double)i + 1e-6 < bit->b_x1);
}

static void
text_map(const struct qr_picture *p, const struct pic_layout *layout,
    struct qr_out *o)
{
	struct row r = {.r_addr = 0};
	struct pic_pen pn;
	struct pic_bit bit;
	unsigned row = 0;
	bool first = true;

	pic_pen_init(&pn, p, layout);
	while (pic_draw(&pn, &bit)) {
		if (bit.b_seg->s_kind == PIC_SPAN)
			continue;
		if (bit.b_row != row)
			row_flush(p, &r, o);
		if (bit.b_row != row || first)
			r.r_addr = bit.b_addr;
		row = bit.b_row;
		r.r_last = bit.b_seg->s_start + (bit.b_seg->s_extent - 1);
		first = false;
		row_add(p, &r, &bit);
	}
	row_flush(p, &r, o);
}

static void
text_owners(
    const struct qr_picture *p, const struct pic_sums *sums, struct qr_out *o)
{
	char a[PIC_TEXT], b[PIC_TEXT];

	for (unsigned i = 0; i < p->p_owners; i++) {
		const struct pic_class *c = &sums->su_owned[i];

		qr_out_printf(o, "%14s %c %s: %s in %s\n", "", letter(p, i),
		    p->p_owner[i], pic_size(p, c->c_extent, a),
		    pic_count(c->c_count, "segment", b));
	}
}

static void
text_frame(const struct qr_picture *p, struct qr_out *o)
{
	const struct qr_frame *fr = p->p_frame;
	char a[PIC_TEXT], b[PIC_TEXT];

	qr_out_printf(o, "%14s | the last request was for %s to %s", "",
	    pic_addr(p, fr->fr_first, a), pic_addr(p, fr->fr_last, b));
	if (fr->fr_boundary != 0)
		qr_out_printf(
		    o, ", boundary %s", pic_size(p, fr->fr_boundary, a));
	qr_out_printf(o, "\n");
}

static void
text_classes(
    const struct qr_picture *p, const struct pic_sums *sums, struct qr_out *o)
{
	char a[PIC_TEXT], b[PIC_TEXT], c[PIC_TEXT];

	qr_out_printf(o, "\n%14s %10s %10s %12s %10s\n", "size from",
	    "allocated", "in all", "free", "in all");
	for (unsigned i = 0; i < PIC_CLASSES; i++) {
		const struct pic_class *alloc = &sums->su_allocs[i];
		const struct pic_class *free = &sums->su_frees[i];

		if (alloc->c_count == 0 && free->c_count == 0)
			continue;
		qr_out_printf(o, "%14s %10zu %10s %12zu %10s\n",
		    pic_size(p, (size_t)1 << i, a), alloc->c_count,
		    pic_size(p, alloc->c_extent, b), free->c_count,
		    pic_size(p, free->c_extent, c));
	}
}

void
pic_text(const struct qr_picture *p, struct qr_out *o)
{
	static const struct pic_paper paper = {COLUMNS, COLUMNS, 1, 4, 24};
	struct pic_layout layout;
	struct pic_sums sums;
	char a[PIC_TEXT];

	pic_sum(p, &sums);
	text_sums(p, &sums, o);
	if (sums.su_spans == 0)
		return;
	pic_lay_out(p, &sums, &paper, &layout);
	qr_out_printf(o, "\n");
	text_map(p, &layout, o);
	qr_out_printf(o,
	    "%14s %s allocated, + mostly, - partly, . free;"
	    " %s per character\n",
	    "", p->p_owners == 0 ? "#" : "a letter or #",
	    pic_size(p, layout.y_units / COLUMNS, a));
	text_owners(p, &sums, o);
	if (p->p_frame != NULL)
		text_frame(p, o);
	text_classes(p, &sums, o);
}
