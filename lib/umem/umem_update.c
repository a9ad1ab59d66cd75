/*
 * umem_update.c - periodic work: working sets, and returning idle memory.
 *
 * A process with a small heap has it done by whoever misses a magazine when
 * the interval is over, or asks the heap for a large block or returns one to it.
 * Once the heap has grown to THREAD_MIN a thread does it, because a process that
 * has gone idle does neither: it sleeps without a timeout while nothing happens
 * and nothing is left to give back.
 *
 * The caller of an unrelated allocation may hold locks that a destructor or a
 * reclaim callback wants, or the function by which an arena gives back what it
 * imported, so only the thread and umem_reap() call those; and so for what a
 * report of a damaged object may call.
 */
#include "umem/umem_impl.h"
#include "umem/umem_options.h"

#include "base/clients.h"
#include "meta/meta.h"
#include "os/os.h"
#include "os/os_cgroup.h"
#include "vmem/vmem_heap.h"
#include "vmem/vmem_private.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/single_threaded.h>

enum {
	THREAD_STACK = 256 << 10,
};

/* Heap size from which on a thread is worth its while. */
#define THREAD_MIN ((size_t)32 << 20)

/* In nanoseconds: between two rounds of maintenance, two in a second. */
#define SECOND ((uint64_t)1000000000)
#define TICK (SECOND / 2)

/*
 * As many misses in a round cost less than what a cache keeps to save them.
 * Without restartable sequences every operation is one.
 */
enum { MISSES_COLD = 64 };

static _Atomic uint64_t next_tick; /* 0: the first interval has not begun */
static _Atomic uint64_t next_reap;

/* REFUSED: the system would not have it, and is not asked again. */
enum { THREAD_NONE, THREAD_STARTED, THREAD_REFUSED };
static _Atomic int thread_state;
/* It sleeps without a timeout; whoever ends that sends CALL_WAKE. */
static _Atomic bool thread_idle;
/* What it is asked for; it sleeps while this is 0. */
enum { CALL_WAKE = 1, CALL_REAP = 2 };
static _Atomic uint32_t thread_calls;

/*
 * Call fn for every cache with arg, without the list lock, so that it may call
 * back into the library.  Caches made meanwhile may be seen; a busy one is not
 * destroyed.  True when fn was true for all.
 */
static bool
for_each_unlocked(bool (*fn)(struct umem_cache *, void *), void *arg)
{
	bool all = true;

	qr_mutex_enter(&umem__list_lock);
	QR_LIST_FOREACH (cp, &umem__caches, struct umem_cache, cache_link) {
		cp->cache_busy++;
		qr_mutex_exit(&umem__list_lock);
		all &= fn(cp, arg);
		qr_mutex_enter(&umem__list_lock);
		/* It is 0 already in a process forked by fn. */
		if (cp->cache_busy > 0 && --cp->cache_busy == 0)
			qr_cond_broadcast(&umem__list_cond);
	}
	qr_mutex_exit(&umem__list_lock);
	return (all);
}

/* ---- one round ---- */

/*
 * End an interval for cp.  When hardly anybody missed its magazines during all
 * of it, what they hold keeps slabs from being given back for nobody's benefit:
 * once, and again when there were misses after all.
 */
static bool
maintain(struct umem_cache *cp, void *arg)
{
	uint64_t missed = umem__cpu_misses(cp, PERCPU_POP) +
	    umem__cpu_misses(cp, PERCPU_PUSH) - cp->cache_misses_at;
	bool cold = missed <= MISSES_COLD;

	(void)arg;
	cp->cache_misses_at += missed;
	umem__cache_reap(cp, cold && (missed != 0 || !cp->cache_drained));
	cp->cache_drained = cold;
	if (cold)
		(void)umem__slab_purge(cp);
	return (cold);
}

/* True when there was nothing left to do. */
static bool
round_by_thread(void)
{
	struct vmem__heap_stat heap;
	uint64_t now = os_now_coarse();
	bool quiet = for_each_unlocked(maintain, NULL);

	if (now > SECOND)
		(void)vmem__heap_purge(now - SECOND);
	(void)meta_purge(false);
	vmem__heap_stat(&heap);
	return (quiet && heap.idle_bytes == 0);
}

