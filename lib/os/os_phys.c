/*
 * os_phys.c - the services of os_phys.h, for Linux.
 *
 * mlock keeps a page in memory, but compaction may still move it.  Pages that
 * are registered as buffers of an io_uring stay where they are: the kernel
 * takes a long-term reference to each, as it does for a device.  The ring
 * itself is never used.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE 1 /* memfd_create, fallocate */

#include "os/os_phys.h"

#include "base/bits.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Since Linux 5.14 and 6.1; what an older one answers is an error like others. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* The most that one io_uring buffer may have. */
#define PIN_PIECE ((size_t)1 << 30)

/* An entry of /proc/self/pagemap. */
#define ENTRY_PRESENT ((uint64_t)1 << 63)
#define ENTRY_FRAME (((uint64_t)1 << 55) - 1)

/* ---- files ---- */

/*
 * The error of what failed just now, with errno as it was before; a resource
 * that is used up is a shortage of memory, whatever the file system calls it.
 */
static int
failure(int saved)
{
	int error = errno;

	errno = saved;
	return (error == ENOSPC || error == EDQUOT || error == EMFILE ||
		    error == ENFILE
		? ENOMEM
		: error);
}

int
os_file_fill(int fd, off_t offset, size_t size)
{
	int saved = errno;
	int error;

	do
		error = fallocate(fd, 0, offset, (off_t)size) == 0
		    ? 0
		    : failure(saved);
	while (error == EINTR);
	return (error);
}

int
os_file_look(int fd, off_t offset, size_t size, size_t *pagep)
{
	int saved = errno;
	struct statfs fs;
	struct stat st;

	if (fstat(fd, &st) != 0)
		return (failure(saved));
	*pagep = os_page_size();
	if (!S_ISREG(st.st_mode))
		return (0);
	if (st.st_size < offset || (size_t)(st.st_size - offset) < size)
		return (EINVAL);
	if (fstatfs(fd, &fs) != 0)
		return (failure(saved));
	if (fs.f_type == HUGETLBFS_MAGIC)
		*pagep = (size_t)fs.f_bsize;
	return (0);
}

int
os_file_make(size_t size, bool huge, int *fdp, size_t *pagep)
{
	int saved = errno;
	int fd = memfd_create(
	    "physpool", MFD_CLOEXEC | (huge ? (unsigned)MFD_HUGETLB : 0));
	int error;

	if (fd < 0)
		return (failure(saved));
	error = ftruncate(fd, (off_t)size) == 0 ? 0 : failure(saved);
	if (error == 0)
		error = os_file_look(fd, 0, size, pagep);
	if (error == 0 && huge)
		error = os_file_fill(fd, 0, size);
	if (error == 0)
		*fdp = fd;
	else
		os_file_close(fd);
	return (error);
}

int
os_file_dup(int fd)
{
	return (fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

void
os_file_close(int fd)
{
	int saved = errno;

	(void)close(fd);
	errno = saved;
}

/* ---- mappings ---- */

int
os_map_file(void *addr, size_t size, int fd, off_t offset)
{
	int saved = errno;

	if (mmap(addr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		offset) == MAP_FAILED)
		return (failure(saved));
	return (0);
}

static int
advise(void *addr, size_t size, int advice)
{
	int saved = errno;

	return (madvise(addr, size, advice) == 0 ? 0 : failure(saved));
}

int
os_populate(void *addr, size_t size)
{
	return (advise(addr, size, MADV_POPULATE_WRITE));
}

void
os_collapse(void *addr, size_t size)
{
	(void)advise(addr, size, MADV_COLLAPSE);
}

int
os_inherit(void *addr, size_t size, bool inherit)
{
	return (advise(addr, size, inherit ? MADV_DOFORK : MADV_DONTFORK));
}

/* ---- wiring ---- */

int
os_wire(void *addr, size_t size)
{
	int saved = errno;

	return (mlock(addr, size) == 0 ? 0 : failure(saved));
}

void
os_unwire(void *addr, size_t size)
{
	int saved = errno;

	(void)munlock(addr, size);
	errno = saved;
}

static int
ring_register(int ring, char *addr, size_t size, struct iovec *vec, size_t n)
{
	int saved = errno;

	for (size_t i = 0; i < n; i++)
		vec[i] = (struct iovec){addr + i * PIN_PIECE,
		    qr_min(PIN_PIECE, size - i * PIN_PIECE)};
	if (syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, vec,
		(unsigned)n) != 0)
		return (failure(saved));
	return (0);
}

int
os_pin(void *addr, size_t size, int *pinp)
{
	int saved = errno;
	struct io_uring_params params = {0};
	size_t n = (size - 1) / PIN_PIECE + 1;
	size_t bytes = qr_roundup(n * sizeof(struct iovec), os_page_size());
	struct iovec *vec = os_map(bytes, os_page_size());
	int ring, error;

	if (vec == NULL)
		return (ENOMEM);
	ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	error =
	    ring < 0 ? failure(saved) : ring_register(ring, addr, size, vec, n);
	(void)os_unmap(vec, bytes);
	if (error == 0)
		*pinp = ring;
	else if (ring >= 0)
		os_file_close(ring);
	return (error);
}

void
os_unpin(int pin)
{
	os_file_close(pin);
}

/* ---- where pages are ---- */

static int
read_entries(int fd, const void *addr, size_t n, uint64_t *entries)
{
	off_t at = (off_t)((uintptr_t)addr / os_page_size() * sizeof(*entries));
	char *to = (char *)entries;
	size_t left = n * sizeof(*entries);

	while (left > 0) {
		ssize_t got = pread(fd, to, left, at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return (got < 0 ? errno : EFAULT);
		to += got;
		at += got;
		left -= (size_t)got;
	}
	return (0);
}

/* A page that is there and has frame 0 is one whose frame is a secret. */
int
os_page_frames(const void *addr, size_t n, uint64_t *frames)
{
	int saved = errno;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	bool hidden = false, absent = false;
	int error;

	if (fd < 0) {
		error = failure(saved);
		return (error == EACCES ? EPERM : error);
	}
	error = read_entries(fd, addr, n, frames);
	os_file_close(fd);
	errno = saved;
	if (error != 0)
		return (error);
	for (size_t i = 0; i < n; i++) {
		uint64_t frame = frames[i] & ENTRY_FRAME;
		bool present = (frames[i] & ENTRY_PRESENT) != 0;

		frames[i] = present ? frame * os_page_size() : UINT64_MAX;
		absent |= !present;
		hidden |= present && frame == 0;
	}
	return (hidden ? EPERM : absent ? EFAULT : 0);
}
