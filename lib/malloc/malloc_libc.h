/*
 * malloc_libc.h - functions of libc's own that we stand before.
 */
#ifndef QR_MALLOC_LIBC_H
#define QR_MALLOC_LIBC_H

#include "base/compiler.h"

#include <dlfcn.h>
#include <stddef.h>

/* In a program that is linked with libc first it is not behind us. */
QR_INLINE void *
malloc__libc_symbol(const char *name)
{
	void *next = dlsym(RTLD_NEXT, name);

	return (next != NULL ? next : dlsym(RTLD_DEFAULT, name));
}

#endif /* QR_MALLOC_LIBC_H */
