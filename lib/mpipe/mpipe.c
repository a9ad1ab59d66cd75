/*
 * mpipe.c - pipes: making, resizing, giving up.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include "base/panic.h"

#include <errno.h>
#include <string.h>

enum {
	MPF_ALL =
	    MPF_CACHEDATA | MPF_NOZERO | MPF_INT | MPF_CALLBACK | MPF_CANCEL,
	NO_LIMIT = 0x7fff0000, /* nmax below 0 */
};

/* ---- making ---- */

/* What the three ways of making a pipe have in common. */
struct request {
	malloc_type_t rq_type;
	int rq_bytes, rq_nnom, rq_nmax, rq_flags;
	struct mpipe_hooks rq_hooks;
	struct mpipe_source rq_source;
};

/* A buffer that is used again is not as its constructor has left it. */
static void
warn_once(const struct request *rq)
{
	static _Atomic bool warned;

	if (!qr_clients.debug ||
	    (rq->rq_flags & (MPF_CACHEDATA | MPF_NOZERO)) != 0 ||
	    (rq->rq_hooks.mh_construct == NULL &&
		rq->rq_hooks.mh_tryconstruct == NULL) ||
	    atomic_exchange(&warned, true))
		return;
	qr_warn("mpipe_init: buffers of type %s are constructed once, and each "
		"free zeroes them: MPF_CACHEDATA keeps what is in them",
	    rq->rq_type->ks_shortdesc);
}

static void
set_numbers(int *nnom, int *nmax)
{
	if (*nnom < 1)
		*nnom = 1;
	if (*nmax < 0)
		*nmax = NO_LIMIT;
	if (*nmax < *nnom)
		*nmax = *nnom;
}

static bool
sensible(const struct request *rq)
{
	return (rq->rq_type != NULL && rq->rq_type->ks_magic == M_MAGIC &&
	    rq->rq_bytes > 0 && (rq->rq_flags & ~MPF_ALL) == 0);
}

/* Give up all that is free, the last to be freed first, and the rest of it. */
static void
pipe_free(struct mpipe *mp)
{
	struct mpipe_rec *rec;

	for (;;) {
		mpipe__enter(mp);
		rec = mpipe__free_pop(mp);
		if (rec != NULL)
			mpipe__detach(mp, rec);
		mpipe__exit(mp);
		if (rec == NULL)
			break;
		mpipe__unmake(mp, rec);
	}
	mpipe__front_free(mp);
	while ((rec = mpipe__spare_pop(mp)) != NULL)
		mpipe__record_free(rec);
	mpipe__table_free(
	    atomic_load_explicit(&mp->mp_table, memory_order_relaxed));
	mpipe__put(mp);
}

/* The nnom buffers of a pipe that nobody knows yet. */
static int
fill(struct mpipe *mp)
{
	struct malloc_pipe *p = mp->mp_pipe;

	while (p->total_count < p->ary_count) {
		struct mpipe_rec *rec = NULL;
		int error = mpipe__make(mp, &rec);

		mpipe__enter(mp);
		if (error == 0) {
			p->total_count++;
			mpipe__table_insert(mp, rec);
			mpipe__free_push(mp, rec);
		}
		mpipe__exit(mp);
		if (error != 0) {
			mpipe__record_free(rec);
			return (error);
		}
	}
	return (0);
}

static int
start(struct mpipe *mp)
{
	int error = 0;

	mpipe__enter(mp);
	if ((mp->mp_flags & MPF_CALLBACK) != 0)
		error = mpipe__helper_start(mp);
	mpipe__exit(mp);
	return (error != 0 ? error : fill(mp));
}

static int
make(struct malloc_pipe *p, const struct request *rq)
{
	struct mpipe_table *t;
	struct mpipe *mp;
	int error, nnom = rq->rq_nnom, nmax = rq->rq_nmax;

	memset(p, 0, sizeof(*p));
	if (!sensible(rq))
		return (EINVAL);
	set_numbers(&nnom, &nmax);
	t = mpipe__table_make((size_t)nnom);
	mp = t == NULL ? NULL : mpipe__get();
	if (mp == NULL) {
		mpipe__table_free(t);
		return (ENOMEM);
	}
	*p = (struct malloc_pipe){.type = rq->rq_type,
	    .bytes = rq->rq_bytes,
	    .ary_count = nnom,
	    .max_count = nmax,
	    .handle = mp};
	mp->mp_pipe = p;
	mp->mp_type = rq->rq_type;
	mp->mp_bytes = (size_t)rq->rq_bytes;
	mp->mp_flags = rq->rq_flags;
	if ((rq->rq_flags & (MPF_CACHEDATA | MPF_NOZERO)) == 0)
		mp->mp_zero = mp->mp_bytes;
	mp->mp_hooks = rq->rq_hooks;
	mp->mp_source = rq->rq_source;
	atomic_store_explicit(&mp->mp_table, t, memory_order_relaxed);
	mpipe__front_start(mp);
	error = start(mp);
	if (error == 0) {
		mpipe__list(mp);
		warn_once(rq);
	} else {
		mpipe__helper_stop(mp);
		pipe_free(mp);
		memset(p, 0, sizeof(*p));
	}
	return (error);
}

