/*
 * vmem_span.c - spans: added by the owner, imported from a source, released.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_ids.h"
#include "vmem/vmem_tag.h"

/* A span and a segment; and two tags for carving it. */
enum { SPAN_TAGS = 4 };

static bool
spare_fill(struct vmem_spare *spare, size_t nodes)
{
	return (vmem__tags_fill(&spare->sp_tags, SPAN_TAGS) &&
	    vmem__nodes_fill(&spare->sp_nodes, nodes));
}

static void
spare_drain(struct vmem_spare *spare)
{
	vmem__tags_drain(&spare->sp_tags);
	vmem__nodes_drain(&spare->sp_nodes);
}

static bool
span_overlaps(const struct vmem *vmp, uintptr_t start, uintptr_t last)
{
	struct vmem_pos pos =
	    vmem__tree_floor(&vmp->vm_spans, last, UINTPTR_MAX);
	const struct vmem_tag *span;

	if (pos.p_leaf == NULL)
		return (false);
	span = vmem__pos_tag(pos);
	return (span->g_start + (span->g_size - 1) >= start);
}

/* The tags of a new span; returns that of its only segment, if it has one. */
static struct vmem_tag *
span_new(struct vmem *vmp, const struct vmem_run *run, enum vmem_kind kind,
    struct vmem_spare *spare)
{
	struct vmem_tag *span = vmem__tag_take(&spare->sp_tags);
	struct vmem_tag *seg = span;

	span->g_start = run->u_start;
	span->g_size = run->u_size;
	span->g_what = kind;
	vmem__tree_put(&vmp->vm_spans,
	    (struct vmem_ent){run->u_start, run->u_size, span},
	    &spare->sp_nodes);
	if (kind == VMEM_K_SPAN || kind == VMEM_K_IMPORT) {
		seg = vmem__tag_take(&spare->sp_tags);
		seg->g_start = run->u_start;
		seg->g_size = run->u_size;
		vmem__bin_enter(vmp, seg);
	}
	span->g_prev = span->g_next = seg;
	seg->g_prev = seg->g_next = span;
	return (seg != span ? seg : NULL);
}

int
vmem__span_add(struct vmem *vmp, uintptr_t start, size_t size,
    enum vmem_kind kind, struct vmem_spare *spare)
{
	struct vmem_run run = {start, size, NULL};

	qr_mutex_assert_held(&vmp->vm_lock);

	if (span_overlaps(vmp, start, start + (size - 1)))
		return (EINVAL);
	if (!spare_fill(spare, vmem__tree_need(&vmp->vm_spans)))
		return (ENOMEM);
	if (vmp->vm_ids != NULL) {
		if (!vmem__ids_add(vmp, start, size))
			return (ENOMEM);
		kind = VMEM_K_IDS;
	} else if (kind == VMEM_K_SPAN && vmem__dense_add(vmp, start, size)) {
		kind = VMEM_K_DENSE;
	}
	run.u_tag = span_new(vmp, &run, kind, spare);
	vmem__count(&vmp->vm_total, size);
	if (kind == VMEM_K_IDS) {
		vmem__ids_serve(vmp);
		return (0);
	}
	if (kind == VMEM_K_IMPORT)
		vmp->vm_import += size;
	vmem__index_enter(vmp, &run);
	vmem__changed(vmp);
	return (0);
}

void
vmem__span_remove(struct vmem *vmp, struct vmem_tag *span)
{
	QR_ASSERT(span->g_next == span);
	vmem__tree_remove(&vmp->vm_spans,
	    vmem__tree_floor(&vmp->vm_spans, span->g_start, UINTPTR_MAX));
	vmem__count(&vmp->vm_total, -span->g_size);
	if (vmem__kind(span) == VMEM_K_IMPORT)
		vmp->vm_import -= span->g_size;
	if (vmp->vm_walkers != NULL)
		vmem__walk_leave(vmp, span, NULL);
	vmem__tag_give(vmp, span);
}

bool
vmem__span_invalid(const struct vmem *vmp, uintptr_t addr, size_t size)
{
	if (size == 0 || addr + (size - 1) < addr) {
		qr_panic("vmem_add(%p, %p, %lu): bad arguments",
		    (const void *)vmp, (void *)addr, size);
		return (true);
	}
	if (vmp->vm_ids != NULL && addr + (size - 1) >= INT_MAX) {
		qr_panic("vmem_add(%p, %p, %lu): these are no identifiers",
		    (const void *)vmp, (void *)addr, size);
		return (true);
	}
	if (((addr | size) & (vmp->vm_quantum - 1)) != 0) {
		qr_panic("vmem_span_create(%p, %p, %lu): misaligned",
		    (const void *)vmp, (void *)addr, size);
		return (true);
	}
	return (false);
}

