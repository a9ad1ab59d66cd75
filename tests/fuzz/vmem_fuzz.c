/*
 * vmem_fuzz.c - bytes from libFuzzer are operations on an arena and on the
 * oracle of the model test: 12 for each, after one for the shape.
 *
 * Every run of the tests spends a few seconds on each such target.  For longer:
 *
 *	mkdir -p corpus
 *	build/asan/tests/fuzz_vmem -max_len=6000 -fork=2 \
 *	    -max_total_time=3600 corpus
 *
 * or with the name of another, and with its directory in tests/fuzz/corpus, if
 * it has one, as the last argument.  mpipe's threads keep to CPUs: no -fork.
 * QUARRY_OPTIONS=nowatch as in the tests: nothing is told to the sanitizer, so
 * that memory is used again at once.  UMEM_DEBUG is for umem.
 *
 * What it finds it writes to a file crash-*, which as the only argument runs
 * again, and with -minimize_crash=1 -runs=10000 becomes shorter.
 */
#include "model/vmem_ops.h"

enum { OPS_MAX = 1000 };

#include "fuzz/ops_fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	uint8_t how;
	size_t n = take_ops(data, size, &how), at;

	if (n == 0)
		return (0);
	at = oracle_run(&w, how, ops, n, 8);
	if (at < n) {
		(void)fprintf(stderr, "step %zu: %s\n", at, w.w_why);
		abort();
	}
	return (0);
}
