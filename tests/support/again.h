/*
 * again.h - run this very program again, in an environment of its own.
 *
 * What the library reads once, when it is loaded, can only be tested so.
 */
#ifndef QR_TEST_AGAIN_H
#define QR_TEST_AGAIN_H

/* A part of the program that is run by name. */
struct again {
	const char *a_name;
	void (*a_fn)(void);
};

/*
 * First thing in main(): when the program was run by again_exec(), call the
 * function of that name and exit with 0.  `table` ends in a NULL name.
 */
void again_main(int argc, char **argv, const struct again *table);

/*
 * What again_exec() is to do, as the argument for child_run(): put the
 * variables NAME=VALUE into the environment and become `name`.
 */
struct again_run {
	const char *ar_name;
	const char *ar_env[6]; /* ends in NULL */
};

void again_exec(void *again_run);

#endif /* QR_TEST_AGAIN_H */
