/*
 * fork.c - fork, posix_spawn and vfork while other threads allocate: parent and
 * child both go on.
 */
#define _GNU_SOURCE 1 /* vfork, setitimer, sched_setaffinity */

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/single_threaded.h>
#include <sys/time.h>
#include <sys/wait.h>

enum { WORKERS = 4, LIVE = 40, FORKS = 100, SECONDS = 60 };

extern char **environ;

/* ---- load ---- */

static _Atomic bool stop;
static _Atomic unsigned long rounds;

/* A block that says in its first and last byte who owns it. */
struct mine {
	unsigned char *m_p;
	size_t m_size;
};

static size_t
size_at(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	if (*seed >> 55 == 0)
		return (150000 + (*seed >> 33) % 100000);
	return (1 + (*seed >> 33) % ((size_t)16 << (*seed >> 60)));
}

static void
mine_take(struct mine *m, size_t size, unsigned char mark)
{
	m->m_p = malloc(size);
	CHECK(m->m_p != NULL);
	m->m_size = size;
	m->m_p[0] = mark;
	m->m_p[size - 1] = mark;
}

static void
mine_give(struct mine *m, unsigned char mark)
{
	CHECK(m->m_p == NULL ||
	    (m->m_p[0] == mark && m->m_p[m->m_size - 1] == mark));
	free(m->m_p);
	m->m_p = NULL;
}

static void
churn(unsigned steps, unsigned char mark)
{
	struct mine live[LIVE] = {{0}};
	uint64_t seed = mark;

	for (unsigned i = 0; i < steps; i++) {
		struct mine *m = &live[i % LIVE];

		mine_give(m, mark);
		mine_take(m, size_at(&seed), mark);
	}
	for (unsigned i = 0; i < LIVE; i++)
		mine_give(&live[i], mark);
}

static void *
load(void *arg)
{
	while (!stop) {
		churn(500, (unsigned char)(uintptr_t)arg);
		atomic_fetch_add(&rounds, 1);
	}
	return (NULL);
}

static pthread_t worker[WORKERS];

static void
start_load(void)
{
	stop = false;
	for (uintptr_t i = 0; i < WORKERS; i++)
		CHECK(pthread_create(&worker[i], NULL, load, (void *)(i + 1)) ==
		    0);
}

/* The parent's threads went on meanwhile, and their blocks are whole. */
static void
stop_load(void)
{
	unsigned long before = rounds;

	while (rounds < before + WORKERS)
		(void)usleep(1000);
	stop = true;
	for (size_t i = 0; i < WORKERS; i++)
		CHECK(pthread_join(worker[i], NULL) == 0);
}

/* ---- children ---- */

static void *
child_thread(void *arg)
{
	churn(300, (unsigned char)(uintptr_t)arg);
	return (strdup("done"));
}

static void
child_threads(void)
{
	pthread_t id[2];
	void *result;

	for (uintptr_t i = 0; i < 2; i++)
		CHECK(pthread_create(
			  &id[i], NULL, child_thread, (void *)(i + 50)) == 0);
	for (size_t i = 0; i < 2; i++) {
		CHECK(pthread_join(id[i], &result) == 0);
		CHECK(strcmp(result, "done") == 0);
		free(result);
	}
}

static void
exec_true(void)
{
	(void)execl("/bin/true", "true", (char *)NULL);
	_exit(2);
}

