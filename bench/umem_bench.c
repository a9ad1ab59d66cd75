/*
 * umem_bench.c - the rows of the umem benchmark.
 *
 * Three engines answer the same rows, and the first argument chooses:
 *
 *	umem     umem_cache_alloc, umem_alloc and their kin
 *	malloc   malloc of the same size; which one is decided by LD_PRELOAD
 *	mutex    a list of free objects under a mutex, over malloc: what
 *	         programs write for themselves
 *
 * Rows, in ns per pair of allocation and free:
 *
 *	cache.64        one object of one cache
 *	ctor            same, of objects that hold a mutex, a condition
 *	                variable and a list head ready for use; malloc has to
 *	                make them ready each time
 *	alloc.*         umem_alloc and umem_free of one size
 *	zalloc.*        same, zeroed
 *	batch.N         N objects of a cache, then back in order
 *	bulk.N          same, by the calls that move many at once
 *	prodcons, swap  objects that cross threads, as in malloc_bench
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "harness.h"
#include "ring.h"

#include <quarry/umem.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

enum {
	PAIRS = 1000,
	OBJECT = 64,
	MAX_BATCH = 1000,
	CROSSINGS = 32 * RING_BATCH,
	SWAPS = 4 * RING_BATCH,
};

typedef void *get_fn(size_t size);
typedef void put_fn(void *p, size_t size);

struct connection {
	pthread_mutex_t c_lock;
	pthread_cond_t c_ready;
	struct connection *c_next;
	struct connection *c_prev;
	char c_name[32];
};

static umem_cache_t *object_cache;
static umem_cache_t *connection_cache;
static struct ring rings[BENCH_MAX_WORKERS]; /* one from each worker */

static int
connection_construct(void *p, void *priv, int flags)
{
	struct connection *c = p;

	(void)priv;
	(void)flags;
	pthread_mutex_init(&c->c_lock, NULL);
	pthread_cond_init(&c->c_ready, NULL);
	c->c_next = c->c_prev = c;
	return (0);
}

static void
connection_destroy(void *p, void *priv)
{
	struct connection *c = p;

	(void)priv;
	pthread_cond_destroy(&c->c_ready);
	pthread_mutex_destroy(&c->c_lock);
}

/* Engine umem. */

INLINE void *
umem_cached_get(size_t size)
{
	(void)size;
	return (umem_cache_alloc(object_cache, UMEM_DEFAULT));
}

INLINE void
umem_cached_put(void *p, size_t size)
{
	(void)size;
	umem_cache_free(object_cache, p);
}

INLINE void *
umem_ctor_get(size_t size)
{
	(void)size;
	return (umem_cache_alloc(connection_cache, UMEM_DEFAULT));
}

INLINE void
umem_ctor_put(void *p, size_t size)
{
	(void)size;
	umem_cache_free(connection_cache, p);
}

INLINE void *
umem_sized_get(size_t size)
{
	return (umem_alloc(size, UMEM_DEFAULT));
}

INLINE void
umem_sized_put(void *p, size_t size)
{
	umem_free(p, size);
}

INLINE void *
umem_zeroed_get(size_t size)
{
	return (umem_zalloc(size, UMEM_DEFAULT));
}

/* Engine malloc. */

INLINE void *
malloc_get(size_t size)
{
	return (malloc(size));
}

INLINE void
malloc_put(void *p, size_t size)
{
	(void)size;
	free(p);
}

INLINE void *
malloc_zeroed_get(size_t size)
{
	return (calloc(1, size));
}

INLINE void *
malloc_ctor_get(size_t size)
{
	void *p = malloc(size);

	if (p != NULL)
		(void)connection_construct(p, NULL, 0);
	return (p);
}

INLINE void
malloc_ctor_put(void *p, size_t size)
{
	(void)size;
	connection_destroy(p, NULL);
	free(p);
}

/* Engine mutex: the link lies behind the object, which stays constructed. */

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static void *pool_free;

static void *
pool_pop(size_t size)
{
	void *p;

	pthread_mutex_lock(&pool_lock);
	p = pool_free;
	if (p != NULL)
		pool_free = *(void **)((char *)p + size);
	pthread_mutex_unlock(&pool_lock);
	return (p);
}

static void
mutex_put(void *p, size_t size)
{
	pthread_mutex_lock(&pool_lock);
	*(void **)((char *)p + size) = pool_free;
	pool_free = p;
	pthread_mutex_unlock(&pool_lock);
}

