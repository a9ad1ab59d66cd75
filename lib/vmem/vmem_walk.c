/*
 * vmem_walk.c - visiting every segment, in order of address.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_impl.h"

struct walk {
	struct vmem *w_vmp;
	int w_mask;
	void (*w_func)(void *arg, void *start, size_t size);
	void *w_arg;
	struct vmem_walker w_walker;
};

/* The next segment is then the one after what absorbed this one. */
void
vmem__walk_leave(struct vmem *vmp, struct vmem_tag *tag)
{
	bool span = tag->g_kind == VMEM_K_SPAN || tag->g_kind == VMEM_K_IMPORT;

	for (struct vmem_walker *wk = vmp->vm_walkers; wk != NULL;
	     wk = wk->wk_next)
		if (wk->wk_at == tag)
			wk->wk_at = span ? NULL : tag->g_prev;
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

/* The span may vanish meanwhile; its tag is then not looked at again. */
static void
walk_span(struct walk *w, struct vmem_tag *span)
{
	w->w_walker.wk_at = span;
	walk_call(w, VMEM_SPAN, span->g_start, span->g_size);
	while (w->w_walker.wk_at != NULL && w->w_walker.wk_at->g_next != span) {
		struct vmem_tag *tag = w->w_walker.wk_at->g_next;

		w->w_walker.wk_at = tag;
		walk_call(w,
		    tag->g_kind == VMEM_K_FREE ? VMEM_FREE : VMEM_ALLOC,
		    tag->g_start, tag->g_size);
	}
}

/* The rotor is a position and not among the segments: it comes first. */
void
vmem_walk(vmem_t *vmp, int typemask,
    void (*func)(void *arg, void *start, size_t size), void *arg)
{
	struct walk w = {vmp, typemask, func, arg, {NULL, NULL, &errno}};
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
