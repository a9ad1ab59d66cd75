/*
 * sizes.c - what malloc and its kin answer: pointers, alignment, errors.
 */
#define _GNU_SOURCE 1 /* reallocarray, pvalloc */

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>

enum { ERRNO_MARK = 4321 };

/* From the least to beyond the largest class, then large blocks. */
static const size_t sizes[] = {0, 1, 7, 8, 9, 15, 16, 17, 24, 31, 32, 33, 48,
    63, 64, 65, 100, 127, 128, 129, 200, 255, 256, 257, 500, 512, 1000, 1024,
    1025, 2048, 4000, 4095, 4096, 4097, 8192, 10000, 16384, 16385, 32768, 40000,
    65536, 65537, 100000, 131071, 131072, 131073, 147456, 200000, 262144,
    262145, 1000000, 1048576, 3000001, 9000000, 40000000};

static const size_t huge[] = {(size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1,
    (size_t)PTRDIFF_MAX + 4096, SIZE_MAX / 2 + 100000, SIZE_MAX - 200000,
    SIZE_MAX - 65536, SIZE_MAX - 16384, SIZE_MAX - 4096, SIZE_MAX - 4095,
    SIZE_MAX - 128, SIZE_MAX - 64, SIZE_MAX - 16, SIZE_MAX - 15, SIZE_MAX - 8,
    SIZE_MAX - 1, SIZE_MAX};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The compiler must not know what it compares with what. */
static bool
aligned(const void *p, size_t align)
{
	return ((uintptr_t)p % align == 0);
}

/*
 * What is written to a block and looked at: all of it up to a mebibyte; of more,
 * every sixteenth piece and the last.
 */
enum { PIECE = 65536 };

static size_t
stride(size_t size)
{
	return (size <= 16 * PIECE ? PIECE : 16 * PIECE);
}

static void
fill(char *p, size_t size, int byte)
{
	size_t last = size < PIECE ? 0 : size - PIECE;

	for (size_t at = 0; at < last; at += stride(size))
		memset(p + at, byte, PIECE);
	memset(p + last, byte, size - last);
}

static bool
filled(const char *p, size_t size, int byte)
{
	size_t last = size < PIECE ? 0 : size - PIECE;

	for (size_t at = 0; at < last; at += stride(size)) {
		if (!check_bytes(p + at, PIECE, byte))
			return (false);
	}
	return (check_bytes(p + last, size - last, byte));
}

static void
distinct(void *const *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		CHECK(p[i] != NULL);
		for (size_t j = 0; j < i; j++)
			CHECK(p[i] != p[j]);
	}
}

/* ---- zero ---- */

static void
t80_a_block_of_no_bytes_is_distinct_and_can_be_freed(void)
{
	void *p[10];

	p[0] = malloc(0);
	p[1] = malloc(0);
	p[2] = calloc(0, 8);
	p[3] = calloc(8, 0);
	p[4] = realloc(NULL, 0);
	p[5] = reallocarray(NULL, 0, 8);
	p[6] = aligned_alloc(64, 0);
	CHECK(posix_memalign(&p[7], 64, 0) == 0);
	p[8] = valloc(0);
	p[9] = pvalloc(0);
	distinct(p, COUNT(p));
	for (size_t i = 0; i < COUNT(p); i++)
		free(p[i]);
	free(NULL);
}

/* ---- alignment ---- */

static void
t81_every_block_is_aligned_to_16(void)
{
	for (size_t size = 0; size < 140000; size += 1 + size / 37) {
		void *p[3];

		p[0] = malloc(size);
		p[1] = calloc(1, size);
		p[2] = realloc(malloc(1), size + 1);
		distinct(p, COUNT(p));
		for (size_t i = 0; i < COUNT(p); i++) {
			CHECK(aligned(p[i], 16));
			free(p[i]);
		}
	}
}

