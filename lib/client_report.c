/*
 * client_report.c - malloc types, pipes and pools in the statistics, and
 * pictures of pools.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "contig/physpool_impl.h"
#include "mpipe/mpipe_impl.h"

#include "base/clients.h"
#include "base/picture.h"
#include "os/os.h"

#include <quarry/quarry.h>

#include <errno.h>
#include <string.h>

/* ---- pictures of pools ---- */

/*
 * What a pool has at one moment.  The first types that are met are named, the
 * others are the last of them.
 */
struct snapshot {
	struct physpool *sn_pool;
	struct qr_piece *sn_piece;
	size_t sn_room;  /* for pieces */
	size_t sn_count; /* that there are: more than sn_room, if those fit */
	vm_paddr_t sn_last; /* of the span that is being listed */
	unsigned sn_owners;
	const struct mtype *sn_type[QR_OWNERS_MAX]; /* NULL: reserved */
	char sn_name[QR_OWNERS_MAX][MTYPE_NAME_MAX];
	struct contig_req sn_request;
};

static unsigned
owner_of(struct snapshot *sn, const struct mtype *mt)
{
	unsigned i = 0;

	while (i < sn->sn_owners && sn->sn_type[i] != mt)
		i++;
	if (i < sn->sn_owners)
		return (i);
	if (i == QR_OWNERS_MAX) {
		strcpy(sn->sn_name[i - 1], "others");
		return (i - 1);
	}
	sn->sn_type[i] = mt;
	strcpy(sn->sn_name[i], mt == NULL ? "reserved" : mt->mt_name);
	sn->sn_owners++;
	return (i);
}

/* As in vmem_walk: a span, then its segments, then the next span. */
static void
note(void *arg, void *start, size_t size)
{
	struct snapshot *sn = arg;
	vm_paddr_t pa = (uintptr_t)start;
	bool span = sn->sn_count == 0 || pa > sn->sn_last;
	struct qr_piece piece = {pa, size, QR_PIECE_SPAN, 0};

	if (span) {
		sn->sn_last = pa + (size - 1);
	} else {
		piece.e_kind = QR_PIECE_ALLOC;
		piece.e_owner = owner_of(sn,
		    physpool__run(sn->sn_pool, physpool__va(sn->sn_pool, pa))
			->ru_type);
	}
	if (sn->sn_count < sn->sn_room)
		sn->sn_piece[sn->sn_count] = piece;
	sn->sn_count++;
}

/* Into as much room as there is. */
static void
look(struct snapshot *sn)
{
	struct physpool *pool = sn->sn_pool;

	sn->sn_count = 0;
	sn->sn_owners = 0;
	qr_mutex_enter(&pool->pp_lock);
	contig__settle(pool);
	sn->sn_request = pool->pp_last;
	vmem_walk(pool->pp_arena, VMEM_SPAN | VMEM_ALLOC, note, sn);
	qr_mutex_exit(&pool->pp_lock);
}

static size_t
bytes_of(const struct snapshot *sn)
{
	return (
	    qr_roundup(sn->sn_room * sizeof(*sn->sn_piece), os_page_size()));
}

static bool
snapshot_take(struct snapshot *sn)
{
	for (;;) {
		sn->sn_piece = os_map(bytes_of(sn), os_page_size());
		if (sn->sn_piece == NULL)
			return (false);
		look(sn);
		if (sn->sn_count <= sn->sn_room)
			return (true);
		(void)os_unmap(sn->sn_piece, bytes_of(sn));
		sn->sn_room = sn->sn_count + sn->sn_count / 8;
	}
}

int
physpool_map_write(physpool_t *pool, int fd, const char *format)
{
	struct snapshot sn = {.sn_pool = pool, .sn_room = 4096};
	const struct contig_req *rq = &sn.sn_request;
	const char *owner[QR_OWNERS_MAX];
	struct qr_picture picture = {.p_name = pool->pp_name,
	    .p_unit = "bytes",
	    .p_memory = true,
	    .p_quantum = pool->pp_granule,
	    .p_owner = owner};
	struct qr_frame frame;
	int error;

	if (!snapshot_take(&sn))
		return (ENOMEM);
	picture.p_piece = sn.sn_piece;
	picture.p_count = sn.sn_count;
	picture.p_owners = sn.sn_owners;
	for (unsigned i = 0; i < sn.sn_owners; i++)
		owner[i] = sn.sn_name[i];
	frame = (struct qr_frame){rq->rq_low, rq->rq_high, rq->rq_boundary};
	if (rq->rq_high != ~(vm_paddr_t)0)
		frame.fr_last--;
	if (rq->rq_size != 0)
		picture.p_frame = &frame;
	error = qr_picture_write(&picture, fd, format);
	(void)os_unmap(sn.sn_piece, bytes_of(&sn));
	return (error);
}

/* ---- the table of malloc types ---- */

static bool
ever_used(const struct mtype__row *row)
{
	return (row->mr_stats.requests != 0 || row->mr_stats.failed != 0);
}

/* The sizes whose bits are set, as "16,64,1024". */
static void
text_sizes(struct qr_out *o, uint64_t sizes)
{
	const char *comma = "  ";

	for (unsigned i = 0; i < 60; i++) {
		if ((sizes >> i & 1) == 0)
			continue;
		qr_out_printf(o, "%s%llu", comma, 16ull << i);
		comma = ",";
	}
}

