/*
 * mpipe_front.c - the stacks of the CPUs: opening, refilling, closing.
 *
 * A stack is exchanged as a whole, under mp_lock and while the pipe is open;
 * so once mp_open is false none is put in place, and once the CPUs have been
 * drained after that, no allocation and no free gets by without mp_lock.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include "base/bits.h"
#include "os/os.h"
#include "os/percpu.h"

#include <quarry/umem.h>

#include <sys/single_threaded.h>

enum {
	/* Uses by way of the lock that open a pipe: at first, and at most. */
	HEAT_MIN = 256,
	HEAT_MAX = 1 << 20,
	/* One that was open for less time was opened too early. */
	OPEN_MIN_NS = 20 * 1000 * 1000,
};

static size_t
off_of(struct mpipe *mp)
{
	return (atomic_load_explicit(&mp->mp_off, memory_order_relaxed));
}

static void
set_off(struct mpipe *mp, size_t off)
{
	atomic_store_explicit(&mp->mp_off, off, memory_order_relaxed);
	atomic_store_explicit(
	    &mp->mp_free_off, mp->mp_zero == 0 ? off : 0, memory_order_relaxed);
}

/* ---- without the lock ---- */

struct mpipe_rec *
mpipe__front_pop(struct mpipe *mp, struct mpipe_here *here)
{
	size_t off = off_of(mp);

	here->h_front = off == 0 ? NULL : percpu_enter(&here->h_cpu);
	if (here->h_front == NULL)
		return (NULL);
	return ((struct mpipe_rec *)percpu_pop_any(here->h_front, off));
}

bool
mpipe__front_push(
    struct mpipe *mp, struct mpipe_rec *rec, struct mpipe_here *here)
{
	size_t off = off_of(mp);

	here->h_front = off == 0 ? NULL : percpu_enter(&here->h_cpu);
	return (here->h_front != NULL &&
	    percpu_push_any(here->h_front, off, (uintptr_t)rec) == PERCPU_DONE);
}

/* ---- blocks ---- */

static struct mpipe_block *
block_of(uintptr_t top)
{
	return ((void *)qr_rounddown(top, MPIPE_BLOCK_SIZE));
}

/*
 * The block need not be ours: whoever acts on the answer exchanges this very
 * top for another.
 */
static bool
is_odd(uintptr_t at)
{
	return ((__atomic_load_n((uintptr_t *)at, __ATOMIC_RELAXED) & 1) != 0);
}

static bool
top_empty(uintptr_t top)
{
	return (is_odd(top - sizeof(uintptr_t)));
}

static bool
top_full(uintptr_t top)
{
	return (is_odd(top));
}

/* mp_lock is held by all callers of what follows. */
static void
block_put(struct mpipe *mp, struct mpipe_block *block)
{
	block->b_next = mp->mp_blocks;
	mp->mp_blocks = block;
}

void
mpipe__front_prepare(struct mpipe *mp)
{
	struct mpipe_block *block;

	if (QR_LIKELY(!mp->mp_open || mp->mp_blocks != NULL))
		return;
	mpipe__exit(mp);
	block = umem_alloc_align(
	    sizeof(*block), _Alignof(struct mpipe_block), UMEM_DEFAULT);
	if (block != NULL) {
		*block = (struct mpipe_block){.b_begin = 1};
		block->b_word[MPIPE_BLOCK_WORDS] = 1;
	}
	mpipe__enter(mp);
	if (block != NULL)
		block_put(mp, block);
}

/* Half of what is free, to the top of an empty block; which it returns. */
static uintptr_t
fill(struct mpipe *mp, struct mpipe_block *block)
{
	size_t have = (size_t)mp->mp_pipe->free_count;
	size_t n = qr_min((have + 1) / 2, MPIPE_BLOCK_WORDS / 2);

	for (size_t i = n; i-- > 0;)
		block->b_word[i] = (uintptr_t)mpipe__free_pop(mp);
	return ((uintptr_t)&block->b_word[n]);
}

