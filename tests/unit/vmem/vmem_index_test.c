/*
 * vmem_index_test.c - ordered and constrained requests in large arenas, and the
 * life of the indexes.
 */
#include "unit/vmem/vmem_test.h"

#include "vmem/vmem_impl.h"

#include <stdlib.h>

enum { N = 20000, QUICK = 2000 };

static size_t n = N;

/* n used units from 1 on. */
static vmem_t *
full_arena(int policy)
{
	vmem_t *vm = plain_arena(1, n, 1);

	for (size_t i = 1; i <= n; i++)
		assert_non_null(vmem_alloc(vm, 1, VM_NOSLEEP | policy));
	return (vm);
}

static void
free_units(vmem_t *vm, size_t first, size_t step)
{
	for (size_t i = first; i <= n; i += step)
		vmem_free(vm, P(i), 1);
}

static void
an_arena_that_needs_no_order_has_no_index(void **state)
{
	vmem_t *vm = full_arena(0);
	(void)state;

	assert_int_equal(vm->vm_indexed, 0);
	assert_int_equal(vm->vm_nodes.s_count, 0);
	free_units(vm, 1, 1);
	done(vm);
}

static void
frees_that_exhaust_the_nodes_give_the_index_up_and_it_comes_back(void **state)
{
	vmem_t *vm = full_arena(VM_FIRSTFIT);
	(void)state;

	assert_int_equal(vm->vm_indexed, VMEM_BY_ADDR);
	free_units(vm, 2, 2);
	assert_int_equal(vm->vm_indexed, 0);
	assert_true(vmem__check(vm));
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT), 2);
	assert_int_equal(vm->vm_indexed, VMEM_BY_ADDR);
	assert_true(vmem__check(vm));
	assert_null(vmem_alloc(vm, VMEM_EXACT + 1, VM_NOSLEEP | VM_BESTFIT));
	assert_int_equal(vm->vm_indexed, VMEM_BY_ADDR | VMEM_BY_SIZE);
	assert_true(vmem__check(vm));
	vmem_free(vm, P(2), 1);
	free_units(vm, 1, 2);
	assert_true(vmem__check(vm));
	assert_int_equal(count_segments(vm, VMEM_FREE), 1);
	done(vm);
}

static void
first_and_next_fit_are_exact_among_many_holes(void **state)
{
	vmem_t *vm = full_arena(VM_NEXTFIT);
	(void)state;

	free_units(vm, 3, 3);
	for (size_t i = 3; i <= n; i += 6)
		assert_addr_equal(
		    vmem_alloc(vm, 1, VM_NOSLEEP | VM_NEXTFIT), i / 6 * 3 + 3);
	vmem_free(vm, P(3), 1);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT), 3);
	assert_addr_equal(
	    vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT | VM_ENDALLOC),
	    n / 3 * 3);
	assert_true(vmem__check(vm));
}

static void
best_fit_finds_small_holes_without_an_index(void **state)
{
	enum { UNITS = 100 * (VMEM_EXACT + 1) };
	vmem_t *vm = plain_arena(1, UNITS, 1);
	int best = VM_NOSLEEP | VM_BESTFIT;
	(void)state;

	for (size_t i = 1; i <= UNITS; i++)
		assert_non_null(vmem_alloc(vm, 1, VM_NOSLEEP));
	/* A hole of each of 1 to VMEM_EXACT units, the largest first. */
	for (uintptr_t k = VMEM_EXACT; k >= 1; k--)
		for (uintptr_t i = 0; i < k; i++)
			vmem_free(vm, P(100 * k + i), 1);
	for (uintptr_t k = 2; k <= VMEM_EXACT; k += 2)
		assert_addr_equal(vmem_alloc(vm, k, best), 100 * k);
	for (uintptr_t k = 2; k < VMEM_EXACT; k += 2)
		assert_addr_equal(
		    vmem_alloc(vm, k, best | VM_ENDALLOC), 100 * (k + 1) + 1);
	assert_int_equal(vm->vm_indexed, 0);
	assert_true(vmem__check(vm));
}

