/*
 * mpipe_buffer.c - buffers: made, constructed, scrubbed, given up.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include <quarry/contigmalloc.h>
#include <quarry/umem.h>

#include <errno.h>
#include <string.h>

static int
source_flags(const struct mpipe *mp)
{
	return (M_NOWAIT | ((mp->mp_flags & MPF_NOZERO) != 0 ? 0 : M_ZERO) |
	    ((mp->mp_flags & MPF_INT) != 0
		    ? M_USE_RESERVE | M_USE_INTERRUPT_RESERVE
		    : 0));
}

static void *
memory_get(struct mpipe *mp)
{
	const struct mpipe_source *ms = &mp->mp_source;
	int flags = source_flags(mp);

	return (ms->ms_pool == NULL
		? kmalloc(mp->mp_bytes, mp->mp_type, flags)
		: contigmalloc_pool(ms->ms_pool, mp->mp_bytes, mp->mp_type,
		      flags, ms->ms_low, ms->ms_high, ms->ms_align,
		      ms->ms_boundary));
}

static void
memory_put(struct mpipe *mp, void *buf)
{
	if (mp->mp_source.ms_pool == NULL)
		kfree(buf, mp->mp_type);
	else
		contigfree(buf, mp->mp_bytes, mp->mp_type);
}

static int
construct(const struct mpipe *mp, void *buf)
{
	const struct mpipe_hooks *mh = &mp->mp_hooks;

	if (mh->mh_tryconstruct != NULL)
		return (mh->mh_tryconstruct(buf, mh->mh_priv));
	if (mh->mh_construct != NULL)
		mh->mh_construct(buf, mh->mh_priv);
	return (0);
}

int
mpipe__make(struct mpipe *mp, struct mpipe_rec **recp)
{
	struct mpipe_rec *rec = *recp;
	void *buf;
	int error;

	if (rec == NULL) {
		rec = umem_alloc_align(
		    sizeof(*rec), _Alignof(struct mpipe_rec), UMEM_DEFAULT);
		if (rec == NULL)
			return (ENOMEM);
		*rec = (struct mpipe_rec){.r_buf = NULL};
		*recp = rec;
	}
	buf = memory_get(mp);
	if (buf == NULL)
		return (errno);
	error = construct(mp, buf);
	if (error != 0)
		memory_put(mp, buf);
	else
		atomic_store_explicit(&rec->r_buf, buf, memory_order_relaxed);
	return (error);
}

void
mpipe__unmake(struct mpipe *mp, struct mpipe_rec *rec)
{
	void *buf = atomic_load_explicit(&rec->r_buf, memory_order_relaxed);

	if (mp->mp_hooks.mh_deconstruct != NULL)
		mp->mp_hooks.mh_deconstruct(buf, mp->mp_hooks.mh_priv);
	if (mp->mp_zero != 0)
		explicit_bzero(buf, mp->mp_zero);
	memory_put(mp, buf);
	mpipe__enter(mp);
	atomic_store_explicit(&rec->r_buf, NULL, memory_order_relaxed);
	atomic_store_explicit(&rec->r_uses, 0, memory_order_relaxed);
	mpipe__spare_push(mp, rec);
	mp->mp_leaving--;
	if (mp->mp_exiting)
		qr_cond_broadcast(&mp->mp_cond);
	mpipe__exit(mp);
}

void
mpipe__record_free(struct mpipe_rec *rec)
{
	if (rec != NULL)
		umem_free_align(rec, sizeof(*rec));
}
