/*
 * umem_cache_test.c - what a cache promises from its creation to its end.
 */
#include "umem/umem_impl.h"

#include "os/os.h"
#include "support/child.h"
#include "support/cpus.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include <cmocka.h>
#include <sys/single_threaded.h>

enum { MANY = 1000 };
static void *objs[MANY];

/* Each test sees the magazines of one CPU, and gives all memory back. */
static size_t heap_before;
static bool may_leak;

static int
begin(void **state)
{
	(void)state;
	failsys_reset();
	cpus_stay();
	heap_before = look_heap();
	may_leak = false;
	return (0);
}

static int
end(void **state)
{
	(void)state;
	failsys_reset();
	look_check();
	cpus_roam();
	assert_true(may_leak || look_heap() == heap_before);
	return (0);
}

static umem_cache_t *
plain(const char *name, size_t size, size_t align, int cflags)
{
	umem_cache_t *cp = umem_cache_create(
	    name, size, align, NULL, NULL, NULL, NULL, NULL, cflags);

	assert_non_null(cp);
	return (cp);
}

static void
take(umem_cache_t *cp, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
		assert_non_null(objs[i]);
	}
}

static void
give(umem_cache_t *cp, size_t n)
{
	for (size_t i = 0; i < n; i++)
		umem_cache_free(cp, objs[i]);
}

/* ---- creation ---- */

static void
refused(int error, const char *name, size_t size, size_t align, int cflags)
{
	errno = 0;
	assert_null(umem_cache_create(
	    name, size, align, NULL, NULL, NULL, NULL, NULL, cflags));
	assert_int_equal(errno, error);
}

/* T59 too: there must be a name. */
static void
t58_bad_arguments_are_refused_with_the_errno_that_names_them(void **state)
{
	size_t page = os_page_size();
	(void)state;

	refused(EINVAL, NULL, 64, 0, 0);
	refused(EINVAL, "t", 0, 0, 0);
	refused(EINVAL, "t", 64, 3, 0);
	refused(EINVAL, "t", 64, 24, 0);
	refused(EINVAL, "t", 64, 2 * page, 0);
	refused(EINVAL, "t", 64, (size_t)1 << 63, 0);
	refused(EINVAL, "t", 64, SIZE_MAX, 0);
	refused(EINVAL, "t", 64, 0, UMC_NOHASH | UMC_NOTOUCH);
	refused(EINVAL, "t", page, 0, UMC_NOHASH);
	refused(ENOMEM, "t", SIZE_MAX, 0, 0);
	refused(ENOMEM, "t", SIZE_MAX - 7, 0, 0);
	refused(ENOMEM, "t", SIZE_MAX - 4095, page, 0);
	refused(ENOMEM, "t", SIZE_MAX / 2, 0, 0);
}

static void
an_object_beyond_all_memory_fails_when_it_is_asked_for(void **state)
{
	static const size_t sizes[] = {
	    (size_t)1 << 47,
	    ((size_t)1 << 47) + 1,
	    (size_t)1 << 52,
	    SIZE_MAX / 64 / 4096 * 4096,
	};
	(void)state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		umem_cache_t *cp = umem_cache_create(
		    "huge", sizes[i], 0, NULL, NULL, NULL, NULL, NULL, 0);

		if (cp == NULL) {
			assert_int_equal(errno, ENOMEM);
			continue;
		}
		assert_null(umem_cache_alloc(cp, UMEM_DEFAULT));
		assert_null(umem_cache_alloc(cp, UMEM_DEFAULT));
		umem_cache_destroy(cp);
	}
}

static int
by_address(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return (x < y ? -1 : x > y);
}

/* The least distance of two objects, and what all addresses have in common. */
static size_t
stride_of(umem_cache_t *cp, size_t *alignment)
{
	uintptr_t all = 0;
	size_t stride = SIZE_MAX;

	take(cp, 100);
	qsort(objs, 100, sizeof(objs[0]), by_address);
	for (size_t i = 0; i < 100; i++) {
		all |= (uintptr_t)objs[i];
		if (i > 0)
			stride = qr_min(stride,
			    (size_t)((char *)objs[i] - (char *)objs[i - 1]));
	}
	*alignment = (size_t)(all & -all);
	give(cp, 100);
	return (stride);
}

