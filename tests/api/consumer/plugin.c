/*
 * plugin.c - an object with a malloc type, which unload.c loads and unloads.
 */
#include <quarry/contigmalloc.h>

static MALLOC_DEFINE(M_PLUGIN, "plugin", "memory of an object that goes");

void *plugin_take(void);

void *
plugin_take(void)
{
	return (contigmalloc(100, M_PLUGIN, M_ZERO, 0, 1 << 22, 1, 0));
}
