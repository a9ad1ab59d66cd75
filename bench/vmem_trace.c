/*
 * vmem_trace.c - what a long random trace leaves of the free space, and how long
 * single constrained requests take.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem_engines.h"

#include <quarry/vmem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- fragmentation ---- */

enum {
	ARENA_QUANTA = 1 << 16,
	FULL_QUANTA = ARENA_QUANTA / 100 * 85, /* in use from here on */
	LOG_MAX = 6,                           /* runs of 1 to 127 quanta */
	STEPS = 400 * 1000,
	PIECES_MAX = ARENA_QUANTA,
};

struct piece {
	uintptr_t p_addr;
	size_t p_quanta;
};

static struct piece pieces[PIECES_MAX];
static size_t npieces, used;

static struct {
	size_t total, largest, runs;
} left;

static void
count_run(void *arg, void *start, size_t size)
{
	(void)arg;
	(void)start;
	left.total += size;
	left.runs++;
	if (size > left.largest)
		left.largest = size;
}

/* One to 127 quanta, each power of two as likely as the next. */
static size_t
trace_quanta(uint64_t r)
{
	size_t low = (size_t)1 << (r >> 20) % (LOG_MAX + 1);

	return (low + ((r >> 40) & (low - 1)));
}

static void
free_any(const struct engine *e, uint64_t r)
{
	struct piece *p = &pieces[bench_below(r, npieces)];

	e->e_free(p->p_addr, p->p_quanta * QUANTUM);
	used -= p->p_quanta;
	*p = pieces[--npieces];
}

/* False: no room. */
static bool
alloc_any(const struct engine *e, uint64_t r, int flags)
{
	size_t quanta = trace_quanta(r);
	uintptr_t a = e->e_alloc(quanta * QUANTUM, flags);

	if (a == 0)
		return (false);
	pieces[npieces++] = (struct piece){a, quanta};
	used += quanta;
	return (true);
}

/*
 * Allocate until 85 % are in use or a request fails, then free one at random.
 * Prints the share of the free space that is the largest run, the number
 * of runs, and how many requests in a thousand failed.
 */
void
vmem_fragmentation(
    const struct engine *e, const char *lib, const char *policy, int flags)
{
	struct bench_worker w = {.bw_rng = 88172645463325252};
	size_t asked = 0, failed = 0;

	e->e_create(lib, ARENA_QUANTA, false);
	for (unsigned step = 0; step < STEPS; step++) {
		uint64_t r = bench_random(&w);
		bool full = used >= FULL_QUANTA;

		if (!full) {
			asked++;
			full = !alloc_any(e, r, flags);
			failed += full;
		}
		if (full)
			free_any(e, r);
	}
	e->e_walk(count_run);
	printf("%s %.4f %zu %.3f\n", policy,
	    (double)left.largest / (double)left.total, left.runs,
	    (double)failed / (double)asked * 1000);
}

/* ---- tails ---- */

enum {
	LIVE = 1000 * 1000,
	REQUESTS = 20 * 1000,
	REPLAYS = 5,
	PATIENCE_NS = 2000 * 1000 * 1000, /* for one replay */
};

static uint64_t times[REQUESTS];

/* Anywhere in the lower quarter, and a sixteenth of all. */
static void
tail_window(struct want *w, uint64_t r)
{
	size_t quanta = (size_t)LIVE * 2 * (QUANTA_MAX + 1);

	w->min = BASE + bench_below(r, quanta / 4) * QUANTUM;
	w->max = w->min + quanta / 16 * QUANTUM;
}

/* One of the constraints, in turn; any size. */
static struct want
tail_want(uint64_t r, unsigned i)
{
	size_t quanta = (size_t)LIVE * 2 * (QUANTA_MAX + 1);
	struct want w = {.size = (1 + (r >> 40) % QUANTA_MAX) * QUANTUM};

	if (i % 8 >= 5)
		w.flags = VM_BESTFIT;
	switch (i % 8) {
	case 0:
	case 5:
		w.align = (size_t)16 * QUANTUM;
		break;
	case 1:
	case 6:
		w.nocross = (size_t)8 * QUANTUM;
		break;
	case 2:
		w.flags = VM_FIRSTFIT;
		w.align = (size_t)8 * QUANTUM;
		break;
	case 3:
		w.flags = VM_FIRSTFIT | VM_ENDALLOC;
		w.max = BASE + quanta / 4 * QUANTUM;
		break;
	default:
		tail_window(&w, r);
	}
	return (w);
}

/* The same requests each time; the least time of each counts. */
static unsigned
replay(const struct engine *e, unsigned n)
{
	struct bench_worker w = {.bw_rng = 12345678912345};
	uint64_t end = bench_now() + PATIENCE_NS;

	for (unsigned i = 0; i < n; i++) {
		struct want want = tail_want(bench_random(&w), i);
		uint64_t start = bench_now(), took;
		uintptr_t a = e->e_xalloc(&want);

		took = bench_now() - start;
		if (a != 0)
			e->e_free(a, want.size);
		if (times[i] == 0 || took < times[i])
			times[i] = took;
		if (start > end)
			return (i + 1);
	}
	return (n);
}

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return ((x > y) - (x < y));
}

/* A million live segments; every second of those first allocated is freed. */
static void
fragment(const struct engine *e)
{
	struct bench_worker w = {.bw_rng = 88172645463325252};
	struct piece *p = bench_map(2 * (size_t)LIVE * sizeof(*p));

	for (size_t i = 0; i < 2 * (size_t)LIVE; i++) {
		size_t quanta = 1 + (bench_random(&w) >> 40) % QUANTA_MAX;

		p[i] = (struct piece){e->e_alloc(quanta * QUANTUM, 0), quanta};
		if (p[i].p_addr == 0)
			bench_die("the arena is too small");
	}
	for (size_t i = 0; i < 2 * (size_t)LIVE; i += 2)
		e->e_free(p[i].p_addr, p[i].p_quanta * QUANTUM);
}

/* Prints the first request, the median, 99.9 % and the worst, in ns. */
void
vmem_tail(const struct engine *e, const char *lib)
{
	struct want first = {.size = QUANTUM, .flags = VM_FIRSTFIT};
	uint64_t start, took;
	unsigned n = REQUESTS;

	e->e_create(lib, (size_t)LIVE * 2 * (QUANTA_MAX + 1), false);
	fragment(e);
	start = bench_now();
	(void)e->e_xalloc(&first);
	took = bench_now() - start;
	for (unsigned i = 0; i < REPLAYS; i++)
		n = replay(e, n);
	qsort(times, n, sizeof(times[0]), compare);
	printf("%llu %llu %llu %llu\n", (unsigned long long)took,
	    (unsigned long long)times[n / 2],
	    (unsigned long long)times[n - 1 - n / 1000],
	    (unsigned long long)times[n - 1]);
}
