/*
 * umem_cpu.c - what happens when this CPU's magazine is empty, or full.
 *
 * Every step hands a whole magazine over by one word, so a thread may be
 * stopped between any two of them: what it holds is its own, and what it has
 * put down is somebody else's.
 */
#include "base/races.h"
#include "os/os_fork.h"
#include "umem/umem_debug.h"
#include "umem/umem_impl.h"
#include "umem/umem_log.h"
#include "umem/umem_report.h"

#include <stdatomic.h>
#include <string.h>

/*
 * A thread that is stopped in every sequence - single-stepped, or under a storm
 * of signals - must get on all the same: after this many attempts it goes to
 * the slabs.
 */
enum { ATTEMPTS = 8 };

/* Misses of a cache on a CPU after which maintenance may be due ... */
enum { MISSES_PER_TICK = 16 };
/* ... and after which an exchange counts as a visit to the depot. */
enum { MISSES_PER_VISIT = 64 };

/* Objects of a magazine within which neighbours are kept apart. */
enum { SPREAD = 64 };

/* A miss at work, on the CPU where it was last. */
struct miss {
	struct percpu_front *m_front; /* NULL: do without magazines */
	unsigned m_cpu;
	uint64_t m_before; /* as many were there before it */
};

/*
 * Where in its block a top stands.  The block need not be ours: whoever acts on
 * the answer exchanges this very top for another.
 */
static bool
top_empty(uintptr_t top)
{
	return ((qr_racy_load((const uintptr_t *)top - 1) & 1) != 0);
}

static bool
top_full(uintptr_t top)
{
	return ((qr_racy_load((const uintptr_t *)top) & 1) != 0);
}

static uintptr_t
mag_bottom(struct umem_mag *mag)
{
	return ((uintptr_t)mag->mag_round);
}

static uintptr_t
mag_full_top(const struct umem_cache *cp, struct umem_mag *mag)
{
	return ((uintptr_t)&mag->mag_round[umem__mag_capacity(cp, mag)]);
}

/* ---- one object past the magazines ---- */

static uintptr_t
raw_alloc(struct umem_cache *cp, unsigned cpu)
{
	uintptr_t obj;

	if (umem__slab_fill(cp, cpu, &obj, 1) == 0)
		return (0);
	if (cp->cache_ctor != NULL &&
	    cp->cache_ctor((void *)obj, cp->cache_priv, UMEM_DEFAULT) != 0) {
		umem__slab_drain(cp, &obj, 1);
		return (0);
	}
	return (umem__word(cp, obj));
}

/* What is not an object in use must not be seen by the destructor. */
static void
destroy_free(struct umem_cache *cp, uintptr_t obj)
{
	enum umem_bad bad = umem__slab_judge(cp, obj);

	if (QR_UNLIKELY(bad != UMEM_GOOD)) {
		umem__report_free(cp, obj, bad);
		return;
	}
	cp->cache_dtor((void *)obj, cp->cache_priv);
	umem__slab_drain(cp, &obj, 1);
}

/* Destroy and give to the slabs the n objects in words[], in place. */
static void
raw_free(struct umem_cache *cp, uintptr_t *words, size_t n)
{
	for (size_t i = 0; i < n; i++)
		words[i] = umem__word_addr(cp, words[i]);
	if (cp->cache_dtor == NULL) {
		umem__slab_drain(cp, words, n);
		return;
	}
	for (size_t i = 0; i < n; i++)
		destroy_free(cp, words[i]);
}

void
umem__mag_flush(struct umem_cache *cp, uintptr_t top)
{
	struct umem_mag *mag = umem__mag_of(top);

	raw_free(cp, mag->mag_round, (uintptr_t *)top - mag->mag_round);
	umem__mag_put(mag);
}

/*
 * A magazine that left this CPU, or was meant for it: behind the loaded one if
 * there is none, else to the depot, which wants them full or empty.
 */
static void
put_aside(struct umem_cache *cp, const struct miss *m, uintptr_t top)
{
	if (top == PERCPU_NULL ||
	    percpu_cas_prev(m->m_cpu, m->m_front, cp->cache_slot_off, 0, top))
		return;
	if (top_empty(top))
		umem__depot_put_empty(cp, m->m_cpu, umem__mag_of(top));
	else if (!top_full(top) ||
	    !umem__depot_put_full(cp, m->m_cpu, umem__mag_of(top)))
		umem__mag_flush(cp, top);
}