static void *
mutex_get(size_t size)
{
	void *p = pool_pop(size);

	return (p != NULL ? p : malloc(size + sizeof(void *)));
}

static void *
mutex_ctor_get(size_t size)
{
	void *p = pool_pop(size);

	if (p != NULL)
		return (p);
	p = malloc(size + sizeof(void *));
	if (p != NULL)
		(void)connection_construct(p, NULL, 0);
	return (p);
}

static void *
mutex_zeroed_get(size_t size)
{
	void *p = mutex_get(size);

	return (p == NULL ? NULL : memset(p, 0, size));
}

/* The loops; each is compiled once per engine. */

INLINE uint64_t
pairs(struct bench_worker *w, get_fn *get, put_fn *put)
{
	size_t size = w->bw_row->br_size;

	for (int i = 0; i < PAIRS; i++) {
		void *p = get(size);

		bench_keep(p);
		put(p, size);
	}
	return (PAIRS);
}

INLINE uint64_t
batch(struct bench_worker *w, get_fn *get, put_fn *put)
{
	void *objects[MAX_BATCH];
	size_t size = w->bw_row->br_size;
	size_t n = w->bw_row->br_count;

	for (size_t i = 0; i < n; i++) {
		objects[i] = get(size);
		*(void **)objects[i] = w;
	}
	for (size_t i = 0; i < n; i++)
		put(objects[i], size);
	return (n);
}

INLINE uint64_t
send_objects(
    struct bench_worker *w, struct ring *r, size_t n, get_fn *get, put_fn *put)
{
	size_t size = w->bw_row->br_size;

	for (size_t i = 0; i < n; i++) {
		void *p = get(size);

		if (p == NULL)
			bench_die("bench: allocation failed");
		*(void **)p = w;
		if (!ring_push(r, p)) {
			put(p, size);
			return (i);
		}
	}
	return (n);
}

INLINE uint64_t
receive_objects(struct bench_worker *w, struct ring *r, size_t n, put_fn *put)
{
	for (size_t i = 0; i < n; i++) {
		void *p = ring_pop(r);

		if (p == NULL)
			return (i);
		put(p, w->bw_row->br_size);
	}
	return (n);
}

INLINE uint64_t
prodcons(struct bench_worker *w, get_fn *get, put_fn *put)
{
	struct ring *r = &rings[w->bw_id & ~1U];

	return (w->bw_id % 2 == 0 ? send_objects(w, r, CROSSINGS, get, put)
				  : receive_objects(w, r, CROSSINGS, put));
}

INLINE uint64_t
swap(struct bench_worker *w, get_fn *get, put_fn *put)
{
	uint64_t ops = 0;

	for (int i = 0; i < CROSSINGS / SWAPS; i++) {
		(void)send_objects(w, &rings[w->bw_id], SWAPS, get, put);
		ops += receive_objects(w, &rings[w->bw_id ^ 1], SWAPS, put);
	}
	return (ops);
}

/* One loop of one engine, as a row calls it. */
#define UNIT(name, loop, get, put)                   \
	static uint64_t name(struct bench_worker *w) \
	{                                            \
		return (loop(w, get, put));          \
	}

UNIT(umem_cached_pairs, pairs, umem_cached_get, umem_cached_put)
UNIT(umem_ctor_pairs, pairs, umem_ctor_get, umem_ctor_put)
UNIT(umem_sized_pairs, pairs, umem_sized_get, umem_sized_put)
UNIT(umem_zeroed_pairs, pairs, umem_zeroed_get, umem_sized_put)
UNIT(umem_batch, batch, umem_cached_get, umem_cached_put)
UNIT(umem_prodcons, prodcons, umem_cached_get, umem_cached_put)
UNIT(umem_swap, swap, umem_cached_get, umem_cached_put)

UNIT(malloc_pairs, pairs, malloc_get, malloc_put)
UNIT(malloc_ctor_pairs, pairs, malloc_ctor_get, malloc_ctor_put)
UNIT(malloc_zeroed_pairs, pairs, malloc_zeroed_get, malloc_put)
UNIT(malloc_batch, batch, malloc_get, malloc_put)
UNIT(malloc_prodcons, prodcons, malloc_get, malloc_put)
UNIT(malloc_swap, swap, malloc_get, malloc_put)

