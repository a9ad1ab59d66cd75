/*
 * vmem_bench.c - the rows of the vmem benchmark.
 *
 * Two engines answer the same rows, and the first argument chooses:
 *
 *	vmem    an arena
 *	tags    the obvious alternative: boundary tags, a list for each power
 *	        of two, a hash table of fixed size, one mutex.  It has no order,
 *	        and answers the rows that need one by walking its segments
 *
 * Rows are policy.N, N being the number of live segments of one to eight
 * quanta in an arena where random replacement has reached a steady state.  In
 * ns per pair of free and allocation:
 *
 *	instant, best, first, next   replace a random segment, by that policy
 *	same                         free what was allocated last, and again
 *
 * and per pair of allocation and free beside the live segments:
 *
 *	align      at a multiple of 16 quanta
 *	window     in a random sixteenth of the arena
 *	nocross    not crossing a multiple of 8 quanta
 *	end        the highest address
 *	hopeless   larger and better aligned than any free segment: it fails
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "harness.h"

#include <quarry/vmem.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum {
	QUANTUM = 4096,
	PAIRS = 500,
	QUANTA_MAX = 8,
	SPAN_QUANTA = 2 * (QUANTA_MAX + 1), /* per live segment */
};

static const uintptr_t base = (uintptr_t)1 << 40;

/* What a row asks of an engine. */
struct want {
	size_t size, align, nocross;
	uintptr_t min, max;
	int flags;
};

struct engine {
	void (*e_create)(size_t live);
	uintptr_t (*e_get)(const struct want *want); /* 0: none */
	void (*e_put)(uintptr_t addr, size_t size);
};

struct segment {
	uintptr_t s_addr;
	size_t s_size;
};

static const struct engine *engine;
static struct segment *live[BENCH_MAX_WORKERS];

/* ---- engine vmem ---- */

static vmem_t *arena;

static void
vmem_engine_create(size_t n)
{
	arena = vmem_create("bench", (void *)base, n * SPAN_QUANTA * QUANTUM,
	    QUANTUM, NULL, NULL, NULL, 0, VM_NOSLEEP);
	if (arena == NULL)
		bench_die("vmem_create");
}

static uintptr_t
vmem_engine_get(const struct want *w)
{
	void *p;

	if (w->align == 0 && w->nocross == 0 && w->min == 0 && w->max == 0)
		p = vmem_alloc(arena, w->size, w->flags | VM_NOSLEEP);
	else
		p = vmem_xalloc(arena, w->size, w->align, 0, w->nocross,
		    (void *)w->min, (void *)w->max, w->flags | VM_NOSLEEP);
	return ((uintptr_t)p);
}

static void
vmem_engine_put(uintptr_t addr, size_t size)
{
	vmem_xfree(arena, (void *)addr, size);
}

/* ---- engine tags ---- */

