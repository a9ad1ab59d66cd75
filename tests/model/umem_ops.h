/*
 * umem_ops.h - lists of operations on caches and sizes, made at random, and
 * what runs them.
 */
#ifndef QR_UMEM_OPS_H
#define QR_UMEM_OPS_H

#include "model/umem_table.h"
#include "support/random.h"

#include "umem/umem_options.h"

enum { SHAPES = 4, DEBUGGED = 1, FAILS = 2 };

/* One operation; what the fields mean depends on o_kind and on the state. */
struct op {
	uint8_t o_kind;
	uint8_t o_scale;
	uint16_t o_a;
	uint32_t o_b;
};

/* Whether the shape has caches that are debugged, and system calls that fail. */
static unsigned shape;

/* Small ones are likelier; at most 2^bits. */
static inline size_t
op_size(const struct op *op, unsigned bits)
{
	return (1 + op->o_b % (1u << op->o_scale % (bits + 1)));
}

/* ---- caches ---- */

static inline int
cache_flags(const struct op *op)
{
	static const int kinds[] = {
	    UMC_NOMAGAZINE, UMC_NOTOUCH, UMC_NODEBUG, UMC_NOHASH, 0, 0, 0, 0};
	static const int debug[] = {UMF_DEADBEEF | UMF_REDZONE, UMF_AUDIT,
	    UMF_LITE, UMF_AUDIT | UMF_CONTENTS | UMF_DEADBEEF | UMF_REDZONE,
	    UMF_FIREWALL, UMF_REDZONE, UMF_RANDOMIZE, 0};

	return (kinds[op->o_a % 8] |
	    ((shape & DEBUGGED) != 0 ? debug[op->o_a / 8 % 8] : 0));
}

static inline void
cache_make(struct world *w, struct cache *c, const struct op *op)
{
	vmem_t *sources[] = {NULL, NULL, w->w_imported, w->w_limited};
	unsigned bits = op->o_a >> 6, source = bits % 4;
	int flags = cache_flags(op);
	char name[16];

	memset(c, 0, sizeof(*c));
	c->c_size = 16 + op_size(op, 14);
	c->c_align = (size_t)1 << op->o_b / 16384 % 14;
	if ((bits & 4) != 0 || c->c_align > PAGE)
		c->c_align = 0;
	c->c_constructed = (bits & 24) == 0;
	c->c_limited = source == 3;
	c->c_budget = c->c_constructed && (bits & 32) != 0 ? 20 : -1;
	cache_name(name, sizeof(name), (unsigned)(c - w->w_cache));
	c->c_cache = umem_cache_create(name, c->c_size, c->c_align,
	    c->c_constructed ? construct : NULL,
	    c->c_constructed ? destruct : NULL, reclaim, c, sources[source],
	    flags);
	/* Those want everything of an object within one page. */
	CHECK(
	    w, c->c_cache != NULL || w->w_failing || (flags & UMC_NOHASH) != 0);
}

/* One that is there, or is made now; NULL when it could not be. */
static inline struct cache *
op_cache(struct world *w, const struct op *op)
{
	struct cache *c = &w->w_cache[op->o_a % CACHES];

	if (c->c_cache == NULL)
		cache_make(w, c, op);
	return (c->c_cache == NULL ? NULL : c);
}

static inline void
op_cache_unmake(struct world *w, const struct op *op)
{
	unsigned i = op->o_a % CACHES;

	if (op->o_b % 4 == 0 && w->w_cache[i].c_cache != NULL)
		cache_unmake(w, i);
}

static inline void
object_new(struct world *w, struct cache *c, char *p)
{
	size_t align = c->c_align != 0 ? c->c_align : 8;

	if (p != NULL) {
		CHECK(w, (uintptr_t)p % align == 0);
		CHECK(w, !c->c_constructed || memcmp(p, &c, sizeof(c)) == 0);
	} else {
		CHECK(w, cache_may_fail(w, c));
		return;
	}
	block_new(w, BY_CACHE, (unsigned)(c - w->w_cache), p, c->c_size);
}

static inline void
op_cache_alloc(struct world *w, const struct op *op)
{
	struct cache *c = op_cache(w, op);

	if (c != NULL && room_for(w, 1, c->c_size))
		object_new(w, c, umem_cache_alloc(c->c_cache, UMEM_DEFAULT));
}

static inline void
op_cache_alloc_batch(struct world *w, const struct op *op)
{
	struct cache *c = op_cache(w, op);
	size_t n = 1 + op->o_b % BATCH, got;
	void *objs[BATCH];

	if (c == NULL || !room_for(w, n, n * c->c_size))
		return;
	got = umem_cache_alloc_batch(c->c_cache, objs, n, UMEM_DEFAULT);
	CHECK(w, got == n || (got < n && cache_may_fail(w, c)));
	for (size_t i = 0; i < got; i++)
		object_new(w, c, objs[i]);
}

