/*
 * umem_test.c - each wrong call of umem dies of SIGABRT with one message.
 *
 * The table says when: at once, or when the object reaches its slab.  Where
 * every free is checked (UMEM_DEBUG=guards, QUARRY_OPTIONS=harden), and in a
 * cache without magazines, it is always at once.  With UMEM_DEBUG=noabort, or
 * a panic hook that returns, the call does nothing.
 */
#include "support/again.h"
#include "support/child.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <fnmatch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 100, LARGE = 200000, WENT_ON = 7 };

static umem_cache_t *mine, *other;
static _Alignas(16) char in_static[SIZE];

/* One that stays, so that the slab does. */
static void
caches_make(int cflags)
{
	mine = umem_cache_create(
	    "mine", SIZE, 16, NULL, NULL, NULL, NULL, NULL, cflags);
	other = umem_cache_create(
	    "other", SIZE, 16, NULL, NULL, NULL, NULL, NULL, cflags);
	CHILD_CHECK(mine != NULL && other != NULL);
	CHILD_CHECK(umem_cache_alloc(mine, UMEM_DEFAULT) != NULL);
	CHILD_CHECK(umem_cache_alloc(other, UMEM_DEFAULT) != NULL);
	CHILD_CHECK(umem_alloc(SIZE, UMEM_DEFAULT) != NULL);
}

static char *
object(umem_cache_t *cp)
{
	char *p = umem_cache_alloc(cp, UMEM_DEFAULT);

	CHILD_CHECK(p != NULL);
	return (p);
}

static char *
buffer(size_t size)
{
	char *p = umem_alloc(size, UMEM_DEFAULT);

	CHILD_CHECK(p != NULL);
	return (p);
}

/* ---- the wrong calls ---- */

static void
twice_in_a_row(void)
{
	char *a = object(mine);

	umem_cache_free(mine, a);
	umem_cache_free(mine, a);
}

static void
twice_with_another_between(void)
{
	char *a = object(mine), *b = object(mine);

	umem_cache_free(mine, a);
	umem_cache_free(mine, b);
	umem_cache_free(mine, a);
}

static void
to_the_wrong_cache(void)
{
	umem_cache_free(mine, object(other));
}

static void
interior(void)
{
	umem_cache_free(mine, object(mine) + 16);
}

static void
foreign(void)
{
	umem_cache_free(mine, in_static);
}

static void
odd(void)
{
	umem_cache_free(mine, object(mine) + 1);
}

static void
null(void)
{
	umem_cache_free(mine, NULL);
}

static void
second_of_a_batch(void)
{
	void *batch[3] = {object(mine), in_static, object(mine)};

	umem_cache_free_batch(mine, batch, 3);
}

static void
null_with_a_size(void)
{
	umem_free(NULL, SIZE);
}

static void
buffer_twice(void)
{
	char *a = buffer(SIZE);

	umem_free(a, SIZE);
	umem_free(a, SIZE);
}

static void
buffer_of_another_class(void)
{
	umem_free(buffer(SIZE), 200);
}

static void
buffer_to_a_cache(void)
{
	umem_cache_free(mine, buffer(SIZE));
}

static void
object_as_a_buffer(void)
{
	umem_free(object(mine), SIZE);
}

static void
small_as_large(void)
{
	umem_free(buffer(SIZE), LARGE);
}

static void
large_as_small(void)
{
	umem_free(buffer(LARGE), SIZE);
}

static void
large_twice(void)
{
	char *a = buffer(LARGE);

	umem_free(a, LARGE);
	umem_free(a, LARGE);
}

static void
large_of_another_size(void)
{
	umem_free(buffer(LARGE), LARGE - 1);
}

static void
size_of_nothing(void)
{
	umem_free(buffer(SIZE), 0);
}

static void
aligned_as_a_buffer(void)
{
	umem_free(umem_alloc_align(SIZE, 64, UMEM_DEFAULT), SIZE);
}

static void
buffer_as_aligned(void)
{
	umem_free_align(umem_alloc_align(SIZE, 64, UMEM_DEFAULT), SIZE);
	umem_free_align(buffer(SIZE), SIZE);
}

static void
buffer_as_the_first_aligned(void)
{
	umem_free_align(buffer(SIZE), SIZE);
}

/* ---- and what is said; a * stands for an address ---- */

#define BAD "umem allocator: "

