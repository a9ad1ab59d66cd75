/*
 * umem_impl.h - object caches: theory, structures, invariants.
 *
 * Theory.  A cache hands out objects of one size.  From the top:
 *
 *   magazine  a block of pointers to free, constructed objects.  Each CPU has
 *             one loaded and one behind it (os/percpu.h); alloc pops, free
 *             pushes, and neither takes a lock.
 *   depot     full and empty magazines of one cache, on shelves with a lock
 *             each.  A CPU looks on its own shelf first, then on the others:
 *             objects cross CPUs here, a magazine at a time, whoever frees
 *             them.
 *   slab      a run of memory cut into objects, with a bitmap of the free ones
 *             kept outside the run, so that an idle page is wholly idle and no
 *             overflow can reach the bitmap.  Refills take the free objects of
 *             the fullest slab in address order; a CPU draws on one slab until
 *             it is full, and no other CPU does, lest their objects share
 *             cache lines, or lie where one prefetches what the other writes;
 *             and those of one line are not the next to each other in a
 *             magazine.
 *   source    an arena; the heap unless the cache was given another.
 *
 * A miss works upwards: an empty loaded magazine is exchanged for the one
 * behind it, which leaves it half of its rounds if it was full, then for a full
 * one from the depot, then for an empty one filled from the slabs.  An object
 * in a magazine is constructed; in a slab it is raw.  A cache without magazines
 * uses slot 0, which always misses, so the fast path has no test for it.
 *
 * Sizes: magazines grow (14, 30, ... 510 rounds) with the visits to the depot,
 * those that the second magazine spares too, and while its locks are
 * contended.  What a depot keeps is bounded by bytes over all caches and by
 * its working set: magazines that went unused for a whole interval are given
 * back to the slabs.
 *
 * After J. Bonwick and J. Adams, "Magazines and Vmem", USENIX 2001.
 */
#ifndef QR_UMEM_IMPL_H
#define QR_UMEM_IMPL_H

#include "base/bits.h"
#include "base/compiler.h"
#include "base/list.h"
#include "meta/pagemap.h"
#include "os/os_lock.h"
#include "os/percpu.h"
#include "vmem/vmem_heap.h"

#include <quarry/umem.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	UMEM_NAME_MAX = 32,
	UMEM_MAG_TYPES = 6,    /* blocks of 128, 256, ... 4096 bytes */
	UMEM_MAG_ROUNDS = 510, /* in the largest of them */
	UMEM_SHELVES = 8,      /* of a depot; a power of two */
	UMEM_SLAB_BINS = 4,
};

/* Largest size served by umem_alloc_N caches. */
#define UMEM_CLASS_MAX ((size_t)131072)

/* Internal flags of a cache, beside the public UMC_* and UMF_*. */
#define UMF_QCACHE 0x00100000 /* quantum cache of an arena */
#define UMF_MALLOC 0x01000000 /* free(3) may be given its objects */
#define UMF_CLASS 0x02000000  /* umem_alloc_N */
#define UMF_CHECK 0x04000000  /* no magazines: each free is checked at once */
#define UMF_WATCH 0x08000000  /* Valgrind or AddressSanitizer is told */

/*
 * A run of sl_size bytes cut into objects.
 *
 * Invariants, whenever the slab lock of the cache is free:
 *   S1  sl_nfree is the number of bits set in sl_free.
 *   S2  0 < sl_nfree: the slab is on the bin of its fullness, or one of the
 *       cache's cache_drawn and on no list; 0: neither.
 *   S3  the free that empties a slab destroys it: a wholly free one is fresh, or
 *       of a debugged cache without magazines.
 * Locking: (c) constant; (s) slab lock of the cache.
 */
struct umem_slab {
	uint32_t sl_kind;            /* (c) HEAP_SLAB */
	uint32_t sl_nfree;           /* (s) */
	struct umem_cache *sl_cache; /* (c) */
	uintptr_t sl_base;           /* (c) start of the run */
	union {
		struct vmem__run *sl_run;  /* (c) if from the heap */
		struct umem_slab *sl_hash; /* (s) chain, if not */
	};
	struct qr_list sl_link; /* (s) bin */
	char *sl_bufctl;        /* (c) one for each object, if debugged */
	uint32_t sl_first;      /* (s) offset of the first object */
	uint32_t sl_purged;     /* (s) sl_nfree when it was purged last */
	uint64_t sl_free[];     /* (s) bit i: object i is free */
};

