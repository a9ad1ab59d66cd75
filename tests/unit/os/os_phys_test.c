/*
 * os_phys_test.c - files of memory, fixed mappings, wiring, and where pages are.
 */
#define _GNU_SOURCE 1 /* memfd_create */

#include "os/os_phys.h"

#include "os/os.h"
#include "support/failsys.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

static size_t page;

static int
begin(void **state)
{
	(void)state;
	failsys_reset();
	page = os_page_size();
	errno = 77;
	return (0);
}

/* Nothing changes errno. */
static int
end(void **state)
{
	(void)state;
	failsys_reset();
	return (errno != 77);
}

static void
a_file_has_the_size_that_was_asked_for_and_can_be_mapped_anywhere(void **state)
{
	char *space = os_reserve(8 * page);
	size_t unit = 0;
	int fd = -1;
	(void)state;

	assert_non_null(space);
	assert_int_equal(os_file_make(4 * page, false, &fd, &unit), 0);
	assert_int_equal(unit, page);
	assert_int_equal(os_map_file(space + page, 4 * page, fd, 0), 0);
	assert_int_equal(os_map_file(space + 6 * page, page, fd, 2 * page), 0);
	space[3 * page + 5] = 42;
	assert_int_equal(space[6 * page + 5], 42);
	assert_true(os_unmap(space, 8 * page));
	os_file_close(fd);
}

static void
a_file_that_is_too_short_is_refused(void **state)
{
	int fd = memfd_create("short", MFD_CLOEXEC);
	size_t unit = 0;
	(void)state;

	assert_int_equal(ftruncate(fd, (off_t)(3 * page)), 0);
	assert_int_equal(os_file_look(fd, 0, 3 * page, &unit), 0);
	assert_int_equal(unit, page);
	assert_int_equal(os_file_look(fd, (off_t)page, 2 * page, &unit), 0);
	assert_int_equal(os_file_look(fd, 0, 3 * page + 1, &unit), EINVAL);
	assert_int_equal(
	    os_file_look(fd, (off_t)page, 2 * page + 1, &unit), EINVAL);
	assert_int_equal(os_file_look(fd, (off_t)(4 * page), 1, &unit), EINVAL);
	assert_int_equal(os_file_look(-1, 0, 1, &unit), EBADF);
	os_file_close(fd);
}

/* How long a device is nobody knows. */
static void
a_device_is_as_long_as_its_driver_says(void **state)
{
	int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
	size_t unit = 0;
	(void)state;

	assert_int_equal(os_file_look(fd, 0, 1000 * page, &unit), 0);
	assert_int_equal(unit, page);
	os_file_close(fd);
}

