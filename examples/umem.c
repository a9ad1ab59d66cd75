/* umem.c - a cache of objects. */
#include <quarry/umem.h>
#include <stdio.h>

struct session {
	int s_requests;
};

int
main(void)
{
	umem_cache_t *cp = umem_cache_create("session", sizeof(struct session),
	    0, NULL, NULL, NULL, NULL, NULL, 0);
	struct session *s = umem_cache_alloc(cp, UMEM_NOFAIL);

	s->s_requests = 1;
	printf("%d request\n", s->s_requests);
	umem_cache_free(cp, s);
	umem_cache_destroy(cp);
	return (0);
}
