/*
 * vmem_model_test.c - random operations on an arena and on the oracle.
 *
 * Arguments: number of steps per run, number of runs, first seed.  The seed of
 * a failing run and its shortest failing list of operations are printed.
 */
#include "model/vmem_oracle.h"

#include <setjmp.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PRINTED = 40 }; /* last operations of a failing list that are shown */

static size_t steps = 4000;
static unsigned runs = 36;
static uint64_t first_seed = 1;

static uint64_t
random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31);
}

/* Kinds come in phases, so that the arena fills and empties. */
static struct op *
make_ops(uint64_t seed, size_t n)
{
	struct op *ops = calloc(n, sizeof(*ops));
	uint64_t state = seed;
	unsigned phase = 0;

	if (ops == NULL)
		abort();
	for (size_t i = 0; i < n; i++) {
		uint64_t r = random_next(&state);

		if (i % 97 == 0)
			phase = (unsigned)(r >> 40 & 3);
		ops[i].o_kind = (uint8_t)r;
		if (phase == 0 && ops[i].o_kind % 16 > 9 && (r >> 60 & 1) != 0)
			ops[i].o_kind = (uint8_t)(3 + ops[i].o_kind % 7);
		ops[i].o_policy = (uint8_t)(r >> 8);
		ops[i].o_shape = (uint8_t)(r >> 16);
		ops[i].o_scale = (uint8_t)((r >> 24) % (phase == 1 ? 10 : 5));
		r = random_next(&state);
		ops[i].o_a = (uint16_t)r;
		ops[i].o_b = (uint16_t)(r >> 16);
		ops[i].o_c = (uint16_t)(r >> 32);
		ops[i].o_d = (uint16_t)(r >> 48);
	}
	return (ops);
}

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
shrink(unsigned shape, struct op *ops, size_t n)
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
		unsigned shape = run % 18;
		struct op *ops = make_ops(seed, steps);

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
