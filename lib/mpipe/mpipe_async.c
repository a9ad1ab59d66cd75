/*
 * mpipe_async.c - requests with a callback, and the thread that calls them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include "base/bits.h"
#include "base/fmt.h"
#include "base/panic.h"
#include "os/os.h"

#include <quarry/umem.h>

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>

/* ---- the thread ---- */

/* Call one callback.  The lock is held, and dropped meanwhile. */
static void
run(struct mpipe *mp, struct mpipe_waiter *w)
{
	struct mpipe_rec *rec = w->w_rec;
	bool gift = w->w_kind == MPIPE_CALLBACK;

	qr_list_remove(&w->w_link);
	mp->mp_running = true;
	if (gift)
		mp->mp_gift = rec;
	else if (w->w_missed)
		mp->mp_misses++;
	mpipe__exit(mp);
	w->w_func(gift ? w->w_arg1 : mpipe__out(rec), w->w_arg2);
	umem_free(w, sizeof(*w));
	mpipe__enter(mp);
	rec = mp->mp_gift;
	mp->mp_gift = NULL;
	if (rec != NULL)
		mpipe__give(mp, rec);
	mp->mp_running = false;
	if (mp->mp_exiting)
		qr_cond_broadcast(&mp->mp_cond);
	mpipe__exit(mp);
	mpipe__enter(mp);
}

/* When the oldest waiter is a request, this thread tries to grow for it. */
struct retrying {
	uint64_t re_ticket; /* for whom */
	uint64_t re_next;   /* when */
	uint64_t re_pause;
};

/*
 * Try to grow if it is time.  Returns when it will be; if not before something
 * has changed, whoever changes it has to arm the request again.  The lock is
 * held, and may be dropped.
 */
static uint64_t
retry(struct mpipe *mp, struct retrying *re)
{
	struct mpipe_waiter *w = mpipe__oldest(mp);

	if (w == NULL || w->w_kind == MPIPE_THREAD)
		return (UINT64_MAX);
	if (mp->mp_exiting ||
	    mp->mp_pipe->total_count >= mp->mp_pipe->max_count) {
		w->w_armed = false;
		return (UINT64_MAX);
	}
	if (w->w_ticket != re->re_ticket)
		*re = (struct retrying){w->w_ticket, 0, MPIPE_RETRY_MIN_NS};
	if (os_now() < re->re_next)
		return (re->re_next);
	re->re_next = os_now() + re->re_pause;
	re->re_pause = qr_min(re->re_pause * 2, MPIPE_RETRY_MAX_NS);
	(void)mpipe__serve(mp);
	mpipe__exit(mp);
	mpipe__enter(mp);
	return (0);
}

static void
name_thread(const struct mpipe *mp)
{
	char name[16];

	(void)qr_snprintf(
	    name, sizeof(name), "mpipe_%s", mp->mp_type->ks_shortdesc);
	(void)prctl(PR_SET_NAME, name);
}

static void *
helper_main(void *arg)
{
	struct mpipe *mp = arg;
	struct retrying re = {0, 0, 0};

	name_thread(mp);
	mpipe__enter(mp);
	mp->mp_helper = pthread_self();
	mp->mp_state = MPIPE_HELPER;
	qr_cond_broadcast(&mp->mp_cond);
	while (!mp->mp_stop) {
		uint64_t until = 0;

		if (!qr_list_empty(&mp->mp_ready) && !mp->mp_exiting)
			run(mp,
			    QR_LIST_FIRST(
				&mp->mp_ready, struct mpipe_waiter, w_link));
		else
			until = retry(mp, &re);
		if (until != 0) {
			struct timespec ts = mpipe__timespec(until);

			(void)qr_cond_timedwait(&mp->mp_work, &mp->mp_lock,
			    until == UINT64_MAX ? NULL : &ts);
		}
	}
	mp->mp_state = MPIPE_NO_HELPER;
	qr_cond_broadcast(&mp->mp_cond);
	mpipe__exit(mp);
	return (NULL);
}

