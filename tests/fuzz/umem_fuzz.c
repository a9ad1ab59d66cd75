/*
 * umem_fuzz.c - bytes from libFuzzer are operations on caches, on umem_alloc
 * and on the malloc family, and on the table of the model test: 8 for each,
 * after one for the shape.
 *
 * vmem_fuzz.c tells how to run it for longer.
 */
#include "model/umem_ops.h"

enum { OPS_MAX = 250 };

#include "fuzz/ops_fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t how;
	size_t n = take_ops(data, size, &how);

	if (n > 0)
		run_ops(how, ops, n, 8);
	return (0);
}
