/*
 * vmem_alloc_test.c - requests, policies, constraints and frees.
 */
#include "unit/vmem/vmem_test.h"

#include "base/panic.h"
#include "support/child.h"

#include <errno.h>

enum { Q = 0x1000 };

/* Holes of these sizes, in this order, each followed by a used segment. */
static vmem_t *
arena_with_holes(const size_t *sizes, size_t n, void **holes)
{
	vmem_t *vm =
	    vmem_create("holes", NULL, 0, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);
	size_t total = 0;

	for (size_t i = 0; i < n; i++)
		total += sizes[i] + 1;
	assert_non_null(vmem_add(vm, P(0x1000), total, VM_NOSLEEP));
	for (size_t i = 0; i < n; i++) {
		holes[i] = vmem_alloc(vm, sizes[i], VM_NOSLEEP | VM_FIRSTFIT);
		assert_non_null(vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT));
	}
	for (size_t i = 0; i < n; i++)
		vmem_free(vm, holes[i], sizes[i]);
	return (vm);
}

static void
t02_a_maximum_of_null_is_no_limit_and_of_one_admits_nothing(void **state)
{
	vmem_t *vm = plain_arena(Q, 16 * Q, Q);
	void *p;
	(void)state;

	assert_null(vmem_xalloc(vm, Q, 0, 0, 0, NULL, P(1), VM_NOSLEEP));
	p = vmem_xalloc(vm, 16 * Q, 0, 0, 0, NULL, NULL, VM_NOSLEEP);
	assert_addr_equal(p, Q);
	vmem_xfree(vm, p, 16 * Q);
	done(vm);
}

static void
t03_a_window_of_one_quantum_is_served_exactly_once(void **state)
{
	vmem_t *vm = plain_arena(Q, 16 * Q, Q);
	void *p;
	(void)state;

	p = vmem_xalloc(vm, Q, 0, 0, 0, P(0x5000), P(0x6000), VM_NOSLEEP);
	assert_addr_equal(p, 0x5000);
	assert_null(
	    vmem_xalloc(vm, Q, 0, 0, 0, P(0x5000), P(0x6000), VM_NOSLEEP));
	vmem_xfree(vm, p, Q);
	done(vm);
}

static void
t05_next_fit_has_no_effect_on_vmem_xalloc(void **state)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);
	void *a = vmem_alloc(vm, Q, VM_NOSLEEP | VM_NEXTFIT);
	void *b = vmem_alloc(vm, Q, VM_NOSLEEP | VM_NEXTFIT);
	(void)state;

	vmem_free(vm, a, Q);
	vmem_free(vm, b, Q);
	assert_addr_equal(
	    vmem_xalloc(vm, Q, 0, 0, 0, NULL, NULL, VM_NOSLEEP | VM_NEXTFIT),
	    Q);
	assert_addr_equal(vmem_alloc(vm, Q, VM_NOSLEEP | VM_NEXTFIT), 3 * Q);
	vmem_free(vm, P(Q), Q);
	vmem_free(vm, P(3 * Q), Q);
	done(vm);
}

static void
t07_first_fit_takes_the_lowest_address(void **state)
{
	vmem_t *vm = plain_arena(1, 8, 1);
	(void)state;

	for (uintptr_t id = 1; id <= 8; id++)
		assert_non_null(vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT));
	vmem_free(vm, P(3), 1);
	vmem_free(vm, P(7), 1);
	vmem_free(vm, P(5), 1);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT), 3);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT), 5);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_FIRSTFIT), 7);
	for (uintptr_t id = 1; id <= 8; id++)
		vmem_free(vm, P(id), 1);
	done(vm);
}

static void
t08_best_fit_takes_the_smallest_hole_that_fits(void **state)
{
	static const size_t sizes[] = {100, 90, 120};
	void *holes[3];
	vmem_t *vm = arena_with_holes(sizes, 3, holes);
	(void)state;

	assert_addr_equal(
	    vmem_alloc(vm, 80, VM_NOSLEEP | VM_BESTFIT), holes[1]);
	assert_true(vmem__check(vm));
}

