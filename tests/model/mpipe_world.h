/*
 * mpipe_world.h - a pipe beside the oracle: its callbacks, the threads that use
 * it, and whether both say the same.
 */
#ifndef QR_MPIPE_WORLD_H
#define QR_MPIPE_WORLD_H

#include "model/mpipe_oracle.h"
#include "support/cpus.h"

#include <quarry/contigmalloc.h>

#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, LARGEST = 3 * PAGE, WORKERS = 3, MAIN = -1 };

static MALLOC_DEFINE(M_MODEL, "model", "buffers of pipes beside the model");

/* ---- what the pipe calls ---- */

struct entry {
	unsigned e_id;
	char *e_buf;
	char e_bytes[LARGEST]; /* what a deconstructor saw */
};

/* One thread writes, one reads after it has seen l_n. */
struct log {
	_Atomic unsigned l_n;
	unsigned l_seen;
	struct entry l_entry[EVENTS];
};

struct hooks {
	size_t h_bytes;
	bool h_zero; /* memory is, before it is constructed */
	_Atomic int h_budget;
	_Atomic unsigned h_made, h_failed, h_dirty;
	struct log h_unmade;
};

struct request {
	enum kind r_kind;
	unsigned r_id;
};

enum job { ALLOC, ALLOC_PAST, GIVE, WAIT, LET_DONE_BEGIN };

struct worker {
	pthread_t k_thread;
	sem_t k_go, k_done;
	enum job k_job;
	bool k_waits;
	void *k_buf;
	int k_errno;
};

/*
 * Which requests there are.  Where threads wait, no callback frees its buffer:
 * nobody could say which comes first.  Where callbacks are held up, none is one
 * of mpipe_alloc_callback(): what becomes of a buffer that such a one did not
 * take can be seen only where nothing else is free.
 */
enum family { WITH_THREADS, WITH_HELD, WITH_DECLINED, FAMILIES };

static struct world {
	struct oracle w_o;
	struct malloc_pipe w_pipe, w_other;
	void *w_foreign;    /* of w_other */
	physpool_t *w_pool; /* or NULL */
	unsigned long w_align;
	size_t w_bytes;
	int w_flags;
	bool w_lone;    /* threads do nothing */
	bool w_started; /* there are threads */
	bool w_exact;   /* no buffer is at hand of a CPU after any call */
	enum family w_family;
	bool w_constructs, w_deconstructs, w_may_fail;
	size_t w_charge; /* bytes of the type, per buffer */
	int w_fd;        /* of mpipe_eventfd(), or -1 */
	unsigned w_next; /* request */
	struct request w_request[256];
	struct hooks w_hooks;
	struct log w_called;
	sem_t w_let_go;
	struct worker w_worker[WORKERS];
	_Atomic unsigned w_panics;
	uint8_t w_stamp;
	char w_why[256]; /* what was wrong */
} world;

static int patience_s = 30;

static bool
wrong(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(w->w_why, sizeof(w->w_why), fmt, ap);
	va_end(ap);
	return (false);
}

static void
log_write(struct log *l, unsigned id, char *buf, size_t bytes)
{
	unsigned n = atomic_load(&l->l_n);
	struct entry *e = &l->l_entry[n % EVENTS];

	e->e_id = id;
	e->e_buf = buf;
	if (bytes > 0)
		memcpy(e->e_bytes, buf, bytes);
	atomic_store(&l->l_n, n + 1);
}

static int
try_construct(void *buf, void *priv)
{
	struct hooks *h = priv;
	const char *at = buf;

	for (size_t i = 0; h->h_zero && i < h->h_bytes; i++)
		h->h_dirty += at[i] != 0;
	if (h->h_budget == 0) {
		h->h_failed++;
		return (EIO);
	}
	if (h->h_budget > 0)
		h->h_budget--;
	h->h_made++;
	*(char *)buf = 'c';
	return (0);
}

static void
construct(void *buf, void *priv)
{
	(void)try_construct(buf, priv);
}

static void
deconstruct(void *buf, void *priv)
{
	struct hooks *h = priv;

	log_write(&h->h_unmade, 0, buf, h->h_bytes);
}

/* Of mpipe_alloc_async(). */
static void
delivered(void *buf, void *arg)
{
	const struct request *r = arg;

	if (r->r_kind == DROP && buf != NULL)
		mpipe_free(&world.w_pipe, buf);
	log_write(&world.w_called, r->r_id, buf, 0);
	if (r->r_kind == HOLD && buf != NULL) {
		while (sem_wait(&world.w_let_go) != 0)
			continue;
	}
}

/* Of mpipe_alloc_callback(). */
static void
called(void *arg1, void *arg2)
{
	const struct request *r = arg1;
	void *buf = r->r_kind == TAKE ? mpipe_alloc_nowait(arg2) : NULL;

	log_write(&world.w_called, r->r_id, buf, 0);
}

