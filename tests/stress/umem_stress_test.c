/*
 * umem_stress_test.c - threads that share objects, caches and the heap.
 *
 * Whoever has an object has stamped it; a stamp that changed, or an object
 * that has one when it is handed out, means that two had it.
 */
#include "umem/umem_impl.h"

#include "support/again.h"
#include "support/child.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	WORKERS = 6,
	SHELVES = 512, /* where threads leave objects for each other */
	SIZES = 40,
	CACHES = 3,
};

enum source { BY_SIZE, BY_ALIGN, BY_CACHE };

/* The head of every object in use; its last word is the stamp again. */
struct head {
	uint64_t h_stamp;
	uint32_t h_source;
	uint32_t h_cache; /* index */
	size_t h_size;
};

static struct {
	_Atomic bool s_stop;
	_Atomic unsigned long s_errors, s_rounds;
	_Atomic(struct head *) s_shelf[SHELVES];
	umem_cache_t *s_cache[CACHES];
	size_t s_size[CACHES];
	bool s_make_caches; /* workers make and destroy caches of their own */
} stress;

static void
wrong(const char *what)
{
	atomic_fetch_add(&stress.s_errors, 1);
	(void)dprintf(STDERR_FILENO, "%s\n", what);
}

static uint32_t
random_next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return (*state);
}

/* ---- objects ---- */

static uint64_t
stamp_of(const struct head *h)
{
	return ((uintptr_t)h * 0x9e3779b97f4a7c15u ^ h->h_size);
}

static void
stamp(struct head *h)
{
	h->h_stamp = stamp_of(h);
	memcpy((char *)h + h->h_size - 8, &h->h_stamp, 8);
}

/* The stamp is there still; take it away. */
static void
unstamp(struct head *h)
{
	uint64_t last;

	memcpy(&last, (char *)h + h->h_size - 8, 8);
	if (h->h_stamp != stamp_of(h) || last != h->h_stamp)
		wrong("a stamp has changed");
	h->h_stamp = 0;
	memset((char *)h + h->h_size - 8, 0, 8);
}

static struct head *
obtain(uint32_t random)
{
	enum source source = random % 8 == 0 ? BY_ALIGN
	    : random % 8 < 4                 ? BY_SIZE
					     : BY_CACHE;
	unsigned cache = random / 8 % CACHES;
	size_t size = source == BY_CACHE ? stress.s_size[cache]
	    : random % 509 == 0
	    ? 200000
	    : sizeof(struct head) + 8 + random / 8 % SIZES * 24;
	struct head *h = source == BY_CACHE
	    ? umem_cache_alloc(stress.s_cache[cache], UMEM_DEFAULT)
	    : source == BY_SIZE ? umem_alloc(size, UMEM_DEFAULT)
				: umem_alloc_align(size, 64, UMEM_DEFAULT);

	if (h == NULL) {
		wrong("no memory");
		return (NULL);
	}
	if (h->h_stamp == stamp_of(h) && h->h_size == size)
		wrong("an object in use was handed out");
	h->h_source = source;
	h->h_cache = cache;
	h->h_size = size;
	stamp(h);
	return (h);
}

static void
give_back(struct head *h)
{
	size_t size = h->h_size;

	unstamp(h);
	if (h->h_source == BY_CACHE)
		umem_cache_free(stress.s_cache[h->h_cache], h);
	else if (h->h_source == BY_SIZE)
		umem_free(h, size);
	else
		umem_free_align(h, size);
}

/* ---- workers ---- */

static void
live_of_a_cache(uint32_t random)
{
	size_t size = 32 + random % 1000;
	umem_cache_t *cp = umem_cache_create(
	    "short", size, 0, NULL, NULL, NULL, NULL, NULL, 0);
	void *objs[30];

	if (cp == NULL ||
	    umem_cache_alloc_batch(cp, objs, 30, UMEM_DEFAULT) != 30) {
		wrong("no cache");
		return;
	}
	for (size_t i = 0; i < 30; i++)
		memset(objs[i], (int)i, size);
	for (size_t i = 0; i < 30; i++) {
		if (((unsigned char *)objs[i])[size - 1] != i)
			wrong("objects of a cache overlap");
	}
	umem_cache_free_batch(cp, objs, 30);
	umem_cache_destroy(cp);
}

