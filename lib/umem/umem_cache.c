/*
 * umem_cache.c - making and destroying caches, and arenas' quantum caches.
 */
#include "umem/umem_debug.h"
#include "umem/umem_impl.h"
#include "umem/umem_options.h"
#include "umem/umem_report.h"

#include "base/fmt.h"
#include "base/panic.h"
#include "meta/meta.h"
#include "os/os.h"
#include "os/os_watch.h"
#include "vmem/vmem_heap.h"
#include "vmem/vmem_private.h"

#include <errno.h>

enum {
	MAG_BYTES = 64 << 10,  /* objects in a magazine at first, but one; */
	MAG_LARGE = 256 << 10, /* in one that has grown, but then ... */
	MAG_OBJECTS = 16,      /* ... no more than so many large ones */
	MAG_LARGE_CHUNK = 256, /* those of more than 62 rounds up to this */
};

/* What a caller of umem_cache_create() may ask for. */
#define CFLAGS                                                                 \
	(UMC_NOTOUCH | UMC_NODEBUG | UMC_NOMAGAZINE | UMC_NOHASH | UMF_DEBUG | \
	    UMF_RANDOMIZE)

/* A cache descriptor fills whole cache lines. */
static struct meta_pool cache_pool =
    META_POOL_INIT("umem_cache", (sizeof(struct umem_cache) + 63) / 64 * 64);

struct qr_mutex umem__list_lock = QR_MUTEX_INIT(QR_RANK_CACHE_LIST);
struct qr_list umem__caches = QR_LIST_INIT(umem__caches);
struct qr_cond umem__list_cond = QR_COND_INIT;

/* How many rounds magazines of each type have, and how far they grow. */
static void
magazine_setup(struct umem_cache *cp)
{
	size_t chunk = cp->cache_chunk;
	size_t most = chunk <= MAG_LARGE_CHUNK ? UMEM_MAG_ROUNDS : 62;

	most = qr_min(most, qr_max(MAG_BYTES / chunk, MAG_OBJECTS));
	for (unsigned type = 0; type < UMEM_MAG_TYPES; type++) {
		size_t words = ((size_t)16 << type) - 2;
		size_t bytes =
		    qr_min((size_t)MAG_BYTES << type, (size_t)MAG_LARGE);
		size_t many = qr_max(bytes / chunk, 1);
		size_t rounds = qr_min(many, qr_min(most, words));

		cp->cache_rounds[type] = (uint16_t)rounds;
		if (rounds > cp->cache_rounds[cp->cache_mag_max])
			cp->cache_mag_max = (uint8_t)type;
	}
}

/* What a cache is made with, beside its callbacks. */
struct cache_attr {
	const char *ca_name;
	size_t ca_bufsize;
	size_t ca_align;
	vmem_t *ca_source;  /* NULL: the heap */
	size_t ca_slabsize; /* 0: choose */
	unsigned ca_slot;   /* 0: open one */
	uint32_t ca_flags;
};

/*
 * What the environment makes of the flags.  Where guards were asked for and
 * memory must not be touched, at least each free is checked.
 */
static uint32_t
effective_flags(const struct cache_attr *ca, bool heap)
{
	uint32_t flags = ca->ca_flags & ~UMF_DEBUG;
	uint32_t debug =
	    umem__debug_flags(ca->ca_bufsize, ca->ca_align, heap, ca->ca_flags);
	bool guards =
	    (umem__opt.debug & UMF_BUFTAG) != 0 && (flags & UMC_NODEBUG) == 0;

	if (umem__opt.harden || (guards && (debug & UMF_BUFTAG) == 0))
		flags |= UMF_CHECK;
	if (umem__opt.nomagazines || (flags & UMF_CHECK) != 0 ||
	    (debug & (UMF_NOMAGAZINE | UMF_FIREWALL | UMF_WATCH)) != 0)
		flags |= UMC_NOMAGAZINE;
	return (flags | debug);
}

/*
 * The slot of a class is what its sizes are popped from; a debugged one has
 * another, so that they miss.
 */
static void
slot_setup(struct umem_cache *cp, unsigned slot)
{
	bool seen = cp->cache_ctl == 0 && !umem__opt.stats;

	if ((cp->cache_flags & UMC_NOMAGAZINE) != 0)
		return;
	cp->cache_slot =
	    slot != 0 && cp->cache_ctl == 0 ? slot : percpu_slot_open();
	cp->cache_slot_off = cp->cache_slot * sizeof(struct percpu_slot);
	cp->cache_off = seen ? cp->cache_slot_off : 0;
}

