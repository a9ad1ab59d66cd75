/*
 * umem_api_test.c - memory of any size, and what happens when there is none.
 */
#include "support/again.h"
#include "support/child.h"
#include "support/cpus.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define GIB ((size_t)1 << 30)

/* More than any machine has, and less than what overflows. */
#define TOO_MUCH ((size_t)1 << 50)

enum { LARGEST_CLASS = 131072, PAGE = 4096 };

static int
end(void **state)
{
	(void)state;
	failsys_reset();
	umem_nofail_callback(NULL);
	look_check();
	return (0);
}

/* ---- sizes ---- */

static size_t
due_alignment(size_t size)
{
	if (size % PAGE == 0 || size > LARGEST_CLASS)
		return (PAGE);
	if (size % 64 == 0)
		return (64);
	return (size <= 8 ? 8 : 16);
}

/* Sizes around every multiple of 8 where classes may meet, and beyond. */
static size_t
next_size(size_t size)
{
	if (size < 600)
		return (size + (look_quick() ? 7 : 1));
	return (size + size / (look_quick() ? 4 : 16) - size % 3);
}

static void
a_block_of_any_size_is_aligned_and_wholly_usable(void **state)
{
	(void)state;

	for (size_t size = 1; size < 3000000; size = next_size(size)) {
		unsigned char *a = umem_alloc(size, UMEM_DEFAULT);
		unsigned char *b = umem_alloc(size, UMEM_DEFAULT);

		assert_non_null(a);
		assert_non_null(b);
		assert_int_equal((uintptr_t)a % due_alignment(size), 0);
		assert_int_equal((uintptr_t)b % due_alignment(size), 0);
		assert_true(a + size <= b || b + size <= a);
		memset(a, 0xaa, size);
		memset(b, 0xbb, size);
		assert_int_equal(a[0], 0xaa);
		assert_int_equal(a[size - 1], 0xaa);
		umem_free(a, size);
		umem_free(b, size);
	}
}

static void
sizes_that_are_multiples_of_64_or_the_page_are_aligned_so(void **state)
{
	size_t step = look_quick() ? 64 * 37 : 64;
	void *p[8];
	(void)state;

	for (size_t size = 64; size <= 262144; size += step) {
		size_t n = size < 8192 ? 8 : 2;

		for (size_t i = 0; i < n; i++) {
			p[i] = umem_alloc(size, 0);
			assert_int_equal(
			    (uintptr_t)p[i] % due_alignment(size), 0);
		}
		for (size_t i = 0; i < n; i++)
			umem_free(p[i], size);
	}
}

static void
t50_nothing_is_null_and_frees_as_null(void **state)
{
	(void)state;

	assert_null(umem_alloc(0, UMEM_DEFAULT));
	assert_null(umem_alloc(0, UMEM_NOFAIL));
	assert_null(umem_zalloc(0, UMEM_NOFAIL));
	assert_null(umem_alloc_align(0, 64, UMEM_NOFAIL));
	umem_free(NULL, 0);
	umem_free_align(NULL, 0);
}

static void
an_alignment_of_zero_is_that_of_eight(void **state)
{
	void *p = umem_alloc_align(24, 0, UMEM_DEFAULT);
	(void)state;

	assert_non_null(p);
	assert_int_equal((uintptr_t)p % 8, 0);
	umem_free_align(p, 24);
}

static void
what_overflows_or_exceeds_memory_is_null(void **state)
{
	(void)state;

	for (size_t k = 0; k < 100000; k = k * 2 + 1) {
		assert_null(umem_alloc(SIZE_MAX - k, UMEM_DEFAULT));
		assert_null(umem_zalloc(SIZE_MAX - k, UMEM_DEFAULT));
		assert_null(umem_alloc(SIZE_MAX / 2 + 1 + k, UMEM_DEFAULT));
		assert_null(umem_alloc(SIZE_MAX / 2 - k, UMEM_DEFAULT));
		for (size_t align = 1; align != 0; align *= 2)
			assert_null(umem_alloc_align(SIZE_MAX - k, align, 0));
	}
	assert_null(umem_alloc(TOO_MUCH, UMEM_DEFAULT));
	assert_null(umem_alloc_align(TOO_MUCH, 8, UMEM_DEFAULT));
	assert_null(umem_alloc_align(1, (size_t)1 << 63, UMEM_DEFAULT));
	assert_null(umem_alloc_align(1, (size_t)1 << 48, UMEM_DEFAULT));
}

static bool
is_zero(const unsigned char *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] != 0)
			return (false);
	}
	return (true);
}

