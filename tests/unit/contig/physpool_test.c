/*
 * physpool_test.c - where a pool's memory comes from, and where it stays.
 *
 * What takes privileges, huge pages or io_uring says so when it is skipped.
 */
#define _GNU_SOURCE 1 /* memfd_create */

#include "unit/contig/contig_test.h"

#include "os/os_phys.h"
#include "support/child.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20, HUGE_PAGE = 2 * MIB, NOBODY = 65534 };

#define SKIP(why)                                    \
	do {                                         \
		print_message("skipped: " why "\n"); \
		skip();                              \
	} while (0)

static void *
map_private(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return (p);
}

static int
create(const struct physpool_attr *attr)
{
	physpool_t *pool = NULL;
	int error = physpool_create(&pool, attr);

	if (error == 0)
		assert_int_equal(physpool_destroy(pool), 0);
	else
		assert_null(pool);
	return (error);
}

/* ---- attributes ---- */

static void
a_bad_attribute_is_refused(void **state)
{
	static const vm_paddr_t twice[] = {0x1000, 0x1000},
				high[] = {NO_LIMIT - 4095, NO_LIMIT - 8191},
				odd[] = {0x1000, 0x2001},
				over[] = {NO_LIMIT - 8191 + 4096 + 2048, 0};
	struct physpool_attr good = {.size = 2 * PAGE}, a;
	(void)state;

	assert_int_equal(create(&good), 0);
#define BAD(field, value)                             \
	do {                                          \
		a = good;                             \
		a.field = (value);                    \
		assert_int_equal(create(&a), EINVAL); \
	} while (0)
	BAD(size, 0);
	BAD(size, 100);
	BAD(size, SIZE_MAX - 4095);
	BAD(granule, 3 * PAGE);
	BAD(granule, 4 * PAGE);
	BAD(base, 100);
	BAD(base, NO_LIMIT - 4095);
	BAD(backing, 4);
	BAD(wiring, 3);
	BAD(addr, 2);
	BAD(policy, 3);
	BAD(backing, PHYSPOOL_EXTERNAL);
	good.backing = PHYSPOOL_EXTERNAL;
	good.va = (char *)&good + 1;
	BAD(wiring, PHYSPOOL_MLOCK);
	BAD(addr, PHYSPOOL_REAL);
	good = (struct physpool_attr){.size = 2 * PAGE};
	BAD(paddrs, twice);
	BAD(paddrs, odd);
	BAD(paddrs, over);
#undef BAD
	a = good;
	a.paddrs = high;
	assert_int_equal(create(&a), 0);
	a.paddrs_piece = 3 * PAGE;
	assert_int_equal(create(&a), EINVAL);
	a.paddrs_piece = PAGE / 2;
	assert_int_equal(create(&a), EINVAL);
	a.paddrs_piece = PAGE;
	a.addr = PHYSPOOL_REAL;
	assert_int_equal(create(&a), EINVAL);
	a = good;
	a.backing = PHYSPOOL_FD;
	a.fd = -1;
	assert_int_equal(create(&a), EBADF);
}

static void
a_granule_may_be_smaller_or_larger_than_a_page(void **state)
{
	struct physpool_attr attr = {.size = 64 << 10, .granule = 256};
	physpool_t *pool = pool_of(&attr);
	vm_paddr_t a, b;
	(void)state;

	a = get_any(pool, 1);
	b = get(pool, 257, 0, NO_LIMIT, 1024, 0);
	assert_int_equal(a, 0xff00);
	assert_int_equal(b, 0xfc00);
	put(pool, b, 512);
	put(pool, a, 256);
	pool_done(pool);
	attr.granule = 64 << 10;
	pool = pool_of(&attr);
	assert_int_equal(get_any(pool, 1), 0);
	FAILS(get_any(pool, 1), ENOMEM);
	put(pool, 0, 1);
	pool_done(pool);
}

static void
addresses_in_memory_follow_physical_ones(void **state)
{
	static const vm_paddr_t bases[] = {0, 0x1000, 0x1ff000, 0x200000,
	    0x123456000, (vm_paddr_t)0 - 8 * MIB};
	(void)state;

	for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		physpool_t *pool = pool_make(bases[i], 8 * MIB);

		assert_int_equal(
		    ((uintptr_t)physpool_phystov(pool, bases[i]) - bases[i]) %
			HUGE_PAGE,
		    0);
		pool_done(pool);
	}
}

static void
a_pool_is_not_destroyed_while_it_has_blocks(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	vm_paddr_t pa = get_any(pool, PAGE);
	void *va = physpool_phystov(pool, pa);
	(void)state;

	assert_int_equal(physpool_destroy(pool), EBUSY);
	assert_int_equal(vtophys(va), pa);
	put(pool, pa, PAGE);
	pool_done(pool);
	assert_true(vtophys(va) == NOWHERE);
}

/* ---- addresses ---- */

static void
t41_any_byte_of_a_block_has_an_address_and_none_beyond(void **state)
{
	physpool_t *pool = pool_make(0x5000, 16 * PAGE);
	char *first = physpool_phystov(pool, 0x5000);
	char *end = first + 16 * PAGE;
	(void)state;

	assert_int_equal(vtophys(first), 0x5000);
	assert_int_equal(vtophys(first + 1), 0x5001);
	assert_int_equal(vtophys(end - 1), 0x14fff);
	errno = 0;
	assert_true(vtophys(end) == NOWHERE);
	assert_int_equal(errno, EFAULT);
	assert_true(vtophys(first - 1) == NOWHERE);
	assert_true(vtophys(NULL) == NOWHERE);
	assert_true(vtophys((void *)UINTPTR_MAX) == NOWHERE);
	assert_true(physpool_vtophys(end) == NOWHERE);
	assert_int_equal(physpool_vtophys(end - 1), 0x14fff);
	assert_ptr_equal(physpool_phystov(pool, 0x14fff), end - 1);
	assert_null(physpool_phystov(pool, 0x15000));
	assert_null(physpool_phystov(pool, 0x4fff));
	pool_done(pool);
}

