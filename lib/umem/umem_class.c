/*
 * umem_class.c - the sizes that umem_alloc and malloc are served from.
 *
 * 8, 16, then steps of 16 up to 128, then eight sizes to each doubling: a
 * request wastes less than an eighth of what it is given.
 */
#include "umem/umem_class.h"
#include "umem/umem_options.h"

#include "base/fmt.h"
#include "vmem/vmem_heap.h"

#include <stdatomic.h>
#include <string.h>

enum { CLASS_LINEAR = 128 };

_Atomic uint16_t umem__class_off[QR_ARRAY_LEN(umem__class_off)] QR_ALIGNED(
    QR_CACHE_LINE);
struct umem_classes umem__classes;

/* Guards the making of class caches. */
static struct qr_mutex class_lock = QR_MUTEX_INIT(QR_RANK_INIT);

/* In ascending order; empty until they are first looked at. */
static uint32_t *const sizes = &umem__classes.cl_size[UMEM_SLOT_8];
static unsigned nsizes;

static size_t
size_after(size_t size)
{
	if (size == 8)
		return (16);
	if (size < CLASS_LINEAR)
		return (size + UMEM_CLASS_STEP);
	return (size + ((size_t)1 << (qr_log2(size) - 3)));
}

static void
sizes_default(void)
{
	size_t size = 8;

	for (; nsizes == 0 || size <= UMEM_CLASS_MAX; size = size_after(size))
		sizes[nsizes++] = (uint32_t)size;
	umem__classes.cl_align = PAGEMAP_PAGE;
}

/* The place of the first size that is not less. */
static unsigned
size_find(size_t size)
{
	unsigned i = 0;

	if (nsizes == 0)
		sizes_default();
	while (i < nsizes && sizes[i] < size)
		i++;
	return (i);
}

/* The smallest and the largest stay: there is always a class. */
void
umem__class_clear(void)
{
	sizes[0] = 8;
	sizes[1] = UMEM_CLASS_MAX;
	nsizes = 2;
	umem__classes.cl_align = UMEM_CLASS_STEP;
}

const char *
umem__class_add(uint64_t size)
{
	unsigned i;

	if (size == 0 || size > UMEM_CLASS_MAX)
		return ("no size that can be added");
	size = size <= 8 ? 8 : qr_roundup(size, UMEM_CLASS_STEP);
	i = size_find(size);
	if (sizes[i] == size)
		return ("a size that is there already");
	if (nsizes == UMEM_CLASSES_MAX)
		return ("too many sizes");
	memmove(&sizes[i + 1], &sizes[i], (nsizes++ - i) * sizeof(sizes[0]));
	sizes[i] = (uint32_t)size;
	umem__classes.cl_align = UMEM_CLASS_STEP;
	return (NULL);
}

const char *
umem__class_remove(uint64_t size)
{
	unsigned i = size > UMEM_CLASS_MAX ? 0 : size_find(size);

	if (size <= 8 || size >= UMEM_CLASS_MAX || sizes[i] != size)
		return ("no size that can be removed");
	memmove(&sizes[i], &sizes[i + 1], (--nsizes - i) * sizeof(sizes[0]));
	umem__classes.cl_align = UMEM_CLASS_STEP;
	return (NULL);
}

bool
umem__classes_init(void)
{
	struct umem_classes *cl = &umem__classes;

	(void)size_find(0);
	cl->cl_last = UMEM_SLOT_8 + nsizes - 1;
	for (unsigned slot = UMEM_SLOT_8; slot <= cl->cl_last; slot++)
		if (percpu_slot_open() != slot)
			return (false);
	cl->cl_limit = UMEM_CLASS_MAX + 1;
	cl->cl_fast = umem__opt.stats ? 0 : cl->cl_limit;
	return (true);
}

/*
 * A class goes into the table with all its sizes.  Two threads that do so at
 * once store the same.
 */
static void
class_enter(struct umem_classes *cl, size_t size)
{
	unsigned slot = UMEM_SLOT_8 + 1;
	size_t at = 0;

	for (; cl->cl_size[slot] < size; slot++)
		at = cl->cl_size[slot] / UMEM_CLASS_STEP + 1;
	for (; at * UMEM_CLASS_STEP <= cl->cl_size[slot]; at++)
		atomic_store_explicit(&umem__class_off[at],
		    (uint16_t)(slot * sizeof(struct percpu_slot)),
		    memory_order_relaxed);
}

size_t
umem__off_find(size_t size)
{
	if (umem__off_of(size) == 0)
		class_enter(&umem__classes, size);
	return (umem__off_of(size));
}

size_t
umem__off_find_aligned(size_t size, size_t align)
{
	size_t off = umem__off_find(qr_roundup(qr_max(size, 1), align));

	/* The largest has them all, and is always there. */
	while ((umem__off_size(off) & (align - 1)) != 0)
		off += sizeof(struct percpu_slot);
	return (off);
}

/*
 * What memory of a size is aligned to that malloc chose for its alignment: all
 * powers of two that divide it, as far as slabs are aligned themselves.
 */
static size_t
class_align(size_t size)
{
	return (qr_min((size_t)1 << qr_ctz(size), vmem__heap_quantum));
}

QR_COLD struct umem_cache *
umem__class_make(unsigned slot)
{
	struct umem_classes *cl = &umem__classes;
	size_t size = cl->cl_size[slot];
	struct umem_cache *cp;
	char name[UMEM_NAME_MAX];

	qr_name_sized(name, sizeof(name), "umem_alloc", size);
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
