/*
 * cache.c - sessions that keep their buffer while nobody uses them.
 *
 * A session is constructed with a buffer, which is the dear part of it, and
 * keeps that from one use to the next.  When memory is short, or umem_reap() is
 * called, the program is asked to do with fewer of them.
 */
#include <quarry/umem.h>

#include <stdio.h>

enum { BUFFER = 4096, SPARE = 8 };

struct session {
	char *s_buffer;
	size_t s_used;
};

static umem_cache_t *sessions;
static int constructed, destroyed;

/* Sessions that the program keeps for itself until it is asked for them. */
static void *spare[SPARE];
static size_t nspare;

/* Once for each object, before it is handed out for the first time. */
static int
session_ctor(void *buf, void *priv, int flags)
{
	struct session *s = buf;

	(void)priv;
	s->s_buffer = umem_alloc(BUFFER, flags);
	s->s_used = 0;
	if (s->s_buffer == NULL)
		return (-1);
	constructed++;
	return (0);
}

/* Once for each object, before its memory is given up. */
static void
session_dtor(void *buf, void *priv)
{
	struct session *s = buf;

	(void)priv;
	umem_free(s->s_buffer, BUFFER);
	destroyed++;
}

static void
session_reclaim(void *priv)
{
	(void)priv;
	umem_cache_free_batch(sessions, spare, nspare);
	nspare = 0;
}

int
main(void)
{
	struct session *s;

	sessions = umem_cache_create("session", sizeof(struct session), 0,
	    session_ctor, session_dtor, session_reclaim, NULL, NULL, 0);
	if (sessions == NULL) {
		perror("umem_cache_create");
		return (1);
	}
	nspare = umem_cache_alloc_batch(sessions, spare, SPARE, UMEM_DEFAULT);

	for (int i = 0; i < 1000; i++) {
		s = umem_cache_alloc(sessions, UMEM_NOFAIL);
		s->s_used = (size_t)snprintf(s->s_buffer, BUFFER, "%d", i);
		s->s_used = 0; /* as constructed */
		umem_cache_free(sessions, s);
	}
	printf("%zu spare, %d constructed\n", nspare, constructed);

	umem_cache_reap_now(sessions);
	printf("%zu spare\n", nspare);

	umem_cache_destroy(sessions);
	return (constructed == destroyed ? 0 : 1);
}