static const struct misuse {
	const char *mu_name;
	void (*mu_fn)(void);
	bool mu_at_once; /* in a cache with magazines */
	const char *mu_message;
} table[] = {
    {"twice in a row", twice_in_a_row, true,
	BAD "duplicate free: buffer freed twice: buffer=0x*"
	    " (cache mine, slab 0x*), freed to cache mine"},
    {"twice with another between", twice_with_another_between, false,
	BAD "duplicate free: buffer freed twice: buffer=0x*"
	    " (cache mine, slab 0x*), freed to cache mine"},
    {"to the wrong cache", to_the_wrong_cache, false,
	BAD "buffer freed to wrong cache: buffer=0x*"
	    " (cache other, slab 0x*), freed to cache mine"},
    {"interior", interior, false,
	BAD "bad free: free address (0x*) != alloc address (0x*): buffer=0x*"
	    " (cache mine, slab 0x*), freed to cache mine"},
    {"foreign", foreign, false,
	BAD "invalid free: buffer not in cache: buffer=0x*"
	    " (not memory of this allocator), freed to cache mine"},
    {"odd", odd, true,
	BAD "bad free: free address (0x*) != alloc address (0x*): buffer=0x*"
	    " (cache mine, slab 0x*), freed to cache mine"},
    {"NULL", null, true,
	BAD "invalid free: buffer not in cache: buffer=0x0"
	    " (not memory of this allocator), freed to cache mine"},
    {"second of a batch", second_of_a_batch, false,
	BAD "invalid free: buffer not in cache: buffer=0x*"
	    " (not memory of this allocator), freed to cache mine"},
    {"NULL with a size", null_with_a_size, true,
	BAD "invalid free: buffer not in cache: buffer=0x0"
	    " (not memory of this allocator), freed to cache umem_alloc_112"},
    {"buffer twice", buffer_twice, true,
	BAD "duplicate free: buffer freed twice: buffer=0x*"
	    " (cache umem_alloc_112, slab 0x*), freed to cache umem_alloc_112"},
    {"buffer of another class", buffer_of_another_class, false,
	BAD "buffer freed to wrong cache: buffer=0x*"
	    " (cache umem_alloc_112, slab 0x*), freed to cache umem_alloc_208"},
    {"buffer to a cache", buffer_to_a_cache, false,
	BAD "buffer freed to wrong cache: buffer=0x*"
	    " (cache umem_alloc_112, slab 0x*), freed to cache mine"},
    {"object as a buffer", object_as_a_buffer, false,
	BAD "buffer freed to wrong cache: buffer=0x*"
	    " (cache mine, slab 0x*), freed to cache umem_alloc_112"},
    {"small as large", small_as_large, true,
	"umem_free(0x*, 200000): not a buffer of that size"},
    {"large as small", large_as_small, false,
	BAD "invalid free: buffer not in cache: buffer=0x*"
	    " (mapping 0x* of 200000 bytes), freed to cache umem_alloc_112"},
    {"large twice", large_twice, true,
	"umem_free(0x*, 200000): not a buffer of that size"},
    {"large of another size", large_of_another_size, true,
	"umem_free(0x*, 199999): wrong size (expect 200000)"},
    {"size of nothing", size_of_nothing, true,
	"umem_free(0x*, 0): not a buffer of that size"},
    {"aligned as a buffer", aligned_as_a_buffer, false,
	BAD "invalid free: buffer not in cache: buffer=0x*"
	    " (heap, but not the start of a block in use), freed to cache"
	    " umem_alloc_112"},
    {"buffer as aligned", buffer_as_aligned, true,
	"vmem_hash_delete(0x*, *, 100): bad free"},
    {"buffer as the first aligned", buffer_as_the_first_aligned, true,
	"umem_free_align(0x*, 100): bad free"},
};

enum { MISUSES = sizeof(table) / sizeof(table[0]) };

/* ---- running them ---- */

static const struct misuse *current;
static int current_flags;

/* Exit status WENT_ON: the call itself said nothing. */
static void
call_only(void *unused)
{
	(void)unused;
	caches_make(current_flags);
	current->mu_fn();
	_exit(WENT_ON);
}

static void
call_and_reap(void *unused)
{
	(void)unused;
	caches_make(current_flags);
	current->mu_fn();
	(void)quarry_reap();
}

static void
fail_current(const struct child *c, const char *what)
{
	fail_msg("%s: %s; signal %d, status %d: %s", current->mu_name, what,
	    c->c_signal, c->c_status, c->c_stderr);
}

/* One line like the message of the current misuse, after `prefix`. */
static void
expect_message(struct child *c, const char *prefix)
{
	size_t skip = strlen(prefix);
	char *end = strchr(c->c_stderr, '\n');

	if (end == NULL || end[1] != '\0')
		fail_current(c, "not one line");
	*end = '\0';
	if (strncmp(c->c_stderr, prefix, skip) != 0 ||
	    fnmatch(current->mu_message, c->c_stderr + skip, 0) != 0)
		fail_current(c, "another message");
}

