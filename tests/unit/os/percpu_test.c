/*
 * percpu_test.c - stacks of words, one for each CPU: no word is ever lost or
 * handed out twice, whatever happens to the threads.
 */
#include "base/bits.h"
#include "os/os.h"
#include "os/percpu.h"

#include "support/again.h"
#include "support/child.h"
#include "support/cpus.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/umem.h>

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/single_threaded.h>

enum { ROUNDS = 14 };

/* A block of words as percpu.h wants it, with room to be linked. */
struct block {
	uintptr_t b_word[ROUNDS + 2]; /* odd, ROUNDS words, odd */
	struct block *b_next;
	size_t b_rounds; /* words in it, while it is linked */
};

static void
block_init(struct block *b)
{
	memset(b, 0, sizeof(*b));
	b->b_word[0] = 1;
	b->b_word[ROUNDS + 1] = 1;
}

static uintptr_t
block_top(struct block *b, size_t rounds)
{
	return ((uintptr_t)&b->b_word[1 + rounds]);
}

/* Walks down to the begin mark, which is there whatever lies above. */
static struct block *
block_of(uintptr_t top, size_t *rounds)
{
	uintptr_t *word = (uintptr_t *)top;

	*rounds = 0;
	while ((word[-1] & 1) == 0) {
		word--;
		(*rounds)++;
	}
	return ((struct block *)(word - 1));
}

static size_t
off_of(unsigned slot)
{
	return (slot * sizeof(struct percpu_slot));
}

/* A restartable operation also misses when it was interrupted: try again. */
static uintptr_t
pop(size_t off)
{
	uintptr_t word = 0;

	for (int i = 0; i < 100 && word == 0; i++) {
		unsigned cpu;
		struct percpu_front *front = percpu_enter(&cpu);

		if (front != NULL)
			word = percpu_pop_any(front, off);
	}
	return (word);
}

static enum percpu_result
push(size_t off, uintptr_t word)
{
	enum percpu_result result = PERCPU_FULL;

	for (int i = 0; i < 100 && result == PERCPU_FULL; i++) {
		unsigned cpu;
		struct percpu_front *front = percpu_enter(&cpu);

		if (front != NULL)
			result = percpu_push_any(front, off, word);
	}
	return (result);
}

/* Put `top` in the place of the top of this CPU, which is returned. */
static uintptr_t
exchange(size_t off, uintptr_t top)
{
	for (;;) {
		unsigned cpu;
		struct percpu_front *front = percpu_enter(&cpu);
		uintptr_t old;

		if (front == NULL)
			continue;
		old = percpu_top(front, off);
		if (percpu_cas_top(cpu, front, off, old, top))
			return (old);
	}
}

/*
 * The tests of one thread see one CPU's stack only: they stay where they are.
 */
static int
stay_on_one_cpu(void **state)
{
	(void)state;

	cpus_stay();
	failsys_reset();
	return (0);
}

static int
go_anywhere(void **state)
{
	(void)state;

	failsys_reset();
	cpus_roam();
	return (0);
}

static void
note_top(void *arg, uintptr_t top)
{
	uintptr_t *tops = arg;

	while (*tops != 0)
		tops++;
	*tops = top;
}

/* An open slot with `b` loaded, holding the words 2, 4, ... 2n. */
static unsigned
slot_with(struct block *b, size_t n)
{
	unsigned slot = percpu_slot_open();

	assert_int_not_equal(slot, 0);
	block_init(b);
	for (size_t i = 1; i <= n; i++)
		b->b_word[i] = 2 * i;
	assert_int_equal(exchange(off_of(slot), block_top(b, n)), PERCPU_NULL);
	return (slot);
}

/* Drain the slot and give it back; the blocks are the caller's again. */
static void
slot_done(unsigned slot)
{
	uintptr_t tops[8] = {0};

	assert_true(percpu_drain(slot, note_top, tops));
	percpu_slot_close(slot);
}

/* ---- one thread ---- */

static void
slot_0_always_misses(void **state)
{
	unsigned cpu;
	struct percpu_front *front = percpu_enter(&cpu);
	(void)state;

	assert_non_null(front);
	assert_int_equal(percpu_pop(0), 0);
	assert_false(percpu_push(0, 2));
	assert_int_equal(percpu_pop_any(front, 0), 0);
	assert_int_equal(percpu_push_any(front, 0, 2), PERCPU_FULL);
	assert_int_equal(percpu_top(front, 0), PERCPU_NULL);
}

static void
misses_are_counted_by_slot_until_it_is_opened_again(void **state)
{
	unsigned slot = percpu_slot_open(), cpu;
	size_t off = slot * sizeof(struct percpu_slot);
	struct percpu_front *front = percpu_enter(&cpu);
	(void)state;

	assert_non_null(front);
	assert_int_equal(percpu_misses(slot, PERCPU_POP), 0);
	for (uint64_t i = 0; i < 5; i++)
		assert_int_equal(percpu_missed(front, off, PERCPU_POP), i);
	assert_int_equal(percpu_missed(front, off, PERCPU_PUSH), 0);
	assert_int_equal(percpu_misses(slot, PERCPU_POP), 5);
	assert_int_equal(percpu_misses(slot, PERCPU_PUSH), 1);
	percpu_slot_close(slot);
	assert_int_equal(percpu_slot_open(), slot);
	assert_int_equal(percpu_misses(slot, PERCPU_POP), 0);
	assert_int_equal(percpu_misses(slot, PERCPU_PUSH), 0);
	percpu_slot_close(slot);
}

