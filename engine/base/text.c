/* SPDX-License-Identifier: Apache-2.0 */
/*
 * text.c - escaping of untrusted text, numbers, hex, base64, UTF-8
 *
 * Runs in: every program.
 * Trusts:  nothing.
 * Never:   lets a control character, a bidirectional override, an invisible
 *	    tag or invalid UTF-8 through: those become \xNN or \u{N}.
 */
#include "engine/base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ESCAPE_MAX_BYTES 16

struct range {
	uint32_t first, last;
};

/* Code points that change what a reader sees, sorted. */
static const struct range hidden[] = {
	{0x0000, 0x001f},   {0x007f, 0x009f},   {0x00ad, 0x00ad},
	{0x061c, 0x061c},   {0x115f, 0x1160},   {0x17b4, 0x17b5},
	{0x180b, 0x180f},   {0x200b, 0x200f},   {0x2028, 0x202e},
	{0x2060, 0x206f},   {0x3164, 0x3164},   {0xfe00, 0xfe0f},
	{0xfeff, 0xfeff},   {0xfff9, 0xfffb},   {0xfffe, 0xffff},
	{0x1d173, 0x1d17a}, {0xe0000, 0xe0fff}, {0xffffe, 0x10ffff},
};

/**
 * text_is_hidden() - Whether a character shows as nothing or reorders others
 * @code_point:	Any value; the control characters count as hidden
 */
bool text_is_hidden(uint32_t code_point)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(hidden); i++)
		if (code_point >= hidden[i].first &&
		    code_point <= hidden[i].last)
			return true;
	return (code_point & 0xfffe) == 0xfffe;
}

/**
 * text_utf8_next() - Decode the first code point (RFC 3629, strict)
 * @s:			Borrowed
 * @ret_code_point:	Written when the result is not 0
 *
 * Return: its length in bytes; 0 for an empty span, overlong forms,
 *	   surrogates, values past U+10FFFF and truncation.
 */
