/*
 * vmem_arena_test.c - creating, adding, asking, destroying.
 */
#include "unit/vmem/vmem_test.h"

#include "support/child.h"
#include "vmem/vmem_tag.h"

#include <errno.h>

enum { Q = 0x1000 };

struct create_args {
	uintptr_t base;
	size_t size, quantum;
};

static void
do_create(void *arg)
{
	const struct create_args *c = arg;

	(void)vmem_create("bad", P(c->base), c->size, c->quantum, NULL, NULL,
	    NULL, 0, VM_NOSLEEP);
}

static void
t01_a_base_of_null_with_a_size_is_fatal(void **state)
{
	struct create_args no_base = {0, Q, Q}, no_size = {Q, 0, Q};
	(void)state;

	child_expect_abort_like(
	    do_create, &no_base, "vmem_add(0x*, 0x0, 4096): bad arguments");
	child_expect_abort_like(
	    do_create, &no_size, "vmem_add(0x*, 0x1000, 0): bad arguments");
}

static void
bad_quanta_and_spans_are_fatal_and_named(void **state)
{
	struct create_args odd = {Q, Q, 3}, zero = {Q, Q, 0},
			   start = {Q + 1, Q, Q}, size = {Q, Q + 1, Q},
			   wraps = {UINTPTR_MAX - Q + 1, 2 * Q, Q};
	(void)state;

	child_expect_abort(do_create, &odd,
	    "vmem_create('bad'): quantum 3 is not a power of two");
	child_expect_abort(do_create, &zero,
	    "vmem_create('bad'): quantum 0 is not a power of two");
	child_expect_abort_like(do_create, &start,
	    "vmem_span_create(0x*, 0x1001, 4096): misaligned");
	child_expect_abort_like(do_create, &size,
	    "vmem_span_create(0x*, 0x1000, 4097): misaligned");
	child_expect_abort_like(do_create, &wraps,
	    "vmem_add(0x*, 0xfffffffffffff000, 8192): bad arguments");
}

static void
do_create_nameless(void *arg)
{
	(void)arg;
	(void)vmem_create(NULL, P(Q), Q, Q, NULL, NULL, NULL, 0, VM_PANIC);
}

static void
an_arena_without_a_name_is_fatal(void **state)
{
	(void)state;
	child_expect_abort(do_create_nameless, NULL, "vmem_create(): no name");
}

struct mismatch {
	int source, arena;
};

static void
do_mismatch(void *arg)
{
	const struct mismatch *m = arg;
	vmem_t *source = vmem_create("below", P(Q), 64 * Q, Q, NULL, NULL, NULL,
	    0, VM_NOSLEEP | m->source);

	CHILD_CHECK(source != NULL);
	(void)vmem_create("above", NULL, 0, Q, vmem_alloc, vmem_free, source, 0,
	    VM_NOSLEEP | m->arena);
}

static void
a_source_of_the_other_kind_is_fatal_and_both_are_named(void **state)
{
	struct mismatch ids = {VMC_IDENTIFIER, 0}, memory = {0, VMC_IDENTIFIER};
	(void)state;

	child_expect_abort(do_mismatch, &ids,
	    "vmem_create('above'): an arena of memory cannot have 'below', "
	    "one of identifiers, as its source");
	child_expect_abort(do_mismatch, &memory,
	    "vmem_create('above'): an arena of identifiers cannot have "
	    "'below', one of memory, as its source");
}

static unsigned panics;

static void
count_panic(const char *message)
{
	(void)message;
	panics++;
	errno = 77;
}

static void *
import_nothing(vmem_t *source, size_t *sizep, size_t align, int vmflag)
{
	(void)source;
	(void)sizep;
	(void)align;
	(void)vmflag;
	return (NULL);
}

