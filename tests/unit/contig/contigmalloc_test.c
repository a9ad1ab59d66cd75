/*
 * contigmalloc_test.c - where requests are placed, what fails how, and frees.
 */
#define _GNU_SOURCE 1 /* gettid */

#include "unit/contig/contig_test.h"

#include "support/again.h"
#include "support/asleep.h"
#include "support/child.h"

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

/* ---- placement ---- */

static void
the_golden_vectors_of_an_empty_pool(void **state)
{
	static const struct {
		unsigned long size;
		vm_paddr_t low, high;
		unsigned long align;
		vm_paddr_t bound, start;
	} v[] = {
	    {8192, 0, 0x400000, 32 << 10, 1 << 20, 0x3f8000},
	    {8192, 0x3001, 0x6000, 1, 0, 0x4000},
	    {8192, 0, 0x3fffff, 1, 0, 0x3fd000},
	    {8192, 0x3001, 0x7000, 1, 0, 0x5000},
	    {8192, 0, 0x3fffff, 32 << 10, 0, 0x3f8000},
	    {4096, 0, 4 << 20, 1, 1 << 10, NOWHERE},
	    {12288, 0, 0x400000, 4 << 10, 16 << 10, 0x3fd000},
	    {20480, 0, 4 << 20, 4 << 10, 16 << 10, NOWHERE},
	    {16384, 0, 0x400000, 4 << 10, 16 << 10, 0x3fc000},
	    {4096, 0x4000, 0x4000, 1, 0, NOWHERE},
	    {8192, 0, 0x400000, 1, 0, 0x3fe000},
	    {8192, 0, 4 << 20, 64 << 10, 4 << 10, NOWHERE},
	    {100, 0, 0x400000, 1, 0, 0x3ff000},
	    {100, 0, 4 << 20, 1, 4 << 10, 0x3ff000},
	};
	physpool_t *pool = pool_make(0, 16 * MIB);
	(void)state;

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		vm_paddr_t pa = get(pool, v[i].size, v[i].low, v[i].high,
		    v[i].align, v[i].bound);

		assert_int_equal(pa, v[i].start);
		if (pa != NOWHERE)
			put(pool, pa, v[i].size);
	}
	pool_done(pool);
}