static inline void
op_cache_free_batch(struct world *w, const struct op *op)
{
	unsigned cache = op->o_a % CACHES;
	size_t most = 1 + op->o_b % BATCH, n = 0;
	void *objs[BATCH];

	for (size_t i = w->w_nblocks; i-- > 0 && n < most;) {
		struct block b = w->w_block[i];

		if (b.b_how != BY_CACHE || b.b_cache != cache)
			continue;
		(void)block_out(w, i);
		object_ready(w, &b);
		objs[n++] = b.b_addr;
	}
	if (n > 0)
		umem_cache_free_batch(w->w_cache[cache].c_cache, objs, n);
}

/* So many constructions will succeed, or all. */
static inline void
op_budget(struct world *w, const struct op *op)
{
	struct cache *c = &w->w_cache[op->o_a % CACHES];

	if (c->c_cache != NULL)
		c->c_budget = op->o_b % 2 == 0 ? -1 : (int)(op->o_b / 2 % 40);
}

/* ---- any size ---- */

static inline void
op_alloc(struct world *w, const struct op *op)
{
	size_t size = op_size(op, 19);
	bool zero = op->o_a % 4 == 0;
	char *p;

	if (!room_for(w, 1, size))
		return;
	p = zero ? umem_zalloc(size, 0) : umem_alloc(size, 0);
	if (p != NULL) {
		CHECK(w, (uintptr_t)p % (size <= 8 ? 8 : 16) == 0);
		CHECK(w, size % 64 != 0 || (uintptr_t)p % 64 == 0);
		CHECK(w, !zero || is_zero(p, size));
	}
	block_new(w, BY_SIZE, 0, p, size);
}

static inline void
op_alloc_align(struct world *w, const struct op *op)
{
	size_t size = op_size(op, 16), align = (size_t)1 << op->o_a % 22;
	char *p;

	if (!room_for(w, 1, size))
		return;
	p = (op->o_a % 64 < 32 ? umem_alloc_align : umem_alloc_aligned)(
	    size, align, 0);
	CHECK(w, (uintptr_t)p % align == 0);
	block_new(w, BY_ALIGN, 0, p, size);
}

/* Integers through quantum caches: there are enough for all blocks. */
static inline void
op_arena(struct world *w, const struct op *op)
{
	size_t size = 1 + op->o_b % 12;

	if (room_for(w, 1, 0))
		block_new(w, BY_ARENA, 0,
		    vmem_alloc(w->w_arena, size, VM_NOSLEEP), size);
}

/* ---- the malloc family ---- */

static inline void *
malloc_aligned(unsigned how, size_t align, size_t size)
{
	void *p = NULL;

	switch (how % 5) {
	case 0:
		return (apart_memalign(align, size));
	case 1:
		return (apart_aligned_alloc(align, size));
	case 2:
		return (align == PAGE ? apart_valloc(size)
				      : apart_memalign(align, size));
	case 3:
		return (align == PAGE ? apart_pvalloc(size)
				      : apart_aligned_alloc(align, size));
	default:
		if (align >= sizeof(void *) &&
		    apart_posix_memalign(&p, align, size) != 0)
			return (NULL);
		return (p != NULL ? p : apart_memalign(align, size));
	}
}

static inline void
op_malloc(struct world *w, const struct op *op)
{
	size_t size = op_size(op, 20), align = 16, n = 1 + op->o_a / 256 % 5;
	bool zero = op->o_a % 8 == 1;
	char *p;

	if (!room_for(w, 1, size + n))
		return;
	if (zero) {
		p = apart_calloc(n, (size + n - 1) / n);
	} else if (op->o_a % 8 == 2) {
		align = (size_t)1 << op->o_a / 64 % 17;
		p = malloc_aligned(op->o_a / 8, align, size);
	} else {
		p = apart_malloc(size);
	}
	CHECK(w, (uintptr_t)p % align == 0);
	CHECK(w, !zero || p == NULL || is_zero(p, size));
	block_new(w, BY_MALLOC, 0, p, size);
}

/* The contents come along, and where it fails nothing happened. */
static inline void
op_realloc(struct world *w, const struct op *op)
{
	size_t i = 0, size = op_size(op, 20), n = 1 + op->o_a % 3;
	struct block b;
	char *p;

	while (i < w->w_nblocks &&
	    w->w_block[(i + op->o_a) % w->w_nblocks].b_how != BY_MALLOC)
		i++;
	if (i == w->w_nblocks || !room_for(w, 0, size + n))
		return;
	i = (i + op->o_a) % w->w_nblocks;
	b = w->w_block[i];
	CHECK(w, pattern_is_there(&b, b.b_addr, b.b_size));
	p = op->o_a % 8 != 0
	    ? apart_realloc(b.b_addr, size)
	    : apart_reallocarray(b.b_addr, n, (size + n - 1) / n);
	if (p == NULL) {
		CHECK(w, w->w_failing);
		return;
	}
	CHECK(w, (uintptr_t)p % 16 == 0);
	CHECK(w, pattern_is_there(&b, p, qr_min(b.b_size, size)));
	block_forget(w, i);
	block_new(w, BY_MALLOC, 0, p, size);
}

/* ---- everything ---- */

static inline void
op_free(struct world *w, const struct op *op)
{
	uint64_t seed = op->o_b;

	for (size_t n = 1 + op->o_a % 12; n > 0 && w->w_nblocks > 0; n--) {
		uint64_t r = random_next(&seed);

		block_free(w, r % w->w_nblocks, (unsigned)(r >> 60));
	}
}

