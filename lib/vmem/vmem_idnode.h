/*
 * vmem_idnode.h - the nodes of a set of identifiers; vmem_idset.h has the
 * theory.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_IDNODE_H
#define QR_VMEM_IDNODE_H

#include "vmem/vmem_idset.h"

#include "base/bits.h"
#include "base/compiler.h"

enum {
	VMEM_ID_SHIFT = 6, /* log2 of the slots of a node and bits of a word */
	VMEM_ID_FAN = 1 << VMEM_ID_SHIFT,
	VMEM_ID_FEW = 4, /* slots of a node with little room */

	/* n_kind */
	VMEM_ID_ROOMY = 1, /* n_slot has room for all; else n_at counts */
	VMEM_ID_LEAF = 2,  /* level 0: slots are words */
	VMEM_ID_RESTS = 4, /* as many words more tell what is at rest */
};

#define VMEM_ID_NONE ((uint64_t)0)
#define VMEM_ID_ALL (~(uint64_t)0)

union vmem_idslot {
	uint64_t w_word;            /* level 0: bit i set: i is available */
	struct vmem_idnode *w_node; /* above: what is below */
};

/*
 * Invariants, for every node:
 *   I1  the bit of a made slot in n_avail is set if and only if something below
 *       is available.
 *   I2  an identifier in use or at rest has its word made.
 *   I3  a node of little room has its made slots, and only those, in n_at.
 *   I4  in a roomy one a slot that is not made is NULL or, in a leaf, the word
 *       that its bit in n_avail says, nothing of which is at rest.  The root is
 *       roomy.
 *   I5  a made word is not all ones.  Only the root and the leaf of s_idle may
 *       stand for identifiers that are all alike.
 *   I6  what is at rest is not available.
 */
struct vmem_idnode {
	uint64_t n_avail;
	uint64_t n_made;
	struct vmem_idnode *n_up; /* NULL for the root */
	uint32_t n_at; /* byte k: which slot n_slot[k] is, or VMEM_ID_FAN */
	uint8_t n_kind;
	uint8_t n_level;
	union vmem_idslot n_slot[];
};

/* ---- arithmetic ---- */

/* log2 of the identifiers of a slot. */
static inline unsigned
vmem__id_shift(unsigned level)
{
	return (VMEM_ID_SHIFT * (level + 1));
}

/* The slot of id, in the node of this level above it. */
static inline unsigned
vmem__id_slot(uint32_t id, unsigned level)
{
	return (id >> vmem__id_shift(level) & (VMEM_ID_FAN - 1));
}

/* The last identifier of that slot. */
static inline uint32_t
vmem__id_last(uint32_t id, unsigned level)
{
	return (id | (((uint32_t)1 << vmem__id_shift(level)) - 1));
}

static inline uint64_t
vmem__id_bit(unsigned i)
{
	return ((uint64_t)1 << (i & 63));
}

/* Bits from i on, and those above it. */
static inline uint64_t
vmem__id_from(unsigned i)
{
	return (VMEM_ID_ALL << (i & 63));
}

static inline uint64_t
vmem__id_above(unsigned i)
{
	return ((VMEM_ID_ALL - 1) << (i & 63));
}

/* ---- slots ---- */

static inline unsigned
vmem__id_room(const struct vmem_idnode *n)
{
	return ((n->n_kind & VMEM_ID_ROOMY) != 0 ? VMEM_ID_FAN : VMEM_ID_FEW);
}

/* Which slot a node of little room has at this index. */
static inline unsigned
vmem__id_at(const struct vmem_idnode *n, unsigned at)
{
	return (n->n_at >> 8 * at & 0xff);
}

/*
 * The index of slot i in n_slot; VMEM_ID_FEW when a node of little room has
 * none.  Neighbours are where their lowest bits say.  Which of the four bytes it
 * is otherwise nobody could predict, so there is no branch: t marks the lowest
 * byte that is equal, and one beyond all.
 */
static inline unsigned
vmem__id_index(const struct vmem_idnode *n, unsigned i)
{
	uint32_t x;
	uint64_t t;

	if (QR_LIKELY((n->n_kind & VMEM_ID_ROOMY) != 0))
		return (i);
	if (QR_LIKELY(vmem__id_at(n, i % VMEM_ID_FEW) == i))
		return (i % VMEM_ID_FEW);
	x = n->n_at ^ i * 0x01010101u;
	t = ((x - 0x01010101u) & ~x & 0x80808080u) | (uint64_t)1 << 39;
	return (qr_ctz(t) >> 3);
}

