/*
 * physpool_backing.c - the memory of a pool: mapping, wiring, segments.
 *
 * Memory with simulated or given addresses is mapped in one piece, in order.
 * With real ones it is mapped twice: first somewhere, to have pages and learn
 * where they are, then for good, in order of physical address, so that pages
 * which are neighbours there are neighbours here.  Pages that are to stay are
 * pinned before they are looked up.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "contig/physpool_impl.h"

#include "os/os.h"
#include "os/os_phys.h"

#include <quarry/umem.h>

#include <errno.h>
#include <stdlib.h>

/* Virtual addresses follow physical ones modulo this, or the granule if larger. */
#define CONGRUENT ((size_t)2 << 20)

enum { FRAMES = 512 }; /* looked up at a time */

/* ---- segments ---- */

/*
 * Add what continues the last segment, in both addresses, to it; else begin
 * another.  False when memory is short.
 */
static bool
segment_add(struct physback *pb, vm_paddr_t pa, uintptr_t va, size_t size)
{
	struct physseg *last =
	    pb->pb_nseg == 0 ? NULL : &pb->pb_seg[pb->pb_nseg - 1];

	if (last != NULL && last->sg_pa + last->sg_size == pa && pa != 0 &&
	    last->sg_va + last->sg_size == va) {
		last->sg_size += size;
		return (true);
	}
	if (pb->pb_nseg == pb->pb_room) {
		size_t room = qr_max(2 * pb->pb_room, 16);
		struct physseg *seg =
		    umem_alloc(room * sizeof(*seg), UMEM_DEFAULT);

		if (seg == NULL)
			return (false);
		for (size_t i = 0; i < pb->pb_nseg; i++)
			seg[i] = pb->pb_seg[i];
		if (pb->pb_seg != NULL)
			umem_free(pb->pb_seg, pb->pb_room * sizeof(*seg));
		pb->pb_seg = seg;
		pb->pb_room = room;
	}
	pb->pb_seg[pb->pb_nseg++] = (struct physseg){pa, va, size};
	return (true);
}

/* Addresses as the attributes tell: from base, or one for each piece. */
static int
segments_told(struct physback *pb, const struct physpool_attr *attr)
{
	size_t granule = pb->pb_granule;
	size_t piece = attr->paddrs_piece == 0 ? granule : attr->paddrs_piece;

	if (attr->paddrs == NULL)
		return (segment_add(pb, attr->base, pb->pb_va, attr->size)
			? 0
			: ENOMEM);
	if (attr->size % piece != 0 || piece % granule != 0)
		return (EINVAL);
	for (size_t i = 0; i < attr->size / piece; i++) {
		vm_paddr_t pa = attr->paddrs[i];

		if (qr_phase(pa, granule) != 0 || pa + (piece - 1) < pa)
			return (EINVAL);
		if (!segment_add(pb, pa, pb->pb_va + i * piece, piece))
			return (ENOMEM);
	}
	return (0);
}

/* Addresses as the kernel tells them, from any mapping of the memory. */
static int
segments_real(struct physback *pb, uintptr_t va, size_t size)
{
	uint64_t frames[FRAMES];
	size_t page = os_page_size();

	for (size_t done = 0; done < size;) {
		size_t n = qr_min(FRAMES, (size - done) / page);
		int error = os_page_frames((void *)(va + done), n, frames);

		if (error != 0)
			return (error);
		for (size_t i = 0; i < n; i++, done += page) {
			if (!segment_add(pb, frames[i], va + done, page))
				return (ENOMEM);
		}
	}
	return (0);
}

static int
by_pa(const void *a, const void *b)
{
	const struct physseg *x = a, *y = b;

	return ((x->sg_pa > y->sg_pa) - (x->sg_pa < y->sg_pa));
}

void
physpool__sort(struct physseg *seg, size_t n)
{
	qsort(seg, n, sizeof(*seg), by_pa);
}

/* ---- mapping ---- */

static size_t
modulus_of(const struct physback *pb)
{
	return (qr_max(CONGRUENT, pb->pb_granule));
}

/*
 * The address at or above va that follows pa as far as a segment is long; which
 * is at least a granule, so all granules begin at a multiple from the first.
 */
static uintptr_t
follow(const struct physback *pb, uintptr_t va, vm_paddr_t pa, size_t size)
{
	size_t modulus = modulus_of(pb);

	while (modulus > size)
		modulus /= 2;
	modulus = qr_max(modulus, os_page_size());
	return (qr_phaseup(va, modulus, qr_phase(pa, modulus)));
}

static int
reserve(struct physback *pb, size_t size)
{
	pb->pb_reserve = os_reserve(size);
	if (pb->pb_reserve == NULL)
		return (ENOMEM);
	pb->pb_reserve_size = size;
	return (0);
}

