/*
 * bits.h - power-of-two arithmetic on machine words.
 *
 * Every alignment `a` is a power of two.  Ends of ranges are inclusive, so
 * that a range may reach the very top of the address space.
 */
#ifndef QR_BITS_H
#define QR_BITS_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* True for 1, 2, 4, ...; false for 0. */
static inline bool
qr_ispow2(uintptr_t x)
{
	return (x != 0 && (x & (x - 1)) == 0);
}

/* Round up to a multiple of `a`; wraps to 0 past the top. */
static inline uintptr_t
qr_roundup(uintptr_t x, uintptr_t a)
{
	return ((x + a - 1) & ~(a - 1));
}

static inline uintptr_t
qr_rounddown(uintptr_t x, uintptr_t a)
{
	return (x & ~(a - 1));
}

/* x mod a. */
static inline uintptr_t
qr_phase(uintptr_t x, uintptr_t a)
{
	return (x & (a - 1));
}

/* Distance from x up to the next multiple of `a`; 0 when x is one. */
static inline uintptr_t
qr_nphase(uintptr_t x, uintptr_t a)
{
	return (-x & (a - 1));
}

/* Smallest y >= x with y mod a == phase; may wrap past the top. */
static inline uintptr_t
qr_phaseup(uintptr_t x, uintptr_t a, uintptr_t phase)
{
	return (phase - (((phase - x)) & -a));
}

/* Does [x, x + len) straddle a multiple of `a`?  Never when a is 0. */
static inline bool
qr_crosses(uintptr_t x, uintptr_t len, uintptr_t a)
{
	return (a != 0 && ((x ^ (x + len - 1)) & -a) != 0);
}

/* Index of the highest set bit; x must not be 0. */
static inline unsigned
qr_log2(uintptr_t x)
{
	return (63u - (unsigned)__builtin_clzl(x));
}

/* Index of the lowest set bit; x must not be 0. */
static inline unsigned
qr_ctz(uintptr_t x)
{
	return ((unsigned)__builtin_ctzl(x));
}

/* Smallest power of two >= x, for 1 <= x <= 2^63. */
static inline uintptr_t
qr_pow2up(uintptr_t x)
{
	return (x <= 1 ? 1 : (uintptr_t)1 << (qr_log2(x - 1) + 1));
}

static inline size_t
qr_min(size_t a, size_t b)
{
	return (a < b ? a : b);
}

static inline size_t
qr_max(size_t a, size_t b)
{
	return (a > b ? a : b);
}

#endif /* QR_BITS_H */
