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
 * One ordered index, a B+ tree of (start, size) pairs, describes all segments
 * of all spans:
 *
 *	          [ start start start | largest free run below each ]
 *	          /          |          \
 *	[start.. | size.. | free bits] <-> [ .. ] <-> [ .. ]       leaves
 *
 *  - the segment at an address, its neighbours and the span it is in: one
 *    descent, and then the next entry of the same leaf.  No hash table, and
 *    nothing to rescale;
 *  - lowest or highest place for a request under any constraint, next fit
 *    (lowest place from the rotor on), a specific address: descents that skip
 *    every subtree whose largest free run is too small;
 *  - instant fit: leaves stand on 64 lists by the power of two of their
 *    largest free run.  The first leaf of the lowest list whose members surely
 *    fit is the answer; no descent, and only this leaf is touched.
 *
 * Why a tree of arrays and not a linked tag per segment with a hash: an
 * operation on a big, cold arena costs what its cache misses cost.  A tag, its
 * two neighbours, the hash chain and the list neighbours of up to three tags
 * are a dozen lines at a dozen places; here a segment and its neighbours are
 * adjacent words, and the inner nodes of a million segments fit the cache.  It
 * is 16 bytes per segment at full leaves instead of 64, and the constrained
 * search, which would need a second tree, is there for nothing.
 * bench/vmem_bench.c measures both.
 *
 * Best fit alone wants another order.  The first best-fit request of an arena
 * builds a tree of its free segments by (size, start), and from then on the
 * arena keeps it.  A free may need a node for it and must not allocate: it
 * takes one from a stock that allocations replenish, or, when that is
 * exhausted, gives the tree up, to be built again by the next best-fit request.
 * The stock grows with the tree, so that this costs O(1) per free.
 *
 * Keys never change in place: carving turns an entry into an allocated one and
 * inserts the remainders behind it, coalescing removes entries and lengthens
 * the one before.  So a free only ever removes entries, and needs no memory;
 * an allocation inserts at most two, and gets the nodes for them before it
 * changes anything (at most one per level, and none in 15 of 16 cases).
 *
 * Nothing here reads or writes a managed range.  Inside, an address is an
 * ordinary integer and 0 is one of them; ends are inclusive, so that a span
 * may reach the top.
 *
 * Layers, each calling only those before it:
 *	vmem_fit.c    pure: where in [first, last] does a request fit?
 *	vmem_tree.c   the ordered index
 *	vmem_sizes.c  the index by size, for best fit
 *	vmem_seg.c    segments: search, carve, coalesce
 *	vmem_span.c   add, import, release
 *	vmem_alloc.c  the public allocations and frees, waiting
 *	vmem_qcache.c quantum caches
 *	vmem_arena.c  create, destroy, sizes, the list of arenas
 *	vmem_walk.c, vmem_check.c
 */
#ifndef QR_VMEM_IMPL_H
#define QR_VMEM_IMPL_H

#include "vmem/vmem_private.h"

#include "base/bits.h"
#include "base/list.h"
#include "base/panic.h"
#include "meta/meta.h"
#include "os/os_lock.h"

#include <errno.h>
#include <stdatomic.h>

