/*
 * out_test.c - text on its way to a descriptor.
 */
#define _GNU_SOURCE 1 /* memfd_create */

#include "base/out.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static char text[65536];

/* What has been written to o's descriptor, in text[]. */
static size_t
written(struct qr_out *o)
{
	ssize_t n;

	qr_out_flush(o);
	assert_int_equal(o->o_error, 0);
	n = pread(o->o_fd, text, sizeof(text) - 1, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	(void)close(o->o_fd);
	return ((size_t)n);
}

static struct qr_out
begin(void)
{
	struct qr_out o = {.o_fd = memfd_create("out", 0)};

	assert_true(o.o_fd >= 0);
	return (o);
}

static void
everything_arrives_in_order(void **state)
{
	struct qr_out o = begin();
	(void)state;

	for (unsigned i = 0; i < 5000; i++)
		qr_out_printf(&o, "%05u\n", i);
	assert_int_equal(written(&o), 30000);
	assert_memory_equal(text, "00000\n00001\n", 12);
	assert_string_equal(text + 30000 - 12, "04998\n04999\n");
}

static void
what_is_too_long_is_cut_and_nothing_else_is_lost(void **state)
{
	struct qr_out o = begin();
	char longest[4000];
	size_t n;
	(void)state;

	memset(longest, 'x', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	for (unsigned i = 0; i < 3; i++) {
		qr_out_printf(&o, "<");
		qr_out_printf(&o, "%s", longest);
		qr_out_printf(&o, ">");
	}
	n = written(&o);
	assert_in_range(n, 3 * 511, 3 * sizeof(o.o_buf));
	assert_int_equal(text[0], '<');
	assert_int_equal(text[n - 1], '>');
}

static void
the_first_error_sticks(void **state)
{
	struct qr_out o = {.o_fd = -1};
	int full = open("/dev/full", O_WRONLY);
	(void)state;

	qr_out_printf(&o, "x");
	assert_int_equal(o.o_error, 0);
	qr_out_flush(&o);
	assert_int_equal(o.o_error, EBADF);
	o.o_fd = full;
	qr_out_printf(&o, "x");
	qr_out_flush(&o);
	assert_int_equal(o.o_error, EBADF);
	(void)close(full);
}

static void
a_pipe_that_takes_little_at_a_time_gets_all(void **state)
{
	struct qr_out o = {.o_fd = -1};
	int fd[2];
	ssize_t n;
	size_t got = 0;
	(void)state;

	assert_int_equal(pipe(fd), 0);
	o.o_fd = fd[1];
	for (unsigned i = 0; i < 100; i++)
		qr_out_printf(&o, "%0100u", i);
	qr_out_flush(&o);
	(void)close(fd[1]);
	while ((n = read(fd[0], text, 333)) > 0)
		got += (size_t)n;
	assert_int_equal(got, 10000);
	(void)close(fd[0]);
}

/* ---- quoting ---- */

struct quoted {
	const char *plain, *json, *label, *xml;
};

#define U "\xef\xbf\xbd" /* U+FFFD */

static void
what_a_format_does_not_allow_is_escaped(void **state)
{
	static const struct quoted rows[] = {
	    {"", "\"\"", "\"\"", ""},
	    {"a b", "\"a b\"", "\"a b\"", "a b"},
	    {"\"\\", "\"\\\"\\\\\"", "\"\\\"\\\\\"", "&#34;\\"},
	    {"<&>'", "\"<&>'\"", "\"<&>'\"", "&#60;&#38;&#62;'"},
	    {"a\nb\x01", "\"a\\u000ab\\u0001\"", "\"a\\nb\x01\"", "a" U "b" U},
	    {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
		"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
		"\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"",
		"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
	    {"cut \xc3", "\"cut \\ufffd\"", "\"cut " U "\"", "cut " U},
	    {"\xe2\x82", "\"\\ufffd\\ufffd\"", "\"" U U "\"", U U},
	    {"\xc0\x80", "\"\\ufffd\\ufffd\"", "\"" U U "\"", U U},
	    {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"", "\"" U U U "\"",
		U U U},
	    {"\xf5\x80\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"",
		"\"" U U U U "\"", U U U U},
	};
	(void)state;

	for (size_t i = 0; i < QR_ARRAY_LEN(rows); i++) {
		struct qr_out o = begin();

		qr_out_json(&o, rows[i].plain);
		(void)written(&o);
		assert_string_equal(text, rows[i].json);
		o = begin();
		qr_out_label(&o, rows[i].plain);
		(void)written(&o);
		assert_string_equal(text, rows[i].label);
		o = begin();
		qr_out_xml(&o, rows[i].plain);
		(void)written(&o);
		assert_string_equal(text, rows[i].xml);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(everything_arrives_in_order),
	    cmocka_unit_test(what_is_too_long_is_cut_and_nothing_else_is_lost),
	    cmocka_unit_test(the_first_error_sticks),
	    cmocka_unit_test(a_pipe_that_takes_little_at_a_time_gets_all),
	    cmocka_unit_test(what_a_format_does_not_allow_is_escaped),
	};

	return (cmocka_run_group_tests_name("out", tests, NULL, NULL));
}
