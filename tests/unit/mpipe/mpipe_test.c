/*
 * mpipe_test.c - numbers, contents, making, resizing and giving up of pipes.
 */
#include "unit/mpipe/mpipe_test.h"

#include "support/again.h"
#include "support/child.h"
#include "support/failsys.h"

static void
t18_numbers_are_what_the_manual_says(void **state)
{
	static const struct {
		int nnom, nmax, ary, max;
	} row[] = {
	    {4, 0, 4, 4},
	    {4, 2, 4, 4},
	    {4, 9, 4, 9},
	    {4, -1, 4, 0x7fff0000},
	    {0, 0, 1, 1},
	    {-5, 3, 1, 3},
	    {-5, -5, 1, 0x7fff0000},
	};
	struct malloc_pipe p;
	(void)state;

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		pipe_make(&p, row[i].nnom, row[i].nmax);
		assert_int_equal(p.ary_count, row[i].ary);
		assert_int_equal(p.max_count, row[i].max);
		assert_ptr_equal(p.type, M_PIPE);
		assert_int_equal(p.bytes, 64);
		COUNTS(&p, row[i].ary, row[i].ary);
		assert_int_equal(stats_of(M_PIPE).inuse, row[i].ary);
		mpipe_done(&p);
		assert_int_equal(stats_of(M_PIPE).inuse, 0);
	}
}

static void
t18_nmax_0_means_no_growth_and_more_means_so_many(void **state)
{
	struct malloc_pipe p;
	void *b[5];
	(void)state;

	pipe_make(&p, 2, 0);
	b[0] = mpipe_alloc_nowait(&p);
	b[1] = mpipe_alloc_nowait(&p);
	assert_non_null(b[1]);
	errno = 0;
	assert_null(mpipe_alloc_nowait(&p));
	assert_int_equal(errno, EAGAIN);
	COUNTS(&p, 0, 2);
	mpipe_free(&p, b[0]);
	mpipe_free(&p, b[1]);
	mpipe_done(&p);

	pipe_make(&p, 2, 4);
	for (int i = 0; i < 4; i++)
		assert_non_null(b[i] = mpipe_alloc_nowait(&p));
	assert_null(mpipe_alloc_nowait(&p));
	COUNTS(&p, 0, 4);
	for (int i = 0; i < 4; i++)
		mpipe_free(&p, b[i]);
	COUNTS(&p, 2, 2);
	assert_int_equal(pipe_stats(&p).growths, 2);
	assert_int_equal(pipe_stats(&p).overflow_frees, 2);
	mpipe_done(&p);
	assert_int_equal(stats_of(M_PIPE).inuse, 0);
}

static void
t19_the_last_freed_is_the_next_and_only_new_ones_are_constructed(void **state)
{
	struct hooks h = {0};
	struct malloc_pipe p;
	void *a, *b, *c;
	(void)state;

	assert_int_equal(mpipe_tryinit(&p, M_PIPE, 64, 2, 3, MPF_CACHEDATA,
			     hook_make, hook_unmake, &h),
	    0);
	assert_int_equal(h.made, 2);
	a = mpipe_alloc_nowait(&p);
	b = mpipe_alloc_nowait(&p);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	assert_ptr_equal(mpipe_alloc_nowait(&p), b);
	assert_ptr_equal(mpipe_alloc_nowait(&p), a);
	assert_int_equal(h.made, 2);
	c = mpipe_alloc_nowait(&p);
	assert_int_equal(h.made, 3);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	assert_int_equal(h.unmade, 0);
	mpipe_free(&p, c);
	assert_int_equal(h.unmade, 1);
	mpipe_done(&p);
	assert_int_equal(h.unmade, 3);
}

/* What a deconstructor found, of a buffer that was filled with 's'. */
static char found[64];

static void
look(void *buf, void *priv)
{
	(void)priv;
	memcpy(found, buf, sizeof(found));
}

static bool
all(const char *buf, int c, size_t from)
{
	for (size_t i = from; i < 64; i++) {
		if (buf[i] != c)
			return (false);
	}
	return (true);
}

