/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_reader.c - an Anthropic response, read into neutral events
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   takes a stream without message_stop, or a stop reason that it does
 *	    not know, for a whole response.
 *
 * Anthropic Messages, version 2023-06-01, streamed (as anthropic_stream.c
 * describes) and plain. Blocks of the provider's own tools and of unknown
 * kinds have no neutral form: a request that asks for them is not translated,
 * so what comes anyway is left out and noted. Usage fields replace what they
 * said before; input counts cached tokens in.
 */
#include "engine/gate/anthropic_neutral.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/json.h"
#include "engine/gate/anthropic_reply.h"
#include "engine/gate/cost.h"
#include "engine/gate/neutral_tools.h"
#include "engine/gate/sse.h"
#include "engine/proto/limits.h"

#define EVENT_TOKENS_MAX 65536u
#define BODY_TOKENS_MAX  (1u << 20)
#define COUNT_MAX        (UINT64_C(1) << 40)

enum phase {
	PHASE_START,   /* before message_start */
	PHASE_BETWEEN, /* no block is open */
	PHASE_BLOCK,   /* a block is open */
	PHASE_TAIL,    /* the stop reason was given */
	PHASE_STOPPED,
};

struct anthropic_reader {
	struct neutral_reader base;
	bool streamed;
	enum phase phase;
	struct sse sse;
	struct buf body;
	struct json doc;
	struct buf text; /* the string under way, decoded */
	uint32_t index;
	enum neutral_part_kind part;
	bool ignored;     /* the open block has no neutral form */
	bool input_whole; /* a call's arguments came with its start */
	uint64_t input, cache_read, cache_write;
	struct neutral_usage usage;
	enum neutral_stop stop;
	char reason[64];
	struct buf sequence; /* the stop sequence */
};

static enum err send_event(struct anthropic_reader *a,
			   const struct neutral_event *event)
{
	return a->base.emit(a->base.context, event);
}

/* A string's text, valid until the next one. Anything else is empty. */
static enum err text_at(struct anthropic_reader *a, json_ref at,
			struct span *ret_text)
{
	enum err e = ERR_OK;

	buf_reset(&a->text);
	if (json_is(&a->doc, at, JSON_STRING))
		e = json_string(&a->doc, at, &a->text);
	*ret_text = buf_span(&a->text);
	return e;
}

/* A piece of the open block, when there is any text in it. */
static enum err emit_piece(struct anthropic_reader *a,
			   enum neutral_event_kind kind, json_ref at)
{
	struct neutral_event ev = {
		.kind = kind,
		.part = a->part,
		.signer = DIALECT_ANTHROPIC,
	};
	enum err e = text_at(a, at, &ev.text);

	return e == ERR_OK && ev.text.len_bytes ? send_event(a, &ev) : e;
}

static enum err emit_start(struct anthropic_reader *a, json_ref message)
{
	struct neutral_event ev = {.kind = NEUTRAL_START};
	char id[129] = "", model[MODEL_MAX_BYTES + 1] = "";

	/* What does not fit is left empty: it is only reported. */
	(void)!json_text(&a->doc, json_get(&a->doc, message, "id"), id,
			 sizeof(id));
	(void)!json_text(&a->doc, json_get(&a->doc, message, "model"), model,
			 sizeof(model));
	ev.id = span_text(id);
	ev.model = span_text(model);
	return send_event(a, &ev);
}

static bool count_at(struct anthropic_reader *a, json_ref usage,
		     const char *path, uint64_t *value)
{
	return json_uint(&a->doc, json_find(&a->doc, usage, path), 0, COUNT_MAX,
			 value) == ERR_OK;
}

static enum err emit_usage(struct anthropic_reader *a, json_ref usage)
{
	struct neutral_event ev = {.kind = NEUTRAL_USAGE};
	struct neutral_usage *u = &a->usage;

