/*
 * umem_firewall.c - memory that ends where an object does.
 *
 * Address space comes from an arena of its own, next fit, so that it is used
 * again as late as possible; until then, and behind each object, any access
 * faults.  Memory is put in by one system call for each object, and taken away
 * by another.
 */
#include "umem/umem_debug.h"

#include "meta/pagemap.h"
#include "os/os.h"
#include "vmem/vmem_heap.h"

#include <stdatomic.h>

/* Address space is obtained in pieces of this size, or of one object. */
#define SPAN_MIN ((size_t)64 << 20)

static _Atomic(vmem_t *) arena;

static void *
span_import(vmem_t *source, size_t *sizep, size_t align, int vmflag)
{
	size_t quantum = vmem__heap_quantum;
	size_t size = qr_roundup(qr_max(*sizep, SPAN_MIN), quantum);
	char *space = os_reserve(size + quantum);

	(void)source;
	(void)align;
	(void)vmflag;
	if (space == NULL)
		return (NULL);
	space += qr_nphase((uintptr_t)space, quantum);
	if (!pagemap_admit(space, size)) {
		(void)os_unmap(space, size);
		return (NULL);
	}
	*sizep = size;
	return (space);
}

static vmem_t *
arena_get(void)
{
	vmem_t *found = atomic_load(&arena), *other = NULL;

	if (found != NULL)
		return (found);
	found = vmem_xcreate("umem_firewall", NULL, 0, vmem__heap_quantum,
	    span_import, NULL, NULL, 0, VM_NOSLEEP);
	if (found != NULL &&
	    !atomic_compare_exchange_strong(&arena, &other, found)) {
		vmem_destroy(found);
		found = other;
	}
	return (found);
}

/* The last page of a slab is never memory. */
size_t
umem__firewall_size(const struct umem_cache *cp, size_t *end)
{
	size_t page = os_page_size();
	size_t align = qr_max(page, cp->cache_align);
	size_t size = qr_roundup(
	    qr_roundup(cp->cache_bufsize, align) + page, vmem__heap_quantum);

	*end = qr_rounddown(size - page, align);
	return (size);
}

static size_t
memory_size(const struct umem_cache *cp)
{
	return (qr_roundup(cp->cache_bufsize, os_page_size()));
}

static void *
memory_of(const struct umem_cache *cp, void *base)
{
	return ((char *)base + cp->cache_tag - memory_size(cp));
}

void *
umem__firewall_alloc(const struct umem_cache *cp)
{
	vmem_t *vmp = arena_get();
	void *base = NULL;

	if (vmp != NULL)
		base = vmem_alloc(
		    vmp, cp->cache_slabsize, VM_NOSLEEP | VM_NEXTFIT);
	if (base == NULL)
		return (NULL);
	if (!os_commit(memory_of(cp, base), memory_size(cp))) {
		vmem_free(vmp, base, cp->cache_slabsize);
		return (NULL);
	}
	return (base);
}

/* What the kernel will not take away is never handed out again. */
void
umem__firewall_free(const struct umem_cache *cp, void *base)
{
	if (os_decommit(memory_of(cp, base), memory_size(cp)))
		vmem_free(atomic_load(&arena), base, cp->cache_slabsize);
}
