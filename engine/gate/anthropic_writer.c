/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_writer.c - neutral events, written as an Anthropic response
 *
 * Runs in: kenaz-gate.
 * Trusts:  the order of the events; nothing in their texts.
 * Never:   opens an empty text block, leaves a gap between indices, or writes
 *	    a stop before the usage is known.
 *
 * Anthropic Messages, version 2023-06-01, streamed and plain. A block's start
 * is written with its first piece, message_start with the first block, so that
 * usage which is known early is in it. message_delta carries the whole usage,
 * because most other wires tell it at the end only. Where the API demands a
 * number that the provider did not give, it is 0; the record keeps what is not
 * known apart.
 */
#include "engine/gate/anthropic_neutral.h"

#include <stdlib.h>

#include "engine/base/jsonw.h"
#include "engine/gate/anthropic_reply.h"
#include "engine/gate/neutral_tools.h"
#include "engine/proto/limits.h"

#define CONTENT_MAX_BYTES RESPONSE_MAX_BYTES
#define EVENT_KEPT_BYTES  4096u
#define DATA_MAX_BYTES    (8u << 20) /* opaque reasoning of one block */

struct anthropic_writer {
	struct neutral_writer base;
	bool stream, started;
	bool opened;        /* the block's start was written */
	bool signed_before; /* a piece of its signature was */
	enum neutral_part_kind part;
	uint32_t index;
	struct buf id, name; /* of the message, or of the call */
	struct buf model;
	struct buf message_id;
	struct buf event;           /* data of the event under way */
	struct buf content;         /* plain: the blocks so far */
	struct buf text, signature; /* plain: of the open block */
	struct neutral_usage usage;
};

static enum err keep(struct buf *b, struct span s)
{
	buf_reset(b);
	return buf_put_span(b, s);
}

static void put_count(struct jsonw *w, const char *key, bool known,
		      uint64_t value)
{
	if (known)
		jsonw_put_u64(w, key, value);
}

static void put_usage(struct jsonw *w, const struct neutral_usage *u)
{
	uint64_t cached = u->cache_known ? u->cache_read + u->cache_write : 0;

	jsonw_key(w, "usage");
	jsonw_begin_object(w);
	jsonw_put_u64(w, "input_tokens",
		      u->input > cached ? u->input - cached : 0);
	put_count(w, "cache_creation_input_tokens", u->cache_known,
		  u->cache_write);
	put_count(w, "cache_read_input_tokens", u->cache_known, u->cache_read);
	jsonw_put_u64(w, "output_tokens", u->output);
	if (u->reasoning_known) {
		jsonw_key(w, "output_tokens_details");
		jsonw_begin_object(w);
		jsonw_put_u64(w, "thinking_tokens", u->reasoning);
		jsonw_end_object(w);
	}
	jsonw_end_object(w);
}

/* id to content; the caller goes on with stop_reason. */
static void put_head(struct jsonw *w, struct anthropic_writer *a)
{
	jsonw_put_text(w, "id", buf_span(&a->message_id));
	jsonw_put_cstr(w, "type", "message");
	jsonw_put_cstr(w, "role", "assistant");
	jsonw_put_text(w, "model", buf_span(&a->model));
	jsonw_key(w, "content");
	jsonw_begin_array(w);
	if (a->content.len_bytes)
		jsonw_raw(w, buf_span(&a->content));
	jsonw_end_array(w);
}

static void put_reason(struct jsonw *w, const struct neutral_event *ev)
{
	jsonw_put_cstr(w, "stop_reason", anthropic_stop_name(ev->stop));
	jsonw_key(w, "stop_sequence");
	if (ev->stop == NEUTRAL_STOP_SEQUENCE && ev->text.len_bytes)
		jsonw_text(w, ev->text);
	else
		jsonw_null(w);
}

/* One event of the stream; the caller fills its object. */
static void begin_event(struct anthropic_writer *a, struct jsonw *w,
			const char *type)
{
	buf_reset(&a->event);
	jsonw_init(w, &a->event);
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type", type);
}