/* Fill in a zeroed cache; 0 or an errno. */
static int
cache_init(struct umem_cache *cp, const struct cache_attr *ca)
{
	size_t bufsize = ca->ca_bufsize, align = ca->ca_align;
	size_t chunk = qr_roundup(bufsize, qr_min(align, 8));

	chunk = qr_roundup(chunk, align);
	if (chunk < bufsize || chunk > SIZE_MAX / 64)
		return (ENOMEM);
	cp->cache_bufsize = bufsize;
	cp->cache_align = align;
	cp->cache_chunk = chunk;
	cp->cache_shift = align < 2;
	cp->cache_source = ca->ca_source == vmem__heap() ? NULL : ca->ca_source;
	cp->cache_flags = effective_flags(ca, cp->cache_source == NULL);
	qr_name(cp->cache_name, sizeof(cp->cache_name), ca->ca_name);
	qr_mutex_init(&cp->cache_slab_lock, QR_RANK_SLAB);
	umem__depot_init(cp);
	umem__debug_setup(cp);
	magazine_setup(cp);
	if (!umem__slab_setup(cp,
		(cp->cache_flags & UMF_FIREWALL) != 0 ? cp->cache_chunk
						      : ca->ca_slabsize))
		return (EAGAIN);
	slot_setup(cp, ca->ca_slot);
	if ((cp->cache_flags & UMF_WATCH) != 0)
		os_watch_pool(cp);
	return (0);
}

/* The alignment that a request for `align` gets, or 0 when it is not valid. */
static size_t
effective_align(size_t bufsize, size_t align, vmem_t *source, int cflags)
{
	size_t quantum =
	    source == NULL ? os_page_size() : vmem__quantum(source);

	if (align == 0)
		return (qr_min(qr_roundup(bufsize, 8) >= 16 ? 16 : 8, quantum));
	if (!qr_ispow2(align) || align > quantum)
		return (0);
	return ((cflags & UMC_NOTOUCH) != 0 ? align : qr_max(align, 8));
}

/* Room that an object needs on its page when UMC_NOHASH is given. */
enum { NOHASH_HEADER = 56 };

static int
arguments_check(const char *name, size_t bufsize, size_t align, int cflags)
{
	if (name == NULL || bufsize == 0 || align == 0)
		return (EINVAL);
	if ((cflags & UMC_NOHASH) != 0 &&
	    ((cflags & UMC_NOTOUCH) != 0 ||
		bufsize > os_page_size() - NOHASH_HEADER))
		return (EINVAL);
	return (0);
}

static struct umem_cache *
cache_make(const struct cache_attr *ca, int *error)
{
	struct umem_cache *cp = meta_get(&cache_pool);

	*error = cp == NULL ? EAGAIN : cache_init(cp, ca);
	if (*error != 0 && cp != NULL) {
		meta_put(&cache_pool, cp);
		cp = NULL;
	}
	return (cp);
}

/* The caches of the size classes come first, by size, then all others. */
static void
cache_list(struct umem_cache *cp)
{
	static uint64_t last_id; /* list lock */
	struct qr_list *before;

	qr_mutex_enter(&umem__list_lock);
	cp->cache_id = ++last_id;
	before = umem__caches.prev;
	if ((cp->cache_flags & UMF_CLASS) != 0) {
		before = &umem__caches;
		QR_LIST_FOREACH (
		    c, &umem__caches, struct umem_cache, cache_link) {
			if ((c->cache_flags & UMF_CLASS) == 0 ||
			    c->cache_bufsize > cp->cache_bufsize)
				break;
			before = &c->cache_link;
		}
	}
	qr_list_insert_after(before, &cp->cache_link);
	qr_mutex_exit(&umem__list_lock);
}

struct umem_cache *
umem__cache_make(const char *name, size_t bufsize, size_t align, unsigned slot,
    uint32_t flags)
{
	struct cache_attr ca = {
	    .ca_name = name,
	    .ca_bufsize = bufsize,
	    .ca_align = align,
	    .ca_slot = slot,
	    .ca_flags = flags,
	};
	int error;
	struct umem_cache *cp = cache_make(&ca, &error);

	if (cp != NULL)
		cache_list(cp);
	return (cp);
}

umem_cache_t *
umem_cache_create(const char *name, size_t bufsize, size_t align,
    umem_constructor_t *ctor, umem_destructor_t *dtor, umem_reclaim_t *reclaim,
    void *priv, vmem_t *source, int cflags)
{
	struct cache_attr ca = {
	    .ca_name = name,
	    .ca_bufsize = bufsize,
	    .ca_source = source,
	    .ca_flags = (uint32_t)cflags & CFLAGS,
	};
	struct umem_cache *cp = NULL;
	int error = EAGAIN;

	if (umem__init()) {
		ca.ca_align = effective_align(bufsize, align, source, cflags);
		error = arguments_check(name, bufsize, ca.ca_align, cflags);
	}
	if (error == 0)
		cp = cache_make(&ca, &error);
	if (cp == NULL) {
		errno = error;
		return (NULL);
	}
	if (umem__debug_each(cp)) {
		cp->cache_each_ctor = ctor;
		cp->cache_each_dtor = dtor;
	} else {
		cp->cache_ctor = ctor;
		cp->cache_dtor = dtor;
	}
	cp->cache_reclaim = reclaim;
	cp->cache_priv = priv;
	cache_list(cp);
	return (cp);
}

/*
 * What CPUs out of reach hold keeps its slot and its descriptor for ever; so
 * does what is still out, which may be freed late, past the magazines.
 */
