/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply.c - a turn of the script as an HTTP response; no I/O
 *
 * Runs in: kenaz-scripted.
 * Trusts:  the script.
 * Never:   answers without saying that no model was called: the header
 *	    x-kenaz-scripted is on every response.
 *
 * Source: Anthropic Messages API, responses and events.
 */
#include "engine/scripted/reply.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/scripted/script.h"

#define EVENT_MAX_BYTES_HERE 8192u
#define TEXT_PIECE_BYTES     1024u
#define INPUT_PIECE_BYTES    16u
#define INPUT_MAX_BYTES      4096u

/** reply_init() - Prepare an empty reply */
void reply_init(struct reply *r)
{
	*r = (struct reply){0};
	buf_init(&r->bytes, REPLY_MAX_BYTES);
}

/** reply_fini() - Release it */
void reply_fini(struct reply *r)
{
	buf_fini(&r->bytes);
}

static const struct {
	unsigned status;
	const char *reason, *type;
} statuses[] = {
	{200, "OK", NULL},
	{400, "Bad Request", "invalid_request_error"},
	{404, "Not Found", "not_found_error"},
	{413, "Content Too Large", "request_too_large"},
	{500, "Internal Server Error", "api_error"},
};

static size_t status_row(unsigned status)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(statuses); i++)
		if (statuses[i].status == status)
			return i;
	return ARRAY_SIZE(statuses) - 1;
}

static enum err put_head(struct buf *out, unsigned status, const char *type,
			 const uint8_t *digest)
{
	char id[13];

	text_hex(digest, 6, id);
	return buf_printf(out,
			  "HTTP/1.1 %u %s\r\n"
			  "content-type: %s\r\n"
			  "x-kenaz-scripted: 1\r\n"
			  "request-id: req_scripted_%s\r\n",
			  status, statuses[status_row(status)].reason, type,
			  id);
}

static enum err put_plain(struct reply *r, unsigned status, struct span json,
			  const uint8_t *digest)
{
	enum err e = put_head(&r->bytes, status, "application/json", digest);

	if (e == ERR_OK)
		e = buf_printf(&r->bytes, "content-length: %zu\r\n\r\n",
			       json.len_bytes);
	return e == ERR_OK ? buf_put_span(&r->bytes, json) : e;
}

/**
 * reply_make_error() - Answer with an error in the dialect
 * @r:		Empty reply
 * @status:	400, 404, 413 or 500
 * @text:	A sentence
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err reply_make_error(struct reply *r, unsigned status, const char *text)
{
	static const uint8_t none[32];
	struct buf json;
	struct jsonw w;
	enum err e;

	buf_init(&json, EVENT_MAX_BYTES_HERE);
	jsonw_init(&w, &json);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "type", "error");
	jsonw_key(&w, "error");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "type", statuses[status_row(status)].type);
	jsonw_put_cstr(&w, "message", text);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = put_plain(r, status, buf_span(&json), none);
	buf_fini(&json);
	return e;
}

/* --- parts of a message --------------------------------------------- */

static uint64_t output_tokens(const struct script_turn *t, struct span input)
{
	return (strlen(t->text) * t->repeat + input.len_bytes) /
		       SCRIPT_TOKEN_BYTES +
	       1;
}

static void put_usage(struct jsonw *w, const struct script_turn *t,
		      uint64_t output)
{
	jsonw_key(w, "usage");
	jsonw_begin_object(w);
	jsonw_put_u64(w, "input_tokens", t->input_tokens);
	jsonw_put_u64(w, "cache_creation_input_tokens", 0);
	jsonw_put_u64(w, "cache_read_input_tokens", 0);
	jsonw_put_u64(w, "output_tokens", output);
	jsonw_end_object(w);
}

static void put_message_start(struct jsonw *w, const struct script_turn *t)
{
	char id[64] = "msg_scripted_";

	text_hex(t->digest, 12, id + strlen(id));
	jsonw_put_cstr(w, "id", id);
	jsonw_put_cstr(w, "type", "message");
	jsonw_put_cstr(w, "role", "assistant");
	jsonw_put_cstr(w, "model", t->model);
}