/* A mapping at a multiple of 64 KiB and a page. */
static char *
odd_mapping(size_t size)
{
	char *p = mmap(NULL, size + 0x20000, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return ((char *)(((uintptr_t)p + 0xffff) & ~(uintptr_t)0xffff) + PAGE);
}

static void
t01_alignment_and_boundary_are_those_of_physical_addresses(void **state)
{
	struct physpool_attr attr = {.name = "odd",
	    .base = 0x100000,
	    .size = MIB,
	    .backing = PHYSPOOL_EXTERNAL,
	    .va = odd_mapping(MIB)};
	physpool_t *pool = pool_of(&attr);
	vm_paddr_t a, b;
	(void)state;

	a = get(pool, 8192, 0, NO_LIMIT, 0x10000, 0);
	assert_int_equal(a, 0x1f0000);
	assert_int_not_equal((uintptr_t)physpool_phystov(pool, a) % 0x10000, 0);
	b = get(pool, 0x10000, 0, NO_LIMIT, 1, 0x10000);
	assert_int_equal(b, 0x1e0000);
	put(pool, a, 8192);
	put(pool, b, 0x10000);
	pool_done(pool);
}

static void
t02_high_is_exclusive(void **state)
{
	physpool_t *pool = pool_make(0, 16 * MIB);
	vm_paddr_t below = get(pool, PAGE, 0, 0x400000, 1, 0);
	(void)state;

	assert_int_equal(below, 0x3ff000);
	put(pool, below, PAGE);
	assert_int_equal(get(pool, PAGE, 0, 0x3fffff, 1, 0), 0x3fe000);
	put(pool, 0x3fe000, PAGE);
	FAILS(get(pool, PAGE, 0, 0, 1, 0), ENOSPC);
	pool_done(pool);
}

static void
t03_low_is_inclusive(void **state)
{
	physpool_t *pool = pool_make(0, 16 * MIB);
	(void)state;

	assert_int_equal(get(pool, PAGE, 0x7000, 0x8000, 1, 0), 0x7000);
	FAILS(get(pool, PAGE, 0x7000, 0x8000, 1, 0), ENOMEM);
	put(pool, 0x7000, PAGE);
	FAILS(get(pool, PAGE, 0x7001, 0x8000, 1, 0), ENOSPC);
	pool_done(pool);
}

static void
t04_a_size_is_rounded_before_the_boundary_is_judged(void **state)
{
	physpool_t *pool = pool_make(0, 16 * MIB);
	(void)state;

	FAILS(get(pool, 100, 0, NO_LIMIT, 1, 1024), EINVAL);
	pool_done(pool);
}

static void
t05_a_boundary_of_the_size_is_an_alignment_and_a_lower_one_impossible(
    void **state)
{
	physpool_t *pool = pool_make(0, 16 * MIB);
	(void)state;

	assert_int_equal(get(pool, 0x4000, 0, 0xb000, 1, 0x4000), 0x4000);
	put(pool, 0x4000, 0x4000);
	FAILS(get(pool, 0x4000, 0x1000, 0x7000, 1, 0x4000), ENOSPC);
	FAILS(get(pool, 0x4001, 0, NO_LIMIT, 1, 0x4000), EINVAL);
	errno = 0;
	assert_null(contigmalloc_wait(
	    pool, 0x4001, M_DEVBUF, M_WAITOK, 0, NO_LIMIT, 1, 0x4000, NULL));
	assert_int_equal(errno, EINVAL);
	pool_done(pool);
}

static void
a_boundary_below_the_alignment_is_met_by_every_aligned_block(void **state)
{
	physpool_t *pool = pool_make(0, MIB);
	(void)state;

	assert_int_equal(
	    get(pool, 0x3000, 0, NO_LIMIT, 0x10000, 0x4000), 0xf0000);
	put(pool, 0xf0000, 0x3000);
	pool_done(pool);
}

static void
t06_zero_is_no_boundary_and_an_alignment_of_one(void **state)
{
	physpool_t *pool = pool_make(0, 16 * MIB);
	(void)state;

	assert_int_equal(get(pool, 0x3000, 0, 0x5000, 0, 0), 0x2000);
	put(pool, 0x2000, 0x3000);
	pool_done(pool);
}

static void
t06_bad_words_panic_with_all_of_them(void **state)
{
	physpool_t *pool = pool_make(0, 16 * MIB);
	(void)state;

	panic_catch();
	FAILS(get(pool, 0, 1, 0x5000, 4, 8), EINVAL);
	PANIC_EXPECT("contigmalloc_pool(test, 0, devbuf, 0x1, 0x1, 0x5000, 4, "
		     "8): size must not be 0");
	panic_catch();
	FAILS(get(pool, 100, 0, NO_LIMIT, 3, 0), EINVAL);
	PANIC_EXPECT("contigmalloc_pool(test, 100, devbuf, 0x1, 0x0, "
		     "0xffffffffffffffff, 3, 0): alignment must be a power of "
		     "2");
	panic_catch();
	assert_null(contigmalloc_wait(
	    pool, 100, M_TEMP, M_ZERO, 0, 0x100000, 0, 0x3000, NULL));
	PANIC_EXPECT("contigmalloc_wait(test, 100, temp, 0x100, 0x0, 0x100000, "
		     "0, 12288): boundary must be a power of 2");
	panic_catch();
	assert_null(contigmalloc(0, M_TEMP, 0, 0, 0x100000, 0, 0));
	PANIC_EXPECT("contigmalloc(physpool, 0, temp, 0x0, 0x0, 0x100000, 0, "
		     "0): size must not be 0");
	panic_catch();
	assert_int_equal(
	    physpool_reserve(pool, 0, 0, 0x100000, 0, 0, 1), EINVAL);
	PANIC_EXPECT("physpool_reserve(test, 0, ?, 0x0, 0x0, 0x100000, 0, 0): "
		     "size must not be 0");
	pool_done(pool);
}

static void
t06_what_is_no_type_panics(void **state)
{
	struct malloc_type junk = {NULL, 1, "junk", NULL};
	physpool_t *pool = pool_make(0, 16 * MIB);
	(void)state;

	panic_catch();
	assert_null(contigmalloc_pool(pool, 100, NULL, 0, 0, NO_LIMIT, 1, 0));
	PANIC_EXPECT("contigmalloc_pool: malloc type 0x0 lacks magic");
	panic_catch();
	assert_null(contigmalloc_pool(pool, 100, &junk, 0, 0, NO_LIMIT, 1, 0));
	assert_int_equal(errno, EINVAL);
	PANIC_EXPECT(
	    "contigmalloc_pool: malloc type %p lacks magic", (void *)&junk);
	pool_done(pool);
}

static void
t07_sizes_and_windows_near_the_top_do_not_wrap(void **state)
{
	vm_paddr_t base = (vm_paddr_t)0 - MIB;
	physpool_t *pool = pool_make(base, MIB);
	vm_paddr_t top;
	(void)state;

	FAILS(get_any(pool, ~0ul), ENOMEM);
	FAILS(get_any(pool, ~0ul - 4095), ENOMEM);
	FAILS(get_any(pool, ~0ul - 4096), ENOMEM);
	FAILS(get_any(pool, ~0ul / 2), ENOMEM);
	top = get_any(pool, PAGE);
	assert_int_equal(top, (vm_paddr_t)0 - PAGE);
	assert_int_equal(
	    get(pool, PAGE, 0, NO_LIMIT - 1, 1, 0), (vm_paddr_t)0 - 2 * PAGE);
	FAILS(get(pool, PAGE, NO_LIMIT - 4096, NO_LIMIT, 1, 0), ENOMEM);
	FAILS(get(pool, PAGE, NO_LIMIT - 4094, NO_LIMIT, 1, 0), ENOSPC);
	assert_int_equal(
	    get(pool, PAGE, base, base + PAGE, 1ul << 12, 0), base);
	put(pool, top, PAGE);
	put(pool, (vm_paddr_t)0 - 2 * PAGE, PAGE);
	put(pool, base, PAGE);
	assert_int_equal(get_any(pool, MIB), base);
	memset(physpool_phystov(pool, base), 0x5a, MIB);
	put(pool, base, MIB);
	assert_null(physpool_phystov(pool, base - 1));
	assert_null(physpool_phystov(pool, 0));
	pool_done(pool);
}

static void
t07_the_last_page_is_reached_by_no_limit_only(void **state)
{
	physpool_t *pool = pool_make((vm_paddr_t)0 - PAGE, PAGE);
	(void)state;

	FAILS(get(pool, PAGE, 0, NO_LIMIT - 1, 1, 0), ENOSPC);
	assert_int_equal(get_any(pool, PAGE), (vm_paddr_t)0 - PAGE);
	put(pool, (vm_paddr_t)0 - PAGE, PAGE);
	pool_done(pool);
}

static void
t08_the_highest_place_is_taken_and_a_high_hole_taken_again(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	(void)state;

	for (vm_paddr_t pa = 15 * PAGE; pa >= 8 * PAGE; pa -= PAGE)
		assert_int_equal(get_any(pool, PAGE), pa);
	put(pool, 13 * PAGE, PAGE);
	put(pool, 10 * PAGE, PAGE);
	assert_int_equal(get_any(pool, PAGE), 13 * PAGE);
	assert_int_equal(get_any(pool, 2 * PAGE), 6 * PAGE);
	assert_int_equal(get_any(pool, PAGE), 10 * PAGE);
	put(pool, 6 * PAGE, 2 * PAGE);
	for (vm_paddr_t pa = 8 * PAGE; pa < 16 * PAGE; pa += PAGE)
		put(pool, pa, PAGE);
	pool_done(pool);
}

static void
a_pool_may_take_the_lowest_place_or_the_smallest_hole(void **state)
{
	struct physpool_attr attr = {
	    .size = 16 * PAGE, .policy = PHYSPOOL_LOW_FIRST};
	physpool_t *low = pool_of(&attr), *best;
	(void)state;

	attr.policy = PHYSPOOL_BEST_FIT;
	best = pool_of(&attr);
	assert_int_equal(get_any(low, PAGE), 0);
	assert_int_equal(get(low, PAGE, 0, NO_LIMIT, 0x4000, 0), 0x4000);
	assert_int_equal(get_any(low, 3 * PAGE), PAGE);
	put(low, 0, PAGE);
	put(low, PAGE, 3 * PAGE);
	put(low, 0x4000, PAGE);

	/* Holes of three pages, of one and of ten. */
	assert_int_equal(get(best, PAGE, 3 * PAGE, 4 * PAGE, 1, 0), 3 * PAGE);
	assert_int_equal(get(best, PAGE, 5 * PAGE, 6 * PAGE, 1, 0), 5 * PAGE);
	assert_int_equal(get_any(best, PAGE), 4 * PAGE);
	assert_int_equal(get_any(best, 3 * PAGE), 0);
	FAILS(get_any(best, 11 * PAGE), ENOMEM);
	assert_int_equal(get_any(best, 10 * PAGE), 6 * PAGE);
	put(best, 0, 3 * PAGE);
	put(best, 3 * PAGE, PAGE);
	put(best, 4 * PAGE, PAGE);
	put(best, 5 * PAGE, PAGE);
	put(best, 6 * PAGE, 10 * PAGE);
	pool_done(low);
	pool_done(best);
}

static void
t09_all_of_the_rounded_size_is_zeroed_in_a_mixture_of_pages(void **state)
{
	physpool_t *pool = pool_make(0, 64 * PAGE);
	vm_paddr_t used[16];
	unsigned char *p;
	(void)state;

	/* Every other page has been written, the others never touched. */
	for (size_t i = 0; i < 16; i++)
		used[i] =
		    get(pool, PAGE, 2 * i * PAGE, (2 * i + 1) * PAGE, 1, 0);
	for (size_t i = 0; i < 16; i++) {
		memset(physpool_phystov(pool, used[i]), 0xff, PAGE);
		put(pool, used[i], PAGE);
	}
	p = contigmalloc_pool(
	    pool, 31 * PAGE + 5, M_DEVBUF, M_ZERO, 0, 32 * PAGE, 1, 0);
	assert_non_null(p);
	assert_int_equal(vtophys(p), 0);
	for (size_t i = 0; i < 32 * PAGE; i++)
		assert_int_equal(p[i], 0);
	contigfree(p, 31 * PAGE + 5, M_DEVBUF);
	pool_done(pool);
}

/* Pieces of one page at these addresses, in one mapping. */
static physpool_t *
pool_of_pieces(const vm_paddr_t *paddrs, size_t n)
{
	struct physpool_attr attr = {
	    .name = "pieces", .size = n * PAGE, .paddrs = paddrs};

	return (pool_of(&attr));
}

static void
t10_no_block_lies_across_a_hole_in_either_address(void **state)
{
	/* In memory:               0       1       2       3       4 */
	const vm_paddr_t paddrs[] = {0x1000, 0x9000, 0x2000, 0x3000, 0x8000};
	physpool_t *pool = pool_of_pieces(paddrs, 5);
	(void)state;

	/* 1 and 2 touch physically, 2 and 3 in both, 8 and 9 physically. */
	assert_int_equal(get(pool, 2 * PAGE, 0, 0x100000, 1, 0), 0x2000);
	FAILS(get(pool, 2 * PAGE, 0, 0x100000, 1, 0), ENOMEM);
	put(pool, 0x2000, 2 * PAGE);
	FAILS(get(pool, 3 * PAGE, 0, 0x100000, 1, 0), ENOSPC);
	FAILS(get(pool, 2 * PAGE, 0x4000, 0x100000, 1, 0), ENOSPC);
	assert_int_equal(get(pool, PAGE, 0, 0x100000, 1, 0), 0x9000);
	assert_int_equal(get(pool, PAGE, 0, 0x100000, 1, 0), 0x8000);
	assert_ptr_equal((char *)physpool_phystov(pool, 0x9000) + PAGE,
	    physpool_phystov(pool, 0x2000));
	assert_int_equal(vtophys(physpool_phystov(pool, 0x3fff)), 0x3fff);
	assert_null(physpool_phystov(pool, 0x4000));
	assert_null(physpool_phystov(pool, 0xfff));
	put(pool, 0x9000, PAGE);
	put(pool, 0x8000, PAGE);
	pool_done(pool);
}

static void
t11_a_request_that_may_wait_still_does_not(void **state)
{
	physpool_t *pool = pool_make(0, 4 * PAGE);
	vm_paddr_t all = get_any(pool, 4 * PAGE);
	(void)state;

	errno = 0;
	assert_null(contigmalloc_pool(
	    pool, PAGE, M_DEVBUF, M_WAITOK, 0, NO_LIMIT, 1, 0));
	assert_int_equal(errno, ENOMEM);
	put(pool, all, 4 * PAGE);
	pool_done(pool);
}

/* ---- frees ---- */

static void
t12_a_free_that_rounds_to_the_same_size_is_right(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	vm_paddr_t pa = get_any(pool, 5000);
	(void)state;

	put(pool, pa, 8192);
	pa = get_any(pool, 8192);
	put(pool, pa, 4097);
	pool_done(pool);
}

static void
t12_a_wrong_free_is_named_and_changes_nothing(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	char *p = contigmalloc_pool(pool, 8192, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0);
	struct malloc_type_stats before = stats_of(M_DEVBUF), after;
	static char foreign[64];
	(void)state;

	panic_catch();
	contigfree(p, 4096, M_DEVBUF);
	PANIC_EXPECT("contigfree(%p, 4096, devbuf): wrong size, allocated as "
		     "8192 bytes of devbuf",
	    (void *)p);
	panic_catch();
	contigfree(p, 12288, M_DEVBUF);
	PANIC_EXPECT("contigfree(%p, 12288, devbuf): wrong size, allocated as "
		     "8192 bytes of devbuf",
	    (void *)p);
	panic_catch();
	contigfree(p, 0, M_DEVBUF);
	PANIC_EXPECT("contigfree(%p, 0, devbuf): wrong size, allocated as "
		     "8192 bytes of devbuf",
	    (void *)p);
	panic_catch();
	contigfree(p, ~0ul, M_DEVBUF);
	PANIC_EXPECT("contigfree(%p, 18446744073709551615, devbuf): wrong "
		     "size, allocated as 8192 bytes of devbuf",
	    (void *)p);
	panic_catch();
	contigfree(p, 8192, M_TEMP);
	PANIC_EXPECT("contigfree(%p, 8192, temp): wrong type, allocated as "
		     "8192 bytes of devbuf",
	    (void *)p);
	panic_catch();
	contigfree(p, 8192, NULL);
	assert_int_equal(panics, 1);
	panic_catch();
	contigfree(p + 4096, 4096, M_DEVBUF);
	PANIC_EXPECT("contigfree(%p, 4096, devbuf): inside of %p, allocated as "
		     "8192 bytes of devbuf",
	    (void *)(p + 4096), (void *)p);
	panic_catch();
	contigfree(p + 1, 8192, M_DEVBUF);
	PANIC_EXPECT("contigfree(%p, 8192, devbuf): inside of %p, allocated as "
		     "8192 bytes of devbuf",
	    (void *)(p + 1), (void *)p);
	panic_catch();
	contigfree(p - 4096, 8192, M_DEVBUF);
	PANIC_EXPECT("contigfree(%p, 8192, devbuf): not allocated, free in "
		     "pool test",
	    (void *)(p - 4096));
	panic_catch();
	contigfree(foreign, 64, M_DEVBUF);
	PANIC_EXPECT(
	    "contigfree(%p, 64, devbuf): not in any pool", (void *)foreign);
	panic_catch();
	contigfree(NULL, 64, M_DEVBUF);
	PANIC_EXPECT("contigfree(0x0, 64, devbuf): not in any pool");

	after = stats_of(M_DEVBUF);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(get_any(pool, 14 * PAGE), 0);
	put(pool, 0, 14 * PAGE);
	contigfree(p, 8192, M_DEVBUF);
	panic_catch();
	contigfree(p, 8192, M_DEVBUF);
	PANIC_EXPECT("contigfree(%p, 8192, devbuf): not allocated, free in "
		     "pool test",
	    (void *)p);
	pool_done(pool);
}

static void
free_twice(void *arg)
{
	physpool_t *pool = arg;
	void *p = contigmalloc_pool(pool, PAGE, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0);

	contigfree(p, PAGE, M_DEVBUF);
	contigfree(p, PAGE, M_DEVBUF);
}

static void
t12_a_wrong_free_is_fatal_without_a_hook(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	(void)state;

	child_expect_abort_like(free_twice, pool,
	    "contigfree(0x*, 4096, devbuf): not allocated, free in pool test");
	pool_done(pool);
}

static void
kfree_frees_without_a_size_and_with_the_right_type(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	char *p = contigmalloc_pool(pool, 8192, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0);
	(void)state;

	panic_catch();
	kfree(p, M_TEMP);
	PANIC_EXPECT("kfree(%p, temp): wrong type, allocated as 8192 bytes of "
		     "devbuf",
	    (void *)p);
	panic_catch();
	kfree(p + PAGE, M_DEVBUF);
	PANIC_EXPECT("kfree(%p, devbuf): inside of %p, allocated as 8192 bytes "
		     "of devbuf",
	    (void *)(p + PAGE), (void *)p);
	kfree(p, M_DEVBUF);
	assert_int_equal(get_any(pool, 16 * PAGE), 0);
	put(pool, 0, 16 * PAGE);
	pool_done(pool);
}

static void
t13_freed_in_any_order_all_is_one_run_again(void **state)
{
	enum { N = 101 };
	physpool_t *pool = pool_make(0, N * PAGE);
	vm_paddr_t pa[N];
	(void)state;

	for (size_t step = 1; step < N; step += 7) {
		for (size_t i = 0; i < N; i++)
			pa[i] = get_any(pool, PAGE);
		FAILS(get_any(pool, PAGE), ENOMEM);
		for (size_t n = 0, i = 0; n < N; n++, i = (i + step) % N)
			put(pool, pa[i], PAGE);
		assert_int_equal(get_any(pool, N * PAGE), 0);
		put(pool, 0, N * PAGE);
	}
	pool_done(pool);
}

/* ---- accounting ---- */

static void
t14_blocks_are_charged_rounded_and_failures_change_nothing(void **state)
{
	enum { N = 10 };
	physpool_t *pool = pool_make(0, 64 * PAGE);
	struct malloc_type *type = NULL;
	struct malloc_type_stats st;
	void *p[N];
	(void)state;

	kmalloc_create(&type, "t14");
	for (size_t i = 0; i < N; i++)
		p[i] =
		    contigmalloc_pool(pool, 5000, type, 0, 0, NO_LIMIT, 1, 0);
	st = stats_of(type);
	assert_int_equal(st.memuse, N * 8192);
	assert_int_equal(st.inuse, N);
	assert_int_equal(st.requests, N);
	assert_int_equal(st.sizes, 0);
	assert_null(
	    contigmalloc_pool(pool, 50 * PAGE, type, 0, 0, NO_LIMIT, 1, 0));
	assert_null(contigmalloc_pool(pool, 100, type, 0, 0, NO_LIMIT, 1, 16));
	st = stats_of(type);
	assert_int_equal(st.memuse, N * 8192);
	assert_int_equal(st.highuse, N * 8192);
	assert_int_equal(st.inuse, N);
	assert_int_equal(st.requests, N);
	assert_int_equal(st.failed, 2);
	for (size_t i = 0; i < N; i++)
		contigfree(p[i], 5000, type);
	st = stats_of(type);
	assert_int_equal(st.memuse, 0);
	assert_int_equal(st.highuse, N * 8192);
	assert_int_equal(st.inuse, 0);
	kmalloc_destroy(&type);
	pool_done(pool);
}

static void
t17_a_limit_that_forbids_a_request_leaves_the_pool_as_it_was(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	struct malloc_type *type = NULL;
	char *p;
	(void)state;

	kmalloc_create(&type, "t17");
	assert_int_equal(malloc_type_set_limit(type, 3 * PAGE), 0);
	p = contigmalloc_pool(pool, 2 * PAGE, type, 0, 0, NO_LIMIT, 1, 0);
	assert_non_null(p);
	errno = 0;
	assert_null(contigmalloc_pool(
	    pool, 2 * PAGE, type, M_WAITOK, 0, NO_LIMIT, 1, 0));
	assert_int_equal(errno, ENOMEM);
	errno = 0;
	assert_null(contigmalloc_wait(
	    pool, 4 * PAGE, type, M_WAITOK, 0, NO_LIMIT, 1, 0, NULL));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(get_any(pool, 14 * PAGE), 0);
	put(pool, 0, 14 * PAGE);
	contigfree(p, 2 * PAGE, type);
	kmalloc_destroy(&type);
	pool_done(pool);
}

/* ---- waiting ---- */

static struct timespec
after_ms(long ms)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
	ts.tv_nsec += ms % 1000 * 1000000;
	ts.tv_sec += ms / 1000 + ts.tv_nsec / 1000000000;
	ts.tv_nsec %= 1000000000;
	return (ts);
}

