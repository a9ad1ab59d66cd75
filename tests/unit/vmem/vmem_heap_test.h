/*
 * vmem_heap_test.h - what the tests of the heap's runs share.
 */
#ifndef QR_VMEM_HEAP_TEST_H
#define QR_VMEM_HEAP_TEST_H

#include "vmem/vmem_heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static inline struct vmem__run *
run_get(size_t size, size_t align, size_t room)
{
	bool zeroed;
	struct vmem__run *run =
	    vmem__run_alloc(HEAP_BLOCK, size, align, room, &zeroed);

	assert_non_null(run);
	assert_true(run->rn_size >= size);
	assert_int_equal(run->rn_addr % align, 0);
	return (run);
}

static inline struct vmem__heap_stat
account(void)
{
	struct vmem__heap_stat st;

	vmem__heap_stat(&st);
	return (st);
}

#endif /* QR_VMEM_HEAP_TEST_H */
