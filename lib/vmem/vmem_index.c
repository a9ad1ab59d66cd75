/*
 * vmem_index.c - the free segments of an arena in order of address, and in
 * order of size, for the requests that need an order.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_tag.h"

#include <string.h>

enum {
	BY_SIZE_ALL = VMEM_BY_SIZE | VMEM_BY_SMALL,
	/* Leaves of vm_sizes, partly outside of its window, for one request. */
	BEST_LEAVES = 36,
};

/* ---- keeping them true ---- */

static struct vmem_ent
ent_addr(const struct vmem_run *run)
{
	return ((struct vmem_ent){run->u_start, run->u_size, run->u_tag});
}

static struct vmem_ent
ent_size(const struct vmem_run *run)
{
	return ((struct vmem_ent){run->u_size, run->u_start, run->u_tag});
}

/* Indexes that have this segment, or would. */
static unsigned
indexes_of(const struct vmem *vmp, size_t size)
{
	unsigned which = VMEM_BY_ADDR;

	if (!vmem__bin_exact(vmp, size) ||
	    (vmp->vm_indexed & VMEM_BY_SMALL) != 0)
		which |= VMEM_BY_SIZE;
	return (vmp->vm_indexed & which);
}

/* Insert, or give the index up when the stock has not enough nodes. */
static void
put(struct vmem *vmp, unsigned which, struct vmem_tree *t, struct vmem_ent ent)
{
	if (vmp->vm_nodes.s_count < vmem__tree_need(t))
		vmp->vm_indexed &= ~which;
	else
		vmem__tree_put(t, ent, &vmp->vm_nodes);
}

static void
size_remove(struct vmem *vmp, const struct vmem_run *run)
{
	vmem__tree_remove(&vmp->vm_sizes,
	    vmem__tree_floor(&vmp->vm_sizes, run->u_size, run->u_start));
}

void
vmem__index_enter(struct vmem *vmp, const struct vmem_run *run)
{
	unsigned which = indexes_of(vmp, run->u_size);

	if ((which & VMEM_BY_ADDR) != 0)
		put(vmp, VMEM_BY_ADDR, &vmp->vm_addrs, ent_addr(run));
	if ((which & VMEM_BY_SIZE) != 0)
		put(vmp, BY_SIZE_ALL, &vmp->vm_sizes, ent_size(run));
}

void
vmem__index_leave(struct vmem *vmp, const struct vmem_run *run)
{
	unsigned which = indexes_of(vmp, run->u_size);

	if ((which & VMEM_BY_ADDR) != 0)
		vmem__tree_remove(&vmp->vm_addrs,
		    vmem__tree_floor(
			&vmp->vm_addrs, run->u_start, UINTPTR_MAX));
	if ((which & VMEM_BY_SIZE) != 0)
		size_remove(vmp, run);
}

void
vmem__index_change(
    struct vmem *vmp, const struct vmem_run *run, uintptr_t start, size_t size)
{
	struct vmem_run now = {start, size, run->u_tag};

	if ((vmp->vm_indexed & VMEM_BY_ADDR) != 0)
		vmem__tree_change(&vmp->vm_addrs,
		    vmem__tree_floor(&vmp->vm_addrs, run->u_start, UINTPTR_MAX),
		    ent_addr(&now));
	if ((indexes_of(vmp, run->u_size) & VMEM_BY_SIZE) != 0)
		size_remove(vmp, run);
	if ((indexes_of(vmp, size) & VMEM_BY_SIZE) != 0)
		put(vmp, BY_SIZE_ALL, &vmp->vm_sizes, ent_size(&now));
}

void
vmem__index_stock(struct vmem *vmp)
{
	size_t need;

	/* Nodes must not know of a shape of the same number long ago. */
	if (QR_UNLIKELY(vmp->vm_shape_gen == UINT32_MAX)) {
		vmp->vm_shape_gen = 0;
		memset(vmp->vm_shape, 0, sizeof(vmp->vm_shape));
		vmp->vm_indexed = 0;
	}
	if (QR_UNLIKELY(
		vmp->vm_nalloc - vmp->vm_best_last > vmp->vm_sizes.t_count &&
		(vmp->vm_indexed & VMEM_BY_SMALL) != 0))
		vmp->vm_indexed &= ~(unsigned)BY_SIZE_ALL;
	need = 4 + vmp->vm_addrs.t_nodes / 4 + vmp->vm_sizes.t_nodes / 4;

	if ((vmp->vm_indexed & VMEM_BY_ADDR) != 0)
		need += 2 * vmem__tree_need(&vmp->vm_addrs);
	if ((vmp->vm_indexed & VMEM_BY_SIZE) != 0)
		need += 2 * vmem__tree_need(&vmp->vm_sizes);
	(void)vmem__nodes_fill(&vmp->vm_nodes, need);
}

