/*
 * umem_report_test.c - what a verbose report says, line by line.
 *
 * Each error is planted in a process of its own with UMEM_DEBUG set; the lines
 * are patterns for fnmatch(3), in which "F" stands for any number of frames.
 */
#define _GNU_SOURCE 1 /* FNM_EXTMATCH */

#include "support/again.h"
#include "support/child.h"
#include "support/failsys.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <errno.h>
#include <fnmatch.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 100 };

static char *
buffer(size_t size)
{
	char *p = umem_alloc(size, UMEM_DEFAULT);

	CHILD_CHECK(p != NULL);
	memset(p, 'a', size);
	return (p);
}

static umem_cache_t *
cache(const char *name)
{
	umem_cache_t *cp =
	    umem_cache_create(name, SIZE, 0, NULL, NULL, NULL, NULL, NULL, 0);

	CHILD_CHECK(cp != NULL && umem_cache_alloc(cp, UMEM_DEFAULT) != NULL);
	return (cp);
}

/* ---- the errors ---- */

static void
modified(void)
{
	char *p = buffer(SIZE);

	umem_free(p, SIZE);
	p[17] = 0;
	(void)umem_alloc(SIZE, UMEM_DEFAULT);
}

static void
redzone(void)
{
	char *p = buffer(SIZE);

	p[SIZE] = 0;
	umem_free(p, SIZE);
}

static void
bad_address(void)
{
	static _Alignas(16) char mine[SIZE];

	umem_cache_free(cache("mine"), mine);
}

static void
twice(void)
{
	char *p = buffer(SIZE);

	umem_free(p, SIZE);
	umem_free(p, SIZE);
}

static void
tag(void)
{
	char *p = buffer(SIZE);

	memset(p + 128, 0, 8);
	umem_free(p, SIZE);
}

static void
bufctl(void)
{
	char *p = buffer(SIZE);
	void *bc;

	memcpy(&bc, p + 120, sizeof(bc));
	memset(bc, 0x55, 8);
	umem_free(p, SIZE);
}

static void
other_cache(void)
{
	umem_cache_t *mine = cache("mine"), *yours = cache("yours");

	umem_cache_free(mine, umem_cache_alloc(yours, UMEM_DEFAULT));
}

static void
size(void)
{
	umem_free(buffer(SIZE), SIZE - 1);
}

static void
interior(void)
{
	umem_free(buffer(SIZE) + 8, SIZE);
}

/* ---- the reports ---- */

#define BUFFER(name) "buffer=0x*  bufctl=0x*  cache: " name
#define ASKED "size: 100 bytes asked for"
#define WHO(name) "thread=0x*  time=T-0.*  slab=0x*  cache: " name
#define LAST "previous transaction on buffer 0x*:"
#define ALLOCATED "allocation of buffer 0x*:"
#define CORRUPT "umem: heap corruption detected"
#define STACK "stack trace:"
#define CLASS "umem_alloc_112"

enum { LINES = 16 };

