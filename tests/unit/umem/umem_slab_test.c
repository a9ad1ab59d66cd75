/*
 * umem_slab_test.c - where objects come from, and what is said of one that is
 * given back wrongly.
 */
#include "umem/umem_debug.h"
#include "umem/umem_impl.h"

#include "os/os.h"
#include "os/os_watch.h"
#include "support/again.h"
#include "support/child.h"
#include "support/cpus.h"
#include "support/failsys.h"
#include "support/umem_look.h"
#include "vmem/vmem_heap.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>
#include <quarry/vmem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 2000 };
static char *objs[MANY];

static int
end(void **state)
{
	(void)state;
	failsys_reset();
	look_check();
	return (0);
}

static umem_cache_t *
direct(const char *name, size_t size)
{
	umem_cache_t *cp = umem_cache_create(
	    name, size, 8, NULL, NULL, NULL, NULL, NULL, UMC_NOMAGAZINE);

	assert_non_null(cp);
	return (cp);
}

/* As many objects as fill n slabs. */
static size_t
fill_slabs(umem_cache_t *cp, size_t n)
{
	size_t count = n * cp->cache_nchunks;

	assert_in_range(count, 1, MANY);
	for (size_t i = 0; i < count; i++) {
		objs[i] = umem_cache_alloc(cp, 0);
		assert_non_null(objs[i]);
	}
	return (count);
}

static void
give_all(umem_cache_t *cp, size_t n)
{
	for (size_t i = 0; i < n; i++)
		umem_cache_free(cp, objs[i]);
}

/* ---- which object is next ---- */

static void
a_slab_is_used_up_from_its_lowest_address(void **state)
{
	umem_cache_t *cp = direct("low", 100);
	size_t n = fill_slabs(cp, 2);
	(void)state;

	for (size_t i = 1; i < n; i++) {
		if (i != cp->cache_nchunks)
			assert_ptr_equal(objs[i], objs[i - 1] + 104);
	}
	umem_cache_free(cp, objs[7]);
	umem_cache_free(cp, objs[3]);
	umem_cache_free(cp, objs[5]);
	assert_ptr_equal(umem_cache_alloc(cp, 0), objs[3]);
	assert_ptr_equal(umem_cache_alloc(cp, 0), objs[5]);
	assert_ptr_equal(umem_cache_alloc(cp, 0), objs[7]);
	give_all(cp, n);
	umem_cache_destroy(cp);
}

/*
 * So that two threads that get them, or that take one along to another CPU, do
 * not write to the same lines.
 */
static void
neighbours_are_not_handed_out_in_a_row(void **state)
{
	static const size_t sizes[] = {16, 24, 32, 40, 48, 64, 72, 80, 96, 120};
	(void)state;

	/* There are no magazines then. */
	if (os_watching())
		skip();
	for (size_t s = 0; s < QR_ARRAY_LEN(sizes); s++) {
		umem_cache_t *cp = umem_cache_create(
		    "row", sizes[s], 0, NULL, NULL, NULL, NULL, NULL, 0);
		uintptr_t line[2] = {1, 0}, last;
		size_t n = 100; /* less than a slab has */

		assert_non_null(cp);
		for (size_t i = 0; i < n; i++) {
			objs[i] = umem_cache_alloc(cp, UMEM_DEFAULT);
			assert_non_null(objs[i]);
			last = ((uintptr_t)objs[i] + sizes[s] - 1) / 64;
			if ((uintptr_t)objs[i] / 64 <= line[1] &&
			    last >= line[0])
				fail_msg("of %zu bytes: %p after %p, the %zuth",
				    sizes[s], (void *)objs[i],
				    (void *)objs[i - 1], i);
			line[0] = (uintptr_t)objs[i] / 64;
			line[1] = last;
		}
		give_all(cp, n);
		umem_cache_destroy(cp);
	}
}