static void
a_filled_file_has_all_its_pages(void **state)
{
	struct stat st;
	size_t unit = 0;
	int fd = -1;
	(void)state;

	assert_int_equal(os_file_make(16 * page, false, &fd, &unit), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(os_file_fill(fd, 0, 16 * page), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal((size_t)st.st_blocks * 512, 16 * page);
	os_file_close(fd);
}

static void
a_resource_that_is_used_up_is_a_shortage_of_memory(void **state)
{
	static const int errors[] = {ENOSPC, EDQUOT, EMFILE, ENFILE, ENOMEM};
	size_t unit = 0;
	int fd = -1;
	(void)state;

	for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		failsys_from(FAILSYS_MEMFD, 1, errors[i]);
		assert_int_equal(os_file_make(page, false, &fd, &unit), ENOMEM);
	}
	failsys_reset();
	failsys_from(FAILSYS_TRUNCATE, 1, EFBIG);
	assert_int_equal(os_file_make(page, false, &fd, &unit), EFBIG);
	assert_int_equal(fd, -1);
	failsys_reset();
	assert_int_equal(os_file_make(page, false, &fd, &unit), 0);
	failsys_nth(FAILSYS_FALLOCATE, 1, EINTR);
	assert_int_equal(os_file_fill(fd, 0, page), 0);
	os_file_close(fd);
}

static void
pages_are_told_apart_and_absent_ones_marked(void **state)
{
	char *p = os_map(4 * page, page);
	uint64_t frames[4] = {0};
	int error;
	(void)state;

	p[0] = 1;
	p[2 * page] = 1;
	error = os_page_frames(p, 4, frames);
	assert_int_equal(frames[1], UINT64_MAX);
	assert_int_equal(frames[3], UINT64_MAX);
	if (error == EPERM) {
		assert_int_equal(frames[0], 0);
	} else {
		assert_int_equal(error, EFAULT);
		assert_int_equal(frames[0] % page, 0);
		assert_int_not_equal(frames[0], frames[2]);
		p[page] = p[3 * page] = 1;
		assert_int_equal(os_page_frames(p, 4, frames), 0);
	}
	assert_true(os_unmap(p, 4 * page));
}

static void
page_tables_that_cannot_be_read_are_an_error(void **state)
{
	char *p = os_map(page, page);
	uint64_t frame;
	(void)state;

	failsys_from(FAILSYS_OPEN, 1, EACCES);
	assert_int_equal(os_page_frames(p, 1, &frame), EPERM);
	failsys_reset();
	failsys_from(FAILSYS_OPEN, 1, ENOENT);
	assert_int_equal(os_page_frames(p, 1, &frame), ENOENT);
	failsys_reset();
	failsys_from(FAILSYS_PREAD, 1, EIO);
	assert_int_equal(os_page_frames(p, 1, &frame), EIO);
	failsys_reset();
	p[0] = 1;
	failsys_nth(FAILSYS_PREAD, 1, EINTR);
	assert_in_range(os_page_frames(p, 1, &frame), 0, EPERM);
	assert_true(os_unmap(p, page));
}

static void
populating_enters_every_page(void **state)
{
	unsigned char there[8];
	char *p = os_map(8 * page, page);
	(void)state;

	assert_int_equal(os_populate(p, 8 * page), 0);
	assert_int_equal(mincore(p, 8 * page, there), 0);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(there[i] & 1, 1);
	os_collapse(p, 8 * page);
	assert_true(os_unmap(p, 8 * page));
}

static void
a_pin_takes_as_many_buffers_as_there_are_gibibytes(void **state)
{
	size_t size = ((size_t)2 << 30) + page;
	char *p = os_reserve(size);
	int pin = -1;
	(void)state;

	/* Nothing is there, so the kernel refuses after it was asked once. */
	assert_int_not_equal(os_pin(p, size, &pin), 0);
	assert_int_equal(pin, -1);
	assert_true(os_unmap(p, size));
}

static void
a_ring_that_is_refused_is_an_error(void **state)
{
	char *p = os_map(page, page);
	int pin = -1;
	(void)state;

	failsys_only(SYS_io_uring_setup);
	failsys_from(FAILSYS_SYSCALL, 1, EPERM);
	assert_int_equal(os_pin(p, page, &pin), EPERM);
	failsys_reset();
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	assert_int_equal(os_pin(p, page, &pin), ENOMEM);
	failsys_reset();
	assert_int_equal(pin, -1);
	assert_true(os_unmap(p, page));
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, begin, end)

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(
		a_file_has_the_size_that_was_asked_for_and_can_be_mapped_anywhere),
	    TEST(a_file_that_is_too_short_is_refused),
	    TEST(a_device_is_as_long_as_its_driver_says),
	    TEST(a_filled_file_has_all_its_pages),
	    TEST(a_resource_that_is_used_up_is_a_shortage_of_memory),
	    TEST(pages_are_told_apart_and_absent_ones_marked),
	    TEST(page_tables_that_cannot_be_read_are_an_error),
	    TEST(populating_enters_every_page),
	    TEST(a_pin_takes_as_many_buffers_as_there_are_gibibytes),
	    TEST(a_ring_that_is_refused_is_an_error),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
