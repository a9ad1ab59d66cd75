/*
 * os_lock.h - mutexes and condition variables, and the order of all locks.
 *
 * A mutex is one futex word; it never allocates and needs no destruction.
 * Debug builds check the order of acquisition and the owner.
 */
#ifndef QR_OS_LOCK_H
#define QR_OS_LOCK_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stdint.h>
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
	QR_RANK_CACHE_LIST,
	QR_RANK_FRONTS,
	QR_RANK_CPU,
	QR_RANK_DEPOT,
	QR_RANK_SLAB,
	QR_RANK_ARENA_LIST,
	QR_RANK_ARENA,
	QR_RANK_HEAP,
	QR_RANK_META,
	QR_RANK_META_CHUNK,
	QR_RANK_PAGEMAP,
	QR_RANK_LOG,
};

struct qr_mutex {
	_Atomic uint32_t m_word;  /* 0 free, 1 held, 2 held and waited for */
	_Atomic uint32_t m_owner; /* debug builds: token of the holder, or 0 */
	uint32_t m_rank;          /* enum qr_rank */
};

#define QR_MUTEX_INIT(rank)  \
	{                    \
		0, 0, (rank) \
	}

/*
 * Whatever m was, it is free now.  A child of fork may do this to a mutex that
 * another thread of its parent held.
 */
void qr_mutex_init(struct qr_mutex *m, enum qr_rank rank);
void qr_mutex_enter(struct qr_mutex *m);
/*
 * As qr_mutex_enter, neither checked for order nor remembered for the checks
 * of others: for the fork handlers, which may hold any number.  The child of
 * fork owns what the forking thread held and may exit it.
 */
void qr_mutex_enter_nested(struct qr_mutex *m);
/* True when taken; never waits, so it may be out of order. */
bool qr_mutex_tryenter(struct qr_mutex *m);
void qr_mutex_exit(struct qr_mutex *m);
/* Debug builds verify that the caller holds m. */
void qr_mutex_assert_held(struct qr_mutex *m);

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
