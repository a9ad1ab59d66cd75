/*
 * umem_options_test.c - what the environment may ask for, and what is said of
 * the rest.
 */
#include "umem/umem_debug.h"
#include "umem/umem_options.h"

#include "base/clients.h"
#include "os/percpu.h"
#include "support/child.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/vmem.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const variables[] = {
    "UMEM_OPTIONS", "UMEM_DEBUG", "UMEM_LOGGING", "QUARRY_OPTIONS"};

/* An environment of one variable, and what is to come of it. */
struct setting {
	const char *s_var;
	const char *s_text;
	bool (*s_holds)(void); /* NULL: everything is at its default */
};

static struct umem_options defaults;

static void
read_it(void *arg)
{
	const struct setting *s = arg;

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
		(void)unsetenv(variables[i]);
	CHILD_CHECK(setenv(s->s_var, s->s_text, 1) == 0);
	umem__opt = defaults;
	umem__options_read();
	if (s->s_holds == NULL)
		CHILD_CHECK(
		    memcmp(&umem__opt, &defaults, sizeof(defaults)) == 0);
	else
		CHILD_CHECK(s->s_holds());
}

static void
says(
    const char *var, const char *text, bool (*holds)(void), const char *message)
{
	static unsigned calls;
	struct setting s = {var, text, holds};
	struct child c;

	if (look_quick() && calls++ % 5 != 0)
		return;
	child_run(&c, read_it, &s);
	if (c.c_status != 0 || c.c_signal != 0)
		fail_msg("%s=%s: %s", var, text, c.c_stderr);
	assert_string_equal(c.c_stderr, message);
}

#define OPT(name, expr)                  \
	static bool name(void)           \
	{                                \
		return (umem__opt.expr); \
	}

OPT(nomagazines, nomagazines)
OPT(reap_interval_3, reap_interval == 3)
OPT(reap_interval_0, reap_interval == 0)
OPT(policy_instant, policy == 0)
OPT(policy_best, policy == VM_BESTFIT)
OPT(policy_first, policy == VM_FIRSTFIT)
OPT(policy_next, policy == VM_NEXTFIT)
OPT(guards, debug == (UMF_DEADBEEF | UMF_REDZONE))
OPT(audit, debug == UMF_AUDIT && umem__opt.frames == 15)
OPT(audit_7, debug == UMF_AUDIT && umem__opt.frames == 7)
OPT(audit_most, debug == UMF_AUDIT && umem__opt.frames == 250)
OPT(contents, debug == UMF_CONTENTS && umem__opt.contents == 256)
OPT(contents_1k, debug == UMF_CONTENTS && umem__opt.contents == 1024)
OPT(contents_most, debug == UMF_CONTENTS && umem__opt.contents == 2048)
OPT(everything,
    debug == (UMF_AUDIT | UMF_CONTENTS | UMF_DEADBEEF | UMF_REDZONE))
OPT(firewall_4k, debug == UMF_FIREWALL && umem__opt.firewall == 4096)
OPT(lite, debug == UMF_LITE)
OPT(nosignal, debug == UMF_CHECKSIGNAL)
OPT(checknull, debug == UMF_CHECKNULL)
OPT(randomly, debug == UMF_RANDOMIZE)
OPT(maxverify_64, maxverify == 64)
OPT(mtbf_100, mtbf == 100)
OPT(debug_verbose, debug_verbose)
OPT(log_transaction, log_transaction == 64 << 10)
OPT(log_transaction_1m, log_transaction == 1 << 20)
OPT(log_contents, log_contents == 64 << 10 && umem__opt.debug == UMF_CONTENTS)
OPT(log_fail_0, log_fail == 0)
OPT(log_slab, log_slab == 64 << 10)
OPT(concurrency_4, concurrency == 4)
OPT(contention_9, contention == 9)
OPT(nothing, debug == 0)
OPT(noabort, noabort)
OPT(stats, stats)
OPT(verbose, verbose)
OPT(harden, harden)
OPT(nothread, nothread)
OPT(percpu_auto, percpu == PERCPU_AUTO)
OPT(percpu_by_cpu, percpu == PERCPU_CPU)
OPT(percpu_lock, percpu == PERCPU_LOCK)
OPT(idle_max_0, idle_max == 0)
OPT(idle_max_1000, idle_max == 1000)
OPT(idle_max_3k, idle_max == 3 << 10)
OPT(idle_max_5m, idle_max == 5 << 20)
OPT(idle_max_2g, idle_max == (uint64_t)2 << 30)
OPT(idle_max_1t, idle_max == (uint64_t)1 << 40)
static bool
physpool_is(uint64_t size)
{
	return (qr_clients.physpool_size == size);
}

static bool
physpool_64m(void)
{
	return (physpool_is((uint64_t)64 << 20));
}

