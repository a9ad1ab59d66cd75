/*
 * umem_write.c - statistics as text, JSON and OpenMetrics.
 */
#include "umem/umem_impl.h"
#include "umem/umem_options.h"
#include "umem/umem_stats.h"

#include "base/clients.h"
#include "base/out.h"
#include "os/os.h"
#include "vmem/vmem_private.h"

#include <quarry/quarry.h>

#include <errno.h>
#include <string.h>

/* How one format shows its parts. */
struct format {
	const char *f_name;
	enum qr_report f_kind;
	void (*f_begin)(struct qr_out *o, const struct umem_totals *ut);
	/* All caches are gone through f_cache_passes times, arenas alike. */
	unsigned f_cache_passes;
	void (*f_caches)(struct qr_out *o, unsigned pass);
	void (*f_cache)(
	    struct qr_out *o, const struct umem_stat *us, unsigned pass);
	unsigned f_arena_passes;
	void (*f_arenas)(struct qr_out *o, unsigned pass);
	void (*f_arena)(
	    struct qr_out *o, const struct vmem__stat *vs, unsigned pass);
	void (*f_close)(
	    struct qr_out *o);           /* before what clients add, or NULL */
	void (*f_end)(struct qr_out *o); /* or NULL */
};

/*
 * What us_allocs counts: what a magazine serves at once is only counted when
 * the statistics were asked for from the start.
 */
static const char *
counted(void)
{
	return (umem__opt.stats ? "allocs" : "misses");
}

/* Counters of an arena that tell how its work went, for machines to read. */
static const struct {
	char as_name[24];
	size_t as_offset;
} arena_steps[] = {
    {"lookups", offsetof(struct vmem__stat, vs_lookup)},
    {"searches", offsetof(struct vmem__stat, vs_search)},
    {"populate_waits", offsetof(struct vmem__stat, vs_populate_wait)},
    {"populate_fails", offsetof(struct vmem__stat, vs_populate_fail)},
    {"contains", offsetof(struct vmem__stat, vs_contains)},
    {"contains_searches", offsetof(struct vmem__stat, vs_contains_search)},
};

static uint64_t
step_count(const struct vmem__stat *vs, size_t i)
{
	uint64_t count;

	memcpy(
	    &count, (const char *)vs + arena_steps[i].as_offset, sizeof(count));
	return (count);
}

/* ---- text: one row a line, in the manner of umastat ---- */

static void
text_begin(struct qr_out *o, const struct umem_totals *ut)
{
	qr_out_printf(o,
	    "quarry %s in %s, process %d:\n"
	    "  %zu KiB in use in %zu blocks, %zu KiB cached in magazines,"
	    " %zu KiB free in slabs,\n"
	    "  %zu KiB idle in the heap, %zu KiB of metadata, %zu KiB mapped;"
	    " per-CPU form: %s\n",
	    quarry_version(), os_program(), os_process_id(), ut->ut_inuse >> 10,
	    ut->ut_blocks, ut->ut_cached >> 10, ut->ut_free >> 10,
	    ut->ut_idle >> 10, ut->ut_meta >> 10, ut->ut_mapped >> 10,
	    percpu_form());
}

static void
text_caches(struct qr_out *o, unsigned pass)
{
	(void)pass;
	qr_out_printf(o, "\n%-24s %8s %9s %9s %9s %10s %12s %7s\n", "cache",
	    "size", "in use", "cached", "free", "memory", counted(), "fails");
}

static void
text_cache(struct qr_out *o, const struct umem_stat *us, unsigned pass)
{
	(void)pass;
	qr_out_printf(o, "%-24s %8zu %9zu %9zu %9zu %9zuK %12llu %7llu\n",
	    us->us_name, us->us_size, us->us_inuse, us->us_cached, us->us_free,
	    us->us_memory >> 10, (unsigned long long)us->us_allocs,
	    (unsigned long long)us->us_fails);
}

static void
text_arenas(struct qr_out *o, unsigned pass)
{
	(void)pass;
	qr_out_printf(o, "\n%-30s %14s %14s %14s %10s %7s\n", "arena", "in use",
	    "total", "import", "allocs", "fails");
}

