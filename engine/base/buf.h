/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - the one bounded buffer and its checked reader (little-endian) */
#ifndef KENAZ_BASE_BUF_H
#define KENAZ_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/base/err.h"

/* Growable bytes with a hard ceiling. Plain data: read through accessors. */
struct buf {
	uint8_t *data;
	size_t len_bytes;
	size_t cap_bytes;
	size_t max_bytes;
	bool secret; /* wiped before memory is released */
};

/* A borrowed run of bytes. Text in it is not NUL-terminated. */
struct span {
	const uint8_t *data;
	size_t len_bytes;
};

/* Cursor over borrowed bytes. After the first failure every get fails. */
struct reader {
	const uint8_t *data;
	size_t len_bytes;
	size_t pos_bytes;
	enum err status;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_init_secret(struct buf *b, size_t max_bytes);
void buf_fini(struct buf *b);
void buf_reset(struct buf *b);
void buf_consume(struct buf *b, size_t len_bytes);
void buf_truncate(struct buf *b, size_t len_bytes);
struct span buf_span(const struct buf *b);
MUST_CHECK enum err buf_reserve(struct buf *b, size_t len_bytes,
				uint8_t **ret_at);
MUST_CHECK enum err buf_put(struct buf *b, const void *data, size_t len_bytes);
MUST_CHECK enum err buf_put_span(struct buf *b, struct span s);
MUST_CHECK enum err buf_put_text(struct buf *b, const char *text);
MUST_CHECK enum err buf_put_u8(struct buf *b, uint8_t v);
MUST_CHECK enum err buf_put_u16(struct buf *b, uint16_t v);
MUST_CHECK enum err buf_put_u32(struct buf *b, uint32_t v);
MUST_CHECK enum err buf_put_u64(struct buf *b, uint64_t v);
MUST_CHECK enum err buf_put_lp(struct buf *b, struct span s);
MUST_CHECK enum err buf_printf(struct buf *b, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
MUST_CHECK enum err buf_terminate(struct buf *b, const char **ret_text);

struct span span_of(const void *data, size_t len_bytes);
struct span span_text(const char *text);
bool span_equal(struct span a, struct span b);
bool span_is(struct span a, const char *text);
MUST_CHECK enum err span_copy_text(struct span s, char *ret_text,
				   size_t cap_bytes);

void reader_init(struct reader *r, struct span s);
size_t reader_left(const struct reader *r);
uint8_t reader_get_u8(struct reader *r);
uint16_t reader_get_u16(struct reader *r);
uint32_t reader_get_u32(struct reader *r);
uint64_t reader_get_u64(struct reader *r);
struct span reader_get_span(struct reader *r, size_t len_bytes);
struct span reader_get_lp(struct reader *r, size_t max_bytes);

#endif
