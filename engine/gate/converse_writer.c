/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_writer.c - neutral events, written as a Converse response
 *
 * Runs in: kenaz-gate.
 * Trusts:  the order of the events; nothing in their texts.
 * Never:   opens an empty text block, or writes metadata without the stop.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30, streamed and plain. As there,
 * only calls have a contentBlockStart. Opaque reasoning is collected, because
 * pieces of base64 cannot be joined. The latency that metadata must hold is
 * not known here and written as 0.
 */
#include "engine/gate/converse.h"

#include <stdlib.h>

#include "engine/gate/bedrock_error.h"
#include "engine/gate/neutral_tools.h"

#define CONTENT_MAX_BYTES RESPONSE_MAX_BYTES
#define EVENT_KEPT_BYTES  4096u

struct converse_writer {
	struct neutral_writer base;
	bool stream, started;
	bool something; /* the open block has content */
	enum neutral_part_kind part;
	uint32_t index;
	struct buf event;           /* payload of the frame under way */
	struct buf content;         /* plain: the blocks so far */
	struct buf text, signature; /* of the open block */
	struct buf id, name;        /* of the open call */
	struct neutral_usage usage;
	bool usage_given;
};

typedef enum err event_writer(struct converse_writer *c,
			      const struct neutral_event *ev, struct buf *out);

static void begin_frame(struct converse_writer *c, struct jsonw *w)
{
	buf_reset(&c->event);
	jsonw_init(w, &c->event);
	jsonw_begin_object(w);
}

static enum err end_frame(struct converse_writer *c, struct jsonw *w,
			  const char *type, struct buf *out)
{
	enum err e;

	jsonw_end_object(w);
	e = jsonw_finish(w);
	if (e == ERR_OK)
		e = eventstream_put_event(out, type, buf_span(&c->event));
	/* Idle streams are many: keep no large buffer for them. */
	if (c->event.cap_bytes > EVENT_KEPT_BYTES)
		buf_fini(&c->event);
	return e;
}

static enum err start_message(struct converse_writer *c, struct buf *out)
{
	struct jsonw w;

	if (c->started || !c->stream)
		return ERR_OK;
	c->started = true;
	begin_frame(c, &w);
	jsonw_put_cstr(&w, "role", "assistant");
	return end_frame(c, &w, "messageStart", out);
}

static enum err on_start(struct converse_writer *c,
			 const struct neutral_event *ev, struct buf *out)
{
	(void)ev;
	return start_message(c, out);
}

static void put_call_head(struct converse_writer *c, struct jsonw *w)
{
	jsonw_key(w, "toolUse");
	jsonw_begin_object(w);
	jsonw_put_text(w, "toolUseId", buf_span(&c->id));
	jsonw_put_text(w, "name", buf_span(&c->name));
}

static enum err on_block_start(struct converse_writer *c,
			       const struct neutral_event *ev, struct buf *out)
{
	struct jsonw w;
	enum err e = start_message(c, out);

	c->part = ev->part;
	c->something = ev->part == NEUTRAL_TOOL_CALL;
	buf_reset(&c->text);
	buf_reset(&c->signature);
	if (e != ERR_OK || ev->part != NEUTRAL_TOOL_CALL)
		return e;
	buf_reset(&c->id);
	buf_reset(&c->name);
	e = buf_put_span(&c->id, ev->id);
	if (e == ERR_OK)
		e = buf_put_span(&c->name, ev->name);
	if (e != ERR_OK || !c->stream)
		return e;
	begin_frame(c, &w);
	jsonw_put_u64(&w, "contentBlockIndex", c->index);
	jsonw_key(&w, "start");
	jsonw_begin_object(&w);
	put_call_head(c, &w);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	return end_frame(c, &w, "contentBlockStart", out);
}

/* delta: {@outer: {@inner: text}}, or {@inner: text} without an outer. */
static enum err put_delta(struct converse_writer *c, const char *outer,
			  const char *inner, struct span text, struct buf *out)
{
	struct jsonw w;

	c->something = true;
	begin_frame(c, &w);
	jsonw_put_u64(&w, "contentBlockIndex", c->index);
	jsonw_key(&w, "delta");
	jsonw_begin_object(&w);
	if (outer) {
		jsonw_key(&w, outer);
		jsonw_begin_object(&w);
	}
	jsonw_put_text(&w, inner, text);
	if (outer)
		jsonw_end_object(&w);
	jsonw_end_object(&w);
	return end_frame(c, &w, "contentBlockDelta", out);
}

