/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.c - the bytes of one event: writer, strict reader, leaf hash
 *
 * Runs in: kenaz-audit (writes), kenaz-verify (reads).
 * Trusts:  the caller of record_write() for meaning, not for size or shape;
 *	    nothing about stored bytes.
 * Never:   hashes anything but the very bytes that are stored.
 *
 * Theory of operation: an event is one JSON object with the keys v, seq, id,
 * time, session, actor, kind, prev, policy, attrs, payload in this order and
 * in the one spelling of jsonw. docs/audit-format.md has the grammar. The
 * reader accepts exactly the writer's language; record_rewrite() turns a view
 * back into bytes, so a test can show that both agree.
 */
#include "engine/audit/record.h"

#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"

static bool is_key(struct span key)
{
	size_t i;

	for (i = 0; i < key.len_bytes; i++)
		if (key.data[i] <= 0x20 || key.data[i] >= 0x7f ||
		    key.data[i] == '"' || key.data[i] == '\\')
			return false;
	return key.len_bytes > 0 && key.len_bytes <= RECORD_KEY_MAX_BYTES;
}

/* Names of attributes seen so far: none may come twice. */
struct keys {
	struct span seen[RECORD_ATTRS_MAX];
	size_t count;
};

static enum err keys_add(struct keys *keys, struct span key)
{
	size_t i;

	if (!is_key(key))
		return ERR_FORMAT;
	if (keys->count == RECORD_ATTRS_MAX)
		return ERR_LIMIT;
	for (i = 0; i < keys->count; i++)
		if (span_equal(keys->seen[i], key))
			return ERR_EXISTS;
	keys->seen[keys->count++] = key;
	return ERR_OK;
}

static enum err check(const struct record *r)
{
	size_t i;

	if ((unsigned int)r->kind >= KIND_COUNT || r->seq > CANON_INT_MAX)
		return ERR_RANGE;
	if (r->session.len_bytes > RECORD_SESSION_MAX_BYTES ||
	    r->actor.len_bytes > RECORD_ACTOR_MAX_BYTES ||
	    r->policy.len_bytes > RECORD_POLICY_MAX_BYTES ||
	    r->payload_count > RECORD_PAYLOADS_MAX ||
	    r->session.len_bytes + r->actor.len_bytes + r->policy.len_bytes +
			    r->attrs.len_bytes >
		    RECORD_CALLER_MAX_BYTES)
		return ERR_LIMIT;
	for (i = 0; i < r->payload_count; i++)
		if (!text_is_name(r->payloads[i].name, RECORD_NAME_MAX_BYTES))
			return ERR_FORMAT;
	return ERR_OK;
}

/* Past 2^53 many readers of JSON round: such numbers become strings. */
static void put_number(struct jsonw *w, uint64_t size, bool negative)
{
	char text[24] = "-";
	struct buf digits = {.data = (uint8_t *)text + 1,
			     .cap_bytes = sizeof(text) - 1,
			     .max_bytes = sizeof(text) - 1};

	if (size <= CANON_INT_MAX) {
		jsonw_i64(w, negative ? -(int64_t)size : (int64_t)size);
		return;
	}
	if (buf_printf(&digits, "%llu", (unsigned long long)size) != ERR_OK)
		w->status = ERR_INTERNAL;
	jsonw_cstr(w, negative ? text : text + 1);
}

static void put_attr(struct jsonw *w, const struct attr *a)
{
	struct reader items;
	struct span item;
	int64_t i64 = (int64_t)a->number;

	jsonw_key_span(w, a->key);
	switch (a->type) {
	case ATTR_TEXT:
		jsonw_text(w, a->text);
		break;
	case ATTR_U64:
		put_number(w, a->number, false);
		break;
	case ATTR_I64:
		put_number(w, i64 < 0 ? 0 - a->number : a->number, i64 < 0);
		break;
	case ATTR_BOOL:
		jsonw_bool(w, a->number != 0);
		break;
	case ATTR_LIST:
		jsonw_begin_array(w);
		reader_init(&items, a->items);
		while (attrs_list_next(&items, &item))
			jsonw_text(w, item);
		jsonw_end_array(w);
		break;
	}
}

