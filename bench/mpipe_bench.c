/*
 * mpipe_bench.c - pools of buffers side by side, in one process and in turn:
 * mpipe.sh compiles it, and gives EAL its arguments in DPDK_ARGS.
 *
 *	quarry      a pipe
 *	rte256      DPDK's rte_mempool with a cache of 256 objects for each lcore
 *	rte0        the same with none
 *	mutex       a mutex, a LIFO and a condition variable
 *	sem         malloc, bounded by a semaphore
 *	gqueue      GLib's GAsyncQueue, filled with buffers
 *
 * Prints lines of: row, threads, engine, number.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE 1

#include <quarry/mpipe.h>

#include <glib.h>
#include <linux/futex.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 2048, MANY = 8191, BURST_MS = 60, HANDOFFS = 4000, FEW = 63 };

/* A pool; get() may return NULL, get_wait() not, and is NULL where DPDK is. */
struct engine {
	const char *e_name;
	void (*e_open)(int n);
	void (*e_close)(void);
	void *(*e_get)(void);
	void (*e_put)(void *buf);
	void *(*e_get_wait)(void);
	bool e_zeroes; /* by itself, when asked to */
};

static bool zero; /* buffers are zeroed when they are freed */

static void
die(const char *what)
{
	(void)fprintf(stderr, "mpipe_bench: %s\n", what);
	exit(1);
}

static uint64_t
now(clockid_t clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec);
}

/* ---- quarry ---- */

static struct malloc_pipe mpipe;

static void
quarry_open(int n)
{
	mpipe_init(&mpipe, M_TEMP, SIZE, n, 0, zero ? 0 : MPF_CACHEDATA, NULL,
	    NULL, NULL);
}

static void
quarry_close(void)
{
	mpipe_done(&mpipe);
}

static void *
quarry_get(void)
{
	return (mpipe_alloc_nowait(&mpipe));
}

static void *
quarry_get_wait(void)
{
	return (mpipe_alloc_waitok(&mpipe));
}

static void
quarry_put(void *buf)
{
	mpipe_free(&mpipe, buf);
}

/* ---- DPDK ---- */

static struct rte_mempool *mempool;

static void
rte_open(int n, unsigned cache)
{
	mempool = rte_mempool_create("bench", (unsigned)n, SIZE,
	    n == FEW && cache != 0 ? 32 : cache, 0, NULL, NULL, NULL, NULL,
	    SOCKET_ID_ANY, 0);
	if (mempool == NULL)
		die("rte_mempool_create failed");
}

static void
rte256_open(int n)
{
	rte_open(n, 256);
}

static void
rte0_open(int n)
{
	rte_open(n, 0);
}

static void
rte_close(void)
{
	rte_mempool_free(mempool);
}

static void *
rte_get(void)
{
	void *buf;

	return (rte_mempool_get(mempool, &buf) == 0 ? buf : NULL);
}

static void
rte_put(void *buf)
{
	rte_mempool_put(mempool, buf);
}

/* ---- a mutex, a LIFO, a condition variable ---- */

static pthread_mutex_t lifo_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t lifo_cond = PTHREAD_COND_INITIALIZER;
static void *lifo[MANY];
static int lifo_n;

static void
mutex_open(int n)
{
	for (lifo_n = 0; lifo_n < n; lifo_n++)
		lifo[lifo_n] = malloc(SIZE);
}

static void
mutex_close(void)
{
	while (lifo_n > 0)
		free(lifo[--lifo_n]);
}

static void *
mutex_get(void)
{
	void *buf;

	(void)pthread_mutex_lock(&lifo_lock);
	buf = lifo_n > 0 ? lifo[--lifo_n] : NULL;
	(void)pthread_mutex_unlock(&lifo_lock);
	return (buf);
}

static void *
mutex_get_wait(void)
{
	void *buf;

	(void)pthread_mutex_lock(&lifo_lock);
	while (lifo_n == 0)
		(void)pthread_cond_wait(&lifo_cond, &lifo_lock);
	buf = lifo[--lifo_n];
	(void)pthread_mutex_unlock(&lifo_lock);
	return (buf);
}

static void
mutex_put(void *buf)
{
	(void)pthread_mutex_lock(&lifo_lock);
	lifo[lifo_n++] = buf;
	(void)pthread_cond_signal(&lifo_cond);
	(void)pthread_mutex_unlock(&lifo_lock);
}

/* ---- malloc bounded by a semaphore ---- */

static sem_t sem;

static void
sem_open_n(int n)
{
	(void)sem_init(&sem, 0, (unsigned)n);
}

static void
sem_close_n(void)
{
	(void)sem_destroy(&sem);
}

static void *
sem_get(void)
{
	return (sem_trywait(&sem) == 0 ? malloc(SIZE) : NULL);
}

static void *
sem_get_wait(void)
{
	while (sem_wait(&sem) != 0)
		continue;
	return (malloc(SIZE));
}

static void
sem_put(void *buf)
{
	free(buf);
	(void)sem_post(&sem);
}

/* ---- GLib ---- */

static GAsyncQueue *gqueue;

