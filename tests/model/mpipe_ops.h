/*
 * mpipe_ops.h - lists of operations for a pipe and its oracle, made at random,
 * and what runs them.
 */
#ifndef QR_MPIPE_OPS_H
#define QR_MPIPE_OPS_H

#include "model/mpipe_world.h"
#include "support/random.h"

#include <quarry/quarry.h>

#include <limits.h>

enum {
	SHAPES = 24,
	DIRTY = 32,
	POOL_PAGES = 4096,
};

/* One operation; what the fields mean depends on o_kind and on the state. */
struct op {
	uint8_t o_kind;
	uint8_t o_scale;
	uint16_t o_a;
	uint32_t o_b;
};

/* Seconds that one operation may take; 0: any time. */
static unsigned hang_s;

/* How often CPUs may still be made to keep some at hand: it takes long. */
static unsigned long_churns = UINT_MAX;

/* ---- allocating and freeing ---- */

/* The thread that the seed chooses; NULL is main. */
static struct worker *
somebody(struct world *w, uint32_t seed)
{
	struct worker *k = &w->w_worker[seed / 2 % WORKERS];

	return (w->w_lone || seed % 2 == 0 || k->k_waits ? NULL : k);
}

static void *
alloc_as(struct world *w, uint32_t how, bool can)
{
	struct timespec past = {0, 0}, malformed = {INT32_MAX, -1}, later;
	malloc_pipe_t pipe = &w->w_pipe;

	(void)clock_gettime(CLOCK_MONOTONIC, &later);
	switch (how % 8) {
	case 0:
		return (mpipe_alloc_timed(pipe, &past));
	case 1:
		return (mpipe_alloc_timed(pipe, &malformed));
	case 2:
		later.tv_sec += can ? 3600 : 0;
		return (mpipe_alloc_timed(pipe, &later));
	case 3:
		return (can ? mpipe_alloc_waitok(pipe)
			    : mpipe_alloc_timed(pipe, &past));
	case 4:
		return (can ? mpipe_alloc_intr(pipe)
			    : mpipe_alloc_timed(pipe, &past));
	case 5:
		return (can ? mpipe_alloc_timed(pipe, NULL)
			    : mpipe_alloc_timed(pipe, &past));
	default:
		return (mpipe_alloc_nowait(pipe));
	}
}

static bool
alloc_one(struct world *w, uint32_t seed)
{
	struct oracle *o = &w->w_o;
	struct worker *k = somebody(w, seed);
	uint32_t how = seed >> 8;
	bool hit;
	int error, got, i;
	void *buf;

	if (o->o_nfree == 0 && o->o_total >= MOST)
		return (true);
	i = oracle_take(o, &hit, &error);
	if (i != NOBODY)
		oracle_hand_out(o, i, hit);
	if (k == NULL) {
		errno = 0;
		buf = alloc_as(w, how, i != NOBODY);
		got = errno;
		if (how % 8 < 6)
			error = ETIMEDOUT;
	} else {
		worker_do(k, how % 4 == 0 ? ALLOC_PAST : ALLOC, NULL);
		buf = k->k_buf;
		got = k->k_errno;
		if (how % 4 == 0)
			error = ETIMEDOUT;
	}
	/* Somebody else may be making the last one. */
	if (i == NOBODY && o->o_retrying && got == EAGAIN)
		error = EAGAIN;
	if (i == NOBODY && (buf != NULL || got != error))
		return (wrong(w, "%p, errno %d, not %d", buf, got, error));
	if (i != NOBODY && buf == NULL)
		return (wrong(w, "no buffer, errno %d", got));
	return ((i == NOBODY || receive(w, i, buf, false)) && settle(w));
}

static bool
free_one(struct world *w, int i, uint32_t seed)
{
	struct buf *b = &w->w_o.o_buf[i];
	struct worker *k = somebody(w, seed);

	if (!contains(w, b, b->b_addr))
		return (wrong(w, "%p was overwritten", (void *)b->b_addr));
	oracle_free(&w->w_o, i);
	if (k == NULL)
		mpipe_free(&w->w_pipe, b->b_addr);
	else
		worker_do(k, GIVE, b->b_addr);
	return (settle(w));
}

