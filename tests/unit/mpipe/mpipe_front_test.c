/*
 * mpipe_front_test.c - what CPUs keep at hand is never out of reach.
 */
#include "unit/mpipe/mpipe_test.h"

#include "mpipe/mpipe_impl.h"
#include "os/percpu.h"
#include "support/cpus.h"

#include <semaphore.h>

enum { NNOM = 64, WARM = 1000 };

static bool
is_open(struct malloc_pipe *p)
{
	bool open;

	mpipe__enter(p->handle);
	open = p->handle->mp_open;
	mpipe__exit(p->handle);
	return (open);
}

/* Use it for a while; the process has had several threads. */
static void
warm(struct malloc_pipe *p)
{
	for (int i = 0; i < WARM; i++)
		mpipe_free(p, mpipe_alloc_nowait(p));
}

/*
 * Use it until it is open, which it is the later the more often it had to be
 * closed early: a thread that is moved to another CPU takes nothing along.
 */
static void
heat(struct malloc_pipe *p)
{
	int64_t end = now_ns() + PATIENCE_S * NS_PER_S;

	do
		warm(p);
	while (percpu__restartable && !is_open(p) && now_ns() < end);
}

static void *
nothing(void *arg)
{
	return (arg);
}

static int
setup(void **state)
{
	pthread_t thread;
	(void)state;

	return (pthread_create(&thread, NULL, nothing, NULL) != 0 ||
	    pthread_join(thread, NULL) != 0);
}

struct hoard {
	struct malloc_pipe *pipe;
	_Atomic bool there, leave;
	pthread_t thread;
};

static void
take_and_free(struct malloc_pipe *p, int n)
{
	void *b[NNOM];

	for (int i = 0; i < n; i++)
		b[i] = mpipe_alloc_nowait(p);
	for (int i = 0; i < n; i++)
		mpipe_free(p, b[i]);
}

/* Some buffers are on the stacks of CPUs. */
static bool
has_hoard(struct malloc_pipe *p)
{
	return (is_open(p) && p->free_count < NNOM);
}

/*
 * Takes all, frees all, and idles on a CPU of its own, with some of them on its
 * stack.
 */
static void *
hoard_main(void *arg)
{
	struct hoard *h = arg;
	int64_t end = now_ns() + PATIENCE_S * NS_PER_S;

	cpus_move(1);
	heat(h->pipe);
	take_and_free(h->pipe, NNOM);
	do {
		heat(h->pipe);
		take_and_free(h->pipe, NNOM / 2);
	} while (percpu__restartable && !has_hoard(h->pipe) && now_ns() < end);
	h->there = true;
	while (!h->leave)
		(void)usleep(1000);
	return (NULL);
}

static void
hoard_start(struct hoard *h, struct malloc_pipe *p)
{
	*h = (struct hoard){.pipe = p};
	cpus_move(0);
	assert_int_equal(
	    mpipe_tryinit(p, M_PIPE, 64, NNOM, 0, 0, NULL, NULL, NULL), 0);
	assert_int_equal(pthread_create(&h->thread, NULL, hoard_main, h), 0);
	EVENTUALLY(h->there);
}

static void
hoard_stop(struct hoard *h)
{
	h->leave = true;
	assert_int_equal(pthread_join(h->thread, NULL), 0);
	mpipe_done(h->pipe);
	cpus_roam();
}

static void
t21_buffers_on_the_stack_of_an_idle_cpu_are_found(void **state)
{
	struct malloc_pipe p;
	struct hoard h;
	void *b[NNOM];
	(void)state;

	hoard_start(&h, &p);
	/* Else nothing is proved here. */
	assert_true(has_hoard(&p) || !percpu__restartable);
	for (int i = 0; i < NNOM; i++)
		assert_non_null(b[i] = mpipe_alloc_nowait(&p));
	assert_null(mpipe_alloc_nowait(&p));
	COUNTS(&p, 0, NNOM);
	for (int i = 0; i < NNOM; i++)
		mpipe_free(&p, b[i]);
	hoard_stop(&h);
}

