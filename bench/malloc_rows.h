/*
 * malloc_rows.h - the workloads of malloc_bench, by file.
 *
 * What a row's size and count mean to each is said at its definition.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef BENCH_MALLOC_ROWS_H
#define BENCH_MALLOC_ROWS_H

#include "harness.h"

/* malloc_small.c: one thread, small and middling blocks. */
uint64_t pair_unit(struct bench_worker *w);
uint64_t touch_unit(struct bench_worker *w);
uint64_t calloc_unit(struct bench_worker *w);
uint64_t memalign_unit(struct bench_worker *w);
void batch_setup(struct bench_worker *w);
uint64_t batch_fifo_unit(struct bench_worker *w);
uint64_t batch_random_unit(struct bench_worker *w);
void churn_setup(struct bench_worker *w);
uint64_t churn_unit(struct bench_worker *w);
void survivors_setup(struct bench_worker *w);
uint64_t survivors_unit(struct bench_worker *w);

/* malloc_large.c: blocks of pages, and blocks that grow. */
void big_setup(struct bench_worker *w);
uint64_t big_unit(struct bench_worker *w);
void large_setup(struct bench_worker *w);
uint64_t large_unit(struct bench_worker *w);
uint64_t realloc_append_unit(struct bench_worker *w);
uint64_t realloc_half_unit(struct bench_worker *w);
uint64_t realloc_steps_unit(struct bench_worker *w);

/* malloc_threads.c: blocks that cross threads, threads that come and go. */
uint64_t prodcons_unit(struct bench_worker *w);
uint64_t swap_unit(struct bench_worker *w);
void larson_setup(struct bench_worker *w);
uint64_t larson_unit(struct bench_worker *w);
uint64_t threads_unit(struct bench_worker *w);
uint64_t start_unit(struct bench_worker *w);

/* malloc_classic.c: the workloads of the literature. */
void scratch_setup(struct bench_worker *w);
uint64_t scratch_unit(struct bench_worker *w);
void heap_setup(struct bench_worker *w);
uint64_t mix_unit(struct bench_worker *w);
uint64_t stress_unit(struct bench_worker *w);
void drift_setup(struct bench_worker *w);
uint64_t drift_unit(struct bench_worker *w);
uint64_t aligned_unit(struct bench_worker *w);

/* malloc_memory.c: what stays resident afterwards. */
uint64_t idle_unit(struct bench_worker *w);
uint64_t handround_unit(struct bench_worker *w);
uint64_t partial_unit(struct bench_worker *w);

#endif /* BENCH_MALLOC_ROWS_H */
