/*
 * picture_json.c - a picture for programs: every span and every segment.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/picture_impl.h"

static void
json_segment(const struct qr_picture *p, struct qr_out *o,
    const struct pic_seg *seg, bool first)
{
	qr_out_printf(o, "%s\n{\"start\":%lu,\"size\":%zu,\"allocated\":%s",
	    first ? "" : ",", (unsigned long)seg->s_start, seg->s_size,
	    seg->s_kind == PIC_ALLOC ? "true" : "false");
	if (seg->s_kind == PIC_ALLOC && p->p_owners != 0) {
		qr_out_printf(o, ",\"owner\":");
		qr_out_json(o, p->p_owner[seg->s_owner]);
	}
	qr_out_printf(o, "}");
}

static void
json_frame(const struct qr_frame *fr, struct qr_out *o)
{
	qr_out_printf(o, "\"window\":[%lu,%lu],\"boundary\":%zu,",
	    (unsigned long)fr->fr_first, (unsigned long)fr->fr_last,
	    fr->fr_boundary);
}

void
pic_json(const struct qr_picture *p, struct qr_out *o)
{
	struct pic_reader rd = {.rd_pic = p};
	struct pic_sums sums;
	struct pic_seg seg;
	bool first = true;

	pic_sum(p, &sums);
	qr_out_printf(o, "{\"name\":");
	qr_out_json(o, p->p_name);
	qr_out_printf(o,
	    ",\"unit\":\"%s\",\"quantum\":%zu,\"total\":%zu,\"allocated\":%zu,"
	    "\"free\":%zu,\"rounding\":%zu,\"largest_free\":%zu,",
	    p->p_unit, p->p_quantum, sums.su_total, sums.su_allocated,
	    sums.su_free.c_extent, sums.su_alloc.c_extent - sums.su_allocated,
	    sums.su_largest);
	if (p->p_frame != NULL)
		json_frame(p->p_frame, o);
	qr_out_printf(o, "\"spans\":[");
	while (pic_read(&rd, &seg)) {
		if (seg.s_kind != PIC_SPAN) {
			json_segment(p, o, &seg, first);
			first = false;
			continue;
		}
		qr_out_printf(o,
		    "%s\n{\"start\":%lu,\"size\":%zu,\"segments\":[",
		    o->o_comma ? "]}," : "", (unsigned long)seg.s_start,
		    seg.s_extent);
		o->o_comma = true;
		first = true;
	}
	qr_out_printf(o, "%s]}\n", o->o_comma ? "]}" : "");
}
