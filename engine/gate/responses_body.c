/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_body.c - a plain Responses reply on its way to the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on a byte before the whole body was read, its calls judged
 *	    and its outcome durable; changes a byte unless policy does.
 *
 * OpenAI Responses: one response object whose output is a list of items.
 * Denied calls are replaced in place by messages; all other bytes stay as
 * they are. Other JSON answers (models) pass as they are.
 */
#include "engine/gate/responses.h"

#include <stdlib.h>

#include "engine/gate/lax.h"

struct body_reply {
	struct reply base;
	struct buf bytes, error;
	struct json doc;
	struct responses_ledger ledger;
	struct responses_walk walk;
};

static enum err broken(struct body_reply *b, const char *why)
{
	b->base.error_text = why;
	return ERR_FORMAT;
}

static enum err look_on(struct body_reply *b)
{
	enum err e = responses_walk_on(&b->walk, &b->ledger, &b->base);

	if (e == ERR_OK && b->base.state == REPLY_OPEN)
		b->base.state = REPLY_DONE;
	return e;
}

static enum err body_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct body_reply *b = (struct body_reply *)r;
	enum err e = buf_put_span(&b->bytes, *in);

	(void)out;
	if (e == ERR_LIMIT)
		r->error_text = "a reply over the size limit";
	else if (e == ERR_OK)
		*in = span_of(NULL, 0);
	r->held_bytes = b->bytes.cap_bytes;
	return e;
}

static enum err check_object(struct body_reply *b)
{
	const struct json *j = &b->doc;
	json_ref output = json_get(j, JSON_ROOT, "output"), error;
	bool is_response = json_string_is(j, json_get(j, JSON_ROOT, "object"),
					  "response") ||
			   output != JSON_NONE;

	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return broken(b, "a reply that is no JSON object");
	if (json_is(j, json_get(j, JSON_ROOT, "error"), JSON_OBJECT) ||
	    (is_response &&
	     responses_status(j, JSON_ROOT) == RESPONSES_FAILED)) {
		if (responses_error_at(j, JSON_ROOT, &error))
			responses_note_error(j, error, b->base.upstream_error,
					     sizeof(b->base.upstream_error));
		return broken(b, "the provider reported an error");
	}
	if (!is_response)
		return ERR_OK;
	if (!json_is(j, output, JSON_ARRAY))
		return broken(b, "a response without its output");
	if (!json_is(j, json_get(j, JSON_ROOT, "status"), JSON_STRING))
		return broken(b, "a response without its status");
	return ERR_OK;
}

static enum err body_end(struct reply *r, struct buf *out)
{
	const struct json_limits limits = {.max_tokens =
						   RESPONSES_BODY_TOKENS_MAX,
					   .allow_nul = true};
	struct body_reply *b = (struct body_reply *)r;
	enum err e = json_parse(&b->doc, buf_span(&b->bytes), &limits);

	(void)out;
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return broken(b, "a reply that is not valid JSON");
	if (lax_find_key(&b->doc))
		return broken(b, "a key that some readers take for another");
	e = check_object(b);
	if (e != ERR_OK)
		return e;
	responses_read_summary(&b->doc, JSON_ROOT, &r->summary);
	responses_walk_begin(&b->walk, &b->doc, JSON_ROOT);
	return look_on(b);
}

static enum err body_verdict(struct reply *r, const struct reply_verdict *v,
			     struct buf *out)
{
	struct body_reply *b = (struct body_reply *)r;
	enum err e;

	(void)out;
	r->state = REPLY_OPEN;
	e = responses_walk_settle(&b->walk, &b->ledger, r, v);
	return e == ERR_OK ? look_on(b) : e;
}

static enum err body_release(struct reply *r, struct buf *out)
{
	struct body_reply *b = (struct body_reply *)r;

	if (r->state == REPLY_FAILED)
		return buf_put_span(out, buf_span(&b->error));
	return responses_walk_put(&b->walk, buf_span(&b->bytes), out);
}

static enum err body_fail(struct reply *r, const char *type, struct span text)
{
	struct body_reply *b = (struct body_reply *)r;

	buf_reset(&b->error);
	return responses_put_error(&b->error, type, text);
}

static void body_free(struct reply *r)
{
	struct body_reply *b = (struct body_reply *)r;

	buf_fini(&b->bytes);
	buf_fini(&b->error);
	json_fini(&b->doc);
	responses_ledger_fini(&b->ledger);
	responses_walk_fini(&b->walk);
	free(b);
}

static const struct reply_ops body_ops = {
	.feed = body_feed,
	.end = body_end,
	.verdict = body_verdict,
	.release = body_release,
	.fail = body_fail,
	.free = body_free,
};

/**
 * responses_body_new() - Start reading an application/json response
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *responses_body_new(void)
{
	struct body_reply *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->base.ops = &body_ops;
	buf_init(&b->bytes, BODY_MAX_BYTES);
	buf_init(&b->error, 65536);
	json_init(&b->doc);
	responses_ledger_init(&b->ledger);
	responses_walk_init(&b->walk);
	return &b->base;
}
