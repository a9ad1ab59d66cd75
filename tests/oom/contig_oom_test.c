/*
 * contig_oom_test.c - each system call of pools and of malloc types fails in
 * turn.
 */
#include "os/os_phys.h"
#include "support/child.h"
#include "support/survive.h"
#include "support/umem_look.h"

#include <quarry/contigmalloc.h>
#include <quarry/quarry.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGE = 4096, PAGES = 600, BLOCKS = 400 };

static MALLOC_DEFINE(M_MINE, "mine", "what these tests allocate");

static physpool_t *pool;
static struct physpool_attr attr;

static void
register_types(void)
{
	CHILD_CHECK(malloc_type_register(M_MINE) == 0);
}

/* ---- making pools ---- */

static bool
make_pool(void)
{
	physpool_t *before = pool;
	int error = physpool_create(&pool, &attr);

	CHILD_CHECK(error == 0 || (error == ENOMEM && pool == before));
	return (error == 0);
}

static void
destroy_pool(void)
{
	CHILD_CHECK(physpool_destroy(pool) == 0);
}

/* Every call that making this pool may need. */
static void
a_pool_is_made_or_not(const struct physpool_attr *how)
{
	static const enum failsys calls[] = {FAILSYS_MEMFD, FAILSYS_TRUNCATE,
	    FAILSYS_FALLOCATE, FAILSYS_MLOCK, FAILSYS_PREAD};
	const struct survive_op op = {
	    register_types, make_pool, destroy_pool, false};

	attr = *how;
	survive(&op);
	if (look_quick())
		return;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		survive_each(&op, calls[i], true);
		survive_each(&op, calls[i], false);
	}
}

static void
a_plain_pool_is_made_or_not(void **state)
{
	(void)state;
	a_pool_is_made_or_not(&(struct physpool_attr){.size = PAGES * PAGE});
}

static void
a_locked_pool_is_made_or_not(void **state)
{
	(void)state;
	a_pool_is_made_or_not(&(struct physpool_attr){
	    .size = PAGES * PAGE, .wiring = PHYSPOOL_MLOCK});
}

static void
a_pool_of_pieces_is_made_or_not(void **state)
{
	static vm_paddr_t paddrs[PAGES];
	(void)state;

	for (size_t i = 0; i < PAGES; i++)
		paddrs[i] = i * 2 * PAGE;
	a_pool_is_made_or_not(
	    &(struct physpool_attr){.size = PAGES * PAGE, .paddrs = paddrs});
}

/* Are real addresses and pins to be had here? */
static bool
privileged(void)
{
	char *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t frame;
	int pin = -1;
	bool yes;

	*p = 1;
	yes = os_page_frames(p, 1, &frame) == 0 && os_pin(p, PAGE, &pin) == 0;
	if (pin >= 0)
		os_unpin(pin);
	(void)munmap(p, PAGE);
	return (yes);
}

static void
a_pinned_pool_with_real_addresses_is_made_or_not(void **state)
{
	const struct survive_op op = {
	    register_types, make_pool, destroy_pool, false};
	(void)state;

	if (!privileged()) {
		print_message("skipped: real addresses or pins are refused\n");
		skip();
	}
	a_pool_is_made_or_not(&(struct physpool_attr){.size = PAGES * PAGE,
	    .wiring = PHYSPOOL_PIN,
	    .addr = PHYSPOOL_REAL});
	survive_each(&op, FAILSYS_SYSCALL, true);
}

static void
fail_to_pin(void *error)
{
	const struct physpool_attr pinned = {
	    .size = PAGE, .wiring = PHYSPOOL_PIN};

	failsys_only(SYS_io_uring_setup);
	failsys_from(FAILSYS_SYSCALL, 1, *(int *)error);
	CHILD_CHECK(physpool_create(&pool, &pinned) == *(int *)error);
	failsys_reset();
	failsys_only(SYS_io_uring_register);
	failsys_from(FAILSYS_SYSCALL, 1, *(int *)error);
	CHILD_CHECK(physpool_create(&pool, &pinned) == *(int *)error ||
	    failsys_calls(FAILSYS_SYSCALL) == 0);
}

static void
what_the_kernel_says_about_pinning_is_passed_on(void **state)
{
	int errors[] = {ENOSYS, EPERM, EFAULT, EOPNOTSUPP};
	(void)state;

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
		child_expect_exit(fail_to_pin, &errors[i], 0);
}

/* ---- using them ---- */

static void *block[BLOCKS];
static size_t nblocks;

static void
must_make_pool(void)
{
	attr = (struct physpool_attr){.size = PAGES * PAGE};
	register_types();
	CHILD_CHECK(make_pool());
}

static void
free_blocks(void)
{
	while (nblocks > 0)
		contigfree(block[--nblocks], PAGE, M_MINE);
}

static bool
alloc_blocks(void)
{
	for (nblocks = 0; nblocks < BLOCKS; nblocks++) {
		vm_paddr_t low = nblocks % 7 * 8 * PAGE;

		block[nblocks] = contigmalloc_pool(pool, PAGE, M_MINE, M_NOWAIT,
		    low, ~(vm_paddr_t)0, 2 * PAGE * (nblocks % 2),
		    PAGE << nblocks % 3);
		if (block[nblocks] == NULL) {
			CHILD_CHECK(errno == ENOMEM);
			free_blocks();
			return (false);
		}
		memset(block[nblocks], 1, PAGE);
	}
	return (true);
}

static void
blocks_are_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){
	    must_make_pool, alloc_blocks, free_blocks, false});
}

