/*
 * umem_report.h - what is said about a bad free.
 */
#ifndef QR_UMEM_REPORT_H
#define QR_UMEM_REPORT_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

struct umem_cache;

enum umem_bad {
	UMEM_GOOD,
	UMEM_BAD_ADDRESS,  /* in no slab of any cache */
	UMEM_BAD_CACHE,    /* an object of another cache */
	UMEM_BAD_INTERIOR, /* inside an object, or between two */
	UMEM_BAD_TWICE,    /* free already */
};

/*
 * An object that was given to cp cannot be freed.  Fatal, unless
 * UMEM_DEBUG=noabort or a panic hook says otherwise; the object is then left
 * alone.  No lock may be held.
 */
QR_COLD void umem__report_free(
    struct umem_cache *cp, uintptr_t obj, enum umem_bad bad);

/* What is wrong with a free of obj to cp; UMEM_GOOD when nothing is. */
enum umem_bad umem__slab_judge(struct umem_cache *cp, uintptr_t obj);

/* As qr_panic, but only a warning under UMEM_DEBUG=noabort. */
QR_COLD void umem__report(const char *fmt, ...) QR_PRINTF(1, 2);

/* What lives at p, for a message: "cache umem_alloc_64, ...". */
QR_COLD void umem__describe(const void *p, char *buf, size_t size);

#endif /* QR_UMEM_REPORT_H */
