/*
 * umem_look.c - what the caches and the heap hold, for tests.
 */
#include "support/umem_look.h"

#include "os/os.h"
#include "umem/umem_impl.h"
#include "vmem/vmem_heap.h"
#include "vmem/vmem_private.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool
look_cache(const char *name, struct umem_stat *us)
{
	struct umem_stat each;
	bool found = false;

	for (size_t i = 0; umem__stat_at(i, &each); i++) {
		if (strcmp(each.us_name, name) == 0) {
			*us = each;
			found = true;
		}
	}
	return (found);
}

void
look_check(void)
{
	qr_mutex_enter(&umem__list_lock);
	QR_LIST_FOREACH (cp, &umem__caches, struct umem_cache, cache_link)
		umem__slab_check(cp);
	qr_mutex_exit(&umem__list_lock);
	if (vmem__heap() != NULL)
		(void)vmem__check(vmem__heap());
	vmem__heap_check();
}

size_t
look_heap(void)
{
	struct vmem__heap_stat st;

	vmem__heap_stat(&st);
	return (st.used);
}

static size_t
statm(unsigned field)
{
	char text[128] = {0}, *at = text;
	int fd = open("/proc/self/statm", O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		abort();
	(void)close(fd);
	while (field-- > 0)
		at = strchr(at, ' ') + 1;
	return (strtoul(at, NULL, 10) * os_page_size());
}

size_t
look_resident(void)
{
	return (statm(1));
}

size_t
look_mapped(void)
{
	return (statm(0));
}

bool
look_flag(const void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	bool here = false, has = false;
	char line[512];

	if (f == NULL)
		abort();
	while (fgets(line, sizeof(line), f) != NULL) {
		uintptr_t from, to;

		if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
			here = from <= (uintptr_t)p && (uintptr_t)p < to;
		if (here && strncmp(line, "VmFlags:", 8) == 0)
			has = strstr(line, flag) != NULL;
	}
	(void)fclose(f);
	return (has);
}

bool
look_shadowed(void)
{
	return (look_mapped() >> 40 != 0);
}

bool
look_quick(void)
{
	return (getenv("QR_TEST_QUICK") != NULL);
}
