/*
 * options_oracle.h - what variables of the environment mean, once more: the
 * values that come of them, and a complaint about each item that is wrong.
 */
#ifndef QR_OPTIONS_ORACLE_H
#define QR_OPTIONS_ORACLE_H

#include "umem/umem_class.h"
#include "umem/umem_debug.h"
#include "umem/umem_options.h"

#include "os/percpu.h"

#include <stdio.h>
#include <string.h>

enum { VARIABLES = 4, LINE_MAX = 1022, FRAMES = 250, CONTENTS = 2048 };

static const char *const variables[VARIABLES] = {
    "UMEM_OPTIONS", "UMEM_DEBUG", "UMEM_LOGGING", "QUARRY_OPTIONS"};

enum type { FLAG, BITS, NUMBER, SIZE, DETAIL, WORD, ADD, CLEAR, REMOVE, POOL };

struct known {
	int k_var;
	const char *k_name;
	enum type k_type;
	size_t k_at;       /* in struct umem_options */
	uint32_t k_bits;   /* of debug */
	uint64_t k_absent; /* DETAIL: the value when there is none, or 0 */
};

#define AT(field) offsetof(struct umem_options, field)

static const struct known known[] = {
    {0, "allocator", WORD, AT(policy), 0, 0},
    {0, "backend", WORD, AT(ignored), 0, 0},
    {0, "concurrency", NUMBER, AT(concurrency), 0, 0},
    {0, "max_contention", NUMBER, AT(contention), 0, 0},
    {0, "nomagazines", FLAG, AT(nomagazines), 0, 0},
    {0, "perthread_cache", SIZE, AT(ignored), 0, 0},
    {0, "reap_interval", NUMBER, AT(reap_interval), 0, 0},
    {0, "sbrk_minalloc", SIZE, AT(ignored), 0, 0},
    {0, "sbrk_pagesize", SIZE, AT(ignored), 0, 0},
    {0, "size_add", ADD, 0, 0, 0},
    {0, "size_clear", CLEAR, 0, 0, 0},
    {0, "size_remove", REMOVE, 0, 0, 0},
    {1, "allverbose", FLAG, AT(debug_verbose), 0, 0},
    {1, "audit", DETAIL, AT(frames), UMF_AUDIT, 0},
    {1, "checknull", BITS, 0, UMF_CHECKNULL, 0},
    {1, "contents", DETAIL, AT(contents), UMF_CONTENTS, 0},
    {1, "default", BITS, 0,
	UMF_AUDIT | UMF_CONTENTS | UMF_DEADBEEF | UMF_REDZONE, 0},
    {1, "firewall", SIZE, AT(firewall), UMF_FIREWALL, 0},
    {1, "guards", BITS, 0, UMF_DEADBEEF | UMF_REDZONE, 0},
    {1, "lite", BITS, 0, UMF_LITE, 0},
    {1, "maxverify", SIZE, AT(maxverify), 0, 0},
    {1, "mtbf", NUMBER, AT(mtbf), 0, 0},
    {1, "noabort", FLAG, AT(noabort), 0, 0},
    {1, "nosignal", BITS, 0, UMF_CHECKSIGNAL, 0},
    {1, "random", BITS, 0, UMF_RANDOMIZE, 0},
    {1, "verbose", FLAG, AT(debug_verbose), 0, 0},
    {2, "contents", DETAIL, AT(log_contents), UMF_CONTENTS, 65536},
    {2, "fail", DETAIL, AT(log_fail), 0, 65536},
    {2, "slab", DETAIL, AT(log_slab), 0, 65536},
    {2, "transaction", DETAIL, AT(log_transaction), 0, 65536},
    {3, "depot_max", SIZE, AT(depot_max), 0, 0},
    {3, "harden", FLAG, AT(harden), 0, 0},
    {3, "idle_max", SIZE, AT(idle_max), 0, 0},
    {3, "nothread", FLAG, AT(nothread), 0, 0},
    {3, "nowatch", FLAG, AT(nowatch), 0, 0},
    {3, "percpu", WORD, AT(percpu), 0, 0},
    {3, "physpool_size", POOL, 0, 0, 0},
    {3, "stats", FLAG, AT(stats), 0, 0},
    {3, "verbose", FLAG, AT(verbose), 0, 0},
};

enum { KNOWN = sizeof(known) / sizeof(known[0]) };

