/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_reply.c - one streamed message of a model, put together
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing.
 * Never:   does I/O; takes events in an order that the dialect forbids.
 *
 * The Anthropic Messages stream: message_start, then per block
 * content_block_start, _delta..., _stop, then message_delta, message_stop.
 * Events and members that are not known are left out.
 */
#include "guest/workbench/model_reply.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"

#define MAX_TOKENS 65536u

/** model_reply_init() - An empty reply */
void model_reply_init(struct model_reply *r)
{
	*r = (struct model_reply){0};
}

/** model_reply_fini() - Release a reply */
void model_reply_fini(struct model_reply *r)
{
	size_t i;

	for (i = 0; i < r->count; i++) {
		buf_fini(&r->blocks[i].content);
		buf_fini(&r->blocks[i].signature);
	}
	r->count = 0;
}

static void copy_text(const struct json *j, json_ref object, const char *key,
		      char *ret_text, size_t cap_bytes)
{
	json_ref at =
		object == JSON_NONE ? JSON_NONE : json_get(j, object, key);

	if (at != JSON_NONE && json_text(j, at, ret_text, cap_bytes) != ERR_OK)
		ret_text[0] = '\0';
}

static void take_error_object(struct model_reply *r, const struct json *j)
{
	json_ref error = json_get(j, JSON_ROOT, "error");
	struct buf text;
	json_ref at;

	copy_text(j, error, "type", r->error_type, sizeof(r->error_type));
	at = error == JSON_NONE ? JSON_NONE : json_get(j, error, "message");
	if (at == JSON_NONE)
		return;
	buf_init(&text, MODEL_REPLY_MAX_BYTES);
	if (json_string(j, at, &text) == ERR_OK) {
		size_t len = text.len_bytes < sizeof(r->error)
				     ? text.len_bytes
				     : sizeof(r->error) - 1;

		if (len)
			memcpy(r->error, text.data, len);
		r->error[len] = '\0';
	}
	buf_fini(&text);
}

/**
 * model_reply_take_error() - Read the body of an HTTP error
 * @r:		Reply; `error_type` and `error` are filled in if they are there
 * @body:	Borrowed
 */
void model_reply_take_error(struct model_reply *r, struct span body)
{
	const struct json_limits limits = {.max_tokens = MAX_TOKENS};
	struct json j;

	json_init(&j);
	if (json_parse(&j, body, &limits) == ERR_OK &&
	    json_is(&j, JSON_ROOT, JSON_OBJECT))
		take_error_object(r, &j);
	json_fini(&j);
}

static enum err take_start(struct model_reply *r, const struct json *j)
{
	json_ref message = json_get(j, JSON_ROOT, "message");

	if (r->has_begun || message == JSON_NONE)
		return ERR_FORMAT;
	r->has_begun = true;
	copy_text(j, message, "model", r->model, sizeof(r->model));
	return ERR_OK;
}

static enum err find_index(const struct json *j, uint64_t *ret_index)
{
	json_ref at = json_get(j, JSON_ROOT, "index");

	if (at == JSON_NONE)
		return ERR_FORMAT;
	return json_uint(j, at, 0, MODEL_REPLY_MAX_BLOCKS - 1, ret_index);
}

static enum model_block_type block_type(const struct json *j, json_ref type)
{
	static const struct {
		const char *name;
		enum model_block_type type;
	} table[] = {
		{"text", MODEL_BLOCK_TEXT},
		{"tool_use", MODEL_BLOCK_TOOL_USE},
		{"thinking", MODEL_BLOCK_THINKING},
		{"redacted_thinking", MODEL_BLOCK_REDACTED},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (json_string_is(j, type, table[i].name))
			return table[i].type;
	return MODEL_BLOCK_OTHER;
}

static enum err append(struct model_reply *r, struct model_block *b,
		       const struct json *j, json_ref object, const char *key,
		       struct buf *to)
{
	json_ref at = json_get(j, object, key);
	size_t before = to->len_bytes;
	enum err e;

	if (at == JSON_NONE)
		return ERR_OK;
	e = json_string(j, at, to);
	if (e == ERR_OK && b->type == MODEL_BLOCK_TEXT &&
	    to->len_bytes > before && r->on_text)
		r->on_text(r->owner, b,
			   span_of(to->data + before, to->len_bytes - before));
	return e;
}

static enum err take_block_start(struct model_reply *r, const struct json *j)
{
	json_ref block = json_get(j, JSON_ROOT, "content_block");
	struct model_block *b = &r->blocks[r->count];
	json_ref type;
	uint64_t index;

