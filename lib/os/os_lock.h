/*
 * os_lock.h - mutexes and condition variables, and the order of all locks.
 *
 * A mutex is one futex word; it never allocates and needs no destruction.
 * Debug builds check the order of acquisition and the owner.
 */
#ifndef QR_OS_LOCK_H
#define QR_OS_LOCK_H

#include "base/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/single_threaded.h>
#include <time.h>

/*
 * A thread acquires locks in ascending rank only.  Two locks of one rank are
 * never held together, except by the fork handlers, which use
 * qr_mutex_enter_nested().
 */
enum qr_rank {
	QR_RANK_NONE = 0, /* not checked */
	QR_RANK_INIT,
	QR_RANK_CLIENT,
	QR_RANK_MTYPE,
	QR_RANK_CACHE_LIST,
	QR_RANK_FRONTS,
	QR_RANK_CPU,
	QR_RANK_DEPOT,
	QR_RANK_SLAB,
	QR_RANK_ARENA_LIST,
	QR_RANK_ARENA,
	QR_RANK_CLEAR,
	QR_RANK_HEAP,
	QR_RANK_MAGAZINES,
	QR_RANK_META_LIST,
	QR_RANK_META,
	QR_RANK_META_CHUNK,
	QR_RANK_PAGEMAP,
	QR_RANK_LOG,
};

enum { QR_MUTEX_FREE = 0, QR_MUTEX_HELD = 1, QR_MUTEX_CONTENDED = 2 };

struct qr_mutex {
	_Atomic uint32_t m_word;  /* QR_MUTEX_*; if contended, held as well */
	_Atomic uint32_t m_owner; /* debug builds: token of the holder, or 0 */
	uint32_t m_rank;          /* enum qr_rank */
};

#define QR_MUTEX_INIT(rank)  \
	{                    \
		0, 0, (rank) \
	}

/*
 * Whatever m was, it is free now, or held by who is between qr_fork_begin() and
 * qr_fork_end().  A child of fork may do this to a mutex that another thread of
 * its parent held.
 */
void qr_mutex_init(struct qr_mutex *m, enum qr_rank rank);
/*
 * As qr_mutex_enter, neither checked for order nor remembered for the checks
 * of others: for the fork handlers, which may hold any number.  The child of
 * fork owns what the forking thread held and may exit it.
 */
void qr_mutex_enter_nested(struct qr_mutex *m);
/*
 * From begin to end the calling thread holds every mutex, by
 * qr_mutex_enter_nested(), and those it makes meanwhile: it enters and exits
 * them to no effect.  For the handlers of others, which run in the middle of
 * fork and may allocate.
 */
void qr_fork_begin(void);
void qr_fork_end(void);
/* Is the calling thread between the two? */
bool qr_fork_here(void);
/* The thread that is between them, or 0. */
extern QR_HIDDEN _Atomic uintptr_t qr_fork__thread;

/* At start-up: how many CPUs there are for holders and waiters to run on. */
void qr_mutex_tune(unsigned cpus);

/* Another thread holds m: wait for it; or waits for m: wake it. */
void qr_mutex__wait(struct qr_mutex *m);
void qr_mutex__wake(struct qr_mutex *m);

/*
 * A process of one thread needs no atomic instructions, which cost more than
 * all else that most holders of a lock do.  The word means the same either way,
 * so that the thread may hold any number of locks while it makes a second one.
 * What is compiled for size calls the copies in os_lock.c.
 */
inline bool
qr_mutex__try(struct qr_mutex *m)
{
	uint32_t expected = QR_MUTEX_FREE;

	if (__libc_single_threaded) {
		if (atomic_load_explicit(&m->m_word, memory_order_relaxed) !=
		    QR_MUTEX_FREE)
			return (false);
		atomic_store_explicit(
		    &m->m_word, QR_MUTEX_HELD, memory_order_relaxed);
		return (true);
	}
	return (atomic_compare_exchange_strong_explicit(&m->m_word, &expected,
	    QR_MUTEX_HELD, memory_order_acquire, memory_order_relaxed));
}

