/*
 * malloc_type.c - types: registration, accounting, limits.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mtype/malloc_type_impl.h"

#include "base/fmt.h"
#include "base/panic.h"
#include "os/os_fork.h"
#include "os/os_lock.h"

#include <quarry/umem.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* (t): the records, and who is registered. */
static struct qr_mutex types_lock = QR_MUTEX_INIT(QR_RANK_CLIENT);
static struct qr_list types = QR_LIST_INIT(types); /* by mt_id */
static struct malloc_type *newest;                 /* chain of ks_next */
static uint64_t last_id;
static unsigned registered, most; /* types; when atexit was called last */

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
	*mt = (struct mtype){0};
	qr_mutex_init(&mt->mt_lock, QR_RANK_MTYPE);
	(void)qr_snprintf(mt->mt_name, sizeof(mt->mt_name), "%s", name);
	return (mt);
}

static void
record_give_up(struct mtype *mt)
{
	umem_free_align(mt, sizeof(*mt));
}

/* A record gets a type.  The lock is held. */
static void
chain(struct mtype *mt, struct malloc_type *type)
{
	registered++;
	type->ks_next = newest;
	newest = type;
	__atomic_store_n(&type->ks_handle, mt, __ATOMIC_RELEASE);
}

/* The lock is held. */
static void
record_enter(struct mtype *mt, struct malloc_type *type)
{
	mt->mt_type = type;
	mt->mt_id = ++last_id;
	qr_list_push_back(&types, &mt->mt_link);
	chain(mt, type);
}

/*
 * The record that this type had and that has blocks still, with its lock held;
 * or NULL.  One without a block is about to go.  (t) is held.
 */
static struct mtype *
orphan_enter(const struct malloc_type *type)
{
	QR_LIST_FOREACH (mt, &types, struct mtype, mt_link) {
		if (mt->mt_lost != type ||
		    strncmp(mt->mt_name, type->ks_shortdesc,
			sizeof(mt->mt_name) - 1) != 0)
			continue;
		qr_mutex_enter(&mt->mt_lock);
		if (mt->mt_blocks != 0)
			return (mt);
		qr_mutex_exit(&mt->mt_lock);
	}
	return (NULL);
}

/* Give a type the record back that it lost, or return NULL.  (t) is held. */
static struct mtype *
record_return(struct malloc_type *type)
{
	struct mtype *mt = orphan_enter(type);

	if (mt == NULL)
		return (NULL);
	mt->mt_type = type;
	mt->mt_lost = NULL;
	atomic_store_explicit(&mt->mt_gone, false, memory_order_relaxed);
	chain(mt, type);
	qr_mutex_exit(&mt->mt_lock);
	return (mt);
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
		other = record_return(type);
	if (other == NULL)
		record_enter(mt, type);
	qr_mutex_exit(&types_lock);
	if (other == NULL)
		return (mt);
	record_give_up(mt);
	return (other);
}

/* The block that is to be freed keeps the record. */
struct mtype *
mtype__find_charged(struct malloc_type *type, const char *who)
{
	struct mtype *mt = NULL;

	if (type != NULL && type->ks_magic == M_MAGIC) {
		qr_mutex_enter(&types_lock);
		mt = orphan_enter(type);
		if (mt != NULL)
			qr_mutex_exit(&mt->mt_lock);
		qr_mutex_exit(&types_lock);
	}
	return (mt != NULL ? mt : mtype__register(type, who));
}

static void
leave(void)
{
	atomic_store(&exiting, true);
}

/* Are there more types than ever before? */
static bool
more_than_ever(void)
{
	bool more;

	qr_mutex_enter(&types_lock);
	more = registered > most;
	if (more)
		most = registered;
	qr_mutex_exit(&types_lock);
	return (more);
}

/*
 * What is registered with atexit before the destructors of a program are, runs
 * after them: so each type does it anew, but for those that take the place of
 * one that left, because that needs memory.
 */
