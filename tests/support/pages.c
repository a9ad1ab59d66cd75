/*
 * pages.c - system calls as if the kernel had larger pages.
 */
#include "support/pages.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>

void *__real_mmap(
    void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __real_munmap(void *addr, size_t len);
int __real_madvise(void *addr, size_t len, int advice);
int __real_mprotect(void *addr, size_t len, int prot);
unsigned long __real_getauxval(unsigned long type);

/* Of the runtime that counts lines, if they are: it maps files of any length. */
extern __attribute__((weak)) const int __llvm_profile_runtime;

static size_t
page_size(void)
{
	static _Atomic size_t cached;
	const char *text = getenv("QR_TEST_PAGE");

	if (cached == 0)
		cached = text != NULL ? strtoul(text, NULL, 10)
				      : __real_getauxval(AT_PAGESZ);
	return (cached);
}

/* What such a kernel refuses, or does to more than was meant. */
static void
check(const void *addr, size_t len)
{
	if (((uintptr_t)addr | len) % page_size() == 0 ||
	    &__llvm_profile_runtime != NULL)
		return;
	(void)fprintf(
	    stderr, "%p, %zu bytes: no multiples of a page\n", addr, len);
	abort();
}

/* Map too much, and unmap what is outside the multiples. */
static void *
map_aligned(size_t len, int prot, int flags, int fd, off_t off)
{
	size_t page = page_size();
	char *map = __real_mmap(NULL, len + page, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (map == MAP_FAILED)
		return (map);
	before = -(uintptr_t)map % page;
	if (before != 0)
		(void)__real_munmap(map, before);
	(void)__real_munmap(map + before + len, page - before);
	map = __real_mmap(map + before, len, prot, flags | MAP_FIXED, fd, off);
	return (map);
}

void *
pages_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (page_size() == __real_getauxval(AT_PAGESZ))
		return (__real_mmap(addr, len, prot, flags, fd, off));
	check(addr, len);
	if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) == 0)
		return (map_aligned(len, prot, flags, fd, off));
	return (__real_mmap(addr, len, prot, flags, fd, off));
}

int
pages_munmap(void *addr, size_t len)
{
	check(addr, len);
	return (__real_munmap(addr, len));
}

int
pages_madvise(void *addr, size_t len, int advice)
{
	check(addr, len);
	return (__real_madvise(addr, len, advice));
}

int
pages_mprotect(void *addr, size_t len, int prot)
{
	check(addr, len);
	return (__real_mprotect(addr, len, prot));
}

unsigned long
pages_getauxval(unsigned long type)
{
	return (type == AT_PAGESZ ? page_size() : __real_getauxval(type));
}
