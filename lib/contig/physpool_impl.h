/*
 * physpool_impl.h - pools and contigmalloc: theory, structures, invariants.
 *
 * A pool is a mapping and an arena whose integers are the pool's physical
 * addresses.  contigmalloc puts its words (low, high, alignment, boundary) into
 * one request of vmem_xalloc_addr(), and the answer into a pointer.  Nothing is
 * searched for here, and a boundary is judged nowhere but in vmem.
 *
 *	physical   |--- segment 0 ---|        |-- segment 1 --|     spans of the
 *	                                                            arena
 *	virtual    |-- segment 1 --|--- segment 0 ---|              the mapping
 *
 * A segment is a stretch where both addresses run in step.  It is a span of the
 * arena, and spans are never merged, so no block lies across a hole in either
 * address.  From physical to virtual the segments of one pool are searched;
 * from virtual to physical, which also tells the pool, one table of all pools:
 * vtophys.c.
 *
 * What a pool knows of a block - size and type - is in a record of an array
 * outside, at the index of the block's first granule.  The array is address
 * space that costs memory only where a block was.  The pool itself is never
 * written.
 *
 * Could a request that failed ever succeed?  It could if it succeeds in an
 * arena with the same spans where nothing is allocated: the pool has one, so
 * that this question, too, is answered by vmem.
 *
 * Drivers ask for the same again.  While nothing was freed that could serve it,
 * the last answer says where the next one is: at a lower address, so that the
 * search begins there.  And a block that was allocated last and is then freed is
 * kept in hand, allocated in the arena: the same request has the same answer,
 * and is given the block without a search.  Before another one looks, the block
 * goes back.
 *
 * Virtual addresses are congruent to physical ones modulo 2 MiB, or the
 * largest power of two that the segment is long, so that what is aligned in one
 * is aligned in the other; external memory lies where its owner put it, and
 * pieces at addresses that the caller tells lie one after the other.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_PHYSPOOL_IMPL_H
#define QR_PHYSPOOL_IMPL_H

#include "base/bits.h"
#include "base/list.h"
#include "mtype/malloc_type_impl.h"
#include "os/os_lock.h"

#include <quarry/contigmalloc.h>
#include <quarry/vmem.h>

#include <stdatomic.h>
#include <stdbool.h>

enum { PHYSPOOL_NAME_MAX = 30 };

/* A stretch where physical and virtual addresses run in step. */
struct physseg {
	vm_paddr_t sg_pa;
	uintptr_t sg_va;
	size_t sg_size;
};

/* A block, at the index of its first granule; ru_size 0: none starts there. */
struct physrun {
	struct mtype *ru_type; /* NULL: reserved or in hand, not handed out */
	size_t ru_size;        /* multiple of the granule */
};

/* A request, checked: the caller's words, and the size rounded up. */
struct contig_req {
	size_t rq_size; /* multiple of the granule, not 0 */
	vm_paddr_t rq_low;
	vm_paddr_t rq_high; /* exclusive; ~0 = none */
	size_t rq_align;    /* power of two */
	size_t rq_boundary; /* 0, or a power of two that holds rq_size */
};

/* Runs set aside for requests like rs_req. */
struct physreserve {
	struct physreserve *rs_next;
	struct contig_req rs_req;
	size_t rs_want;      /* runs it was made with */
	size_t rs_have;      /* runs in rs_run */
	vm_paddr_t rs_run[]; /* rs_want of them at most */
};

/* What a pool's memory is, as physpool_backing.c makes it. */
struct physback {
	enum physpool_backing pb_kind;
	enum physpool_wiring pb_wiring;
	enum physpool_addr pb_addr;
	size_t pb_granule;
	uintptr_t pb_va;        /* first byte of the memory */
	size_t pb_span;         /* bytes from there to the last segment's end */
	struct physseg *pb_seg; /* umem_alloc'ed; by virtual address */
	size_t pb_nseg;
	size_t pb_room;   /* segments that pb_seg has room for */
	void *pb_reserve; /* address space to unmap, or NULL */
	size_t pb_reserve_size;
	int pb_fd;     /* -1: none */
	int pb_pin;    /* -1: none */
	bool pb_kept;  /* external memory is kept from children, */
	bool pb_wired; /* and in memory, until it is given back */
};

/*
 * Invariants, whenever pp_lock is free:
 *   P1  the allocated segments of pp_arena are those runs whose ru_size is not
 *       0, and the sizes agree; pp_image has none.
 *   P2  pp_nout runs have a type; each other one is in hand or in one
 *       reservation.
 *   P3  a reservation has rs_have <= rs_want runs, which all meet rs_req.
 * Locking: (c) constant; (p) pp_lock; (t) the lock of the list of pools.
 */
