/*
 * oom.c - every operation of the malloc family with every system call failing
 * in turn: NULL and ENOMEM, nothing lost, and all is well afterwards.
 *
 * Preloaded with failmap.so and the library.  Each case runs in a child of a
 * process that has not allocated yet, so that it meets all there is to set up.
 */
#define _GNU_SOURCE 1 /* reallocarray, pvalloc */

#include "check.h"
#include "failmap.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/wait.h>

enum { SMALL = 100, LARGE = 300000, HUGE = 70 << 20 };
enum { NTH_MAX = 40, MARKED_MAX = 1 << 20 };

/* ---- the operations ---- */

/* What realloc is given; the operation takes it over when it succeeds. */
static char *before;

static void *
take(void *p)
{
	if (p != NULL)
		before = NULL;
	return (p);
}

static void *
do_malloc(void)
{
	return (malloc(SMALL));
}

static void *
do_malloc_large(void)
{
	return (malloc(LARGE));
}

static void *
do_malloc_huge(void)
{
	return (malloc(HUGE));
}

static bool
zero(const char *p, size_t size)
{
	return (p == NULL || check_bytes(p, size, 0));
}

static void *
do_calloc(void)
{
	char *p = calloc(4, 25);

	CHECK(zero(p, 100));
	return (p);
}

static void *
do_calloc_large(void)
{
	char *p = calloc(1, LARGE);

	CHECK(zero(p, LARGE));
	return (p);
}

static void *
do_realloc_new(void)
{
	return (realloc(NULL, SMALL));
}

static void *
do_grow(void)
{
	return (take(realloc(before, 5000)));
}

static void *
do_grow_large(void)
{
	return (take(realloc(before, LARGE)));
}

static void *
do_grow_huge(void)
{
	return (take(reallocarray(before, 10, HUGE / 10)));
}

static void *
do_shrink(void)
{
	return (take(realloc(before, 10)));
}

static void *
do_memalign(void)
{
	return (memalign(64, SMALL));
}

static void *
do_memalign_wide(void)
{
	return (memalign((size_t)4 << 20, SMALL));
}

static void *
do_aligned_alloc(void)
{
	return (aligned_alloc(4096, LARGE));
}

static void *
do_posix_memalign(void)
{
	void *p = &p;
	int error;

	errno = 0;
	error = posix_memalign(&p, 65536, SMALL);
	CHECK(errno == 0 && (error == 0 || error == ENOMEM));
	CHECK(error == 0 || p == &p);
	errno = error;
	return (error == 0 ? p : NULL);
}

static void *
do_valloc(void)
{
	return (valloc(SMALL));
}

static void *
do_pvalloc(void)
{
	return (pvalloc(LARGE));
}

static void *
do_strdup(void)
{
	return (strdup("a string"));
}

/* What follows cannot fail, and so needs no memory. */

static char nothing[1];

static void *
do_free(void)
{
	free(before);
	before = NULL;
	return (nothing);
}

static void *
do_trim(void)
{
	free(before);
	before = NULL;
	(void)malloc_trim(0);
	return (nothing);
}

static void *
do_ask(void)
{
	CHECK(before == NULL || malloc_usable_size(before) > 0);
	CHECK(mallinfo2().uordblks < (size_t)1 << 40);
	return (nothing);
}

struct op {
	const char *op_name;
	void *(*op_fn)(void);
	size_t op_before; /* size of the block there is before */
	bool op_sure;     /* cannot fail */
};

static const struct op ops[] = {
    {"malloc", do_malloc, 0, false},
    {"malloc large", do_malloc_large, 0, false},
    {"malloc huge", do_malloc_huge, 0, false},
    {"calloc", do_calloc, 0, false},
    {"calloc large", do_calloc_large, 0, false},
    {"realloc NULL", do_realloc_new, 0, false},
    {"realloc small to small", do_grow, SMALL, false},
    {"realloc small to large", do_grow_large, SMALL, false},
    {"realloc large to huge", do_grow_huge, LARGE, false},
    {"realloc large to small", do_shrink, LARGE, false},
    {"memalign", do_memalign, 0, false},
    {"memalign wide", do_memalign_wide, 0, false},
    {"aligned_alloc large", do_aligned_alloc, 0, false},
    {"posix_memalign", do_posix_memalign, 0, false},
    {"valloc", do_valloc, 0, false},
    {"pvalloc", do_pvalloc, 0, false},
    {"strdup", do_strdup, 0, false},
    {"free", do_free, SMALL, true},
    {"free large", do_free, LARGE, true},
    {"free huge", do_free, HUGE, true},
    {"malloc_trim", do_trim, LARGE, true},
    {"malloc_trim huge", do_trim, HUGE, true},
    {"malloc_usable_size, mallinfo2", do_ask, SMALL, true},
};

