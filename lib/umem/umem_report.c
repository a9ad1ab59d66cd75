/*
 * umem_report.c - what is said when something is wrong.
 *
 * Everything goes to umem_error_buffer as well, where a debugger finds it.
 */
#include "umem/umem_report.h"

#include "umem/umem_debug.h"
#include "umem/umem_log.h"
#include "umem/umem_options.h"
#include "umem/umem_trace.h"

#include "base/fmt.h"
#include "base/out.h"
#include "base/panic.h"
#include "meta/meta.h"
#include "meta/pagemap.h"
#include "os/os.h"
#include "os/os_trace.h"
#include "vmem/vmem_heap.h"

#include <stdarg.h>
#include <string.h>

enum {
	LINE_BYTES = 512,
	REPORT_BYTES = 64 << 10, /* of address space; what is used is touched */
	BUFFER_BYTES = 8 << 10,
	FRAMES = 32,
};

/* ---- for a debugger ---- */

/*
 * The latest reports, in a ring; "..." marks where the oldest begins.
 * Locking: (e) error_lock.
 */
QR_USED char umem_error_buffer[BUFFER_BYTES]; /* (e) */
static size_t error_at;                       /* (e) */
static struct qr_mutex error_lock = QR_MUTEX_INIT(QR_RANK_LOG);

/* The last fault. */
QR_USED struct umem_fault umem_abort_info; /* (e) */

static void
remember(const char *text, size_t len, const struct umem_fault *uf)
{
	static const char seam[] = "...";
	size_t size = sizeof(umem_error_buffer) - sizeof(seam);

	qr_mutex_enter(&error_lock);
	if (uf != NULL)
		umem_abort_info = *uf;
	for (size_t i = 0; i < len; i++) {
		umem_error_buffer[error_at] = text[i];
		error_at = (error_at + 1) % size;
	}
	memcpy(umem_error_buffer + error_at, seam, sizeof(seam) - 1);
	qr_mutex_exit(&error_lock);
}

/* ---- where a report goes ---- */

static void
deliver(const char *text, size_t len, const struct umem_fault *uf)
{
	remember(text, len, uf);
	if (!umem__opt.noabort)
		qr_panic_text(text);
	else if (umem__opt.debug_verbose)
		os_write(2, text, len);
	else
		qr_warn("%s", text);
}

/* Text for a report: a block of memory, or without one the owner's line. */
struct report {
	struct qr_out rp_out;
	char *rp_block;
	char rp_line[LINE_BYTES];
};

/* True when there is room for more than a line, and it was asked for. */
static bool
report_begin(struct report *rp)
{
	char *block =
	    umem__opt.debug_verbose ? meta_block_get(REPORT_BYTES) : NULL;

	rp->rp_out = (struct qr_out){
	    .o_text = block != NULL ? block : rp->rp_line,
	    .o_room = block != NULL ? REPORT_BYTES : sizeof(rp->rp_line),
	};
	rp->rp_block = block;
	return (block != NULL);
}

static void
report_end(struct report *rp, const struct umem_fault *uf)
{
	const char *text = rp->rp_block != NULL ? rp->rp_block : rp->rp_line;
	uintptr_t pcs[FRAMES];
	unsigned depth;

	if (rp->rp_block != NULL) {
		depth = os_trace_stack(pcs, FRAMES);
		qr_out_printf(&rp->rp_out, "stack trace:\n");
		umem__trace_stack(&rp->rp_out, pcs, depth);
	}
	qr_out_flush(&rp->rp_out);
	deliver(text, strlen(text), uf);
	if (rp->rp_block != NULL)
		meta_block_put(rp->rp_block, REPORT_BYTES);
}

void
umem__report(const char *fmt, ...)
{
	char line[LINE_BYTES];
	struct report rp;
	bool more;
	va_list ap;

	va_start(ap, fmt);
	qr_vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	more = report_begin(&rp);
	qr_out_printf(&rp.rp_out, "%s%s", line, more ? "\n" : "");
	report_end(&rp, NULL);
}

