/*
 * failsys.h - make the system calls of the library fail, and count them.
 *
 * Link with -Wl,--wrap=CALL for every __wrap_CALL in failsys.c, and the library
 * as a static one: what is wrapped are the calls from all objects of the
 * executable, none from shared libraries.
 */
#ifndef QR_TEST_FAILSYS_H
#define QR_TEST_FAILSYS_H

#include <stdbool.h>

enum failsys {
	FAILSYS_MMAP,
	FAILSYS_MUNMAP,
	FAILSYS_MADVISE,
	FAILSYS_MPROTECT,
	FAILSYS_SYSCALL, /* syscall(2): futexes, membarrier, CPU masks, ids */
	FAILSYS_OPEN,
	FAILSYS_MEMFD,    /* memfd_create(2) */
	FAILSYS_TRUNCATE, /* ftruncate(2) */
	FAILSYS_FALLOCATE,
	FAILSYS_MLOCK,
	FAILSYS_PREAD,
	FAILSYS_WRITE,
	FAILSYS_FSYNC,
	FAILSYS_RENAMEAT,
	FAILSYS_SEMWAIT, /* sem_clockwait(3) */
	FAILSYS_SEMPOST,
	FAILSYS_THREAD, /* pthread_create(3), which returns the error */
	FAILSYS_RECORD, /* no system call: meta_get(), which is seldom one */
	FAILSYS_KINDS
};

/* Let everything through again, and count from 0. */
void failsys_reset(void);

/* The n-th call from now (1 is the next) fails with `error`, once. */
void failsys_nth(enum failsys call, unsigned long n, int error);

/* The n-th call from now and all that follow fail with `error`. */
void failsys_from(enum failsys call, unsigned long n, int error);

/* A shortage of memory: at the n-th call from now and, lasting, ever after. */
struct shortage {
	enum failsys s_call;
	unsigned long s_n;
	bool s_lasting;
};

/* Let everything through again but for this, which fails with ENOMEM. */
void failsys_arm(const struct shortage *s);

/*
 * Run fn before each such call, in the calling thread; its own calls are not
 * seen.  It may do what another thread could do at that moment.  NULL ends it.
 */
void failsys_before(enum failsys call, void (*fn)(void));

/* Calls since the last reset, failed ones too. */
unsigned long failsys_calls(enum failsys call);

/* Count and fail syscall(2) for this number only; -1 for all, the default. */
void failsys_only(long number);

/* Whether the process looks like a set-id one. */
void failsys_secure(bool secure);

#endif /* QR_TEST_FAILSYS_H */
