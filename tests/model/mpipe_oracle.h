/*
 * mpipe_oracle.h - a slow and obvious pipe: who gets which buffer, when one is
 * made or given up, and what is counted.
 *
 * It knows buffers by number; the address of one is learnt when the real pipe
 * first shows it.  It has no clock: after each operation oracle_settle() does
 * all that is to happen by itself, and lists it for whoever compares.
 */
#ifndef QR_MPIPE_ORACLE_H
#define QR_MPIPE_ORACLE_H

#include <quarry/mpipe.h>

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
	MOST = 64, /* buffers that a pipe may have */
	BUFS = 4 * MOST,
	LINE = 12,    /* requests that may wait */
	EVENTS = 128, /* that one operation may cause */
	NOBODY = -1,  /* no buffer */
	UNLIMITED = 0x7fff0000,
};

enum state { NOWHERE, FREE, READY, USED, GONE };

/* As new, all zero bytes, or what the test wrote. */
enum contents { FRESH, ZEROED, STAMPED };

struct buf {
	enum state b_state;
	char *b_addr; /* NULL: not known yet */
	enum contents b_contents;
	uint8_t b_stamp;
	bool b_loose; /* was free, and nothing was heard of it since */
};

/* Who waits, and what it does with what it gets. */
enum kind {
	THREAD,
	KEEP,    /* mpipe_alloc_async */
	DROP,    /* the same; the callback frees the buffer */
	HOLD,    /* the same; the callback does not return until it is let go */
	TAKE,    /* mpipe_alloc_callback; the callback allocates */
	DECLINE, /* the same; it does not */
};

struct asker {
	enum kind a_kind;
	unsigned a_id; /* of the request, or the number of the thread */
	uint64_t a_ticket;
	int a_buf;
	bool a_hit; /* which was free at once */
};

enum answer { NO, YES, PERHAPS };

struct oracle {
	bool o_zeroes; /* each free does */
	int o_nnom, o_nmax, o_total;
	int o_most;   /* the most buffers that there were */
	int o_budget; /* constructions that succeed; -1: all */
	int o_room;   /* buffers for which there is memory; -1: all */
	struct buf o_buf[BUFS];
	int o_free[BUFS]; /* the last is the next */
	int o_nfree;
	struct asker o_queue[LINE], o_ready[LINE];
	int o_nqueue, o_nready;
	bool o_held;         /* a callback does not return */
	bool o_retrying;     /* the oldest waiter tries to make one */
	bool o_retried;      /* some did, nobody knows how often */
	enum answer o_short; /* the last attempt to make one failed */
	int o_elsewhere; /* failed constructions that are no attempt to grow */
	int o_memory_failures;
	uint64_t o_grants;
	struct mpipe_stats o_stats;

	/* What happened since oracle_forget(). */
	struct asker o_call[EVENTS], o_woken[EVENTS];
	int o_gone[EVENTS];
	int o_ncall, o_nwoken, o_ngone;
};

static inline void
oracle_numbers(struct oracle *o, int nnom, int nmax)
{
	o->o_nnom = nnom < 1 ? 1 : nnom;
	o->o_nmax = nmax < 0 ? UNLIMITED : nmax;
	if (o->o_nmax < o->o_nnom)
		o->o_nmax = o->o_nnom;
}

static inline void
oracle_note(struct oracle *o)
{
	uint64_t out = (uint64_t)(o->o_total - o->o_nfree);

	if (out > o->o_stats.outstanding_max)
		o->o_stats.outstanding_max = out;
	if (o->o_total > o->o_most)
		o->o_most = o->o_total;
}

/* ---- buffers ---- */

static inline bool
oracle_can_make(const struct oracle *o)
{
	return (o->o_budget != 0 && o->o_room != 0);
}

/* Memory and construction; NOBODY and the errno. */
static inline int
oracle_make(struct oracle *o, int *error)
{
	int i = 0;

	if (!oracle_can_make(o)) {
		*error = o->o_room == 0 ? ENOMEM : EIO;
		return (NOBODY);
	}
	o->o_room -= o->o_room > 0;
	o->o_budget -= o->o_budget > 0;
	while (o->o_buf[i].b_state != NOWHERE)
		i++;
	o->o_buf[i] = (struct buf){.b_state = READY, .b_contents = FRESH};
	return (i);
}

