/*
 * os_phys.h - memory whose physical addresses matter: files of memory, fixed
 * mappings, wiring, and the page tables as the kernel shows them.
 *
 * What can fail returns 0 or an error number, and leaves nothing behind then.
 * Nothing here changes errno.  Addresses, sizes and offsets are multiples of
 * the page size of the mapping.
 */
#ifndef QR_OS_PHYS_H
#define QR_OS_PHYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * A file of `size` bytes of memory without a name.  A huge one is of huge
 * pages of the default size, all of which it has from the start: ENOMEM when
 * there are not enough.  *pagep is the size of its pages.
 */
int os_file_make(size_t size, bool huge, int *fdp, size_t *pagep);
/*
 * The page size of a file that the caller was given.  EINVAL when the file is
 * a regular one that ends before offset + size: touching its mapping would be
 * fatal.
 */
int os_file_look(int fd, off_t offset, size_t size, size_t *pagep);
/* Give every page of a file memory now: ENOMEM when there is none. */
int os_file_fill(int fd, off_t offset, size_t size);
/* Another descriptor for the same file, which exec closes: or -1 and errno. */
int os_file_dup(int fd);
void os_file_close(int fd);

/* Share the file at `addr`, over a part of a reservation. */
int os_map_file(void *addr, size_t size, int fd, off_t offset);

/* Enter every page into the page tables, writable. */
int os_populate(void *addr, size_t size);
/* Make huge pages of small ones, where the kernel can.  Contents stay. */
void os_collapse(void *addr, size_t size);
/* Keep the pages resident: ENOMEM, EPERM at RLIMIT_MEMLOCK. */
int os_wire(void *addr, size_t size);
void os_unwire(void *addr, size_t size);
/*
 * Keep the pages where they are until *pinp is given to os_unpin(), mapped or
 * not.  ENOSYS, EPERM: the kernel, its kernel.io_uring_disabled or a filter of
 * system calls refuses io_uring; ENOMEM: RLIMIT_MEMLOCK; EFAULT, EOPNOTSUPP:
 * this kind of memory cannot be pinned.
 */
int os_pin(void *addr, size_t size, int *pinp);
void os_unpin(int pin);
/* Whether a child of fork gets the pages. */
int os_inherit(void *addr, size_t size, bool inherit);

/*
 * The physical addresses of n pages of os_page_size() from `addr`.  EPERM: the
 * kernel hides them from us (it takes CAP_SYS_ADMIN); EFAULT: a page is not
 * there, and its address is UINT64_MAX.
 */
int os_page_frames(const void *addr, size_t n, uint64_t *frames);

#endif /* QR_OS_PHYS_H */