/* Holes of 130, 142 and 136 units are on one list, and only the index tells. */
static void
best_fit_tells_large_holes_apart(void **state)
{
	vmem_t *vm = full_arena(0);
	int best = VM_NOSLEEP | VM_BESTFIT;
	(void)state;

	for (uintptr_t i = 0; i < 142; i++) {
		if (i < 130)
			vmem_free(vm, P(100 + i), 1);
		vmem_free(vm, P(300 + i), 1);
		if (i < 136)
			vmem_free(vm, P(500 + i), 1);
	}
	assert_addr_equal(vmem_alloc(vm, 131, best), 500);
	assert_addr_equal(vmem_alloc(vm, 100, best), 100);
	assert_addr_equal(vmem_alloc(vm, 120, best), 300);
	assert_null(vmem_alloc(vm, 65, best));
	assert_int_equal(vm->vm_indexed, VMEM_BY_SIZE);
	assert_true(vmem__check(vm));
}

/* Free pairs at odd addresses: none holds a pair at an even one. */
static vmem_t *
misaligned_arena(void)
{
	vmem_t *vm = full_arena(0);

	for (size_t i = 1; i + 3 <= n; i += 4) {
		vmem_free(vm, P(i), 1);
		vmem_free(vm, P(i + 1), 1);
	}
	return (vm);
}

static void
segments_that_are_just_too_badly_aligned_are_not_given(void **state)
{
	static const int policies[] = {0, VM_BESTFIT, VM_FIRSTFIT, VM_ENDALLOC};
	vmem_t *vm = misaligned_arena();
	(void)state;

	for (size_t i = 0; i < 4; i++) {
		int flags = VM_NOSLEEP | policies[i];
		void *p;

		assert_null(vmem_xalloc(vm, 2, 2, 0, 0, NULL, NULL, flags));
		assert_null(vmem_xalloc(vm, 2, 0, 0, 2, NULL, NULL, flags));
		/* One more unit at the far end, and there is one place. */
		vmem_free(vm, P(n - 1), 1);
		p = vmem_xalloc(vm, 2, 2, 0, 0, NULL, NULL, flags);
		assert_addr_equal(p, n - 2);
		assert_null(vmem_xalloc(vm, 2, 2, 0, 0, NULL, NULL, flags));
		vmem_xfree(vm, p, 2);
		assert_addr_equal(
		    vmem_xalloc(vm, 1, 0, 0, 0, P(n - 1), NULL, VM_NOSLEEP),
		    n - 1);
		assert_true(vmem__check(vm));
	}
}

static void
best_fit_with_a_constraint_takes_the_smallest_that_has_a_place(void **state)
{
	vmem_t *vm = full_arena(0);
	(void)state;

	/* Holes of 3, 4 and 5; only those of 4 and 5 have an aligned pair. */
	vmem_free(vm, P(101), 1);
	vmem_free(vm, P(102), 1);
	for (size_t i = 201; i <= 204; i++)
		vmem_free(vm, P(i), 1);
	for (size_t i = 301; i <= 305; i++)
		vmem_free(vm, P(i), 1);
	assert_addr_equal(
	    vmem_xalloc(vm, 2, 2, 0, 0, NULL, NULL, VM_NOSLEEP | VM_BESTFIT),
	    202);
	assert_addr_equal(
	    vmem_xalloc(vm, 2, 2, 1, 0, NULL, NULL, VM_NOSLEEP | VM_BESTFIT),
	    101);
	assert_true(vmem__check(vm));
}

/*
 * More pairs at odd addresses than a list is looked through for; then a hole of
 * ten, one of three, and another of three, all with a pair at an even one.
 */
