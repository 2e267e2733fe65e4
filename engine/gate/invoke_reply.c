/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invoke_reply.c - replies in or out of InvokeModel's frames
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   judges by itself: Anthropic's own reply does, inside.
 *
 * Theory of operation. What InvokeModel carries for Claude is Anthropic's
 * dialect, so anthropic_stream.c and anthropic_body.c hold, judge and finish
 * it. Around them, frames become events on the way in and events frames on
 * the way out. With frames on both sides, a frame goes on as it came as long
 * as the inner reply hands on exactly the event that was made of it; only
 * what policy changed is framed anew.
 */
#include "engine/gate/invoke_reply.h"

#include <stdlib.h>

#include "engine/gate/anthropic_reply.h"
#include "engine/gate/bedrock_error.h"
#include "engine/gate/dialect.h"
#include "engine/gate/invoke_frames.h"

#define PENDING_MAX_BYTES (TOOL_HELD_MAX_BYTES + (2u << 20))

struct stream {
	struct reply base;
	struct reply *inner;
	bool frames_in, frames_out;
	struct invoke_frames in;
	struct sse out; /* the inner reply's bytes, for framing */
	struct json doc;
	struct buf inner_out;
	/* With frames on both sides: what the inner reply still holds. */
	struct buf pending_events, pending_frames;
	struct buf error; /* instead of what is held */
};

/* What callers read of a reply is the inner one's. */
static void mirror(struct stream *s)
{
	struct reply *r = &s->base;

	r->call = s->inner->call;
	r->summary = s->inner->summary;
	r->said = s->inner->said;
	if (s->inner->error_status)
		r->error_status = s->inner->error_status;
	if (s->inner->error_text)
		r->error_text = s->inner->error_text;
	if (s->inner->upstream_error[0])
		(void)!span_copy_text(span_text(s->inner->upstream_error),
				      r->upstream_error,
				      sizeof(r->upstream_error));
	r->held_bytes = s->inner->held_bytes + s->pending_events.cap_bytes +
			s->pending_frames.cap_bytes + s->out.raw.cap_bytes +
			invoke_frames_held_bytes(&s->in);
}

static enum err too_long(struct stream *s, enum err e)
{
	if (e == ERR_LIMIT && !s->base.error_text)
		s->base.error_text = "a tool call over the size limit";
	return e;
}

/* Hands on what the inner reply did. */
static enum err hand_on(struct stream *s, struct buf *out)
{
	enum err e;

	if (s->inner_out.len_bytes == 0)
		return ERR_OK;
	if (!s->frames_out)
		e = buf_put_span(out, buf_span(&s->inner_out));
	else if (s->frames_in && span_equal(buf_span(&s->inner_out),
					    buf_span(&s->pending_events)))
		e = buf_put_span(out, buf_span(&s->pending_frames));
	else
		e = invoke_frames_wrap(&s->out, &s->doc,
				       buf_span(&s->inner_out), out);
	buf_fini(&s->inner_out);
	buf_fini(&s->pending_events);
	buf_fini(&s->pending_frames);
	return e;
}

/* The provider's own error, in the client's words. */
static enum err take_failure(struct stream *s, const struct invoke_step *step)
{
	struct reply *r = &s->base;
	struct buf b;
	enum err e = ERR_OK;

	buf_init(&b, 1u << 17);
	(void)bedrock_error_name(step->failure.error, &r->error_status);
	bedrock_note_failure(&step->failure, r->upstream_error,
			     sizeof(r->upstream_error));
	buf_reset(&s->error);
	if (e == ERR_OK && s->frames_out) {
		e = buf_put_span(&s->error, step->raw);
	} else if (e == ERR_OK) {
		e = anthropic_put_error(&b,
					dialect_anthropic.error_type(
						r->error_status),
					step->failure.message);
		if (e == ERR_OK)
			e = buf_put_text(&s->error, "event: error\ndata: ");
		if (e == ERR_OK)
			e = buf_put_span(&s->error, buf_span(&b));
		if (e == ERR_OK)
			e = buf_put_text(&s->error, "\n\n");
	}
	buf_fini(&b);
	if (e == ERR_OK) {
		r->error_text = "the provider reported an error";
		r->state = REPLY_FAILED;
	}
	return e;
}

static enum err feed_inner(struct stream *s, struct span *in, struct buf *out)
{
	enum err e = reply_feed(s->inner, in, &s->inner_out);

	s->base.state = s->inner->state;
	if (e == ERR_OK)
		e = hand_on(s, out);
	return e;
}

static enum err take_step(struct stream *s, const struct invoke_step *step,
			  struct buf *out)
{
	struct span events = step->events;
	enum err e = ERR_OK;

