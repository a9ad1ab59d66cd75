/*
 * panic.h - what happens when something is wrong.
 *
 * Out of memory is not here: it is a return value.
 */
#ifndef QR_PANIC_H
#define QR_PANIC_H

#include "base/compiler.h"

#include <stdarg.h>

/*
 * The caller of the library broke its contract.  Hand the message to the
 * panic hook; without one, write it to stderr and raise SIGABRT.  Returns only
 * when a hook was set and returned: the operation must then fail (NULL,
 * EINVAL) or do nothing.
 */
QR_COLD void qr_panic(const char *fmt, ...) QR_PRINTF(1, 2);
QR_COLD void qr_vpanic(const char *fmt, va_list ap);

/* The same, with a message of any length and as many lines as it likes. */
QR_COLD void qr_panic_text(const char *text);

/*
 * Memory of the library's own is corrupt, or a lock protocol was broken: as
 * qr_panic, but no hook is asked, for nothing can go on.
 */
QR_COLD QR_NORETURN void qr_fatal(const char *fmt, ...) QR_PRINTF(1, 2);
QR_COLD QR_NORETURN void qr_verify_failed(
    const char *expr, const char *file, int line);

/*
 * A line on stderr that is not fatal: "quarry: " + text + newline.  Keeps
 * errno.
 */
QR_COLD void qr_warn(const char *fmt, ...) QR_PRINTF(1, 2);

/*
 * Raise SIGABRT, so that a handler runs once, then again with the default
 * action.  Async-signal-safe; never returns and never frees.
 */
QR_COLD QR_NORETURN void qr_abort(void);

/* NULL is the default action.  Returns the former hook. */
typedef void qr_panic_hook_t(const char *message);
qr_panic_hook_t *qr_set_panic_hook(qr_panic_hook_t *hook);

#define QR_VERIFY(expr)            \
	(QR_LIKELY(expr) ? (void)0 \
			 : qr_verify_failed(#expr, __FILE__, __LINE__))

#ifdef QR_DEBUG
#define QR_ASSERT(expr) QR_VERIFY(expr)
#else
#define QR_ASSERT(expr) ((void)sizeof(!(expr)))
#endif

#endif /* QR_PANIC_H */
