/*
 * umem_debug.c - what a debugged cache does with each object.
 */
#include "umem/umem_debug.h"

#include "umem/umem_log.h"
#include "umem/umem_options.h"
#include "umem/umem_pattern.h"
#include "umem/umem_report.h"

#include "meta/meta.h"
#include "os/os_trace.h"
#include "os/os_watch.h"
#include "vmem/vmem_heap.h"

#include <string.h>

/* An encoded size is this many times the size, and one. */
enum { SIZE_FACTOR = 251 };

/* These ask for the flags of a cache. */
static bool
firewalled(uint32_t flags)
{
	return ((flags & UMF_FIREWALL) != 0);
}

static bool
watched(uint32_t flags)
{
	return ((flags & UMF_WATCH) != 0);
}

static bool
tagged(uint32_t flags)
{
	return ((flags & UMF_BUFTAG) != 0 && !firewalled(flags));
}

/* Does a free object hold a pattern? */
static bool
patterned(uint32_t flags)
{
	return ((flags & UMF_DEADBEEF) != 0 && !firewalled(flags));
}

bool
umem__debug_each(const struct umem_cache *cp)
{
	return (watched(cp->cache_flags) || patterned(cp->cache_flags));
}

/* ---- audits ---- */

size_t
umem__audit_size(void)
{
	return (
	    sizeof(struct umem_audit) + umem__opt.frames * sizeof(uintptr_t));
}

struct umem_audit *
umem__audit_of(struct umem_bufctl *bc, enum umem_state state)
{
	size_t skip = state == UMEM_STATE_ALLOC ? 0 : umem__audit_size();

	return ((struct umem_audit *)((char *)(bc + 1) + skip));
}

void
umem__audit_take(struct umem_audit *au)
{
	au->au_ticks = os_trace_ticks();
	au->au_thread = os_trace_thread();
	au->au_depth = os_trace_stack(au->au_pc, (unsigned)umem__opt.frames);
}

/* ---- one object, found ---- */

struct object {
	struct umem_cache *ob_cache;
	struct umem_slab *ob_slab;
	struct umem_bufctl *ob_ctl;
	uintptr_t ob_addr;
	uint32_t ob_flags;    /* of the cache, out of reach of any store */
	enum umem_bad ob_bad; /* what is wrong with it */
};

static struct umem_bufctl *
bufctl_at(const struct umem_cache *cp, const struct umem_slab *sl, size_t i)
{
	return ((struct umem_bufctl *)(sl->sl_bufctl + i * cp->cache_ctl));
}

static struct object
object_at(struct umem_cache *cp, struct umem_slab *sl, size_t i)
{
	return ((struct object){
	    .ob_cache = cp,
	    .ob_slab = sl,
	    .ob_ctl = bufctl_at(cp, sl, i),
	    .ob_addr = sl->sl_base + sl->sl_first + i * cp->cache_chunk,
	    .ob_flags = cp->cache_flags,
	});
}

/* If there is none at addr, ob_bad says so. */
static struct object
object_find(struct umem_cache *cp, uintptr_t addr)
{
	struct object ob = {.ob_cache = cp, .ob_addr = addr};
	struct umem_slab *sl;
	size_t i;

	ob.ob_bad = umem__slab_find(cp, addr, &sl, &i);
	return (ob.ob_bad == UMEM_GOOD ? object_at(cp, sl, i) : ob);
}

/* ---- tags, and what is behind what was asked for ---- */

static struct umem_tag *
tag_of(const struct object *ob)
{
	return ((struct umem_tag *)(ob->ob_addr + ob->ob_cache->cache_tag));
}

/* What stands behind the object in that state. */
static uint64_t
redzone_word(const struct object *ob, enum umem_state state)
{
	if ((ob->ob_flags & UMF_CLASS) == 0 || state == UMEM_STATE_FREE)
		return (UMEM_PATTERN_REDZONE);
	return (((uint64_t)ob->ob_ctl->bc_asked * SIZE_FACTOR + 1) << 32 |
	    (uint32_t)UMEM_PATTERN_REDZONE);
}

static uintptr_t
tag_magic(enum umem_state state)
{
	return (state == UMEM_STATE_FREE ? UMEM_TAG_FREE : UMEM_TAG_ALLOC);
}

