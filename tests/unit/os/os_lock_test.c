/*
 * os_lock_test.c - mutexes, condition variables, and the debug checks.
 */
#include "os/os_lock.h"

#include "os/os.h"
#include "support/child.h"
#include "support/failsys.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 4, ROUNDS = 20000 };

/* A mutex, and what it guards. */
struct shared {
	struct qr_mutex s_lock;
	struct qr_cond s_cond;
	unsigned long s_count;
	unsigned s_turn;
	_Atomic unsigned s_sleepers;
	_Atomic unsigned s_awake;
};

#define SHARED_INIT                                      \
	{                                                \
		.s_lock = QR_MUTEX_INIT(QR_RANK_CLIENT), \
		.s_cond = QR_COND_INIT                   \
	}

static void
start(pthread_t threads[], unsigned n, void *(*fn)(void *), void *arg)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, fn, arg), 0);
}

static void
join(pthread_t threads[], unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
}

static struct timespec
in_ms(unsigned ms)
{
	uint64_t at = os_now() + (uint64_t)ms * 1000000;

	return ((struct timespec){
	    (time_t)(at / 1000000000), (long)(at % 1000000000)});
}

/* Rounds by trying and without, and yielding now and then while inside. */
static void *
count_up(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < ROUNDS; i++) {
		if (i % 2 == 0 || !qr_mutex_tryenter(&s->s_lock))
			qr_mutex_enter(&s->s_lock);
		s->s_count++;
		if (i % 1000 == 0)
			(void)usleep(1);
		if (i % 3 == 0 || !qr_mutex_tryexit(&s->s_lock))
			qr_mutex_exit(&s->s_lock);
	}
	return (NULL);
}

static void
four_threads_exclude_one_another(void **state)
{
	struct shared s = SHARED_INIT;
	pthread_t threads[THREADS];
	(void)state;

	start(threads, THREADS, count_up, &s);
	join(threads, THREADS);
	assert_int_equal(s.s_count, THREADS * ROUNDS);
	assert_int_equal(s.s_lock.m_word, 0);
}

static void *
try_it(void *arg)
{
	struct shared *s = arg;

	s->s_awake = qr_mutex_tryenter(&s->s_lock);
	if (s->s_awake != 0)
		qr_mutex_exit(&s->s_lock);
	return (NULL);
}

static void
tryenter_takes_a_free_mutex_and_no_other(void **state)
{
	struct shared s = SHARED_INIT;
	pthread_t thread;
	(void)state;

	qr_mutex_enter(&s.s_lock);
	start(&thread, 1, try_it, &s);
	join(&thread, 1);
	assert_int_equal(s.s_awake, 0);
	qr_mutex_exit(&s.s_lock);

	start(&thread, 1, try_it, &s);
	join(&thread, 1);
	assert_int_equal(s.s_awake, 1);
}

static void
an_uncontended_mutex_makes_no_system_call(void **state)
{
	struct shared s = SHARED_INIT;
	(void)state;

	failsys_reset();
	for (int i = 0; i < 10; i++) {
		qr_mutex_enter(&s.s_lock);
		qr_mutex_exit(&s.s_lock);
		qr_cond_signal(&s.s_cond);
		qr_cond_broadcast(&s.s_cond);
	}
	assert_int_equal(failsys_calls(FAILSYS_SYSCALL), 0);
}

static void *
enter_once(void *arg)
{
	struct shared *s = arg;

	s->s_sleepers++;
	qr_mutex_enter(&s->s_lock);
	s->s_awake++;
	qr_mutex_exit(&s->s_lock);
	return (NULL);
}

static void
all_who_wait_for_a_mutex_sleep_until_they_get_it(void **state)
{
	struct shared s = SHARED_INIT;
	pthread_t threads[THREADS];
	(void)state;

	failsys_reset();
	qr_mutex_enter(&s.s_lock);
	start(threads, THREADS, enter_once, &s);
	while (s.s_sleepers < THREADS)
		(void)usleep(1000);
	(void)usleep(20000);
	assert_int_equal(s.s_awake, 0);
	assert_true(failsys_calls(FAILSYS_SYSCALL) <= 2 * THREADS);
	qr_mutex_exit(&s.s_lock);
	join(threads, THREADS);
	assert_int_equal(s.s_awake, THREADS);
}

