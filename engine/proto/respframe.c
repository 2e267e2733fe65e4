/* SPDX-License-Identifier: Apache-2.0 */
/*
 * respframe.c - a provider's response on its way from broker to gate
 *
 * Runs in: kenaz-broker (writes), kenaz-gate (reads).
 * Trusts:  nothing when reading: type and length are checked.
 * Never:   looks into the body; the broker passes it on unparsed.
 */
#include "engine/proto/respframe.h"

#define HEADERS_MAX_BYTES 16384u

static enum err put_start(struct buf *b, enum respframe_type type,
			  size_t len_bytes)
{
	enum err e = buf_put_u8(b, (uint8_t)type);

	return e == ERR_OK ? buf_put_u32(b, (uint32_t)len_bytes) : e;
}

static enum err finish(struct buf *b, size_t before, enum err e)
{
	if (e != ERR_OK)
		buf_truncate(b, before);
	return e;
}

/**
 * respframe_put_head() - Append the response's status and headers
 * @b:		Buffer
 * @status:	HTTP status
 * @headers:	attrs.h texts
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY; nothing added then.
 */
enum err respframe_put_head(struct buf *b, uint16_t status, struct span headers)
{
	size_t before = b->len_bytes;
	enum err e;

	if (headers.len_bytes > HEADERS_MAX_BYTES)
		return ERR_LIMIT;
	e = put_start(b, RESPFRAME_HEAD, 2 + headers.len_bytes);
	if (e == ERR_OK)
		e = buf_put_u16(b, status);
	if (e == ERR_OK)
		e = buf_put_span(b, headers);
	return finish(b, before, e);
}

/** respframe_put_data() - Append body bytes; as respframe_put_head() */
enum err respframe_put_data(struct buf *b, struct span data)
{
	size_t before = b->len_bytes;
	enum err e;

	if (data.len_bytes == 0 || data.len_bytes > RESPFRAME_DATA_MAX_BYTES)
		return ERR_LIMIT;
	e = put_start(b, RESPFRAME_DATA, data.len_bytes);
	if (e == ERR_OK)
		e = buf_put_span(b, data);
	return finish(b, before, e);
}

/** respframe_put_end() - Append the end and its reason; nothing follows */
enum err respframe_put_end(struct buf *b, enum err error, struct span text)
{
	size_t before = b->len_bytes;
	enum err e;

	if (text.len_bytes > REASON_MAX_BYTES)
		text.len_bytes = REASON_MAX_BYTES;
	e = put_start(b, RESPFRAME_END, 4 + text.len_bytes);
	if (e == ERR_OK)
		e = buf_put_u32(b, (uint32_t)(int32_t)error);
	if (e == ERR_OK)
		e = buf_put_span(b, text);
	return finish(b, before, e);
}

/**
 * respframe_get() - Take the first whole frame
 * @s:			Bytes received so far
 * @ret_frame:		Written on success; borrows @s
 * @ret_taken_bytes:	How many bytes of @s it used
 *
 * Return: ERR_OK; ERR_AGAIN when more bytes are needed; ERR_FORMAT or
 *	   ERR_LIMIT for a frame that can never be right.
 */
enum err respframe_get(struct span s, struct respframe *ret_frame,
		       size_t *ret_taken_bytes)
{
	struct respframe f = {0};
	struct reader r;
	uint32_t len;
	uint8_t type;

	if (s.len_bytes < RESPFRAME_HEAD_BYTES)
		return ERR_AGAIN;
	reader_init(&r, s);
	type = reader_get_u8(&r);
	len = reader_get_u32(&r);
	if (type < RESPFRAME_HEAD || type > RESPFRAME_END)
		return ERR_FORMAT;
	if ((type == RESPFRAME_HEAD &&
	     (len < 2 || len > HEADERS_MAX_BYTES + 2)) ||
	    (type == RESPFRAME_DATA &&
	     (len == 0 || len > RESPFRAME_DATA_MAX_BYTES)) ||
	    (type == RESPFRAME_END && (len < 4 || len > REASON_MAX_BYTES + 4)))
		return ERR_LIMIT;
	if (reader_left(&r) < len)
		return ERR_AGAIN;
	f.type = (enum respframe_type)type;
	if (type == RESPFRAME_HEAD) {
		f.status = reader_get_u16(&r);
		f.headers = reader_get_span(&r, len - 2);
	} else if (type == RESPFRAME_DATA) {
		f.data = reader_get_span(&r, len);
	} else {
		f.error = err_from_wire((int32_t)reader_get_u32(&r));
		f.text = reader_get_span(&r, len - 4);
	}
	*ret_frame = f;
	*ret_taken_bytes = r.pos_bytes;
	return r.status;
}
