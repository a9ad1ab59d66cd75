/*
 * vmem_impl.h - theory and structures of vmem.
 *
 * An arena is a set of spans; a span is tiled by segments, each allocated or
 * free; two free neighbours are always one.  (Bonwick and Adams, "Magazines
 * and Vmem", USENIX 2001, for the model.)
 *
 *	span   |-------------------------------|      |---------------|
 *	       | alloc |  free  | alloc | free |      |     alloc     |
 *
 * What describes a segment is outside the span, in one of two forms.
 *
 * Tags are the general one.  A segment has a boundary tag; the tags of a span
 * are a ring in order of address, headed by the tag of the span:
 *
 *	[span] <-> [alloc] <-> [free] <-> [alloc] <-> [free] <-> (the span again)
 *
 * Coalescing looks at the two neighbours in the ring.  The tags of allocated
 * segments are in a hash table by address, which finds the tag of a free in
 * constant time.  It grows a few buckets at a time as segments are inserted, so
 * that no operation pays for all of it.  With it a segment takes at most 64 bytes.
 *
 * Descriptors are for one span of an arena, the dense one: the first that is
 * added, not imported, and whose quanta are few or large enough for 16 bytes
 * each to be little.  They are an array, one descriptor for each quantum, of
 * which only those at the ends of a segment say something:
 *
 *	quantum      0     1     2     3     4     5     6
 *	segment    |     3 used      |   2 free  |  1  |  ...
 *	d_head       3     0     0   2 free   0     1
 *	d_tail       -     -     3     -   2 free   1
 *
 * An address is an index, and the neighbours of a segment are the descriptors
 * before its head and after its tail: no table, no ring, and in a large arena
 * no cache line but those of the segment itself and of its list, where tags
 * take some ten.  With a million segments that is a third of the time of tags
 * and hash; with few, most of a pair is taking and leaving the lock.
 *
 * In either form free segments are on lists by their size: one for each number
 * of quanta up to 64, then eight for each power of two.  Instant fit takes the
 * head of the lowest list that is not empty, from that size or above 64 quanta
 * from the next power of two on: a bit scan, whatever the number of segments.
 * Lists of one size are what makes most requests find a segment to the quantum:
 * nothing is split, little coalesces, and after a long random trace of one to
 * eight quanta less than 1 % of what is between the used segments is free; with
 * lists by powers of two, a quarter.  Those of larger sizes keep an arena usable
 * that is nearly full: bench/vmem.sh counts what fails.  And best fit of a small
 * size is the same bit scan.  The lists are last in, first out: what was freed
 * is taken again while its descriptors are in the cache.
 *
 * That is all that an arena needs which is never asked for an order.
 *
 * The other requests - lowest or highest address, next fit, a specific address,
 * any constraint, and best fit of a large size - want the free segments in an
 * order.  In a dense span a search may just look at one segment after the other,
 * which are side by side: in an arena that has holes it rarely looks at many,
 * and the arena pays for no order.  When it does, when searches were long again
 * and again, or when there are tags, the request builds an index, which the
 * arena then keeps up to date:
 *
 *	vm_addrs: B+ tree of (start, size), where every node knows the largest
 *	size below it, so that a search skips what is too small;
 *	vm_sizes: B+ tree of (size, start) of those of more than 64 quanta, for
 *	best fit, and of all of them while best fit needs that.
 *
 * Why arrays of 18 entries and not a binary tree inside the tags: a search in a
 * million segments costs what its cache misses cost, and 5 levels of a few
 * lines each are fewer than 20 tags; the tags stay one line; and changing a
 * segment's bounds, which is what most operations do to their neighbours, is a
 * store into one entry.  Why not the tree alone, for all segments: it was
 * measured at twice the cost of tags for the plain pair.  bench/vmem_bench.c
 * tells the numbers.
 *
 * A search that meets too many segments which are long enough but have no place
 * for an alignment or boundary goes for segments that surely have; if there is
 * none, it looks at all that are long enough, and writes down in every node that
 * it leaves empty-handed that requests of this shape and size are hopeless below.
 * So what is hopeless is found out once, until something changes there.
 *
 * Best fit under constraints looks at the first segments of the lists, most of
 * the time in vain no more than once or twice.  When that fails it goes through
 * vm_sizes, then with all segments, in order of size: the first that has a place
 * is the smallest, and of those the lowest.  Alignments and boundaries are
 * learnt as above.  Of a window it jumps, size by size, to the segments inside,
 * or that begin before it and end inside.  What that cannot promise is few
 * jumps: the smallest size above one bound with a start between two others is a
 * question of two dimensions, which no summary of a subtree answers.  So it
 * looks at 36 leaves at most in which some segment is outside of the window,
 * three for each size or fewer.  As long as ten sizes or fewer are in the way
 * the answer is exact; afterwards it is some place, as for instant fit.  A
 * window for which no two segments can compete is a matter of addresses alone.
 *
 * With a million segments of few sizes (bench/vmem.sh) a best fit in a window and
 * its free take 1.3 us in the median and 3 us at worst; with 2000 sizes, and
 * windows that hold next to nothing, 6 us and 11 us.  But keeping vm_sizes for
 * small segments adds 2 us to the replacement of any segment, which is more than
 * all the rest of it.  So that goes when there were as many allocations as it
 * has segments since it was needed last: unconstrained requests do not go on
 * paying for it, and building it again, at most 1 us for each segment, is paid
 * for by as many of them.
 *
 * A free must not allocate, but may need nodes to insert into an index.  They
 * come from a stock that allocations keep at a quarter of what the indexes
 * have; when frees alone exhaust it, the index is given up, and built again by
 * the next request that wants it.  So a rebuilding is paid for by as many frees.
 *
 * An allocation gets the tags it may need before it changes anything; across
 * an import, where the lock is dropped, they are its own.  From there on
 * nothing fails.
 *
 * Nothing here reads or writes a managed range.  Inside, an address is an
 * ordinary integer and 0 is one of them; ends are inclusive, so that a span
 * may reach the top.
 *
 * Layers, each calling only those before it:
 *	vmem_fit.c    pure: where in [first, last] does a request fit?
 *	vmem_tree.c   the ordered tree
 *	vmem_dense.c  descriptors: lists by size, carve, coalesce
 *	vmem_tag.c    tags: the same, and the hash table
 *	vmem_index.c  the two indexes: upkeep and search
 *	vmem_seg.c    segments of both forms: choose, take, free
 *	vmem_span.c   add, import, release
 *	vmem_alloc.c  the public allocations and frees, waiting
 *	vmem_qcache.c quantum caches
 *	vmem_arena.c  create, destroy, sizes, the list of arenas
 *	vmem_idnode.c, vmem_idset.c, vmem_idlook.c
 *	              sets of single identifiers
 *	vmem_ids.c, vmem_idrest.c, vmem_idsave.c
 *	              arenas of those: id_space
 *	vmem_walk.c, vmem_map.c, vmem_check.c
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_IMPL_H
#define QR_VMEM_IMPL_H

#include "vmem/vmem_private.h"
#include "vmem/vmem_tree.h"

#include "base/bits.h"
#include "base/list.h"
#include "base/panic.h"
#include "meta/meta.h"
#include "os/os_lock.h"
#include "os/percpu.h"

#include <errno.h>
#include <stdatomic.h>

enum {
	VMEM_BINS = 256,     /* lists of free segments by size */
	VMEM_EXACT = 64,     /* quanta up to which a list has one size only */
	VMEM_EXACT_BITS = 6, /* its log2 */
	VMEM_HASH_BITS = 4,  /* log2 of the buckets of the first hash table */
	VMEM_QCACHES = 16,   /* quantum caches of an arena at most */
};