static void
t09_instant_fit_prefers_a_list_that_surely_fits(void **state)
{
	static const size_t sizes[] = {100, 90, 120, 200};
	void *holes[4];
	vmem_t *vm = arena_with_holes(sizes, 4, holes);
	(void)state;

	assert_addr_equal(vmem_alloc(vm, 80, VM_NOSLEEP), holes[3]);
	/* 120 is left of the hole of 200: it is not surely 80 any more. */
	assert_non_null(vmem_alloc(vm, 80, VM_NOSLEEP));
	assert_true(vmem__check(vm));
}

static void
t10_no_policy_fails_while_one_free_segment_is_large_enough(void **state)
{
	static const int policies[] = {0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT,
	    VM_ENDALLOC, VM_BESTFIT | VM_ENDALLOC};
	(void)state;

	for (size_t i = 0; i < sizeof(policies) / sizeof(policies[0]); i++) {
		/* Many of one list that are too small, and one that fits. */
		static size_t sizes[64];
		void *holes[64], *p;
		vmem_t *vm;

		for (size_t n = 0; n < 64; n++)
			sizes[n] = n == 40 ? 120 : 70;
		vm = arena_with_holes(sizes, 64, holes);
		p = vmem_alloc(vm, 110, VM_NOSLEEP | policies[i]);
		assert_in_range(
		    p, (uintptr_t)holes[40], (uintptr_t)holes[40] + 10);
		assert_null(vmem_alloc(vm, 110, VM_NOSLEEP | policies[i]));
		assert_true(vmem__check(vm));
	}
}

static void
t11_a_constrained_request_finds_the_only_feasible_segment(void **state)
{
	vmem_t *vm = vmem_create(
	    "t11", P(0x1000), 100, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);
	(void)state;

	assert_non_null(vmem_add(vm, P(0x10000), 1024, VM_NOSLEEP));
	assert_addr_equal(
	    vmem_xalloc(vm, 100, 0, 0, 0, NULL, P(0x2000), VM_NOSLEEP), 0x1000);
	vmem_xfree(vm, P(0x1000), 100);
	done(vm);
}

static void
t12_next_fit_leaves_nothing_that_blocks_coalescing(void **state)
{
	vmem_t *vm = plain_arena(1, 100, 1);
	(void)state;

	for (uintptr_t id = 1; id <= 50; id++)
		assert_addr_equal(
		    vmem_alloc(vm, 1, VM_NOSLEEP | VM_NEXTFIT), id);
	for (uintptr_t id = 1; id <= 50; id++)
		vmem_free(vm, P(id), 1);
	assert_int_equal(count_segments(vm, VMEM_FREE), 1);
	assert_addr_equal(vmem_alloc(vm, 100, VM_NOSLEEP), 1);
	vmem_free(vm, P(1), 100);
	assert_addr_equal(vmem_alloc(vm, 100, VM_NOSLEEP | VM_NEXTFIT), 1);
	vmem_free(vm, P(1), 100);
	done(vm);
}

static void
t13_next_fit_reuses_a_lower_address_only_after_wrapping(void **state)
{
	vmem_t *vm = plain_arena(1, 8, 1);
	(void)state;

	for (uintptr_t id = 1; id <= 5; id++)
		assert_addr_equal(
		    vmem_alloc(vm, 1, VM_NOSLEEP | VM_NEXTFIT), id);
	vmem_free(vm, P(2), 1);
	vmem_free(vm, P(3), 1);
	vmem_free(vm, P(5), 1);
	for (uintptr_t id = 6; id <= 8; id++)
		assert_addr_equal(
		    vmem_alloc(vm, 1, VM_NOSLEEP | VM_NEXTFIT), id);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_NEXTFIT), 2);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_NEXTFIT), 3);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_NEXTFIT), 5);
	assert_null(vmem_alloc(vm, 1, VM_NOSLEEP | VM_NEXTFIT));
	for (uintptr_t id = 1; id <= 8; id++)
		vmem_free(vm, P(id), 1);
	done(vm);
}

