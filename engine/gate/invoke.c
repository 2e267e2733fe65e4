/* SPDX-License-Identifier: Apache-2.0 */
/*
 * invoke.c - Bedrock InvokeModel with a Claude body, as one table row
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a body.
 * Never:   does what Anthropic's own row can do.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30: InvokeModel,
 * InvokeModelWithResponseStream and CountTokens. The body is Anthropic's
 * without "model" and "stream", which the path says, so it is judged,
 * translated and answered as Anthropic's; what differs is put around it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "engine/base/text.h"
#include "engine/gate/bedrock_error.h"
#include "engine/gate/converse.h"
#include "engine/gate/invoke_bridge.h"
#include "engine/gate/invoke_frames.h"
#include "engine/gate/invoke_reply.h"

/* The body that shall be counted: Anthropic's, in base64, or Converse's. */
static enum err inspect_count(struct span body, struct seen *seen,
			      struct request_facts *facts)
{
	const struct json_limits limits = {.max_bytes = BODY_MAX_BYTES,
					   .max_tokens = 1u << 20,
					   .allow_nul = true};
	struct buf text, inner;
	struct json doc;
	json_ref at;
	enum err e;

	json_init(&doc);
	buf_init(&text, BODY_MAX_BYTES);
	buf_init(&inner, BODY_MAX_BYTES);
	e = json_parse(&doc, body, &limits);
	at = e == ERR_OK ? json_find(&doc, JSON_ROOT, "input.invokeModel.body")
			 : JSON_NONE;
	/* Of two bodies, who knows which one is meant. */
	if (e == ERR_OK &&
	    json_count(&doc, json_get(&doc, JSON_ROOT, "input")) != 1)
		e = ERR_FORMAT;
	if (e == ERR_OK && at == JSON_NONE) {
		facts->dialect = DIALECT_CONVERSE;
		e = converse_inspect(ROUTE_BEDROCK_COUNT, body, seen, facts);
		goto out;
	}
	if (e == ERR_OK)
		e = json_string(&doc, at, &text);
	if (e == ERR_OK)
		e = text_unbase64(buf_span(&text), &inner);
	if (e == ERR_OK) {
		e = dialect_anthropic.inspect(ROUTE_BEDROCK_COUNT,
					      buf_span(&inner), seen, facts);
	} else if (e != ERR_MEMORY) {
		(void)snprintf(facts->error_text, sizeof(facts->error_text),
			       "input: neither a converse nor an invokeModel "
			       "body");
		e = ERR_FORMAT;
	}
out:
	buf_fini(&text);
	buf_fini(&inner);
	json_fini(&doc);
	return e;
}

static enum err inspect(enum route route, struct span body, struct seen *seen,
			struct request_facts *facts)
{
	enum err e;

	if (facts->model[0] == '\0') {
		(void)snprintf(facts->error_text, sizeof(facts->error_text),
			       "the path names no model");
		return ERR_FORMAT;
	}
	e = route == ROUTE_BEDROCK_COUNT
		    ? inspect_count(body, seen, facts)
		    : dialect_anthropic.inspect(route, body, seen, facts);
	facts->stream = route == ROUTE_INVOKE_STREAM;
	facts->asks_usage = true;
	return e;
}

static enum err rewrite(struct span body, const struct dialect_target *t,
			struct buf *out)
{
	(void)t;
	return buf_put_span(out, body);
}

static struct reply *stream_new(void)
{
	return invoke_stream_reply_new(true, true);
}

/* --- by way of the neutral form ------------------------------------------ */

static enum err read_request(enum route route, struct span body,
			     struct neutral_request *request)
{
	enum err e;

	if (route == ROUTE_BEDROCK_COUNT)
		return neutral_refuse(request, "count-tokens",
				      "cannot be translated");
	e = dialect_anthropic.read_request(route, body, request);
	request->stream = route == ROUTE_INVOKE_STREAM;
	return e;
}

static enum err write_request(struct neutral_request *request,
			      const struct dialect_target *t, struct buf *out)
{
	struct invoke_bridge_request q = {.client = DIALECT_ANTHROPIC,
					  .route = ROUTE_MESSAGES};
	struct dialect_target messages = *t;
	struct invoke_bridge_result result;
	struct buf body;
	enum err e;

	messages.route = ROUTE_MESSAGES;
	buf_init(&body, BODY_MAX_BYTES);
	invoke_bridge_init(&result);
	e = dialect_anthropic.write_request(request, &messages, &body);
	q.body = buf_span(&body);
	if (e == ERR_OK) {
		e = invoke_bridge_body(&q, t, &result);
		if (e != ERR_OK && e != ERR_MEMORY)
			(void)!neutral_refuse(request, "the request",
					      result.error_text);
	}
	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(&result.body));
	invoke_bridge_fini(&result);
	buf_fini(&body);
	return e;
}

/* Reads frames; Anthropic's reader reads what is in them. */
struct invoke_reader {
	struct neutral_reader base;
	struct neutral_reader *inner;
	neutral_emit *emit;
	void *context;
	struct invoke_frames frames;
	bool failed; /* an exception ended it */
};

/* Passes events on; the inner reader's state is the outer one's. */
static enum err on_event(void *context, const struct neutral_event *ev)
{
	struct invoke_reader *r = context;

	return r->emit(r->context, ev);
}

static enum err mirror(struct invoke_reader *r, enum err e)
{
	r->base.stopped = r->inner->stopped;
	if (r->inner->error_text)
		r->base.error_text = r->inner->error_text;
	if (r->inner->upstream_error[0])
		(void)!span_copy_text(span_text(r->inner->upstream_error),
				      r->base.upstream_error,
				      sizeof(r->base.upstream_error));
	(void)!span_copy_text(span_text(r->inner->dropped), r->base.dropped,
			      sizeof(r->base.dropped));
	return e;
}

