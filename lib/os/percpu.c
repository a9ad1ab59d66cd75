/*
 * percpu.c - the fronts: making, entering, draining and looking at them.
 */
#include "os/percpu.h"

#include "base/bits.h"
#include "base/panic.h"
#include "os/os.h"
#include "os/percpu_lock.h"

#include <stdatomic.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/rseq.h>
#include <sys/single_threaded.h>

#ifndef AT_RSEQ_FEATURE_SIZE
#define AT_RSEQ_FEATURE_SIZE 27
#endif

/* Offset of mm_cid in the kernel's struct rseq, and its size up to there. */
enum { RSEQ_CPU_ID = 4, RSEQ_MM_CID = 24, RSEQ_MM_CID_END = 28 };

struct percpu_hot percpu__hot QR_ALIGNED(QR_CACHE_LINE);
struct percpu_tables percpu__tables QR_ALIGNED(QR_CACHE_LINE);
const uintptr_t percpu__null[2] QR_ALIGNED(16) = {1, 1};
bool percpu__restartable;

static const struct percpu_slot slot_null = {PERCPU_NULL, 0};
static struct percpu_slot stub[PERCPU_SLOTS];
static const char *form = "lock";
static unsigned cpu_limit;

/*
 * Guards the fields below, the making of fronts and draining: (f).  It is
 * taken before the lock of any front.
 */
static struct qr_mutex fronts_lock = QR_MUTEX_INIT(QR_RANK_FRONTS);
static unsigned nfronts;                        /* (f) */
static uint64_t slot_used[PERCPU_SLOTS / 64];   /* (f) bit set: open */
static unsigned slot_limit = PERCPU_FIRST_SLOT; /* (f) above all open ever */

static inline struct percpu_front **
front_of(unsigned cpu)
{
	return (&percpu__tables.pt_front[PERCPU_CPUS - 1 - cpu]);
}

static inline struct percpu_slot **
base_of(unsigned cpu)
{
	return (&percpu__tables.pt_base[cpu + 2]);
}

static inline _Atomic uint64_t *
missed_of(struct percpu_front *front, size_t slot)
{
	return (front->f_missed[PERCPU_SLOTS - 1 - slot]);
}

/* Can this thread, and so every thread, use restartable sequences? */
static bool
rseq_usable(void)
{
	if (!PERCPU_HAVE_RSEQ || __rseq_size == 0)
		return (false);
	percpu__hot.h_area = __rseq_offset;
	percpu__hot.h_cpu = __rseq_offset + RSEQ_CPU_ID;
	return (percpu__rseq_cpu() >= 0 && os_rseq_fence());
}

void
percpu_init(enum percpu_want want)
{
	cpu_limit = os_cpu_limit();
	if (cpu_limit > PERCPU_CPUS)
		cpu_limit = PERCPU_CPUS;
	for (unsigned i = 0; i < cpu_limit + 2; i++)
		percpu__tables.pt_base[i] = stub;
	for (unsigned i = 0; i < PERCPU_FIRST_SLOT; i++) {
		slot_used[0] |= (uint64_t)1 << i;
		stub[i] = slot_null;
	}

	percpu__hot.h_area = __rseq_offset;
	percpu__hot.h_cpu = __rseq_offset + RSEQ_CPU_ID;
	if (want == PERCPU_LOCK || !rseq_usable())
		return;
	percpu__restartable = true;
	form = "rseq, cpu";
	if (want == PERCPU_AUTO &&
	    getauxval(AT_RSEQ_FEATURE_SIZE) >= RSEQ_MM_CID_END) {
		percpu__hot.h_cpu = __rseq_offset + RSEQ_MM_CID;
		form = "rseq, mm_cid";
	}
}

const char *
percpu_form(void)
{
	return (form);
}

unsigned
percpu_slot_open(void)
{
	unsigned slot = 0;

	qr_mutex_enter(&fronts_lock);
	for (unsigned i = 0; i < QR_ARRAY_LEN(slot_used) && slot == 0; i++) {
		if (~slot_used[i] == 0)
			continue;
		slot = i * 64 + (unsigned)__builtin_ctzl(~slot_used[i]);
		slot_used[i] |= (uint64_t)1 << (slot % 64);
	}
	if (slot >= slot_limit)
		slot_limit = slot + 1;
	stub[slot] = slot_null;
	for (unsigned i = 0; i < cpu_limit && nfronts > 0; i++) {
		struct percpu_front *front = *front_of(i);

		if (front == NULL)
			continue;
		front->f_slot[slot] = slot_null;
		for (unsigned op = 0; op < PERCPU_OPS; op++)
			missed_of(front, slot)[op] = 0;
	}
	qr_mutex_exit(&fronts_lock);
	return (slot);
}

