/*
 * vmem_run_test.c - runs of the heap: what they hold, and whom they join.
 *
 * The model is a table of live runs with a stamp in each page; after each step
 * the heap checks itself, and its account is compared with the table.
 * QR_TEST_SEED=n repeats the run of one seed.
 */
#include "unit/vmem/vmem_heap_test.h"

#include "base/bits.h"
#include "meta/pagemap.h"
#include "os/os.h"
#include "umem/umem_impl.h"
#include "vmem/vmem_shard.h"

#include <quarry/umem.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 200, STEPS = 3000, STEPS_QUICK = 300 };

/* A heap in which nothing is idle, and where a test may look at the change. */
static int
begin(void **state)
{
	(void)state;
	(void)quarry_reap();
	cpus_stay();
	return (0);
}

/* ---- the model ---- */

struct live {
	struct vmem__run *l_run;
	uintptr_t l_addr;
	size_t l_size;
	uint64_t l_stamp;
};

static struct live live[RUNS];
static uint64_t seed;

static uint64_t
below(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed % n);
}

/* One to 500 quanta, small ones more often. */
static size_t
random_size(void)
{
	return ((1 + below(1 + below(500))) * vmem__heap_quantum);
}

static uint64_t *
page(uintptr_t addr, size_t off)
{
	return ((uint64_t *)(addr + off));
}

static void
stamp(struct live *l, size_t from)
{
	for (size_t off = from; off < l->l_size; off += os_page_size())
		*page(l->l_addr, off) = l->l_stamp + off;
}

static void
check_stamp(const struct live *l, size_t size)
{
	for (size_t off = 0; off < size; off += os_page_size())
		assert_int_equal(*page(l->l_addr, off), l->l_stamp + off);
}

static void
step_alloc(struct live *l)
{
	size_t size = random_size();
	size_t align = vmem__heap_quantum << (below(4) == 0 ? below(8) : 0);
	bool zeroed = false;

	l->l_run = vmem__run_alloc(HEAP_BLOCK, size, align,
	    below(3) == 0 ? size : 0, below(2) == 0 ? &zeroed : NULL);
	assert_non_null(l->l_run);
	assert_int_equal(l->l_run->rn_size, size);
	assert_int_equal(l->l_run->rn_addr % align, 0);
	assert_ptr_equal(
	    vmem__run_find(HEAP_BLOCK, (void *)l->l_run->rn_addr), l->l_run);
	assert_null(vmem__run_find(HEAP_LENT, (void *)l->l_run->rn_addr));
	l->l_addr = l->l_run->rn_addr;
	l->l_size = size;
	l->l_stamp = below(UINT64_MAX);
	for (size_t off = 0; zeroed && off < size; off += os_page_size())
		assert_int_equal(*page(l->l_addr, off), 0);
	stamp(l, 0);
}

static void
step_resize(struct live *l)
{
	size_t size =
	    below(2) == 0 ? random_size() : l->l_size + vmem__heap_quantum;
	bool done = vmem__run_resize(l->l_run, size);

	if (size <= l->l_size)
		assert_true(done);
	if (!done)
		size = l->l_size;
	assert_int_equal(l->l_run->rn_addr, l->l_addr);
	assert_int_equal(l->l_run->rn_size, size);
	check_stamp(l, qr_min(size, l->l_size));
	l->l_size = size;
	stamp(l, 0);
}

static void
step_free(struct live *l)
{
	check_stamp(l, l->l_size);
	vmem__run_free(l->l_run);
	assert_null(vmem__run_find(HEAP_BLOCK, (void *)l->l_addr));
	l->l_run = NULL;
}

static void
step(const struct vmem__heap_stat *before)
{
	struct live *l = &live[below(RUNS)];
	struct vmem__heap_stat now;
	size_t bytes = 0, n = 0;

	if (l->l_run == NULL)
		step_alloc(l);
	else if (below(3) == 0)
		step_resize(l);
	else
		step_free(l);
	if (below(50) == 0)
		(void)vmem__heap_purge(os_now_coarse() - below(10000000));
	if (below(500) == 0)
		vmem__heap_set_idle_max(below(32) * MIB);
	if (below(100) == 0)
		vmem__heap_watch(below(2) == 0);
	vmem__heap_check();
	for (size_t i = 0; i < RUNS; i++) {
		bytes += live[i].l_run == NULL ? 0 : live[i].l_size;
		n += live[i].l_run != NULL;
	}
	now = account();
	assert_int_equal(now.blocks, before->blocks + n);
	assert_int_equal(now.block_bytes, before->block_bytes + bytes);
	assert_int_equal(now.used, before->used + bytes);
}

