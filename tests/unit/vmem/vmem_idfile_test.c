/*
 * vmem_idfile_test.c - saved spaces: what is written, what is refused, and what
 * is there after a crash.
 */
#define _GNU_SOURCE 1 /* unshare, memfd_create, gettid */

#include "unit/vmem/vmem_test.h"

#include "os/os.h"
#include "support/asleep.h"
#include "support/child.h"
#include "support/failsys.h"

#include <quarry/id_space.h>

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_BYTES = 4096 };

static char dir[32], path[64], newpath[64];

/* ---- texts ---- */

static void
text_write(const char *to, const void *text, size_t len)
{
	FILE *f = fopen(to, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
}

static size_t
text_read(const char *from, char text[TEXT_BYTES])
{
	FILE *f = fopen(from, "r");
	size_t len;

	if (f == NULL)
		return (0);
	len = fread(text, 1, TEXT_BYTES - 1, f);
	text[len] = '\0';
	(void)fclose(f);
	return (len);
}

/* Another CRC-32 than the library's: a bit at a time. */
static unsigned
slow_crc(const char *s, size_t len)
{
	unsigned crc = ~0u;

	for (size_t i = 0; i < len; i++) {
		crc ^= (unsigned char)s[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320u : 0);
	}
	return (~crc);
}

/* A text with the right checksum. */
static void
text_seal(const char *lines)
{
	char text[TEXT_BYTES];
	int len = snprintf(text, sizeof(text), "%ssum %08x\n", lines,
	    slow_crc(lines, strlen(lines)));

	text_write(path, text, (size_t)len);
}

/* ---- stderr ---- */

static int real_stderr, caught;

static void
catch_stderr(void)
{
	real_stderr = dup(2);
	caught = memfd_create("stderr", 0);
	assert_true(real_stderr >= 0 && caught >= 0);
	assert_int_equal(dup2(caught, 2), 2);
}

/* What was written to stderr; it begins anew. */
static const char *
caught_text(void)
{
	static char text[TEXT_BYTES];
	ssize_t n = pread(caught, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	assert_int_equal(ftruncate(caught, 0), 0);
	assert_int_equal(lseek(caught, 0, SEEK_SET), 0);
	return (text);
}

static void
release_stderr(void)
{
	(void)dup2(real_stderr, 2);
	(void)close(real_stderr);
	(void)close(caught);
}

/* The file must be refused with that error, and a message like that. */
static void
assert_refused(int error, const char *pattern)
{
	id_space_t *s;
	const char *text;

	catch_stderr();
	errno = 0;
	s = id_space_restore("again", path);
	text = caught_text();
	release_stderr();
	assert_null(s);
	assert_int_equal(errno, error);
	if (fnmatch(pattern, text, 0) != 0)
		fail_msg("%s is not like %s", text, pattern);
}

/* ---- a space with something of everything ---- */

static const char *const sample_text = "quarry-id-space 1\n"
				       "cooldown 3600000\n"
				       "next 1003\n"
				       "range 0 99\n"
				       "range 100 199\n"
				       "range 1000 4095\n"
				       "range 2147483646 2147483646\n"
				       "used 0 1\n"
				       "resting 2 3\n"
				       "used 99 99\n"
				       "used 100 100\n"
				       "used 1000 1001\n"
				       "resting 1002 1002\n"
				       "used 2147483646 2147483646\n";

static id_space_t *
sample(void)
{
	id_space_t *s = id_space_create("sample", 1000, 4096);
	static const id_t taken[] = {0, 1, 2, 3, 99, 100, INT_MAX - 1};

	assert_non_null(s);
	id_space_extend(s, INT_MAX - 1, INT_MAX);
	for (id_t id = 1000; id < 1003; id++)
		assert_int_equal(id_alloc(s), id);
	id_space_extend(s, 100, 200);
	id_space_extend(s, 0, 100);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		assert_int_equal(id_alloc_specific(s, taken[i]), taken[i]);
	assert_int_equal(id_space_set_cooldown(s, 3600000), 0);
	id_free(s, 3);
	id_free(s, 1002);
	id_free(s, 2);
	return (s);
}

static void
sample_destroy(id_space_t *s)
{
	id_free(s, 0);
	id_free(s, 1);
	id_free(s, 99);
	id_free(s, 100);
	id_free(s, 1000);
	id_free(s, 1001);
	id_free(s, INT_MAX - 1);
	done(s);
}

static void
a_saved_space_is_a_text_for_people(void **state)
{
	id_space_t *s = sample();
	char expected[TEXT_BYTES], text[TEXT_BYTES];
	(void)state;

	assert_int_equal(id_space_save(s, path), 0);
	(void)snprintf(expected, sizeof(expected), "%ssum %08x\n", sample_text,
	    slow_crc(sample_text, strlen(sample_text)));
	(void)text_read(path, text);
	assert_string_equal(text, expected);
	assert_int_equal(access(newpath, F_OK), -1);
	sample_destroy(s);
}

static void
what_is_restored_goes_on_as_what_was_saved(void **state)
{
	id_space_t *s;
	struct id_space_stats stats;
	(void)state;

	text_seal(sample_text);
	s = id_space_restore("again", path);
	assert_non_null(s);
	assert_true(vmem__check(s));
	assert_int_equal(id_space_getstats(s, &stats), 0);
	assert_int_equal(stats.inuse, 7);
	assert_int_equal(stats.resting, 3);
	assert_int_equal(stats.total, 100 + 100 + 3096 + 1);
	assert_int_equal(stat_of("again").vs_spans, 4);
	assert_int_equal(id_alloc_specific(s, 2), (id_t)-1);
	assert_int_equal(id_alloc_specific(s, 1000), (id_t)-1);
	assert_int_equal(id_alloc(s), 1003);
	assert_int_equal(id_allocff(s), 4);
	assert_int_equal(id_space_set_cooldown(s, 0), 0);
	assert_int_equal(id_allocff(s), 2);
	id_free(s, 1003);
	id_free(s, 4);
	id_free(s, 2);
	sample_destroy(s);
}

static void
what_rested_rests_anew(void **state)
{
	struct timespec begin, end;
	id_space_t *s;
	(void)state;

	text_seal("quarry-id-space 1\ncooldown 50\nnext 0\nrange 5 5\n"
		  "resting 5 5\n");
	(void)clock_gettime(CLOCK_MONOTONIC, &begin);
	s = id_space_restore("again", path);
	assert_non_null(s);
	assert_int_equal(id_alloc(s), 5);
	(void)clock_gettime(CLOCK_MONOTONIC, &end);
	assert_true((end.tv_sec - begin.tv_sec) * 1000 +
		(end.tv_nsec - begin.tv_nsec) / 1000000 >=
	    49);
	id_free(s, 5);
	done(s);
}

/* ---- refusals ---- */

static void
every_truncation_is_refused_by_line(void **state)
{
	char text[TEXT_BYTES];
	unsigned line = 1;
	size_t len;
	(void)state;

	text_seal(sample_text);
	len = text_read(path, text);
	assert_true(len > 100);
	for (size_t n = 0; n < len; n++) {
		char pattern[192];

		text_write(path, text, n);
		(void)snprintf(pattern, sizeof(pattern),
		    "quarry: id_space_restore('again', '%s'): line %u: %s*\n",
		    path, line,
		    n == 0 || text[n - 1] == '\n'
			? "the file ends before its last line"
			: "the line has no end");
		assert_refused(EBADMSG, pattern);
		line += text[n] == '\n';
	}
}

static void
every_flipped_byte_is_refused_by_line(void **state)
{
	unsigned step = getenv("QR_TEST_QUICK") != NULL ? 37 : 1;
	char text[TEXT_BYTES], pattern[128];
	size_t len;
	(void)state;

	text_seal(sample_text);
	len = text_read(path, text);
	(void)snprintf(pattern, sizeof(pattern),
	    "quarry: id_space_restore('again', '%s'): line [0-9]*: *\n", path);
	for (size_t i = 0; i < len; i++) {
		char was = text[i];

		for (unsigned flip = 1; flip < 256; flip += step) {
			/* Another version is another error. */
			char now = (char)(was ^ (int)flip);
			bool version = i == 16 && now >= '0' && now <= '9';

			text[i] = now;
			text_write(path, text, len);
			assert_refused(version ? ENOTSUP : EBADMSG, pattern);
		}
		text[i] = was;
	}
}

static void
every_byte_too_many_is_refused(void **state)
{
	char text[TEXT_BYTES + 1];
	size_t len;
	(void)state;

	text_seal(sample_text);
	len = text_read(path, text);
	for (size_t i = 0; i <= len; i++) {
		char more[TEXT_BYTES + 1];

		memcpy(more, text, i);
		more[i] = i % 2 == 0 ? '0' : '\n';
		memcpy(more + i + 1, text + i, len - i);
		text_write(path, more, len + 1);
		assert_refused(EBADMSG, "*: line *");
	}
}

#define HEAD "quarry-id-space 1\ncooldown 0\nnext 0\n"

/* The checksum is right, but the contents are not. */
static void
no_lie_is_believed_because_it_is_sealed(void **state)
{
	static const struct {
		const char *lines;
		int error;
		const char *pattern;
	} bad[] = {
	    {"quarry-id-space 2\nsomething new\n", ENOTSUP,
		"*: line 1: of a version unknown here: 'quarry-id-space 2'\n"},
	    {"", EBADMSG, "*: line 1: another line is due here: 'sum *"},
	    {HEAD, EBADMSG, "*: line 4: another line is due here: 'sum *"},
	    {HEAD "used 1 2\n", EBADMSG,
		"*: line 4: another line is due here: 'used 1 2'\n"},
	    {HEAD "range 5 4\n", EBADMSG,
		"*: line 4: there are no such identifiers: 'range 5 4'\n"},
	    {HEAD "range 0 2147483647\n", EBADMSG,
		"*: line 4: there are no such identifiers: 'range *"},
	    {HEAD "range 0 4294967296\n", EBADMSG,
		"*: line 4: not a line of ours: 'range 0 4294967296'\n"},
	    {HEAD "range 0 9\nrange 9 20\n", EBADMSG,
		"*: line 5: not behind the range before: 'range 9 20'\n"},
	    {HEAD "range 10 19\nrange 0 9\n", EBADMSG,
		"*: line 5: not behind the range before: 'range 0 9'\n"},
	    {HEAD "range 0 9\nused 5000 5000\n", EBADMSG,
		"*: line 5: outside the ranges: 'used 5000 5000'\n"},
	    {HEAD "range 0 9\nused 9 10\n", EBADMSG,
		"*: line 5: outside the ranges: 'used 9 10'\n"},
	    {HEAD "range 0 9\nrange 10 19\nused 9 10\n", EBADMSG,
		"*: line 6: outside the ranges: 'used 9 10'\n"},
	    {HEAD "range 0 9\nused 5 4\n", EBADMSG,
		"*: line 5: there are no such identifiers: 'used 5 4'\n"},
	    {HEAD "range 0 9\nused 3 4\nused 4 5\n", EBADMSG,
		"*: line 6: not behind the run before: 'used 4 5'\n"},
	    {HEAD "range 0 9\nused 3 4\nused 5 5\n", EBADMSG,
		"*: line 6: part of the run before: 'used 5 5'\n"},
	    {HEAD "range 0 9\nused 3 4\nrange 20 30\n", EBADMSG,
		"*: line 6: another line is due here: 'range 20 30'\n"},
	    {HEAD "range 0 9\nresting 3 4\n", EBADMSG,
		"*: line 5: nothing rests without a cooldown: 'resting 3 4'\n"},
	    {HEAD "range 00 9\n", EBADMSG, "*: line 4: not a line of ours: *"},
	    {HEAD "range 0  9\n", EBADMSG, "*: line 4: not a line of ours: *"},
	    {HEAD "range 0 9 \n", EBADMSG, "*: line 4: not a line of ours: *"},
	    {HEAD "range 0\n", EBADMSG, "*: line 4: not a line of ours: *"},
	    {HEAD "range\n", EBADMSG, "*: line 4: not a line of ours: *"},
	    {HEAD "range 0 -1\n", EBADMSG, "*: line 4: not a line of ours: *"},
	    {HEAD "range 0 9\r\n", EBADMSG, "*: line 4: not a line of ours: *"},
	    {HEAD "\n", EBADMSG, "*: line 4: not a line of ours: ''\n"},
	    {HEAD "Range 0 9\n", EBADMSG, "*: line 4: not a line of ours: *"},
	    {"quarry-id-space 1\ncooldown 4294967296\n", EBADMSG,
		"*: line 2: not a line of ours: *"},
	    {"quarry-id-space 1\ncooldown 0\nnext 2147483648\n", EBADMSG,
		"*: line 3: there are no such identifiers: *"},
	};
	(void)state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		text_seal(bad[i].lines);
		assert_refused(bad[i].error, bad[i].pattern);
	}
}

static void
what_cannot_be_read_is_an_error_and_no_file_a_silent_one(void **state)
{
	(void)state;
	(void)unlink(path);
	assert_refused(ENOENT, "");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_refused(
	    EISDIR, "quarry: id_space_restore('*', '*'): Is a directory\n");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(symlink(path, path), 0);
	assert_refused(ELOOP, "quarry: id_space_restore('again', '*'): *\n");
	assert_int_equal(unlink(path), 0);
}

/* ---- saving that fails ---- */

/* The saved text must be the old one, and no other file there. */
static void
assert_old(const char *old)
{
	char text[TEXT_BYTES];

	(void)text_read(path, text);
	assert_string_equal(text, old);
	assert_int_equal(access(newpath, F_OK), -1);
}

static void
assert_not_saved(id_space_t *s, const char *to, int error, const char *pattern)
{
	const char *text;
	int got;

	catch_stderr();
	got = id_space_save(s, to);
	text = caught_text();
	release_stderr();
	assert_int_equal(got, error);
	if (fnmatch(pattern, text, 0) != 0)
		fail_msg("%s is not like %s", text, pattern);
}

static void
a_failure_of_the_disk_leaves_the_old_file(void **state)
{
	id_space_t *s = sample();
	(void)state;

	text_write(path, "old", 3);
	failsys_reset();
	failsys_nth(FAILSYS_WRITE, 1, ENOSPC);
	assert_not_saved(s, path, ENOSPC,
	    "quarry: id_space_save('sample', '*/ids'): cannot be written: No "
	    "space left on device\n");
	assert_old("old");
	failsys_nth(FAILSYS_FSYNC, 1, EIO);
	assert_not_saved(s, path, EIO, "*: cannot be written: *");
	assert_old("old");
	failsys_nth(FAILSYS_RENAMEAT, 1, EPERM);
	assert_not_saved(s, path, EPERM, "*: cannot be written: *");
	assert_old("old");
	failsys_nth(FAILSYS_OPEN, 1, EMFILE);
	assert_not_saved(s, path, EMFILE, "*: cannot be created: *");
	assert_old("old");
	/* Only this one is too late. */
	failsys_nth(FAILSYS_FSYNC, 2, EIO);
	assert_not_saved(s, path, EIO, "*: cannot be written: *");
	failsys_reset();
	sample_destroy(s);
	s = id_space_restore("again", path);
	assert_non_null(s);
	sample_destroy(s);
}

static void
a_directory_that_is_none_or_not_ours_is_named(void **state)
{
	id_space_t *s = sample();
	char to[sizeof(path) + NAME_MAX + 8];
	(void)state;

	(void)snprintf(to, sizeof(to), "%s/none/ids", dir);
	assert_not_saved(s, to, ENOENT, "*/none/ids'): cannot be created: *");
	text_write(path, "old", 3);
	(void)snprintf(to, sizeof(to), "%s/ids", path);
	assert_not_saved(s, to, ENOTDIR, "*/ids/ids'): cannot be created: *");
	(void)snprintf(to, sizeof(to), "%s/", dir);
	assert_not_saved(s, to, EISDIR, "*");
	assert_not_saved(s, "", ENOENT, "*");
	(void)snprintf(to, sizeof(to), "%s/%0*d", dir, NAME_MAX - 2, 1);
	assert_not_saved(s, to, ENAMETOOLONG, "*");
	assert_old("old");
	sample_destroy(s);
}

static void
a_name_alone_is_one_in_this_directory(void **state)
{
	id_space_t *s = sample();
	char before[PATH_MAX], text[TEXT_BYTES];
	(void)state;

	assert_non_null(getcwd(before, sizeof(before)));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(id_space_save(s, "ids"), 0);
	assert_int_equal(chdir(before), 0);
	assert_true(text_read(path, text) > 0);
	/* What takes the name of the new file is not a file. */
	assert_int_equal(mkdir(newpath, 0700), 0);
	assert_not_saved(s, path, EISDIR, "*: cannot be created: *");
	assert_int_equal(rmdir(newpath), 0);
	sample_destroy(s);
}

static unsigned
mode_of(const char *file)
{
	struct stat st;

	assert_int_equal(stat(file, &st), 0);
	return (st.st_mode & 07777);
}

static unsigned mode_before;

static void
note_mode(void)
{
	mode_before = mode_of(newpath);
	failsys_reset();
}

/* From the first byte, whatever the umask is, and was left behind. */
static void
the_file_keeps_its_permissions(void **state)
{
	static const unsigned modes[] = {0600, 0640, 0666, 0200};
	id_space_t *s = sample();
	mode_t before = umask(022);
	(void)state;

	(void)unlink(path);
	assert_int_equal(id_space_save(s, path), 0);
	assert_int_equal(mode_of(path), 0644);
	for (size_t i = 0; i < 2 * sizeof(modes) / sizeof(modes[0]); i++) {
		assert_int_equal(chmod(path, modes[i / 2]), 0);
		if (i % 2 != 0)
			text_write(newpath, "left behind", 11);
		failsys_before(FAILSYS_WRITE, note_mode);
		assert_int_equal(id_space_save(s, path), 0);
		assert_int_equal(mode_before, modes[i / 2]);
		assert_int_equal(mode_of(path), modes[i / 2]);
	}
	(void)umask(before);
	(void)unlink(path);
	sample_destroy(s);
}

/* A pipe, also one that somebody reads. */
static void
what_is_no_file_is_neither_written_nor_waited_for(void **state)
{
	id_space_t *s = sample();
	struct stat st;
	int fd;
	(void)state;

	text_write(path, "old", 3);
	assert_int_equal(mkfifo(newpath, 0600), 0);
	assert_not_saved(s, path, EEXIST,
	    "*/ids'): what has that name with '.new' is not a file: *");
	fd = open(newpath, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_not_saved(s, path, EEXIST, "*");
	(void)close(fd);
	assert_int_equal(stat(newpath, &st), 0);
	assert_true(S_ISFIFO(st.st_mode));
	assert_int_equal(unlink(newpath), 0);
	assert_old("old");
	sample_destroy(s);
}

static volatile sig_atomic_t alarms;

static void
count_alarm(int sig)
{
	(void)sig;
	alarms++;
}

/* A child has its turn for 100 ms; an alarm interrupts who waits, each 20. */
static void
who_waits_for_a_turn_does_so_through_signals(void **state)
{
	const struct sigaction sa = {.sa_handler = count_alarm};
	const struct itimerval often = {{0, 20000}, {0, 20000}}, never = {0};
	struct sigaction before;
	id_space_t *s = sample();
	uint64_t start = os_now();
	int fd = open(newpath, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	pid_t child;
	(void)state;

	assert_true(fd >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	child = fork();
	if (child == 0) {
		(void)usleep(100000);
		_exit(0);
	}
	assert_true(child > 0);
	(void)close(fd);
	alarms = 0;
	assert_int_equal(sigaction(SIGALRM, &sa, &before), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_int_equal(id_space_save(s, path), 0);
	assert_true(os_now() - start >= 100000000);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
	assert_true(alarms > 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	sample_destroy(s);
}

/* A space whose text has a line for every second identifier. */
static id_space_t *
long_sample(unsigned lines)
{
	id_space_t *s = id_space_create("long", 0, 2 * lines);

	assert_non_null(s);
	for (unsigned i = 0; i < lines; i++)
		assert_int_equal(id_alloc_specific(s, 2 * i), 2 * i);
	return (s);
}

/* ---- threads that save one space ---- */

static id_space_t *shared;
static pid_t heir;
static _Atomic bool overtaken;

static void *
allocate_and_save(void *arg)
{
	(void)arg;
	if (id_alloc_specific(shared, 777) != 777 ||
	    id_space_save(shared, path) != 0)
		abort();
	overtaken = true;
	return (NULL);
}

/* While somebody is about to write, another one saves what is newer. */
static void
be_overtaken(void)
{
	static pthread_t thread;

	failsys_before(FAILSYS_OPEN, NULL);
	assert_int_equal(
	    pthread_create(&thread, NULL, allocate_and_save, NULL), 0);
	for (unsigned i = 0; i < 200 && !overtaken; i++)
		(void)usleep(1000);
	assert_int_equal(pthread_detach(thread), 0);
}

static void
a_save_that_returned_is_not_undone_by_one_that_began_before(void **state)
{
	id_space_t *again;
	(void)state;

	shared = id_space_create("shared", 0, 1000);
	assert_non_null(shared);
	overtaken = false;
	failsys_reset();
	failsys_before(FAILSYS_OPEN, be_overtaken);
	assert_int_equal(id_space_save(shared, path), 0);
	while (!overtaken)
		(void)usleep(1000);
	again = id_space_restore("again", path);
	assert_non_null(again);
	assert_int_equal(id_alloc_specific(again, 777), (id_t)-1);
	id_free(again, 777);
	done(again);
	id_free(shared, 777);
	done(shared);
}

static _Atomic pid_t second;
static pid_t saved_by[3];
static _Atomic unsigned nsaved;

static pthread_t second_thread;

static void *
save_second(void *arg)
{
	(void)arg;
	second = gettid();
	if (id_space_save(shared, path) != 0)
		abort();
	return (NULL);
}

/* It puts its file in place: nobody else does at the same time. */
static void
note_who(void)
{
	if (nsaved < 3)
		saved_by[nsaved++] = gettid();
}

/* While the first one writes; what it does next is to save again. */
static void
let_the_second_wait(void)
{
	failsys_before(FAILSYS_FSYNC, NULL);
	assert_int_equal(
	    pthread_create(&second_thread, NULL, save_second, NULL), 0);
	wait_until_asleep(&second);
}

static void
who_saves_again_and_again_lets_others_save_too(void **state)
{
	(void)state;

	shared = sample();
	failsys_reset();
	nsaved = 0;
	failsys_before(FAILSYS_RENAMEAT, note_who);
	failsys_before(FAILSYS_FSYNC, let_the_second_wait);
	assert_int_equal(id_space_save(shared, path), 0);
	assert_int_equal(id_space_save(shared, path), 0);
	while (nsaved < 3)
		(void)usleep(1000);
	assert_int_equal(pthread_join(second_thread, NULL), 0);
	failsys_reset();
	assert_int_equal(saved_by[0], gettid());
	assert_int_equal(saved_by[1], second);
	sample_destroy(shared);
}

/* The child does not have the thread that is in the middle of a save. */
static void *
fork_and_save(void *status)
{
	heir = fork();
	if (heir == 0) {
		(void)alarm(60);
		(void)snprintf(path, sizeof(path), "%s/child", dir);
		for (unsigned i = 0; i < 2; i++)
			if (id_space_save(shared, path) != 0)
				_exit(1);
		_exit(unlink(path));
	}
	(void)waitpid(heir, status, 0);
	return (NULL);
}

static void
have_another_fork(void)
{
	pthread_t thread;
	int status = -1;

	failsys_before(FAILSYS_FSYNC, NULL);
	assert_int_equal(
	    pthread_create(&thread, NULL, fork_and_save, &status), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(status, 0);
}

static void
a_child_made_during_a_save_saves_on_its_own(void **state)
{
	(void)state;

	shared = sample();
	failsys_reset();
	failsys_before(FAILSYS_FSYNC, have_another_fork);
	assert_int_equal(id_space_save(shared, path), 0);
	assert_int_equal(id_space_save(shared, path), 0);
	sample_destroy(shared);
}

/* ---- children that have the descriptors of a save ---- */

static int spare = -1;

/* In the middle of a save; and somebody else wants the file. */
static void
fork_with_the_lock(void)
{
	failsys_before(FAILSYS_FSYNC, NULL);
	spare = open(newpath, O_WRONLY | O_CLOEXEC);
	heir = fork();
	if (heir == 0)
		for (;;)
			(void)pause();
}

/* The spare descriptor gets the lock, though the child has one with it. */
static void
assert_not_locked(void)
{
	int got = flock(spare, LOCK_EX | LOCK_NB);

	(void)close(spare);
	(void)kill(heir, SIGKILL);
	(void)waitpid(heir, NULL, 0);
	assert_int_equal(got, 0);
}

static void
a_child_made_during_a_save_does_not_keep_the_lock(void **state)
{
	id_space_t *s = sample();
	(void)state;

	failsys_reset();
	failsys_before(FAILSYS_FSYNC, fork_with_the_lock);
	assert_int_equal(id_space_save(s, path), 0);
	assert_true(heir > 0 && spare >= 0);
	assert_not_locked();
	sample_destroy(s);
}

static void *
save_once(void *space)
{
	second = gettid();
	return ((void *)(uintptr_t)id_space_save(space, path));
}

/* What it waited for is the new file no more: it goes, and takes the next. */
static void
nor_one_made_while_a_save_waits(void **state)
{
	id_space_t *s = sample();
	int fd = open(newpath, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	pthread_t thread;
	void *error;
	(void)state;

	spare = open(newpath, O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0 && spare >= 0);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	second = 0;
	assert_int_equal(pthread_create(&thread, NULL, save_once, s), 0);
	wait_until_asleep(&second);
	heir = fork();
	if (heir == 0)
		for (;;)
			(void)pause();
	assert_int_equal(unlink(newpath), 0);
	assert_int_equal(flock(fd, LOCK_UN), 0);
	assert_int_equal(pthread_join(thread, &error), 0);
	assert_null(error);
	(void)close(fd);
	assert_not_locked();
	sample_destroy(s);
}

/* As somebody who may not read the directory. */
static void
do_unreadable(void *arg)
{
	id_space_t *s = sample();

	(void)arg;
	if (geteuid() == 0)
		CHILD_CHECK(setgid(65534) == 0 && setuid(65534) == 0);
	CHILD_CHECK(id_space_save(s, path) == EACCES);
	CHILD_CHECK(id_space_restore("again", path) == NULL);
	CHILD_CHECK(errno == EACCES);
	CHILD_CHECK(vmem__check(s));
	sample_destroy(s);
}

static void
an_unreadable_directory_is_named(void **state)
{
	struct child c;
	(void)state;

	text_write(path, "old", 3);
	assert_int_equal(chmod(dir, 0), 0);
	child_run(&c, do_unreadable, NULL);
	assert_int_equal(chmod(dir, 0700), 0);
	if (c.c_signal != 0 || c.c_status != 0 ||
	    fnmatch("*id_space_save('sample', '*/ids'): cannot be created: "
		    "Permission denied\n*id_space_restore('again', '*/ids'): "
		    "Permission denied\n",
		c.c_stderr, 0) != 0)
		fail_msg("%d: %s", c.c_status, c.c_stderr);
	assert_old("old");
}

/* On a file system of a few pages, of our own. */
static void
do_full_disk(void *arg)
{
	id_space_t *s = sample(), *large, *again;
	char text[TEXT_BYTES], to[64];

	(void)arg;
	if ((unshare(CLONE_NEWNS) != 0 &&
		unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, "") != 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=16k") != 0)
		_exit(77);
	CHILD_CHECK(id_space_save(s, path) == 0);
	large = id_space_create("large", 0, 8000);
	for (id_t id = 0; id < 8000; id += 2)
		CHILD_CHECK(id_alloc_specific(large, id) == id);
	CHILD_CHECK(id_space_save(large, path) == ENOSPC);
	CHILD_CHECK(access(newpath, F_OK) != 0);
	CHILD_CHECK(text_read(path, text) > strlen(sample_text));
	CHILD_CHECK(memcmp(text, sample_text, strlen(sample_text)) == 0);
	/* The space is as it was, and can be saved elsewhere. */
	CHILD_CHECK(vmem__check(large) && vmem_size(large, VMEM_ALLOC) == 4000);
	(void)snprintf(to, sizeof(to), "/dev/shm/vmem_idfile.%d", getpid());
	CHILD_CHECK(id_space_save(large, to) == 0);
	again = id_space_restore("again", to);
	(void)unlink(to);
	CHILD_CHECK(again != NULL && vmem_size(again, VMEM_ALLOC) == 4000);
}

static void
a_full_disk_leaves_the_old_file(void **state)
{
	struct child c;
	(void)state;

	child_run(&c, do_full_disk, NULL);
	if (c.c_signal == 0 && c.c_status == 77) {
		print_message("skipped: cannot mount a tmpfs here\n");
		skip();
	}
	if (c.c_signal != 0 || c.c_status != 0 ||
	    fnmatch("*id_space_save('large', '*/ids'): cannot be written: No "
		    "space left on device\n",
		c.c_stderr, 0) != 0)
		fail_msg("%d: %s", c.c_status, c.c_stderr);
}

/* ---- crashes ---- */

/* What the process does before it dies. */
struct crash {
	enum failsys call;
	unsigned nth;
	unsigned seen;
};

static struct crash crash;

static void
crash_there(void)
{
	if (++crash.seen == crash.nth)
		(void)raise(SIGKILL);
}

static void
do_crash(void *arg)
{
	id_space_t *s = arg;

	failsys_before(crash.call, crash_there);
	(void)id_space_save(s, path);
}

/* The text is the one or the other, whole. */
static void
assert_one_of_two(size_t small, size_t large)
{
	id_space_t *s = id_space_restore("again", path);
	size_t n;

	assert_non_null(s);
	assert_true(vmem__check(s));
	n = vmem_size(s, VMEM_ALLOC);
	assert_true(n == small || n == large);
	for (unsigned i = 0; i < n; i++)
		id_free(s, 2 * i);
	done(s);
}

static void
a_crash_at_any_call_leaves_the_old_file_or_the_new_one(void **state)
{
	static const enum failsys calls[] = {
	    FAILSYS_OPEN, FAILSYS_WRITE, FAILSYS_FSYNC, FAILSYS_RENAMEAT};
	id_space_t *small = long_sample(100), *large = long_sample(2000);
	struct child c;
	unsigned crashes = 0;
	(void)state;

	failsys_reset();
	for (size_t i = 0; i < 4; i++) {
		for (unsigned nth = 1;; nth++) {
			assert_int_equal(id_space_save(small, path), 0);
			crash = (struct crash){calls[i], nth, 0};
			child_run(&c, do_crash, large);
			assert_one_of_two(100, 2000);
			if (c.c_signal == 0)
				break;
			assert_int_equal(c.c_signal, SIGKILL);
			crashes++;
		}
	}
	assert_true(crashes > 10);
	/* What they left behind disturbs nobody. */
	assert_int_equal(id_space_save(small, path), 0);
	assert_int_equal(access(newpath, F_OK), -1);
	assert_one_of_two(100, 100);
	for (unsigned i = 0; i < 100; i++)
		id_free(small, 2 * i);
	for (unsigned i = 0; i < 2000; i++)
		id_free(large, 2 * i);
	done(small);
	done(large);
}

/* The order in which what was written becomes durable. */
static char order[64];

static void
note_write(void)
{
	if (order[0] == '\0' || order[strlen(order) - 1] != 'w')
		(void)strcat(order, "w");
}

static void
note_fsync(void)
{
	(void)strcat(order, "f");
}

static void
note_rename(void)
{
	(void)strcat(order, "r");
}

static void
the_contents_reach_the_disk_before_the_name_does(void **state)
{
	id_space_t *s = sample();
	(void)state;

	failsys_reset();
	order[0] = '\0';
	failsys_before(FAILSYS_WRITE, note_write);
	failsys_before(FAILSYS_FSYNC, note_fsync);
	failsys_before(FAILSYS_RENAMEAT, note_rename);
	assert_int_equal(id_space_save(s, path), 0);
	failsys_reset();
	assert_string_equal(order, "wfrf");
	sample_destroy(s);
}

/* Save the same file again and again, until killed. */
static void
save_for_ever(unsigned lines)
{
	id_space_t *s = long_sample(lines);

	for (;;)
		if (id_space_save(s, path) != 0)
			_exit(1);
}

static void
writers_take_turns_and_may_be_killed(void **state)
{
	const struct timespec turn = {0, 300 * 1000 * 1000};
	struct timespec end, now;
	pid_t pid[3];
	int status;
	(void)state;

	(void)unlink(path);
	for (unsigned i = 0; i < 3; i++) {
		pid[i] = fork();
		assert_int_not_equal(pid[i], -1);
		if (pid[i] == 0)
			save_for_ever(i == 0 ? 100 : 2000);
	}
	while (access(path, F_OK) != 0)
		(void)usleep(1000);
	for (unsigned i = 0; i < 3; i++) {
		(void)clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += (end.tv_nsec + turn.tv_nsec) / 1000000000;
		end.tv_nsec = (end.tv_nsec + turn.tv_nsec) % 1000000000;
		do {
			assert_one_of_two(100, 2000);
			(void)clock_gettime(CLOCK_MONOTONIC, &now);
		} while (now.tv_sec < end.tv_sec ||
		    (now.tv_sec == end.tv_sec && now.tv_nsec < end.tv_nsec));
		(void)kill(pid[i], SIGKILL);
		assert_int_equal(waitpid(pid[i], &status, 0), pid[i]);
		assert_true(WIFSIGNALED(status));
	}
	assert_one_of_two(100, 2000);
	(void)unlink(newpath);
}

static int
setup(void **state)
{
	(void)state;
	/* In memory, if that can be: this test is about many small files. */
	(void)strcpy(dir, "/dev/shm/idfile.XXXXXX");
	if (mkdtemp(dir) == NULL)
		(void)strcpy(dir, "/tmp/idfile.XXXXXX");
	if (strncmp(dir, "/tmp", 4) == 0 && mkdtemp(dir) == NULL)
		return (-1);
	(void)snprintf(path, sizeof(path), "%s/ids", dir);
	(void)snprintf(newpath, sizeof(newpath), "%s/ids.new", dir);
	return (0);
}

static int
teardown(void **state)
{
	(void)state;
	(void)unlink(path);
	return (rmdir(dir));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_saved_space_is_a_text_for_people),
	    cmocka_unit_test(what_is_restored_goes_on_as_what_was_saved),
	    cmocka_unit_test(what_rested_rests_anew),
	    cmocka_unit_test(every_truncation_is_refused_by_line),
	    cmocka_unit_test(every_flipped_byte_is_refused_by_line),
	    cmocka_unit_test(every_byte_too_many_is_refused),
	    cmocka_unit_test(no_lie_is_believed_because_it_is_sealed),
	    cmocka_unit_test(
		what_cannot_be_read_is_an_error_and_no_file_a_silent_one),
	    cmocka_unit_test(a_failure_of_the_disk_leaves_the_old_file),
	    cmocka_unit_test(a_directory_that_is_none_or_not_ours_is_named),
	    cmocka_unit_test(a_name_alone_is_one_in_this_directory),
	    cmocka_unit_test(the_file_keeps_its_permissions),
	    cmocka_unit_test(what_is_no_file_is_neither_written_nor_waited_for),
	    cmocka_unit_test(who_waits_for_a_turn_does_so_through_signals),
	    cmocka_unit_test(
		a_save_that_returned_is_not_undone_by_one_that_began_before),
	    cmocka_unit_test(who_saves_again_and_again_lets_others_save_too),
	    cmocka_unit_test(a_child_made_during_a_save_saves_on_its_own),
	    cmocka_unit_test(a_child_made_during_a_save_does_not_keep_the_lock),
	    cmocka_unit_test(nor_one_made_while_a_save_waits),
	    cmocka_unit_test(an_unreadable_directory_is_named),
	    cmocka_unit_test(a_full_disk_leaves_the_old_file),
	    cmocka_unit_test(
		a_crash_at_any_call_leaves_the_old_file_or_the_new_one),
	    cmocka_unit_test(the_contents_reach_the_disk_before_the_name_does),
	    cmocka_unit_test(writers_take_turns_and_may_be_killed),
	};

	return (
	    cmocka_run_group_tests_name("vmem_idfile", tests, setup, teardown));
}
