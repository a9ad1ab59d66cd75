/*
 * apart.h - the malloc family under names of its own, beside that of the C
 * library or of a sanitizer.
 */
#ifndef QR_TEST_APART_H
#define QR_TEST_APART_H

#include <stddef.h>

void *apart_malloc(size_t size);
void *apart_calloc(size_t n, size_t size);
void *apart_realloc(void *p, size_t size);
void *apart_reallocarray(void *p, size_t n, size_t size);
void *apart_memalign(size_t align, size_t size);
void *apart_aligned_alloc(size_t align, size_t size);
int apart_posix_memalign(void **out, size_t align, size_t size);
void *apart_valloc(size_t size);
void *apart_pvalloc(size_t size);
void apart_free(void *p);
void apart_free_sized(void *p, size_t size);
void apart_free_aligned_sized(void *p, size_t align, size_t size);
size_t apart_malloc_usable_size(void *p);
int apart_malloc_trim(size_t pad);

#endif /* QR_TEST_APART_H */
