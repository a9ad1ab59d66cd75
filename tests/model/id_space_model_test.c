/*
 * id_space_model_test.c - random operations on a space and on an array with one
 * byte for each identifier.
 *
 * Arguments: number of steps per run, number of runs, first seed.  The seed of
 * a failing run and its shortest failing list of operations are printed.
 */
#include "support/random.h"
#include "support/runs.h"
#include "support/umem_look.h"
#include "vmem/vmem_private.h"

#include <quarry/id_space.h>
#include <quarry/quarry.h>

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum {
	MOST = 60000, /* identifiers that a model may have */
	SHAPES = 18,
	HOUR_MS = 3600000, /* a cooldown that nothing survives */
};

enum state { OUTSIDE, FREE, USED, RESTS };

/* One operation; what the fields mean depends on o_kind and on the state. */
struct op {
	uint8_t o_kind;
	uint8_t o_scale;
	uint16_t o_a;
	uint32_t o_b;
};

static struct world {
	id_space_t *w_space;
	uint32_t w_base; /* identifier of w_state[0] */
	uint32_t w_size;
	uint32_t w_rotor;
	uint32_t w_used, w_resting, w_total;
	bool w_cools;
	uint8_t w_state[MOST];
	char w_why[256]; /* what was wrong */
} world;

static struct runs runs = {1500, SHAPES * 2, 1};
static char file[64];
static unsigned panics;

static bool
wrong(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(w->w_why, sizeof(w->w_why), fmt, ap);
	va_end(ap);
	return (false);
}

/* The first one in that state from i on; w_size: none. */
static uint32_t
find(const struct world *w, enum state state, uint32_t i)
{
	const uint8_t *s = i >= w->w_size
	    ? NULL
	    : memchr(&w->w_state[i], (int)state, w->w_size - i);

	return (s == NULL ? w->w_size : (uint32_t)(s - w->w_state));
}

/* The one that the seed chooses among those in that state, nearly. */
static uint32_t
any(const struct world *w, enum state state, uint32_t seed)
{
	uint32_t i = find(w, state, seed % w->w_size);

	return (i < w->w_size ? i : find(w, state, 0));
}

static bool
take(struct world *w, uint32_t i)
{
	w->w_state[i] = USED;
	w->w_used++;
	return (true);
}

/* ---- operations ---- */

static uint32_t
burst(const struct op *op)
{
	return (1 + op->o_a % (1u << op->o_scale % 13));
}

static bool
op_next(struct world *w, const struct op *op)
{
	for (uint32_t n = burst(op); n > 0; n--) {
		uint32_t i = find(w, FREE, w->w_rotor);
		id_t id = n % 2 == 0 && w->w_used + w->w_resting < w->w_total
		    ? id_alloc(w->w_space)
		    : id_alloc_nosleep(w->w_space);

		if (i == w->w_size)
			i = find(w, FREE, 0);
		if (i == w->w_size)
			return (id == (id_t)-1 || wrong(w, "next gave %u", id));
		if (id != w->w_base + i)
			return (wrong(
			    w, "next gave %d, not %u", (int)id, w->w_base + i));
		w->w_rotor = i + 1;
		(void)take(w, i);
	}
	return (true);
}

static bool
op_first(struct world *w, const struct op *op)
{
	for (uint32_t n = burst(op); n > 0; n--) {
		uint32_t i = find(w, FREE, 0);
		id_t id = n % 2 == 0 && w->w_used + w->w_resting < w->w_total
		    ? id_allocff(w->w_space)
		    : id_allocff_nosleep(w->w_space);

		if (i == w->w_size)
			return (
			    id == (id_t)-1 || wrong(w, "first gave %u", id));
		if (id != w->w_base + i)
			return (wrong(w, "first gave %d, not %u", (int)id,
			    w->w_base + i));
		(void)take(w, i);
	}
	return (true);
}

/* One here and there, free or not, inside or not. */
static bool
op_specific(struct world *w, const struct op *op)
{
	uint32_t stride = 1 + op->o_a % 9000;

	for (uint32_t n = burst(op), i = op->o_b; n > 0; n--, i += stride) {
		uint32_t at = i % (w->w_size + 70);
		bool can = at < w->w_size && w->w_state[at] == FREE;
		id_t want = w->w_base + at;
		id_t id = n % 2 == 0
		    ? id_alloc_specific(w->w_space, want)
		    : id_alloc_specific_nosleep(w->w_space, want);

		if (id != (can ? want : (id_t)-1))
			return (wrong(w, "specific %u gave %d", want, (int)id));
		if (can)
			(void)take(w, at);
	}
	return (true);
}

static void
give(struct world *w, uint32_t i)
{
	id_free(w->w_space, w->w_base + i);
	w->w_used--;
	w->w_state[i] = w->w_cools ? RESTS : FREE;
	w->w_resting += w->w_cools;
}

static bool
op_free(struct world *w, const struct op *op)
{
	for (uint32_t n = burst(op), seed = op->o_b; n > 0 && w->w_used > 0;
	     n--, seed = seed * 1664525 + 1013904223)
		give(w, any(w, USED, seed >> 3));
	return (true);
}

