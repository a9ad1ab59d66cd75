/*
 * ring.h - a bounded queue of pointers from one thread to one other.
 *
 * Each side shows its progress to the other once per RING_BATCH, and keeps a
 * copy of the other's index, so that neighbours in the queue share the cost of
 * the cache lines that cross.  Who pushes and pops must therefore move whole
 * batches.  A side that must wait gives its processor away.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef BENCH_RING_H
#define BENCH_RING_H

#include "harness.h"

#include <sched.h>

enum { RING_SLOTS = 1024, RING_BATCH = 32, RING_SPINS = 100 };

struct ring {
	_Alignas(128) _Atomic size_t r_head; /* pushed, as shown */
	_Alignas(128) _Atomic size_t r_tail; /* popped, as shown */
	_Alignas(128) size_t r_push;         /* pusher: pushed */
	size_t r_tail_copy;                  /* pusher: r_tail, once */
	_Alignas(128) size_t r_pop;          /* popper: popped */
	size_t r_head_copy;                  /* popper: r_head, once */
	_Alignas(128) void *r_slots[RING_SLOTS];
};

/* Wait until *at differs from `value`, or bench_stop; returns *at. */
static inline size_t
ring_wait(_Atomic size_t *at, size_t value)
{
	size_t now;

	for (int spins = 0;; spins++) {
		now = atomic_load_explicit(at, memory_order_acquire);
		if (now != value ||
		    atomic_load_explicit(&bench_stop, memory_order_relaxed))
			return (now);
		if (spins >= RING_SPINS)
			sched_yield();
	}
}

/* False when the program is to stop and the ring is full. */
static inline bool
ring_push(struct ring *r, void *p)
{
	size_t n = r->r_push;

	if (n - r->r_tail_copy == RING_SLOTS) {
		r->r_tail_copy = ring_wait(&r->r_tail, n - RING_SLOTS);
		if (n - r->r_tail_copy == RING_SLOTS)
			return (false);
	}
	r->r_slots[n++ % RING_SLOTS] = p;
	r->r_push = n;
	if (n % RING_BATCH == 0)
		atomic_store_explicit(&r->r_head, n, memory_order_release);
	return (true);
}

/* NULL when the program is to stop and the ring is empty. */
static inline void *
ring_pop(struct ring *r)
{
	size_t n = r->r_pop;
	void *p;

	if (n == r->r_head_copy) {
		r->r_head_copy = ring_wait(&r->r_head, n);
		if (n == r->r_head_copy)
			return (NULL);
	}
	p = r->r_slots[n++ % RING_SLOTS];
	r->r_pop = n;
	if (n % RING_BATCH == 0)
		atomic_store_explicit(&r->r_tail, n, memory_order_release);
	return (p);
}

#endif /* BENCH_RING_H */
