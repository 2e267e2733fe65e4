/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attrs.c - key/value lists inside messages
 *
 * Runs in: core, audit, broker, gate.
 * Trusts:  nothing when reading: types, lengths, counts and UTF-8 are checked.
 * Never:   allocates while reading; items borrow the message.
 */
#include "engine/proto/attrs.h"

#include <string.h>

#include "engine/base/text.h"

static enum err put_head(struct buf *b, enum attr_type type, struct span key)
{
	enum err e;

	if (key.len_bytes == 0 || key.len_bytes > ATTR_KEY_MAX_BYTES ||
	    !text_is_utf8(key))
		return ERR_FORMAT;
	e = buf_put_u8(b, (uint8_t)type);
	return e == ERR_OK ? buf_put_lp(b, key) : e;
}

static enum err finish(struct buf *b, size_t before, enum err e)
{
	if (e != ERR_OK)
		buf_truncate(b, before);
	return e;
}

/**
 * attrs_put_pair() - Append a text item
 * @b:		Buffer
 * @key:	1 to ATTR_KEY_MAX_BYTES of UTF-8
 * @value:	Up to ATTR_VALUE_MAX_BYTES of UTF-8
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY; nothing added then.
 */
enum err attrs_put_pair(struct buf *b, struct span key, struct span value)
{
	size_t before = b->len_bytes;
	enum err e;

	if (value.len_bytes > ATTR_VALUE_MAX_BYTES)
		return ERR_LIMIT;
	if (!text_is_utf8(value))
		return ERR_FORMAT;
	e = put_head(b, ATTR_TEXT, key);
	if (e == ERR_OK)
		e = buf_put_lp(b, value);
	return finish(b, before, e);
}

/** attrs_put_text() - Append a text item; as attrs_put_pair() */
enum err attrs_put_text(struct buf *b, const char *key, struct span value)
{
	return attrs_put_pair(b, span_text(key), value);
}

static enum err put_number(struct buf *b, enum attr_type type, const char *key,
			   uint64_t value)
{
	size_t before = b->len_bytes;
	enum err e = put_head(b, type, span_text(key));

	if (e == ERR_OK)
		e = buf_put_u64(b, value);
	return finish(b, before, e);
}

/** attrs_put_u64() - Append an unsigned number; as attrs_put_pair() */
enum err attrs_put_u64(struct buf *b, const char *key, uint64_t value)
{
	return put_number(b, ATTR_U64, key, value);
}

/** attrs_put_i64() - Append a signed number; as attrs_put_pair() */
enum err attrs_put_i64(struct buf *b, const char *key, int64_t value)
{
	return put_number(b, ATTR_I64, key, (uint64_t)value);
}

/** attrs_put_bool() - Append a truth value; as attrs_put_pair() */
enum err attrs_put_bool(struct buf *b, const char *key, bool value)
{
	size_t before = b->len_bytes;
	enum err e = put_head(b, ATTR_BOOL, span_text(key));

	if (e == ERR_OK)
		e = buf_put_u8(b, value ? 1 : 0);
	return finish(b, before, e);
}

/**
 * attrs_put_list() - Append a list of texts
 * @b:		Buffer
 * @key:	As attrs_put_pair()
 * @items:	Borrowed, each UTF-8
 * @count:	Up to ATTR_LIST_MAX_ITEMS
 *
 * Return: as attrs_put_pair().
 */
enum err attrs_put_list(struct buf *b, const char *key,
			const struct span *items, size_t count)
{
	size_t before = b->len_bytes, i;
	enum err e;

	if (count > ATTR_LIST_MAX_ITEMS)
		return ERR_LIMIT;
	e = put_head(b, ATTR_LIST, span_text(key));
	if (e == ERR_OK)
		e = buf_put_u32(b, (uint32_t)count);
	for (i = 0; e == ERR_OK && i < count; i++) {
		if (!text_is_utf8(items[i]))
			e = ERR_FORMAT;
		else
			e = buf_put_lp(b, items[i]);
	}
	return finish(b, before, e);
}

static void get_list(struct reader *r, struct attr *a)
{
	size_t start, i;

	a->count = reader_get_u32(r);
	if (r->status == ERR_OK && a->count > ATTR_LIST_MAX_ITEMS)
		r->status = ERR_LIMIT;
	start = r->pos_bytes;
	for (i = 0; r->status == ERR_OK && i < a->count; i++)
		if (!text_is_utf8(reader_get_lp(r, ATTR_VALUE_MAX_BYTES)))
			r->status = ERR_FORMAT;
	if (r->status == ERR_OK)
		a->items = span_of(r->data + start, r->pos_bytes - start);
}

/**
 * attrs_next() - Read the next item
 * @r:		Reader over a list
 * @ret_attr:	Written when true; borrows the list
 *
 * Return: true for an item; false at the end (status ERR_OK) or at the first
 *	   malformed item (status says why).
 */
bool attrs_next(struct reader *r, struct attr *ret_attr)
{
	struct attr a = {0};
	uint8_t type;

	if (reader_left(r) == 0)
		return false;
	type = reader_get_u8(r);
	a.key = reader_get_lp(r, ATTR_KEY_MAX_BYTES);
	if (r->status == ERR_OK &&
	    (a.key.len_bytes == 0 || !text_is_utf8(a.key)))
		r->status = ERR_FORMAT;
	if (r->status != ERR_OK)
		return false;
	a.type = (enum attr_type)type;
	if (type == ATTR_TEXT) {
		a.text = reader_get_lp(r, ATTR_VALUE_MAX_BYTES);
		if (!text_is_utf8(a.text))
			r->status = ERR_FORMAT;
	} else if (type == ATTR_U64 || type == ATTR_I64) {
		a.number = reader_get_u64(r);
	} else if (type == ATTR_BOOL) {
		a.number = reader_get_u8(r);
		if (a.number > 1)
			r->status = ERR_FORMAT;
	} else if (type == ATTR_LIST) {
		get_list(r, &a);
	} else {
		r->status = ERR_FORMAT;
	}
	if (r->status != ERR_OK)
		return false;
	*ret_attr = a;
	return true;
}

/**
 * attrs_list_next() - Read the next text of a list item
 * @items:	Reader over struct attr's items
 * @ret_text:	Written when true; borrowed
 */
bool attrs_list_next(struct reader *items, struct span *ret_text)
{
	struct span s;

	if (reader_left(items) == 0)
		return false;
	s = reader_get_lp(items, ATTR_VALUE_MAX_BYTES);
	if (items->status != ERR_OK)
		return false;
	*ret_text = s;
	return true;
}

/**
 * attrs_find() - Look an item up by its key
 * @attrs:	The list
 * @key:	Exact key
 * @ret_attr:	Written when true
 */
bool attrs_find(struct span attrs, const char *key, struct attr *ret_attr)
{
	struct reader r;
	struct attr a;

	reader_init(&r, attrs);
	while (attrs_next(&r, &a)) {
		if (span_is(a.key, key)) {
			*ret_attr = a;
			return true;
		}
	}
	return false;
}
