/*
 * mpipe_wait_test.c - who waits, and what ends it.
 */
#define _GNU_SOURCE 1 /* gettid, pthread_tryjoin_np */

#include "unit/mpipe/mpipe_test.h"

#include "support/failsys.h"
#include "umem/umem_stats.h"

#include <semaphore.h>
#include <signal.h>

static void
waiters_are_served_in_the_order_of_arrival(void **state)
{
	enum { N = 8 };
	struct waiter w[N] = {0};
	struct malloc_pipe p;
	_Atomic int served = 0;
	void *held;
	(void)state;

	pipe_make(&p, 1, 1);
	held = mpipe_alloc_nowait(&p);
	for (int i = 0; i < N; i++) {
		w[i].pipe = &p;
		w[i].served = &served;
		waiter_start(&w[i]);
	}
	for (int i = 0; i < N; i++) {
		mpipe_free(&p, held);
		/* Nobody can overtake. */
		assert_null(mpipe_alloc_nowait(&p));
		held = waiter_join(&w[i]);
		assert_int_equal(w[i].order, i + 1);
	}
	mpipe_free(&p, held);
	assert_int_equal(pipe_stats(&p).sleeps, N);
	assert_true(pipe_stats(&p).wait_ns_max > 0);
	assert_true(pipe_stats(&p).wait_ns >= pipe_stats(&p).wait_ns_max);
	COUNTS(&p, 1, 1);
	mpipe_done(&p);
}

static void
waits_are_counted_as_long_as_they_took(void **state)
{
	enum { PAUSE_US = 2000 };
	const int64_t pause = PAUSE_US * INT64_C(1000);
	struct waiter w1 = {0}, w2 = {0};
	struct mpipe_stats st;
	struct malloc_pipe p;
	int64_t from = now_ns(), took;
	void *held;
	(void)state;

	pipe_make(&p, 1, 1);
	held = mpipe_alloc_nowait(&p);
	w1.pipe = w2.pipe = &p;
	waiter_start(&w1);
	waiter_start(&w2);
	(void)usleep(PAUSE_US);
	mpipe_free(&p, held);
	mpipe_free(&p, waiter_join(&w1));
	mpipe_free(&p, waiter_join(&w2));
	took = now_ns() - from;
	st = pipe_stats(&p);
	assert_in_range(st.wait_ns_max, pause, took);
	assert_in_range(st.wait_ns, st.wait_ns_max + pause, 2 * took);
	mpipe_done(&p);
}

static void
t25_n_frees_wake_n_waiters(void **state)
{
	enum { N = 6 };
	struct waiter w[N] = {0};
	struct malloc_pipe p;
	void *held[N];
	(void)state;

	pipe_make(&p, N, N);
	for (int i = 0; i < N; i++)
		held[i] = mpipe_alloc_nowait(&p);
	for (int i = 0; i < N; i++) {
		w[i].pipe = &p;
		waiter_start(&w[i]);
	}
	for (int i = 0; i < N; i++)
		mpipe_free(&p, held[i]);
	for (int i = 0; i < N; i++)
		mpipe_free(&p, waiter_join(&w[i]));
	COUNTS(&p, N, N);
	mpipe_done(&p);
}

/*
 * nnom 1, nmax 2; A and B have both, W1 and W2 wait; both free before either
 * waiter runs.  Each free is somebody's, so none is given up.
 */
static void
t23_two_frees_in_a_row_serve_two_waiters(void **state)
{
	struct waiter w1 = {0}, w2 = {0};
	struct malloc_pipe p;
	void *a, *b;
	(void)state;

	pipe_make(&p, 1, 2);
	a = mpipe_alloc_nowait(&p);
	b = mpipe_alloc_nowait(&p);
	w1.pipe = w2.pipe = &p;
	waiter_start(&w1);
	waiter_start(&w2);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	a = waiter_join(&w1);
	b = waiter_join(&w2);
	COUNTS(&p, 0, 2);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	mpipe_done(&p);
}

/* Memory was short when they came; a slot is free, and nothing is freed. */
static void
t23_a_waiter_grows_the_pipe_without_a_free(void **state)
{
	struct waiter w1 = {0}, w2 = {0};
	struct malloc_pipe p;
	void *a;
	(void)state;

	a = pipe_make_starved(&p, 3);
	w1.pipe = w2.pipe = &p;
	waiter_start(&w1);
	waiter_start(&w2);
	assert_null(mpipe_alloc_nowait(&p));
	kmalloc_set_unlimited(M_PIPE);
	mpipe_free(&p, waiter_join(&w1));
	mpipe_free(&p, waiter_join(&w2));
	mpipe_free(&p, a);
	assert_true(pipe_stats(&p).grow_failures > 2);
	mpipe_done(&p);
}

static int64_t sleep_at[16];
static unsigned naps;

/* In the waiter, about to sleep. */
static void
note_sleep(void)
{
	if (naps < sizeof(sleep_at) / sizeof(sleep_at[0]))
		sleep_at[naps++] = now_ns();
}

