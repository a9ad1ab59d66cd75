/*
 * umem_options.c - one table: variable, name, type, target, help.
 *
 * An item is name or name=value; items are separated by commas, and blanks
 * around them are ignored.  A bad item is named on stderr, and the rest counts.
 */
#include "umem/umem_options.h"

#include "umem/umem_class.h"
#include "umem/umem_debug.h"

#include "base/bits.h"
#include "base/clients.h"
#include "base/panic.h"
#include "os/os.h"
#include "os/percpu.h"

#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

struct umem_options umem__opt = {
    .reap_interval = 10,
    .contention = 3,
    .frames = 15,
    .contents = 256,
    .maxverify = UINT64_MAX,
    .idle_max = (uint64_t)16 << 20,
    .depot_max = (uint64_t)8 << 20,
};

/* An audit takes at most half a page, and so do the contents of an object. */
enum { FRAMES_MAX = 250, CONTENTS_MAX = 2048, LOG_BYTES = 64 << 10 };

/* The environment variables, in the order in which they are read. */
enum var { VAR_OPTIONS, VAR_DEBUG, VAR_LOGGING, VAR_QUARRY, VARS };

static const char var_names[VARS][16] = {
    [VAR_OPTIONS] = "UMEM_OPTIONS",
    [VAR_DEBUG] = "UMEM_DEBUG",
    [VAR_LOGGING] = "UMEM_LOGGING",
    [VAR_QUARRY] = "QUARRY_OPTIONS",
};

enum opt_type {
	OPT_FLAG,   /* name alone: sets a bool, if there is a target */
	OPT_NUMBER, /* name=decimal */
	OPT_SIZE,   /* name=decimal with k, m, g or t */
	OPT_CHOICE, /* name=one of the words in op_choice */
};

/* The words of an OPT_CHOICE. */
enum choice { CHOICE_POLICY, CHOICE_BACKEND, CHOICE_FORM, CHOICES };

struct choice_word {
	char cw_word[8]; /* the last is empty */
	uint64_t cw_value;
};

static const struct choice_word choice_words[CHOICES][5] = {
    [CHOICE_POLICY] = {{"instant", 0}, {"best", VM_BESTFIT},
	{"first", VM_FIRSTFIT}, {"next", VM_NEXTFIT}},
    [CHOICE_BACKEND] = {{"mmap", 0}, {"sbrk", 0}},
    [CHOICE_FORM] = {{"auto", PERCPU_AUTO}, {"cpu", PERCPU_CPU},
	{"lock", PERCPU_LOCK}},
};

static const char choice_wrong[CHOICES][48] = {
    [CHOICE_POLICY] = "not one of instant, best, first, next",
    [CHOICE_BACKEND] = "not one of mmap, sbrk",
    [CHOICE_FORM] = "not one of auto, cpu, lock",
};

/* Who takes the value of an option that is not stored in umem__opt. */
enum taker {
	TAKER_NONE,
	TAKER_CLASS_ADD,
	TAKER_CLASS_CLEAR,
	TAKER_CLASS_REMOVE,
	TAKER_PHYSPOOL,
};

/* Without pointers, which would all be written when a process starts. */
struct opt {
	char op_name[16];
	enum var op_var;
	enum opt_type op_type;
	uint16_t op_target; /* in umem__opt, and 1; or 0 */
	enum choice op_choice;
	enum taker op_taker;
	bool op_optional; /* the value may be left out */
	uint32_t op_bits; /* set in umem__opt.debug */
	uint64_t op_max;
	uint64_t op_default; /* when left out, if not 0 */
};

#define TARGET(field) .op_target = offsetof(struct umem_options, field) + 1

/* Each begins with the variable and the name. */
#define OPTION(var, name, ...)                              \
	{                                                   \
		.op_var = var, .op_name = name, __VA_ARGS__ \
	}
#define FLAG(var, name, target) \
	OPTION(var, name, .op_type = OPT_FLAG, TARGET(target))
#define BITS(var, name, bits) \
	OPTION(var, name, .op_type = OPT_FLAG, .op_bits = (bits))
#define NUMBER(var, name, target)                                \
	OPTION(var, name, .op_type = OPT_NUMBER, TARGET(target), \
	    .op_max = UINT32_MAX)
#define SIZE(var, name, target)                                \
	OPTION(var, name, .op_type = OPT_SIZE, TARGET(target), \
	    .op_max = SIZE_MAX / 2)
#define CHOICE(var, name, target, choice)                        \
	OPTION(var, name, .op_type = OPT_CHOICE, TARGET(target), \
	    .op_choice = (choice))
#define TAKEN(var, name, type, taker, max)                        \
	OPTION(var, name, .op_type = (type), .op_taker = (taker), \
	    .op_max = (max))
