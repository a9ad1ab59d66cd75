/*
 * bounds.c - how much memory a process has, beside what it asked for.
 *
 * What may be cached: idle runs in the heap (16 MiB), full magazines in the
 * depots (8 MiB), the two magazines of each class on each CPU, and the free
 * objects of one or two slabs of each class.
 */
#define _GNU_SOURCE 1 /* sched_getaffinity, close_range */

#include "check.h"

#include <dirent.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define MIB ((size_t)1 << 20)

enum { HEAP_MIB = 16, DEPOT_MIB = 8, CPU_MIB = 10, SLAB_MIB = 16 };
enum { STACK = 64 << 10 };

static size_t
cpus(void)
{
	cpu_set_t set;

	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0);
	return ((size_t)CPU_COUNT(&set));
}

/* At most `before`, what is live and a quarter of it, and what is cached. */
static void
within_bound(size_t before, size_t live)
{
	size_t cached =
	    (HEAP_MIB + DEPOT_MIB + CPU_MIB * cpus() + SLAB_MIB) * MIB;
	size_t now = check_resident();

	check_say(STDOUT_FILENO,
	    "%zu KiB resident: %zu KiB before, %zu KiB live, and at most"
	    " %zu KiB cached\n",
	    now >> 10, before >> 10, live >> 10, cached >> 10);
	CHECK(now <= before + live + live / 4 + cached);
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
	return ((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
}

/* A number from the environment. */
static unsigned
setting(const char *name, unsigned usual)
{
	const char *text = getenv(name);

	return (text == NULL ? usual : (unsigned)atoi(text));
}

static bool
quick(void)
{
	return (getenv("QR_TEST_QUICK") != NULL);
}

static uint64_t
random_next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	return (*seed >> 33);
}

/* Sizes from 1 byte to 4 KiB, small ones most often; some larger. */
static size_t
random_size(uint64_t *seed)
{
	uint64_t r = random_next(seed);

	if (r % 512 == 0)
		return (1 + random_next(seed) % 200000);
	return (1 + random_next(seed) % ((size_t)16 << r % 9));
}

static void
random_ops(uint64_t seed, unsigned n)
{
	enum { LIVE = 32 };
	char *live[LIVE] = {NULL};

	for (unsigned i = 0; i < n; i++) {
		char **p = &live[random_next(&seed) % LIVE];
		size_t size = random_size(&seed);

		if (*p == NULL)
			*p = malloc(size);
		else if (i % 3 == 0)
			*p = realloc(*p, size);
		else
			free(*p), *p = calloc(1, size);
		CHECK(*p != NULL);
		**p = 1;
	}
	for (unsigned i = 0; i < LIVE; i++)
		free(live[i]);
}

static void
thread_start(pthread_t *id, void *(*fn)(void *), uintptr_t arg)
{
	pthread_attr_t attr;

	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setstacksize(&attr, STACK) == 0);
	CHECK(pthread_create(id, &attr, fn, (void *)arg) == 0);
	(void)pthread_attr_destroy(&attr);
}

/* ---- a process that does nothing ---- */

static size_t
entries(const char *directory)
{
	size_t n = 0;
	DIR *dir = opendir(directory);

	CHECK(dir != NULL);
	for (struct dirent *e; (e = readdir(dir)) != NULL;)
		n += e->d_name[0] != '.';
	(void)closedir(dir);
	return (n);
}

/* Memory that is this process's own and changed, of writable mappings. */
static size_t
touched(void)
{
	FILE *fp = fopen("/proc/self/smaps", "re");
	char line[4096], mode[8];
	bool writable = false;
	size_t total = 0, kib;

	CHECK(fp != NULL);
	while (fgets(line, sizeof(line), fp) != NULL) {
		if (sscanf(line, "%*x-%*x %7s", mode) == 1)
			writable = mode[1] == 'w';
		else if (sscanf(line, "Private_Dirty: %zu", &kib) == 1)
			total += writable ? kib << 10 : 0;
	}
	(void)fclose(fp);
	return (total);
}