static void
t67_zalloc_zeroes_the_size_and_not_a_byte_more(void **state)
{
	static const size_t sizes[] = {
	    1, 7, 8, 9, 15, 100, 129, 1000, 4096, 100000, 131073, 1000000};
	(void)state;

	cpus_stay();
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i];
		unsigned char *p = umem_alloc(size, 0), *q;

		memset(p, 0xa5, size);
		umem_free(p, size);
		q = umem_zalloc(size, 0);
		assert_non_null(q);
		assert_true(is_zero(q, size));
		umem_free(q, size);
	}
	/* 100 bytes come from a class of more: its rest is left alone. */
	for (int round = 0; round < 10; round++) {
		unsigned char *p = umem_alloc(112, 0), *q;

		memset(p, 0xa5, 112);
		umem_free(p, 112);
		q = umem_zalloc(100, 0);
		assert_ptr_equal(p, q);
		assert_int_equal(q[99], 0);
		assert_int_equal(q[100], 0xa5);
		umem_free(q, 100);
	}
	cpus_roam();
}

static void
a_large_block_that_was_freed_is_given_back_or_reused(void **state)
{
	size_t before = look_heap();
	(void)state;

	for (size_t i = 0; i < 300; i++) {
		size_t size = 131073 + i * 77777;
		char *p = umem_alloc(size, 0);

		assert_non_null(p);
		p[0] = p[size - 1] = 1;
		assert_in_range(look_heap() - before, size, size + size / 4);
		umem_free(p, size);
		assert_int_equal(look_heap(), before);
	}
}

/* ---- alignment ---- */

static void
t65_an_aligned_block_is_aligned_and_wholly_usable(void **state)
{
	static const size_t sizes[] = {1, 8, 24, 100, 4096, 5000, 16384, 70000};
	(void)state;

	for (size_t align = 1; align <= GIB; align *= 2) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			size_t size = sizes[i];
			unsigned char *p = umem_alloc_align(size, align, 0);

			assert_non_null(p);
			assert_int_equal((uintptr_t)p % align, 0);
			assert_int_equal((uintptr_t)p % 8, 0);
			memset(p, 1, size);
			umem_free_align(p, size);
		}
	}
}

/* Whatever was taken before, so at every offset of a page. */
static void
t65_an_aligned_block_is_aligned_wherever_the_heap_stands(void **state)
{
	enum { N = 512 };
	static void *filler[N], *p[N];
	(void)state;

	for (size_t i = 0; i < N; i++) {
		size_t align = (size_t)8 << i % 16;

		filler[i] = umem_alloc_align(8, 8, 0);
		p[i] = umem_alloc_align(24, align, 0);
		assert_non_null(filler[i]);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % align, 0);
		*(size_t *)p[i] = i;
	}
	for (size_t i = 0; i < N; i++) {
		assert_int_equal(*(size_t *)p[i], i);
		umem_free_align(p[i], 24);
		umem_free_align(filler[i], 8);
	}
}

static void
an_alignment_that_is_no_power_of_two_is_null_without_a_callback(void **state)
{
	static const size_t aligns[] = {
	    3, 5, 6, 7, 12, 24, 100, 4095, 4097, SIZE_MAX};
	(void)state;

	for (size_t i = 0; i < sizeof(aligns) / sizeof(aligns[0]); i++)
		assert_null(umem_alloc_align(8, aligns[i], UMEM_NOFAIL));
}

static void
the_names_of_openzfs_do_the_same(void **state)
{
	char *p = umem_alloc_aligned(100, 512, UMEM_NOFAIL);
	(void)state;

	assert_int_equal((uintptr_t)p % 512, 0);
	memset(p, 1, 100);
	umem_free_aligned(p, 100);
}

static void
free_align_wrong_size(void *p)
{
	umem_free_align(p, 101);
}

static void
free_align_twice(void *p)
{
	umem_free_align(p, 100);
	umem_free_align(p, 100);
}

static void
free_align_interior(void *p)
{
	umem_free_align((char *)p + 8, 92);
}

static void
free_align_foreign(void *p)
{
	(void)p;
	umem_free_align(&errno, 8);
}

