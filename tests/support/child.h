/*
 * child.h - run a function in a forked child and look at how it ended.
 *
 * Needs CMocka, and no --wrap option.
 */
#ifndef QR_TEST_CHILD_H
#define QR_TEST_CHILD_H

#include <stddef.h>

/* How a child ended, and the beginning of what it wrote to stderr. */
struct child {
	int c_signal; /* that killed it, or 0 */
	int c_status; /* of its exit, when c_signal is 0 */
	size_t c_len;
	char c_stderr[8192]; /* ends in a NUL */
};

/*
 * Fork, call fn(arg) with stderr going into c_stderr, and exit with 0 when fn
 * returns.  A child that takes longer than a minute dies of SIGALRM.  CMocka's
 * assertions must not be used in fn: they would jump into the child's copy of
 * the test runner.  Use CHILD_CHECK.
 */
void child_run(struct child *c, void (*fn)(void *), void *arg);

/* Fail the running test unless the child dies of SIGABRT, having written
 * exactly `message` and a newline to stderr. */
void child_expect_abort(void (*fn)(void *), void *arg, const char *message);

/* The same, `pattern` being one for fnmatch(3). */
void child_expect_abort_like(
    void (*fn)(void *), void *arg, const char *pattern);

/* Fail the running test unless the child exits with `status`. */
void child_expect_exit(void (*fn)(void *), void *arg, int status);

/* In the child: exit with status 99, naming `expr`, unless it is true. */
#define CHILD_CHECK(expr) \
	((expr) ? (void)0 : child_check_failed(#expr, __FILE__, __LINE__))
void child_check_failed(const char *expr, const char *file, int line)
    __attribute__((noreturn));

#endif /* QR_TEST_CHILD_H */
