/*
 * vmem_heap_test.h - what the tests of the heap's runs share.
 */
#ifndef QR_VMEM_HEAP_TEST_H
#define QR_VMEM_HEAP_TEST_H

#include "support/cpus.h"
#include "support/failsys.h"
#include "support/umem_look.h"
#include "vmem/vmem_heap.h"

#include <quarry/quarry.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
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

/* What every test of the heap leaves behind: nothing, and all as it was. */
static inline int
heap_end(void **state)
{
	(void)state;
	failsys_reset();
	cpus_roam();
	vmem__heap_watch(false);
	vmem__heap_set_idle_max(16 * MIB);
	(void)quarry_reap();
	look_check();
	return (0);
}

enum { HEAP_THREADS = 4 };

/*
 * Run `work` in some threads, which get a number from 1 on, and `look` in another
 * until *done.  What they took must all be free again after it.
 */
static inline void
heap_threads(void *(*work)(void *), void *(*look)(void *), atomic_bool *done)
{
	struct vmem__heap_stat before = account();
	pthread_t thread[HEAP_THREADS], looker;

	assert_int_equal(pthread_create(&looker, NULL, look, NULL), 0);
	for (uintptr_t i = 0; i < HEAP_THREADS; i++)
		assert_int_equal(
		    pthread_create(&thread[i], NULL, work, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < HEAP_THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	atomic_store(done, true);
	assert_int_equal(pthread_join(looker, NULL), 0);
	assert_int_equal(account().used, before.used);
	assert_int_equal(account().blocks, before.blocks);
	(void)vmem__heap_purge(UINT64_MAX);
	assert_int_equal(account().idle_bytes, 0);
}

#endif /* QR_VMEM_HEAP_TEST_H */
