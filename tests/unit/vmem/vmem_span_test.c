/*
 * vmem_span_test.c - spans that come from a source and go back to it.
 */
#include "unit/vmem/vmem_test.h"

#include "base/bits.h"
#include "base/panic.h"
#include "meta/meta.h"
#include "support/child.h"

#include <stdlib.h>

enum { Q = 0x1000 };

/* What the callbacks saw, and what they shall do. */
static struct {
	unsigned imports, releases;
	size_t size, align; /* of the last import or release */
	uintptr_t start;
	int flags;
	vmem_t *source;
	bool fail;
	size_t more;            /* the import gets this much in addition */
	void (*during)(void *); /* called during an import */
	void *arg;
} seen;

static void *
import_seen(vmem_t *source, size_t size, int flags)
{
	seen.imports++;
	seen.size = size;
	seen.flags = flags;
	seen.source = source;
	if (seen.during != NULL)
		seen.during(seen.arg);
	if (seen.fail)
		return (NULL);
	return (vmem_alloc(source, size, flags));
}

static void *
ximport_seen(vmem_t *source, size_t *sizep, size_t align, int flags)
{
	seen.imports++;
	seen.align = align;
	seen.flags = flags;
	*sizep += seen.more;
	seen.size = *sizep;
	if (seen.during != NULL)
		seen.during(seen.arg);
	if (seen.fail)
		return (NULL);
	return (vmem_xalloc(source, *sizep, align, 0, 0, NULL, NULL, flags));
}

static void
release_seen(vmem_t *source, void *addr, size_t size)
{
	seen.releases++;
	seen.start = (uintptr_t)addr;
	seen.size = size;
	vmem_free(source, addr, size);
}

static int
reset(void **state)
{
	(void)state;
	memset(&seen, 0, sizeof(seen));
	return (0);
}

static vmem_t *
child_of(vmem_t *source, size_t quantum)
{
	vmem_t *vm = vmem_create("child", NULL, 0, quantum, import_seen,
	    release_seen, source, 0, VM_NOSLEEP);

	assert_non_null(vm);
	return (vm);
}

static vmem_t *
xchild_of(vmem_t *source, size_t quantum, int flags)
{
	vmem_t *vm = vmem_xcreate("xchild", NULL, 0, quantum, ximport_seen,
	    release_seen, source, 0, VM_NOSLEEP | flags);

	assert_non_null(vm);
	return (vm);
}

static void
an_import_asks_for_the_size_and_hands_the_flags_down(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = child_of(source, 16);
	void *p = vmem_alloc(vm, 100, VM_NOSLEEP | VM_BESTFIT | VM_PUSHPAGE);
	(void)state;

	assert_int_equal(seen.imports, 1);
	assert_int_equal(seen.size, Q);
	assert_int_equal(seen.flags, VM_NOSLEEP | VM_PUSHPAGE);
	assert_ptr_equal(seen.source, source);
	vmem_free(vm, p, 100);
	done(vm);
	done(source);
}

static void
t04_a_constrained_request_never_imports(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = child_of(source, Q);
	(void)state;

	assert_null(vmem_xalloc(vm, Q, 0, 0, 0, P(Q), NULL, VM_NOSLEEP));
	assert_null(vmem_xalloc(vm, Q, 0, 0, 0, NULL, P(64 * Q), VM_NOSLEEP));
	assert_null(vmem_xalloc(vm, Q, 0, 0, 4 * Q, NULL, NULL, VM_NOSLEEP));
	assert_int_equal(seen.imports, 0);
	done(vm);
	done(source);
}

static vmem_t *reentered;

static void
release_reentering(vmem_t *source, void *addr, size_t size)
{
	/* With a lock held this would not return. */
	assert_int_equal(vmem_size(reentered, VMEM_ALLOC), 0);
	assert_int_equal(vmem_contains(reentered, addr, size), 0);
	assert_null(vmem_xalloc(reentered, Q, 0, 0, 0, addr, NULL, VM_NOSLEEP));
	release_seen(source, addr, size);
}