/* The panic hook returned: the call fails, and no arena is left behind. */
static void
what_cannot_be_created_is_an_invalid_argument(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q), *vm;
	uint64_t id = stat_of("test").vs_id;
	int ids = VM_NOSLEEP | VMC_IDENTIFIER;
	(void)state;

	(void)qr_set_panic_hook(count_panic);
	errno = panics = 0;
	assert_null(vmem_create(
	    "no", NULL, 0, Q, vmem_alloc, vmem_free, source, 0, ids));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(vmem_xcreate(
	    "no", NULL, 0, Q, import_nothing, vmem_free, source, 0, ids));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(
	    vmem_create("no", NULL, 0, 3, NULL, NULL, NULL, 0, VM_NOSLEEP));
	assert_int_equal(errno, EINVAL);
	errno = 0;
	assert_null(
	    vmem_create(NULL, NULL, 0, Q, NULL, NULL, NULL, 0, VM_NOSLEEP));
	assert_int_equal(errno, EINVAL);
	assert_int_equal(panics, 4);
	(void)qr_set_panic_hook(NULL);

	vm = vmem_create(
	    "yes", NULL, 0, Q, vmem_alloc, vmem_free, source, 0, VM_NOSLEEP);
	assert_true(stat_of("yes").vs_id == id + 1);
	vmem_free(vm, vmem_alloc(vm, 64 * Q, VM_NOSLEEP), 64 * Q);
	done(vm);
	done(source);
}

static void
do_overlap(void *arg)
{
	const struct create_args *c = arg;
	vmem_t *vm = vmem_create(
	    "laps", P(16 * Q), 16 * Q, Q, NULL, NULL, NULL, 0, VM_NOSLEEP);

	(void)vmem_add(vm, P(c->base), c->size, VM_NOSLEEP);
}

static void
overlapping_spans_are_fatal_and_named(void **state)
{
	struct create_args inside = {20 * Q, Q, 0}, left = {15 * Q, 2 * Q, 0},
			   right = {31 * Q, 2 * Q, 0}, around = {Q, 64 * Q, 0};
	(void)state;

	child_expect_abort_like(do_overlap, &inside,
	    "vmem_add(0x*, 0x14000, 4096): overlaps a span of 'laps'");
	child_expect_abort_like(
	    do_overlap, &left, "vmem_add(*): overlaps a span of 'laps'");
	child_expect_abort_like(
	    do_overlap, &right, "vmem_add(*): overlaps a span of 'laps'");
	child_expect_abort_like(
	    do_overlap, &around, "vmem_add(*): overlaps a span of 'laps'");
}

static void
t15_touching_spans_stay_two(void **state)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);
	(void)state;

	assert_non_null(vmem_add(vm, P(5 * Q), 4 * Q, VM_NOSLEEP));
	assert_null(vmem_alloc(vm, 5 * Q, VM_NOSLEEP));
	assert_int_equal(vmem_contains(vm, P(4 * Q), 2 * Q), 0);
	assert_int_not_equal(vmem_contains(vm, P(4 * Q), Q), 0);
	assert_int_not_equal(vmem_contains(vm, P(5 * Q), 4 * Q), 0);
	assert_addr_equal(vmem_alloc(vm, 4 * Q, VM_NOSLEEP | VM_FIRSTFIT), Q);
	assert_addr_equal(
	    vmem_alloc(vm, 4 * Q, VM_NOSLEEP | VM_FIRSTFIT), 5 * Q);
	vmem_free(vm, P(5 * Q), 4 * Q);
	vmem_free(vm, P(Q), 4 * Q);
	assert_int_equal(count_segments(vm, VMEM_FREE), 2);
	done(vm);
}

