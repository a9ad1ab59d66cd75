/*
 * umem_hash.c - from an address to its slab, where the page map cannot tell:
 * the integers of a cache with a source of its own need not be memory.
 *
 * A slab hangs on the bucket of its base divided by the slab size, rounded up
 * to a power of two, so an address is on that bucket of its own or on the one
 * before it.
 */
#include "umem/umem_impl.h"

#include "meta/meta.h"
#include "os/os.h"

static size_t
hash_key(const struct umem_cache *cp, uintptr_t addr)
{
	return (addr >> qr_log2(qr_pow2up(cp->cache_slabsize)));
}

/* Fibonacci hashing: neighbours spread over the whole table. */
static struct umem_slab **
hash_bucket(const struct umem_hash *h, size_t key)
{
	return (&h->hs_bucket[key * 0x9e3779b97f4a7c15u >>
	    (64 - qr_log2(h->hs_size))]);
}

bool
umem__hash_init(struct umem_hash *h)
{
	h->hs_size = os_page_size() / sizeof(*h->hs_bucket);
	h->hs_bucket = meta_block_get(os_page_size());
	return (h->hs_bucket != NULL);
}

void
umem__hash_fini(struct umem_hash *h)
{
	if (h->hs_bucket != NULL)
		meta_block_put(
		    h->hs_bucket, h->hs_size * sizeof(*h->hs_bucket));
}

/* Twice as many buckets; without memory for them, longer chains. */
static void
hash_grow(struct umem_cache *cp)
{
	struct umem_hash *h = &cp->cache_hash;
	struct umem_hash old = *h;
	struct umem_slab **table =
	    meta_block_get(2 * old.hs_size * sizeof(*table));

	if (table == NULL)
		return;
	h->hs_bucket = table;
	h->hs_size = 2 * old.hs_size;
	for (size_t i = 0; i < old.hs_size; i++) {
		struct umem_slab *sl, *next;

		for (sl = old.hs_bucket[i]; sl != NULL; sl = next) {
			next = sl->sl_hash;
			umem__hash_insert(cp, sl);
		}
	}
	umem__hash_fini(&old);
}

void
umem__hash_insert(struct umem_cache *cp, struct umem_slab *sl)
{
	struct umem_slab **bucket;

	if (cp->cache_nslabs > 2 * cp->cache_hash.hs_size)
		hash_grow(cp);
	bucket = hash_bucket(&cp->cache_hash, hash_key(cp, sl->sl_base));
	sl->sl_hash = *bucket;
	*bucket = sl;
}

void
umem__hash_remove(struct umem_cache *cp, struct umem_slab *sl)
{
	struct umem_slab **link =
	    hash_bucket(&cp->cache_hash, hash_key(cp, sl->sl_base));

	while (*link != sl)
		link = &(*link)->sl_hash;
	*link = sl->sl_hash;
}

struct umem_slab *
umem__hash_find(struct umem_cache *cp, uintptr_t addr)
{
	size_t key = hash_key(cp, addr);
	struct umem_slab *sl;

	for (unsigned before = 0; before < 2; before++) {
		sl = *hash_bucket(&cp->cache_hash, key - before);
		for (; sl != NULL; sl = sl->sl_hash) {
			if (addr - sl->sl_base < cp->cache_slabsize)
				return (sl);
		}
	}
	return (NULL);
}
