/*
 * vmem_check.c - the invariants of vmem_impl.h, checked by their numbers.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_ids.h"
#include "vmem/vmem_tag.h"

/* ---- trees ---- */

/* N3 and N4 for one node. */
static void
check_node(const struct vmem_tree *t, const struct vmem_node *n)
{
	uintptr_t max = 0;

	for (unsigned i = 0; i < n->n_count; i++) {
		const struct vmem_ent *e = &n->n_ent[i];
		const struct vmem_node *child = e->e_ptr;

		max = qr_max(max, e->e_val);
		if (n->n_level == 0)
			continue;
		QR_VERIFY(child->n_parent == n);
		QR_VERIFY(child->n_level + 1 == n->n_level);
		QR_VERIFY(t->t_pairs || e->e_val == child->n_max);
		while (child->n_level != 0)
			child = child->n_ent[0].e_ptr;
		QR_VERIFY(i == 0 || e->e_key == child->n_ent[0].e_key);
		QR_VERIFY(
		    i == 0 || !t->t_pairs || e->e_val == child->n_ent[0].e_val);
	}
	QR_VERIFY(t->t_pairs || n->n_max == max);
}

/* The number of nodes at and below n; *leafp is the leaf that is due. */
static size_t
check_below(const struct vmem_tree *t, const struct vmem_node *n,
    const struct vmem_node **leafp, size_t *entries)
{
	size_t nodes = 1;

	QR_VERIFY(n->n_count > 0 && n->n_count <= VMEM_FAN); /* N2 */
	check_node(t, n);
	if (n->n_level == 0) {
		QR_VERIFY(n == *leafp);
		QR_VERIFY(n->n_next == NULL ? t->t_last == n
					    : n->n_next->n_prev == n);
		*leafp = n->n_next;
		*entries += n->n_count;
		return (nodes);
	}
	for (unsigned i = 0; i < n->n_count; i++)
		nodes += check_below(t, n->n_ent[i].e_ptr, leafp, entries);
	return (nodes);
}

/* N1. */
static void
check_order(const struct vmem_tree *t)
{
	struct vmem_pos pos = {t->t_first, 0};

	while (pos.p_leaf != NULL) {
		struct vmem_pos next = vmem__pos_next(pos);
		const struct vmem_ent *a = &pos.p_leaf->n_ent[pos.p_i];
		const struct vmem_ent *b;

		if (next.p_leaf == NULL)
			break;
		b = &next.p_leaf->n_ent[next.p_i];
		QR_VERIFY(a->e_key < b->e_key ||
		    (t->t_pairs && a->e_key == b->e_key &&
			a->e_val < b->e_val));
		pos = next;
	}
}

static void
check_tree(const struct vmem_tree *t)
{
	const struct vmem_node *leaf = t->t_first;
	size_t entries = 0, nodes = 0;

	if (t->t_root != NULL) {
		QR_VERIFY(t->t_root->n_parent == NULL);
		QR_VERIFY(t->t_first->n_prev == NULL);
		nodes = check_below(t, t->t_root, &leaf, &entries);
	}
	QR_VERIFY(leaf == NULL);
	QR_VERIFY(entries == t->t_count);
	QR_VERIFY(nodes == t->t_nodes);
	check_order(t);
}

/* N5 for node n of t: does `known`, n or above, tell the truth of n? */
static void
check_hopeless(const struct vmem *vmp, const struct vmem_tree *t,
    const struct vmem_node *known, const struct vmem_node *n, unsigned k)
{
	const struct vmem_shape *h = &vmp->vm_shape[k];
	struct vmem_req r = {.r_size = known->n_shape[k],
	    .r_align = h->h_align,
	    .r_phase = h->h_phase,
	    .r_nocross = h->h_nocross,
	    .r_max = UINTPTR_MAX};
	uintptr_t a;

	for (unsigned i = 0; i < n->n_count; i++) {
		const struct vmem_ent *e = &n->n_ent[i];
		uintptr_t start = t->t_pairs ? e->e_val : e->e_key;

		if (n->n_level != 0)
			check_hopeless(vmp, t, known, e->e_ptr, k);
		else
			QR_VERIFY(!vmem__fit_low(
			    &r, start, e->e_key + (e->e_val - 1), &a));
	}
}

static void
check_shapes(const struct vmem *vmp, const struct vmem_tree *t,
    const struct vmem_node *n)
{
	for (unsigned k = 0; k < VMEM_SHAPES; k++)
		if (vmp->vm_shape[k].h_gen != 0 &&
		    n->n_shape_gen[k] == vmp->vm_shape[k].h_gen)
			check_hopeless(vmp, t, n, n, k);
	for (unsigned i = 0; n->n_level != 0 && i < n->n_count; i++)
		check_shapes(vmp, t, n->n_ent[i].e_ptr);
}

