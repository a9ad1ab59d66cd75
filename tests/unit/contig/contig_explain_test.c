/*
 * contig_explain_test.c - why requests fail, told to people.
 */
#include "unit/contig/contig_test.h"

enum { PAGES = 64 };

static char text[4000];

static int
explain(physpool_t *pool, unsigned long size, vm_paddr_t low, vm_paddr_t high,
    unsigned long align, vm_paddr_t boundary)
{
	int error = contig_explain(
	    pool, size, low, high, align, boundary, text, sizeof(text));
	vm_paddr_t pa = get(pool, size, low, high, align, boundary);

	/* It says what would happen. */
	assert_int_equal(error, pa == NOWHERE ? errno : 0);
	if (pa != NOWHERE) {
		char where[64];

		(void)snprintf(where, sizeof(where), "possible now, at %#lx\n",
		    (unsigned long)pa);
		assert_non_null(strstr(text, where));
		put(pool, pa, size);
	}
	return (error);
}

static void
expect(const char *what)
{
	if (strstr(text, what) == NULL)
		fail_msg("no \"%s\" in\n%s", what, text);
}

/* All pages but those of `hole`, each a block of its own. */
static physpool_t *
pool_with_hole(vm_paddr_t first, vm_paddr_t last)
{
	physpool_t *pool = pool_make(0, PAGES * PAGE);

	for (vm_paddr_t pa = 0; pa < PAGES * PAGE; pa += PAGE) {
		if (pa < first || pa > last)
			assert_int_equal(
			    get(pool, PAGE, pa, pa + PAGE, 1, 0), pa);
	}
	return (pool);
}

static void
empty(physpool_t *pool, vm_paddr_t first, vm_paddr_t last)
{
	for (vm_paddr_t pa = 0; pa < PAGES * PAGE; pa += PAGE) {
		if (pa < first || pa > last)
			put(pool, pa, PAGE);
	}
	pool_done(pool);
}

static void
a_request_that_would_succeed_is_told_where(void **state)
{
	physpool_t *pool = pool_make(0, PAGES * PAGE);
	(void)state;

	assert_int_equal(explain(pool, 5000, 0, 0x20000, 0x8000, 0x10000), 0);
	assert_string_equal(text,
	    "5000 bytes of pool test (262144 bytes in granules of 4096)\n"
	    "  between 0x0 and 0x20000, aligned to 32768, crossing no multiple "
	    "of 65536\n"
	    "possible now, at 0x18000\n"
	    "in the window: 131072 bytes of the pool, 131072 of them free; "
	    "longest free run 131072 at 0x0\n"
	    "largest size for these constraints: 65536 at 0x10000\n");
	pool_done(pool);
}

static void
the_constraint_that_leaves_no_place_now_is_to_blame(void **state)
{
	/* Pages 5, 6, 7 and 8 are free. */
	physpool_t *pool = pool_with_hole(0x5000, 0x8fff);
	(void)state;

	assert_int_equal(explain(pool, 0x5000, 0, NO_LIMIT, 1, 0), ENOMEM);
	expect("not now, because of the size: no run is that long\n");
	expect("16384 of them free; longest free run 16384 at 0x5000\n");
	expect("largest size for these constraints: 16384 at 0x5000\n");
	assert_int_equal(explain(pool, 0x3000, 0, 0x7800, 1, 0), ENOMEM);
	expect("not now, because of the window: no run in it is that long\n");
	expect("in the window: 30720 bytes of the pool, 10240 of them free; "
	       "longest free run 10240 at 0x5000\n");
	expect("largest size for these constraints: 8192 at 0x5000\n");
	assert_int_equal(explain(pool, 0x2000, 0, NO_LIMIT, 0x8000, 0), ENOMEM);
	expect("not now, because of the alignment\n");
	expect("largest size for these constraints: 4096 at 0x8000\n");
	assert_int_equal(explain(pool, 0x4000, 0, NO_LIMIT, 1, 0x4000), ENOMEM);
	expect("not now, because of the boundary\n");
	expect("largest size for these constraints: 12288 at 0x5000\n");
	assert_int_equal(explain(pool, 0x3000, 0, NO_LIMIT, 1, 0x4000), 0);
	empty(pool, 0x5000, 0x8fff);
}