static void
random_operations_agree_with_the_model(void **state)
{
	const char *given = getenv("QR_TEST_SEED");
	unsigned steps = os_on_valgrind() ? STEPS_QUICK : STEPS;
	struct vmem__heap_stat before = account();
	(void)state;

	seed = given != NULL ? strtoul(given, NULL, 0)
			     : (uint64_t)time(NULL) * 2654435761u + 1;
	print_message("QR_TEST_SEED=%llu\n", (unsigned long long)seed);
	for (unsigned i = 0; i < steps; i++)
		step(&before);
	for (size_t i = 0; i < RUNS; i++)
		if (live[i].l_run != NULL)
			step_free(&live[i]);
	assert_int_equal(account().used, before.used);
}

/* ---- sentences ---- */

static void
a_run_grows_into_what_is_free_behind_it(void **state)
{
	struct vmem__run *run = run_get(64 * KIB, 16 * KIB, 8 * MIB);
	uintptr_t addr = run->rn_addr;
	(void)state;

	*page(addr, 0) = 1234;
	assert_true(vmem__run_resize(run, 8 * MIB));
	assert_int_equal(run->rn_addr, addr);
	assert_int_equal(run->rn_size, 8 * MIB);
	assert_int_equal(*page(addr, 0), 1234);
	memset((void *)addr, 1, 8 * MIB);
	vmem__run_free(run);
}

static void
a_run_grows_over_idle_and_zero_runs_alike(void **state)
{
	struct vmem__run *run = run_get(64 * KIB, 16 * KIB, 4 * MIB);
	(void)state;

	/* What is behind: 1 MiB idle, then zero. */
	assert_true(vmem__run_resize(run, MIB + 64 * KIB));
	assert_true(vmem__run_resize(run, 64 * KIB));
	assert_in_range(account().idle_bytes, MIB, SIZE_MAX);
	assert_true(vmem__run_resize(run, 3 * MIB));
	vmem__run_free(run);
}

/* From 2 MiB to 256 in steps of a half: twelve, and some that are short. */
static void
spans_grow_with_the_heap(void **state)
{
	enum { MANY = 256, SPANS = 16 };
	struct vmem__run *runs[MANY];
	size_t spans = 0;
	(void)state;

	for (unsigned i = 0; i < MANY; i++) {
		size_t before = vmem_size(vmem__heap(), VMEM_ALLOC);

		runs[i] = run_get(MIB, 16 * KIB, 0);
		spans += vmem_size(vmem__heap(), VMEM_ALLOC) > before;
	}
	assert_in_range(spans, 1, SPANS);
	for (unsigned i = 0; i < MANY; i++)
		vmem__run_free(runs[i]);
}

static void
a_run_with_a_neighbour_does_not_grow(void **state)
{
	struct vmem__run *run = run_get(64 * KIB, 16 * KIB, 0);
	struct vmem__run *next = run_get(64 * KIB, 16 * KIB, 0);
	(void)state;

	while (next->rn_addr != run->rn_addr + run->rn_size) {
		run = next;
		next = run_get(64 * KIB, 16 * KIB, 0);
	}
	assert_false(vmem__run_resize(run, 128 * KIB));
	assert_int_equal(run->rn_size, 64 * KIB);
	vmem__run_free(next);
	assert_true(vmem__run_resize(run, 128 * KIB));
	vmem__run_free(run);
}

static void
what_a_run_gives_up_is_idle_and_used_again(void **state)
{
	struct vmem__run *run = run_get(4 * MIB, 16 * KIB, 0), *part;
	struct vmem__heap_stat st = account();
	(void)state;

	assert_true(vmem__run_resize(run, MIB));
	assert_int_equal(account().idle_bytes, st.idle_bytes + 3 * MIB);
	assert_int_equal(account().used, st.used - 3 * MIB);
	part = run_get(3 * MIB, 16 * KIB, 0);
	assert_int_equal(part->rn_addr, run->rn_addr + MIB);
	vmem__run_free(part);
	vmem__run_free(run);
}

