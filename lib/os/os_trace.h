/*
 * os_trace.h - who calls, and when: for records that are kept by the million
 * and read by the dozen.
 *
 * Nothing here calls malloc, dlsym or an unwinder, or changes errno.
 */
#ifndef QR_OS_TRACE_H
#define QR_OS_TRACE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The return addresses of the caller, of its caller and so on, innermost
 * first, at most n of them; how many.  Those in this library are left out, as
 * far as it can be told from the program.  Follows frame pointers, only through
 * memory that is known to be stack, and ends early where code keeps none; the
 * outermost may then be no address of code.
 */
unsigned os_trace_stack(uintptr_t *pcs, unsigned n);

/* To be called once, before there are threads.  Reads a file below /proc. */
void os_trace_begin(void);

/*
 * Does this thread run a signal handler?  Seen when the handler runs on an
 * alternate stack, or one of the n pcs of os_trace_stack() returns from it.
 * os_trace_signals() prepares for it, once, before there are threads.
 */
void os_trace_signals(void);
bool os_trace_in_signal(const uintptr_t *pcs, unsigned n);

/* The calling thread, as pthread_self() names it. */
static inline uintptr_t
os_trace_thread(void)
{
#if defined(__x86_64__)
	return ((uintptr_t)__builtin_thread_pointer());
#else
	return ((uintptr_t)pthread_self());
#endif
}

/*
 * A reading of a clock that is cheaper than CLOCK_MONOTONIC, and how many
 * nanoseconds ago it was made.
 */
static inline uint64_t
os_trace_ticks(void)
{
#if defined(__x86_64__)
	return (__builtin_ia32_rdtsc());
#else
	uint64_t ticks;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
	return (ticks);
#endif
}

uint64_t os_trace_ago(uint64_t ticks);

#endif /* QR_OS_TRACE_H */