int
malloc_type_register(struct malloc_type *type)
{
	if (mtype__of(type, "malloc_type_register") == NULL)
		return (errno);
	if (more_than_ever())
		(void)atexit(leave);
	return (0);
}

/* Take a type off the chain.  The lock is held. */
static void
unchain(struct malloc_type *type)
{
	struct malloc_type **link = &newest;

	registered--;
	while (*link != type)
		link = &(*link)->ks_next;
	*link = type->ks_next;
	type->ks_next = NULL;
}

/* Nobody has it any more. */
static void
record_remove(struct mtype *mt)
{
	qr_mutex_enter(&types_lock);
	qr_list_remove(&mt->mt_link);
	qr_mutex_exit(&types_lock);
	record_give_up(mt);
}

/* A record without a type, as it was when it lost that. */
struct orphan {
	uint64_t or_blocks;
	uint64_t or_bytes;
	char or_name[MTYPE_NAME_MAX];
};

/* From now on its blocks are all that the record is for.  (t) is held. */
static void
record_orphan(struct mtype *mt, struct orphan *left)
{
	unchain(mt->mt_type);
	qr_mutex_enter(&mt->mt_lock);
	if (mt->mt_type != &mt->mt_own) {
		__atomic_store_n(
		    &mt->mt_type->ks_handle, NULL, __ATOMIC_RELAXED);
		mt->mt_lost = mt->mt_type;
	}
	mt->mt_type = NULL;
	atomic_store_explicit(&mt->mt_gone, true, memory_order_relaxed);
	left->or_blocks = mt->mt_blocks;
	left->or_bytes = mt->mt_use;
	memcpy(left->or_name, mt->mt_name, sizeof(left->or_name));
	qr_mutex_exit(&mt->mt_lock);
}

