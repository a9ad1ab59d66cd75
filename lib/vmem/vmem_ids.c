/*
 * vmem_ids.c - id_space: allocating, freeing and waiting.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_ids.h"
#include "vmem/vmem_idfast.h"

#include "os/os.h"

#include <quarry/id_space.h>

enum {
	/* While memory is short, who waits looks again this often. */
	LOOK_AGAIN_NS = 100 * VMEM_NS_PER_MS,
};

/* What there is none of.  The type is unsigned here, signed elsewhere. */
static const id_t none = (id_t)-1;

/* On the stack of who waits, until w_id is set. */
struct waiter {
	struct qr_list w_link;
	struct qr_cond w_cond;
	bool w_least; /* wants the lowest */
	id_t w_id;    /* or none */
};

static struct meta_pool ids_pool =
    META_POOL_INIT("id_space", sizeof(struct vmem_ids));

/* ---- creating ---- */

struct vmem *
vmem__ids_create(const char *name)
{
	struct vmem *vmp = vmem_create(
	    name, NULL, 0, 1, NULL, NULL, NULL, 0, VM_NOSLEEP | VMC_IDENTIFIER);
	struct vmem_ids *ids = vmp == NULL ? NULL : meta_get(&ids_pool);

	if (ids == NULL) {
		if (vmp != NULL)
			vmem_destroy(vmp);
		return (NULL);
	}
	qr_list_init(&ids->i_waiters);
	qr_cond_init(&ids->i_turn_cond);
	/* The list knows the arena already. */
	qr_mutex_enter(&vmp->vm_lock);
	vmp->vm_ids = ids;
	qr_mutex_exit(&vmp->vm_lock);
	return (vmp);
}

void
vmem__ids_destroy(struct vmem *vmp)
{
	struct vmem_ids *ids = vmp->vm_ids;

	vmem__idset_clear(&ids->i_set);
	vmem__idrest_clear(&ids->i_rest);
	meta_put(&ids_pool, ids);
}

/* What is wrong with a range; NULL when nothing is. */
static const char *
range_error(int low, int high)
{
	if (low < 0)
		return ("the lower end is negative");
	return (low < high ? NULL : "the range is empty");
}

id_space_t *
id_space_create(const char *name, id_t low, id_t high)
{
	const char *what = range_error((int)low, (int)high);
	struct vmem *vmp;

	if (what != NULL) {
		qr_panic("id_space_create('%s', %d, %d): %s", name, (int)low,
		    (int)high, what);
		errno = EINVAL;
		return (NULL);
	}
	vmp = vmem__ids_create(name);
	if (vmp != NULL &&
	    vmem__add(vmp, (uintptr_t)low, (size_t)(high - low), VM_NOSLEEP) !=
		0) {
		vmem_destroy(vmp);
		vmp = NULL;
	}
	if (vmp == NULL)
		errno = ENOMEM;
	return (vmp);
}

void
id_space_destroy(id_space_t *vmp)
{
	vmem_destroy(vmp);
}

void
id_space_extend(id_space_t *vmp, id_t low, id_t high)
{
	const char *what = range_error((int)low, (int)high);

	if (what == NULL &&
	    vmem__add(vmp, (uintptr_t)low, (size_t)(high - low), VM_SLEEP) != 0)
		what = "the space has some of these";
	if (what != NULL)
		qr_panic("id_space_extend('%s', %d, %d): %s", vmp->vm_name,
		    (int)low, (int)high, what);
}

bool
vmem__ids_add(struct vmem *vmp, uintptr_t start, size_t size)
{
	return (vmem__idset_add(&vmp->vm_ids->i_set, (uint32_t)start,
	    (uint32_t)(start + (size - 1))));
}

/* Is it of the span that was looked up last? */
static inline bool
has_lately(const struct vmem_ids *ids, uint32_t id)
{
	return (QR_LIKELY(id - ids->i_start < ids->i_size));
}

/* Is it of a span? */
static bool
has(struct vmem *vmp, uint32_t id)
{
	struct vmem_ids *ids = vmp->vm_ids;
	struct vmem_pos pos;

	if (has_lately(ids, id))
		return (true);
	pos = vmem__tree_floor(&vmp->vm_spans, id, UINTPTR_MAX);
	if (pos.p_leaf == NULL)
		return (false);
	ids->i_start = (uint32_t)vmem__pos_tag(pos)->g_start;
	ids->i_size = (uint32_t)vmem__pos_tag(pos)->g_size;
	return (has_lately(ids, id));
}

