/* SPDX-License-Identifier: Apache-2.0 */
/*
 * json_text.c - the decoded content of a JSON string that json.c checked
 *
 * Runs in: every program that reads JSON.
 * Trusts:  that the bytes between the quotes passed the tokenizer.
 * Never:   sees text that was not checked.
 */
#include "engine/base/json_text.h"

#include <string.h>

#include "engine/base/text.h"

#define CODE_POINT_END UINT32_MAX

static int hex_value(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/**
 * json_text_hex4() - Read four hexadecimal digits, either case
 * @at:		At least four readable bytes
 * @ret_value:	Written when the result is true
 */
bool json_text_hex4(const uint8_t *at, uint32_t *ret_value)
{
	uint32_t v = 0;
	int i, digit;

	for (i = 0; i < 4; i++) {
		digit = hex_value(at[i]);
		if (digit < 0)
			return false;
		v = v << 4 | (uint32_t)digit;
	}
	*ret_value = v;
	return true;
}

/* Next code point of a checked string body; CODE_POINT_END at its end. */
static uint32_t decode_next(struct span *s)
{
	uint32_t cp = 0, low = 0;
	size_t len;
	uint8_t c;

	if (s->len_bytes == 0)
		return CODE_POINT_END;
	if (s->data[0] != '\\') {
		len = text_utf8_next(*s, &cp);
		*s = span_of(s->data + len, s->len_bytes - len);
		return cp;
	}
	c = s->data[1];
	if (c != 'u') {
		static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
		const char *at = strchr(from, c);

		*s = span_of(s->data + 2, s->len_bytes - 2);
		return at ? (uint8_t)to[at - from] : c;
	}
	(void)json_text_hex4(s->data + 2, &cp);
	len = 6;
	if (cp >= 0xd800 && cp <= 0xdbff) {
		(void)json_text_hex4(s->data + 8, &low);
		cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
		len = 12;
	}
	*s = span_of(s->data + len, s->len_bytes - len);
	return cp;
}

/**
 * json_text_compare() - Order two checked string bodies by decoded content
 * @a:	Bytes between the quotes
 * @b:	The same
 *
 * Return: negative, 0 or positive.
 */
int json_text_compare(struct span a, struct span b)
{
	for (;;) {
		uint32_t x = decode_next(&a), y = decode_next(&b);

		if (x != y)
			return x < y ? -1 : 1;
		if (x == CODE_POINT_END)
			return 0;
	}
}

/**
 * json_text_is() - Whether a checked string body decodes to this text
 * @raw:	Bytes between the quotes
 * @escaped:	Whether it holds escapes at all
 * @text:	UTF-8
 */
bool json_text_is(struct span raw, bool escaped, struct span text)
{
	if (!escaped)
		return span_equal(raw, text);
	while (text.len_bytes) {
		uint32_t cp = 0;
		size_t len = text_utf8_next(text, &cp);

		if (len == 0 || decode_next(&raw) != cp)
			return false;
		text = span_of(text.data + len, text.len_bytes - len);
	}
	return raw.len_bytes == 0;
}

static enum err put_code_point(struct buf *out, uint32_t cp)
{
	uint8_t b[4];
	size_t len;

	if (cp < 0x80) {
		b[0] = (uint8_t)cp, len = 1;
	} else if (cp < 0x800) {
		b[0] = (uint8_t)(0xc0 | cp >> 6), len = 2;
	} else if (cp < 0x10000) {
		b[0] = (uint8_t)(0xe0 | cp >> 12), len = 3;
	} else {
		b[0] = (uint8_t)(0xf0 | cp >> 18), len = 4;
	}
	for (size_t i = 1; i < len; i++)
		b[i] = (uint8_t)(0x80 | (cp >> (6 * (len - 1 - i)) & 0x3f));
	return buf_put(out, b, len);
}

/**
 * json_text_put() - Append the decoded content of a checked string body
 * @raw:	Bytes between the quotes
 * @escaped:	Whether it holds escapes at all
 * @out:	Buffer appended to
 *
 * Return: ERR_OK; ERR_LIMIT or ERR_MEMORY, nothing is added then.
 */
enum err json_text_put(struct span raw, bool escaped, struct buf *out)
{
	size_t before = out->len_bytes;
	enum err e = ERR_OK;
	uint32_t cp;

	if (!escaped)
		return buf_put_span(out, raw);
	while (e == ERR_OK && (cp = decode_next(&raw)) != CODE_POINT_END)
		e = put_code_point(out, cp);
	if (e != ERR_OK)
		buf_truncate(out, before);
	return e;
}
