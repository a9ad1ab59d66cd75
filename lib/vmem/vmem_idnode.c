/*
 * vmem_idnode.c - the nodes of a set of identifiers: making and dropping.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_idnode.h"

#include "meta/meta.h"

enum {
	SHRINK_AT = 3,        /* made slots that do with little room */
	NONE_AT = 0x40404040, /* n_at of no slots */
};

#define NODE_POOL(name, slots) \
	META_POOL_INIT(name,   \
	    sizeof(struct vmem_idnode) + (slots) * sizeof(union vmem_idslot))

/* By VMEM_ID_ROOMY and VMEM_ID_RESTS. */
static struct meta_pool pools[2][2] = {
    {NODE_POOL("id few", VMEM_ID_FEW),
	NODE_POOL("id few, rests", 2 * VMEM_ID_FEW)},
    {NODE_POOL("id all", VMEM_ID_FAN),
	NODE_POOL("id all, rests", 2 * VMEM_ID_FAN)},
};

static struct meta_pool *
pool_of(unsigned kind)
{
	return (
	    &pools[(kind & VMEM_ID_ROOMY) != 0][(kind & VMEM_ID_RESTS) != 0]);
}

static struct vmem_idnode *
node_get(struct vmem_idset *s, unsigned level, bool roomy)
{
	unsigned kind = (roomy ? VMEM_ID_ROOMY : 0) |
	    (level == 0 ? VMEM_ID_LEAF : 0) |
	    (level == 0 && s->s_rests ? VMEM_ID_RESTS : 0);
	struct vmem_idnode *n = meta_get(pool_of(kind));

	if (n == NULL)
		return (NULL);
	n->n_at = NONE_AT;
	n->n_kind = (uint8_t)kind;
	n->n_level = (uint8_t)level;
	s->s_bytes += pool_of(kind)->mp_size;
	return (n);
}

static void
node_put(struct vmem_idset *s, struct vmem_idnode *n)
{
	if (s->s_near == n)
		s->s_near = NULL;
	s->s_bytes -= pool_of(n->n_kind)->mp_size;
	meta_put(pool_of(n->n_kind), n);
}

struct vmem_idnode *
vmem__idnode_new(
    struct vmem_idset *s, struct vmem_idnode *up, unsigned level, bool avail)
{
	struct vmem_idnode *n = node_get(s, level, up == NULL);

	if (n == NULL)
		return (NULL);
	n->n_up = up;
	n->n_avail = avail ? VMEM_ID_ALL : VMEM_ID_NONE;
	return (n);
}

void
vmem__idnode_drop(struct vmem_idset *s, struct vmem_idnode *n)
{
	uint64_t made = n->n_level == 0 ? 0 : n->n_made;

	for (; made != 0; made &= made - 1)
		vmem__idnode_drop(s, vmem__id_child(n, qr_ctz(made)));
	node_put(s, n);
}

/* ---- room ---- */

/* n_slot[at] is slot i, or VMEM_ID_FAN for none. */
static void
at_set(struct vmem_idnode *n, unsigned at, unsigned i)
{
	if ((n->n_kind & VMEM_ID_ROOMY) == 0)
		n->n_at = (n->n_at & ~((uint32_t)0xff << 8 * at)) |
		    (uint32_t)i << 8 * at;
}

/* Where slot i can be; VMEM_ID_FEW: nowhere. */
static unsigned
room_for(const struct vmem_idnode *n, unsigned i)
{
	if ((n->n_kind & VMEM_ID_ROOMY) != 0)
		return (i);
	return (vmem__id_at(n, i % VMEM_ID_FEW) == VMEM_ID_FAN
		? i % VMEM_ID_FEW
		: vmem__id_index(n, VMEM_ID_FAN));
}

/* The made slots of `old` go to n, which has none. */
static void
slots_move(struct vmem_idnode *n, const struct vmem_idnode *old)
{
	unsigned both = n->n_kind & old->n_kind;

	for (uint64_t made = old->n_made; made != 0; made &= made - 1) {
		unsigned i = qr_ctz(made), from = vmem__id_index(old, i);
		unsigned at = room_for(n, i);

		at_set(n, at, i);
		n->n_slot[at] = old->n_slot[from];
		if ((both & VMEM_ID_LEAF) == 0)
			n->n_slot[at].w_node->n_up = n;
		if ((both & VMEM_ID_RESTS) != 0)
			n->n_slot[vmem__id_room(n) + at] =
			    old->n_slot[vmem__id_room(old) + from];
	}
}