/* Free the same few of every so many, or all. */
static bool
op_comb(struct world *w, const struct op *op)
{
	uint32_t period = 1 + op->o_a % 200, hole = op->o_b % (period + 1);

	for (uint32_t i = find(w, USED, 0); i < w->w_size;
	     i = find(w, USED, i + 1))
		if (i % period < hole)
			give(w, i);
	return (true);
}

/* Once in a while: take all there are. */
static bool
op_fill(struct world *w, const struct op *op)
{
	struct op all = {.o_scale = 12, .o_a = 4095};

	if (op->o_b % 8 != 0)
		return (true);
	while (w->w_used + w->w_resting < w->w_total)
		if (!(op->o_a % 2 == 0 ? op_next(w, &all) : op_first(w, &all)))
			return (false);
	return (true);
}

static bool
op_extend(struct world *w, const struct op *op)
{
	uint32_t first = any(w, OUTSIDE, op->o_b), last = first;

	if (first == w->w_size)
		return (true);
	while (last + 1 < w->w_size && w->w_state[last + 1] == OUTSIDE &&
	    last - first < burst(op))
		last++;
	for (uint32_t i = first; i <= last; i++)
		w->w_state[i] = FREE;
	w->w_total += last - first + 1;
	id_space_extend(w->w_space, w->w_base + first, w->w_base + last + 1);
	return (true);
}

static bool
op_cooldown(struct world *w, const struct op *op)
{
	w->w_cools = op->o_b % 3 == 0;
	if (id_space_set_cooldown(w->w_space, w->w_cools ? HOUR_MS : 0) != 0)
		return (wrong(w, "no cooldown"));
	if (w->w_cools)
		return (true);
	for (uint32_t i = find(w, RESTS, 0); i < w->w_size;
	     i = find(w, RESTS, i))
		w->w_state[i] = FREE;
	w->w_resting = 0;
	return (true);
}

static bool
op_save(struct world *w, const struct op *op)
{
	id_space_t *again;
	int error = id_space_save(w->w_space, file);

	if (op->o_b % 4 != 0)
		return (error == 0 || wrong(w, "save: %d", error));
	again = id_space_restore("again", file);
	if (error != 0 || again == NULL)
		return (wrong(w, "save and restore: %d", error));
	op_comb(w, &(struct op){.o_a = 0, .o_b = 0});
	for (uint32_t i = find(w, USED, 0); i < w->w_size;
	     i = find(w, USED, i + 1))
		id_free(w->w_space, w->w_base + i);
	id_space_destroy(w->w_space);
	w->w_space = again;
	return (true);
}

/* What breaks the contract is reported once and changes nothing. */
static bool
op_misuse(struct world *w, const struct op *op)
{
	uint32_t i =
	    any(w, (enum state)(op->o_a % 2 == 0 ? FREE : RESTS), op->o_b);
	id_t id = w->w_base + op->o_b % w->w_size;

	panics = 0;
	if (i < w->w_size) {
		id_free(w->w_space, w->w_base + i);
		panics--;
	}
	i = any(w, OUTSIDE, op->o_b);
	if (i < w->w_size) {
		id_free(w->w_space, w->w_base + i);
		panics--;
	}
	id_free(w->w_space, w->w_base + w->w_size);
	id_free(w->w_space, (id_t)-1);
	id_space_extend(w->w_space, id, id);
	id_space_extend(w->w_space, (id_t)-5, 5);
	if (w->w_state[op->o_b % w->w_size] != OUTSIDE) {
		id_space_extend(w->w_space, id, id + 1);
		panics--;
	}
	return (panics == 4 || wrong(w, "panics: %d", (int)panics - 4));
}

/* ---- the whole ---- */

struct seen {
	struct world *w;
	uint32_t at; /* the next one that nothing was heard of */
	bool ok;
};

static void
seen_part(struct seen *seen, void *start, size_t size, bool used)
{
	struct world *w = seen->w;
	uint64_t i = (uintptr_t)start - w->w_base;

	while (seen->at < w->w_size && w->w_state[seen->at] == OUTSIDE)
		seen->at++;
	seen->ok = seen->ok && i == seen->at && size <= w->w_size - i;
	for (size_t k = 0; seen->ok && k < size; k++, seen->at++)
		seen->ok = w->w_state[i + k] != OUTSIDE &&
		    (w->w_state[i + k] == USED) == used;
}

static void
seen_used(void *arg, void *start, size_t size)
{
	struct seen *seen = arg;

	seen->at = (uint32_t)find(seen->w, USED, seen->at);
	seen_part(seen, start, size, true);
	seen->ok = seen->ok && size == 1;
}

static void
seen_free(void *arg, void *start, size_t size)
{
	struct seen *seen = arg;

	while (seen->at < seen->w->w_size &&
	    (seen->w->w_state[seen->at] == USED ||
		seen->w->w_state[seen->at] == OUTSIDE))
		seen->at++;
	seen_part(seen, start, size, false);
}

