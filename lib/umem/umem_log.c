/*
 * umem_log.c - rings of what happened last.
 */
#include "umem/umem_log.h"

#include "umem/umem_options.h"
#include "umem/umem_trace.h"

#include "base/out.h"
#include "meta/meta.h"
#include "os/os.h"
#include "os/os_trace.h"

#include <errno.h>
#include <string.h>

enum { RINGS_MAX = 64 };

enum kind { LOG_TRANSACTION, LOG_CONTENTS, LOG_FAIL, LOG_SLAB, LOGS };

struct entry {
	uint64_t en_number; /* from 1 */
	uintptr_t en_addr;  /* of an object or a slab */
	size_t en_size;     /* bytes asked for, or saved below */
	char en_what[8];
	char en_cache[UMEM_NAME_MAX];
	/* Then an audit, then en_size bytes in the log of contents. */
};

/* Locking: (r) rg_lock. */
struct ring {
	struct qr_mutex rg_lock; /* rank QR_RANK_LOG */
	uint64_t rg_count;       /* (r) entries that were ever made */
	char *rg_base;
} QR_ALIGNED(QR_CACHE_LINE);

/* Constant once it was made. */
struct log {
	const char *lg_name;
	uint64_t *lg_bytes; /* option */
	size_t lg_slots;    /* entries of one ring; 0: there is no log */
	size_t lg_entry;    /* bytes of one */
	unsigned lg_rings;  /* a power of two */
	struct ring *lg_ring;
};

static struct log logs[LOGS] = {
    [LOG_TRANSACTION] = {.lg_name = "transaction",
	.lg_bytes = &umem__opt.log_transaction},
    [LOG_CONTENTS] = {.lg_name = "contents",
	.lg_bytes = &umem__opt.log_contents},
    [LOG_FAIL] = {.lg_name = "fail", .lg_bytes = &umem__opt.log_fail},
    [LOG_SLAB] = {.lg_name = "slab", .lg_bytes = &umem__opt.log_slab},
};

/* Apart, because nothing is written here where there is no log. */
static struct ring log_rings[LOGS][RINGS_MAX];

static QR_COLD void
log_init(struct log *lg)
{
	size_t want = umem__opt.concurrency;
	size_t rings, bytes;
	char *block;

	if (want == 0)
		want = os_cpu_affinity();
	rings = qr_pow2up(qr_min(want, RINGS_MAX));
	bytes = qr_roundup(qr_max(*lg->lg_bytes / rings, 1), os_page_size());
	block = meta_block_get(rings * bytes);
	if (block == NULL)
		return;
	lg->lg_entry = qr_roundup(sizeof(struct entry) + umem__audit_size(), 8);
	if (lg == &logs[LOG_CONTENTS])
		lg->lg_entry += qr_roundup(umem__opt.contents, 8);
	lg->lg_rings = (unsigned)rings;
	lg->lg_ring = log_rings[lg - logs];
	for (size_t i = 0; i < rings; i++) {
		qr_mutex_init(&lg->lg_ring[i].rg_lock, QR_RANK_LOG);
		lg->lg_ring[i].rg_base = block + i * bytes;
	}
	lg->lg_slots = bytes / lg->lg_entry;
}

void
umem__log_init(void)
{
	for (enum kind kind = 0; kind < LOGS; kind++) {
		if (*logs[kind].lg_bytes != 0)
			log_init(&logs[kind]);
	}
}

/* ---- writing ---- */

/* Neighbouring stacks are a power of two apart: take bits from the middle. */
static unsigned
ring_of_thread(const struct log *lg)
{
	uint64_t hash = os_trace_thread() * 0x9e3779b97f4a7c15u;

	return ((unsigned)(hash >> 40) & (lg->lg_rings - 1));
}

static struct entry *
entry_at(const struct log *lg, const struct ring *rg, uint64_t number)
{
	return ((struct entry *)(rg->rg_base +
	    number % lg->lg_slots * lg->lg_entry));
}

