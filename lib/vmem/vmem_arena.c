/*
 * vmem_arena.c - arenas as wholes: create, destroy, sizes, the list of them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_ids.h"
#include "vmem/vmem_tag.h"

#include "os/os.h"

#include <string.h>

enum { LOOK_AGAIN_NS = 100 * 1000 * 1000 };

struct qr_mutex vmem__list_lock = QR_MUTEX_INIT(QR_RANK_ARENA_LIST);
struct qr_list vmem__list = QR_LIST_INIT(vmem__list);
static uint64_t last_id; /* under vmem__list_lock */
unsigned vmem__forks;

/* Records are cache lines, so that arenas share none. */
static struct meta_pool arena_pool = META_POOL_INIT("vmem",
    (sizeof(struct vmem) + QR_CACHE_LINE - 1) / QR_CACHE_LINE * QR_CACHE_LINE);

/* ---- creation ---- */

/* Nobody announces that there is memory again: a sleeper looks. */
static struct vmem *
arena_get(int vmflag)
{
	static _Atomic uint32_t never;
	struct vmem *vmp = meta_get(&arena_pool);

	while (vmp == NULL && vmem__may_sleep(vmflag)) {
		uint64_t look = os_now() + LOOK_AGAIN_NS;
		struct timespec ts = {
		    (time_t)(look / 1000000000), (long)(look % 1000000000)};

		(void)os_park(&never, 0, &ts);
		vmp = meta_get(&arena_pool);
	}
	return (vmp);
}

static void
arena_init(struct vmem *vmp, const char *name, size_t quantum)
{
	size_t len = strlen(name);

	memcpy(vmp->vm_name, name, qr_min(len, VMEM_NAME_MAX - 1));
	qr_mutex_init(&vmp->vm_lock, QR_RANK_ARENA);
	vmp->vm_quantum = quantum;
	vmp->vm_qshift = qr_log2(quantum);
	vmp->vm_sizes.t_pairs = true;
	vmem__dense_init(vmp);
	vmp->vm_hash = vmp->vm_hash_first;
	vmp->vm_hash_bits = VMEM_HASH_BITS;
	qr_list_init(&vmp->vm_link);
}

static void
arena_publish(struct vmem *vmp)
{
	qr_mutex_enter(&vmem__list_lock);
	vmp->vm_id = ++last_id;
	qr_list_push_back(&vmem__list, &vmp->vm_link);
	qr_mutex_exit(&vmem__list_lock);
}

static void
arena_withdraw(struct vmem *vmp)
{
	qr_mutex_enter(&vmem__list_lock);
	qr_list_remove(&vmp->vm_link);
	qr_mutex_exit(&vmem__list_lock);
}

static void
arena_drop(struct vmem *vmp)
{
	struct vmem_pos pos = {vmp->vm_spans.t_first, 0};

	for (; pos.p_leaf != NULL; pos = vmem__pos_next(pos)) {
		struct vmem_tag *span = vmem__pos_tag(pos);

		while (span->g_next != span) {
			struct vmem_tag *tag = span->g_next;

			span->g_next = tag->g_next;
			vmem__tag_give(vmp, tag);
		}
		vmem__tag_give(vmp, span);
	}
	vmem__tree_clear(&vmp->vm_spans);
	vmem__tree_clear(&vmp->vm_addrs);
	vmem__tree_clear(&vmp->vm_sizes);
	vmem__nodes_drain(&vmp->vm_nodes);
	vmem__tags_drain(&vmp->vm_tags);
	vmem__hash_fini(vmp);
	vmem__dense_fini(vmp);
	if (vmp->vm_ids != NULL)
		vmem__ids_destroy(vmp);
	meta_put(&arena_pool, vmp);
}

static const char *
integers_of(int cflags)
{
	return ((cflags & VMC_IDENTIFIER) != 0 ? "identifiers" : "memory");
}

/*
 * Report an arena that cannot be.  One that imports from a source of the other
 * kind would pass identifiers off as memory; or run out of memory that object
 * caches hold, and not ask them, because identifiers are not what they hold.
 */
static bool
create_invalid(
    const char *name, size_t quantum, const struct vmem *source, int vmflag)
{
	if (name == NULL)
		qr_panic("vmem_create(): no name");
	else if (!qr_ispow2(quantum))
		qr_panic("vmem_create('%s'): quantum %lu is not a power of two",
		    name, quantum);
	else if (source != NULL &&
	    ((source->vm_cflags ^ vmflag) & VMC_IDENTIFIER) != 0)
		qr_panic("vmem_create('%s'): an arena of %s cannot have '%s', "
			 "one of %s, as its source",
		    name, integers_of(vmflag), source->vm_name,
		    integers_of(source->vm_cflags));
	else
		return (false);
	errno = EINVAL;
	return (true);
}

