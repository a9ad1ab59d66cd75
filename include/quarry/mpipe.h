/*
 * mpipe.h - malloc pipelines: pools of buffers with a guaranteed minimum.
 *
 * A pipe owns nnom buffers from the start and may grow to nmax.  As long as
 * fewer than nnom are allocated, mpipe_alloc_nowait() succeeds, on any thread.
 * Who has to wait is served in the order of arrival.  All functions are
 * thread-safe; none is async-signal-safe.  Manual page: mpipe(3).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QUARRY_MPIPE_H
#define QUARRY_MPIPE_H

#include <quarry/malloc_type.h>
#include <quarry/physpool.h>

#include <stdint.h>
#include <time.h>

struct timespec; /* not in C99's <time.h> */

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/*
 * Whoever uses the pipe provides the memory, which mpipe_init() fills in.  The
 * first six are for reading, when no other thread is inside a call.
 * 0 <= free_count <= ary_count <= total_count <= max_count.  Buffers that a
 * CPU keeps at hand are not in free_count, until mpipe_getstats() is called.
 */
struct malloc_pipe {
	malloc_type_t type;   /* what buffers are accounted to */
	int bytes;            /* in each */
	int free_count;       /* buffers that are free */
	int total_count;      /* buffers, free and allocated */
	int ary_count;        /* nnom */
	int max_count;        /* nmax */
	struct mpipe *handle; /* the library's own */
	void *reserved[4];
};
typedef struct malloc_pipe *malloc_pipe_t;

/*
 * Without either of the first two, a new buffer is zeroed and then constructed,
 * and each free zeroes it: a buffer that is used again is all zero bytes, and
 * is not constructed again.
 */
#define MPF_CACHEDATA 0x0001 /* free keeps the contents */
#define MPF_NOZERO 0x0002    /* and a new buffer is not zeroed either */
#define MPF_INT 0x0004       /* accepted: use reserves of memory */
#define MPF_CALLBACK 0x0010  /* make the thread for callbacks at once */
#define MPF_CANCEL 0x0020    /* waiting is a cancellation point */

/*
 * Make a pipe of `bytes` bytes per buffer.  nnom below 1 is 1; nmax below 0 is
 * no limit, nmax below nnom is nnom.  construct is called for each buffer that
 * is new, deconstruct (either may be NULL) for each that is given up, with no
 * lock held.  May block.  Failure is fatal.
 */
void mpipe_init(malloc_pipe_t pipe, malloc_type_t type, int bytes, int nnom,
    int nmax, int mpflags, void (*construct)(void *buf, void *priv),
    void (*deconstruct)(void *buf, void *priv), void *priv);
/*
 * The same, with a constructor that fails by returning an errno.  0, that
 * errno, ENOMEM, EINVAL for what makes no sense, or EAGAIN when MPF_CALLBACK's
 * thread cannot be made; *pipe is all zeroes then, and what was made is undone.
 */
int mpipe_tryinit(malloc_pipe_t pipe, malloc_type_t type, int bytes, int nnom,
    int nmax, int mpflags, int (*construct)(void *buf, void *priv),
    void (*deconstruct)(void *buf, void *priv), void *priv);
/*
 * The same, with buffers from contigmalloc_pool(3).  ENOSPC too, when the pool
 * can never give such a buffer.
 */
int mpipe_init_contig(malloc_pipe_t pipe, malloc_type_t type, int bytes,
    int nnom, int nmax, int mpflags, int (*construct)(void *buf, void *priv),
    void (*deconstruct)(void *buf, void *priv), void *priv, physpool_t *pool,
    vm_paddr_t low, vm_paddr_t high, unsigned long alignment,
    vm_paddr_t boundary);
/*
 * Give a pipe up; nothing for one that is all zeroes, or was given up.  Callers
 * of mpipe_wait() return; callbacks that are still queued are called with no
 * buffer, by the caller.  May block.  Allocated buffers are fatal, and so are
 * threads that wait for one.
 */