static void
best_fit_passes_any_number_of_badly_placed_segments(void **state)
{
	vmem_t *vm = misaligned_arena();
	int best = VM_NOSLEEP | VM_BESTFIT;
	(void)state;

	vmem_free(vm, P(1003), 1);
	vmem_free(vm, P(1004), 1);
	vmem_free(vm, P(1007), 1);
	vmem_free(vm, P(1008), 1);
	vmem_free(vm, P(1403), 1);
	vmem_free(vm, P(1603), 1);
	for (unsigned i = 0; i < 2; i++) {
		assert_addr_equal(
		    vmem_xalloc(vm, 2, 2, 0, 0, NULL, NULL, best), 1402);
		assert_int_equal(vm->vm_indexed, VMEM_BY_SIZE | VMEM_BY_SMALL);
		assert_true(vmem__check(vm));
		assert_addr_equal(
		    vmem_xalloc(vm, 2, 2, 0, 0, NULL, NULL, best | VM_ENDALLOC),
		    1602);
		assert_addr_equal(
		    vmem_xalloc(vm, 2, 0, 0, 2, NULL, NULL, best), 1002);
		vmem_xfree(vm, P(1402), 2);
		vmem_xfree(vm, P(1602), 2);
		vmem_xfree(vm, P(1002), 2);
		assert_true(vmem__check(vm));
	}
}

static void
free_range(vmem_t *vm, uintptr_t first, size_t count)
{
	for (size_t i = 0; i < count; i++)
		vmem_free(vm, P(first + i), 1);
}

/* Many holes, all outside of the window but for some, two of those in part. */
static void
best_fit_in_a_window_knows_its_edges(void **state)
{
	vmem_t *vm = full_arena(0);
	uintptr_t w = n / 2, end = w + 400;
	int best = VM_NOSLEEP | VM_BESTFIT;
	(void)state;

	for (uintptr_t i = 4; i < n - 4; i += 4)
		if (i < w - 4 || i > end + 4)
			vmem_free(vm, P(i), 1);
	free_range(vm, w - 1, 2);
	free_range(vm, end - 3, 5);
	free_range(vm, w + 100, 6);
	free_range(vm, w + 300, 5);
	free_range(vm, w + 200, 5);
	assert_null(vmem_xalloc(vm, 7, 0, 0, 0, P(w), P(end), best));
	assert_null(vmem_xalloc(vm, 3, 0, 0, 0, P(w + 204), P(w + 302), best));
	assert_addr_equal(
	    vmem_xalloc(vm, 3, 0, 0, 0, P(w + 202), P(w + 205), best), w + 202);
	vmem_xfree(vm, P(w + 202), 3);
	assert_addr_equal(vmem_xalloc(vm, 1, 0, 0, 0, P(w), P(end), best), w);
	assert_int_equal(
	    vm->vm_indexed, VMEM_BY_ADDR | VMEM_BY_SIZE | VMEM_BY_SMALL);
	assert_addr_equal(
	    vmem_xalloc(vm, 5, 0, 0, 0, P(w), P(end), best), w + 200);
	assert_addr_equal(
	    vmem_xalloc(vm, 3, 0, 0, 0, P(w), P(end), best | VM_ENDALLOC),
	    w + 302);
	assert_addr_equal(
	    vmem_xalloc(vm, 3, 0, 0, 0, P(w), P(end), best), end - 3);
	assert_addr_equal(
	    vmem_xalloc(vm, 3, 0, 0, 0, P(w), P(end), best), w + 100);
	assert_addr_equal(
	    vmem_xalloc(vm, 3, 0, 0, 0, P(w), P(end), best), w + 103);
	assert_null(vmem_xalloc(vm, 3, 0, 0, 0, P(w), P(end), best));
	assert_int_equal(
	    vm->vm_indexed, VMEM_BY_ADDR | VMEM_BY_SIZE | VMEM_BY_SMALL);
	assert_true(vmem__check(vm));
}

