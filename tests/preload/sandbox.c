/*
 * sandbox.c - malloc after a program has given up most system calls.
 *
 * The list is what OpenSSH leaves the process that talks to strangers; some of
 * those that it answers with an error are fatal here too.
 */
#define _GNU_SOURCE 1 /* MAP_ANONYMOUS */

#include "check.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { SECONDS = 60, THREADS = 4, LIVE = 200 };

static const int allowed[] = {
    SYS_brk,
    SYS_clock_gettime,
    SYS_clock_nanosleep,
    SYS_close,
    SYS_exit,
    SYS_exit_group,
    SYS_futex,
    SYS_geteuid,
    SYS_getpgid,
    SYS_getpid,
    SYS_getrandom,
    SYS_gettimeofday,
    SYS_getuid,
    SYS_madvise,
    SYS_mmap,
    SYS_mprotect,
    SYS_mremap,
    SYS_munmap,
    SYS_nanosleep,
    SYS_pselect6,
    SYS_read,
    SYS_rt_sigprocmask,
    SYS_shutdown,
    SYS_write,
};

enum { ALLOWED = sizeof(allowed) / sizeof(allowed[0]) };

/* Everything else gets `otherwise`, in all threads. */
static void
enter_sandbox(uint32_t otherwise)
{
	struct sock_filter code[2 * ALLOWED + 2];
	struct sock_fprog program = {0, code};
	size_t n = 0;

	code[n++] = (struct sock_filter)BPF_STMT(
	    BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	for (size_t i = 0; i < ALLOWED; i++) {
		code[n++] = (struct sock_filter)BPF_JUMP(
		    BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)allowed[i], 0, 1);
		code[n++] = (struct sock_filter)BPF_STMT(
		    BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	}
	code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, otherwise);
	program.len = (unsigned short)n;
	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
		SECCOMP_FILTER_FLAG_TSYNC, &program) != 0)
		_exit(CHECK_SKIPPED);
}

/* ---- what is done inside ---- */

static size_t
size_at(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005u + 1442695040888963407u;
	if (*seed >> 57 == 0)
		return (130000 + (*seed >> 33) % 100000);
	return (1 + (*seed >> 33) % ((size_t)16 << (*seed >> 61)));
}

static void
churn(unsigned steps, uint64_t seed)
{
	char *live[LIVE] = {NULL};

	for (unsigned i = 0; i < steps; i++) {
		size_t size = size_at(&seed);
		char **p = &live[seed >> 40 & 127];

		switch (i % 4) {
		case 0:
			*p = realloc(*p, size);
			break;
		case 1:
			free(*p);
			*p = aligned_alloc(4096, size);
			break;
		default:
			free(*p);
			*p = i % 4 == 2 ? malloc(size) : calloc(1, size);
		}
		CHECK(*p != NULL);
		(*p)[0] = 1;
		(*p)[size - 1] = 1;
	}
	for (size_t i = 0; i < LIVE; i++)
		free(live[i]);
}

static void
run_out_of_memory(void)
{
	errno = 0;
	CHECK(malloc((size_t)1 << 60) == NULL && errno == ENOMEM);
	CHECK(malloc((size_t)1 << 46) == NULL && errno == ENOMEM);
}

static void
grow(size_t mib)
{
	char *p[256];

	CHECK(mib <= 256);
	for (size_t i = 0; i < mib; i++) {
		p[i] = malloc((size_t)1 << 20);
		CHECK(p[i] != NULL);
		p[i][0] = 1;
	}
	churn(2000, 3);
	for (size_t i = 0; i < mib; i++)
		free(p[i]);
}

/* What a program may do, and what the library then does on its own. */
static void
use_malloc(size_t mib)
{
	churn(20000, 1);
	grow(mib);
	(void)malloc_trim(0);
	run_out_of_memory();
	churn(20000, 2);
	CHECK(mallinfo2().arena > 0);
}

/* ---- the tests ---- */

/* In a child, because there is no way out. */
static void
run_child(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	CHECK(pid != -1);
	if (pid == 0) {
		(void)alarm(SECONDS);
		fn();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CHECK_SKIPPED)
		check_skip("no seccomp filters here");
	if (status != 0)
		check_say(STDERR_FILENO, "wait status %#x\n", status);
	CHECK(status == 0);
}

static void
alone(void)
{
	enter_sandbox(SECCOMP_RET_KILL_PROCESS);
	use_malloc(8);
}

/* Must be the first test: until here the process has one thread. */
static void
a_program_of_one_thread_makes_none_of_the_other_system_calls(void)
{
	run_child(alone);
}

static void
alone_and_large(void)
{
	enter_sandbox(SECCOMP_RET_KILL_PROCESS);
	use_malloc(100);
}

static void
without_the_thread_its_heap_may_be_large(void)
{
	const char *options = getenv("QUARRY_OPTIONS");

	if (options != NULL && strcmp(options, "nothread") == 0)
		run_child(alone_and_large);
}

static pthread_barrier_t inside;

static void *
churn_inside(void *arg)
{
	(void)pthread_barrier_wait(&inside);
	(void)pthread_barrier_wait(&inside);
	churn(30000, (uintptr_t)arg);
	return (NULL);
}

static pthread_t thread[THREADS];

static void
start_threads(uint32_t otherwise)
{
	CHECK(pthread_barrier_init(&inside, NULL, THREADS + 1) == 0);
	for (uintptr_t i = 0; i < THREADS; i++)
		CHECK(pthread_create(
			  &thread[i], NULL, churn_inside, (void *)i) == 0);
	(void)pthread_barrier_wait(&inside);
	enter_sandbox(otherwise);
	(void)pthread_barrier_wait(&inside);
}

static void
join_threads(void)
{
	for (size_t i = 0; i < THREADS; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
}

static void
together(void)
{
	start_threads(SECCOMP_RET_KILL_PROCESS);
	churn(30000, 99);
	join_threads();
}

static void
threads_that_wait_for_each_other_make_none_either(void)
{
	run_child(together);
}

static void
together_and_refused(void)
{
	start_threads(SECCOMP_RET_ERRNO | EPERM);
	use_malloc(100);
	join_threads();
	use_malloc(10);
}

static void
what_is_refused_is_done_without(void)
{
	run_child(together_and_refused);
}

static const struct check table[] = {
    CHECK_THAT(a_program_of_one_thread_makes_none_of_the_other_system_calls),
    CHECK_THAT(without_the_thread_its_heap_may_be_large),
    CHECK_THAT(threads_that_wait_for_each_other_make_none_either),
    CHECK_THAT(what_is_refused_is_done_without),
};

CHECK_MAIN(table)
