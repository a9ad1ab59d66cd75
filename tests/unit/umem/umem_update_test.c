/*
 * umem_update_test.c - idle memory goes back, on request and by itself.
 */
#include "umem/umem_impl.h"

#include "os/os.h"
#include "os/os_watch.h"
#include "support/again.h"
#include "support/child.h"
#include "support/umem_look.h"
#include "vmem/vmem_heap.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>
#include <quarry/vmem.h>

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

/* ---- a peak of memory ---- */

enum { BLOCKS = 200000 };
static struct block {
	char *b_addr;
	size_t b_size;
} blocks[BLOCKS];

static size_t
size_of(size_t i)
{
	return (i % 1000 == 0 ? 200000 : 16 + i % 37 * 16);
}

static size_t
idle_bytes(void)
{
	struct vmem__heap_stat st;

	vmem__heap_stat(&st);
	return (st.idle_bytes);
}

/* Memory in use; where a sanitizer has its own, what the heap accounts for. */
static size_t
memory(void)
{
	return (look_shadowed() ? look_heap() + idle_bytes() : look_resident());
}

/* About `total` bytes in blocks of many sizes, all touched; how many. */
static size_t
peak_up(size_t total)
{
	size_t n = 0;

	for (size_t bytes = 0; bytes < total && n < BLOCKS; n++) {
		struct block *b = &blocks[n];

		b->b_size = size_of(n);
		b->b_addr = umem_alloc(b->b_size, UMEM_DEFAULT);
		if (b->b_addr == NULL)
			abort();
		memset(b->b_addr, 1, b->b_size);
		bytes += b->b_size;
	}
	return (n);
}

static void
peak_down(size_t n)
{
	for (size_t i = 0; i < n; i++)
		umem_free(blocks[i].b_addr, blocks[i].b_size);
}

static void
a_reap_returns_everything_that_is_idle(void **state)
{
	size_t total = look_quick() ? 20 * MIB : 60 * MIB;
	size_t before, resident, given, n;
	(void)state;

	memset(blocks, 0xff, sizeof(blocks));
	peak_down(peak_up(total / 10));
	(void)quarry_reap();
	before = look_heap();
	resident = memory();
	n = peak_up(total);
	assert_true(memory() >= resident + total / 2);
	peak_down(n);
	given = quarry_reap();
	/* Most of it went while it was freed: so much is not kept idle. */
	assert_true(given >= 8 * MIB);
	assert_int_equal(look_heap(), before);
	assert_in_range(memory(), 0, resident + 2 * MIB);
	/* There is nothing left to give. */
	assert_int_equal(quarry_reap(), 0);
	look_check();
}

/* Nobody wanted them from the magazines, so nobody will from the heap. */
static void
what_is_reaped_goes_with_the_next_purge(void **state)
{
	umem_cache_t *cp = umem_cache_create(
	    "reaped", 1000, 0, NULL, NULL, NULL, NULL, NULL, 0);
	void *objs[10];
	(void)state;

	assert_non_null(cp);
	/* There are no magazines then. */
	if (os_watching())
		skip();
	(void)quarry_reap();
	for (int i = 0; i < 10; i++)
		assert_non_null(objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT));
	for (int i = 0; i < 10; i++)
		umem_cache_free(cp, objs[i]);
	assert_int_equal(idle_bytes(), 0);
	umem_cache_reap_now(cp);
	assert_in_range(idle_bytes(), 1, SIZE_MAX);
	(void)vmem__heap_purge(1);
	assert_int_equal(idle_bytes(), 0);
	umem_cache_destroy(cp);
}

