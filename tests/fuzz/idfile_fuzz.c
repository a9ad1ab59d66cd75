/*
 * idfile_fuzz.c - bytes from libFuzzer, with a true checksum behind them, are a
 * saved space.  It is refused, or it is letter by letter what that space is
 * saved as.
 *
 * vmem_fuzz.c tells how to run it for longer.
 */
#include "fuzz/quiet.h"

#include "base/crc.h"
#include "support/random.h"
#include "vmem/vmem_private.h"

#include <quarry/id_space.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FRESH = 4, LINES = 30 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(
    uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

/* Ascending runs, mostly inside of a few ranges. */
static size_t
fresh_text(char *text, size_t max, uint64_t seed)
{
	unsigned at = (unsigned)random_next(&seed) % 3000;
	size_t len = (size_t)snprintf(text, max,
	    "quarry-id-space 1\ncooldown %u\nnext %u\nrange %u %u\n",
	    (unsigned)(seed >> 40) % 3, at, at, at + 70000);

	for (unsigned i = random_next(&seed) % LINES; i > 0 && len < max; i--) {
		uint64_t r = random_next(&seed);
		unsigned first = at + (unsigned)(r % 90);

		at = first + (unsigned)(r >> 8) % (1u << (r >> 16) % 13);
		len += (size_t)snprintf(text + len, max - len, "%s %u %u\n",
		    r >> 60 == 0       ? "range"
			: r >> 60 < 10 ? "used"
				       : "resting",
		    first, at);
		at++;
	}
	return (len < max ? len : max);
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	if (seed % FRESH == 0)
		return (fresh_text((char *)data, max, seed));
	return (LLVMFuzzerMutate(data, size, max));
}

static bool
same(FILE *f, const char *text, size_t len)
{
	size_t i = 0;
	int c;

	rewind(f);
	while ((c = getc(f)) != EOF && i < len)
		if ((char)c != text[i++])
			return (false);
	return (c == EOF && i == len);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[32], text[1 << 17];
	size_t len = size < 1 << 16 ? size : 1 << 16;
	id_space_t *s;
	FILE *f;

	if (path[0] == '\0') {
		(void)strcpy(path, "/tmp/idfile_fuzz.XXXXXX");
		(void)close(mkstemp(path));
	}
	memcpy(text, data, len);
	len += (size_t)snprintf(
	    text + len, 32, "sum %08x\n", qr_crc32(0, text, len));
	f = fopen(path, "w");
	if (f == NULL || fwrite(text, 1, len, f) != len || fclose(f) != 0)
		abort();
	s = id_space_restore("fuzz", path);
	if (s == NULL)
		return (0);
	(void)vmem__check(s);
	if (id_space_save(s, path) != 0)
		abort();
	f = fopen(path, "r");
	if (f == NULL || !same(f, text, len))
		abort();
	(void)fclose(f);
	id_space_destroy(s);
	return (0);
}
