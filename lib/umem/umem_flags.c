/*
 * umem_flags.c - which debugging a cache gets, and which requests are to fail.
 */
#include "umem/umem_debug.h"
#include "umem/umem_options.h"

#include "os/os.h"
#include "os/os_watch.h"

#include <stdatomic.h>

/* Debugging that needs to know each object. */
#define KNOWN (UMF_AUDIT | UMF_BUFTAG | UMF_FIREWALL)

/* Objects with larger alignment, or that fill whole KiB, have no LITE. */
enum { LITE_ALIGN_MAX = 1024, LITE_MULTIPLE = 1024 };

/* The next subset of what may be chosen at random. */
static uint32_t
random_flags(void)
{
	static const uint32_t bits[] = {UMF_AUDIT, UMF_DEADBEEF, UMF_REDZONE,
	    UMF_CONTENTS, UMF_NOMAGAZINE, UMF_LITE};
	static _Atomic uint32_t turn;
	uint32_t n = atomic_fetch_add(&turn, 1), flags = 0;

	for (unsigned i = 0; i < QR_ARRAY_LEN(bits); i++)
		flags |= (n >> i & 1) != 0 ? bits[i] : 0;
	return (flags);
}

uint32_t
umem__debug_flags(size_t bufsize, size_t align, bool heap, uint32_t cflags)
{
	uint32_t flags = (uint32_t)umem__opt.debug | cflags;

	if ((flags & UMF_RANDOMIZE) != 0)
		flags |= random_flags();
	if ((flags & UMF_LITE) != 0) {
		if (align > LITE_ALIGN_MAX || bufsize % LITE_MULTIPLE == 0)
			flags &= ~UMF_LITE & ~UMF_REDZONE;
		else
			flags |= UMF_REDZONE;
		flags &= ~(UMF_AUDIT | UMF_FIREWALL | UMF_DEADBEEF |
		    UMF_CONTENTS | UMF_CHECKSIGNAL);
	}
	if ((flags & UMF_CHECKSIGNAL) != 0)
		flags |= UMF_AUDIT;
	if ((flags & UMF_QCACHE) != 0 && (flags & UMF_AUDIT) != 0)
		flags |= UMF_NOMAGAZINE;
	if ((cflags & UMC_NODEBUG) != 0)
		flags &= ~UMF_DEBUG;
	if ((cflags & UMC_NOTOUCH) != 0)
		flags &= ~(UMF_TOUCH | UMF_FIREWALL);
	else if ((flags & UMF_AUDIT) != 0)
		flags |= UMF_REDZONE;
	if ((cflags & UMC_NOHASH) != 0)
		flags &= ~(UMF_AUDIT | UMF_FIREWALL | UMF_CHECKSIGNAL);
	if (!heap || bufsize < umem__opt.firewall)
		flags &= ~UMF_FIREWALL;
	if ((flags & UMF_AUDIT) == 0)
		flags &= ~UMF_CONTENTS;
	flags &= UMF_DEBUG | UMF_RANDOMIZE;
	if (heap && (flags & KNOWN) == 0 && (cflags & UMC_NOTOUCH) == 0 &&
	    !umem__opt.nowatch && os_watching())
		flags |= UMF_WATCH;
	return (flags);
}

void
umem__debug_setup(struct umem_cache *cp)
{
	uint32_t flags = cp->cache_flags;
	size_t size = cp->cache_bufsize;

	if ((flags & (KNOWN | UMF_WATCH)) == 0)
		return;
	cp->cache_ctl = sizeof(struct umem_bufctl);
	if ((flags & UMF_AUDIT) != 0)
		cp->cache_ctl += 2 * umem__audit_size();
	cp->cache_tag = qr_roundup(size, 8);
	if ((flags & (UMF_DEADBEEF | UMF_FIREWALL)) == UMF_DEADBEEF)
		cp->cache_verify =
		    qr_min(cp->cache_tag, qr_rounddown(umem__opt.maxverify, 8));
	if ((flags & UMF_FIREWALL) != 0)
		cp->cache_chunk = umem__firewall_size(cp, &cp->cache_tag);
	else if ((flags & UMF_BUFTAG) != 0)
		cp->cache_chunk = qr_roundup(
		    cp->cache_tag + sizeof(struct umem_tag), cp->cache_align);
	else if ((flags & UMF_WATCH) != 0)
		cp->cache_chunk =
		    qr_roundup(cp->cache_tag + OS_WATCH_GAP, cp->cache_align) +
		    qr_roundup(OS_WATCH_GAP, cp->cache_align);
}

/* ---- fault injection ---- */

_Atomic uint32_t umem__mtbf;

void
umem_setmtbf(uint32_t n)
{
	atomic_store(&umem__mtbf, n);
}

bool
umem__mtbf_draw(uint32_t n, uint32_t flags)
{
	return ((flags & UMF_BUFTAG) != 0 && os_now() % n == 0);
}
