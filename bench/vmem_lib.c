/*
 * vmem_lib.c - arenas of a libumem-compatible library, and its object caches.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem_engines.h"

#include <quarry/umem.h>
#include <quarry/vmem.h>

#include <dlfcn.h>
#include <stdlib.h>

static struct {
	__typeof__(vmem_create) *create;
	__typeof__(vmem_alloc) *alloc;
	__typeof__(vmem_xalloc) *xalloc;
	__typeof__(vmem_free) *free;
	__typeof__(vmem_xfree) *xfree;
	__typeof__(vmem_walk) *walk;
	__typeof__(umem_cache_create) *cache_create;
	__typeof__(umem_cache_alloc) *cache_alloc;
	__typeof__(umem_cache_free) *cache_free;
} lib;

static vmem_t *arena;
static umem_cache_t *caches[QUANTA_MAX]; /* one for each size of the rows */
static __typeof__(vmem_free) *give;

static void *
symbol(void *handle, const char *name)
{
	void *p = dlsym(handle, name);

	if (p == NULL)
		bench_die(dlerror());
	return (p);
}

static void
lib_open(const char *path)
{
	void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (h == NULL)
		bench_die(dlerror());
	*(void **)&lib.create = symbol(h, "vmem_create");
	*(void **)&lib.alloc = symbol(h, "vmem_alloc");
	*(void **)&lib.xalloc = symbol(h, "vmem_xalloc");
	*(void **)&lib.free = symbol(h, "vmem_free");
	*(void **)&lib.xfree = symbol(h, "vmem_xfree");
	*(void **)&lib.walk = symbol(h, "vmem_walk");
	*(void **)&lib.cache_create = symbol(h, "umem_cache_create");
	*(void **)&lib.cache_alloc = symbol(h, "umem_cache_alloc");
	*(void **)&lib.cache_free = symbol(h, "umem_cache_free");
}

static void
lib_create(const char *path, size_t quanta, bool qcache)
{
	lib_open(path);
	/* Quantum caches exist once object caches do. */
	if (qcache)
		(void)lib.cache_create(
		    "warm", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
	arena = lib.create("bench", (void *)BASE, quanta * QUANTUM, QUANTUM,
	    NULL, NULL, NULL, qcache ? QUANTA_MAX * QUANTUM : 0, VM_NOSLEEP);
	if (arena == NULL)
		bench_die("vmem_create");
	give = qcache ? lib.free : lib.xfree;
}

static uintptr_t
lib_alloc(size_t size, int flags)
{
	return ((uintptr_t)lib.alloc(arena, size, flags | VM_NOSLEEP));
}

static uintptr_t
lib_xalloc(const struct want *w)
{
	return ((uintptr_t)lib.xalloc(arena, w->size, w->align, 0, w->nocross,
	    (void *)w->min, (void *)w->max, w->flags | VM_NOSLEEP));
}

static void
lib_free(uintptr_t addr, size_t size)
{
	give(arena, (void *)addr, size);
}

static void
lib_walk(void (*fn)(void *arg, void *start, size_t size))
{
	lib.walk(arena, VMEM_FREE, fn, NULL);
}

const struct engine engine_lib = {.e_name = "vmem",
    .e_able = ABLE_ORDER | ABLE_BEST | ABLE_NEXT | ABLE_QCACHE,
    .e_most = SIZE_MAX,
    .e_most_ordered = SIZE_MAX,
    .e_create = lib_create,
    .e_alloc = lib_alloc,
    .e_xalloc = lib_xalloc,
    .e_free = lib_free,
    .e_walk = lib_walk};

/* ---- object caches, which quantum caches are measured by ---- */

static void
cache_create(const char *path, size_t quanta, bool qcache)
{
	(void)quanta;
	(void)qcache;
	lib_open(path);
	for (size_t i = 0; i < QUANTA_MAX; i++) {
		caches[i] = lib.cache_create("bench", QUANTUM * (i + 1), 0,
		    NULL, NULL, NULL, NULL, NULL, UMC_NOTOUCH);
		if (caches[i] == NULL)
			bench_die("umem_cache_create");
	}
}

static uintptr_t
cache_alloc(size_t size, int flags)
{
	(void)flags;
	return ((uintptr_t)lib.cache_alloc(caches[(size - 1) / QUANTUM], 0));
}

static void
cache_free(uintptr_t addr, size_t size)
{
	lib.cache_free(caches[(size - 1) / QUANTUM], (void *)addr);
}

const struct engine engine_cache = {.e_name = "cache",
    .e_able = ABLE_QCACHE | ABLE_ONLY,
    .e_most = SIZE_MAX,
    .e_create = cache_create,
    .e_alloc = cache_alloc,
    .e_free = cache_free};
