/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_read.c - a Responses provider's response in no dialect
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   takes a response for complete that does not say so; adds usage up.
 *
 * OpenAI Responses. Items become blocks: a message's parts texts and refusals,
 * a reasoning item thinking with its summary, or redacted thinking without
 * one, function_call items calls. What the provider did by itself
 * (web_search_call and so on) has no neutral form and is noted as dropped.
 *
 * Items that overlap are given one after the other: while one is open, others
 * are given whole from their output_item.done. What the stream left out is
 * taken from the response in the last event, which repeats everything.
 */
#include "engine/gate/responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/gate/neutral_tools.h"
#include "engine/gate/sse.h"

#define ITEMS_MAX       4096u /* of one response */
#define LATER_MAX_BYTES (16u << 20)
#define ERROR_MAX_BYTES 65536u

struct reader_state {
	struct neutral_reader base;
	bool streamed, started, ended, called;
	struct sse sse;
	struct json doc;
	struct buf bytes; /* of a plain response; else a scratch text */
	struct buf later; /* raw items that wait for the open one, each lp */
	struct neutral_usage usage;
	uint8_t given[ITEMS_MAX / 8]; /* items by output_index */
	/* the open item */
	bool item_open;
	uint32_t item;
	enum neutral_part_kind part;
	bool block_open;
	uint64_t piece;     /* index of the part that comes in */
	size_t block_bytes; /* text of the open block so far */
	uint32_t blocks;    /* of the open item so far */
};

static enum err broken(struct reader_state *x, const char *why)
{
	return neutral_broken(&x->base, why);
}

static enum err emit(struct reader_state *x, struct neutral_event ev)
{
	return x->base.emit(x->base.context, &ev);
}

static json_ref member(const struct reader_state *x, const char *path)
{
	return json_find(&x->doc, JSON_ROOT, path);
}

static struct span name_of(const struct json *j, json_ref at, char *text,
			   size_t cap)
{
	if (json_text(j, at, text, cap) != ERR_OK)
		text[0] = '\0';
	return span_text(text);
}

static enum err start(struct reader_state *x, const struct json *j,
		      json_ref response)
{
	char id[129], model[MODEL_MAX_BYTES + 1];

	if (x->started)
		return ERR_OK;
	x->started = true;
	return emit(x,
		    (struct neutral_event){
			    .kind = NEUTRAL_START,
			    .id = name_of(j, json_get(j, response, "id"), id,
					  sizeof(id)),
			    .model = name_of(j, json_get(j, response, "model"),
					     model, sizeof(model)),
		    });
}

static enum err begin_block(struct reader_state *x, enum neutral_part_kind part,
			    struct span id, struct span name)
{
	enum err e = start(x, &x->doc, JSON_NONE);

	x->block_open = true;
	x->part = part;
	x->block_bytes = 0;
	x->blocks++;
	if (e != ERR_OK)
		return e;
	return emit(x, (struct neutral_event){
			       .kind = NEUTRAL_BLOCK_START,
			       .part = part,
			       .id = id,
			       .name = name,
			       .signer = DIALECT_RESPONSES,
		       });
}

static enum err put_text(struct reader_state *x, struct span text)
{
	x->block_bytes += text.len_bytes;
	if (!text.len_bytes)
		return ERR_OK;
	return emit(x, (struct neutral_event){.kind = NEUTRAL_BLOCK_TEXT,
					      .part = x->part,
					      .text = text});
}

static enum err end_block(struct reader_state *x)
{
	if (!x->block_open)
		return ERR_OK;
	x->block_open = false;
	return emit(x, (struct neutral_event){.kind = NEUTRAL_BLOCK_STOP,
					      .part = x->part});
}

