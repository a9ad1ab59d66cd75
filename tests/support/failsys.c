/*
 * failsys.c - make the system calls of the library fail, and count them.
 */
#include "support/failsys.h"

#include "meta/meta.h"
#include "support/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/types.h>

/* Calls numbered f_first to f_last, counted from the last reset, fail. */
struct fault {
	_Atomic unsigned long f_calls;
	_Atomic unsigned long f_first;
	_Atomic unsigned long f_last;
	_Atomic int f_error;
	void (*_Atomic f_before)(void);
};

/* A call from within f_before is neither counted nor failed. */
static __thread bool inside;
static struct fault faults[FAILSYS_KINDS];
static _Atomic long only_number = -1;
static _Atomic bool looks_secure;

long __real_syscall(
    long number, long a, long b, long c, long d, long e, long f);
int __real_open(const char *path, int flags, mode_t mode);
ssize_t __real_write(int fd, const void *buf, size_t len);
int __real_fsync(int fd);
int __real_renameat(int from_dir, const char *from, int dir, const char *to);
int __real_memfd_create(const char *name, unsigned flags);
int __real_ftruncate(int fd, off_t size);
int __real_fallocate(int fd, int mode, off_t at, off_t size);
int __real_mlock(const void *addr, size_t len);
ssize_t __real_pread(int fd, void *buf, size_t len, off_t at);
int __real_sem_clockwait(
    sem_t *sem, clockid_t clock, const struct timespec *deadline);
int __real_sem_post(sem_t *sem);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg);
void *__real_meta_get(struct meta_pool *mp);

void *__wrap_mmap(
    void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_munmap(void *addr, size_t len);
int __wrap_madvise(void *addr, size_t len, int advice);
int __wrap_mprotect(void *addr, size_t len, int prot);
long __wrap_syscall(
    long number, long a, long b, long c, long d, long e, long f);
int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *buf, size_t len);
int __wrap_fsync(int fd);
int __wrap_renameat(int from_dir, const char *from, int dir, const char *to);
unsigned long __wrap_getauxval(unsigned long type);
int __wrap_memfd_create(const char *name, unsigned flags);
int __wrap_ftruncate(int fd, off_t size);
int __wrap_fallocate(int fd, int mode, off_t at, off_t size);
int __wrap_mlock(const void *addr, size_t len);
ssize_t __wrap_pread(int fd, void *buf, size_t len, off_t at);
int __wrap_sem_clockwait(
    sem_t *sem, clockid_t clock, const struct timespec *deadline);
int __wrap_sem_post(sem_t *sem);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg);
void *__wrap_meta_get(struct meta_pool *mp);

void
failsys_reset(void)
{
	for (int i = 0; i < FAILSYS_KINDS; i++) {
		faults[i].f_first = 0;
		faults[i].f_last = 0;
		faults[i].f_calls = 0;
		faults[i].f_before = NULL;
	}
	only_number = -1;
	looks_secure = false;
}

static void
arm(struct fault *f, unsigned long first, unsigned long last, int error)
{
	f->f_last = 0;
	f->f_error = error;
	f->f_first = first;
	f->f_last = last;
}

void
failsys_nth(enum failsys call, unsigned long n, int error)
{
	unsigned long at = faults[call].f_calls + n;

	arm(&faults[call], at, at, error);
}

void
failsys_from(enum failsys call, unsigned long n, int error)
{
	arm(&faults[call], faults[call].f_calls + n, ULONG_MAX, error);
}

void
failsys_arm(const struct shortage *s)
{
	failsys_reset();
	if (s->s_lasting)
		failsys_from(s->s_call, s->s_n, ENOMEM);
	else
		failsys_nth(s->s_call, s->s_n, ENOMEM);
}

void
failsys_before(enum failsys call, void (*fn)(void))
{
	faults[call].f_before = fn;
}

unsigned long
failsys_calls(enum failsys call)
{
	return (faults[call].f_calls);
}

void
failsys_only(long number)
{
	only_number = number;
}

void
failsys_secure(bool secure)
{
	looks_secure = secure;
}

/* Count a call; true, with errno set, when it is to fail. */
static bool
fails(enum failsys call)
{
	struct fault *f = &faults[call];
	void (*before)(void) = f->f_before;
	unsigned long n;

	if (inside)
		return (false);
	if (before != NULL) {
		inside = true;
		before();
		inside = false;
	}
	n = atomic_fetch_add(&f->f_calls, 1) + 1;
	if (n < f->f_first || n > f->f_last)
		return (false);
	errno = f->f_error;
	return (true);
}

