/*
 * check_pool.h - what pools have to do in a child of fork, to see whether it is
 * done.
 */
#ifndef QR_TEST_CHECK_POOL_H
#define QR_TEST_CHECK_POOL_H

#include "check.h"

#include <quarry/physpool.h>

static physpool_t *check_parents_pool;

static void
check_has_another(void)
{
	CHECK(physpool_default() != check_parents_pool);
}

/* The default pool of a parent is not its child's. */
static void
check_pool_of_child(void)
{
	check_parents_pool = physpool_default();
	CHECK(check_parents_pool != NULL);
	check_in_child(check_has_another);
}

#endif /* QR_TEST_CHECK_POOL_H */
