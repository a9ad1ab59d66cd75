/*
 * contig_stress_test.c - threads that share pools and malloc types, and a
 * process of such threads that forks.
 *
 * Every block is stamped with its owner all over, so that two who were given
 * the same memory find out.
 */
#include "support/umem_look.h"

#include <quarry/contigmalloc.h>
#include <quarry/quarry.h>

#include <errno.h>
#include <fcntl.h>
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

enum { PAGE = 4096, PAGES = 256, HELD = 24, WORKERS = 4 };

#define NO_LIMIT (~(vm_paddr_t)0)

static MALLOC_DEFINE(M_SHARED, "shared", "used by all threads");
static MALLOC_DEFINE(M_SCARCE, "scarce", "has a limit");

static physpool_t *pool;
static _Atomic bool stop;

static double
now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((double)ts.tv_sec + (double)ts.tv_nsec / 1e9);
}

static unsigned
next(unsigned *random)
{
	*random = *random * 1664525 + 1013904223;
	return (*random >> 10);
}

#define CHECK(expr) ((expr) ? (void)0 : failed(#expr, __LINE__))

static void
failed(const char *what, int line)
{
	(void)fprintf(stderr, "line %d: %s is false\n", line, what);
	abort();
}

struct held {
	unsigned *h_p;
	size_t h_size;
	struct malloc_type *h_type;
	bool h_contig;
};

static void
stamp(struct held *h, unsigned who)
{
	for (size_t i = 0; i < h->h_size / sizeof(*h->h_p); i += 16)
		h->h_p[i] = who;
}

static void
check_stamp(const struct held *h, unsigned who)
{
	for (size_t i = 0; i < h->h_size / sizeof(*h->h_p); i += 16)
		CHECK(h->h_p[i] == who);
}

static void
release(struct held *h, unsigned who)
{
	check_stamp(h, who);
	if (h->h_contig && h->h_size % 2 == 0)
		contigfree(h->h_p, h->h_size, h->h_type);
	else
		kfree(h->h_p, h->h_type);
	h->h_p = NULL;
}

static void
acquire(struct held *h, unsigned who, unsigned *random)
{
	unsigned v = next(random);

	*h = (struct held){.h_type = v % 3 == 0 ? M_SCARCE : M_SHARED,
	    .h_contig = v % 5 != 0,
	    .h_size = 1 + next(random) % (6 * PAGE)};
	if (!h->h_contig)
		h->h_p = kmalloc(h->h_size, h->h_type, M_NOWAIT);
	else
		h->h_p = contigmalloc_pool(pool, h->h_size, h->h_type,
		    v % 7 == 0 ? M_ZERO : 0, v % 16 * PAGE, NO_LIMIT,
		    1ul << v / 16 % 16, v / 256 % 2 * 0x10000);
	if (h->h_p == NULL)
		CHECK(errno == ENOMEM);
	else
		stamp(h, who);
	if (h->h_p != NULL && h->h_contig)
		CHECK(vtophys(h->h_p) < PAGES * PAGE);
}

static void *
work(void *arg)
{
	unsigned who = (unsigned)(uintptr_t)arg, random = who * 77 + 1;
	struct held held[HELD] = {{0}};

	while (!stop) {
		struct held *h = &held[next(&random) % HELD];

		if (h->h_p != NULL)
			release(h, who);
		else
			acquire(h, who, &random);
	}
	for (size_t i = 0; i < HELD; i++)
		if (held[i].h_p != NULL)
			release(&held[i], who);
	return (NULL);
}

/* Waits for room, mostly in vain at first. */
static void *
wait_for_room(void *arg)
{
	unsigned who = (unsigned)(uintptr_t)arg + 100, random = who;

	while (!stop) {
		struct timespec deadline;
		struct held h = {.h_size = (8 + next(&random) % 32) * PAGE,
		    .h_type = next(&random) % 2 == 0 ? M_SCARCE : M_SHARED};

		(void)clock_gettime(CLOCK_MONOTONIC, &deadline);
		deadline.tv_sec += deadline.tv_nsec > 990000000;
		deadline.tv_nsec = (deadline.tv_nsec + 10000000) % 1000000000;
		h.h_p = contigmalloc_wait(
		    pool, h.h_size, h.h_type, 0, 0, NO_LIMIT, 1, 0, &deadline);
		if (h.h_p == NULL) {
			CHECK(errno == ETIMEDOUT || errno == ENOMEM);
			continue;
		}
		stamp(&h, who);
		release(&h, who);
	}
	return (NULL);
}

static void
add_requests(struct malloc_type *type, void *arg)
{
	struct malloc_type_stats st;

	CHECK(malloc_type_getstats(type, &st) == 0);
	CHECK(st.memuse <= st.highuse);
	*(uint64_t *)arg += st.requests;
}

