/*
 * vmem_wait_test.c - sleeping, and what wakes.
 */
#define _GNU_SOURCE 1 /* pthread_timedjoin_np, _Fork */

#include "unit/vmem/vmem_test.h"

#include "meta/meta.h"
#include "os/os.h"
#include "vmem/vmem_impl.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { Q = 0x1000, PATIENCE_S = 20 };

/* A request that sleeps, in a thread of its own. */
struct sleeper {
	vmem_t *vm;
	const char *name; /* of the arena */
	size_t size;
	uintptr_t min, max;
	pthread_t thread;
	void *got;
};

static void *
sleeper_main(void *arg)
{
	struct sleeper *s = arg;

	s->got = s->min == 0 && s->max == 0
	    ? vmem_alloc(s->vm, s->size, VM_SLEEP)
	    : vmem_xalloc(
		  s->vm, s->size, 0, 0, 0, P(s->min), P(s->max), VM_SLEEP);
	return (NULL);
}

/* Start it, and return when it sleeps. */
static void
sleeper_start(struct sleeper *s)
{
	uint64_t waits = stat_of(s->name).vs_wait;
	uint64_t end = os_now() + PATIENCE_S * UINT64_C(1000000000);

	assert_int_equal(pthread_create(&s->thread, NULL, sleeper_main, s), 0);
	while (stat_of(s->name).vs_wait == waits) {
		assert_true(os_now() < end);
		(void)usleep(1000);
	}
}

/* It must wake up and have got something. */
static void *
sleeper_join(struct sleeper *s)
{
	struct timespec end;

	(void)clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	assert_int_equal(pthread_timedjoin_np(s->thread, NULL, &end), 0);
	assert_non_null(s->got);
	return (s->got);
}

static vmem_t *
named(const char *name, uintptr_t base, size_t size, vmem_t *source)
{
	vmem_t *vm = vmem_create(name, P(base), size, Q,
	    source == NULL ? NULL : vmem_alloc,
	    source == NULL ? NULL : vmem_free, source, 0, VM_NOSLEEP);

	assert_non_null(vm);
	return (vm);
}

static void
expect_to_wake_in(size_t quanta)
{
	vmem_t *vm = named("a", Q, quanta * Q, NULL);
	struct sleeper s = {vm, "a", (quanta - 1) * Q, 0, 0, 0, NULL};
	void *p = vmem_alloc(vm, Q, VM_NOSLEEP);
	void *q = vmem_alloc(vm, Q, VM_NOSLEEP);

	sleeper_start(&s);
	vmem_free(vm, q, Q);
	assert_addr_equal(sleeper_join(&s), 2 * Q);
	vmem_free(vm, p, Q);
	vmem_free(vm, s.got, s.size);
	done(vm);
}

/* Of small spans and large ones. */
static void
t26_a_free_wakes_a_sleeper(void **state)
{
	(void)state;
	expect_to_wake_in(4);
	expect_to_wake_in(1000);
}

static void
t26_an_added_span_wakes_a_sleeper(void **state)
{
	vmem_t *vm = named("a", Q, Q, NULL);
	struct sleeper s = {vm, "a", 2 * Q, 0, 0, 0, NULL};
	(void)state;

	sleeper_start(&s);
	assert_non_null(vmem_add(vm, P(16 * Q), 2 * Q, VM_NOSLEEP));
	assert_addr_equal(sleeper_join(&s), 16 * Q);
	vmem_free(vm, s.got, 2 * Q);
	done(vm);
}

static void
t26_a_released_import_wakes_sleepers_in_other_arenas(void **state)
{
	vmem_t *source = named("source", Q, 4 * Q, NULL);
	vmem_t *holder = named("holder", 0, 0, source);
	vmem_t *middle = named("middle", 0, 0, source);
	vmem_t *leaf = named("leaf", 0, 0, middle);
	struct sleeper sibling = {middle, "middle", Q, 0, 0, 0, NULL};
	struct sleeper below = {leaf, "leaf", Q, 0, 0, 0, NULL};
	struct sleeper at_source = {source, "source", Q, 0, 0, 0, NULL};
	void *p = vmem_alloc(holder, 4 * Q, VM_NOSLEEP);
	(void)state;

	sleeper_start(&sibling);
	sleeper_start(&below);
	sleeper_start(&at_source);
	vmem_free(holder, p, 4 * Q);
	(void)sleeper_join(&sibling);
	(void)sleeper_join(&below);
	(void)sleeper_join(&at_source);
	vmem_free(middle, sibling.got, Q);
	vmem_free(leaf, below.got, Q);
	vmem_free(source, at_source.got, Q);
	assert_int_equal(vmem_size(source, VMEM_FREE), 4 * Q);
	done(leaf);
	done(middle);
	done(holder);
	done(source);
}

