/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eventstream.c - AWS event streams: frames in and out
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: a length is believed once the checksum over it is right.
 * Never:   hands on a frame before its last checksum was looked at.
 *
 * application/vnd.amazon.eventstream, as in the Smithy specification "Amazon
 * Event Stream". All numbers are big-endian:
 *
 *	u32 total, u32 headers length, u32 CRC-32 of these 8 bytes
 *	headers: u8 length, name, u8 type, value
 *	payload
 *	u32 CRC-32 of everything before
 *
 * Stricter than some readers, as AWS's own for Python: a name is not empty
 * and comes once, an unknown type is an error, and a frame has at most
 * EVENTSTREAM_HEADERS_MAX headers.
 */
#include "engine/gate/eventstream.h"

#include <string.h>

#include "engine/gate/crc32.h"

#define PRELUDE_BYTES 12u
#define CRC_BYTES     4u

static enum err broken(struct eventstream *s, enum err e, const char *why)
{
	s->error_text = why;
	return e;
}

static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static enum err put_u32(struct buf *b, uint32_t v)
{
	const uint8_t bytes[4] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16),
				  (uint8_t)(v >> 8), (uint8_t)v};

	return buf_put(b, bytes, sizeof(bytes));
}

static enum err put_u16(struct buf *b, size_t v)
{
	const uint8_t bytes[2] = {(uint8_t)(v >> 8), (uint8_t)v};

	return buf_put(b, bytes, sizeof(bytes));
}

/**
 * eventstream_init() - Prepare a reader
 * @s:			Reader
 * @frame_max_bytes:	Of one frame, at most EVENTSTREAM_FRAME_MAX_BYTES
 */
void eventstream_init(struct eventstream *s, size_t frame_max_bytes)
{
	if (frame_max_bytes > EVENTSTREAM_FRAME_MAX_BYTES)
		frame_max_bytes = EVENTSTREAM_FRAME_MAX_BYTES;
	*s = (struct eventstream){.frame_max_bytes = frame_max_bytes};
	buf_init(&s->raw, frame_max_bytes);
}

/** eventstream_fini() - Release a reader's memory */
void eventstream_fini(struct eventstream *s)
{
	buf_fini(&s->raw);
}

/** eventstream_is_between_frames() - Whether no frame is begun */
bool eventstream_is_between_frames(const struct eventstream *s)
{
	return s->given || s->raw.len_bytes == 0;
}

/* Bytes of each fixed-size type; the others have a length in front. */
static const uint8_t fixed_bytes[] = {
	[EVENTSTREAM_TRUE] = 0, [EVENTSTREAM_FALSE] = 0, [EVENTSTREAM_I8] = 1,
	[EVENTSTREAM_I16] = 2,  [EVENTSTREAM_I32] = 4,   [EVENTSTREAM_I64] = 8,
	[EVENTSTREAM_TIME] = 8, [EVENTSTREAM_UUID] = 16,
};

/**
 * eventstream_next_header() - Walk a frame's headers
 * @r:			Reader over frame.headers
 * @ret_header:		Written on success
 *
 * Return: false at the end, or when the reader's status is an error.
 */
bool eventstream_next_header(struct reader *r,
			     struct eventstream_header *ret_header)
{
	struct eventstream_header h;
	size_t len;
	uint8_t type;

	if (r->status != ERR_OK || reader_left(r) == 0)
		return false;
	h.name = reader_get_span(r, reader_get_u8(r));
	type = reader_get_u8(r);
	if (r->status != ERR_OK)
		return false;
	if (h.name.len_bytes == 0 || type >= ARRAY_SIZE(fixed_bytes)) {
		r->status = ERR_FORMAT;
		return false;
	}
	h.type = (enum eventstream_type)type;
	len = fixed_bytes[type];
	if (h.type == EVENTSTREAM_BYTES || h.type == EVENTSTREAM_TEXT) {
		len = (size_t)reader_get_u8(r) << 8;
		len |= reader_get_u8(r);
	}
	h.value = reader_get_span(r, len);
	if (r->status != ERR_OK)
		return false;
	*ret_header = h;
	return true;
}

/**
 * eventstream_number() - A header's value as a number
 * @h:	Header
 *
 * Return: the number or time in milliseconds; 1 and 0 for booleans; 0 for
 *	   what is no number.
 */
int64_t eventstream_number(const struct eventstream_header *h)
{
	uint64_t v = 0;
	size_t i;

	if (h->type == EVENTSTREAM_TRUE)
		return 1;
	if (h->type == EVENTSTREAM_FALSE || h->type == EVENTSTREAM_BYTES ||
	    h->type == EVENTSTREAM_TEXT || h->type == EVENTSTREAM_UUID)
		return 0;
	/* Sign-extended from the first byte. */
	if (h->value.len_bytes && h->value.data[0] & 0x80)
		v = UINT64_MAX;
	for (i = 0; i < h->value.len_bytes; i++)
		v = v << 8 | h->value.data[i];
	return (int64_t)v;
}

