/*
 * umem_over_test.c - what caches keep of an arena that somebody waits for.
 */
#define _GNU_SOURCE 1 /* pthread_timedjoin_np */

#include "unit/vmem/vmem_test.h"

#include "os/os.h"

#include <quarry/umem.h>

#include <pthread.h>
#include <time.h>
#include <unistd.h>

enum { Q = 0x1000, QUANTA = 64, PATIENCE_S = 20 };

/* What holds all of the arena `of`: its own caches, those of an arena above. */
struct holder {
	vmem_t *of;
	vmem_t *arena;       /* what is taken from, or ... */
	umem_cache_t *cache; /* ... this */
	void *held[QUANTA];
	size_t n;
};

static void *
take(struct holder *h)
{
	return (h->cache != NULL ? umem_cache_alloc(h->cache, UMEM_DEFAULT)
				 : vmem_alloc(h->arena, Q, VM_NOSLEEP));
}

static void
take_all(struct holder *h)
{
	void *p;

	while ((p = take(h)) != NULL)
		h->held[h->n++] = p;
	assert_int_equal(vmem_size(h->of, VMEM_FREE), 0);
}

/* It stays in magazines: nothing reaches the arena. */
static void
give_all(struct holder *h)
{
	while (h->n > 0) {
		void *p = h->held[--h->n];

		if (h->cache != NULL)
			umem_cache_free(h->cache, p);
		else
			vmem_free(h->arena, p, Q);
	}
}

struct request {
	vmem_t *vm;
	void *got;
};

static void *
ask_patiently(void *arg)
{
	struct request *r = arg;

	r->got = vmem_alloc(r->vm, 5 * Q, VM_SLEEP);
	return (NULL);
}

/* Who must not sleep gets it at once, who sleeps when all has been given back. */
static void
is_served(struct holder *h)
{
	struct request r = {h->of, NULL};
	uint64_t waits, end = os_now() + PATIENCE_S * UINT64_C(1000000000);
	struct timespec until;
	pthread_t thread;

	take_all(h);
	give_all(h);
	r.got = vmem_alloc(h->of, 5 * Q, VM_NOSLEEP);
	assert_non_null(r.got);
	vmem_free(h->of, r.got, 5 * Q);

	take_all(h);
	waits = stat_of("of").vs_wait;
	assert_int_equal(pthread_create(&thread, NULL, ask_patiently, &r), 0);
	while (stat_of("of").vs_wait == waits) {
		assert_true(os_now() < end);
		(void)usleep(1000);
	}
	give_all(h);
	(void)clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += PATIENCE_S;
	assert_int_equal(pthread_timedjoin_np(thread, NULL, &until), 0);
	assert_non_null(r.got);
	vmem_free(h->of, r.got, 5 * Q);
}

static vmem_t *
arena_of(size_t qcache_max, int flags)
{
	vmem_t *vm = vmem_create("of", (void *)Q, QUANTA * Q, Q, NULL, NULL,
	    NULL, qcache_max, flags | VM_SLEEP);

	assert_non_null(vm);
	return (vm);
}

static void
with_caches_of_its_own(int flags)
{
	vmem_t *vm = arena_of(4 * Q, flags);
	struct holder h = {.of = vm, .arena = vm};

	is_served(&h);
	vmem_destroy(vm);
}

static void
with_caches_of_an_arena_above(int flags)
{
	vmem_t *vm = arena_of(0, flags);
	vmem_t *middle = vmem_create("middle", NULL, 0, Q, vmem_alloc,
	    vmem_free, vm, 0, flags | VM_SLEEP);
	vmem_t *above = vmem_create("above", NULL, 0, Q, vmem_alloc, vmem_free,
	    middle, 4 * Q, flags | VM_SLEEP);
	struct holder h = {.of = vm, .arena = above};

	is_served(&h);
	vmem_destroy(above);
	vmem_destroy(middle);
	vmem_destroy(vm);
}

static void
with_a_cache_above(int flags)
{
	vmem_t *vm = arena_of(0, flags);
	struct holder h = {.of = vm};

	h.cache = umem_cache_create(
	    "above", Q, Q, NULL, NULL, NULL, NULL, vm, UMC_NOTOUCH);
	is_served(&h);
	umem_cache_destroy(h.cache);
	vmem_destroy(vm);
}

static void
t26_what_caches_keep_of_an_arena_is_there_for_its_requests(void **state)
{
	(void)state;

	with_caches_of_its_own(0);
	with_caches_of_an_arena_above(0);
	with_a_cache_above(0);
}

/* Of identifiers, too, which no other cache could help with. */
static void
t26_what_caches_keep_of_identifiers_is_there_for_requests(void **state)
{
	(void)state;

	with_caches_of_its_own(VMC_IDENTIFIER);
	with_caches_of_an_arena_above(VMC_IDENTIFIER);
	with_a_cache_above(VMC_IDENTIFIER);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		t26_what_caches_keep_of_an_arena_is_there_for_its_requests),
	    cmocka_unit_test(
		t26_what_caches_keep_of_identifiers_is_there_for_requests),
	};

	return (cmocka_run_group_tests_name("umem_over", tests, NULL, NULL));
}
