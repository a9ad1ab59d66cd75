/*
 * malloc_new.c - operators new and delete of C++.
 *
 * Those of the C++ runtime call malloc and free, and would do.  But a malloc that
 * a program is linked with has operators of its own, which allocate without
 * malloc, and free with free(), which is ours: so ours stand before all of them.
 * They are a shorter way, too.
 *
 * A program may replace some of them.  The others then call those, as C++ has it:
 * here what one operator calls is whatever the program has under that name, for
 * which this file is compiled, and linked, in its own way (CMakeLists.txt).
 *
 * The runtime is asked where there is no memory, for it knows the handler and how
 * to throw, and for what must not throw, for it knows how to catch.
 */
#include "malloc/malloc_hit.h"
#include "malloc/malloc_libc.h"

#include "base/panic.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define OPERATOR(name) __asm__(name) QR_EXPORT

typedef struct nothrow nothrow_t; /* of which only the type counts */
typedef void *new_t(size_t size);
typedef void *new_aligned_t(size_t size, size_t align);
typedef void *new_nothrow_t(size_t size, const nothrow_t *);
typedef void *new_aligned_nothrow_t(
    size_t size, size_t align, const nothrow_t *);
typedef void delete_t(void *p);
typedef void delete_sized_t(void *p, size_t size);
typedef void delete_aligned_t(void *p, size_t align);
typedef void delete_sized_aligned_t(void *p, size_t size, size_t align);
typedef void delete_nothrow_t(void *p, const nothrow_t *);
typedef void delete_aligned_nothrow_t(void *p, size_t align, const nothrow_t *);

new_t new_one OPERATOR("_Znwm");
new_t new_array OPERATOR("_Znam");
new_aligned_t new_aligned OPERATOR("_ZnwmSt11align_val_t");
new_aligned_t new_array_aligned OPERATOR("_ZnamSt11align_val_t");
new_nothrow_t new_nothrow OPERATOR("_ZnwmRKSt9nothrow_t");
new_nothrow_t new_array_nothrow OPERATOR("_ZnamRKSt9nothrow_t");
new_aligned_nothrow_t new_aligned_nothrow OPERATOR(
    "_ZnwmSt11align_val_tRKSt9nothrow_t");
new_aligned_nothrow_t new_array_aligned_nothrow OPERATOR(
    "_ZnamSt11align_val_tRKSt9nothrow_t");
delete_t delete_one OPERATOR("_ZdlPv");
delete_t delete_array OPERATOR("_ZdaPv");
delete_sized_t delete_sized OPERATOR("_ZdlPvm");
delete_sized_t delete_array_sized OPERATOR("_ZdaPvm");
delete_aligned_t delete_aligned OPERATOR("_ZdlPvSt11align_val_t");
delete_aligned_t delete_array_aligned OPERATOR("_ZdaPvSt11align_val_t");
delete_sized_aligned_t delete_sized_aligned OPERATOR("_ZdlPvmSt11align_val_t");
delete_sized_aligned_t delete_array_sized_aligned OPERATOR(
    "_ZdaPvmSt11align_val_t");
delete_nothrow_t delete_nothrow OPERATOR("_ZdlPvRKSt9nothrow_t");
delete_nothrow_t delete_array_nothrow OPERATOR("_ZdaPvRKSt9nothrow_t");
delete_aligned_nothrow_t delete_aligned_nothrow OPERATOR(
    "_ZdlPvSt11align_val_tRKSt9nothrow_t");
delete_aligned_nothrow_t delete_array_aligned_nothrow OPERATOR(
    "_ZdaPvSt11align_val_tRKSt9nothrow_t");

/* ---- the runtime ---- */

/*
 * Its symbol, not that of another malloc which stands before it.  It is never
 * unloaded from then on.
 */
static QR_COLD void *
runtime_symbol(const char *name)
{
	static const char files[] = "libstdc++.so.6\0libc++abi.so.1\0";
	void *symbol = NULL;

	for (const char *file = files; *file != '\0' && symbol == NULL;
	     file += strlen(file) + 1) {
		void *h = dlopen(file, RTLD_LAZY | RTLD_NOLOAD);

		if (h != NULL)
			symbol = dlsym(h, name);
	}
	if (symbol == NULL)
		symbol = dlsym(RTLD_NEXT, name);
	if (symbol == NULL)
		qr_fatal("%s: there is no C++ runtime", name);
	return (symbol);
}

