/*
 * malloc.c - the malloc family, over the caches of umem_alloc.
 *
 * No tag stands before a block: its page tells whose it is.  Every block is
 * aligned to 16 bytes.  A size too large for PTRDIFF_MAX fails with ENOMEM.
 */
#include "malloc/malloc.h"
#include "malloc/malloc_hit.h"

#include "umem/umem_debug.h"
#include "umem/umem_impl.h"
#include "umem/umem_options.h"
#include "umem/umem_report.h"

#include "base/panic.h"
#include "meta/pagemap.h"
#include "os/os.h"
#include "os/os_fork.h"
#include "vmem/vmem_heap.h"

#include <errno.h>
#include <string.h>

enum {
	MALLOC_ALIGN = 16,
	/* A block that grows beyond this gets a run of the heap, to grow in. */
	MALLOC_GROWN = 32 << 10,
	/* One that moves from this size on takes more than what it may leave. */
	MALLOC_MOVED = 1 << 20,
};

/* ---- allocation ---- */

/* The class for such a block, or 0. */
static inline size_t
class_off(size_t size, size_t align)
{
	if (size >= umem__classes.cl_limit || align > PAGEMAP_PAGE)
		return (0);
	return (umem__off_find_aligned(size, align));
}

/* A firewalled block begins so far before its end, and is to be aligned there. */
static inline size_t
class_size(size_t size, size_t align)
{
	return (
	    align <= MALLOC_ALIGN ? size : qr_roundup(qr_max(size, 1), align));
}

static QR_NOINLINE void *
alloc_miss(size_t size, size_t align, bool *zeroed)
{
	struct umem_cache *cp;
	void *p = NULL;
	size_t off;

	if (umem__init()) {
		off = class_off(size, align);
		if (off != 0) {
			cp = umem__class_cache(off);
			if (cp != NULL)
				p = umem__class_alloc(
				    cp, class_size(size, align));
		} else if (!umem__mtbf_hit(umem__opt.debug)) {
			p = umem__large_alloc(
			    qr_max(size, UMEM_CLASS_MAX + 1), align, 0, zeroed);
		}
	}
	if (p == NULL) {
		umem__report_null(umem__opt.debug);
		errno = ENOMEM;
	}
	return (p);
}

QR_HOT void *
malloc(size_t size)
{
	uintptr_t word = malloc__hit(size);

	return (QR_LIKELY(word != 0) ? (void *)word
				     : alloc_miss(size, MALLOC_ALIGN, NULL));
}

static QR_NOINLINE void *
calloc_miss(size_t size)
{
	bool zeroed = false;
	void *p = alloc_miss(size, MALLOC_ALIGN, &zeroed);

	return (p == NULL || zeroed ? p : memset(p, 0, size));
}

QR_HOT void *
calloc(size_t n, size_t size)
{
	uintptr_t word;

	/* Before there is a second thread, pthread_create() comes here. */
	os_fork_watch();
	if (__builtin_mul_overflow(n, size, &size)) {
		errno = ENOMEM;
		return (NULL);
	}
	word = malloc__hit(size);
	return (QR_LIKELY(word != 0) ? memset((void *)word, 0, size)
				     : calloc_miss(size));
}

/* An alignment up to that of slabs is one of classes; 0: missed. */
QR_INLINE uintptr_t
aligned_pop(size_t align, size_t size)
{
	return (QR_LIKELY(align <= umem__classes.cl_align &&
		    size < umem__classes.cl_fast)
		? percpu_pop_memory(umem__off_aligned(size, align))
		: 0);
}

QR_INLINE void *
aligned(size_t align, size_t size)
{
	uintptr_t word = aligned_pop(align, size);

	return (QR_LIKELY(word != 0) ? (void *)word
				     : alloc_miss(size, align, NULL));
}

QR_HOT void *
memalign(size_t align, size_t size)
{
	if (!qr_ispow2(align) || size == 0) {
		errno = EINVAL;
		return (NULL);
	}
	return (aligned(align, size));
}