static void
t14_after_a_big_request_next_fit_goes_on_behind_it(void **state)
{
	vmem_t *vm = plain_arena(1, 100, 1);
	(void)state;

	assert_addr_equal(vmem_alloc(vm, 5, VM_NOSLEEP | VM_NEXTFIT), 1);
	assert_addr_equal(
	    vmem_xalloc(vm, 1, 0, 0, 0, P(10), P(11), VM_NOSLEEP), 10);
	/* [6, 10) is too small for 20, and is left behind. */
	assert_addr_equal(vmem_alloc(vm, 20, VM_NOSLEEP | VM_NEXTFIT), 11);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_NEXTFIT), 31);
	vmem_free(vm, P(1), 5);
	vmem_free(vm, P(10), 1);
	vmem_free(vm, P(11), 20);
	vmem_free(vm, P(31), 1);
	done(vm);
}

static void
do_free_quantum(void *arg)
{
	vmem_free(arg, P(Q), Q);
}

static void
t19_a_size_is_recorded_exactly_and_occupies_whole_quanta(void **state)
{
	vmem_t *vm = plain_arena(Q, 2 * Q, Q);
	void *p = vmem_alloc(vm, 1, VM_NOSLEEP);
	(void)state;

	assert_addr_equal(p, Q);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 1);
	assert_int_equal(vmem_size(vm, VMEM_FREE), 2 * Q - 1);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC | VMEM_FREE), 2 * Q);
	assert_null(vmem_alloc(vm, Q + 1, VM_NOSLEEP));
	assert_int_equal(count_segments(vm, VMEM_ALLOC), 1);
	child_expect_abort_like(do_free_quantum, vm,
	    "vmem_hash_delete(0x*, 1000, 4096): wrong size (expect 1)");
	vmem_free(vm, p, 1);
	done(vm);
}

static void
free_it(void *arg, void *start, size_t size)
{
	vmem_xfree(arg, start, size);
}

struct bad_free {
	uintptr_t addr;
	size_t size;
};

/* [Q, Q + 3) is allocated, [2 * Q, 3 * Q) was freed. */
static void
do_bad_free(void *arg)
{
	const struct bad_free *bad = arg;
	vmem_t *vm =
	    vmem_create("bad", P(Q), 8 * Q, Q, NULL, NULL, NULL, 0, VM_NOSLEEP);

	CHILD_CHECK(vmem_alloc(vm, 3, VM_NOSLEEP | VM_FIRSTFIT) == P(Q));
	CHILD_CHECK(vmem_alloc(vm, Q, VM_NOSLEEP | VM_FIRSTFIT) == P(2 * Q));
	vmem_free(vm, P(2 * Q), Q);
	vmem_free(vm, P(bad->addr), bad->size);
}

static void
t20_a_bad_free_is_fatal_and_named(void **state)
{
	struct bad_free interior = {Q + 1, 2}, twice = {2 * Q, Q},
			unknown = {0x100000, Q}, wrong = {Q, Q};
	(void)state;

	child_expect_abort_like(
	    do_bad_free, &interior, "vmem_hash_delete(0x*, 1001, 2): bad free");
	child_expect_abort_like(
	    do_bad_free, &twice, "vmem_hash_delete(0x*, 2000, 4096): bad free");
	child_expect_abort_like(do_bad_free, &unknown,
	    "vmem_hash_delete(0x*, 100000, 4096): bad free");
	child_expect_abort_like(do_bad_free, &wrong,
	    "vmem_hash_delete(0x*, 1000, 4096): wrong size (expect 3)");
}

static void
t21_freeing_in_any_order_ends_in_one_free_segment(void **state)
{
	enum { N = 97 };
	vmem_t *vm = plain_arena(Q, 1024 * Q, Q);
	void *p[N];
	(void)state;

	/* Steps that are coprime to N visit everything. */
	for (size_t step = 1; step < 20; step++) {
		for (size_t i = 0; i < N; i++)
			p[i] = vmem_alloc(vm, (1 + i % 7) * Q, VM_NOSLEEP);
		for (size_t n = 0, i = 0; n < N; n++, i = (i + step) % N) {
			vmem_free(vm, p[i], (1 + i % 7) * Q);
			assert_true(vmem__check(vm));
		}
		assert_int_equal(count_segments(vm, VMEM_ALLOC | VMEM_FREE), 1);
	}
	done(vm);
}

struct xalloc_args {
	size_t size, align, phase, nocross;
};

