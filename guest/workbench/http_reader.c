/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_reader.c - incremental reader of one HTTP/1.1 response
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing.
 * Never:   does I/O; takes a body whose end is ambiguous.
 *
 * RFC 9112, narrower: lines end in CRLF, no folded headers, a length and
 * chunks at once are refused, a response that ends early is an error.
 */
#include "guest/workbench/http_reader.h"

#include <string.h>

#include "engine/base/text.h"

#define STATUS_MIN          100
#define STATUS_MAX          599
#define CHUNK_DIGITS_MAX    8
#define STATUS_LINE_MIN_LEN 12 /* "HTTP/1.1 200" */

/**
 * http_reader_init() - Prepare a reader; the caller sets the handlers
 * @r:	Caller's memory
 */
void http_reader_init(struct http_reader *r)
{
	*r = (struct http_reader){.state = HTTP_READER_STATUS};
	buf_init(&r->line, HTTP_READER_LINE_MAX_BYTES);
}

/** http_reader_fini() - Release a reader */
void http_reader_fini(struct http_reader *r)
{
	buf_fini(&r->line);
}

/** http_reader_name_is() - Compare a header's name without regard to case */
bool http_reader_name_is(struct span name, const char *lower)
{
	size_t i;

	if (name.len_bytes != strlen(lower))
		return false;
	for (i = 0; i < name.len_bytes; i++) {
		uint8_t c = name.data[i];

		if (c >= 'A' && c <= 'Z')
			c = (uint8_t)(c + 32);
		if (c != (uint8_t)lower[i])
			return false;
	}
	return true;
}

static enum err take_status(struct http_reader *r, struct span line)
{
	uint64_t status;

	if (line.len_bytes < STATUS_LINE_MIN_LEN ||
	    memcmp(line.data, "HTTP/1.", 7) != 0 ||
	    (line.data[7] != '0' && line.data[7] != '1') ||
	    line.data[8] != ' ' ||
	    (line.len_bytes > STATUS_LINE_MIN_LEN &&
	     line.data[STATUS_LINE_MIN_LEN] != ' '))
		return ERR_FORMAT;
	if (text_parse_u64(span_of(line.data + 9, 3), STATUS_MIN, STATUS_MAX,
			   &status) != ERR_OK)
		return ERR_FORMAT;
	r->status = (unsigned)status;
	r->state = HTTP_READER_HEADERS;
	return ERR_OK;
}

static struct span trim(struct span s)
{
	while (s.len_bytes && (s.data[0] == ' ' || s.data[0] == '\t'))
		s = span_of(s.data + 1, s.len_bytes - 1);
	while (s.len_bytes && (s.data[s.len_bytes - 1] == ' ' ||
			       s.data[s.len_bytes - 1] == '\t'))
		s.len_bytes--;
	return s;
}

static enum err take_header(struct http_reader *r, struct span line)
{
	const uint8_t *colon = memchr(line.data, ':', line.len_bytes);
	struct span name, value;

	if (!colon || colon == line.data || line.data[0] == ' ' ||
	    line.data[0] == '\t')
		return ERR_FORMAT;
	name = span_of(line.data, (size_t)(colon - line.data));
	if (name.data[name.len_bytes - 1] == ' ')
		return ERR_FORMAT;
	value = trim(span_of(colon + 1, line.len_bytes - name.len_bytes - 1));
	if (http_reader_name_is(name, "content-length")) {
		if (r->has_length || r->is_chunked)
			return ERR_FORMAT;
		r->has_length = true;
		return text_parse_u64(value, 0, INT64_MAX, &r->left_bytes);
	}
	if (http_reader_name_is(name, "transfer-encoding")) {
		if (r->has_length || r->is_chunked ||
		    !http_reader_name_is(value, "chunked"))
			return ERR_FORMAT;
		r->is_chunked = true;
		return ERR_OK;
	}
	if (r->on_header && r->status >= 200)
		r->on_header(r->owner, name, value);
	return ERR_OK;
}

static void begin_body(struct http_reader *r)
{
	if (r->status < 200) {
		/* An interim response: the real one follows. */
		r->state = HTTP_READER_STATUS;
		r->has_length = r->is_chunked = false;
	} else if (r->is_chunked) {
		r->state = HTTP_READER_CHUNK_SIZE;
	} else if (r->status == 204 || r->status == 304) {
		r->state = HTTP_READER_DONE;
	} else if (r->has_length) {
		r->state = r->left_bytes ? HTTP_READER_BODY : HTTP_READER_DONE;
	} else {
		r->state = HTTP_READER_UNTIL_CLOSE;
	}
}

static enum err take_chunk_size(struct http_reader *r, struct span line)
{
	uint64_t size = 0;
	size_t i;