static void
t66_an_aligned_block_freed_wrong_is_fatal_at_once(void **state)
{
	void *p = umem_alloc_align(100, 64, 0);
	(void)state;

	child_expect_abort_like(free_align_wrong_size, p,
	    "vmem_hash_delete(0x*, *, 101): wrong size (expect 100)");
	child_expect_abort_like(
	    free_align_twice, p, "vmem_hash_delete(0x*, *, 100): bad free");
	child_expect_abort_like(
	    free_align_interior, p, "vmem_hash_delete(0x*, *, 92): bad free");
	child_expect_abort_like(
	    free_align_foreign, p, "vmem_hash_delete(0x*, *, 8): bad free");
	umem_free_align(p, 100);
}

/* ---- large blocks freed wrong ---- */

static void
free_large_wrong_size(void *p)
{
	umem_free(p, 200001);
}

static void
free_large_twice(void *p)
{
	umem_free(p, 200000);
	umem_free(p, 200000);
}

static void
free_large_interior(void *p)
{
	umem_free((char *)p + 16384, 200000);
}

static void
a_large_block_freed_wrong_is_fatal_at_once(void **state)
{
	void *p = umem_alloc(200000, 0);
	char message[128];
	(void)state;

	(void)snprintf(message, sizeof(message),
	    "umem_free(%p, 200001): wrong size (expect 200000)", p);
	child_expect_abort(free_large_wrong_size, p, message);
	(void)snprintf(message, sizeof(message),
	    "umem_free(%p, 200000): not a buffer of that size", p);
	child_expect_abort(free_large_twice, p, message);
	(void)snprintf(message, sizeof(message),
	    "umem_free(%p, 200000): not a buffer of that size",
	    (void *)((char *)p + 16384));
	child_expect_abort(free_large_interior, p, message);
	umem_free(p, 200000);
}

/* ---- UMEM_NOFAIL ---- */

static unsigned calls;

/* The third time, there is memory again. */
static int
third_time_lucky(void)
{
	if (++calls == 3)
		failsys_reset();
	return (UMEM_CALLBACK_RETRY);
}

static void
a_request_is_tried_again_until_it_succeeds(void **state)
{
	umem_cache_t *cp = umem_cache_create(
	    "retry", 1 << 20, 0, NULL, NULL, NULL, NULL, NULL, 0);
	void *p;
	(void)state;

	umem_nofail_callback(third_time_lucky);
	(void)quarry_reap();
	for (int what = 0; what < 4; what++) {
		calls = 0;
		failsys_from(FAILSYS_MMAP, 1, ENOMEM);
		p = what == 0   ? umem_alloc((size_t)70 << 20, UMEM_NOFAIL)
		    : what == 1 ? umem_zalloc((size_t)80 << 20, UMEM_NOFAIL)
		    : what == 2
		    ? umem_alloc_align((size_t)90 << 20, 4096, UMEM_NOFAIL)
		    : umem_cache_alloc(cp, UMEM_NOFAIL);
		if (what == 3 && calls == 0)
			failsys_reset(); /* a span was left */
		else
			assert_int_equal(calls, 3);
		assert_non_null(p);
		*(char *)p = 1;
		if (what == 0)
			umem_free(p, (size_t)70 << 20);
		else if (what == 1)
			umem_free(p, (size_t)80 << 20);
		else if (what == 2)
			umem_free_align(p, (size_t)90 << 20);
		else
			umem_cache_free(cp, p);
	}
	umem_cache_destroy(cp);
}

static void
a_request_that_may_fail_does_not_ask(void **state)
{
	(void)state;

	calls = 0;
	umem_nofail_callback(third_time_lucky);
	assert_null(umem_alloc(TOO_MUCH, UMEM_DEFAULT));
	assert_null(umem_alloc_align(TOO_MUCH, 8, UMEM_DEFAULT));
	assert_int_equal(calls, 0);
}

static int
fail_twice(void *buf, void *priv, int flags)
{
	unsigned *n = priv;

	(void)buf;
	(void)flags;
	return (++*n <= 2);
}

static int
retry(void)
{
	calls++;
	return (UMEM_CALLBACK_RETRY);
}

static void
t53_a_constructor_that_fails_is_run_again(void **state)
{
	unsigned constructed = 0;
	umem_cache_t *cp = umem_cache_create(
	    "picky", 64, 0, fail_twice, NULL, NULL, &constructed, NULL, 0);
	(void)state;

	calls = 0;
	umem_nofail_callback(retry);
	assert_non_null(cp);
	umem_cache_free(cp, umem_cache_alloc(cp, UMEM_NOFAIL));
	assert_int_equal(constructed, 3);
	assert_int_equal(calls, 2);
	umem_cache_destroy(cp);
}

static jmp_buf out_of_it;

static int
jump_out(void)
{
	longjmp(out_of_it, 1);
}

