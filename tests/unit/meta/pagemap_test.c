/*
 * pagemap_test.c - what the page map says of any address, and its window where
 * address space is short.
 */
#define _GNU_SOURCE 1 /* personality */

#include "meta/pagemap.h"

#include "os/os.h"
#include "support/again.h"
#include "support/child.h"

#include <quarry/umem.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)

/* Addresses that nothing was ever described at. */
static const uintptr_t foreign[] = {
    0,
    1,
    4095,
    (uintptr_t)1 << (OS_ADDRESS_BITS - 1),
    ((uintptr_t)1 << OS_ADDRESS_BITS) - 1,
    (uintptr_t)1 << OS_ADDRESS_BITS,
    ((uintptr_t)1 << 52) - 1,
    (uintptr_t)1 << 52,
    (uintptr_t)1 << 63,
    UINTPTR_MAX - PAGEMAP_PAGE,
    UINTPTR_MAX,
};

static void
an_address_that_was_not_described_is_unknown(void **state)
{
	int on_the_stack = 0;
	char *mapped = mmap(NULL, 2 * PAGEMAP_PAGE, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)state;

	assert_ptr_not_equal(mapped, MAP_FAILED);
	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		assert_int_equal(pagemap_get((void *)foreign[i]), 0);
	assert_int_equal(pagemap_get(&on_the_stack), 0);
	assert_int_equal(pagemap_get(foreign), 0);
	assert_int_equal(pagemap_get(mapped), 0);
	assert_int_equal(munmap(mapped, 2 * PAGEMAP_PAGE), 0);
}

/* An address no kernel gives away, in the middle of user space. */
static char *
quiet_place(void)
{
	return ((char *)((uintptr_t)1 << (OS_ADDRESS_BITS - 1)));
}

static void
what_user_space_has_not_cannot_be_described(void **state)
{
	(void)state;

	assert_false(pagemap_covers(NULL, (size_t)1 << 60));
	assert_false(pagemap_admit((void *)((uintptr_t)1 << 60), 4096));
}

static void
a_word_is_read_back_from_each_byte_of_its_pages_and_no_other(void **state)
{
	char *p = quiet_place();
	size_t size = 3 * PAGEMAP_PAGE;
	uint64_t word = pagemap_word(&foreign, 42);
	(void)state;

	if (!pagemap_admit(p, size))
		skip();
	pagemap_set(p, size, word);
	for (size_t off = 0; off < size; off += PAGEMAP_PAGE / 2) {
		assert_int_equal(pagemap_get(p + off), word);
		assert_int_equal(
		    pagemap_get(p + off + PAGEMAP_PAGE / 2 - 1), word);
		assert_int_equal(word & 0xffff, 42);
	}
	assert_int_equal(pagemap_get(p - 1), 0);
	assert_int_equal(pagemap_get(p + size), 0);

	pagemap_set(p + PAGEMAP_PAGE, PAGEMAP_PAGE, 0);
	assert_int_equal(pagemap_get(p + PAGEMAP_PAGE - 1), word);
	assert_int_equal(pagemap_get(p + PAGEMAP_PAGE), 0);
	assert_int_equal(pagemap_get(p + 2 * PAGEMAP_PAGE), word);
	pagemap_set(p, size, 0);
	assert_int_equal(pagemap_get(p), 0);
	assert_int_equal(pagemap_get(p + size - 1), 0);
}

static void
a_word_keeps_the_highest_descriptor_and_the_highest_slot(void **state)
{
	void *top = (void *)(((uintptr_t)1 << OS_ADDRESS_BITS) - 64);
	uint64_t word = pagemap_word(top, 65535);
	(void)state;

	assert_ptr_equal(pagemap_descriptor(word), top);
	assert_int_equal(word & 0xffff, 65535);
	assert_null(pagemap_descriptor(0));
}

static void
the_window_is_all_of_user_space_unless_that_is_limited(void **state)
{
	(void)state;

	if (os_address_space_limit() != SIZE_MAX ||
	    pagemap__table.pm_count <
		((uintptr_t)1 << OS_ADDRESS_BITS) / PAGEMAP_PAGE)
		skip();
	assert_true(pagemap_covers(NULL, (size_t)1 << OS_ADDRESS_BITS));
	assert_false(pagemap_covers(NULL, ((size_t)1 << OS_ADDRESS_BITS) + 1));
	assert_false(
	    pagemap_covers((void *)((uintptr_t)1 << OS_ADDRESS_BITS), 1));
	assert_false(pagemap_covers((void *)(UINTPTR_MAX - 1), 1));
	assert_true(
	    pagemap_covers((void *)(((uintptr_t)1 << OS_ADDRESS_BITS) - 1), 1));
}

/* Of 128 GiB of table, as good as nothing is resident. */
static void
a_table_costs_memory_only_where_it_is_written(void **state)
{
	size_t bytes = pagemap__table.pm_count * sizeof(uint64_t);
	size_t page = os_page_size(), resident = 0;
	unsigned char vec[1];
	(void)state;

	for (size_t i = 0; i < 1024; i++) {
		size_t off = bytes / 1024 * i / page * page;

		assert_int_equal(
		    mincore((char *)pagemap__table.pm_word + off, page, vec),
		    0);
		resident += vec[0] & 1;
	}
	assert_in_range(resident, 0, 16);
}

/* ---- little address space ---- */

enum { BLOCKS_MAX = 40000 };
static void *blocks[BLOCKS_MAX];