static void
a_process_that_allocates_little_touches_little_and_starts_nothing(void)
{
	void *p = malloc(100);

	check_say(STDOUT_FILENO, "%zu KiB touched\n", touched() >> 10);
	CHECK(touched() < MIB);
	CHECK(entries("/proc/self/task") == 1);
	/* 0, 1, 2, and that of the directory itself; main() closed the rest. */
	CHECK(entries("/proc/self/fd") == 4);
	free(p);
}

/* ---- many threads ---- */

enum { SLEEPERS = 1000, OPS = 5000, AT_WORK = 8 };
static sem_t may_work, finished;
static pthread_mutex_t morning = PTHREAD_MUTEX_INITIALIZER;

/* 100 blocks of 16 to 2060 bytes live at a time. */
static void *
work_and_sleep(void *arg)
{
	enum { LIVE = 100 };
	uint64_t seed = (uintptr_t)arg;
	char *live[LIVE] = {NULL};

	CHECK(sem_wait(&may_work) == 0);
	for (unsigned i = 0; i < OPS; i++) {
		char **p = &live[random_next(&seed) % LIVE];

		free(*p);
		*p = malloc(16 + random_next(&seed) % 2045);
		CHECK(*p != NULL);
		**p = 1;
	}
	for (unsigned i = 0; i < LIVE; i++)
		free(live[i]);
	CHECK(sem_post(&may_work) == 0 && sem_post(&finished) == 0);
	CHECK(pthread_mutex_lock(&morning) == 0);
	CHECK(pthread_mutex_unlock(&morning) == 0);
	return (NULL);
}

static void
use_two_cpus(void)
{
	cpu_set_t set;
	int found = 0;

	CHECK(sched_getaffinity(0, sizeof(set), &set) == 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (CPU_ISSET(cpu, &set) && ++found > 2)
			CPU_CLR(cpu, &set);
	}
	CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
}

/*
 * What is kept follows from the CPUs, and from what was live, so only some
 * work at a time: the scheduler of a busy machine would let any number.
 */
static void
a_thousand_threads_asleep_hold_16_MiB(void)
{
	static pthread_t id[SLEEPERS];

	use_two_cpus();
	CHECK(sem_init(&may_work, 0, AT_WORK) == 0);
	CHECK(sem_init(&finished, 0, 0) == 0);
	CHECK(pthread_mutex_lock(&morning) == 0);
	for (uintptr_t i = 0; i < SLEEPERS; i++)
		thread_start(&id[i], work_and_sleep, i + 1);
	for (size_t i = 0; i < SLEEPERS; i++)
		CHECK(sem_wait(&finished) == 0);
	check_say(STDOUT_FILENO, "%zu KiB resident\n", check_resident() >> 10);
	CHECK(check_resident() <= 16 * MIB);
	CHECK(pthread_mutex_unlock(&morning) == 0);
	for (size_t i = 0; i < SLEEPERS; i++)
		CHECK(pthread_join(id[i], NULL) == 0);
}

static void *
live_shortly(void *arg)
{
	random_ops((uintptr_t)arg, 20);
	return (NULL);
}

static void
t91_short_lived_threads_leave_nothing_behind(void)
{
	const unsigned n = quick() ? 5000 : 100000;
	size_t before = check_resident();
	pthread_t id[4];

	for (uintptr_t i = 0; i < n; i += 4) {
		for (size_t t = 0; t < 4; t++)
			thread_start(&id[t], live_shortly, i + t);
		for (size_t t = 0; t < 4; t++)
			CHECK(pthread_join(id[t], NULL) == 0);
	}
	within_bound(before, 0);
}

/* ---- from thread to thread ---- */

/* One slot a block: a producer fills it, a consumer empties it. */
enum { RING = 4096 };
static _Atomic(void *) ring[RING];
static _Atomic bool over;
static _Atomic uint64_t handed;

static void *
produce(void *arg)
{
	uint64_t seed = (uintptr_t)arg;

	for (size_t i = 0; !over; i++) {
		size_t size = random_size(&seed);
		char *p = malloc(size), *old;

		CHECK(p != NULL);
		p[0] = 1;
		p[size - 1] = 1;
		old = atomic_exchange(&ring[i % RING], p);
		/* Nobody took it. */
		free(old);
	}
	return (NULL);
}