static void
gqueue_open(int n)
{
	gqueue = g_async_queue_new();
	for (int i = 0; i < n; i++)
		g_async_queue_push(gqueue, malloc(SIZE));
}

static void
gqueue_close(void)
{
	void *buf;

	while ((buf = g_async_queue_try_pop(gqueue)) != NULL)
		free(buf);
	g_async_queue_unref(gqueue);
}

static void *
gqueue_get(void)
{
	return (g_async_queue_try_pop(gqueue));
}

static void *
gqueue_get_wait(void)
{
	return (g_async_queue_pop(gqueue));
}

static void
gqueue_put(void *buf)
{
	g_async_queue_push(gqueue, buf);
}

static const struct engine engines[] = {
    {"quarry", quarry_open, quarry_close, quarry_get, quarry_put,
	quarry_get_wait, true},
    {"rte256", rte256_open, rte_close, rte_get, rte_put, NULL, false},
    {"rte0", rte0_open, rte_close, rte_get, rte_put, NULL, false},
    {"mutex", mutex_open, mutex_close, mutex_get, mutex_put, mutex_get_wait,
	false},
    {"sem", sem_open_n, sem_close_n, sem_get, sem_put, sem_get_wait, false},
    {"gqueue", gqueue_open, gqueue_close, gqueue_get, gqueue_put,
	gqueue_get_wait, false},
};

enum { ENGINES = sizeof(engines) / sizeof(engines[0]) };

/* ---- threads ---- */

static const struct engine *engine;
static atomic_bool stop;
static pthread_barrier_t barrier;

struct worker {
	pthread_t w_thread;
	uint64_t w_ops, w_cpu;
};

/* Run fn in n threads that DPDK knows; each says how much it did. */
static void
run(void *(*fn)(void *), struct worker *w, int n)
{
	for (int i = 0; i < n; i++) {
		w[i] = (struct worker){.w_ops = 0};
		if (pthread_create(&w[i].w_thread, NULL, fn, &w[i]) != 0)
			die("pthread_create failed");
	}
}

static void
join(struct worker *w, int n)
{
	for (int i = 0; i < n; i++)
		(void)pthread_join(w[i].w_thread, NULL);
}

static void *
pairs(void *arg)
{
	struct worker *w = arg;
	const struct engine *e = engine;
	bool zero_here = zero && !e->e_zeroes;
	uint64_t from, ops = 0;

	if (rte_thread_register() < 0)
		die("rte_thread_register failed");
	(void)pthread_barrier_wait(&barrier);
	from = now(CLOCK_THREAD_CPUTIME_ID);
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		for (int i = 0; i < 1000; i++) {
			void *buf = e->e_get();

			if (buf == NULL)
				die("no buffer");
			if (zero_here)
				memset(buf, 0, SIZE);
			e->e_put(buf);
		}
		ops += 1000;
	}
	w->w_ops = ops;
	w->w_cpu = now(CLOCK_THREAD_CPUTIME_ID) - from;
	rte_thread_unregister();
	return (NULL);
}

/* Processor time per pair, which neighbours on the machine add little to. */
static void
row_pairs(int threads)
{
	struct worker w[16];
	uint64_t ops = 0, cpu = 0;

	engine->e_open(MANY);
	(void)pthread_barrier_init(&barrier, NULL, (unsigned)threads + 1);
	stop = false;
	run(pairs, w, threads);
	(void)pthread_barrier_wait(&barrier);
	(void)usleep(BURST_MS * 1000);
	stop = true;
	join(w, threads);
	for (int i = 0; i < threads; i++) {
		ops += w[i].w_ops;
		cpu += w[i].w_cpu;
	}
	printf("pair%s %d %s %.3f\n", zero ? ".zero" : "", threads,
	    engine->e_name, (double)cpu / (double)ops);
	engine->e_close();
}

/* ---- waiting ---- */

static uint64_t latency[HANDOFFS];
static _Atomic uint64_t freed_at;
static _Atomic uint32_t ball; /* whose turn it is, for the raw futex */

static int
by_number(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y ? -1 : x > y);
}

/* There is one buffer; it goes to and fro between two threads. */
static void *
hand_over(void *arg)
{
	struct worker *w = arg;

	for (int i = 0; i < HANDOFFS / 2; i++) {
		void *buf = engine->e_get_wait();
		uint64_t at = freed_at;
		struct timespec moment = {0, 20000};

		if (at != 0)
			latency[atomic_fetch_add(&ball, 1) % HANDOFFS] =
			    now(CLOCK_MONOTONIC) - at;
		/* So that the other one waits. */
		(void)nanosleep(&moment, NULL);
		freed_at = now(CLOCK_MONOTONIC);
		engine->e_put(buf);
		(void)sched_yield();
	}
	w->w_ops = 1;
	return (NULL);
}

static void
futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	(void)syscall(
	    SYS_futex, word, op | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
}

static _Atomic uint32_t turn;