static inline bool
vmem__id_made(const struct vmem_idnode *n, unsigned i)
{
	return ((n->n_made & vmem__id_bit(i)) != 0);
}

/* What is below slot i; NULL when it is not made. */
static inline struct vmem_idnode *
vmem__id_child(const struct vmem_idnode *n, unsigned i)
{
	unsigned at;

	if (QR_LIKELY((n->n_kind & VMEM_ID_ROOMY) != 0))
		return (n->n_slot[i].w_node);
	at = vmem__id_index(n, i);
	return (at == VMEM_ID_FEW ? NULL : n->n_slot[at].w_node);
}

/* The word of a made slot, and what of it is at rest. */
static inline uint64_t *
vmem__id_word(struct vmem_idnode *n, unsigned i)
{
	return (&n->n_slot[vmem__id_index(n, i)].w_word);
}

static inline uint64_t *
vmem__id_rest(struct vmem_idnode *n, unsigned i)
{
	return (&n->n_slot[vmem__id_room(n) + vmem__id_index(n, i)].w_word);
}

/* What a slot that is not made stands for, or the word of one that is. */
static inline uint64_t
vmem__id_avail(const struct vmem_idnode *n, unsigned i)
{
	if ((n->n_kind & VMEM_ID_LEAF) != 0 && vmem__id_made(n, i))
		return (n->n_slot[vmem__id_index(n, i)].w_word);
	return (
	    (n->n_avail & vmem__id_bit(i)) != 0 ? VMEM_ID_ALL : VMEM_ID_NONE);
}

static inline bool
vmem__id_alike(const struct vmem_idnode *n)
{
	return (n->n_made == 0 &&
	    (n->n_avail == VMEM_ID_NONE || n->n_avail == VMEM_ID_ALL));
}

/* ---- the tree ---- */

static inline bool
vmem__id_covers(const struct vmem_idset *s, uint32_t id)
{
	return (s->s_root != NULL &&
	    (uint64_t)id >> vmem__id_shift(s->s_level + 1u) == 0);
}

/*
 * The lowest node that is made on the way to id, which the root covers.  The
 * level is counted, so that the next slot is known before the node has come.
 */
static inline struct vmem_idnode *
vmem__id_lowest(const struct vmem_idset *s, uint32_t id)
{
	struct vmem_idnode *n = s->s_root;

	for (unsigned level = s->s_level; level != 0; level--) {
		struct vmem_idnode *below =
		    vmem__id_child(n, vmem__id_slot(id, level));

		if (QR_UNLIKELY(below == NULL))
			break;
		n = below;
	}
	return (n);
}

/* Without slots, unless it is the root; what it stands for is all available, or not.  Or NULL. */
struct vmem_idnode *vmem__idnode_new(
    struct vmem_idset *s, struct vmem_idnode *up, unsigned level, bool avail);
/* Let all nodes at and below n go. */
void vmem__idnode_drop(struct vmem_idset *s, struct vmem_idnode *n);

/*
 * Replace the node n above id by one that is roomy or not, and tells what is
 * at rest if the set has that now.  NULL: no memory, and n is what it was.
 */
struct vmem_idnode *vmem__idnode_replace(
    struct vmem_idset *s, struct vmem_idnode *n, uint32_t id, bool roomy);

/*
 * Make the slot of id in n, with all alike below it; or the reverse, when all
 * is alike below it.  n may be replaced.  NULL: no memory to make it.
 */
struct vmem_idnode *vmem__idnode_make(
    struct vmem_idset *s, struct vmem_idnode *n, uint32_t id);
struct vmem_idnode *vmem__idnode_unmake(
    struct vmem_idset *s, struct vmem_idnode *n, uint32_t id);

/*
 * The leaf of id, with its word made; NULL: no memory, and nothing has changed.
 * The reverse drops the nodes above id that are all alike, lowest first.
 */
struct vmem_idnode *vmem__idpath_make(struct vmem_idset *s, uint32_t id);
void vmem__idpath_prune(struct vmem_idset *s, uint32_t id);

/* The word of id, which is in the leaf n, has become all ones. */
void vmem__idpath_whole(
    struct vmem_idset *s, struct vmem_idnode *n, uint32_t id);

#endif /* QR_VMEM_IDNODE_H */
