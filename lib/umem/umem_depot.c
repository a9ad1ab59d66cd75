/*
 * umem_depot.c - where magazines wait between CPUs, and when they grow.
 */
#include "umem/umem_impl.h"
#include "umem/umem_options.h"

#include "os/os.h"

#include <stdatomic.h>

enum {
	/* Visits to the depot before magazines grow; each step takes four times
	   as many as the one before. */
	VISITS_FIRST = 8,
	/* And within so many nanoseconds each: rarer ones cost too little. */
	VISIT_EVERY = 1000000,
	DEPOT_MAX = 8 << 20, /* default cap on bytes in all depots */
};

/*
 * Bytes of objects in all depots; exact when no depot is in use.  Written with each
 * exchange, it has a cache line of its own.
 */
static struct {
	_Atomic size_t db_held;
} QR_ALIGNED(QR_CACHE_LINE) depot_bytes;
static _Atomic size_t depot_max = DEPOT_MAX;

/* From now on magazines are larger than those of this type. */
static void
mag_grow(struct umem_cache *cp, uint8_t type)
{
	(void)atomic_compare_exchange_strong(
	    &cp->cache_mag, &type, (uint8_t)(type + 1));
}

/*
 * Count a visit.  Magazines grow when there were as many as their size asks for and
 * they came fast enough; else the last step is counted anew.  That some visits are
 * lost between threads does no harm.
 */
void
umem__depot_visit(struct umem_cache *cp)
{
	struct umem_depot *dp = &cp->cache_depot;
	uint8_t type = cp->cache_mag;
	uint32_t n, most = (uint32_t)VISITS_FIRST << 2 * type;
	uint64_t now;

	if (QR_LIKELY(type >= cp->cache_mag_max))
		return;
	n = atomic_load_explicit(&dp->dp_visits, memory_order_relaxed) + 1;
	atomic_store_explicit(&dp->dp_visits, n, memory_order_relaxed);
	if (n < most)
		return;
	now = os_now();
	if (now - dp->dp_since < (uint64_t)most * VISIT_EVERY)
		mag_grow(cp, type);
	else
		atomic_store_explicit(
		    &dp->dp_visits, most / 4, memory_order_relaxed);
	dp->dp_since = now;
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
	umem__mag_link(mag, ms->ms_head);
	ms->ms_head = mag;
	__atomic_store_n(&ms->ms_count, ms->ms_count + 1, __ATOMIC_RELAXED);
}

static struct umem_mag *
mags_pop(struct umem_mags *ms)
{
	struct umem_mag *mag = ms->ms_head;

	if (mag == NULL)
		return (NULL);
	ms->ms_head = umem__mag_unlink(mag);
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
		atomic_fetch_sub_explicit(&depot_bytes.db_held,
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

/* Count so many more bytes, unless they are too many. */
static bool
held_grow(size_t bytes)
{
	size_t held = atomic_fetch_add_explicit(
	    &depot_bytes.db_held, bytes, memory_order_relaxed);

	if (held + bytes <=
	    atomic_load_explicit(&depot_max, memory_order_relaxed))
		return (true);
	atomic_fetch_sub_explicit(
	    &depot_bytes.db_held, bytes, memory_order_relaxed);
	return (false);
}

/* Counted under the lock, or a fork in between would count it for ever. */
bool
umem__depot_put_full(struct umem_cache *cp, unsigned cpu, struct umem_mag *mag)
{
	struct umem_shelf *sh = shelf_of(cp, cpu);
	size_t rounds = umem__mag_capacity(cp, mag);
	bool room;

	shelf_use(cp, cpu);
	shelf_enter(cp, sh);
	room = held_grow(rounds * cp->cache_chunk);
	if (room) {
		mags_push(&sh->sh_full, mag);
		sh->sh_rounds += (uint32_t)rounds;
		sh->sh_exchanges++;
	}
	qr_mutex_exit(&sh->sh_lock);
	if (room)
		umem__depot_visit(cp);
	return (room);
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
	return (
	    atomic_load_explicit(&depot_bytes.db_held, memory_order_relaxed));
}
