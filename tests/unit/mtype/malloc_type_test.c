/*
 * malloc_type_test.c - declaring, registering and losing types; their flags.
 */
#include "unit/contig/contig_test.h"

#include "support/child.h"

#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

/* Used before its own constructor can have run: they run in this order. */
static void *early;

extern struct malloc_type M_LATE[1];

static __attribute__((constructor(200))) void
use_before_its_constructor(void)
{
	early = kmalloc(100, M_LATE, M_WAITOK);
}

static MALLOC_DEFINE(M_STATIC, "static", "with a declaration behind it");
static int behind;
MALLOC_DEFINE(M_LATE, "late", "used by an earlier constructor");
MALLOC_DEFINE(M_TWIN_1, "twin", "one of two");
static MALLOC_DEFINE(M_TWIN_2, "twin", "the other");

static void
t15_a_type_is_defined_in_any_way_and_used_at_once(void **state)
{
	void *p = kmalloc(100, M_STATIC, M_WAITOK);
	(void)state;

	assert_int_equal(behind, 0);
	assert_int_equal(stats_of(M_STATIC).inuse, 1);
	assert_string_equal(M_STATIC->ks_shortdesc, "static");
	assert_int_equal(M_STATIC->ks_magic, 877983977);
	kfree(p, M_STATIC);
}

static void
t15_a_type_is_used_before_its_constructor_ran(void **state)
{
	(void)state;
	assert_non_null(early);
	assert_int_equal(stats_of(M_LATE).inuse, 1);
	assert_int_equal(malloc_type_register(M_LATE), 0);
	kfree(early, M_LATE);
	assert_int_equal(stats_of(M_LATE).inuse, 0);
}

struct count {
	const char *name;
	unsigned n;
};

static void
count(struct malloc_type *type, void *arg)
{
	struct count *c = arg;

	c->n += strcmp(type->ks_shortdesc, c->name) == 0;
}

static unsigned
registered(const char *name)
{
	struct count c = {name, 0};

	malloc_type_list(count, &c);
	return (c.n);
}

static void
t15_two_types_of_one_name_are_two(void **state)
{
	void *p = kmalloc(100, M_TWIN_1, M_WAITOK);
	(void)state;

	assert_int_equal(registered("twin"), 2);
	assert_int_equal(stats_of(M_TWIN_1).inuse, 1);
	assert_int_equal(stats_of(M_TWIN_2).inuse, 0);
	kfree(p, M_TWIN_1);
}

/* What the destructor of an object that is unloaded does. */
static void
lose_a_type_with_memory(void *arg)
{
	static struct malloc_type lost[1] = {{NULL, M_MAGIC, "lost", NULL}};
	void *p, *q;
	(void)arg;

	CHILD_CHECK(malloc_type_register(lost) == 0);
	CHILD_CHECK(registered("lost") == 1);
	p = kmalloc(100, lost, M_WAITOK);
	q = contigmalloc(PAGE, lost, 0, 0, NO_LIMIT, 1, 0);
	malloc_type_unregister(lost);
	CHILD_CHECK(registered("lost") == 0);
	CHILD_CHECK(lost->ks_handle == NULL);
	/* Its name has gone with it; what it has is known by the pool. */
	memset(lost, 0xff, sizeof(lost));
	contigfree(q, PAGE, M_DEVBUF);
	CHILD_CHECK(stats_of(M_DEVBUF).inuse == 0);
	(void)p;
}

static void
t15_a_type_that_is_lost_with_memory_is_reported_and_forgotten_last(void **state)
{
	struct child c;
	(void)state;

	child_run(&c, lose_a_type_with_memory, NULL);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	assert_string_equal(c.c_stderr,
	    "quarry: malloc type lost is unregistered with 4208 bytes in 2 "
	    "blocks\n");
}

/* What destructors of an object do that run after that of the type. */
static void
free_what_a_lost_type_has(void *arg)
{
	static struct malloc_type lost[1] = {{NULL, M_MAGIC, "lost", NULL}};
	static struct malloc_type copy[1];
	void *p, *q, *r;
	(void)arg;

	CHILD_CHECK(malloc_type_register(lost) == 0);
	p = kmalloc(100, lost, M_WAITOK);
	q = contigmalloc(PAGE, lost, 0, 0, NO_LIMIT, 1, 0);
	r = kmalloc(200, lost, M_WAITOK);
	malloc_type_unregister(lost);
	kfree(p, lost);
	contigfree(q, PAGE, lost);
	p = krealloc(r, 150, lost, M_WAITOK);
	CHILD_CHECK(p == r);
	kfree(r, lost);
	/* It is about to be unmapped: nothing may lead to it. */
	CHILD_CHECK(registered("lost") == 0 && lost->ks_handle == NULL);
	memcpy(copy, lost, sizeof(copy));
	memset(lost, 0xff, sizeof(lost));
	CHILD_CHECK(malloc_type_register(M_DEVBUF) == 0);
	CHILD_CHECK(registered("devbuf") == 1);
	memcpy(lost, copy, sizeof(lost));
	CHILD_CHECK(stats_of(lost).inuse == 0 && stats_of(lost).requests == 0);
}