static void
text_arena(struct qr_out *o, const struct vmem__stat *vs, unsigned pass)
{
	(void)pass;
	qr_out_printf(o, "%*s%-*s %14zu %14zu %14zu %10llu %7llu\n",
	    (int)vs->vs_depth * 2, "", 30 - (int)vs->vs_depth * 2, vs->vs_name,
	    vs->vs_inuse, vs->vs_total, vs->vs_import,
	    (unsigned long long)vs->vs_alloc, (unsigned long long)vs->vs_fail);
}

static void
text_close(struct qr_out *o)
{
	struct umem_totals ut;

	umem__totals(&ut);
	if (ut.ut_nlarge > 0)
		qr_out_printf(o,
		    "\n%zu blocks larger than any class: %zu KiB\n",
		    ut.ut_nlarge, ut.ut_large >> 10);
}

/* ---- JSON ---- */

static void
json_begin(struct qr_out *o, const struct umem_totals *ut)
{
	qr_out_printf(o, "{\"version\":\"%s\",\"program\":", quarry_version());
	qr_out_json(o, os_program());
	qr_out_printf(o,
	    ",\"process\":%d,\"percpu\":\"%s\",\"inuse\":%zu,"
	    "\"blocks\":%zu,\"cached\":%zu,\"free\":%zu,\"idle\":%zu,"
	    "\"metadata\":%zu,\"mapped\":%zu,\"large\":%zu,\"nlarge\":%zu,",
	    os_process_id(), percpu_form(), ut->ut_inuse, ut->ut_blocks,
	    ut->ut_cached, ut->ut_free, ut->ut_idle, ut->ut_meta, ut->ut_mapped,
	    ut->ut_large, ut->ut_nlarge);
}

static void
json_caches(struct qr_out *o, unsigned pass)
{
	(void)pass;
	qr_out_printf(o, "\"caches\":[");
}

static void
json_item(struct qr_out *o, const char *name)
{
	qr_out_printf(o, o->o_comma ? ",\n{\"name\":" : "\n{\"name\":");
	o->o_comma = true;
	qr_out_json(o, name);
}

static void
json_cache(struct qr_out *o, const struct umem_stat *us, unsigned pass)
{
	(void)pass;
	json_item(o, us->us_name);
	qr_out_printf(o,
	    ",\"id\":%llu,\"size\":%zu,\"inuse\":%zu,\"cached\":%zu,\"free\":%"
	    "zu,"
	    "\"memory\":%zu,\"%s\":%llu,\"fails\":%llu,\"magazine\":%zu,"
	    "\"depot\":%llu}",
	    (unsigned long long)us->us_id, us->us_size, us->us_inuse,
	    us->us_cached, us->us_free, us->us_memory, counted(),
	    (unsigned long long)us->us_allocs, (unsigned long long)us->us_fails,
	    us->us_magazine, (unsigned long long)us->us_depot);
}

static void
json_arenas(struct qr_out *o, unsigned pass)
{
	(void)pass;
	o->o_comma = false;
	qr_out_printf(o, "],\n\"arenas\":[");
}

static void
json_arena(struct qr_out *o, const struct vmem__stat *vs, unsigned pass)
{
	(void)pass;
	json_item(o, vs->vs_name);
	qr_out_printf(o,
	    ",\"id\":%llu,\"source\":%llu,\"quantum\":%zu,\"inuse\":%zu,"
	    "\"total\":%zu,\"import\":%zu,\"resting\":%zu,"
	    "\"segments\":%zu,\"metadata\":%zu,\"allocs\":%llu,"
	    "\"frees\":%llu,\"waits\":%llu,\"fails\":%llu",
	    (unsigned long long)vs->vs_id, (unsigned long long)vs->vs_source_id,
	    vs->vs_quantum, vs->vs_inuse, vs->vs_total, vs->vs_import,
	    vs->vs_resting, vs->vs_segments, vs->vs_metadata,
	    (unsigned long long)vs->vs_alloc, (unsigned long long)vs->vs_free,
	    (unsigned long long)vs->vs_wait, (unsigned long long)vs->vs_fail);
	for (size_t i = 0; i < QR_ARRAY_LEN(arena_steps); i++)
		qr_out_printf(o, ",\"%s\":%llu", arena_steps[i].as_name,
		    (unsigned long long)step_count(vs, i));
	qr_out_printf(o, "}");
}