/* One in that state that the seed chooses; NOBODY: there is none. */
static int
any(const struct world *w, enum state state, uint32_t seed)
{
	for (uint32_t i = 0; i < BUFS; i++) {
		uint32_t at = (i + seed) % BUFS;

		if (w->w_o.o_buf[at].b_state == state)
			return ((int)at);
	}
	return (NOBODY);
}

static uint32_t
burst(const struct op *op)
{
	return (1 + op->o_a % (1u << op->o_scale % 6));
}

static bool
op_alloc(struct world *w, const struct op *op)
{
	uint64_t seed = op->o_b;

	for (uint32_t n = burst(op); n > 0; n--)
		if (!alloc_one(w, (uint32_t)random_next(&seed)))
			return (false);
	return (true);
}

static bool
op_free(struct world *w, const struct op *op)
{
	uint64_t seed = op->o_b;
	int i;

	for (uint32_t n = burst(op);
	     n > 0 && (i = any(w, USED, (uint32_t)(seed >> 40))) != NOBODY; n--)
		if (!free_one(w, i, (uint32_t)random_next(&seed)))
			return (false);
	return (true);
}

/* What is free is allocated and freed, so often that CPUs keep some at hand. */
static bool
op_churn(struct world *w, const struct op *op)
{
	bool brief = op->o_b % 3 == 0 || long_churns == 0;
	uint32_t rounds = w->w_exact ? 4 : brief ? 40 : 600;
	uint32_t seed = op->o_b % 3 == 0 ? op->o_b : 0;

	long_churns -= !brief;
	for (uint32_t r = 0; r < rounds && w->w_o.o_nfree > 0; r++) {
		int got[4], n = 0;

		while (n < 4 && w->w_o.o_nfree > 0) {
			got[n] = w->w_o.o_free[w->w_o.o_nfree - 1];
			if (!alloc_one(w, seed | 7u << 8))
				return (false);
			n++;
		}
		while (n > 0)
			if (!free_one(w, got[--n], seed))
				return (false);
	}
	return (true);
}

/* Past its time before it is served, and there is nothing to be made. */
static bool
op_timed(struct world *w, const struct op *op)
{
	struct oracle *o = &w->w_o;
	struct timespec soon;

	if (op->o_b % 4 != 0 || o->o_nfree > 0 || o->o_total < o->o_nmax)
		return (true);
	(void)clock_gettime(CLOCK_MONOTONIC, &soon);
	soon.tv_nsec += 300000;
	soon.tv_sec += soon.tv_nsec / 1000000000;
	soon.tv_nsec %= 1000000000;
	o->o_stats.sleeps++;
	if (mpipe_alloc_timed(&w->w_pipe, &soon) != NULL || errno != ETIMEDOUT)
		return (wrong(w, "no timeout, errno %d", errno));
	return (settle(w));
}

/* ---- who waits ---- */

static bool
request_one(struct world *w, enum kind kind)
{
	struct oracle *o = &w->w_o;
	struct asker a = {.a_kind = kind, .a_id = w->w_next, .a_buf = NOBODY};
	struct request *r = &w->w_request[w->w_next % 256];
	bool async = kind != TAKE && kind != DECLINE;
	int error, got;
	void *buf = NULL;

	if (o->o_nqueue + o->o_nready == LINE || o->o_total >= MOST - LINE ||
	    (o->o_room >= 0 && o->o_nfree == 0))
		return (true);
	w->w_next++;
	*r = (struct request){kind, a.a_id};
	a.a_buf = oracle_take(o, &a.a_hit, &error);
	if (!async && a.a_buf == NOBODY)
		a.a_buf = oracle_take(o, &a.a_hit, &error);
	if (async) {
		got = mpipe_alloc_async(&w->w_pipe, delivered, r, &a.a_ticket);
	} else {
		buf = mpipe_alloc_callback(&w->w_pipe, called, r, &w->w_pipe);
		got = buf == NULL && errno == EINPROGRESS ? 0 : errno;
	}
	if (!async && a.a_buf != NOBODY) {
		oracle_hand_out(o, a.a_buf, a.a_hit);
		if (buf == NULL)
			return (wrong(w, "no buffer, errno %d", got));
		return (receive(w, a.a_buf, buf, false) && settle(w));
	}
	if (got != 0 || buf != NULL)
		return (wrong(w, "request: %d, %p", got, buf));
	if (a.a_buf == NOBODY)
		oracle_stand_in_line(o, &a);
	else
		o->o_ready[o->o_nready++] = a;
	return (settle(w));
}

