/*
 * vmem_fuzz.c - bytes from libFuzzer are operations on an arena and on the
 * oracle of the model test: 12 for each, after one for the shape.
 *
 * Every run of the tests spends a few seconds on it.  For longer:
 *
 *	mkdir -p corpus
 *	build/asan/tests/fuzz_vmem -max_len=6000 -fork=2 \
 *	    -max_total_time=3600 corpus
 *
 * What it finds it writes to a file crash-*, which as the only argument runs
 * again, and with -minimize_crash=1 -runs=10000 becomes shorter.
 */
#include "model/vmem_ops.h"

enum { OPS_MAX = 1000, FRESH = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(
    uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

static struct op ops[OPS_MAX];

/* Now and then a list as the model test has them, for the fuzzer to start from. */
size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	size_t n = qr_min((max - 1) / sizeof(ops[0]), OPS_MAX);

	if (seed % FRESH != 0 || n == 0)
		return (LLVMFuzzerMutate(data, size, max));
	n = 1 + seed / FRESH % n;
	make_ops(seed, ops, n);
	data[0] = (uint8_t)(seed >> 24);
	memcpy(data + 1, ops, n * sizeof(ops[0]));
	return (1 + n * sizeof(ops[0]));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world w;
	size_t n, at;

	if (size <= sizeof(ops[0]))
		return (0);
	n = qr_min((size - 1) / sizeof(ops[0]), OPS_MAX);
	memcpy(ops, data + 1, n * sizeof(ops[0]));
	at = oracle_run(&w, data[0], ops, n, 8);
	if (at < n) {
		(void)fprintf(stderr, "step %zu: %s\n", at, w.w_why);
		abort();
	}
	return (0);
}
