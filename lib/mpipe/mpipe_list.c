/*
 * mpipe_list.c - all pipes: those in use, and those to be used again; their
 * statistics; giving up what they can spare; fork.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include "base/fmt.h"
#include "os/os_fork.h"

#include <quarry/umem.h>

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

/* (l); taken with no other lock held. */
static struct qr_mutex list_lock = QR_MUTEX_INIT(QR_RANK_CLIENT);
static struct qr_list pipes = QR_LIST_INIT(pipes); /* by mp_id */
static struct qr_list unused = QR_LIST_INIT(unused);
static uint64_t last_id;

/* ---- making and keeping ---- */

static struct mpipe *
unused_pop(void)
{
	struct mpipe *mp = NULL;

	qr_mutex_enter(&list_lock);
	if (!qr_list_empty(&unused)) {
		mp = QR_LIST_FIRST(&unused, struct mpipe, mp_link);
		qr_list_remove(&mp->mp_link);
	}
	qr_mutex_exit(&list_lock);
	return (mp);
}

struct mpipe *
mpipe__get(void)
{
	struct mpipe *mp = unused_pop();

	os_fork_arm();
	if (mp == NULL) {
		mp = umem_alloc_align(
		    sizeof(*mp), _Alignof(struct mpipe), UMEM_DEFAULT);
		if (mp == NULL)
			return (NULL);
		*mp = (struct mpipe){.mp_off = 0};
		qr_mutex_init(&mp->mp_lock, QR_RANK_CLIENT);
	}
	memset(&mp->mp_pipe, 0, sizeof(*mp) - offsetof(struct mpipe, mp_pipe));
	atomic_store_explicit(&mp->mp_grown, false, memory_order_relaxed);
	mp->mp_zero = 0;
	mp->mp_eventfd = -1;
	qr_list_init(&mp->mp_queue);
	qr_list_init(&mp->mp_threads);
	qr_list_init(&mp->mp_granted);
	qr_list_init(&mp->mp_ready);
	qr_list_init(&mp->mp_link);
	return (mp);
}

void
mpipe__put(struct mpipe *mp)
{
	qr_mutex_enter(&list_lock);
	qr_list_push_front(&unused, &mp->mp_link);
	qr_mutex_exit(&list_lock);
}

void
mpipe__list(struct mpipe *mp)
{
	qr_mutex_enter(&list_lock);
	mp->mp_id = ++last_id;
	qr_list_push_back(&pipes, &mp->mp_link);
	qr_mutex_exit(&list_lock);
}

void
mpipe__unlist(struct mpipe *mp)
{
	qr_mutex_enter(&list_lock);
	qr_list_remove(&mp->mp_link);
	qr_mutex_exit(&list_lock);
}

/* ---- statistics ---- */

/* What the records of a pipe say, whose lock is held. */
struct sums {
	uint64_t su_allocs;
	uint64_t su_out; /* allocated now */
};

static struct sums
sum_up(struct mpipe *mp)
{
	struct mpipe_table *t =
	    atomic_load_explicit(&mp->mp_table, memory_order_relaxed);
	struct sums su = {mp->mp_stats.allocs, 0};

	for (size_t i = 0; i <= t->t_mask; i++) {
		struct mpipe_rec *rec =
		    atomic_load_explicit(&t->t_slot[i], memory_order_relaxed);
		uint64_t uses =
		    atomic_load_explicit(&rec->r_uses, memory_order_relaxed);

		su.su_allocs += (uses + 1) / 2;
		su.su_out += uses & 1;
	}
	return (su);
}

/* The first pipe above *id, or NULL, with its lock held; its id in *id. */
static struct mpipe *
lock_above(uint64_t *id)
{
	for (;;) {
		struct mpipe *found = NULL;

		qr_mutex_enter(&list_lock);
		QR_LIST_FOREACH (mp, &pipes, struct mpipe, mp_link) {
			if (mp->mp_id > *id) {
				found = mp;
				break;
			}
		}
		if (found == NULL || qr_mutex_tryenter(&found->mp_lock)) {
			if (found != NULL)
				*id = found->mp_id;
			qr_mutex_exit(&list_lock);
			return (found);
		}
		/* Two locks of one rank: never wait for the second. */
		qr_mutex_exit(&list_lock);
		(void)sched_yield();
	}
}

