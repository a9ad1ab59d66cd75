/*
 * umem_update.c - periodic work: working sets, and returning idle memory.
 *
 * It needs no thread: a miss that finds the interval over does it.  Objects
 * with a destructor, and reclaim callbacks, are left to umem_reap(), because
 * the caller of an unrelated allocation may hold a lock they want.
 */
#include "umem/umem_impl.h"
#include "umem/umem_options.h"

#include "os/os.h"
#include "vmem/vmem_heap.h"

#include <stdatomic.h>

enum { CALLS_PER_LOOK = 16 };

/* Nanoseconds between two rounds of maintenance. */
#define TICK ((uint64_t)1000000000)

static _Atomic uint64_t next_tick;
static _Atomic uint64_t next_reap;

void
umem__tick(void)
{
	static _Atomic unsigned calls;
	unsigned n = atomic_load_explicit(&calls, memory_order_relaxed);
	uint64_t now, due;

	/* Even the coarse clock costs something: look at it now and then. */
	atomic_store_explicit(&calls, n + 1, memory_order_relaxed);
	if (QR_LIKELY(n % CALLS_PER_LOOK != 0))
		return;
	now = os_now_coarse();
	due = atomic_load_explicit(&next_tick, memory_order_relaxed);
	if (now < due)
		return;
	if (!atomic_compare_exchange_strong(&next_tick, &due, now + TICK))
		return;
	if (!qr_mutex_tryenter(&umem__list_lock))
		return;
	QR_LIST_FOREACH(cp, &umem__caches, struct umem_cache, cache_link)
	{
		if (cp->cache_dtor == NULL)
			umem__cache_reap(cp, false);
	}
	qr_mutex_exit(&umem__list_lock);
	if (now > TICK)
		(void)vmem__heap_purge(now - TICK);
}

/*
 * Call fn for every cache, without the list lock, so that it may call back
 * into the library.  Caches made meanwhile may be seen; a busy one is not
 * destroyed.
 */
static void
for_each_unlocked(void (*fn)(struct umem_cache *))
{
	qr_mutex_enter(&umem__list_lock);
	QR_LIST_FOREACH(cp, &umem__caches, struct umem_cache, cache_link)
	{
		cp->cache_busy++;
		qr_mutex_exit(&umem__list_lock);
		fn(cp);
		qr_mutex_enter(&umem__list_lock);
		if (--cp->cache_busy == 0)
			qr_cond_broadcast(&umem__list_cond);
	}
	qr_mutex_exit(&umem__list_lock);
}

static void
reap_everything(struct umem_cache *cp)
{
	umem_cache_reap_now(cp);
}

static void
reap_working_set(struct umem_cache *cp)
{
	if (cp->cache_reclaim != NULL)
		cp->cache_reclaim(cp->cache_priv);
	umem__cache_reap(cp, false);
}

void
umem_reap(void)
{
	uint64_t now = os_now();
	uint64_t due = atomic_load_explicit(&next_reap, memory_order_relaxed);

	if (!umem__ready() || now < due ||
	    !atomic_compare_exchange_strong(
		&next_reap, &due, now + umem__opt.reap_interval * TICK))
		return;
	for_each_unlocked(reap_working_set);
}

size_t
umem__reap_all(void)
{
	struct vmem__heap_stat before, after;

	vmem__heap_stat(&before);
	for_each_unlocked(reap_everything);
	(void)vmem__heap_purge(UINT64_MAX);
	vmem__heap_stat(&after);
	return (after.purged - before.purged);
}
