/*
 * umem_model_test.c - random operations on caches and sizes, against a table
 * of what should be there.
 *
 * Every block in use carries a stamp at its ends that nothing else may change;
 * after each step the slabs are checked, and the counts against the table.
 * QR_TEST_SEED=n repeats the run of one seed.
 */
#include "umem/umem_impl.h"

#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum {
	CACHES = 6,
	BLOCKS = 3000,
	STEPS = 20000,
	STEPS_QUICK = 300,
	BATCH = 40,
	MADE = 0x5eed, /* what a constructor leaves in the second word */
};

/* How a block is to be given back. */
enum how { NOTHING, BY_CACHE, BY_SIZE, BY_ALIGN, BY_ARENA };

struct block {
	enum how b_how;
	unsigned b_cache; /* BY_CACHE */
	char *b_addr;
	size_t b_size;
	uint64_t b_stamp;
};

struct cache {
	umem_cache_t *c_cache; /* NULL: not made */
	size_t c_size;
	bool c_constructed;
	size_t c_inuse;
	size_t c_ctor, c_dtor;
};

/* The whole of a run follows from its seed. */
static struct model {
	uint64_t m_random;
	uint64_t m_stamp;
	bool m_failing; /* a system call may fail: so may any request */
	struct cache m_cache[CACHES];
	struct block m_block[BLOCKS];
	size_t m_nblocks;
	vmem_t *m_arena;
	size_t m_step;
} model;

static uint64_t
random_below(uint64_t n)
{
	model.m_random ^= model.m_random << 13;
	model.m_random ^= model.m_random >> 7;
	model.m_random ^= model.m_random << 17;
	return (model.m_random % n);
}

/* Small ones are likelier. */
static size_t
random_size(size_t most)
{
	size_t bits = 1 + random_below(qr_log2(most));

	return (1 + random_below((size_t)1 << bits));
}

