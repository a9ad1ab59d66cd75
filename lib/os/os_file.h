/*
 * os_file.h - replacing a file, whole or not at all.
 */
#ifndef QR_OS_FILE_H
#define QR_OS_FILE_H

#include <limits.h>

/*
 * A file that is to take the place of another.  It is written beside that,
 * under its name and ".new", with the same permissions; whoever else does the
 * same waits.  A process that dies leaves that file behind, for the next one to
 * use.
 */
struct os_newfile {
	int f_fd;  /* to write to */
	int f_dir; /* the directory */
	char f_name[NAME_MAX + 1];
	char f_new[NAME_MAX + 1];
};

/* 0 or errno: EEXIST when the name with ".new" is that of no file. */
int os_newfile_begin(struct os_newfile *f, const char *path);

/*
 * Put it in place: at any moment either file is there, whole.  0 when that is on
 * the disk, or errno; unless the disk failed at the very end, the old file is
 * still there then.
 */
int os_newfile_commit(struct os_newfile *f);

/* Forget about it.  Keeps errno. */
void os_newfile_abandon(struct os_newfile *f);

#endif /* QR_OS_FILE_H */
