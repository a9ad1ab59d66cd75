/*
 * vmem_idrestore.c - id_space: restoring what was saved.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE 1 /* strerrordesc_np */

#include "vmem/vmem_idfile.h"
#include "vmem/vmem_ids.h"

#include "base/crc.h"

#include <quarry/id_space.h>

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* A file, line by line; the first error sticks. */
struct reader {
	int r_fd;
	int r_error;
	const char *r_what; /* what is wrong with the line */
	unsigned r_line;    /* its number */
	uint32_t r_sum;     /* of the lines before */
	uint32_t r_next_sum;
	size_t r_at, r_end;            /* what of r_buf was not looked at yet */
	char r_text[VMEM_IDFILE_LINE]; /* without its newline */
	char r_buf[4096];
};

static bool
wrong(struct reader *r, int error, const char *what)
{
	if (r->r_error == 0) {
		r->r_error = error;
		r->r_what = what;
	}
	return (false);
}

/* The next byte, or -1: the end, or an error, which is of no line. */
static int
next_byte(struct reader *r)
{
	if (r->r_at == r->r_end) {
		ssize_t n;

		do
			n = read(r->r_fd, r->r_buf, sizeof(r->r_buf));
		while (n < 0 && errno == EINTR);
		if (n < 0) {
			(void)wrong(r, errno, strerrordesc_np(errno));
			r->r_line = 0;
		}
		if (n <= 0)
			return (-1);
		r->r_at = 0;
		r->r_end = (size_t)n;
	}
	return ((unsigned char)r->r_buf[r->r_at++]);
}

/* The next line. */
static bool
next_line(struct reader *r, struct vmem_idline *line)
{
	size_t len = 0;
	int c;

	r->r_line++;
	r->r_sum = r->r_next_sum;
	r->r_text[0] = '\0';
	while ((c = next_byte(r)) != '\n') {
		if (c < 0)
			return (wrong(r, EBADMSG,
			    len == 0 ? "the file ends before its last line"
				     : "the line has no end"));
		if (c == '\0' || len == sizeof(r->r_text) - 1)
			return (wrong(r, EBADMSG, "not a line of ours"));
		r->r_text[len++] = (char)c;
		r->r_text[len] = '\0';
	}
	r->r_text[len] = '\n';
	r->r_next_sum = qr_crc32(r->r_sum, r->r_text, len + 1);
	r->r_text[len] = '\0';
	return (vmem__idline_parse(r->r_text, line) ||
	    wrong(r, EBADMSG, "not a line of ours"));
}

/* The next line, which must begin with this word. */
static bool
expect(struct reader *r, enum vmem_idword word, struct vmem_idline *line)
{
	return (next_line(r, line) &&
	    (line->l_word == word ||
		wrong(r, EBADMSG, "another line is due here")));
}

/* ---- the contents ---- */

static bool
read_head(struct reader *r, struct vmem *vmp)
{
	struct vmem_idline line = {0};

	if (!expect(r, VMEM_IDW_TITLE, &line))
		return (false);
	if (line.l_a != VMEM_IDFILE_VERSION)
		return (wrong(r, ENOTSUP, "of a version unknown here"));
	if (!expect(r, VMEM_IDW_COOLDOWN, &line))
		return (false);
	if (id_space_set_cooldown(vmp, line.l_a) != 0)
		return (wrong(r, ENOMEM, "no memory for a cooldown"));
	if (!expect(r, VMEM_IDW_NEXT, &line))
		return (false);
	if (line.l_a > INT_MAX)
		return (wrong(r, EBADMSG, "there are no such identifiers"));
	vmp->vm_ids->i_set.s_next = line.l_a;
	return (true);
}

/* *lastp is the end of the range before, -1 when there is none. */
static bool
read_range(struct reader *r, struct vmem *vmp, const struct vmem_idline *line,
    int64_t *lastp)
{
	if (line->l_a > line->l_b || line->l_b >= INT_MAX)
		return (wrong(r, EBADMSG, "there are no such identifiers"));
	if (line->l_a <= *lastp)
		return (wrong(r, EBADMSG, "not behind the range before"));
	if (vmem__add(vmp, line->l_a, line->l_b - line->l_a + 1, VM_NOSLEEP) !=
	    0)
		return (wrong(r, ENOMEM, "no memory for a range"));
	*lastp = line->l_b;
	return (true);
}

