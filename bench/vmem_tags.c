/*
 * vmem_tags.c - boundary tags under one mutex, in three ways:
 *
 *	tags    a list of free segments for each power of two, and a hash table
 *	        of fixed size for the used ones
 *	tlsf    eight lists for each power of two, and a table with a pointer for
 *	        each quantum
 *	list    no lists: a request walks the segments in order of address
 *
 * The first two have no order either, and walk for the rows that need one.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem_engines.h"

#include <quarry/vmem.h>

#include <pthread.h>

struct tag {
	uintptr_t start;
	size_t size;
	struct tag *prev, *next;        /* by address */
	struct tag *list, *list_before; /* free: by size; used: hash chain */
	bool free;
};

enum { LISTS = 64 * 8 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tag *first, *spare, *lists[LISTS], **table;
static uint64_t full[LISTS / 64]; /* bit: the list is not empty */
static unsigned sub_bits;         /* log2 of lists for each power of two */
static unsigned table_bits;       /* 0: the table is indexed by quantum */
static bool walks;

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
list_of(size_t size)
{
	unsigned log = 63u - (unsigned)__builtin_clzl(size);

	return (log << sub_bits |
	    ((unsigned)(size >> (log - sub_bits)) & ((1u << sub_bits) - 1)));
}

static void
list_in(struct tag *t)
{
	unsigned i = list_of(t->size);
	struct tag **head = &lists[i];

	t->free = true;
	t->list = *head;
	t->list_before = NULL;
	if (*head != NULL)
		(*head)->list_before = t;
	*head = t;
	full[i / 64] |= (uint64_t)1 << i % 64;
}

static void
list_out(struct tag *t)
{
	unsigned i = list_of(t->size);

	if (t->list_before != NULL)
		t->list_before->list = t->list;
	else
		lists[i] = t->list;
	if (t->list != NULL)
		t->list->list_before = t->list_before;
	if (lists[i] == NULL)
		full[i / 64] &= ~((uint64_t)1 << i % 64);
}

/* The head of the lowest list all of whose members are large enough. */
static struct tag *
list_find(size_t size)
{
	unsigned log = 63u - (unsigned)__builtin_clzl(size);
	unsigned i = list_of(size + ((size_t)1 << (log - sub_bits)) - 1);
	uint64_t word = full[i / 64] >> i % 64 << i % 64;

	for (i /= 64; word == 0 && ++i < LISTS / 64;)
		word = full[i];
	return (
	    word == 0 ? NULL : lists[i * 64 + (unsigned)__builtin_ctzl(word)]);
}

static struct tag **
chain(uintptr_t addr)
{
	size_t q = addr / QUANTUM;

	if (table_bits == 0)
		return (&table[q - BASE / QUANTUM]);
	return (&table[q * 0x9e3779b97f4a7c15 >> (64 - table_bits)]);
}

static void
create(size_t quanta, size_t slots)
{
	struct tag *t = tag_new();

	table = bench_map(slots * sizeof(*table));
	*t = (struct tag){.start = BASE, .size = quanta * QUANTUM};
	first = t;
	list_in(t);
}

/* A bucket for each segment that the rows keep. */
static void
tags_create(const char *lib, size_t quanta, bool qcache)
{
	(void)lib;
	(void)qcache;
	for (table_bits = 4; (size_t)1 << table_bits < quanta / 18;)
		table_bits++;
	create(quanta, (size_t)1 << table_bits);
}

static void
tlsf_create(const char *lib, size_t quanta, bool qcache)
{
	(void)lib;
	(void)qcache;
	sub_bits = 3;
	create(quanta, quanta);
}

static void
list_create(const char *lib, size_t quanta, bool qcache)
{
	walks = true;
	tags_create(lib, quanta, qcache);
}

/* The lowest place in t, or 0. */
static uintptr_t
place(const struct tag *t, const struct want *w)
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
find(const struct want *w, uintptr_t *addr)
{
	struct tag *best = NULL;

	if (!walks && w->flags == 0 && want_plain(w)) {
		best = list_find(w->size);
		if (best != NULL) {
			*addr = best->start;
			return (best);
		}
	}
	for (struct tag *t = first; t != NULL; t = t->next) {
		uintptr_t a = t->free ? place(t, w) : 0;

		if (a == 0 || (best != NULL && best->size <= t->size))
			continue;
		best = t;
		*addr = a;
		if (w->flags != VM_BESTFIT)
			break;
	}
	return (best);
}

/* Cut the free segment t at addr: returns the part from addr on. */
static struct tag *
cut(struct tag *t, uintptr_t addr)
{
	struct tag *n = tag_new();

	*n = (struct tag){.start = addr,
	    .size = t->start + t->size - addr,
	    .prev = t,
	    .next = t->next};
	t->size = addr - t->start;
	if (t->next != NULL)
		t->next->prev = n;
	t->next = n;
	return (n);
}

static uintptr_t
xalloc(const struct want *w)
{
	struct tag *t, **head;
	uintptr_t addr = 0;

	pthread_mutex_lock(&lock);
	t = find(w, &addr);
	if (t != NULL) {
		list_out(t);
		if (addr > t->start) {
			struct tag *left = t;

			t = cut(left, addr);
			list_in(left);
		}
		if (t->size > w->size)
			list_in(cut(t, addr + w->size));
		t->free = false;
		head = chain(addr);
		t->list = table_bits == 0 ? NULL : *head;
		*head = t;
	}
	pthread_mutex_unlock(&lock);
	return (t != NULL ? addr : 0);
}

static void
absorb(struct tag *t, struct tag *next)
{
	t->size += next->size;
	t->next = next->next;
	if (next->next != NULL)
		next->next->prev = t;
	tag_old(next);
}

static uintptr_t
alloc(size_t size, int flags)
{
	return (xalloc(&(struct want){.size = size, .flags = flags}));
}

static void
give(uintptr_t addr, size_t size)
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
		absorb(t, t->next);
	}
	if (t->prev != NULL && t->prev->free) {
		list_out(t->prev);
		t = t->prev;
		absorb(t, t->next);
	}
	list_in(t);
	pthread_mutex_unlock(&lock);
}

static void
walk(void (*fn)(void *arg, void *start, size_t size))
{
	for (struct tag *t = first; t != NULL; t = t->next)
		if (t->free)
			fn(NULL, (void *)t->start, t->size);
}

const struct engine engine_tags = {.e_name = "tags",
    .e_able = ABLE_ORDER | ABLE_BEST,
    .e_most = SIZE_MAX,
    .e_most_ordered = 10000,
    .e_create = tags_create,
    .e_alloc = alloc,
    .e_xalloc = xalloc,
    .e_free = give,
    .e_walk = walk};

const struct engine engine_tlsf = {.e_name = "tlsf",
    .e_most = SIZE_MAX,
    .e_create = tlsf_create,
    .e_alloc = alloc,
    .e_xalloc = xalloc,
    .e_free = give,
    .e_walk = walk};

const struct engine engine_list = {.e_name = "list",
    .e_able = ABLE_ORDER | ABLE_BEST,
    .e_most = 10000,
    .e_most_ordered = 10000,
    .e_create = list_create,
    .e_alloc = alloc,
    .e_xalloc = xalloc,
    .e_free = give,
    .e_walk = walk};
