/*
 * vmem_shard.c - free runs: where they are kept, split and joined.
 */
#include "vmem/vmem_shard.h"

#include "base/bits.h"
#include "base/panic.h"
#include "meta/pagemap.h"
#include "os/percpu.h"

enum {
	/* What free() finds in the page map for a free run: a slot that misses. */
	RUN_MARK = PERCPU_FREE_SLOT * sizeof(struct percpu_slot),
	SHARED_MIN = 4 << 20, /* all CPUs share a shard for what is larger */
};

struct vmem_shard vmem__shards[VMEM_SHARDS];
_Atomic uint32_t vmem__shards_mask;
_Atomic unsigned vmem__shards_count;
struct meta_pool vmem__run_pool =
    META_POOL_INIT("heap_run", sizeof(struct vmem__run));

/* ---- which shard ---- */

/* A new one may not come while all others are locked. */
static QR_NOINLINE void
shard_begin(unsigned i)
{
	struct vmem_shard *sd = vmem__shard_at(i);

	qr_mutex_enter(&vmem__shard_at(0)->sd_lock);
	if (!vmem__shard_used(i)) {
		qr_list_init(&sd->sd_ages);
		qr_list_init(&sd->sd_leavers);
		if (i != 0)
			qr_mutex_init(&sd->sd_lock, QR_RANK_HEAP);
		atomic_fetch_add(&vmem__shards_count, 1);
		vmem__idle_divide();
		atomic_fetch_or_explicit(
		    &vmem__shards_mask, (uint32_t)1 << i, memory_order_release);
	}
	qr_mutex_exit(&vmem__shard_at(0)->sd_lock);
}

/*
 * That of this CPU; what is large is all in one.  Who writes to all of it spends no
 * time to speak of at a lock, and has use for idle memory that is in one piece.
 */
unsigned
vmem__shard_for(size_t size)
{
	unsigned i = size > SHARED_MIN ? 0 : percpu_cpu() % VMEM_SHARDS;

	if (QR_UNLIKELY(!vmem__shard_used(i)))
		shard_begin(i);
	return (i);
}

/* ---- the lists and the page map ---- */

unsigned
vmem__runs_bin(size_t size)
{
	size_t n = size / PAGEMAP_PAGE;
	unsigned top = qr_log2(n);

	if (top < 3)
		return ((unsigned)n);
	return (top * 8 + (unsigned)(n >> (top - 3) & 7));
}

unsigned
vmem__runs_next(const struct vmem_shard *sd, int kind, unsigned b)
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
bin_some(const struct vmem_shard *sd, int kind, unsigned b)
{
	return ((sd->sd_some[kind][b / 64] >> (b % 64) & 1) != 0);
}

unsigned
vmem__runs_last(const struct vmem_shard *sd, int kind, unsigned b)
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
bin_enter(struct vmem_shard *sd, int kind, unsigned b, struct vmem__run *run)
{
	if (!bin_some(sd, kind, b))
		qr_list_init(vmem__runs_at(sd, kind, b));
	qr_list_push_front(vmem__runs_at(sd, kind, b), &run->rn_bin);
	sd->sd_some[kind][b / 64] |= (uint64_t)1 << (b % 64);
}

static void
bin_leave(struct vmem_shard *sd, int kind, unsigned b, struct vmem__run *run)
{
	qr_list_remove(&run->rn_bin);
	if (qr_list_empty(vmem__runs_at(sd, kind, b)))
		sd->sd_some[kind][b / 64] &= ~((uint64_t)1 << (b % 64));
}

static void
mark(const struct vmem__run *run, uint64_t word)
{
	pagemap_put((void *)run->rn_addr, word);
	pagemap_put((void *)(run->rn_addr + run->rn_size - PAGEMAP_PAGE), word);
}

static int
kind_of(const struct vmem__run *run)
{
	return (run->rn_zero ? RUNS_ZERO : RUNS_IDLE);
}