/* Take [first, last], all available; and lay it to rest. */
static int
take_run(struct vmem *vmp, uint64_t first, uint32_t last, bool rest)
{
	int error = 0;

	qr_mutex_enter(&vmp->vm_lock);
	for (uint64_t id = first; error == 0 && id <= last;) {
		uint32_t end = (uint32_t)qr_min(id | 63, last);

		error = vmem__idset_take_some(
		    &vmp->vm_ids->i_set, (uint32_t)id, end);
		id = (uint64_t)end + 1;
	}
	if (error == 0 && !rest) {
		vmem__count(&vmp->vm_inuse, last - first + 1);
		vmp->vm_nalloc += last - first + 1;
	}
	for (uint64_t id = first; error == 0 && rest && id <= last; id++)
		error = vmem__ids_lay(vmp, (uint32_t)id);
	qr_mutex_exit(&vmp->vm_lock);
	return (error);
}

/* *before is the run before, or not a run. */
static bool
read_run(struct reader *r, struct vmem *vmp, const struct vmem_idline *line,
    struct vmem_idline *before)
{
	uintptr_t first = line->l_a;
	bool rest = line->l_word == VMEM_IDW_RESTING;
	bool some = before->l_word != VMEM_IDW_TITLE;

	if (first > line->l_b)
		return (wrong(r, EBADMSG, "there are no such identifiers"));
	if (some && first <= before->l_b)
		return (wrong(r, EBADMSG, "not behind the run before"));
	if (vmem_contains(vmp, (void *)first, line->l_b - first + 1) == 0)
		return (wrong(r, EBADMSG, "outside the ranges"));
	if (some && first == before->l_b + 1u &&
	    line->l_word == before->l_word &&
	    vmem_contains(vmp, (void *)(first - 1), 2) != 0)
		return (wrong(r, EBADMSG, "part of the run before"));
	if (rest && vmp->vm_ids->i_cooldown == 0)
		return (wrong(r, EBADMSG, "nothing rests without a cooldown"));
	if (take_run(vmp, first, line->l_b, rest) != 0)
		return (wrong(r, ENOMEM, "no memory for a run"));
	*before = *line;
	return (true);
}

static bool
read_tail(struct reader *r, const struct vmem_idline *line)
{
	if (line->l_word != VMEM_IDW_SUM)
		return (wrong(r, EBADMSG, "another line is due here"));
	if (line->l_a != r->r_sum)
		return (
		    wrong(r, EBADMSG, "not the checksum of the lines above"));
	r->r_line++;
	if (next_byte(r) >= 0)
		return (wrong(r, EBADMSG, "there is more than a space"));
	return (r->r_error == 0);
}

static bool
read_all(struct reader *r, struct vmem *vmp)
{
	struct vmem_idline line = {0}, before = {0};
	int64_t last = -1;

	if (!read_head(r, vmp) || !expect(r, VMEM_IDW_RANGE, &line))
		return (false);
	while (line.l_word == VMEM_IDW_RANGE)
		if (!read_range(r, vmp, &line, &last) || !next_line(r, &line))
			return (false);
	while (line.l_word == VMEM_IDW_USED || line.l_word == VMEM_IDW_RESTING)
		if (!read_run(r, vmp, &line, &before) || !next_line(r, &line))
			return (false);
	return (read_tail(r, &line));
}

/* That there is no file is nothing to be told. */
static void
tell(struct reader *r, const char *name, const char *path)
{
	for (char *s = r->r_text; *s != '\0'; s++)
		if (*s < ' ' || *s > '~')
			*s = '?';
	if (r->r_line != 0)
		qr_warn("id_space_restore('%s', '%s'): line %u: %s: '%s'", name,
		    path, r->r_line, r->r_what, r->r_text);
	else if (r->r_error != ENOENT)
		qr_warn(
		    "id_space_restore('%s', '%s'): %s", name, path, r->r_what);
}

id_space_t *
id_space_restore(const char *name, const char *path)
{
	struct reader r = {.r_fd = open(path, O_RDONLY | O_CLOEXEC)};
	struct vmem *vmp = NULL;

	if (r.r_fd < 0)
		(void)wrong(&r, errno, strerrordesc_np(errno));
	else if ((vmp = vmem__ids_create(name)) == NULL)
		(void)wrong(&r, ENOMEM, "no memory for a space");
	else
		(void)read_all(&r, vmp);
	if (r.r_fd >= 0)
		(void)close(r.r_fd);
	if (r.r_error == 0)
		return (vmp);
	if (vmp != NULL) {
		atomic_store(&vmp->vm_inuse, 0); /* no leak to be told of */
		vmem_destroy(vmp);
	}
	tell(&r, name, path);
	errno = r.r_error;
	return (NULL);
}
