/*
 * picture_svg.h - the two halves of the SVG: rows, and what is around them.
 */
#ifndef QR_PICTURE_SVG_H
#define QR_PICTURE_SVG_H

#include "base/picture_impl.h"

enum {
	PIC_LEFT = 150, /* of the rows: their addresses stand before */
	PIC_ROW_WIDTH = 1020,
	PIC_SHADES =
	    8, /* of sizes: classes a0 ... for allocated, f0 ... free */
};

struct svg {
	const struct qr_picture *v_pic;
	struct qr_out *v_out;
	struct pic_sums v_sums;
	struct pic_layout v_layout;
	unsigned v_min, v_max; /* log2 of the sizes that there are */
	double v_top;          /* of the first row */
	double v_height;       /* of a row's segments */
	double v_pitch;        /* from row to row */
	double v_scale;        /* height of a bar per integer */
	double v_up, v_down;   /* height of the highest bars */
};

/* The segments and spans in their rows, and the address of each row. */
void pic_svg_rows(struct svg *v);
/* Over them: what is not in the frame is pale, its boundaries are lines. */
void pic_svg_frame(struct svg *v);

static inline double
pic_row_y(const struct svg *v, unsigned row)
{
	return (v->v_top + row * v->v_pitch);
}

/* Of a size: 0 for the smallest that there is to PIC_SHADES - 1. */
unsigned pic_shade(const struct svg *v, size_t size);

/*
 * A rectangle, all but the end of the element; in the colour of segments of
 * that kind and size.
 */
void pic_rect(struct qr_out *o, const char *class, double x, double y,
    double width, double height);
void pic_shaded(struct svg *v, enum pic_kind kind, size_t size, double x,
    double y, double width, double height);
/* The same for what is allocated, in the colour of the owner if there is one. */
void pic_owned(struct svg *v, unsigned owner, size_t size, double x, double y,
    double width, double height);

/* "WHAT 4096 bytes (4 KiB)" */
void pic_exact_size(struct svg *v, const char *what, size_t size);

#endif /* QR_PICTURE_SVG_H */
