/*
 * umem_trace.h - stacks and times, for people.
 */
#ifndef QR_UMEM_TRACE_H
#define QR_UMEM_TRACE_H

#include <stdint.h>

struct qr_out;

/*
 * One line for each return address: module, offset and build-id, in the form
 * that symbolizers of sanitizers read.  Ends at the first that is no code.
 */
void umem__trace_stack(struct qr_out *o, const uintptr_t *pcs, unsigned n);

/* How long ago that was: T-SECONDS.NANOSECONDS */
void umem__trace_time(struct qr_out *o, uint64_t ticks);

#endif /* QR_UMEM_TRACE_H */