#define CHECK(expr)                                                    \
	do {                                                           \
		if (!(expr))                                           \
			fail_msg("step %zu: %s", model.m_step, #expr); \
	} while (0)

/* ---- blocks ---- */

static void
stamp_write(const struct block *b)
{
	if (b->b_size < 16) {
		memset(b->b_addr, (int)(b->b_stamp & 0xff), b->b_size);
		return;
	}
	memcpy(b->b_addr, &b->b_stamp, 8);
	memcpy(b->b_addr + b->b_size - 8, &b->b_stamp, 8);
}

static bool
stamp_is_there(const struct block *b)
{
	unsigned char c = (unsigned char)b->b_stamp;

	if (b->b_size < 16)
		return ((unsigned char)b->b_addr[0] == c &&
		    (unsigned char)b->b_addr[b->b_size - 1] == c);
	return (memcmp(b->b_addr, &b->b_stamp, 8) == 0 &&
	    memcmp(b->b_addr + b->b_size - 8, &b->b_stamp, 8) == 0);
}

/* Enter a new block; NULL is right only while something may fail. */
static void
block_new(enum how how, unsigned cache, void *addr, size_t size)
{
	struct block *b = &model.m_block[model.m_nblocks];

	if (addr == NULL) {
		CHECK(model.m_failing);
		return;
	}
	CHECK(model.m_nblocks < BLOCKS);
	*b = (struct block){how, cache, addr, size, ++model.m_stamp};
	if (how != BY_ARENA)
		stamp_write(b);
	if (how == BY_CACHE)
		model.m_cache[cache].c_inuse++;
	model.m_nblocks++;
}

/* Take a block out of the table, having looked at it. */
static struct block
block_out(size_t i)
{
	struct block b = model.m_block[i];

	CHECK(b.b_how == BY_ARENA || stamp_is_there(&b));
	model.m_block[i] = model.m_block[--model.m_nblocks];
	if (b.b_how == BY_CACHE)
		model.m_cache[b.b_cache].c_inuse--;
	return (b);
}

static void
block_free(size_t i)
{
	struct block b = block_out(i);
	struct cache *c = &model.m_cache[b.b_cache];

	switch (b.b_how) {
	case BY_CACHE:
		if (c->c_constructed)
			memcpy(b.b_addr, &c, sizeof(c));
		umem_cache_free(c->c_cache, b.b_addr);
		break;
	case BY_SIZE:
		umem_free(b.b_addr, b.b_size);
		break;
	case BY_ALIGN:
		umem_free_align(b.b_addr, b.b_size);
		break;
	default:
		vmem_free(model.m_arena, b.b_addr, b.b_size);
		break;
	}
}

/* ---- caches ---- */

/* Constructed objects begin with a pointer to their cache when they are free. */
static int
construct(void *buf, void *priv, int flags)
{
	struct cache *c = priv;

	if (flags != UMEM_DEFAULT)
		return (-1);
	memcpy(buf, &priv, sizeof(priv));
	c->c_ctor++;
	return (0);
}

static void
destruct(void *buf, void *priv)
{
	struct cache *c = priv;

	if (memcmp(buf, &priv, sizeof(priv)) != 0)
		abort();
	c->c_dtor++;
}

static void
cache_make(unsigned i)
{
	struct cache *c = &model.m_cache[i];
	size_t align = (size_t)1 << random_below(9);
	int cflags = random_below(4) == 0 ? UMC_NOMAGAZINE : 0;
	char name[16];

	memset(c, 0, sizeof(*c));
	c->c_size = 16 + random_size(20000);
	c->c_constructed = random_below(3) == 0;
	(void)snprintf(name, sizeof(name), "shadow_%u", i);
	c->c_cache = umem_cache_create(name, c->c_size,
	    random_below(2) ? 0 : align, c->c_constructed ? construct : NULL,
	    c->c_constructed ? destruct : NULL, NULL, c, NULL, cflags);
	CHECK(c->c_cache != NULL || model.m_failing);
}

static void
cache_unmake(unsigned i)
{
	struct cache *c = &model.m_cache[i];

	/* Where CPUs are out of reach, destruction leaves things there. */
	failsys_reset();
	model.m_failing = false;
	for (size_t b = model.m_nblocks; b-- > 0;) {
		if (model.m_block[b].b_how == BY_CACHE &&
		    model.m_block[b].b_cache == i)
			block_free(b);
	}
	CHECK(c->c_inuse == 0);
	umem_cache_destroy(c->c_cache);
	CHECK(c->c_ctor == c->c_dtor);
	c->c_cache = NULL;
}

static void
cache_alloc_some(unsigned i)
{
	struct cache *c = &model.m_cache[i];
	size_t n = 1 + random_below(BATCH), got;
	void *objs[BATCH];

	if (model.m_nblocks + n > BLOCKS)
		return;
	got = umem_cache_alloc_batch(c->c_cache, objs, n, UMEM_DEFAULT);
	CHECK(got == n || model.m_failing);
	for (size_t j = 0; j < got; j++) {
		if (c->c_constructed)
			CHECK(memcmp(objs[j], &c, sizeof(c)) == 0);
		block_new(BY_CACHE, i, objs[j], c->c_size);
	}
}

static void
cache_step(unsigned i)
{
	struct cache *c = &model.m_cache[i];

	if (c->c_cache == NULL)
		cache_make(i);
	else if (random_below(100) == 0)
		cache_unmake(i);
	else if (random_below(100) == 0)
		umem_cache_reap_now(c->c_cache);
	else
		cache_alloc_some(i);
}

/* ---- any size ---- */

static bool
is_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] != 0)
			return (false);
	}
	return (true);
}

static void
size_step(void)
{
	size_t size = random_size(1 << 19);
	bool zero = random_below(4) == 0;
	char *p = zero ? umem_zalloc(size, 0) : umem_alloc(size, 0);

	if (p != NULL) {
		CHECK((uintptr_t)p % (size <= 8 ? 8 : 16) == 0);
		CHECK(size % 64 != 0 || (uintptr_t)p % 64 == 0);
		CHECK(!zero || is_zero(p, size));
	}
	block_new(BY_SIZE, 0, p, size);
}

static void
align_step(void)
{
	size_t size = random_size(1 << 16);
	size_t align = (size_t)1 << random_below(22);
	char *p = umem_alloc_align(size, align, 0);

	CHECK((uintptr_t)p % align == 0);
	block_new(BY_ALIGN, 0, p, size);
}

