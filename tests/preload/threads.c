/*
 * threads.c - blocks of many threads: disjoint, zeroed when asked, freed by
 * whoever comes by.
 */
#define _GNU_SOURCE 1 /* setitimer and timeval in full */

#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/time.h>

enum { THREADS_MAX = 64, STACK = 128 << 10, LIVE = 48 };

/* A block carries its owner's stamp in every word. */
struct owned {
	uint64_t *o_words;
	size_t o_count;
	uint64_t o_stamp;
};

static uint64_t
random_next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33);
}

/* Mostly small; some of a few hundred KiB. */
static size_t
random_count(uint64_t *seed)
{
	uint64_t r = random_next(seed);

	return (1 + random_next(seed) % ((size_t)4 << r % 11) * (r % 97 != 0) +
	    (r % 997 == 0) * 30000);
}

static void
stamp(struct owned *o, uint64_t value)
{
	o->o_stamp = value;
	for (size_t i = 0; i < o->o_count; i++)
		o->o_words[i] = value;
}

static void
stamped(const struct owned *o)
{
	for (size_t i = 0; i < o->o_count; i++)
		CHECK(o->o_words[i] == o->o_stamp);
}

static void
take_zeroed(struct owned *o, uint64_t *seed, uint64_t value)
{
	o->o_count = random_count(seed);
	o->o_words = calloc(o->o_count, sizeof(uint64_t));
	CHECK(o->o_words != NULL);
	o->o_stamp = 0;
	stamped(o);
	stamp(o, value);
}

static void
run_threads(unsigned n, void *(*fn)(void *))
{
	pthread_t id[THREADS_MAX];
	pthread_attr_t attr;

	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setstacksize(&attr, STACK) == 0);
	for (uintptr_t i = 0; i < n; i++)
		CHECK(pthread_create(&id[i], &attr, fn, (void *)(i + 1)) == 0);
	for (unsigned i = 0; i < n; i++)
		CHECK(pthread_join(id[i], NULL) == 0);
	(void)pthread_attr_destroy(&attr);
}

/* ---- each for itself ---- */

static unsigned steps;

static void *
churn_zeroed(void *arg)
{
	uint64_t seed = (uintptr_t)arg;
	struct owned live[LIVE] = {{0}};

	for (unsigned i = 0; i < steps; i++) {
		struct owned *o = &live[random_next(&seed) % LIVE];

		stamped(o);
		free(o->o_words);
		take_zeroed(o, &seed, (uint64_t)(uintptr_t)arg << 32 | i);
	}
	for (unsigned i = 0; i < LIVE; i++) {
		stamped(&live[i]);
		free(live[i].o_words);
	}
	return (NULL);
}

static void
t87_calloc_of_2_to_64_threads_gives_disjoint_zeroed_blocks(void)
{
	for (unsigned n = 2; n <= THREADS_MAX; n *= 2) {
		steps = 40000 / n;
		run_threads(n, churn_zeroed);
	}
}

/* ---- freed by others ---- */

enum { RING = 256 };
static _Atomic(struct owned *) ring[RING];

static void *
churn_shared(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	for (unsigned i = 0; i < steps; i++) {
		struct owned *o = malloc(sizeof(*o)), *other;

		CHECK(o != NULL);
		take_zeroed(o, &seed, (uint64_t)(uintptr_t)arg << 32 | i);
		other = atomic_exchange(&ring[random_next(&seed) % RING], o);
		if (other == NULL)
			continue;
		stamped(other);
		other->o_words = realloc(other->o_words,
		    (other->o_count + i % 3) * sizeof(uint64_t));
		CHECK(other->o_words != NULL);
		stamped(other);
		free(other->o_words);
		free(other);
	}
	return (NULL);
}

static void
a_block_may_be_reallocated_and_freed_by_another_thread(void)
{
	steps = 10000;
	run_threads(8, churn_shared);
	for (unsigned i = 0; i < RING; i++) {
		struct owned *o = atomic_exchange(&ring[i], NULL);

		if (o == NULL)
			continue;
		stamped(o);
		free(o->o_words);
		free(o);
	}
}

/* ---- interrupted ---- */

static _Atomic unsigned signals;

static void
count_signal(int number)
{
	(void)number;
	atomic_fetch_add(&signals, 1);
}

static void
signals_in_the_middle_of_malloc_and_free_do_no_harm(void)
{
	const struct itimerval often = {{0, 50}, {0, 50}};
	const struct itimerval never = {{0, 0}, {0, 0}};
	struct sigaction sa = {.sa_handler = count_signal};

	sa.sa_flags = SA_RESTART;
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
	steps = 20000;
	for (int round = 0; round < 50 && signals < 500; round++)
		run_threads(2, churn_zeroed);
	CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
	CHECK(signals > 20);
}

static char *volatile in_handler;

static void
allocate_in_handler(int number)
{
	(void)number;
	free(in_handler);
	in_handler = calloc(1, 200);
	CHECK(in_handler != NULL);
}

/* The handler interrupts nothing but raise() itself. */
static void
a_handler_that_interrupted_no_allocation_may_allocate(void)
{
	struct sigaction sa = {.sa_handler = allocate_in_handler};

	CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	for (int i = 0; i < 1000; i++) {
		CHECK(raise(SIGUSR1) == 0);
		CHECK(in_handler != NULL && in_handler[199] == 0);
		memset(in_handler, 'x', 200);
	}
	free(in_handler);
	in_handler = NULL;
}

static const struct check table[] = {
    CHECK_THAT(t87_calloc_of_2_to_64_threads_gives_disjoint_zeroed_blocks),
    CHECK_THAT(a_block_may_be_reallocated_and_freed_by_another_thread),
    CHECK_THAT(signals_in_the_middle_of_malloc_and_free_do_no_harm),
    CHECK_THAT(a_handler_that_interrupted_no_allocation_may_allocate),
};

CHECK_MAIN(table)
