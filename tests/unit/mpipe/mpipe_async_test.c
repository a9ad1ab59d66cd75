/*
 * mpipe_async_test.c - requests with a callback: order, cancelling, giving up;
 * and the descriptor for event loops.
 */
#include "unit/mpipe/mpipe_test.h"

#include "support/child.h"
#include "support/failsys.h"

#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- callbacks that are given a buffer ---- */

enum { REQUESTS = 20 };

static struct malloc_pipe pipe0;
static _Atomic int calls, nulls;
static _Atomic int order[REQUESTS + 1];
static _Atomic bool in_caller;
static pthread_t caller;

static void
note(void *buf, void *arg)
{
	int n = calls;

	order[n] = (int)(uintptr_t)arg;
	if (pthread_equal(pthread_self(), caller) != 0)
		in_caller = true;
	if (buf == NULL)
		nulls++;
	else
		mpipe_free(&pipe0, buf);
	calls = n + 1;
}

static void
start(int nnom, int nmax, int flags)
{
	calls = nulls = 0;
	in_caller = false;
	caller = pthread_self();
	assert_int_equal(mpipe_tryinit(&pipe0, M_PIPE, 64, nnom, nmax,
			     flags | MPF_CACHEDATA, NULL, NULL, NULL),
	    0);
}

static void
t36_requests_are_served_in_order_each_once(int flags)
{
	void *b;

	start(1, 1, flags);
	b = mpipe_alloc_nowait(&pipe0);
	for (uintptr_t i = 0; i < REQUESTS; i++)
		assert_int_equal(
		    mpipe_alloc_async(&pipe0, note, (void *)i, NULL), 0);
	assert_int_equal(calls, 0);
	assert_null(mpipe_alloc_nowait(&pipe0));
	mpipe_free(&pipe0, b);
	EVENTUALLY(calls == REQUESTS);
	for (int i = 0; i < REQUESTS; i++)
		assert_int_equal(order[i], i);
	assert_false(in_caller);
	assert_int_equal(nulls, 0);
	mpipe_done(&pipe0);
	assert_int_equal(calls, REQUESTS);
}

static void
a_request_without_a_callback_is_refused(void **state)
{
	uint64_t ticket = 42;
	void *b;
	(void)state;

	start(1, 1, 0);
	for (int i = 0; i < 2; i++) {
		b = i == 0 ? NULL : mpipe_alloc_nowait(&pipe0);
		assert_int_equal(
		    mpipe_alloc_async(&pipe0, NULL, NULL, &ticket), EINVAL);
		errno = 0;
		assert_null(mpipe_alloc_callback(&pipe0, NULL, NULL, NULL));
		assert_int_equal(errno, EINVAL);
	}
	assert_int_equal(ticket, 42);
	mpipe_free(&pipe0, b);
	mpipe_done(&pipe0);
}

static void
t36_async_with_and_without_the_flag(void **state)
{
	(void)state;
	t36_requests_are_served_in_order_each_once(0);
	t36_requests_are_served_in_order_each_once(MPF_CALLBACK);
}

static void
a_request_is_served_at_once_by_the_thread(void **state)
{
	(void)state;
	start(2, 2, 0);
	for (uintptr_t i = 0; i < 3; i++)
		assert_int_equal(
		    mpipe_alloc_async(&pipe0, note, (void *)i, NULL), 0);
	EVENTUALLY(calls == 3);
	assert_int_equal(order[2], 2);
	assert_false(in_caller);
	mpipe_done(&pipe0);
}

static void
a_request_that_waited_is_no_hit(void **state)
{
	struct mpipe_stats st;
	void *b;
	(void)state;

	start(1, 1, 0);
	b = mpipe_alloc_nowait(&pipe0);
	assert_int_equal(mpipe_alloc_async(&pipe0, note, NULL, NULL), 0);
	mpipe_free(&pipe0, b);
	EVENTUALLY(calls == 1);
	st = pipe_stats(&pipe0);
	assert_int_equal(st.allocs, 2);
	assert_int_equal(st.hits, 1);
	mpipe_done(&pipe0);
}