static void
contains_is_exact_at_the_ends(void **state)
{
	vmem_t *vm = plain_arena(2 * Q, 2 * Q, Q);
	(void)state;

	assert_int_equal(vmem_contains(vm, P(2 * Q - 1), 1), 0);
	assert_int_not_equal(vmem_contains(vm, P(2 * Q), 1), 0);
	assert_int_not_equal(vmem_contains(vm, P(2 * Q), 2 * Q), 0);
	assert_int_equal(vmem_contains(vm, P(2 * Q), 2 * Q + 1), 0);
	assert_int_not_equal(vmem_contains(vm, P(4 * Q - 1), 1), 0);
	assert_int_equal(vmem_contains(vm, P(4 * Q), 1), 0);
	assert_int_equal(vmem_contains(vm, P(3 * Q), SIZE_MAX), 0);
	assert_int_not_equal(vmem_contains(vm, P(3 * Q), 0), 0);
	assert_int_equal(vmem_contains(vm, P(4 * Q), 0), 0);
	done(vm);
}

static void
do_leak(void *arg)
{
	const int *flags = arg;
	vmem_t *vm =
	    vmem_create("leaky", P(Q), 4 * Q, Q, NULL, NULL, NULL, 0, *flags);

	CHILD_CHECK(vmem_alloc(vm, Q + 7, VM_NOSLEEP) != NULL);
	vmem_destroy(vm);
}

static void
t18_destroying_warns_with_the_exact_number_of_leaked_units(void **state)
{
	int memory = VM_NOSLEEP, ids = VM_NOSLEEP | VMC_IDENTIFIER;
	struct child c;
	(void)state;

	child_run(&c, do_leak, &memory);
	assert_int_equal(c.c_signal, 0);
	assert_string_equal(
	    c.c_stderr, "quarry: vmem_destroy('leaky'): leaked 4103 bytes\n");
	child_run(&c, do_leak, &ids);
	assert_int_equal(c.c_signal, 0);
	assert_string_equal(c.c_stderr,
	    "quarry: vmem_destroy('leaky'): leaked 4103 identifiers\n");
}

static void
t33_a_span_may_end_at_the_top_of_the_address_space(void **state)
{
	uintptr_t base = UINTPTR_MAX - 16 * Q + 1;
	vmem_t *vm = plain_arena(base, 16 * Q, Q);
	void *p[16];
	(void)state;

	assert_int_not_equal(vmem_contains(vm, P(base), 16 * Q), 0);
	assert_int_equal(vmem_contains(vm, P(base), 16 * Q + 1), 0);
	for (size_t i = 0; i < 16; i++) {
		p[i] = vmem_alloc(vm, Q, VM_NOSLEEP | VM_NEXTFIT);
		assert_addr_equal(p[i], base + i * Q);
	}
	assert_null(vmem_alloc(vm, 1, VM_NOSLEEP));
	for (size_t i = 16; i-- > 0;)
		vmem_free(vm, p[i], Q);
	assert_int_equal(count_segments(vm, VMEM_FREE), 1);
	p[0] = vmem_alloc(vm, 16 * Q - 1, VM_NOSLEEP | VM_ENDALLOC);
	assert_addr_equal(p[0], base);
	vmem_free(vm, p[0], 16 * Q - 1);
	p[0] = vmem_xalloc(
	    vm, Q, 0, 0, 0, P(UINTPTR_MAX - Q + 1), NULL, VM_NOSLEEP);
	assert_addr_equal(p[0], UINTPTR_MAX - Q + 1);
	vmem_xfree(vm, p[0], Q);
	done(vm);
}

static void
vmem_size_ignores_other_bits(void **state)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);
	(void)state;

	assert_int_equal(vmem_size(vm, VMEM_SPAN | VMEM_ROTOR), 0);
	assert_int_equal(vmem_size(vm, VMEM_SPAN | VMEM_FREE), 4 * Q);
	assert_int_equal(vmem_size(vm, 0), 0);
	done(vm);
}

static void
names_are_copied_and_cut(void **state)
{
	char name[] = "a name of more than thirty characters";
	vmem_t *vm =
	    vmem_create(name, NULL, 0, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);
	(void)state;

	memset(name, 'x', 10);
	assert_string_equal(stat_of("a name of more than thirty ch").vs_name,
	    "a name of more than thirty ch");
	done(vm);
}

