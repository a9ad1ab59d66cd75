/*
 * vmem_alloc.c - the public allocations and frees, and waiting.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_tag.h"

#include "os/os.h"

/*
 * Flags for every vmem_alloc: the policy of vmem__set_default_policy, and MTBF
 * when vmem__set_mtbf asked for faults.
 */
static _Atomic int default_flags;
static _Atomic uint32_t mtbf;

enum {
	/*
	 * Sleepers look again this often where what they depend on - an import
	 * function, memory, a quantum cache - changes without anybody telling.
	 */
	LOOK_AGAIN_NS = 100 * 1000 * 1000,

	POLICIES = VM_BESTFIT | VM_FIRSTFIT | VM_NEXTFIT | VM_ENDALLOC,
	MTBF = 1 << 16, /* no VM_* flag of an allocation */
};

void
vmem__set_default_policy(int vmflag)
{
	(void)atomic_fetch_and(&default_flags, ~POLICIES);
	(void)atomic_fetch_or(&default_flags, vmflag & POLICIES);
}

void
vmem__set_mtbf(uint32_t value)
{
	atomic_store_explicit(&mtbf, value, memory_order_relaxed);
	if (value != 0)
		(void)atomic_fetch_or(&default_flags, MTBF);
	else
		(void)atomic_fetch_and(&default_flags, ~MTBF);
}

/* ---- waking and waiting ---- */

bool
vmem__imports_from(const vmem_t *vmp, const vmem_t *source)
{
	for (vmp = vmp->vm_source; vmp != NULL; vmp = vmp->vm_source)
		if (vmp == source)
			return (true);
	return (false);
}

void
vmem__wake_importers_slowly(struct vmem *vmp)
{
	qr_mutex_enter(&vmem__list_lock);
	QR_LIST_FOREACH (child, &vmem__list, struct vmem, vm_link) {
		if (!vmem__imports_from(child, vmp))
			continue;
		qr_mutex_enter(&child->vm_lock);
		vmem__changed(child);
		qr_mutex_exit(&child->vm_lock);
	}
	qr_mutex_exit(&vmem__list_lock);
}

static void
want_from_sources(struct vmem *vmp, bool want)
{
	for (vmp = vmp->vm_source; vmp != NULL; vmp = vmp->vm_source) {
		if (want)
			atomic_fetch_add(&vmp->vm_wanted, 1);
		else
			atomic_fetch_sub(&vmp->vm_wanted, 1);
	}
}

static bool
time_before(const struct timespec *a, const struct timespec *b)
{
	return (a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec
				       : a->tv_nsec < b->tv_nsec);
}

/*
 * Sleep until vmem__gen is not `gen` any more, or, with `poll`, it is time to
 * look again.  False once the deadline has passed.
 */
static bool
wait_for_change(
    struct vmem *vmp, uint64_t gen, bool poll, const struct timespec *deadline)
{
	uint64_t again = os_now() + LOOK_AGAIN_NS;
	struct timespec look = {
	    (time_t)(again / 1000000000), (long)(again % 1000000000)};
	const struct timespec *until = deadline;
	bool in_time = true;

	if (poll && (deadline == NULL || time_before(&look, deadline)))
		until = &look;
	vmp->vm_nwait++;
	vmp->vm_sleepers++;
	while (in_time && vmem__gen(vmp) == gen)
		in_time =
		    qr_cond_timedwait(&vmp->vm_cond, &vmp->vm_lock, until);
	vmp->vm_sleepers--;
	return (in_time || until != deadline);
}

int
vmem__pause(struct vmem *vmp, int vmflag, const struct timespec *deadline)
{
	bool in_time;

	if (!vmem__may_sleep(vmflag))
		return (ENOMEM);
	qr_mutex_enter(&vmp->vm_lock);
	in_time = wait_for_change(vmp, vmem__gen(vmp), true, deadline);
	qr_mutex_exit(&vmp->vm_lock);
	return (in_time ? 0 : ETIMEDOUT);
}

/* ---- the general path ---- */

/*
 * Look here, then at the source, then here again: while the lock was dropped
 * something may have been freed, and only the last look is thorough.  0,
 * ENOSPC or ENOMEM.
 */
static int
take_or_import(struct vmem *vmp, const struct vmem_req *r, uintptr_t *addrp)
{
	bool imports = vmem__can_import(vmp, r);
	int error = vmem__seg_take(vmp, r, !imports, addrp);

	if (error != 0 && imports) {
		int why = vmem__import(vmp, r, addrp);

		error = why == 0 ? 0 : vmem__seg_take(vmp, r, true, addrp);
		if (error == ENOSPC && why == ENOMEM)
			error = why;
	}
	return (error);
}