static void
t16_a_span_is_released_exactly_when_its_last_segment_is_freed(void **state)
{
	vmem_t *source = plain_arena(4 * Q, 64 * Q, 4 * Q);
	void *a, *b, *c;
	(void)state;

	reentered = vmem_create("child", NULL, 0, Q, import_seen,
	    release_reentering, source, 0, VM_NOSLEEP);
	a = vmem_alloc(reentered, Q, VM_NOSLEEP);
	b = vmem_alloc(reentered, Q, VM_NOSLEEP);
	c = vmem_alloc(reentered, 2 * Q, VM_NOSLEEP);
	assert_int_equal(seen.imports, 1);
	vmem_free(reentered, b, Q);
	vmem_free(reentered, a, Q);
	assert_int_equal(seen.releases, 0);
	vmem_free(reentered, c, 2 * Q);
	assert_int_equal(seen.releases, 1);
	assert_int_equal(seen.start, (uintptr_t)a);
	assert_int_equal(seen.size, 4 * Q);
	assert_int_equal(vmem_size(reentered, VMEM_ALLOC | VMEM_FREE), 0);
	done(reentered);
	done(source);
}

static void
t17_added_spans_are_never_released(void **state)
{
	vmem_t *source = plain_arena(Q, 4 * Q, Q);
	vmem_t *vm = child_of(source, Q);
	void *p;
	(void)state;

	assert_non_null(vmem_add(vm, P(0x100000), 4 * Q, VM_NOSLEEP));
	p = vmem_alloc(vm, 4 * Q, VM_NOSLEEP);
	assert_addr_equal(p, 0x100000);
	vmem_free(vm, p, 4 * Q);
	assert_int_equal(seen.releases, 0);
	assert_int_equal(vmem_size(vm, VMEM_FREE), 4 * Q);
	done(vm);
	done(source);
}

static void
do_destroy_with_import(void *arg)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = child_of(source, Q);

	(void)arg;
	CHILD_CHECK(vmem_alloc(vm, 2 * Q, VM_NOSLEEP) != NULL);
	vmem_destroy(vm);
	CHILD_CHECK(seen.releases == 0);
	CHILD_CHECK(vmem_size(source, VMEM_ALLOC) == 2 * Q);
}

static void
t18_destroying_does_not_release_imports(void **state)
{
	struct child c;
	(void)state;

	child_run(&c, do_destroy_with_import, NULL);
	assert_string_equal(
	    c.c_stderr, "quarry: vmem_destroy('child'): leaked 8192 bytes\n");
	assert_int_equal(c.c_status, 0);
}

static void
without_a_release_function_imports_are_kept(void **state)
{
	vmem_t *source = plain_arena(Q, 4 * Q, Q);
	vmem_t *vm = vmem_create(
	    "keeper", NULL, 0, Q, vmem_alloc, NULL, source, 0, VM_NOSLEEP);
	void *p = vmem_alloc(vm, 2 * Q, VM_NOSLEEP);
	(void)state;

	vmem_free(vm, p, 2 * Q);
	assert_int_equal(vmem_size(vm, VMEM_FREE), 2 * Q);
	assert_int_equal(vmem_size(source, VMEM_ALLOC), 2 * Q);
	assert_addr_equal(vmem_alloc(vm, 2 * Q, VM_NOSLEEP), p);
	vmem_free(vm, p, 2 * Q);
	done(vm);
	vmem_free(source, p, 2 * Q);
	done(source);
}