/* ---- vmem_fit.c ---- */

/*
 * A request, checked and completed.  A place for it is `r_extent` integers at
 * an address congruent to r_phase modulo r_align, inside [r_min, r_max], of
 * which the first r_size do not straddle a multiple of r_nocross.
 */
struct vmem_req {
	size_t r_size;    /* as asked for */
	size_t r_extent;  /* rounded up to the quantum */
	size_t r_align;   /* power of two, at least the quantum */
	size_t r_phase;   /* less than r_align */
	size_t r_nocross; /* 0, or a power of two that can hold the request */
	uintptr_t r_min;
	uintptr_t r_max; /* the last integer allowed */
	int r_flags;     /* VM_* */
};

/* Lowest or highest place for r in [first, last]; false when there is none. */
bool vmem__fit_low(const struct vmem_req *r, uintptr_t first, uintptr_t last,
    uintptr_t *addrp);
bool vmem__fit_high(const struct vmem_req *r, uintptr_t first, uintptr_t last,
    uintptr_t *addrp);

/*
 * Any free run of this many integers, all inside [r_min, r_max], holds r.
 * SIZE_MAX when there is no such number.
 */
size_t vmem__fit_surely(const struct vmem_req *r, size_t quantum);

/* ---- tags and the arena ---- */

enum vmem_kind {
	VMEM_K_NONE = 0, /* in a reserve */
	VMEM_K_ALLOC,
	VMEM_K_SPAN,   /* a span that its owner added */
	VMEM_K_IMPORT, /* a span that was imported */
	VMEM_K_DENSE,  /* a span that its owner added, without tags inside */
	VMEM_K_IDS,    /* one of an id_space, without segments */
	VMEM_K_FREE,   /* the last: see g_what */
};

