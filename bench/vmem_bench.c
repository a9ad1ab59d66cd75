/*
 * vmem_bench.c - the rows of the vmem benchmark, and its main.
 *
 * Rows are kind.N, N being the number of live segments of one to eight quanta
 * in an arena where random replacement has reached a steady state; workers share
 * the arena and divide the segments.  In ns per pair of free and allocation:
 *
 *	instant, best, first, next   replace a random segment, by that policy
 *	qreplace                     the same through quantum caches
 *
 * and per pair of allocation and free beside the live segments:
 *
 *	pair       of one to eight quanta
 *	qpair      the same through quantum caches
 *	align      at a multiple of 16 quanta
 *	window     in a random sixteenth of where the segments are
 *	nocross    not crossing a multiple of 8 quanta
 *	end        the highest address
 *	hopeless   larger and better aligned than any free segment: it fails
 *
 * Beside the engines of vmem_engines.h there are "chase", which follows a random
 * chain through N cache lines in place of "instant", and "malloc", which asks
 * glibc for 64 bytes in place of "pair".
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem_engines.h"

#include <quarry/vmem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	PAIRS = 500,
	SPAN_QUANTA = 2 * (QUANTA_MAX + 1), /* per live segment */
};

struct segment {
	uintptr_t s_addr;
	size_t s_size;
};

static const struct engine *engine;
static const char *lib;

/* The segments of a worker, and how many. */
static struct {
	struct segment *l_segment;
	size_t l_n;
} live[BENCH_MAX_WORKERS];

/* What a row is about; its number is in br_size. */
struct kind {
	unsigned k_able; /* what it takes */
	struct want k_want;
	bool k_window;
};

enum {
	PLAIN,
	BEST,
	FIRST,
	NEXT,
	QCACHE,
	ALIGN,
	WINDOW,
	NOCROSS,
	END,
	HOPELESS
};

static const struct kind kinds[] = {
    [PLAIN] = {0, {.size = 0}, false},
    [BEST] = {ABLE_BEST, {.flags = VM_BESTFIT}, false},
    [FIRST] = {ABLE_ORDER, {.flags = VM_FIRSTFIT}, false},
    [NEXT] = {ABLE_NEXT, {.flags = VM_NEXTFIT}, false},
    [QCACHE] = {ABLE_QCACHE, {.size = 0}, false},
    [ALIGN] = {ABLE_ORDER, {.align = 16 * QUANTUM}, false},
    [WINDOW] = {ABLE_ORDER, {.size = 0}, true},
    [NOCROSS] = {ABLE_ORDER, {.nocross = 8 * QUANTUM}, false},
    [END] = {ABLE_ORDER, {.flags = VM_ENDALLOC}, false},
    [HOPELESS] = {ABLE_ORDER, {.align = 64 * QUANTUM}, false},
};

static const struct kind *
kind_of(const struct bench_row *row)
{
	return (&kinds[row->br_size]);
}

static size_t
random_size(uint64_t r)
{
	return ((1 + (r >> 40) % QUANTA_MAX) * QUANTUM);
}

static void
replace(struct bench_worker *w, int flags)
{
	uint64_t r = bench_random(w);
	struct segment *s = live[w->bw_id].l_segment;

	s += bench_below(r, live[w->bw_id].l_n);

	engine->e_free(s->s_addr, s->s_size);
	s->s_size = random_size(r);
	s->s_addr = engine->e_alloc(s->s_size, flags);
}

static void
setup(struct bench_worker *w)
{
	size_t n = w->bw_row->br_count / w->bw_nworkers;

	live[w->bw_id].l_segment = bench_map(n * sizeof(struct segment));
	live[w->bw_id].l_n = n;
	for (size_t i = 0; i < n; i++) {
		struct segment *s = &live[w->bw_id].l_segment[i];

		s->s_size = random_size(bench_random(w));
		s->s_addr = engine->e_alloc(s->s_size, 0);
	}
	for (size_t i = 0; i < 3 * n; i++)
		replace(w, 0);
}