/* Everything that a child may want to do. */
static void
child_work(unsigned n, struct mine *inherited, unsigned char mark)
{
	(void)alarm(SECONDS);
	mine_give(inherited, mark);
	churn(200, 99);
	if (n % 5 == 0)
		child_threads();
	if (n % 7 == 0)
		(void)malloc_trim(0);
	if (n % 11 == 0) {
		CHECK(mallinfo2().arena > 0);
		exec_true();
	}
	if (n % 13 == 0) {
		pid_t pid = fork();
		int status = 1;

		CHECK(pid != -1);
		if (pid == 0) {
			churn(100, 98);
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	}
	if (n % 17 == 0)
		exit(0);
}

static void
wait_for(pid_t pid)
{
	int status;

	CHECK(pid != -1);
	while (waitpid(pid, &status, 0) == -1)
		CHECK(errno == EINTR);
	if (status != 0)
		check_say(STDERR_FILENO, "wait status %#x\n", status);
	CHECK(status == 0);
}

static void
fork_many(unsigned n, unsigned char mark)
{
	for (unsigned i = 1; i <= n; i++) {
		struct mine m;
		pid_t pid;

		mine_take(&m, i * 37, mark);
		pid = fork();
		if (pid == 0) {
			child_work(i, &m, mark);
			_exit(0);
		}
		wait_for(pid);
		mine_give(&m, mark);
	}
}

static void
a_hundred_children_of_a_busy_process_work(void)
{
	start_load();
	fork_many(FORKS, 77);
	stop_load();
}

static void *
fork_thread(void *arg)
{
	fork_many(25, (unsigned char)(uintptr_t)arg);
	return (NULL);
}

static void
several_threads_may_fork_at_once(void)
{
	pthread_t id[3];

	start_load();
	for (uintptr_t i = 0; i < 3; i++)
		CHECK(pthread_create(
			  &id[i], NULL, fork_thread, (void *)(i + 60)) == 0);
	for (size_t i = 0; i < 3; i++)
		CHECK(pthread_join(id[i], NULL) == 0);
	stop_load();
}

/* ---- handlers of others ---- */

static _Atomic bool handlers_allocate;
static _Atomic unsigned handlers_ran;

/* Of sizes that nobody has used yet, too. */
static void
allocate_in_fork(void)
{
	unsigned n = atomic_fetch_add(&handlers_ran, 1);

	if (!handlers_allocate)
		return;
	churn(50, 44);
	free(malloc(n * 64 % 140000));
	free(malloc(3000000));
	if (n % 8 == 0)
		(void)malloc_trim(0);
}

/* Runs before all constructors: ours are the first handlers there are. */
static void
register_first(void)
{
	CHECK(pthread_atfork(
		  allocate_in_fork, allocate_in_fork, allocate_in_fork) == 0);
}

__attribute__((section(".preinit_array"), used)) static void (*const first)(
    void) = register_first;

static void
handlers_that_were_there_before_the_library_may_allocate(void)
{
	handlers_ran = 0;
	handlers_allocate = true;
	fork_many(5, 77);
	start_load();
	fork_many(FORKS / 5, 77);
	stop_load();
	handlers_allocate = false;
	CHECK(handlers_ran >= 2 * FORKS / 5);
}

/* ---- handlers of signals ---- */

static volatile sig_atomic_t forks, is_child;

/* Once, and not always at the same place. */
static void
interrupt_soon(void)
{
	struct itimerval soon = {{0, 0}, {0, 100 + forks % 10 * 20}};

	CHECK(setitimer(ITIMER_REAL, &soon, NULL) == 0);
}

static void
fork_in_handler(int number)
{
	pid_t pid = fork();

	(void)number;
	if (pid == 0 && forks % 2 == 0)
		_exit(0);
	if (pid == 0) {
		is_child = 1;
		return;
	}
	wait_for(pid);
	if (++forks < FORKS)
		interrupt_soon();
}

/*
 * Must be the first test: until here the process has one thread, and that of the
 * library comes with a heap of 32 MiB.  The children that return from the handler
 * finish what it interrupted.
 */
static void
a_handler_that_interrupted_malloc_may_fork(void)
{
	struct sigaction sa = {.sa_handler = fork_in_handler};
	cpu_set_t all, one;

	/* With what several CPUs keep, its heap would come to 32 MiB. */
	CPU_ZERO(&one);
	CPU_SET((unsigned)sched_getcpu(), &one);
	CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
	CHECK(sched_setaffinity(0, sizeof(one), &one) == 0);
	CHECK(sigaction(SIGALRM, &sa, NULL) == 0);
	interrupt_soon();
	while (forks < FORKS && !is_child) {
		CHECK(__libc_single_threaded);
		churn(500, 55);
	}
	CHECK(sched_setaffinity(0, sizeof(all), &all) == 0);
	if (is_child) {
		churn(500, 56);
		_exit(0);
	}
	CHECK(signal(SIGALRM, SIG_DFL) == fork_in_handler);
	(void)alarm(2 * SECONDS);
}

static void
posix_spawn_works_in_a_busy_process(void)
{
	static char name[] = "true";
	char *argv[] = {name, NULL};

	start_load();
	for (int i = 0; i < 40; i++) {
		pid_t pid = -1;

		CHECK(posix_spawn(
			  &pid, "/bin/true", NULL, NULL, argv, environ) == 0);
		wait_for(pid);
	}
	stop_load();
}

static void
vfork_and_exec_work_in_a_busy_process(void)
{
	start_load();
	for (int i = 0; i < 40; i++) {
		pid_t pid = vfork();

		if (pid == 0)
			exec_true();
		wait_for(pid);
	}
	stop_load();
}

static void
system_and_popen_work_in_a_busy_process(void)
{
	start_load();
	for (int i = 0; i < 10; i++) {
		char line[64] = "";
		FILE *fp = popen("echo hello", "re");

		CHECK(fp != NULL);
		CHECK(fgets(line, sizeof(line), fp) == line);
		CHECK(strcmp(line, "hello\n") == 0 && pclose(fp) == 0);
		CHECK(system("exit 3") == 3 << 8);
	}
	stop_load();
}

/* Each generation inherits from the one before. */
static void
a_child_of_a_child_of_a_child_works(void)
{
	int status = 0;
	pid_t pid;

	for (int depth = 0; depth < 20; depth++) {
		struct mine m;

		child_threads();
		mine_take(&m, 5000, 20);
		pid = fork();
		CHECK(pid != -1);
		if (pid != 0) {
			CHECK(waitpid(pid, &status, 0) == pid);
			mine_give(&m, 20);
			CHECK(status == 0);
			if (depth > 0)
				_exit(0);
			return;
		}
		mine_give(&m, 20);
	}
	_exit(0);
}

/* ---- cached stacks ---- */

/* More than the 40 MiB of stacks that glibc keeps. */
enum { STACKS = 7, STACK = 8 << 20, GROWN_MIB = 64 };

/* One miss in so many looks whether there is something to be done. */
enum { EVERY = 16 };

static pthread_barrier_t together;

static void *
wait_for_all(void *arg)
{
	(void)pthread_barrier_wait(&together);
	return (arg);
}

static void
make_stacks_and_drop_them(unsigned mallocs)
{
	pthread_t id[STACKS];
	pthread_attr_t attr;

	while (mallocs-- > 0)
		CHECK(malloc(100) != NULL);
	CHECK(pthread_barrier_init(&together, NULL, STACKS + 1) == 0);
	CHECK(pthread_attr_init(&attr) == 0);
	CHECK(pthread_attr_setstacksize(&attr, STACK) == 0);
	for (size_t i = 0; i < STACKS; i++)
		CHECK(pthread_create(&id[i], &attr, wait_for_all, NULL) == 0);
	(void)pthread_barrier_wait(&together);
	for (size_t i = 0; i < STACKS; i++)
		CHECK(pthread_join(id[i], NULL) == 0);
}

/* One that hangs may have all signals blocked. */
static void
wait_or_kill(pid_t pid)
{
	int status = 0;

	for (unsigned ms = 0; ms < 20000; ms++) {
		if (waitpid(pid, &status, WNOHANG) == pid) {
			CHECK(status == 0);
			return;
		}
		(void)usleep(1000);
	}
	(void)kill(pid, SIGKILL);
	CHECK(!"the child ends");
}

/*
 * The C library frees thread-local storage of the stacks it gives up with a
 * lock held that pthread_create() takes: a library that makes its own thread
 * then waits for itself.  Run with UMEM_OPTIONS=nomagazines, so that every
 * call is a miss, and from every state of its count of them.
 */
static void
freeing_in_the_middle_of_pthread_join_is_safe(void)
{
	static char *grown[GROWN_MIB];

	for (size_t i = 0; i < GROWN_MIB; i++) {
		grown[i] = malloc((size_t)1 << 20);
		CHECK(grown[i] != NULL);
	}
	for (unsigned n = 0; n < EVERY * EVERY; n++) {
		pid_t pid = fork();

		CHECK(pid != -1);
		if (pid == 0) {
			make_stacks_and_drop_them(n % EVERY);
			_exit(0);
		}
		wait_or_kill(pid);
		if (n % EVERY == 0)
			CHECK(malloc(100) != NULL);
	}
}

static const struct check table[] = {
    CHECK_THAT(a_handler_that_interrupted_malloc_may_fork),
    CHECK_THAT(a_hundred_children_of_a_busy_process_work),
    CHECK_THAT(several_threads_may_fork_at_once),
    CHECK_THAT(handlers_that_were_there_before_the_library_may_allocate),
    CHECK_THAT(posix_spawn_works_in_a_busy_process),
    CHECK_THAT(vfork_and_exec_work_in_a_busy_process),
    CHECK_THAT(system_and_popen_work_in_a_busy_process),
    CHECK_THAT(a_child_of_a_child_of_a_child_works),
    CHECK_THAT(freeing_in_the_middle_of_pthread_join_is_safe),
};

int
main(int argc, char **argv)
{
	(void)alarm(2 * SECONDS);
	return (
	    check_main(argc, argv, table, sizeof(table) / sizeof(table[0])));
}
