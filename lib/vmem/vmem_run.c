/*
 * vmem_run.c - runs of quanta: handed out, grown, shrunk and taken back.
 */
#include "vmem/vmem_shard.h"

#include "base/bits.h"
#include "base/panic.h"
#include "meta/pagemap.h"
#include "os/os.h"

/* ---- runs in use ---- */

/*
 * Take `size` bytes behind the first `skip` out of a free run that has room for
 * them.  The rest stays free; without a record for it, it stays with the run.
 * NULL when a piece in front would need a record that is not to be had.
 */
static struct vmem__run *
carve(struct vmem__run *run, size_t skip, size_t size)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	size_t behind = run->rn_size - skip - size;
	struct vmem__run *part = NULL, *rest = NULL;

	if (skip != 0 || behind != 0)
		part = vmem__run_get(sd);
	if (part == NULL) {
		if (skip != 0)
			return (NULL);
		vmem__run_leave(run);
		return (run);
	}
	if (skip != 0 && behind != 0)
		rest = vmem__run_get(sd);
	if (skip == 0) {
		vmem__run_part(run, 0, size, part);
		vmem__run_reshape(run, run->rn_addr + size, behind);
		run->rn_first = false;
		return (part);
	}
	vmem__run_trim(run, skip, part);
	if (rest != NULL) {
		vmem__run_split(part, size, rest);
		vmem__run_enter(rest, &run->rn_age);
	}
	return (part);
}

static void
most_used_grow(struct vmem_shard *sd)
{
	vmem__shard_set(&sd->sd_most_used,
	    qr_max(sd->sd_most_used, sd->sd_stat.used - sd->sd_leaving));
}

/* `bytes` more are in use, of n more runs like this one. */
static void
count(const struct vmem__run *run, size_t n, size_t bytes)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	struct vmem__heap_stat *st = &sd->sd_stat;

	qr_mutex_assert_held(&sd->sd_lock);
	vmem__shard_set(&st->used, st->used + bytes);
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

	for (struct vmem__run *next = vmem__run_behind(run);
	     next != NULL && have < more; next = vmem__run_behind(next))
		have += next->rn_size;
	if (have < more)
		return (false);
	count(run, 0, more);
	while (more > 0) {
		struct vmem__run *next = vmem__run_behind(run);
		size_t part = qr_min(more, next->rn_size);

		if (part < next->rn_size) {
			vmem__run_reshape(
			    next, next->rn_addr + part, next->rn_size - part);
		} else {
			vmem__run_leave(next);
			run->rn_last = next->rn_last;
			vmem__run_put(vmem__shard_of(run), next);
		}
		run->rn_size += part;
		more -= part;
	}
	return (true);
}

/* Take a place, all of which is free. */
static struct vmem__run *
take_from(struct vmem_place place, enum vmem__heap_kind kind, size_t size)
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
	pagemap_put((void *)run->rn_addr, pagemap_word(run, 0));
	return (run);
}

/* ---- taking it ---- */

/*
 * Take a place, if there is one, and let go of the shard.  What is about to be
 * touched for the first time comes out of what is idle.
 */
static struct vmem__run *
take_and_leave(struct vmem_shard *sd, struct vmem_place place,
    enum vmem__heap_kind kind, size_t size)
{
	struct vmem__run *run =
	    place.pl_run == NULL ? NULL : take_from(place, kind, size);
	size_t over = 0;

	if (run != NULL && (run->rn_zero || place.pl_idle != 0))
		over = vmem__idle_over(sd);
	qr_mutex_exit(&sd->sd_lock);
	vmem__purge_over(sd, over);
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
	struct vmem__run *span = meta_get(&vmem__run_pool);
	struct vmem_shard *sd = vmem__shard_at(i);
	void *addr;