static struct malloc_pipe short_of;

/* Memory for one buffer, which is allocated, and no sleep noted yet. */
static void *
short_of_make(int nmax)
{
	naps = 0;
	failsys_reset();
	return (pipe_make_starved(&short_of, nmax));
}

/* The memory is there when it has gone to sleep for the sixth time. */
static void
note_and_relent(void)
{
	note_sleep();
	if (naps == 6)
		kmalloc_set_unlimited(M_PIPE);
}

/* After 10 ms, 20 ms, 40 ms and so on; it has tried before it sleeps. */
static void
who_grows_in_vain_tries_again_after_longer_and_longer_pauses(void **state)
{
	struct timespec ts = after_ms(2000);
	int64_t due = now_ns(), pause = 10 * INT64_C(1000000);
	void *a = short_of_make(2), *b;
	(void)state;

	failsys_before(FAILSYS_SEMWAIT, note_and_relent);
	errno = 0;
	b = mpipe_alloc_timed(&short_of, &ts);
	failsys_reset();
	assert_non_null(b);
	/* Neither what it tried in vain nor the end of its sleep is an error. */
	assert_int_equal(errno, 0);
	assert_true(naps > 2);
	for (unsigned i = 1; i < naps; i++, pause *= 2) {
		due += pause;
		assert_true(sleep_at[i] >= due);
	}
	mpipe_free(&short_of, a);
	mpipe_free(&short_of, b);
	mpipe_done(&short_of);
}

static void
note_and_raise(void)
{
	note_sleep();
	if (naps == 1)
		assert_int_equal(mpipe_resize(&short_of, 1, 2), 0);
}

/* It is woken to try, and from then on it tries on its own. */
static void
a_raised_limit_wakes_a_waiter_once(void **state)
{
	struct timespec ts = after_ms(50);
	void *a = short_of_make(1);
	(void)state;

	failsys_before(FAILSYS_SEMWAIT, note_and_raise);
	assert_null(mpipe_alloc_timed(&short_of, &ts));
	failsys_reset();
	if (naps > 2)
		assert_true(sleep_at[2] - sleep_at[0] >= 10 * INT64_C(1000000));
	kmalloc_set_unlimited(M_PIPE);
	mpipe_free(&short_of, a);
	mpipe_done(&short_of);
}

static void
raise_and_relent(void)
{
	note_and_raise();
	kmalloc_set_unlimited(M_PIPE);
}

static void
a_waiter_that_is_woken_to_grow_does_so_at_once(void **state)
{
	void *a = short_of_make(1), *b;
	(void)state;

	failsys_before(FAILSYS_SEMWAIT, raise_and_relent);
	b = mpipe_alloc_waitok(&short_of);
	failsys_reset();
	assert_non_null(b);
	assert_int_equal(naps, 1);
	mpipe_free(&short_of, a);
	mpipe_free(&short_of, b);
	mpipe_done(&short_of);
}

static void
note_and_lower(void)
{
	note_sleep();
	if (naps == 1)
		assert_int_equal(mpipe_resize(&short_of, 1, 1), 0);
	kmalloc_set_unlimited(M_PIPE);
}

static void
a_waiter_does_not_grow_a_pipe_that_became_full(void **state)
{
	struct timespec ts = after_ms(30);
	void *a = short_of_make(2);
	(void)state;

	failsys_before(FAILSYS_SEMWAIT, note_and_lower);
	assert_null(mpipe_alloc_timed(&short_of, &ts));
	failsys_reset();
	COUNTS(&short_of, 0, 1);
	mpipe_free(&short_of, a);
	mpipe_done(&short_of);
}

/* The waiter has tried so often that it leaves the attempt to us. */
static void
a_nowait_that_has_served_waiters_and_finds_nothing_says_so(void **state)
{
	struct waiter w = {.pipe = &short_of};
	void *a = short_of_make(2);
	(void)state;

	waiter_start(&w);
	(void)usleep(50000);
	kmalloc_set_unlimited(M_PIPE);
	errno = 0;
	assert_null(mpipe_alloc_nowait(&short_of));
	assert_int_equal(errno, EAGAIN);
	mpipe_free(&short_of, waiter_join(&w));
	mpipe_free(&short_of, a);
	mpipe_done(&short_of);
}

/* A new buffer is the oldest waiter's, whoever made it. */
static void
a_nowait_that_grows_serves_waiters_first(void **state)
{
	struct waiter w1 = {0}, w2 = {0};
	struct malloc_pipe p;
	void *a, *b;
	(void)state;

	/* Room for what the waiters may be making at the same moment. */
	a = pipe_make_starved(&p, 6);
	w1.pipe = w2.pipe = &p;
	waiter_start(&w1);
	waiter_start(&w2);
	kmalloc_set_unlimited(M_PIPE);
	b = mpipe_alloc_nowait(&p);
	assert_non_null(b);
	assert_true(p.total_count >= 4);
	mpipe_free(&p, waiter_join(&w1));
	mpipe_free(&p, waiter_join(&w2));
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	mpipe_done(&p);
}

