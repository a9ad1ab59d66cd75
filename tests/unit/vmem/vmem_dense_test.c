/*
 * vmem_dense_test.c - spans with a descriptor for each quantum: which they are,
 * what is told from them, and that they do as spans with tags do.
 */
#include "unit/vmem/vmem_test.h"

#include "support/child.h"
#include "support/failsys.h"
#include "vmem/vmem_dense.h"

#include <errno.h>
#include <stdio.h>

enum { Q = 0x1000, N = 64 };

static bool
is_dense(uintptr_t base, size_t size, size_t quantum, int flags)
{
	vmem_t *vm = vmem_create("dense", P(base), size, quantum, NULL, NULL,
	    NULL, 0, VM_NOSLEEP | flags);
	bool dense;

	assert_non_null(vm);
	dense = vm->vm_dense_quanta != 0;
	done(vm);
	return (dense);
}

static void
spans_that_descriptors_pay_for_have_them(void **state)
{
	(void)state;

	assert_true(is_dense(Q, N * Q, Q, 0));
	assert_true(is_dense(1024, N * 1024, 1024, 0));
	assert_true(is_dense(1, N, 1, VMC_IDENTIFIER));
	assert_false(is_dense(Q, (N - 1) * Q, Q, 0));
	assert_false(is_dense(512, N * 512, 512, 0));
	assert_false(is_dense(1, (size_t)1 << 40, 1, VMC_IDENTIFIER));
	assert_false(
	    is_dense((size_t)1 << 40, (size_t)1 << 62, (size_t)1 << 33, 0));
}

static void
only_the_first_span_that_is_large_enough_has_descriptors(void **state)
{
	vmem_t *vm = plain_arena(Q, 2 * Q, Q);
	(void)state;

	assert_non_null(vmem_add(vm, P(1000 * Q), N * Q, VM_NOSLEEP));
	assert_non_null(vmem_add(vm, P(2000 * Q), 2 * N * Q, VM_NOSLEEP));
	assert_int_equal(vm->vm_dense, 1000 * Q);
	assert_int_equal(vm->vm_dense_quanta, N);
	assert_int_equal(count_segments(vm, VMEM_FREE), 3);
	assert_addr_equal(vmem_alloc(vm, Q, VM_NOSLEEP | VM_FIRSTFIT), Q);
	assert_addr_equal(vmem_alloc(vm, N * Q, VM_NOSLEEP), 1000 * Q);
	assert_addr_equal(vmem_alloc(vm, N * Q, VM_NOSLEEP), 2000 * Q);
	assert_true(vmem__check(vm));
	vmem_free(vm, P(Q), Q);
	vmem_free(vm, P(1000 * Q), N * Q);
	vmem_free(vm, P(2000 * Q), N * Q);
	done(vm);
}

/* A hole of k quanta at `first` in either span, whose quanta are all used. */
static void
make_hole(vmem_t *vm, uintptr_t first, unsigned k)
{
	for (unsigned i = 0; i < k; i++)
		vmem_free(vm, P((first + i) * Q), Q);
}

static void
holes_of_both_forms_are_on_the_same_lists(void **state)
{
	vmem_t *vm = plain_arena(1000 * Q, N * Q, Q);
	(void)state;

	assert_non_null(vmem_add(vm, P(Q), 32 * Q, VM_NOSLEEP));
	for (unsigned i = 0; i < N + 32; i++)
		assert_non_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	/* Of one size: first those in the dense span, then the other. */
	make_hole(vm, 2, 3);
	make_hole(vm, 1010, 3);
	make_hole(vm, 1020, 3);
	assert_true(vmem__check(vm));
	assert_addr_equal(vmem_alloc(vm, 3 * Q, VM_NOSLEEP), 1020 * Q);
	assert_addr_equal(
	    vmem_alloc(vm, 3 * Q, VM_NOSLEEP | VM_BESTFIT), 1010 * Q);
	assert_addr_equal(vmem_alloc(vm, 3 * Q, VM_NOSLEEP), 2 * Q);
	assert_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	/* Of different sizes: the smaller. */
	make_hole(vm, 10, 2);
	make_hole(vm, 1030, 4);
	assert_addr_equal(vmem_alloc(vm, 2 * Q, VM_NOSLEEP), 10 * Q);
	assert_addr_equal(vmem_alloc(vm, 2 * Q, VM_NOSLEEP), 1030 * Q);
	make_hole(vm, 20, 5);
	assert_addr_equal(vmem_alloc(vm, 2 * Q, VM_NOSLEEP), 1032 * Q);
	assert_addr_equal(vmem_alloc(vm, 2 * Q, VM_NOSLEEP), 20 * Q);
	assert_true(vmem__check(vm));
	/* With a constraint that only the last on the list satisfies. */
	make_hole(vm, 1041, 1);
	make_hole(vm, 1045, 1);
	make_hole(vm, 28, 1);
	assert_addr_equal(vmem_xalloc(vm, Q, 4 * Q, 0, 0, NULL, NULL,
			      VM_NOSLEEP | VM_BESTFIT),
	    28 * Q);
	assert_true(vmem__check(vm));
}