void
percpu_slot_close(unsigned slot)
{
	qr_mutex_enter(&fronts_lock);
	slot_used[slot / 64] &= ~((uint64_t)1 << (slot % 64));
	qr_mutex_exit(&fronts_lock);
}

/* The slots that are used most, and what is before them on their page. */
enum {
	SLOTS_BYTES = 96 * sizeof(struct percpu_slot),
	MISSED_BYTES = 96 * PERCPU_OPS * sizeof(uint64_t) + QR_CACHE_LINE,
};

/*
 * Where on a page the slots begin.  A load waits for an earlier store to an
 * address with the same low 12 bits, as if it read what was stored: each
 * operation reads struct rseq, and the one before it has stored to a slot.  So
 * the slots that are used most are not where this thread, the first one in most
 * programs, has that, and end before where glibc puts it in all others.
 */
static size_t
slots_begin(void)
{
	enum { ALIAS = 4096, RSEQ_BYTES = 32, OTHERS = ALIAS - RSEQ_BYTES };
	size_t begin = MISSED_BYTES, first, behind;

	if (!percpu__restartable)
		return (begin);
	first = percpu__rseq_area() % ALIAS;
	behind = qr_roundup(first + RSEQ_BYTES, QR_CACHE_LINE);
	if (behind <= begin || first >= begin + SLOTS_BYTES)
		return (begin);
	if (behind + SLOTS_BYTES <= OTHERS)
		return (behind);
	return (qr_rounddown(first - SLOTS_BYTES, QR_CACHE_LINE));
}

static QR_NOINLINE struct percpu_front *
front_make(unsigned cpu)
{
	struct percpu_front *front;
	size_t page = os_page_size();
	size_t skew = (slots_begin() - offsetof(struct percpu_front, f_slot)) &
	    (page - 1);

	qr_mutex_enter(&fronts_lock);
	front = *front_of(cpu);
	if (front == NULL) {
		char *map =
		    os_map(qr_roundup(skew + sizeof(*front), page), page);

		if (map != NULL) {
			front = (void *)(map + skew);
			qr_mutex_init(&front->f_lock, QR_RANK_CPU);
			for (unsigned i = 0; i < slot_limit; i++)
				front->f_slot[i] = slot_null;
			nfronts++;
			__atomic_store_n(
			    front_of(cpu), front, __ATOMIC_RELEASE);
			if (percpu__restartable)
				__atomic_store_n(base_of(cpu), front->f_slot,
				    __ATOMIC_RELEASE);
		}
	}
	qr_mutex_exit(&fronts_lock);
	return (front);
}

struct percpu_front *
percpu_enter(unsigned *cpup)
{
	struct percpu_front *front;
	unsigned cpu = percpu_cpu();

	if (cpu >= cpu_limit)
		return (NULL);
	*cpup = cpu;
	front = __atomic_load_n(front_of(cpu), __ATOMIC_ACQUIRE);
	if (front == NULL)
		front = front_make(cpu);
	if (front != NULL && percpu__restartable &&
	    __atomic_load_n(base_of(cpu), __ATOMIC_ACQUIRE) != front->f_slot)
		return (NULL);
	return (front);
}

uintptr_t
percpu_pop_any(struct percpu_front *front, size_t off)
{
	return (percpu__restartable ? percpu_pop(off)
				    : percpu__lock_pop(front, off));
}

enum percpu_result
percpu_push_any(struct percpu_front *front, size_t off, uintptr_t word)
{
	uintptr_t top;

	if (!percpu__restartable)
		return (percpu__lock_push(front, off, word));
	if (percpu__rseq_push(off, word))
		return (PERCPU_DONE);
	/*
	 * Without exclusion, but whatever block the top belongs to by now: a
	 * word that is being pushed must not be found in any of them.
	 */
	top = percpu_top(front, off);
	if (__atomic_load_n((uintptr_t *)top - 1, __ATOMIC_RELAXED) == word)
		return (PERCPU_TWICE);
	return (PERCPU_FULL);
}

static struct percpu_slot *
slot_at(struct percpu_front *front, size_t off)
{
	return ((void *)((char *)front->f_slot + off));
}

static uintptr_t
word_read(struct percpu_front *front, const uintptr_t *word)
{
	uintptr_t value;

	if (percpu__restartable)
		return (__atomic_load_n(word, __ATOMIC_RELAXED));
	qr_mutex_enter(&front->f_lock);
	value = *word;
	qr_mutex_exit(&front->f_lock);
	return (value);
}

static bool
word_cas(unsigned cpu, struct percpu_front *front, uintptr_t *word,
    uintptr_t old, uintptr_t new)
{
	return (percpu__restartable
		? percpu__rseq_cas(cpu, front, word, old, new)
		: percpu__lock_cas(front, word, old, new));
}

