/*
 * umem_hash_test.c - caches over arenas of their own, whose integers need not
 * be memory: objects are found again, and nothing is read or written.
 */
#include "umem/umem_impl.h"

#include "support/child.h"
#include "support/cpus.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/umem.h>
#include <quarry/vmem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { MANY = 20000 };
static uintptr_t got[MANY];

static int
end(void **state)
{
	(void)state;
	failsys_reset();
	look_check();
	return (0);
}

static vmem_t *
arena_of(uintptr_t base, size_t size, size_t quantum, size_t qcache_max)
{
	vmem_t *vmp = vmem_create("integers", (void *)base, size, quantum, NULL,
	    NULL, NULL, qcache_max, VM_NOSLEEP | VMC_IDENTIFIER);

	assert_non_null(vmp);
	return (vmp);
}

static umem_cache_t *
cache_over(vmem_t *vmp, size_t size, size_t align, int cflags)
{
	umem_cache_t *cp = umem_cache_create("over", size, align, NULL, NULL,
	    NULL, NULL, vmp, UMC_NOTOUCH | cflags);

	assert_non_null(cp);
	return (cp);
}

static int
by_value(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x < y ? -1 : x > y);
}

/* Take all there is, up to MANY, and look at what it is. */
static size_t
take_all(umem_cache_t *cp, uintptr_t base, size_t size, size_t object)
{
	size_t n = 0;

	while (n < MANY && (got[n] = (uintptr_t)umem_cache_alloc(cp, 0)) != 0)
		n++;
	qsort(got, n, sizeof(got[0]), by_value);
	for (size_t i = 0; i < n; i++) {
		assert_true(got[i] >= base);
		assert_true(got[i] - base <= size - object);
		if (i > 0)
			assert_true(got[i] - got[i - 1] >= object);
	}
	return (n);
}

static void
give_all(umem_cache_t *cp, size_t n)
{
	for (size_t i = 0; i < n; i++)
		umem_cache_free(cp, (void *)got[i]);
}

/* All of the arena comes out, twice, and all of it goes back. */
static void
serves_all_of(uintptr_t base, size_t size, size_t quantum, size_t object,
    size_t align, size_t least, int cflags)
{
	vmem_t *vmp = arena_of(base, size, quantum, 0);
	umem_cache_t *cp = cache_over(vmp, object, align, cflags);
	size_t n = take_all(cp, base, size, object);

	assert_in_range(n, least, size / object);
	look_check();
	give_all(cp, n);
	/* Magazines of other CPUs may hold some of them. */
	look_check();
	umem_cache_reap_now(cp);
	assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
	assert_int_equal(take_all(cp, base, size, object), n);
	give_all(cp, n);
	umem_cache_destroy(cp);
	assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
	vmem_destroy(vmp);
}

static void
serves_either_way(
    uintptr_t base, size_t size, size_t quantum, size_t object, size_t least)
{
	size_t align = object & -object;

	align = align < quantum ? align : quantum;
	cpus_stay();
	serves_all_of(base, size, quantum, object, align, least, 0);
	cpus_roam();
	serves_all_of(
	    base, size, quantum, object, align, least, UMC_NOMAGAZINE);
}

static void
integers_that_are_no_addresses_are_served(void **state)
{
	(void)state;

	serves_either_way(0x1000, 0x100000, 0x1000, 0x1000, 256);
	serves_either_way(4096, 65536, 16, 48, 1000);
}

static void
odd_integers_are_served(void **state)
{
	(void)state;

	serves_either_way(1, 4096, 1, 1, 4096);
	serves_either_way(1001, 7777, 1, 1, 7770);
	serves_either_way(1, 3000, 1, 7, 400);
	serves_either_way(2, 4096, 2, 2, 2048);
}

static void
integers_up_to_the_very_last_are_served(void **state)
{
	(void)state;

	serves_either_way(UINTPTR_MAX - 0xfffff, 0x100000, 0x1000, 0x1000, 256);
	serves_either_way(UINTPTR_MAX - 4095, 4096, 1, 1, 4096);
	serves_either_way(UINTPTR_MAX - 4096, 4096, 1, 1, 4096);
	serves_either_way(UINTPTR_MAX - 4095, 4096, 2, 2, 2048);
	serves_either_way(((uintptr_t)1 << 63) - 2048, 4096, 1, 1, 4090);
	serves_either_way((uintptr_t)1 << 63, 4096, 1, 1, 4096);
}

