/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_read.c - a chat completions response in no dialect
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   reports a stop for a response without a finish_reason.
 *
 * Theory of operation. Text, thinking and refusals go on as they come, in one
 * block at a time. Calls may come mixed with each other and with text, so they
 * are put together first and given out, one block each, when the finish_reason
 * is there; the stop follows at [DONE] or the end, because usage comes last.
 *
 * Read besides OpenAI's own form: thinking as reasoning_content, reasoning or
 * OpenRouter's reasoning_details; content as a list; Groq's and DeepSeek's
 * usage; errors in a chunk or a body of status 200; a missing [DONE].
 *
 * A signature or opaque thought that only its own provider understands is
 * given on as "FORMAT|DATA", so that its format comes back with it.
 */
#include "engine/gate/chat.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/chat_calls.h"
#include "engine/gate/neutral_tools.h"
#include "engine/gate/sse.h"

struct reader_chat {
	struct neutral_reader base;
	bool streamed, started, finished, done;
	bool block_open, refused;
	bool thought; /* the open thought's text came as reasoning_content */
	enum neutral_part_kind block;
	struct sse sse;
	struct buf body; /* a plain response */
	struct json doc, call_json;
	struct chat_calls calls;
	struct neutral_usage usage;
	struct buf text;     /* decoded, for one event */
	char reason[65];     /* finish_reason */
	char stop_text[256]; /* vLLM: the stop sequence */
	char id[129], model[MODEL_MAX_BYTES + 1];
};

static enum err emit(struct reader_chat *x, const struct neutral_event *event)
{
	return x->base.emit(x->base.context, event);
}

static bool is_set(const struct reader_chat *x, json_ref at)
{
	return !neutral_is_absent(&x->doc, at);
}

static enum err start(struct reader_chat *x)
{
	const struct json *j = &x->doc;
	struct neutral_event ev = {.kind = NEUTRAL_START};

	if (x->started)
		return ERR_OK;
	x->started = true;
	/* A name that does not fit is left empty: it is only reported. */
	(void)!json_text(j, json_get(j, JSON_ROOT, "id"), x->id, sizeof(x->id));
	(void)!json_text(j, json_get(j, JSON_ROOT, "model"), x->model,
			 sizeof(x->model));
	ev.id = span_text(x->id);
	ev.model = span_text(x->model);
	return emit(x, &ev);
}

static enum err close_block(struct reader_chat *x)
{
	const struct neutral_event ev = {.kind = NEUTRAL_BLOCK_STOP,
					 .part = x->block};

	if (!x->block_open)
		return ERR_OK;
	x->block_open = false;
	x->thought = false;
	return emit(x, &ev);
}

static enum err open_block(struct reader_chat *x, enum neutral_part_kind part,
			   enum dialect signer)
{
	const struct neutral_event ev = {.kind = NEUTRAL_BLOCK_START,
					 .part = part,
					 .signer = signer};
	enum err e = ERR_OK;

	if (x->block_open && x->block == part)
		return ERR_OK;
	e = close_block(x);
	if (e != ERR_OK)
		return e;
	x->block_open = true;
	x->block = part;
	return emit(x, &ev);
}

static enum err piece(struct reader_chat *x, enum neutral_part_kind part,
		      enum dialect signer, struct span text)
{
	const struct neutral_event ev = {.kind = NEUTRAL_BLOCK_TEXT,
					 .part = part,
					 .signer = signer,
					 .text = text};
	enum err e;

	if (text.len_bytes == 0)
		return ERR_OK;
	e = open_block(x, part, signer);
	return e == ERR_OK ? emit(x, &ev) : e;
}

/* A string's text as a piece of a block; what is no string is nothing. */
static enum err string_piece(struct reader_chat *x, json_ref at,
			     enum neutral_part_kind part, enum dialect signer)
{
	enum err e;

	if (!json_is(&x->doc, at, JSON_STRING))
		return ERR_OK;
	buf_reset(&x->text);
	e = json_string(&x->doc, at, &x->text);
	return e == ERR_OK ? piece(x, part, signer, buf_span(&x->text)) : e;
}