static bool
op_request(struct world *w, const struct op *op)
{
	static const enum kind kinds[FAMILIES][4] = {
	    [WITH_THREADS] = {KEEP, TAKE, KEEP, TAKE},
	    [WITH_HELD] = {KEEP, DROP, HOLD, DROP},
	    [WITH_DECLINED] = {KEEP, TAKE, DECLINE, DROP}};

	if (w->w_lone)
		return (true);
	for (uint32_t n = 1 + burst(op) % 4, seed = op->o_b; n > 0;
	     n--, seed /= 8)
		if (!request_one(w, kinds[w->w_family][seed % 4]))
			return (false);
	return (true);
}

/* The first worker never waits. */
static bool
op_wait(struct world *w, const struct op *op)
{
	struct oracle *o = &w->w_o;
	unsigned id = 1 + op->o_b % (WORKERS - 1);
	struct asker a = {.a_kind = THREAD, .a_id = id, .a_buf = NOBODY};
	struct worker *k = &w->w_worker[id];
	bool hit;
	int error;

	if (w->w_lone || w->w_family != WITH_THREADS || k->k_waits ||
	    o->o_nqueue == LINE || o->o_room >= 0 || !oracle_would_wait(o))
		return (true);
	(void)oracle_take(o, &hit, &error);
	oracle_stand_in_line(o, &a);
	k->k_waits = true;
	worker_begin(k, WAIT, NULL);
	return (settle(w) && check(w));
}

static bool
op_cancel(struct world *w, const struct op *op)
{
	struct oracle *o = &w->w_o;
	int n = o->o_nqueue + o->o_nready;
	int at = (int)(op->o_b % (uint32_t)(n + 1)), want = 0, got;
	struct asker a = {.a_kind = KEEP, .a_ticket = UINT64_MAX - op->o_a};

	/* Who tries to grow for it may be in the middle of that. */
	if (o->o_retrying)
		return (true);
	if (at < o->o_nready)
		a = o->o_ready[at];
	else if (at < n)
		a = o->o_queue[at - o->o_nready];
	if (a.a_kind == THREAD || a.a_kind == TAKE || a.a_kind == DECLINE)
		return (true);
	if (at < n) {
		oracle_cancel(o, at);
		want = 1;
	}
	got = mpipe_cancel(&w->w_pipe, a.a_ticket);
	if (got != want || mpipe_cancel(&w->w_pipe, a.a_ticket) != 0)
		return (wrong(w, "cancel: %d, not %d", got, want));
	return (settle(w));
}

/* Let the callback that does not return do so. */
static bool
op_let_go(struct world *w, const struct op *op)
{
	(void)op;

	if (!w->w_o.o_held)
		return (true);
	w->w_o.o_held = false;
	(void)sem_post(&w->w_let_go);
	return (settle(w));
}

/* ---- numbers, memory, the descriptor ---- */

static bool
op_resize(struct world *w, const struct op *op)
{
	struct oracle *o = &w->w_o;
	int nnom = (int)(op->o_a % 26) - 1, nmax = nnom + (int)(op->o_b % 16);
	time_t start = 0;
	int want, got;

	if (op->o_b % 11 == 0)
		nmax = op->o_b % 2 == 0 ? -1 : 0;
	else if (op->o_b % 3 == 0)
		nmax = o->o_total;
	if (w->w_family != WITH_HELD && o->o_nqueue > 0 && nnom > o->o_total)
		return (true);
	want = oracle_resize(o, nnom, nmax);
	/* One that is being made counts as allocated. */
	do
		got = mpipe_resize(&w->w_pipe, nnom, nmax);
	while (got == EBUSY && want == 0 && o->o_retrying && patient(&start));
	if (got != want)
		return (wrong(
		    w, "resize(%d, %d): %d, not %d", nnom, nmax, got, want));
	return (settle(w));
}

