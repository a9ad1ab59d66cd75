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

#include <stdint.h>

/* Options for clients; umem reads them with its own. */
struct qr_clients {
	uint64_t physpool_size; /* bytes of the default pool */
};

extern QR_HIDDEN struct qr_clients qr_clients;

#endif /* QR_CLIENTS_H */
