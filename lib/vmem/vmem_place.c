/*
 * vmem_place.c - where in a shard a request fits.
 */
#include "vmem/vmem_shard.h"

#include "base/bits.h"

enum {
	RUN_TRIES = 16, /* runs looked at before a sure bin */
	RUN_STEPS = 4,  /* free ones looked at on each side of one */
};

struct vmem_place
vmem__place_in(struct vmem__run *run, size_t align)
{
	return ((struct vmem_place){run, qr_nphase(run->rn_addr, align), 0});
}

/* Is there room for `size` bytes at a multiple of `align`? */
static bool
fits(const struct vmem__run *run, size_t size, size_t align)
{
	size_t skip = qr_nphase(run->rn_addr, align);

	return (skip < run->rn_size && run->rn_size - skip >= size);
}

struct vmem__run *
vmem__place_find(struct vmem_shard *sd, int kind, size_t size, size_t align)
{
	unsigned tries = RUN_TRIES, b;

	for (b = vmem__runs_next(sd, kind, vmem__runs_bin(size));
	     b < RUN_BINS && tries > 0; b = vmem__runs_next(sd, kind, b + 1)) {
		QR_LIST_FOREACH (
		    run, vmem__runs_at(sd, kind, b), struct vmem__run, rn_bin) {
			if (fits(run, size, align))
				return (run);
			if (--tries == 0)
				break;
		}
	}
	/* Whatever the address, the runs from here on have room. */
	b = vmem__runs_next(
	    sd, kind, vmem__runs_bin(size + align - vmem__heap_quantum) + 1);
	return (b == RUN_BINS ? NULL
			      : QR_LIST_FIRST(vmem__runs_at(sd, kind, b),
				    struct vmem__run, rn_bin));
}

/* The furthest free run one gets to from `run` in a few steps. */
static struct vmem__run *
beside(
    struct vmem__run *run, struct vmem__run *(*step)(const struct vmem__run *))
{
	for (unsigned i = 0; i < RUN_STEPS && step(run) != NULL; i++)
		run = step(run);
	return (run);
}

struct vmem__run *
vmem__place_widest(struct vmem_shard *sd, int kind, size_t size, size_t align)
{
	unsigned b = vmem__runs_last(sd, kind, RUN_BINS);
	struct vmem__run *run;

	if (b == RUN_BINS)
		return (NULL);
	run =
	    QR_LIST_FIRST(vmem__runs_at(sd, kind, b), struct vmem__run, rn_bin);
	return (fits(run, size, align) ? run : NULL);
}

/*
 * `best`, or [addr, addr + size) if that is free from `run` on, which is not
 * behind it, and has more in it that is idle.
 */
static struct vmem_place
better(
    struct vmem_place best, struct vmem__run *run, uintptr_t addr, size_t size)
{
	struct vmem_place place = {.pl_idle = 0};
	uintptr_t end = addr + size, to = 0;

	for (; run != NULL && to < end; run = vmem__run_behind(run)) {
		uintptr_t from = qr_max(run->rn_addr, addr);

		to = qr_min(run->rn_addr + run->rn_size, end);
		if (to <= addr)
			continue;
		if (place.pl_run == NULL) {
			place.pl_run = run;
			place.pl_skip = addr - run->rn_addr;
		}
		place.pl_idle += run->rn_zero ? 0 : to - from;
	}
	return (to == end && place.pl_idle > best.pl_idle ? place : best);
}

/*
 * Of the places that begin with one of the longest idle runs, too short though
 * they are, or in front of it as far as they must, the one that has the most
 * idle memory in it.  One that ends with an idle run has no more.
 */
struct vmem_place
vmem__place_around(struct vmem_shard *sd, size_t size, size_t align)
{
	struct vmem_place best = {.pl_idle = 0};
	unsigned tries = RUN_TRIES;

	for (unsigned b =
		 vmem__runs_last(sd, RUNS_IDLE, vmem__runs_bin(size) + 1);
	     b < RUN_BINS; b = vmem__runs_last(sd, RUNS_IDLE, b)) {
		QR_LIST_FOREACH (run, vmem__runs_at(sd, RUNS_IDLE, b),
		    struct vmem__run, rn_bin) {
			struct vmem__run *first = beside(run, vmem__run_before);
			struct vmem__run *last = beside(run, vmem__run_behind);
			uintptr_t from = qr_roundup(first->rn_addr, align);
			uintptr_t to = last->rn_addr + last->rn_size;

			if (from < to && to - from >= size) {
				to = qr_min(run->rn_addr, to - size);
				best = better(best, first,
				    qr_max(from, qr_rounddown(to, align)),
				    size);
			}
			if (--tries == 0)
				return (best);
		}
	}
	return (best);
}