/* All of the file in order, for addresses that are told. */
static int
map_in_order(struct physback *pb, const struct physpool_attr *attr, size_t size)
{
	vm_paddr_t first = attr->paddrs != NULL ? attr->paddrs[0] : attr->base;
	size_t modulus = modulus_of(pb);
	int error = reserve(pb, size + modulus);

	if (error != 0)
		return (error);
	pb->pb_va = follow(pb, (uintptr_t)pb->pb_reserve, first, modulus);
	pb->pb_span = size;
	return (
	    os_map_file((void *)pb->pb_va, size, pb->pb_fd, attr->fd_offset));
}

static int
wire(struct physback *pb, uintptr_t va, size_t size)
{
	int error = 0;

	if (pb->pb_wiring != PHYSPOOL_UNWIRED)
		error = os_wire((void *)va, size);
	if (error == 0 && pb->pb_wiring == PHYSPOOL_PIN && pb->pb_pin < 0)
		error = os_pin((void *)va, size, &pb->pb_pin);
	return (error);
}

/*
 * Map what the segments of the first mapping at `from` tell, for good and in
 * their order, and make them tell where.
 */
static int
map_by_segments(
    struct physback *pb, const struct physpool_attr *attr, uintptr_t from)
{
	size_t room = 0;
	uintptr_t va;
	int error;

	for (size_t i = 0; i < pb->pb_nseg; i++)
		room += pb->pb_seg[i].sg_size +
		    qr_min(pb->pb_seg[i].sg_size, modulus_of(pb));
	error = reserve(pb, room);
	va = (uintptr_t)pb->pb_reserve;
	for (size_t i = 0; i < pb->pb_nseg && error == 0; i++) {
		struct physseg *sg = &pb->pb_seg[i];
		off_t at = attr->fd_offset + (off_t)(sg->sg_va - from);

		va = follow(pb, va, sg->sg_pa, sg->sg_size);
		error = os_map_file((void *)va, sg->sg_size, pb->pb_fd, at);
		if (error == 0)
			error = os_populate((void *)va, sg->sg_size);
		if (error == 0)
			error = wire(pb, va, sg->sg_size);
		sg->sg_va = va;
		va += sg->sg_size;
	}
	if (error == 0) {
		pb->pb_va = pb->pb_seg[0].sg_va;
		pb->pb_span = va - pb->pb_va;
	}
	return (error);
}

/* Segments that are neighbours after sorting become one. */
static void
segments_merge(struct physback *pb)
{
	size_t n = pb->pb_nseg;

	pb->pb_nseg = 0;
	for (size_t i = 0; i < n; i++)
		(void)segment_add(pb, pb->pb_seg[i].sg_pa, pb->pb_seg[i].sg_va,
		    pb->pb_seg[i].sg_size);
}

/*
 * The first mapping is congruent to 0, so that pages can be collapsed into huge
 * ones there.
 */
static int
map_by_frames(
    struct physback *pb, const struct physpool_attr *attr, size_t size)
{
	size_t room = size + CONGRUENT;
	void *space = os_reserve(room), *first;
	int error;

	if (space == NULL)
		return (ENOMEM);
	first = (void *)qr_roundup((uintptr_t)space, CONGRUENT);
	error = os_map_file(first, size, pb->pb_fd, attr->fd_offset);
	if (error == 0)
		error = os_populate(first, size);
	if (error == 0 && pb->pb_kind == PHYSPOOL_MEMFD)
		os_collapse(first, size);
	if (error == 0)
		error = os_populate(first, size);
	if (error == 0)
		error = wire(pb, (uintptr_t)first, size);
	if (error == 0)
		error = segments_real(pb, (uintptr_t)first, size);
	if (error == 0) {
		physpool__sort(pb->pb_seg, pb->pb_nseg);
		error = map_by_segments(pb, attr, (uintptr_t)first);
	}
	if (error == 0)
		segments_merge(pb);
	(void)os_unmap(space, room);
	return (error);
}

/* ---- the kinds ---- */

