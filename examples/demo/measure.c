/*
 * measure.c - run a command and say what it cost.
 *
 *	measure RESULT LIBRARY COMMAND [ARGUMENT...]
 *
 * LIBRARY is preloaded into the command unless it is empty.  RESULT receives
 * one line: elapsed and processor time in milliseconds and peak resident
 * memory in kilobytes, the largest of the command and the children it waited
 * for.  Exits as the command did.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6);
}

static double
cpu_ms(const struct rusage *ru)
{
	return ((double)(ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1e3 +
	    (double)(ru->ru_utime.tv_usec + ru->ru_stime.tv_usec) / 1e3);
}

/* The command must not outlive us: a server is ended by ending us. */
static _Noreturn void
run(const char *library, char **argv)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (library[0] != '\0' && setenv("LD_PRELOAD", library, 1) != 0)
		_exit(126);
	(void)execvp(argv[0], argv);
	perror(argv[0]);
	_exit(127);
}

int
main(int argc, char **argv)
{
	struct rusage ru;
	double start;
	FILE *result;
	pid_t pid;
	int status;

	if (argc < 4) {
		fprintf(stderr, "usage: measure result library command ...\n");
		return (2);
	}
	start = now_ms();
	pid = fork();
	if (pid == 0)
		run(argv[2], argv + 3);
	if (pid < 0 || wait4(pid, &status, 0, &ru) != pid) {
		perror("measure");
		return (2);
	}
	result = fopen(argv[1], "w");
	if (result == NULL ||
	    fprintf(result, "%.3f %.3f %ld\n", now_ms() - start, cpu_ms(&ru),
		ru.ru_maxrss) < 0 ||
	    fclose(result) != 0) {
		perror(argv[1]);
		return (2);
	}
	return (
	    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}
