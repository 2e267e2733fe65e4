/* SPDX-License-Identifier: Apache-2.0 */
/*
 * count.c - how many tokens a request has: asked in one dialect or another
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a request or a response.
 * Never:   counts or guesses by itself: only the provider knows its tokens.
 *
 * Theory of operation. A request that is counted is one that could be asked,
 * with less in it: what steers the answer (limits, sampling, stop sequences)
 * is no part of the count. So it goes by way of the neutral form as any other
 * and is then cut down to the members that the wire's counting route knows:
 *
 *	Anthropic	POST /v1/messages/count_tokens
 *	Responses	POST /v1/responses/input_tokens
 *	Bedrock		POST /model/{id}/count-tokens, where the request is
 *			wrapped: input.invokeModel.body in base64, or
 *			input.converse
 *
 * Chat completions have no such route. The answer is a document with a number,
 * which goes on as it came where both sides speak the same dialect.
 */
#include "engine/gate/count.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/gate/neutral_names.h"

#define BODY_TOKENS_MAX   (1u << 20)
#define ANSWER_MAX_BYTES  65536u
#define ANSWER_TOKENS_MAX 256u
#define COUNTED_MAX       (UINT64_C(1) << 40)

static const char *const messages_members[] = {
	"model",       "messages", "system",        "tools",
	"tool_choice", "thinking", "output_config", NULL,
};
static const char *const responses_members[] = {
	"model",     "input",       "instructions",
	"tools",     "tool_choice", "parallel_tool_calls",
	"reasoning", "text",        NULL,
};
static const char *const converse_members[] = {
	"messages", "system", "toolConfig", "additionalModelRequestFields",
	NULL,
};

/* The dialects that count. */
static const struct count_row {
	enum dialect dialect;
	enum route asks;            /* the route that would answer */
	const char *const *members; /* of a request that is counted; all */
	const char *before, *after; /* what is put around them */
	const char *number;         /* the answer's member */
	const char *object;         /* its member "object", or NULL */
} rows[] = {
	{DIALECT_ANTHROPIC, ROUTE_MESSAGES, messages_members, "", "",
	 "input_tokens", NULL},
	{DIALECT_RESPONSES, ROUTE_RESPONSES, responses_members, "", "",
	 "input_tokens", "response.input_tokens"},
	{DIALECT_INVOKE, ROUTE_INVOKE, NULL, "", "", "inputTokens", NULL},
	{DIALECT_CONVERSE, ROUTE_CONVERSE, converse_members,
	 "{\"input\":{\"converse\":", "}}", "inputTokens", NULL},
};

static const struct count_row *row_of(enum dialect dialect)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].dialect == dialect)
			return &rows[i];
	return NULL;
}

/** count_is_route() - Whether a route counts tokens */
bool count_is_route(enum route route)
{
	return route == ROUTE_COUNT_TOKENS || route == ROUTE_RESPONSES_COUNT ||
	       route == ROUTE_BEDROCK_COUNT;
}

/* --- requests ----------------------------------------------------------- */

/* What Bedrock wraps; any other dialect's body is itself. */
static enum err unwrap(struct neutral_request *r, enum dialect client,
		       struct span body, struct buf *out)
{
	const struct json_limits limits = {.max_bytes = BODY_MAX_BYTES,
					   .max_tokens = BODY_TOKENS_MAX,
					   .allow_nul = true};
	struct json doc;
	struct buf text;
	enum err e;

	if (client != DIALECT_INVOKE && client != DIALECT_CONVERSE)
		return buf_put_span(out, body);
	json_init(&doc);
	buf_init(&text, BODY_MAX_BYTES);
	e = json_parse(&doc, body, &limits);
	if (e == ERR_OK && client == DIALECT_CONVERSE) {
		json_ref at = json_find(&doc, JSON_ROOT, "input.converse");

		e = json_is(&doc, at, JSON_OBJECT)
			    ? buf_put_span(out, json_raw(&doc, at))
			    : ERR_FORMAT;
	} else if (e == ERR_OK) {
		e = json_string(&doc,
				json_find(&doc, JSON_ROOT,
					  "input.invokeModel.body"),
				&text);
		if (e == ERR_OK)
			e = text_unbase64(buf_span(&text), out);
	}
	buf_fini(&text);
	json_fini(&doc);
	if (e == ERR_OK || e == ERR_MEMORY)
		return e;
	return neutral_refuse(r, "input",
			      client == DIALECT_CONVERSE
				      ? "converse: no JSON object"
				      : "invokeModel.body: missing or not "
					"base64");
}

