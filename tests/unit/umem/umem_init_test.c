/*
 * umem_init_test.c - the library at its start, and in the child of a fork.
 */
#define _GNU_SOURCE 1 /* closefrom, FNM_EXTMATCH */

#include "umem/umem_impl.h"

#include "support/again.h"
#include "support/child.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <fcntl.h>
#include <fnmatch.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void
the_library_is_ready_when_the_program_begins(void **state)
{
	(void)state;

	assert_true(umem__ready());
	assert_true(umem__init());
	assert_string_equal(quarry_version(), "1.0.0");
}

static void
say_nothing(void)
{
	umem_free(umem_alloc(100, 0), 100);
}

static void
nothing_is_printed_unless_asked(void **state)
{
	struct again_run plain = {"say_nothing", {NULL}};
	struct again_run verbose = {"say_nothing", {"QUARRY_OPTIONS=verbose"}};
	struct child c;
	(void)state;

	child_run(&c, again_exec, &plain);
	assert_int_equal(c.c_status, 0);
	assert_string_equal(c.c_stderr, "");
	child_run(&c, again_exec, &verbose);
	assert_int_equal(fnmatch("quarry: version 1.0.0 active in "
				 "unit_umem_umem_init, process +([0-9]), "
				 "per-CPU form: @(lock|rseq, @(mm_cid|cpu))\n",
			     c.c_stderr, FNM_EXTMATCH),
	    0);
}

static void
open_descriptors(void)
{
	umem_free(umem_alloc(100, 0), 100);
	(void)quarry_reap();
	for (int fd = 3; fd < 1024; fd++)
		CHILD_CHECK(fcntl(fd, F_GETFD) == -1);
}

static void
close_and_exec(void *run)
{
	closefrom(3);
	again_exec(run);
}

static void
no_descriptor_is_opened(void **state)
{
	struct again_run run = {"open_descriptors", {NULL}};
	(void)state;

	child_expect_exit(close_and_exec, &run, 0);
}

static void
close_stderr_and_leave(void)
{
	umem_free(umem_alloc(100, 0), 100);
	(void)close(STDERR_FILENO);
}

static void
statistics_come_even_when_stderr_was_closed(void **state)
{
	struct again_run run = {
	    "close_stderr_and_leave", {"QUARRY_OPTIONS=stats"}};
	struct child c;
	(void)state;

	child_run(&c, again_exec, &run);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	assert_non_null(strstr(c.c_stderr, "umem_alloc_112"));
	assert_non_null(strstr(c.c_stderr, "heap"));
}

static void
the_heap_arena_gives_usable_memory(void **state)
{
	vmem_alloc_t *afunc = NULL;
	vmem_free_t *ffunc = NULL;
	vmem_t *heap = vmem_heap_arena(&afunc, &ffunc);
	vmem_t *mine;
	char *p;
	(void)state;

	assert_non_null(heap);
	assert_ptr_equal(vmem_heap_arena(NULL, NULL), heap);
	mine = vmem_create(
	    "mine", NULL, 0, 4096, afunc, ffunc, heap, 0, VM_NOSLEEP);
	assert_non_null(mine);
	p = vmem_alloc(mine, 100000, VM_NOSLEEP);
	assert_non_null(p);
	memset(p, 1, 100000);
	vmem_free(mine, p, 100000);
	assert_int_equal(vmem_size(mine, VMEM_ALLOC | VMEM_FREE), 0);
	vmem_destroy(mine);
}

/* ---- fork ---- */

/* What any child may do; never returns. */
static void
live_and_leave(umem_cache_t *inherited)
{
	umem_cache_t *cp;
	void *p[200];

	(void)alarm(20);
	for (size_t i = 0; i < 200; i++)
		p[i] = umem_alloc(1 + i * 1000, UMEM_DEFAULT);
	for (size_t i = 0; i < 200; i++)
		umem_free(p[i], 1 + i * 1000);
	cp =
	    umem_cache_create("child", 100, 0, NULL, NULL, NULL, NULL, NULL, 0);
	umem_cache_free(cp, umem_cache_alloc(cp, 0));
	umem_cache_destroy(cp);
	umem_reap();
	(void)quarry_reap();
	look_check();
	if (inherited != NULL)
		umem_cache_destroy(inherited);
	_exit(0);
}

static void
expect_well(pid_t pid)
{
	int status = -1;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void
a_child_and_its_child_go_on(void **state)
{
	pid_t pid = fork();
	(void)state;

	if (pid == 0) {
		int status = -1;

		pid = fork();
		if (pid == 0)
			live_and_leave(NULL);
		if (waitpid(pid, &status, 0) != pid || status != 0)
			_exit(1);
		live_and_leave(NULL);
	}
	expect_well(pid);
}

/* Where a thread of the parent is while it forks. */
static _Atomic int inside;

static void
dawdle(void *priv)
{
	int never = 0;

	(void)priv;
	if (!atomic_compare_exchange_strong(&inside, &never, 1))
		return;
	while (inside != 2)
		(void)usleep(1000);
}

static void *
reap_now(void *arg)
{
	(void)quarry_reap();
	return (arg);
}

/* The thread that would have ended it is not in the child. */
static void
a_child_may_destroy_a_cache_that_was_being_reaped(void **state)
{
	umem_cache_t *cp = umem_cache_create(
	    "dawdling", 64, 0, NULL, NULL, dawdle, NULL, NULL, 0);
	pthread_t thread;
	int status = -1;
	pid_t pid;
	(void)state;

	umem_cache_free(cp, umem_cache_alloc(cp, 0));
	inside = 0;
	assert_int_equal(pthread_create(&thread, NULL, reap_now, NULL), 0);
	while (inside != 1)
		(void)usleep(1000);
	pid = fork();
	if (pid == 0) {
		inside = 2;
		live_and_leave(cp);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	inside = 2;
	assert_int_equal(pthread_join(thread, NULL), 0);
	umem_cache_destroy(cp);
	assert_int_equal(status, 0);
}

static pid_t forked;

static void
fork_inside(void *priv)
{
	(void)priv;
	forked = fork();
}

/* Such a child finds itself in the middle of the reaping, and ends it. */
static void
a_reclaim_callback_may_fork(void **state)
{
	umem_cache_t *cp = umem_cache_create(
	    "forking", 64, 0, NULL, NULL, fork_inside, NULL, NULL, 0);
	umem_cache_t *next = umem_cache_create(
	    "after forking", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
	(void)state;

	(void)quarry_reap();
	if (forked == 0) {
		umem_cache_destroy(next);
		fork_inside(NULL);
		if (forked == 0)
			live_and_leave(cp);
		_exit(waitpid(forked, NULL, 0) == forked ? 0 : 1);
	}
	expect_well(forked);
	umem_cache_destroy(cp);
	umem_cache_destroy(next);
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"say_nothing", say_nothing},
	    {"open_descriptors", open_descriptors},
	    {"close_stderr_and_leave", close_stderr_and_leave},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_library_is_ready_when_the_program_begins),
	    cmocka_unit_test(nothing_is_printed_unless_asked),
	    cmocka_unit_test(no_descriptor_is_opened),
	    cmocka_unit_test(statistics_come_even_when_stderr_was_closed),
	    cmocka_unit_test(the_heap_arena_gives_usable_memory),
	    cmocka_unit_test(a_child_and_its_child_go_on),
	    cmocka_unit_test(a_child_may_destroy_a_cache_that_was_being_reaped),
	    cmocka_unit_test(a_reclaim_callback_may_fork),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
