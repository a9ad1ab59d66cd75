/*
 * mpipe_wait.c - threads that wait for a buffer.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE 1 /* sem_clockwait */

#include "mpipe/mpipe_impl.h"

#include "base/bits.h"
#include "os/os.h"

#include <errno.h>

enum { NS_PER_S = 1000000000 };

/* How patient a request is. */
struct patience {
	uint64_t pa_until; /* of CLOCK_MONOTONIC; UINT64_MAX: for ever */
	bool pa_intr;      /* a signal handler ends it */
};

struct timespec
mpipe__timespec(uint64_t ns)
{
	return (
	    (struct timespec){(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)});
}

/* A malformed deadline has passed. */
static uint64_t
ns_of(const struct timespec *ts)
{
	if (ts->tv_sec < 0 || ts->tv_nsec < 0 || ts->tv_nsec >= NS_PER_S)
		return (0);
	if ((uint64_t)ts->tv_sec >= UINT64_MAX / NS_PER_S / 2)
		return (UINT64_MAX);
	return ((uint64_t)ts->tv_sec * NS_PER_S + (uint64_t)ts->tv_nsec);
}

/* ---- sleeping ---- */

/*
 * It has been given a buffer: wait until who gave it has left.  The lock is
 * not held.
 */
static struct mpipe_rec *
receive(struct mpipe_waiter *w)
{
	for (; w->w_taken < w->w_posts; w->w_taken++) {
		while (sem_wait(&w->w_wake) != 0)
			continue;
	}
	return (w->w_rec);
}

/*
 * The thread was cancelled in its sleep.  The oldest waiter may be another one
 * now, and a buffer that was given in this moment is the next one's.
 */
static void
abandon(void *arg)
{
	struct mpipe_waiter *w = arg;
	struct mpipe *mp = w->w_mp;
	bool granted;

	mpipe__enter(mp);
	granted = w->w_rec != NULL;
	if (!granted)
		mpipe__dequeue(w);
	mpipe__exit(mp);
	if (!granted)
		return;
	(void)receive(w);
	mpipe__enter(mp);
	mp->mp_misses--;
	mpipe__give(mp, w->w_rec);
	mpipe__exit(mp);
}

/*
 * Sleep until woken, `until`, or a signal handler has run: 0, ETIMEDOUT, EINTR.
 * `cancel` is the state of cancellation meanwhile.
 *
 * In a semaphore, because that is a cancellation point.  A futex is none, and
 * asynchronous cancellation around it may find a race detector in its part of
 * pthread_setcanceltype(), with locks held that its other parts wait for.
 */
static int
doze(struct mpipe_waiter *w, uint64_t until, int cancel)
{
	struct timespec deadline =
	    mpipe__timespec(qr_min(until, (uint64_t)INT32_MAX * NS_PER_S));
	int failed, off;

	pthread_cleanup_push(abandon, w);
	(void)pthread_setcancelstate(cancel, &off);
	failed = sem_clockwait(&w->w_wake, CLOCK_MONOTONIC, &deadline);
	(void)pthread_setcancelstate(off, &off);
	pthread_cleanup_pop(0);
	if (failed != 0)
		return (errno);
	w->w_taken++;
	return (0);
}

/* ---- waiting ---- */

/*
 * There may be more buffers than there are: try, if that is up to this waiter.
 * What comes of it may be ours, or an older request's, and then try again.  The
 * lock is held, and dropped meanwhile.
 */
static void
retry(struct mpipe *mp, struct mpipe_waiter *w, uint64_t *pause, uint64_t *next)
{
	bool mine = mpipe__grower(mp) == w;

	/* It is woken when it is its turn again, but no sooner than this. */
	if (!mine && *next <= os_now())
		w->w_armed = false;
	while (mine && w->w_rec == NULL && !mp->mp_exiting &&
	    mp->mp_pipe->total_count < mp->mp_pipe->max_count &&
	    mpipe__serve(mp))
		mine = mpipe__grower(mp) == w;
	*next = os_now() + *pause;
	*pause = qr_min(*pause * 2, MPIPE_RETRY_MAX_NS);
}

/*
 * Why a waiter that has no buffer gives up, or 0: not yet.  The lock is held.
 */
static int
give_up(struct mpipe_waiter *w, const struct patience *pa, int slept)
{
	if (w->w_rec != NULL)
		return (0);
	if (pa->pa_intr && slept == EINTR)
		return (EINTR);
	return (pa->pa_until <= os_now() ? ETIMEDOUT : 0);
}

