/*
 * ids_engines.c - an id_space, and what people write instead.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "ids_engines.h"

#include <quarry/id_space.h>

#include <pthread.h>
#include <search.h>
#include <stdlib.h>

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static size_t bytes;

static size_t
bytes_so_far(void)
{
	return (bytes);
}

static uint32_t
locked(uint32_t (*fn)(uint32_t), uint32_t arg)
{
	uint32_t id;

	pthread_mutex_lock(&mutex);
	id = fn(arg);
	pthread_mutex_unlock(&mutex);
	return (id);
}

/* ---- quarry ---- */

static id_space_t *space;

static void
quarry_create(uint32_t n)
{
	space = id_space_create("bench", 0, n);
}

static uint32_t
quarry_next(void)
{
	return (id_alloc(space));
}

static uint32_t
quarry_first(void)
{
	return (id_allocff(space));
}

static bool
quarry_specific(uint32_t id)
{
	return (id_alloc_specific(space, id) == id);
}

static void
quarry_put(uint32_t id)
{
	id_free(space, id);
}

static size_t
quarry_bytes(void)
{
	struct id_space_stats st;

	(void)id_space_getstats(space, &st);
	return (st.metadata);
}

/* ---- touch ---- */

static uint64_t *words;
static uint32_t last;

static void
touch_create(uint32_t n)
{
	bytes = ((size_t)n + 63) / 64 * 8;
	words = bench_map(bytes);
	last = 0;
}

static void
touch_put(uint32_t id)
{
	words[id / 64] ^= (uint64_t)1 << id % 64;
	last = id;
}

static uint32_t
touch_again(void)
{
	words[last / 64] ^= (uint64_t)1 << last % 64;
	return (last);
}

static uint32_t
touch_next(void)
{
	static uint32_t filled;

	/* The first ones make the row's list of those in use. */
	return (last == 0 ? filled++ : touch_again());
}

static bool
touch_specific(uint32_t id)
{
	return (touch_again() == id);
}

/* ---- bitmap ---- */

static uint32_t nids, hint, lowest;

/* Set bits are free. */
static void
bitmap_create(uint32_t n)
{
	touch_create(n);
	nids = n;
	for (uint32_t id = 0; id < n; id++)
		words[id / 64] |= (uint64_t)1 << id % 64;
}

static uint32_t
bitmap_from(uint32_t id)
{
	uint32_t nwords = (nids + 63) / 64, i = id / 64 % nwords;
	uint64_t word = words[i] & ~(uint64_t)0 << id % 64;

	while (word == 0) {
		i = i + 1 < nwords ? i + 1 : 0;
		word = words[i];
	}
	words[i] &= ~(word & -word);
	return (i * 64 + (uint32_t)__builtin_ctzl(word));
}

static uint32_t
bitmap_do_next(uint32_t arg)
{
	(void)arg;
	hint = bitmap_from(hint < nids ? hint : 0) + 1;
	return (hint - 1);
}

static uint32_t
bitmap_next(void)
{
	return (locked(bitmap_do_next, 0));
}

static uint32_t
bitmap_do_first(uint32_t arg)
{
	(void)arg;
	lowest = bitmap_from(lowest) + 1;
	return (lowest - 1);
}

static uint32_t
bitmap_first(void)
{
	return (locked(bitmap_do_first, 0));
}

static uint32_t
bitmap_do_specific(uint32_t id)
{
	uint64_t bit = (uint64_t)1 << id % 64;
	bool was = (words[id / 64] & bit) != 0;

	words[id / 64] &= ~bit;
	return (was);
}

static bool
bitmap_specific(uint32_t id)
{
	return (locked(bitmap_do_specific, id) != 0);
}

static uint32_t
bitmap_do_put(uint32_t id)
{
	words[id / 64] |= (uint64_t)1 << id % 64;
	if (id < lowest)
		lowest = id;
	return (0);
}