static void
aligned_blocks_of(size_t align, size_t size)
{
	void *p[6] = {NULL};
	size_t n = 0;

	p[n++] = aligned_alloc(align, size);
	p[n++] = aligned_alloc(align, size);
	if (align >= sizeof(void *)) {
		CHECK(posix_memalign(&p[n++], align, size) == 0);
		CHECK(posix_memalign(&p[n++], align, size) == 0);
	}
	if (size != 0) {
		p[n++] = memalign(align, size);
		p[n++] = memalign(align, size);
	}
	distinct(p, n);
	for (size_t i = 0; i < n; i++) {
		CHECK(aligned(p[i], align));
		CHECK(malloc_usable_size(p[i]) >= size);
		fill(p[i], size, (int)i);
	}
	for (size_t i = 0; i < n; i++) {
		CHECK(filled(p[i], size, (int)i));
		free(p[i]);
	}
}

static void
an_aligned_block_is_aligned_for_every_power_of_two(void)
{
	for (size_t align = 1; align <= (size_t)64 << 20; align <<= 1) {
		for (size_t i = 0; i < COUNT(sizes); i++) {
			if (align == 4096 || sizes[i] < 300000)
				aligned_blocks_of(align, sizes[i]);
		}
	}
}

/* Four blocks of each size at a time, up to three times the alignment. */
static void
alignment_and_size_are_independent(void)
{
	for (size_t align = 8; align <= (size_t)16 << 20; align <<= 1) {
		for (size_t size = 1; size < 3 * align; size += align / 4 - 1) {
			char *p[4] = {NULL};

			p[0] = memalign(align, size);
			p[1] = aligned_alloc(align, size);
			CHECK(posix_memalign((void **)&p[2], align, size) == 0);
			p[3] = memalign(align, size);
			for (size_t i = 0; i < COUNT(p); i++) {
				CHECK(p[i] != NULL && aligned(p[i], align));
				CHECK(malloc_usable_size(p[i]) >= size);
				p[i][0] = (char)i;
				p[i][size - 1] = (char)i;
			}
			for (size_t i = 0; i < COUNT(p); i++) {
				CHECK(p[i][0] == (char)i);
				CHECK(p[i][size - 1] == (char)i);
				free(p[i]);
			}
		}
	}
}

static void
valloc_and_pvalloc_give_whole_pages(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	for (size_t i = 0; i < COUNT(sizes); i++) {
		void *v = valloc(sizes[i]), *pv = pvalloc(sizes[i]);

		CHECK(v != NULL && aligned(v, page));
		CHECK(pv != NULL && aligned(pv, page));
		CHECK(malloc_usable_size(v) >= sizes[i]);
		CHECK(malloc_usable_size(pv) >= page);
		CHECK(malloc_usable_size(pv) / page * page >= sizes[i]);
		free(pv);
		free(v);
	}
}

static void
t85_an_alignment_that_is_no_power_of_two_is_refused(void)
{
	/* Of a compiler that sees an alignment of 3, LLVM 14, this is the end. */
	static const volatile size_t bad[] = {
	    0, 3, 24, 48, 100, 4095, 4097, SIZE_MAX};
	int dummy;
	void *p = &dummy;

	for (size_t i = 0; i < COUNT(bad); i++) {
		errno = 0;
		CHECK(memalign(bad[i], 100) == NULL && errno == EINVAL);
		errno = 0;
		CHECK(aligned_alloc(bad[i], 96) == NULL && errno == EINVAL);
		errno = ERRNO_MARK;
		CHECK(posix_memalign(&p, bad[i], 100) == EINVAL);
		CHECK(p == &dummy && errno == ERRNO_MARK);
	}
	for (size_t align = 1; align < sizeof(void *); align <<= 1)
		CHECK(posix_memalign(&p, align, 100) == EINVAL);
	errno = 0;
	CHECK(memalign(64, 0) == NULL && errno == EINVAL);
}

/* ---- overflow ---- */

static void
nothing(const void *p)
{
	CHECK(p == NULL && errno == ENOMEM);
	errno = 0;
}