/*
 * Look, and go on looking.  The second look comes after the request has noted
 * that it wants, so that from there on nothing is freed unnoticed; only then
 * does it sleep.  A request that must not sleep looks twice only if the reap
 * freed something.  vm_lock is held on entry and exit.
 */
static int
take_patiently(struct vmem *vmp, const struct vmem_req *r,
    const struct timespec *deadline, uintptr_t *addrp)
{
	bool sleeps = vmem__may_sleep(r->r_flags);
	bool wanting = false, cached;
	unsigned forks = 0;
	int error;

	for (;;) {
		uint64_t gen = vmem__gen(vmp);
		bool first = !wanting;

		error = take_or_import(vmp, r, addrp);
		if (error == 0 || (r->r_flags & VM_ABORT) != 0)
			break;
		if (!first && !sleeps)
			break;
		if (first) {
			want_from_sources(vmp, true);
			forks = vmem__forks;
		}
		wanting = true;
		qr_mutex_exit(&vmp->vm_lock);
		cached = vmem__reap(vmp);
		qr_mutex_enter(&vmp->vm_lock);
		if (first && !sleeps && vmem__gen(vmp) == gen)
			break;
		vmp->vm_nshort_wait += !first && error == ENOMEM;
		if (!first &&
		    !wait_for_change(vmp, gen,
			cached || error == ENOMEM || vmem__can_import(vmp, r),
			deadline)) {
			error = ETIMEDOUT;
			break;
		}
	}
	if (wanting && forks == vmem__forks)
		want_from_sources(vmp, false);
	return (error);
}

/* vm_lock is held on entry, and left. */
static int
request(struct vmem *vmp, const struct vmem_req *r,
    const struct timespec *deadline, uintptr_t *addrp)
{
	int error = vmem__seg_take(vmp, r, false, addrp);

	if (QR_LIKELY(error == 0)) {
		vmem__exit(vmp);
		return (0);
	}
	if (vmp->vm_ids != NULL) {
		vmem__exit(vmp);
		vmem__panic_request(vmp, r->r_size, r->r_align, r->r_phase,
		    r->r_nocross, r->r_min, r->r_max + 1, r->r_flags,
		    "an id_space gives identifiers by id_alloc only");
		return (EINVAL);
	}
	error = take_patiently(vmp, r, deadline, addrp);
	vmp->vm_nfail += error != 0;
	vmp->vm_nshort_fail += error == ENOMEM;
	vmem__exit(vmp);
	if (error == 0)
		vmem__wake_importers(vmp);
	return (error == ENOSPC ? ENOMEM : error);
}

/* ---- requests ---- */

void
vmem__panic_request(const struct vmem *vmp, size_t size, size_t align,
    size_t phase, size_t nocross, uintptr_t minaddr, uintptr_t maxaddr,
    int vmflag, const char *what)
{
	qr_panic("vmem_xalloc(%p, %lu, %lu, %lu, %lu, %p, %p, %x): %s",
	    (const void *)vmp, size, align, phase, nocross, (void *)minaddr,
	    (void *)maxaddr, (unsigned)vmflag, what);
}

/* What is wrong with the arguments; NULL when nothing is. */
static const char *
request_error(const struct vmem *vmp, size_t size, size_t align, size_t phase,
    size_t nocross)
{
	size_t end;

	if (((align | phase | nocross) & (vmp->vm_quantum - 1)) != 0)
		return ("parameters not vm_quantum aligned");
	if (align == 0)
		align = vmp->vm_quantum;
	if (nocross != 0 &&
	    (align > nocross || __builtin_add_overflow(phase, size, &end) ||
		qr_roundup(end, align) > nocross ||
		qr_roundup(end, align) == 0))
		return ("overconstrained allocation");
	if (phase >= align || !qr_ispow2(align) ||
	    (nocross != 0 && !qr_ispow2(nocross)))
		return ("parameters inconsistent or invalid phase");
	return (NULL);
}

static struct vmem_req
request_make(const struct vmem *vmp, size_t size, int vmflag)
{
	return ((struct vmem_req){
	    .r_size = size,
	    .r_extent = qr_roundup(size, vmp->vm_quantum),
	    .r_align = vmp->vm_quantum,
	    .r_max = UINTPTR_MAX,
	    .r_flags = vmflag,
	});
}