enum {
	VMEM_LEAF = 32,    /* entries of a leaf; the width of its bit sets */
	VMEM_INNER = 21,   /* children of an inner node */
	VMEM_BINS = 64,    /* lists of leaves, one per power of two */
	VMEM_NOBIN = 64,   /* n_bin of a leaf that has nothing free */
	VMEM_LEVELS = 16,  /* no tree is higher: 2^47 bytes of nodes are less */
	VMEM_QCACHES = 16, /* quantum caches of an arena at most */
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

/* ---- vmem_tree.c ---- */

/*
 * A node.  Leaves are chained in order.  The pair of an entry is its key and
 * its value; in the segments' tree (start, size), in the spans' tree the same,
 * in the tree of free sizes (size, start).
 *
 * Invariants:
 *   N1  l_key (l_val when keys may repeat) ascends, within and across leaves.
 *   N2  no leaf and no inner node is empty.
 *   N3  separator i > 0 is the first pair below child i; separator 0 is
 *       unused.
 *   N4  in the segments' tree: n_max of a leaf is its largest free value, that
 *       of an inner node the largest i_aux, and i_aux[i] is n_max of child i.
 *   N5  in the segments' tree: a leaf is on bin log2(n_max), or on none when
 *       n_max is 0, and vb_map has the bits of the bins that are not empty.
 */
struct vmem_node {
	struct vmem_node *n_parent;
	struct vmem_node *n_prev; /* leaves: the one before */
	struct vmem_node
	    *n_next;           /* leaves: the one after; spare nodes: chain */
	struct qr_list n_link; /* leaves: on vb_list[n_bin] */
	size_t n_max;
	uint32_t n_free;  /* leaves: bit i: entry i is a free segment */
	uint32_t n_mark;  /* leaves: bit i: first segment of a span, or, in the
	                     spans' tree, an imported span */
	uint8_t n_count;  /* entries or children */
	uint8_t n_level;  /* 0 for a leaf */
	uint8_t n_bin;    /* leaves */
	uint8_t n_pad[5]; /* entries begin on a cache line */
	union {
		struct {
			uintptr_t l_key[VMEM_LEAF];
			uintptr_t l_val[VMEM_LEAF];
		};
		struct {
			uintptr_t i_key[VMEM_INNER]; /* separators */
			uintptr_t i_aux[VMEM_INNER]; /* N4, or second halves of
			                                the separators */
			struct vmem_node *i_child[VMEM_INNER];
		};
	};
};

/* Leaves by the size of their largest free segment. */
struct vmem_bins {
	uint64_t vb_map; /* bit b: vb_list[b] is not empty */
	struct qr_list vb_list[VMEM_BINS];
};

struct vmem_tree {
	struct vmem_node *t_root; /* NULL when empty */
	struct vmem_node *t_first;
	struct vmem_node *t_last;
	struct vmem_bins *t_bins; /* (c) the segments' tree only: N4, N5 */
	bool t_pairs;             /* (c) keys repeat; values tell them apart */
	size_t t_nodes;
	size_t t_count; /* entries */
};

/* An entry, or, with p_leaf NULL, none; or a gap to insert into. */
struct vmem_pos {
	struct vmem_node *p_leaf;
	unsigned p_i;
};

/*
 * Nodes that one operation, or one arena's tree of sizes, has obtained and
 * not yet used.  Hidden from everybody else.
 */
struct vmem_spare {
	struct vmem_node *s_list;
	size_t s_count;
};

/* Have n nodes at least; false when memory is short (what came is kept). */
bool vmem__spare_fill(struct vmem_spare *sp, size_t n);
void vmem__spare_drain(struct vmem_spare *sp);

/* The last entry that is not above (key, val); unique keys ignore val. */
struct vmem_pos vmem__tree_floor(
    const struct vmem_tree *t, uintptr_t key, uintptr_t val);

/* The entry after or before; also from the gap behind a leaf's last entry. */
struct vmem_pos vmem__pos_next(struct vmem_pos pos);
struct vmem_pos vmem__pos_prev(struct vmem_pos pos);

/*
 * Nodes that inserting up to three neighbouring entries at a place in `leaf`
 * can use up.  vmem__tree_need_any does not know the place.
 */
size_t vmem__tree_need(
    const struct vmem_tree *t, const struct vmem_node *leaf, unsigned entries);
size_t vmem__tree_need_any(const struct vmem_tree *t);

/*
 * Insert before entry pos->p_i of pos->p_leaf (p_leaf NULL: empty tree) and
 * make *pos the new entry.  `bits`: VMEM_E_FREE, VMEM_E_MARK.  The summary of
 * the leaf that *pos named, and names, is left for vmem__tree_settle.
 */
enum { VMEM_E_FREE = 1, VMEM_E_MARK = 2 };
void vmem__tree_insert(struct vmem_tree *t, struct vmem_pos *pos, uintptr_t key,
    uintptr_t val, unsigned bits, struct vmem_spare *sp);

/* Insert where the order wants it, and settle. */
void vmem__tree_put(struct vmem_tree *t, uintptr_t key, uintptr_t val,
    unsigned bits, struct vmem_spare *sp);

/* Remove one entry; the leaf is left for vmem__tree_settle. */
void vmem__tree_remove(struct vmem_tree *t, struct vmem_node *leaf, unsigned i);

/*
 * After changes to a leaf: bring its summary and bin up to date, and merge or
 * unlink it when few or no entries are left.  Never destroys a leaf to the
 * left of this one.
 */
void vmem__tree_settle(struct vmem_tree *t, struct vmem_node *leaf);

/* Summary and bin only: for leaves that lost no entry. */
void vmem__tree_refresh(struct vmem_tree *t, struct vmem_node *leaf);

/* Nearest leaf after (before) this one whose n_max is at least `size`. */
struct vmem_node *vmem__tree_leaf_after(
    const struct vmem_node *leaf, size_t size);
struct vmem_node *vmem__tree_leaf_before(
    const struct vmem_node *leaf, size_t size);

/* Give every node back. */
void vmem__tree_clear(struct vmem_tree *t);

/* ---- the arena ---- */

/*
 * Invariants, whenever vm_lock is free:
 *   A1  the segments of a span tile it, and the first of them has its mark;
 *       no segment crosses spans and no two free ones of a span touch.
 *   A2  a free segment's value is a multiple of the quantum; an allocated
 *       one's is the size asked for and occupies it rounded up.
 *   A3  vm_inuse is the sum of the allocated values, vm_total of the spans',
 *       vm_import of the marked (imported) spans'.
 *   A4  with vm_sizes_on, vm_sizes holds exactly the free segments.
 *
 * Locking: (c) constant after creation; (l) vm_lock; (l,r) written under
 * vm_lock, read without; (g) the list lock; (a) atomic.
 */
struct vmem {
	struct qr_mutex vm_lock; /* rank QR_RANK_ARENA */
	uint64_t vm_gen; /* (l) bumped when a failed request may now succeed */
	uintptr_t vm_rotor;        /* (l) next fit goes on here */
	struct vmem_tree vm_segs;  /* (l) segments by address */
	struct vmem_tree vm_spans; /* (l) spans by address */
	struct vmem_tree vm_sizes; /* (l) free segments by (size, start) */
	struct vmem_spare vm_sizes_spare; /* (l) stock for vm_sizes */
	bool vm_sizes_on;                 /* (l) vm_sizes is maintained */
	_Atomic size_t vm_inuse;          /* (l,r) */
	_Atomic size_t vm_total;          /* (l,r) */
	size_t vm_import;                 /* (l) */
	size_t vm_importing; /* (l) being imported just now, for the limit */
	size_t vm_limit;     /* (l) bound on vm_total; 0 = none */
	uint64_t vm_nalloc, vm_nfree, vm_nwait, vm_nfail; /* (l) */
	struct qr_cond vm_cond; /* with vm_lock: vm_gen moved */
	unsigned vm_sleepers;   /* (l) threads in vm_cond */
	_Atomic unsigned
	    vm_wanted; /* (a) sleepers in arenas that import, directly
	                               or not, from this one */

