/*
 * os_lock.c - mutexes and condition variables on futexes.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "os/os_lock.h"

#include "base/panic.h"
#include "base/races.h"
#include "os/os.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

extern inline bool qr_mutex__try(struct qr_mutex *m);
extern inline void qr_mutex__lock(struct qr_mutex *m);
extern inline void qr_mutex__unlock(struct qr_mutex *m);
extern inline bool qr_mutex__tryunlock(struct qr_mutex *m);
extern inline bool qr_mutex__forking(void);

/* Looks at a held mutex before its waiter goes to sleep. */
enum { SPIN_LIMIT = 100 };

#if defined(__x86_64__)
static inline void
cpu_pause(void)
{
	__builtin_ia32_pause();
}
#elif defined(__aarch64__)
static inline void
cpu_pause(void)
{
	__asm__ __volatile__("isb" ::: "memory");
}
#else
static inline void
cpu_pause(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}
#endif

#ifdef QR_DEBUG

/* Locks one thread may hold at once, those of the fork handlers aside. */
enum { HELD_MAX = 16 };

/* The locks the thread entered and has not left, in that order. */
struct held {
	unsigned h_count;
	struct qr_mutex *h_mutex[HELD_MAX];
};

/* The default model could allocate on first use, that is, inside malloc. */
static __thread struct held held __attribute__((tls_model("initial-exec")));

/*
 * Tells threads apart by where their TLS is, not by their kernel id, so that
 * the child of fork still owns what the forking thread held.
 */
static uint32_t
owner_token(void)
{
	return ((uint32_t)((uintptr_t)&held / _Alignof(struct held)) | 1);
}

static uint32_t
owner_of(struct qr_mutex *m)
{
	return (atomic_load_explicit(&m->m_owner, memory_order_relaxed));
}

static void
check_not_mine(struct qr_mutex *m)
{
	if (owner_of(m) == owner_token())
		qr_fatal("quarry: lock of rank %u entered twice", m->m_rank);
}

static void
check_order(struct qr_mutex *m)
{
	check_not_mine(m);
	if (m->m_rank == QR_RANK_NONE)
		return;
	for (unsigned i = 0; i < held.h_count; i++) {
		if (held.h_mutex[i]->m_rank >= m->m_rank)
			qr_fatal("quarry: lock of rank %u entered while one of "
				 "rank %u is held",
			    m->m_rank, held.h_mutex[i]->m_rank);
	}
}

static void
note_owner(struct qr_mutex *m)
{
	QR_TELL_LOCKED(m);
	atomic_store_explicit(&m->m_owner, owner_token(), memory_order_relaxed);
}

static void
note_enter(struct qr_mutex *m)
{
	note_owner(m);
	QR_VERIFY(held.h_count < HELD_MAX);
	held.h_mutex[held.h_count++] = m;
}

static void
note_exit(struct qr_mutex *m)
{
	qr_mutex_assert_held(m);
	atomic_store_explicit(&m->m_owner, 0, memory_order_relaxed);
	QR_TELL_UNLOCKED(m);
	for (unsigned i = held.h_count; i-- > 0;) {
		if (held.h_mutex[i] == m) {
			held.h_count--;
			for (; i < held.h_count; i++)
				held.h_mutex[i] = held.h_mutex[i + 1];
			return;
		}
	}
}

void
qr_mutex_assert_held(struct qr_mutex *m)
{
	if (owner_of(m) != owner_token())
		qr_fatal("quarry: lock of rank %u is not held by its user",
		    m->m_rank);
}

void
qr_mutex_enter(struct qr_mutex *m)
{
	if (qr_mutex__forking())
		return;
	check_order(m);
	qr_mutex__lock(m);
	note_enter(m);
}

void
qr_mutex_exit(struct qr_mutex *m)
{
	if (qr_mutex__forking())
		return;
	note_exit(m);
	qr_mutex__unlock(m);
}

bool
qr_mutex_tryenter(struct qr_mutex *m)
{
	if (!qr_mutex__try(m))
		return (false);
	note_enter(m);
	return (true);
}

bool
qr_mutex_tryexit(struct qr_mutex *m)
{
	qr_mutex_exit(m);
	return (true);
}

#else

extern inline void qr_mutex_enter(struct qr_mutex *m);
extern inline void qr_mutex_exit(struct qr_mutex *m);
extern inline bool qr_mutex_tryenter(struct qr_mutex *m);
extern inline bool qr_mutex_tryexit(struct qr_mutex *m);

static inline void
check_not_mine(struct qr_mutex *m)
{
	(void)m;
}

