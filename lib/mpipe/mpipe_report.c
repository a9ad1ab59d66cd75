/*
 * mpipe_report.c - pipes in the statistics.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include "base/clients.h"
#include "base/out.h"

#include <stddef.h>
#include <string.h>

static void
text(struct qr_out *o)
{
	struct mpipe__row row = {.mr_id = 0};

	while (mpipe__next(row.mr_id, &row)) {
		if (!row.mr_later)
			qr_out_printf(o,
			    "\n%-24s %9s %9s %9s %9s %12s %9s %9s\n",
			    "malloc pipe of type", "bytes", "in use", "buffers",
			    "limit", "allocs", "growths", "sleeps");
		qr_out_printf(o,
		    "%-24s %9llu %9llu %9llu %9llu %12llu %9llu %9llu\n",
		    row.mr_name, (unsigned long long)row.mr_bytes,
		    (unsigned long long)row.mr_inuse,
		    (unsigned long long)row.mr_total,
		    (unsigned long long)row.mr_max,
		    (unsigned long long)row.mr_stats.allocs,
		    (unsigned long long)row.mr_stats.growths,
		    (unsigned long long)row.mr_stats.sleeps);
	}
}

static void
json(struct qr_out *o)
{
	struct mpipe__row row = {.mr_id = 0};

	qr_out_printf(o, ",\n\"pipes\":[");
	while (mpipe__next(row.mr_id, &row)) {
		const struct mpipe_stats *st = &row.mr_stats;

		qr_out_printf(o, "%s\n{\"type\":", row.mr_later ? "," : "");
		qr_out_json(o, row.mr_name);
		qr_out_printf(o,
		    ",\"id\":%llu,\"bytes\":%llu,\"inuse\":%llu,"
		    "\"total\":%llu,\"max\":%llu,\"allocs\":%llu,"
		    "\"growths\":%llu,\"grow_failures\":%llu,"
		    "\"sleeps\":%llu,\"wait_ns\":%llu,\"wait_ns_max\":%llu}",
		    (unsigned long long)row.mr_id,
		    (unsigned long long)row.mr_bytes,
		    (unsigned long long)row.mr_inuse,
		    (unsigned long long)row.mr_total,
		    (unsigned long long)row.mr_max,
		    (unsigned long long)st->allocs,
		    (unsigned long long)st->growths,
		    (unsigned long long)st->grow_failures,
		    (unsigned long long)st->sleeps,
		    (unsigned long long)st->wait_ns,
		    (unsigned long long)st->wait_ns_max);
	}
	qr_out_printf(o, "]");
}

static void
metrics(struct qr_out *o)
{
	static const struct {
		char name[8];
		char suffix[8];
		char help[32];
		size_t offset;
	} family[] = {
	    {"inuse", "", "Buffers in use",
		offsetof(struct mpipe__row, mr_inuse)},
	    {"buffers", "", "Buffers", offsetof(struct mpipe__row, mr_total)},
	    {"allocs", "_total", "Buffers handed out",
		offsetof(struct mpipe__row, mr_stats.allocs)},
	    {"sleeps", "_total", "Requests that had to wait",
		offsetof(struct mpipe__row, mr_stats.sleeps)},
	};

	for (size_t i = 0; i < QR_ARRAY_LEN(family); i++) {
		struct mpipe__row row = {.mr_id = 0};

		qr_out_family(o, "pipe_", family[i].name,
		    *family[i].suffix == '\0' ? "gauge" : "counter",
		    family[i].help);
		while (mpipe__next(row.mr_id, &row)) {
			uint64_t value;

			memcpy(&value, (char *)&row + family[i].offset,
			    sizeof(value));
			qr_out_printf(o,
			    "quarry_pipe_%s%s{type=", family[i].name,
			    family[i].suffix);
			qr_out_label(o, row.mr_name);
			qr_out_printf(o, ",id=\"%llu\"} %llu\n",
			    (unsigned long long)row.mr_id,
			    (unsigned long long)value);
		}
	}
}

void
mpipe__report(struct qr_out *o, enum qr_report kind)
{
	switch (kind) {
	case QR_REPORT_TEXT:
		text(o);
		break;
	case QR_REPORT_JSON:
		json(o);
		break;
	case QR_REPORT_METRICS:
		metrics(o);
		break;
	}
}
