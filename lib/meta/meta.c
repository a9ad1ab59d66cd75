/*
 * meta.c - the floor: fixed-size records for the allocator's own use.
 *
 * All pools cut runs out of one shared chunk.  A pool's first run is small and
 * each next one as large as all before, so that a dozen pools with a few
 * records each share two or three pages, and a busy pool rarely comes back.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "meta/meta.h"

#include "base/bits.h"
#include "base/panic.h"
#include "os/os.h"

#include <stdatomic.h>
#include <string.h>

enum {
	CHUNK_BYTES = 256 * 1024,
	FIRST_BYTES = 64 * 1024,
	RUN_BYTES_MIN = 512,
	RUN_BYTES_MAX = 16 * 1024
};

/* Without a mapping: a small process needs no other. */
static char first_chunk[FIRST_BYTES] QR_ALIGNED(QR_CACHE_LINE);

/*
 * What runs are cut from; c_next and what follows it are zero.
 * Locking: (k) c_lock.
 */
static struct {
	struct qr_mutex c_lock;
	char *c_next; /* (k) */
	char *c_end;  /* (k) */
} chunk = {.c_lock = QR_MUTEX_INIT(QR_RANK_META_CHUNK),
    .c_next = first_chunk,
    .c_end = first_chunk + FIRST_BYTES};

/*
 * Pools are listed before their lock is first taken, and for good, so that
 * whoever holds r_lock can take the lock of every pool in use.
 * Locking: (r) r_lock.
 */
static struct {
	struct qr_mutex r_lock;
	struct meta_pool *r_first; /* (r) */
} registry = {.r_lock = QR_MUTEX_INIT(QR_RANK_META_LIST)};

static _Atomic size_t mapped = FIRST_BYTES;

static void *
map_counted(size_t size)
{
	void *p = os_map(size, os_page_size());

	if (p != NULL)
		atomic_fetch_add_explicit(&mapped, size, memory_order_relaxed);
	return (p);
}

/*
 * The rest of an exhausted chunk is forgotten: it is less than one run, and no
 * page of it but the first was ever touched.
 */
static bool
chunk_replace(size_t size)
{
	size_t bytes = qr_max(CHUNK_BYTES, qr_roundup(size, os_page_size()));
	char *p = map_counted(bytes);

	if (p == NULL)
		return (false);
	/* They would fill up again what meta_purge() gives back. */
	os_no_huge_pages(p, bytes);
	chunk.c_next = p;
	chunk.c_end = p + bytes;
	return (true);
}

static bool
chunk_has(size_t size, size_t align)
{
	size_t room = (size_t)(chunk.c_end - chunk.c_next);
	size_t skip = qr_nphase((uintptr_t)chunk.c_next, align);

	return (skip <= room && size <= room - skip);
}

/* Zeroed bytes that nobody ever used; align is at most a page. */
static char *
chunk_cut(size_t size, size_t align)
{
	char *run = NULL;

	qr_mutex_enter(&chunk.c_lock);
	if (chunk_has(size, align) || chunk_replace(size)) {
		run = chunk.c_next + qr_nphase((uintptr_t)chunk.c_next, align);
		chunk.c_next = run + size;
	}
	qr_mutex_exit(&chunk.c_lock);
	return (run);
}

static QR_COLD void
pool_list(struct meta_pool *mp)
{
	QR_VERIFY(mp->mp_size >= 16 && mp->mp_size % 16 == 0);

	qr_mutex_enter(&registry.r_lock);
	if (!mp->mp_listed) {
		/* In the middle of fork it is held, as those listed before. */
		qr_mutex_init(&mp->mp_lock, QR_RANK_META);
		mp->mp_next = registry.r_first;
		registry.r_first = mp;
		atomic_store_explicit(
		    &mp->mp_listed, true, memory_order_release);
	}
	qr_mutex_exit(&registry.r_lock);
}

/*
 * When no whole run can be had, the chunk in hand may still have room for one
 * record.
 */
static bool
pool_grow(struct meta_pool *mp)
{
	size_t align = qr_min((size_t)1 << qr_ctz(mp->mp_size), os_page_size());
	size_t bytes = qr_max(mp->mp_total * mp->mp_size, RUN_BYTES_MIN);
	char *run;

	qr_mutex_assert_held(&mp->mp_lock);
	bytes = qr_min(bytes, RUN_BYTES_MAX);
	bytes = qr_max(bytes - bytes % mp->mp_size, mp->mp_size);
	run = chunk_cut(bytes, align);
	if (run == NULL) {
		bytes = mp->mp_size;
		run = chunk_cut(bytes, align);
	}
	if (run == NULL)
		return (false);
	mp->mp_run = run;
	mp->mp_run_end = run + bytes;
	return (true);
}

