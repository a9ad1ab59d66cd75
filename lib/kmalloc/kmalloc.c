/*
 * kmalloc.c - blocks of umem, charged to a type.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/panic.h"
#include "contig/physpool_impl.h"
#include "mtype/malloc_type_impl.h"
#include "os/os.h"

#include <quarry/umem.h>

#include <errno.h>
#include <string.h>

enum {
	CACHE_LINE = 64,    /* M_CACHEALIGN */
	SIZES_MIN_LOG2 = 4, /* bit 0 of ts_sizes is 2^4 bytes */
	SIZES_MAX_LOG2 = 16,

	/* While memory is short: the first pause, and the longest. */
	PAUSE_MIN_NS = 10 * 1000 * 1000,
	PAUSE_MAX_NS = 1000 * 1000 * 1000,
};

/*
 * Blocks of no bytes are the addresses from here on, each once.  They are the
 * kernel's half of the address space, so following one is fatal.
 */
#define NO_BYTES ((uintptr_t)0xffffff0000000000)

static bool
is_no_bytes(const void *p)
{
	return ((uintptr_t)p >= NO_BYTES);
}

static void *
no_bytes(void)
{
	static _Atomic uintptr_t count;
	uintptr_t i =
	    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);

	return ((void *)(NO_BYTES + qr_phase(i * 16, -NO_BYTES)));
}

/* What a block of umem that has room for `usable` bytes is charged as. */
static uint64_t
charge_of(size_t usable)
{
	return (usable > (size_t)1 << SIZES_MAX_LOG2
		? qr_roundup(usable, os_page_size())
		: usable);
}

static uint64_t
sizes_bit(size_t usable)
{
	if (usable > (size_t)1 << SIZES_MAX_LOG2)
		return (0);
	return (qr_pow2up(qr_max(usable, (size_t)1 << SIZES_MIN_LOG2)) >>
	    SIZES_MIN_LOG2);
}

/* One attempt.  EAGAIN: memory is short; ENOMEM: *charge is over the limit. */
static int
try(struct mtype *mt, size_t size, uint64_t *charge, void **bufp)
{
	void *buf = umem_alloc(size, UMEM_DEFAULT);
	size_t usable;

	if (QR_UNLIKELY(buf == NULL))
		return (EAGAIN);
	usable = umem_usable_size(buf);
	*charge = charge_of(usable);
	if (QR_UNLIKELY(!mtype__charge(mt, *charge, sizes_bit(usable)))) {
		umem_free(buf, usable);
		return (ENOMEM);
	}
	*bufp = buf;
	return (0);
}

static void
pause_for(uint64_t ns)
{
	_Atomic uint32_t never = 0;
	uint64_t until = os_now() + ns;
	struct timespec deadline = {
	    (time_t)(until / 1000000000), (long)(until % 1000000000)};

	while (os_now() < until)
		(void)os_park(&never, 0, &deadline);
}

/* An attempt failed with `error`: wait, or say that it is final. */
static bool
try_again(struct mtype *mt, size_t size, uint64_t charge, int flags, int error,
    uint64_t *pause)
{
	if ((flags & (M_NOWAIT | M_NULLOK)) != 0 ||
	    size >> OS_ADDRESS_BITS != 0 || mtype__exceeds(mt, size))
		return (false);
	if (error == ENOMEM)
		return (mtype__wait(mt, charge, NULL) == 0);
	umem_reap();
	pause_for(*pause);
	*pause = qr_min(*pause * 2, PAUSE_MAX_NS);
	return (true);
}

/* `size` is rounded so that umem aligns it as it shall be. */
static void *
allocate(size_t size, struct malloc_type *type, int flags, const char *who)
{
	struct mtype *mt = mtype__of(type, who);
	uint64_t charge = 0, pause = PAUSE_MIN_NS;
	void *buf = NULL;
	int error;

	if (QR_UNLIKELY(mt == NULL))
		return (NULL);
	if (QR_UNLIKELY(size == 0))
		return (no_bytes());
	do
		error = try(mt, size, &charge, &buf);
	while (QR_UNLIKELY(error != 0) &&
	    try_again(mt, size, charge, flags, error, &pause));
	if (QR_UNLIKELY(error != 0)) {
		mtype__failed(mt);
		errno = ENOMEM;
		return (NULL);
	}
	return ((flags & M_ZERO) != 0 ? memset(buf, 0, size) : buf);
}