/* A boundary tag. */
struct vmem_tag {
	uintptr_t g_start;
	size_t g_size; /* allocated: exactly as asked for */
	struct vmem_tag *g_prev;
	struct vmem_tag *g_next;
	struct vmem_tag *g_link; /* next on a list, chain or reserve */
	union {
		uintptr_t
		    g_what; /* enum vmem_kind; any larger number is FREE */
		struct vmem_tag **g_back; /* free: what points to it */
	};
};

static inline enum vmem_kind
vmem__kind(const struct vmem_tag *tag)
{
	return (tag->g_what < VMEM_K_FREE ? (enum vmem_kind)tag->g_what
					  : VMEM_K_FREE);
}

/* A free segment, by value. */
struct vmem_run {
	uintptr_t u_start;
	size_t u_size;
	struct vmem_tag *u_tag; /* NULL: it is in the dense span */
};

/* Tags obtained and not yet used. */
struct vmem_tags {
	struct vmem_tag *r_list;
	size_t r_count;
};

/* A constraint for which nodes of vm_addrs know what is hopeless. */
struct vmem_shape {
	size_t h_align;
	size_t h_phase;
	size_t h_nocross;
	uint32_t h_gen;  /* never 0 once in use */
	uint64_t h_used; /* vm_shape_uses when it was used last */
};

/* A walk in progress, on its caller's stack: vmem_walk.c. */
struct vmem_walker {
	struct vmem_walker *wk_next;
	const void *wk_at;     /* tag or descriptor; NULL: its span has gone */
	const void *wk_thread; /* differs between threads, survives fork */
};

/*
 * Invariants, whenever vm_lock is free:
 *   A1  the tags between a span's, or the descriptors of the dense span, are
 *       its segments: they tile it, and no two free ones touch.
 *   A2  a free segment's size is a multiple of the quantum; an allocated one
 *       occupies its size rounded up.
 *   A3  vm_inuse is the sum of the sizes of allocated segments, vm_total of
 *       spans, vm_import of imported spans; vm_spans has all spans.
 *   A4  a free segment, and nothing else, is on list vmem__bin_of(size), and
 *       vm_bins has the bits of the lists that are not empty; vm_bins_used
 *       have a tag and vm_dense_free a descriptor.
 *   A5  an allocated segment that has a tag, and nothing else, is found by its
 *       address in the hash table, and there are vm_hash_used.
 *   A6  an index whose bit is in vm_indexed holds exactly the free segments;
 *       vm_sizes only those of more than VMEM_EXACT quanta, unless
 *       VMEM_BY_SMALL is there too.
 *   A7  in the dense span d_head is 0 wherever no segment begins, and d_tail
 *       where one ends is d_head where it begins.
 *
 * Locking: (c) constant after creation; (l) vm_lock; (l,r) written under
 * vm_lock, read without; (g) the list lock; (a) atomic.
 */
