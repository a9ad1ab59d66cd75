/*
 * os_fork.h - what umem and its clients do around fork().
 *
 * Their handlers run as one: before the fork the clients' first, whose locks
 * rank below, and after it last.  All of them run next to the fork itself,
 * between the handlers of everybody else: those may wait for a thread that
 * allocates.  libc calls who registered first next to the fork, so we register
 * when the library is loaded, or before the first who does otherwise where we
 * see that.  Where we do, nothing is registered for a process of one thread that
 * no client has work for: it has no use for the handlers, and the text and data
 * of libc that only registering reads are a tenth of its memory.
 */
#ifndef QR_OS_FORK_H
#define QR_OS_FORK_H

#include "base/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/single_threaded.h>

/* In ascending order of their locks' ranks. */
enum os_fork_who {
	OS_FORK_MPIPE,
	OS_FORK_CONTIG,
	OS_FORK_MTYPE,
	OS_FORK_UMEM,
	OS_FORK_ALL
};

/* These will be called; by constructors. */
void os_fork_handle(
    enum os_fork_who who, void (*prepare)(void), void (*done)(bool child));

/*
 * Register with libc, once.  It allocates, so no lock may be held.  For who has
 * work in a child even of a process of one thread.
 */
void os_fork_arm(void);

extern QR_HIDDEN atomic_bool os_fork__armed;

/* There may be threads by now: whoever takes a lock calls this before. */
QR_INLINE void
os_fork_watch(void)
{
	if (QR_UNLIKELY(!__libc_single_threaded) &&
	    QR_UNLIKELY(
		!atomic_load_explicit(&os_fork__armed, memory_order_relaxed)))
		os_fork_arm();
}

/*
 * As pthread_atfork(), in a library that sees who else calls that and arms
 * before; it is not there in others.
 */
typedef void os_fork_handler_t(void);
QR_OPTIONAL int os_fork_register(os_fork_handler_t *prepare,
    os_fork_handler_t *parent, os_fork_handler_t *child);

#endif /* QR_OS_FORK_H */