static void
a_new_slot_is_empty_and_full(void **state)
{
	unsigned slot = percpu_slot_open();
	(void)state;

	assert_int_not_equal(slot, 0);
	assert_int_equal(pop(off_of(slot)), 0);
	assert_int_equal(push(off_of(slot), 2), PERCPU_FULL);
	percpu_slot_close(slot);
}

/* A load of one would wait for a store to the other. */
static void
no_slot_in_common_use_shares_low_bits_with_struct_rseq(void **state)
{
	enum { ALIAS = 4096, RSEQ_BYTES = 32, SLOTS = 96 };
	struct percpu_front *front;
	unsigned cpu;
	(void)state;

	if (!percpu__restartable)
		skip();
	front = percpu_enter(&cpu);
	assert_non_null(front);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		uintptr_t at = (uintptr_t)&front->f_slot[slot];
		uintptr_t here = (at - percpu__rseq_area()) % ALIAS;

		/* Neither this thread's, nor the one of threads made later. */
		assert_in_range(
		    here, RSEQ_BYTES, ALIAS - sizeof(front->f_slot[0]));
		assert_in_range(at % ALIAS, 0,
		    ALIAS - RSEQ_BYTES - sizeof(front->f_slot[0]));
	}
}

static void
what_was_pushed_last_is_popped_first(void **state)
{
	struct block b;
	unsigned slot = slot_with(&b, 0);
	size_t off = off_of(slot);
	(void)state;

	for (uintptr_t word = 2; word <= 2 * ROUNDS; word += 2)
		assert_int_equal(push(off, word), PERCPU_DONE);
	for (uintptr_t word = 2 * ROUNDS; word >= 2; word -= 2)
		assert_int_equal(pop(off), word);
	assert_int_equal(pop(off), 0);
	for (uintptr_t word = 2; word <= 20; word += 2) {
		assert_int_equal(push(off, word), PERCPU_DONE);
		assert_int_equal(pop(off), word);
	}
	assert_int_equal(pop(off), 0);
	slot_done(slot);
}

static void
a_loaded_block_is_popped_in_the_order_it_stands(void **state)
{
	struct block b;
	unsigned slot = slot_with(&b, 3);
	(void)state;

	assert_int_equal(pop(off_of(slot)), 6);
	assert_int_equal(push(off_of(slot), 100), PERCPU_DONE);
	assert_int_equal(pop(off_of(slot)), 100);
	assert_int_equal(pop(off_of(slot)), 4);
	assert_int_equal(pop(off_of(slot)), 2);
	assert_int_equal(pop(off_of(slot)), 0);
	slot_done(slot);
}

static void
a_full_stack_takes_no_more_and_keeps_its_mark(void **state)
{
	struct block b;
	unsigned slot = slot_with(&b, ROUNDS);
	size_t off = off_of(slot);
	(void)state;

	assert_int_equal(push(off, 1000), PERCPU_FULL);
	assert_false(percpu_push(off, 1000));
	assert_int_equal(b.b_word[ROUNDS + 1], 1);
	assert_int_equal(pop(off), 2 * ROUNDS);
	assert_int_equal(push(off, 1000), PERCPU_DONE);
	assert_int_equal(push(off, 1002), PERCPU_FULL);
	assert_int_equal(pop(off), 1000);
	slot_done(slot);
}

static void
a_word_pushed_twice_in_a_row_is_noticed_and_kept_once(void **state)
{
	struct block b;
	unsigned slot = slot_with(&b, 2);
	size_t off = off_of(slot);
	(void)state;

	/* As loaded, as pushed, and when the block is full besides. */
	assert_int_equal(push(off, 4), PERCPU_TWICE);
	assert_int_equal(push(off, 6), PERCPU_DONE);
	assert_int_equal(push(off, 6), PERCPU_TWICE);
	assert_false(percpu_push(off, 6));
	assert_int_equal(pop(off), 6);
	assert_int_equal(push(off, 4), PERCPU_TWICE);
	for (uintptr_t word = 6; word <= 2 * ROUNDS; word += 2)
		assert_int_equal(push(off, word), PERCPU_DONE);
	assert_int_equal(push(off, 2 * ROUNDS), PERCPU_TWICE);
	for (uintptr_t word = 2 * ROUNDS; word >= 2; word -= 2)
		assert_int_equal(pop(off), word);
	assert_int_equal(pop(off), 0);
	slot_done(slot);
}

static void
what_was_popped_may_be_pushed_again(void **state)
{
	struct block b;
	unsigned slot = slot_with(&b, 2);
	size_t off = off_of(slot);
	(void)state;

	for (int i = 0; i < 1000; i++) {
		assert_int_equal(pop(off), 4);
		assert_int_equal(push(off, 4), PERCPU_DONE);
	}
	/* The words above the top still say 4: they do not count. */
	assert_int_equal(pop(off), 4);
	assert_int_equal(pop(off), 2);
	assert_int_equal(push(off, 4), PERCPU_DONE);
	assert_int_equal(pop(off), 4);
	slot_done(slot);
}

