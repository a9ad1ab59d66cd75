/*
 * misuse.c - one wrong call, named on the command line.
 *
 * Prints the pointer that is wrong, makes the call, prints "went on", has
 * everything that is cached brought back to its slab, and prints "ended".
 * misuse_test.sh knows what should happen between.
 */
#define _GNU_SOURCE 1 /* MAP_ANONYMOUS */

#include "check.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

enum { ERRNO_MARK = 4321, LARGE = 300000 };

/* Quarry's own interface, which the preload brings along. */
struct umem_cache;
struct vmem;
typedef void panic_hook_t(const char *message);
struct umem_cache *umem_cache_create(const char *name, size_t bufsize,
    size_t align, int (*ctor)(void *, void *, int),
    void (*dtor)(void *, void *), void (*reclaim)(void *), void *priv,
    struct vmem *source, int cflags) __attribute__((weak));
void *umem_cache_alloc(struct umem_cache *cp, int flag) __attribute__((weak));
void umem_cache_free(struct umem_cache *cp, void *p) __attribute__((weak));
void *umem_alloc(size_t size, int flag) __attribute__((weak));
void umem_free(void *p, size_t size) __attribute__((weak));
panic_hook_t *quarry_set_panic_hook(panic_hook_t *hook) __attribute__((weak));

/* The compiler knows better than to compile what is wrong. */
static void *(*volatile get)(size_t) = malloc;
static void (*volatile put)(void *) = free;
static void *(*volatile resize)(void *, size_t) = realloc;
static size_t (*volatile usable)(void *) = malloc_usable_size;
static void (*volatile umem_put)(void *, size_t);
static void (*volatile cache_put)(struct umem_cache *, void *);

/* Say which pointer it is about. */
static void *
wrong(const void *p)
{
	check_say(STDOUT_FILENO, "%p\n", p);
	return ((void *)(uintptr_t)p);
}

static struct umem_cache *
cache(void)
{
	return (umem_cache_create(
	    "mine", 100, 16, NULL, NULL, NULL, NULL, NULL, 0));
}

/* ---- the wrong pointers ---- */

static char in_static[64] __attribute__((aligned(16)));
static const char in_constant[64] __attribute__((aligned(16)));

static void *
large_freed(void)
{
	void *p = get(LARGE);

	put(p);
	return (p);
}

/* The only block of its class, so that its slab goes with it. */
static void *
trimmed(void)
{
	void *p = get(30000);

	put(p);
	(void)malloc_trim(0);
	return (p);
}

static void *
mapped_by_hand(void)
{
	void *p = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(p != MAP_FAILED);
	return (p);
}

static void *
cache_object(void)
{
	return (umem_cache_alloc(cache(), 0));
}

static void *
umem_8(void)
{
	return (umem_alloc(8, 0));
}

static const struct {
	const char *name;
	uintptr_t value;
	void *(*make)(void);
	size_t block; /* take a block of this size, and go `by` into it */
	size_t by;
} pointers[] = {
    {.name = "static", .value = (uintptr_t)in_static},
    {.name = "constant", .value = (uintptr_t)in_constant},
    {.name = "one", .value = 1},
    {.name = "sixteen", .value = 16},
    {.name = "kernel", .value = 0xffff800000000000},
    {.name = "noncanonical", .value = 0x1234567812345670},
    {.name = "last", .value = ~(uintptr_t)15},
    {.name = "mapped", .make = mapped_by_hand},
    {.name = "large-freed", .make = large_freed},
    {.name = "trimmed", .make = trimmed},
    {.name = "object", .make = cache_object},
    {.name = "umem-8", .make = umem_8},
    {.name = "odd", .block = 64, .by = 1},
    {.name = "misaligned", .block = 64, .by = 8},
    {.name = "interior", .block = 64, .by = 16},
    {.name = "large-odd", .block = LARGE, .by = 1},
    {.name = "large-interior", .block = LARGE, .by = 64},
    {.name = "large-far", .block = LARGE, .by = 65536},
};