static void
neighbours_that_are_freed_become_one(void **state)
{
	struct vmem__run *run = run_get(MIB, 16 * KIB, 0), *parts[4];
	uintptr_t addr = run->rn_addr;
	(void)state;

	vmem__run_free(run);
	for (size_t i = 0; i < 4; i++) {
		parts[i] = run_get(MIB / 4, 16 * KIB, 0);
		assert_int_equal(parts[i]->rn_addr, addr + i * MIB / 4);
	}
	vmem__run_free(parts[0]);
	vmem__run_free(parts[2]);
	vmem__run_free(parts[1]);
	vmem__run_free(parts[3]);
	run = run_get(MIB, 16 * KIB, 0);
	assert_int_equal(run->rn_addr, addr);
	vmem__run_free(run);
}

static void
pause_ms(long ms)
{
	struct timespec ts = {.tv_nsec = ms * 1000000};

	(void)nanosleep(&ts, NULL);
}

/* Of those that are long enough the shortest is taken, large ones stay so. */
static void
the_least_that_fits_is_taken(void **state)
{
	struct vmem__run *large = run_get(4 * MIB, 16 * KIB, 0), *small, *taken;
	struct vmem__run *walls[2];
	uintptr_t addr;
	(void)state;

	walls[0] = run_get(64 * KIB, 16 * KIB, 0);
	small = run_get(MIB, 16 * KIB, 0);
	walls[1] = run_get(64 * KIB, 16 * KIB, 0);
	addr = small->rn_addr;
	vmem__run_free(small);
	vmem__run_free(large);
	taken = run_get(512 * KIB, 16 * KIB, 0);
	assert_in_range(taken->rn_addr, addr, addr + 512 * KIB);
	vmem__run_free(taken);
	vmem__run_free(walls[0]);
	vmem__run_free(walls[1]);
}

/* Whatever is split and joined, others have the same records. */
static void
no_record_of_a_run_is_lost(void **state)
{
	enum { PIECES = 64, ROUNDS = 3000 };
	struct vmem__run *run[PIECES];
	size_t mapped = 0;
	(void)state;

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < PIECES; i++)
			run[i] = run_get(64 * KIB, 16 * KIB, 0);
		for (unsigned i = 0; i < PIECES; i += 2)
			vmem__run_free(run[i]);
		for (unsigned i = 1; i < PIECES; i += 2)
			vmem__run_free(run[i]);
		if (round == ROUNDS / 10)
			mapped = meta_mapped();
	}
	assert_int_equal(meta_mapped(), mapped);
}

static void
what_joins_is_as_old_as_its_largest_part(void **state)
{
	struct vmem__run *large = run_get(MIB + 64 * KIB, 16 * KIB, 0);
	struct vmem__run *wall = run_get(64 * KIB, 16 * KIB, 0), *other, *small;
	uint64_t between;
	(void)state;

	assert_true(vmem__run_resize(large, MIB));
	small = run_get(64 * KIB, 16 * KIB, 0);
	assert_int_equal(small->rn_addr, large->rn_addr + MIB);
	other = run_get(MIB / 2, 16 * KIB, 0);
	vmem__run_free(large);
	pause_ms(20);
	between = os_now_coarse();
	pause_ms(20);
	vmem__run_free(other);
	vmem__run_free(small);
	assert_int_equal(account().idle_bytes, MIB + MIB / 2 + 64 * KIB);
	assert_int_equal(vmem__heap_purge(between), MIB + 64 * KIB);
	vmem__run_free(wall);
}

static void
so_it_is_when_that_is_behind(void **state)
{
	struct vmem__run *small = run_get(MIB + 64 * KIB, 16 * KIB, 0);
	struct vmem__run *wall = run_get(64 * KIB, 16 * KIB, 0), *large;
	uint64_t between;
	(void)state;

	assert_true(vmem__run_resize(small, 64 * KIB));
	large = run_get(MIB, 16 * KIB, 0);
	assert_int_equal(large->rn_addr, small->rn_addr + 64 * KIB);
	vmem__run_free(large);
	pause_ms(20);
	between = os_now_coarse();
	pause_ms(20);
	vmem__run_free(small);
	assert_int_equal(vmem__heap_purge(between), MIB + 64 * KIB);
	vmem__run_free(wall);
}

static void
idle_memory_over_the_cap_is_purged_and_no_more(void **state)
{
	struct vmem__run *run = run_get(32 * MIB, 16 * KIB, 0);
	size_t mapped = vmem_size(vmem__heap(), VMEM_ALLOC);
	uint64_t purged = account().purged;
	(void)state;

	vmem__heap_set_idle_max(4 * MIB);
	vmem__run_free(run);
	assert_in_range(
	    account().idle_bytes, 3 * MIB, 4 * MIB + account().used / 4);
	assert_in_range(account().purged - purged, 26 * MIB, 32 * MIB);
	assert_int_equal(vmem_size(vmem__heap(), VMEM_ALLOC), mapped);
	(void)vmem__heap_purge(UINT64_MAX);
	assert_int_equal(account().idle_bytes, 0);
	/* The span it was in is the kernel's again. */
	assert_in_range(
	    vmem_size(vmem__heap(), VMEM_ALLOC), 0, mapped - 32 * MIB);
}