static void
a_block_is_exchanged_only_for_the_one_expected(void **state)
{
	struct block a, b;
	unsigned slot = slot_with(&a, 1), cpu;
	size_t off = off_of(slot);
	struct percpu_front *front = percpu_enter(&cpu);
	(void)state;

	block_init(&b);
	b.b_word[1] = 200;
	assert_false(percpu_cas_top(
	    cpu, front, off, block_top(&a, 0), block_top(&b, 1)));
	assert_false(
	    percpu_cas_top(cpu, front, off, PERCPU_NULL, block_top(&b, 1)));
	assert_int_equal(pop(off), 2);
	assert_false(percpu_cas_top(
	    cpu, front, off, block_top(&a, 1), block_top(&b, 1)));

	assert_int_equal(exchange(off, block_top(&b, 1)), block_top(&a, 0));
	assert_int_equal(percpu_top(front, off), block_top(&b, 1));
	assert_int_equal(push(off, 200), PERCPU_TWICE);
	assert_int_equal(pop(off), 200);
	assert_int_equal(pop(off), 0);
	slot_done(slot);
}

static void
the_block_behind_is_exchanged_likewise_and_apart(void **state)
{
	struct block a, b;
	unsigned slot = slot_with(&a, 3), cpu;
	size_t off = off_of(slot);
	struct percpu_front *front = percpu_enter(&cpu);
	bool done = false;
	(void)state;

	block_init(&b);
	assert_int_equal(percpu_prev(front, off), 0);
	assert_false(percpu_cas_prev(cpu, front, off, 2, block_top(&b, 0)));
	for (int i = 0; i < 100 && !done; i++)
		done = percpu_cas_prev(cpu, front, off, 0, block_top(&b, 0));
	assert_true(done);
	assert_int_equal(percpu_prev(front, off), block_top(&b, 0));
	assert_int_equal(percpu_top(front, off), block_top(&a, 3));
	assert_int_equal(pop(off), 6);
	assert_false(percpu_cas_prev(cpu, front, off, 0, block_top(&a, 0)));
	slot_done(slot);
}

/* The locked form does not care where the thread is: the lock is the front's. */
static void
a_sequence_commits_on_the_cpu_it_is_on_only(void **state)
{
	struct block a, b;
	unsigned slot = slot_with(&a, 1), cpu;
	size_t off = off_of(slot);
	struct percpu_front *front = percpu_enter(&cpu);
	(void)state;

	if (!percpu__restartable) {
		slot_done(slot);
		skip();
	}
	block_init(&b);
	for (int i = 0; i < 100; i++) {
		assert_false(percpu_cas_top(
		    cpu + 1, front, off, block_top(&a, 1), block_top(&b, 0)));
		assert_false(percpu_cas_top(
		    cpu, front + 1, off, block_top(&a, 1), block_top(&b, 0)));
		assert_false(
		    percpu_cas_prev(cpu + 1, front, off, 0, block_top(&b, 0)));
	}
	assert_int_equal(pop(off), 2);
	slot_done(slot);
}

static void
two_slots_do_not_share_words(void **state)
{
	struct block a, b;
	unsigned one = slot_with(&a, 1), two = slot_with(&b, 0);
	(void)state;

	assert_int_not_equal(one, two);
	assert_int_equal(push(off_of(two), 2), PERCPU_DONE);
	assert_int_equal(push(off_of(one), 4), PERCPU_DONE);
	assert_int_equal(pop(off_of(two)), 2);
	assert_int_equal(pop(off_of(two)), 0);
	assert_int_equal(pop(off_of(one)), 4);
	slot_done(one);
	slot_done(two);
}

static void
slots_are_distinct_until_there_are_none_and_0_then(void **state)
{
	static unsigned slots[PERCPU_SLOTS];
	bool seen[PERCPU_SLOTS] = {false};
	unsigned n = 0, again;
	(void)state;

	while ((slots[n] = percpu_slot_open()) != 0) {
		assert_in_range(slots[n], 1, PERCPU_SLOTS - 1);
		assert_false(seen[slots[n]]);
		seen[slots[n]] = true;
		n++;
	}
	assert_int_equal(percpu_slot_open(), 0);
	assert_in_range(n, PERCPU_SLOTS / 2, PERCPU_SLOTS - 1);
	percpu_slot_close(slots[n / 2]);
	again = percpu_slot_open();
	assert_int_equal(again, slots[n / 2]);
	assert_int_equal(percpu_pop(0), 0);
	while (n-- > 0)
		percpu_slot_close(slots[n]);
}

/* ---- forms ---- */

static bool
rseq_is_tuned_off(void)
{
	const char *tunables = getenv("GLIBC_TUNABLES");

	return (tunables != NULL &&
	    strstr(tunables, "glibc.pthread.rseq=0") != NULL);
}

