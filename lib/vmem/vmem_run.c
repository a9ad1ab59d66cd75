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
};

/* Free runs, either all idle or all zero. */
struct runs {
	bool rs_zero;
	size_t rs_bytes;
	uint64_t rs_some[RUN_WORDS]; /* bit set: the bin is not empty */
};

/*
 * Invariants, whenever run_lock is free:
 *   R0  a run is whole quanta.
 *   R1  a free run is on the list of its size in idle or zero, as rn_zero says;
 *       an idle one also on ages.
 *   R2  rs_bytes is the sum of the sizes on the lists.
 *   R3  the words of the first and last page of a free run, and no others, lead
 *       to it, with RUN_MARK.
 *   R4  no two neighbours in a span are free and equal in rn_zero.
 *   R5  no zero run is a whole span.
 *   R6  a thread that finds more idle bytes than there may be has begun to
 *       purge the oldest.
 * Locking: (h) run_lock, held for list work only.
 */
static struct qr_mutex run_lock = QR_MUTEX_INIT(QR_RANK_HEAP);
static struct runs idle, zero = {.rs_zero = true}; /* (h) */
/* (h) By size from the end downwards, then rn_zero: latest first; 0 if never used. */
static struct qr_list bins[RUN_BINS][2];
static struct qr_list ages = QR_LIST_INIT(ages); /* (h) */
static size_t idle_max = RUN_IDLE_MAX;           /* (h) */
static struct vmem__heap_stat totals;            /* (h) but idle_bytes */
static size_t leaving;            /* (h) of totals.used: of runs that are */
static size_t most_used;          /* (h) of what is not, since the last purge */
static bool watched;              /* (h) there will be one within a second */
static size_t ceiling = SIZE_MAX; /* (h) of what is in use or idle */
static bool limited; /* idle memory is missed elsewhere; set at start */
static struct meta_pool run_pool =
    META_POOL_INIT("heap_run", sizeof(struct vmem__run));

void
vmem__runs_init(void)
{
	limited = qr_min(os_address_space_limit(), os_data_limit()) != SIZE_MAX;
}

/* ---- the lists and the page map ---- */

