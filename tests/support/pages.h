/*
 * pages.h - system calls as if the kernel had larger pages.
 *
 * QR_TEST_PAGE=65536 in the environment says how large.  Mappings are aligned to
 * that, and a process that names an address or a length that is no multiple of it
 * is aborted.  failsys.h is between the calls of the library and these.
 */
#ifndef QR_TEST_PAGES_H
#define QR_TEST_PAGES_H

#include <sys/types.h>

void *pages_mmap(
    void *addr, size_t len, int prot, int flags, int fd, off_t off);
int pages_munmap(void *addr, size_t len);
int pages_madvise(void *addr, size_t len, int advice);
int pages_mprotect(void *addr, size_t len, int prot);
unsigned long pages_getauxval(unsigned long type);

#endif /* QR_TEST_PAGES_H */
