/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf.c - the one bounded buffer and its checked reader
 *
 * Runs in: every program.
 * Trusts:  its callers for pointers, nobody for lengths found in data.
 * Never:   grows past its ceiling, reads past its end.
 *
 * Numbers on every Kenaz wire are little-endian; a length-prefixed run
 * ("lp") is a u32 length and that many bytes.
 */
#include "engine/base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST_BYTES 256u

static void wipe(void *data, size_t len_bytes)
{
	if (data && len_bytes)
		explicit_bzero(data, len_bytes);
}

/**
 * buf_init() - Prepare an empty buffer
 * @b:		Caller's memory
 * @max_bytes:	Ceiling; adding past it gives ERR_LIMIT
 */
void buf_init(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){.max_bytes = max_bytes};
}

/**
 * buf_init_secret() - Prepare a buffer whose memory is wiped when released
 * @b:		Caller's memory
 * @max_bytes:	Ceiling
 */
void buf_init_secret(struct buf *b, size_t max_bytes)
{
	*b = (struct buf){.max_bytes = max_bytes, .secret = true};
}

/**
 * buf_fini() - Release a buffer's memory; a zeroed buffer is accepted
 * @b:	Buffer, or NULL
 */
void buf_fini(struct buf *b)
{
	if (!b)
		return;
	if (b->secret)
		wipe(b->data, b->cap_bytes);
	free(b->data);
	b->data = NULL;
	b->len_bytes = 0;
	b->cap_bytes = 0;
}

/**
 * buf_reset() - Forget the content and keep the memory
 * @b:	Buffer
 */
void buf_reset(struct buf *b)
{
	if (b->secret)
		wipe(b->data, b->cap_bytes);
	b->len_bytes = 0;
}

/**
 * buf_consume() - Drop bytes from the front
 * @b:		Buffer
 * @len_bytes:	How many; at most the length
 */
void buf_consume(struct buf *b, size_t len_bytes)
{
	assert(len_bytes <= b->len_bytes);
	if (len_bytes == 0)
		return;
	memmove(b->data, b->data + len_bytes, b->len_bytes - len_bytes);
	b->len_bytes -= len_bytes;
}

/**
 * buf_truncate() - Drop bytes from the end
 * @b:		Buffer
 * @len_bytes:	New length; at most the present one
 */
void buf_truncate(struct buf *b, size_t len_bytes)
{
	assert(len_bytes <= b->len_bytes);
	b->len_bytes = len_bytes;
}

/**
 * buf_span() - Borrow the content
 * @b:	Buffer
 *
 * Return: valid until the buffer is next changed.
 */
struct span buf_span(const struct buf *b)
{
	return span_of(b->data, b->len_bytes);
}

/**
 * buf_reserve() - Append room that the caller fills at once
 * @b:		Buffer
 * @len_bytes:	How much; counted as content from now on
 * @ret_at:	Where to write; borrowed until the next change
 *
 * Return: ERR_OK; ERR_LIMIT past the ceiling; ERR_MEMORY.
 */
enum err buf_reserve(struct buf *b, size_t len_bytes, uint8_t **ret_at)
{
	size_t need, cap;
	uint8_t *data;

	if (len_bytes > b->max_bytes || b->len_bytes > b->max_bytes - len_bytes)
		return ERR_LIMIT;
	need = b->len_bytes + len_bytes;
	if (need > b->cap_bytes || !b->data) {
		cap = b->cap_bytes ? b->cap_bytes : BUF_FIRST_BYTES;
		while (cap < need)
			cap = cap > b->max_bytes / 2 ? b->max_bytes : cap * 2;
		data = malloc(cap ? cap : 1);
		if (!data)
			return ERR_MEMORY;
		if (b->len_bytes)
			memcpy(data, b->data, b->len_bytes);
		if (b->secret)
			wipe(b->data, b->cap_bytes);
		free(b->data);
		b->data = data;
		b->cap_bytes = cap;
	}
	*ret_at = b->data + b->len_bytes;
	b->len_bytes = need;
	return ERR_OK;
}

/**
 * buf_put() - Append bytes
 * @b:		Buffer
 * @data:	Borrowed; may be NULL when @len_bytes is 0
 * @len_bytes:	Length
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY. Nothing is added on failure.
 */
