/*
 * cpus.h - on which CPUs a thread of a test runs.
 */
#ifndef QR_TEST_CPUS_H
#define QR_TEST_CPUS_H

/* Keep the calling thread on the CPU it is on: it sees the stacks of that. */
void cpus_stay(void);

/* Put it on the nth of those that the process began with, counted round. */
void cpus_move(unsigned nth);

/* Let it run on all of them. */
void cpus_roam(void);

/* Whoever in the calling thread asks is told this CPU; -1: the truth. */
void cpus_pretend(int cpu);

#endif /* QR_TEST_CPUS_H */
