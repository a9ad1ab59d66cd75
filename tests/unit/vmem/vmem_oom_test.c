/*
 * vmem_oom_test.c - every request for memory of the library's own fails once,
 * and then all of them: NULL, nothing lost, and it works again.
 */
#include "unit/vmem/vmem_test.h"

#include "support/child.h"
#include "support/failsys.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>

enum { N = 12000, STEP = 16 };

static void *held[N];

struct failure {
	unsigned long nth;
	bool lasting;
	unsigned long calls; /* how many there were without any failure */
};

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
scenario(vmem_t *source, vmem_t *vm)
{
	unsigned missed;

	(void)fill(vm, N);
	CHILD_CHECK(vmem__check(vm) && vmem__check(source));
	empty(vm, 0, 2);
	CHILD_CHECK(vmem__check(vm) && vmem__check(source));
	failsys_reset();
	missed = fill(vm, N);
	CHILD_CHECK(missed == 0);
	CHILD_CHECK(vmem__check(vm) && vmem__check(source));
	empty(vm, 1, 2);
	empty(vm, 0, 2);
	CHILD_CHECK(vmem__check(vm) && vmem__check(source));
	CHILD_CHECK(vmem_size(vm, VMEM_ALLOC) == 0);
}

static vmem_t *
make(const char *name, size_t size, vmem_t *source)
{
	vmem_t *vm = NULL;

	/* Creation may be what fails; then it succeeds the next time. */
	for (unsigned attempt = 0; vm == NULL && attempt < 100; attempt++) {
		if (attempt == 99)
			failsys_reset();
		vm = vmem_create(name, P(size == 0 ? 0 : 64), size, 1,
		    source == NULL ? NULL : vmem_alloc,
		    source == NULL ? NULL : vmem_free, source, 0, VM_NOSLEEP);
	}
	CHILD_CHECK(vm != NULL);
	return (vm);
}

static void
do_plain(void *arg)
{
	struct failure *f = arg;
	vmem_t *vm;

	failsys_reset();
	if (f->lasting)
		failsys_from(FAILSYS_MMAP, f->nth, ENOMEM);
	else if (f->nth != 0)
		failsys_nth(FAILSYS_MMAP, f->nth, ENOMEM);
	vm = make("plain", (size_t)N * STEP * 2, NULL);
	scenario(vm, vm);
	vmem_destroy(vm);
}

static void
do_importing(void *arg)
{
	struct failure *f = arg;
	vmem_t *source, *vm;

	failsys_reset();
	if (f->lasting)
		failsys_from(FAILSYS_MMAP, f->nth, ENOMEM);
	else if (f->nth != 0)
		failsys_nth(FAILSYS_MMAP, f->nth, ENOMEM);
	source = make("source", (size_t)N * STEP * 2, NULL);
	vm = make("child", 0, source);
	scenario(source, vm);
	CHILD_CHECK(vmem_size(source, VMEM_ALLOC) == 0);
	vmem_destroy(vm);
	vmem_destroy(source);
}

static void
fail_each(void (*fn)(void *))
{
	unsigned long step = getenv("QR_TEST_QUICK") != NULL ? 7 : 1;

	for (unsigned long nth = 1; nth <= 40; nth += step) {
		struct failure once = {nth, false, 0}, ever = {nth, true, 0};

		child_expect_exit(fn, &once, 0);
		child_expect_exit(fn, &ever, 0);
	}
}

static void
t22_a_failed_mmap_loses_nothing(void **state)
{
	(void)state;
	fail_each(do_plain);
}

static void
t22_nor_when_spans_are_imported(void **state)
{
	(void)state;
	fail_each(do_importing);
}

/* With no tags to be had: what failed for that, and what waited. */
static void
do_count_shortages(void *arg)
{
	vmem_t *vm = make("short", (size_t)N * STEP, NULL);
	vmem_t *full = make("full", 16, NULL);
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
	vmem_t *vm = make("frees", (size_t)N * STEP * 2, NULL);

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
	    cmocka_unit_test(t22_a_failed_mmap_loses_nothing),
	    cmocka_unit_test(t22_nor_when_spans_are_imported),
	    cmocka_unit_test(a_shortage_of_tags_is_counted_apart),
	    cmocka_unit_test(t22_frees_do_not_allocate),
	    cmocka_unit_test(errno_is_left_alone),
	};

	return (cmocka_run_group_tests_name("vmem_oom", tests, NULL, NULL));
}
