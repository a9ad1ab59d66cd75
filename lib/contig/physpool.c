/*
 * physpool.c - making, keeping and giving up pools.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "contig/physpool_impl.h"

#include "base/clients.h"
#include "base/fmt.h"
#include "base/panic.h"
#include "os/os.h"
#include "os/os_fork.h"
#include "os/os_phys.h"

#include <quarry/umem.h>

#include <errno.h>

/* (t): which pools there are, and the table of vtophys.c. */
static struct qr_mutex pools_lock = QR_MUTEX_INIT(QR_RANK_CLIENT);
static struct qr_cond pools_cond = QR_COND_INIT; /* a hold was let go */
static struct qr_list pools = QR_LIST_INIT(pools);
/* External memory that is becoming a pool, or was one. */
static struct qr_list being_made = QR_LIST_INIT(being_made);

/* The default one, once it is made; written under the lock. */
static struct physpool *_Atomic default_pool;

/* ---- making one ---- */

static const int policies[] = {
    [PHYSPOOL_HIGH_FIRST] = VM_ENDALLOC | VM_FIRSTFIT,
    [PHYSPOOL_LOW_FIRST] = VM_FIRSTFIT,
    [PHYSPOOL_BEST_FIT] = VM_BESTFIT,
};

static bool
attr_valid(const struct physpool_attr *attr, size_t granule)
{
	return (attr->size != 0 && qr_ispow2(granule) &&
	    qr_phase(attr->size, granule) == 0 &&
	    attr->size <= PTRDIFF_MAX / 4 &&
	    (unsigned)attr->backing <= PHYSPOOL_EXTERNAL &&
	    (unsigned)attr->wiring <= PHYSPOOL_PIN &&
	    (unsigned)attr->addr <= PHYSPOOL_REAL &&
	    (unsigned)attr->policy <= PHYSPOOL_BEST_FIT);
}

/* Can memory from there have those addresses? */
static bool
addresses_valid(const struct physpool_attr *attr, size_t granule)
{
	size_t page = os_page_size();
	bool external = attr->backing == PHYSPOOL_EXTERNAL;
	bool real = attr->addr == PHYSPOOL_REAL;
	uintptr_t va = external ? (uintptr_t)attr->va : 0;

	if (external && (va == 0 || va + (attr->size - 1) < va))
		return (false);
	if (external && (real || attr->wiring != PHYSPOOL_UNWIRED) &&
	    qr_phase(va | attr->size, page) != 0)
		return (false);
	if (attr->paddrs != NULL)
		return (external || !real);
	if (real)
		return (true);
	return (attr->base + (attr->size - 1) >= attr->base &&
	    qr_phase(attr->base, external ? granule : qr_max(granule, page)) ==
		0);
}

/*
 * The segments in order of physical address: none overlaps another, and all
 * are made of granules.
 */
static int
order_segments(struct physpool *pool)
{
	const struct physback *pb = &pool->pp_back;
	struct physseg *seg =
	    umem_alloc(pb->pb_nseg * sizeof(*seg), UMEM_DEFAULT);

	if (seg == NULL)
		return (ENOMEM);
	pool->pp_seg = seg;
	pool->pp_nseg = pb->pb_nseg;
	for (size_t i = 0; i < pb->pb_nseg; i++) {
		seg[i] = pb->pb_seg[i];
		if (qr_phase(seg[i].sg_pa | seg[i].sg_size, pool->pp_granule) !=
		    0)
			return (EINVAL);
	}
	physpool__sort(seg, pb->pb_nseg);
	for (size_t i = 1; i < pb->pb_nseg; i++) {
		if (seg[i].sg_pa - seg[i - 1].sg_pa < seg[i - 1].sg_size)
			return (EINVAL);
	}
	return (0);
}

/* An arena whose spans are the segments. */
static int
arena_make(const struct physpool *pool, const char *suffix, vmem_t **arenap)
{
	char name[PHYSPOOL_NAME_MAX];
	vmem_t *arena;
	int error = 0;

	(void)qr_snprintf(name, sizeof(name), "%s%s", pool->pp_name, suffix);
	arena = vmem_create(name, NULL, 0, pool->pp_granule, NULL, NULL, NULL,
	    0, VM_NOSLEEP | VMC_IDENTIFIER);
	if (arena == NULL)
		return (ENOMEM);
	*arenap = arena;
	for (size_t i = 0; i < pool->pp_nseg && error == 0; i++)
		error = vmem_add_addr(arena, pool->pp_seg[i].sg_pa,
		    pool->pp_seg[i].sg_size, VM_NOSLEEP);
	return (error);
}

static int
runs_make(struct physpool *pool)
{
	size_t n = ((pool->pp_back.pb_span - 1) >> pool->pp_shift) + 1;

	if (__builtin_mul_overflow(
		n, sizeof(struct physrun), &pool->pp_run_bytes))
		return (ENOMEM);
	pool->pp_run_bytes = qr_roundup(pool->pp_run_bytes, os_page_size());
	pool->pp_run = os_map_sparse(pool->pp_run_bytes);
	return (pool->pp_run == NULL ? ENOMEM : 0);
}