/* So that the emptier one may become wholly free. */
static void
the_fuller_slab_is_used_first(void **state)
{
	umem_cache_t *cp = direct("fuller", 100);
	size_t n = fill_slabs(cp, 3), per = cp->cache_nchunks;
	(void)state;

	for (size_t i = 0; i < per - 1; i++)
		umem_cache_free(cp, objs[i]);
	umem_cache_free(cp, objs[per + 9]);
	for (size_t i = 2 * per; i < 2 * per + per / 2; i++)
		umem_cache_free(cp, objs[i]);

	assert_ptr_equal(umem_cache_alloc(cp, 0), objs[per + 9]);
	assert_ptr_equal(umem_cache_alloc(cp, 0), objs[2 * per]);
	umem_cache_free(cp, objs[2 * per]);
	for (size_t i = 2 * per; i < 2 * per + per / 2; i++)
		assert_ptr_equal(umem_cache_alloc(cp, 0), objs[i]);
	assert_ptr_equal(umem_cache_alloc(cp, 0), objs[0]);
	for (size_t i = 1; i < per - 1; i++)
		assert_ptr_equal(umem_cache_alloc(cp, 0), objs[i]);
	give_all(cp, n);
	umem_cache_destroy(cp);
}

/* Debugged, it is kept until then, so that it can be looked at. */
static void
a_slab_of_few_objects_that_is_free_goes_with_a_reap(void **state)
{
	size_t before = look_heap();
	(void)state;

	for (size_t size = 1000; size <= 300000; size *= 2) {
		umem_cache_t *cp = umem_cache_create("few", size, 0, NULL, NULL,
		    NULL, NULL, NULL, UMC_NOMAGAZINE | UMF_CHECKSIGNAL);

		umem_cache_free(cp, umem_cache_alloc(cp, 0));
		assert_true(look_heap() > before);
		umem_cache_reap_now(cp);
		assert_int_equal(look_heap(), before);
		umem_cache_destroy(cp);
	}
}

enum { EACH = 20 };

/* EACH objects for CPU 0 and for CPU 1, in turn. */
static void
draw_in_turn(umem_cache_t *cp, uintptr_t drawn[2][EACH])
{
	for (size_t i = 0; i < EACH; i++) {
		for (unsigned cpu = 0; cpu < 2; cpu++)
			assert_int_equal(
			    umem__slab_fill(cp, cpu, &drawn[cpu][i], 1), 1);
	}
}

static void
each_cpu_draws_on_a_slab_of_its_own(void **state)
{
	umem_cache_t *cp = direct("apart", 100);
	uintptr_t drawn[2][EACH];
	(void)state;

	draw_in_turn(cp, drawn);
	for (size_t i = 1; i < EACH; i++) {
		assert_int_equal(drawn[0][i] - drawn[0][i - 1], 104);
		assert_int_equal(drawn[1][i] - drawn[1][i - 1], 104);
	}
	look_check();
	umem__slab_drain(cp, drawn[0], EACH);
	umem__slab_drain(cp, drawn[1], EACH);
	umem_cache_destroy(cp);
}

static void
a_slab_drawn_on_takes_frees_and_is_given_back_by_a_reap(void **state)
{
	umem_cache_t *cp = direct("drawn", 100);
	size_t before = look_heap();
	uintptr_t drawn[2][EACH];
	(void)state;

	draw_in_turn(cp, drawn);
	umem__slab_drain(cp, &drawn[0][3], EACH - 3);
	assert_int_equal(look_heap() - before, 2 * cp->cache_slabsize);
	umem__slab_drain(cp, &drawn[0][0], 3);
	assert_int_equal(look_heap() - before, cp->cache_slabsize);
	/* CPU 0 has none now, and does not go to that of CPU 1 ... */
	assert_int_equal(umem__slab_fill(cp, 0, &drawn[0][0], 1), 1);
	assert_int_equal(look_heap() - before, 2 * cp->cache_slabsize);
	/* ... but after a reap it is anybody's. */
	umem__slab_drain(cp, &drawn[0][0], 1);
	umem_cache_reap_now(cp);
	assert_int_equal(umem__slab_fill(cp, 0, &drawn[0][0], 1), 1);
	assert_int_equal(look_heap() - before, cp->cache_slabsize);
	umem__slab_drain(cp, &drawn[0][0], 1);
	umem__slab_drain(cp, drawn[1], EACH);
	assert_int_equal(look_heap(), before);
	umem_cache_destroy(cp);
}

