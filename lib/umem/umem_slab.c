/*
 * umem_slab.c - the backend of a cache: slabs, and the bitmaps beside them.
 */
#include "umem/umem_debug.h"
#include "umem/umem_impl.h"
#include "umem/umem_report.h"

#include "base/panic.h"
#include "meta/meta.h"
#include "meta/pagemap.h"
#include "vmem/vmem_heap.h"
#include "vmem/vmem_private.h"

#include <stdatomic.h>
#include <string.h>

/* Descriptors come in these sizes; the last holds the largest bitmap. */
static struct meta_pool slab_pools[] = {
    META_POOL_INIT("slab_128", 128),
    META_POOL_INIT("slab_192", 192),
    META_POOL_INIT("slab_256", 256),
    META_POOL_INIT("slab_384", 384),
};

enum {
	SLAB_OBJECTS_MIN = 8,    /* fewer only when that exceeds SLAB_BYTES */
	SLAB_OBJECTS_MAX = 2048, /* bits in the largest descriptor */
	SLAB_BYTES = 256 << 10,
	DRAWN_CHUNK = 1024, /* CPUs need not be kept apart above this */
	GROUPS = 32,        /* of a flush, put back under one lock */
};

static size_t
descriptor_size(size_t nchunks)
{
	return (sizeof(struct umem_slab) +
	    qr_roundup(nchunks, 64) / 64 * sizeof(uint64_t));
}

/*
 * The smallest slab, in quanta of the source, that holds enough objects and
 * wastes at most an eighth; or the largest allowed.
 */
static size_t
slabsize_choose(size_t chunk, size_t quantum)
{
	size_t want =
	    qr_min(chunk * SLAB_OBJECTS_MIN, qr_max(SLAB_BYTES, chunk));
	size_t size = qr_roundup(want, quantum);

	while (size % chunk * 8 > size && size < 8 * want)
		size += quantum;
	return (size);
}

bool
umem__slab_setup(struct umem_cache *cp, size_t slabsize)
{
	size_t quantum = cp->cache_source == NULL
	    ? vmem__heap_quantum
	    : vmem__quantum(cp->cache_source);
	size_t n;

	if (slabsize == 0)
		slabsize = slabsize_choose(cp->cache_chunk, quantum);
	n = qr_min(slabsize / cp->cache_chunk, SLAB_OBJECTS_MAX);
	cp->cache_slabsize = slabsize;
	cp->cache_nchunks = (uint32_t)n;
	cp->cache_inverse = slabsize >> 32 != 0
	    ? 0
	    : (((uint64_t)1 << 32) + cp->cache_chunk - 1) / cp->cache_chunk;
	for (unsigned i = 0; i < QR_ARRAY_LEN(slab_pools); i++) {
		cp->cache_slab_pool = &slab_pools[i];
		if (descriptor_size(n) <= slab_pools[i].mp_size)
			break;
	}
	QR_VERIFY(descriptor_size(n) <= cp->cache_slab_pool->mp_size);
	for (unsigned i = 0; i < UMEM_SLAB_BINS; i++)
		qr_list_init(&cp->cache_bin[i]);
	return (cp->cache_source == NULL || umem__hash_init(&cp->cache_hash));
}

uintptr_t
umem__slab_object(const struct umem_slab *sl, uintptr_t addr)
{
	const struct umem_cache *cp = sl->sl_cache;
	uintptr_t first = sl->sl_base + sl->sl_first;
	size_t i = (addr - first) / cp->cache_chunk;

	return (addr >= first && i < cp->cache_nchunks
		? first + i * cp->cache_chunk
		: 0);
}

static bool
slab_bit(const struct umem_slab *sl, size_t i)
{
	return ((sl->sl_free[i / 64] >> (i % 64) & 1) != 0);
}

/* ---- finding the slab of an address ---- */

struct umem_slab *
umem__slab_lookup(struct umem_cache *cp, uintptr_t addr)
{
	if (cp->cache_source == NULL)
		return (umem__slab_of((const void *)addr));
	qr_mutex_assert_held(&cp->cache_slab_lock);
	return (umem__hash_find(cp, addr));
}

bool
umem__slab_holds(const struct umem_slab *sl, uintptr_t obj)
{
	size_t i = umem__slab_index(sl->sl_cache, sl, obj);

	return (i != SIZE_MAX && !slab_bit(sl, i));
}

/* ---- making and unmaking slabs; no lock held ---- */

/*
 * A slab's worth of a source of its own.  Integer 0 is an ordinary one there,
 * but cannot be told from NULL here: it is held while another is asked for.
 */
