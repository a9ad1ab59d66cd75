/*
 * os_watch.h - telling Valgrind and AddressSanitizer whose memory is whose.
 *
 * Client requests are compiled in where Valgrind's header is, poisoning where
 * the compiler instruments for AddressSanitizer.  Each request costs little
 * when nobody listens, but is not for a fast path.
 */
#ifndef QR_OS_WATCH_H
#define QR_OS_WATCH_H

#include <stdbool.h>
#include <stddef.h>

/* Bytes before and behind each object of a pool that must be nobody's. */
enum { OS_WATCH_GAP = 16 };

/* Does somebody listen? */
bool os_watching(void);

/*
 * A pool is named by any address.  Objects of a pool that is ended are gone
 * too.
 */
void os_watch_pool(const void *pool);
void os_watch_pool_end(const void *pool);

/* Memory of which only objects of pools may be used, from now on. */
void os_watch_nobody(void *p, size_t size);
/* Anybody's memory again, its contents undefined. */
void os_watch_anybody(void *p, size_t size);

/* An object of a pool, undefined; one that was. */
void os_watch_alloc(const void *pool, void *p, size_t size);
void os_watch_free(const void *pool, void *p, size_t size);

/* Between the two, what this thread reads is not looked at. */
void os_watch_pause(void);
void os_watch_resume(void);

#endif /* QR_OS_WATCH_H */
