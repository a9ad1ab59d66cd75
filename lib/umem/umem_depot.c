/*
 * umem_depot.c - magazines, and where they wait between CPUs.
 */
#include "umem/umem_impl.h"
#include "umem/umem_options.h"

#include "meta/meta.h"

#include <stdatomic.h>

enum {
	/* Visits to the depot before magazines grow; each step takes four times
	   as many as the one before. */
	VISITS_FIRST = 8,
	/* Exchanges on a CPU that count as one. */
	SPARED = 64,
	MAG_PAGE = 4096,     /* at least the largest magazine */
	DEPOT_MAX = 8 << 20, /* default cap on bytes in all depots */
};

/* Mark bits of mag_begin: magazines are aligned to 128 bytes. */
#define MARK_BITS ((uintptr_t)127)

static struct meta_pool mag_pools[UMEM_MAG_TYPES] = {
    META_POOL_INIT("magazine_14", 128),
    META_POOL_INIT("magazine_30", 256),
    META_POOL_INIT("magazine_62", 512),
    META_POOL_INIT("magazine_126", 1024),
    META_POOL_INIT("magazine_254", 2048),
    META_POOL_INIT("magazine_510", 4096),
};

/* Bytes of objects in all depots; exact when no depot is in use. */
static _Atomic size_t depot_bytes;
static _Atomic size_t depot_max = DEPOT_MAX;

static uintptr_t
mark(unsigned type)
{
	return ((uintptr_t)type << 1 | 1);
}

static unsigned
mag_type(const struct umem_mag *mag)
{
	return ((unsigned)((mag->mag_begin & MARK_BITS) >> 1));
}

size_t
umem__mag_capacity(const struct umem_cache *cp, const struct umem_mag *mag)
{
	size_t words = mag_pools[mag_type(mag)].mp_size / sizeof(uintptr_t);

	return (qr_min(words - 2, cp->cache_rounds));
}

/* Larger magazines as the cache proves busy; the depot's lock is held. */
static void
depot_visit(struct umem_cache *cp)
{
	struct umem_depot *dp = &cp->cache_depot;

	if (QR_LIKELY(cp->cache_mag >= cp->cache_mag_max))
		return;
	if (++dp->dp_visits >= (uint32_t)VISITS_FIRST << 2 * cp->cache_mag)
		cp->cache_mag++;
}

struct umem_mag *
umem__mag_get(struct umem_cache *cp)
{
	struct umem_mag *mag;
	unsigned type;

	qr_mutex_enter(&cp->cache_depot.dp_lock);
	depot_visit(cp);
	type = cp->cache_mag;
	qr_mutex_exit(&cp->cache_depot.dp_lock);
	mag = meta_get(&mag_pools[type]);
	if (mag == NULL)
		return (NULL);
	mag->mag_begin = mark(type);
	mag->mag_round[umem__mag_capacity(cp, mag)] = mark(type);
	return (mag);
}

void
umem__mag_put(struct umem_mag *mag)
{
	meta_put(&mag_pools[mag_type(mag)], mag);
}

struct umem_mag *
umem__mag_renew(struct umem_cache *cp, struct umem_mag *mag)
{
	struct umem_mag *larger =
	    mag_type(mag) < cp->cache_mag ? umem__mag_get(cp) : NULL;

	if (larger == NULL)
		return (mag);
	umem__mag_put(mag);
	return (larger);
}

/*
 * Another CPU may be at work on the block when statistics are taken, and even
 * make another magazine of it, so words are read one by one, and no further
 * than the page, which no magazine leaves.
 */
size_t
umem__mag_rounds(uintptr_t top)
{
	const uintptr_t *word = (const uintptr_t *)top;
	size_t n = 0;

	while (((uintptr_t)(word - n) & (MAG_PAGE - 1)) != 0 &&
	    (__atomic_load_n(word - 1 - n, __ATOMIC_RELAXED) & 1) == 0)
		n++;
	return (n);
}

struct umem_mag *
umem__mag_of(uintptr_t top)
{
	uintptr_t begin = top - (umem__mag_rounds(top) + 1) * sizeof(uintptr_t);

	return ((struct umem_mag *)begin);
}

/* ---- lists; the depot's lock is held, but ms_head is looked at without ---- */

static void
mags_push(struct umem_mags *ms, struct umem_mag *mag)
{
	mag->mag_begin = (uintptr_t)ms->ms_head | mark(mag_type(mag));
	__atomic_store_n(&ms->ms_head, mag, __ATOMIC_RELAXED);
	ms->ms_count++;
}

static struct umem_mag *
mags_pop(struct umem_mags *ms)
{
	struct umem_mag *mag = ms->ms_head;

	if (mag == NULL)
		return (NULL);
	__atomic_store_n(&ms->ms_head,
	    (struct umem_mag *)(mag->mag_begin & ~MARK_BITS), __ATOMIC_RELAXED);
	mag->mag_begin = mark(mag_type(mag));
	ms->ms_count--;
	if (ms->ms_count < ms->ms_min)
		ms->ms_min = ms->ms_count;
	return (mag);
}

static void
depot_enter(struct umem_depot *dp)
{
	if (!qr_mutex_tryenter(&dp->dp_lock)) {
		qr_mutex_enter(&dp->dp_lock);
		dp->dp_contention++;
	}
}