/* It was in use a moment ago, whatever was reaped before. */
static void
what_is_freed_after_a_reap_waits_as_before(void **state)
{
	umem_cache_t *cp = umem_cache_create(
	    "freed", 1000, 0, NULL, NULL, NULL, NULL, NULL, UMF_NOMAGAZINE);
	void *obj;
	(void)state;

	assert_non_null(cp);
	umem_cache_reap_now(cp);
	(void)quarry_reap();
	obj = umem_cache_alloc(cp, UMEM_DEFAULT);
	assert_non_null(obj);
	umem_cache_free(cp, obj);
	(void)vmem__heap_purge(1);
	assert_in_range(idle_bytes(), 1, SIZE_MAX);
	umem_cache_destroy(cp);
}

static void
what_is_in_use_is_not_touched_by_a_reap(void **state)
{
	size_t n = peak_up(4 * MIB);
	(void)state;

	for (size_t i = 0; i < n; i += 2)
		umem_free(blocks[i].b_addr, blocks[i].b_size);
	(void)quarry_reap();
	for (size_t i = 1; i < n; i += 2) {
		const struct block *b = &blocks[i];

		assert_int_equal(b->b_addr[0], 1);
		assert_int_equal(b->b_addr[b->b_size - 1], 1);
		umem_free(b->b_addr, b->b_size);
	}
}

/* Without a thread; one would give the rest back within a second. */
static void
stay_bounded(void)
{
	struct umem_totals ut;
	size_t bytes;

	peak_down(peak_up(look_quick() ? 20 * MIB : 60 * MIB));
	umem__totals(&ut);
	CHILD_CHECK(idle_bytes() <= 16 * MIB);
	CHILD_CHECK(umem__depot_bytes() <= 8 * MIB);
	/* Depots, the magazines of each CPU it ran on, slabs in part. */
	CHILD_CHECK(ut.ut_cached + ut.ut_free <=
	    (8 + 10 * percpu_fronts(&bytes) + 4) * MIB);
}

static void
what_stays_after_a_peak_without_a_reap_is_bounded(void **state)
{
	struct again_run run = {
	    "stay_bounded", {"QUARRY_OPTIONS=nothread,nowatch"}};
	(void)state;

	child_expect_exit(again_exec, &run, 0);
}

/* ---- the rate of reaping ---- */

static size_t reclaimed;

static void
count_reclaim(void *priv)
{
	(void)priv;
	reclaimed++;
}

static umem_cache_t *
counting(void)
{
	return (umem_cache_create(
	    "counting", 64, 0, NULL, NULL, count_reclaim, NULL, NULL, 0));
}

static void
wait_for(unsigned milliseconds)
{
	struct timespec ts = {
	    .tv_sec = milliseconds / 1000,
	    .tv_nsec = milliseconds % 1000 * 1000000L,
	};

	while (nanosleep(&ts, &ts) != 0)
		;
}

static void
reap_twice(void)
{
	umem_cache_t *cp = counting();

	umem_reap();
	CHILD_CHECK(reclaimed == 1);
	for (int i = 0; i < 1000; i++)
		umem_reap();
	CHILD_CHECK(reclaimed == 1);
	(void)quarry_reap();
	CHILD_CHECK(reclaimed == 2);
	umem_cache_reap_now(cp);
	CHILD_CHECK(reclaimed == 3);
}

static void
reap_each_second(void)
{
	(void)counting();
	umem_reap();
	umem_reap();
	CHILD_CHECK(reclaimed == 1);
	wait_for(1100);
	umem_reap();
	umem_reap();
	CHILD_CHECK(reclaimed == 2);
}

static void
reap_always(void)
{
	(void)counting();
	for (size_t i = 1; i <= 10; i++) {
		umem_reap();
		CHILD_CHECK(reclaimed == i);
	}
}

static void
t62_a_reap_within_the_interval_of_the_last_does_nothing(void **state)
{
	struct again_run twice = {"reap_twice", {NULL}};
	struct again_run second = {
	    "reap_each_second", {"UMEM_OPTIONS=reap_interval=1"}};
	struct again_run always = {
	    "reap_always", {"UMEM_OPTIONS=reap_interval=0"}};
	(void)state;

	child_expect_exit(again_exec, &twice, 0);
	child_expect_exit(again_exec, &second, 0);
	child_expect_exit(again_exec, &always, 0);
}

