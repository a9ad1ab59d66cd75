/*
 * ids_engines.h - allocators of identifiers that ids_bench compares.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef BENCH_IDS_ENGINES_H
#define BENCH_IDS_ENGINES_H

#include "harness.h"

/* None of them ever fails here: there is always one left. */
struct ids_engine {
	const char *e_name;
	void (*e_create)(uint32_t n); /* identifiers 0 to n - 1 */
	uint32_t (*e_next)(void);
	uint32_t (*e_first)(void); /* or NULL: knows no order */
	bool (*e_specific)(uint32_t id);
	void (*e_put)(uint32_t id);
	size_t (*e_bytes)(void); /* what describes them */
	bool e_sparse;           /* can have 2^31 of them */
};

extern const struct ids_engine *const ids_engines[]; /* NULL behind the last */

#endif /* BENCH_IDS_ENGINES_H */