/* Also where the two segments are free neighbours, in spans that touch. */
static void
best_fit_tells_two_segments_apart_in_the_smallest_window(void **state)
{
	vmem_t *vm = plain_arena(1, 20, 1);
	int best = VM_NOSLEEP | VM_BESTFIT;
	(void)state;

	assert_non_null(vmem_add(vm, P(21), 3, VM_NOSLEEP));
	assert_addr_equal(vmem_xalloc(vm, 1, 0, 0, 0, P(20), P(22), best), 21);
	assert_addr_equal(vmem_xalloc(vm, 1, 0, 0, 0, P(20), P(21), best), 20);
	assert_addr_equal(vmem_xalloc(vm, 2, 0, 0, 0, P(8), P(11), best), 8);
	assert_addr_equal(vmem_xalloc(vm, 1, 0, 0, 0, P(10), P(22), best), 10);
	assert_true(vmem__check(vm));
}

/* Holes of 1 to SIZES units; behind them two more, the larger one first. */
static void
best_fit_in_a_window_gives_up_after_many_sizes(void **state)
{
	enum { SIZES = 1500, FEW = 500 };
	size_t room = SIZES * (SIZES + 3) / 2;
	vmem_t *vm = plain_arena(1, room + 10000, 1);
	int low = VM_NOSLEEP | VM_FIRSTFIT, best = VM_NOSLEEP | VM_BESTFIT;
	void *hole[SIZES], *larger, *large;
	(void)state;

	for (size_t i = 0; i < SIZES; i++) {
		hole[i] = vmem_alloc(vm, i + 1, low);
		assert_non_null(vmem_alloc(vm, 1, low));
	}
	larger = vmem_alloc(vm, 4001, low);
	assert_non_null(vmem_alloc(vm, 1, low));
	large = vmem_alloc(vm, 4000, low);
	while (vmem_alloc(vm, 1, low) != NULL)
		continue;
	for (size_t i = 0; i < SIZES; i++)
		vmem_free(vm, hole[i], i + 1);
	vmem_free(vm, larger, 4001);
	vmem_free(vm, large, 4000);
	for (unsigned i = 0; i < 2; i++) {
		void *p =
		    vmem_xalloc(vm, SIZES - FEW, 0, 0, 0, larger, NULL, best);

		assert_ptr_equal(p, large);
		vmem_xfree(vm, p, SIZES - FEW);
		p = vmem_xalloc(vm, 1, 0, 0, 0, larger, NULL, best);
		assert_ptr_equal(p, larger);
		vmem_xfree(vm, p, 1);
		assert_null(vmem_xalloc(vm, 4002, 0, 0, 0, larger, NULL, best));
		assert_null(vmem_xalloc(
		    vm, 1, 0, 0, 0, (char *)large + 4000, NULL, best));
	}
	assert_true(vmem__check(vm));
}

/* The index of small segments is there while it is wanted now and then. */
static void
an_arena_that_is_not_asked_for_the_best_any_more_gives_that_index_up(
    void **state)
{
	vmem_t *vm = misaligned_arena();
	int best = VM_NOSLEEP | VM_BESTFIT;
	(void)state;

	for (unsigned round = 0; round < 3; round++) {
		assert_null(vmem_xalloc(vm, 2, 2, 0, 0, NULL, NULL, best));
		assert_int_equal(vm->vm_indexed, VMEM_BY_SIZE | VMEM_BY_SMALL);
		for (size_t i = 0; i < n / 5; i++)
			vmem_free(vm, vmem_alloc(vm, 1, VM_NOSLEEP), 1);
		assert_int_equal(vm->vm_indexed, VMEM_BY_SIZE | VMEM_BY_SMALL);
	}
	for (size_t i = 0; i < n / 4; i++)
		vmem_free(vm, vmem_alloc(vm, 1, VM_NOSLEEP), 1);
	assert_int_equal(vm->vm_indexed, 0);
	assert_null(vmem_xalloc(vm, 2, 2, 0, 0, NULL, NULL, best));
	assert_true(vmem__check(vm));
}