/* A run that need not be zero. */
static struct vmem__run *
any_get(size_t size)
{
	struct vmem__run *run =
	    vmem__run_alloc(HEAP_BLOCK, size, 16 * KIB, 0, NULL);

	assert_non_null(run);
	return (run);
}

static void
while_somebody_watches_what_was_in_use_may_be_idle(void **state)
{
	struct vmem__run *run = any_get(64 * MIB), *larger;
	uint64_t purged = account().purged;
	(void)state;

	vmem__heap_watch(true);
	vmem__run_free(run);
	assert_int_equal(account().idle_bytes, 64 * MIB);
	run = any_get(64 * MIB);
	assert_int_equal(account().purged, purged);
	/* Idle and in use, it is never more than was in use or the cap allows. */
	vmem__run_free(run);
	run = any_get(40 * MIB);
	larger = any_get(60 * MIB);
	assert_in_range(
	    account().idle_bytes, 1, qr_max(16 * MIB, account().used / 4));
	vmem__run_free(run);
	vmem__run_free(larger);
	assert_in_range(account().idle_bytes, 100 * MIB, 116 * MIB);
	/* From the next purge on it counts what is in use then. */
	(void)vmem__heap_purge(0);
	run = any_get(MIB);
	vmem__run_free(run);
	assert_in_range(account().idle_bytes, 1, 16 * MIB + account().used / 4);
	run = any_get(64 * MIB);
	vmem__run_free(run);
	assert_in_range(account().idle_bytes, 64 * MIB, SIZE_MAX);
	vmem__heap_watch(false);
	assert_in_range(account().idle_bytes, 1, 16 * MIB + account().used / 4);
}

/* Behind the second part of what is idle is memory that has no pages. */
static void
what_is_taken_with_no_pages_comes_out_of_what_is_idle(void **state)
{
	struct vmem__run *one = any_get(100 * MIB), *guard, *two, *run;
	(void)state;

	assert_true(vmem__run_resize(one, 32 * MIB));
	guard = any_get(MIB);
	two = any_get(32 * MIB);
	assert_int_equal(two->rn_addr, one->rn_addr + 33 * MIB);
	(void)vmem__heap_purge(UINT64_MAX);
	vmem__heap_watch(true);
	vmem__run_free(one);
	vmem__run_free(two);
	assert_int_equal(account().idle_bytes, 64 * MIB);
	run = any_get(48 * MIB);
	assert_int_equal(run->rn_addr, two->rn_addr);
	assert_in_range(account().idle_bytes, 16 * MIB,
	    16 * MIB + account().used / 4 + vmem__heap_quantum);
	assert_in_range(account().idle_bytes, 0, 31 * MIB);
	vmem__run_free(run);
	vmem__run_free(guard);
}

/* There is memory for it and its successor, and nothing beside them. */
static void
idle_memory_makes_way_for_a_run_that_will_be_freed(void **state)
{
	struct vmem__run *idle = any_get(16 * MIB), *run = any_get(40 * MIB);
	struct vmem__run *next;
	(void)state;

	vmem__heap_watch(true);
	(void)vmem__heap_purge(0);
	vmem__run_free(idle);
	assert_int_equal(account().idle_bytes, 16 * MIB);
	/* It stays after all, and nothing has happened. */
	vmem__run_leaving(run, true);
	vmem__run_leaving(run, false);
	assert_int_equal(account().idle_bytes, 16 * MIB);
	vmem__run_leaving(run, true);
	next = any_get(60 * MIB);
	assert_int_equal(account().idle_bytes, 0);
	vmem__run_free(run);
	assert_int_equal(account().idle_bytes, 16 * MIB);
	/* As much may be idle as was in use, and that is not the two together. */
	vmem__run_free(next);
	assert_in_range(account().idle_bytes, 60 * MIB, 64 * MIB);
	vmem__heap_watch(false);
	/* One that is there in its stead later does not leave. */
	run = any_get(MIB);
	vmem__run_leaving(run, true);
	vmem__run_free(run);
	vmem__run_free(any_get(MIB));
	vmem__run_free(any_get(40 * MIB));
	assert_in_range(account().idle_bytes, 0, 16 * MIB);
}