static void
has_stride(size_t size, size_t align, size_t alignment, size_t stride)
{
	umem_cache_t *cp = plain("stride", size, align, 0);
	size_t got_alignment, got = stride_of(cp, &got_alignment);

	umem_cache_destroy(cp);
	assert_int_equal(got, stride);
	assert_int_equal(qr_phase(got_alignment, alignment), 0);
}

/* T58 too: an alignment of less than 8 is raised to it. */
static void
t57_size_and_alignment_decide_the_stride(void **state)
{
	size_t page = os_page_size();
	(void)state;

	has_stride(1, 0, 8, 8);
	has_stride(8, 0, 8, 8);
	has_stride(9, 0, 16, 16);
	has_stride(16, 0, 16, 16);
	has_stride(24, 0, 16, 32);
	has_stride(24, 8, 8, 24);
	has_stride(17, 8, 8, 24);
	has_stride(1, 1, 8, 8);
	has_stride(5, 4, 8, 8);
	has_stride(12, 2, 8, 16);
	has_stride(100, 64, 64, 128);
	has_stride(64, 64, 64, 64);
	has_stride(100, page, page, page);
	has_stride(page + 1, page, page, 2 * page);
	has_stride(1000, 8, 8, 1000);
}

static void
t59_a_name_of_any_length_is_taken_and_cut(void **state)
{
	static const char longer[] = "0123456789012345678901234567890123456789";
	static const char cut[] = "0123456789012345678901234567890";
	umem_cache_t *cp = plain(longer, 64, 0, 0);
	struct umem_stat us;
	(void)state;

	assert_int_equal(strlen(cut), 31);
	assert_true(look_cache(cut, &us));
	umem_cache_destroy(cp);
	assert_false(look_cache(cut, &us));
	cp = plain("", 64, 0, 0);
	assert_true(look_cache("", &us));
	umem_cache_destroy(cp);
}

/* ---- objects ---- */

static void
holds_what_is_written(size_t size, int cflags)
{
	size_t n = qr_min((size_t)MANY, ((size_t)8 << 20) / size + 2);
	umem_cache_t *cp = plain("written", size, 0, cflags);

	take(cp, n);
	for (size_t i = 0; i < n; i++)
		memset(objs[i], (int)(i & 0xff), size);
	for (size_t i = 0; i < n; i++) {
		const unsigned char *p = objs[i];

		assert_int_equal(p[0], i & 0xff);
		assert_int_equal(p[size - 1], i & 0xff);
		assert_int_equal(p[size / 2], i & 0xff);
	}
	give(cp, n);
	umem_cache_destroy(cp);
}

static void
objects_of_any_size_do_not_overlap(void **state)
{
	static const size_t sizes[] = {1, 8, 24, 100, 1000, 4000, 4096, 4097,
	    16384, 20000, 33000, 131072, 300000, 1 << 20, 5 << 20};
	(void)state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		holds_what_is_written(sizes[i], 0);
		holds_what_is_written(sizes[i], UMC_NOMAGAZINE);
	}
	for (size_t size = 1; size <= 4040; size += 577)
		holds_what_is_written(size, UMC_NOHASH);
}

static void
the_first_objects_come_in_the_order_of_their_addresses(void **state)
{
	umem_cache_t *cp = plain("ordered", 128, 0, 0);
	(void)state;

	take(cp, 12);
	for (size_t i = 1; i < 12; i++)
		assert_ptr_equal(objs[i], (char *)objs[i - 1] + 128);
	give(cp, 12);
	umem_cache_destroy(cp);
}

static void
the_object_freed_last_is_the_next_one_and_is_untouched(void **state)
{
	umem_cache_t *cp = plain("lifo", 64, 0, 0);
	(void)state;

	take(cp, 3);
	for (int i = 0; i < 100; i++) {
		memset(objs[1], i, 64);
		umem_cache_free(cp, objs[1]);
		assert_ptr_equal(umem_cache_alloc(cp, 0), objs[1]);
		for (size_t j = 0; j < 64; j++)
			assert_int_equal(((char *)objs[1])[j], i);
	}
	give(cp, 3);
	umem_cache_destroy(cp);
}

