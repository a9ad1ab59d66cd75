/*
 * ops_fuzz.h - bytes from libFuzzer as a list of operations, after one for the
 * shape.  Before it come struct op, make_ops() and OPS_MAX.
 */
#ifndef QR_OPS_FUZZ_H
#define QR_OPS_FUZZ_H

#include "base/bits.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(
    uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/* One list in so many is as the model test has them, to start from. */
enum { LISTS_MADE = 8 };

static struct op ops[OPS_MAX];

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	size_t n = qr_min((max - 1) / sizeof(ops[0]), OPS_MAX);

	if (seed % LISTS_MADE != 0 || n == 0)
		return (LLVMFuzzerMutate(data, size, max));
	n = 1 + seed / LISTS_MADE % n;
	make_ops(seed, ops, n);
	data[0] = (uint8_t)(seed >> 24);
	memcpy(data + 1, ops, n * sizeof(ops[0]));
	return (1 + n * sizeof(ops[0]));
}

/* Fill in ops[]; how many there are, and the shape. */
static inline size_t
take_ops(const uint8_t *data, size_t size, uint8_t *how)
{
	size_t n;

	if (size <= sizeof(ops[0]))
		return (0);
	*how = data[0];
	n = qr_min((size - 1) / sizeof(ops[0]), OPS_MAX);
	memcpy(ops, data + 1, n * sizeof(ops[0]));
	return (n);
}

#endif /* QR_OPS_FUZZ_H */
