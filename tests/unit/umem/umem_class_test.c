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

/* The smallest class for it, by looking at all of them; 0: there is none. */
static size_t
smallest(size_t size, size_t align)
{
	size_t least = 0;

	for (size_t s = UMEM_SLOT_8 + 1; s < UMEM_CLASS_SLOTS; s++) {
		size_t class_size = umem__classes.cl_size[s];

		if (class_size != 0 && class_size >= size &&
		    class_size % align == 0 &&
		    (least == 0 || class_size < least))
			least = class_size;
	}
	return (least);
}

/* What malloc asks for an alignment. */
static void
alignments(void)
{
	CHILD_CHECK(comes_from(8, 8));
	for (size_t align = 16; align <= 16384; align *= 2) {
		for (size_t size = 0; size <= 131072; size += 1 + size / 99) {
			size_t off = umem__off_find_aligned(size, align);

			CHILD_CHECK(
			    umem__off_size(off) == smallest(size, align));
			CHILD_CHECK(align > umem__classes.cl_align ||
			    umem__off_aligned(size, align) == off);
			off = umem__off_find(size);
			CHILD_CHECK(umem__off_of(size) == off);
		}
	}
}

/* None is so far up that malloc has to look for it. */
static void
nearby(void)
{
	CHILD_CHECK(umem__off_find(1) != 0);
	CHILD_CHECK(umem__classes.cl_align == 16384);
	alignments();
}

static void
the_smallest_class_is_found_for_every_alignment(void **state)
{
	(void)state;
	holds("alignments", "UMEM_OPTIONS=");
	holds("nearby", "UMEM_OPTIONS=");
	holds(
	    "alignments", "UMEM_OPTIONS=size_clear,size_add=48,size_add=4096");
}

/* ---- as many as there can be ---- */

static void
of_all(void)
{
	alignments();
	for (size_t size = 16; size <= 131072; size += 16) {
		void *p = umem_alloc(size, UMEM_DEFAULT);

		CHILD_CHECK(p != NULL);
		umem_free(p, size);
	}
	umem_reap();
}

/* 8 and 131072 are there; what is one too many is said so. */
static void
there_may_be_160_classes(void **state)
{
	char options[160 * 16] = "UMEM_OPTIONS=size_clear";
	size_t at = strlen(options);
	struct again_run run = {"all", {options}};
	struct child c;

	(void)state;
	for (size_t i = 1; i <= UMEM_CLASSES_MAX - 2; i++)
		at += (size_t)snprintf(options + at, sizeof(options) - at,
		    ",size_add=%zu", 144 * i);
	holds("all", options);
	(void)snprintf(options + at, sizeof(options) - at, ",size_add=64");
	child_run(&c, again_exec, &run);
	assert_non_null(strstr(c.c_stderr, "too many sizes"));
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"default", by_default},
	    {"cleared", cleared},
	    {"chosen", chosen},
	    {"one", one_more_and_one_less},
	    {"alignments", alignments},
	    {"nearby", nearby},
	    {"all", of_all},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_size_is_served_by_the_next_larger_class),
	    cmocka_unit_test(
		classes_are_cleared_added_and_removed_in_the_order_of_the_options),
	    cmocka_unit_test(the_smallest_class_is_found_for_every_alignment),
	    cmocka_unit_test(there_may_be_160_classes),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
