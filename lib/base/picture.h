/*
 * picture.h - pictures of ranges of integers, and of what is allocated there.
 *
 * The owner of the range lists its spans and its allocations.  The pictures are
 * made of that list alone, without a lock and without memory.
 */
#ifndef QR_PICTURE_H
#define QR_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum qr_piece_kind { QR_PIECE_SPAN, QR_PIECE_ALLOC };

enum { QR_OWNERS_MAX = 8 };

struct qr_piece {
	uintptr_t e_start;
	size_t e_size; /* of an allocation: as asked for */
	enum qr_piece_kind e_kind;
	unsigned e_owner; /* of an allocation: index into p_owner */
};

/* What a request asked for: a part of the range, and no multiple crossed. */
struct qr_frame {
	uintptr_t fr_first, fr_last;
	size_t fr_boundary; /* 0: none */
};

/*
 * The pieces ascend.  An allocation follows the span that it lies in; what no
 * piece allocates of a span is free.  Allocations occupy whole quanta.
 */
struct qr_picture {
	const char *p_name;
	const char *p_unit; /* of sizes, in the plural */
	bool p_memory;      /* bytes at addresses, which are hexadecimal */
	size_t p_quantum;
	const struct qr_piece *p_piece;
	size_t p_count;
	const char *const *p_owner;     /* names of who allocated */
	unsigned p_owners;              /* at most QR_OWNERS_MAX; 0: not told */
	const struct qr_frame *p_frame; /* shown in addition, or NULL */
};

/*
 * Write it to fd as "svg", "text" or "json".  0, EINVAL for another format or
 * NULL, or the errno of write(2).
 */
int qr_picture_write(const struct qr_picture *p, int fd, const char *format);

#endif /* QR_PICTURE_H */
