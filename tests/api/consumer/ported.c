/*
 * ported.c - a program written for libumem and for a BSD kernel, which has never
 * heard of Quarry.
 */
#define QUARRY_KERNEL_MALLOC_NAMES
#include <sys/types.h>

#include <sys/id_space.h>
#include <sys/malloc.h>
#include <sys/vmem.h>
#include <umem.h>

#include <stdio.h>

static int
ctor(void *buf, void *priv, int flags)
{
	(void)priv;
	(void)flags;
	*(long *)buf = 42;
	return (0);
}

static MALLOC_DEFINE(M_DRIVER, "driver", "memory of a driver");

static int
driver(void)
{
	char *p = contigmalloc(
	    8192, M_DEVBUF, M_ZERO, 0, 1L << 22, 32 * 1024, 1024 * 1024);
	char *q = malloc(100, M_DRIVER, M_WAITOK | M_ZERO);
	int ok = p != NULL && p[8191] == 0 && q[99] == 0;

	q = realloc(q, 1000, M_DRIVER, M_NOWAIT);
	free(q, M_DRIVER);
	contigfree(p, 8192, M_DEVBUF);
	return (ok);
}

int
main(void)
{
	umem_cache_t *cp = umem_cache_create(
	    "ported", sizeof(long), 0, ctor, NULL, NULL, NULL, NULL, 0);
	vmem_t *ids = vmem_create("ids", (void *)1, 100, 1, NULL, NULL, NULL, 0,
	    VM_SLEEP | VMC_IDENTIFIER);
	long *object = umem_cache_alloc(cp, UMEM_NOFAIL);
	void *id = vmem_alloc(ids, 1, VM_SLEEP);
	id_space_t *labels = id_space_create("labels", 0, 4);
	id_t label = id_alloc(labels);
	int ok = *object == 42 && id != NULL && label == 0 && driver();

	id_free(labels, label);
	id_space_destroy(labels);
	vmem_free(ids, id, 1);
	vmem_destroy(ids);
	umem_cache_free(cp, object);
	umem_cache_destroy(cp);
	return (ok ? 0 : 1);
}
