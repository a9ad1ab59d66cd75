/*
 * ids.c - a daemon that leases identifiers: ids SOCKET FILE.
 *
 * A client sends "lease", or "keep N" if it had N from a daemon that died, and
 * is answered with its identifier, or -1.  It has that until it closes the
 * connection.  A lease is in FILE before its client hears of it, so a daemon
 * that was killed knows them all when it is started again; what nobody keeps
 * within two seconds is free.
 */
#include <quarry/id_space.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { IDS = 500, FDS = 600, NONE = -1 };

static struct pollfd fds[FDS]; /* by descriptor; -1: not open */
static int has[FDS];           /* the identifier of a client, or NONE */
static char orphan[IDS];       /* leased by a daemon before this one */
static id_space_t *space;

static void
note_orphan(void *arg, void *start, size_t size)
{
	memset((char *)arg + (size_t)start, 1, size);
}

/* What is left of revents asks for an answer. */
static void
serve(int fd)
{
	char line[32] = "";
	ssize_t n = read(fd, line, sizeof(line) - 1);
	int id = n > 5 ? atoi(line + 5) : NONE;

	if (n <= 0) {
		if (has[fd] != NONE)
			id_free(space, (id_t)has[fd]);
		has[fd] = NONE;
		fds[fd] = (struct pollfd){-1, 0, 0};
		(void)close(fd);
	} else if (strcmp(line, "lease\n") == 0 && has[fd] == NONE) {
		has[fd] = (int)id_alloc_nosleep(space);
	} else if (id >= 0 && id < IDS && orphan[id] && has[fd] == NONE) {
		orphan[id] = 0;
		has[fd] = id;
	}
}

int
main(int argc, char **argv)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int ear = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), busy, fd, id;
	time_t end = time(NULL) + 2;

	if (argc != 3 || strlen(argv[1]) >= sizeof(at.sun_path))
		return (2);
	space = id_space_restore("leases", argv[2]);
	if (space == NULL && errno == ENOENT)
		space = id_space_create("leases", 0, IDS);
	if (space == NULL || id_space_set_cooldown(space, 50) != 0)
		return (1);
	vmem_walk(space, VMEM_ALLOC, note_orphan, orphan);
	memset(has, NONE, sizeof(has));
	memset(fds, NONE, sizeof(fds));
	fds[ear] = (struct pollfd){ear, POLLIN, 0};
	(void)signal(SIGPIPE, SIG_IGN);
	(void)unlink(strcpy(at.sun_path, argv[1]));
	if (bind(ear, (struct sockaddr *)&at, sizeof(at)) != 0)
		return (1);
	(void)listen(ear, FDS);

	while (poll(fds, FDS, 100) >= 0) {
		for (fd = 0, busy = 0; fd < FDS; fd++)
			if (fds[fd].revents != 0 && fd != ear)
				busy = 1, serve(fd);
		while ((fd = accept(ear, NULL, NULL)) >= 0 && fd < FDS)
			fds[fd] = (struct pollfd){fd, POLLIN, 0};
		for (id = 0; id < IDS && time(NULL) > end; orphan[id++] = 0)
			if (orphan[id])
				id_free(space, (id_t)id);
		if (busy && id_space_save(space, argv[2]) != 0)
			return (1);
		for (fd = 0; fd < FDS; fd++)
			if (fds[fd].revents != 0 && fd != ear)
				(void)dprintf(fd, "%d\n", has[fd]);
	}
	return (1);
}