/*
 * External memory to which something is done: no pool has it, and nobody else
 * makes one of it.
 */
struct hold {
	struct qr_list ho_link;
	uintptr_t ho_va;
	size_t ho_size;
};

/* The lock is held. */
static void
hold_enter(struct hold *ho, uintptr_t va, size_t size)
{
	*ho = (struct hold){.ho_va = va, .ho_size = size};
	qr_list_push_back(&being_made, &ho->ho_link);
}

/* 0 or EINVAL. */
static int
hold_take(struct hold *ho, uintptr_t va, size_t size)
{
	bool taken;

	qr_mutex_enter(&pools_lock);
	taken = vtophys__overlaps(va, size);
	QR_LIST_FOREACH (other, &being_made, struct hold, ho_link)
		taken |= va <= other->ho_va + (other->ho_size - 1) &&
		    other->ho_va <= va + (size - 1);
	if (!taken)
		hold_enter(ho, va, size);
	qr_mutex_exit(&pools_lock);
	return (taken ? EINVAL : 0);
}

static void
hold_drop(struct hold *ho)
{
	qr_mutex_enter(&pools_lock);
	qr_list_remove(&ho->ho_link);
	qr_mutex_exit(&pools_lock);
}

/* The pool has memory, and is on no list. */
static void
give_up(struct physpool *pool)
{
	if (pool->pp_image != NULL)
		vmem_destroy(pool->pp_image);
	if (pool->pp_arena != NULL)
		vmem_destroy(pool->pp_arena);
	if (pool->pp_run != NULL)
		(void)os_unmap(pool->pp_run, pool->pp_run_bytes);
	if (pool->pp_seg != NULL)
		umem_free(pool->pp_seg, pool->pp_nseg * sizeof(*pool->pp_seg));
	physpool__unback(&pool->pp_back);
	umem_free(pool, sizeof(*pool));
}

static int
publish(struct physpool *pool)
{
	int error;

	qr_mutex_enter(&pools_lock);
	error =
	    vtophys__insert(pool, pool->pp_back.pb_seg, pool->pp_back.pb_nseg);
	if (error == 0)
		qr_list_push_back(&pools, &pool->pp_link);
	qr_mutex_exit(&pools_lock);
	return (error);
}

/*
 * Have the image look for something once, so that it has what it needs to: a
 * shortage of memory must not be taken for a request that can never be.
 */
static int
image_warm_up(const struct physpool *pool)
{
	const struct contig_req any = {.rq_size = pool->pp_granule,
	    .rq_high = ~(vm_paddr_t)0,
	    .rq_align = pool->pp_granule};
	vm_paddr_t pa;

	if (!contig__take(pool, pool->pp_image, &any, &pa))
		return (ENOMEM);
	vmem_xfree_addr(pool->pp_image, pa, any.rq_size);
	return (0);
}

static int
build(struct physpool *pool)
{
	int error = order_segments(pool);

	if (error == 0)
		error = arena_make(pool, "", &pool->pp_arena);
	if (error == 0)
		error = arena_make(pool, ".empty", &pool->pp_image);
	if (error == 0)
		error = image_warm_up(pool);
	if (error == 0)
		error = runs_make(pool);
	if (error == 0)
		error = publish(pool);
	return (error);
}

/* The attributes are valid, and nobody else has the memory. */
static int
make(physpool_t **poolp, const struct physpool_attr *attr, size_t granule)
{
	struct physpool *pool;
	int error;

	pool = umem_zalloc(sizeof(*pool), UMEM_DEFAULT);
	if (pool == NULL)
		return (ENOMEM);
	qr_mutex_init(&pool->pp_lock, QR_RANK_CLIENT);
	qr_cond_init(&pool->pp_cond);
	pool->pp_granule = granule;
	pool->pp_shift = qr_ctz(granule);
	pool->pp_policy = policies[attr->policy];
	pool->pp_size = attr->size;
	(void)qr_snprintf(pool->pp_name, sizeof(pool->pp_name), "%s",
	    attr->name == NULL ? "physpool" : attr->name);
	error = physpool__back(&pool->pp_back, attr, granule);
	if (error != 0) {
		umem_free(pool, sizeof(*pool));
		return (error);
	}
	error = build(pool);
	if (error == 0)
		*poolp = pool;
	else
		give_up(pool);
	return (error);
}

int
physpool_create(physpool_t **poolp, const struct physpool_attr *attr)
{
	size_t granule = attr->granule == 0 ? os_page_size() : attr->granule;
	struct hold ho;
	int error;

	if (!attr_valid(attr, granule) || !addresses_valid(attr, granule))
		return (EINVAL);
	os_fork_arm();
	if (attr->backing != PHYSPOOL_EXTERNAL)
		return (make(poolp, attr, granule));
	error = hold_take(&ho, (uintptr_t)attr->va, attr->size);
	if (error != 0)
		return (error);
	error = make(poolp, attr, granule);
	hold_drop(&ho);
	return (error);
}

