/*
 * vmem_oracle.h - a slow and obvious arena, and an interpreter that runs a list
 * of operations on it and on a real one.
 *
 * The oracle is an array with one element per quantum.  Any list of bytes is a
 * valid list of operations, so that lists can be made at random, by a fuzzer,
 * or by deleting from another list.
 */
#ifndef QR_VMEM_ORACLE_H
#define QR_VMEM_ORACLE_H

#include "base/bits.h"
#include "vmem/vmem_private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNITS = 1024, ORACLE_SHAPES = 36 };

enum unit { OUTSIDE, FREE, USED };

/* One operation; what the fields mean depends on o_kind and on the state. */
struct op {
	uint8_t o_kind;
	uint8_t o_policy;
	uint8_t o_shape; /* which constraints */
	uint8_t o_scale; /* log2 of sizes and alignments */
	uint16_t o_a, o_b, o_c, o_d;
};

struct live {
	unsigned l_unit;
	size_t l_size;
};

struct world {
	vmem_t *w_vm;
	size_t w_quantum;
	uintptr_t w_base; /* address of unit 0 */
	enum unit w_unit[UNITS];
	unsigned w_span[UNITS];  /* which span a unit is in */
	unsigned w_run[UNITS];   /* free units from here on, in one span */
	unsigned w_start[UNITS]; /* first unit of the free segment around */
	unsigned w_spans;
	struct live w_live[UNITS];
	unsigned w_nlive;
	size_t w_inuse, w_total;
	uintptr_t w_rotor;
	char w_why[256]; /* what was wrong */
};

/* A request in the words of vmem_xalloc_addr. */
struct want {
	size_t size, align, phase, nocross;
	uintptr_t min, max;
	int flags;
};

static inline bool
oracle_wrong(struct world *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(w->w_why, sizeof(w->w_why), fmt, ap);
	va_end(ap);
	return (false);
}

static inline uintptr_t
oracle_addr(const struct world *w, unsigned unit)
{
	return (w->w_base + unit * w->w_quantum);
}

/* Units that `size` occupies; more than there are for sizes that wrap. */
static inline unsigned
oracle_units(const struct world *w, size_t size)
{
	size_t n = size / w->w_quantum + (size % w->w_quantum != 0);

	return (n > UNITS ? UNITS + 1u : (unsigned)n);
}

/* w_run and w_start, from w_unit and w_span. */
static inline void
oracle_segments(struct world *w)
{
	for (unsigned u = UNITS; u-- > 0;) {
		bool joined = u + 1 < UNITS && w->w_unit[u + 1] == FREE &&
		    w->w_span[u + 1] == w->w_span[u];

		w->w_run[u] = w->w_unit[u] != FREE ? 0
		    : joined                       ? w->w_run[u + 1] + 1
						   : 1;
	}
	for (unsigned u = 0; u < UNITS; u++) {
		bool joined = u > 0 && w->w_unit[u - 1] == FREE &&
		    w->w_span[u - 1] == w->w_span[u];

		w->w_start[u] = joined ? w->w_start[u - 1] : u;
	}
}

static inline bool
oracle_fits(const struct world *w, unsigned u, const struct want *r)
{
	uintptr_t a = oracle_addr(w, u);
	uintptr_t last = a + (r->size - 1);

	return (w->w_run[u] >= oracle_units(w, r->size) &&
	    (a - r->phase) % r->align == 0 &&
	    (r->nocross == 0 || a / r->nocross == last / r->nocross) &&
	    a >= r->min && (r->max == 0 || last <= r->max - 1));
}

/* The lowest place from `from` on; UNITS when there is none. */
static inline unsigned
oracle_lowest(const struct world *w, const struct want *r, uintptr_t from)
{
	for (unsigned u = 0; u < UNITS; u++)
		if (oracle_addr(w, u) >= from && oracle_fits(w, u, r))
			return (u);
	return (UNITS);
}

static inline unsigned
oracle_highest(const struct world *w, const struct want *r)
{
	for (unsigned u = UNITS; u-- > 0;)
		if (oracle_fits(w, u, r))
			return (u);
	return (UNITS);
}

/* ---- what the policies promise ---- */

static inline bool
is_segment(const struct world *w, unsigned u)
{
	return (w->w_unit[u] == FREE && w->w_start[u] == u);
}

