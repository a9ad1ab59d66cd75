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

static bool
firewalled(const struct umem_cache *cp)
{
	return ((cp->cache_flags & UMF_FIREWALL) != 0);
}

static bool
watched(const struct umem_cache *cp)
{
	return ((cp->cache_flags & UMF_WATCH) != 0);
}

bool
umem__debug_each(const struct umem_cache *cp)
{
	return (watched(cp) ||
	    ((cp->cache_flags & UMF_DEADBEEF) != 0 && !firewalled(cp)));
}

static bool
tagged(const struct umem_cache *cp)
{
	return ((cp->cache_flags & UMF_BUFTAG) != 0 && !firewalled(cp));
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
};

static struct umem_bufctl *
bufctl_at(const struct umem_cache *cp, const struct umem_slab *sl, size_t i)
{
	return ((struct umem_bufctl *)(sl->sl_bufctl + i * cp->cache_ctl));
}

static void
object_at(
    struct umem_cache *cp, struct umem_slab *sl, size_t i, struct object *ob)
{
	*ob = (struct object){
	    .ob_cache = cp,
	    .ob_slab = sl,
	    .ob_ctl = bufctl_at(cp, sl, i),
	    .ob_addr = sl->sl_base + sl->sl_first + i * cp->cache_chunk,
	};
}

static enum umem_bad
object_find(struct umem_cache *cp, uintptr_t addr, struct object *ob)
{
	struct umem_slab *sl;
	size_t i;
	enum umem_bad bad = umem__slab_find(cp, addr, &sl, &i);

	if (bad == UMEM_GOOD)
		*ob = (struct object){cp, sl, bufctl_at(cp, sl, i), addr};
	return (bad);
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
	if ((ob->ob_cache->cache_flags & UMF_CLASS) == 0 ||
	    state == UMEM_STATE_FREE)
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

	if (tagged(ob->ob_cache))
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
	if (!tagged(ob.ob_cache) || tag_intact(&ob, state))
		return (UMEM_GOOD);
	return (tag_of(&ob)->tag_redzone != redzone_word(&ob, state)
		? UMEM_BAD_REDZONE
		: UMEM_BAD_TAG);
}

