/*
 * watch.c - one mistake with objects of caches, named on the command line.
 *
 * watch.sh runs it where Valgrind or AddressSanitizer looks.
 */
#include <quarry/umem.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 100 };

struct node {
	struct node *n_next;
	char n_name[40];
};

static umem_cache_t *nodes, *named;
static struct node *volatile held;
static char *volatile block;
static volatile int seen;

static int
name_ctor(void *buf, void *priv, int flags)
{
	struct node *n = buf;

	(void)priv;
	(void)flags;
	n->n_next = NULL;
	memset(n->n_name, 'n', sizeof(n->n_name));
	return (0);
}

static void
name_dtor(void *buf, void *priv)
{
	struct node *n = buf;

	(void)priv;
	if (n->n_name[39] != 'n')
		abort();
}

/* Everything that is allowed. */
static void
nothing_wrong(void)
{
	struct node *list = NULL, *next;

	for (int i = 0; i < 1000; i++) {
		next = umem_cache_alloc(i % 2 ? nodes : named, UMEM_DEFAULT);
		next->n_next = list;
		next->n_name[39] = 'n';
		list = next;
	}
	for (int i = 999; i >= 0; i--) {
		next = list->n_next;
		umem_cache_free(i % 2 ? nodes : named, list);
		list = next;
	}
	for (size_t size = 1; size < 200000; size += 1 + size / 5) {
		block = umem_alloc(size, UMEM_DEFAULT);
		memset(block, 1, size);
		seen = block[size - 1];
		umem_free(block, size);
	}
	(void)umem_cache_reap_now(nodes);
	held = umem_cache_alloc(named, UMEM_DEFAULT);
	seen = held->n_name[3] == 'n';
	umem_cache_free(named, held);
}

static void
read_after_free(void)
{
	held = umem_cache_alloc(nodes, UMEM_DEFAULT);
	held->n_next = NULL;
	umem_cache_free(nodes, held);
	seen = held->n_next == NULL;
}

static void
write_after_free(void)
{
	block = umem_alloc(SIZE, UMEM_DEFAULT);
	umem_free(block, SIZE);
	block[SIZE / 2] = 1;
}

static void
write_past_the_end(void)
{
	block = umem_alloc(SIZE, UMEM_DEFAULT);
	block[SIZE] = 1;
}

static void
write_before_the_start(void)
{
	block = umem_alloc(SIZE, UMEM_DEFAULT);
	block[-1] = 1;
}

static void
read_past_an_object(void)
{
	held = umem_cache_alloc(nodes, UMEM_DEFAULT);
	seen = ((volatile char *)held)[sizeof(*held)];
}

static void
decide_by_what_is_undefined(void)
{
	block = umem_alloc(SIZE, UMEM_DEFAULT);
	if (block[7] == 1)
		seen = 1;
}

/* Not inlined, so that nothing of it is left on the stack or in registers. */
static __attribute__((noinline)) void
lose(void)
{
	for (int i = 0; i < 3; i++) {
		struct node *n = umem_cache_alloc(nodes, UMEM_DEFAULT);

		n->n_next = NULL;
	}
	block = umem_alloc(SIZE, UMEM_DEFAULT);
	block = NULL;
}

static __attribute__((noinline)) void
leak(void)
{
	char stack[8000];

	lose();
	memset(stack, 0, sizeof(stack));
	__asm__ volatile("" ::"r"(stack) : "memory");
	held = umem_cache_alloc(nodes, UMEM_DEFAULT);
	held->n_next = NULL;
}

static const struct {
	const char *name;
	void (*fn)(void);
} mistakes[] = {
    {"nothing", nothing_wrong},
    {"read-after-free", read_after_free},
    {"write-after-free", write_after_free},
    {"write-past", write_past_the_end},
    {"write-before", write_before_the_start},
    {"read-past", read_past_an_object},
    {"undefined", decide_by_what_is_undefined},
    {"leak", leak},
};

int
main(int argc, char **argv)
{
	nodes = umem_cache_create(
	    "nodes", sizeof(struct node), 0, NULL, NULL, NULL, NULL, NULL, 0);
	named = umem_cache_create("named", sizeof(struct node), 0, name_ctor,
	    name_dtor, NULL, NULL, NULL, 0);
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		if (argc == 2 && strcmp(argv[1], mistakes[i].name) == 0) {
			mistakes[i].fn();
			return (0);
		}
	}
	return (2);
}