/* ---- who does the work ---- */

static size_t
threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	size_t n = 0;

	if (dir == NULL)
		abort();
	while (readdir(dir) != NULL)
		n++;
	(void)closedir(dir);
	return (n - 2);
}

static _Atomic bool returned, reaped_by_other, keep_going;
static pthread_t caller;

/* Waits for the caller of umem_reap(), for no longer than a test may. */
static void
wait_for_caller(void *priv)
{
	(void)priv;
	reclaimed++;
	for (int i = 0; i < 5000 && !returned; i++)
		wait_for(1);
	reaped_by_other = returned && !pthread_equal(caller, pthread_self());
}

static void *
stay(void *arg)
{
	while (keep_going)
		wait_for(1);
	return (arg);
}

static void
reap_beside(void)
{
	pthread_t thread;

	caller = pthread_self();
	keep_going = true;
	CHILD_CHECK(pthread_create(&thread, NULL, stay, NULL) == 0);
	(void)umem_cache_create(
	    "waiting", 64, 0, NULL, NULL, wait_for_caller, NULL, NULL, 0);
	umem_reap();
	returned = true;
	for (int i = 0; i < 5000 && !reaped_by_other; i++)
		wait_for(1);
	CHILD_CHECK(reaped_by_other && reclaimed == 1);
	keep_going = false;
	CHILD_CHECK(pthread_join(thread, NULL) == 0);
}

static void
reap_without_a_thread(void)
{
	pthread_t thread;
	size_t before;

	keep_going = true;
	CHILD_CHECK(pthread_create(&thread, NULL, stay, NULL) == 0);
	before = threads();
	(void)counting();
	umem_reap();
	CHILD_CHECK(reclaimed == 1 && threads() == before);
	keep_going = false;
	CHILD_CHECK(pthread_join(thread, NULL) == 0);
}

static void
t62_a_reap_does_not_hold_up_a_program_with_threads(void **state)
{
	struct again_run beside = {"reap_beside", {NULL}};
	struct again_run alone = {
	    "reap_without_a_thread", {"QUARRY_OPTIONS=nothread"}};
	(void)state;

	child_expect_exit(again_exec, &beside, 0);
	child_expect_exit(again_exec, &alone, 0);
}

/* ---- maintenance that nobody asks for ---- */

/* What is counted falls to `most` while nobody calls. */
static bool
falls_to(size_t (*count)(void), size_t most)
{
	for (int i = 0; i < 80 && count() > most; i++)
		wait_for(100);
	return (count() <= most);
}

/* A large heap that then does nothing whatever. */
static void
go_idle(void)
{
	size_t before = threads(), resident;

	memset(blocks, 0xff, sizeof(blocks));
	resident = memory();
	peak_down(peak_up(64 * MIB));
	CHILD_CHECK(threads() > before);
	CHILD_CHECK(falls_to(memory, resident + 4 * MIB - 1));
}

/*
 * One that goes on with next to nothing.  What it keeps ready is of slabs all
 * over the peak, and would keep them, though it is not worth it.  Without
 * restartable sequences all operations count as misses.
 */
static void
go_quiet(void)
{
	enum { PEAK = 90000, STRIDE = 7919, SIZES = 16, LIGHT = 150 };
	static void *light[LIGHT];
	size_t resident;

	if (strcmp(percpu_form(), "lock") == 0)
		return;
	memset(blocks, 0xff, sizeof(blocks));
	resident = memory();
	for (size_t i = 0; i < PEAK; i++) {
		blocks[i].b_size = 400 + i % SIZES * 40;
		blocks[i].b_addr = umem_alloc(blocks[i].b_size, UMEM_DEFAULT);
		CHILD_CHECK(blocks[i].b_addr != NULL);
		memset(blocks[i].b_addr, 1, blocks[i].b_size);
	}
	for (size_t i = 0, at = 0; i < PEAK; i++, at = (at + STRIDE) % PEAK)
		umem_free(blocks[at].b_addr, blocks[at].b_size);
	for (int i = 0; i < 80 && memory() > resident + 8 * MIB; i++) {
		for (size_t size = 400; size < 400 + SIZES * 40; size += 40) {
			for (size_t j = 0; j < LIGHT; j++)
				light[j] = umem_alloc(size, UMEM_DEFAULT);
			for (size_t j = 0; j < LIGHT; j++)
				umem_free(light[j], size);
		}
		wait_for(100);
	}
	CHILD_CHECK(memory() <= resident + 8 * MIB);
}

