/*
 * malloc_type_impl.h - malloc types inside the library: theory, structures.
 *
 * A program's struct malloc_type is a name and a handle.  Behind the handle is
 * a record of the library's, struct mtype, made when the type is registered or
 * first used.  Blocks are charged to the record: it outlives the type, which
 * lies in an object that can be unloaded, until the last block is freed.  In
 * between a type of the same name at the same place is the same one: destructors
 * free, after their type was unregistered, and objects are loaded again.
 *
 * Why one count for all CPUs and not one for each: a limit and a peak are about
 * the sum, and have to be exact.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_MALLOC_TYPE_IMPL_H
#define QR_MALLOC_TYPE_IMPL_H

#include "base/bits.h"
#include "base/list.h"
#include "os/os_lock.h"

#include <quarry/malloc_type.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>

enum { MTYPE_NAME_MAX = 32 };

/*
 * Invariants, whenever mt_lock is free:
 *   T1  the record is on the list of all; it has a type or a block.
 *   T2  mt_use is the sum of what its mt_blocks were charged, and at most
 *       mt_high.
 *   T3  no charge took mt_use beyond the limit of its time.
 * Locking: (c) constant; (m) mt_lock; (t) the lock of all types; (m,t) written
 * under both.
 */
struct mtype {
	struct qr_mutex mt_lock; /* rank QR_RANK_MTYPE */
	uint64_t mt_blocks;      /* (m) */
	uint64_t mt_use;         /* (m) bytes in them */
	uint64_t mt_high;        /* (m) the most that there were */
	uint64_t mt_limit;       /* (m) 0 = none */
	uint64_t mt_requests;    /* (m) */
	uint64_t mt_sizes;       /* (m) */
	uint64_t mt_failed;      /* (m) */
	unsigned mt_waiters;     /* (m) */
	struct qr_cond mt_cond; /* with mt_lock: use sank, or the limit moved */
	_Atomic bool mt_gone;   /* (m,t) unregistered */
	struct malloc_type *mt_type;       /* (m,t) NULL: unregistered */
	const struct malloc_type *mt_lost; /* (t) the one it had, to compare */
	struct qr_list mt_link;            /* (t) all records */
	uint64_t mt_id;                    /* (c) 1, 2, ... */
	struct malloc_type mt_own;         /* of kmalloc_create */
	char mt_name[MTYPE_NAME_MAX];      /* (c) */
} QR_ALIGNED(QR_CACHE_LINE);

struct mtype *mtype__register(struct malloc_type *type, const char *who);
struct mtype *mtype__find_charged(struct malloc_type *type, const char *who);

/* NULL for a type that is not registered, and for what is none. */
static inline struct mtype *
mtype__handle(struct malloc_type *type)
{
	return (type == NULL || type->ks_magic != M_MAGIC
		? NULL
		: __atomic_load_n(&type->ks_handle, __ATOMIC_ACQUIRE));
}

/*
 * The record of a type that was given to `who`; NULL and errno: ENOMEM, or
 * EINVAL after a panic about what is no type.
 */
static inline struct mtype *
mtype__of(struct malloc_type *type, const char *who)
{
	struct mtype *mt = mtype__handle(type);

	return (QR_LIKELY(mt != NULL) ? mt : mtype__register(type, who));
}

/*
 * The same for who frees a block of the type.  One that was unregistered stays
 * so, for its object may be about to go.
 */
static inline struct mtype *
mtype__charged(struct malloc_type *type, const char *who)
{
	struct mtype *mt = mtype__handle(type);

	return (QR_LIKELY(mt != NULL) ? mt : mtype__find_charged(type, who));
}

/* Its name, for messages: "?" for what is no type. */
const char *mtype__name(const struct malloc_type *type);

/*
 * A block of this many bytes, if the limit allows; `sizes` is its bit in the
 * statistics, or 0.
 */
bool mtype__charge(struct mtype *mt, uint64_t bytes, uint64_t sizes);
/*
 * A block is no more; the record may be gone afterwards.  False, and nothing is
 * changed, when the type has none of that size.  Holds no lock of a client.
 */
bool mtype__uncharge(struct mtype *mt, uint64_t bytes);
/*
 * Wait until a charge may succeed that did not.  0; ENOMEM when the limit is
 * below it; ETIMEDOUT at the deadline (absolute CLOCK_MONOTONIC, NULL = none).
 */
int mtype__wait(
    struct mtype *mt, uint64_t bytes, const struct timespec *deadline);
/* Is the limit below that, so that no charge of it ever succeeds? */
bool mtype__exceeds(struct mtype *mt, uint64_t bytes);
/*
 * Those above whose requests sleep for something else fill this in, and look at
 * the limit again; NULL when there are none.  Called without a lock.
 */
extern QR_HIDDEN void (*mtype__limit_moved)(void);
/* A request was not served. */
void mtype__failed(struct mtype *mt);

/* The record after the one of this id, 0 for the first; false at the end. */
struct mtype__row {
	uint64_t mr_id;
	bool mr_gone;
	char mr_name[MTYPE_NAME_MAX];
	struct malloc_type_stats mr_stats;
};
bool mtype__next(uint64_t id, struct mtype__row *row);

#endif /* QR_MALLOC_TYPE_IMPL_H */
