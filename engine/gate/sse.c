/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sse.c - incremental reader of server-sent events, byte for byte
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing: any bytes, cut anywhere.
 * Never:   loses or changes a byte: the raw parts of all events and
 *	    sse_rest() put together are the input.
 *
 * WHATWG HTML section 9.2 (event stream interpretation): lines end with CR
 * LF, LF or CR; a blank line ends an event; a line that starts with a colon
 * is a comment; one leading byte order mark is skipped. Departures: an event
 * without any field but comments is reported too, so that its bytes can be
 * passed on, and fields other than event and data are not interpreted.
 */
#include "engine/gate/sse.h"

#include <string.h>

/**
 * sse_init() - Prepare a reader
 * @s:			Caller's memory
 * @event_max_bytes:	Longest event, its line ends included
 */
void sse_init(struct sse *s, size_t event_max_bytes)
{
	*s = (struct sse){.first_line = true};
	buf_init(&s->raw, event_max_bytes);
	buf_init(&s->joined, event_max_bytes);
	buf_init(&s->clean, 2 * event_max_bytes);
}

/** sse_fini() - Release a reader's memory; a zeroed one is accepted */
void sse_fini(struct sse *s)
{
	if (!s)
		return;
	buf_fini(&s->raw);
	buf_fini(&s->joined);
	buf_fini(&s->clean);
}

static void forget_event(struct sse *s)
{
	buf_reset(&s->raw);
	buf_reset(&s->joined);
	s->line_at = 0;
	s->data_lines = 0;
	s->has_name = false;
	s->given = false;
}

static enum err add_data_line(struct sse *s, size_t at, size_t len)
{
	enum err e = ERR_OK;

	s->data_lines++;
	if (s->data_lines == 1) {
		s->data_at = at;
		s->data_len = len;
		return ERR_OK;
	}
	if (s->data_lines == 2)
		e = buf_put(&s->joined, s->raw.data + s->data_at, s->data_len);
	if (e == ERR_OK)
		e = buf_put_u8(&s->joined, '\n');
	if (e == ERR_OK)
		e = buf_put(&s->joined, s->raw.data + at, len);
	return e;
}

/* The line raw[at, at + len) without its end. */
static enum err read_field(struct sse *s, size_t at, size_t len)
{
	const uint8_t *line = s->raw.data + at;
	const uint8_t *colon = memchr(line, ':', len);
	size_t name_len = colon ? (size_t)(colon - line) : len;
	size_t skip = colon ? name_len + 1 : len;
	struct span name = span_of(line, name_len);

	if (skip < len && line[skip] == ' ')
		skip++;
	if (span_is(name, "event")) {
		s->has_name = true;
		s->name_at = at + skip;
		s->name_len = len - skip;
	} else if (span_is(name, "data")) {
		return add_data_line(s, at + skip, len - skip);
	}
	return ERR_OK;
}

/* Whether the line that ends at raw's end (without its end) was blank. */
static enum err end_line(struct sse *s, bool *ret_blank)
{
	size_t at = s->line_at, len = s->raw.len_bytes - at;
	enum err e = ERR_OK;

	if (s->first_line && len >= 3 &&
	    memcmp(s->raw.data + at, "\xef\xbb\xbf", 3) == 0) {
		at += 3;
		len -= 3;
	}
	s->first_line = false;
	*ret_blank = len == 0;
	if (len)
		e = read_field(s, at, len);
	return e;
}

static size_t find_line_end(struct span in)
{
	size_t i;

	for (i = 0; i < in.len_bytes; i++)
		if (in.data[i] == '\n' || in.data[i] == '\r')
			break;
	return i;
}

static void give_event(struct sse *s, struct sse_event *ret_event)
{
	bool in_raw = s->data_lines <= 1;

	*ret_event = (struct sse_event){
		.raw = buf_span(&s->raw),
		.has_name = s->has_name,
		.has_data = s->data_lines > 0,
		.data_in_raw = in_raw,
		.data_at_bytes = s->data_at,
	};
	if (s->has_name)
		ret_event->name =
			span_of(s->raw.data + s->name_at, s->name_len);
	if (s->data_lines)
		ret_event->data =
			in_raw ? span_of(s->raw.data + s->data_at, s->data_len)
			       : buf_span(&s->joined);
	s->given = true;
}

/**
 * sse_next() - Read up to the end of the next event
 * @s:		Reader
 * @in:		New bytes; moved behind what was used
 * @ret_event:	Written on ERR_OK
 *
 * Return: ERR_OK with an event; ERR_AGAIN when @in is used up; ERR_LIMIT for
 *	   an event over the ceiling; ERR_MEMORY.
 */
enum err sse_next(struct sse *s, struct span *in, struct sse_event *ret_event)
{
	enum err e = ERR_OK;
	bool blank = false;
	size_t len;
	uint8_t c;

	if (s->given)
		forget_event(s);
	while (in->len_bytes) {
		if (s->after_cr && in->data[0] == '\n') {
			/* Second half of the line end before. */
			e = buf_put_u8(&s->raw, '\n');
			*in = span_of(in->data + 1, in->len_bytes - 1);
			s->line_at = s->raw.len_bytes;
		}
		s->after_cr = false;
		len = find_line_end(*in);
		if (e == ERR_OK)
			e = buf_put(&s->raw, in->data, len);
		if (e != ERR_OK)
			return e;
		if (len == in->len_bytes) {
			*in = span_of(NULL, 0);
			return ERR_AGAIN;
		}
		e = end_line(s, &blank);
		c = in->data[len];
		if (e == ERR_OK)
			e = buf_put_u8(&s->raw, c);
		if (e != ERR_OK)
			return e;
		s->after_cr = c == '\r';
		*in = span_of(in->data + len + 1, in->len_bytes - len - 1);
		s->line_at = s->raw.len_bytes;
		if (!blank)
			continue;
		/* Take the LF of a CR LF along when it is already here. */
		if (s->after_cr && in->len_bytes && in->data[0] == '\n') {
			e = buf_put_u8(&s->raw, '\n');
			if (e != ERR_OK)
				return e;
			*in = span_of(in->data + 1, in->len_bytes - 1);
			s->after_cr = false;
		}
		give_event(s, ret_event);
		return ERR_OK;
	}
	/* Most streams idle between events: keep no memory for them. */
	if (s->raw.len_bytes == 0)
		sse_fini(s);
	return ERR_AGAIN;
}

/**
 * sse_rest() - Bytes of an event that is not complete
 * @s:	Reader
 *
 * Return: borrowed; without the LF that may follow the last event's CR.
 */
struct span sse_rest(const struct sse *s)
{
	if (s->given)
		return span_of(NULL, 0);
	return buf_span(&s->raw);
}

/** sse_is_between_events() - Whether the input may end here */
bool sse_is_between_events(const struct sse *s)
{
	struct span rest = sse_rest(s);
	size_t i;

	for (i = 0; i < rest.len_bytes; i++)
		if (rest.data[i] != '\n' && rest.data[i] != '\r')
			return false;
	return true;
}
