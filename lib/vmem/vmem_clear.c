/*
 * vmem_clear.c - blocks that are to read as zero, and whether they are used.
 *
 * What was used before can be cleared, or be taken from us by the kernel.  That
 * costs a tenth where nobody writes to it, and twenty times as much where somebody
 * does, one page fault after another.  So we look at a page of each such block
 * when it is freed: if those of so many in a row still read as zero, the kernel
 * does it, and we look now and then.  Each time that was wrong, it takes more of
 * them.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_heap.h"

#include "base/bits.h"
#include "os/os.h"
#include "os/os_lock.h"
#include "os/os_watch.h"

#include <stdatomic.h>

enum { NEED_FIRST = 32, NEED_GROWS = 8, NEED_MAX = 16384, LOOK_EVERY = 32 };

/*
 * Of about one size.  What two threads do to one at once may be lost: it is no
 * more than experience.
 */
struct habit {
	_Atomic uint16_t ha_turn; /* looks */
	_Atomic uint16_t ha_need; /* pages in a row, or 0: NEED_FIRST */
	/* So many were zero; above ha_need, frees until we look again. */
	_Atomic uint16_t ha_row;
};

/* By power of two of the size. */
static struct habit habits[64];

/*
 * Two threads that give memory back at once have the kernel flush all TLBs, which
 * takes ten times as long as what they ask for.
 */
static struct qr_mutex clear_lock = QR_MUTEX_INIT(QR_RANK_CLEAR);

static struct habit *
habit_of(const struct vmem__run *run)
{
	return (&habits[qr_log2(run->rn_asked)]);
}

static unsigned
get(_Atomic uint16_t *from)
{
	return (atomic_load_explicit(from, memory_order_relaxed));
}

static void
set(_Atomic uint16_t *to, unsigned value)
{
	atomic_store_explicit(to, (uint16_t)value, memory_order_relaxed);
}

static unsigned
need_of(struct habit *ha)
{
	return (qr_max(get(&ha->ha_need), (unsigned)NEED_FIRST));
}

bool
vmem__run_clear(struct vmem__run *run)
{
	struct habit *ha = habit_of(run);
	bool done;

	if (get(&ha->ha_row) < need_of(ha))
		return (false);
	qr_mutex_enter(&clear_lock);
	done = os_purge((void *)run->rn_addr, run->rn_size);
	qr_mutex_exit(&clear_lock);
	return (done);
}

/* Some page of it, each time another. */
static QR_UNCHECKED bool
looks_untouched(const struct vmem__run *run, size_t turn)
{
	size_t page = os_page_size();
	size_t pages = qr_max(run->rn_asked / page, (size_t)1);
	size_t at = turn * 2654435769 % pages * page;
	const uint64_t *word = (const uint64_t *)(run->rn_addr + at);

	for (size_t i = 0; i < page / sizeof(*word); i++)
		if (word[i] != 0)
			return (false);
	return (true);
}

void
vmem__run_look(const struct vmem__run *run)
{
	struct habit *ha = habit_of(run);
	unsigned row = get(&ha->ha_row), need = need_of(ha);
	unsigned turn = get(&ha->ha_turn);

	if (os_watching())
		return;
	if (row > need) {
		set(&ha->ha_row, row - 1);
		return;
	}
	set(&ha->ha_turn, turn + 1);
	if (looks_untouched(run, turn)) {
		row = row + 1 < need ? row + 1 : need + LOOK_EVERY;
	} else {
		if (row == need)
			set(&ha->ha_need, qr_min(need * NEED_GROWS, NEED_MAX));
		row = 0;
	}
	set(&ha->ha_row, row);
}

void
vmem__clear_lock(void)
{
	qr_mutex_enter_nested(&clear_lock);
}

void
vmem__clear_unlock(void)
{
	qr_mutex_exit(&clear_lock);
}