static void
a_cancelled_request_is_not_called(void **state)
{
	uint64_t ticket[4];
	void *b;
	(void)state;

	start(1, 1, 0);
	b = mpipe_alloc_nowait(&pipe0);
	for (uintptr_t i = 0; i < 4; i++)
		assert_int_equal(
		    mpipe_alloc_async(&pipe0, note, (void *)i, &ticket[i]), 0);
	assert_int_equal(mpipe_cancel(&pipe0, ticket[1]), 1);
	assert_int_equal(mpipe_cancel(&pipe0, ticket[1]), 0);
	assert_int_equal(mpipe_cancel(&pipe0, 12345), 0);
	mpipe_free(&pipe0, b);
	EVENTUALLY(calls == 3);
	assert_int_equal(order[0], 0);
	assert_int_equal(order[1], 2);
	assert_int_equal(order[2], 3);
	assert_int_equal(mpipe_cancel(&pipe0, ticket[0]), 0);
	mpipe_done(&pipe0);
	assert_int_equal(calls, 3);
}

/* Threads and requests stand in one line. */
static void
requests_and_threads_are_served_in_one_order(void **state)
{
	struct waiter w1 = {.pipe = &pipe0}, w2 = {.pipe = &pipe0};
	void *b;
	(void)state;

	start(1, 1, 0);
	b = mpipe_alloc_nowait(&pipe0);
	waiter_start(&w1);
	assert_int_equal(mpipe_alloc_async(&pipe0, note, NULL, NULL), 0);
	waiter_start(&w2);
	mpipe_free(&pipe0, b);
	b = waiter_join(&w1);
	assert_int_equal(calls, 0);
	assert_null(w2.got);
	mpipe_free(&pipe0, b);
	b = waiter_join(&w2);
	EVENTUALLY(calls == 1);
	mpipe_free(&pipe0, b);
	mpipe_done(&pipe0);
}

static sem_t entered, leave;

/* Keeps the thread of the pipe busy. */
static void
block(void *buf, void *arg)
{
	(void)sem_post(&entered);
	while (sem_wait(&leave) != 0)
		continue;
	note(buf, arg);
}

static void *
release(void *arg)
{
	(void)usleep(50000);
	(void)sem_post(&leave);
	return (arg);
}

static void
t31_done_cancels_what_is_queued_each_exactly_once(void **state)
{
	pthread_t thread;
	(void)state;

	start(4, 4, 0);
	(void)sem_init(&entered, 0, 0);
	(void)sem_init(&leave, 0, 0);
	assert_int_equal(mpipe_alloc_async(&pipe0, block, NULL, NULL), 0);
	while (sem_wait(&entered) != 0)
		continue;
	for (uintptr_t i = 1; i < 4; i++)
		assert_int_equal(
		    mpipe_alloc_async(&pipe0, note, (void *)i, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, release, NULL), 0);
	/* Waits for the one that runs; the rest was not called yet. */
	mpipe_done(&pipe0);
	assert_int_equal(calls, 4);
	assert_int_equal(nulls, 3);
	for (int i = 0; i < 4; i++)
		assert_int_equal(order[i], i);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(stats_of(M_PIPE).inuse, 0);
}

static void *_Atomic blocked;

static void
block_with(void *buf, void *arg)
{
	blocked = buf;
	block(NULL, arg);
}

/* All buffers are due to others, who were not called yet. */
static void
t31_done_cancels_who_waits_behind_those_that_are_served(void **state)
{
	pthread_t thread;
	(void)state;

	start(1, 1, 0);
	assert_int_equal(mpipe_alloc_async(&pipe0, block_with, NULL, NULL), 0);
	while (sem_wait(&entered) != 0)
		continue;
	for (uintptr_t i = 1; i < 4; i++)
		assert_int_equal(
		    mpipe_alloc_async(&pipe0, note, (void *)i, NULL), 0);
	mpipe_free(&pipe0, blocked);
	assert_int_equal(pthread_create(&thread, NULL, release, NULL), 0);
	mpipe_done(&pipe0);
	assert_int_equal(calls, 4);
	assert_int_equal(nulls, 4);
	for (int i = 0; i < 4; i++)
		assert_int_equal(order[i], i);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(stats_of(M_PIPE).inuse, 0);
}