static void
t23_an_aligned_import_is_right_for_every_source_offset(void **state)
{
	(void)state;

	for (size_t offset = 1; offset < 40; offset++) {
		for (size_t i = 0; i < 10; i++) {
			size_t align = (size_t)Q << i / 2;
			size_t phase = i % 2 * (align / 2 / Q * Q);
			vmem_t *source = plain_arena(offset * Q, 64 * Q, Q);
			vmem_t *vm = child_of(source, Q);
			void *p = vmem_xalloc(
			    vm, 3 * Q, align, phase, 0, NULL, NULL, VM_NOSLEEP);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % align, phase);
			assert_int_not_equal(vmem_contains(vm, p, 3 * Q), 0);
			assert_true(vmem__check(vm));
			vmem_xfree(vm, p, 3 * Q);
			done(vm);
			done(source);
		}
	}
}

static void
an_import_that_honours_alignment_is_not_padded(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = xchild_of(source, Q, VMC_XALIGN);
	void *p = vmem_xalloc(vm, Q, 8 * Q, 0, 0, NULL, NULL, VM_NOSLEEP);
	(void)state;

	assert_addr_equal(p, 8 * Q);
	assert_int_equal(seen.align, 8 * Q);
	assert_int_equal(seen.size, Q);
	vmem_xfree(vm, p, Q);
	done(vm);
	done(source);
}

static void
t24_an_import_may_be_larger_than_asked_for(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = xchild_of(source, Q, 0);
	void *p;
	(void)state;

	seen.more = 5 * Q;
	p = vmem_alloc(vm, Q, VM_NOSLEEP);
	assert_int_equal(vmem_size(vm, VMEM_FREE), 5 * Q);
	vmem_free(vm, p, Q);
	assert_int_equal(seen.releases, 1);
	assert_int_equal(seen.size, 6 * Q);
	assert_int_equal(seen.start, (uintptr_t)p);
	done(vm);
	done(source);
}

static struct {
	vmem_t *vm;
	void *addr;
	size_t size;
} to_free;

static void
free_meanwhile(void *arg)
{
	(void)arg;
	seen.during = NULL;
	vmem_free(to_free.vm, to_free.addr, to_free.size);
}

static void
t25_an_import_made_redundant_by_a_free_is_handed_back(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = xchild_of(source, Q, 0);
	void *p;
	(void)state;

	assert_non_null(vmem_add(vm, P(0x100000), 2 * Q, VM_NOSLEEP));
	to_free.vm = vm;
	to_free.size = 2 * Q;
	to_free.addr = vmem_alloc(vm, 2 * Q, VM_NOSLEEP);
	seen.more = 3 * Q;
	seen.during = free_meanwhile;
	p = vmem_alloc(vm, Q, VM_NOSLEEP);
	assert_addr_equal(p, 0x100000);
	assert_int_equal(seen.imports, 1);
	assert_int_equal(seen.releases, 1);
	assert_int_equal(seen.size, 4 * Q);
	assert_int_equal(vmem_size(source, VMEM_ALLOC), 0);
	vmem_free(vm, p, Q);
	done(vm);
	done(source);
}

static void
a_free_during_an_import_that_fails_is_used(void **state)
{
	vmem_t *source = plain_arena(Q, Q, Q);
	vmem_t *vm = child_of(source, Q);
	void *p;
	(void)state;

	assert_non_null(vmem_add(vm, P(0x100000), 2 * Q, VM_NOSLEEP));
	to_free.vm = vm;
	to_free.size = 2 * Q;
	to_free.addr = vmem_alloc(vm, 2 * Q, VM_NOSLEEP);
	seen.fail = true;
	seen.during = free_meanwhile;
	p = vmem_alloc(vm, 2 * Q, VM_NOSLEEP);
	assert_addr_equal(p, 0x100000);
	vmem_free(vm, p, 2 * Q);
	done(vm);
	done(source);
}

