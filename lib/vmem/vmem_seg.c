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
	 * surely do, and best fit for an index of all of them.
	 */
	PATIENCE = 64,
};

/* ---- lists of both forms ---- */

static bool
run_of_tag(struct vmem_tag *tag, struct vmem_run *run)
{
	if (tag == NULL)
		return (false);
	*run = vmem__tag_run(tag);
	return (true);
}

static bool
run_of_desc(
    const struct vmem *vmp, unsigned bin, uint32_t i, struct vmem_run *run)
{
	if (i == 0)
		return (run_of_tag(vmp->vm_bin[bin], run));
	*run = vmem__desc_run(vmp, i);
	return (true);
}

/* The free segments of a list, those of the dense span first. */
static bool
list_first(const struct vmem *vmp, unsigned bin, struct vmem_run *run)
{
	return (run_of_desc(vmp, bin, vmem__desc_first(vmp, bin), run));
}

static bool
list_next(const struct vmem *vmp, unsigned bin, struct vmem_run *run)
{
	if (run->u_tag != NULL)
		return (run_of_tag(run->u_tag->g_link, run));
	return (run_of_desc(vmp, bin,
	    vmem__desc_next(vmp, vmem__desc_index(vmp, run->u_start)), run));
}

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

	if (vmem__bin_next(vmp, vmem__bin_of(vmp, r->r_extent)) == VMEM_BINS)
		return (ENOSPC);
	if (vmem__dense_alone(vmp) && (vmp->vm_indexed & VMEM_BY_ADDR) == 0) {
		vmem__dense_search(vmp, r, found);
		if (!found->f_tired)
			return (found->f_found ? 0 : ENOSPC);
	}
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
	found->f_shape = vmem__index_shape(vmp, &vmp->vm_addrs, r);
	vmem__index_search(vmp, r, found);
	return (found->f_found ? 0 : ENOSPC);
}

/* Has this free segment a place?  Whether or not, it is what was found last. */
static bool
try_run(const struct vmem_req *r, const struct vmem_run *run,
    struct vmem_search *found)
{
	bool fits = vmem__fit_run(r, run, &found->f_addr);

	found->f_run = *run;
	found->f_vain += !fits;
	return (fits);
}

/*
 * The smallest of those with a list for their size.  Tired: there may be others;
 * when the index has them, that is after one look.
 */
static bool
best_of_lists(
    const struct vmem *vmp, const struct vmem_req *r, struct vmem_search *found)
{
	unsigned bin = vmem__bin_find(vmp, r->r_extent >> vmp->vm_qshift);
	unsigned looks = (vmp->vm_indexed & VMEM_BY_SMALL) != 0 ? 1 : PATIENCE;

	found->f_tired = false;
	for (; bin < VMEM_EXACT; bin = vmem__bin_next(vmp, bin + 1)) {
		struct vmem_run run;
		bool more = list_first(vmp, bin, &run);

		for (; more; more = list_next(vmp, bin, &run)) {
			found->f_tired = looks-- == 0;
			if (found->f_tired)
				return (false);
			if (try_run(r, &run, found))
				return (true);
		}
	}
	return (false);
}

/* No two segments can have a place in so small a window. */
static bool
narrow(const struct vmem_req *r)
{
	return (r->r_max - r->r_min < r->r_extent + (r->r_size - 1));
}

/*
 * The smallest free segment that has a place.  Only a window can leave that
 * open, and then it is some place.
 */
