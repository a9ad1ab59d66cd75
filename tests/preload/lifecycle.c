/*
 * lifecycle.c - malloc in every part of a process's life: in dlopen, in thread
 * exit, in atexit, in the last destructor.
 *
 * Linked with late_so.c, whose destructor is the last to speak.
 */
#define _GNU_SOURCE 1 /* RTLD_NEXT, on_exit */

#include "check.h"
#include "late.h"

#include <dlfcn.h>
#include <locale.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* ---- dlopen ---- */

static char *plugin_path;

static void
t92_a_plugin_loads_allocates_and_goes_while_its_blocks_stay(void)
{
	char *kept[PLUGIN_BLOCKS];

	for (int round = 0; round < 20; round++) {
		void *h = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL);
		plugin_make_t *make;
		plugin_take_t *take;

		if (h == NULL)
			(void)fprintf(stderr, "%s\n", dlerror());
		CHECK(h != NULL);
		*(void **)&make = dlsym(h, "plugin_make");
		*(void **)&take = dlsym(h, "plugin_take");
		CHECK(make != NULL && take != NULL);
		CHECK(take(malloc(1000)) >= 1000);
		make(kept);
		CHECK(dlclose(h) == 0);
		for (size_t i = 0; i < PLUGIN_BLOCKS; i++) {
			CHECK(kept[i] != NULL && kept[i][0] == 'p');
			free(kept[i]);
		}
	}
}

/* Thread-local storage of a plugin is allocated at its first use. */
static void *
use_plugin(void *arg)
{
	plugin_make_t *make = *(plugin_make_t **)arg;
	char *made[PLUGIN_BLOCKS];

	make(made);
	for (size_t i = 0; i < PLUGIN_BLOCKS; i++)
		free(made[i]);
	return (NULL);
}

static void
t92_threads_may_use_a_plugin_that_has_thread_local_storage(void)
{
	void *h = dlopen(plugin_path, RTLD_NOW | RTLD_LOCAL);
	plugin_make_t *make;
	pthread_t id[8];

	CHECK(h != NULL);
	*(void **)&make = dlsym(h, "plugin_make");
	CHECK(make != NULL);
	for (int round = 0; round < 10; round++) {
		for (size_t i = 0; i < 8; i++)
			CHECK(pthread_create(&id[i], NULL, use_plugin, &make) ==
			    0);
		for (size_t i = 0; i < 8; i++)
			CHECK(pthread_join(id[i], NULL) == 0);
	}
	CHECK(dlclose(h) == 0);
}

static void
t92_dlsym_and_dlerror_work(void)
{
	for (int i = 0; i < 100; i++) {
		CHECK(dlopen("/no/such/library.so", RTLD_NOW) == NULL);
		CHECK(strstr(dlerror(), "/no/such/library.so") != NULL);
		CHECK(dlsym(RTLD_DEFAULT, "no_such_symbol") == NULL);
		CHECK(strstr(dlerror(), "no_such_symbol") != NULL);
		CHECK(dlsym(RTLD_NEXT, "fopen") != NULL);
	}
}

static void
t92_what_dlsym_finds_is_the_same_malloc(void)
{
	void *(*m)(size_t);
	void (*f)(void *);

	*(void **)&m = dlsym(RTLD_DEFAULT, "malloc");
	*(void **)&f = dlsym(RTLD_DEFAULT, "free");
	CHECK(m != NULL && f != NULL);
	f(malloc(100));
	free(m(100));
	f(m(100000));
}

/* ---- threads ---- */

static pthread_key_t key;
static _Thread_local char *local;

/* Comes back until the C library gives up on it. */
static void
key_destructor(void *value)
{
	char *next = malloc(300);

	free(value);
	CHECK(next != NULL);
	memset(next, 'k', 300);
	CHECK(pthread_setspecific(key, next) == 0);
	free(local);
	local = malloc(77);
	CHECK(local != NULL);
	memset(local, 'l', 77);
}

static void *
leave_blocks_to_destructors(void *arg)
{
	(void)arg;
	local = malloc(50000);
	CHECK(local != NULL);
	CHECK(pthread_setspecific(key, malloc(1)) == 0);
	return (strdup("result"));
}

static void
t92_destructors_of_threads_may_allocate_and_free(void)
{
	CHECK(pthread_key_create(&key, key_destructor) == 0);
	for (int round = 0; round < 50; round++) {
		pthread_t id[4];
		void *result;

		for (size_t i = 0; i < 4; i++)
			CHECK(pthread_create(&id[i], NULL,
				  leave_blocks_to_destructors, NULL) == 0);
		for (size_t i = 0; i < 4; i++) {
			CHECK(pthread_join(id[i], &result) == 0);
			CHECK(strcmp(result, "result") == 0);
			free(result);
		}
	}
}

/* ---- the C library on top ---- */

static void
the_c_library_works(void)
{
	char *line = NULL;
	size_t room = 0;
	FILE *fp = tmpfile();

	CHECK(setlocale(LC_ALL, "C.UTF-8") != NULL);
	CHECK(fp != NULL);
	for (int i = 0; i < 5000; i++)
		CHECK(fprintf(fp, "%*d\n", i % 300 + 1, i) > 0);
	rewind(fp);
	for (int i = 0; i < 5000; i++)
		CHECK(getline(&line, &room, fp) > 0 && atoi(line) == i);
	free(line);
	CHECK(fclose(fp) == 0);
	for (int i = 0; i < 100; i++)
		CHECK(setenv("LIFECYCLE", i % 2 ? "a" : "longer", 1) == 0);
	CHECK(unsetenv("LIFECYCLE") == 0);
}

/* ---- the end ---- */

static char *for_exit;

static void
at_exit(void)
{
	CHECK(for_exit != NULL && for_exit[9999] == 'e');
	for_exit = realloc(for_exit, 300000);
	CHECK(for_exit != NULL && for_exit[9999] == 'e');
	free(malloc(100));
}

__attribute__((destructor)) static void
own_destructor(void)
{
	free(for_exit);
	free(calloc(100, 100));
}

static void
t92_what_runs_at_exit_may_allocate_and_free(void)
{
	for_exit = malloc(10000);
	CHECK(for_exit != NULL);
	memset(for_exit, 'e', 10000);
	CHECK(atexit(at_exit) == 0);
	CHECK(late_is_loaded());
}

static const struct check table[] = {
    CHECK_THAT(t92_a_plugin_loads_allocates_and_goes_while_its_blocks_stay),
    CHECK_THAT(t92_threads_may_use_a_plugin_that_has_thread_local_storage),
    CHECK_THAT(t92_dlsym_and_dlerror_work),
    CHECK_THAT(t92_what_dlsym_finds_is_the_same_malloc),
    CHECK_THAT(t92_destructors_of_threads_may_allocate_and_free),
    CHECK_THAT(the_c_library_works),
    CHECK_THAT(t92_what_runs_at_exit_may_allocate_and_free),
};

/* The plugin lies beside the program. */
int
main(int argc, char **argv)
{
	static char path[4096];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 16);

	CHECK(len > 0);
	path[len] = '\0';
	(void)strcpy(strrchr(path, '/'), "/plugin.so");
	plugin_path = path;
	return (
	    check_main(argc, argv, table, sizeof(table) / sizeof(table[0])));
}