struct physpool {
	struct qr_mutex pp_lock;         /* rank QR_RANK_CLIENT */
	vmem_t *pp_arena;                /* (p) */
	struct physrun *pp_run;          /* (p) by granule from pb_va */
	struct physseg *pp_seg;          /* (c) by physical address */
	size_t pp_nseg;                  /* (c) */
	size_t pp_granule;               /* (c) */
	unsigned pp_shift;               /* (c) log2 of it */
	int pp_policy;                   /* (c) VM_* */
	size_t pp_size;                  /* (c) */
	size_t pp_nout;                  /* (p) runs handed out */
	unsigned pp_waiters;             /* (p) requests that may sleep */
	struct qr_cond pp_cond;          /* with pp_lock: something was freed */
	struct physreserve *pp_reserves; /* (p) */
	vmem_t *pp_image;                /* (p) same spans, all free */
	struct contig_req pp_last;       /* (p) the request of last time */
	vm_paddr_t pp_answer;            /* (p) what it was given */
	bool pp_fresh;           /* (p) it would be given nothing better */
	bool pp_in_hand;         /* (p) it is free; implies pp_fresh */
	struct physback pp_back; /* (c) */
	size_t pp_run_bytes;     /* (c) */
	struct qr_list pp_link;  /* (t) */
	unsigned pp_holds;       /* (t) somebody looks at it */
	char pp_name[PHYSPOOL_NAME_MAX]; /* (c) */
};

/* ---- physpool_backing.c ---- */

/* 0 or an errno with nothing left behind. */
int physpool__back(
    struct physback *pb, const struct physpool_attr *attr, size_t granule);
void physpool__unback(struct physback *pb);
/* By physical address. */
void physpool__sort(struct physseg *seg, size_t n);
/* Count pages that are not where a segment says; 0 or an errno. */
int physpool__moved(const struct physback *pb, size_t *moved);

/* ---- vtophys.c: all pools, by virtual address ---- */

/* A hit: its pool, and what to add to a virtual address. */
struct vtophys_hit {
	struct physpool *vh_pool;
	uint64_t vh_delta;
};

/* Which pool has va?  Takes no lock. */
bool vtophys__find(uintptr_t va, struct vtophys_hit *hit);
/* Does any pool have a part of it?  Under the lock of the list of pools. */
bool vtophys__overlaps(uintptr_t va, size_t size);
/*
 * Segments of a pool by virtual address, under the lock of the list of pools.
 * 0, ENOMEM, or EINVAL when they overlap others.
 */
int vtophys__insert(struct physpool *pool, const struct physseg *seg, size_t n);
void vtophys__remove(struct physpool *pool);

/* ---- physpool.c ---- */

/*
 * The pool after this one, NULL for the first; NULL at the end.  It is there
 * until it is passed in again.
 */
struct physpool *physpool__next(struct physpool *pool);

/* The last segment that begins at or below pa, or the first of all. */
static inline const struct physseg *
physpool__segment(const struct physpool *pool, vm_paddr_t pa)
{
	const struct physseg *sg = pool->pp_seg;

	for (size_t n = pool->pp_nseg; n > 1;) {
		size_t half = n / 2;

		sg = sg[half].sg_pa <= pa ? sg + half : sg;
		n -= half;
	}
	return (sg);
}

/* The virtual address of a physical one that is in the pool. */
static inline uintptr_t
physpool__va(const struct physpool *pool, vm_paddr_t pa)
{
	const struct physseg *sg = physpool__segment(pool, pa);

	return (sg->sg_va + (pa - sg->sg_pa));
}

static inline struct physrun *
physpool__run(const struct physpool *pool, uintptr_t va)
{
	return (&pool->pp_run[(va - pool->pp_back.pb_va) >> pool->pp_shift]);
}

/* ---- physpool_reserve.c ---- */

/*
 * A run that is reserved and meets the request: taken out of its reservation.
 * pp_lock is held.
 */
bool physpool__reserved_take(
    struct physpool *pool, const struct contig_req *rq, vm_paddr_t *pap);
/* Keep a run that is free again for a reservation that wants it. */
bool physpool__reserved_put(struct physpool *pool, vm_paddr_t pa, size_t size);
/* Drop every reservation.  No lock is held. */
void physpool__unreserve(struct physpool *pool);

/* ---- contigmalloc.c ---- */

/* The words of a caller. */
struct contig_words {
	const char *w_who; /* whom a panic names */
	unsigned long w_size;
	const struct malloc_type *w_type;
	int w_flags;
	vm_paddr_t w_low;
	vm_paddr_t w_high;
	unsigned long w_alignment;
	vm_paddr_t w_boundary;
};

/*
 * Check and complete a request; a contract broken is a panic.  0, EINVAL,
 * ENOSPC or ENOMEM.
 */
int contig__request(const struct physpool *pool, const struct contig_words *w,
    struct contig_req *rq);
static inline bool
contig__same(const struct contig_req *a, const struct contig_req *b)
{
	return (a->rq_size == b->rq_size && a->rq_low == b->rq_low &&
	    a->rq_high == b->rq_high && a->rq_align == b->rq_align &&
	    a->rq_boundary == b->rq_boundary);
}

/* Take a free run from one of a pool's arenas.  pp_lock is held. */
bool contig__take(const struct physpool *pool, vmem_t *arena,
    const struct contig_req *rq, vm_paddr_t *pap);
/* What nobody has goes back to the arena.  pp_lock is held. */
void contig__give_back(
    struct physpool *pool, struct physrun *run, vm_paddr_t pa);
/* Give back what is in hand.  pp_lock is held. */
void contig__settle(struct physpool *pool);
/* Something was freed.  pp_lock is held. */
void contig__wake(struct physpool *pool);
/* What a request fails with for which no run is free.  pp_lock is held. */
int contig__verdict(struct physpool *pool, const struct contig_req *rq);

/* For kfree and krealloc: false, or 0, when addr is in no pool. */
bool contig__kfree(void *addr, struct malloc_type *type);
size_t contig__size(void *addr);

#endif /* QR_PHYSPOOL_IMPL_H */
