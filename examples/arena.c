/*
 * arena.c - page numbers, some of them for a device that cannot reach all.
 */
#include <quarry/vmem.h>

#include <stdio.h>

static void
show(void *arg, void *start, size_t size)
{
	(void)arg;
	printf("%zu pages from %zu\n", size, (size_t)start);
}

int
main(void)
{
	uintptr_t any, low;
	vmem_t *pages = vmem_create("pages", NULL, 0, 1, NULL, NULL, NULL, 0,
	    VM_NOSLEEP | VMC_IDENTIFIER);

	/* 1024 pages; 0 is one of them, so addresses are no pointers. */
	if (pages == NULL || vmem_add_addr(pages, 0, 1024, VM_NOSLEEP) != 0)
		return (1);
	if (vmem_xalloc_addr(pages, 100, 0, 0, 0, 0, 0, VM_NOSLEEP, &any) != 0)
		return (1);
	/* Below page 256, and not across a multiple of 64. */
	if (vmem_xalloc_addr(pages, 48, 0, 0, 64, 0, 256, VM_NOSLEEP, &low) !=
	    0)
		return (1);
	vmem_walk(pages, VMEM_ALLOC, show, NULL);
	printf("%zu free\n", vmem_size(pages, VMEM_FREE));

	vmem_xfree_addr(pages, low, 48);
	vmem_xfree_addr(pages, any, 100);
	vmem_destroy(pages);
	return (0);
}