static void
bitmap_put(uint32_t id)
{
	(void)locked(bitmap_do_put, id);
}

/* ---- freelist ---- */

/* What was freed first is used first; the head is entry 0. */
static struct link {
	uint32_t next, prev;
} * links;

static void
list_insert(uint32_t at)
{
	links[at] = (struct link){0, links[0].prev};
	links[links[0].prev].next = at;
	links[0].prev = at;
}

static void
freelist_create(uint32_t n)
{
	bytes = ((size_t)n + 1) * sizeof(*links);
	links = bench_map(bytes);
	for (uint32_t id = 0; id < n; id++)
		list_insert(id + 1);
}

/* A used one has no link before. */
static uint32_t
freelist_do_specific(uint32_t id)
{
	struct link l = links[id + 1];

	if (l.next == UINT32_MAX)
		return (0);
	links[l.next].prev = l.prev;
	links[l.prev].next = l.next;
	links[id + 1].next = UINT32_MAX;
	return (1);
}

static bool
freelist_specific(uint32_t id)
{
	return (locked(freelist_do_specific, id) != 0);
}

static uint32_t
freelist_do_next(uint32_t arg)
{
	uint32_t id = links[0].next - 1;

	(void)arg;
	(void)freelist_do_specific(id);
	return (id);
}

static uint32_t
freelist_next(void)
{
	return (locked(freelist_do_next, 0));
}

static uint32_t
freelist_do_put(uint32_t id)
{
	list_insert(id + 1);
	return (0);
}

static void
freelist_put(uint32_t id)
{
	(void)locked(freelist_do_put, id);
}

/* ---- ranges ---- */

struct range {
	uint32_t lo, hi; /* free: lo to hi - 1 */
};

/* Two blocks of malloc's smallest size: a node of tsearch, and a range. */
enum { RANGE_BYTES = 64 };

static void *tree; /* the C library's is red and black */
static struct range *below, *above;

/* On the way down, the last range at or below the key and the first above. */
static int
compare(const void *key, const void *node)
{
	const struct range *k = key;
	struct range *r = (struct range *)(uintptr_t)node;

	if (r->lo <= k->lo)
		below = r;
	else
		above = r;
	return (k->lo < r->lo ? -1 : k->lo > r->lo);
}

/* Set `below` and `above` for id. */
static void
around(uint32_t id)
{
	struct range key = {id, id}, *r;
	struct range **found;

	below = above = NULL;
	found = tfind(&key, &tree, compare);
	/* An exact hit stops the search above its successor. */
	r = found == NULL ? NULL : *found;
	if (r != NULL) {
		key.lo = r->hi;
		(void)tfind(&key, &tree, compare);
		below = r;
	}
}

static void
range_insert(uint32_t lo, uint32_t hi)
{
	struct range *r = malloc(sizeof(*r));

	*r = (struct range){lo, hi};
	(void)tsearch(r, &tree, compare);
	bytes += RANGE_BYTES;
}

static void
range_remove(struct range *r)
{
	(void)tdelete(r, &tree, compare);
	free(r);
	bytes -= RANGE_BYTES;
}

static void
ranges_create(uint32_t n)
{
	range_insert(0, n);
}

static void
range_take(struct range *r, uint32_t id)
{
	uint32_t hi = r->hi;

	if (id == r->lo && id + 1 == hi) {
		range_remove(r);
	} else if (id == r->lo) {
		r->lo++;
	} else {
		r->hi = id;
		if (id + 1 < hi)
			range_insert(id + 1, hi);
	}
}

static uint32_t
ranges_from(uint32_t id)
{
	struct range *r;

	around(id);
	r = below != NULL && id < below->hi ? below : above;
	if (r == NULL)
		return (ranges_from(0));
	id = id > r->lo ? id : r->lo;
	range_take(r, id);
	return (id);
}

static uint32_t
ranges_do_next(uint32_t arg)
{
	(void)arg;
	hint = ranges_from(hint) + 1;
	return (hint - 1);
}