static int
choose_best(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *found)
{
	unsigned which = VMEM_BY_SIZE;

	if (narrow(r))
		return (choose_ordered(vmp, r, false, found));
	if (best_of_lists(vmp, r, found))
		return (0);
	if (found->f_tired) {
		which |= VMEM_BY_SMALL;
		vmp->vm_best_last = vmp->vm_nalloc;
	}
	if (!vmem__index_want(vmp, which))
		return (ENOMEM);
	vmem__index_best(vmp, r, found);
	if (found->f_tired)
		return (choose_ordered(vmp, r, true, found));
	return (found->f_found ? 0 : ENOSPC);
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
 * first members of the lists that only might.
 */
static bool
choose_instant(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *found)
{
	size_t surely = vmem__fit_surely(r, vmp->vm_quantum);
	unsigned looks = GLANCES;
	unsigned bin = vmem__bin_find(vmp, surely >> vmp->vm_qshift);

	if (bin == VMEM_BINS || surely == SIZE_MAX)
		bin = vmem__bin_next(vmp, vmem__bin_of(vmp, r->r_extent));
	for (; bin < VMEM_BINS; bin = vmem__bin_next(vmp, bin + 1)) {
		struct vmem_run run;
		bool more = list_first(vmp, bin, &run);

		for (; more; more = list_next(vmp, bin, &run)) {
			if (looks-- == 0)
				return (false);
			if (try_run(r, &run, found))
				return (true);
		}
	}
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

/* ---- taking ---- */

void
vmem__seg_carve(struct vmem *vmp, const struct vmem_run *run, uintptr_t addr,
    const struct vmem_req *r, struct vmem_tags *reserve)
{
	QR_ASSERT(addr - run->u_start <= run->u_size - r->r_extent &&
	    r->r_extent <= run->u_size);

	if (run->u_tag != NULL)
		vmem__tag_carve(
		    vmp, run->u_tag, addr, r->r_size, r->r_extent, reserve);
	else
		vmem__desc_carve(vmp, vmem__desc_index(vmp, run->u_start),
		    vmem__desc_index(vmp, addr),
		    (uint32_t)(r->r_extent >> vmp->vm_qshift), r->r_size);
	vmem__count_alloc(vmp, r->r_size);
	if ((r->r_flags & VM_NEXTFIT) != 0)
		vmp->vm_rotor = addr + r->r_extent;
}

int
vmem__seg_take(
    struct vmem *vmp, const struct vmem_req *r, bool thorough, uintptr_t *addrp)
{
	struct vmem_search found;
	int error;

	qr_mutex_assert_held(&vmp->vm_lock);
	found.f_vain = 0;

	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		vmem__index_stock(vmp);
	error = vmem__seg_choose(vmp, r, thorough, &found);
	vmp->vm_nsearch += found.f_vain;
	if (QR_UNLIKELY(error != 0))
		return (error);
	if (found.f_run.u_tag != NULL &&
	    QR_UNLIKELY(vmp->vm_tags.r_count < 2) &&
	    !vmem__tags_fill(&vmp->vm_tags, 2))
		return (ENOMEM);
	vmem__seg_carve(vmp, &found.f_run, found.f_addr, r, &vmp->vm_tags);
	*addrp = found.f_addr;
	return (0);
}

/* ---- freeing ---- */

/* 0: no segment begins there, or a free one. */
static size_t
dense_expect(const struct vmem *vmp, uintptr_t addr)
{
	uint32_t i = vmem__desc_index(vmp, addr);

	if (qr_phase(addr - vmp->vm_dense, vmp->vm_quantum) != 0 ||
	    vmp->vm_desc[i].d_head == 0 || vmem__desc_is_free(vmp, i))
		return (0);
	return (vmem__desc_size(vmp, i));
}

/* The last segment of an imported span became free: must the span go? */
static void
release_if_whole(
    struct vmem *vmp, struct vmem_tag *tag, struct vmem_freed *freed)
{
	struct vmem_tag *span = tag->g_prev;

	if (QR_LIKELY(span != tag->g_next ||
		vmem__kind(span) != VMEM_K_IMPORT || vmp->vm_ffunc == NULL))
		return;
	freed->fr_start = span->g_start;
	freed->fr_size = span->g_size;
	vmem__tag_remove(vmp, tag);
	vmem__span_remove(vmp, span);
}

bool
vmem__seg_free(
    struct vmem *vmp, uintptr_t addr, size_t size, struct vmem_freed *freed)
{
	struct vmem_tag **slot;

	qr_mutex_assert_held(&vmp->vm_lock);

	freed->fr_size = 0;
	if (vmem__in_dense(vmp, addr)) {
		freed->fr_expect = dense_expect(vmp, addr);
		return (false);
	}
	slot = vmem__hash_find(vmp, addr);
	freed->fr_expect = *slot == NULL ? 0 : (*slot)->g_size;
	if (QR_UNLIKELY(*slot == NULL || freed->fr_expect != size))
		return (false);
	release_if_whole(vmp, vmem__tag_free(vmp, slot), freed);
	vmem__count_free(vmp, size);
	return (true);
}
