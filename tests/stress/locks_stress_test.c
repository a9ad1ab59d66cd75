/*
 * locks_stress_test.c - threads share a cache and an arena, and nothing else:
 * no word that they have or touch goes from one to the other but by our locks.
 *
 * Meant for DRD, which knows locks and no atomics (drd.sh): a lock that is
 * missing in the locked form is a conflict there at the first time that two
 * threads meet.  What is in an object is plain, and a conflict as well.
 */
#include "support/umem_look.h"

#include <quarry/umem.h>
#include <quarry/vmem.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

/* HELD objects are more than the magazines of a CPU: depot and slabs are met. */
enum { WORKERS = 4, HELD = 400, INTEGERS = 100000, ROUNDS = 2000 };

struct object {
	uintptr_t o_owner;
	uintptr_t o_check; /* the owner, with the address */
};

static umem_cache_t *cache;
static vmem_t *arena;

static size_t
length_of(uintptr_t me, size_t i)
{
	return (1 + (me + i) % 12);
}

/* Take, write, look and give back; false when something was not as written. */
static bool
turn(uintptr_t me, size_t n)
{
	struct object *object[HELD];
	void *integer[HELD];
	bool ok = true;

	for (size_t i = 0; i < n; i++) {
		object[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
		integer[i] = vmem_alloc(arena, length_of(me, i), VM_NOSLEEP);
		if (object[i] == NULL || integer[i] == NULL)
			abort();
		object[i]->o_owner = me;
		object[i]->o_check = me ^ (uintptr_t)object[i];
	}
	for (size_t i = 0; i < n; i++) {
		ok = ok && object[i]->o_owner == me &&
		    object[i]->o_check == (me ^ (uintptr_t)object[i]);
		umem_cache_free(cache, object[i]);
		vmem_free(arena, integer[i], length_of(me, i));
	}
	return (ok);
}

static void *
work(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	unsigned rounds = look_quick() ? ROUNDS / 100 : ROUNDS;
	uint32_t random = (uint32_t)me;
	bool ok = true;

	for (unsigned i = 0; i < rounds; i++) {
		random = random * 1664525 + 1013904223;
		ok = turn(me, 1 + (random >> 16) % HELD) && ok;
		if ((random >> 8) % 16 == me)
			umem_cache_reap_now(cache);
		if ((random >> 8) % 16 == me + WORKERS)
			vmem_qcache_reap(arena);
	}
	return (ok ? arg : NULL);
}

static void
threads_meet_under_locks_alone(void **state)
{
	pthread_t worker[WORKERS];
	void *done;
	(void)state;

	cache = umem_cache_create(
	    "locks", sizeof(struct object), 0, NULL, NULL, NULL, NULL, NULL, 0);
	arena = vmem_create("locks", (void *)1, INTEGERS, 1, NULL, NULL, NULL,
	    4, VM_NOSLEEP | VMC_IDENTIFIER);
	assert_non_null(cache);
	assert_non_null(arena);
	for (uintptr_t i = 0; i < WORKERS; i++)
		assert_int_equal(
		    pthread_create(&worker[i], NULL, work, (void *)(i + 1)), 0);
	for (uintptr_t i = 0; i < WORKERS; i++) {
		assert_int_equal(pthread_join(worker[i], &done), 0);
		assert_ptr_equal(done, (void *)(i + 1));
	}
	vmem_qcache_reap(arena);
	assert_int_equal(vmem_size(arena, VMEM_ALLOC), 0);
	look_check();
	vmem_destroy(arena);
	umem_cache_destroy(cache);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(threads_meet_under_locks_alone),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
