/*
 * vmem_test.h - what the tests of vmem share.
 */
#ifndef QR_VMEM_TEST_H
#define QR_VMEM_TEST_H

#include "vmem/vmem_private.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define P(addr) ((void *)(uintptr_t)(addr))

#define assert_addr_equal(a, b) assert_int_equal((uintptr_t)(a), (uintptr_t)(b))

/* An arena with one span and nothing special. */
static inline vmem_t *
plain_arena(uintptr_t base, size_t size, size_t quantum)
{
	vmem_t *vm = vmem_create(
	    "test", P(base), size, quantum, NULL, NULL, NULL, 0, VM_NOSLEEP);

	assert_non_null(vm);
	return (vm);
}

/* Everything must have been freed. */
static inline void
done(vmem_t *vm)
{
	assert_true(vmem__check(vm));
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 0);
	vmem_destroy(vm);
}

static inline void
count_call(void *arg, void *start, size_t size)
{
	(void)start;
	(void)size;
	++*(size_t *)arg;
}

static inline size_t
count_segments(vmem_t *vm, int typemask)
{
	size_t n = 0;

	vmem_walk(vm, typemask, count_call, &n);
	return (n);
}

/* The row of an arena. */
struct row {
	const char *r_name;
	struct vmem__stat r_stat;
	unsigned r_found;
};

static inline void
row_match(const struct vmem__stat *vs, void *arg)
{
	struct row *row = arg;

	if (strcmp(vs->vs_name, row->r_name) == 0) {
		row->r_stat = *vs;
		row->r_found++;
	}
}

static inline struct vmem__stat
stat_of(const char *name)
{
	struct row row = {.r_name = name};

	vmem__foreach(row_match, &row);
	assert_int_equal(row.r_found, 1);
	return (row.r_stat);
}

#endif /* QR_VMEM_TEST_H */
