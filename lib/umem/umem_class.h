/*
 * umem_class.h - from a size to the cache that serves it.
 *
 * One byte for each 16 bytes of size says which slot, and so which cache:
 * slot s belongs to class s - 1.  Sizes up to 8 have a class of their own,
 * which only umem_alloc uses: malloc aligns everything to 16.
 */
#ifndef QR_UMEM_CLASS_H
#define QR_UMEM_CLASS_H

#include "umem/umem_impl.h"

enum {
	UMEM_CLASSES_MAX = 160,
	UMEM_SLOT_8 = PERCPU_FIRST_SLOT, /* the class of 8 bytes */
	UMEM_OFF_8 = UMEM_SLOT_8 * sizeof(struct percpu_slot),
};

struct umem_classes {
	/*
	 * Sizes below cl_fast may be popped at once, those below cl_limit are
	 * served from classes.  Both are 0 until the library is ready.
	 */
	size_t cl_fast;
	size_t cl_limit;
	/* [(size + 15) / 16]: offset of the slot of the smallest class. */
	uint16_t cl_off[UMEM_CLASS_MAX / 16 + 1];
	uint32_t cl_size[UMEM_CLASSES_MAX + 1]; /* by slot */
	_Atomic(struct umem_cache *) cl_cache[UMEM_CLASSES_MAX + 1]; /* same */
	unsigned cl_last; /* slot of the largest */
};

extern QR_HIDDEN struct umem_classes umem__classes;

/* Offset of the class for a size below cl_limit, by malloc's rule. */
QR_INLINE size_t
umem__off_of(size_t size)
{
	return (umem__classes.cl_off[(size + 15) / 16]);
}

/*
 * A size, not less than `size`, whose class has objects at multiples of align,
 * a power of two up to what slabs are aligned to; past UMEM_CLASS_MAX for none.
 */
size_t umem__class_aligned(size_t size, size_t align);

/* The cache at an offset, made on first use; NULL when memory is short. */
struct umem_cache *umem__class_cache(size_t off);

/* Choose the sizes, and open their slots.  Called once. */
bool umem__classes_init(void);

/*
 * Change the sizes before they are chosen, for UMEM_OPTIONS: size_clear,
 * size_add and size_remove.  What is wrong with the size, or NULL.
 */
const char *umem__class_clear(uint64_t unused);
const char *umem__class_add(uint64_t size);
const char *umem__class_remove(uint64_t size);

/* Fork: the lock of the making of class caches. */
void umem__class_lock(void);
void umem__class_unlock(void);

#endif /* QR_UMEM_CLASS_H */