/* The same, kept in *known. */
static void *
runtime_known(_Atomic(void *) *known, const char *name)
{
	void *symbol = atomic_load_explicit(known, memory_order_relaxed);

	if (QR_UNLIKELY(symbol == NULL)) {
		symbol = runtime_symbol(name);
		atomic_store_explicit(known, symbol, memory_order_relaxed);
	}
	return (symbol);
}

/* ---- new ---- */

static QR_NOINLINE void *
new_miss(size_t size)
{
	void *p = malloc(size);
	new_t *runtime;

	if (QR_LIKELY(p != NULL))
		return (p);
	*(void **)&runtime = runtime_symbol("_Znwm");
	return (runtime(size));
}

QR_HOT void *
new_one(size_t size)
{
	uintptr_t word = malloc__hit(size);

	return (QR_LIKELY(word != 0) ? (void *)word : new_miss(size));
}

void *
new_array(size_t size)
{
	return (new_one(size));
}

void *
new_aligned(size_t size, size_t align)
{
	void *p = memalign(align, size);
	new_aligned_t *runtime;

	if (QR_LIKELY(p != NULL))
		return (p);
	*(void **)&runtime = runtime_symbol("_ZnwmSt11align_val_t");
	return (runtime(size, align));
}

void *
new_array_aligned(size_t size, size_t align)
{
	return (new_aligned(size, align));
}

void *
new_nothrow(size_t size, const nothrow_t *tag)
{
	static _Atomic(void *) known;
	new_nothrow_t *runtime;

	*(void **)&runtime = runtime_known(&known, "_ZnwmRKSt9nothrow_t");
	return (runtime(size, tag));
}

void *
new_array_nothrow(size_t size, const nothrow_t *tag)
{
	static _Atomic(void *) known;
	new_nothrow_t *runtime;

	*(void **)&runtime = runtime_known(&known, "_ZnamRKSt9nothrow_t");
	return (runtime(size, tag));
}

void *
new_aligned_nothrow(size_t size, size_t align, const nothrow_t *tag)
{
	static _Atomic(void *) known;
	new_aligned_nothrow_t *runtime;

	*(void **)&runtime =
	    runtime_known(&known, "_ZnwmSt11align_val_tRKSt9nothrow_t");
	return (runtime(size, align, tag));
}

void *
new_array_aligned_nothrow(size_t size, size_t align, const nothrow_t *tag)
{
	static _Atomic(void *) known;
	new_aligned_nothrow_t *runtime;

	*(void **)&runtime =
	    runtime_known(&known, "_ZnamSt11align_val_tRKSt9nothrow_t");
	return (runtime(size, align, tag));
}

/* ---- delete: size and alignment tell nothing that the page does not ---- */

void
delete_one(void *p)
{
	free(p);
}

void
delete_array(void *p)
{
	delete_one(p);
}

void
delete_sized(void *p, size_t size)
{
	(void)size;
	delete_one(p);
}

void
delete_array_sized(void *p, size_t size)
{
	(void)size;
	delete_array(p);
}

void
delete_nothrow(void *p, const nothrow_t *tag)
{
	(void)tag;
	delete_one(p);
}

void
delete_array_nothrow(void *p, const nothrow_t *tag)
{
	(void)tag;
	delete_array(p);
}

void
delete_aligned(void *p, size_t align)
{
	(void)align;
	free(p);
}

void
delete_array_aligned(void *p, size_t align)
{
	delete_aligned(p, align);
}

void
delete_sized_aligned(void *p, size_t size, size_t align)
{
	(void)size;
	delete_aligned(p, align);
}

void
delete_array_sized_aligned(void *p, size_t size, size_t align)
{
	(void)size;
	delete_array_aligned(p, align);
}

void
delete_aligned_nothrow(void *p, size_t align, const nothrow_t *tag)
{
	(void)tag;
	delete_aligned(p, align);
}

void
delete_array_aligned_nothrow(void *p, size_t align, const nothrow_t *tag)
{
	(void)tag;
	delete_array_aligned(p, align);
}
