/*
 * pairs.c - whatever allocated a block, whatever may free it does.
 */
#define _GNU_SOURCE 1 /* reallocarray, pvalloc, asprintf */

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdint.h>

enum { ERRNO_MARK = 4321 };

/* ---- ways to get a block of at least size bytes ---- */

static void *
by_calloc(size_t size)
{
	return (calloc(1, size));
}

static void *
by_realloc(size_t size)
{
	return (realloc(NULL, size));
}

static void *
by_realloc_grown(size_t size)
{
	return (realloc(malloc(size / 3), size));
}

static void *
by_reallocarray(size_t size)
{
	return (reallocarray(NULL, size / 4 + 1, 4));
}

static void *
by_memalign(size_t size)
{
	return (memalign(256, size));
}

static void *
by_aligned_alloc(size_t size)
{
	return (aligned_alloc(64, size));
}

static void *
by_aligned_alloc_wide(size_t size)
{
	return (aligned_alloc(65536, size));
}

static void *
by_posix_memalign(size_t size)
{
	void *p = NULL;

	return (posix_memalign(&p, 4096, size) == 0 ? p : NULL);
}

/* The C library allocates for these; the caller frees. */
static void *
by_strdup(size_t size)
{
	static char text[400001];

	memset(text, 'x', size);
	text[size] = '\0';
	return (strdup(text));
}

static void *
by_asprintf(size_t size)
{
	char *p = NULL;

	return (asprintf(&p, "%*s", (int)size, "") < 0 ? NULL : p);
}

static void *
by_memstream(size_t size)
{
	char *p = NULL;
	size_t len = 0;
	FILE *fp = open_memstream(&p, &len);

	CHECK(fp != NULL);
	for (size_t i = 0; i < size; i++)
		(void)fputc('x', fp);
	CHECK(fclose(fp) == 0 && len == size);
	return (p);
}

static void *(*const get[])(size_t) = {
    malloc,
    by_calloc,
    by_realloc,
    by_realloc_grown,
    by_reallocarray,
    by_memalign,
    by_aligned_alloc,
    by_aligned_alloc_wide,
    by_posix_memalign,
    valloc,
    pvalloc,
    by_strdup,
    by_asprintf,
    by_memstream,
};

/* ---- ways to be rid of it ---- */

static void
by_free(void *p, size_t size)
{
	(void)size;
	free(p);
}

static void
by_realloc_0(void *p, size_t size)
{
	(void)size;
	CHECK(realloc(p, 0) == NULL);
}

static void
by_reallocarray_0(void *p, size_t size)
{
	(void)size;
	CHECK(reallocarray(p, 0, 1) == NULL);
}

static void
by_growing(void *p, size_t size)
{
	char *q = realloc(p, size * 2 + 1);

	CHECK(q != NULL);
	q[size * 2] = 1;
	free(q);
}

static void
by_shrinking(void *p, size_t size)
{
	free(reallocarray(p, 1, size / 5 + 1));
}

static void (*sized_free)(void *, size_t);
static void (*aligned_sized_free)(void *, size_t, size_t);

static void
by_free_sized(void *p, size_t size)
{
	sized_free(p, size);
}

static void
by_free_aligned_sized(void *p, size_t size)
{
	aligned_sized_free(p, 64, size);
}

static void (*const put[])(void *, size_t) = {
    by_free,
    by_realloc_0,
    by_reallocarray_0,
    by_growing,
    by_shrinking,
    by_free_sized,
    by_free_aligned_sized,
};

/* ---- */

/* C23 names, which this C library does not declare. */
void free_sized(void *p, size_t size) __attribute__((weak));
void free_aligned_sized(void *p, size_t align, size_t size)
    __attribute__((weak));

static void
free_sized_and_free_aligned_sized_are_there(void)
{
	sized_free = free_sized;
	aligned_sized_free = free_aligned_sized;
	CHECK(sized_free != NULL);
	CHECK(aligned_sized_free != NULL);
	errno = ERRNO_MARK;
	free_sized(NULL, 0);
	free_aligned_sized(NULL, 64, 0);
	free_sized(malloc(100), 100);
	free_aligned_sized(aligned_alloc(128, 256), 128, 256);
	CHECK(errno == ERRNO_MARK);
}

static void
t88_every_way_to_get_a_block_pairs_with_every_way_to_free_it(void)
{
	static const size_t sizes[] = {1, 8, 16, 24, 100, 250, 1000, 4096, 5000,
	    30000, 65536, 131072, 131073, 200000, 400000};
	enum { GETS = sizeof(get) / sizeof(get[0]) };
	enum { PUTS = sizeof(put) / sizeof(put[0]) };

	free_sized_and_free_aligned_sized_are_there();
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		for (size_t g = 0; g < GETS; g++) {
			for (size_t f = 0; f < PUTS; f++) {
				char *p = get[g](sizes[s]);

				CHECK(p != NULL);
				CHECK(malloc_usable_size(p) >= sizes[s]);
				memset(p, 'y', sizes[s]);
				errno = ERRNO_MARK;
				put[f](p, sizes[s]);
				CHECK(errno == ERRNO_MARK);
			}
		}
	}
}

static const struct check table[] = {
    CHECK_THAT(free_sized_and_free_aligned_sized_are_there),
    CHECK_THAT(t88_every_way_to_get_a_block_pairs_with_every_way_to_free_it),
};

CHECK_MAIN(table)
