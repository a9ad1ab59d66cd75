/*
 * contig_explain.c - why a request fails now, in words.
 *
 * Which constraint is to blame is found by asking for less: for the size alone,
 * then with the window, the alignment and the boundary added one by one.  The
 * first that fails is named.  All questions are put to the pool's arenas, and
 * what they give is given back.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "contig/physpool_impl.h"

#include "base/fmt.h"

#include <errno.h>
#include <stdarg.h>

enum { HOLDERS = 12 }; /* types that are named; the rest are the others */

struct holder {
	const struct mtype *ho_type; /* NULL: reserved */
	size_t ho_bytes;
	size_t ho_blocks;
	char ho_name[MTYPE_NAME_MAX];
};

/* All that is found out, while the pool's lock is held. */
struct report {
	struct physpool *re_pool;
	struct contig_req re_req;
	int re_error;          /* what the request would fail with */
	vm_paddr_t re_pa;      /* or where it would be */
	const char *re_blame;  /* what makes it fail */
	size_t re_window;      /* bytes of the pool in the window */
	size_t re_free;        /* free ones of these */
	size_t re_longest;     /* of the free runs' parts in the window */
	vm_paddr_t re_at;      /* where that is */
	size_t re_fits;        /* the largest size that meets the constraints */
	vm_paddr_t re_fits_at; /* where it would be */
	size_t re_nholders;
	struct holder re_holder[HOLDERS + 1];
};

/* ---- finding out ---- */

static bool
would_fit(struct physpool *pool, vmem_t *arena, const struct contig_req *rq,
    vm_paddr_t *pap)
{
	if (!contig__take(pool, arena, rq, pap))
		return (false);
	vmem_xfree_addr(arena, *pap, rq->rq_size);
	return (true);
}

/* The first constraint with which there is no place in this arena. */
static const char *
blame(struct physpool *pool, vmem_t *arena, const struct contig_req *rq)
{
	struct contig_req less = {.rq_size = rq->rq_size,
	    .rq_high = ~(vm_paddr_t)0,
	    .rq_align = pool->pp_granule};
	vm_paddr_t pa;

	if (!would_fit(pool, arena, &less, &pa))
		return ("the size: no run is that long");
	less.rq_low = rq->rq_low;
	less.rq_high = rq->rq_high;
	if (!would_fit(pool, arena, &less, &pa))
		return ("the window: no run in it is that long");
	less.rq_align = rq->rq_align;
	if (!would_fit(pool, arena, &less, &pa))
		return ("the alignment");
	return ("the boundary");
}

/* What fits does so when it is shorter. */
static void
find_largest(struct report *re)
{
	struct physpool *pool = re->re_pool;
	size_t low = 0, high = pool->pp_size >> pool->pp_shift;
	struct contig_req rq = re->re_req;

	if (rq.rq_boundary != 0)
		high = qr_min(high, rq.rq_boundary >> pool->pp_shift);
	while (low < high) {
		size_t middle = high - (high - low) / 2;
		vm_paddr_t pa;

		rq.rq_size = middle << pool->pp_shift;
		if (would_fit(pool, pool->pp_arena, &rq, &pa)) {
			low = middle;
			re->re_fits_at = pa;
		} else {
			high = middle - 1;
		}
	}
	re->re_fits = low << pool->pp_shift;
}

/* The bytes of [*start, *start + size) in the window; *start moves there. */
static size_t
in_window(const struct contig_req *rq, vm_paddr_t *start, size_t size)
{
	vm_paddr_t first = qr_max(*start, rq->rq_low);
	vm_paddr_t last = *start + (size - 1);

	if (rq->rq_high != ~(vm_paddr_t)0)
		last = qr_min(last, rq->rq_high - 1);
	*start = first;
	return (first > last ? 0 : last - first + 1);
}

static void
see_free(void *arg, void *start, size_t size)
{
	struct report *re = arg;
	vm_paddr_t pa = (uintptr_t)start;
	size_t bytes = in_window(&re->re_req, &pa, size);

	re->re_free += bytes;
	if (bytes > re->re_longest) {
		re->re_longest = bytes;
		re->re_at = pa;
	}
}

static void
see_block(void *arg, void *start, size_t size)
{
	struct report *re = arg;
	vm_paddr_t pa = (uintptr_t)start;
	const struct physrun *run =
	    physpool__run(re->re_pool, physpool__va(re->re_pool, pa));
	size_t bytes = in_window(&re->re_req, &pa, size), i = 0;

	if (bytes == 0)
		return;
	while (i < re->re_nholders && i < HOLDERS &&
	    re->re_holder[i].ho_type != run->ru_type)
		i++;
	if (i == re->re_nholders) {
		re->re_nholders++;
		re->re_holder[i] = (struct holder){.ho_type = run->ru_type};
		(void)qr_snprintf(re->re_holder[i].ho_name, MTYPE_NAME_MAX,
		    "%s",
		    i == HOLDERS               ? "others"
			: run->ru_type == NULL ? "reserved"
					       : run->ru_type->mt_name);
	}
	re->re_holder[i].ho_bytes += bytes;
	re->re_holder[i].ho_blocks++;
}

