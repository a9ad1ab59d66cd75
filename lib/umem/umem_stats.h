/*
 * umem_stats.h - what every cache and arena holds.
 */
#ifndef QR_UMEM_STATS_H
#define QR_UMEM_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * One cache.  us_inuse + us_cached + us_free == us_total up to what other
 * threads do while it is taken: slabs and depot are read under their locks,
 * one after the other, the CPUs without stopping them.
 */
struct umem_stat {
	char us_name[32];
	uint64_t us_id;     /* of one cache in the life of the process */
	size_t us_size;     /* bytes of an object */
	size_t us_inuse;    /* objects that callers hold */
	size_t us_cached;   /* objects in magazines */
	size_t us_free;     /* objects free in slabs */
	size_t us_memory;   /* bytes of slabs */
	uint64_t us_allocs; /* allocations that no magazine served at once, */
			    /* or all of them under QUARRY_OPTIONS=stats */
	uint64_t us_fails;  /* requests that got nothing */
	size_t us_magazine; /* rounds of the next magazine */
	uint64_t us_depot;  /* full magazines exchanged with the depot */
};

/* The i-th cache, in order of creation; false past the last. */
bool umem__stat_at(size_t i, struct umem_stat *us);

/* Bytes of all kinds, summed over caches and blocks. */
struct umem_totals {
	size_t ut_inuse;  /* callers hold: objects and large blocks */
	size_t ut_cached; /* in magazines */
	size_t ut_free;   /* free in slabs */
	size_t ut_idle;   /* kept by the heap */
	size_t ut_meta;   /* the library's own records and tables */
	size_t ut_mapped; /* obtained from the system for the heap */
	size_t ut_blocks; /* number of objects and blocks in use */
	size_t ut_large;  /* bytes in blocks larger than any class */
	size_t ut_nlarge; /* and their number */
};

void umem__totals(struct umem_totals *ut);

#endif /* QR_UMEM_STATS_H */
