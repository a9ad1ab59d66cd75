/*
 * runtime.c - an operator new for which there is no memory, in a program without
 * the runtime of C++.  It ends one way or another.
 */
#define _GNU_SOURCE 1 /* RTLD_DEFAULT */

#include "check.h"

#include <dlfcn.h>
#include <stdint.h>

int
main(void)
{
	void *(*new_one)(size_t);
	void *p;

	*(void **)&new_one = dlsym(RTLD_DEFAULT, "_Znwm");
	CHECK(new_one != NULL);
	p = new_one(100);
	CHECK(p != NULL && malloc_usable_size(p) >= 100);
	free(p);
	return (new_one(SIZE_MAX / 2) == NULL);
}