	for (i = 0; i < line.len_bytes; i++) {
		uint8_t c = line.data[i];

		if (c == ';')
			break;
		if (i == CHUNK_DIGITS_MAX)
			return ERR_LIMIT;
		if (c >= '0' && c <= '9')
			size = size << 4 | (c - '0');
		else if (c >= 'a' && c <= 'f')
			size = size << 4 | (c - 'a' + 10u);
		else if (c >= 'A' && c <= 'F')
			size = size << 4 | (c - 'A' + 10u);
		else
			return ERR_FORMAT;
	}
	if (i == 0)
		return ERR_FORMAT;
	r->left_bytes = size;
	r->state = size ? HTTP_READER_CHUNK : HTTP_READER_TRAILER;
	return ERR_OK;
}

static enum err take_line(struct http_reader *r, struct span line)
{
	if (memchr(line.data, 0, line.len_bytes) ||
	    memchr(line.data, '\r', line.len_bytes))
		return ERR_FORMAT;
	switch (r->state) {
	case HTTP_READER_STATUS:
		return take_status(r, line);
	case HTTP_READER_HEADERS:
		if (line.len_bytes)
			return take_header(r, line);
		begin_body(r);
		return ERR_OK;
	case HTTP_READER_CHUNK_SIZE:
		return take_chunk_size(r, line);
	case HTTP_READER_CHUNK_END:
		r->state = HTTP_READER_CHUNK_SIZE;
		return line.len_bytes ? ERR_FORMAT : ERR_OK;
	case HTTP_READER_TRAILER:
		if (line.len_bytes == 0)
			r->state = HTTP_READER_DONE;
		return ERR_OK;
	case HTTP_READER_BODY:
	case HTTP_READER_UNTIL_CLOSE:
	case HTTP_READER_CHUNK:
	case HTTP_READER_DONE:
		break;
	}
	return ERR_INTERNAL;
}

/* Take bytes of a line; @ret_taken counts them. */
static enum err feed_line(struct http_reader *r, struct span s,
			  size_t *ret_taken)
{
	const uint8_t *end = memchr(s.data, '\n', s.len_bytes);
	size_t len = end ? (size_t)(end - s.data) + 1 : s.len_bytes;
	enum err e = buf_put(&r->line, s.data, len);

	*ret_taken = len;
	/* Chunk sizes are framing of any number; all else is the head. */
	if (r->state != HTTP_READER_CHUNK_SIZE &&
	    r->state != HTTP_READER_CHUNK_END)
		r->head_bytes += len;
	if (e == ERR_OK && r->head_bytes > HTTP_READER_HEAD_MAX_BYTES)
		e = ERR_LIMIT;
	if (e != ERR_OK || !end)
		return e;
	len = r->line.len_bytes;
	if (len < 2 || r->line.data[len - 2] != '\r')
		return ERR_FORMAT;
	e = take_line(r, span_of(r->line.data, len - 2));
	buf_reset(&r->line);
	return e;
}

static enum err feed_body(struct http_reader *r, struct span s,
			  size_t *ret_taken)
{
	size_t len = s.len_bytes;

	if (r->state != HTTP_READER_UNTIL_CLOSE) {
		if (len > r->left_bytes)
			len = (size_t)r->left_bytes;
		r->left_bytes -= len;
		if (r->left_bytes == 0)
			r->state = r->state == HTTP_READER_CHUNK
					   ? HTTP_READER_CHUNK_END
					   : HTTP_READER_DONE;
	}
	*ret_taken = len;
	return r->on_body ? r->on_body(r->owner, span_of(s.data, len)) : ERR_OK;
}

/**
 * http_reader_feed() - Take the next bytes of a response
 * @r:	Reader
 * @s:	Borrowed, any cut
 *
 * Return: ERR_OK; ERR_FORMAT, also for bytes after the response; ERR_LIMIT;
 *	   ERR_RANGE; ERR_MEMORY; what a handler returned.
 */
enum err http_reader_feed(struct http_reader *r, struct span s)
{
	enum err e = ERR_OK;
	size_t taken;

	while (e == ERR_OK && s.len_bytes) {
		taken = 0;
		switch (r->state) {
		case HTTP_READER_BODY:
		case HTTP_READER_UNTIL_CLOSE:
		case HTTP_READER_CHUNK:
			e = feed_body(r, s, &taken);
			break;
		case HTTP_READER_DONE:
			return ERR_FORMAT;
		case HTTP_READER_STATUS:
		case HTTP_READER_HEADERS:
		case HTTP_READER_CHUNK_SIZE:
		case HTTP_READER_CHUNK_END:
		case HTTP_READER_TRAILER:
			e = feed_line(r, s, &taken);
			break;
		}
		s = span_of(s.data + taken, s.len_bytes - taken);
	}
	return e;
}

/**
 * http_reader_end() - The connection was closed
 * @r:	Reader
 *
 * Return: ERR_OK when the response is whole; ERR_SHORT.
 */
enum err http_reader_end(struct http_reader *r)
{
	if (r->state == HTTP_READER_UNTIL_CLOSE)
		r->state = HTTP_READER_DONE;
	return r->state == HTTP_READER_DONE ? ERR_OK : ERR_SHORT;
}
