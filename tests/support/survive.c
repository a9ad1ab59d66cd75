/*
 * survive.c - each system call of an operation fails in turn.
 */
#include "support/survive.h"

#include "support/child.h"
#include "support/umem_look.h"

#include <quarry/quarry.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static int
open_descriptors(void)
{
	int n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return (n);
}

void
survive_attempt(void *attempt)
{
	const struct survive_attempt *a = attempt;
	const struct survive_op *op = a->a_op;
	const struct shortage *s = &a->a_shortage;
	unsigned long calls;
	size_t before;
	bool ok;
	int descriptors;

	if (op->o_setup != NULL)
		op->o_setup();
	before = look_heap();
	descriptors = open_descriptors();
	failsys_arm(s);
	errno = 0;
	ok = op->o_do();
	calls = failsys_calls(s->s_call);
	failsys_reset();

	CHILD_CHECK(ok || (!op->o_must && calls >= s->s_n));
	CHILD_CHECK(ok || open_descriptors() == descriptors);
	look_check();
	for (int again = 0; again < 2; again++) {
		if (ok)
			op->o_undo();
		look_check();
		ok = op->o_do();
		CHILD_CHECK(ok);
	}
	op->o_undo();
	(void)quarry_reap();
	look_check();
	CHILD_CHECK(look_heap() <= before);
	CHILD_CHECK(open_descriptors() == descriptors);
	if (calls < s->s_n)
		_exit(SURVIVE_UNTOUCHED);
}

/* False when there are fewer such calls than n. */
static bool
survives(const struct survive_op *op, enum failsys call, unsigned long n,
    bool lasting)
{
	struct survive_attempt a = {op, {call, n, lasting}};
	struct child c;

	child_run(&c, survive_attempt, &a);
	if (c.c_signal != 0 ||
	    (c.c_status != 0 && c.c_status != SURVIVE_UNTOUCHED))
		fail_msg("call %d, the %lu-th%s: signal %d, status %d, %s",
		    call, n, lasting ? " and all others" : "", c.c_signal,
		    c.c_status, c.c_stderr);
	return (c.c_status == 0);
}

/* Each of the first and of the last; of those between some, alike as they are. */
void
survive_each(const struct survive_op *op, enum failsys call, bool lasting)
{
	unsigned long n = 1, passed = 0;

	while (survives(op, call, n, lasting)) {
		assert_in_range(n, 1, 50000);
		if (look_quick())
			return;
		passed = n;
		n += n < 32 ? 1 : n / 16;
	}
	while (++passed < n && survives(op, call, passed, lasting))
		continue;
}

void
survive(const struct survive_op *op)
{
	survive_each(op, FAILSYS_MMAP, true);
	if (look_quick())
		return;
	survive_each(op, FAILSYS_MMAP, false);
	survive_each(op, FAILSYS_RECORD, true);
	survive_each(op, FAILSYS_MUNMAP, true);
	if (look_shadowed())
		return;
	survive_each(op, FAILSYS_RECORD, false);
	survive_each(op, FAILSYS_MADVISE, true);
	survive_each(op, FAILSYS_MUNMAP, false);
	survive_each(op, FAILSYS_MADVISE, false);
	survive_each(op, FAILSYS_MPROTECT, true);
	survive_each(op, FAILSYS_OPEN, true);
}

/* There are few maps and many records, the later ones all alike. */
void
survive_long(void (*fn)(void *))
{
	static const struct {
		enum failsys call;
		unsigned long most;
	} of[] = {{FAILSYS_MMAP, 20}, {FAILSYS_RECORD, 1000}};
	unsigned long step = look_quick() ? 7 : look_shadowed() ? 3 : 1;

	for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
		for (unsigned long n = 1; n <= of[i].most;
		     n += n < 8 ? step : step * n / 2) {
			struct shortage s = {of[i].call, n, false};

			child_expect_exit(fn, &s, 0);
			s.s_lasting = true;
			child_expect_exit(fn, &s, 0);
		}
	}
}