static void
the_form_says_whether_sequences_are_used(void **state)
{
	const char *form = percpu_form();
	(void)state;

	if (percpu__restartable) {
		assert_false(rseq_is_tuned_off());
		assert_true(strcmp(form, "rseq, mm_cid") == 0 ||
		    strcmp(form, "rseq, cpu") == 0);
	} else {
		assert_string_equal(form, "lock");
	}
}

/*
 * The fast path hits exactly where sequences are in force: in the locked form
 * the same stack is reached by the miss.
 */
static void
the_restartable_path_is_the_one_taken_where_there_is_one(void **state)
{
	struct block b;
	unsigned slot = slot_with(&b, 0);
	size_t off = off_of(slot), pops = 0, pushes = 0;
	(void)state;

	for (int i = 0; i < 1000; i++) {
		if (percpu_push(off, 2))
			pushes++;
		else
			assert_int_equal(push(off, 2), PERCPU_DONE);
		if (percpu_pop(off) == 2)
			pops++;
		else
			assert_int_equal(pop(off), 2);
	}
	if (percpu__restartable) {
		assert_in_range(pops, 900, 1000);
		assert_in_range(pushes, 900, 1000);
	} else {
		assert_int_equal(pops, 0);
		assert_int_equal(pushes, 0);
	}
	slot_done(slot);
}

static void
work_as_cpu(void)
{
	CHILD_CHECK(strcmp(percpu_form(),
			percpu__restartable ? "rseq, cpu" : "lock") == 0);
}

static void
work_as_lock(void)
{
	CHILD_CHECK(strcmp(percpu_form(), "lock") == 0);
	CHILD_CHECK(!percpu__restartable);
}

static void stacks_work(void);

static void
option_cpu(void)
{
	work_as_cpu();
	stacks_work();
}

static void
option_lock(void)
{
	work_as_lock();
	stacks_work();
}

/* Far apart, the last one there can be, and one more than that. */
static void
option_lock_and_many_cpus(void)
{
	enum { CPUS = 5 };
	static struct block b[CPUS];
	unsigned limit = (unsigned)qr_min(os_cpu_limit(), PERCPU_CPUS);
	const unsigned cpus[CPUS] = {0, 3, limit / 2 - 1, limit / 2, limit - 1};
	unsigned slot = percpu_slot_open(), cpu;
	uintptr_t tops[CPUS + 1] = {0};
	size_t bytes;
	void *p;

	work_as_lock();
	for (unsigned i = 0; i < CPUS; i++) {
		cpus_pretend((int)cpus[i]);
		CHILD_CHECK(percpu_enter(&cpu) != NULL && cpu == cpus[i]);
		block_init(&b[i]);
		CHILD_CHECK(
		    exchange(off_of(slot), block_top(&b[i], 0)) == PERCPU_NULL);
		CHILD_CHECK(push(off_of(slot), 8 + 2 * i) == PERCPU_DONE);
	}
	CHILD_CHECK(percpu_fronts(&bytes) >= CPUS);
	for (unsigned i = CPUS; i-- > 0;) {
		cpus_pretend((int)cpus[i]);
		CHILD_CHECK(pop(off_of(slot)) == 8 + 2 * i);
		CHILD_CHECK(pop(off_of(slot)) == 0);
	}
	CHILD_CHECK(percpu_drain(slot, note_top, tops));
	CHILD_CHECK(tops[CPUS - 1] != 0 && tops[CPUS] == 0);
	/* Who is nowhere has no stack, and memory all the same. */
	cpus_pretend((int)limit);
	CHILD_CHECK(percpu_enter(&cpu) == NULL);
	p = umem_alloc(64, UMEM_DEFAULT);
	CHILD_CHECK(p != NULL);
	umem_free(p, 64);
}

#ifdef __x86_64__
#define RSEQ_MARK 0x53053053
#else
#define RSEQ_MARK 0xd428bc00
#endif

/* The C library's own, which ends the thread's sequences. */
static void
unregister(void)
{
	enum { UNREGISTER = 1, LEAST = 32, MOST = 1024 };
	uintptr_t area = percpu__rseq_area();
	unsigned size = LEAST;

	while (size < MOST &&
	    syscall(SYS_rseq, area, size, UNREGISTER, RSEQ_MARK) != 0)
		size += 4;
	CHILD_CHECK(size < MOST);
}

/* With the index of the CPU; that of the process says nothing of it. */
static void
option_cpu_and_unregistered(void)
{
	unsigned slot = percpu_slot_open(), cpu;

	CHILD_CHECK(slot != 0 && percpu_enter(&cpu) != NULL);
	if (!percpu__restartable)
		return;
	unregister();
	CHILD_CHECK(percpu_enter(&cpu) == NULL);
	CHILD_CHECK(percpu_pop(off_of(slot)) == 0);
	CHILD_CHECK(!percpu_push(off_of(slot), 12));
	for (size_t size = 1; size < 200000; size += 1 + size / 7) {
		void *p = umem_alloc(size, UMEM_DEFAULT);

		CHILD_CHECK(p != NULL && memset(p, 1, size) == p);
		umem_free(p, size);
	}
}