static const struct {
	size_t at;
	const char *word;
	uint64_t value;
} words[] = {
    {AT(policy), "instant", 0},
    {AT(policy), "best", VM_BESTFIT},
    {AT(policy), "first", VM_FIRSTFIT},
    {AT(policy), "next", VM_NEXTFIT},
    {AT(ignored), "mmap", 0},
    {AT(ignored), "sbrk", 0},
    {AT(percpu), "auto", PERCPU_AUTO},
    {AT(percpu), "cpu", PERCPU_CPU},
    {AT(percpu), "lock", PERCPU_LOCK},
};

enum { WORDS = sizeof(words) / sizeof(words[0]) };

struct oracle {
	struct umem_options o_opt;
	size_t o_pool;                         /* bytes of a physpool */
	bool o_class[UMEM_CLASS_MAX / 16 + 1]; /* of so many times 16; 0 is 8 */
	unsigned o_nclasses;
	const char *o_said; /* what is left of it */
	char o_want[LINE_MAX + 1];
};

/* A piece of text. */
struct piece {
	const char *p_text;
	size_t p_len;
};

static inline bool
is_blank(char c)
{
	return (c == ' ' || c == '\t');
}

static inline struct piece
piece_of(const char *from, const char *to)
{
	while (from < to && is_blank(*from))
		from++;
	while (from < to && is_blank(to[-1]))
		to--;
	return ((struct piece){from, (size_t)(to - from)});
}

static inline bool
piece_is(struct piece p, const char *word)
{
	return (
	    p.p_len == strlen(word) && strncmp(p.p_text, word, p.p_len) == 0);
}

/* ---- what is said ---- */

/* The next line is o_want, or begins with it. */
static inline bool
said(struct oracle *o, bool whole)
{
	size_t n = strlen(o->o_want);

	if (strncmp(o->o_said, o->o_want, n) != 0)
		return (false);
	if (!whole && n < LINE_MAX)
		return (true);
	if (o->o_said[n] != '\n')
		return (false);
	o->o_said += n + 1;
	return (true);
}

static inline bool
complains(struct oracle *o, int var, struct piece name, const char *what)
{
	(void)snprintf(o->o_want, sizeof(o->o_want), "quarry: %s: %.*s: %s",
	    variables[var], (int)name.p_len, name.p_text, what);
	return (said(o, true));
}

/* With or without a guess, but that is the name of an option. */
static inline bool
does_not_know(struct oracle *o, int var, struct piece name)
{
	for (int i = -1; i < KNOWN; i++) {
		char guess[80] = "";

		if (i >= 0)
			(void)snprintf(guess, sizeof(guess),
			    "; did you mean %s=%s?", variables[known[i].k_var],
			    known[i].k_name);
		(void)snprintf(o->o_want, sizeof(o->o_want),
		    "quarry: %s: '%.*s' not recognized%s", variables[var],
		    (int)name.p_len, name.p_text, guess);
		if (said(o, true))
			return (true);
	}
	return (false);
}

/* ---- values ---- */

static inline const char *
number(struct piece p, uint64_t max, bool size, uint64_t *out)
{
	static const char letters[] = "kKmMgGtT";
	unsigned __int128 n = 0;
	bool overflow = false;
	size_t i = 0;

	for (; i < p.p_len && strchr("0123456789", p.p_text[i]) != NULL; i++) {
		n = n * 10 + (unsigned)(p.p_text[i] - '0');
		overflow = overflow || n > UINT64_MAX;
		if (overflow)
			n = 0;
	}
	if (overflow)
		return ("overflowed");
	if (i == 0)
		return ("not a number");
	if (size && i == p.p_len - 1 && strchr(letters, p.p_text[i]) != NULL) {
		n <<= 10 * ((strchr(letters, p.p_text[i]) - letters) / 2 + 1);
		i++;
	}
	if (i < p.p_len)
		return ("not a number");
	if (n > max)
		return ("overflowed");
	*out = (uint64_t)n;
	return (NULL);
}

static inline const char *
word(struct piece p, size_t at, uint64_t *out)
{
	for (int i = 0; i < WORDS; i++) {
		if (words[i].at == at && piece_is(p, words[i].word)) {
			*out = words[i].value;
			return (NULL);
		}
	}
	return (at == AT(policy)   ? "not one of instant, best, first, next"
		: at == AT(percpu) ? "not one of auto, cpu, lock"
				   : "not one of mmap, sbrk");
}

static inline const char *
class_add(struct oracle *o, uint64_t size)
{
	size_t at = size <= 8 ? 0 : (size + 15) / 16;

	if (size == 0 || size > UMEM_CLASS_MAX)
		return ("no size that can be added");
	if (o->o_class[at])
		return ("a size that is there already");
	if (o->o_nclasses == UMEM_CLASSES_MAX)
		return ("too many sizes");
	o->o_class[at] = true;
	o->o_nclasses++;
	return (NULL);
}