/* pp_lock is held. */
static void
look(struct report *re)
{
	struct physpool *pool = re->re_pool;
	const struct contig_req *rq = &re->re_req;

	contig__settle(pool);
	if (!would_fit(pool, pool->pp_arena, rq, &re->re_pa)) {
		re->re_error = contig__verdict(pool, rq);
		re->re_blame = blame(pool,
		    re->re_error == ENOSPC ? pool->pp_image : pool->pp_arena,
		    rq);
	}
	if (re->re_error == ENOMEM &&
	    physpool__reserved_take(pool, rq, &re->re_pa)) {
		(void)physpool__reserved_put(pool, re->re_pa, rq->rq_size);
		re->re_error = 0;
	}
	find_largest(re);
	for (size_t i = 0; i < pool->pp_nseg; i++) {
		vm_paddr_t pa = pool->pp_seg[i].sg_pa;

		re->re_window += in_window(rq, &pa, pool->pp_seg[i].sg_size);
	}
	vmem_walk(pool->pp_arena, VMEM_FREE, see_free, re);
	vmem_walk(pool->pp_arena, VMEM_ALLOC, see_block, re);
}

/* ---- saying it ---- */

struct text {
	char *t_buf;
	size_t t_size;
	size_t t_len;
};

static void say(struct text *t, const char *fmt, ...) QR_PRINTF(2, 3);

static void
say(struct text *t, const char *fmt, ...)
{
	va_list ap;
	size_t at = qr_min(t->t_len, t->t_size);

	va_start(ap, fmt);
	t->t_len += qr_vsnprintf(
	    at == t->t_size ? NULL : t->t_buf + at, t->t_size - at, fmt, ap);
	va_end(ap);
}

static void
say_request(
    struct text *t, const struct physpool *pool, const struct contig_words *w)
{
	say(t,
	    "%lu bytes of pool %s (%zu bytes in granules of %zu)\n"
	    "  between 0x%llx and 0x%llx, aligned to %lu, crossing no"
	    " multiple of %llu\n",
	    w->w_size, pool->pp_name, pool->pp_size, pool->pp_granule,
	    (unsigned long long)w->w_low, (unsigned long long)w->w_high,
	    w->w_alignment, (unsigned long long)w->w_boundary);
}

/* For requests at which no arena need be asked. */
static const char *
hopeless(int error, const struct contig_words *w)
{
	switch (error) {
	case EINVAL:
		return (w->w_size == 0 || w->w_boundary == 0 ||
			    !qr_ispow2(w->w_boundary)
			? "the arguments are wrong"
			: "the boundary is below the rounded size");
	case ENOSPC:
		return ("the window is empty");
	default:
		return ("the size is beyond the whole pool");
	}
}

static void
say_report(struct text *t, const struct report *re)
{
	if (re->re_error == 0)
		say(t, "possible now, at 0x%llx%s\n",
		    (unsigned long long)re->re_pa,
		    re->re_blame != NULL ? ", from a reservation" : "");
	else
		say(t, "%s, because of %s\n",
		    re->re_error == ENOSPC ? "never possible" : "not now",
		    re->re_blame);
	say(t,
	    "in the window: %zu bytes of the pool, %zu of them free; longest"
	    " free run %zu",
	    re->re_window, re->re_free, re->re_longest);
	if (re->re_longest != 0)
		say(t, " at 0x%llx", (unsigned long long)re->re_at);
	say(t, "\nlargest size for these constraints: %zu", re->re_fits);
	if (re->re_fits != 0)
		say(t, " at 0x%llx", (unsigned long long)re->re_fits_at);
	say(t, "\n");
	for (size_t i = 0; i < re->re_nholders; i++)
		say(t, "%s %zu bytes of %s in %zu block%s\n",
		    i == 0 ? "allocated there:" : "                ",
		    re->re_holder[i].ho_bytes, re->re_holder[i].ho_name,
		    re->re_holder[i].ho_blocks,
		    re->re_holder[i].ho_blocks == 1 ? "" : "s");
}

int
contig_explain(physpool_t *pool, unsigned long size, vm_paddr_t low,
    vm_paddr_t high, unsigned long alignment, vm_paddr_t boundary, char *buf,
    size_t buflen)
{
	struct contig_words w = {
	    "contig_explain", size, NULL, 0, low, high, alignment, boundary};
	struct text t = {buf, buflen, 0};
	struct report re = {.re_pool = pool};
	int error = contig__request(pool, &w, &re.re_req);

	say_request(&t, pool, &w);
	if (error != 0) {
		say(&t, "never possible, because %s\n", hopeless(error, &w));
		return (error);
	}
	qr_mutex_enter(&pool->pp_lock);
	look(&re);
	qr_mutex_exit(&pool->pp_lock);
	say_report(&t, &re);
	return (re.re_error);
}