static void
tag_write(const struct object *ob, enum umem_state state)
{
	struct umem_tag *tag = tag_of(ob);

	tag->tag_redzone = redzone_word(ob, state);
	tag->tag_bufctl = (uintptr_t)ob->ob_ctl;
	tag->tag_state = (uintptr_t)ob->ob_ctl ^ tag_magic(state);
}

/* Are the bufctl and the tag of an object in that state as they were made? */
static bool
tag_intact(const struct object *ob, enum umem_state state)
{
	const struct umem_tag *tag = tag_of(ob);
	uintptr_t ctl = (uintptr_t)ob->ob_ctl;
	uint64_t bits = (ob->ob_ctl->bc_check ^ ~ob->ob_addr) |
	    (uint64_t)(ob->ob_ctl->bc_state ^ state);

	if (tagged(ob->ob_flags))
		bits |= (tag->tag_redzone ^ redzone_word(ob, state)) |
		    (tag->tag_bufctl ^ ctl) |
		    (tag->tag_state ^ ctl ^ tag_magic(state));
	return (bits == 0);
}

/* What is wrong with them, the first that is, when that state was expected. */
static QR_COLD enum umem_bad
tag_judge(struct object ob, enum umem_state expected)
{
	enum umem_state state = ob.ob_ctl->bc_state;

	if (ob.ob_ctl->bc_check != ~ob.ob_addr)
		return (UMEM_BAD_BUFCTL);
	if (state == UMEM_STATE_FREE && expected == UMEM_STATE_ALLOC)
		return (UMEM_BAD_TWICE);
	if (!tagged(ob.ob_flags) || tag_intact(&ob, state))
		return (UMEM_GOOD);
	return (tag_of(&ob)->tag_redzone != redzone_word(&ob, state)
		? UMEM_BAD_REDZONE
		: UMEM_BAD_TAG);
}

/* The same, in the object itself. */
static void
tag_check(struct object *ob, enum umem_state expected)
{
	if (!tag_intact(ob, expected))
		ob->ob_bad = tag_judge(*ob, expected);
}

/* The object at addr, however long it takes, and what is wrong with it then. */
static QR_COLD struct object
object_seek(struct umem_cache *cp, uintptr_t addr, enum umem_state expected)
{
	struct object ob = object_find(cp, addr);

	if (ob.ob_bad == UMEM_GOOD)
		tag_check(&ob, expected);
	return (ob);
}

/*
 * The object that would be at addr, where memory is, by its tag: true if that
 * and the bufctl which it leads to vouch for each other, and for all the rest.
 * A tag that looks like one is one, or a copy: it leads to a bufctl.  That of an
 * object found the long way would be four loads further, each waiting for the
 * one before.
 */
static inline bool
object_known(struct umem_cache *cp, uintptr_t addr, enum umem_state state,
    struct object *ob)
{
	*ob = (struct object){
	    .ob_cache = cp,
	    .ob_addr = addr,
	    .ob_flags = cp->cache_flags,
	};
	if (QR_UNLIKELY(!tagged(ob->ob_flags) ||
		(tag_of(ob)->tag_bufctl ^ tag_of(ob)->tag_state) !=
		    tag_magic(state)))
		return (false);
	ob->ob_ctl = (struct umem_bufctl *)tag_of(ob)->tag_bufctl;
	return (tag_intact(ob, state));
}

/* Can an object of cp, with its tag, be at addr?  The long way tells why not. */
static inline bool
object_possible(const struct umem_cache *cp, uintptr_t addr)
{
	const struct umem_slab *sl = umem__slab_of((const void *)addr);

	return (sl != NULL && sl->sl_cache == cp &&
	    addr % sizeof(struct umem_tag *) == 0 &&
	    addr - sl->sl_base <= cp->cache_slabsize - cp->cache_chunk);
}

/* The bytes between what was asked for and where the object ends. */
static char *
slack_of(const struct object *ob, size_t *size)
{
	uintptr_t end =
	    (firewalled(ob->ob_flags) ? ob->ob_slab->sl_base : ob->ob_addr) +
	    ob->ob_cache->cache_tag;

	*size = end - ob->ob_addr - ob->ob_ctl->bc_asked;
	return ((char *)ob->ob_addr + ob->ob_ctl->bc_asked);
}

static void
slack_write(const struct object *ob)
{
	size_t size;
	char *slack = slack_of(ob, &size);

	if (size > 0)
		memset(slack, UMEM_REDZONE_BYTE, size);
}

