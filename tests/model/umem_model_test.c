/*
 * umem_model_test.c - random operations on caches and sizes, against a table
 * of what should be there.
 *
 * Arguments: number of steps per run, number of runs, first seed.  The seed of
 * a failing run and its shortest failing list of operations are printed.
 */
#include "model/umem_ops.h"

#include "support/runs.h"

#include <setjmp.h>

#include <cmocka.h>

static struct runs runs = {5000, 16, 1};

static void
make(uint64_t seed, void *ops, size_t n)
{
	make_ops(seed, ops, n);
}

static size_t
run(unsigned how, const void *ops, size_t n, bool known, const char **why)
{
	(void)known;
	(void)why;

	run_ops(how, ops, n, 1);
	return (n);
}

static void
print(const void *op)
{
	const struct op *o = op;

	print_error(
	    "\t{%u, %u, %u, %u},\n", o->o_kind, o->o_scale, o->o_a, o->o_b);
}

static void
caches_and_sizes_do_what_the_table_says(void **state)
{
	static const struct runs_subject caches = {
	    SHAPES, sizeof(struct op), make, run, print};
	(void)state;

	assert_true(runs_pass(&runs, &caches));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(caches_and_sizes_do_what_the_table_says),
	};

	if (look_quick())
		runs.r_steps = 300;
	runs_arguments(&runs, argc, argv);
	return (cmocka_run_group_tests_name("umem model", tests, NULL, NULL));
}
