/*
 * malloc_threads.c - blocks that cross threads; threads and processes that
 * come and go.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "malloc_rows.h"
#include "ring.h"

#include <pthread.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

enum {
	CROSSINGS = 32 * RING_BATCH,
	SWAPS = 4 * RING_BATCH,
	LARSON_PAIRS = 20000,
};

static struct ring rings[BENCH_MAX_WORKERS]; /* one from each worker */

/* Allocate n blocks (br_size, or mixed) and send them; counts them. */
static uint64_t
send_blocks(struct bench_worker *w, struct ring *r, size_t n)
{
	size_t size = w->bw_row->br_size;

	for (size_t i = 0; i < n; i++) {
		void **p = malloc(size ? size : bench_mixed(bench_random(w)));

		if (p == NULL)
			bench_die("bench: malloc failed");
		*p = p;
		if (!ring_push(r, p)) {
			free(p);
			return (i);
		}
	}
	return (n);
}

/* Receive n blocks, read them if so told, free them; counts them. */
static uint64_t
receive_blocks(struct ring *r, size_t n, bool read)
{
	for (size_t i = 0; i < n; i++) {
		void **p = ring_pop(r);

		if (p == NULL)
			return (i);
		if (read && *p != p)
			bench_die("bench: a block changed on its way");
		free(p);
	}
	return (n);
}

/*
 * Even workers allocate, odd ones free.  Both count, so that with a processor
 * each the cost is the time from one block to the next.
 */
uint64_t
prodcons_unit(struct bench_worker *w)
{
	struct ring *r = &rings[w->bw_id & ~1U];

	return (w->bw_id % 2 == 0 ? send_blocks(w, r, CROSSINGS)
				  : receive_blocks(r, CROSSINGS, false));
}

/* Each of two workers reads and frees what the other allocated. */
uint64_t
swap_unit(struct bench_worker *w)
{
	uint64_t ops = 0;

	for (int i = 0; i < CROSSINGS / SWAPS; i++) {
		(void)send_blocks(w, &rings[w->bw_id], SWAPS);
		ops += receive_blocks(&rings[w->bw_id ^ 1], SWAPS, true);
	}
	return (ops);
}

void
larson_setup(struct bench_worker *w)
{
	churn_setup(w);
}

/* One generation: replace blocks that earlier generations allocated. */
static void *
larson_thread(void *arg)
{
	struct bench_worker *w = arg;

	for (int n = 0; n < LARSON_PAIRS;)
		n += (int)churn_unit(w);
	return (NULL);
}

static void
in_a_thread(void *(*fn)(void *), void *arg)
{
	pthread_t t;

	if (pthread_create(&t, NULL, fn, arg) != 0)
		bench_die("bench: cannot create a thread");
	pthread_join(t, NULL);
}

uint64_t
larson_unit(struct bench_worker *w)
{
	in_a_thread(larson_thread, w);
	return (LARSON_PAIRS);
}

static void *
short_thread(void *arg)
{
	enum { MAX_BLOCKS = 128 };
	struct bench_worker *w = arg;
	size_t n = w->bw_row->br_count;
	void *blocks[MAX_BLOCKS];

	for (size_t i = 0; i < n; i++) {
		blocks[i] = malloc(bench_mixed(bench_random(w)));
		if (blocks[i] == NULL)
			bench_die("bench: malloc failed");
		*(void **)blocks[i] = w;
	}
	for (size_t i = 0; i < n; i++)
		free(blocks[i]);
	return (NULL);
}

/* One thread that allocates br_count mixed blocks and ends. */
uint64_t
threads_unit(struct bench_worker *w)
{
	in_a_thread(short_thread, w);
	return (1);
}

extern char **environ;

uint64_t
start_unit(struct bench_worker *w)
{
	char name[] = "malloc_bench";
	char nothing[] = "--nothing";
	char *args[] = {name, nothing, NULL};
	pid_t pid;
	int status;

	(void)w;
	if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ) != 0)
		bench_die("bench: cannot start a process");
	if (waitpid(pid, &status, 0) != pid || status != 0)
		bench_die("bench: a started process failed");
	return (1);
}
