/*
 * umem_debug_test.c - what a debugged cache does with its objects, and what it
 * finds.
 *
 * Most tests turn debugging on by the creation flags of a cache; what the
 * environment does is looked at in processes of their own.
 */
#include "umem/umem_debug.h"

#include "support/again.h"
#include "support/child.h"
#include "support/cpus.h"
#include "support/failsys.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { SIZE = 100, GUARDS = UMF_DEADBEEF | UMF_REDZONE };

#define FREE_WORD 0xdeadbeefdeadbeefu
#define NEW_WORD 0xbaddcafebaddcafeu
#define RED_WORD 0xfeedfacefeedfaceu

static int
end(void **state)
{
	(void)state;
	failsys_reset();
	look_check();
	return (0);
}

static umem_cache_t *
cache(const char *name, size_t size, size_t align, int cflags)
{
	umem_cache_t *cp = umem_cache_create(
	    name, size, align, NULL, NULL, NULL, NULL, NULL, cflags);

	assert_non_null(cp);
	return (cp);
}

static uint64_t
word_at(const void *p, size_t off)
{
	uint64_t word;

	memcpy(&word, (const char *)p + off, sizeof(word));
	return (word);
}

static bool
bytes_are(const void *p, size_t from, size_t to, int byte)
{
	const unsigned char *s = p;

	while (from < to && s[from] == byte)
		from++;
	return (from == to);
}

static bool
words_are(const void *p, size_t from, size_t to, uint64_t word)
{
	while (from < to && word_at(p, from) == word)
		from += sizeof(word);
	return (from == to);
}

/* ---- what it looks like ---- */

static void
a_new_object_is_baddcafe_and_a_free_one_deadbeef(void **state)
{
	static const size_t sizes[] = {
	    1, 7, 8, 24, 100, 112, 1000, 4096, 70000};
	(void)state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		size_t size = sizes[i], end_at = qr_roundup(size, 8);
		umem_cache_t *cp = cache("patterns", size, 0, GUARDS);
		char *p = umem_cache_alloc(cp, UMEM_DEFAULT);

		assert_non_null(p);
		assert_true(words_are(p, 0, size & ~(size_t)7, NEW_WORD));
		assert_true(bytes_are(p, size, end_at, 0xbb));
		assert_true(word_at(p, end_at) == RED_WORD);
		assert_true((word_at(p, end_at + 8) ^
				word_at(p, end_at + 16)) == 0xa110c8ed);
		memset(p, 0, size);
		umem_cache_free(cp, p);
		assert_true(words_are(p, 0, end_at, FREE_WORD));
		assert_true((word_at(p, end_at + 8) ^
				word_at(p, end_at + 16)) == 0xf4eef4ee);
		umem_cache_destroy(cp);
	}
}

/* The figures are those that libumem shows. */
static void
a_buffer_has_its_size_in_the_redzone(void)
{
	char *p = umem_alloc(SIZE, UMEM_DEFAULT);

	CHILD_CHECK(p != NULL);
	CHILD_CHECK(words_are(p, 0, 96, NEW_WORD));
	CHILD_CHECK(bytes_are(p, 100, 112, 0xbb));
	CHILD_CHECK(word_at(p, 112) == 0x0000620dfeedface);
	CHILD_CHECK((word_at(p, 120) ^ word_at(p, 128)) == UMEM_TAG_ALLOC);
	umem_free(p, SIZE);
	CHILD_CHECK(words_are(p, 0, 112, FREE_WORD));
	CHILD_CHECK(word_at(p, 112) == RED_WORD);
}

static void
t67_zalloc_zeroes_the_size_and_the_next_byte_stays_bb(void)
{
	for (size_t size = 1; size < 3000; size += 7) {
		char *p = umem_zalloc(size, UMEM_DEFAULT);

		CHILD_CHECK(p != NULL && bytes_are(p, 0, size, 0));
		if (size > 8 && size % 16 != 0)
			CHILD_CHECK((unsigned char)p[size] == 0xbb);
		umem_free(p, size);
	}
}