static void put_stop(struct jsonw *w, const struct script_turn *t)
{
	jsonw_put_cstr(w, "stop_reason", t->tool[0] ? "tool_use" : "end_turn");
	jsonw_key(w, "stop_sequence");
	jsonw_null(w);
}

static void put_tool(struct jsonw *w, const struct script_turn *t,
		     struct span input)
{
	char id[64];
	char hex[25];

	text_hex(t->digest, 12, hex);
	(void)snprintf(id, sizeof(id), "toolu_scripted_%s_%u", hex, t->step);
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", "tool_use");
	jsonw_put_cstr(w, "id", id);
	jsonw_put_cstr(w, "name", t->tool);
	jsonw_key(w, "input");
	jsonw_raw(w, input);
	jsonw_end_object(w);
}

static enum err make_input(const struct script_turn *t, struct buf *out)
{
	struct jsonw w;
	size_t i;

	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	for (i = 0; i < ARRAY_SIZE(t->input) && t->input[i][0]; i++)
		jsonw_put_cstr(&w,
			       strcmp(t->input[i][0], "path") == 0
				       ? t->path_key
				       : t->input[i][0],
			       t->input[i][1]);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

static enum err make_text(const struct script_turn *t, struct buf *out)
{
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < t->repeat; i++)
		e = buf_put_text(out, t->text);
	return e;
}

static enum err plain_message(struct reply *r, const struct script_turn *t,
			      struct span input)
{
	struct buf json, text;
	struct jsonw w;
	enum err e;

	buf_init(&json, REPLY_MAX_BYTES);
	buf_init(&text, REPLY_MAX_BYTES);
	e = make_text(t, &text);
	jsonw_init(&w, &json);
	jsonw_begin_object(&w);
	put_message_start(&w, t);
	jsonw_key(&w, "content");
	jsonw_begin_array(&w);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "type", "text");
	jsonw_put_text(&w, "text", buf_span(&text));
	jsonw_end_object(&w);
	if (t->tool[0])
		put_tool(&w, t, input);
	jsonw_end_array(&w);
	put_stop(&w, t);
	put_usage(&w, t, output_tokens(t, input));
	jsonw_end_object(&w);
	if (e == ERR_OK)
		e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = put_plain(r, 200, buf_span(&json), t->digest);
	buf_fini(&text);
	buf_fini(&json);
	return e;
}

/* --- events --------------------------------------------------------- */

/* One event as one HTTP chunk; the members follow "type" in @members. */
static enum err put_event(struct reply *r, const char *name,
			  struct span members)
{
	struct buf event;
	enum err e;

	buf_init(&event, EVENT_MAX_BYTES_HERE);
	e = buf_printf(&event, "event: %s\ndata: {\"type\":\"%s\"%s", name,
		       name, members.len_bytes > 2 ? "," : "");
	/* members is a whole object: its first brace is ours already */
	if (e == ERR_OK)
		e = buf_put(&event, members.data + 1, members.len_bytes - 1);
	if (e == ERR_OK)
		e = buf_put_text(&event, "\n\n");
	if (e == ERR_OK)
		e = buf_printf(&r->bytes, "%zx\r\n", event.len_bytes);
	if (e == ERR_OK)
		e = buf_put_span(&r->bytes, buf_span(&event));
	if (e == ERR_OK)
		e = buf_put_text(&r->bytes, "\r\n");
	buf_fini(&event);
	return e;
}

static enum err end_event(struct reply *r, const char *name, struct jsonw *w,
			  struct buf *members)
{
	enum err e;

	jsonw_end_object(w);
	e = jsonw_finish(w);
	if (e == ERR_OK)
		e = put_event(r, name, buf_span(members));
	buf_reset(members);
	return e;
}

static void begin_event(struct jsonw *w, struct buf *members)
{
	jsonw_init(w, members);
	jsonw_begin_object(w);
}