static enum err read_content(struct reader_chat *x, json_ref content)
{
	const struct json *j = &x->doc;
	enum err e = ERR_OK;

	if (!json_is(j, content, JSON_ARRAY))
		return string_piece(x, content, NEUTRAL_TEXT, DIALECT_NONE);
	JSON_EACH (j, part, content) {
		json_ref inner = json_get(j, part, "thinking");

		if (json_is(j, inner, JSON_ARRAY)) {
			JSON_EACH (j, thought, inner)
				if (e == ERR_OK)
					e = string_piece(
						x, json_get(j, thought, "text"),
						NEUTRAL_THINKING, DIALECT_NONE);
		} else {
			e = string_piece(x, json_get(j, part, "text"),
					 NEUTRAL_TEXT, DIALECT_NONE);
		}
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* The bytes of a signature or opaque thought, with its format if foreign. */
static enum err opaque(struct reader_chat *x, json_ref item, const char *key,
		       enum dialect signer)
{
	const struct json *j = &x->doc;
	json_ref format = json_get(j, item, "format");
	enum err e = ERR_OK;

	buf_reset(&x->text);
	if (signer == DIALECT_CHAT && json_is(j, format, JSON_STRING)) {
		e = json_string(j, format, &x->text);
		if (e == ERR_OK)
			e = buf_put_u8(&x->text, '|');
	}
	return e == ERR_OK ? json_string(j, json_get(j, item, key), &x->text)
			   : e;
}

static enum err sign(struct reader_chat *x, enum neutral_part_kind part,
		     enum dialect signer)
{
	const struct neutral_event ev = {.kind = NEUTRAL_BLOCK_SIGNATURE,
					 .part = part,
					 .signer = signer,
					 .text = buf_span(&x->text)};
	enum err e = open_block(x, part, signer);

	if (e == ERR_OK)
		e = emit(x, &ev);
	/* What follows is another thought. */
	return e == ERR_OK ? close_block(x) : e;
}

static enum err read_detail(struct reader_chat *x, json_ref item)
{
	const struct json *j = &x->doc;
	json_ref type = json_get(j, item, "type");
	json_ref signature = json_get(j, item, "signature");
	enum dialect signer =
		chat_format_signer(j, json_get(j, item, "format"));
	enum err e = ERR_OK;

	if (json_string_is(j, type, "reasoning.encrypted")) {
		if (!json_is(j, json_get(j, item, "data"), JSON_STRING))
			return ERR_OK;
		e = opaque(x, item, "data", signer);
		return e == ERR_OK ? sign(x, NEUTRAL_REDACTED, signer) : e;
	}
	/* What came as reasoning_content is said again with its signature. */
	if (!x->thought)
		e = string_piece(x,
				 json_get(j, item,
					  json_string_is(j, type,
							 "reasoning.summary")
						  ? "summary"
						  : "text"),
				 NEUTRAL_THINKING, signer);
	if (e != ERR_OK || !json_is(j, signature, JSON_STRING) ||
	    json_string_is(j, signature, ""))
		return e;
	e = opaque(x, item, "signature", signer);
	return e == ERR_OK ? sign(x, NEUTRAL_THINKING, signer) : e;
}

/* OpenRouter sends the same text as details and as reasoning. */
static enum err read_thinking(struct reader_chat *x, json_ref delta)
{
	const struct json *j = &x->doc;
	json_ref details = json_get(j, delta, "reasoning_details");
	json_ref text = json_get(j, delta, "reasoning_content");
	bool detailed =
		json_is(j, details, JSON_ARRAY) && json_count(j, details) > 0;
	bool begun = x->block_open && x->block == NEUTRAL_THINKING;
	enum err e = ERR_OK;

	if (!json_is(j, text, JSON_STRING))
		text = json_get(j, delta, "reasoning");
	if (!detailed || x->thought)
		e = string_piece(x, text, NEUTRAL_THINKING, DIALECT_NONE);
	if (!detailed && !begun && x->block_open &&
	    x->block == NEUTRAL_THINKING)
		x->thought = true;
	if (!detailed)
		return e;
	JSON_EACH (j, item, details)
		if (e == ERR_OK)
			e = read_detail(x, item);
	return e;
}

static enum err read_calls(struct reader_chat *x, json_ref message)
{
	const struct json *j = &x->doc;
	json_ref calls = json_get(j, message, "tool_calls");
	json_ref legacy = json_get(j, message, "function_call");
	struct chat_delta where;
	enum err e = ERR_OK;

	if (is_set(x, calls) && !json_is(j, calls, JSON_ARRAY))
		return neutral_broken(&x->base, "tool_calls that are no list");
	if ((json_count(j, calls) || is_set(x, legacy)) && x->finished)
		return neutral_broken(&x->base,
				      "a tool call after the finish_reason");
	JSON_EACH (j, item, calls) {
		e = x->streamed ? chat_calls_add(&x->calls, j, item, 0, &where)
				: chat_calls_add_whole(&x->calls, j, item, 0);
		if (e != ERR_OK)
			break;
	}
	if (e == ERR_OK && is_set(x, legacy))
		e = chat_calls_add_legacy(&x->calls, j, legacy, 0, &where);
	if (e != ERR_OK)
		x->base.error_text = x->calls.error_text;
	return e;
}

static enum err give_call(struct reader_chat *x, struct chat_call *call)
{
	struct neutral_event ev = {.kind = NEUTRAL_BLOCK_START,
				   .part = NEUTRAL_TOOL_CALL,
				   .name = span_text(call->name)};
	char made[CALL_ID_MAX_BYTES + 1];
	enum err e;

	if (!call->id[0]) {
		(void)!text_format(made, sizeof(made), "call_%u_%.100s",
				   call->number, x->id);
		memcpy(call->id, made, sizeof(call->id));
	}
	ev.id = span_text(call->id);
	/* Arguments that are no object are refused where calls are judged. */
	e = chat_call_close(call, &x->call_json);
	if (e == ERR_MEMORY)
		return e;
	e = emit(x, &ev);
	ev.kind = NEUTRAL_BLOCK_TEXT;
	ev.text = buf_span(&call->arguments);
	if (e == ERR_OK)
		e = emit(x, &ev);
	ev.kind = NEUTRAL_BLOCK_STOP;
	ev.text = span_of(NULL, 0);
	return e == ERR_OK ? emit(x, &ev) : e;
}

static enum err fail(struct reader_chat *x, enum neutral_error error,
		     struct span text)
{
	const struct neutral_event ev = {.kind = NEUTRAL_ERROR,
					 .error = error,
					 .text = text};

	x->base.stopped = true;
	x->base.error_text = "the provider reported an error";
	return emit(x, &ev);
}

static enum err read_error(struct reader_chat *x, json_ref error)
{
	const struct json *j = &x->doc;
	json_ref at = json_get(j, error, "message");
	enum err e = ERR_OK;

	chat_error_words(j, error, x->base.upstream_error,
			 sizeof(x->base.upstream_error));
	buf_reset(&x->text);
	if (json_is(j, error, JSON_STRING))
		e = json_string(j, error, &x->text);
	else if (json_is(j, at, JSON_STRING))
		e = json_string(j, at, &x->text);
	if (e == ERR_OK)
		e = start(x);
	if (e == ERR_OK && x->text.len_bytes == 0)
		e = buf_put_text(&x->text, "the provider reported an error");
	return e == ERR_OK ? fail(x, chat_error_class(j, error, 0),
				  buf_span(&x->text))
			   : e;
}

static enum err finish(struct reader_chat *x, json_ref choice, json_ref reason)
{
	const struct json *j = &x->doc;
	enum err e = ERR_OK;
	uint32_t i;

	if (x->finished)
		return ERR_OK;
	x->finished = true;
	if (json_text(j, reason, x->reason, sizeof(x->reason)) != ERR_OK)
		return neutral_broken(&x->base, "a malformed finish_reason");
	(void)!json_text(j, json_get(j, choice, "stop_reason"), x->stop_text,
			 sizeof(x->stop_text));
	if (chat_is_failure(x->reason))
		return fail(x, NEUTRAL_ERROR_API,
			    span_text("the provider broke the answer off"));
	e = close_block(x);
	for (i = 0; e == ERR_OK && i < x->calls.count; i++)
		e = give_call(x, &x->calls.items[i]);
	return e;
}

static enum err read_message(struct reader_chat *x, json_ref message)
{
	const struct json *j = &x->doc;
	json_ref refusal = json_get(j, message, "refusal");
	enum err e;

	e = read_thinking(x, message);
	if (e == ERR_OK)
		e = read_content(x, json_get(j, message, "content"));
	if (e == ERR_OK && json_is(j, refusal, JSON_STRING) &&
	    !json_string_is(j, refusal, "")) {
		x->refused = true;
		e = string_piece(x, refusal, NEUTRAL_REFUSAL, DIALECT_NONE);
	}
	return e == ERR_OK ? read_calls(x, message) : e;
}

static enum err read_choice(struct reader_chat *x, json_ref choice)
{
	const struct json *j = &x->doc;
	json_ref index = json_get(j, choice, "index");
	json_ref reason = json_get(j, choice, "finish_reason");
	uint64_t number = 0;
	enum err e;

	if (!json_is(j, choice, JSON_OBJECT) ||
	    (is_set(x, index) &&
	     json_uint(j, index, 0, CHAT_CHOICES_MAX - 1, &number) != ERR_OK))
		return neutral_broken(&x->base, "a malformed choice");
	if (number != 0)
		return neutral_broken(&x->base, "more than one choice");
	e = read_message(x, json_get(j, choice,
				     x->streamed ? "delta" : "message"));
	/* Some servers send an empty one with every chunk. */
	if (e == ERR_OK && is_set(x, reason) && !json_string_is(j, reason, ""))
		e = finish(x, choice, reason);
	return e;
}

static enum err read_document(struct reader_chat *x)
{
	const struct json *j = &x->doc;
	json_ref choices = json_get(j, JSON_ROOT, "choices"), error;
	enum err e;

	if (chat_is_error(j, &error))
		return read_error(x, error);
	if (!json_is(j, JSON_ROOT, JSON_OBJECT) ||
	    (is_set(x, choices) && !json_is(j, choices, JSON_ARRAY)))
		return neutral_broken(&x->base, "a chunk without choices");
	chat_read_usage(j, JSON_ROOT, &x->usage);
	/* Azure's first chunk has no choices, and neither name nor model. */
	if (json_count(j, choices) == 0 && !x->started)
		return ERR_OK;
	e = start(x);
	JSON_EACH (j, choice, choices) {
		if (e != ERR_OK || x->base.stopped)
			break;
		e = read_choice(x, choice);
	}
	return e;
}

static enum neutral_stop stop_of(const struct reader_chat *x)
{
	enum neutral_stop stop = chat_stop_of(x->reason);

	if (stop != NEUTRAL_STOP_END)
		return stop;
	/* Some servers say "stop" after calls, others "tool_calls" always. */
	if (x->calls.count)
		return NEUTRAL_STOP_TOOL;
	if (x->refused)
		return NEUTRAL_STOP_REFUSAL;
	return x->stop_text[0] ? NEUTRAL_STOP_SEQUENCE : NEUTRAL_STOP_END;
}

static enum err stop(struct reader_chat *x)
{
	struct neutral_event ev = {.kind = NEUTRAL_USAGE, .usage = x->usage};
	enum err e = close_block(x);

	if (e == ERR_OK && (x->usage.input_known || x->usage.output_known))
		e = emit(x, &ev);
	x->base.stopped = true;
	ev = (struct neutral_event){.kind = NEUTRAL_STOP,
				    .stop = stop_of(x),
				    .reason = span_text(x->reason)};
	if (ev.stop == NEUTRAL_STOP_SEQUENCE)
		ev.text = span_text(x->stop_text);
	return e == ERR_OK ? emit(x, &ev) : e;
}

static enum err parse(struct reader_chat *x, struct span text, uint32_t tokens)
{
	const struct json_limits limits = {.max_tokens = tokens,
					   .allow_nul = true};
	enum err e = json_parse(&x->doc, text, &limits);

	if (e == ERR_OK || e == ERR_MEMORY)
		return e;
	return neutral_broken(&x->base, "a response that is not valid JSON");
}

static enum err on_event(struct reader_chat *x, const struct sse_event *ev)
{
	enum err e;

	if (!ev->has_data || chat_is_blank(ev->data))
		return ERR_OK;
	if (chat_is_done(ev->data)) {
		if (!x->finished)
			return neutral_broken(
				&x->base,
				"the provider's stream ended before its "
				"finish_reason");
		return stop(x);
	}
	e = parse(x, ev->data, CHAT_CHUNK_TOKENS_MAX);
	return e == ERR_OK ? read_document(x) : e;
}

static enum err stream_feed(struct neutral_reader *r, struct span in)
{
	struct reader_chat *x = (struct reader_chat *)r;
	struct sse_event ev;
	enum err e = ERR_OK;

	while (e == ERR_OK && !r->stopped) {
		e = sse_next(&x->sse, &in, &ev);
		if (e == ERR_AGAIN)
			return ERR_OK;
		if (e == ERR_LIMIT)
			r->error_text = "an event over the size limit";
		if (e == ERR_OK)
			e = on_event(x, &ev);
	}
	if (e == ERR_LIMIT && !r->error_text)
		r->error_text = "a response over the size limit";
	return e;
}

static enum err stream_end(struct neutral_reader *r)
{
	struct reader_chat *x = (struct reader_chat *)r;

	if (r->stopped)
		return ERR_OK;
	/* A missing or cut [DONE] is nothing lost. */
	if (x->finished && chat_rest_is_done(sse_rest(&x->sse)))
		return stop(x);
	r->error_text = "the provider's stream ended before its finish_reason";
	if (x->finished)
		r->error_text = "the provider's stream ended in mid-event";
	return ERR_SHORT;
}

static enum err body_feed(struct neutral_reader *r, struct span in)
{
	struct reader_chat *x = (struct reader_chat *)r;
	enum err e = buf_put_span(&x->body, in);

	if (e == ERR_LIMIT)
		r->error_text = "a reply over the size limit";
	return e;
}

static enum err body_end(struct neutral_reader *r)
{
	struct reader_chat *x = (struct reader_chat *)r;
	enum err e;

	if (x->body.len_bytes == 0) {
		r->error_text = "the provider's reply is empty";
		return ERR_SHORT;
	}
	e = parse(x, buf_span(&x->body), CHAT_BODY_TOKENS_MAX);
	if (e == ERR_OK)
		e = read_document(x);
	if (e == ERR_LIMIT && !r->error_text)
		r->error_text = "a response over the size limit";
	if (e != ERR_OK || r->stopped)
		return e;
	if (!x->finished)
		return neutral_broken(r, "a completion without finish_reason");
	return stop(x);
}

static void reader_free(struct neutral_reader *r)
{
	struct reader_chat *x = (struct reader_chat *)r;

	sse_fini(&x->sse);
	buf_fini(&x->body);
	buf_fini(&x->text);
	json_fini(&x->doc);
	json_fini(&x->call_json);
	chat_calls_fini(&x->calls);
	free(x);
}

static const struct neutral_reader_ops stream_ops = {
	.feed = stream_feed,
	.end = stream_end,
	.free = reader_free,
};

static const struct neutral_reader_ops body_ops = {
	.feed = body_feed,
	.end = body_end,
	.free = reader_free,
};

/**
 * chat_reader_new() - Start reading a response
 * @streamed:	text/event-stream; else application/json
 * @take:	Takes the events
 * @context:	Its first argument
 *
 * Return: owned by the caller; NULL without memory.
 */
struct neutral_reader *chat_reader_new(bool streamed, neutral_emit *take,
				       void *context)
{
	struct reader_chat *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->base.ops = streamed ? &stream_ops : &body_ops;
	x->base.emit = take;
	x->base.context = context;
	x->streamed = streamed;
	sse_init(&x->sse, SSE_EVENT_MAX_BYTES);
	buf_init(&x->body, RESPONSE_MAX_BYTES);
	buf_init(&x->text, RESPONSE_MAX_BYTES);
	json_init(&x->doc);
	json_init(&x->call_json);
	return &x->base;
}