/* Who was about to free it is not there. */
static void
no_run_is_leaving_in_the_child_of_fork(void **state)
{
	struct vmem__run *idle = any_get(16 * MIB), *run = any_get(40 * MIB);
	(void)state;

	vmem__run_leaving(run, true);
	vmem__heap_lock();
	vmem__heap_unlock(true);
	vmem__run_free(idle);
	assert_int_equal(account().idle_bytes, 16 * MIB);
	/* If it is freed after all, it is like any other. */
	vmem__run_free(run);
	idle = any_get(16 * MIB);
	vmem__run_free(idle);
	assert_int_equal(account().idle_bytes, 16 * MIB);
}

static void
nothing_is_idle_that_takes_the_process_to_its_limit(void **state)
{
	struct vmem__run *run[2] = {any_get(12 * MIB), any_get(MIB)};
	size_t used = account().used;
	(void)state;

	/* Of 32 MiB, 28 may be in use or idle. */
	vmem__heap_set_limit(32 * MIB);
	vmem__run_free(run[0]);
	assert_int_equal(account().idle_bytes, 12 * MIB);
	run[0] = any_get(20 * MIB);
	assert_in_range(account().used + account().idle_bytes, 28 * MIB,
	    28 * MIB + vmem__heap_quantum);
	vmem__run_free(run[1]);
	run[1] = any_get(9 * MIB);
	assert_int_equal(account().idle_bytes, 0);
	vmem__run_free(run[1]);
	vmem__heap_set_limit(0);
	vmem__run_free(run[0]);
	assert_int_equal(account().idle_bytes, 0);
	vmem__heap_set_limit(SIZE_MAX);
	assert_true(account().used < used);
}

static void
more_zeroes_than_the_cap_come_from_memory_that_has_no_pages(void **state)
{
	struct vmem__run *run = any_get(64 * MIB);
	bool zeroed = false;
	(void)state;

	vmem__heap_watch(true);
	vmem__run_free(run);
	assert_int_equal(account().idle_bytes, 64 * MIB);
	run = vmem__run_alloc(HEAP_BLOCK, 32 * MIB, 16 * KIB, 0, &zeroed);
	assert_non_null(run);
	assert_true(zeroed);
	assert_in_range(account().idle_bytes, 32 * MIB,
	    32 * MIB + account().used / 4 + vmem__heap_quantum);
	vmem__run_free(run);
	run = vmem__run_alloc(HEAP_BLOCK, 16 * MIB, 16 * KIB, 0, &zeroed);
	assert_non_null(run);
	assert_false(zeroed);
	vmem__run_free(run);
}

/* Long before anything else, though it was freed later. */
static void
what_was_of_no_use_for_a_while_goes_with_the_next_purge(void **state)
{
	struct vmem__run *run[3];
	uintptr_t fresh;
	(void)state;

	for (int i = 0; i < 3; i++)
		run[i] = run_get(MIB, 16 * KIB, 0);
	fresh = run[0]->rn_addr;
	vmem__run_free(run[0]);
	vmem__run_free_aged(run[2]);
	assert_int_equal(account().idle_bytes, 2 * MIB);
	(void)vmem__heap_purge(1);
	assert_int_equal(account().idle_bytes, MIB);
	run[0] = vmem__run_alloc(HEAP_BLOCK, MIB, 16 * KIB, 0, NULL);
	assert_int_equal(run[0]->rn_addr, fresh);
	vmem__heap_check();
	vmem__run_free(run[0]);
	vmem__run_free(run[1]);
}

static void
without_idle_memory_allowed_none_is_kept(void **state)
{
	struct vmem__run *run = run_get(MIB, 16 * KIB, 0);
	(void)state;

	memset((void *)run->rn_addr, 1, MIB);
	vmem__heap_set_idle_max(0);
	vmem__run_free(run);
	assert_int_equal(account().idle_bytes, 0);
}