struct tag {
	uintptr_t start;
	size_t size;
	struct tag *prev, *next;        /* by address */
	struct tag *list, *list_before; /* free: by size; used: hash chain */
	bool free;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tag *first, *spare, *lists[64], **table;
static unsigned table_bits;

static struct tag *
tag_new(void)
{
	struct tag *t = spare;

	if (t == NULL) {
		enum { N = 1024 };

		t = bench_map(N * 64);
		for (size_t i = 0; i < N; i++) {
			struct tag *each = (struct tag *)((char *)t + i * 64);

			each->list = spare;
			spare = each;
		}
		t = spare;
	}
	spare = t->list;
	return (t);
}

static void
tag_old(struct tag *t)
{
	t->list = spare;
	spare = t;
}

static unsigned
size_class(size_t size)
{
	return (63u - (unsigned)__builtin_clzl(size));
}

static void
list_in(struct tag *t)
{
	struct tag **head = &lists[size_class(t->size)];

	t->free = true;
	t->list = *head;
	t->list_before = NULL;
	if (*head != NULL)
		(*head)->list_before = t;
	*head = t;
}

static void
list_out(struct tag *t)
{
	if (t->list_before != NULL)
		t->list_before->list = t->list;
	else
		lists[size_class(t->size)] = t->list;
	if (t->list != NULL)
		t->list->list_before = t->list_before;
}

static struct tag **
chain(uintptr_t addr)
{
	return (
	    &table[addr / QUANTUM * 0x9e3779b97f4a7c15 >> (64 - table_bits)]);
}

static void
tags_create(size_t n)
{
	struct tag *t;

	for (table_bits = 4; (size_t)1 << table_bits < n;)
		table_bits++;
	table = bench_map(sizeof(*table) << table_bits);
	t = tag_new();
	*t = (struct tag){.start = base, .size = n * SPAN_QUANTA * QUANTUM};
	first = t;
	list_in(t);
}

/* The lowest place in t, or 0. */
static uintptr_t
tags_place(const struct tag *t, const struct want *w)
{
	uintptr_t a = t->start > w->min ? t->start : w->min;
	size_t align = w->align != 0 ? w->align : QUANTUM;

	a = (a + align - 1) & -align;
	if (w->nocross != 0 && ((a ^ (a + w->size - 1)) & -w->nocross) != 0)
		a = (a + w->nocross - 1) & -w->nocross;
	if (a + w->size > t->start + t->size ||
	    (w->max != 0 && a + w->size > w->max))
		return (0);
	return (a);
}

static struct tag *
tags_find(const struct want *w, uintptr_t *addr)
{
	unsigned surely = size_class(w->size * 2 - 1);
	struct tag *t, *best = NULL;

	if (w->flags == 0 && w->align == 0 && w->nocross == 0 && w->min == 0) {
		for (unsigned i = surely; i < 64; i++) {
			if (lists[i] != NULL) {
				*addr = lists[i]->start;
				return (lists[i]);
			}
		}
	}
	for (t = first; t != NULL; t = t->next) {
		uintptr_t a = t->free ? tags_place(t, w) : 0;

		if (a == 0 || (best != NULL && best->size <= t->size))
			continue;
		best = t;
		*addr = a;
		if (w->flags != VM_BESTFIT)
			break;
	}
	return (best);
}

static void
insert_after(struct tag *t, struct tag *n)
{
	n->prev = t;
	n->next = t->next;
	if (t->next != NULL)
		t->next->prev = n;
	t->next = n;
}

/* Cut the free segment t at addr: returns the part from addr on. */
static struct tag *
tags_cut(struct tag *t, uintptr_t addr)
{
	struct tag *n = tag_new();

	*n = (struct tag){.start = addr, .size = t->start + t->size - addr};
	t->size = addr - t->start;
	insert_after(t, n);
	return (n);
}

static uintptr_t
tags_get(const struct want *w)
{
	struct tag *t, **head;
	uintptr_t addr = 0;

	pthread_mutex_lock(&lock);
	t = tags_find(w, &addr);
	if (t != NULL) {
		list_out(t);
		if (addr > t->start) {
			struct tag *left = t;

			t = tags_cut(left, addr);
			list_in(left);
		}
		if (t->size > w->size)
			list_in(tags_cut(t, addr + w->size));
		t->free = false;
		head = chain(addr);
		t->list = *head;
		*head = t;
	}
	pthread_mutex_unlock(&lock);
	return (t != NULL ? addr : 0);
}

static void
tags_absorb(struct tag *t, struct tag *next)
{
	t->size += next->size;
	t->next = next->next;
	if (next->next != NULL)
		next->next->prev = t;
	tag_old(next);
}

static void
tags_put(uintptr_t addr, size_t size)
{
	struct tag *t, **link;

	(void)size;
	pthread_mutex_lock(&lock);
	link = chain(addr);
	while ((*link)->start != addr)
		link = &(*link)->list;
	t = *link;
	*link = t->list;
	if (t->next != NULL && t->next->free) {
		list_out(t->next);
		tags_absorb(t, t->next);
	}
	if (t->prev != NULL && t->prev->free) {
		list_out(t->prev);
		t = t->prev;
		tags_absorb(t, t->next);
	}
	list_in(t);
	pthread_mutex_unlock(&lock);
}

static const struct engine engines[] = {
    {vmem_engine_create, vmem_engine_get, vmem_engine_put},
    {tags_create, tags_get, tags_put},
};

/* ---- the rows ---- */

/* The flags of a row are in br_size. */
static int
row_flags(const struct bench_worker *w)
{
	return ((int)w->bw_row->br_size);
}

static void
replace(struct bench_worker *w, int flags)
{
	uint64_t r = bench_random(w);
	size_t n = w->bw_row->br_count / w->bw_nworkers;
	struct segment *s = &live[w->bw_id][bench_below(r, n)];
	struct want want = {
	    .size = (1 + (r >> 40) % QUANTA_MAX) * QUANTUM, .flags = flags};

	engine->e_put(s->s_addr, s->s_size);
	s->s_size = want.size;
	s->s_addr = engine->e_get(&want);
}

static void
setup(struct bench_worker *w)
{
	size_t n = w->bw_row->br_count / w->bw_nworkers;
	struct want want = {.size = QUANTUM};

	live[w->bw_id] = bench_map(n * sizeof(struct segment));
	for (size_t i = 0; i < n; i++) {
		struct segment *s = &live[w->bw_id][i];

		want.size = (1 + bench_random(w) % QUANTA_MAX) * QUANTUM;
		s->s_addr = engine->e_get(&want);
		s->s_size = want.size;
	}
	for (size_t i = 0; i < 3 * n; i++)
		replace(w, 0);
}

static uint64_t
unit_replace(struct bench_worker *w)
{
	for (unsigned i = 0; i < PAIRS; i++)
		replace(w, row_flags(w));
	return (PAIRS);
}

/* PAIRS times an allocation, which may fail, and its free. */
static uint64_t
pairs(struct bench_worker *w, struct want want, bool window)
{
	size_t span = w->bw_row->br_count * SPAN_QUANTA * QUANTUM;

	want.flags = row_flags(w);
	for (unsigned i = 0; i < PAIRS; i++) {
		uint64_t r = bench_random(w);
		size_t size = want.size;
		struct want each = want;
		uintptr_t a;

		if (size == 0)
			size = (1 + (r >> 40) % QUANTA_MAX) * QUANTUM;
		each.size = size;
		if (window) {
			each.min = base +
			    bench_below(r, span / QUANTUM / 16 * 15) * QUANTUM;
			each.max = each.min + span / 16;
		}
		a = engine->e_get(&each);
		if (a != 0)
			engine->e_put(a, size);
	}
	return (PAIRS);
}

static uint64_t
unit_same(struct bench_worker *w)
{
	return (pairs(w, (struct want){.size = 0}, false));
}

static uint64_t
unit_align(struct bench_worker *w)
{
	return (pairs(w, (struct want){.align = 16 * QUANTUM}, false));
}

static uint64_t
unit_window(struct bench_worker *w)
{
	return (pairs(w, (struct want){.size = 0}, true));
}

static uint64_t
unit_nocross(struct bench_worker *w)
{
	return (pairs(w, (struct want){.nocross = 8 * QUANTUM}, false));
}

static uint64_t
unit_hopeless(struct bench_worker *w)
{
	struct want want = {.size = w->bw_row->br_count * QUANTUM,
	    .align = 64 * QUANTUM,
	    .min = base,
	    .max = base + w->bw_row->br_count * 4 * QUANTUM};

	return (pairs(w, want, false));
}

#define ROWS(name, unit, flags)                                 \
	{name ".100", setup, unit, flags, 100, 0},              \
	    {name ".1000", setup, unit, flags, 1000, 0},        \
	    {name ".10000", setup, unit, flags, 10000, 0},      \
	    {name ".100000", setup, unit, flags, 100000, 0},    \
	{                                                       \
		name ".1000000", setup, unit, flags, 1000000, 0 \
	}

static const struct bench_row rows[] = {
    ROWS("instant", unit_replace, 0),
    ROWS("same", unit_same, 0),
    ROWS("best", unit_replace, VM_BESTFIT),
    ROWS("first", unit_replace, VM_FIRSTFIT),
    ROWS("next", unit_replace, VM_NEXTFIT),
    ROWS("align", unit_align, 0),
    ROWS("window", unit_window, 0),
    ROWS("nocross", unit_nocross, 0),
    ROWS("end", unit_same, VM_ENDALLOC),
    ROWS("hopeless", unit_hopeless, 0),
};

int
main(int argc, char **argv)
{
	const size_t nrows = sizeof(rows) / sizeof(rows[0]);
	size_t largest = 0;

	if (argc < 2 ||
	    (strcmp(argv[1], "vmem") != 0 && strcmp(argv[1], "tags") != 0))
		bench_die("usage: vmem_bench vmem|tags [options]");
	engine = &engines[strcmp(argv[1], "tags") == 0];
	/* All workers share one arena, which the chosen row must fit. */
	for (size_t i = 0; i < nrows; i++)
		for (int a = 2; a < argc; a++)
			if (strcmp(argv[a], rows[i].br_name) == 0)
				largest = rows[i].br_count;
	if (largest != 0)
		engine->e_create(largest);
	return (bench_main(argc - 1, argv + 1, rows, nrows));
}
