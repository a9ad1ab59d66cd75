/*
 * vmem_walk.c - visiting every segment, in order of address.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_dense.h"
#include "vmem/vmem_ids.h"

struct walk {
	struct vmem *w_vmp;
	int w_mask;
	void (*w_func)(void *arg, void *start, size_t size);
	void *w_arg;
	uintptr_t w_from; /* in this span; what begins before it was shown */
	struct vmem_walker w_walker;
};

/* The next segment is then the one after what absorbed this one. */
void
vmem__walk_leave(struct vmem *vmp, const void *at, const void *into)
{
	for (struct vmem_walker *wk = vmp->vm_walkers; wk != NULL;
	     wk = wk->wk_next)
		if (wk->wk_at == at)
			wk->wk_at = into;
}

void
vmem__walk_fork(struct vmem *vmp)
{
	struct vmem_walker **link = &vmp->vm_walkers;

	while (*link != NULL) {
		if ((*link)->wk_thread != &errno)
			*link = (*link)->wk_next;
		else
			link = &(*link)->wk_next;
	}
}

static void
walkers_remove(struct vmem *vmp, struct vmem_walker *wk)
{
	struct vmem_walker **link = &vmp->vm_walkers;

	while (*link != wk)
		link = &(*link)->wk_next;
	*link = wk->wk_next;
}

static void
walk_call(struct walk *w, int type, uintptr_t start, size_t size)
{
	struct vmem *vmp = w->w_vmp;
	bool reentrant = (w->w_mask & (int)VMEM_REENTRANT) != 0;

	if ((w->w_mask & type) == 0)
		return;
	if (reentrant) {
		w->w_walker.wk_next = vmp->vm_walkers;
		vmp->vm_walkers = &w->w_walker;
		qr_mutex_exit(&vmp->vm_lock);
	}
	w->w_func(w->w_arg, (void *)start, size);
	if (reentrant) {
		qr_mutex_enter(&vmp->vm_lock);
		walkers_remove(vmp, &w->w_walker);
	}
}

/*
 * A segment of the span that begins at `base`.  What was freed meanwhile, and taken
 * anew, lies behind the walk where it began before: else who frees what he is shown
 * and takes its place again would be shown it for ever.
 */
static void
walk_segment(
    struct walk *w, uintptr_t base, int type, uintptr_t start, size_t size)
{
	if (start - base < w->w_from)
		return;
	w->w_from = start - base + size;
	walk_call(w, type, start, size);
}

/* The span may vanish meanwhile; its tag is then not looked at again. */
static void
walk_tags(struct walk *w, struct vmem_tag *span)
{
	uintptr_t base = span->g_start;

	w->w_walker.wk_at = span;
	walk_call(w, VMEM_SPAN, span->g_start, span->g_size);
	while (w->w_walker.wk_at != NULL) {
		const struct vmem_tag *at = w->w_walker.wk_at;
		struct vmem_tag *tag = at->g_next;

		if (tag == span)
			break;
		w->w_walker.wk_at = tag;
		walk_segment(w, base,
		    vmem__kind(tag) == VMEM_K_FREE ? VMEM_FREE : VMEM_ALLOC,
		    tag->g_start, tag->g_size);
	}
}

static void
walk_dense(struct walk *w, const struct vmem_tag *span)
{
	const struct vmem *vmp = w->w_vmp;
	uint32_t end = VMEM_DESC_FIRST + (uint32_t)vmp->vm_dense_quanta;
	uintptr_t base = span->g_start;
	uint32_t i;

	w->w_walker.wk_at = &vmp->vm_desc[VMEM_DESC_LEFT];
	walk_call(w, VMEM_SPAN, span->g_start, span->g_size);
	for (;;) {
		const struct vmem_desc *at = w->w_walker.wk_at;

		i = (uint32_t)(at - vmp->vm_desc);
		i += vmem__desc_quanta(vmp, i);
		if (i == end)
			break;
		w->w_walker.wk_at = &vmp->vm_desc[i];
		if (vmem__desc_is_free(vmp, i))
			walk_segment(w, base, VMEM_FREE,
			    vmem__desc_addr(vmp, i),
			    vmem__desc_run(vmp, i).u_size);
		else
			walk_segment(w, base, VMEM_ALLOC,
			    vmem__desc_addr(vmp, i), vmem__desc_size(vmp, i));
	}
}

/*
 * In a space each identifier in use is a segment, those at rest are free.  An
 * answer of the set is good for 64 identifiers in use, so that what is called
 * is not many changes behind.
 */
static void
walk_ids(struct walk *w, const struct vmem_tag *span)
{
	const struct vmem_idset *set = &w->w_vmp->vm_ids->i_set;
	uint32_t last = (uint32_t)(span->g_start + (span->g_size - 1));
	uint64_t id = span->g_start;
	uint32_t end, near;

	walk_call(w, VMEM_SPAN, span->g_start, span->g_size);
	for (; id <= last; id = (uint64_t)end + 1) {
		near = (uint32_t)qr_min(last, id | 63);
		if (vmem__idset_run(set, (uint32_t)id, near, &end) ==
		    VMEM_ID_IS_USED) {
			for (uint64_t i = id; i <= end; i++)
				walk_call(w, VMEM_ALLOC, i, 1);
			continue;
		}
		(void)vmem__idset_run(set, (uint32_t)id, last, &end);
		while (end < last &&
		    vmem__idset_run(set, end + 1, last, &near) !=
			VMEM_ID_IS_USED)
			end = near;
		walk_call(w, VMEM_FREE, id, end - id + 1);
	}
}

static void
walk_span(struct walk *w, struct vmem_tag *span)
{
	w->w_from = 0;
	if (vmem__kind(span) == VMEM_K_DENSE)
		walk_dense(w, span);
	else if (vmem__kind(span) == VMEM_K_IDS)
		walk_ids(w, span);
	else
		walk_tags(w, span);
}

/* The rotor is a position and not among the segments: it comes first. */
void
vmem_walk(vmem_t *vmp, int typemask,
    void (*func)(void *arg, void *start, size_t size), void *arg)
{
	struct walk w = {vmp, typemask, func, arg, 0, {NULL, NULL, &errno}};
	struct vmem_pos pos;

	if ((typemask & VMEM_WALKER) != 0)
		return;
	qr_mutex_enter(&vmp->vm_lock);
	walk_call(&w, VMEM_ROTOR, 0, 0);
	pos = (struct vmem_pos){vmp->vm_spans.t_first, 0};
	while (pos.p_leaf != NULL) {
		uintptr_t start = vmem__pos_tag(pos)->g_start;

		walk_span(&w, vmem__pos_tag(pos));
		pos = vmem__tree_above(&vmp->vm_spans, start, UINTPTR_MAX);
	}
	qr_mutex_exit(&vmp->vm_lock);
}
