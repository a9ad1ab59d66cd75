/*
 * contig_rows.c - the rows of the benchmark of contiguous memory.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "contig_rows.h"

#include "harness.h"

#include <stdio.h>
#include <string.h>

enum {
	MIB = 1 << 20,
	ROUNDS = 25, /* of which the median counts */
	LIVE = 1024,
	QUERIES = 150,
	REPEATS = 7, /* of each query, of which the fastest counts */
};

#define GIB ((size_t)1 << 30)

static struct bench_worker rng = {.bw_rng = 88172645463325252};

static size_t
below(size_t n)
{
	return (bench_below(bench_random(&rng), n));
}

static double
median(double *v, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		double x = v[i];
		size_t j = i;

		for (; j > 0 && v[j - 1] > x; j--)
			v[j] = v[j - 1];
		v[j] = x;
	}
	return (v[n / 2]);
}

/* ---- pair, batch, churn, translate ---- */

/* n blocks, then their frees in the same order. */
static double
time_batches(const struct engine *en, size_t n)
{
	enum { PAIRS = 2048, BATCH = 32 };
	const struct request r = {
	    .r_size = 8192, .r_align = 32768, .r_boundary = MIB};
	double ns[ROUNDS];
	void *p[BATCH];

	en->en_open(GIB);
	for (size_t k = 0; k < ROUNDS; k++) {
		uint64_t start = bench_now();

		for (size_t i = 0; i < PAIRS / n; i++) {
			for (size_t j = 0; j < n; j++) {
				p[j] = en->en_get(&r);
				bench_keep(p[j]);
			}
			for (size_t j = 0; j < n; j++)
				en->en_put(p[j], r.r_size);
		}
		ns[k] = (double)(bench_now() - start) / PAIRS;
	}
	return (median(ns, ROUNDS));
}

static double
row_pair(const struct engine *en)
{
	return (time_batches(en, 1));
}

static double
row_batch(const struct engine *en)
{
	return (time_batches(en, 32));
}

struct block {
	void *b_p;
	size_t b_size;
};

static struct block live[LIVE];

static void
replace(const struct engine *en, struct block *b, size_t most)
{
	struct request r = {
	    .r_size = (1 + below(most)) * PAGE, .r_align = PAGE};

	if (b->b_p != NULL)
		en->en_put(b->b_p, b->b_size);
	b->b_size = r.r_size;
	b->b_p = en->en_get(&r);
}

static double
row_churn(const struct engine *en)
{
	enum { STEPS = 2000 };
	double ns[ROUNDS];

	en->en_open(GIB);
	for (size_t i = 0; i < 20 * LIVE; i++)
		replace(en, &live[below(LIVE)], 16);
	for (size_t k = 0; k < ROUNDS; k++) {
		uint64_t start = bench_now();

		for (size_t i = 0; i < STEPS; i++)
			replace(en, &live[below(LIVE)], 16);
		ns[k] = (double)(bench_now() - start) / STEPS;
	}
	return (median(ns, ROUNDS));
}

static double
row_translate(const struct engine *en)
{
	enum { ADDRESSES = 20000 };
	const struct request r = {.r_size = MIB, .r_align = PAGE};
	double ns[ROUNDS];
	uint64_t sum = 0;
	char *p;

	en->en_open(GIB);
	p = en->en_get(&r);
	memset(p, 1, MIB);
	for (size_t k = 0; k < ROUNDS; k++) {
		uint64_t start = bench_now();

		sum += en->en_translate(p, ADDRESSES);
		ns[k] = (double)(bench_now() - start) / ADDRESSES;
	}
	bench_keep((void *)(uintptr_t)sum);
	return (median(ns, ROUNDS));
}

/* ---- fragmented pools ---- */

static struct request
random_request(size_t pages, uint64_t space)
{
	struct request r = {.r_size = (1 + below(pages)) * PAGE,
	    .r_align = (size_t)PAGE << below(5)};

	if (below(3) == 0)
		r.r_boundary = (size_t)MIB >> below(5);
	if (below(3) == 0) {
		r.r_low = below(space / PAGE) * PAGE;
		r.r_high = r.r_low + (1 + below(4096)) * PAGE;
	}
	return (r);
}

struct timing {
	double t_mean;
	double t_worst;
};

static double
fastest(const struct engine *en, const struct request *r)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < REPEATS; i++) {
		uint64_t start = bench_now(), ns;
		void *p = en->en_get(r);

		ns = bench_now() - start;
		if (p != NULL)
			en->en_put(p, r->r_size);
		if (ns < best)
			best = ns;
	}
	return ((double)best);
}