static void
statistics_tell_what_an_arena_is_and_did(void **state)
{
	vmem_t *source = vmem_create(
	    "below", P(Q), 64 * Q, Q, NULL, NULL, NULL, 0, VM_NOSLEEP);
	vmem_t *vm = vmem_create(
	    "above", NULL, 0, Q, vmem_alloc, vmem_free, source, 0, VM_NOSLEEP);
	void *p = vmem_alloc(vm, 3 * Q - 1, VM_NOSLEEP);
	void *q = vmem_alloc(vm, Q, VM_NOSLEEP);
	struct vmem__stat above, below;
	(void)state;

	assert_null(vmem_alloc(vm, 65 * Q, VM_NOSLEEP));
	vmem_free(vm, q, Q);
	above = stat_of("above");
	below = stat_of("below");
	assert_true(above.vs_id == below.vs_id + 1);
	assert_true(above.vs_source_id == below.vs_id);
	assert_string_equal(above.vs_source_name, "below");
	assert_string_equal(below.vs_source_name, "");
	assert_int_equal(above.vs_depth, 1);
	assert_int_equal(below.vs_depth, 0);
	assert_int_equal(above.vs_inuse, 3 * Q - 1);
	assert_int_equal(above.vs_import, 3 * Q);
	assert_int_equal(above.vs_total, 3 * Q);
	assert_int_equal(above.vs_spans, 1);
	assert_int_equal(above.vs_segments, 1);
	assert_int_equal(above.vs_alloc, 2);
	assert_int_equal(above.vs_free, 1);
	assert_int_equal(above.vs_fail, 1);
	assert_int_equal(above.vs_wait, 0);
	assert_int_equal(below.vs_inuse, 3 * Q);
	vmem_free(vm, p, 3 * Q - 1);
	done(vm);
	done(source);
}

/* Of 32 segments in 16 chains at least half are not the last of theirs. */
static void
lookups_are_the_segments_that_frees_passed_over(void **state)
{
	enum { MANY = 2 << VMEM_HASH_BITS };
	vmem_t *vm = plain_arena(16, MANY * 16, 16);
	void *p[MANY];
	(void)state;

	for (size_t i = 0; i < MANY; i++)
		p[i] = vmem_alloc(vm, 16, VM_NOSLEEP);
	for (size_t i = MANY; i-- > 0;)
		vmem_free(vm, p[i], 16);
	assert_int_equal(stat_of("test").vs_lookup, 0);
	for (size_t i = 0; i < MANY; i++)
		p[i] = vmem_alloc(vm, 16, VM_NOSLEEP);
	for (size_t i = 0; i < MANY; i++)
		vmem_free(vm, p[i], 16);
	assert_in_range(
	    stat_of("test").vs_lookup, MANY / 2, MANY * (MANY - 1) / 2);
	done(vm);
}

/* The table of allocated segments grows with them. */
static void
a_free_passes_over_few_however_many_there_are(void **state)
{
	enum { MANY = 1 << 14 };
	static void *p[MANY];
	vmem_t *vm = plain_arena(16, MANY * 16, 16);
	(void)state;

	for (size_t i = 0; i < MANY; i++)
		p[i] = vmem_alloc(vm, 16, VM_NOSLEEP);
	for (size_t i = 0; i < MANY; i++)
		vmem_free(vm, p[i], 16);
	assert_in_range(stat_of("test").vs_lookup, 1, 4 * MANY);
	done(vm);
}