static void *
source_alloc(struct umem_cache *cp)
{
	vmem_t *source = cp->cache_source;
	size_t size = cp->cache_slabsize;
	uintptr_t addr = 0;

	if (vmem__alloc(source, size, VM_NOSLEEP, NULL, &addr) == 0 &&
	    addr == 0) {
		if (vmem__alloc(source, size, VM_NOSLEEP, NULL, &addr) != 0)
			addr = 0;
		vmem_free(source, NULL, size);
	}
	return ((void *)addr);
}

static void *
run_alloc(struct umem_cache *cp, struct umem_slab *sl)
{
	if (cp->cache_source != NULL)
		return (source_alloc(cp));
	if ((cp->cache_flags & UMF_FIREWALL) != 0)
		return (umem__firewall_alloc(cp));
	sl->sl_run = vmem__run_alloc(
	    HEAP_LENT, cp->cache_slabsize, vmem__heap_quantum, 0, NULL);
	return (sl->sl_run == NULL ? NULL : (void *)sl->sl_run->rn_addr);
}

static void
run_free(struct umem_cache *cp, struct umem_slab *sl)
{
	void *base = (void *)sl->sl_base;

	if (cp->cache_source != NULL)
		vmem_free(cp->cache_source, base, cp->cache_slabsize);
	else if ((cp->cache_flags & UMF_FIREWALL) != 0)
		umem__firewall_free(cp, base);
	else if (atomic_load_explicit(&cp->cache_reaped, memory_order_relaxed))
		vmem__run_free_aged(sl->sl_run);
	else
		vmem__run_free(sl->sl_run);
}

static struct umem_slab *
slab_create(struct umem_cache *cp)
{
	struct umem_slab *sl = meta_get(cp->cache_slab_pool);
	size_t n = cp->cache_nchunks;
	void *base;

	if (sl == NULL)
		return (NULL);
	base = run_alloc(cp, sl);
	if (base == NULL) {
		meta_put(cp->cache_slab_pool, sl);
		return (NULL);
	}
	sl->sl_kind = HEAP_SLAB;
	sl->sl_nfree = (uint32_t)n;
	sl->sl_cache = cp;
	sl->sl_base = (uintptr_t)base;
	qr_list_init(&sl->sl_link);
	memset(sl->sl_free, 0xff, n / 64 * sizeof(uint64_t));
	if (n % 64 != 0)
		sl->sl_free[n / 64] = ((uint64_t)1 << (n % 64)) - 1;
	if (cp->cache_ctl != 0 && !umem__debug_slab_init(cp, sl)) {
		run_free(cp, sl);
		meta_put(cp->cache_slab_pool, sl);
		return (NULL);
	}
	if (cp->cache_source == NULL)
		pagemap_set(base, cp->cache_slabsize,
		    pagemap_word(sl,
			cp->cache_flags & UMF_MALLOC ? (unsigned)cp->cache_off
						     : 0));
	return (sl);
}

static void
slab_destroy(struct umem_cache *cp, struct umem_slab *sl)
{
	void *base = (void *)sl->sl_base;

	if (cp->cache_ctl != 0)
		umem__debug_slab_fini(cp, sl);
	if (cp->cache_source == NULL)
		pagemap_set(base, cp->cache_slabsize, 0);
	run_free(cp, sl);
	meta_put(cp->cache_slab_pool, sl);
}

/* ---- under the slab lock ---- */

static size_t
bin_of(const struct umem_cache *cp, size_t nfree)
{
	return (nfree * UMEM_SLAB_BINS / ((size_t)cp->cache_nchunks + 1));
}

/* Put the slab on the list of its fullness, or on none when it is full. */
static void
slab_file(struct umem_cache *cp, struct umem_slab *sl)
{
	qr_list_remove(&sl->sl_link);
	if (sl->sl_nfree > 0)
		qr_list_push_front(
		    &cp->cache_bin[bin_of(cp, sl->sl_nfree)], &sl->sl_link);
}

static void
slab_join(struct umem_cache *cp, struct umem_slab *sl)
{
	if (cp->cache_source != NULL)
		umem__hash_insert(cp, sl);
	cp->cache_nslabs++;
	cp->cache_total += cp->cache_nchunks;
	slab_file(cp, sl);
}

static void
slab_leave(struct umem_cache *cp, struct umem_slab *sl)
{
	if (cp->cache_source != NULL)
		umem__hash_remove(cp, sl);
	qr_list_remove(&sl->sl_link);
	cp->cache_nslabs--;
	cp->cache_total -= cp->cache_nchunks;
}

