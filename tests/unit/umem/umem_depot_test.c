/*
 * umem_depot_test.c - magazines, and how many of them are kept.
 */
#include "umem/umem_impl.h"

#include "meta/meta.h"
#include "support/cpus.h"
#include "support/umem_look.h"

#include <quarry/umem.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static umem_cache_t *cp;

/* That of CPU 0. */
#define SHELF (cp->cache_depot.dp_shelf[0])

static int
begin(void **state)
{
	(void)state;
	cp = umem_cache_create("depot", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
	return (cp == NULL ? -1 : 0);
}

static int
end(void **state)
{
	(void)state;
	umem__depot_set_max((size_t)8 << 20);
	umem_cache_destroy(cp);
	look_check();
	return (0);
}

/* A magazine full of objects from the slabs. */
static struct umem_mag *
full_magazine(void)
{
	struct umem_mag *mag = umem__mag_get(cp);
	size_t n, more;

	assert_non_null(mag);
	n = umem__mag_capacity(cp, mag);
	for (size_t i = 0; i < n; i += more) {
		more = umem__slab_fill(cp, 0, mag->mag_round + i, n - i);
		assert_in_range(more, 1, n - i);
	}
	return (mag);
}

static uintptr_t
top_of(struct umem_mag *mag, size_t rounds)
{
	return ((uintptr_t)&mag->mag_round[rounds]);
}

static void
a_magazine_is_found_from_any_top_of_it(void **state)
{
	struct umem_mag *mag = full_magazine();
	size_t n = umem__mag_capacity(cp, mag);
	(void)state;

	assert_in_range(n, 10, UMEM_MAG_ROUNDS);
	for (size_t i = 0; i <= n; i++) {
		assert_ptr_equal(umem__mag_of(top_of(mag, i)), mag);
		assert_int_equal(umem__mag_rounds(top_of(mag, i)), i);
	}
	umem__mag_flush(cp, top_of(mag, n));
}

static void
a_magazine_counted_while_it_is_retired_is_counted_to_its_page(void **state)
{
	struct umem_mag *mag = full_magazine();
	size_t n = umem__mag_capacity(cp, mag);
	(void)state;

	umem__mag_flush(cp, top_of(mag, n));
	assert_in_range(
	    umem__mag_rounds(top_of(mag, n)), 0, 4096 / sizeof(uintptr_t));
}

static void
what_was_put_last_is_got_first(void **state)
{
	struct umem_mag *a = full_magazine(), *b = full_magazine();
	size_t n = umem__mag_capacity(cp, a) + umem__mag_capacity(cp, b);
	(void)state;

	assert_null(umem__depot_get_full(cp, 0));
	assert_true(umem__depot_put_full(cp, 0, a));
	assert_true(umem__depot_put_full(cp, 0, b));
	assert_int_equal(SHELF.sh_full.ms_count, 2);
	assert_int_equal(SHELF.sh_rounds, n);
	assert_ptr_equal(umem__depot_get_full(cp, 0), b);
	assert_int_equal(SHELF.sh_rounds, umem__mag_capacity(cp, a));
	assert_true(umem__depot_put_full(cp, 0, b));
	assert_ptr_equal(umem__depot_get_full(cp, 0), b);
	assert_ptr_equal(umem__depot_get_full(cp, 0), a);
	assert_null(umem__depot_get_full(cp, 0));
	assert_int_equal(SHELF.sh_rounds, 0);
	assert_int_equal(umem__depot_bytes(), 0);
	umem__mag_flush(cp, top_of(a, umem__mag_capacity(cp, a)));
	umem__mag_flush(cp, top_of(b, umem__mag_capacity(cp, b)));
}

/* So that what it puts down comes back to its own cache. */
static void
a_cpu_finds_what_it_put_down_and_leaves_others_their_last(void **state)
{
	struct umem_mag *a = full_magazine(), *b = full_magazine();
	struct umem_mag *c = full_magazine(), *got;
	(void)state;

	assert_true(umem__depot_put_full(cp, 1, a));
	assert_true(umem__depot_put_full(cp, 2, b));
	assert_ptr_equal(umem__depot_get_full(cp, 1), a);
	assert_ptr_equal(umem__depot_get_full(cp, 2), b);
	assert_null(umem__depot_get_full(cp, 2));

	assert_true(umem__depot_put_full(cp, 1, a));
	assert_null(umem__depot_get_full(cp, 2));
	assert_true(umem__depot_put_full(cp, 1, b));
	assert_ptr_equal(umem__depot_get_full(cp, 2), b);
	assert_null(umem__depot_get_full(cp, 2));

	assert_true(umem__depot_put_full(cp, 2 + UMEM_SHELVES, c));
	assert_ptr_equal(umem__depot_get_full(cp, 2), c);
	assert_true(umem__depot_put_full(cp, 2, b));
	assert_true(umem__depot_put_full(cp, 2, c));

	umem__depot_put_empty(cp, 1, umem__mag_get(cp));
	assert_null(umem__depot_get_empty(cp, 2));
	got = umem__depot_get_empty(cp, 1);
	assert_non_null(got);
	umem__mag_put(got);
	umem__depot_reap(cp, true);
	assert_int_equal(umem__depot_bytes(), 0);
}

/* Put down full magazines until they are refused, just below `max` bytes. */
static void
fill_depots(size_t max)
{
	size_t kept = 0, rounds;
	struct umem_mag *mag;

	for (;;) {
		mag = full_magazine();
		rounds = umem__mag_capacity(cp, mag);
		if (!umem__depot_put_full(cp, 0, mag))
			break;
		kept += rounds * cp->cache_chunk;
		assert_true(kept <= max);
	}
	assert_true(kept + rounds * cp->cache_chunk > max);
	assert_int_equal(umem__depot_bytes(), kept);
	umem__mag_flush(cp, top_of(mag, rounds));
	umem__depot_reap(cp, true);
}

static void
depots_hold_so_many_bytes_and_no_more(void **state)
{
	(void)state;
	fill_depots((size_t)8 << 20);
	umem__depot_set_max(50000);
	fill_depots(50000);
	assert_int_equal(umem__depot_bytes(), 0);
	assert_null(umem__depot_get_full(cp, 0));
}

/* ---- the working set ---- */

/* A depot of n full magazines, of which none was needed for an interval. */
static void
put_full(size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_true(umem__depot_put_full(cp, 0, full_magazine()));
}

/* The next n magazines are used, and come back. */
static void
use(size_t n)
{
	struct umem_mag *mags[20];

	for (size_t i = 0; i < n; i++)
		mags[i] = umem__depot_get_full(cp, 0);
	while (n-- > 0)
		assert_true(umem__depot_put_full(cp, 0, mags[n]));
}

static void
t63_magazines_unused_for_a_whole_interval_are_given_back(void **state)
{
	(void)state;

	put_full(10);
	umem__depot_reap(cp, false);
	assert_int_equal(SHELF.sh_full.ms_count, 10);
	use(3);
	umem__depot_reap(cp, false);
	assert_int_equal(SHELF.sh_full.ms_count, 3);
	use(3);
	umem__depot_reap(cp, false);
	assert_int_equal(SHELF.sh_full.ms_count, 3);
	umem__depot_reap(cp, false);
	assert_int_equal(SHELF.sh_full.ms_count, 0);
}

static void *
put_down(void *mag)
{
	assert_true(umem__depot_put_full(cp, 0, mag));
	return (NULL);
}

/* As fork does, whose child has nobody to put down what is on its way. */
static void
what_is_counted_is_there_whoever_holds_the_shelves(void **state)
{
	struct umem_mag *mag = full_magazine();
	size_t before = umem__depot_bytes();
	pthread_t thread;
	(void)state;

	umem__depot_lock(cp);
	assert_int_equal(pthread_create(&thread, NULL, put_down, mag), 0);
	while (atomic_load(&SHELF.sh_lock.m_word) != QR_MUTEX_CONTENDED)
		(void)usleep(100);
	assert_int_equal(umem__depot_bytes(), before);
	umem__depot_unlock(cp);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_in_range(umem__depot_bytes(), before + 1, SIZE_MAX);
}

static void
magazines_in_steady_use_stay(void **state)
{
	(void)state;

	put_full(10);
	for (int i = 0; i < 10; i++) {
		use(10);
		umem__depot_reap(cp, false);
		assert_int_equal(SHELF.sh_full.ms_count, 10);
	}
	umem__depot_reap(cp, true);
	assert_int_equal(SHELF.sh_full.ms_count, 0);
}

static void
empty_magazines_have_a_working_set_too(void **state)
{
	(void)state;

	for (int i = 0; i < 5; i++)
		umem__depot_put_empty(cp, 0, umem__mag_get(cp));
	umem__depot_reap(cp, false);
	umem__depot_reap(cp, false);
	assert_int_equal(SHELF.sh_empty.ms_count, 0);
	assert_null(umem__depot_get_empty(cp, 0));
}

/* However often they are reaped, others are made of the same memory. */
static void
no_magazine_is_lost_by_a_reap(void **state)
{
	enum { ROUNDS = 2000, HAVE = 10 };
	size_t mapped = 0;
	(void)state;

	for (int i = 0; i < ROUNDS; i++) {
		put_full(HAVE);
		for (int k = 0; k < HAVE; k++)
			umem__depot_put_empty(cp, 0, umem__mag_get(cp));
		umem__depot_reap(cp, true);
		if (i == ROUNDS / 10)
			mapped = meta_mapped();
	}
	assert_int_equal(meta_mapped(), mapped);
}

/* ---- size ---- */

static void
magazines_grow_with_the_visits_to_the_depot_up_to_a_bound(void **state)
{
	unsigned before = cp->cache_mag, steps = 0;
	(void)state;

	assert_int_equal(before, 0);
	put_full(1);
	for (int i = 0; i < 10000; i++) {
		use(1);
		assert_true(cp->cache_mag - before <= 1);
		steps += cp->cache_mag != before;
		before = cp->cache_mag;
	}
	assert_int_equal(cp->cache_mag, cp->cache_mag_max);
	assert_int_equal(steps, cp->cache_mag_max);
	umem__depot_reap(cp, true);
	assert_int_equal(
	    umem__mag_capacity(cp, umem__mag_get(cp)), UMEM_MAG_ROUNDS);
}

static void
a_busy_cache_comes_to_larger_magazines_by_itself(void **state)
{
	enum { N = 3000 };
	static void *objs[N];
	struct umem_stat before, after;
	(void)state;

	assert_true(look_cache("depot", &before));
	assert_int_equal(before.us_magazine, 14);
	for (int round = 0; round < 20; round++) {
		assert_int_equal(umem_cache_alloc_batch(cp, objs, N, 0), N);
		umem_cache_free_batch(cp, objs, N);
	}
	assert_true(look_cache("depot", &after));
	assert_in_range(after.us_magazine, 62, UMEM_MAG_ROUNDS);
	assert_true(after.us_depot > before.us_depot);
}

static void
large_objects_have_few_rounds(void **state)
{
	static const uint16_t rounds[UMEM_MAG_TYPES] = {1, 1, 2, 2, 2, 2};
	umem_cache_t *big = umem_cache_create(
	    "big", 100000, 0, NULL, NULL, NULL, NULL, NULL, 0);
	(void)state;

	assert_memory_equal(big->cache_rounds, rounds, sizeof(rounds));
	assert_int_equal(big->cache_mag_max, 2);
	umem_cache_destroy(big);
}

/* One in two milliseconds: larger ones would save nothing that counts. */
static void
magazines_do_not_grow_where_visits_are_rare(void **state)
{
	(void)state;

	assert_int_equal(cp->cache_mag, 0);
	put_full(1);
	for (int i = 0; i < 40; i++) {
		use(1);
		usleep(4000);
	}
	assert_int_equal(cp->cache_mag, 0);
}

static void
smaller_magazines_are_retired_as_they_come_by_empty(void **state)
{
	struct umem_mag *small = umem__mag_get(cp), *large;
	(void)state;

	cp->cache_mag = 2;
	large = umem__mag_get(cp);
	umem__depot_put_empty(cp, 0, small);
	assert_int_equal(SHELF.sh_empty.ms_count, 0);
	umem__depot_put_empty(cp, 0, large);
	assert_int_equal(SHELF.sh_empty.ms_count, 1);
}

static _Atomic bool waiting;

static void *
visit(void *arg)
{
	waiting = true;
	umem__depot_put_empty(arg, 0, umem__depot_get_empty(arg, 0));
	return (NULL);
}

/* While another thread wants the lock that we hold. */
static void
contend(void)
{
	uint32_t before = cp->cache_depot.dp_contention;
	pthread_t thread;

	umem__depot_put_empty(cp, 0, umem__mag_get(cp));
	qr_mutex_enter(&SHELF.sh_lock);
	waiting = false;
	assert_int_equal(pthread_create(&thread, NULL, visit, cp), 0);
	while (!waiting)
		(void)usleep(100);
	(void)usleep(5000);
	qr_mutex_exit(&SHELF.sh_lock);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_in_range(cp->cache_depot.dp_contention, before, before + 1);
}

static void
contention_within_an_interval_makes_magazines_grow(void **state)
{
	unsigned before;
	(void)state;

	umem__depot_update(cp);
	for (int i = 0; i < 3; i++)
		contend();
	before = cp->cache_mag;
	umem__depot_update(cp);
	assert_int_equal(cp->cache_mag, before);
	/* An interval in which the machine was slow is given another try. */
	for (int tries = 0; tries < 20 &&
	     cp->cache_depot.dp_contention - cp->cache_depot.dp_contention_at <=
		 3;
	     tries++)
		contend();
	before = cp->cache_mag;
	umem__depot_update(cp);
	assert_int_equal(cp->cache_mag, before + 1);
	umem__depot_update(cp);
	assert_int_equal(cp->cache_mag, before + 1);
}

/* Allocations and frees that found the magazine empty or full. */
static size_t
misses(void)
{
	return (umem__cpu_misses(cp, PERCPU_POP) +
	    umem__cpu_misses(cp, PERCPU_PUSH));
}

/*
 * The objects in use wander about a level, now one more, now one less; the
 * level is wherever the magazines happen to be empty or full.
 */
static void
a_level_at_the_edge_of_a_magazine_is_no_dearer_than_another(void **state)
{
	enum { LEVELS = 100, STEPS = 100 };
	void *objs[LEVELS + 3];
	size_t before;
	(void)state;

	if (!percpu__restartable)
		skip(); /* each operation counts as a miss */
	cpus_stay();
	before = misses();
	for (size_t n = 0; n < LEVELS; n++) {
		objs[n] = umem_cache_alloc(cp, 0);
		for (int step = 0; step < STEPS; step++) {
			for (size_t i = 1; i < 4; i++)
				objs[n + i] = umem_cache_alloc(cp, 0);
			for (size_t i = 3; i > 0; i--)
				umem_cache_free(cp, objs[n + i]);
		}
	}
	cpus_roam();
	assert_in_range(misses() - before, 1, LEVELS);
	for (size_t n = 0; n < LEVELS; n++)
		umem_cache_free(cp, objs[n]);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_magazine_is_found_from_any_top_of_it),
	    TEST(a_magazine_counted_while_it_is_retired_is_counted_to_its_page),
	    TEST(what_was_put_last_is_got_first),
	    TEST(a_cpu_finds_what_it_put_down_and_leaves_others_their_last),
	    TEST(depots_hold_so_many_bytes_and_no_more),
	    TEST(t63_magazines_unused_for_a_whole_interval_are_given_back),
	    TEST(what_is_counted_is_there_whoever_holds_the_shelves),
	    TEST(magazines_in_steady_use_stay),
	    TEST(empty_magazines_have_a_working_set_too),
	    TEST(no_magazine_is_lost_by_a_reap),
	    TEST(magazines_grow_with_the_visits_to_the_depot_up_to_a_bound),
	    TEST(a_busy_cache_comes_to_larger_magazines_by_itself),
	    TEST(a_level_at_the_edge_of_a_magazine_is_no_dearer_than_another),
	    TEST(large_objects_have_few_rounds),
	    TEST(magazines_do_not_grow_where_visits_are_rare),
	    TEST(smaller_magazines_are_retired_as_they_come_by_empty),
	    TEST(contention_within_an_interval_makes_magazines_grow),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
