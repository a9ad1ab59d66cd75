/*
 * out.c - text on its way to a descriptor, or to memory.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/out.h"

#include "base/bits.h"
#include "base/fmt.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

enum { ROOM = 512 }; /* for one call of qr_out_printf */

static void
text_flush(struct qr_out *o)
{
	size_t len = qr_min(o->o_len, o->o_room - 1);

	memcpy(o->o_text, o->o_buf, len);
	o->o_text[len] = '\0';
	o->o_text += len;
	o->o_room -= len;
	o->o_len = 0;
}

void
qr_out_flush(struct qr_out *o)
{
	size_t done = 0;

	if (o->o_text != NULL) {
		text_flush(o);
		return;
	}
	while (done < o->o_len && o->o_error == 0) {
		ssize_t n = write(o->o_fd, o->o_buf + done, o->o_len - done);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			o->o_error = errno;
	}
	o->o_len = 0;
}

void
qr_out_printf(struct qr_out *o, const char *fmt, ...)
{
	size_t room, len;
	va_list ap;

	if (sizeof(o->o_buf) - o->o_len < ROOM)
		qr_out_flush(o);
	room = sizeof(o->o_buf) - o->o_len;
	va_start(ap, fmt);
	len = qr_vsnprintf(o->o_buf + o->o_len, room, fmt, ap);
	va_end(ap);
	o->o_len += qr_min(len, room - 1);
}

/* Bytes of the UTF-8 character that s begins with; 0 when it is none. */
static int
utf8_length(const char *s)
{
	const unsigned char *u = (const unsigned char *)s;
	int n = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : u[0] >= 0x80 ? 2 : 1;

	for (int i = 1; i < n; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return (0);
	}
	/* Not the shortest form, a surrogate, or past the last character. */
	if ((n == 2 && u[0] < 0xc2) || (u[0] == 0xe0 && u[1] < 0xa0) ||
	    (u[0] == 0xed && u[1] > 0x9f) || (u[0] == 0xf0 && u[1] < 0x90) ||
	    (u[0] == 0xf4 && u[1] > 0x8f) || u[0] > 0xf4)
		return (0);
	return (n);
}

/* JSON escapes all control characters; a label three characters, and no others. */
static void
quoted(struct qr_out *o, const char *s, bool json)
{
	int n;

	qr_out_printf(o, "\"");
	for (; *s != '\0'; s += n == 0 ? 1 : n) {
		n = utf8_length(s);
		if (n == 0)
			qr_out_printf(o, json ? "\\ufffd" : "\xef\xbf\xbd");
		else if (*s == '"' || *s == '\\')
			qr_out_printf(o, "\\%c", *s);
		else if (json && (unsigned char)*s < 0x20)
			qr_out_printf(o, "\\u%04x", (unsigned)*s);
		else if (*s == '\n')
			qr_out_printf(o, "\\n");
		else
			qr_out_printf(o, "%.*s", n, s);
	}
	qr_out_printf(o, "\"");
}

void
qr_out_json(struct qr_out *o, const char *s)
{
	quoted(o, s, true);
}

void
qr_out_label(struct qr_out *o, const char *s)
{
	quoted(o, s, false);
}

void
qr_out_family(struct qr_out *o, const char *room, const char *name,
    const char *kind, const char *help)
{
	qr_out_printf(o, "# TYPE quarry_%s%s %s\n# HELP quarry_%s%s %s.\n",
	    room, name, kind, room, name, help);
}

/* Control characters cannot even be escaped in XML. */
void
qr_out_xml(struct qr_out *o, const char *s)
{
	int n;

	for (; *s != '\0'; s += n == 0 ? 1 : n) {
		n = utf8_length(s);
		if (n == 0 || (unsigned char)*s < 0x20)
			qr_out_printf(o, "\xef\xbf\xbd");
		else if (*s == '<' || *s == '>' || *s == '&' || *s == '"')
			qr_out_printf(o, "&#%d;", *s);
		else
			qr_out_printf(o, "%.*s", n, s);
	}
}