static void
a_batch_is_as_many_objects_as_were_asked_for(void **state)
{
	umem_cache_t *cp = plain("batch", 40, 8, 0);
	struct umem_stat us;
	(void)state;

	assert_int_equal(umem_cache_alloc_batch(cp, objs, 0, 0), 0);
	assert_int_equal(umem_cache_alloc_batch(cp, objs, MANY, 0), MANY);
	qsort(objs, MANY, sizeof(objs[0]), by_address);
	for (size_t i = 1; i < MANY; i++)
		assert_true((char *)objs[i] >= (char *)objs[i - 1] + 40);
	assert_true(look_cache("batch", &us));
	assert_int_equal(us.us_inuse, MANY);
	umem_cache_free_batch(cp, objs, 0);
	umem_cache_free_batch(cp, objs, MANY);
	assert_true(look_cache("batch", &us));
	assert_int_equal(us.us_inuse, 0);
	umem_cache_destroy(cp);
}

static void
without_magazines_what_is_free_is_given_back_at_once(void **state)
{
	umem_cache_t *cp = plain("direct", 1000, 0, UMC_NOMAGAZINE);
	size_t before = look_heap();
	struct umem_stat us;
	(void)state;

	take(cp, MANY);
	assert_true(look_cache("direct", &us));
	assert_int_equal(us.us_inuse, MANY);
	assert_int_equal(us.us_cached, 0);
	assert_in_range(us.us_memory, MANY * 1000, MANY * 1300);
	give(cp, MANY);
	assert_true(look_cache("direct", &us));
	assert_int_equal(us.us_inuse, 0);
	assert_int_equal(us.us_cached, 0);
	assert_int_equal(us.us_memory, 0);
	assert_int_equal(look_heap(), before);
	umem_cache_destroy(cp);
}

/* ---- constructors ---- */

/* What the callbacks of the cache under test did. */
static struct tally {
	size_t t_ctor, t_dtor, t_reclaim;
	size_t t_fail_from; /* this and later constructions fail */
	int t_flags;        /* all flags that a constructor saw */
	umem_cache_t *t_cache;
	void *t_give; /* what reclaim frees */
} tally;

enum { STAMP = 0x600d0b1e };

static int
ctor(void *buf, void *priv, int flags)
{
	struct tally *t = priv;

	t->t_flags |= flags;
	t->t_ctor++;
	if (t->t_fail_from != 0 && t->t_ctor >= t->t_fail_from)
		return (-1);
	*(uint32_t *)buf = STAMP;
	return (0);
}

static void
dtor(void *buf, void *priv)
{
	struct tally *t = priv;

	assert_int_equal(*(uint32_t *)buf, STAMP);
	*(uint32_t *)buf = 0;
	t->t_dtor++;
}

static void
reclaim(void *priv)
{
	struct tally *t = priv;

	t->t_reclaim++;
	if (t->t_give != NULL)
		umem_cache_free(t->t_cache, t->t_give);
	t->t_give = NULL;
}

static umem_cache_t *
constructed(const char *name, int cflags)
{
	memset(&tally, 0, sizeof(tally));
	tally.t_cache = umem_cache_create(
	    name, 80, 0, ctor, dtor, reclaim, &tally, NULL, cflags);
	assert_non_null(tally.t_cache);
	return (tally.t_cache);
}

static void
t54_an_object_stays_constructed_while_it_is_free(void **state)
{
	umem_cache_t *cp = constructed("once", 0);
	uint32_t *p = umem_cache_alloc(cp, 0);
	(void)state;

	assert_non_null(p);
	assert_int_equal(*p, STAMP);
	p[1] = 12345;
	umem_cache_free(cp, p);
	assert_ptr_equal(umem_cache_alloc(cp, 0), p);
	assert_int_equal(p[0], STAMP);
	assert_int_equal(p[1], 12345);
	assert_int_equal(tally.t_ctor, 1);
	assert_int_equal(tally.t_dtor, 0);
	umem_cache_free(cp, p);
	umem_cache_destroy(cp);
	assert_int_equal(tally.t_dtor, 1);
}

