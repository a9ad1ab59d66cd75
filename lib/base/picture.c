/*
 * picture.c - what the formats of pictures share: reading the pieces, adding
 * them up, laying them out.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/picture_impl.h"

#include "base/bits.h"
#include "base/fmt.h"

#include <errno.h>
#include <string.h>

enum {
	REGION_ROWS = 12, /* more regions do not begin rows of their own */
	GAP_ROWS = 3,     /* all gaps together take at most as much */
};

/* ---- pieces ---- */

bool
pic_read(struct pic_reader *rd, struct pic_seg *seg)
{
	const struct qr_picture *p = rd->rd_pic;
	const struct qr_piece *e =
	    rd->rd_next < p->p_count ? &p->p_piece[rd->rd_next] : NULL;

	if (rd->rd_left == 0) {
		if (e == NULL)
			return (false);
		*seg = (struct pic_seg){.s_kind = PIC_SPAN,
		    .s_start = e->e_start,
		    .s_extent = e->e_size,
		    .s_touches = rd->rd_not_first && rd->rd_at == e->e_start};
		rd->rd_at = e->e_start;
		rd->rd_left = e->e_size;
		rd->rd_next++;
		rd->rd_not_first = true;
		return (true);
	}
	seg->s_start = rd->rd_at;
	if (e != NULL && e->e_kind == QR_PIECE_ALLOC &&
	    e->e_start == rd->rd_at) {
		seg->s_kind = PIC_ALLOC;
		seg->s_size = e->e_size;
		seg->s_owner = e->e_owner;
		seg->s_extent = qr_roundup(e->e_size, p->p_quantum);
		rd->rd_next++;
	} else {
		seg->s_kind = PIC_FREE;
		seg->s_extent = e != NULL && e->e_kind == QR_PIECE_ALLOC
		    ? e->e_start - rd->rd_at
		    : rd->rd_left;
		seg->s_size = seg->s_extent;
	}
	rd->rd_at += seg->s_extent;
	rd->rd_left -= seg->s_extent;
	return (true);
}

static void
count(struct pic_class *c, size_t extent)
{
	c->c_count++;
	c->c_extent += extent;
}

/* To the class of its size, and to all. */
static void
class_add(struct pic_class *classes, struct pic_class *all, size_t extent)
{
	count(&classes[qr_log2(extent)], extent);
	count(all, extent);
}

void
pic_sum(const struct qr_picture *p, struct pic_sums *sums)
{
	struct pic_reader rd = {.rd_pic = p};
	struct pic_seg seg;
	size_t region = 0;

	memset(sums, 0, sizeof(*sums));
	while (pic_read(&rd, &seg)) {
		switch (seg.s_kind) {
		case PIC_SPAN:
			region = seg.s_touches ? region + seg.s_extent
					       : seg.s_extent;
			sums->su_spans++;
			sums->su_regions += !seg.s_touches;
			sums->su_total += seg.s_extent;
			sums->su_widest = qr_max(sums->su_widest, region);
			break;
		case PIC_ALLOC:
			sums->su_allocated += seg.s_size;
			class_add(
			    sums->su_allocs, &sums->su_alloc, seg.s_extent);
			count(&sums->su_owned[seg.s_owner], seg.s_extent);
			break;
		case PIC_FREE:
			class_add(sums->su_frees, &sums->su_free, seg.s_extent);
			if (seg.s_size > sums->su_largest) {
				sums->su_largest = seg.s_size;
				sums->su_largest_at = seg.s_start;
			}
			break;
		}
	}
}

bool
pic_framed(const struct qr_picture *p, uintptr_t *first, uintptr_t *last)
{
	if (p->p_frame != NULL) {
		*first = qr_max(*first, p->p_frame->fr_first);
		*last = qr_min(*last, p->p_frame->fr_last);
	}
	return (*first <= *last);
}

/* ---- layout ---- */

