/*
 * meta_purge.c - the pages of records that are free.
 *
 * After a peak most records are free, in the order in which they were put back.
 * A purge takes them all away from their pool, sorts them by address, and looks
 * for runs of neighbours with whole pages between their first record and their
 * last.  What is on those goes back to the system; the run reads as zero then,
 * and is carved again like one that is new.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "meta/meta.h"

#include "base/bits.h"
#include "os/os.h"

#include <stdint.h>
#include <string.h>

enum {
	PURGE_BYTES = 64 << 10, /* of free records, for it to be worth a look */
	LISTS = 64,
};

/* Of two lists in ascending order, one. */
static void *
merge(void *a, void *b)
{
	void *all = NULL, **link = &all;

	while (a != NULL && b != NULL) {
		void **least = (uintptr_t)a < (uintptr_t)b ? &a : &b;

		*link = *least;
		link = *least;
		*least = *link;
	}
	*link = a != NULL ? a : b;
	return (all);
}

static void *
sort(void *list)
{
	void *sorted[LISTS] = {NULL}; /* [i]: of 2^i records, or none */
	size_t i;

	while (list != NULL) {
		void *one = list;

		list = *(void **)one;
		*(void **)one = NULL;
		for (i = 0; sorted[i] != NULL; i++) {
			one = merge(sorted[i], one);
			sorted[i] = NULL;
		}
		sorted[i] = one;
	}
	for (i = 0; i < LISTS; i++)
		list = merge(sorted[i], list);
	return (list);
}

/* The bytes of [first, end) that were given back; all but `size` is zero then. */
static size_t
run_purge(char *first, char *end, size_t size)
{
	size_t page = os_page_size();
	char *rest = first + size;
	char *from = rest + qr_nphase((uintptr_t)rest, page);
	char *to = end - qr_phase((uintptr_t)end, page);

	if (from >= to || !os_purge(from, (size_t)(to - from)))
		return (0);
	memset(rest, 0, (size_t)(from - rest));
	memset(to, 0, (size_t)(end - to));
	return ((size_t)(to - from));
}

/* Take all free records out of the pool; NULL if it is not worth it. */
static void *
take_all(struct meta_pool *mp, bool always)
{
	void *list = NULL;

	qr_mutex_enter(&mp->mp_lock);
	if (always ||
	    (mp->mp_nfree * mp->mp_size >= PURGE_BYTES &&
		mp->mp_nfree / 2 >= mp->mp_kept)) {
		list = mp->mp_free;
		mp->mp_total -= mp->mp_nfree;
		mp->mp_free = NULL;
		mp->mp_nfree = 0;
		mp->mp_purging = list != NULL;
	}
	qr_mutex_exit(&mp->mp_lock);
	return (list);
}

size_t
meta__pool_purge(struct meta_pool *mp, bool always)
{
	struct meta_zeros *zeros = NULL, **zlink = &zeros;
	void *list = sort(take_all(mp, always));
	void *kept = NULL, **link = &kept;
	size_t given = 0, nkept = 0, some;

	if (list == NULL)
		return (0);
	while (list != NULL) {
		char *first = list, *end = first;

		for (; list == end; end += mp->mp_size)
			list = *(void **)list;
		some = run_purge(first, end, mp->mp_size);
		given += some;
		if (some != 0) {
			*zlink = (void *)first;
			(*zlink)->z_end = end;
			zlink = &(*zlink)->z_next;
			continue;
		}
		for (; first < end; first += mp->mp_size, nkept++) {
			*link = first;
			link = (void **)first;
		}
	}
	qr_mutex_enter(&mp->mp_lock);
	*link = mp->mp_free;
	mp->mp_free = kept;
	*zlink = mp->mp_zeros;
	mp->mp_zeros = zeros;
	mp->mp_nfree += nkept;
	mp->mp_total += nkept;
	mp->mp_kept = nkept;
	mp->mp_purging = false;
	qr_mutex_exit(&mp->mp_lock);
	return (given);
}