static inline void
class_clear(struct oracle *o)
{
	memset(o->o_class, 0, sizeof(o->o_class));
	o->o_class[0] = o->o_class[UMEM_CLASS_MAX / 16] = true;
	o->o_nclasses = 2;
}

static inline const char *
class_remove(struct oracle *o, uint64_t size)
{
	if (size < 16 || size % 16 != 0 || size >= UMEM_CLASS_MAX ||
	    !o->o_class[size / 16])
		return ("no size that can be removed");
	o->o_class[size / 16] = false;
	o->o_nclasses--;
	return (NULL);
}

/* ---- items ---- */

static inline uint64_t
most(const struct known *k)
{
	return (k->k_type == NUMBER ? UINT32_MAX
		: k->k_type == POOL ? SIZE_MAX / 8
				    : SIZE_MAX / 2);
}

/* What has a value, or should have; a complaint or NULL. */
static inline const char *
set_value(struct oracle *o, const struct known *k, const struct piece *value)
{
	uint64_t n = k->k_absent;
	const char *what = NULL;

	if (value == NULL && k->k_type != DETAIL)
		return ("Required value missing");
	if (value != NULL)
		what = k->k_type == WORD
		    ? word(*value, k->k_at, &n)
		    : number(*value, most(k),
			  k->k_type == SIZE || k->k_type == POOL ||
			      (k->k_type == DETAIL && k->k_at != AT(frames)),
			  &n);
	if (what != NULL)
		return (what);
	o->o_opt.debug |= k->k_bits;
	switch (k->k_type) {
	case ADD:
		return (class_add(o, n));
	case REMOVE:
		return (class_remove(o, n));
	case POOL:
		if (n == 0)
			return ("no size that a pool can have");
		o->o_pool = n;
		return (NULL);
	default:
		if (value != NULL || n != 0)
			memcpy((char *)&o->o_opt + k->k_at, &n, sizeof(n));
		return (NULL);
	}
}

static inline bool
oracle_item(struct oracle *o, int var, const char *from, const char *to)
{
	const char *eq = memchr(from, '=', (size_t)(to - from));
	struct piece name = piece_of(from, eq != NULL ? eq : to), value;
	const struct known *k = known;
	const char *what = NULL;

	if (piece_of(from, to).p_len == 0) {
		(void)snprintf(o->o_want, sizeof(o->o_want),
		    "quarry: %s: empty option", variables[var]);
		return (said(o, true));
	}
	while (k < known + KNOWN &&
	    (k->k_var != var || !piece_is(name, k->k_name)))
		k++;
	if (k == known + KNOWN)
		return (does_not_know(o, var, name));
	if (eq != NULL)
		value = piece_of(eq + 1, to);
	if (k->k_type != FLAG && k->k_type != BITS && k->k_type != CLEAR) {
		what = set_value(o, k, eq != NULL ? &value : NULL);
	} else {
		o->o_opt.debug |= k->k_bits;
		if (k->k_type == FLAG)
			*((char *)&o->o_opt + k->k_at) = true;
		else if (k->k_type == CLEAR)
			class_clear(o);
		if (eq != NULL)
			what = "does not take a value. ignored";
	}
	return (what == NULL || complains(o, var, name, what));
}

/* Whether all of that was said in this order. */
static inline bool
oracle_text(struct oracle *o, int var, const char *text)
{
	while (*text != '\0') {
		const char *to = text + strcspn(text, ",");

		if (!oracle_item(o, var, text, to))
			return (false);
		text = to + (*to == ',');
	}
	return (true);
}

static inline bool
bounded(struct oracle *o, const char *name, uint64_t *value, uint64_t most)
{
	if (*value <= most)
		return (true);
	*value = most;
	(void)snprintf(o->o_want, sizeof(o->o_want),
	    "quarry: UMEM_DEBUG: %s: %d at most", name, (int)most);
	return (said(o, true));
}

/* At the end of it all. */
static inline bool
oracle_end(struct oracle *o)
{
	if (!bounded(o, "audit", &o->o_opt.frames, FRAMES) ||
	    !bounded(o, "contents", &o->o_opt.contents, CONTENTS))
		return (false);
	o->o_want[0] = '\0';
	return (*o->o_said == '\0');
}

#endif /* QR_OPTIONS_ORACLE_H */
