/*
 * mpipe_stress_test.c - everything that can happen to a pipe at once: waiting,
 * deadlines, signals, cancellation, callbacks, resizing and fork.  Each buffer
 * has at most one owner, and in the end all are there.
 */
#define _GNU_SOURCE 1 /* pthread_tryjoin_np */

#include "unit/mpipe/mpipe_test.h"

#include <signal.h>
#include <sys/wait.h>

enum {
	WORKERS = 4,
	NNOM = 3,
	NMAX = 5,
	RUN_MS = 1500,
	ROUNDS = 40, /* at least, however slow */
	CHILD_SECONDS = 30
};

static struct malloc_pipe shared;
static _Atomic bool stop;
static _Atomic int calls, requests;

/* The owner of a buffer is in it; 0: nobody. */
static void
own(void *buf, uintptr_t me)
{
	_Atomic uintptr_t *owner = buf;

	if (atomic_exchange(owner, me) != 0)
		abort();
}

static void
disown(void *buf, uintptr_t me)
{
	_Atomic uintptr_t *owner = buf;

	if (atomic_exchange(owner, 0) != me)
		abort();
	mpipe_free(&shared, buf);
}

static void
called(void *buf, void *arg)
{
	own(buf, (uintptr_t)arg);
	disown(buf, (uintptr_t)arg);
	calls++;
}

static void
nothing(int sig)
{
	(void)sig;
}

static void
ask(uintptr_t me, unsigned random)
{
	uint64_t ticket;

	if (mpipe_alloc_async(&shared, called, (void *)me, &ticket) != 0)
		return;
	requests++;
	if (random % 2 == 0 && mpipe_cancel(&shared, ticket) == 1)
		requests--;
}

static void *
work(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	unsigned random = (unsigned)me;

	while (!stop) {
		struct timespec ts;
		void *buf = NULL;

		random = random * 1664525 + 1013904223;
		ts = after_ms((int)(random >> 28));
		switch (random >> 8 & 7) {
		case 0:
			buf = mpipe_alloc_waitok(&shared);
			break;
		case 1:
			buf = mpipe_alloc_timed(&shared, &ts);
			break;
		case 2:
			buf = mpipe_alloc_intr(&shared);
			break;
		case 3:
			ask(me, random >> 12);
			break;
		case 4:
			if ((random >> 12) % 64 == 0)
				(void)mpipe_resize(&shared,
				    NNOM + (int)(random >> 20) % 2, NMAX);
			break;
		default:
			buf = mpipe_alloc_nowait(&shared);
			break;
		}
		if (buf == NULL)
			continue;
		own(buf, me);
		if ((random >> 16) % 8 == 0)
			sched_yield();
		disown(buf, me);
	}
	return (NULL);
}

static void
drop(void *arg)
{
	void **buf = arg;

	if (*buf != NULL)
		disown(*buf, (uintptr_t)arg);
}

/* Waits until it is cancelled. */
static void *
victim(void *arg)
{
	void *buf = NULL;

	pthread_cleanup_push(drop, &buf);
	for (;;) {
		int state;

		buf = mpipe_alloc_waitok(arg);
		(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
		own(buf, (uintptr_t)&buf);
		disown(buf, (uintptr_t)&buf);
		buf = NULL;
		(void)pthread_setcancelstate(state, &state);
		pthread_testcancel();
	}
	pthread_cleanup_pop(0);
	return (NULL);
}

/* The child has a pipe that works, with the buffers that were free. */
static void
live(void)
{
	struct timespec ts = after_ms(50);
	struct mpipe_stats st;
	void *buf;

	(void)alarm(CHILD_SECONDS);
	buf = mpipe_alloc_timed(&shared, &ts);
	if (buf != NULL)
		mpipe_free(&shared, buf);
	if (mpipe_getstats(&shared, &st) != 0)
		_exit(1);
	_exit(0);
}

static void
fork_once(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		live();
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
a_pipe_survives_all_at_once(void **state)
{
	struct sigaction sa = {.sa_handler = nothing, .sa_flags = SA_RESTART};
	int64_t end = now_ns() + RUN_MS * INT64_C(1000000);
	pthread_t worker[WORKERS], v;
	unsigned rounds = 0;
	(void)state;

	assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
	assert_int_equal(mpipe_tryinit(&shared, M_PIPE, 64, NNOM, NMAX,
			     MPF_CANCEL, NULL, NULL, NULL),
	    0);
	for (uintptr_t i = 0; i < WORKERS; i++)
		assert_int_equal(
		    pthread_create(&worker[i], NULL, work, (void *)(i + 1)), 0);
	while (rounds < ROUNDS || now_ns() < end) {
		assert_int_equal(pthread_create(&v, NULL, victim, &shared), 0);
		assert_int_equal(
		    pthread_kill(worker[rounds % WORKERS], SIGUSR1), 0);
		(void)usleep(300);
		assert_int_equal(pthread_cancel(v), 0);
		assert_int_equal(pthread_join(v, NULL), 0);
		if (++rounds % 32 == 0)
			fork_once();
	}
	/* Those who wait for a signal need no more of them: others free. */
	stop = true;
	for (int i = 0; i < WORKERS; i++) {
		int left;

		do {
			(void)pthread_kill(worker[i], SIGUSR1);
			(void)usleep(1000);
			left = pthread_tryjoin_np(worker[i], NULL);
		} while (left != 0);
	}
	EVENTUALLY(calls == requests);
	assert_true(calls > 0);
	COUNTS(&shared, shared.total_count, shared.total_count);
	mpipe_done(&shared);
	assert_int_equal(stats_of(M_PIPE).inuse, 0);
}

/* Two CPUs exchange, refill and close stacks all the time. */
static void *
churn(void *arg)
{
	uintptr_t me = (uintptr_t)arg;
	unsigned random = (unsigned)me;
	void *held[40];
	int n = 0;

	while (!stop) {
		random = random * 1664525 + 1013904223;
		if (n < 40 && (random >> 16) % 2 == 0) {
			held[n] = mpipe_alloc_nowait(&shared);
			/* 4 threads have 160 of 200 at most. */
			if (held[n] == NULL)
				abort();
			own(held[n++], me);
		} else if (n > 0) {
			disown(held[--n], me);
		}
	}
	while (n > 0)
		disown(held[--n], me);
	return (NULL);
}

static void
t21_a_nowait_below_nnom_never_fails(void **state)
{
	pthread_t worker[WORKERS];
	(void)state;

	stop = false;
	assert_int_equal(mpipe_tryinit(&shared, M_PIPE, 64, 200, 200,
			     MPF_CACHEDATA, NULL, NULL, NULL),
	    0);
	for (uintptr_t i = 0; i < WORKERS; i++)
		assert_int_equal(
		    pthread_create(&worker[i], NULL, churn, (void *)(i + 1)),
		    0);
	for (int i = 0; i < 200; i++) {
		(void)pipe_stats(&shared);
		(void)usleep(5000);
	}
	stop = true;
	for (int i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_join(worker[i], NULL), 0);
	COUNTS(&shared, 200, 200);
	mpipe_done(&shared);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_pipe_survives_all_at_once),
	    cmocka_unit_test(t21_a_nowait_below_nnom_never_fails),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