static enum err take_failure(struct invoke_reader *r,
			     const struct bedrock_failure *failure)
{
	bedrock_note_failure(failure, r->base.upstream_error,
			     sizeof(r->base.upstream_error));
	if (r->base.stopped) {
		r->base.error_text = "an exception after message_stop";
		return ERR_FORMAT;
	}
	r->base.stopped = true;
	r->failed = true;
	return r->emit(r->context,
		       &(struct neutral_event){.kind = NEUTRAL_ERROR,
					       .error = failure->error,
					       .text = failure->message});
}

static enum err reader_feed(struct neutral_reader *base, struct span in)
{
	struct invoke_reader *r = (struct invoke_reader *)base;
	struct invoke_step step;
	enum err e = ERR_OK;

	/* Also behind the stop: an exception there spoils it. */
	while (e == ERR_OK && !r->failed) {
		e = invoke_frames_next(&r->frames, &in, &step);
		if (r->frames.error_text)
			base->error_text = r->frames.error_text;
		if (e == ERR_OK && step.kind == INVOKE_ERROR)
			e = take_failure(r, &step.failure);
		else if (e == ERR_OK && step.kind == INVOKE_EVENT)
			e = mirror(r,
				   r->inner->ops->feed(r->inner, step.events));
	}
	return e == ERR_AGAIN ? ERR_OK : e;
}

static enum err reader_end(struct neutral_reader *base)
{
	struct invoke_reader *r = (struct invoke_reader *)base;

	if (r->failed)
		return ERR_OK;
	if (!eventstream_is_between_frames(&r->frames.frames)) {
		base->error_text = "the provider's stream ended inside a frame";
		return ERR_SHORT;
	}
	return mirror(r, r->inner->ops->end(r->inner));
}

static void reader_free(struct neutral_reader *base)
{
	struct invoke_reader *r = (struct invoke_reader *)base;

	if (r->inner)
		r->inner->ops->free(r->inner);
	invoke_frames_fini(&r->frames);
	free(r);
}

static const struct neutral_reader_ops reader_ops = {
	.feed = reader_feed,
	.end = reader_end,
	.free = reader_free,
};

static struct neutral_reader *reader_new(bool streamed, neutral_emit *emit,
					 void *context)
{
	struct invoke_reader *r;

	if (!streamed)
		return dialect_anthropic.reader_new(false, emit, context);
	r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->base.ops = &reader_ops;
	r->base.emit = emit;
	r->base.context = context;
	r->emit = emit;
	r->context = context;
	invoke_frames_init(&r->frames);
	r->inner = dialect_anthropic.reader_new(true, on_event, r);
	if (!r->inner) {
		reader_free(&r->base);
		return NULL;
	}
	return &r->base;
}

/* Anthropic's writer, its events in frames and its errors in AWS's words. */
struct invoke_writer {
	struct neutral_writer base;
	struct neutral_writer *inner;
	bool stream;
	struct sse events;
	struct json doc;
	struct buf out;
};

static enum err writer_put(struct neutral_writer *base,
			   const struct neutral_event *ev, struct buf *out)
{
	struct invoke_writer *w = (struct invoke_writer *)base;
	unsigned status;
	enum err e;

	if (ev->kind == NEUTRAL_ERROR && !w->stream)
		return bedrock_put_error(out, "", ev->text);
	if (ev->kind == NEUTRAL_ERROR)
		return bedrock_put_exception(
			out, bedrock_error_name(ev->error, &status), ev->text);
	if (!w->stream)
		return w->inner->ops->put(w->inner, ev, out);
	e = w->inner->ops->put(w->inner, ev, &w->out);
	if (e == ERR_OK)
		e = invoke_frames_wrap(&w->events, &w->doc, buf_span(&w->out),
				       out);
	/* Idle streams are many: keep no memory for them. */
	buf_fini(&w->out);
	return e;
}

static void writer_free(struct neutral_writer *base)
{
	struct invoke_writer *w = (struct invoke_writer *)base;

	if (w->inner)
		w->inner->ops->free(w->inner);
	sse_fini(&w->events);
	json_fini(&w->doc);
	buf_fini(&w->out);
	free(w);
}

static enum err writer_ping(struct neutral_writer *base, struct buf *out)
{
	(void)base;
	return eventstream_put_ping(out);
}

static const struct neutral_writer_ops writer_ops = {
	.put = writer_put,
	.ping = writer_ping,
	.free = writer_free,
};

static struct neutral_writer *writer_new(const struct neutral_answer *answer)
{
	struct invoke_writer *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->base.ops = &writer_ops;
	w->stream = answer->stream;
	sse_init(&w->events, SSE_EVENT_MAX_BYTES);
	json_init(&w->doc);
	buf_init(&w->out, RESPONSE_MAX_BYTES);
	w->inner = dialect_anthropic.writer_new(answer);
	if (!w->inner) {
		writer_free(&w->base);
		return NULL;
	}
	return &w->base;
}

static const char *const forwarded_headers[] = {NULL};

const struct dialect_ops dialect_invoke = {
	.id = DIALECT_INVOKE,
	.forwarded_headers = forwarded_headers,
	.inspect = inspect,
	.stream_new = stream_new,
	.body_new = invoke_body_reply_new,
	.error_type = bedrock_error_type,
	.put_error = bedrock_put_error,
	.rewrite = rewrite,
	.read_request = read_request,
	.write_request = write_request,
	.reader_new = reader_new,
	.writer_new = writer_new,
	.stream_type = EVENTSTREAM_CONTENT_TYPE,
	.read_error = bedrock_read_error,
	.error_name = bedrock_error_name,
};