	if (span == NULL)
		return (NULL);
	addr =
	    vmem__span_alloc(w->w_size + w->w_room, w->w_align, &span->rn_size);
	if (addr == NULL) {
		meta_put(&vmem__run_pool, span);
		return (NULL);
	}
	span->rn_addr = (uintptr_t)addr;
	span->rn_first = span->rn_last = span->rn_zero = true;
	span->rn_shard = (uint8_t)i;
	qr_mutex_enter(&sd->sd_lock);
	vmem__run_enter(span, NULL);
	return (take_and_leave(
	    sd, vmem__place_in(span, w->w_align), w->w_kind, w->w_size));
}

/* Where in a shard there may be a place: these, in this order. */
enum {
	IN_IDLE = 1, /* memory that is idle */
	IN_BOTH = 2, /* idle and zero side by side */
	IN_ZERO = 4,
};

/* What is idle, if that is of use: to clear a lot touches what nobody did. */
static struct vmem__run *
find_idle(struct vmem_shard *sd, const struct want *w)
{
	if (!w->w_mixed && w->w_size > vmem__idle_max())
		return (NULL);
	return (w->w_room == 0
		? vmem__place_find(sd, RUNS_IDLE, w->w_size, w->w_align)
		: vmem__place_widest(
		      sd, RUNS_IDLE, w->w_size + w->w_room, w->w_align));
}

static struct vmem__run *
take_in(struct vmem_shard *sd, const struct want *w, int where)
{
	struct vmem_place place = {.pl_run = NULL};
	struct vmem__run *run = NULL;

	qr_mutex_enter(&sd->sd_lock);
	if ((where & IN_IDLE) != 0)
		run = find_idle(sd, w);
	if (run == NULL && (where & IN_BOTH) != 0 && w->w_room == 0 &&
	    w->w_mixed)
		place = vmem__place_around(sd, w->w_size, w->w_align);
	if (run == NULL && place.pl_run == NULL && (where & IN_ZERO) != 0)
		run = vmem__place_find(
		    sd, RUNS_ZERO, w->w_size + w->w_room, w->w_align);
	if (run != NULL)
		place = vmem__place_in(run, w->w_align);
	return (take_and_leave(sd, place, w->w_kind, w->w_size));
}

