/*
 * physpool.h - pools of memory with physical addresses.
 *
 * A pool is a mapping and the physical addresses that belong to it: simulated
 * ones, those the caller names, or the real ones.  contigmalloc(3) allocates
 * from it.  Nothing in a pool is read or written by the library, but for
 * M_ZERO.  All functions are thread-safe.  Manual page: physpool(3).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QUARRY_PHYSPOOL_H
#define QUARRY_PHYSPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

typedef uint64_t vm_paddr_t;
typedef struct physpool physpool_t; /* opaque */

/* Where the memory comes from. */
enum physpool_backing {
	PHYSPOOL_MEMFD = 0, /* a file of memory of the pool's own */
	PHYSPOOL_HUGETLB,   /* the same, of huge pages */
	PHYSPOOL_FD,        /* the caller's file or device, mapped shared */
	PHYSPOOL_EXTERNAL,  /* the caller's mapping, never touched */
};

/* What is done to keep it where it is. */
enum physpool_wiring {
	PHYSPOOL_UNWIRED = 0, /* nothing */
	PHYSPOOL_MLOCK,       /* it stays in memory, but pages may move */
	PHYSPOOL_PIN,         /* pages do not move either */
};

/* What its physical addresses are. */
enum physpool_addr {
	PHYSPOOL_SIMULATED = 0, /* numbers that only the program knows */
	PHYSPOOL_REAL,          /* where the pages are */
};

/* Which of several possible places a request is given. */
enum physpool_policy {
	PHYSPOOL_HIGH_FIRST = 0, /* the highest, as contigmalloc(9) says */
	PHYSPOOL_LOW_FIRST,
	PHYSPOOL_BEST_FIT, /* in the smallest free run */
};

/* Begin with all zeroes: each 0 is a sensible default. */
struct physpool_attr {
	const char *name;              /* copied */
	vm_paddr_t base;               /* first simulated physical address */
	size_t size;                   /* bytes */
	size_t granule;                /* power of two; 0 = page size */
	enum physpool_backing backing; /* where the memory comes from */
	enum physpool_wiring wiring;   /* what keeps it */
	enum physpool_addr addr;       /* what its addresses are */
	enum physpool_policy policy;   /* which place to choose */
	int fd;                        /* PHYSPOOL_FD: mapped at fd_offset */
	off_t fd_offset;
	void *va; /* PHYSPOOL_EXTERNAL: where the caller mapped it */
	const vm_paddr_t *paddrs; /* address of each piece, instead of base */
	size_t paddrs_piece;      /* bytes in a piece; 0 = granule */
};

/*
 * Make a pool.  0, or an errno with *poolp unchanged: EINVAL a bad attribute,
 * or memory that overlaps another pool's; ENOMEM memory, huge pages or
 * RLIMIT_MEMLOCK are used up; EPERM real addresses are hidden from the caller,
 * or pinning is forbidden; EFAULT external memory that is to be wired or to
 * have real addresses is not there; any other of mmap(2), mlock(2) and
 * io_uring_register(2).  May block.
 */
int physpool_create(physpool_t **poolp, const struct physpool_attr *attr);
/*
 * Give a pool up.  0, or EBUSY while memory of it is allocated or waited for,
 * and for the default pool.
 */
int physpool_destroy(physpool_t *pool);

/*
 * The pool of contigmalloc(), made on first use with simulated addresses from
 * 0: 64 MiB, or QUARRY_OPTIONS physpool_size.  NULL and errno when it cannot
 * be made.
 */
physpool_t *physpool_default(void);

/* An enum physpool_addr. */
int physpool_addr_kind(const physpool_t *pool);

/*
 * Look up again where the pages of a pool with real addresses are, and count
 * those that are elsewhere, or nowhere.  0 and *moved_pages, which is 0 for
 * simulated addresses; EPERM when they are hidden from the caller.
 */
int physpool_verify(physpool_t *pool, size_t *moved_pages);

/*
 * Set n runs aside, as contigmalloc_pool() would place them.  A request of the
 * same rounded size whose constraints a run meets takes it when nothing else
 * is free; memory that is freed fills the reservation up again.  n = 0 drops a
 * reservation with the same arguments.  0; ENOMEM when there is no room for
 * all n, then none is reserved; EINVAL or ENOSPC as contigmalloc(3).
 */
int physpool_reserve(physpool_t *pool, size_t size, vm_paddr_t low,
    vm_paddr_t high, unsigned long alignment, vm_paddr_t boundary, size_t n);

/*
 * A descriptor of the pool's memory, for the caller to close.  A pool that
 * another process makes of it has the same addresses.  -1 and errno: EINVAL
 * for external memory, EMFILE.
 */
int physpool_export_fd(physpool_t *pool);

/* The address in memory of a physical address; NULL outside of the pool. */
void *physpool_phystov(physpool_t *pool, vm_paddr_t pa);

/*
 * The physical address of `va`, whichever pool it is in.  (vm_paddr_t)-1 and
 * EFAULT in none.  Takes no lock.  physpool_vtophys is the same, never inline.
 */
vm_paddr_t vtophys(const void *va);
vm_paddr_t physpool_vtophys(const void *va);

/* Where vtophys() looks first; the library's own. */
extern struct vtophys_front {
	uint64_t vf_version; /* moves before vf_va and vf_delta do */
	size_t vf_size;      /* 0 while they do */
	uintptr_t vf_va;
	uint64_t vf_delta;
} vtophys_front;

extern __inline __attribute__((__gnu_inline__)) vm_paddr_t
vtophys(const void *va)
{
	const struct vtophys_front *vf = &vtophys_front;
	uint64_t seen = __atomic_load_n(&vf->vf_version, __ATOMIC_ACQUIRE);
	size_t size = __atomic_load_n(&vf->vf_size, __ATOMIC_ACQUIRE);
	uintptr_t at = (uintptr_t)va;
	uintptr_t off = at - __atomic_load_n(&vf->vf_va, __ATOMIC_ACQUIRE);
	uint64_t pa = at + __atomic_load_n(&vf->vf_delta, __ATOMIC_ACQUIRE);

	if (off < size &&
	    seen == __atomic_load_n(&vf->vf_version, __ATOMIC_RELAXED))
		return (pa);
	return (physpool_vtophys(va));
}

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* QUARRY_PHYSPOOL_H */
