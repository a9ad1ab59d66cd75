/*
 * vmem_qcache_test.c - which sizes go to quantum caches, and how.
 *
 * The caches are those of this file: integers kept in an array.
 */
#include "unit/vmem/vmem_test.h"

#include <pthread.h>
#include <stdlib.h>

enum { Q = 0x1000, HELD_MAX = 4096, CACHES_MAX = 64 };

struct cache {
	char name[64];
	size_t size, align, slab;
	vmem_t *arena;
	pthread_mutex_t lock;
	uintptr_t held[HELD_MAX];
	size_t nheld;
	uintptr_t slabs[HELD_MAX];
	size_t nslabs;
	unsigned reaps;
};

static struct cache *caches[CACHES_MAX];
static size_t ncaches, destroyed, refuse_from = SIZE_MAX;
static unsigned reaps_of_all;
static void (*on_reap_all)(void);

static void *
cache_create(const char *name, size_t size, size_t align, vmem_t *arena,
    size_t slab, int flags, struct vmem__qcache_hit *hit)
{
	struct cache *c;

	(void)flags;
	(void)hit;
	if (ncaches >= refuse_from || ncaches == CACHES_MAX)
		return (NULL);
	c = calloc(1, sizeof(*c));
	(void)snprintf(c->name, sizeof(c->name), "%s", name);
	c->size = size;
	c->align = align;
	c->slab = slab;
	c->arena = arena;
	(void)pthread_mutex_init(&c->lock, NULL);
	caches[ncaches++] = c;
	return (c);
}

static void
cache_destroy(void *cache)
{
	struct cache *c = cache;

	while (c->nslabs > 0)
		vmem_free(c->arena, P(c->slabs[--c->nslabs]), c->slab);
	destroyed++;
}

static bool
cache_alloc(void *cache, int flags, uintptr_t *addr)
{
	struct cache *c = cache;
	bool ok = true;

	(void)pthread_mutex_lock(&c->lock);
	if (c->nheld == 0) {
		void *slab = vmem_alloc(c->arena, c->slab, flags);

		ok = slab != NULL;
		if (ok)
			c->slabs[c->nslabs++] = (uintptr_t)slab;
		for (size_t i = c->slab / c->size; ok && i-- > 0;)
			c->held[c->nheld++] = (uintptr_t)slab + i * c->size;
	}
	if (ok)
		*addr = c->held[--c->nheld];
	(void)pthread_mutex_unlock(&c->lock);
	return (ok);
}

static void
cache_free(void *cache, uintptr_t addr)
{
	struct cache *c = cache;

	(void)pthread_mutex_lock(&c->lock);
	c->held[c->nheld++] = addr;
	(void)pthread_mutex_unlock(&c->lock);
}

static void
cache_reap(void *cache)
{
	((struct cache *)cache)->reaps++;
}

static bool
cache_reap_over(vmem_t *arena)
{
	bool found = false;

	for (size_t i = 0; i < ncaches; i++) {
		if (caches[i]->arena != arena)
			continue;
		cache_reap(caches[i]);
		found = true;
	}
	return (found);
}

static void
cache_reap_all(void)
{
	reaps_of_all++;
	if (on_reap_all != NULL)
		on_reap_all();
}

static void
cache_reap_heap(void)
{
}

static const struct vmem__qcache_ops ops = {cache_create, cache_destroy,
    cache_alloc, cache_free, cache_reap, cache_reap_over, cache_reap_all,
    cache_reap_heap};

static int
setup(void **state)
{
	(void)state;
	vmem__qcache_register(&ops);
	while (ncaches > 0)
		free(caches[--ncaches]);
	destroyed = 0;
	reaps_of_all = 0;
	refuse_from = SIZE_MAX;
	on_reap_all = NULL;
	return (0);
}

static vmem_t *
cached_arena(size_t size, size_t qcache_max, int flags)
{
	vmem_t *vm = vmem_create("qc", P(0x1000000), size, Q, NULL, NULL, NULL,
	    qcache_max, VM_NOSLEEP | flags);

	assert_non_null(vm);
	return (vm);
}

static void
an_arena_made_before_the_caches_has_none(void **state)
{
	vmem_t *vm;
	void *p;
	(void)state;

	vmem__qcache_register(NULL);
	vm = cached_arena(64 * Q, 4 * Q, 0);
	p = vmem_alloc(vm, Q, VM_NOSLEEP);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), Q);
	vmem__qcache_register(&ops);
	vmem_free(vm, p, Q);
	vmem_qcache_reap(vm);
	done(vm);
	assert_int_equal(ncaches, 0);
}