/* The first questions are those that a scan finds hard. */
static void
ask(const struct engine *en, struct timing *t)
{
	const struct request hard[] = {
	    {.r_size = PAGE, .r_align = PAGE},
	    {.r_size = 2 * PAGE, .r_align = PAGE},
	    {.r_size = PAGE, .r_align = MIB},
	    {.r_size = 2 * PAGE, .r_align = 8 * PAGE, .r_boundary = MIB},
	};
	size_t n = sizeof(hard) / sizeof(hard[0]);

	for (size_t i = 0; i < QUERIES; i++) {
		struct request r = i < n ? hard[i] : random_request(8, GIB);
		double ns = fastest(en, &r);

		t->t_mean += ns / (2 * QUERIES);
		if (ns > t->t_worst)
			t->t_worst = ns;
	}
}

static struct timing
time_fragmented(const struct engine *en)
{
	size_t pages = GIB / PAGE;
	void **page = bench_map(pages * sizeof(*page));
	struct timing t = {0, 0};

	en->en_open(GIB);
	for (size_t i = 0; i < pages; i++)
		page[i] = en->en_take_page(i);
	/* Only the lowest pages are free. */
	for (size_t i = 0; i < 64; i++)
		en->en_put(page[i], PAGE);
	ask(en, &t);
	/* Every other page. */
	for (size_t i = 64; i < pages; i += 2)
		en->en_put(page[i], PAGE);
	for (size_t i = 1; i < 64; i += 2)
		(void)en->en_take_page(i);
	ask(en, &t);
	return (t);
}

static double
row_fragmented(const struct engine *en)
{
	return (time_fragmented(en).t_mean);
}

static double
row_worst(const struct engine *en)
{
	return (time_fragmented(en).t_worst);
}

/* ---- what is left ---- */

static double
row_served(const struct engine *en)
{
	enum { SPACE = 64 * MIB, TRIES = 20000 };
	size_t used = 0, served = 0;

	en->en_open(SPACE);
	for (size_t i = 0; i < TRIES; i++) {
		struct request r = random_request(64, SPACE);
		struct block *b = &live[below(LIVE)];

		if (b->b_p != NULL) {
			en->en_put(b->b_p, b->b_size);
			used -= b->b_size;
			b->b_p = NULL;
		}
		if (used + r.r_size > SPACE / 4 * 3)
			r = (struct request){.r_size = PAGE, .r_align = PAGE};
		b->b_p = en->en_get(&r);
		b->b_size = r.r_size;
		if (b->b_p != NULL) {
			used += r.r_size;
			served++;
		}
	}
	return (100.0 * (double)served / TRIES);
}

static double
row_largest(const struct engine *en)
{
	enum { SPACE = 64 * MIB };

	en->en_open(SPACE);
	for (size_t i = 0; i < 1000 * 1000; i++)
		replace(en, &live[below(LIVE)], 20);
	return ((double)en->en_largest() / 1024);
}

/* ---- which of them ---- */

static const struct {
	const char *name;
	double (*run)(const struct engine *en);
} rows[] = {
    {"pair", row_pair},
    {"batch", row_batch},
    {"churn", row_churn},
    {"fragmented", row_fragmented},
    {"worst", row_worst},
    {"served", row_served},
    {"largest", row_largest},
    {"translate", row_translate},
};

static int
can(const struct engine *en, const char *row)
{
	if (strcmp(row, "fragmented") == 0 || strcmp(row, "worst") == 0)
		return (en->en_take_page != NULL);
	if (strcmp(row, "served") == 0)
		return (en->en_constrained);
	if (strcmp(row, "largest") == 0)
		return (en->en_largest != NULL);
	if (strcmp(row, "translate") == 0)
		return (en->en_translate != NULL);
	return (en->en_put != NULL);
}

int
rows_main(int argc, char **argv, const struct engine *engines, size_t n)
{
	enum { NROWS = sizeof(rows) / sizeof(rows[0]) };
	int list = argc == 2 && strcmp(argv[1], "--list") == 0;

	if (argc != 3 && !list)
		bench_die("usage: ENGINE ROW, or --list");
	for (size_t k = 0; k < n * NROWS; k++) {
		const struct engine *en = &engines[k / NROWS];
		const char *row = rows[k % NROWS].name;

		if (!can(en, row))
			continue;
		if (list)
			printf("%s %s\n", en->en_name, row);
		else if (strcmp(en->en_name, argv[1]) == 0 &&
		    strcmp(row, argv[2]) == 0)
			return (printf("%s %s %.3f\n", en->en_name, row,
				    rows[k % NROWS].run(en)) < 0);
	}
	if (!list)
		bench_die("no such engine, or a row that it cannot do");
	return (0);
}
