/*
 * vmem_ops.h - lists of operations for the oracle, made at random.
 */
#ifndef QR_VMEM_OPS_H
#define QR_VMEM_OPS_H

#include "model/vmem_oracle.h"
#include "support/random.h"

/* Kinds come in phases, so that the arena fills and empties. */
static inline void
make_ops(uint64_t seed, struct op *ops, size_t n)
{
	uint64_t state = seed;
	unsigned phase = 0;

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
}

#endif /* QR_VMEM_OPS_H */
