/*
 * id_space_stress_test.c - threads share a space: no identifier has two owners,
 * who waits is served in turn, and a child of fork goes on alone.
 */
#include "support/umem_look.h"
#include "vmem/vmem_private.h"

#include <quarry/id_space.h>
#include <quarry/quarry.h>

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { THREADS = 6, SIZE = 9000, HELD = 400, ROUNDS = 20000, TURNS = 300 };

#define NO_ID ((id_t)-1)

static id_space_t *space;
static _Atomic bool owned[SIZE + 1000];
static _Atomic bool stop;
static char path[64];

static unsigned
rounds(void)
{
	return (look_quick()      ? ROUNDS / 20
		: look_shadowed() ? ROUNDS / 4
				  : ROUNDS);
}

static void
own(id_t id)
{
	if (id >= SIZE + 1000 || atomic_exchange(&owned[id], true))
		abort();
}

static void
disown(id_t id)
{
	if (!atomic_exchange(&owned[id], false))
		abort();
	id_free(space, id);
}

static id_t
get(unsigned r)
{
	switch (r >> 24 & 7) {
	case 0:
	case 1:
		return (id_alloc_nosleep(space));
	case 2:
		return (id_allocff_nosleep(space));
	case 3:
		return (id_alloc_specific(space, (r >> 8) % SIZE));
	default:
		return (id_alloc(space));
	}
}

/* Together the threads hold less than there are, so that none waits for ever. */
static void *
churn(void *arg)
{
	unsigned r = (unsigned)(uintptr_t)arg, n = 0;
	id_t held[HELD];

	for (unsigned i = 0; i < rounds(); i++) {
		r = r * 1664525 + 1013904223;
		if (n > 0 && (n == HELD || r >> 30 == 0)) {
			disown(held[(r >> 8) % n]);
			held[(r >> 8) % n] = held[n - 1];
			n--;
			continue;
		}
		held[n] = get(r);
		if (held[n] != NO_ID)
			own(held[n++]);
	}
	while (n > 0)
		disown(held[--n]);
	return (NULL);
}

/* What looks at the space, or changes how it works, while others use it. */
static void *
meddle(void *arg)
{
	int fd = open("/dev/null", O_WRONLY);
	unsigned n = 0;
	(void)arg;

	for (; !stop; n++) {
		id_space_t *again;

		if (id_space_set_cooldown(space, n % 3) != 0 ||
		    id_space_save(space, path) != 0)
			abort();
		again = id_space_restore("again", path);
		if (again == NULL || vmem_map_write(again, fd, "text") != 0)
			abort();
		(void)id_space_set_cooldown(again, 0);
		for (id_t id = 0; id < SIZE + 1000; id++)
			if (id_alloc_specific(again, id) == id)
				id_free(again, id);
			else if (vmem_contains(
				     again, (void *)(uintptr_t)id, 1) != 0)
				id_free(again, id);
		if (vmem_size(again, VMEM_ALLOC) != 0)
			abort();
		id_space_destroy(again);
		(void)vmem__check(space);
		(void)quarry_stats_write(fd, "json");
		(void)usleep(1000);
	}
	(void)close(fd);
	return (NULL);
}

