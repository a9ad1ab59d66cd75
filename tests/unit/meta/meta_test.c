/*
 * meta_test.c - record pools and blocks.
 */
#define _GNU_SOURCE 1 /* mincore */

#include "meta/meta.h"

#include "base/bits.h"
#include "os/os.h"
#include "support/child.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { CHUNK_BYTES = 256 * 1024 };

static int
reset(void **state)
{
	(void)state;
	failsys_reset();
	return (0);
}

static bool
is_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] != 0)
			return (false);
	}
	return (true);
}

static void
many_small_pools_share_a_few_pages(void **state)
{
	static struct meta_pool pools[] = {META_POOL_INIT("a", 16),
	    META_POOL_INIT("b", 32), META_POOL_INIT("c", 48),
	    META_POOL_INIT("d", 64), META_POOL_INIT("e", 80),
	    META_POOL_INIT("f", 96), META_POOL_INIT("g", 112),
	    META_POOL_INIT("h", 128)};
	uintptr_t low = UINTPTR_MAX, high = 0;
	(void)state;

	for (size_t i = 0; i < QR_ARRAY_LEN(pools); i++) {
		for (int n = 0; n < 3; n++) {
			uintptr_t rec = (uintptr_t)meta_get(&pools[i]);

			assert_int_not_equal(rec, 0);
			low = qr_min(low, rec);
			high = qr_max(high, rec);
		}
	}
	assert_true(high - low < 8192);
}

static void
a_record_put_back_is_the_next_one_out_and_is_zero(void **state)
{
	static struct meta_pool pool = META_POOL_INIT("lifo", 64);
	char *first = meta_get(&pool);
	char *second = meta_get(&pool);
	(void)state;

	assert_non_null(first);
	assert_ptr_not_equal(first, second);
	memset(first, 'x', 64);
	memset(second, 'y', 64);
	meta_put(&pool, second);
	meta_put(&pool, first);
	assert_int_equal(pool.mp_nfree, 2);
	assert_int_equal(pool.mp_total, 2);

	assert_ptr_equal(meta_get(&pool), first);
	assert_true(is_zero(first, 64));
	assert_ptr_equal(meta_get(&pool), second);
	assert_true(is_zero(second, 64));
	assert_int_equal(pool.mp_nfree, 0);
}

/* Records of one size, all alive at once, each filled with its own number. */
static void
check_size(size_t size)
{
	enum { RECORDS = 300 };
	static unsigned char *recs[RECORDS];
	struct meta_pool *pool = meta_block_get(sizeof(*pool));
	size_t align = qr_min((size_t)1 << qr_ctz(size), os_page_size());

	*pool = (struct meta_pool)META_POOL_INIT("sizes", size);
	for (int i = 0; i < RECORDS; i++) {
		recs[i] = meta_get(pool);
		assert_non_null(recs[i]);
		assert_int_equal(qr_phase((uintptr_t)recs[i], align), 0);
		assert_true(is_zero((char *)recs[i], size));
		memset(recs[i], i % 255 + 1, size);
	}
	for (int i = 0; i < RECORDS; i++) {
		assert_int_equal(recs[i][0], i % 255 + 1);
		assert_int_equal(recs[i][size - 1], i % 255 + 1);
	}
	assert_int_equal(pool->mp_total, RECORDS);
}

/* The pools are registered for good, so their blocks are never put back. */
static void
records_are_aligned_zeroed_and_apart(void **state)
{
	static const size_t sizes[] = {16, 32, 48, 64, 80, 128, 144, 192, 256,
	    512, 1024, 1040, 2048, 3072, 4096, 5008, 8192};
	(void)state;

	for (size_t i = 0; i < QR_ARRAY_LEN(sizes); i++)
		check_size(sizes[i]);
}

static void
a_record_may_be_larger_than_a_chunk(void **state)
{
	static struct meta_pool pool =
	    META_POOL_INIT("huge", (size_t)3 * CHUNK_BYTES + 16);
	char *rec = meta_get(&pool);
	(void)state;

	assert_non_null(rec);
	assert_true(is_zero(rec, pool.mp_size));
	memset(rec, 1, pool.mp_size);
	assert_non_null(meta_get(&pool));
}

