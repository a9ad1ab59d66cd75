/*
 * percpu_lock.h - the locked form: the same operations under the front's lock.
 *
 * Used where no restartable sequence is registered: Valgrind, seccomp, race
 * detectors, GLIBC_TUNABLES=glibc.pthread.rseq=0.  Correct on whichever CPU the
 * thread ends up.
 */
#ifndef QR_PERCPU_LOCK_H
#define QR_PERCPU_LOCK_H

#include "os/percpu.h"

static inline uintptr_t
percpu__lock_pop(struct percpu_front *front, size_t off)
{
	struct percpu_slot *s = (void *)((char *)front->f_slot + off);
	uintptr_t word;

	qr_mutex_enter(&front->f_lock);
	word = *(uintptr_t *)(s->s_top - sizeof(uintptr_t));
	if ((word & 1) == 0) {
		s->s_top -= sizeof(uintptr_t);
	} else {
		word = 0;
	}
	qr_mutex_exit(&front->f_lock);
	return (word);
}

static inline enum percpu_result
percpu__lock_push(struct percpu_front *front, size_t off, uintptr_t word)
{
	struct percpu_slot *s = (void *)((char *)front->f_slot + off);
	enum percpu_result result = PERCPU_FULL;

	qr_mutex_enter(&front->f_lock);
	if (*(uintptr_t *)(s->s_top - sizeof(uintptr_t)) == word) {
		result = PERCPU_TWICE;
	} else if ((*(uintptr_t *)s->s_top & 1) == 0) {
		*(uintptr_t *)s->s_top = word;
		s->s_top += sizeof(uintptr_t);
		result = PERCPU_DONE;
	}
	qr_mutex_exit(&front->f_lock);
	return (result);
}

static inline bool
percpu__lock_cas(
    struct percpu_front *front, uintptr_t *word, uintptr_t old, uintptr_t new)
{
	bool same;

	qr_mutex_enter(&front->f_lock);
	same = *word == old;
	if (same)
		*word = new;
	qr_mutex_exit(&front->f_lock);
	return (same);
}

#endif /* QR_PERCPU_LOCK_H */
