/*
 * client_report_test.c - malloc types and pools in the statistics, and pictures
 * of pools.
 */
#define _GNU_SOURCE 1 /* memfd_create */

#include "unit/contig/contig_test.h"

#include "support/failsys.h"
#include "support/json.h"

#include <sys/mman.h>
#include <unistd.h>

enum { TEXT_MAX = 1 << 20 };

static char text[TEXT_MAX];

static MALLOC_DEFINE(M_RING, "ring \"1\"", "a name that must be quoted");
static MALLOC_DEFINE(M_NEVER, "never", "is not used");

/* What was written to fd, in text[]. */
static void
read_back(int fd)
{
	ssize_t n = pread(fd, text, TEXT_MAX - 1, 0);

	assert_in_range(n, 1, TEXT_MAX - 2);
	text[n] = '\0';
	assert_int_equal(close(fd), 0);
}

static void
picture(physpool_t *pool, const char *format)
{
	int fd = memfd_create("picture", MFD_CLOEXEC);

	assert_int_equal(physpool_map_write(pool, fd, format), 0);
	read_back(fd);
}

static void
statistics(const char *format)
{
	int fd = memfd_create("statistics", MFD_CLOEXEC);

	assert_int_equal(quarry_stats_write(fd, format), 0);
	read_back(fd);
}

static void
expect(const char *what)
{
	if (strstr(text, what) == NULL)
		fail_msg("no \"%s\" in\n%s", what, text);
}

static size_t
count(const char *what)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
		n++;
	return (n);
}

/* Two pages of one type, four of another, and a request in a window. */
static physpool_t *
known_pool(void *block[2])
{
	struct physpool_attr attr = {
	    .name = "known <pool>", .base = 0x100000, .size = 64 * PAGE};
	physpool_t *pool = pool_of(&attr);

	block[0] =
	    contigmalloc_pool(pool, 2 * PAGE, M_RING, 0, 0, NO_LIMIT, 1, 0);
	block[1] = contigmalloc_pool(
	    pool, 4 * PAGE, M_TEMP, 0, 0x110000, 0x120000, 1, 0x8000);
	assert_non_null(block[0]);
	assert_non_null(block[1]);
	return (pool);
}

static void
known_done(physpool_t *pool, void *block[2])
{
	kfree(block[0], M_RING);
	kfree(block[1], M_TEMP);
	pool_done(pool);
}

static void
a_picture_in_text_has_a_letter_for_each_type_and_the_last_window(void **state)
{
	void *block[2];
	physpool_t *pool = known_pool(block);
	(void)state;

	picture(pool, "text");
	expect("known <pool>: 256 KiB in 1 span, quantum 4 KiB\n");
	expect(" a temp: 16 KiB in 1 segment\n");
	expect(" b ring \"1\": 8 KiB in 1 segment\n");
	expect(" | the last request was for 0x110000 to 0x11ffff, boundary "
	       "32 KiB\n");
	/* 64 pages in a row: 28 free, 4, 30 free, 2. */
	expect("0x100000|............................aaaa.................."
	       "............bb\n");
	known_done(pool, block);
}

static void
a_picture_in_json_names_the_owner_of_each_block(void **state)
{
	void *block[2];
	physpool_t *pool = known_pool(block);
	(void)state;

	picture(pool, "json");
	assert_true(json_valid(text));
	expect("{\"name\":\"known <pool>\",\"unit\":\"bytes\"");
	expect("\"window\":[1114112,1179647],\"boundary\":32768,");
	expect("{\"start\":1163264,\"size\":16384,\"allocated\":true,"
	       "\"owner\":\"temp\"}");
	expect("{\"start\":1302528,\"size\":8192,\"allocated\":true,"
	       "\"owner\":\"ring \\\"1\\\"\"}");
	assert_int_equal(count("\"allocated\":false}"), 2);
	known_done(pool, block);
}