/* All signals are blocked in it, so that none of the program's goes there. */
static int
thread_create(struct mpipe *mp)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, saved;
	int error;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	error = pthread_create(&thread, &attr, helper_main, mp);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	pthread_attr_destroy(&attr);
	return (error);
}

int
mpipe__helper_start(struct mpipe *mp)
{
	int error;

	if (mp->mp_state == MPIPE_NO_HELPER) {
		mp->mp_state = MPIPE_STARTING;
		mp->mp_stop = false;
		mpipe__exit(mp);
		error = thread_create(mp);
		mpipe__enter(mp);
		if (error != 0) {
			mp->mp_state = MPIPE_NO_HELPER;
			qr_cond_broadcast(&mp->mp_cond);
			return (error);
		}
	}
	while (mp->mp_state == MPIPE_STARTING)
		qr_cond_wait(&mp->mp_cond, &mp->mp_lock);
	return (mp->mp_state == MPIPE_HELPER ? 0 : EAGAIN);
}

void
mpipe__helper_stop(struct mpipe *mp)
{
	mpipe__enter(mp);
	mp->mp_stop = true;
	qr_cond_broadcast(&mp->mp_work);
	while (mp->mp_state != MPIPE_NO_HELPER)
		qr_cond_wait(&mp->mp_cond, &mp->mp_lock);
	mpipe__exit(mp);
}

/* The lock is held. */
static bool
is_helper(struct mpipe *mp)
{
	return (mp->mp_state == MPIPE_HELPER &&
	    pthread_equal(mp->mp_helper, pthread_self()) != 0);
}

bool
mpipe__is_helper(struct mpipe *mp)
{
	bool is;

	mpipe__enter(mp);
	is = is_helper(mp);
	mpipe__exit(mp);
	return (is);
}

struct mpipe_rec *
mpipe__gift(struct mpipe *mp)
{
	struct mpipe_rec *rec = mp->mp_gift;

	if (QR_LIKELY(rec == NULL) || !is_helper(mp))
		return (NULL);
	mp->mp_gift = NULL;
	mp->mp_misses++;
	return (rec);
}

/* ---- requests ---- */

/* A request that is not in any list. */
static struct mpipe_waiter *
request_make(
    enum mpipe_kind kind, void (*func)(void *, void *), void *arg1, void *arg2)
{
	struct mpipe_waiter *w = umem_zalloc(sizeof(*w), UMEM_DEFAULT);

	if (w == NULL)
		return (NULL);
	w->w_kind = kind;
	w->w_func = func;
	w->w_arg1 = arg1;
	w->w_arg2 = arg2;
	return (w);
}

/* Have a buffer delivered, or stand in line for one.  The lock is held. */
static void
request_queue(struct mpipe *mp, struct mpipe_waiter *w, struct mpipe_rec *rec)
{
	w->w_ticket = ++mp->mp_ticket;
	w->w_mp = mp;
	w->w_rec = rec;
	if (rec == NULL) {
		mpipe__enqueue(mp, w, false);
	} else {
		qr_list_push_back(&mp->mp_ready, &w->w_link);
		mp->mp_care = true;
	}
}

/* Can a request be queued?  0 or an errno; the lock is held. */
static int
may_queue(struct mpipe *mp)
{
	int error = mp->mp_exiting ? ESHUTDOWN : mpipe__helper_start(mp);

	return (mp->mp_exiting ? ESHUTDOWN : error);
}

