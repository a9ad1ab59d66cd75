/*
 * shrink.c - the shortest list of operations that still goes wrong.
 */
#include "support/shrink.h"

#include <stdlib.h>
#include <string.h>

/* The length of the shortest failing beginning. */
static size_t
shortest_prefix(const void *ops, size_t n, shrink_passes_t *passes, void *arg)
{
	size_t good = 0;

	while (n - good > 1) {
		size_t mid = good + (n - good) / 2;

		if (passes(ops, mid, arg))
			good = mid;
		else
			n = mid;
	}
	return (n);
}

static size_t
shrink_once(
    void *ops, size_t n, size_t size, shrink_passes_t *passes, void *arg)
{
	char *fewer = malloc(n * size);
	char *all = ops;

	for (size_t chunk = n / 2; fewer != NULL && chunk > 0; chunk /= 2) {
		for (size_t i = 0; i + chunk <= n;) {
			memcpy(fewer, all, i * size);
			memcpy(fewer + i * size, all + (i + chunk) * size,
			    (n - i - chunk) * size);
			if (passes(fewer, n - chunk, arg)) {
				i += chunk;
				continue;
			}
			n -= chunk;
			memcpy(all, fewer, n * size);
		}
	}
	free(fewer);
	return (n);
}

/* What could not be deleted before may be when something else has gone. */
size_t
shrink_list(
    void *ops, size_t n, size_t size, shrink_passes_t *passes, void *arg)
{
	size_t before;

	n = shortest_prefix(ops, n, passes, arg);
	do {
		before = n;
		n = shrink_once(ops, n, size, passes, arg);
	} while (n < before);
	return (n);
}