/* All buffers are due to requests, and a thread is in line behind them. */
static void
done_while_a_thread_waits_is_named_and_does_nothing(void **state)
{
	struct waiter w = {.pipe = &pipe0};
	pthread_t thread;
	(void)state;

	start(1, 1, 0);
	(void)sem_init(&entered, 0, 0);
	(void)sem_init(&leave, 0, 0);
	assert_int_equal(mpipe_alloc_async(&pipe0, block_with, NULL, NULL), 0);
	while (sem_wait(&entered) != 0)
		continue;
	for (uintptr_t i = 1; i < 3; i++)
		assert_int_equal(
		    mpipe_alloc_async(&pipe0, note, (void *)i, NULL), 0);
	mpipe_free(&pipe0, blocked);
	waiter_start(&w);
	assert_int_equal(pthread_create(&thread, NULL, release, NULL), 0);
	panic_catch();
	mpipe_done(&pipe0);
	PANIC_EXPECT("mpipe_done(%p): a thread waits for a buffer of type pipe",
	    (void *)&pipe0);
	/* All of them are served after all. */
	mpipe_free(&pipe0, waiter_join(&w));
	EVENTUALLY(calls == 3);
	assert_int_equal(nulls, 1);
	assert_int_equal(pthread_join(thread, NULL), 0);
	mpipe_done(&pipe0);
	assert_int_equal(stats_of(M_PIPE).inuse, 0);
}

/* Memory was short, nobody waits as a thread, and nothing is freed. */
static void
a_request_grows_the_pipe_without_a_free(void **state)
{
	void *b;
	(void)state;

	start(1, 2, 0);
	b = mpipe_alloc_nowait(&pipe0);
	pipes_starve();
	assert_int_equal(mpipe_alloc_async(&pipe0, note, NULL, NULL), 0);
	(void)usleep(30000);
	assert_int_equal(calls, 0);
	kmalloc_set_unlimited(M_PIPE);
	EVENTUALLY(calls == 1);
	mpipe_free(&pipe0, b);
	mpipe_done(&pipe0);
}

static _Atomic bool refuse;

static int
make_or_not(void *buf, void *priv)
{
	(void)buf;
	(void)priv;
	return (refuse ? EIO : 0);
}

/* The pipe was full for a while, so that there was nothing to try. */
static void
a_request_grows_the_pipe_when_the_limit_is_raised_again(void **state)
{
	void *b;
	(void)state;

	calls = nulls = 0;
	refuse = false;
	assert_int_equal(
	    mpipe_tryinit(&pipe0, M_PIPE, 64, 1, 2, 0, make_or_not, NULL, NULL),
	    0);
	b = mpipe_alloc_nowait(&pipe0);
	refuse = true;
	assert_int_equal(mpipe_alloc_async(&pipe0, note, NULL, NULL), 0);
	EVENTUALLY(mpipe_resize(&pipe0, 1, 1) == 0);
	(void)usleep(50000);
	refuse = false;
	assert_int_equal(mpipe_resize(&pipe0, 1, 2), 0);
	EVENTUALLY(calls == 1);
	mpipe_free(&pipe0, b);
	mpipe_done(&pipe0);
}

/* ---- callbacks that allocate ---- */

static _Atomic bool greedy;

static void
take(void *arg1, void *arg2)
{
	void *b = greedy ? mpipe_alloc_nowait(arg2) : NULL;

	note(b, arg1);
}

static void
t36_a_callback_is_never_called_when_a_buffer_is_returned(void **state)
{
	void *b;
	(void)state;

	start(1, 1, 0);
	b = mpipe_alloc_callback(&pipe0, take, NULL, &pipe0);
	assert_non_null(b);
	mpipe_free(&pipe0, b);
	(void)usleep(10000);
	assert_int_equal(calls, 0);
	mpipe_done(&pipe0);
	assert_int_equal(calls, 0);
}

