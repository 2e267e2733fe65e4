/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invoke_body.c - plain replies of InvokeModel, and counts of tokens
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   judges by itself: Anthropic's own reply does, inside.
 *
 * InvokeModel's plain body is Anthropic's own document; only errors of ours
 * are worded as Bedrock's. CountTokens answers {"inputTokens"} where
 * Anthropic answers {"input_tokens"}.
 */
#include "engine/gate/invoke_reply.h"

#include <stdlib.h>

#include "engine/base/jsonw.h"
#include "engine/gate/anthropic_reply.h"
#include "engine/gate/bedrock_error.h"

#define COUNT_MAX_BYTES  65536u
#define COUNT_TOKENS_MAX 256u
#define TOKENS_MAX       (UINT64_C(1) << 40)

struct body {
	struct reply base;
	struct reply *inner;
	struct buf error;
};

static void mirror(struct body *b)
{
	struct reply *r = &b->base, *inner = b->inner;

	r->state = inner->state;
	r->call = inner->call;
	r->summary = inner->summary;
	r->held_bytes = inner->held_bytes;
	r->error_text = inner->error_text;
	(void)!span_copy_text(span_text(inner->upstream_error),
			      r->upstream_error, sizeof(r->upstream_error));
}

static enum err body_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct body *b = (struct body *)r;
	enum err e = reply_feed(b->inner, in, out);

	mirror(b);
	return e;
}

static enum err body_end(struct reply *r, struct buf *out)
{
	struct body *b = (struct body *)r;
	enum err e = reply_end(b->inner, out);

	mirror(b);
	return e;
}

static enum err body_verdict(struct reply *r, const struct reply_verdict *v,
			     struct buf *out)
{
	struct body *b = (struct body *)r;
	enum err e = reply_verdict(b->inner, v, out);

	mirror(b);
	return e;
}

static enum err body_release(struct reply *r, struct buf *out)
{
	struct body *b = (struct body *)r;

	if (r->state == REPLY_FAILED)
		return buf_put_span(out, buf_span(&b->error));
	return reply_release(b->inner, out);
}

static enum err body_fail(struct reply *r, const char *type, struct span text)
{
	struct body *b = (struct body *)r;

	buf_reset(&b->error);
	return bedrock_put_error(&b->error, type, text);
}

static void body_free(struct reply *r)
{
	struct body *b = (struct body *)r;

	reply_free(b->inner);
	buf_fini(&b->error);
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
 * invoke_body_reply_new() - Start reading a plain response for InvokeModel
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *invoke_body_reply_new(void)
{
	struct body *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->base.ops = &body_ops;
	buf_init(&b->error, 65536);
	b->inner = anthropic_body_new();
	if (!b->inner) {
		body_free(&b->base);
		return NULL;
	}
	return &b->base;
}

/* A count of tokens, worded anew. */
struct count {
	struct reply base;
	bool bedrock_out;
	struct buf bytes, answer;
};

static enum err count_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct count *c = (struct count *)r;
	enum err e = buf_put_span(&c->bytes, *in);

	(void)out;
	if (e == ERR_LIMIT)
		r->error_text = "a count of tokens over the size limit";
	else if (e == ERR_OK)
		*in = span_of(NULL, 0);
	r->held_bytes = c->bytes.cap_bytes;
	return e;
}

static enum err put_count(struct count *c, uint64_t tokens)
{
	struct jsonw w;

	jsonw_init(&w, &c->answer);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, c->bedrock_out ? "inputTokens" : "input_tokens",
		      tokens);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

static enum err count_end(struct reply *r, struct buf *out)
{
	const struct json_limits limits = {.max_tokens = COUNT_TOKENS_MAX};
	struct count *c = (struct count *)r;
	const char *name = c->bedrock_out ? "input_tokens" : "inputTokens";
	uint64_t tokens = 0;
	struct json doc;
	enum err e;

	(void)out;
	json_init(&doc);
	e = json_parse(&doc, buf_span(&c->bytes), &limits);
	if (e == ERR_OK)
		e = json_uint(&doc, json_get(&doc, JSON_ROOT, name), 0,
			      TOKENS_MAX, &tokens);
	json_fini(&doc);
	if (e == ERR_OK)
		e = put_count(c, tokens);
	else if (e != ERR_MEMORY)
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
	return buf_put_span(out, buf_span(&((struct count *)r)->answer));
}

static enum err count_fail(struct reply *r, const char *type, struct span text)
{
	struct count *c = (struct count *)r;

	buf_reset(&c->answer);
	return c->bedrock_out ? bedrock_put_error(&c->answer, type, text)
			      : anthropic_put_error(&c->answer, type, text);
}

static void count_free(struct reply *r)
{
	struct count *c = (struct count *)r;

	buf_fini(&c->bytes);
	buf_fini(&c->answer);
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
 * invoke_count_reply_new() - Start reading a count of tokens
 * @bedrock_out:	Anthropic's becomes Bedrock's; false: the reverse
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *invoke_count_reply_new(bool bedrock_out)
{
	struct count *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->base.ops = &count_ops;
	c->bedrock_out = bedrock_out;
	buf_init(&c->bytes, COUNT_MAX_BYTES);
	buf_init(&c->answer, COUNT_MAX_BYTES);
	return &c->base;
}
