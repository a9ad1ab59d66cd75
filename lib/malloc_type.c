/*
 * malloc_type.c - types: registration, accounting, limits.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "malloc_type_impl.h"

#include "base/fmt.h"
#include "base/panic.h"
#include "os/os_lock.h"

#include <quarry/umem.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

/* (t): the records, who is registered, and everybody who waits. */
static struct qr_mutex types_lock = QR_MUTEX_INIT(QR_RANK_CLIENT);
static struct qr_cond types_cond = QR_COND_INIT;
static struct qr_list types = QR_LIST_INIT(types); /* by mt_id */
static struct malloc_type *newest;                 /* chain of ks_next */
static uint64_t last_id;

/* Types go because the process does: nothing was unloaded. */
static _Atomic bool exiting;

/* Registered at their first use, and never unloaded. */
struct malloc_type M_CACHE[1] = {{NULL, M_MAGIC, "cache", NULL}};
struct malloc_type M_DEVBUF[1] = {{NULL, M_MAGIC, "devbuf", NULL}};
struct malloc_type M_TEMP[1] = {{NULL, M_MAGIC, "temp", NULL}};

/* ---- registration ---- */

static struct mtype *
handle_of(struct malloc_type *type)
{
	return (__atomic_load_n(&type->ks_handle, __ATOMIC_ACQUIRE));
}

static struct mtype *
record_make(const char *name)
{
	struct mtype *mt =
	    umem_alloc_align(sizeof(*mt), _Alignof(struct mtype), UMEM_DEFAULT);

	if (mt == NULL) {
		errno = ENOMEM;
		return (NULL);
	}
	*mt = (struct mtype){.mt_refs = 1};
	(void)qr_snprintf(mt->mt_name, sizeof(mt->mt_name), "%s", name);
	return (mt);
}

static void
record_give_up(struct mtype *mt)
{
	umem_free_align(mt, sizeof(*mt));
}

/* The lock is held. */
static void
record_enter(struct mtype *mt, struct malloc_type *type)
{
	mt->mt_type = type;
	mt->mt_id = ++last_id;
	qr_list_push_back(&types, &mt->mt_link);
	type->ks_next = newest;
	newest = type;
	__atomic_store_n(&type->ks_handle, mt, __ATOMIC_RELEASE);
}

struct mtype *
mtype__register(struct malloc_type *type, const char *who)
{
	struct mtype *mt, *other;

	if (type == NULL || type->ks_magic != M_MAGIC) {
		qr_panic("%s: malloc type %p lacks magic", who, (void *)type);
		errno = EINVAL;
		return (NULL);
	}
	mt = record_make(type->ks_shortdesc);
	if (mt == NULL)
		return (NULL);
	qr_mutex_enter(&types_lock);
	other = handle_of(type);
	if (other == NULL)
		record_enter(mt, type);
	qr_mutex_exit(&types_lock);
	if (other == NULL)
		return (mt);
	record_give_up(mt);
	return (other);
}

static void
leave(void)
{
	atomic_store(&exiting, true);
}

/*
 * What is registered with atexit before the destructors of a program are, runs
 * after them: so each type does it anew.
 */
int
malloc_type_register(struct malloc_type *type)
{
	(void)atexit(leave);
	return (mtype__of(type, "malloc_type_register") != NULL ? 0 : errno);
}

/*
 * Drop a reference; the record may be gone afterwards.  False when `floor` of
 * them are left and have to stay.
 */
static bool
record_release(struct mtype *mt, uint64_t floor)
{
	uint64_t refs = atomic_load(&mt->mt_refs);

	do {
		if (refs <= floor)
			return (false);
	} while (!atomic_compare_exchange_weak(&mt->mt_refs, &refs, refs - 1));
	if (refs > 1)
		return (true);
	qr_mutex_enter(&types_lock);
	qr_list_remove(&mt->mt_link);
	qr_mutex_exit(&types_lock);
	record_give_up(mt);
	return (true);
}

/* Take a type off the chain.  The lock is held. */
static void
unchain(struct malloc_type *type)
{
	struct malloc_type **link = &newest;

	while (*link != type)
		link = &(*link)->ks_next;
	*link = type->ks_next;
	type->ks_next = NULL;
}

