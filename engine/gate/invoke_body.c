/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invoke_body.c - plain replies of InvokeModel
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   judges by itself: Anthropic's own reply does, inside.
 *
 * InvokeModel's plain body is Anthropic's own document; only errors of ours
 * are worded as Bedrock's.
 */
#include "engine/gate/invoke_reply.h"

#include <stdlib.h>

#include "engine/gate/anthropic_reply.h"
#include "engine/gate/bedrock_error.h"

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
