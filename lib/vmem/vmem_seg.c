/*
 * vmem_seg.c - segments: which one a policy chooses, carving it, and freeing
 * with coalescing.
 */
#include "vmem/vmem_impl.h"

enum {
	/*
	 * Free runs that are long enough but turn out not to hold a request
	 * (misaligned, straddling) before the search goes for runs that surely
	 * do, and runs of the smallest sizes that best fit tries.
	 */
	PATIENCE = 64,
};

enum found { FOUND, NOWHERE, TIRED };

/* ---- search ---- */

static bool
fit_at(const struct vmem *vmp, const struct vmem_req *r, struct vmem_pos pos,
    uintptr_t *addrp)
{
	uintptr_t first = pos.p_leaf->l_key[pos.p_i];
	uintptr_t last = vmem__seg_last(vmp, pos.p_leaf, pos.p_i);

	return ((r->r_flags & VM_ENDALLOC) != 0
		? vmem__fit_high(r, first, last, addrp)
		: vmem__fit_low(r, first, last, addrp));
}

/*
 * The lowest place among free segments of at least `size`, after looking at
 * no more than `patience` that had none.
 */
static enum found
find_low(const struct vmem *vmp, const struct vmem_req *r, size_t size,
    size_t patience, struct vmem_pos *pos, uintptr_t *addrp)
{
	struct vmem_pos at = vmem__tree_floor(&vmp->vm_segs, r->r_min, 0);

	if (at.p_leaf == NULL)
		at.p_leaf = vmp->vm_segs.t_first;
	for (; at.p_leaf != NULL;
	     at.p_leaf = vmem__tree_leaf_after(at.p_leaf, size), at.p_i = 0) {
		uint32_t set = at.p_leaf->n_free >> at.p_i << at.p_i;

		for (; set != 0; set &= set - 1) {
			at.p_i = qr_ctz(set);
			if (at.p_leaf->l_key[at.p_i] > r->r_max)
				return (NOWHERE);
			if (at.p_leaf->l_val[at.p_i] < size)
				continue;
			if (fit_at(vmp, r, at, addrp)) {
				*pos = at;
				return (FOUND);
			}
			if (patience-- == 0)
				return (TIRED);
		}
	}
	return (NOWHERE);
}

/* The same from the other end. */
static enum found
find_high(const struct vmem *vmp, const struct vmem_req *r, size_t size,
    size_t patience, struct vmem_pos *pos, uintptr_t *addrp)
{
	struct vmem_pos at = vmem__tree_floor(&vmp->vm_segs, r->r_max, 0);
	uint32_t below = UINT32_MAX;

	if (at.p_leaf != NULL)
		below = ((uint32_t)2 << at.p_i) - 1;
	for (; at.p_leaf != NULL;
	     below = UINT32_MAX,
	     at.p_leaf = vmem__tree_leaf_before(at.p_leaf, size)) {
		uint32_t set = at.p_leaf->n_free & below;

		while (set != 0) {
			at.p_i = qr_log2(set);
			set ^= (uint32_t)1 << at.p_i;
			if (vmem__seg_last(vmp, at.p_leaf, at.p_i) < r->r_min)
				return (NOWHERE);
			if (at.p_leaf->l_val[at.p_i] < size)
				continue;
			if (fit_at(vmp, r, at, addrp)) {
				*pos = at;
				return (FOUND);
			}
			if (patience-- == 0)
				return (TIRED);
		}
	}
	return (NOWHERE);
}

static enum found
find_end(const struct vmem *vmp, const struct vmem_req *r, size_t size,
    size_t patience, struct vmem_pos *pos, uintptr_t *addrp)
{
	return ((r->r_flags & VM_ENDALLOC) != 0
		? find_high(vmp, r, size, patience, pos, addrp)
		: find_low(vmp, r, size, patience, pos, addrp));
}

/*
 * Some place, from the end that VM_ENDALLOC tells.  The first and last step
 * are exact; the one between keeps an arena full of runs that are just too
 * badly aligned from being scanned as long as any run is surely good.
 */
static bool
choose_ordered(const struct vmem *vmp, const struct vmem_req *r, bool exact,
    struct vmem_pos *pos, uintptr_t *addrp)
{
	size_t surely = vmem__fit_surely(r, vmp->vm_quantum);
	enum found found = TIRED;

	if (!exact && surely != r->r_extent) {
		found = find_end(vmp, r, r->r_extent, PATIENCE, pos, addrp);
		if (found == TIRED && surely != SIZE_MAX &&
		    find_end(vmp, r, surely, SIZE_MAX, pos, addrp) == FOUND)
			found = FOUND;
	}
	if (found == TIRED)
		found = find_end(vmp, r, r->r_extent, SIZE_MAX, pos, addrp);
	return (found == FOUND);
}

/*
 * The smallest free segment that has a place, the lowest of those; or, when
 * the smallest few are long enough but have none, some place.
 */