enum err buf_put(struct buf *b, const void *data, size_t len_bytes)
{
	uint8_t *at;
	enum err e;

	if (len_bytes == 0)
		return ERR_OK;
	e = buf_reserve(b, len_bytes, &at);
	if (e == ERR_OK)
		memcpy(at, data, len_bytes);
	return e;
}

/**
 * buf_put_span() - Append a span's bytes
 * @b:	Buffer
 * @s:	Borrowed
 *
 * Return: as buf_put().
 */
enum err buf_put_span(struct buf *b, struct span s)
{
	return buf_put(b, s.data, s.len_bytes);
}

/**
 * buf_put_text() - Append text without its NUL
 * @b:		Buffer
 * @text:	Borrowed, not NULL
 *
 * Return: as buf_put().
 */
enum err buf_put_text(struct buf *b, const char *text)
{
	return buf_put(b, text, strlen(text));
}

static enum err put_le(struct buf *b, uint64_t v, size_t len_bytes)
{
	uint8_t bytes[8];
	size_t i;

	for (i = 0; i < len_bytes; i++)
		bytes[i] = (uint8_t)(v >> (8 * i));
	return buf_put(b, bytes, len_bytes);
}

/**
 * buf_put_u8() - Append one byte
 * @b:	Buffer
 * @v:	Value
 *
 * Return: as buf_put(). The wider ones below are little-endian.
 */
enum err buf_put_u8(struct buf *b, uint8_t v)
{
	return put_le(b, v, 1);
}

/** buf_put_u16() - Append a 16-bit number; see buf_put_u8() */
enum err buf_put_u16(struct buf *b, uint16_t v)
{
	return put_le(b, v, 2);
}

/** buf_put_u32() - Append a 32-bit number; see buf_put_u8() */
enum err buf_put_u32(struct buf *b, uint32_t v)
{
	return put_le(b, v, 4);
}

/** buf_put_u64() - Append a 64-bit number; see buf_put_u8() */
enum err buf_put_u64(struct buf *b, uint64_t v)
{
	return put_le(b, v, 8);
}

/**
 * buf_put_lp() - Append a u32 length and the bytes
 * @b:	Buffer
 * @s:	Borrowed
 *
 * Return: as buf_put(); nothing is added on failure.
 */
enum err buf_put_lp(struct buf *b, struct span s)
{
	size_t before = b->len_bytes;
	enum err e;

	if (s.len_bytes > UINT32_MAX)
		return ERR_LIMIT;
	e = buf_put_u32(b, (uint32_t)s.len_bytes);
	if (e == ERR_OK)
		e = buf_put_span(b, s);
	if (e != ERR_OK)
		buf_truncate(b, before);
	return e;
}

/**
 * buf_printf() - Append formatted text without a NUL
 * @b:		Buffer
 * @format:	As printf(3); arguments must be trusted or escaped text
 *
 * Return: as buf_put(); ERR_INTERNAL when the format fails.
 */
enum err buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	uint8_t *at;
	int len;
	enum err e;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len < 0)
		return ERR_INTERNAL;
	e = buf_reserve(b, (size_t)len + 1, &at);
	if (e != ERR_OK)
		return e;
	va_start(args, format);
	(void)vsnprintf((char *)at, (size_t)len + 1, format, args);
	va_end(args);
	b->len_bytes--;
	return ERR_OK;
}

/**
 * buf_terminate() - Put a NUL behind the content, not counted as content
 * @b:		Buffer; its content must hold no NUL itself
 * @ret_text:	Borrowed until the next change
 *
 * Return: ERR_OK; ERR_FORMAT when the content holds a NUL; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err buf_terminate(struct buf *b, const char **ret_text)
{
	enum err e;

	if (b->len_bytes && memchr(b->data, 0, b->len_bytes))
		return ERR_FORMAT;
	e = buf_put_u8(b, 0);
	if (e != ERR_OK)
		return e;
	b->len_bytes--;
	*ret_text = (const char *)b->data;
	return ERR_OK;
}

/** span_of() - Make a span of borrowed bytes */
struct span span_of(const void *data, size_t len_bytes)
{
	return (struct span){.data = data, .len_bytes = len_bytes};
}