/* The least units of a segment that instant fit does not tell from one of n. */
static inline unsigned
oracle_list(unsigned n)
{
	unsigned part = 1u << qr_log2(n) >> 3;

	return (n <= 64 ? n : n / part * part);
}

/* Instant fit: lowest list that surely fits, at the start of a segment. */
static inline bool
check_instant(struct world *w, const struct want *r, unsigned u)
{
	unsigned need = oracle_units(w, r->size), best = UNITS + 1;

	if (need > 64)
		need = (unsigned)qr_pow2up(need);
	for (unsigned s = 0; s < UNITS; s++)
		if (is_segment(w, s) && w->w_run[s] >= need)
			best = (unsigned)qr_min(best, oracle_list(w->w_run[s]));
	if (!is_segment(w, u))
		return (oracle_wrong(w, "not the start of a segment"));
	if (best <= UNITS && oracle_list(w->w_run[u]) != best)
		return (oracle_wrong(w, "instant fit in the wrong class"));
	return (true);
}

/* Sizes below `size` that r could have but for segments out of its window. */
static inline unsigned
sizes_in_the_way(const struct world *w, const struct want *r, unsigned size)
{
	bool seen[UNITS + 1] = {false};
	unsigned n = 0;

	for (unsigned s = 0; s < UNITS; s++) {
		unsigned run = w->w_run[s];
		uintptr_t last = oracle_addr(w, s) + (run * w->w_quantum - 1);

		if (!is_segment(w, s) || run >= size || seen[run] ||
		    run < oracle_units(w, r->size) ||
		    (oracle_addr(w, s) >= r->min &&
			(r->max == 0 || last <= r->max - 1)))
			continue;
		seen[run] = true;
		n++;
	}
	return (n);
}

/*
 * Best fit: a segment of the smallest size that has a place, and the lowest
 * place in it, or the highest; but anywhere behind more than ten sizes.
 */
static inline bool
check_best(struct world *w, const struct want *r, unsigned u)
{
	unsigned start = w->w_start[u], size = w->w_run[start], best = size;
	bool high = (r->flags & VM_ENDALLOC) != 0;

	for (unsigned p = 0; p < UNITS; p++) {
		if (w->w_unit[p] != FREE || !oracle_fits(w, p, r))
			continue;
		best = (unsigned)qr_min(best, w->w_run[w->w_start[p]]);
		if (w->w_start[p] == start && (high ? p > u : p < u))
			return (oracle_wrong(w, "wrong end of the segment"));
	}
	return (best == size || sizes_in_the_way(w, r, best) > 10 ||
	    oracle_wrong(w, "best fit has %u units", best));
}

static inline bool
expect_unit(struct world *w, unsigned u, unsigned expected)
{
	return (u == expected ||
	    oracle_wrong(w, "unit %u, expected %u", u, expected));
}

/* The arena said u; UNITS: nothing. */
static inline bool
check_choice(struct world *w, const struct want *r, unsigned u)
{
	bool bare = r->align == w->w_quantum && r->nocross == 0 &&
	    r->min == 0 && r->max == 0;
	unsigned lowest = oracle_lowest(w, r, 0);

	if ((u == UNITS) != (lowest == UNITS))
		return (oracle_wrong(
		    w, "got unit %u, lowest place is %u", u, lowest));
	if (u == UNITS)
		return (true);
	if (!oracle_fits(w, u, r))
		return (oracle_wrong(w, "unit %u does not satisfy", u));
	if (bare && (r->flags & VM_NEXTFIT) != 0) {
		unsigned next = oracle_lowest(w, r, w->w_rotor);

		return (expect_unit(w, u, next == UNITS ? lowest : next));
	}
	if ((r->flags & VM_BESTFIT) != 0)
		return (check_best(w, r, u));
	if ((r->flags & (VM_FIRSTFIT | VM_ENDALLOC)) != 0)
		return (expect_unit(w, u,
		    (r->flags & VM_ENDALLOC) != 0 ? oracle_highest(w, r)
						  : lowest));
	return (!bare || check_instant(w, r, u));
}

/* ---- operations ---- */

