/*
 * rival_so.c - a malloc that a program is linked with, as far as C++ sees it: new
 * takes memory of its own, and delete calls free, whose that may be.
 */
#include <stddef.h>
#include <stdlib.h>

static _Alignas(4096) unsigned char room[1 << 20];
static size_t used;

static void *
take(size_t size, size_t align)
{
	size_t at = (used + align - 1) & ~(align - 1);

	if (size > sizeof(room) || at > sizeof(room) - size)
		abort();
	used = at + size;
	return (room + at);
}

/* Arguments that an operator does not look at may be missing here. */
#define NEW(fn, name)                        \
	void *fn(size_t size) __asm__(name); \
	void *fn(size_t size)                \
	{                                    \
		return (take(size, 16));     \
	}
#define NEW_ALIGNED(fn, name)                              \
	void *fn(size_t size, size_t align) __asm__(name); \
	void *fn(size_t size, size_t align)                \
	{                                                  \
		return (take(size, align));                \
	}
#define DELETE(fn, name)                \
	void fn(void *p) __asm__(name); \
	void fn(void *p)                \
	{                               \
		free(p);                \
	}

NEW(new_one, "_Znwm")
NEW(new_array, "_Znam")
NEW(new_nothrow, "_ZnwmRKSt9nothrow_t")
NEW(new_array_nothrow, "_ZnamRKSt9nothrow_t")
NEW_ALIGNED(new_aligned, "_ZnwmSt11align_val_t")
NEW_ALIGNED(new_array_aligned, "_ZnamSt11align_val_t")
NEW_ALIGNED(new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t")
NEW_ALIGNED(new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t")
DELETE(delete_one, "_ZdlPv")
DELETE(delete_array, "_ZdaPv")
DELETE(delete_sized, "_ZdlPvm")
DELETE(delete_array_sized, "_ZdaPvm")
DELETE(delete_nothrow, "_ZdlPvRKSt9nothrow_t")
DELETE(delete_array_nothrow, "_ZdaPvRKSt9nothrow_t")
DELETE(delete_aligned, "_ZdlPvSt11align_val_t")
DELETE(delete_array_aligned, "_ZdaPvSt11align_val_t")
DELETE(delete_sized_aligned, "_ZdlPvmSt11align_val_t")
DELETE(delete_array_sized_aligned, "_ZdaPvmSt11align_val_t")
DELETE(delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t")
DELETE(delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t")