/* So many constructions will succeed, or all. */
static bool
op_fail(struct world *w, const struct op *op)
{
	if (!w->w_may_fail)
		return (true);
	w->w_o.o_budget = op->o_b % 2 == 0 ? -1 : op->o_a % 5;
	w->w_hooks.h_budget = w->w_o.o_budget;
	return (settle(w));
}

/* There is memory for so many, or all. */
static bool
op_limit(struct world *w, const struct op *op)
{
	struct malloc_type_stats st;

	if (w->w_o.o_nqueue > 0)
		return (true);
	(void)malloc_type_getstats(M_MODEL, &st);
	w->w_o.o_room = op->o_b % 2 == 0 ? -1 : op->o_a % 5;
	if (malloc_type_set_limit(M_MODEL,
		w->w_o.o_room < 0
		    ? 0
		    : st.memuse + (size_t)w->w_o.o_room * w->w_charge) != 0)
		return (wrong(w, "no limit"));
	return (settle(w));
}

/* A pipe with one never has buffers at hand of CPUs. */
static bool
op_event(struct world *w, const struct op *op)
{
	int fd;

	if (w->w_o.o_nfree > 0)
		mpipe_wait(&w->w_pipe);
	if (!w->w_exact && op->o_b % 16 != 0)
		return (settle(w));
	fd = mpipe_eventfd(&w->w_pipe);
	if (fd < 0 || (w->w_fd >= 0 && w->w_fd != fd))
		return (wrong(w, "descriptor %d, then %d", w->w_fd, fd));
	if (w->w_fd < 0)
		w->w_o.o_short = w->w_o.o_retrying ? PERHAPS : NO;
	w->w_fd = fd;
	return (settle(w));
}

/* ---- misuse ---- */

/* What breaks the contract is reported once and changes nothing. */
static bool
op_misuse(struct world *w, const struct op *op)
{
	const struct oracle *o = &w->w_o;
	malloc_pipe_t pipe = &w->w_pipe;
	int i = any(w, op->o_a % 2 == 0 ? FREE : READY, op->o_b), want = 1;

	w->w_panics = 0;
	mpipe_free(pipe, NULL);
	mpipe_free(pipe, w->w_foreign);
	if (i != NOBODY && o->o_buf[i].b_addr != NULL) {
		mpipe_free(pipe, o->o_buf[i].b_addr);
		want++;
	}
	i = any(w, USED, op->o_b);
	if (i != NOBODY) {
		mpipe_free(pipe, o->o_buf[i].b_addr + 1);
		mpipe_free(&w->w_other, o->o_buf[i].b_addr);
		want += 2;
		/* It would wait for the callback. */
		if (!o->o_held) {
			mpipe_done(pipe);
			want++;
		}
	}
	if (w->w_panics != (unsigned)want)
		return (wrong(w, "%u panics, not %d", w->w_panics, want));
	return (settle(w));
}

/* The same, of what is no pipe. */
static bool
op_no_pipe(struct world *w, const struct op *op)
{
	struct malloc_pipe p, zero = {0};
	struct mpipe_stats st;
	bool ok = true;

	memset(&p, 0xff, sizeof(p));
	w->w_panics = 0;
	mpipe_init(
	    &p, M_MODEL, -(int)op->o_a, 1, 2, MPF_NOZERO, NULL, NULL, NULL);
	ok = ok && memcmp(&p, &zero, sizeof(p)) == 0 && w->w_panics == 1;
	ok = ok && mpipe_alloc_nowait(&p) == NULL && errno == EINVAL;
	ok = ok && mpipe_resize(&p, 1, 1) == EINVAL;
	ok = ok && mpipe_cancel(&p, 1) == 0 && w->w_panics == 4;
	ok = ok && mpipe_getstats(&p, &st) == EINVAL;
	mpipe_done(&p);
	ok = ok && memcmp(&p, &zero, sizeof(p)) == 0 && w->w_panics == 4;
	return (ok || wrong(w, "what is no pipe was taken for one"));
}

