/*
 * umem_mag.c - magazines, and the pages that they are parts of.
 *
 * A cache whose magazines grow leaves a generation of small ones behind, which
 * are half as much memory as the next: so two that are halves of a larger one
 * become that one when both are free.  Their memory is never anything else: who
 * looks at one without a lock finds magazines there.
 */
#include "umem/umem_impl.h"

#include "base/races.h"
#include "meta/meta.h"

#include <string.h>

enum {
	TYPE_FIRST = 2, /* of the block that is all a small process needs */
	TYPE_PAGE = UMEM_MAG_TYPES - 1,
	MAG_PAGE = 128 << TYPE_PAGE,
	/* In the first word of a free one, beside its type. */
	FREE = 64,
};

struct free_mag {
	uintptr_t fm_begin;
	struct qr_list fm_link;
};

/*
 * Invariants, whenever blocks_lock is free:
 *   B1  a block on blocks[type] has FREE and its type in its first word; no
 *       magazine in use has FREE there.
 *   B2  no two free blocks are the halves of one, except of pages.
 * Locking: (b) blocks_lock.
 */
static struct qr_mutex blocks_lock = QR_MUTEX_INIT(QR_RANK_MAGAZINES);
static struct qr_list blocks[TYPE_PAGE]; /* (b) by type; 0 if never used */
static struct umem_mag *first;           /* (b) it is no part of a page */
static struct meta_pool first_pool =
    META_POOL_INIT("first magazines", 128 << TYPE_FIRST);
static struct meta_pool page_pool = META_POOL_INIT("magazines", MAG_PAGE);

static size_t
size_of(unsigned type)
{
	return ((size_t)128 << type);
}

static uintptr_t
mark(unsigned type)
{
	return ((uintptr_t)type << 1 | 1);
}

static unsigned
mag_type(const struct umem_mag *mag)
{
	return ((unsigned)((mag->mag_begin & UMEM_MAG_MARK) >> 1));
}

/* ---- blocks ---- */

static bool
blocks_empty(unsigned type)
{
	return (blocks[type].next == NULL || qr_list_empty(&blocks[type]));
}

static void
block_enter(struct umem_mag *mag, unsigned type)
{
	struct free_mag *fm = (struct free_mag *)mag;

	if (blocks[type].next == NULL)
		qr_list_init(&blocks[type]);
	fm->fm_begin = FREE | mark(type);
	qr_list_push_front(&blocks[type], &fm->fm_link);
}

/* One of *type, if there is one, or else of the next larger type there is. */
static struct umem_mag *
block_find(unsigned *type)
{
	for (unsigned t = *type; t < TYPE_PAGE; t++) {
		struct free_mag *fm;

		if (blocks_empty(t))
			continue;
		fm = QR_LIST_FIRST(&blocks[t], struct free_mag, fm_link);
		qr_list_remove(&fm->fm_link);
		fm->fm_begin = 0;
		*type = t;
		return ((struct umem_mag *)fm);
	}
	if (first == NULL && *type <= TYPE_FIRST) {
		*type = TYPE_FIRST;
		return (first = meta_get(&first_pool));
	}
	*type = TYPE_PAGE;
	return (meta_get(&page_pool));
}

static struct umem_mag *
block_get(unsigned type)
{
	unsigned have = type;
	struct umem_mag *mag;

	qr_mutex_enter(&blocks_lock);
	mag = block_find(&have);
	while (mag != NULL && have > type) {
		have--;
		block_enter((void *)((char *)mag + size_of(have)), have);
	}
	qr_mutex_exit(&blocks_lock);
	return (mag == NULL ? NULL : memset(mag, 0, size_of(type)));
}

/* The other half of what it is a half of, if that is free; or NULL. */
static struct umem_mag *
free_half(const struct umem_mag *mag, unsigned type)
{
	struct umem_mag *half = (void *)((uintptr_t)mag ^ size_of(type));

	if (mag == first && type == TYPE_FIRST)
		return (NULL);
	return (qr_racy_load(&half->mag_begin) == (FREE | mark(type)) ? half
								      : NULL);
}

static void
block_put(struct umem_mag *mag, unsigned type)
{
	struct umem_mag *half;

	qr_mutex_enter(&blocks_lock);
	while (type < TYPE_PAGE && (half = free_half(mag, type)) != NULL) {
		qr_list_remove(&((struct free_mag *)half)->fm_link);
		mag = (void *)((uintptr_t)mag & ~(uintptr_t)size_of(type));
		type++;
	}
	if (type < TYPE_PAGE)
		block_enter(mag, type);
	else
		meta_put(&page_pool, mag);
	qr_mutex_exit(&blocks_lock);
}

/* ---- magazines ---- */

size_t
umem__mag_capacity(const struct umem_cache *cp, const struct umem_mag *mag)
{
	return (cp->cache_rounds[mag_type(mag)]);
}

struct umem_mag *
umem__mag_get(struct umem_cache *cp)
{
	struct umem_mag *mag;
	unsigned type;

	umem__depot_visit(cp);
	type = cp->cache_mag;
	mag = block_get(type);
	if (mag == NULL)
		return (NULL);
	mag->mag_begin = mark(type);
	mag->mag_round[umem__mag_capacity(cp, mag)] = mark(type);
	return (mag);
}

void
umem__mag_put(struct umem_mag *mag)
{
	block_put(mag, mag_type(mag));
}

bool
umem__mag_outgrown(const struct umem_cache *cp, const struct umem_mag *mag)
{
	return (mag_type(mag) < cp->cache_mag);
}

/*
 * Another CPU may be at work on the block when statistics are taken, and even
 * make another magazine of it, so words are read one by one, and no further
 * than the page, which no magazine leaves.
 */
size_t
umem__mag_rounds(uintptr_t top)
{
	const uintptr_t *word = (const uintptr_t *)top;
	size_t n = 0;

	while (((uintptr_t)(word - n) & (MAG_PAGE - 1)) != 0 &&
	    (__atomic_load_n(word - 1 - n, __ATOMIC_RELAXED) & 1) == 0)
		n++;
	return (n);
}

/* The end mark of a full one has the type, by whose size it is aligned. */
struct umem_mag *
umem__mag_of(uintptr_t top)
{
	uintptr_t above = *(const uintptr_t *)top;
	uintptr_t begin;

	if ((above & 1) != 0)
		begin = qr_rounddown(top, size_of((unsigned)(above >> 1)));
	else
		begin = top - (umem__mag_rounds(top) + 1) * sizeof(uintptr_t);
	return ((struct umem_mag *)begin);
}

/* Fork: the lock of what is free. */
void
umem__mag_lock(void)
{
	qr_mutex_enter_nested(&blocks_lock);
}

void
umem__mag_unlock(void)
{
	qr_mutex_exit(&blocks_lock);
}