/* Slabs by address.  Locking: slab lock of the cache. */
struct umem_hash {
	struct umem_slab **hs_bucket;
	size_t hs_size; /* a power of two */
};

/* A list of magazines, and its working set. */
struct umem_mags {
	struct umem_mag *ms_head; /* LIFO */
	uint32_t ms_count;
	uint32_t ms_min; /* least count since the interval began */
};

/*
 * Where some of the CPUs put magazines down.  It fills a cache line, since
 * between CPUs a line takes longer than a magazine of allocations.
 *
 * Invariants, whenever sh_lock is free:
 *   D1  each list has exactly ms_count magazines, and ms_min <= ms_count.
 *   D2  sh_rounds is the number of objects in sh_full.
 * Locking: (d) sh_lock.
 */
struct umem_shelf {
	struct qr_mutex sh_lock;   /* rank QR_RANK_DEPOT */
	uint32_t sh_rounds;        /* (d) objects in the full ones */
	struct umem_mags sh_full;  /* (d) */
	struct umem_mags sh_empty; /* (d) */
	uint64_t sh_exchanges;     /* (d) of full magazines */
} QR_ALIGNED(QR_CACHE_LINE);

/* Full and empty magazines.  Locking: (a) atomic; (u) maintenance alone. */
struct umem_depot {
	struct umem_shelf dp_shelf[UMEM_SHELVES]; /* by CPU */
	_Atomic uint8_t dp_used;        /* (a) bit i: shelf i has been used */
	_Atomic uint32_t dp_visits;     /* (a) while magazines are small */
	_Atomic uint64_t dp_since;      /* (a) when these visits began */
	_Atomic uint32_t dp_contention; /* (a) times a lock was found taken */
	uint32_t dp_contention_at;      /* (u) value at the last interval */
};

/*
 * A cache.
 *
 * Invariants:
 *   C1  cache_slot is 0 or belongs to this cache alone.
 *   C2  cache_slot_off == cache_slot * sizeof(struct percpu_slot), and
 *       cache_off is the same, or 0 where every operation is to take the miss.
 *   C3  objects on slabs: cache_inuse allocated + free bits == cache_total.
 * Locking: (c) constant after creation; (s) cache_slab_lock; (l) list lock;
 * (u) the maintenance thread alone.
 */
struct umem_cache {
	size_t cache_off;      /* (c) what the fast path pops from */
	size_t cache_slot_off; /* (c) what the miss pops from */
	size_t cache_bufsize;  /* (c) bytes asked for */
	uint8_t cache_shift;   /* (c) words are addresses turned left, 0 or 1 */
	uint8_t cache_mag_max; /* (c) largest type magazines may grow to */
	unsigned cache_slot;   /* (c) */
	uint32_t cache_flags;  /* (c) UMC_* and UMF_* */

	umem_constructor_t *cache_ctor; /* (c) */
	umem_destructor_t *cache_dtor;  /* (c) */
	umem_reclaim_t *cache_reclaim;  /* (c) */
	void *cache_priv;               /* (c) */
	vmem_t *cache_source;           /* (c) NULL: the heap */

	size_t cache_ctl;    /* (c) bytes of a bufctl; 0: not debugged */
	size_t cache_tag;    /* (c) offset of the tag, or end of the object */
	size_t cache_verify; /* (c) bytes that hold a pattern while free */
	umem_constructor_t *cache_each_ctor; /* (c) run at each allocation */
	umem_destructor_t *cache_each_dtor;  /* (c) run at each free */

	size_t cache_align;                    /* (c) */
	size_t cache_chunk;                    /* (c) stride of objects */
	size_t cache_slabsize;                 /* (c) bytes per slab */
	uint32_t cache_nchunks;                /* (c) objects per slab */
	uint16_t cache_rounds[UMEM_MAG_TYPES]; /* (c) of magazines, by type */
	uint64_t cache_inverse; /* (c) ceil(2^32 / chunk), see slab_index() */
	struct meta_pool *cache_slab_pool; /* (c) slab descriptors */

	struct umem_depot cache_depot;