/* Does a CPU draw on it?  Then it is on no bin. */
static bool
slab_drawn(const struct umem_slab *sl)
{
	return (sl->sl_nfree > 0 && qr_list_empty(&sl->sl_link));
}

static struct umem_slab **
drawn_by(struct umem_cache *cp, unsigned cpu)
{
	return (&cp->cache_drawn[cp->cache_chunk > DRAWN_CHUNK
		? 0
		: cpu & (UMEM_SHELVES - 1)]);
}

/* No CPU draws on the slab any more. */
static void
slab_undraw(struct umem_cache *cp, const struct umem_slab *sl)
{
	for (unsigned i = 0; i < UMEM_SHELVES; i++) {
		if (cp->cache_drawn[i] == sl)
			cp->cache_drawn[i] = NULL;
	}
}

void
umem__slab_undraw(struct umem_cache *cp)
{
	qr_mutex_assert_held(&cp->cache_slab_lock);
	for (unsigned i = 0; i < UMEM_SHELVES; i++) {
		struct umem_slab *sl = cp->cache_drawn[i];

		cp->cache_drawn[i] = NULL;
		if (sl != NULL)
			slab_file(cp, sl);
	}
}

/* The slab that this CPU draws on; the fullest if it has none. */
static struct umem_slab *
slab_draw(struct umem_cache *cp, unsigned cpu)
{
	struct umem_slab **drawn = drawn_by(cp, cpu);

	for (unsigned i = 0; *drawn == NULL && i < UMEM_SLAB_BINS; i++) {
		if (qr_list_empty(&cp->cache_bin[i]))
			continue;
		*drawn =
		    QR_LIST_FIRST(&cp->cache_bin[i], struct umem_slab, sl_link);
		qr_list_remove(&(*drawn)->sl_link);
	}
	return (*drawn);
}

/* Up to n of the slab's free objects, by address. */
static size_t
slab_take(
    struct umem_cache *cp, struct umem_slab *sl, uintptr_t *objs, size_t n)
{
	size_t got = 0;

	n = qr_min(n, sl->sl_nfree);
	for (size_t w = 0; got < n; w++) {
		uint64_t bits = sl->sl_free[w];
		uintptr_t base =
		    sl->sl_base + sl->sl_first + w * 64 * cp->cache_chunk;

		for (; bits != 0 && got < n; bits &= bits - 1)
			objs[got++] = base + qr_ctz(bits) * cp->cache_chunk;
		sl->sl_free[w] = bits;
	}
	sl->sl_nfree -= (uint32_t)got;
	sl->sl_purged = 0;
	if (sl->sl_nfree == 0)
		slab_undraw(cp, sl);
	return (got);
}

/*
 * A new slab for this CPU; where memory is short, one of another CPU.  NULL when
 * no object is free.  The lock is dropped meanwhile.
 */
static struct umem_slab *
slab_get(struct umem_cache *cp, unsigned cpu)
{
	struct umem_slab *sl;

	qr_mutex_exit(&cp->cache_slab_lock);
	sl = slab_create(cp);
	qr_mutex_enter(&cp->cache_slab_lock);
	if (sl != NULL)
		slab_join(cp, sl);
	else
		umem__slab_undraw(cp);
	return (slab_draw(cp, cpu));
}

size_t
umem__slab_fill(struct umem_cache *cp, unsigned cpu, uintptr_t *objs, size_t n)
{
	struct umem_slab *sl;
	size_t got = 0;

	qr_mutex_enter(&cp->cache_slab_lock);
	while (got < n) {
		sl = slab_draw(cp, cpu);
		if (sl == NULL && got == 0)
			sl = slab_get(cp, cpu);
		if (sl == NULL)
			break;
		got += slab_take(cp, sl, objs + got, n - got);
	}
	cp->cache_inuse += got;
	qr_mutex_exit(&cp->cache_slab_lock);
	return (got);
}

/* As umem__slab_find, with the slab lock held if cp has its own source. */
QR_INLINE enum umem_bad
slab_find(
    struct umem_cache *cp, uintptr_t obj, struct umem_slab **slp, size_t *ip)
{
	*slp = umem__slab_lookup(cp, obj);
	if (*slp == NULL)
		return (UMEM_BAD_ADDRESS);
	if ((*slp)->sl_cache != cp)
		return (UMEM_BAD_CACHE);
	*ip = umem__slab_index(cp, *slp, obj);
	if (*ip != SIZE_MAX)
		return (UMEM_GOOD);
	return (umem__slab_object(*slp, obj) != 0 ? UMEM_BAD_INTERIOR
						  : UMEM_BAD_ADDRESS);
}

