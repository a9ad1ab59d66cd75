/*
 * percpu_step_test.c - every restartable sequence, stopped at every one of its
 * instructions: it has had no effect before the last store, and all of it after.
 *
 * Where the instructions are is found by the trap flag, while the sequence
 * tells a false struct rseq about itself, so that the kernel leaves it alone.
 * Then each of them is made a breakpoint in turn.  The signal of that stops the
 * sequence, and its handler does something else to the same stack.
 */
#define _GNU_SOURCE 1 /* REG_RIP */

#include "os/percpu.h"

#include "support/cpus.h"

#include <stdio.h>
#include <unistd.h>

#if PERCPU_HAVE_RSEQ && defined(__x86_64__)

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cmocka.h>

enum {
	ROUNDS = 14,
	BLOCKS = 2,
	BEHIND_NONE = BLOCKS,
	MOST_STEPS = 64,
	TRIALS = 1000, /* others may stop us too */
	TRAP_FLAG = 0x100,
	BREAKPOINT = 0xcc,
	BREAKPOINT_SIZE = 1,
	RSEQ_CS = 8, /* offset in struct rseq */
	RSEQ_BYTES = 32,
};

/* What is done to the stack: by a sequence, or when one is stopped. */
enum what {
	POP,
	PUSH,
	TOP,
	BEHIND,
	SEQUENCES,
	DRAIN = SEQUENCES,
	MOVE,
	NOTHING
};

static const char *const names[] = {
    "pop", "push", "exchange of the top", "exchange behind"};

/* A descriptor, as the kernel has it. */
struct descriptor {
	uint32_t d_version, d_flags;
	uint64_t d_start, d_size, d_abort;
};

/* The stack as it should be; what is stacked are the words of blocks. */
struct mirror {
	unsigned m_loaded, m_behind; /* block, or BLOCKS */
	size_t m_rounds[BLOCKS];
	uintptr_t m_word[BLOCKS][ROUNDS];
};

static uintptr_t block[BLOCKS][ROUNDS + 2];
static struct percpu_front *front;
static unsigned cpu, slot;
static size_t off;

/* The instructions of a sequence, from where the kernel knows about it on. */
static struct {
	uintptr_t s_at[MOST_STEPS];
	unsigned s_n;
	bool s_done; /* the last is the one after the store */
	uintptr_t s_abort;
} steps;

/* A breakpoint, and what was found there. */
static struct {
	unsigned char *b_at;
	unsigned char b_byte;
	unsigned b_hits;
	uintptr_t b_next; /* where the thread goes on */
	enum what b_then;
	uintptr_t b_result; /* of that */
} stop;

static __thread unsigned char false_area[RSEQ_BYTES]
    __attribute__((aligned(RSEQ_BYTES)));

/* ---- the stack, and its mirror ---- */

static uintptr_t
top_of(const struct mirror *m, unsigned i)
{
	return ((uintptr_t)&block[i][1 + m->m_rounds[i]]);
}

/* One block loaded, with four words; another one for the exchanges. */
static void
begin(struct mirror *m)
{
	uintptr_t old;

	*m = (struct mirror){.m_behind = BLOCKS};
	memset(block, 0, sizeof(block));
	for (unsigned i = 0; i < BLOCKS; i++) {
		block[i][0] = block[i][ROUNDS + 1] = 1;
		m->m_rounds[i] = 4 - i;
		for (size_t j = 0; j < m->m_rounds[i]; j++)
			block[i][1 + j] = m->m_word[i][j] = 100 * i + 2 * j + 2;
	}
	cpus_move(0);
	do {
		front = percpu_enter(&cpu);
		old = percpu_top(front, off);
	} while (!percpu_cas_top(cpu, front, off, old, top_of(m, 0)));
	do
		old = percpu_prev(front, off);
	while (!percpu_cas_prev(cpu, front, off, old, 0));
}

static void
note_top(void *arg, uintptr_t top)
{
	(void)top;
	++*(uintptr_t *)arg;
}

/* A word in the hand of a sequence, and one in that of who stops it. */
static uintptr_t
word_of(bool stopper)
{
	return (stopper ? 2002 : 2000);
}

/* Not 0: it was done. */
static uintptr_t
act(const struct mirror *m, enum what what, bool stopper)
{
	uintptr_t taken = 0;

	switch (what) {
	case POP:
		return (percpu_pop(off));
	case PUSH:
		return (percpu_push(off, word_of(stopper)));
	case TOP:
		return (percpu_cas_top(
		    cpu, front, off, top_of(m, 0), top_of(m, 1)));
	case BEHIND:
		return (percpu_cas_prev(cpu, front, off, 0, top_of(m, 1)));
	case DRAIN:
		(void)percpu_drain(slot, note_top, &taken);
		return (taken);
	case MOVE:
		cpus_move(1);
		return (1);
	default:
		return (1);
	}
}

/* What act() is to do and to return, in the mirror. */
static uintptr_t
reflect(struct mirror *m, enum what what, bool stopper)
{
	unsigned i = m->m_loaded;
	uintptr_t taken;

	switch (what) {
	case POP:
		return (m->m_word[i][--m->m_rounds[i]]);
	case PUSH:
		m->m_word[i][m->m_rounds[i]++] = word_of(stopper);
		return (1);
	case TOP:
		m->m_loaded = 1;
		return (1);
	case BEHIND:
		m->m_behind = 1;
		return (1);
	case DRAIN:
		taken = 1 + (m->m_behind != BLOCKS);
		m->m_loaded = m->m_behind = BLOCKS;
		return (taken);
	default:
		return (1);
	}
}