/* ---- threads ---- */

static void *
worker_main(void *arg)
{
	struct worker *k = arg;
	malloc_pipe_t pipe = &world.w_pipe;
	struct timespec past = {0, 0};

	cpus_move(1 + (unsigned)(k - world.w_worker));
	for (;;) {
		while (sem_wait(&k->k_go) != 0)
			continue;
		switch (k->k_job) {
		case ALLOC:
			k->k_buf = mpipe_alloc_nowait(pipe);
			break;
		case ALLOC_PAST:
			k->k_buf = mpipe_alloc_timed(pipe, &past);
			break;
		case GIVE:
			mpipe_free(pipe, k->k_buf);
			break;
		case WAIT:
			k->k_buf = mpipe_alloc_waitok(pipe);
			break;
		case LET_DONE_BEGIN:
			while ((k->k_buf = mpipe_alloc_nowait(pipe)) != NULL ||
			    errno != ESHUTDOWN)
				mpipe_free(pipe, k->k_buf);
			(void)sem_post(&world.w_let_go);
			break;
		}
		k->k_errno = errno;
		(void)sem_post(&k->k_done);
	}
	return (NULL);
}

/*
 * Once, on CPUs of their own, if there are as many; the first is that of main.
 */
static void
workers_start(struct world *w)
{
	if (w->w_started)
		return;
	w->w_started = true;
	cpus_move(0);
	(void)sem_init(&w->w_let_go, 0, 0);
	for (int i = 0; i < WORKERS; i++) {
		(void)sem_init(&w->w_worker[i].k_go, 0, 0);
		(void)sem_init(&w->w_worker[i].k_done, 0, 0);
		if (pthread_create(&w->w_worker[i].k_thread, NULL, worker_main,
			&w->w_worker[i]) != 0)
			abort();
	}
}

static void
worker_begin(struct worker *k, enum job job, void *buf)
{
	k->k_job = job;
	k->k_buf = buf;
	(void)sem_post(&k->k_go);
}

static void
worker_do(struct worker *k, enum job job, void *buf)
{
	worker_begin(k, job, buf);
	while (sem_wait(&k->k_done) != 0)
		continue;
}

/* Sleep a little; false when that was done for too long since *start. */
static bool
patient(time_t *start)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (*start == 0)
		*start = now.tv_sec;
	(void)usleep(20);
	return (now.tv_sec - *start <= patience_s);
}

/* ---- buffers ---- */

/* Is there in a buffer what should be? */
static bool
contains(const struct world *w, const struct buf *b, const char *at)
{
	for (size_t i = 0; i < w->w_bytes; i++) {
		char want = 0;

		if (b->b_contents == STAMPED)
			want = (char)(b->b_stamp + 7 * i);
		else if (b->b_contents == FRESH && i == 0 && w->w_constructs)
			want = 'c';
		else if (b->b_contents == FRESH &&
		    (w->w_flags & MPF_NOZERO) != 0)
			continue;
		if (at[i] != want)
			return (false);
	}
	return (true);
}

static void
stamp(struct world *w, struct buf *b)
{
	b->b_contents = STAMPED;
	b->b_stamp = ++w->w_stamp;
	for (size_t i = 0; i < w->w_bytes; i++)
		b->b_addr[i] = (char)(b->b_stamp + 7 * i);
}

static bool
well_placed(struct world *w, char *addr)
{
	const struct oracle *o = &w->w_o;
	size_t align = w->w_align;

	if (w->w_pool == NULL && (w->w_bytes & (w->w_bytes - 1)) == 0)
		align = w->w_bytes < PAGE ? w->w_bytes : PAGE;
	if ((w->w_pool == NULL ? (uintptr_t)addr : vtophys(addr)) % align != 0)
		return (wrong(w, "%p is not aligned", (void *)addr));
	for (int i = 0; i < BUFS; i++) {
		const struct buf *b = &o->o_buf[i];
		ptrdiff_t d = addr - b->b_addr;

		if (b->b_addr != NULL && b->b_state != NOWHERE &&
		    b->b_state != GONE && d < (ptrdiff_t)w->w_bytes &&
		    -d < (ptrdiff_t)w->w_bytes)
			return (wrong(w, "%p overlaps another", (void *)addr));
	}
	return (true);
}

/*
 * The pipe shows that buffer i is at addr.  Unless it is exact it may have
 * taken any that is free.
 */