static bool
physpool_1(void)
{
	return (physpool_is(1));
}

OPT(depot_max_7m, depot_max == 7 << 20)

static bool
both_debug(void)
{
	return (guards() && umem__opt.noabort);
}

static void
each_option_does_what_it_says(void **state)
{
	(void)state;

	says("UMEM_OPTIONS", "nomagazines", nomagazines, "");
	says("UMEM_OPTIONS", "reap_interval=3", reap_interval_3, "");
	says("UMEM_OPTIONS", "reap_interval=0", reap_interval_0, "");
	says("UMEM_OPTIONS", "allocator=instant", policy_instant, "");
	says("UMEM_OPTIONS", "allocator=best", policy_best, "");
	says("UMEM_OPTIONS", "allocator=first", policy_first, "");
	says("UMEM_OPTIONS", "allocator=next", policy_next, "");
	says("UMEM_DEBUG", "guards", guards, "");
	says("UMEM_DEBUG", "audit", audit, "");
	says("UMEM_DEBUG", "audit=7", audit_7, "");
	says("UMEM_DEBUG", "audit=250", audit_most, "");
	says("UMEM_DEBUG", "audit=251", audit_most,
	    "quarry: UMEM_DEBUG: audit: 250 at most\n");
	says("UMEM_DEBUG", "contents", contents, "");
	says("UMEM_DEBUG", "contents=1k", contents_1k, "");
	says("UMEM_DEBUG", "contents=2k", contents_most, "");
	says("UMEM_DEBUG", "contents=99999", contents_most,
	    "quarry: UMEM_DEBUG: contents: 2048 at most\n");
	says("UMEM_DEBUG", "default", everything, "");
	says("UMEM_DEBUG", "firewall=4096", firewall_4k, "");
	says("UMEM_DEBUG", "lite", lite, "");
	says("UMEM_DEBUG", "nosignal", nosignal, "");
	says("UMEM_DEBUG", "checknull", checknull, "");
	says("UMEM_DEBUG", "random", randomly, "");
	says("UMEM_DEBUG", "maxverify=64", maxverify_64, "");
	says("UMEM_DEBUG", "mtbf=100", mtbf_100, "");
	says("UMEM_DEBUG", "noabort", noabort, "");
	says("UMEM_DEBUG", "verbose", debug_verbose, "");
	says("UMEM_DEBUG", "allverbose", debug_verbose, "");
	says("UMEM_LOGGING", "transaction", log_transaction, "");
	says("UMEM_LOGGING", "transaction=1m", log_transaction_1m, "");
	says("UMEM_LOGGING", "contents", log_contents, "");
	says("UMEM_LOGGING", "fail=0", log_fail_0, "");
	says("UMEM_LOGGING", "slab", log_slab, "");
	says("UMEM_OPTIONS", "concurrency=4", concurrency_4, "");
	says("UMEM_OPTIONS", "max_contention=9", contention_9, "");
	says("QUARRY_OPTIONS", "stats", stats, "");
	says("QUARRY_OPTIONS", "verbose", verbose, "");
	says("QUARRY_OPTIONS", "harden", harden, "");
	says("QUARRY_OPTIONS", "nothread", nothread, "");
	says("QUARRY_OPTIONS", "percpu=auto", percpu_auto, "");
	says("QUARRY_OPTIONS", "percpu=cpu", percpu_by_cpu, "");
	says("QUARRY_OPTIONS", "percpu=lock", percpu_lock, "");
	says("QUARRY_OPTIONS", "depot_max=7m", depot_max_7m, "");
}

/* Backends and threads' caches are libumem's: here there are none. */
static void
an_option_without_a_meaning_is_accepted(void **state)
{
	(void)state;

	says("UMEM_OPTIONS", "backend=mmap", nothing, "");
	says("UMEM_OPTIONS", "backend=sbrk", nothing, "");
	says("UMEM_OPTIONS", "sbrk_minalloc=64k,sbrk_pagesize=4m", nothing, "");
	says("UMEM_OPTIONS", "perthread_cache=0", nothing, "");
}

static void
a_size_is_decimal_with_a_suffix_in_either_case(void **state)
{
	(void)state;

	says("QUARRY_OPTIONS", "idle_max=0", idle_max_0, "");
	says("QUARRY_OPTIONS", "idle_max=1000", idle_max_1000, "");
	says("QUARRY_OPTIONS", "idle_max=3k", idle_max_3k, "");
	says("QUARRY_OPTIONS", "idle_max=3K", idle_max_3k, "");
	says("QUARRY_OPTIONS", "idle_max=5m", idle_max_5m, "");
	says("QUARRY_OPTIONS", "idle_max=2G", idle_max_2g, "");
	says("QUARRY_OPTIONS", "idle_max=1t", idle_max_1t, "");
	says("QUARRY_OPTIONS", "idle_max=0000000000000000000001000",
	    idle_max_1000, "");
}

