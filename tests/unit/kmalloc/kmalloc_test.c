/*
 * kmalloc_test.c - blocks of malloc types: sizes, alignment, errors.
 */
#define _GNU_SOURCE 1 /* gettid */

#include "unit/contig/contig_test.h"

#include "os/os.h"
#include "support/asleep.h"
#include "support/child.h"
#include "support/failsys.h"

#include <quarry/umem.h>

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <unistd.h>

static struct malloc_type *type;

static int
make_type(void **state)
{
	(void)state;
	kmalloc_create(&type, "mine");
	return (type == NULL);
}

/* Whatever a test did, it freed. */
static int
destroy_type(void **state)
{
	struct malloc_type_stats st = stats_of(type);
	(void)state;

	kmalloc_destroy(&type);
	return (st.inuse != 0 || st.memuse != 0);
}

static void
a_block_is_charged_as_its_size_class_and_by_pages_when_large(void **state)
{
	static const struct {
		size_t size, charge, bit;
	} v[] = {
	    {1, 8, 1},
	    {16, 16, 1},
	    {17, 32, 2},
	    {100, 112, 8},
	    {4096, 4096, 256},
	    {65536, 65536, 4096},
	    {65537, 73728, 0},
	    {200001, 200704, 0},
	};
	uint64_t bits = 0;
	(void)state;

	for (size_t i = 0; i < sizeof(v) / sizeof(v[0]); i++) {
		void *p = kmalloc(v[i].size, type, M_WAITOK);
		struct malloc_type_stats st = stats_of(type);

		assert_non_null(p);
		memset(p, 1, v[i].size);
		bits |= v[i].bit;
		assert_int_equal(st.memuse, v[i].charge);
		assert_int_equal(st.inuse, 1);
		assert_int_equal(st.sizes, bits);
		kfree(p, type);
		assert_int_equal(stats_of(type).memuse, 0);
	}
	assert_int_equal(stats_of(type).highuse, 200704);
	assert_int_equal(stats_of(type).requests, sizeof(v) / sizeof(v[0]));
}

static void
a_power_of_two_is_aligned_to_itself_up_to_a_page(void **state)
{
	enum { N = 100 };
	void *p[N];
	(void)state;

	for (size_t size = 16; size <= 65536; size *= 2) {
		for (size_t i = 0; i < N; i++) {
			size_t align = size < PAGE ? size : PAGE;

			p[i] = kmalloc(size, type, M_WAITOK);
			assert_int_equal((uintptr_t)p[i] % align, 0);
		}
		for (size_t i = 0; i < N; i++)
			kfree(p[i], type);
	}
}

static void
an_alignment_up_to_a_page_is_met_for_any_size(void **state)
{
	(void)state;

	for (size_t align = 1; align <= PAGE; align *= 2) {
		for (size_t size = 1; size < 200000; size = size * 3 + 1) {
			void *p = kmalloc_aligned(size, align, type, M_WAITOK);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % align, 0);
			memset(p, 1, size);
			kfree(p, type);
		}
	}
	panic_catch();
	errno = 0;
	assert_null(kmalloc_aligned(10, 2 * PAGE, type, M_WAITOK));
	assert_int_equal(errno, EINVAL);
	PANIC_EXPECT("kmalloc_aligned(10, 8192, mine, 0x2): alignment must be "
		     "a power of 2 up to a page");
	panic_catch();
	assert_null(kmalloc_aligned(10, 48, type, M_WAITOK));
	PANIC_EXPECT("kmalloc_aligned(10, 48, mine, 0x2): alignment must be a "
		     "power of 2 up to a page");
}

static void
flags_zero_round_and_align(void **state)
{
	char *p = kmalloc(3000, type, M_WAITOK);
	(void)state;

	memset(p, 0xff, 3000);
	kfree(p, type);
	p = kmalloc(3000, type, M_WAITOK | M_ZERO);
	for (size_t i = 0; i < 3000; i++)
		assert_int_equal(p[i], 0);
	kfree(p, type);
	p = kmalloc(3000, type, M_WAITOK | M_POWEROF2);
	assert_int_equal(stats_of(type).memuse, 4096);
	assert_int_equal((uintptr_t)p % 4096, 0);
	kfree(p, type);
	p = kmalloc(100, type, M_WAITOK | M_CACHEALIGN);
	assert_int_equal((uintptr_t)p % 64, 0);
	kfree(p, type);
}

static void
follow(void *p)
{
	(void)*(volatile char *)p;
}

