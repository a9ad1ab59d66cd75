/*
 * vmem_shard_test.c - the heap where there is more than one CPU: whose memory a
 * request gets, and how much of it all may keep.
 */
#include "unit/vmem/vmem_heap_test.h"

#include "os/os.h"
#include "support/random.h"
#include "umem/umem_impl.h"
#include "vmem/vmem_shard.h"

#include <errno.h>
#include <stdlib.h>

static int
begin(void **state)
{
	(void)state;
	(void)quarry_reap();
	return (0);
}

/* Are there two, and are they told apart?  The thread is on the first then. */
static bool
two_cpus(void)
{
	unsigned other;

	cpus_move(1);
	other = percpu_cpu();
	cpus_move(0);
	return (percpu_cpu() % VMEM_SHARDS != other % VMEM_SHARDS);
}

static struct vmem__run *
get(size_t size)
{
	return (run_get(size, 16 * KIB, 0));
}

static bool
inside(const struct vmem__run *run, uintptr_t from, size_t size)
{
	return (run->rn_addr >= from && run->rn_addr - from < size);
}

static void
each_cpu_has_memory_of_its_own(void **state)
{
	struct vmem__run *here, *there, *again;
	(void)state;

	if (!two_cpus())
		skip();
	here = get(256 * KIB);
	cpus_move(1);
	there = get(256 * KIB);
	assert_int_not_equal(here->rn_shard, there->rn_shard);
	/* Whoever frees it, it is where it was. */
	vmem__run_free(here);
	again = get(256 * KIB);
	assert_ptr_equal(again, here);
	vmem__run_free(again);
	vmem__run_free(there);
}

static void
idle_memory_of_another_cpu_comes_before_new(void **state)
{
	struct vmem__run *run, *part;
	uintptr_t from;
	(void)state;

	if (!two_cpus())
		skip();
	run = get(4 * MIB);
	from = run->rn_addr;
	vmem__run_free(run);
	cpus_move(1);
	part = get(MIB);
	assert_true(inside(part, from, 4 * MIB));
	vmem__run_free(part);
}

/* It has that of others, too, when there is no other. */
static void
a_cpu_without_memory_takes_that_of_another(void **state)
{
	struct vmem__run *run, *all, *part;
	bool zeroed;
	(void)state;

	if (!two_cpus())
		skip();
	run = get(256 * KIB);
	cpus_move(1);
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	all = vmem__run_alloc(HEAP_LENT, 512 * KIB, 16 * KIB, 0, &zeroed);
	assert_non_null(all);
	assert_int_equal(all->rn_shard, run->rn_shard);
	assert_true(zeroed);
	failsys_reset();
	part = get(MIB);
	assert_int_not_equal(part->rn_shard, run->rn_shard);
	vmem__run_free(part);
	vmem__run_free(all);
	vmem__run_free(run);
}

/* Blocks of two CPUs, none so large that all CPUs have one shard for them. */
enum { BLOCKS = 10, BLOCK = 4 };
static struct vmem__run *taken[2][BLOCKS];

static void
take_by_two(unsigned n)
{
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		cpus_move(cpu);
		for (unsigned i = 0; i < n; i++)
			taken[cpu][i] = get(BLOCK * MIB);
	}
	assert_int_not_equal(taken[0][0]->rn_shard, taken[1][0]->rn_shard);
}

static void
give_of(unsigned cpu, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		vmem__run_free(taken[cpu][i]);
}

static void
all_together_keep_no_more_than_one(void **state)
{
	(void)state;

	if (!two_cpus())
		skip();
	take_by_two(24 / BLOCK);
	give_of(0, 24 / BLOCK);
	assert_in_range(account().idle_bytes, 8 * MIB, 16 * MIB);
	/* One that has hardly any must see that another has it all. */
	for (unsigned i = 0; i < 24 / BLOCK; i++) {
		vmem__run_free(taken[1][i]);
		assert_in_range(account().idle_bytes, 8 * MIB, 16 * MIB);
	}
	vmem__heap_set_idle_max(0);
	vmem__heap_watch(false);
	assert_int_equal(account().idle_bytes, 0);
}

/*
 * What was less than its part may be more than that of a smaller cap: who has
 * less than its part of that has to see it.
 */
static void
a_smaller_cap_is_one_for_all(void **state)
{
	struct vmem__run *small;
	(void)state;

	if (!two_cpus())
		skip();
	take_by_two(1);
	small = get(2 * MIB);
	give_of(0, 1);
	vmem__heap_set_idle_max(5 * MIB);
	vmem__run_free(small);
	assert_in_range(account().idle_bytes, 4 * MIB, 5 * MIB);
	vmem__run_free(taken[1][0]);
	assert_in_range(account().idle_bytes, 4 * MIB, 5 * MIB);
}