static void
t86_a_size_beyond_the_address_space_is_no_memory(void)
{
	errno = 0;
	for (size_t i = 0; i < COUNT(huge); i++) {
		int dummy;
		void *p = &dummy;

		nothing(malloc(huge[i]));
		nothing(calloc(1, huge[i]));
		nothing(calloc(huge[i], 1));
		nothing(realloc(NULL, huge[i]));
		nothing(reallocarray(NULL, 1, huge[i]));
		nothing(valloc(huge[i]));
		nothing(pvalloc(huge[i]));
		for (size_t align = 8; align <= 65536; align <<= 1) {
			nothing(memalign(align, huge[i]));
			nothing(aligned_alloc(align, huge[i]));
			errno = ERRNO_MARK;
			CHECK(posix_memalign(&p, align, huge[i]) == ENOMEM);
			CHECK(p == &dummy && errno == ERRNO_MARK);
		}
	}
}

/* The compiler must not see that it is too much. */
static volatile size_t most = SIZE_MAX;

/* Whatever the size is rounded up to, it does not wrap around to a small one. */
static void
t86_no_size_wraps_around(void)
{
	errno = 0;
	for (size_t back = 0; back < 40000; back++) {
		size_t size = most - back;

		nothing(malloc(size));
		nothing(calloc(1, size));
		nothing(realloc(NULL, size));
		nothing(valloc(size));
		nothing(pvalloc(size));
		nothing(aligned_alloc(64, size));
	}
	for (size_t align = 8; align <= (size_t)16 << 20; align <<= 1) {
		for (size_t back = 0; back < 4 * align; back += align / 8) {
			void *p = NULL;

			nothing(memalign(align, most - back));
			nothing(aligned_alloc(align, most / 2 - back));
			CHECK(posix_memalign(&p, align, most - back) == ENOMEM);
			CHECK(p == NULL && errno == 0);
		}
	}
}

static void
an_alignment_beyond_the_address_space_is_no_memory(void)
{
	const size_t top = SIZE_MAX / 2 + 1;
	int dummy;
	void *p = &dummy;

	errno = 0;
	for (size_t align = top; align >= (size_t)1 << 48; align >>= 1) {
		nothing(memalign(align, 1));
		nothing(aligned_alloc(align, align));
		nothing(aligned_alloc(align, align + 1));
		CHECK(posix_memalign(&p, align, 1) == ENOMEM && errno == 0);
	}
	CHECK(p == &dummy);
}

static void
a_product_that_overflows_is_no_memory(void)
{
	static const size_t pair[][2] = {{SIZE_MAX, 2}, {2, SIZE_MAX},
	    {SIZE_MAX, SIZE_MAX}, {SIZE_MAX / 2 + 1, 2}, {SIZE_MAX / 3 + 1, 3},
	    {(size_t)1 << 32, (size_t)1 << 32},
	    {((size_t)1 << 32) + 1, (size_t)1 << 32}, {(size_t)1 << 63, 2},
	    {16, SIZE_MAX / 16 + 1}};
	char *p = malloc(100);

	CHECK(p != NULL);
	memset(p, 'x', 100);
	errno = 0;
	for (size_t i = 0; i < COUNT(pair); i++) {
		nothing(calloc(pair[i][0], pair[i][1]));
		nothing(reallocarray(NULL, pair[i][0], pair[i][1]));
		nothing(reallocarray(p, pair[i][0], pair[i][1]));
	}
	for (size_t i = 0; i < 100; i++)
		CHECK(p[i] == 'x');
	free(p);
}

/* ---- errno ---- */

static void
t83_success_and_free_leave_errno_alone(void)
{
	void *p[COUNT(sizes)], *q[COUNT(sizes)];

	for (int round = 0; round < 3; round++) {
		errno = ERRNO_MARK;
		for (size_t i = 0; i < COUNT(sizes); i++) {
			p[i] = malloc(sizes[i]);
			q[i] = aligned_alloc(4096, sizes[i]);
			CHECK(p[i] != NULL && errno == ERRNO_MARK);
			CHECK(q[i] != NULL && errno == ERRNO_MARK);
		}
		for (size_t i = 0; i < COUNT(sizes); i++) {
			free(p[i]);
			CHECK(errno == ERRNO_MARK);
			free(q[i]);
			CHECK(errno == ERRNO_MARK);
		}
		free(NULL);
		(void)malloc_trim(0);
		CHECK(errno == ERRNO_MARK);
	}
}

