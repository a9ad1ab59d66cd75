/*
 * mpipe_impl.h - malloc pipelines: theory, structures, invariants.
 *
 * A program's struct malloc_pipe has the counts and a handle.  Behind the
 * handle is a struct mpipe, and outside of each buffer a record that says
 * whether it is allocated.
 *
 *                 mpipe_alloc                          mpipe_free
 *                      ^                                   |
 *        +-------------+-------------+         +-----------+-----------+
 *        |             |             |         v           v           v
 *   stack of this   free stack    new one   stack of    oldest       free stack,
 *   CPU, no lock   (mp_free)               this CPU    waiter       or given up
 *
 * Waiters.  Threads and requests with a callback stand in one queue.  Whoever
 * has a buffer to give gives it to the oldest of them; while somebody waits, no
 * buffer is free, so nobody can overtake, and nobody is woken in vain.  A
 * request is taken off the queue under the lock, by exactly one of those who
 * give, time out or cancel: hence no wake-up is lost and no buffer either.
 *
 * Growing.  A slot is claimed by counting, the lock is dropped, and memory,
 * construction and whatever else may block happen with nothing held.  What was
 * made goes to the oldest waiter, too.  When memory is short the oldest waiter
 * tries again from time to time: nobody may be left to wake it.  For a request
 * the pipe's thread does so, or while that is in a callback, which may wait for
 * others, the oldest thread in line.  A slot is no buffer, and none may come of
 * it: mpipe_resize() makes what it promises itself, and takes slots that are in
 * the way; who is done first goes without.
 *
 * CPUs.  A pipe that is used a lot, by a process of several threads, is open:
 * each CPU has a stack of records (os/percpu.h), and most allocations and frees
 * take no lock.  When the free stack is empty, nothing says what the stacks of
 * other CPUs hold; so it is closed before anybody is told that no buffer is
 * free: its stacks are drained into the free stack, and stay shut until the
 * pipe has again been used a lot by way of the lock.  That keeps the promise
 * about nnom, and shows every free to those who wait.  Only a pipe that has
 * not grown is open, so that there is no surplus to be seen.
 *
 * Leaving.  What is owed when the lock is released - wake-ups, the state of the
 * eventfd, buffers to be given up - is paid in one place, mpipe__exit(), after
 * it is released.  A struct mpipe is never given back, only used again, so that
 * a thread that is still on its way out of mpipe_free() finds one.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_MPIPE_IMPL_H
#define QR_MPIPE_IMPL_H

#include "base/clients.h"
#include "base/compiler.h"
#include "base/list.h"
#include "os/os_lock.h"

#include <quarry/mpipe.h>

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>

/*
 * A buffer.  It stays a record until the pipe is given up, so that who looks
 * for one without the lock may follow any pointer.
 * Locking: (m) mp_lock; (a) atomic; (o) written by whoever has the buffer.
 */
struct mpipe_rec {
	void *_Atomic r_buf;      /* (m,a) NULL: none, the record is spare */
	_Atomic uint64_t r_uses;  /* (o,a) allocations and frees: odd is out */
	struct mpipe_rec *r_next; /* (m) in mp_free, mp_spare or mp_surplus */
} QR_ALIGNED(QR_CACHE_LINE);

/* From address to record: open addressing, at most a quarter full. */
struct mpipe_table {
	struct mpipe_table *t_older; /* smaller, perhaps still looked at */
	size_t t_mask;               /* slots less one */
	struct mpipe_rec *_Atomic t_slot[];
};

enum mpipe_kind { MPIPE_THREAD, MPIPE_ASYNC, MPIPE_CALLBACK };

enum mpipe_helper { MPIPE_NO_HELPER, MPIPE_STARTING, MPIPE_HELPER };

/*
 * A request that waits: on the stack of its thread, or umem_alloc'ed.  A thread
 * sleeps in w_wake, which is posted to make it try to grow the pipe, and when
 * it has w_rec.  It takes all posts before it leaves: whoever makes the last
 * one does so without the lock.
 */
