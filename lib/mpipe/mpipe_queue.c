/*
 * mpipe_queue.c - who gets a buffer: free ones, new ones, and those who wait.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include "base/panic.h"
#include "os/os.h"

#include <errno.h>

/* ---- records ---- */

/* The lock is held by all callers of what follows. */
void
mpipe__note_grown(struct mpipe *mp)
{
	const struct malloc_pipe *p = mp->mp_pipe;

	atomic_store_explicit(
	    &mp->mp_grown, p->total_count > p->ary_count, memory_order_relaxed);
}

void
mpipe__attach(struct mpipe *mp, struct mpipe_rec *rec)
{
	mpipe__table_insert(mp, rec);
	mpipe__note_grown(mp);
}

void
mpipe__detach(struct mpipe *mp, struct mpipe_rec *rec)
{
	mpipe__table_remove(mp, rec);
	mp->mp_stats.allocs += (atomic_load(&rec->r_uses) + 1) / 2;
	mp->mp_pipe->total_count--;
	mp->mp_leaving++;
	mpipe__note_grown(mp);
}

void
mpipe__give_up(struct mpipe *mp, struct mpipe_rec *rec)
{
	mpipe__detach(mp, rec);
	rec->r_next = mp->mp_surplus;
	mp->mp_surplus = rec;
	mp->mp_care = true;
}

/* ---- waiters ---- */

struct mpipe_waiter *
mpipe__oldest(struct mpipe *mp)
{
	return (qr_list_empty(&mp->mp_queue)
		? NULL
		: QR_LIST_FIRST(&mp->mp_queue, struct mpipe_waiter, w_link));
}

struct mpipe_waiter *
mpipe__grower(struct mpipe *mp)
{
	if (mp->mp_running && !qr_list_empty(&mp->mp_threads))
		return (QR_LIST_FIRST(
		    &mp->mp_threads, struct mpipe_waiter, w_thread));
	return (mpipe__oldest(mp));
}

void
mpipe__enqueue(struct mpipe *mp, struct mpipe_waiter *w, bool armed)
{
	QR_ASSERT(mp->mp_free == NULL && !mp->mp_open && !mp->mp_closing);
	w->w_mp = mp;
	w->w_since = os_now();
	mp->mp_stats.sleeps++;
	mp->mp_care = true;
	qr_list_push_back(&mp->mp_queue, &w->w_link);
	if (w->w_kind == MPIPE_THREAD)
		qr_list_push_back(&mp->mp_threads, &w->w_thread);
	w->w_armed = armed && mpipe__grower(mp) == w;
}

void
mpipe__dequeue(struct mpipe_waiter *w)
{
	qr_list_remove(&w->w_link);
	if (w->w_kind == MPIPE_THREAD)
		qr_list_remove(&w->w_thread);
}

static void
grant(struct mpipe *mp, struct mpipe_waiter *w, struct mpipe_rec *rec)
{
	uint64_t waited = os_now() - w->w_since;

	mp->mp_stats.wait_ns += waited;
	if (waited > mp->mp_stats.wait_ns_max)
		mp->mp_stats.wait_ns_max = waited;
	if (w->w_kind == MPIPE_THREAD) {
		mp->mp_misses++;
		w->w_posts++;
	}
	w->w_missed = true;
	w->w_rec = rec;
	mpipe__dequeue(w);
	qr_list_push_back(
	    w->w_kind == MPIPE_THREAD ? &mp->mp_granted : &mp->mp_ready,
	    &w->w_link);
}

void
mpipe__give(struct mpipe *mp, struct mpipe_rec *rec)
{
	struct mpipe_waiter *w = mpipe__oldest(mp);
	const struct malloc_pipe *p = mp->mp_pipe;

	mp->mp_short = false;
	if (QR_UNLIKELY(w != NULL)) {
		grant(mp, w, rec);
	} else if (QR_LIKELY(p->free_count < p->ary_count)) {
		mpipe__free_push(mp, rec);
	} else {
		mp->mp_stats.overflow_frees++;
		mpipe__give_up(mp, rec);
	}
}

/* Who gives the pipe up does not expect us: he gives all up himself. */
void
mpipe__trim(struct mpipe *mp)
{
	while (!mp->mp_exiting && mp->mp_free != NULL &&
	    mpipe__buffers(mp) > mp->mp_pipe->ary_count) {
		mp->mp_stats.overflow_frees++;
		mpipe__give_up(mp, mpipe__free_pop(mp));
	}
}

/* ---- taking and growing ---- */

/* The slot that was claimed for a buffer may be another's: one more, then. */
static void
slot_find(struct mpipe *mp)
{
	if (QR_UNLIKELY(mp->mp_lost != 0)) {
		mp->mp_lost--;
		mp->mp_pipe->total_count++;
	}
}

/* A buffer was made; NULL if that was one too many. */
static struct mpipe_rec *
grown(struct mpipe *mp, struct mpipe_rec *rec)
{
	mpipe__attach(mp, rec);
	mp->mp_stats.growths++;
	if (QR_UNLIKELY(mp->mp_pipe->total_count > mp->mp_pipe->max_count)) {
		mp->mp_stats.overflow_frees++;
		mpipe__give_up(mp, rec);
		return (NULL);
	}
	mpipe__note_outstanding(mp);
	return (rec);
}