static void
truth(int flags, bool fresh_zero, bool kept)
{
	struct hooks h = {.mark = true};
	struct malloc_pipe p;
	char *a, *b;

	/* So that memory that is not zeroed is seen not to be. */
	for (int i = 0; i < 2; i++) {
		char *dirt = kmalloc(64, M_PIPE, M_WAITOK);

		memset(dirt, 'd', 64);
		kfree(dirt, M_PIPE);
	}
	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 64, 1, 2, flags, hook_make, look, &h), 0);
	a = mpipe_alloc_nowait(&p);
	assert_int_equal(a[0], 'c');
	if (fresh_zero)
		assert_true(all(a, 0, 1));
	memset(a, 's', 64);
	mpipe_free(&p, a);
	b = mpipe_alloc_nowait(&p);
	assert_ptr_equal(a, b);
	assert_true(all(b, kept ? 's' : 0, 0));
	assert_int_equal(h.made, 1);

	/* Surplus: the deconstructor sees what was in it. */
	b = mpipe_alloc_nowait(&p);
	assert_int_equal(h.made, 2);
	memset(b, 's', 64);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	assert_true(all(found, 's', 0));
	mpipe_done(&p);
}

static void
t20_contents_are_those_of_the_truth_table(void **state)
{
	(void)state;
	truth(0, true, false);
	truth(MPF_CACHEDATA, true, true);
	truth(MPF_NOZERO, false, true);
	truth(MPF_NOZERO | MPF_CACHEDATA, false, true);
}

/* Writes a secret where it is about to be freed. */
static void
reveal(void *buf, void *priv)
{
	(void)priv;
	memset(buf, 's', 64);
}

static void
t32_nothing_of_the_contents_is_left_for_the_next_user(void **state)
{
	struct malloc_pipe p;
	char *b[3], *again, *kept[2];
	(void)state;

	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 64, 1, 3, 0, NULL, reveal, NULL), 0);
	for (int i = 0; i < 3; i++) {
		b[i] = mpipe_alloc_nowait(&p);
		memset(b[i], 's', 64);
	}
	/* The second and third are surplus. */
	for (int i = 0; i < 3; i++)
		mpipe_free(&p, b[i]);
	for (int i = 0; i < 2; i++) {
		again = kmalloc(64, M_PIPE, M_WAITOK);
		assert_true(again == b[1] || again == b[2]);
		assert_true(all(again, 0, 0));
		kept[i] = again;
	}
	mpipe_done(&p);
	again = kmalloc(64, M_PIPE, M_WAITOK);
	assert_ptr_equal(again, b[0]);
	assert_true(all(again, 0, 0));
	kfree(again, M_PIPE);
	kfree(kept[0], M_PIPE);
	kfree(kept[1], M_PIPE);
}

static void
t27_a_constructor_that_fails_costs_no_slot(void **state)
{
	struct hooks h = {.fail_at = 2, .fail_with = EIO};
	struct malloc_pipe p;
	void *a, *b;
	(void)state;

	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 64, 1, 2, 0, hook_make, hook_unmake, &h),
	    0);
	a = mpipe_alloc_nowait(&p);
	errno = 0;
	assert_null(mpipe_alloc_nowait(&p));
	assert_int_equal(errno, EIO);
	COUNTS(&p, 0, 1);
	assert_int_equal(stats_of(M_PIPE).inuse, 1);
	assert_int_equal(pipe_stats(&p).grow_failures, 1);
	h.fail_at = 0;
	b = mpipe_alloc_nowait(&p);
	assert_non_null(b);
	COUNTS(&p, 0, 2);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	mpipe_done(&p);
	assert_int_equal(h.made, h.unmade);
}

static void
t27_memory_that_is_short_costs_no_slot(void **state)
{
	struct malloc_pipe p;
	void *a, *b;
	(void)state;

	a = pipe_make_starved(&p, 2);
	assert_null(mpipe_alloc_nowait(&p));
	assert_int_equal(errno, ENOMEM);
	COUNTS(&p, 0, 1);
	kmalloc_set_unlimited(M_PIPE);
	b = mpipe_alloc_nowait(&p);
	assert_non_null(b);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	mpipe_done(&p);
}

static void
t28_making_a_pipe_that_fails_at_buffer_k_leaves_nothing(void **state)
{
	(void)state;
	for (int k = 1; k <= 5; k++) {
		struct hooks h = {.fail_at = k, .fail_with = EPROTO};
		struct malloc_pipe p, zero = {0};

		memset(&p, 0xff, sizeof(p));
		assert_int_equal(mpipe_tryinit(&p, M_PIPE, 64, 5, 5,
				     MPF_CALLBACK, hook_make, hook_unmake, &h),
		    EPROTO);
		assert_int_equal(h.unmade, k - 1);
		assert_int_equal(stats_of(M_PIPE).inuse, 0);
		assert_memory_equal(&p, &zero, sizeof(p));
		mpipe_done(&p);
	}
}