static const struct report {
	const char *re_name;
	void (*re_fn)(void);
	const char *re_line[LINES];
} reports[] = {
    {"modified", modified,
	{"umem allocator: buffer modified after being freed",
	    "modification occurred at offset 0x10 "
	    "(0xdeadbeefdeadbeef replaced by 0xdeadbeefdead00ef)",
	    BUFFER(CLASS), ASKED, LAST, WHO(CLASS), "F", ALLOCATED, WHO(CLASS),
	    "F", CORRUPT, STACK, "F"}},
    {"redzone", redzone,
	{"umem allocator: redzone violation: write past end of buffer",
	    BUFFER(CLASS), ASKED, LAST, WHO(CLASS), "F", CORRUPT, STACK, "F"}},
    {"bad address", bad_address,
	{"umem allocator: invalid free: buffer not in cache",
	    "buffer=0x*  bufctl=0x0  cache: mine", CORRUPT, STACK, "F"}},
    {"twice", twice,
	{"umem allocator: duplicate free: buffer freed twice", BUFFER(CLASS),
	    ASKED, LAST, WHO(CLASS), "F", ALLOCATED, WHO(CLASS), "F", CORRUPT,
	    STACK, "F"}},
    {"tag", tag,
	{"umem allocator: boundary tag corrupted",
	    "bcp ^ bxstat = *, should be a110c8ed", BUFFER(CLASS), ASKED, LAST,
	    WHO(CLASS), "F", CORRUPT, STACK, "F"}},
    {"bufctl", bufctl,
	{"umem allocator: bufctl corrupted", BUFFER(CLASS), CORRUPT, STACK,
	    "F"}},
    {"other cache", other_cache,
	{"umem allocator: buffer freed to wrong cache",
	    "buffer was allocated from yours,",
	    "caller attempting free to mine.", BUFFER("mine"), ASKED, LAST,
	    WHO("yours"), "F", CORRUPT, STACK, "F"}},
    {"size", size,
	{"umem allocator: bad free: free size (99) != alloc size (100)",
	    BUFFER(CLASS), ASKED, LAST, WHO(CLASS), "F", CORRUPT, STACK, "F"}},
    {"interior", interior,
	{"umem allocator: bad free: free address (0x*8) != alloc address "
	 "(0x*)",
	    BUFFER(CLASS), ASKED, LAST, WHO(CLASS), "F", CORRUPT, STACK, "F"}},
};

enum { REPORTS = sizeof(reports) / sizeof(reports[0]) };

static const char *frame = "    #* 0x* (/*+0x*) (BuildId: *)";

/* Take the next line off *text; NULL at the end. */
static char *
next_line(char **text)
{
	char *line = *text, *stop = strchr(line, '\n');

	if (stop == NULL)
		return (NULL);
	*stop = '\0';
	*text = stop + 1;
	return (line);
}

/* At least one frame, the first of them numbered 0. */
static void
expect_frames(const struct report *re, char **text)
{
	char start[32];
	int n;

	for (n = 0;; n++) {
		char *at = *text, *line;

		(void)snprintf(start, sizeof(start), "    #%d 0x", n);
		if (strncmp(at, start, strlen(start)) != 0)
			break;
		line = next_line(text);
		if (line == NULL || fnmatch(frame, line, FNM_EXTMATCH) != 0)
			fail_msg("%s: frame %d: %s", re->re_name, n, at);
	}
	if (n == 0)
		fail_msg("%s: no frames before: %s", re->re_name, *text);
}

static void
expect_report(const struct report *re, char *text)
{
	for (int i = 0; i < LINES && re->re_line[i] != NULL; i++) {
		char *line;

		if (strcmp(re->re_line[i], "F") == 0) {
			expect_frames(re, &text);
			continue;
		}
		line = next_line(&text);
		if (line == NULL || fnmatch(re->re_line[i], line, 0) != 0)
			fail_msg("%s: %s\ninstead of\n%s", re->re_name,
			    line == NULL ? "(end)" : line, re->re_line[i]);
	}
	assert_string_equal(text, "");
}

static void
run(struct child *c, const struct report *re, const char *variable)
{
	struct again_run ar = {re->re_name, {variable, "UMEM_LOGGING="}};

	child_run(c, again_exec, &ar);
}

static void
a_verbose_report_tells_everything_in_the_words_of_libumem(void **state)
{
	struct child c;
	(void)state;

	for (int i = 0; i < REPORTS; i++) {
		run(&c, &reports[i], "UMEM_DEBUG=default,verbose");
		if (c.c_signal != SIGABRT)
			fail_msg("%s: signal %d, status %d: %s",
			    reports[i].re_name, c.c_signal, c.c_status,
			    c.c_stderr);
		expect_report(&reports[i], c.c_stderr);
	}
}