struct vmem {
	struct qr_mutex vm_lock; /* rank QR_RANK_ARENA */
	unsigned vm_qshift;      /* (c) log2 of the quantum */
	size_t vm_quantum;       /* (c) */
	size_t vm_qcache_max;    /* (c) sizes up to this have a cache */
	/* (l) bit b: list b is not empty */
	uint64_t vm_bins[VMEM_BINS / 64];
	struct vmem_desc *vm_desc; /* (l) of the dense span */
	uintptr_t vm_dense;        /* (l) where it begins */
	size_t vm_dense_quanta;    /* (l) 0: there is none */
	size_t vm_dense_free;      /* (l) free segments in it */
	size_t vm_dense_looks;     /* (l) of long searches in it */
	struct vmem_tags vm_tags;  /* (l) reserve */
	struct vmem_tag **vm_hash; /* (l) */
	unsigned vm_hash_bits;     /* (l) log2 of its buckets */
	unsigned vm_indexed;       /* (l) VMEM_BY_* that are up to date */
	size_t vm_hash_used;       /* (l) allocated segments that have tags */
	size_t vm_bins_used;       /* (l) free segments that have tags */
	_Atomic size_t vm_inuse;   /* (l,r) */
	uint64_t vm_nalloc, vm_nfree; /* (l) */
	uint64_t vm_nlookup; /* (l) steps in chains of the hash table */
	/* (l) with vm_nfree: moves when a failed request may now succeed */
	uint64_t vm_gen;
	unsigned vm_sleepers; /* (l) threads in vm_cond */
	/* (a) sleepers in arenas that import, directly or not, from this one */
	_Atomic unsigned vm_wanted;
	struct vmem_walker *vm_walkers; /* (l) reentrant walks in progress */
	struct vmem_ids *vm_ids; /* (l) set once: an id_space, vmem_ids.h */
	/* (l) free segments by size, those of the dense span aside */
	struct vmem_tag *vm_bin[VMEM_BINS];

	struct vmem_tag **vm_hash_old; /* (l) being emptied into vm_hash */
	unsigned vm_hash_old_bits;     /* (l) */
	size_t vm_hash_done;           /* (l) buckets of it already empty */
	void *vm_hash_dead;            /* (l) emptied, to be given back */
	size_t vm_hash_dead_size;      /* (l) */
	struct vmem_tag *vm_hash_first[1 << VMEM_HASH_BITS]; /* (l) */

	struct vmem_tree vm_spans;  /* (l) tags of spans by (start, size) */
	struct vmem_tree vm_addrs;  /* (l) free segments by (start, size) */
	struct vmem_tree vm_sizes;  /* (l) free segments by (size, start) */
	struct vmem_nodes vm_nodes; /* (l) stock for both */
	uint64_t vm_best_last; /* (l) vm_nalloc when VMEM_BY_SMALL was wanted */
	struct vmem_shape vm_shape[VMEM_SHAPES]; /* (l) */
	uint32_t vm_shape_gen;                   /* (l) the last one given */
	uint64_t vm_shape_uses;                  /* (l) */
	uintptr_t vm_rotor;                      /* (l) next fit goes on here */

	_Atomic size_t vm_total; /* (l,r) */
	size_t vm_import;        /* (l) */
	size_t vm_importing; /* (l) being imported just now, for the limit */
	size_t vm_limit;     /* (l) bound on vm_total; 0 = none */
	uint64_t vm_nwait, vm_nfail; /* (l) */
	uint64_t vm_nsearch;         /* (l) f_vain of all searches */
	/* (l) of the waits and failures: memory to describe was short */
	uint64_t vm_nshort_wait, vm_nshort_fail;
	/* (l) questions, and spans that were compared to answer them */
	uint64_t vm_ncontains, vm_ncontains_search;
	struct qr_cond vm_cond; /* with vm_lock: vm_gen moved */