/* A small one, whose owner allocates something now and then. */
static void
go_slow(void)
{
	static void *objs[600];
	size_t before = threads(), resident = memory();
	umem_cache_t *cp =
	    umem_cache_create("slow", 5000, 0, NULL, NULL, NULL, NULL, NULL, 0);

	for (size_t i = 0; i < 4000; i++)
		(blocks[i].b_addr = umem_cache_alloc(cp, 0))[0] = 1;
	for (size_t i = 0; i < 4000; i++)
		umem_cache_free(cp, blocks[i].b_addr);
	CHILD_CHECK(memory() > resident + 4 * MIB);
	for (int i = 0; i < 80; i++) {
		CHILD_CHECK(threads() == before);
		for (size_t j = 0; j < 600; j++)
			objs[j] = umem_alloc(48, 0);
		for (size_t j = 0; j < 600; j++)
			umem_free(objs[j], 48);
		if (memory() < resident + 2 * MIB)
			return;
		wait_for(100);
	}
	CHILD_CHECK(memory() < resident + 2 * MIB);
}

/* ---- arenas that are somebody's ---- */

static _Atomic bool elsewhere; /* the program is not using its arena */
static size_t released;

static void *
import_next(vmem_t *source, size_t size, int vmflag)
{
	static uintptr_t next = 1 << 20;

	(void)source;
	(void)vmflag;
	next += size;
	return ((void *)(next - size));
}

static void
release_here(vmem_t *source, void *addr, size_t size)
{
	(void)source;
	(void)addr;
	(void)size;
	CHILD_CHECK(!elsewhere);
	released++;
}

/* Full magazines of the quantum cache of pages of an arena. */
static void
fill_depot(vmem_t *arena)
{
	enum { PAGE = 4096, PAGES = 1000 };
	static void *pages[PAGES];

	for (size_t i = 0; i < PAGES; i++)
		pages[i] = vmem_alloc(arena, PAGE, VM_SLEEP);
	for (size_t i = 0; i < PAGES; i++)
		vmem_free(arena, pages[i], PAGE);
}

static size_t
cached_by(const char *name)
{
	struct umem_stat us;

	CHILD_CHECK(look_cache(name, &us));
	return (us.us_cached);
}

/*
 * Who allocates something else gives back what goes to the heap, or nowhere; a
 * function of the program is called when the program asks.
 */
static void
keep_out_of_arenas(void)
{
	vmem_alloc_t *afunc;
	vmem_free_t *ffunc;
	vmem_t *heap = vmem_heap_arena(&afunc, &ffunc);
	vmem_t *base = vmem_create("base", NULL, 0, 4096, import_next,
	    release_here, NULL, 0, VM_SLEEP);
	vmem_t *arenas[] = {
	    vmem_create("own", NULL, 0, 4096, afunc, ffunc, heap, 4096, 0),
	    vmem_create("plain", (void *)4096, (size_t)1 << 30, 4096, NULL,
		NULL, NULL, 4096, 0),
	    vmem_create(
		"based", NULL, 0, 4096, vmem_alloc, vmem_free, base, 4096, 0),
	};
	size_t own, plain, based;

	for (size_t i = 0; i < 3; i++)
		fill_depot(arenas[i]);
	own = cached_by("own_4096");
	plain = cached_by("plain_4096");
	based = cached_by("based_4096");
	released = 0;
	elsewhere = true;
	for (int i = 0; i < 80 &&
	     (cached_by("own_4096") == own || cached_by("plain_4096") == plain);
	     i++) {
		peak_down(peak_up(MIB));
		wait_for(100);
	}
	/* Where there are no magazines they hold nothing. */
	CHILD_CHECK(cached_by("own_4096") < own || own == 0);
	CHILD_CHECK(cached_by("plain_4096") < plain || plain == 0);
	CHILD_CHECK(cached_by("based_4096") == based);
	elsewhere = false;
	vmem_qcache_reap(arenas[2]);
	CHILD_CHECK(
	    cached_by("based_4096") == 0 && (released > 0 || based == 0));
}

