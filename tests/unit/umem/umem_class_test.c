/*
 * umem_class_test.c - the sizes that memory of any size is served from.
 */
#include "umem/umem_class.h"

#include "support/again.h"
#include "support/child.h"
#include "support/umem_look.h"

#include <quarry/umem.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A block of `size` bytes, which comes from umem_alloc_<from>. */
static bool
comes_from(size_t size, size_t from)
{
	char name[32];
	struct umem_stat before = {.us_inuse = 0}, after;
	void *p;

	(void)snprintf(name, sizeof(name), "umem_alloc_%zu", from);
	(void)look_cache(name, &before);
	p = umem_alloc(size, UMEM_DEFAULT);
	CHILD_CHECK(p != NULL);
	memset(p, 1, size);
	CHILD_CHECK(look_cache(name, &after));
	umem_free(p, size);
	return (after.us_inuse == before.us_inuse + 1);
}

static void
by_default(void)
{
	CHILD_CHECK(comes_from(8, 8) && comes_from(9, 16));
	CHILD_CHECK(comes_from(100, 112) && comes_from(112, 112));
	CHILD_CHECK(comes_from(129, 144) && comes_from(1000, 1024));
	CHILD_CHECK(comes_from(131072, 131072));
}

static void
cleared(void)
{
	CHILD_CHECK(comes_from(8, 8) && comes_from(9, 131072));
	CHILD_CHECK(comes_from(131072, 131072));
}

static void
chosen(void)
{
	CHILD_CHECK(comes_from(8, 8) && comes_from(9, 112));
	CHILD_CHECK(comes_from(112, 112) && comes_from(113, 1008));
	CHILD_CHECK(comes_from(1008, 1008) && comes_from(1009, 131072));
}

static void
one_more_and_one_less(void)
{
	CHILD_CHECK(comes_from(100, 128) && comes_from(128, 128));
	CHILD_CHECK(comes_from(961, 1008) && comes_from(1009, 1024));
}

static void
holds(const char *part, const char *options)
{
	struct again_run run = {part, {options}};
	struct child c;

	child_run(&c, again_exec, &run);
	if (c.c_signal != 0 || c.c_status != 0)
		fail_msg("%s: signal %d, status %d: %s", part, c.c_signal,
		    c.c_status, c.c_stderr);
	assert_string_equal(c.c_stderr, "");
}

static void
a_size_is_served_by_the_next_larger_class(void **state)
{
	(void)state;
	holds("default", "UMEM_OPTIONS=");
}

static void
classes_are_cleared_added_and_removed_in_the_order_of_the_options(void **state)
{
	(void)state;
	holds("cleared", "UMEM_OPTIONS=size_add=1000,size_clear");
	holds("chosen",
	    "UMEM_OPTIONS=size_clear,size_add=1000,size_add=100,size_add=64,"
	    "size_remove=64");
	holds("one", "UMEM_OPTIONS=size_remove=112,size_add=1001");
}

/* What malloc asks for an alignment. */
static void
a_class_can_be_found_for_every_alignment(void **state)
{
	(void)state;

	for (size_t align = 16; align <= 16384; align *= 2) {
		for (size_t size = 1; size <= 131072; size += 1 + size / 5) {
			size_t got = umem__class_aligned(size, align);
			size_t off = umem__off_of(got);
			size_t class_size =
			    umem__classes
				.cl_size[off / sizeof(struct percpu_slot)];

			assert_true(got >= size && got < size + align);
			assert_int_equal(class_size % align, 0);
		}
	}
	assert_int_equal(umem__class_aligned(131072, 16384), 131072);
	assert_true(umem__class_aligned(131073, 16384) > 131072);
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"default", by_default},
	    {"cleared", cleared},
	    {"chosen", chosen},
	    {"one", one_more_and_one_less},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_size_is_served_by_the_next_larger_class),
	    cmocka_unit_test(
		classes_are_cleared_added_and_removed_in_the_order_of_the_options),
	    cmocka_unit_test(a_class_can_be_found_for_every_alignment),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