QR_HOT void *
aligned_alloc(size_t align, size_t size)
{
	if (!qr_ispow2(align)) {
		errno = EINVAL;
		return (NULL);
	}
	return (aligned(align, size));
}

static QR_NOINLINE int
posix_memalign_miss(void **out, size_t align, size_t size)
{
	int saved = errno;
	void *p = alloc_miss(size, align, NULL);

	errno = saved;
	if (p == NULL)
		return (ENOMEM);
	*out = p;
	return (0);
}

QR_HOT int
posix_memalign(void **out, size_t align, size_t size)
{
	uintptr_t word;

	if (!qr_ispow2(align) || align % sizeof(void *) != 0)
		return (EINVAL);
	word = aligned_pop(align, size);
	if (QR_UNLIKELY(word == 0))
		return (posix_memalign_miss(out, align, size));
	*out = (void *)word;
	return (0);
}

void *
valloc(size_t size)
{
	return (aligned_alloc(os_page_size(), size));
}

void *
pvalloc(size_t size)
{
	size_t page = os_page_size();

	if (size > PTRDIFF_MAX) {
		errno = ENOMEM;
		return (NULL);
	}
	return (aligned_alloc(page, qr_roundup(qr_max(size, 1), page)));
}

/* ---- release ---- */

/* What a pointer was found to be. */
struct block {
	struct umem_cache *bl_cache; /* of a class, or NULL */
	struct vmem__run *bl_large;  /* or NULL */
};

static QR_COLD void
block_report(const char *who, const void *p)
{
	const uint32_t *kind = pagemap_descriptor(pagemap_get(p));
	const struct umem_slab *sl = umem__slab_of(p);
	const char *wrong = "invalid pointer";
	char what[128];

	if (sl != NULL && (sl->sl_cache->cache_flags & UMF_MALLOC) == 0)
		wrong = "not from malloc";
	else if (sl != NULL || (kind != NULL && *kind == HEAP_BLOCK))
		wrong = "not the start of a block";
	umem__describe(p, what, sizeof(what));
	umem__report("%s(%p): %s: %s", who, p, wrong, what);
}

/*
 * Find the block that p is the start of, as far as its page tells; else report
 * what is wrong with it on behalf of `who`.
 */
static inline bool
block_find(const char *who, void *p, struct block *bl)
{
	const uint32_t *kind = pagemap_descriptor(pagemap_get(p));
	struct umem_slab *sl = (void *)(uintptr_t)kind;

	*bl = (struct block){NULL, NULL};
	if (kind != NULL && *kind == HEAP_SLAB) {
		if ((sl->sl_cache->cache_flags & UMF_MALLOC) != 0 &&
		    (uintptr_t)p % MALLOC_ALIGN == 0)
			bl->bl_cache = sl->sl_cache;
	} else if (kind != NULL && *kind == HEAP_BLOCK) {
		bl->bl_large = vmem__run_find(HEAP_BLOCK, p);
	}
	if (QR_LIKELY(bl->bl_cache != NULL || bl->bl_large != NULL))
		return (true);
	block_report(who, p);
	return (false);
}

static QR_NOINLINE void
free_miss(void *p)
{
	struct block bl;

	if (p == NULL || !block_find("free", p, &bl))
		return;
	if (bl.bl_large != NULL)
		umem__large_free(bl.bl_large);
	else
		umem__cpu_free(bl.bl_cache, (uintptr_t)p);
}

QR_HOT void
free(void *p)
{
	size_t off;

	if (QR_UNLIKELY((uintptr_t)p % MALLOC_ALIGN != 0 ||
		!pagemap_off(p, &off) || !percpu_push(off, (uintptr_t)p)))
		free_miss(p);
}

/* The size tells nothing that the page does not. */
void
free_sized(void *p, size_t size)
{
	(void)size;
	free(p);
}

void
free_aligned_sized(void *p, size_t align, size_t size)
{
	(void)align;
	(void)size;
	free(p);
}

/* ---- size and growth ---- */

