/*
 * exhaust.c - a program that goes on in the memory it has when the system gives
 * no more.
 *
 * Preloaded with failmap.so and the library.
 */
#include "check.h"
#include "failmap.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

enum { SMALL = 100, LARGE = 300000, HUGE = 70 << 20 };

/* The C library has some blocks for the library's thread. */
enum { FOR_THREAD = 1024 };

struct node {
	struct node *n_next;
	size_t n_size;
	unsigned char n_bytes[];
};

static uint64_t seed;

static size_t
random_size(void)
{
	seed = seed * 6364136223846793005u + 1442695040888963407u;
	if (seed >> 58 == 0)
		return (100000 + (seed >> 33) % 400000);
	return ((seed >> 33) % ((size_t)16 << (seed >> 60) % 10));
}

static struct node *
node_make(struct node *next)
{
	size_t size = random_size();
	struct node *n;

	errno = 0;
	n = malloc(sizeof(*n) + size);
	CHECK(n != NULL || errno == ENOMEM);
	if (n == NULL)
		return (NULL);
	n->n_next = next;
	n->n_size = size;
	memset(n->n_bytes, (int)(size & 255), size);
	return (n);
}

static struct node *
node_drop(struct node *n)
{
	struct node *next = n->n_next;

	for (size_t i = 0; i < n->n_size; i++)
		CHECK(n->n_bytes[i] == (unsigned char)(n->n_size & 255));
	free(n);
	return (next);
}

/* Take until refused `refusals` times, dropping some at each refusal. */
static struct node *
fill_up(unsigned refusals)
{
	struct node *list = NULL;

	while (refusals > 0) {
		struct node *n = node_make(list);

		if (n != NULL) {
			list = n;
			continue;
		}
		refusals--;
		for (unsigned i = 0; i < 20 && list != NULL; i++)
			list = node_drop(list);
	}
	return (list);
}

static void
a_program_goes_on_in_the_memory_it_has(void)
{
	for (unsigned round = 1; round <= 6; round++) {
		struct node *list;

		seed = round;
		failmap_arm(FAILMAP_MMAP, round, ULONG_MAX);
		if (round % 3 == 0)
			failmap_arm(FAILMAP_MADVISE, 1, ULONG_MAX);
		if (round % 3 != 1)
			failmap_arm(FAILMAP_MUNMAP, 1, ULONG_MAX);
		list = fill_up(50);
		(void)malloc_trim(0);
		for (int kind = 0; kind < FAILMAP_KINDS; kind++)
			failmap_arm((enum failmap)kind, 0, 0);
		for (unsigned i = 0; i < 1000; i++) {
			struct node *n = node_make(list);

			CHECK(n != NULL);
			list = n;
		}
		while (list != NULL)
			list = node_drop(list);
		CHECK(check_in_use() <= FOR_THREAD);
	}
}

/* Sizes that no system has, so that what else is needed can still be had. */
static void
failing_again_and_again_loses_nothing(void)
{
	enum { TIMES = 60000 };
	size_t space[2], resident[2];
	void *p;

	free(malloc(LARGE));
	(void)malloc_trim(0);
	check_memory(&space[0], &resident[0]);
	for (unsigned i = 0; i < TIMES; i++) {
		CHECK(malloc((size_t)1 << 61) == NULL && errno == ENOMEM);
		CHECK(aligned_alloc(2 << 20, (size_t)1 << 61) == NULL);
		CHECK(posix_memalign(&p, 4096, (size_t)1 << 61) == ENOMEM);
	}
	check_memory(&space[1], &resident[1]);
	CHECK(space[1] < space[0] + (1 << 20));
	CHECK(resident[1] < resident[0] + (1 << 20));
	CHECK(check_in_use() <= FOR_THREAD);
	free(malloc(HUGE));
}

/* Started with FAILMAP set: nothing can be had at first. */
static void
what_could_not_start_starts_later(void)
{
	struct node *n;
	char *p;

	errno = 0;
	p = malloc(SMALL);
	CHECK(p != NULL || errno == ENOMEM);
	CHECK(failmap_failed(FAILMAP_MMAP) > 0);
	free(p);
	failmap_arm(FAILMAP_MMAP, 0, 0);
	p = calloc(1, SMALL);
	CHECK(p != NULL && check_bytes(p, SMALL, 0));
	free(p);
	seed = 1;
	n = node_make(NULL);
	CHECK(n != NULL && node_drop(n) == NULL);
	CHECK(check_in_use() <= FOR_THREAD);
	a_program_goes_on_in_the_memory_it_has();
}

static const struct check table[] = {
    CHECK_THAT(a_program_goes_on_in_the_memory_it_has),
    CHECK_THAT(failing_again_and_again_loses_nothing),
};

/* When nothing could be had at first. */
static const struct check late_start[] = {
    CHECK_THAT(what_could_not_start_starts_later),
};

int
main(int argc, char **argv)
{
	CHECK(failmap_arm != NULL);
	if (getenv("FAILMAP") != NULL)
		return (check_main(argc, argv, late_start, 1));
	return (
	    check_main(argc, argv, table, sizeof(table) / sizeof(table[0])));
}
