/*
 * pagemap.c - choosing the window, and writing the words.
 */
#include "meta/pagemap.h"

#include "base/bits.h"
#include "os/os.h"

#include <stdatomic.h>

/* All of user space, and the least window worth having. */
#define WINDOW_MAX ((size_t)1 << OS_ADDRESS_BITS)
#define WINDOW_MIN ((size_t)1 << 32)
/* Valgrind's programs are small, and it reads the whole table. */
#define WINDOW_VALGRIND ((size_t)1 << 36)

/* The table can be written in parts of 1 MiB, for 2 GiB of addresses each. */
enum { PART_SHIFT = 17 };
static _Atomic uint64_t
    admitted[WINDOW_MAX >> PAGEMAP_SHIFT >> PART_SHIFT >> 6];

struct pagemap pagemap__table QR_ALIGNED(QR_CACHE_LINE);

static uint64_t *
table_map(size_t window)
{
	return (os_map_zeros(qr_roundup(
	    (window >> PAGEMAP_SHIFT) * sizeof(uint64_t), os_page_size())));
}

bool
pagemap_init(void)
{
	size_t limit = os_address_space_limit();
	size_t window = WINDOW_MAX;
	uint64_t *table = NULL;
	uintptr_t first = 0;

	if (limit < WINDOW_MAX / 8)
		window = qr_max(qr_pow2up(limit) * 8, WINDOW_MIN);
	if (os_on_valgrind())
		window = qr_min(window, WINDOW_VALGRIND);
	while (window >= WINDOW_MIN && (table = table_map(window)) == NULL)
		window /= 4;
	if (table == NULL)
		return (false);
	if (window < WINDOW_MAX) {
		/* The table itself is where the kernel maps things. */
		first = (uintptr_t)table - qr_min((uintptr_t)table, window / 2);
		first >>= PAGEMAP_SHIFT;
	}
	pagemap__table.pm_word = table;
	pagemap__table.pm_first = first;
	__atomic_store_n(&pagemap__table.pm_count, window >> PAGEMAP_SHIFT,
	    __ATOMIC_RELEASE);
	if (first == 0)
		pagemap__table.pm_whole = pagemap__table.pm_count;
	return (true);
}

bool
pagemap_covers(const void *addr, size_t size)
{
	uintptr_t first = (uintptr_t)addr >> PAGEMAP_SHIFT;
	uintptr_t last = ((uintptr_t)addr + size - 1) >> PAGEMAP_SHIFT;

	return (first - pagemap__table.pm_first < pagemap__table.pm_count &&
	    last - pagemap__table.pm_first < pagemap__table.pm_count);
}

static bool
part_admit(uintptr_t part)
{
	uint64_t bit = (uint64_t)1 << (part % 64);
	uint64_t *word = &pagemap__table.pm_word[part << PART_SHIFT];

	if ((atomic_load(&admitted[part / 64]) & bit) != 0)
		return (true);
	if (!os_let_write(word, sizeof(*word) << PART_SHIFT))
		return (false);
	atomic_fetch_or(&admitted[part / 64], bit);
	return (true);
}

bool
pagemap_admit(const void *addr, size_t size)
{
	uintptr_t first = (uintptr_t)addr >> PAGEMAP_SHIFT;
	uintptr_t last = ((uintptr_t)addr + size - 1) >> PAGEMAP_SHIFT;
	uintptr_t end = (last - pagemap__table.pm_first) >> PART_SHIFT;

	if (!pagemap_covers(addr, size))
		return (false);
	for (uintptr_t part = (first - pagemap__table.pm_first) >> PART_SHIFT;
	     part <= end; part++) {
		if (!part_admit(part))
			return (false);
	}
	return (true);
}

void
pagemap_set(const void *addr, size_t size, uint64_t word)
{
	const char *page = addr;

	for (size_t n = size >> PAGEMAP_SHIFT; n > 0; n--, page += PAGEMAP_PAGE)
		pagemap_put(page, word);
}
