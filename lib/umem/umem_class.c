/*
 * umem_class.c - the sizes that umem_alloc and malloc are served from.
 *
 * 8, 16, then steps of 16 up to 128, then eight sizes to each doubling: a
 * request wastes less than an eighth of what it is given.
 */
#include "umem/umem_class.h"
#include "umem/umem_options.h"

#include "base/fmt.h"
#include "os/os.h"

#include <stdatomic.h>

enum { CLASS_STEP = 16, CLASS_LINEAR = 128 };

struct umem_classes umem__classes QR_ALIGNED(QR_CACHE_LINE);

/* Guards the making of class caches. */
static struct qr_mutex class_lock = QR_MUTEX_INIT(QR_RANK_INIT);

static size_t
size_after(size_t size)
{
	if (size == 8)
		return (16);
	if (size < CLASS_LINEAR)
		return (size + CLASS_STEP);
	return (size + ((size_t)1 << (qr_log2(size) - 3)));
}

bool
umem__classes_init(void)
{
	struct umem_classes *cl = &umem__classes;
	size_t i = 0;

	for (size_t size = 8; size <= UMEM_CLASS_MAX; size = size_after(size)) {
		unsigned slot = percpu_slot_open();

		if (slot == 0)
			return (false);
		cl->cl_size[slot] = (uint32_t)size;
		cl->cl_last = slot;
		if (slot == UMEM_SLOT_8)
			continue;
		for (; i * CLASS_STEP <= size; i++)
			cl->cl_off[i] =
			    (uint16_t)(slot * sizeof(struct percpu_slot));
	}
	cl->cl_limit = UMEM_CLASS_MAX + 1;
	cl->cl_fast = umem__opt.stats ? 0 : cl->cl_limit;
	return (true);
}

static size_t
class_align(size_t size)
{
	if (size % os_page_size() == 0)
		return (os_page_size());
	return (size % 64 == 0 ? 64 : qr_min(size, 16));
}

struct umem_cache *
umem__class_cache(size_t off)
{
	struct umem_classes *cl = &umem__classes;
	unsigned slot = (unsigned)(off / sizeof(struct percpu_slot));
	struct umem_cache *cp =
	    atomic_load_explicit(&cl->cl_cache[slot], memory_order_acquire);
	size_t size = cl->cl_size[slot];
	char name[UMEM_NAME_MAX];

	if (QR_LIKELY(cp != NULL))
		return (cp);
	qr_snprintf(name, sizeof(name), "umem_alloc_%zu", size);
	qr_mutex_enter(&class_lock);
	cp = atomic_load_explicit(&cl->cl_cache[slot], memory_order_relaxed);
	if (cp == NULL) {
		cp = umem__cache_make(name, size, class_align(size), slot,
		    slot == UMEM_SLOT_8 ? UMF_CLASS : UMF_CLASS | UMF_MALLOC);
		atomic_store_explicit(
		    &cl->cl_cache[slot], cp, memory_order_release);
	}
	qr_mutex_exit(&class_lock);
	return (cp);
}

void
umem__class_lock(void)
{
	qr_mutex_enter_nested(&class_lock);
}

void
umem__class_unlock(void)
{
	qr_mutex_exit(&class_lock);
}