/*
 * In line, lock held, until there is a buffer, 0, or why there is none; the
 * lock is released.
 */
static int
await(struct mpipe_waiter *w, const struct patience *pa, int cancel)
{
	struct mpipe *mp = w->w_mp;
	uint64_t pause = MPIPE_RETRY_MIN_NS;
	uint64_t next = os_now() + pause;
	int error;

	/* Who is armed has tried, and makes the first pause now. */
	if (w->w_armed)
		pause *= 2;
	do {
		bool may_retry = w->w_armed;
		uint64_t until =
		    may_retry ? qr_min(next, pa->pa_until) : pa->pa_until;
		int slept;

		mpipe__exit(mp);
		slept = doze(w, until, cancel);
		if (atomic_load_explicit(&w->w_granted, memory_order_acquire))
			return (0);
		mpipe__enter(mp);
		if (w->w_rec == NULL &&
		    (slept == 0 || (may_retry && next <= os_now())))
			retry(mp, w, &pause, &next);
		error = give_up(w, pa, slept);
	} while (w->w_rec == NULL && error == 0);
	if (w->w_rec == NULL)
		mpipe__dequeue(w);
	mpipe__exit(mp);
	return (error);
}

/*
 * Stand in line, lock held, until there is a buffer; the lock is released.  The
 * thread can be cancelled in its sleep only, if at all.
 */
static struct mpipe_rec *
stand_in_line(struct mpipe *mp, const struct patience *pa, bool armed)
{
	struct mpipe_waiter w = {.w_kind = MPIPE_THREAD};
	struct mpipe_rec *rec = NULL;
	int error, old, saved = errno;

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
	(void)sem_init(&w.w_wake, 0, 0);
	mpipe__enqueue(mp, &w, armed);
	error = await(&w, pa,
	    (mp->mp_flags & MPF_CANCEL) != 0 ? old : PTHREAD_CANCEL_DISABLE);
	if (error == 0)
		rec = receive(&w);
	(void)pthread_setcancelstate(old, &old);
	errno = error == 0 ? saved : error;
	return (rec);
}

static void *
alloc_wait(malloc_pipe_t pipe, const struct patience *pa, const char *who)
{
	struct mpipe *mp = mpipe__of(pipe, who);
	struct mpipe_here here;
	struct mpipe_rec *rec;
	int error;

	if (QR_UNLIKELY(mp == NULL))
		return (NULL);
	rec = mpipe__front_pop(mp, &here);
	if (rec != NULL)
		return (mpipe__out(rec));
	mpipe__enter(mp);
	mpipe__front_prepare(mp);
	rec = mpipe__take(mp, &error);
	if (rec != NULL) {
		mpipe__front_after(mp, &here, false);
		mpipe__exit(mp);
	} else if (pa->pa_until <= os_now() || mp->mp_exiting) {
		error = mp->mp_exiting ? ESHUTDOWN : ETIMEDOUT;
		mpipe__exit(mp);
		errno = error;
	} else {
		rec = stand_in_line(mp, pa, error != EAGAIN);
	}
	return (rec == NULL ? NULL : mpipe__out(rec));
}

void *
mpipe_alloc_waitok(malloc_pipe_t pipe)
{
	struct patience pa = {UINT64_MAX, false};

	return (alloc_wait(pipe, &pa, "mpipe_alloc_waitok"));
}

void *
mpipe_alloc_timed(malloc_pipe_t pipe, const struct timespec *deadline)
{
	struct patience pa = {
	    deadline == NULL ? UINT64_MAX : ns_of(deadline), false};

	return (alloc_wait(pipe, &pa, "mpipe_alloc_timed"));
}

void *
mpipe_alloc_intr(malloc_pipe_t pipe)
{
	struct patience pa = {UINT64_MAX, true};

	return (alloc_wait(pipe, &pa, "mpipe_alloc_intr"));
}

void
mpipe_wait(malloc_pipe_t pipe)
{
	struct mpipe *mp = mpipe__of(pipe, "mpipe_wait");

	if (mp == NULL)
		return;
	mpipe__enter(mp);
	while (!mp->mp_exiting && mp->mp_free == NULL) {
		if (mpipe__front_close(mp))
			continue;
		mp->mp_watchers++;
		mp->mp_care = true;
		qr_cond_wait(&mp->mp_cond, &mp->mp_lock);
		mp->mp_watchers--;
	}
	if (mp->mp_exiting)
		qr_cond_broadcast(&mp->mp_cond);
	mpipe__exit(mp);
}
