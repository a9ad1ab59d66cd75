/*
 * umem_oom_test.c - each system call of each operation of umem fails in turn.
 */
#include "meta/meta.h"
#include "support/again.h"
#include "support/child.h"
#include "support/failsys.h"
#include "support/survive.h"
#include "support/umem_look.h"
#include "umem/umem_impl.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>
#include <quarry/vmem.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>
#include <sys/single_threaded.h>

/* ---- memory of any size ---- */

static void *got;

static bool
alloc_100(void)
{
	got = umem_alloc(100, UMEM_DEFAULT);
	return (got != NULL && memset(got, 1, 100) != NULL);
}

static void
free_100(void)
{
	umem_free(got, 100);
}

static void
a_small_block_is_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, alloc_100, free_100, false});
}

static bool
zalloc_70000(void)
{
	got = umem_zalloc(70000, UMEM_DEFAULT);
	return (got != NULL);
}

static void
free_70000(void)
{
	CHILD_CHECK(*(char *)got == 0 && ((char *)got)[69999] == 0);
	memset(got, 0xff, 70000);
	umem_free(got, 70000);
}

static void
a_zeroed_block_is_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, zalloc_70000, free_70000, false});
}

enum { LARGE = 50 << 20 };

static bool
alloc_large(void)
{
	got = umem_alloc(LARGE, UMEM_DEFAULT);
	return (got != NULL && memset(got, 1, 100) != NULL);
}

static void
free_large(void)
{
	umem_free(got, LARGE);
}

static void
a_large_block_is_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, alloc_large, free_large, false});
}

/*
 * At least a block of every class there is, so that all their caches are made,
 * and larger ones, so that more is free afterwards than is kept.
 */
enum { CLASSES = 160, CLASS_MOST = 140000, MOST = 60 << 20 };
static void *of_class[CLASSES];

/* The size of the next block, from 0. */
static size_t
larger(size_t size)
{
	return (size < CLASS_MOST ? size + 8 + size / 16 : 4 * size);
}

static void
free_classes(void)
{
	size_t size = 0;

	for (size_t i = 0; i < CLASSES && of_class[i] != NULL; i++) {
		size = larger(size);
		umem_free(of_class[i], size);
		of_class[i] = NULL;
	}
}

static bool
alloc_classes(void)
{
	size_t i = 0;

	for (size_t size = larger(0); size < MOST; size = larger(size), i++) {
		CHILD_CHECK(i < CLASSES);
		of_class[i] = umem_alloc(size, UMEM_DEFAULT);
		if (of_class[i] == NULL) {
			free_classes();
			return (false);
		}
		memset(of_class[i], 1, size < CLASS_MOST ? size : 1);
	}
	return (true);
}

static void
blocks_of_every_class_are_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, alloc_classes, free_classes, false});
}

static void
must_alloc_classes(void)
{
	CHILD_CHECK(alloc_classes());
}

static bool
free_classes_now(void)
{
	if (of_class[0] == NULL)
		must_alloc_classes();
	free_classes();
	return (true);
}

static void
nothing(void)
{
}

static void
a_free_never_fails(void **state)
{
	(void)state;
	survive(&(struct survive_op){
	    must_alloc_classes, free_classes_now, nothing, true});
}

static bool
alloc_aligned(void)
{
	got = umem_alloc_align(1000, 1 << 22, UMEM_DEFAULT);
	return (got != NULL && memset(got, 1, 1000) != NULL);
}

static void
free_aligned(void)
{
	umem_free_align(got, 1000);
}

static void
an_aligned_block_is_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, alloc_aligned, free_aligned, false});
}

/* ---- caches ---- */

static umem_cache_t *cache;

static bool
create(void)
{
	cache =
	    umem_cache_create("made", 200, 0, NULL, NULL, NULL, NULL, NULL, 0);
	return (cache != NULL || (errno == EAGAIN && false));
}

static void
destroy(void)
{
	umem_cache_destroy(cache);
}

static void
a_cache_is_made_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, create, destroy, false});
}

static void
must_create(void)
{
	CHILD_CHECK(create());
}

static void *objs[5000];
static size_t nobjs;

/* As many as there are; the rest is there next time. */
static bool
alloc_batch(void)
{
	nobjs = umem_cache_alloc_batch(cache, objs, 5000, UMEM_DEFAULT);
	for (size_t i = 0; i < nobjs; i++)
		memset(objs[i], 1, 200);
	if (nobjs == 5000)
		return (true);
	umem_cache_free_batch(cache, objs, nobjs);
	return (false);
}

static void
free_batch(void)
{
	umem_cache_free_batch(cache, objs, nobjs);
}

static void
objects_are_had_or_not(void **state)
{
	(void)state;
	survive(
	    &(struct survive_op){must_create, alloc_batch, free_batch, false});
}

