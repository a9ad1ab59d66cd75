/*
 * vmem_idfile.c - the lines of a saved id_space.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "vmem/vmem_idfile.h"

#include "base/fmt.h"

#include <string.h>

static const char words[VMEM_IDW_WORDS][16] = {
    [VMEM_IDW_TITLE] = "quarry-id-space",
    [VMEM_IDW_COOLDOWN] = "cooldown",
    [VMEM_IDW_NEXT] = "next",
    [VMEM_IDW_RANGE] = "range",
    [VMEM_IDW_USED] = "used",
    [VMEM_IDW_RESTING] = "resting",
    [VMEM_IDW_SUM] = "sum",
};

size_t
vmem__idline_format(char text[VMEM_IDFILE_LINE], const struct vmem_idline *line)
{
	const char *word = words[line->l_word];

	switch (line->l_word) {
	case VMEM_IDW_RANGE:
	case VMEM_IDW_USED:
	case VMEM_IDW_RESTING:
		return (qr_snprintf(text, VMEM_IDFILE_LINE, "%s %u %u\n", word,
		    line->l_a, line->l_b));
	case VMEM_IDW_SUM:
		return (qr_snprintf(
		    text, VMEM_IDFILE_LINE, "%s %08x\n", word, line->l_a));
	default:
		return (qr_snprintf(
		    text, VMEM_IDFILE_LINE, "%s %u\n", word, line->l_a));
	}
}

/* The number behind one space; *s moves past it. */
static uint32_t
number(const char **s, unsigned base)
{
	static const char digits[] = "0123456789abcdef";
	uint32_t n = 0;
	const char *d;

	if (**s == ' ')
		++*s;
	while (**s != '\0' && (d = memchr(digits, **s, base)) != NULL) {
		n = n * base + (uint32_t)(d - digits);
		++*s;
	}
	return (n);
}

/*
 * Leading zeros, numbers that wrap, more spaces or anything behind: whatever it
 * is, it is not what would be written.
 */
bool
vmem__idline_parse(const char *text, struct vmem_idline *line)
{
	size_t len = strcspn(text, " ");
	char again[VMEM_IDFILE_LINE];
	const char *s = text + len;
	unsigned word = 0;

	while (word < VMEM_IDW_WORDS &&
	    (strlen(words[word]) != len || memcmp(words[word], text, len) != 0))
		word++;
	if (word == VMEM_IDW_WORDS)
		return (false);
	line->l_word = (enum vmem_idword)word;
	line->l_a = number(&s, word == VMEM_IDW_SUM ? 16 : 10);
	line->l_b = number(&s, 10);
	len = vmem__idline_format(again, line);
	return (strlen(text) == len - 1 && memcmp(text, again, len - 1) == 0);
}
