/*
 * vmem_tag.c - boundary tags: their reserve, the lists of free segments by
 * size, and the table of allocated segments by address.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_impl.h"

static struct meta_pool tag_pool =
    META_POOL_INIT("vmem_tag", sizeof(struct vmem_tag));

enum {
	/* Tags an arena keeps from coalescing for its next splits. */
	TAGS_KEPT = 64,
	/* log2 of the buckets of the second table: one page of them. */
	HASH_BITS_PAGE = 9,
	/* Buckets of the old table that an insertion empties. */
	HASH_STEP = 4,
};

/* ---- the reserve ---- */

bool
vmem__tags_fill(struct vmem_tags *reserve, size_t n)
{
	while (reserve->r_count < n) {
		struct vmem_tag *tag = meta_get(&tag_pool);

		if (tag == NULL)
			return (false);
		tag->g_link = reserve->r_list;
		reserve->r_list = tag;
		reserve->r_count++;
	}
	return (true);
}

void
vmem__tags_drain(struct vmem_tags *reserve)
{
	while (reserve->r_list != NULL) {
		struct vmem_tag *tag = reserve->r_list;

		reserve->r_list = tag->g_link;
		meta_put(&tag_pool, tag);
	}
	reserve->r_count = 0;
}

struct vmem_tag *
vmem__tag_take(struct vmem_tags *reserve)
{
	struct vmem_tag *tag = reserve->r_list;

	QR_VERIFY(tag != NULL);
	reserve->r_list = tag->g_link;
	reserve->r_count--;
	return (tag);
}

void
vmem__tag_give(struct vmem *vmp, struct vmem_tag *tag)
{
	struct vmem_tags *reserve = &vmp->vm_tags;

	if (reserve->r_count >= TAGS_KEPT) {
		meta_put(&tag_pool, tag);
		return;
	}
	tag->g_link = reserve->r_list;
	reserve->r_list = tag;
	reserve->r_count++;
}

/* ---- free segments by size ---- */

void
vmem__bin_enter(struct vmem *vmp, struct vmem_tag *tag)
{
	unsigned bin = qr_log2(tag->g_size);
	struct vmem_tag *next = vmp->vm_bin[bin];

	tag->g_kind = VMEM_K_FREE;
	tag->g_link = next;
	tag->g_back = &vmp->vm_bin[bin];
	if (next != NULL)
		next->g_back = &tag->g_link;
	vmp->vm_bin[bin] = tag;
	vmp->vm_bins |= (uint64_t)1 << bin;
	vmp->vm_bins_used++;
}

void
vmem__bin_leave(struct vmem *vmp, struct vmem_tag *tag)
{
	unsigned bin = qr_log2(tag->g_size);

	*tag->g_back = tag->g_link;
	if (tag->g_link != NULL)
		tag->g_link->g_back = tag->g_back;
	if (vmp->vm_bin[bin] == NULL)
		vmp->vm_bins &= ~((uint64_t)1 << bin);
	vmp->vm_bins_used--;
}

/* ---- allocated segments by address ---- */

/*
 * The multiplier is 2^64 over the golden ratio; the high bits are used, so that
 * the bucket of a table is a prefix of the bucket of every larger one.
 */
static inline uint64_t
hash_of(const struct vmem *vmp, uintptr_t start)
{
	return ((start >> vmp->vm_qshift) * UINT64_C(0x9e3779b97f4a7c15));
}

/* The head of the chain on which a segment at `start` is, or belongs. */
static struct vmem_tag **
hash_slot(struct vmem *vmp, uintptr_t start)
{
	uint64_t h = hash_of(vmp, start);

	if (QR_UNLIKELY(vmp->vm_hash_old != NULL)) {
		size_t i = h >> (64 - vmp->vm_hash_old_bits);

		if (i >= vmp->vm_hash_done)
			return (&vmp->vm_hash_old[i]);
	}
	return (&vmp->vm_hash[h >> (64 - vmp->vm_hash_bits)]);
}

static void
hash_step(struct vmem *vmp)
{
	size_t end = (size_t)1 << vmp->vm_hash_old_bits;

	for (unsigned n = 0; n < HASH_STEP && vmp->vm_hash_done < end; n++) {
		struct vmem_tag *tag = vmp->vm_hash_old[vmp->vm_hash_done++];

		while (tag != NULL) {
			struct vmem_tag *next = tag->g_link;
			struct vmem_tag **slot = hash_slot(vmp, tag->g_start);

			tag->g_link = *slot;
			*slot = tag;
			tag = next;
		}
	}
	if (vmp->vm_hash_done < end)
		return;
	if (vmp->vm_hash_old != vmp->vm_hash_first) {
		vmp->vm_hash_dead = vmp->vm_hash_old;
		vmp->vm_hash_dead_size = end * sizeof(vmp->vm_hash_old[0]);
	}
	vmp->vm_hash_old = NULL;
}

/*
 * Begin a larger table when there are as many segments as buckets.  Without
 * memory for it the chains get longer.
 */
static void
hash_grow(struct vmem *vmp)
{
	unsigned bits = vmp->vm_hash_bits + 1;
	struct vmem_tag **table;

	if (vmp->vm_hash_used >> vmp->vm_hash_bits == 0 ||
	    vmp->vm_hash_dead != NULL)
		return;
	bits = bits < HASH_BITS_PAGE ? HASH_BITS_PAGE : bits;
	table = meta_block_get(sizeof(struct vmem_tag *) << bits);
	if (table == NULL)
		return;
	vmp->vm_hash_old = vmp->vm_hash;
	vmp->vm_hash_old_bits = vmp->vm_hash_bits;
	vmp->vm_hash_done = 0;
	vmp->vm_hash = table;
	vmp->vm_hash_bits = bits;
}

void
vmem__hash_enter(struct vmem *vmp, struct vmem_tag *tag)
{
	struct vmem_tag **slot;

	if (QR_UNLIKELY(vmp->vm_hash_old != NULL))
		hash_step(vmp);
	else
		hash_grow(vmp);
	slot = hash_slot(vmp, tag->g_start);
	tag->g_kind = VMEM_K_ALLOC;
	tag->g_link = *slot;
	*slot = tag;
	vmp->vm_hash_used++;
}

struct vmem_tag **
vmem__hash_find(struct vmem *vmp, uintptr_t start)
{
	struct vmem_tag **slot = hash_slot(vmp, start);

	while (*slot != NULL && (*slot)->g_start != start)
		slot = &(*slot)->g_link;
	return (slot);
}

void
vmem__hash_free_dead(struct vmem *vmp)
{
	void *dead = vmp->vm_hash_dead;
	size_t size = vmp->vm_hash_dead_size;

	vmp->vm_hash_dead = NULL;
	qr_mutex_exit(&vmp->vm_lock);
	meta_block_put(dead, size);
}

void
vmem__hash_fini(struct vmem *vmp)
{
	if (vmp->vm_hash_dead != NULL)
		meta_block_put(vmp->vm_hash_dead, vmp->vm_hash_dead_size);
	if (vmp->vm_hash_old != NULL && vmp->vm_hash_old != vmp->vm_hash_first)
		meta_block_put(vmp->vm_hash_old,
		    sizeof(struct vmem_tag *) << vmp->vm_hash_old_bits);
	if (vmp->vm_hash != vmp->vm_hash_first)
		meta_block_put(vmp->vm_hash,
		    sizeof(struct vmem_tag *) << vmp->vm_hash_bits);
}