	struct qr_mutex cache_slab_lock QR_ALIGNED(QR_CACHE_LINE);
	struct qr_list cache_bin[UMEM_SLAB_BINS];    /* (s) fullest first */
	struct umem_slab *cache_drawn[UMEM_SHELVES]; /* (s) by CPU, or NULL */
	struct umem_hash cache_hash; /* (s) if not from the heap */
	size_t cache_nslabs;         /* (s) */
	size_t cache_total;          /* (s) objects on slabs */
	size_t cache_inuse;          /* (s) given to magazines or callers */
	_Atomic uint8_t cache_mag;   /* (a) type of the next magazine */
	/* (a) operations past the magazines where there is no slot for them */
	_Atomic uint64_t cache_missed[PERCPU_OPS];
	_Atomic bool cache_reaped; /* (a) what it gives back was long idle */
	uint64_t cache_misses_at;  /* (u) of both kinds, at the last round */
	bool cache_drained;        /* (u) and hardly anything happened */
	uint64_t cache_fails;      /* (s) requests that got nothing */

	struct qr_list cache_link; /* (l) all caches: classes, then others */
	unsigned cache_busy; /* (l) maintenance at work without the lock */
	uint64_t cache_id;   /* (c) names need not differ */
	char cache_name[UMEM_NAME_MAX];
};

/*
 * What stands in a magazine for an address.  Odd addresses, of caches whose
 * alignment is 1, become even; what is odd afterwards, in the upper half of
 * all integers, is not for magazines and goes from and to the slabs.
 */
static inline uintptr_t
umem__word(const struct umem_cache *cp, uintptr_t addr)
{
	return (addr << cp->cache_shift | addr >> (-cp->cache_shift & 63));
}

static inline uintptr_t
umem__word_addr(const struct umem_cache *cp, uintptr_t word)
{
	return (word >> cp->cache_shift | word << (-cp->cache_shift & 63));
}

/* ---- umem_slab.c: the backend ---- */

/*
 * Take up to n raw objects, in ascending order of address as far as they come
 * from one slab.  0 when memory is short.
 */
size_t umem__slab_fill(
    struct umem_cache *cp, unsigned cpu, uintptr_t *objs, size_t n);
/* Give raw objects back; each is checked, a bad one is reported and skipped. */
void umem__slab_drain(struct umem_cache *cp, const uintptr_t *objs, size_t n);
/* Geometry from cache_bufsize, cache_align and the source. */
bool umem__slab_setup(struct umem_cache *cp, size_t slabsize);
/* The slab of a heap cache that holds p, or NULL. */
static inline struct umem_slab *
umem__slab_of(const void *p)
{
	struct umem_slab *sl = pagemap_descriptor(pagemap_get(p));

	return (sl != NULL && sl->sl_kind == HEAP_SLAB ? sl : NULL);
}

/* The slab of cp that holds addr, or NULL.  For heap caches lock-free. */
struct umem_slab *umem__slab_lookup(struct umem_cache *cp, uintptr_t addr);
/* Which object of a slab of cp starts at addr; SIZE_MAX when none does. */
static inline size_t
umem__slab_index(
    const struct umem_cache *cp, const struct umem_slab *sl, uintptr_t addr)
{
	uint64_t off = addr - sl->sl_base - sl->sl_first, i;

	if (off >= cp->cache_slabsize)
		return (SIZE_MAX);
	i = cp->cache_inverse != 0 ? off * cp->cache_inverse >> 32
				   : off / cp->cache_chunk;
	return (
	    i * cp->cache_chunk == off && i < cp->cache_nchunks ? i : SIZE_MAX);
}

/* The address of the object of the slab that holds addr; 0 for none. */
uintptr_t umem__slab_object(const struct umem_slab *sl, uintptr_t addr);
/* Is obj the start of an object of the slab that is handed out? */
bool umem__slab_holds(const struct umem_slab *sl, uintptr_t obj);
/* Give wholly free slabs back; the number of objects that are handed out. */
size_t umem__slab_trim(struct umem_cache *cp);
/* Put back on their bins the slabs that CPUs draw on; the lock is held. */
void umem__slab_undraw(struct umem_cache *cp);
/*
 * Give the pages that only free objects touch back to the system; bytes given.
 * For a cache that is idle: what is handed out next may fault.
 */
