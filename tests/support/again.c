/*
 * again.c - run this very program again, in an environment of its own.
 */
#define _GNU_SOURCE 1 /* environ */

#include "support/again.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char option[] = "--again";

void
again_main(int argc, char **argv, const struct again *table)
{
	if (argc != 3 || strcmp(argv[1], option) != 0)
		return;
	for (; table->a_name != NULL; table++) {
		if (strcmp(table->a_name, argv[2]) == 0) {
			table->a_fn();
			exit(0);
		}
	}
	(void)dprintf(STDERR_FILENO, "no part is called %s\n", argv[2]);
	exit(99);
}

/* Not by /proc/self/exe itself: under Valgrind that is Valgrind. */
void
again_exec(void *again_run)
{
	const struct again_run *ar = again_run;
	char path[PATH_MAX] = {0}, name[64];
	char *argv[4] = {path, NULL, name, NULL};
	char flag[sizeof(option)];

	memcpy(flag, option, sizeof(option));
	argv[1] = flag;
	(void)snprintf(name, sizeof(name), "%s", ar->ar_name);
	for (unsigned i = 0; ar->ar_env[i] != NULL; i++) {
		char *copy = strdup(ar->ar_env[i]);

		if (copy == NULL || putenv(copy) != 0)
			_exit(99);
	}
	if (readlink("/proc/self/exe", path, sizeof(path) - 1) > 0)
		(void)execve(path, argv, environ);
	perror(path);
	_exit(99);
}
