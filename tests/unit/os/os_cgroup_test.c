/*
 * os_cgroup_test.c - limits of control groups, in trees of files made for it.
 */
#define _GNU_SOURCE 1 /* nftw */

#include "os/os_cgroup.h"

#include "support/failsys.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { ODD_ERRNO = 77 };

#define MAX "9223372036854771712\n" /* of version 1: none */

static char root[64], self[80];

/* With the directories that lead to it. */
static void
write_file(const char *name, const char *text)
{
	char path[8192];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", root, name);
	for (char *slash = path + strlen(root) + 1;
	     (slash = strchr(slash, '/')) != NULL; *slash++ = '/') {
		*slash = '\0';
		(void)mkdir(path, 0700);
	}
	file = fopen(path, "w");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static int
begin(void **state)
{
	(void)state;
	(void)strcpy(root, "/tmp/quarry-cgroup-XXXXXX");
	assert_non_null(mkdtemp(root));
	(void)snprintf(self, sizeof(self), "%s/self", root);
	errno = ODD_ERRNO;
	return (0);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
	(void)st;
	(void)type;
	(void)where;
	return (remove(path));
}

static int
end(void **state)
{
	(void)state;
	failsys_reset();
	return (nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS));
}

static size_t
limit(void)
{
	size_t bytes;

	errno = ODD_ERRNO;
	bytes = os_cgroup_memory(self, root);
	assert_int_equal(errno, ODD_ERRNO);
	return (bytes);
}

static void
the_least_limit_from_the_group_up_counts(void **state)
{
	(void)state;
	write_file("self", "0::/a/b/c\n");
	write_file("a/b/c/memory.max", "max\n");
	assert_true(limit() == SIZE_MAX);
	write_file("a/b/memory.max", "3000000\n");
	assert_int_equal(limit(), 3000000);
	write_file("a/memory.max", "2000000\n");
	assert_int_equal(limit(), 2000000);
	write_file("a/b/c/memory.max", "1000000\n");
	assert_int_equal(limit(), 1000000);
	/* Of another group, or with too little of the name. */
	write_file("a/b/d/memory.max", "1\n");
	write_file("a/b/c/d/memory.max", "1\n");
	write_file("a/b/c/memory.ma", "1\n");
	assert_int_equal(limit(), 1000000);
}

static void
a_group_that_is_its_own_root_is_found_there(void **state)
{
	(void)state;
	write_file("self", "0::/outside/only\n");
	write_file("memory.max", "5000000");
	assert_int_equal(limit(), 5000000);
	write_file("self", "0::/\n");
	assert_int_equal(limit(), 5000000);
	write_file("self", "0::/../other\n");
	assert_int_equal(limit(), 5000000);
}

static void
version_1_has_the_controllers_name_and_another_file(void **state)
{
	(void)state;
	write_file("self",
	    "9:name=systemd:/x\n7:cpu,cpuacct:/x\n5:memory:/g/h\n0::/\n");
	write_file("memory/g/h/memory.limit_in_bytes", MAX);
	assert_true(limit() == SIZE_MAX);
	write_file("memory/g/memory.limit_in_bytes", "7000000\n");
	assert_int_equal(limit(), 7000000);
	/* That of no controller, and of others, says nothing. */
	write_file("x/memory.max", "1\n");
	write_file("cpu/x/memory.limit_in_bytes", "1\n");
	write_file("memory/x/memory.limit_in_bytes", "1\n");
	write_file("memory.limit_in_bytes", "1\n");
	assert_int_equal(limit(), 7000000);
	/* Both versions at once, each with a limit of its own. */
	write_file("memory.max", "6000000\n");
	assert_int_equal(limit(), 6000000);
	write_file("self", "5:cpu,memory,pids:/g/h\n");
	assert_int_equal(limit(), 7000000);
	write_file("self", "5:cpu,xmemory,memoryx:/g/h\n");
	assert_true(limit() == SIZE_MAX);
}

static void
what_makes_no_sense_is_no_limit(void **state)
{
	static const char *const lines[] = {"", "\n", "0", "0\n", "0:\n",
	    "0:memory\n", ":::\n", "0::/a", "\n\n:\n::\n"};
	static const char *const numbers[] = {"", "\n", "max", "-1\n", " 5\n",
	    "9223372036854775808\n", "18446744073709551615\n",
	    "18446744073709551616\n", "99999999999999999999999999999999999\n"};
	static char longest[8000];
	(void)state;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		write_file("self", lines[i]);
		assert_true(limit() == SIZE_MAX);
	}
	write_file("self", "0::/a\n");
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		write_file("a/memory.max", numbers[i]);
		assert_true(limit() == SIZE_MAX);
	}
	write_file("a/memory.max", "12345");
	assert_int_equal(limit(), 12345);
	/* A group whose name no path can have, and what is above it. */
	memset(longest, 'g', sizeof(longest) - 1);
	memcpy(longest, "0::/", 4);
	longest[sizeof(longest) - 2] = '\n';
	write_file("self", longest);
	assert_true(limit() == SIZE_MAX);
	write_file("memory.max", "54321");
	assert_int_equal(limit(), 54321);
}

static void
what_the_kernel_refuses_is_no_limit(void **state)
{
	(void)state;
	assert_true(limit() == SIZE_MAX);
	write_file("self", "0::/a\n");
	write_file("a/memory.max", "1000\n");
	write_file("memory.max", "2000\n");
	failsys_nth(FAILSYS_OPEN, 2, EMFILE);
	assert_int_equal(limit(), 2000);
	failsys_from(FAILSYS_OPEN, 1, EMFILE);
	assert_true(limit() == SIZE_MAX);
	failsys_reset();
	failsys_from(FAILSYS_MMAP, 1, ENOMEM);
	assert_true(limit() == SIZE_MAX);
	failsys_reset();
	assert_int_equal(limit(), 1000);
}

int
main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
	    TEST(the_least_limit_from_the_group_up_counts),
	    TEST(a_group_that_is_its_own_root_is_found_there),
	    TEST(version_1_has_the_controllers_name_and_another_file),
	    TEST(what_makes_no_sense_is_no_limit),
	    TEST(what_the_kernel_refuses_is_no_limit),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
