/*
 * runs.c - operations at random on something and on its model, from seeds.
 */
#include "support/runs.h"

#include "support/shrink.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PRINTED = 40 }; /* last operations of a failing list that are shown */

/* What a list is run on. */
struct trial {
	const struct runs_subject *t_subject;
	unsigned t_shape;
};

void
runs_arguments(struct runs *r, int argc, char **argv)
{
	if (argc > 1)
		r->r_steps = strtoul(argv[1], NULL, 0);
	if (argc > 2)
		r->r_runs = (unsigned)strtoul(argv[2], NULL, 0);
	if (argc > 3)
		r->r_first_seed = strtoull(argv[3], NULL, 0);
}

static bool
passes(const struct trial *t, const void *ops, size_t n, bool known)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		const char *why = "";
		size_t at;

		if (known)
			(void)!freopen("/dev/null", "w", stderr);
		at = t->t_subject->rs_run(t->t_shape, ops, n, known, &why);
		if (at < n)
			(void)fprintf(stderr, "step %zu: %s\n", at, why);
		_exit(at < n);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	if (!known && WIFSIGNALED(status))
		(void)fprintf(stderr, "signal %d\n", WTERMSIG(status));
	return (status == 0);
}

static bool
passes_quietly(const void *ops, size_t n, void *trial)
{
	return (passes(trial, ops, n, true));
}

static void
report(uint64_t seed, struct trial *t, char *ops, size_t n)
{
	size_t size = t->t_subject->rs_size;

	print_error("seed %lu fails\n", seed);
	n = shrink_list(ops, n, size, passes_quietly, t);
	print_error("shape %u, %zu operations do:\n", t->t_shape, n);
	for (size_t i = n > PRINTED ? n - PRINTED : 0; i < n; i++)
		t->t_subject->rs_print(ops + i * size);
	(void)passes(t, ops, n, false);
}

bool
runs_pass(const struct runs *r, const struct runs_subject *rs)
{
	bool ok = true;

	print_message("%u runs of %zu steps, seeds from %lu\n", r->r_runs,
	    r->r_steps, r->r_first_seed);
	for (unsigned i = 0; i < r->r_runs && ok; i++) {
		uint64_t seed = r->r_first_seed + i;
		struct trial t = {rs, (unsigned)(seed % rs->rs_shapes)};
		char *ops = calloc(r->r_steps, rs->rs_size);

		assert_non_null(ops);
		rs->rs_make(seed, ops, r->r_steps);
		ok = passes(&t, ops, r->r_steps, false);
		if (!ok)
			report(seed, &t, ops, r->r_steps);
		free(ops);
	}
	return (ok);
}