/* The first line is the same, up to the colon that follows what is wrong. */
static void
t70_the_whole_report_comes_only_with_verbose_but_the_process_dies_without(
    void **state)
{
	struct child c;
	char pattern[256];
	(void)state;

	for (int i = 0; i < REPORTS; i++) {
		run(&c, &reports[i], "UMEM_DEBUG=default");
		assert_int_equal(c.c_signal, SIGABRT);
		(void)snprintf(pattern, sizeof(pattern), "%s: buffer=0x*\n",
		    reports[i].re_line[0]);
		if (fnmatch(pattern, c.c_stderr, 0) != 0 ||
		    strchr(c.c_stderr, '\n')[1] != '\0')
			fail_msg("%s: %s", reports[i].re_name, c.c_stderr);
	}
}

static void
with_noabort_a_verbose_report_is_the_same_and_the_process_goes_on(void **state)
{
	struct child c;
	(void)state;

	for (int i = 0; i < REPORTS; i++) {
		run(&c, &reports[i], "UMEM_DEBUG=default,verbose,noabort");
		if (c.c_signal != 0 || c.c_status != 0)
			fail_msg("%s: signal %d: %s", reports[i].re_name,
			    c.c_signal, c.c_stderr);
		expect_report(&reports[i], c.c_stderr);
	}
}

/* ---- to a hook ---- */

static void
hook(const char *message)
{
	(void)dprintf(STDERR_FILENO, "%s", message);
}

static void
twice_with_a_hook(void)
{
	CHILD_CHECK(quarry_set_panic_hook(hook) == NULL);
	twice();
}

static void
a_panic_hook_is_given_the_whole_report(void **state)
{
	struct again_run ar = {"hook", {"UMEM_DEBUG=default,verbose"}};
	struct child c;
	(void)state;

	child_run(&c, again_exec, &ar);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	expect_report(&reports[3], c.c_stderr);
}

/* ---- without /proc ---- */

static void
twice_without_files(void)
{
	failsys_from(FAILSYS_OPEN, 1, ENOENT);
	twice();
}

static void
without_names_a_stack_is_addresses(void **state)
{
	struct again_run ar = {"no files", {"UMEM_DEBUG=default,verbose"}};
	const char *named = frame;
	struct child c;
	(void)state;

	child_run(&c, again_exec, &ar);
	assert_int_equal(c.c_signal, SIGABRT);
	frame = "    #+([0-9]) 0x+([0-9a-f])";
	expect_report(&reports[3], c.c_stderr);
	frame = named;
}

/* ---- what the logs add ---- */

static void
the_report_has_what_the_logs_say_of_the_buffer(void **state)
{
	struct again_run ar = {"twice",
	    {"UMEM_DEBUG=default,verbose",
		"UMEM_LOGGING=transaction,contents"}};
	struct child c;
	char *at;
	(void)state;

	child_run(&c, again_exec, &ar);
	assert_int_equal(c.c_signal, SIGABRT);
	at = strstr(c.c_stderr, "  saved  buffer=0x");
	assert_non_null(at);
	at = strstr(
	    at, "\n    0000  61 61 61 61 61 61 61 61 61 61 61 61 61 61 ");
	assert_non_null(at);
	at = strstr(at, "\n    0060  61 61 61 61\n");
	assert_non_null(at);
	at = strstr(at, "  alloc  buffer=0x");
	assert_non_null(at);
	at = strstr(at, "  free  buffer=0x");
	assert_non_null(at);
}

int
main(int argc, char **argv)
{
	struct again parts[REPORTS + 3] = {
	    {"hook", twice_with_a_hook}, {"no files", twice_without_files}};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_verbose_report_tells_everything_in_the_words_of_libumem),
	    cmocka_unit_test(
		t70_the_whole_report_comes_only_with_verbose_but_the_process_dies_without),
	    cmocka_unit_test(
		with_noabort_a_verbose_report_is_the_same_and_the_process_goes_on),
	    cmocka_unit_test(a_panic_hook_is_given_the_whole_report),
	    cmocka_unit_test(without_names_a_stack_is_addresses),
	    cmocka_unit_test(the_report_has_what_the_logs_say_of_the_buffer),
	};

	for (int i = 0; i < REPORTS; i++)
		parts[i + 2] =
		    (struct again){reports[i].re_name, reports[i].re_fn};
	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
