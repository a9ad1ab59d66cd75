/*
 * vmem_model_test.c - random operations on an arena and on the oracle.
 *
 * Arguments: number of steps per run, number of runs, first seed.  The seed of
 * a failing run and its shortest failing list of operations are printed.
 */
#include "model/vmem_ops.h"

#include "support/runs.h"
#include "support/shrink.h"

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

static bool
passes_quietly(const void *ops, size_t n, void *shape)
{
	return (passes(*(unsigned *)shape, ops, n, true));
}

static void
report(uint64_t seed, unsigned shape, struct op *ops, size_t n)
{
	n = shrink_list(ops, n, sizeof(*ops), passes_quietly, &shape);
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
	runs_arguments(argc, argv, &steps, &runs, &first_seed);
	return (cmocka_run_group_tests_name("vmem model", tests, NULL, NULL));
}