/* First of all tests: until here the process has one thread. */
static void
a_mutex_taken_while_alone_keeps_the_first_thread_out(void **state)
{
	struct shared s = SHARED_INIT;
	pthread_t thread;
	(void)state;

	qr_mutex_enter(&s.s_lock);
	assert_false(qr_mutex_tryenter(&s.s_lock));
	qr_mutex_exit(&s.s_lock);
	qr_mutex_enter(&s.s_lock);
	start(&thread, 1, enter_once, &s);
	while (s.s_sleepers == 0)
		(void)usleep(1000);
	(void)usleep(20000);
	assert_int_equal(s.s_awake, 0);
	qr_mutex_exit(&s.s_lock);
	join(&thread, 1);
	assert_int_equal(s.s_awake, 1);
}

/* Debug builds do it all at once. */
static void
a_mutex_somebody_waits_for_is_not_left_without_waking(void **state)
{
	struct shared s = SHARED_INIT;
	(void)state;

	qr_mutex_enter(&s.s_lock);
	s.s_lock.m_word = 2;
	failsys_reset();
	failsys_only(SYS_futex);
	if (!qr_mutex_tryexit(&s.s_lock)) {
		assert_int_equal(s.s_lock.m_word, 2);
		qr_mutex_exit(&s.s_lock);
	}
	assert_int_equal(failsys_calls(FAILSYS_SYSCALL), 1);
	failsys_reset();
	assert_int_equal(s.s_lock.m_word, 0);
}

static void *
hold_for_a_while(void *arg)
{
	struct shared *s = arg;

	qr_mutex_enter(&s->s_lock);
	s->s_sleepers = 1;
	(void)usleep(50000);
	s->s_count = 1;
	qr_mutex_exit(&s->s_lock);
	return (NULL);
}

static void
a_sleep_the_kernel_refuses_is_only_a_detour(void **state)
{
	struct shared s = SHARED_INIT;
	pthread_t thread;
	(void)state;

	start(&thread, 1, hold_for_a_while, &s);
	while (s.s_sleepers == 0)
		(void)usleep(1000);
	failsys_only(SYS_futex);
	failsys_nth(FAILSYS_SYSCALL, 1, EINTR);
	qr_mutex_enter(&s.s_lock);
	assert_int_equal(s.s_count, 1);
	qr_mutex_exit(&s.s_lock);
	assert_true(failsys_calls(FAILSYS_SYSCALL) >= 2);
	failsys_reset();
	join(&thread, 1);
}

static void
a_timed_wait_ends_at_its_deadline_with_the_mutex_held(void **state)
{
	struct shared s = SHARED_INIT;
	struct timespec soon = in_ms(30), past = {0, 0};
	uint64_t begin = os_now();
	(void)state;

	qr_mutex_enter(&s.s_lock);
	while (qr_cond_timedwait(&s.s_cond, &s.s_lock, &soon))
		continue;
	assert_true(os_now() - begin >= 25000000);
	assert_false(qr_mutex_tryenter(&s.s_lock));
	assert_false(qr_cond_timedwait(&s.s_cond, &s.s_lock, &past));
	qr_mutex_exit(&s.s_lock);
	assert_int_equal(s.s_cond.c_waiters, 0);
}

static void *
wait_for_turn(void *arg)
{
	struct shared *s = arg;

	qr_mutex_enter(&s->s_lock);
	s->s_sleepers++;
	while (s->s_turn == 0)
		qr_cond_wait(&s->s_cond, &s->s_lock);
	s->s_turn--;
	s->s_awake++;
	qr_mutex_exit(&s->s_lock);
	return (NULL);
}

static void
await_sleepers(struct shared *s, unsigned n)
{
	while (s->s_sleepers < n)
		(void)usleep(1000);
	qr_mutex_enter(&s->s_lock);
	qr_mutex_exit(&s->s_lock);
}

