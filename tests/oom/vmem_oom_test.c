/*
 * vmem_oom_test.c - arenas when memory is refused: for their records as well
 * as for their tables, by every policy and constraint.
 */
#include "support/child.h"
#include "support/survive.h"
#include "support/umem_look.h"

#include <quarry/vmem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { QUANTUM = 16, SPAN = 1 << 20, PIECES = 600, APART = 1 << 12 };

static struct piece {
	uintptr_t p_addr; /* 0: none */
	size_t p_size;
	bool p_x; /* from vmem_xalloc_addr() */
} pieces[PIECES];
static vmem_t *source, *arena;

/* ---- an arena that imports ---- */

static void
drop(struct piece *p)
{
	if (p->p_x)
		vmem_xfree_addr(arena, p->p_addr, p->p_size);
	else
		vmem_free(arena, (void *)p->p_addr, p->p_size);
	p->p_addr = 0;
}

static void
leave(void)
{
	for (size_t i = 0; i < PIECES; i++) {
		if (pieces[i].p_addr != 0)
			drop(&pieces[i]);
	}
	if (arena != NULL)
		vmem_destroy(arena);
	if (source != NULL)
		vmem_destroy(source);
	arena = source = NULL;
}

static bool
make(size_t qcache_max)
{
	source = vmem_create("source", (void *)SPAN, 8 * (size_t)SPAN, QUANTUM,
	    NULL, NULL, NULL, 0, VM_NOSLEEP | VMC_IDENTIFIER);
	if (source == NULL)
		return (false);
	arena = vmem_create("arena", NULL, 0, QUANTUM, vmem_alloc, vmem_free,
	    source, qcache_max, VM_NOSLEEP | VMC_IDENTIFIER);
	return (arena != NULL &&
	    vmem_add(arena, (void *)((uintptr_t)64 * SPAN), SPAN, VM_NOSLEEP) !=
		NULL);
}

/* Each policy and each constraint in turn, with holes between. */
static bool
take(size_t i)
{
	static const int policies[] = {
	    0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT, VM_ENDALLOC};
	static const struct {
		size_t align, phase, nocross;
		uintptr_t min, max;
	} constraints[7] = {
	    [1] = {.align = 256, .phase = 32},
	    [2] = {.nocross = 4096},
	    [3] = {.min = 64 * SPAN, .max = 65 * SPAN},
	};
	int flags = VM_NOSLEEP | policies[i % 5];
	struct piece *p = &pieces[i];
	size_t c = i % 7;

	p->p_size = (1 + i * 7 % 50) * QUANTUM;
	p->p_x = c != 0;
	if (p->p_x)
		(void)vmem_xalloc_addr(arena, p->p_size, constraints[c].align,
		    constraints[c].phase, constraints[c].nocross,
		    constraints[c].min, constraints[c].max, flags, &p->p_addr);
	else
		p->p_addr = (uintptr_t)vmem_alloc(arena, p->p_size, flags);
	return (p->p_addr != 0);
}

static bool
use(size_t qcache_max)
{
	bool ok = make(qcache_max);

	for (size_t i = 0; i < PIECES && ok; i++) {
		ok = take(i);
		if (ok && i % 3 == 2)
			drop(&pieces[i - 1]);
	}
	if (!ok)
		leave();
	return (ok);
}

static bool
use_plain(void)
{
	return (use(0));
}

static bool
use_quantum_caches(void)
{
	return (use(8 * (size_t)QUANTUM));
}

static void
every_policy_and_constraint_is_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, use_plain, leave, false});
}

static void
with_quantum_caches_too(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, use_quantum_caches, leave, false});
}

/* ---- spans ---- */

static bool
add_spans(void)
{
	uintptr_t got;
	bool ok;

	arena = vmem_create("spans", NULL, 0, QUANTUM, NULL, NULL, NULL, 0,
	    VM_NOSLEEP | VMC_IDENTIFIER);
	ok = arena != NULL;
	for (uintptr_t i = 1; i < PIECES && ok; i++)
		ok = vmem_add_addr(arena, i * APART, (1 + i % 9) * QUANTUM,
			 VM_NOSLEEP) == 0;
	if (ok &&
	    vmem_xalloc_addr(arena, QUANTUM, 0, 0, 0, 5 * APART, 0,
		VM_NOSLEEP | VM_FIRSTFIT, &got) == 0)
		vmem_xfree_addr(arena, got, QUANTUM);
	else
		ok = false;
	if (!ok)
		leave();
	return (ok);
}

static void
spans_are_added_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, add_spans, leave, false});
}

/* ---- arenas ---- */

static void
make_mandatory(void *arg)
{
	(void)arg;
	failsys_reset();
	failsys_from(FAILSYS_RECORD, 1, ENOMEM);
	(void)vmem_create(
	    "must", NULL, 0, QUANTUM, NULL, NULL, NULL, 0, VM_PANIC);
}

static void
make_patiently(void *arg)
{
	(void)arg;
	failsys_reset();
	failsys_nth(FAILSYS_RECORD, 1, ENOMEM);
	arena = vmem_create("waits", (void *)SPAN, SPAN, QUANTUM, NULL, NULL,
	    NULL, 0, VM_SLEEP | VMC_IDENTIFIER);
	CHILD_CHECK(arena != NULL && failsys_calls(FAILSYS_RECORD) > 1);
	look_check();
	vmem_destroy(arena);
}

static void
an_arena_is_waited_for_or_is_mandatory(void **state)
{
	(void)state;
	child_expect_abort_like(make_mandatory, NULL,
	    "vmem_create('must'): cannot satisfy mandatory creation");
	child_expect_exit(make_patiently, NULL, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_policy_and_constraint_is_had_or_not),
	    cmocka_unit_test(with_quantum_caches_too),
	    cmocka_unit_test(spans_are_added_or_not),
	    cmocka_unit_test(an_arena_is_waited_for_or_is_mandatory),
	};

	return (cmocka_run_group_tests_name("vmem oom", tests, NULL, NULL));
}
