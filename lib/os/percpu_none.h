/*
 * percpu_none.h - no restartable sequences: every operation misses.
 */
#ifndef QR_PERCPU_NONE_H
#define QR_PERCPU_NONE_H

#define PERCPU_HAVE_RSEQ 0

QR_INLINE uintptr_t
percpu__rseq_pop(size_t off, const uintptr_t **topp)
{
	(void)off;
	(void)topp;
	return (0);
}

QR_INLINE bool
percpu__rseq_push(size_t off, uintptr_t word)
{
	(void)off;
	(void)word;
	return (false);
}

QR_INLINE bool
percpu__rseq_cas(unsigned cpu, struct percpu_front *front, uintptr_t *word,
    uintptr_t old, uintptr_t new)
{
	(void)cpu;
	(void)front;
	(void)word;
	(void)old;
	(void)new;
	return (false);
}

QR_INLINE int
percpu__rseq_cpu(void)
{
	return (-1);
}

QR_INLINE uintptr_t
percpu__rseq_area(void)
{
	return (0);
}

#endif /* QR_PERCPU_NONE_H */
