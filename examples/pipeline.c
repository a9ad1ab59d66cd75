/*
 * pipeline.c - a request server that never has more than eight requests.
 *
 * An epoll loop reads requests into the buffers of a pipe, which device memory
 * backs, and a worker answers them, one a millisecond.  While no buffer is
 * free the loop does not watch the socket but the descriptor of the pipe: so
 * clients wait, and memory does not grow, however many requests they send.
 */
#include <quarry/mpipe.h>

#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static MALLOC_DEFINE(M_REQUEST, "request", "requests that are served");

enum { BOUND = 8, REQUESTS = 200, BYTES = 2048 };

static struct malloc_pipe requests;
static int work[2]; /* addresses of requests, from the loop to the worker */

/* Serves a tenth of what the client sends in the same time. */
static void *
worker(void *arg)
{
	char *request;

	while (read(work[0], &request, sizeof(request)) > 0) {
		(void)usleep(1000);
		mpipe_free(&requests, request);
	}
	return (arg);
}

static void *
client(void *arg)
{
	int fd = *(int *)arg;

	for (int i = 0; i < REQUESTS && write(fd, "request", 8) == 8; i++)
		(void)usleep(100);
	(void)shutdown(fd, SHUT_WR);
	return (NULL);
}

/* Wait for one of the two: a request, or a buffer for it. */
static void
await(int ep, int fd)
{
	struct epoll_event ev = {.events = EPOLLIN};

	(void)epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	(void)epoll_wait(ep, &ev, 1, -1);
	(void)epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
}

static int
serve(int fd)
{
	int ep = epoll_create1(0), served = 0;
	char *request;

	for (;;) {
		await(ep, fd);
		while ((request = mpipe_alloc_nowait(&requests)) == NULL)
			await(ep, mpipe_eventfd(&requests));
		if (read(fd, request, 8) <= 0)
			break;
		(void)!write(work[1], &request, sizeof(request));
		served++;
	}
	mpipe_free(&requests, request);
	return (served);
}

int
main(void)
{
	struct physpool_attr attr = {.name = "device", .size = 1 << 20};
	struct mpipe_stats st;
	pthread_t thread[2];
	physpool_t *pool;
	int sock[2], served;

	if (physpool_create(&pool, &attr) != 0 ||
	    mpipe_init_contig(&requests, M_REQUEST, BYTES, 2, BOUND, 0, NULL,
		NULL, NULL, pool, 0, ~(vm_paddr_t)0, 0, 0) != 0 ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sock) != 0 ||
	    pipe(work) != 0)
		return (1);
	(void)pthread_create(&thread[0], NULL, worker, NULL);
	(void)pthread_create(&thread[1], NULL, client, &sock[1]);
	served = serve(sock[0]);
	(void)close(work[1]);
	for (int i = 0; i < 2; i++)
		(void)pthread_join(thread[i], NULL);
	(void)mpipe_getstats(&requests, &st);
	printf("%d requests served, never more than %d at a time\n", served,
	    BOUND);
	mpipe_done(&requests);
	return (served != REQUESTS || st.outstanding_max > BOUND ||
	    physpool_destroy(pool) != 0);
}