static void
many_slabs_are_all_found_again(void **state)
{
	size_t n = look_quick() ? 2000 : 16384;
	(void)state;

	serves_either_way(1, n, 1, 1, n - 100);
	serves_either_way((uintptr_t)1 << 40, n << 20, 1 << 20, 1 << 20, n);
}

/* Then the chains get longer. */
static void
without_memory_for_more_buckets_slabs_are_found_all_the_same(void **state)
{
	enum { SLABS = 2000 };
	uintptr_t base = (uintptr_t)1 << 40;
	vmem_t *vmp = arena_of(base, (size_t)SLABS << 20, 1 << 20, 0);
	umem_cache_t *cp = cache_over(vmp, 1 << 20, 1 << 20, UMC_NOMAGAZINE);
	size_t n;
	(void)state;

	/* The first records are there, and the arena has looked up its tags. */
	n = take_all(cp, base, (size_t)SLABS << 20, 1 << 20);
	give_all(cp, n);
	umem_cache_destroy(cp);
	cp = cache_over(vmp, 1 << 20, 1 << 20, UMC_NOMAGAZINE);
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	n = take_all(cp, base, (size_t)SLABS << 20, 1 << 20);
	assert_true(failsys_calls(FAILSYS_MMAP) > 0);
	assert_int_equal(n, SLABS);
	look_check();
	give_all(cp, n);
	failsys_reset();
	umem_cache_destroy(cp);
	assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
	vmem_destroy(vmp);
}

static void
t60_memory_of_such_a_cache_is_never_touched(void **state)
{
	size_t size = (size_t)4 << 20;
	char *p =
	    mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	(void)state;

	assert_ptr_not_equal(p, MAP_FAILED);
	serves_either_way((uintptr_t)p, size, 4096, 4096, 1024);
	if (!look_quick())
		serves_either_way((uintptr_t)p, size, 4096, 300, 10000);
	assert_int_equal(munmap(p, size), 0);
}

static int
stamp_it(void *buf, void *priv, int flags)
{
	(void)flags;
	*(void **)buf = priv;
	return (0);
}

static size_t unstamped;

static void
check_it(void *buf, void *priv)
{
	assert_ptr_equal(*(void **)buf, priv);
	unstamped++;
}

static void
memory_of_an_arena_may_be_constructed(void **state)
{
	static char memory[1 << 20] __attribute__((aligned(4096)));
	vmem_t *vmp = vmem_create("memory", memory, sizeof(memory), 4096, NULL,
	    NULL, NULL, 0, VM_NOSLEEP);
	umem_cache_t *cp = umem_cache_create(
	    "made of it", 200, 0, stamp_it, check_it, NULL, memory, vmp, 0);
	void *p[100];
	(void)state;

	assert_non_null(cp);
	for (size_t i = 0; i < 100; i++) {
		p[i] = umem_cache_alloc(cp, 0);
		assert_non_null(p[i]);
		assert_ptr_equal(*(void **)p[i], memory);
		assert_in_range((uintptr_t)p[i], (uintptr_t)memory,
		    (uintptr_t)memory + sizeof(memory) - 200);
	}
	for (size_t i = 0; i < 100; i++)
		umem_cache_free(cp, p[i]);
	umem_cache_destroy(cp);
	assert_true(unstamped >= 100);
	assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
	vmem_destroy(vmp);
}

static void
alignment_may_be_up_to_the_quantum_of_the_arena(void **state)
{
	vmem_t *vmp = arena_of(1 << 20, 1 << 20, 1 << 16, 0);
	umem_cache_t *cp = cache_over(vmp, 100, 1 << 16, 0);
	void *p = umem_cache_alloc(cp, 0);
	(void)state;

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % (1 << 16), 0);
	errno = 0;
	assert_null(umem_cache_create(
	    "over", 100, 1 << 17, NULL, NULL, NULL, NULL, vmp, UMC_NOTOUCH));
	assert_int_equal(errno, EINVAL);
	umem_cache_free(cp, p);
	umem_cache_destroy(cp);
	vmem_destroy(vmp);
}

/* ---- bad frees ---- */

static void
free_an_integer(void *arg)
{
	uintptr_t *pair = arg;

	umem_cache_free((umem_cache_t *)pair[0], (void *)pair[1]);
	umem_cache_reap_now((umem_cache_t *)pair[0]);
}