static void
check_index(const struct vmem *vmp, const struct vmem_tree *t)
{
	check_tree(t);
	if (t->t_root != NULL)
		check_shapes(vmp, t, t->t_root);
}

/* ---- the arena ---- */

struct tally {
	size_t inuse, allocated, frees;
	size_t tagged; /* of allocated */
	size_t sized;  /* of frees: in vm_sizes, if that is there */
};

/* A4 and A6 for one free segment. */
static void
check_free(struct vmem *vmp, const struct vmem_run *run, struct tally *tally)
{
	unsigned bin = vmem__bin_of(vmp, run->u_size);
	struct vmem_pos pos;

	QR_VERIFY(
	    run->u_size != 0 && qr_phase(run->u_size, vmp->vm_quantum) == 0);
	QR_VERIFY(vmem__bin_next(vmp, bin) == bin);
	tally->frees++;
	if ((vmp->vm_indexed & VMEM_BY_ADDR) != 0) {
		pos =
		    vmem__tree_floor(&vmp->vm_addrs, run->u_start, UINTPTR_MAX);
		QR_VERIFY(
		    pos.p_leaf != NULL && vmem__pos_tag(pos) == run->u_tag);
		QR_VERIFY(pos.p_leaf->n_ent[pos.p_i].e_key == run->u_start);
		QR_VERIFY(pos.p_leaf->n_ent[pos.p_i].e_val == run->u_size);
	}
	if (vmem__bin_exact(vmp, run->u_size) &&
	    (vmp->vm_indexed & VMEM_BY_SMALL) == 0)
		return;
	tally->sized++;
	if ((vmp->vm_indexed & VMEM_BY_SIZE) != 0) {
		pos =
		    vmem__tree_floor(&vmp->vm_sizes, run->u_size, run->u_start);
		QR_VERIFY(
		    pos.p_leaf != NULL && vmem__pos_tag(pos) == run->u_tag);
		QR_VERIFY(pos.p_leaf->n_ent[pos.p_i].e_key == run->u_size);
		QR_VERIFY(pos.p_leaf->n_ent[pos.p_i].e_val == run->u_start);
	}
}

static void
check_allocated(size_t size, struct tally *tally)
{
	tally->inuse += size;
	tally->allocated++;
}

/* A1, A2 and A5 for one span. */
static void
check_tags(struct vmem *vmp, struct vmem_tag *span, struct tally *tally)
{
	struct vmem_tag *prev = span;
	size_t done = 0;

	for (struct vmem_tag *tag = span->g_next; tag != span;
	     prev = tag, tag = tag->g_next) {
		struct vmem_run run = vmem__tag_run(tag);
		size_t extent = qr_roundup(tag->g_size, vmp->vm_quantum);

		QR_VERIFY(tag->g_prev == prev);
		QR_VERIFY(tag->g_start == span->g_start + done);
		QR_VERIFY(extent != 0 && extent <= span->g_size - done);
		if (vmem__kind(tag) == VMEM_K_FREE) {
			QR_VERIFY(vmem__kind(prev) != VMEM_K_FREE);
			QR_VERIFY(*tag->g_back == tag);
			check_free(vmp, &run, tally);
		} else {
			QR_VERIFY(vmem__kind(tag) == VMEM_K_ALLOC);
			QR_VERIFY(*vmem__hash_find(vmp, tag->g_start) == tag);
			check_allocated(tag->g_size, tally);
			tally->tagged++;
		}
		done += extent;
	}
	QR_VERIFY(span->g_prev == prev);
	QR_VERIFY(done == span->g_size);
}

/* A1, A2 and A7 for the dense span. */
static void
check_dense(struct vmem *vmp, struct vmem_tag *span, struct tally *tally)
{
	const struct vmem_desc *d = vmp->vm_desc;
	uint32_t end = VMEM_DESC_FIRST + (uint32_t)vmp->vm_dense_quanta;
	bool after_free = false;

	QR_VERIFY(vmp->vm_dense == span->g_start);
	QR_VERIFY(vmp->vm_dense_quanta << vmp->vm_qshift == span->g_size);
	QR_VERIFY(d[VMEM_DESC_LEFT].d_tail == 1 && d[end].d_head == 1);
	for (uint32_t i = VMEM_DESC_FIRST; i < end;) {
		uint32_t n = vmem__desc_quanta(vmp, i);
		struct vmem_run run = vmem__desc_run(vmp, i);

		QR_VERIFY(n != 0 && n <= end - i);
		QR_VERIFY(d[i + (n - 1)].d_tail == d[i].d_head);
		for (uint32_t k = 1; k < n; k++)
			QR_VERIFY(d[i + k].d_head == 0);
		if (vmem__desc_is_free(vmp, i)) {
			QR_VERIFY(!after_free);
			QR_VERIFY(d[d[i].d_next].d_prev == i);
			QR_VERIFY(d[d[i].d_prev].d_next == i);
			check_free(vmp, &run, tally);
		} else {
			QR_VERIFY(d[i].d_next < vmp->vm_quantum);
			check_allocated(vmem__desc_size(vmp, i), tally);
		}
		after_free = vmem__desc_is_free(vmp, i);
		i += n;
	}
}