static _Atomic bool stop;

static void *
thieve(void *arg)
{
	while (!stop) {
		void *b = mpipe_alloc_nowait(arg);

		if (b != NULL)
			mpipe_free(arg, b);
		else
			sched_yield();
	}
	return (NULL);
}

/* Whoever spins cannot keep a waiter from the next buffer that is freed. */
static void
t24_a_waiter_is_served_within_one_free(void **state)
{
	struct malloc_pipe p;
	pthread_t thief;
	(void)state;

	pipe_make(&p, 1, 1);
	stop = false;
	assert_int_equal(pthread_create(&thief, NULL, thieve, &p), 0);
	for (int i = 0; i < 300; i++) {
		void *held;

		while ((held = mpipe_alloc_nowait(&p)) == NULL)
			sched_yield();
		struct waiter w = {.pipe = &p};

		waiter_start(&w);
		mpipe_free(&p, held);
		assert_null(mpipe_alloc_nowait(&p));
		mpipe_free(&p, waiter_join(&w));
	}
	stop = true;
	assert_int_equal(pthread_join(thief, NULL), 0);
	mpipe_done(&p);
}

static pthread_mutex_t wanted = PTHREAD_MUTEX_INITIALIZER;
static void *kept;

/* Has the only buffer, and needs a mutex to give it back. */
static void *
free_with_mutex(void *arg)
{
	(void)pthread_mutex_lock(&wanted);
	mpipe_free(arg, kept);
	(void)pthread_mutex_unlock(&wanted);
	return (NULL);
}

/* The manual warns of it; a deadline is the way out. */
static void
t26_who_keeps_a_freer_out_waits_until_the_deadline(void **state)
{
	struct malloc_pipe p;
	struct timespec soon = after_ms(20);
	pthread_t freer;
	(void)state;

	pipe_make(&p, 1, 1);
	kept = mpipe_alloc_nowait(&p);
	(void)pthread_mutex_lock(&wanted);
	assert_int_equal(pthread_create(&freer, NULL, free_with_mutex, &p), 0);
	errno = 0;
	assert_null(mpipe_alloc_timed(&p, &soon));
	assert_int_equal(errno, ETIMEDOUT);
	(void)pthread_mutex_unlock(&wanted);
	mpipe_free(&p, mpipe_alloc_waitok(&p));
	assert_int_equal(pthread_join(freer, NULL), 0);
	COUNTS(&p, 1, 1);
	mpipe_done(&p);
}

static sem_t arrived, gate;
static _Atomic bool gated;

static int
make_at_gate(void *buf, void *priv)
{
	(void)buf;
	(void)priv;
	if (gated) {
		(void)sem_post(&arrived);
		(void)sem_wait(&gate);
	}
	return (0);
}

static void
unmake_at_gate(void *buf, void *priv)
{
	(void)make_at_gate(buf, priv);
}

static void *
take_and_give(void *arg)
{
	mpipe_free(arg, mpipe_alloc_waitok(arg));
	return (NULL);
}

/* Another thread is at the gate, and all else goes on. */
static void
works_meanwhile(struct malloc_pipe *p)
{
	void *b;

	b = mpipe_alloc_nowait(p);
	assert_non_null(b);
	mpipe_free(p, b);
	assert_true(pipe_stats(p).allocs > 0);
	(void)sem_post(&gate);
}

static void
t34_the_lock_is_not_held_while_buffers_are_made_or_unmade(void **state)
{
	struct malloc_pipe p;
	pthread_t other;
	void *held;
	(void)state;

	(void)sem_init(&arrived, 0, 0);
	(void)sem_init(&gate, 0, 0);
	gated = false;
	assert_int_equal(mpipe_tryinit(&p, M_PIPE, 64, 1, 2, 0, make_at_gate,
			     unmake_at_gate, NULL),
	    0);
	held = mpipe_alloc_nowait(&p);
	gated = true;
	(void)alarm(60);
	assert_int_equal(pthread_create(&other, NULL, take_and_give, &p), 0);
	/* It makes one, which is surplus afterwards, */
	(void)sem_wait(&arrived);
	mpipe_free(&p, held);
	works_meanwhile(&p);
	/* and unmakes it. */
	(void)sem_wait(&arrived);
	works_meanwhile(&p);
	assert_int_equal(pthread_join(other, NULL), 0);
	(void)alarm(0);
	gated = false;
	COUNTS(&p, 1, 1);
	mpipe_done(&p);
}

static size_t
umem_in_use(void)
{
	struct umem_totals ut;

	umem__totals(&ut);
	return (ut.ut_inuse);
}