void
umem__depot_spared(struct umem_cache *cp)
{
	struct umem_depot *dp = &cp->cache_depot;
	unsigned n = atomic_load_explicit(&dp->dp_spared, memory_order_relaxed);

	/* That some are lost does no harm. */
	atomic_store_explicit(&dp->dp_spared, n + 1, memory_order_relaxed);
	if (QR_LIKELY(n % SPARED != SPARED - 1))
		return;
	qr_mutex_enter(&dp->dp_lock);
	depot_visit(cp);
	qr_mutex_exit(&dp->dp_lock);
}

void
umem__depot_init(struct umem_cache *cp)
{
	qr_mutex_init(&cp->cache_depot.dp_lock, QR_RANK_DEPOT);
}

struct umem_mag *
umem__depot_get_full(struct umem_cache *cp)
{
	struct umem_depot *dp = &cp->cache_depot;
	struct umem_mag *mag;

	if (__atomic_load_n(&dp->dp_full.ms_head, __ATOMIC_RELAXED) == NULL)
		return (NULL);
	depot_enter(dp);
	mag = mags_pop(&dp->dp_full);
	if (mag != NULL) {
		size_t rounds = umem__mag_capacity(cp, mag);

		dp->dp_rounds -= rounds;
		dp->dp_allocs++;
		depot_visit(cp);
		atomic_fetch_sub_explicit(&depot_bytes,
		    rounds * cp->cache_chunk, memory_order_relaxed);
	}
	qr_mutex_exit(&dp->dp_lock);
	return (mag);
}

bool
umem__depot_put_full(struct umem_cache *cp, struct umem_mag *mag)
{
	struct umem_depot *dp = &cp->cache_depot;
	size_t rounds = umem__mag_capacity(cp, mag);
	size_t bytes = rounds * cp->cache_chunk;
	size_t held = atomic_fetch_add_explicit(
	    &depot_bytes, bytes, memory_order_relaxed);

	if (held + bytes >
	    atomic_load_explicit(&depot_max, memory_order_relaxed)) {
		atomic_fetch_sub_explicit(
		    &depot_bytes, bytes, memory_order_relaxed);
		return (false);
	}
	depot_enter(dp);
	mags_push(&dp->dp_full, mag);
	dp->dp_rounds += rounds;
	dp->dp_frees++;
	depot_visit(cp);
	qr_mutex_exit(&dp->dp_lock);
	return (true);
}

struct umem_mag *
umem__depot_get_empty(struct umem_cache *cp)
{
	struct umem_depot *dp = &cp->cache_depot;
	struct umem_mag *mag;

	if (__atomic_load_n(&dp->dp_empty.ms_head, __ATOMIC_RELAXED) == NULL)
		return (NULL);
	depot_enter(dp);
	mag = mags_pop(&dp->dp_empty);
	qr_mutex_exit(&dp->dp_lock);
	return (mag);
}

/* Magazines smaller than those made now are retired as they come by empty. */
void
umem__depot_put_empty(struct umem_cache *cp, struct umem_mag *mag)
{
	struct umem_depot *dp = &cp->cache_depot;
	bool keep;

	depot_enter(dp);
	keep = mag_type(mag) >= cp->cache_mag;
	if (keep)
		mags_push(&dp->dp_empty, mag);
	qr_mutex_exit(&dp->dp_lock);
	if (!keep)
		umem__mag_put(mag);
}

static void
mags_update(struct umem_mags *ms)
{
	ms->ms_reap = ms->ms_min;
	ms->ms_min = ms->ms_count;
}

void
umem__depot_update(struct umem_cache *cp)
{
	struct umem_depot *dp = &cp->cache_depot;

	qr_mutex_enter(&dp->dp_lock);
	mags_update(&dp->dp_full);
	mags_update(&dp->dp_empty);
	if (dp->dp_contention - dp->dp_contention_at > umem__opt.contention &&
	    cp->cache_mag < cp->cache_mag_max)
		cp->cache_mag++;
	dp->dp_contention_at = dp->dp_contention;
	qr_mutex_exit(&dp->dp_lock);
}

static size_t
reap_count(struct umem_depot *dp, struct umem_mags *ms, bool everything)
{
	size_t n;

	qr_mutex_enter(&dp->dp_lock);
	n = everything ? ms->ms_count : qr_min(ms->ms_reap, ms->ms_min);
	ms->ms_reap = 0;
	qr_mutex_exit(&dp->dp_lock);
	return (n);
}

void
umem__depot_reap(struct umem_cache *cp, bool everything)
{
	struct umem_depot *dp = &cp->cache_depot;
	struct umem_mag *mag;
	size_t n;

	for (n = reap_count(dp, &dp->dp_full, everything); n > 0; n--) {
		mag = umem__depot_get_full(cp);
		if (mag == NULL)
			break;
		umem__mag_flush(cp,
		    (uintptr_t)&mag->mag_round[umem__mag_capacity(cp, mag)]);
	}
	for (n = reap_count(dp, &dp->dp_empty, everything); n > 0; n--) {
		mag = umem__depot_get_empty(cp);
		if (mag == NULL)
			break;
		umem__mag_put(mag);
	}
}

void
umem__depot_set_max(size_t bytes)
{
	atomic_store_explicit(&depot_max, bytes, memory_order_relaxed);
}

size_t
umem__depot_bytes(void)
{
	return (atomic_load_explicit(&depot_bytes, memory_order_relaxed));
}
