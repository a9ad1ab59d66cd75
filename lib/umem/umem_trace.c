/*
 * umem_trace.c - stacks and times, for people.
 */
#include "umem/umem_trace.h"

#include "base/out.h"
#include "os/os_module.h"
#include "os/os_trace.h"

static void
build_id(struct qr_out *o, const struct os_module *om)
{
	if (om->om_idlen == 0)
		return;
	qr_out_printf(o, " (BuildId: ");
	for (unsigned i = 0; i < om->om_idlen; i++)
		qr_out_printf(o, "%02x", om->om_id[i]);
	qr_out_printf(o, ")");
}

/*
 * A return address is behind the call: one less is in it.  What is no code ends
 * the stack, where that can be found out; else there is the address alone.
 */
void
umem__trace_stack(struct qr_out *o, const uintptr_t *pcs, unsigned n)
{
	struct os_module om;

	for (unsigned i = 0; i < n; i++) {
		bool found = os_module_find(pcs[i] - 1, &om);

		if (!found && !om.om_unknown)
			break;
		qr_out_printf(o, "    #%u %p", i, (void *)(pcs[i] - 1));
		if (found)
			qr_out_printf(o, " (%s+0x%lx)", om.om_path,
			    (unsigned long)om.om_offset);
		build_id(o, &om);
		qr_out_printf(o, "\n");
	}
}

void
umem__trace_time(struct qr_out *o, uint64_t ticks)
{
	uint64_t ns = os_trace_ago(ticks);

	qr_out_printf(o, "T-%llu.%09llu", (unsigned long long)(ns / 1000000000),
	    (unsigned long long)(ns % 1000000000));
}
