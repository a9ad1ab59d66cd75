/*
 * umem_firewall_test.c - objects that end where memory does.
 */
#include "umem/umem_debug.h"

#include "os/os.h"
#include "support/again.h"
#include "support/child.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/umem.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int
end(void **state)
{
	(void)state;
	failsys_reset();
	look_check();
	return (0);
}

static umem_cache_t *
cache(size_t size, size_t align, int cflags)
{
	umem_cache_t *cp = umem_cache_create("wall", size, align, NULL, NULL,
	    NULL, NULL, NULL, UMF_FIREWALL | cflags);

	assert_non_null(cp);
	return (cp);
}

static void
touch(void *p)
{
	*(volatile char *)p = 1;
}

static void
look(void *p)
{
	(void)*(volatile char *)p;
}

static void
expect_fault(void (*fn)(void *), const char *p)
{
	struct child c;

	child_run(&c, fn, (void *)(uintptr_t)p);
	if (c.c_signal != SIGSEGV)
		fail_msg("%p: signal %d", (const void *)p, c.c_signal);
}

static void
the_first_byte_past_an_object_faults(void **state)
{
	static const size_t sizes[] = {
	    8, 16, 64, 256, 4096, 4112, 8192, 20000, 131072, 1000000};
	(void)state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		umem_cache_t *cp = cache(sizes[i], 8, 0);
		char *p = umem_cache_alloc(cp, UMEM_DEFAULT);

		assert_non_null(p);
		memset(p, 1, sizes[i]);
		expect_fault(touch, p + sizes[i]);
		expect_fault(look, p + sizes[i]);
		umem_cache_free(cp, p);
		expect_fault(look, p);
		expect_fault(touch, p + sizes[i] - 1);
		umem_cache_destroy(cp);
	}
}

/* Then a few bytes past the end are memory: they are looked at by the free. */
static char *misaligned;
static umem_cache_t *misaligned_cache;

static void
write_past(void *arg)
{
	(void)arg;
	misaligned[100] = 1;
	umem_cache_free(misaligned_cache, misaligned);
}

static void
an_alignment_is_kept_and_what_it_leaves_is_guarded(void **state)
{
	(void)state;

	for (size_t align = 8; align <= os_page_size(); align *= 2) {
		umem_cache_t *cp = cache(100, align, 0);
		char *p = umem_cache_alloc(cp, UMEM_DEFAULT);

		assert_int_equal((uintptr_t)p % align, 0);
		expect_fault(touch, p + qr_roundup(100, align));
		misaligned = p;
		misaligned_cache = cp;
		child_expect_abort_like(
		    write_past, NULL, "umem allocator: redzone violation: *");
		umem_cache_free(cp, p);
		umem_cache_destroy(cp);
	}
}

static void
addresses_are_used_again_as_late_as_possible(void **state)
{
	umem_cache_t *cp = cache(100, 0, 0);
	char *first = umem_cache_alloc(cp, UMEM_DEFAULT);
	(void)state;

	umem_cache_free(cp, first);
	for (int i = 0; i < 1000; i++) {
		char *p = umem_cache_alloc(cp, UMEM_DEFAULT);

		assert_non_null(p);
		assert_ptr_not_equal(p, first);
		umem_cache_free(cp, p);
	}
	umem_cache_destroy(cp);
}

static void
an_object_takes_one_mapping_to_make_and_one_to_unmake(void **state)
{
	umem_cache_t *cp = cache(3000, 0, UMF_DEADBEEF | UMF_REDZONE);
	void *p = umem_cache_alloc(cp, UMEM_DEFAULT);
	(void)state;

	umem_cache_free(cp, p);
	failsys_reset();
	p = umem_cache_alloc(cp, UMEM_DEFAULT);
	assert_int_equal(failsys_calls(FAILSYS_MMAP), 1);
	umem_cache_free(cp, p);
	assert_int_equal(failsys_calls(FAILSYS_MMAP), 2);
	assert_int_equal(failsys_calls(FAILSYS_MPROTECT), 0);
	assert_int_equal(failsys_calls(FAILSYS_MUNMAP), 0);
	umem_cache_destroy(cp);
}

static int
ctor(void *buf, void *priv, int flags)
{
	(void)flags;
	memset(buf, 9, 50);
	++*(int *)priv;
	return (0);
}

static void
dtor(void *buf, void *priv)
{
	assert_int_equal(((char *)buf)[49], 9);
	--*(int *)priv;
}

