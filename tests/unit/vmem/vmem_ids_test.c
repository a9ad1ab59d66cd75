/*
 * vmem_ids_test.c - id_space: which identifier, who waits for one, and what it
 * costs.
 */
#define _GNU_SOURCE 1 /* pthread_timedjoin_np */

#include "unit/vmem/vmem_test.h"

#include "os/os.h"

#include <quarry/id_space.h>
#include <quarry/quarry.h>

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_S = 20, MS = 1000000, MILLION = 1000000 };

#define NO_ID ((id_t)-1)

static id_space_t *
make(id_t low, id_t high)
{
	id_space_t *s = id_space_create("ids", low, high);

	assert_non_null(s);
	return (s);
}

static struct id_space_stats
stats(id_space_t *s)
{
	struct id_space_stats st;

	assert_int_equal(id_space_getstats(s, &st), 0);
	return (st);
}

static void
finish(id_space_t *s)
{
	(void)vmem__check(s);
	assert_int_equal(stats(s).inuse, 0);
	id_space_destroy(s);
}

/* ---- which one ---- */

static void
t40_zero_and_the_last_are_identifiers_and_the_end_is_not(void **state)
{
	id_space_t *s = make(0, 3);
	(void)state;

	assert_int_equal(id_alloc(s), 0);
	assert_int_equal(id_alloc(s), 1);
	assert_int_equal(id_alloc(s), 2);
	assert_int_equal(id_alloc_nosleep(s), NO_ID);
	assert_int_equal(id_allocff_nosleep(s), NO_ID);
	assert_int_equal(id_alloc_specific(s, 3), NO_ID);
	id_free(s, 0);
	assert_int_equal(id_alloc_specific_nosleep(s, 0), 0);
	for (id_t id = 0; id < 3; id++)
		id_free(s, id);
	finish(s);
}

static void
t41_a_freed_one_is_used_again_after_all_others(void **state)
{
	id_space_t *s = make(10, 20);
	(void)state;

	for (id_t id = 10; id < 15; id++)
		assert_int_equal(id_alloc(s), id);
	id_free(s, 11);
	id_free(s, 14);
	for (id_t id = 15; id < 20; id++)
		assert_int_equal(id_alloc(s), id);
	assert_int_equal(id_alloc(s), 11);
	id_free(s, 10);
	assert_int_equal(id_alloc(s), 14);
	assert_int_equal(id_alloc(s), 10);
	for (id_t id = 10; id < 20; id++)
		id_free(s, id);
	finish(s);
}

static void
t42_specific_ones_do_not_change_where_next_fit_goes_on(void **state)
{
	id_space_t *s = make(0, 100);
	(void)state;

	assert_int_equal(id_alloc(s), 0);
	assert_int_equal(id_alloc(s), 1);
	assert_int_equal(id_alloc_specific_nosleep(s, 1), NO_ID);
	assert_int_equal(id_alloc_specific(s, 50), 50);
	assert_int_equal(id_alloc_specific_nosleep(s, 50), NO_ID);
	assert_int_equal(id_alloc_specific(s, 100), NO_ID);
	assert_int_equal(id_alloc_specific(s, NO_ID), NO_ID);
	assert_int_equal(id_alloc(s), 2);
	id_free(s, 50);
	for (id_t id = 0; id < 3; id++)
		id_free(s, id);
	finish(s);
}

static void
t43_the_highest_identifier_is_int_max_minus_one(void **state)
{
	const id_t highest = INT_MAX - 1;
	id_space_t *s = make(highest - 1, INT_MAX);
	(void)state;

	assert_int_equal(id_alloc(s), highest - 1);
	assert_int_equal(id_alloc(s), highest);
	assert_int_equal(id_alloc_nosleep(s), NO_ID);
	id_free(s, highest);
	assert_int_equal(id_allocff(s), highest);
	id_free(s, highest);
	id_free(s, highest - 1);
	finish(s);

	s = make(0, INT_MAX);
	assert_int_equal(id_alloc_specific(s, highest), highest);
	assert_int_equal(id_alloc(s), 0);
	id_free(s, highest);
	id_free(s, 0);
	finish(s);
}

static void
first_fit_gives_the_lowest_whatever_was_freed_when(void **state)
{
	id_space_t *s = make(0, 10000);
	(void)state;

	for (id_t id = 0; id < 10000; id++)
		assert_int_equal(id_allocff(s), id);
	id_free(s, 7);
	id_free(s, 9000);
	id_free(s, 3);
	id_free(s, 5);
	assert_int_equal(id_allocff(s), 3);
	assert_int_equal(id_allocff(s), 5);
	assert_int_equal(id_allocff(s), 7);
	assert_int_equal(id_allocff(s), 9000);
	for (id_t id = 0; id < 10000; id++)
		id_free(s, id);
	finish(s);
}

