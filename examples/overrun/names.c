/*
 * names.c - a program that knows nothing of Quarry, and has a bug.
 *
 * It keeps the words of its arguments, and forgets the NUL behind the last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *
keep(const char *word)
{
	size_t len = strlen(word);
	char *copy = malloc(len);

	if (copy == NULL)
		exit(1);
	memcpy(copy, word, len);
	copy[len] = '\0';
	return (copy);
}

static void
drop(char *copy)
{
	printf("%s\n", copy);
	free(copy);
}

int
main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		drop(keep(argv[i]));
	return (0);
}
