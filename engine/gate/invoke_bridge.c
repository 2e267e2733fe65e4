/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invoke_bridge.c - Anthropic Messages and InvokeModel, one as the other
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a body: it passed the strict tokenizer and no more.
 * Never:   re-writes a value: members go over as the bytes they are.
 *
 * Theory of operation. InvokeModel's body for Claude is Anthropic's without
 * "model" and "stream", which the URL says, with "anthropic_version", and
 * with the betas of the header in "anthropic_beta". So the members of the
 * body's object are copied, one by one and as they are, but for these.
 * CountTokens wraps such a body in base64.
 */
#include "engine/gate/invoke_bridge.h"

#include <stdio.h>
#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/gate/anthropic_reply.h"
#include "engine/gate/invoke_beta.h"
#include "engine/gate/invoke_reply.h"
#include "engine/proto/attrs.h"

#define BODY_TOKENS_MAX  (1u << 20)
#define BETAS_MAX        32u
#define BETA_MAX_BYTES   128u
#define HEADERS_MAX      8192u
#define INVOKE_VERSION   "bedrock-2023-05-31"
#define MESSAGES_VERSION "2023-06-01"

struct bridge {
	const struct dialect_target *target;
	struct invoke_bridge_result *result;
	struct json doc;
	char betas[BETAS_MAX][BETA_MAX_BYTES + 1];
	size_t n_betas;
};

static enum err refuse(struct bridge *b, enum err e, const char *why)
{
	(void)snprintf(b->result->error_text, sizeof(b->result->error_text),
		       "%s", why);
	return e;
}

static void drop(struct bridge *b, const char *field, struct span what)
{
	struct invoke_bridge_result *r = b->result;
	char line[64];
	int len;

	if (r->dropped_count == NEUTRAL_DROPPED_MAX)
		return;
	len = snprintf(line, sizeof(line), "%s%s", field,
		       what.len_bytes ? ": " : "");
	if (len < 0 || (size_t)len >= sizeof(line))
		return;
	(void)text_escape_line(what, line + len, sizeof(line) - (size_t)len);
	memcpy(r->dropped[r->dropped_count++], line, sizeof(line));
}

/** invoke_bridge_joins() - Whether two dialects are joined here */
bool invoke_bridge_joins(enum dialect client, enum dialect wire)
{
	return (client == DIALECT_ANTHROPIC && wire == DIALECT_INVOKE) ||
	       (client == DIALECT_INVOKE && wire == DIALECT_ANTHROPIC);
}

/** invoke_bridge_init() - Prepare an empty result */
void invoke_bridge_init(struct invoke_bridge_result *b)
{
	*b = (struct invoke_bridge_result){.dropped_count = 0};
	buf_init(&b->body, BODY_MAX_BYTES);
	buf_init(&b->headers, HEADERS_MAX);
}

/** invoke_bridge_fini() - Release what a result holds */
void invoke_bridge_fini(struct invoke_bridge_result *b)
{
	buf_fini(&b->body);
	buf_fini(&b->headers);
}

/* --- betas -------------------------------------------------------------- */

static bool is_beta(struct span s)
{
	size_t i;

	if (s.len_bytes == 0 || s.len_bytes > BETA_MAX_BYTES)
		return false;
	for (i = 0; i < s.len_bytes; i++)
		if (s.data[i] <= ' ' || s.data[i] >= 0x7f ||
		    strchr("\",;\\", s.data[i]))
			return false;
	return true;
}

/* Notes a beta once, under the name it is sent with. */
static enum err add_beta(struct bridge *b, struct span beta, bool to_invoke)
{
	const struct dialect_target *t = b->target;
	struct span sent = beta;
	size_t i;

	if (!is_beta(beta))
		return refuse(b, ERR_FORMAT,
			      "anthropic-beta: a malformed name");
	if (to_invoke)
		sent = invoke_beta_find(beta, t->betas, t->beta_count);
	if (sent.len_bytes == 0) {
		drop(b, "anthropic-beta", beta);
		return ERR_OK;
	}
	for (i = 0; i < b->n_betas; i++)
		if (span_is(sent, b->betas[i]))
			return ERR_OK;
	if (b->n_betas == BETAS_MAX)
		return refuse(b, ERR_LIMIT, "anthropic-beta: too many names");
	return span_copy_text(sent, b->betas[b->n_betas++],
			      sizeof(b->betas[0]));
}

static enum err add_beta_list(struct bridge *b, struct span list)
{
	enum err e = ERR_OK;
	size_t i, from = 0;

	for (i = 0; e == ERR_OK && i <= list.len_bytes; i++) {
		struct span one;

		if (i < list.len_bytes && list.data[i] != ',')
			continue;
		one = span_of(list.data + from, i - from);
		from = i + 1;
		while (one.len_bytes && one.data[0] == ' ')
			one = span_of(one.data + 1, one.len_bytes - 1);
		while (one.len_bytes && one.data[one.len_bytes - 1] == ' ')
			one.len_bytes--;
		if (one.len_bytes)
			e = add_beta(b, one, true);
	}
	return e;
}

