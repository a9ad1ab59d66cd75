/*
 * id_space_test.c - each broken contract of id_space dies with its message; and
 * what happens when a panic hook returns.
 */
#include "support/child.h"
#include "vmem/vmem_private.h"

#include <quarry/id_space.h>
#include <quarry/quarry.h>

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NO_ID ((id_t)-1)

static id_space_t *space;

static void
do_free(void *id)
{
	id_free(space, *(id_t *)id);
}

static void
expect_bad_free(id_t id, const char *why)
{
	char message[128];

	(void)snprintf(message, sizeof(message),
	    "id_free('labels', %d): bad free: %s", (int)id, why);
	child_expect_abort(do_free, &id, message);
}

static void
t44_freeing_what_is_not_allocated_is_fatal(void **state)
{
	(void)state;

	expect_bad_free(10, "not allocated");
	assert_int_equal(id_alloc_specific(space, 10), 10);
	assert_int_equal(id_alloc_specific(space, 5000), 5000);
	id_free(space, 10);
	expect_bad_free(10, "not allocated");
	expect_bad_free(4999, "not allocated"); /* beside one that is */
	expect_bad_free(9, "not of this space");
	expect_bad_free(20000, "not of this space");
	expect_bad_free(INT_MAX, "not of this space");
	expect_bad_free(NO_ID, "not of this space");
	id_free(space, 5000);
}

static void
freeing_what_rests_is_fatal(void **state)
{
	(void)state;

	assert_int_equal(id_alloc_specific(space, 11), 11);
	assert_int_equal(id_space_set_cooldown(space, UINT_MAX), 0);
	id_free(space, 11);
	expect_bad_free(11, "freed already, and at rest");
	expect_bad_free(12, "not allocated");
	assert_int_equal(id_space_set_cooldown(space, 0), 0);
	expect_bad_free(11, "not allocated");
}

/* Arguments that make no range. */
struct range {
	id_t low, high;
};

static void
do_create(void *arg)
{
	struct range *r = arg;

	(void)id_space_create("new", r->low, r->high);
}

static void
do_extend(void *arg)
{
	struct range *r = arg;

	id_space_extend(space, r->low, r->high);
}

static void
a_range_that_is_none_is_fatal(void **state)
{
	struct range negative = {(id_t)-5, 5}, empty = {5, 5}, turned = {9, 4};
	struct range to_negative = {5, (id_t)-1};
	(void)state;

	child_expect_abort(do_create, &negative,
	    "id_space_create('new', -5, 5): the lower end is negative");
	child_expect_abort(do_create, &empty,
	    "id_space_create('new', 5, 5): the range is empty");
	child_expect_abort(do_create, &turned,
	    "id_space_create('new', 9, 4): the range is empty");
	child_expect_abort(do_create, &to_negative,
	    "id_space_create('new', 5, -1): the range is empty");
	child_expect_abort(do_extend, &negative,
	    "id_space_extend('labels', -5, 5): the lower end is negative");
	child_expect_abort(do_extend, &turned,
	    "id_space_extend('labels', 9, 4): the range is empty");
}

static void
extending_by_what_is_there_is_fatal(void **state)
{
	struct range last = {19999, 20001}, around = {5, 30000};
	(void)state;

	child_expect_abort(do_extend, &last,
	    "id_space_extend('labels', 19999, 20001): the space has some of "
	    "these");
	child_expect_abort(do_extend, &around,
	    "id_space_extend('labels', 5, 30000): the space has some of these");
}

static void
do_vmem_alloc(void *flags)
{
	(void)vmem_alloc(space, 1, *(int *)flags);
}

static void
do_vmem_free(void *arg)
{
	(void)arg;
	vmem_free(space, (void *)(uintptr_t)10, 1);
}

static void
do_vmem_add(void *arg)
{
	(void)arg;
	(void)vmem_add(space, (void *)(uintptr_t)INT_MAX, 1, VM_NOSLEEP);
}

static void
allocating_as_from_an_arena_is_fatal(void **state)
{
	int nosleep = VM_NOSLEEP, sleep = VM_SLEEP, next = VM_NEXTFIT;
	(void)state;

	child_expect_abort_like(do_vmem_alloc, &nosleep,
	    "vmem_xalloc(0x*, 1, 1, 0, 0, 0x0, 0x0, 1): an id_space gives "
	    "identifiers by id_alloc only");
	child_expect_abort_like(
	    do_vmem_alloc, &sleep, "*: an id_space gives identifiers by *");
	child_expect_abort_like(
	    do_vmem_alloc, &next, "*: an id_space gives identifiers by *");
	child_expect_abort_like(
	    do_vmem_free, NULL, "vmem_hash_delete(0x*, a, 1): bad free");
	child_expect_abort_like(
	    do_vmem_add, NULL, "vmem_add(0x*, 0x7fffffff, 1): these are no *");
}

static unsigned panics;

static void
count_panic(const char *message)
{
	(void)message;
	panics++;
}

static void
when_a_hook_returns_nothing_has_changed(void **state)
{
	struct id_space_stats before, after;
	uintptr_t addr;
	(void)state;

	assert_int_equal(id_alloc(space), 10);
	(void)id_space_getstats(space, &before);
	(void)quarry_set_panic_hook(count_panic);
	id_free(space, 11);
	id_free(space, NO_ID);
	id_space_extend(space, 15, 30);
	id_space_extend(space, 30001, 30001);
	errno = 0;
	assert_null(id_space_create("new", (id_t)-1, 4));
	assert_int_equal(errno, EINVAL);
	assert_null(vmem_alloc(space, 1, VM_SLEEP));
	assert_int_equal(
	    vmem_xalloc_addr(space, 1, 0, 0, 0, 0, 0, VM_NOSLEEP, &addr),
	    EINVAL);
	vmem_free(space, (void *)(uintptr_t)10, 1);
	assert_int_equal(vmem_add_addr(space, INT_MAX, 1, VM_NOSLEEP), EINVAL);
	(void)quarry_set_panic_hook(NULL);
	assert_int_equal(panics, 9);
	(void)id_space_getstats(space, &after);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_true(vmem__check(space));
	id_free(space, 10);
}

static void
do_destroy(void *arg)
{
	id_space_t *s = id_space_create("held", 0, 10);

	(void)arg;
	(void)id_alloc(s);
	(void)id_alloc(s);
	(void)id_space_set_cooldown(s, UINT_MAX);
	(void)id_alloc(s);
	id_free(s, 2);
	id_space_destroy(s);
}

static void
destroying_tells_what_is_still_allocated(void **state)
{
	struct child c;
	(void)state;

	child_run(&c, do_destroy, NULL);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	assert_string_equal(
	    c.c_stderr, "quarry: vmem_destroy('held'): leaked 2 identifiers\n");
}

static int
setup(void **state)
{
	(void)state;
	space = id_space_create("labels", 10, 20000);
	return (space == NULL ? -1 : 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t44_freeing_what_is_not_allocated_is_fatal),
	    cmocka_unit_test(freeing_what_rests_is_fatal),
	    cmocka_unit_test(a_range_that_is_none_is_fatal),
	    cmocka_unit_test(extending_by_what_is_there_is_fatal),
	    cmocka_unit_test(allocating_as_from_an_arena_is_fatal),
	    cmocka_unit_test(when_a_hook_returns_nothing_has_changed),
	    cmocka_unit_test(destroying_tells_what_is_still_allocated),
	};

	return (
	    cmocka_run_group_tests_name("id_space misuse", tests, setup, NULL));
}