struct mpipe_waiter {
	struct qr_list w_link;   /* (m) mp_queue, mp_granted or mp_ready */
	struct qr_list w_thread; /* (m) mp_threads */
	struct mpipe *w_mp;      /* (c) */
	enum mpipe_kind w_kind;  /* (c) */
	struct mpipe_rec *w_rec; /* (m) what it was given, or NULL */
	bool w_armed;            /* (m) tries to grow, from time to time */
	bool w_missed;           /* (m) w_rec was not free at once */
	unsigned w_posts;        /* (m) of w_wake, made or owed */
	unsigned w_taken;        /* (o) of those */
	_Atomic bool w_granted;  /* (a) there is w_rec, without the lock */
	sem_t w_wake;            /* (a) */
	uint64_t w_since;        /* (c) os_now() */
	uint64_t w_ticket;       /* (c) */
	void (*w_func)(void *, void *); /* (c) */
	void *w_arg1, *w_arg2;          /* (c) */
};

/* What one CPU has: a stack between odd words, as os/percpu.h wants it. */
enum { MPIPE_BLOCK_SIZE = 512, MPIPE_BLOCK_WORDS = 60 };
struct mpipe_block {
	struct mpipe_block *b_next;              /* (m) mp_blocks */
	uintptr_t b_top;                         /* when it was drained */
	uintptr_t b_begin;                       /* odd */
	uintptr_t b_word[MPIPE_BLOCK_WORDS + 1]; /* the last is odd */
} QR_ALIGNED(MPIPE_BLOCK_SIZE);

/* Where buffers come from; ms_pool NULL: kmalloc. */
struct mpipe_source {
	physpool_t *ms_pool;
	vm_paddr_t ms_low, ms_high;
	unsigned long ms_align;
	vm_paddr_t ms_boundary;
};

/* Constructors of mpipe_init() cannot fail. */
struct mpipe_hooks {
	void (*mh_construct)(void *, void *);
	int (*mh_tryconstruct)(void *, void *);
	void (*mh_deconstruct)(void *, void *);
	void *mh_priv;
};

/*
 * The counts are those in *mp_pipe: total = total_count and so on.
 *
 * Invariants, whenever mp_lock is free:
 *   Q1  a request in mp_queue: mp_free is empty, and mp_open is false.
 *   Q2  a request in mp_queue, and total < max: mpipe__grower() is armed.
 *   Q3  free <= ary <= buffers, total <= max; mp_free chains exactly `free`
 *       records.
 *   Q4  mp_table has each record with a buffer, and no other; total is their
 *       number, buffers, and mp_growing less mp_lost.
 *   Q5  mp_open: total <= ary, nobody waits, there is no eventfd.  Not mp_open
 *       and not mp_closing: the stacks of all CPUs are shut.
 * Locking: (c) constant; (m) mp_lock; (a) atomic; (l) the lock of all pipes.
 */
struct mpipe {
	/* Read by every call. */
	_Atomic size_t mp_off; /* (m,a) of the slot in os/percpu.h; 0: none */
	_Atomic size_t mp_free_off; /* (m,a) the same; 0 if frees zero */
	struct mpipe_table *_Atomic mp_table; /* (m,a) */
	size_t mp_zero;        /* (c) bytes that each free zeroes, or 0 */
	_Atomic bool mp_grown; /* (m,a) total > ary, as it was last seen */

	/* These outlive the pipe. */
	struct qr_mutex mp_lock QR_ALIGNED(QR_CACHE_LINE);
	struct qr_cond mp_cond; /* something has changed */
	struct qr_cond mp_work; /* for mp_helper */

	struct malloc_pipe *mp_pipe;   /* (m) */
	struct mpipe_rec *mp_free;     /* (m) LIFO */
	bool mp_care;                  /* (m) mpipe__exit() has to look */
	bool mp_open;                  /* (m) */
	bool mp_closing;               /* (m) somebody drains the CPUs */
	bool mp_exiting;               /* (m) mpipe_done() */
	bool mp_short;                 /* (m) the last attempt to grow failed */
	bool mp_publishing;            /* (m) somebody writes the eventfd */
	bool mp_published;             /* (m) it is readable */
	unsigned mp_heat;              /* (m) uses since it was closed */
	unsigned mp_heat_need;         /* (m) that open it */
	unsigned mp_slot;              /* (m) */
	uint64_t mp_opened;            /* (m) when, os_now_coarse() */
	struct mpipe_block *mp_blocks; /* (m) spare */
	struct mpipe_rec *mp_spare;    /* (m) */
	struct mpipe_rec *mp_surplus;  /* (m) detached, to be unmade */