void
mpipe_init(malloc_pipe_t pipe, malloc_type_t type, int bytes, int nnom,
    int nmax, int mpflags, void (*construct)(void *buf, void *priv),
    void (*deconstruct)(void *buf, void *priv), void *priv)
{
	struct request rq = {type, bytes, nnom, nmax, mpflags,
	    {construct, NULL, deconstruct, priv}, {.ms_pool = NULL}};
	int error = make(pipe, &rq);

	if (error != 0)
		qr_panic("mpipe_init(%p, %p, %d, %d, %d, 0x%x): error %d",
		    (void *)pipe, (void *)type, bytes, nnom, nmax,
		    (unsigned)mpflags, error);
}

int
mpipe_tryinit(malloc_pipe_t pipe, malloc_type_t type, int bytes, int nnom,
    int nmax, int mpflags, int (*construct)(void *buf, void *priv),
    void (*deconstruct)(void *buf, void *priv), void *priv)
{
	struct request rq = {type, bytes, nnom, nmax, mpflags,
	    {NULL, construct, deconstruct, priv}, {.ms_pool = NULL}};

	return (make(pipe, &rq));
}

int
mpipe_init_contig(malloc_pipe_t pipe, malloc_type_t type, int bytes, int nnom,
    int nmax, int mpflags, int (*construct)(void *buf, void *priv),
    void (*deconstruct)(void *buf, void *priv), void *priv, physpool_t *pool,
    vm_paddr_t low, vm_paddr_t high, unsigned long alignment,
    vm_paddr_t boundary)
{
	struct request rq = {type, bytes, nnom, nmax, mpflags,
	    {NULL, construct, deconstruct, priv},
	    {pool, low, high, alignment, boundary}};

	if (pool == NULL) {
		memset(pipe, 0, sizeof(*pipe));
		return (EINVAL);
	}
	return (make(pipe, &rq));
}

/* ---- giving up ---- */

/*
 * Wait until nobody is in the middle of something.  The lock is held; what was
 * owed, in the child of fork, is paid.
 */
static void
settle(struct mpipe *mp)
{
	QR_ASSERT(mp->mp_surplus == NULL);
	mp->mp_exiting = true;
	while (mpipe__front_close(mp))
		continue;
	while (mp->mp_growing > 0 || mp->mp_leaving > 0 || mp->mp_publishing ||
	    mp->mp_running)
		qr_cond_wait(&mp->mp_cond, &mp->mp_lock);
}

/* Buffers that the program has.  The lock is held, and all is settled. */
static int
outstanding(struct mpipe *mp)
{
	int n = mp->mp_pipe->total_count - mp->mp_pipe->free_count;

	QR_LIST_FOREACH (w, &mp->mp_ready, struct mpipe_waiter, w_link)
		n -= w->w_rec != NULL;
	return (n);
}

/* Buffers due to callbacks are free, but a thread may stand in line behind. */
static QR_COLD void
in_use(const struct malloc_pipe *pipe, int out)
{
	if (out != 0)
		qr_panic("mpipe_done(%p): %d of %d buffers of type %s are "
			 "allocated",
		    (const void *)pipe, out, pipe->total_count,
		    pipe->type->ks_shortdesc);
	else
		qr_panic("mpipe_done(%p): a thread waits for a buffer of type "
			 "%s",
		    (const void *)pipe, pipe->type->ks_shortdesc);
}

void
mpipe_done(malloc_pipe_t pipe)
{
	struct mpipe *mp = pipe->handle;
	struct qr_list left;
	int out;

	if (mp == NULL)
		return;
	if (mpipe__is_helper(mp)) {
		qr_panic("mpipe_done(%p): called by a callback of the pipe",
		    (void *)pipe);
		return;
	}
	mpipe__enter(mp);
	settle(mp);
	out = outstanding(mp);
	if (out != 0 || !qr_list_empty(&mp->mp_threads)) {
		mp->mp_exiting = false;
		mpipe__exit(mp);
		in_use(pipe, out);
		return;
	}
	mpipe__async_take_all(mp, &left);
	pipe->max_count = 0;
	qr_cond_broadcast(&mp->mp_cond);
	while (mp->mp_watchers > 0)
		qr_cond_wait(&mp->mp_cond, &mp->mp_lock);
	mpipe__exit(mp);
	mpipe__helper_stop(mp);
	mpipe__unlist(mp);
	mpipe__async_cancel(&left);
	mpipe__event_close(mp);
	pipe_free(mp);
	memset(pipe, 0, sizeof(*pipe));
}

