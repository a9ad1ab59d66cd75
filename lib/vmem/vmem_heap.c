/*
 * vmem_heap.c - the root arena, and the freed memory it keeps for a while.
 *
 * Everything free in the arena reads as zero: a span comes that way from the
 * kernel, and memory is purged before it is freed into the arena.  Purging
 * costs a system call, and a page fault for each page that is used again, so
 * what is freed waits first in the idle list: LIFO by size for reuse, FIFO by
 * age for purging, and never more than idle_max bytes.
 */
#include "vmem/vmem_heap.h"

#include "base/bits.h"
#include "base/list.h"
#include "meta/meta.h"
#include "meta/pagemap.h"
#include "os/os.h"
#include "os/os_lock.h"

#include <string.h>

enum {
	HEAP_BINS = 8 * 50,       /* eight sizes to a doubling, of any size */
	HEAP_IDLE_MAX = 16 << 20, /* default cap on idle bytes */
};

/* Spans grow with the heap between these, to keep system calls rare. */
#define HEAP_SPAN_MIN ((size_t)2 << 20)
#define HEAP_SPAN_MAX ((size_t)64 << 20)

/* Below this the heap does not ask for huge pages: small processes stay so. */
#define HEAP_HUGE_MIN ((size_t)32 << 20)

/* A run of memory that was freed and not yet purged. */
struct idle {
	struct qr_list id_bin; /* same size, latest first */
	struct qr_list id_age; /* all, oldest first */
	char *id_addr;
	size_t id_size;
	uint64_t id_when; /* os_now_coarse() when it was freed */
};

static struct meta_pool idle_pool =
    META_POOL_INIT("heap_idle", sizeof(struct idle));
static vmem_t *heap;
static size_t quantum;

/*
 * Invariants, whenever heap_lock is free:
 *   H1  an idle run is on the age list and on the bin of its size.
 *   H2  idle_bytes is the sum of their sizes; a thread that finds it above
 *       idle_max has begun to purge the oldest.
 * Locking: (h) heap_lock, held only for list work.
 */
static struct qr_mutex heap_lock = QR_MUTEX_INIT(QR_RANK_HEAP);
static struct qr_list bins[HEAP_BINS];           /* (h) */
static struct qr_list ages = QR_LIST_INIT(ages); /* (h) */
static size_t idle_bytes;                        /* (h) */
static size_t idle_max = HEAP_IDLE_MAX;          /* (h) */
static uint64_t hits, purged;                    /* (h) */

/* The bin for runs of n quanta; larger n never go to a smaller bin. */
static unsigned
bin_of(size_t size)
{
	size_t n = size / quantum;
	unsigned top = qr_log2(n);

	if (top < 3)
		return ((unsigned)n);
	return (top * 8 + (unsigned)(n >> (top - 3) & 7));
}

static void *
heap_import(vmem_t *source, size_t *sizep, size_t align, int vmflag)
{
	size_t total = vmem_size(heap, VMEM_ALLOC | VMEM_FREE);
	size_t span = qr_min(qr_max(total / 8, HEAP_SPAN_MIN), HEAP_SPAN_MAX);
	void *addr;

	(void)source;
	(void)vmflag;
	align = qr_max(align, HEAP_SPAN_MIN);
	span = qr_roundup(qr_max(span, *sizep), HEAP_SPAN_MIN);
	addr = span < *sizep ? NULL : os_map(span, align);
	if (addr == NULL) {
		span = *sizep;
		addr = os_map(span, qr_max(quantum, align));
	}
	if (addr == NULL)
		return (NULL);
	if (!pagemap_covers(addr, span)) {
		os_unmap(addr, span);
		return (NULL);
	}
	if (total < HEAP_HUGE_MIN)
		os_no_huge_pages(addr, span);
	*sizep = span;
	return (addr);
}

static void
heap_release(vmem_t *source, void *addr, size_t size)
{
	(void)source;
	/* Refused, the span is still ours: keep it, as zero as the rest. */
	if (!os_unmap(addr, size))
		(void)vmem_add(heap, addr, size, VM_NOSLEEP);
}

bool
vmem__heap_init(void)
{
	quantum = qr_max(PAGEMAP_PAGE, os_page_size());
	for (unsigned i = 0; i < HEAP_BINS; i++)
		qr_list_init(&bins[i]);
	heap = vmem_xcreate("heap", NULL, 0, quantum, heap_import, heap_release,
	    NULL, 0, VM_NOSLEEP | VMC_XALIGN);
	return (heap != NULL);
}