static bool
learn(struct world *w, int i, char *addr)
{
	struct buf *b = w->w_o.o_buf, swap;
	int at = NOBODY;

	for (int k = 0; k < BUFS && at == NOBODY; k++)
		if ((b[k].b_state == FREE || b[k].b_loose || k == i) &&
		    b[k].b_addr == addr)
			at = k;
	if (at == NOBODY && b[i].b_addr == NULL)
		at = i;
	for (int k = 0; k < BUFS && at == NOBODY; k++)
		if ((b[k].b_state == FREE || b[k].b_loose) &&
		    b[k].b_addr == NULL)
			at = k;
	if (at == NOBODY || (at != i && w->w_exact))
		return (wrong(
		    w, "%p came, not %p", (void *)addr, (void *)b[i].b_addr));
	if (b[at].b_addr == NULL && !well_placed(w, addr))
		return (false);
	swap = b[i];
	b[i].b_addr = addr;
	b[i].b_contents = b[at].b_contents;
	b[i].b_stamp = b[at].b_stamp;
	b[i].b_loose = false;
	if (at != i) {
		b[at].b_addr = swap.b_addr;
		b[at].b_contents = swap.b_contents;
		b[at].b_stamp = swap.b_stamp;
	}
	return (true);
}

/*
 * Buffer i is used now, and at addr.  Dropped: it was free, and then freed
 * again, whatever it contained before.
 */
static bool
receive(struct world *w, int i, char *addr, bool dropped)
{
	struct buf *b = &w->w_o.o_buf[i];
	bool zeroed =
	    dropped && w->w_o.o_zeroes && b->b_loose && b->b_state != GONE;

	if (!learn(w, i, addr))
		return (false);
	if (zeroed)
		b->b_contents = ZEROED;
	/* Whoever has a dropped one now is heard of later. */
	if (dropped || b->b_state != USED)
		return (true);
	if (!contains(w, b, addr))
		return (wrong(w, "%p has other contents", (void *)addr));
	stamp(w, b);
	return (true);
}

/* ---- comparing ---- */

static bool
await_log(struct world *w, struct log *l, struct entry **e)
{
	time_t start = 0;

	while (atomic_load(&l->l_n) == l->l_seen)
		if (w->w_lone || !patient(&start))
			return (wrong(w, "a call is missing"));
	*e = &l->l_entry[l->l_seen++ % EVENTS];
	return (true);
}

static bool
expect_calls(struct world *w)
{
	const struct oracle *o = &w->w_o;

	for (int i = 0; i < o->o_ncall; i++) {
		const struct asker *a = &o->o_call[i];
		struct entry *e;

		if (!await_log(w, &w->w_called, &e))
			return (false);
		if (e->e_id != a->a_id)
			return (wrong(w, "request %u was called, not %u",
			    e->e_id, a->a_id));
		if ((e->e_buf == NULL) != (a->a_buf == NOBODY))
			return (wrong(
			    w, "request %u got %p", a->a_id, (void *)e->e_buf));
		if (e->e_buf != NULL &&
		    !receive(w, a->a_buf, e->e_buf, a->a_kind == DROP))
			return (false);
	}
	return (true);
}

static bool
expect_woken(struct world *w)
{
	const struct oracle *o = &w->w_o;

	for (int i = 0; i < o->o_nwoken; i++) {
		const struct asker *a = &o->o_woken[i];
		struct worker *k = &w->w_worker[a->a_id];
		time_t start = 0;

		while (sem_trywait(&k->k_done) != 0)
			if (!patient(&start))
				return (wrong(w, "thread %u sleeps", a->a_id));
		k->k_waits = false;
		if (!receive(w, a->a_buf, k->k_buf, false))
			return (false);
	}
	return (true);
}

/* One of those that are given up, in any order. */
static bool
expect_gone_at(struct world *w, const struct entry *e, int *gone, int n)
{
	struct buf *b = w->w_o.o_buf;
	int at = 0, i;

	for (int k = n - 1; k >= 0; k--)
		if (b[gone[k]].b_addr == NULL)
			at = k;
	for (int k = 0; k < n; k++)
		if (b[gone[k]].b_addr == e->e_buf)
			at = k;
	i = gone[at];
	memmove(&gone[at], &gone[at + 1], (size_t)(n - at - 1) * sizeof(*gone));
	if (!learn(w, i, e->e_buf))
		return (false);
	if (!contains(w, &b[i], e->e_bytes))
		return (wrong(w, "%p was deconstructed with other contents",
		    (void *)e->e_buf));
	/* The memory of a pool can be looked at: nothing is left in it. */
	for (size_t k = 0;
	     w->w_pool != NULL && w->w_o.o_zeroes && k < w->w_bytes; k++)
		if (e->e_buf[k] != 0)
			return (
			    wrong(w, "%p was not scrubbed", (void *)e->e_buf));
	return (true);
}

static bool
expect_gone(struct world *w)
{
	struct oracle *o = &w->w_o;

	for (int n = o->o_ngone; w->w_deconstructs && n > 0; n--) {
		struct entry *e;

		if (!await_log(w, &w->w_hooks.h_unmade, &e) ||
		    !expect_gone_at(w, e, o->o_gone, n))
			return (false);
	}
	return (true);
}