static void
items_are_separated_by_commas_and_blanks_do_not_count(void **state)
{
	(void)state;

	says("UMEM_DEBUG", "guards,noabort", both_debug, "");
	says("UMEM_DEBUG", " guards\t, \tnoabort ", both_debug, "");
	says("UMEM_OPTIONS", "reap_interval = 3", reap_interval_3, "");
	says("UMEM_OPTIONS", "reap_interval=9,reap_interval=3", reap_interval_3,
	    "");
	says("UMEM_DEBUG", "", NULL, "");
	says("UMEM_DEBUG", "guards,,noabort", both_debug,
	    "quarry: UMEM_DEBUG: empty option\n");
	says("UMEM_DEBUG", " ", NULL, "quarry: UMEM_DEBUG: empty option\n");
	says("UMEM_DEBUG", ",", NULL, "quarry: UMEM_DEBUG: empty option\n");
}

static void
a_bad_value_is_named_and_changes_nothing(void **state)
{
	(void)state;

	says("UMEM_OPTIONS", "reap_interval", NULL,
	    "quarry: UMEM_OPTIONS: reap_interval: Required value missing\n");
	says("UMEM_OPTIONS", "reap_interval=", NULL,
	    "quarry: UMEM_OPTIONS: reap_interval: not a number\n");
	says("UMEM_OPTIONS", "reap_interval=soon", NULL,
	    "quarry: UMEM_OPTIONS: reap_interval: not a number\n");
	says("UMEM_OPTIONS", "reap_interval=-1", NULL,
	    "quarry: UMEM_OPTIONS: reap_interval: not a number\n");
	says("UMEM_OPTIONS", "reap_interval=5k", NULL,
	    "quarry: UMEM_OPTIONS: reap_interval: not a number\n");
	says("UMEM_OPTIONS", "reap_interval=0x10", NULL,
	    "quarry: UMEM_OPTIONS: reap_interval: not a number\n");
	says("UMEM_OPTIONS", "reap_interval=4294967296", NULL,
	    "quarry: UMEM_OPTIONS: reap_interval: overflowed\n");
	says("UMEM_OPTIONS", "reap_interval=99999999999999999999", NULL,
	    "quarry: UMEM_OPTIONS: reap_interval: overflowed\n");
	says("QUARRY_OPTIONS", "idle_max=16777216t", NULL,
	    "quarry: QUARRY_OPTIONS: idle_max: overflowed\n");
	says("QUARRY_OPTIONS", "idle_max=1kk", NULL,
	    "quarry: QUARRY_OPTIONS: idle_max: not a number\n");
	says("QUARRY_OPTIONS", "idle_max=1b", NULL,
	    "quarry: QUARRY_OPTIONS: idle_max: not a number\n");
	says("QUARRY_OPTIONS", "idle_max=k", NULL,
	    "quarry: QUARRY_OPTIONS: idle_max: not a number\n");
	says("UMEM_OPTIONS", "allocator=worst", NULL,
	    "quarry: UMEM_OPTIONS: allocator: not one of instant, best, first, "
	    "next\n");
	says("UMEM_OPTIONS", "backend=brk", NULL,
	    "quarry: UMEM_OPTIONS: backend: not one of mmap, sbrk\n");
	says("QUARRY_OPTIONS", "percpu=foo", percpu_auto,
	    "quarry: QUARRY_OPTIONS: percpu: not one of auto, cpu, lock\n");
	says("UMEM_DEBUG", "firewall", NULL,
	    "quarry: UMEM_DEBUG: firewall: Required value missing\n");
	says("UMEM_DEBUG", "audit=x", NULL,
	    "quarry: UMEM_DEBUG: audit: not a number\n");
	says("UMEM_OPTIONS", "size_add=0", NULL,
	    "quarry: UMEM_OPTIONS: size_add: no size that can be added\n");
	says("UMEM_OPTIONS", "size_add=131073", NULL,
	    "quarry: UMEM_OPTIONS: size_add: no size that can be added\n");
	says("QUARRY_OPTIONS", "physpool_size=1", physpool_1, "");
	says("QUARRY_OPTIONS", "physpool_size=0", physpool_64m,
	    "quarry: QUARRY_OPTIONS: physpool_size: no size that a pool can "
	    "have\n");
	says("UMEM_OPTIONS", "size_add=64", NULL,
	    "quarry: UMEM_OPTIONS: size_add: a size that is there already\n");
	says("UMEM_OPTIONS", "size_remove=131072", NULL,
	    "quarry: UMEM_OPTIONS: size_remove: no size that can be removed\n");
	says("UMEM_OPTIONS", "size_remove=65", NULL,
	    "quarry: UMEM_OPTIONS: size_remove: no size that can be removed\n");
	says("UMEM_OPTIONS", "size_clear=64", NULL,
	    "quarry: UMEM_OPTIONS: size_clear: does not take a value. "
	    "ignored\n");
	says("UMEM_DEBUG", "guards=1", guards,
	    "quarry: UMEM_DEBUG: guards: does not take a value. ignored\n");
}