static void
panic_overlap(const struct vmem *vmp, uintptr_t addr, size_t size)
{
	qr_panic("vmem_add(%p, %p, %lu): overlaps a span of '%s'",
	    (const void *)vmp, (void *)addr, size, vmp->vm_name);
}

int
vmem__add(struct vmem *vmp, uintptr_t addr, size_t size, int vmflag)
{
	struct vmem_spare spare = {{NULL, 0}, {NULL, 0}};
	int error;

	do {
		qr_mutex_enter(&vmp->vm_lock);
		error = vmem__span_add(vmp, addr, size, VMEM_K_SPAN, &spare);
		qr_mutex_exit(&vmp->vm_lock);
		spare_drain(&spare);
	} while (error == ENOMEM && vmem__pause(vmp, vmflag, NULL) == 0);
	if (error == 0)
		vmem__wake_importers(vmp);
	return (error);
}

int
vmem_add_addr(vmem_t *vmp, uintptr_t addr, size_t size, int vmflag)
{
	int error;

	if (vmem__span_invalid(vmp, addr, size))
		return (EINVAL);
	error = vmem__add(vmp, addr, size, vmflag);
	if (error == EINVAL)
		panic_overlap(vmp, addr, size);
	return (error);
}

void *
vmem_add(vmem_t *vmp, void *addr, size_t size, int vmflag)
{
	if (addr == NULL) {
		qr_panic("vmem_add(%p, %p, %lu): bad arguments", (void *)vmp,
		    addr, size);
		return (NULL);
	}
	return (vmem_add_addr(vmp, (uintptr_t)addr, size, vmflag) == 0 ? addr
								       : NULL);
}

/* ---- import ---- */

bool
vmem__can_import(const struct vmem *vmp, const struct vmem_req *r)
{
	return ((vmp->vm_afunc != NULL || vmp->vm_xafunc != NULL) &&
	    r->r_nocross == 0 && r->r_min == 0 && r->r_max == UINTPTR_MAX);
}

/*
 * How much to import so that r fits wherever the span begins: spans begin at
 * a multiple of the larger quantum q.  0 when no size will do.
 */
static size_t
import_size(const struct vmem *vmp, const struct vmem_req *r)
{
	size_t q = vmp->vm_quantum;
	size_t pad = r->r_phase;
	size_t size;

	if (vmp->vm_source != NULL)
		q = qr_max(q, vmp->vm_source->vm_quantum);
	if (r->r_align > q && (vmp->vm_cflags & VMC_XALIGN) == 0)
		pad = r->r_align -
		    (qr_phase(r->r_phase, q) != 0 ? vmp->vm_quantum : q);
	if (__builtin_add_overflow(r->r_size, pad, &size))
		return (0);
	return (qr_roundup(qr_max(size, vmp->vm_min_import), q));
}

/* With no lock held.  False when nothing came. */
static bool
import_call(struct vmem *vmp, size_t *sizep, size_t align, int vmflag,
    uintptr_t *startp)
{
	int flags = vmflag & VM_KMFLAGS;
	void *start;

	/* VM_ABORT is none of the bits handed down, but must be obeyed. */
	if ((vmflag & VM_ABORT) != 0)
		flags |= VM_NOSLEEP;

	/*
	 * A sleeper must notice what is freed here as well as what is freed in
	 * the source, so it sleeps here: vmem__wake_importers.
	 */
	if (vmp->vm_afunc == vmem_alloc)
		return (
		    vmem__alloc(vmp->vm_source, *sizep,
			(flags & ~VM_PANIC) | VM_NOSLEEP, NULL, startp) == 0);
	if (vmp->vm_xafunc != NULL)
		start = vmp->vm_xafunc(vmp->vm_source, sizep, align, flags);
	else
		start = vmp->vm_afunc(vmp->vm_source, *sizep, flags);
	*startp = (uintptr_t)start;
	return (start != NULL);
}

/*
 * Report an import function that broke its word: vmem_ximport_t may enlarge a
 * request, never reduce it, and VMC_XALIGN promises the alignment.
 */
static bool
import_invalid(const struct vmem *vmp, uintptr_t start, size_t size,
    size_t want, size_t align)
{
	if (size < want) {
		qr_panic("vmem_import(%p, %p, %lu): less than %lu",
		    (const void *)vmp, (void *)start, size, want);
		return (true);
	}
	if ((vmp->vm_cflags & VMC_XALIGN) != 0 && qr_phase(start, align) != 0) {
		qr_panic("vmem_import(%p, %p, %lu): not aligned to %lu",
		    (const void *)vmp, (void *)start, size, align);
		return (true);
	}
	return (false);
}

/*
 * Nodes to have before the lock is dropped.  A span that cannot be handed back
 * must be kept whatever happens to the trees meanwhile.
 */
