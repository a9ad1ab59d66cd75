/*
 * malloc_classic.c - workloads by which allocators have been compared for long,
 * written from their published descriptions.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "malloc_rows.h"

#include <stdatomic.h>
#include <stdlib.h>

static void *
get(size_t size)
{
	void **p = malloc(size);

	if (p == NULL)
		bench_die("bench: malloc failed");
	*p = p;
	return (p);
}

/* ---- false sharing ---- */

/* What the first worker allocated for all, and each of them frees. */
static _Atomic(void *) handed[BENCH_MAX_WORKERS];

static void
write_often(volatile char *p, size_t size)
{
	enum { WRITES = 200 };

	for (int i = 0; i < WRITES; i++)
		for (size_t k = 0; k < size; k++)
			p[k] = (char)(p[k] + 1);
}

/*
 * Passive: blocks that lie side by side are handed to all workers; an allocator
 * that gives each worker its neighbour's line again slows all of them down.
 */
void
scratch_setup(struct bench_worker *w)
{
	if (w->bw_id == 0) {
		for (unsigned i = 0; i < w->bw_nworkers; i++)
			handed[i] = get(w->bw_row->br_size);
	}
}

/* Allocate, write br_count times br_size bytes, free. */
uint64_t
scratch_unit(struct bench_worker *w)
{
	size_t size = w->bw_row->br_size;

	free(atomic_exchange(&handed[w->bw_id], NULL));
	for (size_t i = 0; i < w->bw_row->br_count; i++) {
		char *p = get(size);

		write_often(p, size);
		free(p);
	}
	return (w->bw_row->br_count);
}

/* ---- mixes of sizes ---- */

/* 16 to 1024 bytes, of each doubling half as many as of the one before. */
static size_t
falling_size(uint64_t r)
{
	size_t base = 16;

	for (r |= (uint64_t)1 << 5; (r & 1) == 0; r >>= 1)
		base *= 2;
	return (base + bench_below(r >> 8, base));
}

void
heap_setup(struct bench_worker *w)
{
	w->bw_state = bench_map(w->bw_row->br_count * sizeof(void *));
}

/*
 * A batch of mixed sizes, of which the first half is freed in order, the second
 * half backwards, and a quarter in between lives on into the next batch.
 */
uint64_t
mix_unit(struct bench_worker *w)
{
	void **blocks = w->bw_state;
	size_t n = w->bw_row->br_count, ops = 0;

	for (size_t i = 0; i < n; i++) {
		if (blocks[i] != NULL)
			continue;
		blocks[i] = get(falling_size(bench_random(w)));
		ops++;
	}
	for (size_t i = 0; i < n / 2; i++) {
		if (i % 4 == w->bw_rng % 4)
			continue;
		free(blocks[i]);
		blocks[i] = NULL;
	}
	for (size_t i = n; i-- > n / 2;) {
		if (i % 4 == w->bw_rng % 4)
			continue;
		free(blocks[i]);
		blocks[i] = NULL;
	}
	return (ops);
}

/* ---- a server under stress ---- */

enum { PASSED = 1024 };
static _Atomic(void *) passed[PASSED];

/* Mostly small, one in a hundred up to 16 KiB, one in 10000 up to 1 MiB. */
static size_t
stress_size(uint64_t r)
{
	size_t dice = bench_below(r, 10000);

	if (dice == 0)
		return (16 + bench_below(r >> 20, (size_t)1 << 20));
	if (dice <= 100)
		return (16 + bench_below(r >> 20, 16 << 10));
	return (bench_mixed(r));
}

/*
 * Blocks by the burst: some are freed at once, some swapped with what another
 * worker left behind, some stay for bursts to come.
 */
uint64_t
stress_unit(struct bench_worker *w)
{
	void **kept = w->bw_state;
	size_t n = w->bw_row->br_count;

	for (size_t i = 0; i < n; i++) {
		uint64_t r = bench_random(w);
		void *p = get(stress_size(r));
		void **slot = &kept[bench_below(r >> 24, n)];

		switch (r >> 60) {
		case 0:
		case 1:
			p = atomic_exchange(&passed[r >> 12 & (PASSED - 1)], p);
			free(p);
			break;
		case 2:
		case 3:
		case 4:
			free(*slot);
			*slot = p;
			break;
		default:
			free(p);
		}
	}
	return (n);
}

/*
 * Requests that leave something behind, of a size that drifts: what is left
 * keeps pages that later sizes cannot use.  All sizes have their turn within a
 * few milliseconds, so that the peak is not that of who comes furthest.
 */
struct drift {
	size_t dr_at;    /* requests so far */
	void *dr_left[]; /* by each, the last br_count of them */
};

void
drift_setup(struct bench_worker *w)
{
	w->bw_state = bench_map(
	    sizeof(struct drift) + w->bw_row->br_count * sizeof(void *));
}

uint64_t
drift_unit(struct bench_worker *w)
{
	enum { REQUEST = 30, REQUESTS = 100, SIZES = 16 };
	struct drift *d = w->bw_state;
	size_t n = w->bw_row->br_count;

	for (int k = 0; k < REQUESTS; k++, d->dr_at++) {
		size_t base = 32 + d->dr_at / n % SIZES * 48;
		void **left = &d->dr_left[d->dr_at % n];
		void *blocks[REQUEST];

		for (int i = 0; i < REQUEST; i++)
			blocks[i] =
			    get(base + bench_below(bench_random(w), base));
		free(*left);
		*left = blocks[0];
		for (int i = 1; i < REQUEST; i++)
			free(blocks[i]);
	}
	return (REQUEST * REQUESTS);
}

/* ---- alignment ---- */

/* Replace random ones of br_count blocks at multiples of 16 to 4096. */
uint64_t
aligned_unit(struct bench_worker *w)
{
	enum { PAIRS = 1000 };
	void **blocks = w->bw_state;

	for (int i = 0; i < PAIRS; i++) {
		uint64_t r = bench_random(w);
		void **slot = &blocks[bench_below(r, w->bw_row->br_count)];

		free(*slot);
		if (posix_memalign(slot, (size_t)16 << bench_below(r >> 32, 9),
			bench_mixed(r)) != 0)
			bench_die("bench: posix_memalign failed");
		*(void **)*slot = slot;
	}
	return (PAIRS);
}