/* A value that may be left out, when it is `value` or stays; and bits. */
#define DETAIL(var, name, type, target, bits, value)                        \
	OPTION(var, name, .op_type = (type), TARGET(target),                \
	    .op_max = SIZE_MAX / 2, .op_bits = (bits), .op_optional = true, \
	    .op_default = (value))

static const struct opt table[] = {
    CHOICE(VAR_OPTIONS, "allocator", policy, CHOICE_POLICY),
    CHOICE(VAR_OPTIONS, "backend", ignored, CHOICE_BACKEND),
    NUMBER(VAR_OPTIONS, "concurrency", concurrency),
    NUMBER(VAR_OPTIONS, "max_contention", contention),
    FLAG(VAR_OPTIONS, "nomagazines", nomagazines),
    SIZE(VAR_OPTIONS, "perthread_cache", ignored),
    NUMBER(VAR_OPTIONS, "reap_interval", reap_interval),
    SIZE(VAR_OPTIONS, "sbrk_minalloc", ignored),
    SIZE(VAR_OPTIONS, "sbrk_pagesize", ignored),
    TAKEN(VAR_OPTIONS, "size_add", OPT_NUMBER, TAKER_CLASS_ADD, SIZE_MAX / 2),
    TAKEN(VAR_OPTIONS, "size_clear", OPT_FLAG, TAKER_CLASS_CLEAR, 0),
    TAKEN(VAR_OPTIONS, "size_remove", OPT_NUMBER, TAKER_CLASS_REMOVE,
	SIZE_MAX / 2),
    FLAG(VAR_DEBUG, "allverbose", debug_verbose),
    DETAIL(VAR_DEBUG, "audit", OPT_NUMBER, frames, UMF_AUDIT, 0),
    BITS(VAR_DEBUG, "checknull", UMF_CHECKNULL),
    DETAIL(VAR_DEBUG, "contents", OPT_SIZE, contents, UMF_CONTENTS, 0),
    BITS(VAR_DEBUG, "default",
	UMF_AUDIT | UMF_CONTENTS | UMF_DEADBEEF | UMF_REDZONE),
    OPTION(VAR_DEBUG, "firewall", .op_type = OPT_SIZE, TARGET(firewall),
	.op_max = SIZE_MAX / 2, .op_bits = UMF_FIREWALL),
    BITS(VAR_DEBUG, "guards", UMF_DEADBEEF | UMF_REDZONE),
    BITS(VAR_DEBUG, "lite", UMF_LITE),
    SIZE(VAR_DEBUG, "maxverify", maxverify),
    NUMBER(VAR_DEBUG, "mtbf", mtbf),
    FLAG(VAR_DEBUG, "noabort", noabort),
    BITS(VAR_DEBUG, "nosignal", UMF_CHECKSIGNAL),
    BITS(VAR_DEBUG, "random", UMF_RANDOMIZE),
    FLAG(VAR_DEBUG, "verbose", debug_verbose),
    DETAIL(VAR_LOGGING, "contents", OPT_SIZE, log_contents, UMF_CONTENTS,
	LOG_BYTES),
    DETAIL(VAR_LOGGING, "fail", OPT_SIZE, log_fail, 0, LOG_BYTES),
    DETAIL(VAR_LOGGING, "slab", OPT_SIZE, log_slab, 0, LOG_BYTES),
    DETAIL(VAR_LOGGING, "transaction", OPT_SIZE, log_transaction, 0, LOG_BYTES),
    SIZE(VAR_QUARRY, "depot_max", depot_max),
    FLAG(VAR_QUARRY, "harden", harden),
    SIZE(VAR_QUARRY, "idle_max", idle_max),
    FLAG(VAR_QUARRY, "nothread", nothread),
    FLAG(VAR_QUARRY, "nowatch", nowatch),
    CHOICE(VAR_QUARRY, "percpu", percpu, CHOICE_FORM),
    TAKEN(VAR_QUARRY, "physpool_size", OPT_SIZE, TAKER_PHYSPOOL, SIZE_MAX / 8),
    FLAG(VAR_QUARRY, "stats", stats),
    FLAG(VAR_QUARRY, "verbose", verbose),
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
unknown(enum var var, struct word name)
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
		qr_warn("%s: '%.*s' not recognized; did you mean %s=%s?",
		    var_names[var], (int)name.w_len, name.w_text,
		    var_names[best->op_var], best->op_name);
	else
		qr_warn("%s: '%.*s' not recognized", var_names[var],
		    (int)name.w_len, name.w_text);
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
parse_choice(struct word w, enum choice choice, uint64_t *out)
{
	for (const struct choice_word *cw = choice_words[choice];
	     cw->cw_word[0] != '\0'; cw++) {
		if (word_is(w, cw->cw_word)) {
			*out = cw->cw_value;
			return (NULL);
		}
	}
	return (choice_wrong[choice]);
}

/* The value of an option that has one; a complaint or NULL. */
static const char *
parse_value(const struct opt *op, const struct word *value, uint64_t *out)
{
	if (value == NULL) {
		*out = op->op_default;
		return (op->op_optional ? NULL : "Required value missing");
	}
	if (op->op_type == OPT_CHOICE)
		return (parse_choice(*value, op->op_choice, out));
	return (parse_number(*value, op->op_type == OPT_SIZE, op->op_max, out));
}

/* A complaint or NULL. */
static const char *
taken(enum taker taker, uint64_t value)
{
	switch (taker) {
	case TAKER_CLASS_ADD:
		return (umem__class_add(value));
	case TAKER_CLASS_CLEAR:
		umem__class_clear();
		break;
	case TAKER_CLASS_REMOVE:
		return (umem__class_remove(value));
	case TAKER_PHYSPOOL:
		if (value == 0)
			return ("no size that a pool can have");
		qr_clients.physpool_size = value;
		break;
	case TAKER_NONE:
		break;
	}
	return (NULL);
}

static const char *
apply(const struct opt *op, const struct word *value)
{
	const char *complaint = NULL;
	uint64_t number = 0;
	void *target = (char *)&umem__opt + op->op_target - 1;

	if (op->op_type == OPT_FLAG) {
		if (value != NULL)
			complaint = "does not take a value. ignored";
	} else {
		complaint = parse_value(op, value, &number);
		if (complaint != NULL)
			return (complaint);
	}
	umem__opt.debug |= op->op_bits;
	if (op->op_taker != TAKER_NONE) {
		const char *refused = taken(op->op_taker, number);

		return (refused != NULL ? refused : complaint);
	}
	if (op->op_target == 0)
		return (complaint);
	if (op->op_type == OPT_FLAG)
		*(bool *)target = true;
	else if (value != NULL || number != 0)
		*(uint64_t *)target = number;
	return (complaint);
}

static void
item(enum var var, struct word w)
{
	const char *eq = memchr(w.w_text, '=', w.w_len);
	struct word name = w, value;
	const char *complaint;

	if (w.w_len == 0) {
		qr_warn("%s: empty option", var_names[var]);
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
			complaint =
			    apply(&table[i], eq != NULL ? &value : NULL);
			if (complaint != NULL)
				qr_warn("%s: %.*s: %s", var_names[var],
				    (int)name.w_len, name.w_text, complaint);
			return;
		}
	}
	unknown(var, name);
}

