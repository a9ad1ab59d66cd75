/*
 * vmem_idset.c - sets of identifiers: adding, taking, giving back.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_idfast.h"

#include "base/panic.h"

#include <errno.h>

/* Bits first to last of a word. */
static inline uint64_t
some_bits(uint32_t first, uint32_t last)
{
	return (vmem__id_from(first) & ~vmem__id_above(last));
}

bool
vmem__idset_any(const struct vmem_idset *s)
{
	return (s->s_root != NULL && s->s_root->n_avail != 0);
}

/* ---- adding ---- */

/* Have a root that covers id.  A higher one than need be does no harm. */
static bool
cover(struct vmem_idset *s, uint32_t id)
{
	if (s->s_root == NULL) {
		while ((uint64_t)id >> vmem__id_shift(s->s_level + 1) != 0)
			s->s_level++;
		s->s_root = vmem__idnode_new(s, NULL, s->s_level, false);
	}
	while (s->s_root != NULL && !vmem__id_covers(s, id)) {
		struct vmem_idnode *old = s->s_root;
		struct vmem_idnode *n =
		    vmem__idnode_new(s, NULL, s->s_level + 1, false);

		if (n == NULL)
			return (false);
		n->n_at &= ~(uint32_t)0xff; /* n_slot[0] is slot 0 */
		n->n_slot[0].w_node = old;
		n->n_made = 1;
		n->n_avail = old->n_avail != 0;
		old->n_up = n;
		s->s_root = n;
		s->s_level++;
	}
	return (s->s_root != NULL);
}

/*
 * Make what n covers of [first, last] available.  The paths to both ends are
 * made, so that a slot that is not made is covered whole.
 */
static void
fill(struct vmem_idnode *n, uint32_t first, uint32_t last)
{
	unsigned level = n->n_level;
	unsigned i = vmem__id_slot(first, level);
	unsigned end = vmem__id_slot(last, level);

	for (; i <= end; i++) {
		uint32_t to =
		    (uint32_t)qr_min(last, vmem__id_last(first, level));

		if (level != 0 && vmem__id_made(n, i))
			fill(vmem__id_child(n, i), first, to);
		else if (level == 0 &&
		    (vmem__id_made(n, i) || (n->n_kind & VMEM_ID_ROOMY) != 0))
			*vmem__id_word(n, i) |= some_bits(first, to);
		n->n_avail |= vmem__id_bit(i);
		first = to + 1;
	}
}

/* The word of id, or the nodes above, may be all alike. */
static void
tidy(struct vmem_idset *s, uint32_t id)
{
	struct vmem_idnode *n = vmem__id_lowest(s, id);
	uint64_t word = vmem__id_avail(n, vmem__id_slot(id, n->n_level));

	if (n->n_level == 0 && vmem__id_made(n, vmem__id_slot(id, 0)) &&
	    (word == VMEM_ID_ALL || word == VMEM_ID_NONE))
		(void)vmem__idnode_unmake(s, n, id);
	vmem__idpath_prune(s, id);
}

bool
vmem__idset_add(struct vmem_idset *s, uint32_t first, uint32_t last)
{
	if (!cover(s, last) || vmem__idpath_make(s, first) == NULL)
		return (false);
	if (vmem__idpath_make(s, last) != NULL) {
		fill(s->s_root, first, last);
		tidy(s, first);
		tidy(s, last);
		return (true);
	}
	tidy(s, first);
	return (false);
}

/* ---- taking ---- */

/*
 * The lowest available identifier below the slots in mask, of which some are,
 * of the node n, which stands for those from `base` on.  Returns the lowest
 * node made on the way.
 */
static inline struct vmem_idnode *
find_least(struct vmem_idnode *n, unsigned level, uint64_t mask, uint32_t base,
    uint32_t *idp)
{
	for (;; level--) {
		unsigned i = qr_ctz(mask);
		struct vmem_idnode *below;

		base |= (uint32_t)i << vmem__id_shift(level);
		if (level == 0) {
			*idp = base | qr_ctz(vmem__id_avail(n, i));
			return (n);
		}
		below = vmem__id_child(n, i);
		if (QR_UNLIKELY(below == NULL)) {
			*idp = base;
			return (n);
		}
		n = below;
		mask = n->n_avail;
	}
}

/*
 * The lowest available one from `from` on, n being the lowest node made on the
 * way to that; NULL when there is none.
 */
static struct vmem_idnode *
find_from(struct vmem_idnode *n, uint32_t from, uint32_t *idp)
{
	unsigned level = n->n_level;
	uint64_t mask = vmem__id_avail(n, vmem__id_slot(from, level));

	if (level == 0)
		mask &= vmem__id_from(from);
	if (mask != 0) {
		*idp =
		    level == 0 ? (from & ~(uint32_t)63) | qr_ctz(mask) : from;
		return (n);
	}
	while ((mask = n->n_avail &
		       vmem__id_above(vmem__id_slot(from, level))) == 0) {
		n = n->n_up;
		level++;
		if (n == NULL)
			return (NULL);
	}
	return (find_least(n, level, mask,
	    (uint32_t)((uint64_t)from >> vmem__id_shift(level + 1)
		    << vmem__id_shift(level + 1)),
	    idp));
}