static bool
slack_intact(const struct object *ob)
{
	size_t size;
	char *slack = slack_of(ob, &size);

	while (size > 0 && (unsigned char)slack[size - 1] == UMEM_REDZONE_BYTE)
		size--;
	return (size == 0);
}

/* ---- what happened to it ---- */

/*
 * The offset of the first word of a free object that was written to.  Who wrote
 * it may write there still: the end, if it is as it was by now.
 */
static size_t
first_change(const struct object *ob)
{
	const uint64_t *word = (const uint64_t *)ob->ob_addr;
	size_t n = ob->ob_cache->cache_verify / sizeof(*word), i = 0;

	while (i < n && word[i] == UMEM_PATTERN_FREE)
		i++;
	return (i * sizeof(*word));
}

static QR_COLD void
object_report(struct object ob)
{
	const struct umem_tag *tag = tag_of(&ob);
	struct umem_fault uf = {
	    .uf_bad = ob.ob_bad,
	    .uf_cache = ob.ob_cache,
	    .uf_addr = ob.ob_addr,
	};

	if (ob.ob_bad == UMEM_BAD_MODIFIED) {
		uf.uf_offset = first_change(&ob);
		uf.uf_was = UMEM_PATTERN_FREE;
		uf.uf_is = *(uint64_t *)(ob.ob_addr + uf.uf_offset);
	} else if (ob.ob_bad == UMEM_BAD_TAG) {
		uf.uf_was = tag_magic(ob.ob_ctl->bc_state);
		uf.uf_is = tag->tag_bufctl ^ tag->tag_state;
	}
	umem__report_fault(&uf);
}

/* Report what happened to an object while it was free. */
static void
check_free(struct object *ob)
{
	if (QR_LIKELY(ob->ob_bad == UMEM_GOOD) &&
	    umem__pattern_changed(
		ob->ob_addr, ob->ob_cache->cache_verify, UMEM_PATTERN_FREE))
		ob->ob_bad = UMEM_BAD_MODIFIED;
	if (QR_UNLIKELY(ob->ob_bad != UMEM_GOOD))
		object_report(*ob);
}

/* Can the object be freed?  If not, report why. */
static bool
check_used(struct object *ob)
{
	if (QR_LIKELY(ob->ob_bad == UMEM_GOOD) &&
	    (tagged(ob->ob_flags) || firewalled(ob->ob_flags)) &&
	    !slack_intact(ob))
		ob->ob_bad = UMEM_BAD_REDZONE;
	if (QR_LIKELY(ob->ob_bad == UMEM_GOOD))
		return (true);
	object_report(*ob);
	return (false);
}

/* ---- in use, and free ---- */

static void
audit(const struct object *ob, enum umem_state state)
{
	struct umem_cache *cp = ob->ob_cache;
	struct umem_audit *au = umem__audit_of(ob->ob_ctl, state);

	umem__audit_take(au);
	umem__log_transaction(cp, ob->ob_addr, ob->ob_ctl, au);
	if ((ob->ob_flags & UMF_CHECKSIGNAL) != 0 &&
	    os_trace_in_signal(au->au_pc, (unsigned)au->au_depth))
		umem__report("umem allocator: called from a signal handler: "
			     "buffer=%p, cache %s",
		    (void *)ob->ob_addr, cp->cache_name);
}

/* A firewalled object of a class ends where its memory does. */
static void
object_shift(struct object *ob, size_t asked)
{
	struct umem_cache *cp = ob->ob_cache;
	size_t align = (cp->cache_flags & UMF_MALLOC) != 0 ? 16 : 8;

	ob->ob_addr = ob->ob_slab->sl_base + cp->cache_tag -
	    qr_roundup(qr_max(asked, 1), asked > 8 ? 16 : align);
	qr_mutex_enter(&cp->cache_slab_lock);
	ob->ob_slab->sl_first = (uint32_t)(ob->ob_addr - ob->ob_slab->sl_base);
	qr_mutex_exit(&cp->cache_slab_lock);
}

