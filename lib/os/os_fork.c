/*
 * os_fork.c - what umem and its clients do around fork().
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "os/os_fork.h"

#include <pthread.h>
#include <stddef.h>

struct handlers {
	void (*h_prepare)(void);
	void (*h_done)(bool child);
};

atomic_bool os_fork__armed;

static struct handlers all[OS_FORK_ALL];

static void
before(void)
{
	for (unsigned who = 0; who < OS_FORK_ALL; who++)
		if (all[who].h_prepare != NULL)
			all[who].h_prepare();
}

static void
after(bool child)
{
	for (unsigned who = OS_FORK_ALL; who-- > 0;)
		if (all[who].h_done != NULL)
			all[who].h_done(child);
}

static void
in_parent(void)
{
	after(false);
}

static void
in_child(void)
{
	after(true);
}

void
os_fork_handle(
    enum os_fork_who who, void (*prepare)(void), void (*done)(bool child))
{
	all[who] = (struct handlers){prepare, done};
}

void
os_fork_arm(void)
{
	if (atomic_exchange(&os_fork__armed, true))
		return;
	(void)(os_fork_register != NULL
		? os_fork_register(before, in_parent, in_child)
		: pthread_atfork(before, in_parent, in_child));
}

static QR_CONSTRUCTOR void
load(void)
{
	if (os_fork_register == NULL)
		os_fork_arm();
}
