/*
 * umem_write_test.c - statistics: what they say adds up, and reads as what it
 * claims to be.
 */
#define _GNU_SOURCE 1 /* memfd_create, program_invocation_short_name */

#include "umem/umem_impl.h"
#include "umem/umem_stats.h"

#include "support/failsys.h"
#include "support/json.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT_MAX = 4 << 20 };
static char text[TEXT_MAX];

static int
end(void **state)
{
	(void)state;
	failsys_reset();
	look_check();
	return (0);
}

/* What quarry_stats_write() writes, in text[]. */
static size_t
written(const char *format)
{
	int fd = memfd_create("statistics", 0);
	ssize_t n;

	assert_true(fd >= 0);
	assert_int_equal(quarry_stats_write(fd, format), 0);
	n = pread(fd, text, sizeof(text) - 1, 0);
	assert_in_range(n, 1, sizeof(text) - 2);
	text[n] = '\0';
	(void)close(fd);
	return ((size_t)n);
}

/* What is written begins so, with the name and the number of this process. */
static void
assert_begins(const char *format)
{
	char head[128];

	(void)snprintf(head, sizeof(head), format,
	    program_invocation_short_name, (int)getpid());
	assert_memory_equal(text, head, strlen(head));
}

/* A cache of which 30 objects are in use and 70 are free. */
static void *held[100];

static umem_cache_t *
known_cache(const char *name)
{
	umem_cache_t *cp =
	    umem_cache_create(name, 1000, 8, NULL, NULL, NULL, NULL, NULL, 0);

	assert_non_null(cp);
	for (size_t i = 0; i < 100; i++)
		held[i] = umem_cache_alloc(cp, 0);
	for (size_t i = 30; i < 100; i++)
		umem_cache_free(cp, held[i]);
	return (cp);
}

static void
known_done(umem_cache_t *cp)
{
	for (size_t i = 0; i < 30; i++)
		umem_cache_free(cp, held[i]);
	umem_cache_destroy(cp);
}

/* ---- errors ---- */

static void
an_unknown_format_is_refused(void **state)
{
	(void)state;

	assert_int_equal(quarry_stats_write(1, "xml"), EINVAL);
	assert_int_equal(quarry_stats_write(1, ""), EINVAL);
	assert_int_equal(quarry_stats_write(1, "JSON"), EINVAL);
	assert_int_equal(quarry_stats_write(1, NULL), EINVAL);
}

static void
what_cannot_be_written_is_an_errno(void **state)
{
	int full = open("/dev/full", O_WRONLY);
	(void)state;

	assert_int_equal(quarry_stats_write(-1, "text"), EBADF);
	assert_int_equal(quarry_stats_write(-1, "json"), EBADF);
	assert_true(full >= 0);
	assert_int_equal(quarry_stats_write(full, "openmetrics"), ENOSPC);
	(void)close(full);
}

static void
nothing_is_allocated_for_it(void **state)
{
	size_t heap = look_heap();
	int fd = open("/dev/null", O_WRONLY);
	(void)state;

	failsys_reset();
	assert_int_equal(quarry_stats_write(fd, "text"), 0);
	assert_int_equal(quarry_stats_write(fd, "json"), 0);
	assert_int_equal(quarry_stats_write(fd, "openmetrics"), 0);
	assert_int_equal(failsys_calls(FAILSYS_MMAP), 0);
	assert_int_equal(look_heap(), heap);
	(void)close(fd);
}

/* ---- the numbers ---- */

static void
each_object_is_in_use_cached_or_free(void **state)
{
	umem_cache_t *cp = known_cache("known");
	struct umem_stat us;
	(void)state;

	assert_true(look_cache("known", &us));
	assert_int_equal(us.us_size, 1000);
	assert_int_equal(us.us_inuse, 30);
	assert_in_range(us.us_cached, 1, 70 + 128);
	assert_int_equal(
	    (us.us_inuse + us.us_cached + us.us_free) % cp->cache_nchunks, 0);
	assert_int_equal(us.us_memory / cp->cache_slabsize,
	    (us.us_inuse + us.us_cached + us.us_free) / cp->cache_nchunks);
	assert_int_equal(us.us_fails, 0);
	assert_in_range(us.us_allocs, 1, 100);
	known_done(cp);
}

