/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_write.c - neutral events, written as a chat completions response
 *
 * Runs in: kenaz-gate.
 * Trusts:  the order of the events; nothing in their texts.
 * Never:   writes counts that the provider did not give, or [DONE] after an
 *	    error.
 *
 * OpenAI chat completions, streamed and plain, as strictly as OpenAI writes
 * it: every chunk has the same id, created and model, the role comes first,
 * a call's first delta has index, id, type and name. Thinking, which OpenAI
 * itself does not show, is reasoning_content as DeepSeek and vLLM have it; what
 * a following request must bring back (signatures, opaque thoughts) is
 * reasoning_details as OpenRouter has it: a signed thought is repeated there
 * when it is complete, with its signature.
 */
#include "engine/gate/chat.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/base/jsonw.h"
#include "engine/base/text.h"
#include "engine/gate/neutral_tools.h"

#define EVENT_KEPT_BYTES  4096u
#define ID_MAX_BYTES      192u
#define THOUGHT_MAX_BYTES (24u << 20)

struct chat_writer {
	struct neutral_writer base;
	bool stream, want_usage;
	bool refused; /* a refusal was written */
	bool has_arguments;
	uint64_t created;
	uint32_t calls, details_count;
	enum neutral_part_kind part;
	struct neutral_usage usage;
	char id[ID_MAX_BYTES], model[MODEL_MAX_BYTES + 1];
	char call_id[CALL_ID_MAX_BYTES + 1];
	char call_name[TOOL_NAME_MAX_BYTES + 1];
	struct buf chunk; /* data of the event under way */
	/* Of the open block; a stream keeps only thoughts. */
	struct buf text, signature;
	enum dialect signer;
	/* Plain: the members of the message so far. */
	struct buf content, reasoning, refusal, details, call_items;
};

static void put_head(struct jsonw *w, const struct chat_writer *c)
{
	jsonw_put_cstr(w, "id", c->id);
	jsonw_put_cstr(w, "object",
		       c->stream ? "chat.completion.chunk" : "chat.completion");
	jsonw_put_u64(w, "created", c->created);
	jsonw_put_cstr(w, "model", c->model);
	jsonw_key(w, "system_fingerprint");
	jsonw_null(w);
}

/* Opens a chunk up to the members of its delta. */
static void begin_chunk(struct chat_writer *c, struct jsonw *w)
{
	buf_reset(&c->chunk);
	jsonw_init(w, &c->chunk);
	jsonw_begin_object(w);
	put_head(w, c);
	jsonw_key(w, "choices");
	jsonw_begin_array(w);
	jsonw_begin_object(w);
	jsonw_put_u64(w, "index", 0);
	jsonw_key(w, "delta");
	jsonw_begin_object(w);
}

static enum err send_chunk(struct chat_writer *c, struct jsonw *w,
			   struct buf *out)
{
	enum err e = jsonw_finish(w);

	if (e == ERR_OK)
		e = buf_put_text(out, "data: ");
	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(&c->chunk));
	/* Idle streams are many: keep no large buffer for them. */
	if (c->chunk.cap_bytes > EVENT_KEPT_BYTES)
		buf_fini(&c->chunk);
	return e == ERR_OK ? buf_put_text(out, "\n\n") : e;
}

static enum err end_chunk(struct chat_writer *c, struct jsonw *w,
			  const char *reason, struct buf *out)
{
	jsonw_end_object(w);
	jsonw_key(w, "logprobs");
	jsonw_null(w);
	jsonw_key(w, "finish_reason");
	if (reason)
		jsonw_cstr(w, reason);
	else
		jsonw_null(w);
	jsonw_end_object(w);
	jsonw_end_array(w);
	if (c->want_usage) {
		jsonw_key(w, "usage");
		jsonw_null(w);
	}
	jsonw_end_object(w);
	return send_chunk(c, w, out);
}

static enum err put_delta(struct chat_writer *c, const char *key,
			  struct span text, struct buf *out)
{
	struct jsonw w;

	begin_chunk(c, &w);
	jsonw_put_text(&w, key, text);
	return end_chunk(c, &w, NULL, out);
}

static void put_count_details(struct jsonw *w, const struct neutral_usage *u)
{
	if (u->cache_known) {
		jsonw_key(w, "prompt_tokens_details");
		jsonw_begin_object(w);
		jsonw_put_u64(w, "cached_tokens", u->cache_read);
		jsonw_put_u64(w, "cache_write_tokens", u->cache_write);
		jsonw_end_object(w);
	}
	if (u->reasoning_known) {
		jsonw_key(w, "completion_tokens_details");
		jsonw_begin_object(w);
		jsonw_put_u64(w, "reasoning_tokens", u->reasoning);
		jsonw_end_object(w);
	}
}