static void
the_order_is_that_of_numbers_in_whatever_range_they_came(void **state)
{
	id_space_t *s = make(1000, 1002);
	(void)state;

	id_space_extend(s, 5, 6);
	id_space_extend(s, 1002, 1003);
	id_space_extend(s, 1 << 20, (1 << 20) + 1);
	assert_int_equal(stats(s).total, 5);
	assert_int_equal(id_alloc(s), 5);
	assert_int_equal(id_alloc(s), 1000);
	assert_int_equal(id_allocff(s), 1001);
	assert_int_equal(id_alloc(s), 1002);
	assert_int_equal(id_alloc(s), 1 << 20);
	assert_int_equal(id_alloc_nosleep(s), NO_ID);
	assert_int_equal(id_alloc_specific(s, 500), NO_ID);
	id_free(s, 1001);
	id_free(s, 5);
	assert_int_equal(id_alloc(s), 5);
	for (id_t id = 1000; id < 1003; id++)
		if (id != 1001)
			id_free(s, id);
	id_free(s, 5);
	id_free(s, 1 << 20);
	finish(s);
}

/* ---- waiting ---- */

struct sleeper {
	id_space_t *s;
	id_t (*alloc)(id_space_t *);
	pthread_t thread;
	id_t got;
};

static void *
sleeper_main(void *arg)
{
	struct sleeper *sl = arg;

	sl->got = sl->alloc(sl->s);
	return (NULL);
}

/* Start it, and return when it waits. */
static void
sleeper_start(struct sleeper *sl, id_space_t *s, id_t (*alloc)(id_space_t *))
{
	uint64_t waits = stats(s).waits;

	*sl = (struct sleeper){.s = s, .alloc = alloc};
	assert_int_equal(
	    pthread_create(&sl->thread, NULL, sleeper_main, sl), 0);
	for (int i = 0; stats(s).waits == waits; i++) {
		assert_true(i < PATIENCE_S * 1000);
		(void)usleep(1000);
	}
}

static id_t
sleeper_join(struct sleeper *sl)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	assert_int_equal(pthread_timedjoin_np(sl->thread, NULL, &end), 0);
	return (sl->got);
}

static void
t45_who_finds_nothing_waits_for_a_free(void **state)
{
	id_space_t *s = make(0, 2);
	struct sleeper sl;
	(void)state;

	assert_int_equal(id_alloc(s), 0);
	assert_int_equal(id_alloc(s), 1);
	assert_int_equal(id_alloc_nosleep(s), NO_ID);
	sleeper_start(&sl, s, id_alloc);
	id_free(s, 1);
	assert_int_equal(sleeper_join(&sl), 1);
	sleeper_start(&sl, s, id_allocff);
	id_free(s, 0);
	assert_int_equal(sleeper_join(&sl), 0);
	id_free(s, 0);
	id_free(s, 1);
	finish(s);
}

static void
who_wait_are_served_in_order_and_nobody_overtakes(void **state)
{
	enum { N = 12 };
	struct sleeper sl[N];
	id_space_t *s = make(0, N);
	(void)state;

	for (unsigned i = 0; i < N; i++)
		assert_int_equal(id_alloc(s), i);
	for (unsigned i = 0; i < N; i++)
		sleeper_start(&sl[i], s, i % 2 == 0 ? id_alloc : id_allocff);
	for (unsigned i = 0; i < N; i++) {
		id_t id = (i * 5 + 3) % N;

		id_free(s, id);
		assert_int_equal(id_alloc_nosleep(s), NO_ID);
		assert_int_equal(id_alloc_specific(s, id), NO_ID);
		assert_int_equal(sleeper_join(&sl[i]), id);
	}
	(void)vmem__check(s);
	for (unsigned i = 0; i < N; i++)
		id_free(s, i);
	finish(s);
}

static void
an_extension_serves_as_many_as_it_has(void **state)
{
	id_space_t *s = make(100, 101);
	struct sleeper a, b, c;
	(void)state;

	assert_int_equal(id_alloc(s), 100);
	sleeper_start(&a, s, id_alloc);
	sleeper_start(&b, s, id_alloc);
	sleeper_start(&c, s, id_allocff);
	id_space_extend(s, 200, 202);
	assert_int_equal(sleeper_join(&a), 200);
	assert_int_equal(sleeper_join(&b), 201);
	assert_int_equal(vmem_add_addr(s, 7, 1, VM_NOSLEEP), 0);
	assert_int_equal(sleeper_join(&c), 7);
	id_free(s, 7);
	id_free(s, 100);
	id_free(s, 200);
	id_free(s, 201);
	finish(s);
}

