/*
 * vmem_seg.c - segments: which one a policy chooses, carving it, and freeing
 * with coalescing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_tag.h"

enum {
	/* Members instant fit tries of the list that only might fit. */
	GLANCES = 16,
	/*
	 * Free segments that are long enough but turn out to have no place
	 * (misaligned, straddling) before the search goes for segments that
	 * surely do; and segments of the smallest sizes that best fit tries.
	 */
	PATIENCE = 64,
};

/* ---- choosing ---- */

static void
search(struct vmem *vmp, const struct vmem_req *r, size_t size, size_t patience,
    struct vmem_search *found)
{
	found->f_size = size;
	found->f_patience = patience;
	found->f_shape = -1;
	vmem__index_search(vmp, r, found);
}

/*
 * The lowest, or with VM_ENDALLOC highest, place; with `any`, one that surely
 * exists counts as well.
 */
static int
choose_ordered(struct vmem *vmp, const struct vmem_req *r, bool any,
    struct vmem_search *found)
{
	size_t surely = vmem__fit_surely(r, vmp->vm_quantum);

	if (!vmem__index_want(vmp, VMEM_BY_ADDR))
		return (ENOMEM);
	search(vmp, r, r->r_extent, surely == r->r_extent ? SIZE_MAX : PATIENCE,
	    found);
	if (!found->f_tired)
		return (found->f_found ? 0 : ENOSPC);
	if (any && surely != SIZE_MAX) {
		search(vmp, r, surely, SIZE_MAX, found);
		if (found->f_found)
			return (0);
	}
	found->f_size = r->r_extent;
	found->f_patience = SIZE_MAX;
	found->f_shape = vmem__index_shape(vmp, r);
	vmem__index_search(vmp, r, found);
	return (found->f_found ? 0 : ENOSPC);
}

/* Has this free segment a place?  Whether or not, it is what was found last. */
static bool
try_run(
    const struct vmem_req *r, struct vmem_run run, struct vmem_search *found)
{
	found->f_run = run;
	return (vmem__fit_run(r, &run, &found->f_addr));
}

/* The same, of the large ones. */
static int
choose_best_large(struct vmem *vmp, const struct vmem_req *r, unsigned looks,
    struct vmem_search *found)
{
	struct vmem_pos at;

	if (!vmem__index_want(vmp, VMEM_BY_SIZE))
		return (ENOMEM);
	at = vmem__tree_above(&vmp->vm_sizes, r->r_extent - 1, UINTPTR_MAX);
	for (; at.p_leaf != NULL; at = vmem__pos_next(at)) {
		const struct vmem_ent *e = &at.p_leaf->n_ent[at.p_i];

		if (looks++ == PATIENCE)
			return (choose_ordered(vmp, r, true, found));
		if (try_run(r, (struct vmem_run){e->e_val, e->e_key, e->e_ptr},
			found))
			return (0);
	}
	return (ENOSPC);
}

/*
 * The smallest free segment that has a place; or, when the smallest few are
 * long enough but have none, some place.
 */
static int
choose_best(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *found)
{
	uint64_t bins = vmem__bins_surely(vmp, r->r_extent) & VMEM_BINS_EXACT;
	unsigned looks = 0;

	for (; bins != 0; bins &= bins - 1) {
		struct vmem_tag *tag = vmp->vm_bin[qr_ctz(bins)];

		for (; tag != NULL; tag = tag->g_link) {
			if (looks++ == PATIENCE)
				return (choose_ordered(vmp, r, true, found));
			if (try_run(r, vmem__tag_run(tag), found))
				return (0);
		}
	}
	return (choose_best_large(vmp, r, looks, found));
}

/* From the rotor to the top, then from the bottom. */
static int
choose_next(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *found)
{
	struct vmem_req on = *r;
	int error;

	on.r_min = vmp->vm_rotor;
	on.r_flags &= ~VM_ENDALLOC;
	error = choose_ordered(vmp, &on, false, found);
	if (error == ENOSPC) {
		on.r_min = 0;
		error = choose_ordered(vmp, &on, false, found);
	}
	return (error);
}

/*
 * The head of the lowest list whose members surely have a place; or one of the
 * first members of the list that only might.
 */
static bool
choose_instant(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *found)
{
	size_t surely = vmem__fit_surely(r, vmp->vm_quantum);
	uint64_t bins = surely == SIZE_MAX ? 0 : vmem__bins_surely(vmp, surely);
	struct vmem_tag *tag;

	if (QR_LIKELY(bins != 0))
		return (try_run(
		    r, vmem__tag_run(vmp->vm_bin[qr_ctz(bins)]), found));
	tag = vmp->vm_bin[vmem__bin_of(vmp, r->r_extent)];
	for (unsigned n = 0; tag != NULL && n < GLANCES; tag = tag->g_link, n++)
		if (try_run(r, vmem__tag_run(tag), found))
			return (true);
	return (false);
}

