/*
 * mpipe_fuzz.c - bytes from libFuzzer are operations on a pipe and on the
 * oracle of the model test: 8 for each, after one for the shape.
 *
 * vmem_fuzz.c tells how to run it for longer.
 */
#include "model/mpipe_ops.h"

enum { OPS_MAX = 50, LONG_CHURNS = 1 };

#include "fuzz/ops_fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how;
	size_t n = take_ops(data, size, &how), at;

	if (n == 0)
		return (0);
	long_churns = LONG_CHURNS;
	at = run_ops(&world, how % SHAPES, ops, n);
	if (at < n) {
		(void)fprintf(stderr, "step %zu: %s\n", at, world.w_why);
		abort();
	}
	return (0);
}