static void
look_in_vain(size_t units)
{
	vmem_t *vm = plain_arena(Q, units * Q, Q);
	int flags = VM_NOSLEEP | VM_FIRSTFIT;
	void *even;

	for (size_t i = 0; i < units; i++)
		assert_non_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	vmem_free(vm, P(Q), Q);
	vmem_free(vm, P(3 * Q), Q);
	vmem_free(vm, P(6 * Q), Q);
	assert_int_equal(stat_of("test").vs_search, 0);
	even = vmem_xalloc(vm, Q, 2 * Q, 0, 0, NULL, NULL, flags);
	assert_addr_equal(even, 6 * Q);
	assert_int_equal(stat_of("test").vs_search, 2);
	assert_null(vmem_xalloc(vm, Q, 2 * Q, 0, 0, NULL, NULL,
	    VM_NOSLEEP | VM_ABORT | VM_FIRSTFIT));
	assert_in_range(stat_of("test").vs_search, 4, 8);
	vmem_xfree(vm, even, Q);
	assert_non_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	assert_in_range(stat_of("test").vs_search, 4, 8);
	vmem_destroy(vm);
}

static void
searches_are_the_free_segments_that_requests_looked_at_in_vain(void **state)
{
	(void)state;
	/* By tags, and by descriptors. */
	look_in_vain(16);
	look_in_vain(128);
}

static void
contains_and_its_comparisons_are_counted(void **state)
{
	vmem_t *vm = plain_arena(4 * Q, 4 * Q, Q);
	(void)state;

	assert_int_equal(vmem_contains(vm, P(Q), Q), 0);
	assert_int_not_equal(vmem_contains(vm, P(4 * Q), Q), 0);
	assert_int_equal(vmem_contains(vm, P(8 * Q), Q), 0);
	assert_int_equal(stat_of("test").vs_contains, 3);
	assert_int_equal(stat_of("test").vs_contains_search, 2);
	done(vm);
}

static void
every_lock_can_be_held_at_once_and_left(void **state)
{
	vmem_t *a = plain_arena(Q, 4 * Q, Q);
	vmem_t *b = plain_arena(Q, 4 * Q, Q);
	(void)state;

	vmem__lock_all();
	vmem__unlock_all();
	vmem_free(a, vmem_alloc(a, Q, VM_NOSLEEP), Q);
	vmem_free(b, vmem_alloc(b, Q, VM_NOSLEEP), Q);
	done(a);
	done(b);
}

/* Whatever the hash table is doing: 8 KiB are for what an arena has once. */
static void
tags_take_at_most_64_bytes_per_segment(void **state)
{
	enum { MANY = 20000 };
	vmem_t *vm = vmem_create(
	    "lean", P(16), MANY * 16, 16, NULL, NULL, NULL, 0, VM_NOSLEEP);
	struct vmem__stat vs;
	(void)state;

	assert_non_null(vm);
	for (size_t i = 1; i <= MANY; i++) {
		assert_addr_equal(vmem_alloc(vm, 16, VM_NOSLEEP), i * 16);
		if (i % 32 != 0 && i > 2000)
			continue;
		vs = stat_of("lean");
		assert_int_equal(vs.vs_segments, i + (i < MANY));
		assert_true(vs.vs_metadata >= 48 * i);
		assert_true(vs.vs_metadata <= 64 * vs.vs_segments + 8192);
	}
	for (size_t i = 1; i <= MANY; i++)
		vmem_free(vm, P(i * 16), 16);
	done(vm);
}

/*
 * With n segments that have tags: log2 of the buckets of the hash table then, or
 * the same below 0 while another is being emptied into it.
 */
static int
live(vmem_t *vm, size_t n)
{
	int bits;

	for (size_t i = 1; i <= n; i++)
		assert_addr_equal(vmem_alloc(vm, 16, VM_NOSLEEP), i * 16);
	bits = (int)vm->vm_hash_bits;
	if (vm->vm_hash_old != NULL)
		bits = -bits;
	for (size_t i = 1; i <= n; i++)
		vmem_free(vm, P(i * 16), 16);
	return (bits);
}

