/*
 * umem_huge_test.c - huge pages that the kernel makes of its own accord: they
 * would fill up again what was given back between blocks in use.
 */
#include "support/again.h"
#include "support/child.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { SIZE = 1000, LARGE = 300000, BLOCKS = 48000, APART = 10 };
static void *blocks[BLOCKS];

static void *
take(size_t size)
{
	void *p = umem_alloc(size, UMEM_DEFAULT);

	CHILD_CHECK(p != NULL);
	return (p);
}

static void
take_all(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		blocks[i] = take(SIZE);
}

/* Has the kernel huge pages, and is told where not to? */
static bool
refused(const void *p)
{
	return (look_flag(p, " nh"));
}

static void
free_most(void)
{
	take_all();
	if (!refused(blocks[0])) /* the kernel has none */
		return;
	CHILD_CHECK(!refused(blocks[BLOCKS - 1]));
	for (size_t i = 0; i < BLOCKS; i++)
		if (i % APART != 0)
			umem_free(blocks[i], SIZE);
	CHILD_CHECK(!refused(blocks[BLOCKS - APART]));
	(void)quarry_reap();
	for (size_t i = 0; i < BLOCKS; i += BLOCKS / 8)
		CHILD_CHECK(refused(blocks[i]));
	for (unsigned i = 0; i < 3; i++)
		take_all();
	CHILD_CHECK(refused(blocks[BLOCKS - 1]));
}

/* Whole runs of the heap, between others. */
static void
free_large(void)
{
	void *first = take(LARGE), *rest, *last;

	if (!refused(first))
		return;
	take_all();
	rest = take(LARGE);
	last = take(LARGE);
	CHILD_CHECK(!refused(last));
	umem_free(rest, LARGE);
	(void)quarry_reap();
	CHILD_CHECK(refused(last));
}

static void
expect(const char *part)
{
	struct again_run run = {part, {"QUARRY_OPTIONS=nothread,nowatch"}};

	child_expect_exit(again_exec, &run, 0);
}

static void
a_heap_that_gave_back_pages_of_slabs_has_none_any_more(void **state)
{
	(void)state;
	expect("free_most");
}

static void
a_heap_that_gave_back_runs_has_none_any_more(void **state)
{
	(void)state;
	expect("free_large");
}

/* What describes a cache lies there. */
static void
metadata_has_none(void **state)
{
	enum { CACHES = 400 };
	static umem_cache_t *caches[CACHES];
	(void)state;

	for (unsigned i = 0; i < CACHES; i++) {
		caches[i] = umem_cache_create(
		    "huge", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
		assert_non_null(caches[i]);
	}
	blocks[0] = umem_alloc(SIZE, UMEM_DEFAULT);
	assert_int_equal(refused(caches[CACHES - 1]), refused(blocks[0]));
	umem_free(blocks[0], SIZE);
	for (unsigned i = 0; i < CACHES; i++)
		umem_cache_destroy(caches[i]);
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"free_most", free_most},
	    {"free_large", free_large},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_heap_that_gave_back_pages_of_slabs_has_none_any_more),
	    cmocka_unit_test(a_heap_that_gave_back_runs_has_none_any_more),
	    cmocka_unit_test(metadata_has_none),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