/* `stack` is the odd one out: it must be of a frame that is still there. */
static void *
bad_pointer(const char *name, const void *stack)
{
	if (strcmp(name, "stack") == 0)
		return (wrong(stack));
	for (size_t i = 0; i < sizeof(pointers) / sizeof(pointers[0]); i++) {
		if (strcmp(name, pointers[i].name) != 0)
			continue;
		if (pointers[i].make != NULL)
			return (wrong(pointers[i].make()));
		if (pointers[i].block != 0)
			return (wrong(
			    (char *)get(pointers[i].block) + pointers[i].by));
		return (wrong((void *)pointers[i].value));
	}
	CHECK(!"a pointer of that name");
}

/* ---- calls with a pointer that was never right ---- */

static void
t83_call_free(const char *name)
{
	char stack[64] __attribute__((aligned(16))) = "";
	void *p = bad_pointer(name, stack);

	errno = ERRNO_MARK;
	put(p);
	CHECK(errno == ERRNO_MARK);
}

static void
call_realloc(const char *name)
{
	char stack[64] __attribute__((aligned(16))) = "";
	void *p = bad_pointer(name, stack);

	errno = 0;
	CHECK(resize(p, 100) == NULL && errno == EINVAL);
}

static void
call_usable(const char *name)
{
	char stack[64] __attribute__((aligned(16))) = "";

	CHECK(usable(bad_pointer(name, stack)) == 0);
}

/* ---- calls that are wrong by what went before ---- */

static void
t84_call_twice(const char *name)
{
	void *a = get(64), *b = get(64), *other = get(64);

	CHECK(other != NULL);
	(void)wrong(a);
	errno = ERRNO_MARK;
	put(a);
	if (strcmp(name, "later") == 0)
		put(b);
	put(a);
	CHECK(errno == ERRNO_MARK);
}

static void
call_realloc_freed(const char *name)
{
	void *p = get(64), *other = get(64);

	(void)name;
	CHECK(other != NULL);
	(void)wrong(p);
	put(p);
	errno = 0;
	CHECK(resize(p, 64) == NULL && errno == EINVAL);
}

static void
call_umem_free(const char *name)
{
	void *p = get(strcmp(name, "large") == 0 ? LARGE : 64);

	umem_put = umem_free;
	umem_put(wrong(p), 200);
}

static void
call_umem_cache_free(const char *name)
{
	struct umem_cache *cp = cache();

	(void)name;
	cache_put = umem_cache_free;
	CHECK(umem_cache_alloc(cp, 0) != NULL);
	cache_put(cp, wrong(get(100)));
}

/* ---- */

static const struct {
	const char *name;
	void (*fn)(const char *);
} calls[] = {
    {"free", t83_call_free},
    {"realloc", call_realloc},
    {"usable", call_usable},
    {"twice", t84_call_twice},
    {"realloc-freed", call_realloc_freed},
    {"umem_free", call_umem_free},
    {"umem_cache_free", call_umem_cache_free},
};

static void
hook(const char *message)
{
	check_say(STDERR_FILENO, "hook: %s\n", message);
}

static void
abort_handler(int number)
{
	static const char text[] = "handler\n";

	(void)number;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
}

int
main(int argc, char **argv)
{
	const char *how = getenv("MISUSE");

	CHECK(argc == 3 && quarry_version != NULL);
	if (how != NULL && strcmp(how, "hook") == 0)
		CHECK(quarry_set_panic_hook(hook) == NULL);
	if (how != NULL && strcmp(how, "handler") == 0)
		CHECK(signal(SIGABRT, abort_handler) == SIG_DFL);
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (strcmp(calls[i].name, argv[1]) == 0)
			calls[i].fn(argv[2]);
	}
	check_say(STDOUT_FILENO, "went on\n");
	(void)malloc_trim(0);
	check_say(STDOUT_FILENO, "ended\n");
	return (0);
}