/* ---- taking and waiting ---- */

static inline void
count_alloc(struct vmem *vmp)
{
	vmem__count(&vmp->vm_inuse, 1);
	vmp->vm_nalloc++;
}

static inline void
count_free(struct vmem *vmp)
{
	vmem__count(&vmp->vm_inuse, (size_t)-1);
	vmp->vm_nfree++;
}

/* By one policy or the other. */
static bool
take(struct vmem *vmp, bool least, id_t *idp)
{
	struct vmem_idset *set = &vmp->vm_ids->i_set;
	uint32_t id;

	if ((least ? vmem__idset_take_least(set, &id)
		   : vmem__idset_take_next(set, &id)) != 0)
		return (false);
	count_alloc(vmp);
	*idp = (id_t)id;
	return (true);
}

static struct waiter *
front(struct vmem *vmp)
{
	return (QR_LIST_FIRST(&vmp->vm_ids->i_waiters, struct waiter, w_link));
}

static bool
anybody_waits(const struct vmem_ids *ids)
{
	return (!qr_list_empty(&ids->i_waiters));
}

/*
 * Whoever is in front afterwards may have to sleep shorter than those behind, so
 * it is told.
 */
void
vmem__ids_serve(struct vmem *vmp)
{
	while (anybody_waits(vmp->vm_ids)) {
		struct waiter *w = front(vmp);

		if (take(vmp, w->w_least, &w->w_id))
			qr_list_remove(&w->w_link);
		qr_cond_signal(&w->w_cond);
		if (w->w_id == none)
			break;
	}
}

/* Wake what has rested long enough, and serve who waits. */
static void
settle(struct vmem *vmp)
{
	struct vmem_ids *ids = vmp->vm_ids;
	uint64_t now = ids->i_rest.r_count != 0 ? os_now() : 0;
	bool any = vmem__idset_any(&ids->i_set);
	uint32_t id;

	while (ids->i_rest.r_count != 0 &&
	    now - vmem__idrest_first(&ids->i_rest, &id) >= ids->i_cooldown) {
		vmem__idrest_drop(&ids->i_rest);
		vmem__idset_wake(&ids->i_set, id);
		any = true;
	}
	if (any)
		vmem__ids_serve(vmp);
}

static inline bool
unsettled(const struct vmem_ids *ids)
{
	return (ids->i_rest.r_count != 0 || anybody_waits(ids));
}

/* Sleep on c until it is signalled, `until` or, if that is 0, for ever. */
static void
sleep_until(struct vmem *vmp, struct qr_cond *c, uint64_t until)
{
	struct timespec ts = {
	    (time_t)(until / 1000000000), (long)(until % 1000000000)};

	(void)qr_cond_timedwait(c, &vmp->vm_lock, until == 0 ? NULL : &ts);
}

/* When something can be had that nobody will tell of; 0: never. */
static uint64_t
look_again_at(const struct vmem *vmp)
{
	const struct vmem_ids *ids = vmp->vm_ids;
	uint64_t at = 0;
	uint32_t id;

	if (ids->i_rest.r_count != 0)
		at = vmem__idrest_first(&ids->i_rest, &id) + ids->i_cooldown;
	if (vmem__idset_any(&ids->i_set) &&
	    (at == 0 || at > os_now() + LOOK_AGAIN_NS))
		at = os_now() + LOOK_AGAIN_NS;
	return (at);
}

static QR_COLD id_t
wait_for_one(struct vmem *vmp, bool least)
{
	struct waiter w = {
	    .w_cond = QR_COND_INIT, .w_least = least, .w_id = none};

	vmp->vm_nwait++;
	qr_list_push_back(&vmp->vm_ids->i_waiters, &w.w_link);
	while (w.w_id == none) {
		sleep_until(
		    vmp, &w.w_cond, front(vmp) == &w ? look_again_at(vmp) : 0);
		if (w.w_id == none)
			settle(vmp);
	}
	return (w.w_id);
}

/* ---- allocating ---- */

/* The same in all cases; vm_lock may be held, and is left. */
static QR_NOINLINE id_t
alloc_slowly(struct vmem *vmp, bool least, bool sleeps, bool held)
{
	id_t id = none;

	if (!held)
		qr_mutex_enter(&vmp->vm_lock);
	if (unsettled(vmp->vm_ids))
		settle(vmp);
	if (anybody_waits(vmp->vm_ids) || !take(vmp, least, &id)) {
		if (sleeps)
			id = wait_for_one(vmp, least);
		else
			vmp->vm_nfail++;
	}
	qr_mutex_exit(&vmp->vm_lock);
	return (id);
}

