/*
 * vmem_private.h - what the floors above may use of vmem beside its public
 * header: quantum cache hooks, statistics, fork hooks, run-time options.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_PRIVATE_H
#define QR_VMEM_PRIVATE_H

#include <quarry/vmem.h>

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define VMEM_NAME_MAX 30 /* bytes of an arena's name, with its NUL */

/*
 * Quantum caches are object caches, and those live above.  The table is
 * filled in at start-up; an arena created before that has no caches.
 *
 * create tells how a hit is made without a call: percpu_pop(qh_off), and
 * percpu_push() of an integer, which are kept turned left by qh_shift.  It finds
 * 0 there, the slot that always misses.  alloc and free are for misses.
 *
 * No lock of vmem is held around any call.  alloc and free are given integers
 * that may name no memory.  alloc honours the VM_KMFLAGS bits; 0 is an
 * ordinary address.  reap gives one cache's idle objects back to its arena.
 * Whenever an arena is about to fail or to sleep, reap_over has all caches do so
 * whose objects are its own, or those of an arena that imports from it, and tells
 * whether there are any.  reap_all asks every cache in the process when that is an
 * arena of memory: it limits its own rate.  reap_heap is called when the heap is
 * out of memory, and calls nobody back.
 */
struct vmem__qcache_hit {
	uint32_t qh_off;
	uint32_t qh_shift;
};

struct vmem__qcache_ops {
	void *(*create)(const char *name, size_t size, size_t align,
	    vmem_t *arena, size_t slabsize, int flags,
	    struct vmem__qcache_hit *hit);
	void (*destroy)(void *cache);
	bool (*alloc)(void *cache, int vmflag, uintptr_t *addr);
	void (*free)(void *cache, uintptr_t addr);
	void (*reap)(void *cache);
	bool (*reap_over)(vmem_t *arena);
	void (*reap_all)(void);
	void (*reap_heap)(void);
};

void vmem__qcache_register(const struct vmem__qcache_ops *ops);

/* One arena, as it was while its lock was held. */
struct vmem__stat {
	char vs_name[VMEM_NAME_MAX];
	char vs_source_name[VMEM_NAME_MAX]; /* empty: no source */
	uint64_t vs_id;
	uint64_t vs_source_id; /* 0: no source */
	unsigned vs_depth;     /* arenas below it in the tree */
	bool vs_identifier;    /* VMC_IDENTIFIER */
	size_t vs_quantum;
	size_t vs_inuse;    /* integers allocated, exactly as asked for */
	size_t vs_import;   /* integers in imported spans */
	size_t vs_total;    /* integers in all spans */
	size_t vs_spans;    /* number of spans */
	size_t vs_segments; /* of segments, allocated and free; */
			    /* in an id_space, allocated */
	size_t vs_resting;  /* identifiers freed and not to be had yet */
	size_t vs_metadata; /* bytes that describe them */
	uint64_t vs_alloc, vs_free, vs_wait, vs_fail;
	uint64_t vs_lookup; /* allocated segments that a free passed over */
	uint64_t vs_search; /* free ones that a request looked at in vain */
	/* Of the waits and failures: memory to describe segments was short. */
	uint64_t vs_populate_wait, vs_populate_fail;
	/* Calls of vmem_contains, and spans that they compared. */
	uint64_t vs_contains, vs_contains_search;
};

/* One call per arena, in order of creation; no lock is held during a call. */
void vmem__foreach(void (*fn)(const struct vmem__stat *, void *), void *arg);

/* The arena's quantum, as it was created. */
size_t vmem__quantum(const vmem_t *vmp);
/* Does it import from `source`, or from one that does? */
bool vmem__imports_from(const vmem_t *vmp, const vmem_t *source);
/*
 * The function that a free may come to call, in this arena or in one that it
 * imports from: vmem_free apart, or NULL.
 */
vmem_free_t *vmem__free_calls(const vmem_t *vmp);

/*
 * The list of arenas and every arena, for the fork handlers.  vmem__fork_child
 * is called in the child between the two: other threads do not sleep and walk
 * there any more.
 */
void vmem__lock_all(void);
void vmem__unlock_all(void);
void vmem__fork_child(void);

/*
 * vmem_alloc and vmem_xalloc_addr with a deadline (absolute CLOCK_MONOTONIC,
 * NULL = for ever), which counts when vmflag allows sleeping.  0, or ENOMEM,
 * EINVAL, ETIMEDOUT.  The size that vmem__alloc is asked for is not 0.
 */
int vmem__alloc(vmem_t *vmp, size_t size, int vmflag,
    const struct timespec *deadline, uintptr_t *addrp);
int vmem__xalloc(vmem_t *vmp, size_t size, size_t align, size_t phase,
    size_t nocross, uintptr_t minaddr, uintptr_t maxaddr, int vmflag,
    const struct timespec *deadline, uintptr_t *addrp);

/* Policy bits that every vmem_alloc gets in addition: UMEM_OPTIONS allocator=. */
void vmem__set_default_policy(int vmflag);

/*
 * Fault injection: fail a VM_NOSLEEP vmem_alloc when the nanosecond clock is
 * a multiple of `mtbf`; 0 turns it off.
 */
void vmem__set_mtbf(uint32_t mtbf);

/*
 * Abort unless the arena's invariants (vmem_impl.h) hold.  Takes the lock;
 * linear.  Returns true, so that it can stand in an assertion.
 */
bool vmem__check(vmem_t *vmp);

#endif /* QR_VMEM_PRIVATE_H */
