/*
 * plugin_so.c - a library that is loaded by dlopen: it allocates when it comes,
 * when it is asked, and has thread-local storage; it frees when it goes.
 */
#define _GNU_SOURCE 1 /* asprintf */

#include "late.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static __thread char local[6000];
static char *own[64];

__attribute__((constructor)) static void
load(void)
{
	for (size_t i = 0; i < 64; i++)
		own[i] = malloc(i * i * 5);
}

__attribute__((destructor)) static void
unload(void)
{
	for (size_t i = 0; i < 64; i++)
		free(own[i]);
}

void
plugin_make(char *made[PLUGIN_BLOCKS])
{
	void *p = NULL;

	memset(local, 'p', sizeof(local) - 1);
	made[0] = malloc(100);
	made[1] = calloc(10, 10);
	made[2] = aligned_alloc(64, 640);
	made[3] = posix_memalign(&p, 4096, 10000) == 0 ? p : NULL;
	made[4] = strdup(local);
	if (asprintf(&made[5], "%s", local) < 0)
		made[5] = NULL;
	for (size_t i = 0; i < PLUGIN_BLOCKS; i++) {
		if (made[i] != NULL)
			made[i][0] = 'p';
	}
}

size_t
plugin_take(void *block)
{
	size_t size = malloc_usable_size(block);

	free(block);
	return (size);
}

/* Whose is this: the program may have one, too. */
__attribute__((weak)) const char *
plugin_whose(void)
{
	return ("module");
}

const char *
plugin_sees(void)
{
	return (plugin_whose());
}