/* What was provided for an import and not needed serves the next. */
static void
imports_lose_no_records(void **state)
{
	enum { IMPORTS = 30000 };
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = xchild_of(source, Q, 0);
	size_t mapped = 0;
	(void)state;

	for (unsigned i = 0; i < IMPORTS; i++) {
		void *p, *q;

		seen.more = i % 3 * Q;
		seen.fail = i % 7 == 0;
		p = vmem_alloc(vm, Q, VM_NOSLEEP);
		q = vmem_alloc(vm, 2 * Q, VM_NOSLEEP);
		if (p != NULL)
			vmem_free(vm, p, Q);
		if (q != NULL)
			vmem_free(vm, q, 2 * Q);
		if (i == IMPORTS / 10)
			mapped = meta_mapped();
	}
	assert_int_equal(meta_mapped(), mapped);
	done(vm);
	done(source);
}

static void
a_limit_bounds_imports_and_can_be_raised(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = child_of(source, Q);
	void *a, *b;
	(void)state;

	assert_int_equal(vmem_set_limit(vm, 4 * Q), 0);
	a = vmem_alloc(vm, 3 * Q, VM_NOSLEEP);
	assert_non_null(a);
	assert_null(vmem_alloc(vm, 2 * Q, VM_NOSLEEP));
	assert_int_equal(seen.imports, 1);
	assert_int_equal(vmem_set_limit(vm, 5 * Q), 0);
	b = vmem_alloc(vm, 2 * Q, VM_NOSLEEP);
	assert_non_null(b);
	assert_int_equal(vmem_set_limit(vm, 0), 0);
	vmem_free(vm, a, 3 * Q);
	vmem_free(vm, b, 2 * Q);
	done(vm);
	done(source);
}

/* A function that gives more than it was asked for may give too much. */
static void
an_import_that_grows_over_the_limit_goes_back(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = xchild_of(source, Q, 0);
	(void)state;

	assert_int_equal(vmem_set_limit(vm, 4 * Q), 0);
	seen.more = 2 * Q;
	assert_null(vmem_alloc(vm, 3 * Q, VM_NOSLEEP));
	assert_int_equal(seen.releases, seen.imports);
	assert_int_equal(seen.size, 5 * Q);
	assert_int_equal(vmem_size(source, VMEM_ALLOC), 0);
	done(vm);
	done(source);
}

static void *
import_beside_the_quantum(vmem_t *source, size_t size, int flags)
{
	void *p = vmem_alloc(source, size, flags);

	seen.imports++;
	return (p == NULL ? NULL : P((uintptr_t)p + 16));
}

static void
release_beside_the_quantum(vmem_t *source, void *addr, size_t size)
{
	seen.releases++;
	vmem_free(source, P((uintptr_t)addr - 16), size);
}

/* A source is trusted to align to its quantum; one that does not is no use. */
static void
an_import_without_room_for_the_request_goes_back(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm =
	    vmem_create("beside", NULL, 0, 16, import_beside_the_quantum,
		release_beside_the_quantum, source, 0, VM_NOSLEEP);
	(void)state;

	assert_non_null(vm);
	assert_null(vmem_xalloc(vm, Q, Q, 0, 0, NULL, NULL, VM_NOSLEEP));
	assert_true(seen.imports > 0);
	assert_int_equal(seen.releases, seen.imports);
	assert_int_equal(vmem_size(source, VMEM_ALLOC), 0);
	done(vm);
	done(source);
}

static void
no_qcache_imports_in_batches(void **state)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = vmem_create("batch", NULL, 0, Q, import_seen, release_seen,
	    source, 4 * Q, VM_NOSLEEP | VMC_NO_QCACHE);
	void *p = vmem_alloc(vm, Q, VM_NOSLEEP);
	(void)state;

	assert_int_equal(seen.size, 16 * Q);
	vmem_free(vm, p, Q);
	assert_int_equal(seen.releases, 1);
	done(vm);
	done(source);
}