static inline void
oracle_unmake(struct oracle *o, int i)
{
	o->o_room += o->o_room >= 0;
	o->o_buf[i].b_state = GONE;
	o->o_gone[o->o_ngone++] = i;
}

static inline void
oracle_push(struct oracle *o, int i)
{
	o->o_buf[i].b_state = FREE;
	o->o_free[o->o_nfree++] = i;
}

static inline int
oracle_pop(struct oracle *o)
{
	int i = o->o_free[--o->o_nfree];

	o->o_buf[i].b_state = READY;
	o->o_buf[i].b_loose = true;
	return (i);
}

/* Somebody has it now. */
static inline void
oracle_hand_out(struct oracle *o, int i, bool hit)
{
	o->o_buf[i].b_state = USED;
	o->o_stats.allocs++;
	o->o_stats.hits += hit;
}

/* ---- giving ---- */

static inline struct asker
oracle_leave(struct asker *line, int *n, int at)
{
	struct asker a = line[at];

	memmove(
	    &line[at], &line[at + 1], (size_t)(--*n - at) * sizeof(line[0]));
	return (a);
}

/* To the oldest waiter, or the free ones if there is room, or nowhere. */
static inline void
oracle_give(struct oracle *o, int i)
{
	o->o_short = o->o_retrying ? PERHAPS : NO;
	if (o->o_nqueue > 0) {
		struct asker a = oracle_leave(o->o_queue, &o->o_nqueue, 0);

		o->o_grants++;
		a.a_buf = i;
		if (a.a_kind == THREAD) {
			oracle_hand_out(o, i, false);
			o->o_woken[o->o_nwoken++] = a;
		} else {
			o->o_buf[i].b_state = READY;
			o->o_ready[o->o_nready++] = a;
		}
	} else if (o->o_nfree < o->o_nnom) {
		oracle_push(o, i);
	} else {
		o->o_total--;
		o->o_stats.overflow_frees++;
		oracle_unmake(o, i);
	}
	oracle_note(o);
}

/*
 * A deconstructor is shown what was in a buffer that is given up.  Of a loose
 * one nobody knows yet which it is.
 */
static inline void
oracle_free(struct oracle *o, int i)
{
	if (o->o_zeroes && !o->o_buf[i].b_loose &&
	    (o->o_nqueue > 0 || o->o_nfree < o->o_nnom))
		o->o_buf[i].b_contents = ZEROED;
	oracle_give(o, i);
}

/* ---- taking ---- */

static inline int
oracle_grow(struct oracle *o, int *error)
{
	int i = oracle_make(o, error);

	if (i == NOBODY) {
		o->o_stats.grow_failures++;
		o->o_memory_failures += o->o_room == 0;
		o->o_short = YES;
		return (NOBODY);
	}
	o->o_total++;
	o->o_stats.growths++;
	oracle_note(o);
	return (i);
}

/* What can be had at once; NOBODY and the errno. */
static inline int
oracle_take(struct oracle *o, bool *hit, int *error)
{
	*error = EAGAIN;
	*hit = o->o_nfree > 0;
	if (*hit) {
		int i = oracle_pop(o);

		oracle_note(o);
		return (i);
	}
	while (o->o_total < o->o_nmax) {
		int i = oracle_grow(o, error);

		if (i == NOBODY || o->o_nqueue == 0)
			return (i);
		oracle_give(o, i);
		*error = EAGAIN;
	}
	return (NOBODY);
}

static inline bool
oracle_would_wait(const struct oracle *o)
{
	return (o->o_nfree == 0 &&
	    (o->o_total >= o->o_nmax || !oracle_can_make(o)));
}

static inline void
oracle_stand_in_line(struct oracle *o, const struct asker *a)
{
	o->o_stats.sleeps++;
	o->o_queue[o->o_nqueue++] = *a;
}

/* The one at that place in the line, those who were not called yet first. */
static inline void
oracle_cancel(struct oracle *o, int at)
{
	if (at < o->o_nready)
		oracle_give(
		    o, oracle_leave(o->o_ready, &o->o_nready, at).a_buf);
	else
		(void)oracle_leave(o->o_queue, &o->o_nqueue, at - o->o_nready);
}