	if (!r->has_begun || find_index(j, &index) != ERR_OK ||
	    index != r->count || block == JSON_NONE ||
	    !json_is(j, block, JSON_OBJECT))
		return ERR_FORMAT;
	if (r->count && b[-1].is_open)
		return ERR_FORMAT;
	type = json_get(j, block, "type");
	if (type == JSON_NONE)
		return ERR_FORMAT;
	*b = (struct model_block){.type = block_type(j, type), .is_open = true};
	buf_init(&b->content, MODEL_REPLY_MAX_BYTES);
	buf_init(&b->signature, MODEL_REPLY_MAX_BYTES);
	r->count++;
	copy_text(j, block, "id", b->id, sizeof(b->id));
	copy_text(j, block, "name", b->name, sizeof(b->name));
	if (b->type == MODEL_BLOCK_TOOL_USE && (!b->id[0] || !b->name[0]))
		return ERR_FORMAT;
	if (b->type == MODEL_BLOCK_TEXT)
		return append(r, b, j, block, "text", &b->content);
	if (b->type == MODEL_BLOCK_REDACTED)
		return append(r, b, j, block, "data", &b->content);
	return ERR_OK;
}

static enum err open_block(struct model_reply *r, const struct json *j,
			   struct model_block **ret_block)
{
	uint64_t index;

	if (find_index(j, &index) != ERR_OK || r->count == 0 ||
	    index != r->count - 1 || !r->blocks[index].is_open)
		return ERR_FORMAT;
	*ret_block = &r->blocks[index];
	return ERR_OK;
}

static enum err take_block_delta(struct model_reply *r, const struct json *j)
{
	json_ref delta = json_get(j, JSON_ROOT, "delta");
	struct model_block *b;
	enum err e = open_block(r, j, &b);

	if (e != ERR_OK || delta == JSON_NONE ||
	    !json_is(j, delta, JSON_OBJECT))
		return ERR_FORMAT;
	switch (b->type) {
	case MODEL_BLOCK_TEXT:
		return append(r, b, j, delta, "text", &b->content);
	case MODEL_BLOCK_TOOL_USE:
		return append(r, b, j, delta, "partial_json", &b->content);
	case MODEL_BLOCK_THINKING:
		e = append(r, b, j, delta, "thinking", &b->content);
		if (e == ERR_OK)
			e = append(r, b, j, delta, "signature", &b->signature);
		return e;
	case MODEL_BLOCK_REDACTED:
	case MODEL_BLOCK_OTHER:
		break;
	}
	return ERR_OK;
}

static enum err take_block_stop(struct model_reply *r, const struct json *j)
{
	struct model_block *b;
	enum err e = open_block(r, j, &b);

	if (e != ERR_OK)
		return e;
	b->is_open = false;
	if (b->type == MODEL_BLOCK_TEXT && r->on_text)
		r->on_text(r->owner, b, span_of(NULL, 0));
	return ERR_OK;
}

static enum err take_message_delta(struct model_reply *r, const struct json *j)
{
	json_ref delta = json_get(j, JSON_ROOT, "delta");

	if (!r->has_begun || delta == JSON_NONE)
		return ERR_FORMAT;
	if (json_get(j, delta, "stop_reason") != JSON_NONE)
		copy_text(j, delta, "stop_reason", r->stop_reason,
			  sizeof(r->stop_reason));
	return ERR_OK;
}

static enum err take_stop(struct model_reply *r, const struct json *j)
{
	(void)j;
	if (!r->has_begun || (r->count && r->blocks[r->count - 1].is_open))
		return ERR_FORMAT;
	r->has_ended = true;
	return ERR_OK;
}

static enum err take_error(struct model_reply *r, const struct json *j)
{
	take_error_object(r, j);
	return ERR_UPSTREAM;
}

static const struct {
	const char *type;
	enum err (*take)(struct model_reply *r, const struct json *j);
} event_table[] = {
	{"message_start", take_start},
	{"content_block_start", take_block_start},
	{"content_block_delta", take_block_delta},
	{"content_block_stop", take_block_stop},
	{"message_delta", take_message_delta},
	{"message_stop", take_stop},
	{"error", take_error},
};

/**
 * model_reply_take() - Take one event of the stream
 * @r:		Reply
 * @name:	Event name, borrowed; the type inside the data decides
 * @data:	JSON, borrowed
 *
 * Return: ERR_OK; ERR_UPSTREAM for an error event (see `error`); ERR_FORMAT;
 *	   ERR_LIMIT; ERR_MEMORY.
 */
enum err model_reply_take(struct model_reply *r, struct span name,
			  struct span data)
{
	const struct json_limits limits = {.max_tokens = MAX_TOKENS,
					   .allow_nul = true};
	struct json j;
	json_ref type;
	size_t i;
	enum err e;

	(void)name;
	if (r->has_ended)
		return ERR_FORMAT;
	json_init(&j);
	e = json_parse(&j, data, &limits);
	if (e != ERR_OK)
		goto out;
	e = ERR_FORMAT;
	if (!json_is(&j, JSON_ROOT, JSON_OBJECT))
		goto out;
	type = json_get(&j, JSON_ROOT, "type");
	if (type == JSON_NONE)
		goto out;
	e = ERR_OK;
	for (i = 0; i < ARRAY_SIZE(event_table); i++)
		if (json_string_is(&j, type, event_table[i].type)) {
			e = event_table[i].take(r, &j);
			break;
		}
out:
	json_fini(&j);
	return e;
}