static void
tags_that_an_arena_does_not_keep_are_used_again(void **state)
{
	enum { MANY = 1000, ROUNDS = 20 };
	vmem_t *vm = plain_arena(16, MANY * 16, 16);
	size_t mapped;
	(void)state;

	(void)live(vm, MANY);
	mapped = meta_mapped();
	for (size_t i = 0; i < ROUNDS; i++) {
		(void)live(vm, MANY);
		assert_int_equal(vm->vm_tags.r_count, VMEM_TAGS_KEPT);
	}
	assert_int_equal(meta_mapped(), mapped);
	done(vm);
}

/*
 * A hash table is emptied four buckets at a time from the insertion on that
 * finds two segments in each: the first has 16 and the second, of a page, 512.
 */
static const struct {
	size_t segments;
	int bits;
} moves[] = {
    {32, 4},
    {33, -9},
    {36, -9},
    {37, 9},
    {1024, 9},
    {1025, -10},
    {1025 + 512 / 4 - 1, -10},
    {1025 + 512 / 4, 10},
};

enum { MOVES = sizeof(moves) / sizeof(moves[0]) };

static void
a_hash_table_is_moved_to_a_larger_one_a_few_buckets_at_a_time(void **state)
{
	(void)state;
	for (size_t i = 0; i < MOVES; i++) {
		vmem_t *vm = plain_arena(16, 2000 * 16, 16);

		assert_int_equal(live(vm, moves[i].segments), moves[i].bits);
		done(vm);
	}
}

static void
an_arena_that_is_destroyed_leaves_no_memory_behind(void **state)
{
	enum { ROUNDS = 20 };
	size_t mapped = 0;
	(void)state;

	for (size_t i = 0; i < ROUNDS * MOVES; i++) {
		vmem_t *vm = plain_arena(16, 2000 * 16, 16);

		(void)live(vm, moves[i % MOVES].segments);
		done(vm);
		if (i == MOVES - 1)
			mapped = meta_mapped();
	}
	assert_int_equal(meta_mapped(), mapped);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t01_a_base_of_null_with_a_size_is_fatal),
	    cmocka_unit_test(bad_quanta_and_spans_are_fatal_and_named),
	    cmocka_unit_test(an_arena_without_a_name_is_fatal),
	    cmocka_unit_test(
		a_source_of_the_other_kind_is_fatal_and_both_are_named),
	    cmocka_unit_test(what_cannot_be_created_is_an_invalid_argument),
	    cmocka_unit_test(overlapping_spans_are_fatal_and_named),
	    cmocka_unit_test(t15_touching_spans_stay_two),
	    cmocka_unit_test(contains_is_exact_at_the_ends),
	    cmocka_unit_test(
		t18_destroying_warns_with_the_exact_number_of_leaked_units),
	    cmocka_unit_test(
		t33_a_span_may_end_at_the_top_of_the_address_space),
	    cmocka_unit_test(vmem_size_ignores_other_bits),
	    cmocka_unit_test(names_are_copied_and_cut),
	    cmocka_unit_test(statistics_tell_what_an_arena_is_and_did),
	    cmocka_unit_test(lookups_are_the_segments_that_frees_passed_over),
	    cmocka_unit_test(a_free_passes_over_few_however_many_there_are),
	    cmocka_unit_test(
		searches_are_the_free_segments_that_requests_looked_at_in_vain),
	    cmocka_unit_test(contains_and_its_comparisons_are_counted),
	    cmocka_unit_test(every_lock_can_be_held_at_once_and_left),
	    cmocka_unit_test(tags_that_an_arena_does_not_keep_are_used_again),
	    cmocka_unit_test(
		a_hash_table_is_moved_to_a_larger_one_a_few_buckets_at_a_time),
	    cmocka_unit_test(
		an_arena_that_is_destroyed_leaves_no_memory_behind),
	    /* Leaves many free tags, which would hide what others lose. */
	    cmocka_unit_test(tags_take_at_most_64_bytes_per_segment),
	};

	return (cmocka_run_group_tests_name("vmem_arena", tests, NULL, NULL));
}
