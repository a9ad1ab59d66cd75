/*
 * mpipe_alloc.c - allocating without waiting, and freeing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include "base/panic.h"
#include "os/percpu.h"

#include <errno.h>
#include <string.h>

static QR_COLD struct mpipe *
no_pipe(const char *who, const struct malloc_pipe *pipe)
{
	qr_panic("%s(%p): not a pipe", who, (const void *)pipe);
	errno = EINVAL;
	return (NULL);
}

struct mpipe *
mpipe__of(const struct malloc_pipe *pipe, const char *who)
{
	return (QR_LIKELY(pipe->handle != NULL) ? pipe->handle
						: no_pipe(who, pipe));
}

/*
 * The plain case of a pipe that is not open, under the lock: there is a free
 * buffer, and nothing else to think of.
 */
static inline struct mpipe_rec *
take_plain(struct mpipe *mp)
{
	if (QR_UNLIKELY(mp->mp_free == NULL || mp->mp_open || mp->mp_exiting ||
		mp->mp_heat + 1 >= mp->mp_heat_need))
		return (NULL);
	mp->mp_heat++;
	return (mpipe__free_pop(mp));
}

/* And the other way: there is room, and nobody has an interest in it. */
static inline bool
give_plain(struct mpipe *mp, struct mpipe_rec *rec)
{
	const struct malloc_pipe *p = mp->mp_pipe;

	if (QR_UNLIKELY(mp->mp_care || mp->mp_open ||
		p->free_count >= p->ary_count ||
		mp->mp_heat + 1 >= mp->mp_heat_need))
		return (false);
	mp->mp_heat++;
	mpipe__free_push(mp, rec);
	return (true);
}

static QR_NOINLINE void *
alloc_slow(struct mpipe *mp)
{
	struct mpipe_here here;
	struct mpipe_rec *rec = mpipe__front_pop(mp, &here);
	int error;

	if (rec != NULL)
		return (mpipe__out(rec));
	mpipe__enter(mp);
	mpipe__front_prepare(mp);
	rec = mpipe__take(mp, &error);
	if (rec != NULL)
		mpipe__front_after(mp, &here, false);
	mpipe__exit(mp);
	if (QR_LIKELY(rec != NULL))
		return (mpipe__out(rec));
	errno = error;
	return (NULL);
}

static QR_NOINLINE void *
alloc_locked(struct mpipe *mp)
{
	struct mpipe_rec *rec;

	mpipe__enter(mp);
	rec = take_plain(mp);
	if (QR_LIKELY(rec != NULL))
		mpipe__note_outstanding(mp);
	mpipe__exit(mp);
	return (QR_LIKELY(rec != NULL) ? mpipe__out(rec) : alloc_slow(mp));
}

static QR_NOINLINE void *
alloc_miss(struct malloc_pipe *pipe)
{
	struct mpipe *mp = mpipe__of(pipe, "mpipe_alloc_nowait");

	return (mp == NULL ? NULL : alloc_locked(mp));
}

QR_HOT void *
mpipe_alloc_nowait(malloc_pipe_t pipe)
{
	struct mpipe *mp = pipe->handle;
	uintptr_t word = 0;
	size_t off;

	if (QR_UNLIKELY(mp == NULL))
		return (alloc_miss(pipe));
	off = atomic_load_explicit(&mp->mp_off, memory_order_relaxed);
	if (off == 0)
		return (alloc_locked(mp));
	word = percpu_pop(off);
	return (QR_LIKELY(word != 0) ? mpipe__out((struct mpipe_rec *)word)
				     : alloc_miss(pipe));
}

static QR_NOINLINE void
free_slow(struct mpipe *mp, struct mpipe_rec *rec)
{
	struct mpipe_here here;

	if (mpipe__front_push(mp, rec, &here))
		return;
	mpipe__enter(mp);
	mpipe__front_prepare(mp);
	mpipe__give(mp, rec);
	mpipe__front_after(mp, &here, true);
	mpipe__exit(mp);
}

/* Hand a record over that the caller had, without or with the lock. */
static void
free_record(struct mpipe *mp, struct mpipe_rec *rec)
{
	size_t off = atomic_load_explicit(&mp->mp_off, memory_order_relaxed);
	bool done;

	if (off != 0 && percpu_push(off, (uintptr_t)rec))
		return;
	mpipe__enter(mp);
	done = give_plain(mp, rec);
	mpipe__exit(mp);
	if (QR_UNLIKELY(!done))
		free_slow(mp, rec);
}

/*
 * A deconstructor is shown what a surplus buffer contains; when it is not
 * surplus after all, it is zeroed later than others, but before anybody has it.
 */
static QR_NOINLINE bool
free_surplus(struct mpipe *mp, struct mpipe_rec *rec)
{
	bool surplus;

	mpipe__enter(mp);
	surplus = mpipe__oldest(mp) == NULL &&
	    mp->mp_pipe->free_count == mp->mp_pipe->ary_count;
	if (surplus)
		mpipe__give(mp, rec);
	mpipe__exit(mp);
	return (surplus);
}

/* The record is ours, and whoever has it next finds zeroes, if that is due. */
static QR_NOINLINE void
free_claimed(const struct malloc_pipe *pipe, struct mpipe_rec *rec)
{
	struct mpipe *mp = pipe->handle;

	if (mp->mp_zero != 0) {
		if (QR_UNLIKELY(atomic_load_explicit(
			&mp->mp_grown, memory_order_relaxed)) &&
		    mp->mp_hooks.mh_deconstruct != NULL &&
		    free_surplus(mp, rec))
			return;
		memset(atomic_load_explicit(&rec->r_buf, memory_order_relaxed),
		    0, mp->mp_zero);
	}
	free_record(mp, rec);
}

/* Not found without the lock, or not allocated: look again, and say so. */
static QR_NOINLINE void
free_unusual(const struct malloc_pipe *pipe, void *buf)
{
	struct mpipe *mp = mpipe__of(pipe, "mpipe_free");
	struct mpipe_rec *rec;

	if (buf == NULL || mp == NULL)
		return;
	mpipe__enter(mp);
	rec = mpipe__table_find(mp, buf);
	mpipe__exit(mp);
	if (rec == &mpipe__no_rec)
		qr_panic("mpipe_free(%p, %p): not a buffer of this pipe, of "
			 "type %s",
		    (const void *)pipe, buf, pipe->type->ks_shortdesc);
	else if (!mpipe__back(rec))
		qr_panic("mpipe_free(%p, %p): freed twice, type %s",
		    (const void *)pipe, buf, pipe->type->ks_shortdesc);
	else
		free_claimed(pipe, rec);
}

QR_HOT void
mpipe_free(malloc_pipe_t pipe, void *buf)
{
	struct mpipe *mp = pipe->handle;
	struct mpipe_rec *rec;
	size_t off;

	if (QR_UNLIKELY(mp == NULL)) {
		free_unusual(pipe, buf);
		return;
	}
	rec = mpipe__table_find(mp, buf);
	if (QR_UNLIKELY(!mpipe__back(rec))) {
		free_unusual(pipe, buf);
		return;
	}
	off = atomic_load_explicit(&mp->mp_free_off, memory_order_relaxed);
	if (off == 0 || QR_UNLIKELY(!percpu_push(off, (uintptr_t)rec)))
		free_claimed(pipe, rec);
}
