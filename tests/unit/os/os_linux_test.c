/*
 * os_linux_test.c - the kernel services, and the kernel's refusals.
 */
#define _GNU_SOURCE 1 /* CPU_COUNT, sched_getcpu */

#include "os/os.h"

#include "base/bits.h"
#include "support/child.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

enum { ODD_ERRNO = 77 };

#define MIB ((size_t)1 << 20)

static int
reset(void **state)
{
	(void)state;
	failsys_reset();
	errno = ODD_ERRNO;
	return (0);
}

/* Bytes of address space the process has mapped. */
static size_t
address_space(void)
{
	char text[128] = {0};
	int fd = open("/proc/self/statm", O_RDONLY);

	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	(void)close(fd);
	return (strtoul(text, NULL, 10) * os_page_size());
}

static bool
is_zero(const char *p, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (p[i] != 0)
			return (false);
	}
	return (true);
}

static void
a_mapping_is_aligned_zeroed_and_writable(void **state)
{
	size_t page = os_page_size();
	(void)state;

	for (size_t align = page; align <= 8 * MIB; align *= 2) {
		void *wedge = os_map(page, page);
		char *p = os_map(3 * page, align);

		assert_non_null(p);
		assert_int_equal(qr_phase((uintptr_t)p, align), 0);
		assert_true(is_zero(p, 3 * page));
		memset(p, 1, 3 * page);
		assert_true(os_unmap(p, 3 * page));
		assert_true(os_unmap(wedge, page));
	}
	assert_int_equal(errno, ODD_ERRNO);
}

/* Does the process grow by just what it asks for? */
static bool
maps_exactly(size_t size, size_t align)
{
	size_t before = address_space();
	size_t page = os_page_size();
	void *wedge = os_map(page, page);
	void *p = os_map(size, align);
	bool exact = address_space() == before + size + page;

	assert_true(os_unmap(p, size));
	assert_true(os_unmap(wedge, page));
	return (exact && address_space() == before);
}

/* An emulator may map something of its own meanwhile, but not each time. */
static void
alignment_leaves_no_slack_mapped(void **state)
{
	size_t page = os_page_size();
	(void)state;

	for (size_t i = 1; i < 8; i++) {
		int tries = 5;

		while (!maps_exactly(i * page, 4 * MIB))
			assert_int_not_equal(--tries, 0);
	}
}

static void
a_refused_mapping_is_null_and_leaves_nothing_behind(void **state)
{
	size_t page = os_page_size();
	void *wedge = os_map(page, page);
	size_t before = address_space();
	(void)state;

	for (unsigned long n = 1; n <= 2; n++) {
		void *p;

		failsys_nth(FAILSYS_MMAP, n, ENOMEM);
		p = os_map(page, 64 * MIB);
		/* The first try may come out aligned: there is no second. */
		assert_true(p == NULL || n == 2);
		if (p != NULL)
			assert_true(os_unmap(p, page));
		assert_int_equal(address_space(), before);
		failsys_reset();
	}
	failsys_nth(FAILSYS_MMAP, 1, ENOMEM);
	assert_null(os_map_sparse(page));
	assert_null(os_map(0, page));
	assert_null(os_map((size_t)1 << 60, page));
	assert_null(os_map((size_t)1 << 46, (size_t)1 << 63));
	assert_int_equal(address_space(), before);
	assert_int_equal(errno, ODD_ERRNO);
	assert_true(os_unmap(wedge, page));
}

static void
a_refused_trim_still_gives_an_aligned_mapping(void **state)
{
	size_t page = os_page_size();
	void *wedge = os_map(page, page);
	void *p;
	(void)state;

	failsys_from(FAILSYS_MUNMAP, 1, ENOMEM);
	p = os_map(page, 2 * MIB);
	failsys_reset();

	assert_non_null(p);
	assert_int_equal(qr_phase((uintptr_t)p, 2 * MIB), 0);
	assert_int_equal(errno, ODD_ERRNO);
	assert_true(os_unmap(p, page));
	assert_true(os_unmap(wedge, page));
}

static void
a_sparse_mapping_is_not_dumped_and_not_reserved(void **state)
{
	char *p = os_map_sparse(64 * MIB);
	(void)state;

	assert_non_null(p);
	assert_int_equal(errno, ODD_ERRNO);
	assert_true(look_flag(p, " dd"));
	assert_true(look_flag(p, " nr"));
	p[32 * MIB] = 1;
	assert_true(os_unmap(p, 64 * MIB));
}

static void
a_sparse_mapping_does_not_depend_on_the_dump_flag(void **state)
{
	char *p;
	(void)state;

	failsys_nth(FAILSYS_MADVISE, 1, EINVAL);
	p = os_map_sparse(MIB);
	assert_non_null(p);
	assert_int_equal(errno, ODD_ERRNO);
	assert_true(os_unmap(p, MIB));
}