static void
do_xalloc(void *arg)
{
	const struct xalloc_args *x = arg;
	vmem_t *vm = vmem_create(
	    "bad", P(Q), 64 * Q, Q, NULL, NULL, NULL, 0, VM_NOSLEEP);

	(void)vmem_xalloc(vm, x->size, x->align, x->phase, x->nocross, P(0x40),
	    P(0x80), VM_NOSLEEP);
}

static void
t34_impossible_parameters_are_fatal_and_all_printed(void **state)
{
	struct xalloc_args off_quantum = {Q, 8, 0, 0},
			   off_phase = {Q, 2 * Q, 8, 0},
			   off_nocross = {Q, 0, 0, 8},
			   crosses = {3 * Q, 0, 0, 2 * Q},
			   tight = {Q, 4 * Q, 0, 2 * Q},
			   phase = {Q, 2 * Q, 2 * Q, 0},
			   bare_phase = {Q, 0, Q, 0}, align = {Q, 3 * Q, 0, 0},
			   nocross = {Q, 0, 0, 3 * Q};
	(void)state;

	child_expect_abort_like(do_xalloc, &off_quantum,
	    "vmem_xalloc(0x*, 4096, 8, 0, 0, 0x40, 0x80, 1): parameters not "
	    "vm_quantum aligned");
	child_expect_abort_like(do_xalloc, &off_phase,
	    "vmem_xalloc(0x*, 4096, 8192, 8, 0, 0x40, 0x80, 1): parameters not "
	    "vm_quantum aligned");
	child_expect_abort_like(do_xalloc, &off_nocross,
	    "vmem_xalloc(0x*, 4096, 0, 0, 8, 0x40, 0x80, 1): parameters not "
	    "vm_quantum aligned");
	child_expect_abort_like(do_xalloc, &crosses,
	    "vmem_xalloc(0x*, 12288, 0, 0, 8192, 0x40, 0x80, 1): "
	    "overconstrained allocation");
	child_expect_abort_like(
	    do_xalloc, &tight, "vmem_xalloc(*): overconstrained allocation");
	child_expect_abort_like(
	    do_xalloc, &phase, "vmem_xalloc(*): *invalid phase");
	child_expect_abort_like(
	    do_xalloc, &bare_phase, "vmem_xalloc(*): *invalid phase");
	child_expect_abort_like(do_xalloc, &align,
	    "vmem_xalloc(*): parameters inconsistent or invalid*");
	child_expect_abort_like(do_xalloc, &nocross,
	    "vmem_xalloc(*): parameters inconsistent or invalid*");
}

static void
t35_a_boundary_equal_to_size_and_alignment_is_legal_a_smaller_not(void **state)
{
	vmem_t *vm = plain_arena(Q, 64 * Q, Q);
	struct xalloc_args smaller = {4 * Q, 0, 0, 2 * Q};
	void *p =
	    vmem_xalloc(vm, 4 * Q, 4 * Q, 0, 4 * Q, NULL, NULL, VM_NOSLEEP);
	(void)state;

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % (4 * Q), 0);
	vmem_xfree(vm, p, 4 * Q);
	done(vm);
	child_expect_abort_like(do_xalloc, &smaller,
	    "vmem_xalloc(0x*, 16384, 0, 0, 8192, 0x40, 0x80, 1): "
	    "overconstrained allocation");
}

static void
t36_endalloc_takes_the_highest_feasible_address(void **state)
{
	vmem_t *vm = plain_arena(Q, 64 * Q, Q);
	void *top, *limited, *uncrossed, *aligned, *odd;
	(void)state;

	top = vmem_alloc(vm, Q, VM_NOSLEEP | VM_ENDALLOC);
	assert_addr_equal(top, 64 * Q);
	limited = vmem_xalloc(
	    vm, Q, 0, 0, 0, NULL, P(32 * Q), VM_NOSLEEP | VM_ENDALLOC);
	assert_addr_equal(limited, 31 * Q);
	uncrossed = vmem_xalloc(
	    vm, 3 * Q, 0, 0, 4 * Q, NULL, P(22 * Q), VM_NOSLEEP | VM_ENDALLOC);
	assert_addr_equal(uncrossed, 17 * Q);
	aligned = vmem_xalloc(vm, 2 * Q, 8 * Q, 3 * Q, 0, P(40 * Q), P(60 * Q),
	    VM_NOSLEEP | VM_ENDALLOC | VM_FIRSTFIT);
	assert_addr_equal(aligned, 51 * Q);
	/* A size that is no multiple of the quantum ends inside one. */
	odd = vmem_alloc(vm, Q + 1, VM_NOSLEEP | VM_ENDALLOC);
	assert_addr_equal(odd, 62 * Q);
	vmem_free(vm, top, Q);
	vmem_xfree(vm, limited, Q);
	vmem_xfree(vm, uncrossed, 3 * Q);
	vmem_xfree(vm, aligned, 2 * Q);
	vmem_free(vm, odd, Q + 1);
	done(vm);
}