static void
t55_every_object_that_was_constructed_is_destroyed_once(void **state)
{
	umem_cache_t *cp = constructed("all", 0);
	(void)state;

	for (int i = 0; i < 5; i++) {
		take(cp, MANY);
		for (size_t j = 0; j < MANY; j++)
			assert_int_equal(*(uint32_t *)objs[j], STAMP);
		give(cp, MANY);
	}
	umem_cache_reap_now(cp);
	assert_int_equal(tally.t_dtor, tally.t_ctor);
	take(cp, 10);
	give(cp, 10);
	tally.t_reclaim = 0;
	umem_cache_destroy(cp);
	assert_int_equal(tally.t_dtor, tally.t_ctor);
	umem_reap();
	(void)quarry_reap();
	assert_int_equal(tally.t_reclaim, 0);
	assert_int_equal(tally.t_dtor, tally.t_ctor);
}

static void
without_magazines_each_free_destroys(void **state)
{
	umem_cache_t *cp = constructed("each", UMC_NOMAGAZINE);
	(void)state;

	for (size_t i = 1; i <= 10; i++) {
		umem_cache_free(cp, umem_cache_alloc(cp, 0));
		assert_int_equal(tally.t_ctor, i);
		assert_int_equal(tally.t_dtor, i);
	}
	umem_cache_destroy(cp);
}

static int
never(void)
{
	abort();
}

static void
t52_a_constructor_is_never_told_not_to_fail(void **state)
{
	umem_cache_t *cp = constructed("flags", 0);
	(void)state;

	umem_nofail_callback(never);
	take(cp, 100);
	for (size_t i = 100; i < 200; i++) {
		objs[i] = umem_cache_alloc(cp, UMEM_NOFAIL);
		assert_non_null(objs[i]);
	}
	give(cp, 200);
	assert_int_equal(tally.t_flags, UMEM_DEFAULT);
	umem_nofail_callback(NULL);
	umem_cache_destroy(cp);
}

static void
an_object_whose_construction_failed_is_not_lost(void **state)
{
	umem_cache_t *cp = constructed("failing", 0);
	struct umem_stat us;
	(void)state;

	tally.t_fail_from = 11;
	assert_int_equal(umem_cache_alloc_batch(cp, objs, 50, 0), 10);
	for (int i = 0; i < 100; i++)
		assert_null(umem_cache_alloc(cp, UMEM_DEFAULT));
	assert_true(look_cache("failing", &us));
	assert_int_equal(us.us_inuse, 10);
	assert_in_range(us.us_fails, 101, 101);
	assert_int_equal(tally.t_ctor, 10 + 101);

	tally.t_fail_from = 0;
	assert_int_equal(umem_cache_alloc_batch(cp, objs + 10, 40, 0), 40);
	give(cp, 50);
	umem_cache_destroy(cp);
	assert_int_equal(tally.t_dtor, 50);
}

/* ---- reclaim and reap ---- */

static void
t64_reclaim_may_free_into_its_own_cache(void **state)
{
	umem_cache_t *cp = constructed("reclaim", 0);
	(void)state;

	tally.t_give = umem_cache_alloc(cp, 0);
	umem_cache_reap_now(cp);
	assert_int_equal(tally.t_reclaim, 1);
	assert_int_equal(tally.t_dtor, 1);
	tally.t_give = umem_cache_alloc(cp, 0);
	(void)quarry_reap();
	assert_int_equal(tally.t_reclaim, 2);
	assert_int_equal(tally.t_dtor, 2);
	umem_cache_destroy(cp);
}

static void
a_cache_reaped_now_keeps_only_what_is_in_use(void **state)
{
	umem_cache_t *cp = plain("reaped", 512, 0, 0);
	struct umem_stat us;
	(void)state;

	take(cp, MANY);
	give(cp, MANY - 1);
	umem_cache_reap_now(cp);
	assert_true(look_cache("reaped", &us));
	assert_int_equal(us.us_inuse, 1);
	assert_int_equal(us.us_cached, 0);
	assert_in_range(us.us_memory, 1, 65536);
	memset(objs[MANY - 1], 1, 512);
	umem_cache_free(cp, objs[MANY - 1]);
	umem_cache_reap_now(cp);
	assert_true(look_cache("reaped", &us));
	assert_int_equal(us.us_memory, 0);
	umem_cache_destroy(cp);
}