struct waiter {
	physpool_t *w_pool;
	struct malloc_type *w_type;
	unsigned long w_size;
	void *w_got;
	int w_error;
	_Atomic pid_t w_tid;
};

static void *
wait_for_memory(void *arg)
{
	struct waiter *w = arg;

	w->w_tid = gettid();
	w->w_got = contigmalloc_wait(
	    w->w_pool, w->w_size, w->w_type, M_WAITOK, 0, NO_LIMIT, 1, 0, NULL);
	w->w_error = errno;
	return (NULL);
}

static void
a_waiting_request_is_served_by_the_free_that_makes_it_possible(void **state)
{
	physpool_t *pool = pool_make(0, 4 * PAGE);
	struct waiter w = {pool, M_DEVBUF, 2 * PAGE, NULL, 0, 0};
	pthread_t thread;
	vm_paddr_t pa[4];
	(void)state;

	for (int i = 0; i < 4; i++)
		pa[i] = get_any(pool, PAGE);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_memory, &w), 0);
	(void)usleep(20000);
	put(pool, pa[0], PAGE);
	(void)usleep(20000);
	assert_int_equal(physpool_destroy(pool), EBUSY);
	put(pool, pa[2], PAGE);
	(void)usleep(20000);
	put(pool, pa[1], PAGE);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_non_null(w.w_got);
	contigfree(w.w_got, 2 * PAGE, M_DEVBUF);
	put(pool, pa[3], PAGE);
	pool_done(pool);
}

