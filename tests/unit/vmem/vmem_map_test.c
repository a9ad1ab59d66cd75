/*
 * vmem_map_test.c - pictures of arenas show what there is, all of it, and read
 * as what they claim to be.
 */
#define _GNU_SOURCE 1 /* memfd_create */

#include "unit/vmem/vmem_test.h"

#include "support/failsys.h"

#include <quarry/quarry.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { Q = 0x1000, TEXT_MAX = 16 << 20 };

static char *text, *expected;

static int
begin(void **state)
{
	(void)state;
	text = malloc(TEXT_MAX);
	expected = malloc(TEXT_MAX);
	return (text == NULL || expected == NULL);
}

static int
end(void **state)
{
	(void)state;
	free(text);
	free(expected);
	return (0);
}

/* What vmem_map_write() writes, in text[]. */
static size_t
written(vmem_t *vm, const char *format)
{
	int fd = memfd_create("map", 0);
	ssize_t n;

	assert_true(fd >= 0);
	assert_int_equal(vmem_map_write(vm, fd, format), 0);
	n = pread(fd, text, TEXT_MAX - 1, 0);
	assert_in_range(n, 1, TEXT_MAX - 2);
	text[n] = '\0';
	(void)close(fd);
	return ((size_t)n);
}

static size_t
count(const char *what)
{
	size_t n = 0;

	for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
		n++;
	return (n);
}

/* Allocations of 1 to `most` units, of which about a third is freed again. */
static void
fill(vmem_t *vm, size_t unit, size_t n, size_t most, unsigned seed)
{
	struct {
		uintptr_t addr;
		size_t size;
	} last[3] = {{0, 0}};

	srand(seed);
	for (size_t i = 0; i < n; i++) {
		size_t size = (1 + (size_t)rand() % most) * unit;
		int policy = rand() % 2 == 0 ? VM_BESTFIT : 0;

		if (i % 3 == 2)
			vmem_xfree_addr(vm, last[0].addr, last[0].size);
		last[i % 3].size = size - (size_t)rand() % unit;
		assert_int_equal(
		    vmem_xalloc_addr(vm, last[i % 3].size, 0, 0, 0, 0, 0,
			VM_NOSLEEP | policy, &last[i % 3].addr),
		    0);
	}
}

static void
free_it(void *arg, void *start, size_t size)
{
	vmem_xfree(arg, start, size);
}

static void
empty(vmem_t *vm)
{
	vmem_walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, free_it, vm);
	done(vm);
}

/* ---- errors ---- */

static void
an_unknown_format_is_refused(void **state)
{
	vmem_t *vm = plain_arena(Q, Q, Q);
	(void)state;

	assert_int_equal(vmem_map_write(vm, 1, "png"), EINVAL);
	assert_int_equal(vmem_map_write(vm, 1, ""), EINVAL);
	assert_int_equal(vmem_map_write(vm, 1, "SVG"), EINVAL);
	assert_int_equal(vmem_map_write(vm, 1, NULL), EINVAL);
	done(vm);
}

static void
what_cannot_be_written_is_an_errno(void **state)
{
	vmem_t *vm = plain_arena(Q, Q, Q);
	int full = open("/dev/full", O_WRONLY);
	(void)state;

	assert_true(full >= 0);
	assert_int_equal(vmem_map_write(vm, -1, "svg"), EBADF);
	assert_int_equal(vmem_map_write(vm, full, "text"), ENOSPC);
	assert_int_equal(vmem_map_write(vm, full, "json"), ENOSPC);
	(void)close(full);
	done(vm);
}

static void
without_memory_for_the_snapshot_it_fails_and_changes_nothing(void **state)
{
	vmem_t *vm = plain_arena(Q, 20000 * Q, Q);
	unsigned long calls;
	(void)state;

	fill(vm, Q, 9000, 2, 1);
	failsys_reset();
	(void)written(vm, "json");
	calls = failsys_calls(FAILSYS_MMAP);
	assert_in_range(calls, 2, 8);
	for (unsigned long nth = 1; nth <= calls; nth++) {
		failsys_reset();
		failsys_nth(FAILSYS_MMAP, nth, ENOMEM);
		assert_int_equal(vmem_map_write(vm, -1, "json"), ENOMEM);
	}
	failsys_reset();
	empty(vm);
}