static void *
consume(void *arg)
{
	(void)arg;
	for (size_t i = 0; !over; i++) {
		void *p = atomic_exchange(&ring[i % RING], NULL);

		handed += p != NULL;
		free(p);
	}
	return (NULL);
}

static void
t61_producers_and_consumers_do_not_grow(void)
{
	const unsigned seconds = setting("QR_TEST_SECONDS", quick() ? 1 : 5);
	const uint64_t end = now_ms() + (uint64_t)seconds * 1000;
	size_t before = check_resident();
	pthread_t id[4];

	over = false;
	for (uintptr_t i = 0; i < 4; i++)
		thread_start(&id[i], i % 2 == 0 ? produce : consume, i + 1);
	while (now_ms() < end) {
		/* A ring full of blocks of 1 KiB on average may be live. */
		within_bound(before, 2 * RING * (size_t)1024);
		(void)usleep(500000);
	}
	over = true;
	for (size_t i = 0; i < 4; i++)
		CHECK(pthread_join(id[i], NULL) == 0);
	for (size_t i = 0; i < RING; i++)
		free(atomic_exchange(&ring[i], NULL));
	CHECK(handed > 1000);
	within_bound(before, 0);
}

/* ---- a peak ---- */

enum { PEAK_THREADS = 4, PEAK_MIB = 300, LIVE_MIB = 20, SETTLED_MIB = 6 };

/* A list of blocks that hold `bytes` in all. */
static void **
take_list(uint64_t seed, size_t bytes)
{
	void **head = NULL;

	while (bytes > 0) {
		size_t size = sizeof(void *) + random_size(&seed);
		void **p = malloc(size);

		CHECK(p != NULL);
		memset(p, 1, size);
		*p = head;
		head = p;
		bytes -= size < bytes ? size : bytes;
	}
	return (head);
}

static void
give_list(void **head)
{
	while (head != NULL) {
		void **next = *head;

		free(head);
		head = next;
	}
}

static pthread_barrier_t top;

static void *
rise_and_fall(void *arg)
{
	void **list = take_list((uintptr_t)arg, PEAK_MIB * MIB / PEAK_THREADS);

	(void)pthread_barrier_wait(&top);
	(void)pthread_barrier_wait(&top);
	give_list(list);
	return (NULL);
}

static void
a_peak_followed_by_idle_time_goes_away(void)
{
	size_t before = check_resident();
	size_t settled = before + (LIVE_MIB * 5 / 4 + SETTLED_MIB) * MIB;
	void **kept = take_list(7, LIVE_MIB * MIB);
	pthread_t id[PEAK_THREADS];

	CHECK(pthread_barrier_init(&top, NULL, PEAK_THREADS + 1) == 0);
	for (uintptr_t i = 0; i < PEAK_THREADS; i++)
		thread_start(&id[i], rise_and_fall, i + 1);
	(void)pthread_barrier_wait(&top);
	CHECK(check_resident() > before + PEAK_MIB * MIB);
	(void)pthread_barrier_wait(&top);
	for (size_t i = 0; i < PEAK_THREADS; i++)
		CHECK(pthread_join(id[i], NULL) == 0);
	/* Nobody calls us: it goes all the same. */
	check_wait_resident(settled, 80);
	check_say(STDOUT_FILENO, "%zu KiB resident when idle\n",
	    check_resident() >> 10);
	CHECK(check_resident() <= settled);
	give_list(kept);
}

static const struct check table[] = {
    CHECK_THAT(
	a_process_that_allocates_little_touches_little_and_starts_nothing),
    CHECK_THAT(a_thousand_threads_asleep_hold_16_MiB),
    CHECK_THAT(t91_short_lived_threads_leave_nothing_behind),
    CHECK_THAT(t61_producers_and_consumers_do_not_grow),
    CHECK_THAT(a_peak_followed_by_idle_time_goes_away),
};

/* Start again without the descriptors of whoever started us. */
int
main(int argc, char **argv)
{
	static const char clean[] = "BOUNDS_CLEAN";

	if (getenv(clean) == NULL && setenv(clean, "1", 1) == 0 &&
	    close_range(3, ~0U, 0) == 0) {
		(void)execv("/proc/self/exe", argv);
		return (1);
	}
	return (
	    check_main(argc, argv, table, sizeof(table) / sizeof(table[0])));
}
