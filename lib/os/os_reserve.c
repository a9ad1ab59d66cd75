/*
 * os_reserve.c - address space without memory, and memory within it.
 */
#define _GNU_SOURCE 1 /* madvise */

#include "os/os.h"

#include <errno.h>
#include <sys/mman.h>

static bool
map_over(void *addr, size_t size, int prot, int flags)
{
	int saved = errno;
	bool done = mmap(addr, size, prot,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | flags, -1,
			0) != MAP_FAILED;

	errno = saved;
	return (done);
}

static void *
map_unwritable(size_t size, int prot)
{
	int saved = errno;
	void *p = mmap(NULL, size, prot,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	errno = saved;
	return (p == MAP_FAILED ? NULL : p);
}

void *
os_reserve(size_t size)
{
	return (map_unwritable(size, PROT_NONE));
}

bool
os_commit(void *addr, size_t size)
{
	return (map_over(addr, size, PROT_READ | PROT_WRITE, 0));
}

bool
os_decommit(void *addr, size_t size)
{
	return (map_over(addr, size, PROT_NONE, MAP_NORESERVE));
}

void *
os_map_zeros(size_t size)
{
	int saved = errno;
	void *p = map_unwritable(size, PROT_READ);

	if (p != NULL)
		(void)madvise(p, size, MADV_DONTDUMP);
	errno = saved;
	return (p);
}

bool
os_let_write(void *addr, size_t size)
{
	int saved = errno;
	bool done = mprotect(addr, size, PROT_READ | PROT_WRITE) == 0;

	errno = saved;
	return (done);
}