/* Alignments of umem_alloc hold with what lies behind each block. */
static void
sizes_are_aligned_as_ever(void)
{
	for (size_t size = 1; size <= 131072; size += 1 + size / 16) {
		char *p = umem_alloc(size, UMEM_DEFAULT);
		size_t align = size % 4096 == 0 ? 4096
		    : size % 64 == 0            ? 64
		    : size > 8                  ? 16
						: 8;

		CHILD_CHECK(p != NULL && (uintptr_t)p % align == 0);
		memset(p, 1, size);
		umem_free(p, size);
	}
}

static void
at_most_maxverify_bytes_hold_a_pattern(void)
{
	char *p = umem_alloc(1000, UMEM_DEFAULT);

	CHILD_CHECK(p != NULL);
	memset(p, 0, 1000);
	umem_free(p, 1000);
	CHILD_CHECK(words_are(p, 0, 64, FREE_WORD));
	CHILD_CHECK(words_are(p, 64, 1000, 0));
	p[64] = 1;
	CHILD_CHECK(umem_alloc(1000, UMEM_DEFAULT) == p);
}

/* ---- constructors ---- */

static size_t ctors, dtors;
static bool ctor_fails;

static int
ctor(void *buf, void *priv, int flags)
{
	(void)priv;
	(void)flags;
	if (ctor_fails)
		return (-1);
	assert_true(words_are(buf, 0, 64, NEW_WORD));
	memset(buf, 7, 64);
	ctors++;
	return (0);
}

static void
dtor(void *buf, void *priv)
{
	(void)priv;
	assert_true(bytes_are(buf, 0, 64, 7));
	dtors++;
}

static umem_cache_t *
constructed(int cflags)
{
	umem_cache_t *cp = umem_cache_create(
	    "made", 64, 0, ctor, dtor, NULL, NULL, NULL, cflags);

	assert_non_null(cp);
	ctors = dtors = 0;
	return (cp);
}

static void
t54_with_guards_each_allocation_constructs_and_each_free_destroys(void **state)
{
	umem_cache_t *cp = constructed(GUARDS);
	char *p = umem_cache_alloc(cp, UMEM_DEFAULT);
	(void)state;

	assert_true(bytes_are(p, 0, 64, 7));
	assert_int_equal(ctors, 1);
	umem_cache_free(cp, p);
	assert_int_equal(dtors, 1);
	assert_true(words_are(p, 0, 64, FREE_WORD));
	assert_ptr_equal(umem_cache_alloc(cp, UMEM_DEFAULT), p);
	assert_int_equal(ctors, 2);
	assert_int_equal(dtors, 1);
	umem_cache_free(cp, p);
	umem_cache_destroy(cp);
	assert_int_equal(ctors, 2);
	assert_int_equal(dtors, 2);
}

static void
an_object_whose_constructor_fails_is_free_again(void **state)
{
	umem_cache_t *cp = constructed(GUARDS | UMF_AUDIT);
	char *p = umem_cache_alloc(cp, UMEM_DEFAULT);
	(void)state;

	umem_cache_free(cp, p);
	ctor_fails = true;
	assert_null(umem_cache_alloc(cp, UMEM_DEFAULT));
	ctor_fails = false;
	assert_true(words_are(p, 0, 64, FREE_WORD));
	assert_ptr_equal(umem_cache_alloc(cp, UMEM_DEFAULT), p);
	umem_cache_free(cp, p);
	umem_cache_destroy(cp);
	assert_int_equal(ctors, dtors);
}

/* ---- what must not be touched ---- */

static void
t60_free_objects_of_a_notouch_cache_are_not_written_with_guards_either(
    void **state)
{
	static const int flags[] = {GUARDS, GUARDS | UMF_AUDIT | UMF_CONTENTS,
	    UMF_LITE, GUARDS | UMF_FIREWALL};
	(void)state;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		umem_cache_t *cp =
		    cache("untouched", SIZE, 0, flags[i] | UMC_NOTOUCH);
		char *p = umem_cache_alloc(cp, UMEM_DEFAULT);
		char *q = umem_cache_alloc(cp, UMEM_DEFAULT);

		/* Not its neighbour, which shares a cache line with it. */
		assert_ptr_equal(q, p + 2 * qr_roundup(SIZE, 16));
		memset(p, 5, qr_roundup(SIZE, 16));
		umem_cache_free(cp, p);
		assert_true(bytes_are(p, 0, qr_roundup(SIZE, 16), 5));
		assert_ptr_equal(umem_cache_alloc(cp, UMEM_DEFAULT), p);
		assert_true(bytes_are(p, 0, qr_roundup(SIZE, 16), 5));
		umem_cache_free(cp, p);
		umem_cache_free(cp, q);
		umem_cache_destroy(cp);
	}
}

