/*
 * vtophys.c - from a virtual address to its pool and physical address.
 *
 * One sorted table has the segments of all pools.  Readers take no lock: they
 * note the version, search, and search again if the version has moved.  A
 * writer makes the version odd while it works.  Before all that vtophys() looks
 * at one segment, the front, which its callers have inline.  A table that has become too
 * small is left behind, because somebody may be reading it; the next is twice
 * as large, so all that is left behind is less than what is in use.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "contig/physpool_impl.h"

#include "os/os.h"

#include <errno.h>

/* A segment, or where there is none, nothing: of size 0. */
struct range {
	_Atomic uintptr_t rg_va;
	_Atomic size_t rg_size;
	_Atomic uint64_t rg_delta; /* physical - virtual */
	struct physpool *_Atomic rg_pool;
};

/* tb_range has tb_count by rg_va, at least one. */
struct table {
	_Atomic size_t tb_count;
	size_t tb_room;
	struct range tb_range[1];
};

static struct table nothing = {.tb_count = 1};

/* Locking: written under the lock of the list of pools, read without. */
static struct table *_Atomic table = &nothing;
static _Atomic uint64_t version; /* odd: being changed */

struct vtophys_front vtophys_front QR_ALIGNED(QR_CACHE_LINE);

/* No access may move past the version: loads acquire, stores release. */
#define GET(field) atomic_load_explicit(&(field), memory_order_acquire)
#define PUT(field, value) \
	atomic_store_explicit(&(field), (value), memory_order_release)

/* ---- reading ---- */

/* The last range that begins at or below va, or the first of all. */
static inline const struct range *
search(const struct table *tb, uintptr_t va)
{
	const struct range *rg = tb->tb_range;

	for (size_t n = GET(tb->tb_count); n > 1;) {
		size_t half = n / 2;

		rg = GET(rg[half].rg_va) <= va ? rg + half : rg;
		n -= half;
	}
	return (rg);
}

static inline bool
find(uintptr_t va, struct vtophys_hit *hit)
{
	uint64_t seen;
	bool found;

	do {
		const struct range *rg;

		seen = GET(version);
		rg = search(GET(table), va);
		found = va - GET(rg->rg_va) < GET(rg->rg_size);
		hit->vh_delta = GET(rg->rg_delta);
		hit->vh_pool = GET(rg->rg_pool);
	} while (QR_UNLIKELY((seen & 1) != 0 ||
	    atomic_load_explicit(&version, memory_order_relaxed) != seen));
	return (found);
}

bool
vtophys__find(uintptr_t va, struct vtophys_hit *hit)
{
	return (find(va, hit));
}

vm_paddr_t
physpool_vtophys(const void *va)
{
	struct vtophys_hit hit;

	if (QR_UNLIKELY(!find((uintptr_t)va, &hit))) {
		errno = EFAULT;
		return ((vm_paddr_t)-1);
	}
	return ((uintptr_t)va + hit.vh_delta);
}

vm_paddr_t
vtophys(const void *va)
{
	return (physpool_vtophys(va));
}

/* ---- writing ---- */

static void
write_begin(void)
{
	atomic_store_explicit(&version,
	    atomic_load_explicit(&version, memory_order_relaxed) + 1,
	    memory_order_relaxed);
}

static void
write_end(void)
{
	PUT(version, GET(version) + 1);
}

static void
put(struct range *to, const struct range *from)
{
	PUT(to->rg_va, GET(from->rg_va));
	PUT(to->rg_size, GET(from->rg_size));
	PUT(to->rg_delta, GET(from->rg_delta));
	PUT(to->rg_pool, GET(from->rg_pool));
}

/* The first range is in front. */
static void
choose_front(const struct table *tb)
{
	const struct range *rg = tb->tb_range;
	struct vtophys_front *vf = &vtophys_front;

	__atomic_store_n(&vf->vf_size, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&vf->vf_version, vf->vf_version + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&vf->vf_va, GET(rg->rg_va), __ATOMIC_RELEASE);
	__atomic_store_n(&vf->vf_delta, GET(rg->rg_delta), __ATOMIC_RELEASE);
	__atomic_store_n(&vf->vf_size, GET(rg->rg_size), __ATOMIC_RELEASE);
}

/* A table with room for n; the one there is, if it has.  NULL: no memory. */
static struct table *
with_room(size_t n)
{
	struct table *old = GET(table), *new;
	size_t bytes;

	if (n <= old->tb_room)
		return (old);
	n = qr_max(n, 2 * old->tb_room);
	bytes =
	    qr_roundup(sizeof(*new) + n * sizeof(struct range), os_page_size());
	new = os_map(bytes, os_page_size());
	if (new == NULL)
		return (NULL);
	new->tb_room = (bytes - sizeof(*new)) / sizeof(struct range);
	new->tb_count = GET(old->tb_count);
	for (size_t i = 0; i < new->tb_count; i++)
		put(&new->tb_range[i], &old->tb_range[i]);
	return (new);
}

static bool
overlaps(const struct table *tb, uintptr_t va, size_t size)
{
	const struct range *rg = search(tb, va + (size - 1));

	return (GET(rg->rg_size) != 0 && GET(rg->rg_va) <= va + (size - 1) &&
	    va < GET(rg->rg_va) + GET(rg->rg_size));
}

bool
vtophys__overlaps(uintptr_t va, size_t size)
{
	return (overlaps(GET(table), va, size));
}

static void
put_segment(struct range *to, struct physpool *pool, const struct physseg *sg)
{
	PUT(to->rg_va, sg->sg_va);
	PUT(to->rg_size, sg->sg_size);
	PUT(to->rg_delta, sg->sg_pa - sg->sg_va);
	PUT(to->rg_pool, pool);
}

/*
 * From the end, so that nothing moves twice: readers wait for this.  What lies
 * between the segments of a pool is its own address space or its caller's
 * mapping, so they need not stand together.
 */
static void
merge_segments(struct table *tb, struct physpool *pool,
    const struct physseg *seg, size_t n)
{
	struct range *rg = tb->tb_range;
	size_t have = GET(rg[0].rg_size) == 0 ? 0 : GET(tb->tb_count);

	PUT(tb->tb_count, have + n);
	while (n > 0) {
		struct range *to = &rg[have + n - 1];

		if (have > 0 && GET(rg[have - 1].rg_va) > seg[n - 1].sg_va)
			put(to, &rg[--have]);
		else
			put_segment(to, pool, &seg[--n]);
	}
}

int
vtophys__insert(struct physpool *pool, const struct physseg *seg, size_t n)
{
	struct table *tb = GET(table);

	for (size_t i = 0; i < n; i++) {
		if (overlaps(tb, seg[i].sg_va, seg[i].sg_size))
			return (EINVAL);
	}
	tb = with_room(GET(tb->tb_count) + n);
	if (tb == NULL)
		return (ENOMEM);
	write_begin();
	PUT(table, tb);
	merge_segments(tb, pool, seg, n);
	choose_front(tb);
	write_end();
	return (0);
}

void
vtophys__remove(struct physpool *pool)
{
	struct table *tb = GET(table);
	size_t n = GET(tb->tb_count), kept = 0;

	write_begin();
	for (size_t i = 0; i < n; i++) {
		if (GET(tb->tb_range[i].rg_pool) != pool)
			put(&tb->tb_range[kept++], &tb->tb_range[i]);
	}
	if (kept == 0) {
		PUT(tb->tb_range[0].rg_size, 0);
		PUT(tb->tb_range[0].rg_pool, NULL);
		kept = 1;
	}
	PUT(tb->tb_count, kept);
	choose_front(tb);
	write_end();
}
