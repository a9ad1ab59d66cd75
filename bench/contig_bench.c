/*
 * contig_bench.c - Quarry, and what programs write for themselves, as engines
 * of the benchmark of contiguous memory.
 *
 *	quarry, bestfit  contigmalloc_pool, by two policies
 *	bitmap           a map of pages and a scan from the top of the window:
 *	                 the rule of contigmalloc(9), written down naively
 *	posix_memalign   of the C library; no windows, no boundaries
 *	mmap             a mapping for each request, cut to the alignment
 *	inline           only a subtraction and a test, for `translate`
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE 1
#include "contig_rows.h"

#include "harness.h"

#include <quarry/contigmalloc.h>

#include <stdlib.h>
#include <sys/mman.h>

/* ---- Quarry ---- */

static MALLOC_DEFINE(M_BENCH, "bench", "blocks of the benchmark");

static physpool_t *pool;
static size_t pool_size;

static void
open_pool(size_t size, enum physpool_policy policy)
{
	struct physpool_attr attr = {.size = size, .policy = policy};

	pool_size = size;
	if (physpool_create(&pool, &attr) != 0)
		bench_die("contig_bench: no pool");
}

static void
quarry_open(size_t size)
{
	open_pool(size, PHYSPOOL_HIGH_FIRST);
}

static void
bestfit_open(size_t size)
{
	open_pool(size, PHYSPOOL_BEST_FIT);
}

static void *
quarry_get(const struct request *r)
{
	return (contigmalloc_pool(pool, r->r_size, M_BENCH, M_NOWAIT, r->r_low,
	    r->r_high == 0 ? ~(vm_paddr_t)0 : r->r_high, r->r_align,
	    r->r_boundary));
}

static void
quarry_put(void *p, size_t size)
{
	contigfree(p, size, M_BENCH);
}

static void *
quarry_take_page(size_t page)
{
	return (contigmalloc_pool(pool, PAGE, M_BENCH, M_NOWAIT, page * PAGE,
	    (page + 1) * PAGE, 1, 0));
}

static size_t
quarry_largest(void)
{
	size_t low = 0, high = pool_size / PAGE;

	while (low < high) {
		size_t middle = (low + high + 1) / 2;
		struct request r = {.r_size = middle * PAGE, .r_align = 1};
		void *p = quarry_get(&r);

		if (p == NULL) {
			high = middle - 1;
		} else {
			quarry_put(p, r.r_size);
			low = middle;
		}
	}
	return (low * PAGE);
}

static uint64_t
quarry_translate(const void *p, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		sum += vtophys((const char *)p + i % 16384 * 64);
		__asm__ volatile("" : : : "memory");
	}
	return (sum);
}

/* ---- a subtraction with a range check ---- */

static struct {
	uintptr_t va;
	size_t size;
	uint64_t pa;
} range;

static void
inline_open(size_t size)
{
	range.va = (uintptr_t)bench_map(size);
	range.size = size;
	range.pa = 0x100000000;
}

static void *
inline_get(const struct request *r)
{
	(void)r;
	return ((void *)range.va);
}

static uint64_t
inline_translate(const void *p, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		uintptr_t va = (uintptr_t)p + i % 16384 * 64;

		sum += va - range.va < range.size ? va - range.va + range.pa
						  : UINT64_MAX;
		__asm__ volatile("" : : : "memory");
	}
	return (sum);
}

/* ---- a bitmap ---- */

static char *space;
static size_t space_pages;
static unsigned char *used;

static void
bitmap_open(size_t size)
{
	space_pages = size / PAGE;
	space = bench_map(size);
	used = bench_map(space_pages);
}

static int
run_free(size_t page, size_t pages)
{
	for (size_t i = 0; i < pages; i++) {
		if (used[page + i])
			return (0);
	}
	return (1);
}

static void *
bitmap_take(size_t page, size_t pages)
{
	for (size_t i = 0; i < pages; i++)
		used[page + i] = 1;
	return (space + page * PAGE);
}

static void *
bitmap_get(const struct request *r)
{
	size_t pages = (r->r_size + PAGE - 1) / PAGE, end = space_pages;

	if (r->r_high != 0 && r->r_high / PAGE < end)
		end = r->r_high / PAGE;
	if (pages > end)
		return (NULL);
	for (size_t page = end - pages + 1; page-- > 0;) {
		uint64_t pa = page * PAGE, last = pa + (pages * PAGE - 1);

		if (pa < r->r_low)
			break;
		if ((pa & (r->r_align - 1)) == 0 &&
		    (r->r_boundary == 0 ||
			((pa ^ last) & ~(uint64_t)(r->r_boundary - 1)) == 0) &&
		    run_free(page, pages))
			return (bitmap_take(page, pages));
	}
	return (NULL);
}

static void
bitmap_put(void *p, size_t size)
{
	size_t page = (size_t)((char *)p - space) / PAGE;

	for (size_t i = 0; i < (size + PAGE - 1) / PAGE; i++)
		used[page + i] = 0;
}

static void *
bitmap_take_page(size_t page)
{
	return (used[page] ? NULL : bitmap_take(page, 1));
}

static size_t
bitmap_largest(void)
{
	size_t best = 0, run = 0;

	for (size_t i = 0; i < space_pages; i++) {
		run = used[i] ? 0 : run + 1;
		if (run > best)
			best = run;
	}
	return (best * PAGE);
}

/* ---- the C library and the kernel ---- */

static void
nothing_open(size_t size)
{
	(void)size;
}

static void *
memalign_get(const struct request *r)
{
	void *p;

	return (posix_memalign(&p, r->r_align, r->r_size) == 0 ? p : NULL);
}

static void
memalign_put(void *p, size_t size)
{
	(void)size;
	free(p);
}

static void *
mmap_get(const struct request *r)
{
	size_t room = r->r_size + r->r_align - PAGE, head;
	char *p = bench_map(room);

	head = -(uintptr_t)p & (r->r_align - 1);
	if (head > 0)
		(void)munmap(p, head);
	if (room - head > r->r_size)
		(void)munmap(p + head + r->r_size, room - head - r->r_size);
	return (p + head);
}

static void
mmap_put(void *p, size_t size)
{
	(void)munmap(p, size);
}

int
main(int argc, char **argv)
{
	static const struct engine engines[] = {
	    {"quarry", quarry_open, quarry_get, quarry_put, quarry_take_page, 1,
		quarry_largest, quarry_translate},
	    {"bestfit", bestfit_open, quarry_get, quarry_put, quarry_take_page,
		1, quarry_largest, NULL},
	    {"bitmap", bitmap_open, bitmap_get, bitmap_put, bitmap_take_page, 1,
		bitmap_largest, NULL},
	    {"posix_memalign", nothing_open, memalign_get, memalign_put, NULL,
		0, NULL, NULL},
	    {"mmap", nothing_open, mmap_get, mmap_put, NULL, 0, NULL, NULL},
	    {"inline", inline_open, inline_get, NULL, NULL, 0, NULL,
		inline_translate},
	};

	return (rows_main(
	    argc, argv, engines, sizeof(engines) / sizeof(engines[0])));
}