static size_t
import_need(const struct vmem *vmp)
{
	return (vmp->vm_ffunc == NULL ? VMEM_LEVELS
				      : vmem__tree_need(&vmp->vm_spans));
}

static bool
over_limit(const struct vmem *vmp, size_t size)
{
	size_t total;

	return (vmp->vm_limit != 0 &&
	    (__builtin_add_overflow(
		 vmp->vm_total + vmp->vm_importing, size, &total) ||
		total > vmp->vm_limit));
}

/*
 * Make [start, start + size) a span and carve r from it.  On failure the span
 * is not the arena's.
 */
static int
import_use(struct vmem *vmp, const struct vmem_req *r, uintptr_t start,
    size_t size, struct vmem_spare *spare, uintptr_t *addrp)
{
	struct vmem_run run = {start, size, NULL};
	struct vmem_req use = *r;
	int error;

	/* Like any request that bypasses the rotor, it does not move it. */
	use.r_flags &= ~VM_NEXTFIT;
	if (!vmem__fit_run(&use, &run, addrp))
		return (ENOSPC);
	error = vmem__span_add(vmp, start, size, VMEM_K_IMPORT, spare);
	if (error != 0)
		return (error);
	run.u_tag =
	    vmem__pos_tag(vmem__tree_floor(&vmp->vm_spans, start, UINTPTR_MAX))
		->g_next;
	vmem__seg_carve(vmp, &run, *addrp, &use, &spare->sp_tags);
	return (0);
}

/*
 * A span has come.  True when it must go back: nobody needs it any more, or it
 * cannot be used.
 */
static bool
import_refused(struct vmem *vmp, const struct vmem_req *r, uintptr_t start,
    size_t size, size_t want, struct vmem_spare *spare, uintptr_t *addrp,
    int *errorp)
{
	if (size > r->r_extent && vmp->vm_ffunc != NULL &&
	    vmem__seg_take(vmp, r, false, addrp) == 0) {
		*errorp = 0;
		return (true);
	}
	*errorp = ENOSPC;
	if (size > want && vmp->vm_ffunc != NULL && over_limit(vmp, size))
		return (true);
	*errorp = import_use(vmp, r, start, size, spare, addrp);
	return (*errorp != 0);
}

int
vmem__import(struct vmem *vmp, const struct vmem_req *r, uintptr_t *addrp)
{
	struct vmem_spare spare = {{NULL, 0}, {NULL, 0}};
	size_t want = import_size(vmp, r);
	size_t size = want;
	uintptr_t start = 0;
	unsigned forks = vmem__forks;
	int error = ENOSPC;
	bool came;

	if (want == 0 || over_limit(vmp, want))
		return (ENOSPC);
	if (!spare_fill(&spare, import_need(vmp))) {
		spare_drain(&spare);
		return (ENOMEM);
	}
	vmp->vm_importing += want;
	qr_mutex_exit(&vmp->vm_lock);
	came = import_call(vmp, &size, r->r_align, r->r_flags, &start);
	came = came && !vmem__span_invalid(vmp, start, size);
	if (came && import_invalid(vmp, start, size, want, r->r_align)) {
		vmem__export(vmp, start, size);
		came = false;
	}
	qr_mutex_enter(&vmp->vm_lock);
	if (forks == vmem__forks)
		vmp->vm_importing -= want;

	if (came &&
	    import_refused(vmp, r, start, size, want, &spare, addrp, &error)) {
		vmem__exit(vmp);
		if (error == EINVAL)
			panic_overlap(vmp, start, size);
		else
			vmem__export(vmp, start, size);
		qr_mutex_enter(&vmp->vm_lock);
	}
	spare_drain(&spare);
	return (error);
}

int
vmem__import_span(struct vmem *vmp, size_t size, size_t align, uintptr_t *addrp)
{
	struct vmem_req r = {
	    .r_size = size,
	    .r_extent = size,
	    .r_align = align,
	    .r_max = UINTPTR_MAX,
	    .r_flags = VM_NOSLEEP,
	};
	int error;

	qr_mutex_enter(&vmp->vm_lock);
	error = vmem__import(vmp, &r, addrp);
	vmem__exit(vmp);
	if (error == 0)
		vmem__wake_importers(vmp);
	return (error);
}

void
vmem__export(struct vmem *vmp, uintptr_t start, size_t size)
{
	if (vmp->vm_ffunc != NULL)
		vmp->vm_ffunc(vmp->vm_source, (void *)start, size);
}

vmem_free_t *
vmem__free_calls(const vmem_t *vmp)
{
	while (vmp->vm_ffunc == vmem_free)
		vmp = vmp->vm_source;
	return (vmp->vm_ffunc);
}
