/* SPDX-License-Identifier: Apache-2.0 */
/* canon.h - reader of the one canonical JSON form that jsonw writes */
#ifndef KENAZ_AUDIT_CANON_H
#define KENAZ_AUDIT_CANON_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/base/buf.h"

#define CANON_INT_MAX 9007199254740991 /* 2^53 - 1 */

/* Cursor. After the first failure every take fails. */
struct canon {
	const uint8_t *at;
	const uint8_t *end;
	const char *fault; /* what was expected where it stopped, or NULL */
};

void canon_init(struct canon *c, struct span s);
bool canon_is_done(const struct canon *c);
bool canon_next_is(const struct canon *c, char byte);
bool canon_literal(struct canon *c, const char *literal);
bool canon_fail(struct canon *c, const char *expected);
bool canon_string(struct canon *c, size_t max_bytes, struct span *ret_raw);
bool canon_u53(struct canon *c, uint64_t *ret_value);
bool canon_integer(struct canon *c, int64_t *ret_value);
bool canon_hex(struct canon *c, uint8_t *ret_data, size_t len_bytes);
MUST_CHECK enum err canon_unescape(struct span raw, struct buf *out);

#endif