UNIT(mutex_pairs, pairs, mutex_get, mutex_put)
UNIT(mutex_ctor_pairs, pairs, mutex_ctor_get, mutex_put)
UNIT(mutex_zeroed_pairs, pairs, mutex_zeroed_get, mutex_put)
UNIT(mutex_batch, batch, mutex_get, mutex_put)
UNIT(mutex_prodcons, prodcons, mutex_get, mutex_put)
UNIT(mutex_swap, swap, mutex_get, mutex_put)

static uint64_t
umem_bulk(struct bench_worker *w)
{
	void *objects[MAX_BATCH];
	size_t n = w->bw_row->br_count;

	if (umem_cache_alloc_batch(object_cache, objects, n, UMEM_DEFAULT) != n)
		bench_die("bench: allocation failed");
	for (size_t i = 0; i < n; i++)
		*(void **)objects[i] = w;
	umem_cache_free_batch(object_cache, objects, n);
	return (n);
}

#define ROWS(cached, ctor, sized, zeroed, batch, bulk, prodcons, swap)     \
	{                                                                  \
		{"cache.64", NULL, cached, OBJECT, 0, 0},                  \
		    {"ctor", NULL, ctor, sizeof(struct connection), 0, 0}, \
		    {"alloc.16", NULL, sized, 16, 0, 0},                   \
		    {"alloc.64", NULL, sized, 64, 0, 0},                   \
		    {"alloc.256", NULL, sized, 256, 0, 0},                 \
		    {"alloc.1024", NULL, sized, 1024, 0, 0},               \
		    {"alloc.4096", NULL, sized, 4096, 0, 0},               \
		    {"alloc.16384", NULL, sized, 16384, 0, 0},             \
		    {"alloc.65536", NULL, sized, 65536, 0, 0},             \
		    {"zalloc.64", NULL, zeroed, 64, 0, 0},                 \
		    {"zalloc.4096", NULL, zeroed, 4096, 0, 0},             \
		    {"batch.100", NULL, batch, OBJECT, 100, 0},            \
		    {"batch.1000", NULL, batch, OBJECT, 1000, 0},          \
		    {"bulk.100", NULL, bulk, OBJECT, 100, 0},              \
		    {"bulk.1000", NULL, bulk, OBJECT, 1000, 0},            \
		    {"prodcons", NULL, prodcons, OBJECT, 0, BENCH_PAIRED}, \
		    {"swap", NULL, swap, OBJECT, 0, BENCH_PAIRED},         \
	}

static const struct bench_row umem_rows[] =
    ROWS(umem_cached_pairs, umem_ctor_pairs, umem_sized_pairs,
	umem_zeroed_pairs, umem_batch, umem_bulk, umem_prodcons, umem_swap);
static const struct bench_row malloc_rows[] =
    ROWS(malloc_pairs, malloc_ctor_pairs, malloc_pairs, malloc_zeroed_pairs,
	malloc_batch, malloc_batch, malloc_prodcons, malloc_swap);
static const struct bench_row mutex_rows[] =
    ROWS(mutex_pairs, mutex_ctor_pairs, mutex_pairs, mutex_zeroed_pairs,
	mutex_batch, mutex_batch, mutex_prodcons, mutex_swap);

enum { NROWS = sizeof(umem_rows) / sizeof(umem_rows[0]) };

static int
umem_main(int argc, char **argv)
{
	object_cache = umem_cache_create(
	    "bench_object", OBJECT, 0, NULL, NULL, NULL, NULL, NULL, 0);
	connection_cache =
	    umem_cache_create("bench_connection", sizeof(struct connection), 0,
		connection_construct, connection_destroy, NULL, NULL, NULL, 0);
	if (object_cache == NULL || connection_cache == NULL)
		bench_die("bench: umem_cache_create failed");
	return (bench_main(argc, argv, umem_rows, NROWS));
}

int
main(int argc, char **argv)
{
	const char *engine = argc < 2 ? "" : argv[1];

	if (strcmp(engine, "umem") == 0)
		return (umem_main(argc - 1, argv + 1));
	if (strcmp(engine, "malloc") == 0)
		return (bench_main(argc - 1, argv + 1, malloc_rows, NROWS));
	if (strcmp(engine, "mutex") == 0)
		return (bench_main(argc - 1, argv + 1, mutex_rows, NROWS));
	bench_die("usage: umem_bench umem|malloc|mutex --row NAME ...");
}