/* ---- building one ---- */

/* One free segment; false when memory is short. */
static bool
build_run(struct vmem *vmp, unsigned which, struct vmem_tree *t,
    const struct vmem_run *run)
{
	if (which == VMEM_BY_SIZE && vmem__bin_exact(vmp, run->u_size))
		return (true);
	if (!vmem__nodes_fill(&vmp->vm_nodes, vmem__tree_need(t)))
		return (false);
	vmem__tree_put(t, which == VMEM_BY_ADDR ? ent_addr(run) : ent_size(run),
	    &vmp->vm_nodes);
	return (true);
}

static bool
build_dense(struct vmem *vmp, unsigned which, struct vmem_tree *t)
{
	uint32_t end = VMEM_DESC_FIRST + (uint32_t)vmp->vm_dense_quanta;
	bool done = true;

	for (uint32_t i = VMEM_DESC_FIRST; done && i < end;
	     i += vmem__desc_quanta(vmp, i)) {
		struct vmem_run run = vmem__desc_run(vmp, i);

		if (vmem__desc_is_free(vmp, i))
			done = build_run(vmp, which, t, &run);
	}
	return (done);
}

/* Free segments of one span; false when memory is short. */
static bool
build_span(struct vmem *vmp, unsigned which, struct vmem_tree *t,
    struct vmem_tag *span)
{
	bool done = true;

	if (vmem__kind(span) == VMEM_K_DENSE)
		return (build_dense(vmp, which, t));
	for (struct vmem_tag *tag = span->g_next; done && tag != span;
	     tag = tag->g_next) {
		struct vmem_run run = vmem__tag_run(tag);

		if (vmem__kind(tag) == VMEM_K_FREE)
			done = build_run(vmp, which, t, &run);
	}
	return (done);
}

bool
vmem__index_want(struct vmem *vmp, unsigned which)
{
	struct vmem_tree *t =
	    which == VMEM_BY_ADDR ? &vmp->vm_addrs : &vmp->vm_sizes;
	struct vmem_pos span = {vmp->vm_spans.t_first, 0};

	if (QR_LIKELY((vmp->vm_indexed & which) == which))
		return (true);
	vmp->vm_indexed &= ~which;
	vmem__tree_clear(t);
	for (; span.p_leaf != NULL; span = vmem__pos_next(span)) {
		if (!build_span(vmp, which, t, vmem__pos_tag(span))) {
			vmem__tree_clear(t);
			return (false);
		}
	}
	vmp->vm_indexed |= which;
	vmp->vm_dense_looks = 0;
	vmem__index_stock(vmp);
	return (true);
}

/* ---- what is hopeless ---- */

int
vmem__index_shape(
    struct vmem *vmp, struct vmem_tree *t, const struct vmem_req *r)
{
	int found = 0;

	t->t_shaped = true;
	for (int k = 0; k < VMEM_SHAPES; k++) {
		struct vmem_shape *h = &vmp->vm_shape[k];

		if (h->h_gen != 0 && h->h_align == r->r_align &&
		    h->h_phase == r->r_phase && h->h_nocross == r->r_nocross) {
			h->h_used = ++vmp->vm_shape_uses;
			return (k);
		}
		if (h->h_used < vmp->vm_shape[found].h_used)
			found = k;
	}
	vmp->vm_shape[found] = (struct vmem_shape){r->r_align, r->r_phase,
	    r->r_nocross, ++vmp->vm_shape_gen, ++vmp->vm_shape_uses};
	return (found);
}

static void
learn(const struct vmem *vmp, const struct vmem_req *r, int k,
    struct vmem_node *n)
{
	uint32_t gen = vmp->vm_shape[k].h_gen;

	n->n_shape[k] = n->n_shape_gen[k] == gen
	    ? qr_min(n->n_shape[k], r->r_size)
	    : r->r_size;
	n->n_shape_gen[k] = gen;
}