static bool
choose_best(struct vmem *vmp, const struct vmem_req *r, struct vmem_pos *pos,
    uintptr_t *addrp)
{
	struct vmem_pos at;

	if (!vmp->vm_sizes_on)
		vmem__sizes_build(vmp);
	if (!vmp->vm_sizes_on)
		return (choose_ordered(vmp, r, false, pos, addrp));
	at = vmem__tree_floor(&vmp->vm_sizes, r->r_extent - 1, UINTPTR_MAX);
	if (at.p_leaf != NULL)
		at = vmem__pos_next(at);
	else
		at = (struct vmem_pos){vmp->vm_sizes.t_first, 0};
	for (unsigned n = 0; at.p_leaf != NULL; at = vmem__pos_next(at), n++) {
		if (n == PATIENCE)
			return (choose_ordered(vmp, r, false, pos, addrp));
		*pos = vmem__tree_floor(
		    &vmp->vm_segs, at.p_leaf->l_val[at.p_i], 0);
		if (fit_at(vmp, r, *pos, addrp))
			return (true);
	}
	return (false);
}

/* From the rotor to the top, then from the bottom. */
static bool
choose_next(const struct vmem *vmp, const struct vmem_req *r,
    struct vmem_pos *pos, uintptr_t *addrp)
{
	struct vmem_req on = *r;

	on.r_min = vmp->vm_rotor;
	on.r_flags &= ~VM_ENDALLOC;
	if (choose_ordered(vmp, &on, true, pos, addrp))
		return (true);
	on.r_min = 0;
	return (choose_ordered(vmp, &on, true, pos, addrp));
}

/*
 * The first segment of at least a power of two of which r surely fits one, in
 * the first leaf of the lowest list that surely has one.
 */
static bool
choose_instant(const struct vmem *vmp, const struct vmem_req *r,
    struct vmem_pos *pos, uintptr_t *addrp)
{
	size_t surely = vmem__fit_surely(r, vmp->vm_quantum);
	size_t want;
	uint64_t bins;

	if (surely > (size_t)1 << (VMEM_BINS - 1))
		return (false);
	want = qr_pow2up(surely);
	bins = vmp->vm_bins.vb_map & -(uint64_t)want;
	if (bins == 0)
		return (false);
	pos->p_leaf = QR_LIST_FIRST(
	    &vmp->vm_bins.vb_list[qr_ctz(bins)], struct vmem_node, n_link);
	for (uint32_t set = pos->p_leaf->n_free; set != 0; set &= set - 1) {
		pos->p_i = qr_ctz(set);
		if (pos->p_leaf->l_val[pos->p_i] >= want)
			return (fit_at(vmp, r, *pos, addrp));
	}
	return (false);
}

bool
vmem__seg_choose(struct vmem *vmp, const struct vmem_req *r,
    struct vmem_pos *pos, uintptr_t *addrp)
{
	qr_mutex_assert_held(&vmp->vm_lock);

	/* A rounded size of 0 is one that wrapped: no segment is that long. */
	if (r->r_extent == 0)
		return (false);
	if ((r->r_flags & VM_NEXTFIT) != 0)
		return (choose_next(vmp, r, pos, addrp));
	if ((r->r_flags & VM_BESTFIT) != 0)
		return (choose_best(vmp, r, pos, addrp));
	if ((r->r_flags & VM_FIRSTFIT) != 0)
		return (choose_ordered(vmp, r, true, pos, addrp));
	if ((r->r_flags & VM_ENDALLOC) == 0 && r->r_min == 0 &&
	    r->r_max == UINTPTR_MAX && choose_instant(vmp, r, pos, addrp))
		return (true);
	return (choose_ordered(vmp, r, false, pos, addrp));
}

/* ---- carving ---- */

/*
 * The entry of the free segment becomes its left remainder, or the allocated
 * segment when there is none; the rest is inserted behind it.
 */
void
vmem__seg_carve(struct vmem *vmp, struct vmem_pos pos, uintptr_t addr,
    const struct vmem_req *r, struct vmem_spare *sp)
{
	struct vmem_tree *t = &vmp->vm_segs;
	struct vmem_node *leaf = pos.p_leaf;
	uintptr_t start = leaf->l_key[pos.p_i];
	size_t whole = leaf->l_val[pos.p_i];
	size_t left = addr - start;
	size_t right = whole - left - r->r_extent;

	QR_ASSERT(left <= whole && r->r_extent <= whole - left);
	vmem__sizes_remove(vmp, start, whole);
	if (left == 0) {
		leaf->l_val[pos.p_i] = r->r_size;
		leaf->n_free ^= (uint32_t)1 << pos.p_i;
	} else {
		leaf->l_val[pos.p_i] = left;
		pos.p_i++;
		vmem__tree_insert(t, &pos, addr, r->r_size, 0, sp);
		vmem__sizes_add(vmp, start, left);
	}
	if (right != 0) {
		pos.p_i++;
		vmem__tree_insert(
		    t, &pos, addr + r->r_extent, right, VMEM_E_FREE, sp);
		vmem__sizes_add(vmp, addr + r->r_extent, right);
	}
	vmem__tree_refresh(t, leaf);
	if (pos.p_leaf != leaf)
		vmem__tree_refresh(t, pos.p_leaf);

	if ((r->r_flags & VM_NEXTFIT) != 0)
		vmp->vm_rotor = addr + r->r_extent;
	vmp->vm_inuse += r->r_size;
	vmp->vm_nalloc++;
}

