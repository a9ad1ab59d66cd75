/*
 * malloc_hit.h - a block that this CPU has at hand.
 */
#ifndef QR_MALLOC_HIT_H
#define QR_MALLOC_HIT_H

#include "os/percpu.h"
#include "umem/umem_class.h"

/* A block of at least so many bytes, or 0: missed. */
QR_INLINE uintptr_t
malloc__hit(size_t size)
{
	return (QR_LIKELY(size < umem__classes.cl_fast)
		? percpu_pop_memory(umem__off_of(size))
		: 0);
}

#endif /* QR_MALLOC_HIT_H */
