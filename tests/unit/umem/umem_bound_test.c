/*
 * umem_bound_test.c - what the magazines of one CPU can hold at most.
 *
 * README.md and quarry_malloc(7) state these numbers; the test of the README
 * compares them with the two below.
 */
#include "umem/umem_class.h"
#include "umem/umem_impl.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CLASSES = 89, KIB_PER_CPU = 20767, KIB_AT_FIRST = 6567 };

/* Of two magazines of a type, the loaded one and the one behind it. */
static size_t
bytes_of(const struct umem_cache *cp, unsigned type)
{
	return (2 * cp->cache_rounds[type] * cp->cache_chunk);
}

static struct umem_cache *
class_at(unsigned slot)
{
	struct umem_cache *cp =
	    umem__class_cache(slot * sizeof(struct percpu_slot));

	assert_non_null(cp);
	return (cp);
}

static void
a_magazine_holds_64_kib_at_first_and_256_once_it_has_grown(void **state)
{
	(void)state;

	for (unsigned slot = UMEM_SLOT_8; slot <= umem__classes.cl_last;
	     slot++) {
		const struct umem_cache *cp = class_at(slot);

		assert_in_range(bytes_of(cp, 0), 1,
		    2 * qr_max((size_t)64 << 10, cp->cache_chunk));
		assert_in_range(bytes_of(cp, cp->cache_mag_max), 1,
		    2 *
			qr_max((size_t)64 << 10,
			    qr_min(16 * cp->cache_chunk, (size_t)256 << 10)));
	}
}

static void
all_magazines_of_one_cpu_hold_what_is_documented(void **state)
{
	size_t bytes = 0, first = 0;
	(void)state;

	assert_int_equal(umem__classes.cl_last - UMEM_SLOT_8 + 1, CLASSES);
	for (unsigned slot = UMEM_SLOT_8; slot <= umem__classes.cl_last;
	     slot++) {
		const struct umem_cache *cp = class_at(slot);

		first += bytes_of(cp, 0);
		bytes += bytes_of(cp, cp->cache_mag_max);
	}
	assert_int_equal((first + 1023) / 1024, KIB_AT_FIRST);
	assert_int_equal((bytes + 1023) / 1024, KIB_PER_CPU);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_magazine_holds_64_kib_at_first_and_256_once_it_has_grown),
	    cmocka_unit_test(all_magazines_of_one_cpu_hold_what_is_documented),
	};

	if (!umem__init())
		return (EXIT_FAILURE);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
