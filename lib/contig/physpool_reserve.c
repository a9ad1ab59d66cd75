/*
 * physpool_reserve.c - runs set aside for requests to come.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "contig/physpool_impl.h"

#include <quarry/umem.h>

#include <errno.h>

static size_t
bytes_of(size_t n)
{
	return (sizeof(struct physreserve) + n * sizeof(vm_paddr_t));
}

/* Does the run of rq_size at pa meet the request? */
static bool
meets(const struct contig_req *rq, vm_paddr_t pa)
{
	vm_paddr_t last = pa + (rq->rq_size - 1);

	return (pa >= rq->rq_low &&
	    (rq->rq_high == ~(vm_paddr_t)0 || last < rq->rq_high) &&
	    qr_phase(pa, rq->rq_align) == 0 &&
	    !qr_crosses(pa, rq->rq_size, rq->rq_boundary));
}

bool
physpool__reserved_take(
    struct physpool *pool, const struct contig_req *rq, vm_paddr_t *pap)
{
	qr_mutex_assert_held(&pool->pp_lock);

	for (struct physreserve *rs = pool->pp_reserves; rs != NULL;
	     rs = rs->rs_next) {
		if (rs->rs_req.rq_size != rq->rq_size)
			continue;
		for (size_t i = 0; i < rs->rs_have; i++) {
			if (!meets(rq, rs->rs_run[i]))
				continue;
			*pap = rs->rs_run[i];
			rs->rs_run[i] = rs->rs_run[--rs->rs_have];
			return (true);
		}
	}
	return (false);
}

bool
physpool__reserved_put(struct physpool *pool, vm_paddr_t pa, size_t size)
{
	qr_mutex_assert_held(&pool->pp_lock);

	for (struct physreserve *rs = pool->pp_reserves; rs != NULL;
	     rs = rs->rs_next) {
		if (rs->rs_req.rq_size == size && rs->rs_have < rs->rs_want &&
		    meets(&rs->rs_req, pa)) {
			rs->rs_run[rs->rs_have++] = pa;
			return (true);
		}
	}
	return (false);
}

/* Its runs are free again.  pp_lock is held. */
static void
give_back(struct physpool *pool, struct physreserve *rs)
{
	while (rs->rs_have > 0) {
		vm_paddr_t pa = rs->rs_run[--rs->rs_have];

		contig__give_back(
		    pool, physpool__run(pool, physpool__va(pool, pa)), pa);
	}
	contig__wake(pool);
}

/* Take all the runs, or none.  pp_lock is held. */
static int
fill(struct physpool *pool, struct physreserve *rs)
{
	vm_paddr_t pa;

	contig__settle(pool);
	while (rs->rs_have < rs->rs_want) {
		struct physrun *run;

		if (!contig__take(pool, pool->pp_arena, &rs->rs_req, &pa)) {
			give_back(pool, rs);
			return (contig__verdict(pool, &rs->rs_req));
		}
		run = physpool__run(pool, physpool__va(pool, pa));
		*run = (struct physrun){NULL, rs->rs_req.rq_size};
		rs->rs_run[rs->rs_have++] = pa;
	}
	rs->rs_next = pool->pp_reserves;
	pool->pp_reserves = rs;
	return (0);
}

static int
reserve(struct physpool *pool, const struct contig_req *rq, size_t n)
{
	struct physreserve *rs;
	int error;

	if (n > pool->pp_size / rq->rq_size)
		return (ENOMEM);
	rs = umem_alloc(bytes_of(n), UMEM_DEFAULT);
	if (rs == NULL)
		return (ENOMEM);
	*rs = (struct physreserve){.rs_req = *rq, .rs_want = n};
	qr_mutex_enter(&pool->pp_lock);
	error = fill(pool, rs);
	qr_mutex_exit(&pool->pp_lock);
	if (error != 0)
		umem_free(rs, bytes_of(n));
	return (error);
}

/* Drop the first reservation for this request, or for any; false: none. */
static bool
drop(struct physpool *pool, const struct contig_req *rq)
{
	struct physreserve **link = &pool->pp_reserves, *rs;

	qr_mutex_enter(&pool->pp_lock);
	while (
	    *link != NULL && rq != NULL && !contig__same(&(*link)->rs_req, rq))
		link = &(*link)->rs_next;
	rs = *link;
	if (rs != NULL) {
		*link = rs->rs_next;
		give_back(pool, rs);
	}
	qr_mutex_exit(&pool->pp_lock);
	if (rs == NULL)
		return (false);
	umem_free(rs, bytes_of(rs->rs_want));
	return (true);
}

void
physpool__unreserve(struct physpool *pool)
{
	while (drop(pool, NULL))
		continue;
}

int
physpool_reserve(physpool_t *pool, size_t size, vm_paddr_t low, vm_paddr_t high,
    unsigned long alignment, vm_paddr_t boundary, size_t n)
{
	struct contig_words w = {
	    "physpool_reserve", size, NULL, 0, low, high, alignment, boundary};
	struct contig_req rq;
	int error = contig__request(pool, &w, &rq);

	if (error != 0)
		return (error);
	if (n > 0)
		return (reserve(pool, &rq, n));
	while (drop(pool, &rq))
		continue;
	return (0);
}