/* Nothing below this entry of an inner node can do. */
static bool
hopeless(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, const struct vmem_ent *e)
{
	const struct vmem_node *n = e->e_ptr;
	int k = search->f_shape;

	return (e->e_val < search->f_size ||
	    (k >= 0 && n->n_shape_gen[k] == vmp->vm_shape[k].h_gen &&
		r->r_size >= n->n_shape[k]));
}

/*
 * A leaf was looked at in vain.  That tells something when all of it is in r's
 * window, and so all of it was looked at.
 */
static void
learn_leaf(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, struct vmem_node *leaf)
{
	const struct vmem_ent *last = &leaf->n_ent[leaf->n_count - 1];

	if (search->f_shape >= 0 && leaf->n_ent[0].e_key >= r->r_min &&
	    last->e_key + (last->e_val - 1) <= r->r_max)
		learn(vmp, r, search->f_shape, leaf);
}

static void
learn_inner(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, struct vmem_node *n)
{
	if (search->f_shape < 0)
		return;
	for (unsigned i = 0; i < n->n_count; i++)
		if (!hopeless(vmp, r, search, &n->n_ent[i]))
			return;
	learn(vmp, r, search->f_shape, n);
}

/* ---- search ---- */

bool
vmem__fit_run(
    const struct vmem_req *r, const struct vmem_run *run, uintptr_t *addrp)
{
	uintptr_t last = run->u_start + (run->u_size - 1);

	return ((r->r_flags & VM_ENDALLOC) != 0
		? vmem__fit_high(r, run->u_start, last, addrp)
		: vmem__fit_low(r, run->u_start, last, addrp));
}

/*
 * The nearest leaf after (before) this one that may do.  An inner node may have
 * seemed worth a look and be none: then the way goes on from it.
 */
static struct vmem_node *
leaf_after(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, struct vmem_node *n)
{
	unsigned i;

	do {
		struct vmem_node *child = n;

		n = n->n_parent;
		if (n == NULL)
			return (NULL);
		i = vmem__child_index(n, child) + 1;
		for (;;) {
			while (i < n->n_count &&
			    hopeless(vmp, r, search, &n->n_ent[i]))
				i++;
			if (i == n->n_count)
				break;
			n = n->n_ent[i].e_ptr;
			if (n->n_level == 0)
				return (n);
			i = 0;
		}
		learn_inner(vmp, r, search, n);
	} while (true);
}

static struct vmem_node *
leaf_before(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, struct vmem_node *n)
{
	unsigned i;

	do {
		struct vmem_node *child = n;

		n = n->n_parent;
		if (n == NULL)
			return (NULL);
		i = vmem__child_index(n, child);
		for (;;) {
			while (
			    i > 0 && hopeless(vmp, r, search, &n->n_ent[i - 1]))
				i--;
			if (i == 0)
				break;
			n = n->n_ent[i - 1].e_ptr;
			if (n->n_level == 0)
				return (n);
			i = n->n_count;
		}
		learn_inner(vmp, r, search, n);
	} while (true);
}

/* Does this entry have a place?  True when the search ends here. */
static bool
try_entry(const struct vmem_req *r, const struct vmem_ent *e,
    struct vmem_search *search)
{
	if (e->e_val < search->f_size)
		return (false);
	search->f_run = (struct vmem_run){e->e_key, e->e_val, e->e_ptr};
	search->f_found = vmem__fit_run(r, &search->f_run, &search->f_addr);
	if (search->f_found)
		return (true);
	search->f_vain++;
	if (search->f_patience-- != 0)
		return (false);
	search->f_tired = true;
	return (true);
}

static void
find_low(const struct vmem *vmp, const struct vmem_req *r,
    struct vmem_search *search)
{
	struct vmem_pos at =
	    vmem__tree_floor(&vmp->vm_addrs, r->r_min, UINTPTR_MAX);

	if (at.p_leaf == NULL)
		at = (struct vmem_pos){vmp->vm_addrs.t_first, 0};
	while (at.p_leaf != NULL) {
		for (; at.p_i < at.p_leaf->n_count; at.p_i++) {
			const struct vmem_ent *e = &at.p_leaf->n_ent[at.p_i];

			if (e->e_key > r->r_max || try_entry(r, e, search))
				return;
		}
		learn_leaf(vmp, r, search, at.p_leaf);
		at.p_leaf = leaf_after(vmp, r, search, at.p_leaf);
		at.p_i = 0;
	}
}