void
malloc_type_unregister(struct malloc_type *type)
{
	struct mtype *mt;
	uint64_t blocks;

	if (atomic_load(&exiting) || type == NULL || type->ks_magic != M_MAGIC)
		return;
	qr_mutex_enter(&types_lock);
	mt = handle_of(type);
	if (mt != NULL) {
		unchain(type);
		mt->mt_type = NULL;
		atomic_store(&mt->mt_gone, true);
		if (type != &mt->mt_own)
			__atomic_store_n(
			    &type->ks_handle, NULL, __ATOMIC_RELAXED);
	}
	qr_mutex_exit(&types_lock);
	if (mt == NULL)
		return;
	blocks = atomic_load(&mt->mt_refs) - 1;
	if (blocks > 0)
		qr_warn("malloc type %s is unregistered with %llu bytes in "
			"%llu blocks",
		    mt->mt_name, (unsigned long long)atomic_load(&mt->mt_use),
		    (unsigned long long)blocks);
	(void)record_release(mt, 0);
}

void
kmalloc_create(struct malloc_type **typep, const char *descr)
{
	struct mtype *mt;

	if (*typep != NULL)
		return;
	mt = record_make(descr);
	if (mt == NULL)
		return;
	mt->mt_own = (struct malloc_type){NULL, M_MAGIC, mt->mt_name, NULL};
	qr_mutex_enter(&types_lock);
	record_enter(mt, &mt->mt_own);
	qr_mutex_exit(&types_lock);
	*typep = &mt->mt_own;
}

void
kmalloc_destroy(struct malloc_type **typep)
{
	struct malloc_type *type = *typep;

	*typep = NULL;
	if (type != NULL)
		malloc_type_unregister(type);
}

const char *
mtype__name(const struct malloc_type *type)
{
	return (type == NULL || type->ks_magic != M_MAGIC ? "?"
							  : type->ks_shortdesc);
}

/* ---- accounting ---- */

/* Both sides of a wait order what they write before what they read. */
static bool
add_use(struct mtype *mt, uint64_t bytes)
{
	uint64_t limit = atomic_load(&mt->mt_limit);
	uint64_t use = atomic_load(&mt->mt_use), high;

	do {
		if (limit != 0 && (use > limit || bytes > limit - use))
			return (false);
	} while (!atomic_compare_exchange_weak(&mt->mt_use, &use, use + bytes));
	use += bytes;
	high = atomic_load_explicit(&mt->mt_high, memory_order_relaxed);
	while (QR_UNLIKELY(use > high) &&
	    !atomic_compare_exchange_weak(&mt->mt_high, &high, use))
		continue;
	return (true);
}

bool
mtype__charge(struct mtype *mt, uint64_t bytes, uint64_t sizes)
{
	if (!add_use(mt, bytes))
		return (false);
	atomic_fetch_add_explicit(&mt->mt_refs, 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&mt->mt_requests, 1, memory_order_relaxed);
	if (QR_UNLIKELY((sizes &
			    ~atomic_load_explicit(
				&mt->mt_sizes, memory_order_relaxed)) != 0))
		atomic_fetch_or(&mt->mt_sizes, sizes);
	return (true);
}

static void
wake(void)
{
	qr_mutex_enter(&types_lock);
	qr_cond_broadcast(&types_cond);
	qr_mutex_exit(&types_lock);
}

/* A type that has less did not allocate the block. */
static bool
sub_use(struct mtype *mt, uint64_t bytes)
{
	uint64_t use = atomic_load(&mt->mt_use);

	do {
		if (use < bytes)
			return (false);
	} while (!atomic_compare_exchange_weak(&mt->mt_use, &use, use - bytes));
	return (true);
}

bool
mtype__uncharge(struct mtype *mt, uint64_t bytes)
{
	if (QR_UNLIKELY(!sub_use(mt, bytes)))
		return (false);
	if (QR_UNLIKELY(atomic_load(&mt->mt_waiters) != 0))
		wake();
	if (QR_LIKELY(record_release(mt, atomic_load(&mt->mt_gone) ? 0 : 1)))
		return (true);
	atomic_fetch_add(&mt->mt_use, bytes);
	return (false);
}

int
mtype__wait(struct mtype *mt, uint64_t bytes, const struct timespec *deadline)
{
	bool in_time = true;
	int error = EAGAIN;

	qr_mutex_enter(&types_lock);
	atomic_fetch_add(&mt->mt_waiters, 1);
	while (error == EAGAIN) {
		uint64_t limit = atomic_load(&mt->mt_limit);
		uint64_t use = atomic_load(&mt->mt_use);

		if (limit == 0 || (use <= limit && bytes <= limit - use))
			error = 0;
		else if (bytes > limit)
			error = ENOMEM;
		else if (!in_time)
			error = ETIMEDOUT;
		else
			in_time = qr_cond_timedwait(
			    &types_cond, &types_lock, deadline);
	}
	atomic_fetch_sub(&mt->mt_waiters, 1);
	qr_mutex_exit(&types_lock);
	return (error);
}