vmem_t *
vmem__heap(void)
{
	return (heap);
}

size_t
vmem__heap_quantum(void)
{
	return (quantum);
}

static void
idle_unlink(struct idle *id)
{
	qr_list_remove(&id->id_bin);
	qr_list_remove(&id->id_age);
	idle_bytes -= id->id_size;
}

/* The most recently freed run of exactly this size, unlinked, or NULL. */
static struct idle *
idle_find(size_t size, size_t align)
{
	struct qr_list *bin = &bins[bin_of(size)];
	unsigned tries = 8;

	qr_mutex_assert_held(&heap_lock);
	QR_LIST_FOREACH (id, bin, struct idle, id_bin) {
		if (id->id_size == size &&
		    qr_phase((uintptr_t)id->id_addr, align) == 0) {
			idle_unlink(id);
			hits++;
			return (id);
		}
		if (--tries == 0)
			break;
	}
	return (NULL);
}

/* Purge [addr, addr + size) and free it into the arena. */
static void
purge_free(void *addr, size_t size)
{
	if (!os_purge(addr, size))
		memset(addr, 0, size);
	vmem_xfree(heap, addr, size);
}

/* Purge the oldest idle run if it was freed before `before`; its size or 0. */
static size_t
purge_oldest(uint64_t before)
{
	struct idle *id = NULL;
	size_t size;

	qr_mutex_enter(&heap_lock);
	if (!qr_list_empty(&ages)) {
		id = QR_LIST_FIRST(&ages, struct idle, id_age);
		if (id->id_when < before) {
			idle_unlink(id);
			purged += id->id_size;
		} else {
			id = NULL;
		}
	}
	qr_mutex_exit(&heap_lock);
	if (id == NULL)
		return (0);
	size = id->id_size;
	purge_free(id->id_addr, size);
	meta_put(&idle_pool, id);
	return (size);
}

size_t
vmem__heap_purge(uint64_t before)
{
	size_t total = 0, given;

	while ((given = purge_oldest(before)) != 0)
		total += given;
	return (total);
}

void *
vmem__heap_alloc(size_t size, size_t align, bool *zeroed)
{
	struct idle *id;
	void *addr;

	qr_mutex_enter(&heap_lock);
	id = idle_find(size, align);
	qr_mutex_exit(&heap_lock);
	if (id != NULL) {
		addr = id->id_addr;
		meta_put(&idle_pool, id);
		*zeroed = false;
		return (addr);
	}
	*zeroed = true;
	addr = align <= quantum
	    ? vmem_alloc(heap, size, VM_NOSLEEP)
	    : vmem_xalloc(heap, size, align, 0, 0, NULL, NULL, VM_NOSLEEP);
	if (addr == NULL && vmem__heap_purge(UINT64_MAX) != 0)
		addr = vmem_xalloc(
		    heap, size, align, 0, 0, NULL, NULL, VM_NOSLEEP);
	return (addr);
}

void
vmem__heap_free(void *addr, size_t size)
{
	struct idle *id = size > idle_max / 2 ? NULL : meta_get(&idle_pool);
	size_t over;

	if (id == NULL) {
		purge_free(addr, size);
		return;
	}
	id->id_addr = addr;
	id->id_size = size;
	id->id_when = os_now_coarse();
	qr_mutex_enter(&heap_lock);
	qr_list_push_front(&bins[bin_of(size)], &id->id_bin);
	qr_list_push_back(&ages, &id->id_age);
	idle_bytes += size;
	over = idle_bytes > idle_max ? idle_bytes - idle_max : 0;
	qr_mutex_exit(&heap_lock);
	while (over > 0) {
		size_t given = purge_oldest(UINT64_MAX);

		over -= qr_min(over, given == 0 ? over : given);
	}
}

void
vmem__heap_set_idle_max(size_t bytes)
{
	qr_mutex_enter(&heap_lock);
	idle_max = bytes;
	qr_mutex_exit(&heap_lock);
}

void
vmem__heap_stat(struct vmem__heap_stat *st)
{
	qr_mutex_enter(&heap_lock);
	st->idle_bytes = idle_bytes;
	st->idle_max = idle_max;
	st->hits = hits;
	st->purged = purged;
	qr_mutex_exit(&heap_lock);
}

void
vmem__heap_lock(void)
{
	qr_mutex_enter_nested(&heap_lock);
}

void
vmem__heap_unlock(void)
{
	qr_mutex_exit(&heap_lock);
}
