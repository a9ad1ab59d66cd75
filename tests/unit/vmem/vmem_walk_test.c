/*
 * vmem_walk_test.c - visiting segments, also while they change.
 */
#include "unit/vmem/vmem_test.h"

enum { Q = 0x1000, MAX_VISITS = 64 };

struct visit {
	uintptr_t start;
	size_t size;
};

static struct {
	struct visit visit[MAX_VISITS];
	size_t n;
	vmem_t *vm;
} seen;

static void
note(void *arg, void *start, size_t size)
{
	(void)arg;
	assert_true(seen.n < MAX_VISITS);
	seen.visit[seen.n++] = (struct visit){(uintptr_t)start, size};
}

static void
walk(
    vmem_t *vm, int typemask, void (*func)(void *arg, void *start, size_t size))
{
	seen.n = 0;
	seen.vm = vm;
	vmem_walk(vm, typemask, func, NULL);
}

static void
t29_a_walk_ascends_and_names_a_span_before_its_segments(void **state)
{
	static const struct visit expected[] = {{0, 0}, {Q, 4 * Q}, {Q, 100},
	    {2 * Q, 3 * Q}, {16 * Q, 2 * Q}, {16 * Q, 2 * Q}};
	vmem_t *vm = plain_arena(16 * Q, 2 * Q, Q);
	(void)state;

	assert_non_null(vmem_add(vm, P(Q), 4 * Q, VM_NOSLEEP));
	assert_addr_equal(vmem_alloc(vm, 100, VM_NOSLEEP | VM_FIRSTFIT), Q);
	walk(vm, VMEM_ALLOC | VMEM_FREE | VMEM_SPAN | VMEM_ROTOR, note);
	assert_int_equal(seen.n, 6);
	assert_memory_equal(seen.visit, expected, sizeof(expected));

	walk(vm, VMEM_ALLOC, note);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.visit[0].size, 100);
	walk(vm, VMEM_SPAN, note);
	assert_int_equal(seen.n, 2);
	walk(vm, VMEM_ALLOC | VMEM_FREE | VMEM_WALKER, note);
	assert_int_equal(seen.n, 0);
	vmem_free(vm, P(Q), 100);
	done(vm);
}

static void
free_it(void *arg, void *start, size_t size)
{
	note(arg, start, size);
	vmem_free(seen.vm, start, size);
}

/* n used quanta.  With DENSE of them, the span has descriptors. */
enum { TAGS = 16, DENSE = 64 };

static vmem_t *
full_arena(unsigned n)
{
	vmem_t *vm = plain_arena(Q, n * Q, Q);

	for (unsigned i = 0; i < n; i++)
		assert_non_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	return (vm);
}

static void
t28_a_reentrant_walk_may_free_what_it_is_given(void **state)
{
	(void)state;

	for (unsigned n = TAGS; n <= DENSE; n += DENSE - TAGS) {
		vmem_t *vm = full_arena(n);

		walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, free_it);
		assert_int_equal(seen.n, n);
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(seen.visit[i].start, (i + 1) * Q);
		done(vm);
	}
}

static void
t28_the_same_when_that_releases_an_imported_span(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = vmem_create(
	    "child", NULL, 0, Q, vmem_alloc, vmem_free, source, 0, VM_NOSLEEP);
	(void)state;

	for (unsigned i = 0; i < 16; i++)
		assert_non_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	walk(vm, VMEM_ALLOC | VMEM_SPAN, note);
	assert_int_equal(seen.n, 32);
	walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, free_it);
	assert_int_equal(seen.n, 16);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC | VMEM_FREE), 0);
	done(vm);
	done(source);
}

static void
alloc_one(void *arg, void *start, size_t size)
{
	note(arg, start, size);
	(void)vmem_alloc(seen.vm, 1, VM_NOSLEEP | VM_FIRSTFIT);
}

static void
a_reentrant_walk_sees_what_is_allocated_before_it(void **state)
{
	vmem_t *vm = plain_arena(1, 20, 1);
	(void)state;

	for (unsigned i = 0; i < 5; i++)
		assert_non_null(vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT));
	walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, alloc_one);
	assert_int_equal(seen.n, 20);
	walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, free_it);
	done(vm);
}

/* Frees its left neighbour and itself: the position is absorbed twice. */
static void
free_left_and_it(void *arg, void *start, size_t size)
{
	note(arg, start, size);
	if ((uintptr_t)start % (2 * Q) != 0)
		return;
	vmem_free(seen.vm, start, size);
	vmem_free(seen.vm, P((uintptr_t)start - Q), size);
}

static void
a_reentrant_walk_survives_any_coalescing(void **state)
{
	(void)state;

	for (unsigned n = TAGS; n <= DENSE; n += DENSE - TAGS) {
		vmem_t *vm = full_arena(n);

		walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, free_left_and_it);
		assert_int_equal(seen.n, n);
		done(vm);
	}
}

static void
walk_inside(void *arg, void *start, size_t size)
{
	size_t n = count_segments(seen.vm, VMEM_ALLOC | (int)VMEM_REENTRANT);

	note(arg, start, size);
	assert_int_equal(n, 4 - *(size_t *)arg);
	vmem_free(seen.vm, start, size);
	++*(size_t *)arg;
}

static void
walks_may_be_nested(void **state)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);
	size_t freed = 0;
	(void)state;

	for (unsigned i = 0; i < 4; i++)
		assert_non_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	seen.n = 0;
	seen.vm = vm;
	vmem_walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, walk_inside, &freed);
	assert_int_equal(freed, 4);
	done(vm);
}
/* Free it, and take the same place again. */
static void
free_and_take_it(void *arg, void *start, size_t size)
{
	free_it(arg, start, size);
	assert_ptr_equal(vmem_xalloc(seen.vm, size, 0, 0, 0, start,
			     P((uintptr_t)start + size), VM_NOSLEEP),
	    start);
}

/* Free it, and take the highest place there is. */
static void
free_and_take_the_last(void *arg, void *start, size_t size)
{
	free_it(arg, start, size);
	assert_non_null(vmem_xalloc(seen.vm, size, 0, 0, 0, NULL, NULL,
	    VM_NOSLEEP | VM_FIRSTFIT | VM_ENDALLOC));
}

/* What is free before it absorbs it, and must not lead the walk back. */
static void
t28_what_is_freed_and_taken_again_is_shown_once(void **state)
{
	void (*const funcs[])(void *, void *, size_t) = {
	    free_and_take_it, free_and_take_the_last};
	(void)state;

	for (size_t i = 0; i < 4; i++) {
		unsigned n = i < 2 ? TAGS : DENSE;
		vmem_t *vm = full_arena(n);

		for (unsigned at = 1; at < n; at++)
			vmem_free(vm, P(at * Q), Q);
		walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, funcs[i % 2]);
		assert_int_equal(seen.n, 1);
		vmem_xfree(vm, P(n * Q), Q);
		done(vm);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		t29_a_walk_ascends_and_names_a_span_before_its_segments),
	    cmocka_unit_test(t28_a_reentrant_walk_may_free_what_it_is_given),
	    cmocka_unit_test(t28_the_same_when_that_releases_an_imported_span),
	    cmocka_unit_test(a_reentrant_walk_sees_what_is_allocated_before_it),
	    cmocka_unit_test(a_reentrant_walk_survives_any_coalescing),
	    cmocka_unit_test(walks_may_be_nested),
	    cmocka_unit_test(t28_what_is_freed_and_taken_again_is_shown_once),
	};

	return (cmocka_run_group_tests_name("vmem_walk", tests, NULL, NULL));
}