static void
memory_that_the_kernel_will_not_purge_reads_as_zero_too(void **state)
{
	struct vmem__run *run = run_get(MIB, 16 * KIB, 0);
	uintptr_t addr = run->rn_addr;
	bool zeroed = false;
	(void)state;

	memset((void *)addr, 1, MIB);
	/* Something of the span stays in use, so that it is not unmapped. */
	assert_true(vmem__run_resize(run, 16 * KIB));
	failsys_from(FAILSYS_MADVISE, 1, ENOMEM);
	(void)vmem__heap_purge(UINT64_MAX);
	failsys_reset();
	assert_true(vmem__run_resize(run, MIB));
	for (size_t off = 16 * KIB; off < MIB; off += 4 * KIB)
		assert_int_equal(*page(addr, off), 0);
	vmem__run_free(run);
	run = vmem__run_alloc(HEAP_BLOCK, 64 * MIB, 16 * KIB, 0, &zeroed);
	assert_non_null(run);
	assert_true(zeroed);
	vmem__run_free(run);
}

static void
what_is_idle_is_used_though_it_is_too_short(void **state)
{
	struct vmem__run *run = run_get(MIB, 16 * KIB, 0);
	uintptr_t addr = run->rn_addr;
	bool zeroed;
	(void)state;

	*page(addr, 0) = 1;
	assert_true(vmem__run_resize(run, MIB / 4));
	(void)vmem__heap_purge(UINT64_MAX);
	vmem__run_free(run);
	assert_int_equal(account().idle_bytes, MIB / 4);
	run = vmem__run_alloc(HEAP_BLOCK, MIB / 2, 16 * KIB, 0, NULL);
	assert_int_equal(run->rn_addr, addr);
	assert_int_equal(run->rn_size, MIB / 2);
	assert_int_equal(*page(addr, 0), 1);
	assert_int_equal(account().idle_bytes, 0);
	vmem__heap_check();
	vmem__run_free(run);
	/* Who wants zeroes is better off with memory that has no pages. */
	run = vmem__run_alloc(HEAP_BLOCK, MIB, 16 * KIB, 0, &zeroed);
	assert_true(zeroed);
	assert_int_not_equal(run->rn_addr, addr);
	assert_int_equal(account().idle_bytes, MIB / 2);
	vmem__run_free(run);
}

/* Parts, next to each other, of four quanta: idle, zero or in use. */
enum { PARTS_MAX = 12, PART_QUANTA = 4 };

/* The first begins at a multiple of 16 quanta, so that alignments matter. */
static void
lay_out(struct vmem__run *part[PARTS_MAX], const char *how)
{
	size_t q = vmem__heap_quantum, size = PART_QUANTA * q;

	(void)vmem__heap_purge(UINT64_MAX);
	part[0] = run_get(strlen(how) * size, 16 * q, 0);
	assert_true(vmem__run_resize(part[0], size));
	for (size_t i = 1; how[i] != '\0'; i++) {
		part[i] = any_get(size);
		assert_int_equal(part[i]->rn_addr, part[0]->rn_addr + i * size);
	}
	for (size_t i = 0; how[i] != '\0'; i++) {
		if (how[i] == 'z')
			vmem__run_free(part[i]);
	}
	(void)vmem__heap_purge(UINT64_MAX);
	for (size_t i = 0; how[i] != '\0'; i++) {
		if (how[i] == 'i')
			vmem__run_free(part[i]);
	}
}

static void
what_is_idle_is_used_with_what_is_free_around_it(void **state)
{
	/* Asked for, in quanta; where it is found, and how much idle is in it. */
	static const struct {
		const char *how;
		size_t size, align, at, idle;
	} cases[] = {
	    {"zizu", 6, 1, 4, 4},
	    {"uizu", 8, 1, 4, 4},
	    {"ziuu", 6, 1, 2, 4},
	    {"zizu", 10, 1, 2, 4},
	    {"zizu", 12, 1, 0, 4},
	    {"iziu", 12, 1, 0, 8},
	    {"iziu", 11, 1, 1, 7},
	    {"uziz", 11, 1, 8, 4},
	    {"zizu", 8, 8, 0, 4},
	    {"uizz", 8, 4, 4, 4},
	    {"iizzzuiziziu", 20, 1, 24, 12},
	};
	size_t q = vmem__heap_quantum;
	(void)state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vmem__run *part[PARTS_MAX] = {NULL}, *run;
		uintptr_t start;
		size_t idle;

		lay_out(part, cases[i].how);
		start = part[0]->rn_addr;
		idle = account().idle_bytes;
		run = vmem__run_alloc(
		    HEAP_BLOCK, cases[i].size * q, cases[i].align * q, 0, NULL);
		assert_non_null(run);
		assert_int_equal(run->rn_addr, start + cases[i].at * q);
		assert_int_equal(run->rn_size, cases[i].size * q);
		assert_int_equal(
		    account().idle_bytes, idle - cases[i].idle * q);
		vmem__heap_check();
		vmem__run_free(run);
		for (size_t k = 0; cases[i].how[k] != '\0'; k++) {
			if (cases[i].how[k] == 'u')
				vmem__run_free(part[k]);
		}
		(void)vmem__heap_purge(UINT64_MAX);
	}
}

