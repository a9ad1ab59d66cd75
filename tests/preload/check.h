/*
 * check.h - tests in programs that know nothing of Quarry.
 *
 * No CMocka here: the malloc under test is the one of the whole process, so
 * what runs the tests must get along without it.
 */
#ifndef QR_TEST_CHECK_H
#define QR_TEST_CHECK_H

#include <fcntl.h>
#include <malloc.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Tells whether this process has Quarry's malloc at all. */
const char *quarry_version(void) __attribute__((weak));

#ifdef __cplusplus
}
#endif

/* A test, named by the sentence it proves. */
struct check {
	const char *c_name;
	void (*c_fn)(void);
};

#define CHECK_THAT(fn)  \
	{               \
#fn, fn \
	}

/* As dprintf, which allocates. */
__attribute__((format(printf, 2, 3), unused)) static void
check_say(int fd, const char *fmt, ...)
{
	char text[1024];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (len < 0 || write(fd, text, strlen(text)) < 0)
		_exit(1);
}

/* Whether all n bytes at p are that one. */
__attribute__((unused)) static int
check_bytes(const void *p, size_t n, int byte)
{
	const unsigned char *b = (const unsigned char *)p;

	return (n == 0 ||
	    (*b == (unsigned char)byte && memcmp(b, b + 1, n - 1) == 0));
}

/* Say what is false, and end the process with status 1. */
#define CHECK(expr) ((expr) ? (void)0 : check_failed(#expr, __FILE__, __LINE__))

__attribute__((noreturn, unused)) static void
check_failed(const char *expr, const char *file, int line)
{
	check_say(STDERR_FILENO, "%s:%d: %s is false\n", file, line, expr);
	_exit(1);
}

/* Run fn in a child of fork, which has a minute: how the child ended. */
static int
check_status_of(void (*fn)(void))
{
	pid_t pid = fork();
	int status;

	CHECK(pid != -1);
	if (pid == 0) {
		(void)alarm(60);
		fn();
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	return (status);
}

/* The child comes through it. */
__attribute__((unused)) static void
check_in_child(void (*fn)(void))
{
	CHECK(check_status_of(fn) == 0);
}

/* Exit status by which a test says that it cannot run here. */
enum { CHECK_SKIPPED = 77 };

__attribute__((noreturn, unused)) static void
check_skip(const char *reason)
{
	check_say(STDOUT_FILENO, "skipped: %s\n", reason);
	_exit(CHECK_SKIPPED);
}

/* Bytes of address space and of resident memory; allocates nothing. */
__attribute__((unused)) static void
check_memory(size_t *space, size_t *resident)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char text[64] = "";
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0);
	(void)close(fd);
	CHECK(sscanf(text, "%zu %zu", space, resident) == 2);
	*space *= page;
	*resident *= page;
}

__attribute__((unused)) static size_t
check_resident(void)
{
	size_t space, resident;

	check_memory(&space, &resident);
	return (resident);
}

/* Wait until at most so much is resident, for so many tenths of a second. */
__attribute__((unused)) static void
check_wait_resident(size_t most, unsigned tenths)
{
	for (; tenths > 0 && check_resident() > most; tenths--)
		(void)usleep(100000);
}

/* Bytes that the program holds, as malloc counts them. */
__attribute__((unused)) static size_t
check_in_use(void)
{
	struct mallinfo2 mi = mallinfo2();

	return (mi.uordblks + mi.hblkhd);
}

static void
check_run(const struct check *c)
{
	c->c_fn();
	check_say(STDOUT_FILENO, "ok %s\n", c->c_name);
}

/* Run the tests named on the command line, or all n. */
__attribute__((unused)) static int
check_main(int argc, char **argv, const struct check *table, size_t n)
{
	if (quarry_version == NULL) {
		check_say(STDERR_FILENO, "%s: no Quarry here\n", argv[0]);
		return (1);
	}
	for (size_t i = 0; i < n && argc < 2; i++)
		check_run(&table[i]);
	for (int arg = 1; arg < argc; arg++) {
		size_t i = 0;

		while (i < n && strcmp(table[i].c_name, argv[arg]) != 0)
			i++;
		CHECK(i < n);
		check_run(&table[i]);
	}
	return (0);
}

#define CHECK_MAIN(table)                                                  \
	int main(int argc, char **argv)                                    \
	{                                                                  \
		return (check_main(                                        \
		    argc, argv, table, sizeof(table) / sizeof(table[0]))); \
	}

#endif /* QR_TEST_CHECK_H */
