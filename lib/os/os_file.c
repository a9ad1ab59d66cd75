/*
 * os_file.c - replacing a file, whole or not at all.
 *
 * The contents must be on the disk before the name points to them, and the
 * name before we say so: fsync, rename, fsync of the directory.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "os/os_file.h"

#include "base/fmt.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Open the directory of path, and take the name in it.  0 or errno. */
static int
open_dir(struct os_newfile *f, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash == NULL ? path : slash + 1;
	size_t len = slash == NULL ? 0 : (size_t)(slash - path) + 1;
	char dir[PATH_MAX];

	if (*name == '\0')
		return (*path == '\0' ? ENOENT : EISDIR);
	if (len >= sizeof(dir) ||
	    qr_snprintf(f->f_new, sizeof(f->f_new), "%s.new", name) >=
		sizeof(f->f_new))
		return (ENAMETOOLONG);
	(void)qr_snprintf(f->f_name, sizeof(f->f_name), "%s", name);
	if (len == 0)
		path = "./", len = 2;
	memcpy(dir, path, len);
	dir[len] = '\0';
	f->f_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return (f->f_dir < 0 ? errno : 0);
}

/* A child of fork that has the descriptor too is not to have the lock. */
static void
close_locked(int fd)
{
	(void)flock(fd, LOCK_UN);
	(void)close(fd);
}

/* Is the name still that of the open file? */
static bool
still_there(const struct os_newfile *f)
{
	struct stat a, b;

	return (fstat(f->f_fd, &a) == 0 &&
	    fstatat(f->f_dir, f->f_new, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
	    a.st_dev == b.st_dev && a.st_ino == b.st_ino);
}

/* Is it a file?  Then writing to it blocks for nobody.  0 or errno. */
static int
must_be_file(struct os_newfile *f)
{
	struct stat st;

	if (fstat(f->f_fd, &st) != 0)
		return (errno);
	if (S_ISREG(st.st_mode))
		return (0);
	(void)close(f->f_fd);
	f->f_fd = -1;
	return (EEXIST);
}

/*
 * The permissions of the file that is to be replaced; `fresh` if there is none.
 * Its owner may write it, because the new one may be left behind.
 */
static mode_t
old_mode(const struct os_newfile *f, mode_t fresh)
{
	struct stat st;

	return (fstatat(f->f_dir, f->f_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISREG(st.st_mode)
		? (st.st_mode & ACCESSPERMS) | S_IWUSR
		: fresh);
}

/*
 * Make it an empty file with those permissions, which it may not have: it may
 * be one that was left behind, and there is the umask.  0 or errno.
 */
static int
make_empty(const struct os_newfile *f)
{
	struct stat st;
	mode_t mode;

	if (fstat(f->f_fd, &st) != 0)
		return (errno);
	mode = old_mode(f, st.st_mode & ACCESSPERMS);
	if ((st.st_mode & ACCESSPERMS) != mode && fchmod(f->f_fd, mode) != 0)
		return (errno);
	return (ftruncate(f->f_fd, 0) == 0 ? 0 : errno);
}

/*
 * Open the new file for us alone.  Who held it before us may have put it in
 * place, and then it is not the new one any more.  Without locks in this file
 * system, as without anybody else, all goes well too.  0 or errno.
 */
static int
open_new(struct os_newfile *f)
{
	int error;

	for (;;) {
		f->f_fd = openat(f->f_dir, f->f_new,
		    O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
		    old_mode(f, 0666));
		if (f->f_fd < 0)
			return (errno == ENXIO ? EEXIST : errno);
		error = must_be_file(f);
		if (error != 0)
			return (error);
		while (flock(f->f_fd, LOCK_EX) != 0 && errno == EINTR)
			continue;
		if (still_there(f))
			return (make_empty(f));
		close_locked(f->f_fd);
	}
}

int
os_newfile_begin(struct os_newfile *f, const char *path)
{
	int saved = errno;
	int error;

	f->f_fd = -1;
	f->f_dir = -1;
	error = open_dir(f, path);
	if (error == 0)
		error = open_new(f);
	if (error != 0)
		os_newfile_abandon(f);
	errno = saved;
	return (error);
}

static void
close_both(struct os_newfile *f)
{
	if (f->f_fd >= 0)
		close_locked(f->f_fd);
	if (f->f_dir >= 0)
		(void)close(f->f_dir);
}

void
os_newfile_abandon(struct os_newfile *f)
{
	int saved = errno;

	if (f->f_fd >= 0)
		(void)unlinkat(f->f_dir, f->f_new, 0);
	close_both(f);
	errno = saved;
}

int
os_newfile_commit(struct os_newfile *f)
{
	int saved = errno;
	int error = 0;

	if (fsync(f->f_fd) != 0 ||
	    renameat(f->f_dir, f->f_new, f->f_dir, f->f_name) != 0) {
		error = errno;
		os_newfile_abandon(f);
	} else {
		/* Some file systems have nothing to do for a directory. */
		if (fsync(f->f_dir) != 0 && errno != EINVAL)
			error = errno;
		close_both(f);
	}
	errno = saved;
	return (error);
}