/* Make it one in use, with all that it has to begin with. */
static void
object_take(struct object *ob, size_t asked)
{
	struct umem_cache *cp = ob->ob_cache;
	struct umem_bufctl *bc = ob->ob_ctl;
	uint32_t flags = ob->ob_flags;

	if (firewalled(flags) && (flags & UMF_CLASS) != 0)
		object_shift(ob, asked);
	bc->bc_check = ~ob->ob_addr;
	bc->bc_state = UMEM_STATE_ALLOC;
	bc->bc_asked = (uint32_t)asked;
	if (watched(flags))
		os_watch_alloc(cp, (void *)ob->ob_addr, asked);
	if (patterned(flags))
		umem__pattern_fill(
		    ob->ob_addr, cp->cache_tag, UMEM_PATTERN_NEW);
	if (tagged(flags) || firewalled(flags))
		slack_write(ob);
	if (tagged(flags))
		tag_write(ob, UMEM_STATE_ALLOC);
	if ((flags & UMF_AUDIT) != 0)
		audit(ob, UMEM_STATE_ALLOC);
}

static void
object_give(const struct object *ob)
{
	struct umem_cache *cp = ob->ob_cache;
	struct umem_bufctl *bc = ob->ob_ctl;
	uint32_t flags = ob->ob_flags;

	if ((flags & UMF_CONTENTS) != 0)
		bc->bc_contents =
		    umem__log_contents(cp, ob->ob_addr, bc->bc_asked);
	bc->bc_state = UMEM_STATE_FREE;
	if (watched(flags))
		os_watch_free(cp, (void *)ob->ob_addr, bc->bc_asked);
	if (!firewalled(flags))
		umem__pattern_fill(
		    ob->ob_addr, cp->cache_verify, UMEM_PATTERN_FREE);
	if (tagged(flags))
		tag_write(ob, UMEM_STATE_FREE);
	if ((flags & UMF_AUDIT) != 0)
		audit(ob, UMEM_STATE_FREE);
}

/* Statistics, if they are wanted, count what goes past the magazines. */
static uintptr_t
word_take(struct umem_cache *cp)
{
	uintptr_t word = umem__opt.stats ? 0 : percpu_pop(cp->cache_slot_off);

	return (QR_LIKELY(word != 0) ? word : umem__cpu_take(cp));
}

static void
word_put(struct umem_cache *cp, uintptr_t word)
{
	if (QR_UNLIKELY(umem__opt.stats || (word & 1) != 0 ||
		!percpu_push(cp->cache_slot_off, word)))
		umem__cpu_put(cp, word);
}

QR_FLATTEN uintptr_t
umem__debug_alloc(struct umem_cache *cp, size_t asked)
{
	uintptr_t word = word_take(cp), addr = umem__word_addr(cp, word);
	struct object ob;

	if (word == 0)
		return (umem__cpu_failed(cp));
	if (QR_UNLIKELY(!object_known(cp, addr, UMEM_STATE_FREE, &ob)))
		ob = object_seek(cp, addr, UMEM_STATE_FREE);
	check_free(&ob);
	object_take(&ob, asked);
	if (cp->cache_each_ctor != NULL &&
	    cp->cache_each_ctor(
		(void *)ob.ob_addr, cp->cache_priv, UMEM_DEFAULT) != 0) {
		object_give(&ob);
		word_put(cp, word);
		return (umem__cpu_failed(cp));
	}
	return (umem__word(cp, ob.ob_addr));
}

static QR_COLD void
size_report(struct object ob, size_t size)
{
	umem__report_fault(&(struct umem_fault){
	    .uf_bad = UMEM_BAD_SIZE,
	    .uf_cache = ob.ob_cache,
	    .uf_addr = ob.ob_addr,
	    .uf_was = ob.ob_ctl->bc_asked,
	    .uf_is = size,
	});
}

/*
 * Two threads that free one object at the same time may both find it in use:
 * its slab tells then.
 */
QR_FLATTEN void
umem__debug_free(struct umem_cache *cp, uintptr_t obj, size_t size)
{
	struct object ob;

	if (QR_UNLIKELY(!object_possible(cp, obj) ||
		!object_known(cp, obj, UMEM_STATE_ALLOC, &ob)))
		ob = object_seek(cp, obj, UMEM_STATE_ALLOC);
	if (QR_UNLIKELY(ob.ob_bad == UMEM_GOOD && size != UMEM_SIZE_ANY &&
		size != ob.ob_ctl->bc_asked)) {
		size_report(ob, size);
		return;
	}
	if (!check_used(&ob))
		return;
	if (cp->cache_each_dtor != NULL)
		cp->cache_each_dtor((void *)obj, cp->cache_priv);
	object_give(&ob);
	word_put(cp, umem__word(cp, obj));
}