static void
nodebug_is_no_debugging_whatever_else_is_said(void)
{
	umem_cache_t *cp = umem_cache_create("plain", SIZE, 0, NULL, NULL, NULL,
	    NULL, NULL, UMC_NODEBUG | UMF_AUDIT | GUARDS);
	char *p = umem_cache_alloc(cp, UMEM_DEFAULT);

	CHILD_CHECK(p != NULL);
	CHILD_CHECK(umem_cache_alloc(cp, UMEM_DEFAULT) == p + 2 * 112);
	memset(p, 5, SIZE);
	umem_cache_free(cp, p);
	CHILD_CHECK(bytes_are(p, 0, SIZE, 5));
}

/* Integers that are no addresses: what is known of them lies elsewhere. */
static void
integers_of_an_arena_can_be_audited(void **state)
{
	vmem_t *vmp = vmem_create("integers", (void *)16, 10000, 1, NULL, NULL,
	    NULL, 0, VM_NOSLEEP | VMC_IDENTIFIER);
	umem_cache_t *cp = umem_cache_create("audited", 3, 1, NULL, NULL, NULL,
	    NULL, vmp, UMC_NOTOUCH | UMF_AUDIT);
	void *seen[1000];
	(void)state;

	assert_non_null(cp);
	for (size_t round = 0; round < 3; round++) {
		for (size_t i = 0; i < 1000; i++) {
			seen[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
			assert_non_null(seen[i]);
		}
		for (size_t i = 0; i < 1000; i++)
			umem_cache_free(cp, seen[i]);
	}
	umem_cache_destroy(cp);
	assert_int_equal(vmem_size(vmp, VMEM_ALLOC), 0);
	vmem_destroy(vmp);
}

/* ---- when it is found ---- */

static umem_cache_t *victim;
static char *block;
static size_t where;

static void
write_past(void *arg)
{
	(void)arg;
	block[where] ^= 1;
	(void)write(STDERR_FILENO, "written\n", 8);
	umem_cache_free(victim, block);
}

static void
t68_a_byte_past_the_end_is_found_when_the_object_is_freed(void **state)
{
	(void)state;

	victim = cache("over", SIZE, 16, UMF_REDZONE);
	block = umem_cache_alloc(victim, UMEM_DEFAULT);
	for (where = SIZE; where < 112; where++)
		child_expect_abort_like(write_past, NULL,
		    "written\numem allocator: redzone violation: write past "
		    "end "
		    "of buffer: buffer=0x* (cache over, slab 0x*)");
	umem_cache_free(victim, block);
	umem_cache_destroy(victim);
}

/* What was freed last is allocated next, on the same CPU. */
static void
write_after(void *arg)
{
	(void)arg;
	cpus_stay();
	umem_cache_free(victim, block);
	block[where] ^= 1;
	(void)write(STDERR_FILENO, "written\n", 8);
	(void)umem_cache_alloc(victim, UMEM_DEFAULT);
}

static void
write_after_and_give_back(void *arg)
{
	(void)arg;
	umem_cache_free(victim, block);
	block[where] ^= 1;
	umem_cache_reap_now(victim);
}

static void
t69_a_write_to_a_free_object_is_found_when_it_is_allocated_again(void **state)
{
	char message[256];
	(void)state;

	victim = cache("after", SIZE, 16, GUARDS);
	block = umem_cache_alloc(victim, UMEM_DEFAULT);
	for (where = 0; where < SIZE; where += 9) {
		uint64_t found = FREE_WORD ^ (uint64_t)1 << where % 8 * 8;

		(void)snprintf(message, sizeof(message),
		    "written\numem allocator: buffer modified after being "
		    "freed: "
		    "buffer=0x* (cache after, slab 0x*), modification occurred "
		    "at offset 0x%zx (0xdeadbeefdeadbeef replaced by 0x%llx)",
		    where & ~(size_t)7, (unsigned long long)found);
		child_expect_abort_like(write_after, NULL, message);
		child_expect_abort_like(
		    write_after_and_give_back, NULL, message + 8);
	}
	umem_cache_free(victim, block);
	umem_cache_destroy(victim);
}

static void
t69_a_write_behind_a_free_object_is_found_in_the_same_way(void **state)
{
	static const struct {
		size_t offset;
		const char *message;
	} words[] = {
	    {104, "redzone violation: write past end of buffer: "},
	    {112, "boundary tag corrupted: "},
	    {120, "boundary tag corrupted: "},
	};
	char message[256];
	(void)state;

	victim = cache("behind", SIZE, 16, GUARDS);
	block = umem_cache_alloc(victim, UMEM_DEFAULT);
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		(void)snprintf(message, sizeof(message),
		    "written\numem allocator: %sbuffer=0x* (cache behind, slab "
		    "0x*)*",
		    words[i].message);
		where = words[i].offset;
		child_expect_abort_like(write_after, NULL, message);
		child_expect_abort_like(
		    write_after_and_give_back, NULL, message + 8);
	}
	umem_cache_free(victim, block);
	umem_cache_destroy(victim);
}

