/*
 * crowd.c - run in a control group of 100 MiB: what is free in pieces goes
 * before memory that is needed takes the process over the limit.
 */
#include "check.h"

#define MIB ((size_t)1 << 20)

enum { BLOCKS = 94, LEFT = 78, MORE = 10 };

static void *
touched(size_t size)
{
	char *p = malloc(size);

	CHECK(p != NULL);
	memset(p, 1, size);
	return (p);
}

int
main(void)
{
	static void *blocks[BLOCKS];

	for (size_t i = 0; i < BLOCKS; i++)
		blocks[i] = touched(MIB - 4096);
	/* Not two next to each other, so that nothing larger fits. */
	for (size_t i = 0; i < 2 * (BLOCKS - LEFT); i += 2)
		free(blocks[i]);
	free(touched(MORE * MIB));
	return (0);
}