/* The k-th construction fails: the others are undone, the last one first. */
static bool
op_fail_init(struct world *w, const struct op *op)
{
	static struct hooks h;
	int k = op->o_a % 20, made;
	struct malloc_pipe p;

	if (w->w_o.o_room >= 0 || w->w_o.o_retrying)
		return (true);
	memset(&h, 0, sizeof(h));
	h.h_bytes = w->w_bytes;
	h.h_budget = k;
	made = mpipe_tryinit(&p, M_MODEL, (int)w->w_bytes, k + 1, 0,
	    w->w_flags & ~MPF_CALLBACK, try_construct, deconstruct, &h);
	if (made != EIO || p.handle != NULL || h.h_made != (unsigned)k ||
	    h.h_unmade.l_n != (unsigned)k)
		return (wrong(w, "init: %d, %u made, %u unmade", made, h.h_made,
		    h.h_unmade.l_n));
	return (settle(w));
}

/* ---- the whole ---- */

/* Memory that is not zero, for those who ask for zeroes. */
static void
make_dirt(struct world *w)
{
	void *dirt[DIRTY];

	for (int i = 0; i < DIRTY; i++) {
		dirt[i] = w->w_pool == NULL
		    ? kmalloc(w->w_bytes, M_TEMP, M_WAITOK)
		    : contigmalloc_pool(w->w_pool, w->w_bytes, M_TEMP, M_NOWAIT,
			  0, ~(vm_paddr_t)0, 1, 0);
		memset(dirt[i], 'd', w->w_bytes);
	}
	for (int i = 0; i < DIRTY; i++)
		kfree(dirt[i], M_TEMP);
}

static int
init(struct world *w, int nnom, int nmax, bool infallible)
{
	malloc_pipe_t p = &w->w_pipe;
	int bytes = (int)w->w_bytes;
	int (*make)(void *, void *) = w->w_constructs ? try_construct : NULL;
	void (*unmake)(void *, void *) = w->w_deconstructs ? deconstruct : NULL;

	w->w_may_fail = w->w_constructs;
	if (w->w_pool != NULL)
		return (mpipe_init_contig(p, M_MODEL, bytes, nnom, nmax,
		    w->w_flags, make, unmake, &w->w_hooks, w->w_pool, 4 * PAGE,
		    (POOL_PAGES - 4) * (vm_paddr_t)PAGE, w->w_align,
		    16 * PAGE));
	if (!infallible)
		return (mpipe_tryinit(p, M_MODEL, bytes, nnom, nmax, w->w_flags,
		    make, unmake, &w->w_hooks));
	w->w_may_fail = false;
	mpipe_init(p, M_MODEL, bytes, nnom, nmax, w->w_flags,
	    w->w_constructs ? construct : NULL, unmake, &w->w_hooks);
	return (0);
}

