/*
 * vmem_shard.h - the parts of the heap: free runs by size, by age and by address.
 *
 * What vmem_heap.h says of runs is divided among files: those that keep them
 * (vmem_shard.c), look for a place (vmem_place.c), give idle memory back
 * (vmem_idle.c), and hand runs out and take them back (vmem_run.c).
 */
#ifndef QR_VMEM_SHARD_H
#define QR_VMEM_SHARD_H

#include "vmem/vmem_heap.h"

#include "base/compiler.h"
#include "meta/meta.h"
#include "os/os_lock.h"

#include <stdatomic.h>

enum {
	VMEM_SHARDS = 8,   /* CPUs share them where there are more */
	RUN_BINS = 8 * 50, /* eight sizes to a doubling, of any size */
	RUN_WORDS = (RUN_BINS + 63) / 64,
	RUN_SPARES = 4, /* records of a shard for its next runs */
};

/* Free runs of a shard are all of one kind or the other. */
enum { RUNS_IDLE, RUNS_ZERO, RUNS_KINDS };

/*
 * The runs of some spans, which the CPU that had the spans made looks at first.
 *
 * Invariants, whenever sd_lock is free:
 *   R0  a run is whole quanta, and all of a span are of one shard.
 *   R1  a free run is on the list of its size, idle or zero as rn_zero says; an
 *       idle one also on sd_ages.
 *   R2  sd_bytes is the sum of the sizes on the lists.
 *   R3  the words of the first and last page of a free run, and no others, lead
 *       to it, with RUN_MARK.
 *   R4  no two neighbours in a span are free and equal in rn_zero.
 *   R5  no zero run is a whole span.
 *   R6  a thread that finds more idle bytes than there may be has begun to
 *       purge the oldest.
 * Locking: (h) sd_lock, held for list work only; (l) the same, but anybody may
 * look.
 */
struct vmem_shard {
	/* (h) By size from the end downwards: latest first; 0 if never used. */
	struct qr_list sd_bin[RUN_BINS][RUNS_KINDS];
	/* (h) Bit set: that list is not empty. */
	uint64_t sd_some[RUNS_KINDS][RUN_WORDS];
	/* Others look at this line, and should not take the lock along. */
	QR_ALIGNED(QR_CACHE_LINE) size_t sd_bytes[RUNS_KINDS]; /* (l) */
	size_t sd_leaving;   /* (l) of used: of runs that are */
	size_t sd_most_used; /* (l) of what is not, since the last purge */
	struct vmem__heap_stat
	    sd_stat; /* (l) used; (h) the rest, no idle_bytes */
	QR_ALIGNED(QR_CACHE_LINE)
	struct qr_mutex sd_lock; /* rank QR_RANK_HEAP */
	struct qr_list sd_ages;  /* (h) idle runs, oldest first */
	/* (h) Records of no run, which nobody has to lock a pool for. */
	struct vmem__run *sd_spare[RUN_SPARES];
	unsigned sd_spares;        /* (h) */
	struct qr_list sd_leavers; /* (h) the runs of sd_leaving, by rn_bin */
} QR_ALIGNED(QR_CACHE_LINE);

extern QR_HIDDEN struct vmem_shard vmem__shards[VMEM_SHARDS];
/* Bit i: shard i has been used; and how many have. */
extern QR_HIDDEN _Atomic uint32_t vmem__shards_mask;
extern QR_HIDDEN _Atomic unsigned vmem__shards_count;
extern QR_HIDDEN struct meta_pool vmem__run_pool;

/* ---- vmem_shard.c ---- */

/* From the end of the table downwards. */
static inline struct vmem_shard *
vmem__shard_at(unsigned i)
{
	return (&vmem__shards[VMEM_SHARDS - 1 - i]);
}

static inline struct vmem_shard *
vmem__shard_of(const struct vmem__run *run)
{
	return (vmem__shard_at(run->rn_shard));
}

static inline bool
vmem__shard_used(unsigned i)
{
	return (
	    (atomic_load_explicit(&vmem__shards_mask, memory_order_acquire) >>
		    i &
		1) != 0);
}

static inline unsigned
vmem__shards_used(void)
{
	return (
	    atomic_load_explicit(&vmem__shards_count, memory_order_relaxed));
}

