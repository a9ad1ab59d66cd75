/*
 * os_reserve.c - address space without memory, and memory within it.
 */
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

void *
os_reserve(size_t size)
{
	int saved = errno;
	void *p = mmap(NULL, size, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	errno = saved;
	return (p == MAP_FAILED ? NULL : p);
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