/* ---- other numbers ---- */

static inline int
oracle_resize(struct oracle *o, int nnom, int nmax)
{
	struct oracle want = *o;
	int made[MOST], n = 0, error = 0;

	oracle_numbers(&want, nnom, nmax);
	if (o->o_total - o->o_nfree > want.o_nmax)
		return (EBUSY);
	while (error == 0 && o->o_total + n < want.o_nnom) {
		made[n] = oracle_make(o, &error);
		n += error == 0;
	}
	if (error != 0) {
		o->o_elsewhere += error == EIO;
		while (n > 0)
			oracle_unmake(o, made[--n]);
		return (error);
	}
	o->o_nnom = want.o_nnom;
	o->o_nmax = want.o_nmax;
	while (n > 0) {
		o->o_total++;
		oracle_give(o, made[--n]);
	}
	while (o->o_nfree > o->o_nnom || o->o_total > o->o_nmax) {
		o->o_total--;
		oracle_unmake(o, oracle_pop(o));
	}
	return (0);
}

/* ---- what happens by itself ---- */

static inline void
oracle_call(struct oracle *o)
{
	struct asker a = oracle_leave(o->o_ready, &o->o_nready, 0);
	int gift = a.a_buf;

	switch (a.a_kind) {
	case TAKE:
		if (o->o_nfree > 0) {
			a.a_buf = oracle_pop(o);
			oracle_note(o);
			oracle_hand_out(o, a.a_buf, true);
			oracle_give(o, gift);
			break;
		}
		oracle_hand_out(o, gift, false);
		break;
	case DECLINE:
		a.a_buf = NOBODY;
		oracle_give(o, gift);
		break;
	default:
		oracle_hand_out(o, gift, a.a_hit);
		o->o_held = a.a_kind == HOLD;
		if (a.a_kind == DROP)
			oracle_free(o, gift);
		break;
	}
	o->o_call[o->o_ncall++] = a;
}

/* The oldest waiter can make what it wants, unless its thread is held up. */
static inline bool
oracle_serves_itself(const struct oracle *o)
{
	return (o->o_nqueue > 0 && o->o_total < o->o_nmax &&
	    oracle_can_make(o) &&
	    (!o->o_held || o->o_queue[0].a_kind == THREAD));
}

static inline void
oracle_settle(struct oracle *o)
{
	int ignored;

	for (;;) {
		if (o->o_nready > 0 && !o->o_held)
			oracle_call(o);
		else if (oracle_serves_itself(o))
			oracle_give(o, oracle_grow(o, &ignored));
		else
			break;
	}
	o->o_retrying = o->o_nqueue > 0 && o->o_total < o->o_nmax;
	o->o_retried = o->o_retried || o->o_retrying;
	if (o->o_retrying)
		o->o_short = PERHAPS;
}

static inline void
oracle_forget(struct oracle *o)
{
	o->o_ncall = o->o_nwoken = o->o_ngone = 0;
	for (int i = 0; i < BUFS; i++) {
		if (o->o_buf[i].b_state == GONE)
			o->o_buf[i] = (struct buf){.b_state = NOWHERE};
	}
}

static inline void
oracle_start(struct oracle *o, int nnom, int nmax, bool zeroes)
{
	int error = 0;

	memset(o, 0, sizeof(*o));
	o->o_zeroes = zeroes;
	o->o_budget = o->o_room = -1;
	oracle_numbers(o, nnom, nmax);
	while (o->o_total < o->o_nnom) {
		o->o_total++;
		oracle_push(o, oracle_make(o, &error));
	}
	o->o_most = o->o_total;
}

/* Would a nowait succeed, as the descriptor says? */
static inline enum answer
oracle_readable(const struct oracle *o)
{
	if (o->o_nfree > 0 || o->o_total >= o->o_nmax)
		return (o->o_nfree > 0 ? YES : NO);
	return (o->o_short == PERHAPS ? PERHAPS : o->o_short == NO ? YES : NO);
}

#endif /* QR_MPIPE_ORACLE_H */