/* The members of one list, which are all free and of that size. */
static size_t
check_list(const struct vmem *vmp, unsigned bin)
{
	size_t listed = 0;

	for (uint32_t i = vmem__desc_first(vmp, bin); i != 0;
	     i = vmem__desc_next(vmp, i), listed++) {
		QR_VERIFY(vmem__desc_is_free(vmp, i));
		QR_VERIFY(
		    vmem__bin_of_quanta(vmem__desc_quanta(vmp, i)) == bin);
	}
	for (const struct vmem_tag *tag = vmp->vm_bin[bin]; tag != NULL;
	     tag = tag->g_link, listed++) {
		QR_VERIFY(vmem__kind(tag) == VMEM_K_FREE);
		QR_VERIFY(vmem__bin_of(vmp, tag->g_size) == bin);
	}
	QR_VERIFY((vmem__bin_next(vmp, bin) == bin) == (listed != 0));
	return (listed);
}

/* The counts of A3 to A6, and that the lists hold nothing else. */
static void
check_counts(const struct vmem *vmp, const struct tally *tally)
{
	size_t listed = 0;

	QR_VERIFY(tally->inuse == vmp->vm_inuse);
	QR_VERIFY(tally->allocated == vmp->vm_nalloc - vmp->vm_nfree);
	QR_VERIFY(tally->tagged == vmp->vm_hash_used);
	QR_VERIFY(tally->frees == vmp->vm_bins_used + vmp->vm_dense_free);
	if ((vmp->vm_indexed & VMEM_BY_ADDR) != 0)
		QR_VERIFY(vmp->vm_addrs.t_count == tally->frees);
	QR_VERIFY((vmp->vm_indexed & VMEM_BY_SMALL) == 0 ||
	    (vmp->vm_indexed & VMEM_BY_SIZE) != 0);
	if ((vmp->vm_indexed & VMEM_BY_SIZE) != 0)
		QR_VERIFY(vmp->vm_sizes.t_count == tally->sized);
	for (unsigned bin = 0; bin < VMEM_BINS; bin++)
		listed += check_list(vmp, bin);
	QR_VERIFY(listed == tally->frees);
}

/* A3 for spans. */
static void
check_spans(struct vmem *vmp)
{
	struct tally tally = {0, 0, 0, 0, 0};
	struct vmem_pos pos = {vmp->vm_spans.t_first, 0};
	size_t total = 0, import = 0;

	for (; pos.p_leaf != NULL; pos = vmem__pos_next(pos)) {
		struct vmem_tag *span = vmem__pos_tag(pos);

		QR_VERIFY(pos.p_leaf->n_ent[pos.p_i].e_key == span->g_start);
		if (vmem__kind(span) == VMEM_K_DENSE)
			check_dense(vmp, span, &tally);
		else if (vmem__kind(span) != VMEM_K_IDS)
			check_tags(vmp, span, &tally);
		total += span->g_size;
		if (vmem__kind(span) == VMEM_K_IMPORT)
			import += span->g_size;
	}
	QR_VERIFY(total == vmp->vm_total);
	QR_VERIFY(import == vmp->vm_import);
	if (vmp->vm_ids == NULL)
		check_counts(vmp, &tally);
	else
		vmem__ids_check(vmp);
}

bool
vmem__check(vmem_t *vmp)
{
	qr_mutex_enter(&vmp->vm_lock);
	check_tree(&vmp->vm_spans);
	if ((vmp->vm_indexed & VMEM_BY_ADDR) != 0)
		check_index(vmp, &vmp->vm_addrs);
	if ((vmp->vm_indexed & VMEM_BY_SIZE) != 0)
		check_index(vmp, &vmp->vm_sizes);
	check_spans(vmp);
	qr_mutex_exit(&vmp->vm_lock);
	return (true);
}