static enum err end_event(struct anthropic_writer *a, struct jsonw *w,
			  const char *type, struct buf *out)
{
	enum err e;

	jsonw_end_object(w);
	e = jsonw_finish(w);
	if (e == ERR_OK)
		e = buf_printf(out, "event: %s\ndata: ", type);
	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(&a->event));
	/* Idle streams are many: keep no large buffer for them. */
	if (a->event.cap_bytes > EVENT_KEPT_BYTES)
		buf_fini(&a->event);
	return e == ERR_OK ? buf_put_text(out, "\n\n") : e;
}

static enum err start_message(struct anthropic_writer *a, struct buf *out)
{
	struct jsonw w;

	if (a->started)
		return ERR_OK;
	a->started = true;
	begin_event(a, &w, "message_start");
	jsonw_key(&w, "message");
	jsonw_begin_object(&w);
	put_head(&w, a);
	jsonw_key(&w, "stop_reason");
	jsonw_null(&w);
	jsonw_key(&w, "stop_sequence");
	jsonw_null(&w);
	put_usage(&w, &a->usage);
	jsonw_end_object(&w);
	return end_event(a, &w, "message_start", out);
}

static void put_call_head(struct jsonw *w, struct anthropic_writer *a)
{
	jsonw_put_cstr(w, "type", "tool_use");
	jsonw_put_text(w, "id", buf_span(&a->id));
	jsonw_put_text(w, "name", buf_span(&a->name));
	jsonw_key(w, "input");
}

/* The members of a block's object, as it starts in a stream. */
static void put_empty_block(struct jsonw *w, struct anthropic_writer *a)
{
	if (a->part == NEUTRAL_TOOL_CALL) {
		put_call_head(w, a);
		jsonw_begin_object(w);
		jsonw_end_object(w);
	} else if (a->part == NEUTRAL_THINKING) {
		jsonw_put_cstr(w, "type", "thinking");
		jsonw_put_cstr(w, "thinking", "");
		jsonw_put_cstr(w, "signature", "");
	} else if (a->part == NEUTRAL_REDACTED) {
		jsonw_put_cstr(w, "type", "redacted_thinking");
		jsonw_put_text(w, "data", buf_span(&a->signature));
	} else {
		jsonw_put_cstr(w, "type", "text");
		jsonw_put_cstr(w, "text", "");
	}
}

static enum err open_block(struct anthropic_writer *a, struct buf *out)
{
	struct jsonw w;
	enum err e;

	if (a->opened)
		return ERR_OK;
	a->opened = true;
	e = start_message(a, out);
	if (e != ERR_OK)
		return e;
	begin_event(a, &w, "content_block_start");
	jsonw_put_u64(&w, "index", a->index);
	jsonw_key(&w, "content_block");
	jsonw_begin_object(&w);
	put_empty_block(&w, a);
	jsonw_end_object(&w);
	return end_event(a, &w, "content_block_start", out);
}

static enum err put_delta(struct anthropic_writer *a, const char *type,
			  const char *member, struct span text, struct buf *out)
{
	struct jsonw w;
	enum err e = open_block(a, out);

	if (e != ERR_OK)
		return e;
	begin_event(a, &w, "content_block_delta");
	jsonw_put_u64(&w, "index", a->index);
	jsonw_key(&w, "delta");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "type", type);
	jsonw_put_text(&w, member, text);
	jsonw_end_object(&w);
	return end_event(a, &w, "content_block_delta", out);
}

static enum err close_block(struct anthropic_writer *a, struct buf *out)
{
	struct jsonw w;

	begin_event(a, &w, "content_block_stop");
	jsonw_put_u64(&w, "index", a->index++);
	return end_event(a, &w, "content_block_stop", out);
}

/* A whole block of a plain message. */
static enum err put_block(struct anthropic_writer *a)
{
	struct span text = buf_span(&a->text);
	struct jsonw w;
	enum err e = ERR_OK;