static struct umem_audit *
audit_of(struct entry *en)
{
	return ((struct umem_audit *)(en + 1));
}

static char *
contents_of(struct entry *en)
{
	return ((char *)audit_of(en) + umem__audit_size());
}

/*
 * The next entry, its ring locked.  An entry is known outside by its number in
 * the ring, times the number of rings, plus that of its ring.
 */
static struct entry *
entry_begin(struct log *lg, struct ring **rgp, const struct umem_cache *cp,
    const char *what)
{
	unsigned i = ring_of_thread(lg);
	struct ring *rg = &lg->lg_ring[i];
	struct entry *en;

	qr_mutex_enter(&rg->rg_lock);
	en = entry_at(lg, rg, ++rg->rg_count);
	en->en_number = rg->rg_count * lg->lg_rings + i;
	en->en_size = 0;
	memcpy(en->en_what, what, sizeof(en->en_what));
	memcpy(en->en_cache, cp->cache_name, sizeof(en->en_cache));
	*rgp = rg;
	return (en);
}

void
umem__log_transaction(const struct umem_cache *cp, uintptr_t obj,
    const struct umem_bufctl *bc, const struct umem_audit *au)
{
	struct log *lg = &logs[LOG_TRANSACTION];
	struct ring *rg;
	struct entry *en;

	if (QR_LIKELY(lg->lg_slots == 0))
		return;
	en = entry_begin(lg, &rg, cp,
	    bc->bc_state == UMEM_STATE_FREE ? "free\0\0\0" : "alloc\0\0");
	en->en_addr = obj;
	en->en_size = bc->bc_asked;
	memcpy(audit_of(en), au, umem__audit_size());
	qr_mutex_exit(&rg->rg_lock);
}

uint64_t
umem__log_contents(const struct umem_cache *cp, uintptr_t obj, size_t size)
{
	struct log *lg = &logs[LOG_CONTENTS];
	struct ring *rg;
	struct entry *en;
	uint64_t number;

	if (QR_LIKELY(lg->lg_slots == 0))
		return (0);
	en = entry_begin(lg, &rg, cp, "saved\0\0");
	en->en_addr = obj;
	en->en_size = qr_min(size, umem__opt.contents);
	umem__audit_take(audit_of(en));
	memcpy(contents_of(en), (const void *)obj, en->en_size);
	number = en->en_number;
	qr_mutex_exit(&rg->rg_lock);
	return (number);
}

static void
log_event(struct log *lg, const struct umem_cache *cp, const char *what,
    uintptr_t addr, size_t size)
{
	struct ring *rg;
	struct entry *en;

	if (QR_LIKELY(lg->lg_slots == 0))
		return;
	en = entry_begin(lg, &rg, cp, what);
	en->en_addr = addr;
	en->en_size = size;
	umem__audit_take(audit_of(en));
	qr_mutex_exit(&rg->rg_lock);
}

void
umem__log_fail(const struct umem_cache *cp, size_t size)
{
	log_event(&logs[LOG_FAIL], cp, "fail\0\0\0", 0, size);
}

void
umem__log_slab(
    const struct umem_cache *cp, const struct umem_slab *sl, bool made)
{
	log_event(&logs[LOG_SLAB], cp, made ? "create\0" : "destroy",
	    sl->sl_base, cp->cache_slabsize);
}

/* ---- reading ---- */

static void
contents_show(struct qr_out *o, const unsigned char *bytes, size_t size)
{
	for (size_t i = 0; i < size; i += 16) {
		qr_out_printf(o, "    %04zx ", i);
		for (size_t k = i; k < size && k < i + 16; k++)
			qr_out_printf(o, " %02x", bytes[k]);
		qr_out_printf(o, "\n");
	}
}

