/*
 * vmem_park.c - free blocks that wait, whole, for the next request of their
 * size on the same CPU.
 *
 * Threads that free and allocate large blocks in turn would meet at a lock,
 * to take apart what they put together just before.  A word of a slot is a run
 * and how many pages of the page map it has, so that who wants another size need
 * not take it; 0: the slot is empty.  Whoever takes the word out owns the run.  No
 * clock is read: a purge leaves a mark on what waits, and the next takes what has
 * one.
 */
#include "vmem/vmem_heap.h"

#include "base/bits.h"
#include "base/panic.h"
#include "meta/pagemap.h"
#include "os/percpu.h"

#include <stdatomic.h>
#include <sys/single_threaded.h>

enum {
	/* CPUs share slots where there are more: what waits is in the cap. */
	SLOTS = 16,
	PAGES = INT16_MAX,    /* of a word: how many */
	SEEN = INT16_MAX + 1, /* of a word: it waited at the last purge */
};

static struct {
	_Atomic uint64_t pk_word;
} QR_ALIGNED(QR_CACHE_LINE) slots[SLOTS];

static _Atomic uint32_t used;  /* bit i: slot i has been used */
static _Atomic size_t run_max; /* bytes; longer ones do not wait */

void
vmem__park_set_idle_max(size_t bytes)
{
	atomic_store_explicit(&run_max,
	    qr_min(bytes / SLOTS, PAGES * PAGEMAP_PAGE), memory_order_relaxed);
}

static unsigned
slot_here(void)
{
	return (percpu_cpu() % SLOTS);
}

/*
 * What was in the slot, for what is; or nothing for what was, if it is still
 * there.  Nobody can come between where there is one thread.
 */
static uint64_t
slot_swap(_Atomic uint64_t *slot, uint64_t word)
{
	uint64_t was;

	if (!__libc_single_threaded)
		return (
		    atomic_exchange_explicit(slot, word, memory_order_acq_rel));
	was = atomic_load_explicit(slot, memory_order_relaxed);
	atomic_store_explicit(slot, word, memory_order_relaxed);
	return (was);
}

static bool
slot_take(_Atomic uint64_t *slot, uint64_t word)
{
	if (!__libc_single_threaded)
		return (atomic_compare_exchange_strong_explicit(slot, &word, 0,
		    memory_order_acquire, memory_order_relaxed));
	atomic_store_explicit(slot, 0, memory_order_relaxed);
	return (true);
}

static void
slot_use(unsigned i)
{
	if (QR_UNLIKELY(
		(atomic_load_explicit(&used, memory_order_relaxed) >> i & 1) ==
		0))
		atomic_fetch_or(&used, (uint32_t)1 << i);
}

static size_t
word_bytes(uint64_t word)
{
	return ((word & PAGES) * PAGEMAP_PAGE);
}

/* The run becomes what it was before it had to wait. */
static struct vmem__run *
wake(uint64_t word)
{
	struct vmem__run *run = pagemap_descriptor(word);

	QR_ASSERT(
	    run->rn_kind == HEAP_FREE && run->rn_size == word_bytes(word));
	run->rn_kind = HEAP_BLOCK;
	return (run);
}

bool
vmem__park(struct vmem__run *run)
{
	size_t size = run->rn_size;
	uint64_t word = pagemap_word(run, (unsigned)(size / PAGEMAP_PAGE));
	unsigned i = slot_here();

	if (run->rn_leaving ||
	    size > atomic_load_explicit(&run_max, memory_order_relaxed)) {
		vmem__run_free(run);
		return (true);
	}
	run->rn_kind = HEAP_FREE;
	slot_use(i);
	word = slot_swap(&slots[i].pk_word, word);
	if (word == 0)
		return (false);
	vmem__run_free(wake(word));
	return (true);
}

struct vmem__run *
vmem__unpark(size_t size)
{
	_Atomic uint64_t *slot = &slots[slot_here()].pk_word;
	uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);

	if (word == 0 || word_bytes(word) != size || !slot_take(slot, word))
		return (NULL);
	return (wake(word));
}

void
vmem__park_purge(bool all)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		_Atomic uint64_t *slot = &slots[i].pk_word;
		uint64_t word =
		    atomic_load_explicit(slot, memory_order_relaxed);

		if (word == 0)
			continue;
		if (!all && (word & SEEN) == 0) {
			(void)atomic_compare_exchange_strong_explicit(slot,
			    &word, word | SEEN, memory_order_relaxed,
			    memory_order_relaxed);
			continue;
		}
		word = slot_swap(slot, 0);
		if (word != 0)
			vmem__run_free(wake(word));
	}
}

size_t
vmem__parked(size_t *runs)
{
	size_t bytes = 0;

	*runs = 0;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint64_t word = atomic_load_explicit(
		    &slots[i].pk_word, memory_order_relaxed);

		*runs += word != 0;
		bytes += word_bytes(word);
	}
	return (bytes);
}

/* CPUs have low indexes first. */
size_t
vmem__parked_most(void)
{
	uint32_t n = atomic_load_explicit(&used, memory_order_relaxed);

	return (n == 0 ? 0
		       : (qr_log2(n) + 1) *
		    atomic_load_explicit(&run_max, memory_order_relaxed));
}