static void
a_broadcast_wakes_all(void **state)
{
	struct shared s = SHARED_INIT;
	pthread_t threads[THREADS];
	(void)state;

	start(threads, THREADS, wait_for_turn, &s);
	await_sleepers(&s, THREADS);
	qr_mutex_enter(&s.s_lock);
	s.s_turn = THREADS;
	qr_mutex_exit(&s.s_lock);
	qr_cond_broadcast(&s.s_cond);
	join(threads, THREADS);
	assert_int_equal(s.s_awake, THREADS);
	assert_int_equal(s.s_cond.c_waiters, 0);
}

static void
each_signal_wakes_one(void **state)
{
	struct shared s = SHARED_INIT;
	pthread_t threads[THREADS];
	(void)state;

	start(threads, THREADS, wait_for_turn, &s);
	await_sleepers(&s, THREADS);
	for (unsigned i = 1; i <= THREADS; i++) {
		qr_mutex_enter(&s.s_lock);
		s.s_turn++;
		qr_cond_signal(&s.s_cond);
		qr_mutex_exit(&s.s_lock);
		while (s.s_awake < i)
			(void)usleep(1000);
	}
	join(threads, THREADS);
}

/* Take turns with the other player: wait for an odd turn, make it even. */
static void *
play(void *arg)
{
	struct shared *s = arg;

	for (int i = 0; i < ROUNDS; i++) {
		qr_mutex_enter(&s->s_lock);
		while (s->s_turn % 2 == 0)
			qr_cond_wait(&s->s_cond, &s->s_lock);
		s->s_turn++;
		qr_mutex_exit(&s->s_lock);
		qr_cond_signal(&s->s_cond);
	}
	return (NULL);
}

/*
 * A lost wake-up would leave both players asleep; the deadline turns that into
 * a failure.
 */
static void
no_wake_up_is_lost_in_twenty_thousand_turns(void **state)
{
	struct shared s = SHARED_INIT;
	struct timespec end = in_ms(60000);
	bool in_time = true;
	pthread_t thread;
	(void)state;

	start(&thread, 1, play, &s);
	for (int i = 0; i < ROUNDS && in_time; i++) {
		qr_mutex_enter(&s.s_lock);
		while (s.s_turn % 2 != 0 && in_time)
			in_time = qr_cond_timedwait(&s.s_cond, &s.s_lock, &end);
		s.s_turn++;
		if (i % 2 == 0)
			qr_cond_signal(&s.s_cond);
		qr_mutex_exit(&s.s_lock);
		if (i % 2 != 0)
			qr_cond_signal(&s.s_cond);
	}
	assert_true(in_time);
	join(&thread, 1);
	assert_int_equal(s.s_turn, 2 * ROUNDS);
}

static struct shared early = SHARED_INIT;

/* What another thread may do once the sleeper has let go of the mutex. */
static void
give_turn_early(void)
{
	failsys_before(FAILSYS_SYSCALL, NULL);
	if (!qr_mutex_tryenter(&early.s_lock))
		return;
	early.s_turn = 1;
	qr_mutex_exit(&early.s_lock);
	qr_cond_signal(&early.s_cond);
}

/* The turn comes before the first system call of the wait. */
static void
wait_for_early_turn(bool contended)
{
	struct timespec end = in_ms(10000);
	bool in_time = true;

	early = (struct shared)SHARED_INIT;
	qr_mutex_enter(&early.s_lock);
	if (contended)
		early.s_lock.m_word = 2;
	failsys_before(FAILSYS_SYSCALL, give_turn_early);
	while (early.s_turn == 0 && in_time)
		in_time = qr_cond_timedwait(&early.s_cond, &early.s_lock, &end);
	qr_mutex_exit(&early.s_lock);
	failsys_reset();
	assert_int_equal(early.s_turn, 1);
	assert_true(in_time);
}

static void
a_signal_between_letting_go_and_sleeping_is_not_lost(void **state)
{
	(void)state;
	wait_for_early_turn(false);
}

