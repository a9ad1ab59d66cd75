/*
 * behind.c - a program that finds libc before Quarry: the malloc is libc's, but
 * pools are Quarry's, and so is what they have to do in a child of fork.
 */
#include "check_pool.h"

int
main(void)
{
	check_pool_of_child();
	return (0);
}