static void
out_of_memory_is_null_and_passes(void **state)
{
	static struct meta_pool pool = META_POOL_INIT("oom", 2048);
	size_t total, before;
	char *rec;
	(void)state;

	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	while ((rec = meta_get(&pool)) != NULL)
		memset(rec, 1, 2048);
	total = pool.mp_total;
	before = meta_mapped();
	errno = 77;
	assert_null(meta_get(&pool));
	assert_null(meta_block_get(1));
	assert_int_equal(errno, 77);
	assert_int_equal(pool.mp_total, total);
	assert_int_equal(meta_mapped(), before);

	failsys_reset();
	rec = meta_get(&pool);
	assert_non_null(rec);
	assert_true(is_zero(rec, 2048));
	assert_int_equal(pool.mp_total, total + 1);
	assert_int_equal(meta_mapped(), before + CHUNK_BYTES);
}

/* Start a new chunk, so that it is all there is; then use it up. */
static void
without_memory_a_chunk_is_used_to_its_last_record(void **state)
{
	static struct meta_pool filler = META_POOL_INIT("filler", 16);
	static struct meta_pool pool = META_POOL_INIT("last", 48);
	size_t records = 0;
	(void)state;

	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	while (meta_get(&filler) != NULL)
		continue;
	failsys_reset();
	assert_non_null(meta_get(&pool));
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	for (records = 1; meta_get(&pool) != NULL; records++)
		continue;
	assert_int_equal(records, CHUNK_BYTES / 48);
}

static void
blocks_are_whole_zeroed_pages(void **state)
{
	size_t page = os_page_size();
	size_t before = meta_mapped();
	char *block = meta_block_get(page + 1);
	(void)state;

	assert_non_null(block);
	assert_int_equal(qr_phase((uintptr_t)block, page), 0);
	assert_true(is_zero(block, 2 * page));
	memset(block, 1, 2 * page);
	assert_int_equal(meta_mapped(), before + 2 * page);

	failsys_nth(FAILSYS_MUNMAP, 1, ENOMEM);
	meta_block_put(block, page + 1);
	assert_int_equal(meta_mapped(), before + 2 * page);
	meta_block_put(block, page + 1);
	assert_int_equal(meta_mapped(), before);
}

static void
a_block_of_nothing_or_too_much_is_null(void **state)
{
	(void)state;
	assert_null(meta_block_get(0));
	assert_null(meta_block_get(SIZE_MAX));
	assert_null(meta_block_get(SIZE_MAX - os_page_size() + 1));
	assert_null(meta_block_get(SIZE_MAX / 2));
}

static void
a_record_size_is_rounded_up_to_16_bytes(void **state)
{
	static struct meta_pool pool = META_POOL_INIT("odd", 17);
	char *first = meta_get(&pool);
	(void)state;

	assert_ptr_equal(meta_get(&pool), first + 32);
}

static void
put_one_too_many(void *arg)
{
	static struct meta_pool pool = META_POOL_INIT("twice", 32);
	void *rec = meta_get(&pool);
	(void)arg;

	meta_put(&pool, rec);
	meta_put(&pool, rec);
}

static void
use_no_size(void *arg)
{
	static struct meta_pool pool = META_POOL_INIT("none", 0);
	(void)arg;

	(void)meta_get(&pool);
}

static void
a_broken_pool_is_fatal(void **state)
{
	(void)state;
	child_expect_abort_like(put_one_too_many, NULL,
	    "quarry: assertion failed: mp->mp_nfree < mp->mp_total, file *");
	child_expect_abort_like(
	    use_no_size, NULL, "quarry: assertion failed: mp->mp_size >= 16 *");
}

static struct meta_pool common = META_POOL_INIT("common", 64);
static _Atomic bool stop;

