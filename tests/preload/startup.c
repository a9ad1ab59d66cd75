/*
 * startup.c - what the preload costs a program that does nothing.
 *
 *   startup <library> <program>
 *
 * Counts system calls by tracing, and takes the least time of many starts,
 * with and without.
 */
#define _GNU_SOURCE 1 /* environ */

#include "check.h"

#include <spawn.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

enum { STARTS = 150, CALLS_MAX = 24, MICROSECONDS_MAX = 1000 };

extern char **environ;

static const char *library;
static char *program;

static void
preload(int on)
{
	if (on)
		CHECK(setenv("LD_PRELOAD", library, 1) == 0);
	else
		CHECK(unsetenv("LD_PRELOAD") == 0);
}

static void
become_traced(void)
{
	char *argv[] = {program, NULL};

	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
		_exit(CHECK_SKIPPED);
	(void)execv(program, argv);
	_exit(1);
}

/* System calls of a run of the program; each stops it twice. */
static unsigned
calls(int with)
{
	unsigned stops = 0;
	int status;
	pid_t pid;

	preload(with);
	pid = fork();
	CHECK(pid != -1);
	if (pid == 0)
		become_traced();
	for (;;) {
		CHECK(waitpid(pid, &status, 0) == pid);
		if (!WIFSTOPPED(status))
			break;
		stops++;
		CHECK(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHECK_SKIPPED)
		check_skip("tracing is not allowed");
	CHECK(status == 0);
	return (stops / 2);
}

static int64_t
now_ns(void)
{
	struct timespec ts;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
	return (ts.tv_sec * (int64_t)1000000000 + ts.tv_nsec);
}

static int64_t
start_time(int with)
{
	char *argv[] = {program, NULL};
	int64_t begin;
	int status;
	pid_t pid;

	preload(with);
	begin = now_ns();
	CHECK(posix_spawn(&pid, program, NULL, NULL, argv, environ) == 0);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	return (now_ns() - begin);
}

int
main(int argc, char **argv)
{
	int64_t least[2] = {INT64_MAX, INT64_MAX};
	unsigned n[2];

	CHECK(argc == 3);
	library = argv[1];
	program = argv[2];
	for (int i = 0; i < 2 * STARTS; i++) {
		int64_t took = start_time(i % 2);

		if (took < least[i % 2])
			least[i % 2] = took;
	}
	(void)printf("starts in %lld us, with the library in %lld us\n",
	    (long long)least[0] / 1000, (long long)least[1] / 1000);
	CHECK((least[1] - least[0]) / 1000 <= MICROSECONDS_MAX);
	n[0] = calls(0);
	n[1] = calls(1);
	(void)printf("%u system calls, with the library %u\n", n[0], n[1]);
	CHECK(n[1] > n[0] && n[1] <= n[0] + CALLS_MAX);
	return (0);
}
