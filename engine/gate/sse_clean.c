/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sse_clean.c - events that every reader splits into lines alike
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a stream.
 * Never:   changes an event that all readers see alike.
 *
 * The specification ends lines at CR and LF. Python's str.splitlines(), and
 * so httpx's iter_lines() and the agents built on it, also ends them at VT,
 * FF, FS, GS, RS, NEL and the Unicode line and paragraph separators; and many
 * hand-written readers strip a line before they look whether it begins with
 * "data:". A text or a comment with such a character could so carry an event
 * that was never judged. In data, which is JSON, the separators are written
 * as \u escapes, which mean the same; lines that are neither a field of the
 * specification nor a plain comment are left out, because no reader may do
 * anything with them.
 */
#include "engine/gate/sse_clean.h"

#include <string.h>

/* Length of a line end that is none to us; 0: not one. */
static size_t odd_break(struct span s, size_t at)
{
	const uint8_t *p = s.data + at;
	size_t left = s.len_bytes - at;

	if (*p < 0x20)
		return *p != '\t';
	if (*p == 0xc2)
		return left >= 2 && p[1] == 0x85 ? 2 : 0;
	if (*p == 0xe2 && left >= 3 && p[1] == 0x80 &&
	    (p[2] == 0xa8 || p[2] == 0xa9))
		return 3;
	return 0;
}

static bool is_field(struct span line)
{
	static const char *const fields[] = {"data", "event", "id", "retry"};
	const uint8_t *colon = memchr(line.data, ':', line.len_bytes);
	size_t len = colon ? (size_t)(colon - line.data) : line.len_bytes, i;

	if (len == 0)
		return true;
	for (i = 0; i < ARRAY_SIZE(fields); i++)
		if (span_is(span_of(line.data, len), fields[i]))
			return true;
	return false;
}

/** sse_is_clean() - Whether all readers split these bytes alike */
bool sse_is_clean(struct span raw)
{
	size_t i, from = 0;

	for (i = 0; i < raw.len_bytes; i++) {
		uint8_t c = raw.data[i];

		if (c == '\n' || c == '\r') {
			if (!is_field(span_of(raw.data + from, i - from)))
				return false;
			from = i + 1;
		} else if ((c < 0x20 || c == 0xc2 || c == 0xe2) &&
			   odd_break(raw, i)) {
			return false;
		}
	}
	return true;
}

/* Line feeds lay between the lines of JSON: blanks do as well. */
static enum err put_data(struct span data, struct buf *out)
{
	size_t from = out->len_bytes, i;
	enum err e = buf_put_span(out, data);

	if (e != ERR_OK)
		return e;
	for (i = from; i < out->len_bytes; i++)
		if (out->data[i] == '\n')
			out->data[i] = ' ';
	return sse_escape_breaks(out, from);
}

static enum err write_anew(struct sse *s, struct sse_event *ev)
{
	struct buf *b = &s->clean;
	bool named = ev->has_name && sse_is_clean(ev->name);
	enum err e = ERR_OK;

	buf_reset(b);
	/* Second half of the line end before, which was handed on. */
	if (ev->raw.data[0] == '\n')
		e = buf_put_u8(b, '\n');
	if (e == ERR_OK && named) {
		e = buf_put_text(b, "event: ");
		if (e == ERR_OK)
			e = buf_put_span(b, ev->name);
		if (e == ERR_OK)
			e = buf_put_u8(b, '\n');
	}
	if (e == ERR_OK && ev->has_data)
		e = buf_put_text(b, "data: ");
	ev->data_at_bytes = b->len_bytes;
	if (e == ERR_OK && ev->has_data)
		e = put_data(ev->data, b);
	ev->data.len_bytes = b->len_bytes - ev->data_at_bytes;
	if (e == ERR_OK && ev->has_data)
		e = buf_put_u8(b, '\n');
	if (e == ERR_OK && (named || ev->has_data))
		e = buf_put_u8(b, '\n');
	if (e != ERR_OK)
		return e;
	ev->data.data = ev->has_data ? b->data + ev->data_at_bytes : NULL;
	ev->data_in_raw = true;
	ev->raw = buf_span(b);
	/* Its bytes are those of the reader's own buffer, and unchanged. */
	if (!named && ev->has_name)
		ev->name = span_of(NULL, 0);
	ev->has_name = named;
	return ERR_OK;
}

/**
 * sse_next_clean() - The next event, written so that all read it alike
 * @s:		Reader
 * @in:		New bytes; moved behind what was used
 * @ret_event:	Written on ERR_OK
 *
 * Return: as sse_next().
 */
enum err sse_next_clean(struct sse *s, struct span *in,
			struct sse_event *ret_event)
{
	struct sse_event ev;
	enum err e;

	if (s->clean.cap_bytes)
		buf_fini(&s->clean);
	/* The line end that was replaced goes as a whole. */
	if (s->written_anew && in->len_bytes) {
		if (s->after_cr && in->data[0] == '\n') {
			*in = span_of(in->data + 1, in->len_bytes - 1);
			s->after_cr = false;
		}
		s->written_anew = false;
	}
	e = sse_next(s, in, &ev);
	if (e == ERR_OK) {
		s->written_anew = !sse_is_clean(ev.raw);
		if (s->written_anew)
			e = write_anew(s, &ev);
	}
	if (e == ERR_OK)
		*ret_event = ev;
	return e;
}

/**
 * sse_escape_breaks() - Write odd line ends inside JSON as escapes
 * @b:		Holds whole events or JSON texts from @from on
 * @from:	First byte to look at
 *
 * Only those outside of ASCII: inside JSON there are no others.
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err sse_escape_breaks(struct buf *b, size_t from)
{
	static const char nel[] = "\\u0085", line[] = "\\u2028",
			  paragraph[] = "\\u2029";
	struct buf out;
	struct span all;
	size_t i, done = from, len = 0;
	enum err e = ERR_OK;

	for (i = from, all = buf_span(b); i < all.len_bytes; i++) {
		len = all.data[i] >= 0x80 ? odd_break(all, i) : 0;
		if (len)
			break;
	}
	if (i == all.len_bytes)
		return ERR_OK;
	buf_init(&out, b->max_bytes);
	e = buf_put(&out, all.data, from);
	for (; e == ERR_OK && i < all.len_bytes; i++) {
		len = all.data[i] >= 0x80 ? odd_break(all, i) : 0;
		if (!len)
			continue;
		e = buf_put(&out, all.data + done, i - done);
		if (e == ERR_OK)
			e = buf_put_text(&out, len == 2 ? nel
					       : all.data[i + 2] == 0xa8
						       ? line
						       : paragraph);
		i += len - 1;
		done = i + 1;
	}
	if (e == ERR_OK)
		e = buf_put(&out, all.data + done, all.len_bytes - done);
	if (e != ERR_OK) {
		buf_fini(&out);
		return e;
	}
	buf_fini(b);
	*b = out;
	return ERR_OK;
}