static void
sizes_are_recorded_exactly(void **state)
{
	vmem_t *vm = plain_arena(Q, N * Q, Q);
	void *one = vmem_alloc(vm, 1, VM_NOSLEEP);
	void *odd = vmem_alloc(vm, 3 * Q - 1, VM_NOSLEEP);
	(void)state;

	assert_addr_equal(one, Q);
	assert_addr_equal(odd, 2 * Q);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 3 * Q);
	assert_true(vmem__check(vm));
	vmem_free(vm, odd, 3 * Q - 1);
	vmem_free(vm, one, 1);
	done(vm);
}

struct bad_free {
	uintptr_t addr;
	size_t size;
	const char *why;
};

/* Used: one quantum at 1, three at 2; freed and coalesced: 5, 6 and 7. */
static void
do_bad_free(void *arg)
{
	const struct bad_free *bad = arg;
	vmem_t *vm =
	    vmem_create("bad", P(Q), N * Q, Q, NULL, NULL, NULL, 0, VM_NOSLEEP);

	CHILD_CHECK(vmem_alloc(vm, Q, VM_NOSLEEP) == P(Q));
	CHILD_CHECK(vmem_alloc(vm, 3 * Q - 5, VM_NOSLEEP) == P(2 * Q));
	for (uintptr_t i = 5; i <= 8; i++)
		CHILD_CHECK(vmem_alloc(vm, Q, VM_NOSLEEP) == P(i * Q));
	vmem_free(vm, P(5 * Q), Q);
	vmem_free(vm, P(7 * Q), Q);
	vmem_free(vm, P(6 * Q), Q);
	vmem_free(vm, P(bad->addr), bad->size);
}

static void
every_bad_free_is_told_from_the_good_ones(void **state)
{
	static const struct bad_free bad[] = {
	    {Q + 8, Q, "bad free"},
	    {3 * Q, 2 * Q, "bad free"},
	    {4 * Q, Q, "bad free"},
	    {4 * Q, 3 * Q - 5, "bad free"},
	    {5 * Q, Q, "bad free"},
	    {5 * Q, 3 * Q, "bad free"},
	    {6 * Q, Q, "bad free"},
	    {7 * Q, Q, "bad free"},
	    {(N + 1) * Q, Q, "bad free"},
	    {0, Q, "bad free"},
	    {5 * Q, 0, "bad free"},
	    {3 * Q, 0, "bad free"},
	    /* What a free segment's descriptor says, read as a used one's. */
	    {5 * Q, (((size_t)VMEM_DESC_FREE | 3) * Q) - 2, "bad free"},
	    {2 * Q, 0, "wrong size (expect 12283)"},
	    {2 * Q, 3 * Q, "wrong size (expect 12283)"},
	    {Q, Q - 1, "wrong size (expect 4096)"},
	};
	char message[128];
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bad_free each = bad[i];

		(void)snprintf(message, sizeof(message),
		    "vmem_hash_delete(0x*, %lx, %lu): %s", each.addr, each.size,
		    each.why);
		child_expect_abort_like(do_bad_free, &each, message);
	}
}

static void
a_dense_span_may_end_at_the_top(void **state)
{
	uintptr_t base = -(uintptr_t)(N * Q);
	vmem_t *vm = plain_arena(base, N * Q, Q);
	(void)state;

	assert_int_equal(vm->vm_dense_quanta, N);
	for (uintptr_t i = 0; i < N; i++)
		assert_non_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	assert_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	for (uintptr_t i = N; i-- > 0;)
		vmem_free(vm, P(base + i * Q), Q);
	assert_int_equal(count_segments(vm, VMEM_FREE), 1);
	assert_addr_equal(vmem_xalloc(vm, Q, 0, 0, 0, P(base + (N - 1) * Q),
			      NULL, VM_NOSLEEP),
	    base + (N - 1) * Q);
	vmem_free(vm, P(base + (N - 1) * Q), Q);
	done(vm);
}

