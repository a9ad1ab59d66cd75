/*
 * child.c - run a function in a forked child and look at how it ended.
 */
#include "support/child.h"

#include <errno.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CHECK_FAILED = 99, SECONDS = 60 };

/* CMocka's handlers would turn a death by a signal into a failed assertion. */
static void
forget_handlers(void)
{
	static const int signals[] = {
	    SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGSYS};

	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)signal(signals[i], SIG_DFL);
}

static void
run_and_exit(int fd, void (*fn)(void *), void *arg)
{
	const struct rlimit no_core = {0, 0};

	forget_handlers();
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)dup2(fd, STDERR_FILENO);
	(void)close(fd);
	(void)alarm(SECONDS);
	fn(arg);
	_exit(0);
}

/* Read to the end, so that the child never waits; keep what fits. */
static void
collect(struct child *c, int fd)
{
	char buf[1024];
	ssize_t n;

	c->c_len = 0;
	while (
	    (n = read(fd, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR)) {
		size_t room = sizeof(c->c_stderr) - 1 - c->c_len;
		size_t len = n < 0 ? 0 : (size_t)n;

		len = len < room ? len : room;
		memcpy(c->c_stderr + c->c_len, buf, len);
		c->c_len += len;
	}
	c->c_stderr[c->c_len] = '\0';
}

void
child_run(struct child *c, void (*fn)(void *), void *arg)
{
	int fds[2], status;
	pid_t pid;

	(void)fflush(NULL);
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_int_not_equal(pid, -1);
	if (pid == 0) {
		(void)close(fds[0]);
		run_and_exit(fds[1], fn, arg);
	}
	(void)close(fds[1]);
	collect(c, fds[0]);
	(void)close(fds[0]);
	while (waitpid(pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	c->c_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
	c->c_status = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

static void
expect_signal(const struct child *c, int signal)
{
	if (c->c_signal != signal)
		fail_msg("signal %d, exit status %d instead of signal %d: %s",
		    c->c_signal, c->c_status, signal, c->c_stderr);
}

void
child_expect_abort(void (*fn)(void *), void *arg, const char *message)
{
	struct child c;
	size_t len = strlen(message);

	child_run(&c, fn, arg);
	expect_signal(&c, SIGABRT);
	if (c.c_len != len + 1 || strncmp(c.c_stderr, message, len) != 0 ||
	    c.c_stderr[len] != '\n')
		fail_msg("stderr is\n%sinstead of\n%s", c.c_stderr, message);
}

void
child_expect_abort_like(void (*fn)(void *), void *arg, const char *pattern)
{
	struct child c;

	child_run(&c, fn, arg);
	expect_signal(&c, SIGABRT);
	if (c.c_len > 0 && c.c_stderr[c.c_len - 1] == '\n')
		c.c_stderr[c.c_len - 1] = '\0';
	if (fnmatch(pattern, c.c_stderr, 0) != 0)
		fail_msg(
		    "stderr is\n%s\nand not like\n%s", c.c_stderr, pattern);
}

void
child_expect_exit(void (*fn)(void *), void *arg, int status)
{
	struct child c;

	child_run(&c, fn, arg);
	expect_signal(&c, 0);
	if (c.c_status != status)
		fail_msg("exit status %d instead of %d: %s", c.c_status, status,
		    c.c_stderr);
}

void
child_check_failed(const char *expr, const char *file, int line)
{
	(void)dprintf(STDERR_FILENO, "%s:%d: %s is false\n", file, line, expr);
	_exit(CHECK_FAILED);
}
