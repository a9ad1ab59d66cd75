/*
 * vmem_oom_test.c - arenas when memory is refused: for their records as well
 * as for their tables, by every policy and constraint.
 */
#include "support/child.h"
#include "support/survive.h"
#include "support/umem_look.h"
#include "unit/vmem/vmem_test.h"

#include <errno.h>
#include <sys/syscall.h>

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

/* ---- many requests after the one that failed ---- */

enum { N = 12000, STEP = 16 };

static void *held[N];

/* Allocate n of every size, by a policy that changes. */
static unsigned
fill(vmem_t *vm, unsigned n)
{
	static const int policies[] = {0, VM_FIRSTFIT, VM_BESTFIT};
	unsigned missed = 0;

	for (unsigned i = 0; i < n; i++) {
		if (held[i] == NULL)
			held[i] = vmem_alloc(vm, 1 + i % STEP,
			    VM_NOSLEEP | policies[i / (N / 3 + 1)]);
		missed += held[i] == NULL;
	}
	return (missed);
}

static void
empty(vmem_t *vm, unsigned first, unsigned step)
{
	for (unsigned i = first; i < N; i += step) {
		if (held[i] != NULL)
			vmem_free(vm, held[i], 1 + i % STEP);
		held[i] = NULL;
	}
}

/* The same with an arena that imports each segment as a span of its own. */
static void
scenario(vmem_t *from, vmem_t *vm)
{
	unsigned missed;

	(void)fill(vm, N);
	CHILD_CHECK(vmem__check(vm) && vmem__check(from));
	empty(vm, 0, 2);
	CHILD_CHECK(vmem__check(vm) && vmem__check(from));
	failsys_reset();
	missed = fill(vm, N);
	CHILD_CHECK(missed == 0);
	CHILD_CHECK(vmem__check(vm) && vmem__check(from));
	empty(vm, 1, 2);
	empty(vm, 0, 2);
	CHILD_CHECK(vmem__check(vm) && vmem__check(from));
	CHILD_CHECK(vmem_size(vm, VMEM_ALLOC) == 0);
}

static vmem_t *
make_somehow(const char *name, size_t size, vmem_t *from)
{
	vmem_t *vm = NULL;

	/* Creation may be what fails; then it succeeds the next time. */
	for (unsigned attempt = 0; vm == NULL && attempt < 100; attempt++) {
		if (attempt == 99)
			failsys_reset();
		vm = vmem_create(name, P(size == 0 ? 0 : 64), size, 1,
		    from == NULL ? NULL : vmem_alloc,
		    from == NULL ? NULL : vmem_free, from, 0, VM_NOSLEEP);
	}
	CHILD_CHECK(vm != NULL);
	return (vm);
}

static void
do_plain(void *shortage)
{
	vmem_t *vm;

	failsys_arm(shortage);
	vm = make_somehow("plain", (size_t)N * STEP * 2, NULL);
	scenario(vm, vm);
	vmem_destroy(vm);
}

static void
do_importing(void *shortage)
{
	vmem_t *from, *vm;

	failsys_arm(shortage);
	from = make_somehow("source", (size_t)N * STEP * 2, NULL);
	vm = make_somehow("child", 0, from);
	scenario(from, vm);
	CHILD_CHECK(vmem_size(from, VMEM_ALLOC) == 0);
	vmem_destroy(vm);
	vmem_destroy(from);
}

static void
t22_a_shortage_loses_nothing(void **state)
{
	(void)state;
	survive_long(do_plain);
}

static void
t22_nor_when_spans_are_imported(void **state)
{
	(void)state;
	survive_long(do_importing);
}