/* The pointer to it is in the tag, for tools: here it is followed too far. */
static void
overwrite_bufctl(void *arg)
{
	(void)arg;
	memset((void *)word_at(block, 112), 0, 8);
	umem_cache_free(victim, block);
}

static void
overwrite_tag(void *arg)
{
	(void)arg;
	memset(block + 120, 0, 8);
	umem_cache_free(victim, block);
}

/* As an overrun does that copies an object, and more, over another. */
static void
borrow_tag(void *arg)
{
	char *other = umem_cache_alloc(victim, UMEM_DEFAULT);

	(void)arg;
	memcpy(block + 104, other + 104, 24);
	umem_cache_free(victim, block);
}

static void
what_is_known_of_an_object_is_itself_checked(void **state)
{
	(void)state;

	victim = cache("known", SIZE, 16, GUARDS);
	block = umem_cache_alloc(victim, UMEM_DEFAULT);
	child_expect_abort_like(overwrite_tag, NULL,
	    "umem allocator: boundary tag corrupted: buffer=0x* (cache known, "
	    "slab 0x*), bcp ^ bxstat = *, should be a110c8ed");
	child_expect_abort_like(borrow_tag, NULL,
	    "umem allocator: boundary tag corrupted: buffer=0x* (cache known, "
	    "slab 0x*), bcp ^ bxstat = a110c8ed, should be a110c8ed");
	umem_cache_free(victim, block);
	umem_cache_destroy(victim);
	victim = cache("known", 104, 16, GUARDS);
	block = umem_cache_alloc(victim, UMEM_DEFAULT);
	child_expect_abort_like(overwrite_bufctl, NULL,
	    "umem allocator: bufctl corrupted: buffer=0x* (cache known, slab "
	    "0x*)");
	umem_cache_free(victim, block);
	umem_cache_destroy(victim);
}

static void
free_twice(void *arg)
{
	void *other = umem_cache_alloc(victim, UMEM_DEFAULT);

	(void)arg;
	umem_cache_free(victim, block);
	umem_cache_free(victim, other);
	umem_cache_free(victim, block);
}

static void
free_inside(void *arg)
{
	(void)arg;
	umem_cache_free(victim, block + where);
}

static void
every_kind_of_debugging_sees_a_bad_free_at_once(void **state)
{
	static const int flags[] = {UMF_AUDIT, UMF_AUDIT | UMC_NOTOUCH,
	    UMF_DEADBEEF, UMF_REDZONE, UMF_LITE, GUARDS | UMF_NOMAGAZINE};
	(void)state;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		void *stays;

		victim = cache("bad", SIZE, 16, flags[i]);
		stays = umem_cache_alloc(victim, UMEM_DEFAULT);
		block = umem_cache_alloc(victim, UMEM_DEFAULT);
		child_expect_abort_like(free_twice, NULL,
		    "umem allocator: duplicate free: buffer freed twice: "
		    "buffer=0x* (cache bad, slab 0x*), freed to cache bad");
		for (where = 1; where < 64; where *= 2)
			child_expect_abort_like(free_inside, NULL,
			    "umem allocator: bad free: free address (0x*) != "
			    "alloc address (0x*): buffer=0x* (cache bad, slab "
			    "0x*), freed to cache bad");
		umem_cache_free(victim, block);
		umem_cache_free(victim, stays);
		umem_cache_destroy(victim);
	}
}

