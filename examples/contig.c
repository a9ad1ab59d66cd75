/*
 * contig.c - a ring of descriptors and its buffers, for a device that reaches
 * the first 4 GiB and whose transfers must not cross 64 KiB.
 */
#include <quarry/contigmalloc.h>
#include <quarry/quarry.h>

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

static MALLOC_DEFINE(M_RING, "ring", "descriptors of the device");
static MALLOC_DEFINE(M_BUFFER, "buffer", "what descriptors point to");

enum { SLOTS = 8, BUFFER = 2048, WINDOW_MIB = 4096, BOUNDARY = 65536 };

/* As the device reads it. */
struct descriptor {
	uint32_t d_addr;
	uint16_t d_length;
	uint16_t d_flags;
};

static void *
take(physpool_t *pool, unsigned long size, struct malloc_type *type)
{
	const vm_paddr_t high = (vm_paddr_t)WINDOW_MIB << 20;
	void *p =
	    contigmalloc_pool(pool, size, type, M_ZERO, 0, high, 256, BOUNDARY);
	char why[1000];

	if (p == NULL) {
		(void)contig_explain(
		    pool, size, 0, high, 256, BOUNDARY, why, sizeof(why));
		printf("%s", why);
	}
	return (p);
}

int
main(void)
{
	/* 128 KiB around the end of what the device reaches. */
	struct physpool_attr attr = {.name = "device",
	    .base = ((vm_paddr_t)WINDOW_MIB << 20) - (64 << 10),
	    .size = 128 << 10,
	    .granule = 256};
	struct descriptor *ring;
	void *buffer[SLOTS];
	physpool_t *pool;

	if (physpool_create(&pool, &attr) != 0)
		return (1);
	ring = take(pool, SLOTS * sizeof(*ring), M_RING);
	if (ring == NULL)
		return (1);
	printf("ring     at %p, physical %#" PRIx64 "\n", (void *)ring,
	    vtophys(ring));
	for (int i = 0; i < SLOTS; i++) {
		buffer[i] = take(pool, BUFFER, M_BUFFER);
		if (buffer[i] == NULL)
			return (1);
		ring[i].d_addr = (uint32_t)vtophys(buffer[i]);
		ring[i].d_length = BUFFER;
		printf("buffer %d at %p, physical %#" PRIx32 "\n", i, buffer[i],
		    ring[i].d_addr);
	}

	/* This cannot be; the next line is the map, for a browser as "svg". */
	if (take(pool, BOUNDARY + 1, M_BUFFER) != NULL)
		return (1);
	fflush(stdout);
	if (physpool_map_write(pool, STDOUT_FILENO, "text") != 0)
		return (1);
	for (int i = 0; i < SLOTS; i++)
		contigfree(buffer[i], BUFFER, M_BUFFER);
	contigfree(ring, SLOTS * sizeof(*ring), M_RING);
	return (physpool_destroy(pool));
}
