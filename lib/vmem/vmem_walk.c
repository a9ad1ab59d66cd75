/*
 * vmem_walk.c - visiting every segment.
 */
#include "vmem/vmem_impl.h"

struct walk {
	struct vmem *w_vmp;
	int w_mask;
	void (*w_func)(void *arg, void *start, size_t size);
	void *w_arg;
};

static void
walk_call(const struct walk *w, int type, uintptr_t start, size_t size)
{
	if ((w->w_mask & type) == 0)
		return;
	if ((w->w_mask & (int)VMEM_REENTRANT) != 0)
		qr_mutex_exit(&w->w_vmp->vm_lock);
	w->w_func(w->w_arg, (void *)start, size);
	if ((w->w_mask & (int)VMEM_REENTRANT) != 0)
		qr_mutex_enter(&w->w_vmp->vm_lock);
}

/* The first entry of a tree at or above `from`. */
static struct vmem_pos
tree_from(const struct vmem_tree *t, uintptr_t from)
{
	struct vmem_pos pos;

	if (from == 0)
		return ((struct vmem_pos){t->t_first, 0});
	pos = vmem__tree_floor(t, from - 1, 0);
	if (pos.p_leaf == NULL)
		return ((struct vmem_pos){t->t_first, 0});
	return (vmem__pos_next(pos));
}

/*
 * The segments that start in [first, last].  With the lock dropped around a
 * call anything may have changed after it: the position is an address, and
 * the walk goes on with the first segment that starts above it.
 */
static void
walk_span(const struct walk *w, uintptr_t first, uintptr_t last)
{
	struct vmem_pos pos = tree_from(&w->w_vmp->vm_segs, first);

	while (pos.p_leaf != NULL && pos.p_leaf->l_key[pos.p_i] <= last) {
		uintptr_t start = pos.p_leaf->l_key[pos.p_i];

		walk_call(w, vmem__seg_free(pos) ? VMEM_FREE : VMEM_ALLOC,
		    start, pos.p_leaf->l_val[pos.p_i]);
		if (start == last)
			break;
		pos = (w->w_mask & (int)VMEM_REENTRANT) != 0
		    ? tree_from(&w->w_vmp->vm_segs, start + 1)
		    : vmem__pos_next(pos);
	}
}

/* The rotor is not among the segments: it comes first, as it always has. */
void
vmem_walk(vmem_t *vmp, int typemask,
    void (*func)(void *arg, void *start, size_t size), void *arg)
{
	struct walk w = {vmp, typemask, func, arg};
	struct vmem_pos span;

	if ((typemask & VMEM_WALKER) != 0)
		return;
	qr_mutex_enter(&vmp->vm_lock);
	walk_call(&w, VMEM_ROTOR, 0, 0);
	span = tree_from(&vmp->vm_spans, 0);
	while (span.p_leaf != NULL) {
		uintptr_t start = span.p_leaf->l_key[span.p_i];
		size_t size = span.p_leaf->l_val[span.p_i];
		uintptr_t last = start + (size - 1);

		walk_call(&w, VMEM_SPAN, start, size);
		if ((typemask & (VMEM_ALLOC | VMEM_FREE)) != 0)
			walk_span(&w, start, last);
		if (last == UINTPTR_MAX)
			break;
		span = tree_from(&vmp->vm_spans, last + 1);
	}
	qr_mutex_exit(&vmp->vm_lock);
}
