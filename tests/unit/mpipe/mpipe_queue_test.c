/*
 * mpipe_queue_test.c - what becomes of a buffer that is made while other things
 * happen to the pipe.
 */
#include "unit/mpipe/mpipe_test.h"

#include <semaphore.h>

static struct malloc_pipe pipe0;
static void *held;

/* A constructor at a gate: how it answers when it is let through. */
static sem_t arrived, gate;
static _Atomic bool shut;
static _Atomic int answer, alive;

static int
make_at_gate(void *buf, void *priv)
{
	int error;
	(void)buf;
	(void)priv;

	if (shut) {
		(void)sem_post(&arrived);
		while (sem_wait(&gate) != 0)
			continue;
	}
	error = answer;
	if (error == 0)
		alive++;
	return (error);
}

static void
unmake(void *buf, void *priv)
{
	(void)buf;
	(void)priv;
	alive--;
}

static void
start(int nnom, int nmax)
{
	(void)sem_init(&arrived, 0, 0);
	(void)sem_init(&gate, 0, 0);
	shut = false;
	answer = alive = 0;
	assert_int_equal(mpipe_tryinit(&pipe0, M_PIPE, 64, nnom, nmax, 0,
			     make_at_gate, unmake, NULL),
	    0);
}

/* Wait until somebody is at the gate. */
static void
await_arrival(void)
{
	(void)alarm(3 * PATIENCE_S);
	while (sem_wait(&arrived) != 0)
		continue;
	(void)alarm(0);
}

/* The next attempt to make a buffer fails, the one after it is at the gate. */
static void
fail_once_and_await(void)
{
	await_arrival();
	answer = ENOMEM;
	(void)sem_post(&gate);
	await_arrival();
	answer = 0;
}

static void
open_gate(void)
{
	shut = false;
	(void)sem_post(&gate);
}

/* There are n buffers, all of them free, and the pipe knows each. */
static void
finish(int n)
{
	EVENTUALLY(alive == n && stats_of(M_PIPE).inuse == (unsigned)n);
	COUNTS(&pipe0, n, n);
	mpipe_done(&pipe0);
	assert_int_equal(alive, 0);
}

/* ---- surplus ---- */

static void *
take_and_give(void *arg)
{
	mpipe_free(&pipe0, mpipe_alloc_waitok(&pipe0));
	return (arg);
}

static void
what_a_waiter_makes_when_it_was_served_meanwhile_is_given_up(void **state)
{
	pthread_t other;
	void *a, *b;
	(void)state;

	start(1, 3);
	a = mpipe_alloc_nowait(&pipe0);
	b = mpipe_alloc_nowait(&pipe0);
	shut = true;
	assert_int_equal(pthread_create(&other, NULL, take_and_give, NULL), 0);
	fail_once_and_await();
	mpipe_free(&pipe0, a);
	mpipe_free(&pipe0, b);
	open_gate();
	assert_int_equal(pthread_join(other, NULL), 0);
	finish(1);
}

static _Atomic int calls;

static void
give(void *buf, void *arg)
{
	(void)arg;
	mpipe_free(&pipe0, buf);
	calls++;
}

static void
what_is_made_for_a_request_that_was_served_meanwhile_is_given_up(void **state)
{
	void *a, *b;
	(void)state;

	start(1, 3);
	calls = 0;
	a = mpipe_alloc_nowait(&pipe0);
	b = mpipe_alloc_nowait(&pipe0);
	/* The first attempt is the caller's. */
	answer = ENOMEM;
	assert_int_equal(mpipe_alloc_async(&pipe0, give, NULL, NULL), 0);
	shut = true;
	await_arrival();
	answer = 0;
	mpipe_free(&pipe0, a);
	mpipe_free(&pipe0, b);
	open_gate();
	EVENTUALLY(calls == 1);
	finish(1);
}

/* ---- a resize while the pipe grows ---- */

struct grower {
	pthread_t thread;
	void *got;
	int error;
};

static void *
grow(void *arg)
{
	struct grower *g = arg;

	g->got = mpipe_alloc_nowait(&pipe0);
	g->error = errno;
	return (NULL);
}

/* It is at the gate, and all others go through. */
static void
grower_start(struct grower *g)
{
	shut = true;
	assert_int_equal(pthread_create(&g->thread, NULL, grow, g), 0);
	await_arrival();
	shut = false;
}

static void *
grower_finish(struct grower *g, int error)
{
	answer = error;
	open_gate();
	assert_int_equal(pthread_join(g->thread, NULL), 0);
	answer = 0;
	return (g->got);
}

/* Four of four are allocated, and a fifth is being made. */
static void
grow_when_all_are_out(struct grower *g, void **b)
{
	start(4, 8);
	for (int i = 0; i < 4; i++)
		b[i] = mpipe_alloc_nowait(&pipe0);
	grower_start(g);
}

static void
free_five(void **b)
{
	for (int i = 0; i < 5; i++)
		mpipe_free(&pipe0, b[i]);
	finish(5);
}

static void
a_resize_does_not_count_on_a_buffer_that_may_not_come(void **state)
{
	struct grower g;
	void *b[5];
	(void)state;

	grow_when_all_are_out(&g, b);
	assert_int_equal(mpipe_resize(&pipe0, 5, 8), 0);
	b[4] = grower_finish(&g, ENOMEM);
	assert_non_null(b[4]);
	COUNTS(&pipe0, 0, 5);
	free_five(b);
}

