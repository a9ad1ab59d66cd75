/*
 * vmem_check.c - the invariants of vmem_impl.h, checked by their numbers.
 */
#include "vmem/vmem_impl.h"

/* N4 for leaves and N5. */
static void
check_leaf_summary(const struct vmem_tree *t, const struct vmem_node *leaf)
{
	size_t max = 0;

	for (uint32_t set = leaf->n_free; set != 0; set &= set - 1)
		max = qr_max(max, leaf->l_val[qr_ctz(set)]);
	if (t->t_bins == NULL)
		return;
	QR_VERIFY(leaf->n_max == max);
	QR_VERIFY(leaf->n_bin == (max == 0 ? VMEM_NOBIN : qr_log2(max)));
	QR_VERIFY((leaf->n_bin == VMEM_NOBIN) == qr_list_empty(&leaf->n_link));
}

/* N3 and N4 for one inner node. */
static void
check_inner(const struct vmem_tree *t, const struct vmem_node *n)
{
	size_t max = 0;

	for (unsigned i = 0; i < n->n_count; i++) {
		const struct vmem_node *child = n->i_child[i];
		const struct vmem_node *leaf = child;

		QR_VERIFY(child->n_parent == n);
		QR_VERIFY(child->n_level + 1 == n->n_level);
		while (leaf->n_level != 0)
			leaf = leaf->i_child[0];
		QR_VERIFY(i == 0 || n->i_key[i] == leaf->l_key[0]);
		QR_VERIFY(i == 0 || t->t_bins != NULL ||
		    n->i_aux[i] == leaf->l_val[0]);
		QR_VERIFY(t->t_bins == NULL || n->i_aux[i] == child->n_max);
		max = qr_max(max, n->i_aux[i]);
	}
	QR_VERIFY(t->t_bins == NULL || n->n_max == max);
}

/* Returns the number of nodes at and below n; leaves must come in order. */
static size_t
check_below(const struct vmem_tree *t, const struct vmem_node *n,
    const struct vmem_node **leafp, size_t *entries)
{
	size_t nodes = 1;

	QR_VERIFY(n->n_count > 0); /* N2 */
	if (n->n_level == 0) {
		QR_VERIFY(n == *leafp);
		QR_VERIFY(n->n_count <= VMEM_LEAF);
		QR_VERIFY(n->n_next == NULL ? t->t_last == n
					    : n->n_next->n_prev == n);
		check_leaf_summary(t, n);
		*leafp = n->n_next;
		*entries += n->n_count;
		return (nodes);
	}
	QR_VERIFY(n->n_count <= VMEM_INNER);
	check_inner(t, n);
	for (unsigned i = 0; i < n->n_count; i++)
		nodes += check_below(t, n->i_child[i], leafp, entries);
	return (nodes);
}

static void
check_order(const struct vmem_tree *t)
{
	struct vmem_pos pos = {t->t_first, 0};

	while (pos.p_leaf != NULL) {
		struct vmem_pos next = vmem__pos_next(pos);
		uintptr_t key = pos.p_leaf->l_key[pos.p_i];

		if (next.p_leaf == NULL)
			break;
		QR_VERIFY(key < next.p_leaf->l_key[next.p_i] ||
		    (t->t_pairs && key == next.p_leaf->l_key[next.p_i] &&
			pos.p_leaf->l_val[pos.p_i] <
			    next.p_leaf->l_val[next.p_i]));
		pos = next;
	}
}

/* N1 to N5. */
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
	for (unsigned b = 0; t->t_bins != NULL && b < VMEM_BINS; b++)
		QR_VERIFY((t->t_bins->vb_map >> b & 1) ==
		    !qr_list_empty(&t->t_bins->vb_list[b]));
}

struct tally {
	size_t inuse, frees;
	struct vmem_pos seg;
};

/* A1 and A2 for one span; the tally stands at its first segment. */
static void
check_span(
    const struct vmem *vmp, uintptr_t start, size_t size, struct tally *tally)
{
	size_t done = 0;
	bool was_free = false;

	while (done < size) {
		struct vmem_pos s = tally->seg;
		size_t value, extent;

		QR_VERIFY(s.p_leaf != NULL);
		value = s.p_leaf->l_val[s.p_i];
		extent = qr_roundup(value, vmp->vm_quantum);
		QR_VERIFY(s.p_leaf->l_key[s.p_i] == start + done);
		QR_VERIFY(vmem__marked(s) == (done == 0));
		QR_VERIFY(extent != 0 && extent <= size - done);
		if (vmem__seg_free(s)) {
			QR_VERIFY(!was_free && value == extent);
			tally->frees++;
		} else {
			tally->inuse += value;
		}
		was_free = vmem__seg_free(s);
		done += extent;
		tally->seg = vmem__pos_next(s);
	}
}

/* A1 to A3. */
static void
check_spans(const struct vmem *vmp, struct tally *tally)
{
	struct vmem_pos pos = {vmp->vm_spans.t_first, 0};
	size_t total = 0, import = 0;

	while (pos.p_leaf != NULL) {
		size_t size = pos.p_leaf->l_val[pos.p_i];

		check_span(vmp, pos.p_leaf->l_key[pos.p_i], size, tally);
		total += size;
		if (vmem__marked(pos))
			import += size;
		pos = vmem__pos_next(pos);
	}
	QR_VERIFY(tally->seg.p_leaf == NULL);
	QR_VERIFY(total == vmp->vm_total);
	QR_VERIFY(import == vmp->vm_import);
	QR_VERIFY(tally->inuse == vmp->vm_inuse);
}

/* A4: as many as there are free segments, and each is one of them. */
static void
check_sizes(const struct vmem *vmp, size_t frees)
{
	struct vmem_pos pos = {vmp->vm_sizes.t_first, 0};

	QR_VERIFY(vmp->vm_sizes.t_count == frees);
	for (; pos.p_leaf != NULL; pos = vmem__pos_next(pos)) {
		struct vmem_pos seg = vmem__tree_floor(
		    &vmp->vm_segs, pos.p_leaf->l_val[pos.p_i], 0);

		QR_VERIFY(seg.p_leaf != NULL && vmem__seg_free(seg));
		QR_VERIFY(
		    seg.p_leaf->l_key[seg.p_i] == pos.p_leaf->l_val[pos.p_i]);
		QR_VERIFY(
		    seg.p_leaf->l_val[seg.p_i] == pos.p_leaf->l_key[pos.p_i]);
	}
}

bool
vmem__check(vmem_t *vmp)
{
	struct tally tally = {0, 0, {NULL, 0}};

	qr_mutex_enter(&vmp->vm_lock);
	tally.seg.p_leaf = vmp->vm_segs.t_first;
	check_tree(&vmp->vm_segs);
	check_tree(&vmp->vm_spans);
	check_tree(&vmp->vm_sizes);
	check_spans(vmp, &tally);
	if (vmp->vm_sizes_on)
		check_sizes(vmp, tally.frees);
	qr_mutex_exit(&vmp->vm_lock);
	return (true);
}