static void
t17_a_request_that_waits_for_its_limit_is_served_when_usage_drops(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	struct malloc_type *type = NULL;
	struct waiter w = {pool, NULL, 2 * PAGE, NULL, 0, 0};
	pthread_t thread;
	void *p;
	(void)state;

	kmalloc_create(&type, "t17");
	w.w_type = type;
	assert_int_equal(malloc_type_set_limit(type, 3 * PAGE), 0);
	p = contigmalloc_pool(pool, 2 * PAGE, type, 0, 0, NO_LIMIT, 1, 0);
	assert_non_null(p);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_memory, &w), 0);
	(void)usleep(20000);
	contigfree(p, 2 * PAGE, type);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_non_null(w.w_got);
	contigfree(w.w_got, 2 * PAGE, type);
	kmalloc_destroy(&type);
	pool_done(pool);
}

static void
a_pool_is_not_destroyed_while_a_request_waits_for_its_limit(void **state)
{
	physpool_t *pool = pool_make(0, 4 * PAGE);
	struct malloc_type *type = NULL;
	struct waiter w = {pool, NULL, PAGE, NULL, 0, 0};
	pthread_t thread;
	void *p;
	(void)state;

	kmalloc_create(&type, "full");
	w.w_type = type;
	assert_int_equal(malloc_type_set_limit(type, PAGE), 0);
	p = kmalloc(PAGE, type, M_WAITOK);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_memory, &w), 0);
	wait_until_asleep(&w.w_tid);
	assert_int_equal(physpool_destroy(pool), EBUSY);
	kfree(p, type);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_non_null(w.w_got);
	contigfree(w.w_got, PAGE, type);
	kmalloc_destroy(&type);
	pool_done(pool);
}

