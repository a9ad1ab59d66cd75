/*
 * vmem_threads_test.c - threads that share arenas.  Nobody is given what
 * another holds: every unit has a flag that its holder sets.
 */
#include "unit/vmem/vmem_test.h"

#include <quarry/quarry.h>

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { UNITS = 256, THREADS = 4, HELD = 16, STEPS = 4000, QUICK = 300 };

static unsigned steps = STEPS;
static _Atomic unsigned char owner[UNITS + 1];
static _Atomic unsigned conflicts, finished;

static void
stamp(uintptr_t addr, size_t size, unsigned char from, unsigned char to)
{
	for (uintptr_t a = addr; a < addr + size; a++)
		if (a > UNITS || atomic_exchange(&owner[a], to) != from)
			atomic_fetch_add(&conflicts, 1);
}

struct worker {
	vmem_t *vm;
	pthread_t thread;
	unsigned char id;
	unsigned seed;
};

static void *
mixed_main(void *arg)
{
	static const int policies[] = {
	    0, VM_BESTFIT, VM_FIRSTFIT, VM_NEXTFIT, VM_ENDALLOC};
	struct worker *w = arg;
	struct {
		void *p;
		size_t size;
	} held[HELD] = {{NULL, 0}};

	for (unsigned step = 0; step < steps + HELD; step++) {
		unsigned i = step < steps ? (unsigned)rand_r(&w->seed) % HELD
					  : step - steps;

		if (held[i].p != NULL) {
			stamp((uintptr_t)held[i].p, held[i].size, w->id, 0);
			vmem_xfree(w->vm, held[i].p, held[i].size);
			held[i].p = NULL;
		} else if (step < steps) {
			int flags = VM_NOSLEEP |
			    policies[(unsigned)rand_r(&w->seed) % 5];

			held[i].size = 1 + (unsigned)rand_r(&w->seed) % 8;
			held[i].p = step % 2 == 0
			    ? vmem_alloc(w->vm, held[i].size, flags)
			    : vmem_xalloc(w->vm, held[i].size, 2, 1, 16, NULL,
				  P(UNITS / 2), flags);
			if (held[i].p != NULL)
				stamp((uintptr_t)held[i].p, held[i].size, 0,
				    w->id);
		}
	}
	atomic_fetch_add(&finished, 1);
	return (NULL);
}

/* Takes one at a time and holds nothing else, so it never waits for ever. */
static void *
sleepy_main(void *arg)
{
	struct worker *w = arg;

	for (unsigned step = 0; step < steps / 4; step++) {
		size_t size =
		    UNITS / 4 + (unsigned)rand_r(&w->seed) % (UNITS / 4);
		void *p = vmem_alloc(w->vm, size, VM_SLEEP);

		if (p == NULL) {
			atomic_fetch_add(&conflicts, 1);
			break;
		}
		stamp((uintptr_t)p, size, 0, w->id);
		(void)sched_yield();
		stamp((uintptr_t)p, size, w->id, 0);
		vmem_free(w->vm, p, size);
	}
	atomic_fetch_add(&finished, 1);
	return (NULL);
}

static void
ignore_row(const struct vmem__stat *vs, void *arg)
{
	*(size_t *)arg += vs->vs_inuse;
}

static void
ignore_segment(void *arg, void *start, size_t size)
{
	*(size_t *)arg += (uintptr_t)start + size;
}

/* Readers of everything, while the workers work. */
static void
look_around(vmem_t *vm, unsigned workers)
{
	static const char *const formats[] = {"svg", "text", "json"};
	int null = open("/dev/null", O_WRONLY);
	unsigned round = 0;
	size_t sink = 0;

	while (atomic_load(&finished) < workers) {
		vmem_walk(vm, VMEM_ALLOC | VMEM_FREE, ignore_segment, &sink);
		vmem_walk(vm, VMEM_ALLOC | (int)VMEM_REENTRANT, ignore_segment,
		    &sink);
		vmem__foreach(ignore_row, &sink);
		sink += vmem_size(vm, VMEM_ALLOC);
		(void)vmem_map_write(vm, null, formats[round++ % 3]);
		(void)vmem__check(vm);
		vmem__lock_all();
		vmem__unlock_all();
		(void)sched_yield();
	}
	(void)close(null);
}

static void
run(vmem_t *const *vm, size_t nvm, void *(*entry)(void *))
{
	struct worker w[THREADS];

	atomic_store(&finished, 0);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){
		    vm[i % nvm], 0, (unsigned char)(i + 1), i + 1};
		assert_int_equal(
		    pthread_create(&w[i].thread, NULL, entry, &w[i]), 0);
	}
	look_around(vm[0], THREADS);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(w[i].thread, NULL), 0);
	assert_int_equal(atomic_load(&conflicts), 0);
}

static void
threads_share_one_arena(void **state)
{
	vmem_t *vm = plain_arena(1, UNITS, 1);
	(void)state;

	run(&vm, 1, mixed_main);
	done(vm);
}

static void
threads_share_a_source(void **state)
{
	vmem_t *source = plain_arena(1, UNITS, 1);
	vmem_t *vm[2];
	(void)state;

	for (unsigned i = 0; i < 2; i++)
		vm[i] = vmem_create("child", NULL, 0, 1, vmem_alloc, vmem_free,
		    source, 0, VM_NOSLEEP);
	run(vm, 2, mixed_main);
	done(vm[0]);
	done(vm[1]);
	done(source);
}

static void
sleepers_all_get_their_turn(void **state)
{
	vmem_t *source = plain_arena(1, UNITS, 1);
	vmem_t *vm[3];
	(void)state;

	run(&source, 1, sleepy_main);
	vm[0] = source;
	for (unsigned i = 1; i < 3; i++)
		vm[i] = vmem_create("child", NULL, 0, 1, vmem_alloc, vmem_free,
		    source, 0, VM_NOSLEEP);
	run(vm, 3, sleepy_main);
	done(vm[1]);
	done(vm[2]);
	done(source);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(threads_share_one_arena),
	    cmocka_unit_test(threads_share_a_source),
	    cmocka_unit_test(sleepers_all_get_their_turn),
	};

	if (getenv("QR_TEST_QUICK") != NULL)
		steps = QUICK;
	return (cmocka_run_group_tests_name("vmem_threads", tests, NULL, NULL));
}
