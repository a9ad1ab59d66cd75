/*
 * percpu.h - per-CPU stacks of words, without locks where the kernel helps.
 *
 * Theory.  Each CPU has a front: an array of slots, one for each user of the
 * floor.  A slot is one word, the top of a stack kept in a block of words that
 * has an odd word at both ends; what is stacked is even.  So "the word below
 * top is odd" means empty, "the word at top is odd" means full, and the one
 * word `top` is the whole state: pushing, popping, and exchanging the block
 * for another each commit with a single store.
 *
 *        begin                    top               end
 *       [ odd ][ even ][ even ][       ][       ][ odd ]
 *
 * That store is made by a restartable sequence: when the kernel preempts,
 * migrates or signals a thread before the store, it continues at an abort
 * label, and nothing has happened.  No lock, no atomic instruction.  Where
 * glibc has not registered rseq(2), every CPU index reads as negative, which
 * leads to a stub front whose slots are all the null block, empty and full at
 * once: each operation misses, and the miss uses the locked form instead
 * (percpu_lock.h), on the same fronts with the same blocks.
 *
 * A CPU index is the kernel's per-process concurrency id where it offers one,
 * so that a process running on few CPUs uses few fronts, else the CPU number.
 *
 * A remote CPU is drained by pointing its base at the stub, waiting until no
 * sequence that saw the old base can still commit (os_rseq_fence), and then
 * reading the front as its only owner.
 *
 * After Dave Dice and Alex Garthwaite, "Mostly Lock-Free Malloc", ISMM 2002.
 */
#ifndef QR_PERCPU_H
#define QR_PERCPU_H

#include "base/compiler.h"
#include "os/os.h"
#include "os/os_lock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PERCPU_SLOTS = 2048,
	/* Never opened, so every operation on them misses. */
	PERCPU_NO_SLOT = 0,
	PERCPU_FREE_SLOT = 1,
	PERCPU_FIRST_SLOT = 2,
	PERCPU_CPUS = 8192,
};

struct percpu_slot {
	uintptr_t s_top;  /* into the loaded block */
	uintptr_t s_prev; /* top of a second block, or 0 */
} QR_ALIGNED(16);

enum percpu_op { PERCPU_POP, PERCPU_PUSH, PERCPU_OPS };

/*
 * What one CPU owns.
 * Locking: (p) restartable sequences on this CPU, or f_lock in the locked form;
 * (a) atomic.
 */
struct percpu_front {
	/*
	 * (a) Operations that missed, from the end downwards by slot, for those of
	 * the slots that are used most to be on their page.
	 */
	_Atomic uint64_t f_missed[PERCPU_SLOTS][PERCPU_OPS];
	struct qr_mutex f_lock;                  /* rank QR_RANK_CPU */
	struct percpu_slot f_slot[PERCPU_SLOTS]; /* (p) */
};

/* Read by every operation; written once, by percpu_init(). */
struct percpu_hot {
	intptr_t h_area; /* thread pointer to struct rseq */
	intptr_t h_cpu;  /* thread pointer to the CPU index in it */
};

/*
 * By CPU: its front once it has one, from the end of pt_front downwards, and
 * where operations look for its slots, from pt_base[2] upwards.  So what few CPUs
 * have of both is together.
 */
struct percpu_tables {
	struct percpu_front *pt_front[PERCPU_CPUS];
	struct percpu_slot *pt_base[2 + PERCPU_CPUS];
};

extern QR_HIDDEN struct percpu_hot percpu__hot;
extern QR_HIDDEN struct percpu_tables percpu__tables;
extern QR_HIDDEN const uintptr_t percpu__null[2];
extern QR_HIDDEN bool percpu__restartable;

/* Top of the null block: empty and full. */
#define PERCPU_NULL ((uintptr_t)&percpu__null[1])

#if defined(__SANITIZE_THREAD__)
#define PERCPU_LOCK_ONLY 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define PERCPU_LOCK_ONLY 1
#endif
#endif

/* A race detector cannot see the exclusion that the kernel provides. */
#if defined(PERCPU_LOCK_ONLY)
#include "os/percpu_none.h"
#elif defined(__x86_64__)
#include "os/percpu_x86_64.h"
#elif defined(__aarch64__)
#include "os/percpu_aarch64.h"
#else
#include "os/percpu_none.h"
#endif

