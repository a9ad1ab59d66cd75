/*
 * umem_log.h - what happened last, as UMEM_LOGGING asks for: rings of entries.
 *
 * A log has a ring for each of a few groups of threads, so that they do not
 * wait for each other, and an entry is a header, an audit, and in one log the
 * contents of an object.
 */
#ifndef QR_UMEM_LOG_H
#define QR_UMEM_LOG_H

#include "umem/umem_debug.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct qr_out;

/*
 * Make the logs whose size is not 0 in umem__opt.  One for which there is no
 * memory is none.  Called once, while there is one thread.
 */
void umem__log_init(void);

/* An object was allocated or freed, as bc says. */
void umem__log_transaction(const struct umem_cache *cp, uintptr_t obj,
    const struct umem_bufctl *bc, const struct umem_audit *au);
/*
 * The first bytes of an object that is about to be freed.  The number of the
 * entry; 0 when there is no such log.
 */
uint64_t umem__log_contents(
    const struct umem_cache *cp, uintptr_t obj, size_t size);
/* A request to cp got nothing. */
void umem__log_fail(const struct umem_cache *cp, size_t size);
/* A slab was made, or is about to go. */
void umem__log_slab(
    const struct umem_cache *cp, const struct umem_slab *sl, bool made);

/* What the log says of obj, latest last; of everything, if obj is 0. */
void umem__log_show_transactions(struct qr_out *o, uintptr_t obj);
/* What the entry of that number saved of obj, if it is not overwritten. */
void umem__log_show_contents(struct qr_out *o, uintptr_t obj, uint64_t number);

/* Fork: every lock of this file. */
void umem__log_lock_all(void);
void umem__log_unlock_all(void);

#endif /* QR_UMEM_LOG_H */