/* Four buffers are as many as the first table of their records is for. */
static void
grow_twice_at_once(void)
{
	enum { FIRST = 4, MORE = 2 };
	struct malloc_pipe p;
	pthread_t other[MORE];
	void *b[FIRST];

	(void)sem_init(&arrived, 0, 0);
	(void)sem_init(&gate, 0, 0);
	gated = false;
	assert_int_equal(mpipe_tryinit(&p, M_PIPE, 64, FIRST, FIRST + MORE, 0,
			     make_at_gate, NULL, NULL),
	    0);
	for (int i = 0; i < FIRST; i++)
		b[i] = mpipe_alloc_nowait(&p);
	gated = true;
	(void)alarm(60);
	for (int i = 0; i < MORE; i++)
		assert_int_equal(
		    pthread_create(&other[i], NULL, take_and_give, &p), 0);
	for (int i = 0; i < MORE; i++)
		(void)sem_wait(&arrived);
	for (int i = 0; i < MORE; i++)
		(void)sem_post(&gate);
	for (int i = 0; i < MORE; i++)
		assert_int_equal(pthread_join(other[i], NULL), 0);
	(void)alarm(0);
	gated = false;
	assert_int_equal(pipe_stats(&p).growths, MORE);
	for (int i = 0; i < FIRST; i++)
		mpipe_free(&p, b[i]);
	mpipe_done(&p);
}

/* Each made a larger table, and one was enough. */
static void
two_who_grow_a_pipe_at_once_leave_no_memory_behind(void **state)
{
	size_t in_use;
	(void)state;

	/* The pipe itself is kept for the next one. */
	grow_twice_at_once();
	in_use = umem_in_use();
	grow_twice_at_once();
	assert_int_equal(umem_in_use(), in_use);
}

/* ---- D1: what happens in the moment before a waiter sleeps ---- */

static struct malloc_pipe d1;
static void *d1_held;
static _Atomic int d1_frees;

/* In the waiter, in line and about to sleep: the holder frees, a thief looks. */
static void
free_before_the_sleep(void)
{
	if (d1_held == NULL)
		return;
	mpipe_free(&d1, d1_held);
	d1_held = NULL;
	d1_frees++;
	if (mpipe_alloc_nowait(&d1) != NULL)
		abort();
}

/* The only buffer is freed while we wait for it until `ts`. */
static void
d1_timed_wait_is_served(const struct timespec *ts)
{
	void *b;

	pipe_make(&d1, 1, 1);
	d1_held = mpipe_alloc_nowait(&d1);
	d1_frees = 0;
	failsys_reset();
	failsys_before(FAILSYS_SEMWAIT, free_before_the_sleep);
	errno = 77;
	b = mpipe_alloc_timed(&d1, ts);
	assert_int_equal(errno, 77);
	assert_int_equal(failsys_calls(FAILSYS_SEMWAIT), 1);
	failsys_reset();
	assert_int_equal(d1_frees, 1);
	assert_non_null(b);
	mpipe_free(&d1, b);
	mpipe_done(&d1);
}

static void
d1_a_free_between_deciding_to_sleep_and_sleeping_is_not_lost(void **state)
{
	struct timespec ts = after_ms(PATIENCE_S * 1000);

	(void)state;
	d1_timed_wait_is_served(&ts);
}

static struct timespec d1_deadline;

/* The holder frees when the deadline has passed, and the waiter is awake. */
static void
free_after_the_deadline(void)
{
	while (clock_nanosleep(
		   CLOCK_MONOTONIC, TIMER_ABSTIME, &d1_deadline, NULL) != 0)
		continue;
	free_before_the_sleep();
}

static void
t25_a_buffer_given_at_the_deadline_is_not_lost(void **state)
{
	void *b = NULL;
	(void)state;

	pipe_make(&d1, 1, 1);
	d1_held = mpipe_alloc_nowait(&d1);
	/* On a slow machine the first ones pass before anybody waits. */
	for (int ms = 1; d1_held != NULL; ms *= 2) {
		d1_deadline = after_ms(ms);
		failsys_reset();
		failsys_before(FAILSYS_SEMWAIT, free_after_the_deadline);
		b = mpipe_alloc_timed(&d1, &d1_deadline);
		failsys_reset();
		assert_true((b == NULL) == (d1_held != NULL));
	}
	mpipe_free(&d1, b);
	COUNTS(&d1, 1, 1);
	mpipe_done(&d1);
}

static void *
pass_on(void *arg)
{
	for (int i = 0; i < 3000; i++) {
		void *b = mpipe_alloc_waitok(arg);

		if (i % 64 == 0)
			sched_yield();
		mpipe_free(arg, b);
	}
	return (NULL);
}

/* With one buffer, two that wait and a thief. */
static void
t22_no_wakeup_is_lost(void **state)
{
	struct malloc_pipe p;
	pthread_t t[2], thief;
	(void)state;

	pipe_make(&p, 1, 1);
	stop = false;
	(void)alarm(60);
	assert_int_equal(pthread_create(&thief, NULL, thieve, &p), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, pass_on, &p), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_join(t[i], NULL), 0);
	stop = true;
	assert_int_equal(pthread_join(thief, NULL), 0);
	(void)alarm(0);
	COUNTS(&p, 1, 1);
	mpipe_done(&p);
}