static void
no_bytes_are_a_pointer_of_their_own_that_cannot_be_followed(void **state)
{
	void *a = kmalloc(0, type, M_WAITOK), *b = kmalloc(0, type, M_NOWAIT);
	struct child c;
	(void)state;

	assert_non_null(a);
	assert_non_null(b);
	assert_ptr_not_equal(a, b);
	child_run(&c, follow, a);
	assert_int_equal(c.c_signal, SIGSEGV);
	assert_int_equal(stats_of(type).inuse, 0);
	b = krealloc(b, 10, type, M_WAITOK);
	assert_non_null(b);
	assert_int_equal(stats_of(type).inuse, 1);
	kfree(a, type);
	kfree(b, type);
	kfree(NULL, type);
}

static void
krealloc_keeps_what_fits_and_contents(void **state)
{
	char *p = krealloc(NULL, 1000, type, M_WAITOK), *q;
	(void)state;

	memset(p, 7, 1000);
	assert_ptr_equal(krealloc(p, 1024, type, M_WAITOK), p);
	assert_ptr_equal(krealloc(p, 600, type, M_WAITOK), p);
	q = krealloc(p, 100000, type, M_WAITOK);
	assert_ptr_not_equal(p, q);
	for (size_t i = 0; i < 1000; i++)
		assert_int_equal(q[i], 7);
	p = krealloc(q, 20, type, M_WAITOK);
	for (size_t i = 0; i < 20; i++)
		assert_int_equal(p[i], 7);
	assert_int_equal(stats_of(type).inuse, 1);
	assert_null(krealloc(p, 0, type, M_WAITOK));
	assert_int_equal(stats_of(type).inuse, 0);
}

static void
krealloc_that_fails_leaves_the_block_as_it_was(void **state)
{
	char *p = kmalloc(1000, type, M_WAITOK);
	(void)state;

	p[999] = 7;
	assert_int_equal(malloc_type_set_limit(type, 2000), 0);
	errno = 0;
	assert_null(krealloc(p, 2000, type, M_NOWAIT));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(p[999], 7);
	panic_catch();
	errno = 0;
	assert_null(krealloc(p, 2000, type, M_ZERO));
	assert_int_equal(errno, EINVAL);
	PANIC_EXPECT("krealloc(%p, 2000, mine, 0x100): M_ZERO is not allowed",
	    (void *)p);
	kmalloc_set_unlimited(type);
	kfree(p, type);
}

static void
krealloc_takes_memory_of_contigmalloc(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	char *p = contigmalloc_pool(pool, 8192, type, 0, 0, NO_LIMIT, 1, 0), *q;
	(void)state;

	memset(p, 3, 8192);
	assert_ptr_equal(krealloc(p, 5000, type, M_WAITOK), p);
	q = krealloc(p, 10000, type, M_WAITOK);
	assert_int_equal(vtophys(q), NOWHERE);
	assert_int_equal(q[8191], 3);
	assert_int_equal(stats_of(type).inuse, 1);
	kfree(q, type);
	pool_done(pool);
}

static void
strings_are_copied_whole_or_cut(void **state)
{
	char *a = kstrdup("quarry", type), *b = kstrndup("quarry", 3, type),
	     *c = kstrndup("quarry", 100, type), *d = kstrdup("", type);
	(void)state;

	assert_string_equal(a, "quarry");
	assert_string_equal(b, "qua");
	assert_string_equal(c, "quarry");
	assert_string_equal(d, "");
	assert_null(kstrdup(NULL, type));
	assert_null(kstrndup(NULL, 3, type));
	panic_catch();
	assert_null(kstrdup("quarry", NULL));
	assert_int_equal(panics, 1);
	kfree(a, type);
	kfree(b, type);
	kfree(c, type);
	kfree(d, type);
}

static void
sizes_beyond_the_address_space_fail_whatever_the_flags(void **state)
{
	static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 4095,
	    (size_t)PTRDIFF_MAX + 1, ((size_t)1 << 63) + 1, (size_t)1 << 62,
	    (size_t)1 << OS_ADDRESS_BITS};
	static const int flags[] = {M_NOWAIT, M_WAITOK, M_WAITOK | M_POWEROF2,
	    M_NOWAIT | M_CACHEALIGN, 0};
	(void)state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (size_t j = 0; j < sizeof(flags) / sizeof(flags[0]); j++) {
			errno = 0;
			assert_null(kmalloc(sizes[i], type, flags[j]));
			assert_int_equal(errno, ENOMEM);
			assert_null(
			    kmalloc_aligned(sizes[i], PAGE, type, flags[j]));
		}
	}
	assert_int_equal(stats_of(type).failed, 2 * 6 * 5);
	assert_int_equal(stats_of(type).highuse, 0);
}