	if (step->kind == INVOKE_ERROR)
		return take_failure(s, step);
	if (step->kind == INVOKE_OTHER && !s->frames_out)
		return ERR_OK;
	/* Nothing is held: it may go on at once. */
	if (step->kind == INVOKE_OTHER && !s->pending_frames.len_bytes)
		return buf_put_span(out, step->raw);
	if (s->frames_out) {
		e = buf_put_span(&s->pending_frames, step->raw);
		if (e == ERR_OK)
			e = buf_put_span(&s->pending_events, events);
	}
	if (e != ERR_OK || step->kind == INVOKE_OTHER)
		return too_long(s, e);
	return feed_inner(s, &events, out);
}

static enum err stream_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct stream *s = (struct stream *)r;
	struct invoke_step step;
	enum err e = ERR_OK;

	while (e == ERR_OK && r->state == REPLY_OPEN && in->len_bytes) {
		if (!s->frames_in) {
			e = feed_inner(s, in, out);
			continue;
		}
		e = invoke_frames_next(&s->in, in, &step);
		if (e == ERR_OK)
			e = take_step(s, &step, out);
	}
	if (s->in.error_text)
		r->error_text = s->in.error_text;
	/* All of it was taken: what is missing comes with the next call. */
	if (e == ERR_AGAIN)
		e = ERR_OK;
	mirror(s);
	return e;
}

static enum err stream_end(struct reply *r, struct buf *out)
{
	struct stream *s = (struct stream *)r;
	enum err e;

	if (s->frames_in && !eventstream_is_between_frames(&s->in.frames)) {
		r->error_text = "the provider's stream ended inside a frame";
		return ERR_SHORT;
	}
	e = reply_end(s->inner, &s->inner_out);
	r->state = s->inner->state;
	if (e == ERR_OK)
		e = hand_on(s, out);
	mirror(s);
	return e;
}

static enum err stream_verdict(struct reply *r, const struct reply_verdict *v,
			       struct buf *out)
{
	struct stream *s = (struct stream *)r;
	enum err e = reply_verdict(s->inner, v, &s->inner_out);

	r->state = s->inner->state;
	if (e == ERR_OK)
		e = hand_on(s, out);
	mirror(s);
	return e;
}

static enum err stream_release(struct reply *r, struct buf *out)
{
	struct stream *s = (struct stream *)r;
	enum err e;

	if (s->error.len_bytes)
		return buf_put_span(out, buf_span(&s->error));
	e = reply_release(s->inner, &s->inner_out);
	return e == ERR_OK ? hand_on(s, out) : e;
}

static enum err stream_fail(struct reply *r, const char *type, struct span text)
{
	struct stream *s = (struct stream *)r;
	enum err e;

	buf_fini(&s->pending_events);
	buf_fini(&s->pending_frames);
	buf_reset(&s->error);
	if (s->frames_out)
		return bedrock_put_exception(&s->error, type, text);
	e = reply_fail(s->inner, type, text);
	if (e == ERR_OK)
		e = reply_release(s->inner, &s->error);
	return e;
}

static enum err stream_ping(struct reply *r, struct buf *out)
{
	struct stream *s = (struct stream *)r;

	return s->frames_out ? eventstream_put_ping(out)
			     : reply_ping(s->inner, out);
}

static void stream_free(struct reply *r)
{
	struct stream *s = (struct stream *)r;

	reply_free(s->inner);
	invoke_frames_fini(&s->in);
	sse_fini(&s->out);
	json_fini(&s->doc);
	buf_fini(&s->inner_out);
	buf_fini(&s->pending_events);
	buf_fini(&s->pending_frames);
	buf_fini(&s->error);
	free(s);
}

static const struct reply_ops stream_ops = {
	.feed = stream_feed,
	.end = stream_end,
	.verdict = stream_verdict,
	.release = stream_release,
	.fail = stream_fail,
	.ping = stream_ping,
	.free = stream_free,
	.streamed = true,
};

/**
 * invoke_stream_reply_new() - Start reading a streamed response
 * @frames_in:	It comes in InvokeModel's frames, not as server-sent events
 * @frames_out:	The client gets frames
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *invoke_stream_reply_new(bool frames_in, bool frames_out)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->base.ops = &stream_ops;
	s->frames_in = frames_in;
	s->frames_out = frames_out;
	invoke_frames_init(&s->in);
	sse_init(&s->out, SSE_EVENT_MAX_BYTES);
	json_init(&s->doc);
	buf_init(&s->inner_out, PENDING_MAX_BYTES);
	buf_init(&s->pending_events, PENDING_MAX_BYTES);
	buf_init(&s->pending_frames, 2 * PENDING_MAX_BYTES);
	buf_init(&s->error, 1u << 17);
	s->inner = anthropic_stream_new();
	if (!s->inner) {
		stream_free(&s->base);
		return NULL;
	}
	return &s->base;
}
