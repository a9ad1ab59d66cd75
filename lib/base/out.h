/*
 * out.h - text on its way to a descriptor, or to memory.
 */
#ifndef QR_OUT_H
#define QR_OUT_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * A buffer in front of o_fd, or of the o_room bytes at o_text, if that is not
 * NULL; all else begins as 0.  The first error sticks, and nothing is written
 * after it.  Text that has no room is lost; a NUL is always behind it.
 */
struct qr_out {
	int o_fd;
	char *o_text;
	size_t o_room;
	int o_error;  /* errno */
	bool o_comma; /* for JSON: an element was written before */
	size_t o_len;
	char o_buf[2048];
};

/* As qr_snprintf; what is beyond 511 characters may be cut off. */
void qr_out_printf(struct qr_out *o, const char *fmt, ...) QR_PRINTF(2, 3);

/*
 * s as a JSON string and as the value of a label of OpenMetrics, with its quotes,
 * and as text in XML.  What the format does not allow is escaped; what is not
 * UTF-8 - a name may have been cut anywhere - becomes U+FFFD.
 */
void qr_out_json(struct qr_out *o, const char *s);
void qr_out_label(struct qr_out *o, const char *s);
void qr_out_xml(struct qr_out *o, const char *s);

/* The head of a family of OpenMetrics: "quarry_" + room + name. */
void qr_out_family(struct qr_out *o, const char *room, const char *name,
    const char *kind, const char *help);

void qr_out_flush(struct qr_out *o);

#endif /* QR_OUT_H */
