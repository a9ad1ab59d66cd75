/*
 * fmt.h - formatting into a caller's buffer, without stdio or malloc.
 *
 * Understands %c %s %d %i %u %x %p %% with the flags '-' and '0', a width,
 * a precision for %s, '*' for both, and the lengths l, ll, z and j.  %f, with
 * a precision of at most 9, takes a non-negative double below 1e18; any other
 * double prints as "?".  %p is 0x and hexadecimal digits, for NULL too; a NULL
 * string is "(null)".  What is not understood is copied as it stands.
 */
#ifndef QR_FMT_H
#define QR_FMT_H

#include "base/compiler.h"

#include <stdarg.h>
#include <stddef.h>

/*
 * Write at most size - 1 characters and a NUL.  Returns the length the whole
 * text has, as snprintf does; buf may be NULL when size is 0.
 * Async-signal-safe.
 */
size_t qr_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap);
size_t qr_snprintf(char *buf, size_t size, const char *fmt, ...)
    QR_PRINTF(3, 4);

/*
 * The same for "%s" and "%s_%zu", without the code of all other conversions:
 * each process makes names when it starts.
 */
size_t qr_name(char *buf, size_t size, const char *name);
size_t qr_name_sized(char *buf, size_t size, const char *stem, size_t n);

#endif /* QR_FMT_H */
