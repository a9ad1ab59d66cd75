/*
 * id_space.h - identifiers for daemons: labels, ports, table numbers, users.
 *
 * A space hands out integers of one or several ranges between 0 and
 * INT_MAX - 1, one at a time.  It is an arena, so what <quarry/vmem.h> has for
 * looking at arenas - vmem_size, vmem_contains, vmem_walk, vmem_map_write -
 * looks at spaces too; allocating and freeing is done by the functions here.
 *
 * All functions are thread-safe.  Manual page: id_space(3).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QUARRY_ID_SPACE_H
#define QUARRY_ID_SPACE_H

#include <quarry/vmem.h>

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* The C library has it, but not for programs in strict ISO C. */
#ifndef __id_t_defined
#define __id_t_defined
typedef __id_t id_t;
#endif

typedef vmem_t id_space_t; /* opaque */

/*
 * A space of the identifiers low to high - 1.  NULL and ENOMEM when memory is
 * short; a negative low, or one not below high, is fatal.
 */
id_space_t *id_space_create(const char *name, id_t low, id_t high);

/* Destroy; warns when something is still allocated.  Nobody may be waiting. */
void id_space_destroy(id_space_t *space);

/*
 * Add the identifiers low to high - 1; as for id_space_create, and one that the
 * space already has is fatal.  Blocks while memory is short.
 */
void id_space_extend(id_space_t *space, id_t low, id_t high);

/*
 * The lowest free identifier above the last one that these two returned, or if
 * there is none the lowest of all; so what was freed is used again as late as
 * possible.  id_alloc waits until there is one, in turn with all others who
 * wait; _nosleep returns -1, also when memory is short.
 */
id_t id_alloc(id_space_t *space);
id_t id_alloc_nosleep(id_space_t *space);

/* The same for the lowest free identifier. */
id_t id_allocff(id_space_t *space);
id_t id_allocff_nosleep(id_space_t *space);

/*
 * This identifier, or -1 when it is allocated, at rest, or not of this space,
 * or memory is short.  Neither waits.  Where the first two go on is not
 * changed.
 */
id_t id_alloc_specific(id_space_t *space, id_t id);
id_t id_alloc_specific_nosleep(id_space_t *space, id_t id);

/*
 * Free an identifier.  One that is not allocated is fatal.  Needs no memory,
 * but for the cooldown: if there is none to remember when it was freed, waits
 * until one that was freed before has rested long enough.
 */
void id_free(id_space_t *space, id_t id);

/*
 * From now on an identifier that was freed rests: nobody gets it within so many
 * milliseconds, also if that means to get none.  Those at rest already follow
 * the new time; 0, as in the beginning, ends it.  0 or ENOMEM.
 */
int id_space_set_cooldown(id_space_t *space, unsigned int milliseconds);

/*
 * Replace the file by the state of the space, as text: its ranges, cooldown,
 * and what is allocated or rests.  At any moment the file is whole, the old one
 * or the new one; when this returns, the new one is on the disk.  0 or an errno,
 * which a line on stderr explains; then the old file is what it was.  Uses the
 * file of that name with ".new" behind it.  Threads that save a space take
 * turns, and no state replaces a later one.  Permissions stay what they were.
 */
int id_space_save(id_space_t *space, const char *path);

/*
 * A space as it was saved.  What rested rests from the beginning.  NULL and an
 * errno when the file cannot be read, ENOTSUP when a later version of this
 * library wrote it, EBADMSG when it is not exactly what id_space_save wrote; a
 * line on stderr names the line and tells why.
 */
id_space_t *id_space_restore(const char *name, const char *path);

/* inuse + resting are allocated or not yet free again, of total. */
struct id_space_stats {
	size_t total;    /* identifiers of the space */
	size_t inuse;    /* allocated */
	size_t resting;  /* freed, and not to be had yet */
	size_t metadata; /* bytes that describe them */
	uint64_t allocs, frees;
	uint64_t waits; /* calls that had to wait */
	uint64_t fails; /* calls that returned -1 */
};

/* Returns 0. */
int id_space_getstats(id_space_t *space, struct id_space_stats *stats);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* QUARRY_ID_SPACE_H */