void
vmem__run_enter(struct vmem__run *run, struct qr_list *age)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	int kind = kind_of(run);

	qr_mutex_assert_held(&sd->sd_lock);
	run->rn_kind = HEAP_FREE;
	bin_enter(sd, kind, vmem__runs_bin(run->rn_size), run);
	vmem__shard_set(&sd->sd_bytes[kind], sd->sd_bytes[kind] + run->rn_size);
	if (!run->rn_zero)
		qr_list_insert_after(age, &run->rn_age);
	mark(run, pagemap_word(run, RUN_MARK));
}

void
vmem__run_leave(struct vmem__run *run)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	int kind = kind_of(run);

	qr_mutex_assert_held(&sd->sd_lock);
	mark(run, 0);
	if (!run->rn_zero)
		qr_list_remove(&run->rn_age);
	vmem__shard_set(&sd->sd_bytes[kind], sd->sd_bytes[kind] - run->rn_size);
	bin_leave(sd, kind, vmem__runs_bin(run->rn_size), run);
}

void
vmem__run_reshape(struct vmem__run *run, uintptr_t addr, size_t size)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	unsigned from = vmem__runs_bin(run->rn_size);
	unsigned to = vmem__runs_bin(size);
	int kind = kind_of(run);

	qr_mutex_assert_held(&sd->sd_lock);
	mark(run, 0);
	vmem__shard_set(
	    &sd->sd_bytes[kind], sd->sd_bytes[kind] - run->rn_size + size);
	run->rn_addr = addr;
	run->rn_size = size;
	if (from != to) {
		bin_leave(sd, kind, from, run);
		bin_enter(sd, kind, to, run);
	}
	mark(run, pagemap_word(run, RUN_MARK));
}

/* The free run that the page at addr is an end of, or NULL. */
static struct vmem__run *
free_at(uintptr_t addr)
{
	uint64_t word = pagemap_get((const void *)addr);

	return (
	    (word & UINT16_MAX) == RUN_MARK ? pagemap_descriptor(word) : NULL);
}

struct vmem__run *
vmem__run_before(const struct vmem__run *run)
{
	return (run->rn_first ? NULL : free_at(run->rn_addr - PAGEMAP_PAGE));
}

struct vmem__run *
vmem__run_behind(const struct vmem__run *run)
{
	return (run->rn_last ? NULL : free_at(run->rn_addr + run->rn_size));
}

/* ---- records ---- */

struct vmem__run *
vmem__run_get(struct vmem_shard *sd)
{
	qr_mutex_assert_held(&sd->sd_lock);
	return (sd->sd_spares > 0 ? sd->sd_spare[--sd->sd_spares]
				  : meta_get(&vmem__run_pool));
}

QR_NOINLINE void
vmem__run_put(struct vmem_shard *sd, struct vmem__run *run)
{
	qr_mutex_assert_held(&sd->sd_lock);
	if (sd->sd_spares == RUN_SPARES) {
		meta_put(&vmem__run_pool, run);
		return;
	}
	*run = (struct vmem__run){0};
	sd->sd_spare[sd->sd_spares++] = run;
}

/* ---- splitting and joining ---- */

void
vmem__run_part(const struct vmem__run *run, size_t skip, size_t size,
    struct vmem__run *part)
{
	part->rn_addr = run->rn_addr + skip;
	part->rn_size = size;
	part->rn_first = run->rn_first && skip == 0;
	part->rn_last = run->rn_last && skip + size == run->rn_size;
	part->rn_zero = run->rn_zero;
	part->rn_shard = run->rn_shard;
	part->rn_when = run->rn_when;
}

void
vmem__run_split(struct vmem__run *run, size_t size, struct vmem__run *rest)
{
	vmem__run_part(run, size, run->rn_size - size, rest);
	run->rn_size = size;
	run->rn_last = false;
}

void
vmem__run_trim(struct vmem__run *run, size_t size, struct vmem__run *rest)
{
	vmem__run_part(run, size, run->rn_size - size, rest);
	vmem__run_reshape(run, run->rn_addr, size);
	run->rn_last = false;
}

/* A neighbour with which `run` becomes one, or NULL. */
static struct vmem__run *
alike(const struct vmem__run *run, struct vmem__run *other)
{
	return (other != NULL && other->rn_zero == run->rn_zero ? other : NULL);
}