static void
json_close(struct qr_out *o)
{
	qr_out_printf(o, "]");
}

static void
json_end(struct qr_out *o)
{
	qr_out_printf(o, "}\n");
}

/* ---- OpenMetrics ---- */

static void
metrics_begin(struct qr_out *o, const struct umem_totals *ut)
{
	qr_out_family(o, "", "bytes", "gauge", "Memory");
	qr_out_printf(o, "# UNIT quarry_bytes bytes\n");
	qr_out_printf(o,
	    "quarry_bytes{state=\"inuse\"} %zu\n"
	    "quarry_bytes{state=\"cached\"} %zu\n"
	    "quarry_bytes{state=\"free\"} %zu\n"
	    "quarry_bytes{state=\"idle\"} %zu\n"
	    "quarry_bytes{state=\"metadata\"} %zu\n"
	    "quarry_bytes{state=\"mapped\"} %zu\n",
	    ut->ut_inuse, ut->ut_cached, ut->ut_free, ut->ut_idle, ut->ut_meta,
	    ut->ut_mapped);
}

/* Of a cache or arena: names may be alike, ids are not. */
static void
metrics_labels(
    struct qr_out *o, const char *kind, const char *name, unsigned long long id)
{
	qr_out_printf(o, "{%s=", kind);
	qr_out_label(o, name);
	qr_out_printf(o, ",id=\"%llu\"", id);
}

static void
metrics_value(struct qr_out *o, const char *state, unsigned long long value)
{
	if (state != NULL)
		qr_out_printf(o, ",state=\"%s\"", state);
	qr_out_printf(o, "} %llu\n", value);
}

static void
cache_sample(struct qr_out *o, const struct umem_stat *us, const char *metric,
    const char *state, unsigned long long value)
{
	qr_out_printf(o, "quarry_cache_%s", metric);
	metrics_labels(o, "cache", us->us_name, us->us_id);
	metrics_value(o, state, value);
}

static void
arena_sample(struct qr_out *o, const struct vmem__stat *vs, const char *metric,
    const char *state, unsigned long long value)
{
	qr_out_printf(o, "quarry_arena_%s", metric);
	metrics_labels(o, "arena", vs->vs_name, vs->vs_id);
	metrics_value(o, state, value);
}

/* All samples of a family stand together, so each family is a pass. */
enum { CACHE_OBJECTS, CACHE_MEMORY, CACHE_ALLOCS, CACHE_FAILS, CACHE_PASSES };
enum { ARENA_UNITS, ARENA_ALLOCS, ARENA_FAILS, ARENA_STEPS, ARENA_PASSES };

static void
metrics_caches(struct qr_out *o, unsigned pass)
{
	switch (pass) {
	case CACHE_OBJECTS:
		qr_out_family(o, "cache_", "objects", "gauge", "Objects");
		break;
	case CACHE_MEMORY:
		qr_out_family(
		    o, "cache_", "memory_bytes", "gauge", "Memory of slabs");
		qr_out_printf(o, "# UNIT quarry_cache_memory_bytes bytes\n");
		break;
	case CACHE_ALLOCS:
		qr_out_family(o, "cache_", counted(), "counter",
		    umem__opt.stats ? "Allocations"
				    : "Allocations that no magazine served");
		break;
	default:
		qr_out_family(o, "cache_", "fails", "counter",
		    "Requests that got nothing");
		break;
	}
}

static void
metrics_cache(struct qr_out *o, const struct umem_stat *us, unsigned pass)
{
	switch (pass) {
	case CACHE_OBJECTS:
		cache_sample(o, us, "objects", "inuse", us->us_inuse);
		cache_sample(o, us, "objects", "cached", us->us_cached);
		cache_sample(o, us, "objects", "free", us->us_free);
		break;
	case CACHE_MEMORY:
		cache_sample(o, us, "memory_bytes", NULL, us->us_memory);
		break;
	case CACHE_ALLOCS:
		cache_sample(o, us,
		    umem__opt.stats ? "allocs_total" : "misses_total", NULL,
		    us->us_allocs);
		break;
	default:
		cache_sample(o, us, "fails_total", NULL, us->us_fails);
		break;
	}
}

