/*
 * vmem_span.c - spans: added by the owner, imported from a source, released.
 */
#include "vmem/vmem_impl.h"

static bool
span_overlaps(const struct vmem *vmp, uintptr_t start, uintptr_t last)
{
	struct vmem_pos span = vmem__tree_floor(&vmp->vm_spans, last, 0);

	return (span.p_leaf != NULL &&
	    vmem__seg_last(vmp, span.p_leaf, span.p_i) >= start);
}

int
vmem__span_add(struct vmem *vmp, uintptr_t start, size_t size, bool imported,
    struct vmem_spare *sp)
{
	qr_mutex_assert_held(&vmp->vm_lock);

	if (span_overlaps(vmp, start, start + (size - 1)))
		return (EINVAL);
	if (!vmem__spare_fill(sp,
		vmem__tree_need_any(&vmp->vm_segs) +
		    vmem__tree_need_any(&vmp->vm_spans)))
		return (ENOMEM);
	vmem__tree_put(
	    &vmp->vm_spans, start, size, imported ? VMEM_E_MARK : 0, sp);
	vmem__tree_put(
	    &vmp->vm_segs, start, size, VMEM_E_FREE | VMEM_E_MARK, sp);
	vmem__sizes_add(vmp, start, size);
	vmp->vm_total += size;
	if (imported)
		vmp->vm_import += size;
	vmem__changed(vmp);
	return (0);
}

bool
vmem__span_invalid(const struct vmem *vmp, uintptr_t addr, size_t size)
{
	if (size == 0 || addr + (size - 1) < addr) {
		qr_panic("vmem_add(%p, %p, %lu): bad arguments",
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

int
vmem_add_addr(vmem_t *vmp, uintptr_t addr, size_t size, int vmflag)
{
	struct vmem_spare spare = {NULL, 0};
	int error;

	(void)vmflag;
	if (vmem__span_invalid(vmp, addr, size))
		return (EINVAL);
	qr_mutex_enter(&vmp->vm_lock);
	error = vmem__span_add(vmp, addr, size, false, &spare);
	qr_mutex_exit(&vmp->vm_lock);
	vmem__spare_drain(&spare);
	if (error == 0)
		vmem__wake_importers(vmp);
	if (error == EINVAL)
		qr_panic("vmem_add(%p, %p, %lu): overlaps a span of '%s'",
		    (void *)vmp, (void *)addr, size, vmp->vm_name);
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
 * Nodes to have before the lock is dropped.  A span that cannot be handed back
 * must be kept whatever happens to the trees meanwhile.
 */
static size_t
import_need(const struct vmem *vmp)
{
	if (vmp->vm_ffunc == NULL)
		return ((size_t)2 * VMEM_LEVELS);
	return (vmem__tree_need_any(&vmp->vm_segs) +
	    vmem__tree_need_any(&vmp->vm_spans));
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
    size_t size, struct vmem_spare *sp, uintptr_t *addrp)
{
	struct vmem_req use = *r;
	uintptr_t last = start + (size - 1);
	int error;

	use.r_flags &= ~VM_NEXTFIT;
	if (!((use.r_flags & VM_ENDALLOC) != 0
		    ? vmem__fit_high(&use, start, last, addrp)
		    : vmem__fit_low(&use, start, last, addrp)))
		return (ENOSPC);
	error = vmem__span_add(vmp, start, size, true, sp);
	if (error == 0)
		vmem__seg_carve(vmp, vmem__tree_floor(&vmp->vm_segs, start, 0),
		    *addrp, &use, sp);
	return (error);
}

/*
 * A span has come.  True when it must go back: nobody needs it any more, or it
 * cannot be used.
 */
static bool
import_refused(struct vmem *vmp, const struct vmem_req *r, uintptr_t start,
    size_t size, size_t want, struct vmem_spare *sp, uintptr_t *addrp,
    int *errorp)
{
	if (size > r->r_extent && vmp->vm_ffunc != NULL &&
	    vmem__seg_take(vmp, r, addrp) == 0) {
		*errorp = 0;
		return (true);
	}
	*errorp = ENOSPC;
	if (size < want || (size > want && over_limit(vmp, size)))
		return (true);
	*errorp = import_use(vmp, r, start, size, sp, addrp);
	return (*errorp != 0);
}

int
vmem__import(struct vmem *vmp, const struct vmem_req *r, uintptr_t *addrp)
{
	struct vmem_spare spare = {NULL, 0};
	size_t want = import_size(vmp, r);
	size_t size = want;
	uint64_t gen = vmp->vm_gen;
	uintptr_t start = 0;
	int error = ENOSPC;
	bool came;

	if (want == 0 || over_limit(vmp, want))
		return (ENOSPC);
	if (!vmem__spare_fill(&spare, import_need(vmp))) {
		vmem__spare_drain(&spare);
		return (ENOMEM);
	}
	vmp->vm_importing += want;
	qr_mutex_exit(&vmp->vm_lock);
	came = import_call(vmp, &size, r->r_align, r->r_flags, &start);
	came = came && !vmem__span_invalid(vmp, start, size);
	qr_mutex_enter(&vmp->vm_lock);
	vmp->vm_importing -= want;

	if (!came) {
		if (vmp->vm_gen != gen)
			error = vmem__seg_take(vmp, r, addrp);
	} else if (import_refused(
		       vmp, r, start, size, want, &spare, addrp, &error)) {
		qr_mutex_exit(&vmp->vm_lock);
		vmem__export(vmp, start, size);
		qr_mutex_enter(&vmp->vm_lock);
	}
	vmem__spare_drain(&spare);
	return (error);
}

void
vmem__export(struct vmem *vmp, uintptr_t start, size_t size)
{
	if (vmp->vm_ffunc != NULL)
		vmp->vm_ffunc(vmp->vm_source, (void *)start, size);
}