static void
a_thread_whose_sequences_were_ended_does_without(void **state)
{
	struct again_run run = {
	    "option_cpu_and_unregistered", {"QUARRY_OPTIONS=percpu=cpu"}};
	(void)state;

	child_expect_exit(again_exec, &run, 0);
}

static void
the_form_can_be_asked_for(void **state)
{
	struct again_run cpu = {"option_cpu", {"QUARRY_OPTIONS=percpu=cpu"}};
	struct again_run lock = {"option_lock", {"QUARRY_OPTIONS=percpu=lock"}};
	struct again_run many = {
	    "option_lock_and_many_cpus", {"QUARRY_OPTIONS=percpu=lock"}};
	(void)state;

	child_expect_exit(again_exec, &cpu, 0);
	child_expect_exit(again_exec, &lock, 0);
	child_expect_exit(again_exec, &many, 0);
}

/* ---- draining ---- */

static void
a_drain_takes_each_block_once_and_leaves_an_empty_slot(void **state)
{
	struct block a, b;
	unsigned slot = slot_with(&a, 5), cpu;
	size_t off = off_of(slot);
	struct percpu_front *front = percpu_enter(&cpu);
	uintptr_t tops[8] = {0}, more[8] = {0};
	bool done = false;
	(void)state;

	block_init(&b);
	for (int i = 0; i < 100 && !done; i++)
		done = percpu_cas_prev(cpu, front, off, 0, block_top(&b, 0));
	assert_int_equal(pop(off), 10);

	assert_true(percpu_drain(slot, note_top, tops));
	assert_int_equal(tops[0], block_top(&a, 4));
	assert_int_equal(tops[1], block_top(&b, 0));
	assert_int_equal(tops[2], 0);
	assert_int_equal(pop(off), 0);
	assert_int_equal(push(off, 2), PERCPU_FULL);
	assert_true(percpu_drain(slot, note_top, more));
	assert_int_equal(more[0], 0);

	assert_int_equal(exchange(off, block_top(&a, 4)), PERCPU_NULL);
	assert_int_equal(pop(off), 8);
	slot_done(slot);
}

/* What commits while a slot is being drained. */
struct intruder {
	struct percpu_front *i_front;
	unsigned i_cpu, i_taken, i_commits;
	size_t i_off;
};

static void
intrude(void *arg, uintptr_t top)
{
	struct intruder *it = arg;
	struct percpu_front *f = it->i_front;
	uintptr_t prev = percpu_prev(f, it->i_off);
	unsigned cpu;

	it->i_taken++;
	it->i_commits += percpu_enter(&cpu) != NULL;
	for (int i = 0; i < 100; i++) {
		it->i_commits += percpu_pop(it->i_off) != 0;
		it->i_commits += percpu_push(it->i_off, 1000);
		it->i_commits +=
		    percpu_cas_top(it->i_cpu, f, it->i_off, top, top);
		it->i_commits +=
		    percpu_cas_prev(it->i_cpu, f, it->i_off, prev, prev);
	}
}

/* In the locked form there is a lock instead, which is held meanwhile. */
static void
no_sequence_commits_while_its_slot_is_drained(void **state)
{
	struct block a;
	unsigned slot = slot_with(&a, 5);
	struct intruder it = {.i_off = off_of(slot)};
	(void)state;

	it.i_front = percpu_enter(&it.i_cpu);
	if (percpu__restartable) {
		assert_true(percpu_drain(slot, intrude, &it));
		assert_int_equal(it.i_taken, 1);
		assert_int_equal(it.i_commits, 0);
	}
	slot_done(slot);
}

static void
a_look_sees_each_block_and_takes_none(void **state)
{
	struct block a;
	unsigned slot = slot_with(&a, 5);
	uintptr_t tops[8] = {0};
	(void)state;

	(void)percpu_peek(slot, note_top, tops);
	assert_int_equal(tops[0], block_top(&a, 5));
	assert_int_equal(tops[1], 0);
	assert_int_equal(pop(off_of(slot)), 10);
	slot_done(slot);
}

static void
a_drain_that_the_kernel_refuses_takes_nothing(void **state)
{
	struct block a;
	unsigned slot = slot_with(&a, 5);
	uintptr_t tops[8] = {0};
	char alone = __libc_single_threaded;
	(void)state;

	if (percpu__restartable) {
		/* With one thread the kernel would not even be asked. */
		__libc_single_threaded = 0;
		failsys_only(SYS_membarrier);
		failsys_from(FAILSYS_SYSCALL, 1, ENOSYS);
		assert_false(percpu_drain(slot, note_top, tops));
		assert_true(failsys_calls(FAILSYS_SYSCALL) > 0);
		failsys_reset();
		__libc_single_threaded = alone;
		assert_int_equal(tops[0], 0);
	}
	assert_int_equal(pop(off_of(slot)), 10);
	assert_int_equal(push(off_of(slot), 12), PERCPU_DONE);
	assert_int_equal(pop(off_of(slot)), 12);
	slot_done(slot);
}

/* ---- many threads: the storm ---- */

enum { THREADS = 4, BLOCKS = 24, WORDS = BLOCKS * ROUNDS, ROOMY = 20 };

/*
 * All words there are, and who holds them: 0 is nobody, so they are on a stack
 * or in a block of the pool.
 */
