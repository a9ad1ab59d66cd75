/*
 * vmem_heap.h - the root arena, and the runs of quanta that its spans are cut
 * into.
 *
 * Theory.  The arena deals in spans: memory from the kernel, 2 MiB and more.
 * Everything that the library hands out comes from a run, whole quanta of one
 * span that have one owner or are free.  A free run is found by size, in lists
 * of eight sizes to a doubling, and by address, from the page map: the first
 * and the last page of a free run lead to it, so that a run which is freed
 * joins its free neighbours, and one that grows takes from the one behind it,
 * in constant time.
 *
 * A run that was used is idle first: its pages are still there, and a request
 * that gets them costs no page faults.  Idle runs are purged, oldest first, when
 * there are too many bytes of them, or when they have waited too long; then
 * they read as zero, like memory that was never used.  Idle and zero runs do
 * not join, but an idle one that is too short is used together with the zero one
 * behind it, rather than purged while other pages are made.  A span whose whole
 * memory is one zero run goes back to the arena, and so to the kernel.
 *
 * CPUs would meet at one lock: so runs are in shards, a span and all of its runs in
 * that of the CPU for which it was made.  A CPU looks in its own first, for idle
 * memory then in those of others, and makes a span before it takes what is zero from
 * others.  What is freed goes back to where it was, whoever frees it.
 *
 * Before that, a block that was freed may be parked: it waits on its CPU, whole
 * and on no list, for a request of its size.  It counts as idle.
 */
#ifndef QR_VMEM_HEAP_H
#define QR_VMEM_HEAP_H

#include <quarry/vmem.h>

#include "base/compiler.h"
#include "base/list.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What a page belongs to: the first member of whatever the page map has for
 * it.
 */
enum vmem__heap_kind {
	HEAP_FREE = 1, /* struct vmem__run */
	HEAP_LENT,     /* struct vmem__run, of an arena or a slab */
	HEAP_BLOCK,    /* struct vmem__run, handed out whole */
	HEAP_SLAB,     /* struct umem_slab */
};

/*
 * Locking: (o) the owner, who is whoever has it out of its slot when it was
 * parked; a free run has none, then (h); (h) the lock of its shard; (c) constant
 * while it is a run of that span.  It fills cache lines: two CPUs share none.
 */
struct vmem__run {
	uint32_t rn_kind;      /* (o) enum vmem__heap_kind */
	bool rn_first;         /* (o) begins its span */
	bool rn_last;          /* (o) ends it */
	bool rn_leaving;       /* (h) in use, but about to be freed */
	bool rn_zero;          /* (h) reads as zero; only of a free run */
	bool rn_zeroed;        /* (o) for the owner's use */
	uint8_t rn_shard;      /* (c) of its span */
	uintptr_t rn_addr;     /* (o) */
	size_t rn_size;        /* (o) bytes, a multiple of the quantum */
	size_t rn_asked;       /* (o) the same */
	uint64_t rn_when;      /* (h) os_now_coarse() when freed; 0: aged */
	struct qr_list rn_bin; /* (h) free runs of about this size; leaving */
	struct qr_list rn_age; /* (h) idle runs, oldest first */
} QR_ALIGNED(QR_CACHE_LINE);

struct vmem__heap_stat {
	size_t used;   /* bytes of runs that have an owner */
	size_t blocks; /* number of runs that are HEAP_BLOCK */
	size_t block_bytes;
	size_t idle_bytes; /* kept as they were freed, ready for reuse */
	uint64_t purged;   /* bytes given back to the system since start-up */
};

/* Create the arena; false when memory is short.  Called once. */
bool vmem__heap_init(void);
vmem_t *vmem__heap(void);
/* 16 KiB, or the page size where that is larger; set by vmem__heap_init(). */
extern QR_HIDDEN size_t vmem__heap_quantum;

/*
 * A run of at least `size` bytes, a multiple of the quantum, at a multiple of
 * `align` (a power of two).  If possible `room` bytes behind it are free, for
 * it to grow into.  *zeroed tells whether it reads as zero; where zeroed is NULL,
 * and nobody cares, some of it may be zero and some idle.
 * The page map leads from its first page to the run, from the others nowhere.
 * NULL when memory is short.
 */
