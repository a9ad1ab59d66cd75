/*
 * vmem_run.c - runs of quanta: found, split, joined, grown and purged.
 */
#include "vmem/vmem_heap.h"

#include "base/bits.h"
#include "base/panic.h"
#include "meta/meta.h"
#include "meta/pagemap.h"
#include "os/os.h"
#include "os/os_lock.h"
#include "os/percpu.h"

#include <stdatomic.h>
#include <string.h>

enum {
	RUN_BINS = 8 * 50, /* eight sizes to a doubling, of any size */
	RUN_WORDS = (RUN_BINS + 63) / 64,
	RUN_TRIES = 16,          /* runs looked at before a sure bin */
	RUN_STEPS = 4,           /* free ones looked at on each side of one */
	RUN_IDLE_MAX = 16 << 20, /* default cap on idle bytes */
	RUN_IDLE_SHARE = 4,      /* or this part of what is in use */
	/* What free() finds in the page map for a free run: a slot that misses. */
	RUN_MARK = PERCPU_FREE_SLOT * sizeof(struct percpu_slot),
	SHARDS = 8,           /* CPUs share them where there are more */
	SHARED_MIN = 4 << 20, /* and all CPUs one for what is larger */
};

/* Free runs of a shard are all of one kind or the other. */
enum { IDLE, ZERO, KINDS };

/*
 * The runs of some spans, which the CPU that had the spans made looks at first.
 *
 * Invariants, whenever sd_lock is free:
 *   R0  a run is whole quanta, and all of a span are of one shard.
 *   R1  a free run is on the list of its size, IDLE or ZERO as rn_zero says; an
 *       idle one also on sd_ages.
 *   R2  sd_bytes is the sum of the sizes on the lists.
 *   R3  the words of the first and last page of a free run, and no others, lead
 *       to it, with RUN_MARK.
 *   R4  no two neighbours in a span are free and equal in rn_zero.
 *   R5  no zero run is a whole span.
 *   R6  a thread that finds more idle bytes than there may be has begun to
 *       purge the oldest.
 * Locking: (h) sd_lock, held for list work only.
 */
struct shard {
	/* (h) By size from the end downwards: latest first; 0 if never used. */
	struct qr_list sd_bin[RUN_BINS][KINDS];
	uint64_t sd_some[KINDS][RUN_WORDS]; /* (h) bit set: it is not empty */
	size_t sd_bytes[KINDS];             /* (h) others may have a look */
	struct qr_mutex sd_lock;
	struct qr_list sd_ages;         /* (h) idle runs, oldest first */
	struct vmem__heap_stat sd_stat; /* (h) but idle_bytes */
	size_t sd_leaving; /* (h) of sd_stat.used: of runs that are */
	/* (h) of what is not, since the last purge */
	size_t sd_most_used;
} QR_ALIGNED(QR_CACHE_LINE);

static struct shard shards[SHARDS]; /* from the end downwards */
static _Atomic uint32_t used;       /* bit i: shard i has been used */
static _Atomic unsigned nused;      /* bits of that */
static _Atomic size_t idle_max = RUN_IDLE_MAX; /* of all shards together */
static _Atomic bool watched; /* there will be a purge within a second */
static _Atomic size_t ceiling = SIZE_MAX; /* of what is in use or idle */
static bool limited; /* idle memory is missed elsewhere; set at start */
static struct meta_pool run_pool =
    META_POOL_INIT("heap_run", sizeof(struct vmem__run));

/* ---- shards ---- */

static struct shard *
shard_at(unsigned i)
{
	return (&shards[SHARDS - 1 - i]);
}

/* Numbers of a shard change under its lock; who wants a sum of all looks at them. */
static size_t
look(const size_t *n)
{
	return (__atomic_load_n(n, __ATOMIC_RELAXED));
}

static void
set(size_t *n, size_t value)
{
	__atomic_store_n(n, value, __ATOMIC_RELAXED);
}

static struct shard *
shard_of(const struct vmem__run *run)
{
	return (shard_at(run->rn_shard));
}

static bool
shard_used(unsigned i)
{
	return (
	    (atomic_load_explicit(&used, memory_order_acquire) >> i & 1) != 0);
}

static unsigned
shards_used(void)
{
	return (atomic_load_explicit(&nused, memory_order_relaxed));
}

/* A new one may not come while all others are locked. */
static QR_NOINLINE void
shard_begin(unsigned i)
{
	struct shard *sd = shard_at(i);

	qr_mutex_enter(&shard_at(0)->sd_lock);
	if (!shard_used(i)) {
		qr_list_init(&sd->sd_ages);
		if (i != 0)
			qr_mutex_init(&sd->sd_lock, QR_RANK_HEAP);
		atomic_fetch_add(&nused, 1);
		atomic_fetch_or_explicit(
		    &used, (uint32_t)1 << i, memory_order_release);
	}
	qr_mutex_exit(&shard_at(0)->sd_lock);
}

