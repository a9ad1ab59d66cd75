/*
 * umem_debug.h - caches whose objects are watched.
 *
 * Theory.  Debugging is decided when a cache is made.  Objects of a debugged
 * cache are in no magazine that the fast path can see: cache_off is 0, every
 * operation misses, and the miss, which knows the magazines by cache_slot_off,
 * looks at each object that is handed out or comes back.  What it knows of an
 * object is kept outside, in a bufctl; what is to be seen in a dump, and to catch
 * a stray write, lies in the object and behind it:
 *
 *    object                              tag
 *   [ bytes asked for |bb bb bb bb bb ][ redzone ][ bufctl ][ bufctl ^ state ]
 *    ba dd ca fe  new                   fe ed fa ce fe ed fa ce
 *    de ad be ef  free                  or the size asked for, fe ed fa ce
 *
 * A write to a free object is seen when it is handed out next, or its slab is
 * given up; a write behind an object when it is freed.  A firewalled object has
 * no tag, and no magazine either: it ends where memory does, and is one slab.
 *
 * Where Valgrind or AddressSanitizer listens, an undebugged cache is watched:
 * they are told of every object, and find the errors.  Its objects have room
 * between them that is nobody's, and are in no magazine, where a pointer to
 * one in use might be left behind and hide a leak.
 *
 * After the debugging of J. Bonwick's slab allocator.
 */
#ifndef QR_UMEM_DEBUG_H
#define QR_UMEM_DEBUG_H

#include "umem/umem_impl.h"

#include <stdatomic.h>

/* Flags by what they need: a tag, the memory of objects, or any of this. */
#define UMF_BUFTAG (UMF_DEADBEEF | UMF_REDZONE)
#define UMF_TOUCH (UMF_BUFTAG | UMF_LITE | UMF_CONTENTS)
#define UMF_RANDOM (UMF_TOUCH | UMF_AUDIT | UMF_NOMAGAZINE)
#define UMF_DEBUG (UMF_RANDOM | UMF_FIREWALL | UMF_CHECKSIGNAL | UMF_CHECKNULL)

/* Words that stand for memory that is free, new, and not to be written. */
#define UMEM_PATTERN_FREE 0xdeadbeefdeadbeefu
#define UMEM_PATTERN_NEW 0xbaddcafebaddcafeu
#define UMEM_PATTERN_REDZONE 0xfeedfacefeedfaceu
#define UMEM_REDZONE_BYTE 0xbb

/* tag_state is the address of the bufctl turned by one of these. */
#define UMEM_TAG_ALLOC 0xa110c8edu
#define UMEM_TAG_FREE 0xf4eef4eeu

struct umem_tag {
	uint64_t tag_redzone;
	uintptr_t tag_bufctl;
	uintptr_t tag_state;
};

/* Who did something, and when. */
struct umem_audit {
	uint64_t au_ticks; /* os_trace_ticks(); 0: never */
	uintptr_t au_thread;
	uintptr_t au_depth;
	uintptr_t au_pc[]; /* umem__opt.frames of them */
};

enum umem_state { UMEM_STATE_FREE, UMEM_STATE_ALLOC };

/*
 * What is known of an object.  With UMF_AUDIT two audits follow: how it was
 * allocated, and how it was freed, last.
 *
 * Invariant B1: bc_check is the address of the object, complemented.  Nothing
 * that is written by mistake is likely to be that.
 */
struct umem_bufctl {
	uintptr_t bc_check;
	enum umem_state bc_state; /* whoever has the object */
	uint32_t bc_asked;        /* bytes asked for */
	uint64_t bc_contents;     /* number of its entry in the log, or 0 */
};

/*
 * The flags that a cache gets of those in force and of its own, and UMF_WATCH
 * if it is watched instead.
 */
uint32_t umem__debug_flags(
    size_t bufsize, size_t align, bool heap, uint32_t cflags);
/* Set the members for them; what is behind cache_bufsize is then known. */
void umem__debug_setup(struct umem_cache *cp);
/* Does an object not stay constructed while it is free? */
bool umem__debug_each(const struct umem_cache *cp);

/*
 * The two of umem_cpu.c, for a cache with cache_ctl.  An object of a class is
 * for `asked` bytes only, and who frees it may know how many those are.
 */
#define UMEM_SIZE_ANY SIZE_MAX
uintptr_t umem__debug_alloc(struct umem_cache *cp, size_t asked);
void umem__debug_free(struct umem_cache *cp, uintptr_t obj, size_t size);

/* Is the object at buf in use?  *asked is then the size asked for. */
bool umem__debug_in_use(struct umem_cache *cp, const void *buf, size_t *asked);

/* The objects of a slab that was just made, or that is about to go. */
bool umem__debug_slab_init(struct umem_cache *cp, struct umem_slab *sl);
void umem__debug_slab_fini(struct umem_cache *cp, struct umem_slab *sl);

/* The bufctl of an object of the slab; NULL in a cache without. */
struct umem_bufctl *umem__debug_bufctl(
    const struct umem_slab *sl, uintptr_t obj);
/* How it went when the object last became free, or in use. */
struct umem_audit *umem__audit_of(
    struct umem_bufctl *bc, enum umem_state state);
/* Bytes of an audit, and an audit of the caller. */
size_t umem__audit_size(void);
void umem__audit_take(struct umem_audit *au);

/* As umem_setmtbf() was told; one draw of n. */
extern QR_HIDDEN _Atomic uint32_t umem__mtbf;
bool umem__mtbf_draw(uint32_t n, uint32_t flags);

/* Is a request to a cache with these flags to fail now? */
static inline bool
umem__mtbf_hit(uint32_t flags)
{
	uint32_t n = atomic_load_explicit(&umem__mtbf, memory_order_relaxed);

	return (QR_UNLIKELY(n != 0) && umem__mtbf_draw(n, flags));
}

/* ---- umem_firewall.c ---- */

/* Bytes of the slab of one object, and where in it the object ends. */
size_t umem__firewall_size(const struct umem_cache *cp, size_t *end);
/* Memory for such a slab; NULL when there is none. */
void *umem__firewall_alloc(const struct umem_cache *cp);
void umem__firewall_free(const struct umem_cache *cp, void *base);

#endif /* QR_UMEM_DEBUG_H */
