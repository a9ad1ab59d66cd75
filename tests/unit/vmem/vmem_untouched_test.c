/*
 * vmem_untouched_test.c - nothing in a managed range is ever touched: every
 * operation on memory that cannot be, and on integers that are no addresses.
 */
#include "unit/vmem/vmem_test.h"

#include <stdlib.h>
#include <sys/mman.h>

enum { Q = 0x1000, QUANTA = 512, HELD = 128 };

static const int policies[] = {
    0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT, VM_ENDALLOC};

static void
work(vmem_t *vm, uintptr_t base)
{
	struct {
		void *p;
		size_t size;
	} held[HELD] = {{NULL, 0}};

	srand(3);
	for (unsigned step = 0; step < 5000; step++) {
		size_t i = (size_t)rand() % HELD;
		int flags = VM_NOSLEEP | policies[rand() % 5];

		if (held[i].p != NULL) {
			vmem_xfree(vm, held[i].p, held[i].size);
			held[i].p = NULL;
			continue;
		}
		held[i].size = 1 + (size_t)rand() % (8 * Q);
		held[i].p = step % 2 == 0
		    ? vmem_alloc(vm, held[i].size, flags)
		    : vmem_xalloc(vm, held[i].size, 4 * Q, Q, 16 * Q,
			  P(base + Q), NULL, flags);
	}
	(void)count_segments(vm, VMEM_ALLOC | VMEM_FREE | VMEM_SPAN);
	(void)vmem_contains(vm, P(base), Q);
	for (unsigned i = 0; i < HELD; i++)
		if (held[i].p != NULL)
			vmem_xfree(vm, held[i].p, held[i].size);
	done(vm);
}

static void
no_operation_touches_memory_without_access(void **state)
{
	char *base = mmap(NULL, (size_t)QUANTA * Q, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	vmem_t *vm, *source;
	(void)state;

	assert_ptr_not_equal(base, MAP_FAILED);
	vm = plain_arena((uintptr_t)base, (size_t)QUANTA / 2 * Q, Q);
	assert_non_null(vmem_add(vm, base + (size_t)QUANTA / 2 * Q,
	    (size_t)QUANTA / 2 * Q, VM_NOSLEEP));
	work(vm, (uintptr_t)base);

	source = plain_arena((uintptr_t)base, (size_t)QUANTA * Q, Q);
	vm = vmem_create(
	    "child", NULL, 0, Q, vmem_alloc, vmem_free, source, 0, VM_NOSLEEP);
	work(vm, (uintptr_t)base);
	done(source);
	assert_int_equal(munmap(base, (size_t)QUANTA * Q), 0);
}

static void
no_operation_touches_integers_that_are_no_addresses(void **state)
{
	uintptr_t noncanonical = (uintptr_t)0x800000000000 << 8;
	(void)state;

	work(plain_arena(Q, (size_t)QUANTA * Q, Q), Q);
	work(plain_arena(noncanonical, (size_t)QUANTA * Q, Q), noncanonical);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_operation_touches_memory_without_access),
	    cmocka_unit_test(
		no_operation_touches_integers_that_are_no_addresses),
	};

	return (
	    cmocka_run_group_tests_name("vmem_untouched", tests, NULL, NULL));
}
