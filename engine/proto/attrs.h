/* SPDX-License-Identifier: Apache-2.0 */
/* attrs.h - key/value lists inside messages: u8 type, lp key, value */
#ifndef KENAZ_PROTO_ATTRS_H
#define KENAZ_PROTO_ATTRS_H

#include <stdbool.h>

#include "engine/base/buf.h"

#define ATTR_KEY_MAX_BYTES   128u
#define ATTR_VALUE_MAX_BYTES (48u * 1024)
#define ATTR_LIST_MAX_ITEMS  256u

enum attr_type {
	ATTR_TEXT = 1, /* lp bytes, valid UTF-8 */
	ATTR_U64 = 2,  /* u64 */
	ATTR_I64 = 3,  /* u64, two's complement */
	ATTR_BOOL = 4, /* u8, 0 or 1 */
	ATTR_LIST = 5, /* u32 count, then lp texts */
};

struct attr {
	enum attr_type type;
	struct span key;
	struct span text;  /* ATTR_TEXT */
	uint64_t number;   /* ATTR_U64, ATTR_I64, ATTR_BOOL */
	struct span items; /* ATTR_LIST: the lp texts */
	uint32_t count;    /* ATTR_LIST */
};

MUST_CHECK enum err attrs_put_text(struct buf *b, const char *key,
				   struct span value);
MUST_CHECK enum err attrs_put_pair(struct buf *b, struct span key,
				   struct span value);
MUST_CHECK enum err attrs_put_u64(struct buf *b, const char *key,
				  uint64_t value);
MUST_CHECK enum err attrs_put_i64(struct buf *b, const char *key,
				  int64_t value);
MUST_CHECK enum err attrs_put_bool(struct buf *b, const char *key, bool value);
MUST_CHECK enum err attrs_put_list(struct buf *b, const char *key,
				   const struct span *items, size_t count);
bool attrs_next(struct reader *r, struct attr *ret_attr);
bool attrs_list_next(struct reader *items, struct span *ret_text);
bool attrs_find(struct span attrs, const char *key, struct attr *ret_attr);

#endif