static void
the_arena_is_not_allocated_from(void **state)
{
	vmem_t *heap = vmem_heap_arena(NULL, NULL);
	struct vmem__stat before = stat_of("heap");
	(void)state;

	assert_non_null(heap);
	(void)written(heap, "svg");
	(void)written(heap, "json");
	assert_int_equal(stat_of("heap").vs_alloc, before.vs_alloc);
	assert_int_equal(stat_of("heap").vs_total, before.vs_total);
}

/* ---- JSON: everything ---- */

static struct {
	size_t len;
} want;

static void
want_text(const char *s)
{
	size_t len = strlen(s);

	assert_true(want.len + len < TEXT_MAX);
	memcpy(expected + want.len, s, len + 1);
	want.len += len;
}

static void
want_range(const char *fmt, void *start, size_t size)
{
	char line[128];

	(void)snprintf(line, sizeof(line), fmt, (uintptr_t)start, size);
	want_text(line);
}

static void
want_span(void *arg, void *start, size_t size)
{
	(void)arg;
	want_range("\n{\"start\":%lu,\"size\":%zu,\"segments\":[", start, size);
}

static void
want_alloc(void *arg, void *start, size_t size)
{
	(void)arg;
	want_range(
	    "\n{\"start\":%lu,\"size\":%zu,\"allocated\":true}", start, size);
}

static void
want_free(void *arg, void *start, size_t size)
{
	(void)arg;
	want_range(
	    "\n{\"start\":%lu,\"size\":%zu,\"allocated\":false}", start, size);
}

/* Each line that `func` expects is in text[]; the number of lines. */
static size_t
finds(vmem_t *vm, int type, void (*func)(void *, void *, size_t))
{
	size_t n = 0;

	want.len = 0;
	want_text("");
	vmem_walk(vm, type, func, NULL);
	for (char *line = strtok(expected, "\n"); line != NULL;
	     line = strtok(NULL, "\n"), n++)
		assert_non_null(strstr(text, line));
	return (n);
}

static void
json_has_every_segment_with_its_exact_size(void **state)
{
	static const uintptr_t bases[] = {
	    0, 16 * Q, (uintptr_t)0 - (uintptr_t)4096 * Q};
	(void)state;

	for (size_t i = 0; i < 3; i++) {
		vmem_t *vm = vmem_create(
		    "all", NULL, 0, Q, NULL, NULL, NULL, 0, VM_NOSLEEP);
		size_t n;

		assert_int_equal(
		    vmem_add_addr(vm, bases[i], (size_t)4000 * Q, VM_NOSLEEP),
		    0);
		assert_int_equal(
		    vmem_add_addr(vm, bases[i] + (uintptr_t)4000 * Q,
			(size_t)96 * Q, VM_NOSLEEP),
		    0);
		fill(vm, Q, 500, 7, (unsigned)i);
		(void)written(vm, "json");
		n = finds(vm, VMEM_ALLOC, want_alloc);
		assert_in_range(n, 300, 400);
		n += finds(vm, VMEM_FREE, want_free);
		n += finds(vm, VMEM_SPAN, want_span);
		assert_int_equal(count("\"start\""), n);
		empty(vm);
	}
}