static struct storm {
	unsigned s_slot;
	_Atomic unsigned s_owner[WORDS];
	struct block s_block[BLOCKS + ROOMY];
	pthread_mutex_t s_lock;
	struct block *s_pool; /* s_lock */
	_Atomic bool s_stop;
	_Atomic unsigned long s_pops, s_drains, s_signals, s_errors;
	bool s_signalled; /* workers are shaken by a timer */
	bool s_moved;     /* workers change their CPU */
} storm;

static uintptr_t
word_of(size_t i)
{
	return (2 * (i + 1));
}

/* `self` takes or gives up the word; what it finds must be the opposite. */
static void
stamp(uintptr_t word, unsigned from, unsigned to)
{
	size_t i = word / 2 - 1;

	if (word == 0 || (word & 1) != 0 || i >= WORDS ||
	    !atomic_compare_exchange_strong(&storm.s_owner[i], &from, to))
		atomic_fetch_add(&storm.s_errors, 1);
}

static void
pool_put(struct block *b, size_t rounds)
{
	b->b_rounds = rounds;
	pthread_mutex_lock(&storm.s_lock);
	b->b_next = storm.s_pool;
	storm.s_pool = b;
	pthread_mutex_unlock(&storm.s_lock);
}

/* Room is never short: more of it than all CPUs can hide was made. */
static bool
serves(const struct block *b, bool words)
{
	return (words ? b->b_rounds > 0 : b->b_rounds < ROUNDS);
}

/* A block with words, or with room; NULL when the pool has none. */
static struct block *
pool_get(bool words)
{
	struct block *b = NULL;

	pthread_mutex_lock(&storm.s_lock);
	for (struct block **link = &storm.s_pool; *link != NULL;
	     link = &(*link)->b_next) {
		if (serves(*link, words)) {
			b = *link;
			*link = b->b_next;
			break;
		}
	}
	pthread_mutex_unlock(&storm.s_lock);
	return (b);
}

static void
pool_put_top(uintptr_t top)
{
	size_t rounds;
	struct block *b;

	if (top == PERCPU_NULL)
		return;
	b = block_of(top, &rounds);
	pool_put(b, rounds);
}

/* As exchange(), of the block behind. */
static uintptr_t
exchange_prev(size_t off, uintptr_t top)
{
	for (;;) {
		unsigned cpu;
		struct percpu_front *front = percpu_enter(&cpu);
		uintptr_t old;

		if (front == NULL)
			continue;
		old = percpu_prev(front, off);
		if (percpu_cas_prev(cpu, front, off, old, top))
			return (old == 0 ? PERCPU_NULL : old);
	}
}

static void
storm_exchange(bool words)
{
	size_t off = off_of(storm.s_slot);
	struct block *b = pool_get(words);

	if (b != NULL)
		pool_put_top(exchange(off, block_top(b, b->b_rounds)));
	b = pool_get(words);
	if (b != NULL)
		pool_put_top(exchange_prev(off, block_top(b, b->b_rounds)));
}

static uintptr_t
storm_pop(unsigned self, bool in_handler)
{
	size_t off = off_of(storm.s_slot);
	uintptr_t word = percpu_pop(off);
	unsigned cpu;
	struct percpu_front *front;

	if (word == 0 && !in_handler && (front = percpu_enter(&cpu)) != NULL)
		word = percpu_pop_any(front, off);
	if (word != 0) {
		stamp(word, 0, self);
		atomic_fetch_add(&storm.s_pops, 1);
	}
	return (word);
}

static bool
storm_push(uintptr_t word, unsigned self, bool in_handler)
{
	size_t off = off_of(storm.s_slot);
	enum percpu_result result = PERCPU_FULL;
	struct percpu_front *front = NULL;
	unsigned cpu;

	stamp(word, self, 0);
	if (percpu_push(off, word))
		return (true);
	if (!in_handler)
		front = percpu_enter(&cpu);
	if (front != NULL)
		result = percpu_push_any(front, off, word);
	if (result == PERCPU_TWICE)
		atomic_fetch_add(&storm.s_errors, 1);
	if (result != PERCPU_DONE)
		stamp(word, 0, self);
	return (result == PERCPU_DONE);
}

/* A thread's own words; a signal handler of the thread has others. */
struct hand {
	unsigned h_self;
	size_t h_n;
	uintptr_t h_word[2 * ROUNDS];
};

static __thread struct hand *handler_hand;

/*
 * One step of a worker, or of its handler, which takes no lock, as entering a
 * CPU may.
 */
static void
storm_step(struct hand *h, unsigned random)
{
	bool in_handler = handler_hand == h;
	uintptr_t word;

	if (h->h_n > 0 &&
	    (h->h_n == sizeof(h->h_word) / sizeof(h->h_word[0]) ||
		random % 2 == 0)) {
		if (storm_push(h->h_word[h->h_n - 1], h->h_self, in_handler))
			h->h_n--;
		else if (!in_handler)
			storm_exchange(false);
	} else {
		word = storm_pop(h->h_self, in_handler);
		if (word != 0)
			h->h_word[h->h_n++] = word;
		else if (!in_handler)
			storm_exchange(true);
	}
}

