/*
 * mpipe_test.h - what the tests of malloc pipelines share.
 */
#ifndef QR_MPIPE_TEST_H
#define QR_MPIPE_TEST_H

#include "unit/contig/contig_test.h"

#include <quarry/mpipe.h>

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

static MALLOC_DEFINE(M_PIPE, "pipe", "buffers of the pipes under test");

#define NS_PER_S INT64_C(1000000000)

enum { PATIENCE_S = 20 };

static inline int64_t
now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (ts.tv_sec * NS_PER_S + ts.tv_nsec);
}

static inline struct timespec
after_ms(int ms)
{
	int64_t ns = now_ns() + ms * INT64_C(1000000);

	return ((struct timespec){ns / NS_PER_S, ns % NS_PER_S});
}

/* Wait until `expr` holds; false when that takes too long. */
#define EVENTUALLY(expr)                                         \
	do {                                                     \
		int64_t end_ = now_ns() + PATIENCE_S * NS_PER_S; \
		while (!(expr)) {                                \
			assert_true(now_ns() < end_);            \
			(void)usleep(200);                       \
		}                                                \
	} while (0)

/* Constructed, deconstructed, and what a constructor is to do. */
struct hooks {
	_Atomic int made, unmade;
	int fail_at;   /* the n-th fails, from 1; 0 = none */
	int fail_with; /* errno */
	bool mark;     /* write 'c' in the first byte */
};

static inline int
hook_make(void *buf, void *priv)
{
	struct hooks *h = priv;

	if (atomic_fetch_add(&h->made, 1) + 1 == h->fail_at) {
		atomic_fetch_sub(&h->made, 1);
		return (h->fail_with);
	}
	if (h->mark)
		memset(buf, 'c', 1);
	return (0);
}

static inline void
hook_make_void(void *buf, void *priv)
{
	(void)hook_make(buf, priv);
}

static inline void
hook_unmake(void *buf, void *priv)
{
	struct hooks *h = priv;
	(void)buf;

	atomic_fetch_add(&h->unmade, 1);
}

static inline void
pipe_make(struct malloc_pipe *p, int nnom, int nmax)
{
	assert_int_equal(mpipe_tryinit(p, M_PIPE, 64, nnom, nmax, MPF_CACHEDATA,
			     NULL, NULL, NULL),
	    0);
}

/* No buffer gets memory from now on, until kmalloc_set_unlimited(M_PIPE). */
static inline void
pipes_starve(void)
{
	assert_int_equal(
	    malloc_type_set_limit(M_PIPE, stats_of(M_PIPE).memuse), 0);
}

/* As pipe_make(), with memory for one buffer only, which is returned. */
static inline void *
pipe_make_starved(struct malloc_pipe *p, int nmax)
{
	void *buf;

	pipe_make(p, 1, nmax);
	buf = mpipe_alloc_nowait(p);
	pipes_starve();
	return (buf);
}

static inline struct mpipe_stats
pipe_stats(struct malloc_pipe *p)
{
	struct mpipe_stats st;

	assert_int_equal(mpipe_getstats(p, &st), 0);
	return (st);
}

/* 0 <= free <= ary <= total <= max. */
static inline void
pipe_check(const struct malloc_pipe *p)
{
	assert_true(0 <= p->free_count);
	assert_true(p->free_count <= p->ary_count);
	assert_true(p->ary_count <= p->total_count);
	assert_true(p->total_count <= p->max_count);
}

/* They are exact once the statistics were asked for. */
#define COUNTS(p, free_, total_)                            \
	do {                                                \
		(void)pipe_stats(p);                        \
		pipe_check(p);                              \
		assert_int_equal((p)->free_count, free_);   \
		assert_int_equal((p)->total_count, total_); \
	} while (0)

/* A thread that wants a buffer, waits for it and keeps it. */
struct waiter {
	struct malloc_pipe *pipe;
	pthread_t thread;
	_Atomic(void *) got;
	_Atomic int order; /* of being served, from 1 */
	_Atomic int *served;
};

static inline void *
waiter_main(void *arg)
{
	struct waiter *w = arg;
	void *buf = mpipe_alloc_waitok(w->pipe);

	if (w->served != NULL)
		w->order = atomic_fetch_add(w->served, 1) + 1;
	w->got = buf;
	return (NULL);
}

/* Start it; return when it waits. */
static inline void
waiter_start(struct waiter *w)
{
	uint64_t sleeps = pipe_stats(w->pipe).sleeps;

	assert_int_equal(pthread_create(&w->thread, NULL, waiter_main, w), 0);
	EVENTUALLY(pipe_stats(w->pipe).sleeps > sleeps);
}

static inline void *
waiter_join(struct waiter *w)
{
	EVENTUALLY(w->got != NULL);
	assert_int_equal(pthread_join(w->thread, NULL), 0);
	return (w->got);
}

#endif /* QR_MPIPE_TEST_H */