static enum err put_attrs(struct jsonw *w, struct span attrs)
{
	struct keys keys = {.count = 0};
	struct reader r;
	struct attr a;
	enum err e = ERR_OK;

	jsonw_key(w, "attrs");
	jsonw_begin_object(w);
	reader_init(&r, attrs);
	while (e == ERR_OK && attrs_next(&r, &a)) {
		e = keys_add(&keys, a.key);
		if (e == ERR_OK)
			put_attr(w, &a);
	}
	jsonw_end_object(w);
	return e == ERR_OK ? r.status : e;
}

static void put_form(struct jsonw *w, const char *key, uint64_t len_bytes,
		     const uint8_t mac[DIGEST_BYTES])
{
	jsonw_key(w, key);
	jsonw_begin_object(w);
	jsonw_put_u64(w, "bytes", len_bytes);
	jsonw_key(w, "hmac");
	jsonw_hex(w, span_of(mac, DIGEST_BYTES));
	jsonw_end_object(w);
}

static void put_payloads(struct jsonw *w, const struct record_payload *payloads,
			 size_t count)
{
	size_t i;

	jsonw_begin_array(w);
	for (i = 0; i < count; i++) {
		jsonw_begin_object(w);
		jsonw_put_text(w, "name", payloads[i].name);
		jsonw_key(w, "cipher");
		jsonw_hex(w, span_of(payloads[i].cipher, DIGEST_BYTES));
		put_form(w, "sent", payloads[i].sent_bytes,
			 payloads[i].sent_mac);
		put_form(w, "stored", payloads[i].stored_bytes,
			 payloads[i].stored_mac);
		jsonw_end_object(w);
	}
	jsonw_end_array(w);
}

/**
 * record_write() - Append the bytes of an event
 * @r:		Event, borrowed
 * @out:	Empty buffer whose ceiling is RECORD_MAX_BYTES
 *
 * Return: ERR_OK; ERR_LIMIT when callers' fields pass 48 KiB or the event
 *	   RECORD_MAX_BYTES; ERR_FORMAT for a bad key, name or UTF-8;
 *	   ERR_EXISTS for a repeated key; ERR_RANGE for an impossible time,
 *	   number or kind; ERR_MEMORY.
 */
enum err record_write(const struct record *r, struct buf *out)
{
	char id[STAMP_ULID_BYTES + 1], time[STAMP_TIME_BYTES + 1];
	struct jsonw w;
	enum err e = check(r), done;

	if (e == ERR_OK)
		e = stamp_ulid(r->wall_us, r->random, id);
	if (e == ERR_OK)
		e = stamp_time(r->wall_us, time);
	if (e != ERR_OK)
		return e;
	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "v", RECORD_VERSION);
	jsonw_put_u64(&w, "seq", r->seq);
	jsonw_put_cstr(&w, "id", id);
	jsonw_put_cstr(&w, "time", time);
	jsonw_put_text(&w, "session", r->session);
	jsonw_put_text(&w, "actor", r->actor);
	jsonw_put_cstr(&w, "kind", kind_text(r->kind));
	jsonw_key(&w, "prev");
	jsonw_hex(&w, span_of(r->prev, DIGEST_BYTES));
	jsonw_put_text(&w, "policy", r->policy);
	e = put_attrs(&w, r->attrs);
	jsonw_key(&w, "payload");
	put_payloads(&w, r->payloads, r->payload_count);
	jsonw_end_object(&w);
	done = jsonw_finish(&w);
	if (e == ERR_OK)
		e = done;
	if (e == ERR_OK && out->len_bytes > RECORD_MAX_BYTES)
		e = ERR_LIMIT;
	return e;
}

/**
 * record_leaf() - Hash of an event in the tree (RFC 6962 section 2.1)
 * @bytes:	Stored bytes, borrowed
 * @ret_leaf:	SHA-256(0x00 || bytes)
 */
void record_leaf(struct span bytes, uint8_t ret_leaf[DIGEST_BYTES])
{
	struct span parts[] = {span_of("\x00", 1), bytes};

	digest_sha256_parts(parts, ARRAY_SIZE(parts), ret_leaf);
}