void
umem__report_null(uint32_t flags)
{
	if ((flags & UMF_CHECKNULL) != 0)
		umem__report("umem: out of heap space");
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

/* ---- faults ---- */

static const struct umem_slab *
slab_at(const struct umem_fault *uf)
{
	struct umem_slab *sl;
	size_t i;

	if (uf->uf_cache->cache_source == NULL)
		return (umem__slab_of((const void *)uf->uf_addr));
	return (umem__slab_find(uf->uf_cache, uf->uf_addr, &sl, &i) ==
		    UMEM_BAD_ADDRESS
		? NULL
		: sl);
}

/* The kind of fault, in the words of libumem. */
static void
kind_print(
    struct qr_out *o, const struct umem_fault *uf, const struct umem_slab *sl)
{
	static const char text[UMEM_BAD_KINDS][48] = {
	    [UMEM_BAD_ADDRESS] = "invalid free: buffer not in cache",
	    [UMEM_BAD_CACHE] = "buffer freed to wrong cache",
	    [UMEM_BAD_TWICE] = "duplicate free: buffer freed twice",
	    [UMEM_BAD_MODIFIED] = "buffer modified after being freed",
	    [UMEM_BAD_REDZONE] = "redzone violation: write past end of buffer",
	    [UMEM_BAD_TAG] = "boundary tag corrupted",
	    [UMEM_BAD_BUFCTL] = "bufctl corrupted",
	};

	qr_out_printf(o, "umem allocator: ");
	if (uf->uf_bad == UMEM_BAD_SIZE)
		qr_out_printf(o, "bad free: free size (%u) != alloc size (%u)",
		    (unsigned)uf->uf_is, (unsigned)uf->uf_was);
	else if (uf->uf_bad == UMEM_BAD_INTERIOR)
		qr_out_printf(o,
		    "bad free: free address (%p) != alloc address (%p)",
		    (void *)uf->uf_addr,
		    (void *)umem__slab_object(sl, uf->uf_addr));
	else
		qr_out_printf(o, "%s", text[uf->uf_bad]);
}

/* What more there is to say of that kind, each line ended by `end`. */
static void
detail_print(struct qr_out *o, const struct umem_fault *uf,
    const struct umem_slab *sl, const char *end)
{
	switch (uf->uf_bad) {
	case UMEM_BAD_MODIFIED:
		qr_out_printf(o,
		    "modification occurred at offset 0x%lx "
		    "(0x%llx replaced by 0x%llx)%s",
		    (unsigned long)uf->uf_offset,
		    (unsigned long long)uf->uf_was,
		    (unsigned long long)uf->uf_is, end);
		break;
	case UMEM_BAD_TAG:
		qr_out_printf(o, "bcp ^ bxstat = %lx, should be %lx%s",
		    (unsigned long)uf->uf_is, (unsigned long)uf->uf_was, end);
		break;
	case UMEM_BAD_CACHE:
		qr_out_printf(o,
		    "buffer was allocated from %s,\n"
		    "caller attempting free to %s.%s",
		    sl->sl_cache->cache_name, uf->uf_cache->cache_name, end);
		break;
	default:
		break;
	}
}

static void
line_report(
    struct qr_out *o, const struct umem_fault *uf, const struct umem_slab *sl)
{
	char what[128];

	if (sl != NULL)
		qr_snprintf(what, sizeof(what), "cache %s, slab %p",
		    sl->sl_cache->cache_name, (void *)sl->sl_base);
	else
		umem__describe((const void *)uf->uf_addr, what, sizeof(what));
	kind_print(o, uf, sl);
	qr_out_printf(o, ": buffer=%p (%s)", (void *)uf->uf_addr, what);
	switch (uf->uf_bad) {
	case UMEM_BAD_MODIFIED:
	case UMEM_BAD_TAG:
		qr_out_printf(o, ", ");
		detail_print(o, uf, sl, "");
		break;
	case UMEM_BAD_REDZONE:
	case UMEM_BAD_BUFCTL:
	case UMEM_BAD_SIZE:
		break;
	default:
		qr_out_printf(
		    o, ", freed to cache %s", uf->uf_cache->cache_name);
	}
}

static void
audit_print(struct qr_out *o, const char *title, uintptr_t obj,
    const struct umem_audit *au, const struct umem_slab *sl)
{
	if (au->au_ticks == 0)
		return;
	qr_out_printf(o, "%s %p:\nthread=%p  time=", title, (void *)obj,
	    (void *)au->au_thread);
	umem__trace_time(o, au->au_ticks);
	qr_out_printf(o, "  slab=%p  cache: %s\n", (void *)sl->sl_base,
	    sl->sl_cache->cache_name);
	umem__trace_stack(o, au->au_pc, (unsigned)au->au_depth);
}

/* What is known of the object at the address. */
static void
history_print(struct qr_out *o, uintptr_t obj, const struct umem_slab *sl,
    struct umem_bufctl *bc)
{
	bool used = bc->bc_state == UMEM_STATE_ALLOC;

	qr_out_printf(o, "size: %u bytes asked for\n", bc->bc_asked);
	if ((sl->sl_cache->cache_flags & UMF_AUDIT) != 0) {
		audit_print(o, "previous transaction on buffer", obj,
		    umem__audit_of(bc, bc->bc_state), sl);
		audit_print(o,
		    used ? "free before that of buffer"
			 : "allocation of buffer",
		    obj,
		    umem__audit_of(
			bc, used ? UMEM_STATE_FREE : UMEM_STATE_ALLOC),
		    sl);
	}
	if (!used && bc->bc_contents != 0)
		umem__log_show_contents(o, obj, bc->bc_contents);
	umem__log_show_transactions(o, obj);
}

static void
verbose_report(
    struct qr_out *o, const struct umem_fault *uf, const struct umem_slab *sl)
{
	struct umem_bufctl *bc = NULL;
	uintptr_t obj = sl == NULL ? 0 : umem__slab_object(sl, uf->uf_addr);

	if (obj != 0)
		bc = umem__debug_bufctl(sl, obj);
	kind_print(o, uf, sl);
	qr_out_printf(o, "\n");
	detail_print(o, uf, sl, "\n");
	qr_out_printf(o, "buffer=%p  bufctl=%p  cache: %s\n",
	    (void *)uf->uf_addr, (void *)bc, uf->uf_cache->cache_name);
	if (bc != NULL && uf->uf_bad != UMEM_BAD_BUFCTL)
		history_print(o, obj, sl, bc);
	qr_out_printf(o, "umem: heap corruption detected\n");
}

void
umem__report_fault(const struct umem_fault *uf)
{
	const struct umem_slab *sl = slab_at(uf);
	struct report rp;

	if (report_begin(&rp))
		verbose_report(&rp.rp_out, uf, sl);
	else
		line_report(&rp.rp_out, uf, sl);
	report_end(&rp, uf);
}

void
umem__report_free(struct umem_cache *cp, uintptr_t obj, enum umem_bad bad)
{
	struct umem_fault uf = {
	    .uf_bad = bad,
	    .uf_cache = cp,
	    .uf_addr = obj,
	};

	umem__report_fault(&uf);
}
