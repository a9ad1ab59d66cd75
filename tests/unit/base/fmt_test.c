/*
 * fmt_test.c - the formatter against the one of libc.
 */
#include "base/fmt.h"

#include "base/compiler.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Both formatters must write the same text and return the same length. */
#define SAME(...)                                                            \
	do {                                                                 \
		char want[256], got[256];                                    \
		int want_len = snprintf(want, sizeof(want), __VA_ARGS__);    \
		size_t got_len = qr_snprintf(got, sizeof(got), __VA_ARGS__); \
		assert_string_equal(got, want);                              \
		assert_int_equal(got_len, want_len);                         \
	} while (0)

/* For formats the compiler would warn about. */
static size_t
format(char *buf, size_t size, const char *fmt, ...)
{
	va_list ap;
	size_t len;

	va_start(ap, fmt);
	len = qr_vsnprintf(buf, size, fmt, ap);
	va_end(ap);
	return (len);
}

static void
integers_of_every_length_print_as_in_libc(void **state)
{
	(void)state;
	SAME("%d %i %u %x", INT_MIN, INT_MAX, UINT_MAX, UINT_MAX);
	SAME("%ld %ld %lu %lx", LONG_MIN, LONG_MAX, ULONG_MAX, ULONG_MAX);
	SAME("%lld %lld %llu", LLONG_MIN, LLONG_MAX, ULLONG_MAX);
	SAME("%zu %zx %zd", SIZE_MAX, SIZE_MAX, (ssize_t)-1);
	SAME("%jd %ju %jx", INTMAX_MIN, UINTMAX_MAX, UINTMAX_MAX);
	SAME("%d %u %x %d", 0, 0u, 0u, -1);
	SAME("%d%u%x", 1234567890, 987654321u, 0xabcdef01u);
	/* One after the other: each must take just its own argument. */
	SAME("%d %ld %d %lld %u %zu %c %d", -1, -2L, -3, -4LL, 5u, (size_t)6,
	    '7', 8);
}

static void
width_and_flags_pad_as_in_libc(void **state)
{
	char text[64];
	(void)state;
	SAME("[%5d][%-5d][%05d][%1d]", 42, 42, 42, 42);
	SAME("[%5d][%-5d][%05d]", -42, -42, -42);
	(void)format(text, sizeof(text), "[%-05d][%0-5d]", 42, -42);
	assert_string_equal(text, "[42   ][-42  ]");
	SAME("[%8x][%-8x][%08x][%016lx]", 255u, 255u, 255u, 255ul);
	SAME("[%*d][%*d][%-*d]", 6, 1, -6, 2, 6, 3);
	SAME("[%30lu][%-30lu][%030lu]", ULONG_MAX, ULONG_MAX, ULONG_MAX);
	SAME("[%20p][%-20p]", (void *)0x1234, (void *)0x1234);
	SAME("[%3c][%-3c][%c]", 'a', 'b', 'c');
}

static void
strings_obey_width_and_precision(void **state)
{
	char unterminated[3] = {'x', 'y', 'z'};
	(void)state;

	SAME("[%s][%s]", "", "text");
	SAME("[%8s][%-8s][%2s]", "text", "text", "text");
	SAME("[%.2s][%.9s][%.0s]", "text", "text", "text");
	SAME("[%6.2s][%-6.2s]", "text", "text");
	SAME("[%.*s][%.*s]", 3, "text", -1, "text");
	SAME("[%.3s]", unterminated);
	SAME("[%*.*s]", -8, 2, "text");
}

static void
a_null_string_and_a_null_pointer_have_a_text(void **state)
{
	char buf[64];
	const char *volatile none = NULL;
	(void)state;

	(void)qr_snprintf(buf, sizeof(buf), "%s|%10s|%p|%8p", none, none,
	    (void *)NULL, (void *)NULL);
	assert_string_equal(buf, "(null)|    (null)|0x0|     0x0");
}