static void
json_of_a_small_arena_is_this(void **state)
{
	vmem_t *vm = plain_arena(16 * Q, 8 * Q, Q);
	void *a = vmem_alloc(vm, Q, VM_NOSLEEP | VM_FIRSTFIT);
	(void)state;

	assert_non_null(vmem_alloc(vm, Q + 1, VM_NOSLEEP | VM_FIRSTFIT));
	vmem_free(vm, a, Q);
	(void)written(vm, "json");
	assert_string_equal(text,
	    "{\"name\":\"test\",\"unit\":\"bytes\",\"quantum\":4096,"
	    "\"total\":32768,\"allocated\":4097,\"free\":24576,"
	    "\"rounding\":4095,\"largest_free\":20480,\"spans\":[\n"
	    "{\"start\":65536,\"size\":32768,\"segments\":[\n"
	    "{\"start\":65536,\"size\":4096,\"allocated\":false},\n"
	    "{\"start\":69632,\"size\":4097,\"allocated\":true},\n"
	    "{\"start\":77824,\"size\":20480,\"allocated\":false}]}]}\n");
	empty(vm);
}

static void
the_last_integer_of_a_span_may_be_a_segment(void **state)
{
	vmem_t *vm = plain_arena(5, 2, 1);
	(void)state;

	assert_non_null(vmem_add(vm, P(7), 1, VM_NOSLEEP));
	for (unsigned i = 0; i < 3; i++)
		assert_non_null(vmem_alloc(vm, 1, VM_NOSLEEP));
	(void)written(vm, "json");
	assert_non_null(strstr(text,
	    "{\"start\":5,\"size\":2,\"segments\":[\n"
	    "{\"start\":5,\"size\":1,\"allocated\":true},\n"
	    "{\"start\":6,\"size\":1,\"allocated\":true}]},\n"
	    "{\"start\":7,\"size\":1,\"segments\":[\n"
	    "{\"start\":7,\"size\":1,\"allocated\":true}]}]}\n"));
	empty(vm);
}

static void
an_arena_without_spans_has_a_picture_too(void **state)
{
	vmem_t *vm = vmem_create("none", NULL, 0, 1, NULL, NULL, NULL, 0,
	    VM_NOSLEEP | VMC_IDENTIFIER);
	(void)state;

	(void)written(vm, "json");
	assert_string_equal(text,
	    "{\"name\":\"none\",\"unit\":\"identifiers\",\"quantum\":1,"
	    "\"total\":0,\"allocated\":0,\"free\":0,\"rounding\":0,"
	    "\"largest_free\":0,\"spans\":[]}\n");
	(void)written(vm, "text");
	assert_int_equal(count("none: 0 identifiers in 0 spans"), 1);
	(void)written(vm, "svg");
	assert_int_equal(count("</svg>"), 1);
	done(vm);
}

/* ---- text ---- */

static void
text_of_a_small_arena_is_this(void **state)
{
	vmem_t *vm = vmem_create("ids", NULL, 0, 1, NULL, NULL, NULL, 0,
	    VM_NOSLEEP | VMC_IDENTIFIER);
	(void)state;

	assert_int_equal(vmem_add_addr(vm, 0, 512, VM_NOSLEEP), 0);
	assert_int_equal(vmem_add_addr(vm, 1000, 32, VM_NOSLEEP), 0);
	for (unsigned i = 0; i < 9; i++)
		assert_int_equal(vmem_xalloc_addr(vm, 5, 64, 0, 0, 0, 0,
				     VM_NOSLEEP | VM_FIRSTFIT, &(uintptr_t){0}),
		    0);
	(void)written(vm, "text");
	assert_string_equal(text,
	    "ids: 544 identifiers in 2 spans, quantum 1\n"
	    "     allocated         45   8.3 %  in 9 segments\n"
	    "          free        499    92 %  in 10 segments\n"
	    "  largest free         59    12 %  of what is free, at 5\n"
	    "\n"
	    "             0 "
	    "#...........-+...........-+...........+-...........+-...........\n"
	    "           320 #...........-+...........-+............\n"
	    "          1000 ....-+.\n"
	    "               # allocated, + mostly, - partly, . free; 5 per "
	    "character\n"
	    "\n"
	    "     size from  allocated     in all         free     in all\n"
	    "             2          0          0            1          3\n"
	    "             4          9         45            0          0\n"
	    "            16          0          0            1         24\n"
	    "            32          0          0            8        472\n");
	empty(vm);
}