/* The bytes between what was asked for and where the object ends. */
static char *
slack_of(const struct object *ob, size_t *size)
{
	uintptr_t end =
	    (firewalled(ob->ob_cache) ? ob->ob_slab->sl_base : ob->ob_addr) +
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
object_report(struct object ob, enum umem_bad bad)
{
	const struct umem_tag *tag = tag_of(&ob);
	struct umem_fault uf = {
	    .uf_bad = bad,
	    .uf_cache = ob.ob_cache,
	    .uf_addr = ob.ob_addr,
	};

	if (bad == UMEM_BAD_MODIFIED) {
		uf.uf_offset = first_change(&ob);
		uf.uf_was = UMEM_PATTERN_FREE;
		uf.uf_is = *(uint64_t *)(ob.ob_addr + uf.uf_offset);
	} else if (bad == UMEM_BAD_TAG) {
		uf.uf_was = tag_magic(ob.ob_ctl->bc_state);
		uf.uf_is = tag->tag_bufctl ^ tag->tag_state;
	}
	umem__report_fault(&uf);
}

/* Report what happened to an object while it was free. */
static void
check_free(const struct object *ob)
{
	enum umem_bad bad = UMEM_GOOD;

	if (QR_UNLIKELY(!tag_intact(ob, UMEM_STATE_FREE)))
		bad = tag_judge(*ob, UMEM_STATE_FREE);
	if (bad == UMEM_GOOD &&
	    umem__pattern_changed(
		ob->ob_addr, ob->ob_cache->cache_verify, UMEM_PATTERN_FREE))
		bad = UMEM_BAD_MODIFIED;
	if (QR_UNLIKELY(bad != UMEM_GOOD))
		object_report(*ob, bad);
}

/* Can the object be freed? */
static bool
check_used(const struct object *ob)
{
	enum umem_bad bad = UMEM_GOOD;

	if (QR_UNLIKELY(!tag_intact(ob, UMEM_STATE_ALLOC)))
		bad = tag_judge(*ob, UMEM_STATE_ALLOC);
	if (bad == UMEM_GOOD &&
	    (tagged(ob->ob_cache) || firewalled(ob->ob_cache)) &&
	    !slack_intact(ob))
		bad = UMEM_BAD_REDZONE;
	if (QR_LIKELY(bad == UMEM_GOOD))
		return (true);
	object_report(*ob, bad);
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
	if ((cp->cache_flags & UMF_CHECKSIGNAL) != 0 &&
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

	if (firewalled(cp) && (cp->cache_flags & UMF_CLASS) != 0)
		object_shift(ob, asked);
	bc->bc_check = ~ob->ob_addr;
	bc->bc_state = UMEM_STATE_ALLOC;
	bc->bc_asked = (uint32_t)asked;
	if (watched(cp))
		os_watch_alloc(cp, (void *)ob->ob_addr, asked);
	if ((cp->cache_flags & UMF_DEADBEEF) != 0 && !firewalled(cp))
		umem__pattern_fill(
		    ob->ob_addr, cp->cache_tag, UMEM_PATTERN_NEW);
	if (tagged(cp) || firewalled(cp))
		slack_write(ob);
	if (tagged(cp))
		tag_write(ob, UMEM_STATE_ALLOC);
	if ((cp->cache_flags & UMF_AUDIT) != 0)
		audit(ob, UMEM_STATE_ALLOC);
}

static void
object_give(const struct object *ob)
{
	struct umem_cache *cp = ob->ob_cache;
	struct umem_bufctl *bc = ob->ob_ctl;

	if ((cp->cache_flags & UMF_CONTENTS) != 0)
		bc->bc_contents =
		    umem__log_contents(cp, ob->ob_addr, bc->bc_asked);
	bc->bc_state = UMEM_STATE_FREE;
	if (watched(cp))
		os_watch_free(cp, (void *)ob->ob_addr, bc->bc_asked);
	if (!firewalled(cp))
		umem__pattern_fill(
		    ob->ob_addr, cp->cache_verify, UMEM_PATTERN_FREE);
	if (tagged(cp))
		tag_write(ob, UMEM_STATE_FREE);
	if ((cp->cache_flags & UMF_AUDIT) != 0)
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
	uintptr_t word = word_take(cp);
	struct object ob;

	if (word == 0)
		return (umem__cpu_failed(cp));
	(void)object_find(cp, umem__word_addr(cp, word), &ob);
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

/*
 * Two threads that free one object at the same time may both find it in use:
 * its slab tells then.
 */
QR_FLATTEN void
umem__debug_free(struct umem_cache *cp, uintptr_t obj)
{
	struct object ob;
	enum umem_bad bad = object_find(cp, obj, &ob);

	if (QR_UNLIKELY(bad != UMEM_GOOD)) {
		umem__report_free(cp, obj, bad);
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
	struct object ob;

	if (object_find(cp, (uintptr_t)buf, &ob) != UMEM_GOOD ||
	    ob.ob_ctl->bc_state != UMEM_STATE_ALLOC)
		return (false);
	*asked = ob.ob_ctl->bc_asked;
	return (true);
}

bool
umem__debug_size_is(struct umem_cache *cp, const void *buf, size_t size)
{
	size_t asked;
	struct umem_fault uf = {
	    .uf_bad = UMEM_BAD_SIZE,
	    .uf_cache = cp,
	    .uf_addr = (uintptr_t)buf,
	    .uf_is = size,
	};

	if (!umem__debug_in_use(cp, buf, &asked) || asked == size)
		return (true);
	uf.uf_was = asked;
	umem__report_fault(&uf);
	return (false);
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
	return (
	    vmem__heap_alloc(qr_roundup(ctl_bytes(cp), vmem__heap_quantum()),
		vmem__heap_quantum()));
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
		: bufctl_at(sl->sl_cache, sl, umem__slab_index(sl, obj)));
}

bool
umem__debug_slab_init(struct umem_cache *cp, struct umem_slab *sl)
{
	struct object ob;

	sl->sl_bufctl = ctl_get(cp);
	if (sl->sl_bufctl == NULL)
		return (false);
	memset(sl->sl_bufctl, 0, ctl_bytes(cp));
	if (firewalled(cp))
		sl->sl_first = (uint32_t)(cp->cache_tag -
		    qr_roundup(cp->cache_bufsize, cp->cache_align));
	if (watched(cp)) {
		/* Our own pointers to the slab are none to an object then. */
		sl->sl_first =
		    (uint32_t)qr_roundup(OS_WATCH_GAP, cp->cache_align);
		os_watch_nobody((void *)sl->sl_base, cp->cache_slabsize);
	}
	for (size_t i = 0; i < cp->cache_nchunks; i++) {
		object_at(cp, sl, i, &ob);
		ob.ob_ctl->bc_check = ~ob.ob_addr;
		if (!firewalled(cp))
			umem__pattern_fill(
			    ob.ob_addr, cp->cache_verify, UMEM_PATTERN_FREE);
		else if ((cp->cache_flags & UMF_DEADBEEF) != 0)
			umem__pattern_fill(ob.ob_addr,
			    cp->cache_tag - sl->sl_first, UMEM_PATTERN_NEW);
		if (tagged(cp))
			tag_write(&ob, UMEM_STATE_FREE);
	}
	umem__log_slab(cp, sl, true);
	return (true);
}

void
umem__debug_slab_fini(struct umem_cache *cp, struct umem_slab *sl)
{
	struct object ob;

	for (size_t i = 0; i < cp->cache_nchunks && !firewalled(cp); i++) {
		object_at(cp, sl, i, &ob);
		check_free(&ob);
	}
	umem__log_slab(cp, sl, false);
	if (watched(cp))
		os_watch_anybody((void *)sl->sl_base, cp->cache_slabsize);
	ctl_put(cp, sl->sl_bufctl);
}
