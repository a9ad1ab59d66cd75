/*
 * contig_test.h - what the tests of pools, contigmalloc and malloc types share.
 */
#ifndef QR_CONTIG_TEST_H
#define QR_CONTIG_TEST_H

#include <quarry/contigmalloc.h>
#include <quarry/quarry.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOWHERE ((vm_paddr_t)-1)
#define NO_LIMIT (~(vm_paddr_t)0)

enum { PAGE = 4096 };

/* ---- panics that are survived ---- */

static char panic_text[1024];
static unsigned panics;

static inline void
panic_remember(const char *message)
{
	panics++;
	(void)snprintf(panic_text, sizeof(panic_text), "%s", message);
}

/* What is called until the next PANIC_EXPECT or PANIC_NONE may be wrong. */
static inline void
panic_catch(void)
{
	panics = 0;
	panic_text[0] = '\0';
	(void)quarry_set_panic_hook(panic_remember);
}

/* There was one panic, with this text. */
#define PANIC_EXPECT(...)                                          \
	do {                                                       \
		char want_[1024];                                  \
		(void)quarry_set_panic_hook(NULL);                 \
		(void)snprintf(want_, sizeof(want_), __VA_ARGS__); \
		assert_string_equal(panic_text, want_);            \
		assert_int_equal(panics, 1);                       \
	} while (0)

/* ---- pools ---- */

static inline physpool_t *
pool_of(const struct physpool_attr *attr)
{
	physpool_t *pool = NULL;

	assert_int_equal(physpool_create(&pool, attr), 0);
	assert_non_null(pool);
	return (pool);
}

/* Simulated addresses from `base`. */
static inline physpool_t *
pool_make(vm_paddr_t base, size_t size)
{
	struct physpool_attr attr = {
	    .name = "test", .base = base, .size = size};

	return (pool_of(&attr));
}

/* Nothing is allocated, and it goes. */
static inline void
pool_done(physpool_t *pool)
{
	assert_int_equal(physpool_destroy(pool), 0);
}

/* A request, and where its memory begins: NOWHERE when there is none. */
static inline vm_paddr_t
get(physpool_t *pool, unsigned long size, vm_paddr_t low, vm_paddr_t high,
    unsigned long align, vm_paddr_t boundary)
{
	void *p = contigmalloc_pool(
	    pool, size, M_DEVBUF, M_NOWAIT, low, high, align, boundary);

	return (p == NULL ? NOWHERE : vtophys(p));
}

static inline vm_paddr_t
get_any(physpool_t *pool, unsigned long size)
{
	return (get(pool, size, 0, NO_LIMIT, 1, 0));
}

static inline void
put(physpool_t *pool, vm_paddr_t pa, unsigned long size)
{
	contigfree(physpool_phystov(pool, pa), size, M_DEVBUF);
}

static inline struct malloc_type_stats
stats_of(struct malloc_type *type)
{
	struct malloc_type_stats st;

	assert_int_equal(malloc_type_getstats(type, &st), 0);
	return (st);
}

/* The result of a call that fails is in errno. */
#define FAILS(call, error)                        \
	do {                                      \
		errno = 0;                        \
		assert_true((call) == NOWHERE);   \
		assert_int_equal(errno, (error)); \
	} while (0)

#endif /* QR_CONTIG_TEST_H */
