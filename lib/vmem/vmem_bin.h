/*
 * vmem_bin.h - which list a free segment is on, by its size.  vm_lock is held
 * around everything here.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_BIN_H
#define QR_VMEM_BIN_H

#include "vmem/vmem_impl.h"

/* Of each power of two above VMEM_EXACT quanta there are so many lists, log2. */
enum { VMEM_BIN_PARTS = 3 };

static inline bool
vmem__bin_exact(const struct vmem *vmp, size_t size)
{
	return (size >> vmp->vm_qshift <= VMEM_EXACT);
}

/* The first list of the sizes from 2^log quanta on. */
static inline unsigned
vmem__bin_of_power(unsigned log)
{
	return (VMEM_EXACT + ((log - VMEM_EXACT_BITS) << VMEM_BIN_PARTS));
}

/* The list of free segments of n quanta; the last one has all larger ones. */
static inline unsigned
vmem__bin_of_quanta(size_t n)
{
	unsigned log, part;

	if (QR_LIKELY(n <= VMEM_EXACT))
		return ((unsigned)n - 1);
	log = qr_log2(n);
	part = (unsigned)(n >> (log - VMEM_BIN_PARTS)) - (1u << VMEM_BIN_PARTS);
	return (
	    (unsigned)qr_min(vmem__bin_of_power(log) + part, VMEM_BINS - 1));
}

static inline unsigned
vmem__bin_of(const struct vmem *vmp, size_t size)
{
	return (vmem__bin_of_quanta(size >> vmp->vm_qshift));
}

/* The first list from `bin` on that is not empty, or VMEM_BINS. */
static inline unsigned
vmem__bin_next(const struct vmem *vmp, unsigned bin)
{
	unsigned i = bin / 64;
	uint64_t word;

	if (QR_UNLIKELY(bin >= VMEM_BINS))
		return (VMEM_BINS);
	word = vmp->vm_bins[i] & -((uint64_t)1 << bin % 64);
	while (word == 0) {
		if (++i == VMEM_BINS / 64)
			return (VMEM_BINS);
		word = vmp->vm_bins[i];
	}
	return (i * 64 + qr_ctz(word));
}

/*
 * The list that instant fit takes n quanta from: the first one that is not empty
 * from that size on, or above VMEM_EXACT from the next power of two; VMEM_BINS
 * when there is none.
 */
static inline unsigned
vmem__bin_find(const struct vmem *vmp, size_t n)
{
	uint64_t word;

	if (QR_UNLIKELY(n > VMEM_EXACT))
		return (vmem__bin_next(
		    vmp, vmem__bin_of_power(qr_log2(n - 1) + 1)));
	word = vmp->vm_bins[0] & -((uint64_t)1 << (n - 1));
	if (QR_LIKELY(word != 0))
		return (qr_ctz(word));
	return (vmem__bin_next(vmp, VMEM_EXACT));
}

/* A list got its first member, or lost its last if `empty`. */
static inline void
vmem__bin_filled(struct vmem *vmp, unsigned bin)
{
	vmp->vm_bins[bin / 64] |= (uint64_t)1 << bin % 64;
}

static inline void
vmem__bin_emptied(struct vmem *vmp, unsigned bin, bool empty)
{
	vmp->vm_bins[bin / 64] &= ~((uint64_t)empty << bin % 64);
}

#endif /* QR_VMEM_BIN_H */
