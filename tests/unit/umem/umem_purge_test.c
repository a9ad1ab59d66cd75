/*
 * umem_purge_test.c - pages of slabs that nobody uses, and those that somebody
 * does.
 */
#include "umem/umem_impl.h"

#include "os/os.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <cmocka.h>

enum { MANY = 4000 };
static unsigned char *objs[MANY];

static umem_cache_t *
plain(size_t size)
{
	umem_cache_t *cp = umem_cache_create(
	    "purged", size, 0, NULL, NULL, NULL, NULL, NULL, UMC_NOMAGAZINE);

	assert_non_null(cp);
	return (cp);
}

static unsigned char
mark_of(size_t i)
{
	return ((unsigned char)(1 + i % 250));
}

static void
fill(umem_cache_t *cp, size_t size, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		objs[i] = umem_cache_alloc(cp, 0);
		assert_non_null(objs[i]);
		memset(objs[i], mark_of(i), size);
	}
}

static void
intact(size_t size, size_t n)
{
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; objs[i] != NULL && k < size; k++)
			assert_int_equal(objs[i][k], mark_of(i));
}

static void
drop(umem_cache_t *cp, size_t i)
{
	umem_cache_free(cp, objs[i]);
	objs[i] = NULL;
}

static void
finish(umem_cache_t *cp, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (objs[i] != NULL)
			drop(cp, i);
	look_check();
	umem_cache_destroy(cp);
}

static bool
resident(const void *p)
{
	size_t page = os_page_size();
	unsigned char in;

	assert_int_equal(
	    mincore((void *)((uintptr_t)p & ~(page - 1)), 1, &in), 0);
	return ((in & 1) != 0);
}

static void
a_page_of_free_objects_goes_and_one_with_an_object_stays(void **state)
{
	size_t page = os_page_size(), per = page / 512;
	umem_cache_t *cp = plain(512);
	unsigned char *second;
	(void)state;

	fill(cp, 512, 4 * per);
	assert_int_equal((uintptr_t)objs[0] % page, 0);
	second = objs[per];
	for (size_t i = per; i < 2 * per; i++)
		drop(cp, i);
	drop(cp, 0);
	assert_int_equal(umem__slab_purge(cp), page);
	assert_false(resident(second));
	assert_true(resident(objs[1]));
	assert_true(resident(objs[2 * per]));
	intact(512, 4 * per);

	/* Nothing changed: nothing more to give. */
	assert_int_equal(umem__slab_purge(cp), 0);
	for (size_t i = 1; i < per; i++)
		drop(cp, i);
	assert_int_equal(umem__slab_purge(cp), 2 * page);
	finish(cp, 4 * per);
}

/* Whoever drew on it does so no more: the cache is idle. */
static void
the_slab_that_was_drawn_on_last_is_purged_too(void **state)
{
	size_t page = os_page_size(), per = page / 512;
	umem_cache_t *cp = plain(512);
	unsigned char *second;
	(void)state;

	fill(cp, 512, 2 * per + 1);
	second = objs[per];
	for (size_t i = per; i < 2 * per; i++)
		drop(cp, i);
	assert_in_range(umem__slab_purge(cp), page, cp->cache_slabsize);
	assert_false(resident(second));
	intact(512, 2 * per + 1);
	finish(cp, 2 * per + 1);
}

static void
an_object_keeps_both_pages_that_it_lies_on(void **state)
{
	size_t page = os_page_size(), n = 2 * page / 208;
	umem_cache_t *cp = plain(208);
	unsigned char *over = NULL;
	(void)state;

	fill(cp, 208, n);
	for (size_t i = 0; i < n; i++) {
		if ((uintptr_t)objs[i] % page > page - 208 && over == NULL)
			over = objs[i];
		else
			drop(cp, i);
	}
	assert_non_null(over);
	(void)umem__slab_purge(cp);
	assert_true(resident(over));
	assert_true(resident(over + 207));
	intact(208, n);
	finish(cp, n);
}

static void
what_was_purged_is_handed_out_again(void **state)
{
	umem_cache_t *cp = plain(1024);
	(void)state;

	fill(cp, 1024, 1000);
	for (size_t i = 0; i < 1000; i++)
		if (i % 16 != 0)
			drop(cp, i);
	assert_in_range(umem__slab_purge(cp), 500 << 10, 1000 << 10);
	intact(1024, 1000);
	for (size_t i = 0; i < 1000; i++) {
		if (objs[i] != NULL)
			continue;
		objs[i] = umem_cache_alloc(cp, 0);
		memset(objs[i], mark_of(i), 1024);
	}
	intact(1024, 1000);
	finish(cp, 1000);
}

static void
live_objects_of_any_size_survive(void **state)
{
	(void)state;

	for (size_t size = 8; size <= 40000; size += size / 3 + 8) {
		size_t n = size < 1000 ? MANY : 200;
		umem_cache_t *cp = plain(size);
		unsigned r = (unsigned)size;

		fill(cp, size, n);
		for (size_t round = 0; round < 3; round++) {
			for (size_t i = 0; i < n; i++) {
				r = r * 1103515245 + 12345;
				if (objs[i] != NULL && (r >> 16) % 3 != 0)
					drop(cp, i);
			}
			(void)umem__slab_purge(cp);
			intact(size, n);
			look_check();
		}
		finish(cp, n);
	}
}

static void
a_kernel_that_will_not_purge_loses_nothing(void **state)
{
	umem_cache_t *cp = plain(4096);
	(void)state;

	fill(cp, 4096, 100);
	for (size_t i = 0; i < 100; i += 2)
		drop(cp, i);
	failsys_from(FAILSYS_MADVISE, 1, EINVAL);
	assert_int_equal(umem__slab_purge(cp), 0);
	failsys_reset();
	intact(4096, 100);
	finish(cp, 100);
}

static void
a_reap_counts_what_it_purged(void **state)
{
	umem_cache_t *cp = plain(4096);
	(void)state;

	(void)quarry_reap();
	fill(cp, 4096, 1000);
	for (size_t i = 0; i < 1000; i++)
		if (i % 10 != 0)
			drop(cp, i);
	assert_in_range(quarry_reap(), 3 << 20, 4 << 20);
	intact(4096, 1000);
	finish(cp, 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_page_of_free_objects_goes_and_one_with_an_object_stays),
	    cmocka_unit_test(the_slab_that_was_drawn_on_last_is_purged_too),
	    cmocka_unit_test(an_object_keeps_both_pages_that_it_lies_on),
	    cmocka_unit_test(what_was_purged_is_handed_out_again),
	    cmocka_unit_test(live_objects_of_any_size_survive),
	    cmocka_unit_test(a_kernel_that_will_not_purge_loses_nothing),
	    cmocka_unit_test(a_reap_counts_what_it_purged),
	};

	if (!umem__init())
		return (EXIT_FAILURE);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