static void
next_fit_that_imports_leaves_the_rotor(void **state)
{
	vmem_t *source = plain_arena(64 * Q, 64 * Q, Q);
	vmem_t *vm = vmem_create("rotor", P(Q), 4 * Q, Q, import_seen,
	    release_seen, source, 0, VM_NOSLEEP);
	void *p;
	(void)state;

	assert_addr_equal(vmem_alloc(vm, Q, VM_NOSLEEP | VM_NEXTFIT), Q);
	p = vmem_alloc(vm, 5 * Q, VM_NOSLEEP | VM_NEXTFIT);
	assert_int_equal(seen.imports, 1);
	assert_addr_equal(vmem_alloc(vm, Q, VM_NOSLEEP | VM_NEXTFIT), 2 * Q);
	vmem_free(vm, p, 5 * Q);
	vmem_free(vm, P(Q), Q);
	vmem_free(vm, P(2 * Q), Q);
	done(vm);
	done(source);
}

static void *
import_nowhere(vmem_t *source, size_t size, int flags)
{
	(void)source;
	(void)size;
	(void)flags;
	seen.imports++;
	return (P(0x40000000));
}

static void
do_import_twice(void *arg)
{
	vmem_t *vm = vmem_create(
	    "twice", NULL, 0, Q, import_nowhere, NULL, NULL, 0, VM_NOSLEEP);

	(void)arg;
	CHILD_CHECK(vmem_alloc(vm, Q, VM_NOSLEEP) == P(0x40000000));
	(void)vmem_alloc(vm, Q, VM_NOSLEEP);
}

static void
an_import_that_overlaps_is_fatal_and_a_source_may_be_null(void **state)
{
	(void)state;

	child_expect_abort_like(do_import_twice, NULL,
	    "vmem_add(0x*, 0x40000000, 4096): overlaps a span of 'twice'");
}

static size_t ximport_less;

static void *
ximport_that_lies(vmem_t *source, size_t *sizep, size_t align, int flags)
{
	(void)align;
	*sizep -= ximport_less;
	return (vmem_alloc(source, *sizep, flags));
}

static vmem_t *
liar(void)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);

	return (vmem_xcreate("liar", NULL, 0, Q, ximport_that_lies, vmem_free,
	    source, 0, VM_NOSLEEP | VMC_XALIGN));
}

static void
do_import_less(void *arg)
{
	(void)arg;
	ximport_less = Q;
	(void)vmem_alloc(liar(), 2 * Q, VM_NOSLEEP);
}

static void
do_import_unaligned(void *arg)
{
	(void)arg;
	(void)vmem_xalloc(liar(), Q, 4 * Q, 0, 0, NULL, NULL, VM_NOSLEEP);
}

static void
ignore(const char *message)
{
	(void)message;
}

static void
do_import_less_with_a_hook(void *arg)
{
	vmem_t *source = plain_arena(Q, 64 * Q, Q);
	vmem_t *vm = vmem_xcreate("liar", NULL, 0, Q, ximport_that_lies,
	    vmem_free, source, 0, VM_NOSLEEP);

	(void)arg;
	ximport_less = Q;
	(void)qr_set_panic_hook(ignore);
	CHILD_CHECK(vmem_alloc(vm, 2 * Q, VM_NOSLEEP) == NULL);
	CHILD_CHECK(vmem_size(source, VMEM_ALLOC) == 0);
	CHILD_CHECK(vmem_size(vm, VMEM_ALLOC | VMEM_FREE) == 0);
}

static void
an_import_function_that_breaks_its_word_is_fatal(void **state)
{
	(void)state;

	child_expect_abort_like(do_import_less, NULL,
	    "vmem_import(0x*, 0x1000, 4096): less than 8192");
	child_expect_abort_like(do_import_unaligned, NULL,
	    "vmem_import(0x*, 0x1000, 4096): not aligned to 16384");
	child_expect_exit(do_import_less_with_a_hook, NULL, 0);
}

/* ---- three arenas, at random ---- */

struct held {
	uintptr_t addr;
	size_t size;
};

static void
no_overlap(const struct held *held, size_t n, uintptr_t addr, size_t size)
{
	for (size_t i = 0; i < n; i++)
		assert_true(held[i].addr + held[i].size <= addr ||
		    addr + size <= held[i].addr);
}