/* So often something past the magazines, of which every 16th looks around. */
static void
miss(umem_cache_t *cp, size_t n)
{
	for (size_t i = 0; i < n; i++)
		umem_cache_free(cp, umem_cache_alloc(cp, UMEM_DEFAULT));
}

static void
free_large(void)
{
	enum { BYTES = 100 << 20 };
	void *first = umem_alloc(BYTES, UMEM_DEFAULT);
	void *second = umem_alloc(BYTES, UMEM_DEFAULT);
	uint64_t freed = os_now();

	CHILD_CHECK(first != NULL && second != NULL);
	umem_free(first, BYTES);
	CHILD_CHECK(falls_to(idle_bytes, 0));
	/* Less the steps of the cheap clock. */
	CHILD_CHECK(os_now() - freed >= 980000000);
	/* The thread sleeps by now, so that all of it cannot wait. */
	wait_for(3000);
	umem_free(second, BYTES);
	CHILD_CHECK(idle_bytes() <= 16 * MIB);
	CHILD_CHECK(falls_to(idle_bytes, 0));
}

/* The thread finds nothing left to do, and sleeps. */
static void
all_is_given_back(void)
{
	CHILD_CHECK(falls_to(idle_bytes, 0));
	wait_for(800);
}

static vmem_t *
arena_over_the_heap(void)
{
	vmem_alloc_t *afunc;
	vmem_free_t *ffunc;
	vmem_t *heap = vmem_heap_arena(&afunc, &ffunc);

	return (
	    vmem_create("own", NULL, 0, 4096, afunc, ffunc, heap, 0, VM_SLEEP));
}

/* Less than may be kept, in each of the ways to get it and give it up. */
static void
free_late(void)
{
	enum { BYTES = 8 << 20, SMALL = 512 << 10, PARKED = 17 };
	vmem_t *arena = arena_over_the_heap();
	size_t before = threads();
	void *own = vmem_alloc(arena, BYTES, VM_SLEEP);
	void *aligned = umem_alloc_align(BYTES, 4096, UMEM_DEFAULT);
	void *shrunk = umem_alloc(2 * BYTES, UMEM_DEFAULT), *small[PARKED];
	void *large = umem_alloc(BYTES, UMEM_DEFAULT);

	/* One more than can wait for a request of their size. */
	for (size_t i = 0; i < PARKED; i++)
		small[i] = umem_alloc(SMALL, UMEM_DEFAULT);
	CHILD_CHECK(threads() > before);
	wait_for(1200);
	all_is_given_back();
	umem_free(large, BYTES);
	all_is_given_back();
	for (size_t i = 0; i < PARKED; i++)
		umem_free(small[i], SMALL);
	all_is_given_back();
	umem_free_align(aligned, BYTES);
	all_is_given_back();
	vmem_free(arena, own, BYTES);
	all_is_given_back();
	CHILD_CHECK(
	    umem__large_resize(vmem__run_find(HEAP_BLOCK, shrunk), BYTES));
	all_is_given_back();
}

