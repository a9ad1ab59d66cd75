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

enum opt_type {
	OPT_FLAG,   /* name alone: sets a bool, if there is a target */
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
	uint32_t op_bits;    /* set in umem__opt.debug */
	bool op_optional;    /* the value may be left out */
	uint64_t op_default; /* it is this then, if not 0 */
	/* Called with the value instead of storing it; a complaint or NULL. */
	const char *(*op_call)(uint64_t value);
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

static const struct opt_choice backends[] = {
    {"mmap", 0},
    {"sbrk", 0},
    {NULL, 0},
};

/* Each begins with the variable and the name. */
#define OPTION(var, name, ...)                              \
	{                                                   \
		.op_var = var, .op_name = name, __VA_ARGS__ \
	}
#define FLAG(var, name, target) \
	OPTION(var, name, .op_type = OPT_FLAG, .op_target = &umem__opt.target)
#define BITS(var, name, bits) \
	OPTION(var, name, .op_type = OPT_FLAG, .op_bits = (bits))
#define NUMBER(var, name, target)                \
	OPTION(var, name, .op_type = OPT_NUMBER, \
	    .op_target = &umem__opt.target, .op_max = UINT32_MAX)
#define SIZE(var, name, target)                                                \
	OPTION(var, name, .op_type = OPT_SIZE, .op_target = &umem__opt.target, \
	    .op_max = SIZE_MAX / 2)
#define CHOICE(var, name, target, choice)        \
	OPTION(var, name, .op_type = OPT_CHOICE, \
	    .op_target = &umem__opt.target, .op_choice = (choice))
#define CLASS(var, name, type, call)                                 \
	OPTION(var, name, .op_type = (type), .op_max = SIZE_MAX / 2, \
	    .op_call = (call))
/* A value that may be left out, when it is `value` or stays; and bits. */
#define DETAIL(var, name, type, target, bits, value)                         \
	OPTION(var, name, .op_type = (type), .op_target = &umem__opt.target, \
	    .op_max = SIZE_MAX / 2, .op_bits = (bits), .op_optional = true,  \
	    .op_default = (value))

static const struct opt table[] = {
    CHOICE(var_options, "allocator", policy, policies),
    CHOICE(var_options, "backend", ignored, backends),
    NUMBER(var_options, "concurrency", concurrency),
    NUMBER(var_options, "max_contention", contention),
    FLAG(var_options, "nomagazines", nomagazines),
    SIZE(var_options, "perthread_cache", ignored),
    NUMBER(var_options, "reap_interval", reap_interval),
    SIZE(var_options, "sbrk_minalloc", ignored),
    SIZE(var_options, "sbrk_pagesize", ignored),
    CLASS(var_options, "size_add", OPT_NUMBER, umem__class_add),
    CLASS(var_options, "size_clear", OPT_FLAG, umem__class_clear),
    CLASS(var_options, "size_remove", OPT_NUMBER, umem__class_remove),
    FLAG(var_debug, "allverbose", debug_verbose),
    DETAIL(var_debug, "audit", OPT_NUMBER, frames, UMF_AUDIT, 0),
    BITS(var_debug, "checknull", UMF_CHECKNULL),
    DETAIL(var_debug, "contents", OPT_SIZE, contents, UMF_CONTENTS, 0),
    BITS(var_debug, "default",
	UMF_AUDIT | UMF_CONTENTS | UMF_DEADBEEF | UMF_REDZONE),
    OPTION(var_debug, "firewall", .op_type = OPT_SIZE,
	.op_target = &umem__opt.firewall, .op_max = SIZE_MAX / 2,
	.op_bits = UMF_FIREWALL),
    BITS(var_debug, "guards", UMF_DEADBEEF | UMF_REDZONE),
    BITS(var_debug, "lite", UMF_LITE),
    SIZE(var_debug, "maxverify", maxverify),
    NUMBER(var_debug, "mtbf", mtbf),
    FLAG(var_debug, "noabort", noabort),
    BITS(var_debug, "nosignal", UMF_CHECKSIGNAL),
    BITS(var_debug, "random", UMF_RANDOMIZE),
    FLAG(var_debug, "verbose", debug_verbose),
    DETAIL(var_logging, "contents", OPT_SIZE, log_contents, UMF_CONTENTS,
	LOG_BYTES),
    DETAIL(var_logging, "fail", OPT_SIZE, log_fail, 0, LOG_BYTES),
    DETAIL(var_logging, "slab", OPT_SIZE, log_slab, 0, LOG_BYTES),
    DETAIL(var_logging, "transaction", OPT_SIZE, log_transaction, 0, LOG_BYTES),
    SIZE(var_quarry, "depot_max", depot_max),
    FLAG(var_quarry, "harden", harden),
    SIZE(var_quarry, "idle_max", idle_max),
    FLAG(var_quarry, "nothread", nothread),
    FLAG(var_quarry, "nowatch", nowatch),
    CHOICE(var_quarry, "percpu", percpu, forms),
    OPTION(var_quarry, "physpool_size", .op_type = OPT_SIZE,
	.op_target = &qr_clients.physpool_size, .op_max = SIZE_MAX / 8),
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

static const char *
apply(const struct opt *op, const struct word *value)
{
	const char *complaint = NULL;
	uint64_t number = 0;

	if (op->op_type == OPT_FLAG) {
		if (value != NULL)
			complaint = "does not take a value. ignored";
	} else {
		complaint = parse_value(op, value, &number);
		if (complaint != NULL)
			return (complaint);
	}
	umem__opt.debug |= op->op_bits;
	if (op->op_call != NULL) {
		const char *refused = op->op_call(number);

		return (refused != NULL ? refused : complaint);
	}
	if (op->op_type == OPT_FLAG && op->op_target != NULL)
		*(bool *)op->op_target = true;
	else if (op->op_target != NULL && (value != NULL || number != 0))
		*(uint64_t *)op->op_target = number;
	return (complaint);
}

static void
item(const char *var, struct word w)
{
	const char *eq = memchr(w.w_text, '=', w.w_len);
	struct word name = w, value;
	const char *complaint;

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
			complaint =
			    apply(&table[i], eq != NULL ? &value : NULL);
			if (complaint != NULL)
				qr_warn("%s: %.*s: %s", var, (int)name.w_len,
				    name.w_text, complaint);
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

/* In the order in which they are read. */
static struct variable {
	const char *va_name;
	const char *(*va_ask)(void);
	const char *va_answer;
} variables[] = {
    {var_options, _umem_options_init, NULL},
    {var_debug, _umem_debug_init, NULL},
    {var_logging, _umem_logging_init, NULL},
    {var_quarry, NULL, NULL},
};

void
umem__options_ask(void)
{
	static _Atomic bool asked;

	if (atomic_exchange(&asked, true))
		return;
	for (unsigned i = 0; i < QR_ARRAY_LEN(variables); i++) {
		struct variable *va = &variables[i];

		if (va->va_ask != NULL && os_getenv(va->va_name) == NULL)
			va->va_answer = va->va_ask();
	}
}

static void
text_read(const char *var, const char *text)
{
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
	for (unsigned i = 0; i < QR_ARRAY_LEN(variables); i++) {
		const struct variable *va = &variables[i];
		const char *text = os_getenv(va->va_name);

		text_read(va->va_name, text != NULL ? text : va->va_answer);
	}
	umem__opt.frames = qr_min(umem__opt.frames, FRAMES_MAX);
	umem__opt.contents = qr_min(umem__opt.contents, CONTENTS_MAX);
}