static void
room_of_any_size_may_be_asked_for(void **state)
{
	(void)state;

	/* Refused as a large span, it is tried exactly. */
	for (size_t room = 1; room < MIB; room = room * 3 + 1) {
		struct vmem__run *run;

		failsys_nth(FAILSYS_MMAP, 1, ENOMEM);
		run = run_get(8 * MIB, 16 * KIB, room);
		vmem__heap_check();
		vmem__run_free(run);
		vmem__heap_check();
		(void)vmem__heap_purge(UINT64_MAX);
	}
}

/* Where the kernel has nothing more, a run is what there is, without room. */
static void
who_has_no_room_gets_the_run_without(void **state)
{
	struct vmem__run *wall = run_get(4 * MIB, 16 * KIB, 0), *run;
	(void)state;

	assert_true(vmem__run_resize(wall, 64 * KIB));
	(void)vmem__heap_purge(UINT64_MAX);
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	run = run_get(3 * MIB, 16 * KIB, 32 * MIB);
	failsys_reset();
	assert_int_equal(run->rn_shard, wall->rn_shard);
	vmem__run_free(run);
	vmem__run_free(wall);
}

static size_t
cached_512(void)
{
	struct umem_stat us;

	assert_true(look_cache("umem_alloc_512", &us));
	return (us.us_cached);
}

/* Zeroes that are partly idle are so after a purge; nobody is reaped for it. */
static void
zeroes_are_made_of_idle_memory_before_caches_are_emptied(void **state)
{
	struct vmem__run *wall = run_get(4 * MIB, 16 * KIB, 0), *run;
	size_t cached;
	(void)state;

	umem_free(umem_alloc(512, UMEM_DEFAULT), 512);
	cached = cached_512();
	assert_int_not_equal(cached, 0);
	assert_true(vmem__run_resize(wall, 64 * KIB));
	(void)vmem__heap_purge(UINT64_MAX);
	run = run_get(2 * MIB, 16 * KIB, 0);
	assert_int_equal(run->rn_addr, wall->rn_addr + 64 * KIB);
	vmem__run_free(run);
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	run = run_get(3 * MIB, 16 * KIB, 0);
	failsys_reset();
	assert_true(run->rn_zero);
	assert_int_equal(cached_512(), cached);
	vmem__run_free(run);
	vmem__run_free(wall);
}

/* No shard has a record in hand. */
static void
spares_give_back(void)
{
	for (unsigned i = 0; i < VMEM_SHARDS; i++) {
		struct vmem_shard *sd = vmem__shard_at(i);

		qr_mutex_enter(&sd->sd_lock);
		while (sd->sd_spares > 0)
			meta_put(&vmem__run_pool, vmem__run_get(sd));
		qr_mutex_exit(&sd->sd_lock);
	}
}

static void
a_heap_without_records_divides_nothing(void **state)
{
	struct vmem__run *run = run_get(8 * MIB, 16 * KIB, 0);
	size_t used = account().used;
	bool zeroed;
	(void)state;

	*page(run->rn_addr, 0) = 99;
	spares_give_back();
	failsys_from(FAILSYS_RECORD, 1, ENOMEM);
	/* It stays as large as it is. */
	assert_false(vmem__run_resize(run, MIB));
	assert_int_equal(run->rn_size, 8 * MIB);
	vmem__heap_check();
	failsys_reset();
	vmem__run_free(run);
	spares_give_back();
	failsys_from(FAILSYS_RECORD, 1, ENOMEM);
	/* Nothing can be left in front of what is aligned: no room, or luck. */
	for (size_t align = 16 * KIB; align <= 64 * MIB; align *= 2) {
		run = vmem__run_alloc(HEAP_BLOCK, MIB, align, 0, &zeroed);
		vmem__heap_check();
		if (run != NULL)
			vmem__run_free(run);
	}
	assert_null(vmem__run_alloc(HEAP_BLOCK, MIB, MIB * MIB, 0, &zeroed));
	failsys_reset();
	vmem__heap_check();
	assert_int_equal(account().used, used - 8 * MIB);
}

