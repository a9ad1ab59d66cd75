/*
 * crc_test.c - the checksum is the one that everybody knows.
 */
#include "base/crc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void
it_is_that_of_ieee_802_3(void **state)
{
	(void)state;
	assert_int_equal(qr_crc32(0, "", 0), 0);
	assert_int_equal(qr_crc32(0, "123456789", 9), 0xcbf43926);
	assert_int_equal(qr_crc32(0, "a", 1), 0xe8b7be43);
}

static void
a_text_may_come_in_parts(void **state)
{
	const char *text = "The quick brown fox jumps over the lazy dog";
	size_t len = strlen(text);
	(void)state;

	for (size_t i = 0; i <= len; i++)
		assert_int_equal(
		    qr_crc32(qr_crc32(0, text, i), text + i, len - i),
		    0x414fa339);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(it_is_that_of_ieee_802_3),
	    cmocka_unit_test(a_text_may_come_in_parts),
	};

	return (cmocka_run_group_tests_name("crc", tests, NULL, NULL));
}