static uint64_t
unit_replace(struct bench_worker *w)
{
	int flags = kind_of(w->bw_row)->k_want.flags;

	for (unsigned i = 0; i < PAIRS; i++)
		replace(w, flags);
	return (PAIRS);
}

static uint64_t
unit_pair(struct bench_worker *w)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		size_t size = random_size(bench_random(w));
		uintptr_t a = engine->e_alloc(size, 0);

		engine->e_free(a, size);
	}
	return (PAIRS);
}

/* PAIRS times a constrained allocation, which may fail, and its free. */
static uint64_t
unit_xpair(struct bench_worker *w)
{
	const struct kind *k = kind_of(w->bw_row);
	size_t quanta = w->bw_row->br_count * (QUANTA_MAX + 1) / 2;
	struct want want = k->k_want;

	for (unsigned i = 0; i < PAIRS; i++) {
		uint64_t r = bench_random(w);
		uintptr_t a;

		want.size = random_size(r);
		if (k->k_window) {
			want.min =
			    BASE + bench_below(r, quanta / 16 * 15) * QUANTUM;
			want.max = want.min + quanta / 16 * QUANTUM;
		}
		a = engine->e_xalloc(&want);
		if (a != 0)
			engine->e_free(a, want.size);
	}
	return (PAIRS);
}

/* Nothing so long is free below the middle. */
static uint64_t
unit_hopeless(struct bench_worker *w)
{
	size_t n = w->bw_row->br_count;
	struct want want = kinds[HOPELESS].k_want;

	want.size = n * QUANTUM;
	want.min = BASE;
	want.max = BASE + n * 4 * QUANTUM;
	for (unsigned i = 0; i < PAIRS; i++)
		if (engine->e_xalloc(&want) != 0)
			bench_die("a hopeless request was satisfied");
	return (PAIRS);
}

#define ROWS(name, setup, unit, kind)                          \
	{name ".100", setup, unit, kind, 100, 0},              \
	    {name ".1000", setup, unit, kind, 1000, 0},        \
	    {name ".10000", setup, unit, kind, 10000, 0},      \
	    {name ".100000", setup, unit, kind, 100000, 0},    \
	{                                                      \
		name ".1000000", setup, unit, kind, 1000000, 0 \
	}

static const struct bench_row rows[] = {
    ROWS("instant", setup, unit_replace, PLAIN),
    ROWS("best", setup, unit_replace, BEST),
    ROWS("first", setup, unit_replace, FIRST),
    ROWS("next", setup, unit_replace, NEXT),
    ROWS("qreplace", setup, unit_replace, QCACHE),
    ROWS("pair", setup, unit_pair, PLAIN),
    ROWS("qpair", setup, unit_pair, QCACHE),
    ROWS("align", setup, unit_xpair, ALIGN),
    ROWS("window", setup, unit_xpair, WINDOW),
    ROWS("nocross", setup, unit_xpair, NOCROSS),
    ROWS("end", setup, unit_xpair, END),
    ROWS("hopeless", setup, unit_hopeless, HOPELESS),
};

static const size_t nrows = sizeof(rows) / sizeof(rows[0]);

/* ---- what is printed beside ---- */

static struct line {
	struct line *l_next;
	char l_rest[56];
} * chain, *chased;

static void
chase_setup(struct bench_worker *w)
{
	size_t n = w->bw_row->br_count;
	const uint32_t *order = bench_order(n);

	chain = bench_map(n * sizeof(*chain));
	for (size_t i = 0; i < n; i++)
		chain[order[i]].l_next = &chain[order[(i + 1) % n]];
	chased = chain;
}

static uint64_t
chase_unit(struct bench_worker *w)
{
	(void)w;
	for (unsigned i = 0; i < PAIRS; i++)
		chased = chased->l_next;
	bench_keep(chased);
	return (PAIRS);
}

static const struct bench_row chase_rows[] = {
    ROWS("instant", chase_setup, chase_unit, PLAIN),
};