/* Returns how many records came not zeroed or were changed by others. */
static void *
churn(void *arg)
{
	enum { HELD = 20 };
	uintptr_t *held[HELD] = {NULL};
	uintptr_t stamp = (uintptr_t)&held, wrong = 0;
	long rounds = arg != NULL ? *(long *)arg : INT32_MAX;

	for (long i = 0; i < rounds && !stop; i++) {
		uintptr_t **slot = &held[i * 7 % HELD];

		if (*slot != NULL) {
			wrong += (*slot)[0] != stamp || (*slot)[7] != stamp;
			meta_put(&common, *slot);
		}
		*slot = meta_get(&common);
		wrong += !is_zero((char *)*slot, 64);
		(*slot)[0] = stamp;
		(*slot)[7] = stamp;
	}
	for (int i = 0; i < HELD; i++) {
		if (held[i] != NULL)
			meta_put(&common, held[i]);
	}
	return ((void *)wrong);
}

static void
threads_share_a_pool(void **state)
{
	enum { THREADS = 4 };
	pthread_t threads[THREADS];
	long rounds = 20000;
	(void)state;

	stop = false;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, churn, &rounds), 0);
	for (int i = 0; i < THREADS; i++) {
		void *wrong;

		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
	assert_int_equal(common.mp_nfree, common.mp_total);
	assert_true(common.mp_total <= THREADS * 20);
}

static void *
get_one(void *arg)
{
	return (meta_get(arg));
}

static void
while_all_locks_are_held_no_pool_is_used_or_registered(void **state)
{
	static struct meta_pool pools[2] = {
	    META_POOL_INIT("old", 16), META_POOL_INIT("new", 16)};
	pthread_t threads[2];
	void *rec;
	(void)state;

	assert_non_null(meta_get(&pools[0]));
	meta_lock_all();
	for (int i = 0; i < 2; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, get_one, &pools[i]), 0);
	(void)usleep(20000);
	assert_int_equal(pools[0].mp_total, 1);
	assert_false(pools[1].mp_listed);
	meta_unlock_all();
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], &rec), 0);
		assert_non_null(rec);
	}
}

/* First use of a pool, over and over, so that forks meet registrations. */
static void *
register_pools(void *arg)
{
	while (!stop) {
		struct meta_pool *pool = meta_block_get(sizeof(*pool));

		*pool = (struct meta_pool)META_POOL_INIT("new", 16);
		(void)meta_get(pool);
		(void)usleep(200);
	}
	return (arg);
}

/* In the child of fork: every lock is free, old pools and new ones work. */
static void
use_pools_and_exit(void)
{
	static struct meta_pool fresh = META_POOL_INIT("fresh", 4096);

	(void)alarm(20);
	for (int i = 0; i < 100; i++) {
		void *rec = meta_get(&common);

		CHILD_CHECK(rec != NULL);
		CHILD_CHECK(meta_get(&fresh) != NULL);
		meta_put(&common, rec);
	}
	meta_lock_all();
	meta_unlock_all();
	_exit(0);
}

/* The library's fork handlers call meta_lock_all() and meta_unlock_all(). */
static void
a_child_forked_while_others_use_the_floor_goes_on(void **state)
{
	int forks = look_quick() ? 10 : 40;
	pthread_t threads[3];
	(void)state;

	stop = false;
	assert_int_equal(pthread_create(&threads[0], NULL, churn, NULL), 0);
	assert_int_equal(pthread_create(&threads[1], NULL, churn, NULL), 0);
	assert_int_equal(
	    pthread_create(&threads[2], NULL, register_pools, NULL), 0);
	for (int i = 0; i < forks; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0)
			use_pools_and_exit();
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	stop = true;
	for (int i = 0; i < 3; i++) {
		void *wrong;

		assert_int_equal(pthread_join(threads[i], &wrong), 0);
		assert_null(wrong);
	}
}

/* ---- what is free goes back to the system ---- */

enum { RECORDS = 20000, KEPT_EACH = 997 };

static unsigned char *records[RECORDS];

static void
shuffle(void)
{
	for (size_t i = RECORDS - 1; i > 0; i--) {
		size_t at = (size_t)rand() % (i + 1);
		unsigned char *other = records[at];

		records[at] = records[i];
		records[i] = other;
	}
}

/* Where it is, so that no two that overlap can both have it right. */
static void
sign(unsigned char *rec, size_t size)
{
	for (size_t i = 0; i < size; i += sizeof(rec))
		memcpy(rec + i, &rec, sizeof(rec));
}