static void
a_deadline_ends_a_wait_and_one_that_has_passed_means_one_try(void **state)
{
	physpool_t *pool = pool_make(0, 4 * PAGE);
	vm_paddr_t all = get_any(pool, 4 * PAGE);
	struct timespec soon = after_ms(30), past = {0, 0}, now;
	struct malloc_type *type = NULL;
	void *p;
	(void)state;

	errno = 0;
	assert_null(contigmalloc_wait(
	    pool, PAGE, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0, &soon));
	assert_int_equal(errno, ETIMEDOUT);
	now = after_ms(0);
	assert_true(now.tv_sec > soon.tv_sec ||
	    (now.tv_sec == soon.tv_sec && now.tv_nsec >= soon.tv_nsec));
	errno = 0;
	assert_null(contigmalloc_wait(
	    pool, PAGE, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0, &past));
	assert_int_equal(errno, ETIMEDOUT);
	put(pool, all, 4 * PAGE);
	p = contigmalloc_wait(
	    pool, PAGE, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0, &past);
	assert_non_null(p);
	contigfree(p, PAGE, M_DEVBUF);

	kmalloc_create(&type, "slow");
	assert_int_equal(malloc_type_set_limit(type, PAGE), 0);
	p = contigmalloc_pool(pool, PAGE, type, 0, 0, NO_LIMIT, 1, 0);
	soon = after_ms(30);
	errno = 0;
	assert_null(
	    contigmalloc_wait(pool, PAGE, type, 0, 0, NO_LIMIT, 1, 0, &soon));
	assert_int_equal(errno, ETIMEDOUT);
	contigfree(p, PAGE, type);
	kmalloc_destroy(&type);
	pool_done(pool);
}