/* Carve from a run that was purged. */
static bool
pool_reuse(struct meta_pool *mp)
{
	struct meta_zeros *z = mp->mp_zeros;

	qr_mutex_assert_held(&mp->mp_lock);
	if (z == NULL)
		return (false);
	mp->mp_zeros = z->z_next;
	mp->mp_run = (char *)z;
	mp->mp_run_end = z->z_end;
	memset(z, 0, mp->mp_size);
	return (true);
}

/*
 * Mapping with mp_lock held is deliberate: it happens once per chunk, and
 * whoever waits behind us wants a record of that chunk.
 */
static void *
pool_carve(struct meta_pool *mp)
{
	void *rec;

	qr_mutex_assert_held(&mp->mp_lock);
	if (mp->mp_run == mp->mp_run_end && !pool_reuse(mp) && !pool_grow(mp))
		return (NULL);
	rec = mp->mp_run;
	mp->mp_run += mp->mp_size;
	mp->mp_total++;
	return (rec);
}

static inline void *
pool_take(struct meta_pool *mp, bool *purging)
{
	bool recycled;
	void *rec;

	qr_mutex_enter(&mp->mp_lock);
	rec = mp->mp_free;
	recycled = rec != NULL;
	if (recycled) {
		mp->mp_free = *(void **)rec;
		mp->mp_nfree--;
	} else {
		rec = pool_carve(mp);
	}
	*purging = mp->mp_purging;
	qr_mutex_exit(&mp->mp_lock);
	return (recycled ? memset(rec, 0, mp->mp_size) : rec);
}

/* There is no memory, but a purge has records in its hands: wait for them. */
static QR_NOINLINE void *
take_purged(struct meta_pool *mp)
{
	bool purging;

	qr_mutex_enter(&registry.r_lock);
	qr_mutex_exit(&registry.r_lock);
	return (pool_take(mp, &purging));
}

void *
meta_get(struct meta_pool *mp)
{
	bool purging;
	void *rec;

	if (QR_UNLIKELY(
		!atomic_load_explicit(&mp->mp_listed, memory_order_acquire)))
		pool_list(mp);
	rec = pool_take(mp, &purging);
	if (QR_UNLIKELY(rec == NULL && purging))
		rec = take_purged(mp);
	return (rec);
}

void
meta_put(struct meta_pool *mp, void *rec)
{
	qr_mutex_enter(&mp->mp_lock);
	QR_VERIFY(mp->mp_nfree < mp->mp_total);
	*(void **)rec = mp->mp_free;
	mp->mp_free = rec;
	mp->mp_nfree++;
	qr_mutex_exit(&mp->mp_lock);
}

size_t
meta_purge(bool all)
{
	size_t given = 0;

	qr_mutex_enter(&registry.r_lock);
	for (struct meta_pool *mp = registry.r_first; mp != NULL;
	     mp = mp->mp_next)
		given += meta__pool_purge(mp, all);
	qr_mutex_exit(&registry.r_lock);
	return (given);
}

void *
meta_block_get(size_t size)
{
	/* A size that wraps becomes 0, which the kernel refuses. */
	return (map_counted(qr_roundup(size, os_page_size())));
}

void
meta_block_put(void *block, size_t size)
{
	size_t bytes = qr_roundup(size, os_page_size());

	if (os_unmap(block, bytes))
		atomic_fetch_sub_explicit(&mapped, bytes, memory_order_relaxed);
}

size_t
meta_mapped(void)
{
	return (atomic_load_explicit(&mapped, memory_order_relaxed));
}

/* Nobody holds c_lock without the lock of a pool, so those are enough. */
void
meta_lock_all(void)
{
	qr_mutex_enter_nested(&registry.r_lock);
	for (struct meta_pool *mp = registry.r_first; mp != NULL;
	     mp = mp->mp_next)
		qr_mutex_enter_nested(&mp->mp_lock);
}

void
meta_unlock_all(void)
{
	for (struct meta_pool *mp = registry.r_first; mp != NULL;
	     mp = mp->mp_next)
		qr_mutex_exit(&mp->mp_lock);
	qr_mutex_exit(&registry.r_lock);
}