size_t umem__slab_purge(struct umem_cache *cp);
/* The numbered invariants of the slabs and lists of cp; aborts if broken. */
void umem__slab_check(struct umem_cache *cp);

/* ---- umem_hash.c ---- */

bool umem__hash_init(struct umem_hash *h);
void umem__hash_fini(struct umem_hash *h);
/* Under the slab lock; insertion grows the table when it can. */
void umem__hash_insert(struct umem_cache *cp, struct umem_slab *sl);
void umem__hash_remove(struct umem_cache *cp, struct umem_slab *sl);
struct umem_slab *umem__hash_find(struct umem_cache *cp, uintptr_t addr);

/* ---- umem_mag.c: magazines ---- */

/*
 * A block of 128 << type bytes, aligned to its size.  mag_begin and the word
 * after the last round are odd and carry the type, so the block is found from
 * any top; mag_begin also links the magazines of a depot.
 */
struct umem_mag {
	uintptr_t mag_begin;   /* next | type << 1 | 1 */
	uintptr_t mag_round[]; /* capacity rounds, then the end mark */
};

/* Bits of mag_begin that are no address: magazines are aligned to 128 bytes. */
#define UMEM_MAG_MARK ((uintptr_t)127)

/* Put one that is in no list before another, or NULL; and take it off again. */
static inline void
umem__mag_link(struct umem_mag *mag, struct umem_mag *next)
{
	mag->mag_begin |= (uintptr_t)next;
}

static inline struct umem_mag *
umem__mag_unlink(struct umem_mag *mag)
{
	uintptr_t next = mag->mag_begin & ~UMEM_MAG_MARK;

	mag->mag_begin &= UMEM_MAG_MARK;
	return ((struct umem_mag *)next);
}

/* An empty magazine for cp, NULL when memory is short. */
struct umem_mag *umem__mag_get(struct umem_cache *cp);
void umem__mag_put(struct umem_mag *mag);
/* Does the cache need larger ones by now?  Then it is not kept once empty. */
bool umem__mag_outgrown(
    const struct umem_cache *cp, const struct umem_mag *mag);
/* The magazine whose stack has this top; how many rounds are below it. */
struct umem_mag *umem__mag_of(uintptr_t top);
size_t umem__mag_rounds(uintptr_t top);
/* How many rounds a magazine of cp takes. */
size_t umem__mag_capacity(
    const struct umem_cache *cp, const struct umem_mag *mag);
/* Fork: the lock of the memory of magazines. */
void umem__mag_lock(void);
void umem__mag_unlock(void);

/* ---- umem_depot.c: where they wait ---- */

/* Set up; exchange; NULL when there is none. */
void umem__depot_init(struct umem_cache *cp);
/* From the shelf of this CPU first, or NULL. */
struct umem_mag *umem__depot_get_full(struct umem_cache *cp, unsigned cpu);
struct umem_mag *umem__depot_get_empty(struct umem_cache *cp, unsigned cpu);
/* A cache proves busy without the depot's being asked. */
void umem__depot_visit(struct umem_cache *cp);
/* False when the depots hold enough: the caller gives it to the slabs. */
bool umem__depot_put_full(
    struct umem_cache *cp, unsigned cpu, struct umem_mag *mag);
void umem__depot_put_empty(
    struct umem_cache *cp, unsigned cpu, struct umem_mag *mag);
/* End an interval: magazines grow if there was contention in it. */
void umem__depot_update(struct umem_cache *cp);
/* Give back what was unused since the last reap, or everything. */
void umem__depot_reap(struct umem_cache *cp, bool everything);
void umem__depot_stat(
    struct umem_cache *cp, size_t *rounds, uint64_t *exchanges);
/* Fork: every lock of the depot. */
void umem__depot_lock(struct umem_cache *cp);
void umem__depot_unlock(struct umem_cache *cp);
/* Cap on the bytes of objects in all depots together. */
void umem__depot_set_max(size_t bytes);
size_t umem__depot_bytes(void);

/* ---- umem_cpu.c: the miss of pop and push ---- */

/*
 * One constructed object, as a magazine word; 0 when there is none.  With what
 * debugging the cache has.
 */
