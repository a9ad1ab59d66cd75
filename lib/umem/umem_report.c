/*
 * umem_report.c - what is said about a bad free.
 */
#include "umem/umem_report.h"

#include "umem/umem_impl.h"
#include "umem/umem_options.h"

#include "base/fmt.h"
#include "base/panic.h"
#include "meta/pagemap.h"
#include "vmem/vmem_heap.h"

#include <stdarg.h>

void
umem__report(const char *fmt, ...)
{
	char buf[512];
	va_list ap;

	va_start(ap, fmt);
	qr_vsnprintf(buf, sizeof(buf), fmt, ap);
	va_end(ap);
	if (umem__opt.noabort)
		qr_warn("%s", buf);
	else
		qr_panic("%s", buf);
}

void
umem__describe(const void *p, char *buf, size_t size)
{
	const uint32_t *kind = pagemap_descriptor(pagemap_get(p));

	if (kind != NULL && *kind == HEAP_SLAB) {
		const struct umem_slab *sl = (const void *)kind;

		qr_snprintf(buf, size, "cache %s, slab %p",
		    sl->sl_cache->cache_name, (void *)sl->sl_base);
	} else if (kind != NULL && *kind == HEAP_BLOCK) {
		const struct vmem__run *run = (const void *)kind;

		qr_snprintf(buf, size, "mapping %p of %zu bytes",
		    (void *)run->rn_addr, run->rn_asked);
	} else if (vmem__heap() != NULL &&
	    vmem_contains(vmem__heap(), (void *)(uintptr_t)p, 1)) {
		qr_snprintf(
		    buf, size, "heap, but not the start of a block in use");
	} else {
		qr_snprintf(buf, size, "not memory of this allocator");
	}
}

void
umem__report_free(struct umem_cache *cp, uintptr_t obj, enum umem_bad bad)
{
	static const char *const text[] = {
	    [UMEM_BAD_ADDRESS] = "invalid free: buffer not in cache",
	    [UMEM_BAD_CACHE] = "buffer freed to wrong cache",
	    [UMEM_BAD_INTERIOR] = "bad free: not the start of a buffer",
	    [UMEM_BAD_TWICE] = "duplicate free: buffer freed twice",
	};
	char what[128];

	umem__describe((const void *)obj, what, sizeof(what));
	umem__report("umem allocator: %s: buffer=%p (%s), freed to cache %s",
	    text[bad], (void *)obj, what, cp->cache_name);
}