/* What one may not keep goes, be it all of another's. */
static void
who_frees_little_gives_back_what_another_keeps(void **state)
{
	struct vmem__run *small;
	(void)state;

	if (!two_cpus())
		skip();
	take_by_two(3);
	small = get(MIB);
	give_of(0, 3);
	vmem__heap_set_idle_max(4 * MIB);
	vmem__run_free(small);
	assert_in_range(account().idle_bytes, 3 * MIB, 4 * MIB);
	give_of(1, 3);
}

/* Nor is there more of it when there is one CPU more. */
static void
a_cpu_that_is_new_keeps_what_others_leave(void **state)
{
	enum { PIECES = 24 };
	struct vmem__run *piece[PIECES];
	(void)state;

	if (!two_cpus() || vmem__shard_used(1))
		skip();
	for (unsigned i = 0; i < PIECES; i++)
		piece[i] = get(MIB);
	for (unsigned i = 0; i < PIECES; i += 2)
		vmem__run_free(piece[i]);
	cpus_move(1);
	for (unsigned i = 0; i < 2; i++)
		taken[1][i] = get(BLOCK * MIB);
	assert_int_not_equal(taken[1][0]->rn_shard, piece[1]->rn_shard);
	give_of(1, 2);
	assert_in_range(account().idle_bytes, 8 * MIB, 16 * MIB);
	for (unsigned i = 1; i < PIECES; i += 2)
		vmem__run_free(piece[i]);
}

/* A limit on the process is one for what all have in use. */
static void
nothing_is_kept_that_takes_all_to_the_limit(void **state)
{
	size_t used = account().used;
	(void)state;

	if (!two_cpus())
		skip();
	take_by_two(40 / BLOCK);
	vmem__heap_set_limit((used + 48 * MIB) / 7 * 8 + 64);
	give_of(0, 40 / BLOCK);
	assert_in_range(account().idle_bytes, 1, 8 * MIB);
	give_of(1, 40 / BLOCK);
	vmem__heap_set_limit(SIZE_MAX);
}

/* ---- from all of them at once ---- */

enum { LIVE = 40, TURNS = 20000 };

static atomic_bool done;

struct block {
	struct vmem__run *b_run;
	uint64_t b_stamp;
};

static uint64_t *
last_word(const struct vmem__run *run)
{
	return ((uint64_t *)(run->rn_addr + run->rn_size) - 1);
}

static void
write_stamp(struct block *b, uint64_t value)
{
	b->b_stamp = value;
	*(uint64_t *)b->b_run->rn_addr = value;
	*last_word(b->b_run) = value;
}

static void
turn(struct block *b, uint64_t r)
{
	size_t size = (1 + (r >> 8) % 24) * vmem__heap_quantum;

	if (b->b_run == NULL) {
		b->b_run = vmem__run_alloc(HEAP_BLOCK, size, 16 * KIB, 0, NULL);
		assert_non_null(b->b_run);
		write_stamp(b, r);
		return;
	}
	assert_int_equal(*(uint64_t *)b->b_run->rn_addr, b->b_stamp);
	assert_int_equal(*last_word(b->b_run), b->b_stamp);
	if (r % 4 == 0) {
		if (vmem__run_resize(b->b_run, size))
			write_stamp(b, r);
	} else {
		vmem__run_free(b->b_run);
		b->b_run = NULL;
	}
}

static void *
take_turns(void *arg)
{
	struct block block[LIVE] = {{NULL, 0}};
	uint64_t random = (uintptr_t)arg;

	for (unsigned i = 0; i < TURNS; i++) {
		uint64_t r = random_next(&random);

		if (i % 64 == 0)
			cpus_move((unsigned)(r >> 32 & 7));
		turn(&block[r % LIVE], r / LIVE);
	}
	for (unsigned i = 0; i < LIVE; i++)
		if (block[i].b_run != NULL)
			vmem__run_free(block[i].b_run);
	return (NULL);
}

static void *
look_on(void *arg)
{
	while (!atomic_load(&done)) {
		vmem__heap_check();
		(void)vmem__heap_purge(os_now_coarse() - 1000000);
		vmem__heap_watch(true);
		(void)account();
	}
	vmem__heap_watch(false);
	return (arg);
}

static void
runs_of_threads_are_apart(void **state)
{
	(void)state;
	heap_threads(take_turns, look_on, &done);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, heap_end)
	const struct CMUnitTest tests[] = {
	    TEST(a_cpu_that_is_new_keeps_what_others_leave),
	    TEST(each_cpu_has_memory_of_its_own),
	    TEST(idle_memory_of_another_cpu_comes_before_new),
	    TEST(a_cpu_without_memory_takes_that_of_another),
	    TEST(all_together_keep_no_more_than_one),
	    TEST(a_smaller_cap_is_one_for_all),
	    TEST(who_frees_little_gives_back_what_another_keeps),
	    TEST(nothing_is_kept_that_takes_all_to_the_limit),
	    TEST(runs_of_threads_are_apart),
	};

	cpus_move(0);
	if (!umem__init())
		return (EXIT_FAILURE);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