	size_t vm_quantum;             /* (c) */
	size_t vm_qcache_max;          /* (c) sizes up to this have a cache */
	unsigned vm_qshift;            /* (c) log2 of the quantum */
	size_t vm_min_import;          /* (c) */
	struct vmem *vm_source;        /* (c) */
	vmem_alloc_t *vm_afunc;        /* (c) import, or NULL */
	vmem_ximport_t *vm_xafunc;     /* (c) instead of vm_afunc: VMC_XALLOC */
	vmem_free_t *vm_ffunc;         /* (c) release, or NULL: keep */
	int vm_cflags;                 /* (c) VMC_* */
	void *vm_qcache[VMEM_QCACHES]; /* (c) */
	struct qr_list vm_link;        /* (g) */
	uint64_t vm_id;                /* (c) 1, 2, ... in order of creation */
	char vm_name[VMEM_NAME_MAX];   /* (c) */
	struct vmem_bins vm_bins;      /* (l) of vm_segs */
};

/* Bounds of entry i, a segment or span, last integer inclusive. */
static inline uintptr_t
vmem__seg_last(const struct vmem *vmp, const struct vmem_node *leaf, unsigned i)
{
	size_t extent = qr_roundup(leaf->l_val[i], vmp->vm_quantum);

	return (leaf->l_key[i] + (extent - 1));
}

static inline bool
vmem__seg_free(struct vmem_pos pos)
{
	return ((pos.p_leaf->n_free >> pos.p_i & 1) != 0);
}

/* Is it the first segment of its span (segments), or imported (spans)? */
static inline bool
vmem__marked(struct vmem_pos pos)
{
	return ((pos.p_leaf->n_mark >> pos.p_i & 1) != 0);
}

/* ---- vmem_sizes.c: all with vm_lock held ---- */

/* Build vm_sizes; vm_sizes_on tells whether memory sufficed. */
void vmem__sizes_build(struct vmem *vmp);
/* Keep it true, if there is one; adding may give it up. */
void vmem__sizes_add(struct vmem *vmp, uintptr_t start, size_t size);
void vmem__sizes_remove(struct vmem *vmp, uintptr_t start, size_t size);
/* Called by allocations, so that frees find nodes. */
void vmem__sizes_stock(struct vmem *vmp);

/* ---- vmem_seg.c: all with vm_lock held ---- */

/*
 * Choose a place by the policy in r_flags; false when no free segment has one.
 * Exact: false means that none exists.
 */
bool vmem__seg_choose(struct vmem *vmp, const struct vmem_req *r,
    struct vmem_pos *pos, uintptr_t *addrp);

/* Choose and carve.  0, ENOSPC (nothing fits) or ENOMEM (no nodes). */
int vmem__seg_take(
    struct vmem *vmp, const struct vmem_req *r, uintptr_t *addrp);

/* Carve [addr, addr + r_extent) from a free segment; cannot fail. */
void vmem__seg_carve(struct vmem *vmp, struct vmem_pos pos, uintptr_t addr,
    const struct vmem_req *r, struct vmem_spare *sp);

/*
 * Free the allocated segment `pos` and coalesce.  When that leaves an imported
 * span empty and the arena can release it, the span is removed, *startp and
 * *sizep name it, and the result is true.
 */
bool vmem__seg_release(
    struct vmem *vmp, struct vmem_pos pos, uintptr_t *startp, size_t *sizep);

/* ---- vmem_span.c ---- */

/*
 * Add a span.  vm_lock is held.  0, ENOMEM, or EINVAL for a span that overlaps
 * another (nothing was reported yet).
 */
int vmem__span_add(struct vmem *vmp, uintptr_t start, size_t size,
    bool imported, struct vmem_spare *sp);

/*
 * Report a span that no arena can have: empty, wrapping, off the quantum.  One
 * that ends exactly at the top is fine.  No lock is held.
 */
bool vmem__span_invalid(const struct vmem *vmp, uintptr_t addr, size_t size);

/* Does the arena have a way to get what r wants from elsewhere? */
bool vmem__can_import(const struct vmem *vmp, const struct vmem_req *r);

/*
 * Import a span and take r from it.  vm_lock is held on entry and exit, but
 * not between.  0, ENOSPC (nothing came) or ENOMEM.
 */
int vmem__import(struct vmem *vmp, const struct vmem_req *r, uintptr_t *addrp);

/* Hand a span back; vm_lock is not held. */
void vmem__export(struct vmem *vmp, uintptr_t start, size_t size);

/* ---- vmem_alloc.c ---- */

/* vm_lock is held: what failed may succeed now. */
void vmem__changed(struct vmem *vmp);

/* No lock is held: the same, for sleepers in arenas that import from this. */
void vmem__wake_importers(struct vmem *vmp);

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
/* About to fail or sleep: ask the caches for what they do not need. */
void vmem__reap(struct vmem *vmp);

/* ---- vmem_arena.c ---- */

extern struct qr_mutex vmem__list_lock; /* rank QR_RANK_ARENA_LIST */
extern struct qr_list vmem__list;       /* of vm_link, in order of creation */

#endif /* QR_VMEM_IMPL_H */
