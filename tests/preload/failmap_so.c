/*
 * failmap_so.c - make the system calls by which memory is had fail on request.
 */
#define _GNU_SOURCE 1 /* syscall */

#include "failmap.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct fault {
	const char *f_name;
	_Atomic unsigned long f_first;
	_Atomic unsigned long f_last;
	_Atomic unsigned long f_calls;
	_Atomic unsigned long f_failed;
} faults[FAILMAP_KINDS] = {
    [FAILMAP_MMAP] = {.f_name = "mmap:"},
    [FAILMAP_MUNMAP] = {.f_name = "munmap:"},
    [FAILMAP_MADVISE] = {.f_name = "madvise:"},
    [FAILMAP_MPROTECT] = {.f_name = "mprotect:"},
};

void
failmap_arm(enum failmap kind, unsigned long first, unsigned long last)
{
	struct fault *f = &faults[kind];

	f->f_last = 0;
	f->f_calls = 0;
	f->f_failed = 0;
	f->f_first = first;
	f->f_last = last;
}

unsigned long
failmap_calls(enum failmap kind)
{
	return (faults[kind].f_calls);
}

unsigned long
failmap_failed(enum failmap kind)
{
	return (faults[kind].f_failed);
}

static void
arm_from_environment(void)
{
	const char *text = getenv("FAILMAP");

	for (int i = 0; i < FAILMAP_KINDS && text != NULL; i++) {
		size_t len = strlen(faults[i].f_name);
		unsigned long first, last = ULONG_MAX;
		char *end;

		if (strncmp(text, faults[i].f_name, len) != 0)
			continue;
		first = strtoul(text + len, &end, 10);
		if (*end != '-')
			last = first;
		else if (end[1] != '\0')
			last = strtoul(end + 1, NULL, 10);
		failmap_arm((enum failmap)i, first, last);
	}
}

static bool
fails(enum failmap kind)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct fault *f = &faults[kind];
	unsigned long n;

	(void)pthread_once(&once, arm_from_environment);
	n = atomic_fetch_add(&f->f_calls, 1) + 1;
	if (n < f->f_first || n > f->f_last)
		return (false);
	atomic_fetch_add(&f->f_failed, 1);
	errno = ENOMEM;
	return (true);
}

void *
mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (fails(FAILMAP_MMAP))
		return (MAP_FAILED);
	return ((void *)syscall(SYS_mmap, addr, len, prot, flags, fd, off));
}

int
munmap(void *addr, size_t len)
{
	if (fails(FAILMAP_MUNMAP))
		return (-1);
	return ((int)syscall(SYS_munmap, addr, len));
}

int
madvise(void *addr, size_t len, int advice)
{
	if (fails(FAILMAP_MADVISE))
		return (-1);
	return ((int)syscall(SYS_madvise, addr, len, advice));
}

int
mprotect(void *addr, size_t len, int prot)
{
	if (fails(FAILMAP_MPROTECT))
		return (-1);
	return ((int)syscall(SYS_mprotect, addr, len, prot));
}