/* The row that begins with this address, less the address. */
static const char *
row(const char *address)
{
	char begins[32];
	const char *p;

	(void)snprintf(begins, sizeof(begins), "\n%14s ", address);
	p = strstr(text, begins);
	assert_non_null(p);
	return (p + strlen(begins));
}

static void
text_shows_one_integer_among_very_many(void **state)
{
	static const char *const one[] = {
	    "................................-..............................."
	    "\n",
	    "###############################################################+"
	    "\n",
	};
	(void)state;

	for (unsigned log2 = 46; log2 <= 62; log2 += 16) {
		size_t size = (size_t)1 << log2;
		vmem_t *vm = plain_arena(Q, size, 1);

		assert_non_null(vmem_xalloc(vm, 1, 0, 0, 0, P(Q + size / 2),
		    P(Q + size / 2 + 1), VM_NOSLEEP));
		(void)written(vm, "text");
		assert_memory_equal(row("0x1000"), one[0], 65);
		empty(vm);
		vm = plain_arena(Q, size, 1);
		assert_non_null(
		    vmem_alloc(vm, size - 1, VM_NOSLEEP | VM_FIRSTFIT));
		(void)written(vm, "text");
		assert_memory_equal(row("0x1000"), one[1], 65);
		empty(vm);
	}
}

/* ---- SVG ---- */

/* Every rectangle lies inside the picture. */
static void
nothing_sticks_out(void)
{
	double across, down;

	assert_int_equal(
	    sscanf(strstr(text, "<svg"),
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%lf\""
		" height=\"%lf\"",
		&across, &down),
	    2);
	for (const char *p = text; (p = strstr(p, " x=\"")) != NULL; p++) {
		double x, y, width, height;

		if (sscanf(p,
			" x=\"%lf\" y=\"%lf\" width=\"%lf\" height=\"%lf\"", &x,
			&y, &width, &height) != 4)
			continue;
		assert_true(x >= 0 && y >= 0 && width > 0 && height > 0);
		assert_true(x + width <= across && y + height <= down);
	}
}

/* Tags close in the order in which they were opened; attributes are quoted. */
static void
is_well_formed(void)
{
	const char *open[16];
	size_t depth = 0;

	for (const char *p = text; (p = strchr(p, '<')) != NULL; p++) {
		const char *close = strchr(p, '>');
		size_t len = strcspn(p + 1, " >/\n"), quotes = 0;

		assert_non_null(close);
		for (const char *q = p + 1; q < close; q++) {
			assert_int_not_equal(*q, '<');
			quotes += *q == '"';
		}
		assert_int_equal(quotes % 2, 0);
		if (p[1] == '/') {
			assert_true(depth > 0);
			len = strcspn(p + 2, ">");
			assert_memory_equal(open[depth - 1], p + 2, len);
			depth--;
		} else if (close[-1] != '/') {
			assert_true(depth < 16 && len > 0);
			open[depth++] = p + 1;
		}
	}
	assert_int_equal(depth, 0);
	for (const char *p = text; (p = strchr(p, '&')) != NULL; p++)
		assert_memory_equal(p, "&#", 2);
	nothing_sticks_out();
}

/* The area of rectangles whose class begins with `kind`, in rows. */
static double
area(char kind, double below)
{
	double sum = 0;

	for (const char *p = text; (p = strstr(p, "<rect class=\"")) != NULL;
	     p++) {
		char class;
		double x, y, width, height;

		if (sscanf(p,
			"<rect class=\"%c%*[^\"]\" x=\"%lf\" y=\"%lf\" "
			"width=\"%lf\" height=\"%lf\"",
			&class, &x, &y, &width, &height) == 5 &&
		    class == kind && y < below)
			sum += width * height;
	}
	return (sum);
}

/* Where the rows end and the bars of sizes begin. */
static double
rows_end(void)
{
	const char *p = strstr(text, ">Segments by size");
	double y;

	assert_non_null(p);
	while (strncmp(p, "y=\"", 3) != 0)
		p--;
	assert_int_equal(sscanf(p, "y=\"%lf\"", &y), 1);
	return (y);
}