/* ---- destruction ---- */

static void
destroy_an_empty_cache(void *arg)
{
	umem_cache_t *cp = umem_cache_create(
	    "empty", 200, 0, NULL, NULL, NULL, NULL, NULL, *(int *)arg);
	size_t before = look_heap();

	for (size_t i = 0; i < MANY; i++)
		objs[i] = umem_cache_alloc(cp, 0);
	CHILD_CHECK(look_heap() >= before + MANY * 200);
	for (size_t i = 0; i < MANY; i++)
		umem_cache_free(cp, objs[i]);
	umem_cache_destroy(cp);
	CHILD_CHECK(look_heap() == before);
	umem_cache_destroy(NULL);
}

static void
t56_destroying_an_empty_cache_says_nothing_and_returns_all_memory(void **state)
{
	int cflags[] = {0, UMC_NOMAGAZINE};
	struct child c;
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		child_run(&c, destroy_an_empty_cache, &cflags[i]);
		assert_int_equal(c.c_signal, 0);
		assert_int_equal(c.c_status, 0);
		assert_string_equal(c.c_stderr, "");
	}
}

static void
destroy_a_cache_in_use(void *arg)
{
	umem_cache_t *cp = arg, *gone = arg;
	char *p[3];

	for (size_t i = 0; i < 3; i++)
		p[i] = umem_cache_alloc(cp, 0);
	umem_cache_destroy(cp);
	for (size_t i = 0; i < 3; i++)
		memset(p[i], 1, 100);
	/* Its slot may serve another cache now, which must not notice. */
	cp = umem_cache_create("next", 300, 0, NULL, NULL, NULL, NULL, NULL, 0);
	for (size_t i = 0; i < MANY; i++) {
		objs[i] = umem_cache_alloc(cp, 0);
		memset(objs[i], 2, 300);
	}
	for (size_t i = 0; i < 3; i++) {
		CHILD_CHECK(p[i][0] == 1 && p[i][99] == 1);
		umem_cache_free(gone, p[i]);
	}
	look_check();
}

static void
destroying_a_cache_in_use_says_so_and_leaves_the_objects(void **state)
{
	umem_cache_t *cp = plain("in use", 100, 0, 0);
	char message[200];
	struct child c;
	(void)state;

	(void)snprintf(message, sizeof(message),
	    "quarry: umem_cache_destroy: 'in use' (%p) not empty: 3 objects\n",
	    (void *)cp);
	child_run(&c, destroy_a_cache_in_use, cp);
	assert_string_equal(c.c_stderr, message);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	umem_cache_destroy(cp);
}

static void
more_caches_than_slots_work_alike(void **state)
{
	enum { CACHES = PERCPU_SLOTS + 100 };
	static umem_cache_t *caches[CACHES];
	static void *held[CACHES];
	size_t before = look_heap();
	(void)state;

	for (size_t i = 0; i < CACHES; i++) {
		caches[i] = plain("many", 24 + i % 7 * 8, 8, 0);
		held[i] = umem_cache_alloc(caches[i], 0);
		assert_non_null(held[i]);
		memset(held[i], (int)(i % 251), 24 + i % 7 * 8);
	}
	for (size_t i = 0; i < CACHES; i++) {
		assert_int_equal(*(unsigned char *)held[i], i % 251);
		umem_cache_free(caches[i], held[i]);
		held[i] = umem_cache_alloc(caches[i], 0);
		assert_non_null(held[i]);
		umem_cache_free(caches[i], held[i]);
		umem_cache_destroy(caches[i]);
	}
	assert_int_equal(look_heap(), before);
}

static void
the_slot_of_a_destroyed_cache_is_used_again(void **state)
{
	(void)state;

	for (size_t i = 0; i < PERCPU_SLOTS + 10; i++) {
		umem_cache_t *cp = plain("brief", 64, 0, 0);

		assert_int_not_equal(cp->cache_slot, 0);
		umem_cache_destroy(cp);
	}
}

