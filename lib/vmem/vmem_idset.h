/*
 * vmem_idset.h - theory of sets of identifiers: which of 2^31 are available.
 *
 * A bitmap says with one bit what boundary tags say with a line or two, and
 * finds the next one in a few instructions, but costs as much where there is
 * nothing to say.  So the bitmap here is a tree, and a part of it that is all
 * alike is not there:
 *
 *	level 2      [ . . * . . . 1 ]        64 slots of 2^18 identifiers
 *	                   |
 *	level 1      [ 1 1 * 1 * 1 1 ]        64 slots of 2^12
 *	                   |
 *	level 0      [ 1 0 w w 1 . . ]        64 words of 64
 *
 * Every node has two masks.  A slot whose bit in n_made is clear stands for
 * identifiers that are all available (1) or all not (., outside every span), as
 * its bit in n_avail tells; a whole space is one node per level for each of its
 * ends.  A slot that is made has a node below it, or at level 0 a word, and its
 * bit in n_avail tells whether anything below is available.  That is what a
 * search needs: from x up to the first node with something to the right, and
 * down along what is lowest; each step is a shift and a bit scan, however full
 * the space.  It begins at the leaf where the last one ended, which mostly has
 * the answer too.
 *
 * A node begins with room for four slots, one cache line, and gets room for all
 * 64 with the fifth: identifiers far apart cost a few lines each, about as much
 * as boundary tags would; many close together cost one bit and some
 * hundredths.  It shrinks when three are left, and is dropped when it is all
 * alike; so memory follows what is in use, and nobody chooses.  The root, which
 * everybody passes, has room from the beginning and keeps it.
 *
 * What is in use is always made.  Therefore giving back needs no memory - a word
 * is there for the bit - and cannot fail.  (A full part could be left out as
 * well, but then the first one given back would need a node.)  Shrinking does
 * ask for a record, and is put off if there is none.
 *
 * The leaf that became all alike last is kept until another does, or one
 * identifier taken and given back in turn would make and drop a path each time.
 *
 * Why not an ordered tree of ranges: a free identifier between two used ones
 * costs as much there as a million in a row, and taking and giving one splits
 * and merges.  Why not a flat bitmap with summaries in a sparse mapping: 2^31
 * identifiers are 256 MiB of address space, and one of them is a page.
 *
 * Optionally level 0 has a second word for each, of identifiers at rest: not
 * available, and not in use either (vmem_ids.h).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_IDSET_H
#define QR_VMEM_IDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vmem_idnode;

/* All zero is the empty set. */
struct vmem_idset {
	struct vmem_idnode *s_root;
	unsigned s_level;           /* of the root */
	uint32_t s_next;            /* next fit goes on here */
	struct vmem_idnode *s_near; /* roomy leaf of the one before, or NULL */
	bool s_rests;               /* leaves have room for what is at rest */
	bool s_has_idle;            /* s_idle counts */
	uint32_t s_idle;            /* is in the leaf kept though all alike */
	size_t s_bytes;             /* of all nodes */
};

enum vmem_idstate { VMEM_ID_IS_FREE, VMEM_ID_IS_USED, VMEM_ID_IS_RESTING };

/* Make [first, last], of which nothing was, available.  False: no memory. */
bool vmem__idset_add(struct vmem_idset *s, uint32_t first, uint32_t last);

/* Take the next available one, or the lowest of all: 0, ENOSPC or ENOMEM. */
int vmem__idset_take_next(struct vmem_idset *s, uint32_t *idp);
int vmem__idset_take_least(struct vmem_idset *s, uint32_t *idp);
/* Take all of [first, last], which are in one aligned 64. */
int vmem__idset_take_some(struct vmem_idset *s, uint32_t first, uint32_t last);

/*
 * Give one of those that were added back, or lay it to rest; false when it is
 * not in use.
 */
bool vmem__idset_give(struct vmem_idset *s, uint32_t id);
bool vmem__idset_lay(struct vmem_idset *s, uint32_t id);
/* Make one at rest available. */
void vmem__idset_wake(struct vmem_idset *s, uint32_t id);

/* Is anything available? */
bool vmem__idset_any(const struct vmem_idset *s);

/* State of `first`, and in *lastp how far up to `last` the same goes. */
enum vmem_idstate vmem__idset_run(
    const struct vmem_idset *s, uint32_t first, uint32_t last, uint32_t *lastp);

/* From now on something may rest.  False: no memory. */
bool vmem__idset_may_rest(struct vmem_idset *s);

void vmem__idset_clear(struct vmem_idset *s);

/* Abort unless the invariants hold. */
void vmem__idset_check(const struct vmem_idset *s);

#endif /* QR_VMEM_IDSET_H */
