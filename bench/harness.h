/*
 * harness.h - what every benchmark program shares: rows, threads, timing.
 *
 * A row is a workload with its parameters.  One process runs one row at one
 * thread count and prints one line,
 *
 *	row threads ns_per_operation kilobytes
 *
 * so that peak memory belongs to the row and allocators can be interleaved
 * by whoever starts the processes.
 *
 * One worker alone is timed in short bursts and the median burst counts: a
 * burst that was preempted does not.  Several workers run freely while the
 * main thread samples their counters; the median window counts, and the cost
 * of an operation is processor time: elapsed time times the processors that
 * the workers can occupy, over operations.
 *
 * The harness maps its own memory, so the allocator under test holds what
 * the workload asked for and nothing else.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BENCH_MAX_WORKERS = 1024 };

enum bench_flags {
	BENCH_PAIRED = 1, /* workers 2i and 2i + 1 work together */
	BENCH_SINGLE = 2, /* makes its own threads: runs with one worker */
	BENCH_ONCE = 4,   /* br_unit is run once, however long it takes */
};

struct bench_worker;

struct bench_row {
	const char *br_name;
	/* Build what the row keeps alive; may be NULL. */
	void (*br_setup)(struct bench_worker *w);
	/* A slice of work, 10 us or more; returns the operations it made. */
	uint64_t (*br_unit)(struct bench_worker *w);
	size_t br_size;  /* bytes; meaning is the workload's */
	size_t br_count; /* objects; meaning is the workload's */
	unsigned br_flags;
};

struct bench_worker {
	const struct bench_row *bw_row;
	void *bw_state; /* the workload's own */
	uint64_t bw_rng;
	unsigned bw_id;
	unsigned bw_nworkers;
	uint64_t bw_memory; /* kilobytes to report; 0 = peak of the process */
	uint64_t bw_idle;   /* ns of a BENCH_ONCE unit that do not count */
	_Alignas(128) _Atomic uint64_t bw_ops;
	_Atomic uint64_t bw_units;
};

/* Set when workers shall return: a loop that waits must look at it. */
extern atomic_bool bench_stop;

/* Zeroed pages from the kernel; never fails, never given back. */
void *bench_map(size_t bytes);
uint64_t bench_now(void);
/* "VmHWM" or "VmRSS" of this process, in kilobytes. */
uint64_t bench_memory(const char *field);
/* The shared random permutation of 0 .. n-1. */
const uint32_t *bench_order(size_t n);
/* Report a failed request and end the program. */
_Noreturn void bench_die(const char *what);

/* Arguments --list, --row NAME, --threads N, --ms N; returns main's status. */
int bench_main(
    int argc, char **argv, const struct bench_row *rows, size_t nrows);

static inline uint64_t
bench_random(struct bench_worker *w)
{
	uint64_t x = w->bw_rng;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	w->bw_rng = x;
	return (x);
}

/* Uniform in 0 .. n-1, from the low 32 bits of r. */
static inline size_t
bench_below(uint64_t r, size_t n)
{
	return ((r & 0xffffffff) * n >> 32);
}

/* The common mixture, 16 .. 526 bytes, from the high bits of r. */
static inline size_t
bench_mixed(uint64_t r)
{
	return (16 + ((r >> 48) * 511 >> 16));
}

/* Make the compiler believe that p is used. */
static inline void
bench_keep(void *p)
{
	__asm__ volatile("" : : "r"(p) : "memory");
}

#endif /* BENCH_HARNESS_H */
