/*
 * limit.c - take memory until there is no more, twice: as much the second time.
 */
#include "check.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

/* A list, so that nothing but the blocks is needed. */
struct node {
	struct node *n_next;
	size_t n_size;
};

static uint64_t seed;

/* Mostly small; the largest are asked for again in smaller pieces. */
static size_t
random_size(size_t most)
{
	uint64_t r;

	seed = seed * 6364136223846793005u + 1442695040888963407u;
	r = seed >> 33;
	return (sizeof(struct node) +
	    (r % 256 == 0 ? r % most : r % ((size_t)16 << (seed >> 61))));
}

/* One more block for the list; false when there is no memory. */
static bool
take(struct node **list, size_t size)
{
	struct node *n;

	errno = 0;
	n = malloc(size);
	if (n == NULL)
		return (false);
	memset(n, 1, size);
	n->n_next = *list;
	n->n_size = size;
	*list = n;
	return (true);
}

/* Bytes that could be had. */
static size_t
take_all(struct node **list)
{
	size_t total = 0;

	for (size_t most = 1 << 20; most > 4096; most /= 4) {
		size_t size = random_size(most);

		for (; take(list, size); size = random_size(most))
			total += size;
		CHECK(errno == ENOMEM);
	}
	return (total);
}

static void
give_all(struct node **list)
{
	while (*list != NULL) {
		struct node *n = *list;
		const unsigned char *bytes = (const unsigned char *)n;

		for (size_t i = sizeof(*n); i < n->n_size; i++)
			CHECK(bytes[i] == 1);
		*list = n->n_next;
		free(n);
	}
}

static void
memory_ends_at_the_limit_and_comes_back_when_freed(void)
{
	struct node *list = NULL;
	size_t first, second;
	struct rlimit rl;

	CHECK(getrlimit(RLIMIT_AS, &rl) == 0);
	CHECK(rl.rlim_cur != RLIM_INFINITY);
	first = take_all(&list);
	give_all(&list);
	second = take_all(&list);
	give_all(&list);
	check_say(STDOUT_FILENO, "limit %zu KiB: took %zu KiB, then %zu KiB\n",
	    (size_t)rl.rlim_cur >> 10, first >> 10, second >> 10);
	CHECK(first > rl.rlim_cur / 2 && first < rl.rlim_cur);
	CHECK(second > first - first / 10);
}

/* Bytes that could be had in blocks of one size. */
static size_t
take_all_of(struct node **list, size_t size)
{
	size_t total = 0;

	while (take(list, size))
		total += size;
	CHECK(errno == ENOMEM);
	return (total);
}

static void
what_one_size_had_serves_every_other(void)
{
	static const size_t sizes[] = {32, 1000000, 500, 60000, 4096, 9000000};
	struct node *list = NULL;
	struct rlimit rl;

	CHECK(getrlimit(RLIMIT_AS, &rl) == 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t took = take_all_of(&list, sizes[i]);

		give_all(&list);
		check_say(STDOUT_FILENO,
		    "limit %zu KiB: %zu KiB of %zu bytes\n",
		    (size_t)rl.rlim_cur >> 10, took >> 10, sizes[i]);
		CHECK(took > rl.rlim_cur / 5 * 3);
	}
}

static const struct check table[] = {
    CHECK_THAT(memory_ends_at_the_limit_and_comes_back_when_freed),
    CHECK_THAT(what_one_size_had_serves_every_other),
};

CHECK_MAIN(table)
