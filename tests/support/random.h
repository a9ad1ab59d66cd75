/*
 * random.h - numbers that look random, the same for the same seed.
 */
#ifndef QR_TEST_RANDOM_H
#define QR_TEST_RANDOM_H

#include <stdint.h>

/* The next number of the sequence that *state, any number, begins. */
static inline uint64_t
random_next(uint64_t *state)
{
	uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return (z ^ z >> 31);
}

#endif /* QR_TEST_RANDOM_H */