/* From the shards of other CPUs, if they have that much. */
static struct vmem__run *
take_elsewhere(unsigned here, const struct want *w, int kind)
{
	struct vmem__run *run = NULL;

	for (unsigned i = 0; i < VMEM_SHARDS && run == NULL; i++) {
		struct vmem_shard *sd = vmem__shard_at(i);

		if (i != here && vmem__shard_used(i) &&
		    vmem__shard_look(&sd->sd_bytes[kind]) >= w->w_size)
			run = take_in(
			    sd, w, kind == RUNS_IDLE ? IN_IDLE : IN_ZERO);
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
	unsigned here = vmem__shard_for(w->w_size);
	struct vmem_shard *own = vmem__shard_at(here);
	struct vmem__run *run;

	if (vmem__shards_used() == 1) {
		run = take_in(own, w, IN_IDLE | IN_BOTH | IN_ZERO);
		return (run != NULL ? run : take_new(here, w));
	}
	run = take_in(own, w, IN_IDLE | IN_BOTH);
	if (run == NULL)
		run = take_elsewhere(here, w, RUNS_IDLE);
	if (run == NULL)
		run = take_in(own, w, IN_ZERO);
	if (run == NULL && !vmem__heap_limited())
		run = take_new(here, w);
	if (run == NULL)
		run = take_elsewhere(here, w, RUNS_ZERO);
	return (run != NULL || !vmem__heap_limited() ? run : take_new(here, w));
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
	    qr_roundup(qr_min(room, PTRDIFF_MAX / 4), vmem__heap_quantum);
	run = take(&w);
	if (run == NULL && w.w_room != 0) {
		w.w_room = 0;
		run = take(&w);
	}
	if (run == NULL && vmem__heap_purge(UINT64_MAX) != 0)
		run = take(&w);
	if (run == NULL) {
		/* What that frees is taken as it is: a purge gives spans back. */
		vmem__reap_heap();
		run = take(&w);
	}
	if (run == NULL && vmem__heap_purge(UINT64_MAX) != 0)
		run = take(&w);
	if (run != NULL && zeroed != NULL)
		*zeroed = run->rn_zero;
	return (run);
}

static void
stay(struct vmem__run *run)
{
	struct vmem_shard *sd = vmem__shard_of(run);

	run->rn_leaving = false;
	qr_list_remove(&run->rn_bin);
	vmem__shard_set(&sd->sd_leaving, sd->sd_leaving - run->rn_size);
}

static void
leave(struct vmem__run *run)
{
	struct vmem_shard *sd = vmem__shard_of(run);

	run->rn_leaving = true;
	qr_list_push_back(&sd->sd_leavers, &run->rn_bin);
	vmem__shard_set(&sd->sd_leaving, sd->sd_leaving + run->rn_size);
}

void
vmem__run_leaving(struct vmem__run *run, bool on)
{
	struct vmem_shard *sd = vmem__shard_of(run);

	qr_mutex_enter(&sd->sd_lock);
	if (on)
		leave(run);
	else
		stay(run);
	most_used_grow(sd);
	qr_mutex_exit(&sd->sd_lock);
}

void
vmem__runs_stay(struct vmem_shard *sd)
{
	while (!qr_list_empty(&sd->sd_leavers))
		stay(QR_LIST_FIRST(&sd->sd_leavers, struct vmem__run, rn_bin));
}

/* `run` has no owner any more. */
static void
disown(struct vmem__run *run)
{
	if (run->rn_leaving)
		stay(run);
	count(run, 0, 0 - run->rn_size);
}

/* Nor is it of use: it is idle, since `when`. */
static void
retire(struct vmem__run *run, uint64_t when)
{
	disown(run);
	run->rn_zero = false;
	run->rn_when = when;
	(void)vmem__run_join(run);
}

static void
give(struct vmem__run *run, uint64_t when)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	size_t over;

	pagemap_put((void *)run->rn_addr, 0);
	qr_mutex_enter(&sd->sd_lock);
	count(run, (size_t)0 - 1, 0);
	retire(run, when);
	over = vmem__idle_over(sd);
	qr_mutex_exit(&sd->sd_lock);
	vmem__purge_over(sd, over);
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
	pagemap_put((void *)run->rn_addr, 0);
	qr_mutex_enter(&vmem__shard_of(run)->sd_lock);
	count(run, (size_t)0 - 1, 0);
	disown(run);
	vmem__run_join_zero(run);
}

static bool
shrink(struct vmem__run *run, size_t size, uint64_t now)
{
	struct vmem__run *rest = vmem__run_get(vmem__shard_of(run));

	if (rest == NULL)
		return (false);
	vmem__run_split(run, size, rest);
	rest->rn_kind = run->rn_kind;
	retire(rest, now);
	return (true);
}

bool
vmem__run_resize(struct vmem__run *run, size_t size)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	uint64_t now = size < run->rn_size ? os_now_coarse() : 0;
	bool done = true;
	size_t over;

	qr_mutex_enter(&sd->sd_lock);
	if (size > run->rn_size)
		done = grow(run, size - run->rn_size);
	else if (size < run->rn_size)
		done = shrink(run, size, now);
	over = vmem__idle_over(sd);
	qr_mutex_exit(&sd->sd_lock);
	vmem__purge_over(sd, over);
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

void
vmem__heap_stat(struct vmem__heap_stat *st)
{
	size_t runs, bytes;

	*st = (struct vmem__heap_stat){0};
	bytes = vmem__parked(&runs);
	for (unsigned i = 0; i < VMEM_SHARDS; i++) {
		struct vmem_shard *sd = vmem__shard_at(i);

		if (!vmem__shard_used(i))
			continue;
		qr_mutex_enter(&sd->sd_lock);
		st->used += sd->sd_stat.used;
		st->blocks += sd->sd_stat.blocks;
		st->block_bytes += sd->sd_stat.block_bytes;
		st->idle_bytes += sd->sd_bytes[RUNS_IDLE];
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