struct vmem_idnode *
vmem__idnode_replace(
    struct vmem_idset *s, struct vmem_idnode *old, uint32_t id, bool roomy)
{
	struct vmem_idnode *n = node_get(s, old->n_level, roomy);
	struct vmem_idnode *up = old->n_up;

	if (n == NULL)
		return (NULL);
	n->n_avail = old->n_avail;
	n->n_made = old->n_made;
	n->n_up = up;
	if (roomy && n->n_level == 0)
		for (uint64_t a = n->n_avail; a != 0; a &= a - 1)
			n->n_slot[qr_ctz(a)].w_word = VMEM_ID_ALL;
	slots_move(n, old);
	if (up == NULL)
		s->s_root = n;
	else
		up->n_slot[vmem__id_index(up, vmem__id_slot(id, up->n_level))]
		    .w_node = n;
	node_put(s, old);
	return (n);
}

static bool
are_few(uint64_t made)
{
	for (unsigned i = 0; i < SHRINK_AT; i++)
		made &= made - 1;
	return (made == 0);
}

struct vmem_idnode *
vmem__idnode_make(struct vmem_idset *s, struct vmem_idnode *n, uint32_t id)
{
	unsigned level = n->n_level, i = vmem__id_slot(id, level);
	unsigned at = room_for(n, i);
	bool avail = (n->n_avail & vmem__id_bit(i)) != 0;
	union vmem_idslot what = {.w_word = avail ? VMEM_ID_ALL : VMEM_ID_NONE};

	if (at == VMEM_ID_FEW && (n->n_kind & VMEM_ID_ROOMY) == 0) {
		n = vmem__idnode_replace(s, n, id, true);
		at = i;
	}
	if (n == NULL)
		return (NULL);
	if (level > 0) {
		what.w_node = vmem__idnode_new(s, n, level - 1, avail);
		if (what.w_node == NULL)
			return (NULL);
	}
	at_set(n, at, i);
	n->n_slot[at] = what;
	if ((n->n_kind & VMEM_ID_RESTS) != 0)
		n->n_slot[vmem__id_room(n) + at].w_word = 0;
	n->n_made |= vmem__id_bit(i);
	return (n);
}

struct vmem_idnode *
vmem__idnode_unmake(struct vmem_idset *s, struct vmem_idnode *n, uint32_t id)
{
	unsigned i = vmem__id_slot(id, n->n_level), at = vmem__id_index(n, i);
	struct vmem_idnode *small = NULL;

	n->n_made &= ~vmem__id_bit(i);
	if (n->n_level != 0)
		n->n_slot[at].w_node = NULL;
	at_set(n, at, VMEM_ID_FAN);
	if (n->n_up != NULL && (n->n_kind & VMEM_ID_ROOMY) != 0 &&
	    are_few(n->n_made))
		small = vmem__idnode_replace(s, n, id, false);
	return (small != NULL ? small : n);
}

/* ---- paths ---- */

void
vmem__idpath_prune(struct vmem_idset *s, uint32_t id)
{
	struct vmem_idnode *n = vmem__id_lowest(s, id);

	while (n->n_up != NULL && vmem__id_alike(n)) {
		struct vmem_idnode *up = n->n_up;

		node_put(s, n);
		n = vmem__idnode_unmake(s, up, id);
	}
}

struct vmem_idnode *
vmem__idpath_make(struct vmem_idset *s, uint32_t id)
{
	struct vmem_idnode *n = vmem__id_lowest(s, id);

	for (;;) {
		unsigned i = vmem__id_slot(id, n->n_level);

		if (!vmem__id_made(n, i))
			n = vmem__idnode_make(s, n, id);
		if (n == NULL)
			break;
		if (n->n_level == 0)
			return (n);
		n = vmem__id_child(n, i);
	}
	vmem__idpath_prune(s, id);
	return (NULL);
}
