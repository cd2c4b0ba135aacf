/* CRC32C (Castagnoli), as exit records use it. */
#ifndef NACELLE_CRC_H
#define NACELLE_CRC_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(const void *data, size_t length);

#endif