/* ---- the two misses ---- */

/* Count it, where no other CPU writes if we can; now and then look around. */
static struct miss
miss_begin(struct umem_cache *cp, size_t off, enum percpu_op op)
{
	struct miss m = {0};

	os_fork_watch();
	m.m_front = off == 0 ? NULL : percpu_enter(&m.m_cpu);
	m.m_before = m.m_front != NULL
	    ? percpu_missed(m.m_front, off, op)
	    : atomic_fetch_add_explicit(
		  &cp->cache_missed[op], 1, memory_order_relaxed);
	/* Even the coarse clock costs something. */
	if (m.m_before % MISSES_PER_TICK == MISSES_PER_TICK - 1)
		umem__tick(op == PERCPU_POP);
	return (m);
}

/* Can all n objects be in a magazine? */
static bool
have_words(const struct umem_cache *cp, const uintptr_t *objs, size_t n)
{
	uintptr_t all = 0;

	for (size_t i = 0; i < n; i++)
		all |= umem__word(cp, objs[i]);
	return ((all & 1) == 0);
}

/* One from the depot, else a new one, else NULL. */
static struct umem_mag *
empty_mag(struct umem_cache *cp, unsigned cpu)
{
	struct umem_mag *mag = umem__depot_get_empty(cp, cpu);

	return (mag != NULL ? mag : umem__mag_get(cp));
}

/*
 * One of how many objects begins behind the cache lines of another.  What has
 * several lines shares its ends alone, and is not worth the pages.
 */
static size_t
apart(const struct umem_cache *cp)
{
	size_t chunk = cp->cache_chunk;

	if (chunk >= 2 * QR_CACHE_LINE || chunk == QR_CACHE_LINE)
		return (1);
	return ((chunk + QR_CACHE_LINE - 2) / chunk + 1);
}

/*
 * Make words of n raw objects, the lowest last.  Those that share a cache line do
 * not follow each other, here or where the next magazine begins: one thread hands
 * them to others, or takes one along to another CPU, and each would take the line
 * from the other with every write.
 */
static void
spread(const struct umem_cache *cp, uintptr_t *objs, size_t n)
{
	size_t step = qr_min(apart(cp), (n + 1) / 2), at = n;
	uintptr_t word[SPREAD];

	for (size_t i = 0; i < n; i++)
		word[i] = umem__word(cp, objs[n - 1 - i]);
	for (size_t first = step; first-- > 0;)
		for (size_t i = first; i < n; i += step)
			objs[--at] = word[i];
}

/* An empty magazine, filled from the slabs with raw objects. */
static uintptr_t
fill(struct umem_cache *cp, unsigned cpu)
{
	struct umem_mag *mag = empty_mag(cp, cpu);
	size_t n, i, part;

	if (mag == NULL)
		return (0);
	n = umem__slab_fill(
	    cp, cpu, mag->mag_round, umem__mag_capacity(cp, mag));
	if (QR_UNLIKELY(!have_words(cp, mag->mag_round, n))) {
		umem__slab_drain(cp, mag->mag_round, n);
		/* Odd words left above the bottom would be end marks. */
		memset(mag->mag_round, 0, n * sizeof(mag->mag_round[0]));
		n = 0;
	}
	if (n == 0) {
		umem__depot_put_empty(cp, cpu, mag);
		return (0);
	}
	/* Pops go from the top down: the lowest addresses come first. */
	for (i = 0; i < n - 1 - i; i++) {
		uintptr_t obj = mag->mag_round[i];

		mag->mag_round[i] = mag->mag_round[n - 1 - i];
		mag->mag_round[n - 1 - i] = obj;
	}
	for (i = n; i > 0; i -= part) {
		part = qr_min(i, SPREAD);
		spread(cp, &mag->mag_round[i - part], part);
	}
	return ((uintptr_t)&mag->mag_round[n]);
}

/*
 * Rounds on their way from a full magazine to the empty one that it replaces.
 * If all stayed, a few frees would find it full again, and a few allocations
 * the other one empty; with half of them each, both are half a magazine away.
 */
struct half {
	size_t ha_n;
	uintptr_t ha_word[UMEM_MAG_ROUNDS / 2];
};

