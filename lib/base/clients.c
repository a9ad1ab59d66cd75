/*
 * clients.c - where umem and the files above it meet.
 *
 * SPDX-License-Identifier: BSD-2-Clause
 */
#include "base/clients.h"

struct qr_clients qr_clients = {
    .physpool_size = (uint64_t)64 << 20,
};
