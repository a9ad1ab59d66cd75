/*
 * arena.c - page numbers, some of them for a device that cannot reach all.
 */
#include <quarry/quarry.h>
#include <quarry/vmem.h>

#include <stdio.h>
#include <unistd.h>

enum { PAGES = 1024, BUFFERS = 24, BUFFER = 24 };

/* Below page 256, and not across a multiple of 64: the device is like that. */
static int
device_buffer(vmem_t *pages, uintptr_t *page)
{
	return (vmem_xalloc_addr(
	    pages, 12, 4, 0, 64, 0, 256, VM_NOSLEEP | VM_BESTFIT, page));
}

static void
release(void *pages, void *start, size_t size)
{
	vmem_xfree(pages, start, size);
}

int
main(int argc, char **argv)
{
	const char *format = argc > 1 ? argv[1] : "text";
	uintptr_t buffer[BUFFERS], page;
	vmem_t *pages = vmem_create("pages", NULL, 0, 1, NULL, NULL, NULL, 0,
	    VM_NOSLEEP | VMC_IDENTIFIER);

	/* Page 0 is one of them, so the addresses are no pointers. */
	if (pages == NULL || vmem_add_addr(pages, 0, PAGES, VM_NOSLEEP) != 0)
		return (1);
	for (int i = 0; i < BUFFERS; i++)
		if (vmem_xalloc_addr(pages, (size_t)(BUFFER + i), 0, 0, 0, 0, 0,
			VM_NOSLEEP, &buffer[i]) != 0)
			return (1);
	for (int i = 0; i < BUFFERS; i += 3)
		vmem_xfree_addr(pages, buffer[i], (size_t)(BUFFER + i));
	while (device_buffer(pages, &page) == 0)
		if (argc == 1)
			printf("the device has pages %lu to %lu\n",
			    (unsigned long)page, (unsigned long)page + 11);

	fflush(stdout);
	if (vmem_map_write(pages, STDOUT_FILENO, format) != 0)
		return (1);
	vmem_walk(pages, VMEM_ALLOC | (int)VMEM_REENTRANT, release, pages);
	vmem_destroy(pages);
	return (0);
}