/* ---- wrong frees ---- */

static void
a_wrong_free_is_named_and_changes_nothing(void **state)
{
	static _Alignas(16) char foreign[64];
	char *p = kmalloc(100, type, M_WAITOK), *large;
	struct malloc_type *other = NULL;
	(void)state;

	kmalloc_create(&other, "other");
	large = kmalloc(300000, type, M_WAITOK);
	panic_catch();
	kfree(foreign, type);
	PANIC_EXPECT("kfree(%p, mine): not memory of kmalloc", (void *)foreign);
	panic_catch();
	kfree(p + 16, type);
	PANIC_EXPECT(
	    "kfree(%p, mine): not memory of kmalloc", (void *)(p + 16));
	panic_catch();
	kfree(large + 4096, type);
	PANIC_EXPECT(
	    "kfree(%p, mine): not memory of kmalloc", (void *)(large + 4096));
	panic_catch();
	kfree(p, other);
	PANIC_EXPECT(
	    "kfree(%p, other): the type has no memory in use", (void *)p);
	panic_catch();
	errno = 0;
	assert_null(krealloc(foreign, 10, type, M_WAITOK));
	assert_int_equal(errno, EINVAL);
	PANIC_EXPECT("krealloc(%p, 10, mine, 0x2): not memory of kmalloc",
	    (void *)foreign);
	assert_int_equal(stats_of(type).inuse, 2);
	assert_int_equal(stats_of(other).inuse, 0);
	kfree(p, type);
	kfree(large, type);
	panic_catch();
	kfree(large, type);
	PANIC_EXPECT("kfree(%p, mine): not memory of kmalloc", (void *)large);
	kmalloc_destroy(&other);
}

/* ---- limits ---- */

static void
t17_a_request_over_the_limit_fails_and_one_up_to_it_does_not(void **state)
{
	void *a, *b;
	(void)state;

	assert_int_equal(malloc_type_set_limit(type, 200), 0);
	a = kmalloc(112, type, M_NOWAIT);
	assert_non_null(a);
	errno = 0;
	assert_null(kmalloc(96, type, M_NOWAIT));
	assert_int_equal(errno, ENOMEM);
	assert_null(kmalloc(96, type, M_WAITOK | M_NULLOK));
	b = kmalloc(80, type, M_NOWAIT);
	assert_non_null(b);
	assert_int_equal(stats_of(type).memuse, 192);
	assert_int_equal(stats_of(type).highuse, 192);
	assert_int_equal(stats_of(type).failed, 2);
	assert_int_equal(stats_of(type).limit, 200);
	kfree(a, type);
	kfree(b, type);
	assert_null(kmalloc(300, type, M_WAITOK));
	assert_int_equal(errno, ENOMEM);
	kmalloc_set_unlimited(type);
	a = kmalloc(300, type, M_NOWAIT);
	kfree(a, type);
}

/* Not that memory is short, too. */
static void
t17_a_request_over_the_limit_does_not_wait_for_memory(void **state)
{
	(void)state;

	assert_int_equal(malloc_type_set_limit(type, 1 << 20), 0);
	failsys_reset();
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	errno = 0;
	assert_null(kmalloc((size_t)1 << 30, type, M_WAITOK));
	assert_int_equal(errno, ENOMEM);
	failsys_reset();
	kmalloc_set_unlimited(type);
}

static _Atomic pid_t waiter;

static void *
wait_for_a_gigabyte(void *arg)
{
	void **got = arg;

	waiter = gettid();
	*got = kmalloc((size_t)1 << 30, type, M_WAITOK);
	return (NULL);
}

