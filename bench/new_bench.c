/*
 * new_bench.c - the rows of the benchmark of operators new and delete.
 *
 * Calls them as compiled C++ does, delete with the size; which allocator answers
 * is decided by LD_PRELOAD.  Rows, in ns per pair of new and delete:
 *
 *	pair     one object of 64 bytes
 *	batch    100 of 64 bytes, in the order in which they were made
 *	list     a list of 50 nodes of 24 bytes: one comes, one goes
 *	strings  replace a random one of 1000 arrays of 31 to 286 bytes
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "harness.h"

enum { PAIRS = 1000 };

void *new_one(size_t size) __asm__("_Znwm");
void *new_array(size_t size) __asm__("_Znam");
void delete_sized(void *p, size_t size) __asm__("_ZdlPvm");
void delete_array(void *p) __asm__("_ZdaPv");

static uint64_t
pair_unit(struct bench_worker *w)
{
	size_t size = w->bw_row->br_size;

	for (int i = 0; i < PAIRS; i++) {
		void *p = new_one(size);

		bench_keep(p);
		delete_sized(p, size);
	}
	return (PAIRS);
}

static void
slots_setup(struct bench_worker *w)
{
	w->bw_state = bench_map(w->bw_row->br_count * sizeof(void *));
}

static uint64_t
batch_unit(struct bench_worker *w)
{
	size_t size = w->bw_row->br_size;
	size_t count = w->bw_row->br_count;
	void **slots = w->bw_state;

	for (size_t i = 0; i < count; i++) {
		slots[i] = new_one(size);
		bench_keep(slots[i]);
	}
	for (size_t i = 0; i < count; i++)
		delete_sized(slots[i], size);
	return (count);
}

struct node {
	struct node *n_next, *n_prev;
	int n_value;
};

static uint64_t
list_unit(struct bench_worker *w)
{
	struct node head = {&head, &head, 0};
	size_t count = w->bw_row->br_count;

	for (size_t i = 0; i < PAIRS; i++) {
		struct node *n = new_one(sizeof(*n));

		*n = (struct node){&head, head.n_prev, (int)i};
		n->n_prev->n_next = n;
		head.n_prev = n;
		if (i < count)
			continue;
		n = head.n_next;
		head.n_next = n->n_next;
		n->n_next->n_prev = &head;
		delete_sized(n, sizeof(*n));
	}
	while (head.n_next != &head) {
		struct node *n = head.n_next;

		head.n_next = n->n_next;
		delete_sized(n, sizeof(*n));
	}
	return (PAIRS);
}

static uint64_t
strings_unit(struct bench_worker *w)
{
	char **slots = w->bw_state;

	for (int i = 0; i < PAIRS; i++) {
		uint64_t r = bench_random(w);
		char **slot = &slots[bench_below(r, w->bw_row->br_count)];

		delete_array(*slot);
		*slot = new_array(31 + (r >> 56));
		**slot = 's';
	}
	return (PAIRS);
}

/* name, setup, unit, size, count, flags */
static const struct bench_row rows[] = {
    {"pair", NULL, pair_unit, 64, 0, 0},
    {"batch", slots_setup, batch_unit, 64, 100, 0},
    {"list", NULL, list_unit, 0, 50, 0},
    {"strings", slots_setup, strings_unit, 0, 1000, 0},
};

int
main(int argc, char **argv)
{
	return (bench_main(argc, argv, rows, sizeof(rows) / sizeof(rows[0])));
}
