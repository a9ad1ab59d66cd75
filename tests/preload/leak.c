/*
 * leak.c - a program that loses 500 blocks of 1000 bytes, and a large one.
 */
#include <stdlib.h>

int
main(void)
{
	for (int i = 0; i < 500; i++) {
		if (malloc(1000) == NULL)
			return (1);
	}
	return (malloc(400000) == NULL);
}
