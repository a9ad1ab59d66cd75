/*
 * contigmalloc.c - requests in contigmalloc's words, and frees.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "contig/physpool_impl.h"

#include "base/fmt.h"
#include "base/panic.h"

#include <quarry/quarry.h>

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* ---- requests ---- */

static const char *
words_error(const struct contig_words *w)
{
	if (w->w_size == 0)
		return ("size must not be 0");
	if (w->w_alignment != 0 && !qr_ispow2(w->w_alignment))
		return ("alignment must be a power of 2");
	if (w->w_boundary != 0 && !qr_ispow2(w->w_boundary))
		return ("boundary must be a power of 2");
	return (NULL);
}

static QR_COLD void
panic_words(
    const struct physpool *pool, const struct contig_words *w, const char *what)
{
	qr_panic("%s(%s, %lu, %s, 0x%x, 0x%llx, 0x%llx, %lu, %llu): %s",
	    w->w_who, pool->pp_name, w->w_size, mtype__name(w->w_type),
	    (unsigned)w->w_flags, (unsigned long long)w->w_low,
	    (unsigned long long)w->w_high, w->w_alignment,
	    (unsigned long long)w->w_boundary, what);
}

/*
 * A boundary says nothing that an alignment to it has not said; and vmem wants
 * the coarser of the two to be the boundary.
 */
int
contig__request(const struct physpool *pool, const struct contig_words *w,
    struct contig_req *rq)
{
	size_t size = qr_roundup(w->w_size, pool->pp_granule);
	const char *what = words_error(w);

	if (QR_UNLIKELY(what != NULL)) {
		panic_words(pool, w, what);
		return (EINVAL);
	}
	if (QR_UNLIKELY(w->w_boundary != 0 && w->w_boundary - 1 < size - 1))
		return (EINVAL);
	if (QR_UNLIKELY(size - 1 >= pool->pp_size))
		return (ENOMEM);
	if (QR_UNLIKELY(w->w_low >= w->w_high))
		return (ENOSPC);
	*rq = (struct contig_req){
	    .rq_size = size,
	    .rq_low = w->w_low,
	    .rq_high = w->w_high,
	    .rq_align = qr_max(w->w_alignment, pool->pp_granule),
	    .rq_boundary = w->w_boundary,
	};
	if (rq->rq_align >= rq->rq_boundary)
		rq->rq_boundary = 0;
	return (0);
}

bool
contig__take(const struct physpool *pool, vmem_t *arena,
    const struct contig_req *rq, vm_paddr_t *pap)
{
	return (vmem_xalloc_addr(arena, rq->rq_size, rq->rq_align, 0,
		    rq->rq_boundary, rq->rq_low,
		    rq->rq_high == ~(vm_paddr_t)0 ? 0 : rq->rq_high,
		    pool->pp_policy | VM_NOSLEEP | VM_ABORT, pap) == 0);
}

int
contig__verdict(struct physpool *pool, const struct contig_req *rq)
{
	vm_paddr_t pa;

	qr_mutex_assert_held(&pool->pp_lock);

	if (!contig__take(pool, pool->pp_image, rq, &pa))
		return (ENOSPC);
	vmem_xfree_addr(pool->pp_image, pa, rq->rq_size);
	return (ENOMEM);
}

/* ---- allocating ---- */

void
contig__wake(struct physpool *pool)
{
	if (QR_UNLIKELY(pool->pp_waiters != 0))
		qr_cond_broadcast(&pool->pp_cond);
}

/*
 * A run that becomes free below the last answer makes no better one possible:
 * the block there is in the way of all that would reach beyond it.
 */
void
contig__give_back(struct physpool *pool, struct physrun *run, vm_paddr_t pa)
{
	size_t size = run->ru_size;

	qr_mutex_assert_held(&pool->pp_lock);

	run->ru_size = 0;
	vmem_xfree_addr(pool->pp_arena, pa, size);
	if ((pool->pp_policy & VM_ENDALLOC) == 0 || pa >= pool->pp_answer)
		pool->pp_fresh = false;
}

void
contig__settle(struct physpool *pool)
{
	qr_mutex_assert_held(&pool->pp_lock);

	if (pool->pp_in_hand)
		contig__give_back(pool,
		    physpool__run(pool, physpool__va(pool, pool->pp_answer)),
		    pool->pp_answer);
	pool->pp_in_hand = false;
}