/* With no tags to be had: what failed for that, and what waited. */
static void
do_count_shortages(void *arg)
{
	vmem_t *vm = make_somehow("short", (size_t)N * STEP, NULL);
	vmem_t *full = make_somehow("full", 16, NULL);
	unsigned missed = 0;

	(void)arg;
	CHILD_CHECK(vmem_alloc(full, 16, VM_NOSLEEP) != NULL);
	CHILD_CHECK(vmem_alloc(full, 1, VM_NOSLEEP) == NULL);
	CHILD_CHECK(stat_of("full").vs_fail == 1);
	CHILD_CHECK(stat_of("full").vs_populate_fail == 0);
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	for (unsigned in_vain = 0; in_vain < 3; in_vain++, missed++)
		while (vmem_alloc(vm, 1, VM_NOSLEEP) != NULL)
			in_vain = 0;
	CHILD_CHECK(stat_of("short").vs_fail == missed);
	CHILD_CHECK(stat_of("short").vs_populate_fail == missed);
	CHILD_CHECK(stat_of("short").vs_populate_wait == 0);
	failsys_reset();
	failsys_only(SYS_futex);
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	failsys_before(FAILSYS_SYSCALL, failsys_reset);
	CHILD_CHECK(vmem_alloc(vm, 1, VM_SLEEP) != NULL);
	CHILD_CHECK(stat_of("short").vs_populate_wait == 1);
	CHILD_CHECK(stat_of("short").vs_populate_fail == missed);
}

static void
a_shortage_of_tags_is_counted_apart(void **state)
{
	(void)state;
	child_expect_exit(do_count_shortages, NULL, 0);
}

/* Frees ask for nothing, even when there is nothing to be had. */
static void
do_frees(void *arg)
{
	vmem_t *vm = make_somehow("frees", (size_t)N * STEP * 2, NULL);

	(void)arg;
	CHILD_CHECK(fill(vm, N) == 0);
	failsys_reset();
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	empty(vm, 0, 3);
	empty(vm, 1, 3);
	empty(vm, 2, 3);
	CHILD_CHECK(failsys_calls(FAILSYS_MMAP) == 0);
	CHILD_CHECK(vmem__check(vm));
	CHILD_CHECK(vmem_size(vm, VMEM_ALLOC) == 0);
}

static void
t22_frees_do_not_allocate(void **state)
{
	(void)state;
	child_expect_exit(do_frees, NULL, 0);
}

/* Whatever is mapped, or cannot be. */
static void
do_look_at_errno(void *arg)
{
	vmem_alloc_t *afunc;
	vmem_free_t *ffunc;
	vmem_t *heap = vmem_heap_arena(&afunc, &ffunc);
	vmem_t *vm = vmem_create(
	    "memory", NULL, 0, 64, afunc, ffunc, heap, 0, VM_NOSLEEP);
	void *p;

	(void)arg;
	errno = 77;
	p = vmem_alloc(vm, 64 << 20, VM_NOSLEEP);
	CHILD_CHECK(p != NULL && errno == 77);
	vmem_free(vm, p, 64 << 20);
	CHILD_CHECK(errno == 77);
	failsys_reset();
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	CHILD_CHECK(vmem_alloc(vm, (size_t)1 << 30, VM_NOSLEEP) == NULL);
	CHILD_CHECK(failsys_calls(FAILSYS_MMAP) > 0 && errno == 77);
}

static void
errno_is_left_alone(void **state)
{
	(void)state;
	child_expect_exit(do_look_at_errno, NULL, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(every_policy_and_constraint_is_had_or_not),
	    cmocka_unit_test(with_quantum_caches_too),
	    cmocka_unit_test(spans_are_added_or_not),
	    cmocka_unit_test(an_arena_is_waited_for_or_is_mandatory),
	    cmocka_unit_test(t22_a_shortage_loses_nothing),
	    cmocka_unit_test(t22_nor_when_spans_are_imported),
	    cmocka_unit_test(a_shortage_of_tags_is_counted_apart),
	    cmocka_unit_test(t22_frees_do_not_allocate),
	    cmocka_unit_test(errno_is_left_alone),
	};

	return (cmocka_run_group_tests_name("vmem oom", tests, NULL, NULL));
}
