/*
 * umem_purge.c - the pages of slabs in use that hold free objects only.
 *
 * After a peak most slabs keep a few objects, and their other pages nobody's.
 * What describes the objects lies elsewhere, so such a page can go back to the
 * system, and comes again zeroed when one of its objects is handed out.
 */
#include "umem/umem_impl.h"

#include "os/os.h"

enum { SLABS_PER_HOLD = 16 };

/* Are objects first to last free? */
static bool
all_free(const struct umem_slab *sl, size_t first, size_t last)
{
	for (size_t i = first; i <= last; i++)
		if ((sl->sl_free[i / 64] >> (i % 64) & 1) == 0)
			return (false);
	return (true);
}

/* Is the page at `off` in the slab touched by free objects only? */
static bool
page_free(const struct umem_cache *cp, const struct umem_slab *sl, size_t off)
{
	size_t first = off / cp->cache_chunk;
	size_t last = (off + os_page_size() - 1) / cp->cache_chunk;

	return (first >= cp->cache_nchunks ||
	    all_free(sl, first, qr_min(last, cp->cache_nchunks - 1)));
}

static size_t
slab_purge(const struct umem_cache *cp, const struct umem_slab *sl)
{
	size_t page = os_page_size(), given = 0, off = 0;

	while (off < cp->cache_slabsize) {
		size_t from = off;

		while (off < cp->cache_slabsize && page_free(cp, sl, off))
			off += page;
		if (off > from &&
		    os_purge((void *)(sl->sl_base + from), off - from))
			given += off - from;
		off += page;
	}
	return (given);
}

/*
 * Purge some slabs of a bin that were not purged as they are now.  Those that
 * were are behind the others.  False when none was left to be.
 */
static bool
bin_purge(struct umem_cache *cp, struct qr_list *bin, size_t *given)
{
	unsigned n = 0;

	qr_mutex_enter(&cp->cache_slab_lock);
	for (; n < SLABS_PER_HOLD && !qr_list_empty(bin); n++) {
		struct umem_slab *sl =
		    QR_LIST_FIRST(bin, struct umem_slab, sl_link);

		if (sl->sl_purged == sl->sl_nfree)
			break;
		*given += slab_purge(cp, sl);
		sl->sl_purged = sl->sl_nfree;
		qr_list_remove(&sl->sl_link);
		qr_list_push_back(bin, &sl->sl_link);
	}
	qr_mutex_exit(&cp->cache_slab_lock);
	return (n == SLABS_PER_HOLD);
}

size_t
umem__slab_purge(struct umem_cache *cp)
{
	size_t given = 0;

	/* Free objects of a debugged cache hold what nobody may change. */
	if (cp->cache_source != NULL || cp->cache_ctl != 0)
		return (0);
	qr_mutex_enter(&cp->cache_slab_lock);
	umem__slab_undraw(cp);
	qr_mutex_exit(&cp->cache_slab_lock);
	for (unsigned i = 0; i < UMEM_SLAB_BINS; i++)
		while (bin_purge(cp, &cp->cache_bin[i], &given))
			;
	if (given != 0)
		vmem__heap_scattered();
	return (given);
}
