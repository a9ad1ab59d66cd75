/*
 * fmt.c - formatting into a caller's buffer, without stdio or malloc.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/fmt.h"

#include "base/bits.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Where the text goes; o_len counts what did not fit, too. */
struct out {
	char *o_buf;
	size_t o_size;
	size_t o_len;
};

enum length { LEN_INT, LEN_LONG, LEN_LLONG, LEN_SIZE, LEN_MAX };

/* One conversion between '%' and its letter. */
struct spec {
	bool s_left;
	bool s_zero;
	size_t s_width;
	bool s_has_prec;
	size_t s_prec;
	enum length s_length;
};

/* Lets a va_list be handed down by pointer, whatever its type is. */
struct args {
	va_list a_ap;
};

/* Longest integer text: 20 decimal digits. */
enum { NUMBER_MAX = 20, FRACTION_MAX = 9 };

static const char *
string_of(const char *s)
{
	return (s == NULL ? "(null)" : s);
}

static void
put(struct out *o, const char *s, size_t n)
{
	if (o->o_len < o->o_size) {
		size_t room = o->o_size - o->o_len;

		memcpy(o->o_buf + o->o_len, s, qr_min(n, room));
	}
	o->o_len += n;
}

static void
put_text(struct out *o, const char *s)
{
	s = string_of(s);
	put(o, s, strlen(s));
}

static void
pad(struct out *o, char c, size_t n)
{
	while (n-- > 0)
		put(o, &c, 1);
}

/*
 * `prefix` (a sign or 0x) goes before zeroes that fill the width and after
 * spaces that do.
 */
static void
put_field(struct out *o, const struct spec *sp, const char *prefix,
    const char *body, size_t body_len)
{
	size_t prefix_len = strlen(prefix);
	size_t used = prefix_len + body_len;
	size_t fill = sp->s_width > used ? sp->s_width - used : 0;
	bool zero = sp->s_zero && !sp->s_left;

	if (!sp->s_left && !zero)
		pad(o, ' ', fill);
	put(o, prefix, prefix_len);
	if (zero)
		pad(o, '0', fill);
	put(o, body, body_len);
	if (sp->s_left)
		pad(o, ' ', fill);
}

/* Write v right-aligned before `end`; return its first digit. */
static char *
digits(char *end, uintmax_t v, unsigned base)
{
	do {
		*--end = "0123456789abcdef"[v % base];
		v /= base;
	} while (v != 0);
	return (end);
}

static void
put_number(struct out *o, const struct spec *sp, const char *prefix,
    uintmax_t v, unsigned base)
{
	char buf[NUMBER_MAX];
	char *end = buf + sizeof(buf);
	char *s = digits(end, v, base);

	put_field(o, sp, prefix, s, (size_t)(end - s));
}

/*
 * The fraction becomes a binary fixed-point number with 60 bits, so that ten
 * times it fits a word; what is below 2^-60 is dropped.  Ties go to the even
 * digit.
 */
static void
put_double(struct out *o, const struct spec *sp, double d)
{
	const uint64_t one = (uint64_t)1 << 60;
	const unsigned prec =
	    sp->s_has_prec ? (unsigned)qr_min(sp->s_prec, FRACTION_MAX) : 6;
	char buf[NUMBER_MAX + 1 + FRACTION_MAX];
	char *end = buf + sizeof(buf);
	char *s = end;
	uint64_t whole, rest, frac = 0, scale = 1;

	if (!(d >= 0 && d < 1e18)) {
		put_field(o, sp, "", "?", 1);
		return;
	}
	whole = (uint64_t)d;
	rest = (uint64_t)((d - (double)whole) * (double)one);
	for (unsigned i = 0; i < prec; i++) {
		rest *= 10;
		frac = frac * 10 + (rest >> 60);
		rest &= one - 1;
		scale *= 10;
	}
	if (rest > one / 2 ||
	    (rest == one / 2 && ((prec > 0 ? frac : whole) & 1) != 0))
		frac++;
	if (frac >= scale) {
		frac = 0;
		whole++;
	}
	for (unsigned i = 0; i < prec; i++) {
		*--s = (char)('0' + frac % 10);
		frac /= 10;
	}
	if (prec > 0)
		*--s = '.';
	s = digits(s, whole, 10);
	put_field(o, sp, "", s, (size_t)(end - s));
}

static void
put_string(struct out *o, const struct spec *sp, const char *s)
{
	struct spec text = *sp;
	size_t n = 0;

	s = string_of(s);
	/* The text need not end in a NUL when a precision bounds it. */
	while ((!sp->s_has_prec || n < sp->s_prec) && s[n] != '\0')
		n++;
	text.s_zero = false;
	put_field(o, &text, "", s, n);
}

static intmax_t
next_signed(struct args *a, enum length length)
{
	switch (length) {
	case LEN_LONG:
		return (va_arg(a->a_ap, long));
	case LEN_LLONG:
		return (va_arg(a->a_ap, long long));
	case LEN_SIZE:
		return ((intmax_t)va_arg(a->a_ap, size_t));
	case LEN_MAX:
		return (va_arg(a->a_ap, intmax_t));
	case LEN_INT:
		break;
	}
	return (va_arg(a->a_ap, int));
}