static void
find_high(const struct vmem *vmp, const struct vmem_req *r,
    struct vmem_search *search)
{
	struct vmem_pos at =
	    vmem__tree_floor(&vmp->vm_addrs, r->r_max, UINTPTR_MAX);

	while (at.p_leaf != NULL) {
		for (unsigned i = at.p_i + 1; i-- > 0;) {
			const struct vmem_ent *e = &at.p_leaf->n_ent[i];

			if (e->e_key + (e->e_val - 1) < r->r_min ||
			    try_entry(r, e, search))
				return;
		}
		learn_leaf(vmp, r, search, at.p_leaf);
		at.p_leaf = leaf_before(vmp, r, search, at.p_leaf);
		if (at.p_leaf != NULL)
			at.p_i = at.p_leaf->n_count - 1u;
	}
}

void
vmem__index_search(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *search)
{
	search->f_found = false;
	search->f_tired = false;
	if ((r->r_flags & VM_ENDALLOC) != 0)
		find_high(vmp, r, search);
	else
		find_low(vmp, r, search);
}

/* ---- search by size ---- */

static bool
outside(const struct vmem_req *r, const struct vmem_ent *e)
{
	return (e->e_val > r->r_max || e->e_val + (e->e_key - 1) < r->r_min);
}

/*
 * Look at what is in r's window of a leaf, from `at` on.  *allp stays true when
 * that is all of it.
 */
static bool
best_of_leaf(const struct vmem_req *r, struct vmem_pos at,
    struct vmem_search *search, bool *allp)
{
	for (; at.p_i < at.p_leaf->n_count; at.p_i++) {
		const struct vmem_ent *e = &at.p_leaf->n_ent[at.p_i];

		if (e->e_val < r->r_min ||
		    e->e_val + (e->e_key - 1) > r->r_max) {
			*allp = false;
			if (outside(r, e))
				continue;
		}
		search->f_run = (struct vmem_run){e->e_val, e->e_key, e->e_ptr};
		if (vmem__fit_run(r, &search->f_run, &search->f_addr))
			return (true);
		search->f_vain++;
	}
	return (false);
}

/*
 * The first segment after e, which is outside of r's window, that may be in it:
 * of the same size, or else of the next.
 */
static struct vmem_pos
best_skip(
    const struct vmem *vmp, const struct vmem_req *r, const struct vmem_ent *e)
{
	return (vmem__tree_above(&vmp->vm_sizes, e->e_key,
	    e->e_val > r->r_max ? UINTPTR_MAX : r->r_min - e->e_key));
}

/*
 * A leaf that was all looked at, in vain, is learnt from: what r asks for is
 * more than a size, which all would have.
 */
static void
best_learn(struct vmem *vmp, const struct vmem_req *r,
    struct vmem_search *search, struct vmem_node *leaf)
{
	if (search->f_shape < 0)
		search->f_shape = vmem__index_shape(vmp, &vmp->vm_sizes, r);
	learn(vmp, r, search->f_shape, leaf);
}

/* In the first leaf, what is before the first look is too small anyway. */
void
vmem__index_best(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *search)
{
	struct vmem_pos at =
	    vmem__tree_above(&vmp->vm_sizes, r->r_extent - 1, UINTPTR_MAX);
	unsigned leaves = 0;
	bool all = true;

	search->f_size = 0;
	search->f_shape = -1;
	search->f_found = false;
	search->f_tired = false;
	while (at.p_leaf != NULL) {
		struct vmem_node *leaf = at.p_leaf;
		const struct vmem_ent *last = &leaf->n_ent[leaf->n_count - 1];

		search->f_found = best_of_leaf(r, at, search, &all);
		if (search->f_found)
			return;
		if (all)
			best_learn(vmp, r, search, leaf);
		search->f_tired = !all && ++leaves == BEST_LEAVES;
		if (search->f_tired)
			return;
		if (outside(r, last))
			at = best_skip(vmp, r, last);
		else
			at = (struct vmem_pos){
			    leaf_after(vmp, r, search, leaf), 0};
		all = at.p_i == 0;
	}
}