static int
back_by_file(struct physback *pb, const struct physpool_attr *attr)
{
	bool huge = attr->backing == PHYSPOOL_HUGETLB;
	size_t size = qr_roundup(attr->size, os_page_size()), page;
	int error;

	if (attr->backing == PHYSPOOL_FD) {
		pb->pb_fd = os_file_dup(attr->fd);
		if (pb->pb_fd < 0)
			return (errno);
		error = os_file_look(pb->pb_fd, attr->fd_offset, size, &page);
	} else {
		error = os_file_make(size, huge, &pb->pb_fd, &page);
	}
	if (error == 0 && attr->wiring != PHYSPOOL_UNWIRED &&
	    attr->backing == PHYSPOOL_MEMFD)
		error = os_file_fill(pb->pb_fd, 0, size);
	if (error != 0)
		return (error);
	if (size % page != 0)
		return (EINVAL);
	if (attr->addr == PHYSPOOL_REAL)
		return (map_by_frames(pb, attr, size));
	error = map_in_order(pb, attr, size);
	if (error == 0)
		error = wire(pb, pb->pb_va, size);
	return (error != 0 ? error : segments_told(pb, attr));
}

/*
 * The pages of a private mapping move at the first write after a fork, unless
 * the child does not get them.
 */
static bool
must_not_inherit(const struct physback *pb)
{
	return (pb->pb_kind == PHYSPOOL_EXTERNAL &&
	    (pb->pb_wiring != PHYSPOOL_UNWIRED ||
		pb->pb_addr == PHYSPOOL_REAL));
}

/* Madvise lacks memory when something is not mapped. */
static int
keep_from_children(struct physback *pb)
{
	int error = os_inherit((void *)pb->pb_va, pb->pb_span, false);

	pb->pb_kept = true;
	return (error == ENOMEM ? EFAULT : error);
}

/* What can fail without a trace is first. */
static int
back_by_caller(struct physback *pb, const struct physpool_attr *attr)
{
	bool real = attr->addr == PHYSPOOL_REAL && attr->paddrs == NULL;
	int error = 0;

	pb->pb_va = (uintptr_t)attr->va;
	pb->pb_span = attr->size;
	if (!real)
		error = segments_told(pb, attr);
	if (error == 0 && must_not_inherit(pb))
		error = keep_from_children(pb);
	if (error == 0) {
		pb->pb_wired = pb->pb_wiring != PHYSPOOL_UNWIRED;
		error = wire(pb, pb->pb_va, attr->size);
	}
	if (error == 0 && real)
		error = segments_real(pb, pb->pb_va, attr->size);
	return (error);
}

int
physpool__back(
    struct physback *pb, const struct physpool_attr *attr, size_t granule)
{
	int error;

	*pb = (struct physback){
	    .pb_kind = attr->backing,
	    .pb_wiring = attr->wiring,
	    .pb_addr = attr->addr,
	    .pb_granule = granule,
	    .pb_fd = -1,
	    .pb_pin = -1,
	};
	error = attr->backing == PHYSPOOL_EXTERNAL ? back_by_caller(pb, attr)
						   : back_by_file(pb, attr);
	if (error != 0)
		physpool__unback(pb);
	return (error);
}

void
physpool__unback(struct physback *pb)
{
	if (pb->pb_pin >= 0)
		os_unpin(pb->pb_pin);
	if (pb->pb_kind == PHYSPOOL_EXTERNAL) {
		if (pb->pb_wired)
			os_unwire((void *)pb->pb_va, pb->pb_span);
		if (pb->pb_kept)
			(void)os_inherit((void *)pb->pb_va, pb->pb_span, true);
	}
	if (pb->pb_reserve != NULL)
		(void)os_unmap(pb->pb_reserve, pb->pb_reserve_size);
	if (pb->pb_fd >= 0)
		os_file_close(pb->pb_fd);
	if (pb->pb_seg != NULL)
		umem_free(pb->pb_seg, pb->pb_room * sizeof(*pb->pb_seg));
}

/*
 * Look at all pages that a segment has a part of; its ends may be within one.
 * *last is the last page that was counted, for the next segment.
 */
static int
segment_moved(const struct physseg *sg, uintptr_t *last, size_t *moved)
{
	uint64_t frames[FRAMES];
	size_t page = os_page_size();
	uintptr_t at = qr_rounddown(sg->sg_va, page);
	uintptr_t end = qr_roundup(sg->sg_va + sg->sg_size, page);

	while (at != end) {
		size_t n = qr_min(FRAMES, (end - at) / page);
		int error = os_page_frames((void *)at, n, frames);

		if (error != 0 && error != EFAULT)
			return (error);
		for (size_t i = 0; i < n; i++, at += page) {
			if (frames[i] == sg->sg_pa + (at - sg->sg_va) ||
			    at == *last)
				continue;
			*last = at;
			++*moved;
		}
	}
	return (0);
}

int
physpool__moved(const struct physback *pb, size_t *moved)
{
	uintptr_t last = 0;
	int error = 0;

	*moved = 0;
	for (size_t s = 0; s < pb->pb_nseg && error == 0; s++)
		error = segment_moved(&pb->pb_seg[s], &last, moved);
	return (error);
}