/* ---- cooldown ---- */

static void
a_freed_one_rests_even_when_there_is_no_other(void **state)
{
	id_space_t *s = make(0, 3);
	uint64_t freed;
	id_t id;
	(void)state;

	assert_int_equal(id_space_set_cooldown(s, 3600 * 1000), 0);
	for (id = 0; id < 3; id++)
		assert_int_equal(id_alloc(s), id);
	freed = os_now();
	id_free(s, 1);
	assert_int_equal(stats(s).inuse, 2);
	assert_int_equal(stats(s).resting, 1);
	assert_int_equal(vmem_size(s, VMEM_FREE), 1);
	assert_int_equal(id_alloc_nosleep(s), NO_ID);
	assert_int_equal(id_alloc_specific(s, 1), NO_ID);
	assert_int_equal(id_allocff_nosleep(s), NO_ID);
	assert_int_equal(id_space_set_cooldown(s, 60), 0);
	assert_int_equal(id_alloc(s), 1);
	assert_true(os_now() - freed >= 60 * MS);
	for (id = 0; id < 3; id++)
		id_free(s, id);
	assert_int_equal(id_space_set_cooldown(s, 0), 0);
	assert_int_equal(stats(s).resting, 0);
	assert_int_equal(id_allocff_nosleep(s), 0);
	id_free(s, 0);
	finish(s);
}

static void
who_wait_get_what_has_rested_in_order(void **state)
{
	id_space_t *s = make(0, 3);
	struct sleeper a, b, c;
	uint64_t freed;
	(void)state;

	assert_int_equal(id_space_set_cooldown(s, 40), 0);
	for (id_t id = 0; id < 3; id++)
		assert_int_equal(id_alloc(s), id);
	sleeper_start(&a, s, id_alloc);
	sleeper_start(&b, s, id_alloc);
	sleeper_start(&c, s, id_allocff);
	freed = os_now();
	id_free(s, 2);
	(void)usleep(30000);
	id_free(s, 0);
	(void)usleep(30000);
	id_free(s, 1);
	assert_int_equal(sleeper_join(&a), 2);
	assert_true(os_now() - freed >= 40 * MS);
	assert_int_equal(sleeper_join(&b), 0);
	assert_int_equal(sleeper_join(&c), 1);
	for (id_t id = 0; id < 3; id++)
		id_free(s, id);
	finish(s);
}

static void
a_new_cooldown_counts_for_who_waits_already(void **state)
{
	id_space_t *s = make(0, 1);
	struct sleeper sl;
	uint64_t freed;
	(void)state;

	assert_int_equal(id_space_set_cooldown(s, UINT_MAX), 0);
	assert_int_equal(id_alloc(s), 0);
	freed = os_now();
	id_free(s, 0);
	sleeper_start(&sl, s, id_alloc);
	/* It is not over yet, so that the one who waits must be told. */
	assert_int_equal(id_space_set_cooldown(s, 300), 0);
	assert_int_equal(sleeper_join(&sl), 0);
	assert_true(os_now() - freed >= 300 * MS);
	id_free(s, 0);
	finish(s);
}

static void
all_at_rest_come_back_in_a_large_space(void **state)
{
	enum { N = 20000 };
	id_space_t *s = make(0, N);
	(void)state;

	/* Some leaves there are before they have to tell what rests. */
	for (id_t id = 0; id < N / 2; id++)
		assert_int_equal(id_alloc(s), id);
	assert_int_equal(id_space_set_cooldown(s, 3600 * 1000), 0);
	for (id_t id = N / 2; id < N; id++)
		assert_int_equal(id_alloc(s), id);
	for (id_t id = 0; id < N; id++)
		id_free(s, id);
	(void)vmem__check(s);
	assert_int_equal(stats(s).resting, N);
	assert_int_equal(id_alloc_nosleep(s), NO_ID);
	assert_int_equal(id_space_set_cooldown(s, 0), 0);
	for (id_t id = 0; id < N; id++)
		assert_int_equal(id_alloc_nosleep(s), id);
	for (id_t id = 0; id < N; id++)
		id_free(s, id);
	finish(s);
}

/* ---- what it costs ---- */

static void
a_space_of_all_identifiers_costs_nothing(void **state)
{
	id_space_t *s = make(0, INT_MAX);
	(void)state;

	assert_int_equal(stats(s).total, INT_MAX);
	assert_true(stats(s).metadata < 2048);
	finish(s);
}