/* ---- giving one up ---- */

int
physpool_destroy(physpool_t *pool)
{
	bool external = pool->pp_back.pb_kind == PHYSPOOL_EXTERNAL, busy;
	struct hold ho;

	qr_mutex_enter(&pool->pp_lock);
	busy = pool->pp_nout != 0 || pool->pp_waiters != 0 ||
	    pool == atomic_load(&default_pool);
	contig__settle(pool);
	qr_mutex_exit(&pool->pp_lock);
	if (busy)
		return (EBUSY);
	qr_mutex_enter(&pools_lock);
	vtophys__remove(pool);
	if (external)
		hold_enter(&ho, pool->pp_back.pb_va, pool->pp_back.pb_span);
	qr_list_remove(&pool->pp_link);
	while (pool->pp_holds > 0)
		qr_cond_wait(&pools_cond, &pools_lock);
	qr_mutex_exit(&pools_lock);
	physpool__unreserve(pool);
	give_up(pool);
	if (external)
		hold_drop(&ho);
	return (0);
}

/* ---- the default pool ---- */

physpool_t *
physpool_default(void)
{
	struct physpool *pool = atomic_load(&default_pool), *other;
	struct physpool_attr attr = {.name = "physpool"};
	int error;

	if (QR_LIKELY(pool != NULL))
		return (pool);
	attr.size = qr_roundup(qr_clients.physpool_size, os_page_size());
	error = physpool_create(&pool, &attr);
	if (error != 0) {
		errno = error;
		return (NULL);
	}
	qr_mutex_enter(&pools_lock);
	other = atomic_load(&default_pool);
	if (other == NULL)
		atomic_store(&default_pool, pool);
	qr_mutex_exit(&pools_lock);
	if (other == NULL)
		return (pool);
	(void)physpool_destroy(pool);
	return (other);
}

/* ---- looking ---- */

struct physpool *
physpool__next(struct physpool *pool)
{
	struct qr_list *next;

	qr_mutex_enter(&pools_lock);
	next = pool == NULL ? pools.next : pool->pp_link.next;
	if (pool != NULL && --pool->pp_holds == 0)
		qr_cond_broadcast(&pools_cond);
	pool = next == &pools ? NULL
			      : QR_LIST_ENTRY(next, struct physpool, pp_link);
	if (pool != NULL)
		pool->pp_holds++;
	qr_mutex_exit(&pools_lock);
	return (pool);
}

int
physpool_addr_kind(const physpool_t *pool)
{
	return ((int)pool->pp_back.pb_addr);
}

int
physpool_verify(physpool_t *pool, size_t *moved_pages)
{
	*moved_pages = 0;
	return (pool->pp_back.pb_addr == PHYSPOOL_REAL
		? physpool__moved(&pool->pp_back, moved_pages)
		: 0);
}

int
physpool_export_fd(physpool_t *pool)
{
	if (pool->pp_back.pb_fd < 0) {
		errno = EINVAL;
		return (-1);
	}
	return (os_file_dup(pool->pp_back.pb_fd));
}

void *
physpool_phystov(physpool_t *pool, vm_paddr_t pa)
{
	const struct physseg *sg = physpool__segment(pool, pa);

	return (pa - sg->sg_pa < sg->sg_size
		? (void *)(sg->sg_va + (pa - sg->sg_pa))
		: NULL);
}

/* ---- limits ---- */

/* Who waits for memory in vain shall not. */
static void
limit_moved(void)
{
	for (struct physpool *pool = physpool__next(NULL); pool != NULL;
	     pool = physpool__next(pool)) {
		qr_mutex_enter(&pool->pp_lock);
		contig__wake(pool);
		qr_mutex_exit(&pool->pp_lock);
	}
}

/* ---- fork ---- */

static void
fork_prepare(void)
{
	qr_mutex_enter_nested(&pools_lock);
	QR_LIST_FOREACH (pool, &pools, struct physpool, pp_link)
		qr_mutex_enter_nested(&pool->pp_lock);
}

/*
 * Who waited, or looked, in the parent is not in the child.  The memory of the
 * default pool is the parent's to give out: the child will have another.
 */
static void
fork_done(bool child)
{
	if (child) {
		atomic_store(&default_pool, NULL);
		qr_list_init(&being_made);
		qr_cond_init(&pools_cond);
	}
	QR_LIST_FOREACH (pool, &pools, struct physpool, pp_link) {
		if (child) {
			pool->pp_waiters = 0;
			pool->pp_holds = 0;
			qr_cond_init(&pool->pp_cond);
		}
		qr_mutex_exit(&pool->pp_lock);
	}
	qr_mutex_exit(&pools_lock);
}

static QR_CONSTRUCTOR void
load(void)
{
	mtype__limit_moved = limit_moved;
	os_fork_handle(OS_FORK_CONTIG, fork_prepare, fork_done);
}
