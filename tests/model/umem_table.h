/*
 * umem_table.h - caches and blocks, and a table of what should be there.
 *
 * Every block in use carries a pattern that nothing else may change, and no two
 * have a byte in common.  What is wrong is printed, and is the end.
 */
#ifndef QR_UMEM_TABLE_H
#define QR_UMEM_TABLE_H

#include "umem/umem_impl.h"

#include "support/apart.h"
#include "support/cpus.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	CACHES = 6,
	BLOCKS = 3000,
	BATCH = 40,
	PAGE = 4096,
	LIMITED = 64 * PAGE,  /* bytes of the arena that has no more */
	BYTES_MAX = 64 << 20, /* in use at once */
};

/* How a block is to be given back. */
enum how { BY_CACHE, BY_SIZE, BY_ALIGN, BY_ARENA, BY_MALLOC };

struct block {
	enum how b_how;
	unsigned b_cache; /* BY_CACHE */
	char *b_addr;
	size_t b_size;
	uint64_t b_stamp;
};

struct cache {
	umem_cache_t *c_cache; /* NULL: not made */
	size_t c_size, c_align;
	bool c_constructed;
	bool c_limited; /* its source is */
	int c_budget;   /* constructions that succeed; -1: all */
	size_t c_inuse;
	size_t c_ctor, c_dtor;
	_Atomic size_t c_reclaims;
};

static struct world {
	uint64_t w_stamp;
	bool w_failing; /* a system call may fail: so may any request */
	struct cache w_cache[CACHES];
	struct block w_block[BLOCKS];
	size_t w_nblocks, w_bytes;
	vmem_t *w_arena;                /* of integers */
	vmem_t *w_limited, *w_imported; /* of memory */
	size_t w_step;
} world;

static inline void
wrong(const struct world *w, const char *what)
{
	(void)fprintf(stderr, "step %zu: %s\n", w->w_step, what);
	abort();
}

#define CHECK(w, expr) ((expr) ? (void)0 : wrong(w, #expr))

/* ---- the pattern ---- */

/* The word at `at` of it; how much of that is before `size`. */
static inline size_t
pattern_word(const struct block *b, size_t at, size_t size, uint64_t *word)
{
	*word = (b->b_stamp << 20 ^ at) * UINT64_C(0x9e3779b97f4a7c15);
	return (qr_min(size - at, sizeof(*word)));
}

/* Where the next one is: all at the beginning, then few, and the last. */
static inline size_t
pattern_next(const struct block *b, size_t at)
{
	size_t next = at < 512 ? at + 8 : at + 1024;
	size_t last = (b->b_size - 1) / 8 * 8;

	return (at < last && next > last ? last : next);
}

static inline void
pattern_write(const struct block *b)
{
	uint64_t word;

	for (size_t at = 0; at < b->b_size; at = pattern_next(b, at)) {
		size_t n = pattern_word(b, at, b->b_size, &word);

		memcpy(b->b_addr + at, &word, n);
	}
}

/* Are the first bytes of it at p, where the block is or its copy? */
static inline bool
pattern_is_there(const struct block *b, const char *p, size_t size)
{
	uint64_t word;

	for (size_t at = 0; at < size; at = pattern_next(b, at)) {
		size_t n = pattern_word(b, at, size, &word);

		if (memcmp(p + at, &word, n) != 0)
			return (false);
	}
	return (true);
}

