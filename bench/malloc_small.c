/*
 * malloc_small.c - pairs, batches and churn on one thread.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "malloc_rows.h"

#include <stdlib.h>

enum { PAIRS = 1000 };

static void *
get(size_t size)
{
	void *p = malloc(size);

	if (p == NULL)
		bench_die("bench: malloc failed");
	return (p);
}

uint64_t
pair_unit(struct bench_worker *w)
{
	size_t size = w->bw_row->br_size;

	for (int i = 0; i < PAIRS; i++) {
		void *p = malloc(size);

		bench_keep(p);
		free(p);
	}
	return (PAIRS);
}

/* br_count pairs; one byte written in every 4 KiB. */
uint64_t
touch_unit(struct bench_worker *w)
{
	size_t size = w->bw_row->br_size;
	size_t count = w->bw_row->br_count;

	for (size_t i = 0; i < count; i++) {
		char *p = get(size);

		for (size_t at = 0; at < size; at += 4096)
			p[at] = 1;
		bench_keep(p);
		free(p);
	}
	return (count);
}

uint64_t
calloc_unit(struct bench_worker *w)
{
	size_t size = w->bw_row->br_size;
	size_t count = w->bw_row->br_count;

	for (size_t i = 0; i < count; i++) {
		void *p = calloc(1, size);

		bench_keep(p);
		free(p);
	}
	return (count);
}

/* Both size and alignment are br_size. */
uint64_t
memalign_unit(struct bench_worker *w)
{
	size_t size = w->bw_row->br_size;

	for (int i = 0; i < PAIRS; i++) {
		void *p;

		if (posix_memalign(&p, size, size) != 0)
			bench_die("bench: posix_memalign failed");
		bench_keep(p);
		free(p);
	}
	return (PAIRS);
}

struct batch {
	const uint32_t *b_order; /* in which to free */
	void **b_blocks;
};

void
batch_setup(struct bench_worker *w)
{
	struct batch *b = bench_map(sizeof(*b));

	b->b_blocks = bench_map(w->bw_row->br_count * sizeof(void *));
	b->b_order = bench_order(w->bw_row->br_count);
	w->bw_state = b;
}

/* br_count blocks of br_size, freed oldest first. */
uint64_t
batch_fifo_unit(struct bench_worker *w)
{
	struct batch *b = w->bw_state;
	size_t n = w->bw_row->br_count;
	size_t size = w->bw_row->br_size;

	for (size_t i = 0; i < n; i++) {
		void **p = get(size);

		*p = p;
		b->b_blocks[i] = p;
	}
	for (size_t i = 0; i < n; i++)
		free(b->b_blocks[i]);
	return (n);
}

/* br_count blocks of br_size (0: mixed), freed in random order. */
uint64_t
batch_random_unit(struct bench_worker *w)
{
	struct batch *b = w->bw_state;
	size_t n = w->bw_row->br_count;
	size_t size = w->bw_row->br_size;

	for (size_t i = 0; i < n; i++) {
		void **p = get(size ? size : bench_mixed(bench_random(w)));

		*p = p;
		b->b_blocks[i] = p;
	}
	for (size_t i = 0; i < n; i++)
		free(b->b_blocks[b->b_order[i]]);
	return (n);
}

/* br_count live blocks of mixed sizes. */
void
churn_setup(struct bench_worker *w)
{
	size_t n = w->bw_row->br_count;
	void **blocks = bench_map(n * sizeof(*blocks));

	for (size_t i = 0; i < n; i++) {
		blocks[i] = get(bench_mixed(bench_random(w)));
		*(void **)blocks[i] = blocks;
	}
	w->bw_state = blocks;
}

uint64_t
churn_unit(struct bench_worker *w)
{
	void **blocks = w->bw_state;
	size_t n = w->bw_row->br_count;

	for (int i = 0; i < PAIRS; i++) {
		uint64_t r = bench_random(w);
		void **slot = &blocks[bench_below(r, n)];

		free(*slot);
		*slot = get(bench_mixed(r));
		*(void **)*slot = slot;
	}
	return (PAIRS);
}

struct survivors {
	void **s_kept; /* ring of br_count long-lived blocks */
	size_t s_next; /* the oldest of them */
	void *s_burst[PAIRS];
};

enum { KEEP_ONE_IN = 25 };

/* Bring the ring of survivors to its full, mixed state. */
void
survivors_setup(struct bench_worker *w)
{
	struct survivors *s = bench_map(sizeof(*s));
	size_t per_unit = 5 * (PAIRS / KEEP_ONE_IN);

	s->s_kept = bench_map(w->bw_row->br_count * sizeof(void *));
	w->bw_state = s;
	for (size_t n = 0; n < w->bw_row->br_count; n += per_unit)
		(void)survivors_unit(w);
}

static void
survivors_burst(struct bench_worker *w, size_t low, size_t high)
{
	struct survivors *s = w->bw_state;

	for (int i = 0; i < PAIRS; i++) {
		size_t size = low + bench_below(bench_random(w), high - low);

		s->s_burst[i] = get(size);
		*(void **)s->s_burst[i] = s;
	}
	for (int i = 0; i < PAIRS; i++) {
		if (i % KEEP_ONE_IN != 0) {
			free(s->s_burst[i]);
			continue;
		}
		free(s->s_kept[s->s_next]);
		s->s_kept[s->s_next] = s->s_burst[i];
		s->s_next = (s->s_next + 1) % w->bw_row->br_count;
	}
}

/* A server whose requests change their sizes and leave something behind. */
uint64_t
survivors_unit(struct bench_worker *w)
{
	survivors_burst(w, 16, 64);
	survivors_burst(w, 64, 256);
	survivors_burst(w, 256, 1024);
	survivors_burst(w, 1024, 4096);
	survivors_burst(w, 32, 512);
	return (5 * PAIRS);
}