static void
each_object_is_constructed_and_destroyed(void **state)
{
	int alive = 0;
	umem_cache_t *cp = umem_cache_create("wall", 50, 0, ctor, dtor, NULL,
	    &alive, NULL, UMF_FIREWALL | UMF_DEADBEEF | UMF_REDZONE);
	char *p = umem_cache_alloc(cp, UMEM_DEFAULT);
	(void)state;

	assert_int_equal(p[0], 9);
	assert_int_equal(alive, 1);
	umem_cache_free(cp, p);
	assert_int_equal(alive, 0);
	umem_cache_destroy(cp);
}

/* What the kernel will not take away is not handed out again. */
static void
memory_that_cannot_be_taken_away_is_lost_and_nothing_else(void **state)
{
	umem_cache_t *cp = cache(100, 0, 0);
	char *p = umem_cache_alloc(cp, UMEM_DEFAULT);
	(void)state;

	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	umem_cache_free(cp, p);
	assert_null(umem_cache_alloc(cp, UMEM_DEFAULT));
	failsys_reset();
	p = umem_cache_alloc(cp, UMEM_DEFAULT);
	assert_non_null(p);
	umem_cache_free(cp, p);
	umem_cache_destroy(cp);
}

/* What is in front of an object is its memory, and no object. */
static void
free_in_front(void *arg)
{
	umem_cache_t *cp = cache(100, 8, 0);
	char *p = umem_cache_alloc(cp, UMEM_DEFAULT);

	(void)arg;
	umem_cache_free(cp, p - 16);
}

static void
an_address_in_front_of_an_object_is_none(void **state)
{
	(void)state;
	child_expect_abort_like(free_in_front, NULL,
	    "umem allocator: invalid free: buffer not in *");
}

/* ---- by the environment ---- */

static void
fault_past_what_was_asked_for(void)
{
	char *p = umem_alloc(1040, UMEM_DEFAULT);

	CHILD_CHECK(p != NULL);
	memset(p, 1, 1040);
	(void)dprintf(2, "ready\n");
	touch(p + 1040);
}

static void
below_the_threshold_there_is_no_firewall(void)
{
	char *p = umem_alloc(96, UMEM_DEFAULT);
	char *q = umem_alloc(96, UMEM_DEFAULT);

	CHILD_CHECK(p != NULL && q != NULL);
	touch(p + 96);
	umem_free(p, 96);
}

static void
every_size_ends_at_its_page(void)
{
	for (size_t size = 1; size <= 131072; size += 1 + size / 32) {
		char *p = umem_zalloc(size, UMEM_DEFAULT);
		size_t align = size <= 8 ? 8 : 16;

		CHILD_CHECK(p != NULL);
		CHILD_CHECK(
		    (uintptr_t)(p + qr_roundup(size, align)) % 4096 == 0);
		CHILD_CHECK(size % 64 != 0 || (uintptr_t)p % 64 == 0);
		memset(p, 1, size);
		umem_free(p, size);
	}
}

static void
the_threshold_is_honoured_and_the_size_asked_for_ends_at_the_page(void **state)
{
	struct again_run past = {"past", {"UMEM_DEBUG=firewall=1024"}};
	struct again_run below = {"below", {"UMEM_DEBUG=firewall=1024"}};
	struct again_run every = {"every", {"UMEM_DEBUG=guards,firewall=1"}};
	struct child c;
	(void)state;

	child_run(&c, again_exec, &past);
	assert_int_equal(c.c_signal, SIGSEGV);
	assert_string_equal(c.c_stderr, "ready\n");
	child_run(&c, again_exec, &below);
	assert_int_equal(c.c_signal, 0);
	child_run(&c, again_exec, &every);
	if (c.c_signal != 0 || c.c_status != 0)
		fail_msg("signal %d: %s", c.c_signal, c.c_stderr);
}

#define TEST(test) cmocka_unit_test_teardown(test, end)

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"past", fault_past_what_was_asked_for},
	    {"below", below_the_threshold_there_is_no_firewall},
	    {"every", every_size_ends_at_its_page},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    TEST(the_first_byte_past_an_object_faults),
	    TEST(an_alignment_is_kept_and_what_it_leaves_is_guarded),
	    cmocka_unit_test_teardown(
		an_address_in_front_of_an_object_is_none, end),
	    TEST(addresses_are_used_again_as_late_as_possible),
	    TEST(an_object_takes_one_mapping_to_make_and_one_to_unmake),
	    TEST(each_object_is_constructed_and_destroyed),
	    TEST(memory_that_cannot_be_taken_away_is_lost_and_nothing_else),
	    TEST(
		the_threshold_is_honoured_and_the_size_asked_for_ends_at_the_page),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
