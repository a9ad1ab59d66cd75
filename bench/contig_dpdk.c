/*
 * contig_dpdk.c - Debian's DPDK as engines of the benchmark of contiguous
 * memory: contig.sh compiles it, and gives EAL its arguments in DPDK_ARGS.
 *
 *	memzone     rte_memzone_reserve_bounded, which knows alignments and
 *	            boundaries, of virtual addresses, and no windows
 *	rte_malloc  aligned; neither boundaries nor windows
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "contig_rows.h"

#include "harness.h"

#include <rte_eal.h>
#include <rte_malloc.h>
#include <rte_memory.h>
#include <rte_memzone.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Zones have names, and each keeps one of these while it is free. */
enum { NAMES = 2048 };

static char names[NAMES][16];
static char *free_name[NAMES];
static size_t nfree_names;

static void
dpdk_open(size_t size)
{
	char args[512], *argv[32];
	int argc = 0;

	(void)size;
	(void)snprintf(args, sizeof(args), "bench %s", getenv("DPDK_ARGS"));
	for (char *arg = strtok(args, " "); arg != NULL && argc < 31;
	     arg = strtok(NULL, " "))
		argv[argc++] = arg;
	argv[argc] = NULL;
	if (rte_eal_init(argc, argv) < 0)
		bench_die("contig_dpdk: rte_eal_init failed");
	for (size_t i = 0; i < NAMES; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "zone%zu", i);
		free_name[nfree_names++] = names[i];
	}
}

static const struct rte_memzone *last; /* the zone that was had last */

static void *
memzone_get(const struct request *r)
{
	char *name = free_name[--nfree_names];

	last = rte_memzone_reserve_bounded(name, r->r_size, SOCKET_ID_ANY,
	    RTE_MEMZONE_IOVA_CONTIG, (unsigned)r->r_align,
	    (unsigned)r->r_boundary);
	if (last == NULL) {
		nfree_names++;
		return (NULL);
	}
	return ((void *)(uintptr_t)last);
}

/* A zone is freed by its descriptor. */
static void
memzone_put(void *p, size_t size)
{
	const struct rte_memzone *mz = p;

	(void)size;
	free_name[nfree_names++] = names[atoi(mz->name + 4)];
	(void)rte_memzone_free(mz);
}

static void *
malloc_get(const struct request *r)
{
	return (rte_malloc(NULL, r->r_size, (unsigned)r->r_align));
}

static void
malloc_put(void *p, size_t size)
{
	(void)size;
	rte_free(p);
}

static size_t
dpdk_largest(void)
{
	struct rte_malloc_socket_stats st;

	return (rte_malloc_get_socket_stats(0, &st) == 0 ? st.greatest_free_size
							 : 0);
}

static uint64_t
dpdk_translate(const void *p, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += rte_mem_virt2iova((const char *)p + i % 16384 * 64);
	return (sum);
}

int
main(int argc, char **argv)
{
	static const struct engine engines[] = {
	    {"memzone", dpdk_open, memzone_get, memzone_put, NULL, 0, NULL,
		NULL},
	    {"rte_malloc", dpdk_open, malloc_get, malloc_put, NULL, 0,
		dpdk_largest, dpdk_translate},
	};

	return (rows_main(
	    argc, argv, engines, sizeof(engines) / sizeof(engines[0])));
}
