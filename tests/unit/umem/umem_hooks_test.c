/*
 * umem_hooks_test.c - what the main program says of the options by functions.
 */
#include "umem/umem_debug.h"
#include "umem/umem_options.h"

#include "support/again.h"
#include "support/child.h"

#include <quarry/umem.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const char *_umem_debug_init(void);
const char *_umem_options_init(void);
const char *_umem_logging_init(void);

static unsigned debug_asked;
static void *allocated;

/* It may even allocate: nothing comes of what it says then. */
const char *
_umem_debug_init(void)
{
	debug_asked++;
	if (getenv("HOOK_ALLOCATES") != NULL)
		allocated = umem_alloc(100, UMEM_DEFAULT);
	return ("guards,xyzzy,noabort");
}

const char *
_umem_options_init(void)
{
	return ("reap_interval=3");
}

const char *
_umem_logging_init(void)
{
	return (NULL);
}

enum { GUARDS = UMF_DEADBEEF | UMF_REDZONE };

static void
honoured(void)
{
	CHILD_CHECK(debug_asked == 1);
	CHILD_CHECK(umem__opt.debug == GUARDS && umem__opt.noabort);
	CHILD_CHECK(umem__opt.reap_interval == 3);
	CHILD_CHECK(umem__opt.log_transaction == 0);
}

static void
not_asked(void)
{
	CHILD_CHECK(debug_asked == 0);
	CHILD_CHECK(umem__opt.debug == 0 && !umem__opt.noabort);
	CHILD_CHECK(umem__opt.reap_interval == 3);
}

static void
overruled(void)
{
	CHILD_CHECK(debug_asked == 0);
	CHILD_CHECK(umem__opt.debug == UMF_LITE && !umem__opt.noabort);
}

static void
dropped(void)
{
	CHILD_CHECK(debug_asked == 1);
	CHILD_CHECK(allocated != NULL);
	CHILD_CHECK(umem__opt.debug == 0);
	umem_free(allocated, 100);
}

static void
holds(const char *part, const char *variable, const char *said)
{
	struct again_run run = {part, {variable}};
	struct child c;

	child_run(&c, again_exec, &run);
	if (c.c_signal != 0 || c.c_status != 0)
		fail_msg("%s: signal %d, status %d: %s", part, c.c_signal,
		    c.c_status, c.c_stderr);
	assert_string_equal(c.c_stderr, said);
}

static void
t72_functions_of_the_program_count_where_the_environment_says_nothing(
    void **state)
{
	(void)state;
	holds("honoured", "OTHER=1",
	    "quarry: UMEM_DEBUG: 'xyzzy' not recognized\n");
}

static void
t72_a_variable_that_is_set_overrules_them_even_if_it_is_empty(void **state)
{
	(void)state;
	holds("not asked", "UMEM_DEBUG=", "");
	holds("overruled", "UMEM_DEBUG=lite", "");
}

static void
a_function_that_allocates_gets_memory_and_is_not_listened_to(void **state)
{
	(void)state;
	holds("dropped", "HOOK_ALLOCATES=1", "");
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"honoured", honoured},
	    {"not asked", not_asked},
	    {"overruled", overruled},
	    {"dropped", dropped},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		t72_functions_of_the_program_count_where_the_environment_says_nothing),
	    cmocka_unit_test(
		t72_a_variable_that_is_set_overrules_them_even_if_it_is_empty),
	    cmocka_unit_test(
		a_function_that_allocates_gets_memory_and_is_not_listened_to),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