static void
check_signed(unsigned char *rec, size_t size)
{
	for (size_t i = 0; i < size; i += sizeof(rec))
		assert_memory_equal(rec + i, &rec, sizeof(rec));
}

static void
take_records(struct meta_pool *pool, size_t from)
{
	for (size_t i = from; i < RECORDS; i++) {
		records[i] = meta_get(pool);
		assert_non_null(records[i]);
		assert_true(is_zero((char *)records[i], pool->mp_size));
		sign(records[i], pool->mp_size);
	}
}

/* The first n stay. */
static void
put_records(struct meta_pool *pool, size_t n)
{
	shuffle();
	for (size_t i = n; i < RECORDS; i++)
		meta_put(pool, records[i]);
}

/* How many begin on a page that is in memory. */
static size_t
in_memory(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	size_t n = 0;

	for (size_t i = 0; i < RECORDS; i++) {
		unsigned char in = 0;

		assert_int_equal(
		    mincore((void *)((uintptr_t)records[i] & -page), 1, &in),
		    0);
		n += in & 1;
	}
	return (n);
}

static void
a_purge_gives_back_the_pages_between_records_in_use(void **state)
{
	static struct meta_pool pools[] = {META_POOL_INIT("p16", 16),
	    META_POOL_INIT("p80", 80), META_POOL_INIT("p192", 192),
	    META_POOL_INIT("p4096", 4096)};
	(void)state;

	(void)meta_purge(true);
	for (size_t i = 0; i < QR_ARRAY_LEN(pools); i++) {
		struct meta_pool *pool = &pools[i];
		size_t bytes = RECORDS * pool->mp_size, mapped = 0;
		size_t kept = RECORDS / KEPT_EACH;

		for (int round = 0; round < 3; round++) {
			size_t given;

			take_records(pool, round == 0 ? 0 : kept);
			if (round == 0)
				mapped = meta_mapped();
			put_records(pool, kept);
			assert_int_equal(in_memory(), RECORDS);
			given = meta_purge(false);
			assert_in_range(given, bytes / 2, bytes);
			assert_in_range(in_memory() * pool->mp_size, 0,
			    bytes - given + bytes / 8);
			assert_int_equal(meta_purge(true), 0);
			for (size_t k = 0; k < kept; k++)
				check_signed(records[k], pool->mp_size);
			/* What was given back is used again first. */
			assert_int_equal(meta_mapped(), mapped);
		}
		take_records(pool, kept);
		assert_int_equal(meta_mapped(), mapped);
		for (size_t k = 0; k < RECORDS; k++)
			check_signed(records[k], pool->mp_size);
		put_records(pool, 0);
		assert_in_range(meta_purge(true), bytes - bytes / 4, bytes);
		assert_int_equal(pool->mp_nfree, pool->mp_total);
	}
}

static void
few_free_records_are_not_worth_a_purge(void **state)
{
	static struct meta_pool pool = META_POOL_INIT("few", 64);
	(void)state;

	(void)meta_purge(true);
	for (size_t i = 0; i < 1000; i++)
		records[i] = meta_get(&pool);
	for (size_t i = 0; i < 1000; i++)
		meta_put(&pool, records[i]);
	assert_int_equal(meta_purge(false), 0);
	assert_in_range(meta_purge(true), 32 * 1024, 64000);
	/* Nor are many that left no page when there were half as many. */
	take_records(&pool, 0);
	for (size_t i = 0; i < RECORDS; i += 2)
		meta_put(&pool, records[i]);
	assert_int_equal(meta_purge(false), 0);
	for (size_t i = 1; i < RECORDS / 2; i += 2)
		meta_put(&pool, records[i]);
	assert_int_equal(meta_purge(false), 0);
	for (size_t i = RECORDS / 2 + 1; i < RECORDS; i += 2)
		meta_put(&pool, records[i]);
	assert_in_range(meta_purge(false), RECORDS * 32, RECORDS * 64);
}

