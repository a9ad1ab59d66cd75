/*
 * asleep.h - wait until another thread does.
 */
#ifndef QR_TEST_ASLEEP_H
#define QR_TEST_ASLEEP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static inline bool
asleep(pid_t tid)
{
	char name[64], text[512] = "";
	const char *state;
	FILE *f;

	(void)snprintf(name, sizeof(name), "/proc/self/task/%d/stat", (int)tid);
	f = fopen(name, "r");
	if (f == NULL)
		return (false);
	(void)fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	state = strrchr(text, ')');
	return (state != NULL && strncmp(state, ") S", 3) == 0);
}

/*
 * Return when the thread whose id is in *tidp, 0 until it runs, has slept for
 * some milliseconds: then it is where it sleeps for long.
 */
static inline void
wait_until_asleep(_Atomic pid_t *tidp)
{
	for (unsigned n = 0; n < 20;) {
		(void)usleep(1000);
		n = *tidp != 0 && asleep(*tidp) ? n + 1 : 0;
	}
}

#endif /* QR_TEST_ASLEEP_H */