inline void
qr_mutex__lock(struct qr_mutex *m)
{
	if (QR_UNLIKELY(!qr_mutex__try(m)))
		qr_mutex__wait(m);
}

inline void
qr_mutex__unlock(struct qr_mutex *m)
{
	if (__libc_single_threaded)
		atomic_store_explicit(
		    &m->m_word, QR_MUTEX_FREE, memory_order_release);
	else if (QR_UNLIKELY(atomic_exchange_explicit(&m->m_word, QR_MUTEX_FREE,
				 memory_order_release) == QR_MUTEX_CONTENDED))
		qr_mutex__wake(m);
}

/* Unless there is somebody to wake. */
inline bool
qr_mutex__tryunlock(struct qr_mutex *m)
{
	uint32_t expected = QR_MUTEX_HELD;

	if (__libc_single_threaded) {
		atomic_store_explicit(
		    &m->m_word, QR_MUTEX_FREE, memory_order_release);
		return (true);
	}
	return (atomic_compare_exchange_strong_explicit(&m->m_word, &expected,
	    QR_MUTEX_FREE, memory_order_release, memory_order_relaxed));
}

inline bool
qr_mutex__forking(void)
{
	return (QR_UNLIKELY(atomic_load_explicit(
				&qr_fork__thread, memory_order_relaxed) != 0) &&
	    qr_fork_here());
}

/*
 * Debug builds verify the order, and that who exits m holds it.  Those that try
 * make no call: true when m was taken, or left; else the caller does as if it
 * had not tried.  To try to enter may be out of order, for it never waits.
 */
#ifdef QR_DEBUG
void qr_mutex_enter(struct qr_mutex *m);
void qr_mutex_exit(struct qr_mutex *m);
bool qr_mutex_tryenter(struct qr_mutex *m);
bool qr_mutex_tryexit(struct qr_mutex *m);
/* Verify that the caller holds m. */
void qr_mutex_assert_held(struct qr_mutex *m);
#else
inline void
qr_mutex_enter(struct qr_mutex *m)
{
	if (!qr_mutex__forking())
		qr_mutex__lock(m);
}

inline void
qr_mutex_exit(struct qr_mutex *m)
{
	if (!qr_mutex__forking())
		qr_mutex__unlock(m);
}

inline bool
qr_mutex_tryenter(struct qr_mutex *m)
{
	return (QR_LIKELY(qr_mutex__try(m)));
}

inline bool
qr_mutex_tryexit(struct qr_mutex *m)
{
	return (QR_LIKELY(
	    atomic_load_explicit(&qr_fork__thread, memory_order_relaxed) == 0 &&
	    qr_mutex__tryunlock(m)));
}

static inline void
qr_mutex_assert_held(struct qr_mutex *m)
{
	(void)m;
}
#endif

struct qr_cond {
	_Atomic uint32_t c_seq;     /* bumped by each wake-up */
	_Atomic uint32_t c_waiters; /* sleepers, so that nobody costs nothing */
};

#define QR_COND_INIT \
	{            \
		0, 0 \
	}

/* No sleepers; a child of fork may do this, its parent's are not there. */
void qr_cond_init(struct qr_cond *c);

/*
 * Release m, sleep, take m again.  Wake-ups may be spurious.  The timed form
 * returns false once `deadline` (absolute CLOCK_MONOTONIC, NULL = for ever)
 * has passed.  Neither is a cancellation point.
 */
void qr_cond_wait(struct qr_cond *c, struct qr_mutex *m);
bool qr_cond_timedwait(
    struct qr_cond *c, struct qr_mutex *m, const struct timespec *deadline);
/*
 * Wake one sleeper, or all.  What they wait for was changed under m; m itself
 * need not be held any more.
 */
void qr_cond_signal(struct qr_cond *c);
void qr_cond_broadcast(struct qr_cond *c);

#endif /* QR_OS_LOCK_H */