/* The thread falls asleep less than a tick after somebody looked around. */
static void
peak_late(void)
{
	enum { BYTES = 200 << 10, BLOCKS_LATE = 60 };
	umem_cache_t *cp = umem_cache_create(
	    "misses", 64, 0, NULL, NULL, NULL, NULL, NULL, UMC_NOMAGAZINE);
	void *large = umem_alloc(40 * MIB, UMEM_DEFAULT);
	static void *late[BLOCKS_LATE];

	/* One object keeps the slab, or that would be idle. */
	CHILD_CHECK(
	    large != NULL && umem_cache_alloc(cp, UMEM_DEFAULT) != NULL);
	miss(cp, 16);
	wait_for(2500);
	miss(cp, 16);
	/* So many that the first round, after half a second, is not the last. */
	wait_for(200);
	miss(cp, 200);
	wait_for(700);
	miss(cp, 16);
	/* The second has come; the next tick is due a while from now. */
	wait_for(250);
	for (size_t i = 0; i < BLOCKS_LATE; i++)
		late[i] = umem_alloc(BYTES, UMEM_DEFAULT);
	for (size_t i = 0; i < BLOCKS_LATE; i++)
		umem_free(late[i], BYTES);
	CHILD_CHECK(falls_to(idle_bytes, 0));
}

/* What an arena takes from the heap counts for the thread like all else. */
static void
import_large(void)
{
	vmem_t *arena = arena_over_the_heap();
	size_t before = threads();

	for (int i = 0; i < 2; i++)
		CHILD_CHECK(vmem_alloc(arena, 40 * MIB, VM_SLEEP) != NULL);
	CHILD_CHECK(threads() > before);
}

static void
import_aligned(void)
{
	size_t before = threads();

	for (int i = 0; i < 2; i++)
		CHILD_CHECK(
		    umem_alloc_align(40 * MIB, 64, UMEM_DEFAULT) != NULL);
	CHILD_CHECK(threads() > before);
}

static void
have_no_thread(void)
{
	size_t before = threads();

	peak_down(peak_up(64 * MIB));
	CHILD_CHECK(threads() == before);
}

/* In a process of its own, unless tests are to be short. */
static void
slowly(const char *part)
{
	struct again_run run = {part, {NULL}};

	if (look_quick())
		skip();
	child_expect_exit(again_exec, &run, 0);
}

static void
t63_a_large_heap_gives_idle_memory_back_though_nobody_calls(void **state)
{
	(void)state;
	slowly("go_idle");
}

static void
a_large_heap_that_is_hardly_used_gives_back_what_it_keeps(void **state)
{
	(void)state;
	slowly("go_quiet");
}

static void
t63_a_small_heap_gives_idle_memory_back_without_a_thread(void **state)
{
	(void)state;
	slowly("go_slow");
}

static void
large_blocks_do_not_stay_idle_though_nobody_calls(void **state)
{
	(void)state;
	slowly("free_large");
}

static void
what_is_freed_while_the_thread_sleeps_does_not_stay_idle(void **state)
{
	(void)state;
	slowly("free_late");
}

static void
a_peak_just_after_the_thread_fell_asleep_does_not_stay_idle(void **state)
{
	(void)state;
	slowly("peak_late");
}

static void
a_heap_that_arenas_made_large_has_a_thread(void **state)
{
	struct again_run own = {"import_large", {NULL}};
	struct again_run aligned = {"import_aligned", {NULL}};
	(void)state;

	child_expect_exit(again_exec, &own, 0);
	child_expect_exit(again_exec, &aligned, 0);
}

static void
who_allocates_something_else_calls_no_function_of_the_program(void **state)
{
	(void)state;
	slowly("keep_out_of_arenas");
}

static void
there_is_no_thread_where_none_is_wanted(void **state)
{
	struct again_run run = {"have_no_thread", {"QUARRY_OPTIONS=nothread"}};
	(void)state;

	child_expect_exit(again_exec, &run, 0);
}

/* ---- the thread ---- */

static _Atomic unsigned long delivered;

static void
count_signal(int signal)
{
	(void)signal;
	atomic_fetch_add(&delivered, 1);
}