/* The n-th request for memory of the pipe itself, or of a buffer, fails. */
static void
t28_making_a_pipe_without_memory_leaves_nothing(void **state)
{
	uint64_t before = stats_of(M_PIPE).inuse;
	int error = ENOMEM, failures = 0;
	struct malloc_pipe p;
	(void)state;

	for (unsigned long n = 1; error != 0; n++) {
		failsys_reset();
		failsys_from(FAILSYS_MMAP, n, ENOMEM);
		error = mpipe_tryinit(
		    &p, M_PIPE, 1 << 20, 40, 40, 0, NULL, NULL, NULL);
		failsys_reset();
		assert_true(error == 0 || error == ENOMEM);
		failures += error != 0;
		if (error != 0)
			assert_int_equal(stats_of(M_PIPE).inuse, before);
	}
	mpipe_done(&p);
	assert_true(failures > 0);
	assert_int_equal(stats_of(M_PIPE).inuse, before);
}

static void
nobody(void *buf, void *arg)
{
	(void)buf;
	(void)arg;
}

static void
what_makes_no_sense_is_refused(void **state)
{
	struct malloc_type no_type[1] = {{NULL, 0, "none", NULL}};
	struct malloc_pipe p;
	(void)state;

	assert_int_equal(
	    mpipe_tryinit(&p, NULL, 64, 1, 1, 0, NULL, NULL, NULL), EINVAL);
	assert_int_equal(
	    mpipe_tryinit(&p, no_type, 64, 1, 1, 0, NULL, NULL, NULL), EINVAL);
	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 0, 1, 1, 0, NULL, NULL, NULL), EINVAL);
	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, -1, 1, 1, 0, NULL, NULL, NULL), EINVAL);
	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 64, 1, 1, 0x100, NULL, NULL, NULL),
	    EINVAL);
	assert_int_equal(mpipe_init_contig(&p, M_PIPE, 64, 1, 1, 0, NULL, NULL,
			     NULL, NULL, 0, NO_LIMIT, 0, 0),
	    EINVAL);
	assert_null(p.handle);

	panic_catch();
	mpipe_init(&p, M_PIPE, -7, 1, 2, MPF_NOZERO, NULL, NULL, NULL);
	PANIC_EXPECT("mpipe_init(%p, %p, -7, 1, 2, 0x2): error %d", (void *)&p,
	    (void *)M_PIPE, EINVAL);
	assert_null(p.handle);

	panic_catch();
	assert_null(mpipe_alloc_nowait(&p));
	PANIC_EXPECT("mpipe_alloc_nowait(%p): not a pipe", (void *)&p);
	assert_int_equal(errno, EINVAL);
	panic_catch();
	mpipe_free(&p, &p);
	PANIC_EXPECT("mpipe_free(%p): not a pipe", (void *)&p);
	panic_catch();
	assert_null(mpipe_alloc_waitok(&p));
	PANIC_EXPECT("mpipe_alloc_waitok(%p): not a pipe", (void *)&p);
	panic_catch();
	assert_int_equal(mpipe_alloc_async(&p, nobody, NULL, NULL), EINVAL);
	PANIC_EXPECT("mpipe_alloc_async(%p): not a pipe", (void *)&p);
	panic_catch();
	assert_int_equal(mpipe_eventfd(&p), -1);
	PANIC_EXPECT("mpipe_eventfd(%p): not a pipe", (void *)&p);
	panic_catch();
	mpipe_wait(&p);
	PANIC_EXPECT("mpipe_wait(%p): not a pipe", (void *)&p);
	assert_int_equal(mpipe_getstats(&p, &(struct mpipe_stats){0}), EINVAL);
}

/* A constructor that uses the pipe that it constructs for. */
static struct malloc_pipe own;
static int nested;

static int
make_with_own(void *buf, void *priv)
{
	void *b;
	(void)buf;
	(void)priv;

	if (own.handle == NULL || nested > 0)
		return (0);
	nested++;
	b = mpipe_alloc_nowait(&own);
	mpipe_free(&own, b);
	nested--;
	return (b == NULL ? ENOMEM : 0);
}