/*
 * Interrupts sequences and makes some of its own.  In the locked form, where a
 * handler must not, it only interrupts.
 */
static void
on_signal(int signal)
{
	int saved = errno;
	(void)signal;

	atomic_fetch_add(&storm.s_signals, 1);
	if (percpu__restartable && handler_hand != NULL)
		storm_step(handler_hand, (unsigned)handler_hand->h_n);
	errno = saved;
}

static void
shake_start(timer_t *timer)
{
	struct sigevent ev = {
	    .sigev_notify = SIGEV_THREAD_ID,
	    .sigev_signo = SIGPROF,
	};
	const struct itimerspec often = {{0, 100000}, {0, 100000}};

	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_MONOTONIC, &ev, timer) != 0 ||
	    timer_settime(*timer, 0, &often, NULL) != 0)
		atomic_fetch_add(&storm.s_errors, 1);
}

static void *
worker(void *arg)
{
	struct hand mine = {.h_self = (unsigned)(uintptr_t)arg};
	struct hand handlers = {.h_self = mine.h_self + THREADS};
	unsigned random = mine.h_self * 2654435761u;
	timer_t timer;

	if (storm.s_signalled) {
		handler_hand = &handlers;
		shake_start(&timer);
	}
	for (unsigned i = 0; !storm.s_stop || mine.h_n > 0; i++) {
		random = random * 1664525 + 1013904223;
		storm_step(&mine, storm.s_stop ? 0 : random >> 16);
		if (storm.s_moved && i % 512 == 0)
			cpus_move(random >> 20);
	}
	if (storm.s_signalled) {
		(void)timer_delete(timer);
		handler_hand = NULL;
	}
	while (handlers.h_n > 0)
		storm_step(&handlers, 0);
	return (NULL);
}

static void
drain_storm(void)
{
	uintptr_t tops[BLOCKS + ROOMY + 1] = {0};

	if (!percpu_drain(storm.s_slot, note_top, tops))
		return;
	for (uintptr_t *top = tops; *top != 0; top++)
		pool_put_top(*top);
	atomic_fetch_add(&storm.s_drains, 1);
}

static void
storm_setup(void)
{
	storm.s_slot = percpu_slot_open();
	pthread_mutex_init(&storm.s_lock, NULL);
	storm.s_pool = NULL;
	storm.s_stop = false;
	storm.s_pops = storm.s_drains = storm.s_signals = storm.s_errors = 0;
	for (size_t i = 0; i < BLOCKS + ROOMY; i++) {
		struct block *b = &storm.s_block[i];

		block_init(b);
		for (size_t j = 0; j < ROUNDS && i < BLOCKS; j++)
			b->b_word[1 + j] = word_of(i * ROUNDS + j);
		pool_put(b, i < BLOCKS ? ROUNDS : 0);
	}
	for (size_t i = 0; i < WORDS; i++)
		storm.s_owner[i] = 0;
}

/* Every word is in exactly one block of the pool: nobody else is left. */
static size_t
storm_missing(void)
{
	struct block *b;
	size_t missing = 0;

	while ((b = pool_get(true)) != NULL) {
		for (size_t i = 0; i < b->b_rounds; i++)
			stamp(b->b_word[1 + i], 0, UINT32_MAX);
	}
	for (size_t i = 0; i < WORDS; i++)
		missing += storm.s_owner[i] != UINT32_MAX;
	return (missing);
}

/* In nanoseconds; a storm that was none by LONGEST has failed. */
#define LONGEST (60 * UINT64_C(1000000000))

static uint64_t
shortest(void)
{
	return (look_quick() ? 200000000 : 1000000000);
}

/* What a storm is for has happened; it may take a while on a busy machine. */
static bool
storm_was_one(bool drained)
{
	return (storm.s_pops > WORDS && (!drained || storm.s_drains > 0) &&
	    (!storm.s_signalled || storm.s_signals > 0));
}

/* Let workers loose; with `drained`, the slot is emptied under them. */
static size_t
storm_run(bool drained)
{
	const struct timespec pause = {0, 200000};
	pthread_t threads[THREADS];
	uint64_t start, elapsed;

	storm_setup();
	start = os_now();
	for (uintptr_t i = 0; i < THREADS; i++)
		if (pthread_create(
			&threads[i], NULL, worker, (void *)(i + 1)) != 0)
			abort();
	do {
		if (drained)
			drain_storm();
		else
			(void)nanosleep(&pause, NULL);
		elapsed = os_now() - start;
	} while (elapsed < shortest() ||
	    (elapsed < LONGEST && !storm_was_one(drained)));
	storm.s_stop = true;
	for (unsigned i = 0; i < THREADS; i++)
		(void)pthread_join(threads[i], NULL);
	drain_storm();
	percpu_slot_close(storm.s_slot);
	return (storm_missing());
}

static void
storm_passes(bool drained, bool signalled, bool moved)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	assert_int_equal(sigaction(SIGPROF, &sa, NULL), 0);
	storm.s_signalled = signalled;
	storm.s_moved = moved;
	assert_int_equal(storm_run(drained), 0);
	assert_int_equal(storm.s_errors, 0);
	assert_true(storm_was_one(drained));
}