/* ---- deadlines, signals, cancellation ---- */

static void
t35_a_deadline_that_has_passed_is_one_attempt(void **state)
{
	struct timespec past = {0, 0}, bad = {now_ns() / NS_PER_S + 9, -1};
	struct malloc_pipe p;
	void *b;
	(void)state;

	pipe_make(&p, 1, 1);
	b = mpipe_alloc_timed(&p, &past);
	assert_non_null(b);
	errno = 0;
	assert_null(mpipe_alloc_timed(&p, &past));
	assert_int_equal(errno, ETIMEDOUT);
	assert_null(mpipe_alloc_timed(&p, &bad));
	assert_int_equal(errno, ETIMEDOUT);
	assert_int_equal(pipe_stats(&p).sleeps, 0);
	mpipe_free(&p, b);
	mpipe_done(&p);
}

static void
t35_a_deadline_ends_the_wait(void **state)
{
	struct timespec ts = after_ms(30);
	struct malloc_pipe p;
	int64_t from = now_ns();
	void *b;
	(void)state;

	pipe_make(&p, 1, 1);
	b = mpipe_alloc_nowait(&p);
	failsys_reset();
	errno = 0;
	assert_null(mpipe_alloc_timed(&p, &ts));
	assert_int_equal(errno, ETIMEDOUT);
	assert_true(now_ns() - from >= 29 * INT64_C(1000000));
	/* Nobody is woken in vain. */
	assert_int_equal(failsys_calls(FAILSYS_SEMWAIT), 1);
	mpipe_free(&p, b);
	COUNTS(&p, 1, 1);
	mpipe_done(&p);
}

/* Longer than 64 bits of nanoseconds, which wrap to some time long ago. */
static void
a_deadline_beyond_the_end_of_the_clock_never_passes(void **state)
{
	struct timespec never = {
	    (time_t)(UINT64_MAX / (uint64_t)NS_PER_S) + 1, 0};

	(void)state;
	d1_timed_wait_is_served(&never);
	d1_timed_wait_is_served(NULL);
}

static void
a_deadline_may_be_a_whole_second_or_just_before_one(void **state)
{
	struct timespec ts = after_ms(PATIENCE_S * 1000);

	(void)state;
	ts.tv_nsec = 0;
	d1_timed_wait_is_served(&ts);
	ts.tv_nsec = NS_PER_S - 1;
	d1_timed_wait_is_served(&ts);
}

static void
a_deadline_that_is_none_has_passed(void **state)
{
	struct timespec bad[] = {
	    {-1, 0},
	    {-1, NS_PER_S - 1},
	    {now_ns() / NS_PER_S + PATIENCE_S, -1},
	    {now_ns() / NS_PER_S + PATIENCE_S, NS_PER_S},
	};
	struct malloc_pipe p;
	void *b;
	(void)state;

	pipe_make(&p, 1, 1);
	b = mpipe_alloc_nowait(&p);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		errno = 0;
		assert_null(mpipe_alloc_timed(&p, &bad[i]));
		assert_int_equal(errno, ETIMEDOUT);
	}
	assert_int_equal(pipe_stats(&p).sleeps, 0);
	mpipe_free(&p, b);
	mpipe_done(&p);
}

static _Atomic int handled;

static void
handler(int sig)
{
	(void)sig;
	handled++;
}

struct signalled {
	struct malloc_pipe *pipe;
	bool intr, timed;
	struct timespec deadline;
	void *got;
	int error;
	_Atomic bool done;
};

static void *
wait_for_signal(void *arg)
{
	struct signalled *s = arg;

	errno = 0;
	if (s->timed)
		s->got = mpipe_alloc_timed(s->pipe, &s->deadline);
	else
		s->got = s->intr ? mpipe_alloc_intr(s->pipe)
				 : mpipe_alloc_waitok(s->pipe);
	s->error = errno;
	s->done = true;
	return (NULL);
}

static void
signal_a_waiter(bool intr, bool timed, int flags)
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};
	struct malloc_pipe p;
	struct signalled s = {.pipe = &p,
	    .intr = intr,
	    .timed = timed,
	    .deadline = after_ms(PATIENCE_S * 1000)};
	pthread_t thread;
	void *held;

	handled = 0;
	assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
	pipe_make(&p, 1, 1);
	held = mpipe_alloc_nowait(&p);
	assert_int_equal(pthread_create(&thread, NULL, wait_for_signal, &s), 0);
	EVENTUALLY(pipe_stats(&p).sleeps == 1);
	/* A signal that is not handled is nothing. */
	assert_int_equal(pthread_kill(thread, SIGURG), 0);
	(void)usleep(20000);
	assert_false(s.done);
	for (int i = 0; i < 3 && !(intr && s.done); i++) {
		assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
		(void)usleep(20000);
	}
	EVENTUALLY(handled > 0);
	if (intr) {
		EVENTUALLY(s.done);
		assert_null(s.got);
		assert_int_equal(s.error, EINTR);
		mpipe_free(&p, held);
	} else {
		assert_false(s.done);
		mpipe_free(&p, held);
		EVENTUALLY(s.done);
		assert_ptr_equal(s.got, held);
		mpipe_free(&p, s.got);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	COUNTS(&p, 1, 1);
	mpipe_done(&p);
}

