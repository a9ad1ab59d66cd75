/*
 * clients_oom_test.c - pools and pipes when umem refuses.
 *
 * A system call that fails is noticed by few of the small records that they
 * make, most of which come from memory that is there.  So umem refuses every
 * other request here, by chance, and each operation is tried many times.
 */
#include "support/again.h"
#include "support/child.h"

#include <quarry/contigmalloc.h>
#include <quarry/mpipe.h>
#include <quarry/umem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { PAGE = 4096, PAGES = 40, PIECES = 20, PIPES = 16, TRIES = 400 };

static MALLOC_DEFINE(M_MINE, "mine", "what these tests allocate");

static struct malloc_pipe line, full, made[PIPES];
static unsigned pipes; /* that are made */
static physpool_t *pool;
static vm_paddr_t scattered[PIECES];

/* ---- operations: each succeeds and undoes itself, or fails with ENOMEM ---- */

static int
make_pool_like(const struct physpool_attr *attr)
{
	physpool_t *pp;
	int error = physpool_create(&pp, attr);

	if (error == 0)
		CHILD_CHECK(physpool_destroy(pp) == 0);
	return (error);
}

static int
make_pool(void)
{
	return (make_pool_like(&(struct physpool_attr){.size = PAGES * PAGE}));
}

static int
make_pool_of_pieces(void)
{
	return (make_pool_like(&(struct physpool_attr){
	    .size = PIECES * PAGE, .paddrs = scattered}));
}

static int
reserve(void)
{
	int error = physpool_reserve(pool, PAGE, 0, ~(vm_paddr_t)0, PAGE, 0, 3);

	if (error == 0)
		CHILD_CHECK(physpool_reserve(pool, PAGE, 0, ~(vm_paddr_t)0,
				PAGE, 0, 0) == 0);
	return (error);
}

static void
drop_pipes(void)
{
	while (pipes > 0)
		mpipe_done(&made[--pipes]);
}

/* One more, for what is left of those before serves the next. */
static int
make_pipe(void)
{
	int error = mpipe_tryinit(
	    &made[pipes], M_MINE, 64, 2, 4, MPF_NOZERO, NULL, NULL, NULL);

	if (error == 0 && ++pipes == PIPES)
		drop_pipes();
	return (error);
}

static int
resize_pipe(void)
{
	int error = mpipe_resize(&line, 200, 300);

	if (error == 0)
		CHILD_CHECK(mpipe_resize(&line, 2, 4) == 0);
	return (error);
}

static void
ignore(void *buf, void *arg)
{
	(void)arg;
	if (buf != NULL)
		mpipe_free(&line, buf);
}

static void
never(void *arg1, void *arg2)
{
	(void)arg1;
	(void)arg2;
}

static int
ask_later(void)
{
	return (mpipe_alloc_async(&line, ignore, NULL, NULL));
}

/* Of a pipe whose buffers are all taken. */
static int
ask_to_be_called(void)
{
	void *buf[4];
	int error = 0;

	for (int i = 0; i < 4; i++)
		buf[i] = mpipe_alloc_waitok(&full);
	CHILD_CHECK(mpipe_alloc_callback(&full, never, NULL, NULL) == NULL);
	if (errno != EINPROGRESS)
		error = errno;
	for (int i = 0; i < 4; i++)
		mpipe_free(&full, buf[i]);
	return (error);
}

/* Its record is had, or it stays unknown. */
static int
use_type(void)
{
	static struct malloc_type fresh[1] = {{NULL, M_MAGIC, "fresh", NULL}};

	if (malloc_type_register(fresh) != 0)
		return (errno);
	malloc_type_unregister(fresh);
	return (0);
}

static int (*const operations[])(void) = {use_type, make_pool,
    make_pool_of_pieces, reserve, make_pipe, resize_pipe, ask_later,
    ask_to_be_called};

static void
clients(void)
{
	struct physpool_attr attr = {.size = PAGES * PAGE};

	for (size_t i = 0; i < PIECES; i++)
		scattered[i] = (vm_paddr_t)(2 * i + 2) * PAGE;
	CHILD_CHECK(physpool_create(&pool, &attr) == 0);
	mpipe_init(&line, M_MINE, 64, 2, 4, MPF_NOZERO, NULL, NULL, NULL);
	mpipe_init(&full, M_MINE, 64, 4, 4, MPF_NOZERO, NULL, NULL, NULL);
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]);
	     i++) {
		int refused = 0;

		umem_setmtbf(2);
		for (int k = 0; k < TRIES; k++) {
			int error = operations[i]();

			CHILD_CHECK(error == 0 || error == ENOMEM);
			refused += error != 0;
		}
		umem_setmtbf(0);
		CHILD_CHECK(refused > 0);
		CHILD_CHECK(operations[i]() == 0);
	}
	drop_pipes();
	mpipe_done(&line);
	mpipe_done(&full);
	CHILD_CHECK(physpool_destroy(pool) == 0);
}

static void
clients_pass_on_what_umem_refuses_and_lose_nothing(void **state)
{
	/* Only caches with guards refuse. */
	struct again_run run = {"clients", {"UMEM_DEBUG=guards"}};
	(void)state;

	child_expect_exit(again_exec, &run, 0);
}

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"clients", clients},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(
		clients_pass_on_what_umem_refuses_and_lose_nothing),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
