/*
 * realloc.c - what realloc keeps, what it gives back, and when it fails.
 */
#define _GNU_SOURCE 1 /* reallocarray */

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/resource.h>

enum { ERRNO_MARK = 4321, LARGEST = 12 << 20 };

/* Each byte depends on where it is, and on which block it is in. */
static void
fill(unsigned char *p, size_t from, size_t to, unsigned salt)
{
	for (size_t i = from; i < to; i++)
		p[i] = (unsigned char)(i * 7 + (i >> 8) + salt);
}

static void
filled(const unsigned char *p, size_t n, unsigned salt)
{
	for (size_t i = 0; i < n; i++)
		CHECK(p[i] == (unsigned char)(i * 7 + (i >> 8) + salt));
}

static size_t
next_size(size_t size)
{
	return (size + 1 + size / 9);
}

static void
t82_the_same_size_gives_the_same_block(void)
{
	for (size_t size = 1; size < LARGEST; size = next_size(size)) {
		unsigned char *p = malloc(size), *q, *r;

		CHECK(p != NULL);
		p[0] = 17;
		p[size - 1] = 18;
		q = realloc(p, size);
		CHECK(q == p);
		r = reallocarray(q, 1, size);
		CHECK(r == q);
		CHECK(r[size - 1] == 18 && (size == 1 || r[0] == 17));
		free(r);
	}
}

static void
no_block_is_as_good_as_malloc(void)
{
	for (size_t size = 0; size < LARGEST; size = next_size(size)) {
		unsigned char *p = realloc(NULL, size);

		CHECK(p != NULL && malloc_usable_size(p) >= size);
		memset(p, 1, size);
		free(p);
	}
}

/* Freed indeed: otherwise this would hold gigabytes. */
static void
t82_size_0_frees_the_block_and_answers_NULL(void)
{
	size_t before = check_resident();

	for (size_t i = 0; i < 60000; i++) {
		size_t size = 1 + i * 13 % 40000;
		unsigned char *p = malloc(size);

		CHECK(p != NULL);
		p[0] = 1;
		p[size - 1] = 1;
		errno = ERRNO_MARK;
		CHECK(realloc(p, 0) == NULL);
		CHECK(errno == ERRNO_MARK);
	}
	CHECK(reallocarray(malloc(1000), 0, 8) == NULL);
	CHECK(reallocarray(malloc(1000), 8, 0) == NULL);
	CHECK(check_resident() < before + ((size_t)64 << 20));
}

static void
contents_survive_growing_and_shrinking_through_all_classes(void)
{
	unsigned char *p = malloc(1);
	size_t size = 1, to;

	fill(p, 0, 1, 3);
	for (to = 2; to < LARGEST; size = to, to = next_size(to)) {
		p = realloc(p, to);
		CHECK(p != NULL && malloc_usable_size(p) >= to);
		filled(p, size, 3);
		fill(p, size, to, 3);
	}
	for (to = size - size / 11; size > 1; size = to, to -= to / 11 + 1) {
		p = realloc(p, to > 0 ? to : 1);
		CHECK(p != NULL);
		filled(p, to, 3);
		if (to == 0)
			break;
	}
	free(p);
}

static void
contents_survive_any_jump(void)
{
	enum { BLOCKS = 32 };
	unsigned char *p[BLOCKS] = {NULL};
	size_t size[BLOCKS] = {0};
	uint64_t seed = 12345;

	for (unsigned step = 0; step < 4000; step++) {
		unsigned i = step % BLOCKS;
		size_t to;

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		/* Below 2^3 to 2^20. */
		to = (seed >> 40) % ((size_t)8 << (seed >> 33) % 18);
		to += to == 0;
		p[i] = realloc(p[i], to);
		CHECK(p[i] != NULL);
		filled(p[i], size[i] < to ? size[i] : to, i);
		fill(p[i], 0, to, i);
		size[i] = to;
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		filled(p[i], size[i], i);
		free(p[i]);
	}
}

static void
an_aligned_block_can_grow(void)
{
	for (size_t align = 16; align <= 65536; align <<= 1) {
		for (size_t size = 1; size < 300000; size = size * 3 + 1) {
			unsigned char *p = aligned_alloc(align, size);

			CHECK(p != NULL);
			fill(p, 0, size, 9);
			p = realloc(p, size * 2 + 100);
			CHECK(p != NULL);
			filled(p, size, 9);
			free(p);
		}
	}
}

