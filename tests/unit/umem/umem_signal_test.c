/*
 * umem_signal_test.c - UMEM_DEBUG=nosignal: who allocates in a handler is told.
 *
 * This program is linked without a build id, which reports do without.
 */
#include "os/os.h"
#include "support/again.h"
#include "support/child.h"
#include "support/umem_look.h"

#include <quarry/umem.h>

#include <fnmatch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void *kept;

static void
allocate(int number)
{
	(void)number;
	kept = umem_alloc(100, UMEM_DEFAULT);
}

static void
give_back(int number)
{
	(void)number;
	umem_free(kept, 100);
}

/* On a stack of its own, so that it is known for what it is on any machine. */
static void
handle(void (*handler)(int))
{
	struct sigaction sa = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
	stack_t ss = {.ss_sp = malloc(64 << 10), .ss_size = 64 << 10};

	CHILD_CHECK(sigaltstack(&ss, NULL) == 0);
	CHILD_CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	CHILD_CHECK(raise(SIGUSR1) == 0);
}

static void
allocate_in_a_handler(void)
{
	handle(allocate);
}

static void
allocate_in_a_handler_on_the_same_stack(void)
{
	struct sigaction sa = {.sa_handler = allocate};

	CHILD_CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	CHILD_CHECK(raise(SIGUSR1) == 0);
}

static void
free_in_a_handler(void)
{
	allocate(0);
	handle(give_back);
}

static void
have_no_handler(void)
{
	for (size_t size = 1; size < 200000; size += 1 + size / 7)
		umem_free(umem_alloc(size, UMEM_DEFAULT), size);
}

static void
fail_at_once(void)
{
	CHILD_CHECK(umem_alloc(100, UMEM_DEFAULT) == NULL);
}

static const char one_line[] =
    "*umem allocator: called from a signal handler: buffer=0x*, cache "
    "umem_alloc_112\n";
static const char verbose[] =
    "*\nstack trace:\n    #0 0x* (/*unit_umem_umem_signal+0x*)\n    #1 *";

/* Run the part; it dies by that signal, or 0, and says it if that is given. */
static void
expect(const char *part, const char *variable, int signal, const char *like)
{
	struct again_run run = {part, {variable}};
	struct child c;

	child_run(&c, again_exec, &run);
	if (c.c_signal != signal || fnmatch(like, c.c_stderr, 0) != 0)
		fail_msg("%s, %s: signal %d, %s", part, variable, c.c_signal,
		    c.c_stderr);
}

static void
a_call_from_a_handler_is_an_error_with_nosignal(void **state)
{
	(void)state;

	if (look_shadowed())
		skip();
	expect("alloc", "UMEM_DEBUG=nosignal", SIGABRT, one_line);
	expect("free", "UMEM_DEBUG=nosignal", SIGABRT, one_line);
	expect("alloc", "UMEM_DEBUG=nosignal,verbose", SIGABRT, verbose);
	expect("alloc", "UMEM_DEBUG=nosignal,noabort", 0, one_line);
	/* Frames tell it, and Valgrind has its own way back from a handler. */
	if (!os_on_valgrind())
		expect("same stack", "UMEM_DEBUG=nosignal", SIGABRT, one_line);
	expect("alloc", "UMEM_DEBUG=audit", 0, "");
	expect("alloc", "UMEM_DEBUG=", 0, "");
	expect("none", "UMEM_DEBUG=nosignal", 0, "");
}

static void
every_request_may_fail_with_mtbf(void **state)
{
	(void)state;
	expect("fails", "UMEM_DEBUG=mtbf=1,guards", 0, "");
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"alloc", allocate_in_a_handler},
	    {"same stack", allocate_in_a_handler_on_the_same_stack},
	    {"free", free_in_a_handler},
	    {"none", have_no_handler},
	    {"fails", fail_at_once},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_call_from_a_handler_is_an_error_with_nosignal),
	    cmocka_unit_test(every_request_may_fail_with_mtbf),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