static bool
create_use_and_destroy(void)
{
	bool ok = create() && alloc_batch();

	if (ok)
		free_batch();
	if (cache != NULL)
		umem_cache_destroy(cache);
	return (ok);
}

static void
the_whole_life_of_a_cache_is_had_or_not(void **state)
{
	(void)state;
	survive(
	    &(struct survive_op){NULL, create_use_and_destroy, nothing, false});
}

/* ---- objects that end where memory does ---- */

static void
pull_walls_down(void)
{
	free_batch();
	umem_cache_destroy(cache);
}

static bool
fire_walls(void)
{
	cache = umem_cache_create(
	    "walls", 5000, 0, NULL, NULL, NULL, NULL, NULL, UMF_FIREWALL);
	if (cache == NULL)
		return (false);
	nobjs = umem_cache_alloc_batch(cache, objs, 20, UMEM_DEFAULT);
	if (nobjs == 20)
		return (true);
	pull_walls_down();
	return (false);
}

static void
firewalled_objects_are_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, fire_walls, pull_walls_down, false});
}

/* ---- caches over arenas ---- */

static vmem_t *arena;

static bool
create_over_arena(void)
{
	arena = vmem_create("integers", (void *)1, 100000, 1, NULL, NULL, NULL,
	    8, VM_NOSLEEP | VMC_IDENTIFIER);
	if (arena == NULL)
		return (false);
	cache = umem_cache_create(
	    "over", 3, 1, NULL, NULL, NULL, NULL, arena, UMC_NOTOUCH);
	if (cache != NULL)
		return (true);
	vmem_destroy(arena);
	return (false);
}

static void
destroy_over_arena(void)
{
	umem_cache_destroy(cache);
	vmem_destroy(arena);
}

static void
a_cache_over_an_arena_is_made_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){
	    NULL, create_over_arena, destroy_over_arena, false});
}

static void
must_create_over_arena(void)
{
	CHILD_CHECK(create_over_arena());
}

/* Integers of both caches and arena, so many that tables must grow. */
static bool
alloc_integers(void)
{
	bool ok = true;

	for (nobjs = 0; nobjs < 5000 && ok; nobjs += ok) {
		objs[nobjs] = nobjs % 2
		    ? umem_cache_alloc(cache, UMEM_DEFAULT)
		    : vmem_alloc(arena, 1 + nobjs % 12, VM_NOSLEEP);
		ok = objs[nobjs] != NULL;
	}
	return (ok);
}

static void
free_integers(void)
{
	for (size_t i = 0; i < nobjs; i++) {
		if (i % 2)
			umem_cache_free(cache, objs[i]);
		else
			vmem_free(arena, objs[i], 1 + i % 12);
	}
}

static bool
alloc_integers_or_none(void)
{
	bool ok = alloc_integers();

	if (!ok)
		free_integers();
	return (ok);
}

static void
integers_are_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){must_create_over_arena,
	    alloc_integers_or_none, free_integers, false});
}

/* ---- the heap arena ---- */

static bool
use_heap_arena(void)
{
	vmem_alloc_t *afunc;
	vmem_free_t *ffunc;
	vmem_t *heap = vmem_heap_arena(&afunc, &ffunc);

	if (heap == NULL)
		return (false);
	arena = vmem_create(
	    "mine", NULL, 0, 4096, afunc, ffunc, heap, 0, VM_NOSLEEP);
	if (arena == NULL)
		return (false);
	got = vmem_alloc(arena, 100000, VM_NOSLEEP);
	if (got != NULL)
		return (memset(got, 1, 100000) != NULL);
	vmem_destroy(arena);
	return (false);
}

static void
leave_heap_arena(void)
{
	vmem_free(arena, got, 100000);
	vmem_destroy(arena);
}

static void
an_arena_over_the_heap_is_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){
	    NULL, use_heap_arena, leave_heap_arena, false});
}

/* ---- giving back, and looking ---- */

static void
be_idle(void)
{
	must_alloc_classes();
	free_classes();
	CHILD_CHECK(alloc_large());
	free_large();
}

static bool
reap(void)
{
	(void)quarry_reap();
	return (true);
}

static void
a_reap_never_fails(void **state)
{
	(void)state;
	survive(&(struct survive_op){be_idle, reap, nothing, true});
}

static bool
look(void)
{
	int fd = open("/dev/null", O_WRONLY);

	CHILD_CHECK(fd >= 0);
	CHILD_CHECK(quarry_stats_write(fd, "text") == 0);
	CHILD_CHECK(quarry_stats_write(fd, "json") == 0);
	(void)close(fd);
	return (true);
}