static void
a_refused_unmap_keeps_the_range_but_not_its_pages(void **state)
{
	char *p = os_map(MIB, os_page_size());
	(void)state;

	memset(p, 1, MIB);
	failsys_nth(FAILSYS_MUNMAP, 1, ENOMEM);
	assert_false(os_unmap(p, MIB));
	assert_int_equal(errno, ODD_ERRNO);
	assert_true(is_zero(p, MIB));
	assert_true(os_unmap(p, MIB));
}

static void
a_part_of_a_mapping_can_be_given_back(void **state)
{
	size_t page = os_page_size();
	char *p = os_map(4 * page, page);
	(void)state;

	assert_true(os_unmap(p + page, page));
	p[0] = 1;
	p[2 * page] = 1;
	assert_int_equal(madvise(p + page, page, MADV_NORMAL), -1);
	assert_true(os_unmap(p, page));
	assert_true(os_unmap(p + 2 * page, 2 * page));
}

static void
purged_memory_reads_as_zero(void **state)
{
	size_t page = os_page_size();
	char *p = os_map(4 * page, page);
	(void)state;

	memset(p, 1, 4 * page);
	assert_true(os_purge(p + page, 2 * page));
	assert_true(is_zero(p + page, 2 * page));
	assert_int_equal(p[page - 1], 1);
	assert_int_equal(p[3 * page], 1);

	failsys_nth(FAILSYS_MADVISE, 1, EINVAL);
	assert_false(os_purge(p, page));
	assert_int_equal(errno, ODD_ERRNO);
	assert_true(os_unmap(p, 4 * page));
}

static void
huge_pages_are_refused_where_the_kernel_has_them(void **state)
{
	char *p = os_map(4 * MIB, 2 * MIB);
	bool has = access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
	(void)state;

	errno = ODD_ERRNO;
	os_no_huge_pages(p, 4 * MIB);
	assert_int_equal(look_flag(p, " nh"), has);
	failsys_nth(FAILSYS_MADVISE, 1, EINVAL);
	errno = ODD_ERRNO;
	os_no_huge_pages(p, 4 * MIB);
	assert_int_equal(errno, ODD_ERRNO);
	assert_true(os_unmap(p, 4 * MIB));
}

static void
the_page_size_is_the_one_of_the_kernel(void **state)
{
	(void)state;
	assert_int_equal(os_page_size(), sysconf(_SC_PAGESIZE));
	assert_int_equal(os_page_size(), sysconf(_SC_PAGESIZE));
}

static void
limit_address_space(void *arg)
{
	struct rlimit rl = {(size_t)1 << 44, RLIM_INFINITY};
	(void)arg;

	CHILD_CHECK(setrlimit(RLIMIT_AS, &rl) == 0);
	CHILD_CHECK(os_address_space_limit() == (size_t)1 << 44);
	rl.rlim_cur = RLIM_INFINITY;
	CHILD_CHECK(setrlimit(RLIMIT_AS, &rl) == 0);
	CHILD_CHECK(os_address_space_limit() == SIZE_MAX);
}

static void
the_address_space_limit_is_the_soft_one(void **state)
{
	(void)state;
	child_expect_exit(limit_address_space, NULL, 0);
}

/* The number after the last '-' or ',' of the kernel's list of CPUs. */
static unsigned
highest_possible_cpu(void)
{
	FILE *f = fopen("/sys/devices/system/cpu/possible", "r");
	unsigned id = 0;
	int c;

	if (f == NULL)
		return (0);
	while ((c = fgetc(f)) != EOF) {
		if (c >= '0' && c <= '9')
			id = id * 10 + (unsigned)(c - '0');
		else if (c == '-' || c == ',')
			id = 0;
	}
	(void)fclose(f);
	return (id);
}

static void
every_possible_cpu_id_is_below_the_limit(void **state)
{
	(void)state;
	assert_true(os_cpu_limit() > highest_possible_cpu());
	assert_true(os_cpu_limit() > os_cpu_current());
	assert_true(os_cpu_limit() <= 8192);
	assert_int_equal(errno, ODD_ERRNO);
}

static void
without_an_answer_the_limit_is_high_and_the_count_is_one(void **state)
{
	(void)state;
	failsys_from(FAILSYS_SYSCALL, 1, EPERM);
	assert_int_equal(os_cpu_limit(), 4096);
	assert_int_equal(os_cpu_affinity(), 1);
	assert_int_equal(errno, ODD_ERRNO);
}