static void
where_there_is_no_other_slab_cpus_draw_on_the_same(void **state)
{
	vmem_t *few = vmem_create(
	    "few", (void *)0x1000, 512, 64, NULL, NULL, NULL, 0, VM_NOSLEEP);
	umem_cache_t *cp = umem_cache_create("shared", 64, 64, NULL, NULL, NULL,
	    NULL, few, UMC_NOTOUCH | UMC_NOMAGAZINE);
	uintptr_t drawn[9];
	(void)state;

	assert_non_null(cp);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(umem__slab_fill(cp, i, &drawn[i], 1), 1);
	assert_int_equal(umem__slab_fill(cp, 8, &drawn[8], 1), 0);
	look_check();
	umem__slab_drain(cp, drawn, 8);
	umem_cache_destroy(cp);
	vmem_destroy(few);
}

static void
the_last_free_of_a_slab_gives_it_back(void **state)
{
	umem_cache_t *cp = direct("last", 500);
	size_t before = look_heap();
	size_t n = fill_slabs(cp, 4), per = cp->cache_nchunks;
	(void)state;

	assert_int_equal(look_heap() - before, 4 * cp->cache_slabsize);
	for (size_t i = per; i < 2 * per - 1; i++)
		umem_cache_free(cp, objs[i]);
	assert_int_equal(look_heap() - before, 4 * cp->cache_slabsize);
	umem_cache_free(cp, objs[2 * per - 1]);
	assert_int_equal(look_heap() - before, 3 * cp->cache_slabsize);
	for (size_t i = per; i < 2 * per; i++)
		objs[i] = umem_cache_alloc(cp, 0);
	give_all(cp, n);
	assert_int_equal(look_heap(), before);
	umem_cache_destroy(cp);
}

static void
a_slab_wastes_at_most_an_eighth(void **state)
{
	(void)state;

	for (size_t size = 1; size < 3000000; size += size / 7 + 1) {
		umem_cache_t *cp = direct("waste", size);
		size_t used = cp->cache_nchunks * cp->cache_chunk;
		size_t waste = cp->cache_slabsize - used;

		assert_true(cp->cache_nchunks >= 1);
		/* A quantum holds only so many of the smallest. */
		if (cp->cache_chunk * 8 >= vmem__heap_quantum)
			assert_true(waste * 8 <= cp->cache_slabsize);
		else if (cp->cache_nchunks < 2048)
			assert_true(waste < qr_max(cp->cache_chunk,
						cp->cache_slabsize / 8 + 1));
		umem_cache_destroy(cp);
	}
}

/* ---- what is wrong, and how it is said ---- */

static umem_cache_t *here, *there;

/* What a child frees, and through which cache. */
struct bad {
	umem_cache_t *b_cache;
	void *b_obj;
	size_t b_times;
};

static void
free_badly(void *arg)
{
	const struct bad *b = arg;

	for (size_t i = 0; i < b->b_times; i++)
		umem_cache_free(b->b_cache, b->b_obj);
}

static void
complains(const struct bad *b, const char *what, const char *where)
{
	char message[512];

	(void)snprintf(message, sizeof(message),
	    "umem allocator: %s: buffer=0x%lx (%s), freed to cache %s", what,
	    (unsigned long)b->b_obj, where, b->b_cache->cache_name);
	child_expect_abort(free_badly, (void *)(uintptr_t)b, message);
}

static void
inside(char *p, char *object, const char *where)
{
	char what[128];

	(void)snprintf(what, sizeof(what),
	    "bad free: free address (%p) != alloc address (%p)", (void *)p,
	    (void *)object);
	complains(&(struct bad){here, p, 1}, what, where);
}

