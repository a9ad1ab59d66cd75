/*
 * survive.h - each system call of an operation fails in turn.
 *
 * Every attempt has a process of its own, a child of one in which nothing was
 * allocated yet: so it is the first of its kind, with nothing to fall back on.
 * The operation fails or not; then nothing may be lost, and all must work.
 */
#ifndef QR_TEST_SURVIVE_H
#define QR_TEST_SURVIVE_H

#include "support/failsys.h"

#include <stdbool.h>

/*
 * An operation: o_do says whether it succeeded, and o_undo gives everything
 * back if so.  o_setup makes what it needs, before anything fails.
 */
struct survive_op {
	void (*o_setup)(void);
	bool (*o_do)(void);
	void (*o_undo)(void);
	bool o_must; /* it cannot fail */
};

/* Fail the running test unless it survives the failure of any such call. */
void survive_each(const struct survive_op *op, enum failsys call, bool lasting);
/* The same for the calls by which memory is had. */
void survive(const struct survive_op *op);

/*
 * One attempt, for child_run(): the child exits with SURVIVE_UNTOUCHED when
 * there were fewer calls.
 */
enum { SURVIVE_UNTOUCHED = 42 };
struct survive_attempt {
	const struct survive_op *a_op;
	struct shortage a_shortage;
};
void survive_attempt(void *attempt);

/*
 * What goes on and on after the call that failed: fn(struct shortage *) is to
 * arm it, and looks itself for what is lost.  In a child for each shortage.
 */
void survive_long(void (*fn)(void *shortage));

#endif /* QR_TEST_SURVIVE_H */