static uint64_t
malloc_unit(struct bench_worker *w)
{
	(void)w;
	for (unsigned i = 0; i < PAIRS; i++) {
		void *p = malloc(64);

		bench_keep(p);
		free(p);
	}
	return (PAIRS);
}

static const struct bench_row malloc_rows[] = {
    ROWS("pair", NULL, malloc_unit, PLAIN),
};

/* ---- main ---- */

/* Can the engine run this row? */
static bool
able(const struct engine *e, const struct bench_row *row)
{
	unsigned takes = kind_of(row)->k_able;

	if ((e->e_able & ABLE_ONLY) != 0)
		return (row->br_size == QCACHE && row->br_setup == setup);
	return ((takes & ~e->e_able) == 0 &&
	    row->br_count <= ((takes & ~(unsigned)ABLE_QCACHE) != 0
				     ? e->e_most_ordered
				     : e->e_most));
}

static const struct bench_row *
row_named(const char *name)
{
	for (size_t i = 0; i < nrows; i++)
		if (strcmp(rows[i].br_name, name) == 0)
			return (&rows[i]);
	return (NULL);
}

/* bench_main with rows that the engine may not be able to run: 3 then. */
static int
engine_main(int argc, char **argv)
{
	const struct bench_row *row = NULL;

	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], "--row") == 0)
			row = row_named(argv[i + 1]);
	if (row != NULL) {
		if (!able(engine, row))
			return (3);
		engine->e_create(
		    lib, row->br_count * SPAN_QUANTA, row->br_size == QCACHE);
	}
	return (bench_main(argc, argv, rows, nrows));
}

/* The same for the few rows of a floor. */
static int
floor_main(int argc, char **argv, const struct bench_row *floor, size_t n)
{
	for (int i = 1; i + 1 < argc; i++) {
		bool known = strcmp(argv[i], "--row") != 0;

		for (size_t k = 0; k < n; k++)
			known =
			    known || strcmp(argv[i + 1], floor[k].br_name) == 0;
		if (!known)
			return (3);
	}
	return (bench_main(argc, argv, floor, n));
}

/* 3 when the engine has no such policy. */
static int
fragmentation_main(const char *name)
{
	static const struct {
		const char *name;
		unsigned takes;
		int flags;
	} policies[] = {{"instant", 0, 0}, {"best", ABLE_BEST, VM_BESTFIT},
	    {"first", ABLE_ORDER, VM_FIRSTFIT},
	    {"next", ABLE_NEXT, VM_NEXTFIT}};

	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		if (strcmp(policies[i].name, name) != 0)
			continue;
		if ((engine->e_able & ABLE_ONLY) != 0 ||
		    (policies[i].takes & ~engine->e_able) != 0)
			return (3);
		vmem_fragmentation(engine, lib, name, policies[i].flags);
		return (0);
	}
	bench_die("no such policy");
}

int
main(int argc, char **argv)
{
	static const struct engine *const engines[] = {&engine_lib,
	    &engine_cache, &engine_tags, &engine_tlsf, &engine_list,
	    &engine_bitmap};
	char *name = argc < 2 ? "" : argv[1];
	char *path = strchr(name, '=');

	if (strcmp(name, "chase") == 0)
		return (floor_main(argc - 1, argv + 1, chase_rows, 5));
	if (strcmp(name, "malloc") == 0)
		return (floor_main(argc - 1, argv + 1, malloc_rows, 5));
	if (path != NULL) {
		*path = '\0';
		lib = path + 1;
	}
	for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++)
		if (strcmp(engines[i]->e_name, name) == 0)
			engine = engines[i];
	if (engine == NULL)
		bench_die("usage: vmem_bench vmem=LIBRARY|cache=LIBRARY|tags|"
			  "tlsf|list|bitmap|chase|malloc options...");
	if (argc == 4 && strcmp(argv[2], "--fragmentation") == 0)
		return (fragmentation_main(argv[3]));
	if (argc != 3 || strcmp(argv[2], "--tail") != 0)
		return (engine_main(argc - 1, argv + 1));
	vmem_tail(engine, lib);
	return (0);
}