static void
random_work_in_a_hierarchy_gives_everything_back(void **state)
{
	enum { MAX = 200, STEPS = 20000 };
	vmem_t *top = plain_arena(4 * Q, 512 * Q, 4 * Q);
	vmem_t *mid = vmem_create(
	    "mid", NULL, 0, Q, vmem_alloc, vmem_free, top, 0, VM_NOSLEEP);
	vmem_t *leaf = vmem_create(
	    "leaf", NULL, 0, 64, vmem_alloc, vmem_free, mid, 0, VM_NOSLEEP);
	struct held held[MAX];
	size_t n = 0;
	(void)state;

	srand(1);
	for (unsigned step = 0; step < STEPS; step++) {
		size_t size = 1 + (size_t)rand() % (4 * Q);
		size_t align = (size_t)64 << rand() % 9;
		void *p = NULL;

		if (n < MAX && rand() % 100 < 51)
			p = vmem_xalloc(
			    leaf, size, align, 0, 0, NULL, NULL, VM_NOSLEEP);
		if (p != NULL) {
			assert_int_equal((uintptr_t)p % align, 0);
			no_overlap(held, n, (uintptr_t)p, size);
			held[n++] = (struct held){(uintptr_t)p, size};
		} else if (n > 0) {
			size_t i = (size_t)rand() % n;

			vmem_xfree(leaf, P(held[i].addr), held[i].size);
			held[i] = held[--n];
		}
		if (step % 64 == 0) {
			assert_true(vmem__check(leaf));
			assert_true(vmem__check(mid));
			assert_true(vmem__check(top));
		}
	}
	while (n > 0) {
		n--;
		vmem_xfree(leaf, P(held[n].addr), held[n].size);
	}
	assert_int_equal(vmem_size(leaf, VMEM_ALLOC | VMEM_FREE), 0);
	assert_int_equal(vmem_size(mid, VMEM_ALLOC | VMEM_FREE), 0);
	done(leaf);
	done(mid);
	done(top);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		an_import_asks_for_the_size_and_hands_the_flags_down),
	    cmocka_unit_test(t04_a_constrained_request_never_imports),
	    cmocka_unit_test(
		t16_a_span_is_released_exactly_when_its_last_segment_is_freed),
	    cmocka_unit_test(t17_added_spans_are_never_released),
	    cmocka_unit_test(t18_destroying_does_not_release_imports),
	    cmocka_unit_test(without_a_release_function_imports_are_kept),
	    cmocka_unit_test(
		t23_an_aligned_import_is_right_for_every_source_offset),
	    cmocka_unit_test(an_import_that_honours_alignment_is_not_padded),
	    cmocka_unit_test(t24_an_import_may_be_larger_than_asked_for),
	    cmocka_unit_test(
		t25_an_import_made_redundant_by_a_free_is_handed_back),
	    cmocka_unit_test(a_free_during_an_import_that_fails_is_used),
	    cmocka_unit_test(imports_lose_no_records),
	    cmocka_unit_test(a_limit_bounds_imports_and_can_be_raised),
	    cmocka_unit_test(an_import_that_grows_over_the_limit_goes_back),
	    cmocka_unit_test(an_import_without_room_for_the_request_goes_back),
	    cmocka_unit_test(no_qcache_imports_in_batches),
	    cmocka_unit_test(next_fit_that_imports_leaves_the_rotor),
	    cmocka_unit_test(
		an_import_that_overlaps_is_fatal_and_a_source_may_be_null),
	    cmocka_unit_test(an_import_function_that_breaks_its_word_is_fatal),
	    cmocka_unit_test(random_work_in_a_hierarchy_gives_everything_back),
	};
	struct CMUnitTest with_reset[sizeof(tests) / sizeof(tests[0])];

	memcpy(with_reset, tests, sizeof(tests));
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		with_reset[i].setup_func = reset;
	return (
	    cmocka_run_group_tests_name("vmem_span", with_reset, NULL, NULL));
}