/*
 * That of this CPU; what is large is all in one.  Who writes to all of it spends no
 * time to speak of at a lock, and has use for idle memory that is in one piece.
 */
static unsigned
shard_for(size_t size)
{
	unsigned i = size > SHARED_MIN ? 0 : percpu_cpu() % SHARDS;

	if (QR_UNLIKELY(!shard_used(i)))
		shard_begin(i);
	return (i);
}

void
vmem__runs_init(void)
{
	limited = qr_min(os_address_space_limit(), os_data_limit()) != SIZE_MAX;
	qr_mutex_init(&shard_at(0)->sd_lock, QR_RANK_HEAP);
}

/* ---- the lists and the page map ---- */

static struct qr_list *
bin_at(struct shard *sd, int kind, unsigned b)
{
	return (&sd->sd_bin[RUN_BINS - 1 - b][kind]);
}

/* The list for a run of `size`; what is larger never goes to an earlier one. */
static unsigned
bin_of(size_t size)
{
	size_t n = size / vmem__heap_quantum();
	unsigned top = qr_log2(n);

	if (top < 3)
		return ((unsigned)n);
	return (top * 8 + (unsigned)(n >> (top - 3) & 7));
}

/* The first list from b on that is not empty, or RUN_BINS. */
static unsigned
bin_next(const struct shard *sd, int kind, unsigned b)
{
	for (unsigned w = b / 64; w < RUN_WORDS; w++, b = w * 64) {
		uint64_t some =
		    sd->sd_some[kind][w] & (~(uint64_t)0 << (b % 64));

		if (some != 0)
			return (w * 64 + qr_ctz(some));
	}
	return (RUN_BINS);
}

static bool
bin_some(const struct shard *sd, int kind, unsigned b)
{
	return ((sd->sd_some[kind][b / 64] >> (b % 64) & 1) != 0);
}

/* The last list before b that is not empty, or RUN_BINS. */
static unsigned
bin_before(const struct shard *sd, int kind, unsigned b)
{
	while (b-- > 0) {
		uint64_t some =
		    sd->sd_some[kind][b / 64] & (~(uint64_t)0 >> (63 - b % 64));

		b = b / 64 * 64;
		if (some != 0)
			return (b + qr_log2(some));
	}
	return (RUN_BINS);
}

static void
mark(const struct vmem__run *run, uint64_t word)
{
	pagemap_set((void *)run->rn_addr, PAGEMAP_PAGE, word);
	pagemap_set((void *)(run->rn_addr + run->rn_size - PAGEMAP_PAGE),
	    PAGEMAP_PAGE, word);
}

/* Make a run free; an idle one takes its age from its place, after `age`. */
static void
enter(struct vmem__run *run, struct qr_list *age)
{
	struct shard *sd = shard_of(run);
	int kind = run->rn_zero ? ZERO : IDLE;
	unsigned b = bin_of(run->rn_size);

	qr_mutex_assert_held(&sd->sd_lock);
	run->rn_kind = HEAP_FREE;
	if (!bin_some(sd, kind, b))
		qr_list_init(bin_at(sd, kind, b));
	qr_list_push_front(bin_at(sd, kind, b), &run->rn_bin);
	sd->sd_some[kind][b / 64] |= (uint64_t)1 << (b % 64);
	set(&sd->sd_bytes[kind], sd->sd_bytes[kind] + run->rn_size);
	if (!run->rn_zero)
		qr_list_insert_after(age, &run->rn_age);
	mark(run, pagemap_word(run, RUN_MARK));
}

static void
leave(struct vmem__run *run)
{
	struct shard *sd = shard_of(run);
	int kind = run->rn_zero ? ZERO : IDLE;
	unsigned b = bin_of(run->rn_size);

	qr_mutex_assert_held(&sd->sd_lock);
	mark(run, 0);
	if (!run->rn_zero)
		qr_list_remove(&run->rn_age);
	set(&sd->sd_bytes[kind], sd->sd_bytes[kind] - run->rn_size);
	qr_list_remove(&run->rn_bin);
	if (qr_list_empty(bin_at(sd, kind, b)))
		sd->sd_some[kind][b / 64] &= ~((uint64_t)1 << (b % 64));
}

