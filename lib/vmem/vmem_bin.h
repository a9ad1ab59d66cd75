/*
 * vmem_bin.h - which list a free segment is on, by its size.  vm_lock is held
 * around everything here.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_BIN_H
#define QR_VMEM_BIN_H

#include "vmem/vmem_impl.h"

/* log2 of the sizes on list i is i minus this, from VMEM_EXACT quanta on. */
enum { VMEM_BIN_SHIFT = VMEM_EXACT - VMEM_EXACT_BITS };

/* The lists of one size. */
#define VMEM_BINS_EXACT (((uint64_t)1 << VMEM_EXACT) - 1)

static inline bool
vmem__bin_exact(const struct vmem *vmp, size_t size)
{
	return (size >> vmp->vm_qshift <= VMEM_EXACT);
}

/* The list of free segments of n quanta; the last one has all larger ones. */
static inline unsigned
vmem__bin_of_quanta(size_t n)
{
	if (QR_LIKELY(n <= VMEM_EXACT))
		return ((unsigned)n - 1);
	return ((unsigned)qr_min(VMEM_BIN_SHIFT + qr_log2(n), VMEM_BINS - 1));
}

static inline unsigned
vmem__bin_of(const struct vmem *vmp, size_t size)
{
	return (vmem__bin_of_quanta(size >> vmp->vm_qshift));
}

/*
 * The lists that are not empty and all of whose members have this size at
 * least: size is a multiple of the quantum.
 */
static inline uint64_t
vmem__bins_surely(const struct vmem *vmp, size_t size)
{
	size_t n = size >> vmp->vm_qshift;
	unsigned bin = (unsigned)n - 1;

	if (QR_UNLIKELY(n > VMEM_EXACT))
		bin = VMEM_BIN_SHIFT + 1 + qr_log2(n - 1);
	return (bin >= VMEM_BINS ? 0 : vmp->vm_bins & -((uint64_t)1 << bin));
}

#endif /* QR_VMEM_BIN_H */