/* What steers the answer is not counted, so it need not be translatable. */
static void leave_out_steering(struct neutral_request *r)
{
	const struct span none = {NULL, 0};

	r->stream = false;
	r->stop_count = 0;
	r->temperature = r->top_p = r->top_k = r->seed = none;
	r->frequency_penalty = r->presence_penalty = none;
	r->user = r->service_tier = none;
}

static bool is_member(const struct json *j, json_ref at,
		      const char *const *members)
{
	size_t i;

	for (i = 0; members[i]; i++)
		if (json_key_is(j, at, members[i]))
			return true;
	return false;
}

static enum err put_members(const struct json *j, const char *const *members,
			    struct buf *out)
{
	enum err e = buf_put_u8(out, '{');
	bool any = false;

	JSON_EACH (j, at, JSON_ROOT) {
		const struct json_token *t = &j->tokens[at];
		size_t from = t->key_at_bytes - 1;
		size_t end = (size_t)t->at_bytes + t->len_bytes;

		if (!is_member(j, at, members))
			continue;
		if (e == ERR_OK && any)
			e = buf_put_u8(out, ',');
		if (e == ERR_OK)
			e = buf_put(out, j->text.data + from, end - from);
		any = true;
	}
	return e == ERR_OK ? buf_put_u8(out, '}') : e;
}

/* Cuts a request that was written for the answering route down. */
static enum err cut(const struct count_row *row, struct span request,
		    struct buf *out)
{
	const struct json_limits limits = {.max_bytes = BODY_MAX_BYTES,
					   .max_tokens = BODY_TOKENS_MAX,
					   .allow_nul = true};
	struct json doc;
	enum err e;

	json_init(&doc);
	e = json_parse(&doc, request, &limits);
	if (e == ERR_OK)
		e = buf_put_text(out, row->before);
	if (e == ERR_OK)
		e = put_members(&doc, row->members, out);
	if (e == ERR_OK)
		e = buf_put_text(out, row->after);
	json_fini(&doc);
	return e == ERR_SHORT ? ERR_FORMAT : e;
}

static enum err write_request(struct neutral_request *r,
			      const struct count_row *row,
			      const struct dialect_ops *wire,
			      const struct dialect_target *target,
			      struct buf *out)
{
	struct dialect_target asks = *target;
	struct buf request;
	enum err e;

	asks.stream = false;
	/* InvokeModel's writer wraps what is counted by itself. */
	if (!row->members)
		return wire->write_request(r, &asks, out);
	asks.route = row->asks;
	buf_init(&request, BODY_MAX_BYTES);
	e = wire->write_request(r, &asks, &request);
	if (e == ERR_OK)
		e = cut(row, buf_span(&request), out);
	buf_fini(&request);
	return e;
}

/**
 * count_translate() - Make the body of a count in another dialect
 * @r:		Initialised; error_text says what stands in the way
 * @client:	Dialect of @body
 * @body:	As it came, borrowed
 * @wire:	Dialect to write
 * @target:	What the attempt demands
 * @out:	The new body is appended
 *
 * Return: ERR_OK; ERR_UNSUPPORTED; ERR_FORMAT; ERR_LIMIT; ERR_MEMORY.
 */
enum err count_translate(struct neutral_request *r,
			 const struct dialect_ops *client, struct span body,
			 const struct dialect_ops *wire,
			 const struct dialect_target *target, struct buf *out)
{
	const struct count_row *from = row_of(client->id);
	const struct count_row *to = row_of(wire->id);
	struct span kept;
	struct buf inner;
	enum err e;

	if (!from || !to || !client->read_request || !wire->write_request)
		return neutral_refuse(r, "this route",
				      "the provider does not have it");
	buf_init(&inner, BODY_MAX_BYTES);
	e = unwrap(r, client->id, body, &inner);
	/* The neutral form borrows from the body. */
	if (e == ERR_OK)
		e = neutral_keep(r, buf_span(&inner), &kept);
	buf_fini(&inner);
	if (e == ERR_OK)
		e = client->read_request(from->asks, kept, r);
	if (e != ERR_OK)
		return e;
	leave_out_steering(r);
	e = neutral_settle_names(r);
	return e == ERR_OK ? write_request(r, to, wire, target, out) : e;
}