static void
without_memory_for_descriptors_there_are_tags(void **state)
{
	vmem_t *vm;
	(void)state;

	/* The tag of the span may need memory too: try each call in turn. */
	for (unsigned long nth = 1;; nth++) {
		bool dense;

		failsys_reset();
		failsys_nth(FAILSYS_MMAP, nth, ENOMEM);
		vm = vmem_create("short", P(Q), 4 * N * Q, Q, NULL, NULL, NULL,
		    0, VM_NOSLEEP);
		failsys_reset();
		if (vm == NULL)
			continue;
		dense = vm->vm_dense_quanta != 0;
		assert_addr_equal(vmem_alloc(vm, Q, VM_NOSLEEP), Q);
		assert_addr_equal(vmem_alloc(vm, Q, VM_NOSLEEP), 2 * Q);
		vmem_free(vm, P(Q), Q);
		vmem_free(vm, P(2 * Q), Q);
		done(vm);
		if (!dense)
			return;
	}
}

/* All of n units used, but for one in `hole`. */
static vmem_t *
comb(size_t n, size_t hole)
{
	vmem_t *vm = vmem_create("comb", P(1), n, 1, NULL, NULL, NULL, 0,
	    VM_NOSLEEP | VMC_IDENTIFIER);

	assert_non_null(vm);
	for (size_t i = 1; i <= n; i++)
		assert_non_null(vmem_alloc(vm, 1, VM_NOSLEEP));
	for (size_t i = hole; i <= n; i += hole)
		vmem_free(vm, P(i), 1);
	return (vm);
}

static void
short_searches_need_no_index(void **state)
{
	vmem_t *vm = comb(1000, 10);
	int first = VM_NOSLEEP | VM_FIRSTFIT, next = VM_NOSLEEP | VM_NEXTFIT;
	(void)state;

	assert_addr_equal(vmem_alloc(vm, 1, first), 10);
	assert_addr_equal(vmem_alloc(vm, 1, first), 20);
	assert_addr_equal(vmem_alloc(vm, 1, first | VM_ENDALLOC), 1000);
	assert_addr_equal(vmem_alloc(vm, 1, first | VM_ENDALLOC), 990);
	assert_addr_equal(vmem_alloc(vm, 1, next), 30);
	vmem_free(vm, P(20), 1);
	assert_addr_equal(vmem_alloc(vm, 1, next), 40);
	assert_addr_equal(
	    vmem_xalloc(vm, 1, 0, 0, 0, P(495), P(505), VM_NOSLEEP), 500);
	assert_null(vmem_xalloc(vm, 1, 0, 0, 0, P(495), P(505), VM_NOSLEEP));
	assert_addr_equal(vmem_xalloc(vm, 1, 0, 0, 0, P(595), P(655),
			      VM_NOSLEEP | VM_ENDALLOC),
	    650);
	assert_addr_equal(vmem_xalloc(vm, 1, 0, 0, 0, P(600), P(655),
			      VM_NOSLEEP | VM_FIRSTFIT),
	    600);
	assert_addr_equal(
	    vmem_xalloc(vm, 1, 4, 2, 0, P(701), NULL, VM_NOSLEEP), 710);
	assert_null(vmem_alloc(vm, 2, first));
	assert_int_equal(vm->vm_indexed, 0);
	assert_true(vmem__check(vm));
}