size_t
pic_round(size_t x, bool memory)
{
	static const size_t digits[] = {2, 5, 10};
	size_t unit = 1;

	if (memory)
		return (x > SIZE_MAX / 2 ? x : qr_pow2up(x));
	for (;;) {
		if (x <= unit || unit > SIZE_MAX / 10)
			return (qr_max(x, unit));
		for (unsigned i = 0; i < QR_ARRAY_LEN(digits); i++)
			if (x <= digits[i] * unit)
				return (digits[i] * unit);
		unit *= 10;
	}
}

/*
 * At least x, and so that cells begin at round numbers; or rows, and at quanta
 * too.
 */
static size_t
round_row(const struct qr_picture *p, size_t x, size_t cells)
{
	size_t step;

	if (cells != 0) {
		step = pic_round((x - 1) / cells + 1, p->p_memory);
		return (step > SIZE_MAX / cells ? x : step * cells);
	}
	step = pic_round(x, p->p_memory) / (p->p_memory ? 16 : 20);
	step = qr_max(step, p->p_quantum);
	return (x > SIZE_MAX - step ? x : (x + step - 1) / step * step);
}

static unsigned
count_rows(const struct qr_picture *p, const struct pic_layout *layout)
{
	struct pic_pen pn;
	struct pic_bit bit;
	unsigned rows = 0;

	pic_pen_init(&pn, p, layout);
	while (pic_draw(&pn, &bit))
		rows = bit.b_row + 1;
	return (rows);
}

void
pic_lay_out(const struct qr_picture *p, const struct pic_sums *sums,
    const struct pic_paper *paper, struct pic_layout *layout)
{
	size_t segments = sums->su_alloc.c_count + sums->su_free.c_count;
	size_t rows =
	    qr_max(1, qr_min(segments / paper->pp_per_row, paper->pp_rows));
	double gap = GAP_ROWS / (double)qr_max(1, sums->su_regions);

	layout->y_width = paper->pp_width;
	layout->y_breaks = sums->su_regions <= REGION_ROWS;
	layout->y_units = qr_max(1, sums->su_total / rows);
	if (layout->y_breaks)
		layout->y_units =
		    qr_min(layout->y_units, qr_max(1, sums->su_widest));
	if (rows > 1 || paper->pp_cells != 0)
		layout->y_units =
		    round_row(p, layout->y_units, paper->pp_cells);
	if (gap > paper->pp_gap / paper->pp_width)
		gap = paper->pp_gap / paper->pp_width;
	layout->y_gap = qr_roundup(
	    1 + (size_t)(gap * (double)layout->y_units), p->p_quantum);
	layout->y_rows = count_rows(p, layout);
}

void
pic_pen_init(struct pic_pen *pn, const struct qr_picture *p,
    const struct pic_layout *layout)
{
	*pn = (struct pic_pen){.pn_reader.rd_pic = p, .pn_layout = layout};
}

/* A place n integers further. */
static struct pic_place
place_after(const struct pic_layout *y, struct pic_place at, size_t n)
{
	size_t rest = n % y->y_units;

	at.l_row += (unsigned)(n / y->y_units);
	if (rest >= y->y_units - at.l_off) {
		at.l_row++;
		at.l_off = rest - (y->y_units - at.l_off);
	} else {
		at.l_off += rest;
	}
	return (at);
}

/* The segments of a span are drawn where the span is. */
static bool
pen_next_segment(struct pic_pen *pn)
{
	const struct pic_layout *y = pn->pn_layout;
	bool after_span = pn->pn_done != 0 && pn->pn_seg.s_kind == PIC_SPAN;

	if (!pic_read(&pn->pn_reader, &pn->pn_seg))
		return (false);
	pn->pn_done = 0;
	if (after_span)
		pn->pn_at = pn->pn_begin;
	if (pn->pn_seg.s_kind != PIC_SPAN)
		return (true);
	if (pn->pn_reader.rd_next != 1 && !pn->pn_seg.s_touches) {
		if (!y->y_breaks)
			pn->pn_at = place_after(y, pn->pn_at, y->y_gap);
		else if (pn->pn_at.l_off != 0)
			pn->pn_at = (struct pic_place){pn->pn_at.l_row + 1, 0};
	}
	pn->pn_begin = pn->pn_at;
	return (true);
}

