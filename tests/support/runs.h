/*
 * runs.h - how long a test at random runs, and where it begins.
 */
#ifndef QR_TEST_RUNS_H
#define QR_TEST_RUNS_H

#include <stdint.h>
#include <stdlib.h>

/* The arguments of a program: steps of a run, runs, first seed; none need be. */
static inline void
runs_arguments(
    int argc, char **argv, size_t *steps, unsigned *runs, uint64_t *first_seed)
{
	if (argc > 1)
		*steps = strtoul(argv[1], NULL, 0);
	if (argc > 2)
		*runs = (unsigned)strtoul(argv[2], NULL, 0);
	if (argc > 3)
		*first_seed = strtoull(argv[3], NULL, 0);
}

#endif /* QR_TEST_RUNS_H */
