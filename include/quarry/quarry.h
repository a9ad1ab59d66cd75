/*
 * quarry.h - the library as a whole: version, panics, statistics.
 *
 * Manual page: quarry(3).
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QUARRY_QUARRY_H
#define QUARRY_QUARRY_H

#include <quarry/vmem.h>

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default)

/* "1.0.0" */
const char *quarry_version(void);

/*
 * Called with the message when a caller breaks a contract, instead of writing
 * it to stderr and raising SIGABRT.  If the hook returns, the call that was
 * wrong fails (NULL, EINVAL) or, when it returns nothing, does nothing.
 * Returns the former hook; NULL is the default.
 */
typedef void quarry_panic_hook_t(const char *message);
quarry_panic_hook_t *quarry_set_panic_hook(quarry_panic_hook_t *hook);

/*
 * Write every cache and arena to fd as "text", "json" or "openmetrics".
 * 0, EINVAL for another format, or the errno of write(2).  Takes each lock
 * for the time of one row; does not allocate.  Allocations that a magazine
 * served at once are counted only under QUARRY_OPTIONS=stats, because counting
 * them is a tenth of their cost.
 */
int quarry_stats_write(int fd, const char *format);

/*
 * Write a picture of the arena's spans and segments to fd, as "svg", "text" or
 * "json".  0, EINVAL for another format, ENOMEM, or the errno of write(2).
 * Holds the arena's lock for one vmem_walk, and writes without it; takes no
 * memory from any arena.  Manual page: vmem_map_write(3).
 */
int vmem_map_write(vmem_t *vmp, int fd, const char *format);

/*
 * The same of a pool (physpool_t), where each block has the colour of its
 * malloc type, and the window and boundary of the last request are shown.
 * Manual page: physpool_map_write(3).
 */
struct physpool;
int physpool_map_write(struct physpool *pool, int fd, const char *format);

/*
 * Give idle memory back to the system now: what magazines, depots and the
 * heap hold, and free buffers of pipes that have more than nnom.  Returns the
 * bytes given back.
 */
size_t quarry_reap(void);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* QUARRY_QUARRY_H */
