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
	size_t n = size / vmem__heap_quantum();
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
mark(const struct vmem__run *run, uint64_t word)
{
	pagemap_set((void *)run->rn_addr, PAGEMAP_PAGE, word);
	pagemap_set((void *)(run->rn_addr + run->rn_size - PAGEMAP_PAGE),
	    PAGEMAP_PAGE, word);
}

void
vmem__run_enter(struct vmem__run *run, struct qr_list *age)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	int kind = run->rn_zero ? RUNS_ZERO : RUNS_IDLE;
	unsigned b = vmem__runs_bin(run->rn_size);

	qr_mutex_assert_held(&sd->sd_lock);
	run->rn_kind = HEAP_FREE;
	if (!bin_some(sd, kind, b))
		qr_list_init(vmem__runs_at(sd, kind, b));
	qr_list_push_front(vmem__runs_at(sd, kind, b), &run->rn_bin);
	sd->sd_some[kind][b / 64] |= (uint64_t)1 << (b % 64);
	vmem__shard_set(&sd->sd_bytes[kind], sd->sd_bytes[kind] + run->rn_size);
	if (!run->rn_zero)
		qr_list_insert_after(age, &run->rn_age);
	mark(run, pagemap_word(run, RUN_MARK));
}

void
vmem__run_leave(struct vmem__run *run)
{
	struct vmem_shard *sd = vmem__shard_of(run);
	int kind = run->rn_zero ? RUNS_ZERO : RUNS_IDLE;
	unsigned b = vmem__runs_bin(run->rn_size);

	qr_mutex_assert_held(&sd->sd_lock);
	mark(run, 0);
	if (!run->rn_zero)
		qr_list_remove(&run->rn_age);
	vmem__shard_set(&sd->sd_bytes[kind], sd->sd_bytes[kind] - run->rn_size);
	qr_list_remove(&run->rn_bin);
	if (qr_list_empty(vmem__runs_at(sd, kind, b)))
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

/* ---- splitting and joining ---- */

void
vmem__run_split(struct vmem__run *run, size_t size, struct vmem__run *rest)
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

void
vmem__run_join(struct vmem__run *run)
{
	struct qr_list *ages = &vmem__shard_of(run)->sd_ages;
	struct qr_list *age = run->rn_when == 0 ? ages : ages->prev;
	struct vmem__run *with[2] = {
	    vmem__run_before(run), vmem__run_behind(run)};
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
		vmem__run_leave(other);
		if (i == 0) {
			run->rn_addr = other->rn_addr;
			run->rn_first = other->rn_first;
		} else {
			run->rn_last = other->rn_last;
		}
		run->rn_size += other->rn_size;
		meta_put(&vmem__run_pool, other);
	}
	vmem__run_enter(run, age);
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
				vmem__heap_quantum()) == 0);
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
	for (unsigned i = 1; i < VMEM_SHARDS; i++)
		if (vmem__shard_used(i))
			qr_mutex_exit(&vmem__shard_at(i)->sd_lock);
	qr_mutex_exit(&vmem__shard_at(0)->sd_lock);
	vmem__clear_unlock();
}