static bool read_list(struct canon *c)
{
	struct span item;
	size_t count = 0;

	if (!canon_literal(c, "["))
		return false;
	while (!c->fault && !canon_next_is(c, ']')) {
		if (count++ == RECORD_LIST_MAX)
			return canon_fail(c, "a shorter list");
		if (count > 1 && !canon_literal(c, ","))
			return false;
		(void)canon_string(c, RECORD_MAX_BYTES, &item);
	}
	return canon_literal(c, "]");
}

static bool read_value(struct canon *c, struct record_value *v)
{
	const uint8_t *start = c->at;

	if (canon_next_is(c, '"')) {
		v->type = ATTR_TEXT;
		return canon_string(c, RECORD_MAX_BYTES, &v->text);
	}
	if (canon_next_is(c, '[')) {
		v->type = ATTR_LIST;
		if (!read_list(c))
			return false;
		v->text = span_of(start, (size_t)(c->at - start));
		return true;
	}
	v->type = ATTR_BOOL;
	v->flag = canon_next_is(c, 't');
	if (v->flag)
		return canon_literal(c, "true");
	if (canon_next_is(c, 'f'))
		return canon_literal(c, "false");
	v->type = ATTR_I64;
	return canon_integer(c, &v->i64);
}

static bool read_attr(struct canon *c, struct record_value *v)
{
	if (!canon_string(c, RECORD_KEY_MAX_BYTES, &v->key))
		return false;
	if (!is_key(v->key))
		return canon_fail(c, "an attribute name");
	return canon_literal(c, ":") && read_value(c, v);
}

static bool read_attrs(struct canon *c, struct span *ret_object)
{
	const uint8_t *start = c->at;
	struct keys keys = {.count = 0};
	struct record_value v;

	if (!canon_literal(c, "{"))
		return false;
	while (!c->fault && !canon_next_is(c, '}')) {
		if (keys.count && !canon_literal(c, ","))
			return false;
		if (!read_attr(c, &v))
			return false;
		if (keys_add(&keys, v.key) != ERR_OK)
			return canon_fail(c, "few attributes, each once");
	}
	if (!canon_literal(c, "}"))
		return false;
	*ret_object = span_of(start, (size_t)(c->at - start));
	return true;
}

static bool read_form(struct canon *c, const char *open, uint64_t *ret_bytes,
		      uint8_t ret_mac[DIGEST_BYTES])
{
	return canon_literal(c, open) && canon_u53(c, ret_bytes) &&
	       canon_literal(c, ",\"hmac\":") &&
	       canon_hex(c, ret_mac, DIGEST_BYTES) && canon_literal(c, "}");
}

static bool read_payload(struct canon *c, struct record_payload *p)
{
	if (!canon_literal(c, "{\"name\":") ||
	    !canon_string(c, RECORD_NAME_MAX_BYTES, &p->name))
		return false;
	if (!text_is_name(p->name, RECORD_NAME_MAX_BYTES))
		return canon_fail(c, "a payload name");
	return canon_literal(c, ",\"cipher\":") &&
	       canon_hex(c, p->cipher, DIGEST_BYTES) &&
	       read_form(c, ",\"sent\":{\"bytes\":", &p->sent_bytes,
			 p->sent_mac) &&
	       read_form(c, ",\"stored\":{\"bytes\":", &p->stored_bytes,
			 p->stored_mac) &&
	       canon_literal(c, "}");
}

static bool read_payloads(struct canon *c, struct record_view *v)
{
	v->payload_count = 0;
	if (!canon_literal(c, "["))
		return false;
	while (!c->fault && !canon_next_is(c, ']')) {
		if (v->payload_count == RECORD_PAYLOADS_MAX)
			return canon_fail(c, "fewer payloads");
		if (v->payload_count && !canon_literal(c, ","))
			return false;
		if (!read_payload(c, &v->payloads[v->payload_count]))
			return false;
		v->payload_count++;
	}
	return canon_literal(c, "]");
}