static void
a_cache_that_follows_a_destroyed_one_gets_none_of_its_objects(void **state)
{
	(void)state;

	for (size_t round = 0; round < 50; round++) {
		size_t size = 32 << round % 5;
		umem_cache_t *cp = plain("heir", size, 8, 0);

		take(cp, 200);
		for (size_t i = 0; i < 200; i++)
			memset(objs[i], 1, size);
		give(cp, 200);
		umem_cache_destroy(cp);
		look_check();
	}
}

/*
 * Without the fence nobody can tell whether another CPU is still at work on the
 * magazines, so they must be left alone, and their slot with them.
 */
static void
what_a_destroyed_cache_left_on_cpus_reaches_no_other(void **state)
{
	umem_cache_t *cp = plain("left", 64, 0, 0);
	char alone = __libc_single_threaded;
	(void)state;

	may_leak = true;
	take(cp, 100);
	give(cp, 100);
	__libc_single_threaded = 0;
	failsys_only(SYS_membarrier);
	failsys_from(FAILSYS_SYSCALL, 1, EPERM);
	umem_cache_destroy(cp);
	failsys_reset();
	__libc_single_threaded = alone;

	for (int round = 0; round < 3; round++) {
		cp = plain("new", 64, 0, 0);
		take(cp, 500);
		for (size_t i = 0; i < 500; i++)
			memset(objs[i], 1, 64);
		look_check();
		give(cp, 500);
		umem_cache_destroy(cp);
	}
}

/* ---- many CPUs ---- */

static void
free_passes_a_cache_by_whatever_cpu_it_happens_on(void **state)
{
	umem_cache_t *cp = plain("passing", 64, 0, 0);
	struct umem_stat us;
	(void)state;

	/* Objects go round in a queue: every free is of the oldest. */
	cpus_roam();
	take(cp, MANY);
	for (size_t i = 0; i < 200 * (size_t)MANY; i++) {
		umem_cache_free(cp, objs[i % MANY]);
		objs[i % MANY] = umem_cache_alloc(cp, 0);
		assert_non_null(objs[i % MANY]);
	}
	assert_true(look_cache("passing", &us));
	assert_int_equal(us.us_inuse, MANY);
	assert_in_range(us.us_memory, MANY * 64, 8 * MANY * 64);
	give(cp, MANY);
	umem_cache_destroy(cp);
	cpus_stay();
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(t58_bad_arguments_are_refused_with_the_errno_that_names_them),
	    TEST(an_object_beyond_all_memory_fails_when_it_is_asked_for),
	    TEST(t57_size_and_alignment_decide_the_stride),
	    TEST(t59_a_name_of_any_length_is_taken_and_cut),
	    TEST(objects_of_any_size_do_not_overlap),
	    TEST(the_first_objects_come_in_the_order_of_their_addresses),
	    TEST(the_object_freed_last_is_the_next_one_and_is_untouched),
	    TEST(a_batch_is_as_many_objects_as_were_asked_for),
	    TEST(without_magazines_what_is_free_is_given_back_at_once),
	    TEST(t54_an_object_stays_constructed_while_it_is_free),
	    TEST(t55_every_object_that_was_constructed_is_destroyed_once),
	    TEST(without_magazines_each_free_destroys),
	    TEST(t52_a_constructor_is_never_told_not_to_fail),
	    TEST(an_object_whose_construction_failed_is_not_lost),
	    TEST(t64_reclaim_may_free_into_its_own_cache),
	    TEST(a_cache_reaped_now_keeps_only_what_is_in_use),
	    TEST(
		t56_destroying_an_empty_cache_says_nothing_and_returns_all_memory),
	    TEST(destroying_a_cache_in_use_says_so_and_leaves_the_objects),
	    TEST(more_caches_than_slots_work_alike),
	    TEST(the_slot_of_a_destroyed_cache_is_used_again),
	    TEST(a_cache_that_follows_a_destroyed_one_gets_none_of_its_objects),
	    TEST(what_a_destroyed_cache_left_on_cpus_reaches_no_other),
	    TEST(free_passes_a_cache_by_whatever_cpu_it_happens_on),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