	struct qr_list mp_queue;   /* (m) oldest first */
	struct qr_list mp_threads; /* (m) those of mp_queue, in that order */
	struct qr_list mp_granted; /* (m) threads to be woken */
	struct qr_list mp_ready;   /* (m) callbacks to be called */
	unsigned mp_watchers;      /* (m) sleep on mp_cond for a buffer */
	unsigned mp_growing;       /* (m) who make a buffer for a slot */
	unsigned mp_lost;          /* (m) of those slots, taken from them */
	unsigned mp_leaving;       /* (m) records being unmade */
	int mp_eventfd;            /* (m) or -1 */

	enum mpipe_helper mp_state; /* (m) of the thread for callbacks */
	bool mp_stop;               /* (m) it shall end */
	bool mp_running;            /* (m) it is in a callback */
	pthread_t mp_helper;        /* (m) */
	struct mpipe_rec *mp_gift;  /* (m) for an allocation by mp_helper */
	uint64_t mp_ticket;         /* (m) the last */

	struct mpipe_source mp_source; /* (c) */
	struct mpipe_hooks mp_hooks;   /* (c) */
	struct malloc_type *mp_type;   /* (c) */
	size_t mp_bytes;               /* (c) */
	int mp_flags;                  /* (c) MPF_* */

	struct mpipe_stats mp_stats; /* (m) allocs: of records that are spare */
	uint64_t mp_misses;          /* (m) of what was handed out, no hits */
	uint64_t mp_id;              /* (l) 1, 2, ... */
	struct qr_list mp_link;      /* (l) all pipes, or those not in use */
};

/* ---- mpipe_table.c ---- */

/* Room for n records; NULL without memory. */
struct mpipe_table *mpipe__table_make(size_t n);
/* Give a table and those that it replaced up. */
void mpipe__table_free(struct mpipe_table *t);
/* Is there room for n records?  mp_lock is held in this and the next three. */
bool mpipe__table_fits(struct mpipe *mp, size_t n);
/* Replace the table by a larger one. */
void mpipe__table_set(struct mpipe *mp, struct mpipe_table *t);
void mpipe__table_insert(struct mpipe *mp, struct mpipe_rec *rec);
void mpipe__table_remove(struct mpipe *mp, struct mpipe_rec *rec);

/*
 * What is in the slots that are empty, and found for what is not there: a
 * record that has no buffer and is not out.
 */
extern QR_HIDDEN struct mpipe_rec mpipe__no_rec;

static inline size_t
mpipe__table_hash(const struct mpipe_table *t, const void *buf)
{
	return (((uintptr_t)buf * 0x61c88647u >> 32) & t->t_mask);
}

/*
 * The record of a buffer.  Without mp_lock it may be missed while another is
 * removed: look again with it.
 */
static inline struct mpipe_rec *
mpipe__table_find(struct mpipe *mp, const void *buf)
{
	struct mpipe_table *t =
	    atomic_load_explicit(&mp->mp_table, memory_order_acquire);
	size_t i = mpipe__table_hash(t, buf);

	for (;; i = (i + 1) & t->t_mask) {
		struct mpipe_rec *rec =
		    atomic_load_explicit(&t->t_slot[i], memory_order_acquire);

		if (QR_LIKELY(atomic_load_explicit(
				  &rec->r_buf, memory_order_relaxed) == buf) ||
		    rec == &mpipe__no_rec)
			return (rec);
	}
}

/* ---- records that are free, and that are spare; mp_lock is held ---- */

static inline void
mpipe__free_push(struct mpipe *mp, struct mpipe_rec *rec)
{
	rec->r_next = mp->mp_free;
	mp->mp_free = rec;
	mp->mp_pipe->free_count++;
}

/* NULL when it is empty. */
static inline struct mpipe_rec *
mpipe__free_pop(struct mpipe *mp)
{
	struct mpipe_rec *rec = mp->mp_free;

	if (QR_LIKELY(rec != NULL)) {
		mp->mp_free = rec->r_next;
		mp->mp_pipe->free_count--;
	}
	return (rec);
}

static inline void
mpipe__spare_push(struct mpipe *mp, struct mpipe_rec *rec)
{
	rec->r_next = mp->mp_spare;
	mp->mp_spare = rec;
}

static inline struct mpipe_rec *
mpipe__spare_pop(struct mpipe *mp)
{
	struct mpipe_rec *rec = mp->mp_spare;

	if (rec != NULL)
		mp->mp_spare = rec->r_next;
	return (rec);
}

