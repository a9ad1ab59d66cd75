/*
 * bits_test.c - each function of bits.h against a slow and obvious one.
 */
#include "base/bits.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

/* Small numbers, and as many below the top of the address space. */
enum { NEAR = 300 };

static uintptr_t
edge(unsigned i)
{
	return (i < NEAR ? i : UINTPTR_MAX - (i - NEAR));
}

static uintptr_t
slow_up(uintptr_t x, uintptr_t a, uintptr_t phase)
{
	while (x % a != phase)
		x++;
	return (x);
}

static bool
slow_crosses(uintptr_t x, uintptr_t len, uintptr_t a)
{
	for (uintptr_t i = 1; i < len; i++) {
		if ((x + i) % a == 0)
			return (true);
	}
	return (false);
}

static void
a_power_of_two_has_exactly_one_bit(void **state)
{
	(void)state;
	assert_false(qr_ispow2(0));
	for (unsigned i = 0; i < 2 * NEAR; i++)
		assert_int_equal(
		    qr_ispow2(edge(i)), __builtin_popcountl(edge(i)) == 1);
	for (unsigned b = 0; b < 64; b++)
		assert_true(qr_ispow2((uintptr_t)1 << b));
}

static void
rounding_finds_the_next_multiple_on_either_side(void **state)
{
	(void)state;
	for (uintptr_t a = 1; a <= 256; a *= 2) {
		for (unsigned i = 0; i < 2 * NEAR; i++) {
			uintptr_t x = edge(i);

			assert_int_equal(qr_roundup(x, a), slow_up(x, a, 0));
			assert_int_equal(qr_rounddown(x, a), x - x % a);
			assert_int_equal(qr_phase(x, a), x % a);
			assert_int_equal(qr_nphase(x, a), slow_up(x, a, 0) - x);
		}
	}
}

static void
phaseup_finds_the_next_number_of_that_phase(void **state)
{
	(void)state;
	for (uintptr_t a = 1; a <= 64; a *= 2) {
		for (uintptr_t phase = 0; phase < a; phase++) {
			for (unsigned i = 0; i < 2 * NEAR; i++)
				assert_int_equal(qr_phaseup(edge(i), a, phase),
				    slow_up(edge(i), a, phase));
		}
	}
}

static void
a_range_crosses_when_a_multiple_lies_inside_it(void **state)
{
	(void)state;
	for (uintptr_t a = 1; a <= 64; a *= 2) {
		for (uintptr_t len = 1; len <= 130; len++) {
			for (uintptr_t x = 0; x < 130; x++) {
				uintptr_t top = UINTPTR_MAX - x - len + 1;

				assert_int_equal(qr_crosses(x, len, a),
				    slow_crosses(x, len, a));
				assert_int_equal(qr_crosses(top, len, a),
				    slow_crosses(top, len, a));
			}
		}
	}
}

static void
no_range_crosses_a_boundary_of_zero(void **state)
{
	(void)state;
	assert_false(qr_crosses(0, UINTPTR_MAX, 0));
	assert_false(qr_crosses(4095, 2, 0));
}

static void
log2_and_ctz_name_the_outermost_bits(void **state)
{
	(void)state;
	for (unsigned i = 1; i < 2 * NEAR; i++) {
		uintptr_t x = edge(i);
		unsigned high = 0, low = 63;

		for (unsigned b = 0; b < 64; b++) {
			if ((x >> b & 1) != 0)
				high = b;
			if ((x >> (63 - b) & 1) != 0)
				low = 63 - b;
		}
		assert_int_equal(qr_log2(x), high);
		assert_int_equal(qr_ctz(x), low);
		if (x > UINTPTR_MAX - NEAR)
			assert_int_equal(qr_log2(x), 63);
	}
	for (unsigned b = 0; b < 64; b++) {
		assert_int_equal(qr_log2((uintptr_t)1 << b), b);
		assert_int_equal(qr_ctz((uintptr_t)1 << b), b);
	}
}

static void
pow2up_is_the_smallest_power_not_below(void **state)
{
	(void)state;
	for (uintptr_t x = 1; x <= NEAR; x++) {
		uintptr_t p = 1;

		while (p < x)
			p *= 2;
		assert_int_equal(qr_pow2up(x), p);
	}
	for (unsigned b = 1; b < 63; b++) {
		uintptr_t p = (uintptr_t)1 << b;

		assert_int_equal(qr_pow2up(p), p);
		assert_int_equal(qr_pow2up(p + 1), 2 * p);
	}
	assert_int_equal(qr_pow2up((uintptr_t)1 << 63), (uintptr_t)1 << 63);
}

static void
min_and_max_choose_among_two(void **state)
{
	(void)state;
	assert_int_equal(qr_min(1, SIZE_MAX), 1);
	assert_int_equal(qr_min(SIZE_MAX, 1), 1);
	assert_int_equal(qr_max(1, SIZE_MAX), SIZE_MAX);
	assert_int_equal(qr_max(SIZE_MAX, 1), SIZE_MAX);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_power_of_two_has_exactly_one_bit),
	    cmocka_unit_test(rounding_finds_the_next_multiple_on_either_side),
	    cmocka_unit_test(phaseup_finds_the_next_number_of_that_phase),
	    cmocka_unit_test(a_range_crosses_when_a_multiple_lies_inside_it),
	    cmocka_unit_test(no_range_crosses_a_boundary_of_zero),
	    cmocka_unit_test(log2_and_ctz_name_the_outermost_bits),
	    cmocka_unit_test(pow2up_is_the_smallest_power_not_below),
	    cmocka_unit_test(min_and_max_choose_among_two),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