	size_t vm_min_import;          /* (c) */
	struct vmem *vm_source;        /* (c) */
	vmem_alloc_t *vm_afunc;        /* (c) import, or NULL */
	vmem_ximport_t *vm_xafunc;     /* (c) instead of vm_afunc: VMC_XALLOC */
	vmem_free_t *vm_ffunc;         /* (c) release, or NULL: keep */
	int vm_cflags;                 /* (c) VMC_* */
	void *vm_qcache[VMEM_QCACHES]; /* (c) */
	struct vmem__qcache_hit vm_qhit[VMEM_QCACHES]; /* (c) the same */
	/* (c) qh_off, or 0, which misses, where integers are turned */
	size_t vm_qoff[VMEM_QCACHES];
	struct qr_list vm_link;      /* (g) */
	uint64_t vm_id;              /* (c) 1, 2, ... in order of creation */
	char vm_name[VMEM_NAME_MAX]; /* (c) */
};

/* Counters that vmem_size reads without the lock, changed under it. */
static inline void
vmem__count(_Atomic size_t *counter, size_t change)
{
	atomic_store_explicit(counter,
	    atomic_load_explicit(counter, memory_order_relaxed) + change,
	    memory_order_relaxed);
}

/* vm_lock is held: something was allocated, or freed. */
static inline void
vmem__count_alloc(struct vmem *vmp, size_t size)
{
	vmem__count(&vmp->vm_inuse, size);
	vmp->vm_nalloc++;
}

static inline void
vmem__count_free(struct vmem *vmp, size_t size)
{
	vmem__count(&vmp->vm_inuse, -size);
	vmp->vm_nfree++;
}

/* The tag that an entry is about. */
static inline struct vmem_tag *
vmem__pos_tag(struct vmem_pos pos)
{
	return (pos.p_leaf->n_ent[pos.p_i].e_ptr);
}

void vmem__exit_slowly(struct vmem *vmp);

/*
 * Leave vm_lock after taking a segment.  A hash table that is no longer used is
 * unmapped then, because that takes long.
 */
static inline void
vmem__exit(struct vmem *vmp)
{
	if (QR_UNLIKELY(vmp->vm_hash_dead != NULL))
		vmem__exit_slowly(vmp);
	else
		qr_mutex_exit(&vmp->vm_lock);
}

/* ---- vmem_index.c: all with vm_lock held ---- */

enum {
	VMEM_BY_ADDR = 1,
	VMEM_BY_SIZE = 2,
	/* Of vm_sizes, never without the one above: it has the small ones. */
	VMEM_BY_SMALL = 4,
};

/* Have these, all of one tree; false when memory is short. */
bool vmem__index_want(struct vmem *vmp, unsigned which);
/* Keep those there are true.  A change is told before the tag changes. */
void vmem__index_enter(struct vmem *vmp, const struct vmem_run *run);
void vmem__index_leave(struct vmem *vmp, const struct vmem_run *run);
void vmem__index_change(
    struct vmem *vmp, const struct vmem_run *run, uintptr_t start, size_t size);
/* Called by allocations, so that frees find nodes. */
void vmem__index_stock(struct vmem *vmp);

/*
 * A search, and what it found, if anything.  `f_patience` segments that are long
 * enough may turn out to have no place; then it is tired.  f_vain goes on from
 * one search of a request to the next.
 */
struct vmem_search {
	size_t f_size; /* look at segments of at least this many integers */
	size_t f_patience;
	int f_shape; /* learn and use what is hopeless for this shape, or -1 */
	struct vmem_run f_run;
	uintptr_t f_addr;
	size_t f_vain; /* free segments looked at that had no place */
	bool f_found;
	bool f_tired;
};

/* The lowest (VM_ENDALLOC: highest) place of r.  vm_addrs is up to date. */
void vmem__index_search(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *search);
/*
 * The place of r in the smallest segment that has one, of those in vm_sizes,
 * which is up to date.  Tired: it may not be the smallest, or none was found.
 */
void vmem__index_best(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *search);
/* The number of r's shape in this tree, for f_shape. */
int vmem__index_shape(
    struct vmem *vmp, struct vmem_tree *t, const struct vmem_req *r);