/* Pools and types come and go, and everybody is looked at. */
static void *
come_and_go(void *arg)
{
	unsigned random = (unsigned)(uintptr_t)arg;
	int null = open("/dev/null", O_WRONLY);
	char why[2000];

	while (!stop) {
		struct physpool_attr attr = {
		    .name = "passing", .size = 16 * PAGE};
		struct malloc_type *type = NULL;
		uint64_t requests = 0;
		physpool_t *mine = NULL;
		char *p;

		kmalloc_create(&type, "passing");
		CHECK(type != NULL && physpool_create(&mine, &attr) == 0);
		p = contigmalloc_pool(mine, PAGE, type, 0, 0, NO_LIMIT, 1, 0);
		CHECK(p != NULL && vtophys(p) == 15 * PAGE);
		/* Its last block may outlive a type. */
		if (next(&random) % 256 == 0)
			kmalloc_destroy(&type);
		contigfree(p, PAGE, type == NULL ? M_SHARED : type);
		kmalloc_destroy(&type);
		CHECK(physpool_destroy(mine) == 0);
		malloc_type_list(add_requests, &requests);
		(void)contig_explain(pool, 8 * PAGE, next(&random) % PAGES,
		    NO_LIMIT, 1, 0, why, sizeof(why));
		if (physpool_reserve(pool, 2 * PAGE, 0, NO_LIMIT, 1, 0, 3) == 0)
			CHECK(physpool_reserve(
				  pool, 2 * PAGE, 0, NO_LIMIT, 1, 0, 0) == 0);
		if (next(&random) % 16 == 0) {
			CHECK(physpool_map_write(pool, null, "svg") == 0);
			CHECK(quarry_stats_write(null, "text") == 0);
		}
	}
	(void)close(null);
	return (NULL);
}

static void
open_pool(void)
{
	struct physpool_attr attr = {.name = "shared", .size = PAGES * PAGE};

	CHECK(physpool_create(&pool, &attr) == 0);
	CHECK(malloc_type_set_limit(M_SCARCE, 40 * PAGE) == 0);
	stop = false;
}

static void
close_pool(void)
{
	struct malloc_type_stats st;
	void *all = contigmalloc_pool(
	    pool, PAGES * PAGE, M_SHARED, 0, 0, NO_LIMIT, 1, 0);

	CHECK(all != NULL);
	contigfree(all, PAGES * PAGE, M_SHARED);
	CHECK(physpool_destroy(pool) == 0);
	CHECK(malloc_type_getstats(M_SHARED, &st) == 0);
	CHECK(st.inuse == 0 && st.memuse == 0);
	CHECK(malloc_type_getstats(M_SCARCE, &st) == 0);
	CHECK(st.inuse == 0 && st.memuse == 0 && st.highuse <= 40 * PAGE);
}

static void
start(pthread_t *threads, unsigned workers)
{
	for (uintptr_t i = 0; i < workers; i++)
		CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
	CHECK(pthread_create(
		  &threads[workers], NULL, wait_for_room, (void *)1) == 0);
	CHECK(pthread_create(
		  &threads[workers + 1], NULL, come_and_go, (void *)2) == 0);
}

static void
finish(pthread_t *threads, unsigned workers)
{
	stop = true;
	for (unsigned i = 0; i < workers + 2; i++)
		CHECK(pthread_join(threads[i], NULL) == 0);
}

static void
no_two_threads_have_the_same_memory(void **state)
{
	pthread_t threads[WORKERS + 2];
	(void)state;

	open_pool();
	start(threads, WORKERS);
	for (double until = now() + (look_quick() ? 0.5 : 2); now() < until;)
		(void)usleep(10000);
	finish(threads, WORKERS);
	close_pool();
}

/* ---- fork ---- */

/*
 * The memory of the parent's pool is shared with it, and is the parent's to
 * give out; the child makes a pool of its own.
 */
static void
live_in_child(unsigned random)
{
	struct physpool_attr attr = {.name = "own", .size = PAGES * PAGE};
	struct malloc_type_stats st;
	struct held h;
	char *p;

	(void)alarm(30);
	CHECK(malloc_type_set_limit(M_SCARCE, 0) == 0);
	CHECK(malloc_type_getstats(M_SHARED, &st) == 0);
	CHECK(physpool_create(&pool, &attr) == 0);
	for (int i = 0; i < 50; i++) {
		acquire(&h, 1, &random);
		CHECK(h.h_p != NULL);
		release(&h, 1);
	}
	p = contigmalloc_pool(
	    pool, PAGES * PAGE, M_SHARED, 0, 0, NO_LIMIT, 1, 0);
	CHECK(p != NULL);
	contigfree(p, PAGES * PAGE, M_SHARED);
	CHECK(physpool_destroy(pool) == 0);
	p = contigmalloc(PAGE, M_SHARED, M_ZERO, 0, 1 << 22, 1, 0);
	CHECK(p != NULL && vtophys(p) == (1 << 22) - PAGE);
	p[0] = 1;
	contigfree(p, PAGE, M_SHARED);
	_exit(0);
}

static void
a_child_of_a_busy_process_goes_on_alone(void **state)
{
	enum { FORKERS = 2 };
	pthread_t threads[FORKERS + 2];
	int forks = look_quick() ? 5 : look_shadowed() ? 15 : 100;
	char *mine = contigmalloc(PAGE, M_SHARED, 0, 0, 1 << 22, 1, 0);
	(void)state;

	CHECK(mine != NULL);
	memset(mine, 'm', PAGE);
	open_pool();
	start(threads, FORKERS);
	for (int i = 0; i < forks; i++) {
		int status = -1;
		pid_t pid = fork();

		if (pid == 0)
			live_in_child((unsigned)i);
		assert_true(pid > 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
		CHECK(mine[0] == 'm' && mine[PAGE - 1] == 'm');
	}
	finish(threads, FORKERS);
	contigfree(mine, PAGE, M_SHARED);
	close_pool();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_two_threads_have_the_same_memory),
	    cmocka_unit_test(a_child_of_a_busy_process_goes_on_alone),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
