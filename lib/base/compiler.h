/*
 * compiler.h - the only spelling of compiler attributes.
 */
#ifndef QR_COMPILER_H
#define QR_COMPILER_H

#define QR_LIKELY(x) __builtin_expect(!!(x), 1)
#define QR_UNLIKELY(x) __builtin_expect(!!(x), 0)

#define QR_NOINLINE __attribute__((noinline))
#define QR_INLINE static inline __attribute__((always_inline))
#define QR_COLD __attribute__((cold, noinline))
/* An entry of the fast path: begins on a cache line, worth 5 % of its time. */
#define QR_HOT __attribute__((hot, aligned(QR_CACHE_LINE)))
/* Many small steps that are one: a call of each would take as long as it does. */
#define QR_FLATTEN __attribute__((flatten))
#define QR_NORETURN __attribute__((noreturn))
#define QR_ALIGNED(n) __attribute__((aligned(n)))
#define QR_UNUSED __attribute__((unused))
/* Is not looked at by ThreadSanitizer. */
#define QR_RACY __attribute__((no_sanitize("thread")))
/* Reads memory of others, all of it readable, for what it can find there. */
#define QR_UNCHECKED __attribute__((no_sanitize("address", "thread")))
#define QR_USED __attribute__((used))
/* For data of the hot path: addressed directly, not through the GOT. */
#define QR_HIDDEN __attribute__((visibility("hidden")))
/* A function that the program may or may not have. */
#define QR_WEAK __attribute__((weak, visibility("default")))
/* A function that only one of the libraries has. */
#define QR_OPTIONAL __attribute__((weak, visibility("hidden")))
/* What takes the place of a function of libc's. */
#define QR_EXPORT __attribute__((visibility("default")))
#define QR_CONSTRUCTOR __attribute__((constructor))
#define QR_DESTRUCTOR __attribute__((destructor))
#define QR_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

/* Bytes of one cache line on every machine we run on. */
#define QR_CACHE_LINE 64

/* The structure of type `type` whose member `member` is at `ptr`. */
#define QR_CONTAINER_OF(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define QR_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif /* QR_COMPILER_H */