static inline void
note_owner(struct qr_mutex *m)
{
	(void)m;
}

#endif

void
qr_mutex_init(struct qr_mutex *m, enum qr_rank rank)
{
	bool forking = qr_mutex__forking();

	atomic_store_explicit(&m->m_word,
	    forking ? QR_MUTEX_HELD : QR_MUTEX_FREE, memory_order_relaxed);
	atomic_store_explicit(&m->m_owner, 0, memory_order_relaxed);
	m->m_rank = rank;
	if (forking)
		note_owner(m);
}

static _Atomic int spins = SPIN_LIMIT;

/* On a single CPU the holder cannot make progress while we look. */
void
qr_mutex_tune(unsigned cpus)
{
	atomic_store_explicit(
	    &spins, cpus > 1 ? SPIN_LIMIT : 0, memory_order_relaxed);
}

/* A mutex others already sleep on is not worth spinning for. */
static bool
spin(struct qr_mutex *m)
{
	for (int i = atomic_load_explicit(&spins, memory_order_relaxed); i > 0;
	     i--) {
		uint32_t word =
		    atomic_load_explicit(&m->m_word, memory_order_relaxed);

		if (word == QR_MUTEX_FREE && qr_mutex__try(m))
			return (true);
		if (word == QR_MUTEX_CONTENDED)
			return (false);
		cpu_pause();
	}
	return (false);
}

/*
 * Who has slept takes the mutex as QR_MUTEX_CONTENDED, since it cannot know whether
 * more sleep: at worst one wake-up too many.
 */
void
qr_mutex__wait(struct qr_mutex *m)
{
	if (spin(m))
		return;
	while (atomic_exchange_explicit(&m->m_word, QR_MUTEX_CONTENDED,
		   memory_order_acquire) != QR_MUTEX_FREE)
		(void)os_park(&m->m_word, QR_MUTEX_CONTENDED, NULL);
}

void
qr_mutex__wake(struct qr_mutex *m)
{
	os_unpark(&m->m_word, 1);
}

void
qr_mutex_enter_nested(struct qr_mutex *m)
{
	check_not_mine(m);
	qr_mutex__lock(m);
	note_owner(m);
}

/* ---- fork ---- */

_Atomic uintptr_t qr_fork__thread;

/* The same thread has the same in the child. */
bool
qr_fork_here(void)
{
	return (atomic_load_explicit(&qr_fork__thread, memory_order_relaxed) ==
	    (uintptr_t)pthread_self());
}

void
qr_fork_begin(void)
{
	atomic_store_explicit(
	    &qr_fork__thread, (uintptr_t)pthread_self(), memory_order_relaxed);
}

void
qr_fork_end(void)
{
	atomic_store_explicit(&qr_fork__thread, 0, memory_order_relaxed);
}

void
qr_cond_init(struct qr_cond *c)
{
	atomic_store_explicit(&c->c_seq, 0, memory_order_relaxed);
	atomic_store_explicit(&c->c_waiters, 0, memory_order_relaxed);
}

/*
 * No wake-up is lost: the sleeper counts itself and reads c_seq under m, so
 * whoever changes, later and under m, what it waits for sees the count and
 * bumps c_seq; the kernel then wakes the sleeper, or does not let it sleep.
 */
bool
qr_cond_timedwait(
    struct qr_cond *c, struct qr_mutex *m, const struct timespec *deadline)
{
	uint32_t seq;
	int error;

	qr_mutex_assert_held(m);
	atomic_fetch_add_explicit(&c->c_waiters, 1, memory_order_relaxed);
	seq = atomic_load_explicit(&c->c_seq, memory_order_relaxed);
	qr_mutex_exit(m);
	error = os_park(&c->c_seq, seq, deadline);
	atomic_fetch_sub_explicit(&c->c_waiters, 1, memory_order_relaxed);
	qr_mutex_enter(m);
	return (error != ETIMEDOUT);
}

void
qr_cond_wait(struct qr_cond *c, struct qr_mutex *m)
{
	(void)qr_cond_timedwait(c, m, NULL);
}

static void
wake(struct qr_cond *c, int n)
{
	if (atomic_load_explicit(&c->c_waiters, memory_order_relaxed) == 0)
		return;
	atomic_fetch_add_explicit(&c->c_seq, 1, memory_order_relaxed);
	os_unpark(&c->c_seq, n);
}

void
qr_cond_signal(struct qr_cond *c)
{
	wake(c, 1);
}

void
qr_cond_broadcast(struct qr_cond *c)
{
	wake(c, INT_MAX);
}