/* Does nothing of the program run when cp gives back what it holds? */
static bool
calls_nobody(const struct umem_cache *cp)
{
	vmem_free_t *last, *to_heap;

	if (cp->cache_dtor != NULL || cp->cache_ctl != 0)
		return (false);
	if (cp->cache_source == NULL)
		return (true);
	last = vmem__free_calls(cp->cache_source);
	(void)vmem_heap_arena(NULL, &to_heap);
	return (last == NULL || last == to_heap);
}

static void
round_by_caller(uint64_t now)
{
	if (!qr_mutex_tryenter(&umem__list_lock))
		return;
	QR_LIST_FOREACH (cp, &umem__caches, struct umem_cache, cache_link) {
		if (calls_nobody(cp))
			umem__cache_reap(cp, false);
	}
	qr_mutex_exit(&umem__list_lock);
	if (now > SECOND)
		(void)vmem__heap_purge(now - SECOND);
}

/* ---- the thread ---- */

static bool
reap_working_set(struct umem_cache *cp, void *arg)
{
	(void)arg;
	if (cp->cache_reclaim != NULL)
		cp->cache_reclaim(cp->cache_priv);
	umem__cache_reap(cp, false);
	return (true);
}

/* No longer, where a callback has forked and returned in the child. */
static bool
thread_here(void)
{
	return (atomic_load(&thread_state) == THREAD_STARTED);
}

/* Sleep until the deadline, or until CALL_WAKE; reap when asked meanwhile. */
static void
thread_sleep(const struct timespec *deadline)
{
	uint32_t calls = 0;

	while ((calls & CALL_WAKE) == 0 && thread_here()) {
		if (os_park(&thread_calls, 0, deadline) == ETIMEDOUT)
			return;
		calls = atomic_exchange(&thread_calls, 0);
		if ((calls & CALL_REAP) != 0)
			(void)for_each_unlocked(reap_working_set, NULL);
	}
}

static void
thread_sleep_tick(void)
{
	uint64_t until = os_now() + TICK;
	struct timespec deadline = {
	    .tv_sec = (time_t)(until / SECOND),
	    .tv_nsec = (long)(until % SECOND),
	};

	thread_sleep(&deadline);
}

/*
 * Whoever looks around next wakes the thread, though somebody did less than a tick
 * ago.  False when something is idle after all: who freed it came before that.
 */
static bool
thread_goes_idle(void)
{
	struct vmem__heap_stat heap;

	atomic_store(&thread_idle, true);
	atomic_store(&next_tick, 1);
	vmem__heap_stat(&heap);
	if (heap.idle_bytes == 0)
		return (true);
	atomic_store(&thread_idle, false);
	return (false);
}

static void *
thread_main(void *arg)
{
	while (thread_here()) {
		vmem__heap_watch(true);
		thread_sleep_tick();
		if (!round_by_thread())
			continue;
		vmem__heap_watch(false);
		if (thread_goes_idle())
			thread_sleep(NULL);
	}
	return (arg);
}

/*
 * In a control group, who keeps too much is killed.  The heap is as large as
 * the smallest that is worth a look by now, and the thread's caller is who has
 * files opened: in a thread that might take a number which the program expects
 * to get.  Without the thread none are: who is in a sandbox does without it.
 */
static void
mind_limit(void)
{
	size_t limit = os_cgroup_memory(OS_CGROUP_SELF, OS_CGROUP_ROOT);

	vmem__heap_set_limit(limit);
	umem__depot_set_max(qr_min(umem__opt.depot_max, limit / 16));
}

/*
 * False when there is no thread and can be none.  All signals are blocked in
 * it, so that none of the program's goes there.
 */
static bool
thread_start(void)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, saved;
	int state = THREAD_NONE;

	if (umem__opt.nothread)
		return (false);
	if (!atomic_compare_exchange_strong(
		&thread_state, &state, THREAD_STARTED))
		return (state == THREAD_STARTED);
	mind_limit();
	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	state = pthread_create(&thread, &attr, thread_main, NULL) == 0
	    ? THREAD_STARTED
	    : THREAD_REFUSED;
	atomic_store(&thread_state, state);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	pthread_attr_destroy(&attr);
	return (state == THREAD_STARTED);
}