static void
get_signals(void)
{
	size_t before = threads();
	sigset_t set;

	peak_down(peak_up(64 * MIB));
	CHILD_CHECK(threads() > before);
	(void)signal(SIGUSR1, count_signal);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	CHILD_CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
	for (int i = 0; i < 100; i++) {
		CHILD_CHECK(kill(getpid(), SIGUSR1) == 0);
		wait_for(1);
	}
	CHILD_CHECK(delivered == 0);
	CHILD_CHECK(pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0);
	CHILD_CHECK(delivered == 1);
}

static void
no_signal_of_the_program_goes_to_the_thread(void **state)
{
	struct again_run run = {"get_signals", {NULL}};
	(void)state;

	child_expect_exit(again_exec, &run, 0);
}

static void
fork_with_a_thread(void)
{
	enum { BYTES = 100 << 20 };
	size_t before = threads();
	void *large = umem_alloc(BYTES, UMEM_DEFAULT);
	pid_t pid;
	int status;

	peak_down(peak_up(64 * MIB));
	CHILD_CHECK(large != NULL && threads() > before);
	pid = fork();
	if (pid == 0) {
		(void)alarm(30);
		umem_free(large, BYTES);
		CHILD_CHECK(idle_bytes() <= 16 * MIB);
		go_idle();
		_exit(0);
	}
	CHILD_CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static void
the_child_of_a_process_with_a_thread_gets_one_when_it_grows(void **state)
{
	(void)state;
	slowly("fork_with_a_thread");
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"stay_bounded", stay_bounded},
	    {"reap_twice", reap_twice},
	    {"reap_each_second", reap_each_second},
	    {"reap_always", reap_always},
	    {"reap_beside", reap_beside},
	    {"reap_without_a_thread", reap_without_a_thread},
	    {"go_idle", go_idle},
	    {"go_quiet", go_quiet},
	    {"go_slow", go_slow},
	    {"keep_out_of_arenas", keep_out_of_arenas},
	    {"free_large", free_large},
	    {"free_late", free_late},
	    {"peak_late", peak_late},
	    {"import_large", import_large},
	    {"import_aligned", import_aligned},
	    {"have_no_thread", have_no_thread},
	    {"get_signals", get_signals},
	    {"fork_with_a_thread", fork_with_a_thread},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_reap_returns_everything_that_is_idle),
	    cmocka_unit_test(what_is_reaped_goes_with_the_next_purge),
	    cmocka_unit_test(what_is_freed_after_a_reap_waits_as_before),
	    cmocka_unit_test(what_is_in_use_is_not_touched_by_a_reap),
	    cmocka_unit_test(what_stays_after_a_peak_without_a_reap_is_bounded),
	    cmocka_unit_test(
		t62_a_reap_within_the_interval_of_the_last_does_nothing),
	    cmocka_unit_test(
		t62_a_reap_does_not_hold_up_a_program_with_threads),
	    cmocka_unit_test(
		t63_a_large_heap_gives_idle_memory_back_though_nobody_calls),
	    cmocka_unit_test(
		a_large_heap_that_is_hardly_used_gives_back_what_it_keeps),
	    cmocka_unit_test(
		t63_a_small_heap_gives_idle_memory_back_without_a_thread),
	    cmocka_unit_test(
		who_allocates_something_else_calls_no_function_of_the_program),
	    cmocka_unit_test(large_blocks_do_not_stay_idle_though_nobody_calls),
	    cmocka_unit_test(
		what_is_freed_while_the_thread_sleeps_does_not_stay_idle),
	    cmocka_unit_test(
		a_peak_just_after_the_thread_fell_asleep_does_not_stay_idle),
	    cmocka_unit_test(a_heap_that_arenas_made_large_has_a_thread),
	    cmocka_unit_test(there_is_no_thread_where_none_is_wanted),
	    cmocka_unit_test(no_signal_of_the_program_goes_to_the_thread),
	    cmocka_unit_test(
		the_child_of_a_process_with_a_thread_gets_one_when_it_grows),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
