/*
 * vmem_dense.h - the dense span of an arena: a descriptor for each quantum, in
 * an array.  vm_lock is held around everything here.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_DENSE_H
#define QR_VMEM_DENSE_H

#include "vmem/vmem_bin.h"

/*
 * Descriptors are named by their index: first the heads of the lists of free
 * segments, then one that ends the span on the left, then those of the quanta,
 * then one that ends it on the right.  The two at the ends look like those of
 * an allocated segment, so that nothing coalesces with them.
 */
enum {
	VMEM_DESC_LEFT = VMEM_BINS,
	VMEM_DESC_FIRST, /* of the first quantum */
};

#define VMEM_DESC_FREE ((uint32_t)1 << 31)

/*
 * What is known of one quantum.  A segment that begins here and one that ends
 * here are described by members of their own, as a segment of one quantum does
 * both; quanta in between have d_head 0 and nothing else of meaning.
 */
struct vmem_desc {
	uint32_t d_head; /* begins here: its quanta, and VMEM_DESC_FREE */
	uint32_t d_tail; /* ends here: the same */
	/* Begins here and is free: the next on its list. */
	uint32_t d_next; /* Allocated: integers at its end not asked for. */
	uint32_t d_prev; /* Begins here and is free: the one before. */
};

static inline uintptr_t
vmem__desc_addr(const struct vmem *vmp, uint32_t i)
{
	return (vmp->vm_dense +
	    ((uintptr_t)(i - VMEM_DESC_FIRST) << vmp->vm_qshift));
}

/* Of an address in the dense span. */
static inline uint32_t
vmem__desc_index(const struct vmem *vmp, uintptr_t addr)
{
	return (VMEM_DESC_FIRST +
	    (uint32_t)((addr - vmp->vm_dense) >> vmp->vm_qshift));
}

/*
 * The number of the quantum that begins at addr, or something too large:
 * rotating moves what is not a multiple of the quantum to the top.
 */
static inline size_t
vmem__dense_quantum(const struct vmem *vmp, uintptr_t addr)
{
	uintptr_t offset = addr - vmp->vm_dense;

	return (offset >> vmp->vm_qshift | offset << (-vmp->vm_qshift & 63));
}

static inline bool
vmem__in_dense(const struct vmem *vmp, uintptr_t addr)
{
	return (
	    (addr - vmp->vm_dense) >> vmp->vm_qshift < vmp->vm_dense_quanta);
}

/* The quanta of the segment that begins at i. */
static inline uint32_t
vmem__desc_quanta(const struct vmem *vmp, uint32_t i)
{
	return (vmp->vm_desc[i].d_head & ~VMEM_DESC_FREE);
}

static inline bool
vmem__desc_is_free(const struct vmem *vmp, uint32_t i)
{
	return ((vmp->vm_desc[i].d_head & VMEM_DESC_FREE) != 0);
}

/* The size that was asked for, of an allocated segment. */
static inline size_t
vmem__desc_size(const struct vmem *vmp, uint32_t i)
{
	return (((size_t)vmp->vm_desc[i].d_head << vmp->vm_qshift) -
	    vmp->vm_desc[i].d_next);
}

static inline struct vmem_run
vmem__desc_run(const struct vmem *vmp, uint32_t i)
{
	return ((struct vmem_run){vmem__desc_addr(vmp, i),
	    (size_t)vmem__desc_quanta(vmp, i) << vmp->vm_qshift, NULL});
}

/* The first on a list, and the next; 0 when there is none. */
static inline uint32_t
vmem__desc_next(const struct vmem *vmp, uint32_t i)
{
	uint32_t next = vmp->vm_desc[i].d_next;

	return (next < VMEM_BINS ? 0 : next);
}

static inline uint32_t
vmem__desc_first(const struct vmem *vmp, unsigned bin)
{
	return (vmem__desc_next(vmp, bin));
}

/* A free segment of n quanta begins at i: to the head of its list. */
static inline void
vmem__desc_enter(struct vmem *vmp, uint32_t i, uint32_t n)
{
	struct vmem_desc *d = vmp->vm_desc;
	unsigned bin = vmem__bin_of_quanta(n);
	uint32_t next = d[bin].d_next;

	d[i].d_head = n | VMEM_DESC_FREE;
	d[i + (n - 1)].d_tail = n | VMEM_DESC_FREE;
	d[i].d_next = next;
	d[i].d_prev = bin;
	d[next].d_prev = i;
	d[bin].d_next = i;
	vmem__bin_filled(vmp, bin);
	vmp->vm_dense_free++;
}

/*
 * The free segment at i leaves its list, `bin`.  That is empty when what was on
 * both sides is the same: its head.
 */
static inline void
vmem__desc_unlink(struct vmem *vmp, uint32_t i, unsigned bin)
{
	struct vmem_desc *d = vmp->vm_desc;
	uint32_t next = d[i].d_next, prev = d[i].d_prev;
	bool empty = next == prev;

	d[prev].d_next = next;
	d[next].d_prev = prev;
	empty &= vmp->vm_bin[bin] == NULL;
	vmem__bin_emptied(vmp, bin, empty);
	vmp->vm_dense_free--;
}

static inline void
vmem__desc_leave(struct vmem *vmp, uint32_t i, uint32_t n)
{
	vmem__desc_unlink(vmp, i, vmem__bin_of_quanta(n));
}

