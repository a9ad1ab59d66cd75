/*
 * malloc_bench.c - the rows of the malloc benchmark.
 *
 * The program calls malloc and free like any other; which allocator answers
 * is decided by LD_PRELOAD.  Rows, in ns per pair of malloc and free unless
 * said:
 *
 *	pair.*        one block of one size, allocated and freed
 *	touch.*       same, one byte written in every page of it
 *	batch.N.*     N mallocs, then N frees: fifo and random of 64 bytes,
 *	              mix of mixed sizes in random order
 *	churn.*       replace a random one of N live blocks of mixed sizes;
 *	              big: 100 live of 4 KiB to 1 MiB
 *	survivors     bursts of five ranges of size, one block in 25 lives on
 *	calloc.*, memalign.*   pairs; memalign is aligned to its size
 *	realloc.*     per realloc: 16 strings grown by 16 bytes in turn, one
 *	              vector grown by half to 4 MiB, one by 64 KiB to 32 MiB
 *	large         replace one of 16 live blocks of 5 to 25 MiB, touched
 *	prodcons.*    one thread allocates and writes, another frees, per block
 *	swap.*        two threads, each reads and frees what the other made
 *	larson        a server's slots, handed on to a new thread each round
 *	threads       create a thread, 100 mallocs and frees, join
 *	start         start and end a process, per process
 *	idle.1000     1000 threads that each allocated and freed 5000 mixed
 *	              blocks and sleep: memory is what is resident then
 *	handround     32 MiB handed through 8 threads; memory is the peak
 *	partial       a million mixed blocks, 90 % freed at random, 2 s of
 *	              light activity: memory is what is resident then
 *	return        the same with everything freed
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "malloc_rows.h"

#include <string.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* name, setup, unit, size, count, flags */
static const struct bench_row rows[] = {
    {"pair.16", NULL, pair_unit, 16, 0, 0},
    {"pair.64", NULL, pair_unit, 64, 0, 0},
    {"pair.256", NULL, pair_unit, 256, 0, 0},
    {"pair.1024", NULL, pair_unit, 1024, 0, 0},
    {"pair.4096", NULL, pair_unit, 4096, 0, 0},
    {"pair.16384", NULL, pair_unit, 16 * KIB, 0, 0},
    {"pair.65536", NULL, pair_unit, 64 * KIB, 0, 0},
    {"pair.1m", NULL, pair_unit, MIB, 0, 0},
    {"touch.64", NULL, touch_unit, 64, 1000, 0},
    {"touch.4096", NULL, touch_unit, 4096, 1000, 0},
    {"touch.65536", NULL, touch_unit, 64 * KIB, 100, 0},
    {"touch.1m", NULL, touch_unit, MIB, 10, 0},
    {"touch.8m", NULL, touch_unit, 8 * MIB, 2, 0},
    {"batch.100.fifo", batch_setup, batch_fifo_unit, 64, 100, 0},
    {"batch.1000.fifo", batch_setup, batch_fifo_unit, 64, 1000, 0},
    {"batch.100000.fifo", batch_setup, batch_fifo_unit, 64, 100000, 0},
    {"batch.100.random", batch_setup, batch_random_unit, 64, 100, 0},
    {"batch.1000.random", batch_setup, batch_random_unit, 64, 1000, 0},
    {"batch.100000.random", batch_setup, batch_random_unit, 64, 100000, 0},
    {"batch.100.mix", batch_setup, batch_random_unit, 0, 100, 0},
    {"batch.1000.mix", batch_setup, batch_random_unit, 0, 1000, 0},
    {"batch.100000.mix", batch_setup, batch_random_unit, 0, 100000, 0},
    {"churn.1000", churn_setup, churn_unit, 0, 1000, 0},
    {"churn.100000", churn_setup, churn_unit, 0, 100000, 0},
    {"churn.big", big_setup, big_unit, 0, 100, 0},
    {"survivors", survivors_setup, survivors_unit, 0, 10000, 0},
    {"calloc.64", NULL, calloc_unit, 64, 1000, 0},
    {"calloc.4096", NULL, calloc_unit, 4096, 1000, 0},
    {"calloc.1m", NULL, calloc_unit, MIB, 10, 0},
    {"memalign.64", NULL, memalign_unit, 64, 0, 0},
    {"memalign.256", NULL, memalign_unit, 256, 0, 0},
    {"memalign.4096", NULL, memalign_unit, 4096, 0, 0},
    {"realloc.append", NULL, realloc_append_unit, 8 * KIB, 16, 0},
    {"realloc.half", NULL, realloc_half_unit, 4 * MIB, 0, 0},
    {"realloc.steps", NULL, realloc_steps_unit, 32 * MIB, 64 * KIB, 0},
    {"large", large_setup, large_unit, 0, 16, 0},
    {"prodcons.64", NULL, prodcons_unit, 64, 0, BENCH_PAIRED},
    {"prodcons.mix", NULL, prodcons_unit, 0, 0, BENCH_PAIRED},
    {"prodcons.4096", NULL, prodcons_unit, 4096, 0, BENCH_PAIRED},
    {"swap.64", NULL, swap_unit, 64, 0, BENCH_PAIRED},
    {"swap.mix", NULL, swap_unit, 0, 0, BENCH_PAIRED},
    {"scratch", scratch_setup, scratch_unit, 8, 50, 0},
    {"thrash", NULL, scratch_unit, 8, 50, 0},
    {"mix", heap_setup, mix_unit, 0, 4000, 0},
    {"stress", heap_setup, stress_unit, 0, 2000, 0},
    {"drift", drift_setup, drift_unit, 0, 1000, 0},
    {"aligned", heap_setup, aligned_unit, 0, 1000, 0},
    {"larson", larson_setup, larson_unit, 0, 1000, 0},
    {"threads", NULL, threads_unit, 0, 100, 0},
    {"start", NULL, start_unit, 0, 0, BENCH_SINGLE},
    {"idle.1000", NULL, idle_unit, 0, 1000, BENCH_ONCE},
    {"handround", NULL, handround_unit, 32 * MIB, 8, BENCH_ONCE},
    {"partial", NULL, partial_unit, 90, 1000000, BENCH_ONCE},
    {"return", NULL, partial_unit, 100, 1000000, BENCH_ONCE},
};

int
main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--nothing") == 0)
		_exit(0);
	return (bench_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0])));
}