/* The free run that the page at addr is an end of, or NULL. */
static struct vmem__run *
free_at(uintptr_t addr)
{
	uint64_t word = pagemap_get((const void *)addr);

	return (
	    (word & UINT16_MAX) == RUN_MARK ? pagemap_descriptor(word) : NULL);
}

static struct vmem__run *
free_before(const struct vmem__run *run)
{
	return (run->rn_first ? NULL : free_at(run->rn_addr - PAGEMAP_PAGE));
}

static struct vmem__run *
free_behind(const struct vmem__run *run)
{
	return (run->rn_last ? NULL : free_at(run->rn_addr + run->rn_size));
}

/* ---- splitting and joining ---- */

/* Move what lies beyond `size` bytes of the run into `rest`. */
static void
split(struct vmem__run *run, size_t size, struct vmem__run *rest)
{
	rest->rn_addr = run->rn_addr + size;
	rest->rn_size = run->rn_size - size;
	rest->rn_first = false;
	rest->rn_last = run->rn_last;
	rest->rn_zero = run->rn_zero;
	rest->rn_shard = run->rn_shard;
	rest->rn_when = run->rn_when;
	run->rn_size = size;
	run->rn_last = false;
}

/* `run`, on no list, becomes free, and one with its neighbours. */
static void
join(struct vmem__run *run)
{
	struct qr_list *ages = &shard_of(run)->sd_ages;
	struct qr_list *age = run->rn_when == 0 ? ages : ages->prev;
	struct vmem__run *with[2] = {free_before(run), free_behind(run)};
	size_t largest = run->rn_size;

	for (unsigned i = 0; i < 2; i++) {
		struct vmem__run *other = with[i];

		if (other == NULL || other->rn_zero != run->rn_zero)
			continue;
		/* As old as the largest piece, and in its place. */
		if (other->rn_size >= largest && !run->rn_zero) {
			largest = other->rn_size;
			run->rn_when = other->rn_when;
			age = other->rn_age.prev;
		}
		if (age == &other->rn_age)
			age = age->prev;
		leave(other);
		if (i == 0) {
			run->rn_addr = other->rn_addr;
			run->rn_first = other->rn_first;
		} else {
			run->rn_last = other->rn_last;
		}
		run->rn_size += other->rn_size;
		meta_put(&run_pool, other);
	}
	enter(run, age);
}

/* ---- finding one ---- */

/* From `skip` bytes into a free run on, into those behind it perhaps. */
struct place {
	struct vmem__run *pl_run; /* NULL: none */
	size_t pl_skip;
	size_t pl_idle; /* bytes of it that are idle, where that is counted */
};

static struct place
place_in(struct vmem__run *run, size_t align)
{
	return ((struct place){run, qr_nphase(run->rn_addr, align), 0});
}

/* Is there room for `size` bytes at a multiple of `align`? */
static bool
fits(const struct vmem__run *run, size_t size, size_t align)
{
	size_t skip = qr_nphase(run->rn_addr, align);

	return (skip < run->rn_size && run->rn_size - skip >= size);
}

/* A run with room, of about the least size that has it; or NULL. */
static struct vmem__run *
find(struct shard *sd, int kind, size_t size, size_t align)
{
	unsigned tries = RUN_TRIES, b;

	for (b = bin_next(sd, kind, bin_of(size)); b < RUN_BINS && tries > 0;
	     b = bin_next(sd, kind, b + 1)) {
		QR_LIST_FOREACH (
		    run, bin_at(sd, kind, b), struct vmem__run, rn_bin) {
			if (fits(run, size, align))
				return (run);
			if (--tries == 0)
				break;
		}
	}
	/* Whatever the address, the runs from here on have room. */
	b = bin_next(sd, kind, bin_of(size + align - vmem__heap_quantum()) + 1);
	return (b == RUN_BINS
		? NULL
		: QR_LIST_FIRST(bin_at(sd, kind, b), struct vmem__run, rn_bin));
}

/*
 * Take `size` bytes behind the first `skip` out of a free run that has room for
 * them.  The rest stays free; without a record for it, it stays with the run.
 * NULL when a piece in front would need a record that is not to be had.
 */
static struct vmem__run *
carve(struct vmem__run *run, size_t skip, size_t size)
{
	struct qr_list *age = run->rn_age.prev;
	struct vmem__run *part;

	if (skip != 0) {
		part = meta_get(&run_pool);
		if (part == NULL)
			return (NULL);
		leave(run);
		split(run, skip, part);
		enter(run, age);
		age = &run->rn_age;
		run = part;
	} else {
		leave(run);
	}
	if (run->rn_size > size && (part = meta_get(&run_pool)) != NULL) {
		split(run, size, part);
		enter(part, age);
	}
	return (run);
}

