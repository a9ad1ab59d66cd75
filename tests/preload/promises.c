/*
 * promises.c - limits of the system that a malloc is expected to live with:
 * little stack, locked memory, few mappings, pages that nobody touched.
 */
#define _GNU_SOURCE 1 /* mlockall, MAP_ANONYMOUS */

#include "check.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#define MIB ((size_t)1 << 20)

/* ---- pages ---- */

static void
calloc_of_3_GiB_touches_next_to_nothing(void)
{
	const size_t size = 3072 * MIB;
	size_t before = check_resident();

	for (int round = 0; round < 3; round++) {
		char *p = calloc(3, size / 3);

		CHECK(p != NULL);
		CHECK(p[0] == 0 && p[size / 2] == 0 && p[size - 1] == 0);
		p[size / 2] = 1;
		CHECK(check_resident() < before + 8 * MIB);
		free(p);
	}
}

/* ---- mappings ---- */

static unsigned
mappings(void)
{
	char text[4096];
	unsigned lines = 0;
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	CHECK(fd >= 0);
	while ((n = read(fd, text, sizeof(text))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			lines += text[i] == '\n';
	}
	CHECK(n == 0 && close(fd) == 0 && lines > 0);
	return (lines);
}

/* The system allows 65530, and those of others count too. */
enum { MAPPINGS_MAX = 2000, HELD = 20000, BLOCKS = 1000000 };

static void *held[HELD];

static size_t
large_size(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (132 * 1024 + (*seed >> 33) % (300 * 1024));
}

static void
a_million_large_blocks_need_few_mappings(void)
{
	uint64_t seed = 1;
	unsigned most = 0;

	for (size_t i = 0; i < BLOCKS; i++) {
		size_t size = large_size(&seed);
		void **p = &held[(seed >> 20) % HELD];

		free(*p);
		*p = malloc(size);
		CHECK(*p != NULL);
		if (i % 50000 == 0 && mappings() > most)
			most = mappings();
	}
	for (size_t i = 0; i < HELD; i += 2) {
		free(held[i]);
		held[i] = NULL;
	}
	(void)malloc_trim(0);
	check_say(STDOUT_FILENO, "%u mappings, and %u with every other freed\n",
	    most, mappings());
	CHECK(most < MAPPINGS_MAX && mappings() < MAPPINGS_MAX);
	for (size_t i = 1; i < HELD; i += 2)
		free(held[i]);
}

/* ---- stacks ---- */

static void *
use_everything(void *arg)
{
	const size_t size[] = {1, 100, 5000, 100000, 300000, 5000000};
	void *p[sizeof(size) / sizeof(size[0])];

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++) {
			p[i] = calloc(1, size[i]);
			CHECK(p[i] != NULL);
			p[i] = realloc(p[i], size[i] * 2);
			CHECK(p[i] != NULL);
		}
		for (size_t i = 0; i < sizeof(p) / sizeof(p[0]); i++)
			free(p[i]);
		(void)malloc_trim(0);
		CHECK(malloc((size_t)1 << 60) == NULL && errno == ENOMEM);
	}
	return (arg);
}

/* What is below the stack is not to be touched: the C library guards it. */
static void
threads_with_stacks_of_16_KiB_allocate(void)
{
	pthread_attr_t attr;
	pthread_t id[8];

	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setstacksize(&attr, 16 << 10) == 0);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < 8; i++)
			CHECK(pthread_create(
				  &id[i], &attr, use_everything, NULL) == 0);
		for (size_t i = 0; i < 8; i++)
			CHECK(pthread_join(id[i], NULL) == 0);
	}
	CHECK(pthread_attr_destroy(&attr) == 0);
}

/* ---- the end ---- */

static void *
allocate_for_ever(void *arg)
{
	for (size_t i = 0;; i++)
		free(calloc(1, i * 37 % 200000));
	return (arg);
}

static void
a_process_may_exit_while_its_threads_allocate(void)
{
	for (int i = 0; i < 40; i++) {
		pid_t pid = fork();
		pthread_t id;
		int status;

		CHECK(pid != -1);
		if (pid == 0) {
			(void)alarm(60);
			for (int t = 0; t < 4; t++)
				CHECK(pthread_create(&id, NULL,
					  allocate_for_ever, NULL) == 0);
			(void)usleep((useconds_t)i * 200);
			exit(7);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	}
}

/* ---- locked memory ---- */

static void
allocate_locked(void)
{
	size_t before;

	/* Without MCL_ONFAULT the table of 64 GiB that is there would be filled. */
	if (mlockall(MCL_CURRENT | MCL_ONFAULT) != 0 ||
	    mlockall(MCL_FUTURE) != 0)
		_exit(CHECK_SKIPPED);
	before = check_resident();
	(void)use_everything(NULL);
	CHECK(check_resident() < before + 64 * MIB);
	CHECK(munlockall() == 0);
}

static void
a_program_may_lock_its_memory(void)
{
	int status = check_status_of(allocate_locked);

	CHECK(status == 0 || status == CHECK_SKIPPED << 8);
}

static const struct check table[] = {
    CHECK_THAT(calloc_of_3_GiB_touches_next_to_nothing),
    CHECK_THAT(a_million_large_blocks_need_few_mappings),
    CHECK_THAT(threads_with_stacks_of_16_KiB_allocate),
    CHECK_THAT(a_process_may_exit_while_its_threads_allocate),
    CHECK_THAT(a_program_may_lock_its_memory),
};

CHECK_MAIN(table)