static void put_usage(struct jsonw *w, const struct neutral_usage *u)
{
	jsonw_key(w, "usage");
	jsonw_begin_object(w);
	jsonw_put_u64(w, "prompt_tokens", u->input);
	jsonw_put_u64(w, "completion_tokens", u->output);
	jsonw_put_u64(w, "total_tokens", u->input + u->output);
	put_count_details(w, u);
	jsonw_end_object(w);
}

static enum err on_start(struct chat_writer *c, const struct neutral_event *ev,
			 struct buf *out)
{
	struct jsonw w;
	bool own = ev->id.len_bytes > 9 &&
		   memcmp(ev->id.data, "chatcmpl-", 9) == 0;
	char id[129];

	if (span_copy_text(ev->id, id, sizeof(id)) != ERR_OK)
		id[0] = '\0';
	(void)!text_format(c->id, sizeof(c->id), "%s%s", own ? "" : "chatcmpl-",
			   id);
	if (!c->model[0] &&
	    span_copy_text(ev->model, c->model, sizeof(c->model)) != ERR_OK)
		c->model[0] = '\0';
	if (!c->stream)
		return ERR_OK;
	begin_chunk(c, &w);
	jsonw_put_cstr(&w, "role", "assistant");
	jsonw_put_cstr(&w, "content", "");
	jsonw_key(&w, "refusal");
	jsonw_null(&w);
	return end_chunk(c, &w, NULL, out);
}

static enum err start_call(struct chat_writer *c,
			   const struct neutral_event *ev, struct buf *out)
{
	struct jsonw w;

	if (span_copy_text(ev->id, c->call_id, sizeof(c->call_id)) != ERR_OK ||
	    span_copy_text(ev->name, c->call_name, sizeof(c->call_name)) !=
		    ERR_OK)
		return ERR_FORMAT;
	c->has_arguments = false;
	c->calls++;
	if (!c->stream)
		return ERR_OK;
	begin_chunk(c, &w);
	jsonw_key(&w, "tool_calls");
	jsonw_begin_array(&w);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "index", c->calls - 1);
	jsonw_put_cstr(&w, "id", c->call_id);
	jsonw_put_cstr(&w, "type", "function");
	jsonw_key(&w, "function");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "name", c->call_name);
	jsonw_put_cstr(&w, "arguments", "");
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	jsonw_end_array(&w);
	return end_chunk(c, &w, NULL, out);
}

static enum err put_arguments(struct chat_writer *c, struct span text,
			      struct buf *out)
{
	struct jsonw w;

	begin_chunk(c, &w);
	jsonw_key(&w, "tool_calls");
	jsonw_begin_array(&w);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "index", c->calls - 1);
	jsonw_key(&w, "function");
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "arguments", text);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	jsonw_end_array(&w);
	return end_chunk(c, &w, NULL, out);
}

static enum err on_block_start(struct chat_writer *c,
			       const struct neutral_event *ev, struct buf *out)
{
	c->part = ev->part;
	c->signer = ev->signer;
	buf_reset(&c->text);
	buf_reset(&c->signature);
	return ev->part == NEUTRAL_TOOL_CALL ? start_call(c, ev, out) : ERR_OK;
}

static enum err on_block_text(struct chat_writer *c,
			      const struct neutral_event *ev, struct buf *out)
{
	enum err e = ERR_OK;

	if (!ev->text.len_bytes || c->part == NEUTRAL_REDACTED)
		return ERR_OK;
	c->refused |= c->part == NEUTRAL_REFUSAL;
	c->has_arguments = true;
	if (!c->stream || c->part == NEUTRAL_THINKING)
		e = buf_put_span(&c->text, ev->text);
	if (e != ERR_OK || !c->stream)
		return e;
	if (c->part == NEUTRAL_TOOL_CALL)
		return put_arguments(c, ev->text, out);
	if (c->part == NEUTRAL_THINKING)
		return put_delta(c, "reasoning_content", ev->text, out);
	if (c->part == NEUTRAL_REFUSAL)
		return put_delta(c, "refusal", ev->text, out);
	return put_delta(c, "content", ev->text, out);
}

static enum err on_block_signature(struct chat_writer *c,
				   const struct neutral_event *ev,
				   struct buf *out)
{
	(void)out;
	if (ev->signer != DIALECT_NONE)
		c->signer = ev->signer;
	return buf_put_span(&c->signature, ev->text);
}

/* One of reasoning_details. */
static void put_detail(struct chat_writer *c, struct jsonw *w)
{
	struct span bytes = buf_span(&c->signature);
	struct span format = chat_split_format(c->signer, &bytes);
	bool redacted = c->part == NEUTRAL_REDACTED;

	jsonw_begin_object(w);
	jsonw_put_cstr(w, "type",
		       redacted ? "reasoning.encrypted" : "reasoning.text");
	if (!redacted)
		jsonw_put_text(w, "text", buf_span(&c->text));
	neutral_put_optional(w, "format", format);
	jsonw_put_text(w, redacted ? "data" : "signature", bytes);
	jsonw_put_u64(w, "index", c->details_count++);
	jsonw_end_object(w);
}