static uint32_t
ranges_next(void)
{
	return (locked(ranges_do_next, 0));
}

static uint32_t
ranges_first(void)
{
	return (locked(ranges_from, 0));
}

static uint32_t
ranges_do_specific(uint32_t id)
{
	around(id);
	if (below == NULL || id >= below->hi)
		return (0);
	range_take(below, id);
	return (1);
}

static bool
ranges_specific(uint32_t id)
{
	return (locked(ranges_do_specific, id) != 0);
}

static uint32_t
ranges_do_put(uint32_t id)
{
	around(id);
	if (below != NULL && below->hi == id) {
		below->hi++;
		if (above != NULL && above->lo == id + 1) {
			below->hi = above->hi;
			range_remove(above);
		}
	} else if (above != NULL && above->lo == id + 1) {
		above->lo--;
	} else {
		range_insert(id, id + 1);
	}
	return (0);
}

static void
ranges_put(uint32_t id)
{
	(void)locked(ranges_do_put, id);
}

/* ---- ida ---- */

enum { IDA_BITS = 1024, IDA_WORDS = IDA_BITS / 64, IDA_LEVELS = 4 };

/* A set bit is used; bit i of marks: something is free below slot i. */
union ida_slot {
	struct ida_node *node;
	uint64_t *bitmap;
};

struct ida_node {
	uint64_t marks;
	union ida_slot slots[64];
};

static struct ida_node *ida_root;
static unsigned ida_top; /* level of the root; level 0 has bitmaps */

static struct ida_node *
ida_node_new(void)
{
	struct ida_node *n = calloc(1, sizeof(*n));

	n->marks = ~(uint64_t)0;
	bytes += sizeof(*n);
	return (n);
}

static void
ida_create(uint32_t n)
{
	nids = n;
	ida_top = 0;
	while (((uint64_t)n - 1) >> (10 + 6 * (ida_top + 1)) != 0)
		ida_top++;
	ida_root = ida_node_new();
}

static unsigned
ida_index(uint32_t id, unsigned level)
{
	return (id >> (10 + 6 * level) & 63);
}

/* The nodes above id, from the top; returns the bitmap. */
static uint64_t *
ida_path(uint32_t id, struct ida_node *path[IDA_LEVELS])
{
	union ida_slot *slot;

	path[ida_top] = ida_root;
	for (unsigned level = ida_top; level > 0; level--) {
		slot = &path[level]->slots[ida_index(id, level)];
		if (slot->node == NULL)
			slot->node = ida_node_new();
		path[level - 1] = slot->node;
	}
	slot = &path[0]->slots[ida_index(id, 0)];
	if (slot->bitmap == NULL) {
		slot->bitmap = calloc(IDA_WORDS, sizeof(uint64_t));
		bytes += IDA_BITS / 8;
	}
	return (slot->bitmap);
}

static uint32_t
ida_do_specific(uint32_t id)
{
	struct ida_node *path[IDA_LEVELS];
	uint64_t *bitmap = ida_path(id, path), all = ~(uint64_t)0;
	uint64_t *word = &bitmap[id % IDA_BITS / 64];
	uint64_t bit = (uint64_t)1 << id % 64;

	if ((*word & bit) != 0)
		return (0);
	*word |= bit;
	for (unsigned i = 0; i < IDA_WORDS && all == ~(uint64_t)0; i++)
		all = bitmap[i];
	for (unsigned level = 0; all == ~(uint64_t)0 && level <= ida_top;
	     level++) {
		path[level]->marks &= ~((uint64_t)1 << ida_index(id, level));
		all = path[level]->marks == 0 ? ~(uint64_t)0 : 0;
	}
	return (1);
}

static bool
ida_specific(uint32_t id)
{
	return (locked(ida_do_specific, id) != 0);
}