static enum err put_message_event(struct reply *r, const struct script_turn *t,
				  struct buf *m)
{
	struct jsonw w;

	begin_event(&w, m);
	jsonw_key(&w, "message");
	jsonw_begin_object(&w);
	put_message_start(&w, t);
	jsonw_key(&w, "content");
	jsonw_begin_array(&w);
	jsonw_end_array(&w);
	jsonw_key(&w, "stop_reason");
	jsonw_null(&w);
	jsonw_key(&w, "stop_sequence");
	jsonw_null(&w);
	put_usage(&w, t, 1);
	jsonw_end_object(&w);
	return end_event(r, "message_start", &w, m);
}

static enum err put_delta(struct reply *r, uint32_t index, const char *type,
			  const char *member, struct span piece, struct buf *m)
{
	struct jsonw w;

	begin_event(&w, m);
	jsonw_put_u64(&w, "index", index);
	jsonw_key(&w, "delta");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "type", type);
	jsonw_put_text(&w, member, piece);
	jsonw_end_object(&w);
	return end_event(r, "content_block_delta", &w, m);
}

static enum err put_block_stop(struct reply *r, uint32_t index, struct buf *m)
{
	struct jsonw w;

	begin_event(&w, m);
	jsonw_put_u64(&w, "index", index);
	return end_event(r, "content_block_stop", &w, m);
}

/* Pieces of ASCII text: one for each repetition when there are pauses. */
static enum err put_text_pieces(struct reply *r, const struct script_turn *t,
				struct buf *m)
{
	size_t piece = t->gap_ms ? strlen(t->text) : TEXT_PIECE_BYTES;
	struct buf text;
	size_t at;
	enum err e;

	buf_init(&text, REPLY_MAX_BYTES);
	e = make_text(t, &text);
	for (at = 0; e == ERR_OK && at < text.len_bytes; at += piece) {
		size_t left = text.len_bytes - at;

		e = put_delta(r, 0, "text_delta", "text",
			      span_of(text.data + at,
				      left < piece ? left : piece),
			      m);
		if (t->gap_ms && r->pauses < REPLY_PAUSES_MAX)
			r->pause_at[r->pauses++] = r->bytes.len_bytes;
	}
	buf_fini(&text);
	return e;
}

static enum err put_text_block(struct reply *r, const struct script_turn *t,
			       struct buf *m)
{
	struct jsonw w;
	enum err e;

	begin_event(&w, m);
	jsonw_put_u64(&w, "index", 0);
	jsonw_key(&w, "content_block");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "type", "text");
	jsonw_put_cstr(&w, "text", "");
	jsonw_end_object(&w);
	e = end_event(r, "content_block_start", &w, m);
	if (e == ERR_OK)
		e = put_text_pieces(r, t, m);
	return e == ERR_OK ? put_block_stop(r, 0, m) : e;
}

static enum err put_tool_block(struct reply *r, const struct script_turn *t,
			       struct span input, struct buf *m)
{
	struct jsonw w;
	size_t at;
	enum err e;

	begin_event(&w, m);
	jsonw_put_u64(&w, "index", 1);
	jsonw_key(&w, "content_block");
	put_tool(&w, t, span_text("{}"));
	e = end_event(r, "content_block_start", &w, m);
	for (at = 0; e == ERR_OK && at < input.len_bytes;
	     at += INPUT_PIECE_BYTES) {
		size_t left = input.len_bytes - at;

		e = put_delta(r, 1, "input_json_delta", "partial_json",
			      span_of(input.data + at,
				      left < INPUT_PIECE_BYTES
					      ? left
					      : INPUT_PIECE_BYTES),
			      m);
	}
	return e == ERR_OK ? put_block_stop(r, 1, m) : e;
}

static enum err put_ending(struct reply *r, const struct script_turn *t,
			   struct span input, struct buf *m)
{
	struct jsonw w;
	enum err e;

