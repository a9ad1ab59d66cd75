/*
 * umem_look.h - what the caches and the heap hold, for tests.
 */
#ifndef QR_TEST_UMEM_LOOK_H
#define QR_TEST_UMEM_LOOK_H

#include "umem/umem_stats.h"

#include <stdbool.h>
#include <stddef.h>

/* The last cache of that name; false when there is none. */
bool look_cache(const char *name, struct umem_stat *us);

/* The numbered invariants of every cache and of the heap; aborts if broken. */
void look_check(void);

/* Bytes that the heap arena has given out. */
size_t look_heap(void);

/* Bytes of the process that are resident, and that are mapped. */
size_t look_resident(void);
size_t look_mapped(void);

/* Does the line of flags that smaps has for the mapping at p name `flag`? */
bool look_flag(const void *p, const char *flag);

/* A sanitizer has memory of its own beside ours, and makes all slow. */
bool look_shadowed(void);

/* Tests are to be short: QR_TEST_QUICK is set. */
bool look_quick(void);

#endif /* QR_TEST_UMEM_LOOK_H */