/* Each finds a buffer, though a thread takes whatever it can get. */
static void
t36_callbacks_are_called_in_order_and_can_allocate(void **state)
{
	void *b;
	(void)state;

	for (int round = 0; round < 2; round++) {
		greedy = round == 0;
		start(1, 1, MPF_CALLBACK);
		b = mpipe_alloc_nowait(&pipe0);
		for (uintptr_t i = 0; i < REQUESTS; i++) {
			errno = 0;
			assert_null(mpipe_alloc_callback(
			    &pipe0, take, (void *)i, &pipe0));
			assert_int_equal(errno, EINPROGRESS);
		}
		mpipe_free(&pipe0, b);
		EVENTUALLY(calls == REQUESTS);
		for (int i = 0; i < REQUESTS; i++)
			assert_int_equal(order[i], i);
		assert_int_equal(nulls, greedy ? 0 : REQUESTS);
		EVENTUALLY(
		    pipe_stats(&pipe0).allocs == 1 + (greedy ? REQUESTS : 0));
		mpipe_done(&pipe0);
		assert_int_equal(calls, REQUESTS);
	}
}

static void
done_within(void *buf, void *arg)
{
	(void)arg;
	mpipe_free(&pipe0, buf);
	mpipe_done(&pipe0);
}

static void
call_done_within(void *arg)
{
	(void)arg;
	mpipe_init(&pipe0, M_PIPE, 64, 1, 1, 0, NULL, NULL, NULL);
	(void)mpipe_alloc_async(&pipe0, done_within, NULL, NULL);
	(void)pause();
}

static void
done_by_a_callback_is_named(void **state)
{
	(void)state;
	child_expect_abort_like(call_done_within, NULL,
	    "mpipe_done(*): called by a callback of the pipe");
}

static void
give_back_another(void *another, void *arg)
{
	(void)arg;
	mpipe_free(&pipe0, another);
	calls++;
}

/* The pipe has what it keeps by then. */
static void
what_a_callback_does_not_take_may_be_surplus(void **state)
{
	void *a, *b;
	(void)state;

	start(1, 2, MPF_CALLBACK);
	a = mpipe_alloc_nowait(&pipe0);
	b = mpipe_alloc_nowait(&pipe0);
	assert_null(mpipe_alloc_callback(&pipe0, give_back_another, b, NULL));
	mpipe_free(&pipe0, a);
	EVENTUALLY(pipe_stats(&pipe0).overflow_frees == 1);
	assert_int_equal(calls, 1);
	COUNTS(&pipe0, 1, 1);
	mpipe_done(&pipe0);
}

static int
fail_once(void *buf, void *priv)
{
	int *left = priv;
	(void)buf;

	return ((*left)-- > 0 ? ENOMEM : 0);
}

/* What there was no memory for at first there may be a moment later. */
static void
a_callback_is_not_called_when_the_second_attempt_succeeds(void **state)
{
	int left = 0;
	void *a, *b;
	(void)state;

	calls = 0;
	assert_int_equal(
	    mpipe_tryinit(&pipe0, M_PIPE, 64, 1, 2,
		MPF_CACHEDATA | MPF_CALLBACK, fail_once, NULL, &left),
	    0);
	a = mpipe_alloc_nowait(&pipe0);
	left = 1;
	b = mpipe_alloc_callback(&pipe0, take, NULL, &pipe0);
	assert_non_null(b);
	mpipe_free(&pipe0, a);
	mpipe_free(&pipe0, b);
	mpipe_done(&pipe0);
	assert_int_equal(calls, 0);
}

static void
without_a_thread_there_are_no_requests(void **state)
{
	void *b;
	(void)state;

	start(1, 1, 0);
	b = mpipe_alloc_nowait(&pipe0);
	failsys_nth(FAILSYS_THREAD, 1, EAGAIN);
	assert_int_equal(mpipe_alloc_async(&pipe0, note, NULL, NULL), EAGAIN);
	failsys_reset();
	assert_int_equal(mpipe_alloc_async(&pipe0, note, NULL, NULL), 0);
	mpipe_free(&pipe0, b);
	EVENTUALLY(calls == 1);
	mpipe_done(&pipe0);
	assert_int_equal(nulls, 0);
}

