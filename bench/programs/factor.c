/*
 * factor.c - a factoring program that keeps every number in a block of its own.
 *
 *	factor ROUNDS
 *
 * Numbers are immutable: each operation allocates its result, and what is no
 * longer needed is freed at once.  Blocks are of 16 to 64 bytes, live for a few
 * operations, and are what most of the time goes into.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Little-endian, no leading zero limbs. */
struct num {
	uint32_t n_count;
	uint32_t n_limb[];
};

static struct num *
num_new(uint32_t count)
{
	struct num *n = malloc(sizeof(*n) + count * sizeof(n->n_limb[0]));

	if (n == NULL)
		abort();
	n->n_count = count;
	return (n);
}

static struct num *
trimmed(struct num *n)
{
	while (n->n_count > 0 && n->n_limb[n->n_count - 1] == 0)
		n->n_count--;
	return (n);
}

static struct num *
num_from(uint64_t v)
{
	struct num *n = num_new(2);

	n->n_limb[0] = (uint32_t)v;
	n->n_limb[1] = (uint32_t)(v >> 32);
	return (trimmed(n));
}

static struct num *
num_multiply(const struct num *a, const struct num *b)
{
	struct num *r = num_new(a->n_count + b->n_count);

	memset(r->n_limb, 0, r->n_count * sizeof(r->n_limb[0]));
	for (uint32_t i = 0; i < a->n_count; i++) {
		uint64_t carry = 0;

		for (uint32_t k = 0; k < b->n_count; k++) {
			carry += r->n_limb[i + k] +
			    (uint64_t)a->n_limb[i] * b->n_limb[k];
			r->n_limb[i + k] = (uint32_t)carry;
			carry >>= 32;
		}
		r->n_limb[i + b->n_count] = (uint32_t)carry;
	}
	return (trimmed(r));
}

static struct num *
num_add(const struct num *a, uint32_t b)
{
	struct num *r = num_new(a->n_count + 1);
	uint64_t carry = b;

	for (uint32_t i = 0; i < a->n_count; i++) {
		carry += a->n_limb[i];
		r->n_limb[i] = (uint32_t)carry;
		carry >>= 32;
	}
	r->n_limb[a->n_count] = (uint32_t)carry;
	return (trimmed(r));
}

/* a modulo a number of at most 64 bits. */
static uint64_t
num_modulo(const struct num *a, uint64_t m)
{
	unsigned __int128 r = 0;

	for (uint32_t i = a->n_count; i-- > 0;)
		r = (r << 32 | a->n_limb[i]) % m;
	return ((uint64_t)r);
}

static uint64_t
gcd(uint64_t a, uint64_t b)
{
	while (b != 0) {
		uint64_t r = a % b;

		a = b;
		b = r;
	}
	return (a);
}

/* x * x + c modulo m; frees x. */
static struct num *
step(struct num *x, uint32_t c, uint64_t m)
{
	struct num *square = num_multiply(x, x);
	struct num *sum = num_add(square, c);
	struct num *rest = num_from(num_modulo(sum, m));

	free(square);
	free(sum);
	free(x);
	return (rest);
}

static uint64_t
value(const struct num *n)
{
	return (num_modulo(n, UINT64_MAX));
}

/* A factor of m by Pollard's rho, which finds m itself if it is prime. */
static uint64_t
factor_of(uint64_t m, uint32_t c)
{
	struct num *slow = num_from(2), *fast = num_from(2);
	uint64_t found = 1;

	while (found == 1) {
		uint64_t a, b;

		slow = step(slow, c, m);
		fast = step(step(fast, c, m), c, m);
		a = value(slow);
		b = value(fast);
		found = gcd(a > b ? a - b : b - a, m);
	}
	free(slow);
	free(fast);
	return (found);
}

int
main(int argc, char **argv)
{
	static const uint64_t composites[] = {1000003ull * 1000033,
	    2147483647ull * 1000099, 4294967291ull * 65537,
	    1000000007ull * 998244353, 67280421310721ull * 3,
	    179424673ull * 179424691};
	long rounds = argc > 1 ? strtol(argv[1], NULL, 0) : 1;
	uint64_t sum = 0;

	for (long r = 0; r < rounds; r++)
		for (size_t i = 0; i < sizeof(composites) / 8; i++)
			sum += factor_of(composites[i], (uint32_t)(1 + 2 * r));
	printf("%llu\n", (unsigned long long)sum);
	return (0);
}
