/*
 * id_space_oom_test.c - every request of a space for memory fails once, and
 * then all of them: -1 or an error, nothing lost, and it works again.
 */
#include "support/child.h"
#include "support/survive.h"
#include "support/umem_look.h"
#include "vmem/vmem_private.h"

#include <quarry/id_space.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { N = 12000, WORDS_OF_SMALL_LEAF = 4 };

#define NO_ID ((id_t)-1)

static id_t held[N];
static char path[64];

static id_space_t *
make(const char *name)
{
	id_space_t *s = NULL;

	for (unsigned attempt = 0; s == NULL; attempt++) {
		if (attempt == 3)
			failsys_reset();
		CHILD_CHECK(attempt < 4);
		errno = 0;
		s = id_space_create(name, 0, INT_MAX - 100);
		CHILD_CHECK(s != NULL || errno == ENOMEM);
	}
	return (s);
}

/* Some close together, some far apart; how many could not be had. */
static unsigned
fill(id_space_t *s)
{
	unsigned missed = 0;

	for (unsigned i = 0; i < N; i++) {
		if (held[i] == NO_ID)
			held[i] = i % 3 == 0 ? id_alloc_nosleep(s)
			    : i % 3 == 1
			    ? id_allocff_nosleep(s)
			    : id_alloc_specific(s, i * 170000 + 50000);
		missed += held[i] == NO_ID;
	}
	return (missed);
}

static void
empty(id_space_t *s, unsigned first, unsigned step)
{
	for (unsigned i = first; i < N; i += step) {
		if (held[i] != NO_ID)
			id_free(s, held[i]);
		held[i] = NO_ID;
	}
}

static void
do_allocate(void *shortage)
{
	id_space_t *s;

	memset(held, 0xff, sizeof(held));
	failsys_arm(shortage);
	s = make("short");
	(void)fill(s);
	CHILD_CHECK(vmem__check(s));
	empty(s, 0, 2);
	CHILD_CHECK(vmem__check(s));
	(void)fill(s);
	empty(s, 1, 3);
	failsys_reset();
	CHILD_CHECK(vmem__check(s));
	CHILD_CHECK(fill(s) == 0);
	CHILD_CHECK(vmem__check(s));
	empty(s, 0, 1);
	CHILD_CHECK(vmem__check(s) && vmem_size(s, VMEM_ALLOC) == 0);
	id_space_destroy(s);
}

/* Ranges, each with two ends that need memory. */
static void
do_extend(void *shortage)
{
	id_space_t *s;
	unsigned added = 0;

	failsys_arm(shortage);
	while ((s = id_space_create("short", 5, 6)) == NULL)
		failsys_reset();
	failsys_arm(shortage);
	/* The first is far up, so that the tree has to grow at once. */
	for (uintptr_t i = 0; i < 3000; i++) {
		uintptr_t at = i == 0 ? 1 << 20 : i * 4000 + i % 64;
		int error = vmem_add_addr(s, at, 77, VM_NOSLEEP);

		CHILD_CHECK(error == 0 || error == ENOMEM);
		added += error == 0;
		CHILD_CHECK(vmem_size(s, VMEM_FREE) == 1 + 77 * added);
	}
	CHILD_CHECK(vmem__check(s));
	failsys_reset();
	for (unsigned i = 0; i < 1 + 77 * added; i++)
		CHILD_CHECK(id_alloc_nosleep(s) != NO_ID);
	CHILD_CHECK(id_alloc_nosleep(s) == NO_ID && vmem__check(s));
}

static void
count_arena(const struct vmem__stat *vs, void *arg)
{
	(void)vs;
	++*(unsigned *)arg;
}

static unsigned
arenas(void)
{
	unsigned n = 0;

	vmem__foreach(count_arena, &n);
	return (n);
}

static void
do_save_and_restore(void *shortage)
{
	id_space_t *s, *again;
	unsigned before;

	failsys_reset();
	memset(held, 0xff, sizeof(held));
	s = make("saved");
	CHILD_CHECK(id_space_set_cooldown(s, UINT_MAX) == 0);
	CHILD_CHECK(fill(s) == 0);
	empty(s, 0, 7);
	failsys_arm(shortage);
	while (id_space_save(s, path) != 0)
		failsys_reset();
	before = arenas();
	failsys_arm(shortage);
	again = id_space_restore("again", path);
	if (again == NULL) {
		CHILD_CHECK(errno == ENOMEM && arenas() == before);
		failsys_reset();
		again = id_space_restore("again", path);
	}
	CHILD_CHECK(again != NULL && vmem__check(again));
	CHILD_CHECK(vmem_size(again, VMEM_ALLOC) == vmem_size(s, VMEM_ALLOC));
}

