/*
 * panic.c - what happens when something is wrong.
 *
 * Messages are built on the stack and written by write(2): a panic may come
 * from inside malloc, in a signal handler, with any lock held.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/panic.h"

#include "base/fmt.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* Bytes of a message with its newline or NUL; the rest is cut off. */
enum { MESSAGE_MAX = 1024 };

static qr_panic_hook_t *_Atomic panic_hook;

static void
write_all(const char *s, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, s, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		s += n;
		len -= (size_t)n;
	}
}

/* One write, so that lines of several threads do not mix. */
static void
write_line(const char *prefix, const char *fmt, va_list ap)
{
	char line[MESSAGE_MAX];
	const size_t room = sizeof(line) - 1;
	size_t len = qr_snprintf(line, room, "%s", prefix);

	len += qr_vsnprintf(line + len, room - len, fmt, ap);
	if (len >= room)
		len = room - 1;
	line[len] = '\n';
	write_all(line, len + 1);
}

/*
 * SIGABRT is not unblocked before the first raise: inside the program's own
 * SIGABRT handler, where it is blocked, a second abort must not run the
 * handler again.
 */
void
qr_abort(void)
{
	struct sigaction sa = {.sa_handler = SIG_DFL};
	sigset_t abrt;

	(void)raise(SIGABRT);

	(void)sigaction(SIGABRT, &sa, NULL);
	(void)sigemptyset(&abrt);
	(void)sigaddset(&abrt, SIGABRT);
	(void)pthread_sigmask(SIG_UNBLOCK, &abrt, NULL);
	(void)raise(SIGABRT);
	/* The first process of a namespace survives even that. */
	__builtin_trap();
}

void
qr_vpanic(const char *fmt, va_list ap)
{
	qr_panic_hook_t *hook =
	    atomic_load_explicit(&panic_hook, memory_order_acquire);
	char message[MESSAGE_MAX];

	if (hook == NULL) {
		write_line("", fmt, ap);
		qr_abort();
	}
	(void)qr_vsnprintf(message, sizeof(message), fmt, ap);
	hook(message);
}

void
qr_panic_text(const char *text)
{
	qr_panic_hook_t *hook =
	    atomic_load_explicit(&panic_hook, memory_order_acquire);
	size_t len = strlen(text);

	if (hook == NULL) {
		write_all(text, len);
		if (len == 0 || text[len - 1] != '\n')
			write_all("\n", 1);
		qr_abort();
	}
	hook(text);
}

void
qr_panic(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	qr_vpanic(fmt, ap);
	va_end(ap);
}

void
qr_fatal(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	write_line("", fmt, ap);
	va_end(ap);
	qr_abort();
}

void
qr_verify_failed(const char *expr, const char *file, int line)
{
	qr_fatal(
	    "quarry: assertion failed: %s, file %s, line %d", expr, file, line);
}

void
qr_warn(const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	va_start(ap, fmt);
	write_line("quarry: ", fmt, ap);
	va_end(ap);
	errno = saved;
}

qr_panic_hook_t *
qr_set_panic_hook(qr_panic_hook_t *hook)
{
	return (
	    atomic_exchange_explicit(&panic_hook, hook, memory_order_acq_rel));
}