uintptr_t
percpu_top(struct percpu_front *front, size_t off)
{
	return (word_read(front, &slot_at(front, off)->s_top));
}

uintptr_t
percpu_prev(struct percpu_front *front, size_t off)
{
	return (word_read(front, &slot_at(front, off)->s_prev));
}

bool
percpu_cas_top(unsigned cpu, struct percpu_front *front, size_t off,
    uintptr_t old, uintptr_t new)
{
	return (word_cas(cpu, front, &slot_at(front, off)->s_top, old, new));
}

bool
percpu_cas_prev(unsigned cpu, struct percpu_front *front, size_t off,
    uintptr_t old, uintptr_t new)
{
	return (word_cas(cpu, front, &slot_at(front, off)->s_prev, old, new));
}

uint64_t
percpu_missed(struct percpu_front *front, size_t off, enum percpu_op op)
{
	size_t slot = off / sizeof(struct percpu_slot);

	return (atomic_fetch_add_explicit(
	    &missed_of(front, slot)[op], 1, memory_order_relaxed));
}

uint64_t
percpu_misses(unsigned slot, enum percpu_op op)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < cpu_limit; i++) {
		struct percpu_front *front =
		    __atomic_load_n(front_of(i), __ATOMIC_ACQUIRE);

		if (front != NULL)
			n += atomic_load_explicit(
			    &missed_of(front, slot)[op], memory_order_relaxed);
	}
	return (n);
}

/* Take the blocks of `slot` from one front that is ours alone. */
static void
front_take(struct percpu_front *front, unsigned slot,
    void (*take)(void *, uintptr_t), void *arg)
{
	struct percpu_slot *s = &front->f_slot[slot];

	if (s->s_top != PERCPU_NULL)
		take(arg, s->s_top);
	if (s->s_prev != 0)
		take(arg, s->s_prev);
	*s = slot_null;
}

/* Hide every front behind the stub, or bring it back. */
static void
fronts_hide(bool hide)
{
	for (unsigned i = 0; i < cpu_limit; i++) {
		if (*front_of(i) != NULL)
			__atomic_store_n(base_of(i),
			    hide ? stub : (*front_of(i))->f_slot,
			    __ATOMIC_RELEASE);
	}
}

bool
percpu_drain(unsigned slot, void (*take)(void *arg, uintptr_t top), void *arg)
{
	bool ok = true;

	qr_mutex_enter(&fronts_lock);
	if (percpu__restartable) {
		fronts_hide(true);
		/* Who is alone need not ask, and in a sandbox may not. */
		ok = __libc_single_threaded || os_rseq_fence();
	}
	for (unsigned i = 0; i < cpu_limit && ok; i++) {
		struct percpu_front *front = *front_of(i);

		if (front == NULL)
			continue;
		qr_mutex_enter(&front->f_lock);
		front_take(front, slot, take, arg);
		qr_mutex_exit(&front->f_lock);
	}
	if (percpu__restartable)
		fronts_hide(false);
	qr_mutex_exit(&fronts_lock);
	return (ok);
}

void
percpu_peek(unsigned slot, void (*look)(void *arg, uintptr_t top), void *arg)
{
	qr_mutex_enter(&fronts_lock);
	for (unsigned i = 0; i < cpu_limit; i++) {
		struct percpu_front *front = *front_of(i);
		struct percpu_slot *s;
		uintptr_t top, prev;

		if (front == NULL)
			continue;
		s = &front->f_slot[slot];
		qr_mutex_enter(&front->f_lock);
		top = __atomic_load_n(&s->s_top, __ATOMIC_RELAXED);
		prev = __atomic_load_n(&s->s_prev, __ATOMIC_RELAXED);
		if (top != PERCPU_NULL)
			look(arg, top);
		if (prev != 0)
			look(arg, prev);
		qr_mutex_exit(&front->f_lock);
	}
	qr_mutex_exit(&fronts_lock);
}

unsigned
percpu_fronts(size_t *bytes)
{
	*bytes = nfronts * sizeof(struct percpu_front);
	return (nfronts);
}

void
percpu_lock_all(void)
{
	qr_mutex_enter_nested(&fronts_lock);
	for (unsigned i = 0; i < cpu_limit; i++) {
		if (*front_of(i) != NULL)
			qr_mutex_enter_nested(&(*front_of(i))->f_lock);
	}
}

void
percpu_unlock_all(void)
{
	for (unsigned i = 0; i < cpu_limit; i++) {
		if (*front_of(i) != NULL)
			qr_mutex_exit(&(*front_of(i))->f_lock);
	}
	qr_mutex_exit(&fronts_lock);
}
