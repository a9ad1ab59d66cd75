/*
 * os_trace_test.c - who calls, and when.
 */
#include "os/os_trace.h"

#include "base/compiler.h"
#include "os/os.h"
#include "os/os_module.h"
#include "support/child.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { FRAMES = 64, ALT_STACK = 64 << 10 };

static uintptr_t pcs[FRAMES];

/* ---- frames ---- */

/* As deep as it says, and not to be folded. */
static QR_NOINLINE unsigned
descend(unsigned depth, unsigned n)
{
	unsigned got =
	    depth == 0 ? os_trace_stack(pcs, n) : descend(depth - 1, n);

	__asm__ volatile("" ::: "memory");
	return (got);
}

static void
each_call_is_a_frame(void **state)
{
	(void)state;

	for (unsigned depth = 1; depth < 40; depth++) {
		unsigned n = descend(depth, FRAMES);

		assert_true(n > depth);
		for (unsigned i = 1; i < depth; i++)
			assert_true(pcs[i] == pcs[0]);
		assert_true(pcs[depth] != pcs[0]);
	}
}

static void
no_more_frames_are_taken_than_there_is_room_for(void **state)
{
	(void)state;

	pcs[5] = 12345;
	assert_int_equal(descend(20, 5), 5);
	assert_int_equal(pcs[5], 12345);
	assert_int_equal(descend(20, 0), 0);
}

static void *
in_a_thread(void *arg)
{
	unsigned n = descend(10, FRAMES);

	return (n > 10 && n < FRAMES ? arg : NULL);
}

static void
a_thread_has_a_stack_of_its_own(void **state)
{
	pthread_t thread;
	void *result;
	(void)state;

	assert_int_equal(pthread_create(&thread, NULL, in_a_thread, pcs), 0);
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, pcs);
	assert_true(os_trace_thread() == (uintptr_t)pthread_self());
}

/*
 * Whatever stands where a frame pointer should, the walk ends there and reads
 * nothing that is not stack.
 */
static QR_NOINLINE void
walk_from(uintptr_t next)
{
	uintptr_t *frame = __builtin_frame_address(0);
	uintptr_t saved = frame[0];

	frame[0] = next;
	(void)os_trace_stack(pcs, FRAMES);
	frame[0] = saved;
}

static void
a_frame_pointer_that_is_none_ends_the_walk(void **state)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	static const uintptr_t wrong[] = {0, 1, 8, 0x1000, UINTPTR_MAX,
	    UINTPTR_MAX - 7, 0x7fffffffffffffff, (uintptr_t)1 << 47};
	(void)state;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		walk_from(wrong[i]);
	for (uintptr_t off = 1; off < (uintptr_t)1 << 46; off *= 2) {
		walk_from(here + off);
		walk_from((here + off) & ~(uintptr_t)7);
		walk_from(here - off);
	}
}

static void
on_a_stack_of_the_programs_own(int number)
{
	(void)number;
	walk_from((uintptr_t)__builtin_frame_address(0) + (64 << 10));
	walk_from((uintptr_t)__builtin_frame_address(0) + (100 << 10));
	(void)descend(10, FRAMES);
}