static void
a_bad_free_of_an_integer_is_seen_at_its_slab(void **state)
{
	vmem_t *vmp = arena_of(1001, 10000, 1, 0);
	umem_cache_t *cp = cache_over(vmp, 10, 1, UMC_NOMAGAZINE);
	uintptr_t first = (uintptr_t)umem_cache_alloc(cp, 0);
	uintptr_t pair[2] = {(uintptr_t)cp, first + 10};
	(void)state;

	(void)umem_cache_alloc(cp, 0);
	child_expect_exit(free_an_integer, pair, 0);
	pair[1] = first + 20;
	child_expect_abort_like(free_an_integer, pair,
	    "umem allocator: duplicate free: buffer freed twice: *");
	pair[1] = first + 5;
	child_expect_abort_like(free_an_integer, pair,
	    "umem allocator: bad free: free address (*) != alloc address (*): "
	    "*");
	pair[1] = first - 1;
	child_expect_abort_like(free_an_integer, pair,
	    "umem allocator: invalid free: buffer not in cache: *");
	pair[1] = 1000000;
	child_expect_abort_like(free_an_integer, pair,
	    "umem allocator: invalid free: buffer not in cache: *");
}

/* ---- arenas with quantum caches ---- */

static size_t imported, released, spans;
static vmem_t *asking;

static void
count_span(void *arg, void *start, size_t size)
{
	(void)start;
	(void)size;
	++*(size_t *)arg;
}

/* Runs without a lock of the arena: it may look at it. */
static void *
import(vmem_t *source, size_t size, int vmflag)
{
	void *p = vmem_alloc(source, size, vmflag);

	vmem_walk(asking, VMEM_SPAN, count_span, &spans);
	if (p != NULL)
		imported += size;
	return (p);
}

static void
release(vmem_t *source, void *addr, size_t size)
{
	released += size;
	vmem_free(source, addr, size);
}

static void
quantum_caches_take_and_return_all_integers(uintptr_t base, size_t quantum)
{
	vmem_t *source = arena_of(base, 4096 * quantum, quantum, 0);
	vmem_t *vmp = vmem_create("cached", NULL, 0, quantum, import, release,
	    source, 16 * quantum, VM_NOSLEEP | VMC_IDENTIFIER);
	size_t n = 0;

	assert_non_null(vmp);
	asking = vmp;
	imported = released = 0;
	for (size_t i = 0; i < 400; i++) {
		size_t size = (1 + i % 20) * quantum - (quantum > 1);

		got[n] = (uintptr_t)vmem_alloc(vmp, size, VM_NOSLEEP);
		if (got[n] == 0)
			break;
		assert_true(got[n] - base <= 4096 * quantum - size);
		assert_int_equal((got[n] - base) % quantum, 0);
		n++;
	}
	assert_in_range(n, 200, 400);
	for (size_t i = 0; i < n; i++)
		vmem_free(vmp, (void *)got[i],
		    (1 + i % 20) * quantum - (quantum > 1));
	vmem_qcache_reap(vmp);
	assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
	assert_int_equal(vmem_size(source, VMEM_ALLOC), 0);
	assert_true(imported > 0);
	assert_int_equal(imported, released);
	vmem_destroy(vmp);
	vmem_destroy(source);
}

static void
quantum_caches_serve_any_integers(void **state)
{
	(void)state;

	quantum_caches_take_and_return_all_integers(0x100000, 0x1000);
	quantum_caches_take_and_return_all_integers(1, 1);
	quantum_caches_take_and_return_all_integers(777, 1);
	quantum_caches_take_and_return_all_integers(UINTPTR_MAX - 4095, 1);
	quantum_caches_take_and_return_all_integers(
	    ((uintptr_t)1 << 63) - 2048, 1);
	quantum_caches_take_and_return_all_integers(
	    UINTPTR_MAX - 4096 * 4096 + 1, 4096);
}

