/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_reply.c - what streamed and plain Anthropic replies share
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   adds usage up: every report replaces the one before.
 *
 * Anthropic Messages API, version 2023-06-01. Their input_tokens leave cached
 * tokens out; the summary counts them in, as OpenTelemetry does.
 */
#include "engine/gate/anthropic_reply.h"

#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/gate/anthropic_neutral.h"
#include "engine/gate/cost.h"

#define TOKENS_MAX (UINT64_C(1) << 40)

/**
 * anthropic_read_message() - Note a message's id, model and stop reason
 * @j:		Document
 * @message:	The message object, or JSON_NONE
 * @s:		Changed where a field is present and of a sane size
 */
void anthropic_read_message(const struct json *j, json_ref message,
			    struct reply_summary *s)
{
	/* A name that does not fit is left empty: it is only reported. */
	(void)!json_text(j, json_get(j, message, "id"), s->id, sizeof(s->id));
	(void)!json_text(j, json_get(j, message, "model"), s->model,
			 sizeof(s->model));
	(void)!json_text(j, json_get(j, message, "stop_reason"), s->stop_reason,
			 sizeof(s->stop_reason));
}

static bool read_count(const struct json *j, json_ref usage, const char *name,
		       uint64_t *value)
{
	return json_uint(j, json_get(j, usage, name), 0, TOKENS_MAX, value) ==
	       ERR_OK;
}

/**
 * anthropic_read_usage() - Replace the usage fields that are present
 * @j:		Document
 * @usage:	The usage object, or JSON_NONE
 * @u:		Fields so far
 * @s:		Its usage is made anew from @u
 */
void anthropic_read_usage(const struct json *j, json_ref usage,
			  struct anthropic_usage *u, struct reply_summary *s)
{
	if (read_count(j, usage, "input_tokens", &u->input))
		u->has_input = true;
	if (read_count(j, usage, "output_tokens", &u->output))
		u->has_output = true;
	(void)read_count(j, usage, "cache_read_input_tokens", &u->cache_read);
	(void)read_count(j, usage, "cache_creation_input_tokens",
			 &u->cache_write);
	s->usage_known = u->has_input && u->has_output;
	s->input_tokens = u->input + u->cache_read + u->cache_write;
	s->output_tokens = u->output;
	s->cache_read_tokens = u->cache_read;
	s->cache_write_tokens = u->cache_write;
	if (cost_read(j, usage, &s->cost_uusd))
		s->cost_known = true;
}

/**
 * anthropic_read_error() - Note the provider's own error for the record
 * @j:		Document
 * @root:	{"type":"error","error":{"type","message"}}
 * @r:		upstream_error is written: "type: message", escaped, and
 *		error_status
 */
void anthropic_read_error(const struct json *j, json_ref root, struct reply *r)
{
	struct buf b;

	buf_init(&b, 1u << 16);
	(void)!json_string(j, json_find(j, root, "error.type"), &b);
	(void)anthropic_error_name(anthropic_error_of(buf_span(&b)),
				   &r->error_status);
	if (b.len_bytes)
		(void)!buf_put_text(&b, ": ");
	(void)!json_string(j, json_find(j, root, "error.message"), &b);
	(void)text_escape_line(buf_span(&b), r->upstream_error,
			       sizeof(r->upstream_error));
	buf_fini(&b);
}

/**
 * anthropic_put_error() - Append an error document
 * @b:		Buffer
 * @type:	For example "permission_error"
 * @message:	UTF-8
 *
 * Return: ERR_OK; ERR_FORMAT for bad UTF-8; ERR_LIMIT; ERR_MEMORY.
 */
enum err anthropic_put_error(struct buf *b, const char *type,
			     struct span message)
{
	struct jsonw w;

	jsonw_init(&w, b);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "type", "error");
	jsonw_key(&w, "error");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "type", type);
	jsonw_put_text(&w, "message", message);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

/**
 * anthropic_put_text() - Append the text that stands for a denied call
 * @b:		Buffer; a JSON string is appended
 * @tool:	Tool's name
 * @v:		Verdict
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err anthropic_put_text(struct buf *b, struct span tool,
			    const struct reply_verdict *v)
{
	struct jsonw w;
	struct buf text;
	enum err e;

	buf_init(&text, 16384);
	e = reply_put_denial(&text, tool, v);
	jsonw_init(&w, b);
	jsonw_text(&w, buf_span(&text));
	if (e == ERR_OK)
		e = jsonw_finish(&w);
	buf_fini(&text);
	return e;
}
