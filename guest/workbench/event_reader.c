/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event_reader.c - incremental reader of server-sent events
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing.
 * Never:   does I/O; holds more than one event.
 *
 * WHATWG HTML, section 9.2 (event streams), narrower: a line that is not
 * UTF-8 or holds a NUL ends the stream with an error, `id` and `retry` mean
 * nothing here, and a stream must not end inside an event.
 */
#include "guest/workbench/event_reader.h"

#include <string.h>

#include "engine/base/text.h"

static const uint8_t byte_order_mark[] = {0xef, 0xbb, 0xbf};

/**
 * event_reader_init() - Prepare a reader
 * @r:		Caller's memory
 * @fn:		Called with every event that has data; its error ends the feed
 * @owner:	For the handler
 */
void event_reader_init(struct event_reader *r, event_fn fn, void *owner)
{
	*r = (struct event_reader){.fn = fn, .owner = owner};
	buf_init(&r->line, EVENT_READER_MAX_BYTES);
	buf_init(&r->data, EVENT_READER_MAX_BYTES);
	buf_init(&r->name, EVENT_READER_NAME_MAX);
}

/** event_reader_fini() - Release a reader */
void event_reader_fini(struct event_reader *r)
{
	buf_fini(&r->line);
	buf_fini(&r->data);
	buf_fini(&r->name);
}

static enum err dispatch(struct event_reader *r)
{
	enum err e = ERR_OK;

	if (r->has_data)
		e = r->fn(r->owner, buf_span(&r->name), buf_span(&r->data));
	buf_reset(&r->data);
	buf_reset(&r->name);
	r->has_data = false;
	return e;
}

static enum err take_field(struct event_reader *r, struct span name,
			   struct span value)
{
	enum err e = ERR_OK;

	if (span_is(name, "data")) {
		if (r->has_data)
			e = buf_put_text(&r->data, "\n");
		if (e == ERR_OK)
			e = buf_put_span(&r->data, value);
		r->has_data = true;
	} else if (span_is(name, "event")) {
		buf_reset(&r->name);
		e = buf_put_span(&r->name, value);
	}
	return e;
}

static enum err take_line(struct event_reader *r)
{
	struct span line = buf_span(&r->line);
	const uint8_t *colon;
	struct span value = {0};
	size_t len;

	if (!r->past_first_line && line.len_bytes >= sizeof(byte_order_mark) &&
	    memcmp(line.data, byte_order_mark, sizeof(byte_order_mark)) == 0)
		line = span_of(line.data + 3, line.len_bytes - 3);
	r->past_first_line = true;
	if (line.len_bytes == 0)
		return dispatch(r);
	if (memchr(line.data, 0, line.len_bytes) || !text_is_utf8(line))
		return ERR_FORMAT;
	colon = memchr(line.data, ':', line.len_bytes);
	len = colon ? (size_t)(colon - line.data) : line.len_bytes;
	if (colon) {
		value = span_of(colon + 1, line.len_bytes - len - 1);
		if (value.len_bytes && value.data[0] == ' ')
			value = span_of(value.data + 1, value.len_bytes - 1);
	}
	return take_field(r, span_of(line.data, len), value);
}

/**
 * event_reader_feed() - Take the next bytes of a stream
 * @r:	Reader
 * @s:	Borrowed, any cut
 *
 * Return: ERR_OK; ERR_LIMIT for a line or an event past
 *	   EVENT_READER_MAX_BYTES; ERR_FORMAT; ERR_MEMORY; what the handler
 *	   returned.
 */
enum err event_reader_feed(struct event_reader *r, struct span s)
{
	enum err e = ERR_OK;
	size_t i, start = 0;

	for (i = 0; e == ERR_OK && i < s.len_bytes; i++) {
		uint8_t c = s.data[i];
		bool joined = c == '\n' && r->after_cr;

		r->after_cr = c == '\r';
		if (c != '\n' && c != '\r')
			continue;
		if (!joined) {
			e = buf_put(&r->line, s.data + start, i - start);
			if (e == ERR_OK)
				e = take_line(r);
			buf_reset(&r->line);
		}
		start = i + 1;
	}
	if (e == ERR_OK)
		e = buf_put(&r->line, s.data + start, s.len_bytes - start);
	return e;
}

/**
 * event_reader_end() - The stream has ended
 * @r:	Reader
 *
 * Return: ERR_OK between events; ERR_SHORT inside one.
 */
enum err event_reader_end(const struct event_reader *r)
{
	return r->line.len_bytes || r->has_data || r->name.len_bytes ? ERR_SHORT
								     : ERR_OK;
}