/* Base NULL with a size, or a size of 0 with a base, is for vmem_add to name. */
static vmem_t *
arena_create(const char *name, void *base, size_t size, size_t quantum,
    vmem_alloc_t *afunc, vmem_ximport_t *xafunc, vmem_free_t *ffunc,
    vmem_t *source, size_t qcache_max, int vmflag)
{
	struct vmem *vmp;

	if (create_invalid(name, quantum, source, vmflag))
		return (NULL);
	vmp = arena_get(vmflag);
	if (vmp == NULL)
		return (NULL);
	arena_init(vmp, name, quantum);
	vmp->vm_afunc = afunc;
	vmp->vm_xafunc = xafunc;
	vmp->vm_ffunc = ffunc;
	vmp->vm_source = source;
	vmp->vm_cflags = vmflag & (int)VMC_FLAGS;
	if ((base != NULL || size != 0) &&
	    vmem_add(vmp, base, size, vmflag & VM_FLAGS) == NULL) {
		arena_drop(vmp);
		return (NULL);
	}
	arena_publish(vmp);
	vmem__qcache_setup(vmp, qcache_max, vmflag);
	return (vmp);
}

static void
panic_if_mandatory(const vmem_t *vmp, const char *name, int vmflag)
{
	if (vmp == NULL && name != NULL && (vmflag & VM_PANIC) != 0)
		qr_panic("vmem_create('%s'): cannot satisfy mandatory creation",
		    name);
}

vmem_t *
vmem_create(const char *name, void *base, size_t size, size_t quantum,
    vmem_alloc_t *afunc, vmem_free_t *ffunc, vmem_t *source, size_t qcache_max,
    int vmflag)
{
	vmem_t *vmp = arena_create(name, base, size, quantum, afunc, NULL,
	    ffunc, source, qcache_max, vmflag & ~(VMC_XALLOC | VMC_XALIGN));

	panic_if_mandatory(vmp, name, vmflag);
	return (vmp);
}

vmem_t *
vmem_xcreate(const char *name, void *base, size_t size, size_t quantum,
    vmem_ximport_t *afunc, vmem_free_t *ffunc, vmem_t *source,
    size_t qcache_max, int vmflag)
{
	vmem_t *vmp = arena_create(name, base, size, quantum, NULL, afunc,
	    ffunc, source, qcache_max, (vmflag & ~VMC_POPULATOR) | VMC_XALLOC);

	panic_if_mandatory(vmp, name, vmflag);
	return (vmp);
}

void
vmem_destroy(vmem_t *vmp)
{
	size_t leaked;

	/* The caches give back to the arena, which is still whole. */
	vmem__qcache_teardown(vmp);
	arena_withdraw(vmp);
	leaked = vmem_size(vmp, VMEM_ALLOC);
	if (leaked != 0)
		qr_warn("vmem_destroy('%s'): leaked %lu %s", vmp->vm_name,
		    leaked,
		    (vmp->vm_cflags & VMC_IDENTIFIER) != 0 ? "identifiers"
							   : "bytes");
	arena_drop(vmp);
}

/* ---- questions ---- */

size_t
vmem__quantum(const vmem_t *vmp)
{
	return (vmp->vm_quantum);
}

size_t
vmem_size(vmem_t *vmp, int typemask)
{
	size_t inuse =
	    atomic_load_explicit(&vmp->vm_inuse, memory_order_relaxed);
	size_t total =
	    atomic_load_explicit(&vmp->vm_total, memory_order_relaxed);
	size_t size = 0;

	if ((typemask & VMEM_ALLOC) != 0)
		size += inuse;
	/* Two counters, and no lock: a span may have gone between them. */
	if ((typemask & VMEM_FREE) != 0)
		size += total - qr_min(inuse, total);
	return (size);
}

int
vmem_contains(vmem_t *vmp, void *addr, size_t size)
{
	uintptr_t first = (uintptr_t)addr;
	struct vmem_pos pos;
	bool inside = false;

	qr_mutex_enter(&vmp->vm_lock);
	vmp->vm_ncontains++;
	pos = vmem__tree_floor(&vmp->vm_spans, first, UINTPTR_MAX);
	if (pos.p_leaf != NULL) {
		const struct vmem_tag *span = vmem__pos_tag(pos);
		size_t room = span->g_start + (span->g_size - 1) - first;

		vmp->vm_ncontains_search++;
		inside = first - span->g_start <= span->g_size - 1 &&
		    (size == 0 || size - 1 <= room);
	}
	qr_mutex_exit(&vmp->vm_lock);
	return (inside);
}

int
vmem_set_limit(vmem_t *vmp, size_t limit)
{
	qr_mutex_enter(&vmp->vm_lock);
	vmp->vm_limit = limit;
	vmem__changed(vmp);
	qr_mutex_exit(&vmp->vm_lock);
	vmem__wake_importers(vmp);
	return (0);
}

/* ---- all arenas ---- */

static unsigned
arena_depth(const struct vmem *vmp)
{
	unsigned depth = 0;

	while ((vmp = vmp->vm_source) != NULL)
		depth++;
	return (depth);
}