void
umem__update_forked(void)
{
	atomic_store(&thread_state, THREAD_NONE);
	atomic_store(&thread_idle, false);
	atomic_store(&thread_calls, 0);
}

static void
thread_call(uint32_t what)
{
	if (atomic_fetch_or(&thread_calls, what) == 0)
		os_unpark(&thread_calls, 1);
}

static void
thread_wake(void)
{
	if (atomic_load_explicit(&thread_idle, memory_order_relaxed) &&
	    atomic_exchange(&thread_idle, false))
		thread_call(CALL_WAKE);
}

/*
 * Only an allocation starts the thread: the C library frees the thread-local
 * storage of cached stacks under a lock that pthread_create() takes.
 */
void
umem__tick(bool may_start)
{
	uint64_t now, due;

	if (may_start &&
	    atomic_load_explicit(&thread_state, memory_order_relaxed) ==
		THREAD_NONE &&
	    vmem_size(vmem__heap(), VMEM_ALLOC | VMEM_FREE) >= THREAD_MIN)
		(void)thread_start();
	now = os_now_coarse();
	due = atomic_load_explicit(&next_tick, memory_order_relaxed);
	if (now < due ||
	    !atomic_compare_exchange_strong(&next_tick, &due, now + TICK))
		return;
	if (atomic_load_explicit(&thread_state, memory_order_relaxed) ==
	    THREAD_STARTED)
		thread_wake();
	else if (due != 0)
		round_by_caller(now);
}

/* ---- on request ---- */

static _Atomic size_t slab_bytes; /* purged by reap_everything() so far */

static bool
reap_everything(struct umem_cache *cp, void *arg)
{
	(void)arg;
	umem_cache_reap_now(cp);
	atomic_fetch_add(&slab_bytes, umem__slab_purge(cp));
	return (true);
}

/* May it be done now?  Then not again for an interval. */
static bool
reap_due(void)
{
	uint64_t now = os_now();
	uint64_t due = atomic_load_explicit(&next_reap, memory_order_relaxed);

	return (umem__ready() && now >= due &&
	    atomic_compare_exchange_strong(
		&next_reap, &due, now + umem__opt.reap_interval * SECOND));
}

void
umem__reap(void)
{
	if (reap_due())
		(void)for_each_unlocked(reap_working_set, NULL);
}

void
umem_reap(void)
{
	if (!reap_due())
		return;
	if (__libc_single_threaded || !thread_start())
		(void)for_each_unlocked(reap_working_set, NULL);
	else
		thread_call(CALL_REAP);
}

/* For reap_over(): an arena, and whether a cache holds something of it. */
struct over {
	vmem_t *ov_arena;
	bool ov_found;
};

static bool
reap_if_over(struct umem_cache *cp, void *arg)
{
	struct over *ov = arg;

	if (cp->cache_source != NULL &&
	    (cp->cache_source == ov->ov_arena ||
		vmem__imports_from(cp->cache_source, ov->ov_arena))) {
		ov->ov_found = true;
		umem__cache_reap(cp, true);
	}
	return (true);
}

bool
umem__reap_over(vmem_t *arena)
{
	struct over ov = {arena, false};

	(void)for_each_unlocked(reap_if_over, &ov);
	return (ov.ov_found);
}

/* The caller may hold any lock of the program, so that nobody is called back. */
static bool
reap_unseen(struct umem_cache *cp, void *arg)
{
	(void)arg;
	if (cp->cache_source == NULL && cp->cache_dtor == NULL &&
	    cp->cache_ctl == 0)
		umem__cache_reap(cp, true);
	return (true);
}

void
umem__reap_unseen(void)
{
	(void)for_each_unlocked(reap_unseen, NULL);
}

size_t
umem__reap_all(void)
{
	size_t slabs = atomic_load(&slab_bytes);
	struct vmem__heap_stat before, after;

	vmem__heap_stat(&before);
	if (qr_clients.reap != NULL)
		qr_clients.reap();
	(void)for_each_unlocked(reap_everything, NULL);
	(void)vmem__heap_purge(UINT64_MAX);
	vmem__heap_stat(&after);
	return (after.purged - before.purged + atomic_load(&slab_bytes) -
	    slabs + meta_purge(true));
}