static uint64_t
blocks_of_type(void)
{
	struct malloc_type_stats st;

	(void)malloc_type_getstats(M_MODEL, &st);
	return (st.inuse);
}

static bool
agree_on_statistics(struct world *w)
{
	const struct oracle *o = &w->w_o;
	const struct mpipe_stats *want = &o->o_stats;
	uint64_t failed = w->w_hooks.h_failed;
	struct mpipe_stats st;

	if (mpipe_getstats(&w->w_pipe, &st) != 0)
		return (wrong(w, "no statistics"));
#define SAME(field)                  \
	if (st.field != want->field) \
	return (wrong(w, "%lu " #field ", not %lu", st.field, want->field))
	SAME(allocs);
	SAME(hits);
	SAME(growths);
	SAME(sleeps);
	SAME(overflow_frees);
	if (w->w_exact)
		SAME(outstanding_max);
	if (!o->o_retried)
		SAME(grow_failures);
#undef SAME
	if (st.outstanding_max < want->outstanding_max ||
	    st.outstanding_max > (uint64_t)o->o_most)
		return (wrong(w, "%lu outstanding_max", st.outstanding_max));
	if (w->w_may_fail &&
	    st.grow_failures + (uint64_t)o->o_elsewhere !=
		failed + (uint64_t)o->o_memory_failures)
		return (wrong(w, "%lu grow_failures, %lu seen",
		    st.grow_failures, failed));
	if ((st.wait_ns_max == 0) != (o->o_grants == 0) ||
	    st.wait_ns < st.wait_ns_max ||
	    st.wait_ns > st.wait_ns_max * o->o_grants)
		return (wrong(
		    w, "waited %lu, at most %lu", st.wait_ns, st.wait_ns_max));
	return (true);
}

static bool
agree_on_numbers(struct world *w)
{
	const struct oracle *o = &w->w_o;
	const struct malloc_pipe *p = &w->w_pipe;
	struct pollfd pfd = {.fd = w->w_fd, .events = POLLIN};
	enum answer readable = oracle_readable(o);

	if (p->type != M_MODEL || p->bytes != (int)w->w_bytes ||
	    p->ary_count != o->o_nnom || p->max_count != o->o_nmax)
		return (wrong(w, "%d..%d", p->ary_count, p->max_count));
	if (p->free_count != o->o_nfree || p->total_count != o->o_total)
		return (wrong(w, "%d of %d free, not %d of %d", p->free_count,
		    p->total_count, o->o_nfree, o->o_total));
	if (blocks_of_type() != (uint64_t)o->o_total + 1)
		return (wrong(w, "%lu blocks of the type", blocks_of_type()));
	if (w->w_fd >= 0 && readable != PERHAPS &&
	    poll(&pfd, 1, 0) != (readable == YES))
		return (wrong(w, "the descriptor is wrong"));
	return (true);
}

/* While somebody tries to make a buffer the numbers are not to be read. */
static bool
agree(struct world *w)
{
	return (agree_on_statistics(w) &&
	    (w->w_o.o_retrying || agree_on_numbers(w)));
}

/* What the pipe's thread does after a callback may take a moment. */
static bool
check(struct world *w)
{
	time_t start = 0;

	while (!agree(w))
		if (w->w_lone || !patient(&start))
			return (false);
	if (w->w_hooks.h_dirty != 0)
		return (wrong(w, "memory was not zero"));
	return (true);
}

static bool
check_contents(struct world *w)
{
	const struct oracle *o = &w->w_o;

	for (int i = 0; i < BUFS; i++)
		if (o->o_buf[i].b_state == USED &&
		    !contains(w, &o->o_buf[i], o->o_buf[i].b_addr))
			return (wrong(w, "%p was overwritten",
			    (void *)o->o_buf[i].b_addr));
	return (true);
}

/* Everything that is to happen has happened, and nothing else. */
static bool
settle(struct world *w)
{
	const struct oracle *o = &w->w_o;

	oracle_settle(&w->w_o);
	if (!expect_calls(w) || !expect_woken(w) || !expect_gone(w))
		return (false);
	if (o->o_ncall > 0 && o->o_call[o->o_ncall - 1].a_kind == DECLINE)
		mpipe_wait(&w->w_pipe);
	oracle_forget(&w->w_o);
	if (w->w_exact && !check(w))
		return (false);
	if (atomic_load(&w->w_called.l_n) != w->w_called.l_seen)
		return (wrong(w, "a callback too many"));
	if (atomic_load(&w->w_hooks.h_unmade.l_n) != w->w_hooks.h_unmade.l_seen)
		return (wrong(w, "a deconstruction too many"));
	return (true);
}

#endif /* QR_MPIPE_WORLD_H */
