/*
 * deepbind.c - modules that look for their symbols in themselves and libc first
 * have the same malloc as the program, and find all else where they want it.
 *
 * FAMILY names the functions of malloc.
 */
#define _GNU_SOURCE 1 /* RTLD_DEFAULT, RTLD_DEEPBIND */

#include "check.h"
#include "late.h"

#include <dlfcn.h>
#include <errno.h>
#include <gnu/lib-names.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* The module has one of its own. */
const char *
plugin_whose(void)
{
	return ("program");
}

/* The program knows where it is, by its run path; libquarry_malloc does not. */
static void *
load(int mode)
{
	void *h = dlopen("plugin.so", RTLD_NOW | RTLD_LOCAL | mode);

	if (h == NULL)
		check_say(STDERR_FILENO, "%s\n", dlerror());
	CHECK(h != NULL);
	return (h);
}

static const char *
seen_by_module(int mode)
{
	void *h = load(mode);
	plugin_whose_t *sees;
	const char *whose;

	*(void **)&sees = dlsym(h, "plugin_sees");
	CHECK(sees != NULL);
	whose = strcmp(sees(), "program") == 0 ? "program" : "module";
	CHECK(dlclose(h) == 0);
	return (whose);
}

static void
modules_find_their_own_symbols_if_they_ask_for_that(void)
{
	CHECK(strcmp(seen_by_module(0), "program") == 0);
	CHECK(strcmp(seen_by_module(RTLD_DEEPBIND), "module") == 0);
}

/* What one allocates the other frees, and what libc allocates both. */
static void
blocks_go_between_program_and_module(void)
{
	void *h = load(RTLD_DEEPBIND);
	char *made[PLUGIN_BLOCKS];
	plugin_make_t *make;
	plugin_take_t *take;

	*(void **)&make = dlsym(h, "plugin_make");
	*(void **)&take = dlsym(h, "plugin_take");
	CHECK(make != NULL && take != NULL);
	make(made);
	for (size_t i = 0; i < PLUGIN_BLOCKS; i++) {
		CHECK(made[i] != NULL && made[i][0] == 'p');
		free(made[i]);
	}
	CHECK(take(malloc(1000)) >= 1000);
	CHECK(take(strdup("from libc")) >= 10);
	make(made);
	for (size_t i = 0; i < PLUGIN_BLOCKS; i++)
		CHECK(take(made[i]) > 0);
	CHECK(dlclose(h) == 0);
}

static void *
libc_symbol(const char *name)
{
	void *h = dlopen(LIBC_SO, RTLD_LAZY | RTLD_NOLOAD);
	void *symbol;

	CHECK(h != NULL);
	symbol = dlsym(h, name);
	CHECK(dlclose(h) == 0);
	return (symbol);
}

static void
all_of_the_family_is_found_in_libc(void)
{
	char *family = strdup(getenv("FAMILY"));
	size_t n = 0;

	CHECK(libc_symbol("malloc") != dlsym(RTLD_DEFAULT, "malloc"));
	CHECK(dlclose(load(RTLD_DEEPBIND)) == 0);
	for (char *name = strtok(family, " \n"); name != NULL;
	     name = strtok(NULL, " \n")) {
		void *symbol = libc_symbol(name);

		if (symbol == NULL)
			continue;
		if (symbol != dlsym(RTLD_DEFAULT, name))
			check_say(STDERR_FILENO, "%s of libc\n", name);
		CHECK(symbol == dlsym(RTLD_DEFAULT, name));
		n++;
	}
	CHECK(n >= 15);
	CHECK(libc_symbol("strdup") == dlsym(RTLD_DEFAULT, "strdup"));
	free(family);
}

static void *
load_often(void *arg)
{
	for (int i = 0; i < 20; i++)
		blocks_go_between_program_and_module();
	return (arg);
}

static void
the_first_may_be_loaded_by_many_threads(void)
{
	pthread_t thread[8];

	for (size_t i = 0; i < 8; i++)
		CHECK(pthread_create(&thread[i], NULL, load_often, NULL) == 0);
	for (size_t i = 0; i < 8; i++)
		CHECK(pthread_join(thread[i], NULL) == 0);
}

/* Lines of /proc/self/maps that say libc is mapped, and may be written. */
static size_t
writable_parts_of_libc(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];
	size_t n = 0;

	CHECK(maps != NULL);
	while (fgets(line, sizeof(line), maps) != NULL)
		n += strstr(line, LIBC_SO) != NULL &&
		    strstr(line, " rw-p ") != NULL;
	CHECK(fclose(maps) == 0);
	return (n);
}

static void
libc_is_as_read_only_as_before(void)
{
	size_t before = writable_parts_of_libc();

	CHECK(dlclose(load(RTLD_DEEPBIND)) == 0);
	CHECK(writable_parts_of_libc() == before);
}

/* A page that was not writable stays so.  Memory comes in larger pieces. */
static void
forbid_writable_pages(void)
{
	struct sock_filter code[] = {
	    BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mprotect, 0, 5),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		offsetof(struct seccomp_data, args[1])),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)sysconf(_SC_PAGESIZE),
		0, 3),
	    BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
		offsetof(struct seccomp_data, args[2])),
	    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, PROT_WRITE, 0, 1),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES),
	    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
		_exit(0);
}

/* A module has libc's malloc then, as if we did nothing. */
static void
where_libc_cannot_be_led_to_us_modules_load_all_the_same(void)
{
	forbid_writable_pages();
	CHECK(strcmp(seen_by_module(RTLD_DEEPBIND), "module") == 0);
	CHECK(libc_symbol("malloc") != dlsym(RTLD_DEFAULT, "malloc"));
}

/* Each in a child of its own: the first such module changes the process. */
static void (*const alone[])(void) = {
    modules_find_their_own_symbols_if_they_ask_for_that,
    blocks_go_between_program_and_module,
    all_of_the_family_is_found_in_libc,
    the_first_may_be_loaded_by_many_threads,
    libc_is_as_read_only_as_before,
    where_libc_cannot_be_led_to_us_modules_load_all_the_same,
};

int
main(void)
{
	CHECK(quarry_version != NULL);
	for (size_t i = 0; i < sizeof(alone) / sizeof(alone[0]); i++)
		check_in_child(alone[i]);
	return (0);
}