static void
an_unknown_name_is_answered_with_the_nearest_known_one(void **state)
{
	(void)state;

	says("UMEM_DEBUG", "gaurds", NULL,
	    "quarry: UMEM_DEBUG: 'gaurds' not recognized; did you mean "
	    "UMEM_DEBUG=guards?\n");
	says("UMEM_OPTIONS", "nomagazine", NULL,
	    "quarry: UMEM_OPTIONS: 'nomagazine' not recognized; did you mean "
	    "UMEM_OPTIONS=nomagazines?\n");
	says("UMEM_OPTIONS", "Reap_interval=5", NULL,
	    "quarry: UMEM_OPTIONS: 'Reap_interval' not recognized; did you "
	    "mean UMEM_OPTIONS=reap_interval?\n");
	says("QUARRY_OPTIONS", "stat", NULL,
	    "quarry: QUARRY_OPTIONS: 'stat' not recognized; did you mean "
	    "QUARRY_OPTIONS=stats?\n");
	/* Right, but of another variable. */
	says("QUARRY_OPTIONS", "guards", NULL,
	    "quarry: QUARRY_OPTIONS: 'guards' not recognized; did you mean "
	    "UMEM_DEBUG=guards?\n");
	says("UMEM_DEBUG", "harden", NULL,
	    "quarry: UMEM_DEBUG: 'harden' not recognized; did you mean "
	    "QUARRY_OPTIONS=harden?\n");
}

static void
a_name_like_no_other_is_answered_with_none(void **state)
{
	(void)state;

	says("UMEM_DEBUG", "xyzzy", NULL,
	    "quarry: UMEM_DEBUG: 'xyzzy' not recognized\n");
	says("UMEM_DEBUG", "=5", NULL,
	    "quarry: UMEM_DEBUG: '' not recognized\n");
	says("UMEM_LOGGING", "everything_there_is_to_be_known_of_it", NULL,
	    "quarry: UMEM_LOGGING: 'everything_there_is_to_be_known_of_it' not "
	    "recognized\n");
}

static void
t73_options_after_a_bad_one_still_count(void **state)
{
	(void)state;

	says("UMEM_DEBUG", "guards,xyzzy,noabort", both_debug,
	    "quarry: UMEM_DEBUG: 'xyzzy' not recognized\n");
	says("UMEM_OPTIONS", "reap_interval=x,reap_interval=3", reap_interval_3,
	    "quarry: UMEM_OPTIONS: reap_interval: not a number\n");
}

static void
an_item_of_any_length_is_survived(void **state)
{
	static char text[200000];
	struct setting s = {"UMEM_DEBUG", text, NULL};
	struct child c;
	(void)state;

	memset(text, 'a', sizeof(text) - 1);
	child_run(&c, read_it, &s);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	assert_memory_equal(c.c_stderr, "quarry: UMEM_DEBUG: 'aaa", 24);
	assert_in_range(c.c_len, 100, 1100);
	memset(text, ',', sizeof(text) - 1);
	s.s_holds = NULL;
	child_run(&c, read_it, &s);
	assert_int_equal(c.c_signal, 0);
}

static void
in_a_set_id_program(void *arg)
{
	failsys_secure(true);
	read_it(arg);
}

static void
a_set_id_program_ignores_the_environment(void **state)
{
	struct setting s = {"UMEM_DEBUG", "guards,noabort,xyzzy", NULL};
	struct child c;
	(void)state;

	child_run(&c, in_a_set_id_program, &s);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	assert_string_equal(c.c_stderr, "");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_option_does_what_it_says),
	    cmocka_unit_test(an_option_without_a_meaning_is_accepted),
	    cmocka_unit_test(a_size_is_decimal_with_a_suffix_in_either_case),
	    cmocka_unit_test(
		items_are_separated_by_commas_and_blanks_do_not_count),
	    cmocka_unit_test(a_bad_value_is_named_and_changes_nothing),
	    cmocka_unit_test(
		an_unknown_name_is_answered_with_the_nearest_known_one),
	    cmocka_unit_test(a_name_like_no_other_is_answered_with_none),
	    cmocka_unit_test(t73_options_after_a_bad_one_still_count),
	    cmocka_unit_test(an_item_of_any_length_is_survived),
	    cmocka_unit_test(a_set_id_program_ignores_the_environment),
	};

	defaults = umem__opt;
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