static void
t33_what_a_thread_that_exited_had_at_hand_is_found(void **state)
{
	struct malloc_pipe p;
	struct hoard h;
	void *b[NNOM];
	(void)state;

	hoard_start(&h, &p);
	h.leave = true;
	assert_int_equal(pthread_join(h.thread, NULL), 0);
	for (int i = 0; i < NNOM; i++)
		assert_non_null(b[i] = mpipe_alloc_nowait(&p));
	for (int i = 0; i < NNOM; i++)
		mpipe_free(&p, b[i]);
	mpipe_done(&p);
	cpus_roam();
}

static void
statistics_are_exact_and_collect_what_cpus_have(void **state)
{
	struct mpipe_stats st;
	struct malloc_pipe p;
	struct hoard h;
	(void)state;

	hoard_start(&h, &p);
	st = pipe_stats(&p);
	assert_int_equal(st.hits, st.allocs);
	COUNTS(&p, NNOM, NNOM);
	mpipe_free(&p, mpipe_alloc_nowait(&p));
	assert_int_equal(pipe_stats(&p).allocs, st.allocs + 1);
	hoard_stop(&h);
}

static void
done_finds_what_cpus_have(void **state)
{
	struct malloc_pipe p;
	struct hoard h;
	(void)state;

	hoard_start(&h, &p);
	hoard_stop(&h);
	assert_int_equal(stats_of(M_PIPE).inuse, 0);
}

/* A free on the stack of a CPU would not be seen by who waits. */
static void
a_free_on_another_cpu_serves_a_waiter(void **state)
{
	struct waiter w = {0};
	struct malloc_pipe p;
	struct hoard h;
	void *b[NNOM];
	(void)state;

	hoard_start(&h, &p);
	heat(&p);
	for (int i = 0; i < NNOM; i++)
		assert_non_null(b[i] = mpipe_alloc_nowait(&p));
	w.pipe = &p;
	waiter_start(&w);
	cpus_move(1);
	mpipe_free(&p, b[0]);
	b[0] = waiter_join(&w);
	for (int i = 0; i < NNOM; i++)
		mpipe_free(&p, b[i]);
	hoard_stop(&h);
}

static void
a_waiter_and_an_eventfd_close_an_open_pipe(void **state)
{
	struct malloc_pipe p;
	struct hoard h;
	(void)state;

	hoard_start(&h, &p);
	heat(&p);
	assert_true(is_open(&p) || !percpu__restartable);
	mpipe_wait(&p);
	assert_true(mpipe_eventfd(&p) >= 0);
	assert_false(is_open(&p));
	warm(&p);
	assert_false(is_open(&p));
	COUNTS(&p, NNOM, NNOM);
	hoard_stop(&h);
}

/* All that is free is on the stack of the other CPU. */
static void
mpipe_wait_finds_what_another_cpu_has(void **state)
{
	struct malloc_pipe p;
	struct hoard h;
	void *b[NNOM];
	int n = 0;
	(void)state;

	hoard_start(&h, &p);
	while (is_open(&p) && p.free_count > 0)
		b[n++] = mpipe_alloc_nowait(&p);
	assert_true(is_open(&p) || !percpu__restartable);
	(void)alarm(60);
	mpipe_wait(&p);
	(void)alarm(0);
	assert_false(is_open(&p) && percpu__restartable);
	while (n-- > 0)
		mpipe_free(&p, b[n]);
	hoard_stop(&h);
}

static void
an_open_pipe_is_resized_and_grows(void **state)
{
	struct malloc_pipe p;
	struct hoard h;
	void *b[NNOM + 3];
	(void)state;

	hoard_start(&h, &p);
	heat(&p);
	assert_int_equal(mpipe_resize(&p, NNOM, NNOM + 3), 0);
	heat(&p);
	for (int i = 0; i < NNOM + 3; i++)
		assert_non_null(b[i] = mpipe_alloc_nowait(&p));
	assert_null(mpipe_alloc_nowait(&p));
	assert_int_equal(pipe_stats(&p).growths, 3);
	for (int i = 0; i < NNOM + 3; i++)
		mpipe_free(&p, b[i]);
	COUNTS(&p, NNOM, NNOM);
	heat(&p);
	assert_int_equal(mpipe_resize(&p, 1, 1), 0);
	COUNTS(&p, 1, 1);
	hoard_stop(&h);
}