static void
grow_and_decay(size_t slots, size_t check_every, int form)
{
	static const int policies[] = {0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT,
	    VM_BESTFIT | VM_ENDALLOC, VM_FIRSTFIT | VM_ENDALLOC};
	vmem_t *vm = vmem_create("indexes", P(64), slots * 64, 1, NULL, NULL,
	    NULL, 0, VM_NOSLEEP | form);
	void **p = calloc(slots, sizeof(*p));
	size_t *size = calloc(slots, sizeof(*size));

	srand(7);
	for (size_t step = 0; step < 12 * slots; step++) {
		size_t i = (size_t)rand() % slots;

		if (p[i] != NULL) {
			vmem_free(vm, p[i], size[i]);
			p[i] = NULL;
		} else if (step / slots % 3 != 2) {
			size[i] = 1 + (size_t)rand() % 150;
			p[i] = vmem_alloc(
			    vm, size[i], VM_NOSLEEP | policies[rand() % 6]);
		}
		/* Most segments have no such place. */
		if (step % 64 == 0) {
			int order =
			    step / 64 % 2 == 0 ? VM_FIRSTFIT : VM_BESTFIT;
			void *x = vmem_xalloc(vm, 16, 4096, step / 64 % 5 * 16,
			    0, NULL, NULL, VM_NOSLEEP | order);

			if (x != NULL)
				vmem_xfree(vm, x, 16);
		}
		if (step % check_every == 0)
			assert_true(vmem__check(vm));
	}
	for (size_t i = 0; i < slots; i++)
		if (p[i] != NULL)
			vmem_free(vm, p[i], size[i]);
	free(p);
	free(size);
	assert_int_equal(count_segments(vm, VMEM_FREE), 1);
	done(vm);
}

static void
both_indexes_stay_true_through_growth_and_decay(void **state)
{
	(void)state;
	/* By tags, and by descriptors. */
	grow_and_decay(n, n / 8, 0);
	grow_and_decay(n, n / 8, VMC_IDENTIFIER);
	grow_and_decay(1000, 4, VMC_IDENTIFIER);
}

/* In an arena whose odd units are free: number i of them. */
static uintptr_t
hole(size_t i)
{
	return (2 * i + 1);
}

/*
 * Leaf 12 is half empty, and known to be hopeless.  Leaf 13 has the only place,
 * and shrinks until it is merged into the other.
 */
static void
a_node_that_another_is_merged_into_forgets_what_it_knew(void **state)
{
	vmem_t *vm = plain_arena(1, 600, 1);
	int flags = VM_NOSLEEP | VM_FIRSTFIT;
	size_t left = 12 * VMEM_FAN, right = 13 * VMEM_FAN;
	uintptr_t place = hole(right + VMEM_FAN / 2);
	(void)state;

	for (size_t i = 1; i <= 600; i++)
		assert_non_null(vmem_alloc(vm, 1, VM_NOSLEEP));
	for (size_t i = 1; i <= 600; i += 2)
		vmem_free(vm, P(i), 1);
	vmem_free(vm, vmem_alloc(vm, 1, flags), 1);
	for (size_t i = left; i < left + VMEM_FAN / 2; i++)
		vmem_free(vm, P(hole(i) + 1), 1);
	vmem_xfree(
	    vm, vmem_xalloc(vm, 1, 1024, place, 0, NULL, NULL, flags), 1);
	for (size_t i = right + VMEM_FAN; i-- > right;) {
		if (hole(i) != place)
			assert_addr_equal(
			    vmem_xalloc(vm, 1, 0, 0, 0, P(hole(i)),
				P(hole(i) + 1), VM_NOSLEEP),
			    hole(i));
		assert_true(vmem__check(vm));
	}
	assert_addr_equal(
	    vmem_xalloc(vm, 1, 1024, place, 0, NULL, NULL, flags), place);
	assert_true(vmem__check(vm));
}

