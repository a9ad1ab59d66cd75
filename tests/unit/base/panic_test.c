/*
 * panic_test.c - messages, hooks, and how the program ends.
 */
#include "base/panic.h"

#include "support/child.h"
#include "support/failsys.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char last_message[2048];

static void
hook(const char *message)
{
	(void)strncpy(last_message, message, sizeof(last_message) - 1);
}

static void
panic_in_child(void *arg)
{
	qr_panic("vmem_free(%s, %d): bad free", (const char *)arg, 7);
}

static void
a_panic_writes_its_message_and_raises_sigabrt(void **state)
{
	char name[] = "heap";
	(void)state;

	child_expect_abort(
	    panic_in_child, name, "vmem_free(heap, 7): bad free");
}

static void
a_panic_returns_when_the_hook_does(void **state)
{
	(void)state;
	assert_null(qr_set_panic_hook(hook));
	qr_panic("size %u of %s", 3u, "it");
	assert_string_equal(last_message, "size 3 of it");
	assert_ptr_equal(qr_set_panic_hook(NULL), hook);
}

static void
panic_without_hook_again(void *arg)
{
	(void)arg;
	(void)qr_set_panic_hook(hook);
	(void)qr_set_panic_hook(NULL);
	qr_panic("default");
}

static void
a_null_hook_is_the_default_again(void **state)
{
	(void)state;
	child_expect_abort(panic_without_hook_again, NULL, "default");
}

static void
fatal_in_child(void *arg)
{
	(void)arg;
	(void)qr_set_panic_hook(hook);
	qr_fatal("slab %p is corrupt", (void *)0xabc0);
}

static void
a_fatal_error_asks_no_hook(void **state)
{
	(void)state;
	child_expect_abort(fatal_in_child, NULL, "slab 0xabc0 is corrupt");
}

static void
verify_in_child(void *arg)
{
	QR_VERIFY(arg != NULL);
	qr_verify_failed("a == b", "lib/x.c", 12);
}

static void
a_failed_verify_names_expression_file_and_line(void **state)
{
	char yes;
	(void)state;

	child_expect_abort_like(verify_in_child, NULL,
	    "quarry: assertion failed: arg != NULL, file *panic_test.c, "
	    "line [0-9]*");
	child_expect_abort(verify_in_child, &yes,
	    "quarry: assertion failed: a == b, file lib/x.c, line 12");
}

static void
warn_in_child(void *arg)
{
	(void)arg;
	errno = 77;
	qr_warn("option %s ignored", "x");
	CHILD_CHECK(errno == 77);
	(void)close(STDERR_FILENO);
	qr_warn("nobody reads this");
	CHILD_CHECK(errno == 77);
}

static void
a_warning_is_a_line_that_leaves_errno_alone(void **state)
{
	struct child c;
	(void)state;

	child_run(&c, warn_in_child, NULL);
	assert_string_equal(c.c_stderr, "quarry: option x ignored\n");
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
}

static void
interrupted_in_child(void *arg)
{
	(void)arg;
	failsys_nth(FAILSYS_WRITE, 1, EINTR);
	qr_panic("said all the same");
}

static void
a_write_that_a_signal_interrupts_is_repeated(void **state)
{
	(void)state;
	child_expect_abort(interrupted_in_child, NULL, "said all the same");
}

static void
a_message_too_long_is_cut_but_still_a_line(void **state)
{
	static char text[3000];
	struct child c;
	(void)state;

	memset(text, 'x', sizeof(text) - 1);
	child_run(&c, panic_in_child, text);
	assert_int_equal(c.c_signal, SIGABRT);
	assert_int_equal(c.c_len, 1023);
	assert_int_equal(c.c_stderr[0], 'v');
	assert_int_equal(c.c_stderr[1021], 'x');
	assert_int_equal(c.c_stderr[1022], '\n');

	(void)qr_set_panic_hook(hook);
	qr_panic("%s", text);
	(void)qr_set_panic_hook(NULL);
	assert_int_equal(strlen(last_message), 1023);
}

static void
say_handled(int signal)
{
	(void)signal;
	(void)write(STDERR_FILENO, "handled\n", 8);
}

static void
abort_again(int signal)
{
	say_handled(signal);
	qr_abort();
}

/* Abort with the handler at arg in place; blocked at NULL. */
static void
abort_with_handler(void *arg)
{
	struct sigaction sa = {0};
	sigset_t set;

	sa.sa_handler = say_handled;
	if (arg != NULL)
		sa.sa_handler = *(void (**)(int))arg;
	(void)sigaction(SIGABRT, &sa, NULL);
	if (arg == NULL) {
		(void)sigemptyset(&set);
		(void)sigaddset(&set, SIGABRT);
		(void)sigprocmask(SIG_BLOCK, &set, NULL);
	}
	qr_abort();
}

static void
an_abort_runs_the_handler_once_and_then_kills(void **state)
{
	void (*handler)(int) = say_handled;
	(void)state;

	child_expect_abort(abort_with_handler, &handler, "handled");
}

static void
an_abort_in_the_handler_does_not_run_it_again(void **state)
{
	void (*handler)(int) = abort_again;
	(void)state;

	child_expect_abort(abort_with_handler, &handler, "handled");
}

static void
an_abort_kills_though_sigabrt_is_ignored_or_blocked(void **state)
{
	void (*handler)(int) = SIG_IGN;
	struct child c;
	(void)state;

	child_run(&c, abort_with_handler, &handler);
	assert_int_equal(c.c_signal, SIGABRT);
	assert_int_equal(c.c_len, 0);
	child_run(&c, abort_with_handler, NULL);
	assert_int_equal(c.c_signal, SIGABRT);
	assert_int_equal(c.c_len, 0);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_panic_writes_its_message_and_raises_sigabrt),
	    cmocka_unit_test(a_panic_returns_when_the_hook_does),
	    cmocka_unit_test(a_null_hook_is_the_default_again),
	    cmocka_unit_test(a_fatal_error_asks_no_hook),
	    cmocka_unit_test(a_failed_verify_names_expression_file_and_line),
	    cmocka_unit_test(a_warning_is_a_line_that_leaves_errno_alone),
	    cmocka_unit_test(a_write_that_a_signal_interrupts_is_repeated),
	    cmocka_unit_test(a_message_too_long_is_cut_but_still_a_line),
	    cmocka_unit_test(an_abort_runs_the_handler_once_and_then_kills),
	    cmocka_unit_test(an_abort_in_the_handler_does_not_run_it_again),
	    cmocka_unit_test(
		an_abort_kills_though_sigabrt_is_ignored_or_blocked),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