static void
t17_who_waits_for_memory_fails_once_the_limit_is_below_it(void **state)
{
	physpool_t *pool = pool_make(0, 4 * PAGE);
	vm_paddr_t all = get_any(pool, 4 * PAGE);
	struct malloc_type *type = NULL;
	struct waiter w = {pool, NULL, 2 * PAGE, NULL, 0, 0};
	pthread_t thread;
	(void)state;

	kmalloc_create(&type, "lowered");
	w.w_type = type;
	assert_int_equal(malloc_type_set_limit(type, 2 * PAGE), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_memory, &w), 0);
	wait_until_asleep(&w.w_tid);
	assert_int_equal(malloc_type_set_limit(type, PAGE), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_null(w.w_got);
	assert_int_equal(w.w_error, ENOMEM);

	errno = 0;
	assert_null(contigmalloc_wait(
	    pool, 2 * PAGE, type, 0, 0, NO_LIMIT, 1, 0, NULL));
	assert_int_equal(errno, ENOMEM);
	put(pool, all, 4 * PAGE);
	kmalloc_destroy(&type);
	pool_done(pool);
}

static void
what_can_never_be_served_fails_at_once_even_when_it_may_wait(void **state)
{
	physpool_t *pool = pool_make(0x100000, 4 * PAGE);
	vm_paddr_t all = get_any(pool, 4 * PAGE);
	static const struct {
		unsigned long size;
		vm_paddr_t low, high;
		unsigned long align;
		vm_paddr_t bound;
		int error;
	} v[] = {
	    {2 * PAGE, 0, NO_LIMIT, 1, PAGE, EINVAL},
	    {5 * PAGE, 0, NO_LIMIT, 1, 0, ENOMEM},
	    {PAGE, 0, 0x100000, 1, 0, ENOSPC},
	    {PAGE, 0x104000, NO_LIMIT, 1, 0, ENOSPC},
	    {PAGE, 0x5000, 0x5000, 1, 0, ENOSPC},
	    {PAGE, 0x5000, 0x4000, 1, 0, ENOSPC},
	    {PAGE, 0x100001, NO_LIMIT, 0x8000, 0, ENOSPC},
	    {4 * PAGE, 0x100001, NO_LIMIT, 1, 0, ENOSPC},
	    {3 * PAGE, 0x102000, NO_LIMIT, 1, 0x4000, ENOSPC},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		errno = 0;
		assert_null(contigmalloc_wait(pool, v[i].size, M_DEVBUF, 0,
		    v[i].low, v[i].high, v[i].align, v[i].bound, NULL));
		assert_int_equal(errno, v[i].error);
		FAILS(get(pool, v[i].size, v[i].low, v[i].high, v[i].align,
			  v[i].bound),
		    v[i].error);
	}
	put(pool, all, 4 * PAGE);
	pool_done(pool);
}