/*
 * Many holes of three quanta, of which only one, below all the others, has
 * room for two at a multiple of four; and below that one much is free.
 */
static void
t36_endalloc_is_exact_where_hardly_any_segment_fits(void **state)
{
	enum { FIRST = 64, HOLES = 300 };
	vmem_t *vm = plain_arena(Q, 32 * Q, Q);
	uintptr_t p, top = (FIRST + 8 * HOLES) * Q;
	(void)state;

	assert_non_null(vmem_add(vm, P(FIRST * Q), 8 * HOLES * Q, VM_NOSLEEP));
	for (p = FIRST * Q; p < top; p += Q)
		assert_non_null(
		    vmem_xalloc(vm, Q, 0, 0, 0, P(p), P(p + Q), VM_NOSLEEP));
	for (p = FIRST * Q; p < top; p += 8 * Q) {
		size_t offset = p == FIRST * Q ? 4 : 1;

		for (size_t i = offset; i < offset + 3; i++)
			vmem_xfree(vm, P(p + i * Q), Q);
	}
	p = (uintptr_t)vmem_xalloc(
	    vm, 2 * Q, 4 * Q, 0, 0, NULL, NULL, VM_NOSLEEP | VM_ENDALLOC);
	assert_int_equal(p, (FIRST + 4) * Q);
	vmem_walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, free_it, vm);
	done(vm);
}

/* ---- beyond the list ---- */

static void
do_size_zero(void *arg)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);

	(void)vmem_alloc(vm, 0, *(int *)arg);
}

static void
a_size_of_zero_is_fatal_whatever_the_policy(void **state)
{
	int instant = VM_NOSLEEP, next = VM_NOSLEEP | VM_NEXTFIT;
	(void)state;

	child_expect_abort(do_size_zero, &instant, "vmem_xalloc(): size == 0");
	child_expect_abort(do_size_zero, &next, "vmem_xalloc(): size == 0");
}

static void
do_mandatory(void *arg)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);

	(void)vmem_alloc(vm, 5 * Q, *(int *)arg);
}

static void
do_mandatory_with_limits(void *arg)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);

	(void)vmem_xalloc(
	    vm, Q, 0, 0, 0, NULL, (void *)(uintptr_t)Q, *(int *)arg);
}

static void
do_mandatory_integer(void *arg)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);
	uintptr_t got;

	(void)vmem_xalloc_addr(vm, Q, 0, 0, 0, 0, Q, *(int *)arg, &got);
}

static void
a_mandatory_request_that_fails_is_fatal(void **state)
{
	int alone = VM_PANIC, nosleep = VM_PANIC | VM_NOSLEEP;
	(void)state;

	child_expect_abort_like(do_mandatory, &nosleep,
	    "vmem_xalloc(0x*, 20480, 4096, 0, 0, *, *, 3): cannot satisfy "
	    "mandatory allocation");
	child_expect_abort_like(do_mandatory, &alone,
	    "vmem_xalloc(*): cannot satisfy mandatory allocation");
	child_expect_abort_like(do_mandatory_with_limits, &nosleep,
	    "vmem_xalloc(0x*, 4096, *, 0, 0, *, 0x1000, 3): cannot satisfy "
	    "mandatory allocation");
	child_expect_abort_like(do_mandatory_integer, &nosleep,
	    "vmem_xalloc(0x*, 4096, *, 0, 0, *, 0x1000, 3): cannot satisfy "
	    "mandatory allocation");
}

