/*
 * picture_impl.h - theory of pictures, and what their formats share.
 *
 * A picture has rows, each of a width that the format chooses: pixels or
 * columns of text.  Imagine the rows as one line.  Spans that touch are a
 * region, and lie on the line without a break, to scale.  A region begins a
 * row, so that the address of a place is that of its row and an offset; when
 * there are too many regions for that, it begins after a gap.
 *
 *	address   +0        +0x400    +0x800    +0xc00
 *	 0x10000  |aaaaaaaa|ffff|aaaa|ffffffff|aaaaaaaaaaaaa
 *	 0x11000  aaaa|fff|				(the same segment goes on)
 *	0x400000  |aaaa|ffff|				(another region)
 *
 * A reader turns the list of pieces into spans and the segments that tile them.
 * A pen cuts these at the ends of rows, into bits, which a format draws.
 */
#ifndef QR_PICTURE_IMPL_H
#define QR_PICTURE_IMPL_H

#include "base/out.h"
#include "base/picture.h"

enum pic_kind { PIC_SPAN, PIC_ALLOC, PIC_FREE };

struct pic_seg {
	enum pic_kind s_kind;
	uintptr_t s_start;
	size_t s_extent;  /* what it occupies */
	size_t s_size;    /* as asked for, if allocated */
	unsigned s_owner; /* if allocated */
	bool s_touches;   /* a span: begins where the one before it ends */
};

struct pic_reader {
	const struct qr_picture *rd_pic;
	size_t rd_next;    /* piece */
	uintptr_t rd_at;   /* where the span goes on */
	size_t rd_left;    /* integers of the span from there */
	bool rd_not_first; /* a span was read */
};

/* A span, then its segments, then the next span; false at the end. */
bool pic_read(struct pic_reader *rd, struct pic_seg *seg);

enum { PIC_CLASSES = 64 };

/* Segments that occupy at least 2^i integers, for one i. */
struct pic_class {
	size_t c_count;
	size_t c_extent; /* of all */
};

struct pic_sums {
	size_t su_spans, su_regions;
	size_t su_total;     /* integers in spans */
	size_t su_allocated; /* as asked for */
	size_t su_largest;   /* free segment */
	uintptr_t su_largest_at;
	size_t su_widest;                   /* region */
	struct pic_class su_alloc, su_free; /* all of them */
	struct pic_class su_allocs[PIC_CLASSES], su_frees[PIC_CLASSES];
	struct pic_class su_owned[QR_OWNERS_MAX]; /* allocated, by owner */
};

void pic_sum(const struct qr_picture *p, struct pic_sums *sums);

struct pic_layout {
	double y_width; /* of a row */
	size_t y_units; /* integers per row */
	size_t y_gap;   /* the same, between regions that do not begin rows */
	bool y_breaks;  /* regions begin rows */
	unsigned y_rows;
};

/* What a format can show. */
struct pic_paper {
	double pp_width; /* of a row */
	size_t
	    pp_cells;  /* in a row, each of a round number of integers; or 0 */
	double pp_gap; /* between regions that do not begin rows */
	size_t pp_per_row; /* one more row for as many segments... */
	size_t pp_rows;    /* ... up to about this */
};

void pic_lay_out(const struct qr_picture *p, const struct pic_sums *sums,
    const struct pic_paper *paper, struct pic_layout *layout);

/* A span or segment, or the part of it that lies in one row. */
struct pic_bit {
	const struct pic_seg *b_seg;
	unsigned b_row;
	double b_x0, b_x1; /* from the beginning of the row */
	uintptr_t b_addr;  /* at b_x0 */
};

/* A place in the picture: a row, and integers from its beginning. */
struct pic_place {
	unsigned l_row;
	size_t l_off;
};

struct pic_pen {
	struct pic_reader pn_reader;
	const struct pic_layout *pn_layout;
	struct pic_seg pn_seg;
	size_t pn_done;            /* integers of pn_seg that are drawn */
	struct pic_place pn_at;    /* of the next bit */
	struct pic_place pn_begin; /* of the span */
};

void pic_pen_init(struct pic_pen *pn, const struct qr_picture *p,
    const struct pic_layout *layout);
bool pic_draw(struct pic_pen *pn, struct pic_bit *bit);

/*
 * The part of [first, last] that is in the frame; false when none is.  All of
 * it without a frame.
 */
bool pic_framed(const struct qr_picture *p, uintptr_t *first, uintptr_t *last);

/* A round number that is at least x: a power of two, or 1, 2, 5, 10, ... */
size_t pic_round(size_t x, bool memory);

enum { PIC_TEXT = 48 };

/*
 * For people: an address; a size, of memory as "1.50 KiB"; a size with its
 * unit; a part of the whole, in percent; a number of things.
 */
const char *pic_addr(
    const struct qr_picture *p, uintptr_t addr, char buf[PIC_TEXT]);
const char *pic_size(
    const struct qr_picture *p, size_t size, char buf[PIC_TEXT]);
const char *pic_amount(
    const struct qr_picture *p, size_t size, char buf[PIC_TEXT]);
const char *pic_share(size_t part, size_t whole, char buf[PIC_TEXT]);
const char *pic_count(size_t n, const char *what, char buf[PIC_TEXT]);

/* The formats. */
void pic_svg(const struct qr_picture *p, struct qr_out *o);
void pic_text(const struct qr_picture *p, struct qr_out *o);
void pic_json(const struct qr_picture *p, struct qr_out *o);

#endif /* QR_PICTURE_IMPL_H */
