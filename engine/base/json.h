/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - strict JSON tokenizer: spans into the text, no copies */
#ifndef KENAZ_BASE_JSON_H
#define KENAZ_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"
#include "engine/base/err.h"

#define JSON_DEPTH_MAX  128u          /* containers inside each other */
#define JSON_BYTES_MAX  (64u << 20)   /* longest text of any document */
#define JSON_TOKENS_MAX (2u << 20)    /* most values of any document */
#define JSON_NONE       UINT32_MAX    /* no such value */
#define JSON_ROOT       ((json_ref)0) /* the document's own value */

enum json_type {
	JSON_NULL,
	JSON_FALSE,
	JSON_TRUE,
	JSON_NUMBER,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT,
};

/* Index of a value in its document, or JSON_NONE. */
typedef uint32_t json_ref;

/* One value. Offsets count from the start of the text. */
struct json_token {
	uint32_t at_bytes, len_bytes;         /* quotes and braces included */
	uint32_t key_at_bytes, key_len_bytes; /* inside the quotes */
	json_ref parent, next;                /* next: first past the subtree */
	uint32_t count;                       /* members or elements */
	uint8_t type;
	bool has_key, key_escaped, escaped;
};

/* Zero means the ceiling above. */
struct json_limits {
	uint32_t max_bytes;
	uint32_t max_tokens;
	uint32_t max_depth;
	bool allow_nul; /* \u0000 in string values; never in keys */
};

struct json {
	struct span text; /* borrowed while the document is used */
	struct json_token *tokens;
	uint32_t len_tokens, cap_tokens;
	size_t error_at_bytes;  /* where parsing stopped */
	const char *error_text; /* static sentence fragment, or NULL */
};

/* Walk the members or elements of @container. */
#define JSON_EACH(j, item, container)                                       \
	for (json_ref item = json_first(j, container); (item) != JSON_NONE; \
	     (item) = json_next(j, item))

void json_init(struct json *j);
void json_fini(struct json *j);
MUST_CHECK enum err json_parse(struct json *j, struct span text,
			       const struct json_limits *limits);

bool json_is(const struct json *j, json_ref at, enum json_type type);
uint32_t json_count(const struct json *j, json_ref at);
struct span json_raw(const struct json *j, json_ref at);
size_t json_offset(const struct json *j, json_ref at);
json_ref json_first(const struct json *j, json_ref container);
json_ref json_next(const struct json *j, json_ref at);
json_ref json_parent(const struct json *j, json_ref at);
json_ref json_get(const struct json *j, json_ref object, const char *key);
json_ref json_find(const struct json *j, json_ref from, const char *path);

bool json_key_is(const struct json *j, json_ref at, const char *text);
MUST_CHECK enum err json_key(const struct json *j, json_ref at,
			     struct buf *out);
bool json_string_is(const struct json *j, json_ref at, const char *text);
MUST_CHECK enum err json_string(const struct json *j, json_ref at,
				struct buf *out);
MUST_CHECK enum err json_text(const struct json *j, json_ref at, char *ret_text,
			      size_t cap_bytes);
MUST_CHECK enum err json_int(const struct json *j, json_ref at, int64_t min,
			     int64_t max, int64_t *ret_value);
MUST_CHECK enum err json_uint(const struct json *j, json_ref at, uint64_t min,
			      uint64_t max, uint64_t *ret_value);
MUST_CHECK enum err json_bool(const struct json *j, json_ref at,
			      bool *ret_value);

#endif
