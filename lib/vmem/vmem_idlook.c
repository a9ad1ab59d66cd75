/*
 * vmem_idlook.c - sets of identifiers: looking at all of them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_idnode.h"

#include "base/panic.h"

void
vmem__idset_clear(struct vmem_idset *s)
{
	if (s->s_root != NULL)
		vmem__idnode_drop(s, s->s_root);
	*s = (struct vmem_idset){.s_root = NULL};
}

/* ---- rest ---- */

/* Have all leaves at and below n, which is above id, tell what is at rest. */
static bool
leaves_rest(struct vmem_idset *s, struct vmem_idnode *n, uint32_t id)
{
	if (n->n_level == 0)
		return ((n->n_kind & VMEM_ID_RESTS) != 0 ||
		    vmem__idnode_replace(
			s, n, id, (n->n_kind & VMEM_ID_ROOMY) != 0) != NULL);
	for (uint64_t made = n->n_made; made != 0; made &= made - 1) {
		unsigned i = qr_ctz(made);

		if (!leaves_rest(s, vmem__id_child(n, i),
			id | (uint32_t)i << vmem__id_shift(n->n_level)))
			return (false);
	}
	return (true);
}

bool
vmem__idset_may_rest(struct vmem_idset *s)
{
	bool before = s->s_rests;

	s->s_rests = true;
	if (s->s_root != NULL && !before && !leaves_rest(s, s->s_root, 0))
		s->s_rests = false;
	return (s->s_rests);
}

/* ---- runs ---- */

/* One aligned 64, as masks. */
struct masks {
	uint64_t m_avail;
	uint64_t m_rests;
};

static struct masks
masks_of(struct vmem_idnode *n, uint32_t id)
{
	unsigned i = vmem__id_slot(id, n->n_level);
	struct masks m = {vmem__id_avail(n, i), 0};

	if ((n->n_kind & VMEM_ID_RESTS) != 0 && vmem__id_made(n, i))
		m.m_rests = *vmem__id_rest(n, i);
	return (m);
}

static enum vmem_idstate
state_of(struct masks m, uint32_t id)
{
	if ((m.m_avail & vmem__id_bit(id)) != 0)
		return (VMEM_ID_IS_FREE);
	return ((m.m_rests & vmem__id_bit(id)) != 0 ? VMEM_ID_IS_RESTING
						    : VMEM_ID_IS_USED);
}

/* The bits of what is in another state. */
static uint64_t
others(struct masks m, enum vmem_idstate state)
{
	switch (state) {
	case VMEM_ID_IS_FREE:
		return (~m.m_avail);
	case VMEM_ID_IS_RESTING:
		return (~m.m_rests);
	default:
		return (m.m_avail | m.m_rests);
	}
}

enum vmem_idstate
vmem__idset_run(
    const struct vmem_idset *s, uint32_t first, uint32_t last, uint32_t *lastp)
{
	struct vmem_idnode *n = vmem__id_lowest(s, first);
	struct masks m = masks_of(n, first);
	enum vmem_idstate state = state_of(m, first);
	uint64_t differs = others(m, state) & vmem__id_from(first);
	uint32_t id = first;

	while (differs == 0) {
		id = vmem__id_last(id, n->n_level);
		if (id >= last) {
			*lastp = last;
			return (state);
		}
		id++;
		n = vmem__id_lowest(s, id);
		differs = others(masks_of(n, id), state);
	}
	id = (id & ~(uint32_t)63) + qr_ctz(differs) - 1;
	*lastp = (uint32_t)qr_min(id, last);
	return (state);
}

/* ---- the invariants ---- */

/* I3, I4 and I5 for one slot; the bit that I1 is about. */
static bool
check_slot(struct vmem_idnode *n, unsigned i)
{
	unsigned at = vmem__id_index(n, i);
	uint64_t word;

	if (!vmem__id_made(n, i)) {
		if ((n->n_kind & VMEM_ID_ROOMY) == 0)
			QR_VERIFY(at == VMEM_ID_FEW);
		else if (n->n_level != 0)
			QR_VERIFY(n->n_slot[i].w_node == NULL);
		else
			QR_VERIFY(n->n_slot[i].w_word == vmem__id_avail(n, i));
		if (n->n_kind == (VMEM_ID_ROOMY | VMEM_ID_LEAF | VMEM_ID_RESTS))
			QR_VERIFY(*vmem__id_rest(n, i) == 0);
		return ((n->n_avail & vmem__id_bit(i)) != 0);
	}
	QR_VERIFY(at < vmem__id_room(n));
	if (n->n_level != 0)
		return (vmem__id_child(n, i)->n_avail != 0);
	word = *vmem__id_word(n, i);
	QR_VERIFY(word != VMEM_ID_ALL);
	if ((n->n_kind & VMEM_ID_RESTS) != 0)
		QR_VERIFY((word & *vmem__id_rest(n, i)) == 0); /* I6 */
	return (word != 0);
}

/* n and all below; id is the first that it stands for. */
static void
check_below(const struct vmem_idset *s, struct vmem_idnode *n, uint32_t id)
{
	bool idle = s->s_has_idle && n->n_level == 0 &&
	    s->s_idle >> vmem__id_shift(1) == id >> vmem__id_shift(1);

	QR_VERIFY((n->n_level == 0) == ((n->n_kind & VMEM_ID_LEAF) != 0));
	QR_VERIFY(n == s->s_root || idle || !vmem__id_alike(n));
	for (unsigned i = 0; i < VMEM_ID_FAN; i++) {
		QR_VERIFY(
		    check_slot(n, i) == ((n->n_avail & vmem__id_bit(i)) != 0));
		if (n->n_level == 0 || !vmem__id_made(n, i))
			continue;
		QR_VERIFY(vmem__id_child(n, i)->n_up == n);
		QR_VERIFY(vmem__id_child(n, i)->n_level + 1 == n->n_level);
		check_below(s, vmem__id_child(n, i),
		    id | (uint32_t)i << vmem__id_shift(n->n_level));
	}
}

void
vmem__idset_check(const struct vmem_idset *s)
{
	QR_VERIFY(s->s_root != NULL);
	QR_VERIFY(s->s_root->n_up == NULL && s->s_root->n_level == s->s_level);
	QR_VERIFY((s->s_root->n_kind & VMEM_ID_ROOMY) != 0);
	check_below(s, s->s_root, 0);
	if (s->s_near != NULL)
		QR_VERIFY(s->s_near == vmem__id_lowest(s, s->s_next - 1));
}
