/*
 * modest.c - what most programs do to a malloc: two threads with some blocks of
 * many sizes each, half of which the other one frees.  Ends as cat does with the
 * map of its own memory, for who wants to know what that took.
 */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum { THREADS = 2, BLOCKS = 400, ROUNDS = 100, LARGE = 200000 };

static void *_Atomic passed[BLOCKS];

static size_t
size_of(unsigned n)
{
	return (n % 100 == 99 ? LARGE : 8 + n * 37 % 3000);
}

static void *
work(void *arg)
{
	static _Thread_local void *mine[BLOCKS];

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < BLOCKS; i++) {
			mine[i] = malloc(size_of(i + round));
			CHECK(mine[i] != NULL);
			memset(mine[i], 1, size_of(i + round));
		}
		for (unsigned i = 0; i < BLOCKS; i++)
			free(i % 2 == 0 ? mine[i]
					: atomic_exchange(&passed[i], mine[i]));
	}
	return (arg);
}

int
main(void)
{
	pthread_t thread[THREADS];
	char text[4096];
	ssize_t n;
	int fd;

	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_create(&thread[i], NULL, work, NULL) == 0);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
	for (unsigned i = 0; i < BLOCKS; i++)
		free(atomic_load(&passed[i]));
	fd = open("/proc/self/smaps", O_RDONLY);
	CHECK(fd >= 0);
	while ((n = read(fd, text, sizeof(text))) > 0)
		CHECK(write(STDOUT_FILENO, text, (size_t)n) == n);
	return (EXIT_SUCCESS);
}