/* A string of the document as text of the open block. */
static enum err put_string(struct reader_state *x, const struct json *j,
			   json_ref at)
{
	struct buf text;
	enum err e;

	if (neutral_is_absent(j, at))
		return ERR_OK;
	buf_init(&text, BODY_MAX_BYTES);
	e = json_string(j, at, &text);
	if (e == ERR_OK)
		e = put_text(x, buf_span(&text));
	buf_fini(&text);
	return e == ERR_FORMAT ? broken(x, "a text that is no string") : e;
}

static enum err put_sealed(struct reader_state *x, const struct json *j,
			   json_ref item)
{
	json_ref at = json_get(j, item, "encrypted_content");
	struct buf text;
	enum err e;

	if (!json_is(j, at, JSON_STRING))
		return ERR_OK;
	buf_init(&text, BODY_MAX_BYTES);
	e = json_string(j, at, &text);
	if (e == ERR_OK && text.len_bytes && !x->block_open)
		e = begin_block(x, NEUTRAL_REDACTED, span_text(""),
				span_text(""));
	if (e == ERR_OK && text.len_bytes)
		e = emit(x, (struct neutral_event){
				    .kind = NEUTRAL_BLOCK_SIGNATURE,
				    .part = x->part,
				    .signer = DIALECT_RESPONSES,
				    .text = buf_span(&text),
			    });
	buf_fini(&text);
	return e;
}