static bool
is_grown(struct malloc_pipe *p)
{
	return (atomic_load(&p->handle->mp_grown));
}

/* Only where it has grown do frees look for what is surplus. */
static void
a_pipe_has_grown_until_its_surplus_is_given_up(void **state)
{
	struct malloc_pipe p;
	void *a, *b;
	(void)state;

	pipe_make(&p, 1, 2);
	assert_false(is_grown(&p));
	a = mpipe_alloc_nowait(&p);
	b = mpipe_alloc_nowait(&p);
	assert_true(is_grown(&p));
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	assert_false(is_grown(&p));
	mpipe_done(&p);
}

/* Nor is a record lost when there is no memory for its buffer. */
static void
a_record_made_in_vain_is_that_of_the_next_buffer(void **state)
{
	struct mpipe_rec *spare;
	struct malloc_pipe p;
	void *a, *b;
	(void)state;

	a = pipe_make_starved(&p, 2);
	assert_null(mpipe_alloc_nowait(&p));
	spare = p.handle->mp_spare;
	assert_non_null(spare);
	assert_null(mpipe_alloc_nowait(&p));
	assert_ptr_equal(p.handle->mp_spare, spare);
	assert_null(spare->r_next);
	kmalloc_set_unlimited(M_PIPE);
	b = mpipe_alloc_nowait(&p);
	assert_non_null(b);
	assert_null(p.handle->mp_spare);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	mpipe_done(&p);
}

static sem_t growing;
static _Atomic bool hold;

/* Fails when mpipe_done() has begun. */
static int
make_in_vain(void *buf, void *priv)
{
	struct malloc_pipe *p = priv;
	bool exiting = !hold;
	(void)buf;

	if (exiting)
		return (0);
	(void)sem_post(&growing);
	while (!exiting) {
		(void)usleep(1000);
		mpipe__enter(p->handle);
		exiting = p->handle->mp_exiting;
		mpipe__exit(p->handle);
	}
	return (EIO);
}

static void *
take_in_vain(void *arg)
{
	return (
	    mpipe_alloc_nowait(arg) == NULL ? (void *)(intptr_t)errno : NULL);
}

static void
done_waits_for_who_grows_in_vain_and_turns_it_away(void **state)
{
	struct malloc_pipe p;
	pthread_t thread;
	void *held, *error;
	(void)state;

	(void)sem_init(&growing, 0, 0);
	hold = false;
	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 64, 1, 2, 0, make_in_vain, NULL, &p), 0);
	held = mpipe_alloc_nowait(&p);
	hold = true;
	(void)alarm(60);
	assert_int_equal(pthread_create(&thread, NULL, take_in_vain, &p), 0);
	while (sem_wait(&growing) != 0)
		continue;
	mpipe_free(&p, held);
	mpipe_done(&p);
	assert_int_equal(pthread_join(thread, &error), 0);
	(void)alarm(0);
	assert_int_equal((intptr_t)error, ESHUTDOWN);
}

/* Others have all the slots: it stays shut, and serves. */
static void
without_a_slot_a_pipe_is_not_opened(void **state)
{
	static unsigned slots[PERCPU_SLOTS];
	struct malloc_pipe p;
	unsigned n = 0;
	(void)state;

	pipe_make(&p, NNOM, NNOM);
	while ((slots[n] = percpu_slot_open()) != 0)
		n++;
	for (int i = 0; i < 30; i++)
		warm(&p);
	assert_false(is_open(&p));
	COUNTS(&p, NNOM, NNOM);
	while (n-- > 0)
		percpu_slot_close(slots[n]);
	heat(&p);
	assert_true(is_open(&p) || !percpu__restartable);
	mpipe_done(&p);
}

