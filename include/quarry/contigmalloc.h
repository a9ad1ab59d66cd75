/*
 * contigmalloc.h - memory that is contiguous by physical address.
 *
 * Every function is thread-safe; only contigmalloc_wait sleeps.  Manual page:
 * contigmalloc(3).
 *
 * A request asks for `size` bytes, rounded up to the pool's granule, whose
 * physical addresses are all in [low, high) (high ~0 = no bound), start at a
 * multiple of `alignment` (0 = 1) and do not cross a multiple of `boundary`
 * (0 = none); both are powers of two.
 *
 * errno: EINVAL impossible arguments; ENOSPC no state of this pool could serve
 * the request; ENOMEM not now, or larger than the pool; ETIMEDOUT.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QUARRY_CONTIGMALLOC_H
#define QUARRY_CONTIGMALLOC_H

#include <quarry/malloc_type.h>
#include <quarry/physpool.h>

#include <time.h>

struct timespec; /* not in C99's <time.h> */

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/*
 * Memory from physpool_default(), or NULL and errno, whatever the flags.
 * M_ZERO zeroes all of the rounded size.  With M_WAITOK idle memory of the
 * whole process is given up before failing, unless M_NORECLAIM forbids it.
 */
void *contigmalloc(unsigned long size, struct malloc_type *type, int flags,
    vm_paddr_t low, vm_paddr_t high, unsigned long alignment,
    vm_paddr_t boundary);
/* The same, from a pool. */
void *contigmalloc_pool(physpool_t *pool, unsigned long size,
    struct malloc_type *type, int flags, vm_paddr_t low, vm_paddr_t high,
    unsigned long alignment, vm_paddr_t boundary);
/*
 * The same, but sleep until the pool, and the limit of the type, have room:
 * at most until `deadline` (absolute CLOCK_MONOTONIC, NULL = for ever), which
 * is ETIMEDOUT.  What can never be served fails at once.
 */
void *contigmalloc_wait(physpool_t *pool, unsigned long size,
    struct malloc_type *type, int flags, vm_paddr_t low, vm_paddr_t high,
    unsigned long alignment, vm_paddr_t boundary,
    const struct timespec *deadline);

/*
 * Free what one of these returned, with a size that rounds to the same and the
 * same type; from whatever pool.  Does not block.  Anything else is fatal, or
 * with a panic hook that returns, ignored.
 */
void contigfree(void *addr, unsigned long size, struct malloc_type *type);

/*
 * Write to buf, for a person, why such a request would fail now: which of the
 * constraints, the largest run that they leave, and who holds the space.
 * Returns what contigmalloc_pool() would fail with, 0 when it would not.  The
 * text is cut at buflen and ends in a NUL.  Takes time in proportion to what is
 * allocated.
 */
int contig_explain(physpool_t *pool, unsigned long size, vm_paddr_t low,
    vm_paddr_t high, unsigned long alignment, vm_paddr_t boundary, char *buf,
    size_t buflen);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* QUARRY_CONTIGMALLOC_H */
