/*
 * shrink.h - the shortest list of operations that still goes wrong.
 */
#ifndef QR_TEST_SHRINK_H
#define QR_TEST_SHRINK_H

#include <stdbool.h>
#include <stddef.h>

/* Does a list of n operations run without fault? */
typedef bool shrink_passes_t(const void *ops, size_t n, void *arg);

/*
 * Delete from a failing list of n operations of `size` bytes what can be deleted
 * without the failure going away.  The length that is left.
 */
size_t shrink_list(
    void *ops, size_t n, size_t size, shrink_passes_t *passes, void *arg);

#endif /* QR_TEST_SHRINK_H */
