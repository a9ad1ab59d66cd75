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
	uint64_t concurrency;   /* rings of a log; 0: one for each CPU */
	uint64_t contention;    /* in an interval, before magazines grow */
	uint64_t ignored;       /* options of libumem without a meaning here */
	/* UMEM_DEBUG */
	uint32_t debug;     /* UMF_*, for every cache */
	uint64_t frames;    /* of a stack, in an audit */
	uint64_t contents;  /* bytes of an object that are saved */
	uint64_t maxverify; /* bytes of an object that hold a pattern */
	uint64_t firewall;  /* smallest object that is firewalled */
	uint64_t mtbf;      /* umem_setmtbf() */
	bool debug_verbose; /* reports are whole */
	bool noabort;       /* report a bad free, and go on */
	/* UMEM_LOGGING: bytes */
	uint64_t log_transaction;
	uint64_t log_contents;
	uint64_t log_fail;
	uint64_t log_slab;
	/* QUARRY_OPTIONS */
	bool stats;         /* print all caches and arenas at exit */
	bool verbose;       /* one line at start-up */
	bool nothread;      /* maintenance by callers only */
	bool nowatch;       /* nothing is told to Valgrind */
	bool harden;        /* check each object at each free */
	uint64_t percpu;    /* enum percpu_want */
	uint64_t idle_max;  /* bytes kept idle in the heap */
	uint64_t depot_max; /* bytes kept idle in depots */
};

extern QR_HIDDEN struct umem_options umem__opt;

/*
 * Ask the functions _umem_*_init() of the main program, where the environment
 * says nothing.  Called without a lock: they may allocate, which then goes on
 * without their answer.
 */
void umem__options_ask(void);
/* Read the environment; called once, before anything is made. */
void umem__options_read(void);

#endif /* QR_UMEM_OPTIONS_H */
