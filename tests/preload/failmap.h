/*
 * failmap.h - make the system calls by which memory is had fail on request.
 *
 * failmap.so, preloaded before the library, stands between it and libc.  The
 * environment can ask too, for what happens before main:
 *
 *   FAILMAP=mmap:2-3    the second and third mmap fail
 *   FAILMAP=mmap:1-     all do
 */
#ifndef QR_TEST_FAILMAP_H
#define QR_TEST_FAILMAP_H

enum failmap {
	FAILMAP_MMAP,
	FAILMAP_MUNMAP,
	FAILMAP_MADVISE,
	FAILMAP_MPROTECT
};
enum { FAILMAP_KINDS = 4 };

/*
 * From now on the calls numbered first to last of that kind, the next being 1,
 * fail with ENOMEM; 0, 0 lets all through.
 */
void failmap_arm(enum failmap kind, unsigned long first, unsigned long last)
    __attribute__((weak));

/* How many calls there were, and how many failed, since it was last armed. */
unsigned long failmap_calls(enum failmap kind) __attribute__((weak));
unsigned long failmap_failed(enum failmap kind) __attribute__((weak));

#endif /* QR_TEST_FAILMAP_H */
