/*
 * vmem_idle.c - how much of what was freed is kept, and giving back the rest.
 */
#include "vmem/vmem_shard.h"

#include "base/bits.h"
#include "os/os.h"

#include <string.h>

enum {
	RUN_IDLE_MAX = 16 << 20, /* default cap on idle bytes */
	RUN_IDLE_SHARE = 4,      /* or this part of what is in use */
};

static _Atomic size_t idle_max = RUN_IDLE_MAX; /* of all shards together */
static _Atomic bool watched; /* there will be a purge within a second */
static _Atomic size_t ceiling = SIZE_MAX; /* of what is in use or idle */
/*
 * Bit i: shard i may have more idle bytes than its part of idle_max.  What is read
 * more often than this is written has other cache lines.
 */
static struct {
	_Atomic uint32_t sf_bits;
} QR_ALIGNED(QR_CACHE_LINE) shards_full;
static bool limited; /* idle memory is missed elsewhere; set at start */

void
vmem__runs_init(void)
{
	limited = qr_min(os_address_space_limit(), os_data_limit()) != SIZE_MAX;
	qr_mutex_init(&vmem__shard_at(0)->sd_lock, QR_RANK_HEAP);
}

bool
vmem__heap_limited(void)
{
	return (limited);
}

size_t
vmem__idle_max(void)
{
	return (atomic_load_explicit(&idle_max, memory_order_relaxed));
}

/* ---- the part of each shard ---- */

/* Has it more than that? */
static bool
shard_full(const struct vmem_shard *sd)
{
	return ((vmem__shard_look(&sd->sd_bytes[RUNS_IDLE]) +
		    vmem__shard_look(&sd->sd_leaving)) *
		    vmem__shards_used() +
		vmem__parked_most() >
	    vmem__idle_max());
}

/* Let others know. */
static void
shard_full_note(struct vmem_shard *sd, bool full)
{
	uint32_t bit = (uint32_t)1 << (vmem__shard_at(0) - sd);

	qr_mutex_assert_held(&sd->sd_lock);
	if (((atomic_load(&shards_full.sf_bits) & bit) != 0) == full)
		return;
	if (full)
		atomic_fetch_or(&shards_full.sf_bits, bit);
	else
		atomic_fetch_and(&shards_full.sf_bits, ~bit);
}

void
vmem__idle_divide(void)
{
	for (unsigned i = 0; i < VMEM_SHARDS; i++)
		if (vmem__shard_used(i) && shard_full(vmem__shard_at(i)))
			atomic_fetch_or(&shards_full.sf_bits, (uint32_t)1 << i);
}

/* ---- purging ---- */

/* Take at most `most` bytes, in whole quanta, of the oldest idle run. */
static struct vmem__run *
take_oldest(struct vmem_shard *sd, uint64_t before, size_t most)
{
	struct vmem__run *run, *part = NULL;

	if (qr_list_empty(&sd->sd_ages))
		return (NULL);
	run = QR_LIST_FIRST(&sd->sd_ages, struct vmem__run, rn_age);
	if (run->rn_when >= before)
		return (NULL);
	if (run->rn_size > most)
		part = vmem__run_get(sd);
	if (part != NULL) {
		vmem__run_trim(run, run->rn_size - most, part);
		run = part;
	} else {
		vmem__run_leave(run);
	}
	sd->sd_stat.purged += run->rn_size;
	return (run);
}

void
vmem__run_join_zero(struct vmem__run *run)
{
	bool whole;

	run->rn_zero = true;
	run = vmem__run_join(run);
	whole = run->rn_first && run->rn_last;
	if (whole)
		vmem__run_leave(run);
	qr_mutex_exit(&vmem__shard_of(run)->sd_lock);
	if (whole) {
		vmem__span_free((void *)run->rn_addr, run->rn_size);
		meta_put(&vmem__run_pool, run);
	}
}

/* Purge at most `most` bytes of what was freed before `before`. */
static size_t
purge_oldest(struct vmem_shard *sd, uint64_t before, size_t most)
{
	struct vmem__run *run;
	size_t size;

	qr_mutex_enter(&sd->sd_lock);
	run = take_oldest(sd, before, most);
	qr_mutex_exit(&sd->sd_lock);
	if (run == NULL)
		return (0);
	size = run->rn_size;
	if (!os_purge((void *)run->rn_addr, size))
		memset((void *)run->rn_addr, 0, size);
	qr_mutex_enter(&sd->sd_lock);
	vmem__run_join_zero(run);
	return (size);
}

