/*
 * vmem_idfile.h - the text that a saved id_space is.
 *
 * Lines of a word and one or two numbers.  Ranges and runs ascend, and both
 * their ends belong to them:
 *
 *	quarry-id-space 1
 *	cooldown 250
 *	next 1003
 *	range 0 999
 *	range 1000 4095
 *	used 0 2
 *	resting 3 3
 *	used 1000 1002
 *	sum 8fd2c71a
 *
 * There is one text for each state: what is read must be letter by letter what
 * would be written, and the last line is the CRC-32 of all others.  So every
 * other text is refused.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#ifndef QR_VMEM_IDFILE_H
#define QR_VMEM_IDFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	VMEM_IDFILE_VERSION = 1,
	VMEM_IDFILE_LINE = 64, /* bytes of the longest line, and more */
};

/* In the order in which they come; used and resting ones mixed. */
enum vmem_idword {
	VMEM_IDW_TITLE,
	VMEM_IDW_COOLDOWN,
	VMEM_IDW_NEXT,
	VMEM_IDW_RANGE,
	VMEM_IDW_USED,
	VMEM_IDW_RESTING,
	VMEM_IDW_SUM,
	VMEM_IDW_WORDS
};

struct vmem_idline {
	enum vmem_idword l_word;
	uint32_t l_a;
	uint32_t l_b; /* 0 when there is one number */
};

/* The line with its newline; its length. */
size_t vmem__idline_format(
    char text[VMEM_IDFILE_LINE], const struct vmem_idline *line);
/* False when it is none.  The text has no newline. */
bool vmem__idline_parse(const char *text, struct vmem_idline *line);

#endif /* QR_VMEM_IDFILE_H */