int
mpipe__grow(struct mpipe *mp, struct mpipe_rec **recp)
{
	struct mpipe_rec *rec = mpipe__spare_pop(mp);
	struct mpipe_table *larger = NULL;
	size_t want = (size_t)++mp->mp_pipe->total_count + mp->mp_lost;
	bool fits = mpipe__table_fits(mp, want);
	int error = 0, saved = errno;

	mp->mp_growing++;
	mpipe__exit(mp);
	if (!fits)
		larger = mpipe__table_make(2 * want);
	error = !fits && larger == NULL ? ENOMEM : mpipe__make(mp, &rec);
	mpipe__enter(mp);
	mp->mp_growing--;
	if (larger != NULL && !mpipe__table_fits(mp, want)) {
		mpipe__table_set(mp, larger);
		larger = NULL;
	}
	slot_find(mp);
	*recp = error == 0 ? grown(mp, rec) : NULL;
	if (error != 0) {
		if (rec != NULL)
			mpipe__spare_push(mp, rec);
		mp->mp_pipe->total_count--;
		mp->mp_stats.grow_failures++;
		mp->mp_short = true;
	}
	if (mp->mp_exiting)
		qr_cond_broadcast(&mp->mp_cond);
	if (larger != NULL)
		mpipe__table_free(larger);
	errno = saved;
	return (error);
}

bool
mpipe__serve(struct mpipe *mp)
{
	struct mpipe_rec *rec;

	(void)mpipe__grow(mp, &rec);
	if (rec != NULL)
		mpipe__give(mp, rec);
	return (rec != NULL);
}

/*
 * A new buffer is the oldest waiter's before it is ours; so each round but the
 * last serves one of those who were there before.
 */
struct mpipe_rec *
mpipe__take(struct mpipe *mp, int *error)
{
	bool may_grow = true;
	struct mpipe_rec *rec;

	*error = EAGAIN;
	for (;;) {
		if (QR_UNLIKELY(mp->mp_exiting)) {
			*error = ESHUTDOWN;
			return (NULL);
		}
		rec = mpipe__free_pop(mp);
		if (QR_LIKELY(rec != NULL)) {
			mpipe__note_outstanding(mp);
			return (rec);
		}
		rec = mpipe__gift(mp);
		if (rec != NULL)
			return (rec);
		if (mpipe__front_close(mp))
			continue;
		if (!may_grow ||
		    mp->mp_pipe->total_count >= mp->mp_pipe->max_count)
			return (NULL);
		*error = mpipe__grow(mp, &rec);
		may_grow = *error == 0;
		if (rec != NULL && mpipe__oldest(mp) == NULL) {
			mp->mp_misses++;
			return (rec);
		}
		if (rec != NULL)
			mpipe__give(mp, rec);
		if (may_grow)
			*error = EAGAIN;
	}
}

/* ---- leaving ---- */

/*
 * Somebody in line has to try to grow, if that is possible.  He is woken under
 * the lock, which keeps him from leaving.
 */
static void
poke(struct mpipe *mp, bool *helper)
{
	struct mpipe_waiter *w = mpipe__grower(mp);

	if (w == NULL || w->w_armed ||
	    mp->mp_pipe->total_count >= mp->mp_pipe->max_count)
		return;
	w->w_armed = true;
	if (w->w_kind == MPIPE_THREAD) {
		w->w_posts++;
		(void)sem_post(&w->w_wake);
	} else {
		*helper = true;
	}
}

/*
 * Threads were taken off the queue under the lock, so the list is ours.  Each
 * may be gone as soon as it is woken.
 */
static void
wake_all(struct qr_list *granted)
{
	while (!qr_list_empty(granted)) {
		struct mpipe_waiter *w =
		    QR_LIST_FIRST(granted, struct mpipe_waiter, w_link);

		qr_list_remove(&w->w_link);
		atomic_store_explicit(
		    &w->w_granted, true, memory_order_release);
		(void)sem_post(&w->w_wake);
	}
}

static void
unmake_all(struct mpipe *mp, struct mpipe_rec *surplus)
{
	while (surplus != NULL) {
		struct mpipe_rec *rec = surplus;

		surplus = rec->r_next;
		mpipe__unmake(mp, rec);
	}
}

static void
list_move(struct qr_list *to, struct qr_list *from)
{
	qr_list_init(to);
	if (qr_list_empty(from))
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	qr_list_init(from);
}

void
mpipe__exit_slow(struct mpipe *mp)
{
	struct mpipe_rec *surplus;
	struct qr_list granted;
	bool helper, watchers;

	list_move(&granted, &mp->mp_granted);
	mpipe__event_publish(mp);
	surplus = mp->mp_surplus;
	mp->mp_surplus = NULL;
	helper = !qr_list_empty(&mp->mp_ready);
	poke(mp, &helper);
	watchers = mp->mp_watchers > 0 && mp->mp_free != NULL;
	mp->mp_care = !qr_list_empty(&mp->mp_queue) || helper ||
	    mp->mp_watchers > 0 || mp->mp_eventfd >= 0 ||
	    !qr_list_empty(&mp->mp_granted);
	qr_mutex_exit(&mp->mp_lock);
	wake_all(&granted);
	if (helper)
		qr_cond_signal(&mp->mp_work);
	if (watchers)
		qr_cond_broadcast(&mp->mp_cond);
	unmake_all(mp, surplus);
}