static void
svg_areas_are_in_the_proportion_of_sizes(size_t segments, size_t most)
{
	vmem_t *vm =
	    plain_arena((uintptr_t)0x7f0000000000, segments * most * Q, Q);
	double alloc, free, end_of_rows, share;

	fill(vm, Q, segments, most, 5);
	(void)written(vm, "svg");
	is_well_formed();
	end_of_rows = rows_end();
	alloc = area('a', end_of_rows);
	free = area('f', end_of_rows);
	share = (double)vmem_size(vm, VMEM_ALLOC) /
	    (double)vmem_size(vm, VMEM_ALLOC | VMEM_FREE);
	/* What is less than an eighth of a column is drawn as an eighth. */
	assert_true(alloc / (alloc + free) > share * 0.93);
	assert_true(alloc / (alloc + free) < share * 1.07);
	empty(vm);
}

static void
svg_shows_few_segments_and_many(void **state)
{
	(void)state;
	svg_areas_are_in_the_proportion_of_sizes(10, 40);
	svg_areas_are_in_the_proportion_of_sizes(1000, 40);
	assert_in_range(strlen(text), 20000, 400000);
	if (getenv("QR_TEST_QUICK") != NULL)
		return;
	svg_areas_are_in_the_proportion_of_sizes(100000, 40);
	assert_in_range(strlen(text), 200000, 3000000);
}

static void
svg_names_every_segment_of_a_few_for_hovering(void **state)
{
	vmem_t *vm = vmem_create(
	    "few <&>", P(0x10000), 8 * Q, Q, NULL, NULL, NULL, 0, VM_NOSLEEP);
	void *a;
	(void)state;

	a = vmem_alloc(vm, 2 * Q, VM_NOSLEEP | VM_FIRSTFIT);
	assert_non_null(vmem_alloc(vm, Q - 96, VM_NOSLEEP | VM_FIRSTFIT));
	vmem_free(vm, a, 2 * Q);
	(void)written(vm, "svg");
	is_well_formed();
	assert_int_equal(count(">few &#60;&#38;&#62;</text>"), 1);
	assert_int_equal(count("<title>0x10000 - 0x11fff\n"
			       "free: 8192 bytes (8 KiB)</title>"),
	    1);
	assert_int_equal(count("<title>0x12000 - 0x12fff\n"
			       "allocated: 4000 bytes (3.91 KiB)</title>"),
	    1);
	assert_int_equal(
	    count("<title>0x13000 - 0x17fff\nfree: 20480 bytes (20 KiB)\n"
		  "the largest free segment</title>"),
	    1);
	assert_int_equal(count("<title>0x10000 - 0x17fff\n"
			       "span: 32768 bytes (32 KiB)</title>"),
	    1);
	assert_int_equal(count("<rect class=\"l\""), 1);
	assert_int_equal(count("20 KiB, 71 % of what is free"), 1);
	empty(vm);
}

static void
svg_of_many_spans_and_of_spans_far_apart(void **state)
{
	vmem_t *vm =
	    vmem_create("apart", NULL, 0, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);
	size_t spans = getenv("QR_TEST_QUICK") != NULL ? 300 : 5000, n;
	(void)state;

	assert_int_equal(vmem_add_addr(vm, 0, 100, VM_NOSLEEP), 0);
	assert_int_equal(
	    vmem_add_addr(vm, UINTPTR_MAX - 99, 100, VM_NOSLEEP), 0);
	fill(vm, 1, 20, 5, 1);
	n = written(vm, "svg");
	is_well_formed();
	assert_int_equal(count("<title>0x0 - 0x63\nspan: 100 bytes"), 1);
	assert_int_equal(count("<title>0xffffffffffffff9c - 0xffffffffffffffff"
			       "\nspan: 100 bytes"),
	    1);
	assert_in_range(n, 1000, 20000);
	for (uintptr_t i = 1; i <= spans; i++)
		assert_int_equal(
		    vmem_add_addr(vm, i << 40, 100, VM_NOSLEEP), 0);
	fill(vm, 1, spans, 20, 2);
	n = written(vm, "svg");
	is_well_formed();
	assert_in_range(n, 50000, 3000000);
	(void)written(vm, "text");
	assert_in_range(count("\n"), 10, 60);
	empty(vm);
}