static void
unmake_with_own(void *buf, void *priv)
{
	(void)make_with_own(buf, priv);
}

static void
t29_constructors_may_use_the_same_pipe(void **state)
{
	void *b[3];
	(void)state;

	assert_int_equal(mpipe_tryinit(&own, M_PIPE, 64, 1, 8, 0, make_with_own,
			     unmake_with_own, NULL),
	    0);
	for (int i = 0; i < 3; i++)
		assert_non_null(b[i] = mpipe_alloc_nowait(&own));
	for (int i = 0; i < 3; i++)
		mpipe_free(&own, b[i]);
	COUNTS(&own, 1, 1);
	nested = 1;
	mpipe_done(&own);
	nested = 0;
}

static void
t30_a_bad_free_is_named_and_ignored(void **state)
{
	struct malloc_pipe p, q;
	char *a, *b;
	(void)state;

	pipe_make(&p, 2, 3);
	pipe_make(&q, 1, 1);
	mpipe_free(&p, NULL);
	a = mpipe_alloc_nowait(&p);
	b = mpipe_alloc_nowait(&q);

	panic_catch();
	mpipe_free(&p, b);
	PANIC_EXPECT("mpipe_free(%p, %p): not a buffer of this pipe, of type "
		     "pipe",
	    (void *)&p, (void *)b);
	panic_catch();
	mpipe_free(&p, a + 1);
	PANIC_EXPECT("mpipe_free(%p, %p): not a buffer of this pipe, of type "
		     "pipe",
	    (void *)&p, (void *)(a + 1));
	COUNTS(&p, 1, 2);
	mpipe_free(&p, a);
	panic_catch();
	mpipe_free(&p, a);
	PANIC_EXPECT("mpipe_free(%p, %p): freed twice, type pipe", (void *)&p,
	    (void *)a);
	COUNTS(&p, 2, 2);
	mpipe_free(&q, b);
	mpipe_done(&q);
	mpipe_done(&p);
}

static void
free_twice(void *arg)
{
	void *b = mpipe_alloc_nowait(arg);

	mpipe_free(arg, b);
	mpipe_free(arg, b);
}

static void
t30_a_double_free_is_fatal(void **state)
{
	struct malloc_pipe p;
	(void)state;

	pipe_make(&p, 2, 3);
	child_expect_abort_like(
	    free_twice, &p, "mpipe_free(*): freed twice, type pipe");
	mpipe_done(&p);
}

static void
t31_done_is_harmless_where_there_is_nothing(void **state)
{
	struct malloc_pipe p = {0};
	(void)state;

	mpipe_done(&p);
	pipe_make(&p, 2, 3);
	mpipe_done(&p);
	assert_int_equal(p.total_count, 0);
	mpipe_done(&p);
}

static void
t31_done_with_allocated_buffers_is_named_and_does_nothing(void **state)
{
	struct malloc_pipe p;
	void *a, *b;
	(void)state;

	pipe_make(&p, 3, 3);
	a = mpipe_alloc_nowait(&p);
	b = mpipe_alloc_nowait(&p);
	panic_catch();
	mpipe_done(&p);
	PANIC_EXPECT("mpipe_done(%p): 2 of 3 buffers of type pipe are "
		     "allocated",
	    (void *)&p);
	COUNTS(&p, 1, 3);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	COUNTS(&p, 3, 3);
	mpipe_done(&p);
	assert_int_equal(stats_of(M_PIPE).inuse, 0);
}

static void *
free_one(void *arg)
{
	void **pair = arg;

	mpipe_free(pair[0], pair[1]);
	return (NULL);
}

static void
t33_any_thread_frees(void **state)
{
	struct malloc_pipe p;
	void *pair[2] = {&p, NULL};
	pthread_t thread;
	(void)state;

	pipe_make(&p, 1, 1);
	for (int i = 0; i < 100; i++) {
		pair[1] = mpipe_alloc_nowait(&p);
		assert_non_null(pair[1]);
		assert_int_equal(
		    pthread_create(&thread, NULL, free_one, pair), 0);
		assert_int_equal(pthread_join(thread, NULL), 0);
	}
	assert_int_equal(pipe_stats(&p).allocs, 100);
	mpipe_done(&p);
}