static void
metrics_arenas(struct qr_out *o, unsigned pass)
{
	static const struct {
		char name[8];
		char kind[8];
		char help[32];
	} head[ARENA_PASSES] = {
	    [ARENA_UNITS] = {"units", "gauge", "Integers"},
	    [ARENA_ALLOCS] = {"allocs", "counter", "Allocations"},
	    [ARENA_FAILS] = {"fails", "counter", "Requests that failed"},
	    [ARENA_STEPS] = {"steps", "counter", "What requests came to do"},
	};

	qr_out_family(
	    o, "arena_", head[pass].name, head[pass].kind, head[pass].help);
}

static void
metrics_arena(struct qr_out *o, const struct vmem__stat *vs, unsigned pass)
{
	switch (pass) {
	case ARENA_UNITS:
		arena_sample(o, vs, "units", "inuse", vs->vs_inuse);
		arena_sample(o, vs, "units", "total", vs->vs_total);
		arena_sample(o, vs, "units", "import", vs->vs_import);
		arena_sample(o, vs, "units", "resting", vs->vs_resting);
		break;
	case ARENA_ALLOCS:
		arena_sample(o, vs, "allocs_total", NULL, vs->vs_alloc);
		break;
	case ARENA_FAILS:
		arena_sample(o, vs, "fails_total", NULL, vs->vs_fail);
		break;
	default:
		for (size_t i = 0; i < QR_ARRAY_LEN(arena_steps); i++)
			arena_sample(o, vs, "steps_total",
			    arena_steps[i].as_name, step_count(vs, i));
		break;
	}
}

static void
metrics_end(struct qr_out *o)
{
	qr_out_printf(o, "# EOF\n");
}

static const struct format formats[] = {
    {"text", QR_REPORT_TEXT, text_begin, 1, text_caches, text_cache, 1,
	text_arenas, text_arena, text_close, NULL},
    {"json", QR_REPORT_JSON, json_begin, 1, json_caches, json_cache, 1,
	json_arenas, json_arena, json_close, json_end},
    {"openmetrics", QR_REPORT_METRICS, metrics_begin, CACHE_PASSES,
	metrics_caches, metrics_cache, ARENA_PASSES, metrics_arenas,
	metrics_arena, NULL, metrics_end},
};

/* What vmem__foreach passes on. */
struct arena_arg {
	const struct format *aa_format;
	struct qr_out *aa_out;
	unsigned aa_pass;
};

static void
write_arena(const struct vmem__stat *vs, void *arg)
{
	struct arena_arg *aa = arg;

	aa->aa_format->f_arena(aa->aa_out, vs, aa->aa_pass);
}

static void
write_all(struct qr_out *o, const struct format *f)
{
	struct umem_totals ut;
	struct umem_stat us;

	if (qr_clients.settle != NULL)
		qr_clients.settle();
	umem__totals(&ut);
	f->f_begin(o, &ut);
	for (unsigned pass = 0; pass < f->f_cache_passes; pass++) {
		f->f_caches(o, pass);
		for (size_t i = 0; umem__stat_at(i, &us); i++)
			f->f_cache(o, &us, pass);
	}
	for (unsigned pass = 0; pass < f->f_arena_passes; pass++) {
		f->f_arenas(o, pass);
		vmem__foreach(write_arena, &(struct arena_arg){f, o, pass});
	}
	if (f->f_close != NULL)
		f->f_close(o);
	if (qr_clients.report != NULL)
		qr_clients.report(o, f->f_kind);
	if (f->f_end != NULL)
		f->f_end(o);
	qr_out_flush(o);
}

int
quarry_stats_write(int fd, const char *format)
{
	struct qr_out o = {.o_fd = fd};

	for (size_t i = 0; i < QR_ARRAY_LEN(formats); i++) {
		if (format == NULL || strcmp(formats[i].f_name, format) != 0)
			continue;
		if (!umem__init())
			return (ENOMEM);
		write_all(&o, &formats[i]);
		return (o.o_error);
	}
	return (EINVAL);
}