static void
records_whose_pages_the_kernel_keeps_are_there_as_before(void **state)
{
	static struct meta_pool pool = META_POOL_INIT("refused", 80);
	size_t mapped;
	(void)state;

	take_records(&pool, 0);
	mapped = meta_mapped();
	put_records(&pool, 0);
	failsys_from(FAILSYS_MADVISE, 1, EAGAIN);
	assert_int_equal(meta_purge(true), 0);
	assert_true(failsys_calls(FAILSYS_MADVISE) > 0);
	take_records(&pool, 0);
	for (size_t i = 0; i < RECORDS; i++)
		check_signed(records[i], pool.mp_size);
	assert_int_equal(meta_mapped(), mapped);
	put_records(&pool, 0);
}

static struct meta_pool waited = META_POOL_INIT("waited", 80);
static atomic_bool purging;

static void
let_others_ask(void)
{
	purging = true;
	(void)usleep(50 * 1000);
}

static void *
ask_for_all(void *arg)
{
	size_t *n = arg;

	while (!purging)
		continue;
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	while (*n < RECORDS && meta_get(&waited) != NULL)
		(*n)++;
	return (NULL);
}

/* All that was put back is in the hands of the purge when it is asked for. */
static void
who_finds_nothing_while_there_is_a_purge_waits_for_it(void **state)
{
	pthread_t thread;
	size_t n = 0;
	(void)state;

	take_records(&waited, 0);
	put_records(&waited, 0);
	failsys_before(FAILSYS_MADVISE, let_others_ask);
	assert_int_equal(pthread_create(&thread, NULL, ask_for_all, &n), 0);
	(void)meta_purge(true);
	failsys_before(FAILSYS_MADVISE, NULL);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(n, RECORDS);
}

static struct meta_pool busy = META_POOL_INIT("busy", 48);
static atomic_bool busy_stop;

static void *
get_and_put(void *arg)
{
	enum { HELD = 3000 };
	static __thread unsigned char *held[HELD];

	while (!busy_stop) {
		for (size_t i = 0; i < HELD; i++) {
			held[i] = meta_get(&busy);
			if (held[i] == NULL || !is_zero((char *)held[i], 48))
				return (NULL);
			sign(held[i], 48);
		}
		for (size_t i = 0; i < HELD; i++) {
			if (memcmp(held[i] + 40, &held[i], 8) != 0)
				return (NULL);
			meta_put(&busy, held[i]);
		}
	}
	return (arg);
}

static void
threads_get_and_put_beside_a_purge(void **state)
{
	enum { THREADS = 3 };
	pthread_t thread[THREADS];
	int rounds = look_quick() || look_shadowed() ? 20 : 300;
	size_t given = 0;
	void *result;
	(void)state;

	for (size_t i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&thread[i], NULL, get_and_put, &busy), 0);
	for (int i = 0; i < rounds; i++) {
		given += meta_purge(true);
		(void)usleep(500);
	}
	busy_stop = true;
	for (size_t i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(thread[i], &result), 0);
		assert_ptr_equal(result, &busy);
	}
	given += meta_purge(true);
	assert_true(given > 0);
}

#define TEST(f) cmocka_unit_test_setup(f, reset)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(many_small_pools_share_a_few_pages),
	    TEST(a_record_put_back_is_the_next_one_out_and_is_zero),
	    TEST(records_are_aligned_zeroed_and_apart),
	    TEST(a_record_size_is_rounded_up_to_16_bytes),
	    TEST(a_record_may_be_larger_than_a_chunk),
	    TEST(out_of_memory_is_null_and_passes),
	    TEST(without_memory_a_chunk_is_used_to_its_last_record),
	    TEST(blocks_are_whole_zeroed_pages),
	    TEST(a_block_of_nothing_or_too_much_is_null),
	    TEST(a_broken_pool_is_fatal),
	    TEST(threads_share_a_pool),
	    TEST(a_purge_gives_back_the_pages_between_records_in_use),
	    TEST(few_free_records_are_not_worth_a_purge),
	    TEST(records_whose_pages_the_kernel_keeps_are_there_as_before),
	    TEST(who_finds_nothing_while_there_is_a_purge_waits_for_it),
	    TEST(threads_get_and_put_beside_a_purge),
	    TEST(while_all_locks_are_held_no_pool_is_used_or_registered),
	    TEST(a_child_forked_while_others_use_the_floor_goes_on),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