static inline void
op_reap(struct world *w, const struct op *op)
{
	struct cache *c = &w->w_cache[op->o_a % CACHES];

	switch (op->o_b % 16) {
	case 0:
		(void)quarry_reap();
		break;
	case 1:
		umem_reap();
		break;
	case 2:
		vmem_qcache_reap(w->w_arena);
		break;
	case 3:
		(void)apart_malloc_trim(op->o_a);
		break;
	default:
		if (c->c_cache != NULL)
			umem_cache_reap_now(c->c_cache);
		break;
	}
}

/* For a while, some system call fails. */
static inline void
op_fail(struct world *w, const struct op *op)
{
	static const enum failsys calls[] = {FAILSYS_MMAP, FAILSYS_MMAP,
	    FAILSYS_MUNMAP, FAILSYS_MADVISE, FAILSYS_SYSCALL};

	failsys_reset();
	w->w_failing = !w->w_failing && (shape & FAILS) != 0 && op->o_b % 4 < 2;
	if (w->w_failing)
		failsys_from(calls[op->o_a % 5], 1 + op->o_b / 4 % 3, ENOMEM);
}

/* Every way to ask for the impossible is answered with nothing. */
static inline void
op_invalid(struct world *w, const struct op *op)
{
	size_t huge = (size_t)PTRDIFF_MAX + 1 + op->o_b;
	void *p = w;

	CHECK(w, umem_alloc(0, 0) == NULL && umem_zalloc(0, 0) == NULL);
	CHECK(w, umem_alloc(huge, 0) == NULL && umem_zalloc(huge, 0) == NULL);
	CHECK(w, umem_alloc_align(op->o_b, 3, 0) == NULL);
	CHECK(w, umem_alloc_align(huge, (size_t)1 << op->o_a % 64, 0) == NULL);
	errno = 0;
	CHECK(w, apart_malloc(huge) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(w, apart_calloc(huge, 2) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(w, apart_reallocarray(NULL, huge, 2) == NULL && errno == ENOMEM);
	errno = 0;
	CHECK(w, apart_memalign(24, 8) == NULL && errno == EINVAL);
	errno = 0;
	CHECK(w, apart_aligned_alloc(0, 8) == NULL && errno == EINVAL);
	CHECK(w, apart_posix_memalign(&p, 4, 8) == EINVAL && p == w);
	CHECK(w, apart_posix_memalign(&p, 64, huge) == ENOMEM && p == w);
	errno = 0;
	CHECK(w,
	    umem_cache_create("bad", 16, 24, NULL, NULL, NULL, NULL, NULL, 0) ==
		    NULL &&
		errno == EINVAL);
	CHECK(w, umem_usable_size(&p) == 0);
	umem_free(NULL, 0);
	apart_free(NULL);
}

/* ---- the run ---- */

typedef void umem_op(struct world *w, const struct op *op);

static umem_op *const kinds[] = {op_free, op_free, op_free, op_free, op_free,
    op_free, op_cache_free_batch, op_cache_free_batch, op_cache_alloc,
    op_cache_alloc, op_cache_alloc_batch, op_cache_alloc_batch,
    op_cache_alloc_batch, op_cache_alloc_batch, op_cache_unmake, op_budget,
    op_alloc, op_alloc, op_alloc, op_alloc_align, op_arena, op_malloc,
    op_malloc, op_malloc, op_realloc, op_realloc, op_reap, op_fail, op_invalid};

enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

/* Kinds come in phases, so that memory fills and empties. */
static inline void
make_ops(uint64_t seed, struct op *ops, size_t n)
{
	unsigned phase = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t r = random_next(&seed);

		if (i % 61 == 0)
			phase = (unsigned)(r >> 62);
		ops[i].o_kind = (uint8_t)((r & 255) % KINDS);
		if (ops[i].o_kind < 6 && phase == 0)
			ops[i].o_kind = (uint8_t)(ops[i].o_kind + 8);
		ops[i].o_scale = (uint8_t)(r >> 8);
		ops[i].o_a = (uint16_t)(r >> 16);
		ops[i].o_b = (uint32_t)(r >> 30);
	}
}

/* Run the list, with the invariants checked after every `stride` steps. */
static inline void
run_ops(unsigned how, const struct op *ops, size_t n, size_t stride)
{
	struct world *w = &world;
	size_t before;

	shape = how % SHAPES;
	/* What the thread of a large heap has in its hands the table cannot know. */
	umem__opt.nothread = true;
	(void)quarry_reap();
	before = look_heap();
	world_begin(w);
	for (size_t i = 0; i < n; i++) {
		w->w_step = i;
		kinds[ops[i].o_kind % KINDS](w, &ops[i]);
		if ((i + 1) % stride == 0)
			look_check();
		if (i % 64 == 0)
			check_counts(w);
	}
	check_counts(w);
	world_end(w);
	(void)quarry_reap();
	look_check();
	CHECK(w, look_heap() == before);
}

#endif /* QR_UMEM_OPS_H */