/* The same with nothing but the system call. */
static void *
hand_over_raw(void *arg)
{
	static _Atomic uint32_t who;
	uint32_t me = atomic_fetch_add(&who, 1) % 2;
	(void)arg;

	for (int i = 0; i < HANDOFFS / 2; i++) {
		struct timespec moment = {0, 20000};
		uint64_t at;

		while (turn != me)
			futex(&turn, FUTEX_WAIT, 1 - me);
		at = freed_at;
		if (at != 0)
			latency[atomic_fetch_add(&ball, 1) % HANDOFFS] =
			    now(CLOCK_MONOTONIC) - at;
		(void)nanosleep(&moment, NULL);
		freed_at = now(CLOCK_MONOTONIC);
		turn = 1 - me;
		futex(&turn, FUTEX_WAKE, 1);
	}
	return (NULL);
}

static void
row_wait(const char *name, void *(*fn)(void *))
{
	struct worker w[2];
	size_t n;

	freed_at = 0;
	ball = 0;
	turn = 0;
	run(fn, w, 2);
	join(w, 2);
	n = ball;
	qsort(latency, n, sizeof(latency[0]), by_number);
	printf("wait.p50 2 %s %.0f\n", name, (double)latency[n / 2]);
	printf("wait.p99 2 %s %.0f\n", name, (double)latency[n * 99 / 100]);
	printf("wait.max 2 %s %.0f\n", name, (double)latency[n - 1]);
}

static atomic_bool counting; /* all of them have begun */

/* Four threads want the one buffer: how often gets it who gets it least? */
static void *
compete(void *arg)
{
	struct worker *w = arg;

	(void)pthread_barrier_wait(&barrier);
	while (!stop) {
		void *buf = engine->e_get_wait();

		w->w_ops += counting;
		engine->e_put(buf);
	}
	return (NULL);
}

static void
row_fair(void)
{
	struct worker w[4];
	uint64_t most = 0, least = UINT64_MAX;

	(void)pthread_barrier_init(&barrier, NULL, 5);
	stop = false;
	run(compete, w, 4);
	(void)pthread_barrier_wait(&barrier);
	(void)usleep(50000);
	counting = true;
	(void)usleep(200000);
	counting = false;
	stop = true;
	join(w, 4);
	for (int i = 0; i < 4; i++) {
		most = w[i].w_ops > most ? w[i].w_ops : most;
		least = w[i].w_ops < least ? w[i].w_ops : least;
	}
	printf("unfair 4 %s %.2f\n", engine->e_name,
	    (double)most / (double)(least == 0 ? 1 : least));
}

/* ---- stranded ---- */

/* Takes and frees all there are, many times, and then stays idle. */
static void *
idle(void *arg)
{
	void *buf[FEW];
	(void)arg;

	if (rte_thread_register() < 0)
		die("rte_thread_register failed");
	for (int round = 0; round < 1000; round++) {
		int n = 0;

		while (n < FEW && (buf[n] = engine->e_get()) != NULL)
			n++;
		while (n > 0)
			engine->e_put(buf[--n]);
	}
	(void)pthread_barrier_wait(&barrier);
	(void)pthread_barrier_wait(&barrier);
	rte_thread_unregister();
	return (NULL);
}

/* How many of 63 free buffers cannot another thread have? */
static void
row_stranded(void)
{
	struct worker w[1];
	void *buf[FEW];
	int n = 0;

	engine->e_open(FEW);
	(void)pthread_barrier_init(&barrier, NULL, 2);
	run(idle, w, 1);
	(void)pthread_barrier_wait(&barrier);
	while (n < FEW && (buf[n] = engine->e_get()) != NULL)
		n++;
	printf("stranded 2 %s %d\n", engine->e_name, FEW - n);
	while (n > 0)
		engine->e_put(buf[--n]);
	(void)pthread_barrier_wait(&barrier);
	join(w, 1);
	engine->e_close();
}

static void
all_rows(bool quick)
{
	static const int threads[] = {1, 2, 4, 8};

	for (int z = 0; z < 2; z++) {
		zero = z != 0;
		for (size_t t = 0; t < (quick ? 2 : 4); t++) {
			for (int e = 0; e < ENGINES; e++) {
				engine = &engines[e];
				row_pairs(threads[t]);
			}
		}
	}
	zero = false;
	row_wait("futex", hand_over_raw);
	for (int e = 0; e < ENGINES; e++) {
		engine = &engines[e];
		row_stranded();
		if (engine->e_get_wait == NULL)
			continue;
		engine->e_open(1);
		row_wait(engine->e_name, hand_over);
		row_fair();
		engine->e_close();
	}
}

int
main(int argc, char **argv)
{
	char args[512], *eal[32];
	int n = 0;

	(void)snprintf(args, sizeof(args), "bench %s", getenv("DPDK_ARGS"));
	for (char *arg = strtok(args, " "); arg != NULL && n < 31;
	     arg = strtok(NULL, " "))
		eal[n++] = arg;
	eal[n] = NULL;
	if (rte_eal_init(n, eal) < 0)
		die("rte_eal_init failed");
	for (int rounds = argc > 1 ? atoi(argv[1]) : 1; rounds > 0; rounds--) {
		all_rows(argc > 2);
		(void)fflush(stdout);
	}
	return (0);
}
