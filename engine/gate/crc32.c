/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crc32.c - CRC-32 of ISO 3309, as zlib computes it
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing; any bytes have a CRC.
 * Never:   serves as a proof of origin: it finds accidents only.
 *
 * Reflected polynomial 0xedb88320, four bits at a time: frames are small, and
 * a table of 16 words stays in the cache.
 */
#include "engine/gate/crc32.h"

static const uint32_t table[16] = {
	0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
	0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
	0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};

/**
 * crc32_update() - Go on with a CRC
 * @crc:	0, or the CRC of the bytes before
 * @bytes:	Borrowed
 *
 * Return: the CRC of everything so far.
 */
uint32_t crc32_update(uint32_t crc, struct span bytes)
{
	size_t i;

	crc = ~crc;
	for (i = 0; i < bytes.len_bytes; i++) {
		crc ^= bytes.data[i];
		crc = table[crc & 15] ^ (crc >> 4);
		crc = table[crc & 15] ^ (crc >> 4);
	}
	return ~crc;
}