/* ---- limits ---- */

/* Set the limit to `bytes`, or, when raising, to the higher of the two. */
static int
set_limit(struct malloc_type *type, uint64_t bytes, bool raise, const char *who)
{
	struct mtype *mt = mtype__of(type, who);
	uint64_t old;

	if (mt == NULL)
		return (errno);
	qr_mutex_enter(&types_lock);
	old = atomic_load(&mt->mt_limit);
	if (!raise || (old != 0 && (bytes == 0 || bytes > old)))
		atomic_store(&mt->mt_limit, bytes);
	qr_cond_broadcast(&types_cond);
	qr_mutex_exit(&types_lock);
	return (0);
}

int
malloc_type_set_limit(struct malloc_type *type, size_t bytes)
{
	return (set_limit(type, bytes, false, "malloc_type_set_limit"));
}

void
kmalloc_raise_limit(struct malloc_type *type, size_t bytes)
{
	(void)set_limit(type, bytes, true, "kmalloc_raise_limit");
}

void
kmalloc_set_unlimited(struct malloc_type *type)
{
	(void)set_limit(type, 0, false, "kmalloc_set_unlimited");
}

long
kmalloc_limit(struct malloc_type *type)
{
	struct mtype *mt = mtype__of(type, "kmalloc_limit");
	uint64_t limit = mt == NULL ? 0 : atomic_load(&mt->mt_limit);

	return (limit == 0 || limit > LONG_MAX ? LONG_MAX : (long)limit);
}

/* ---- looking ---- */

static void
read_stats(struct mtype *mt, struct malloc_type_stats *st)
{
	uint64_t refs = atomic_load(&mt->mt_refs);
	uint64_t registered = atomic_load(&mt->mt_gone) ? 0 : 1;

	*st = (struct malloc_type_stats){
	    .inuse = refs - qr_min(refs, registered),
	    .memuse = atomic_load(&mt->mt_use),
	    .highuse = atomic_load(&mt->mt_high),
	    .requests = atomic_load(&mt->mt_requests),
	    .failed = atomic_load(&mt->mt_failed),
	    .limit = atomic_load(&mt->mt_limit),
	    .sizes = atomic_load(&mt->mt_sizes),
	};
}

int
malloc_type_getstats(struct malloc_type *type, struct malloc_type_stats *stats)
{
	struct mtype *mt = mtype__of(type, "malloc_type_getstats");

	if (mt == NULL)
		return (errno);
	read_stats(mt, stats);
	return (0);
}

/* The first record above `id`, or NULL.  The lock is held. */
static struct mtype *
above(uint64_t id)
{
	QR_LIST_FOREACH (mt, &types, struct mtype, mt_link) {
		if (mt->mt_id > id)
			return (mt);
	}
	return (NULL);
}

bool
mtype__next(uint64_t id, struct mtype__row *row)
{
	struct mtype *mt;

	qr_mutex_enter(&types_lock);
	mt = above(id);
	if (mt != NULL) {
		row->mr_id = mt->mt_id;
		row->mr_gone = mt->mt_type == NULL;
		(void)qr_snprintf(
		    row->mr_name, sizeof(row->mr_name), "%s", mt->mt_name);
		read_stats(mt, &row->mr_stats);
	}
	qr_mutex_exit(&types_lock);
	return (mt != NULL);
}

void
malloc_type_list(void (*fn)(struct malloc_type *, void *), void *arg)
{
	uint64_t id = 0;

	for (;;) {
		struct malloc_type *type = NULL;
		struct mtype *mt;

		qr_mutex_enter(&types_lock);
		for (mt = above(id); mt != NULL && type == NULL;
		     mt = above(id)) {
			id = mt->mt_id;
			type = mt->mt_type;
		}
		qr_mutex_exit(&types_lock);
		if (type == NULL)
			return;
		fn(type, arg);
	}
}

/* ---- fork and exit ---- */

static void
fork_prepare(void)
{
	qr_mutex_enter_nested(&types_lock);
}

static void
fork_parent(void)
{
	qr_mutex_exit(&types_lock);
}

/* Who waited in the parent is not here. */
static void
fork_child(void)
{
	qr_cond_init(&types_cond);
	QR_LIST_FOREACH (mt, &types, struct mtype, mt_link)
		atomic_store(&mt->mt_waiters, 0);
	qr_mutex_exit(&types_lock);
}

/*
 * Constructors run in the order of objects, floors upwards, so these handlers
 * are called before those of umem, whose locks rank higher.
 */
static QR_CONSTRUCTOR void
load(void)
{
	(void)pthread_atfork(fork_prepare, fork_parent, fork_child);
}
