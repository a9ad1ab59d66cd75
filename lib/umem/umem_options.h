/*
 * umem_options.h - what the environment asks for.
 */
#ifndef QR_UMEM_OPTIONS_H
#define QR_UMEM_OPTIONS_H

#include "base/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Every option, at its default until umem__options_read(). */
struct umem_options {
	/* UMEM_OPTIONS */
	bool nomagazines;       /* every cache goes to its slabs */
	uint64_t reap_interval; /* seconds between two umem_reap() */
	uint64_t policy;        /* VM_BESTFIT ... for every vmem_alloc */
	/* UMEM_DEBUG */
	bool guards;  /* check each object at each free */
	bool noabort; /* report a bad free, and go on */
	/* QUARRY_OPTIONS */
	bool stats;         /* print all caches and arenas at exit */
	bool verbose;       /* one line at start-up */
	bool nothread;      /* maintenance by callers only */
	bool harden;        /* check each object at each free */
	uint64_t percpu;    /* enum percpu_want */
	uint64_t idle_max;  /* bytes kept idle in the heap */
	uint64_t depot_max; /* bytes kept idle in depots */
};

extern QR_HIDDEN struct umem_options umem__opt;

/* Read the environment; called once, before anything is made. */
void umem__options_read(void);

#endif /* QR_UMEM_OPTIONS_H */