static uintmax_t
next_unsigned(struct args *a, enum length length)
{
	if (length == LEN_INT)
		return (va_arg(a->a_ap, unsigned));
	return ((uintmax_t)next_signed(a, length));
}

/* A decimal number or '*' at *fmt; negative only for '*'. */
static long
parse_count(const char **fmt, struct args *a)
{
	long n = 0;

	if (**fmt == '*') {
		(*fmt)++;
		return (va_arg(a->a_ap, int));
	}
	for (; **fmt >= '0' && **fmt <= '9'; (*fmt)++)
		n = n * 10 + (**fmt - '0');
	return (n);
}

static void
parse_length(const char **fmt, struct spec *sp)
{
	sp->s_length = LEN_INT;
	if (**fmt == 'z')
		sp->s_length = LEN_SIZE;
	else if (**fmt == 'j')
		sp->s_length = LEN_MAX;
	else if (**fmt == 'l')
		sp->s_length = (*fmt)[1] == 'l' ? LEN_LLONG : LEN_LONG;
	if (sp->s_length != LEN_INT)
		*fmt += sp->s_length == LEN_LLONG ? 2 : 1;
}

/* Read flags, width, precision and length; *fmt is left at the letter. */
static struct spec
parse_spec(const char **fmt, struct args *a)
{
	struct spec sp = {.s_left = false};
	long n;

	for (; **fmt == '-' || **fmt == '0'; (*fmt)++) {
		if (**fmt == '-')
			sp.s_left = true;
		else
			sp.s_zero = true;
	}
	n = parse_count(fmt, a);
	if (n < 0)
		sp.s_left = true;
	sp.s_width = (size_t)(n < 0 ? -n : n);
	if (**fmt == '.') {
		(*fmt)++;
		n = parse_count(fmt, a);
		sp.s_has_prec = n >= 0;
		sp.s_prec = n >= 0 ? (size_t)n : 0;
	}
	parse_length(fmt, &sp);
	return (sp);
}

/* False when `letter` names no conversion of ours. */
static bool
convert(struct out *o, const struct spec *sp, char letter, struct args *a)
{
	struct spec text = *sp;
	intmax_t v;
	char c;

	switch (letter) {
	case 'd':
	case 'i':
		v = next_signed(a, sp->s_length);
		put_number(o, sp, v < 0 ? "-" : "",
		    v < 0 ? -(uintmax_t)v : (uintmax_t)v, 10);
		return (true);
	case 'u':
		put_number(o, sp, "", next_unsigned(a, sp->s_length), 10);
		return (true);
	case 'x':
		put_number(o, sp, "", next_unsigned(a, sp->s_length), 16);
		return (true);
	case 'p':
		put_number(o, sp, "0x", (uintptr_t)va_arg(a->a_ap, void *), 16);
		return (true);
	case 's':
		put_string(o, sp, va_arg(a->a_ap, const char *));
		return (true);
	case 'c':
		c = (char)va_arg(a->a_ap, int);
		text.s_zero = false;
		put_field(o, &text, "", &c, 1);
		return (true);
	case 'f':
		put_double(o, sp, va_arg(a->a_ap, double));
		return (true);
	case '%':
		put(o, "%", 1);
		return (true);
	default:
		return (false);
	}
}

/* A buffer of size bytes. */
static struct out
begin(char *buf, size_t size)
{
	return ((struct out){buf, size > 0 ? size - 1 : 0, 0});
}

static size_t
end(struct out *o, size_t size)
{
	if (size > 0)
		o->o_buf[qr_min(o->o_len, o->o_size)] = '\0';
	return (o->o_len);
}

size_t
qr_vsnprintf(char *buf, size_t size, const char *fmt, va_list ap)
{
	struct out o = begin(buf, size);
	struct args a;

	va_copy(a.a_ap, ap);
	while (*fmt != '\0') {
		const char *start = fmt;
		struct spec sp;

		while (*fmt != '\0' && *fmt != '%')
			fmt++;
		put(&o, start, (size_t)(fmt - start));
		if (*fmt == '\0')
			break;
		start = fmt++;
		sp = parse_spec(&fmt, &a);
		if (convert(&o, &sp, *fmt, &a))
			fmt++;
		else
			put(&o, start, (size_t)(fmt - start));
	}
	va_end(a.a_ap);
	return (end(&o, size));
}

size_t
qr_snprintf(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	len = qr_vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return (len);
}

size_t
qr_name(char *buf, size_t size, const char *name)
{
	struct out o = begin(buf, size);

	put_text(&o, name);
	return (end(&o, size));
}

size_t
qr_name_sized(char *buf, size_t size, const char *stem, size_t n)
{
	struct out o = begin(buf, size);
	char number[NUMBER_MAX];
	char *last = number + sizeof(number);
	char *first = digits(last, n, 10);

	put_text(&o, stem);
	put(&o, "_", 1);
	put(&o, first, (size_t)(last - first));
	return (end(&o, size));
}