/* Place of r in a free segment, at the end that VM_ENDALLOC tells. */
bool vmem__fit_run(
    const struct vmem_req *r, const struct vmem_run *run, uintptr_t *addrp);

/* ---- vmem_seg.c: all with vm_lock held ---- */

/*
 * Choose a place by the policy in r_flags.  0, ENOSPC or ENOMEM.  ENOSPC of a
 * thorough choice means that there is none.
 */
int vmem__seg_choose(struct vmem *vmp, const struct vmem_req *r, bool thorough,
    struct vmem_search *found);

/* Choose and carve. */
int vmem__seg_take(struct vmem *vmp, const struct vmem_req *r, bool thorough,
    uintptr_t *addrp);

/*
 * Carve [addr, addr + r_extent) from a free segment.  The reserve has two tags,
 * unless the segment is in the dense span.  Cannot fail.
 */
void vmem__seg_carve(struct vmem *vmp, const struct vmem_run *run,
    uintptr_t addr, const struct vmem_req *r, struct vmem_tags *reserve);

/* What became of a free. */
struct vmem_freed {
	size_t fr_expect;   /* the size that is allocated there, or 0 */
	uintptr_t fr_start; /* an imported span that is to be released, */
	size_t fr_size;     /* and its size, or 0 */
};

/*
 * Free the segment of `size` integers at addr, which vmem__dense_give did not,
 * and coalesce.  When that leaves an imported span empty and the arena can
 * release it, the span is removed.  False when there is no such segment.
 */
bool vmem__seg_free(
    struct vmem *vmp, uintptr_t addr, size_t size, struct vmem_freed *freed);

/* ---- vmem_span.c ---- */

/* What adding a span uses up. */
struct vmem_spare {
	struct vmem_tags sp_tags;
	struct vmem_nodes sp_nodes;
};

/*
 * Add a span, one free segment.  vm_lock is held.  0, ENOMEM, or EINVAL for a
 * span that overlaps another (nothing was reported yet).  Two tags are left in
 * the reserve for carving it.
 */
int vmem__span_add(struct vmem *vmp, uintptr_t start, size_t size,
    enum vmem_kind kind, struct vmem_spare *spare);
/* Remove an empty span. vm_lock is held. */
void vmem__span_remove(struct vmem *vmp, struct vmem_tag *span);

/*
 * Report a span that no arena can have: empty, wrapping, off the quantum.  One
 * that ends exactly at the top is fine.  No lock is held.
 */
bool vmem__span_invalid(const struct vmem *vmp, uintptr_t addr, size_t size);

/* Add a span of the owner's.  0, ENOMEM, or EINVAL: overlaps, not reported. */
int vmem__add(struct vmem *vmp, uintptr_t addr, size_t size, int vmflag);

/* Does the arena have a way to get what r wants from elsewhere? */
bool vmem__can_import(const struct vmem *vmp, const struct vmem_req *r);

/*
 * Import a span and take r from it.  vm_lock is held on entry and exit, but
 * not between.  0, ENOSPC (nothing came) or ENOMEM.
 */
int vmem__import(struct vmem *vmp, const struct vmem_req *r, uintptr_t *addrp);
/*
 * For an arena with nothing free: import a span of that size, a multiple of its
 * quantum, and take all of it.  0, ENOSPC or ENOMEM; takes vm_lock.
 */
int vmem__import_span(
    struct vmem *vmp, size_t size, size_t align, uintptr_t *addrp);

/* Hand a span back; vm_lock is not held. */
void vmem__export(struct vmem *vmp, uintptr_t start, size_t size);

/* ---- vmem_alloc.c ---- */

/* VM_SLEEP is the absence of every way to fail. */
static inline bool
vmem__may_sleep(int vmflag)
{
	return ((vmflag & (VM_NOSLEEP | VM_PANIC | VM_ABORT)) == 0);
}

/* Moves when what failed may succeed now; vm_lock is held. */
static inline uint64_t
vmem__gen(const struct vmem *vmp)
{
	return (vmp->vm_gen + vmp->vm_nfree);
}

