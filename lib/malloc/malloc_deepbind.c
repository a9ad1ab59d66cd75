/*
 * malloc_deepbind.c - modules loaded with RTLD_DEEPBIND have our malloc too.
 *
 * The symbols of such a module are looked up in it and in what it is linked with
 * first, of which libc is one, and only then in what was preloaded.  It would
 * get libc's malloc, and give libc's free what others have from us.  So before
 * the first of them is loaded, the symbols of libc that are ours as well are
 * made to lead to us: whoever comes to libc for malloc ends here.  All else of
 * the module is found where it wants it.
 */
#define _GNU_SOURCE 1 /* dl_iterate_phdr, LIBC_SO */

#include "malloc/malloc_libc.h"

#include "base/bits.h"
#include "os/os.h"
#include "os/os_fork.h"

#include <gnu/lib-names.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

typedef void *dlopen_t(const char *file, int mode);

QR_EXPORT dlopen_t quarry_dlopen __asm__("dlopen");

/* Those of malloc.map that libc may have, one behind the other. */
static const char names[] = "aligned_alloc\0"
			    "calloc\0"
			    "free\0"
			    "free_aligned_sized\0"
			    "free_sized\0"
			    "mallinfo\0"
			    "mallinfo2\0"
			    "malloc\0"
			    "malloc_info\0"
			    "malloc_stats\0"
			    "malloc_trim\0"
			    "malloc_usable_size\0"
			    "mallopt\0"
			    "memalign\0"
			    "posix_memalign\0"
			    "pvalloc\0"
			    "realloc\0"
			    "reallocarray\0"
			    "valloc\0";

/* ---- the symbols of a module ---- */

struct symbols {
	uintptr_t sy_base; /* what their values are relative to */
	Elf64_Sym *sy_table;
	const char *sy_names;
	const uint32_t *sy_hash;
};

/* The dynamic linker has made addresses of what `dyn` has. */
static bool
symbols_of(struct symbols *sy, uintptr_t base, const Elf64_Dyn *dyn)
{
	*sy = (struct symbols){.sy_base = base};
	for (; dyn->d_tag != DT_NULL; dyn++) {
		uintptr_t at = dyn->d_un.d_ptr;

		switch (dyn->d_tag) {
		case DT_SYMTAB:
			sy->sy_table = (void *)at;
			break;
		case DT_STRTAB:
			sy->sy_names = (void *)at;
			break;
		case DT_GNU_HASH:
			sy->sy_hash = (void *)at;
			break;
		default:
			break;
		}
	}
	return (sy->sy_table != NULL && sy->sy_names != NULL &&
	    sy->sy_hash != NULL);
}

/* The symbol of that name, by the table of DT_GNU_HASH. */
static Elf64_Sym *
symbol_find(const struct symbols *sy, const char *name)
{
	struct {
		uint32_t gh_buckets, gh_first, gh_words, gh_shift;
	} gh;
	const uint32_t *bucket, *chain;
	uint32_t hash = 5381, i;

	for (const char *c = name; *c != '\0'; c++)
		hash = hash * 33 + (unsigned char)*c;
	memcpy(&gh, sy->sy_hash, sizeof(gh));
	bucket = sy->sy_hash +
	    (sizeof(gh) + gh.gh_words * sizeof(Elf64_Addr)) / sizeof(*bucket);
	chain = bucket + gh.gh_buckets;
	for (i = bucket[hash % gh.gh_buckets]; i != 0; i++) {
		if (strcmp(sy->sy_names + sy->sy_table[i].st_name, name) == 0)
			return (&sy->sy_table[i]);
		if ((chain[i - gh.gh_first] & 1) != 0)
			break;
	}
	return (NULL);
}

/* Others may look it up meanwhile. */
static void
symbol_lead(const struct symbols *sy, Elf64_Sym *sym, uintptr_t to)
{
	uintptr_t page =
	    qr_rounddown((uintptr_t)&sym->st_value, os_page_size());

	if (mprotect((void *)page, os_page_size(), PROT_READ | PROT_WRITE) != 0)
		return;
	__atomic_store_n(&sym->st_value, to - sy->sy_base, __ATOMIC_RELAXED);
	(void)mprotect((void *)page, os_page_size(), PROT_READ);
}

/* ---- from libc's to ours ---- */

struct search {
	struct symbols se_ours, se_libc;
	bool se_has_ours, se_has_libc;
};

static void
lead_to_us(const struct search *se)
{
	for (const char *name = names; *name != '\0';
	     name += strlen(name) + 1) {
		const Elf64_Sym *our = symbol_find(&se->se_ours, name);
		Elf64_Sym *sym = symbol_find(&se->se_libc, name);

		if (our != NULL && sym != NULL)
			symbol_lead(&se->se_libc, sym,
			    se->se_ours.sy_base + our->st_value);
	}
}

static bool
is_libc(const char *path)
{
	const char *slash = strrchr(path, '/');

	return (strcmp(slash == NULL ? path : slash + 1, LIBC_SO) == 0);
}

/*
 * One thread at a time is here, for the dynamic linker holds a lock that it does
 * not hold while constructors run.
 */
static int
look_at(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct search *se = arg;
	const Elf64_Dyn *dyn = NULL;
	(void)size;

	for (unsigned i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			dyn = (void *)(info->dlpi_addr +
			    info->dlpi_phdr[i].p_vaddr);
	}
	if (dyn == _DYNAMIC)
		se->se_has_ours =
		    symbols_of(&se->se_ours, info->dlpi_addr, dyn);
	else if (dyn != NULL && is_libc(info->dlpi_name))
		se->se_has_libc =
		    symbols_of(&se->se_libc, info->dlpi_addr, dyn);
	if (!se->se_has_ours || !se->se_has_libc)
		return (0);
	lead_to_us(se);
	return (1);
}

/* Their handlers of fork are for us to see, too: see malloc_atfork.c. */
static QR_COLD void
prepare(void)
{
	static atomic_bool prepared;
	struct search se = {0};

	if (atomic_load(&prepared))
		return;
	os_fork_arm();
	(void)dl_iterate_phdr(look_at, &se);
	atomic_store(&prepared, true);
}

/*
 * Follows dlopen(3), which looks at who has called it and must find our caller
 * there: nothing may follow the call, nor be on the stack.
 */
void *
quarry_dlopen(const char *file, int mode)
{
	dlopen_t *next;

	*(void **)&next = malloc__libc_symbol("dlopen");
	if ((mode & RTLD_DEEPBIND) != 0)
		prepare();
	return (next(file, mode));
}