static inline bool
is_zero(const char *p, size_t size)
{
	return (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

/* ---- blocks ---- */

static inline bool
overlaps(const struct world *w, const struct block *b)
{
	for (size_t i = 0; i < w->w_nblocks; i++) {
		const struct block *o = &w->w_block[i];

		if ((o->b_how == BY_ARENA) == (b->b_how == BY_ARENA) &&
		    b->b_addr < o->b_addr + o->b_size &&
		    o->b_addr < b->b_addr + b->b_size)
			return (true);
	}
	return (false);
}

/* Enter a new block; NULL is right only while something may fail. */
static inline void
block_new(
    struct world *w, enum how how, unsigned cache, void *addr, size_t size)
{
	struct block b = {how, cache, addr, size, ++w->w_stamp};

	if (addr == NULL) {
		CHECK(w, w->w_failing);
		return;
	}
	CHECK(w, w->w_nblocks < BLOCKS);
	CHECK(w, !overlaps(w, &b));
	if (how != BY_ARENA) {
		pattern_write(&b);
		w->w_bytes += size;
	}
	if (how == BY_CACHE)
		w->w_cache[cache].c_inuse++;
	w->w_block[w->w_nblocks++] = b;
}

static inline bool
room_for(const struct world *w, size_t blocks, size_t bytes)
{
	return (
	    w->w_nblocks + blocks <= BLOCKS && w->w_bytes + bytes <= BYTES_MAX);
}

static inline void
block_forget(struct world *w, size_t i)
{
	struct block b = w->w_block[i];

	w->w_block[i] = w->w_block[--w->w_nblocks];
	w->w_bytes -= b.b_how == BY_ARENA ? 0 : b.b_size;
	if (b.b_how == BY_CACHE)
		w->w_cache[b.b_cache].c_inuse--;
}

/* Take a block out of the table, having looked at it. */
static inline struct block
block_out(struct world *w, size_t i)
{
	struct block b = w->w_block[i];

	CHECK(
	    w, b.b_how == BY_ARENA || pattern_is_there(&b, b.b_addr, b.b_size));
	block_forget(w, i);
	return (b);
}

/* Constructed objects begin with a pointer to their cache when they are free. */
static inline void
object_ready(struct world *w, const struct block *b)
{
	struct cache *c = &w->w_cache[b->b_cache];

	if (c->c_constructed)
		memcpy(b->b_addr, &c, sizeof(c));
}

/* `how` chooses among the ways that are right. */
static inline void
block_free(struct world *w, size_t i, unsigned how)
{
	struct block b = block_out(w, i);
	size_t usable;

	switch (b.b_how) {
	case BY_CACHE:
		object_ready(w, &b);
		umem_cache_free(w->w_cache[b.b_cache].c_cache, b.b_addr);
		break;
	case BY_SIZE:
		usable = umem_usable_size(b.b_addr);
		CHECK(w, usable >= b.b_size);
		umem_free(b.b_addr, how % 2 == 0 ? b.b_size : usable);
		break;
	case BY_ALIGN:
		(how % 2 == 0 ? umem_free_align : umem_free_aligned)(
		    b.b_addr, b.b_size);
		break;
	case BY_MALLOC:
		CHECK(w, apart_malloc_usable_size(b.b_addr) >= b.b_size);
		if (how % 4 == 0)
			apart_free_sized(b.b_addr, b.b_size);
		else
			apart_free(b.b_addr);
		break;
	default:
		vmem_free(w->w_arena, b.b_addr, b.b_size);
		break;
	}
}

/* ---- caches ---- */

static inline int
construct(void *buf, void *priv, int flags)
{
	struct cache *c = priv;

	if (flags != UMEM_DEFAULT || c->c_budget == 0)
		return (-1);
	c->c_budget -= c->c_budget > 0;
	memcpy(buf, &priv, sizeof(priv));
	c->c_ctor++;
	return (0);
}

static inline void
destruct(void *buf, void *priv)
{
	struct cache *c = priv;

	if (memcmp(buf, &priv, sizeof(priv)) != 0)
		wrong(&world, "destructed with other contents");
	c->c_dtor++;
}

static inline void
reclaim(void *priv)
{
	struct cache *c = priv;

	c->c_reclaims++;
}

static inline void
cache_name(char *name, size_t max, unsigned i)
{
	(void)snprintf(name, max, "shadow_%u", i);
}

/* May a request for one of its objects fail? */
static inline bool
cache_may_fail(const struct world *w, const struct cache *c)
{
	return (w->w_failing || c->c_limited || c->c_budget >= 0);
}

/* What is in use of it is freed before. */
static inline void
cache_unmake(struct world *w, unsigned i)
{
	struct cache *c = &w->w_cache[i];

	/* Where CPUs are out of reach, destruction leaves things there. */
	failsys_reset();
	w->w_failing = false;
	for (size_t b = w->w_nblocks; b-- > 0;) {
		if (w->w_block[b].b_how == BY_CACHE &&
		    w->w_block[b].b_cache == i)
			block_free(w, b, 0);
	}
	CHECK(w, c->c_inuse == 0);
	umem_cache_destroy(c->c_cache);
	CHECK(w, c->c_ctor == c->c_dtor);
	c->c_cache = NULL;
}

/* ---- the whole ---- */

static inline void
check_counts(struct world *w)
{
	struct umem_stat us;
	char name[16];

	for (unsigned i = 0; i < CACHES; i++) {
		const struct cache *c = &w->w_cache[i];

		cache_name(name, sizeof(name), i);
		CHECK(w, look_cache(name, &us) == (c->c_cache != NULL));
		if (c->c_cache == NULL)
			continue;
		CHECK(w, us.us_inuse == c->c_inuse);
		CHECK(w,
		    !c->c_constructed || c->c_ctor - c->c_dtor >= c->c_inuse);
	}
}

static inline void
check_blocks(struct world *w)
{
	for (size_t i = 0; i < w->w_nblocks; i++) {
		const struct block *b = &w->w_block[i];

		CHECK(w,
		    b->b_how == BY_ARENA ||
			pattern_is_there(b, b->b_addr, b->b_size));
	}
}

static inline void
world_begin(struct world *w)
{
	static char memory[LIMITED] QR_ALIGNED(PAGE);
	vmem_alloc_t *import;
	vmem_free_t *give;
	vmem_t *heap = vmem_heap_arena(&import, &give);

	cpus_stay();
	memset(w, 0, sizeof(*w));
	w->w_arena = vmem_create("model", (void *)1, 1 << 20, 1, NULL, NULL,
	    NULL, 8, VM_NOSLEEP | VMC_IDENTIFIER);
	w->w_limited = vmem_create("limited", memory, sizeof(memory), PAGE,
	    NULL, NULL, NULL, 0, VM_NOSLEEP);
	w->w_imported = vmem_create(
	    "imported", NULL, 0, PAGE, import, give, heap, 0, VM_NOSLEEP);
	if (w->w_arena == NULL || w->w_limited == NULL || w->w_imported == NULL)
		abort();
}

/* All is given back, and nothing is left. */
static inline void
world_end(struct world *w)
{
	vmem_t *arenas[] = {w->w_arena, w->w_limited, w->w_imported};

	failsys_reset();
	w->w_failing = false;
	check_blocks(w);
	while (w->w_nblocks > 0)
		block_free(w, w->w_nblocks - 1, 0);
	for (unsigned i = 0; i < CACHES; i++) {
		if (w->w_cache[i].c_cache != NULL)
			cache_unmake(w, i);
	}
	vmem_qcache_reap(w->w_arena);
	for (size_t i = 0; i < 3; i++) {
		CHECK(w, vmem_size(arenas[i], VMEM_ALLOC) == 0);
		vmem_destroy(arenas[i]);
	}
}

#endif /* QR_UMEM_TABLE_H */
