/* SPDX-License-Identifier: Apache-2.0 */
/* crc32.h - CRC-32 of ISO 3309, as zlib computes it */
#ifndef KENAZ_GATE_CRC32_H
#define KENAZ_GATE_CRC32_H

#include "engine/base/buf.h"

uint32_t crc32_update(uint32_t crc, struct span bytes);

#endif