static void
statistics_never_fail(void **state)
{
	const struct survive_op op = {be_idle, look, nothing, true};
	(void)state;

	survive_each(&op, FAILSYS_MMAP, true);
}

/* What nobody will use soon is there for who gets nothing else. */
static void
what_is_cached_saves_a_request_that_would_fail(void **state)
{
	enum { OBJECT = 4096, OBJECTS = 1024, BLOCK = 1 << 20, BLOCKS = 512 };
	static void *object[OBJECTS], *block[BLOCKS];
	unsigned n = 0;
	(void)state;

	/* Twice: there are magazines for all of them then. */
	for (unsigned twice = 0; twice < 2; twice++) {
		for (unsigned i = 0; i < OBJECTS; i++) {
			umem_free(object[i], object[i] == NULL ? 0 : OBJECT);
			object[i] = NULL;
		}
		for (unsigned i = 0; i < OBJECTS; i++) {
			object[i] = umem_alloc(OBJECT, UMEM_DEFAULT);
			assert_non_null(object[i]);
		}
	}
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	while (
	    n < BLOCKS && (block[n] = umem_alloc(BLOCK, UMEM_DEFAULT)) != NULL)
		n++;
	assert_in_range(n, 0, BLOCKS - 1);
	for (unsigned i = 0; i < OBJECTS; i++)
		umem_free(object[i], OBJECT);
	block[n] = umem_alloc(BLOCK, UMEM_DEFAULT);
	failsys_reset();
	assert_non_null(block[n]);
	for (unsigned i = 0; i <= n; i++)
		umem_free(block[i], BLOCK);
	look_check();
}

/* Take all of the heap, in pieces of half the size of those before. */
static void
take_all(void ***last)
{
	for (size_t size = 1 << 20; size >= 16 << 10; size /= 2) {
		void **p;

		while ((p = umem_alloc(size, UMEM_DEFAULT)) != NULL) {
			p[0] = *last;
			p[1] = (void *)size;
			*last = p;
		}
	}
}

static size_t
records_in_use(const umem_cache_t *cp)
{
	return (cp->cache_slab_pool->mp_total - cp->cache_slab_pool->mp_nfree);
}

/* A slab without memory is none. */
static void
who_gets_no_slab_keeps_no_record_of_one(void **state)
{
	void **last = NULL, *object[100];
	size_t records;
	(void)state;

	assert_true(create());
	for (size_t i = 0; i < 100; i++)
		object[i] = umem_cache_alloc(cache, UMEM_DEFAULT);
	records = records_in_use(cache);
	for (size_t i = 0; i < 100; i++)
		umem_cache_free(cache, object[i]);
	umem_cache_reap_now(cache);
	assert_true(records_in_use(cache) < records);
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	take_all(&last);
	records = records_in_use(cache);
	for (size_t i = 0; i < 100; i++)
		assert_null(umem_cache_alloc(cache, UMEM_DEFAULT));
	assert_int_equal(records_in_use(cache), records);
	failsys_reset();
	while (last != NULL) {
		void **p = last;

		last = p[0];
		umem_free(p, (size_t)p[1]);
	}
	destroy();
	look_check();
}

/* ---- the fence ---- */

/* Some objects are on the CPU, and no other CPU can be told to stop. */
static void
lose_the_fence(void)
{
	CHILD_CHECK(alloc_batch());
	free_batch();
	__libc_single_threaded = 0;
	failsys_only(SYS_membarrier);
	failsys_from(FAILSYS_SYSCALL, 1, EPERM);
}

static bool
reap_batch(void)
{
	lose_the_fence();
	umem_cache_reap_now(cache);
	failsys_reset();
	return (true);
}

static void
a_cache_reaped_without_a_fence_keeps_what_cpus_hold(void **state)
{
	struct child c;
	const struct survive_op op = {must_create, reap_batch, nothing, true};
	struct survive_attempt a = {&op, {FAILSYS_MMAP, 1000, true}};
	(void)state;

	child_run(&c, survive_attempt, &a);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, SURVIVE_UNTOUCHED);
}

static void
destroy_batch(void *arg)
{
	(void)arg;
	CHILD_CHECK(create());
	lose_the_fence();
	destroy();
	failsys_reset();
}

/* They are nobody's, and not to be complained of. */
static void
a_cache_destroyed_without_a_fence_was_empty(void **state)
{
	struct child c;
	(void)state;

	child_run(&c, destroy_batch, NULL);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	assert_string_equal(c.c_stderr, "");
}

/* ---- initialisation ---- */

/* Before any constructor of the library: "call n lasting". */
__attribute__((constructor(101))) static void
fail_at_start(void)
{
	const char *how = getenv("QR_TEST_FAIL");
	unsigned call, lasting;
	unsigned long n;

	if (how != NULL && sscanf(how, "%u %lu %u", &call, &n, &lasting) == 3)
		failsys_arm(
		    &(struct shortage){(enum failsys)call, n, lasting != 0});
}