	begin_event(&w, m);
	jsonw_key(&w, "delta");
	jsonw_begin_object(&w);
	put_stop(&w, t);
	jsonw_end_object(&w);
	put_usage(&w, t, output_tokens(t, input));
	e = end_event(r, "message_delta", &w, m);
	if (e == ERR_OK)
		e = put_event(r, "message_stop", span_text("{}"));
	return e == ERR_OK ? buf_put_text(&r->bytes, "0\r\n\r\n") : e;
}

static enum err stream_message(struct reply *r, const struct script_turn *t,
			       struct span input)
{
	struct buf m;
	enum err e;

	buf_init(&m, EVENT_MAX_BYTES_HERE);
	r->gap_ms = t->gap_ms;
	e = put_head(&r->bytes, 200, "text/event-stream", t->digest);
	if (e == ERR_OK)
		e = buf_put_text(&r->bytes,
				 "transfer-encoding: chunked\r\n\r\n");
	if (e == ERR_OK)
		e = put_message_event(r, t, &m);
	if (e == ERR_OK)
		e = put_event(r, "ping", span_text("{}"));
	if (e == ERR_OK)
		e = put_text_block(r, t, &m);
	if (e == ERR_OK && t->tool[0])
		e = put_tool_block(r, t, input, &m);
	if (e == ERR_OK)
		e = put_ending(r, t, input, &m);
	buf_fini(&m);
	return e;
}

/* --- routes --------------------------------------------------------- */

static enum err make_message(struct reply *r, struct span body)
{
	struct script_turn t;
	const char *why;
	struct buf input;
	enum err e = script_next(body, &t, &why);

	if (e == ERR_FORMAT || e == ERR_RANGE || e == ERR_SHORT)
		return reply_make_error(r, 400, why);
	if (e == ERR_LIMIT)
		return reply_make_error(r, 413, "the request is too large");
	if (e != ERR_OK)
		return e;
	buf_init(&input, INPUT_MAX_BYTES);
	e = make_input(&t, &input);
	if (e == ERR_OK && t.stream)
		e = stream_message(r, &t, buf_span(&input));
	else if (e == ERR_OK)
		e = plain_message(r, &t, buf_span(&input));
	buf_fini(&input);
	return e;
}

static enum err make_count(struct reply *r, struct span body)
{
	struct script_turn t;
	const char *why;
	struct buf json;
	enum err e = script_next(body, &t, &why);

	if (e != ERR_OK)
		return reply_make_error(r, 400, why);
	buf_init(&json, EVENT_MAX_BYTES_HERE);
	e = buf_printf(&json, "{\"input_tokens\":%llu}",
		       (unsigned long long)t.input_tokens);
	if (e == ERR_OK)
		e = put_plain(r, 200, buf_span(&json), t.digest);
	buf_fini(&json);
	return e;
}

static enum err make_models(struct reply *r, struct span body)
{
	static const char json[] =
		"{\"data\":[{\"type\":\"model\",\"id\":\"" SCRIPT_MODEL
		"\",\"display_name\":\"Scripted agent (no model is called)\","
		"\"created_at\":\"2026-01-01T00:00:00Z\"}],"
		"\"has_more\":false,\"first_id\":\"" SCRIPT_MODEL
		"\",\"last_id\":\"" SCRIPT_MODEL "\"}";
	static const uint8_t none[32];

	(void)body;
	return put_plain(r, 200, span_text(json), none);
}

static const struct {
	const char *method, *path;
	enum err (*make)(struct reply *r, struct span body);
} routes[] = {
	{"POST", "/v1/messages", make_message},
	{"POST", "/v1/messages/count_tokens", make_count},
	{"GET", "/v1/models", make_models},
};

/**
 * reply_make() - Answer a request
 * @r:		Empty reply
 * @request:	Borrowed
 *
 * Return: ERR_OK, for error responses too; ERR_LIMIT; ERR_MEMORY.
 */
enum err reply_make(struct reply *r, const struct http_request *request)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(routes); i++)
		if (span_is(request->method, routes[i].method) &&
		    span_is(request->path, routes[i].path))
			return routes[i].make(r, request->body);
	return reply_make_error(r, 404,
				"the scripted provider has no such "
				"route");
}