/* Letting go wakes who waits for the mutex: that is the first system call. */
static void
a_signal_at_the_moment_of_letting_go_is_not_lost(void **state)
{
	(void)state;
	wait_for_early_turn(true);
}

static void
init_frees_whatever_was_there(void **state)
{
	struct qr_mutex m = {2, 77, 77};
	struct qr_cond c = {3, 4};
	(void)state;

	qr_mutex_init(&m, QR_RANK_LOG);
	assert_int_equal(m.m_rank, QR_RANK_LOG);
	assert_true(qr_mutex_tryenter(&m));
	qr_mutex_exit(&m);

	failsys_reset();
	qr_cond_init(&c);
	qr_cond_broadcast(&c);
	assert_int_equal(failsys_calls(FAILSYS_SYSCALL), 0);
}

/* Fork with two mutexes held; the child must be able to exit them. */
static void
the_child_of_fork_may_exit_what_its_parent_entered(void **state)
{
	struct qr_mutex low = QR_MUTEX_INIT(QR_RANK_CLIENT);
	struct qr_mutex high = QR_MUTEX_INIT(QR_RANK_ARENA);
	int status;
	pid_t pid;
	(void)state;

	qr_mutex_enter(&low);
	qr_mutex_enter_nested(&high);
	pid = fork();
	assert_true(pid >= 0);
	qr_mutex_assert_held(&low);
	qr_mutex_assert_held(&high);
	qr_mutex_exit(&high);
	qr_mutex_exit(&low);
	qr_mutex_enter(&low);
	qr_mutex_exit(&low);
	if (pid == 0)
		_exit(42);

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 42);
}

#ifdef QR_DEBUG

static struct qr_mutex arena = QR_MUTEX_INIT(QR_RANK_ARENA);
static struct qr_mutex other_arena = QR_MUTEX_INIT(QR_RANK_ARENA);
static struct qr_mutex slab = QR_MUTEX_INIT(QR_RANK_SLAB);
static struct qr_mutex unranked2 = QR_MUTEX_INIT(QR_RANK_NONE);
static struct qr_mutex unranked = QR_MUTEX_INIT(QR_RANK_NONE);

/* Enter the first of two mutexes, then the second. */
static void
enter_both(void *arg)
{
	struct qr_mutex **pair = arg;

	qr_mutex_enter(pair[0]);
	qr_mutex_enter(pair[1]);
}

static void expect_abort(void (*fn)(void *), void *arg, const char *fmt, ...)
    QR_PRINTF(3, 4);

/* fn(arg) must die with this message; ranks are numbers in it. */
static void
expect_abort(void (*fn)(void *), void *arg, const char *fmt, ...)
{
	char message[128];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	child_expect_abort(fn, arg, message);
}

static void
entering_a_lower_or_equal_rank_is_fatal(void **state)
{
	struct qr_mutex *down[] = {&arena, &slab};
	struct qr_mutex *level[] = {&arena, &other_arena};
	(void)state;

	expect_abort(enter_both, down,
	    "quarry: lock of rank %d entered while one of rank %d is held",
	    QR_RANK_SLAB, QR_RANK_ARENA);
	expect_abort(enter_both, level,
	    "quarry: lock of rank %d entered while one of rank %d is held",
	    QR_RANK_ARENA, QR_RANK_ARENA);
}

static void
entering_a_mutex_twice_is_fatal(void **state)
{
	struct qr_mutex *same[] = {&unranked, &unranked};
	(void)state;

	child_expect_abort(
	    enter_both, same, "quarry: lock of rank 0 entered twice");
}

static void
enter_in_any_order_that_is_allowed(void *arg)
{
	(void)arg;
	qr_mutex_enter(&unranked);
	qr_mutex_enter(&slab);
	qr_mutex_enter(&arena);
	qr_mutex_enter_nested(&other_arena);
	qr_mutex_enter(&unranked2);
	qr_mutex_exit(&unranked2);
	/* Left out of order: what remains is still the slab's rank. */
	qr_mutex_exit(&slab);
	CHILD_CHECK(qr_mutex_tryenter(&slab));
	qr_mutex_exit(&slab);
	qr_mutex_exit(&arena);
	qr_mutex_enter(&slab);
	qr_mutex_exit(&slab);
	qr_mutex_exit(&other_arena);
	qr_mutex_exit(&unranked);
}

