/*
 * unload.c - an object goes, and leaves memory of its malloc type behind.
 */
#include <quarry/contigmalloc.h>

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

static void
count(struct malloc_type *type, void *arg)
{
	*(int *)arg += strcmp(type->ks_shortdesc, "plugin") == 0;
}

static int
registered(void)
{
	int n = 0;

	malloc_type_list(count, &n);
	return (n);
}

int
main(int argc, char **argv)
{
	void *plugin = dlopen(argv[argc - 1], RTLD_NOW);
	void *(*take)(void);
	char why[1000];
	void *p;

	if (plugin == NULL)
		return (1);
	*(void **)&take = dlsym(plugin, "plugin_take");
	p = take();
	if (p == NULL || registered() != 1)
		return (2);
	(void)dlclose(plugin);
	if (registered() != 0)
		return (3);

	/* The type has gone, its name and count have not. */
	(void)contig_explain(
	    physpool_default(), 1, 0, 1 << 22, 1, 0, why, sizeof(why));
	if (strstr(why, "4096 bytes of plugin in 1 block\n") == NULL)
		return (4);
	contigfree(p, 100, M_TEMP);
	(void)contig_explain(
	    physpool_default(), 1, 0, 1 << 22, 1, 0, why, sizeof(why));
	return (strstr(why, "plugin") != NULL ? 5 : 0);
}