/* Extents that no integer holds, here and when a source is asked. */
static void
what_is_larger_than_everything_is_not_had(void **state)
{
	size_t half = (size_t)1 << 63;
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);
	vmem_t *child = vmem_create(
	    "child", NULL, 0, Q, vmem_alloc, vmem_free, vm, 0, VM_NOSLEEP);
	(void)state;

	assert_non_null(child);
	for (int policy = 0; policy < 3; policy++) {
		int flags =
		    VM_NOSLEEP | (int[]){0, VM_BESTFIT, VM_FIRSTFIT}[policy];

		assert_null(
		    vmem_xalloc(vm, half, half, 0, half, NULL, NULL, flags));
		assert_null(
		    vmem_xalloc(vm, half + Q, half, 0, 0, NULL, NULL, flags));
		assert_null(
		    vmem_xalloc(child, half, half, 0, half, NULL, NULL, flags));
		assert_null(vmem_xalloc(
		    child, half + Q, half, 0, 0, NULL, NULL, flags));
	}
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 0);
	vmem_destroy(child);
	vmem_destroy(vm);
}

static char last_message[256];

static void
remember(const char *message)
{
	(void)snprintf(last_message, sizeof(last_message), "%s", message);
}

static void
a_panic_hook_that_returns_makes_the_call_fail_and_change_nothing(void **state)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);
	void *p = vmem_alloc(vm, Q, VM_NOSLEEP);
	(void)state;

	(void)qr_set_panic_hook(remember);
	assert_null(vmem_alloc(vm, 0, VM_NOSLEEP));
	assert_string_equal(last_message, "vmem_xalloc(): size == 0");
	assert_null(vmem_xalloc(vm, 0, 0, 0, 0, NULL, NULL, VM_NOSLEEP));
	assert_null(vmem_xalloc(vm, Q, 3, 0, 0, NULL, NULL, VM_NOSLEEP));
	assert_null(vmem_alloc(vm, 64 * Q, VM_PANIC));
	vmem_free(vm, P(3 * Q), Q);
	vmem_free(vm, p, 2 * Q);
	assert_null(vmem_add(vm, NULL, Q, VM_NOSLEEP));
	assert_null(vmem_add(vm, P(2 * Q), Q, VM_NOSLEEP));
	assert_null(
	    vmem_create("no", NULL, Q, Q, NULL, NULL, NULL, 0, VM_NOSLEEP));
	(void)qr_set_panic_hook(NULL);

	assert_int_equal(vmem_size(vm, VMEM_ALLOC), Q);
	assert_int_equal(vmem_size(vm, VMEM_FREE), 3 * Q);
	vmem_free(vm, p, Q);
	done(vm);
}

static void
address_zero_is_an_ordinary_answer(void **state)
{
	vmem_t *vm = vmem_create("zero", NULL, 0, 1, NULL, NULL, NULL, 0,
	    VM_NOSLEEP | VMC_IDENTIFIER);
	uintptr_t a = 77;
	(void)state;

	assert_int_equal(vmem_add_addr(vm, 0, 3, VM_NOSLEEP), 0);
	for (uintptr_t id = 0; id < 3; id++) {
		assert_int_equal(vmem_xalloc_addr(vm, 1, 0, 0, 0, 0, 0,
				     VM_NOSLEEP | VM_NEXTFIT, &a),
		    0);
		assert_int_equal(a, id);
	}
	assert_int_equal(
	    vmem_xalloc_addr(vm, 1, 0, 0, 0, 0, 0, VM_NOSLEEP, &a), ENOMEM);
	vmem_xfree_addr(vm, 0, 1);
	assert_int_equal(
	    vmem_xalloc_addr(vm, 1, 0, 0, 0, 0, 1, VM_NOSLEEP, &a), 0);
	assert_int_equal(a, 0);
	for (uintptr_t id = 0; id < 3; id++)
		vmem_xfree_addr(vm, id, 1);
	done(vm);
}

static void
sizes_that_wrap_fail(void **state)
{
	vmem_t *vm = plain_arena(Q, 16 * Q, Q);
	(void)state;

	for (size_t k = 0; k < 3 * Q; k += Q / 2) {
		assert_null(vmem_alloc(vm, SIZE_MAX - k, VM_NOSLEEP));
		assert_null(
		    vmem_alloc(vm, SIZE_MAX - k, VM_NOSLEEP | VM_BESTFIT));
		assert_null(vmem_xalloc(
		    vm, SIZE_MAX - k, 4 * Q, Q, 0, NULL, NULL, VM_NOSLEEP));
		assert_null(vmem_xalloc(
		    vm, Q, 0, 0, 0, P(UINTPTR_MAX - k), NULL, VM_NOSLEEP));
	}
	assert_null(
	    vmem_xalloc(vm, Q, (size_t)1 << 63, 0, 0, NULL, NULL, VM_NOSLEEP));
	done(vm);
}