/* Whole parts of a list, each as a block or a piece of one. */
static enum err give_parts(struct reader_state *x, const struct json *j,
			   json_ref list, enum neutral_part_kind kind)
{
	enum err e = ERR_OK;

	if (!json_is(j, list, JSON_ARRAY))
		return ERR_OK;
	JSON_EACH (j, part, list) {
		bool refusal =
			json_string_is(j, json_get(j, part, "type"), "refusal");
		json_ref at = json_get(j, part, refusal ? "refusal" : "text");

		/* Nothing said opens no block. */
		if (neutral_is_absent(j, at) ||
		    (json_is(j, at, JSON_STRING) &&
		     json_raw(j, at).len_bytes == 2))
			continue;
		if (kind == NEUTRAL_TEXT)
			e = end_block(x);
		if (e == ERR_OK && !x->block_open)
			e = begin_block(x, refusal ? NEUTRAL_REFUSAL : kind,
					span_text(""), span_text(""));
		else if (e == ERR_OK)
			e = put_text(x, span_text("\n\n"));
		if (e == ERR_OK)
			e = put_string(x, j, at);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static enum err begin_call(struct reader_state *x, const struct json *j,
			   json_ref item)
{
	struct responses_call c;
	enum err e;

	responses_call_init(&c);
	e = responses_call_name(j, item, &c);
	if (e == ERR_FORMAT)
		e = broken(x, "a tool call without a proper id and name");
	else if (e == ERR_OK && c.kind->shape != RESPONSES_ARGUMENTS &&
		 c.kind->shape != RESPONSES_INPUT)
		e = broken(x, "a tool call that cannot be translated");
	x->called = true;
	if (e == ERR_OK)
		e = begin_block(x, NEUTRAL_TOOL_CALL, span_text(c.id),
				span_text(c.name));
	responses_call_fini(&c);
	return e;
}

/* The arguments as an item says them, behind those that were streamed. */
static enum err give_arguments(struct reader_state *x, const struct json *j,
			       json_ref item)
{
	struct responses_call c;
	enum err e;

	responses_call_init(&c);
	e = responses_call_read(j, item, &c);
	if (e == ERR_OK && x->block_bytes == 0)
		e = put_text(x, buf_span(&c.judged));
	else if (e == ERR_OK && x->block_bytes != c.text.len_bytes)
		e = broken(x, "a tool call whose parts contradict each other");
	if (e == ERR_LIMIT)
		x->base.error_text = "a tool call with too long arguments";
	else if (e == ERR_FORMAT && !x->base.error_text)
		e = broken(x, "a tool call without a proper id and name");
	responses_call_fini(&c);
	return e;
}

static bool is_type(const struct json *j, json_ref item, const char *type)
{
	return json_string_is(j, json_get(j, item, "type"), type);
}

/* The rest of an item, or all of it when nothing was streamed. */
static enum err give_item(struct reader_state *x, const struct json *j,
			  json_ref item)
{
	char type[64];
	enum err e = ERR_OK;

	if (responses_kind_of(j, item)) {
		if (!x->block_open)
			e = begin_call(x, j, item);
		if (e == ERR_OK)
			e = give_arguments(x, j, item);
	} else if (is_type(j, item, "message")) {
		if (!x->blocks)
			e = give_parts(x, j, json_get(j, item, "content"),
				       NEUTRAL_TEXT);
	} else if (is_type(j, item, "reasoning")) {
		if (!x->blocks)
			e = give_parts(x, j, json_get(j, item, "summary"),
				       NEUTRAL_THINKING);
		if (e == ERR_OK && !x->blocks)
			e = give_parts(x, j, json_get(j, item, "content"),
				       NEUTRAL_THINKING);
		if (e == ERR_OK)
			e = put_sealed(x, j, item);
	} else {
		neutral_note_dropped(&x->base,
				     name_of(j, json_get(j, item, "type"), type,
					     sizeof(type)));
	}
	return e == ERR_OK ? end_block(x) : e;
}

static bool was_given(struct reader_state *x, uint64_t index, bool set)
{
	uint8_t bit = (uint8_t)(1u << (index & 7));
	bool was;

	if (index >= ITEMS_MAX)
		return false;
	was = x->given[index / 8] & bit;
	if (set)
		x->given[index / 8] |= bit;
	return was;
}

/* Items that were complete while another was open. */
static enum err give_later(struct reader_state *x)
{
	const struct json_limits limits = {.max_tokens =
						   RESPONSES_EVENT_TOKENS_MAX,
					   .allow_nul = true};
	struct reader r;
	struct json doc;
	enum err e = ERR_OK;

	reader_init(&r, buf_span(&x->later));
	json_init(&doc);
	while (e == ERR_OK && reader_left(&r)) {
		struct span raw = reader_get_lp(&r, SSE_EVENT_MAX_BYTES);

		x->blocks = 0;
		e = json_parse(&doc, raw, &limits);
		if (e == ERR_OK)
			e = give_item(x, &doc, JSON_ROOT);
	}
	json_fini(&doc);
	buf_fini(&x->later);
	return e;
}

static bool read_index(const struct reader_state *x, uint64_t *ret_index)
{
	return json_uint(&x->doc, member(x, "output_index"), 0, ITEMS_MAX - 1,
			 ret_index) == ERR_OK;
}

static enum err on_item_added(struct reader_state *x)
{
	json_ref item = member(x, "item");
	uint64_t index;

	if (!read_index(x, &index))
		return broken(x, "an output item without a proper index");
	/* What runs at the provider makes no block. */
	if (x->item_open || was_given(x, index, false) ||
	    (!responses_kind_of(&x->doc, item) &&
	     !is_type(&x->doc, item, "message") &&
	     !is_type(&x->doc, item, "reasoning")))
		return ERR_OK;
	x->item_open = true;
	x->item = (uint32_t)index;
	x->blocks = 0;
	if (responses_kind_of(&x->doc, item))
		return begin_call(x, &x->doc, item);
	return ERR_OK;
}

static enum err on_item_done(struct reader_state *x)
{
	json_ref item = member(x, "item");
	uint64_t index;
	enum err e;

	if (!read_index(x, &index))
		return broken(x, "an output item without a proper index");
	if (was_given(x, index, true))
		return broken(x, "an output item that ends twice");
	if (x->item_open && x->item != index) {
		e = buf_put_lp(&x->later, json_raw(&x->doc, item));
		if (e == ERR_LIMIT)
			x->base.error_text = "too many open output items";
		return e;
	}
	if (!x->item_open)
		x->blocks = 0;
	if (x->item_open && x->block_open && x->part == NEUTRAL_TOOL_CALL &&
	    !responses_kind_of(&x->doc, item))
		return broken(x, "an output item that changed its type");
	e = give_item(x, &x->doc, item);
	x->item_open = false;
	return e == ERR_OK ? give_later(x) : e;
}

static enum err on_piece(struct reader_state *x, enum neutral_part_kind kind,
			 const char *index_key)
{
	json_ref delta = member(x, "delta");
	uint64_t index, piece = 0;
	enum err e = ERR_OK;

	/* Others are given whole when they are done. */
	if (!x->item_open || !read_index(x, &index) || index != x->item)
		return ERR_OK;
	if (kind == NEUTRAL_TOOL_CALL) {
		if (!x->block_open || x->part != kind)
			return broken(x, "a foreign part of a tool call");
		return put_string(x, &x->doc, delta);
	}
	if (x->block_open && x->part == NEUTRAL_TOOL_CALL)
		return broken(x, "a foreign part of a tool call");
	if (!json_is(&x->doc, delta, JSON_STRING) ||
	    json_raw(&x->doc, delta).len_bytes == 2)
		return ERR_OK;
	if (index_key)
		(void)!json_uint(&x->doc, member(x, index_key), 0, UINT32_MAX,
				 &piece);
	if (x->block_open && (x->part != kind ||
			      (piece != x->piece && kind != NEUTRAL_THINKING)))
		e = end_block(x);
	if (e == ERR_OK && !x->block_open)
		e = begin_block(x, kind, span_text(""), span_text(""));
	else if (e == ERR_OK && piece != x->piece)
		e = put_text(x, span_text("\n\n"));
	x->piece = piece;
	return e == ERR_OK ? put_string(x, &x->doc, delta) : e;
}

static const struct {
	const char *type;
	enum neutral_part_kind part;
	const char *index_key;
} piece_table[] = {
	{"response.output_text.delta", NEUTRAL_TEXT, "content_index"},
	{"response.refusal.delta", NEUTRAL_REFUSAL, "content_index"},
	{"response.reasoning_summary_text.delta", NEUTRAL_THINKING,
	 "summary_index"},
	{"response.reasoning_text.delta", NEUTRAL_THINKING, "content_index"},
	{"response.function_call_arguments.delta", NEUTRAL_TOOL_CALL, NULL},
};

static enum err give_usage(struct reader_state *x, const struct json *j,
			   json_ref response)
{
	responses_read_usage(j, response, &x->usage);
	if (!x->usage.input_known && !x->usage.output_known)
		return ERR_OK;
	return emit(x, (struct neutral_event){.kind = NEUTRAL_USAGE,
					      .usage = x->usage});
}

static enum err give_error(struct reader_state *x, const struct json *j,
			   json_ref error)
{
	char code[64];
	json_ref at = json_is(j, error, JSON_STRING)
			      ? error
			      : json_get(j, error, "message");
	struct buf text;
	enum err e;

	buf_init(&text, ERROR_MAX_BYTES);
	(void)!json_string(j, at, &text);
	neutral_note_error(&x->base,
			   name_of(j, json_get(j, error, "code"), code,
				   sizeof(code)),
			   buf_span(&text));
	x->base.stopped = true;
	e = emit(x, (struct neutral_event){
			    .kind = NEUTRAL_ERROR,
			    .error = responses_error_class(j, error, 0),
			    .text = buf_span(&text),
		    });
	buf_fini(&text);
	return e;
}

static enum err give_stop(struct reader_state *x, const struct json *j,
			  json_ref response)
{
	json_ref at = json_find(j, response, "incomplete_details.reason");
	char reason[65];
	struct neutral_event ev = {
		.kind = NEUTRAL_STOP,
		.stop = x->called ? NEUTRAL_STOP_TOOL : NEUTRAL_STOP_END,
	};

	if (responses_status(j, response) != RESPONSES_INCOMPLETE)
		at = json_get(j, response, "status");
	else if (json_string_is(j, at, "content_filter"))
		ev.stop = NEUTRAL_STOP_REFUSAL;
	else if (neutral_is_absent(j, at) ||
		 json_string_is(j, at, "max_output_tokens") ||
		 json_string_is(j, at, "max_tokens"))
		ev.stop = NEUTRAL_STOP_LENGTH;
	else
		ev.stop = NEUTRAL_STOP_OTHER;
	ev.reason = name_of(j, at, reason, sizeof(reason));
	x->base.stopped = true;
	return emit(x, ev);
}

/* A response that is at its end: what was not given yet, usage and stop. */
static enum err finish(struct reader_state *x, const struct json *j,
		       json_ref response)
{
	json_ref output = json_get(j, response, "output"), error;
	enum responses_end end = responses_status(j, response);
	uint64_t i = 0;
	enum err e = start(x, j, response);

	/* A failure may come at any time. */
	if (x->item_open && end != RESPONSES_FAILED)
		return broken(x, "the response ended inside an item");
	if (end == RESPONSES_FAILED) {
		if (e == ERR_OK)
			e = give_usage(x, j, response);
		if (!responses_error_at(j, response, &error))
			error = JSON_NONE;
		return e == ERR_OK ? give_error(x, j, error) : e;
	}
	if (json_is(j, output, JSON_ARRAY))
		JSON_EACH (j, item, output) {
			x->blocks = 0;
			if (e == ERR_OK && !was_given(x, i, true))
				e = give_item(x, j, item);
			i++;
			if (e != ERR_OK)
				return e;
		}
	if (e == ERR_OK)
		e = give_usage(x, j, response);
	return e == ERR_OK ? give_stop(x, j, response) : e;
}

static enum err on_terminal(struct reader_state *x, const char *type)
{
	json_ref response = member(x, "response");
	enum responses_end end;

	if (!json_is(&x->doc, response, JSON_OBJECT))
		return broken(x, "a last event without its response");
	end = responses_status(&x->doc, response);
	if ((strcmp(type, "response.failed") == 0) != (end == RESPONSES_FAILED))
		return broken(x, "a last event that contradicts its response");
	return finish(x, &x->doc, response);
}

static enum err dispatch(struct reader_state *x, const char *type)
{
	static const char *const terminals[] = {"response.completed",
						"response.incomplete",
						"response.failed"};
	json_ref error;
	size_t i;

	if (strcmp(type, "error") == 0) {
		(void)responses_error_at(&x->doc, JSON_ROOT, &error);
		return give_error(x, &x->doc, error);
	}
	if (strcmp(type, "response.created") == 0 ||
	    strcmp(type, "response.in_progress") == 0)
		return start(x, &x->doc, member(x, "response"));
	if (strcmp(type, "response.output_item.added") == 0)
		return on_item_added(x);
	if (strcmp(type, "response.output_item.done") == 0)
		return on_item_done(x);
	for (i = 0; i < ARRAY_SIZE(piece_table); i++)
		if (strcmp(type, piece_table[i].type) == 0)
			return on_piece(x, piece_table[i].part,
					piece_table[i].index_key);
	for (i = 0; i < ARRAY_SIZE(terminals); i++)
		if (strcmp(type, terminals[i]) == 0)
			return on_terminal(x, type);
	return ERR_OK;
}

static enum err on_event(struct reader_state *x, const struct sse_event *ev)
{
	const struct json_limits limits = {
		.max_bytes = SSE_EVENT_MAX_BYTES,
		.max_tokens = RESPONSES_EVENT_TOKENS_MAX,
		.allow_nul = true,
	};
	char type[96];
	enum err e;

	if (!ev->has_data)
		return ERR_OK;
	if (span_is(ev->data, "[DONE]"))
		return x->base.stopped
			       ? ERR_OK
			       : broken(x, "[DONE] before the response's end");
	e = json_parse(&x->doc, ev->data, &limits);
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return broken(x, "an event that is not valid JSON");
	if (json_text(&x->doc, member(x, "type"), type, sizeof(type)) !=
	    ERR_OK) {
		if (!json_is(&x->doc, member(x, "error"), JSON_OBJECT))
			return broken(x, "an event without a type");
		(void)snprintf(type, sizeof(type), "error");
	}
	if (x->base.stopped)
		return strncmp(type, "response.", 9) == 0 ||
				       strcmp(type, "error") == 0
			       ? broken(x, "an event behind the response's "
					   "end")
			       : ERR_OK;
	return dispatch(x, type);
}

static enum err reader_feed(struct neutral_reader *r, struct span in)
{
	struct reader_state *x = (struct reader_state *)r;
	struct sse_event ev;
	enum err e = ERR_OK;

	if (!x->streamed) {
		e = buf_put_span(&x->bytes, in);
		if (e == ERR_LIMIT)
			r->error_text = "a reply over the size limit";
		return e;
	}
	while (e == ERR_OK) {
		e = sse_next(&x->sse, &in, &ev);
		if (e == ERR_OK)
			e = on_event(x, &ev);
	}
	if (e == ERR_LIMIT && !r->error_text)
		r->error_text = "an event over the size limit";
	return e == ERR_AGAIN ? ERR_OK : e;
}

static enum err end_plain(struct reader_state *x)
{
	const struct json_limits limits = {.max_tokens =
						   RESPONSES_BODY_TOKENS_MAX,
					   .allow_nul = true};
	const struct json *j = &x->doc;
	json_ref error;
	enum err e = json_parse(&x->doc, buf_span(&x->bytes), &limits);

	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return broken(x, "a reply that is not valid JSON");
	if (!json_is(j, JSON_ROOT, JSON_OBJECT))
		return broken(x, "a reply that is no JSON object");
	if (!json_is(j, json_get(j, JSON_ROOT, "output"), JSON_ARRAY)) {
		if (!responses_error_at(j, JSON_ROOT, &error))
			return broken(x, "a response without its output");
		e = start(x, j, JSON_NONE);
		return e == ERR_OK ? give_error(x, j, error) : e;
	}
	if (responses_status(j, JSON_ROOT) == RESPONSES_OPEN)
		return broken(x, "a response that is not at its end");
	return finish(x, j, JSON_ROOT);
}

static enum err reader_end(struct neutral_reader *r)
{
	struct reader_state *x = (struct reader_state *)r;

	if (!x->streamed)
		return end_plain(x);
	if (r->stopped && sse_is_between_events(&x->sse))
		return ERR_OK;
	r->error_text = "the provider's stream ended before its last event";
	return ERR_SHORT;
}

static void reader_free(struct neutral_reader *r)
{
	struct reader_state *x = (struct reader_state *)r;

	sse_fini(&x->sse);
	json_fini(&x->doc);
	buf_fini(&x->bytes);
	buf_fini(&x->later);
	free(x);
}

static const struct neutral_reader_ops reader_ops = {
	.feed = reader_feed,
	.end = reader_end,
	.free = reader_free,
};

/**
 * responses_reader_new() - Start reading a response
 * @streamed:	text/event-stream rather than application/json
 * @emit_to:	Takes the events
 * @context:	For @emit_to
 *
 * Return: owned by the caller; NULL without memory.
 */
struct neutral_reader *
responses_reader_new(bool streamed, neutral_emit *emit_to, void *context)
{
	struct reader_state *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->base.ops = &reader_ops;
	x->base.emit = emit_to;
	x->base.context = context;
	x->streamed = streamed;
	sse_init(&x->sse, SSE_EVENT_MAX_BYTES);
	json_init(&x->doc);
	buf_init(&x->bytes, BODY_MAX_BYTES);
	buf_init(&x->later, LATER_MAX_BYTES);
	return &x->base;
}
