/*
 * umem_options.c - one table: variable, name, type, target, help.
 *
 * An item is name or name=value; items are separated by commas, and blanks
 * around them are ignored.  A bad item is named on stderr, and the rest counts.
 */
#include "umem/umem_options.h"

#include "base/bits.h"
#include "base/clients.h"
#include "base/panic.h"
#include "os/os.h"
#include "os/percpu.h"

#include <quarry/vmem.h>

#include <string.h>

struct umem_options umem__opt = {
    .reap_interval = 10,
    .idle_max = (uint64_t)16 << 20,
    .depot_max = (uint64_t)8 << 20,
};

enum opt_type {
	OPT_FLAG,   /* name alone: sets a bool */
	OPT_NUMBER, /* name=decimal */
	OPT_SIZE,   /* name=decimal with k, m, g or t */
	OPT_CHOICE, /* name=one of the words in op_choice */
};

struct opt_choice {
	const char *oc_word;
	uint64_t oc_value;
};

struct opt {
	const char *op_var;
	const char *op_name;
	enum opt_type op_type;
	void *op_target;
	uint64_t op_max;
	const struct opt_choice *op_choice;
};

static const struct opt_choice policies[] = {
    {"instant", 0},
    {"best", VM_BESTFIT},
    {"first", VM_FIRSTFIT},
    {"next", VM_NEXTFIT},
    {NULL, 0},
};

static const struct opt_choice forms[] = {
    {"auto", PERCPU_AUTO},
    {"cpu", PERCPU_CPU},
    {"lock", PERCPU_LOCK},
    {NULL, 0},
};

static const char var_options[] = "UMEM_OPTIONS";
static const char var_debug[] = "UMEM_DEBUG";
static const char var_logging[] = "UMEM_LOGGING";
static const char var_quarry[] = "QUARRY_OPTIONS";

#define FLAG(var, name, target)                                 \
	{                                                       \
		var, name, OPT_FLAG, &umem__opt.target, 0, NULL \
	}

static const struct opt table[] = {
    {var_options, "allocator", OPT_CHOICE, &umem__opt.policy, 0, policies},
    FLAG(var_options, "nomagazines", nomagazines),
    {var_options, "reap_interval", OPT_NUMBER, &umem__opt.reap_interval,
	UINT32_MAX, NULL},
    FLAG(var_debug, "guards", guards),
    FLAG(var_debug, "noabort", noabort),
    {var_quarry, "depot_max", OPT_SIZE, &umem__opt.depot_max, SIZE_MAX / 2,
	NULL},
    FLAG(var_quarry, "harden", harden),
    {var_quarry, "idle_max", OPT_SIZE, &umem__opt.idle_max, SIZE_MAX / 2, NULL},
    FLAG(var_quarry, "nothread", nothread),
    {var_quarry, "physpool_size", OPT_SIZE, &qr_clients.physpool_size,
	SIZE_MAX / 8, NULL},
    {var_quarry, "percpu", OPT_CHOICE, &umem__opt.percpu, 0, forms},
    FLAG(var_quarry, "stats", stats),
    FLAG(var_quarry, "verbose", verbose),
};

/* A piece of an environment variable. */
struct word {
	const char *w_text;
	size_t w_len;
};

static bool
word_is(struct word w, const char *text)
{
	return (
	    strlen(text) == w.w_len && memcmp(text, w.w_text, w.w_len) == 0);
}

static struct word
word_trim(struct word w)
{
	while (w.w_len > 0 && (*w.w_text == ' ' || *w.w_text == '\t')) {
		w.w_text++;
		w.w_len--;
	}
	while (w.w_len > 0 &&
	    (w.w_text[w.w_len - 1] == ' ' || w.w_text[w.w_len - 1] == '\t'))
		w.w_len--;
	return (w);
}

/* Letters to insert, delete, change or swap to get from one to the other. */
static size_t
distance(struct word a, const char *b)
{
	enum { MAX = 24 };
	size_t row[MAX + 1], blen = strlen(b);

	if (a.w_len > MAX || blen > MAX)
		return (MAX);
	for (size_t j = 0; j <= blen; j++)
		row[j] = j;
	for (size_t i = 1; i <= a.w_len; i++) {
		size_t diag = row[0];

		row[0] = i;
		for (size_t j = 1; j <= blen; j++) {
			size_t cost = diag + (a.w_text[i - 1] != b[j - 1]);

			diag = row[j];
			row[j] = qr_min(cost, qr_min(row[j], row[j - 1]) + 1);
		}
	}
	return (row[blen]);
}