/* ---- calloc ---- */

static void
zeroed_again(size_t size, bool trim)
{
	enum { BLOCKS = 40 };
	void *p[BLOCKS];
	size_t n = size > 100000 ? 2 : BLOCKS;

	for (size_t i = 0; i < n; i++) {
		p[i] = malloc(size);
		CHECK(p[i] != NULL);
		fill(p[i], malloc_usable_size(p[i]), 0xa5);
	}
	for (size_t i = 0; i < n; i++)
		free(p[i]);
	if (trim)
		(void)malloc_trim(0);
	for (size_t i = 0; i < n; i++) {
		p[i] = i % 2 == 0 ? calloc(1, size) : calloc(size, 1);
		CHECK(p[i] != NULL && filled(p[i], size, 0));
		fill(p[i], size, 0xa5);
	}
	for (size_t i = 0; i < n; i++)
		free(p[i]);
}

static void
calloc_gives_zeroes_from_recycled_memory_too(void)
{
	for (size_t i = 0; i < COUNT(sizes); i++) {
		zeroed_again(sizes[i], false);
		zeroed_again(sizes[i], true);
	}
}

/* ---- usable size ---- */

static void
usable(size_t size)
{
	enum { BLOCKS = 8 };
	size_t room[BLOCKS], n = size > 200000 ? 2 : BLOCKS;
	char *p[BLOCKS];

	for (size_t i = 0; i < n; i++) {
		p[i] = i == 5 ? aligned_alloc(64, size) : malloc(size);
		CHECK(p[i] != NULL);
		room[i] = malloc_usable_size(p[i]);
		CHECK(room[i] >= size);
		fill(p[i], room[i], (int)i + 1);
	}
	for (size_t i = 0; i < n; i++) {
		CHECK(filled(p[i], room[i], (int)i + 1));
		free(p[i]);
	}
}

static void
t89_every_usable_byte_belongs_to_one_block(void)
{
	CHECK(malloc_usable_size(NULL) == 0);
	for (size_t size = 0; size < 140000; size += 1 + size / 50)
		usable(size);
	for (size_t i = 0; i < COUNT(sizes); i++)
		usable(sizes[i]);
}

/* An eighth of the size, or what rounds up to 16 bytes, or to a page. */
static void
no_block_wastes_more_than_an_eighth(void)
{
	for (size_t size = 1; size < 3000000; size += 1 + size / 50) {
		void *p = malloc(size);
		size_t waste = malloc_usable_size(p) - size;

		CHECK(waste <= size / 8 || waste < 16 || waste < 16384);
		CHECK(waste <= size / 8 || waste < 16 || size > 131072);
		free(p);
	}
}

static const struct check table[] = {
    CHECK_THAT(t80_a_block_of_no_bytes_is_distinct_and_can_be_freed),
    CHECK_THAT(t81_every_block_is_aligned_to_16),
    CHECK_THAT(an_aligned_block_is_aligned_for_every_power_of_two),
    CHECK_THAT(alignment_and_size_are_independent),
    CHECK_THAT(valloc_and_pvalloc_give_whole_pages),
    CHECK_THAT(t85_an_alignment_that_is_no_power_of_two_is_refused),
    CHECK_THAT(t86_a_size_beyond_the_address_space_is_no_memory),
    CHECK_THAT(t86_no_size_wraps_around),
    CHECK_THAT(an_alignment_beyond_the_address_space_is_no_memory),
    CHECK_THAT(a_product_that_overflows_is_no_memory),
    CHECK_THAT(t83_success_and_free_leave_errno_alone),
    CHECK_THAT(calloc_gives_zeroes_from_recycled_memory_too),
    CHECK_THAT(t89_every_usable_byte_belongs_to_one_block),
    CHECK_THAT(no_block_wastes_more_than_an_eighth),
};

CHECK_MAIN(table)