static void
t15_memory_of_a_type_that_is_lost_is_freed_by_its_name(void **state)
{
	struct child c;
	(void)state;

	child_run(&c, free_what_a_lost_type_has, NULL);
	assert_string_equal(c.c_stderr,
	    "quarry: malloc type lost is unregistered with 4416 bytes in 3 "
	    "blocks\n");
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
}

/* What an object does that is unloaded with memory, and loaded again. */
static void
use_a_type_anew(void *arg)
{
	static struct malloc_type lost[1] = {{NULL, M_MAGIC, "lost", NULL}};
	static struct malloc_type *const same = lost;
	void *p, *q;
	(void)arg;

	CHILD_CHECK(malloc_type_register(lost) == 0);
	p = kmalloc(100, lost, M_WAITOK);
	malloc_type_unregister(lost);
	/* Something else is loaded there. */
	lost->ks_shortdesc = "another";
	CHILD_CHECK(malloc_type_register(lost) == 0);
	CHILD_CHECK(stats_of(lost).inuse == 0);
	malloc_type_unregister(lost);
	lost->ks_shortdesc = "lost";
	q = arg == NULL ? kmalloc(100, lost, M_WAITOK) : NULL;
	if (arg != NULL)
		CHILD_CHECK(malloc_type_register(lost) == 0);
	CHILD_CHECK(registered("lost") == 1 && same->ks_handle != NULL);
	CHILD_CHECK(stats_of(lost).inuse == (q != NULL ? 2 : 1));
	kfree(p, lost);
	kfree(q, lost);
	CHILD_CHECK(stats_of(lost).inuse == 0 && registered("lost") == 1);
	malloc_type_unregister(lost);
	CHILD_CHECK(registered("lost") == 0);
}

static void
t15_a_type_that_comes_back_has_what_it_had(void **state)
{
	struct child c;
	(void)state;

	for (int explicitly = 0; explicitly < 2; explicitly++) {
		child_run(&c, use_a_type_anew, explicitly ? &c : NULL);
		assert_string_equal(c.c_stderr,
		    "quarry: malloc type lost is unregistered with 112 bytes "
		    "in 1 block\n");
		assert_int_equal(c.c_signal, 0);
		assert_int_equal(c.c_status, 0);
	}
}

/* As a plug-in that is loaded again and again. */
static void
registering_a_type_again_takes_no_memory(void **state)
{
	static struct malloc_type type[1] = {{NULL, M_MAGIC, "again", NULL}};
	size_t before = 0;
	(void)state;

	for (unsigned i = 0; i < 1000; i++) {
		if (i == 1)
			before = mallinfo2().uordblks;
		assert_int_equal(malloc_type_register(type), 0);
		malloc_type_unregister(type);
	}
	assert_int_equal(mallinfo2().uordblks, before);
}

/* With memory that nobody frees: its end is that of the process. */
static MALLOC_DEFINE(M_LEFT, "left", "has memory at exit");

static void
exit_with_memory(void *arg)
{
	(void)arg;
	CHILD_CHECK(kmalloc(100, M_LEFT, M_WAITOK) != NULL);
	exit(0);
}

static void
types_that_end_with_the_process_are_not_reported(void **state)
{
	struct child c;
	(void)state;

	(void)fflush(stdout);
	child_run(&c, exit_with_memory, NULL);
	assert_string_equal(c.c_stderr, "");
	assert_int_equal(c.c_status, 0);
}

static void
a_type_made_at_run_time_outlives_its_destruction_until_its_last_block(
    void **state)
{
	struct malloc_type *type = NULL, *same;
	char name[] = "made at run time, with a long name";
	struct malloc_type_stats st;
	void *p;
	(void)state;

	kmalloc_create(&type, name);
	memset(name, 'x', sizeof(name) - 1);
	assert_string_equal(
	    type->ks_shortdesc, "made at run time, with a long n");
	same = type;
	kmalloc_create(&type, "again");
	assert_ptr_equal(type, same);
	p = kmalloc(1000, type, M_WAITOK);
	assert_int_equal(registered("made at run time, with a long n"), 1);
	kmalloc_destroy(&type);
	assert_null(type);
	kmalloc_destroy(&type);
	assert_int_equal(registered("made at run time, with a long n"), 0);
	st = stats_of(same);
	assert_int_equal(st.inuse, 1);
	assert_int_equal(st.memuse, 1024);
	kfree(p, same);
}