/* What stays too large does not fit whatever happens. */
static size_t
round_size(size_t size, size_t align, int flags)
{
	if (size == 0 || size > PTRDIFF_MAX)
		return (size);
	if ((flags & M_POWEROF2) != 0)
		size = qr_pow2up(size);
	return (qr_roundup(size, align));
}

void *
kmalloc(size_t size, struct malloc_type *type, int flags)
{
	if (QR_UNLIKELY((flags & (M_POWEROF2 | M_CACHEALIGN)) != 0))
		size = round_size(
		    size, (flags & M_CACHEALIGN) != 0 ? CACHE_LINE : 1, flags);
	return (allocate(size, type, flags, "kmalloc"));
}

void *
kmalloc_aligned(size_t size, size_t align, struct malloc_type *type, int flags)
{
	if (!qr_ispow2(align) || align > os_page_size()) {
		qr_panic("kmalloc_aligned(%zu, %zu, %s, 0x%x): alignment must "
			 "be a power of 2 up to a page",
		    size, align, mtype__name(type), (unsigned)flags);
		errno = EINVAL;
		return (NULL);
	}
	if ((flags & M_CACHEALIGN) != 0)
		align = qr_max(align, CACHE_LINE);
	return (allocate(
	    round_size(size, align, flags), type, flags, "kmalloc_aligned"));
}

void
kfree(void *addr, struct malloc_type *type)
{
	struct mtype *mt;
	size_t usable;

	if (addr == NULL || is_no_bytes(addr) || contig__kfree(addr, type))
		return;
	mt = mtype__charged(type, "kfree");
	if (mt == NULL)
		return;
	usable = umem_usable_size(addr);
	if (QR_UNLIKELY(usable == 0))
		qr_panic("kfree(%p, %s): not memory of kmalloc", addr,
		    mtype__name(type));
	else if (QR_UNLIKELY(!mtype__uncharge(mt, charge_of(usable))))
		qr_panic("kfree(%p, %s): the type has no memory in use", addr,
		    mtype__name(type));
	else
		umem_free(addr, usable);
}

/* Bytes of the block at addr; 0 for what is none. */
static size_t
block_size(void *addr)
{
	size_t size = contig__size(addr);

	return (size != 0 ? size : umem_usable_size(addr));
}

void *
krealloc(void *addr, size_t size, struct malloc_type *type, int flags)
{
	size_t have;
	void *buf;

	if ((flags & M_ZERO) != 0) {
		qr_panic("krealloc(%p, %zu, %s, 0x%x): M_ZERO is not allowed",
		    addr, size, mtype__name(type), (unsigned)flags);
		errno = EINVAL;
		return (NULL);
	}
	if (addr == NULL || is_no_bytes(addr))
		return (kmalloc(size, type, flags));
	if (size == 0) {
		kfree(addr, type);
		return (NULL);
	}
	have = block_size(addr);
	if (have == 0) {
		qr_panic("krealloc(%p, %zu, %s, 0x%x): not memory of kmalloc",
		    addr, size, mtype__name(type), (unsigned)flags);
		errno = EINVAL;
		return (NULL);
	}
	if (size <= have && size > have / 2)
		return (addr);
	buf = kmalloc(size, type, flags);
	if (buf == NULL)
		return (NULL);
	memcpy(buf, addr, qr_min(have, size));
	kfree(addr, type);
	return (buf);
}

char *
kstrndup(const char *str, size_t maxlen, struct malloc_type *type)
{
	size_t len;
	char *copy;

	if (str == NULL)
		return (NULL);
	len = strnlen(str, maxlen);
	copy = kmalloc(len + 1, type, M_WAITOK);
	if (copy == NULL)
		return (NULL);
	copy[len] = '\0';
	return (memcpy(copy, str, len));
}

char *
kstrdup(const char *str, struct malloc_type *type)
{
	return (kstrndup(str, SIZE_MAX, type));
}