/* By way of the lock until it is, and what is at hand is counted. */
static void
a_pipe_that_is_only_waited_for_is_opened_too(void **state)
{
	int64_t end = now_ns() + PATIENCE_S * NS_PER_S;
	struct malloc_pipe p;
	void *b[NNOM];
	(void)state;

	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 64, NNOM, 0, 0, NULL, NULL, NULL), 0);
	for (int i = 0; i < NNOM; i++)
		b[i] = mpipe_alloc_waitok(&p);
	assert_int_equal(pipe_stats(&p).outstanding_max, NNOM);
	for (int i = 0; i < NNOM; i++)
		mpipe_free(&p, b[i]);
	while (percpu__restartable && !is_open(&p)) {
		assert_true(now_ns() < end);
		for (int i = 0; i < WARM; i++) {
			void *one = mpipe_alloc_waitok(&p);

			mpipe_free(&p, one);
		}
	}
	mpipe_done(&p);
}

/* Else each of its allocations would take the lock. */
static void
who_waits_for_buffers_gives_its_cpu_some(void **state)
{
	enum { MANY = 1000 };
	static void *b[MANY];
	struct malloc_pipe p;
	int n = 0;
	(void)state;

	assert_int_equal(
	    mpipe_tryinit(&p, M_PIPE, 64, MANY, 0, 0, NULL, NULL, NULL), 0);
	while (n < MANY && p.free_count == MANY - n)
		b[n++] = mpipe_alloc_waitok(&p);
	assert_true(n < MANY || !percpu__restartable);
	while (n-- > 0)
		mpipe_free(&p, b[n]);
	mpipe_done(&p);
}

static void
t30_bad_frees_are_found_when_the_lock_is_not_taken(void **state)
{
	struct malloc_pipe p;
	struct hoard h;
	void *a, *b;
	(void)state;

	hoard_start(&h, &p);
	heat(&p);
	a = mpipe_alloc_nowait(&p);
	b = mpipe_alloc_nowait(&p);
	mpipe_free(&p, a);
	mpipe_free(&p, b);
	panic_catch();
	mpipe_free(&p, a);
	PANIC_EXPECT(
	    "mpipe_free(%p, %p): freed twice, type pipe", (void *)&p, a);
	panic_catch();
	mpipe_free(&p, b);
	PANIC_EXPECT(
	    "mpipe_free(%p, %p): freed twice, type pipe", (void *)&p, b);
	panic_catch();
	mpipe_free(&p, &p);
	PANIC_EXPECT("mpipe_free(%p, %p): not a buffer of this pipe, of type "
		     "pipe",
	    (void *)&p, (void *)&p);
	hoard_stop(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t21_buffers_on_the_stack_of_an_idle_cpu_are_found),
	    cmocka_unit_test(
		t33_what_a_thread_that_exited_had_at_hand_is_found),
	    cmocka_unit_test(statistics_are_exact_and_collect_what_cpus_have),
	    cmocka_unit_test(done_finds_what_cpus_have),
	    cmocka_unit_test(a_free_on_another_cpu_serves_a_waiter),
	    cmocka_unit_test(a_waiter_and_an_eventfd_close_an_open_pipe),
	    cmocka_unit_test(mpipe_wait_finds_what_another_cpu_has),
	    cmocka_unit_test(an_open_pipe_is_resized_and_grows),
	    cmocka_unit_test(a_pipe_has_grown_until_its_surplus_is_given_up),
	    cmocka_unit_test(a_record_made_in_vain_is_that_of_the_next_buffer),
	    cmocka_unit_test(
		done_waits_for_who_grows_in_vain_and_turns_it_away),
	    cmocka_unit_test(without_a_slot_a_pipe_is_not_opened),
	    cmocka_unit_test(a_pipe_that_is_only_waited_for_is_opened_too),
	    cmocka_unit_test(who_waits_for_buffers_gives_its_cpu_some),
	    cmocka_unit_test(
		t30_bad_frees_are_found_when_the_lock_is_not_taken),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
