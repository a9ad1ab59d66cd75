/*
 * vmem_model_test.c - random operations on an arena and on the oracle.
 *
 * Arguments: number of steps per run, number of runs, first seed.  The seed of
 * a failing run and its shortest failing list of operations are printed.
 */
#include "model/vmem_ops.h"

#include <setjmp.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PRINTED = 40 }; /* last operations of a failing list that are shown */

static size_t steps = 4000;
static unsigned runs = 36;
static uint64_t first_seed = 1;

/* Does the list run without fault?  In a child: it may abort. */
static bool
passes(unsigned shape, const struct op *ops, size_t n, bool quiet)
{
	static struct world w;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		size_t at;

		if (quiet)
			(void)!freopen("/dev/null", "w", stderr);
		at = oracle_run(&w, shape, ops, n, 1);
		if (at < n)
			(void)fprintf(stderr, "step %zu: %s\n", at, w.w_why);
		_exit(at < n);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return (status == 0);
}

/* The length of the shortest failing beginning. */
static size_t
shortest_prefix(unsigned shape, const struct op *ops, size_t n)
{
	size_t good = 0;

	while (n - good > 1) {
		size_t mid = good + (n - good) / 2;

		if (passes(shape, ops, mid, true))
			good = mid;
		else
			n = mid;
	}
	return (n);
}

/* Delete what can be deleted without the failure going away. */
static size_t
shrink_once(unsigned shape, struct op *ops, size_t n)
{
	struct op *fewer = calloc(n, sizeof(*fewer));

	for (size_t chunk = n / 2; fewer != NULL && chunk > 0; chunk /= 2) {
		for (size_t i = 0; i + chunk <= n;) {
			memcpy(fewer, ops, i * sizeof(*ops));
			memcpy(&fewer[i], &ops[i + chunk],
			    (n - i - chunk) * sizeof(*ops));
			if (passes(shape, fewer, n - chunk, true)) {
				i += chunk;
				continue;
			}
			n -= chunk;
			memcpy(ops, fewer, n * sizeof(*ops));
		}
	}
	free(fewer);
	return (n);
}

/* What could not be deleted before may be when something else has gone. */
static size_t
shrink(unsigned shape, struct op *ops, size_t n)
{
	size_t before;

	do {
		before = n;
		n = shrink_once(shape, ops, n);
	} while (n < before);
	return (n);
}

static void
report(uint64_t seed, unsigned shape, struct op *ops, size_t n)
{
	n = shrink(shape, ops, shortest_prefix(shape, ops, n));
	print_error(
	    "seed %lu, shape %u: %zu operations fail:\n", seed, shape, n);
	for (size_t i = n > PRINTED ? n - PRINTED : 0; i < n; i++)
		print_error("\t{%u, %u, %u, %u, %u, %u, %u, %u},\n",
		    ops[i].o_kind, ops[i].o_policy, ops[i].o_shape,
		    ops[i].o_scale, ops[i].o_a, ops[i].o_b, ops[i].o_c,
		    ops[i].o_d);
	(void)passes(shape, ops, n, false);
}

static void
an_arena_answers_random_requests_as_the_oracle_does(void **state)
{
	bool ok = true;
	(void)state;

	print_message(
	    "%u runs of %zu steps, seeds from %lu\n", runs, steps, first_seed);
	for (unsigned run = 0; run < runs && ok; run++) {
		uint64_t seed = first_seed + run;
		unsigned shape = run % ORACLE_SHAPES;
		struct op *ops = calloc(steps, sizeof(*ops));

		assert_non_null(ops);
		make_ops(seed, ops, steps);
		ok = passes(shape, ops, steps, false);
		if (!ok)
			report(seed, shape, ops, steps);
		free(ops);
	}
	assert_true(ok);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		an_arena_answers_random_requests_as_the_oracle_does),
	};

	if (getenv("QR_TEST_QUICK") != NULL)
		steps = 500;
	if (argc > 1)
		steps = strtoul(argv[1], NULL, 0);
	if (argc > 2)
		runs = (unsigned)strtoul(argv[2], NULL, 0);
	if (argc > 3)
		first_seed = strtoull(argv[3], NULL, 0);
	return (cmocka_run_group_tests_name("vmem model", tests, NULL, NULL));
}