static inline int
op_flags(const struct op *op)
{
	static const int policies[] = {0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT,
	    VM_ENDALLOC, VM_BESTFIT | VM_ENDALLOC, VM_FIRSTFIT | VM_ENDALLOC,
	    0};

	return (policies[op->o_policy % 8] | VM_NOSLEEP);
}

static inline size_t
op_size(const struct world *w, const struct op *op)
{
	size_t units = 1 + op->o_a % (1u << op->o_scale % 10);
	size_t size = units * w->w_quantum;

	/* Every other size is not a multiple of the quantum. */
	return ((op->o_shape & 1) != 0 ? size - op->o_b % w->w_quantum : size);
}

static inline void
take(struct world *w, unsigned u, size_t size, int flags)
{
	unsigned n = oracle_units(w, size);

	for (unsigned i = u; i < u + n; i++)
		w->w_unit[i] = USED;
	w->w_live[w->w_nlive++] = (struct live){u, size};
	w->w_inuse += size;
	if ((flags & VM_NEXTFIT) != 0)
		w->w_rotor = oracle_addr(w, u) + n * w->w_quantum;
}

static inline bool
op_request(struct world *w, const struct want *r, bool constrained)
{
	uintptr_t a = 0;
	size_t unit;
	int error;

	error = vmem_xalloc_addr(w->w_vm, r->size, constrained ? r->align : 0,
	    r->phase, r->nocross, r->min, r->max, r->flags, &a);
	if (error == ENOMEM)
		return (check_choice(w, r, UNITS));
	if (error != 0)
		return (oracle_wrong(w, "error %d", error));
	unit = (a - w->w_base) / w->w_quantum;
	if ((a - w->w_base) % w->w_quantum != 0 || unit >= UNITS)
		return (oracle_wrong(w, "address %#lx", a));
	if (!check_choice(w, r, (unsigned)unit))
		return (false);
	/* As documented, next fit counts without constraints only. */
	take(w, (unsigned)unit, r->size,
	    r->align == w->w_quantum && r->nocross == 0 && r->min == 0 &&
		    r->max == 0
		? r->flags
		: 0);
	return (true);
}

static inline bool
op_alloc(struct world *w, const struct op *op)
{
	struct want r = {.size = op_size(w, op),
	    .align = w->w_quantum,
	    .flags = op_flags(op)};

	return (op_request(w, &r, false));
}

static inline bool
op_xalloc(struct world *w, const struct op *op)
{
	struct want r = {.size = op_size(w, op),
	    .align = w->w_quantum,
	    .flags = op_flags(op)};

	if ((op->o_shape & 2) != 0)
		r.align <<= op->o_c % 8;
	if ((op->o_shape & 4) != 0)
		r.phase = op->o_d * w->w_quantum & (r.align - 1);
	if ((op->o_shape & 8) != 0)
		r.nocross =
		    qr_max(r.align,
			qr_pow2up(qr_roundup(r.phase + r.size, r.align)))
		    << (op->o_policy >> 4 & 3);
	if ((op->o_shape & 16) != 0)
		r.min = oracle_addr(w, op->o_c % UNITS) + op->o_b % 3;
	if ((op->o_shape & 32) != 0)
		r.max = oracle_addr(w, op->o_d % UNITS) + op->o_b % 5;
	return (op_request(w, &r, true));
}

static inline void
free_live(struct world *w, unsigned n)
{
	struct live l = w->w_live[n];

	w->w_live[n] = w->w_live[--w->w_nlive];
	for (unsigned u = l.l_unit; u < l.l_unit + oracle_units(w, l.l_size);
	     u++)
		w->w_unit[u] = FREE;
	w->w_inuse -= l.l_size;
	vmem_xfree_addr(w->w_vm, oracle_addr(w, l.l_unit), l.l_size);
}

static inline bool
op_free(struct world *w, const struct op *op)
{
	if (w->w_nlive > 0)
		free_live(w, op->o_a % w->w_nlive);
	return (true);
}

/*
 * Once in a while: use every unit, then free the same few of every so many.
 * Such arenas have many segments that nearly satisfy a constraint.
 */