/* The stack ends where memory does. */
static void
handle_on_a_stack_that_ends(void *fn)
{
	char *map = mmap(NULL, 2 * ALT_STACK, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t ss = {.ss_sp = map, .ss_size = ALT_STACK};
	struct sigaction sa = {
	    .sa_handler = *(void (**)(int))fn, .sa_flags = SA_ONSTACK};

	CHILD_CHECK(map != MAP_FAILED);
	CHILD_CHECK(mprotect(map + ALT_STACK, ALT_STACK, PROT_NONE) == 0);
	CHILD_CHECK(sigaltstack(&ss, NULL) == 0);
	CHILD_CHECK(sigaction(SIGUSR1, &sa, NULL) == 0);
	CHILD_CHECK(raise(SIGUSR1) == 0);
}

static void
a_stack_that_is_nobodys_is_not_walked_past_its_page(void **state)
{
	void (*fn)(int) = on_a_stack_of_the_programs_own;
	(void)state;

	child_expect_exit(handle_on_a_stack_that_ends, &fn, 0);
}

static void
without_a_look_at_the_maps(int number)
{
	(void)number;
	failsys_from(FAILSYS_OPEN, 1, ENFILE);
	CHILD_CHECK(descend(1, FRAMES) >= 1);
	CHILD_CHECK(failsys_calls(FAILSYS_OPEN) > 0);
	walk_from((uintptr_t)__builtin_frame_address(0) + ALT_STACK);
	failsys_reset();
}

/* Where that cannot be known, it is the page. */
static void
a_stack_that_cannot_be_looked_up_is_walked_too(void **state)
{
	void (*fn)(int) = without_a_look_at_the_maps;
	(void)state;

	child_expect_exit(handle_on_a_stack_that_ends, &fn, 0);
}

/* ---- signals ---- */

static volatile sig_atomic_t seen;

static QR_NOINLINE void
ask(void)
{
	unsigned n = descend(3, FRAMES);

	seen = os_trace_in_signal(pcs, n);
}

static void
handler(int number)
{
	(void)number;
	ask();
}

static void
a_handler_is_told_from_other_code(void **state)
{
	struct sigaction sa = {.sa_handler = handler}, old;
	stack_t ss = {.ss_sp = malloc(ALT_STACK), .ss_size = ALT_STACK};
	(void)state;

	/* A sanitizer runs handlers when it suits it, in a frame of its own. */
	if (look_shadowed())
		skip();
	os_trace_signals();
	ask();
	assert_false(seen);
	assert_int_equal(sigaction(SIGUSR1, &sa, &old), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	/* Valgrind has its own way back from a handler. */
	assert_true(seen || os_on_valgrind());
	ask();
	assert_false(seen);
	assert_int_equal(sigaltstack(&ss, NULL), 0);
	sa.sa_flags = SA_ONSTACK;
	assert_int_equal(sigaction(SIGUSR1, &sa, NULL), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_true(seen);
	ask();
	assert_false(seen);
	ss.ss_flags = SS_DISABLE;
	assert_int_equal(sigaltstack(&ss, NULL), 0);
	free(ss.ss_sp);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
}

static void
asking_about_signals_changes_no_handler(void **state)
{
	struct sigaction before, after;
	(void)state;

	assert_int_equal(sigaction(SIGRTMAX, NULL, &before), 0);
	os_trace_signals();
	assert_int_equal(sigaction(SIGRTMAX, NULL, &after), 0);
	assert_true(before.sa_handler == after.sa_handler);
}

/* ---- the clock ---- */

static void
the_cheap_clock_agrees_with_the_other(void **state)
{
	uint64_t start = os_now(), ticks = os_trace_ticks(), ago, real;
	(void)state;

	assert_int_equal(usleep(look_quick() ? 20000 : 100000), 0);
	ago = os_trace_ago(ticks);
	real = os_now() - start;
	assert_in_range(ago, real - real / 5, real + real / 5);
	assert_true(os_trace_ago(os_trace_ticks()) < 1000000000);
	assert_int_equal(os_trace_ago(os_trace_ticks() + (1u << 31)), 0);
}

/* ---- modules ---- */

/* For it the linker makes a segment of zeros, which are at no place in the file. */
static volatile char zeros[1 << 16] __attribute__((aligned(1 << 16)));

static void
code_is_found_in_its_file(void **state)
{
	struct os_module om;
	char path[OS_MODULE_PATH] = {0};
	(void)state;

	assert_true(os_module_find((uintptr_t)code_is_found_in_its_file, &om));
	assert_true(readlink("/proc/self/exe", path, sizeof(path) - 1) > 0);
	if (!os_on_valgrind())
		assert_string_equal(om.om_path, path);
	assert_true(om.om_idlen == 20);
	assert_int_equal(zeros[om.om_idlen], 0);
	assert_true((uintptr_t)code_is_found_in_its_file - om.om_start <
	    om.om_end - om.om_start);
	assert_true(
	    om.om_offset % 4096 == (uintptr_t)code_is_found_in_its_file % 4096);

	/* Another of the same file: as far apart in both. */
	{
		struct os_module other;

		assert_true(os_module_find((uintptr_t)handler, &other));
		assert_string_equal(other.om_path, om.om_path);
		assert_true(other.om_offset - om.om_offset ==
		    (uintptr_t)handler - (uintptr_t)code_is_found_in_its_file);
		assert_memory_equal(other.om_id, om.om_id, 20);
	}
	assert_true(os_module_find((uintptr_t)tzset, &om));
	assert_non_null(strstr(om.om_path, "libc"));
}

/* As a library whose zeros are between its segments of code. */
static void
code_behind_zeros_is_of_the_file_before_them(void **state)
{
	enum { CODE = 3 };
	size_t page = os_page_size();
	int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct os_module om, mine;
	char *at;
	(void)state;

	assert_true(fd >= 0);
	assert_true(
	    os_module_find((uintptr_t)code_is_found_in_its_file, &mine));
	at = mmap(NULL, (CODE + 1) * page, PROT_NONE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(at, MAP_FAILED);
	assert_ptr_equal(
	    mmap(at, page, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd, 0), at);
	assert_ptr_equal(mmap(at + CODE * page, page, PROT_READ | PROT_EXEC,
			     MAP_PRIVATE | MAP_FIXED, fd, (off_t)page),
	    at + CODE * page);
	assert_true(os_module_find((uintptr_t)at + CODE * page + 1, &om));
	assert_string_equal(om.om_path, mine.om_path);
	assert_int_equal(om.om_offset, CODE * page + 1);
	assert_int_equal(om.om_start, at);
	assert_int_equal(om.om_end, at + (CODE + 1) * page);
	assert_false(os_module_find((uintptr_t)at + page, &om));
	assert_int_equal(munmap(at, (CODE + 1) * page), 0);
	assert_int_equal(close(fd), 0);
}

static void
what_is_no_code_is_not_found(void **state)
{
	struct os_module om;
	int here;
	(void)state;

	assert_false(os_module_find((uintptr_t)&here, &om));
	assert_false(os_module_find((uintptr_t)&seen, &om));
	assert_false(os_module_find(0, &om));
	assert_false(os_module_find(UINTPTR_MAX, &om));
	assert_false(os_module_find((uintptr_t)1 << 46, &om));
}

/* ---- address space ---- */

static char *reserved;

static void
touch_reserved(void *arg)
{
	*(volatile char *)arg = 1;
}

static void
reserved_space_is_memory_only_where_it_is_made(void **state)
{
	size_t page = os_page_size();
	struct child c;
	(void)state;

	reserved = os_reserve(16 * page);
	assert_non_null(reserved);
	assert_true(os_commit(reserved + page, 2 * page));
	memset(reserved + page, 1, 2 * page);
	child_run(&c, touch_reserved, reserved);
	assert_int_equal(c.c_signal, SIGSEGV);
	child_run(&c, touch_reserved, reserved + 3 * page);
	assert_int_equal(c.c_signal, SIGSEGV);
	assert_true(os_decommit(reserved + page, page));
	child_run(&c, touch_reserved, reserved + page);
	assert_int_equal(c.c_signal, SIGSEGV);
	assert_int_equal(reserved[2 * page], 1);
	assert_true(os_commit(reserved + 2 * page, page));
	assert_int_equal(reserved[2 * page], 0);
	assert_true(os_unmap(reserved, 16 * page));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(each_call_is_a_frame),
	    cmocka_unit_test(no_more_frames_are_taken_than_there_is_room_for),
	    cmocka_unit_test(a_thread_has_a_stack_of_its_own),
	    cmocka_unit_test(a_frame_pointer_that_is_none_ends_the_walk),
	    cmocka_unit_test(
		a_stack_that_is_nobodys_is_not_walked_past_its_page),
	    cmocka_unit_test(a_stack_that_cannot_be_looked_up_is_walked_too),
	    cmocka_unit_test(a_handler_is_told_from_other_code),
	    cmocka_unit_test(asking_about_signals_changes_no_handler),
	    cmocka_unit_test(the_cheap_clock_agrees_with_the_other),
	    cmocka_unit_test(code_is_found_in_its_file),
	    cmocka_unit_test(code_behind_zeros_is_of_the_file_before_them),
	    cmocka_unit_test(what_is_no_code_is_not_found),
	    cmocka_unit_test(reserved_space_is_memory_only_where_it_is_made),
	};

	os_trace_begin();
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