/* Put one object on a shelf; what lay there, of whomever, is freed. */
static void
work_once(uint32_t *random)
{
	struct head *h = obtain(random_next(random));

	if (h != NULL)
		h = atomic_exchange(
		    &stress.s_shelf[random_next(random) % SHELVES], h);
	if (h != NULL)
		give_back(h);
	if (stress.s_make_caches && *random % 256 == 0)
		live_of_a_cache(*random >> 8);
}

static void *
work(void *arg)
{
	uint32_t random = (uint32_t)(uintptr_t)arg * 2654435761u + 1;

	while (!stress.s_stop) {
		for (int i = 0; i < 64; i++)
			work_once(&random);
		atomic_fetch_add(&stress.s_rounds, 1);
	}
	return (NULL);
}

/* Everything that looks at all caches, or empties them. */
static void *
look_around(void *arg)
{
	static const char *const formats[] = {"text", "json", "openmetrics"};
	int fd = open("/dev/null", O_WRONLY);

	for (unsigned i = 0; !stress.s_stop; i++) {
		if (quarry_stats_write(fd, formats[i % 3]) != 0)
			wrong("no statistics");
		if (i % 4 == 0)
			(void)quarry_reap();
		if (i % 4 == 1)
			umem_cache_reap_now(stress.s_cache[i / 4 % CACHES]);
		umem_reap();
		look_check();
	}
	(void)close(fd);
	return (arg);
}

/* ---- the run ---- */

static _Atomic long constructed;

static int
construct(void *buf, void *priv, int flags)
{
	(void)flags;
	((struct head *)buf)->h_stamp = 0;
	((struct head *)buf)->h_size = 0;
	atomic_fetch_add(&constructed, 1);
	(void)priv;
	return (0);
}

static void
destruct(void *buf, void *priv)
{
	if (((struct head *)buf)->h_stamp != 0)
		wrong("an object in use was destroyed");
	atomic_fetch_sub(&constructed, 1);
	(void)priv;
}

static void
stress_begin(void)
{
	static const size_t sizes[CACHES] = {64, 200, 3000};

	stress.s_stop = false;
	stress.s_errors = stress.s_rounds = 0;
	for (size_t i = 0; i < CACHES; i++) {
		stress.s_size[i] = sizes[i];
		stress.s_cache[i] = umem_cache_create("stress", sizes[i], 0,
		    i == 1 ? construct : NULL, i == 1 ? destruct : NULL, NULL,
		    NULL, NULL, i == 2 ? UMC_NOMAGAZINE : 0);
	}
}

static void
stress_end(void)
{
	for (size_t i = 0; i < SHELVES; i++) {
		struct head *h = atomic_exchange(&stress.s_shelf[i], NULL);

		if (h != NULL)
			give_back(h);
	}
	for (size_t i = 0; i < CACHES; i++)
		umem_cache_destroy(stress.s_cache[i]);
}

static double
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

static void
start(pthread_t *threads, size_t n, void *(*fn)(void *))
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, fn, (void *)(i + 1)), 0);
}

