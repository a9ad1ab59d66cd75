/*
 * late_so.c - a library whose constructor runs before that of the preloaded
 * one, and whose destructor runs after it.
 */
#include "late.h"

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCKS = 10 };

static char *block[BLOCKS];

static size_t
size_of(size_t i)
{
	return ((size_t)20 << 2 * i % 17);
}

__attribute__((constructor)) static void
load(void)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		block[i] = malloc(size_of(i));
		if (block[i] != NULL)
			memset(block[i], (int)i + 1, size_of(i));
	}
}

bool
late_is_loaded(void)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		if (block[i] == NULL || block[i][0] != (char)(i + 1))
			return (false);
	}
	return (true);
}

static void *
churn(void *arg)
{
	for (size_t i = 0; i < 2000; i++)
		free(calloc(1, i * 37));
	return (arg);
}

__attribute__((destructor)) static void
t93_malloc_works_to_the_end(void)
{
	static const char fine[] = "late: malloc works to the end\n";
	static const char lost[] = "late: something was lost\n";
	bool whole = late_is_loaded();
	pthread_t id;

	for (size_t i = 0; i < BLOCKS; i++) {
		block[i] = realloc(block[i], size_of(i) + 5000);
		whole = whole && block[i] != NULL &&
		    block[i][size_of(i) - 1] == (char)(i + 1);
		free(block[i]);
	}
	(void)churn(NULL);
	if (pthread_create(&id, NULL, churn, NULL) == 0)
		(void)pthread_join(id, NULL);
	(void)malloc_trim(0);
	(void)churn(NULL);
	if (write(1, whole ? fine : lost, strlen(whole ? fine : lost)) < 0)
		_exit(1);
}
