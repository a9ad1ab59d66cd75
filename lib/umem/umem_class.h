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
	UMEM_SLOT_8 = 1, /* the class of 8 bytes */
};

struct umem_classes {
	/* Sizes at or above this are not served from the table; 0 = not yet. */
	size_t cl_limit;
	/* [(size + 15) / 16]: slot of the smallest class that holds size. */
	uint8_t cl_slot[UMEM_CLASS_MAX / 16 + 1];
	uint32_t cl_size[UMEM_CLASSES_MAX + 1]; /* by slot */
	_Atomic(struct umem_cache *) cl_cache[UMEM_CLASSES_MAX + 1]; /* same */
	unsigned cl_count;
};

extern QR_HIDDEN struct umem_classes umem__classes;

/* Slot of the class for a size below cl_limit, by malloc's rule. */
QR_INLINE unsigned
umem__slot_of(size_t size)
{
	return (umem__classes.cl_slot[(size + 15) / 16]);
}

/* The cache of a slot, made on first use; NULL when memory is short. */
struct umem_cache *umem__class_cache(unsigned slot);

/* Choose the sizes, and open their slots.  Called once. */
bool umem__classes_init(void);

/* Fork: the lock of the making of class caches. */
void umem__class_lock(void);
void umem__class_unlock(void);

#endif /* QR_UMEM_CLASS_H */