static struct qr_list *
bin_at(const struct runs *rs, unsigned b)
{
	return (&bins[RUN_BINS - 1 - b][rs->rs_zero]);
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
bin_next(const struct runs *rs, unsigned b)
{
	for (unsigned w = b / 64; w < RUN_WORDS; w++, b = w * 64) {
		uint64_t some = rs->rs_some[w] & (~(uint64_t)0 << (b % 64));

		if (some != 0)
			return (w * 64 + qr_ctz(some));
	}
	return (RUN_BINS);
}

static bool
bin_some(const struct runs *rs, unsigned b)
{
	return ((rs->rs_some[b / 64] >> (b % 64) & 1) != 0);
}

/* The last list before b that is not empty, or RUN_BINS. */
static unsigned
bin_before(const struct runs *rs, unsigned b)
{
	while (b-- > 0) {
		uint64_t some =
		    rs->rs_some[b / 64] & (~(uint64_t)0 >> (63 - b % 64));

		b = b / 64 * 64;
		if (some != 0)
			return (b + qr_log2(some));
	}
	return (RUN_BINS);
}

static struct runs *
runs_of(const struct vmem__run *run)
{
	return (run->rn_zero ? &zero : &idle);
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
	struct runs *rs = runs_of(run);
	unsigned b = bin_of(run->rn_size);

	qr_mutex_assert_held(&run_lock);
	run->rn_kind = HEAP_FREE;
	if (!bin_some(rs, b))
		qr_list_init(bin_at(rs, b));
	qr_list_push_front(bin_at(rs, b), &run->rn_bin);
	rs->rs_some[b / 64] |= (uint64_t)1 << (b % 64);
	rs->rs_bytes += run->rn_size;
	if (!run->rn_zero)
		qr_list_insert_after(age, &run->rn_age);
	mark(run, pagemap_word(run, RUN_MARK));
}

static void
leave(struct vmem__run *run)
{
	struct runs *rs = runs_of(run);
	unsigned b = bin_of(run->rn_size);

	qr_mutex_assert_held(&run_lock);
	mark(run, 0);
	if (!run->rn_zero)
		qr_list_remove(&run->rn_age);
	rs->rs_bytes -= run->rn_size;
	qr_list_remove(&run->rn_bin);
	if (qr_list_empty(bin_at(rs, b)))
		rs->rs_some[b / 64] &= ~((uint64_t)1 << (b % 64));
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
	rest->rn_when = run->rn_when;
	run->rn_size = size;
	run->rn_last = false;
}

/* `run`, on no list, becomes free, and one with its neighbours. */
static void
join(struct vmem__run *run)
{
	struct qr_list *age = run->rn_when == 0 ? &ages : ages.prev;
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
find(struct runs *rs, size_t size, size_t align)
{
	unsigned tries = RUN_TRIES, b;

	for (b = bin_next(rs, bin_of(size)); b < RUN_BINS && tries > 0;
	     b = bin_next(rs, b + 1)) {
		QR_LIST_FOREACH (run, bin_at(rs, b), struct vmem__run, rn_bin) {
			if (fits(run, size, align))
				return (run);
			if (--tries == 0)
				break;
		}
	}
	/* Whatever the address, the runs from here on have room. */
	b = bin_next(rs, bin_of(size + align - vmem__heap_quantum()) + 1);
	return (b == RUN_BINS
		? NULL
		: QR_LIST_FIRST(bin_at(rs, b), struct vmem__run, rn_bin));
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

/* `bytes` more are in use, of n more runs like this one. */
static void
count(const struct vmem__run *run, size_t n, size_t bytes)
{
	qr_mutex_assert_held(&run_lock);
	totals.used += bytes;
	most_used = qr_max(most_used, totals.used - leaving);
	if (run->rn_kind == HEAP_BLOCK) {
		totals.blocks += n;
		totals.block_bytes += bytes;
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
find_widest(struct runs *rs, size_t size, size_t align)
{
	unsigned b = bin_before(rs, RUN_BINS);
	struct vmem__run *run;

	if (b == RUN_BINS)
		return (NULL);
	run = QR_LIST_FIRST(bin_at(rs, b), struct vmem__run, rn_bin);
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
find_around(size_t size, size_t align)
{
	struct place best = {.pl_idle = 0};
	unsigned tries = RUN_TRIES;

	for (unsigned b = bin_before(&idle, bin_of(size) + 1); b < RUN_BINS;
	     b = bin_before(&idle, b)) {
		QR_LIST_FOREACH (
		    run, bin_at(&idle, b), struct vmem__run, rn_bin) {
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
take_oldest(uint64_t before, size_t most)
{
	struct vmem__run *run, *part = NULL;
	struct qr_list *age;

	if (qr_list_empty(&ages))
		return (NULL);
	run = QR_LIST_FIRST(&ages, struct vmem__run, rn_age);
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
	totals.purged += run->rn_size;
	return (run);
}

/* A run that reads as zero, on no list, is free; lets go of run_lock. */
static void
join_zero_and_leave(struct vmem__run *run)
{
	bool whole;

	run->rn_zero = true;
	join(run);
	whole = run->rn_first && run->rn_last;
	if (whole)
		leave(run);
	qr_mutex_exit(&run_lock);
	if (whole) {
		vmem__span_free((void *)run->rn_addr, run->rn_size);
		meta_put(&run_pool, run);
	}
}

/* Purge at most `most` bytes of what was freed before `before`. */
static size_t
purge_oldest(uint64_t before, size_t most)
{
	struct vmem__run *run;
	size_t size;

	qr_mutex_enter(&run_lock);
	run = take_oldest(before, most);
	qr_mutex_exit(&run_lock);
	if (run == NULL)
		return (0);
	size = run->rn_size;
	if (!os_purge((void *)run->rn_addr, size))
		memset((void *)run->rn_addr, 0, size);
	qr_mutex_enter(&run_lock);
	join_zero_and_leave(run);
	return (size);
}

size_t
vmem__heap_purge(uint64_t before)
{
	size_t total = 0, given;

	vmem__park_purge(before == UINT64_MAX);
	qr_mutex_enter(&run_lock);
	most_used = totals.used - leaving;
	qr_mutex_exit(&run_lock);
	while ((given = purge_oldest(before, SIZE_MAX)) != 0)
		total += given;
	return (total);
}

/*
 * Whole quanta of idle memory beyond what may be kept.  With somebody there to
 * purge it soon, what was in use a moment ago may stay, in the place of what
 * would have to be had from the system again.  What is about to be freed is
 * idle: it must not come on top of that while its successor is filled.  Nor must
 * any of it take the process to the limit on its memory.
 */
static size_t
idle_over(void)
{
	size_t used = totals.used - leaving, keep = idle_max, bytes, runs;

	qr_mutex_assert_held(&run_lock);
	if (keep != 0)
		keep = qr_max(keep,
		    used / RUN_IDLE_SHARE + (watched ? most_used - used : 0));
	keep = qr_min(keep, ceiling - qr_min(used, ceiling));
	/* What waits on other CPUs is in cache lines of theirs. */
	bytes = idle.rs_bytes + leaving;
	if (bytes + vmem__parked_most() <= keep)
		return (0);
	bytes += vmem__parked(&runs);
	return (
	    bytes <= keep ? 0 : qr_roundup(bytes - keep, vmem__heap_quantum()));
}

static void
purge_over(size_t over)
{
	while (over > 0) {
		size_t given = purge_oldest(UINT64_MAX, over);

		over -= qr_min(over, given == 0 ? over : given);
	}
}

/* ---- taking it ---- */

/*
 * Take a place, if there is one, and let go of run_lock.  What is about to be
 * touched for the first time comes out of what is idle.
 */
static struct vmem__run *
take_and_leave(struct place place, enum vmem__heap_kind kind, size_t size)
{
	struct vmem__run *run =
	    place.pl_run == NULL ? NULL : take_from(place, kind, size);
	size_t over = 0;

	if (run != NULL && (run->rn_zero || place.pl_idle != 0))
		over = idle_over();
	qr_mutex_exit(&run_lock);
	purge_over(over);
	return (run);
}

/* From a new span, which nobody else can have emptied before. */
static struct vmem__run *
take_new(enum vmem__heap_kind kind, size_t size, size_t align, size_t room)
{
	struct vmem__run *span = meta_get(&run_pool);
	void *addr;

	if (span == NULL)
		return (NULL);
	addr = vmem__span_alloc(size + room, align, &span->rn_size);
	if (addr == NULL) {
		meta_put(&run_pool, span);
		return (NULL);
	}
	span->rn_addr = (uintptr_t)addr;
	span->rn_first = span->rn_last = span->rn_zero = true;
	qr_mutex_enter(&run_lock);
	enter(span, NULL);
	return (take_and_leave(place_in(span, align), kind, size));
}

static struct vmem__run *
take(enum vmem__heap_kind kind, size_t size, size_t align, size_t room,
    bool mixed)
{
	struct vmem__run *run = NULL;
	struct place place = {.pl_run = NULL};

	qr_mutex_enter(&run_lock);
	/* To clear more than the cap would touch what perhaps nobody did. */
	if (mixed || size <= idle_max)
		run = room == 0 ? find(&idle, size, align)
				: find_widest(&idle, size + room, align);
	if (run == NULL && room == 0 && mixed)
		place = find_around(size, align);
	if (run == NULL && place.pl_run == NULL)
		run = find(&zero, size + room, align);
	if (run != NULL)
		place = place_in(run, align);
	run = take_and_leave(place, kind, size);
	return (run != NULL ? run : take_new(kind, size, align, room));
}

static void
trim(void)
{
	size_t over;

	qr_mutex_enter(&run_lock);
	over = idle_over();
	qr_mutex_exit(&run_lock);
	purge_over(over);
}

void
vmem__heap_watch(bool on)
{
	qr_mutex_enter(&run_lock);
	watched = on && !limited;
	qr_mutex_exit(&run_lock);
	trim();
}

struct vmem__run *
vmem__run_alloc(enum vmem__heap_kind kind, size_t size, size_t align,
    size_t room, bool *zeroed)
{
	bool mixed = zeroed == NULL;
	struct vmem__run *run;

	if (size > PTRDIFF_MAX / 4 || align > PTRDIFF_MAX / 4)
		return (NULL);
	room = qr_roundup(qr_min(room, PTRDIFF_MAX / 4), vmem__heap_quantum());
	run = take(kind, size, align, room, mixed);
	if (run == NULL && room != 0)
		run = take(kind, size, align, 0, mixed);
	if (run == NULL && vmem__heap_purge(UINT64_MAX) != 0)
		run = take(kind, size, align, 0, mixed);
	if (run == NULL) {
		vmem__reap_heap();
		(void)vmem__heap_purge(UINT64_MAX);
		run = take(kind, size, align, 0, mixed);
	}
	if (run != NULL && zeroed != NULL)
		*zeroed = run->rn_zero;
	return (run);
}

void
vmem__run_leaving(struct vmem__run *run, bool on)
{
	qr_mutex_enter(&run_lock);
	run->rn_leaving = on;
	leaving += on ? run->rn_size : 0 - run->rn_size;
	most_used = qr_max(most_used, totals.used - leaving);
	qr_mutex_exit(&run_lock);
}

/* `run` has no owner any more. */
static void
disown(struct vmem__run *run)
{
	leaving -= run->rn_leaving ? run->rn_size : 0;
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
	size_t over;

	pagemap_set((void *)run->rn_addr, PAGEMAP_PAGE, 0);
	qr_mutex_enter(&run_lock);
	count(run, (size_t)0 - 1, 0);
	retire(run, when);
	over = idle_over();
	qr_mutex_exit(&run_lock);
	purge_over(over);
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
	qr_mutex_enter(&run_lock);
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
	uint64_t now = os_now_coarse();
	bool done = true;
	size_t over;

	qr_mutex_enter(&run_lock);
	if (size > run->rn_size)
		done = grow(run, size - run->rn_size);
	else if (size < run->rn_size)
		done = shrink(run, size, now);
	over = idle_over();
	qr_mutex_exit(&run_lock);
	purge_over(over);
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
	qr_mutex_enter(&run_lock);
	idle_max = bytes;
	qr_mutex_exit(&run_lock);
	vmem__park_set_idle_max(bytes);
}

void
vmem__heap_set_limit(size_t bytes)
{
	qr_mutex_enter(&run_lock);
	ceiling = bytes - bytes / 8;
	qr_mutex_exit(&run_lock);
}

void
vmem__heap_stat(struct vmem__heap_stat *st)
{
	size_t runs, bytes;

	qr_mutex_enter(&run_lock);
	bytes = vmem__parked(&runs);
	*st = totals;
	/* One that went from CPU to CPU meanwhile may have been seen twice. */
	bytes = qr_min(bytes, st->block_bytes);
	runs = qr_min(runs, st->blocks);
	st->used -= bytes;
	st->blocks -= runs;
	st->block_bytes -= bytes;
	st->idle_bytes = idle.rs_bytes + bytes;
	qr_mutex_exit(&run_lock);
}

/* R0 to R5 for the runs of one set. */
static void
check_runs(struct runs *rs)
{
	size_t bytes = 0;

	for (unsigned b = 0; b < RUN_BINS; b++) {
		QR_VERIFY(bin_some(rs, b) ==
		    (bin_at(rs, b)->next != NULL &&
			!qr_list_empty(bin_at(rs, b))));
		if (!bin_some(rs, b))
			continue;
		QR_LIST_FOREACH (run, bin_at(rs, b), struct vmem__run, rn_bin) {
			struct vmem__run *next = free_behind(run);

			QR_VERIFY(run->rn_kind == HEAP_FREE);
			QR_VERIFY(run->rn_size != 0 &&
			    qr_phase(run->rn_addr | run->rn_size,
				vmem__heap_quantum()) == 0);
			QR_VERIFY(runs_of(run) == rs);
			QR_VERIFY(bin_of(run->rn_size) == b);
			QR_VERIFY(free_at(run->rn_addr) == run);
			QR_VERIFY(free_at(run->rn_addr + run->rn_size -
				      PAGEMAP_PAGE) == run);
			QR_VERIFY(
			    next == NULL || next->rn_zero != run->rn_zero);
			QR_VERIFY(
			    !run->rn_zero || !run->rn_first || !run->rn_last);
			bytes += run->rn_size;
		}
	}
	QR_VERIFY(bytes == rs->rs_bytes);
}

void
vmem__heap_check(void)
{
	size_t bytes = 0;

	qr_mutex_enter(&run_lock);
	check_runs(&idle);
	check_runs(&zero);
	QR_LIST_FOREACH (run, &ages, struct vmem__run, rn_age)
		bytes += run->rn_size;
	QR_VERIFY(bytes == idle.rs_bytes);
	qr_mutex_exit(&run_lock);
}

void
vmem__heap_lock(void)
{
	vmem__clear_lock();
	qr_mutex_enter_nested(&run_lock);
}

void
vmem__heap_unlock(bool child)
{
	watched = watched && !child;
	qr_mutex_exit(&run_lock);
	vmem__clear_unlock();
}