/* Keep what was freed last. */
static uintptr_t
half_take(struct half *ha, uintptr_t top)
{
	uintptr_t *round = umem__mag_of(top)->mag_round;
	size_t n = (uintptr_t *)top - round;

	ha->ha_n = n / 2;
	memcpy(ha->ha_word, round, ha->ha_n * sizeof(*round));
	memmove(round, round + ha->ha_n, (n - ha->ha_n) * sizeof(*round));
	return (top - ha->ha_n * sizeof(*round));
}

/* Into a magazine that is ours; what it cannot hold goes to the slabs. */
static uintptr_t
half_put(struct umem_cache *cp, struct half *ha, uintptr_t top)
{
	size_t room, n;

	if (ha->ha_n == 0)
		return (top);
	room = mag_full_top(cp, umem__mag_of(top)) - top;
	n = qr_min(ha->ha_n, room / sizeof(ha->ha_word[0]));
	memcpy((void *)top, ha->ha_word, n * sizeof(ha->ha_word[0]));
	if (n < ha->ha_n)
		raw_free(cp, ha->ha_word + n, ha->ha_n - n);
	return (top + n * sizeof(ha->ha_word[0]));
}

/*
 * Take the magazine behind the loaded one, which has this top; false when it is
 * there no more.  What a CPU does on its own counts for little.
 */
static bool
take_prev(struct umem_cache *cp, const struct miss *m, uintptr_t prev)
{
	if (!percpu_cas_prev(m->m_cpu, m->m_front, cp->cache_slot_off, prev, 0))
		return (false);
	if (m->m_before % MISSES_PER_VISIT == 0)
		umem__depot_visit(cp);
	return (true);
}

/* The top of a magazine with rounds that is ours, or 0. */
static uintptr_t
find_rounds(struct umem_cache *cp, const struct miss *m)
{
	uintptr_t prev = percpu_prev(m->m_front, cp->cache_slot_off);
	struct umem_mag *mag;

	if (prev != 0 && !top_empty(prev) && take_prev(cp, m, prev))
		return (prev);
	mag = umem__depot_get_full(cp, m->m_cpu);
	if (mag != NULL)
		return (mag_full_top(cp, mag));
	/* Constructors run for objects that somebody asked for only. */
	return (cp->cache_ctor == NULL ? fill(cp, m->m_cpu) : 0);
}

/* Put a magazine with rounds in the place of an empty one. */
static void
load_rounds(struct umem_cache *cp, const struct miss *m, uintptr_t top)
{
	size_t off = cp->cache_slot_off;
	uintptr_t old = percpu_top(m->m_front, off);
	struct half ha;

	ha.ha_n = 0;
	if (old != PERCPU_NULL && top_full(top) &&
	    percpu_prev(m->m_front, off) == 0)
		top = half_take(&ha, top);
	if (top_empty(old) &&
	    percpu_cas_top(m->m_cpu, m->m_front, off, old, top))
		top = old;
	put_aside(cp, m, half_put(cp, &ha, top));
}

uintptr_t
umem__cpu_take(struct umem_cache *cp)
{
	size_t off = cp->cache_slot_off;
	struct miss m = miss_begin(cp, off, PERCPU_POP);

	for (int i = 0; i < ATTEMPTS && m.m_front != NULL; i++) {
		uintptr_t word = percpu_pop_any(m.m_front, off), top;

		if (word != 0)
			return (word);
		top = find_rounds(cp, &m);
		if (top == 0)
			break;
		load_rounds(cp, &m, top);
		m.m_front = percpu_enter(&m.m_cpu);
	}
	return (raw_alloc(cp, m.m_cpu));
}

/* The top of a magazine with room that is ours, or 0. */
static uintptr_t
find_room(struct umem_cache *cp, const struct miss *m)
{
	uintptr_t prev = percpu_prev(m->m_front, cp->cache_slot_off);
	struct umem_mag *mag;

	if (prev != 0 && !top_full(prev) && take_prev(cp, m, prev)) {
		mag = top_empty(prev) ? umem__mag_of(prev) : NULL;
		if (mag == NULL || !umem__mag_outgrown(cp, mag))
			return (prev);
		umem__mag_put(mag);
	}
	mag = empty_mag(cp, m->m_cpu);
	return (mag == NULL ? 0 : mag_bottom(mag));
}