static QR_NOINLINE id_t
alloc_exit(struct vmem *vmp, id_t id)
{
	qr_mutex_exit(&vmp->vm_lock);
	return (id);
}

/* All calls are at an end, so that nothing need be saved for what follows. */
QR_INLINE id_t
alloc(struct vmem *vmp, bool least, bool sleeps)
{
	struct vmem_ids *ids = vmp->vm_ids;
	bool held = qr_mutex_tryenter(&vmp->vm_lock);
	uint32_t id;

	if (QR_UNLIKELY(!held || unsettled(ids) ||
		!(least ? vmem__id_take_lowest(&ids->i_set, &id)
			: vmem__id_take_near(&ids->i_set, &id))))
		return (alloc_slowly(vmp, least, sleeps, held));
	count_alloc(vmp);
	if (QR_UNLIKELY(!qr_mutex_tryexit(&vmp->vm_lock)))
		return (alloc_exit(vmp, (id_t)id));
	return ((id_t)id);
}

id_t
id_alloc(id_space_t *vmp)
{
	return (alloc(vmp, false, true));
}

id_t
id_alloc_nosleep(id_space_t *vmp)
{
	return (alloc(vmp, false, false));
}

id_t
id_allocff(id_space_t *vmp)
{
	return (alloc(vmp, true, true));
}

id_t
id_allocff_nosleep(id_space_t *vmp)
{
	return (alloc(vmp, true, false));
}

id_t
id_alloc_specific_nosleep(id_space_t *vmp, id_t id)
{
	struct vmem_ids *ids = vmp->vm_ids;
	bool taken = false;

	qr_mutex_enter(&vmp->vm_lock);
	if (unsettled(vmp->vm_ids))
		settle(vmp);
	taken = vmem__idset_take_some(&ids->i_set, id, id) == 0;
	if (QR_LIKELY(taken))
		count_alloc(vmp);
	else
		vmp->vm_nfail++;
	qr_mutex_exit(&vmp->vm_lock);
	return (taken ? id : none);
}

id_t
id_alloc_specific(id_space_t *vmp, id_t id)
{
	return (id_alloc_specific_nosleep(vmp, id));
}

/* ---- freeing ---- */

/* 0, ENOENT for what is not in use, or ENOMEM. */
int
vmem__ids_lay(struct vmem *vmp, uint32_t id)
{
	struct vmem_ids *ids = vmp->vm_ids;

	if (!vmem__idrest_room(&ids->i_rest))
		return (ENOMEM);
	if (!vmem__idset_lay(&ids->i_set, id))
		return (ENOENT);
	vmem__idrest_put(&ids->i_rest, id, os_now());
	if (anybody_waits(vmp->vm_ids))
		qr_cond_signal(&front(vmp)->w_cond);
	return (0);
}

/*
 * Where there is no memory to note one more, that of the head is needed: nobody
 * but the clock can free it.
 */
static QR_COLD int
lay_patiently(struct vmem *vmp, uint32_t id)
{
	struct qr_cond nobody = QR_COND_INIT;
	int error;

	while ((error = vmem__ids_lay(vmp, id)) == ENOMEM) {
		uint64_t at = look_again_at(vmp);
		uint64_t soon = os_now() + LOOK_AGAIN_NS;

		sleep_until(vmp, &nobody, at != 0 && at < soon ? at : soon);
		settle(vmp);
	}
	return (error);
}

/* Why could it not be freed? */
static const char *
free_error(struct vmem *vmp, id_t id)
{
	uint32_t last;

	if (!has(vmp, id))
		return ("not of this space");
	if (vmem__idset_run(&vmp->vm_ids->i_set, id, id, &last) ==
	    VMEM_ID_IS_RESTING)
		return ("freed already, and at rest");
	return ("not allocated");
}

/* The same in all cases; vm_lock may be held, and is left. */
static QR_NOINLINE void
free_slowly(struct vmem *vmp, id_t id, bool held)
{
	struct vmem_ids *ids = vmp->vm_ids;
	const char *what = NULL;
	bool done = false;

	if (!held)
		qr_mutex_enter(&vmp->vm_lock);
	if (has(vmp, id)) {
		if (ids->i_cooldown != 0)
			done = lay_patiently(vmp, id) == 0;
		else
			done = vmem__idset_give(&ids->i_set, id);
	}
	if (done) {
		count_free(vmp);
		if (unsettled(ids))
			settle(vmp);
	} else {
		what = free_error(vmp, id);
	}
	qr_mutex_exit(&vmp->vm_lock);
	if (what != NULL)
		qr_panic("id_free('%s', %d): bad free: %s", vmp->vm_name,
		    (int)id, what);
}

