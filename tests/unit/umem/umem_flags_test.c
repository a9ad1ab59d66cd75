/*
 * umem_flags_test.c - which debugging a cache gets.
 */
#include "umem/umem_debug.h"
#include "umem/umem_options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define A UMF_AUDIT
#define D UMF_DEADBEEF
#define R UMF_REDZONE
#define C UMF_CONTENTS
#define F UMF_FIREWALL
#define L UMF_LITE
#define N UMF_NOMAGAZINE
#define S UMF_CHECKSIGNAL
#define NULLS UMF_CHECKNULL

static const struct {
	uint32_t global;
	uint32_t cflags;
	size_t bufsize;
	size_t align;
	bool heap;
	uint32_t result;
} table[] = {
    /* Nothing of nothing; either source counts. */
    {0, 0, 100, 16, true, 0},
    {A | D | R, 0, 100, 16, true, A | D | R},
    {0, A | D | R, 100, 16, true, A | D | R},
    {D, R, 100, 16, false, D | R},
    {NULLS, 0, 100, 16, true, NULLS},
    /* An audit needs a tag, where memory may be touched. */
    {A, 0, 100, 16, true, A | R},
    {A, UMC_NOTOUCH, 100, 16, true, A},
    {S, 0, 100, 16, true, A | R | S},
    /* What must not be touched. */
    {A | D | R | C, UMC_NOTOUCH, 100, 16, true, A},
    {D | R | L, UMC_NOTOUCH, 100, 16, true, 0},
    {F, UMC_NOTOUCH, 100, 16, true, 0},
    /* What is not to be debugged, whatever it says itself. */
    {A | D | R | C | F | S, UMC_NODEBUG | A | D, 100, 16, true, 0},
    {NULLS, UMC_NODEBUG, 100, 16, true, 0},
    /* No bufctl beside the object. */
    {A | D | R | F | S, UMC_NOHASH, 100, 16, true, D | R},
    /* Contents are saved by audits. */
    {C, 0, 100, 16, true, 0},
    {A | C, 0, 100, 16, true, A | C | R},
    /* Quantum caches have no magazines when they are audited. */
    {A, UMC_NOTOUCH | UMF_QCACHE, 100, 16, false, A | N},
    {D | R, UMC_NOTOUCH | UMF_QCACHE, 100, 16, false, 0},
    /* Of lite only the tag is left, and that not everywhere. */
    {A | D | R | C | F | L, 0, 100, 16, true, L | R},
    {L, 0, 100, 16, true, L | R},
    {L | A | D, 0, 2048, 16, true, 0},
    {L | A | D, 0, 100, 2048, true, 0},
    {L, 0, 1025, 1024, true, L | R},
    /* The firewall is for the heap, and from a size on: 1000 here. */
    {F, 0, 1000, 16, true, F},
    {F, 0, 999, 16, true, 0},
    {F, 0, 1000, 16, false, 0},
    {F | D | R, 0, 999, 16, true, D | R},
    {N, 0, 100, 16, true, N},
};

static void
flags_follow_from_each_other(void **state)
{
	(void)state;

	umem__opt.firewall = 1000;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		uint32_t result;

		umem__opt.debug = table[i].global;
		result = umem__debug_flags(table[i].bufsize, table[i].align,
		    table[i].heap, table[i].cflags);
		if (result != table[i].result)
			fail_msg("row %zu: %x instead of %x", i, result,
			    table[i].result);
	}
	umem__opt.debug = 0;
	umem__opt.firewall = 0;
}

static void
random_caches_differ_and_come_to_everything(void **state)
{
	uint32_t seen = 0, first, different = 0;
	(void)state;

	umem__opt.debug = UMF_RANDOMIZE;
	first = umem__debug_flags(100, 16, true, 0);
	for (int i = 0; i < 64; i++) {
		uint32_t flags = umem__debug_flags(100, 16, true, 0);

		seen |= flags;
		different += flags != first;
	}
	assert_int_equal(
	    seen & (UMF_RANDOM & ~UMF_LITE), UMF_RANDOM & ~UMF_LITE);
	assert_true((seen & UMF_LITE) != 0);
	assert_true(different > 32);
	umem__opt.debug = 0;
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(flags_follow_from_each_other),
	    cmocka_unit_test(random_caches_differ_and_come_to_everything),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
