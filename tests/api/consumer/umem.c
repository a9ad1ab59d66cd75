/*
 * umem.c - a program over the headers in <quarry/>.
 */
#include <quarry/quarry.h>
#include <quarry/umem.h>
#include <quarry/vmem.h>

#include <stdio.h>
#include <string.h>

int
main(void)
{
	char *buf = umem_alloc(100, UMEM_DEFAULT);

	if (buf == NULL || strcmp(quarry_version(), EXPECT_VERSION) != 0)
		return (1);
	memset(buf, 'q', 100);
	umem_free(buf, 100);
	return (0);
}