	if (a->content.len_bytes)
		e = buf_put_u8(&a->content, ',');
	jsonw_init(&w, &a->content);
	jsonw_begin_object(&w);
	if (a->part == NEUTRAL_TOOL_CALL) {
		put_call_head(&w, a);
		jsonw_raw(&w, text.len_bytes ? text : span_text("{}"));
	} else if (a->part == NEUTRAL_THINKING) {
		jsonw_put_cstr(&w, "type", "thinking");
		jsonw_put_text(&w, "thinking", text);
		jsonw_put_text(&w, "signature", buf_span(&a->signature));
	} else if (a->part == NEUTRAL_REDACTED) {
		put_empty_block(&w, a);
	} else {
		jsonw_put_cstr(&w, "type", "text");
		jsonw_put_text(&w, "text", text);
	}
	jsonw_end_object(&w);
	return e == ERR_OK ? jsonw_finish(&w) : e;
}

static enum err on_start(struct anthropic_writer *a,
			 const struct neutral_event *ev, struct buf *out)
{
	enum err e = keep(&a->message_id, ev->id);

	(void)out;
	if (e == ERR_OK && a->model.len_bytes == 0)
		e = keep(&a->model, ev->model);
	return e;
}

static enum err on_block_start(struct anthropic_writer *a,
			       const struct neutral_event *ev, struct buf *out)
{
	enum err e = ERR_OK;

	a->part = ev->part;
	a->opened = false;
	a->signed_before = false;
	buf_reset(&a->text);
	buf_reset(&a->signature);
	if (a->part != NEUTRAL_TOOL_CALL)
		return ERR_OK;
	e = keep(&a->id, ev->id);
	if (e == ERR_OK)
		e = keep(&a->name, ev->name);
	return e == ERR_OK && a->stream ? open_block(a, out) : e;
}

static enum err on_block_text(struct anthropic_writer *a,
			      const struct neutral_event *ev, struct buf *out)
{
	if (!ev->text.len_bytes || a->part == NEUTRAL_REDACTED)
		return ERR_OK;
	if (!a->stream)
		return buf_put_span(&a->text, ev->text);
	if (a->part == NEUTRAL_TOOL_CALL)
		return put_delta(a, "input_json_delta", "partial_json",
				 ev->text, out);
	if (a->part == NEUTRAL_THINKING)
		return put_delta(a, "thinking_delta", "thinking", ev->text,
				 out);
	return put_delta(a, "text_delta", "text", ev->text, out);
}

static enum err on_block_signature(struct anthropic_writer *a,
				   const struct neutral_event *ev,
				   struct buf *out)
{
	enum err e = ERR_OK;

	if (!ev->text.len_bytes ||
	    (a->part != NEUTRAL_THINKING && a->part != NEUTRAL_REDACTED))
		return ERR_OK;
	if (!a->signed_before) {
		buf_reset(&a->signature);
		e = buf_put_span(&a->signature,
				 neutral_signature_prefix(DIALECT_ANTHROPIC,
							  ev->signer));
	}
	a->signed_before = true;
	if (e == ERR_OK)
		e = buf_put_span(&a->signature, ev->text);
	(void)out;
	return e;
}

static enum err on_block_stop(struct anthropic_writer *a,
			      const struct neutral_event *ev, struct buf *out)
{
	bool something = a->opened || a->text.len_bytes ||
			 a->signature.len_bytes || a->part == NEUTRAL_TOOL_CALL;
	enum err e = ERR_OK;

	(void)ev;
	if (!something)
		return ERR_OK;
	if (!a->stream)
		return put_block(a);
	/* In one piece: clients put the last one in place of the others. */
	if (a->part == NEUTRAL_THINKING && a->signature.len_bytes)
		e = put_delta(a, "signature_delta", "signature",
			      buf_span(&a->signature), out);
	if (e == ERR_OK)
		e = open_block(a, out);
	return e == ERR_OK ? close_block(a, out) : e;
}

static enum err on_usage(struct anthropic_writer *a,
			 const struct neutral_event *ev, struct buf *out)
{
	(void)out;
	a->usage = ev->usage;
	return ERR_OK;
}