static void
what_can_never_be_is_told_from_what_cannot_be_now(void **state)
{
	physpool_t *pool = pool_with_hole(0x5000, 0x8fff);
	(void)state;

	assert_int_equal(
	    explain(pool, PAGE, PAGES * PAGE, NO_LIMIT, 1, 0), ENOSPC);
	expect("never possible, because of the window: no run in it is that "
	       "long\n");
	expect("in the window: 0 bytes of the pool");
	assert_int_equal(explain(pool, PAGE, 1, NO_LIMIT, 0x40000, 0), ENOSPC);
	expect("never possible, because of the alignment\n");
	assert_int_equal(
	    explain(pool, 0x4000, 0x1000, 0x7000, 1, 0x4000), ENOSPC);
	expect("never possible, because of the boundary\n");
	assert_int_equal(explain(pool, 0x4001, 0, NO_LIMIT, 1, 0x4000), EINVAL);
	expect("never possible, because the boundary is below the rounded "
	       "size\n");
	assert_int_equal(
	    explain(pool, PAGES * PAGE + 1, 0, NO_LIMIT, 1, 0), ENOMEM);
	expect("never possible, because the size is beyond the whole pool\n");
	assert_int_equal(explain(pool, 1, 0x5000, 0x5000, 1, 0), ENOSPC);
	expect("never possible, because the window is empty\n");
	empty(pool, 0x5000, 0x8fff);
}

static void
bad_words_panic_and_are_explained(void **state)
{
	physpool_t *pool = pool_make(0, PAGES * PAGE);
	(void)state;

	panic_catch();
	assert_int_equal(
	    contig_explain(pool, 0, 0, NO_LIMIT, 1, 0, text, sizeof(text)),
	    EINVAL);
	PANIC_EXPECT("contig_explain(test, 0, ?, 0x0, 0x0, 0xffffffffffffffff, "
		     "1, 0): size must not be 0");
	expect("never possible, because the arguments are wrong\n");
	pool_done(pool);
}

static void
who_has_the_space_of_the_window_is_named(void **state)
{
	physpool_t *pool = pool_make(0, PAGES * PAGE);
	void *a = contigmalloc_pool(pool, 4 * PAGE, M_TEMP, 0, 0, 0x8000, 1, 0);
	void *b = contigmalloc_pool(pool, PAGE, M_CACHE, 0, 0, 0x8000, 1, 0);
	void *c = contigmalloc_pool(pool, PAGE, M_CACHE, 0, 0, 0x8000, 1, 0);
	void *d =
	    contigmalloc_pool(pool, PAGE, M_DEVBUF, 0, 0x10000, NO_LIMIT, 1, 0);
	(void)state;

	assert_int_equal(physpool_reserve(pool, PAGE, 0, 0x8000, 1, 0, 1), 0);
	assert_int_equal(explain(pool, 2 * PAGE, 0, 0x8000, 1, 0x1000), EINVAL);
	assert_int_equal(explain(pool, 2 * PAGE, 0, 0x6000, 1, 0), ENOMEM);
	/* Of the four pages two are in the window. */
	expect("allocated there: 4096 bytes of reserved in 1 block\n"
	       "                 8192 bytes of cache in 2 blocks\n"
	       "                 8192 bytes of temp in 1 block\n");
	assert_null(strstr(text, "devbuf"));
	kfree(a, M_TEMP);
	kfree(b, M_CACHE);
	kfree(c, M_CACHE);
	kfree(d, M_DEVBUF);
	pool_done(pool);
}

