/*
 * vmem_park_test.c - blocks that wait on a CPU: for whom, how many, how long.
 */
#include "unit/vmem/vmem_heap_test.h"

#include "base/bits.h"
#include "os/os.h"
#include "umem/umem_impl.h"

#include <stdlib.h>
#include <string.h>

static struct vmem__run *
block_get(size_t size)
{
	return (run_get(size, 16 * KIB, 0));
}

static int
begin(void **state)
{
	(void)state;
	(void)quarry_reap();
	cpus_stay();
	return (0);
}

static void
what_waits_is_for_a_request_of_its_size(void **state)
{
	struct vmem__run *run = block_get(512 * KIB);
	uintptr_t addr = run->rn_addr;
	(void)state;

	vmem__park(run);
	assert_null(vmem__unpark(496 * KIB));
	assert_null(vmem__unpark(528 * KIB));
	assert_null(vmem__run_find(HEAP_BLOCK, (void *)addr));
	assert_ptr_equal(vmem__unpark(512 * KIB), run);
	assert_ptr_equal(vmem__run_find(HEAP_BLOCK, (void *)addr), run);
	assert_int_equal(run->rn_size, 512 * KIB);
	assert_null(vmem__unpark(512 * KIB));
	vmem__run_free(run);
}

static void
what_makes_way_for_its_successor_does_not_wait(void **state)
{
	struct vmem__run *run = block_get(512 * KIB);
	(void)state;

	vmem__run_leaving(run, true);
	vmem__park(run);
	assert_null(vmem__unpark(512 * KIB));
}

static void
what_waits_is_idle_and_not_in_use(void **state)
{
	struct vmem__heap_stat before = account(), st;
	struct vmem__run *run = block_get(512 * KIB);
	(void)state;

	vmem__park(run);
	st = account();
	assert_int_equal(st.used, before.used);
	assert_int_equal(st.blocks, before.blocks);
	assert_int_equal(st.block_bytes, before.block_bytes);
	assert_int_equal(st.idle_bytes, before.idle_bytes + 512 * KIB);
}

static void
only_the_latest_waits(void **state)
{
	struct vmem__run *first = block_get(512 * KIB),
			 *wall = block_get(16 * KIB);
	struct vmem__run *second = block_get(256 * KIB);
	(void)state;

	vmem__park(first);
	vmem__park(second);
	assert_null(vmem__unpark(512 * KIB));
	/* It is free like any other, and found. */
	assert_int_equal(account().idle_bytes, 768 * KIB);
	assert_ptr_equal(block_get(512 * KIB), first);
	assert_ptr_equal(vmem__unpark(256 * KIB), second);
	vmem__run_free(first);
	vmem__run_free(second);
	vmem__run_free(wall);
}

static void
each_cpu_has_its_own(void **state)
{
	struct vmem__run *run = block_get(512 * KIB);
	unsigned here;
	size_t used;
	(void)state;

	cpus_move(0);
	here = percpu_cpu();
	cpus_move(1);
	if (percpu_cpu() % 16 == here % 16)
		skip();
	used = account().used;
	vmem__park(run);
	assert_int_equal(account().used, used - 512 * KIB);
	cpus_move(0);
	assert_null(vmem__unpark(512 * KIB));
	cpus_move(1);
	assert_ptr_equal(vmem__unpark(512 * KIB), run);
	vmem__run_free(run);
}

/* All slots together hold no more than may be idle. */
static void
a_sixteenth_of_the_cap_may_wait(void **state)
{
	(void)state;

	vmem__heap_set_idle_max(4 * MIB);
	vmem__park(block_get(256 * KIB + 16 * KIB));
	assert_null(vmem__unpark(256 * KIB + 16 * KIB));
	vmem__park(block_get(256 * KIB));
	assert_non_null(vmem__unpark(256 * KIB));
	vmem__heap_set_idle_max(0);
	vmem__park(block_get(16 * KIB));
	assert_null(vmem__unpark(16 * KIB));
}

/* Too much is idle without it, and only with it. */
static void
what_waits_counts_for_the_cap(void **state)
{
	const size_t sizes[] = {31 * MIB, 15 * MIB + 512 * KIB};
	(void)state;

	for (size_t i = 0; i < QR_ARRAY_LEN(sizes); i++) {
		struct vmem__run *run = block_get(MIB),
				 *rest = block_get(sizes[i]);
		size_t most;

		vmem__park(run);
		vmem__run_free(rest);
		most = qr_max(16 * MIB, account().used / 4);
		assert_in_range(account().idle_bytes, 15 * MIB, most);
		assert_ptr_equal(vmem__unpark(MIB), run);
		vmem__run_free(run);
		(void)quarry_reap();
	}
}

static void
what_has_waited_long_is_given_back(void **state)
{
	struct vmem__run *run = block_get(512 * KIB);
	(void)state;

	/* Each time anew. */
	for (int i = 0; i < 3; i++) {
		vmem__park(run);
		(void)vmem__heap_purge(0);
		assert_int_equal(account().idle_bytes, 512 * KIB);
		assert_ptr_equal(vmem__unpark(512 * KIB), run);
	}
	vmem__park(run);
	(void)vmem__heap_purge(0);
	(void)vmem__heap_purge(0);
	assert_null(vmem__unpark(512 * KIB));
	assert_int_equal(account().idle_bytes, 512 * KIB);
	vmem__park(block_get(512 * KIB));
	(void)vmem__heap_purge(UINT64_MAX);
	assert_null(vmem__unpark(512 * KIB));
	assert_int_equal(account().idle_bytes, 0);
}

/* ---- threads ---- */

enum { TURNS = 20000 };

static atomic_bool done;

/* The first word of a block is whose it is. */
static void *
turn_over(void *arg)
{
	static const size_t sizes[] = {16 * KIB, 32 * KIB};
	unsigned seed = (unsigned)(uintptr_t)arg;

	for (unsigned i = 0; i < TURNS; i++) {
		size_t size = sizes[(seed = seed * 69069 + 1) >> 16 & 1];
		struct vmem__run *run = vmem__unpark(size);

		if (run == NULL)
			run = block_get(size);
		*(uintptr_t *)run->rn_addr = (uintptr_t)arg;
		if (i % 64 == 0)
			cpus_move(i / 64);
		assert_int_equal(*(uintptr_t *)run->rn_addr, (uintptr_t)arg);
		assert_true(run->rn_size >= size);
		vmem__park(run);
	}
	return (NULL);
}

static void *
purge(void *arg)
{
	while (!atomic_load(&done)) {
		(void)vmem__heap_purge(os_now_coarse() - 1000000);
		(void)account();
	}
	return (arg);
}

static void
no_two_threads_have_one_block(void **state)
{
	(void)state;
	heap_threads(turn_over, purge, &done);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, heap_end)
	const struct CMUnitTest tests[] = {
	    TEST(what_waits_is_for_a_request_of_its_size),
	    TEST(what_makes_way_for_its_successor_does_not_wait),
	    TEST(what_waits_is_idle_and_not_in_use),
	    TEST(only_the_latest_waits),
	    TEST(each_cpu_has_its_own),
	    TEST(a_sixteenth_of_the_cap_may_wait),
	    TEST(what_waits_counts_for_the_cap),
	    TEST(what_has_waited_long_is_given_back),
	    TEST(no_two_threads_have_one_block),
	};

	if (!umem__init())
		return (EXIT_FAILURE);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