static void
a_picture_in_svg_has_colours_a_pale_outside_and_boundaries(void **state)
{
	void *block[2];
	physpool_t *pool = known_pool(block);
	(void)state;

	picture(pool, "svg");
	expect("known &#60;pool&#62;");
	expect("ring &#34;1&#34; 8 KiB</text>");
	expect("temp 16 KiB</text>");
	/* A block, and its square in the legend. */
	assert_int_equal(count("<rect class=\"o0\""), 2);
	assert_int_equal(count("<rect class=\"o1\""), 2);
	expect("(16 KiB) of temp</title>");
	/* Before and after the window; 8 multiples of the boundary. */
	assert_int_equal(count("<rect class=\"d\""), 2);
	assert_int_equal(count("<line class=\"g\""), 8);
	known_done(pool, block);
}

static void
a_part_of_a_pool_outside_of_the_window_is_pale(void **state)
{
	static const vm_paddr_t paddrs[] = {0x100000, 0x900000};
	struct physpool_attr attr = {.name = "parts",
	    .size = 64 * PAGE,
	    .paddrs = paddrs,
	    .paddrs_piece = 32 * PAGE};
	physpool_t *pool = pool_of(&attr);
	vm_paddr_t pa = get(pool, PAGE, 0x900000, NO_LIMIT, 1, 0);
	(void)state;

	assert_true(pa != NOWHERE);
	picture(pool, "svg");
	assert_int_equal(count("<rect class=\"d\""), 1);
	put(pool, pa, PAGE);
	pool_done(pool);
}

static void
what_nobody_has_is_free_in_a_picture_and_what_is_reserved_is_not(void **state)
{
	physpool_t *pool = pool_make(0, 64 * PAGE);
	(void)state;

	put(pool, get_any(pool, PAGE), PAGE);
	picture(pool, "json");
	assert_int_equal(count("\"allocated\":true"), 0);
	assert_int_equal(physpool_reserve(pool, PAGE, 0, NO_LIMIT, 1, 0, 3), 0);
	picture(pool, "json");
	assert_int_equal(count("\"owner\":\"reserved\""), 3);
	pool_done(pool);
}

static void
the_types_beyond_the_colours_are_one(void **state)
{
	enum { TYPES = 10 };
	physpool_t *pool = pool_make(0, 64 * PAGE);
	struct malloc_type *type[TYPES] = {NULL};
	void *p[TYPES];
	(void)state;

	for (size_t i = 0; i < TYPES; i++) {
		char name[] = "type ?";

		name[5] = (char)('0' + i);
		kmalloc_create(&type[i], name);
		p[i] = contigmalloc_pool(
		    pool, PAGE, type[i], 0, 0, NO_LIMIT, 1, 0);
	}
	picture(pool, "json");
	assert_int_equal(count("\"owner\":\"others\""), 3);
	assert_int_equal(count("\"owner\":\"type "), 7);
	for (size_t i = 0; i < TYPES; i++) {
		contigfree(p[i], PAGE, type[i]);
		kmalloc_destroy(&type[i]);
	}
	pool_done(pool);
}

static void
a_pool_of_many_blocks_is_shown_whole(void **state)
{
	enum { PAGES = 20000 };
	physpool_t *pool = pool_make(0, (size_t)PAGES * PAGE);
	size_t n = 0;
	(void)state;

	while (n < 3000 && get_any(pool, PAGE) != NOWHERE)
		n++;
	picture(pool, "json");
	assert_true(json_valid(text));
	assert_int_equal(count("\"allocated\":true"), n);
	while (n < 5000 && get_any(pool, PAGE) != NOWHERE)
		n++;
	picture(pool, "json");
	assert_true(json_valid(text));
	assert_int_equal(count("\"allocated\":true"), n);
	for (size_t i = 1; i <= n; i++)
		put(pool, (PAGES - i) * PAGE, PAGE);
	pool_done(pool);
}

static void
a_picture_that_cannot_be_written_says_why(void **state)
{
	physpool_t *pool = pool_make(0, 64 * PAGE);
	(void)state;

	assert_int_equal(physpool_map_write(pool, 1, "png"), EINVAL);
	assert_int_equal(physpool_map_write(pool, 1, NULL), EINVAL);
	assert_int_equal(physpool_map_write(pool, -1, "svg"), EBADF);
	failsys_reset();
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	assert_int_equal(physpool_map_write(pool, -1, "svg"), ENOMEM);
	failsys_reset();
	pool_done(pool);
}