enum umem_bad
umem__slab_find(
    struct umem_cache *cp, uintptr_t obj, struct umem_slab **slp, size_t *ip)
{
	enum umem_bad bad;

	if (cp->cache_source == NULL)
		return (slab_find(cp, obj, slp, ip));
	qr_mutex_enter(&cp->cache_slab_lock);
	bad = slab_find(cp, obj, slp, ip);
	qr_mutex_exit(&cp->cache_slab_lock);
	return (bad);
}

/* Can obj be freed to cp?  *slp and *ip are set if so. */
static enum umem_bad
slab_judge(
    struct umem_cache *cp, uintptr_t obj, struct umem_slab **slp, size_t *ip)
{
	enum umem_bad bad = slab_find(cp, obj, slp, ip);

	return (bad == UMEM_GOOD && slab_bit(*slp, *ip) ? UMEM_BAD_TWICE : bad);
}

enum umem_bad
umem__slab_judge(struct umem_cache *cp, uintptr_t obj)
{
	struct umem_slab *sl;
	enum umem_bad bad;
	size_t i;

	qr_mutex_enter(&cp->cache_slab_lock);
	bad = slab_judge(cp, obj, &sl, &i);
	qr_mutex_exit(&cp->cache_slab_lock);
	return (bad);
}

/*
 * Is an empty slab given back?  One with objects that are looked at is kept
 * until a reap, so that there is something to look at; but a firewall is to fall
 * at once.
 */
static bool
empty_goes(const struct umem_cache *cp)
{
	return (cp->cache_ctl == 0 || cp->cache_slot != 0 ||
	    (cp->cache_flags & UMF_FIREWALL) != 0);
}

/*
 * Objects that follow each other, and have their bits in one word of a slab.
 * Most of the work of a flush is to find them, which needs no lock: an object
 * that is in use keeps its slab.
 */
struct group {
	struct umem_slab *gr_slab; /* NULL: must be looked at under the lock */
	uint32_t gr_n;
	uint32_t gr_index; /* of the first */
	uint64_t gr_mask;
};

/* Mark them free, who are in use. */
static void
slab_put(struct umem_cache *cp, const struct group *gr, struct qr_list *empty)
{
	struct umem_slab *sl = gr->gr_slab;
	bool drawn = slab_drawn(sl);
	uint32_t before = sl->sl_nfree;

	qr_mutex_assert_held(&cp->cache_slab_lock);
	sl->sl_free[gr->gr_index / 64] |= gr->gr_mask;
	sl->sl_nfree += gr->gr_n;
	cp->cache_inuse -= gr->gr_n;
	if (sl->sl_nfree == cp->cache_nchunks && empty_goes(cp)) {
		if (drawn)
			slab_undraw(cp, sl);
		slab_leave(cp, sl);
		qr_list_push_back(empty, &sl->sl_link);
	} else if (!drawn &&
	    (before == 0 || bin_of(cp, sl->sl_nfree) != bin_of(cp, before))) {
		slab_file(cp, sl);
	}
}

static struct group
gather(const struct umem_cache *cp, const uintptr_t *objs, size_t n)
{
	struct umem_slab *sl =
	    cp->cache_source == NULL ? umem__slab_of((void *)objs[0]) : NULL;
	struct group gr = {.gr_n = 1};
	size_t i = sl == NULL ? SIZE_MAX : umem__slab_index(cp, sl, objs[0]);

	if (i == SIZE_MAX)
		return (gr);
	__builtin_prefetch(&sl->sl_free[i / 64], 1);
	gr.gr_slab = sl;
	gr.gr_index = (uint32_t)i;
	gr.gr_mask = (uint64_t)1 << (i % 64);
	for (; gr.gr_n < n; gr.gr_n++) {
		uint64_t bit;

		i = umem__slab_index(cp, sl, objs[gr.gr_n]);
		bit = (uint64_t)1 << (i % 64);
		if (i / 64 != gr.gr_index / 64 || (gr.gr_mask & bit) != 0)
			break;
		gr.gr_mask |= bit;
	}
	return (gr);
}

/* False when there is something wrong, or may be. */
static bool
group_put(struct umem_cache *cp, const struct group *gr, uintptr_t obj,
    struct qr_list *empty)
{
	struct umem_slab *sl = gr->gr_slab;

