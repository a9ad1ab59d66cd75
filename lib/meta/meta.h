/*
 * meta.h - the floor: fixed-size records for the allocator's own use.
 *
 * Records are carved from pages mapped straight from the kernel, so
 * meta_get() can never re-enter vmem or umem, whatever its caller holds.
 */
#ifndef QR_META_H
#define QR_META_H

#include "os/os_lock.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * A pool of equal-sized records.  They stay mapped, and of their size: who finds
 * one that was put back reads what it was, another one, or zero.
 *
 * Invariants, whenever mp_lock is free:
 *   M1  mp_free chains exactly mp_nfree records.
 *   M2  mp_nfree <= mp_total.
 *   M3  a record is aligned to the largest power of two that divides mp_size,
 *       up to a page.
 *   M4  [mp_run, mp_run_end) reads as zero.
 *   M5  a run in mp_zeros is two free records or more, in no other list, and
 *       reads as zero but for the first.
 * Locking: (c) constant after definition; (m) mp_lock, a leaf lock but for that
 * of the chunk; (r) written once, under the registry's lock.
 */
struct meta_pool {
	struct qr_mutex mp_lock;     /* rank QR_RANK_META */
	_Atomic bool mp_listed;      /* (r) in the registry */
	const char *mp_name;         /* (c) shown in statistics */
	size_t mp_size;              /* (c) bytes per record, multiple of 16 */
	void *mp_free;               /* (m) LIFO, linked through first word */
	size_t mp_nfree;             /* (m) length of mp_free */
	size_t mp_total;             /* (m) records carved, not in mp_zeros */
	struct meta_zeros *mp_zeros; /* (m) purged runs */
	size_t mp_kept;              /* (m) mp_nfree after the last purge */
	bool mp_purging;             /* (m) mp_free is in the hands of one */
	char *mp_run;                /* (m) next record to carve */
	char *mp_run_end;            /* (m) end of the run being carved */
	struct meta_pool *mp_next;   /* (r) registry */
};

#define META_POOL_INIT(name, size)                                         \
	{                                                                  \
		.mp_lock = QR_MUTEX_INIT(QR_RANK_META), .mp_name = (name), \
		.mp_size = ((size) + 15) / 16 * 16                         \
	}

/* In the first record of a run. */
struct meta_zeros {
	struct meta_zeros *z_next;
	char *z_end; /* of the run */
};

/* Return a zeroed record, or NULL when the kernel has no memory left. */
void *meta_get(struct meta_pool *mp);
void meta_put(struct meta_pool *mp, void *rec);

/*
 * Give the pages back on which all records are free: of pools that are worth it,
 * or of all; bytes given.  Sorts what is free, with no lock that meta_get() or
 * meta_put() takes.
 */
size_t meta_purge(bool all);
/* The same of one pool, for meta_purge(), which holds the list's lock. */
size_t meta__pool_purge(struct meta_pool *mp, bool always);

/*
 * Whole zeroed pages for tables; size is rounded up to pages.  NULL when the
 * kernel has no memory left.  Takes no lock.
 */
void *meta_block_get(size_t size);
void meta_block_put(void *block, size_t size);

/* Bytes mapped for records and blocks since start-up, less blocks put back. */
size_t meta_mapped(void);

/*
 * Every lock of this floor, for the fork handlers: between the two, no record
 * moves.  The child of fork may call meta_unlock_all() for its parent.
 */
void meta_lock_all(void);
void meta_unlock_all(void);

#endif /* QR_META_H */
