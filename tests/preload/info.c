/*
 * info.c - what malloc tells about itself, and what it lets be asked.
 */
#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>

/* What glibc has not given a name: no parameter of mallopt is called so. */
enum { NO_PARAMETER = 12345 };

enum { BLOCKS = 100000, SIZE = 112 };

static void *block[BLOCKS];

static void
take(void)
{
	for (size_t i = 0; i < BLOCKS; i++) {
		block[i] = malloc(SIZE);
		CHECK(block[i] != NULL);
		memset(block[i], 1, SIZE);
	}
}

static void
give(void)
{
	for (size_t i = 0; i < BLOCKS; i++)
		free(block[i]);
}

static void
malloc_trim_gives_back_what_is_free_and_says_so(void)
{
	const size_t total = (size_t)BLOCKS * SIZE;
	size_t before, peak;

	(void)malloc_trim(0);
	before = check_resident();
	take();
	peak = check_resident();
	give();
	CHECK(peak > before + total / 2);
	CHECK(malloc_trim(0) == 1);
	CHECK(malloc_trim(0) == 0);
	CHECK(check_resident() < before + total / 4);
	take();
	give();
	CHECK(malloc_trim((size_t)1 << 20) == 1);
}

/* As near as 1/16: other blocks come and go too. */
static bool
near(size_t have, size_t want)
{
	return (have > want - want / 16 && have < want + want / 16);
}

static void
mallinfo2_counts_what_is_in_use(void)
{
	struct mallinfo2 m0 = mallinfo2(), m1, m2;
	void *large;

	take();
	large = malloc(5000000);
	m1 = mallinfo2();
	CHECK(near(m1.uordblks - m0.uordblks, (size_t)BLOCKS * SIZE));
	CHECK(m1.hblks == m0.hblks + 1);
	CHECK(near(m1.hblkhd - m0.hblkhd, 5000000));
	CHECK(m1.uordblks + m1.fordblks == m1.arena);
	give();
	free(large);
	m2 = mallinfo2();
	CHECK(m2.uordblks < m0.uordblks + 100000);
	CHECK(m2.hblks == m0.hblks && m2.hblkhd == m0.hblkhd);
	CHECK(m2.fordblks >= (size_t)BLOCKS * SIZE / 2);
}

/* The C library calls it obsolete; programs call it all the same. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
static void
mallinfo_says_the_same_in_int(void)
{
	struct mallinfo2 wide = mallinfo2();
	struct mallinfo mi = mallinfo();

	CHECK((size_t)mi.arena == wide.arena);
	CHECK((size_t)mi.uordblks == wide.uordblks);
	CHECK((size_t)mi.fordblks == wide.fordblks);
	CHECK((size_t)mi.hblkhd == wide.hblkhd);
	CHECK((size_t)mi.hblks == wide.hblks);
}

static void
mallinfo_does_not_wrap(void)
{
	const size_t large = (size_t)3 << 30;
	void *p = malloc(large);

	if (p == NULL)
		return;
	CHECK(mallinfo2().hblkhd >= large);
	CHECK(mallinfo().hblkhd == INT32_MAX);
	free(p);
}
#pragma GCC diagnostic pop

static void
malloc_info_refuses_options(void)
{
	FILE *fp = fopen("/dev/null", "we");

	CHECK(fp != NULL);
	errno = 0;
	CHECK(malloc_info(1, fp) == -1 && errno == EINVAL);
	CHECK(malloc_info(0, fp) == 0);
	(void)fclose(fp);
}

/* For the script to parse. */
static void
malloc_info_to_stdout(void)
{
	take();
	CHECK(malloc_info(0, stdout) == 0);
	give();
	CHECK(fflush(stdout) == 0);
	_exit(0);
}

static void
malloc_stats_to_stderr(void)
{
	take();
	malloc_stats();
	_exit(0);
}

static void
mallopt_takes_the_parameters_of_glibc(void)
{
	static const int known[] = {M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD,
	    M_MMAP_THRESHOLD, M_MMAP_MAX, M_CHECK_ACTION, M_PERTURB,
	    M_ARENA_TEST, M_ARENA_MAX};

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		CHECK(mallopt(known[i], 1 << 20) == 1);
	CHECK(mallopt(NO_PARAMETER, 1) == 0);
	take();
	give();
}

/*
 * With no idle memory allowed, a freed block leaves at once.  What was idle
 * before leaves first, for it may be given back while one looks.
 */
static void
the_trim_threshold_caps_idle_memory(void)
{
	enum { LARGE = 4 << 20 };
	size_t before;
	char *p;

	(void)malloc_trim(0);
	CHECK(mallopt(M_TRIM_THRESHOLD, 0) == 1);
	p = malloc(LARGE);
	CHECK(p != NULL);
	before = check_resident();
	memset(p, 1, LARGE);
	CHECK(check_resident() >= before + LARGE / 2);
	free(p);
	CHECK(check_resident() < before + LARGE / 2);
	CHECK(mallopt(M_TRIM_THRESHOLD, 16 << 20) == 1);
}

static const struct check table[] = {
    CHECK_THAT(malloc_trim_gives_back_what_is_free_and_says_so),
    CHECK_THAT(mallinfo2_counts_what_is_in_use),
    CHECK_THAT(mallinfo_says_the_same_in_int),
    CHECK_THAT(mallinfo_does_not_wrap),
    CHECK_THAT(malloc_info_refuses_options),
    CHECK_THAT(mallopt_takes_the_parameters_of_glibc),
    CHECK_THAT(the_trim_threshold_caps_idle_memory),
};

/* Run by name only: they end the process. */
static const struct check outputs[] = {
    CHECK_THAT(malloc_info_to_stdout),
    CHECK_THAT(malloc_stats_to_stderr),
};

int
main(int argc, char **argv)
{
	for (size_t i = 0; i < 2 && argc == 2; i++) {
		if (strcmp(argv[1], outputs[i].c_name) == 0)
			outputs[i].c_fn();
	}
	return (
	    check_main(argc, argv, table, sizeof(table) / sizeof(table[0])));
}