static void
t30_there_are_sixteen_caches_at_most(void **state)
{
	vmem_t *vm = cached_arena(1024 * Q, 40 * Q, 0);
	void *p;
	(void)state;

	assert_int_equal(ncaches, 16);
	assert_string_equal(caches[0]->name, "qc_4096");
	assert_string_equal(caches[15]->name, "qc_65536");
	for (size_t i = 0; i < 16; i++) {
		assert_int_equal(caches[i]->size, (i + 1) * Q);
		assert_int_equal(caches[i]->align, Q);
		assert_int_equal(caches[i]->slab, 64 * Q);
		assert_ptr_equal(caches[i]->arena, vm);
	}
	p = vmem_alloc(vm, 17 * Q, VM_NOSLEEP);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 17 * Q);
	vmem_free(vm, p, 17 * Q);
	p = vmem_alloc(vm, 16 * Q, VM_NOSLEEP);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 64 * Q);
	vmem_free(vm, p, 16 * Q);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 64 * Q);
	vmem_destroy(vm);
	assert_int_equal(destroyed, 16);
}

static void
slabs_are_the_power_of_two_above_three_times_the_largest(void **state)
{
	static const struct {
		size_t max, slab;
	} rows[] = {{0x8000, 0x20000}, {0x10000, 0x40000}, {Q, 0x4000}};
	(void)state;

	for (size_t i = 0; i < 3; i++) {
		vmem_t *vm = cached_arena(1024 * Q, rows[i].max, 0);

		assert_int_equal(caches[ncaches - 1]->slab, rows[i].slab);
		vmem_destroy(vm);
	}
}

static void
t06_a_policy_does_not_matter_for_a_cached_size(void **state)
{
	vmem_t *vm = cached_arena(64 * Q, 2 * Q, 0);
	void *a = vmem_alloc(vm, Q, VM_NOSLEEP);
	void *b = vmem_alloc(vm, Q, VM_NOSLEEP | VM_ENDALLOC);
	void *c = vmem_alloc(vm, Q - 1, VM_NOSLEEP | VM_NEXTFIT);
	(void)state;

	assert_addr_equal(b, (uintptr_t)a + Q);
	assert_addr_equal(c, (uintptr_t)a + 2 * Q);
	vmem_free(vm, c, Q - 1);
	vmem_free(vm, b, Q);
	assert_addr_equal(vmem_alloc(vm, Q, VM_NOSLEEP | VM_BESTFIT), b);
	vmem_free(vm, b, Q);
	vmem_free(vm, a, Q);
	vmem_destroy(vm);
}

static void
t32_xalloc_goes_past_the_caches(void **state)
{
	vmem_t *vm = cached_arena(64 * Q, 2 * Q, 0);
	void *x = vmem_xalloc(vm, Q, 0, 0, 0, NULL, NULL, VM_NOSLEEP);
	void *p;
	(void)state;

	assert_int_equal(vmem_size(vm, VMEM_ALLOC), Q);
	p = vmem_alloc(vm, Q, VM_NOSLEEP);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 9 * Q);
	vmem_xfree(vm, x, Q);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 8 * Q);
	vmem_free(vm, p, Q);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 8 * Q);
	vmem_destroy(vm);
}

static void
a_cache_that_cannot_be_created_ends_the_row(void **state)
{
	vmem_t *vm;
	void *p;
	(void)state;

	refuse_from = 2;
	vm = cached_arena(64 * Q, 4 * Q, 0);
	assert_int_equal(ncaches, 2);
	p = vmem_alloc(vm, 3 * Q, VM_NOSLEEP);
	assert_int_equal(vmem_size(vm, VMEM_ALLOC), 3 * Q);
	vmem_free(vm, p, 3 * Q);
	vmem_destroy(vm);
}

/* Three of the largest would be more than there are integers. */
static void
sizes_without_room_for_a_slab_are_not_cached(void **state)
{
	size_t half = (size_t)1 << 63;
	vmem_t *vm = vmem_create("vast", P(half / 2), half, half / 2, NULL,
	    NULL, NULL, half, VM_NOSLEEP);
	void *p;
	(void)state;

	assert_non_null(vm);
	assert_int_equal(ncaches, 0);
	p = vmem_alloc(vm, half / 2, VM_NOSLEEP);
	assert_addr_equal(p, half / 2);
	vmem_free(vm, p, half / 2);
	done(vm);
}

static void
no_qcache_makes_none(void **state)
{
	vmem_t *vm = cached_arena(64 * Q, 4 * Q, VMC_NO_QCACHE);
	(void)state;

	assert_int_equal(ncaches, 0);
	done(vm);
}

static void
reaping_an_arena_reaps_its_caches(void **state)
{
	vmem_t *vm = cached_arena(64 * Q, 3 * Q, 0);
	(void)state;

	vmem_qcache_reap(vm);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(caches[i]->reaps, 1);
	assert_int_equal(reaps_of_all, 0);
	vmem_destroy(vm);
}

static vmem_t *reaped_arena;
static void *reaped_memory;

