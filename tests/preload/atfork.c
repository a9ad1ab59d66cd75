/*
 * atfork.c - the handlers of fork are registered when there is a use for them,
 * and before anybody else's.  Run with spy.so behind Quarry.
 */
#define _GNU_SOURCE 1 /* RTLD_DEFAULT, RTLD_DEEPBIND */

#include "check_pool.h"

#include <quarry/mpipe.h>

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdbool.h>

enum { FORKS = 20, SECONDS = 60 };

static unsigned
registered(void)
{
	const unsigned *n = dlsym(RTLD_DEFAULT, "spy_registered");

	CHECK(n != NULL);
	return (*n);
}

/*
 * Sizes of all kinds, so many that none fits in what a CPU has, and less than a
 * heap that gets a thread has.
 */
static void
allocate(void)
{
	enum { BLOCKS = 300 };
	static void *held[BLOCKS];

	for (size_t i = 0; i < BLOCKS; i++) {
		held[i] = malloc(i * 64 % 140000);
		CHECK(held[i] != NULL);
	}
	for (size_t i = 0; i < BLOCKS; i++)
		free(held[i]);
}

/* ---- when ---- */

static void
a_process_of_one_thread_registers_nothing(void)
{
	allocate();
	check_in_child(allocate);
	CHECK(registered() == 0);
}

/* Nothing that is made for a thread misses after that. */
static void
fill_magazines(void)
{
	for (size_t size = 16; size < 4096; size += 16)
		free(malloc(size));
}

static void *
look(void *seen)
{
	*(unsigned *)seen = registered();
	return (NULL);
}

static void
a_second_thread_is_never_without(void)
{
	unsigned seen = 0;
	pthread_t thread;

	fill_magazines();
	CHECK(pthread_create(&thread, NULL, look, &seen) == 0);
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK(seen == 1);
	check_in_child(allocate);
	CHECK(registered() == 1);
}

/* Their children need handlers whether there are threads or not. */
static void
a_pool_needs_them(void)
{
	check_pool_of_child();
	CHECK(registered() == 1);
}

static void
a_pipe_needs_them(void)
{
	struct malloc_pipe pipe;

	mpipe_init(&pipe, M_TEMP, 100, 1, 2, 0, NULL, NULL, NULL);
	CHECK(registered() == 1);
	mpipe_done(&pipe);
}

/* Before it registers any of its own. */
static void
a_module_that_binds_deeply_needs_them(void)
{
	CHECK(dlopen("./plugin.so", RTLD_NOW | RTLD_DEEPBIND) != NULL);
	CHECK(registered() == 1);
}

/* ---- before whom ---- */

static bool waiting;
static sem_t go, done;

static void *
allocate_when_told(void *unused)
{
	for (;;) {
		CHECK(sem_wait(&go) == 0);
		allocate();
		CHECK(sem_post(&done) == 0);
	}
	return (unused);
}

/* As if the other thread held a lock that is wanted here. */
static void
wait_for_thread(void)
{
	if (!waiting)
		return;
	CHECK(sem_post(&go) == 0);
	CHECK(sem_wait(&done) == 0);
}

/* Before all constructors: those of Quarry, too. */
static void
register_first(int argc, char **argv)
{
	(void)argv;
	if (argc > 1)
		CHECK(pthread_atfork(wait_for_thread, NULL, NULL) == 0);
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(
    int, char **) = register_first;

static void
handlers_may_wait_for_who_allocates(void)
{
	pthread_t thread;

	CHECK(registered() == 2);
	CHECK(sem_init(&go, 0, 0) == 0 && sem_init(&done, 0, 0) == 0);
	CHECK(pthread_create(&thread, NULL, allocate_when_told, NULL) == 0);
	waiting = true;
	for (int i = 0; i < FORKS; i++)
		check_in_child(allocate);
}

/* Each in a child of its own: what is registered stays so. */
static void (*const alone[])(void) = {
    a_process_of_one_thread_registers_nothing,
    a_second_thread_is_never_without,
    a_pool_needs_them,
    a_pipe_needs_them,
    a_module_that_binds_deeply_needs_them,
};

int
main(int argc, char **argv)
{
	(void)argv;
	(void)alarm(SECONDS);
	if (argc > 1)
		handlers_may_wait_for_who_allocates();
	else
		for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
			check_in_child(alone[i]);
	return (0);
}
