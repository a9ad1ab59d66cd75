/*
 * races.h - what detectors of races cannot see for themselves.
 *
 * ThreadSanitizer is told at compile time.  DRD, Valgrind's, is told by debug
 * builds as they run, if its header is there.
 */
#ifndef QR_RACES_H
#define QR_RACES_H

#include "base/compiler.h"

#include <stdint.h>

#if defined(QR_DEBUG) && __has_include(<valgrind/drd.h>)
#include <valgrind/drd.h>
#define QR_TELL_LOCKED(lock) ANNOTATE_RWLOCK_ACQUIRED(lock, 1)
#define QR_TELL_UNLOCKED(lock) ANNOTATE_RWLOCK_RELEASED(lock, 1)
#define QR_LOOK_AWAY() ANNOTATE_IGNORE_READS_BEGIN()
#define QR_LOOK_AGAIN() ANNOTATE_IGNORE_READS_END()
#else
#define QR_TELL_LOCKED(lock) ((void)(lock))
#define QR_TELL_UNLOCKED(lock) ((void)(lock))
#define QR_LOOK_AWAY() ((void)0)
#define QR_LOOK_AGAIN() ((void)0)
#endif

/*
 * Reads what others may be writing, for whoever has the answer confirmed
 * otherwise.  No atomic load: ThreadSanitizer would still see that.
 */
static inline QR_RACY uintptr_t
qr_racy_load(const volatile uintptr_t *word)
{
	uintptr_t value;

	QR_LOOK_AWAY();
	value = *word;
	QR_LOOK_AGAIN();
	return (value);
}

#endif /* QR_RACES_H */