uintptr_t umem__cpu_alloc(struct umem_cache *cp);
void umem__cpu_free(struct umem_cache *cp, uintptr_t word);
/* An object of a class, for `size` bytes, or NULL. */
void *umem__class_alloc(struct umem_cache *cp, size_t size);
/* A request to the cache got nothing: count it; 0. */
uintptr_t umem__cpu_failed(struct umem_cache *cp);
/* The first two without debugging, beneath it. */
uintptr_t umem__cpu_take(struct umem_cache *cp);
void umem__cpu_put(struct umem_cache *cp, uintptr_t word);
/* Destroy the objects below `top`, give them to the slabs, drop the block. */
void umem__mag_flush(struct umem_cache *cp, uintptr_t top);
/* Empty the magazines of all CPUs; false when the kernel cannot reach them. */
bool umem__cpu_drain(struct umem_cache *cp);
/* Objects in the magazines of all CPUs. */
size_t umem__cpu_rounds(struct umem_cache *cp);
/* Operations that found the magazine empty, or full, so far. */
uint64_t umem__cpu_misses(struct umem_cache *cp, enum percpu_op op);

/* ---- umem_cache.c ---- */

struct vmem__qcache_ops;
extern const struct vmem__qcache_ops umem__qcache_ops;

extern struct qr_mutex umem__list_lock; /* rank QR_RANK_CACHE_LIST */
extern struct qr_list umem__caches;     /* list lock */
extern struct qr_cond umem__list_cond;  /* a cache is no longer busy */

/* A cache of the heap with a slot opened for it; NULL when memory is short. */
struct umem_cache *umem__cache_make(const char *name, size_t bufsize,
    size_t align, unsigned slot, uint32_t flags);
/* Give up idle objects: those of the last interval, or all of them. */
void umem__cache_reap(struct umem_cache *cp, bool everything);
/* Fork: every lock of every cache.  In the child no cache is busy. */
void umem__cache_lock_all(void);
void umem__cache_unlock_all(bool child);

/* ---- umem_update.c ---- */

/*
 * Maintenance, if it is due and nobody else is at it: end the interval of
 * every depot, give back what was idle.  Called now and then; with
 * may_start the caller holds no lock of the C library: a thread may be made.
 */
void umem__tick(bool may_start);
/* In the child of fork: the maintenance thread is not there. */
void umem__update_forked(void);
/* As umem_reap(), but done when it returns. */
void umem__reap(void);
/*
 * Give the arena what is idle in caches whose objects are its own, or those of an
 * arena that imports from it.  Are there any?
 */
bool umem__reap_over(vmem_t *arena);
/* Give the heap what is idle in caches that call nobody back. */
void umem__reap_unseen(void);
/* Empty everything that is idle into the system; bytes given back. */
size_t umem__reap_all(void);

/* ---- umem_api.c ---- */

/* Fork: the lock of who may leave by a no-fail callback. */
void umem__exit_lock(void);
void umem__exit_unlock(bool child);

/* ---- umem_init.c ---- */

extern QR_HIDDEN _Atomic bool umem__started;
bool umem__start(void);

QR_INLINE bool
umem__ready(void)
{
	return (atomic_load_explicit(&umem__started, memory_order_acquire));
}

/* Make the library ready; false when memory is short. */
QR_INLINE bool
umem__init(void)
{
	return (QR_LIKELY(umem__ready()) || umem__start());
}

/* Is the malloc of the process ours?  In a shared library that has one. */
QR_OPTIONAL bool umem__malloc_ours(void);

/* ---- umem_large.c: blocks larger than any class ---- */

/*
 * A block of `size` bytes at a multiple of align: a run, HEAP_BLOCK, that knows
 * the size.  `room` and *zeroed as for vmem__run_alloc().  NULL when memory is
 * short.
 */
void *umem__large_alloc(size_t size, size_t align, size_t room, bool *zeroed);
void umem__large_free(struct vmem__run *run);
/* Give a block another size, larger than any class, where it is. */
bool umem__large_resize(struct vmem__run *run, size_t size);
/*
 * Copy all of a block, `size` bytes, and free it; what is copied goes back to the
 * system on the way, so that it is not in memory twice.
 */
void umem__large_move(void *to, struct vmem__run *run, size_t size);

#endif /* QR_UMEM_IMPL_H */