static void
text_type(struct qr_out *o, const struct mtype__row *row)
{
	const struct malloc_type_stats *st = &row->mr_stats;

	qr_out_printf(o, "%-24s %9llu %9lluK %9lluK %12llu %7llu ",
	    row->mr_name, (unsigned long long)st->inuse,
	    (unsigned long long)(st->memuse + 1023) >> 10,
	    (unsigned long long)(st->highuse + 1023) >> 10,
	    (unsigned long long)st->requests, (unsigned long long)st->failed);
	if (st->limit == 0)
		qr_out_printf(o, "%9s", "-");
	else
		qr_out_printf(o, "%8lluK", (unsigned long long)st->limit >> 10);
	text_sizes(o, st->sizes);
	qr_out_printf(o, "\n");
}

static void
text_types(struct qr_out *o)
{
	struct mtype__row row = {.mr_id = 0};
	bool any = false;

	while (mtype__next(row.mr_id, &row)) {
		if (!ever_used(&row))
			continue;
		if (!any)
			qr_out_printf(o,
			    "\n%-24s %9s %10s %10s %12s %7s %9s  %s\n",
			    "malloc type", "in use", "memory", "highest",
			    "requests", "fails", "limit", "sizes");
		any = true;
		text_type(o, &row);
	}
}

static void
json_types(struct qr_out *o)
{
	struct mtype__row row = {.mr_id = 0};
	const char *comma = "";

	qr_out_printf(o, ",\n\"malloc_types\":[");
	while (mtype__next(row.mr_id, &row)) {
		const struct malloc_type_stats *st = &row.mr_stats;

		if (!ever_used(&row))
			continue;
		qr_out_printf(o, "%s\n{\"name\":", comma);
		qr_out_json(o, row.mr_name);
		qr_out_printf(o,
		    ",\"id\":%llu,\"inuse\":%llu,\"memuse\":%llu,"
		    "\"highuse\":%llu,\"requests\":%llu,\"fails\":%llu,"
		    "\"limit\":%llu,\"sizes\":%llu,\"registered\":%s}",
		    (unsigned long long)row.mr_id,
		    (unsigned long long)st->inuse,
		    (unsigned long long)st->memuse,
		    (unsigned long long)st->highuse,
		    (unsigned long long)st->requests,
		    (unsigned long long)st->failed,
		    (unsigned long long)st->limit,
		    (unsigned long long)st->sizes,
		    row.mr_gone ? "false" : "true");
		comma = ",";
	}
	qr_out_printf(o, "]");
}

/* One family: its samples stand together. */
static void
metrics_family(
    struct qr_out *o, const char *name, const char *suffix, size_t offset)
{
	struct mtype__row row = {.mr_id = 0};

	while (mtype__next(row.mr_id, &row)) {
		uint64_t value;

		if (!ever_used(&row))
			continue;
		memcpy(&value, (char *)&row.mr_stats + offset, sizeof(value));
		qr_out_printf(o, "quarry_malloc_type_%s%s{type=", name, suffix);
		qr_out_label(o, row.mr_name);
		qr_out_printf(o, ",id=\"%llu\"} %llu\n",
		    (unsigned long long)row.mr_id, (unsigned long long)value);
	}
}

static void
metrics_types(struct qr_out *o)
{
	static const struct {
		char name[16];
		char kind[8];
		char help[40];
		size_t offset;
	} families[] = {
	    {"blocks", "gauge", "Blocks in use",
		offsetof(struct malloc_type_stats, inuse)},
	    {"bytes", "gauge", "Memory in use",
		offsetof(struct malloc_type_stats, memuse)},
	    {"highest_bytes", "gauge", "The most that was in use",
		offsetof(struct malloc_type_stats, highuse)},
	    {"limit_bytes", "gauge", "The limit on that, or 0",
		offsetof(struct malloc_type_stats, limit)},
	    {"requests", "counter", "Requests that were served",
		offsetof(struct malloc_type_stats, requests)},
	    {"fails", "counter", "Requests that got nothing",
		offsetof(struct malloc_type_stats, failed)},
	};

	for (size_t i = 0; i < QR_ARRAY_LEN(families); i++) {
		qr_out_family(o, "malloc_type_", families[i].name,
		    families[i].kind, families[i].help);
		metrics_family(o, families[i].name,
		    *families[i].kind == 'c' ? "_total" : "",
		    families[i].offset);
	}
}

/* ---- together ---- */

/* A picture goes to the descriptor by itself. */
static void
pools(
    struct qr_out *o, const char *format, const char *first, const char *others)
{
	struct physpool *pool = NULL;

	while ((pool = physpool__next(pool)) != NULL) {
		qr_out_printf(o, "%s", first);
		qr_out_flush(o);
		if (o->o_error == 0)
			o->o_error = physpool_map_write(pool, o->o_fd, format);
		first = others;
	}
}

static void
report(struct qr_out *o, enum qr_report kind)
{
	switch (kind) {
	case QR_REPORT_TEXT:
		text_types(o);
		mpipe__report(o, kind);
		pools(o, "text", "\n", "\n");
		break;
	case QR_REPORT_JSON:
		json_types(o);
		mpipe__report(o, kind);
		qr_out_printf(o, ",\n\"pools\":[");
		pools(o, "json", "", ",");
		qr_out_printf(o, "]");
		break;
	case QR_REPORT_METRICS:
		metrics_types(o);
		mpipe__report(o, kind);
		break;
	}
}

static void
settle(void)
{
	struct physpool *pool = NULL;

	while ((pool = physpool__next(pool)) != NULL) {
		qr_mutex_enter(&pool->pp_lock);
		contig__settle(pool);
		qr_mutex_exit(&pool->pp_lock);
	}
}

static QR_CONSTRUCTOR void
load(void)
{
	qr_clients.report = report;
	qr_clients.settle = settle;
}
