/*
 * runs.h - operations at random on something and on its model, from seeds.
 */
#ifndef QR_TEST_RUNS_H
#define QR_TEST_RUNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How long a test at random runs, and where it begins. */
struct runs {
	size_t r_steps; /* of each run */
	unsigned r_runs;
	uint64_t r_first_seed;
};

/* What the arguments of a program say; none of the three need be there. */
void runs_arguments(struct runs *r, int argc, char **argv);

/* What lists of operations are for. */
struct runs_subject {
	unsigned rs_shapes; /* of the thing; the seed chooses one */
	size_t rs_size;     /* of an operation */
	/* Fill in n operations, all zero before. */
	void (*rs_make)(uint64_t seed, void *ops, size_t n);
	/*
	 * Run them, in a process of their own that may abort: n, or the number
	 * of the one that went wrong, and *why.  known: the failure is.
	 */
	size_t (*rs_run)(unsigned shape, const void *ops, size_t n, bool known,
	    const char **why);
	void (*rs_print)(const void *op);
};

/*
 * Do all runs pass?  The seed of the first that does not is printed, and its
 * shortest list of operations.
 */
bool runs_pass(const struct runs *r, const struct runs_subject *rs);

#endif /* QR_TEST_RUNS_H */
