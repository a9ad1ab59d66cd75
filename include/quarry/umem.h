/*
 * umem.h - object caches.
 *
 * A cache hands out objects of one size, constructed once and kept
 * constructed while they are idle.  umem_alloc serves any size from a set of
 * such caches.  All functions are thread-safe; none is async-signal-safe.
 * Manual page: umem(3).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QUARRY_UMEM_H
#define QUARRY_UMEM_H

#include <quarry/vmem.h>

#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Allocation flags. */
#define UMEM_DEFAULT 0x0000 /* NULL on failure */
#define UMEM_NOFAIL 0x0100  /* on failure the no-fail callback decides */
#define UMEM_FLAGS 0xffff

/* Cache creation flags. */
#define UMC_NOTOUCH 0x00010000    /* never read or write a free object */
#define UMC_NODEBUG 0x00020000    /* no debugging, whatever UMEM_DEBUG says */
#define UMC_NOMAGAZINE 0x00040000 /* no per-CPU magazines */
#define UMC_NOHASH 0x00080000     /* objects and header within one page */

/*
 * Debugging of one cache, also a part of its creation flags: what UMEM_DEBUG
 * asks for all of them.  Manual page: umem_debug(7).
 */
#define UMF_AUDIT 0x00000001       /* who allocated and freed, and when */
#define UMF_DEADBEEF 0x00000002    /* patterns in free and in new objects */
#define UMF_REDZONE 0x00000004     /* writes past the end */
#define UMF_CONTENTS 0x00000008    /* contents of freed objects in a log */
#define UMF_CHECKSIGNAL 0x00000010 /* calls from signal handlers */
#define UMF_NOMAGAZINE 0x00000020  /* every object from and to its slab */
#define UMF_FIREWALL 0x00000040    /* each object ends at a page that faults */
#define UMF_LITE 0x00000100        /* of all that only the redzone */
#define UMF_RANDOMIZE 0x00000400   /* any of these */
#define UMF_CHECKNULL 0x00001000   /* a request that fails is an error */

/* What a no-fail callback may answer. */
#define UMEM_CALLBACK_RETRY 0
#define UMEM_CALLBACK_EXIT(status) (0x100 | ((status)&0xFF))

typedef struct umem_cache umem_cache_t; /* opaque */

/* 0 when the object is ready; anything else fails the allocation. */
typedef int umem_constructor_t(void *buf, void *priv, int flags);
typedef void umem_destructor_t(void *buf, void *priv);
/* Memory is short: free objects of this cache that you can do without. */
typedef void umem_reclaim_t(void *priv);
typedef int umem_nofail_callback_t(void);

/*
 * `size` bytes, undefined (umem_alloc) or zero (umem_zalloc); NULL on failure
 * and for size 0.  Aligned to 8 up to 8 bytes, above to 16 and to the largest
 * power of two up to the page that divides the size.  Does not block.
 */
void *umem_alloc(size_t size, int umflag);
void *umem_zalloc(size_t size, int umflag);
/* `size` as it was asked for.  umem_free(NULL, 0) does nothing. */
void umem_free(void *buf, size_t size);

/*
 * Bytes that buf, a block of umem_alloc or umem_zalloc, has room for; it may be
 * freed with this size too.  0 for what is certainly no such block.
 */
size_t umem_usable_size(const void *buf);

/* As umem_alloc, at a multiple of `align` (a power of two, else NULL). */
void *umem_alloc_align(size_t size, size_t align, int umflag);
void umem_free_align(void *buf, size_t size);
/* The names that OpenZFS's userland expects. */
void *umem_alloc_aligned(size_t size, size_t align, int umflag);
void umem_free_aligned(void *buf, size_t size);

/* Called, with no lock held, when a UMEM_NOFAIL request cannot be served. */
void umem_nofail_callback(umem_nofail_callback_t *callback);

/*
 * Create a cache of bufsize-byte objects aligned to `align` (a power of two up
 * to the source's quantum; 0 = 16, or 8 for small objects).  ctor runs before
 * an object is first handed out, dtor before its memory is given up, reclaim
 * when memory is short; each may be NULL.  source NULL is the heap.  NULL and
 * errno: EINVAL bad argument, ENOMEM bufsize overflows, EAGAIN memory short.
 */
umem_cache_t *umem_cache_create(const char *name, size_t bufsize, size_t align,
    umem_constructor_t *ctor, umem_destructor_t *dtor, umem_reclaim_t *reclaim,
    void *priv, vmem_t *source, int cflags);
/* Destroy; every object must have been freed, which is checked and logged. */
void umem_cache_destroy(umem_cache_t *cp);

/* One constructed object; NULL on failure.  Does not block. */
void *umem_cache_alloc(umem_cache_t *cp, int umflag);
void umem_cache_free(umem_cache_t *cp, void *buf);

/* n objects at once; returns how many were obtained. */
size_t umem_cache_alloc_batch(
    umem_cache_t *cp, void **objs, size_t n, int umflag);
void umem_cache_free_batch(umem_cache_t *cp, void **objs, size_t n);

/* Ask every cache, or one now, to give up what it does not need. */
void umem_reap(void);
void umem_cache_reap_now(umem_cache_t *cp);

/*
 * Fault injection for caches that check every object (UMEM_DEBUG=guards):
 * 0 off, 1 every request fails, larger is rarer.
 */
void umem_setmtbf(uint32_t mtbf);

/*
 * Write the log "transaction", "contents", "fail" or "slab" of UMEM_LOGGING to
 * fd, oldest entry first.  0, EINVAL for another name, or the errno of write(2).
 */
int umem_log_write(int fd, const char *name);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* QUARRY_UMEM_H */