static void
t82_a_failure_leaves_the_block_as_it_is(void)
{
	static const size_t huge[] = {(size_t)PTRDIFF_MAX,
	    (size_t)PTRDIFF_MAX + 1, (size_t)1 << 62, SIZE_MAX - 4096,
	    SIZE_MAX - 1, SIZE_MAX};

	for (size_t size = 1; size < LARGEST; size = size * 2 + 1) {
		unsigned char *p = malloc(size), *q;

		CHECK(p != NULL);
		fill(p, 0, size, 5);
		for (size_t i = 0; i < sizeof(huge) / sizeof(huge[0]); i++) {
			errno = 0;
			CHECK(realloc(p, huge[i]) == NULL && errno == ENOMEM);
			errno = 0;
			CHECK(reallocarray(p, huge[i], 2) == NULL);
			CHECK(errno == ENOMEM);
		}
		q = realloc(p, size);
		CHECK(q == p);
		filled(q, size, 5);
		free(q);
	}
}

static void
shrinking_gives_memory_back(void)
{
	const size_t large = (size_t)200 << 20;
	unsigned char *p = malloc(large);

	CHECK(p != NULL);
	memset(p, 1, large);
	CHECK(check_resident() > large);
	p = realloc(p, 1000000);
	CHECK(p != NULL && p[0] == 1 && p[999999] == 1);
	/* Within a second or two: it might grow again. */
	check_wait_resident(large / 4 - 1, 80);
	CHECK(check_resident() < large / 4);
	free(p);
}

/* As a string or vector does; quadratic only in what is copied. */
static void
a_block_that_grows_byte_by_byte_moves_seldom(void)
{
	unsigned char *p = malloc(1);
	size_t moves = 0;

	for (size_t size = 2; size < 100000; size++) {
		unsigned char *q = realloc(p, size);

		CHECK(q != NULL);
		moves += q != p;
		p = q;
	}
	free(p);
	check_say(STDOUT_FILENO, "%zu moves\n", moves);
	CHECK(moves < 35);
}

static void
a_large_block_that_grows_in_steps_moves_seldom(void)
{
	enum { STEP = 64 << 10, LIMIT = 32 << 20 };
	unsigned char *p = NULL;
	size_t moves = 0;

	for (size_t size = STEP; size <= LIMIT; size += STEP) {
		unsigned char *q = realloc(p, size);

		CHECK(q != NULL);
		fill(q, size - STEP, size, 3);
		moves += q != p;
		p = q;
	}
	filled(p, LIMIT, 3);
	free(p);
	check_say(STDOUT_FILENO, "%zu moves\n", moves);
	CHECK(moves < 12);
}

/*
 * But for a small part.  Must be the first test: what tells is the most memory
 * that the process ever had.
 */
static void
a_large_block_that_moves_is_not_in_memory_twice(void)
{
	enum { FROM = 1 << 20, LIMIT = 96 << 20 };
	size_t before = check_resident(), size = FROM;
	unsigned char *p = malloc(size);
	struct rusage usage;

	CHECK(p != NULL);
	fill(p, 0, size, 5);
	for (size_t next; (next = size + size / 2) <= LIMIT; size = next) {
		p = realloc(p, next);
		CHECK(p != NULL);
		fill(p, size, next, 5);
	}
	filled(p, size, 5);
	free(p);
	CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
	check_say(STDOUT_FILENO, "%zu MiB at first, then %zu for %zu\n",
	    before >> 20, (size_t)usage.ru_maxrss >> 10, size >> 20);
	CHECK((size_t)usage.ru_maxrss << 10 < before + size + size / 4);
}

static const struct check table[] = {
    CHECK_THAT(a_large_block_that_moves_is_not_in_memory_twice),
    CHECK_THAT(t82_the_same_size_gives_the_same_block),
    CHECK_THAT(no_block_is_as_good_as_malloc),
    CHECK_THAT(t82_size_0_frees_the_block_and_answers_NULL),
    CHECK_THAT(contents_survive_growing_and_shrinking_through_all_classes),
    CHECK_THAT(contents_survive_any_jump),
    CHECK_THAT(an_aligned_block_can_grow),
    CHECK_THAT(t82_a_failure_leaves_the_block_as_it_is),
    CHECK_THAT(shrinking_gives_memory_back),
    CHECK_THAT(a_block_that_grows_byte_by_byte_moves_seldom),
    CHECK_THAT(a_large_block_that_grows_in_steps_moves_seldom),
};

CHECK_MAIN(table)
