/*
 * umem_stats.c - what every cache and arena holds, for a program.
 */
#include "umem/umem_stats.h"

#include "umem/umem_impl.h"

#include "meta/meta.h"
#include "vmem/vmem_heap.h"

#include <stdatomic.h>
#include <string.h>

_Static_assert(sizeof(((struct umem_stat *)0)->us_name) == UMEM_NAME_MAX,
    "names are copied whole");

static void
cache_stat(struct umem_cache *cp, struct umem_stat *us)
{
	size_t taken, depot;

	memset(us, 0, sizeof(*us));
	memcpy(us->us_name, cp->cache_name, sizeof(us->us_name));
	us->us_id = cp->cache_id;
	us->us_size = cp->cache_bufsize;
	us->us_cached = umem__cpu_rounds(cp);
	us->us_allocs = umem__cpu_misses(cp, PERCPU_POP);
	us->us_magazine = cp->cache_rounds[cp->cache_mag];

	umem__depot_stat(cp, &depot, &us->us_depot);
	us->us_cached += depot;

	qr_mutex_enter(&cp->cache_slab_lock);
	taken = cp->cache_inuse;
	us->us_free = cp->cache_total - taken;
	us->us_memory = cp->cache_nslabs * cp->cache_slabsize;
	us->us_fails = cp->cache_fails;
	qr_mutex_exit(&cp->cache_slab_lock);
	us->us_cached = qr_min(us->us_cached, taken);
	us->us_inuse = taken - us->us_cached;
}

bool
umem__stat_at(size_t i, struct umem_stat *us)
{
	bool found = false;

	qr_mutex_enter(&umem__list_lock);
	QR_LIST_FOREACH (cp, &umem__caches, struct umem_cache, cache_link) {
		if (i-- == 0) {
			cache_stat(cp, us);
			found = true;
			break;
		}
	}
	qr_mutex_exit(&umem__list_lock);
	return (found);
}

void
umem__totals(struct umem_totals *ut)
{
	struct vmem__heap_stat heap;
	struct umem_stat us;
	size_t bytes;

	memset(ut, 0, sizeof(*ut));
	qr_mutex_enter(&umem__list_lock);
	QR_LIST_FOREACH (cp, &umem__caches, struct umem_cache, cache_link) {
		if (cp->cache_source != NULL)
			continue;
		cache_stat(cp, &us);
		ut->ut_inuse += us.us_inuse * cp->cache_chunk;
		ut->ut_cached += us.us_cached * cp->cache_chunk;
		ut->ut_free += us.us_free * cp->cache_chunk;
		ut->ut_blocks += us.us_inuse;
	}
	qr_mutex_exit(&umem__list_lock);
	vmem__heap_stat(&heap);
	ut->ut_large = heap.block_bytes;
	ut->ut_nlarge = heap.blocks;
	ut->ut_inuse += ut->ut_large;
	ut->ut_blocks += ut->ut_nlarge;
	ut->ut_idle = heap.idle_bytes;
	(void)percpu_fronts(&bytes);
	ut->ut_meta = meta_mapped() + bytes;
	ut->ut_mapped = vmem_size(vmem__heap(), VMEM_ALLOC | VMEM_FREE);
}