/* ---- mpipe_front.c ---- */

/* Where we are; pointers of os/percpu.h. */
struct mpipe_here {
	unsigned h_cpu;
	struct percpu_front *h_front; /* NULL: not on any stack */
};

/* A record from this CPU's stack, or NULL; says where that is. */
struct mpipe_rec *mpipe__front_pop(struct mpipe *mp, struct mpipe_here *here);
/* Put a record there.  False when it is full or shut. */
bool mpipe__front_push(
    struct mpipe *mp, struct mpipe_rec *rec, struct mpipe_here *here);
/*
 * Around an allocation or a free that takes mp_lock, which is held: get what
 * the second needs, which may drop the lock; then move half a stack, or open
 * the pipe.
 */
void mpipe__front_prepare(struct mpipe *mp);
void mpipe__front_after(
    struct mpipe *mp, const struct mpipe_here *here, bool freed);
/*
 * Collect what the CPUs have in mp_free.  mp_lock is held, and dropped if there
 * is anything to do, which is what is returned: look again then.
 */
bool mpipe__front_close(struct mpipe *mp);
/* A new pipe; one that is closed, for good. */
void mpipe__front_start(struct mpipe *mp);
void mpipe__front_free(struct mpipe *mp);

/* ---- mpipe_buffer.c ---- */

/*
 * Allocate and construct a buffer for *recp; NULL is a new record.  0, or an
 * errno, with a record in *recp all the same unless there was no memory for
 * one.  In this and the next mp_lock is not held.
 */
int mpipe__make(struct mpipe *mp, struct mpipe_rec **recp);
/*
 * Deconstruct, scrub and free the buffer of a detached record, which is spare
 * afterwards.
 */
void mpipe__unmake(struct mpipe *mp, struct mpipe_rec *rec);
/* Give a record up that never had a buffer, or when its pipe is; or NULL. */
void mpipe__record_free(struct mpipe_rec *rec);

/* ---- mpipe_queue.c ---- */

/* Release mp_lock, and pay what is owed: see there. */
void mpipe__exit_slow(struct mpipe *mp);

static inline void
mpipe__enter(struct mpipe *mp)
{
	qr_mutex_enter(&mp->mp_lock);
}

static inline void
mpipe__exit(struct mpipe *mp)
{
	if (QR_LIKELY(!mp->mp_care))
		qr_mutex_exit(&mp->mp_lock);
	else
		mpipe__exit_slow(mp);
}

/* In all of these mp_lock is held. */

/*
 * Give what nobody has to the oldest waiter, or to mp_free; when it is surplus
 * mpipe__exit() gives it up.
 */
void mpipe__give(struct mpipe *mp, struct mpipe_rec *rec);
/* Detach a record, and leave it to mpipe__exit() to give it up. */
void mpipe__give_up(struct mpipe *mp, struct mpipe_rec *rec);
/* Take a record out of the table, and its buffer out of total. */
void mpipe__detach(struct mpipe *mp, struct mpipe_rec *rec);
/* Put one in that is allocated by nobody; it is in total already. */
void mpipe__attach(struct mpipe *mp, struct mpipe_rec *rec);
/* ary or total was changed. */
void mpipe__note_grown(struct mpipe *mp);
/*
 * What can be had without waiting; *error is 0 if it is new, and counted as a
 * miss.  NULL with *error, EAGAIN or that of the attempt to grow; the lock was
 * not dropped since nothing was found.
 */
struct mpipe_rec *mpipe__take(struct mpipe *mp, int *error);
/*
 * One attempt to make another buffer, with the lock dropped; total < max.  The
 * errno when it fails.  0 with NULL: there is no slot for it any more.
 */
int mpipe__grow(struct mpipe *mp, struct mpipe_rec **recp);
/* The same for the oldest waiter.  False if there is none more to give. */
bool mpipe__serve(struct mpipe *mp);
/* Stand in line; nothing is free.  armed: the caller tried to grow. */
void mpipe__enqueue(struct mpipe *mp, struct mpipe_waiter *w, bool armed);
/* Leave it, with or without a buffer. */
void mpipe__dequeue(struct mpipe_waiter *w);
/* The waiter that is to try to grow, or NULL. */
struct mpipe_waiter *mpipe__grower(struct mpipe *mp);
/* Give up what is free, as far as there is more than nnom. */
void mpipe__trim(struct mpipe *mp);
/* The oldest waiter, or NULL. */
struct mpipe_waiter *mpipe__oldest(struct mpipe *mp);