/* A run is no longer anybody's.  pp_lock is held. */
static void
run_free(struct physpool *pool, struct physrun *run, vm_paddr_t pa)
{
	pool->pp_nout--;
	run->ru_type = NULL;
	if (QR_LIKELY(pool->pp_fresh && pa == pool->pp_answer &&
		pool->pp_reserves == NULL && pool->pp_waiters == 0)) {
		pool->pp_in_hand = true;
		return;
	}
	contig__settle(pool);
	if (pool->pp_reserves == NULL ||
	    !physpool__reserved_put(pool, pa, run->ru_size))
		contig__give_back(pool, run, pa);
	contig__wake(pool);
}

/* Is a place for rq, if there is one, below the run that pp_last was given? */
static bool
is_below(const struct physpool *pool, const struct contig_req *rq)
{
	return (pool->pp_fresh && (pool->pp_policy & VM_ENDALLOC) != 0 &&
	    contig__same(rq, &pool->pp_last) &&
	    pool->pp_answer - rq->rq_low >= rq->rq_size);
}

/* Somewhere, by whatever way.  0, ENOSPC or ENOMEM. */
static int
find(struct physpool *pool, const struct contig_req *rq, vm_paddr_t *pap)
{
	struct contig_req narrow = *rq;

	contig__settle(pool);
	if (is_below(pool, rq))
		narrow.rq_high = pool->pp_answer;
	pool->pp_last = *rq;
	pool->pp_fresh = contig__take(pool, pool->pp_arena, &narrow, pap);
	if (QR_LIKELY(pool->pp_fresh)) {
		pool->pp_answer = *pap;
		return (0);
	}
	return (physpool__reserved_take(pool, rq, pap)
		? 0
		: contig__verdict(pool, rq));
}

/*
 * One attempt, charged to mt.  0; EAGAIN when the limit of the type forbids it;
 * ENOSPC, ENOMEM.  pp_lock is held.
 */
static int
attempt(struct physpool *pool, struct mtype *mt, const struct contig_req *rq,
    uintptr_t *vap)
{
	vm_paddr_t pa = pool->pp_answer;
	struct physrun *run;
	int error = 0;

	if (pool->pp_in_hand && contig__same(rq, &pool->pp_last))
		pool->pp_in_hand = false;
	else
		error = find(pool, rq, &pa);
	if (QR_UNLIKELY(error != 0))
		return (error == ENOMEM && mtype__exceeds(mt, rq->rq_size)
			? EAGAIN
			: error);
	*vap = physpool__va(pool, pa);
	run = physpool__run(pool, *vap);
	*run = (struct physrun){mt, rq->rq_size};
	pool->pp_nout++;
	if (QR_UNLIKELY(!mtype__charge(mt, rq->rq_size, 0))) {
		run_free(pool, run, pa);
		return (EAGAIN);
	}
	return (0);
}

/* Whether a request may sleep, and until when. */
struct patience {
	bool pa_sleeps;
	const struct timespec *pa_deadline;
};

/* Attempts, until it is not for want of space, or time. */
static int
attempt_waiting(struct physpool *pool, struct mtype *mt,
    const struct contig_req *rq, const struct timespec *deadline,
    uintptr_t *vap)
{
	bool in_time = true;
	int error;

	qr_mutex_enter(&pool->pp_lock);
	for (;;) {
		error = attempt(pool, mt, rq, vap);
		if (error != ENOMEM || !in_time)
			break;
		in_time =
		    qr_cond_timedwait(&pool->pp_cond, &pool->pp_lock, deadline);
	}
	qr_mutex_exit(&pool->pp_lock);
	return (error == ENOMEM ? ETIMEDOUT : error);
}

static int
attempt_once(struct physpool *pool, struct mtype *mt,
    const struct contig_req *rq, uintptr_t *vap)
{
	int error;

	qr_mutex_enter(&pool->pp_lock);
	error = attempt(pool, mt, rq, vap);
	qr_mutex_exit(&pool->pp_lock);
	return (error);
}

/* The first attempt; who may sleep after it is one who waits from then on. */
static int
attempt_first(struct physpool *pool, struct mtype *mt,
    const struct contig_req *rq, const struct patience *pa, uintptr_t *vap)
{
	int error;

	qr_mutex_enter(&pool->pp_lock);
	error = attempt(pool, mt, rq, vap);
	if (QR_UNLIKELY(error != 0) && pa->pa_sleeps)
		pool->pp_waiters++;
	qr_mutex_exit(&pool->pp_lock);
	return (error);
}