/* ---- what was asked for ---- */

bool
umem__debug_in_use(struct umem_cache *cp, const void *buf, size_t *asked)
{
	struct object ob = object_find(cp, (uintptr_t)buf);

	if (ob.ob_bad != UMEM_GOOD || ob.ob_ctl->bc_state != UMEM_STATE_ALLOC)
		return (false);
	*asked = ob.ob_ctl->bc_asked;
	return (true);
}

/* ---- slabs ---- */

/* Bufctls of a whole slab: small, not so small, or pages of the heap. */
static struct meta_pool ctl_pools[] = {
    META_POOL_INIT("bufctl_512", 512),
    META_POOL_INIT("bufctl_4096", 4096),
};

static size_t
ctl_bytes(const struct umem_cache *cp)
{
	return (cp->cache_nchunks * cp->cache_ctl);
}

static struct meta_pool *
ctl_pool(const struct umem_cache *cp)
{
	for (unsigned i = 0; i < QR_ARRAY_LEN(ctl_pools); i++) {
		if (ctl_bytes(cp) <= ctl_pools[i].mp_size)
			return (&ctl_pools[i]);
	}
	return (NULL);
}

static void *
ctl_get(const struct umem_cache *cp)
{
	struct meta_pool *mp = ctl_pool(cp);

	if (mp != NULL)
		return (meta_get(mp));
	return (vmem__heap_alloc(
	    qr_roundup(ctl_bytes(cp), vmem__heap_quantum), vmem__heap_quantum));
}

static void
ctl_put(const struct umem_cache *cp, void *ctl)
{
	struct meta_pool *mp = ctl_pool(cp);

	if (mp != NULL)
		meta_put(mp, ctl);
	else
		vmem__heap_free(ctl);
}

struct umem_bufctl *
umem__debug_bufctl(const struct umem_slab *sl, uintptr_t obj)
{
	return (sl->sl_cache->cache_ctl == 0
		? NULL
		: bufctl_at(sl->sl_cache, sl,
		      umem__slab_index(sl->sl_cache, sl, obj)));
}

bool
umem__debug_slab_init(struct umem_cache *cp, struct umem_slab *sl)
{
	struct object ob;

	sl->sl_bufctl = ctl_get(cp);
	if (sl->sl_bufctl == NULL)
		return (false);
	memset(sl->sl_bufctl, 0, ctl_bytes(cp));
	if (firewalled(cp->cache_flags))
		sl->sl_first = (uint32_t)(cp->cache_tag -
		    qr_roundup(cp->cache_bufsize, cp->cache_align));
	if (watched(cp->cache_flags)) {
		/* Our own pointers to the slab are none to an object then. */
		sl->sl_first =
		    (uint32_t)qr_roundup(OS_WATCH_GAP, cp->cache_align);
		os_watch_nobody((void *)sl->sl_base, cp->cache_slabsize);
	}
	for (size_t i = 0; i < cp->cache_nchunks; i++) {
		ob = object_at(cp, sl, i);
		ob.ob_ctl->bc_check = ~ob.ob_addr;
		if (!firewalled(cp->cache_flags))
			umem__pattern_fill(
			    ob.ob_addr, cp->cache_verify, UMEM_PATTERN_FREE);
		else if ((cp->cache_flags & UMF_DEADBEEF) != 0)
			umem__pattern_fill(ob.ob_addr,
			    cp->cache_tag - sl->sl_first, UMEM_PATTERN_NEW);
		if (tagged(cp->cache_flags))
			tag_write(&ob, UMEM_STATE_FREE);
	}
	umem__log_slab(cp, sl, true);
	return (true);
}

void
umem__debug_slab_fini(struct umem_cache *cp, struct umem_slab *sl)
{
	struct object ob;

	for (size_t i = 0;
	     i < cp->cache_nchunks && !firewalled(cp->cache_flags); i++) {
		ob = object_at(cp, sl, i);
		tag_check(&ob, UMEM_STATE_FREE);
		check_free(&ob);
	}
	umem__log_slab(cp, sl, false);
	if (watched(cp->cache_flags))
		os_watch_anybody((void *)sl->sl_base, cp->cache_slabsize);
	ctl_put(cp, sl->sl_bufctl);
}