static void
a_default_policy_applies_to_vmem_alloc_only(void **state)
{
	vmem_t *vm = plain_arena(1, 8, 1);
	(void)state;

	vmem__set_default_policy(VM_NEXTFIT);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP), 1);
	vmem_free(vm, P(1), 1);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP), 2);
	assert_addr_equal(
	    vmem_xalloc(vm, 1, 0, 0, 0, NULL, NULL, VM_NOSLEEP), 1);
	vmem__set_default_policy(0);
	vmem_free(vm, P(1), 1);
	vmem_free(vm, P(2), 1);
	done(vm);
}

static void
fault_injection_strikes_nosleep_requests_only(void **state)
{
	vmem_t *vm = plain_arena(1, 8, 1);
	(void)state;

	vmem__set_mtbf(1);
	assert_null(vmem_alloc(vm, 1, VM_NOSLEEP));
	assert_addr_equal(vmem_alloc(vm, 1, VM_SLEEP), 1);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP | VM_PANIC), 2);
	vmem__set_mtbf(0);
	assert_addr_equal(vmem_alloc(vm, 1, VM_NOSLEEP), 3);
	for (uintptr_t id = 1; id <= 3; id++)
		vmem_free(vm, P(id), 1);
	done(vm);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		t02_a_maximum_of_null_is_no_limit_and_of_one_admits_nothing),
	    cmocka_unit_test(
		t03_a_window_of_one_quantum_is_served_exactly_once),
	    cmocka_unit_test(t05_next_fit_has_no_effect_on_vmem_xalloc),
	    cmocka_unit_test(t07_first_fit_takes_the_lowest_address),
	    cmocka_unit_test(t08_best_fit_takes_the_smallest_hole_that_fits),
	    cmocka_unit_test(t09_instant_fit_prefers_a_list_that_surely_fits),
	    cmocka_unit_test(
		t10_no_policy_fails_while_one_free_segment_is_large_enough),
	    cmocka_unit_test(
		t11_a_constrained_request_finds_the_only_feasible_segment),
	    cmocka_unit_test(
		t12_next_fit_leaves_nothing_that_blocks_coalescing),
	    cmocka_unit_test(
		t13_next_fit_reuses_a_lower_address_only_after_wrapping),
	    cmocka_unit_test(
		t14_after_a_big_request_next_fit_goes_on_behind_it),
	    cmocka_unit_test(
		t19_a_size_is_recorded_exactly_and_occupies_whole_quanta),
	    cmocka_unit_test(t20_a_bad_free_is_fatal_and_named),
	    cmocka_unit_test(t21_freeing_in_any_order_ends_in_one_free_segment),
	    cmocka_unit_test(
		t34_impossible_parameters_are_fatal_and_all_printed),
	    cmocka_unit_test(
		t35_a_boundary_equal_to_size_and_alignment_is_legal_a_smaller_not),
	    cmocka_unit_test(t36_endalloc_takes_the_highest_feasible_address),
	    cmocka_unit_test(
		t36_endalloc_is_exact_where_hardly_any_segment_fits),
	    cmocka_unit_test(a_size_of_zero_is_fatal_whatever_the_policy),
	    cmocka_unit_test(a_mandatory_request_that_fails_is_fatal),
	    cmocka_unit_test(what_is_larger_than_everything_is_not_had),
	    cmocka_unit_test(
		a_panic_hook_that_returns_makes_the_call_fail_and_change_nothing),
	    cmocka_unit_test(address_zero_is_an_ordinary_answer),
	    cmocka_unit_test(sizes_that_wrap_fail),
	    cmocka_unit_test(a_default_policy_applies_to_vmem_alloc_only),
	    cmocka_unit_test(fault_injection_strikes_nosleep_requests_only),
	};

	return (cmocka_run_group_tests_name("vmem_alloc", tests, NULL, NULL));
}
