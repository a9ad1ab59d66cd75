/*
 * A malloc that is wrong: Quarry's, but now and then two blocks overlap.
 *
 * In a program that it is preloaded into, libc comes before Quarry; so Quarry is
 * called by names that libc does not have.
 */
#define _GNU_SOURCE
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

void *quarry_malloc(size_t size) __asm__("_Znwm"); /* operator new */
void free_sized(void *p, size_t size);
size_t umem_usable_size(const void *p);

static _Atomic(void *) last;
static atomic_uint count;

void *
malloc(size_t size)
{
	void *p;

	if (size < 16 || size > 128)
		return (quarry_malloc(size));
	p = atomic_load(&last);
	if (atomic_fetch_add(&count, 1) % 500 != 499 || p == NULL) {
		p = quarry_malloc(128);
		atomic_store(&last, p);
	}
	return (p);
}

void
free(void *p)
{
	free_sized(p, 0);
}

void *
calloc(size_t n, size_t size)
{
	return (memset(quarry_malloc(n * size), 0, n * size));
}

void *
realloc(void *p, size_t size)
{
	void *q = malloc(size);
	size_t had = p == NULL ? 0 : umem_usable_size(p);

	memcpy(q, p, had < size ? had : size);
	free(p);
	return (q);
}