static bool
same(const struct mirror *m)
{
	unsigned i = m->m_loaded;
	uintptr_t top = i == BLOCKS ? PERCPU_NULL : top_of(m, i);
	uintptr_t behind = m->m_behind == BLOCKS ? 0 : top_of(m, m->m_behind);

	if (percpu_top(front, off) != top || percpu_prev(front, off) != behind)
		return (false);
	return (i == BLOCKS ||
	    memcmp(&block[i][1], m->m_word[i],
		m->m_rounds[i] * sizeof(uintptr_t)) == 0);
}

/* ---- where the instructions are ---- */

static void
trap_flag(bool on)
{
	unsigned long flags = __builtin_ia32_readeflags_u64();

	__builtin_ia32_writeeflags_u64(
	    on ? flags | TRAP_FLAG : flags & ~(unsigned long)TRAP_FLAG);
}

static void *
false_descriptor(void)
{
	void *d;

	memcpy(&d, false_area + RSEQ_CS, sizeof(d));
	return (d);
}

/* When it is stopped. */
static const struct mirror *expected;

/* Before each instruction; those of interest end where the stack has changed. */
static void
on_step(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	(void)signal;
	(void)info;

	if (false_descriptor() == NULL || steps.s_done ||
	    steps.s_n == MOST_STEPS)
		return;
	steps.s_at[steps.s_n++] = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
	steps.s_done = !same(expected);
}

static void
handle(void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};

	assert_int_equal(sigaction(SIGTRAP, &sa, NULL), 0);
}

static void
find_steps(enum what what)
{
	intptr_t area = percpu__hot.h_area;
	uintptr_t thread = percpu__rseq_area() - (uintptr_t)area;
	const struct descriptor *d;
	struct mirror m;

	begin(&m);
	expected = &m;
	memset(&steps, 0, sizeof(steps));
	memset(false_area, 0, sizeof(false_area));
	handle(on_step);
	percpu__hot.h_area = (intptr_t)((uintptr_t)false_area - thread);
	trap_flag(true);
	(void)act(&m, what, false);
	trap_flag(false);
	percpu__hot.h_area = area;
	assert_true(steps.s_done);
	d = false_descriptor();
	steps.s_abort = d->d_abort;
}

/* ---- stopped at one ---- */

static void
on_stop(int signal, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *next = &uc->uc_mcontext.gregs[REG_RIP];
	(void)signal;
	(void)info;

	*stop.b_at = stop.b_byte;
	if ((uintptr_t)*next == (uintptr_t)stop.b_at + BREAKPOINT_SIZE)
		*next -= BREAKPOINT_SIZE;
	stop.b_next = (uintptr_t)*next;
	stop.b_hits++;
	stop.b_result = act(expected, stop.b_then, true);
}

/*
 * Do it, and something else when it is at this instruction; what it said.  The
 * stack is as it was when the breakpoint was not met.
 */
static uintptr_t
do_stopped(const struct mirror *m, enum what what, uintptr_t at)
{
	uintptr_t result;

	stop.b_hits = 0;
	stop.b_at = (unsigned char *)at;
	stop.b_byte = *stop.b_at;
	*(volatile unsigned char *)stop.b_at = BREAKPOINT;
	result = act(m, what, false);
	*(volatile unsigned char *)stop.b_at = stop.b_byte;
	return (result);
}

static void
stop_at(enum what what, unsigned step, enum what then)
{
	bool committed = step + 1 == steps.s_n;
	struct mirror before, m;
	uintptr_t result, want;
	int trials = TRIALS;

	stop.b_then = then;
	do {
		begin(&before);
		m = before;
		want = committed ? reflect(&m, what, false) : 0;
		expected = &m;
		result = do_stopped(&before, what, steps.s_at[step]);
	} while (stop.b_hits == 0 && --trials > 0);
	assert_int_equal(stop.b_hits, 1);
	assert_int_equal(result, want);
	assert_int_equal(
	    stop.b_next, committed ? steps.s_at[step] : steps.s_abort);
	if (committed && then == what && what >= TOP) {
		/* Two cannot exchange the same one. */
		assert_int_equal(stop.b_result, 0);
	} else {
		assert_int_equal(stop.b_result, reflect(&m, then, true));
	}
	assert_true(same(&m));
}

/* The pages of the steps may be written to, or may no more. */
static bool
writable(bool yes)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	int prot = PROT_READ | PROT_EXEC | (yes ? PROT_WRITE : 0);

	for (unsigned i = 0; i < steps.s_n; i++) {
		if (mprotect(
			(void *)(steps.s_at[i] & ~(page - 1)), page, prot) != 0)
			return (false);
	}
	return (true);
}

static void
a_sequence_stopped_at_any_instruction_is_done_once_or_not_at_all(void **state)
{
	(void)state;

	slot = percpu_slot_open();
	off = slot * sizeof(struct percpu_slot);
	for (enum what what = 0; what < SEQUENCES; what++) {
		find_steps(what);
		print_message("%s: stopped at %u instructions and once after\n",
		    names[what], steps.s_n - 1);
		/* At least: the index, the base, the top, and the store. */
		assert_true(steps.s_n > 4);
		if (!writable(true)) {
			print_message("code cannot be written to\n");
			skip();
		}
		handle(on_stop);
		for (unsigned step = 0; step < steps.s_n; step++)
			for (enum what then = 0; then <= NOTHING; then++)
				stop_at(what, step, then);
		assert_true(writable(false));
	}
	cpus_roam();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_sequence_stopped_at_any_instruction_is_done_once_or_not_at_all),
	};

	percpu_init(PERCPU_AUTO);
	if (!percpu__restartable) {
		(void)puts("no restartable sequences here");
		return (77);
	}
	return (cmocka_run_group_tests(tests, NULL, NULL));
}

#else

int
main(void)
{
	(void)puts("for x86-64 with restartable sequences only");
	return (77);
}

#endif
