/*
 * malloc_type.h - memory that is accounted to types, as in the BSD kernels.
 *
 * A type says what memory is for.  Each keeps count of what it has, and may be
 * given a limit.  All functions are thread-safe.  Manual page: malloc_type(3).
 *
 * With QUARRY_KERNEL_MALLOC_NAMES defined, malloc, free and realloc are macros
 * with the arguments they have in FreeBSD's kernel.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QUARRY_MALLOC_TYPE_H
#define QUARRY_MALLOC_TYPE_H

#include <stddef.h>
#include <stdint.h>
#ifdef QUARRY_KERNEL_MALLOC_NAMES
#include <malloc.h>
#include <stdlib.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* Defined by MALLOC_DEFINE; a type is an array of one, so its name points. */
struct malloc_type {
	struct malloc_type *ks_next; /* the one registered before, or NULL */
	unsigned long ks_magic;      /* M_MAGIC */
	const char *ks_shortdesc;    /* its name */
	void *ks_handle;             /* the library's own */
};
typedef struct malloc_type *malloc_type_t;

#define M_MAGIC 877983977ul

/*
 * Allocation flags, by FreeBSD's numbers.  A request with M_NOWAIT or M_NULLOK
 * never sleeps and may return NULL; any other sleeps until it can be served.
 */
#define M_NOWAIT 0x0001
#define M_WAITOK 0x0002
#define M_ZERO 0x0100 /* zeroed memory */
/* Accepted; contigmalloc(3) knows M_NORECLAIM. */
#define M_NORECLAIM 0x0080
#define M_NOVM 0x0200
#define M_USE_RESERVE 0x0400
#define M_NODUMP 0x0800
#define M_FIRSTFIT 0x1000
#define M_BESTFIT 0x2000
#define M_EXEC 0x4000
#define M_NEXTFIT 0x8000
#define M_NEVERFREED 0x10000

/* DragonFly's, of which the numbers differ from there. */
#define M_RNOWAIT M_NOWAIT
#define M_NULLOK 0x01000000 /* NULL instead of sleeping */
#define M_PASSIVE_ZERO 0x02000000
#define M_USE_INTERRUPT_RESERVE 0x04000000
#define M_POWEROF2 0x08000000   /* round the size up to a power of two */
#define M_CACHEALIGN 0x10000000 /* align to a cache line of 64 bytes */
#define M_SYSNOWAIT (M_RNOWAIT | M_NULLOK | M_USE_RESERVE)
#define M_INTNOWAIT (M_SYSNOWAIT | M_USE_INTERRUPT_RESERVE)
#define M_SYSWAIT (M_WAITOK | M_USE_RESERVE)
#define M_INTWAIT (M_SYSWAIT | M_USE_INTERRUPT_RESERVE)
#define M_SYSALLOC M_SYSWAIT

#define MALLOC_DECLARE(type) extern struct malloc_type type[1]

/*
 * Define a type; `static` may stand before it.  It is registered when its
 * object is loaded, or at its first use if that is earlier, and unregistered
 * when its object is unloaded.  longdesc is for the reader.
 */
#define MALLOC_DEFINE(type, shortdesc, longdesc)                               \
	struct malloc_type type[1] = {{0, M_MAGIC, shortdesc, 0}};             \
	static void type##_register(void) __attribute__((constructor, used));  \
	static void type##_register(void)                                      \
	{                                                                      \
		(void)malloc_type_register(type);                              \
	}                                                                      \
	static void type##_unregister(void) __attribute__((destructor, used)); \
	static void type##_unregister(void)                                    \
	{                                                                      \
		malloc_type_unregister(type);                                  \
	}                                                                      \
	struct malloc_type

MALLOC_DECLARE(M_CACHE);  /* "cache" */
MALLOC_DECLARE(M_DEVBUF); /* "devbuf": memory of device drivers */
MALLOC_DECLARE(M_TEMP);   /* "temp": whatever is soon freed */