static void
a_dense_million_costs_two_bits_each_at_most(void **state)
{
	id_space_t *s = make(0, INT_MAX);
	size_t empty = stats(s).metadata;
	(void)state;

	for (id_t id = 0; id < MILLION; id++)
		(void)id_alloc(s);
	assert_true(stats(s).metadata <= MILLION * 2 / 8);
	for (id_t id = 0; id < MILLION; id += 2)
		id_free(s, id);
	assert_true(stats(s).metadata <= MILLION * 2 / 8);
	for (id_t id = 1; id < MILLION; id += 2)
		id_free(s, id);
	/* One leaf may stay for what is next. */
	assert_true(stats(s).metadata <= empty + 256);
	finish(s);
}

/* Bytes for n identifiers `stride` apart, after all between them were used. */
static size_t
sparse_cost(unsigned n, unsigned stride, bool dense_before)
{
	id_space_t *s = make(0, INT_MAX);
	size_t empty = stats(s).metadata, cost;

	for (id_t id = 0; dense_before && id < n * stride; id++)
		(void)id_alloc(s);
	for (id_t id = 0; id < n * stride; id++) {
		if (id % stride == 0 && !dense_before)
			assert_int_equal(id_alloc_specific(s, id), id);
		if (id % stride != 0 && dense_before)
			id_free(s, id);
	}
	cost = stats(s).metadata - empty;
	for (unsigned i = 0; i < n; i++)
		id_free(s, i * stride);
	finish(s);
	return (cost);
}

/* The same for an arena with segments. */
static size_t
arena_cost(unsigned n, unsigned stride)
{
	vmem_t *vm = vmem_create("segments", P(1), INT_MAX, 1, NULL, NULL, NULL,
	    0, VM_NOSLEEP | VMC_IDENTIFIER);
	size_t cost;

	for (unsigned i = 0; i < n; i++)
		assert_non_null(vmem_xalloc(vm, 1, 0, 0, 0, P(1 + i * stride),
		    P(2 + i * stride), VM_NOSLEEP));
	cost = stat_of("segments").vs_metadata;
	for (unsigned i = 0; i < n; i++)
		vmem_free(vm, P(1 + i * stride), 1);
	vmem_destroy(vm);
	return (cost);
}

static void
those_far_apart_cost_no_more_than_segments(void **state)
{
	static const unsigned strides[] = {
	    2, 3, 7, 30, 64, 100, 250, 1000, 4096, 5000, 30000, 100000};
	(void)state;

	for (size_t i = 0; i < sizeof(strides) / sizeof(strides[0]); i++) {
		unsigned stride = strides[i];
		unsigned n = 20000000 / stride;
		size_t bound;

		n = n > 3000 ? 3000 : n;
		bound = arena_cost(n, stride);
		assert_in_range(sparse_cost(n, stride, false), 0, bound);
		if (stride <= 5000)
			assert_in_range(
			    sparse_cost(n > 300 ? 300 : n, stride, true), 0,
			    arena_cost(n > 300 ? 300 : n, stride));
	}
}

/* ---- a space is an arena ---- */

struct parts {
	unsigned spans, used, free;
	size_t free_size;
	id_space_t *frees; /* free what is in use there */
};

static void
count_span(void *arg, void *start, size_t size)
{
	struct parts *p = arg;

	(void)start;
	assert_true(size == 100 || size == 10);
	p->spans++;
}

static void
count_used(void *arg, void *start, size_t size)
{
	struct parts *p = arg;

	assert_int_equal(size, 1);
	p->used++;
	if (p->frees != NULL)
		id_free(p->frees, (id_t)(uintptr_t)start);
}

static void
count_free(void *arg, void *start, size_t size)
{
	struct parts *p = arg;

	(void)start;
	p->free++;
	p->free_size += size;
}