static void
t35_signals_end_an_intr_and_no_waitok_or_timed(void **state)
{
	(void)state;
	signal_a_waiter(false, false, 0);
	signal_a_waiter(false, false, SA_RESTART);
	signal_a_waiter(false, true, 0);
	signal_a_waiter(true, false, 0);
	signal_a_waiter(true, false, SA_RESTART);
}

static void
t25_a_cancelled_waiter_leaves_the_line(void **state)
{
	struct waiter w[3] = {0};
	struct malloc_pipe p;
	void *held, *result;
	(void)state;

	assert_int_equal(mpipe_tryinit(&p, M_PIPE, 64, 1, 1,
			     MPF_CACHEDATA | MPF_CANCEL, NULL, NULL, NULL),
	    0);
	held = mpipe_alloc_nowait(&p);
	for (int i = 0; i < 3; i++) {
		w[i].pipe = &p;
		waiter_start(&w[i]);
	}
	assert_int_equal(pthread_cancel(w[0].thread), 0);
	assert_int_equal(pthread_cancel(w[2].thread), 0);
	assert_int_equal(pthread_join(w[0].thread, &result), 0);
	assert_ptr_equal(result, PTHREAD_CANCELED);
	assert_int_equal(pthread_join(w[2].thread, &result), 0);
	mpipe_free(&p, held);
	mpipe_free(&p, waiter_join(&w[1]));
	COUNTS(&p, 1, 1);
	mpipe_done(&p);
}

/* Cancelled and served at the same time: the buffer is never lost. */
static void
t25_a_buffer_given_to_a_cancelled_waiter_goes_to_the_next(void **state)
{
	struct malloc_pipe p;
	(void)state;

	assert_int_equal(mpipe_tryinit(&p, M_PIPE, 64, 1, 1,
			     MPF_CACHEDATA | MPF_CANCEL, NULL, NULL, NULL),
	    0);
	for (int i = 0; i < 200; i++) {
		struct waiter w1 = {.pipe = &p}, w2 = {.pipe = &p};
		void *held = mpipe_alloc_nowait(&p);

		assert_non_null(held);
		waiter_start(&w1);
		waiter_start(&w2);
		if (i % 2 == 0)
			assert_int_equal(pthread_cancel(w1.thread), 0);
		mpipe_free(&p, held);
		if (i % 2 != 0)
			assert_int_equal(pthread_cancel(w1.thread), 0);
		/* What join says of a thread that was at its end is vague. */
		assert_int_equal(pthread_join(w1.thread, NULL), 0);
		mpipe_free(&p, w1.got);
		mpipe_free(&p, waiter_join(&w2));
		COUNTS(&p, 1, 1);
	}
	mpipe_done(&p);
}

static void *d1_other;

/* In the waiter, as if asleep: it is served, and cancelled before it wakes. */
static void
serve_and_cancel(void)
{
	mpipe_free(&d1, d1_held);
	mpipe_free(&d1, d1_other);
	(void)pthread_cancel(pthread_self());
	pthread_testcancel();
}

static void *
wait_in_vain(void *arg)
{
	mpipe_free(arg, mpipe_alloc_waitok(arg));
	return (NULL);
}