/* --- answers ------------------------------------------------------------ */

struct count_reply {
	struct reply base;
	const struct dialect_ops *client;
	const struct count_row *from, *to;
	struct buf bytes, error;
};

static enum err count_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct count_reply *c = (struct count_reply *)r;
	enum err e = buf_put_span(&c->bytes, *in);

	(void)out;
	if (e == ERR_LIMIT)
		r->error_text = "a count of tokens over the size limit";
	else if (e == ERR_OK)
		*in = span_of(NULL, 0);
	r->held_bytes = c->bytes.cap_bytes;
	return e;
}

static enum err put_count(struct count_reply *c, uint64_t tokens)
{
	struct jsonw w;

	buf_reset(&c->bytes);
	jsonw_init(&w, &c->bytes);
	jsonw_begin_object(&w);
	if (c->to->object)
		jsonw_put_cstr(&w, "object", c->to->object);
	jsonw_put_u64(&w, c->to->number, tokens);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

static enum err count_end(struct reply *r, struct buf *out)
{
	const struct json_limits limits = {.max_tokens = ANSWER_TOKENS_MAX};
	struct count_reply *c = (struct count_reply *)r;
	uint64_t tokens = 0;
	struct json doc;
	enum err e;

	(void)out;
	json_init(&doc);
	e = json_parse(&doc, buf_span(&c->bytes), &limits);
	if (e == ERR_OK)
		e = json_uint(&doc, json_get(&doc, JSON_ROOT, c->from->number),
			      0, COUNTED_MAX, &tokens);
	json_fini(&doc);
	if (e == ERR_OK && c->from != c->to)
		e = put_count(c, tokens);
	else if (e != ERR_OK && e != ERR_MEMORY)
		e = ERR_FORMAT;
	if (e == ERR_OK)
		r->state = REPLY_DONE;
	else
		r->error_text = "a count of tokens that cannot be read";
	return e;
}

static enum err count_verdict(struct reply *r, const struct reply_verdict *v,
			      struct buf *out)
{
	(void)r;
	(void)v;
	(void)out;
	return ERR_STATE;
}

static enum err count_release(struct reply *r, struct buf *out)
{
	struct count_reply *c = (struct count_reply *)r;

	return buf_put_span(out, buf_span(c->error.len_bytes ? &c->error
							     : &c->bytes));
}

static enum err count_fail(struct reply *r, const char *type, struct span text)
{
	struct count_reply *c = (struct count_reply *)r;

	buf_reset(&c->error);
	return c->client->put_error(&c->error, type, text);
}

static void count_free(struct reply *r)
{
	struct count_reply *c = (struct count_reply *)r;

	buf_fini(&c->bytes);
	buf_fini(&c->error);
	free(c);
}

static const struct reply_ops count_ops = {
	.feed = count_feed,
	.end = count_end,
	.verdict = count_verdict,
	.release = count_release,
	.fail = count_fail,
	.free = count_free,
};

/**
 * count_reply_new() - Start reading a count of tokens
 * @wire:	Dialect of what comes
 * @client:	Dialect of what goes on; the same one: the bytes as they are
 *
 * Return: owned by the caller, for reply_free(); NULL without memory, or for
 *	   a dialect that does not count.
 */
struct reply *count_reply_new(const struct dialect_ops *wire,
			      const struct dialect_ops *client)
{
	const struct count_row *from = row_of(wire->id);
	const struct count_row *to = row_of(client->id);
	struct count_reply *c = from && to ? calloc(1, sizeof(*c)) : NULL;

	if (!c)
		return NULL;
	c->base.ops = &count_ops;
	c->client = client;
	c->from = from;
	c->to = to;
	buf_init(&c->bytes, ANSWER_MAX_BYTES);
	buf_init(&c->error, ANSWER_MAX_BYTES);
	return &c->base;
}
