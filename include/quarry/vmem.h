/*
 * vmem.h - arenas of integers.
 *
 * An arena hands out ranges of integers - addresses, page numbers, ids - from
 * spans that were added to it or that it imports from another arena.  Nothing
 * in a managed range is ever read or written.
 *
 * Sizes and addresses are in the arena's own units (bytes for memory).  All
 * functions are thread-safe.  Manual page: vmem(3).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QUARRY_VMEM_H
#define QUARRY_VMEM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

typedef struct vmem vmem_t; /* opaque */

/* Import: `size` integers from `source`, or NULL. */
typedef void *(vmem_alloc_t)(vmem_t *source, size_t size, int vmflag);
/* Release of an imported span, with exactly the range that was imported. */
typedef void(vmem_free_t)(vmem_t *source, void *addr, size_t size);
/* Import that may enlarge *sizep; with VMC_XALIGN it honours `align`. */
typedef void *(
    vmem_ximport_t)(vmem_t *source, size_t *sizep, size_t align, int vmflag);

/* How to behave when nothing fits. */
#define VM_SLEEP 0x0000     /* wait until it does; never fails */
#define VM_NOSLEEP 0x0001   /* fail at once */
#define VM_PANIC 0x0002     /* failure is fatal, and does not wait */
#define VM_PUSHPAGE 0x0004  /* accepted */
#define VM_NORMALPRI 0x0008 /* accepted */
#define VM_KMFLAGS 0x00ff   /* the bits that import callbacks are given */

/* Which of several possible places; instant fit when none is given. */
#define VM_BESTFIT 0x0100  /* smallest free segment that fits */
#define VM_FIRSTFIT 0x0200 /* lowest address (highest with VM_ENDALLOC) */
#define VM_NEXTFIT 0x0400  /* after the last one, wrapping; vmem_alloc only */
#define VM_MEMLOAD 0x0800  /* accepted */
#define VM_NORELOC 0x1000  /* accepted */
#define VM_ABORT 0x2000    /* fail at once: neither reap nor wait */
#define VM_ENDALLOC 0x4000 /* highest address; VM_BESTFIT: of the segment */
#define VM_FLAGS 0xffff

/* Arena creation. */
#define VMC_POPULATOR 0x00010000  /* accepted */
#define VMC_NO_QCACHE 0x00020000  /* no quantum caches; import in batches */
#define VMC_IDENTIFIER 0x00040000 /* identifiers, not memory */
#define VMC_XALLOC 0x00080000     /* set by vmem_xcreate */
#define VMC_XALIGN 0x00100000     /* vmem_xcreate: import honours align */
#define VMC_DUMPSAFE 0x00200000   /* accepted */
#define VMC_FLAGS 0xffff0000

/* Segment types, for vmem_walk and vmem_size. */
#define VMEM_ALLOC 0x01
#define VMEM_FREE 0x02
#define VMEM_SPAN 0x10
#define VMEM_ROTOR 0x20
#define VMEM_WALKER 0x40
#define VMEM_REENTRANT 0x80000000 /* vmem_walk: func may use the arena */

/*
 * Create an arena.  `quantum` is a power of two.  (base, size) is the first
 * span, both multiples of the quantum, or NULL and 0 for none.  Spans are
 * imported with afunc from `source` and released with ffunc (NULL: kept); both
 * run without any lock of the arena held.  Sizes up to qcache_max (at most 16
 * quanta) are served from quantum caches.  NULL when memory is short
 * (VM_NOSLEEP); bad arguments are fatal.
 */
vmem_t *vmem_create(const char *name, void *base, size_t size, size_t quantum,
    vmem_alloc_t *afunc, vmem_free_t *ffunc, vmem_t *source, size_t qcache_max,
    int vmflag);
vmem_t *vmem_xcreate(const char *name, void *base, size_t size, size_t quantum,
    vmem_ximport_t *afunc, vmem_free_t *ffunc, vmem_t *source,
    size_t qcache_max, int vmflag);

/* Destroy; warns when something is still allocated.  Never calls ffunc. */
void vmem_destroy(vmem_t *vmp);

/*
 * `size` integers, quantum aligned; NULL on failure (VM_NOSLEEP).  size 0 is
 * fatal.  May block without VM_NOSLEEP.  Pairs with vmem_free and the same
 * size.
 */
void *vmem_alloc(vmem_t *vmp, size_t size, int vmflag);
void vmem_free(vmem_t *vmp, void *addr, size_t size);

/*
 * As vmem_alloc, with constraints: address mod align == phase (align 0 = the
 * quantum), no multiple of nocross inside (0 = don't care), and the whole
 * range within [minaddr, maxaddr) (NULL = no bound).  align, phase and nocross
 * are multiples of the quantum.  Bypasses the quantum caches; a request with
 * nocross, minaddr or maxaddr never imports.  Pairs with vmem_xfree.
 */
void *vmem_xalloc(vmem_t *vmp, size_t size, size_t align, size_t phase,
    size_t nocross, void *minaddr, void *maxaddr, int vmflag);
void vmem_xfree(vmem_t *vmp, void *addr, size_t size);

/*
 * As vmem_xalloc, but address 0 is an ordinary answer, and minaddr and
 * maxaddr (exclusive, 0 = no bound) are integers.  0 and *addrp, or ENOMEM, or
 * EINVAL (impossible arguments).  VM_NEXTFIT counts here, when there is no other
 * constraint.
 */
int vmem_xalloc_addr(vmem_t *vmp, size_t size, size_t align, size_t phase,
    size_t nocross, uintptr_t minaddr, uintptr_t maxaddr, int vmflag,
    uintptr_t *addrp);
void vmem_xfree_addr(vmem_t *vmp, uintptr_t addr, size_t size);

/* Add the span [addr, addr + size).  addr, or NULL when memory is short. */
void *vmem_add(vmem_t *vmp, void *addr, size_t size, int vmflag);

/* As vmem_add, but a span may start at 0: 0, ENOMEM or EINVAL. */
int vmem_add_addr(vmem_t *vmp, uintptr_t addr, size_t size, int vmflag);

/* Non-zero when [addr, addr + size) lies inside one span. */
int vmem_contains(vmem_t *vmp, void *addr, size_t size);

/*
 * Call func(arg, start, size) for every segment whose type is in typemask,
 * ascending inside each span.  Unless VMEM_REENTRANT is given the arena is
 * locked: func must not use it, nor allocate or free anything, nor fork.
 */
void vmem_walk(vmem_t *vmp, int typemask,
    void (*func)(void *arg, void *start, size_t size), void *arg);

/* Integers allocated (VMEM_ALLOC), free (VMEM_FREE), or both. O(1). */
size_t vmem_size(vmem_t *vmp, int typemask);

/* Give what the quantum caches hold back to the arena. */
void vmem_qcache_reap(vmem_t *vmp);

/*
 * Requests that would take imported plus added space beyond `limit` fail, or
 * sleep; 0 = no limit.  Returns 0.  Raising the limit wakes sleepers.
 */
int vmem_set_limit(vmem_t *vmp, size_t limit);

/*
 * The arena behind the process's memory, and through afuncp and ffuncp (each
 * may be NULL) the functions that import usable memory from it.  NULL when it
 * could not be made.
 */
vmem_t *vmem_heap_arena(vmem_alloc_t **afuncp, vmem_free_t **ffuncp);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* QUARRY_VMEM_H */
