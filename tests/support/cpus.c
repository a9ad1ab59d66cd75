/*
 * cpus.c - on which CPUs a thread of a test runs.
 */
#define _GNU_SOURCE 1 /* CPU_SET, sched_getcpu */

#include "support/cpus.h"

#include <sched.h>

int __real_sched_getcpu(void);
int __wrap_sched_getcpu(void);

static __thread int pretended = -1;

int
__wrap_sched_getcpu(void)
{
	return (pretended >= 0 ? pretended : __real_sched_getcpu());
}

void
cpus_pretend(int cpu)
{
	pretended = cpu;
}

/* Those that the process began with. */
static cpu_set_t all;

__attribute__((constructor)) static void
look(void)
{
	(void)sched_getaffinity(0, sizeof(all), &all);
}

static void
pin(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	(void)sched_setaffinity(0, sizeof(one), &one);
}

void
cpus_stay(void)
{
	int cpu = sched_getcpu();

	pin(cpu < 0 ? 0 : cpu);
}

void
cpus_move(unsigned nth)
{
	int cpu = 0;

	nth %= (unsigned)CPU_COUNT(&all);
	while (!CPU_ISSET(cpu, &all) || nth-- > 0)
		cpu++;
	pin(cpu);
}

void
cpus_roam(void)
{
	(void)sched_setaffinity(0, sizeof(all), &all);
}
