/*
 * quiet.h - what the library says on stderr does not drown what libFuzzer does.
 */
#ifndef QR_QUIET_H
#define QR_QUIET_H

#include <stdio.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The stderr that libFuzzer goes on using. */
static FILE *loud;

/* One more argument: libFuzzer copies stderr for itself, and closes it. */
int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static char flag[] = "-close_fd_mask=2";
	static char *more[256];

	loud = fdopen(dup(STDERR_FILENO), "w");
	for (int i = 0; i < *argc && i < 254; i++)
		more[i] = (*argv)[i];
	if (*argc < 254) {
		more[(*argc)++] = flag;
		*argv = more;
	}
	return (0);
}

#endif /* QR_QUIET_H */
