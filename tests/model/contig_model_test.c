/*
 * contig_model_test.c - contigmalloc beside a bitmap of pages.
 *
 * The model tries every page from the top, or the bottom, with the documented
 * rule; each answer must be the same, and each failure for the same reason.
 * Best fit may choose among many: there any feasible place will do.
 *
 *	contig_model [steps [runs [seed]]]
 */
#include "support/runs.h"

#include <quarry/contigmalloc.h>
#include <quarry/umem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

enum { PAGE = 4096, PAGES = 300, LIVE = 200, SHAPES = 24 };

#define NO_LIMIT (~(vm_paddr_t)0)

static struct runs runs = {3000, 48, 1};

/* Pages in order of address in memory; m_pa[i] is where page i is. */
struct model {
	size_t m_pages;
	vm_paddr_t m_pa[PAGES];
	bool m_used[PAGES];
};

struct request {
	size_t r_pages;
	unsigned long r_size;
	vm_paddr_t r_low, r_high;
	unsigned long r_align;
	vm_paddr_t r_bound;
};

static uint64_t
random_next(uint64_t *rng)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return (*rng * 0x2545f4914f6cdd1d >> 16);
}

/* Can the request begin at page i?  Where pages are used may be ignored. */
static bool
feasible(const struct model *m, const struct request *r, size_t i, bool empty)
{
	vm_paddr_t pa = m->m_pa[i], last = pa + (r->r_pages * PAGE - 1);

	if (i + r->r_pages > m->m_pages || last < pa)
		return (false);
	for (size_t k = 0; k < r->r_pages; k++) {
		if ((m->m_used[i + k] && !empty) ||
		    m->m_pa[i + k] != pa + k * PAGE)
			return (false);
	}
	if (pa < r->r_low || (r->r_high != NO_LIMIT && last >= r->r_high))
		return (false);
	if (r->r_align > 1 && pa % r->r_align != 0)
		return (false);
	return (r->r_bound == 0 || pa / r->r_bound == last / r->r_bound);
}

/* The page with the highest (lowest) address, or m_pages. */
static size_t
choose(const struct model *m, const struct request *r, bool high, bool empty)
{
	size_t best = m->m_pages;

	for (size_t i = 0; i < m->m_pages; i++) {
		if (feasible(m, r, i, empty) &&
		    (best == m->m_pages ||
			(m->m_pa[i] > m->m_pa[best]) == high))
			best = i;
	}
	return (best);
}

static int
error_of(const struct model *m, const struct request *r)
{
	if (r->r_bound != 0 && r->r_bound < r->r_pages * PAGE)
		return (EINVAL);
	if (r->r_pages > m->m_pages)
		return (ENOMEM);
	return (choose(m, r, true, true) == m->m_pages ? ENOSPC : ENOMEM);
}

/*
 * Shapes: where the pool is, and whether it is of pieces: some that touch, some
 * that do not, and some out of order.
 */
static void
make_model(struct model *m, unsigned shape, uint64_t *rng)
{
	static const vm_paddr_t bases[] = {0, 0x12345000,
	    (vm_paddr_t)0 - (vm_paddr_t)PAGES * PAGE, 0xfff80000};
	vm_paddr_t base = bases[shape % 4];

	*m = (struct model){.m_pages = PAGES};
	for (size_t i = 0; i < PAGES; i++)
		m->m_pa[i] = base + i * PAGE;
	if (shape / 4 % 2 == 0 || shape % 4 == 2)
		return;
	for (size_t i = 0; i < PAGES; i++)
		m->m_pa[i] += i / 37 * 5 * PAGE;
	for (int n = 0; n < 10; n++) {
		size_t i = random_next(rng) % PAGES,
		       j = random_next(rng) % PAGES;
		vm_paddr_t pa = m->m_pa[i];

		m->m_pa[i] = m->m_pa[j];
		m->m_pa[j] = pa;
	}
}

static struct request
make_request(const struct model *m, uint64_t *rng)
{
	uint64_t v = random_next(rng);
	size_t pages = 1 + (v % 8 == 0 ? v / 8 % 40 : v / 8 % 6);
	struct request r = {.r_pages = pages,
	    .r_size = pages * PAGE - random_next(rng) % PAGE,
	    .r_high = NO_LIMIT};

	v = random_next(rng);
	if (v % 4 == 0)
		r.r_low = m->m_pa[v / 4 % m->m_pages] + v / 4096 % 3 - 1;
	v = random_next(rng);
	if (v % 4 == 0)
		r.r_high = m->m_pa[v / 4 % m->m_pages] + v / 4096 % 3 - 1;
	v = random_next(rng);
	if (v % 3 == 0)
		r.r_align = 1ul << v / 3 % 18;
	v = random_next(rng);
	if (v % 3 == 0)
		r.r_bound = (vm_paddr_t)1 << (10 + v / 3 % 12);
	return (r);
}

