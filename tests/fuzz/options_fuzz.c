/*
 * options_fuzz.c - lines from libFuzzer are what the environment says: of
 * UMEM_OPTIONS, UMEM_DEBUG, UMEM_LOGGING, and the rest of QUARRY_OPTIONS.
 * Every value is what the oracle says it is, each item that is wrong is named
 * once, and nothing else is.
 *
 * vmem_fuzz.c tells how to run it for longer.
 */
#include "fuzz/options_oracle.h"
#include "fuzz/quiet.h"
#include "support/random.h"

#include "base/clients.h"

#include <stdlib.h>

enum { BYTES = 6000, FRESH = 4, SAID = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(
    uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);

extern char **environ;

/* An option, mostly one of that variable, or what looks like one. */
static size_t
fresh_item(char *text, size_t max, int var, uint64_t r)
{
	static const char *const forms[] = {"%s", "%s", "%s=%lu", "%s=%lu",
	    " %s = %luk", "%s=%luT", "%s=%lux", "%s=", "%sx", "=%s"};
	const struct known *k = &known[r % KNOWN];

	while (r >> 62 != 0 && k->k_var != var)
		k = k + 1 < known + KNOWN ? k + 1 : known;
	if (r >> 59 == 0)
		return ((size_t)snprintf(
		    text, max, "%s=%s", k->k_name, words[r / 64 % WORDS].word));
	return ((size_t)snprintf(text, max, forms[(r >> 32) % 10], k->k_name,
	    (r >> 36) % (UINT64_C(1) << (r >> 8) % 28)));
}

/* Some of the first variable, then some of the next. */
static size_t
fresh_text(char *text, size_t max, uint64_t seed)
{
	size_t len = 0;
	int var = 0;

	for (unsigned i = random_next(&seed) % 60; i > 0 && len + 1 < max;
	     i--) {
		bool next = random_next(&seed) % 8 == 0 && var + 1 < VARIABLES;

		len +=
		    fresh_item(text + len, max - len, var, random_next(&seed));
		if (len + 1 < max)
			text[len++] = next ? '\n' : ',';
		var += next;
	}
	return (len < max ? len : max);
}

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
	if (seed % FRESH == 0)
		return (fresh_text((char *)data, max, seed));
	/* One more item in front of the others. */
	if (seed % FRESH == 1 && size + 80 < max) {
		char text[80];
		uint64_t state = seed;
		size_t n =
		    fresh_item(text, sizeof(text), 0, random_next(&state));

		text[n++] = ',';
		memmove(data + n, data, size);
		memcpy(data, text, n);
		return (size + n);
	}
	return (LLVMFuzzerMutate(data, size, max));
}

/* The environment; the texts of its variables. */
static void
take_text(const uint8_t *data, size_t size, char *text[VARIABLES])
{
	static char all[VARIABLES][32 + BYTES];
	static char *env[VARIABLES + 1];

	for (int i = 0; i < VARIABLES; i++) {
		const uint8_t *end =
		    i + 1 < VARIABLES ? memchr(data, '\n', size) : NULL;
		size_t len = end != NULL ? (size_t)(end - data) : size;
		int head =
		    snprintf(all[i], sizeof(all[i]), "%s=", variables[i]);

		env[i] = all[i];
		text[i] = all[i] + head;
		memcpy(text[i], data, len);
		text[i][len] = '\0';
		len += end != NULL;
		data += len;
		size -= len;
	}
	environ = env;
}

/* The library's sizes are those again that it began with; the oracle's too. */
static void
classes_begin(struct oracle *o)
{
	static uint32_t first[UMEM_CLASS_SLOTS];

	if (first[UMEM_SLOT_8] == 0)
		memcpy(first, umem__classes.cl_size, sizeof(first));
	umem__class_clear();
	class_clear(o);
	for (unsigned s = UMEM_SLOT_8 + 1; s < umem__classes.cl_last; s++) {
		(void)umem__class_add(first[s]);
		(void)class_add(o, first[s]);
	}
}

/* Only what is there can be removed. */
static bool
classes_agree(struct oracle *o)
{
	for (uint64_t size = 16; size < UMEM_CLASS_MAX && o->o_nclasses > 2;
	     size += 16)
		if (o->o_class[size / 16] &&
		    (umem__class_remove(size) != NULL ||
			class_remove(o, size) != NULL))
			return (false);
	return (umem__class_add(16) == NULL && umem__class_add(32) == NULL);
}

static void
wrong(const struct oracle *o, const char *what)
{
	(void)fprintf(loud, "%s\nexpected: %s\nsaid: %.1100s\n", what,
	    o->o_want, o->o_said);
	(void)fflush(loud);
	abort();
}

/* Read it, and what is said of it. */
static void
read_options(int fd, char *heard)
{
	ssize_t n;

	if (ftruncate(fd, 0) != 0 || lseek(fd, 0, SEEK_SET) != 0)
		abort();
	umem__options_read();
	n = pread(fd, heard, SAID - 1, 0);
	if (n < 0)
		abort();
	heard[n] = '\0';
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct umem_options first;
	static char heard[SAID];
	static struct oracle o;
	static int fd = -1;
	size_t pool = qr_clients.physpool_size;
	char **env = environ, *text[VARIABLES];

	if (fd < 0) {
		FILE *f = tmpfile();

		fd = f == NULL ? -1 : fileno(f);
		if (fd < 0 || dup2(fd, STDERR_FILENO) < 0 || !umem__init())
			abort();
		first = umem__opt;
	}
	o.o_opt = first;
	o.o_pool = pool;
	o.o_said = heard;
	classes_begin(&o);
	take_text(data, size < BYTES ? size : BYTES, text);
	read_options(fd, heard);
	environ = env;
	for (int i = 0; i < VARIABLES; i++)
		if (!oracle_text(&o, i, text[i]))
			wrong(&o, variables[i]);
	if (!oracle_end(&o))
		wrong(&o, "more is said than is wrong");
	if (memcmp(&o.o_opt, &umem__opt, sizeof(first)) != 0 ||
	    qr_clients.physpool_size != o.o_pool)
		wrong(&o, "other values");
	if (!classes_agree(&o))
		wrong(&o, "other sizes");
	umem__opt = first;
	qr_clients.physpool_size = pool;
	return (0);
}