bool
pic_draw(struct pic_pen *pn, struct pic_bit *bit)
{
	const struct pic_layout *y = pn->pn_layout;
	double scale = y->y_width / (double)y->y_units;
	size_t n;

	if (pn->pn_done == pn->pn_seg.s_extent && !pen_next_segment(pn))
		return (false);
	n = qr_min(
	    pn->pn_seg.s_extent - pn->pn_done, y->y_units - pn->pn_at.l_off);
	bit->b_seg = &pn->pn_seg;
	bit->b_addr = pn->pn_seg.s_start + pn->pn_done;
	bit->b_row = pn->pn_at.l_row;
	bit->b_x0 = (double)pn->pn_at.l_off * scale;
	bit->b_x1 = (double)(pn->pn_at.l_off + n) * scale;
	pn->pn_done += n;
	pn->pn_at = place_after(y, pn->pn_at, n);
	return (true);
}

/* ---- words ---- */

const char *
pic_addr(const struct qr_picture *p, uintptr_t addr, char buf[PIC_TEXT])
{
	qr_snprintf(
	    buf, PIC_TEXT, p->p_memory ? "0x%lx" : "%lu", (unsigned long)addr);
	return (buf);
}

const char *
pic_size(const struct qr_picture *p, size_t size, char buf[PIC_TEXT])
{
	static const char prefix[] = "KMGTPE";
	double d = (double)size / 1024;
	unsigned i = 0;
	int digits;

	if (!p->p_memory || size < 1024) {
		qr_snprintf(buf, PIC_TEXT, p->p_memory ? "%zu B" : "%zu", size);
		return (buf);
	}
	for (; d >= 1024; d /= 1024)
		i++;
	digits = d >= 100 ? 0 : d >= 10 ? 1 : 2;
	if ((size & (((size_t)1024 << 10 * i) - 1)) == 0)
		digits = 0;
	qr_snprintf(buf, PIC_TEXT, "%.*f %ciB", digits, d, prefix[i]);
	return (buf);
}

const char *
pic_amount(const struct qr_picture *p, size_t size, char buf[PIC_TEXT])
{
	if (p->p_memory)
		return (pic_size(p, size, buf));
	qr_snprintf(buf, PIC_TEXT, "%zu %s", size, p->p_unit);
	return (buf);
}

const char *
pic_share(size_t part, size_t whole, char buf[PIC_TEXT])
{
	double percent = whole == 0 ? 0 : (double)part * 100 / (double)whole;

	qr_snprintf(buf, PIC_TEXT, "%.*f %%", percent < 10 && part != 0 ? 1 : 0,
	    percent);
	return (buf);
}

const char *
pic_count(size_t n, const char *what, char buf[PIC_TEXT])
{
	qr_snprintf(buf, PIC_TEXT, "%zu %s%s", n, what, n == 1 ? "" : "s");
	return (buf);
}

/* ---- the formats ---- */

int
qr_picture_write(const struct qr_picture *p, int fd, const char *format)
{
	static const struct {
		const char *name;
		void (*write)(const struct qr_picture *p, struct qr_out *o);
	} formats[] = {
	    {"svg", pic_svg},
	    {"text", pic_text},
	    {"json", pic_json},
	};
	struct qr_out o = {.o_fd = fd};

	for (size_t i = 0; i < QR_ARRAY_LEN(formats); i++) {
		if (format == NULL || strcmp(formats[i].name, format) != 0)
			continue;
		formats[i].write(p, &o);
		qr_out_flush(&o);
		return (o.o_error);
	}
	return (EINVAL);
}
