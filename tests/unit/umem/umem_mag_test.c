/*
 * umem_mag_test.c - the memory of magazines: never two in one place, and never
 * more than the largest generation of them needs.
 */
#include "umem/umem_impl.h"

#include "support/random.h"

#include <quarry/umem.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

enum { LIVE = 300, STEPS = 40000, PAGE = 4096, THREADS = 4 };

/* Who has magazines of all types, and knows what is written in them. */
struct owner {
	umem_cache_t *o_cache;
	struct umem_mag *o_mag[LIVE];
	unsigned o_type[LIVE];
	uint64_t o_random;
	unsigned o_wrong;
};

static size_t
size_of(unsigned type)
{
	return ((size_t)128 << type);
}

static void
owner_begin(struct owner *o, uint64_t seed)
{
	memset(o, 0, sizeof(*o));
	o->o_random = seed;
	o->o_cache = umem_cache_create(
	    "magazines", 8, 0, NULL, NULL, NULL, NULL, NULL, 0);
	assert_non_null(o->o_cache);
}

/* What a round of this magazine says while it is this one's. */
static uintptr_t
word_of(const struct umem_mag *mag, size_t i)
{
	return ((uintptr_t)mag + 2 * i);
}

static void
take(struct owner *o, size_t at, unsigned type)
{
	struct umem_mag *mag;
	size_t n;

	o->o_cache->cache_mag_max = (uint8_t)type;
	o->o_cache->cache_mag = (uint8_t)type;
	mag = umem__mag_get(o->o_cache);
	o->o_mag[at] = mag;
	o->o_type[at] = type;
	o->o_wrong += mag == NULL;
	if (mag == NULL)
		return;
	n = umem__mag_capacity(o->o_cache, mag);
	o->o_wrong += n != size_of(type) / 8 - 2;
	o->o_wrong += (uintptr_t)mag % size_of(type) != 0;
	for (size_t i = 0; i < n; i++) {
		o->o_wrong += mag->mag_round[i] != 0;
		mag->mag_round[i] = word_of(mag, i);
	}
	/* Linked, as it is in a depot. */
	umem__mag_link(mag, (struct umem_mag *)(uintptr_t)0x7f8000);
}

static void
give(struct owner *o, size_t at)
{
	struct umem_mag *mag = o->o_mag[at];
	size_t n;

	if (mag == NULL)
		return;
	n = umem__mag_capacity(o->o_cache, mag);
	o->o_wrong += umem__mag_unlink(mag) != (void *)(uintptr_t)0x7f8000;
	o->o_wrong += n != size_of(o->o_type[at]) / 8 - 2;
	o->o_wrong += umem__mag_of((uintptr_t)&mag->mag_round[n]) != mag;
	for (size_t i = 0; i < n; i++)
		o->o_wrong += mag->mag_round[i] != word_of(mag, i);
	umem__mag_put(mag);
	o->o_mag[at] = NULL;
}

static void
owner_end(struct owner *o)
{
	for (size_t at = 0; at < LIVE; at++)
		give(o, at);
	umem_cache_destroy(o->o_cache);
}

static void *
take_and_give(void *arg)
{
	struct owner *o = arg;

	for (int step = 0; step < STEPS; step++) {
		size_t at = random_next(&o->o_random) % LIVE;

		if (o->o_mag[at] != NULL)
			give(o, at);
		else
			take(o, at,
			    (unsigned)(random_next(&o->o_random) %
				UMEM_MAG_TYPES));
	}
	return (NULL);
}

static void
no_magazine_is_in_the_place_of_another(void **state)
{
	static struct owner o;
	(void)state;

	owner_begin(&o, 1);
	(void)take_and_give(&o);
	owner_end(&o);
	assert_int_equal(o.o_wrong, 0);
}

static void
nor_with_threads(void **state)
{
	static struct owner o[THREADS];
	pthread_t thread[THREADS];
	(void)state;

	for (int i = 0; i < THREADS; i++)
		owner_begin(&o[i], (uint64_t)i + 2);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&thread[i], NULL, take_and_give, &o[i]), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	for (int i = 0; i < THREADS; i++) {
		owner_end(&o[i]);
		assert_int_equal(o[i].o_wrong, 0);
	}
}

static bool
has(const uintptr_t *pages, size_t n, const void *p)
{
	for (size_t i = 0; i < n; i++)
		if (pages[i] == (uintptr_t)p / PAGE)
			return (true);
	return (false);
}

/*
 * The pages that a generation leaves behind are those of the next, but for a few
 * magazines that the first found on pages of others.
 */
static void
small_ones_become_large_ones(void **state)
{
	enum { FIRST = 256, SPARE = 4 };
	static struct owner o;
	uintptr_t page[FIRST];
	(void)state;

	owner_begin(&o, 7);
	for (unsigned type = 0; type < UMEM_MAG_TYPES; type++) {
		size_t n = FIRST >> type, again = 0;

		for (size_t at = 0; at < n; at++) {
			take(&o, at, type);
			if (type == 0)
				page[at] = (uintptr_t)o.o_mag[at] / PAGE;
			again += has(page, FIRST, o.o_mag[at]);
		}
		assert_true(again >= n - n / SPARE);
		for (size_t at = 0; at < n; at++)
			give(&o, at);
	}
	owner_end(&o);
	assert_int_equal(o.o_wrong, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(small_ones_become_large_ones),
	    cmocka_unit_test(no_magazine_is_in_the_place_of_another),
	    cmocka_unit_test(nor_with_threads),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