int
mpipe_alloc_async(malloc_pipe_t pipe, void (*func)(void *buf, void *arg),
    void *arg, uint64_t *ticket)
{
	struct mpipe *mp = mpipe__of(pipe, "mpipe_alloc_async");
	struct mpipe_waiter *w;
	struct mpipe_rec *rec;
	int error, found;

	if (mp == NULL || func == NULL)
		return (EINVAL);
	w = request_make(MPIPE_ASYNC, func, NULL, arg);
	if (w == NULL)
		return (ENOMEM);
	mpipe__enter(mp);
	error = may_queue(mp);
	if (error == 0) {
		rec = mpipe__take(mp, &found);
		w->w_missed = rec != NULL && found == 0;
		if (w->w_missed)
			mp->mp_misses--;
		request_queue(mp, w, rec);
		if (ticket != NULL)
			*ticket = w->w_ticket;
	}
	mpipe__exit(mp);
	if (error != 0)
		umem_free(w, sizeof(*w));
	return (error);
}

void *
mpipe_alloc_callback(
    malloc_pipe_t pipe, void (*func)(void *, void *), void *arg1, void *arg2)
{
	struct mpipe_waiter *w = NULL;
	struct mpipe_rec *rec = NULL;
	struct mpipe *mp;
	void *buf;
	int error;

	if (func == NULL) {
		errno = EINVAL;
		return (NULL);
	}
	buf = mpipe_alloc_nowait(pipe);
	mp = pipe->handle;
	if (buf != NULL || mp == NULL)
		return (buf);
	w = request_make(MPIPE_CALLBACK, func, arg1, arg2);
	if (w == NULL) {
		errno = ENOMEM;
		return (NULL);
	}
	mpipe__enter(mp);
	error = may_queue(mp);
	if (error == 0 && (rec = mpipe__take(mp, &error)) == NULL) {
		request_queue(mp, w, NULL);
		w = NULL;
		error = EINPROGRESS;
	}
	mpipe__exit(mp);
	if (w != NULL)
		umem_free(w, sizeof(*w));
	if (rec != NULL)
		return (mpipe__out(rec));
	errno = error;
	return (NULL);
}

/* The request of a ticket, or NULL; the lock is held. */
static struct mpipe_waiter *
find(struct qr_list *list, uint64_t ticket)
{
	QR_LIST_FOREACH (w, list, struct mpipe_waiter, w_link) {
		if (w->w_kind == MPIPE_ASYNC && w->w_ticket == ticket)
			return (w);
	}
	return (NULL);
}

int
mpipe_cancel(malloc_pipe_t pipe, uint64_t ticket)
{
	struct mpipe *mp = mpipe__of(pipe, "mpipe_cancel");
	struct mpipe_waiter *w;

	if (mp == NULL)
		return (0);
	mpipe__enter(mp);
	w = find(&mp->mp_queue, ticket);
	if (w == NULL)
		w = find(&mp->mp_ready, ticket);
	if (w != NULL) {
		qr_list_remove(&w->w_link);
		if (w->w_rec != NULL)
			mpipe__give(mp, w->w_rec);
	}
	mpipe__exit(mp);
	if (w != NULL)
		umem_free(w, sizeof(*w));
	return (w != NULL);
}

/* ---- mpipe_done ---- */

void
mpipe__async_take_all(struct mpipe *mp, struct qr_list *left)
{
	qr_list_init(left);
	QR_LIST_FOREACH_SAFE (w, &mp->mp_ready, struct mpipe_waiter, w_link) {
		qr_list_remove(&w->w_link);
		mpipe__free_push(mp, w->w_rec);
		qr_list_push_back(left, &w->w_link);
	}
	QR_LIST_FOREACH_SAFE (w, &mp->mp_queue, struct mpipe_waiter, w_link) {
		qr_list_remove(&w->w_link);
		qr_list_push_back(left, &w->w_link);
	}
}

void
mpipe__async_cancel(struct qr_list *left)
{
	QR_LIST_FOREACH_SAFE (w, left, struct mpipe_waiter, w_link) {
		w->w_func(
		    w->w_kind == MPIPE_ASYNC ? NULL : w->w_arg1, w->w_arg2);
		umem_free(w, sizeof(*w));
	}
}