static inline bool
op_comb(struct world *w, const struct op *op)
{
	unsigned period = 2 + op->o_c % 15;
	unsigned hole = 1 + op->o_d % (period - 1);
	struct want r = {
	    .size = w->w_quantum, .align = w->w_quantum, .flags = VM_NOSLEEP};
	uintptr_t a;

	if (op->o_b % 8 != 0)
		return (true);
	while (
	    vmem_xalloc_addr(w->w_vm, r.size, 0, 0, 0, 0, 0, r.flags, &a) == 0)
		take(w, (unsigned)((a - w->w_base) / w->w_quantum), r.size, 0);
	for (unsigned n = w->w_nlive; n-- > 0;)
		if (w->w_live[n].l_unit % period < hole)
			free_live(w, n);
	return (true);
}

/*
 * A request of one of a few shapes that most segments fail, mostly undone at
 * once: what is found to be hopeless for one must not be so for another.
 */
static inline bool
op_hard(struct world *w, const struct op *op)
{
	static const int policies[] = {0, VM_FIRSTFIT, VM_ENDALLOC, VM_BESTFIT};
	struct want r = {.size = (1 + op->o_a % 3) * w->w_quantum,
	    .align = w->w_quantum << (5 + op->o_a / 3 % 3),
	    .phase = op->o_a / 9 % 2 * w->w_quantum,
	    .flags = VM_NOSLEEP | policies[op->o_policy % 4]};
	unsigned live = w->w_nlive;

	if ((op->o_shape & 16) != 0)
		r.min = oracle_addr(w, op->o_c % UNITS);
	if ((op->o_shape & 32) != 0)
		r.max = oracle_addr(w, op->o_d % UNITS);
	if (!op_request(w, &r, true))
		return (false);
	if (w->w_nlive > live && (op->o_shape & 192) != 0)
		free_live(w, live);
	return (true);
}

static inline bool
op_add(struct world *w, const struct op *op)
{
	unsigned first = op->o_a % UNITS;
	unsigned n = 1 + op->o_b % (1u << op->o_scale % 11);

	if (n > UNITS - first)
		n = UNITS - first;
	for (unsigned u = first; u < first + n; u++)
		if (w->w_unit[u] != OUTSIDE)
			return (true);
	w->w_spans++;
	for (unsigned u = first; u < first + n; u++) {
		w->w_unit[u] = FREE;
		w->w_span[u] = w->w_spans;
	}
	w->w_total += n * w->w_quantum;
	return (vmem_add_addr(w->w_vm, oracle_addr(w, first), n * w->w_quantum,
		    VM_NOSLEEP) == 0 ||
	    oracle_wrong(w, "vmem_add_addr failed"));
}

static inline bool
op_contains(struct world *w, const struct op *op)
{
	unsigned u = op->o_a % UNITS;
	size_t size = op->o_b % (64 * w->w_quantum);
	unsigned n = (unsigned)qr_max(1, oracle_units(w, size));
	bool inside = true;

	for (unsigned i = u; i < u + n; i++)
		inside = inside && i < UNITS && w->w_unit[i] != OUTSIDE &&
		    w->w_span[i] == w->w_span[u];
	return ((vmem_contains(w->w_vm, (void *)oracle_addr(w, u), size) !=
		    0) == inside ||
	    oracle_wrong(
		w, "contains(unit %u, %zu) is not %d", u, size, inside));
}

/* Every way to ask for the impossible must answer EINVAL and change nothing. */
static inline bool
op_invalid(struct world *w, const struct op *op)
{
	size_t q = w->w_quantum;
	const struct want bad[] = {
	    {.size = 0, .align = q},
	    {.size = q, .align = 3 * q},
	    {.size = q, .align = 2 * q, .phase = 2 * q},
	    {.size = q, .align = 4 * q, .nocross = 2 * q},
	    {.size = 3 * q, .align = q, .nocross = 2 * q},
	    {.size = q, .align = q, .nocross = 3 * q},
	    {.size = SIZE_MAX, .align = 2 * q, .phase = q, .nocross = 4 * q},
	};
	const struct want *r = &bad[op->o_a % 7];
	uintptr_t a;

	return (vmem_xalloc_addr(w->w_vm, r->size, r->align, r->phase,
		    r->nocross, 0, 0, op_flags(op), &a) == EINVAL ||
	    oracle_wrong(w, "invalid request %u", op->o_a % 7));
}

/* ---- the whole ---- */

