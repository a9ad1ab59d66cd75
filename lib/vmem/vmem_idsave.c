/*
 * vmem_idsave.c - id_space: saving.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#define _GNU_SOURCE 1 /* strerrordesc_np */

#include "vmem/vmem_idfile.h"
#include "vmem/vmem_ids.h"

#include "base/crc.h"
#include "base/out.h"
#include "os/os_file.h"

#include <quarry/id_space.h>

#include <string.h>

/* What is to be written, but for the first line and the last. */
struct snapshot {
	struct vmem_idline *s_line;
	size_t s_room;  /* for lines */
	size_t s_count; /* that there are: more than s_room, if those fit */
};

static void
note(struct snapshot *s, enum vmem_idword word, uint32_t a, uint32_t b)
{
	if (s->s_count < s->s_room)
		s->s_line[s->s_count] = (struct vmem_idline){word, a, b};
	s->s_count++;
}

static void
note_runs(struct snapshot *s, const struct vmem_idset *set, uint64_t id,
    uint32_t last)
{
	uint32_t end;

	for (; id <= last; id = (uint64_t)end + 1) {
		switch (vmem__idset_run(set, (uint32_t)id, last, &end)) {
		case VMEM_ID_IS_USED:
			note(s, VMEM_IDW_USED, (uint32_t)id, end);
			break;
		case VMEM_ID_IS_RESTING:
			note(s, VMEM_IDW_RESTING, (uint32_t)id, end);
			break;
		case VMEM_ID_IS_FREE:
			break;
		}
	}
}

static struct vmem_pos
first_span(const struct vmem *vmp)
{
	return ((struct vmem_pos){vmp->vm_spans.t_first, 0});
}

static uint32_t
span_last(const struct vmem_tag *span)
{
	return ((uint32_t)(span->g_start + (span->g_size - 1)));
}

static void
note_all(struct snapshot *s, struct vmem *vmp)
{
	const struct vmem_ids *ids = vmp->vm_ids;
	struct vmem_pos pos;

	s->s_count = 0;
	note(s, VMEM_IDW_COOLDOWN, (uint32_t)(ids->i_cooldown / VMEM_NS_PER_MS),
	    0);
	note(s, VMEM_IDW_NEXT, ids->i_set.s_next, 0);
	for (pos = first_span(vmp); pos.p_leaf != NULL;
	     pos = vmem__pos_next(pos))
		note(s, VMEM_IDW_RANGE, (uint32_t)vmem__pos_tag(pos)->g_start,
		    span_last(vmem__pos_tag(pos)));
	for (pos = first_span(vmp); pos.p_leaf != NULL;
	     pos = vmem__pos_next(pos))
		note_runs(s, &ids->i_set, vmem__pos_tag(pos)->g_start,
		    span_last(vmem__pos_tag(pos)));
}

/* In memory straight from the kernel; false when there is none. */
static bool
snapshot_take(struct snapshot *s, struct vmem *vmp)
{
	*s = (struct snapshot){.s_room = 1024};
	for (;;) {
		s->s_line = meta_block_get(s->s_room * sizeof(*s->s_line));
		if (s->s_line == NULL)
			return (false);
		qr_mutex_enter(&vmp->vm_lock);
		note_all(s, vmp);
		qr_mutex_exit(&vmp->vm_lock);
		if (s->s_count <= s->s_room)
			return (true);
		meta_block_put(s->s_line, s->s_room * sizeof(*s->s_line));
		s->s_room = s->s_count + s->s_count / 8;
	}
}

static void
write_line(struct qr_out *o, uint32_t *sum, const struct vmem_idline *line)
{
	char text[VMEM_IDFILE_LINE];
	size_t len = vmem__idline_format(text, line);

	*sum = qr_crc32(*sum, text, len);
	qr_out_printf(o, "%s", text);
}

/* 0 or errno. */
static int
write_all(const struct snapshot *s, int fd)
{
	struct qr_out o = {.o_fd = fd};
	struct vmem_idline line = {VMEM_IDW_TITLE, VMEM_IDFILE_VERSION, 0};
	uint32_t sum = 0;

	write_line(&o, &sum, &line);
	for (size_t i = 0; i < s->s_count && o.o_error == 0; i++)
		write_line(&o, &sum, &s->s_line[i]);
	line = (struct vmem_idline){VMEM_IDW_SUM, sum, 0};
	write_line(&o, &sum, &line);
	qr_out_flush(&o);
	return (o.o_error);
}

/* Write what there is now.  0, or errno and what failed. */
static int
write_now(struct vmem *vmp, int fd, const char **whatp)
{
	struct snapshot s;
	int error;

	*whatp = "no memory to look at the space";
	if (!snapshot_take(&s, vmp))
		return (ENOMEM);
	*whatp = "cannot be written";
	error = write_all(&s, fd);
	meta_block_put(s.s_line, s.s_room * sizeof(*s.s_line));
	return (error);
}

/* The snapshot is of our turn at the file: who comes later has a later one. */
static int
replace(struct vmem *vmp, const char *path, const char **whatp)
{
	struct os_newfile f;
	int error;

	*whatp = "cannot be created";
	error = os_newfile_begin(&f, path);
	if (error == EEXIST)
		*whatp = "what has that name with '.new' is not a file";
	if (error != 0)
		return (error);
	error = write_now(vmp, f.f_fd, whatp);
	if (error == 0)
		return (os_newfile_commit(&f));
	os_newfile_abandon(&f);
	return (error);
}

/*
 * The lock of the file goes to anybody; so threads queue up here, and those
 * that save again and again let the others have their turns.
 */
static uint64_t
turn_wait(struct vmem *vmp)
{
	struct vmem_ids *ids = vmp->vm_ids;
	uint64_t turn;

	qr_mutex_enter(&vmp->vm_lock);
	turn = ids->i_turns++;
	while (ids->i_turn != turn)
		qr_cond_wait(&ids->i_turn_cond, &vmp->vm_lock);
	qr_mutex_exit(&vmp->vm_lock);
	return (turn);
}

/* In a child of fork, where all turns are over, ours may be as well. */
static void
turn_end(struct vmem *vmp, uint64_t turn)
{
	struct vmem_ids *ids = vmp->vm_ids;

	qr_mutex_enter(&vmp->vm_lock);
	if (ids->i_turn == turn)
		ids->i_turn++;
	qr_cond_broadcast(&ids->i_turn_cond);
	qr_mutex_exit(&vmp->vm_lock);
}

int
id_space_save(id_space_t *vmp, const char *path)
{
	uint64_t turn = turn_wait(vmp);
	const char *what;
	int error = replace(vmp, path, &what);

	turn_end(vmp, turn);
	if (error != 0)
		qr_warn("id_space_save('%s', '%s'): %s: %s", vmp->vm_name, path,
		    what, strerrordesc_np(error));
	return (error);
}
