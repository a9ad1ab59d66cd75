/*
 * vmem_map.c - pictures of arenas.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_impl.h"

#include "base/picture.h"

#include <quarry/quarry.h>

/* The spans and allocations of an arena at one moment. */
struct snapshot {
	struct qr_piece *s_piece;
	size_t s_room;    /* for pieces */
	size_t s_count;   /* that there are: more than s_room, if those fit */
	uintptr_t s_last; /* of the span that is being listed */
};

/*
 * A walk names a span before its segments, and spans ascend: so what lies
 * beyond the last span is the next one.
 */
static void
note(void *arg, void *start, size_t size)
{
	struct snapshot *s = arg;
	uintptr_t addr = (uintptr_t)start;
	bool span = s->s_count == 0 || addr > s->s_last;

	if (span)
		s->s_last = addr + (size - 1);
	if (s->s_count < s->s_room)
		s->s_piece[s->s_count] = (struct qr_piece){
		    addr, size, span ? QR_PIECE_SPAN : QR_PIECE_ALLOC, 0};
	s->s_count++;
}

/* A snapshot, in memory straight from the kernel; false when there is none. */
static bool
snapshot_take(struct vmem *vmp, struct snapshot *s)
{
	*s = (struct snapshot){.s_room = 4096};
	for (;;) {
		s->s_count = 0;
		s->s_piece = meta_block_get(s->s_room * sizeof(*s->s_piece));
		if (s->s_piece == NULL)
			return (false);
		vmem_walk(vmp, VMEM_SPAN | VMEM_ALLOC, note, s);
		if (s->s_count <= s->s_room)
			return (true);
		meta_block_put(s->s_piece, s->s_room * sizeof(*s->s_piece));
		s->s_room = s->s_count + s->s_count / 8;
	}
}

int
vmem_map_write(vmem_t *vmp, int fd, const char *format)
{
	bool memory = (vmp->vm_cflags & VMC_IDENTIFIER) == 0;
	struct qr_picture picture = {.p_name = vmp->vm_name,
	    .p_unit = memory ? "bytes" : "identifiers",
	    .p_memory = memory,
	    .p_quantum = vmp->vm_quantum};
	struct snapshot s;
	int error;

	if (!snapshot_take(vmp, &s))
		return (ENOMEM);
	picture.p_piece = s.s_piece;
	picture.p_count = s.s_count;
	error = qr_picture_write(&picture, fd, format);
	meta_block_put(s.s_piece, s.s_room * sizeof(*s.s_piece));
	return (error);
}
