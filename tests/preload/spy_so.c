/*
 * spy_so.c - counts who registers handlers of fork, behind Quarry.
 */
#define _GNU_SOURCE 1 /* RTLD_NEXT */

#include <dlfcn.h>

typedef void handler_t(void);
typedef int register_t(
    handler_t *prepare, handler_t *parent, handler_t *child, void *library);

extern unsigned spy_registered;
register_t spy_register __asm__("__register_atfork");

unsigned spy_registered;

int
spy_register(
    handler_t *prepare, handler_t *parent, handler_t *child, void *library)
{
	register_t *next;

	spy_registered++;
	*(void **)&next = dlsym(RTLD_NEXT, "__register_atfork");
	return (next(prepare, parent, child, library));
}