/* ---- one case ---- */

struct fault {
	enum failmap ft_kind;
	unsigned long ft_nth;
	bool ft_forever;
};

/* The C library has some blocks for the library's thread, if it may have one. */
static size_t for_thread = 1024;

/* How many bytes of the block from before are written. */
static size_t
marked(const struct op *op)
{
	return (op->op_before < MARKED_MAX ? op->op_before : MARKED_MAX);
}

static void
prepare(const struct op *op)
{
	if (op->op_before == 0 || before != NULL)
		return;
	before = malloc(op->op_before);
	CHECK(before != NULL);
	memset(before, 'b', marked(op));
}

static void
unharmed(const struct op *op)
{
	for (size_t i = 0; before != NULL && i < marked(op); i++)
		CHECK(before[i] == 'b');
}

static void
put(void *p)
{
	if (p != nothing)
		free(p);
}

/* Exit status 0: the fault was met; 3: there were fewer calls than that. */
static void
one_case(const struct op *op, const struct fault *ft)
{
	size_t used;
	void *p;
	bool met;

	prepare(op);
	used = check_in_use();
	failmap_arm(
	    ft->ft_kind, ft->ft_nth, ft->ft_forever ? ULONG_MAX : ft->ft_nth);
	errno = 0;
	p = op->op_fn();
	met = failmap_failed(ft->ft_kind) > 0;
	CHECK(p != NULL || (errno == ENOMEM && met && !op->op_sure));
	if (p == NULL)
		CHECK(check_in_use() <= used + for_thread);
	if (p != NULL && p != nothing)
		memset(p, 'p', 10);
	unharmed(op);
	failmap_arm(ft->ft_kind, 0, 0);
	/* Once more, now that the system gives memory again. */
	put(p);
	prepare(op);
	p = op->op_fn();
	CHECK(p != NULL);
	put(p);
	free(before);
	CHECK(check_in_use() <= for_thread);
	_exit(met ? 0 : 3);
}

static bool
met(const struct op *op, const struct fault *ft)
{
	static const char *const names[] = {
	    "mmap", "munmap", "madvise", "mprotect"};
	pid_t pid = fork();
	int status;

	CHECK(pid != -1);
	if (pid == 0) {
		(void)alarm(60);
		one_case(op, ft);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	if (status == 0 || status == 3 << 8)
		return (status == 0);
	check_say(STDERR_FILENO, "%s: %s %lu%s fails: wait status %#x\n",
	    op->op_name, names[ft->ft_kind], ft->ft_nth,
	    ft->ft_forever ? " and later" : "", status);
	_exit(1);
}

static unsigned faults_met;

static void
every_call_fails_in_turn(bool forever)
{
	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		for (int kind = 0; kind < FAILMAP_KINDS; kind++) {
			struct fault ft = {(enum failmap)kind, 1, forever};

			while (met(&ops[i], &ft)) {
				CHECK(++ft.ft_nth < NTH_MAX);
				faults_met++;
			}
		}
	}
}

static void
an_operation_survives_any_one_system_call_that_fails(void)
{
	every_call_fails_in_turn(false);
	check_say(STDOUT_FILENO, "%u faults\n", faults_met);
	CHECK(faults_met > 20);
}

static void
an_operation_survives_all_system_calls_failing_from_some_on(void)
{
	faults_met = 0;
	every_call_fails_in_turn(true);
	check_say(STDOUT_FILENO, "%u faults\n", faults_met);
	CHECK(faults_met > 20);
}

static const struct check table[] = {
    CHECK_THAT(an_operation_survives_any_one_system_call_that_fails),
    CHECK_THAT(an_operation_survives_all_system_calls_failing_from_some_on),
};

int
main(int argc, char **argv)
{
	const char *options = getenv("QUARRY_OPTIONS");

	CHECK(failmap_arm != NULL);
	if (options != NULL && strcmp(options, "nothread") == 0)
		for_thread = 0;
	return (
	    check_main(argc, argv, table, sizeof(table) / sizeof(table[0])));
}