static void
a_callback_may_jump_out(void **state)
{
	(void)state;

	umem_nofail_callback(jump_out);
	for (volatile int i = 0; i < 3; i++) {
		if (setjmp(out_of_it) == 0) {
			(void)umem_alloc(TOO_MUCH, UMEM_NOFAIL);
			fail();
		}
	}
	umem_free(umem_alloc(100, UMEM_NOFAIL), 100);
}

/* No lock is held: everything may be done. */
static int
busy(void)
{
	umem_cache_t *cp =
	    umem_cache_create("busy", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);

	umem_cache_free(cp, umem_cache_alloc(cp, UMEM_NOFAIL));
	umem_cache_destroy(cp);
	umem_free(umem_alloc(300000, UMEM_NOFAIL), 300000);
	umem_reap();
	(void)quarry_reap();
	umem_nofail_callback(jump_out);
	return (UMEM_CALLBACK_RETRY);
}

static void
a_callback_may_use_the_library(void **state)
{
	(void)state;

	umem_nofail_callback(busy);
	if (setjmp(out_of_it) == 0)
		(void)umem_alloc(TOO_MUCH, UMEM_NOFAIL);
}

static int
leave_with_7(void)
{
	return (UMEM_CALLBACK_EXIT(7));
}

static int
leave_with_256_and_7(void)
{
	return (UMEM_CALLBACK_EXIT(256 + 7));
}

static int
nonsense(void)
{
	return (0x777);
}

static int
negative(void)
{
	return (-1);
}

static void
fail_with(void *callback)
{
	umem_nofail_callback(*(umem_nofail_callback_t **)callback);
	(void)umem_alloc(TOO_MUCH, UMEM_NOFAIL);
}

static void
fail_aligned_with(void *callback)
{
	umem_nofail_callback(*(umem_nofail_callback_t **)callback);
	(void)umem_alloc_align(TOO_MUCH, 8, UMEM_NOFAIL);
}

static void
leaves(umem_nofail_callback_t *callback, int status, const char *message)
{
	struct child c;

	child_run(&c, fail_with, &callback);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, status);
	assert_string_equal(c.c_stderr, message);
	child_run(&c, fail_aligned_with, &callback);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, status);
}

static void
the_answer_of_the_callback_is_the_exit_status(void **state)
{
	(void)state;

	leaves(NULL, 255, "");
	leaves(leave_with_7, 7, "");
	leaves(leave_with_256_and_7, 7, "");
	leaves(nonsense, 255, "quarry: nofail callback returned 777\n");
	leaves(negative, 255, "quarry: nofail callback returned ffffffff\n");
}

static void
fail_in_atexit(void)
{
	(void)umem_alloc(TOO_MUCH, UMEM_NOFAIL);
}

static void
leave_recursively(void *callback)
{
	(void)atexit(fail_in_atexit);
	fail_with(callback);
}

static void
leaving_while_leaving_is_fatal(void **state)
{
	umem_nofail_callback_t *callback = leave_with_7;
	(void)state;

	child_expect_abort(
	    leave_recursively, &callback, "recursive UMEM_CALLBACK_EXIT()");
}

static void
say(const char *text)
{
	(void)write(STDERR_FILENO, text, strlen(text));
}

/* Others ask too meanwhile; whoever of them got through would cut it short. */
static void
take_time_to_exit(void)
{
	say("begin ");
	(void)usleep(100000);
	say("end");
}

static pthread_barrier_t together;

static void *
fail_together(void *arg)
{
	(void)pthread_barrier_wait(&together);
	(void)umem_alloc(TOO_MUCH, UMEM_NOFAIL);
	return (arg);
}

static void
four_threads_fail(void *arg)
{
	pthread_t threads[3];

	(void)arg;
	(void)atexit(take_time_to_exit);
	umem_nofail_callback(leave_with_7);
	(void)pthread_barrier_init(&together, NULL, 4);
	for (int i = 0; i < 3; i++)
		CHILD_CHECK(pthread_create(
				&threads[i], NULL, fail_together, NULL) == 0);
	(void)fail_together(NULL);
}

static void
t75_of_many_threads_that_leave_one_does(void **state)
{
	struct child c;
	(void)state;

	for (int i = 0; i < (look_quick() ? 1 : 5); i++) {
		child_run(&c, four_threads_fail, NULL);
		assert_int_equal(c.c_signal, 0);
		assert_int_equal(c.c_status, 7);
		assert_string_equal(c.c_stderr, "begin end");
	}
}

static _Atomic int leaving;

