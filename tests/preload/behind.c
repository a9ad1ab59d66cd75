/*
 * behind.c - a program that finds libc before Quarry: the malloc is libc's, but
 * pools are Quarry's, and so is what they have to do in a child of fork.
 */
#include "check.h"

#include <quarry/physpool.h>

#include <sys/wait.h>

int
main(void)
{
	physpool_t *pool = physpool_default();
	pid_t pid = fork();
	int status;

	CHECK(pool != NULL && pid != -1);
	if (pid == 0)
		_exit(physpool_default() == pool);
	CHECK(waitpid(pid, &status, 0) == pid && status == 0);
	return (0);
}