static void
t41_the_end_of_a_segment_is_not_the_begin_of_the_next(void **state)
{
	const vm_paddr_t paddrs[] = {0x1000, 0x9000, 0x5000};
	struct physpool_attr attr = {.size = 3 * PAGE, .paddrs = paddrs};
	physpool_t *pool = pool_of(&attr);
	char *p = physpool_phystov(pool, 0x1000);
	(void)state;

	assert_int_equal(vtophys(p + PAGE - 1), 0x1fff);
	assert_int_equal(vtophys(p + PAGE), 0x9000);
	assert_int_equal(vtophys(p + 3 * PAGE - 1), 0x5fff);
	assert_true(vtophys(p + 3 * PAGE) == NOWHERE);
	assert_null(physpool_phystov(pool, 0x2000));
	assert_null(physpool_phystov(pool, 0x6000));
	pool_done(pool);
}

static void
addresses_are_found_in_any_of_many_pools(void **state)
{
	enum { N = 100 };
	physpool_t *pools[N];
	char *va[N];
	(void)state;

	for (size_t i = 0; i < N; i++) {
		pools[i] = pool_make((vm_paddr_t)i << 32, 2 * PAGE);
		va[i] = physpool_phystov(pools[i], (vm_paddr_t)i << 32);
	}
	for (size_t i = 1; i < N; i += 2)
		pool_done(pools[i]);
	for (size_t i = 0; i < N; i++) {
		vm_paddr_t pa = ((vm_paddr_t)i << 32) + 5000;

		assert_true(vtophys(va[i] + 5000) == (i % 2 ? NOWHERE : pa));
		assert_true(vtophys(va[i] + 8192) == NOWHERE ||
		    vtophys(va[i] + 8192) >> 32 != i);
	}
	for (size_t i = 0; i < N; i += 2)
		pool_done(pools[i]);
}

/* ---- memory of the caller ---- */