static void
bind_to_one_cpu(void *arg)
{
	cpu_set_t set;
	int cpu = sched_getcpu();
	(void)arg;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	CHILD_CHECK(sched_setaffinity(0, sizeof(set), &set) == 0);
	CHILD_CHECK(os_cpu_affinity() == 1);
	CHILD_CHECK(os_cpu_current() == (unsigned)cpu);
}

static void
the_affinity_mask_counts_the_cpus(void **state)
{
	cpu_set_t set;
	(void)state;

	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(os_cpu_affinity(), CPU_COUNT(&set));
	child_expect_exit(bind_to_one_cpu, NULL, 0);
}

static void
clocks_agree_and_do_not_go_back(void **state)
{
	uint64_t coarse = os_now_coarse();
	uint64_t fine = os_now();
	struct timespec ts;
	uint64_t libc;
	(void)state;

	assert_true(coarse <= fine);
	assert_true(os_now_coarse() >= coarse);
	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	libc = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
	assert_true(fine <= libc);
	assert_true(libc - fine < 10000000000);
	assert_true(libc - coarse < 10000000000);
}

static void
a_variable_is_found_by_its_whole_name(void **state)
{
	(void)state;
	assert_int_equal(setenv("QR_TEST_LONGER", "no", 1), 0);
	assert_int_equal(setenv("QR_TEST", "yes=1", 1), 0);
	assert_int_equal(setenv("QR_EMPTY", "", 1), 0);
	errno = ODD_ERRNO;

	assert_string_equal(os_getenv("QR_TEST"), "yes=1");
	assert_string_equal(os_getenv("QR_EMPTY"), "");
	assert_null(os_getenv("QR_TES"));
	assert_null(os_getenv("QR_NONE"));
	assert_int_equal(errno, ODD_ERRNO);
}

static void
a_set_id_program_sees_no_variable(void **state)
{
	(void)state;
	assert_int_equal(setenv("QR_TEST", "yes", 1), 0);
	failsys_secure(true);
	assert_null(os_getenv("QR_TEST"));
	failsys_secure(false);
	assert_non_null(os_getenv("QR_TEST"));
}

static void
drop_environment(void *arg)
{
	(void)arg;
	environ = NULL;
	CHILD_CHECK(os_getenv("PATH") == NULL);
}

static void
a_program_without_environment_sees_no_variable(void **state)
{
	(void)state;
	child_expect_exit(drop_environment, NULL, 0);
}

static void *
store_thread_id(void *arg)
{
	*(uint32_t *)arg = os_thread_id();
	return (NULL);
}

static void
each_thread_has_an_id_of_its_own(void **state)
{
	pthread_t thread;
	uint32_t id;
	(void)state;

	assert_int_equal(os_thread_id(), getpid());
	assert_int_equal(
	    pthread_create(&thread, NULL, store_thread_id, &id), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_not_equal(id, os_thread_id());
}

static void *
drain(void *arg)
{
	static char buf[65536];
	size_t total = 0;
	ssize_t n;

	while ((n = read(*(int *)arg, buf, sizeof(buf))) > 0)
		total += (size_t)n;
	return ((void *)total);
}

static void
os_write_writes_all_or_gives_up_silently(void **state)
{
	static const char data[MIB];
	pthread_t thread;
	void *total;
	int fds[2];
	(void)state;

	assert_int_equal(pipe(fds), 0);
	assert_int_equal(pthread_create(&thread, NULL, drain, &fds[0]), 0);
	os_write(fds[1], data, sizeof(data));
	failsys_nth(FAILSYS_WRITE, 1, EINTR);
	os_write(fds[1], data, 1);
	(void)close(fds[1]);
	assert_int_equal(pthread_join(thread, &total), 0);
	(void)close(fds[0]);
	assert_int_equal((size_t)total, sizeof(data) + 1);

	errno = ODD_ERRNO;
	os_write(fds[1], data, sizeof(data));
	assert_int_equal(errno, ODD_ERRNO);
}

static struct timespec
in_ms(unsigned ms)
{
	uint64_t at = os_now() + (uint64_t)ms * 1000000;

	return ((struct timespec){
	    (time_t)(at / 1000000000), (long)(at % 1000000000)});
}

static void
nobody_sleeps_on_a_word_that_differs(void **state)
{
	_Atomic uint32_t word = 1;
	(void)state;

	assert_int_equal(os_park(&word, 2, NULL), 0);
	assert_int_equal(errno, ODD_ERRNO);
}

static void
a_sleeper_wakes_at_its_deadline_and_not_before(void **state)
{
	_Atomic uint32_t word = 1;
	struct timespec soon = in_ms(30), past = {0, 0}, bad = {-1, -1};
	uint64_t start = os_now();
	(void)state;

	assert_int_equal(os_park(&word, 1, &soon), ETIMEDOUT);
	assert_true(os_now() - start >= 25000000);
	assert_int_equal(os_park(&word, 1, &past), ETIMEDOUT);
	assert_int_equal(os_park(&word, 1, &bad), ETIMEDOUT);
	assert_int_equal(errno, ODD_ERRNO);
}

struct sleeper {
	_Atomic uint32_t s_word;
	_Atomic uint32_t s_awake;
};

static void *
sleep_until_word_changes(void *arg)
{
	struct sleeper *s = arg;

	while (s->s_word == 0)
		(void)os_park(&s->s_word, 0, NULL);
	s->s_awake++;
	return (NULL);
}

static void
a_changed_word_and_a_wake_up_end_the_sleep(void **state)
{
	struct sleeper s = {0, 0};
	pthread_t threads[3];
	(void)state;

	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL,
				     sleep_until_word_changes, &s),
		    0);
	(void)usleep(20000);
	assert_int_equal(s.s_awake, 0);
	s.s_word = 1;
	os_unpark(&s.s_word, INT32_MAX);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	assert_int_equal(s.s_awake, 3);
}

