/*
 * vmem_untouched_test.c - nothing in a managed range is ever touched: every
 * function of vmem.h on memory that cannot be, and on integers that are no
 * addresses.
 */
#include "unit/vmem/vmem_test.h"

#include <quarry/quarry.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { Q = 0x1000, QUANTA = 512, HELD = 128, CACHED = 4 };

static const int policies[] = {0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT,
    VM_ENDALLOC, VM_BESTFIT | VM_ENDALLOC, VM_FIRSTFIT | VM_ENDALLOC, VM_ABORT};

static struct {
	uintptr_t addr;
	size_t size;
	unsigned how; /* it was allocated */
} held[HELD];

static void
take(vmem_t *vm, uintptr_t base, size_t i, unsigned how)
{
	int flags = VM_NOSLEEP | policies[rand() % 8];
	size_t size = 1 + (size_t)rand() % (8 * Q);
	uintptr_t addr = 0;

	if (how == 0)
		addr = (uintptr_t)vmem_alloc(vm, size, flags);
	else if (how == 1)
		addr = (uintptr_t)vmem_xalloc(vm, size, 4 * Q, Q, 16 * Q,
		    P(base + Q), P(base + (uintptr_t)QUANTA / 2 * Q), flags);
	else
		(void)vmem_xalloc_addr(
		    vm, size, 2 * Q, 0, 0, 0, 0, flags, &addr);
	held[i].addr = addr;
	held[i].size = size;
	held[i].how = how;
}

static void
give(vmem_t *vm, size_t i)
{
	if (held[i].how == 0)
		vmem_free(vm, P(held[i].addr), held[i].size);
	else if (held[i].how == 1)
		vmem_xfree(vm, P(held[i].addr), held[i].size);
	else
		vmem_xfree_addr(vm, held[i].addr, held[i].size);
	held[i].addr = 0;
}

static void *
sleeper(void *arg)
{
	return (vmem_alloc(arg, 32 * Q, VM_SLEEP));
}

/* One sleeps until another frees. */
static void
sleep_and_wake(vmem_t *vm)
{
	size_t free = vmem_size(vm, VMEM_FREE);
	size_t waits = stat_of("untouched").vs_wait, n = 0;
	pthread_t thread;
	void *got, *all[QUANTA];

	while ((all[n] = vmem_alloc(vm, 32 * Q, VM_NOSLEEP)) != NULL)
		n++;
	assert_true(n > 0);
	assert_int_equal(pthread_create(&thread, NULL, sleeper, vm), 0);
	while (stat_of("untouched").vs_wait == waits)
		(void)usleep(1000);
	vmem_free(vm, all[--n], 32 * Q);
	assert_int_equal(pthread_join(thread, &got), 0);
	assert_non_null(got);
	vmem_free(vm, got, 32 * Q);
	while (n > 0)
		vmem_free(vm, all[--n], 32 * Q);
	assert_true(vmem_size(vm, VMEM_FREE) <= free);
}

static void
look(vmem_t *vm, uintptr_t base)
{
	int null = open("/dev/null", O_WRONLY);
	size_t n = 0;

	(void)count_segments(vm, VMEM_ALLOC | VMEM_FREE | VMEM_SPAN);
	vmem_walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, count_call, &n);
	(void)vmem_contains(vm, P(base), Q);
	assert_int_equal(vmem_map_write(vm, null, "svg"), 0);
	assert_int_equal(vmem_map_write(vm, null, "json"), 0);
	vmem_qcache_reap(vm);
	(void)close(null);
}

/* An arena called "untouched", of any kind. */
static void
work(vmem_t *vm, uintptr_t base)
{
	assert_non_null(vm);
	srand(3);
	for (unsigned step = 0; step < 5000; step++) {
		size_t i = (size_t)rand() % HELD;

		if (held[i].addr != 0)
			give(vm, i);
		else
			take(vm, base, i, step % 3);
	}
	look(vm, base);
	for (unsigned i = 0; i < HELD; i++)
		if (held[i].addr != 0)
			give(vm, i);
	vmem_qcache_reap(vm);
	sleep_and_wake(vm);
	assert_int_equal(vmem_set_limit(vm, (size_t)QUANTA * Q), 0);
	vmem_destroy(vm);
}

static void *
import(vmem_t *source, size_t *sizep, size_t align, int flags)
{
	*sizep += 2 * Q;
	return (vmem_xalloc(
	    source, *sizep, align, 0, 0, NULL, NULL, flags | VM_NOSLEEP));
}

/* Arenas with added, imported and enlarged spans, with and without caches. */
static void
work_on(uintptr_t base)
{
	size_t half = (size_t)QUANTA / 2 * Q;

	for (size_t cached = 0; cached <= CACHED; cached += CACHED) {
		vmem_t *source = plain_arena(base, 2 * half, Q);
		vmem_t *vm = vmem_create("untouched", P(base), half, Q, NULL,
		    NULL, NULL, cached * Q, VM_NOSLEEP);

		assert_non_null(
		    vmem_add(vm, P(base + half), half / 2, VM_NOSLEEP));
		assert_int_equal(vmem_add_addr(vm, base + half + half / 2,
				     half / 2, VM_NOSLEEP),
		    0);
		work(vm, base);
		work(vmem_create("untouched", NULL, 0, Q, vmem_alloc, vmem_free,
			 source, cached * Q, VM_NOSLEEP),
		    base);
		work(vmem_xcreate("untouched", NULL, 0, Q, import, vmem_free,
			 source, cached * Q, VM_NOSLEEP | VMC_XALIGN),
		    base);
		done(source);
	}
}

static void
no_operation_touches_memory_without_access(void **state)
{
	char *base = mmap(NULL, (size_t)QUANTA * Q, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)state;

	assert_ptr_not_equal(base, MAP_FAILED);
	work_on((uintptr_t)base);
	assert_int_equal(munmap(base, (size_t)QUANTA * Q), 0);
}

static void
no_operation_touches_integers_that_are_no_addresses(void **state)
{
	uintptr_t noncanonical = (uintptr_t)0x800000000000 << 8;
	uintptr_t top = (uintptr_t)0 - (uintptr_t)QUANTA * Q;
	(void)state;

	work_on(Q);
	work_on(noncanonical);
	work_on(top);
}

/* The heap arena starts the library, and with it the quantum caches. */
static int
with_caches(void **state)
{
	(void)state;
	return (vmem_heap_arena(NULL, NULL) == NULL);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_operation_touches_memory_without_access),
	    cmocka_unit_test(
		no_operation_touches_integers_that_are_no_addresses),
	};

	return (cmocka_run_group_tests_name(
	    "vmem_untouched", tests, with_caches, NULL));
}
