/*
 * startup.c - the system calls that the preload adds to a program that does
 * nothing, counted by tracing it.
 *
 *   startup <library> <program>
 */
#include "check.h"

#include <sys/ptrace.h>
#include <sys/wait.h>

enum { CALLS_MAX = 24 };

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

int
main(int argc, char **argv)
{
	unsigned n[2];

	CHECK(argc == 3);
	library = argv[1];
	program = argv[2];
	n[0] = calls(0);
	n[1] = calls(1);
	(void)printf("%u system calls, with the library %u\n", n[0], n[1]);
	CHECK(n[1] > n[0] && n[1] <= n[0] + CALLS_MAX);
	return (0);
}