struct vmem__run *vmem__run_alloc(enum vmem__heap_kind kind, size_t size,
    size_t align, size_t room, bool *zeroed);
/* The page map must be as vmem__run_alloc() left it. */
void vmem__run_free(struct vmem__run *run);
/*
 * It is about to be freed, or is not after all; until then idle memory makes way
 * for it, and what takes its place does not count as more in use.
 */
void vmem__run_leaving(struct vmem__run *run, bool on);
/* The same of a run that was of no use for a while: the next purge takes it. */
void vmem__run_free_aged(struct vmem__run *run);
/* The same of a run that reads as zero. */
void vmem__run_free_zero(struct vmem__run *run);
/*
 * Free a block, HEAP_BLOCK, as vmem__run_free() does or so that it waits whole,
 * on this CPU, for vmem__unpark() of its exact size; NULL: none waits.  True when
 * it, or what waited before it, became an idle run.
 */
bool vmem__park(struct vmem__run *run);
struct vmem__run *vmem__unpark(size_t size);
/*
 * Have a block read as zero without writing to it, if that pays: if blocks of
 * about rn_asked bytes that read as zero when they were handed out mostly do so
 * when vmem__run_look() is called, before they are freed.
 */
bool vmem__run_clear(struct vmem__run *run);
void vmem__run_look(const struct vmem__run *run);
/* Make the run `size` bytes long without moving it; false if that cannot be. */
bool vmem__run_resize(struct vmem__run *run, size_t size);
/* The run in use that starts at addr, if it is of that kind, or NULL. */
struct vmem__run *vmem__run_find(enum vmem__heap_kind kind, const void *addr);

/* The same by address, for arenas: HEAP_LENT. */
void *vmem__heap_alloc(size_t size, size_t align);
void vmem__heap_free(void *addr);

/*
 * Cap on idle bytes; the default is 16 MiB.  A quarter of what is in use is
 * kept if that is more, unless the cap is 0.
 */
void vmem__heap_set_idle_max(size_t bytes);
/*
 * So much memory is there for the process: what is in use and what is idle stay
 * below seven eighths of it, as far as that is idle.
 */
void vmem__heap_set_limit(size_t bytes);
/*
 * Somebody calls vmem__heap_purge() twice a second from now on, or no longer.
 * In between, what has been in use since the last call may be idle, beside a
 * quarter of what is in use now, unless the process has a limit.
 */
void vmem__heap_watch(bool on);
/* The same of a child, which has nobody else: without looking for what to purge. */
void vmem__heap_unwatched(void);
/*
 * Give idle memory freed before `before` (os_now_coarse) back, and what waited at
 * the last call already, or all of both: UINT64_MAX; bytes given.
 */
size_t vmem__heap_purge(uint64_t before);

/*
 * Pages here and there were given back.  Where the kernel makes huge pages of its
 * own accord it would fill all up again that is around one that is in use, so from
 * now on a heap that is not small has none.
 */
void vmem__heap_scattered(void);

void vmem__heap_stat(struct vmem__heap_stat *st);
/* Abort unless every invariant of the runs holds. */
void vmem__heap_check(void);
void vmem__heap_lock(void);
/*
 * In a child nobody watches, and nothing leaves; what it has too much goes with its
 * next free.
 */
void vmem__heap_unlock(bool child);

/* ---- between the arena and its runs ---- */

/* What caches hold for no user becomes idle runs. */
void vmem__reap_heap(void);

/*
 * A new span of at least `size` bytes, at a multiple of `align`, which reads as
 * zero; or NULL.  *sizep gets its size.
 */
void *vmem__span_alloc(size_t size, size_t align, size_t *sizep);
void vmem__span_free(void *addr, size_t size);
void vmem__runs_init(void);

/* Fork: the lock of who clears. */
void vmem__clear_lock(void);
void vmem__clear_unlock(void);

/* ---- between the runs and those that wait ---- */

void vmem__park_set_idle_max(size_t bytes);
/* Free what waited at the last call already, or all that waits. */
void vmem__park_purge(bool all);
/* Bytes that wait, in how many runs. */
size_t vmem__parked(size_t *runs);
/* Not less than that; looks at no other CPU's. */
size_t vmem__parked_most(void);

#endif /* QR_VMEM_HEAP_H */