/* Each page a segment, below those of another such pool. */
static void
make_pools_of_pages(void *arg)
{
	size_t n = *(size_t *)arg;
	vm_paddr_t *paddrs = malloc(n * sizeof(*paddrs));
	char *p = mmap(NULL, 2 * n * PAGE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct physpool_attr attr = {
	    .size = n * PAGE, .backing = PHYSPOOL_EXTERNAL, .paddrs = paddrs};
	physpool_t *pool[2];

	CHILD_CHECK(paddrs != NULL && p != MAP_FAILED);
	for (size_t i = 0; i < n; i++)
		paddrs[i] = 2 * i * PAGE;
	attr.va = p + n * PAGE;
	CHILD_CHECK(physpool_create(&pool[0], &attr) == 0);
	attr.va = p;
	CHILD_CHECK(physpool_create(&pool[1], &attr) == 0);
	for (size_t i = 0; i < 2 * n; i++)
		CHILD_CHECK(vtophys(p + i * PAGE + 5) == paddrs[i % n] + 5);
	CHILD_CHECK(vtophys(p + 2 * n * PAGE) == NOWHERE);
	CHILD_CHECK(physpool_destroy(pool[0]) == 0);
	CHILD_CHECK(vtophys(p + n * PAGE) == NOWHERE);
	CHILD_CHECK(vtophys(p + (n - 1) * PAGE) == paddrs[n - 1]);
	CHILD_CHECK(physpool_destroy(pool[1]) == 0);
}

/* A time that grows with the square of their number would not be waited for. */
static void
a_pool_may_have_very_many_segments(void **state)
{
	size_t n = look_quick() ? 2000 : 150000;
	struct child c;
	(void)state;

	child_run(&c, make_pools_of_pages, &n);
	assert_string_equal(c.c_stderr, "");
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
}

static void
external_memory_is_not_touched(void **state)
{
	enum { N = 64 };
	/* Not even readable: whoever touches it dies. */
	char *p =
	    mmap(NULL, N * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct physpool_attr attr = {.name = "device",
	    .base = 0x10000000,
	    .size = N * PAGE,
	    .backing = PHYSPOOL_EXTERNAL,
	    .va = p};
	physpool_t *pool = pool_of(&attr);
	char why[2000];
	vm_paddr_t pa[N];
	(void)state;

	assert_int_equal(
	    physpool_reserve(pool, 3 * PAGE, 0, NO_LIMIT, 1, 0, 2), 0);
	for (size_t i = 0; i < N - 6; i++)
		pa[i] = get_any(pool, PAGE);
	(void)contig_explain(pool, PAGE, 0, NO_LIMIT, 1, 0, why, sizeof(why));
	for (size_t i = 0; i < N - 6; i++)
		put(pool, pa[i], PAGE);
	pool_done(pool);
	assert_int_equal(munmap(p, N * PAGE), 0);
}

static void
external_memory_need_not_be_aligned(void **state)
{
	char *p = map_private(16 * PAGE);
	struct physpool_attr attr = {.base = 0x40,
	    .size = 1024,
	    .granule = 64,
	    .backing = PHYSPOOL_EXTERNAL,
	    .va = p + 8};
	physpool_t *pool = pool_of(&attr);
	vm_paddr_t pa = get(pool, 100, 0, NO_LIMIT, 256, 0);
	(void)state;

	assert_int_equal(pa, 0x300);
	assert_ptr_equal(physpool_phystov(pool, pa), p + 8 + 0x300 - 0x40);
	put(pool, pa, 100);
	pool_done(pool);
	assert_int_equal(munmap(p, 16 * PAGE), 0);
}

static void
memory_is_in_one_pool_only(void **state)
{
	char *p = map_private(16 * PAGE);
	struct physpool_attr attr = {
	    .size = 8 * PAGE, .backing = PHYSPOOL_EXTERNAL, .va = p + 4 * PAGE};
	physpool_t *pool = pool_of(&attr), *other;
	(void)state;

	attr.va = p;
	assert_int_equal(create(&attr), EINVAL);
	attr.va = p + 11 * PAGE;
	attr.size = PAGE;
	assert_int_equal(create(&attr), EINVAL);
	attr.va = p;
	attr.size = 16 * PAGE;
	assert_int_equal(create(&attr), EINVAL);
	attr.size = 4 * PAGE;
	other = pool_of(&attr);
	attr.va = p + 12 * PAGE;
	assert_int_equal(create(&attr), 0);
	pool_done(other);
	pool_done(pool);
	assert_int_equal(munmap(p, 16 * PAGE), 0);
}

/* Has the mapping of p this of the VmFlags? */
static bool
has_flag(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long from, to;
	bool here = false, has = false;
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = (uintptr_t)p >= from && (uintptr_t)p < to;
		else if (here && strncmp(line, "VmFlags:", 8) == 0)
			has = strstr(line, flag) != NULL;
	}
	assert_int_equal(fclose(f), 0);
	return (has);
}

static void
assert_wired(const void *p)
{
	/* A sanitizer makes mlock do nothing. */
	assert_true(look_shadowed() || has_flag(p, " lo"));
	assert_true(has_flag(p, " dc"));
}

static void
a_pool_that_is_not_made_leaves_external_memory_as_it_was(void **state)
{
	static const vm_paddr_t odd[] = {1, 2};
	char *p = map_private(4 * PAGE);
	struct physpool_attr attr = {.size = 2 * PAGE,
	    .backing = PHYSPOOL_EXTERNAL,
	    .wiring = PHYSPOOL_MLOCK,
	    .va = p};
	physpool_t *pool = pool_of(&attr);
	(void)state;

	/* It is another pool's. */
	assert_wired(p);
	attr.size = 4 * PAGE;
	assert_int_equal(create(&attr), EINVAL);
	assert_wired(p);
	assert_false(has_flag(p + 2 * PAGE, " lo"));
	assert_false(has_flag(p + 2 * PAGE, " dc"));
	pool_done(pool);
	assert_false(has_flag(p, " lo"));

	/* The caller has done the same to it. */
	attr.size = 2 * PAGE;
	attr.paddrs = odd;
	assert_int_equal(mlock(p, 2 * PAGE), 0);
	assert_int_equal(madvise(p, 2 * PAGE, MADV_DONTFORK), 0);
	assert_int_equal(create(&attr), EINVAL);
	assert_wired(p);
	assert_int_equal(munmap(p, 4 * PAGE), 0);
}

/* What is to be a pool, is one already, or is one still. */
static struct physpool_attr rival;

static void
want_the_same(void)
{
	failsys_reset();
	rival.size = create(&rival) == EINVAL ? 0 : 1;
}

static void
external_memory_is_one_pools_from_begin_to_end(void **state)
{
	char *p = map_private(2 * PAGE);
	struct physpool_attr attr = {.size = 2 * PAGE,
	    .backing = PHYSPOOL_EXTERNAL,
	    .wiring = PHYSPOOL_MLOCK,
	    .va = p};
	physpool_t *pool;
	(void)state;

	rival = attr;
	failsys_before(FAILSYS_MLOCK, want_the_same);
	pool = pool_of(&attr);
	assert_int_equal(rival.size, 0);
	assert_wired(p);
	rival = attr;
	failsys_before(FAILSYS_MUNMAP, want_the_same);
	pool_done(pool);
	assert_int_equal(rival.size, 0);
	assert_int_equal(create(&attr), 0);
	assert_int_equal(munmap(p, 2 * PAGE), 0);
}

static void
a_file_is_mapped_shared_and_must_be_long_enough(void **state)
{
	int fd = memfd_create("mine", MFD_CLOEXEC);
	struct physpool_attr attr = {.size = 4 * PAGE,
	    .backing = PHYSPOOL_FD,
	    .fd = fd,
	    .fd_offset = PAGE};
	physpool_t *pool;
	char byte = 0;
	(void)state;

	assert_int_equal(ftruncate(fd, 5 * PAGE - 1), 0);
	assert_int_equal(create(&attr), EINVAL);
	assert_int_equal(ftruncate(fd, 5 * PAGE), 0);
	pool = pool_of(&attr);
	*(char *)physpool_phystov(pool, 2 * PAGE + 7) = 42;
	assert_int_equal(pread(fd, &byte, 1, 3 * PAGE + 7), 1);
	assert_int_equal(byte, 42);
	pool_done(pool);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(close(fd), 0);
}

/* ---- other processes ---- */

static bool frames_are_secret(void);
static bool pinning_is_refused(void);

/* What another process does with a descriptor and an address. */
static void
use_exported(int fd, vm_paddr_t base, vm_paddr_t pa)
{
	struct physpool_attr attr = {
	    .base = base, .size = 16 * PAGE, .backing = PHYSPOOL_FD, .fd = fd};
	physpool_t *pool;

	CHILD_CHECK(physpool_create(&pool, &attr) == 0);
	CHILD_CHECK(strcmp(physpool_phystov(pool, pa), "from the parent") == 0);
	(void)strcpy(physpool_phystov(pool, pa), "from the child");
}

static void
an_exported_pool_has_the_same_addresses_elsewhere(void **state)
{
	physpool_t *pool = pool_make(0x100000, 16 * PAGE);
	char *p =
	    contigmalloc_pool(pool, 100, M_DEVBUF, 0, 0, NO_LIMIT, 0x4000, 0);
	int fd = physpool_export_fd(pool), status;
	pid_t pid;
	(void)state;

	assert_true(fd >= 0);
	(void)strcpy(p, "from the parent");
	pid = fork();
	if (pid == 0) {
		use_exported(fd, 0x100000, vtophys(p));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_string_equal(p, "from the child");
	assert_int_equal(close(fd), 0);
	contigfree(p, 100, M_DEVBUF);
	pool_done(pool);
}

/* What another process sees of a pool with real addresses. */
static void
use_real_addresses(int fd, vm_paddr_t pa)
{
	struct physpool_attr attr = {.size = 64 * PAGE,
	    .backing = PHYSPOOL_FD,
	    .fd = fd,
	    .addr = PHYSPOOL_REAL};
	physpool_t *pool;
	char *p;

	CHILD_CHECK(physpool_create(&pool, &attr) == 0);
	p = physpool_phystov(pool, pa);
	CHILD_CHECK(p != NULL && strcmp(p, "really there") == 0);
	CHILD_CHECK(vtophys(p) == pa);
}

static void
real_addresses_are_the_same_in_every_process(void **state)
{
	struct physpool_attr attr = {
	    .size = 64 * PAGE, .addr = PHYSPOOL_REAL, .wiring = PHYSPOOL_PIN};
	physpool_t *pool;
	int fd, status;
	pid_t pid;
	char *p;
	(void)state;

	if (frames_are_secret())
		SKIP("the kernel hides where pages are");
	if (pinning_is_refused())
		SKIP("the kernel refuses io_uring");
	pool = pool_of(&attr);
	p = contigmalloc_pool(pool, PAGE, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0);
	(void)strcpy(p, "really there");
	fd = physpool_export_fd(pool);
	pid = fork();
	if (pid == 0) {
		use_real_addresses(fd, vtophys(p));
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(close(fd), 0);
	contigfree(p, PAGE, M_DEVBUF);
	pool_done(pool);
}

static void
external_memory_is_not_exported(void **state)
{
	char *p = map_private(PAGE);
	struct physpool_attr attr = {
	    .size = PAGE, .backing = PHYSPOOL_EXTERNAL, .va = p};
	physpool_t *pool = pool_of(&attr);
	(void)state;

	errno = 0;
	assert_int_equal(physpool_export_fd(pool), -1);
	assert_int_equal(errno, EINVAL);
	pool_done(pool);
	assert_int_equal(munmap(p, PAGE), 0);
}

/* ---- reservations ---- */

static void
a_reserved_run_is_there_when_all_else_is_fragmented(void **state)
{
	enum { N = 64 };
	physpool_t *pool = pool_make(0, N * PAGE);
	vm_paddr_t pa[N], big, again;
	size_t n = 0;
	(void)state;

	assert_int_equal(
	    physpool_reserve(pool, 8 * PAGE, 0, 32 * PAGE, 1, 0, 2), 0);
	/* The newest one is not the one that is dropped here. */
	assert_int_equal(
	    physpool_reserve(pool, 4 * PAGE, 0, NO_LIMIT, 1, 0, 1), 0);
	assert_int_equal(
	    physpool_reserve(pool, 2 * PAGE, 0, NO_LIMIT, 1, 0, 1), 0);
	assert_int_equal(
	    physpool_reserve(pool, 4 * PAGE, 0, NO_LIMIT, 1, 0, 0), 0);
	FAILS(get_any(pool, 62 * PAGE), ENOMEM);
	assert_int_equal(
	    physpool_reserve(pool, 2 * PAGE, 0, NO_LIMIT, 1, 0, 0), 0);
	while ((pa[n] = get_any(pool, PAGE)) != NOWHERE)
		n++;
	assert_int_equal(n, N - 16);
	FAILS(get_any(pool, 7 * PAGE), ENOMEM);
	FAILS(get(pool, 8 * PAGE, 32 * PAGE, NO_LIMIT, 1, 0), ENOMEM);
	big = get(pool, 8 * PAGE, 0, 40 * PAGE, 2 * PAGE, 0);
	assert_in_range(big, 0, 24 * PAGE);
	again = get_any(pool, 8 * PAGE - 100);
	assert_in_range(again, 0, 24 * PAGE);
	FAILS(get_any(pool, 8 * PAGE), ENOMEM);

	/* What is freed is set aside again. */
	put(pool, big, 8 * PAGE);
	FAILS(get_any(pool, PAGE), ENOMEM);
	assert_int_equal(get_any(pool, 8 * PAGE), big);
	put(pool, big, 8 * PAGE);
	put(pool, again, 8 * PAGE);

	/* Dropped, it is for anybody. */
	assert_int_equal(
	    physpool_reserve(pool, 8 * PAGE, 0, 32 * PAGE, 1, 0, 0), 0);
	pa[n++] = get_any(pool, PAGE);
	assert_true(pa[n - 1] != NOWHERE);
	while (n-- > 0)
		put(pool, pa[n], PAGE);
	pool_done(pool);
}

static void
a_reservation_is_made_whole_or_not_at_all(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	(void)state;

	assert_int_equal(
	    physpool_reserve(pool, 4 * PAGE, 0, NO_LIMIT, 1, 0, 5), ENOMEM);
	assert_int_equal(
	    physpool_reserve(pool, 4 * PAGE, 0, 10 * PAGE, 1, 0, 3), ENOMEM);
	assert_int_equal(
	    physpool_reserve(pool, 4 * PAGE, 0, PAGE, 1, 0, 1), ENOSPC);
	assert_int_equal(
	    physpool_reserve(pool, 4 * PAGE, 0, NO_LIMIT, 1, PAGE, 1), EINVAL);
	assert_int_equal(
	    physpool_reserve(pool, PAGE, 0, NO_LIMIT, 1, 0, SIZE_MAX), ENOMEM);
	assert_int_equal(get_any(pool, 16 * PAGE), 0);
	put(pool, 0, 16 * PAGE);
	assert_int_equal(
	    physpool_reserve(pool, 4 * PAGE, 0, NO_LIMIT, 1, 0, 4), 0);
	pool_done(pool);
}

static void *
take_reserved_later(void *arg)
{
	return (contigmalloc_wait(
	    arg, 4 * PAGE, M_DEVBUF, 0, 0, NO_LIMIT, 1, 0, NULL));
}

static void
dropping_a_reservation_wakes_who_waits(void **state)
{
	physpool_t *pool = pool_make(0, 8 * PAGE);
	pthread_t thread;
	void *got;
	(void)state;

	assert_int_equal(
	    physpool_reserve(pool, 8 * PAGE, 0, NO_LIMIT, 1, 0, 1), 0);
	assert_int_equal(
	    pthread_create(&thread, NULL, take_reserved_later, pool), 0);
	(void)usleep(20000);
	assert_int_equal(
	    physpool_reserve(pool, 8 * PAGE, 0, NO_LIMIT, 1, 0, 0), 0);
	assert_int_equal(pthread_join(thread, &got), 0);
	assert_non_null(got);
	contigfree(got, 4 * PAGE, M_DEVBUF);
	pool_done(pool);
}

/* ---- where pages are ---- */

/* Sanitizers make mlock do nothing. */
#define SKIP_WITHOUT_MLOCK()                                        \
	do {                                                        \
		if (look_shadowed())                                \
			SKIP("a sanitizer makes mlock do nothing"); \
	} while (0)

/* The frame of one page, or 0 when we may not know. */
static uint64_t
frame_of(const void *p)
{
	uint64_t frame = 0;

	return (os_page_frames(p, 1, &frame) == 0 ? frame : 0);
}

static bool
frames_are_secret(void)
{
	char *p = map_private(PAGE);
	bool secret;

	*p = 1;
	secret = frame_of(p) == 0;
	assert_int_equal(munmap(p, PAGE), 0);
	return (secret);
}

/* With a child that holds a copy of everything. */
static void
write_beside_a_child(char *p, size_t size)
{
	int fds[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		(void)close(fds[1]);
		(void)!read(fds[0], &byte, 1);
		_exit(0);
	}
	for (size_t at = 0; at < size; at += PAGE)
		p[at]++;
	(void)close(fds[0]);
	(void)close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void
t38_a_write_after_fork_moves_no_page_of_a_pool(void **state)
{
	enum { N = 64 };
	struct physpool_attr attr = {
	    .size = N * PAGE, .wiring = PHYSPOOL_MLOCK};
	physpool_t *pool;
	uint64_t before[N];
	char *p;
	(void)state;

	SKIP_WITHOUT_MLOCK();
	if (frames_are_secret())
		SKIP("the kernel hides where pages are");
	pool = pool_of(&attr);
	p = physpool_phystov(pool, 0);
	assert_int_equal(os_page_frames(p, N, before), 0);
	write_beside_a_child(p, N * PAGE);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(frame_of(p + i * PAGE), before[i]);
	pool_done(pool);
}

static void
t38_wired_external_memory_stays_with_the_parent(void **state)
{
	enum { N = 64 };
	char *p = map_private(N * PAGE);
	struct physpool_attr attr = {.size = N * PAGE,
	    .wiring = PHYSPOOL_MLOCK,
	    .backing = PHYSPOOL_EXTERNAL,
	    .va = p};
	physpool_t *pool;
	uint64_t before[N];
	(void)state;

	if (frames_are_secret())
		SKIP("the kernel hides where pages are");
	memset(p, 1, N * PAGE);
	pool = pool_of(&attr);
	assert_int_equal(os_page_frames(p, N, before), 0);
	write_beside_a_child(p, N * PAGE);
	for (size_t i = 0; i < N; i++)
		assert_int_equal(frame_of(p + i * PAGE), before[i]);
	pool_done(pool);

	/* It is the caller's again, for children too. */
	write_beside_a_child(p, N * PAGE);
	assert_int_not_equal(frame_of(p), before[0]);
	assert_int_equal(munmap(p, N * PAGE), 0);
}

static void
create_as_nobody(void *arg)
{
	struct physpool_attr attr = {.size = PAGE, .addr = PHYSPOOL_REAL};
	physpool_t *pool = NULL;
	(void)arg;

	CHILD_CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHILD_CHECK(physpool_create(&pool, &attr) == EPERM);
	CHILD_CHECK(pool == NULL);
}

static void
t39_a_hidden_address_is_an_error_and_not_zero(void **state)
{
	struct physpool_attr attr = {.size = PAGE, .addr = PHYSPOOL_REAL};
	(void)state;

	if (geteuid() == 0)
		child_expect_exit(create_as_nobody, NULL, 0);
	else if (frames_are_secret())
		assert_int_equal(create(&attr), EPERM);
	else
		SKIP("not root, and yet told where pages are");
}

static void
t39_memory_that_nobody_wrote_has_no_address(void **state)
{
	char *p = map_private(4 * PAGE);
	struct physpool_attr attr = {.size = 4 * PAGE,
	    .addr = PHYSPOOL_REAL,
	    .backing = PHYSPOOL_EXTERNAL,
	    .va = p};
	physpool_t *pool;
	(void)state;

	if (frames_are_secret())
		SKIP("the kernel hides where pages are");
	assert_int_equal(create(&attr), EFAULT);
	/* All of them are the page of zeroes, where the kernel has one. */
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(((volatile char *)p)[i * PAGE], 0);
	if (frame_of(p) == frame_of(p + PAGE))
		assert_int_equal(create(&attr), EINVAL);
	memset(p, 1, 4 * PAGE);
	pool = pool_of(&attr);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(
		    vtophys(p + i * PAGE + 5), frame_of(p + i * PAGE) + 5);
	pool_done(pool);
	assert_int_equal(munmap(p, 4 * PAGE), 0);
}

/* Every byte is where the page tables say, and follows modulo its piece. */
static void
check_real(physpool_t *pool, size_t run)
{
	size_t moved = 1;
	vm_paddr_t pa;
	char *p;

	assert_int_equal(physpool_addr_kind(pool), PHYSPOOL_REAL);
	p = contigmalloc_pool(pool, run, M_DEVBUF, M_ZERO, 0, NO_LIMIT, 1, 0);
	assert_non_null(p);
	pa = vtophys(p);
	for (size_t at = 0; at < run; at += PAGE) {
		assert_int_equal(vtophys(p + at), pa + at);
		assert_int_equal(frame_of(p + at), pa + at);
		assert_ptr_equal(physpool_phystov(pool, pa + at), p + at);
	}
	contigfree(p, run, M_DEVBUF);
	assert_int_equal(physpool_verify(pool, &moved), 0);
	assert_int_equal(moved, 0);
}

static void
a_pool_with_real_addresses_has_those_of_its_pages(void **state)
{
	struct physpool_attr attr = {.size = 8 * MIB, .addr = PHYSPOOL_REAL};
	vm_paddr_t last = 0;
	physpool_t *pool;
	size_t n = 0;
	vm_paddr_t *pa;
	(void)state;

	if (frames_are_secret())
		SKIP("the kernel hides where pages are");
	pool = pool_of(&attr);
	check_real(pool, PAGE);

	/* All of the pages, from the highest down. */
	pa = calloc(8 * MIB / PAGE + 1, sizeof(*pa));
	while ((pa[n] = get_any(pool, PAGE)) != NOWHERE) {
		assert_true(n == 0 || pa[n] < last);
		assert_int_equal(
		    frame_of(physpool_phystov(pool, pa[n])), pa[n]);
		last = pa[n++];
	}
	assert_int_equal(n, 8 * MIB / PAGE);
	while (n-- > 0)
		put(pool, pa[n], PAGE);
	free(pa);
	pool_done(pool);
}

/* Ask the kernel to move pages together. */
static bool
compact(void)
{
	int fd = open("/proc/sys/vm/compact_memory", O_WRONLY);
	bool done = fd >= 0 && write(fd, "1", 1) == 1;

	if (fd >= 0)
		(void)close(fd);
	return (done);
}

static bool
pinning_is_refused(void)
{
	char *p = map_private(PAGE);
	int pin, error;

	*p = 1;
	error = os_pin(p, PAGE, &pin);
	if (error == 0)
		os_unpin(pin);
	assert_int_equal(munmap(p, PAGE), 0);
	return (error != 0);
}

static void
t39_no_page_that_is_pinned_moves(void **state)
{
	struct physpool_attr attr = {
	    .size = 8 * MIB, .addr = PHYSPOOL_REAL, .wiring = PHYSPOOL_PIN};
	size_t moved = 1;
	physpool_t *pool;
	(void)state;

	if (frames_are_secret())
		SKIP("the kernel hides where pages are");
	if (pinning_is_refused())
		SKIP("the kernel refuses io_uring");
	pool = pool_of(&attr);
	if (!compact())
		print_message("compaction was refused\n");
	assert_int_equal(physpool_verify(pool, &moved), 0);
	assert_int_equal(moved, 0);
	check_real(pool, PAGE);
	pool_done(pool);
}

static void
a_page_that_is_elsewhere_is_counted(void **state)
{
	char *p = map_private(4 * PAGE);
	struct physpool_attr attr = {.size = 4 * PAGE,
	    .addr = PHYSPOOL_REAL,
	    .backing = PHYSPOOL_EXTERNAL,
	    .va = p};
	physpool_t *pool;
	size_t moved;
	(void)state;

	if (frames_are_secret())
		SKIP("the kernel hides where pages are");
	memset(p, 1, 4 * PAGE);
	pool = pool_of(&attr);
	assert_int_equal(physpool_verify(pool, &moved), 0);
	assert_int_equal(moved, 0);
	assert_int_equal(madvise(p + PAGE, PAGE, MADV_DONTNEED), 0);
	assert_int_equal(physpool_verify(pool, &moved), 0);
	assert_int_equal(moved, 1);
	/* The old page stays in use, so this one is another. */
	assert_int_equal(madvise(p, 4 * PAGE, MADV_DONTNEED), 0);
	assert_int_equal(physpool_verify(pool, &moved), 0);
	assert_int_equal(moved, 4);
	pool_done(pool);
	assert_int_equal(munmap(p, 4 * PAGE), 0);
}

/* Told to be real, each piece of a page somewhere else: the page is not there. */
static void
pieces_of_pages_are_looked_at_by_the_page(void **state)
{
	static const vm_paddr_t paddrs[] = {
	    0x1000, 0x3000, 0x4800, 0x6000, 0x6800, 0x8000};
	char *p = map_private(3 * PAGE);
	struct physpool_attr attr = {.size = 3 * PAGE,
	    .granule = PAGE / 2,
	    .addr = PHYSPOOL_REAL,
	    .backing = PHYSPOOL_EXTERNAL,
	    .va = p,
	    .paddrs = paddrs};
	physpool_t *pool = pool_of(&attr);
	size_t moved;
	int error;
	(void)state;

	memset(p, 1, 3 * PAGE);
	error = physpool_verify(pool, &moved);
	if (frames_are_secret()) {
		assert_int_equal(error, EPERM);
	} else {
		assert_int_equal(error, 0);
		assert_int_equal(moved, 3);
	}
	pool_done(pool);
	assert_int_equal(munmap(p, 3 * PAGE), 0);
}

static void
simulated_addresses_do_not_move(void **state)
{
	physpool_t *pool = pool_make(0, 16 * PAGE);
	size_t moved = 1;
	(void)state;

	assert_int_equal(physpool_addr_kind(pool), PHYSPOOL_SIMULATED);
	assert_int_equal(physpool_verify(pool, &moved), 0);
	assert_int_equal(moved, 0);
	pool_done(pool);
}

static void
wiring_keeps_memory_resident(void **state)
{
	static const enum physpool_wiring wirings[] = {
	    PHYSPOOL_MLOCK, PHYSPOOL_PIN};
	unsigned char there[16];
	(void)state;

	SKIP_WITHOUT_MLOCK();
	for (size_t i = 0; i < 2; i++) {
		struct physpool_attr attr = {
		    .size = 16 * PAGE, .wiring = wirings[i]};
		physpool_t *pool;

		if (wirings[i] == PHYSPOOL_PIN && pinning_is_refused())
			SKIP("the kernel refuses io_uring");
		pool = pool_of(&attr);
		assert_int_equal(
		    mincore(physpool_phystov(pool, 0), 16 * PAGE, there), 0);
		for (size_t k = 0; k < 16; k++)
			assert_int_equal(there[k] & 1, 1);
		pool_done(pool);
	}
}

static void
wire_beyond_the_limit(void *arg)
{
	const struct rlimit little = {4 * PAGE, 4 * PAGE};
	struct physpool_attr attr = {
	    .size = MIB, .wiring = *(enum physpool_wiring *)arg};
	physpool_t *pool = NULL;

	CHILD_CHECK(setrlimit(RLIMIT_MEMLOCK, &little) == 0);
	if (geteuid() == 0)
		CHILD_CHECK(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	CHILD_CHECK(physpool_create(&pool, &attr) == ENOMEM);
	attr.wiring = PHYSPOOL_UNWIRED;
	CHILD_CHECK(physpool_create(&pool, &attr) == 0);
}

static void
wiring_beyond_the_limit_is_refused(void **state)
{
	enum physpool_wiring lock = PHYSPOOL_MLOCK, pin = PHYSPOOL_PIN;
	(void)state;

	SKIP_WITHOUT_MLOCK();
	child_expect_exit(wire_beyond_the_limit, &lock, 0);
	child_expect_exit(wire_beyond_the_limit, &pin, 0);
}

/* ---- huge pages ---- */

/*
 * Their number is one for the machine: tests that look at it or change it take
 * turns, whatever process they are in.
 */
static int
huge_pages_lock(void)
{
	int fd = open(
	    "/tmp/quarry_test_hugepages", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
	return (fd);
}

static long
huge_pages(void)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "r");
	long n = -1;

	if (f != NULL) {
		if (fscanf(f, "%ld", &n) != 1)
			n = -1;
		(void)fclose(f);
	}
	return (n);
}

static void
set_huge_pages(long n)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");

	if (f != NULL) {
		(void)fprintf(f, "%ld", n);
		(void)fclose(f);
	}
}

static void
t40_without_huge_pages_a_pool_of_them_is_not_made(void **state)
{
	struct physpool_attr attr = {
	    .size = (size_t)HUGE_PAGE << 20, .backing = PHYSPOOL_HUGETLB};
	long there;
	int lock;
	(void)state;

	/* 2 TiB of them are nowhere; those that there are it may take first. */
	lock = huge_pages_lock();
	assert_int_equal(create(&attr), ENOMEM);
	attr.size = HUGE_PAGE;
	there = huge_pages();
	if (there == 0)
		assert_int_equal(create(&attr), ENOMEM);
	(void)close(lock);
	if (there != 0)
		SKIP("there are huge pages");
}

static void
use_huge_pages(enum physpool_addr addr)
{
	enum { N = 4 };
	struct physpool_attr attr = {
	    .size = N * HUGE_PAGE, .backing = PHYSPOOL_HUGETLB, .addr = addr};
	physpool_t *pool = pool_of(&attr);
	size_t moved = 1;
	char *p[N];

	/* All of it is there, and none for a second. */
	assert_int_equal(create(&attr), ENOMEM);
	for (size_t i = 0; i < N; i++) {
		p[i] = contigmalloc_pool(pool, HUGE_PAGE, M_DEVBUF, M_ZERO, 0,
		    NO_LIMIT, HUGE_PAGE, 0);
		assert_non_null(p[i]);
		assert_int_equal(vtophys(p[i]) % HUGE_PAGE, 0);
		assert_int_equal((uintptr_t)p[i] % HUGE_PAGE, 0);
		memset(p[i], (int)i, HUGE_PAGE);
		if (addr == PHYSPOOL_REAL)
			assert_int_equal(frame_of(p[i]), vtophys(p[i]));
	}
	assert_int_equal(physpool_verify(pool, &moved), 0);
	assert_int_equal(moved, 0);
	for (size_t i = 0; i < N; i++) {
		assert_int_equal(p[i][HUGE_PAGE - 1], (int)i);
		contigfree(p[i], HUGE_PAGE, M_DEVBUF);
	}
	attr.size += PAGE;
	assert_int_equal(create(&attr), EINVAL);
	pool_done(pool);
}

static void
a_pool_of_huge_pages_has_them_all_from_the_start(void **state)
{
	int lock = huge_pages_lock();
	long before = huge_pages();
	bool enough = false;
	(void)state;

	if (before == 0) {
		set_huge_pages(4);
		enough = huge_pages() == 4;
	}
	if (enough) {
		use_huge_pages(PHYSPOOL_SIMULATED);
		if (!frames_are_secret())
			use_huge_pages(PHYSPOOL_REAL);
	}
	if (before == 0)
		set_huge_pages(0);
	(void)close(lock);
	if (!enough)
		SKIP("there are no huge pages to be had, or others use some");
}

static void
a_huge_page_cannot_be_part_of_a_pool(void **state)
{
	struct physpool_attr attr = {.size = PAGE, .backing = PHYSPOOL_FD};
	(void)state;

	attr.fd = memfd_create("huge", MFD_CLOEXEC | (unsigned)MFD_HUGETLB);
	if (attr.fd < 0)
		SKIP("the kernel has no huge pages");
	assert_int_equal(ftruncate(attr.fd, HUGE_PAGE), 0);
	assert_int_equal(create(&attr), EINVAL);
	assert_int_equal(close(attr.fd), 0);
}

/* ---- what cannot be ---- */

static void
more_granules_than_can_be_counted_are_refused(void **state)
{
	struct physpool_attr attr = {.size = (size_t)1 << 60,
	    .granule = 1,
	    .backing = PHYSPOOL_EXTERNAL};
	(void)state;

	attr.va = map_private(PAGE);
	assert_int_equal(create(&attr), ENOMEM);
	assert_int_equal(munmap(attr.va, PAGE), 0);
}

static void
external_memory_that_cannot_be_wired_is_refused(void **state)
{
	struct physpool_attr attr = {.size = PAGE,
	    .wiring = PHYSPOOL_MLOCK,
	    .backing = PHYSPOOL_EXTERNAL};
	(void)state;

	attr.va = map_private(PAGE);
	failsys_reset();
	failsys_from(FAILSYS_MLOCK, 1, EPERM);
	assert_int_equal(create(&attr), EPERM);
	failsys_reset();
	assert_int_equal(munmap(attr.va, PAGE), 0);
}

static void
external_memory_that_is_not_mapped_is_refused(void **state)
{
	char *p = map_private(2 * PAGE);
	struct physpool_attr attr = {
	    .size = 2 * PAGE, .backing = PHYSPOOL_EXTERNAL, .va = p};
	(void)state;

	assert_int_equal(munmap(p + PAGE, PAGE), 0);
	attr.wiring = PHYSPOOL_MLOCK;
	assert_int_equal(create(&attr), EFAULT);
	attr.wiring = PHYSPOOL_PIN;
	assert_int_equal(create(&attr), EFAULT);
	attr.wiring = PHYSPOOL_UNWIRED;
	attr.addr = PHYSPOOL_REAL;
	assert_int_equal(create(&attr), EFAULT);
	assert_false(has_flag(p, " dc"));
	assert_false(has_flag(p, " lo"));
	assert_int_equal(munmap(p, PAGE), 0);
}

/* Two pages that are no two in one granule, whatever the kernel gave. */
static void
real_addresses_that_are_no_granules_are_refused(void **state)
{
	char *p = map_private(3 * PAGE);
	struct physpool_attr attr = {.size = 2 * PAGE,
	    .granule = 2 * PAGE,
	    .addr = PHYSPOOL_REAL,
	    .backing = PHYSPOOL_EXTERNAL,
	    .va = p};
	(void)state;

	if (frames_are_secret())
		SKIP("the kernel hides where pages are");
	memset(p, 1, 3 * PAGE);
	if (frame_of(p) % (2 * PAGE) == 0 &&
	    frame_of(p + PAGE) == frame_of(p) + PAGE)
		attr.va = p + PAGE;
	assert_int_equal(create(&attr), EINVAL);
	assert_int_equal(munmap(p, 3 * PAGE), 0);
}

static void
verify_in_vain(void *pool)
{
	size_t moved = 1;

	failsys_reset();
	failsys_from(FAILSYS_PREAD, 1, EIO);
	CHILD_CHECK(physpool_verify(pool, &moved) == EIO);
}

static void
where_pages_are_may_be_unknown_later(void **state)
{
	struct physpool_attr attr = {.size = PAGE, .addr = PHYSPOOL_REAL};
	physpool_t *pool;
	(void)state;

	if (frames_are_secret())
		SKIP("the kernel hides where pages are");
	pool = pool_of(&attr);
	child_expect_exit(verify_in_vain, pool, 0);
	pool_done(pool);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_bad_attribute_is_refused),
	    cmocka_unit_test(a_granule_may_be_smaller_or_larger_than_a_page),
	    cmocka_unit_test(addresses_in_memory_follow_physical_ones),
	    cmocka_unit_test(a_pool_is_not_destroyed_while_it_has_blocks),
	    cmocka_unit_test(
		t41_any_byte_of_a_block_has_an_address_and_none_beyond),
	    cmocka_unit_test(
		t41_the_end_of_a_segment_is_not_the_begin_of_the_next),
	    cmocka_unit_test(addresses_are_found_in_any_of_many_pools),
	    cmocka_unit_test(a_pool_may_have_very_many_segments),
	    cmocka_unit_test(external_memory_is_not_touched),
	    cmocka_unit_test(external_memory_need_not_be_aligned),
	    cmocka_unit_test(memory_is_in_one_pool_only),
	    cmocka_unit_test(
		a_pool_that_is_not_made_leaves_external_memory_as_it_was),
	    cmocka_unit_test(external_memory_is_one_pools_from_begin_to_end),
	    cmocka_unit_test(a_file_is_mapped_shared_and_must_be_long_enough),
	    cmocka_unit_test(an_exported_pool_has_the_same_addresses_elsewhere),
	    cmocka_unit_test(real_addresses_are_the_same_in_every_process),
	    cmocka_unit_test(external_memory_is_not_exported),
	    cmocka_unit_test(
		a_reserved_run_is_there_when_all_else_is_fragmented),
	    cmocka_unit_test(a_reservation_is_made_whole_or_not_at_all),
	    cmocka_unit_test(dropping_a_reservation_wakes_who_waits),
	    cmocka_unit_test(t38_a_write_after_fork_moves_no_page_of_a_pool),
	    cmocka_unit_test(t38_wired_external_memory_stays_with_the_parent),
	    cmocka_unit_test(t39_a_hidden_address_is_an_error_and_not_zero),
	    cmocka_unit_test(t39_memory_that_nobody_wrote_has_no_address),
	    cmocka_unit_test(a_pool_with_real_addresses_has_those_of_its_pages),
	    cmocka_unit_test(t39_no_page_that_is_pinned_moves),
	    cmocka_unit_test(a_page_that_is_elsewhere_is_counted),
	    cmocka_unit_test(pieces_of_pages_are_looked_at_by_the_page),
	    cmocka_unit_test(simulated_addresses_do_not_move),
	    cmocka_unit_test(wiring_keeps_memory_resident),
	    cmocka_unit_test(wiring_beyond_the_limit_is_refused),
	    cmocka_unit_test(t40_without_huge_pages_a_pool_of_them_is_not_made),
	    cmocka_unit_test(a_pool_of_huge_pages_has_them_all_from_the_start),
	    cmocka_unit_test(a_huge_page_cannot_be_part_of_a_pool),
	    cmocka_unit_test(more_granules_than_can_be_counted_are_refused),
	    cmocka_unit_test(external_memory_that_cannot_be_wired_is_refused),
	    cmocka_unit_test(external_memory_that_is_not_mapped_is_refused),
	    cmocka_unit_test(real_addresses_that_are_no_granules_are_refused),
	    cmocka_unit_test(where_pages_are_may_be_unknown_later),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