/* Fault injection: shall this request fail for no reason? */
static bool
injected(int vmflag)
{
	uint32_t m = atomic_load_explicit(&mtbf, memory_order_relaxed);

	return (m != 0 && (vmflag & VM_NOSLEEP) != 0 &&
	    (vmflag & VM_PANIC) == 0 && os_now() % m == 0);
}

static inline int
flags_of(int vmflag)
{
	return (vmflag |
	    atomic_load_explicit(&default_flags, memory_order_relaxed));
}

static void
panic_if_mandatory(const struct vmem *vmp, size_t size, int vmflag)
{
	if ((vmflag & VM_PANIC) != 0)
		vmem__panic_request(vmp, size, vmp->vm_quantum, 0, 0, 0, 0,
		    vmflag, "cannot satisfy mandatory allocation");
}

int
vmem__alloc(vmem_t *vmp, size_t size, int vmflag,
    const struct timespec *deadline, uintptr_t *addrp)
{
	struct vmem_req r;

	if (size <= vmp->vm_qcache_max)
		return (vmem__qcache_alloc(vmp, size, vmflag, deadline, addrp));
	vmflag = flags_of(vmflag);
	if (QR_UNLIKELY((vmflag & MTBF) != 0) && injected(vmflag))
		return (ENOMEM);
	qr_mutex_enter(&vmp->vm_lock);
	if (QR_LIKELY((vmflag & POLICIES) == 0 &&
		(vmem__dense_take(vmp, size, addrp) ||
		    vmem__tag_take_head(vmp, size, addrp)))) {
		vmem__exit(vmp);
		return (0);
	}
	r = request_make(vmp, size, vmflag & ~MTBF);
	return (request(vmp, &r, deadline, addrp));
}

int
vmem__xalloc(vmem_t *vmp, size_t size, size_t align, size_t phase,
    size_t nocross, uintptr_t minaddr, uintptr_t maxaddr, int vmflag,
    const struct timespec *deadline, uintptr_t *addrp)
{
	struct vmem_req r;

	if (size == 0 ||
	    request_error(vmp, size, align, phase, nocross) != NULL)
		return (EINVAL);
	r = request_make(vmp, size, vmflag);
	if (align != 0)
		r.r_align = align;
	r.r_phase = phase;
	r.r_nocross = nocross;
	r.r_min = minaddr;
	if (r.r_align != vmp->vm_quantum || nocross != 0 || minaddr != 0 ||
	    maxaddr != 0)
		r.r_flags &= ~VM_NEXTFIT;
	if (maxaddr != 0)
		r.r_max = maxaddr - 1;
	qr_mutex_enter(&vmp->vm_lock);
	return (request(vmp, &r, deadline, addrp));
}

/* As vmem_alloc, which looked in the dense span; vm_lock is held, and left. */
static QR_NOINLINE void *
alloc_on(vmem_t *vmp, size_t size, int vmflag)
{
	struct vmem_req r;
	uintptr_t addr;

	if (QR_LIKELY(vmem__tag_take_head(vmp, size, &addr))) {
		vmem__exit(vmp);
		return ((void *)addr);
	}
	r = request_make(vmp, size, vmflag);
	if (QR_LIKELY(request(vmp, &r, NULL, &addr) == 0))
		return ((void *)addr);
	panic_if_mandatory(vmp, size, vmflag);
	return (NULL);
}

static QR_NOINLINE void *
alloc_slowly(vmem_t *vmp, size_t size, int vmflag)
{
	uintptr_t addr;

	if (size == 0) {
		qr_panic("vmem_xalloc(): size == 0");
		return (NULL);
	}
	if (vmem__alloc(vmp, size, vmflag, NULL, &addr) == 0)
		return ((void *)addr);
	panic_if_mandatory(vmp, size, vmflag);
	return (NULL);
}

/*
 * Apart from vmem_alloc, or a hit in a quantum cache would save and restore the
 * registers that are used here.
 */
static QR_NOINLINE void *
alloc_uncached(vmem_t *vmp, size_t size, int vmflag)
{
	uintptr_t addr;

	if (QR_UNLIKELY(
		size == 0 || (flags_of(vmflag) & (POLICIES | MTBF)) != 0))
		return (alloc_slowly(vmp, size, vmflag));
	qr_mutex_enter(&vmp->vm_lock);
	if (QR_UNLIKELY(!vmem__dense_take(vmp, size, &addr)))
		return (alloc_on(vmp, size, vmflag));
	qr_mutex_exit(&vmp->vm_lock);
	return ((void *)addr);
}