static void
doubles_print_as_in_libc(void **state)
{
	static const double values[] = {0, 0.5, 1.5, 2.5, 0.1, 0.125, 0.375,
	    0.005, 1.005, 2.675, 99.995, 999.9999999, 1e-9, 123456.789, 1e15,
	    999999999999999872.0, 3.14159265358979, 0.999999999949};
	(void)state;

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		for (int prec = 0; prec <= 9; prec++)
			SAME("[%.*f][%24.*f][%-24.*f]", prec, values[i], prec,
			    values[i], prec, values[i]);
		SAME("%f", values[i]);
	}
	srandom(1);
	for (int i = 0; i < 20000; i++) {
		double d = (double)random() / (double)(1 + random() % 100000);

		SAME("%.*f", i % 10, d);
	}
}

static void
a_double_out_of_range_prints_as_a_question_mark(void **state)
{
	char buf[64];
	(void)state;

	(void)qr_snprintf(buf, sizeof(buf), "%f %.1f %f %3f", -1.0, 1e18,
	    __builtin_nan(""), __builtin_inf());
	assert_string_equal(buf, "? ? ?   ?");
}

static void
a_percent_sign_is_doubled(void **state)
{
	(void)state;
	SAME("100%% of %d%%", 3);
	SAME("%%");
}

static void
what_is_not_understood_is_copied(void **state)
{
	char buf[64];
	(void)state;

	assert_int_equal(format(buf, sizeof(buf), "a %5q b %d %", 7), 11);
	assert_string_equal(buf, "a %5q b 7 %");
}

static void
text_that_does_not_fit_is_cut_and_its_length_told(void **state)
{
	char buf[16];
	(void)state;

	for (size_t size = 1; size <= sizeof(buf); size++) {
		memset(buf, '#', sizeof(buf));
		assert_int_equal(
		    qr_snprintf(buf, size, "%s-%05d", "abc", 42), 9);
		assert_int_equal(strlen(buf), size - 1 < 9 ? size - 1 : 9);
		assert_memory_equal(buf, "abc-00042", strlen(buf));
		for (size_t i = strlen(buf) + 1; i < sizeof(buf); i++)
			assert_int_equal(buf[i], '#');
	}
	assert_int_equal(qr_snprintf(NULL, 0, "%d", 12345), 5);
}

static void
names_are_as_if_formatted(void **state)
{
	static const char *const names[] = {"umem_alloc", "", NULL};
	static const size_t numbers[] = {0, 9, 64, 131072, SIZE_MAX};
	char name[40], same[40];
	(void)state;

	for (size_t i = 0; i < QR_ARRAY_LEN(names); i++) {
		for (size_t size = 1; size <= sizeof(name); size++) {
			assert_int_equal(qr_name(name, size, names[i]),
			    qr_snprintf(same, size, "%s", names[i]));
			assert_string_equal(name, same);
		}
		for (size_t n = 0; n < QR_ARRAY_LEN(numbers); n++)
			for (size_t size = 1; size <= sizeof(name); size++) {
				assert_int_equal(qr_name_sized(name, size,
						     names[i], numbers[n]),
				    qr_snprintf(same, size, "%s_%zu", names[i],
					numbers[n]));
				assert_string_equal(name, same);
			}
	}
	assert_int_equal(qr_name(NULL, 0, "four"), 4);
	assert_int_equal(qr_name_sized(NULL, 0, "four", 12), 7);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(integers_of_every_length_print_as_in_libc),
	    cmocka_unit_test(width_and_flags_pad_as_in_libc),
	    cmocka_unit_test(strings_obey_width_and_precision),
	    cmocka_unit_test(names_are_as_if_formatted),
	    cmocka_unit_test(a_null_string_and_a_null_pointer_have_a_text),
	    cmocka_unit_test(doubles_print_as_in_libc),
	    cmocka_unit_test(a_double_out_of_range_prints_as_a_question_mark),
	    cmocka_unit_test(a_percent_sign_is_doubled),
	    cmocka_unit_test(what_is_not_understood_is_copied),
	    cmocka_unit_test(text_that_does_not_fit_is_cut_and_its_length_told),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