static enum err stop_thought(struct chat_writer *c, struct buf *out)
{
	struct jsonw w;
	enum err e = ERR_OK;

	if (!c->stream && c->part == NEUTRAL_THINKING)
		e = buf_put_span(&c->reasoning, buf_span(&c->text));
	if (e != ERR_OK || c->signature.len_bytes == 0)
		return e;
	if (c->stream) {
		begin_chunk(c, &w);
		jsonw_key(&w, "reasoning_details");
		jsonw_begin_array(&w);
		put_detail(c, &w);
		jsonw_end_array(&w);
		return end_chunk(c, &w, NULL, out);
	}
	if (c->details.len_bytes)
		e = buf_put_u8(&c->details, ',');
	jsonw_init(&w, &c->details);
	put_detail(c, &w);
	return e == ERR_OK ? jsonw_finish(&w) : e;
}

static enum err stop_call(struct chat_writer *c, struct buf *out)
{
	struct span arguments = buf_span(&c->text);
	struct jsonw w;
	enum err e = ERR_OK;

	if (!c->has_arguments)
		arguments = span_text("{}");
	if (c->stream)
		return c->has_arguments ? ERR_OK
					: put_arguments(c, arguments, out);
	if (c->call_items.len_bytes)
		e = buf_put_u8(&c->call_items, ',');
	jsonw_init(&w, &c->call_items);
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "id", c->call_id);
	jsonw_put_cstr(&w, "type", "function");
	jsonw_key(&w, "function");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "name", c->call_name);
	jsonw_put_text(&w, "arguments", arguments);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	return e == ERR_OK ? jsonw_finish(&w) : e;
}

static enum err on_block_stop(struct chat_writer *c,
			      const struct neutral_event *ev, struct buf *out)
{
	enum err e = ERR_OK;

	(void)ev;
	if (c->part == NEUTRAL_THINKING || c->part == NEUTRAL_REDACTED)
		e = stop_thought(c, out);
	else if (c->part == NEUTRAL_TOOL_CALL)
		e = stop_call(c, out);
	else if (!c->stream)
		e = buf_put_span(c->part == NEUTRAL_REFUSAL ? &c->refusal
							    : &c->content,
				 buf_span(&c->text));
	/* Idle streams are many: keep no large buffer for them. */
	buf_fini(&c->text);
	buf_fini(&c->signature);
	return e;
}

static enum err on_usage(struct chat_writer *c, const struct neutral_event *ev,
			 struct buf *out)
{
	(void)out;
	c->usage = ev->usage;
	return ERR_OK;
}

static const char *reason_of(const struct chat_writer *c,
			     enum neutral_stop stop)
{
	static const char *const reasons[] = {
		[NEUTRAL_STOP_NONE] = "stop",
		[NEUTRAL_STOP_END] = "stop",
		[NEUTRAL_STOP_LENGTH] = "length",
		[NEUTRAL_STOP_CONTEXT] = "length",
		[NEUTRAL_STOP_SEQUENCE] = "stop",
		[NEUTRAL_STOP_TOOL] = "tool_calls",
		[NEUTRAL_STOP_REFUSAL] = "content_filter",
		[NEUTRAL_STOP_PAUSE] = "stop",
		[NEUTRAL_STOP_OTHER] = "length",
	};

	if (stop == NEUTRAL_STOP_TOOL && !c->calls)
		return "stop";
	/* A refusal in words is a finished answer here. */
	if (stop == NEUTRAL_STOP_REFUSAL && c->refused)
		return "stop";
	return reasons[stop];
}

static enum err stop_stream(struct chat_writer *c, const char *reason,
			    struct buf *out)
{
	struct jsonw w;
	enum err e;

	begin_chunk(c, &w);
	e = end_chunk(c, &w, reason, out);
	if (e == ERR_OK && c->want_usage && neutral_usage_is_known(&c->usage)) {
		buf_reset(&c->chunk);
		jsonw_init(&w, &c->chunk);
		jsonw_begin_object(&w);
		put_head(&w, c);
		jsonw_key(&w, "choices");
		jsonw_begin_array(&w);
		jsonw_end_array(&w);
		put_usage(&w, &c->usage);
		jsonw_end_object(&w);
		e = send_chunk(c, &w, out);
	}
	return e == ERR_OK ? buf_put_text(out, "data: [DONE]\n\n") : e;
}

static void put_or_null(struct jsonw *w, const char *key, const struct buf *b)
{
	jsonw_key(w, key);
	if (b->len_bytes)
		jsonw_text(w, buf_span(b));
	else
		jsonw_null(w);
}