static void
give_up_memory(void)
{
	if (reaped_memory != NULL)
		vmem_free(reaped_arena, reaped_memory, 40 * Q);
	reaped_memory = NULL;
}

static void
a_request_about_to_fail_asks_for_a_reap_and_looks_again(void **state)
{
	void *p;
	(void)state;

	reaped_arena = cached_arena(64 * Q, 0, 0);
	reaped_memory = vmem_alloc(reaped_arena, 40 * Q, VM_NOSLEEP);
	on_reap_all = give_up_memory;
	p = vmem_alloc(reaped_arena, 50 * Q, VM_NOSLEEP);
	assert_non_null(p);
	assert_int_equal(reaps_of_all, 1);
	vmem_free(reaped_arena, p, 50 * Q);

	reaped_memory = vmem_alloc(reaped_arena, 40 * Q, VM_NOSLEEP);
	assert_null(vmem_alloc(reaped_arena, 50 * Q, VM_NOSLEEP | VM_ABORT));
	assert_int_equal(reaps_of_all, 1);
	give_up_memory();
	done(reaped_arena);
}

static void
identifiers_do_not_ask_for_memory(void **state)
{
	vmem_t *vm = cached_arena(64 * Q, 0, VMC_IDENTIFIER);
	(void)state;

	assert_null(vmem_alloc(vm, 65 * Q, VM_NOSLEEP));
	assert_int_equal(reaps_of_all, 0);
	done(vm);
}

struct late {
	vmem_t *vm;
	void *got;
};

static void *
alloc_late(void *arg)
{
	struct late *late = arg;

	late->got = vmem_alloc(late->vm, Q, VM_SLEEP);
	return (NULL);
}

static void
a_sleeper_for_a_cached_size_gets_what_is_freed_to_the_cache(void **state)
{
	vmem_t *vm = cached_arena(4 * Q, Q, 0);
	struct late late = {vm, NULL};
	void *p[4];
	pthread_t thread;
	(void)state;

	for (size_t i = 0; i < 4; i++)
		p[i] = vmem_alloc(vm, Q, VM_NOSLEEP);
	assert_non_null(p[3]);
	assert_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	assert_int_equal(pthread_create(&thread, NULL, alloc_late, &late), 0);
	while (stat_of("qc").vs_wait == 0)
		;
	vmem_free(vm, p[2], Q);
	(void)pthread_join(thread, NULL);
	assert_ptr_equal(late.got, p[2]);
	for (size_t i = 0; i < 4; i++)
		vmem_free(vm, p[i], Q);
	vmem_destroy(vm);
}

enum { THREADS = 4, ROUNDS = 500, HELD = 20 };

static void *
alloc_and_free(void *arg)
{
	vmem_t *vm = arg;
	void *held[HELD];

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (size_t i = 0; i < HELD; i++)
			held[i] = vmem_alloc(vm, (1 + i % 5) * Q, VM_NOSLEEP);
		for (size_t i = 0; i < HELD; i++)
			if (held[i] != NULL)
				vmem_free(vm, held[i], (1 + i % 5) * Q);
	}
	return (NULL);
}

static void
t31_threads_share_caches_of_integers_that_are_not_memory(void **state)
{
	vmem_t *vm = cached_arena(1024 * Q, 4 * Q, 0);
	pthread_t thread[THREADS];
	(void)state;

	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&thread[i], NULL, alloc_and_free, vm), 0);
	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	assert_true(vmem__check(vm));
	vmem_destroy(vm);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(
		an_arena_made_before_the_caches_has_none, setup),
	    cmocka_unit_test_setup(t30_there_are_sixteen_caches_at_most, setup),
	    cmocka_unit_test_setup(
		slabs_are_the_power_of_two_above_three_times_the_largest,
		setup),
	    cmocka_unit_test_setup(
		t06_a_policy_does_not_matter_for_a_cached_size, setup),
	    cmocka_unit_test_setup(
		t31_threads_share_caches_of_integers_that_are_not_memory,
		setup),
	    cmocka_unit_test_setup(t32_xalloc_goes_past_the_caches, setup),
	    cmocka_unit_test_setup(
		a_cache_that_cannot_be_created_ends_the_row, setup),
	    cmocka_unit_test_setup(
		sizes_without_room_for_a_slab_are_not_cached, setup),
	    cmocka_unit_test_setup(no_qcache_makes_none, setup),
	    cmocka_unit_test_setup(reaping_an_arena_reaps_its_caches, setup),
	    cmocka_unit_test_setup(
		a_request_about_to_fail_asks_for_a_reap_and_looks_again, setup),
	    cmocka_unit_test_setup(identifiers_do_not_ask_for_memory, setup),
	    cmocka_unit_test_setup(
		a_sleeper_for_a_cached_size_gets_what_is_freed_to_the_cache,
		setup),
	};

	return (cmocka_run_group_tests_name("vmem_qcache", tests, NULL, NULL));
}