/* ---- runs in use ---- */

static void
most_used_grow(struct shard *sd)
{
	set(&sd->sd_most_used,
	    qr_max(sd->sd_most_used, sd->sd_stat.used - sd->sd_leaving));
}

/* `bytes` more are in use, of n more runs like this one. */
static void
count(const struct vmem__run *run, size_t n, size_t bytes)
{
	struct shard *sd = shard_of(run);
	struct vmem__heap_stat *st = &sd->sd_stat;

	qr_mutex_assert_held(&sd->sd_lock);
	set(&st->used, st->used + bytes);
	most_used_grow(sd);
	if (run->rn_kind == HEAP_BLOCK) {
		st->blocks += n;
		st->block_bytes += bytes;
	}
}

/* Take the first `more` bytes behind a run; false unless all are free. */
static bool
grow(struct vmem__run *run, size_t more)
{
	size_t have = 0;

	for (struct vmem__run *next = free_behind(run);
	     next != NULL && have < more; next = free_behind(next))
		have += next->rn_size;
	if (have < more)
		return (false);
	count(run, 0, more);
	while (more > 0) {
		struct vmem__run *next = free_behind(run);
		struct qr_list *age = next->rn_age.prev;
		size_t part = qr_min(more, next->rn_size);

		leave(next);
		next->rn_addr += part;
		next->rn_size -= part;
		run->rn_size += part;
		more -= part;
		if (next->rn_size != 0) {
			enter(next, age);
		} else {
			run->rn_last = next->rn_last;
			meta_put(&run_pool, next);
		}
	}
	return (true);
}

/* Take a place, all of which is free. */
static struct vmem__run *
take_from(struct place place, enum vmem__heap_kind kind, size_t size)
{
	struct vmem__run *run = place.pl_run;

	run = carve(
	    run, place.pl_skip, qr_min(size, run->rn_size - place.pl_skip));
	if (run == NULL)
		return (NULL);
	run->rn_kind = kind;
	run->rn_asked = size;
	count(run, 1, run->rn_size);
	if (run->rn_size < size)
		(void)grow(run, size - run->rn_size);
	pagemap_set((void *)run->rn_addr, PAGEMAP_PAGE, pagemap_word(run, 0));
	return (run);
}

/* The furthest free run one gets to from `run` in a few steps. */
static struct vmem__run *
beside(
    struct vmem__run *run, struct vmem__run *(*step)(const struct vmem__run *))
{
	for (unsigned i = 0; i < RUN_STEPS && step(run) != NULL; i++)
		run = step(run);
	return (run);
}

/* The run with the most room, or nearly so, if it has that much; or NULL. */
static struct vmem__run *
find_widest(struct shard *sd, int kind, size_t size, size_t align)
{
	unsigned b = bin_before(sd, kind, RUN_BINS);
	struct vmem__run *run;

	if (b == RUN_BINS)
		return (NULL);
	run = QR_LIST_FIRST(bin_at(sd, kind, b), struct vmem__run, rn_bin);
	return (fits(run, size, align) ? run : NULL);
}

/*
 * `best`, or [addr, addr + size) if that is free from `run` on, which is not
 * behind it, and has more in it that is idle.
 */
static struct place
better(struct place best, struct vmem__run *run, uintptr_t addr, size_t size)
{
	struct place place = {.pl_idle = 0};
	uintptr_t end = addr + size, to = 0;

	for (; run != NULL && to < end; run = free_behind(run)) {
		uintptr_t from = qr_max(run->rn_addr, addr);

		to = qr_min(run->rn_addr + run->rn_size, end);
		if (to <= addr)
			continue;
		if (place.pl_run == NULL) {
			place.pl_run = run;
			place.pl_skip = addr - run->rn_addr;
		}
		place.pl_idle += run->rn_zero ? 0 : to - from;
	}
	return (to == end && place.pl_idle > best.pl_idle ? place : best);
}

/*
 * Of the places that begin with one of the longest idle runs, too short though
 * they are, or in front of it as far as they must, the one that has the most
 * idle memory in it.  One that ends with an idle run has no more.
 */
static struct place
find_around(struct shard *sd, size_t size, size_t align)
{
	struct place best = {.pl_idle = 0};
	unsigned tries = RUN_TRIES;

	for (unsigned b = bin_before(sd, IDLE, bin_of(size) + 1); b < RUN_BINS;
	     b = bin_before(sd, IDLE, b)) {
		QR_LIST_FOREACH (
		    run, bin_at(sd, IDLE, b), struct vmem__run, rn_bin) {
			struct vmem__run *first = beside(run, free_before);
			struct vmem__run *last = beside(run, free_behind);
			uintptr_t from = qr_roundup(first->rn_addr, align);
			uintptr_t to = last->rn_addr + last->rn_size;

			if (from < to && to - from >= size) {
				to = qr_min(run->rn_addr, to - size);
				best = better(best, first,
				    qr_max(from, qr_rounddown(to, align)),
				    size);
			}
			if (--tries == 0)
				return (best);
		}
	}
	return (best);
}

