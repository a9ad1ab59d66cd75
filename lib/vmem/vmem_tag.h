/*
 * vmem_tag.h - boundary tags: their reserve, the lists of free segments by
 * size, the table of allocated segments by address, carving and coalescing.
 * vm_lock is held around everything here.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_TAG_H
#define QR_VMEM_TAG_H

#include "vmem/vmem_dense.h"

/* Tags an arena keeps from coalescing for its next splits. */
enum { VMEM_TAGS_KEPT = 64 };

/* ---- the reserve ---- */

/* Have n tags at least; false when memory is short (what came is kept). */
bool vmem__tags_fill(struct vmem_tags *reserve, size_t n);
void vmem__tags_drain(struct vmem_tags *reserve);
/* Back to the floor. */
void vmem__tag_drop(struct vmem_tag *tag);

static inline struct vmem_tag *
vmem__tag_take(struct vmem_tags *reserve)
{
	struct vmem_tag *tag = reserve->r_list;

	QR_VERIFY(tag != NULL);
	reserve->r_list = tag->g_link;
	reserve->r_count--;
	return (tag);
}

static inline void
vmem__tag_give(struct vmem *vmp, struct vmem_tag *tag)
{
	struct vmem_tags *reserve = &vmp->vm_tags;

	if (QR_UNLIKELY(reserve->r_count >= VMEM_TAGS_KEPT)) {
		vmem__tag_drop(tag);
		return;
	}
	tag->g_link = reserve->r_list;
	reserve->r_list = tag;
	reserve->r_count++;
}

/* ---- free segments by size ---- */

static inline struct vmem_run
vmem__tag_run(struct vmem_tag *tag)
{
	return ((struct vmem_run){tag->g_start, tag->g_size, tag});
}

/* Put the tag, which becomes that of a free segment, at the head of its list. */
static inline void
vmem__bin_enter(struct vmem *vmp, struct vmem_tag *tag)
{
	unsigned bin = vmem__bin_of(vmp, tag->g_size);
	struct vmem_tag *next = vmp->vm_bin[bin];

	tag->g_link = next;
	tag->g_back = &vmp->vm_bin[bin];
	if (next != NULL)
		next->g_back = &tag->g_link;
	vmp->vm_bin[bin] = tag;
	vmem__bin_filled(vmp, bin);
	vmp->vm_bins_used++;
}

static inline void
vmem__bin_leave(struct vmem *vmp, struct vmem_tag *tag)
{
	unsigned bin = vmem__bin_of(vmp, tag->g_size);

	*tag->g_back = tag->g_link;
	if (tag->g_link != NULL)
		tag->g_link->g_back = tag->g_back;
	vmem__bin_emptied(vmp, bin,
	    vmp->vm_bin[bin] == NULL && vmem__desc_first(vmp, bin) == 0);
	vmp->vm_bins_used--;
}

/* ---- allocated segments by address ---- */

/*
 * A larger table is due, or being moved to: some steps of that.  Chains have two
 * tags on average at most, so that a segment has less than 64 bytes at any time.
 */
void vmem__hash_grow(struct vmem *vmp);
void vmem__hash_fini(struct vmem *vmp);

/*
 * The multiplier is 2^64 over the golden ratio; the high bits are used, so that
 * the bucket of a table is a prefix of the bucket of every larger one.
 */
static inline uint64_t
vmem__hash_of(const struct vmem *vmp, uintptr_t start)
{
	return ((start >> vmp->vm_qshift) * UINT64_C(0x9e3779b97f4a7c15));
}

/* The head of the chain on which a segment at `start` is, or belongs. */
static inline struct vmem_tag **
vmem__hash_slot(struct vmem *vmp, uintptr_t start)
{
	uint64_t h = vmem__hash_of(vmp, start);

	if (QR_UNLIKELY(vmp->vm_hash_old != NULL)) {
		size_t i = h >> (64 - vmp->vm_hash_old_bits);

		if (i >= vmp->vm_hash_done)
			return (&vmp->vm_hash_old[i]);
	}
	return (&vmp->vm_hash[h >> (64 - vmp->vm_hash_bits)]);
}

/* The tag becomes that of an allocated segment. */
static inline void
vmem__hash_enter(struct vmem *vmp, struct vmem_tag *tag)
{
	struct vmem_tag **slot;

	if (QR_UNLIKELY(vmp->vm_hash_old != NULL ||
		vmp->vm_hash_used >> vmp->vm_hash_bits > 1))
		vmem__hash_grow(vmp);
	slot = vmem__hash_slot(vmp, tag->g_start);
	tag->g_what = VMEM_K_ALLOC;
	tag->g_link = *slot;
	*slot = tag;
	vmp->vm_hash_used++;
}

/* What points to the tag of the segment at `start`, or to NULL. */
static inline struct vmem_tag **
vmem__hash_find(struct vmem *vmp, uintptr_t start)
{
	struct vmem_tag **slot = vmem__hash_slot(vmp, start);

	while (*slot != NULL && (*slot)->g_start != start) {
		slot = &(*slot)->g_link;
		vmp->vm_nlookup++;
	}
	return (slot);
}

/* ---- segments ---- */

/*
 * Carve [addr, addr + extent) off a free segment: `size` is what was asked for.
 * Needs at most two tags.
 */
void vmem__tag_carve(struct vmem *vmp, struct vmem_tag *tag, uintptr_t addr,
    size_t size, size_t extent, struct vmem_tags *reserve);
/* Instant fit where vmem__dense_take found nothing; false says nothing, too. */
bool vmem__tag_take_head(struct vmem *vmp, size_t size, uintptr_t *addrp);
/*
 * The segment that *slot, a chain of the hash table, points to becomes free, and
 * coalesces.  Returns the tag of the free segment that it is now part of.
 */
struct vmem_tag *vmem__tag_free(struct vmem *vmp, struct vmem_tag **slot);
/* The free segment that is all of its span goes. */
void vmem__tag_remove(struct vmem *vmp, struct vmem_tag *tag);

#endif /* QR_VMEM_TAG_H */