	if (!json_is(&a->doc, usage, JSON_OBJECT))
		return ERR_OK;
	if (count_at(a, usage, "input_tokens", &a->input))
		u->input_known = true;
	if (count_at(a, usage, "output_tokens", &u->output))
		u->output_known = true;
	if (count_at(a, usage, "cache_read_input_tokens", &a->cache_read))
		u->cache_known = true;
	if (count_at(a, usage, "cache_creation_input_tokens", &a->cache_write))
		u->cache_known = true;
	if (count_at(a, usage, "output_tokens_details.thinking_tokens",
		     &u->reasoning))
		u->reasoning_known = true;
	if (cost_read(&a->doc, usage, &u->cost_uusd))
		u->cost_known = true;
	u->input = a->input + a->cache_read + a->cache_write;
	u->cache_read = a->cache_read;
	u->cache_write = a->cache_write;
	ev.usage = *u;
	return send_event(a, &ev);
}

/* {"type":"error","error":{"type","message"}} */
static enum err emit_error(struct anthropic_reader *a)
{
	struct neutral_event ev = {.kind = NEUTRAL_ERROR};
	char type[64] = "";
	enum err e;

	(void)!json_text(&a->doc, json_find(&a->doc, JSON_ROOT, "error.type"),
			 type, sizeof(type));
	e = text_at(a, json_find(&a->doc, JSON_ROOT, "error.message"),
		    &ev.text);
	if (e != ERR_OK)
		return e;
	ev.error = anthropic_error_of(span_text(type));
	neutral_note_error(&a->base, span_text(type), ev.text);
	a->base.stopped = true;
	return send_event(a, &ev);
}

static enum err emit_stop(struct anthropic_reader *a)
{
	const struct neutral_event ev = {
		.kind = NEUTRAL_STOP,
		.stop = a->stop,
		.reason = span_text(a->reason),
		.text = buf_span(&a->sequence),
	};

	a->phase = PHASE_STOPPED;
	a->base.stopped = true;
	return send_event(a, &ev);
}

static enum err take_reason(struct anthropic_reader *a, json_ref from)
{
	const struct json *j = &a->doc;
	json_ref sequence = json_get(j, from, "stop_sequence");

	if (json_text(j, json_get(j, from, "stop_reason"), a->reason,
		      sizeof(a->reason)) != ERR_OK ||
	    !a->reason[0])
		return neutral_broken(&a->base, "a stop reason that is none");
	a->stop = anthropic_stop_of(span_text(a->reason));
	buf_reset(&a->sequence);
	return json_is(j, sequence, JSON_STRING)
		       ? json_string(j, sequence, &a->sequence)
		       : ERR_OK;
}

static enum err start_call(struct anthropic_reader *a, json_ref block)
{
	struct neutral_event ev = {
		.kind = NEUTRAL_BLOCK_START,
		.part = NEUTRAL_TOOL_CALL,
	};
	char id[CALL_ID_MAX_BYTES + 1], name[TOOL_NAME_MAX_BYTES + 1];
	const struct json *j = &a->doc;
	json_ref input = json_get(j, block, "input");
	enum err e;

	if (json_text(j, json_get(j, block, "id"), id, sizeof(id)) != ERR_OK ||
	    json_text(j, json_get(j, block, "name"), name, sizeof(name)) !=
		    ERR_OK ||
	    name[0] == '\0')
		return neutral_broken(&a->base,
				      "a tool call without a proper id and "
				      "name");
	/* llama.cpp leaves it out of a stream; a plain one is judged as is. */
	if (a->streamed && input != JSON_NONE &&
	    !json_is(j, input, JSON_OBJECT) && !json_is(j, input, JSON_NULL))
		return neutral_broken(&a->base,
				      "a tool call whose input is no object");
	ev.id = span_text(id);
	ev.name = span_text(name);
	e = send_event(a, &ev);
	a->input_whole = !a->streamed || json_count(j, input) > 0;
	if (e != ERR_OK || !a->input_whole)
		return e;
	ev.kind = NEUTRAL_BLOCK_TEXT;
	ev.text = json_raw(j, input);
	/* Something that is no object, so that it is denied. */
	if (!ev.text.len_bytes)
		ev.text = span_text("null");
	return send_event(a, &ev);
}

