/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - escaping of untrusted text, numbers, hex, base64, UTF-8 */
#ifndef KENAZ_BASE_TEXT_H
#define KENAZ_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/buf.h"

size_t text_escape_line(struct span s, char *ret_text, size_t cap_bytes);
MUST_CHECK enum err text_escape(struct span s, bool keep_newlines,
				struct buf *out);
MUST_CHECK enum err text_format(char *ret_text, size_t cap_bytes,
				const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void text_append(char *text, size_t cap_bytes, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
bool text_is_hidden(uint32_t code_point);
bool text_is_utf8(struct span s);
size_t text_utf8_next(struct span s, uint32_t *ret_code_point);
bool text_is_name(struct span s, size_t max_bytes);

MUST_CHECK enum err text_parse_u64(struct span s, uint64_t min, uint64_t max,
				   uint64_t *ret_value);
void text_hex(const uint8_t *data, size_t len_bytes, char *ret_text);
MUST_CHECK enum err text_unhex(struct span s, uint8_t *ret_data,
			       size_t len_bytes);
MUST_CHECK enum err text_base64(struct span s, struct buf *out);
MUST_CHECK enum err text_unbase64(struct span s, struct buf *out);

#endif
