/*
 * ids_bench.c - the rows of the benchmark of identifiers.
 *
 * Engines answer the same rows, and the first argument chooses:
 *
 *	quarry    an id_space
 *	bitmap    a bitmap, and a hint where to look first
 *	freelist  a list of the free ones, through an array; knows no order
 *	ranges    a red-black tree of the ranges of free ones
 *	ida       a radix tree of 64-way nodes with a mark for "something free
 *	          below", over bitmaps of 1024, as in Linux
 *	touch     no allocator: one word of the same memory is changed twice
 *
 * Each is guarded by a mutex, but for touch.  Mutexes are cheap as long as a
 * process has one thread; with a "+" behind the engine it has had another.
 *
 * Rows are how.N.fill, N identifiers of which fill per cent are in use, and are
 * about the pair of freeing a random one and
 *
 *	next      allocating the next
 *	first     allocating the lowest
 *	specific  allocating the same one again
 *	mixed     any of these, one half, a quarter, a quarter
 *
 * and sparse.N, which allocates N random ones of 2^31, once.  The last column
 * is what describes them, in thousandths of a bit for each one in use.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "ids_engines.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 1000, MILLE = 1000, AHEAD = 16 };

static const struct ids_engine *engine;
static uint32_t *live;
static size_t nlive;

/* Identifiers of a row, and how many thousandths of them are in use. */
static size_t
row_size(const struct bench_worker *w)
{
	return (w->bw_row->br_count);
}

static void
setup(struct bench_worker *w)
{
	if (w->bw_id != 0)
		return;
	nlive = row_size(w) * w->bw_row->br_size / MILLE;
	engine->e_create((uint32_t)row_size(w));
	live = bench_map(nlive * sizeof(*live));
	for (size_t i = 0; i < nlive; i++)
		live[i] = engine->e_next();
	/* Where next fit leaves holes in the long run. */
	for (size_t i = 0; i < 2 * row_size(w); i++) {
		uint32_t *id = &live[bench_below(bench_random(w), nlive)];

		engine->e_put(*id);
		*id = engine->e_next();
	}
}

static void
finish(struct bench_worker *w)
{
	w->bw_memory = engine->e_bytes() * 8 * MILLE / nlive;
}

/*
 * Each worker has its part of those in use.  The choice is made a while before,
 * for a miss of the cache in this list would say nothing about the engine.
 */
static uint32_t *
any(struct bench_worker *w)
{
	static _Thread_local size_t choice[AHEAD];
	static _Thread_local unsigned turn;
	size_t *next = &choice[turn++ % AHEAD];
	size_t n = nlive / w->bw_nworkers;
	uint32_t *id = &live[w->bw_id * n + *next];

	*next = bench_below(bench_random(w), n);
	__builtin_prefetch(&live[w->bw_id * n + *next]);
	return (id);
}

static uint64_t
unit_next(struct bench_worker *w)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		uint32_t *id = any(w);

		engine->e_put(*id);
		*id = engine->e_next();
	}
	finish(w);
	return (PAIRS);
}

static uint64_t
unit_first(struct bench_worker *w)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		uint32_t *id = any(w);

		engine->e_put(*id);
		*id = engine->e_first();
	}
	finish(w);
	return (PAIRS);
}

/* With several workers another may have got it meanwhile. */
static void
replace_specific(uint32_t *id)
{
	engine->e_put(*id);
	if (!engine->e_specific(*id))
		*id = engine->e_next();
}

static uint64_t
unit_specific(struct bench_worker *w)
{
	for (unsigned i = 0; i < PAIRS; i++)
		replace_specific(any(w));
	finish(w);
	return (PAIRS);
}

static uint64_t
unit_mixed(struct bench_worker *w)
{
	for (unsigned i = 0; i < PAIRS; i++) {
		uint32_t *id = any(w);
		unsigned how = (unsigned)(w->bw_rng >> 60) & 3;

		if (how == 3) {
			replace_specific(id);
			continue;
		}
		engine->e_put(*id);
		*id = how == 2 ? engine->e_first() : engine->e_next();
	}
	finish(w);
	return (PAIRS);
}

static uint64_t
unit_sparse(struct bench_worker *w)
{
	engine->e_create((uint32_t)INT32_MAX);
	while (nlive < row_size(w))
		nlive += engine->e_specific(
		    (uint32_t)bench_below(bench_random(w), INT32_MAX));
	finish(w);
	return (nlive);
}

#define FILLS(how, name, n)                                     \
	{#how name ".1", setup, unit_##how, 10, n, 0},          \
	    {#how name ".50", setup, unit_##how, 500, n, 0},    \
	    {#how name ".99", setup, unit_##how, 990, n, 0},    \
	{                                                       \
#how name ".99.9", setup, unit_##how, 999, n, 0 \
	}

#define ROWS(how)                                             \
	FILLS(how, ".4k", 4096), FILLS(how, ".100k", 100000), \
	    FILLS(how, ".1M", 1000000)

static const struct bench_row rows[] = {
    ROWS(next),
    ROWS(first),
    ROWS(specific),
    ROWS(mixed),
    {"sparse.100", NULL, unit_sparse, 0, 100, BENCH_ONCE | BENCH_SINGLE},
    {"sparse.10k", NULL, unit_sparse, 0, 10000, BENCH_ONCE | BENCH_SINGLE},
};

static void *
nothing(void *arg)
{
	return (arg);
}

static void
choose(char *name)
{
	char *plus = strchr(name, '+');
	pthread_t thread;

	if (plus != NULL) {
		*plus = '\0';
		if (pthread_create(&thread, NULL, nothing, NULL) != 0 ||
		    pthread_join(thread, NULL) != 0)
			bench_die("bench: cannot create a thread");
	}
	for (size_t i = 0; ids_engines[i] != NULL; i++)
		if (strcmp(name, ids_engines[i]->e_name) == 0)
			engine = ids_engines[i];
	if (engine == NULL)
		bench_die("usage: ids_bench ENGINE[+] [options]");
}

/* Rows that the engine has no answer to print nothing. */
static bool
can(const char *row)
{
	if (strncmp(row, "first", 5) == 0 || strncmp(row, "mixed", 5) == 0)
		return (engine->e_first != NULL);
	return (strncmp(row, "sparse", 6) != 0 || engine->e_sparse);
}

int
main(int argc, char **argv)
{
	if (argc < 2)
		bench_die("usage: ids_bench ENGINE[+] [options]");
	choose(argv[1]);
	for (int i = 2; i + 1 < argc; i++)
		if (strcmp(argv[i], "--row") == 0 && !can(argv[i + 1]))
			return (0);
	return (bench_main(
	    argc - 1, argv + 1, rows, sizeof(rows) / sizeof(rows[0])));
}