/* Integers through quantum caches: there are enough for all blocks. */
static void
arena_step(void)
{
	size_t size = 1 + random_below(12);
	void *p = vmem_alloc(model.m_arena, size, VM_NOSLEEP);

	for (size_t i = 0; i < model.m_nblocks && p != NULL; i++) {
		const struct block *b = &model.m_block[i];

		CHECK(b->b_how != BY_ARENA || (char *)p + size <= b->b_addr ||
		    b->b_addr + b->b_size <= (char *)p);
	}
	block_new(BY_ARENA, 0, p, size);
}

/* ---- the run ---- */

/* For a while, some system call fails. */
static void
fail_step(void)
{
	static const enum failsys calls[] = {FAILSYS_MMAP, FAILSYS_MMAP,
	    FAILSYS_MUNMAP, FAILSYS_MADVISE, FAILSYS_SYSCALL};

	failsys_reset();
	model.m_failing = !model.m_failing;
	if (model.m_failing)
		failsys_from(
		    calls[random_below(5)], 1 + random_below(3), ENOMEM);
}

static void
step(void)
{
	uint64_t what = random_below(1000);

	if (what < 450 && model.m_nblocks > 0)
		for (size_t n = 1 + random_below(12);
		     n > 0 && model.m_nblocks > 0; n--)
			block_free(random_below(model.m_nblocks));
	else if (what < 460)
		fail_step();
	else if (what < 463)
		(void)quarry_reap();
	else if (what < 466)
		umem_reap();
	else if (what < 468)
		vmem_qcache_reap(model.m_arena);
	else if (model.m_nblocks == BLOCKS)
		block_free(random_below(BLOCKS));
	else if (what < 600)
		size_step();
	else if (what < 640)
		align_step();
	else if (what < 700)
		arena_step();
	else
		cache_step((unsigned)random_below(CACHES));
}

static void
check_counts(void)
{
	struct umem_stat us;
	char name[16];

	for (unsigned i = 0; i < CACHES; i++) {
		const struct cache *c = &model.m_cache[i];

		(void)snprintf(name, sizeof(name), "shadow_%u", i);
		CHECK(look_cache(name, &us) == (c->c_cache != NULL));
		if (c->c_cache == NULL)
			continue;
		CHECK(us.us_inuse == c->c_inuse);
		CHECK(!c->c_constructed || c->c_ctor - c->c_dtor >= c->c_inuse);
	}
}

static void
run(uint64_t seed)
{
	size_t steps = look_quick() ? STEPS_QUICK : STEPS;
	size_t before;

	(void)quarry_reap();
	before = look_heap();
	memset(&model, 0, sizeof(model));
	model.m_random = seed * 0x9e3779b97f4a7c15u | 1;
	model.m_arena = vmem_create("model", (void *)1, 1 << 20, 1, NULL, NULL,
	    NULL, 8, VM_NOSLEEP | VMC_IDENTIFIER);
	for (model.m_step = 0; model.m_step < steps; model.m_step++) {
		step();
		look_check();
		if (model.m_step % 64 == 0)
			check_counts();
	}
	failsys_reset();
	while (model.m_nblocks > 0)
		block_free(model.m_nblocks - 1);
	for (unsigned i = 0; i < CACHES; i++) {
		if (model.m_cache[i].c_cache != NULL)
			cache_unmake(i);
	}
	vmem_qcache_reap(model.m_arena);
	CHECK(vmem_size(model.m_arena, VMEM_ALLOC) == 0);
	vmem_destroy(model.m_arena);
	(void)quarry_reap();
	look_check();
	CHECK(look_heap() == before);
}

static void
caches_and_sizes_do_what_the_table_says(void **state)
{
	const char *given = getenv("QR_TEST_SEED");
	uint64_t seeds[] = {1, 2, 3, (uint64_t)time(NULL)};
	(void)state;

	if (given != NULL) {
		run(strtoull(given, NULL, 10));
		return;
	}
	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
		print_message("seed %llu\n", (unsigned long long)seeds[i]);
		run(seeds[i]);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(caches_and_sizes_do_what_the_table_says),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