static void
entry_show(struct qr_out *o, const struct log *lg, struct entry *en)
{
	struct umem_audit *au = audit_of(en);

	umem__trace_time(o, au->au_ticks);
	qr_out_printf(o, "  thread=%p  %s  %s=%p  size=%zu  cache: %s\n",
	    (void *)au->au_thread, en->en_what,
	    lg == &logs[LOG_SLAB] ? "slab" : "buffer", (void *)en->en_addr,
	    en->en_size, en->en_cache);
	if (lg == &logs[LOG_CONTENTS])
		contents_show(o, (unsigned char *)contents_of(en), en->en_size);
	umem__trace_stack(o, au->au_pc, (unsigned)au->au_depth);
}

/*
 * Where a reader is in each ring: how many entries are behind it.  What was
 * overwritten meanwhile is behind it too.
 */
struct cursor {
	uint64_t cu_done[RINGS_MAX];
};

/* When was the next entry of the ring made?  UINT64_MAX: there is none. */
static uint64_t
next_ticks(struct log *lg, unsigned i, struct cursor *cu)
{
	struct ring *rg = &lg->lg_ring[i];
	uint64_t *done = &cu->cu_done[i], ticks = UINT64_MAX;

	qr_mutex_enter(&rg->rg_lock);
	if (rg->rg_count > lg->lg_slots)
		*done = qr_max(*done, rg->rg_count - lg->lg_slots);
	if (*done < rg->rg_count)
		ticks = audit_of(entry_at(lg, rg, *done + 1))->au_ticks;
	qr_mutex_exit(&rg->rg_lock);
	return (ticks);
}

/* Copy the oldest entry that no cursor has passed; false at the end. */
static bool
next_entry(struct log *lg, struct cursor *cu, struct entry *copy)
{
	uint64_t least = UINT64_MAX;
	struct ring *rg = NULL;
	unsigned best = 0;

	for (unsigned i = 0; i < lg->lg_rings; i++) {
		uint64_t ticks = next_ticks(lg, i, cu);

		if (ticks < least) {
			least = ticks;
			best = i;
			rg = &lg->lg_ring[i];
		}
	}
	if (rg == NULL)
		return (false);
	qr_mutex_enter(&rg->rg_lock);
	memcpy(copy, entry_at(lg, rg, ++cu->cu_done[best]), lg->lg_entry);
	qr_mutex_exit(&rg->rg_lock);
	return (true);
}

/* Those of one buffer, and what it held; of all when both are 0. */
static void
log_show(struct qr_out *o, struct log *lg, uintptr_t addr, uint64_t number)
{
	struct cursor cu = {{0}};
	struct entry *copy =
	    lg->lg_slots == 0 ? NULL : meta_block_get(lg->lg_entry);

	while (copy != NULL && next_entry(lg, &cu, copy)) {
		if ((addr == 0 || copy->en_addr == addr) &&
		    (number == 0 || copy->en_number == number))
			entry_show(o, lg, copy);
	}
	if (copy != NULL)
		meta_block_put(copy, lg->lg_entry);
}

void
umem__log_show_transactions(struct qr_out *o, uintptr_t obj)
{
	log_show(o, &logs[LOG_TRANSACTION], obj, 0);
}

void
umem__log_show_contents(struct qr_out *o, uintptr_t obj, uint64_t number)
{
	log_show(o, &logs[LOG_CONTENTS], obj, number);
}

int
umem_log_write(int fd, const char *name)
{
	struct qr_out o = {.o_fd = fd};

	for (enum kind kind = 0; kind < LOGS; kind++) {
		if (name == NULL || strcmp(name, logs[kind].lg_name) != 0)
			continue;
		log_show(&o, &logs[kind], 0, 0);
		qr_out_flush(&o);
		return (o.o_error);
	}
	return (EINVAL);
}

/* ---- fork ---- */

static void
for_each_ring(void (*fn)(struct qr_mutex *))
{
	for (enum kind kind = 0; kind < LOGS; kind++) {
		for (unsigned i = 0; i < logs[kind].lg_rings; i++)
			fn(&logs[kind].lg_ring[i].rg_lock);
	}
}

void
umem__log_lock_all(void)
{
	for_each_ring(qr_mutex_enter_nested);
}

void
umem__log_unlock_all(void)
{
	for_each_ring(qr_mutex_exit);
}