static void
t26_a_free_here_wakes_a_sleeper_whose_import_failed(void **state)
{
	vmem_t *source = named("source", 4 * Q, 4 * Q, NULL);
	vmem_t *vm = named("a", 64 * Q, 2 * Q, source);
	struct sleeper s = {vm, "a", 2 * Q, 0, 0, 0, NULL};
	void *all = vmem_alloc(source, 4 * Q, VM_NOSLEEP);
	void *p = vmem_alloc(vm, 2 * Q, VM_NOSLEEP);
	(void)state;

	sleeper_start(&s);
	vmem_free(vm, p, 2 * Q);
	assert_addr_equal(sleeper_join(&s), 64 * Q);
	vmem_free(vm, s.got, 2 * Q);
	vmem_free(source, all, 4 * Q);
	done(vm);
	done(source);
}

static void
a_raised_limit_wakes_a_sleeper(void **state)
{
	vmem_t *source = named("source", 4 * Q, 64 * Q, NULL);
	vmem_t *vm = named("a", 0, 0, source);
	struct sleeper s = {vm, "a", 4 * Q, 0, 0, 0, NULL};
	(void)state;

	assert_int_equal(vmem_set_limit(vm, 2 * Q), 0);
	sleeper_start(&s);
	assert_int_equal(vmem_set_limit(vm, 4 * Q), 0);
	vmem_free(vm, sleeper_join(&s), 4 * Q);
	done(vm);
	done(source);
}

static void
a_sleeper_for_one_address_gets_that_one(void **state)
{
	vmem_t *vm = named("a", Q, 4 * Q, NULL);
	struct sleeper s = {vm, "a", Q, 3 * Q, 4 * Q, 0, NULL};
	(void)state;

	for (unsigned i = 1; i <= 4; i++)
		assert_addr_equal(
		    vmem_alloc(vm, Q, VM_NOSLEEP | VM_FIRSTFIT), i * Q);
	sleeper_start(&s);
	vmem_free(vm, P(2 * Q), Q);
	vmem_free(vm, P(4 * Q), Q);
	vmem_free(vm, P(3 * Q), Q);
	assert_addr_equal(sleeper_join(&s), 3 * Q);
	vmem_free(vm, P(Q), Q);
	vmem_free(vm, s.got, Q);
	done(vm);
}

static atomic_bool memory_is_back;

static void *
import_when_told(vmem_t *source, size_t size, int flags)
{
	(void)source;
	assert_int_equal(flags, VM_SLEEP);
	return (size == Q && atomic_load(&memory_is_back) ? P(64 * Q) : NULL);
}

static void
a_sleeper_looks_again_when_only_its_import_function_knows(void **state)
{
	vmem_t *vm = vmem_create(
	    "a", NULL, 0, Q, import_when_told, NULL, NULL, 0, VM_NOSLEEP);
	struct sleeper s = {vm, "a", Q, 0, 0, 0, NULL};
	(void)state;

	sleeper_start(&s);
	atomic_store(&memory_is_back, true);
	vmem_free(vm, sleeper_join(&s), Q);
	done(vm);
}

static sem_t import_entered, import_leave;

static void *
import_that_hangs(vmem_t *source, size_t size, int flags)
{
	(void)source;
	(void)size;
	(void)flags;
	if (flags != VM_SLEEP)
		return (NULL);
	(void)sem_post(&import_entered);
	(void)sem_wait(&import_leave);
	return (P(64 * Q));
}

static void
t27_nosleep_never_waits_for_a_sleeper_or_its_import(void **state)
{
	vmem_t *vm = vmem_create(
	    "a", P(Q), 4 * Q, Q, import_that_hangs, NULL, NULL, 0, VM_NOSLEEP);
	struct sleeper s = {vm, "a", 8 * Q, 0, 0, 0, NULL};
	void *p;
	(void)state;

	assert_int_equal(sem_init(&import_entered, 0, 0), 0);
	assert_int_equal(sem_init(&import_leave, 0, 0), 0);
	assert_int_equal(pthread_create(&s.thread, NULL, sleeper_main, &s), 0);
	(void)sem_wait(&import_entered);
	p = vmem_alloc(vm, 2 * Q, VM_NOSLEEP);
	assert_non_null(p);
	assert_null(vmem_alloc(vm, 8 * Q, VM_NOSLEEP));
	assert_null(vmem_alloc(vm, 8 * Q, VM_ABORT));
	vmem_free(vm, p, 2 * Q);
	(void)sem_post(&import_leave);
	vmem_free(vm, sleeper_join(&s), 8 * Q);
	done(vm);
}