/* A block's start, with what it brings along. */
static enum err start_block(struct anthropic_reader *a, json_ref block)
{
	static const struct {
		const char *type;
		enum neutral_part_kind part;
		const char *text, *signature; /* members */
	} table[] = {
		{"text", NEUTRAL_TEXT, "text", NULL},
		{"thinking", NEUTRAL_THINKING, "thinking", "signature"},
		{"redacted_thinking", NEUTRAL_REDACTED, NULL, "data"},
	};
	const struct json *j = &a->doc;
	json_ref type = json_get(j, block, "type");
	struct neutral_event ev = {.kind = NEUTRAL_BLOCK_START,
				   .signer = DIALECT_ANTHROPIC};
	struct span name;
	size_t i;
	enum err e;

	if (!json_is(j, type, JSON_STRING))
		return neutral_broken(&a->base, "a content block without type");
	a->ignored = false;
	a->input_whole = false;
	a->part = NEUTRAL_TOOL_CALL;
	if (json_string_is(j, type, "tool_use"))
		return start_call(a, block);
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		if (!json_string_is(j, type, table[i].type))
			continue;
		a->part = ev.part = table[i].part;
		e = send_event(a, &ev);
		if (e == ERR_OK && table[i].text)
			e = emit_piece(a, NEUTRAL_BLOCK_TEXT,
				       json_get(j, block, table[i].text));
		if (e == ERR_OK && table[i].signature)
			e = emit_piece(a, NEUTRAL_BLOCK_SIGNATURE,
				       json_get(j, block, table[i].signature));
		return e;
	}
	a->ignored = true;
	e = text_at(a, type, &name);
	if (e == ERR_OK)
		neutral_note_dropped(&a->base, name);
	return e;
}

static enum err stop_block(struct anthropic_reader *a)
{
	const struct neutral_event ev = {
		.kind = NEUTRAL_BLOCK_STOP,
		.part = a->part,
	};

	a->index++;
	return a->ignored ? ERR_OK : send_event(a, &ev);
}

static bool index_is_current(const struct anthropic_reader *a)
{
	uint64_t index;

	return json_uint(&a->doc, json_get(&a->doc, JSON_ROOT, "index"), 0,
			 UINT32_MAX, &index) == ERR_OK &&
	       index == a->index;
}

static enum err on_message_start(struct anthropic_reader *a)
{
	json_ref message = json_get(&a->doc, JSON_ROOT, "message");
	enum err e;

	if (a->phase != PHASE_START)
		return neutral_broken(&a->base, "a second message_start");
	if (!json_is(&a->doc, message, JSON_OBJECT) ||
	    json_count(&a->doc, json_get(&a->doc, message, "content")) != 0)
		return neutral_broken(&a->base,
				      "message_start without an empty message");
	a->phase = PHASE_BETWEEN;
	e = emit_start(a, message);
	return e == ERR_OK ? emit_usage(a, json_get(&a->doc, message, "usage"))
			   : e;
}

static enum err on_block_start(struct anthropic_reader *a)
{
	if (a->phase != PHASE_BETWEEN)
		return neutral_broken(&a->base,
				      "a content_block_start out of turn");
	if (!index_is_current(a))
		return neutral_broken(&a->base,
				      "a content block with the wrong index");
	a->phase = PHASE_BLOCK;
	return start_block(a, json_get(&a->doc, JSON_ROOT, "content_block"));
}

static enum err on_block_delta(struct anthropic_reader *a)
{
	static const struct {
		const char *type;
		enum neutral_part_kind part;
		enum neutral_event_kind kind;
		const char *member;
	} table[] = {
		{"text_delta", NEUTRAL_TEXT, NEUTRAL_BLOCK_TEXT, "text"},
		{"input_json_delta", NEUTRAL_TOOL_CALL, NEUTRAL_BLOCK_TEXT,
		 "partial_json"},
		{"thinking_delta", NEUTRAL_THINKING, NEUTRAL_BLOCK_TEXT,
		 "thinking"},
		{"signature_delta", NEUTRAL_THINKING, NEUTRAL_BLOCK_SIGNATURE,
		 "signature"},
	};
	const struct json *j = &a->doc;
	json_ref delta = json_get(j, JSON_ROOT, "delta"), at;
	json_ref type = json_get(j, delta, "type");
	struct span name;
	size_t i;
	enum err e;