static enum err put_message(struct anthropic_writer *a,
			    const struct neutral_event *ev, struct buf *out)
{
	struct jsonw w;

	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	put_head(&w, a);
	put_reason(&w, ev);
	put_usage(&w, &a->usage);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

static enum err on_stop(struct anthropic_writer *a,
			const struct neutral_event *ev, struct buf *out)
{
	struct jsonw w;
	enum err e;

	if (!a->stream)
		return put_message(a, ev, out);
	e = start_message(a, out);
	if (e != ERR_OK)
		return e;
	begin_event(a, &w, "message_delta");
	jsonw_key(&w, "delta");
	jsonw_begin_object(&w);
	put_reason(&w, ev);
	jsonw_end_object(&w);
	put_usage(&w, &a->usage);
	e = end_event(a, &w, "message_delta", out);
	if (e != ERR_OK)
		return e;
	begin_event(a, &w, "message_stop");
	return end_event(a, &w, "message_stop", out);
}

static enum err on_error(struct anthropic_writer *a,
			 const struct neutral_event *ev, struct buf *out)
{
	unsigned status;
	const char *name = anthropic_error_name(ev->error, &status);
	enum err e;

	if (!a->stream)
		return anthropic_put_error(out, name, ev->text);
	e = buf_put_text(out, "event: error\ndata: ");
	if (e == ERR_OK)
		e = anthropic_put_error(out, name, ev->text);
	return e == ERR_OK ? buf_put_text(out, "\n\n") : e;
}

static enum err writer_put(struct neutral_writer *w,
			   const struct neutral_event *ev, struct buf *out)
{
	static enum err (*const handlers[])(struct anthropic_writer *,
					    const struct neutral_event *,
					    struct buf *) = {
		[NEUTRAL_START] = on_start,
		[NEUTRAL_BLOCK_START] = on_block_start,
		[NEUTRAL_BLOCK_TEXT] = on_block_text,
		[NEUTRAL_BLOCK_SIGNATURE] = on_block_signature,
		[NEUTRAL_BLOCK_STOP] = on_block_stop,
		[NEUTRAL_USAGE] = on_usage,
		[NEUTRAL_STOP] = on_stop,
		[NEUTRAL_ERROR] = on_error,
	};

	return handlers[ev->kind]((struct anthropic_writer *)w, ev, out);
}

static enum err writer_ping(struct neutral_writer *w, struct buf *out)
{
	if (!((struct anthropic_writer *)w)->stream)
		return ERR_OK;
	return buf_put_text(out, "event: ping\ndata: {\"type\": \"ping\"}\n\n");
}

static void writer_free(struct neutral_writer *w)
{
	struct anthropic_writer *a = (struct anthropic_writer *)w;

	buf_fini(&a->id);
	buf_fini(&a->name);
	buf_fini(&a->model);
	buf_fini(&a->message_id);
	buf_fini(&a->event);
	buf_fini(&a->content);
	buf_fini(&a->text);
	buf_fini(&a->signature);
	free(a);
}

static const struct neutral_writer_ops writer_ops = {
	.put = writer_put,
	.ping = writer_ping,
	.free = writer_free,
};

/**
 * anthropic_writer_new() - Start writing a response
 * @answer:	What it answers; borrowed during the call
 *
 * Return: owned by the caller, for its free(); NULL without memory.
 */
struct neutral_writer *anthropic_writer_new(const struct neutral_answer *answer)
{
	struct anthropic_writer *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->base.ops = &writer_ops;
	a->stream = answer->stream;
	buf_init(&a->id, 1024);
	buf_init(&a->name, 1024);
	buf_init(&a->model, MODEL_MAX_BYTES);
	buf_init(&a->message_id, 1024);
	buf_init(&a->event, 4 * DATA_MAX_BYTES);
	buf_init(&a->content, CONTENT_MAX_BYTES);
	buf_init(&a->text, CONTENT_MAX_BYTES);
	buf_init(&a->signature, DATA_MAX_BYTES);
	if (keep(&a->model, answer->model) == ERR_OK)
		return &a->base;
	writer_free(&a->base);
	return NULL;
}
