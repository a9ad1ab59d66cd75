/*
 * os.h - the contract of every kernel service the library uses.
 *
 * Nothing here calls malloc, dlsym or stdio, and nothing changes errno.
 */
#ifndef QR_OS_H
#define QR_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* No address of a process has more bits, unless it asks for one that has. */
#if defined(__x86_64__)
#define OS_ADDRESS_BITS 47
#else
#define OS_ADDRESS_BITS 48
#endif

/*
 * Map `size` bytes of private zeroed memory at a multiple of `align`; both are
 * multiples of the page size, align a power of two.  NULL when the kernel
 * refuses.
 */
void *os_map(size_t size, size_t align);

/*
 * Address space for a sparse table: as os_map, but neither counted against
 * overcommit nor written to core dumps.
 */
void *os_map_sparse(size_t size);

/*
 * Give [addr, addr + size), whole or a part of what os_map returned, back.
 * False when the kernel refuses, as it may at its limit on the number of
 * mappings: the range is still mapped then, and its contents are undefined.
 */
bool os_unmap(void *addr, size_t size);

/*
 * Drop the contents of [addr, addr + size): it stays mapped and reads as zero.
 * False when the kernel refuses; the contents are then undefined.
 */
bool os_purge(void *addr, size_t size);

/*
 * `size` bytes of address space that any access faults in; NULL when the kernel
 * refuses.  os_commit() puts zeroed memory into a part of it, os_decommit()
 * takes that away again: one system call each, and false, with nothing
 * changed, when the kernel refuses.
 */
void *os_reserve(size_t size);
bool os_commit(void *addr, size_t size);
bool os_decommit(void *addr, size_t size);

/*
 * Address space that reads as zero and is not written to core dumps; NULL when
 * the kernel refuses.  No limit on memory counts it, also without overcommit,
 * but what os_let_write() makes writable: false, with nothing changed, when the
 * kernel refuses that.
 */
void *os_map_zeros(size_t size);
bool os_let_write(void *addr, size_t size);

/* Back [addr, addr + size) with pages of the base size, where that matters. */
void os_no_huge_pages(void *addr, size_t size);

size_t os_page_size(void);

/* Bound on the address space in bytes (RLIMIT_AS); SIZE_MAX if unlimited. */
size_t os_address_space_limit(void);
/* The same of RLIMIT_DATA: private memory that can be written. */
size_t os_data_limit(void);

/*
 * Does Valgrind run us?  It looks at every page of a mapping when it searches
 * for leaks, touched or not.  Always false when built without its header.
 */
bool os_on_valgrind(void);

/* One more than the highest CPU id the kernel can ever report. */
unsigned os_cpu_limit(void);

/* CPUs the caller may be scheduled on: one system call; at least 1. */
unsigned os_cpu_affinity(void);

/* The CPU the caller runs on, a hint; 0 when the kernel does not tell. */
unsigned os_cpu_current(void);

/* CLOCK_MONOTONIC in nanoseconds; the coarse one may lag some milliseconds. */
uint64_t os_now(void);
uint64_t os_now_coarse(void);

/* The environment variable, or NULL; always NULL in a set-id program. */
const char *os_getenv(const char *name);

/* Kernel id of the calling thread. */
uint32_t os_thread_id(void);

/* That of the process, and the name of what it runs, without directories. */
int os_process_id(void);
const char *os_program(void);

/* Write all of buf, retrying after EINTR; gives up silently on any error. */
void os_write(int fd, const void *buf, size_t len);

/*
 * Sleep while *word == value, at most until `deadline` (absolute
 * CLOCK_MONOTONIC, NULL = for ever; a malformed one has passed).  0 when woken
 * or *word differed, else ETIMEDOUT or EINTR.
 */
int os_park(
    _Atomic uint32_t *word, uint32_t value, const struct timespec *deadline);
/* Wake at most n sleepers. */
void os_unpark(_Atomic uint32_t *word, int n);

/*
 * Every other thread of the process that is inside a restartable sequence
 * leaves it or restarts before os_rseq_fence() returns.  False when the kernel
 * has no such service; nothing was waited for then.
 */
bool os_rseq_fence(void);

#endif /* QR_OS_H */