	if (a->phase != PHASE_BLOCK || !index_is_current(a))
		return neutral_broken(&a->base,
				      "a content_block_delta out of turn");
	if (a->ignored)
		return ERR_OK;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		if (!json_string_is(j, type, table[i].type))
			continue;
		at = json_get(j, delta, table[i].member);
		if (a->part != table[i].part || !json_is(j, at, JSON_STRING))
			return neutral_broken(&a->base,
					      "a block with a foreign delta");
		if (a->input_whole && json_raw(j, at).len_bytes > 2)
			return neutral_broken(&a->base,
					      "a tool call with two inputs");
		return emit_piece(a, table[i].kind, at);
	}
	if (a->part == NEUTRAL_TOOL_CALL)
		return neutral_broken(&a->base,
				      "a tool call with a foreign delta");
	e = text_at(a, type, &name);
	if (e == ERR_OK)
		neutral_note_dropped(&a->base, name);
	return e;
}

static enum err on_block_stop(struct anthropic_reader *a)
{
	if (a->phase != PHASE_BLOCK || !index_is_current(a))
		return neutral_broken(&a->base,
				      "a content_block_stop out of turn");
	a->phase = PHASE_BETWEEN;
	return stop_block(a);
}

static enum err on_message_delta(struct anthropic_reader *a)
{
	json_ref delta = json_get(&a->doc, JSON_ROOT, "delta");
	enum err e;

	if (a->phase != PHASE_BETWEEN && a->phase != PHASE_TAIL)
		return neutral_broken(&a->base, "a message_delta out of turn");
	e = emit_usage(a, json_get(&a->doc, JSON_ROOT, "usage"));
	if (e != ERR_OK ||
	    neutral_is_absent(&a->doc, json_get(&a->doc, delta, "stop_reason")))
		return e;
	a->phase = PHASE_TAIL;
	return take_reason(a, delta);
}

static enum err on_message_stop(struct anthropic_reader *a)
{
	if (a->phase != PHASE_TAIL)
		return neutral_broken(&a->base,
				      "a message_stop without a stop reason");
	return emit_stop(a);
}

static const struct {
	const char *type;
	enum err (*handle)(struct anthropic_reader *a);
} event_table[] = {
	{"content_block_delta", on_block_delta},
	{"content_block_start", on_block_start},
	{"content_block_stop", on_block_stop},
	{"message_start", on_message_start},
	{"message_delta", on_message_delta},
	{"message_stop", on_message_stop},
	{"error", emit_error},
};

static enum err parse_event(struct anthropic_reader *a, struct span json,
			    json_ref *ret_type)
{
	const struct json_limits limits = {
		.max_bytes = SSE_EVENT_MAX_BYTES,
		.max_tokens = EVENT_TOKENS_MAX,
		.allow_nul = true,
	};
	enum err e = json_parse(&a->doc, json, &limits);

	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return neutral_broken(&a->base,
				      "an event that is not valid JSON");
	*ret_type = json_get(&a->doc, JSON_ROOT, "type");
	if (!json_is(&a->doc, *ret_type, JSON_STRING))
		return neutral_broken(&a->base, "an event without a type");
	return ERR_OK;
}

static enum err dispatch(struct anthropic_reader *a, json_ref type)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(event_table); i++)
		if (json_string_is(&a->doc, type, event_table[i].type))
			return event_table[i].handle(a);
	return ERR_OK;
}

static enum err on_sse(struct anthropic_reader *a, const struct sse_event *ev)
{
	char name[64];
	json_ref type = JSON_NONE;
	enum err e;