/* A pipe of another size, with other numbers. */
static bool
start(struct world *w, const struct op *op)
{
	static const int flags[] = {MPF_INT, MPF_CANCEL};
	struct malloc_type_stats before, after;
	int nnom = (int)(op->o_a % 26) - 1, nmax = nnom + (int)(op->o_b % 16);
	uint32_t bits = op->o_b >> 8;

	if (op->o_b % 7 == 0)
		nmax = op->o_b % 2 == 0 ? -1 : 0;
	w->w_bytes = 1 + (bits / 64) % (bits % 4 == 0 ? LARGEST : 200);
	if (bits % 4 == 1)
		w->w_bytes = 1u << bits / 64 % 13;
	w->w_align =
	    w->w_pool == NULL ? 1 : (unsigned long)PAGE << bits / 64 % 3;
	w->w_constructs = (bits & 4) != 0;
	w->w_deconstructs = (bits & 8) != 0 || !w->w_exact;
	w->w_family = (enum family)((bits >> 20) % FAMILIES);
	w->w_flags &= MPF_CACHEDATA | MPF_NOZERO;
	w->w_flags |= flags[bits / 64 % 2];
	w->w_flags |= (bits & 32) != 0 && !w->w_lone ? MPF_CALLBACK : 0;
	w->w_fd = -1;
	w->w_hooks.h_budget = -1;
	w->w_hooks.h_bytes = w->w_bytes;
	w->w_hooks.h_zero = (w->w_flags & MPF_NOZERO) == 0;
	w->w_hooks.h_made = w->w_hooks.h_failed = 0;
	make_dirt(w);
	(void)malloc_type_getstats(M_MODEL, &before);
	if (init(w, nnom, nmax, (bits & 64) != 0) != 0)
		return (wrong(w, "init"));
	(void)malloc_type_getstats(M_MODEL, &after);
	oracle_start(&w->w_o, nnom, nmax,
	    (w->w_flags & (MPF_CACHEDATA | MPF_NOZERO)) == 0);
	w->w_charge = (after.memuse - before.memuse) / (size_t)w->w_o.o_total;
	if (w->w_constructs && w->w_hooks.h_made != (unsigned)w->w_o.o_total)
		return (wrong(w, "%u constructed", w->w_hooks.h_made));
	return (check(w));
}

/* Those that are free go, the one that was freed last being the first. */
static bool
expect_end(struct world *w)
{
	struct oracle *o = &w->w_o;
	struct malloc_pipe zero = {0};

	while (o->o_nfree > 0) {
		int i = oracle_pop(o);
		struct entry *e;

		oracle_unmake(o, i);
		if (!w->w_deconstructs)
			continue;
		if (!await_log(w, &w->w_hooks.h_unmade, &e) ||
		    !expect_gone_at(w, e, &i, 1))
			return (false);
	}
	o->o_total = 0;
	oracle_forget(o);
	if (memcmp(&w->w_pipe, &zero, sizeof(zero)) != 0 ||
	    blocks_of_type() != 1 ||
	    atomic_load(&w->w_called.l_n) != w->w_called.l_seen)
		return (wrong(w, "something is left of a pipe"));
	return (true);
}

/*
 * The callback that does not return keeps others from being called; the pipe is
 * given up meanwhile, and they are called with no buffer.
 */
static bool
end_held(struct world *w)
{
	struct oracle *o = &w->w_o;
	unsigned freed = atomic_load(&w->w_hooks.h_unmade.l_n);
	struct entry *e;

	worker_begin(&w->w_worker[0], LET_DONE_BEGIN, NULL);
	mpipe_done(&w->w_pipe);
	while (sem_wait(&w->w_worker[0].k_done) != 0)
		continue;
	for (int i = 0; i < o->o_nready + o->o_nqueue; i++) {
		const struct asker *a = i < o->o_nready
		    ? &o->o_ready[i]
		    : &o->o_queue[i - o->o_nready];

		if (!await_log(w, &w->w_called, &e))
			return (false);
		if (e->e_id != a->a_id || e->e_buf != NULL)
			return (wrong(w, "%u was called with %p", e->e_id,
			    (void *)e->e_buf));
	}
	/* That thread may have made some. */
	freed = atomic_load(&w->w_hooks.h_unmade.l_n) - freed;
	if (w->w_deconstructs && freed < (unsigned)o->o_total)
		return (wrong(w, "%u were deconstructed", freed));
	w->w_hooks.h_unmade.l_seen = atomic_load(&w->w_hooks.h_unmade.l_n);
	o->o_nfree = 0;
	return (expect_end(w));
}

/* Give up the pipe, if nothing of it is allocated. */
static bool
end(struct world *w)
{
	kmalloc_set_unlimited(M_MODEL);
	if (w->w_o.o_held)
		return (end_held(w));
	mpipe_done(&w->w_pipe);
	return (expect_end(w));
}

static bool
op_renew(struct world *w, const struct op *op)
{
	int i;

	while (op->o_b % 4 == 0 && (i = any(w, USED, 0)) != NOBODY)
		if (!free_one(w, i, 0))
			return (false);
	if (any(w, USED, 0) != NOBODY)
		return (true);
	return (end(w) && start(w, op));
}

