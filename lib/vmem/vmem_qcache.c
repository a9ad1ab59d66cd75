/*
 * vmem_qcache.c - quantum caches: small sizes go through object caches, which
 * a floor above provides.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_impl.h"

#include "base/fmt.h"
#include "vmem/vmem_heap.h"

static const struct vmem__qcache_ops *_Atomic qcache_ops;

enum { QCACHE_NAME_MAX = VMEM_NAME_MAX + 21 };

void
vmem__qcache_register(const struct vmem__qcache_ops *ops)
{
	atomic_store_explicit(&qcache_ops, ops, memory_order_release);
}

static const struct vmem__qcache_ops *
ops_get(void)
{
	return (atomic_load_explicit(&qcache_ops, memory_order_acquire));
}

/*
 * One slab size for all caches of an arena: the power of two above three
 * times the largest object.
 */
static size_t
slab_size(size_t qcache_max)
{
	size_t three;

	if (__builtin_mul_overflow(qcache_max, (size_t)3, &three) ||
	    qr_log2(three) >= 63)
		return (0);
	return (qr_max((size_t)1 << (qr_log2(three) + 1), 64));
}

/*
 * A cache that cannot be created ends the row: larger sizes then go straight
 * to the arena.
 */
void
vmem__qcache_setup(struct vmem *vmp, size_t qcache_max, int vmflag)
{
	const struct vmem__qcache_ops *ops = ops_get();
	size_t n = qr_min(qcache_max / vmp->vm_quantum, VMEM_QCACHES);
	size_t slab = n == 0 ? 0 : slab_size(n * vmp->vm_quantum);
	size_t made = 0;

	if (slab == 0)
		return;
	if ((vmflag & VMC_NO_QCACHE) != 0) {
		vmp->vm_min_import = slab;
		return;
	}
	if (ops == NULL)
		return;
	while (made < n) {
		char name[QCACHE_NAME_MAX];
		size_t size = (made + 1) * vmp->vm_quantum;

		qr_name_sized(name, sizeof(name), vmp->vm_name, size);
		vmp->vm_qcache[made] = ops->create(name, size, vmp->vm_quantum,
		    vmp, slab, vmflag & VM_KMFLAGS, &vmp->vm_qhit[made]);
		if (vmp->vm_qcache[made] == NULL)
			break;
		if (vmp->vm_qhit[made].qh_shift == 0)
			vmp->vm_qoff[made] = vmp->vm_qhit[made].qh_off;
		made++;
	}
	vmp->vm_qcache_max = made * vmp->vm_quantum;
}

void
vmem__qcache_teardown(struct vmem *vmp)
{
	size_t n = vmp->vm_qcache_max / vmp->vm_quantum;

	vmp->vm_qcache_max = 0;
	for (size_t i = 0; i < n; i++)
		ops_get()->destroy(vmp->vm_qcache[i]);
}

/*
 * A sleeper sleeps here and not in the arena: objects freed to the cache, which
 * the arena does not see, must reach it too.
 */
int
vmem__qcache_alloc(struct vmem *vmp, size_t size, int vmflag,
    const struct timespec *deadline, uintptr_t *addrp)
{
	size_t i = (size - 1) >> vmp->vm_qshift;
	int flags = (vmflag & VM_KMFLAGS & ~VM_PANIC) | VM_NOSLEEP;
	int error = 0;

	*addrp = percpu_pop(vmp->vm_qhit[i].qh_off) >> vmp->vm_qhit[i].qh_shift;
	if (QR_LIKELY(*addrp != 0))
		return (0);
	while (error == 0 && !ops_get()->alloc(vmp->vm_qcache[i], flags, addrp))
		error = vmem__pause(vmp, vmflag, deadline);
	return (error);
}

/* Turned or not, what is odd is not for stacks, nor is 0: vmem__qcache_push. */
void
vmem__qcache_free(struct vmem *vmp, uintptr_t addr, size_t size)
{
	size_t i = (size - 1) >> vmp->vm_qshift;
	unsigned shift = vmp->vm_qhit[i].qh_shift;
	uintptr_t word = addr << shift | addr >> (-shift & 63);

	if (QR_UNLIKELY((word & 1) != 0 || word == 0 ||
		!percpu_push(vmp->vm_qhit[i].qh_off, word)))
		ops_get()->free(vmp->vm_qcache[i], addr);
}

/* What other caches hold is memory, which an arena of identifiers cannot use. */
bool
vmem__reap(struct vmem *vmp)
{
	const struct vmem__qcache_ops *ops = ops_get();
	bool cached;

	if (ops == NULL)
		return (false);
	cached = ops->reap_over(vmp);
	if ((vmp->vm_cflags & VMC_IDENTIFIER) == 0)
		ops->reap_all();
	return (cached);
}

void
vmem__reap_heap(void)
{
	const struct vmem__qcache_ops *ops = ops_get();

	if (ops != NULL)
		ops->reap_heap();
}

void
vmem_qcache_reap(vmem_t *vmp)
{
	for (size_t i = 0; i < vmp->vm_qcache_max >> vmp->vm_qshift; i++)
		ops_get()->reap(vmp->vm_qcache[i]);
}