static void
t17_a_limit_that_sinks_ends_waiting_for_memory(void **state)
{
	void *got = &got;
	pthread_t thread;
	(void)state;

	failsys_reset();
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	assert_int_equal(
	    pthread_create(&thread, NULL, wait_for_a_gigabyte, &got), 0);
	wait_until_asleep(&waiter);
	assert_int_equal(malloc_type_set_limit(type, 1 << 20), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_null(got);
	failsys_reset();
	kmalloc_set_unlimited(type);
}

static void
t17_a_limit_is_raised_and_never_lowered(void **state)
{
	(void)state;

	assert_int_equal(kmalloc_limit(type), INT64_MAX);
	kmalloc_raise_limit(type, 1000);
	assert_int_equal(kmalloc_limit(type), INT64_MAX);
	assert_int_equal(malloc_type_set_limit(type, 1000), 0);
	assert_int_equal(kmalloc_limit(type), 1000);
	kmalloc_raise_limit(type, 500);
	assert_int_equal(kmalloc_limit(type), 1000);
	kmalloc_raise_limit(type, 2000);
	assert_int_equal(kmalloc_limit(type), 2000);
	kmalloc_raise_limit(type, 0);
	assert_int_equal(kmalloc_limit(type), INT64_MAX);
	assert_int_equal(malloc_type_set_limit(type, 10), 0);
	kmalloc_set_unlimited(type);
	assert_int_equal(kmalloc_limit(type), INT64_MAX);
}

static void *
wait_for_200(void *arg)
{
	void **got = arg;

	*got = kmalloc(200, type, M_WAITOK);
	return (NULL);
}

static void
t17_a_waiter_wakes_when_usage_drops_or_the_limit_rises(void **state)
{
	void *a = kmalloc(1000, type, M_WAITOK), *got = NULL;
	pthread_t thread;
	(void)state;

	assert_int_equal(malloc_type_set_limit(type, 1100), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_200, &got), 0);
	(void)usleep(20000);
	kfree(a, type);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_non_null(got);

	assert_int_equal(malloc_type_set_limit(type, 300), 0);
	a = got;
	assert_int_equal(pthread_create(&thread, NULL, wait_for_200, &got), 0);
	(void)usleep(20000);
	kmalloc_raise_limit(type, 1000);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_non_null(got);
	kfree(a, type);
	kfree(got, type);

	/* Lowered below what waits, it fails. */
	a = kmalloc(100, type, M_WAITOK);
	assert_int_equal(malloc_type_set_limit(type, 250), 0);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_200, &got), 0);
	(void)usleep(20000);
	assert_int_equal(malloc_type_set_limit(type, 150), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_null(got);
	kfree(a, type);
}

/* ---- umem_usable_size ---- */

static void
a_block_of_umem_has_room_for_its_class_and_a_large_one_for_its_size(
    void **state)
{
	umem_cache_t *cache =
	    umem_cache_create("other", 100, 0, NULL, NULL, NULL, NULL, NULL, 0);
	void *object = umem_cache_alloc(cache, UMEM_DEFAULT);
	char *p = umem_alloc(100, UMEM_DEFAULT);
	char *large = umem_alloc(500001, UMEM_DEFAULT);
	(void)state;

	assert_int_equal(umem_usable_size(p), 112);
	assert_int_equal(umem_usable_size(p + 16), 0);
	assert_int_equal(umem_usable_size(large), 500001);
	assert_int_equal(umem_usable_size(large + PAGE), 0);
	assert_int_equal(umem_usable_size(object), 0);
	assert_int_equal(umem_usable_size(&object), 0);
	assert_int_equal(umem_usable_size(NULL), 0);
	umem_free(p, 112);
	umem_free(large, 500001);
	umem_cache_free(cache, object);
	umem_cache_destroy(cache);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, make_type, destroy_type)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_block_is_charged_as_its_size_class_and_by_pages_when_large),
	    TEST(a_power_of_two_is_aligned_to_itself_up_to_a_page),
	    TEST(an_alignment_up_to_a_page_is_met_for_any_size),
	    TEST(flags_zero_round_and_align),
	    TEST(no_bytes_are_a_pointer_of_their_own_that_cannot_be_followed),
	    TEST(krealloc_keeps_what_fits_and_contents),
	    TEST(krealloc_that_fails_leaves_the_block_as_it_was),
	    TEST(krealloc_takes_memory_of_contigmalloc),
	    TEST(strings_are_copied_whole_or_cut),
	    TEST(sizes_beyond_the_address_space_fail_whatever_the_flags),
	    TEST(a_wrong_free_is_named_and_changes_nothing),
	    TEST(t17_a_request_over_the_limit_fails_and_one_up_to_it_does_not),
	    TEST(t17_a_request_over_the_limit_does_not_wait_for_memory),
	    TEST(t17_a_limit_that_sinks_ends_waiting_for_memory),
	    TEST(t17_a_limit_is_raised_and_never_lowered),
	    TEST(t17_a_waiter_wakes_when_usage_drops_or_the_limit_rises),
	    TEST(
		a_block_of_umem_has_room_for_its_class_and_a_large_one_for_its_size),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