	if (a->base.stopped)
		return ERR_OK;
	if (!ev->has_data)
		return ev->has_name ? neutral_broken(&a->base,
						     "an event without data")
				    : ERR_OK;
	e = parse_event(a, ev->data, &type);
	if (e != ERR_OK)
		return e;
	if (ev->has_name &&
	    (span_copy_text(ev->name, name, sizeof(name)) != ERR_OK ||
	     !json_string_is(&a->doc, type, name)))
		return neutral_broken(&a->base,
				      "an event whose name is not its type");
	return dispatch(a, type);
}

static enum err reader_feed(struct neutral_reader *r, struct span in)
{
	struct anthropic_reader *a = (struct anthropic_reader *)r;
	struct sse_event ev;
	enum err e = ERR_OK;

	if (!a->streamed) {
		e = buf_put_span(&a->body, in);
		if (e == ERR_LIMIT)
			r->error_text = "a reply over the size limit";
		return e;
	}
	while (e == ERR_OK) {
		e = sse_next(&a->sse, &in, &ev);
		if (e == ERR_OK)
			e = on_sse(a, &ev);
	}
	if (e == ERR_AGAIN)
		return ERR_OK;
	if (e == ERR_LIMIT && !r->error_text)
		r->error_text = "an event over the size limit";
	return e;
}

static enum err read_message(struct anthropic_reader *a)
{
	const struct json *j = &a->doc;
	json_ref content = json_get(j, JSON_ROOT, "content");
	enum err e;

	if (!json_string_is(j, json_get(j, JSON_ROOT, "type"), "message") ||
	    !json_is(j, content, JSON_ARRAY))
		return neutral_broken(&a->base, "a reply that is no message");
	e = emit_start(a, JSON_ROOT);
	JSON_EACH (j, block, content) {
		if (e == ERR_OK)
			e = start_block(a, block);
		if (e == ERR_OK)
			e = stop_block(a);
	}
	if (e == ERR_OK)
		e = emit_usage(a, json_get(j, JSON_ROOT, "usage"));
	if (e == ERR_OK)
		e = take_reason(a, JSON_ROOT);
	return e == ERR_OK ? emit_stop(a) : e;
}

static enum err end_body(struct anthropic_reader *a)
{
	const struct json_limits limits = {.max_tokens = BODY_TOKENS_MAX,
					   .allow_nul = true};
	enum err e = json_parse(&a->doc, buf_span(&a->body), &limits);

	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return neutral_broken(&a->base, "a reply that is not valid "
						"JSON");
	if (json_string_is(&a->doc, json_get(&a->doc, JSON_ROOT, "type"),
			   "error"))
		return emit_error(a);
	return read_message(a);
}

static enum err reader_end(struct neutral_reader *r)
{
	struct anthropic_reader *a = (struct anthropic_reader *)r;

	if (!a->streamed)
		return end_body(a);
	if (r->stopped && sse_is_between_events(&a->sse))
		return ERR_OK;
	r->error_text = "the provider's stream ended before its message_stop";
	return ERR_SHORT;
}

static void reader_free(struct neutral_reader *r)
{
	struct anthropic_reader *a = (struct anthropic_reader *)r;

	sse_fini(&a->sse);
	buf_fini(&a->body);
	buf_fini(&a->text);
	buf_fini(&a->sequence);
	json_fini(&a->doc);
	free(a);
}

static const struct neutral_reader_ops reader_ops = {
	.feed = reader_feed,
	.end = reader_end,
	.free = reader_free,
};

/**
 * anthropic_reader_new() - Start reading a response
 * @streamed:	text/event-stream, else application/json
 * @emit:	Called for each event
 * @context:	For @emit
 *
 * Return: owned by the caller, for its free(); NULL without memory.
 */
struct neutral_reader *anthropic_reader_new(bool streamed, neutral_emit *emit,
					    void *context)
{
	struct anthropic_reader *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->base.ops = &reader_ops;
	a->base.emit = emit;
	a->base.context = context;
	a->streamed = streamed;
	sse_init(&a->sse, SSE_EVENT_MAX_BYTES);
	buf_init(&a->body, BODY_MAX_BYTES);
	buf_init(&a->text, BODY_MAX_BYTES);
	buf_init(&a->sequence, 65536);
	json_init(&a->doc);
	return &a->base;
}
