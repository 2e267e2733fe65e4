/* SPDX-License-Identifier: Apache-2.0 */
/* stamp.h - RFC 3339 times in UTC and ULIDs, as events carry them */
#ifndef KENAZ_AUDIT_STAMP_H
#define KENAZ_AUDIT_STAMP_H

#include <stdint.h>

#include "engine/base/buf.h"

#define STAMP_TIME_BYTES   27u /* 2026-01-02T03:04:05.678901Z */
#define STAMP_ULID_BYTES   26u
#define STAMP_RANDOM_BYTES 10u

MUST_CHECK enum err stamp_time(int64_t wall_us,
			       char ret_text[STAMP_TIME_BYTES + 1]);
MUST_CHECK enum err stamp_parse_time(struct span text, int64_t *ret_wall_us);
MUST_CHECK enum err stamp_ulid(int64_t wall_us,
			       const uint8_t random[STAMP_RANDOM_BYTES],
			       char ret_text[STAMP_ULID_BYTES + 1]);
MUST_CHECK enum err stamp_parse_ulid(struct span text, uint64_t *ret_wall_ms);

#endif