static void
join(pthread_t *threads, size_t n)
{
	stress.s_stop = true;
	for (size_t i = 0; i < n; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static void
run_for(double seconds)
{
	double until = now() + (look_quick() ? seconds / 5 : seconds);

	while (now() < until && stress.s_errors == 0)
		(void)usleep(10000);
}

static void
no_object_has_two_owners(void **state)
{
	pthread_t workers[WORKERS];
	size_t before;
	(void)state;

	(void)quarry_reap();
	before = look_heap();
	stress_begin();
	stress.s_make_caches = false;
	start(workers, WORKERS, work);
	run_for(2);
	join(workers, WORKERS);
	stress_end();
	(void)quarry_reap();
	assert_int_equal(stress.s_errors, 0);
	assert_true(stress.s_rounds > 0);
	assert_int_equal(constructed, 0);
	look_check();
	assert_int_equal(look_heap(), before);
}

static void
caches_come_and_go_while_all_are_reaped_and_looked_at(void **state)
{
	pthread_t workers[WORKERS], lookers[2];
	size_t before;
	(void)state;

	(void)quarry_reap();
	before = look_heap();
	stress_begin();
	stress.s_make_caches = true;
	start(workers, WORKERS, work);
	start(lookers, 2, look_around);
	run_for(4);
	join(workers, WORKERS);
	join(lookers, 2);
	stress_end();
	(void)quarry_reap();
	assert_int_equal(stress.s_errors, 0);
	assert_int_equal(constructed, 0);
	look_check();
	assert_int_equal(look_heap(), before);
}

/* ---- producer and consumer ---- */

enum { QUEUE = 256 };
static struct {
	_Atomic(void *) q_slot[QUEUE];
	umem_cache_t *q_cache;
} queue;

static void *
produce(void *arg)
{
	for (size_t i = 0; !stress.s_stop; i++) {
		_Atomic(void *) *slot = &queue.q_slot[i % QUEUE];
		void *p = umem_cache_alloc(queue.q_cache, UMEM_DEFAULT);

		memset(p, 1, 100);
		while (!stress.s_stop && atomic_load(slot) != NULL)
			(void)sched_yield();
		p = atomic_exchange(slot, p);
		if (p != NULL)
			umem_cache_free(queue.q_cache, p);
		atomic_fetch_add(&stress.s_rounds, 1);
	}
	return (arg);
}

static void *
consume(void *arg)
{
	for (size_t i = 0; !stress.s_stop; i++) {
		void *p;

		while ((p = atomic_exchange(&queue.q_slot[i % QUEUE], NULL)) ==
			NULL &&
		    !stress.s_stop)
			(void)sched_yield();
		if (p != NULL)
			umem_cache_free(queue.q_cache, p);
	}
	return (arg);
}

/* What is freed on another thread serves the one that allocates again. */
static void
t61_a_producer_and_a_consumer_need_no_more_with_time(void **state)
{
	pthread_t threads[2];
	struct umem_stat us;
	(void)state;

	stress.s_stop = false;
	stress.s_errors = stress.s_rounds = 0;
	queue.q_cache =
	    umem_cache_create("queue", 100, 0, NULL, NULL, NULL, NULL, NULL, 0);
	start(&threads[0], 1, produce);
	start(&threads[1], 1, consume);
	run_for(2);
	join(threads, 2);
	for (size_t i = 0; i < QUEUE; i++) {
		void *p = atomic_exchange(&queue.q_slot[i], NULL);

		if (p != NULL)
			umem_cache_free(queue.q_cache, p);
	}
	assert_true(look_cache("queue", &us));
	assert_int_equal(us.us_inuse, 0);
	/* The queue, and some magazines: not what went through. */
	assert_in_range(us.us_memory, 0, 2 << 20);
	umem_cache_destroy(queue.q_cache);
	assert_true(stress.s_rounds > QUEUE);
}

/* ---- from hand to hand ---- */

enum { HANDED = 1000, TURNS = 50 };
static void *handed[HANDED];
static umem_cache_t *hands;

/* Free what the other thread allocated, and allocate as much. */
static void *
take_turn(void *arg)
{
	umem_cache_free_batch(hands, handed, HANDED);
	if (umem_cache_alloc_batch(hands, handed, HANDED, 0) != HANDED)
		wrong("no memory");
	return (arg);
}

static void
t61_what_was_allocated_elsewhere_serves_who_freed_it(void **state)
{
	struct umem_stat early, late;
	pthread_t thread;
	(void)state;

	stress.s_errors = 0;
	hands =
	    umem_cache_create("hands", 100, 0, NULL, NULL, NULL, NULL, NULL, 0);
	assert_int_equal(
	    umem_cache_alloc_batch(hands, handed, HANDED, 0), HANDED);
	assert_true(look_cache("hands", &early));
	for (int i = 0; i < TURNS; i++) {
		start(&thread, 1, take_turn);
		assert_int_equal(pthread_join(thread, NULL), 0);
		(void)take_turn(NULL);
	}
	assert_true(look_cache("hands", &late));
	assert_int_equal(late.us_inuse, HANDED);
	/* What lies in magazines of other CPUs comes on top. */
	assert_in_range(late.us_memory, HANDED * 100, 8 * early.us_memory);
	assert_int_equal(stress.s_errors, 0);
	umem_cache_free_batch(hands, handed, HANDED);
	umem_cache_destroy(hands);
}

/* ---- threads that come and go ---- */

static void *
live_shortly(void *arg)
{
	uint32_t random = (uint32_t)(uintptr_t)arg + 99;

	for (int i = 0; i < 50; i++)
		work_once(&random);
	return (NULL);
}

static void
threads_that_end_leave_nothing_behind(void **state)
{
	size_t rounds = look_quick() || look_shadowed() ? 20 : 250;
	struct umem_totals early, late;
	pthread_t threads[8];
	(void)state;

	stress_begin();
	stress.s_make_caches = false;
	for (size_t i = 0; i < rounds; i++) {
		start(threads, 8, live_shortly);
		for (size_t j = 0; j < 8; j++)
			assert_int_equal(pthread_join(threads[j], NULL), 0);
		if (i == rounds / 5)
			umem__totals(&early);
	}
	umem__totals(&late);
	assert_int_equal(stress.s_errors, 0);
	assert_in_range(late.ut_cached, 0, early.ut_cached * 2 + (1 << 20));
	assert_in_range(late.ut_meta, 0, early.ut_meta + (1 << 20));
	stress_end();
}

/* ---- first use by all at once ---- */

enum { FIRST = 8, CLASSES = 160 };
static pthread_barrier_t barrier;
static void *first[FIRST][CLASSES], *aligned[FIRST];

static void *
use_first(void *arg)
{
	size_t self = (uintptr_t)arg - 1;

	for (size_t i = 0; i < CLASSES; i++) {
		size_t size = 1 + i * 800;

		(void)pthread_barrier_wait(&barrier);
		first[self][i] = umem_alloc(size, 0);
		if (first[self][i] == NULL)
			wrong("no memory");
		else
			memset(first[self][i], (int)self, size);
	}
	(void)pthread_barrier_wait(&barrier);
	aligned[self] = umem_alloc_align(100, 4096, 0);
	return (NULL);
}

static void
first_use(void)
{
	pthread_t threads[FIRST];

	(void)pthread_barrier_init(&barrier, NULL, FIRST);
	for (uintptr_t i = 0; i < FIRST; i++)
		CHILD_CHECK(pthread_create(&threads[i], NULL, use_first,
				(void *)(i + 1)) == 0);
	for (size_t i = 0; i < FIRST; i++)
		CHILD_CHECK(pthread_join(threads[i], NULL) == 0);
	for (size_t i = 0; i < FIRST; i++) {
		for (size_t j = 0; j < CLASSES; j++) {
			CHILD_CHECK(*(unsigned char *)first[i][j] == i);
			umem_free(first[i][j], 1 + j * 800);
		}
		CHILD_CHECK(aligned[i] != NULL);
		umem_free_align(aligned[i], 100);
	}
	CHILD_CHECK(stress.s_errors == 0);
	look_check();
	/* The thread of a large heap may have some of it in its hands. */
	for (int i = 0; i < 1000 && quarry_reap() + look_heap() != 0; i++)
		(void)usleep(10000);
	CHILD_CHECK(look_heap() == 0);
}

static void
whatever_is_made_on_first_use_is_made_once(void **state)
{
	struct again_run run = {"first_use", {NULL}};
	(void)state;

	for (int i = 0; i < (look_quick() ? 1 : 10); i++)
		child_expect_exit(again_exec, &run, 0);
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"first_use", first_use},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_object_has_two_owners),
	    cmocka_unit_test(
		caches_come_and_go_while_all_are_reaped_and_looked_at),
	    cmocka_unit_test(
		t61_a_producer_and_a_consumer_need_no_more_with_time),
	    cmocka_unit_test(
		t61_what_was_allocated_elsewhere_serves_who_freed_it),
	    cmocka_unit_test(threads_that_end_leave_nothing_behind),
	    cmocka_unit_test(whatever_is_made_on_first_use_is_made_once),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