static void
totals_are_the_sums_of_the_caches(void **state)
{
	umem_cache_t *cp = known_cache("summed");
	void *large = umem_alloc(300000, 0);
	struct umem_totals before, after;
	umem_cache_t *cp2;
	vmem_t *vmp;
	(void)state;

	umem__totals(&before);
	assert_true(before.ut_large >= 300000);
	assert_in_range(before.ut_nlarge, 1, 100);
	umem_free(large, 300000);
	for (size_t i = 0; i < 10; i++)
		umem_cache_free(cp, held[i]);
	umem__totals(&after);
	assert_int_equal(before.ut_nlarge - after.ut_nlarge, 1);
	assert_int_equal(before.ut_blocks - after.ut_blocks, 11);
	assert_int_equal(before.ut_inuse - after.ut_inuse,
	    10 * 1000 + before.ut_large - after.ut_large);
	/* Integers are not bytes. */
	vmp = vmem_create("not bytes", (void *)(1 << 20), (size_t)1 << 40,
	    1 << 20, NULL, NULL, NULL, 0, VM_NOSLEEP | VMC_IDENTIFIER);
	cp2 = umem_cache_create(
	    "not bytes", 1 << 20, 0, NULL, NULL, NULL, NULL, vmp, UMC_NOTOUCH);
	assert_non_null(umem_cache_alloc(cp2, 0));
	umem__totals(&before);
	assert_int_equal(before.ut_inuse, after.ut_inuse);
	assert_int_equal(before.ut_cached, after.ut_cached);
	/* What is in use, cached, free or idle is mapped. */
	assert_true(
	    after.ut_inuse + after.ut_cached + after.ut_free + after.ut_idle <=
	    after.ut_mapped);
	assert_in_range(after.ut_meta, 4096, (size_t)1 << 30);
	for (size_t i = 0; i < 10; i++)
		held[i] = umem_cache_alloc(cp, 0);
	known_done(cp);
}

/* ---- JSON ---- */

/* The number of `key` in the object of the cache of that name. */
static size_t
json_field(const char *name, const char *key)
{
	char pattern[128];
	const char *at;

	(void)snprintf(pattern, sizeof(pattern), "{\"name\":\"%s\"", name);
	at = strstr(text, pattern);
	assert_non_null(at);
	(void)snprintf(pattern, sizeof(pattern), "\"%s\":", key);
	at = strstr(at, pattern);
	assert_non_null(at);
	return (strtoul(at + strlen(pattern), NULL, 10));
}

static void
json_is_json_with_the_same_numbers(void **state)
{
	umem_cache_t *cp = known_cache("in json");
	vmem_t *vmp = vmem_create(
	    "asked", (void *)4096, 4096, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);
	struct umem_stat us;
	(void)state;

	(void)vmem_contains(vmp, (void *)1, 1);
	(void)vmem_contains(vmp, (void *)4096, 1);
	(void)written("json");
	assert_true(json_valid(text));
	assert_true(look_cache("in json", &us));
	assert_begins("{\"version\":\"1.0.0\",\"program\":\"%s\","
		      "\"process\":%d,");
	assert_int_equal(json_field("in json", "size"), 1000);
	assert_int_equal(json_field("in json", "inuse"), 30);
	assert_int_equal(json_field("in json", "cached"), us.us_cached);
	assert_int_equal(json_field("in json", "free"), us.us_free);
	assert_int_equal(json_field("in json", "memory"), us.us_memory);
	assert_int_equal(json_field("in json", "fails"), 0);
	assert_int_equal(json_field("in json", "misses"), us.us_allocs);
	assert_true(json_field("heap", "total") >= us.us_memory);
	assert_int_equal(json_field("asked", "contains"), 2);
	assert_int_equal(json_field("asked", "contains_searches"), 1);
	assert_int_equal(json_field("asked", "lookups"), 0);
	assert_int_equal(json_field("asked", "searches"), 0);
	assert_int_equal(json_field("asked", "populate_waits"), 0);
	assert_int_equal(json_field("asked", "populate_fails"), 0);
	vmem_destroy(vmp);
	known_done(cp);
}