/* An unknown name: say which known one, of any variable, comes nearest. */
static void
unknown(const char *var, struct word name)
{
	const struct opt *best = NULL;
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < QR_ARRAY_LEN(table); i++) {
		size_t d = distance(name, table[i].op_name) * 2 +
		    (table[i].op_var != var);

		if (d < least) {
			least = d;
			best = &table[i];
		}
	}
	if (best != NULL && least / 2 <= (name.w_len + 1) / 2)
		qr_warn("%s: '%.*s' not recognized; did you mean %s=%s?", var,
		    (int)name.w_len, name.w_text, best->op_var, best->op_name);
	else
		qr_warn("%s: '%.*s' not recognized", var, (int)name.w_len,
		    name.w_text);
}

/* Parse digits and, for sizes, a suffix; a complaint or NULL. */
static const char *
parse_number(struct word w, bool suffix, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;
	size_t i = 0;
	unsigned shift = 0;

	for (; i < w.w_len && w.w_text[i] >= '0' && w.w_text[i] <= '9'; i++) {
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(
			n, (unsigned)(w.w_text[i] - '0'), &n))
			return ("overflowed");
	}
	if (i == 0)
		return ("not a number");
	if (suffix && i + 1 == w.w_len) {
		static const char letters[] = "kmgt";
		const char *at = strchr(letters, w.w_text[i] | 0x20);

		if (at == NULL || *at == '\0')
			return ("not a number");
		shift = 10 * (unsigned)(at - letters + 1);
		i++;
	}
	if (i != w.w_len)
		return ("not a number");
	if (n > max >> shift)
		return ("overflowed");
	*out = n << shift;
	return (NULL);
}

static const char *
parse_choice(struct word w, const struct opt_choice *oc, uint64_t *out)
{
	for (; oc->oc_word != NULL; oc++) {
		if (word_is(w, oc->oc_word)) {
			*out = oc->oc_value;
			return (NULL);
		}
	}
	return ("no such choice");
}

static void
apply(const struct opt *op, struct word name, const struct word *value)
{
	const char *complaint = NULL;

	if (op->op_type == OPT_FLAG) {
		*(bool *)op->op_target = true;
		if (value != NULL)
			complaint = "does not take a value. ignored";
	} else if (value == NULL) {
		complaint = "Required value missing";
	} else if (op->op_type == OPT_CHOICE) {
		complaint = parse_choice(*value, op->op_choice, op->op_target);
	} else {
		complaint = parse_number(
		    *value, op->op_type == OPT_SIZE, op->op_max, op->op_target);
	}
	if (complaint != NULL)
		qr_warn("%s: %.*s: %s", op->op_var, (int)name.w_len,
		    name.w_text, complaint);
}

static void
item(const char *var, struct word w)
{
	const char *eq = memchr(w.w_text, '=', w.w_len);
	struct word name = w, value;

	if (w.w_len == 0) {
		qr_warn("%s: empty option", var);
		return;
	}
	if (eq != NULL) {
		name.w_len = (size_t)(eq - w.w_text);
		value.w_text = eq + 1;
		value.w_len = w.w_len - name.w_len - 1;
		value = word_trim(value);
		name = word_trim(name);
	}
	for (size_t i = 0; i < QR_ARRAY_LEN(table); i++) {
		if (table[i].op_var == var && word_is(name, table[i].op_name)) {
			apply(&table[i], name, eq != NULL ? &value : NULL);
			return;
		}
	}
	unknown(var, name);
}

static void
variable(const char *var)
{
	const char *text = os_getenv(var);

	while (text != NULL && *text != '\0') {
		struct word w = {text, strcspn(text, ",")};

		item(var, word_trim(w));
		text += w.w_len;
		text += *text == ',';
	}
}

void
umem__options_read(void)
{
	variable(var_options);
	variable(var_debug);
	variable(var_logging);
	variable(var_quarry);
}
