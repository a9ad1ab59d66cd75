/*
 * A malloc that is wrong: Quarry's, but now and then two blocks overlap.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>

static _Atomic(void *) last;
static atomic_uint count;

void *
malloc(size_t size)
{
	static void *(*real)(size_t);
	void *p;

	if (real == NULL)
		real = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	if (size < 16 || size > 128)
		return (real(size));
	p = atomic_load(&last);
	if (atomic_fetch_add(&count, 1) % 500 != 499 || p == NULL) {
		p = real(128);
		atomic_store(&last, p);
	}
	return (p);
}