QR_HOT void *
vmem_alloc(vmem_t *vmp, size_t size, int vmflag)
{
	uintptr_t addr;

	if (size - 1 >= vmp->vm_qcache_max)
		return (alloc_uncached(vmp, size, vmflag));
	addr = vmem__qcache_pop(vmp, size);
	if (QR_LIKELY(addr != 0))
		return ((void *)addr);
	return (alloc_slowly(vmp, size, vmflag));
}

void *
vmem_xalloc(vmem_t *vmp, size_t size, size_t align, size_t phase,
    size_t nocross, void *minaddr, void *maxaddr, int vmflag)
{
	uintptr_t min = (uintptr_t)minaddr;
	uintptr_t max = (uintptr_t)maxaddr;
	const char *what;
	uintptr_t addr;

	if (size == 0) {
		qr_panic("vmem_xalloc(): size == 0");
		return (NULL);
	}
	what = request_error(vmp, size, align, phase, nocross);
	if (what == NULL) {
		if (vmem__xalloc(vmp, size, align, phase, nocross, min, max,
			vmflag & ~VM_NEXTFIT, NULL, &addr) == 0)
			return ((void *)addr);
		if ((vmflag & VM_PANIC) != 0)
			what = "cannot satisfy mandatory allocation";
	}
	if (what != NULL)
		vmem__panic_request(
		    vmp, size, align, phase, nocross, min, max, vmflag, what);
	return (NULL);
}

int
vmem_xalloc_addr(vmem_t *vmp, size_t size, size_t align, size_t phase,
    size_t nocross, uintptr_t minaddr, uintptr_t maxaddr, int vmflag,
    uintptr_t *addrp)
{
	int error = vmem__xalloc(vmp, size, align, phase, nocross, minaddr,
	    maxaddr, vmflag, NULL, addrp);

	if (error == ENOMEM && (vmflag & VM_PANIC) != 0)
		vmem__panic_request(vmp, size, align, phase, nocross, minaddr,
		    maxaddr, vmflag, "cannot satisfy mandatory allocation");
	return (error);
}

/* ---- frees ---- */

static void
panic_free(const struct vmem *vmp, uintptr_t addr, size_t size, size_t expect)
{
	if (expect == 0)
		qr_panic("vmem_hash_delete(%p, %lx, %lu): bad free",
		    (const void *)vmp, addr, size);
	else
		qr_panic("vmem_hash_delete(%p, %lx, %lu): wrong size "
			 "(expect %lu)",
		    (const void *)vmp, addr, size, expect);
}

/* vm_lock is held on entry, and left. */
static QR_NOINLINE void
free_slowly(vmem_t *vmp, uintptr_t addr, size_t size)
{
	struct vmem_freed freed;

	if (QR_UNLIKELY(!vmem__seg_free(vmp, addr, size, &freed))) {
		qr_mutex_exit(&vmp->vm_lock);
		panic_free(vmp, addr, size, freed.fr_expect);
		return;
	}
	if (QR_LIKELY(freed.fr_size == 0))
		vmem__wake(vmp);
	qr_mutex_exit(&vmp->vm_lock);

	if (QR_UNLIKELY(freed.fr_size != 0)) {
		vmem__export(vmp, freed.fr_start, freed.fr_size);
		/* Only now is there something for a sleeper to import. */
		qr_mutex_enter(&vmp->vm_lock);
		vmem__changed(vmp);
		qr_mutex_exit(&vmp->vm_lock);
	}
	vmem__wake_importers(vmp);
}

void
vmem_xfree_addr(vmem_t *vmp, uintptr_t addr, size_t size)
{
	qr_mutex_enter(&vmp->vm_lock);
	if (QR_UNLIKELY(!vmem__dense_give(vmp, addr, size))) {
		free_slowly(vmp, addr, size);
		return;
	}
	vmem__wake(vmp);
	qr_mutex_exit(&vmp->vm_lock);
	vmem__wake_importers(vmp);
}

void
vmem_xfree(vmem_t *vmp, void *addr, size_t size)
{
	vmem_xfree_addr(vmp, (uintptr_t)addr, size);
}

QR_HOT void
vmem_free(vmem_t *vmp, void *addr, size_t size)
{
	if (size - 1 >= vmp->vm_qcache_max)
		vmem_xfree_addr(vmp, (uintptr_t)addr, size);
	else if (QR_UNLIKELY(!vmem__qcache_push(vmp, (uintptr_t)addr, size)))
		vmem__qcache_free(vmp, (uintptr_t)addr, size);
}