static inline bool
has_window(const struct vmem_req *r)
{
	return (r->r_min != 0 || r->r_max != UINTPTR_MAX);
}

int
vmem__seg_choose(struct vmem *vmp, const struct vmem_req *r, bool thorough,
    struct vmem_search *found)
{
	int policy =
	    r->r_flags & (VM_NEXTFIT | VM_BESTFIT | VM_FIRSTFIT | VM_ENDALLOC);

	/* An extent of 0 is one that wrapped: no segment is that long. */
	if (r->r_extent == 0)
		return (ENOSPC);
	if (QR_LIKELY(policy == 0 && !has_window(r))) {
		if (QR_LIKELY(choose_instant(vmp, r, found)))
			return (0);
		return (
		    thorough ? choose_ordered(vmp, r, true, found) : ENOSPC);
	}
	if ((policy & VM_NEXTFIT) != 0)
		return (choose_next(vmp, r, found));
	if ((policy & VM_BESTFIT) != 0)
		return (choose_best(vmp, r, found));
	/* Instant fit, but in a window that most segments lie outside of. */
	if (policy == 0)
		return (choose_ordered(vmp, r, true, found));
	return (choose_ordered(vmp, r, false, found));
}

/* ---- carving ---- */

static void
insert_after(struct vmem_tag *pos, struct vmem_tag *tag)
{
	tag->g_prev = pos;
	tag->g_next = pos->g_next;
	pos->g_next->g_prev = tag;
	pos->g_next = tag;
}

/* A free segment gets other bounds; inside the old or coalescing others. */
static void
free_resize(
    struct vmem *vmp, struct vmem_tag *tag, uintptr_t start, size_t size)
{
	bool moves = vmem__bin_of(vmp, size) != vmem__bin_of(vmp, tag->g_size);
	struct vmem_run run = vmem__tag_run(tag);

	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		vmem__index_change(vmp, &run, start, size);
	if (moves)
		vmem__bin_leave(vmp, tag);
	tag->g_start = start;
	tag->g_size = size;
	if (moves)
		vmem__bin_enter(vmp, tag);
}

static void
free_enter(struct vmem *vmp, struct vmem_tag *tag)
{
	struct vmem_run run = vmem__tag_run(tag);

	vmem__bin_enter(vmp, tag);
	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		vmem__index_enter(vmp, &run);
}

static void
free_leave(struct vmem *vmp, struct vmem_tag *tag)
{
	struct vmem_run run = vmem__tag_run(tag);

	vmem__bin_leave(vmp, tag);
	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		vmem__index_leave(vmp, &run);
}

/* `tag` has the bounds of a segment that is now allocated. */
static void
allocated(struct vmem *vmp, struct vmem_tag *tag, uintptr_t addr, size_t size)
{
	tag->g_start = addr;
	tag->g_size = size;
	vmem__hash_enter(vmp, tag);
	vmem__count(&vmp->vm_inuse, size);
	vmp->vm_nalloc++;
}

/*
 * Carve the low end.  The remainder keeps the tag of the free segment, and its
 * place on its list while it stays in its size class.
 */
static inline void
carve_low(struct vmem *vmp, struct vmem_tag *tag, size_t size, size_t extent,
    struct vmem_tags *reserve)
{
	uintptr_t addr = tag->g_start;
	struct vmem_tag *got = tag;

	if (tag->g_size == extent) {
		free_leave(vmp, tag);
	} else {
		got = vmem__tag_take(reserve);
		insert_after(tag->g_prev, got);
		free_resize(vmp, tag, addr + extent, tag->g_size - extent);
	}
	allocated(vmp, got, addr, size);
}

/* Carve at addr, which is not the low end. */
static void
carve_high(struct vmem *vmp, struct vmem_tag *tag, uintptr_t addr,
    const struct vmem_req *r, struct vmem_tags *reserve)
{
	size_t left = addr - tag->g_start;
	size_t right = tag->g_size - left - r->r_extent;
	struct vmem_tag *got = vmem__tag_take(reserve);

	insert_after(tag, got);
	free_resize(vmp, tag, tag->g_start, left);
	if (right != 0) {
		struct vmem_tag *rest = vmem__tag_take(reserve);

		rest->g_start = addr + r->r_extent;
		rest->g_size = right;
		insert_after(got, rest);
		free_enter(vmp, rest);
	}
	allocated(vmp, got, addr, r->r_size);
}