int
vmem__seg_take(struct vmem *vmp, const struct vmem_req *r, uintptr_t *addrp)
{
	struct vmem_spare spare = {NULL, 0};
	struct vmem_pos pos;
	uintptr_t addr;
	int error = 0;

	vmem__sizes_stock(vmp);
	if (!vmem__seg_choose(vmp, r, &pos, &addr))
		return (ENOSPC);
	if (vmem__spare_fill(
		&spare, vmem__tree_need(&vmp->vm_segs, pos.p_leaf, 2))) {
		vmem__seg_carve(vmp, pos, addr, r, &spare);
		*addrp = addr;
	} else {
		error = ENOMEM;
	}
	vmem__spare_drain(&spare);
	return (error);
}

/* ---- freeing ---- */

/* Remove the now empty span around `pos` if it must go back to the source. */
static bool
span_retire(
    struct vmem *vmp, struct vmem_pos pos, uintptr_t *startp, size_t *sizep)
{
	struct vmem_pos next = vmem__pos_next(pos);
	struct vmem_pos span;

	/* Leaves that coalescing emptied are not unlinked yet. */
	while (next.p_leaf != NULL && next.p_leaf->n_count == 0)
		next.p_leaf = next.p_leaf->n_next;
	if (vmp->vm_ffunc == NULL || !vmem__marked(pos) ||
	    (next.p_leaf != NULL && !vmem__marked(next)))
		return (false);
	*startp = pos.p_leaf->l_key[pos.p_i];
	*sizep = pos.p_leaf->l_val[pos.p_i];
	span = vmem__tree_floor(&vmp->vm_spans, *startp, 0);
	if (!vmem__marked(span))
		return (false);
	vmem__tree_remove(&vmp->vm_spans, span.p_leaf, span.p_i);
	vmem__tree_settle(&vmp->vm_spans, span.p_leaf);
	vmem__tree_remove(&vmp->vm_segs, pos.p_leaf, pos.p_i);
	vmp->vm_total -= *sizep;
	vmp->vm_import -= *sizep;
	return (true);
}

/*
 * Leaves are settled from right to left, because settling one may destroy it
 * and leaves to its right, but none to its left.
 */
bool
vmem__seg_release(
    struct vmem *vmp, struct vmem_pos pos, uintptr_t *startp, size_t *sizep)
{
	struct vmem_tree *t = &vmp->vm_segs;
	struct vmem_node *leaf = pos.p_leaf;
	struct vmem_pos next = vmem__pos_next(pos);
	struct vmem_pos prev = vmem__pos_prev(pos);
	struct vmem_pos whole = pos;
	size_t size = leaf->l_val[pos.p_i];
	bool retired;

	vmp->vm_inuse -= size;
	vmp->vm_nfree++;
	leaf->l_val[pos.p_i] = qr_roundup(size, vmp->vm_quantum);
	leaf->n_free |= (uint32_t)1 << pos.p_i;

	if (next.p_leaf != NULL && vmem__seg_free(next) &&
	    !vmem__marked(next)) {
		size = next.p_leaf->l_val[next.p_i];
		vmem__sizes_remove(vmp, next.p_leaf->l_key[next.p_i], size);
		leaf->l_val[pos.p_i] += size;
		vmem__tree_remove(t, next.p_leaf, next.p_i);
	}
	if (prev.p_leaf != NULL && vmem__seg_free(prev) && !vmem__marked(pos)) {
		size = prev.p_leaf->l_val[prev.p_i];
		vmem__sizes_remove(vmp, prev.p_leaf->l_key[prev.p_i], size);
		prev.p_leaf->l_val[prev.p_i] = size + leaf->l_val[pos.p_i];
		vmem__tree_remove(t, leaf, pos.p_i);
		whole = prev;
	}

	retired = span_retire(vmp, whole, startp, sizep);
	if (!retired)
		vmem__sizes_add(vmp, whole.p_leaf->l_key[whole.p_i],
		    whole.p_leaf->l_val[whole.p_i]);

	if (next.p_leaf != NULL && next.p_leaf != leaf)
		vmem__tree_settle(t, next.p_leaf);
	vmem__tree_settle(t, leaf);
	if (prev.p_leaf != NULL && prev.p_leaf != leaf)
		vmem__tree_settle(t, prev.p_leaf);
	return (retired);
}