/* Integer 0 is an ordinary one, but vmem_alloc() cannot speak of it. */
static void
quantum_caches_of_an_arena_with_0_never_answer_it(void **state)
{
	static const size_t quanta[] = {1, 16};
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		size_t q = quanta[i];
		vmem_t *vmp = vmem_create("from 0", NULL, 0, q, NULL, NULL,
		    NULL, 4 * q, VM_NOSLEEP | VMC_IDENTIFIER);
		size_t n = 0;

		assert_int_equal(vmem_add_addr(vmp, 0, 512 * q, VM_NOSLEEP), 0);
		while (
		    (got[n] = (uintptr_t)vmem_alloc(vmp, q, VM_NOSLEEP)) != 0) {
			assert_true(got[n] < 512 * q);
			n++;
		}
		assert_in_range(n, 400, 511);
		qsort(got, n, sizeof(got[0]), by_value);
		for (size_t j = 1; j < n; j++)
			assert_true(got[j] > got[j - 1]);
		for (size_t j = 0; j < n; j++)
			vmem_free(vmp, (void *)got[j], q);
		vmem_qcache_reap(vmp);
		assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
		vmem_destroy(vmp);
	}
}

static void
quantum_caches_are_of_at_most_16_quanta(void **state)
{
	vmem_t *vmp = arena_of(1 << 20, 1 << 20, 16, 40 * 16);
	struct umem_stat us;
	void *p;
	(void)state;

	assert_true(look_cache("integers_16", &us));
	assert_true(look_cache("integers_256", &us));
	assert_false(look_cache("integers_272", &us));
	p = vmem_alloc(vmp, 17 * 16, VM_NOSLEEP);
	assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 17 * 16);
	vmem_free(vmp, p, 17 * 16);
	vmem_destroy(vmp);
	assert_false(look_cache("integers_16", &us));
}

struct qcache_free {
	vmem_t *vmp;
	uintptr_t addr;
	size_t size;
};

static void
free_into_qcache(void *arg)
{
	const struct qcache_free *f = arg;

	vmem_free(f->vmp, (void *)f->addr, f->size);
}

static void
bad_frees_into_quantum_caches_are_seen_at_once(void **state)
{
	static const size_t quanta[] = {1, 16};
	(void)state;

	for (unsigned i = 0; i < 2; i++) {
		size_t q = quanta[i];
		vmem_t *vmp = arena_of(4096, 4096 * q, q, 8 * q);
		uintptr_t p = (uintptr_t)vmem_alloc(vmp, q, VM_NOSLEEP);
		struct qcache_free zero = {vmp, 0, q}, odd = {vmp, p + 1, q};

		child_expect_abort_like(free_into_qcache, &zero,
		    "umem allocator: invalid free: buffer not in cache: *");
		if (q > 1)
			child_expect_abort_like(free_into_qcache, &odd,
			    "umem allocator: bad free: free address (*) != "
			    "alloc address (*): *");
		vmem_free(vmp, (void *)p, q);
		vmem_destroy(vmp);
	}
}

static void
a_pair_from_a_quantum_cache_makes_no_miss(void **state)
{
	static const size_t quanta[] = {1, 16};
	(void)state;

	for (unsigned i = 0; i < 2 && percpu__restartable; i++) {
		size_t q = quanta[i];
		vmem_t *vmp = arena_of(4096, 4096 * q, q, 8 * q);
		const char *name = q == 1 ? "integers_3" : "integers_48";
		struct umem_stat before, after;

		for (unsigned k = 0; k < 1000; k++) {
			if (k == 10)
				assert_true(look_cache(name, &before));
			vmem_free(
			    vmp, vmem_alloc(vmp, 3 * q, VM_NOSLEEP), 3 * q);
		}
		assert_true(look_cache(name, &after));
		/* On another CPU it finds nothing at first. */
		assert_in_range(after.us_allocs - before.us_allocs, 0, 50);
		vmem_destroy(vmp);
	}
}

#define TEST(test) cmocka_unit_test_teardown(test, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(integers_that_are_no_addresses_are_served),
	    TEST(odd_integers_are_served),
	    TEST(integers_up_to_the_very_last_are_served),
	    TEST(many_slabs_are_all_found_again),
	    TEST(without_memory_for_more_buckets_slabs_are_found_all_the_same),
	    TEST(t60_memory_of_such_a_cache_is_never_touched),
	    TEST(memory_of_an_arena_may_be_constructed),
	    TEST(alignment_may_be_up_to_the_quantum_of_the_arena),
	    TEST(a_bad_free_of_an_integer_is_seen_at_its_slab),
	    TEST(quantum_caches_serve_any_integers),
	    TEST(quantum_caches_of_an_arena_with_0_never_answer_it),
	    TEST(quantum_caches_are_of_at_most_16_quanta),
	    TEST(bad_frees_into_quantum_caches_are_seen_at_once),
	    TEST(a_pair_from_a_quantum_cache_makes_no_miss),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