static void
buffers_of_a_page_are_aligned_to_it(void **state)
{
	struct malloc_pipe p;
	void *b[5];
	(void)state;

	mpipe_init(&p, M_PIPE, PAGE, 2, 5, 0, hook_make_void, hook_unmake,
	    &(struct hooks){0});
	for (int i = 0; i < 5; i++) {
		b[i] = mpipe_alloc_nowait(&p);
		assert_int_equal((uintptr_t)b[i] % PAGE, 0);
	}
	for (int i = 0; i < 5; i++)
		mpipe_free(&p, b[i]);
	mpipe_done(&p);
}

static void
buffers_come_from_a_pool_and_meet_its_constraints(void **state)
{
	physpool_t *pool = pool_make(0, 64 * PAGE);
	struct malloc_pipe p;
	void *b[8];
	int n = 0;
	(void)state;

	assert_int_equal(
	    mpipe_init_contig(&p, M_PIPE, 3 * PAGE, 2, 8, 0, NULL, NULL, NULL,
		pool, PAGE, 40 * PAGE, 4 * PAGE, 8 * PAGE),
	    0);
	while (n < 8 && (b[n] = mpipe_alloc_nowait(&p)) != NULL) {
		vm_paddr_t pa = vtophys(b[n]);

		assert_true(pa >= PAGE && pa + 3 * PAGE <= 40 * PAGE);
		assert_int_equal(pa % (4 * PAGE), 0);
		n++;
	}
	assert_int_equal(n, 8);
	for (int i = 0; i < n; i++)
		mpipe_free(&p, b[i]);
	assert_int_equal(physpool_destroy(pool), EBUSY);
	mpipe_done(&p);
	pool_done(pool);
}

/* A reap leaves what nnom promises. */
static void
what_a_pipe_can_spare_is_there_for_who_may_reap(void **state)
{
	physpool_t *pool = pool_make(0, 5 * PAGE);
	struct hooks h = {0};
	struct malloc_pipe p;
	void *b[5], *run;
	(void)state;

	assert_int_equal(mpipe_init_contig(&p, M_PIPE, PAGE, 3, 5, 0, hook_make,
			     hook_unmake, &h, pool, 0, NO_LIMIT, 0, 0),
	    0);
	for (int i = 0; i < 5; i++)
		assert_non_null(b[i] = mpipe_alloc_nowait(&p));
	for (int i = 0; i < 3; i++)
		mpipe_free(&p, b[i]);
	COUNTS(&p, 3, 5);
	assert_null(contigmalloc_pool(
	    pool, PAGE, M_PIPE, M_WAITOK | M_NORECLAIM, 0, NO_LIMIT, 1, 0));
	COUNTS(&p, 3, 5);
	run =
	    contigmalloc_pool(pool, PAGE, M_PIPE, M_WAITOK, 0, NO_LIMIT, 1, 0);
	assert_non_null(run);
	COUNTS(&p, 1, 3);
	assert_int_equal(h.unmade, 2);
	(void)quarry_reap();
	COUNTS(&p, 1, 3);
	contigfree(run, PAGE, M_PIPE);
	mpipe_free(&p, b[3]);
	mpipe_free(&p, b[4]);
	assert_int_equal(pipe_stats(&p).overflow_frees, 2);
	mpipe_done(&p);
	assert_int_equal(h.made, h.unmade);
	pool_done(pool);
}

static void
a_pool_that_cannot_serve_a_pipe_says_so(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	struct malloc_pipe p;
	(void)state;

	assert_int_equal(mpipe_init_contig(&p, M_PIPE, 4 * PAGE, 9, 9, 0, NULL,
			     NULL, NULL, pool, 0, NO_LIMIT, 1, 0),
	    ENOMEM);
	assert_int_equal(mpipe_init_contig(&p, M_PIPE, 4 * PAGE, 1, 1, 0, NULL,
			     NULL, NULL, pool, 64 * PAGE, NO_LIMIT, 1, 0),
	    ENOSPC);
	assert_int_equal(mpipe_init_contig(&p, M_PIPE, 4 * PAGE, 1, 1, 0, NULL,
			     NULL, NULL, pool, 0, NO_LIMIT, 1, PAGE),
	    EINVAL);
	pool_done(pool);
}