/* ---- the eventfd ---- */

static bool
readable(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return (poll(&pfd, 1, 0) == 1 && pfd.revents == POLLIN);
}

static void
t37_the_eventfd_is_readable_while_a_nowait_would_succeed(void **state)
{
	struct malloc_pipe p;
	void *b[3];
	int fd;
	(void)state;

	pipe_make(&p, 2, 3);
	fd = mpipe_eventfd(&p);
	assert_true(fd >= 0);
	assert_int_equal(mpipe_eventfd(&p), fd);
	for (int i = 0; i < 3; i++) {
		assert_true(readable(fd));
		assert_true(readable(fd));
		assert_non_null(b[i] = mpipe_alloc_nowait(&p));
	}
	assert_false(readable(fd));
	assert_null(mpipe_alloc_nowait(&p));
	for (int i = 0; i < 20; i++) {
		mpipe_free(&p, b[0]);
		assert_true(readable(fd));
		b[0] = mpipe_alloc_nowait(&p);
		assert_false(readable(fd));
	}
	assert_int_equal(mpipe_resize(&p, 2, 4), 0);
	assert_true(readable(fd));
	assert_int_equal(mpipe_resize(&p, 2, 3), 0);
	assert_false(readable(fd));

	/* A buffer that is handed over is never free. */
	struct waiter w = {.pipe = &p};

	waiter_start(&w);
	mpipe_free(&p, b[0]);
	b[0] = waiter_join(&w);
	assert_false(readable(fd));
	for (int i = 0; i < 3; i++)
		mpipe_free(&p, b[i]);
	assert_true(readable(fd));
	mpipe_done(&p);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static void *
free_while_cancelled(void *arg)
{
	struct waiter *w = arg;

	(void)pthread_cancel(pthread_self());
	mpipe_free(w->pipe, w->got);
	w->got = mpipe_alloc_nowait(w->pipe);
	mpipe_free(w->pipe, w->got);
	w->got = NULL;
	pthread_testcancel();
	return (NULL);
}

static void
who_tells_the_eventfd_is_not_cancelled_in_the_middle(void **state)
{
	struct malloc_pipe p;
	struct waiter w = {.pipe = &p};
	pthread_t thread;
	void *end;
	int fd;
	(void)state;

	pipe_make(&p, 1, 1);
	fd = mpipe_eventfd(&p);
	w.got = mpipe_alloc_nowait(&p);
	assert_false(readable(fd));
	assert_int_equal(
	    pthread_create(&thread, NULL, free_while_cancelled, &w), 0);
	assert_int_equal(pthread_join(thread, &end), 0);
	assert_ptr_equal(end, PTHREAD_CANCELED);
	assert_null(w.got);
	assert_true(readable(fd));
	mpipe_done(&p);
}

/* Room to grow but no memory: an event loop must not spin. */
static void
t37_the_eventfd_is_not_readable_when_memory_is_short(void **state)
{
	struct malloc_pipe p;
	void *b;
	int fd;
	(void)state;

	pipe_make(&p, 1, 2);
	fd = mpipe_eventfd(&p);
	b = mpipe_alloc_nowait(&p);
	pipes_starve();
	assert_true(readable(fd));
	assert_null(mpipe_alloc_nowait(&p));
	assert_false(readable(fd));
	kmalloc_set_unlimited(M_PIPE);
	mpipe_free(&p, b);
	assert_true(readable(fd));
	/* There is something to try again. */
	b = mpipe_alloc_nowait(&p);
	assert_true(readable(fd));
	mpipe_free(&p, b);
	mpipe_done(&p);
}

static void
without_descriptors_there_is_no_eventfd(void **state)
{
	struct rlimit before, none;
	struct malloc_pipe p;
	int fd;
	(void)state;

	pipe_make(&p, 1, 1);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	errno = 0;
	fd = mpipe_eventfd(&p);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(fd, -1);
	assert_int_equal(errno, EMFILE);
	assert_true(readable(mpipe_eventfd(&p)));
	mpipe_done(&p);
}

static void
the_eventfd_may_be_descriptor_0(void **state)
{
	struct malloc_pipe p;
	int input = dup(0);
	void *b;
	(void)state;

	(void)close(0);
	pipe_make(&p, 1, 1);
	assert_int_equal(mpipe_eventfd(&p), 0);
	for (int i = 0; i < 3; i++) {
		assert_true(readable(0));
		b = mpipe_alloc_nowait(&p);
		assert_false(readable(0));
		mpipe_free(&p, b);
	}
	mpipe_done(&p);
	if (input > 0) {
		assert_int_equal(dup2(input, 0), 0);
		(void)close(input);
	}
}

struct looper {
	struct malloc_pipe *pipe;
	_Atomic int rounds;
};

static void *
loop(void *arg)
{
	struct looper *l = arg;
	struct pollfd pfd = {.fd = mpipe_eventfd(l->pipe), .events = POLLIN};

	while (l->rounds < 2000) {
		void *b;

		if (poll(&pfd, 1, PATIENCE_S * 1000) != 1)
			break;
		b = mpipe_alloc_nowait(l->pipe);
		if (b == NULL)
			continue;
		l->rounds++;
		mpipe_free(l->pipe, b);
	}
	return (NULL);
}

/* Several loops for one buffer: none of them sleeps for ever. */
static void
t37_event_loops_share_a_pipe(void **state)
{
	struct malloc_pipe p;
	struct looper l[3];
	pthread_t t[3];
	(void)state;

	pipe_make(&p, 1, 1);
	for (int i = 0; i < 3; i++) {
		l[i] = (struct looper){&p, 0};
		assert_int_equal(pthread_create(&t[i], NULL, loop, &l[i]), 0);
	}
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(t[i], NULL), 0);
		assert_int_equal(l[i].rounds, 2000);
	}
	mpipe_done(&p);
}