/* Is the block in use, as far as its cache can tell?  *size is its size. */
static bool
block_in_use(const struct block *bl, const void *p, size_t *size)
{
	struct umem_cache *cp = bl->bl_cache;

	if (cp == NULL) {
		*size = (umem__opt.debug & UMF_DEBUG) != 0
		    ? bl->bl_large->rn_asked
		    : bl->bl_large->rn_size;
		return (true);
	}
	if (cp->cache_ctl != 0)
		return (umem__debug_in_use(cp, p, size));
	*size = cp->cache_chunk;
	return ((cp->cache_flags & UMF_CHECK) == 0 ||
	    umem__slab_holds(umem__slab_of(p), (uintptr_t)p));
}

/* As block_find; where that is known, the block must be in use. */
static bool
block_check(const char *who, void *p, struct block *bl, size_t *size)
{
	char what[128];

	if (!block_find(who, p, bl))
		return (false);
	if (block_in_use(bl, p, size))
		return (true);
	umem__describe(p, what, sizeof(what));
	umem__report(
	    "%s(%p): not the start of a block in use: %s", who, p, what);
	return (false);
}

size_t
malloc_usable_size(void *p)
{
	struct block bl;
	size_t size;

	return (p != NULL && block_check("malloc_usable_size", p, &bl, &size)
		? size
		: 0);
}

/* Is a block of `have` bytes the right one for a request of `want`? */
static bool
fits(size_t have, size_t want)
{
	return (want <= have && (want > have / 2 || have <= MALLOC_ALIGN));
}

/* The common case of resize(): p is of a class that suits `size` too. */
static inline bool
suits(const void *p, size_t size)
{
	size_t off;

	return ((uintptr_t)p % MALLOC_ALIGN == 0 && pagemap_off(p, &off) &&
	    fits(umem__off_size(off), size));
}

/* Make the block of `have` bytes another size where it is. */
static bool
resize(const struct block *bl, size_t have, size_t size)
{
	if (fits(have, size)) {
		if (bl->bl_large != NULL)
			bl->bl_large->rn_asked = size;
		return (true);
	}
	return (bl->bl_large != NULL && size > MALLOC_GROWN &&
	    umem__large_resize(bl->bl_large, size));
}

/* What has grown will grow again, and should not move the next time. */
static void *
alloc_grown(const struct block *bl, size_t have, size_t size)
{
	void *p;

	if (size <= MALLOC_GROWN)
		return (malloc(qr_max(size, have + have / 4)));
	if (bl->bl_large != NULL)
		vmem__run_leaving(bl->bl_large, true);
	p = umem__large_alloc(size, MALLOC_ALIGN, size, NULL);
	if (p == NULL && bl->bl_large != NULL)
		vmem__run_leaving(bl->bl_large, false);
	return (p);
}

static QR_NOINLINE void *
realloc_miss(void *p, size_t size)
{
	struct block bl;
	bool exact;
	size_t have;
	void *q;

	if (!block_check("realloc", p, &bl, &have)) {
		errno = EINVAL;
		return (NULL);
	}
	if (size == 0) {
		free(p);
		return (NULL);
	}
	/* What lies behind a debugged block depends on its size. */
	exact = bl.bl_cache != NULL && bl.bl_cache->cache_ctl != 0;
	if (exact ? size == have : resize(&bl, have, size))
		return (p);
	q = size > have && !exact ? alloc_grown(&bl, have, size) : malloc(size);
	if (q == NULL) {
		errno = ENOMEM;
		return (NULL);
	}
	if (bl.bl_large != NULL && have >= MALLOC_MOVED && size > have) {
		umem__large_move(q, bl.bl_large, have);
	} else {
		memcpy(q, p, qr_min(have, size));
		free(p);
	}
	return (q);
}

QR_HOT void *
realloc(void *p, size_t size)
{
	if (QR_LIKELY(size != 0 && suits(p, size)))
		return (p);
	return (p == NULL ? malloc(size) : realloc_miss(p, size));
}

void *
reallocarray(void *p, size_t n, size_t size)
{
	if (__builtin_mul_overflow(n, size, &size)) {
		errno = ENOMEM;
		return (NULL);
	}
	return (realloc(p, size));
}