static void put_items(struct jsonw *w, const char *key, const struct buf *items)
{
	if (!items->len_bytes)
		return;
	jsonw_key(w, key);
	jsonw_begin_array(w);
	jsonw_raw(w, buf_span(items));
	jsonw_end_array(w);
}

static void put_message(struct jsonw *w, const struct chat_writer *c)
{
	jsonw_key(w, "message");
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "role", "assistant");
	if (c->content.len_bytes || c->calls || c->refused)
		put_or_null(w, "content", &c->content);
	else
		jsonw_put_cstr(w, "content", "");
	put_or_null(w, "refusal", &c->refusal);
	if (c->reasoning.len_bytes)
		jsonw_put_text(w, "reasoning_content", buf_span(&c->reasoning));
	put_items(w, "reasoning_details", &c->details);
	put_items(w, "tool_calls", &c->call_items);
	jsonw_end_object(w);
}

static enum err put_plain(struct chat_writer *c, const char *reason,
			  struct buf *out)
{
	struct jsonw w;

	jsonw_init(&w, out);
	jsonw_begin_object(&w);
	put_head(&w, c);
	jsonw_key(&w, "choices");
	jsonw_begin_array(&w);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "index", 0);
	put_message(&w, c);
	jsonw_key(&w, "logprobs");
	jsonw_null(&w);
	jsonw_put_cstr(&w, "finish_reason", reason);
	jsonw_end_object(&w);
	jsonw_end_array(&w);
	if (neutral_usage_is_known(&c->usage))
		put_usage(&w, &c->usage);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

static enum err on_stop(struct chat_writer *c, const struct neutral_event *ev,
			struct buf *out)
{
	const char *reason = reason_of(c, ev->stop);

	return c->stream ? stop_stream(c, reason, out)
			 : put_plain(c, reason, out);
}

static enum err on_error(struct chat_writer *c, const struct neutral_event *ev,
			 struct buf *out)
{
	unsigned status;
	const char *name = chat_error_name(ev->error, &status);
	enum err e = ERR_OK;

	if (c->stream)
		e = buf_put_text(out, "data: ");
	if (e == ERR_OK)
		e = chat_put_error(out, name, ev->text);
	return e == ERR_OK && c->stream ? buf_put_text(out, "\n\n") : e;
}

static enum err writer_put(struct neutral_writer *w,
			   const struct neutral_event *ev, struct buf *out)
{
	static enum err (*const handlers[])(struct chat_writer *,
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

	return handlers[ev->kind]((struct chat_writer *)w, ev, out);
}

static enum err writer_ping(struct neutral_writer *w, struct buf *out)
{
	(void)w;
	return buf_put_text(out, ": keep-alive\n\n");
}

static void writer_free(struct neutral_writer *w)
{
	struct chat_writer *c = (struct chat_writer *)w;

	buf_fini(&c->chunk);
	buf_fini(&c->text);
	buf_fini(&c->signature);
	buf_fini(&c->content);
	buf_fini(&c->reasoning);
	buf_fini(&c->refusal);
	buf_fini(&c->details);
	buf_fini(&c->call_items);
	free(c);
}

static const struct neutral_writer_ops stream_ops = {
	.put = writer_put,
	.ping = writer_ping,
	.free = writer_free,
};

static const struct neutral_writer_ops plain_ops = {
	.put = writer_put,
	.free = writer_free,
};

/**
 * chat_writer_new() - Start writing a response
 * @a:	What the client asked for; borrowed during the call
 *
 * Return: owned by the caller; NULL without memory.
 */
struct neutral_writer *chat_writer_new(const struct neutral_answer *a)
{
	struct chat_writer *c = calloc(1, sizeof(*c));
	time_t now = time(NULL);

	if (!c)
		return NULL;
	c->base.ops = a->stream ? &stream_ops : &plain_ops;
	c->stream = a->stream;
	c->want_usage = a->want_usage;
	c->created = now > 0 ? (uint64_t)now : 0;
	if (span_copy_text(a->model, c->model, sizeof(c->model)) != ERR_OK)
		c->model[0] = '\0';
	buf_init(&c->chunk, RESPONSE_MAX_BYTES);
	buf_init(&c->text, RESPONSE_MAX_BYTES);
	buf_init(&c->signature, THOUGHT_MAX_BYTES);
	buf_init(&c->content, RESPONSE_MAX_BYTES);
	buf_init(&c->reasoning, RESPONSE_MAX_BYTES);
	buf_init(&c->refusal, RESPONSE_MAX_BYTES);
	buf_init(&c->details, RESPONSE_MAX_BYTES);
	buf_init(&c->call_items, RESPONSE_MAX_BYTES);
	return &c->base;
}
