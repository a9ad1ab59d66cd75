/*
 * umem_class.h - from a size to the cache that serves it.
 *
 * A table says for each 16 bytes of size which slot, and so which cache.  Sizes
 * up to 8 have a class of their own, which only umem_alloc uses: malloc aligns
 * everything to 16.
 */
#ifndef QR_UMEM_CLASS_H
#define QR_UMEM_CLASS_H

#include "meta/pagemap.h"
#include "umem/umem_impl.h"

#include <stdatomic.h>

enum {
	UMEM_CLASSES_MAX = 160,
	UMEM_CLASS_SLOTS = PERCPU_FIRST_SLOT + UMEM_CLASSES_MAX,
	UMEM_CLASS_STEP = 16,
	UMEM_SLOT_8 = PERCPU_FIRST_SLOT, /* the class of 8 bytes */
	UMEM_OFF_8 = UMEM_SLOT_8 * sizeof(struct percpu_slot),
};

/* By size in steps, rounded up: offset of its slot, or 0: see below. */
extern QR_HIDDEN _Atomic uint16_t
    umem__class_off[UMEM_CLASS_MAX / UMEM_CLASS_STEP + 1];

struct umem_classes {
	/*
	 * Sizes below cl_fast may be popped at once, those below cl_limit are
	 * served from classes.  Both are 0 until the library is ready.
	 */
	size_t cl_fast;
	size_t cl_limit;
	/* PAGEMAP_PAGE, or UMEM_CLASS_STEP where sizes were chosen otherwise. */
	size_t cl_align;
	/* By slot, in ascending order from UMEM_SLOT_8 to cl_last. */
	uint32_t cl_size[UMEM_CLASS_SLOTS];
	_Atomic(struct umem_cache *) cl_cache[UMEM_CLASS_SLOTS]; /* by slot */
	unsigned cl_last;
};

extern QR_HIDDEN struct umem_classes umem__classes;

/*
 * Offset of the class for a size below cl_limit, by malloc's rule; that of no
 * class, which always misses, before umem__off_find() had such a size.
 */
QR_INLINE size_t
umem__off_of(size_t size)
{
	return (atomic_load_explicit(
	    &umem__class_off[(size + UMEM_CLASS_STEP - 1) / UMEM_CLASS_STEP],
	    memory_order_relaxed));
}

/* The same for who missed: most programs use few of the sizes. */
size_t umem__off_find(size_t size);

static inline uint32_t
umem__off_size(size_t off)
{
	return (umem__classes.cl_size[off / sizeof(struct percpu_slot)]);
}

/*
 * The same for objects at multiples of align, a power of two up to cl_align: a
 * size that is rounded up to it has a class that is a multiple, too.
 */
QR_INLINE size_t
umem__off_aligned(size_t size, size_t align)
{
	return (umem__off_of(qr_roundup(size + (size == 0), align)));
}

/* For who missed, up to PAGEMAP_PAGE: the class, however far up it is. */
size_t umem__off_find_aligned(size_t size, size_t align);

/* The cache of a slot that had none; NULL when memory is short. */
struct umem_cache *umem__class_make(unsigned slot);

/* The cache at an offset, made on first use. */
QR_INLINE struct umem_cache *
umem__class_cache(size_t off)
{
	unsigned slot = (unsigned)(off / sizeof(struct percpu_slot));
	struct umem_cache *cp = atomic_load_explicit(
	    &umem__classes.cl_cache[slot], memory_order_acquire);

	return (QR_LIKELY(cp != NULL) ? cp : umem__class_make(slot));
}

/* Choose the sizes, and open their slots.  Called once. */
bool umem__classes_init(void);

/*
 * Change the sizes before they are chosen, for UMEM_OPTIONS: size_clear,
 * size_add and size_remove.  What is wrong with the size, or NULL.
 */
void umem__class_clear(void);
const char *umem__class_add(uint64_t size);
const char *umem__class_remove(uint64_t size);

/* Fork: the lock of the making of class caches. */
void umem__class_lock(void);
void umem__class_unlock(void);

#endif /* QR_UMEM_CLASS_H */