static bool read_stamps(struct canon *c, struct record_view *v)
{
	uint64_t ms;

	if (!canon_literal(c, ",\"id\":") ||
	    !canon_string(c, STAMP_ULID_BYTES, &v->id))
		return false;
	if (stamp_parse_ulid(v->id, &ms) != ERR_OK)
		return canon_fail(c, "a ULID");
	if (!canon_literal(c, ",\"time\":") ||
	    !canon_string(c, STAMP_TIME_BYTES, &v->time))
		return false;
	if (stamp_parse_time(v->time, &v->wall_us) != ERR_OK)
		return canon_fail(c, "an RFC 3339 time with microseconds");
	if (ms != (uint64_t)v->wall_us / 1000)
		return canon_fail(c, "a ULID of the event's time");
	return true;
}

/* Callers' limits count decoded bytes; a spelling is at most 6 times that. */
static bool read_text(struct canon *c, const char *key, size_t max_bytes,
		      struct span *ret_raw)
{
	return canon_literal(c, key) && canon_string(c, 6 * max_bytes, ret_raw);
}

static bool read_fields(struct canon *c, struct record_view *v)
{
	if (!canon_literal(c, "{\"v\":1,\"seq\":") || !canon_u53(c, &v->seq) ||
	    !read_stamps(c, v) ||
	    !read_text(c, ",\"session\":", RECORD_SESSION_MAX_BYTES,
		       &v->session) ||
	    !read_text(c, ",\"actor\":", RECORD_ACTOR_MAX_BYTES, &v->actor) ||
	    !canon_literal(c, ",\"kind\":") ||
	    !canon_string(c, KIND_MAX_BYTES, &v->kind))
		return false;
	if (!text_is_name(v->kind, KIND_MAX_BYTES))
		return canon_fail(c, "a kind");
	return canon_literal(c, ",\"prev\":") &&
	       canon_hex(c, v->prev, DIGEST_BYTES) &&
	       read_text(c, ",\"policy\":", RECORD_POLICY_MAX_BYTES,
			 &v->policy) &&
	       canon_literal(c, ",\"attrs\":") && read_attrs(c, &v->attrs) &&
	       canon_literal(c, ",\"payload\":") && read_payloads(c, v) &&
	       canon_literal(c, "}");
}

/**
 * record_read() - Take a stored event apart, strictly
 * @bytes:	Stored bytes, borrowed by the view
 * @ret_view:	Written on success
 * @ret_fault:	Static text: what was expected; written on failure
 *
 * Return: ERR_OK when the bytes are exactly what record_write() could have
 *	   written; ERR_FORMAT; ERR_LIMIT when longer than RECORD_MAX_BYTES.
 */
enum err record_read(struct span bytes, struct record_view *ret_view,
		     const char **ret_fault)
{
	struct canon c;

	if (bytes.len_bytes > RECORD_MAX_BYTES) {
		*ret_fault = "at most 65535 bytes";
		return ERR_LIMIT;
	}
	canon_init(&c, bytes);
	if (!read_fields(&c, ret_view) || !canon_is_done(&c)) {
		*ret_fault = c.fault ? c.fault : "the end of the event";
		return ERR_FORMAT;
	}
	return ERR_OK;
}

/**
 * record_attrs_begin() - Start walking the attributes of a stored event
 * @view:	From record_read(), borrowed
 * @c:		Cursor for record_attrs_next()
 */
void record_attrs_begin(const struct record_view *view, struct canon *c)
{
	canon_init(c, view->attrs);
	(void)canon_literal(c, "{");
}

/**
 * record_attrs_next() - The next attribute
 * @c:		Cursor
 * @ret_value:	Written when there is one
 *
 * Return: false after the last one.
 */
bool record_attrs_next(struct canon *c, struct record_value *ret_value)
{
	if (c->fault || canon_next_is(c, '}'))
		return false;
	if (canon_next_is(c, ','))
		c->at++;
	return read_attr(c, ret_value);
}

/**
 * record_attr_find() - Look one attribute up
 * @view:	From record_read(), borrowed
 * @key:	Its name
 * @ret_value:	Written when found
 *
 * Return: whether it is there.
 */