/** span_text() - Make a span of borrowed NUL-terminated text; NULL is empty */
struct span span_text(const char *text)
{
	return span_of(text, text ? strlen(text) : 0);
}

/** span_equal() - Whether two spans hold the same bytes (not constant time) */
bool span_equal(struct span a, struct span b)
{
	return a.len_bytes == b.len_bytes &&
	       (a.len_bytes == 0 || memcmp(a.data, b.data, a.len_bytes) == 0);
}

/** span_is() - Whether a span holds exactly this text */
bool span_is(struct span a, const char *text)
{
	return span_equal(a, span_text(text));
}

/**
 * span_copy_text() - Copy a span into a NUL-terminated array
 * @s:		Borrowed
 * @ret_text:	Array of @cap_bytes; written on success only
 * @cap_bytes:	Its size, the NUL included
 *
 * Return: ERR_OK; ERR_LIMIT when it does not fit; ERR_FORMAT for a NUL inside.
 */
enum err span_copy_text(struct span s, char *ret_text, size_t cap_bytes)
{
	if (s.len_bytes >= cap_bytes)
		return ERR_LIMIT;
	if (s.len_bytes && memchr(s.data, 0, s.len_bytes))
		return ERR_FORMAT;
	if (s.len_bytes)
		memcpy(ret_text, s.data, s.len_bytes);
	ret_text[s.len_bytes] = '\0';
	return ERR_OK;
}

/**
 * reader_init() - Start reading borrowed bytes
 * @r:	Caller's memory
 * @s:	Must outlive the reader
 *
 * Getters return zero or an empty span after a failure and keep the first
 * failure in @r->status, so a run of gets needs one check at its end.
 */
void reader_init(struct reader *r, struct span s)
{
	*r = (struct reader){.data = s.data,
			     .len_bytes = s.len_bytes,
			     .status = ERR_OK};
}

/** reader_left() - Bytes not read yet; 0 after a failure */
size_t reader_left(const struct reader *r)
{
	return r->status == ERR_OK ? r->len_bytes - r->pos_bytes : 0;
}

/**
 * reader_get_span() - Take a run of bytes
 * @r:		Reader
 * @len_bytes:	How many
 *
 * Return: borrowed bytes; empty with status ERR_SHORT when too few are left.
 */
struct span reader_get_span(struct reader *r, size_t len_bytes)
{
	struct span s = {0};

	if (r->status != ERR_OK)
		return s;
	if (len_bytes > r->len_bytes - r->pos_bytes) {
		r->status = ERR_SHORT;
		return s;
	}
	s = span_of(r->data + r->pos_bytes, len_bytes);
	r->pos_bytes += len_bytes;
	return s;
}

static uint64_t get_le(struct reader *r, size_t len_bytes)
{
	struct span s = reader_get_span(r, len_bytes);
	uint64_t v = 0;
	size_t i;

	for (i = 0; i < s.len_bytes; i++)
		v |= (uint64_t)s.data[i] << (8 * i);
	return v;
}

/** reader_get_u8() - Take a byte; 0 with ERR_SHORT at the end */
uint8_t reader_get_u8(struct reader *r)
{
	return (uint8_t)get_le(r, 1);
}

/** reader_get_u16() - Take a 16-bit number; 0 with ERR_SHORT at the end */
uint16_t reader_get_u16(struct reader *r)
{
	return (uint16_t)get_le(r, 2);
}

/** reader_get_u32() - Take a 32-bit number; 0 with ERR_SHORT at the end */
uint32_t reader_get_u32(struct reader *r)
{
	return (uint32_t)get_le(r, 4);
}

/** reader_get_u64() - Take a 64-bit number; 0 with ERR_SHORT at the end */
uint64_t reader_get_u64(struct reader *r)
{
	return get_le(r, 8);
}

/**
 * reader_get_lp() - Take a length-prefixed run
 * @r:		Reader
 * @max_bytes:	Longest run accepted
 *
 * Return: borrowed bytes; empty with ERR_SHORT or ERR_LIMIT in the status.
 */
struct span reader_get_lp(struct reader *r, size_t max_bytes)
{
	uint32_t len = reader_get_u32(r);

	if (r->status == ERR_OK && len > max_bytes) {
		r->status = ERR_LIMIT;
		return (struct span){0};
	}
	return reader_get_span(r, len);
}
