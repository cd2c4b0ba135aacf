#include "crc.h"

/* Bit by bit: a record has 508 bytes and is written twice in a container's life. */
uint32_t crc32c(const void *data, size_t length)
{
	const uint8_t *at = data;
	uint32_t crc = ~UINT32_C(0);

	for (size_t i = 0; i < length; i++) {
		crc ^= at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = (crc >> 1) ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
	}
	return ~crc;
}