/* So narrow that one column has several of them. */
static void
svg_names_spans_together_where_they_are_narrow(void **state)
{
	vmem_t *vm =
	    vmem_create("narrow", NULL, 0, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);
	(void)state;

	assert_int_equal(vmem_add_addr(vm, 0, 1000000, VM_NOSLEEP), 0);
	for (uintptr_t i = 0; i < 3; i++)
		assert_int_equal(
		    vmem_add_addr(vm, 1000000 + i, 1, VM_NOSLEEP), 0);
	(void)written(vm, "svg");
	is_well_formed();
	assert_int_equal(count("\n3 spans</title>"), 1);
	done(vm);
}

static void
pictures_tell_what_is_rounded_up(void **state)
{
	vmem_t *vm = plain_arena(Q, 4 * Q, Q);
	uintptr_t at;
	(void)state;

	assert_int_equal(
	    vmem_xalloc_addr(vm, Q + 96, 0, 0, 0, 0, 0, VM_NOSLEEP, &at), 0);
	(void)written(vm, "text");
	assert_int_equal(count(" in 1 segment, rounded up by 3.91 KiB\n"), 1);
	vmem_xfree_addr(vm, at, Q + 96);
	done(vm);
}

static void
svg_of_a_single_integer_has_an_axis(void **state)
{
	vmem_t *vm = vmem_create("one", NULL, 0, 1, NULL, NULL, NULL, 0,
	    VM_NOSLEEP | VMC_IDENTIFIER);
	(void)state;

	assert_int_equal(vmem_add_addr(vm, 7, 1, VM_NOSLEEP), 0);
	(void)written(vm, "svg");
	is_well_formed();
	assert_in_range(count("<line class=\"t\""), 1, 3);
	done(vm);
}

static void
any_name_leaves_the_formats_valid(void **state)
{
	vmem_t *vm = vmem_create(
	    "\"]]>\\\x01\xc3", P(1), 10, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);
	(void)state;

	(void)written(vm, "svg");
	is_well_formed();
	assert_int_equal(count("\x01"), 0);
	(void)written(vm, "json");
	assert_int_equal(count("{\"name\":\"\\\"]]>\\\\\\u0001\\ufffd\","), 1);
	done(vm);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_unknown_format_is_refused),
	    cmocka_unit_test(what_cannot_be_written_is_an_errno),
	    cmocka_unit_test(
		without_memory_for_the_snapshot_it_fails_and_changes_nothing),
	    cmocka_unit_test(the_arena_is_not_allocated_from),
	    cmocka_unit_test(json_has_every_segment_with_its_exact_size),
	    cmocka_unit_test(json_of_a_small_arena_is_this),
	    cmocka_unit_test(the_last_integer_of_a_span_may_be_a_segment),
	    cmocka_unit_test(an_arena_without_spans_has_a_picture_too),
	    cmocka_unit_test(text_of_a_small_arena_is_this),
	    cmocka_unit_test(text_shows_one_integer_among_very_many),
	    cmocka_unit_test(svg_shows_few_segments_and_many),
	    cmocka_unit_test(svg_names_every_segment_of_a_few_for_hovering),
	    cmocka_unit_test(svg_of_many_spans_and_of_spans_far_apart),
	    cmocka_unit_test(svg_names_spans_together_where_they_are_narrow),
	    cmocka_unit_test(pictures_tell_what_is_rounded_up),
	    cmocka_unit_test(svg_of_a_single_integer_has_an_axis),
	    cmocka_unit_test(any_name_leaves_the_formats_valid),
	};

	return (cmocka_run_group_tests_name("vmem_map", tests, begin, end));
}