/* ---- with the environment ---- */

/* The wrong size is of the same class. */
static void
free_with_a_wrong_size(void)
{
	umem_free(umem_alloc(SIZE, UMEM_DEFAULT), SIZE + 1);
}

static void
free_with_a_size_of_another_class(void)
{
	umem_free(umem_alloc(SIZE, UMEM_DEFAULT), 2 * SIZE);
}

static void
free_badly_and_go_on(void)
{
	char *p = umem_alloc(SIZE, UMEM_DEFAULT);

	umem_free(p, SIZE + 1);
	umem_free(p + 16, SIZE);
	umem_free(p, SIZE);
	umem_free(p, SIZE);
	p = umem_alloc(SIZE, UMEM_DEFAULT);
	CHILD_CHECK(p != NULL);
	p[SIZE] = 0;
	umem_free(p, SIZE);
	CHILD_CHECK(umem_alloc(SIZE, UMEM_DEFAULT) != p);
}

static void
ask_for_the_impossible(void)
{
	(void)umem_alloc((size_t)1 << 60, UMEM_DEFAULT);
}

static void
run_with(struct child *c, const char *part, const char *variable)
{
	struct again_run run = {part, {variable}};

	child_run(c, again_exec, &run);
}

static void
t51_a_wrong_size_of_the_same_class_is_seen_with_guards_and_not_without(
    void **state)
{
	struct child c;
	(void)state;

	run_with(&c, "wrong size", "UMEM_DEBUG=");
	assert_int_equal(c.c_signal, 0);
	assert_string_equal(c.c_stderr, "");
	run_with(&c, "wrong size", "UMEM_DEBUG=guards");
	assert_int_equal(c.c_signal, SIGABRT);
	assert_non_null(strstr(c.c_stderr,
	    "umem allocator: bad free: free size (101) != alloc size (100): "
	    "buffer=0x"));
	run_with(&c, "wrong class", "UMEM_DEBUG=guards");
	assert_int_equal(c.c_signal, SIGABRT);
	assert_non_null(strstr(
	    c.c_stderr, "umem allocator: buffer freed to wrong cache: "));
}

static void
t71_noabort_reports_ignores_and_goes_on(void **state)
{
	static const char *const lines[] = {
	    "quarry: umem allocator: bad free: free size (101) != alloc size",
	    "quarry: umem allocator: bad free: free address (0x",
	    "quarry: umem allocator: duplicate free: buffer freed twice",
	    "quarry: umem allocator: redzone violation: write past end"};
	const char *at;
	struct child c;
	(void)state;

	run_with(&c, "go on", "UMEM_DEBUG=default,noabort");
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	at = c.c_stderr;
	for (size_t i = 0; i < 4; i++) {
		if (strncmp(at, lines[i], strlen(lines[i])) != 0)
			fail_msg("line %zu of %s", i, c.c_stderr);
		at = strchr(at, '\n') + 1;
	}
	assert_string_equal(at, "");
}

static void
a_request_that_fails_is_an_error_with_checknull(void **state)
{
	struct child c;
	(void)state;

	run_with(&c, "impossible", "UMEM_DEBUG=guards");
	assert_int_equal(c.c_signal, 0);
	run_with(&c, "impossible", "UMEM_DEBUG=checknull");
	assert_int_equal(c.c_signal, SIGABRT);
	assert_string_equal(c.c_stderr, "umem: out of heap space\n");
}

static void
parts_hold_with(const char *variable)
{
	static const char *const parts[] = {
	    "size in redzone", "zalloc", "alignment", "nodebug"};
	struct child c;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		run_with(&c, parts[i], variable);
		if (c.c_signal != 0 || c.c_status != 0)
			fail_msg("%s, %s: signal %d: %s", parts[i], variable,
			    c.c_signal, c.c_stderr);
	}
}

