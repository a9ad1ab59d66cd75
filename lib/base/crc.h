/*
 * crc.h - a checksum that tells any damage of up to 32 bits in a row.
 */
#ifndef QR_CRC_H
#define QR_CRC_H

#include <stddef.h>
#include <stdint.h>

/*
 * CRC-32 (IEEE 802.3) of what `crc` is the checksum of, 0 for nothing, and buf
 * behind it.
 */
uint32_t qr_crc32(uint32_t crc, const void *buf, size_t len);

#endif /* QR_CRC_H */