static bool
check(struct world *w)
{
	struct id_space_stats stats;
	struct seen used = {w, 0, true}, freed = {w, 0, true};

	(void)vmem__check(w->w_space);
	(void)id_space_getstats(w->w_space, &stats);
	if (stats.inuse != w->w_used || stats.resting != w->w_resting ||
	    stats.total != w->w_total)
		return (wrong(w, "%zu in use, %zu at rest, %zu in all",
		    stats.inuse, stats.resting, stats.total));
	vmem_walk(w->w_space, VMEM_ALLOC, seen_used, &used);
	vmem_walk(w->w_space, VMEM_FREE, seen_free, &freed);
	if (!used.ok || find(w, USED, used.at) != w->w_size)
		return (wrong(w, "walk of those in use, at %u", used.at));
	if (!freed.ok || find(w, FREE, freed.at) != w->w_size ||
	    find(w, RESTS, freed.at) != w->w_size)
		return (wrong(w, "walk of the others, at %u", freed.at));
	return (true);
}

static bool
step(struct world *w, const struct op *op)
{
	static bool (*const kinds[])(struct world *, const struct op *) = {
	    op_next, op_next, op_next, op_first, op_first, op_specific,
	    op_specific, op_free, op_free, op_free, op_free, op_comb, op_fill,
	    op_extend, op_cooldown, op_save, op_misuse};

	return (kinds[op->o_kind % (sizeof(kinds) / sizeof(kinds[0]))](w, op));
}

/* Where the identifiers are, how many, and whether in one range from the start. */
static bool
begin(struct world *w, unsigned shape)
{
	static const uint32_t sizes[] = {300, 5000, MOST};
	uint32_t first, last;

	memset(w, 0, sizeof(*w));
	w->w_size = sizes[shape % 3];
	switch (shape / 3 % 3) {
	case 0:
		w->w_base = 0;
		break;
	case 1: /* across a multiple of 2^24, and off the words */
		w->w_base = (1 << 24) - w->w_size / 2 - 17;
		break;
	default: /* the last one is the highest there is */
		w->w_base = (uint32_t)INT_MAX - w->w_size;
		break;
	}
	first = shape / 9 % 2 == 0 ? 0 : w->w_size / 3;
	last = shape / 9 % 2 == 0 ? w->w_size - 1 : first + w->w_size / 7;
	w->w_space =
	    id_space_create("model", w->w_base + first, w->w_base + last + 1);
	memset(&w->w_state[first], FREE, last - first + 1);
	w->w_total = last - first + 1;
	return (w->w_space != NULL);
}

static void
count_panic(const char *message)
{
	(void)message;
	panics++;
}

static size_t
run(unsigned shape, const void *list, size_t n, bool known, const char **why)
{
	size_t stride = shape % 3 == 0 ? 1 : shape % 3 == 1 ? 10 : 80;
	struct world *w = &world;
	const struct op *ops = list;
	(void)known;

	*why = w->w_why;
	(void)quarry_set_panic_hook(count_panic);
	if (!begin(w, shape))
		abort();
	for (size_t i = 0; i < n; i++)
		if (!step(w, &ops[i]) || (i % stride == 0 && !check(w)))
			return (i);
	if (!check(w))
		return (n - 1);
	op_comb(w, &(struct op){.o_a = 0, .o_b = 1});
	if (vmem_size(w->w_space, VMEM_ALLOC) != 0)
		return (n - 1);
	id_space_destroy(w->w_space);
	return (n);
}

static void
make(uint64_t seed, void *list, size_t n)
{
	struct op *ops = list;
	unsigned phase = 0;

	for (size_t i = 0; i < n; i++) {
		uint64_t r = random_next(&seed);

		if (i % 53 == 0)
			phase = (unsigned)(r >> 60);
		ops[i].o_kind = (uint8_t)r;
		/* Times of little and of much in use. */
		if (phase % 4 == 0 && ops[i].o_kind % 17 < 5)
			ops[i].o_kind = 7;
		ops[i].o_scale = (uint8_t)((r >> 8) % (3 + phase % 11));
		ops[i].o_a = (uint16_t)(r >> 16);
		ops[i].o_b = (uint32_t)(r >> 32);
	}
}

static void
print(const void *op)
{
	const struct op *o = op;

	print_error(
	    "\t{%u, %u, %u, %u},\n", o->o_kind, o->o_scale, o->o_a, o->o_b);
}

static void
a_space_answers_random_requests_as_an_array_does(void **state)
{
	static const struct runs_subject space = {
	    SHAPES, sizeof(struct op), make, run, print};
	bool ok;
	(void)state;

	(void)snprintf(file, sizeof(file), "%s/id_space_model.%d",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", getpid());
	ok = runs_pass(&runs, &space);
	(void)unlink(file);
	assert_true(ok);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_space_answers_random_requests_as_an_array_does),
	};

	if (look_quick())
		runs.r_steps = 100;
	else if (look_shadowed())
		runs.r_steps /= 4;
	runs_arguments(&runs, argc, argv);
	return (
	    cmocka_run_group_tests_name("id_space model", tests, NULL, NULL));
}