static void
buffers_of_any_size_are_guarded_by_the_environment(void **state)
{
	struct child c;
	(void)state;

	parts_hold_with("UMEM_DEBUG=guards");
	parts_hold_with("UMEM_DEBUG=default");
	run_with(&c, "maxverify", "UMEM_DEBUG=guards,maxverify=64");
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
}

/* ---- memory ---- */

static void
a_debugged_cache_gives_all_its_memory_back(void **state)
{
	static const int flags[] = {
	    GUARDS, GUARDS | UMF_AUDIT, UMF_LITE, UMF_AUDIT | UMF_FIREWALL};
	static void *objs[1000];
	(void)state;

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		size_t before = look_heap();
		umem_cache_t *cp = cache("back", SIZE, 0, flags[i]);

		for (size_t j = 0; j < 1000; j++) {
			objs[j] = umem_cache_alloc(cp, UMEM_DEFAULT);
			assert_non_null(objs[j]);
		}
		for (size_t j = 0; j < 1000; j++)
			umem_cache_free(cp, objs[j]);
		umem_cache_destroy(cp);
		assert_int_equal(look_heap(), before);
	}
}

/* Whatever system call fails, an object is had or not, and nothing is lost. */
static void
without_memory_an_object_is_had_or_not(void **state)
{
	static const int flags[] = {GUARDS | UMF_AUDIT, UMF_FIREWALL};
	void *objs[64];
	(void)state;

	for (size_t i = 0; i < 2; i++) {
		umem_cache_t *cp = cache("short", 5000, 0, flags[i]);

		for (unsigned long n = 1; n < 12; n++) {
			size_t got = 0;

			failsys_from(FAILSYS_MMAP, n, ENOMEM);
			while (got < 64 &&
			    (objs[got] = umem_cache_alloc(cp, UMEM_DEFAULT)) !=
				NULL)
				memset(objs[got++], 3, 5000);
			failsys_reset();
			while (got > 0)
				umem_cache_free(cp, objs[--got]);
			(void)quarry_reap();
		}
		objs[0] = umem_cache_alloc(cp, UMEM_DEFAULT);
		assert_non_null(objs[0]);
		umem_cache_free(cp, objs[0]);
		umem_cache_destroy(cp);
	}
}

#define TEST(test) cmocka_unit_test_teardown(test, end)

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"size in redzone", a_buffer_has_its_size_in_the_redzone},
	    {"zalloc", t67_zalloc_zeroes_the_size_and_the_next_byte_stays_bb},
	    {"alignment", sizes_are_aligned_as_ever},
	    {"maxverify", at_most_maxverify_bytes_hold_a_pattern},
	    {"nodebug", nodebug_is_no_debugging_whatever_else_is_said},
	    {"wrong size", free_with_a_wrong_size},
	    {"wrong class", free_with_a_size_of_another_class},
	    {"go on", free_badly_and_go_on},
	    {"impossible", ask_for_the_impossible},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    TEST(a_new_object_is_baddcafe_and_a_free_one_deadbeef),
	    TEST(
		t54_with_guards_each_allocation_constructs_and_each_free_destroys),
	    TEST(an_object_whose_constructor_fails_is_free_again),
	    TEST(
		t60_free_objects_of_a_notouch_cache_are_not_written_with_guards_either),
	    TEST(integers_of_an_arena_can_be_audited),
	    TEST(t68_a_byte_past_the_end_is_found_when_the_object_is_freed),
	    TEST(
		t69_a_write_to_a_free_object_is_found_when_it_is_allocated_again),
	    TEST(t69_a_write_behind_a_free_object_is_found_in_the_same_way),
	    TEST(what_is_known_of_an_object_is_itself_checked),
	    TEST(every_kind_of_debugging_sees_a_bad_free_at_once),
	    TEST(
		t51_a_wrong_size_of_the_same_class_is_seen_with_guards_and_not_without),
	    TEST(t71_noabort_reports_ignores_and_goes_on),
	    TEST(a_request_that_fails_is_an_error_with_checknull),
	    TEST(buffers_of_any_size_are_guarded_by_the_environment),
	    TEST(a_debugged_cache_gives_all_its_memory_back),
	    TEST(without_memory_an_object_is_had_or_not),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
