/*
 * vmem_tag.c - boundary tags: where they come from and go to, carving and
 * coalescing, and the growth of the table of allocated segments.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_tag.h"

#include "meta/meta.h"

static struct meta_pool tag_pool =
    META_POOL_INIT("vmem_tag", sizeof(struct vmem_tag));

enum {
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
vmem__tag_drop(struct vmem_tag *tag)
{
	meta_put(&tag_pool, tag);
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

/* ---- allocated segments by address ---- */

/* Empty some more of the old table. */
static void
hash_step(struct vmem *vmp)
{
	size_t end = (size_t)1 << vmp->vm_hash_old_bits;

	for (unsigned n = 0; n < HASH_STEP && vmp->vm_hash_done < end; n++) {
		struct vmem_tag *tag = vmp->vm_hash_old[vmp->vm_hash_done++];

		while (tag != NULL) {
			struct vmem_tag *next = tag->g_link;
			struct vmem_tag **slot =
			    vmem__hash_slot(vmp, tag->g_start);

			tag->g_link = *slot;
			*slot = tag;
			tag = next;
		}
	}
	if (vmp->vm_hash_done < end)
		return;
	if (vmp->vm_hash_old != vmp->vm_hash_first) {
		QR_ASSERT(vmp->vm_hash_dead == NULL);
		vmp->vm_hash_dead = vmp->vm_hash_old;
		vmp->vm_hash_dead_size = end * sizeof(vmp->vm_hash_old[0]);
	}
	vmp->vm_hash_old = NULL;
}

/* Begin a larger table.  Without memory for it the chains get longer. */
static void
hash_begin(struct vmem *vmp)
{
	unsigned bits = vmp->vm_hash_bits + 1;
	struct vmem_tag **table;

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
vmem__hash_grow(struct vmem *vmp)
{
	if (vmp->vm_hash_old != NULL)
		hash_step(vmp);
	else
		hash_begin(vmp);
}

void
vmem__exit_slowly(struct vmem *vmp)
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
	QR_ASSERT(vmp->vm_hash_dead == NULL);
	if (vmp->vm_hash_old != NULL && vmp->vm_hash_old != vmp->vm_hash_first)
		meta_block_put(vmp->vm_hash_old,
		    sizeof(struct vmem_tag *) << vmp->vm_hash_old_bits);
	if (vmp->vm_hash != vmp->vm_hash_first)
		meta_block_put(vmp->vm_hash,
		    sizeof(struct vmem_tag *) << vmp->vm_hash_bits);
}

/* ---- carving ---- */

static void
insert_after(struct vmem_tag *pos, struct vmem_tag *tag)
{
	tag->g_prev = pos;
	tag->g_next = pos->g_next;
	pos->g_next->g_prev = tag;
	pos->g_next = tag;
}

/* A free segment gets other bounds; inside the old or coalescing others. */
static void
free_resize(
    struct vmem *vmp, struct vmem_tag *tag, uintptr_t start, size_t size)
{
	bool moves = vmem__bin_of(vmp, size) != vmem__bin_of(vmp, tag->g_size);
	struct vmem_run run = vmem__tag_run(tag);

	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		vmem__index_change(vmp, &run, start, size);
	if (moves)
		vmem__bin_leave(vmp, tag);
	tag->g_start = start;
	tag->g_size = size;
	if (moves)
		vmem__bin_enter(vmp, tag);
}

static void
free_enter(struct vmem *vmp, struct vmem_tag *tag)
{
	struct vmem_run run = vmem__tag_run(tag);

	vmem__bin_enter(vmp, tag);
	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		vmem__index_enter(vmp, &run);
}

static void
free_leave(struct vmem *vmp, struct vmem_tag *tag)
{
	struct vmem_run run = vmem__tag_run(tag);

	vmem__bin_leave(vmp, tag);
	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		vmem__index_leave(vmp, &run);
}

static void
allocated(struct vmem *vmp, struct vmem_tag *tag, uintptr_t addr, size_t size)
{
	tag->g_start = addr;
	tag->g_size = size;
	vmem__hash_enter(vmp, tag);
}

/*
 * Carve the low end.  The remainder keeps the tag of the free segment, and its
 * place on its list while it stays on it.
 */