void *
__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	if (fails(FAILSYS_MMAP))
		return ((void *)-1);
	return (pages_mmap(addr, len, prot, flags, fd, off));
}

int
__wrap_munmap(void *addr, size_t len)
{
	return (fails(FAILSYS_MUNMAP) ? -1 : pages_munmap(addr, len));
}

int
__wrap_madvise(void *addr, size_t len, int advice)
{
	return (fails(FAILSYS_MADVISE) ? -1 : pages_madvise(addr, len, advice));
}

int
__wrap_mprotect(void *addr, size_t len, int prot)
{
	return (fails(FAILSYS_MPROTECT) ? -1 : pages_mprotect(addr, len, prot));
}

/* The kernel never refuses to wake; who is not woken sleeps for ever. */
static bool
never_fails(long number, long op)
{
	return (number == SYS_futex && (op & FUTEX_CMD_MASK) == FUTEX_WAKE);
}

/* The caller passed some of the arguments; the rest is noise nobody reads. */
long
__wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	if ((only_number < 0 || only_number == number) &&
	    fails(FAILSYS_SYSCALL) && !never_fails(number, b))
		return (-1);
	return (__real_syscall(number, a, b, c, d, e, f));
}

int
__wrap_open(const char *path, int flags, ...)
{
	mode_t mode = 0;
	va_list ap;

	if ((flags & O_CREAT) != 0) {
		va_start(ap, flags);
		mode = va_arg(ap, mode_t);
		va_end(ap);
	}
	if (fails(FAILSYS_OPEN))
		return (-1);
	return (__real_open(path, flags, mode));
}

ssize_t
__wrap_write(int fd, const void *buf, size_t len)
{
	return (fails(FAILSYS_WRITE) ? -1 : __real_write(fd, buf, len));
}

int
__wrap_fsync(int fd)
{
	return (fails(FAILSYS_FSYNC) ? -1 : __real_fsync(fd));
}

int
__wrap_renameat(int from_dir, const char *from, int dir, const char *to)
{
	return (fails(FAILSYS_RENAMEAT)
		? -1
		: __real_renameat(from_dir, from, dir, to));
}

unsigned long
__wrap_getauxval(unsigned long type)
{
	if (type == AT_SECURE && looks_secure)
		return (1);
	return (pages_getauxval(type));
}

int
__wrap_memfd_create(const char *name, unsigned flags)
{
	return (fails(FAILSYS_MEMFD) ? -1 : __real_memfd_create(name, flags));
}

int
__wrap_ftruncate(int fd, off_t size)
{
	return (fails(FAILSYS_TRUNCATE) ? -1 : __real_ftruncate(fd, size));
}

int
__wrap_fallocate(int fd, int mode, off_t at, off_t size)
{
	return (fails(FAILSYS_FALLOCATE)
		? -1
		: __real_fallocate(fd, mode, at, size));
}

int
__wrap_mlock(const void *addr, size_t len)
{
	return (fails(FAILSYS_MLOCK) ? -1 : __real_mlock(addr, len));
}

ssize_t
__wrap_pread(int fd, void *buf, size_t len, off_t at)
{
	return (fails(FAILSYS_PREAD) ? -1 : __real_pread(fd, buf, len, at));
}

int
__wrap_sem_clockwait(
    sem_t *sem, clockid_t clock, const struct timespec *deadline)
{
	if (fails(FAILSYS_SEMWAIT))
		return (-1);
	return (__real_sem_clockwait(sem, clock, deadline));
}

int
__wrap_sem_post(sem_t *sem)
{
	return (fails(FAILSYS_SEMPOST) ? -1 : __real_sem_post(sem));
}

int
__wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr,
    void *(*start)(void *), void *arg)
{
	int saved = errno, error;

	if (!fails(FAILSYS_THREAD))
		return (__real_pthread_create(thread, attr, start, arg));
	error = errno;
	errno = saved;
	return (error);
}

void *
__wrap_meta_get(struct meta_pool *mp)
{
	return (fails(FAILSYS_RECORD) ? NULL : __real_meta_get(mp));
}