struct seen {
	struct world *w;
	size_t inuse, total;
	uintptr_t last;
	unsigned calls;
	bool ok;
};

static inline void
seen_segment(void *arg, void *start, size_t size)
{
	struct seen *seen = arg;
	struct world *w = seen->w;
	unsigned u = (unsigned)(((uintptr_t)start - w->w_base) / w->w_quantum);
	unsigned n = oracle_units(w, size);

	if (u >= UNITS || n > UNITS - u ||
	    (seen->calls++ > 0 && (uintptr_t)start <= seen->last)) {
		seen->ok = false;
		return;
	}
	seen->last = (uintptr_t)start;
	for (unsigned i = u; i < u + n; i++)
		seen->ok = seen->ok && w->w_unit[i] == w->w_unit[u] &&
		    w->w_unit[i] != OUTSIDE;
	if (w->w_unit[u] == FREE)
		seen->ok = seen->ok && is_segment(w, u) && w->w_run[u] == n;
	else
		seen->inuse += size;
	seen->total += n * w->w_quantum;
}

static inline bool
check_world(struct world *w)
{
	struct seen seen = {w, 0, 0, 0, 0, true};

	(void)vmem__check(w->w_vm);
	if (vmem_size(w->w_vm, VMEM_ALLOC) != w->w_inuse ||
	    vmem_size(w->w_vm, VMEM_FREE) != w->w_total - w->w_inuse)
		return (oracle_wrong(w, "sizes"));
	vmem_walk(w->w_vm, VMEM_ALLOC | VMEM_FREE, seen_segment, &seen);
	if (!seen.ok || seen.inuse != w->w_inuse || seen.total != w->w_total)
		return (oracle_wrong(w, "walk"));
	return (true);
}

static inline bool
oracle_step(struct world *w, const struct op *op)
{
	oracle_segments(w);
	switch (op->o_kind % 16) {
	case 0:
		return (op_add(w, op));
	case 1:
		return (op_contains(w, op));
	case 2:
		return (op_invalid(w, op));
	case 10:
		return (op_comb(w, op));
	case 11:
	case 12:
		return (op_hard(w, op));
	case 3:
	case 4:
	case 5:
		return (op_xalloc(w, op));
	case 6:
	case 7:
	case 8:
	case 9:
		return (op_alloc(w, op));
	default:
		return (op_free(w, op));
	}
}

/*
 * The arena: quantum and place are taken from `shape`, and whether descriptors
 * may be used where the quantum is small.
 */
static inline void
oracle_begin(struct world *w, unsigned shape)
{
	static const size_t quanta[] = {1, 8, 4096};

	memset(w, 0, sizeof(*w));
	w->w_quantum = quanta[shape % 3];
	switch (shape / 3 % 3) {
	case 0:
		w->w_base = 0;
		break;
	case 1:
		w->w_base = (uintptr_t)0x7000000000;
		break;
	default: /* the last unit ends at the top */
		w->w_base = -(UNITS * w->w_quantum);
		break;
	}
	w->w_vm = vmem_create("model", NULL, 0, w->w_quantum, NULL, NULL, NULL,
	    0, VM_NOSLEEP | (shape / 18 % 2 == 0 ? VMC_IDENTIFIER : 0));
	if (w->w_vm == NULL)
		abort();
}

/*
 * Run the list, checking everything after every `stride` steps.  The number of
 * the step that was wrong, or n; w_why tells.
 */
static inline size_t
oracle_run(struct world *w, unsigned shape, const struct op *ops, size_t n,
    size_t stride)
{
	static const struct op all = {
	    .o_a = 0, .o_b = UNITS - 1, .o_scale = 10};
	size_t i;

	oracle_begin(w, shape);
	if (shape / 9 % 2 == 0)
		(void)op_add(w, &all);
	for (i = 0; i < n; i++) {
		if (!oracle_step(w, &ops[i]))
			return (i);
		oracle_segments(w);
		if ((i + 1) % stride == 0 && !check_world(w))
			return (i);
	}
	while (w->w_nlive > 0)
		(void)op_free(w, &all);
	oracle_segments(w);
	if (!check_world(w))
		return (n - 1);
	vmem_destroy(w->w_vm);
	return (n);
}

#endif /* QR_VMEM_ORACLE_H */
