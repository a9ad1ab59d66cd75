/*
 * malloc_ours.c - whether the malloc of the process is ours.
 *
 * A program may have one itself, another library may come before this one, and
 * tools like valgrind put theirs in the place of any.  No address tells that: so a
 * block is asked for as the program would.  Whoever has the library in itself has
 * its malloc too.
 */
#define _GNU_SOURCE 1 /* RTLD_DEFAULT */

#include "meta/pagemap.h"
#include "umem/umem_impl.h"

#include <dlfcn.h>

bool
umem__malloc_ours(void)
{
	void *(*take)(size_t size);
	void (*give)(void *p);
	bool ours;
	void *p;

	*(void **)&take = dlsym(RTLD_DEFAULT, "malloc");
	*(void **)&give = dlsym(RTLD_DEFAULT, "free");
	if (take == NULL || give == NULL)
		return (false);
	p = take(1);
	ours = pagemap_descriptor(pagemap_get(p)) != NULL;
	give(p);
	return (ours);
}