/* How many there are: slots are no buffers. */
static inline int
mpipe__buffers(const struct mpipe *mp)
{
	return (mp->mp_pipe->total_count - (int)(mp->mp_growing - mp->mp_lost));
}

/* The free stack has become shorter, or buffers went to waiters. */
static inline void
mpipe__note_outstanding(struct mpipe *mp)
{
	const struct malloc_pipe *p = mp->mp_pipe;
	uint64_t out = (uint64_t)(p->total_count - p->free_count);

	if (QR_UNLIKELY(out > mp->mp_stats.outstanding_max))
		mp->mp_stats.outstanding_max = out;
}

/* The buffer goes to the program now. */
static inline void *
mpipe__out(struct mpipe_rec *rec)
{
	uint64_t uses =
	    atomic_load_explicit(&rec->r_uses, memory_order_relaxed);

	atomic_store_explicit(&rec->r_uses, uses + 1, memory_order_relaxed);
	return (atomic_load_explicit(&rec->r_buf, memory_order_relaxed));
}

/* It comes back; false when it is not out. */
static inline bool
mpipe__back(struct mpipe_rec *rec)
{
	uint64_t uses =
	    atomic_load_explicit(&rec->r_uses, memory_order_relaxed);

	if (QR_UNLIKELY((uses & 1) == 0))
		return (false);
	atomic_store_explicit(&rec->r_uses, uses + 1, memory_order_relaxed);
	return (true);
}

/* ---- mpipe_wait.c ---- */

/* The first pause before another attempt to grow, and the longest. */
enum { MPIPE_RETRY_MIN_NS = 10000000, MPIPE_RETRY_MAX_NS = 1000000000 };

struct timespec mpipe__timespec(uint64_t ns);

/* ---- mpipe_alloc.c ---- */

/* The pipe that was given to `who`; NULL after a panic about what is none. */
struct mpipe *mpipe__of(const struct malloc_pipe *pipe, const char *who);

/* ---- mpipe_async.c ---- */

/*
 * Make sure that there is a thread for callbacks; 0 or an errno.  mp_lock is
 * held, and dropped meanwhile.
 */
int mpipe__helper_start(struct mpipe *mp);
/* End it, after the callback that is running.  mp_lock is not held. */
void mpipe__helper_stop(struct mpipe *mp);
bool mpipe__is_helper(struct mpipe *mp);
/*
 * The buffer for which the callback that is running was called, if we are that
 * callback, else NULL.  mp_lock is held.
 */
struct mpipe_rec *mpipe__gift(struct mpipe *mp);
/*
 * Move requests that no callback was called for to `left`; mp_lock is held, and
 * no thread waits.
 */
void mpipe__async_take_all(struct mpipe *mp, struct qr_list *left);
/* Call their callbacks with no buffer. */
void mpipe__async_cancel(struct qr_list *left);

/* ---- mpipe_event.c ---- */

/* Make the eventfd say what is so; mp_lock is held, and may be dropped. */
void mpipe__event_publish(struct mpipe *mp);
void mpipe__event_close(struct mpipe *mp);

/* ---- mpipe_list.c ---- */

/* A struct mpipe for a new pipe; NULL without memory. */
struct mpipe *mpipe__get(void);
void mpipe__put(struct mpipe *mp);
/* Enter it in the list of pipes, or take it out. */
void mpipe__list(struct mpipe *mp);
void mpipe__unlist(struct mpipe *mp);

/* What the statistics show of a pipe. */
struct mpipe__row {
	uint64_t mr_id;
	bool mr_later;    /* it is not the first */
	char mr_name[32]; /* of its type */
	uint64_t mr_bytes, mr_inuse, mr_total, mr_max;
	struct mpipe_stats mr_stats;
};

/* The pipe after the one of this id, 0 for the first; false at the end. */
bool mpipe__next(uint64_t id, struct mpipe__row *row);

/* ---- mpipe_report.c ---- */

/* All pipes, in the statistics. */
void mpipe__report(struct qr_out *o, enum qr_report kind);

#endif /* QR_MPIPE_IMPL_H */