/* A bad free at the slab is named with all that is known of the pointer. */
static void
each_bad_free_is_named_when_it_reaches_the_slab(void **state)
{
	char *large, in_here[128], in_there[128], in_large[128];
	(void)state;

	here = direct("here", 100);
	there = direct("there", 100);
	objs[0] = umem_cache_alloc(here, 0);
	objs[1] = umem_cache_alloc(here, 0);
	objs[2] = umem_cache_alloc(there, 0);
	large = umem_alloc(1000000, 0);
	(void)snprintf(
	    in_here, sizeof(in_here), "cache here, slab %p", (void *)objs[0]);
	(void)snprintf(in_there, sizeof(in_there), "cache there, slab %p",
	    (void *)objs[2]);
	(void)snprintf(in_large, sizeof(in_large),
	    "mapping %p of 1000000 bytes", (void *)large);

	complains(&(struct bad){here, objs[0], 2},
	    "duplicate free: buffer freed twice", in_here);
	complains(&(struct bad){here, objs[0] + 208, 1},
	    "duplicate free: buffer freed twice", in_here);
	inside(objs[0] + 8, objs[0], in_here);
	inside(objs[0] + 2, objs[0], in_here);
	inside(objs[0] + 1, objs[0], in_here);
	complains(&(struct bad){here, objs[0] + here->cache_slabsize - 2, 1},
	    "invalid free: buffer not in cache", in_here);
	complains(&(struct bad){here, objs[2], 1},
	    "buffer freed to wrong cache", in_there);
	complains(&(struct bad){here, objs[2] + 1, 1},
	    "buffer freed to wrong cache", in_there);
	complains(&(struct bad){here, large, 1},
	    "invalid free: buffer not in cache", in_large);
	complains(&(struct bad){here, large + 64, 1},
	    "invalid free: buffer not in cache", in_large);
	complains(&(struct bad){here, (void *)(uintptr_t)&errno, 1},
	    "invalid free: buffer not in cache",
	    "not memory of this allocator");
	complains(&(struct bad){here, NULL, 1},
	    "invalid free: buffer not in cache",
	    "not memory of this allocator");
	complains(&(struct bad){here, (void *)UINTPTR_MAX, 1},
	    "invalid free: buffer not in cache",
	    "not memory of this allocator");
	complains(&(struct bad){here, (void *)((uintptr_t)1 << 63), 1},
	    "invalid free: buffer not in cache",
	    "not memory of this allocator");

	umem_free(large, 1000000);
	umem_cache_free(here, objs[0]);
	umem_cache_free(here, objs[1]);
	umem_cache_free(there, objs[2]);
	umem_cache_destroy(here);
	umem_cache_destroy(there);
}

static void
free_after_the_slab_has_gone(void *arg)
{
	umem_cache_t *cp = arg;
	void *p = umem_cache_alloc(cp, 0);

	umem_cache_free(cp, p);
	umem_cache_free(cp, p);
}

static void
a_free_into_a_slab_that_is_gone_is_an_invalid_one(void **state)
{
	umem_cache_t *cp = direct("gone", 100);
	(void)state;

	child_expect_abort_like(free_after_the_slab_has_gone, cp,
	    "umem allocator: invalid free: buffer not in cache: buffer=0x* "
	    "(heap, but not the start of a block in use), freed to cache gone");
	umem_cache_destroy(cp);
}

/* ---- with magazines: at once where it can be seen, else at the slab ---- */

static umem_cache_t *magazines;

static void
free_the_topmost_again(void *arg)
{
	void *p = umem_cache_alloc(magazines, 0);

	(void)arg;
	cpus_stay();
	umem_cache_free(magazines, p);
	umem_cache_free(magazines, p);
}

/* Another object in use keeps the slab, which can tell. */
static void
free_a_deeper_one_again(void *arg)
{
	void *p, *q;

	(void)arg;
	cpus_stay();
	(void)umem_cache_alloc(magazines, 0);
	p = umem_cache_alloc(magazines, 0);
	q = umem_cache_alloc(magazines, 0);
	umem_cache_free(magazines, p);
	umem_cache_free(magazines, q);
	umem_cache_free(magazines, p);
	umem_cache_reap_now(magazines);
}

static void
free_a_foreign_one(void *arg)
{
	umem_cache_free(magazines, arg);
	umem_cache_reap_now(magazines);
}

