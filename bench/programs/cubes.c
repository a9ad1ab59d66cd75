/*
 * cubes.c - two-level logic minimisation, naively: a program of small sets in
 * linked lists.
 *
 *	cubes VARIABLES CUBES
 *
 * A cube has two bits for each variable; a cover is a list of cubes.  Cubes that
 * differ in one variable are merged until none can be, and those that others
 * cover are dropped; every set and every list node is a block.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cube {
	struct cube *c_next;
	uint64_t *c_set;
};

static size_t words;
static uint64_t seed = 88172645463325252u;

static uint64_t
next_random(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed);
}

static void *
get(size_t size)
{
	void *p = malloc(size);

	if (p == NULL)
		abort();
	return (p);
}

static struct cube *
cube_new(struct cube *next)
{
	struct cube *c = get(sizeof(*c));

	c->c_set = get(words * sizeof(uint64_t));
	c->c_next = next;
	return (c);
}

static void
cube_free(struct cube *c)
{
	free(c->c_set);
	free(c);
}

/* Each variable true, false or (one time in four) either. */
static struct cube *
cube_random(struct cube *next, size_t variables)
{
	struct cube *c = cube_new(next);

	memset(c->c_set, 0, words * sizeof(uint64_t));
	for (size_t v = 0; v < variables; v++) {
		uint64_t dice = next_random() % 8;
		uint64_t bits = dice < 2 ? 3 : 1 + dice % 2;

		c->c_set[v / 32] |= bits << (v % 32 * 2);
	}
	return (c);
}

static bool
covers(const struct cube *a, const struct cube *b)
{
	for (size_t w = 0; w < words; w++)
		if ((b->c_set[w] & ~a->c_set[w]) != 0)
			return (false);
	return (true);
}

/* In how many variables do they differ? */
static int
distance(const struct cube *a, const struct cube *b)
{
	int n = 0;

	for (size_t w = 0; w < words; w++) {
		uint64_t x = a->c_set[w] ^ b->c_set[w];

		n += __builtin_popcountl(
		    (x | x >> 1) & UINT64_C(0x5555555555555555));
	}
	return (n);
}

static struct cube *
merged(struct cube *next, const struct cube *a, const struct cube *b)
{
	struct cube *c = cube_new(next);

	for (size_t w = 0; w < words; w++)
		c->c_set[w] = a->c_set[w] | b->c_set[w];
	return (c);
}

/* Drop the cubes of a list that `c`, which is not on it, covers. */
static void
drop_covered(struct cube **list, const struct cube *c)
{
	while (*list != NULL) {
		struct cube *other = *list;

		if (covers(c, other)) {
			*list = other->c_next;
			cube_free(other);
		} else {
			list = &other->c_next;
		}
	}
}

/* All cubes of a cover with what they merge to, in new blocks. */
static struct cube *
expand(struct cube *cover, bool *changed)
{
	struct cube *result = NULL;

	for (struct cube *a = cover; a != NULL; a = a->c_next) {
		struct cube *best = merged(NULL, a, a);

		for (struct cube *b = a->c_next; b != NULL; b = b->c_next) {
			struct cube *both;

			if (distance(best, b) > 1)
				continue;
			both = merged(NULL, best, b);
			*changed |= !covers(best, both);
			cube_free(best);
			best = both;
		}
		drop_covered(&result, best);
		best->c_next = result;
		result = best;
	}
	return (result);
}

int
main(int argc, char **argv)
{
	size_t variables = argc > 1 ? strtoul(argv[1], NULL, 0) : 12;
	size_t n = argc > 2 ? strtoul(argv[2], NULL, 0) : 1000, left = 0;
	struct cube *cover = NULL;
	bool changed = true;

	words = (variables * 2 + 63) / 64;
	for (size_t i = 0; i < n; i++)
		cover = cube_random(cover, variables);
	for (int round = 0; changed && round < 8; round++) {
		struct cube *old = cover;

		changed = false;
		cover = expand(old, &changed);
		while (old != NULL) {
			struct cube *next = old->c_next;

			cube_free(old);
			old = next;
		}
	}
	while (cover != NULL) {
		struct cube *next = cover->c_next;

		left++;
		cube_free(cover);
		cover = next;
	}
	printf("%zu cubes of %zu\n", left, n);
	return (0);
}