static void
a_pipe_of_many_buffers_finds_each(void **state)
{
	enum { N = 3000 };
	static void *b[N];
	struct malloc_pipe p;
	unsigned random = 1;
	(void)state;

	pipe_make(&p, 1, -1);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < N; i++)
			assert_non_null(b[i] = mpipe_alloc_nowait(&p));
		for (int i = N - 1; i > 0; i--) {
			void *t = b[i];
			int j;

			random = random * 1664525 + 1013904223;
			j = (int)(random >> 8) % (i + 1);
			b[i] = b[j];
			b[j] = t;
		}
		for (int i = 0; i < N; i++)
			mpipe_free(&p, b[i]);
		COUNTS(&p, 1, 1);
	}
	mpipe_done(&p);
}

static void
a_pipe_is_resized_both_ways(void **state)
{
	struct hooks h = {0};
	struct malloc_pipe p;
	void *b[6];
	(void)state;

	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 64, 2, 2, 0, hook_make, hook_unmake, &h),
	    0);
	b[0] = mpipe_alloc_nowait(&p);
	assert_int_equal(mpipe_resize(&p, 5, 6), 0);
	COUNTS(&p, 4, 5);
	assert_int_equal(p.ary_count, 5);
	assert_int_equal(p.max_count, 6);
	for (int i = 1; i < 6; i++)
		assert_non_null(b[i] = mpipe_alloc_nowait(&p));
	assert_null(mpipe_alloc_nowait(&p));
	assert_int_equal(mpipe_resize(&p, 1, 5), EBUSY);
	assert_int_equal(p.max_count, 6);
	for (int i = 0; i < 5; i++)
		mpipe_free(&p, b[i]);
	COUNTS(&p, 5, 6);
	assert_int_equal(mpipe_resize(&p, 1, 3), 0);
	COUNTS(&p, 1, 2);
	mpipe_free(&p, b[5]);
	COUNTS(&p, 1, 1);

	h.fail_at = h.made + 3;
	h.fail_with = EIO;
	assert_int_equal(mpipe_resize(&p, 9, 9), EIO);
	COUNTS(&p, 1, 1);
	assert_int_equal(p.ary_count, 1);
	assert_int_equal(h.made - h.unmade, 1);
	h.fail_at = 0;
	assert_int_equal(mpipe_resize(&p, 1000, 0), 0);
	COUNTS(&p, 1000, 1000);
	mpipe_done(&p);
	assert_int_equal(h.made, h.unmade);
}

/* Whatever it is: some numbers have a meaning elsewhere in the library. */
static void
a_resize_fails_with_what_the_constructor_says(void **state)
{
	static const int error[] = {EAGAIN, EBUSY, EIO, -1};
	struct hooks h = {0};
	struct malloc_pipe p;
	(void)state;

	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 64, 1, 9, 0, hook_make, hook_unmake, &h),
	    0);
	(void)alarm(3 * PATIENCE_S);
	for (int i = 0; i < 4; i++) {
		h.fail_at = h.made + 2;
		h.fail_with = error[i];
		assert_int_equal(mpipe_resize(&p, 4, 8), error[i]);
		COUNTS(&p, 1, 1);
		assert_int_equal(p.ary_count, 1);
		assert_int_equal(p.max_count, 9);
		assert_int_equal(h.made - h.unmade, 1);
	}
	(void)alarm(0);
	mpipe_done(&p);
}

static void
statistics_count_what_happened(void **state)
{
	struct mpipe_stats st;
	struct malloc_pipe p;
	void *a, *b;
	(void)state;

	pipe_make(&p, 1, 2);
	a = mpipe_alloc_nowait(&p);
	b = mpipe_alloc_nowait(&p);
	assert_null(mpipe_alloc_nowait(&p));
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	mpipe_free(&p, mpipe_alloc_nowait(&p));
	st = pipe_stats(&p);
	assert_int_equal(st.allocs, 3);
	assert_int_equal(st.hits, 2);
	assert_int_equal(st.growths, 1);
	assert_int_equal(st.grow_failures, 0);
	assert_int_equal(st.sleeps, 0);
	assert_int_equal(st.wait_ns_max, 0);
	assert_int_equal(st.outstanding_max, 2);
	assert_int_equal(st.overflow_frees, 1);
	mpipe_done(&p);
}

