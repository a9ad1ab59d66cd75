/*
 * malloc_atfork.c - whoever registers handlers of fork has us register first.
 *
 * pthread_atfork() is a part of each program and library that calls it, and
 * calls __register_atfork(), which we stand before as we do before malloc.
 */
#include "malloc/malloc_libc.h"
#include "os/os_fork.h"

#include <errno.h>

typedef int register_t(os_fork_handler_t *prepare, os_fork_handler_t *parent,
    os_fork_handler_t *child, void *library);

QR_EXPORT register_t quarry_register_atfork __asm__("__register_atfork");

static int
register_in_libc(os_fork_handler_t *prepare, os_fork_handler_t *parent,
    os_fork_handler_t *child, void *library)
{
	register_t *next;

	*(void **)&next = malloc__libc_symbol("__register_atfork");
	return (next == NULL ? ENOSYS : next(prepare, parent, child, library));
}

/* We are never unloaded. */
int
os_fork_register(os_fork_handler_t *prepare, os_fork_handler_t *parent,
    os_fork_handler_t *child)
{
	return (register_in_libc(prepare, parent, child, NULL));
}

/* Follows pthread_atfork(3). */
int
quarry_register_atfork(os_fork_handler_t *prepare, os_fork_handler_t *parent,
    os_fork_handler_t *child, void *library)
{
	os_fork_arm();
	return (register_in_libc(prepare, parent, child, library));
}
