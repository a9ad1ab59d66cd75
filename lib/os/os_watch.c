/*
 * os_watch.c - telling Valgrind and AddressSanitizer whose memory is whose.
 */
#include "os/os_watch.h"

#include <stdatomic.h>

#if defined(__SANITIZE_ADDRESS__)
#define ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASAN 1
#endif
#endif

#if defined(ASAN)

#include <sanitizer/asan_interface.h>

#define POISON(p, size) __asan_poison_memory_region(p, size)
#define UNPOISON(p, size) __asan_unpoison_memory_region(p, size)

#else

#define ASAN 0
#define POISON(p, size) ((void)(p), (void)(size))
#define UNPOISON(p, size) ((void)(p), (void)(size))

#endif

#if __has_include(<valgrind/memcheck.h>)

#include <valgrind/memcheck.h>

#else

#define RUNNING_ON_VALGRIND 0
#define VALGRIND_MALLOCLIKE_BLOCK(p, size, redzone, zeroed) ((void)(p))
#define VALGRIND_CREATE_MEMPOOL(pool, redzone, zeroed) ((void)(pool))
#define VALGRIND_DESTROY_MEMPOOL(pool) ((void)(pool))
#define VALGRIND_MEMPOOL_ALLOC(pool, p, size) ((void)(pool))
#define VALGRIND_MEMPOOL_CHANGE(pool, from, to, size) ((void)(pool))
#define VALGRIND_MEMPOOL_FREE(pool, p) ((void)(pool))
#define VALGRIND_MAKE_MEM_NOACCESS(p, size) (0)
#define VALGRIND_MAKE_MEM_UNDEFINED(p, size) (0)
#define VALGRIND_DISABLE_ERROR_REPORTING
#define VALGRIND_ENABLE_ERROR_REPORTING

#endif

bool
os_watching(void)
{
	return (ASAN || RUNNING_ON_VALGRIND != 0);
}

/*
 * Memcheck looks for leaks in pools only where it knows of some block besides,
 * and a program whose malloc is ours has none.
 */
static char block;
static char *volatile block_held = &block;

void
os_watch_pool(const void *pool)
{
	static atomic_flag once = ATOMIC_FLAG_INIT;

	if (!atomic_flag_test_and_set(&once))
		VALGRIND_MALLOCLIKE_BLOCK(block_held, 1, 0, 0);
	VALGRIND_CREATE_MEMPOOL(pool, OS_WATCH_GAP, 0);
}

void
os_watch_pool_end(const void *pool)
{
	VALGRIND_DESTROY_MEMPOOL(pool);
}

void
os_watch_nobody(void *p, size_t size)
{
	POISON(p, size);
	(void)VALGRIND_MAKE_MEM_NOACCESS(p, size);
}

void
os_watch_anybody(void *p, size_t size)
{
	UNPOISON(p, size);
	(void)VALGRIND_MAKE_MEM_UNDEFINED(p, size);
}

void
os_watch_alloc(const void *pool, void *p, size_t size)
{
	UNPOISON(p, size);
	VALGRIND_MEMPOOL_ALLOC(pool, p, size);
}

void
os_watch_free(const void *pool, void *p, size_t size)
{
	POISON(p, size);
	VALGRIND_MEMPOOL_FREE(pool, p);
}

void
os_watch_pause(void)
{
	VALGRIND_DISABLE_ERROR_REPORTING;
}

void
os_watch_resume(void)
{
	VALGRIND_ENABLE_ERROR_REPORTING;
}