static void
empty(struct mpipe *mp, struct mpipe_block *block, uintptr_t top)
{
	for (uintptr_t *word = block->b_word; word != (uintptr_t *)top; word++)
		mpipe__free_push(mp, (struct mpipe_rec *)*word);
	block_put(mp, block);
}

/* Give this CPU another stack, if we are still there and it needs one. */
static void
exchange(struct mpipe *mp, const struct mpipe_here *here, bool freed)
{
	size_t off = off_of(mp);
	uintptr_t old = percpu_top(here->h_front, off), top;
	struct mpipe_block *block = mp->mp_blocks;

	if (block == NULL || !(freed ? top_full(old) : top_empty(old)))
		return;
	mp->mp_blocks = block->b_next;
	top = freed ? (uintptr_t)block->b_word : fill(mp, block);
	if (!percpu_cas_top(here->h_cpu, here->h_front, off, old, top))
		empty(mp, block, top);
	else if (old != PERCPU_NULL)
		empty(mp, block_of(old), old);
	mpipe__note_outstanding(mp);
}

/* ---- opening and closing ---- */

/* Each CPU would have to be stopped for those, or cannot be. */
static bool
may_open(const struct mpipe *mp)
{
	const struct malloc_pipe *p = mp->mp_pipe;

	return (percpu__restartable && !__libc_single_threaded &&
	    p->free_count > 0 && p->total_count <= p->ary_count &&
	    !mp->mp_closing && !mp->mp_care && !mp->mp_exiting);
}

static void
heat_up(struct mpipe *mp)
{
	mp->mp_heat = 0;
	if (!may_open(mp))
		return;
	if (mp->mp_slot == 0)
		mp->mp_slot = percpu_slot_open();
	if (mp->mp_slot == 0)
		return;
	set_off(mp, mp->mp_slot * sizeof(struct percpu_slot));
	mp->mp_open = true;
	mp->mp_opened = os_now_coarse();
}

void
mpipe__front_after(struct mpipe *mp, const struct mpipe_here *here, bool freed)
{
	if (!mp->mp_open) {
		if (++mp->mp_heat >= mp->mp_heat_need)
			heat_up(mp);
	} else if (here->h_front != NULL && mp->mp_free != NULL) {
		exchange(mp, here, freed);
	}
}

/* The locks of the CPUs are held. */
static void
drained(void *arg, uintptr_t top)
{
	struct mpipe_block **list = arg, *block = block_of(top);

	block->b_top = top;
	block->b_next = *list;
	*list = block;
}

static void
cool_down(struct mpipe *mp)
{
	mp->mp_heat = 0;
	if (os_now_coarse() - mp->mp_opened >= OPEN_MIN_NS)
		mp->mp_heat_need = HEAT_MIN;
	else if (mp->mp_heat_need < HEAT_MAX)
		mp->mp_heat_need *= 2;
}

/*
 * A kernel that offered to stop the CPUs and then does not any more leaves what
 * they have to them, and the pipe closed.
 */
bool
mpipe__front_close(struct mpipe *mp)
{
	struct mpipe_block *list = NULL, *block;

	if (mp->mp_closing) {
		qr_cond_wait(&mp->mp_cond, &mp->mp_lock);
		return (true);
	}
	if (!mp->mp_open)
		return (false);
	mp->mp_open = false;
	mp->mp_closing = true;
	cool_down(mp);
	mpipe__exit(mp);
	(void)percpu_drain(mp->mp_slot, drained, &list);
	mpipe__enter(mp);
	while ((block = list) != NULL) {
		list = block->b_next;
		empty(mp, block, block->b_top);
	}
	mp->mp_closing = false;
	qr_cond_broadcast(&mp->mp_cond);
	return (true);
}

void
mpipe__front_start(struct mpipe *mp)
{
	mp->mp_heat_need = HEAT_MIN;
}

void
mpipe__front_free(struct mpipe *mp)
{
	struct mpipe_block *block;

	set_off(mp, 0);
	if (mp->mp_slot != 0)
		percpu_slot_close(mp->mp_slot);
	mp->mp_slot = 0;
	while ((block = mp->mp_blocks) != NULL) {
		mp->mp_blocks = block->b_next;
		umem_free_align(block, sizeof(*block));
	}
}