/* Blocks of `size` bytes, all written, until there are no more. */
static size_t
exhaust(size_t size)
{
	size_t n = 0;

	while (n < BLOCKS_MAX && (blocks[n] = umem_alloc(size, 0)) != NULL) {
		memset(blocks[n], 0x5a, size < 4096 ? size : 4096);
		CHILD_CHECK(size > 131072 || pagemap_get(blocks[n]) != 0);
		n++;
	}
	return (n);
}

static void
give_back(size_t n, size_t size)
{
	for (size_t i = 0; i < n; i++)
		umem_free(blocks[i], size);
}

/* Runs with RLIMIT_AS from its first instruction on. */
static void
live_within_the_limit(void)
{
	static const size_t sizes[] = {200000, 1000000, 5000};
	size_t limit = os_address_space_limit();

	CHILD_CHECK(limit < 8 * GIB);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t most = limit / 2 / sizes[i];
		size_t n = exhaust(sizes[i]), again;

		CHILD_CHECK(n == BLOCKS_MAX || n >= most);
		give_back(n, sizes[i]);
		again = exhaust(sizes[i]);
		CHILD_CHECK(again == BLOCKS_MAX || again >= n - n / 10);
		give_back(again, sizes[i]);
	}
}

struct limited {
	size_t l_bytes;
	unsigned long l_personality;
};

static void
limit_and_exec(void *arg)
{
	static struct again_run run = {"live_within_the_limit", {NULL}};
	const struct limited *l = arg;
	struct rlimit rl = {l->l_bytes, l->l_bytes};

	if (l->l_personality != 0 && personality(l->l_personality) == -1)
		_exit(0);
	CHILD_CHECK(setrlimit(RLIMIT_AS, &rl) == 0);
	again_exec(&run);
}

/* Sanitizers map terabytes before main(), and Valgrind wants its own. */
static bool
can_be_limited(void)
{
	const char *preload = getenv("LD_PRELOAD");
	char text[64] = {0};
	int fd = open("/proc/self/statm", O_RDONLY);
	bool ok = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
	    (preload == NULL || strstr(preload, "vgpreload") == NULL);

	(void)close(fd);
	return (
	    ok && strtoul(text, NULL, 10) < ((size_t)1 << 40) / os_page_size());
}

static void
memory_is_found_and_known_under_any_limit_on_address_space(void **state)
{
	static const size_t limits[] = {32, 64, 96, 128, 500};
	size_t n = getenv("QR_TEST_QUICK") != NULL ? 2 : 5;
	(void)state;

	if (!can_be_limited())
		skip();
	for (size_t i = 0; i < n; i++) {
		struct limited l = {limits[i] * MIB, 0};

		child_expect_exit(limit_and_exec, &l, 0);
	}
}

/* As without overcommit, nothing is counted but what can be written. */
static void
live_within_the_limit_on_data(void)
{
	struct rlimit rl;
	size_t n;

	CHILD_CHECK(getrlimit(RLIMIT_DATA, &rl) == 0);
	CHILD_CHECK(pagemap_covers(NULL, (size_t)1 << OS_ADDRESS_BITS));
	n = exhaust(MIB);
	CHILD_CHECK(n < rl.rlim_cur / MIB && n > rl.rlim_cur / MIB / 2);
	give_back(n, MIB);
	CHILD_CHECK(exhaust(MIB) > n - n / 10);
}

static void
limit_data_and_exec(void *arg)
{
	static struct again_run run = {"live_within_the_limit_on_data", {NULL}};
	const size_t *limit = arg;
	struct rlimit rl = {*limit, *limit};

	CHILD_CHECK(setrlimit(RLIMIT_DATA, &rl) == 0);
	again_exec(&run);
}

static void
a_limit_on_data_leaves_the_window_whole_and_is_for_blocks(void **state)
{
	static size_t limits[] = {64 * MIB, 5 * GIB};
	(void)state;

	if (!can_be_limited() || pagemap__table.pm_whole == 0)
		skip();
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
		child_expect_exit(limit_data_and_exec, &limits[i], 0);
}

static void
the_window_is_where_the_kernel_maps_whatever_the_layout(void **state)
{
	static const unsigned long layouts[] = {
	    ADDR_NO_RANDOMIZE,
	    ADDR_COMPAT_LAYOUT,
	    ADDR_COMPAT_LAYOUT | ADDR_NO_RANDOMIZE,
	};
	(void)state;

	if (!can_be_limited())
		skip();
	for (size_t i = 0; i < sizeof(layouts) / sizeof(layouts[0]); i++) {
		struct limited l = {256 * MIB, layouts[i]};

		child_expect_exit(limit_and_exec, &l, 0);
	}
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"live_within_the_limit", live_within_the_limit},
	    {"live_within_the_limit_on_data", live_within_the_limit_on_data},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_address_that_was_not_described_is_unknown),
	    cmocka_unit_test(what_user_space_has_not_cannot_be_described),
	    cmocka_unit_test(
		a_word_is_read_back_from_each_byte_of_its_pages_and_no_other),
	    cmocka_unit_test(
		a_word_keeps_the_highest_descriptor_and_the_highest_slot),
	    cmocka_unit_test(
		the_window_is_all_of_user_space_unless_that_is_limited),
	    cmocka_unit_test(a_table_costs_memory_only_where_it_is_written),
	    cmocka_unit_test(
		memory_is_found_and_known_under_any_limit_on_address_space),
	    cmocka_unit_test(
		a_limit_on_data_leaves_the_window_whole_and_is_for_blocks),
	    cmocka_unit_test(
		the_window_is_where_the_kernel_maps_whatever_the_layout),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