static void
a_magazine_hides_a_bad_free_until_the_slab_at_most(void **state)
{
	static char foreign[64] __attribute__((aligned(64)));
	(void)state;

	magazines = umem_cache_create(
	    "magazines", 64, 0, NULL, NULL, NULL, NULL, NULL, 0);
	objs[0] = umem_cache_alloc(magazines, 0);
	child_expect_abort_like(free_the_topmost_again, NULL,
	    "umem allocator: duplicate free: buffer freed twice: buffer=0x* "
	    "(cache magazines, slab 0x*), freed to cache magazines");
	child_expect_abort_like(free_a_deeper_one_again, NULL,
	    "umem allocator: duplicate free: buffer freed twice: buffer=0x* "
	    "(cache magazines, slab 0x*), freed to cache magazines");
	child_expect_abort_like(free_a_foreign_one, foreign,
	    "umem allocator: invalid free: buffer not in cache: buffer=0x* "
	    "(not memory of this allocator), freed to cache magazines");
	child_expect_abort_like(free_a_foreign_one, objs[0] + 16,
	    "umem allocator: bad free: free address (0x*) != alloc address "
	    "(0x*): buffer=0x* "
	    "(cache magazines, slab 0x*), freed to cache magazines");
	/* An odd word would be taken for a mark: it is seen at once. */
	child_expect_abort_like(free_a_foreign_one, objs[0] + 1,
	    "umem allocator: bad free: free address (0x*) != alloc address "
	    "(0x*): buffer=0x* "
	    "(cache magazines, slab 0x*), freed to cache magazines");
	umem_cache_free(magazines, objs[0]);
	umem_cache_destroy(magazines);
}

static void
free_misaligned(void *p)
{
	umem_free((char *)p + 4, 64);
}

static void
free_null_with_a_size(void *arg)
{
	(void)arg;
	umem_free(NULL, 64);
}

static void
a_misaligned_buffer_of_any_size_is_seen_at_once(void **state)
{
	void *p = umem_alloc(64, 0);
	(void)state;

	child_expect_abort_like(free_misaligned, p,
	    "umem allocator: bad free: free address (0x*) != alloc address "
	    "(0x*): buffer=0x* "
	    "(cache umem_alloc_64, slab 0x*), freed to cache umem_alloc_64");
	child_expect_abort_like(free_null_with_a_size, NULL,
	    "umem allocator: invalid free: buffer not in cache: buffer=0x0 "
	    "(not memory of this allocator), freed to cache umem_alloc_64");
	umem_free(p, 64);
}

/* ---- a report that returns ---- */

static unsigned complaints;
static char last_complaint[512];

static void
remember(const char *message)
{
	complaints++;
	(void)snprintf(last_complaint, sizeof(last_complaint), "%s", message);
}

static size_t destroyed;

static void
count_destroyed(void *buf, void *priv)
{
	(void)priv;
	assert_int_equal(*(int *)buf, 5);
	destroyed++;
}

/* Other objects, the counts, and the destructor do not notice. */
static void
a_bad_free_leaves_everything_as_it_was(void **state)
{
	struct umem_stat us;
	umem_cache_t *cp = umem_cache_create("hooked", 64, 0, NULL,
	    count_destroyed, NULL, NULL, NULL, UMC_NOMAGAZINE);
	int elsewhere[16] = {7};
	(void)state;

	(void)quarry_set_panic_hook(remember);
	complaints = 0;
	for (size_t i = 0; i < 10; i++) {
		objs[i] = umem_cache_alloc(cp, 0);
		*(int *)objs[i] = 5;
	}
	umem_cache_free(cp, objs[4]);
	*(int *)objs[4] = 6;
	umem_cache_free(cp, objs[4]);
	umem_cache_free(cp, objs[5] + 16);
	umem_cache_free(cp, elsewhere);
	umem_cache_free(cp, NULL);
	(void)quarry_set_panic_hook(NULL);

	assert_int_equal(complaints, 4);
	assert_int_equal(destroyed, 1);
	look_check();
	assert_true(look_cache("hooked", &us));
	assert_int_equal(us.us_inuse, 9);
	for (size_t i = 0; i < 10; i++)
		if (i != 4)
			umem_cache_free(cp, objs[i]);
	assert_int_equal(destroyed, 10);
	umem_cache_destroy(cp);
}