static struct timespec
in_milliseconds(unsigned ms)
{
	uint64_t when = os_now() + ms * UINT64_C(1000000);

	return ((struct timespec){
	    (time_t)(when / 1000000000), (long)(when % 1000000000)});
}

static void
a_deadline_ends_a_sleep(void **state)
{
	vmem_t *source = named("source", Q, Q, NULL);
	vmem_t *vm = named("a", 0, 0, source);
	struct timespec soon = in_milliseconds(30), past = {1, 0};
	uint64_t before = os_now();
	uintptr_t a;
	(void)state;

	assert_int_equal(
	    vmem__alloc(vm, 2 * Q, VM_SLEEP, &soon, &a), ETIMEDOUT);
	assert_true(os_now() - before >= 25 * UINT64_C(1000000));
	assert_int_equal(
	    vmem__alloc(vm, 2 * Q, VM_SLEEP, &past, &a), ETIMEDOUT);
	assert_int_equal(
	    vmem__xalloc(vm, Q, 0, 0, 0, 0, Q, VM_SLEEP, &past, &a), ETIMEDOUT);
	assert_int_equal(vmem__alloc(vm, Q, VM_SLEEP, &past, &a), 0);
	vmem_free(vm, P(a), Q);
	done(vm);
	done(source);
}

static void
a_sleeper_is_not_cancelled(void **state)
{
	vmem_t *vm = named("a", Q, Q, NULL);
	struct sleeper s = {vm, "a", Q, 0, 0, 0, NULL};
	void *p = vmem_alloc(vm, Q, VM_NOSLEEP);
	(void)state;

	sleeper_start(&s);
	assert_int_equal(pthread_cancel(s.thread), 0);
	(void)usleep(20000);
	vmem_free(vm, p, Q);
	vmem_free(vm, sleeper_join(&s), Q);
	done(vm);
}

static void
many_sleepers_share_what_comes(void **state)
{
	enum { N = 8 };
	vmem_t *vm = named("a", Q, N * Q, NULL);
	struct sleeper s[N];
	void *p = vmem_alloc(vm, N * Q, VM_NOSLEEP);
	(void)state;

	for (unsigned i = 0; i < N; i++) {
		s[i] = (struct sleeper){vm, "a", Q, 0, 0, 0, NULL};
		sleeper_start(&s[i]);
	}
	vmem_free(vm, p, N * Q);
	for (unsigned i = 0; i < N; i++)
		(void)sleeper_join(&s[i]);
	for (unsigned i = 0; i < N; i++)
		vmem_free(vm, s[i].got, Q);
	done(vm);
}

/* As fork() with the handlers, which would take more locks. */
static pid_t
fork_vmem(void)
{
	pid_t pid;

	vmem__lock_all();
	meta_lock_all();
	pid = _Fork();
	meta_unlock_all();
	if (pid == 0)
		vmem__fork_child();
	vmem__unlock_all();
	return (pid);
}

