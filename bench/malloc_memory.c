/*
 * malloc_memory.c - rows whose point is what stays resident.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "malloc_rows.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

enum { IDLE_BLOCKS = 5000, HAND_BLOCK = 256, SMALL_STACK = 64 * 1024 };

static void *
get_mixed(struct bench_worker *w)
{
	void *p = malloc(bench_mixed(bench_random(w)));

	if (p == NULL)
		bench_die("bench: malloc failed");
	*(void **)p = w;
	return (p);
}

struct idle {
	struct bench_worker *i_worker;
	void **i_blocks;
	pthread_barrier_t i_ready; /* one thread has done its work */
	pthread_barrier_t i_end;
};

static void *
idle_thread(void *arg)
{
	struct idle *idle = arg;

	for (int i = 0; i < IDLE_BLOCKS; i++)
		idle->i_blocks[i] = get_mixed(idle->i_worker);
	for (int i = 0; i < IDLE_BLOCKS; i++)
		free(idle->i_blocks[i]);
	pthread_barrier_wait(&idle->i_ready);
	pthread_barrier_wait(&idle->i_end);
	return (NULL);
}

/* br_count threads, one after the other, all alive at the end. */
uint64_t
idle_unit(struct bench_worker *w)
{
	size_t n = w->bw_row->br_count;
	pthread_t *threads = bench_map(n * sizeof(*threads));
	struct idle *idle = bench_map(sizeof(*idle));
	pthread_attr_t attr;

	idle->i_worker = w;
	idle->i_blocks = bench_map(IDLE_BLOCKS * sizeof(void *));
	pthread_barrier_init(&idle->i_ready, NULL, 2);
	pthread_barrier_init(&idle->i_end, NULL, (unsigned)n + 1);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, SMALL_STACK);
	for (size_t i = 0; i < n; i++) {
		if (pthread_create(&threads[i], &attr, idle_thread, idle) != 0)
			bench_die("bench: cannot create a thread");
		pthread_barrier_wait(&idle->i_ready);
	}
	w->bw_memory = bench_memory("VmRSS");
	pthread_barrier_wait(&idle->i_end);
	for (size_t i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return (n * IDLE_BLOCKS);
}

struct hand {
	void **h_blocks;
	size_t h_count;
};

/* Take over what the last thread left: free all of it, allocate anew. */
static void *
hand_thread(void *arg)
{
	struct hand *h = arg;

	for (size_t i = 0; i < h->h_count; i++)
		free(h->h_blocks[i]);
	for (size_t i = 0; i < h->h_count; i++) {
		h->h_blocks[i] = malloc(HAND_BLOCK);
		if (h->h_blocks[i] == NULL)
			bench_die("bench: malloc failed");
		*(void **)h->h_blocks[i] = h;
	}
	return (NULL);
}

/* br_size bytes through br_count threads, twice round. */
uint64_t
handround_unit(struct bench_worker *w)
{
	struct hand h;
	size_t rounds = 2 * w->bw_row->br_count;

	h.h_count = w->bw_row->br_size / HAND_BLOCK;
	h.h_blocks = bench_map(h.h_count * sizeof(void *));
	for (size_t i = 0; i < rounds; i++) {
		pthread_t t;

		if (pthread_create(&t, NULL, hand_thread, &h) != 0)
			bench_die("bench: cannot create a thread");
		pthread_join(t, NULL);
	}
	return (rounds * h.h_count);
}

/*
 * Two seconds in which the program does a little, so that an allocator
 * without a thread of its own gets its turn.
 */
static void
light_activity(struct bench_worker *w)
{
	struct timespec tick = {0, 10 * 1000 * 1000};
	uint64_t start = bench_now();

	for (int i = 0; i < 200; i++) {
		void *p = get_mixed(w);

		(void)nanosleep(&tick, NULL);
		free(p);
	}
	w->bw_idle = bench_now() - start;
}

/*
 * br_count mixed blocks, br_size percent of them freed in random order.  The
 * row's own tables are not the allocator's memory.
 */
uint64_t
partial_unit(struct bench_worker *w)
{
	size_t n = w->bw_row->br_count;
	size_t gone = n / 100 * w->bw_row->br_size;
	void **blocks = bench_map(n * sizeof(*blocks));
	const uint32_t *order = bench_order(n);
	uint64_t own;

	for (size_t i = 0; i < n; i++)
		blocks[i] = get_mixed(w);
	for (size_t i = 0; i < gone; i++)
		free(blocks[order[i]]);
	light_activity(w);
	own = n * (sizeof(*blocks) + sizeof(*order)) / 1024;
	w->bw_memory = bench_memory("VmRSS") - own;
	return (n);
}