static size_t
shard_purge(struct vmem_shard *sd, uint64_t before)
{
	size_t total = 0, given;

	qr_mutex_enter(&sd->sd_lock);
	vmem__shard_set(&sd->sd_most_used, sd->sd_stat.used - sd->sd_leaving);
	qr_mutex_exit(&sd->sd_lock);
	while ((given = purge_oldest(sd, before, SIZE_MAX)) != 0)
		total += given;
	qr_mutex_enter(&sd->sd_lock);
	shard_full_note(sd, shard_full(sd));
	qr_mutex_exit(&sd->sd_lock);
	return (total);
}

size_t
vmem__heap_purge(uint64_t before)
{
	size_t total = 0;

	vmem__park_purge(before == UINT64_MAX);
	for (unsigned i = 0; i < VMEM_SHARDS; i++)
		if (vmem__shard_used(i))
			total += shard_purge(vmem__shard_at(i), before);
	if (total != 0)
		vmem__heap_scattered();
	return (total);
}

/*
 * Whole quanta of idle memory beyond what may be kept.  With somebody there to
 * purge it soon, what was in use a moment ago may stay, in the place of what
 * would have to be had from the system again.  What is about to be freed is
 * idle: it must not come on top of that while its successor is filled.  Nor must
 * any of it take the process to the limit on its memory.
 */
static QR_NOINLINE size_t
idle_over_all(void)
{
	size_t in_use = 0, idle = 0, lately = 0, parked, runs;
	size_t most = atomic_load_explicit(&ceiling, memory_order_relaxed);
	size_t keep = vmem__idle_max();

	for (unsigned i = 0; i < VMEM_SHARDS; i++) {
		const struct vmem_shard *sd = vmem__shard_at(i);
		size_t leaving, active;

		if (!vmem__shard_used(i))
			continue;
		leaving = vmem__shard_look(&sd->sd_leaving);
		active = vmem__shard_look(&sd->sd_stat.used) - leaving;
		in_use += active;
		idle += vmem__shard_look(&sd->sd_bytes[RUNS_IDLE]) + leaving;
		lately += qr_max(vmem__shard_look(&sd->sd_most_used), active) -
		    active;
	}
	if (!atomic_load_explicit(&watched, memory_order_relaxed))
		lately = 0;
	if (keep != 0)
		keep = qr_max(keep, in_use / RUN_IDLE_SHARE + lately);
	keep = qr_min(keep, most - qr_min(in_use, most));
	if (idle + vmem__parked_most() <= keep)
		return (0);
	parked = vmem__parked(&runs);
	return (idle + parked <= keep
		? 0
		: qr_roundup(idle + parked - keep, vmem__heap_quantum));
}

/*
 * The same, for who has one shard.  What others have, and what waits, is in cache
 * lines of other CPUs: as long as none has more than its part, and the heap cannot
 * come to the limit, that is not looked at.
 */
size_t
vmem__idle_over(struct vmem_shard *sd)
{
	size_t most = atomic_load_explicit(&ceiling, memory_order_relaxed);
	bool full = shard_full(sd);

	qr_mutex_assert_held(&sd->sd_lock);
	if (!full &&
	    atomic_load_explicit(&shards_full.sf_bits, memory_order_relaxed) ==
		0 &&
	    (most == SIZE_MAX ||
		vmem_size(vmem__heap(), VMEM_ALLOC | VMEM_FREE) <= most))
		return (0);
	shard_full_note(sd, full);
	return (idle_over_all());
}

/* Purge that much, if there is as much. */
static size_t
purge_some(struct vmem_shard *sd, size_t over)
{
	size_t total = 0, given;

	while (total < over &&
	    (given = purge_oldest(sd, UINT64_MAX, over - total)) != 0)
		total += given;
	return (qr_min(total, over));
}

void
vmem__purge_over(struct vmem_shard *sd, size_t over)
{
	if (QR_LIKELY(over == 0))
		return;
	over -= purge_some(sd, over);
	for (unsigned i = 0; i < VMEM_SHARDS && over > 0; i++)
		if (vmem__shard_used(i))
			over -= purge_some(vmem__shard_at(i), over);
}

/* ---- settings ---- */

void
vmem__heap_set_idle_max(size_t bytes)
{
	atomic_store_explicit(&idle_max, bytes, memory_order_relaxed);
	vmem__park_set_idle_max(bytes);
	vmem__idle_divide();
}

void
vmem__heap_set_limit(size_t bytes)
{
	atomic_store_explicit(
	    &ceiling, bytes - bytes / 8, memory_order_relaxed);
}

void
vmem__heap_watch(bool on)
{
	atomic_store_explicit(&watched, on && !limited, memory_order_relaxed);
	vmem__purge_over(vmem__shard_at(vmem__shard_for(0)), idle_over_all());
}

void
vmem__heap_unwatched(void)
{
	atomic_store_explicit(&watched, false, memory_order_relaxed);
}