static void
do_cool(void *shortage)
{
	id_space_t *s;
	int error;

	failsys_reset();
	memset(held, 0xff, sizeof(held));
	s = make("cool");
	CHILD_CHECK(fill(s) == 0);
	failsys_arm(shortage);
	error = id_space_set_cooldown(s, 1);
	CHILD_CHECK(error == 0 || error == ENOMEM);
	CHILD_CHECK(vmem__check(s));
	if (error != 0) {
		failsys_reset();
		CHILD_CHECK(id_space_set_cooldown(s, 1) == 0);
		failsys_arm(shortage);
	}
	/* Where there is no memory to note more, this waits for the first. */
	empty(s, 0, 1);
	CHILD_CHECK(vmem__check(s) && vmem_size(s, VMEM_ALLOC) == 0);
	failsys_reset();
	CHILD_CHECK(id_space_set_cooldown(s, 0) == 0);
	CHILD_CHECK(fill(s) == 0);
}

static void
a_shortage_loses_no_identifier(void **state)
{
	(void)state;
	survive_long(do_allocate);
}

static void
nor_does_it_when_ranges_are_added(void **state)
{
	(void)state;
	survive_long(do_extend);
}

static void
nor_when_a_space_is_saved_and_restored(void **state)
{
	(void)state;
	(void)snprintf(path, sizeof(path), "%s/id_space_oom.%d",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", getpid());
	survive_long(do_save_and_restore);
	(void)unlink(path);
}

static void
nor_when_what_is_freed_has_to_rest(void **state)
{
	(void)state;
	survive_long(do_cool);
}

/* ---- waiting for memory ---- */

struct sleeper {
	id_space_t *s;
	pthread_t thread;
	id_t got;
};

static void *
sleeper_main(void *arg)
{
	struct sleeper *sl = arg;

	sl->got = id_alloc(sl->s);
	return (NULL);
}

static uint64_t
waits(id_space_t *s)
{
	struct id_space_stats st;

	(void)id_space_getstats(s, &st);
	return (st.waits);
}

/*
 * Far apart, so that each needs memory; until there is none.  The lowest one
 * that is available is in a word that is there, the next one is not.
 */
static void
use_all_memory(id_space_t *s)
{
	for (id_t id = 0; id < WORDS_OF_SMALL_LEAF * 64; id++)
		CHILD_CHECK(id_alloc(s) == id);
	id_free(s, 5);
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	for (id_t id = 1 << 20; id_alloc_specific(s, id) == id;)
		id += 5000;
	for (id_t id = 1 << 12; id_alloc_specific(s, id) == id;)
		id += 64;
}

static void
do_sleep(void *arg)
{
	id_space_t *s = make("short");
	struct sleeper first = {.s = s}, second = {.s = s};
	id_t next = WORDS_OF_SMALL_LEAF * 64;

	(void)arg;
	failsys_reset();
	use_all_memory(s);
	CHILD_CHECK(id_alloc_nosleep(s) == NO_ID);
	CHILD_CHECK(id_allocff_nosleep(s) == 5);
	id_free(s, 5);
	CHILD_CHECK(
	    pthread_create(&first.thread, NULL, sleeper_main, &first) == 0);
	while (waits(s) < 1)
		(void)usleep(1000);
	CHILD_CHECK(
	    pthread_create(&second.thread, NULL, sleeper_main, &second) == 0);
	while (waits(s) < 2)
		(void)usleep(1000);
	/* It could be had, but others were first. */
	CHILD_CHECK(id_allocff_nosleep(s) == NO_ID);
	(void)usleep(20000);
	failsys_reset(); /* and nobody tells them */
	CHILD_CHECK(pthread_join(first.thread, NULL) == 0);
	CHILD_CHECK(pthread_join(second.thread, NULL) == 0);
	CHILD_CHECK(first.got == next && second.got == next + 1);
	CHILD_CHECK(id_allocff_nosleep(s) == 5);
}

static void
who_waits_gets_one_in_turn_when_there_is_memory(void **state)
{
	(void)state;
	child_expect_exit(do_sleep, NULL, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_shortage_loses_no_identifier),
	    cmocka_unit_test(nor_does_it_when_ranges_are_added),
	    cmocka_unit_test(nor_when_a_space_is_saved_and_restored),
	    cmocka_unit_test(nor_when_what_is_freed_has_to_rest),
	    cmocka_unit_test(who_waits_gets_one_in_turn_when_there_is_memory),
	};

	return (cmocka_run_group_tests_name("id_space oom", tests, NULL, NULL));
}
