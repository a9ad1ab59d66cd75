/*
 * contig_rows.h - the rows of the benchmark of contiguous memory, for any
 * allocator that fills in an engine.
 *
 * Rows, lower is better unless said otherwise:
 *
 *	pair        ns to allocate and free 8 KiB aligned to 32 KiB that do not
 *	            cross 1 MiB
 *	batch       the same, 32 of them and then their frees, in order
 *	churn       ns to replace one of 1024 live blocks of 4 to 64 KiB
 *	fragmented  ns for a request that is freed at once, in a pool of 1 GiB
 *	            of which every other page, or only the lowest, is free
 *	worst       the slowest of these requests, each timed several times and
 *	            taken at its best
 *	served      percent of requests with windows, alignments and boundaries
 *	            that a pool of 64 MiB, three quarters full, serves; higher is
 *	            better
 *	largest     KiB of the largest run after a million steps of churn in 64
 *	            MiB; higher is better
 *	translate   ns from a virtual to a physical address
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef BENCH_CONTIG_ROWS_H
#define BENCH_CONTIG_ROWS_H

#include <stddef.h>
#include <stdint.h>

enum { PAGE = 4096 };

/* high 0: no window; boundary 0: none.  The engine may ignore what it lacks. */
struct request {
	size_t r_size;
	uint64_t r_low, r_high;
	size_t r_align;
	size_t r_boundary;
};

/* What is NULL the engine cannot do. */
struct engine {
	const char *en_name;
	/* A pool of this many bytes; once, before all else. */
	void (*en_open)(size_t size);
	void *(*en_get)(const struct request *r);
	void (*en_put)(void *p, size_t size);
	/* Take exactly this page, or free it; for fragmented pools. */
	void *(*en_take_page)(size_t page);
	/* Does en_get honour windows and boundaries? */
	int en_constrained;
	/* Bytes of the largest run that is free. */
	size_t (*en_largest)(void);
	/* Translate n addresses from p on, 64 bytes apart and within 1 MiB. */
	uint64_t (*en_translate)(const void *p, size_t n);
};

/* Arguments: --list, or ENGINE ROW; prints "engine row value". */
int rows_main(int argc, char **argv, const struct engine *engines, size_t n);

#endif /* BENCH_CONTIG_ROWS_H */