/* ---- giving memory back ---- */

/* Take at most `most` bytes, in whole quanta, of the oldest idle run. */
static struct vmem__run *
take_oldest(struct shard *sd, uint64_t before, size_t most)
{
	struct vmem__run *run, *part = NULL;
	struct qr_list *age;

	if (qr_list_empty(&sd->sd_ages))
		return (NULL);
	run = QR_LIST_FIRST(&sd->sd_ages, struct vmem__run, rn_age);
	if (run->rn_when >= before)
		return (NULL);
	if (run->rn_size > most)
		part = meta_get(&run_pool);
	age = run->rn_age.prev;
	leave(run);
	if (part != NULL) {
		split(run, run->rn_size - most, part);
		enter(run, age);
		run = part;
	}
	sd->sd_stat.purged += run->rn_size;
	return (run);
}

/* A run that reads as zero, on no list, is free; lets go of its shard. */
static void
join_zero_and_leave(struct vmem__run *run)
{
	bool whole;

	run->rn_zero = true;
	join(run);
	whole = run->rn_first && run->rn_last;
	if (whole)
		leave(run);
	qr_mutex_exit(&shard_of(run)->sd_lock);
	if (whole) {
		vmem__span_free((void *)run->rn_addr, run->rn_size);
		meta_put(&run_pool, run);
	}
}

/* Purge at most `most` bytes of what was freed before `before`. */
static size_t
purge_oldest(struct shard *sd, uint64_t before, size_t most)
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
	join_zero_and_leave(run);
	return (size);
}

static size_t
shard_purge(struct shard *sd, uint64_t before)
{
	size_t total = 0, given;

	qr_mutex_enter(&sd->sd_lock);
	set(&sd->sd_most_used, sd->sd_stat.used - sd->sd_leaving);
	qr_mutex_exit(&sd->sd_lock);
	while ((given = purge_oldest(sd, before, SIZE_MAX)) != 0)
		total += given;
	return (total);
}

size_t
vmem__heap_purge(uint64_t before)
{
	size_t total = 0;

	vmem__park_purge(before == UINT64_MAX);
	for (unsigned i = 0; i < SHARDS; i++)
		if (shard_used(i))
			total += shard_purge(shard_at(i), before);
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
	size_t keep = atomic_load_explicit(&idle_max, memory_order_relaxed);

	for (unsigned i = 0; i < SHARDS; i++) {
		const struct shard *sd = shard_at(i);
		size_t leaving, active;

		if (!shard_used(i))
			continue;
		leaving = look(&sd->sd_leaving);
		active = look(&sd->sd_stat.used) - leaving;
		in_use += active;
		idle += look(&sd->sd_bytes[IDLE]) + leaving;
		lately += qr_max(look(&sd->sd_most_used), active) - active;
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
		: qr_roundup(idle + parked - keep, vmem__heap_quantum()));
}

/*
 * The same, for who has one shard.  What others have, and what waits, is in cache
 * lines of other CPUs: as long as it has no more than its part, and the heap cannot
 * come to the limit, that is not looked at.
 */
static size_t
idle_over(struct shard *sd)
{
	size_t part = atomic_load_explicit(&idle_max, memory_order_relaxed);

	qr_mutex_assert_held(&sd->sd_lock);
	if ((sd->sd_bytes[IDLE] + sd->sd_leaving) * shards_used() +
		    vmem__parked_most() <=
		part &&
	    vmem_size(vmem__heap(), VMEM_ALLOC | VMEM_FREE) <=
		atomic_load_explicit(&ceiling, memory_order_relaxed))
		return (0);
	return (idle_over_all());
}

/* Purge that much, if there is as much. */
static size_t
purge_some(struct shard *sd, size_t over)
{
	size_t total = 0, given;

	while (total < over &&
	    (given = purge_oldest(sd, UINT64_MAX, over - total)) != 0)
		total += given;
	return (qr_min(total, over));
}

/* The oldest of this shard first. */
static void
purge_over(struct shard *sd, size_t over)
{
	if (QR_LIKELY(over == 0))
		return;
	over -= purge_some(sd, over);
	for (unsigned i = 0; i < SHARDS && over > 0; i++)
		if (shard_used(i))
			over -= purge_some(shard_at(i), over);
}