void
malloc_type_unregister(struct malloc_type *type)
{
	struct orphan left;
	struct mtype *mt;

	if (atomic_load(&exiting) || type == NULL || type->ks_magic != M_MAGIC)
		return;
	qr_mutex_enter(&types_lock);
	mt = handle_of(type);
	if (mt != NULL)
		record_orphan(mt, &left);
	qr_mutex_exit(&types_lock);
	if (mt != NULL && left.or_blocks == 0)
		record_remove(mt);
	else if (mt != NULL)
		qr_warn("malloc type %s is unregistered with %llu bytes in "
			"%llu block%s",
		    left.or_name, (unsigned long long)left.or_bytes,
		    (unsigned long long)left.or_blocks,
		    left.or_blocks == 1 ? "" : "s");
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

/* Would `bytes` more be beyond the limit?  mt_lock is held. */
static inline bool
over_limit(const struct mtype *mt, uint64_t bytes)
{
	return (QR_UNLIKELY(mt->mt_limit != 0) &&
	    (mt->mt_use > mt->mt_limit || bytes > mt->mt_limit - mt->mt_use));
}

bool
mtype__charge(struct mtype *mt, uint64_t bytes, uint64_t sizes)
{
	bool over;

	qr_mutex_enter(&mt->mt_lock);
	over = over_limit(mt, bytes);
	if (QR_LIKELY(!over)) {
		mt->mt_blocks++;
		mt->mt_use += bytes;
		mt->mt_high = qr_max(mt->mt_high, mt->mt_use);
		mt->mt_requests++;
		mt->mt_sizes |= sizes;
	}
	qr_mutex_exit(&mt->mt_lock);
	return (!over);
}

bool
mtype__uncharge(struct mtype *mt, uint64_t bytes)
{
	bool has, last = false;

	qr_mutex_enter(&mt->mt_lock);
	has = mt->mt_blocks > 0 && mt->mt_use >= bytes;
	if (QR_LIKELY(has)) {
		mt->mt_blocks--;
		mt->mt_use -= bytes;
		last = mt->mt_blocks == 0 && mt->mt_type == NULL;
		if (QR_UNLIKELY(mt->mt_waiters != 0))
			qr_cond_broadcast(&mt->mt_cond);
	}
	qr_mutex_exit(&mt->mt_lock);
	if (QR_UNLIKELY(last))
		record_remove(mt);
	return (has);
}

int
mtype__wait(struct mtype *mt, uint64_t bytes, const struct timespec *deadline)
{
	bool in_time = true;
	int error = 0;

	qr_mutex_enter(&mt->mt_lock);
	mt->mt_waiters++;
	while (error == 0 && over_limit(mt, bytes)) {
		if (bytes > mt->mt_limit)
			error = ENOMEM;
		else if (!in_time)
			error = ETIMEDOUT;
		else
			in_time = qr_cond_timedwait(
			    &mt->mt_cond, &mt->mt_lock, deadline);
	}
	mt->mt_waiters--;
	qr_mutex_exit(&mt->mt_lock);
	return (error);
}

bool
mtype__exceeds(struct mtype *mt, uint64_t bytes)
{
	bool exceeds;

	qr_mutex_enter(&mt->mt_lock);
	exceeds = mt->mt_limit != 0 && bytes > mt->mt_limit;
	qr_mutex_exit(&mt->mt_lock);
	return (exceeds);
}

void
mtype__failed(struct mtype *mt)
{
	qr_mutex_enter(&mt->mt_lock);
	mt->mt_failed++;
	qr_mutex_exit(&mt->mt_lock);
}

/* ---- limits ---- */

void (*mtype__limit_moved)(void);

/* Set the limit to `bytes`, or, when raising, to the higher of the two. */
static int
set_limit(struct malloc_type *type, uint64_t bytes, bool raise, const char *who)
{
	struct mtype *mt = mtype__of(type, who);
	uint64_t old;

	if (mt == NULL)
		return (errno);
	qr_mutex_enter(&mt->mt_lock);
	old = mt->mt_limit;
	if (!raise || (old != 0 && (bytes == 0 || bytes > old)))
		mt->mt_limit = bytes;
	qr_cond_broadcast(&mt->mt_cond);
	qr_mutex_exit(&mt->mt_lock);
	if (mtype__limit_moved != NULL)
		mtype__limit_moved();
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

/* ---- looking ---- */

static void
read_stats(struct mtype *mt, struct malloc_type_stats *st)
{
	qr_mutex_enter(&mt->mt_lock);
	*st = (struct malloc_type_stats){
	    .inuse = mt->mt_blocks,
	    .memuse = mt->mt_use,
	    .highuse = mt->mt_high,
	    .requests = mt->mt_requests,
	    .failed = mt->mt_failed,
	    .limit = mt->mt_limit,
	    .sizes = mt->mt_sizes,
	};
	qr_mutex_exit(&mt->mt_lock);
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

long
kmalloc_limit(struct malloc_type *type)
{
	struct mtype *mt = mtype__of(type, "kmalloc_limit");
	struct malloc_type_stats st = {.limit = 0};

	if (mt != NULL)
		read_stats(mt, &st);
	return (
	    st.limit == 0 || st.limit > LONG_MAX ? LONG_MAX : (long)st.limit);
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
	QR_LIST_FOREACH (mt, &types, struct mtype, mt_link)
		qr_mutex_enter_nested(&mt->mt_lock);
}

/* Who waited in the parent is not in the child. */
static void
fork_done(bool child)
{
	QR_LIST_FOREACH (mt, &types, struct mtype, mt_link) {
		if (child) {
			mt->mt_waiters = 0;
			qr_cond_init(&mt->mt_cond);
		}
		qr_mutex_exit(&mt->mt_lock);
	}
	qr_mutex_exit(&types_lock);
}

static QR_CONSTRUCTOR void
load(void)
{
	os_fork_handle(OS_FORK_MTYPE, fork_prepare, fork_done);
}
