/*
 * vmem_fit.c - pure: can [first, last] hold this request, and where?
 *
 * All arithmetic is modulo 2^64 with inclusive ends; every step that could
 * wrap is checked where it could.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_impl.h"

/*
 * Moving a straddling place to the multiple it straddles keeps the phase,
 * because align divides nocross, and cannot straddle the next one, because
 * phase + size rounded up to align is at most nocross.
 */
bool
vmem__fit_low(
    const struct vmem_req *r, uintptr_t first, uintptr_t last, uintptr_t *addrp)
{
	uintptr_t low = qr_max(first, r->r_min);
	uintptr_t high = qr_min(last, r->r_max);
	uintptr_t a = qr_phaseup(low, r->r_align, r->r_phase);

	if (a < low || a > high)
		return (false);
	if (high - a < r->r_size - 1)
		return (false);
	if (qr_crosses(a, r->r_size, r->r_nocross)) {
		uintptr_t place =
		    a + qr_roundup(qr_nphase(a, r->r_nocross), r->r_align);

		if (place < a || place > high || high - place < r->r_size - 1)
			return (false);
		a = place;
	}
	*addrp = a;
	return (true);
}

/* The highest a <= x congruent to the phase; false when there is none. */
static bool
phase_down(const struct vmem_req *r, uintptr_t x, uintptr_t *addrp)
{
	uintptr_t over = qr_phase(x - r->r_phase, r->r_align);

	if (over > x)
		return (false);
	*addrp = x - over;
	return (true);
}

bool
vmem__fit_high(
    const struct vmem_req *r, uintptr_t first, uintptr_t last, uintptr_t *addrp)
{
	uintptr_t low = qr_max(first, r->r_min);
	uintptr_t high = qr_min(last, r->r_max);
	uintptr_t a;

	if (low > high || high - low < r->r_size - 1)
		return (false);
	if (!phase_down(r, high - (r->r_size - 1), &a) || a < low)
		return (false);
	if (qr_crosses(a, r->r_size, r->r_nocross)) {
		uintptr_t edge =
		    qr_rounddown(a + (r->r_size - 1), r->r_nocross);

		if (!phase_down(r, edge - r->r_size, &a) || a < low)
			return (false);
	}
	*addrp = a;
	return (true);
}

/*
 * At worst a run begins one quantum past a place, so that r_align - quantum
 * integers are lost, and then r straddles at its last integer, which loses
 * its size and the phase once more.  Those two are r_nocross at most, as the
 * alignment is, so that what is lost is a number.
 */
size_t
vmem__fit_surely(const struct vmem_req *r, size_t quantum)
{
	size_t need = r->r_extent;
	size_t lost = r->r_align - quantum;

	if (r->r_nocross != 0)
		lost += r->r_extent + r->r_phase;
	if (__builtin_add_overflow(need, lost, &need))
		return (SIZE_MAX);
	return (need);
}