struct vmem__run *
vmem__run_join(struct vmem__run *run)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	struct vmem__run *before = alike(run, vmem__run_before(run));
	struct vmem__run *behind = alike(run, vmem__run_behind(run));
	struct vmem__run *all = run;
	uintptr_t addr = run->rn_addr;
	size_t size = run->rn_size;
	bool first = run->rn_first, last = run->rn_last;

	/* As old as the largest piece, and in its place. */
	if (before != NULL) {
		addr = before->rn_addr;
		size += before->rn_size;
		first = before->rn_first;
		if (before->rn_size >= all->rn_size)
			all = before;
	}
	if (behind != NULL) {
		size += behind->rn_size;
		last = behind->rn_last;
		if (behind->rn_size >= all->rn_size)
			all = behind;
	}
	if (before != NULL && before != all) {
		vmem__run_leave(before);
		vmem__run_put(sd, before);
	}
	if (behind != NULL && behind != all) {
		vmem__run_leave(behind);
		vmem__run_put(sd, behind);
	}
	if (all == run) {
		run->rn_addr = addr;
		run->rn_size = size;
		vmem__run_enter(
		    run, run->rn_when == 0 ? &sd->sd_ages : sd->sd_ages.prev);
	} else {
		vmem__run_put(sd, run);
		vmem__run_reshape(all, addr, size);
	}
	all->rn_first = first;
	all->rn_last = last;
	return (all);
}

/* ---- looking at all of it; fork ---- */

/* R0 to R5 for the free runs of one kind. */
static void
check_runs(struct vmem_shard *sd, int kind)
{
	size_t bytes = 0;

	for (unsigned b = 0; b < RUN_BINS; b++) {
		struct qr_list *bin = vmem__runs_at(sd, kind, b);

		QR_VERIFY(bin_some(sd, kind, b) ==
		    (bin->next != NULL && !qr_list_empty(bin)));
		if (!bin_some(sd, kind, b))
			continue;
		QR_LIST_FOREACH (run, bin, struct vmem__run, rn_bin) {
			struct vmem__run *next = vmem__run_behind(run);

			QR_VERIFY(run->rn_kind == HEAP_FREE);
			QR_VERIFY(run->rn_size != 0 &&
			    qr_phase(run->rn_addr | run->rn_size,
				vmem__heap_quantum) == 0);
			QR_VERIFY(vmem__shard_of(run) == sd &&
			    run->rn_zero == (kind == RUNS_ZERO));
			QR_VERIFY(vmem__runs_bin(run->rn_size) == b);
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
	for (unsigned i = 0; i < VMEM_SHARDS; i++) {
		struct vmem_shard *sd = vmem__shard_at(i);
		size_t bytes = 0;

		if (!vmem__shard_used(i))
			continue;
		qr_mutex_enter(&sd->sd_lock);
		check_runs(sd, RUNS_IDLE);
		check_runs(sd, RUNS_ZERO);
		QR_LIST_FOREACH (run, &sd->sd_ages, struct vmem__run, rn_age)
			bytes += run->rn_size;
		QR_VERIFY(bytes == sd->sd_bytes[RUNS_IDLE]);
		QR_VERIFY(sd->sd_spares <= RUN_SPARES);
		qr_mutex_exit(&sd->sd_lock);
	}
}

/* Shard 0 first, after which none is new. */
void
vmem__heap_lock(void)
{
	vmem__clear_lock();
	qr_mutex_enter_nested(&vmem__shard_at(0)->sd_lock);
	for (unsigned i = 1; i < VMEM_SHARDS; i++)
		if (vmem__shard_used(i))
			qr_mutex_enter_nested(&vmem__shard_at(i)->sd_lock);
}

void
vmem__heap_unlock(bool child)
{
	if (child)
		vmem__heap_unwatched();
	for (unsigned i = 0; child && i < VMEM_SHARDS; i++)
		if (vmem__shard_used(i))
			vmem__runs_stay(vmem__shard_at(i));
	for (unsigned i = 1; i < VMEM_SHARDS; i++)
		if (vmem__shard_used(i))
			qr_mutex_exit(&vmem__shard_at(i)->sd_lock);
	qr_mutex_exit(&vmem__shard_at(0)->sd_lock);
	vmem__clear_unlock();
}
