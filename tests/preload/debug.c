/*
 * debug.c - malloc in a program that knows nothing of UMEM_DEBUG.
 *
 * Without arguments it makes no mistake, and looks at what it gets; with the
 * name of a mistake it makes that one.
 */
#include "check.h"

#include <stdint.h>

enum { SIZE = 100 };

/* The compiler knows better than to compile what is wrong. */
static void *(*volatile get)(size_t) = malloc;
static void (*volatile put)(void *) = free;

static void
t89_the_usable_size_is_the_one_asked_for(void)
{
	for (size_t size = 1; size < 300000; size += 1 + size / 20) {
		char *p = get(size);

		CHECK(p != NULL && malloc_usable_size(p) == size);
		memset(p, 1, malloc_usable_size(p));
		put(p);
	}
}

static void
a_block_of_calloc_is_zero_and_no_more(void)
{
	for (size_t size = 1; size < 3000; size += 13) {
		unsigned char *p = calloc(1, size);

		CHECK(p != NULL && check_bytes(p, size, 0));
		memset(p, 1, size);
		put(p);
	}
}

static void
realloc_keeps_what_both_sizes_have(void)
{
	unsigned char *p = NULL;

	for (size_t size = 1; size < 200000; size += 1 + size / 7) {
		size_t next = size + 1 + size / 7;

		p = realloc(p, size);
		CHECK(p != NULL && malloc_usable_size(p) == size);
		memset(p, 7, size);
		p = realloc(p, next);
		CHECK(p != NULL && check_bytes(p, size, 7));
		p = realloc(p, size / 2 + 1);
		CHECK(p != NULL && check_bytes(p, size / 2 + 1, 7));
		CHECK(realloc(p, size / 2 + 1) == p);
	}
	put(p);
}

static void
every_alignment_is_kept(void)
{
	for (size_t align = 16; align <= (size_t)1 << 20; align *= 2) {
		for (size_t size = 1; size < 300000; size = size * 3 + 1) {
			char *p = memalign(align, size);

			CHECK(p != NULL && (uintptr_t)p % align == 0);
			memset(p, 1, size);
			put(p);
		}
	}
}

/* ---- mistakes ---- */

static void
over(void)
{
	char *p = get(SIZE);

	p[SIZE] = 0;
	put(p);
}

static void
after(void)
{
	char *p = get(SIZE);

	put(p);
	p[0] = 0;
	CHECK(get(SIZE) != NULL);
}

static void
twice(void)
{
	char *p = get(SIZE), *q = get(SIZE);

	put(p);
	put(q);
	put(p);
}

static void
inside(void)
{
	put((char *)get(SIZE) + 16);
}

static void
read_after(void)
{
	volatile char *p = get(SIZE);

	put((void *)(uintptr_t)p);
	(void)p[0];
}

static void
read_over(void)
{
	volatile char *p = get(SIZE);

	(void)p[112];
}

static const struct {
	const char *name;
	void (*fn)(void);
} mistakes[] = {
    {"over", over},
    {"after", after},
    {"twice", twice},
    {"inside", inside},
    {"read-after", read_after},
    {"read-over", read_over},
};

int
main(int argc, char **argv)
{
	static const struct check table[] = {
	    CHECK_THAT(t89_the_usable_size_is_the_one_asked_for),
	    CHECK_THAT(a_block_of_calloc_is_zero_and_no_more),
	    CHECK_THAT(realloc_keeps_what_both_sizes_have),
	    CHECK_THAT(every_alignment_is_kept),
	};

	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		if (argc > 1 && strcmp(argv[1], mistakes[i].name) == 0) {
			mistakes[i].fn();
			return (0);
		}
	}
	return (
	    check_main(argc, argv, table, sizeof(table) / sizeof(table[0])));
}
