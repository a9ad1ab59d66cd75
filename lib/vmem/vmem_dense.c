/*
 * vmem_dense.c - the dense span: its descriptors as a whole, carving from the
 * middle, coalescing.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_dense.h"

#include "os/os.h"

enum {
	/* Memory: descriptors take at most one part in 64 of what they tell. */
	DENSE_QUANTUM_MIN = 1024,
	/* Descriptors are mapped by the page, and indexes have 31 bits. */
	DENSE_QUANTA_MIN = 64,
	DENSE_QUANTA_MAX = 1 << 26,
	/* Segments that a search looks at, and that it may for nothing. */
	DENSE_LOOKS = 512,
	DENSE_LOOKS_FREE = 64,
	/* Looks that cost as much as entering a free segment into the index. */
	DENSE_LOOKS_ENTRY = 16,
	/* Quanta to look at for the beginning of a segment. */
	DENSE_REACH = 256,
};

/* ---- the whole ---- */

/* The lists of an arena without a dense span: all are empty. */
static struct vmem_desc no_lists[VMEM_BINS];

void
vmem__dense_init(struct vmem *vmp)
{
	vmp->vm_desc = no_lists;
}

static bool
dense_pays(const struct vmem *vmp, size_t size)
{
	size_t n = size >> vmp->vm_qshift;

	return (n >= DENSE_QUANTA_MIN && n <= DENSE_QUANTA_MAX &&
	    vmp->vm_quantum <= (size_t)1 << 32 &&
	    (vmp->vm_quantum >= DENSE_QUANTUM_MIN ||
		(vmp->vm_cflags & VMC_IDENTIFIER) != 0));
}

static size_t
dense_bytes(size_t n)
{
	return (qr_roundup((VMEM_DESC_FIRST + n + 1) * sizeof(struct vmem_desc),
	    os_page_size()));
}

size_t
vmem__dense_bytes(const struct vmem *vmp)
{
	return (
	    vmp->vm_dense_quanta == 0 ? 0 : dense_bytes(vmp->vm_dense_quanta));
}

/* Mapping with vm_lock held is deliberate: an arena does it once. */
bool
vmem__dense_add(struct vmem *vmp, uintptr_t start, size_t size)
{
	uint32_t n = (uint32_t)(size >> vmp->vm_qshift);
	struct vmem_desc *d;

	qr_mutex_assert_held(&vmp->vm_lock);

	if (vmp->vm_dense_quanta != 0 || !dense_pays(vmp, size))
		return (false);
	d = os_map_sparse(dense_bytes(n));
	if (d == NULL)
		return (false);
	for (unsigned bin = 0; bin < VMEM_BINS; bin++)
		d[bin].d_next = d[bin].d_prev = bin;
	d[VMEM_DESC_LEFT].d_head = 1;
	d[VMEM_DESC_LEFT].d_tail = 1;
	d[VMEM_DESC_FIRST + n].d_head = 1;
	vmp->vm_desc = d;
	vmp->vm_dense = start;
	vmp->vm_dense_quanta = n;
	vmem__desc_enter(vmp, VMEM_DESC_FIRST, n);
	return (true);
}

void
vmem__dense_fini(struct vmem *vmp)
{
	if (vmp->vm_dense_quanta != 0)
		(void)os_unmap(vmp->vm_desc, vmem__dense_bytes(vmp));
}

/* ---- carving ---- */

/* The indexes had `run`, of which only its ends are left. */
static void
index_carved(struct vmem *vmp, const struct vmem_run *run, size_t left,
    const struct vmem_run *right)
{
	if (left != 0) {
		vmem__index_change(vmp, run, run->u_start, left);
		if (right->u_size != 0)
			vmem__index_enter(vmp, right);
	} else if (right->u_size != 0) {
		vmem__index_change(vmp, run, right->u_start, right->u_size);
	} else {
		vmem__index_leave(vmp, run);
	}
}

void
vmem__desc_carve(
    struct vmem *vmp, uint32_t i, uint32_t j, uint32_t n, size_t size)
{
	struct vmem_run run = vmem__desc_run(vmp, i);
	uint32_t whole = vmem__desc_quanta(vmp, i);
	uint32_t right = whole - (j - i) - n;

