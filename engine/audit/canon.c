/* SPDX-License-Identifier: Apache-2.0 */
/*
 * canon.c - reader of the one canonical JSON form that jsonw writes
 *
 * Runs in: kenaz-audit, kenaz-verify.
 * Trusts:  nothing: a stored event may have been changed by anybody.
 * Never:   accepts bytes that the writer would not have written: white
 *	    space, another escape, a leading zero, an over-large number.
 *
 * Because only one spelling is accepted, no two readers of an event can
 * understand it differently.
 */
#include "engine/audit/canon.h"

#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"

static const char escape_names[] = "\"\\btnfr";
static const char escape_bytes[] = "\"\\\b\t\n\f\r";

/**
 * canon_init() - Start reading borrowed bytes
 * @c:	Caller's memory
 * @s:	Must outlive the cursor
 */
void canon_init(struct canon *c, struct span s)
{
	static const uint8_t nothing[1];

	*c = (struct canon){.at = s.data ? s.data : nothing};
	c->end = c->at + s.len_bytes;
}

/** canon_is_done() - Whether everything was read without a failure */
bool canon_is_done(const struct canon *c)
{
	return !c->fault && c->at == c->end;
}

/** canon_next_is() - Whether the next byte is this one; takes nothing */
bool canon_next_is(const struct canon *c, char byte)
{
	return !c->fault && c->at < c->end && *c->at == (uint8_t)byte;
}

/**
 * canon_fail() - Note the first failure
 * @c:		Cursor
 * @expected:	Static text for the report
 *
 * Return: false, so that callers can return it.
 */
bool canon_fail(struct canon *c, const char *expected)
{
	if (!c->fault)
		c->fault = expected;
	return false;
}

/**
 * canon_literal() - Take exactly these bytes
 * @c:		Cursor
 * @literal:	Static text, also used for the report
 *
 * Return: whether they stood there.
 */
bool canon_literal(struct canon *c, const char *literal)
{
	size_t len = strlen(literal);

	if (c->fault || (size_t)(c->end - c->at) < len ||
	    memcmp(c->at, literal, len) != 0)
		return canon_fail(c, literal);
	c->at += len;
	return true;
}

/* Length of the canonical escape at the cursor, 0 when it is none. */
static size_t escape_length(const uint8_t *at, const uint8_t *end)
{
	size_t left = (size_t)(end - at);

	if (left < 2)
		return 0;
	if (at[1] && strchr(escape_names, at[1]))
		return 2;
	if (left < 6 || memcmp(at, "\\u00", 4) != 0 ||
	    (at[4] != '0' && at[4] != '1'))
		return 0;
	if (!(at[5] >= '0' && at[5] <= '9') && !(at[5] >= 'a' && at[5] <= 'f'))
		return 0;
	if (at[4] == '0' && strchr("89acd", at[5]))
		return 0; /* these have a short form */
	return 6;
}

/**
 * canon_string() - Take a string
 * @c:		Cursor
 * @max_bytes:	Longest content accepted, as spelled
 * @ret_raw:	Borrowed content between the quotes, still escaped
 *
 * Return: whether a canonical string stood there.
 */
bool canon_string(struct canon *c, size_t max_bytes, struct span *ret_raw)
{
	const uint8_t *start;
	uint32_t code_point;
	size_t len;

	if (!canon_literal(c, "\""))
		return false;
	start = c->at;
	for (;;) {
		c->at += jsonw_plain_run(
			span_of(c->at, (size_t)(c->end - c->at)));
		if (c->at == c->end || *c->at == '"')
			break;
		len = 1;
		if (*c->at == '\\')
			len = escape_length(c->at, c->end);
		else if (*c->at >= 0x80)
			len = text_utf8_next(span_of(c->at,
						     (size_t)(c->end - c->at)),
					     &code_point);
		else if (*c->at < 0x20)
			len = 0;
		if (len == 0)
			return canon_fail(c, "a canonical string");
		c->at += len;
	}
	if ((size_t)(c->at - start) > max_bytes)
		return canon_fail(c, "a shorter string");
	*ret_raw = span_of(start, (size_t)(c->at - start));
	return canon_literal(c, "\"");
}

/**
 * canon_u53() - Take a whole number from 0 to 2^53 - 1
 * @c:		Cursor
 * @ret_value:	Written on success
 *
 * Return: whether a plain decimal stood there.
 */
bool canon_u53(struct canon *c, uint64_t *ret_value)
{
	const uint8_t *start = c->at;
	uint64_t v = 0;

	if (c->fault)
		return false;
	while (c->at < c->end && *c->at >= '0' && *c->at <= '9') {
		v = v * 10 + (uint64_t)(*c->at - '0');
		if (v > CANON_INT_MAX)
			return canon_fail(c, "a number up to 2^53 - 1");
		c->at++;
	}
	if (c->at == start || (*start == '0' && c->at - start > 1))
		return canon_fail(c, "a plain decimal");
	*ret_value = v;
	return true;
}

/**
 * canon_integer() - Take a whole number of magnitude up to 2^53 - 1
 * @c:		Cursor
 * @ret_value:	Written on success
 *
 * Return: whether a plain decimal stood there.
 */
bool canon_integer(struct canon *c, int64_t *ret_value)
{
	bool negative = canon_next_is(c, '-');
	uint64_t v = 0;

	if (negative)
		c->at++;
	if (!canon_u53(c, &v))
		return false;
	if (negative && v == 0)
		return canon_fail(c, "a plain decimal");
	*ret_value = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

/**
 * canon_hex() - Take a string of lower-case hexadecimal
 * @c:		Cursor
 * @ret_data:	Array of @len_bytes; written on success
 * @len_bytes:	Length once decoded
 *
 * Return: whether exactly so many bytes stood there.
 */
bool canon_hex(struct canon *c, uint8_t *ret_data, size_t len_bytes)
{
	struct span raw = {0};

	if (!canon_string(c, 2 * len_bytes, &raw))
		return false;
	if (text_unhex(raw, ret_data, len_bytes) != ERR_OK)
		return canon_fail(c, "lower-case hexadecimal");
	return true;
}

static uint8_t escaped_byte(const uint8_t *at, size_t len)
{
	if (len == 2)
		return (uint8_t)escape_bytes[strchr(escape_names, at[1]) -
					     escape_names];
	return (uint8_t)((at[4] - '0') << 4 |
			 (at[5] <= '9' ? at[5] - '0' : at[5] - 'a' + 10));
}

/**
 * canon_unescape() - Append what a canonical string stands for
 * @raw:	Content as canon_string() gives it, borrowed
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err canon_unescape(struct span raw, struct buf *out)
{
	size_t at = 0, run = 0;
	enum err e = ERR_OK;

	while (e == ERR_OK && at < raw.len_bytes) {
		size_t len;

		if (raw.data[at] != '\\') {
			at++;
			continue;
		}
		len = escape_length(raw.data + at, raw.data + raw.len_bytes);
		if (len == 0)
			return ERR_FORMAT;
		e = buf_put(out, raw.data + run, at - run);
		if (e == ERR_OK)
			e = buf_put_u8(out, escaped_byte(raw.data + at, len));
		at += len;
		run = at;
	}
	if (e == ERR_OK && at > run)
		e = buf_put(out, raw.data + run, at - run);
	return e;
}
