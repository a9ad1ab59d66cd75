/*
 * malloc_large.c - blocks of many pages, and blocks that grow.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "malloc_rows.h"

#include <stdlib.h>

enum { PAGE = 4096, BIG_PAIRS = 100, LARGE_MIN_LIVE = 2 };

static void
touch(char *p, size_t from, size_t to)
{
	for (size_t at = from; at < to; at += PAGE)
		p[at] = 1;
}

/* 4 KiB to 1 MiB, every power of two as likely as the next. */
static size_t
big_size(uint64_t r)
{
	size_t base = (size_t)PAGE << (r >> 61);

	return (base + bench_below(r >> 29, base));
}

void
big_setup(struct bench_worker *w)
{
	w->bw_state = bench_map(w->bw_row->br_count * sizeof(void *));
	for (size_t n = 0; n < 10 * w->bw_row->br_count; n += BIG_PAIRS)
		(void)big_unit(w);
}

/* Replace random ones of br_count; the first word is written. */
uint64_t
big_unit(struct bench_worker *w)
{
	void **blocks = w->bw_state;

	for (int i = 0; i < BIG_PAIRS; i++) {
		uint64_t r = bench_random(w);
		void **slot = &blocks[bench_below(r, w->bw_row->br_count)];

		free(*slot);
		*slot = malloc(big_size(r));
		if (*slot == NULL)
			bench_die("bench: malloc failed");
		*(void **)*slot = slot;
	}
	return (BIG_PAIRS);
}

/* The workers share br_count live blocks among them. */
static size_t
large_live(const struct bench_worker *w)
{
	size_t n = w->bw_row->br_count / w->bw_nworkers;

	return (n < LARGE_MIN_LIVE ? LARGE_MIN_LIVE : n);
}

/* Most of the pages that the heap will ever need are made here. */
void
large_setup(struct bench_worker *w)
{
	size_t n = large_live(w);

	w->bw_state = bench_map(n * sizeof(void *));
	for (size_t i = 0; i < 10 * n; i++)
		(void)large_unit(w);
}

uint64_t
large_unit(struct bench_worker *w)
{
	void **blocks = w->bw_state;
	uint64_t r = bench_random(w);
	void **slot = &blocks[bench_below(r >> 32, large_live(w))];
	size_t size = ((size_t)5 << 20) + bench_below(r, (size_t)20 << 20);

	free(*slot);
	*slot = malloc(size);
	if (*slot == NULL)
		bench_die("bench: malloc failed");
	touch(*slot, 0, size);
	return (1);
}

static char *
grow(char *p, size_t size)
{
	p = realloc(p, size);
	if (p == NULL)
		bench_die("bench: realloc failed");
	return (p);
}

/* br_count strings, each appended to in turn, up to br_size. */
uint64_t
realloc_append_unit(struct bench_worker *w)
{
	enum { STEP = 16, MAX_STRINGS = 64 };
	char *strings[MAX_STRINGS] = {NULL};
	size_t n = w->bw_row->br_count;
	uint64_t ops = 0;

	for (size_t size = STEP; size <= w->bw_row->br_size; size += STEP) {
		for (size_t i = 0; i < n; i++) {
			strings[i] = grow(strings[i], size);
			strings[i][size - 1] = 1;
		}
		ops += n;
	}
	for (size_t i = 0; i < n; i++)
		free(strings[i]);
	return (ops);
}

/* A vector that grows by half, to br_size; new pages are written. */
uint64_t
realloc_half_unit(struct bench_worker *w)
{
	char *p = NULL;
	size_t from = 0;
	uint64_t ops = 0;

	for (size_t size = 16; size <= w->bw_row->br_size; size += size / 2) {
		p = grow(p, size);
		touch(p, from, size);
		from = size;
		ops++;
	}
	free(p);
	return (ops);
}

/* A buffer that grows by br_count bytes, to br_size. */
uint64_t
realloc_steps_unit(struct bench_worker *w)
{
	size_t step = w->bw_row->br_count;
	char *p = NULL;
	uint64_t ops = 0;

	for (size_t size = step; size <= w->bw_row->br_size; size += step) {
		p = grow(p, size);
		touch(p, size - step, size);
		ops++;
	}
	free(p);
	return (ops);
}
