/*
 * clients.h - where umem and the files above it meet.
 *
 * Files of lib/ itself see only public headers of the floors below, and those
 * call nothing above them.  What they need of each other beside that passes
 * through here.
 */
#ifndef QR_CLIENTS_H
#define QR_CLIENTS_H

#include "base/compiler.h"
#include "base/out.h"

#include <stdbool.h>
#include <stdint.h>

enum qr_report { QR_REPORT_TEXT, QR_REPORT_JSON, QR_REPORT_METRICS };

/*
 * Options that umem reads with its own, and functions that the files of lib/
 * fill in when the library is loaded.
 */
struct qr_clients {
	uint64_t physpool_size; /* bytes of the default pool */
	bool debug;             /* what looks like a mistake is said */
	/* Add to the statistics, after the arenas; JSON: members of an object. */
	void (*report)(struct qr_out *o, enum qr_report kind);
	/* Give back to arenas what nobody has. */
	void (*settle)(void);
	/* And what is kept but need not be; may call the program. */
	void (*reap)(void);
};

extern QR_HIDDEN struct qr_clients qr_clients;

#endif /* QR_CLIENTS_H */
