/*
 * vmem_tag.c - boundary tags: where they come from and go to, and the growth of
 * the table of allocated segments.
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

	if (vmp->vm_hash_dead != NULL)
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
	if (vmp->vm_hash_dead != NULL)
		meta_block_put(vmp->vm_hash_dead, vmp->vm_hash_dead_size);
	if (vmp->vm_hash_old != NULL && vmp->vm_hash_old != vmp->vm_hash_first)
		meta_block_put(vmp->vm_hash_old,
		    sizeof(struct vmem_tag *) << vmp->vm_hash_old_bits);
	if (vmp->vm_hash != vmp->vm_hash_first)
		meta_block_put(vmp->vm_hash,
		    sizeof(struct vmem_tag *) << vmp->vm_hash_bits);
}