/*
 * What MALLOC_DEFINE calls.  0 or ENOMEM; EINVAL for what is no type.
 * Unregistering a type that has memory prints a line, and keeps count until the
 * last of it is freed, still with this type; one of the same name that is
 * registered at the same place before has that memory again.
 */
int malloc_type_register(struct malloc_type *type);
void malloc_type_unregister(struct malloc_type *type);

/*
 * Make a type at run time, unless *typep is one already; the name is copied.
 * *typep stays NULL when memory is short.  kmalloc_destroy unregisters it,
 * sets *typep to NULL and gives the type up once the last of its memory is
 * freed.
 */
void kmalloc_create(struct malloc_type **typep, const char *descr);
void kmalloc_destroy(struct malloc_type **typep);

/*
 * `size` bytes for a type; contents are undefined without M_ZERO.  A size that
 * is a power of two is aligned to itself, up to a page.  Size 0 gives a pointer
 * of its own that must not be followed.  NULL and ENOMEM: with M_NOWAIT or
 * M_NULLOK, when memory or the type's limit is used up; with any flags, when
 * the size is beyond either.  May sleep without these two flags.
 */
void *kmalloc(size_t size, struct malloc_type *type, int flags);
/* As kmalloc, at a multiple of `align`, a power of two up to a page. */
void *kmalloc_aligned(
    size_t size, size_t align, struct malloc_type *type, int flags);
/*
 * Free memory of kmalloc or contigmalloc(3), with the type that it was
 * allocated for; NULL does nothing.
 */
void kfree(void *addr, struct malloc_type *type);
/*
 * Another size, with the contents kept; addr NULL allocates, size 0 frees and
 * returns NULL.  M_ZERO is not allowed.  On failure addr stays as it was.
 */
void *krealloc(void *addr, size_t size, struct malloc_type *type, int flags);
/* Copies of a string, or of at most maxlen characters; NULL for NULL. */
char *kstrdup(const char *str, struct malloc_type *type);
char *kstrndup(const char *str, size_t maxlen, struct malloc_type *type);

/*
 * The most bytes that a type may have; 0 = no limit.  It may be below what the
 * type has already.  Raising it wakes requests that sleep.  0 or ENOMEM; EINVAL
 * for what is no type.
 */
int malloc_type_set_limit(struct malloc_type *type, size_t bytes);
/* The limit, LONG_MAX when there is none. */
long kmalloc_limit(struct malloc_type *type);
/* Raise the limit, never lower it; 0 = no limit. */
void kmalloc_raise_limit(struct malloc_type *type, size_t bytes);
void kmalloc_set_unlimited(struct malloc_type *type);

/* Bytes are those that blocks take up, which is more than was asked for. */
struct malloc_type_stats {
	uint64_t inuse;    /* blocks */
	uint64_t memuse;   /* bytes in them */
	uint64_t highuse;  /* the most bytes there were at one time */
	uint64_t requests; /* that were served */
	uint64_t failed;   /* that were not */
	uint64_t limit;    /* bytes; 0 = none */
	uint64_t sizes;    /* bit i: there was a block of up to 2^(i+4) bytes */
};
/* 0 or ENOMEM; EINVAL for what is no type. */
int malloc_type_getstats(
    struct malloc_type *type, struct malloc_type_stats *stats);

/*
 * Call fn for each registered type, in order of registration; it may use,
 * register and unregister types.
 */
void malloc_type_list(void (*fn)(struct malloc_type *, void *), void *arg);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#ifdef QUARRY_KERNEL_MALLOC_NAMES
#define malloc(size, type, flags) kmalloc((size), (type), (flags))
#define free(addr, type) kfree((addr), (type))
#define realloc(addr, size, type, flags) \
	krealloc((addr), (size), (type), (flags))
#endif

#endif /* QUARRY_MALLOC_TYPE_H */
