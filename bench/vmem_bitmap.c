/*
 * vmem_bitmap.c - a bit for each quantum, under one mutex: a request looks
 * through it from the lowest address, or from where the last one was found.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem_engines.h"

#include <quarry/vmem.h>

#include <pthread.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t *used; /* a bit beyond the last is set */
static size_t total, rotor;

static bool
is_used(size_t q)
{
	return ((used[q / 64] >> q % 64 & 1) != 0);
}

static void
set_run(size_t q, size_t n, bool value)
{
	for (size_t i = q; i < q + n; i++) {
		if (value)
			used[i / 64] |= (uint64_t)1 << i % 64;
		else
			used[i / 64] &= ~((uint64_t)1 << i % 64);
	}
}

/* The first free quantum from q on, or the end. */
static size_t
next_free(size_t q)
{
	while (q < total) {
		uint64_t word = ~used[q / 64] >> q % 64;

		if (word != 0)
			return (q + (size_t)__builtin_ctzl(word));
		q = (q / 64 + 1) * 64;
	}
	return (total);
}

static void
bitmap_create(const char *lib, size_t quanta, bool qcache)
{
	(void)lib;
	(void)qcache;
	total = quanta;
	used = bench_map((quanta / 64 + 1) * sizeof(*used));
	for (size_t q = quanta; q < (quanta / 64 + 1) * 64; q++)
		set_run(q, 1, true);
}

static bool
place_ok(const struct want *w, size_t q)
{
	uintptr_t a = BASE + q * QUANTUM;

	return ((w->align == 0 || a % w->align == 0) &&
	    (w->nocross == 0 ||
		a / w->nocross == (a + w->size - 1) / w->nocross) &&
	    a >= w->min && (w->max == 0 || a + w->size <= w->max));
}

static size_t
look(const struct want *w, size_t from, size_t n)
{
	for (size_t q = next_free(from); q < total; q = next_free(q + 1)) {
		size_t i = 0;

		if (!place_ok(w, q))
			continue;
		while (i < n && !is_used(q + i))
			i++;
		if (i == n)
			return (q);
		q += i;
	}
	return (total);
}

static uintptr_t
bitmap_xalloc(const struct want *w)
{
	size_t n = w->size / QUANTUM, q;

	pthread_mutex_lock(&lock);
	q = look(w, w->flags == VM_NEXTFIT ? rotor : 0, n);
	if (q == total && w->flags == VM_NEXTFIT)
		q = look(w, 0, n);
	if (q != total) {
		set_run(q, n, true);
		rotor = q + n;
	}
	pthread_mutex_unlock(&lock);
	return (q == total ? 0 : BASE + q * QUANTUM);
}

static uintptr_t
bitmap_alloc(size_t size, int flags)
{
	return (bitmap_xalloc(&(struct want){.size = size, .flags = flags}));
}

static void
bitmap_free(uintptr_t addr, size_t size)
{
	pthread_mutex_lock(&lock);
	set_run((addr - BASE) / QUANTUM, size / QUANTUM, false);
	pthread_mutex_unlock(&lock);
}

static void
bitmap_walk(void (*fn)(void *arg, void *start, size_t size))
{
	for (size_t q = next_free(0); q < total; q = next_free(q)) {
		size_t end = q;

		while (!is_used(end))
			end++;
		fn(NULL, (void *)(BASE + q * QUANTUM), (end - q) * QUANTUM);
		q = end;
	}
}

const struct engine engine_bitmap = {.e_name = "bitmap",
    .e_able = ABLE_ORDER | ABLE_NEXT,
    .e_most = 10000,
    .e_most_ordered = 10000,
    .e_create = bitmap_create,
    .e_alloc = bitmap_alloc,
    .e_xalloc = bitmap_xalloc,
    .e_free = bitmap_free,
    .e_walk = bitmap_walk};
