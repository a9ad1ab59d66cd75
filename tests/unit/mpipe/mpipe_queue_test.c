/*
 * mpipe_queue_test.c - what becomes of a buffer that is made while other things
 * happen to the pipe.
 */
#include "unit/mpipe/mpipe_test.h"

#include <semaphore.h>

static struct malloc_pipe pipe0;

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

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		what_a_waiter_makes_when_it_was_served_meanwhile_is_given_up),
	    cmocka_unit_test(
		what_is_made_for_a_request_that_was_served_meanwhile_is_given_up),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