/* It was the last one in use of a word, which is in the leaf n. */
static QR_NOINLINE void
free_last(struct vmem *vmp, struct vmem_idnode *n, uint32_t id)
{
	vmem__idpath_whole(&vmp->vm_ids->i_set, n, id);
	qr_mutex_exit(&vmp->vm_lock);
}

void
id_free(id_space_t *vmp, id_t id)
{
	struct vmem_ids *ids = vmp->vm_ids;
	bool held = qr_mutex_tryenter(&vmp->vm_lock);
	struct vmem_idnode *n;

	if (QR_UNLIKELY(!held || ids->i_set.s_rests || anybody_waits(ids) ||
		!has_lately(ids, id) ||
		(n = vmem__id_give(&ids->i_set, id)) == NULL)) {
		free_slowly(vmp, id, held);
		return;
	}
	count_free(vmp);
	if (QR_UNLIKELY(vmem__id_whole(n, id)))
		free_last(vmp, n, id);
	else if (QR_UNLIKELY(!qr_mutex_tryexit(&vmp->vm_lock)))
		qr_mutex_exit(&vmp->vm_lock);
}

int
id_space_set_cooldown(id_space_t *vmp, unsigned int milliseconds)
{
	struct vmem_ids *ids = vmp->vm_ids;
	bool done;

	qr_mutex_enter(&vmp->vm_lock);
	done = milliseconds == 0 ||
	    (vmem__idset_may_rest(&ids->i_set) &&
		vmem__idrest_room(&ids->i_rest));
	if (done) {
		ids->i_cooldown = (uint64_t)milliseconds * VMEM_NS_PER_MS;
		settle(vmp);
		if (anybody_waits(vmp->vm_ids))
			qr_cond_signal(&front(vmp)->w_cond);
	}
	qr_mutex_exit(&vmp->vm_lock);
	return (done ? 0 : ENOMEM);
}

/* ---- all of it ---- */

size_t
vmem__ids_bytes(const struct vmem *vmp)
{
	const struct vmem_ids *ids = vmp->vm_ids;

	return (sizeof(*ids) + ids->i_set.s_bytes + ids->i_rest.r_bytes);
}

int
id_space_getstats(id_space_t *vmp, struct id_space_stats *stats)
{
	qr_mutex_enter(&vmp->vm_lock);
	*stats = (struct id_space_stats){
	    .total = vmp->vm_total,
	    .inuse = vmp->vm_inuse,
	    .resting = vmp->vm_ids->i_rest.r_count,
	    .metadata = vmem__metadata(vmp),
	    .allocs = vmp->vm_nalloc,
	    .frees = vmp->vm_nfree,
	    .waits = vmp->vm_nwait,
	    .fails = vmp->vm_nfail,
	};
	qr_mutex_exit(&vmp->vm_lock);
	return (0);
}

void
vmem__ids_fork(struct vmem *vmp)
{
	struct vmem_ids *ids = vmp->vm_ids;

	qr_list_init(&ids->i_waiters);
	ids->i_turn = ids->i_turns;
	qr_cond_init(&ids->i_turn_cond);
}

void
vmem__ids_check(struct vmem *vmp)
{
	struct vmem_ids *ids = vmp->vm_ids;
	struct vmem_pos pos = {vmp->vm_spans.t_first, 0};
	size_t count[3] = {0, 0, 0};
	uint32_t end;

	vmem__idset_check(&ids->i_set);
	for (; pos.p_leaf != NULL; pos = vmem__pos_next(pos)) {
		const struct vmem_tag *span = vmem__pos_tag(pos);
		uint64_t id = span->g_start;
		uint32_t last = (uint32_t)(id + span->g_size - 1);

		QR_VERIFY(span->g_next == span && last < INT_MAX); /* S1 */
		for (; id <= last; id = (uint64_t)end + 1) {
			enum vmem_idstate state =
			    vmem__idset_run(&ids->i_set, id, last, &end);

			count[state] += end - id + 1;
		}
	}
	QR_VERIFY(count[VMEM_ID_IS_USED] == vmp->vm_inuse); /* S2 */
	QR_VERIFY(count[VMEM_ID_IS_RESTING] == ids->i_rest.r_count);
	QR_VERIFY(count[0] + count[1] + count[2] == vmp->vm_total);
}
