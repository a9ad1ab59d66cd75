/*
 * umem_api.c - the public functions that allocate, and the no-fail protocol.
 */
#include "umem/umem_class.h"
#include "umem/umem_debug.h"
#include "umem/umem_impl.h"
#include "umem/umem_options.h"
#include "umem/umem_report.h"

#include "base/panic.h"
#include "meta/pagemap.h"
#include "os/os.h"
#include "os/os_fork.h"
#include "vmem/vmem_heap.h"

#include <stdatomic.h>
#include <string.h>

/* ---- UMEM_NOFAIL ---- */

static _Atomic(umem_nofail_callback_t *) nofail_callback;

/* Guards (n) the thread that is leaving; nobody else may call exit() then. */
static struct qr_mutex exit_lock = QR_MUTEX_INIT(QR_RANK_CLIENT);
static uint32_t exit_thread; /* (n) */

void
umem_nofail_callback(umem_nofail_callback_t *callback)
{
	atomic_store(&nofail_callback, callback);
}

static QR_NORETURN QR_COLD void
nofail_exit(int status)
{
	_Atomic uint32_t never = 0;
	uint32_t self = os_thread_id(), other;

	os_fork_arm();
	qr_mutex_enter(&exit_lock);
	other = exit_thread;
	if (other == 0)
		exit_thread = self;
	qr_mutex_exit(&exit_lock);
	if (other == self) {
		qr_panic("recursive UMEM_CALLBACK_EXIT()");
		qr_abort();
	}
	if (other == 0)
		exit(status);
	for (;;)
		os_park(&never, 0, NULL);
}

void
umem__exit_lock(void)
{
	qr_mutex_enter_nested(&exit_lock);
}

/* The thread that is leaving the parent is not in the child. */
void
umem__exit_unlock(bool child)
{
	if (child)
		exit_thread = 0;
	qr_mutex_exit(&exit_lock);
}

/*
 * A request failed: true when it should be tried again.  `flags` are those of
 * the cache, or of all.
 */
static QR_COLD bool
failed(int umflag, uint32_t flags)
{
	umem_nofail_callback_t *callback;
	int answer = UMEM_CALLBACK_EXIT(255);

	if ((umflag & UMEM_NOFAIL) == 0) {
		umem__report_null(flags);
		return (false);
	}
	callback = atomic_load(&nofail_callback);
	if (callback != NULL)
		answer = callback();
	if (answer == UMEM_CALLBACK_RETRY)
		return (true);
	if ((answer & ~0xff) != 0x100) {
		qr_warn("nofail callback returned %x", (unsigned)answer);
		answer = UMEM_CALLBACK_EXIT(255);
	}
	nofail_exit(answer & 0xff);
}

/* ---- caches ---- */

static QR_NOINLINE void *
cache_alloc_miss(umem_cache_t *cp, int umflag)
{
	uintptr_t word;

	do {
		word = umem__cpu_alloc(cp);
		if (word != 0)
			return ((void *)umem__word_addr(cp, word));
	} while (failed(umflag, cp->cache_flags));
	return (NULL);
}

QR_HOT void *
umem_cache_alloc(umem_cache_t *cp, int umflag)
{
	uintptr_t word = percpu_pop(cp->cache_off);

	if (QR_LIKELY(word != 0))
		return ((void *)(word >> cp->cache_shift));
	return (cache_alloc_miss(cp, umflag));
}

static QR_NOINLINE void
cache_free_miss(umem_cache_t *cp, void *buf, size_t size)
{
	uintptr_t addr = (uintptr_t)buf;

	if (cp->cache_ctl != 0)
		umem__debug_free(cp, addr, size);
	else if (addr == 0 || (addr & (cp->cache_align - 1)) != 0)
		umem__report_free(cp, addr, umem__slab_judge(cp, addr));
	else
		umem__cpu_free(cp, umem__word(cp, addr));
}

QR_HOT void
umem_cache_free(umem_cache_t *cp, void *buf)
{
	uintptr_t word = umem__word(cp, (uintptr_t)buf);

	if (QR_UNLIKELY((word & 1) != 0 || word == 0 ||
		!percpu_push(cp->cache_off, word)))
		cache_free_miss(cp, buf, UMEM_SIZE_ANY);
}

size_t
umem_cache_alloc_batch(umem_cache_t *cp, void **objs, size_t n, int umflag)
{
	size_t i;

	for (i = 0; i < n; i++) {
		objs[i] = umem_cache_alloc(cp, umflag);
		if (objs[i] == NULL)
			break;
	}
	return (i);
}

void
umem_cache_free_batch(umem_cache_t *cp, void **objs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		umem_cache_free(cp, objs[i]);
}

/* ---- any size ---- */

/* umem_alloc has a class that malloc has not. */
static inline size_t
off_of(size_t size)
{
	return (size <= 8 ? UMEM_OFF_8 : umem__off_of(size));
}

static struct umem_cache *
class_of(size_t size)
{
	size_t off = off_of(size);

	return (umem__class_cache(off != 0 ? off : umem__off_find(size)));
}