bool
mpipe__next(uint64_t id, struct mpipe__row *row)
{
	struct mpipe *mp;
	struct sums su;

	row->mr_id = id;
	row->mr_later = id != 0;
	mp = lock_above(&row->mr_id);
	if (mp == NULL)
		return (false);
	su = sum_up(mp);
	(void)qr_snprintf(row->mr_name, sizeof(row->mr_name), "%s",
	    mp->mp_type->ks_shortdesc);
	row->mr_bytes = mp->mp_bytes;
	row->mr_inuse = su.su_out;
	row->mr_total = (uint64_t)mp->mp_pipe->total_count;
	row->mr_max = (uint64_t)mp->mp_pipe->max_count;
	row->mr_stats = mp->mp_stats;
	row->mr_stats.allocs = su.su_allocs;
	mpipe__exit(mp);
	return (true);
}

int
mpipe_getstats(malloc_pipe_t pipe, struct mpipe_stats *stats)
{
	struct mpipe *mp = pipe->handle;

	if (mp == NULL)
		return (EINVAL);
	mpipe__enter(mp);
	while (mpipe__front_close(mp))
		continue;
	*stats = mp->mp_stats;
	stats->allocs = sum_up(mp).su_allocs;
	stats->hits = stats->allocs -
	    (mp->mp_misses < stats->allocs ? mp->mp_misses : stats->allocs);
	mpipe__exit(mp);
	return (0);
}

/* ---- when memory is short ---- */

static void
reap(void)
{
	struct mpipe *mp;
	uint64_t id = 0;

	while ((mp = lock_above(&id)) != NULL) {
		mpipe__trim(mp);
		mpipe__exit(mp);
	}
}

/* ---- fork ---- */

/*
 * Every pipe is locked while nobody is in the middle of what has to be done
 * with the lock dropped, and takes but a moment.
 */
static void
lock_quiet(struct mpipe *mp)
{
	for (;;) {
		qr_mutex_enter_nested(&mp->mp_lock);
		if (!mp->mp_closing && !mp->mp_publishing)
			return;
		qr_mutex_exit(&mp->mp_lock);
		(void)sched_yield();
	}
}

static void
fork_prepare(void)
{
	qr_mutex_enter_nested(&list_lock);
	QR_LIST_FOREACH (mp, &pipes, struct mpipe, mp_link)
		lock_quiet(mp);
}

/*
 * Requests of the parent are its own; buffers for them are free here.  Surplus
 * is given up by whoever releases the lock next: deconstructors are not for
 * handlers of fork.
 */
static void
drop_requests(struct mpipe *mp)
{
	QR_LIST_FOREACH_SAFE (w, &mp->mp_queue, struct mpipe_waiter, w_link) {
		if (w->w_kind != MPIPE_THREAD)
			umem_free(w, sizeof(*w));
	}
	qr_list_init(&mp->mp_queue);
	qr_list_init(&mp->mp_threads);
	qr_list_init(&mp->mp_granted);
	QR_LIST_FOREACH_SAFE (w, &mp->mp_ready, struct mpipe_waiter, w_link) {
		mpipe__give(mp, w->w_rec);
		umem_free(w, sizeof(*w));
	}
	qr_list_init(&mp->mp_ready);
	if (mp->mp_gift != NULL)
		mpipe__give(mp, mp->mp_gift);
	mp->mp_gift = NULL;
}

/*
 * Who waited, grew the pipe or called callbacks in the parent is not here.  The
 * eventfd is shared with the parent, which would see what we write to it.
 */
static void
child_reset(struct mpipe *mp)
{
	qr_cond_init(&mp->mp_cond);
	qr_cond_init(&mp->mp_work);
	mp->mp_pipe->total_count -= (int)(mp->mp_growing - mp->mp_lost);
	mp->mp_growing = 0;
	mp->mp_lost = 0;
	mp->mp_leaving = 0;
	drop_requests(mp);
	mp->mp_watchers = 0;
	mp->mp_running = false;
	mp->mp_state = MPIPE_NO_HELPER;
	mp->mp_exiting = false;
	if (mp->mp_eventfd >= 0)
		(void)close(mp->mp_eventfd);
	mp->mp_eventfd = -1;
}

static void
fork_done(bool child)
{
	QR_LIST_FOREACH (mp, &pipes, struct mpipe, mp_link) {
		if (child)
			child_reset(mp);
		qr_mutex_exit(&mp->mp_lock);
	}
	qr_mutex_exit(&list_lock);
}

static QR_CONSTRUCTOR void
load(void)
{
	os_fork_handle(OS_FORK_MPIPE, fork_prepare, fork_done);
	qr_clients.reap = reap;
}