void mpipe_done(malloc_pipe_t pipe);

/*
 * A buffer that is free, else a new one while there are fewer than nmax, else
 * NULL and EAGAIN, or ENOMEM when there was no memory for a new one.  Never
 * waits for a buffer or for memory.
 */
void *mpipe_alloc_nowait(malloc_pipe_t pipe);
/* The same, but wait, whatever signals arrive.  Never NULL. */
void *mpipe_alloc_waitok(malloc_pipe_t pipe);
/*
 * The same, at most until `deadline` (absolute CLOCK_MONOTONIC), which is NULL
 * and ETIMEDOUT; one that has passed is one attempt.
 */
void *mpipe_alloc_timed(malloc_pipe_t pipe, const struct timespec *deadline);
/* The same, until a signal handler runs, which is NULL and EINTR. */
void *mpipe_alloc_intr(malloc_pipe_t pipe);

/*
 * A buffer, and func is never called.  Or NULL and EINPROGRESS: func is called
 * once, by the pipe's thread, in the order of requests, and an allocation in it
 * succeeds.  Any other errno (ENOMEM, EAGAIN, ESHUTDOWN, or EINVAL without a
 * func): nothing is queued.
 */
void *mpipe_alloc_callback(
    malloc_pipe_t pipe, void (*func)(void *, void *), void *arg1, void *arg2);
/*
 * Have func called once, by the pipe's thread, with a buffer, or by
 * mpipe_done() with NULL; in the order of requests.  0, with *ticket (unless
 * that is NULL) for mpipe_cancel(), ENOMEM, EAGAIN when the thread cannot be
 * made, ESHUTDOWN while mpipe_done() runs, or EINVAL without a func.
 */
int mpipe_alloc_async(malloc_pipe_t pipe, void (*func)(void *buf, void *arg),
    void *arg, uint64_t *ticket);
/* 1: func will not be called.  0: it was, or is being called. */
int mpipe_cancel(malloc_pipe_t pipe, uint64_t ticket);

/*
 * Wait until a buffer is free, which another thread may take before the caller
 * can, or until mpipe_done() is called.
 */
void mpipe_wait(malloc_pipe_t pipe);

/*
 * Free a buffer of this pipe, on any thread; NULL is nothing.  Anything else is
 * fatal, or with a panic hook that returns, ignored.
 */
void mpipe_free(malloc_pipe_t pipe, void *buf);

/*
 * A descriptor for poll(2), which is readable while mpipe_alloc_nowait() would
 * succeed.  Belongs to the pipe: neither read nor close it.  -1 and errno of
 * eventfd(2).  The child of fork has to ask again.
 */
int mpipe_eventfd(malloc_pipe_t pipe);

/*
 * Other numbers, as in mpipe_init().  0; ENOMEM; EBUSY when more than nmax are
 * allocated; the constructor's errno.  Nothing is changed then.
 */
int mpipe_resize(malloc_pipe_t pipe, int nnom, int nmax);

struct mpipe_stats {
	uint64_t allocs;        /* buffers handed out */
	uint64_t hits;          /* of these, free ones at once */
	uint64_t growths;       /* new buffers */
	uint64_t grow_failures; /* attempts to make one */
	uint64_t sleeps;        /* requests that had to wait */
	uint64_t wait_ns;       /* how long, in all */
	uint64_t wait_ns_max;   /* and the longest */
	uint64_t
	    outstanding_max; /* the most that were allocated at one time; */
			     /* what CPUs keep at hand counts */
	uint64_t
	    overflow_frees; /* buffers given up because they were surplus */
};
/* 0, or EINVAL for a pipe that was given up.  free_count is exact afterwards. */
int mpipe_getstats(malloc_pipe_t pipe, struct mpipe_stats *stats);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* QUARRY_MPIPE_H */
