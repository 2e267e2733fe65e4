/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.c - frames of terminals: client <-> gate <-> guest
 *
 * Runs in: kenaz (client), kenaz-gate, kenaz-guestd.
 * Trusts:  nothing: type, stream, length and payload shape are checked.
 * Never:   allocates; frames borrow the bytes they were read from.
 */
#include "engine/proto/frame.h"

static const struct {
	uint8_t streams;
	size_t min_bytes, max_bytes;
} shapes[] = {
	[FRAME_DATA] = {3, 1, FRAME_DATA_MAX_BYTES},
	[FRAME_EOF] = {3, 0, 0},
	[FRAME_RESIZE] = {1, 4, 4},
	[FRAME_SIGNAL] = {1, 1, 1},
	[FRAME_EXIT] = {1, 5, 5},
	[FRAME_ERROR] = {1, 1, 1024},
};

static enum err check(uint8_t type, uint8_t stream, size_t len_bytes)
{
	if (type == 0 || type >= ARRAY_SIZE(shapes) ||
	    stream >= shapes[type].streams)
		return ERR_FORMAT;
	if (len_bytes < shapes[type].min_bytes ||
	    len_bytes > shapes[type].max_bytes)
		return ERR_LIMIT;
	return ERR_OK;
}

/**
 * frame_put() - Append a frame
 * @b:		Buffer
 * @type:	Type
 * @stream:	0, 1 or 2 as the type allows
 * @data:	Borrowed; its size as the type allows
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY; nothing added then.
 */
enum err frame_put(struct buf *b, enum frame_type type, uint8_t stream,
		   struct span data)
{
	size_t before = b->len_bytes;
	enum err e = check((uint8_t)type, stream, data.len_bytes);

	if (e == ERR_OK)
		e = buf_put_u8(b, (uint8_t)type);
	if (e == ERR_OK)
		e = buf_put_u8(b, stream);
	if (e == ERR_OK)
		e = buf_put_u16(b, 0);
	if (e == ERR_OK)
		e = buf_put_lp(b, data);
	if (e != ERR_OK)
		buf_truncate(b, before);
	return e;
}

/** frame_put_resize() - Append a RESIZE frame; as frame_put() */
enum err frame_put_resize(struct buf *b, uint16_t rows, uint16_t columns)
{
	uint8_t d[4] = {(uint8_t)rows, (uint8_t)(rows >> 8), (uint8_t)columns,
			(uint8_t)(columns >> 8)};

	return frame_put(b, FRAME_RESIZE, 0, span_of(d, sizeof(d)));
}

/** frame_put_exit() - Append an EXIT frame; as frame_put() */
enum err frame_put_exit(struct buf *b, int32_t code, uint8_t signalled)
{
	uint32_t c = (uint32_t)code;
	uint8_t d[5] = {(uint8_t)c, (uint8_t)(c >> 8), (uint8_t)(c >> 16),
			(uint8_t)(c >> 24), signalled};

	return frame_put(b, FRAME_EXIT, 0, span_of(d, sizeof(d)));
}

/**
 * frame_get() - Take the first whole frame
 * @s:			Bytes received so far
 * @ret_frame:		Written on success; borrows @s
 * @ret_taken_bytes:	How many bytes of @s it used
 *
 * Return: ERR_OK; ERR_AGAIN when more bytes are needed; ERR_FORMAT or
 *	   ERR_LIMIT for a frame that can never be right.
 */
enum err frame_get(struct span s, struct frame *ret_frame,
		   size_t *ret_taken_bytes)
{
	struct reader r;
	uint8_t type, stream;
	uint16_t zero;
	uint32_t len;
	enum err e;

	if (s.len_bytes < FRAME_HEAD_BYTES)
		return ERR_AGAIN;
	reader_init(&r, s);
	type = reader_get_u8(&r);
	stream = reader_get_u8(&r);
	zero = reader_get_u16(&r);
	len = reader_get_u32(&r);
	if (zero != 0)
		return ERR_FORMAT;
	e = check(type, stream, len);
	if (e != ERR_OK)
		return e;
	if (reader_left(&r) < len)
		return ERR_AGAIN;
	*ret_frame = (struct frame){.type = (enum frame_type)type,
				    .stream = stream,
				    .data = reader_get_span(&r, len)};
	*ret_taken_bytes = r.pos_bytes;
	return ERR_OK;
}

/** frame_get_resize() - Read a RESIZE frame's size; ERR_FORMAT if it is none */
enum err frame_get_resize(const struct frame *f, uint16_t *ret_rows,
			  uint16_t *ret_columns)
{
	struct reader r;

	if (f->type != FRAME_RESIZE)
		return ERR_FORMAT;
	reader_init(&r, f->data);
	*ret_rows = reader_get_u16(&r);
	*ret_columns = reader_get_u16(&r);
	return r.status;
}

/** frame_get_exit() - Read an EXIT frame's code; ERR_FORMAT if it is none */
enum err frame_get_exit(const struct frame *f, int32_t *ret_code,
			uint8_t *ret_signalled)
{
	struct reader r;

	if (f->type != FRAME_EXIT)
		return ERR_FORMAT;
	reader_init(&r, f->data);
	*ret_code = (int32_t)reader_get_u32(&r);
	*ret_signalled = reader_get_u8(&r);
	return r.status;
}