/* ---- the default pool ---- */

static void
a_driver_allocates_from_the_default_pool(void **state)
{
	char *p = contigmalloc(
	    8192, M_DEVBUF, M_ZERO, 0, 1L << 22, 32 * 1024, 1024 * 1024);
	(void)state;

	assert_non_null(p);
	assert_int_equal(vtophys(p), 0x3f8000);
	assert_int_equal((uintptr_t)p % (32 * 1024), 0);
	assert_ptr_equal(physpool_phystov(physpool_default(), 0x3f8000), p);
	contigfree(p, 8192, M_DEVBUF);
	assert_int_equal(physpool_destroy(physpool_default()), EBUSY);
}

static void
default_pool_of_a_mebibyte(void)
{
	void *p = contigmalloc(MIB, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0);

	CHILD_CHECK(p != NULL && vtophys(p) == 0);
	CHILD_CHECK(contigmalloc(1, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0) == NULL);
	CHILD_CHECK(
	    contigmalloc(MIB + 1, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0) == NULL);
	contigfree(p, MIB, M_DEVBUF);
}

static void
the_default_pool_is_as_large_as_the_option_says(void **state)
{
	struct again_run run = {
	    "default_pool_of_a_mebibyte", {"QUARRY_OPTIONS=physpool_size=1m"}};
	(void)state;

	child_expect_exit(again_exec, &run, 0);
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"default_pool_of_a_mebibyte", default_pool_of_a_mebibyte},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_golden_vectors_of_an_empty_pool),
	    cmocka_unit_test(
		t01_alignment_and_boundary_are_those_of_physical_addresses),
	    cmocka_unit_test(t02_high_is_exclusive),
	    cmocka_unit_test(t03_low_is_inclusive),
	    cmocka_unit_test(
		t04_a_size_is_rounded_before_the_boundary_is_judged),
	    cmocka_unit_test(
		t05_a_boundary_of_the_size_is_an_alignment_and_a_lower_one_impossible),
	    cmocka_unit_test(
		a_boundary_below_the_alignment_is_met_by_every_aligned_block),
	    cmocka_unit_test(t06_zero_is_no_boundary_and_an_alignment_of_one),
	    cmocka_unit_test(t06_bad_words_panic_with_all_of_them),
	    cmocka_unit_test(t06_what_is_no_type_panics),
	    cmocka_unit_test(t07_sizes_and_windows_near_the_top_do_not_wrap),
	    cmocka_unit_test(t07_the_last_page_is_reached_by_no_limit_only),
	    cmocka_unit_test(
		t08_the_highest_place_is_taken_and_a_high_hole_taken_again),
	    cmocka_unit_test(
		a_pool_may_take_the_lowest_place_or_the_smallest_hole),
	    cmocka_unit_test(
		t09_all_of_the_rounded_size_is_zeroed_in_a_mixture_of_pages),
	    cmocka_unit_test(t10_no_block_lies_across_a_hole_in_either_address),
	    cmocka_unit_test(t11_a_request_that_may_wait_still_does_not),
	    cmocka_unit_test(t12_a_free_that_rounds_to_the_same_size_is_right),
	    cmocka_unit_test(t12_a_wrong_free_is_named_and_changes_nothing),
	    cmocka_unit_test(t12_a_wrong_free_is_fatal_without_a_hook),
	    cmocka_unit_test(
		kfree_frees_without_a_size_and_with_the_right_type),
	    cmocka_unit_test(t13_freed_in_any_order_all_is_one_run_again),
	    cmocka_unit_test(
		t14_blocks_are_charged_rounded_and_failures_change_nothing),
	    cmocka_unit_test(
		t17_a_limit_that_forbids_a_request_leaves_the_pool_as_it_was),
	    cmocka_unit_test(
		a_waiting_request_is_served_by_the_free_that_makes_it_possible),
	    cmocka_unit_test(
		t17_a_request_that_waits_for_its_limit_is_served_when_usage_drops),
	    cmocka_unit_test(
		a_pool_is_not_destroyed_while_a_request_waits_for_its_limit),
	    cmocka_unit_test(
		a_deadline_ends_a_wait_and_one_that_has_passed_means_one_try),
	    cmocka_unit_test(
		t17_who_waits_for_memory_fails_once_the_limit_is_below_it),
	    cmocka_unit_test(
		what_can_never_be_served_fails_at_once_even_when_it_may_wait),
	    cmocka_unit_test(a_driver_allocates_from_the_default_pool),
	    cmocka_unit_test(the_default_pool_is_as_large_as_the_option_says),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