/* And another buffer is free already, so that this one is surplus. */
static void
what_a_cancelled_waiter_was_given_is_no_allocation(void **state)
{
	struct mpipe_stats st;
	pthread_t thread;
	void *result;
	(void)state;

	assert_int_equal(mpipe_tryinit(&d1, M_PIPE, 64, 1, 2,
			     MPF_CACHEDATA | MPF_CANCEL, NULL, NULL, NULL),
	    0);
	d1_held = mpipe_alloc_nowait(&d1);
	d1_other = mpipe_alloc_nowait(&d1);
	failsys_reset();
	failsys_before(FAILSYS_SEMWAIT, serve_and_cancel);
	assert_int_equal(pthread_create(&thread, NULL, wait_in_vain, &d1), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	failsys_reset();
	assert_ptr_equal(result, PTHREAD_CANCELED);
	st = pipe_stats(&d1);
	assert_int_equal(st.allocs, 2);
	assert_int_equal(st.hits, 1);
	assert_int_equal(st.overflow_frees, 1);
	COUNTS(&d1, 1, 1);
	assert_int_equal(stats_of(M_PIPE).inuse, 1);
	mpipe_done(&d1);
}

/* In the waiter, as if asleep: it is woken to grow, served and cancelled. */
static void
wake_serve_and_cancel(void)
{
	assert_int_equal(mpipe_resize(&d1, 1, 2), 0);
	mpipe_free(&d1, d1_held);
	(void)pthread_cancel(pthread_self());
}

static void *
wait_and_free(void *arg)
{
	int cancel;
	void *b = mpipe_alloc_waitok(arg);

	(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	assert_int_equal(cancel, PTHREAD_CANCEL_ENABLE);
	mpipe_free(arg, b);
	return (b);
}

/* It is cancelled in its sleep only, and afterwards by what it does itself. */
static void
who_was_served_is_not_cancelled_on_the_way_out(void **state)
{
	pthread_t thread;
	void *result;
	(void)state;

	assert_int_equal(mpipe_tryinit(&d1, M_PIPE, 64, 1, 1,
			     MPF_CACHEDATA | MPF_CANCEL, NULL, NULL, NULL),
	    0);
	d1_held = mpipe_alloc_nowait(&d1);
	failsys_reset();
	failsys_before(FAILSYS_SEMWAIT, wake_serve_and_cancel);
	assert_int_equal(pthread_create(&thread, NULL, wait_and_free, &d1), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	failsys_reset();
	assert_ptr_equal(result, d1_held);
	COUNTS(&d1, 1, 1);
	mpipe_done(&d1);
}

static struct waiter granted;
static bool left_early;

/* In the freer, which has given granted its buffer and will touch it again. */
static void
cancel_before_the_post(void)
{
	(void)pthread_cancel(granted.thread);
	(void)usleep(50000);
	left_early = pthread_tryjoin_np(granted.thread, NULL) == 0;
}

static void
a_cancelled_waiter_stays_until_its_freer_has_woken_it(void **state)
{
	struct malloc_pipe p;
	void *held;
	(void)state;

	assert_int_equal(mpipe_tryinit(&p, M_PIPE, 64, 1, 1,
			     MPF_CACHEDATA | MPF_CANCEL, NULL, NULL, NULL),
	    0);
	held = mpipe_alloc_nowait(&p);
	granted.pipe = &p;
	waiter_start(&granted);
	failsys_reset();
	failsys_before(FAILSYS_SEMPOST, cancel_before_the_post);
	mpipe_free(&p, held);
	failsys_reset();
	assert_false(left_early);
	assert_int_equal(pthread_join(granted.thread, NULL), 0);
	mpipe_free(&p, granted.got);
	COUNTS(&p, 1, 1);
	mpipe_done(&p);
}

static void
a_waiter_is_no_cancellation_point_unless_asked(void **state)
{
	struct waiter w = {0};
	struct malloc_pipe p;
	void *held, *result;
	(void)state;

	pipe_make(&p, 1, 1);
	held = mpipe_alloc_nowait(&p);
	w.pipe = &p;
	waiter_start(&w);
	assert_int_equal(pthread_cancel(w.thread), 0);
	(void)usleep(20000);
	mpipe_free(&p, held);
	assert_int_equal(pthread_join(w.thread, &result), 0);
	assert_ptr_not_equal(result, PTHREAD_CANCELED);
	mpipe_free(&p, w.got);
	mpipe_done(&p);
}

/* ---- waiting for none in particular ---- */

struct watcher {
	struct malloc_pipe *pipe;
	pthread_t thread;
	_Atomic pid_t tid;
};

static void *
watch(void *arg)
{
	struct watcher *w = arg;

	w->tid = gettid();
	mpipe_wait(w->pipe);
	return (NULL);
}

/* Does it sleep? */
static bool
sleeps(const struct watcher *w)
{
	char path[64], state = '?';
	FILE *f;

	if (w->tid == 0)
		return (false);
	(void)snprintf(path, sizeof(path), "/proc/self/task/%d/stat", w->tid);
	f = fopen(path, "r");
	if (f == NULL)
		return (false);
	if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
		state = '?';
	(void)fclose(f);
	return (state == 'S');
}

static void
watcher_start(struct watcher *w, struct malloc_pipe *p)
{
	*w = (struct watcher){.pipe = p};
	assert_int_equal(pthread_create(&w->thread, NULL, watch, w), 0);
	EVENTUALLY(sleeps(w));
}

static void
mpipe_wait_returns_when_a_buffer_is_free(void **state)
{
	struct malloc_pipe p;
	struct watcher w[3];
	void *b;
	(void)state;

	pipe_make(&p, 1, 5);
	mpipe_wait(&p);
	b = mpipe_alloc_nowait(&p);
	for (int n = 3; n > 0; n -= 2) {
		for (int i = 0; i < n; i++)
			watcher_start(&w[i], &p);
		mpipe_free(&p, b);
		for (int i = 0; i < n; i++)
			assert_int_equal(pthread_join(w[i].thread, NULL), 0);
		b = mpipe_alloc_nowait(&p);
	}
	mpipe_free(&p, b);
	mpipe_done(&p);
}

/* They have hardly been woken when nothing is there any more. */
static void
t31_done_ends_mpipe_wait(void **state)
{
	struct malloc_pipe p;
	struct watcher w[3];
	void *b;
	(void)state;

	for (int i = 0; i < 50; i++) {
		pipe_make(&p, 1, 1);
		b = mpipe_alloc_nowait(&p);
		for (int j = 0; j < 3; j++)
			watcher_start(&w[j], &p);
		mpipe_free(&p, b);
		mpipe_done(&p);
		for (int j = 0; j < 3; j++)
			assert_int_equal(pthread_join(w[j].thread, NULL), 0);
	}
}

static void
raising_the_limit_serves_waiters(void **state)
{
	struct waiter w1 = {0}, w2 = {0};
	struct malloc_pipe p;
	void *b;
	(void)state;

	pipe_make(&p, 1, 1);
	b = mpipe_alloc_nowait(&p);
	w1.pipe = w2.pipe = &p;
	waiter_start(&w1);
	waiter_start(&w2);
	assert_int_equal(mpipe_resize(&p, 2, 3), 0);
	mpipe_free(&p, waiter_join(&w1));
	mpipe_free(&p, waiter_join(&w2));
	mpipe_free(&p, b);
	mpipe_done(&p);
}

/* Nobody waits: no system call at all. */
static void
nobody_waits_nobody_calls_the_kernel(void **state)
{
	struct malloc_pipe p;
	(void)state;

	pipe_make(&p, 2, 2);
	mpipe_free(&p, mpipe_alloc_nowait(&p));
	failsys_reset();
	for (int i = 0; i < 200; i++)
		mpipe_free(&p, mpipe_alloc_waitok(&p));
	assert_int_equal(failsys_calls(FAILSYS_SYSCALL), 0);
	mpipe_done(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nobody_waits_nobody_calls_the_kernel),
	    cmocka_unit_test(waiters_are_served_in_the_order_of_arrival),
	    cmocka_unit_test(waits_are_counted_as_long_as_they_took),
	    cmocka_unit_test(t25_n_frees_wake_n_waiters),
	    cmocka_unit_test(t23_two_frees_in_a_row_serve_two_waiters),
	    cmocka_unit_test(t23_a_waiter_grows_the_pipe_without_a_free),
	    cmocka_unit_test(
		who_grows_in_vain_tries_again_after_longer_and_longer_pauses),
	    cmocka_unit_test(a_raised_limit_wakes_a_waiter_once),
	    cmocka_unit_test(a_waiter_that_is_woken_to_grow_does_so_at_once),
	    cmocka_unit_test(a_waiter_does_not_grow_a_pipe_that_became_full),
	    cmocka_unit_test(
		a_nowait_that_has_served_waiters_and_finds_nothing_says_so),
	    cmocka_unit_test(a_nowait_that_grows_serves_waiters_first),
	    cmocka_unit_test(t24_a_waiter_is_served_within_one_free),
	    cmocka_unit_test(
		t26_who_keeps_a_freer_out_waits_until_the_deadline),
	    cmocka_unit_test(
		t34_the_lock_is_not_held_while_buffers_are_made_or_unmade),
	    cmocka_unit_test(
		two_who_grow_a_pipe_at_once_leave_no_memory_behind),
	    cmocka_unit_test(
		d1_a_free_between_deciding_to_sleep_and_sleeping_is_not_lost),
	    cmocka_unit_test(t25_a_buffer_given_at_the_deadline_is_not_lost),
	    cmocka_unit_test(t22_no_wakeup_is_lost),
	    cmocka_unit_test(t35_a_deadline_that_has_passed_is_one_attempt),
	    cmocka_unit_test(t35_a_deadline_ends_the_wait),
	    cmocka_unit_test(
		a_deadline_beyond_the_end_of_the_clock_never_passes),
	    cmocka_unit_test(
		a_deadline_may_be_a_whole_second_or_just_before_one),
	    cmocka_unit_test(a_deadline_that_is_none_has_passed),
	    cmocka_unit_test(t35_signals_end_an_intr_and_no_waitok_or_timed),
	    cmocka_unit_test(t25_a_cancelled_waiter_leaves_the_line),
	    cmocka_unit_test(
		t25_a_buffer_given_to_a_cancelled_waiter_goes_to_the_next),
	    cmocka_unit_test(
		what_a_cancelled_waiter_was_given_is_no_allocation),
	    cmocka_unit_test(who_was_served_is_not_cancelled_on_the_way_out),
	    cmocka_unit_test(
		a_cancelled_waiter_stays_until_its_freer_has_woken_it),
	    cmocka_unit_test(a_waiter_is_no_cancellation_point_unless_asked),
	    cmocka_unit_test(mpipe_wait_returns_when_a_buffer_is_free),
	    cmocka_unit_test(t31_done_ends_mpipe_wait),
	    cmocka_unit_test(raising_the_limit_serves_waiters),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