bool record_attr_find(const struct record_view *view, const char *key,
		      struct record_value *ret_value)
{
	struct record_value v;
	struct canon c;

	record_attrs_begin(view, &c);
	while (record_attrs_next(&c, &v)) {
		if (span_is(v.key, key)) {
			*ret_value = v;
			return true;
		}
	}
	return false;
}

/**
 * record_list_next() - The next item of a list
 * @c:		Cursor, started with canon_init() on a value's text
 * @ret_raw:	Raw item; written when there is one
 *
 * Return: false after the last one.
 */
bool record_list_next(struct canon *c, struct span *ret_raw)
{
	if (canon_next_is(c, '[') || canon_next_is(c, ','))
		c->at++;
	if (c->fault || c->at == c->end || canon_next_is(c, ']'))
		return false;
	return canon_string(c, RECORD_MAX_BYTES, ret_raw);
}

static enum err put_raw(struct jsonw *w, struct span raw, struct buf *scratch)
{
	enum err e;

	if (!raw.len_bytes || !memchr(raw.data, '\\', raw.len_bytes)) {
		jsonw_text(w, raw);
		return ERR_OK;
	}
	buf_reset(scratch);
	e = canon_unescape(raw, scratch);
	if (e == ERR_OK)
		jsonw_text(w, buf_span(scratch));
	return e;
}

static enum err put_value(struct jsonw *w, const struct record_value *v,
			  struct buf *scratch)
{
	enum err e = ERR_OK;
	struct span item;
	struct canon c;

	jsonw_key_span(w, v->key);
	if (v->type == ATTR_TEXT) {
		e = put_raw(w, v->text, scratch);
	} else if (v->type == ATTR_BOOL) {
		jsonw_bool(w, v->flag);
	} else if (v->type == ATTR_LIST) {
		jsonw_begin_array(w);
		canon_init(&c, v->text);
		while (e == ERR_OK && record_list_next(&c, &item))
			e = put_raw(w, item, scratch);
		jsonw_end_array(w);
	} else {
		jsonw_i64(w, v->i64);
	}
	return e;
}

static enum err put_values(struct jsonw *w, const struct record_view *view,
			   struct buf *scratch)
{
	enum err e = ERR_OK;
	struct record_value v;
	struct canon c;

	jsonw_begin_object(w);
	record_attrs_begin(view, &c);
	while (e == ERR_OK && record_attrs_next(&c, &v))
		e = put_value(w, &v, scratch);
	jsonw_end_object(w);
	return e;
}

/**
 * record_rewrite() - Write a view with the writer's own functions
 * @view:	From record_read(), borrowed
 * @out:	Buffer appended to
 *
 * Return: ERR_OK, with the same bytes that were read; else as record_write().
 */
enum err record_rewrite(const struct record_view *view, struct buf *out)
{
	struct buf scratch;
	struct jsonw w;
	enum err e, done;

	buf_init(&scratch, RECORD_MAX_BYTES);
	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "v", RECORD_VERSION);
	jsonw_put_u64(&w, "seq", view->seq);
	jsonw_put_text(&w, "id", view->id);
	jsonw_put_text(&w, "time", view->time);
	jsonw_key(&w, "session");
	e = put_raw(&w, view->session, &scratch);
	jsonw_key(&w, "actor");
	if (e == ERR_OK)
		e = put_raw(&w, view->actor, &scratch);
	jsonw_put_text(&w, "kind", view->kind);
	jsonw_key(&w, "prev");
	jsonw_hex(&w, span_of(view->prev, DIGEST_BYTES));
	jsonw_key(&w, "policy");
	if (e == ERR_OK)
		e = put_raw(&w, view->policy, &scratch);
	jsonw_key(&w, "attrs");
	if (e == ERR_OK)
		e = put_values(&w, view, &scratch);
	jsonw_key(&w, "payload");
	put_payloads(&w, view->payloads, view->payload_count);
	jsonw_end_object(&w);
	done = jsonw_finish(&w);
	buf_fini(&scratch);
	return e == ERR_OK ? done : e;
}