static enum err add_header_betas(struct bridge *b, struct span headers)
{
	struct reader r;
	struct attr a;
	enum err e = ERR_OK;

	reader_init(&r, headers);
	while (e == ERR_OK && attrs_next(&r, &a))
		if (a.type == ATTR_TEXT && span_is(a.key, "anthropic-beta"))
			e = add_beta_list(b, a.text);
	return e == ERR_OK ? r.status : e;
}

static enum err add_body_betas(struct bridge *b, bool to_invoke)
{
	json_ref list = json_get(&b->doc, JSON_ROOT, "anthropic_beta");
	char beta[BETA_MAX_BYTES + 1];
	enum err e = ERR_OK;

	if (list == JSON_NONE || json_is(&b->doc, list, JSON_NULL))
		return ERR_OK;
	if (!json_is(&b->doc, list, JSON_ARRAY))
		return refuse(b, ERR_FORMAT, "anthropic_beta: not a list");
	JSON_EACH (&b->doc, item, list) {
		if (json_text(&b->doc, item, beta, sizeof(beta)) != ERR_OK)
			return refuse(b, ERR_FORMAT,
				      "anthropic_beta: a malformed name");
		e = add_beta(b, span_text(beta), to_invoke);
		if (e != ERR_OK)
			return e;
	}
	return e;
}

/* --- bodies ------------------------------------------------------------- */

/* Members that no request to the other side has; all others go over. */
static const char *const never[] = {
	"model", "stream", "anthropic_version", "anthropic_beta", NULL,
};
/* Nor has one that only counts, at Anthropic. */
static const char *const not_counted[] = {
	"max_tokens", "temperature",    "top_p", "top_k",
	"metadata",   "stop_sequences", NULL,
};

static bool is_one_of(const struct json *j, json_ref at,
		      const char *const *names)
{
	size_t i;

	for (i = 0; names[i]; i++)
		if (json_key_is(j, at, names[i]))
			return true;
	return false;
}

/* Copies the members but those left out; each with a comma in front. */
static enum err copy_members(struct bridge *b, const char *const *leave_out,
			     struct buf *out)
{
	const struct json *j = &b->doc;
	enum err e = ERR_OK;

	JSON_EACH (j, at, JSON_ROOT) {
		const struct json_token *t = &j->tokens[at];
		size_t from = t->key_at_bytes - 1;
		size_t end = (size_t)t->at_bytes + t->len_bytes;

		if (is_one_of(j, at, never) ||
		    (leave_out && is_one_of(j, at, leave_out)))
			continue;
		e = buf_put_u8(out, ',');
		if (e == ERR_OK)
			e = buf_put(out, j->text.data + from, end - from);
		if (e != ERR_OK)
			break;
	}
	return e;
}

static enum err put_invoke(struct bridge *b, struct buf *out)
{
	enum err e =
		buf_put_text(out,
			     "{\"anthropic_version\":\"" INVOKE_VERSION "\"");
	size_t i;

	for (i = 0; e == ERR_OK && i < b->n_betas; i++)
		e = buf_printf(out, "%s\"%s\"",
			       i ? "," : ",\"anthropic_beta\":[", b->betas[i]);
	if (e == ERR_OK && b->n_betas)
		e = buf_put_u8(out, ']');
	return e == ERR_OK ? copy_members(b, NULL, out) : e;
}

/* A body that is only counted has no limit of its own, yet must have one. */
static enum err put_count_limit(struct bridge *b, struct buf *out)
{
	uint64_t budget = 0;

	if (json_get(&b->doc, JSON_ROOT, "max_tokens") != JSON_NONE)
		return ERR_OK;
	(void)!json_uint(&b->doc,
			 json_find(&b->doc, JSON_ROOT,
				   "thinking.budget_tokens"),
			 0, UINT32_MAX, &budget);
	return buf_printf(out, ",\"max_tokens\":%llu",
			  (unsigned long long)budget + 1);
}

static enum err put_count(struct bridge *b)
{
	struct buf *out = &b->result->body;
	struct buf body;
	enum err e;

	buf_init(&body, BODY_MAX_BYTES);
	e = put_invoke(b, &body);
	if (e == ERR_OK)
		e = put_count_limit(b, &body);
	if (e == ERR_OK)
		e = buf_put_u8(&body, '}');
	if (e == ERR_OK)
		e = buf_put_text(out,
				 "{\"input\":{\"invokeModel\":{\"body\":\"");
	if (e == ERR_OK)
		e = text_base64(buf_span(&body), out);
	if (e == ERR_OK)
		e = buf_put_text(out, "\"}}}");
	buf_fini(&body);
	return e;
}

static enum err to_invoke(struct bridge *b,
			  const struct invoke_bridge_request *q)
{
	struct buf *out = &b->result->body;
	enum err e = add_header_betas(b, q->headers);

	if (e == ERR_OK)
		e = add_body_betas(b, true);
	if (e != ERR_OK)
		return e;
	if (b->target->route == ROUTE_BEDROCK_COUNT)
		return put_count(b);
	e = put_invoke(b, out);
	return e == ERR_OK ? buf_put_u8(out, '}') : e;
}