static bool
step(struct world *w, const struct op *op)
{
	static bool (*const kinds[])(struct world *, const struct op *) = {
	    op_alloc, op_alloc, op_alloc, op_alloc, op_free, op_free, op_free,
	    op_free, op_churn, op_request, op_request, op_request, op_wait,
	    op_wait, op_cancel, op_let_go, op_resize, op_timed, op_event,
	    op_fail, op_limit, op_misuse, op_no_pipe, op_fail_init, op_renew};

	if (hang_s != 0)
		(void)alarm(hang_s);
	return (kinds[op->o_kind % (sizeof(kinds) / sizeof(kinds[0]))](w, op));
}

static void
count_panic(const char *message)
{
	(void)message;
	world.w_panics++;
}

static bool
begin(struct world *w, unsigned shape)
{
	static const int contents[] = {
	    0, MPF_CACHEDATA, MPF_NOZERO, MPF_CACHEDATA | MPF_NOZERO};
	struct physpool_attr attr = {
	    .name = "model", .size = (size_t)POOL_PAGES * PAGE};

	(void)quarry_set_panic_hook(count_panic);
	w->w_flags = contents[shape % 4];
	w->w_lone = shape / 4 % 3 == 0;
	w->w_exact = shape / 4 % 3 != 2;
	w->w_pool = NULL;
	if (shape / 12 % 2 == 1 && physpool_create(&w->w_pool, &attr) != 0)
		return (false);
	if (!w->w_lone)
		workers_start(w);
	mpipe_init(&w->w_other, M_MODEL, 8, 1, 1, 0, NULL, NULL, NULL);
	w->w_foreign = mpipe_alloc_nowait(&w->w_other);
	return (start(w,
	    &(struct op){
		.o_a = (uint16_t)(shape * 7), .o_b = shape * 0x9e3779b1}));
}

/* All that is used is freed, those who wait are served, and nothing is left. */
static bool
finish(struct world *w)
{
	const struct op all = {.o_a = 0, .o_b = 0};
	int i;

	while (w->w_o.o_held)
		if (!op_let_go(w, &all))
			return (false);
	if (!op_fail(w, &all))
		return (false);
	while ((i = any(w, USED, 0)) != NOBODY || w->w_o.o_held)
		if (!(w->w_o.o_held ? op_let_go(w, &all) : free_one(w, i, 0)))
			return (false);
	if (!check(w) || !end(w))
		return (false);
	mpipe_free(&w->w_other, w->w_foreign);
	mpipe_done(&w->w_other);
	return (blocks_of_type() == 0 &&
	    (w->w_pool == NULL || physpool_destroy(w->w_pool) == 0));
}

/*
 * Run the list on a pipe of its own, of which nothing is left.  The number of
 * the operation that was wrong, or n; w_why tells.
 */
static size_t
run_ops(struct world *w, unsigned shape, const struct op *ops, size_t n)
{
	if (!begin(w, shape))
		return (0);
	for (size_t i = 0; i < n; i++)
		if (!step(w, &ops[i]) ||
		    (i % 16 == 0 && !(check(w) && check_contents(w))))
			return (i);
	return (finish(w) ? n : n - 1);
}

static void
make_ops(uint64_t seed, struct op *ops, size_t n)
{
	unsigned phase = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t r = random_next(&seed);

		if (i % 29 == 0)
			phase = (unsigned)(r >> 60);
		ops[i].o_kind = (uint8_t)r % 25;
		/* Times of little and of much in use. */
		if (phase % 2 == 0 && ops[i].o_kind >= 4 && ops[i].o_kind < 8)
			ops[i].o_kind = phase % 4 == 0 ? 0 : 9;
		ops[i].o_scale = (uint8_t)((r >> 8) % 6);
		ops[i].o_a = (uint16_t)(r >> 16);
		ops[i].o_b = (uint32_t)(r >> 32);
	}
}

#endif /* QR_MPIPE_OPS_H */
