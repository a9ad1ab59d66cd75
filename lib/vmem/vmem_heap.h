/*
 * vmem_heap.h - the root arena: memory from the kernel, in 16 KiB quanta.
 */
#ifndef QR_VMEM_HEAP_H
#define QR_VMEM_HEAP_H

#include <quarry/vmem.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the heap holds without anybody using it. */
struct vmem__heap_stat {
	size_t idle_bytes; /* kept as they were freed, ready for reuse */
	size_t idle_max;   /* at most this many are kept */
	uint64_t hits;     /* allocations served from them */
	uint64_t purged;   /* bytes given back to the system since start-up */
};

/* Create the arena; false when memory is short.  Called once. */
bool vmem__heap_init(void);
vmem_t *vmem__heap(void);
/* 16 KiB, or the page size where that is larger. */
size_t vmem__heap_quantum(void);

/*
 * `size` bytes, a multiple of the quantum, at a multiple of `align` (a power
 * of two, at least the quantum).  *zeroed tells whether they read as zero.
 * NULL when memory is short.
 */
void *vmem__heap_alloc(size_t size, size_t align, bool *zeroed);
void vmem__heap_free(void *addr, size_t size);

/* Cap on idle bytes; the default is 16 MiB. */
void vmem__heap_set_idle_max(size_t bytes);
/* Give idle memory freed before `before` (os_now_coarse) back; bytes given. */
size_t vmem__heap_purge(uint64_t before);

void vmem__heap_stat(struct vmem__heap_stat *st);
void vmem__heap_lock(void);
void vmem__heap_unlock(void);

#endif /* QR_VMEM_HEAP_H */
