/*
 * mpipe_event.c - the descriptor that is readable while a buffer can be had.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "mpipe/mpipe_impl.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Would a nowait succeed?  After a failure to grow it is not promised. */
static bool
readable(const struct mpipe *mp)
{
	const struct malloc_pipe *p = mp->mp_pipe;

	return (p->free_count > 0 ||
	    (p->total_count < p->max_count && !mp->mp_short &&
		!mp->mp_exiting));
}

/*
 * One thread at a time writes the eventfd, with the lock dropped, until it says
 * what is so.
 */
void
mpipe__event_publish(struct mpipe *mp)
{
	int fd = mp->mp_eventfd, saved = errno;

	if (fd < 0 || mp->mp_publishing)
		return;
	mp->mp_publishing = true;
	while (readable(mp) != mp->mp_published) {
		eventfd_t value = 1;
		int cancel;
		bool write;

		mp->mp_published = !mp->mp_published;
		write = mp->mp_published;
		qr_mutex_exit(&mp->mp_lock);
		/* Both are cancellation points, and mpipe_free() is none. */
		(void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
		if (write)
			(void)eventfd_write(fd, value);
		else
			(void)eventfd_read(fd, &value);
		(void)pthread_setcancelstate(cancel, &cancel);
		qr_mutex_enter(&mp->mp_lock);
	}
	mp->mp_publishing = false;
	errno = saved;
	if (mp->mp_exiting)
		qr_cond_broadcast(&mp->mp_cond);
}

int
mpipe_eventfd(malloc_pipe_t pipe)
{
	struct mpipe *mp = mpipe__of(pipe, "mpipe_eventfd");
	int fd, made;

	if (mp == NULL)
		return (-1);
	made = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (made < 0)
		return (-1);
	mpipe__enter(mp);
	while (mpipe__front_close(mp))
		continue;
	if (mp->mp_eventfd < 0) {
		mp->mp_eventfd = made;
		mp->mp_published = false;
		mp->mp_short = false;
		mp->mp_care = true;
		made = -1;
	}
	fd = mp->mp_eventfd;
	mpipe__exit(mp);
	if (made >= 0)
		(void)close(made);
	return (fd);
}

void
mpipe__event_close(struct mpipe *mp)
{
	int fd;

	mpipe__enter(mp);
	fd = mp->mp_eventfd;
	mp->mp_eventfd = -1;
	mpipe__exit(mp);
	if (fd >= 0)
		(void)close(fd);
}
