/*
 * umem.c - a cache of constructed objects.
 */
#include <quarry/umem.h>

#include <stdio.h>
#include <string.h>

struct session {
	int s_requests;
	char s_peer[60];
};

/* Runs once per object, not once per allocation. */
static int
session_ctor(void *buf, void *priv, int flags)
{
	(void)priv;
	(void)flags;
	memset(buf, 0, sizeof(struct session));
	return (0);
}

int
main(void)
{
	umem_cache_t *sessions = umem_cache_create("session",
	    sizeof(struct session), 0, session_ctor, NULL, NULL, NULL, NULL, 0);
	struct session *s = umem_cache_alloc(sessions, UMEM_NOFAIL);

	s->s_requests++;
	printf("%d request\n", s->s_requests);

	s->s_requests = 0; /* free it as constructed */
	umem_cache_free(sessions, s);
	umem_cache_destroy(sessions);
	return (0);
}