/* What the program sees while the library cannot begin. */
static void
expect_nothing_yet(void)
{
	int fd = open("/dev/null", O_WRONLY);

	CHILD_CHECK(umem_alloc(100, UMEM_DEFAULT) == NULL);
	CHILD_CHECK(umem_zalloc(1000000, UMEM_DEFAULT) == NULL);
	CHILD_CHECK(umem_alloc_align(100, 64, UMEM_DEFAULT) == NULL);
	CHILD_CHECK(!create() && errno == EAGAIN);
	CHILD_CHECK(vmem_heap_arena(NULL, NULL) == NULL);
	CHILD_CHECK(quarry_stats_write(fd, "text") == ENOMEM);
	CHILD_CHECK(quarry_reap() == 0);
	umem_reap();
	umem_free(NULL, 0);
	umem_free_align(NULL, 0);
	(void)close(fd);
}

static void
begin_late(void)
{
	if (!umem__ready() && !umem__init())
		expect_nothing_yet();
	failsys_reset();
	CHILD_CHECK(alloc_classes());
	free_classes();
	CHILD_CHECK(alloc_large());
	free_large();
	CHILD_CHECK(create());
	CHILD_CHECK(alloc_batch());
	free_batch();
	destroy();
	(void)quarry_reap();
	CHILD_CHECK(umem__ready());
	look_check();
}

static void
initialisation_begins_when_there_is_memory(void **state)
{
	static const enum failsys calls[] = {FAILSYS_MMAP, FAILSYS_MUNMAP,
	    FAILSYS_MADVISE, FAILSYS_MPROTECT, FAILSYS_SYSCALL, FAILSYS_OPEN,
	    FAILSYS_RECORD};
	enum { ALL = sizeof(calls) / sizeof(calls[0]) };
	unsigned long most = look_quick() ? 1 : 8;
	(void)state;

	for (size_t i = 0; i < (look_quick() ? 1 : ALL); i++) {
		for (unsigned long n = 1; n <= most; n++) {
			char one[64], all[64];
			struct again_run run = {"begin_late", {one}};

			(void)snprintf(one, sizeof(one),
			    "QR_TEST_FAIL=%d %lu 0", calls[i], n);
			(void)snprintf(all, sizeof(all),
			    "QR_TEST_FAIL=%d %lu 1", calls[i], n);
			child_expect_exit(again_exec, &run, 0);
			run.ar_env[0] = all;
			child_expect_exit(again_exec, &run, 0);
		}
	}
}

/* A log for which there is no memory is none. */
static void
initialisation_does_without_a_log(void **state)
{
	unsigned long most = look_quick() ? 1 : 8;
	(void)state;

	for (unsigned long n = 1; n <= most; n++) {
		char one[64];
		struct again_run run = {"begin_late",
		    {one, "UMEM_DEBUG=audit", "UMEM_LOGGING=transaction=16m"}};

		(void)snprintf(
		    one, sizeof(one), "QR_TEST_FAIL=%d %lu 0", FAILSYS_MMAP, n);
		child_expect_exit(again_exec, &run, 0);
	}
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"begin_late", begin_late},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_small_block_is_had_or_not),
	    cmocka_unit_test(a_zeroed_block_is_had_or_not),
	    cmocka_unit_test(a_large_block_is_had_or_not),
	    cmocka_unit_test(blocks_of_every_class_are_had_or_not),
	    cmocka_unit_test(a_free_never_fails),
	    cmocka_unit_test(an_aligned_block_is_had_or_not),
	    cmocka_unit_test(a_cache_is_made_or_not),
	    cmocka_unit_test(objects_are_had_or_not),
	    cmocka_unit_test(the_whole_life_of_a_cache_is_had_or_not),
	    cmocka_unit_test(firewalled_objects_are_had_or_not),
	    cmocka_unit_test(a_cache_over_an_arena_is_made_or_not),
	    cmocka_unit_test(integers_are_had_or_not),
	    cmocka_unit_test(an_arena_over_the_heap_is_had_or_not),
	    cmocka_unit_test(a_reap_never_fails),
	    cmocka_unit_test(statistics_never_fail),
	    cmocka_unit_test(what_is_cached_saves_a_request_that_would_fail),
	    cmocka_unit_test(who_gets_no_slab_keeps_no_record_of_one),
	    cmocka_unit_test(
		a_cache_reaped_without_a_fence_keeps_what_cpus_hold),
	    cmocka_unit_test(a_cache_destroyed_without_a_fence_was_empty),
	    cmocka_unit_test(initialisation_begins_when_there_is_memory),
	    cmocka_unit_test(initialisation_does_without_a_log),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
