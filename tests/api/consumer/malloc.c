/*
 * malloc.c - a program that is linked with the malloc family.
 */
#define _GNU_SOURCE
#include <quarry/vmem.h>

#include <stdio.h>
#include <stdlib.h>

int
main(void)
{
	char *volatile p = malloc(100);
	char *line = NULL;
	vmem_t *heap = vmem_heap_arena(NULL, NULL);
	int ours;

	/* asprintf allocates inside libc. */
	if (p == NULL || asprintf(&line, "%d", 42) != 2)
		return (1);
	ours = vmem_contains(heap, p, 100) && vmem_contains(heap, line, 3);
	free(line);
	free(p);
	return (ours ? 0 : 1);
}
