/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jsonw.c - deterministic JSON writer: no floats, no white space
 *
 * Runs in: every program.
 * Trusts:  the caller for the shape, which is checked all the same.
 * Never:   emits invalid UTF-8, a bare control character or a fraction.
 *
 * RFC 8259. The same calls give the same bytes: keys keep the caller's
 * order, integers are plain decimals, and a string escapes exactly '"', '\'
 * and the characters below U+0020 (\b \t \n \f \r, else \u00xx in lower
 * case). A misuse (a value without a key, an unclosed array) is a failure
 * with ERR_STATE, never broken output that looks whole.
 */
#include "engine/base/jsonw.h"

#include <assert.h>
#include <string.h>

#include "engine/base/text.h"

#define HEX_CHUNK_BYTES 32u

static_assert(JSONW_DEPTH_MAX <= 32, "levels are bits of a uint32_t");

/**
 * jsonw_init() - Start one JSON value
 * @w:		Caller's memory
 * @out:	Buffer appended to; borrowed until jsonw_finish()
 */
void jsonw_init(struct jsonw *w, struct buf *out)
{
	*w = (struct jsonw){.out = out, .status = ERR_OK};
}

/**
 * jsonw_finish() - Check that one whole value was written
 * @w:	Writer
 *
 * Return: ERR_OK; ERR_STATE after a misuse; ERR_FORMAT for invalid UTF-8;
 *	   ERR_LIMIT when too deep or the buffer is full; ERR_MEMORY. After a
 *	   failure the buffer may hold a part.
 */
enum err jsonw_finish(struct jsonw *w)
{
	if (w->status == ERR_OK && (w->depth || w->after_key || !w->done))
		w->status = ERR_STATE;
	return w->status;
}

static void fail(struct jsonw *w, enum err e)
{
	if (w->status == ERR_OK)
		w->status = e;
}

static void emit(struct jsonw *w, const void *bytes, size_t len_bytes)
{
	if (w->status == ERR_OK)
		w->status = buf_put(w->out, bytes, len_bytes);
}

static uint32_t level_bit(const struct jsonw *w)
{
	return w->depth ? (uint32_t)1 << (w->depth - 1) : 0;
}

/* Whether a value may stand here; writes the comma of an array. */
static bool open_value(struct jsonw *w)
{
	uint32_t bit = level_bit(w);

	if (w->status != ERR_OK)
		return false;
	if (w->depth == 0 ? w->done : (w->is_object & bit) && !w->after_key) {
		fail(w, ERR_STATE);
		return false;
	}
	if (w->depth == 0)
		w->done = true;
	else if (!(w->is_object & bit) && (w->has_items & bit))
		emit(w, ",", 1);
	w->has_items |= bit;
	w->after_key = false;
	return w->status == ERR_OK;
}

static void open_level(struct jsonw *w, bool is_object)
{
	uint32_t bit;

	if (!open_value(w))
		return;
	if (w->depth == JSONW_DEPTH_MAX) {
		fail(w, ERR_LIMIT);
		return;
	}
	w->depth++;
	bit = level_bit(w);
	w->has_items &= ~bit;
	w->is_object = is_object ? w->is_object | bit : w->is_object & ~bit;
	emit(w, is_object ? "{" : "[", 1);
}

static void close_level(struct jsonw *w, bool is_object)
{
	if (w->status != ERR_OK)
		return;
	if (w->depth == 0 || w->after_key ||
	    ((w->is_object & level_bit(w)) != 0) != is_object) {
		fail(w, ERR_STATE);
		return;
	}
	w->depth--;
	emit(w, is_object ? "}" : "]", 1);
}

/** jsonw_begin_object() - Open an object: keys and values follow */
void jsonw_begin_object(struct jsonw *w)
{
	open_level(w, true);
}

/** jsonw_end_object() - Close the innermost object */
void jsonw_end_object(struct jsonw *w)
{
	close_level(w, true);
}

/** jsonw_begin_array() - Open an array: values follow */
void jsonw_begin_array(struct jsonw *w)
{
	open_level(w, false);
}

/** jsonw_end_array() - Close the innermost array */
void jsonw_end_array(struct jsonw *w)
{
	close_level(w, false);
}

static void emit_escape(struct jsonw *w, uint8_t c)
{
	static const char digits[] = "0123456789abcdef";
	static const char from[] = "\"\\\b\t\n\f\r";
	static const char to[] = "\"\\btnfr";
	const char *at = c ? strchr(from, c) : NULL;
	char seq[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};

	if (at) {
		seq[1] = to[at - from];
		emit(w, seq, 2);
	} else {
		emit(w, seq, sizeof(seq));
	}
}

#define EACH_BYTE(b) ((uint64_t)(b)*0x0101010101010101u)

/* Whether any of eight bytes is below U+0020, '"', '\\' or above U+007F. */
static bool needs_care(uint64_t v)
{
	uint64_t quote = v ^ EACH_BYTE('"'), slash = v ^ EACH_BYTE('\\');

	return ((v | (v - EACH_BYTE(0x20)) | (quote - EACH_BYTE(1)) |
		 (slash - EACH_BYTE(1))) &
		EACH_BYTE(0x80)) != 0;
}

/**
 * jsonw_plain_run() - How far a text can be copied into a string as it is
 * @s:	Borrowed
 *
 * Return: length of a leading run of ASCII without controls, '"' and '\\';
 *	   perhaps not the whole run: the next byte must be looked at.
 */