static enum err put_headers(struct bridge *b)
{
	struct buf list;
	size_t i;
	enum err e;

	e = attrs_put_text(&b->result->headers, "anthropic-version",
			   span_text(MESSAGES_VERSION));
	if (e != ERR_OK || !b->n_betas)
		return e;
	buf_init(&list, HEADERS_MAX);
	for (i = 0; e == ERR_OK && i < b->n_betas; i++)
		e = buf_printf(&list, "%s%s", i ? "," : "", b->betas[i]);
	if (e == ERR_OK)
		e = attrs_put_text(&b->result->headers, "anthropic-beta",
				   buf_span(&list));
	buf_fini(&list);
	return e;
}

static enum err to_messages(struct bridge *b)
{
	const struct dialect_target *t = b->target;
	bool count = t->route == ROUTE_COUNT_TOKENS;
	struct buf *out = &b->result->body;
	struct jsonw w;
	enum err e = add_body_betas(b, false);

	if (e == ERR_OK)
		e = put_headers(b);
	if (e == ERR_OK)
		e = buf_put_text(out, "{\"model\":");
	if (e != ERR_OK)
		return e;
	jsonw_init(&w, out);
	jsonw_text(&w, t->model);
	e = jsonw_finish(&w);
	if (e == ERR_OK && t->stream && !count)
		e = buf_put_text(out, ",\"stream\":true");
	if (e == ERR_OK)
		e = copy_members(b, count ? not_counted : NULL, out);
	return e == ERR_OK ? buf_put_u8(out, '}') : e;
}

static enum err parse(struct bridge *b, struct span body)
{
	const struct json_limits limits = {
		.max_bytes = BODY_MAX_BYTES,
		.max_tokens = BODY_TOKENS_MAX,
		.allow_nul = true,
	};
	enum err e = json_parse(&b->doc, body, &limits);

	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK || !json_is(&b->doc, JSON_ROOT, JSON_OBJECT))
		return refuse(b, ERR_FORMAT, "the body is no JSON object");
	return ERR_OK;
}

/* The body inside a client's CountTokens request. */
static enum err unwrap_count(struct bridge *b, struct span body,
			     struct buf *inner)
{
	struct buf text;
	json_ref at;
	enum err e = parse(b, body);

	if (e != ERR_OK)
		return e;
	at = json_find(&b->doc, JSON_ROOT, "input.invokeModel.body");
	buf_init(&text, BODY_MAX_BYTES);
	e = json_string(&b->doc, at, &text);
	if (e == ERR_OK)
		e = text_unbase64(buf_span(&text), inner);
	buf_fini(&text);
	if (e != ERR_OK && e != ERR_MEMORY)
		return refuse(b, ERR_UNSUPPORTED,
			      "input.invokeModel.body: missing or not base64");
	return e;
}

/**
 * invoke_bridge_body() - Make the wire's request of the client's
 * @request:		What came, borrowed
 * @target:		Route, model and stream of the wire
 * @ret_result:		Initialised and empty; with ERR_FORMAT, ERR_LIMIT and
 *			ERR_UNSUPPORTED its error_text says what is wrong
 *
 * Return: ERR_OK; ERR_FORMAT; ERR_LIMIT; ERR_UNSUPPORTED; ERR_MEMORY.
 */
enum err invoke_bridge_body(const struct invoke_bridge_request *request,
			    const struct dialect_target *target,
			    struct invoke_bridge_result *ret_result)
{
	struct bridge b = {.target = target, .result = ret_result};
	struct span body = request->body;
	struct buf inner;
	enum err e = ERR_OK;

	json_init(&b.doc);
	buf_init(&inner, BODY_MAX_BYTES);
	if (request->route == ROUTE_BEDROCK_COUNT) {
		e = unwrap_count(&b, body, &inner);
		body = buf_span(&inner);
	}
	if (e == ERR_OK)
		e = parse(&b, body);
	if (e == ERR_OK)
		e = request->client == DIALECT_ANTHROPIC
			    ? to_invoke(&b, request)
			    : to_messages(&b);
	if (e == ERR_LIMIT && !ret_result->error_text[0])
		(void)refuse(&b, e, "the request is too large for Bedrock");
	buf_fini(&inner);
	json_fini(&b.doc);
	return e;
}

/**
 * invoke_bridge_reply() - The reply that brings the wire's answer back
 * @client:	DIALECT_ANTHROPIC or DIALECT_INVOKE
 * @wire:	The other one
 * @streamed:	Frames or server-sent events come, not a plain body
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *invoke_bridge_reply(enum dialect client, enum dialect wire,
				  bool streamed)
{
	if (streamed)
		return invoke_stream_reply_new(wire == DIALECT_INVOKE,
					       client == DIALECT_INVOKE);
	return client == DIALECT_INVOKE ? invoke_body_reply_new()
					: anthropic_body_new();
}
