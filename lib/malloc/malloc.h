/*
 * malloc.h - the malloc family as declared by the C library, and the names
 * that it does not declare yet.
 */
#ifndef QR_MALLOC_H
#define QR_MALLOC_H

/*
 * The library is compiled with hidden symbols; what is declared here is for
 * everybody.  It carries no symbol version: see malloc.map.
 */
#pragma GCC visibility push(default)

#include <malloc.h>
#include <stddef.h>
#include <stdlib.h>

void free_sized(void *p, size_t size);
void free_aligned_sized(void *p, size_t align, size_t size);

#pragma GCC visibility pop

#endif /* QR_MALLOC_H */