static void
child_succeeds(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static vmem_t *walked;

static void
fork_inside(void *arg, void *start, size_t size)
{
	pid_t pid = fork_vmem();

	(void)arg;
	if (pid == 0) {
		vmem_free(walked, start, size);
		_exit(vmem_alloc(walked, 4 * Q, VM_NOSLEEP) == P(Q) ? 0 : 1);
	}
	child_succeeds(pid);
}

static void
the_child_of_fork_goes_on_without_the_sleepers_and_walks_of_others(void **state)
{
	vmem_t *source = named("source", Q, 4 * Q, NULL);
	vmem_t *vm = named("a", 0, 0, source);
	struct sleeper s = {vm, "a", 2 * Q, 0, 0, 0, NULL};
	struct sleeper t = {source, "source", 2 * Q, 0, 0, 0, NULL};
	void *p = vmem_alloc(source, 4 * Q, VM_NOSLEEP);
	(void)state;

	sleeper_start(&s);
	sleeper_start(&t);
	walked = source;
	vmem_walk(source, VMEM_ALLOC | (int)VMEM_REENTRANT, fork_inside, NULL);
	vmem_free(source, p, 4 * Q);
	vmem_free(vm, sleeper_join(&s), 2 * Q);
	vmem_free(source, sleeper_join(&t), 2 * Q);
	done(vm);
	done(source);
}

static sem_t importing, go_on;

static void *
import_waiting(vmem_t *source, size_t size, int flags)
{
	assert_int_equal(sem_post(&importing), 0);
	assert_int_equal(sem_wait(&go_on), 0);
	return (vmem_alloc(source, size, flags));
}

static void *
allocate(void *arena)
{
	return (vmem_alloc(arena, Q, VM_NOSLEEP));
}

static void
an_import_of_another_thread_does_not_count_in_the_child_of_fork(void **state)
{
	vmem_t *source = named("source", Q, 4 * Q, NULL);
	vmem_t *vm = vmem_create(
	    "a", NULL, 0, Q, import_waiting, vmem_free, source, 0, VM_NOSLEEP);
	pthread_t thread;
	void *p;
	pid_t pid;
	(void)state;

	assert_int_equal(sem_init(&importing, 0, 0), 0);
	assert_int_equal(sem_init(&go_on, 0, 0), 0);
	assert_int_equal(vmem_set_limit(vm, Q), 0);
	assert_int_equal(pthread_create(&thread, NULL, allocate, vm), 0);
	assert_int_equal(sem_wait(&importing), 0);
	assert_null(vmem_alloc(vm, Q, VM_NOSLEEP));
	pid = fork_vmem();
	if (pid == 0) {
		(void)sem_post(&go_on);
		_exit(vmem_alloc(vm, Q, VM_NOSLEEP) != NULL ? 0 : 1);
	}
	child_succeeds(pid);
	assert_int_equal(sem_post(&go_on), 0);
	assert_int_equal(pthread_join(thread, &p), 0);
	assert_non_null(p);
	vmem_free(vm, p, Q);
	done(vm);
	done(source);
}

static unsigned imports;
static pid_t forked;

/* Nothing at first, so that the request waits; then two processes get it. */
static void *
import_forking(vmem_t *source, size_t size, int flags)
{
	if (imports++ == 0)
		return (NULL);
	if (imports == 2)
		forked = fork_vmem();
	return (vmem_alloc(source, size, flags | VM_NOSLEEP));
}

static void
who_forks_in_its_import_goes_on_in_the_child(void **state)
{
	vmem_t *source = named("source", Q, 4 * Q, NULL);
	vmem_t *vm = vmem_create(
	    "a", NULL, 0, Q, import_forking, vmem_free, source, 0, VM_NOSLEEP);
	void *p;
	(void)state;

	assert_int_equal(vmem_set_limit(vm, 2 * Q), 0);
	p = vmem_alloc(vm, Q, VM_SLEEP);
	if (forked == 0)
		_exit(source->vm_wanted == 0 && p != NULL &&
			    vmem_alloc(vm, Q, VM_NOSLEEP) != NULL &&
			    vmem_alloc(vm, Q, VM_NOSLEEP) == NULL
			? 0
			: 1);
	child_succeeds(forked);
	assert_int_equal(source->vm_wanted, 0);
	vmem_free(vm, p, Q);
	done(vm);
	done(source);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t26_a_free_wakes_a_sleeper),
	    cmocka_unit_test(t26_an_added_span_wakes_a_sleeper),
	    cmocka_unit_test(
		t26_a_released_import_wakes_sleepers_in_other_arenas),
	    cmocka_unit_test(
		t26_a_free_here_wakes_a_sleeper_whose_import_failed),
	    cmocka_unit_test(a_raised_limit_wakes_a_sleeper),
	    cmocka_unit_test(a_sleeper_for_one_address_gets_that_one),
	    cmocka_unit_test(
		a_sleeper_looks_again_when_only_its_import_function_knows),
	    cmocka_unit_test(
		t27_nosleep_never_waits_for_a_sleeper_or_its_import),
	    cmocka_unit_test(a_deadline_ends_a_sleep),
	    cmocka_unit_test(a_sleeper_is_not_cancelled),
	    cmocka_unit_test(many_sleepers_share_what_comes),
	    cmocka_unit_test(
		the_child_of_fork_goes_on_without_the_sleepers_and_walks_of_others),
	    cmocka_unit_test(
		an_import_of_another_thread_does_not_count_in_the_child_of_fork),
	    cmocka_unit_test(who_forks_in_its_import_goes_on_in_the_child),
	};

	return (cmocka_run_group_tests_name("vmem_wait", tests, NULL, NULL));
}