/* ---- statistics ---- */

static void
types_are_in_the_statistics_in_every_format(void **state)
{
	void *a = kmalloc(100, M_RING, M_WAITOK);
	void *b = kmalloc(5000, M_RING, M_WAITOK);
	char want[200];
	struct malloc_type_stats st;
	(void)state;

	assert_int_equal(malloc_type_set_limit(M_RING, 8192), 0);
	assert_null(kmalloc(6000, M_RING, M_NOWAIT));
	st = stats_of(M_RING);

	statistics("text");
	expect("\nmalloc type                 in use     memory    highest     "
	       "requests   fails     limit  sizes\n");
	(void)snprintf(want, sizeof(want),
	    "\n%-24s %9d %9dK %9lluK %12llu %7llu %8dK  128,8192\n",
	    "ring \"1\"", 2, 6, (unsigned long long)(st.highuse + 1023) / 1024,
	    (unsigned long long)st.requests, (unsigned long long)st.failed, 8);
	expect(want);
	assert_int_equal(count("never"), 0);

	statistics("json");
	assert_true(json_valid(text));
	expect("{\"name\":\"ring \\\"1\\\"\",\"id\":");
	expect("\"inuse\":2,\"memuse\":5232,");
	expect("\"limit\":8192,\"sizes\":520,\"registered\":true}");

	statistics("openmetrics");
	expect("# TYPE quarry_malloc_type_requests counter\n");
	expect("quarry_malloc_type_bytes{type=\"ring \\\"1\\\"\",id=\"");
	expect("\"} 5232\n");
	assert_string_equal(text + strlen(text) - 6, "# EOF\n");
	assert_int_equal(count("# TYPE quarry_malloc_type_"), 6);

	kmalloc_set_unlimited(M_RING);
	kfree(a, M_RING);
	kfree(b, M_RING);
}

static void
pools_are_in_the_statistics(void **state)
{
	void *block[2];
	physpool_t *pool, *other = pool_make(0, 64 * PAGE);
	(void)state;

	/* What is in hand counts as free. */
	put(other, get_any(other, PAGE), PAGE);
	pool = known_pool(block);
	statistics("text");
	expect("\nknown <pool>: 256 KiB in 1 span");
	expect("\ntest: 256 KiB in 1 span");
	statistics("json");
	assert_true(json_valid(text));
	expect("\"pools\":[{\"name\":\"test\"");
	expect("{\"name\":\"test\",\"id\":");
	expect("\"quantum\":4096,\"inuse\":0,\"total\":262144");
	known_done(pool, block);
	pool_done(other);
}

static void
nothing_is_said_of_types_and_pools_that_are_not_there(void **state)
{
	(void)state;
	statistics("json");
	assert_true(json_valid(text));
	expect("\"malloc_types\":[],");
	expect("\"pools\":[]}");
	statistics("text");
	assert_int_equal(count("malloc type"), 0);
	statistics("openmetrics");
	assert_int_equal(count("quarry_malloc_type_bytes{"), 0);
	assert_int_equal(malloc_type_register(M_NEVER), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		nothing_is_said_of_types_and_pools_that_are_not_there),
	    cmocka_unit_test(
		a_picture_in_text_has_a_letter_for_each_type_and_the_last_window),
	    cmocka_unit_test(a_picture_in_json_names_the_owner_of_each_block),
	    cmocka_unit_test(
		a_picture_in_svg_has_colours_a_pale_outside_and_boundaries),
	    cmocka_unit_test(a_part_of_a_pool_outside_of_the_window_is_pale),
	    cmocka_unit_test(
		what_nobody_has_is_free_in_a_picture_and_what_is_reserved_is_not),
	    cmocka_unit_test(the_types_beyond_the_colours_are_one),
	    cmocka_unit_test(a_pool_of_many_blocks_is_shown_whole),
	    cmocka_unit_test(a_picture_that_cannot_be_written_says_why),
	    cmocka_unit_test(types_are_in_the_statistics_in_every_format),
	    cmocka_unit_test(pools_are_in_the_statistics),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
