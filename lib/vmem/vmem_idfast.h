/*
 * vmem_idfast.h - sets of identifiers: what a program does all day.
 *
 * All of it happens in roomy leaves, where nothing has to be made or dropped, and
 * is inline and without a call; vmem_idset.c has the rest.  No branch depends on
 * which identifiers happen to be available if a few more instructions can do
 * without: in random use nobody could predict it, and each wrong guess costs as
 * much as all the rest.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_IDFAST_H
#define QR_VMEM_IDFAST_H

#include "vmem/vmem_idnode.h"

/* Tell the nodes above the leaf of id whether nothing of it is available. */
QR_INLINE void
vmem__id_tell(struct vmem_idnode *n, uint32_t id, bool none)
{
	for (unsigned level = 1; (n = n->n_up) != NULL; level++) {
		n->n_avail &= ~((uint64_t)none << vmem__id_slot(id, level));
		none = n->n_avail == 0;
	}
}

/*
 * Of a word, slot i and at index `at` of the leaf n, `left` is left.  Is nothing
 * of the leaf?
 */
QR_INLINE bool
vmem__id_word_taken(
    struct vmem_idnode *n, unsigned at, unsigned i, uint64_t left)
{
	n->n_slot[at].w_word = left;
	n->n_made |= vmem__id_bit(i);
	n->n_avail &= ~((uint64_t)(left == 0) << i);
	return (n->n_avail == 0);
}

/*
 * Take the next one, if it is in the leaf of the one before: from the word of
 * that or, if it has none, from the next word that has some.
 */
QR_INLINE bool
vmem__id_take_near(struct vmem_idset *s, uint32_t *idp)
{
	struct vmem_idnode *n = s->s_near;
	uint32_t last = s->s_next - 1;
	unsigned i = vmem__id_slot(last, 0);
	uint64_t here, words, word;
	unsigned bit;

	if (QR_UNLIKELY(n == NULL))
		return (false);
	here = n->n_slot[i].w_word & vmem__id_above(last);
	words = (n->n_avail & vmem__id_above(i)) | (uint64_t)(here != 0) << i;
	if (QR_UNLIKELY(words == 0))
		return (false);
	i = qr_ctz(words);
	word = n->n_slot[i].w_word;
	bit = qr_ctz(here != 0 ? here : word);
	*idp = (last & ~(uint32_t)4095) | i << VMEM_ID_SHIFT | bit;
	s->s_next = *idp + 1;
	if (QR_UNLIKELY(
		vmem__id_word_taken(n, i, i, word & ~vmem__id_bit(bit))))
		vmem__id_tell(n, *idp, true);
	return (true);
}

/*
 * Take the lowest of all, if its leaf is roomy.  As often as not it was the only
 * hole in there: nobody can predict whether there is anything to tell.
 */
QR_INLINE bool
vmem__id_take_lowest(struct vmem_idset *s, uint32_t *idp)
{
	struct vmem_idnode *n = s->s_root;
	uint32_t base = 0;
	uint64_t word;
	unsigned i;

	if (QR_UNLIKELY(n == NULL || n->n_avail == 0))
		return (false);
	for (unsigned level = s->s_level; level != 0; level--) {
		i = qr_ctz(n->n_avail);
		n = vmem__id_child(n, i);
		if (QR_UNLIKELY(n == NULL))
			return (false);
		base |= (uint32_t)i << vmem__id_shift(level);
	}
	if (QR_UNLIKELY((n->n_kind & VMEM_ID_ROOMY) == 0))
		return (false);
	i = qr_ctz(n->n_avail);
	word = n->n_slot[i].w_word;
	*idp = base | i << VMEM_ID_SHIFT | qr_ctz(word);
	vmem__id_tell(n, *idp, vmem__id_word_taken(n, i, i, word & (word - 1)));
	return (true);
}

/*
 * Give id back, of a set where nothing rests.  Its leaf, or NULL: that is not
 * roomy, or id not in use.  The nodes above are told on the way down; if it was
 * available, they knew.
 */
QR_INLINE struct vmem_idnode *
vmem__id_give(struct vmem_idset *s, uint32_t id)
{
	struct vmem_idnode *n = s->s_root;
	unsigned i;

	for (unsigned level = s->s_level; level != 0; level--) {
		i = vmem__id_slot(id, level);
		n->n_avail |= vmem__id_bit(i);
		n = vmem__id_child(n, i);
		if (QR_UNLIKELY(n == NULL))
			return (NULL);
	}
	i = vmem__id_slot(id, 0);
	if (QR_UNLIKELY((n->n_kind & VMEM_ID_ROOMY) == 0 ||
		(n->n_slot[i].w_word & vmem__id_bit(id)) != 0))
		return (NULL);
	n->n_slot[i].w_word |= vmem__id_bit(id);
	n->n_avail |= vmem__id_bit(i);
	return (n);
}

/* Is nothing in use any more of the word of id, in the roomy leaf n? */
QR_INLINE bool
vmem__id_whole(const struct vmem_idnode *n, uint32_t id)
{
	return (n->n_slot[vmem__id_slot(id, 0)].w_word == VMEM_ID_ALL);
}

#endif /* QR_VMEM_IDFAST_H */