enum { GOOD = 600, BAD = 60, FLUSHED = GOOD + BAD };

/* In the order of their addresses, backwards, or in any. */
static void
arrange(uintptr_t *list, size_t n, int how)
{
	for (size_t i = 0; how == 1 && i < n / 2; i++) {
		uintptr_t other = list[n - 1 - i];

		list[n - 1 - i] = list[i];
		list[i] = other;
	}
	for (size_t i = n - 1; how == 2 && i > 0; i--) {
		size_t at = (size_t)rand() % (i + 1);
		uintptr_t other = list[at];

		list[at] = list[i];
		list[i] = other;
	}
}

/* What must not be freed, or no more, somewhere behind the `at` first. */
static uintptr_t
bad_one(const uintptr_t *list, size_t at, size_t i, uintptr_t foreign)
{
	const uintptr_t bad[] = {list[at - 1], list[0],
	    list[(size_t)rand() % at], list[at - 1] + 8, list[0] + 8, foreign,
	    (uintptr_t)&complaints, 0};

	return (bad[i % (sizeof(bad) / sizeof(bad[0]))]);
}

/* Magazines are flushed as lists, and what is wrong in them is left out. */
static void
a_list_with_bad_pointers_in_it_is_freed_but_for_those(void **state)
{
	umem_cache_t *cp = direct("flushed", 24);
	umem_cache_t *other = direct("foreign", 24);
	void *foreign = umem_cache_alloc(other, 0);
	uintptr_t kept, list[FLUSHED];
	(void)state;

	assert_int_equal(umem__slab_fill(cp, 0, &kept, 1), 1);
	for (int how = 0; how < 3; how++) {
		size_t n = GOOD;

		assert_int_equal(umem__slab_fill(cp, 0, list, n), n);
		arrange(list, n, how);
		for (size_t i = 0; i < BAD; i++, n++) {
			size_t at = 1 + (size_t)rand() % n;

			memmove(&list[at + 1], &list[at],
			    (n - at) * sizeof(list[0]));
			list[at] = bad_one(list, at, i, (uintptr_t)foreign);
		}
		complaints = 0;
		(void)quarry_set_panic_hook(remember);
		umem__slab_drain(cp, list, n);
		(void)quarry_set_panic_hook(NULL);
		assert_int_equal(complaints, BAD);
		assert_int_equal(cp->cache_inuse, 1);
		assert_int_equal(cp->cache_nslabs, 1);
		look_check();
	}
	umem__slab_drain(cp, &kept, 1);
	umem_cache_free(other, foreign);
	umem_cache_destroy(cp);
	umem_cache_destroy(other);
}

/* ---- every free checked ---- */

/* Run again by name, with the free to be caught. */
static void
checked_twice(void)
{
	void *p = umem_alloc(64, 0), *q = umem_alloc(64, 0);

	umem_free(p, 64);
	(void)q;
	umem_free(p, 64);
}

static void
checked_deeper(void)
{
	void *p = umem_alloc(64, 0), *q = umem_alloc(64, 0);
	void *r = umem_alloc(64, 0);

	umem_free(p, 64);
	umem_free(q, 64);
	(void)r;
	umem_free(p, 64);
}

static void
checked_interior(void)
{
	umem_free((char *)umem_alloc(64, 0) + 16, 64);
}

static void
checked_class(void)
{
	umem_free(umem_alloc(64, 0), 200);
}

static void
checked_foreign(void)
{
	static long foreign[32];

	umem_free(foreign, 64);
}

static void
checked_and_going_on(void)
{
	char *p = umem_alloc(64, 0), *q = umem_alloc(64, 0);
	struct umem_stat us;

	umem_free(p, 64);
	umem_free(p, 64);
	umem_free(q + 16, 64);
	CHILD_CHECK(look_cache("umem_alloc_64", &us) && us.us_inuse == 1);
	umem_free(q, 64);
	look_check();
}