static void
a_window_may_begin_and_end_far_inside_segments(void **state)
{
	vmem_t *vm = plain_arena(Q, 4096 * Q, Q);
	int end = VM_NOSLEEP | VM_ENDALLOC;
	void *p = vmem_alloc(vm, 1000 * Q, VM_NOSLEEP);
	(void)state;

	assert_addr_equal(
	    vmem_xalloc(vm, Q, 0, 0, 0, P(900 * Q), P(1101 * Q), end),
	    1100 * Q);
	assert_addr_equal(
	    vmem_xalloc(vm, Q, 0, 0, 0, P(900 * Q), P(1101 * Q), VM_NOSLEEP),
	    1001 * Q);
	assert_addr_equal(
	    vmem_xalloc(vm, Q, 0, 0, 0, P(3000 * Q), NULL, VM_NOSLEEP),
	    3000 * Q);
	assert_null(vmem_xalloc(vm, Q, 0, 0, 0, P(Q), P(900 * Q), VM_NOSLEEP));
	assert_null(vmem_xalloc(vm, Q, 0, 0, 0, P(5000 * Q), NULL, VM_NOSLEEP));
	assert_null(vmem_xalloc(vm, 1, 0, 0, 0, NULL, P(Q - 1), end));
	assert_true(vmem__check(vm));
	vmem_xfree(vm, p, 1000 * Q);
	vmem_xfree(vm, P(1100 * Q), Q);
	vmem_xfree(vm, P(1001 * Q), Q);
	vmem_xfree(vm, P(3000 * Q), Q);
	done(vm);
}

static void
a_search_that_is_too_long_goes_to_the_index(void **state)
{
	vmem_t *vm = comb(4000, 4000);
	(void)state;

	assert_addr_equal(
	    vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT | VM_ENDALLOC), 4000);
	vmem_free(vm, P(4000), 1);
	assert_int_equal(vm->vm_indexed, 0);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT), 4000);
	assert_int_equal(vm->vm_indexed, VMEM_BY_ADDR);
	vmem_free(vm, P(4000), 1);
	assert_true(vmem__check(vm));
}

/* Each looks at 200 segments: too few to give up, too many to go on so. */
static void
searches_that_are_long_again_and_again_get_an_index(void **state)
{
	vmem_t *vm = comb(4000, 200);
	unsigned n = 0;
	(void)state;

	while (vm->vm_indexed == 0) {
		assert_true(++n < 4000);
		assert_addr_equal(
		    vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT), 200);
		vmem_free(vm, P(200), 1);
	}
	assert_in_range(n, 2, 100);
	/* And short ones never. */
	vmem_destroy(vm);
	vm = comb(4000, 20);
	for (n = 0; n < 10000; n++) {
		assert_addr_equal(
		    vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT), 20);
		vmem_free(vm, P(20), 1);
	}
	assert_int_equal(vm->vm_indexed, 0);
	vmem_destroy(vm);
}

static size_t
resident(void)
{
	unsigned long size = 0, pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%lu %lu", &size, &pages), 2);
	(void)fclose(f);
	return (pages * Q);
}

static void
descriptors_cost_what_is_used_of_them(void **state)
{
	enum { QUANTA = 1 << 24 };
	size_t before = resident();
	vmem_t *vm = vmem_create("sparse", P(Q), (size_t)QUANTA * Q, Q, NULL,
	    NULL, NULL, 0, VM_NOSLEEP);
	struct vmem__stat vs;
	(void)state;

	assert_non_null(vm);
	for (uintptr_t i = 1; i <= 1000; i++)
		assert_addr_equal(vmem_alloc(vm, Q, VM_NOSLEEP), i * Q);
	vs = stat_of("sparse");
	assert_int_equal(vs.vs_segments, 1001);
	assert_in_range(
	    vs.vs_metadata, 16 * (size_t)QUANTA, 17 * (size_t)QUANTA);
	assert_in_range(resident() - before, 0, 16 * (size_t)QUANTA / 8);
	for (uintptr_t i = 1; i <= 1000; i++)
		vmem_free(vm, P(i * Q), Q);
	done(vm);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(spans_that_descriptors_pay_for_have_them),
	    cmocka_unit_test(
		only_the_first_span_that_is_large_enough_has_descriptors),
	    cmocka_unit_test(holes_of_both_forms_are_on_the_same_lists),
	    cmocka_unit_test(sizes_are_recorded_exactly),
	    cmocka_unit_test(every_bad_free_is_told_from_the_good_ones),
	    cmocka_unit_test(a_dense_span_may_end_at_the_top),
	    cmocka_unit_test(without_memory_for_descriptors_there_are_tags),
	    cmocka_unit_test(descriptors_cost_what_is_used_of_them),
	    cmocka_unit_test(short_searches_need_no_index),
	    cmocka_unit_test(a_window_may_begin_and_end_far_inside_segments),
	    cmocka_unit_test(a_search_that_is_too_long_goes_to_the_index),
	    cmocka_unit_test(
		searches_that_are_long_again_and_again_get_an_index),
	};

	return (cmocka_run_group_tests_name("vmem_dense", tests, NULL, NULL));
}