void
vmem__seg_carve(struct vmem *vmp, struct vmem_tag *tag, uintptr_t addr,
    const struct vmem_req *r, struct vmem_tags *reserve)
{
	QR_ASSERT(tag->g_kind == VMEM_K_FREE);
	QR_ASSERT(addr - tag->g_start <= tag->g_size - r->r_extent &&
	    r->r_extent <= tag->g_size);

	if (addr == tag->g_start)
		carve_low(vmp, tag, r->r_size, r->r_extent, reserve);
	else
		carve_high(vmp, tag, addr, r, reserve);
	if ((r->r_flags & VM_NEXTFIT) != 0)
		vmp->vm_rotor = addr + r->r_extent;
}

bool
vmem__seg_take_simply(struct vmem *vmp, size_t size, uintptr_t *addrp)
{
	size_t extent = qr_roundup(size, vmp->vm_quantum);
	struct vmem_tag *tag;
	uint64_t bins;

	qr_mutex_assert_held(&vmp->vm_lock);

	/* An extent of 0 is one that wrapped. */
	if (QR_UNLIKELY(extent == 0))
		return (false);
	bins = vmem__bins_surely(vmp, extent);
	if (QR_UNLIKELY(bins == 0 || vmp->vm_tags.r_list == NULL ||
		vmp->vm_indexed != 0))
		return (false);
	tag = vmp->vm_bin[qr_ctz(bins)];
	*addrp = tag->g_start;
	carve_low(vmp, tag, size, extent, &vmp->vm_tags);
	return (true);
}

int
vmem__seg_take(
    struct vmem *vmp, const struct vmem_req *r, bool thorough, uintptr_t *addrp)
{
	struct vmem_search found;
	int error;

	qr_mutex_assert_held(&vmp->vm_lock);

	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		vmem__index_stock(vmp);
	error = vmem__seg_choose(vmp, r, thorough, &found);
	if (QR_UNLIKELY(error != 0))
		return (error);
	if (QR_UNLIKELY(vmp->vm_tags.r_count < 2) &&
	    !vmem__tags_fill(&vmp->vm_tags, 2))
		return (ENOMEM);
	vmem__seg_carve(vmp, found.f_run.u_tag, found.f_addr, r, &vmp->vm_tags);
	*addrp = found.f_addr;
	return (0);
}

/* ---- freeing ---- */

/* Take `tag` out of the ring for good. */
static void
absorb(struct vmem *vmp, struct vmem_tag *tag)
{
	if (QR_UNLIKELY(vmp->vm_walkers != NULL))
		vmem__walk_leave(vmp, tag);
	tag->g_prev->g_next = tag->g_next;
	tag->g_next->g_prev = tag->g_prev;
	vmem__tag_give(vmp, tag);
}

/*
 * The segment of `tag`, which is neither free nor in use, becomes free.
 * Returns the tag of the free segment that it is now part of.
 */
static struct vmem_tag *
coalesce(struct vmem *vmp, struct vmem_tag *tag)
{
	struct vmem_tag *prev = tag->g_prev;
	struct vmem_tag *next = tag->g_next;

	if (next->g_kind == VMEM_K_FREE) {
		tag->g_size += next->g_size;
		free_leave(vmp, next);
		absorb(vmp, next);
	}
	if (prev->g_kind == VMEM_K_FREE) {
		free_resize(
		    vmp, prev, prev->g_start, prev->g_size + tag->g_size);
		absorb(vmp, tag);
		return (prev);
	}
	free_enter(vmp, tag);
	return (tag);
}

bool
vmem__seg_free(
    struct vmem *vmp, struct vmem_tag **slot, uintptr_t *startp, size_t *sizep)
{
	struct vmem_tag *tag = *slot;
	struct vmem_tag *span;

	*slot = tag->g_link;
	vmp->vm_hash_used--;
	vmem__count(&vmp->vm_inuse, -tag->g_size);
	vmp->vm_nfree++;
	tag->g_size = qr_roundup(tag->g_size, vmp->vm_quantum);
	tag = coalesce(vmp, tag);

	span = tag->g_prev;
	if (QR_LIKELY(span != tag->g_next || span->g_kind != VMEM_K_IMPORT ||
		vmp->vm_ffunc == NULL))
		return (false);
	*startp = span->g_start;
	*sizep = span->g_size;
	free_leave(vmp, tag);
	absorb(vmp, tag);
	vmem__span_remove(vmp, span);
	return (true);
}
