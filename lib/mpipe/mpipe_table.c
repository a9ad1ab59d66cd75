/*
 * mpipe_table.c - from the address of a buffer to its record.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include "base/bits.h"

#include <quarry/umem.h>

#include <string.h>

struct mpipe_rec mpipe__no_rec;

/* Slots for each record: most are found in the first one looked at. */
enum { FREE_SPACE = 4 };

static size_t
table_bytes(size_t slots)
{
	return (sizeof(struct mpipe_table) +
	    slots * sizeof(((struct mpipe_table *)0)->t_slot[0]));
}

struct mpipe_table *
mpipe__table_make(size_t n)
{
	size_t slots = qr_pow2up(qr_max(FREE_SPACE * n, 16));
	struct mpipe_table *t = umem_zalloc(table_bytes(slots), UMEM_DEFAULT);

	if (t == NULL)
		return (NULL);
	t->t_mask = slots - 1;
	for (size_t i = 0; i < slots; i++)
		atomic_init(&t->t_slot[i], &mpipe__no_rec);
	return (t);
}

void
mpipe__table_free(struct mpipe_table *t)
{
	while (t != NULL) {
		struct mpipe_table *older = t->t_older;

		umem_free(t, table_bytes(t->t_mask + 1));
		t = older;
	}
}

static struct mpipe_table *
table_of(struct mpipe *mp)
{
	return (atomic_load_explicit(&mp->mp_table, memory_order_relaxed));
}

bool
mpipe__table_fits(struct mpipe *mp, size_t n)
{
	return (FREE_SPACE * n <= table_of(mp)->t_mask + 1);
}

static struct mpipe_rec *
slot_get(const struct mpipe_table *t, size_t i)
{
	return (atomic_load_explicit(&t->t_slot[i], memory_order_relaxed));
}

static void
slot_set(struct mpipe_table *t, size_t i, struct mpipe_rec *rec)
{
	atomic_store_explicit(&t->t_slot[i], rec, memory_order_release);
}

static size_t
home_of(const struct mpipe_table *t, struct mpipe_rec *rec)
{
	return (mpipe__table_hash(
	    t, atomic_load_explicit(&rec->r_buf, memory_order_relaxed)));
}

static void
insert(struct mpipe_table *t, struct mpipe_rec *rec)
{
	size_t i = home_of(t, rec);

	while (slot_get(t, i) != &mpipe__no_rec)
		i = (i + 1) & t->t_mask;
	slot_set(t, i, rec);
}

void
mpipe__table_insert(struct mpipe *mp, struct mpipe_rec *rec)
{
	insert(table_of(mp), rec);
}

/*
 * Who is looking in the old one finds there what was allocated when it began,
 * and so any buffer that it may free.
 */
void
mpipe__table_set(struct mpipe *mp, struct mpipe_table *t)
{
	struct mpipe_table *old = table_of(mp);

	for (size_t i = 0; i <= old->t_mask; i++) {
		if (slot_get(old, i) != &mpipe__no_rec)
			insert(t, slot_get(old, i));
	}
	t->t_older = old;
	atomic_store_explicit(&mp->mp_table, t, memory_order_release);
}

/* Records that follow move up, so that none is behind an empty slot. */
void
mpipe__table_remove(struct mpipe *mp, struct mpipe_rec *rec)
{
	struct mpipe_table *t = table_of(mp);
	size_t hole = home_of(t, rec);
	struct mpipe_rec *next;

	while (slot_get(t, hole) != rec)
		hole = (hole + 1) & t->t_mask;
	for (size_t i = (hole + 1) & t->t_mask;
	     (next = slot_get(t, i)) != &mpipe__no_rec;
	     i = (i + 1) & t->t_mask) {
		size_t home = home_of(t, next);

		if (((i - home) & t->t_mask) < ((i - hole) & t->t_mask))
			continue;
		slot_set(t, hole, next);
		hole = i;
	}
	slot_set(t, hole, &mpipe__no_rec);
}