static enum err on_block_text(struct converse_writer *c,
			      const struct neutral_event *ev, struct buf *out)
{
	if (!ev->text.len_bytes || c->part == NEUTRAL_REDACTED)
		return ERR_OK;
	if (!c->stream) {
		c->something = true;
		return buf_put_span(&c->text, ev->text);
	}
	if (c->part == NEUTRAL_THINKING)
		return put_delta(c, "reasoningContent", "text", ev->text, out);
	if (c->part != NEUTRAL_TOOL_CALL)
		return put_delta(c, NULL, "text", ev->text, out);
	/* Only whether there was any input is asked later. */
	if (!c->text.len_bytes && buf_put_u8(&c->text, '{') != ERR_OK)
		return ERR_MEMORY;
	return put_delta(c, "toolUse", "input", ev->text, out);
}

static enum err on_block_signature(struct converse_writer *c,
				   const struct neutral_event *ev,
				   struct buf *out)
{
	enum err e = ERR_OK;

	(void)out;
	if (!ev->text.len_bytes ||
	    (c->part != NEUTRAL_THINKING && c->part != NEUTRAL_REDACTED))
		return ERR_OK;
	c->something = true;
	if (!c->signature.len_bytes)
		e = buf_put_span(&c->signature,
				 neutral_signature_prefix(DIALECT_CONVERSE,
							  ev->signer));
	return e == ERR_OK ? buf_put_span(&c->signature, ev->text) : e;
}

static enum err put_redacted_member(struct converse_writer *c, struct jsonw *w)
{
	struct buf base64;
	enum err e;

	buf_init(&base64, CONVERSE_TEXT_MAX_BYTES);
	e = converse_put_redacted(&base64, buf_span(&c->signature));
	jsonw_put_text(w, "redactedContent", buf_span(&base64));
	buf_fini(&base64);
	return e;
}

/* A whole block of a plain message. */
static enum err put_block(struct converse_writer *c)
{
	struct span text = buf_span(&c->text);
	struct jsonw w;
	enum err e = ERR_OK;

	if (c->content.len_bytes)
		e = buf_put_u8(&c->content, ',');
	if (e != ERR_OK)
		return e;
	jsonw_init(&w, &c->content);
	jsonw_begin_object(&w);
	if (c->part == NEUTRAL_TOOL_CALL) {
		put_call_head(c, &w);
		jsonw_key(&w, "input");
		jsonw_raw(&w, text.len_bytes ? text : span_text("{}"));
		jsonw_end_object(&w);
	} else if (c->part == NEUTRAL_THINKING) {
		jsonw_key(&w, "reasoningContent");
		jsonw_begin_object(&w);
		jsonw_key(&w, "reasoningText");
		jsonw_begin_object(&w);
		jsonw_put_text(&w, "text", text);
		if (c->signature.len_bytes)
			jsonw_put_text(&w, "signature",
				       buf_span(&c->signature));
		jsonw_end_object(&w);
		jsonw_end_object(&w);
	} else if (c->part == NEUTRAL_REDACTED) {
		jsonw_key(&w, "reasoningContent");
		jsonw_begin_object(&w);
		e = put_redacted_member(c, &w);
		jsonw_end_object(&w);
	} else {
		jsonw_put_text(&w, "text", text);
	}
	jsonw_end_object(&w);
	return e == ERR_OK ? jsonw_finish(&w) : e;
}

/* What is left of a streamed block before its end. */
static enum err put_rest(struct converse_writer *c, struct buf *out)
{
	struct jsonw w;
	enum err e;

	if (c->part == NEUTRAL_TOOL_CALL && !c->text.len_bytes)
		return put_delta(c, "toolUse", "input", span_text("{}"), out);
	if (!c->signature.len_bytes)
		return ERR_OK;
	if (c->part == NEUTRAL_THINKING)
		return put_delta(c, "reasoningContent", "signature",
				 buf_span(&c->signature), out);
	begin_frame(c, &w);
	jsonw_put_u64(&w, "contentBlockIndex", c->index);
	jsonw_key(&w, "delta");
	jsonw_begin_object(&w);
	jsonw_key(&w, "reasoningContent");
	jsonw_begin_object(&w);
	e = put_redacted_member(c, &w);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	return e == ERR_OK ? end_frame(c, &w, "contentBlockDelta", out) : e;
}

