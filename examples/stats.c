/*
 * stats.c - surviving a broken contract, and asking where the memory is.
 */
#include <quarry/quarry.h>
#include <quarry/umem.h>

#include <stdio.h>
#include <unistd.h>

static void
hook(const char *message)
{
	printf("refused: %s\n", message);
}

int
main(void)
{
	void *blocks[1000], *twice;
	vmem_t *ids = vmem_create(
	    "ids", (void *)1, 100, 1, NULL, NULL, NULL, 0, VM_NOSLEEP);

	printf("quarry %s\n", quarry_version());

	/* Without a hook the second free would end the program. */
	twice = vmem_alloc(ids, 1, VM_NOSLEEP);
	vmem_free(ids, twice, 1);
	(void)quarry_set_panic_hook(hook);
	vmem_free(ids, twice, 1);
	(void)quarry_set_panic_hook(NULL);

	for (int i = 0; i < 1000; i++)
		blocks[i] = umem_alloc(1000, UMEM_NOFAIL);
	fflush(stdout);
	if (quarry_stats_write(STDOUT_FILENO, "text") != 0)
		return (1);
	for (int i = 0; i < 1000; i++)
		umem_free(blocks[i], 1000);
	printf("\n%zu KiB given back\n", quarry_reap() / 1024);
	vmem_destroy(ids);
	return (0);
}