/*
 * Take some available ones of a word, n being the lowest node made on the way
 * to it.  The leaf, or NULL: no memory.
 */
static struct vmem_idnode *
take_found(
    struct vmem_idset *s, struct vmem_idnode *n, uint32_t id, uint64_t bits)
{
	unsigned i = vmem__id_slot(id, 0), at;

	if (n->n_level != 0 || !vmem__id_made(n, i))
		n = vmem__idpath_make(s, id);
	if (n != NULL) {
		at = vmem__id_index(n, i);
		if (vmem__id_word_taken(n, at, i, n->n_slot[at].w_word & ~bits))
			vmem__id_tell(n, id, true);
	}
	return (n);
}

/* The lowest of all; NULL when there is none. */
static struct vmem_idnode *
find_lowest(struct vmem_idset *s, uint32_t *idp)
{
	if (!vmem__idset_any(s))
		return (NULL);
	return (find_least(s->s_root, s->s_level, s->s_root->n_avail, 0, idp));
}

int
vmem__idset_take_least(struct vmem_idset *s, uint32_t *idp)
{
	struct vmem_idnode *n = find_lowest(s, idp);

	if (n == NULL)
		return (ENOSPC);
	n = take_found(s, n, *idp, vmem__id_bit(*idp));
	return (n != NULL ? 0 : ENOMEM);
}

int
vmem__idset_take_next(struct vmem_idset *s, uint32_t *idp)
{
	struct vmem_idnode *n = s->s_near;
	uint32_t from = s->s_next;

	if (n == NULL || vmem__id_slot(from, 0) == 0)
		n = vmem__id_covers(s, from) ? vmem__id_lowest(s, from) : NULL;
	if (n != NULL)
		n = find_from(n, from, idp);
	if (n == NULL)
		n = find_lowest(s, idp);
	if (n == NULL)
		return (ENOSPC);
	n = take_found(s, n, *idp, vmem__id_bit(*idp));
	if (n == NULL)
		return (ENOMEM);
	s->s_near = (n->n_kind & VMEM_ID_ROOMY) != 0 ? n : NULL;
	s->s_next = *idp + 1;
	return (0);
}

int
vmem__idset_take_some(struct vmem_idset *s, uint32_t first, uint32_t last)
{
	uint64_t bits = some_bits(first, last);
	struct vmem_idnode *n;

	if (!vmem__id_covers(s, last))
		return (ENOSPC);
	n = vmem__id_lowest(s, first);
	if ((vmem__id_avail(n, vmem__id_slot(first, n->n_level)) & bits) !=
	    bits)
		return (ENOSPC);
	n = take_found(s, n, first, bits);
	return (n != NULL ? 0 : ENOMEM);
}

/* ---- giving ---- */

/* Of leaves that are all alike one is kept; the one before goes, if it is. */
void
vmem__idpath_whole(struct vmem_idset *s, struct vmem_idnode *n, uint32_t id)
{
	uint32_t before = s->s_idle;
	bool had = s->s_has_idle;

	if (!vmem__id_alike(vmem__idnode_unmake(s, n, id)))
		return;
	s->s_idle = id;
	s->s_has_idle = true;
	if (had && before >> vmem__id_shift(1) != id >> vmem__id_shift(1))
		vmem__idpath_prune(s, before);
}

/* Make one available that is not, n being its leaf. */
static void
give(struct vmem_idset *s, struct vmem_idnode *n, uint32_t id)
{
	uint64_t *word = vmem__id_word(n, vmem__id_slot(id, 0));

	*word |= vmem__id_bit(id);
	for (struct vmem_idnode *up = n; up != NULL; up = up->n_up)
		up->n_avail |= vmem__id_bit(vmem__id_slot(id, up->n_level));
	if (*word == VMEM_ID_ALL)
		vmem__idpath_whole(s, n, id);
}

/* Is id, the path to which ends in n, in use? */
static bool
is_used(struct vmem_idnode *n, uint32_t id)
{
	unsigned i = vmem__id_slot(id, 0);
	uint64_t word;

	if (n->n_level != 0 || !vmem__id_made(n, i))
		return (false);
	word = *vmem__id_word(n, i);
	if ((n->n_kind & VMEM_ID_RESTS) != 0)
		word |= *vmem__id_rest(n, i);
	return ((word & vmem__id_bit(id)) == 0);
}

bool
vmem__idset_give(struct vmem_idset *s, uint32_t id)
{
	struct vmem_idnode *n = vmem__id_lowest(s, id);
	bool used = is_used(n, id);

	if (used)
		give(s, n, id);
	return (used);
}

bool
vmem__idset_lay(struct vmem_idset *s, uint32_t id)
{
	struct vmem_idnode *n = vmem__id_lowest(s, id);

	if (!is_used(n, id))
		return (false);
	*vmem__id_rest(n, vmem__id_slot(id, 0)) |= vmem__id_bit(id);
	return (true);
}

void
vmem__idset_wake(struct vmem_idset *s, uint32_t id)
{
	struct vmem_idnode *n = vmem__id_lowest(s, id);

	*vmem__id_rest(n, vmem__id_slot(id, 0)) &= ~vmem__id_bit(id);
	give(s, n, id);
}
