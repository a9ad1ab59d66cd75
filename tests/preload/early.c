/*
 * early.c - blocks from before anything was initialised: the library's own
 * constructor, and the C library's.
 */
#include "check.h"

enum { BLOCKS = 10 };

static const size_t sizes[BLOCKS] = {
    1, 16, 24, 100, 500, 3000, 20000, 100000, 200000, 3000000};

static char *early[BLOCKS];

/* Runs before the constructors of all libraries, the preloaded one's too. */
static void
allocate_first(void)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		early[i] = calloc(1, sizes[i]);
		if (early[i] != NULL)
			memset(early[i], (int)i + 1, sizes[i]);
	}
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(
    void) = allocate_first;

static void
t92_a_block_from_before_all_constructors_can_be_reallocated_and_freed(void)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		CHECK(early[i] != NULL);
		CHECK(early[i][0] == (char)(i + 1));
		CHECK(early[i][sizes[i] - 1] == (char)(i + 1));
		early[i] = realloc(early[i], sizes[i] * 2);
		CHECK(early[i] != NULL && early[i][0] == (char)(i + 1));
		CHECK(early[i][sizes[i] - 1] == (char)(i + 1));
		free(early[i]);
	}
}

/* The C library is ready, the preloaded one perhaps not. */
static char *constructed;

__attribute__((constructor(101))) static void
construct(void)
{
	constructed = strdup("from a constructor");
}

static void
t92_a_block_from_a_constructor_is_as_good(void)
{
	CHECK(constructed != NULL);
	CHECK(strcmp(constructed, "from a constructor") == 0);
	free(constructed);
}

static const struct check table[] = {
    CHECK_THAT(
	t92_a_block_from_before_all_constructors_can_be_reallocated_and_freed),
    CHECK_THAT(t92_a_block_from_a_constructor_is_as_good),
};

CHECK_MAIN(table)