size_t text_utf8_next(struct span s, uint32_t *ret_code_point)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t cp;
	size_t len, i;

	if (s.len_bytes == 0)
		return 0;
	cp = s.data[0];
	if (cp < 0x80) {
		*ret_code_point = cp;
		return 1;
	}
	if (cp >= 0xc2 && cp <= 0xdf)
		len = 2, cp &= 0x1f;
	else if (cp >= 0xe0 && cp <= 0xef)
		len = 3, cp &= 0x0f;
	else if (cp >= 0xf0 && cp <= 0xf4)
		len = 4, cp &= 0x07;
	else
		return 0;
	if (s.len_bytes < len)
		return 0;
	for (i = 1; i < len; i++) {
		if ((s.data[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (s.data[i] & 0x3fu);
	}
	if (cp < least[len] || cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
		return 0;
	*ret_code_point = cp;
	return len;
}

/**
 * text_format() - Format into an array, or fail
 * @ret_text:	Array of @cap_bytes, NUL-terminated in any case
 * @cap_bytes:	Its size, at least 1
 * @format:	As printf(3)
 *
 * Return: ERR_OK; ERR_LIMIT when it was cut; ERR_INTERNAL.
 */
enum err text_format(char *ret_text, size_t cap_bytes, const char *format, ...)
{
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(ret_text, cap_bytes, format, args);
	va_end(args);
	if (n < 0)
		return ERR_INTERNAL;
	return (size_t)n >= cap_bytes ? ERR_LIMIT : ERR_OK;
}

/**
 * text_append() - Append a sentence for people; cut when the array is full
 * @text:	NUL-terminated text in an array of @cap_bytes
 * @cap_bytes:	Its size
 * @format:	As printf(3)
 */
void text_append(char *text, size_t cap_bytes, const char *format, ...)
{
	size_t len = strlen(text);
	va_list args;

	va_start(args, format);
	if (vsnprintf(text + len, cap_bytes - len, format, args) < 0)
		text[len] = '\0';
	va_end(args);
}

/* Length of a leading run of ASCII, in steps of eight bytes. */
static size_t ascii_run(struct span s)
{
	size_t at = 0;
	uint64_t v;

	for (; s.len_bytes - at >= sizeof(v); at += sizeof(v)) {
		memcpy(&v, s.data + at, sizeof(v));
		if (v & 0x8080808080808080u)
			break;
	}
	return at;
}

/** text_is_utf8() - Whether a span is valid UTF-8 (RFC 3629) */
bool text_is_utf8(struct span s)
{
	uint32_t cp;

	while (s.len_bytes) {
		size_t len = ascii_run(s);

		if (len == 0)
			len = text_utf8_next(s, &cp);
		if (len == 0)
			return false;
		s.data += len;
		s.len_bytes -= len;
	}
	return true;
}

static size_t escape_one(struct span s, bool keep_newlines, char *out,
			 size_t *ret_taken)
{
	uint32_t cp = 0;
	size_t len = text_utf8_next(s, &cp);
	int n;

	if (len == 0) {
		*ret_taken = 1;
		n = snprintf(out, ESCAPE_MAX_BYTES, "\\x%02x", s.data[0]);
		return n > 0 ? (size_t)n : 0;
	}
	*ret_taken = len;
	if (text_is_hidden(cp) &&
	    !(keep_newlines && (cp == '\n' || cp == '\t'))) {
		n = cp < 0x100 ? snprintf(out, ESCAPE_MAX_BYTES, "\\x%02x", cp)
			       : snprintf(out, ESCAPE_MAX_BYTES, "\\u{%x}", cp);
		return n > 0 ? (size_t)n : 0;
	}
	memcpy(out, s.data, len);
	return len;
}

/**
 * text_escape_line() - Make untrusted text safe to show on one line
 * @s:		Borrowed
 * @ret_text:	Array of @cap_bytes; always NUL-terminated, cut when full
 * @cap_bytes:	Its size, at least 1
 *
 * Return: length written, without the NUL.
 */
size_t text_escape_line(struct span s, char *ret_text, size_t cap_bytes)
{
	char one[ESCAPE_MAX_BYTES];
	size_t used = 0, taken, len;

	while (s.len_bytes) {
		len = escape_one(s, false, one, &taken);
		if (len >= cap_bytes - used)
			break;
		memcpy(ret_text + used, one, len);
		used += len;
		s.data += taken;
		s.len_bytes -= taken;
	}
	ret_text[used] = '\0';
	return used;
}

/**
 * text_escape() - Append untrusted text in its visible form
 * @s:			Borrowed
 * @keep_newlines:	Leave LF and TAB as they are
 * @out:		Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT or ERR_MEMORY with a part appended.
 */
enum err text_escape(struct span s, bool keep_newlines, struct buf *out)
{
	char one[ESCAPE_MAX_BYTES];
	size_t taken, len;
	enum err e = ERR_OK;

	while (e == ERR_OK && s.len_bytes) {
		len = escape_one(s, keep_newlines, one, &taken);
		e = buf_put(out, one, len);
		s.data += taken;
		s.len_bytes -= taken;
	}
	return e;
}

/**
 * text_is_name() - Whether a span is a plain name: [a-z0-9][a-z0-9._-]*
 * @s:		Borrowed
 * @max_bytes:	Longest name
 */
bool text_is_name(struct span s, size_t max_bytes)
{
	size_t i;

	if (s.len_bytes == 0 || s.len_bytes > max_bytes)
		return false;
	for (i = 0; i < s.len_bytes; i++) {
		uint8_t c = s.data[i];
		bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

		if (!alnum && (i == 0 || !strchr("._-", c) || c == '\0'))
			return false;
	}
	return true;
}

/**
 * text_parse_u64() - Parse a plain decimal number
 * @s:		Borrowed; digits only, no sign, no space, no leading zero
 * @min:	Least value accepted
 * @max:	Greatest value accepted
 * @ret_value:	Written on success
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_RANGE.
 */
enum err text_parse_u64(struct span s, uint64_t min, uint64_t max,
			uint64_t *ret_value)
{
	uint64_t v = 0;
	size_t i;

	if (s.len_bytes == 0 || (s.len_bytes > 1 && s.data[0] == '0'))
		return ERR_FORMAT;
	for (i = 0; i < s.len_bytes; i++) {
		uint8_t digit = (uint8_t)(s.data[i] - '0');

		if (s.data[i] < '0' || s.data[i] > '9')
			return ERR_FORMAT;
		if (v > (UINT64_MAX - digit) / 10)
			return ERR_RANGE;
		v = v * 10 + digit;
	}
	if (v < min || v > max)
		return ERR_RANGE;
	*ret_value = v;
	return ERR_OK;
}

/**
 * text_hex() - Write lower-case hexadecimal
 * @data:	Borrowed
 * @len_bytes:	Length
 * @ret_text:	Array of 2 * @len_bytes + 1, NUL-terminated
 */
void text_hex(const uint8_t *data, size_t len_bytes, char *ret_text)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < len_bytes; i++) {
		ret_text[2 * i] = digits[data[i] >> 4];
		ret_text[2 * i + 1] = digits[data[i] & 15];
	}
	ret_text[2 * len_bytes] = '\0';
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

/**
 * text_unhex() - Read lower-case hexadecimal of a known length
 * @s:		Borrowed; exactly 2 * @len_bytes digits
 * @ret_data:	Array of @len_bytes; written on success only
 * @len_bytes:	Expected length
 *
 * Return: ERR_OK; ERR_FORMAT.
 */
enum err text_unhex(struct span s, uint8_t *ret_data, size_t len_bytes)
{
	size_t i;

	if (s.len_bytes != 2 * len_bytes)
		return ERR_FORMAT;
	for (i = 0; i < s.len_bytes; i++)
		if (hex_digit(s.data[i]) < 0)
			return ERR_FORMAT;
	for (i = 0; i < len_bytes; i++)
		ret_data[i] = (uint8_t)(hex_digit(s.data[2 * i]) << 4 |
					hex_digit(s.data[2 * i + 1]));
	return ERR_OK;
}

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "abcdefghijklmnopqrstuvwxyz0123456789+/";

/**
 * text_base64() - Append padded base64 (RFC 4648 section 4)
 * @s:		Borrowed
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err text_base64(struct span s, struct buf *out)
{
	size_t i, blocks = (s.len_bytes + 2) / 3;
	uint8_t *at;
	enum err e = buf_reserve(out, blocks * 4, &at);

	if (e != ERR_OK)
		return e;
	for (i = 0; i < s.len_bytes; i += 3) {
		size_t left = s.len_bytes - i;
		uint32_t v = (uint32_t)s.data[i] << 16;

		if (left > 1)
			v |= (uint32_t)s.data[i + 1] << 8;
		if (left > 2)
			v |= s.data[i + 2];
		*at++ = (uint8_t)base64_digits[v >> 18];
		*at++ = (uint8_t)base64_digits[v >> 12 & 63];
		*at++ = left > 1 ? (uint8_t)base64_digits[v >> 6 & 63] : '=';
		*at++ = left > 2 ? (uint8_t)base64_digits[v & 63] : '=';
	}
	return ERR_OK;
}

static int base64_digit(uint8_t c)
{
	const char *at = c ? strchr(base64_digits, c) : NULL;

	return at ? (int)(at - base64_digits) : -1;
}

/**
 * text_unbase64() - Append the bytes of strict padded base64
 * @s:		Borrowed; no white space, canonical padding bits
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err text_unbase64(struct span s, struct buf *out)
{
	size_t i, before = out->len_bytes;
	enum err e = ERR_OK;

	if (s.len_bytes % 4 != 0)
		return ERR_FORMAT;
	for (i = 0; e == ERR_OK && i < s.len_bytes; i += 4) {
		bool last = i + 4 == s.len_bytes;
		size_t pad = 0, k;
		uint32_t v = 0;
		uint8_t bytes[3];

		if (last && s.data[i + 3] == '=')
			pad = s.data[i + 2] == '=' ? 2 : 1;
		for (k = 0; k < 4; k++) {
			int digit =
				k < 4 - pad ? base64_digit(s.data[i + k]) : 0;

			if (digit < 0) {
				e = ERR_FORMAT;
				break;
			}
			v = v << 6 | (uint32_t)digit;
		}
		if (e == ERR_OK && pad && (v & (pad == 1 ? 0xffu : 0xffffu)))
			e = ERR_FORMAT;
		bytes[0] = (uint8_t)(v >> 16);
		bytes[1] = (uint8_t)(v >> 8);
		bytes[2] = (uint8_t)v;
		if (e == ERR_OK)
			e = buf_put(out, bytes, 3 - pad);
	}
	if (e != ERR_OK)
		buf_truncate(out, before);
	return e;
}
