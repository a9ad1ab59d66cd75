/*
 * vmem_model_test.c - random operations on an arena and on the oracle.
 *
 * Arguments: number of steps per run, number of runs, first seed.  The seed of
 * a failing run and its shortest failing list of operations are printed.
 */
#include "model/vmem_ops.h"

#include "support/runs.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct runs runs = {4000, 36, 1};

static void
make(uint64_t seed, void *ops, size_t n)
{
	make_ops(seed, ops, n);
}

static size_t
run(unsigned shape, const void *ops, size_t n, bool known, const char **why)
{
	static struct world w;
	(void)known;

	*why = w.w_why;
	return (oracle_run(&w, shape, ops, n, 1));
}

static void
print(const void *op)
{
	const struct op *o = op;

	print_error("\t{%u, %u, %u, %u, %u, %u, %u, %u},\n", o->o_kind,
	    o->o_policy, o->o_shape, o->o_scale, o->o_a, o->o_b, o->o_c,
	    o->o_d);
}

static void
an_arena_answers_random_requests_as_the_oracle_does(void **state)
{
	static const struct runs_subject arena = {
	    ORACLE_SHAPES, sizeof(struct op), make, run, print};
	(void)state;

	assert_true(runs_pass(&runs, &arena));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		an_arena_answers_random_requests_as_the_oracle_does),
	};

	if (getenv("QR_TEST_QUICK") != NULL)
		runs.r_steps = 500;
	runs_arguments(&runs, argc, argv);
	return (cmocka_run_group_tests_name("vmem model", tests, NULL, NULL));
}