static void
ascending_nested_tried_and_unranked_locks_are_allowed(void **state)
{
	(void)state;
	child_expect_exit(enter_in_any_order_that_is_allowed, NULL, 0);
}

static void
exit_unheld(void *arg)
{
	qr_mutex_exit(arg);
}

static void *
enter_and_leave_held(void *arg)
{
	qr_mutex_enter(arg);
	return (NULL);
}

static void
exit_of_another_thread(void *arg)
{
	pthread_t thread;

	CHILD_CHECK(
	    pthread_create(&thread, NULL, enter_and_leave_held, arg) == 0);
	/* Not joined: the TLS of a dead thread may be another's. */
	while (qr_mutex_tryenter(arg))
		qr_mutex_exit(arg);
	qr_mutex_assert_held(arg);
}

static void
exiting_a_mutex_one_does_not_hold_is_fatal(void **state)
{
	(void)state;
	expect_abort(exit_unheld, &slab,
	    "quarry: lock of rank %d is not held by its user", QR_RANK_SLAB);
	expect_abort(exit_of_another_thread, &slab,
	    "quarry: lock of rank %d is not held by its user", QR_RANK_SLAB);
}

static void
wait_below(void *arg)
{
	struct qr_cond c = QR_COND_INIT;
	struct timespec past = {0, 0};
	(void)arg;

	qr_mutex_enter(&slab);
	qr_mutex_enter(&arena);
	(void)qr_cond_timedwait(&c, &slab, &past);
}

static void
waiting_with_a_later_lock_held_is_fatal(void **state)
{
	(void)state;
	expect_abort(wait_below, NULL,
	    "quarry: lock of rank %d entered while one of rank %d is held",
	    QR_RANK_SLAB, QR_RANK_ARENA);
}

#define DEBUG_TESTS                                                       \
	cmocka_unit_test(entering_a_lower_or_equal_rank_is_fatal),        \
	    cmocka_unit_test(entering_a_mutex_twice_is_fatal),            \
	    cmocka_unit_test(                                             \
		ascending_nested_tried_and_unranked_locks_are_allowed),   \
	    cmocka_unit_test(exiting_a_mutex_one_does_not_hold_is_fatal), \
	    cmocka_unit_test(waiting_with_a_later_lock_held_is_fatal),

#else
#define DEBUG_TESTS
#endif

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_mutex_taken_while_alone_keeps_the_first_thread_out),
	    cmocka_unit_test(four_threads_exclude_one_another),
	    cmocka_unit_test(tryenter_takes_a_free_mutex_and_no_other),
	    cmocka_unit_test(
		a_mutex_somebody_waits_for_is_not_left_without_waking),
	    cmocka_unit_test(an_uncontended_mutex_makes_no_system_call),
	    cmocka_unit_test(all_who_wait_for_a_mutex_sleep_until_they_get_it),
	    cmocka_unit_test(a_sleep_the_kernel_refuses_is_only_a_detour),
	    cmocka_unit_test(
		a_timed_wait_ends_at_its_deadline_with_the_mutex_held),
	    cmocka_unit_test(a_broadcast_wakes_all),
	    cmocka_unit_test(each_signal_wakes_one),
	    cmocka_unit_test(no_wake_up_is_lost_in_twenty_thousand_turns),
	    cmocka_unit_test(
		a_signal_between_letting_go_and_sleeping_is_not_lost),
	    cmocka_unit_test(a_signal_at_the_moment_of_letting_go_is_not_lost),
	    cmocka_unit_test(init_frees_whatever_was_there),
	    cmocka_unit_test(
		the_child_of_fork_may_exit_what_its_parent_entered),
	    DEBUG_TESTS};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