static bool
alloc_from_default(void)
{
	block[0] = contigmalloc(PAGE, M_MINE, M_ZERO, 0, 1 << 22, 1, 0);
	CHILD_CHECK(block[0] != NULL || errno == ENOMEM);
	return (block[0] != NULL);
}

static void
free_from_default(void)
{
	contigfree(block[0], PAGE, M_MINE);
}

/* It stays once it is made, so the heap is larger afterwards. */
static void
first_block_of_the_default_pool(void *shortage)
{
	bool ok;

	register_types();
	failsys_arm(shortage);
	ok = alloc_from_default();
	failsys_reset();
	CHILD_CHECK(ok || alloc_from_default());
	free_from_default();
}

static void
the_default_pool_is_made_when_there_is_memory(void **state)
{
	(void)state;
	for (unsigned long n = 1; n < (look_quick() ? 2 : 20); n++) {
		struct shortage s = {FAILSYS_MMAP, n, false};

		child_expect_exit(first_block_of_the_default_pool, &s, 0);
		s.s_call = FAILSYS_MEMFD;
		child_expect_exit(first_block_of_the_default_pool, &s, 0);
	}
}

static bool
reserve(void)
{
	int error = physpool_reserve(
	    pool, 2 * PAGE, 0, ~(vm_paddr_t)0, 1, 0, PAGES / 2);

	CHILD_CHECK(error == 0 || error == ENOMEM);
	return (error == 0);
}

static void
unreserve(void)
{
	CHILD_CHECK(
	    physpool_reserve(pool, 2 * PAGE, 0, ~(vm_paddr_t)0, 1, 0, 0) == 0);
	CHILD_CHECK(alloc_blocks());
	free_blocks();
}

static void
runs_are_reserved_or_not(void **state)
{
	(void)state;
	survive(
	    &(struct survive_op){must_make_pool, reserve, unreserve, false});
}

static void
must_alloc_blocks(void)
{
	must_make_pool();
	CHILD_CHECK(alloc_blocks());
}

static bool
free_blocks_now(void)
{
	if (nblocks == 0)
		CHILD_CHECK(alloc_blocks());
	free_blocks();
	return (true);
}

static void
nothing(void)
{
}

static void
a_free_never_fails(void **state)
{
	(void)state;
	survive(&(struct survive_op){
	    must_alloc_blocks, free_blocks_now, nothing, true});
}

static bool
explain(void)
{
	char text[3000];

	(void)contig_explain(pool, 3 * PAGE, PAGE, 500 * PAGE, 2 * PAGE,
	    4 * PAGE, text, sizeof(text));
	return (strlen(text) > 100);
}

static void
an_explanation_never_fails(void **state)
{
	(void)state;
	survive_each(
	    &(struct survive_op){must_alloc_blocks, explain, nothing, true},
	    FAILSYS_MMAP, true);
}

/* ---- malloc types ---- */

static struct malloc_type *made;

static bool
make_type(void)
{
	made = NULL;
	kmalloc_create(&made, "made");
	return (made != NULL);
}

static void
destroy_type(void)
{
	kmalloc_destroy(&made);
}

static void
a_type_is_made_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){NULL, make_type, destroy_type, false});
}

static bool
kmalloc_sizes(void)
{
	for (nblocks = 0; nblocks < 100; nblocks++) {
		block[nblocks] =
		    kmalloc(1 + nblocks * 3000, M_MINE, M_NOWAIT | M_ZERO);
		if (block[nblocks] != NULL)
			continue;
		CHILD_CHECK(errno == ENOMEM);
		while (nblocks > 0)
			kfree(block[--nblocks], M_MINE);
		return (false);
	}
	return (true);
}

static void
kfree_sizes(void)
{
	struct malloc_type_stats st;

	while (nblocks > 0)
		kfree(block[--nblocks], M_MINE);
	CHILD_CHECK(malloc_type_getstats(M_MINE, &st) == 0);
	CHILD_CHECK(st.inuse == 0 && st.memuse == 0);
}

static void
blocks_of_any_size_are_had_or_not(void **state)
{
	(void)state;
	survive(&(struct survive_op){
	    register_types, kmalloc_sizes, kfree_sizes, false});
}

/* Memory comes back while the request waits for it. */
static void
let_memory_come(void)
{
	static unsigned calls;

	if (++calls == 20)
		failsys_reset();
}

static void
wait_for_memory(void *arg)
{
	(void)arg;
	register_types();
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	failsys_before(FAILSYS_MMAP, let_memory_come);
	block[0] = kmalloc(10 << 20, M_MINE, M_WAITOK);
	CHILD_CHECK(block[0] != NULL);
	kfree(block[0], M_MINE);
}

static void
a_request_that_may_wait_waits_for_memory(void **state)
{
	(void)state;
	child_expect_exit(wait_for_memory, NULL, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_plain_pool_is_made_or_not),
	    cmocka_unit_test(a_locked_pool_is_made_or_not),
	    cmocka_unit_test(a_pool_of_pieces_is_made_or_not),
	    cmocka_unit_test(a_pinned_pool_with_real_addresses_is_made_or_not),
	    cmocka_unit_test(what_the_kernel_says_about_pinning_is_passed_on),
	    cmocka_unit_test(blocks_are_had_or_not),
	    cmocka_unit_test(the_default_pool_is_made_when_there_is_memory),
	    cmocka_unit_test(runs_are_reserved_or_not),
	    cmocka_unit_test(a_free_never_fails),
	    cmocka_unit_test(an_explanation_never_fails),
	    cmocka_unit_test(a_type_is_made_or_not),
	    cmocka_unit_test(blocks_of_any_size_are_had_or_not),
	    cmocka_unit_test(a_request_that_may_wait_waits_for_memory),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