void
umem__cpu_put(struct umem_cache *cp, uintptr_t word)
{
	size_t off = (word & 1) != 0 ? 0 : cp->cache_slot_off;
	struct miss m = miss_begin(cp, off, PERCPU_PUSH);

	for (int i = 0; i < ATTEMPTS && m.m_front != NULL; i++) {
		enum percpu_result result =
		    percpu_push_any(m.m_front, off, word);
		uintptr_t top, old;

		if (result == PERCPU_DONE)
			return;
		if (result == PERCPU_TWICE) {
			umem__report_free(
			    cp, umem__word_addr(cp, word), UMEM_BAD_TWICE);
			return;
		}
		top = find_room(cp, &m);
		if (top == 0)
			break;
		old = percpu_top(m.m_front, off);
		if (top_full(old) &&
		    percpu_cas_top(m.m_cpu, m.m_front, off, old, top))
			put_aside(cp, &m, old);
		else
			put_aside(cp, &m, top);
		m.m_front = percpu_enter(&m.m_cpu);
	}
	raw_free(cp, &word, 1);
}

uint64_t
umem__cpu_misses(struct umem_cache *cp, enum percpu_op op)
{
	uint64_t n =
	    atomic_load_explicit(&cp->cache_missed[op], memory_order_relaxed);

	return (
	    cp->cache_slot == 0 ? n : n + percpu_misses(cp->cache_slot, op));
}

/* ---- with debugging ---- */

QR_COLD uintptr_t
umem__cpu_failed(struct umem_cache *cp)
{
	qr_mutex_enter(&cp->cache_slab_lock);
	cp->cache_fails++;
	qr_mutex_exit(&cp->cache_slab_lock);
	umem__log_fail(cp, cp->cache_bufsize);
	return (0);
}

/* What is debugged is called last, and leaves no frame for its audit to pass. */
QR_INLINE uintptr_t
cpu_alloc(struct umem_cache *cp, size_t size)
{
	uintptr_t word;

	if (umem__mtbf_hit(cp->cache_flags))
		return (umem__cpu_failed(cp));
	if (cp->cache_ctl != 0)
		return (umem__debug_alloc(cp, size));
	word = umem__cpu_take(cp);
	return (QR_LIKELY(word != 0) ? word : umem__cpu_failed(cp));
}

uintptr_t
umem__cpu_alloc(struct umem_cache *cp)
{
	return (cpu_alloc(cp, cp->cache_bufsize));
}

/* Classes are of memory: a word is an address. */
void *
umem__class_alloc(struct umem_cache *cp, size_t size)
{
	return ((void *)cpu_alloc(cp, size));
}

void
umem__cpu_free(struct umem_cache *cp, uintptr_t word)
{
	if (cp->cache_ctl != 0)
		umem__debug_free(cp, umem__word_addr(cp, word), UMEM_SIZE_ANY);
	else
		umem__cpu_put(cp, word);
}

/* ---- from outside the CPU ---- */

/*
 * Link the block into a private list through its begin mark.  What lies above
 * the top is made 0, so that the top can be found again.
 */
static void
drain_take(void *arg, uintptr_t top)
{
	struct umem_mag **list = arg;
	struct umem_mag *mag = umem__mag_of(top);

	for (uintptr_t *word = (uintptr_t *)top; (*word & 1) == 0; word++)
		*word = 0;
	umem__mag_link(mag, *list);
	*list = mag;
}

bool
umem__cpu_drain(struct umem_cache *cp)
{
	struct umem_mag *list = NULL, *mag;
	bool done;

	if (cp->cache_slot == 0)
		return (true);
	done = percpu_drain(cp->cache_slot, drain_take, &list);
	while ((mag = list) != NULL) {
		uintptr_t *top = mag->mag_round;

		list = umem__mag_unlink(mag);
		while ((*top & 1) == 0 && *top != 0)
			top++;
		umem__mag_flush(cp, (uintptr_t)top);
	}
	return (done);
}

static void
count_rounds(void *arg, uintptr_t top)
{
	*(size_t *)arg += umem__mag_rounds(top);
}

size_t
umem__cpu_rounds(struct umem_cache *cp)
{
	size_t rounds = 0;

	if (cp->cache_slot != 0)
		percpu_peek(cp->cache_slot, count_rounds, &rounds);
	return (rounds);
}
