/*
 * crossfree.c - every block is freed by another thread than allocated it.
 *
 * Makers fill blocks of mixed sizes and hand them over in batches; takers
 * check every byte of what they get, fold it into a sum, grow some blocks by
 * realloc and free them.  The sums do not depend on which taker got what, so
 * the output is the same on every run.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	MAKERS = 4,
	TAKERS = 4,
	BATCHES = 4000, /* from each maker */
	BATCH = 100,    /* blocks */
	QUEUE = 64,     /* batches on their way */
	MIN_SIZE = 16,
};

struct block {
	uint32_t b_size;
	uint32_t b_fill;
	unsigned char b_data[];
};

struct batch {
	struct block *blocks[BATCH];
};

static struct batch *queue[QUEUE];
static size_t queue_head, queue_tail;
static int makers_left = MAKERS;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t not_empty = PTHREAD_COND_INITIALIZER;
static pthread_cond_t not_full = PTHREAD_COND_INITIALIZER;

static void
die(const char *what)
{
	fprintf(stderr, "crossfree: %s\n", what);
	abort();
}

static void *
get(size_t size)
{
	void *p = malloc(size);

	if (p == NULL)
		die("out of memory");
	return (p);
}

static void
queue_put(struct batch *b)
{
	pthread_mutex_lock(&lock);
	while (queue_head - queue_tail == QUEUE)
		pthread_cond_wait(&not_full, &lock);
	queue[queue_head++ % QUEUE] = b;
	pthread_cond_signal(&not_empty);
	pthread_mutex_unlock(&lock);
}

/* NULL when no maker is left to make more. */
static struct batch *
queue_take(void)
{
	struct batch *b = NULL;

	pthread_mutex_lock(&lock);
	while (queue_head == queue_tail && makers_left > 0)
		pthread_cond_wait(&not_empty, &lock);
	if (queue_head != queue_tail) {
		b = queue[queue_tail++ % QUEUE];
		pthread_cond_signal(&not_full);
	}
	pthread_mutex_unlock(&lock);
	return (b);
}

static uint32_t
next_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return (*state >> 8);
}

/* Mostly small, now and then some pages. */
static size_t
pick_size(uint32_t *state)
{
	uint32_t r = next_random(state);

	return (MIN_SIZE +
	    (r % 256 == 0 ? next_random(state) % 40000
			  : next_random(state) % 500));
}

static struct block *
block_make(uint32_t *state)
{
	size_t size = pick_size(state);
	struct block *b = get(sizeof(*b) + size);

	b->b_size = (uint32_t)size;
	b->b_fill = next_random(state) & 0xff;
	memset(b->b_data, (int)b->b_fill, size);
	return (b);
}

static void *
maker(void *arg)
{
	uint32_t state = (uint32_t)(uintptr_t)arg;

	for (int i = 0; i < BATCHES; i++) {
		struct batch *batch = get(sizeof(*batch));

		for (int j = 0; j < BATCH; j++)
			batch->blocks[j] = block_make(&state);
		queue_put(batch);
	}
	pthread_mutex_lock(&lock);
	makers_left--;
	pthread_cond_broadcast(&not_empty);
	pthread_mutex_unlock(&lock);
	return (NULL);
}

static uint64_t
block_sum(const struct block *b)
{
	for (uint32_t i = 0; i < b->b_size; i++)
		if (b->b_data[i] != b->b_fill)
			die("a block changed on its way");
	return ((uint64_t)b->b_size * 257 + b->b_fill);
}

static uint64_t
block_finish(struct block *b)
{
	uint64_t sum = block_sum(b);

	if (b->b_fill % 16 == 0) {
		b = realloc(b, sizeof(*b) + 2 * (size_t)b->b_size);
		if (b == NULL)
			die("out of memory");
		sum += block_sum(b);
	}
	free(b);
	return (sum);
}

static void *
taker(void *arg)
{
	uint64_t *sum = arg;
	struct batch *batch;

	while ((batch = queue_take()) != NULL) {
		for (int j = 0; j < BATCH; j++)
			*sum += block_finish(batch->blocks[j]);
		free(batch);
	}
	return (NULL);
}

int
main(void)
{
	pthread_t makers[MAKERS], takers[TAKERS];
	uint64_t sums[TAKERS] = {0};
	uint64_t total = 0;

	for (uintptr_t i = 0; i < MAKERS; i++)
		if (pthread_create(&makers[i], NULL, maker, (void *)(i + 1)))
			die("cannot create a thread");
	for (int i = 0; i < TAKERS; i++)
		if (pthread_create(&takers[i], NULL, taker, &sums[i]))
			die("cannot create a thread");
	for (int i = 0; i < MAKERS; i++)
		pthread_join(makers[i], NULL);
	for (int i = 0; i < TAKERS; i++) {
		pthread_join(takers[i], NULL);
		total += sums[i];
	}
	printf("%d blocks, sum %llu\n", MAKERS * BATCHES * BATCH,
	    (unsigned long long)total);
	return (0);
}