/* An allocated segment of n quanta begins at i. */
static inline void
vmem__desc_allocated(struct vmem *vmp, uint32_t i, uint32_t n, size_t size)
{
	struct vmem_desc *d = vmp->vm_desc;

	d[i].d_head = n;
	d[i].d_next = (uint32_t)(((size_t)n << vmp->vm_qshift) - size);
	d[i + (n - 1)].d_tail = n;
}

/* Carve n quanta that begin at j off the free segment at i. */
void vmem__desc_carve(
    struct vmem *vmp, uint32_t i, uint32_t j, uint32_t n, size_t size);
/*
 * The indexes learn that the segment of n quanta at i becomes free, between
 * `left` and `right` more.
 */
void vmem__desc_index_freed(
    struct vmem *vmp, uint32_t i, uint32_t n, uint32_t left, uint32_t right);

/* The segment at `gone` becomes part of the one at `into`. */
static inline void
vmem__desc_absorb(struct vmem *vmp, uint32_t gone, uint32_t into)
{
	vmp->vm_desc[gone].d_head = 0;
	if (QR_UNLIKELY(vmp->vm_walkers != NULL))
		vmem__walk_leave(vmp, &vmp->vm_desc[gone], &vmp->vm_desc[into]);
}

/* The quanta of a free segment, by the word that describes it; 0: it is not. */
static inline uint32_t
vmem__desc_free_quanta(uint32_t word)
{
	return ((word & VMEM_DESC_FREE) != 0 ? word & ~VMEM_DESC_FREE : 0);
}

/*
 * The allocated segment at i becomes free, and coalesces.  This and the two
 * below are part of their callers, where calls would be a tenth of a pair.
 */
QR_INLINE void
vmem__desc_free(struct vmem *vmp, uint32_t i)
{
	uint32_t n = vmp->vm_desc[i].d_head;
	uint32_t left = vmem__desc_free_quanta(vmp->vm_desc[i - 1].d_tail);
	uint32_t right = vmem__desc_free_quanta(vmp->vm_desc[i + n].d_head);

	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		vmem__desc_index_freed(vmp, i, n, left, right);
	if (right != 0) {
		vmem__desc_leave(vmp, i + n, right);
		vmem__desc_absorb(vmp, i + n, i);
	}
	if (left != 0) {
		vmem__desc_leave(vmp, i - left, left);
		vmem__desc_absorb(vmp, i, i - left);
	}
	vmem__desc_enter(vmp, i - left, left + n + right);
}

/*
 * Instant fit in the dense span, when it is as simple as it mostly is.  False
 * says nothing: take the long way.
 */
QR_INLINE bool
vmem__dense_take(struct vmem *vmp, size_t size, uintptr_t *addrp)
{
	size_t extent = qr_roundup(size, vmp->vm_quantum);
	uint32_t i, n, whole;
	unsigned bin;

	/* An extent of 0 is one that wrapped. */
	if (QR_UNLIKELY(extent == 0 || vmp->vm_indexed != 0))
		return (false);
	bin = vmem__bin_find(vmp, extent >> vmp->vm_qshift);
	if (QR_UNLIKELY(bin == VMEM_BINS))
		return (false);
	i = vmem__desc_first(vmp, bin);
	if (QR_UNLIKELY(i == 0))
		return (false);
	n = (uint32_t)(extent >> vmp->vm_qshift);
	whole = vmem__desc_quanta(vmp, i);
	vmem__desc_unlink(vmp, i, bin);
	vmem__desc_allocated(vmp, i, n, size);
	if (whole != n)
		vmem__desc_enter(vmp, i + n, whole - n);
	vmem__count_alloc(vmp, size);
	*addrp = vmem__desc_addr(vmp, i);
	return (true);
}

/*
 * Free what begins at addr, if it is in the dense span and has this size.  False
 * says nothing, too.
 */
QR_INLINE bool
vmem__dense_give(struct vmem *vmp, uintptr_t addr, size_t size)
{
	size_t q = vmem__dense_quantum(vmp, addr);
	uint32_t i = VMEM_DESC_FIRST + (uint32_t)q;

	/* Less 1, a d_head that is neither 0 nor free is below the flag. */
	if (QR_UNLIKELY(q >= vmp->vm_dense_quanta ||
		vmp->vm_desc[i].d_head - 1 >= VMEM_DESC_FREE - 1 ||
		vmem__desc_size(vmp, i) != size))
		return (false);
	vmem__desc_free(vmp, i);
	vmem__count_free(vmp, size);
	return (true);
}

/*
 * The lowest (VM_ENDALLOC: highest) place of r in the dense span, by looking at
 * one segment after the other: f_tired when that takes too long.
 */
void vmem__dense_search(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *search);

/* Is the dense span all that the arena has? */
static inline bool
vmem__dense_alone(const struct vmem *vmp)
{
	return (vmp->vm_dense_quanta != 0 && vmp->vm_spans.t_count == 1);
}

/*
 * Make [start, start + size), which is to become a span, the dense one: one
 * free segment.  False when it must be described by tags.
 */
bool vmem__dense_add(struct vmem *vmp, uintptr_t start, size_t size);
/* An arena has none at first. */
void vmem__dense_init(struct vmem *vmp);
void vmem__dense_fini(struct vmem *vmp);
/* Bytes of descriptors. */
size_t vmem__dense_bytes(const struct vmem *vmp);

#endif /* QR_VMEM_DENSE_H */
