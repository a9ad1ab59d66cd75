/*
 * harness.c - runs one row: workers, bursts and windows, medians, memory.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum {
	MAX_SAMPLES = 4096,
	BURST_NS = 200 * 1000,
	WINDOW_NS = 10 * 1000 * 1000,
	WARM_UP_NS = 20 * 1000 * 1000,
	WINDOW_UNITS = 16,
	MIN_BURSTS = 9,
	MIN_WINDOWS = 3,
};

struct bench_run {
	const struct bench_row *r_row;
	unsigned r_threads;
	unsigned r_ms;
	double r_samples[MAX_SAMPLES];
	size_t r_nsamples;
	struct bench_worker *r_workers;
	pthread_barrier_t r_barrier;
};

static struct bench_run run;

atomic_bool bench_stop;

void
bench_die(const char *what)
{
	(void)!write(STDERR_FILENO, what, strlen(what));
	(void)!write(STDERR_FILENO, "\n", 1);
	_exit(1);
}

void *
bench_map(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_die("bench: mmap failed");
	return (p);
}

uint64_t
bench_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec);
}

uint64_t
bench_memory(const char *field)
{
	char buf[4096];
	char *p;
	ssize_t n;
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		bench_die("bench: cannot read /proc/self/status");
	(void)close(fd);
	buf[n] = '\0';
	p = strstr(buf, field);
	return (p == NULL ? 0 : strtoull(p + strlen(field) + 1, NULL, 10));
}

const uint32_t *
bench_order(size_t n)
{
	struct bench_worker w = {.bw_rng = 88172645463325252};
	uint32_t *order = bench_map(n * sizeof(*order));

	for (size_t i = 0; i < n; i++) {
		size_t j = bench_below(bench_random(&w), i + 1);

		order[i] = order[j];
		order[j] = (uint32_t)i;
	}
	return (order);
}

static int
compare(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return ((x > y) - (x < y));
}

/* In place: no sort that might allocate. */
static double
median(double *v, size_t n)
{
	for (size_t gap = n / 2; gap > 0; gap /= 2) {
		for (size_t i = gap; i < n; i++) {
			double x = v[i];
			size_t j = i;

			for (; j >= gap && compare(&v[j - gap], &x) > 0;
			     j -= gap)
				v[j] = v[j - gap];
			v[j] = x;
		}
	}
	return (n == 0 ? 0 : n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2);
}

static void
sample(double ns)
{
	if (run.r_nsamples < MAX_SAMPLES)
		run.r_samples[run.r_nsamples++] = ns;
}

/* Bursts of one worker, on the main thread. */
static void
run_bursts(struct bench_worker *w)
{
	uint64_t now = bench_now();
	uint64_t end = now + (uint64_t)run.r_ms * 1000000;

	(void)run.r_row->br_unit(w);
	now = bench_now();
	while (run.r_nsamples < MIN_BURSTS || now < end) {
		uint64_t start = now;
		uint64_t ops = 0;

		do {
			ops += run.r_row->br_unit(w);
			now = bench_now();
		} while (now - start < BURST_NS);
		sample((double)(now - start) / (double)ops);
	}
}

static void *
worker_main(void *arg)
{
	struct bench_worker *w = arg;

	if (run.r_row->br_setup != NULL)
		run.r_row->br_setup(w);
	pthread_barrier_wait(&run.r_barrier);
	while (!atomic_load_explicit(&bench_stop, memory_order_relaxed)) {
		uint64_t ops = run.r_row->br_unit(w);

		atomic_store_explicit(
		    &w->bw_ops, w->bw_ops + ops, memory_order_relaxed);
		atomic_store_explicit(
		    &w->bw_units, w->bw_units + 1, memory_order_relaxed);
	}
	return (NULL);
}

/* What all workers have done. */
struct done {
	uint64_t d_ops;
	uint64_t d_units;
	uint64_t d_when;
};

static struct done
done_now(void)
{
	struct done d = {0, 0, bench_now()};

	for (unsigned i = 0; i < run.r_threads; i++) {
		struct bench_worker *w = &run.r_workers[i];

		d.d_ops +=
		    atomic_load_explicit(&w->bw_ops, memory_order_relaxed);
		d.d_units +=
		    atomic_load_explicit(&w->bw_units, memory_order_relaxed);
	}
	return (d);
}

static unsigned
processors(void)
{
	cpu_set_t set;
	int n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	return (n < 1 ? 1 : (unsigned)n);
}

static void
sleep_ns(uint64_t ns)
{
	struct timespec ts = {
	    (time_t)(ns / 1000000000), (long)(ns % 1000000000)};

	(void)nanosleep(&ts, NULL);
}

/*
 * Windows over freely running workers.  A window grows until it holds a few
 * units, however long they take: those at its ends are counted whole.
 */
