/*
 * vmem_heap.c - the root arena: spans from the kernel.
 */
#include "vmem/vmem_heap.h"
#include "vmem/vmem_impl.h"

#include "base/bits.h"
#include "meta/pagemap.h"
#include "os/os.h"

#include <stdatomic.h>

/*
 * Spans grow with the heap between these: system calls are rare, and a large block
 * seldom finds that free memory is enough but ends where a span does.
 */
#define SPAN_MIN ((size_t)2 << 20)
#define SPAN_MAX ((size_t)256 << 20)

/* Below this the heap has no huge pages: small processes stay so. */
#define HUGE_MIN ((size_t)32 << 20)

static vmem_t *heap;
size_t vmem__heap_quantum;
static _Atomic bool scattered; /* nor has it any again */

static void *
heap_import(vmem_t *source, size_t *sizep, size_t align, int vmflag)
{
	void *addr = os_map(*sizep, qr_max(vmem__heap_quantum, align));

	(void)source;
	(void)vmflag;
	if (addr == NULL)
		return (NULL);
	if (!pagemap_admit(addr, *sizep)) {
		os_unmap(addr, *sizep);
		return (NULL);
	}
	if (atomic_load(&scattered) ||
	    vmem_size(heap, VMEM_ALLOC | VMEM_FREE) < HUGE_MIN)
		os_no_huge_pages(addr, *sizep);
	return (addr);
}

static void
refuse_huge(void *arg, void *addr, size_t size)
{
	(void)arg;
	os_no_huge_pages(addr, size);
}

void
vmem__heap_scattered(void)
{
	if (vmem_size(heap, VMEM_ALLOC | VMEM_FREE) >= HUGE_MIN &&
	    !atomic_load_explicit(&scattered, memory_order_relaxed) &&
	    !atomic_exchange(&scattered, true))
		vmem_walk(heap, VMEM_ALLOC, refuse_huge, NULL);
}

static void
heap_release(vmem_t *source, void *addr, size_t size)
{
	(void)source;
	/* Refused, the span is still ours: keep it, as zero as the rest. */
	if (!os_unmap(addr, size))
		(void)vmem_add(heap, addr, size, VM_NOSLEEP);
}

bool
vmem__heap_init(void)
{
	vmem__heap_quantum = qr_max(PAGEMAP_PAGE, os_page_size());
	vmem__runs_init();
	heap = vmem_xcreate("heap", NULL, 0, vmem__heap_quantum, heap_import,
	    heap_release, NULL, 0, VM_NOSLEEP | VMC_XALIGN);
	return (heap != NULL);
}

vmem_t *
vmem__heap(void)
{
	return (heap);
}

/*
 * What is free is there only because the kernel would not take it.  So a look for
 * it, and all that can be done when there is no memory, wait until they are of use.
 */
static void *
span_try(size_t size, size_t align)
{
	uintptr_t addr;

	if (vmem_size(heap, VMEM_FREE) == 0 &&
	    vmem__import_span(heap, size, align, &addr) == 0)
		return ((void *)addr);
	return (vmem_xalloc(heap, size, align, 0, 0, NULL, NULL, VM_NOSLEEP));
}

void *
vmem__span_alloc(size_t size, size_t align, size_t *sizep)
{
	size_t total = vmem_size(heap, VMEM_ALLOC | VMEM_FREE);
	size_t span = qr_min(qr_max(total / 2, SPAN_MIN), SPAN_MAX);
	void *addr;

	*sizep = qr_roundup(qr_max(span, size), SPAN_MIN);
	addr = *sizep < size ? NULL : span_try(*sizep, qr_max(align, SPAN_MIN));
	if (addr == NULL) {
		*sizep = size;
		addr = span_try(size, qr_max(align, vmem__heap_quantum));
	}
	return (addr);
}

void
vmem__span_free(void *addr, size_t size)
{
	vmem_xfree(heap, addr, size);
}
