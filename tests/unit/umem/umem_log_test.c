/*
 * umem_log_test.c - the logs of UMEM_LOGGING.
 *
 * Logs are made when a process starts, so each test is one of its own.
 */
#include "support/again.h"
#include "support/child.h"

#include <quarry/umem.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The log as a string. */
static char *
log_text(const char *name)
{
	static char text[1 << 20];
	FILE *f = tmpfile();
	size_t n;

	CHILD_CHECK(f != NULL);
	CHILD_CHECK(umem_log_write(fileno(f), name) == 0);
	rewind(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	text[n] = '\0';
	(void)fclose(f);
	return (text);
}

static size_t
count(const char *text, const char *what)
{
	size_t n = 0;

	while ((text = strstr(text, what)) != NULL) {
		text += strlen(what);
		n++;
	}
	return (n);
}

static void
cycle(umem_cache_t *cp, int times)
{
	for (int i = 0; i < times; i++) {
		void *p = umem_cache_alloc(cp, UMEM_DEFAULT);

		CHILD_CHECK(p != NULL);
		memset(p, i, 40);
		umem_cache_free(cp, p);
	}
}

static umem_cache_t *
cache(void)
{
	umem_cache_t *cp =
	    umem_cache_create("logged", 40, 0, NULL, NULL, NULL, NULL, NULL, 0);

	CHILD_CHECK(cp != NULL);
	return (cp);
}

/* ---- the parts ---- */

static void
transactions(void)
{
	char *text, *at, first[64], last[64];
	void *p;

	cycle(cache(), 3);
	p = umem_alloc(77, UMEM_DEFAULT);
	(void)snprintf(
	    first, sizeof(first), "  alloc  buffer=%p  size=77  cache: ", p);
	(void)snprintf(
	    last, sizeof(last), "  free  buffer=%p  size=77  cache: ", p);
	umem_free(p, 77);
	text = log_text("transaction");
	CHILD_CHECK(count(text, "  alloc  buffer=0x") == 4);
	CHILD_CHECK(count(text, "  free  buffer=0x") == 4);
	CHILD_CHECK(count(text, first) == 1);
	CHILD_CHECK(count(text, "size=40  cache: logged\n    #0 0x") == 6);
	at = strstr(text, last);
	CHILD_CHECK(at != NULL && strstr(at + 1, "T-") == NULL);
	CHILD_CHECK(strncmp(text, "T-0.", 4) == 0);
}

static void
a_ring_keeps_the_latest(void)
{
	umem_cache_t *cp = cache(),
		     *other = umem_cache_create(
			 "before", 40, 0, NULL, NULL, NULL, NULL, NULL, 0);
	char *text;
	size_t n;

	cycle(other, 5);
	CHILD_CHECK(count(log_text("transaction"), "cache: before") == 10);
	cycle(cp, 10000);
	text = log_text("transaction");
	n = count(text, "cache: logged");
	CHILD_CHECK(count(text, "cache: before") == 0);
	CHILD_CHECK(n >= 10 && n < 1000);
}

static void
contents(void)
{
	umem_cache_t *cp = cache();
	char *p = umem_cache_alloc(cp, UMEM_DEFAULT), *text;

	memset(p, 0x5a, 40);
	umem_cache_free(cp, p);
	text = log_text("contents");
	CHILD_CHECK(count(text, "  saved  buffer=0x") == 1);
	CHILD_CHECK(strstr(text,
			"size=17  cache: logged\n"
			"    0000  5a 5a 5a 5a 5a 5a 5a 5a 5a 5a 5a 5a "
			"5a 5a 5a 5a\n"
			"    0010  5a\n    #0 0x") != NULL);
	CHILD_CHECK(*log_text("transaction") == '\0');
}

static void
failures(void)
{
	umem_cache_t *cp = cache();

	cycle(cp, 3);
	CHILD_CHECK(*log_text("fail") == '\0');
	umem_setmtbf(1);
	CHILD_CHECK(umem_cache_alloc(cp, UMEM_DEFAULT) == NULL);
	umem_setmtbf(0);
	CHILD_CHECK(
	    count(log_text("fail"), "  fail  buffer=0x0  size=40") == 1);
}

static void
slabs(void)
{
	umem_cache_t *cp = cache();

	cycle(cp, 3);
	umem_cache_destroy(cp);
	CHILD_CHECK(count(log_text("slab"), "  create  slab=0x") == 1);
	CHILD_CHECK(count(log_text("slab"), "  destroy  slab=0x") == 1);
	CHILD_CHECK(
	    strstr(log_text("slab"), "size=16384  cache: logged") != NULL);
}

static void
what_is_not_asked_for_is_empty(void)
{
	static const char *const names[] = {
	    "transaction", "contents", "fail", "slab"};

	cycle(cache(), 10);
	for (int i = 0; i < 4; i++)
		CHILD_CHECK(*log_text(names[i]) == '\0');
	CHILD_CHECK(umem_log_write(1, "all") == EINVAL);
	CHILD_CHECK(umem_log_write(1, NULL) == EINVAL);
}

static void
what_cannot_be_written_is_told(void)
{
	cycle(cache(), 10);
	CHILD_CHECK(umem_log_write(-1, "transaction") == EBADF);
}

static void *
busy(void *cp)
{
	cycle(cp, 3000);
	return (NULL);
}

/* Entries come by their time, whichever ring they are in. */
static void
threads_and_a_reader(void)
{
	umem_cache_t *cp = cache();
	pthread_t threads[4];
	double last = 1e9;
	char *at;

	cycle(cp, 1);
	for (int i = 0; i < 4; i++)
		CHILD_CHECK(pthread_create(&threads[i], NULL, busy, cp) == 0);
	for (int i = 0; i < 3; i++)
		CHILD_CHECK(*log_text("transaction") == 'T');
	for (int i = 0; i < 4; i++)
		CHILD_CHECK(pthread_join(threads[i], NULL) == 0);
	for (at = log_text("transaction"); at != NULL;) {
		double ago = strtod(at + 2, NULL);

		CHILD_CHECK(ago <= last + 1.0);
		last = ago;
		at = strstr(at + 1, "\nT-");
		at = at == NULL ? NULL : at + 1;
	}
	if (fork() == 0) {
		cycle(cp, 10);
		CHILD_CHECK(*log_text("transaction") == 'T');
		_exit(0);
	}
	CHILD_CHECK(wait(NULL) > 0);
}

/* ---- running them ---- */

static void
holds(const char *part, const char *debug, const char *logging)
{
	struct again_run run = {part, {debug, logging}};
	struct child c;

	child_run(&c, again_exec, &run);
	if (c.c_signal != 0 || c.c_status != 0)
		fail_msg("%s, %s %s: signal %d, status %d: %s", part, debug,
		    logging, c.c_signal, c.c_status, c.c_stderr);
}

static void
each_allocation_and_free_is_a_transaction(void **state)
{
	(void)state;
	holds("transactions", "UMEM_DEBUG=audit", "UMEM_LOGGING=transaction");
	holds("transactions", "UMEM_DEBUG=default",
	    "UMEM_LOGGING=transaction=1m,contents");
}

static void
a_log_is_a_ring(void **state)
{
	(void)state;
	holds("ring", "UMEM_DEBUG=audit", "UMEM_LOGGING=transaction=16k");
}

static void
contents_are_saved_when_an_object_is_freed(void **state)
{
	(void)state;
	holds("contents", "UMEM_DEBUG=audit,contents=17",
	    "UMEM_LOGGING=contents");
}

static void
a_request_that_got_nothing_is_logged(void **state)
{
	(void)state;
	holds("failures", "UMEM_DEBUG=guards", "UMEM_LOGGING=fail");
}

static void
slabs_are_logged_as_they_come_and_go(void **state)
{
	(void)state;
	holds("slabs", "UMEM_DEBUG=guards", "UMEM_LOGGING=slab");
}

static void
there_is_no_log_unless_asked_for_and_audited(void **state)
{
	(void)state;
	holds("empty", "UMEM_DEBUG=default", "UMEM_LOGGING=");
	holds("empty", "UMEM_DEBUG=", "UMEM_LOGGING=transaction,contents,slab");
	holds("empty", "UMEM_DEBUG=default", "UMEM_LOGGING=transaction=0");
}

static void
a_log_that_cannot_be_written_is_an_errno(void **state)
{
	(void)state;
	holds("error", "UMEM_DEBUG=audit", "UMEM_LOGGING=transaction");
}

static void
a_log_is_read_while_threads_write_it(void **state)
{
	(void)state;
	holds("threads", "UMEM_DEBUG=audit", "UMEM_LOGGING=transaction");
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"transactions", transactions},
	    {"ring", a_ring_keeps_the_latest},
	    {"contents", contents},
	    {"failures", failures},
	    {"slabs", slabs},
	    {"empty", what_is_not_asked_for_is_empty},
	    {"error", what_cannot_be_written_is_told},
	    {"threads", threads_and_a_reader},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_allocation_and_free_is_a_transaction),
	    cmocka_unit_test(a_log_is_a_ring),
	    cmocka_unit_test(contents_are_saved_when_an_object_is_freed),
	    cmocka_unit_test(a_request_that_got_nothing_is_logged),
	    cmocka_unit_test(slabs_are_logged_as_they_come_and_go),
	    cmocka_unit_test(there_is_no_log_unless_asked_for_and_audited),
	    cmocka_unit_test(a_log_that_cannot_be_written_is_an_errno),
	    cmocka_unit_test(a_log_is_read_while_threads_write_it),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