static void
t16_names_of_flags_are_distinct_where_they_must_be(void **state)
{
	static const int bits[] = {M_NOWAIT, M_WAITOK, M_NORECLAIM, M_ZERO,
	    M_NOVM, M_USE_RESERVE, M_NODUMP, M_FIRSTFIT, M_BESTFIT, M_EXEC,
	    M_NEXTFIT, M_NEVERFREED, M_NULLOK, M_PASSIVE_ZERO,
	    M_USE_INTERRUPT_RESERVE, M_POWEROF2, M_CACHEALIGN};
	static const int freebsd[] = {0x1, 0x2, 0x80, 0x100, 0x200, 0x400,
	    0x800, 0x1000, 0x2000, 0x4000, 0x8000, 0x10000};
	static const int nowait[] = {
	    M_NOWAIT, M_RNOWAIT, M_SYSNOWAIT, M_INTNOWAIT};
	static const int wait[] = {M_WAITOK, M_SYSWAIT, M_INTWAIT, M_SYSALLOC};
	int seen = 0;
	(void)state;

	for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++) {
		assert_int_equal(bits[i] & (bits[i] - 1), 0);
		assert_int_equal(seen & bits[i], 0);
		seen |= bits[i];
	}
	assert_memory_equal(bits, freebsd, sizeof(freebsd));
	for (size_t i = 0; i < 4; i++) {
		assert_true((nowait[i] & M_NOWAIT) != 0);
		assert_int_equal(nowait[i] & (M_WAITOK | M_NODUMP | M_ZERO), 0);
		assert_true((wait[i] & M_WAITOK) != 0);
		assert_int_equal(wait[i] & (M_NOWAIT | M_NODUMP | M_ZERO), 0);
	}
}

static void
what_is_no_type_panics_by_name(void **state)
{
	struct malloc_type junk = {NULL, 0, "junk", NULL};
	struct malloc_type_stats st;
	char *p = kmalloc(10, M_STATIC, M_WAITOK);
	(void)state;

	panic_catch();
	assert_null(kmalloc(10, NULL, M_WAITOK));
	PANIC_EXPECT("kmalloc: malloc type 0x0 lacks magic");
	assert_int_equal(errno, EINVAL);
	panic_catch();
	kfree(p, &junk);
	PANIC_EXPECT("kfree: malloc type %p lacks magic", (void *)&junk);
	panic_catch();
	assert_int_equal(malloc_type_set_limit(&junk, 10), EINVAL);
	PANIC_EXPECT(
	    "malloc_type_set_limit: malloc type %p lacks magic", (void *)&junk);
	panic_catch();
	assert_int_equal(malloc_type_getstats(&junk, &st), EINVAL);
	PANIC_EXPECT(
	    "malloc_type_getstats: malloc type %p lacks magic", (void *)&junk);
	panic_catch();
	assert_int_equal(malloc_type_register(&junk), EINVAL);
	PANIC_EXPECT(
	    "malloc_type_register: malloc type %p lacks magic", (void *)&junk);
	kfree(p, M_STATIC);
}

/* ---- threads ---- */

enum { BLOCKS = 2000 };
static void *blocks[BLOCKS];

static void *
free_half(void *arg)
{
	for (size_t i = (size_t)(uintptr_t)arg; i < BLOCKS; i += 2)
		kfree(blocks[i], M_LATE);
	return (NULL);
}

static void
t14_counts_agree_after_frees_by_other_threads(void **state)
{
	pthread_t a, b;
	(void)state;

	for (size_t i = 0; i < BLOCKS; i++)
		blocks[i] = kmalloc(1 + i, M_LATE, M_WAITOK);
	assert_int_equal(stats_of(M_LATE).inuse, BLOCKS);
	assert_int_equal(pthread_create(&a, NULL, free_half, (void *)0), 0);
	assert_int_equal(pthread_create(&b, NULL, free_half, (void *)1), 0);
	assert_int_equal(pthread_join(a, NULL), 0);
	assert_int_equal(pthread_join(b, NULL), 0);
	assert_int_equal(stats_of(M_LATE).inuse, 0);
	assert_int_equal(stats_of(M_LATE).memuse, 0);
}

static void
make_and_lose(struct malloc_type *type, void *arg)
{
	struct malloc_type *mine = NULL;
	(void)arg;
	(void)type;

	kmalloc_create(&mine, "inside");
	assert_non_null(mine);
	kmalloc_destroy(&mine);
}

static void
types_may_come_and_go_while_they_are_listed(void **state)
{
	(void)state;
	malloc_type_list(make_and_lose, NULL);
	assert_int_equal(registered("inside"), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t15_a_type_is_defined_in_any_way_and_used_at_once),
	    cmocka_unit_test(t15_a_type_is_used_before_its_constructor_ran),
	    cmocka_unit_test(t15_two_types_of_one_name_are_two),
	    cmocka_unit_test(
		t15_a_type_that_is_lost_with_memory_is_reported_and_forgotten_last),
	    cmocka_unit_test(
		t15_memory_of_a_type_that_is_lost_is_freed_by_its_name),
	    cmocka_unit_test(t15_a_type_that_comes_back_has_what_it_had),
	    cmocka_unit_test(registering_a_type_again_takes_no_memory),
	    cmocka_unit_test(types_that_end_with_the_process_are_not_reported),
	    cmocka_unit_test(
		a_type_made_at_run_time_outlives_its_destruction_until_its_last_block),
	    cmocka_unit_test(
		t16_names_of_flags_are_distinct_where_they_must_be),
	    cmocka_unit_test(what_is_no_type_panics_by_name),
	    cmocka_unit_test(t14_counts_agree_after_frees_by_other_threads),
	    cmocka_unit_test(types_may_come_and_go_while_they_are_listed),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