/* Holes of two units; a window that ends inside one hides its other half. */
static void
what_is_hopeless_in_a_window_may_not_be_so_without(void **state)
{
	enum { HOLES = 300, ALIGN = 4096 };
	vmem_t *vm = plain_arena(1, 4 * HOLES, 1);
	int low = VM_NOSLEEP | VM_FIRSTFIT, high = low | VM_ENDALLOC;
	(void)state;

	for (size_t i = 1; i <= 4 * HOLES; i++)
		assert_non_null(vmem_alloc(vm, 1, VM_NOSLEEP));
	for (size_t i = 1; i <= 4 * HOLES; i += 4) {
		vmem_free(vm, P(i), 1);
		vmem_free(vm, P(i + 1), 1);
	}
	for (uintptr_t a = 1; a <= 4 * HOLES; a += 4) {
		assert_null(
		    vmem_xalloc(vm, 1, ALIGN, a + 1, 0, NULL, P(a + 1), low));
		assert_addr_equal(
		    vmem_xalloc(vm, 1, ALIGN, a + 1, 0, NULL, NULL, low),
		    a + 1);
		vmem_xfree(vm, P(a + 1), 1);
		assert_null(
		    vmem_xalloc(vm, 1, ALIGN, a, 0, P(a + 1), NULL, high));
		assert_addr_equal(
		    vmem_xalloc(vm, 1, ALIGN, a, 0, NULL, NULL, high), a);
		vmem_xfree(vm, P(a), 1);
	}
	assert_true(vmem__check(vm));
}

static void
many_spans_are_found_each(void **state)
{
	vmem_t *vm =
	    vmem_create("spans", NULL, 0, 16, NULL, NULL, NULL, 0, VM_NOSLEEP);
	(void)state;

	/* 7919 is a prime: every span is added, in a wild order. */
	for (size_t i = 0; i < n; i++)
		assert_non_null(vmem_add(
		    vm, P(0x10000 + i * 7919 % n * 64), 48, VM_NOSLEEP));
	assert_true(vmem__check(vm));
	for (size_t i = 0; i < n; i += 97) {
		uintptr_t a = 0x10000 + i * 64;

		assert_int_not_equal(vmem_contains(vm, P(a), 48), 0);
		assert_int_equal(vmem_contains(vm, P(a), 49), 0);
		assert_int_equal(vmem_contains(vm, P(a + 48), 1), 0);
		assert_addr_equal(
		    vmem_xalloc(vm, 32, 0, 0, 0, P(a), P(a + 48), VM_NOSLEEP),
		    a);
		vmem_xfree(vm, P(a), 32);
	}
	done(vm);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_arena_that_needs_no_order_has_no_index),
	    cmocka_unit_test(
		frees_that_exhaust_the_nodes_give_the_index_up_and_it_comes_back),
	    cmocka_unit_test(first_and_next_fit_are_exact_among_many_holes),
	    cmocka_unit_test(best_fit_finds_small_holes_without_an_index),
	    cmocka_unit_test(best_fit_tells_large_holes_apart),
	    cmocka_unit_test(
		segments_that_are_just_too_badly_aligned_are_not_given),
	    cmocka_unit_test(
		best_fit_with_a_constraint_takes_the_smallest_that_has_a_place),
	    cmocka_unit_test(
		best_fit_passes_any_number_of_badly_placed_segments),
	    cmocka_unit_test(best_fit_in_a_window_knows_its_edges),
	    cmocka_unit_test(
		best_fit_tells_two_segments_apart_in_the_smallest_window),
	    cmocka_unit_test(best_fit_in_a_window_gives_up_after_many_sizes),
	    cmocka_unit_test(
		an_arena_that_is_not_asked_for_the_best_any_more_gives_that_index_up),
	    cmocka_unit_test(both_indexes_stay_true_through_growth_and_decay),
	    cmocka_unit_test(
		a_node_that_another_is_merged_into_forgets_what_it_knew),
	    cmocka_unit_test(
		what_is_hopeless_in_a_window_may_not_be_so_without),
	    cmocka_unit_test(many_spans_are_found_each),
	};

	if (getenv("QR_TEST_QUICK") != NULL)
		n = QUICK;
	return (cmocka_run_group_tests_name("vmem_index", tests, NULL, NULL));
}