/* vm_lock is held, and vmem__gen has moved: let sleepers look. */
static inline void
vmem__wake(struct vmem *vmp)
{
	qr_mutex_assert_held(&vmp->vm_lock);
	if (QR_UNLIKELY(vmp->vm_sleepers != 0))
		qr_cond_broadcast(&vmp->vm_cond);
}

/* vm_lock is held: what failed may succeed now, and nothing was freed here. */
static inline void
vmem__changed(struct vmem *vmp)
{
	vmp->vm_gen++;
	vmem__wake(vmp);
}

/*
 * No lock is held: the same, for sleepers in arenas that import from this.  A
 * sleeper raises vm_wanted of every arena below its own before it looks the
 * last time, and notes vm_gen of its own arena; so either it finds what was
 * freed here, or we find vm_wanted raised and move its vm_gen.
 */
void vmem__wake_importers_slowly(struct vmem *vmp);

static inline void
vmem__wake_importers(struct vmem *vmp)
{
	if (QR_UNLIKELY(atomic_load(&vmp->vm_wanted) != 0))
		vmem__wake_importers_slowly(vmp);
}

/*
 * No lock is held: sleep until something changes, or for a while.  0, ENOMEM
 * when vmflag does not allow sleeping, ETIMEDOUT.
 */
int vmem__pause(struct vmem *vmp, int vmflag, const struct timespec *deadline);

/* Report a request that cannot be met to whoever called it mandatory. */
QR_COLD void vmem__panic_request(const struct vmem *vmp, size_t size,
    size_t align, size_t phase, size_t nocross, uintptr_t minaddr,
    uintptr_t maxaddr, int vmflag, const char *what);

/* ---- vmem_qcache.c ---- */

void vmem__qcache_setup(struct vmem *vmp, size_t qcache_max, int vmflag);
void vmem__qcache_teardown(struct vmem *vmp);
int vmem__qcache_alloc(struct vmem *vmp, size_t size, int vmflag,
    const struct timespec *deadline, uintptr_t *addrp);
void vmem__qcache_free(struct vmem *vmp, uintptr_t addr, size_t size);

/*
 * A hit, or 0, or false, which say nothing.  Integers that are kept turned, those
 * of arenas with a quantum of 1, take the long way: turning the others by 0
 * would cost a fifth of a hit.
 */
static inline uintptr_t
vmem__qcache_pop(const struct vmem *vmp, size_t size)
{
	return (percpu_pop(vmp->vm_qoff[(size - 1) >> vmp->vm_qshift]));
}

/* What is odd marks the ends of a stack, and 0 means none: both are bad frees. */
static inline bool
vmem__qcache_push(const struct vmem *vmp, uintptr_t addr, size_t size)
{
	return ((addr & 1) == 0 && addr != 0 &&
	    percpu_push(vmp->vm_qoff[(size - 1) >> vmp->vm_qshift], addr));
}

/*
 * About to fail or sleep: ask the caches for what they do not need.  True when some
 * keep what is the arena's, and may do so again without its being told.
 */
bool vmem__reap(struct vmem *vmp);

/* ---- vmem_walk.c ---- */

/*
 * The segment of this tag or descriptor is about to become part of another one,
 * or, with NULL, its span about to vanish.
 */
void vmem__walk_leave(struct vmem *vmp, const void *at, const void *into);
/* In the child of fork: the walks of other threads are no more. */
void vmem__walk_fork(struct vmem *vmp);

/* ---- vmem_arena.c ---- */

/* Bytes that describe the integers; vm_lock is held. */
size_t vmem__metadata(const struct vmem *vmp);

extern struct qr_mutex vmem__list_lock; /* rank QR_RANK_ARENA_LIST */
extern struct qr_list vmem__list;       /* of vm_link, in order of creation */
/*
 * Changes where a callback has forked and returned in the child: what its caller
 * had counted before that is not counted any more.
 */
extern QR_HIDDEN unsigned vmem__forks;

#endif /* QR_VMEM_IMPL_H */
