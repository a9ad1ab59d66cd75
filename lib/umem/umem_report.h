/*
 * umem_report.h - what is said when something is wrong.
 *
 * Without UMEM_DEBUG=verbose a report is one line; with it, it tells what is
 * known of the object, too.  Either goes to the panic hook, or to standard
 * error and is followed by SIGABRT; with UMEM_DEBUG=noabort it goes to standard
 * error, and the call that was wrong does nothing.
 */
#ifndef QR_UMEM_REPORT_H
#define QR_UMEM_REPORT_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

struct umem_cache;
struct umem_slab;

enum umem_bad {
	UMEM_GOOD,
	UMEM_BAD_ADDRESS,  /* in no slab of any cache */
	UMEM_BAD_CACHE,    /* an object of another cache */
	UMEM_BAD_INTERIOR, /* inside an object, or between two */
	UMEM_BAD_TWICE,    /* free already */
	UMEM_BAD_SIZE,     /* freed with another size than asked for */
	UMEM_BAD_MODIFIED, /* written to while it was free */
	UMEM_BAD_REDZONE,  /* written to behind its end */
	UMEM_BAD_TAG,      /* what lies behind it was overwritten */
	UMEM_BAD_BUFCTL,   /* so was what is known of it */
	UMEM_BAD_KINDS
};

/* Something wrong with an object, or with what was taken for one. */
struct umem_fault {
	enum umem_bad uf_bad;
	struct umem_cache *uf_cache; /* that was used */
	uintptr_t uf_addr;           /* that was used */
	size_t uf_offset;            /* MODIFIED: where */
	uint64_t uf_was;             /* MODIFIED, TAG, SIZE: what should be */
	uint64_t uf_is;              /* and what is */
};

/*
 * Report it.  Returns when noabort or a panic hook says so.  No lock may be
 * held.
 */
QR_COLD void umem__report_fault(const struct umem_fault *uf);

/* A fault that takes no more than this to tell. */
QR_COLD void umem__report_free(
    struct umem_cache *cp, uintptr_t obj, enum umem_bad bad);

/* What is wrong with a free of obj to cp; UMEM_GOOD when nothing is. */
enum umem_bad umem__slab_judge(struct umem_cache *cp, uintptr_t obj);
/* The same, no matter whether it is free: its slab, and which it is there. */
enum umem_bad umem__slab_find(
    struct umem_cache *cp, uintptr_t obj, struct umem_slab **slp, size_t *ip);

/* Anything else that is wrong with a call. */
QR_COLD void umem__report(const char *fmt, ...) QR_PRINTF(1, 2);

/* A request will return NULL, which an error is if these flags say so. */
QR_COLD void umem__report_null(uint32_t flags);

/* What lives at p, for a message: "cache umem_alloc_64, ...". */
QR_COLD void umem__describe(const void *p, char *buf, size_t size);

#endif /* QR_UMEM_REPORT_H */