/* ---- taking it ---- */

/*
 * Take a place, if there is one, and let go of the shard.  What is about to be
 * touched for the first time comes out of what is idle.
 */
static struct vmem__run *
take_and_leave(struct shard *sd, struct place place, enum vmem__heap_kind kind,
    size_t size)
{
	struct vmem__run *run =
	    place.pl_run == NULL ? NULL : take_from(place, kind, size);
	size_t over = 0;

	if (run != NULL && (run->rn_zero || place.pl_idle != 0))
		over = idle_over(sd);
	qr_mutex_exit(&sd->sd_lock);
	purge_over(sd, over);
	return (run);
}

/* A request, as vmem__run_alloc() has it. */
struct want {
	enum vmem__heap_kind w_kind;
	size_t w_size;
	size_t w_align;
	size_t w_room;
	bool w_mixed; /* it may be partly idle and partly zero */
};

/* From a new span, which nobody else can have emptied before. */
static struct vmem__run *
take_new(unsigned i, const struct want *w)
{
	struct vmem__run *span = meta_get(&run_pool);
	struct shard *sd = shard_at(i);
	void *addr;

	if (span == NULL)
		return (NULL);
	addr =
	    vmem__span_alloc(w->w_size + w->w_room, w->w_align, &span->rn_size);
	if (addr == NULL) {
		meta_put(&run_pool, span);
		return (NULL);
	}
	span->rn_addr = (uintptr_t)addr;
	span->rn_first = span->rn_last = span->rn_zero = true;
	span->rn_shard = (uint8_t)i;
	qr_mutex_enter(&sd->sd_lock);
	enter(span, NULL);
	return (take_and_leave(
	    sd, place_in(span, w->w_align), w->w_kind, w->w_size));
}

/* Where in a shard there may be a place: these, in this order. */
enum {
	IN_IDLE = 1, /* memory that is idle */
	IN_BOTH = 2, /* idle and zero side by side */
	IN_ZERO = 4,
};

/* What is idle, if that is of use: to clear a lot touches what nobody did. */
static struct vmem__run *
find_idle(struct shard *sd, const struct want *w)
{
	if (!w->w_mixed &&
	    w->w_size > atomic_load_explicit(&idle_max, memory_order_relaxed))
		return (NULL);
	return (w->w_room == 0
		? find(sd, IDLE, w->w_size, w->w_align)
		: find_widest(sd, IDLE, w->w_size + w->w_room, w->w_align));
}

static struct vmem__run *
take_in(struct shard *sd, const struct want *w, int where)
{
	struct place place = {.pl_run = NULL};
	struct vmem__run *run = NULL;

	qr_mutex_enter(&sd->sd_lock);
	if ((where & IN_IDLE) != 0)
		run = find_idle(sd, w);
	if (run == NULL && (where & IN_BOTH) != 0 && w->w_room == 0 &&
	    w->w_mixed)
		place = find_around(sd, w->w_size, w->w_align);
	if (run == NULL && place.pl_run == NULL && (where & IN_ZERO) != 0)
		run = find(sd, ZERO, w->w_size + w->w_room, w->w_align);
	if (run != NULL)
		place = place_in(run, w->w_align);
	return (take_and_leave(sd, place, w->w_kind, w->w_size));
}

/* From the shards of other CPUs, if they have that much. */
static struct vmem__run *
take_elsewhere(unsigned here, const struct want *w, int kind)
{
	struct vmem__run *run = NULL;

	for (unsigned i = 0; i < SHARDS && run == NULL; i++) {
		struct shard *sd = shard_at(i);

		if (i != here && shard_used(i) &&
		    look(&sd->sd_bytes[kind]) >= w->w_size)
			run = take_in(sd, w, kind == IDLE ? IN_IDLE : IN_ZERO);
	}
	return (run);
}

/*
 * Idle memory first, wherever it is; of zero memory each CPU has its own, which
 * costs nothing but addresses, so that it meets others at a lock as seldom as can
 * be.  Who has to spare addresses does so.
 */
static struct vmem__run *
take(const struct want *w)
{
	unsigned here = shard_for(w->w_size);
	struct shard *own = shard_at(here);
	struct vmem__run *run;

	if (shards_used() == 1) {
		run = take_in(own, w, IN_IDLE | IN_BOTH | IN_ZERO);
		return (run != NULL ? run : take_new(here, w));
	}
	run = take_in(own, w, IN_IDLE | IN_BOTH);
	if (run == NULL)
		run = take_elsewhere(here, w, IDLE);
	if (run == NULL)
		run = take_in(own, w, IN_ZERO);
	if (run == NULL && !limited)
		run = take_new(here, w);
	if (run == NULL)
		run = take_elsewhere(here, w, ZERO);
	return (run != NULL || !limited ? run : take_new(here, w));
}