	vmem__desc_leave(vmp, i, whole);
	if (right != 0)
		vmem__desc_enter(vmp, j + n, right);
	if (j != i)
		vmem__desc_enter(vmp, i, j - i);
	vmem__desc_allocated(vmp, j, n, size);
	if (QR_UNLIKELY(vmp->vm_indexed != 0))
		index_carved(vmp, &run, (size_t)(j - i) << vmp->vm_qshift,
		    &(struct vmem_run){vmem__desc_addr(vmp, j + n),
			(size_t)right << vmp->vm_qshift, NULL});
}

/* ---- freeing ---- */

void
vmem__desc_index_freed(
    struct vmem *vmp, uint32_t i, uint32_t n, uint32_t left, uint32_t right)
{
	unsigned shift = vmp->vm_qshift;
	uintptr_t addr = vmem__desc_addr(vmp, i);
	struct vmem_run before = {
	    addr - ((uintptr_t)left << shift), (size_t)left << shift, NULL};
	struct vmem_run it = {addr, ((size_t)n + right) << shift, NULL};

	if (right != 0)
		vmem__index_leave(vmp,
		    &(struct vmem_run){addr + ((uintptr_t)n << shift),
			(size_t)right << shift, NULL});
	if (left != 0)
		vmem__index_change(
		    vmp, &before, before.u_start, before.u_size + it.u_size);
	else
		vmem__index_enter(vmp, &it);
}

/* ---- search ---- */

/* The segment that quantum i is in, or 0 when that is not found soon. */
static uint32_t
segment_of(const struct vmem *vmp, uint32_t i)
{
	for (unsigned n = 0; n < DENSE_REACH; n++, i--)
		if (vmp->vm_desc[i].d_head != 0)
			return (i);
	return (0);
}

/* One more segment; true when the search ends here. */
static bool
look(struct vmem *vmp, const struct vmem_req *r, uint32_t i, size_t looks,
    struct vmem_search *search)
{
	if (vmem__desc_is_free(vmp, i)) {
		search->f_run = vmem__desc_run(vmp, i);
		search->f_found =
		    vmem__fit_run(r, &search->f_run, &search->f_addr);
		search->f_vain += !search->f_found;
	}
	search->f_tired = !search->f_found && looks == DENSE_LOOKS;
	return (search->f_found || search->f_tired);
}

static size_t
search_up(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *search)
{
	uint32_t end = VMEM_DESC_FIRST + (uint32_t)vmp->vm_dense_quanta;
	uint32_t i = VMEM_DESC_FIRST;
	size_t looks = 0;

	if (r->r_min > vmp->vm_dense) {
		if (!vmem__in_dense(vmp, r->r_min))
			return (0);
		i = segment_of(vmp, vmem__desc_index(vmp, r->r_min));
		search->f_tired = i == 0;
	}
	while (i != 0 && i != end && vmem__desc_addr(vmp, i) <= r->r_max &&
	    !look(vmp, r, i, ++looks, search))
		i += vmem__desc_quanta(vmp, i);
	return (looks);
}

static size_t
search_down(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *search)
{
	uint32_t i = VMEM_DESC_FIRST + (uint32_t)vmp->vm_dense_quanta;
	size_t looks = 0;

	if (r->r_max < vmp->vm_dense)
		return (0);
	if (vmem__in_dense(vmp, r->r_max)) {
		i = vmem__desc_index(vmp, r->r_max) + 1;
		if (vmp->vm_desc[i].d_head == 0) {
			i = segment_of(vmp, i - 1);
			search->f_tired = i == 0;
			if (i != 0)
				i += vmem__desc_quanta(vmp, i);
		}
	}
	while (i > VMEM_DESC_FIRST && vmem__desc_addr(vmp, i) - 1 >= r->r_min) {
		i -= vmp->vm_desc[i - 1].d_tail & ~VMEM_DESC_FREE;
		if (look(vmp, r, i, ++looks, search))
			break;
	}
	return (looks);
}

/*
 * Who looks at many segments again and again is better off with an index: once
 * the looks have cost as much as building it, the search gives up.
 */
void
vmem__dense_search(
    struct vmem *vmp, const struct vmem_req *r, struct vmem_search *search)
{
	size_t looks;

	search->f_found = false;
	search->f_tired =
	    vmp->vm_dense_looks / DENSE_LOOKS_ENTRY > vmp->vm_dense_free;
	if (search->f_tired)
		return;
	looks = (r->r_flags & VM_ENDALLOC) != 0 ? search_down(vmp, r, search)
						: search_up(vmp, r, search);
	if (looks > DENSE_LOOKS_FREE)
		vmp->vm_dense_looks += looks;
}
