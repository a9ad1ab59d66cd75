/*
 * vmem_sizes.c - the free segments of an arena by size, for best fit.
 */
#include "vmem/vmem_impl.h"

void
vmem__sizes_build(struct vmem *vmp)
{
	struct vmem_tree *t = &vmp->vm_sizes;

	vmem__tree_clear(t);
	for (struct vmem_node *leaf = vmp->vm_segs.t_first; leaf != NULL;
	     leaf = leaf->n_next) {
		for (uint32_t set = leaf->n_free; set != 0; set &= set - 1) {
			unsigned i = qr_ctz(set);

			if (!vmem__spare_fill(
				&vmp->vm_sizes_spare, vmem__tree_need_any(t))) {
				vmem__tree_clear(t);
				return;
			}
			vmem__tree_put(t, leaf->l_val[i], leaf->l_key[i], 0,
			    &vmp->vm_sizes_spare);
		}
	}
	vmp->vm_sizes_on = true;
}

void
vmem__sizes_add(struct vmem *vmp, uintptr_t start, size_t size)
{
	if (!vmp->vm_sizes_on)
		return;
	if (vmp->vm_sizes_spare.s_count < vmem__tree_need_any(&vmp->vm_sizes)) {
		vmp->vm_sizes_on = false;
		return;
	}
	vmem__tree_put(&vmp->vm_sizes, size, start, 0, &vmp->vm_sizes_spare);
}

void
vmem__sizes_remove(struct vmem *vmp, uintptr_t start, size_t size)
{
	struct vmem_pos pos;

	if (!vmp->vm_sizes_on)
		return;
	pos = vmem__tree_floor(&vmp->vm_sizes, size, start);
	QR_ASSERT(pos.p_leaf != NULL && pos.p_leaf->l_key[pos.p_i] == size &&
	    pos.p_leaf->l_val[pos.p_i] == start);
	vmem__tree_remove(&vmp->vm_sizes, pos.p_leaf, pos.p_i);
	vmem__tree_settle(&vmp->vm_sizes, pos.p_leaf);
}

void
vmem__sizes_stock(struct vmem *vmp)
{
	if (vmp->vm_sizes_on)
		(void)vmem__spare_fill(&vmp->vm_sizes_spare,
		    2 * vmem__tree_need_any(&vmp->vm_sizes) +
			vmp->vm_sizes.t_nodes / 4);
}