static void
expect_death(void (*fn)(void *))
{
	struct child c;

	child_run(&c, fn, NULL);
	if (c.c_signal != SIGABRT)
		fail_current(&c, "did not abort");
	expect_message(&c, "");
}

static void
a_wrong_call_dies_at_the_slab_at_the_latest(void **state)
{
	(void)state;

	current_flags = 0;
	for (current = table; current < table + MISUSES; current++) {
		struct child c;

		expect_death(call_and_reap);
		child_run(&c, call_only, NULL);
		if (c.c_signal != (current->mu_at_once ? SIGABRT : 0))
			fail_current(&c, "not when the table says");
	}
}

/* Those that involve a class of umem_alloc have magazines all the same. */
static void
a_cache_without_magazines_says_so_at_once(void **state)
{
	(void)state;

	current_flags = UMC_NOMAGAZINE;
	for (current = table; current < table + MISUSES; current++) {
		if (strstr(current->mu_message, "to cache mine") != NULL)
			expect_death(call_only);
	}
}

static void
hook(const char *message)
{
	(void)dprintf(STDERR_FILENO, "hook: %s\n", message);
}

static void
call_with_hook(void *arg)
{
	CHILD_CHECK(quarry_set_panic_hook(hook) == NULL);
	call_and_reap(arg);
	CHILD_CHECK(umem_cache_alloc(mine, UMEM_DEFAULT) != NULL);
	CHILD_CHECK(umem_alloc(SIZE, UMEM_DEFAULT) != NULL);
}

static void
with_a_hook_that_returns_a_wrong_call_does_nothing(void **state)
{
	(void)state;

	current_flags = 0;
	for (current = table; current < table + MISUSES; current++) {
		struct child c;

		child_run(&c, call_with_hook, NULL);
		if (c.c_signal != 0 || c.c_status != 0)
			fail_current(&c, "did not go on");
		expect_message(&c, "hook: ");
	}
}

/* ---- with options, which are read when a process starts ---- */

static void
by_number(void)
{
	const char *text = getenv("MISUSE");

	current = &table[text == NULL ? 0 : atoi(text)];
	call_only(NULL);
}

static void
by_number_and_reap(void)
{
	const char *text = getenv("MISUSE");

	current = &table[text == NULL ? 0 : atoi(text)];
	call_and_reap(NULL);
	CHILD_CHECK(umem_cache_alloc(mine, UMEM_DEFAULT) != NULL);
	CHILD_CHECK(umem_alloc(SIZE, UMEM_DEFAULT) != NULL);
}

static void
run_again(struct child *c, const char *part, const char *option)
{
	char number[32];
	struct again_run run = {part, {option, number}};

	(void)snprintf(
	    number, sizeof(number), "MISUSE=%d", (int)(current - table));
	child_run(c, again_exec, &run);
}

static void
where_every_free_is_checked_it_dies_at_once(void **state)
{
	static const char *const options[] = {
	    "UMEM_DEBUG=guards", "QUARRY_OPTIONS=harden"};
	(void)state;

	for (int i = 0; i < 2; i++) {
		for (current = table; current < table + MISUSES; current++) {
			struct child c;

			run_again(&c, "call", options[i]);
			if (c.c_signal != SIGABRT)
				fail_current(&c, options[i]);
			expect_message(&c, "");
		}
	}
}

static void
t71_noabort_reports_and_goes_on(void **state)
{
	(void)state;

	for (current = table; current < table + MISUSES; current++) {
		struct child c;

		/* An arena's panic is none of umem's errors. */
		if (strncmp(current->mu_message, "vmem_", 5) == 0)
			continue;
		run_again(&c, "call and reap", "UMEM_DEBUG=noabort");
		if (c.c_signal != 0 || c.c_status != 0)
			fail_current(&c, "did not go on");
		expect_message(&c, "quarry: ");
	}
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"call", by_number},
	    {"call and reap", by_number_and_reap},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_wrong_call_dies_at_the_slab_at_the_latest),
	    cmocka_unit_test(a_cache_without_magazines_says_so_at_once),
	    cmocka_unit_test(
		with_a_hook_that_returns_a_wrong_call_does_nothing),
	    cmocka_unit_test(where_every_free_is_checked_it_dies_at_once),
	    cmocka_unit_test(t71_noabort_reports_and_goes_on),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