/* Segments, allocated and free. */
static size_t
arena_segments(const struct vmem *vmp)
{
	return (vmp->vm_nalloc - vmp->vm_nfree + vmp->vm_bins_used +
	    vmp->vm_dense_free);
}

/*
 * Descriptors, tags in use and in reserve, nodes, and the hash table; the set of
 * an id_space.
 */
size_t
vmem__metadata(const struct vmem *vmp)
{
	size_t nodes = vmp->vm_spans.t_nodes + vmp->vm_addrs.t_nodes +
	    vmp->vm_sizes.t_nodes + vmp->vm_nodes.s_count;
	size_t size = sizeof(struct vmem_node) * nodes +
	    sizeof(struct vmem_tag) *
		(vmp->vm_hash_used + vmp->vm_bins_used + vmp->vm_spans.t_count +
		    vmp->vm_tags.r_count) +
	    vmem__dense_bytes(vmp);

	if (vmp->vm_hash != vmp->vm_hash_first)
		size += sizeof(struct vmem_tag *) << vmp->vm_hash_bits;
	if (vmp->vm_hash_old != NULL && vmp->vm_hash_old != vmp->vm_hash_first)
		size += sizeof(struct vmem_tag *) << vmp->vm_hash_old_bits;
	if (vmp->vm_ids != NULL)
		size += vmem__ids_bytes(vmp);
	return (size);
}

/* The list lock is held, so that the source is there. */
static void
arena_stat(struct vmem *vmp, struct vmem__stat *vs)
{
	memset(vs, 0, sizeof(*vs));
	memcpy(vs->vs_name, vmp->vm_name, VMEM_NAME_MAX);
	vs->vs_id = vmp->vm_id;
	vs->vs_depth = arena_depth(vmp);
	if (vmp->vm_source != NULL) {
		memcpy(
		    vs->vs_source_name, vmp->vm_source->vm_name, VMEM_NAME_MAX);
		vs->vs_source_id = vmp->vm_source->vm_id;
	}
	vs->vs_identifier = (vmp->vm_cflags & VMC_IDENTIFIER) != 0;
	vs->vs_quantum = vmp->vm_quantum;
	qr_mutex_enter(&vmp->vm_lock);
	vs->vs_inuse = vmp->vm_inuse;
	vs->vs_import = vmp->vm_import;
	vs->vs_total = vmp->vm_total;
	vs->vs_spans = vmp->vm_spans.t_count;
	vs->vs_segments = arena_segments(vmp);
	if (vmp->vm_ids != NULL)
		vs->vs_resting = vmp->vm_ids->i_rest.r_count;
	vs->vs_metadata = vmem__metadata(vmp);
	vs->vs_alloc = vmp->vm_nalloc;
	vs->vs_free = vmp->vm_nfree;
	vs->vs_wait = vmp->vm_nwait;
	vs->vs_fail = vmp->vm_nfail;
	vs->vs_lookup = vmp->vm_nlookup;
	vs->vs_search = vmp->vm_nsearch;
	vs->vs_populate_wait = vmp->vm_nshort_wait;
	vs->vs_populate_fail = vmp->vm_nshort_fail;
	vs->vs_contains = vmp->vm_ncontains;
	vs->vs_contains_search = vmp->vm_ncontains_search;
	qr_mutex_exit(&vmp->vm_lock);
}

/* The row of the first arena with a higher id. */
static bool
next_stat(uint64_t id, struct vmem__stat *vs)
{
	bool found = false;

	qr_mutex_enter(&vmem__list_lock);
	QR_LIST_FOREACH (vmp, &vmem__list, struct vmem, vm_link) {
		if (vmp->vm_id > id) {
			arena_stat(vmp, vs);
			found = true;
			break;
		}
	}
	qr_mutex_exit(&vmem__list_lock);
	return (found);
}

void
vmem__foreach(void (*fn)(const struct vmem__stat *, void *), void *arg)
{
	struct vmem__stat vs;

	for (uint64_t id = 0; next_stat(id, &vs); id = vs.vs_id)
		fn(&vs, arg);
}

void
vmem__lock_all(void)
{
	qr_mutex_enter(&vmem__list_lock);
	QR_LIST_FOREACH (vmp, &vmem__list, struct vmem, vm_link)
		qr_mutex_enter_nested(&vmp->vm_lock);
}

void
vmem__fork_child(void)
{
	vmem__forks++;
	QR_LIST_FOREACH (vmp, &vmem__list, struct vmem, vm_link) {
		vmp->vm_sleepers = 0;
		vmp->vm_cond = (struct qr_cond)QR_COND_INIT;
		atomic_store(&vmp->vm_wanted, 0);
		vmp->vm_importing = 0;
		vmem__walk_fork(vmp);
		if (vmp->vm_ids != NULL)
			vmem__ids_fork(vmp);
	}
}

void
vmem__unlock_all(void)
{
	QR_LIST_FOREACH (vmp, &vmem__list, struct vmem, vm_link)
		qr_mutex_exit(&vmp->vm_lock);
	qr_mutex_exit(&vmem__list_lock);
}
