/*
 * umem_large.c - blocks larger than any class: whole pages of the heap.
 */
#include "umem/umem_impl.h"

#include "meta/meta.h"
#include "meta/pagemap.h"
#include "vmem/vmem_heap.h"

#include <stdatomic.h>

static struct meta_pool large_pool =
    META_POOL_INIT("umem_large", sizeof(struct umem_large));
static _Atomic size_t large_bytes, large_count;

/*
 * Eight sizes to a doubling, so that a freed block serves a similar request.
 * What a block has beyond its request is address space: it is not touched.
 */
static size_t
round_size(size_t size)
{
	size_t step =
	    qr_max(vmem__heap_quantum(), (size_t)1 << (qr_log2(size) - 3));

	return (qr_roundup(size, step));
}

void *
umem__large_alloc(size_t size, size_t align, bool *zeroed)
{
	size_t total = size > PTRDIFF_MAX ? 0 : round_size(size);
	struct umem_large *lg;
	void *addr;

	if (total < size)
		return (NULL);
	lg = meta_get(&large_pool);
	if (lg == NULL)
		return (NULL);
	addr = vmem__heap_alloc(total, align, zeroed);
	if (addr == NULL) {
		meta_put(&large_pool, lg);
		return (NULL);
	}
	lg->lg_kind = UMEM_KIND_LARGE;
	lg->lg_addr = (uintptr_t)addr;
	lg->lg_size = total;
	lg->lg_asked = size;
	pagemap_set(addr, PAGEMAP_PAGE, pagemap_word(lg, 0));
	atomic_fetch_add_explicit(&large_bytes, total, memory_order_relaxed);
	atomic_fetch_add_explicit(&large_count, 1, memory_order_relaxed);
	return (addr);
}

void
umem__large_free(struct umem_large *lg)
{
	void *addr = (void *)lg->lg_addr;
	size_t total = lg->lg_size;

	pagemap_set(addr, PAGEMAP_PAGE, 0);
	meta_put(&large_pool, lg);
	atomic_fetch_sub_explicit(&large_bytes, total, memory_order_relaxed);
	atomic_fetch_sub_explicit(&large_count, 1, memory_order_relaxed);
	vmem__heap_free(addr, total);
}

struct umem_large *
umem__large_find(const void *p)
{
	struct umem_large *lg = pagemap_descriptor(pagemap_get(p));

	return (lg != NULL && lg->lg_kind == UMEM_KIND_LARGE &&
		    lg->lg_addr == (uintptr_t)p
		? lg
		: NULL);
}

size_t
umem__large_bytes(size_t *count)
{
	*count = atomic_load_explicit(&large_count, memory_order_relaxed);
	return (atomic_load_explicit(&large_bytes, memory_order_relaxed));
}