/* Keep the process, but no child of it, in exit() for a while. */
static void
linger(void)
{
	if (leaving == getpid()) {
		leaving = -1;
		(void)sleep(20);
	}
}

static void *
fail_alone(void *arg)
{
	leaving = getpid();
	(void)umem_alloc(TOO_MUCH, UMEM_NOFAIL);
	return (arg);
}

/* Does a child that calls exit(), or has it called by us, leave with 7? */
static bool
child_leaves(bool by_us)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		(void)alarm(10);
		if (!by_us)
			exit(7);
		(void)umem_alloc(TOO_MUCH, UMEM_NOFAIL);
	}
	CHILD_CHECK(waitpid(pid, &status, 0) == pid);
	return (WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void
fork_while_leaving(void *arg)
{
	pthread_t thread;

	(void)arg;
	(void)atexit(linger);
	umem_nofail_callback(leave_with_7);
	CHILD_CHECK(pthread_create(&thread, NULL, fail_alone, NULL) == 0);
	while (leaving != -1)
		(void)usleep(1000);
	/* From glibc 2.41 on exit() waits for the thread that the child has not. */
	CHILD_CHECK(child_leaves(true) || !child_leaves(false));
	_exit(0);
}

static void
a_child_of_a_process_that_leaves_can_leave_by_itself(void **state)
{
	(void)state;

	child_expect_exit(fork_while_leaving, NULL, 0);
}

/* ---- fault injection ---- */

static void
mtbf_without_guards_does_nothing(void **state)
{
	(void)state;

	umem_setmtbf(1);
	for (size_t i = 0; i < 100; i++) {
		void *p = umem_alloc(64, 0);

		assert_non_null(p);
		umem_free(p, 64);
	}
	umem_setmtbf(0);
}

static void
mtbf_with_guards(void)
{
	void *p;

	umem_setmtbf(1);
	for (size_t i = 0; i < 100; i++) {
		CHILD_CHECK(umem_alloc(64, 0) == NULL);
		CHILD_CHECK(umem_alloc_align(64, 64, 0) == NULL);
	}
	umem_setmtbf(0);
	for (size_t i = 0; i < 100; i++) {
		p = umem_alloc(64, 0);
		CHILD_CHECK(p != NULL);
		umem_free(p, 64);
		p = umem_alloc_align(64, 64, 0);
		CHILD_CHECK(p != NULL);
		umem_free_align(p, 64);
	}
	look_check();
}

static void
mtbf_with_guards_fails_every_request_until_it_is_off(void **state)
{
	struct again_run run = {"mtbf_with_guards", {"UMEM_DEBUG=guards"}};
	(void)state;

	child_expect_exit(again_exec, &run, 0);
}

#define TEST(test) cmocka_unit_test_teardown(test, end)

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"mtbf_with_guards", mtbf_with_guards},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    TEST(a_block_of_any_size_is_aligned_and_wholly_usable),
	    TEST(sizes_that_are_multiples_of_64_or_the_page_are_aligned_so),
	    TEST(t50_nothing_is_null_and_frees_as_null),
	    TEST(an_alignment_of_zero_is_that_of_eight),
	    TEST(what_overflows_or_exceeds_memory_is_null),
	    TEST(t67_zalloc_zeroes_the_size_and_not_a_byte_more),
	    TEST(a_large_block_that_was_freed_is_given_back_or_reused),
	    TEST(t65_an_aligned_block_is_aligned_and_wholly_usable),
	    TEST(t65_an_aligned_block_is_aligned_wherever_the_heap_stands),
	    TEST(
		an_alignment_that_is_no_power_of_two_is_null_without_a_callback),
	    TEST(the_names_of_openzfs_do_the_same),
	    TEST(t66_an_aligned_block_freed_wrong_is_fatal_at_once),
	    TEST(a_large_block_freed_wrong_is_fatal_at_once),
	    TEST(a_request_is_tried_again_until_it_succeeds),
	    TEST(a_request_that_may_fail_does_not_ask),
	    TEST(t53_a_constructor_that_fails_is_run_again),
	    TEST(a_callback_may_jump_out),
	    TEST(a_callback_may_use_the_library),
	    TEST(the_answer_of_the_callback_is_the_exit_status),
	    TEST(leaving_while_leaving_is_fatal),
	    TEST(t75_of_many_threads_that_leave_one_does),
	    TEST(a_child_of_a_process_that_leaves_can_leave_by_itself),
	    TEST(mtbf_without_guards_does_nothing),
	    TEST(mtbf_with_guards_fails_every_request_until_it_is_off),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
