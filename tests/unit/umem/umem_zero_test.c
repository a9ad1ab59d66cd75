/*
 * umem_zero_test.c - large blocks that read as zero: they do, whoever clears
 * them, and where nobody writes nothing is in memory.
 */
#define _GNU_SOURCE 1 /* mincore */

#include "base/compiler.h"
#include "os/os_watch.h"
#include "support/cpus.h"
#include "support/failsys.h"
#include "support/random.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 1 << 20, CYCLES = 3000, MANY = 64 };

static size_t page;

static int
begin(void **state)
{
	(void)state;
	page = (size_t)sysconf(_SC_PAGESIZE);
	(void)quarry_reap();
	cpus_stay();
	return (0);
}

static int
end(void **state)
{
	(void)state;
	failsys_reset();
	cpus_roam();
	(void)quarry_reap();
	look_check();
	return (0);
}

static bool
all_zero(const unsigned char *p, size_t size)
{
	return (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

static size_t
resident(void *p, size_t size)
{
	unsigned char in[SIZE / 4096];
	size_t n = 0;

	assert_int_equal(mincore(p, size, in), 0);
	for (size_t i = 0; i < size / page; i++)
		n += in[i] & 1;
	return (n);
}

/* A block that is cleared, has so many of its pages written, and is freed. */
static size_t
cycle(size_t size, size_t pages)
{
	unsigned char *p = umem_zalloc(size, UMEM_DEFAULT);
	size_t were;

	assert_non_null(p);
	were = resident(p, size);
	for (size_t i = 0; i < pages; i++)
		p[i * page + i % page] = 1;
	umem_free(p, size);
	return (were);
}

/*
 * Cycles without a write, after one that wrote everywhere, until a block comes
 * without a page in memory; or `most`.
 */
static unsigned
cycles_to_none(size_t size, unsigned most)
{
	unsigned n = 0;

	(void)cycle(size, size / page);
	while (n < most && cycle(size, 0) != 0)
		n++;
	return (n);
}

static void
it_reads_as_zero_whatever_was_done_with_those_before(void **state)
{
	static const size_t sizes[] = {
	    SIZE / 4, SIZE / 2, SIZE / 2 + 4097, SIZE, SIZE - 1};
	uint64_t random = 7;
	unsigned cycles = os_watching() ? CYCLES / 10 : CYCLES;
	(void)state;

	for (unsigned i = 0; i < cycles; i++) {
		size_t size = sizes[random_next(&random) % QR_ARRAY_LEN(sizes)];
		unsigned char *p = umem_zalloc(size, UMEM_DEFAULT);

		assert_non_null(p);
		assert_true(all_zero(p, size));
		/* Long times of no use, some of a little, one of much. */
		if (i % 500 > 400)
			memset(p, 0xff, size);
		else if (i % 50 == 0)
			p[random_next(&random) % size] = 0xff;
		umem_free(p, size);
	}
}

static void
what_nobody_writes_is_not_in_memory(void **state)
{
	(void)state;
	if (os_watching())
		skip();
	assert_true(cycles_to_none(SIZE, 1000) < 1000);
	for (unsigned i = 0; i < MANY; i++)
		assert_true(cycle(SIZE, 0) <= 1);
}

static void
what_half_of_them_write_stays_in_memory(void **state)
{
	(void)state;
	for (unsigned i = 0; i < MANY; i++)
		(void)cycle(SIZE, SIZE / page);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(
		    cycle(SIZE, i % 2 * (SIZE / page)), SIZE / page);
}

static void
one_page_that_nobody_writes_is_not_enough(void **state)
{
	(void)state;
	for (size_t spared = 0; spared < SIZE / page; spared += 37)
		for (unsigned i = 0; i < MANY; i++) {
			unsigned char *p = umem_zalloc(SIZE, UMEM_DEFAULT);

			assert_non_null(p);
			if (i > 0)
				assert_in_range(resident(p, SIZE),
				    SIZE / page - 1, SIZE / page);
			memset(p, 1, spared * page);
			memset(p + (spared + 1) * page, 1,
			    SIZE - (spared + 1) * page);
			umem_free(p, SIZE);
		}
}

static void
what_is_not_to_be_zero_does_not_count(void **state)
{
	(void)state;
	if (os_watching())
		skip();
	assert_true(cycles_to_none(SIZE, 20000) < 20000);
	for (unsigned i = 0; i < MANY; i++) {
		unsigned char *p = umem_alloc(SIZE, UMEM_DEFAULT);

		assert_non_null(p);
		memset(p, 0xff, SIZE);
		umem_free(p, SIZE);
	}
	assert_int_equal(cycle(SIZE, 0), 0);
}

static void
each_mistake_makes_the_next_less_likely(void **state)
{
	enum { OTHER = 3 * SIZE / 8 };
	unsigned first, second;
	(void)state;

	if (os_watching())
		skip();
	first = cycles_to_none(OTHER, 5000);
	assert_true(first < 5000);
	for (unsigned i = 0; i < MANY; i++)
		(void)cycle(OTHER, OTHER / page);
	assert_int_equal(cycle(OTHER, 0), OTHER / page);
	second = cycles_to_none(OTHER, 5000);
	assert_true(second < 5000);
	assert_true(second > 4 * first);
}

/* mlock() and filters refuse. */
static void
when_the_kernel_refuses_it_is_cleared_all_the_same(void **state)
{
	unsigned char *p;
	(void)state;

	if (os_watching())
		skip();
	(void)cycles_to_none(SIZE, 20000);
	p = umem_zalloc(SIZE, UMEM_DEFAULT);
	assert_non_null(p);
	memset(p, 0xff, SIZE);
	umem_free(p, SIZE);
	failsys_from(FAILSYS_MADVISE, 1, EINVAL);
	p = umem_zalloc(SIZE, UMEM_DEFAULT);
	assert_non_null(p);
	assert_true(failsys_calls(FAILSYS_MADVISE) > 0);
	assert_true(all_zero(p, SIZE));
	umem_free(p, SIZE);
}

/* What is new is zero already. */
static void
memory_that_was_never_used_is_not_touched(void **state)
{
	enum { LARGE = 48 * SIZE };
	unsigned char *p = umem_zalloc(LARGE, UMEM_DEFAULT);
	(void)state;

	assert_non_null(p);
	assert_int_equal(resident(p + LARGE / 2, SIZE), 0);
	umem_free(p, LARGE);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
		one_page_that_nobody_writes_is_not_enough, begin, end),
	    cmocka_unit_test_setup_teardown(
		what_nobody_writes_is_not_in_memory, begin, end),
	    cmocka_unit_test_setup_teardown(
		what_half_of_them_write_stays_in_memory, begin, end),
	    cmocka_unit_test_setup_teardown(
		what_is_not_to_be_zero_does_not_count, begin, end),
	    cmocka_unit_test_setup_teardown(
		each_mistake_makes_the_next_less_likely, begin, end),
	    cmocka_unit_test_setup_teardown(
		when_the_kernel_refuses_it_is_cleared_all_the_same, begin, end),
	    cmocka_unit_test_setup_teardown(
		memory_that_was_never_used_is_not_touched, begin, end),
	    cmocka_unit_test_setup_teardown(
		it_reads_as_zero_whatever_was_done_with_those_before, NULL,
		end),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