static void
holders_beyond_the_first_dozen_are_others(void **state)
{
	enum { TYPES = 15 };
	physpool_t *pool = pool_make(0, PAGES * PAGE);
	struct malloc_type *type[TYPES] = {NULL};
	void *p[TYPES];
	(void)state;

	for (size_t i = 0; i < TYPES; i++) {
		kmalloc_create(&type[i], "type");
		p[i] = contigmalloc_pool(
		    pool, PAGE, type[i], 0, 0, NO_LIMIT, 1, 0);
	}
	assert_int_equal(explain(pool, 50 * PAGE, 0, NO_LIMIT, 1, 0), ENOMEM);
	expect("12288 bytes of others in 3 blocks\n");
	for (size_t i = 0; i < TYPES; i++) {
		contigfree(p[i], PAGE, type[i]);
		kmalloc_destroy(&type[i]);
	}
	pool_done(pool);
}

static void
a_reservation_makes_a_request_possible(void **state)
{
	physpool_t *pool = pool_make(0, PAGES * PAGE);
	vm_paddr_t all;
	(void)state;

	assert_int_equal(
	    physpool_reserve(pool, 2 * PAGE, 0, NO_LIMIT, 1, 0, 1), 0);
	all = get_any(pool, (PAGES - 2) * PAGE);
	assert_int_equal(contig_explain(pool, 2 * PAGE, 0, NO_LIMIT, 1, 0, text,
			     sizeof(text)),
	    0);
	expect("possible now, at 0x3e000, from a reservation\n");
	assert_int_equal(
	    contig_explain(pool, PAGE, 0, NO_LIMIT, 1, 0, text, sizeof(text)),
	    ENOMEM);
	put(pool, all, (PAGES - 2) * PAGE);
	pool_done(pool);
}

static void
the_text_is_cut_where_the_buffer_ends(void **state)
{
	physpool_t *pool = pool_make(0, PAGES * PAGE);
	char whole[4000];
	(void)state;

	(void)contig_explain(
	    pool, PAGE, 0, NO_LIMIT, 1, 0, whole, sizeof(whole));
	for (size_t n = 1; n <= strlen(whole) + 1; n++) {
		memset(text, 'x', sizeof(text));
		assert_int_equal(
		    contig_explain(pool, PAGE, 0, NO_LIMIT, 1, 0, text, n), 0);
		assert_int_equal(strlen(text), n - 1);
		assert_memory_equal(text, whole, n - 1);
		assert_int_equal(text[n], 'x');
	}
	assert_int_equal(
	    contig_explain(pool, PAGE, 0, NO_LIMIT, 1, 0, NULL, 0), 0);
	pool_done(pool);
}

static void
an_explanation_changes_nothing(void **state)
{
	physpool_t *pool = pool_with_hole(0x5000, 0x8fff);
	struct malloc_type_stats before = stats_of(M_DEVBUF), after;
	(void)state;

	for (unsigned long size = 1; size < 10 * PAGE; size += 1000)
		(void)contig_explain(
		    pool, size, size, NO_LIMIT, 0x4000, 0, text, sizeof(text));
	after = stats_of(M_DEVBUF);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(get_any(pool, 4 * PAGE), 0x5000);
	put(pool, 0x5000, 4 * PAGE);
	empty(pool, 0x5000, 0x8fff);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_request_that_would_succeed_is_told_where),
	    cmocka_unit_test(
		the_constraint_that_leaves_no_place_now_is_to_blame),
	    cmocka_unit_test(what_can_never_be_is_told_from_what_cannot_be_now),
	    cmocka_unit_test(bad_words_panic_and_are_explained),
	    cmocka_unit_test(who_has_the_space_of_the_window_is_named),
	    cmocka_unit_test(holders_beyond_the_first_dozen_are_others),
	    cmocka_unit_test(a_reservation_makes_a_request_possible),
	    cmocka_unit_test(the_text_is_cut_where_the_buffer_ends),
	    cmocka_unit_test(an_explanation_changes_nothing),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