static enum err check_prelude(struct eventstream *s)
{
	const uint8_t *p = s->raw.data;
	uint32_t total = get_u32(p), headers = get_u32(p + 4);

	if (crc32_update(0, span_of(p, 8)) != get_u32(p + 8))
		return broken(s, ERR_FORMAT,
			      "a frame whose prelude has a wrong checksum");
	if (total < EVENTSTREAM_OVERHEAD_BYTES ||
	    headers > total - EVENTSTREAM_OVERHEAD_BYTES)
		return broken(s, ERR_FORMAT,
			      "a frame whose lengths contradict each other");
	if (total > s->frame_max_bytes)
		return broken(s, ERR_LIMIT, "a frame over the size limit");
	if (headers > EVENTSTREAM_HEADERS_MAX_BYTES)
		return broken(s, ERR_LIMIT, "a frame with too long headers");
	s->total = total;
	return ERR_OK;
}

static void note_header(struct eventstream_frame *f,
			const struct eventstream_header *h)
{
	const struct {
		const char *name;
		struct span *at;
	} known[] = {
		{":message-type", &f->message_type},
		{":event-type", &f->event_type},
		{":exception-type", &f->exception_type},
		{":error-code", &f->error_code},
		{":error-message", &f->error_message},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (h->type == EVENTSTREAM_TEXT &&
		    span_is(h->name, known[i].name))
			*known[i].at = h->value;
}

static enum err read_headers(struct eventstream *s, struct eventstream_frame *f)
{
	struct span names[EVENTSTREAM_HEADERS_MAX];
	struct eventstream_header h;
	struct reader r;
	size_t count = 0, i;

	reader_init(&r, f->headers);
	while (eventstream_next_header(&r, &h)) {
		if (count == EVENTSTREAM_HEADERS_MAX)
			return broken(s, ERR_LIMIT,
				      "a frame with too many headers");
		for (i = 0; i < count; i++)
			if (span_equal(names[i], h.name))
				return broken(s, ERR_FORMAT,
					      "a frame with a header given "
					      "twice");
		names[count++] = h.name;
		note_header(f, &h);
	}
	if (r.status != ERR_OK)
		return broken(s, ERR_FORMAT, "a frame with malformed headers");
	return ERR_OK;
}

/* The whole frame is there. */
static enum err read_frame(struct eventstream *s, struct eventstream_frame *f)
{
	const uint8_t *p = s->raw.data;
	size_t headers = get_u32(p + 4), end = s->total - CRC_BYTES;

	if (crc32_update(0, span_of(p, end)) != get_u32(p + end))
		return broken(s, ERR_FORMAT, "a frame with a wrong checksum");
	*f = (struct eventstream_frame){
		.raw = buf_span(&s->raw),
		.headers = span_of(p + PRELUDE_BYTES, headers),
		.payload = span_of(p + PRELUDE_BYTES + headers,
				   end - PRELUDE_BYTES - headers),
	};
	return read_headers(s, f);
}

/* Takes what is missing to @want bytes; false when there is not enough. */
static bool fill(struct eventstream *s, struct span *in, size_t want,
		 enum err *e)
{
	size_t len = want - s->raw.len_bytes;

	if (len > in->len_bytes)
		len = in->len_bytes;
	*e = buf_put(&s->raw, in->data, len);
	*in = span_of(in->data + len, in->len_bytes - len);
	return *e == ERR_OK && s->raw.len_bytes == want;
}

/**
 * eventstream_next() - Take bytes up to the end of a frame
 * @s:		Reader
 * @in:		Bytes; moved behind what was used
 * @ret_frame:	Written on success; valid until the next call
 *
 * Return: ERR_OK; ERR_AGAIN when all of @in was taken and no frame is
 *	   complete; ERR_FORMAT or ERR_LIMIT (error_text says why), after
 *	   which nothing can be read; ERR_MEMORY.
 */
enum err eventstream_next(struct eventstream *s, struct span *in,
			  struct eventstream_frame *ret_frame)
{
	struct eventstream_frame f;
	enum err e = ERR_OK;

	if (s->error_text)
		return ERR_FORMAT;
	if (s->given) {
		/* Idle streams are many: keep no memory for them. */
		if (in->len_bytes == 0)
			buf_fini(&s->raw);
		buf_reset(&s->raw);
		s->total = 0;
		s->given = false;
	}
	if (in->len_bytes == 0)
		return ERR_AGAIN;
	if (s->total == 0 && !fill(s, in, PRELUDE_BYTES, &e))
		return e == ERR_OK ? ERR_AGAIN : e;
	if (s->total == 0) {
		e = check_prelude(s);
		if (e != ERR_OK)
			return e;
	}
	if (!fill(s, in, s->total, &e))
		return e == ERR_OK ? ERR_AGAIN : e;
	e = read_frame(s, &f);
	if (e != ERR_OK)
		return e;
	s->given = true;
	*ret_frame = f;
	return ERR_OK;
}

static enum err put_header(struct buf *out, const struct eventstream_header *h)
{
	bool counted =
		h->type == EVENTSTREAM_BYTES || h->type == EVENTSTREAM_TEXT;
	enum err e;

	if (h->name.len_bytes == 0 || h->name.len_bytes > UINT8_MAX ||
	    h->value.len_bytes > UINT16_MAX ||
	    (!counted && h->value.len_bytes != fixed_bytes[h->type]))
		return ERR_FORMAT;
	e = buf_put_u8(out, (uint8_t)h->name.len_bytes);
	if (e == ERR_OK)
		e = buf_put_span(out, h->name);
	if (e == ERR_OK)
		e = buf_put_u8(out, (uint8_t)h->type);
	if (e == ERR_OK && counted)
		e = put_u16(out, h->value.len_bytes);
	return e == ERR_OK ? buf_put_span(out, h->value) : e;
}

/* Lengths and checksums of the frame that begins at @start. */
static enum err seal(struct buf *out, size_t start, size_t headers)
{
	size_t total = out->len_bytes - start + CRC_BYTES;
	uint8_t *p = out->data + start;
	struct buf prelude;
	enum err e;

	if (headers > EVENTSTREAM_HEADERS_MAX_BYTES ||
	    total > EVENTSTREAM_FRAME_MAX_BYTES)
		return ERR_LIMIT;
	buf_init(&prelude, PRELUDE_BYTES);
	e = put_u32(&prelude, (uint32_t)total);
	if (e == ERR_OK)
		e = put_u32(&prelude, (uint32_t)headers);
	if (e == ERR_OK)
		e = put_u32(&prelude, crc32_update(0, buf_span(&prelude)));
	if (e == ERR_OK)
		memcpy(p, prelude.data, PRELUDE_BYTES);
	buf_fini(&prelude);
	if (e != ERR_OK)
		return e;
	return put_u32(out, crc32_update(0, span_of(p, total - CRC_BYTES)));
}

/**
 * eventstream_put() - Append a frame
 * @out:	Buffer; on failure as it was
 * @headers:	Borrowed; names are not compared
 * @count:	Their number
 * @payload:	Borrowed
 *
 * Return: ERR_OK; ERR_FORMAT for a header that cannot be written; ERR_LIMIT;
 *	   ERR_MEMORY.
 */
enum err eventstream_put(struct buf *out,
			 const struct eventstream_header *headers, size_t count,
			 struct span payload)
{
	static const uint8_t room[PRELUDE_BYTES];
	size_t start = out->len_bytes, i, headers_len;
	enum err e = buf_put(out, room, sizeof(room));

	for (i = 0; e == ERR_OK && i < count; i++)
		e = put_header(out, &headers[i]);
	headers_len = out->len_bytes - start - PRELUDE_BYTES;
	if (e == ERR_OK)
		e = buf_put_span(out, payload);
	if (e == ERR_OK)
		e = seal(out, start, headers_len);
	if (e != ERR_OK)
		buf_truncate(out, start);
	return e;
}

static enum err put_named(struct buf *out, const char *kind, const char *key,
			  const char *name, struct span payload)
{
	const struct eventstream_header headers[] = {
		{span_text(key), EVENTSTREAM_TEXT, span_text(name)},
		{span_text(":content-type"), EVENTSTREAM_TEXT,
		 span_text("application/json")},
		{span_text(":message-type"), EVENTSTREAM_TEXT, span_text(kind)},
	};

	return eventstream_put(out, headers, ARRAY_SIZE(headers), payload);
}

/**
 * eventstream_put_event() - Append a frame with an event
 * @out:	Buffer
 * @name:	For example "contentBlockDelta"
 * @payload:	JSON
 *
 * Return: as eventstream_put().
 */
enum err eventstream_put_event(struct buf *out, const char *name,
			       struct span payload)
{
	return put_named(out, "event", ":event-type", name, payload);
}

/**
 * eventstream_put_exception() - Append a frame that ends a stream in error
 * @out:	Buffer
 * @name:	For example "throttlingException"
 * @payload:	JSON
 *
 * Return: as eventstream_put().
 */
enum err eventstream_put_exception(struct buf *out, const char *name,
				   struct span payload)
{
	return put_named(out, "exception", ":exception-type", name, payload);
}

/**
 * eventstream_put_ping() - Append a keep-alive
 * @out:	Buffer
 *
 * AWS has none. An event of a kind that a service does not have is skipped by
 * AWS's SDKs, which is how they stay compatible with newer services.
 *
 * Return: as eventstream_put().
 */
enum err eventstream_put_ping(struct buf *out)
{
	return eventstream_put_event(out, "ping", span_text("{}"));
}