static void
what_looks_at_arenas_looks_at_spaces(void **state)
{
	id_space_t *s = make(0, 100);
	struct parts p = {.frees = NULL};
	(void)state;

	id_space_extend(s, 200, 210);
	assert_int_equal(id_space_set_cooldown(s, UINT_MAX), 0);
	for (id_t id = 0; id < 50; id++)
		assert_int_equal(id_alloc(s), id);
	id_free(s, 20); /* rests, and is free to those who look */
	assert_int_equal(vmem_size(s, VMEM_ALLOC), 49);
	assert_int_equal(vmem_size(s, VMEM_FREE), 61);
	assert_true(vmem_contains(s, P(0), 100) != 0);
	assert_true(vmem_contains(s, P(99), 2) == 0);
	vmem_walk(s, VMEM_SPAN, count_span, &p);
	vmem_walk(s, VMEM_ALLOC, count_used, &p);
	vmem_walk(s, VMEM_FREE, count_free, &p);
	assert_int_equal(p.spans, 2);
	assert_int_equal(p.used, 49);
	assert_int_equal(p.free, 3);
	assert_int_equal(p.free_size, 61);
	assert_int_equal(stat_of("ids").vs_inuse, 49);
	assert_int_equal(stat_of("ids").vs_resting, 1);
	p = (struct parts){.frees = s};
	vmem_walk(s, (int)(VMEM_ALLOC | VMEM_REENTRANT), count_used, &p);
	assert_int_equal(p.used, 49);
	finish(s);
}

/* What was written to a file from its beginning. */
static void
assert_written(FILE *f, const char *text)
{
	static char buf[100000];
	size_t n;

	rewind(f);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = '\0';
	if (strstr(buf, text) == NULL)
		fail_msg("no %s in %s", text, buf);
}

static void
pictures_and_statistics_show_a_space(void **state)
{
	id_space_t *s = make(0, 1000);
	FILE *f = tmpfile();
	(void)state;

	assert_non_null(f);
	for (id_t id = 0; id < 10; id++)
		assert_int_equal(id_alloc(s), id);
	assert_int_equal(vmem_map_write(s, fileno(f), "json"), 0);
	assert_written(f, "\"ids\"");
	assert_int_equal(vmem_map_write(s, fileno(f), "text"), 0);
	assert_int_equal(vmem_map_write(s, fileno(f), "svg"), 0);
	assert_written(f, "<svg");
	(void)ftruncate(fileno(f), 0);
	rewind(f);
	assert_int_equal(quarry_stats_write(fileno(f), "json"), 0);
	assert_written(f,
	    "\"inuse\":10,\"total\":1000,\"import\":0,"
	    "\"resting\":0");
	(void)fclose(f);
	for (id_t id = 0; id < 10; id++)
		id_free(s, id);
	finish(s);
}

/* ---- fork ---- */

static void
the_child_of_fork_has_a_space_without_those_who_wait(void **state)
{
	id_space_t *s = make(0, 2);
	struct sleeper sl;
	int status;
	pid_t pid;
	(void)state;

	assert_int_equal(id_alloc(s), 0);
	assert_int_equal(id_alloc(s), 1);
	sleeper_start(&sl, s, id_alloc);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		(void)alarm(PATIENCE_S);
		id_free(s, 0);
		_exit(id_alloc_nosleep(s) != 0 || !vmem__check(s));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	id_free(s, 1);
	assert_int_equal(sleeper_join(&sl), 1);
	id_free(s, 0);
	id_free(s, 1);
	finish(s);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		t40_zero_and_the_last_are_identifiers_and_the_end_is_not),
	    cmocka_unit_test(t41_a_freed_one_is_used_again_after_all_others),
	    cmocka_unit_test(
		t42_specific_ones_do_not_change_where_next_fit_goes_on),
	    cmocka_unit_test(t43_the_highest_identifier_is_int_max_minus_one),
	    cmocka_unit_test(
		first_fit_gives_the_lowest_whatever_was_freed_when),
	    cmocka_unit_test(
		the_order_is_that_of_numbers_in_whatever_range_they_came),
	    cmocka_unit_test(t45_who_finds_nothing_waits_for_a_free),
	    cmocka_unit_test(who_wait_are_served_in_order_and_nobody_overtakes),
	    cmocka_unit_test(an_extension_serves_as_many_as_it_has),
	    cmocka_unit_test(a_freed_one_rests_even_when_there_is_no_other),
	    cmocka_unit_test(who_wait_get_what_has_rested_in_order),
	    cmocka_unit_test(a_new_cooldown_counts_for_who_waits_already),
	    cmocka_unit_test(all_at_rest_come_back_in_a_large_space),
	    cmocka_unit_test(a_space_of_all_identifiers_costs_nothing),
	    cmocka_unit_test(a_dense_million_costs_two_bits_each_at_most),
	    cmocka_unit_test(those_far_apart_cost_no_more_than_segments),
	    cmocka_unit_test(what_looks_at_arenas_looks_at_spaces),
	    cmocka_unit_test(pictures_and_statistics_show_a_space),
	    cmocka_unit_test(
		the_child_of_fork_has_a_space_without_those_who_wait),
	};

	return (cmocka_run_group_tests_name("vmem_ids", tests, NULL, NULL));
}