void
umem_cache_destroy(umem_cache_t *cp)
{
	bool drained;
	size_t out;

	if (cp == NULL)
		return;
	qr_mutex_enter(&umem__list_lock);
	while (cp->cache_busy > 0)
		qr_cond_wait(&umem__list_cond, &umem__list_lock);
	qr_list_remove(&cp->cache_link);
	qr_mutex_exit(&umem__list_lock);
	drained = umem__cpu_drain(cp);
	umem__depot_reap(cp, true);
	out = umem__slab_trim(cp);
	if (!drained)
		out -= qr_min(out, umem__cpu_rounds(cp));
	else if (cp->cache_slot != 0)
		percpu_slot_close(cp->cache_slot);
	if ((cp->cache_flags & UMF_WATCH) != 0)
		os_watch_pool_end(cp);
	if (drained && out == 0) {
		umem__hash_fini(&cp->cache_hash);
		meta_put(&cache_pool, cp);
		return;
	}
	cp->cache_slot = 0;
	cp->cache_off = cp->cache_slot_off = 0;
	if (out != 0)
		qr_warn("umem_cache_destroy: '%s' (%p) not empty: %zu objects",
		    cp->cache_name, (void *)cp, out);
}

void
umem__cache_reap(struct umem_cache *cp, bool everything)
{
	atomic_store_explicit(&cp->cache_reaped, true, memory_order_relaxed);
	if (everything)
		(void)umem__cpu_drain(cp);
	else
		umem__depot_update(cp);
	umem__depot_reap(cp, everything);
	if (everything)
		(void)umem__slab_trim(cp);
	atomic_store_explicit(&cp->cache_reaped, false, memory_order_relaxed);
}

void
umem_cache_reap_now(umem_cache_t *cp)
{
	if (cp->cache_reclaim != NULL)
		cp->cache_reclaim(cp->cache_priv);
	umem__cache_reap(cp, true);
}

/* ---- quantum caches of arenas ---- */

static void *
qcache_create(const char *name, size_t size, size_t align, vmem_t *arena,
    size_t slabsize, int flags, struct vmem__qcache_hit *hit)
{
	struct cache_attr ca = {
	    .ca_name = name,
	    .ca_bufsize = size,
	    .ca_align = align,
	    .ca_source = arena,
	    .ca_slabsize = slabsize,
	    .ca_flags = UMC_NOTOUCH | UMF_QCACHE,
	};
	int error;
	struct umem_cache *cp = cache_make(&ca, &error);

	(void)flags;
	if (cp == NULL)
		return (NULL);
	hit->qh_off = (uint32_t)cp->cache_off;
	hit->qh_shift = cp->cache_shift;
	cache_list(cp);
	return (cp);
}

static void
qcache_destroy(void *cache)
{
	umem_cache_destroy(cache);
}

static bool
qcache_alloc(void *cache, int vmflag, uintptr_t *addr)
{
	struct umem_cache *cp = cache;
	uintptr_t word = umem__cpu_alloc(cp);

	(void)vmflag;
	*addr = umem__word_addr(cp, word);
	return (word != 0);
}

static void
qcache_free(void *cache, uintptr_t addr)
{
	struct umem_cache *cp = cache;

	/* No slab begins at 0, and no stack can hold it. */
	if (addr == 0)
		umem__report_free(cp, addr, umem__slab_judge(cp, addr));
	else
		umem__cpu_free(cp, umem__word(cp, addr));
}

static void
qcache_reap(void *cache)
{
	umem__cache_reap(cache, true);
}

const struct vmem__qcache_ops umem__qcache_ops = {
    .create = qcache_create,
    .destroy = qcache_destroy,
    .alloc = qcache_alloc,
    .free = qcache_free,
    .reap = qcache_reap,
    .reap_over = umem__reap_over,
    .reap_all = umem__reap,
    .reap_heap = umem__reap_unseen,
};

/* ---- fork ---- */

void
umem__cache_lock_all(void)
{
	qr_mutex_enter_nested(&umem__list_lock);
	QR_LIST_FOREACH (cp, &umem__caches, struct umem_cache, cache_link)
		umem__depot_lock(cp);
	QR_LIST_FOREACH (cp, &umem__caches, struct umem_cache, cache_link)
		qr_mutex_enter_nested(&cp->cache_slab_lock);
	umem__mag_lock();
}

void
umem__cache_unlock_all(bool child)
{
	if (child) {
		QR_LIST_FOREACH (
		    cp, &umem__caches, struct umem_cache, cache_link)
			cp->cache_busy = 0;
		qr_cond_init(&umem__list_cond);
	}
	umem__mag_unlock();
	QR_LIST_FOREACH (cp, &umem__caches, struct umem_cache, cache_link)
		qr_mutex_exit(&cp->cache_slab_lock);
	QR_LIST_FOREACH (cp, &umem__caches, struct umem_cache, cache_link)
		umem__depot_unlock(cp);
	qr_mutex_exit(&umem__list_lock);
}