/* ---- where the words come from ---- */

/* What the program may define, if its functions are seen by the linker. */
extern const char *_umem_options_init(void) QR_WEAK;
extern const char *_umem_debug_init(void) QR_WEAK;
extern const char *_umem_logging_init(void) QR_WEAK;

/* What they said where the environment has nothing. */
static const char *answers[VARS];

static const char *
ask(enum var var)
{
	switch (var) {
	case VAR_OPTIONS:
		return (
		    _umem_options_init != NULL ? _umem_options_init() : NULL);
	case VAR_DEBUG:
		return (_umem_debug_init != NULL ? _umem_debug_init() : NULL);
	case VAR_LOGGING:
		return (
		    _umem_logging_init != NULL ? _umem_logging_init() : NULL);
	default:
		return (NULL);
	}
}

void
umem__options_ask(void)
{
	static _Atomic bool asked;

	if (atomic_exchange(&asked, true))
		return;
	for (enum var var = 0; var < VARS; var++) {
		if (os_getenv(var_names[var]) == NULL)
			answers[var] = ask(var);
	}
}

static QR_COLD void
text_read(enum var var, const char *text)
{
	while (*text != '\0') {
		struct word w = {text, strcspn(text, ",")};

		item(var, word_trim(w));
		text += w.w_len;
		text += *text == ',';
	}
}

/* What is more than can be is named too, and counts as the most. */
static void
bound(const char *name, uint64_t *value, uint64_t most)
{
	if (*value <= most)
		return;
	qr_warn("%s: %s: %llu at most", var_names[VAR_DEBUG], name,
	    (unsigned long long)most);
	*value = most;
}

void
umem__options_read(void)
{
	for (enum var var = 0; var < VARS; var++) {
		const char *text = os_getenv(var_names[var]);

		if (text == NULL)
			text = answers[var];
		if (text != NULL)
			text_read(var, text);
	}
	bound("audit", &umem__opt.frames, FRAMES_MAX);
	bound("contents", &umem__opt.contents, CONTENTS_MAX);
	qr_clients.debug = umem__opt.debug != 0;
}