static QR_NOINLINE void *
alloc_miss(size_t size, int umflag, bool *zeroed)
{
	struct umem_cache *cp;
	void *buf;

	if (size == 0)
		return (NULL);
	do {
		buf = NULL;
		if (!umem__init())
			continue;
		if (size >= umem__classes.cl_limit) {
			if (!umem__mtbf_hit(umem__opt.debug))
				buf = umem__large_alloc(
				    size, vmem__heap_quantum, 0, zeroed);
			continue;
		}
		cp = class_of(size);
		if (cp != NULL)
			buf = umem__class_alloc(cp, size);
	} while (buf == NULL && failed(umflag, umem__opt.debug));
	return (buf);
}

QR_HOT void *
umem_alloc(size_t size, int umflag)
{
	if (QR_LIKELY(size < umem__classes.cl_fast && size != 0)) {
		uintptr_t word = percpu_pop_memory(off_of(size));

		if (QR_LIKELY(word != 0))
			return ((void *)word);
	}
	return (alloc_miss(size, umflag, NULL));
}

void *
umem_zalloc(size_t size, int umflag)
{
	bool zeroed = false;
	void *buf = NULL;

	if (QR_LIKELY(size < umem__classes.cl_fast && size != 0))
		buf = (void *)percpu_pop_memory(off_of(size));
	if (buf == NULL)
		buf = alloc_miss(size, umflag, &zeroed);
	return (buf == NULL || zeroed ? buf : memset(buf, 0, size));
}

static QR_NOINLINE void
free_miss(void *buf, size_t size)
{
	struct umem_cache *cp;
	struct vmem__run *run;

	if (buf == NULL && size == 0)
		return;
	if (size != 0 && size < umem__classes.cl_limit) {
		cp = class_of(size);
		if (cp != NULL) {
			cache_free_miss(cp, buf, size);
			return;
		}
	}
	run = vmem__run_find(HEAP_BLOCK, buf);
	if (run == NULL)
		umem__report(
		    "umem_free(%p, %zu): not a buffer of that size", buf, size);
	else if (run->rn_asked != size)
		umem__report("umem_free(%p, %zu): wrong size (expect %zu)", buf,
		    size, run->rn_asked);
	else
		umem__large_free(run);
}

QR_HOT void
umem_free(void *buf, size_t size)
{
	if (QR_UNLIKELY(size >= umem__classes.cl_fast || size == 0 ||
		buf == NULL || ((uintptr_t)buf & 7) != 0 ||
		!percpu_push(off_of(size), (uintptr_t)buf)))
		free_miss(buf, size);
}

size_t
umem_usable_size(const void *buf)
{
	const struct umem_slab *sl = umem__slab_of(buf);
	const struct vmem__run *run = vmem__run_find(HEAP_BLOCK, buf);
	size_t asked;

	if (run != NULL)
		return (run->rn_asked);
	if (sl == NULL || (sl->sl_cache->cache_flags & UMF_CLASS) == 0)
		return (0);
	if (sl->sl_cache->cache_ctl != 0)
		return (
		    umem__debug_in_use(sl->sl_cache, buf, &asked) ? asked : 0);
	return (umem__slab_index(sl->sl_cache, sl, (uintptr_t)buf) != SIZE_MAX
		? sl->sl_cache->cache_bufsize
		: 0);
}

/* ---- aligned: an arena of bytes, which knows the exact size of each ---- */

static _Atomic(vmem_t *) memalign_arena;

static void *
memalign_import(vmem_t *source, size_t *sizep, size_t align, int vmflag)
{
	(void)source;
	(void)vmflag;
	umem__tick(true);
	return (vmem__heap_alloc(*sizep, qr_max(align, vmem__heap_quantum)));
}

static void
memalign_release(vmem_t *source, void *addr, size_t size)
{
	(void)source;
	(void)size;
	vmem__heap_free(addr);
	umem__tick(false);
}

static vmem_t *
memalign_get(void)
{
	vmem_t *arena = atomic_load(&memalign_arena), *other = NULL;

	if (arena != NULL || !umem__init())
		return (arena);
	arena = vmem_xcreate("umem_memalign", NULL, 0, 8, memalign_import,
	    memalign_release, vmem__heap(), 0, VM_NOSLEEP | VMC_XALIGN);
	if (arena != NULL &&
	    !atomic_compare_exchange_strong(&memalign_arena, &other, arena)) {
		vmem_destroy(arena);
		arena = other;
	}
	return (arena);
}

void *
umem_alloc_align(size_t size, size_t align, int umflag)
{
	vmem_t *arena;
	void *buf;

	if (align == 0)
		align = 8;
	if (size == 0 || !qr_ispow2(align))
		return (NULL);
	do {
		arena = umem__mtbf_hit(umem__opt.debug) ? NULL : memalign_get();
		buf = arena == NULL ? NULL
				    : vmem_xalloc(arena, size, qr_max(align, 8),
					  0, 0, NULL, NULL, VM_NOSLEEP);
	} while (buf == NULL && failed(umflag, umem__opt.debug));
	return (buf);
}

void
umem_free_align(void *buf, size_t size)
{
	vmem_t *arena = atomic_load(&memalign_arena);

	if (buf == NULL && size == 0)
		return;
	if (arena == NULL)
		umem__report("umem_free_align(%p, %zu): bad free", buf, size);
	else
		vmem_xfree(arena, buf, size);
}

void *
umem_alloc_aligned(size_t size, size_t align, int umflag)
{
	return (umem_alloc_align(size, align, umflag));
}

void
umem_free_aligned(void *buf, size_t size)
{
	umem_free_align(buf, size);
}