enum percpu_want {
	PERCPU_AUTO, /* the best there is */
	PERCPU_CPU,  /* not mm_cid */
	PERCPU_LOCK, /* not rseq */
};

/* Choose the form and the index.  Called once, before any other function. */
void percpu_init(enum percpu_want want);

/* "rseq, mm_cid", "rseq, cpu" or "lock". */
const char *percpu_form(void);

/* The index of the CPU that the caller runs on, or did just now. */
static inline unsigned
percpu_cpu(void)
{
	return (percpu__restartable ? (unsigned)percpu__rseq_cpu()
				    : os_cpu_current());
}

/* A slot for a new user, or 0 when all are taken. */
unsigned percpu_slot_open(void);
/* Give a drained slot back. */
void percpu_slot_close(unsigned slot);

/*
 * Pop a word from this CPU's stack `slot`, 0 when it is empty; push one,
 * false when it is full or `word` is already the topmost.  off is slot *
 * sizeof(struct percpu_slot).  These are the whole of the fast path.
 */
QR_INLINE uintptr_t
percpu_pop(size_t off)
{
	const uintptr_t *top;

	return (percpu__rseq_pop(off, &top));
}

/*
 * The same where words are addresses.  The next one's memory is fetched while
 * the caller is busy with this one's; what it is by now does not matter.
 */
QR_INLINE uintptr_t
percpu_pop_memory(size_t off)
{
	const uintptr_t *top;
	uintptr_t word = percpu__rseq_pop(off, &top);

	if (word != 0)
		__builtin_prefetch(
		    (void *)__atomic_load_n(top - 1, __ATOMIC_RELAXED), 1);
	return (word);
}

QR_INLINE bool
percpu_push(size_t off, uintptr_t word)
{
	return (percpu__rseq_push(off, word));
}

/*
 * The front of the CPU we are on, made if needed, and its index.  NULL when it
 * is being drained or memory is short; do without it then.
 */
struct percpu_front *percpu_enter(unsigned *cpu);

enum percpu_result { PERCPU_FULL, PERCPU_DONE, PERCPU_TWICE };

/*
 * As percpu_pop and percpu_push on `front`, just entered, in whichever form is
 * in force.  PERCPU_TWICE: the word is already the topmost.
 */
uintptr_t percpu_pop_any(struct percpu_front *front, size_t off);
enum percpu_result percpu_push_any(
    struct percpu_front *front, size_t off, uintptr_t word);
/* The top of the block in `slot`, or of the one behind it. */
uintptr_t percpu_top(struct percpu_front *front, size_t off);
uintptr_t percpu_prev(struct percpu_front *front, size_t off);

/*
 * Count an operation that missed where no other CPU writes; how many there were
 * on this one before.  And how many there were on all, since `slot` was opened.
 */
uint64_t percpu_missed(
    struct percpu_front *front, size_t off, enum percpu_op op);
uint64_t percpu_misses(unsigned slot, enum percpu_op op);

/*
 * Replace the top of the block in `slot`, or of the one behind it, if we are
 * still on `cpu`, the front is still in use, and it is still `old`.
 */
bool percpu_cas_top(unsigned cpu, struct percpu_front *front, size_t off,
    uintptr_t old, uintptr_t new);
bool percpu_cas_prev(unsigned cpu, struct percpu_front *front, size_t off,
    uintptr_t old, uintptr_t new);

/*
 * Take every block of `slot` from all CPUs.  take() is given the top of each
 * and must only note it: locks are held.  False when the kernel cannot reach
 * the other CPUs; nothing was taken then.
 */
bool percpu_drain(
    unsigned slot, void (*take)(void *arg, uintptr_t top), void *arg);

/*
 * Look at every block of `slot` without stopping its CPU: a consistent value
 * for a slot that nobody uses, else a recent one.
 */
void percpu_peek(
    unsigned slot, void (*look)(void *arg, uintptr_t top), void *arg);

/* Fronts made so far, and their bytes. */
unsigned percpu_fronts(size_t *bytes);

/* Every lock of this floor, for the fork handlers. */
void percpu_lock_all(void);
void percpu_unlock_all(void);

#endif /* QR_PERCPU_H */