	if (sl == NULL || umem__slab_of((void *)obj) != sl ||
	    sl->sl_cache != cp ||
	    umem__slab_index(cp, sl, obj) != gr->gr_index ||
	    (sl->sl_free[gr->gr_index / 64] & gr->gr_mask) != 0)
		return (false);
	slab_put(cp, gr, empty);
	return (true);
}

/* One by one; what is wrong is reported without the lock. */
static QR_NOINLINE void
put_each(struct umem_cache *cp, const uintptr_t *objs, size_t n,
    struct qr_list *empty)
{
	for (size_t i = 0; i < n; i++) {
		struct umem_slab *sl;
		size_t at;
		enum umem_bad bad = slab_judge(cp, objs[i], &sl, &at);

		if (QR_LIKELY(bad == UMEM_GOOD)) {
			struct group one = {
			    sl, 1, (uint32_t)at, (uint64_t)1 << (at % 64)};

			slab_put(cp, &one, empty);
			continue;
		}
		qr_mutex_exit(&cp->cache_slab_lock);
		umem__report_free(cp, objs[i], bad);
		qr_mutex_enter(&cp->cache_slab_lock);
	}
}

void
umem__slab_drain(struct umem_cache *cp, const uintptr_t *objs, size_t n)
{
	struct qr_list empty = QR_LIST_INIT(empty);
	struct group groups[GROUPS];

	while (n > 0) {
		size_t count = 0;

		for (size_t at = 0; at < n && count < GROUPS; count++) {
			groups[count] = gather(cp, objs + at, n - at);
			at += groups[count].gr_n;
		}
		qr_mutex_enter(&cp->cache_slab_lock);
		for (size_t i = 0; i < count; i++) {
			size_t some = groups[i].gr_n;

			if (!group_put(cp, &groups[i], objs[0], &empty))
				put_each(cp, objs, some, &empty);
			objs += some;
			n -= some;
		}
		qr_mutex_exit(&cp->cache_slab_lock);
	}
	QR_LIST_FOREACH_SAFE (sl, &empty, struct umem_slab, sl_link)
		slab_destroy(cp, sl);
}

size_t
umem__slab_trim(struct umem_cache *cp)
{
	struct qr_list empty = QR_LIST_INIT(empty);
	struct qr_list *fresh = &cp->cache_bin[bin_of(cp, cp->cache_nchunks)];
	size_t inuse;

	qr_mutex_enter(&cp->cache_slab_lock);
	umem__slab_undraw(cp);
	QR_LIST_FOREACH_SAFE (sl, fresh, struct umem_slab, sl_link) {
		if (sl->sl_nfree == cp->cache_nchunks) {
			slab_leave(cp, sl);
			qr_list_push_back(&empty, &sl->sl_link);
		}
	}
	inuse = cp->cache_inuse;
	qr_mutex_exit(&cp->cache_slab_lock);
	QR_LIST_FOREACH_SAFE (sl, &empty, struct umem_slab, sl_link)
		slab_destroy(cp, sl);
	return (inuse);
}

/* The free objects of a slab that is right. */
static size_t
slab_check(const struct umem_cache *cp, const struct umem_slab *sl)
{
	size_t bits = 0;

	for (size_t w = 0; w * 64 < cp->cache_nchunks; w++)
		bits += (size_t)__builtin_popcountl(sl->sl_free[w]);
	QR_VERIFY(bits > 0 && bits == sl->sl_nfree);
	QR_VERIFY(sl->sl_cache == cp);
	return (bits);
}

void
umem__slab_check(struct umem_cache *cp)
{
	size_t nfree = 0;

	qr_mutex_enter(&cp->cache_slab_lock);
	for (unsigned i = 0; i < UMEM_SLAB_BINS; i++) {
		QR_LIST_FOREACH (
		    sl, &cp->cache_bin[i], struct umem_slab, sl_link) {
			nfree += slab_check(cp, sl);
			QR_VERIFY(bin_of(cp, sl->sl_nfree) == i);
		}
	}
	for (unsigned i = 0; i < UMEM_SHELVES; i++) {
		if (cp->cache_drawn[i] == NULL)
			continue;
		nfree += slab_check(cp, cp->cache_drawn[i]);
		QR_VERIFY(slab_drawn(cp->cache_drawn[i]));
	}
	QR_VERIFY(cp->cache_inuse + nfree == cp->cache_total);
	QR_VERIFY(cp->cache_total == cp->cache_nslabs * cp->cache_nchunks);
	qr_mutex_exit(&cp->cache_slab_lock);
}
