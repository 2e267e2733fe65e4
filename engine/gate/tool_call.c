/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_call.c - a complete tool call as core wants to judge it
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in the call but that its arguments are one JSON object.
 * Never:   leaves an argument out silently: what is cut is named, and a call
 *	    that cannot be described is reported as too large to judge.
 */
#include "engine/gate/tool_call.h"

#include <string.h>

#include "engine/base/digest.h"
#include "engine/base/text.h"
#include "engine/proto/attrs.h"

/* The longest prefix of whole code points within @max. */
static struct span cut_text(struct span s, size_t max)
{
	size_t len = max;

	if (s.len_bytes <= max)
		return s;
	while (len && (s.data[len] & 0xc0) == 0x80)
		len--;
	return span_of(s.data, len);
}

/* Appends one text argument, cut to @max. */
static enum err put_field(struct tool_call *t, struct span key,
			  struct span value, size_t max)
{
	struct span part = cut_text(value, max);
	enum err e = attrs_put_pair(&t->fields, key, part);

	if (e != ERR_OK || part.len_bytes == value.len_bytes)
		return e;
	return attrs_put_list(&t->cut, "cut", &key, 1);
}

/* An argument that is no text has a name only: core cannot look into it. */
static enum err put_opaque(struct tool_call *t, struct span key)
{
	return attrs_put_list(&t->cut, "cut", &key, 1);
}

static enum err put_fields(struct tool_call *t, const struct json *j,
			   size_t max)
{
	struct buf key, value;
	enum err e = ERR_OK;

	buf_reset(&t->fields);
	buf_reset(&t->cut);
	buf_init(&key, TOOL_ARGUMENTS_MAX_BYTES);
	buf_init(&value, TOOL_ARGUMENTS_MAX_BYTES);
	JSON_EACH (j, item, JSON_ROOT) {
		bool is_text = json_is(j, item, JSON_STRING);

		buf_reset(&key);
		buf_reset(&value);
		e = json_key(j, item, &key);
		if (e == ERR_OK && is_text)
			e = json_string(j, item, &value);
		/* A key that no rule can name. */
		if (e == ERR_OK &&
		    (key.len_bytes == 0 || key.len_bytes > ATTR_KEY_MAX_BYTES))
			continue;
		if (e == ERR_OK && !is_text)
			e = put_opaque(t, buf_span(&key));
		else if (e == ERR_OK)
			e = put_field(t, buf_span(&key), buf_span(&value), max);
		if (e != ERR_OK)
			break;
	}
	buf_fini(&key);
	buf_fini(&value);
	return e;
}

/**
 * tool_call_make() - Describe a held call
 * @t:		Zeroed, or used before
 * @call:	Borrowed as long as @t->message is used
 *
 * Texts are cut to TOOL_FIELD_MAX_BYTES, further when there are many. The
 * names of arguments that are no texts are listed with those that were cut.
 *
 * Return: ERR_OK; ERR_LIMIT for a call too large to be judged; ERR_FORMAT;
 *	   ERR_MEMORY.
 */
enum err tool_call_make(struct tool_call *t, const struct reply_call *call)
{
	struct msg_infer_tool *m = &t->message;
	size_t max = TOOL_FIELD_MAX_BYTES;
	struct json doc;
	enum err e;

	if (!t->fields.max_bytes) {
		buf_init(&t->fields, TOOL_FIELDS_MAX_BYTES);
		buf_init(&t->cut, TOOL_CUT_MAX_BYTES);
	}
	json_init(&doc);
	e = reply_check_arguments(&doc, call->arguments);
	if (e == ERR_OK)
		e = put_fields(t, &doc, max);
	while (e == ERR_LIMIT && max > 64) {
		max /= 4;
		e = put_fields(t, &doc, max);
	}
	json_fini(&doc);
	if (e != ERR_OK)
		return e;
	*m = (struct msg_infer_tool){
		.index = call->index,
		.call_id = call->id,
		.name = call->name,
		.arguments_bytes = call->arguments.len_bytes,
		.arguments = call->arguments,
		.fields = buf_span(&t->fields),
		.cut = buf_span(&t->cut),
	};
	if (m->arguments.len_bytes > BODY_INLINE_MAX_BYTES)
		m->arguments.len_bytes = BODY_INLINE_MAX_BYTES;
	digest_sha256(call->arguments, m->arguments_digest);
	return ERR_OK;
}

/** tool_call_fini() - Release what a description holds */
void tool_call_fini(struct tool_call *t)
{
	buf_fini(&t->fields);
	buf_fini(&t->cut);
}
