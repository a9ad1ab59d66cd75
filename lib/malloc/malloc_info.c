/*
 * malloc_info.c - what glibc's programs ask of malloc beside memory.
 */
#include "malloc/malloc.h"

#include "umem/umem_impl.h"
#include "umem/umem_stats.h"

#include "vmem/vmem_heap.h"

#include <quarry/quarry.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>

/* Give idle memory back; 1 when there was any. */
int
malloc_trim(size_t pad)
{
	(void)pad;
	return (quarry_reap() != 0);
}

struct mallinfo2
mallinfo2(void)
{
	struct mallinfo2 mi = {0};
	struct umem_totals ut;

	if (!umem__init())
		return (mi);
	umem__totals(&ut);
	mi.arena = ut.ut_mapped - ut.ut_large;
	mi.ordblks = 1;
	mi.hblks = ut.ut_nlarge;
	mi.hblkhd = ut.ut_large;
	mi.fsmblks = ut.ut_cached;
	mi.uordblks = ut.ut_inuse - ut.ut_large;
	mi.fordblks = mi.arena - mi.uordblks;
	mi.keepcost = ut.ut_idle;
	return (mi);
}

static int
clamp(size_t n)
{
	return (n > INT_MAX ? INT_MAX : (int)n);
}

struct mallinfo
mallinfo(void)
{
	struct mallinfo2 wide = mallinfo2();
	struct mallinfo mi = {0};

	mi.arena = clamp(wide.arena);
	mi.ordblks = clamp(wide.ordblks);
	mi.hblks = clamp(wide.hblks);
	mi.hblkhd = clamp(wide.hblkhd);
	mi.fsmblks = clamp(wide.fsmblks);
	mi.uordblks = clamp(wide.uordblks);
	mi.fordblks = clamp(wide.fordblks);
	mi.keepcost = clamp(wide.keepcost);
	return (mi);
}

int
malloc_info(int options, FILE *fp)
{
	struct umem_totals ut;
	struct umem_stat us;

	if (options != 0 || fp == NULL || !umem__init()) {
		errno = EINVAL;
		return (-1);
	}
	umem__totals(&ut);
	fprintf(fp, "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n");
	for (size_t i = 0; umem__stat_at(i, &us); i++)
		fprintf(fp,
		    "<size from=\"%zu\" to=\"%zu\" total=\"%zu\""
		    " count=\"%zu\"/>\n",
		    us.us_size, us.us_size,
		    (us.us_cached + us.us_free) * us.us_size,
		    us.us_cached + us.us_free);
	fprintf(fp,
	    "</sizes>\n"
	    "<total type=\"fast\" count=\"0\" size=\"%zu\"/>\n"
	    "<total type=\"rest\" count=\"0\" size=\"%zu\"/>\n"
	    "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
	    "<system type=\"current\" size=\"%zu\"/>\n"
	    "</heap>\n</malloc>\n",
	    ut.ut_cached, ut.ut_free, ut.ut_nlarge, ut.ut_large, ut.ut_mapped);
	return (ferror(fp) ? -1 : 0);
}

void
malloc_stats(void)
{
	(void)quarry_stats_write(2, "text");
}

/*
 * The parameters of glibc's malloc steer mechanisms that are not here; they
 * are accepted, and only the trim threshold, as a cap on idle memory, acts.
 */
int
mallopt(int param, int value)
{
	switch (param) {
	case M_TRIM_THRESHOLD:
		if (value >= 0)
			vmem__heap_set_idle_max((size_t)value);
		return (1);
	case M_MXFAST:
	case M_TOP_PAD:
	case M_MMAP_THRESHOLD:
	case M_MMAP_MAX:
	case M_CHECK_ACTION:
	case M_PERTURB:
	case M_ARENA_TEST:
	case M_ARENA_MAX:
		return (1);
	default:
		return (0);
	}
}