static void
no_word_is_lost_or_doubled_by_threads_that_share_cpus(void **state)
{
	(void)state;
	storm_passes(false, false, false);
}

static void
no_word_is_lost_or_doubled_by_a_drain_from_outside(void **state)
{
	(void)state;
	storm_passes(true, false, false);
}

static void
no_word_is_lost_or_doubled_by_signals_with_operations_of_their_own(void **state)
{
	(void)state;
	storm_passes(false, true, false);
}

static void
no_word_is_lost_or_doubled_by_threads_that_change_their_cpu(void **state)
{
	(void)state;
	storm_passes(false, false, true);
}

static void
no_word_is_lost_or_doubled_by_all_of_that_at_once(void **state)
{
	(void)state;
	storm_passes(true, true, true);
}

/* What the children of the_form_can_be_asked_for do in their form. */
static void
stacks_work(void)
{
	struct block b;
	unsigned slot = percpu_slot_open(), cpu;
	uintptr_t tops[8] = {0};

	CHILD_CHECK(slot != 0 && percpu_enter(&cpu) != NULL);
	cpus_stay();
	block_init(&b);
	CHILD_CHECK(exchange(off_of(slot), block_top(&b, 0)) == PERCPU_NULL);
	CHILD_CHECK(push(off_of(slot), 8) == PERCPU_DONE);
	CHILD_CHECK(push(off_of(slot), 8) == PERCPU_TWICE);
	CHILD_CHECK(pop(off_of(slot)) == 8);
	CHILD_CHECK(pop(off_of(slot)) == 0);
	CHILD_CHECK(percpu_drain(slot, note_top, tops));
	CHILD_CHECK(tops[0] == block_top(&b, 0) && tops[1] == 0);
	percpu_slot_close(slot);
	CHILD_CHECK(storm_run(true) == 0 && storm.s_errors == 0);
}

static void
a_front_is_made_for_each_cpu_used_and_no_other(void **state)
{
	size_t bytes;
	unsigned fronts = percpu_fronts(&bytes);
	(void)state;

	assert_in_range(fronts, 1, sysconf(_SC_NPROCESSORS_CONF));
	assert_int_equal(bytes, fronts * sizeof(struct percpu_front));
}

#define ONE_THREAD(test) \
	cmocka_unit_test_setup_teardown(test, stay_on_one_cpu, go_anywhere)

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"option_cpu", option_cpu},
	    {"option_cpu_and_unregistered", option_cpu_and_unregistered},
	    {"option_lock", option_lock},
	    {"option_lock_and_many_cpus", option_lock_and_many_cpus},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    ONE_THREAD(slot_0_always_misses),
	    ONE_THREAD(misses_are_counted_by_slot_until_it_is_opened_again),
	    ONE_THREAD(a_new_slot_is_empty_and_full),
	    ONE_THREAD(no_slot_in_common_use_shares_low_bits_with_struct_rseq),
	    ONE_THREAD(what_was_pushed_last_is_popped_first),
	    ONE_THREAD(a_loaded_block_is_popped_in_the_order_it_stands),
	    ONE_THREAD(a_full_stack_takes_no_more_and_keeps_its_mark),
	    ONE_THREAD(a_word_pushed_twice_in_a_row_is_noticed_and_kept_once),
	    ONE_THREAD(what_was_popped_may_be_pushed_again),
	    ONE_THREAD(a_block_is_exchanged_only_for_the_one_expected),
	    ONE_THREAD(the_block_behind_is_exchanged_likewise_and_apart),
	    ONE_THREAD(a_sequence_commits_on_the_cpu_it_is_on_only),
	    ONE_THREAD(two_slots_do_not_share_words),
	    ONE_THREAD(slots_are_distinct_until_there_are_none_and_0_then),
	    ONE_THREAD(the_form_says_whether_sequences_are_used),
	    ONE_THREAD(
		the_restartable_path_is_the_one_taken_where_there_is_one),
	    ONE_THREAD(a_drain_takes_each_block_once_and_leaves_an_empty_slot),
	    ONE_THREAD(no_sequence_commits_while_its_slot_is_drained),
	    ONE_THREAD(a_look_sees_each_block_and_takes_none),
	    ONE_THREAD(a_drain_that_the_kernel_refuses_takes_nothing),
	    cmocka_unit_test(a_thread_whose_sequences_were_ended_does_without),
	    cmocka_unit_test(the_form_can_be_asked_for),
	    cmocka_unit_test(
		no_word_is_lost_or_doubled_by_threads_that_share_cpus),
	    cmocka_unit_test(
		no_word_is_lost_or_doubled_by_a_drain_from_outside),
	    cmocka_unit_test(
		no_word_is_lost_or_doubled_by_signals_with_operations_of_their_own),
	    cmocka_unit_test(
		no_word_is_lost_or_doubled_by_threads_that_change_their_cpu),
	    cmocka_unit_test(no_word_is_lost_or_doubled_by_all_of_that_at_once),
	    cmocka_unit_test(a_front_is_made_for_each_cpu_used_and_no_other),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
