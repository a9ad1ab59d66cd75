/*
 * vmem_engines.h - what answers the rows of the vmem benchmark: arenas of a
 * library, and what one would write instead in an afternoon.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef BENCH_VMEM_ENGINES_H
#define BENCH_VMEM_ENGINES_H

#include "harness.h"

enum {
	QUANTUM = 4096,
	QUANTA_MAX = 8, /* of a segment, in the rows */
};

#define BASE ((uintptr_t)1 << 40)

/* A request.  flags are those of vmem_alloc. */
struct want {
	size_t size, align, nocross;
	uintptr_t min, max;
	int flags;
};

static inline bool
want_plain(const struct want *w)
{
	return (w->align == 0 && w->nocross == 0 && w->min == 0 && w->max == 0);
}

/* What an engine answers beside plain requests. */
enum able {
	ABLE_ORDER = 1,  /* first fit, constraints */
	ABLE_BEST = 2,   /* best fit */
	ABLE_NEXT = 4,   /* next fit */
	ABLE_QCACHE = 8, /* quantum caches */
	ABLE_ONLY = 16,  /* and nothing else */
};

struct engine {
	const char *e_name;
	unsigned e_able;
	/* Live segments at most: for plain requests, for others. */
	size_t e_most, e_most_ordered;
	/* An arena of so many quanta at BASE; lib: the library, or NULL. */
	void (*e_create)(const char *lib, size_t quanta, bool qcache);
	/* 0: none.  The first is for requests of a size and flags only. */
	uintptr_t (*e_alloc)(size_t size, int flags);
	uintptr_t (*e_xalloc)(const struct want *want);
	void (*e_free)(uintptr_t addr, size_t size);
	/* Call fn for every free run. */
	void (*e_walk)(void (*fn)(void *arg, void *start, size_t size));
};

/* Any libumem-compatible library; and its object caches alone. */
extern const struct engine engine_lib, engine_cache;
/* Boundary tags: lists by powers of two and a hash; TLSF's lists; no lists. */
extern const struct engine engine_tags, engine_tlsf, engine_list;
/* A bit for each quantum, looked through from the lowest. */
extern const struct engine engine_bitmap;

/*
 * What a long random trace by one policy leaves of the free space, and how long
 * each of many constrained requests takes: one line on standard output.
 */
void vmem_fragmentation(
    const struct engine *e, const char *lib, const char *policy, int flags);
void vmem_tail(const struct engine *e, const char *lib);

#endif /* BENCH_VMEM_ENGINES_H */