/* ---- resizing ---- */

/*
 * Records with a buffer that are none of the pipe's, chained by r_next: made
 * for a larger nnom, or left over by a smaller one.
 */
struct stock {
	struct mpipe_rec *st_first;
	int st_n;
	bool st_short;   /* more is needed: */
	int st_want;     /* so many of them */
	size_t st_slots; /* a table for so many buffers, or 0 */
};

static void
stock_push(struct stock *st, struct mpipe_rec *rec)
{
	rec->r_next = st->st_first;
	st->st_first = rec;
	st->st_n++;
}

static struct mpipe_rec *
stock_pop(struct stock *st)
{
	struct mpipe_rec *rec = st->st_first;

	st->st_first = rec->r_next;
	st->st_n--;
	return (rec);
}

static int
table_up(struct mpipe *mp, size_t slots)
{
	struct mpipe_table *t = mpipe__table_make(slots);

	if (t == NULL)
		return (ENOMEM);
	mpipe__enter(mp);
	if (!mpipe__table_fits(mp, slots)) {
		mpipe__table_set(mp, t);
		t = NULL;
	}
	mpipe__exit(mp);
	mpipe__table_free(t);
	return (0);
}

/* Get what is needed.  0 or an errno; the lock is not held. */
static int
stock_up(struct mpipe *mp, struct stock *st)
{
	int error = st->st_slots == 0 ? 0 : table_up(mp, st->st_slots);

	while (error == 0 && st->st_n < st->st_want) {
		struct mpipe_rec *rec = NULL;

		error = mpipe__make(mp, &rec);
		if (error != 0) {
			mpipe__record_free(rec);
			break;
		}
		mpipe__enter(mp);
		mp->mp_leaving++;
		mpipe__exit(mp);
		stock_push(st, rec);
	}
	return (error);
}

/*
 * Set the numbers, if all that they need is there, and move buffers until they
 * hold; else say what is needed.  0 or EBUSY.  The lock is held, and may be
 * dropped.
 */
static int
set(struct mpipe *mp, int nnom, int nmax, struct stock *st)
{
	struct malloc_pipe *p = mp->mp_pipe;
	int claims, buffers, keep;
	size_t most;

	while (mpipe__front_close(mp))
		continue;
	buffers = mpipe__buffers(mp);
	claims = p->total_count - buffers;
	keep = nnom > buffers ? nnom : buffers;
	most = (size_t)keep + mp->mp_growing;
	st->st_short = false;
	if (buffers - p->free_count > nmax)
		return (EBUSY);
	st->st_want = nnom - buffers;
	st->st_slots = mpipe__table_fits(mp, most) ? 0 : most;
	st->st_short = st->st_n < st->st_want || st->st_slots != 0;
	if (st->st_short)
		return (0);
	p->ary_count = nnom;
	p->max_count = nmax;
	mp->mp_care = true;
	for (; claims > 0 && claims > nmax - keep; claims--) {
		mp->mp_lost++;
		p->total_count--;
	}
	for (; buffers < nnom; buffers++) {
		struct mpipe_rec *rec = stock_pop(st);

		p->total_count++;
		mp->mp_leaving--;
		mpipe__attach(mp, rec);
		mpipe__give(mp, rec);
	}
	mpipe__note_outstanding(mp);
	while (p->free_count > nnom || p->total_count > nmax) {
		struct mpipe_rec *rec = mpipe__free_pop(mp);

		mpipe__detach(mp, rec);
		stock_push(st, rec);
	}
	mpipe__note_grown(mp);
	return (0);
}

int
mpipe_resize(malloc_pipe_t pipe, int nnom, int nmax)
{
	struct mpipe *mp = mpipe__of(pipe, "mpipe_resize");
	struct stock st = {.st_n = 0};
	int error;

	if (mp == NULL)
		return (EINVAL);
	set_numbers(&nnom, &nmax);
	do {
		error = stock_up(mp, &st);
		mpipe__enter(mp);
		if (error == 0)
			error = set(mp, nnom, nmax, &st);
		mpipe__exit(mp);
	} while (error == 0 && st.st_short);
	while (st.st_n > 0)
		mpipe__unmake(mp, stock_pop(&st));
	return (error);
}
