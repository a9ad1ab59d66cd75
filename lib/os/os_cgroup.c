/*
 * os_cgroup.c - what the control groups of the process allow it.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "os/os_cgroup.h"

#include "base/bits.h"
#include "base/fmt.h"
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

/* Mapped, not on the stack: that is the caller's, and may be small. */
struct room {
	char r_text[8192];
	char r_path[PATH_MAX];
};

/* The file's beginning, as a string; empty if there is no such file. */
static void
read_text(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n;

	while (fd >= 0 && len < size - 1 &&
	    (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	if (fd >= 0)
		(void)close(fd);
}

/* SIZE_MAX for "max", for what version 1 says instead, and without a file. */
static size_t
limit_in(const char *path)
{
	char text[32];
	size_t n = 0, i;

	read_text(path, text, sizeof(text));
	for (i = 0; text[i] >= '0' && text[i] <= '9'; i++)
		if (__builtin_mul_overflow(n, (size_t)10, &n) ||
		    __builtin_add_overflow(n, (size_t)(text[i] - '0'), &n))
			return (SIZE_MAX);
	return (i == 0 || n > PTRDIFF_MAX / 2 ? SIZE_MAX : n);
}

/*
 * The least limit of the group at path, and of those above it down to its first
 * `top` characters.  Where the process sees its own group as the topmost, there
 * is nothing at the path, but there is at the top.
 */
static size_t
limit_along(char path[PATH_MAX], size_t top, const char *file)
{
	size_t limit = SIZE_MAX, end = strlen(path);

	for (;;) {
		(void)qr_snprintf(path + end, PATH_MAX - end, "/%s", file);
		limit = qr_min(limit, limit_in(path));
		if (end <= top)
			return (limit);
		do
			end--;
		while (end > top && path[end] != '/');
	}
}

/* Is it among the names, which commas separate? */
static bool
names(const char *list, const char *name)
{
	size_t len = strlen(name);

	while (strncmp(list, name, len) != 0 ||
	    (list[len] != ',' && list[len] != '\0')) {
		list = strchr(list, ',');
		if (list == NULL)
			return (false);
		list++;
	}
	return (true);
}

/* A line is hierarchy:controllers:group; version 2 is the one with no names. */
static size_t
limit_of_line(char path[PATH_MAX], const char *root, char *line)
{
	char *list = strchr(line, ':');
	char *group = list == NULL ? NULL : strchr(++list, ':');
	const char *mount = "", *file = "memory.max";

	if (group == NULL)
		return (SIZE_MAX);
	*group++ = '\0';
	if (*list != '\0') {
		if (!names(list, "memory"))
			return (SIZE_MAX);
		mount = "/memory";
		file = "memory.limit_in_bytes";
	}
	(void)qr_snprintf(path, PATH_MAX, "%s%s%s", root, mount, group);
	return (limit_along(path, strlen(root) + strlen(mount), file));
}

size_t
os_cgroup_memory(const char *self, const char *root)
{
	size_t size = qr_roundup(sizeof(struct room), os_page_size());
	struct room *room = os_map(size, os_page_size());
	char *line, *end;
	size_t limit = SIZE_MAX;
	int saved = errno;

	if (room == NULL)
		return (SIZE_MAX);
	read_text(self, room->r_text, sizeof(room->r_text));
	for (line = room->r_text; (end = strchr(line, '\n')) != NULL;
	     line = end + 1) {
		*end = '\0';
		limit = qr_min(limit, limit_of_line(room->r_path, root, line));
	}
	(void)os_unmap(room, size);
	errno = saved;
	return (limit);
}
