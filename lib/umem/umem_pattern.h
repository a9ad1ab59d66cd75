/*
 * umem_pattern.h - memory that holds one word over and over.
 *
 * Written and read in the same blocks: what was just stored is then loaded
 * without waiting for it.
 */
#ifndef QR_UMEM_PATTERN_H
#define QR_UMEM_PATTERN_H

#include "base/compiler.h"

#include <stddef.h>
#include <stdint.h>

typedef uint64_t umem__word_t __attribute__((may_alias));
typedef uint64_t umem__pair_t
    __attribute__((vector_size(16), aligned(8), may_alias));

enum { UMEM_BLOCK = 2 * sizeof(umem__pair_t) };

/* Fill the whole words of `size` bytes. */
QR_INLINE void
umem__pattern_fill(uintptr_t at, size_t size, uint64_t pattern)
{
	umem__pair_t pair = {pattern, pattern};
	uintptr_t end = at + (size & ~(size_t)7);

	for (; end - at >= UMEM_BLOCK; at += UMEM_BLOCK) {
		((umem__pair_t *)at)[0] = pair;
		((umem__pair_t *)at)[1] = pair;
	}
	for (; at != end; at += sizeof(pattern))
		*(umem__word_t *)at = pattern;
}

/* Is there a word in them that is not the pattern? */
QR_INLINE bool
umem__pattern_changed(uintptr_t at, size_t size, uint64_t pattern)
{
	umem__pair_t pair = {pattern, pattern}, bits = {0, 0};
	uintptr_t end = at + (size & ~(size_t)7);
	uint64_t rest = 0;

	for (; end - at >= UMEM_BLOCK; at += UMEM_BLOCK) {
		const umem__pair_t *word = (const umem__pair_t *)at;

		bits |= (word[0] ^ pair) | (word[1] ^ pair);
	}
	for (; at != end; at += sizeof(pattern))
		rest |= *(const umem__word_t *)at ^ pattern;
	return ((bits[0] | bits[1] | rest) != 0);
}

#endif /* QR_UMEM_PATTERN_H */