static void
run_windows(void)
{
	unsigned n = processors();
	double cpus = run.r_threads < n ? run.r_threads : n;
	uint64_t end = bench_now() + (uint64_t)run.r_ms * 1000000;
	struct done then, now;

	sleep_ns(WARM_UP_NS);
	then = done_now();
	do {
		sleep_ns(WINDOW_NS);
		now = done_now();
		if (now.d_units - then.d_units < WINDOW_UNITS)
			continue;
		sample((double)(now.d_when - then.d_when) * cpus /
		    (double)(now.d_ops - then.d_ops));
		then = now;
	} while (run.r_nsamples < MIN_WINDOWS || now.d_when < end);
}

static void
run_workers(void)
{
	pthread_t *threads = bench_map(run.r_threads * sizeof(*threads));

	pthread_barrier_init(&run.r_barrier, NULL, run.r_threads + 1);
	for (unsigned i = 0; i < run.r_threads; i++)
		if (pthread_create(
			&threads[i], NULL, worker_main, &run.r_workers[i]) != 0)
			bench_die("bench: cannot create a thread");
	pthread_barrier_wait(&run.r_barrier);
	run_windows();
	atomic_store(&bench_stop, true);
	for (unsigned i = 0; i < run.r_threads; i++)
		pthread_join(threads[i], NULL);
}

static void
run_alone(void)
{
	struct bench_worker *w = &run.r_workers[0];
	uint64_t start, ops;

	if (run.r_row->br_setup != NULL)
		run.r_row->br_setup(w);
	if (run.r_row->br_flags & BENCH_ONCE) {
		start = bench_now();
		ops = run.r_row->br_unit(w);
		start += w->bw_idle;
		sample((double)(bench_now() - start) / (double)ops);
	} else {
		run_bursts(w);
	}
}

static void
run_row(void)
{
	char line[256];
	uint64_t memory;
	int n;

	if (run.r_row->br_flags & BENCH_PAIRED)
		run.r_threads = run.r_threads < 2 ? 2 : run.r_threads & ~1U;
	if (run.r_row->br_flags & (BENCH_SINGLE | BENCH_ONCE))
		run.r_threads = 1;
	run.r_workers = bench_map(run.r_threads * sizeof(*run.r_workers));
	for (unsigned i = 0; i < run.r_threads; i++) {
		run.r_workers[i].bw_row = run.r_row;
		run.r_workers[i].bw_id = i;
		run.r_workers[i].bw_nworkers = run.r_threads;
		run.r_workers[i].bw_rng = (i + 1) * 0x9e3779b97f4a7c15;
	}
	if (run.r_threads == 1)
		run_alone();
	else
		run_workers();
	memory = run.r_workers[0].bw_memory;
	if (memory == 0)
		memory = bench_memory("VmHWM");
	n = snprintf(line, sizeof(line), "%s %u %.3f %llu\n",
	    run.r_row->br_name, run.r_threads,
	    median(run.r_samples, run.r_nsamples), (unsigned long long)memory);
	if (n <= 0 || write(STDOUT_FILENO, line, (size_t)n) != n)
		bench_die("bench: cannot write the result");
}

/* "name any|paired|single|once" for each row. */
static void
list_rows(const struct bench_row *rows, size_t nrows)
{
	for (size_t i = 0; i < nrows; i++) {
		unsigned f = rows[i].br_flags;

		printf("%s %s\n", rows[i].br_name,
		    f & BENCH_ONCE         ? "once"
			: f & BENCH_SINGLE ? "single"
			: f & BENCH_PAIRED ? "paired"
					   : "any");
	}
}

int
bench_main(int argc, char **argv, const struct bench_row *rows, size_t nrows)
{
	const char *name = "";

	run.r_threads = 1;
	run.r_ms = 100;
	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		list_rows(rows, nrows);
		return (0);
	}
	for (int i = 1; i + 1 < argc; i += 2) {
		if (strcmp(argv[i], "--row") == 0)
			name = argv[i + 1];
		else if (strcmp(argv[i], "--threads") == 0)
			run.r_threads = (unsigned)atoi(argv[i + 1]);
		else if (strcmp(argv[i], "--ms") == 0)
			run.r_ms = (unsigned)atoi(argv[i + 1]);
		else
			bench_die("bench: unknown argument");
	}
	if (run.r_threads < 1 || run.r_threads > BENCH_MAX_WORKERS ||
	    run.r_ms < 1)
		bench_die("bench: bad --threads or --ms");
	for (size_t i = 0; i < nrows; i++) {
		if (strcmp(rows[i].br_name, name) == 0) {
			run.r_row = &rows[i];
			run_row();
			return (0);
		}
	}
	bench_die("bench: no such row (see --list)");
}