/* ---- fork ---- */

static void
live_on(void *arg)
{
	struct malloc_pipe *p = arg;
	void *b;

	/* Requests and descriptor are the parent's. */
	calls = 0;
	CHILD_CHECK(mpipe_alloc_nowait(p) == NULL);
	CHILD_CHECK(mpipe_resize(p, 1, 2) == 0);
	b = mpipe_alloc_nowait(p);
	CHILD_CHECK(b != NULL);
	CHILD_CHECK(readable(mpipe_eventfd(p)) == false);
	mpipe_free(p, b);
	CHILD_CHECK(mpipe_alloc_async(p, note, NULL, NULL) == 0);
	while (calls == 0)
		(void)usleep(1000);
	CHILD_CHECK(calls == 1 && nulls == 0);
}

static void
find_the_gift(void *pipe)
{
	void *b = mpipe_alloc_nowait(pipe);

	CHILD_CHECK(b != NULL);
	mpipe_free(pipe, b);
	CHILD_CHECK(pipe_stats(pipe).allocs == 2);
}

static void
fork_before_it_is_taken(void *pipe, void *arg)
{
	(void)arg;
	child_expect_exit(find_the_gift, pipe, 0);
	calls++;
}

static void
what_a_callback_may_take_is_free_in_the_child(void **state)
{
	void *b;
	(void)state;

	start(1, 1, MPF_CALLBACK);
	b = mpipe_alloc_nowait(&pipe0);
	assert_null(mpipe_alloc_callback(
	    &pipe0, fork_before_it_is_taken, &pipe0, NULL));
	mpipe_free(&pipe0, b);
	EVENTUALLY(calls == 1);
	mpipe_done(&pipe0);
}

/* Seven buffers were due to requests, and nnom is 2. */
static void
have_no_more_than_nnom(void *pipe)
{
	struct malloc_pipe *p = pipe;

	CHILD_CHECK(p->free_count == 2 && p->total_count == 3);
	CHILD_CHECK(pipe_stats(p).overflow_frees == 5);
	CHILD_CHECK(stats_of(M_PIPE).inuse == 3);
	mpipe_free(p, blocked);
	CHILD_CHECK(p->free_count == 2 && p->total_count == 2);
	mpipe_done(p);
	CHILD_CHECK(stats_of(M_PIPE).inuse == 0);
}