/* What is marked (l). */
static inline size_t
vmem__shard_look(const size_t *n)
{
	return (__atomic_load_n(n, __ATOMIC_RELAXED));
}

static inline void
vmem__shard_set(size_t *n, size_t value)
{
	__atomic_store_n(n, value, __ATOMIC_RELAXED);
}

/* Which one a CPU looks in first for so many bytes. */
unsigned vmem__shard_for(size_t size);

/* The list for a run of `size`; what is larger never goes to an earlier one. */
unsigned vmem__runs_bin(size_t size);
/* The first list from b on, or the last before it, that is not empty; or RUN_BINS. */
unsigned vmem__runs_next(const struct vmem_shard *sd, int kind, unsigned b);
unsigned vmem__runs_last(const struct vmem_shard *sd, int kind, unsigned b);

static inline struct qr_list *
vmem__runs_at(struct vmem_shard *sd, int kind, unsigned b)
{
	return (&sd->sd_bin[RUN_BINS - 1 - b][kind]);
}

/* A record that reads as zero, or NULL; and take one that is no run any more. */
struct vmem__run *vmem__run_get(struct vmem_shard *sd);
void vmem__run_put(struct vmem_shard *sd, struct vmem__run *run);
/* Make a run free; an idle one takes its age from its place, after `age`. */
void vmem__run_enter(struct vmem__run *run, struct qr_list *age);
void vmem__run_leave(struct vmem__run *run);
/* A free run has these bytes now, and keeps its age. */
void vmem__run_reshape(struct vmem__run *run, uintptr_t addr, size_t size);
/* The free run that ends where this one begins, or begins where it ends; or NULL. */
struct vmem__run *vmem__run_before(const struct vmem__run *run);
struct vmem__run *vmem__run_behind(const struct vmem__run *run);
/* `part`, on no list, begins `skip` bytes behind the run; it is else as all of it. */
void vmem__run_part(const struct vmem__run *run, size_t skip, size_t size,
    struct vmem__run *part);
/* Move what lies beyond `size` bytes into `rest`: of a run on no list; of a free one. */
void vmem__run_split(
    struct vmem__run *run, size_t size, struct vmem__run *rest);
void vmem__run_trim(struct vmem__run *run, size_t size, struct vmem__run *rest);
/* `run`, on no list, becomes free, and one with its neighbours; this one. */
struct vmem__run *vmem__run_join(struct vmem__run *run);

/* ---- vmem_run.c ---- */

/* In a child of fork: none of its runs is leaving, for nobody is there to free it. */
void vmem__runs_stay(struct vmem_shard *sd);

/* ---- vmem_place.c ---- */

/* From `skip` bytes into a free run on, into those behind it perhaps. */
struct vmem_place {
	struct vmem__run *pl_run; /* NULL: none */
	size_t pl_skip;
	size_t pl_idle; /* bytes of it that are idle, where that is counted */
};

struct vmem_place vmem__place_in(struct vmem__run *run, size_t align);
/* A run with room, of about the least size that has it; or NULL. */
struct vmem__run *vmem__place_find(
    struct vmem_shard *sd, int kind, size_t size, size_t align);
/* The run with the most room, or nearly so, if it has that much; or NULL. */
struct vmem__run *vmem__place_widest(
    struct vmem_shard *sd, int kind, size_t size, size_t align);
/* The place with the most idle memory in it, with zero memory around that. */
struct vmem_place vmem__place_around(
    struct vmem_shard *sd, size_t size, size_t align);

/* ---- vmem_idle.c ---- */

size_t vmem__idle_max(void);
/* The parts of shards are smaller now: which have more than that? */
void vmem__idle_divide(void);
/* Whole quanta of idle memory beyond what may be kept; the shard's lock is held. */
size_t vmem__idle_over(struct vmem_shard *sd);
/* So much of the oldest, of this shard first; no lock is held. */
void vmem__purge_over(struct vmem_shard *sd, size_t over);
/* A run that reads as zero, on no list, is free; lets go of its shard. */
void vmem__run_join_zero(struct vmem__run *run);
/* Is there a limit on the addresses of the process? */
bool vmem__heap_limited(void);

#endif /* QR_VMEM_SHARD_H */