struct live {
	void *l_p;
	size_t l_page;
	struct request l_req;
};

static void
drop(struct model *m, struct live *l)
{
	contigfree(l->l_p, l->l_req.r_size, M_TEMP);
	for (size_t k = 0; k < l->l_req.r_pages; k++)
		m->m_used[l->l_page + k] = false;
}

/* The page that p is in; every byte of the block is where it should be. */
static size_t
page_of(const struct model *m, const char *first, const char *p,
    const struct request *r)
{
	size_t i = (size_t)(p - first) / PAGE;

	for (size_t k = 0; k < r->r_pages; k++) {
		if (vtophys(p + k * PAGE) != m->m_pa[i + k] ||
		    vtophys(p + k * PAGE + PAGE - 1) !=
			m->m_pa[i + k] + PAGE - 1)
			return (m->m_pages);
	}
	return (i);
}

static bool
agree(struct model *m, physpool_t *pool, const char *first,
    enum physpool_policy policy, const struct request *r, struct live *l)
{
	size_t want = choose(m, r, policy != PHYSPOOL_LOW_FIRST, false), got;
	int error = error_of(m, r);
	void *p;

	errno = 0;
	p = contigmalloc_pool(pool, r->r_size, M_TEMP, M_NOWAIT, r->r_low,
	    r->r_high, r->r_align, r->r_bound);
	if (error == EINVAL || want == m->m_pages)
		return (p == NULL && errno == error);
	if (p == NULL)
		return (false);
	got = page_of(m, first, p, r);
	if (policy == PHYSPOOL_BEST_FIT
		? got == m->m_pages || !feasible(m, r, got, false)
		: got != want)
		return (false);
	*l = (struct live){p, got, *r};
	for (size_t k = 0; k < r->r_pages; k++)
		m->m_used[got + k] = true;
	return (true);
}

static bool
passes(uint64_t seed, unsigned shape)
{
	static struct live live[LIVE];
	uint64_t rng = seed * 0x9e3779b97f4a7c15 | 1;
	struct request last = {0};
	struct model m;
	struct physpool_attr attr = {.name = "model",
	    .size = (size_t)PAGES * PAGE,
	    .policy = (enum physpool_policy)(shape / 8),
	    .backing = PHYSPOOL_EXTERNAL};
	physpool_t *pool;
	size_t n = 0;
	bool ok = true;

	make_model(&m, shape, &rng);
	attr.paddrs = m.m_pa;
	attr.va = mmap(
	    NULL, attr.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (physpool_create(&pool, &attr) != 0)
		return (false);
	for (size_t i = 0; i < runs.r_steps && ok; i++) {
		struct request r = make_request(&m, &rng);
		size_t k = random_next(&rng) % (n + 1);

		/* Often the block of last time goes, or its request comes. */
		if (n > 0 && random_next(&rng) % 4 == 0)
			k = n - 1;
		if (n > 0 && random_next(&rng) % 4 == 0)
			r = last;
		last = r;
		if (n == LIVE || random_next(&rng) % 100 < 45) {
			if (k < n) {
				drop(&m, &live[k]);
				live[k] = live[--n];
			}
			continue;
		}
		live[n].l_p = NULL;
		ok = agree(&m, pool, attr.va, attr.policy, &r, &live[n]);
		if (!ok)
			print_error("seed %lu shape %u step %zu: %lu bytes in "
				    "[%#lx, %#lx), %lu, %lu\n",
			    seed, shape, i, r.r_size, r.r_low, r.r_high,
			    r.r_align, r.r_bound);
		n += live[n].l_p != NULL;
	}
	while (ok && n > 0)
		drop(&m, &live[--n]);
	ok = ok && physpool_destroy(pool) == 0;
	(void)munmap(attr.va, attr.size);
	return (ok);
}

static void
a_pool_answers_random_requests_as_a_bitmap_of_pages_does(void **state)
{
	(void)state;

	print_message("%u runs of %zu steps, seeds from %lu\n", runs.r_runs,
	    runs.r_steps, runs.r_first_seed);
	for (unsigned run = 0; run < runs.r_runs; run++)
		assert_true(passes(runs.r_first_seed + run, run % SHAPES));
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		a_pool_answers_random_requests_as_a_bitmap_of_pages_does),
	};

	if (getenv("QR_TEST_QUICK") != NULL)
		runs.r_steps = 500;
	runs_arguments(&runs, argc, argv);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
