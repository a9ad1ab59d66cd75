/*
 * vmem_index.c - the free segments of an arena in order of address, and in
 * order of size, for the requests that need an order.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_impl.h"

/* ---- keeping them true ---- */

static struct vmem_ent
ent_addr(struct vmem_tag *tag, uintptr_t start, size_t size)
{
	return ((struct vmem_ent){start, size, tag});
}

static struct vmem_ent
ent_size(struct vmem_tag *tag, uintptr_t start, size_t size)
{
	return ((struct vmem_ent){size, start, tag});
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

void
vmem__index_enter(struct vmem *vmp, struct vmem_tag *tag)
{
	if ((vmp->vm_indexed & VMEM_BY_ADDR) != 0)
		put(vmp, VMEM_BY_ADDR, &vmp->vm_addrs,
		    ent_addr(tag, tag->g_start, tag->g_size));
	if ((vmp->vm_indexed & VMEM_BY_SIZE) != 0)
		put(vmp, VMEM_BY_SIZE, &vmp->vm_sizes,
		    ent_size(tag, tag->g_start, tag->g_size));
}

void
vmem__index_leave(struct vmem *vmp, struct vmem_tag *tag)
{
	if ((vmp->vm_indexed & VMEM_BY_ADDR) != 0)
		vmem__tree_remove(&vmp->vm_addrs,
		    vmem__tree_floor(
			&vmp->vm_addrs, tag->g_start, UINTPTR_MAX));
	if ((vmp->vm_indexed & VMEM_BY_SIZE) != 0)
		vmem__tree_remove(&vmp->vm_sizes,
		    vmem__tree_floor(
			&vmp->vm_sizes, tag->g_size, tag->g_start));
}

void
vmem__index_change(
    struct vmem *vmp, struct vmem_tag *tag, uintptr_t start, size_t size)
{
	if ((vmp->vm_indexed & VMEM_BY_ADDR) != 0)
		vmem__tree_change(&vmp->vm_addrs,
		    vmem__tree_floor(&vmp->vm_addrs, tag->g_start, UINTPTR_MAX),
		    ent_addr(tag, start, size));
	if ((vmp->vm_indexed & VMEM_BY_SIZE) != 0) {
		vmem__tree_remove(&vmp->vm_sizes,
		    vmem__tree_floor(
			&vmp->vm_sizes, tag->g_size, tag->g_start));
		put(vmp, VMEM_BY_SIZE, &vmp->vm_sizes,
		    ent_size(tag, start, size));
	}
}

void
vmem__index_stock(struct vmem *vmp)
{
	size_t need = 4 + vmp->vm_addrs.t_nodes / 4 + vmp->vm_sizes.t_nodes / 4;

	if ((vmp->vm_indexed & VMEM_BY_ADDR) != 0)
		need += 2 * vmem__tree_need(&vmp->vm_addrs);
	if ((vmp->vm_indexed & VMEM_BY_SIZE) != 0)
		need += 2 * vmem__tree_need(&vmp->vm_sizes);
	(void)vmem__nodes_fill(&vmp->vm_nodes, need);
}

/* ---- building one ---- */

/* Free segments of one span; false when memory is short. */
static bool
build_span(struct vmem *vmp, unsigned which, struct vmem_tree *t,
    struct vmem_tag *span)
{
	for (struct vmem_tag *tag = span->g_next; tag != span;
	     tag = tag->g_next) {
		if (tag->g_kind != VMEM_K_FREE)
			continue;
		if (!vmem__nodes_fill(&vmp->vm_nodes, vmem__tree_need(t)))
			return (false);
		vmem__tree_put(t,
		    which == VMEM_BY_ADDR
			? ent_addr(tag, tag->g_start, tag->g_size)
			: ent_size(tag, tag->g_start, tag->g_size),
		    &vmp->vm_nodes);
	}
	return (true);
}

bool
vmem__index_want(struct vmem *vmp, unsigned which)
{
	struct vmem_tree *t =
	    which == VMEM_BY_ADDR ? &vmp->vm_addrs : &vmp->vm_sizes;
	struct vmem_pos span = {vmp->vm_spans.t_first, 0};

	if (QR_LIKELY((vmp->vm_indexed & which) != 0))
		return (true);
	vmem__tree_clear(t);
	for (; span.p_leaf != NULL; span = vmem__pos_next(span)) {
		if (!build_span(vmp, which, t, vmem__pos_tag(span))) {
			vmem__tree_clear(t);
			return (false);
		}
	}
	vmp->vm_indexed |= which;
	vmem__index_stock(vmp);
	return (true);
}

/* ---- summaries by shape ---- */

int
vmem__index_shape(struct vmem *vmp, const struct vmem_req *r)
{
	int oldest = 0;

	for (int k = 0; k < VMEM_SHAPES; k++) {
		const struct vmem_shape *h = &vmp->vm_shape[k];

		if (h->h_gen != 0 && h->h_align == r->r_align &&
		    h->h_phase == r->r_phase && h->h_nocross == r->r_nocross)
			return (k);
		if (h->h_gen < vmp->vm_shape[oldest].h_gen)
			oldest = k;
	}
	vmp->vm_shape[oldest] = (struct vmem_shape){
	    r->r_align, r->r_phase, r->r_nocross, ++vmp->vm_shape_gen};
	return (oldest);
}

/* The largest size with a place of r's shape, which is shape k, below n. */
static size_t
shape_room(const struct vmem *vmp, const struct vmem_req *r, unsigned k,
    struct vmem_node *n)
{
	size_t room = 0;

	if (n->n_shape_gen[k] == vmp->vm_shape[k].h_gen)
		return (n->n_shape[k]);
	for (unsigned i = 0; i < n->n_count; i++) {
		const struct vmem_ent *e = &n->n_ent[i];

		room = qr_max(room,
		    n->n_level != 0 ? shape_room(vmp, r, k, e->e_ptr)
				    : vmem__fit_room(r, e->e_key,
					  e->e_key + (e->e_val - 1)));
	}
	n->n_shape[k] = room;
	n->n_shape_gen[k] = vmp->vm_shape[k].h_gen;
	return (room);
}

/* ---- search ---- */

bool
vmem__fit_ent(
    const struct vmem_req *r, uintptr_t start, size_t size, uintptr_t *addrp)
{
	return ((r->r_flags & VM_ENDALLOC) != 0
		? vmem__fit_high(r, start, start + (size - 1), addrp)
		: vmem__fit_low(r, start, start + (size - 1), addrp));
}

/* May anything below this entry of an inner node do? */
static bool
worth_a_look(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, const struct vmem_ent *e)
{
	return (e->e_val >= search->f_size &&
	    (search->f_shape < 0 ||
		shape_room(vmp, r, (unsigned)search->f_shape, e->e_ptr) >=
		    r->r_size));
}

/* The entry of n at or after i (before i) worth a look; n_count when none. */
static unsigned
look_up(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, const struct vmem_node *n, unsigned i)
{
	while (i < n->n_count && !worth_a_look(vmp, r, search, &n->n_ent[i]))
		i++;
	return (i);
}

static unsigned
look_down(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, const struct vmem_node *n, unsigned i)
{
	while (i-- > 0)
		if (worth_a_look(vmp, r, search, &n->n_ent[i]))
			return (i);
	return (n->n_count);
}

typedef unsigned(look_fn)(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, const struct vmem_node *n, unsigned i);

/*
 * The nearest leaf in one direction that is worth a look.  Exact summaries lead
 * down without a dead end.
 */
static struct vmem_node *
next_leaf(const struct vmem *vmp, const struct vmem_req *r,
    const struct vmem_search *search, const struct vmem_node *leaf,
    look_fn *look)
{
	bool up = look == look_up;
	const struct vmem_node *n = leaf;
	unsigned i;

	do {
		const struct vmem_node *parent = n->n_parent;

		if (parent == NULL)
			return (NULL);
		i = vmem__child_index(parent, n) + (up ? 1 : 0);
		n = parent;
		i = look(vmp, r, search, n, i);
	} while (i == n->n_count);
	for (;;) {
		struct vmem_node *child = n->n_ent[i].e_ptr;

		if (child->n_level == 0)
			return (child);
		n = child;
		i = look(vmp, r, search, n, up ? 0 : n->n_count);
	}
}

/* Does this entry have a place?  True when the search ends here. */
static bool
try_entry(const struct vmem_req *r, const struct vmem_ent *e,
    struct vmem_search *search)
{
	if (e->e_val < search->f_size)
		return (false);
	if (vmem__fit_ent(r, e->e_key, e->e_val, &search->f_addr)) {
		search->f_tag = e->e_ptr;
		return (true);
	}
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
		at.p_leaf = next_leaf(vmp, r, search, at.p_leaf, look_up);
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
		at.p_leaf = next_leaf(vmp, r, search, at.p_leaf, look_down);
		if (at.p_leaf != NULL)
			at.p_i = at.p_leaf->n_count - 1u;
	}
}

void
vmem__index_search(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *search)
{
	search->f_tag = NULL;
	search->f_tired = false;
	if ((r->r_flags & VM_ENDALLOC) != 0)
		find_high(vmp, r, search);
	else
		find_low(vmp, r, search);
}
