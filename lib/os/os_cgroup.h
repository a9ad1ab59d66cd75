/*
 * os_cgroup.h - what the control groups of the process allow it.
 */
#ifndef QR_OS_CGROUP_H
#define QR_OS_CGROUP_H

#include <stddef.h>

#define OS_CGROUP_SELF "/proc/self/cgroup"
#define OS_CGROUP_ROOT "/sys/fs/cgroup"

/*
 * Bytes of memory that the groups named in the file `self`, and those above
 * them, may use together with all else in them: the least of their limits, of
 * either version, where the groups are mounted at `root`.  SIZE_MAX: no limit,
 * or none that can be read.  Opens a few files; keeps errno.
 */
size_t os_cgroup_memory(const char *self, const char *root);

#endif /* QR_OS_CGROUP_H */
