/*
 * mpipe_model_test.c - random operations on a pipe and on the oracle.
 *
 * Arguments: number of steps per run, number of runs, first seed.  The seed of
 * a failing run and its shortest failing list of operations are printed.
 */
#include "model/mpipe_ops.h"

#include "support/runs.h"
#include "support/umem_look.h"

#include <setjmp.h>

#include <cmocka.h>

static struct runs runs = {400, SHAPES, 1};

static void
make(uint64_t seed, void *ops, size_t n)
{
	make_ops(seed, ops, n);
}

/* Who knows that it hangs need not wait for long. */
static size_t
run(unsigned shape, const void *ops, size_t n, bool known, const char **why)
{
	*why = world.w_why;
	if (known)
		patience_s = 1;
	hang_s = 2 * (unsigned)patience_s;
	return (run_ops(&world, shape, ops, n));
}

static void
print(const void *op)
{
	const struct op *o = op;

	print_error(
	    "\t{%u, %u, %u, %u},\n", o->o_kind, o->o_scale, o->o_a, o->o_b);
}

static void
a_pipe_answers_random_requests_as_the_oracle_does(void **state)
{
	static const struct runs_subject pipe = {
	    SHAPES, sizeof(struct op), make, run, print};
	(void)state;

	assert_true(runs_pass(&runs, &pipe));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_pipe_answers_random_requests_as_the_oracle_does),
	};

	if (look_quick())
		runs.r_steps = 100;
	else if (look_shadowed())
		runs.r_steps /= 4;
	runs_arguments(&runs, argc, argv);
	return (cmocka_run_group_tests_name("mpipe model", tests, NULL, NULL));
}
