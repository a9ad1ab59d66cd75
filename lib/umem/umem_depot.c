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
static QR_ALIGNED(QR_CACHE_LINE) _Atomic size_t depot_bytes;
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

/* From now on magazines are larger than those of this type. */
static void
mag_grow(struct umem_cache *cp, uint8_t type)
{
	(void)atomic_compare_exchange_strong(
	    &cp->cache_mag, &type, (uint8_t)(type + 1));
}

/* That some visits are lost between threads does no harm. */
void
umem__depot_visit(struct umem_cache *cp)
{
	_Atomic uint32_t *visits = &cp->cache_depot.dp_visits;
	uint8_t type = cp->cache_mag;
	uint32_t n;

	if (QR_LIKELY(type >= cp->cache_mag_max))
		return;
	n = atomic_load_explicit(visits, memory_order_relaxed) + 1;
	atomic_store_explicit(visits, n, memory_order_relaxed);
	if (n >= (uint32_t)VISITS_FIRST << 2 * type)
		mag_grow(cp, type);
}

struct umem_mag *
umem__mag_get(struct umem_cache *cp)
{
	struct umem_mag *mag;
	unsigned type;

	umem__depot_visit(cp);
	type = cp->cache_mag;
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

bool
umem__mag_outgrown(const struct umem_cache *cp, const struct umem_mag *mag)
{
	return (mag_type(mag) < cp->cache_mag);
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

/* The end mark of a full one has the type, by whose size it is aligned. */
struct umem_mag *
umem__mag_of(uintptr_t top)
{
	uintptr_t above = *(const uintptr_t *)top;
	uintptr_t begin;

	if ((above & 1) != 0)
		begin = qr_rounddown(top, mag_pools[above >> 1].mp_size);
	else
		begin = top - (umem__mag_rounds(top) + 1) * sizeof(uintptr_t);
	return ((struct umem_mag *)begin);
}

/* ---- lists; the shelf's lock is held, but ms_count is looked at without ---- */

static uint32_t
mags_count(const struct umem_mags *ms)
{
	return (__atomic_load_n(&ms->ms_count, __ATOMIC_RELAXED));
}

static void
mags_push(struct umem_mags *ms, struct umem_mag *mag)
{
	mag->mag_begin = (uintptr_t)ms->ms_head | mark(mag_type(mag));
	ms->ms_head = mag;
	__atomic_store_n(&ms->ms_count, ms->ms_count + 1, __ATOMIC_RELAXED);
}

static struct umem_mag *
mags_pop(struct umem_mags *ms)
{
	struct umem_mag *mag = ms->ms_head;

	if (mag == NULL)
		return (NULL);
	ms->ms_head = (struct umem_mag *)(mag->mag_begin & ~MARK_BITS);
	mag->mag_begin = mark(mag_type(mag));
	__atomic_store_n(&ms->ms_count, ms->ms_count - 1, __ATOMIC_RELAXED);
	if (ms->ms_count < ms->ms_min)
		ms->ms_min = ms->ms_count;
	return (mag);
}

/* How many went unused since the last call, or all. */
static size_t
mags_unused(struct umem_mags *ms, bool everything)
{
	size_t n = everything ? ms->ms_count : ms->ms_min;

	ms->ms_min = ms->ms_count;
	return (n);
}

/* ---- shelves ---- */

static struct umem_shelf *
shelf_of(struct umem_cache *cp, unsigned cpu)
{
	return (&cp->cache_depot.dp_shelf[cpu & (UMEM_SHELVES - 1)]);
}

static void
shelf_enter(struct umem_cache *cp, struct umem_shelf *sh)
{
	if (!qr_mutex_tryenter(&sh->sh_lock)) {
		qr_mutex_enter(&sh->sh_lock);
		atomic_fetch_add(&cp->cache_depot.dp_contention, 1);
	}
}

/*
 * The last magazine is left to the CPUs that put it down: while each of two can
 * do with its own, objects that are neighbours are not torn apart.
 */
static uint32_t
least_of(unsigned distance)
{
	return (distance == 0 ? 1 : 2);
}

/* A full magazine, or an empty one, if there are at least so many. */
static struct umem_mag *
shelf_get(
    struct umem_cache *cp, struct umem_shelf *sh, bool full, uint32_t least)
{
	struct umem_mags *ms = full ? &sh->sh_full : &sh->sh_empty;
	struct umem_mag *mag;

	if (mags_count(ms) < least)
		return (NULL);
	shelf_enter(cp, sh);
	mag = mags_pop(ms);
	if (mag != NULL && full) {
		size_t rounds = umem__mag_capacity(cp, mag);

		sh->sh_rounds -= (uint32_t)rounds;
		sh->sh_exchanges++;
		atomic_fetch_sub_explicit(&depot_bytes,
		    rounds * cp->cache_chunk, memory_order_relaxed);
	}
	qr_mutex_exit(&sh->sh_lock);
	return (mag);
}

static void
shelf_reap(struct umem_cache *cp, struct umem_shelf *sh, bool everything)
{
	struct umem_mag *mag;
	size_t full, empty;

	if (mags_count(&sh->sh_full) + mags_count(&sh->sh_empty) == 0)
		return;
	qr_mutex_enter(&sh->sh_lock);
	full = mags_unused(&sh->sh_full, everything);
	empty = mags_unused(&sh->sh_empty, everything);
	qr_mutex_exit(&sh->sh_lock);
	for (; full > 0 && (mag = shelf_get(cp, sh, true, 1)) != NULL; full--)
		umem__mag_flush(cp,
		    (uintptr_t)&mag->mag_round[umem__mag_capacity(cp, mag)]);
	for (; empty > 0 && (mag = shelf_get(cp, sh, false, 1)) != NULL;
	     empty--)
		umem__mag_put(mag);
}

/* ---- the depot ---- */

void
umem__depot_init(struct umem_cache *cp)
{
	for (unsigned i = 0; i < UMEM_SHELVES; i++)
		qr_mutex_init(&shelf_of(cp, i)->sh_lock, QR_RANK_DEPOT);
}

/* Is the shelf `distance` from that of the CPU worth a look? */
static bool
shelf_used(const struct umem_cache *cp, unsigned cpu, unsigned distance)
{
	unsigned used = atomic_load_explicit(
	    &cp->cache_depot.dp_used, memory_order_relaxed);

	return ((used >> ((cpu + distance) & (UMEM_SHELVES - 1)) & 1) != 0);
}

static void
shelf_use(struct umem_cache *cp, unsigned cpu)
{
	if (QR_UNLIKELY(!shelf_used(cp, cpu, 0)))
		atomic_fetch_or(&cp->cache_depot.dp_used,
		    (uint8_t)(1 << (cpu & (UMEM_SHELVES - 1))));
}

static struct umem_mag *
depot_get(struct umem_cache *cp, unsigned cpu, bool full)
{
	struct umem_mag *mag = NULL;

	for (unsigned i = 0; i < UMEM_SHELVES && mag == NULL; i++)
		if (shelf_used(cp, cpu, i))
			mag = shelf_get(
			    cp, shelf_of(cp, cpu + i), full, least_of(i));
	return (mag);
}

struct umem_mag *
umem__depot_get_full(struct umem_cache *cp, unsigned cpu)
{
	struct umem_mag *mag = depot_get(cp, cpu, true);

	if (mag != NULL)
		umem__depot_visit(cp);
	return (mag);
}

struct umem_mag *
umem__depot_get_empty(struct umem_cache *cp, unsigned cpu)
{
	return (depot_get(cp, cpu, false));
}

bool
umem__depot_put_full(struct umem_cache *cp, unsigned cpu, struct umem_mag *mag)
{
	struct umem_shelf *sh = shelf_of(cp, cpu);
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
	shelf_use(cp, cpu);
	shelf_enter(cp, sh);
	mags_push(&sh->sh_full, mag);
	sh->sh_rounds += (uint32_t)rounds;
	sh->sh_exchanges++;
	qr_mutex_exit(&sh->sh_lock);
	umem__depot_visit(cp);
	return (true);
}

/* Magazines smaller than those made now are retired as they come by empty. */
void
umem__depot_put_empty(struct umem_cache *cp, unsigned cpu, struct umem_mag *mag)
{
	struct umem_shelf *sh = shelf_of(cp, cpu);

	if (umem__mag_outgrown(cp, mag)) {
		umem__mag_put(mag);
		return;
	}
	shelf_use(cp, cpu);
	shelf_enter(cp, sh);
	mags_push(&sh->sh_empty, mag);
	qr_mutex_exit(&sh->sh_lock);
}

void
umem__depot_update(struct umem_cache *cp)
{
	struct umem_depot *dp = &cp->cache_depot;
	uint32_t contention = dp->dp_contention;
	uint8_t type = cp->cache_mag;

	if (contention - dp->dp_contention_at > umem__opt.contention &&
	    type < cp->cache_mag_max)
		mag_grow(cp, type);
	dp->dp_contention_at = contention;
}

void
umem__depot_reap(struct umem_cache *cp, bool everything)
{
	for (unsigned i = 0; i < UMEM_SHELVES; i++)
		shelf_reap(cp, shelf_of(cp, i), everything);
}

void
umem__depot_stat(struct umem_cache *cp, size_t *rounds, uint64_t *exchanges)
{
	*rounds = 0;
	*exchanges = 0;
	for (unsigned i = 0; i < UMEM_SHELVES; i++) {
		struct umem_shelf *sh = shelf_of(cp, i);

		qr_mutex_enter(&sh->sh_lock);
		*rounds += sh->sh_rounds;
		*exchanges += sh->sh_exchanges;
		qr_mutex_exit(&sh->sh_lock);
	}
}

void
umem__depot_lock(struct umem_cache *cp)
{
	for (unsigned i = 0; i < UMEM_SHELVES; i++)
		qr_mutex_enter_nested(&shelf_of(cp, i)->sh_lock);
}

void
umem__depot_unlock(struct umem_cache *cp)
{
	for (unsigned i = 0; i < UMEM_SHELVES; i++)
		qr_mutex_exit(&shelf_of(cp, i)->sh_lock);
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