static void
stop_waiting(struct physpool *pool)
{
	qr_mutex_enter(&pool->pp_lock);
	pool->pp_waiters--;
	qr_mutex_exit(&pool->pp_lock);
}

static int
attempt_patiently(struct physpool *pool, struct mtype *mt,
    const struct contig_req *rq, int flags, const struct patience *pa,
    uintptr_t *vap)
{
	int error = attempt_first(pool, mt, rq, pa, vap);

	if (QR_LIKELY(error == 0))
		return (0);
	if (error == ENOMEM && (flags & M_NORECLAIM) == 0 &&
	    (pa->pa_sleeps || (flags & M_WAITOK) != 0)) {
		(void)quarry_reap();
		error = attempt_once(pool, mt, rq, vap);
	}
	while (pa->pa_sleeps && (error == ENOMEM || error == EAGAIN)) {
		if (error == EAGAIN) {
			error = mtype__wait(mt, rq->rq_size, pa->pa_deadline);
			if (error != 0)
				break;
		}
		error = attempt_waiting(pool, mt, rq, pa->pa_deadline, vap);
	}
	if (pa->pa_sleeps)
		stop_waiting(pool);
	return (error == EAGAIN ? ENOMEM : error);
}

static void *
allocate(struct physpool *pool, const struct contig_words *w,
    struct malloc_type *type, const struct patience *pa)
{
	struct mtype *mt = mtype__of(type, w->w_who);
	struct contig_req rq;
	uintptr_t va = 0;
	int error;

	if (QR_UNLIKELY(mt == NULL))
		return (NULL);
	error = contig__request(pool, w, &rq);
	if (QR_LIKELY(error == 0))
		error = attempt_patiently(pool, mt, &rq, w->w_flags, pa, &va);
	if (QR_UNLIKELY(error != 0)) {
		mtype__failed(mt);
		errno = error;
		return (NULL);
	}
	return ((w->w_flags & M_ZERO) != 0 ? memset((void *)va, 0, rq.rq_size)
					   : (void *)va);
}

static const struct patience never = {false, NULL};

void *
contigmalloc(unsigned long size, struct malloc_type *type, int flags,
    vm_paddr_t low, vm_paddr_t high, unsigned long alignment,
    vm_paddr_t boundary)
{
	struct contig_words w = {
	    "contigmalloc", size, type, flags, low, high, alignment, boundary};
	struct physpool *pool = physpool_default();

	return (pool == NULL ? NULL : allocate(pool, &w, type, &never));
}

void *
contigmalloc_pool(physpool_t *pool, unsigned long size,
    struct malloc_type *type, int flags, vm_paddr_t low, vm_paddr_t high,
    unsigned long alignment, vm_paddr_t boundary)
{
	struct contig_words w = {"contigmalloc_pool", size, type, flags, low,
	    high, alignment, boundary};

	return (allocate(pool, &w, type, &never));
}

void *
contigmalloc_wait(physpool_t *pool, unsigned long size,
    struct malloc_type *type, int flags, vm_paddr_t low, vm_paddr_t high,
    unsigned long alignment, vm_paddr_t boundary,
    const struct timespec *deadline)
{
	struct contig_words w = {"contigmalloc_wait", size, type, flags, low,
	    high, alignment, boundary};
	struct patience pa = {true, deadline};

	return (allocate(pool, &w, type, &pa));
}

/* ---- freeing ---- */

/* What the caller of a free says. */
struct claim {
	const char *cl_who;
	uintptr_t cl_addr;
	bool cl_sized; /* cl_size was told */
	unsigned long cl_size;
	const struct malloc_type *cl_type;
};

static QR_COLD void panic_claim(const struct claim *cl, const char *fmt, ...)
    QR_PRINTF(2, 3);

static QR_COLD void
panic_claim(const struct claim *cl, const char *fmt, ...)
{
	char what[256], size[24] = "";
	va_list ap;

	va_start(ap, fmt);
	(void)qr_vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (cl->cl_sized)
		(void)qr_snprintf(size, sizeof(size), "%lu, ", cl->cl_size);
	qr_panic("%s(%p, %s%s): %s", cl->cl_who, (void *)cl->cl_addr, size,
	    mtype__name(cl->cl_type), what);
}

/* What a pool says about an address, copied while its lock is held. */
struct finding {
	uintptr_t fi_va; /* of the run that the address is in */
	size_t fi_size;  /* 0: it is in none that is handed out */
	char fi_type[MTYPE_NAME_MAX];
};