struct checked {
	const char *c_part;
	const char *c_complaint;
};

static const struct checked checked[] = {
    {"checked_twice",
	"umem allocator: duplicate free: buffer freed twice: buffer=0x* "
	"(cache umem_alloc_64, slab 0x*), freed to cache umem_alloc_64"},
    {"checked_deeper",
	"umem allocator: duplicate free: buffer freed twice: buffer=0x* "
	"(cache umem_alloc_64, slab 0x*), freed to cache umem_alloc_64"},
    {"checked_interior",
	"umem allocator: bad free: free address (0x*) != alloc address (0x*): "
	"buffer=0x* "
	"(cache umem_alloc_64, slab 0x*), freed to cache umem_alloc_64"},
    {"checked_class",
	"umem allocator: buffer freed to wrong cache: buffer=0x* "
	"(cache umem_alloc_64, slab 0x*), freed to cache umem_alloc_208"},
    {"checked_foreign",
	"umem allocator: invalid free: buffer not in cache: buffer=0x* "
	"(not memory of this allocator), freed to cache umem_alloc_64"},
};

static void
guards_and_harden_see_each_bad_free_at_once(void **state)
{
	static const char *const how[] = {
	    "UMEM_DEBUG=guards", "QUARRY_OPTIONS=harden"};
	(void)state;

	for (size_t h = 0; h < 2; h++) {
		for (size_t i = 0; i < sizeof(checked) / sizeof(checked[0]);
		     i++) {
			struct again_run run = {checked[i].c_part, {how[h]}};

			child_expect_abort_like(
			    again_exec, &run, checked[i].c_complaint);
		}
	}
}

static void
t71_noabort_reports_and_goes_on(void **state)
{
	struct again_run run = {
	    "checked_and_going_on", {"UMEM_DEBUG=guards,noabort"}};
	struct child c;
	(void)state;

	child_run(&c, again_exec, &run);
	assert_int_equal(c.c_signal, 0);
	assert_int_equal(c.c_status, 0);
	assert_non_null(strstr(c.c_stderr,
	    "umem allocator: duplicate free: buffer freed twice: buffer=0x"));
	assert_non_null(
	    strstr(c.c_stderr, "umem allocator: bad free: free address (0x"));
}

#define TEST(test) cmocka_unit_test_teardown(test, end)

int
main(int argc, char **argv)
{
	static const struct again parts[] = {
	    {"checked_twice", checked_twice},
	    {"checked_deeper", checked_deeper},
	    {"checked_interior", checked_interior},
	    {"checked_class", checked_class},
	    {"checked_foreign", checked_foreign},
	    {"checked_and_going_on", checked_and_going_on},
	    {NULL, NULL},
	};
	const struct CMUnitTest tests[] = {
	    TEST(a_slab_is_used_up_from_its_lowest_address),
	    TEST(neighbours_are_not_handed_out_in_a_row),
	    TEST(the_fuller_slab_is_used_first),
	    TEST(a_slab_of_few_objects_that_is_free_goes_with_a_reap),
	    TEST(each_cpu_draws_on_a_slab_of_its_own),
	    TEST(a_slab_drawn_on_takes_frees_and_is_given_back_by_a_reap),
	    TEST(where_there_is_no_other_slab_cpus_draw_on_the_same),
	    TEST(the_last_free_of_a_slab_gives_it_back),
	    TEST(a_slab_wastes_at_most_an_eighth),
	    TEST(each_bad_free_is_named_when_it_reaches_the_slab),
	    TEST(a_free_into_a_slab_that_is_gone_is_an_invalid_one),
	    TEST(a_magazine_hides_a_bad_free_until_the_slab_at_most),
	    TEST(a_misaligned_buffer_of_any_size_is_seen_at_once),
	    TEST(a_bad_free_leaves_everything_as_it_was),
	    TEST(a_list_with_bad_pointers_in_it_is_freed_but_for_those),
	    TEST(guards_and_harden_see_each_bad_free_at_once),
	    TEST(t71_noabort_reports_and_goes_on),
	};

	again_main(argc, argv, parts);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
