/*
 * vmem_idrest.c - identifiers at rest, in order of their freeing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_ids.h"

struct entry {
	uint64_t e_since; /* os_now() */
	uint32_t e_id;
};

enum { ENTRIES = 63 };

struct vmem_idrest_chunk {
	struct vmem_idrest_chunk *k_next;
	struct entry k_entry[ENTRIES];
};

static struct meta_pool chunk_pool =
    META_POOL_INIT("id rests", sizeof(struct vmem_idrest_chunk));

bool
vmem__idrest_room(struct vmem_idrest *r)
{
	struct vmem_idrest_chunk *k;

	if (r->r_tail != NULL && r->r_in < ENTRIES)
		return (true);
	k = meta_get(&chunk_pool);
	if (k == NULL)
		return (false);
	if (r->r_tail == NULL)
		r->r_head = k;
	else
		r->r_tail->k_next = k;
	r->r_tail = k;
	r->r_in = 0;
	r->r_bytes += chunk_pool.mp_size;
	return (true);
}

void
vmem__idrest_put(struct vmem_idrest *r, uint32_t id, uint64_t now)
{
	r->r_tail->k_entry[r->r_in++] = (struct entry){now, id};
	r->r_count++;
}

uint64_t
vmem__idrest_first(const struct vmem_idrest *r, uint32_t *idp)
{
	const struct entry *e = &r->r_head->k_entry[r->r_out];

	*idp = e->e_id;
	return (e->e_since);
}

static void
chunk_drop(struct vmem_idrest *r)
{
	struct vmem_idrest_chunk *k = r->r_head;

	r->r_head = k->k_next;
	r->r_out = 0;
	r->r_bytes -= chunk_pool.mp_size;
	meta_put(&chunk_pool, k);
}

/* The last chunk is kept: what is freed next has a place. */
void
vmem__idrest_drop(struct vmem_idrest *r)
{
	r->r_out++;
	r->r_count--;
	if (r->r_count == 0 && r->r_head == r->r_tail) {
		r->r_out = 0;
		r->r_in = 0;
	} else if (r->r_out == ENTRIES) {
		chunk_drop(r);
	}
}

void
vmem__idrest_clear(struct vmem_idrest *r)
{
	while (r->r_head != NULL)
		chunk_drop(r);
	*r = (struct vmem_idrest){.r_head = NULL};
}