static enum err on_block_stop(struct converse_writer *c,
			      const struct neutral_event *ev, struct buf *out)
{
	struct jsonw w;
	enum err e;

	(void)ev;
	if (!c->something)
		return ERR_OK;
	if (!c->stream)
		return put_block(c);
	e = put_rest(c, out);
	if (e != ERR_OK)
		return e;
	begin_frame(c, &w);
	jsonw_put_u64(&w, "contentBlockIndex", c->index++);
	return end_frame(c, &w, "contentBlockStop", out);
}

static enum err on_usage(struct converse_writer *c,
			 const struct neutral_event *ev, struct buf *out)
{
	(void)out;
	c->usage = ev->usage;
	c->usage_given = true;
	return ERR_OK;
}

static enum err put_metadata(struct converse_writer *c, struct jsonw *w)
{
	enum err e = ERR_OK;

	if (c->usage_given) {
		jsonw_key(w, "usage");
		e = converse_put_usage(w, &c->usage);
	}
	jsonw_key(w, "metrics");
	jsonw_begin_object(w);
	jsonw_put_u64(w, "latencyMs", 0);
	jsonw_end_object(w);
	return e;
}

static enum err put_message(struct converse_writer *c,
			    const struct neutral_event *ev, struct buf *out)
{
	struct jsonw w;
	enum err e;

	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	jsonw_key(&w, "output");
	jsonw_begin_object(&w);
	jsonw_key(&w, "message");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "role", "assistant");
	jsonw_key(&w, "content");
	jsonw_begin_array(&w);
	if (c->content.len_bytes)
		jsonw_raw(&w, buf_span(&c->content));
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	jsonw_put_cstr(&w, "stopReason", converse_stop_name(ev->stop));
	e = put_metadata(c, &w);
	jsonw_end_object(&w);
	return e == ERR_OK ? jsonw_finish(&w) : e;
}

static enum err on_stop(struct converse_writer *c,
			const struct neutral_event *ev, struct buf *out)
{
	struct jsonw w;
	enum err e;

	if (!c->stream)
		return put_message(c, ev, out);
	e = start_message(c, out);
	if (e != ERR_OK)
		return e;
	begin_frame(c, &w);
	jsonw_put_cstr(&w, "stopReason", converse_stop_name(ev->stop));
	e = end_frame(c, &w, "messageStop", out);
	if (e != ERR_OK)
		return e;
	begin_frame(c, &w);
	e = put_metadata(c, &w);
	return e == ERR_OK ? end_frame(c, &w, "metadata", out) : e;
}

static enum err on_error(struct converse_writer *c,
			 const struct neutral_event *ev, struct buf *out)
{
	unsigned status;
	const char *name = bedrock_error_name(ev->error, &status);

	return c->stream ? bedrock_put_exception(out, name, ev->text)
			 : bedrock_put_error(out, name, ev->text);
}

static enum err writer_put(struct neutral_writer *base,
			   const struct neutral_event *ev, struct buf *out)
{
	static event_writer *const table[] = {
		[NEUTRAL_START] = on_start,
		[NEUTRAL_BLOCK_START] = on_block_start,
		[NEUTRAL_BLOCK_TEXT] = on_block_text,
		[NEUTRAL_BLOCK_SIGNATURE] = on_block_signature,
		[NEUTRAL_BLOCK_STOP] = on_block_stop,
		[NEUTRAL_USAGE] = on_usage,
		[NEUTRAL_STOP] = on_stop,
		[NEUTRAL_ERROR] = on_error,
	};

	return table[ev->kind]((struct converse_writer *)base, ev, out);
}

static void writer_free(struct neutral_writer *base)
{
	struct converse_writer *c = (struct converse_writer *)base;

	buf_fini(&c->event);
	buf_fini(&c->content);
	buf_fini(&c->text);
	buf_fini(&c->signature);
	buf_fini(&c->id);
	buf_fini(&c->name);
	free(c);
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

/**
 * converse_writer_new() - Start writing a response
 * @answer:	What was asked for; borrowed during the call
 *
 * Return: owned by the caller, for its free; NULL without memory.
 */
struct neutral_writer *converse_writer_new(const struct neutral_answer *answer)
{
	struct converse_writer *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->base.ops = &writer_ops;
	c->stream = answer->stream;
	buf_init(&c->event, CONVERSE_TEXT_MAX_BYTES);
	buf_init(&c->content, CONTENT_MAX_BYTES);
	buf_init(&c->text, CONVERSE_TEXT_MAX_BYTES);
	buf_init(&c->signature, CONVERSE_TEXT_MAX_BYTES);
	buf_init(&c->id, CALL_ID_MAX_BYTES + 1);
	buf_init(&c->name, TOOL_NAME_MAX_BYTES + 1);
	return &c->base;
}