/* It is the first that the child does. */
static void
give_all_up(void *pipe)
{
	mpipe_free(pipe, blocked);
	mpipe_done(pipe);
	CHILD_CHECK(stats_of(M_PIPE).inuse == 0);
}

static void
what_was_due_to_requests_may_be_surplus_in_the_child(void **state)
{
	(void)state;
	start(2, 8, 0);
	(void)sem_init(&entered, 0, 0);
	(void)sem_init(&leave, 0, 0);
	assert_int_equal(mpipe_alloc_async(&pipe0, block_with, NULL, NULL), 0);
	while (sem_wait(&entered) != 0)
		continue;
	for (uintptr_t i = 1; i < 8; i++)
		assert_int_equal(
		    mpipe_alloc_async(&pipe0, note, (void *)i, NULL), 0);
	child_expect_exit(have_no_more_than_nnom, &pipe0, 0);
	child_expect_exit(give_all_up, &pipe0, 0);
	(void)sem_post(&leave);
	EVENTUALLY(calls == 8);
	mpipe_free(&pipe0, blocked);
	mpipe_done(&pipe0);
}

static void
the_child_of_fork_has_the_pipe_and_not_the_requests(void **state)
{
	void *b;
	int fd;
	(void)state;

	start(1, 1, 0);
	fd = mpipe_eventfd(&pipe0);
	b = mpipe_alloc_nowait(&pipe0);
	assert_int_equal(mpipe_alloc_async(&pipe0, note, NULL, NULL), 0);
	child_expect_exit(live_on, &pipe0, 0);
	assert_false(readable(fd));
	assert_int_equal(calls, 0);
	mpipe_free(&pipe0, b);
	EVENTUALLY(calls == 1);
	assert_true(readable(fd));
	mpipe_done(&pipe0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t36_async_with_and_without_the_flag),
	    cmocka_unit_test(a_request_without_a_callback_is_refused),
	    cmocka_unit_test(a_request_is_served_at_once_by_the_thread),
	    cmocka_unit_test(a_request_that_waited_is_no_hit),
	    cmocka_unit_test(a_cancelled_request_is_not_called),
	    cmocka_unit_test(requests_and_threads_are_served_in_one_order),
	    cmocka_unit_test(t31_done_cancels_what_is_queued_each_exactly_once),
	    cmocka_unit_test(
		t31_done_cancels_who_waits_behind_those_that_are_served),
	    cmocka_unit_test(
		done_while_a_thread_waits_is_named_and_does_nothing),
	    cmocka_unit_test(a_request_grows_the_pipe_without_a_free),
	    cmocka_unit_test(
		a_request_grows_the_pipe_when_the_limit_is_raised_again),
	    cmocka_unit_test(
		t36_a_callback_is_never_called_when_a_buffer_is_returned),
	    cmocka_unit_test(
		t36_callbacks_are_called_in_order_and_can_allocate),
	    cmocka_unit_test(done_by_a_callback_is_named),
	    cmocka_unit_test(what_a_callback_does_not_take_may_be_surplus),
	    cmocka_unit_test(
		a_callback_is_not_called_when_the_second_attempt_succeeds),
	    cmocka_unit_test(without_a_thread_there_are_no_requests),
	    cmocka_unit_test(without_descriptors_there_is_no_eventfd),
	    cmocka_unit_test(what_a_callback_may_take_is_free_in_the_child),
	    cmocka_unit_test(
		what_was_due_to_requests_may_be_surplus_in_the_child),
	    cmocka_unit_test(
		t37_the_eventfd_is_readable_while_a_nowait_would_succeed),
	    cmocka_unit_test(
		t37_the_eventfd_is_not_readable_when_memory_is_short),
	    cmocka_unit_test(the_eventfd_may_be_descriptor_0),
	    cmocka_unit_test(
		who_tells_the_eventfd_is_not_cancelled_in_the_middle),
	    cmocka_unit_test(t37_event_loops_share_a_pipe),
	    cmocka_unit_test(
		the_child_of_fork_has_the_pipe_and_not_the_requests),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
