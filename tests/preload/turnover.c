/*
 * turnover.c - take and give back far more memory than there is, of all sizes
 * in turn, and never hold much of it.
 */
#include "check.h"

#include <stdint.h>

enum { MIB = 1 << 20, LIVE = 48 * MIB, ROUNDS = 4, BLOCKS = LIVE / 48 };

static char *blocks[BLOCKS];

/* All of LIVE in blocks of one size, written; given back in another order. */
static void
take_and_give(size_t size)
{
	const size_t n = LIVE / size;

	for (size_t i = 0; i < n; i++) {
		blocks[i] = malloc(size);
		CHECK(blocks[i] != NULL);
		memset(blocks[i], 1, size);
	}
	for (size_t i = 0; i < n; i += 2)
		free(blocks[i]);
	for (size_t i = 1; i < n; i += 2)
		free(blocks[i]);
}

/* What one size had is there for the next one. */
static void
what_is_freed_is_memory_again(void)
{
	static const size_t sizes[] = {48, 5 * MIB, 1000, 300000, 20000, 100};

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			take_and_give(sizes[i]);
	}
}

/* Some seconds after the last free. */
static void
idle_memory_goes_back_to_the_system(void)
{
	size_t before, peak;

	memset(blocks, 0, sizeof(blocks));
	before = check_resident();
	take_and_give(48);
	take_and_give(300000);
	peak = check_resident();
	check_wait_resident(before + LIVE / 2, 200);
	check_say(STDOUT_FILENO, "resident: %zu, then %zu, then %zu KiB\n",
	    before >> 10, peak >> 10, check_resident() >> 10);
	CHECK(check_resident() <= before + LIVE / 2);
}

static const struct check table[] = {
    CHECK_THAT(idle_memory_goes_back_to_the_system),
    CHECK_THAT(what_is_freed_is_memory_again),
};

CHECK_MAIN(table)