static void
ignore_signal(int signal)
{
	(void)signal;
}

static void
a_signal_interrupts_the_sleep(void **state)
{
	_Atomic uint32_t word = 1;
	struct sigaction sa = {.sa_handler = ignore_signal};
	struct itimerval soon = {{0, 0}, {0, 20000}};
	struct timespec later = in_ms(10000);
	(void)state;

	assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &soon, NULL), 0);
	errno = ODD_ERRNO;
	assert_int_equal(os_park(&word, 1, &later), EINTR);
	assert_int_equal(errno, ODD_ERRNO);
}

static bool
kernel_has_rseq_fence(void)
{
	long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	return (commands > 0 &&
	    (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) != 0);
}

static void
fence_in_child(void *arg)
{
	CHILD_CHECK(os_rseq_fence() == *(bool *)arg);
}

static void
a_fence_registers_itself_once_and_works_in_a_child(void **state)
{
	bool has = kernel_has_rseq_fence();
	(void)state;

	errno = ODD_ERRNO;
	assert_int_equal(os_rseq_fence(), has);
	assert_int_equal(errno, ODD_ERRNO);
	failsys_reset();
	assert_int_equal(os_rseq_fence(), has);
	if (has)
		assert_int_equal(failsys_calls(FAILSYS_SYSCALL), 1);
	child_expect_exit(fence_in_child, &has, 0);
}

static void
a_kernel_without_fence_is_told(void **state)
{
	(void)state;
	failsys_from(FAILSYS_SYSCALL, 1, ENOSYS);
	assert_false(os_rseq_fence());
	assert_int_equal(errno, ODD_ERRNO);
}

#define TEST(f) cmocka_unit_test_setup(f, reset)

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    TEST(a_mapping_is_aligned_zeroed_and_writable),
	    TEST(alignment_leaves_no_slack_mapped),
	    TEST(a_refused_mapping_is_null_and_leaves_nothing_behind),
	    TEST(a_refused_trim_still_gives_an_aligned_mapping),
	    TEST(a_sparse_mapping_is_not_dumped_and_not_reserved),
	    TEST(a_sparse_mapping_does_not_depend_on_the_dump_flag),
	    TEST(a_refused_unmap_keeps_the_range_but_not_its_pages),
	    TEST(a_part_of_a_mapping_can_be_given_back),
	    TEST(purged_memory_reads_as_zero),
	    TEST(huge_pages_are_refused_where_the_kernel_has_them),
	    TEST(the_page_size_is_the_one_of_the_kernel),
	    TEST(the_address_space_limit_is_the_soft_one),
	    TEST(every_possible_cpu_id_is_below_the_limit),
	    TEST(without_an_answer_the_limit_is_high_and_the_count_is_one),
	    TEST(the_affinity_mask_counts_the_cpus),
	    TEST(clocks_agree_and_do_not_go_back),
	    TEST(a_variable_is_found_by_its_whole_name),
	    TEST(a_set_id_program_sees_no_variable),
	    TEST(a_program_without_environment_sees_no_variable),
	    TEST(each_thread_has_an_id_of_its_own),
	    TEST(os_write_writes_all_or_gives_up_silently),
	    TEST(nobody_sleeps_on_a_word_that_differs),
	    TEST(a_sleeper_wakes_at_its_deadline_and_not_before),
	    TEST(a_changed_word_and_a_wake_up_end_the_sleep),
	    TEST(a_signal_interrupts_the_sleep),
	    TEST(a_fence_registers_itself_once_and_works_in_a_child),
	    TEST(a_kernel_without_fence_is_told),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