void
vmem__heap_watch(bool on)
{
	atomic_store_explicit(&watched, on && !limited, memory_order_relaxed);
	purge_over(shard_at(shard_for(0)), idle_over_all());
}

struct vmem__run *
vmem__run_alloc(enum vmem__heap_kind kind, size_t size, size_t align,
    size_t room, bool *zeroed)
{
	struct want w = {kind, size, align, room, zeroed == NULL};
	struct vmem__run *run;

	if (size > PTRDIFF_MAX / 4 || align > PTRDIFF_MAX / 4)
		return (NULL);
	w.w_room =
	    qr_roundup(qr_min(room, PTRDIFF_MAX / 4), vmem__heap_quantum());
	run = take(&w);
	if (run == NULL && w.w_room != 0) {
		w.w_room = 0;
		run = take(&w);
	}
	if (run == NULL && vmem__heap_purge(UINT64_MAX) != 0)
		run = take(&w);
	if (run == NULL) {
		vmem__reap_heap();
		(void)vmem__heap_purge(UINT64_MAX);
		run = take(&w);
	}
	if (run != NULL && zeroed != NULL)
		*zeroed = run->rn_zero;
	return (run);
}

static void
leaving_add(struct shard *sd, size_t more)
{
	set(&sd->sd_leaving, sd->sd_leaving + more);
}

void
vmem__run_leaving(struct vmem__run *run, bool on)
{
	struct shard *sd = shard_of(run);

	qr_mutex_enter(&sd->sd_lock);
	run->rn_leaving = on;
	leaving_add(sd, on ? run->rn_size : 0 - run->rn_size);
	most_used_grow(sd);
	qr_mutex_exit(&sd->sd_lock);
}

/* `run` has no owner any more. */
static void
disown(struct vmem__run *run)
{
	if (run->rn_leaving)
		leaving_add(shard_of(run), 0 - run->rn_size);
	run->rn_leaving = false;
	count(run, 0, 0 - run->rn_size);
}

/* Nor is it of use: it is idle, since `when`. */
static void
retire(struct vmem__run *run, uint64_t when)
{
	disown(run);
	run->rn_zero = false;
	run->rn_when = when;
	join(run);
}

static void
give(struct vmem__run *run, uint64_t when)
{
	struct shard *sd = shard_of(run);
	size_t over;

	pagemap_set((void *)run->rn_addr, PAGEMAP_PAGE, 0);
	qr_mutex_enter(&sd->sd_lock);
	count(run, (size_t)0 - 1, 0);
	retire(run, when);
	over = idle_over(sd);
	qr_mutex_exit(&sd->sd_lock);
	purge_over(sd, over);
}

void
vmem__run_free(struct vmem__run *run)
{
	give(run, os_now_coarse());
}

void
vmem__run_free_aged(struct vmem__run *run)
{
	give(run, 0);
}

void
vmem__run_free_zero(struct vmem__run *run)
{
	pagemap_set((void *)run->rn_addr, PAGEMAP_PAGE, 0);
	qr_mutex_enter(&shard_of(run)->sd_lock);
	count(run, (size_t)0 - 1, 0);
	disown(run);
	join_zero_and_leave(run);
}

static bool
shrink(struct vmem__run *run, size_t size, uint64_t now)
{
	struct vmem__run *rest = meta_get(&run_pool);

	if (rest == NULL)
		return (false);
	split(run, size, rest);
	rest->rn_kind = run->rn_kind;
	retire(rest, now);
	return (true);
}

bool
vmem__run_resize(struct vmem__run *run, size_t size)
{
	struct shard *sd = shard_of(run);
	uint64_t now = os_now_coarse();
	bool done = true;
	size_t over;

	qr_mutex_enter(&sd->sd_lock);
	if (size > run->rn_size)
		done = grow(run, size - run->rn_size);
	else if (size < run->rn_size)
		done = shrink(run, size, now);
	over = idle_over(sd);
	qr_mutex_exit(&sd->sd_lock);
	purge_over(sd, over);
	return (done);
}

struct vmem__run *
vmem__run_find(enum vmem__heap_kind kind, const void *addr)
{
	struct vmem__run *run = pagemap_descriptor(pagemap_get(addr));

	return (run != NULL && run->rn_kind == kind &&
		    run->rn_addr == (uintptr_t)addr
		? run
		: NULL);
}