static void
the_statistics_of_the_library_show_pipes(void **state)
{
	static const char *const format[] = {"text", "json", "openmetrics"};
	static const char *const want[] = {
	    ("\npipe                            64         1         2"
	     "         3            1         0         0\n"),
	    "{\"type\":\"pipe\",\"id\":",
	    "quarry_pipe_inuse{type=\"pipe\",id=\""};
	struct malloc_pipe p;
	void *b;
	(void)state;

	pipe_make(&p, 2, 3);
	b = mpipe_alloc_nowait(&p);
	for (int i = 0; i < 3; i++) {
		static char text[1 << 20];
		FILE *f = tmpfile();
		size_t n;

		assert_int_equal(quarry_stats_write(fileno(f), format[i]), 0);
		rewind(f);
		n = fread(text, 1, sizeof(text) - 1, f);
		text[n] = '\0';
		assert_non_null(strstr(text, want[i]));
		(void)fclose(f);
	}
	mpipe_free(&p, b);
	mpipe_done(&p);
}

/* ---- a constructor whose work is undone by the first free ---- */

static void
make_constructed(const char *name, int flags, bool constructed)
{
	struct malloc_type *type = NULL;
	struct malloc_pipe p;

	kmalloc_create(&type, name);
	mpipe_init(&p, type, 64, 1, 1, flags,
	    constructed ? hook_make_void : NULL, NULL, &(struct hooks){0});
	mpipe_done(&p);
	kmalloc_destroy(&type);
}

static void
make_four(void)
{
	make_constructed("plain", 0, false);
	make_constructed("cached", MPF_CACHEDATA, true);
	make_constructed("kept", MPF_NOZERO, true);
	make_constructed("undone", 0, true);
	make_constructed("again", 0, true);
}

static void
a_constructor_that_is_undone_is_named_once_when_debugging(void **state)
{
	static const char *const debug[] = {
	    "UMEM_DEBUG=audit=1", "UMEM_DEBUG="};
	static const char *const said[] = {
	    "quarry: mpipe_init: buffers of type undone are constructed once, "
	    "and each free zeroes them: MPF_CACHEDATA keeps what is in them\n",
	    ""};
	(void)state;

	for (int i = 0; i < 2; i++) {
		struct again_run run = {"make_four", {debug[i]}};
		struct child c;

		child_run(&c, again_exec, &run);
		assert_int_equal(c.c_signal, 0);
		assert_int_equal(c.c_status, 0);
		assert_string_equal(c.c_stderr, said[i]);
	}
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"make_four", make_four},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t18_numbers_are_what_the_manual_says),
	    cmocka_unit_test(t18_nmax_0_means_no_growth_and_more_means_so_many),
	    cmocka_unit_test(
		t19_the_last_freed_is_the_next_and_only_new_ones_are_constructed),
	    cmocka_unit_test(t20_contents_are_those_of_the_truth_table),
	    cmocka_unit_test(
		t32_nothing_of_the_contents_is_left_for_the_next_user),
	    cmocka_unit_test(t27_a_constructor_that_fails_costs_no_slot),
	    cmocka_unit_test(t27_memory_that_is_short_costs_no_slot),
	    cmocka_unit_test(
		t28_making_a_pipe_that_fails_at_buffer_k_leaves_nothing),
	    cmocka_unit_test(t28_making_a_pipe_without_memory_leaves_nothing),
	    cmocka_unit_test(what_makes_no_sense_is_refused),
	    cmocka_unit_test(t29_constructors_may_use_the_same_pipe),
	    cmocka_unit_test(t30_a_bad_free_is_named_and_ignored),
	    cmocka_unit_test(t30_a_double_free_is_fatal),
	    cmocka_unit_test(t31_done_is_harmless_where_there_is_nothing),
	    cmocka_unit_test(
		t31_done_with_allocated_buffers_is_named_and_does_nothing),
	    cmocka_unit_test(t33_any_thread_frees),
	    cmocka_unit_test(buffers_of_a_page_are_aligned_to_it),
	    cmocka_unit_test(buffers_come_from_a_pool_and_meet_its_constraints),
	    cmocka_unit_test(what_a_pipe_can_spare_is_there_for_who_may_reap),
	    cmocka_unit_test(a_pool_that_cannot_serve_a_pipe_says_so),
	    cmocka_unit_test(a_pipe_of_many_buffers_finds_each),
	    cmocka_unit_test(a_pipe_is_resized_both_ways),
	    cmocka_unit_test(a_resize_fails_with_what_the_constructor_says),
	    cmocka_unit_test(statistics_count_what_happened),
	    cmocka_unit_test(the_statistics_of_the_library_show_pipes),
	    cmocka_unit_test(
		a_constructor_that_is_undone_is_named_once_when_debugging),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