static void
no_identifier_has_two_owners(void **state)
{
	pthread_t threads[THREADS], meddler;
	(void)state;

	space = id_space_create("shared", 0, THREADS * HELD + 10);
	assert_non_null(space);
	stop = false;
	assert_int_equal(pthread_create(&meddler, NULL, meddle, NULL), 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(
		    pthread_create(&threads[i], NULL, churn, (void *)i), 0);
	(void)usleep(10000);
	id_space_extend(space, SIZE, SIZE + 1000);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	stop = true;
	assert_int_equal(pthread_join(meddler, NULL), 0);
	assert_true(vmem__check(space));
	assert_int_equal(vmem_size(space, VMEM_ALLOC), 0);
	id_space_destroy(space);
}

/* ---- turns ---- */

static _Atomic unsigned served;
static unsigned order[THREADS];

/* Wait, note when it was my turn, and let the next one have it. */
static void *
wait_in_turn(void *arg)
{
	id_t id = (uintptr_t)arg % 2 == 0 ? id_alloc(space) : id_allocff(space);

	if (id != 0)
		abort();
	order[served] = (unsigned)(uintptr_t)arg;
	served++;
	id_free(space, id);
	return (NULL);
}

/* Try to overtake as long as somebody waits. */
static void *
push_in(void *arg)
{
	(void)arg;
	while (!stop) {
		id_t id = id_alloc_nosleep(space);

		if (id != NO_ID && served < THREADS)
			abort();
		if (id != NO_ID)
			id_free(space, id);
		if (id_alloc_specific(space, 0) == 0) {
			if (served < THREADS)
				abort();
			id_free(space, 0);
		}
	}
	return (NULL);
}

static uint64_t
waits(void)
{
	struct id_space_stats st;

	(void)id_space_getstats(space, &st);
	return (st.waits);
}

static void
one_turn(unsigned cooldown)
{
	pthread_t threads[THREADS], pusher;
	uint64_t before = waits();

	assert_int_equal(id_space_set_cooldown(space, 0), 0);
	assert_int_equal(id_alloc(space), 0);
	assert_int_equal(id_space_set_cooldown(space, cooldown), 0);
	served = 0;
	stop = false;
	assert_int_equal(pthread_create(&pusher, NULL, push_in, NULL), 0);
	for (uintptr_t i = 0; i < THREADS; i++) {
		assert_int_equal(
		    pthread_create(&threads[i], NULL, wait_in_turn, (void *)i),
		    0);
		while (waits() == before + i)
			(void)usleep(100);
	}
	id_free(space, 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	stop = true;
	assert_int_equal(pthread_join(pusher, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(order[i], i);
}

static void
who_waits_is_served_in_turn_and_nobody_pushes_in(void **state)
{
	(void)state;

	space = id_space_create("turns", 0, 1);
	assert_non_null(space);
	for (unsigned i = 0; i < (look_quick() ? 3 : TURNS); i++)
		one_turn(i % 4 == 0 ? 1 : 0);
	assert_true(vmem__check(space));
	id_space_destroy(space);
}

/* ---- fork ---- */

static void *
churn_for_ever(void *arg)
{
	while (!stop)
		(void)churn(arg);
	return (NULL);
}

/* All that the parent's threads hold is held for ever; the rest is ours. */
static void
live(void)
{
	id_t held[HELD];

	(void)alarm(60);
	if (!vmem__check(space))
		_exit(1);
	for (unsigned i = 0; i < HELD; i++) {
		held[i] = i % 2 == 0 ? id_alloc(space) : id_allocff(space);
		if (held[i] == NO_ID)
			_exit(2);
	}
	for (unsigned i = 0; i < HELD; i++)
		id_free(space, held[i]);
	if (id_space_save(space, path) != 0 || !vmem__check(space))
		_exit(3);
	_exit(0);
}

static void
a_child_of_a_busy_process_goes_on_alone(void **state)
{
	pthread_t threads[2];
	int status;
	(void)state;

	space = id_space_create("parent", 0, 4 * HELD);
	assert_non_null(space);
	stop = false;
	for (uintptr_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
				     churn_for_ever, (void *)i),
		    0);
	for (unsigned i = 0; i < (look_shadowed() ? 5u : 60u); i++) {
		pid_t pid = fork();

		assert_int_not_equal(pid, -1);
		if (pid == 0)
			live();
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	stop = true;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_true(vmem__check(space));
	assert_int_equal(vmem_size(space, VMEM_ALLOC), 0);
	id_space_destroy(space);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_identifier_has_two_owners),
	    cmocka_unit_test(who_waits_is_served_in_turn_and_nobody_pushes_in),
	    cmocka_unit_test(a_child_of_a_busy_process_goes_on_alone),
	};
	int failed;

	(void)snprintf(path, sizeof(path), "%s/id_space_stress.%d",
	    access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", getpid());
	failed =
	    cmocka_run_group_tests_name("id_space stress", tests, NULL, NULL);
	(void)unlink(path);
	return (failed);
}
