/*
 * umem_class.h - from a size to the cache that serves it.
 *
 * A table says for each 16 bytes of size which slot, and so which cache; another
 * one for each slot and alignment which is the next that is as aligned.  Sizes
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
	UMEM_CLASS_ALIGNS = PAGEMAP_SHIFT - 3, /* 16 to PAGEMAP_PAGE */
	UMEM_SLOT_8 = PERCPU_FIRST_SLOT,       /* the class of 8 bytes */
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
	uint32_t cl_size[UMEM_CLASS_SLOTS];                      /* by slot */
	_Atomic(struct umem_cache *) cl_cache[UMEM_CLASS_SLOTS]; /* same */
	unsigned cl_last; /* slot of the largest */
	/* Of slots from there on, the first with objects at multiples; or 0. */
	uint8_t cl_aligned[UMEM_CLASS_ALIGNS][UMEM_CLASS_SLOTS];
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

/*
 * From the class for a size to that for objects at multiples of align, a power
 * of two up to PAGEMAP_PAGE.
 */
QR_INLINE size_t
umem__off_aligned(size_t off, size_t align)
{
	size_t slot = off / sizeof(struct percpu_slot);
	unsigned i = qr_log2(align / UMEM_CLASS_STEP | 1);

	return (umem__classes.cl_aligned[i][slot] * sizeof(struct percpu_slot));
}

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
