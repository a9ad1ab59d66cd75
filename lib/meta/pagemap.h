/*
 * pagemap.h - from an address to what lives there, without a lock.
 *
 * One 64-bit word for each 16 KiB page of a window of the address space, in a
 * flat table that costs physical memory only where it is written, and counts as
 * memory, for limits on that, only around there.  The window
 * is the whole of user space when the kernel lets us reserve the table for
 * it; under a limit on address space, or in an emulator, it is a smaller
 * window around the place where mmap puts things, at least four times as wide
 * as the limit, so that nothing can be mapped outside it.
 *
 * A word: bits 0-15 the offset of the per-CPU slot whose stack takes the
 * objects of this page when they are freed (0: none, look further), bits 16-63
 * a descriptor.  0: unknown.
 */
#ifndef QR_PAGEMAP_H
#define QR_PAGEMAP_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PAGEMAP_SHIFT = 14 };
#define PAGEMAP_PAGE ((size_t)1 << PAGEMAP_SHIFT)

/* Written once, by pagemap_init(); until then the window is empty. */
struct pagemap {
	uint64_t *pm_word;  /* [page number - pm_first] */
	uintptr_t pm_first; /* first page number of the window */
	uintptr_t pm_count; /* pages in the window */
	uintptr_t pm_whole; /* the same if the window begins at 0, else 0 */
};

extern QR_HIDDEN struct pagemap pagemap__table;

/* Reserve the table; false when not even the smallest window can be had. */
bool pagemap_init(void);

/* Is all of [addr, addr + size) inside the window? */
bool pagemap_covers(const void *addr, size_t size);

/*
 * Have words for [addr, addr + size): false when it is not inside the window,
 * or memory is short.
 */
bool pagemap_admit(const void *addr, size_t size);

/* Describe the whole pages of [addr, addr + size), which was admitted. */
void pagemap_set(const void *addr, size_t size, uint64_t word);

/* The page of addr, which was admitted. */
QR_INLINE void
pagemap_put(const void *addr, uint64_t word)
{
	uintptr_t i =
	    ((uintptr_t)addr >> PAGEMAP_SHIFT) - pagemap__table.pm_first;

	__atomic_store_n(&pagemap__table.pm_word[i], word, __ATOMIC_RELEASE);
}

/* The word for p; 0 for any address that was not described. */
QR_INLINE uint64_t
pagemap_get(const void *p)
{
	uintptr_t i = ((uintptr_t)p >> PAGEMAP_SHIFT) - pagemap__table.pm_first;

	if (QR_UNLIKELY(i >= pagemap__table.pm_count))
		return (0);
	return (__atomic_load_n(&pagemap__table.pm_word[i], __ATOMIC_RELAXED));
}

/*
 * Only the offset of the word for p; false where it takes pagemap_get() to
 * know, which is everywhere unless the window is all of user space.
 */
QR_INLINE bool
pagemap_off(const void *p, size_t *off)
{
	typedef uint16_t __attribute__((may_alias)) half;
	uintptr_t i = (uintptr_t)p >> PAGEMAP_SHIFT;

	if (QR_UNLIKELY(i >= pagemap__table.pm_whole))
		return (false);
	*off = *(const half *)&pagemap__table.pm_word[i];
	return (true);
}

QR_INLINE uint64_t
pagemap_word(const void *descriptor, unsigned off)
{
	return ((uint64_t)(uintptr_t)descriptor << 16 | off);
}

QR_INLINE void *
pagemap_descriptor(uint64_t word)
{
	return ((void *)(uintptr_t)(word >> 16));
}

#endif /* QR_PAGEMAP_H */