static void
carve_low(struct vmem *vmp, struct vmem_tag *tag, size_t size, size_t extent,
    struct vmem_tags *reserve)
{
	uintptr_t addr = tag->g_start;
	struct vmem_tag *got = tag;

	if (tag->g_size == extent) {
		free_leave(vmp, tag);
	} else {
		got = vmem__tag_take(reserve);
		insert_after(tag->g_prev, got);
		free_resize(vmp, tag, addr + extent, tag->g_size - extent);
	}
	allocated(vmp, got, addr, size);
}

/* Carve at addr, which is not the low end. */
static void
carve_high(struct vmem *vmp, struct vmem_tag *tag, uintptr_t addr, size_t size,
    size_t extent, struct vmem_tags *reserve)
{
	size_t left = addr - tag->g_start;
	size_t right = tag->g_size - left - extent;
	struct vmem_tag *got = vmem__tag_take(reserve);

	insert_after(tag, got);
	free_resize(vmp, tag, tag->g_start, left);
	if (right != 0) {
		struct vmem_tag *rest = vmem__tag_take(reserve);

		rest->g_start = addr + extent;
		rest->g_size = right;
		insert_after(got, rest);
		free_enter(vmp, rest);
	}
	allocated(vmp, got, addr, size);
}

void
vmem__tag_carve(struct vmem *vmp, struct vmem_tag *tag, uintptr_t addr,
    size_t size, size_t extent, struct vmem_tags *reserve)
{
	QR_ASSERT(vmem__kind(tag) == VMEM_K_FREE);

	if (QR_LIKELY(addr == tag->g_start))
		carve_low(vmp, tag, size, extent, reserve);
	else
		carve_high(vmp, tag, addr, size, extent, reserve);
}

bool
vmem__tag_take_head(struct vmem *vmp, size_t size, uintptr_t *addrp)
{
	size_t extent = qr_roundup(size, vmp->vm_quantum);
	struct vmem_tag *tag;
	unsigned bin;

	if (QR_UNLIKELY(extent == 0 || vmp->vm_indexed != 0 ||
		vmp->vm_tags.r_list == NULL))
		return (false);
	bin = vmem__bin_find(vmp, extent >> vmp->vm_qshift);
	if (QR_UNLIKELY(bin == VMEM_BINS))
		return (false);
	tag = vmp->vm_bin[bin];
	*addrp = tag->g_start;
	carve_low(vmp, tag, size, extent, &vmp->vm_tags);
	vmem__count_alloc(vmp, size);
	return (true);
}

/* ---- freeing ---- */

/* Take `tag` out of the ring for good: its segment becomes part of `into`. */
static void
absorb(struct vmem *vmp, struct vmem_tag *tag, const struct vmem_tag *into)
{
	if (QR_UNLIKELY(vmp->vm_walkers != NULL))
		vmem__walk_leave(vmp, tag, into);
	tag->g_prev->g_next = tag->g_next;
	tag->g_next->g_prev = tag->g_prev;
	vmem__tag_give(vmp, tag);
}

struct vmem_tag *
vmem__tag_free(struct vmem *vmp, struct vmem_tag **slot)
{
	struct vmem_tag *tag = *slot;
	struct vmem_tag *prev = tag->g_prev;
	struct vmem_tag *next = tag->g_next;

	*slot = tag->g_link;
	vmp->vm_hash_used--;
	tag->g_size = qr_roundup(tag->g_size, vmp->vm_quantum);
	if (vmem__kind(next) == VMEM_K_FREE) {
		tag->g_size += next->g_size;
		free_leave(vmp, next);
		absorb(vmp, next, tag);
	}
	if (vmem__kind(prev) == VMEM_K_FREE) {
		free_resize(
		    vmp, prev, prev->g_start, prev->g_size + tag->g_size);
		absorb(vmp, tag, prev);
		return (prev);
	}
	free_enter(vmp, tag);
	return (tag);
}

void
vmem__tag_remove(struct vmem *vmp, struct vmem_tag *tag)
{
	free_leave(vmp, tag);
	absorb(vmp, tag, tag->g_prev);
}
