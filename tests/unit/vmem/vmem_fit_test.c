/*
 * vmem_fit_test.c - where a request fits, compared with trying every address.
 */
#include "unit/vmem/vmem_test.h"

#include "vmem/vmem_impl.h"

enum { SPACE = 40 };

/* Does [a, a + size) satisfy r inside [first, last]? */
static bool
satisfies(const struct vmem_req *r, uintptr_t a, size_t size, uintptr_t first,
    uintptr_t last)
{
	uintptr_t end = a + (size - 1);

	return (a >= first && a >= r->r_min && end >= a && end <= last &&
	    end <= r->r_max && (a - r->r_phase) % r->r_align == 0 &&
	    (r->r_nocross == 0 || a / r->r_nocross == end / r->r_nocross));
}

/* All places and answers in a segment of n integers from base + from. */
static void
check_segment(const struct vmem_req *r, uintptr_t base, size_t from, size_t n)
{
	uintptr_t first = base + from, last = first + (n - 1);
	uintptr_t low = 0, high = 0, a;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (satisfies(r, first + i, r->r_size, first, last)) {
			low = any ? low : first + i;
			high = first + i;
			any = true;
		}
	}
	assert_int_equal(vmem__fit_low(r, first, last, &a), any);
	if (any)
		assert_int_equal(a, low);
	assert_int_equal(vmem__fit_high(r, first, last, &a), any);
	if (any)
		assert_int_equal(a, high);
	if (r->r_min <= first && r->r_max >= last &&
	    n >= vmem__fit_surely(r, 1))
		assert_true(any);
}

static void
check_request(const struct vmem_req *r, uintptr_t base)
{
	for (size_t from = 0; from < SPACE; from += 1)
		for (size_t n = 1; n <= SPACE - from; n += 1)
			check_segment(r, base, from, n);
}

static void
check_shape(
    size_t size, size_t align, size_t phase, size_t nocross, uintptr_t base)
{
	struct vmem_req r = {.r_size = size,
	    .r_extent = size,
	    .r_align = align,
	    .r_phase = phase,
	    .r_nocross = nocross,
	    .r_max = UINTPTR_MAX};

	check_request(&r, base);
	r.r_min = base + 7;
	r.r_max = base + 29;
	check_request(&r, base);
}

static void
check_everywhere(uintptr_t base)
{
	for (size_t size = 1; size <= 9; size++)
		for (size_t align = 1; align <= 8; align *= 2)
			for (size_t phase = 0; phase < align; phase += 3) {
				check_shape(size, align, phase, 0, base);
				for (size_t nocross = 2; nocross <= 16;
				     nocross *= 2)
					if (align <= nocross &&
					    qr_roundup(phase + size, align) <=
						nocross)
						check_shape(size, align, phase,
						    nocross, base);
			}
}

static void
places_are_the_ones_that_trying_finds(void **state)
{
	(void)state;
	check_everywhere(0);
	check_everywhere(0x7000000000);
}

static void
the_same_at_the_top_of_the_address_space(void **state)
{
	(void)state;
	check_everywhere(UINTPTR_MAX - SPACE + 1);
}

static void
the_largest_segment_and_request_do_not_wrap(void **state)
{
	struct vmem_req r = {.r_size = SIZE_MAX,
	    .r_extent = SIZE_MAX,
	    .r_align = 1,
	    .r_max = UINTPTR_MAX};
	uintptr_t a;
	(void)state;

	assert_true(vmem__fit_low(&r, 0, UINTPTR_MAX, &a));
	assert_int_equal(a, 0);
	assert_true(vmem__fit_high(&r, 0, UINTPTR_MAX, &a));
	assert_int_equal(a, 1);
	r.r_align = (size_t)1 << 63;
	assert_true(vmem__fit_surely(&r, 1) == SIZE_MAX);
	assert_false(vmem__fit_low(&r, 1, UINTPTR_MAX, &a));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(places_are_the_ones_that_trying_finds),
	    cmocka_unit_test(the_same_at_the_top_of_the_address_space),
	    cmocka_unit_test(the_largest_segment_and_request_do_not_wrap),
	};

	return (cmocka_run_group_tests_name("vmem_fit", tests, NULL, NULL));
}