/* And there are never more than nmax. */
static void
a_resize_leaves_no_room_for_a_buffer_that_is_being_made(void **state)
{
	struct grower g;
	void *b[5];
	(void)state;

	for (int error = 0; error <= ENOMEM; error += ENOMEM) {
		grow_when_all_are_out(&g, b);
		assert_int_equal(mpipe_resize(&pipe0, 5, 5), 0);
		COUNTS(&pipe0, 1, 5);
		b[4] = grower_finish(&g, error);
		assert_non_null(b[4]);
		COUNTS(&pipe0, 0, 5);
		free_five(b);
	}
}

/* A buffer that is being made is not allocated. */
static void
a_pipe_that_grows_can_be_made_smaller(void **state)
{
	struct grower g;
	void *b;
	(void)state;

	start(1, 3);
	b = mpipe_alloc_nowait(&pipe0);
	grower_start(&g);
	assert_int_equal(mpipe_resize(&pipe0, 1, 1), 0);
	COUNTS(&pipe0, 0, 1);
	assert_null(grower_finish(&g, 0));
	assert_int_equal(g.error, EAGAIN);
	COUNTS(&pipe0, 0, 1);
	mpipe_free(&pipe0, b);
	finish(1);
}

static void
a_buffer_whose_slot_was_taken_gets_another_if_there_is_one(void **state)
{
	struct grower g;
	void *b[2];
	(void)state;

	start(1, 3);
	b[0] = mpipe_alloc_nowait(&pipe0);
	grower_start(&g);
	assert_int_equal(mpipe_resize(&pipe0, 1, 1), 0);
	assert_int_equal(mpipe_resize(&pipe0, 1, 2), 0);
	b[1] = grower_finish(&g, 0);
	assert_non_null(b[1]);
	assert_int_equal(pipe_stats(&pipe0).overflow_frees, 0);
	COUNTS(&pipe0, 0, 2);
	mpipe_free(&pipe0, b[0]);
	mpipe_free(&pipe0, b[1]);
	finish(1);
}

/* ---- growing while the thread for callbacks is in one ---- */

static sem_t entered, leave;

/* Keeps the thread of the pipe, which cannot try to grow meanwhile. */
static void
hold(void *buf, void *arg)
{
	(void)sem_post(&entered);
	while (sem_wait(&leave) != 0)
		continue;
	give(buf, arg);
}

/* The same, and wait for a buffer then. */
static void
hold_and_wait(void *buf, void *arg)
{
	hold(buf, arg);
	mpipe_free(&pipe0, mpipe_alloc_waitok(&pipe0));
}

/* It is in a callback, memory is short, and a request is in line. */
static void
start_held(void (*func)(void *, void *))
{
	start(2, 8);
	calls = 0;
	(void)sem_init(&entered, 0, 0);
	(void)sem_init(&leave, 0, 0);
	assert_int_equal(mpipe_alloc_async(&pipe0, func, NULL, NULL), 0);
	while (sem_wait(&entered) != 0)
		continue;
	held = mpipe_alloc_nowait(&pipe0);
	answer = ENOMEM;
	assert_int_equal(mpipe_alloc_async(&pipe0, give, NULL, NULL), 0);
}

static void
a_thread_grows_the_pipe_for_requests_that_are_older(void **state)
{
	struct waiter w[2] = {{.pipe = &pipe0}, {.pipe = &pipe0}};
	(void)state;

	start_held(hold);
	assert_int_equal(mpipe_alloc_async(&pipe0, give, NULL, NULL), 0);
	for (int i = 0; i < 2; i++)
		waiter_start(&w[i]);
	answer = 0;
	/* The callback is waiting for this, say. */
	for (int i = 0; i < 2; i++)
		mpipe_free(&pipe0, waiter_join(&w[i]));
	assert_int_equal(calls, 0);
	mpipe_free(&pipe0, held);
	(void)sem_post(&leave);
	EVENTUALLY(calls == 3);
	finish(2);
}

/* It gives its own buffer to the first, and waits behind the second. */
static void
a_callback_that_waits_grows_the_pipe(void **state)
{
	(void)state;

	start_held(hold_and_wait);
	assert_int_equal(mpipe_alloc_async(&pipe0, give, NULL, NULL), 0);
	(void)sem_post(&leave);
	EVENTUALLY(pipe_stats(&pipe0).sleeps == 3);
	answer = 0;
	EVENTUALLY(calls == 3);
	mpipe_free(&pipe0, held);
	finish(2);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		what_a_waiter_makes_when_it_was_served_meanwhile_is_given_up),
	    cmocka_unit_test(
		what_is_made_for_a_request_that_was_served_meanwhile_is_given_up),
	    cmocka_unit_test(
		a_resize_does_not_count_on_a_buffer_that_may_not_come),
	    cmocka_unit_test(
		a_resize_leaves_no_room_for_a_buffer_that_is_being_made),
	    cmocka_unit_test(a_pipe_that_grows_can_be_made_smaller),
	    cmocka_unit_test(
		a_buffer_whose_slot_was_taken_gets_another_if_there_is_one),
	    cmocka_unit_test(
		a_thread_grows_the_pipe_for_requests_that_are_older),
	    cmocka_unit_test(a_callback_that_waits_grows_the_pipe),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
