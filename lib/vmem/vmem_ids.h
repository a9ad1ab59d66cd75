/*
 * vmem_ids.h - theory of id_space: arenas that hand out single identifiers.
 *
 * A space is an arena of quantum 1 whose spans have no segments: what of them is
 * allocated is told by a set (vmem_idset.h).  All else is the arena's: its lock,
 * its spans and who overlaps them, its counters, its place in the list; so
 * walks, pictures, statistics and fork know one kind of thing.
 *
 * Who waits is in a queue, and is given an identifier there by whoever brings
 * one; so nobody overtakes.  While anybody waits, nothing is available to
 * others but for want of memory to take it; then the one in front looks again
 * every now and then.
 *
 * With a cooldown a freed identifier is laid to rest: it stays unavailable, and
 * the moment of its freeing goes to the end of another queue.  Whoever comes
 * first takes from the head of that what has rested long enough.  No thread
 * does this by the clock: until somebody wants an identifier nobody misses it,
 * and who waits in front sleeps no longer than the head has to rest.
 *
 * Invariants, whenever vm_lock is free:
 *   S1  every span lies in [0, INT_MAX), and has no segments.
 *   S2  vm_inuse identifiers are in use, i_rest.r_count at rest, the others of
 *       the spans are available.
 *   S3  i_rest names those at rest, in order of their freeing.
 *   S4  while i_waiters is not empty, nothing is available, or memory is short.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_IDS_H
#define QR_VMEM_IDS_H

#include "vmem/vmem_idset.h"
#include "vmem/vmem_impl.h"

#include <limits.h>

enum { VMEM_NS_PER_MS = 1000000 };

/* ---- vmem_idrest.c: all with vm_lock held ---- */

struct vmem_idrest_chunk;

/* A queue of identifiers and of moments that ascend. */
struct vmem_idrest {
	struct vmem_idrest_chunk *r_head; /* is taken from, or NULL */
	struct vmem_idrest_chunk *r_tail; /* is added to */
	unsigned r_out;                   /* next entry of r_head */
	unsigned r_in;                    /* next one of r_tail */
	size_t r_count;
	size_t r_bytes;
};

/* Have room for one more; false: no memory. */
bool vmem__idrest_room(struct vmem_idrest *r);
/* There is room. */
void vmem__idrest_put(struct vmem_idrest *r, uint32_t id, uint64_t now);
/* The moment of the first one, and that one; the queue is not empty. */
uint64_t vmem__idrest_first(const struct vmem_idrest *r, uint32_t *idp);
void vmem__idrest_drop(struct vmem_idrest *r);
void vmem__idrest_clear(struct vmem_idrest *r);

/* ---- vmem_ids.c ---- */

/* All with vm_lock of the arena. */
struct vmem_ids {
	struct vmem_idset i_set;
	uint32_t i_start;    /* of a span that was looked up lately */
	uint32_t i_size;     /* of it; 0: none was */
	uint64_t i_cooldown; /* ns */
	struct vmem_idrest i_rest;
	struct qr_list i_waiters; /* in order of arrival */
	uint64_t i_turns;         /* who saves takes one of these, */
	uint64_t i_turn;          /* and saves when this is his */
	struct qr_cond i_turn_cond;
};

/* An arena for identifiers, without spans yet.  NULL: no memory. */
struct vmem *vmem__ids_create(const char *name);
/* Give back what the arena has for them. */
void vmem__ids_destroy(struct vmem *vmp);

/* vm_lock is held: the span is the arena's now.  False: no memory, it is not. */
bool vmem__ids_add(struct vmem *vmp, uintptr_t start, size_t size);
/* vm_lock is held: some may have become available. */
void vmem__ids_serve(struct vmem *vmp);
/* vm_lock is held: lay one in use to rest.  0, ENOENT or ENOMEM. */
int vmem__ids_lay(struct vmem *vmp, uint32_t id);

/* In the child of fork: nobody waits or saves any more. */
void vmem__ids_fork(struct vmem *vmp);

/* What describes the identifiers, in bytes. */
size_t vmem__ids_bytes(const struct vmem *vmp);

/* S2 and S3, and those of the set; aborts if one is broken. */
void vmem__ids_check(struct vmem *vmp);

#endif /* QR_VMEM_IDS_H */