static void
with_one_record_what_is_behind_stays_with_the_run(void **state)
{
	struct vmem__run *run = run_get(8 * MIB, 8 * MIB, 0), *next;
	bool zeroed;
	(void)state;

	(void)vmem__heap_purge(UINT64_MAX);
	assert_true(vmem__run_resize(run, vmem__heap_quantum));
	spares_give_back();
	failsys_from(FAILSYS_RECORD, 2, ENOMEM);
	next = vmem__run_alloc(HEAP_BLOCK, MIB, MIB, 0, &zeroed);
	failsys_reset();
	assert_non_null(next);
	assert_int_equal(next->rn_addr, run->rn_addr + MIB);
	assert_int_equal(next->rn_size, 7 * MIB);
	vmem__heap_check();
	vmem__run_free(next);
	vmem__run_free(run);
	vmem__heap_check();
}

static void
the_record_of_a_run_that_is_gone_serves_the_next(void **state)
{
	struct vmem__run *run = run_get(8 * MIB, 16 * KIB, 0);
	(void)state;

	spares_give_back();
	assert_true(vmem__run_resize(run, 4 * MIB));
	assert_true(vmem__run_resize(run, 8 * MIB));
	failsys_from(FAILSYS_RECORD, 1, ENOMEM);
	assert_true(vmem__run_resize(run, 4 * MIB));
	failsys_reset();
	vmem__heap_check();
	vmem__run_free(run);
}

static void
a_heap_without_memory_says_so_and_works_again(void **state)
{
	struct vmem__run *run = run_get(MIB, 16 * KIB, 0);
	struct vmem__heap_stat st = account();
	bool zeroed;
	(void)state;

	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	assert_null(vmem__run_alloc(
	    HEAP_BLOCK, 512 * MIB, 16 * KIB, 512 * MIB, &zeroed));
	assert_null(
	    vmem__run_alloc(HEAP_BLOCK, SIZE_MAX / 2, 16 * KIB, 0, &zeroed));
	assert_null(vmem__run_alloc(
	    HEAP_BLOCK, 16 * KIB, SIZE_MAX / 2 + 1, 0, &zeroed));
	failsys_reset();
	assert_int_equal(account().used, st.used);
	vmem__run_free(run);
	vmem__run_free(run_get(512 * MIB, 16 * KIB, 0));
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, heap_end)
	const struct CMUnitTest tests[] = {
	    TEST(random_operations_agree_with_the_model),
	    TEST(a_run_grows_into_what_is_free_behind_it),
	    TEST(a_run_grows_over_idle_and_zero_runs_alike),
	    TEST(spans_grow_with_the_heap),
	    TEST(a_run_with_a_neighbour_does_not_grow),
	    TEST(what_a_run_gives_up_is_idle_and_used_again),
	    TEST(neighbours_that_are_freed_become_one),
	    TEST(the_least_that_fits_is_taken),
	    TEST(no_record_of_a_run_is_lost),
	    TEST(what_joins_is_as_old_as_its_largest_part),
	    TEST(so_it_is_when_that_is_behind),
	    TEST(idle_memory_over_the_cap_is_purged_and_no_more),
	    TEST(while_somebody_watches_what_was_in_use_may_be_idle),
	    TEST(what_is_taken_with_no_pages_comes_out_of_what_is_idle),
	    TEST(idle_memory_makes_way_for_a_run_that_will_be_freed),
	    TEST(no_run_is_leaving_in_the_child_of_fork),
	    TEST(nothing_is_idle_that_takes_the_process_to_its_limit),
	    TEST(more_zeroes_than_the_cap_come_from_memory_that_has_no_pages),
	    TEST(what_was_of_no_use_for_a_while_goes_with_the_next_purge),
	    TEST(without_idle_memory_allowed_none_is_kept),
	    TEST(memory_that_the_kernel_will_not_purge_reads_as_zero_too),
	    TEST(what_is_idle_is_used_though_it_is_too_short),
	    TEST(what_is_idle_is_used_with_what_is_free_around_it),
	    TEST(room_of_any_size_may_be_asked_for),
	    TEST(who_has_no_room_gets_the_run_without),
	    TEST(zeroes_are_made_of_idle_memory_before_caches_are_emptied),
	    TEST(a_heap_without_records_divides_nothing),
	    TEST(with_one_record_what_is_behind_stays_with_the_run),
	    TEST(the_record_of_a_run_that_is_gone_serves_the_next),
	    TEST(a_heap_without_memory_says_so_and_works_again),
	};

	if (!umem__init())
		return (EXIT_FAILURE);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