/* Names are whatever a caller passed, cut at 31 bytes. */
static const char *const names[] = {
    "\"quoted\"",
    "back\\slash",
    "line\nfeed\ttab\r\1\37\177",
    "{cache=\"x\"} 5",
    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
    "cut in the middle of a char: \xe2\x82\xac",
    "latin-1: \xe4\xf6\xfc",
    "overlong: \xc0\xaf\xe0\x80\xaf surrogate: \xed\xa0\x80",
    "\xff\xfe\x80",
    "\xf5\x80\x80\x80 \xf4\x90\x80\x80",
};
enum { NAMES = sizeof(names) / sizeof(names[0]) };

static void
any_name_leaves_json_valid(void **state)
{
	umem_cache_t *cp[NAMES];
	(void)state;

	for (size_t i = 0; i < NAMES; i++)
		cp[i] = umem_cache_create(
		    names[i], 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
	(void)written("json");
	assert_true(json_valid(text));
	assert_non_null(strstr(text, "\"\\\"quoted\\\"\""));
	assert_non_null(strstr(text, "\"back\\\\slash\""));
	assert_non_null(
	    strstr(text, "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\""));
	for (size_t i = 0; i < NAMES; i++)
		umem_cache_destroy(cp[i]);
}

/* ---- OpenMetrics ---- */

/* A quoted string in which a backslash stands before one of three characters. */
static const char *
label_text(const char *s)
{
	if (*s++ != '"')
		return (NULL);
	for (; *s != '"'; s++) {
		if (*s == '\0' || (*s == '\\' && strchr("\\\"n", *++s) == NULL))
			return (NULL);
	}
	return (s + 1);
}

/* name{label="value",...} number; what precedes the number is the series. */
static const char *
metrics_series_end(const char *s)
{
	while (isalnum((unsigned char)*s) || *s == '_')
		s++;
	if (*s++ != '{')
		return (NULL);
	for (;;) {
		const char *label = s;

		while (islower((unsigned char)*s))
			s++;
		if (s == label || *s++ != '=')
			return (NULL);
		s = label_text(s);
		if (s == NULL)
			return (NULL);
		if (*s == '}')
			return (s + 1);
		if (*s++ != ',')
			return (NULL);
	}
}

/* Of the last # TYPE line; every line up to the next is about it. */
static char family[64], about[64];

static void
metrics_comment(const char *line)
{
	char name[64], kind[16];

	if (sscanf(line, "# TYPE %63s %15s", name, kind) != 2) {
		assert_int_equal(sscanf(line, "# %15s %63s", kind, name), 2);
		assert_string_equal(name, about);
		assert_true(
		    strcmp(kind, "UNIT") == 0 || strcmp(kind, "HELP") == 0);
		return;
	}
	strcpy(about, name);
	assert_true(strcmp(kind, "gauge") == 0 || strcmp(kind, "counter") == 0);
	(void)snprintf(family, sizeof(family), "%s", name);
	if (kind[0] == 'c')
		strncat(family, "_total", sizeof(family) - strlen(family) - 1);
}

static int
by_text(const void *a, const void *b)
{
	return (strcmp(*(const char *const *)a, *(const char *const *)b));
}

/* Every line is right, and no series comes twice. */
static void
check_metrics(void)
{
	static char *series[100000];
	size_t n = 0;
	bool ended = false;

	for (char *line = text, *next; *line != '\0'; line = next) {
		char *eol = strchr(line, '\n');
		const char *s;

		assert_non_null(eol);
		assert_false(ended);
		next = eol + 1;
		*eol = '\0';
		ended = strcmp(line, "# EOF") == 0;
		if (*line == '#') {
			if (!ended)
				metrics_comment(line);
			continue;
		}
		s = metrics_series_end(line);
		if (s == NULL || *s != ' ' || json_number(s + 1) != eol)
			fail_msg("not a sample: %s", line);
		assert_memory_equal(line, family, strlen(family));
		assert_int_equal(line[strlen(family)], '{');
		line[s - line] = '\0';
		series[n++] = line;
	}
	assert_true(ended);
	qsort(series, n, sizeof(series[0]), by_text);
	for (size_t i = 1; i < n; i++) {
		if (strcmp(series[i - 1], series[i]) == 0)
			fail_msg("twice: %s", series[i]);
	}
}

static void
openmetrics_are_whole_families_that_end(void **state)
{
	(void)state;

	(void)written("openmetrics");
	assert_non_null(
	    strstr(text, "\nquarry_arena_steps_total{arena=\"heap\""));
	check_metrics();
}

static void
any_name_even_twice_leaves_openmetrics_valid(void **state)
{
	umem_cache_t *cp[2 * NAMES];
	vmem_t *vmp[2];
	(void)state;

	for (size_t i = 0; i < 2 * (size_t)NAMES; i++)
		cp[i] = umem_cache_create(
		    names[i / 2], 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
	for (size_t i = 0; i < 2; i++)
		vmp[i] = vmem_create("twins", (void *)4096, 4096, 1, NULL, NULL,
		    NULL, 0, VM_NOSLEEP);
	(void)written("openmetrics");
	check_metrics();
	for (size_t i = 0; i < 2 * (size_t)NAMES; i++)
		umem_cache_destroy(cp[i]);
	for (size_t i = 0; i < 2; i++)
		vmem_destroy(vmp[i]);
}

/* ---- text ---- */

static void
text_has_a_row_for_each_cache_and_arena(void **state)
{
	umem_cache_t *cp = known_cache("in_text");
	size_t size, inuse, cached, nfree, memory;
	struct umem_stat us;
	const char *row;
	(void)state;

	(void)written("text");
	assert_true(look_cache("in_text", &us));
	row = strstr(text, "\nin_text ");
	assert_non_null(row);
	assert_int_equal(sscanf(row, "%*s %zu %zu %zu %zu %zuK", &size, &inuse,
			     &cached, &nfree, &memory),
	    5);
	assert_int_equal(size, 1000);
	assert_int_equal(inuse, 30);
	assert_int_equal(cached, us.us_cached);
	assert_int_equal(nfree, us.us_free);
	assert_int_equal(memory, us.us_memory >> 10);
	assert_non_null(strstr(text, "\nheap "));
	assert_begins("quarry 1.0.0 in %s, process %d:\n");
	for (const char *line = text; *line != '\0';
	     line = strchr(line, '\n') + 1)
		assert_true(strcspn(line, "\n") <= 120);
	known_done(cp);
}

#define TEST(test) cmocka_unit_test_teardown(test, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(an_unknown_format_is_refused),
	    TEST(what_cannot_be_written_is_an_errno),
	    TEST(nothing_is_allocated_for_it),
	    TEST(each_object_is_in_use_cached_or_free),
	    TEST(totals_are_the_sums_of_the_caches),
	    TEST(json_is_json_with_the_same_numbers),
	    TEST(any_name_leaves_json_valid),
	    TEST(openmetrics_are_whole_families_that_end),
	    TEST(any_name_even_twice_leaves_openmetrics_valid),
	    TEST(text_has_a_row_for_each_cache_and_arena),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
