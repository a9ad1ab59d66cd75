/*
 * os_linux.c - the kernel services of os.h, for Linux.
 *
 * Every system call goes through an ordinary libc function, so that a test can
 * interpose it and make it fail.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE 1 /* environ, program_invocation_short_name, sched_getcpu */

#include "os/os.h"

#include "base/bits.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Room for 8192 CPUs, more than any kernel configuration has. */
enum { CPU_MASK_WORDS = 128, CPU_LIMIT_FALLBACK = 4096 };

static void *
map_anywhere(size_t size, int flags)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	return (p == MAP_FAILED ? NULL : p);
}

/*
 * `size` was mapped a moment ago, so adding the alignment cannot wrap.  A trim
 * that the kernel refuses leaves address space behind that was never touched:
 * nothing is lost but the addresses.
 */
static void *
map_and_trim(size_t size, size_t align)
{
	size_t slack = align - os_page_size();
	size_t head, tail;
	char *p;

	p = map_anywhere(size + slack, 0);
	if (p == NULL)
		return (NULL);
	head = qr_nphase((uintptr_t)p, align);
	tail = slack - head;
	if (head > 0)
		(void)munmap(p, head);
	if (tail > 0)
		(void)munmap(p + head + size, tail);
	return (p + head);
}

/*
 * The kernel tends to place a mapping right below the last one, so after one
 * aligned mapping the next comes out aligned by itself.
 */
void *
os_map(size_t size, size_t align)
{
	int saved = errno;
	void *p = map_anywhere(size, 0);

	if (p != NULL && qr_phase((uintptr_t)p, align) != 0) {
		(void)munmap(p, size);
		p = map_and_trim(size, align);
	}
	errno = saved;
	return (p);
}

void *
os_map_sparse(size_t size)
{
	int saved = errno;
	void *p = map_anywhere(size, MAP_NORESERVE);

	if (p != NULL)
		(void)madvise(p, size, MADV_DONTDUMP);
	errno = saved;
	return (p);
}

bool
os_unmap(void *addr, size_t size)
{
	int saved = errno;
	bool done = munmap(addr, size) == 0;

	if (!done)
		(void)madvise(addr, size, MADV_DONTNEED);
	errno = saved;
	return (done);
}

bool
os_purge(void *addr, size_t size)
{
	int saved = errno;
	bool done = madvise(addr, size, MADV_DONTNEED) == 0;

	errno = saved;
	return (done);
}

void
os_no_huge_pages(void *addr, size_t size)
{
	int saved = errno;

	(void)madvise(addr, size, MADV_NOHUGEPAGE);
	errno = saved;
}

size_t
os_page_size(void)
{
	static _Atomic size_t cached;
	size_t size = atomic_load_explicit(&cached, memory_order_relaxed);

	if (QR_UNLIKELY(size == 0)) {
		size = getauxval(AT_PAGESZ);
		atomic_store_explicit(&cached, size, memory_order_relaxed);
	}
	return (size);
}

static size_t
limit_of(int resource)
{
	int saved = errno;
	struct rlimit rl;
	size_t limit = SIZE_MAX;

	if (getrlimit(resource, &rl) == 0 && rl.rlim_cur != RLIM_INFINITY)
		limit = rl.rlim_cur;
	errno = saved;
	return (limit);
}

size_t
os_address_space_limit(void)
{
	return (limit_of(RLIMIT_AS));
}

size_t
os_data_limit(void)
{
	return (limit_of(RLIMIT_DATA));
}

/*
 * The bare system call tells how many bytes the kernel's own CPU mask has; the
 * libc function hides that.  Returns those bytes, 0 for failure.
 */
static size_t
affinity_mask(unsigned long mask[CPU_MASK_WORDS])
{
	int saved = errno;
	long n = syscall(
	    SYS_sched_getaffinity, 0, CPU_MASK_WORDS * sizeof(mask[0]), mask);

	errno = saved;
	return (n > 0 ? (size_t)n : 0);
}

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

bool
os_on_valgrind(void)
{
	return (RUNNING_ON_VALGRIND != 0);
}

unsigned
os_cpu_limit(void)
{
	unsigned long mask[CPU_MASK_WORDS];
	size_t bytes = affinity_mask(mask);

	return (bytes > 0 ? (unsigned)bytes * CHAR_BIT : CPU_LIMIT_FALLBACK);
}

unsigned
os_cpu_affinity(void)
{
	unsigned long mask[CPU_MASK_WORDS];
	size_t words = affinity_mask(mask) / sizeof(mask[0]);
	unsigned n = 0;

	/* CPU_COUNT() is a call, which is in no process's memory but ours. */
	for (size_t i = 0; i < words; i++)
		for (; mask[i] != 0; mask[i] &= mask[i] - 1)
			n++;
	return (n > 0 ? n : 1);
}

unsigned
os_cpu_current(void)
{
	int saved = errno;
	int cpu = sched_getcpu();

	errno = saved;
	return (cpu < 0 ? 0 : (unsigned)cpu);
}

static uint64_t
now(clockid_t clock)
{
	struct timespec ts = {0};

	(void)clock_gettime(clock, &ts);
	return ((uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec);
}

uint64_t
os_now(void)
{
	return (now(CLOCK_MONOTONIC));
}

uint64_t
os_now_coarse(void)
{
	return (now(CLOCK_MONOTONIC_COARSE));
}

/*
 * Not getenv: a program may define its own (shells do), and that may allocate.
 */
const char *
os_getenv(const char *name)
{
	int saved = errno;
	bool secure = getauxval(AT_SECURE) != 0;
	size_t len = strlen(name);

	errno = saved;
	if (secure || environ == NULL)
		return (NULL);
	for (char **e = environ; *e != NULL; e++) {
		if (strncmp(*e, name, len) == 0 && (*e)[len] == '=')
			return (*e + len + 1);
	}
	return (NULL);
}

uint32_t
os_thread_id(void)
{
	return ((uint32_t)syscall(SYS_gettid));
}

int
os_process_id(void)
{
	return (getpid());
}

const char *
os_program(void)
{
	return (program_invocation_short_name);
}

void
os_write(int fd, const void *buf, size_t len)
{
	int saved = errno;
	const char *s = buf;

	while (len > 0) {
		ssize_t n = write(fd, s, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		s += n;
		len -= (size_t)n;
	}
	errno = saved;
}

int
os_park(_Atomic uint32_t *word, uint32_t value, const struct timespec *deadline)
{
	int saved = errno;
	int error = 0;

	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG,
		value, deadline, NULL, FUTEX_BITSET_MATCH_ANY) != 0)
		error = errno;
	errno = saved;
	switch (error) {
	case 0:
	case EAGAIN:
		return (0);
	case EINTR:
		return (EINTR);
	default:
		return (deadline != NULL ? ETIMEDOUT : EINTR);
	}
}

void
os_unpark(_Atomic uint32_t *word, int n)
{
	int saved = errno;

	(void)syscall(
	    SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, n, NULL, NULL, 0);
	errno = saved;
}

static bool
membarrier(int command)
{
	return (syscall(SYS_membarrier, command, 0, 0) == 0);
}

/*
 * The kernel refuses the fence until the process has registered; it remembers
 * the registration, over fork too, so we need not.
 */
bool
os_rseq_fence(void)
{
	int saved = errno;
	bool done = membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ) ||
	    (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ) &&
		membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ));

	errno = saved;
	return (done);
}