size_t jsonw_plain_run(struct span s)
{
	size_t at = 0;
	uint64_t v;

	for (; s.len_bytes - at >= sizeof(v); at += sizeof(v)) {
		memcpy(&v, s.data + at, sizeof(v));
		if (needs_care(v))
			break;
	}
	return at;
}

static void emit_string(struct jsonw *w, struct span s)
{
	size_t i = 0, run = 0;

	emit(w, "\"", 1);
	while (i < s.len_bytes && w->status == ERR_OK) {
		uint32_t code_point;
		size_t len = 1;
		uint8_t c;

		i += jsonw_plain_run(span_of(s.data + i, s.len_bytes - i));
		if (i == s.len_bytes)
			break;
		c = s.data[i];
		if (c >= 0x80)
			len = text_utf8_next(span_of(s.data + i,
						     s.len_bytes - i),
					     &code_point);
		if (len == 0) {
			fail(w, ERR_FORMAT);
		} else if (c < 0x20 || c == '"' || c == '\\') {
			emit(w, s.data + run, i - run);
			emit_escape(w, c);
			run = i + 1;
		}
		i += len;
	}
	if (i > run)
		emit(w, s.data + run, i - run);
	emit(w, "\"", 1);
}

/**
 * jsonw_key_span() - Write a key; exactly one value must follow
 * @w:		Writer, inside an object
 * @key:	Borrowed UTF-8
 */
void jsonw_key_span(struct jsonw *w, struct span key)
{
	uint32_t bit = level_bit(w);

	if (w->status != ERR_OK)
		return;
	if (w->depth == 0 || !(w->is_object & bit) || w->after_key) {
		fail(w, ERR_STATE);
		return;
	}
	if (w->has_items & bit)
		emit(w, ",", 1);
	w->has_items |= bit;
	emit_string(w, key);
	emit(w, ":", 1);
	w->after_key = true;
}

/** jsonw_key() - Write a key given as text; see jsonw_key_span() */
void jsonw_key(struct jsonw *w, const char *key)
{
	jsonw_key_span(w, span_text(key));
}

/**
 * jsonw_text() - Write a string
 * @w:		Writer
 * @text:	Borrowed; must be valid UTF-8, or the writer fails
 */
void jsonw_text(struct jsonw *w, struct span text)
{
	if (open_value(w))
		emit_string(w, text);
}

/** jsonw_cstr() - Write a string given as NUL-terminated text */
void jsonw_cstr(struct jsonw *w, const char *text)
{
	jsonw_text(w, span_text(text));
}

static void emit_decimal(struct jsonw *w, uint64_t value, bool negative)
{
	char digits[24];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	if (negative)
		digits[--at] = '-';
	emit(w, digits + at, sizeof(digits) - at);
}

/** jsonw_u64() - Write an integer as a plain decimal */
void jsonw_u64(struct jsonw *w, uint64_t value)
{
	if (open_value(w))
		emit_decimal(w, value, false);
}

/** jsonw_i64() - Write a signed integer as a plain decimal */
void jsonw_i64(struct jsonw *w, int64_t value)
{
	uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	if (open_value(w))
		emit_decimal(w, size, value < 0);
}

/** jsonw_bool() - Write true or false */
void jsonw_bool(struct jsonw *w, bool value)
{
	if (open_value(w))
		emit(w, value ? "true" : "false", value ? 4 : 5);
}

/** jsonw_null() - Write null */
void jsonw_null(struct jsonw *w)
{
	if (open_value(w))
		emit(w, "null", 4);
}

/** jsonw_hex() - Write bytes as a string of lower-case hexadecimal */
void jsonw_hex(struct jsonw *w, struct span bytes)
{
	char digits[2 * HEX_CHUNK_BYTES + 1];
	size_t at, len;

	if (!open_value(w))
		return;
	emit(w, "\"", 1);
	for (at = 0; at < bytes.len_bytes; at += len) {
		len = bytes.len_bytes - at;
		if (len > HEX_CHUNK_BYTES)
			len = HEX_CHUNK_BYTES;
		text_hex(bytes.data + at, len, digits);
		emit(w, digits, 2 * len);
	}
	emit(w, "\"", 1);
}

/**
 * jsonw_raw() - Write a value that already is JSON
 * @w:		Writer
 * @json:	One whole value made by a jsonw, borrowed; not checked
 */
void jsonw_raw(struct jsonw *w, struct span json)
{
	if (json.len_bytes == 0)
		fail(w, ERR_STATE);
	if (open_value(w))
		emit(w, json.data, json.len_bytes);
}

/** jsonw_put_text() - Write a key and a string */
void jsonw_put_text(struct jsonw *w, const char *key, struct span text)
{
	jsonw_key(w, key);
	jsonw_text(w, text);
}

/** jsonw_put_cstr() - Write a key and a string given as text */
void jsonw_put_cstr(struct jsonw *w, const char *key, const char *text)
{
	jsonw_key(w, key);
	jsonw_cstr(w, text);
}

/** jsonw_put_u64() - Write a key and an integer */
void jsonw_put_u64(struct jsonw *w, const char *key, uint64_t value)
{
	jsonw_key(w, key);
	jsonw_u64(w, value);
}

/** jsonw_put_i64() - Write a key and a signed integer */
void jsonw_put_i64(struct jsonw *w, const char *key, int64_t value)
{
	jsonw_key(w, key);
	jsonw_i64(w, value);
}

/** jsonw_put_bool() - Write a key and true or false */
void jsonw_put_bool(struct jsonw *w, const char *key, bool value)
{
	jsonw_key(w, key);
	jsonw_bool(w, value);
}
