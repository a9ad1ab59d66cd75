/*
 * ported.c - a program written for libumem, which has never heard of Quarry.
 */
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

int
main(void)
{
	umem_cache_t *cp = umem_cache_create(
	    "ported", sizeof(long), 0, ctor, NULL, NULL, NULL, NULL, 0);
	vmem_t *ids = vmem_create("ids", (void *)1, 100, 1, NULL, NULL, NULL, 0,
	    VM_SLEEP | VMC_IDENTIFIER);
	long *object = umem_cache_alloc(cp, UMEM_NOFAIL);
	void *id = vmem_alloc(ids, 1, VM_SLEEP);
	int ok = *object == 42 && id != NULL;

	vmem_free(ids, id, 1);
	vmem_destroy(ids);
	umem_cache_free(cp, object);
	umem_cache_destroy(cp);
	return (ok ? 0 : 1);
}
