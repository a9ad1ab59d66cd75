/*
 * umem_fork_test.c - a process with busy threads forks, again and again; each
 * child goes on as if it were alone.
 *
 * It takes some seconds, or as many forks as QR_TEST_FORKS says.
 */
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { WORKERS = 4, HELD = 200, CHILD_SECONDS = 30 };

static _Atomic bool stop;
static umem_cache_t *shared, *checked;
static vmem_t *arena;

static int
construct(void *buf, void *priv, int flags)
{
	(void)flags;
	memcpy(buf, &priv, sizeof(priv));
	return (0);
}

static void
destruct(void *buf, void *priv)
{
	if (memcmp(buf, &priv, sizeof(priv)) != 0)
		abort();
}

/* A bit of everything; false when something was not as it should be. */
static bool
use_everything(unsigned random)
{
	void *held[HELD];
	size_t size = 1 + random % 3000;
	umem_cache_t *cp = umem_cache_create(
	    "private", size, 0, NULL, NULL, NULL, NULL, NULL, 0);
	void *one = umem_cache_alloc(cp, UMEM_DEFAULT);
	void *made = umem_cache_alloc(checked, UMEM_DEFAULT);
	void *integer = vmem_alloc(arena, 1 + random % 12, VM_NOSLEEP);
	void *aligned = umem_alloc_align(size, 256, UMEM_DEFAULT);
	bool ok = one && made && integer && aligned;

	for (size_t i = 0; i < HELD; i++) {
		held[i] = i % 3 == 0 ? umem_cache_alloc(shared, UMEM_DEFAULT)
				     : umem_alloc(size + i * 8, UMEM_DEFAULT);
		ok = ok && held[i] != NULL;
		if (held[i] != NULL)
			memset(held[i], 1, 64 < size ? 64 : size);
	}
	for (size_t i = 0; i < HELD; i++) {
		if (i % 3 == 0)
			umem_cache_free(shared, held[i]);
		else
			umem_free(held[i], size + i * 8);
	}
	umem_free_align(aligned, size);
	vmem_free(arena, integer, 1 + random % 12);
	umem_cache_free(checked, made);
	umem_cache_free(cp, one);
	umem_cache_destroy(cp);
	return (ok);
}

static void *
work(void *arg)
{
	unsigned random = (unsigned)(uintptr_t)arg;

	while (!stop) {
		random = random * 1664525 + 1013904223;
		if (!use_everything(random >> 8))
			abort();
		if (random >> 24 == 0)
			(void)quarry_reap();
	}
	return (NULL);
}

/* In the child: alone at first, then with threads of its own. */
static void
live(unsigned random)
{
	pthread_t threads[2];
	int fd = open("/dev/null", O_WRONLY);

	(void)alarm(CHILD_SECONDS);
	for (unsigned i = 0; i < 3; i++) {
		if (!use_everything(random + i))
			_exit(1);
	}
	umem_reap();
	(void)quarry_reap();
	if (quarry_stats_write(fd, "text") != 0)
		_exit(2);
	look_check();
	stop = false;
	for (uintptr_t i = 0; i < 2; i++) {
		if (pthread_create(&threads[i], NULL, work, (void *)i) != 0)
			_exit(3);
	}
	if (!use_everything(random + 5))
		_exit(4);
	stop = true;
	for (size_t i = 0; i < 2; i++)
		(void)pthread_join(threads[i], NULL);
	umem_cache_destroy(shared);
	umem_cache_destroy(checked);
	vmem_destroy(arena);
	look_check();
	_exit(0);
}

/* Threads of the parent hold some objects, which the child never frees. */
static void
fork_and_wait(unsigned random)
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		/* "Not empty", and "leaked", are right here. */
		(void)close(STDERR_FILENO);
		live(random);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static double
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

static void
t74_every_child_of_a_busy_process_goes_on(void **state)
{
	const char *wanted = getenv("QR_TEST_FORKS");
	unsigned least = wanted == NULL ? 4 : (unsigned)atoi(wanted);
	double until = now() + (look_quick() ? 1 : 5);
	pthread_t workers[WORKERS];
	unsigned forks = 0;
	(void)state;

	shared = umem_cache_create(
	    "shared", 300, 0, NULL, NULL, NULL, NULL, NULL, 0);
	checked = umem_cache_create(
	    "checked", 64, 0, construct, destruct, NULL, &shared, NULL, 0);
	arena = vmem_create("integers", (void *)1, 1 << 20, 1, NULL, NULL, NULL,
	    8, VM_NOSLEEP | VMC_IDENTIFIER);
	for (uintptr_t i = 0; i < WORKERS; i++)
		assert_int_equal(
		    pthread_create(&workers[i], NULL, work, (void *)(i + 1)),
		    0);
	while (forks < least || (wanted == NULL && now() < until))
		fork_and_wait(forks++);
	stop = true;
	for (size_t i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(workers[i], NULL), 0);
	look_check();
	umem_cache_destroy(shared);
	umem_cache_destroy(checked);
	vmem_destroy(arena);
	print_message("%u forks\n", forks);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t74_every_child_of_a_busy_process_goes_on),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