/* The nearest run that begins at or below tells. */
static void
look(struct physpool *pool, uintptr_t addr, struct finding *fi)
{
	uintptr_t first = pool->pp_back.pb_va;
	uintptr_t va = addr - qr_phase(addr - first, pool->pp_granule);
	const struct physrun *run = physpool__run(pool, va);

	for (; run->ru_size == 0 && va > first; run--)
		va -= pool->pp_granule;
	fi->fi_va = va;
	fi->fi_size =
	    addr - va < run->ru_size && run->ru_type != NULL ? run->ru_size : 0;
	(void)qr_snprintf(fi->fi_type, sizeof(fi->fi_type), "%s",
	    fi->fi_size != 0 ? run->ru_type->mt_name : "");
}

/* A claim that is not true. */
static QR_COLD void
refuse(const struct physpool *pool, const struct claim *cl,
    const struct finding *fi)
{
	if (fi->fi_size == 0)
		panic_claim(
		    cl, "not allocated, free in pool %s", pool->pp_name);
	else if (fi->fi_va != cl->cl_addr)
		panic_claim(cl, "inside of %p, allocated as %zu bytes of %s",
		    (void *)fi->fi_va, fi->fi_size, fi->fi_type);
	else if (cl->cl_sized &&
	    qr_roundup(cl->cl_size, pool->pp_granule) != fi->fi_size)
		panic_claim(cl, "wrong size, allocated as %zu bytes of %s",
		    fi->fi_size, fi->fi_type);
	else
		panic_claim(cl, "wrong type, allocated as %zu bytes of %s",
		    fi->fi_size, fi->fi_type);
}

/*
 * Is the claim true of the run at that address?  A block whose type is gone may
 * be freed as any type.
 */
static bool
agrees(const struct physpool *pool, const struct claim *cl,
    const struct physrun *run, const struct mtype *mt)
{
	return (qr_phase(cl->cl_addr - pool->pp_back.pb_va, pool->pp_granule) ==
		0 &&
	    run->ru_type != NULL &&
	    (run->ru_type == mt || atomic_load(&run->ru_type->mt_gone)) &&
	    (!cl->cl_sized ||
		qr_roundup(cl->cl_size, pool->pp_granule) == run->ru_size));
}

static void
release(const struct vtophys_hit *hit, const struct claim *cl,
    struct malloc_type *type)
{
	struct physpool *pool = hit->vh_pool;
	struct physrun *run = physpool__run(pool, cl->cl_addr);
	struct mtype *mt = mtype__charged(type, cl->cl_who);
	struct finding fi;
	size_t size = 0;
	bool true_claim;

	if (QR_UNLIKELY(mt == NULL))
		return;
	qr_mutex_enter(&pool->pp_lock);
	true_claim = agrees(pool, cl, run, mt);
	if (QR_LIKELY(true_claim)) {
		mt = run->ru_type;
		size = run->ru_size;
		run_free(pool, run, cl->cl_addr + hit->vh_delta);
	} else {
		look(pool, cl->cl_addr, &fi);
	}
	qr_mutex_exit(&pool->pp_lock);
	if (QR_LIKELY(true_claim))
		(void)mtype__uncharge(mt, size);
	else
		refuse(pool, cl, &fi);
}

void
contigfree(void *addr, unsigned long size, struct malloc_type *type)
{
	struct claim cl = {"contigfree", (uintptr_t)addr, true, size, type};
	struct vtophys_hit hit;

	if (QR_LIKELY(vtophys__find(cl.cl_addr, &hit)))
		release(&hit, &cl, type);
	else
		panic_claim(&cl, "not in any pool");
}

bool
contig__kfree(void *addr, struct malloc_type *type)
{
	struct claim cl = {"kfree", (uintptr_t)addr, false, 0, type};
	struct vtophys_hit hit;

	if (QR_LIKELY(!vtophys__find(cl.cl_addr, &hit)))
		return (false);
	release(&hit, &cl, type);
	return (true);
}

size_t
contig__size(void *addr)
{
	struct vtophys_hit hit;
	struct finding fi;

	if (!vtophys__find((uintptr_t)addr, &hit))
		return (0);
	qr_mutex_enter(&hit.vh_pool->pp_lock);
	look(hit.vh_pool, (uintptr_t)addr, &fi);
	qr_mutex_exit(&hit.vh_pool->pp_lock);
	return (fi.fi_va == (uintptr_t)addr ? fi.fi_size : 0);
}