/* The first one from id on in its bitmap; IDA_BITS: none. */
static uint32_t
ida_scan(const uint64_t *bitmap, uint32_t from)
{
	for (uint32_t i = from / 64; i < IDA_WORDS; i++) {
		uint64_t word = ~bitmap[i];

		if (i == from / 64)
			word &= ~(uint64_t)0 << from % 64;
		if (word != 0)
			return (i * 64 + (uint32_t)__builtin_ctzl(word));
	}
	return (IDA_BITS);
}

/* The lowest free one from id on; UINT32_MAX: none. */
static uint32_t
ida_find(uint64_t id)
{
	while (id < nids) {
		struct ida_node *n = ida_root;
		unsigned level = ida_top;
		uint64_t marks;
		uint32_t bit;

		for (;; level--) {
			unsigned i = ida_index((uint32_t)id, level);
			unsigned shift = 10 + 6 * level;

			marks = n->marks & ~(uint64_t)0 << i;
			if (marks == 0) {
				id = ((id >> (shift + 6)) + 1) << (shift + 6);
				break;
			}
			if ((unsigned)__builtin_ctzl(marks) != i)
				id = (id >> (shift + 6) << (shift + 6)) |
				    (uint64_t)__builtin_ctzl(marks) << shift;
			i = ida_index((uint32_t)id, level);
			if (n->slots[i].node == NULL)
				return ((uint32_t)id);
			if (level == 0) {
				bit = ida_scan(n->slots[i].bitmap,
				    (uint32_t)(id % IDA_BITS));
				id = id / IDA_BITS * IDA_BITS + bit;
				if (bit < IDA_BITS)
					return (id < nids ? (uint32_t)id
							  : UINT32_MAX);
				break;
			}
			n = n->slots[i].node;
		}
	}
	return (UINT32_MAX);
}

static uint32_t
ida_from(uint32_t from)
{
	uint32_t id = ida_find(from);

	if (id == UINT32_MAX)
		id = ida_find(0);
	(void)ida_do_specific(id);
	return (id);
}

static uint32_t
ida_do_next(uint32_t arg)
{
	(void)arg;
	hint = ida_from(hint) + 1;
	return (hint - 1);
}

static uint32_t
ida_next(void)
{
	return (locked(ida_do_next, 0));
}

static uint32_t
ida_first(void)
{
	return (locked(ida_from, 0));
}

static uint32_t
ida_do_put(uint32_t id)
{
	struct ida_node *path[IDA_LEVELS];
	uint64_t *bitmap = ida_path(id, path);

	bitmap[id % IDA_BITS / 64] &= ~((uint64_t)1 << id % 64);
	for (unsigned level = 0; level <= ida_top; level++)
		path[level]->marks |= (uint64_t)1 << ida_index(id, level);
	return (0);
}

static void
ida_put(uint32_t id)
{
	(void)locked(ida_do_put, id);
}

static const struct ids_engine quarry = {"quarry", quarry_create, quarry_next,
    quarry_first, quarry_specific, quarry_put, quarry_bytes, true};
static const struct ids_engine touch = {"touch", touch_create, touch_next,
    touch_again, touch_specific, touch_put, bytes_so_far, false};
static const struct ids_engine bitmap = {"bitmap", bitmap_create, bitmap_next,
    bitmap_first, bitmap_specific, bitmap_put, bytes_so_far, false};
static const struct ids_engine freelist = {"freelist", freelist_create,
    freelist_next, NULL, freelist_specific, freelist_put, bytes_so_far, false};
static const struct ids_engine ranges = {"ranges", ranges_create, ranges_next,
    ranges_first, ranges_specific, ranges_put, bytes_so_far, true};
static const struct ids_engine ida = {"ida", ida_create, ida_next, ida_first,
    ida_specific, ida_put, bytes_so_far, true};

const struct ids_engine *const ids_engines[] = {
    &quarry, &touch, &bitmap, &freelist, &ranges, &ida, NULL};
