/*
 * umem_move_test.c - a large block that moves takes its contents along and
 * leaves nothing in memory.
 */
#include "base/bits.h"
#include "base/compiler.h"
#include "os/os.h"
#include "support/failsys.h"
#include "support/umem_look.h"
#include "umem/umem_impl.h"
#include "umem/umem_options.h"
#include "vmem/vmem_heap.h"

#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MIB ((size_t)1 << 20)

static int
begin(void **state)
{
	(void)state;
	/* It would purge what a slow run leaves idle for a second. */
	umem__opt.nothread = true;
	vmem__heap_set_idle_max(256 * MIB);
	(void)quarry_reap();
	return (0);
}

static int
end(void **state)
{
	struct vmem__heap_stat st;
	(void)state;

	failsys_reset();
	vmem__heap_stat(&st);
	assert_int_equal(st.blocks, 0);
	assert_int_equal(st.block_bytes, 0);
	vmem__heap_set_idle_max(16 * MIB);
	(void)quarry_reap();
	look_check();
	return (0);
}

static size_t
idle_bytes(void)
{
	struct vmem__heap_stat st;

	vmem__heap_stat(&st);
	return (st.idle_bytes);
}

static struct vmem__run *
block(size_t size)
{
	void *p = umem__large_alloc(size, 16, 0, NULL);
	struct vmem__run *run = vmem__run_find(HEAP_BLOCK, p);

	assert_non_null(run);
	return (run);
}

static unsigned char
byte_at(size_t i)
{
	return ((unsigned char)(i * 31 + i / 4096 + 1));
}

/* Everything that is free in the heap and reads as zero does. */
static void
check_zero(size_t most)
{
	for (size_t size = most; size >= most / 8; size /= 2) {
		unsigned char *p = umem_zalloc(size, UMEM_DEFAULT);

		assert_non_null(p);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		umem_free(p, size);
	}
}

/*
 * Move `size` bytes, where the system refuses to take the n-th part, if not 0;
 * how much more is idle then.
 */
static size_t
move(size_t size, unsigned long n)
{
	struct vmem__run *from = block(size), *to = block(2 * size);
	unsigned char *old = (void *)from->rn_addr;
	unsigned char *new = (void *)to->rn_addr;
	size_t before, idle;

	for (size_t i = 0; i < size; i++)
		old[i] = byte_at(i);
	/* What lies behind the block is nobody's, but not zero either. */
	memset(old + size, 0xff, from->rn_size - size);
	before = idle_bytes();
	if (n != 0)
		failsys_nth(FAILSYS_MADVISE, n, EINVAL);
	umem__large_move(new, from, size);
	failsys_reset();
	idle = idle_bytes() - before;
	for (size_t i = 0; i < size; i++)
		assert_int_equal(new[i], byte_at(i));
	vmem__run_free(to);
	return (idle);
}

static const size_t sizes[] = {
    MIB,
    MIB + 1,
    3 * MIB / 2,
    5 * MIB - 4096,
    9 * MIB + 17,
};

static void
it_is_in_memory_once(void **state)
{
	(void)state;
	for (size_t i = 0; i < QR_ARRAY_LEN(sizes); i++) {
		assert_int_equal(move(sizes[i], 0), 0);
		check_zero(sizes[i]);
	}
}

static void
what_the_system_does_not_take_is_idle(void **state)
{
	(void)state;
	for (size_t i = 0; i < QR_ARRAY_LEN(sizes); i++) {
		for (unsigned long n = 1; n < 4; n++) {
			assert_true(move(sizes[i], n) >= sizes[i]);
			check_zero(sizes[i]);
		}
	}
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(it_is_in_memory_once, begin, end),
	    cmocka_unit_test_setup_teardown(
		what_the_system_does_not_take_is_idle, begin, end),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