void *
vmem__heap_alloc(size_t size, size_t align)
{
	struct vmem__run *run =
	    vmem__run_alloc(HEAP_LENT, size, align, 0, NULL);

	return (run == NULL ? NULL : (void *)run->rn_addr);
}

void
vmem__heap_free(void *addr)
{
	struct vmem__run *run = vmem__run_find(HEAP_LENT, addr);

	QR_VERIFY(run != NULL);
	vmem__run_free(run);
}

/* ---- settings, statistics, fork ---- */

void
vmem__heap_set_idle_max(size_t bytes)
{
	atomic_store_explicit(&idle_max, bytes, memory_order_relaxed);
	vmem__park_set_idle_max(bytes);
}

void
vmem__heap_set_limit(size_t bytes)
{
	atomic_store_explicit(
	    &ceiling, bytes - bytes / 8, memory_order_relaxed);
}

void
vmem__heap_stat(struct vmem__heap_stat *st)
{
	size_t runs, bytes;

	*st = (struct vmem__heap_stat){0};
	bytes = vmem__parked(&runs);
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *sd = shard_at(i);

		if (!shard_used(i))
			continue;
		qr_mutex_enter(&sd->sd_lock);
		st->used += sd->sd_stat.used;
		st->blocks += sd->sd_stat.blocks;
		st->block_bytes += sd->sd_stat.block_bytes;
		st->idle_bytes += sd->sd_bytes[IDLE];
		st->purged += sd->sd_stat.purged;
		qr_mutex_exit(&sd->sd_lock);
	}
	/* One that went from CPU to CPU meanwhile may have been seen twice. */
	bytes = qr_min(bytes, st->block_bytes);
	runs = qr_min(runs, st->blocks);
	st->used -= bytes;
	st->blocks -= runs;
	st->block_bytes -= bytes;
	st->idle_bytes += bytes;
}

/* R0 to R5 for the free runs of one kind. */
static void
check_runs(struct shard *sd, int kind)
{
	size_t bytes = 0;

	for (unsigned b = 0; b < RUN_BINS; b++) {
		struct qr_list *bin = bin_at(sd, kind, b);

		QR_VERIFY(bin_some(sd, kind, b) ==
		    (bin->next != NULL && !qr_list_empty(bin)));
		if (!bin_some(sd, kind, b))
			continue;
		QR_LIST_FOREACH (run, bin, struct vmem__run, rn_bin) {
			struct vmem__run *next = free_behind(run);

			QR_VERIFY(run->rn_kind == HEAP_FREE);
			QR_VERIFY(run->rn_size != 0 &&
			    qr_phase(run->rn_addr | run->rn_size,
				vmem__heap_quantum()) == 0);
			QR_VERIFY(shard_of(run) == sd &&
			    run->rn_zero == (kind == ZERO));
			QR_VERIFY(bin_of(run->rn_size) == b);
			QR_VERIFY(free_at(run->rn_addr) == run);
			QR_VERIFY(free_at(run->rn_addr + run->rn_size -
				      PAGEMAP_PAGE) == run);
			QR_VERIFY(next == NULL ||
			    (next->rn_zero != run->rn_zero &&
				next->rn_shard == run->rn_shard));
			QR_VERIFY(
			    !run->rn_zero || !run->rn_first || !run->rn_last);
			bytes += run->rn_size;
		}
	}
	QR_VERIFY(bytes == sd->sd_bytes[kind]);
}

void
vmem__heap_check(void)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		struct shard *sd = shard_at(i);
		size_t bytes = 0;

		if (!shard_used(i))
			continue;
		qr_mutex_enter(&sd->sd_lock);
		check_runs(sd, IDLE);
		check_runs(sd, ZERO);
		QR_LIST_FOREACH (run, &sd->sd_ages, struct vmem__run, rn_age)
			bytes += run->rn_size;
		QR_VERIFY(bytes == sd->sd_bytes[IDLE]);
		qr_mutex_exit(&sd->sd_lock);
	}
}

/* Shard 0 first, after which none is new. */
void
vmem__heap_lock(void)
{
	vmem__clear_lock();
	qr_mutex_enter_nested(&shard_at(0)->sd_lock);
	for (unsigned i = 1; i < SHARDS; i++)
		if (shard_used(i))
			qr_mutex_enter_nested(&shard_at(i)->sd_lock);
}

void
vmem__heap_unlock(bool child)
{
	if (child)
		atomic_store_explicit(&watched, false, memory_order_relaxed);
	for (unsigned i = 1; i < SHARDS; i++)
		if (shard_used(i))
			qr_mutex_exit(&shard_at(i)->sd_lock);
	qr_mutex_exit(&shard_at(0)->sd_lock);
	vmem__clear_unlock();
}
