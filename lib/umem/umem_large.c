/*
 * umem_large.c - blocks larger than any class: whole runs of the heap.
 */
#include "umem/umem_impl.h"

#include "os/os.h"
#include "vmem/vmem_heap.h"

#include <string.h>

/*
 * Eight sizes to a doubling, so that a freed block serves a similar request.
 * What a block has beyond its request is address space: it is not touched.
 */
static size_t
round_size(size_t size)
{
	size_t step =
	    qr_max(vmem__heap_quantum, (size_t)1 << (qr_log2(size) - 3));

	return (qr_roundup(size, step));
}

void *
umem__large_alloc(size_t size, size_t align, size_t room, bool *zeroed)
{
	struct vmem__run *run = NULL;

	if (size > PTRDIFF_MAX || align > PTRDIFF_MAX)
		return (NULL);
	if (room == 0 && align <= vmem__heap_quantum)
		run = vmem__unpark(round_size(size));
	if (run == NULL) {
		umem__tick(true);
		run = vmem__run_alloc(HEAP_BLOCK, round_size(size),
		    qr_max(align, vmem__heap_quantum), room, zeroed);
	}
	if (run == NULL)
		return (NULL);
	run->rn_asked = size;
	run->rn_zeroed = zeroed != NULL;
	if (zeroed != NULL && !*zeroed)
		*zeroed = vmem__run_clear(run);
	return ((void *)run->rn_addr);
}

void
umem__large_free(struct vmem__run *run)
{
	if (run->rn_zeroed)
		vmem__run_look(run);
	if (vmem__park(run))
		umem__tick(false);
}

bool
umem__large_resize(struct vmem__run *run, size_t size)
{
	bool shrinks = size < run->rn_size;

	if (size > PTRDIFF_MAX || !vmem__run_resize(run, round_size(size)))
		return (false);
	run->rn_asked = size;
	if (shrinks)
		umem__tick(false);
	return (true);
}

/* The part of a block that is there twice while it moves. */
enum { MOVE_STEP = 256 << 10 };

void
umem__large_move(void *to, struct vmem__run *run, size_t size)
{
	char *from = (char *)run->rn_addr;
	bool purged = true;

	for (size_t at = 0, step; at < size; at += step) {
		step = qr_min(size - at, (size_t)MOVE_STEP);
		memcpy((char *)to + at, from + at, step);
		/* The last step takes what is behind the block, too. */
		purged = os_purge(from + at,
			     at + step < size ? step : run->rn_size - at) &&
		    purged;
	}
	if (purged)
		vmem__run_free_zero(run);
	else
		vmem__run_free(run);
}
