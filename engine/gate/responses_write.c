/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_write.c - a response of any dialect, for a Responses client
 *
 * Runs in: kenaz-gate.
 * Trusts:  the order of events that neutral.h promises.
 * Never:   says that a response is complete before STOP.
 *
 * OpenAI Responses. Every block becomes one output item: text and refusals
 * messages, thinking a reasoning item with a summary, calls function_call
 * items. A stream repeats each item whole at its end, and all of them in the
 * last event, so both are kept as they are written. Calls of tools that the
 * client declared with free text or in a namespace become what the client
 * expects; their names have notes (see responses_request_read.c).
 */
#include "engine/gate/responses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "engine/gate/neutral_tools.h"

#define ITEM_ID_MAX_BYTES 160u
#define TEXT_MAX_BYTES    RESPONSE_MAX_BYTES

struct writer {
	struct neutral_writer base;
	bool streamed, custom;
	char id[160]; /* of the response */
	uint64_t created_at_s, sequence;
	struct neutral_names *names;
	struct buf model;
	struct neutral_usage usage;
	struct buf output; /* finished items, joined by commas */
	uint32_t index;    /* of the open item, or the next */
	/* the open item */
	enum neutral_part_kind part;
	enum dialect signer;
	bool part_open; /* a reasoning item's summary was begun */
	struct buf text, signature;
	struct buf call_id, name, name_space;
};

static const char *prefix_of(const struct writer *x)
{
	switch (x->part) {
	case NEUTRAL_THINKING:
	case NEUTRAL_REDACTED:
		return "rs";
	case NEUTRAL_TOOL_CALL:
		return x->custom ? "ctc" : "fc";
	case NEUTRAL_TEXT:
	case NEUTRAL_REFUSAL:
	case NEUTRAL_IMAGE:
	case NEUTRAL_DOCUMENT:
	case NEUTRAL_TOOL_RESULT:
		break;
	}
	return "msg";
}

static void item_id(const struct writer *x, char ret_id[ITEM_ID_MAX_BYTES])
{
	(void)snprintf(ret_id, ITEM_ID_MAX_BYTES, "%s_%s_%u", prefix_of(x),
		       x->id + 5, x->index);
}

/* One event: its members, without type and number, are in @data. */
static enum err put_event(struct writer *x, const char *type, struct buf *data,
			  struct buf *out)
{
	enum err e = buf_printf(out, "event: %s\ndata: {\"type\":\"%s\",", type,
				type);

	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(data));
	if (e == ERR_OK)
		e = buf_printf(out, ",\"sequence_number\":%llu}\n\n",
			       (unsigned long long)x->sequence++);
	buf_reset(data);
	return e;
}

static enum err put_string(struct buf *b, struct span text)
{
	struct jsonw w;

	jsonw_init(&w, b);
	jsonw_text(&w, text);
	return jsonw_finish(&w);
}

static enum err put_response(struct writer *x,
			     const struct responses_head *more, struct buf *out)
{
	struct responses_head h = *more;

	h.id = span_text(x->id);
	h.model = buf_span(&x->model);
	h.created_at_s = x->created_at_s;
	return responses_put_response(out, &h);
}

static enum err put_response_event(struct writer *x, const char *type,
				   const struct responses_head *h,
				   struct buf *out)
{
	struct buf data;
	enum err e;

	buf_init(&data, TEXT_MAX_BYTES);
	e = buf_put_text(&data, "\"response\":");
	if (e == ERR_OK)
		e = put_response(x, h, &data);
	if (e == ERR_OK)
		e = put_event(x, type, &data, out);
	buf_fini(&data);
	return e;
}

static enum err on_start(struct writer *x, const struct neutral_event *ev,
			 struct buf *out)
{
	const struct responses_head h = {.status = "in_progress"};
	size_t i, len;
	enum err e = ERR_OK;

	/* Item ids are made from it: nothing but a plain name will do. */
	(void)snprintf(x->id, sizeof(x->id), "resp_");
	len = 5;
	for (i = 0; i < ev->id.len_bytes && len < 128; i++) {
		uint8_t c = ev->id.data[i];

		if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
		    (c >= 'A' && c <= 'Z') || c == '_' || c == '-')
			x->id[len++] = (char)c;
	}
	x->id[len] = '\0';
	if (!x->model.len_bytes)
		e = buf_put_span(&x->model, ev->model);
	if (e != ERR_OK || !x->streamed)
		return e;
	e = put_response_event(x, "response.created", &h, out);
	return e == ERR_OK
		       ? put_response_event(x, "response.in_progress", &h, out)
		       : e;
}

/* The open item as it is now; whole is at its end. */
static void put_item(struct writer *x, struct jsonw *w, bool whole)
{
	bool refusal = x->part == NEUTRAL_REFUSAL;
	char id[ITEM_ID_MAX_BYTES];

	item_id(x, id);
	jsonw_begin_object(w);
	jsonw_put_cstr(w, "id", id);
	switch (x->part) {
	case NEUTRAL_TOOL_CALL:
		jsonw_put_cstr(w, "type",
			       x->custom ? "custom_tool_call"
					 : "function_call");
		jsonw_put_cstr(w, "status",
			       whole ? "completed" : "in_progress");
		jsonw_put_text(w, "call_id", buf_span(&x->call_id));
		jsonw_put_text(w, "name", buf_span(&x->name));
		if (x->name_space.len_bytes)
			jsonw_put_text(w, "namespace",
				       buf_span(&x->name_space));
		jsonw_put_text(w, x->custom ? "input" : "arguments",
			       whole ? buf_span(&x->text) : span_text(""));
		break;
	case NEUTRAL_THINKING:
	case NEUTRAL_REDACTED:
		jsonw_put_cstr(w, "type", "reasoning");
		jsonw_key(w, "summary");
		jsonw_begin_array(w);
		if (whole && x->part_open) {
			jsonw_begin_object(w);
			jsonw_put_cstr(w, "type", "summary_text");
			jsonw_put_text(w, "text", buf_span(&x->text));
			jsonw_end_object(w);
		}
		jsonw_end_array(w);
		if (whole && x->signature.len_bytes)
			jsonw_put_text(w, "encrypted_content",
				       buf_span(&x->signature));
		break;
	case NEUTRAL_TEXT:
	case NEUTRAL_REFUSAL:
	case NEUTRAL_IMAGE:
	case NEUTRAL_DOCUMENT:
	case NEUTRAL_TOOL_RESULT:
		jsonw_put_cstr(w, "type", "message");
		jsonw_put_cstr(w, "status",
			       whole ? "completed" : "in_progress");
		jsonw_put_cstr(w, "role", "assistant");
		jsonw_key(w, "content");
		jsonw_begin_array(w);
		if (whole) {
			jsonw_begin_object(w);
			jsonw_put_cstr(w, "type",
				       refusal ? "refusal" : "output_text");
			if (!refusal) {
				jsonw_key(w, "annotations");
				jsonw_begin_array(w);
				jsonw_end_array(w);
			}
			jsonw_put_text(w, refusal ? "refusal" : "text",
				       buf_span(&x->text));
			jsonw_end_object(w);
		}
		jsonw_end_array(w);
		break;
	}
	jsonw_end_object(w);
}

static enum err put_item_event(struct writer *x, bool whole, struct buf *out)
{
	struct jsonw w;
	struct buf data;
	enum err e;

	buf_init(&data, TEXT_MAX_BYTES);
	e = buf_printf(&data, "\"output_index\":%u,\"item\":", x->index);
	jsonw_init(&w, &data);
	put_item(x, &w, whole);
	if (e == ERR_OK)
		e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = put_event(x,
			      whole ? "response.output_item.done"
				    : "response.output_item.added",
			      &data, out);
	buf_fini(&data);
	return e;
}

/* How a kind of block streams its text. */
struct manner {
	const char *index; /* of the part in the item; NULL: there is none */
	const char *part_added, *part_done;
	const char *part; /* the part's type and text, up to the text */
	const char *delta, *done;
	const char *text; /* the whole text's key in `done` */
	const char *extra;
};

static const struct manner *manner_of(const struct writer *x)
{
	static const struct manner text = {
		"content_index",
		"response.content_part.added",
		"response.content_part.done",
		"{\"type\":\"output_text\",\"annotations\":[],\"text\":",
		"response.output_text.delta",
		"response.output_text.done",
		"text",
		",\"logprobs\":[]",
	};
	static const struct manner refusal = {
		"content_index",
		"response.content_part.added",
		"response.content_part.done",
		"{\"type\":\"refusal\",\"refusal\":",
		"response.refusal.delta",
		"response.refusal.done",
		"refusal",
		"",
	};
	static const struct manner thinking = {
		"summary_index",
		"response.reasoning_summary_part.added",
		"response.reasoning_summary_part.done",
		"{\"type\":\"summary_text\",\"text\":",
		"response.reasoning_summary_text.delta",
		"response.reasoning_summary_text.done",
		"text",
		"",
	};
	static const struct manner function = {
		.delta = "response.function_call_arguments.delta",
		.done = "response.function_call_arguments.done",
		.text = "arguments",
		.extra = "",
	};
	static const struct manner custom = {
		.delta = "response.custom_tool_call_input.delta",
		.done = "response.custom_tool_call_input.done",
		.text = "input",
		.extra = "",
	};

	if (x->part == NEUTRAL_TOOL_CALL)
		return x->custom ? &custom : &function;
	if (x->part == NEUTRAL_THINKING)
		return &thinking;
	return x->part == NEUTRAL_REFUSAL ? &refusal : &text;
}

/* An event about the open item's text. */
static enum err put_text_event(struct writer *x, const char *type,
			       const char *key, const char *before,
			       struct span text, const char *after,
			       struct buf *out)
{
	const struct manner *m = manner_of(x);
	char id[ITEM_ID_MAX_BYTES];
	struct buf data;
	enum err e;

	item_id(x, id);
	buf_init(&data, TEXT_MAX_BYTES);
	e = buf_printf(&data, "\"item_id\":\"%s\",\"output_index\":%u,", id,
		       x->index);
	if (e == ERR_OK && m->index)
		e = buf_printf(&data, "\"%s\":0,", m->index);
	if (e == ERR_OK)
		e = buf_printf(&data, "\"%s\":%s", key, before);
	if (e == ERR_OK)
		e = put_string(&data, text);
	if (e == ERR_OK)
		e = buf_put_text(&data, after);
	if (e == ERR_OK)
		e = put_event(x, type, &data, out);
	buf_fini(&data);
	return e;
}

static enum err begin_part(struct writer *x, struct buf *out)
{
	const struct manner *m = manner_of(x);

	x->part_open = true;
	if (!x->streamed || !m->part_added)
		return ERR_OK;
	return put_text_event(x, m->part_added, "part", m->part, span_text(""),
			      "}", out);
}

/* What the client calls the tool, and how. */
static enum err name_call(struct writer *x, const struct neutral_event *ev)
{
	struct span name = neutral_names_find(x->names, ev->name);
	struct span note = neutral_names_note(x->names, name), space;
	enum err e = ERR_OK;

	x->custom = note.len_bytes && note.data[0] == 'c';
	space = note.len_bytes ? span_of(note.data + 1, note.len_bytes - 1)
			       : span_text("");
	if (space.len_bytes) {
		struct span bare = space;

		e = buf_put_span(&x->name_space, space);
		while (bare.len_bytes && bare.data[bare.len_bytes - 1] == '_')
			bare.len_bytes--;
		if (name.len_bytes > bare.len_bytes + 2)
			name = span_of(name.data + bare.len_bytes + 2,
				       name.len_bytes - bare.len_bytes - 2);
	}
	if (e == ERR_OK)
		e = buf_put_span(&x->name, name);
	return e == ERR_OK ? buf_put_span(&x->call_id, ev->id) : e;
}

static enum err on_block_start(struct writer *x, const struct neutral_event *ev,
			       struct buf *out)
{
	enum err e = ERR_OK;

	x->part = ev->part;
	x->signer = ev->signer;
	x->part_open = x->custom = false;
	buf_reset(&x->text);
	buf_reset(&x->signature);
	buf_reset(&x->call_id);
	buf_reset(&x->name);
	buf_reset(&x->name_space);
	if (ev->part == NEUTRAL_TOOL_CALL)
		e = name_call(x, ev);
	if (e == ERR_OK && x->streamed)
		e = put_item_event(x, false, out);
	/* A thought may have no words; a message has a part in any case. */
	if (e == ERR_OK && ev->part != NEUTRAL_THINKING &&
	    ev->part != NEUTRAL_REDACTED)
		e = begin_part(x, out);
	return e;
}

static enum err on_block_text(struct writer *x, const struct neutral_event *ev,
			      struct buf *out)
{
	enum err e = ERR_OK;

	if (x->part == NEUTRAL_REDACTED || !ev->text.len_bytes)
		return ERR_OK;
	if (!x->part_open)
		e = begin_part(x, out);
	if (e == ERR_OK)
		e = buf_put_span(&x->text, ev->text);
	/* Free text is known once the arguments around it are whole. */
	if (e != ERR_OK || !x->streamed || x->custom)
		return e;
	return put_text_event(x, manner_of(x)->delta, "delta", "", ev->text,
			      manner_of(x)->extra, out);
}

static enum err on_signature(struct writer *x, const struct neutral_event *ev)
{
	if (ev->signer != DIALECT_NONE)
		x->signer = ev->signer;
	return buf_put_span(&x->signature, ev->text);
}

/* {"input": TEXT} becomes TEXT; whatever else the model said stays. */
static enum err unwrap_input(struct writer *x)
{
	struct buf text;
	struct json j;
	enum err e;

	json_init(&j);
	buf_init(&text, TEXT_MAX_BYTES);
	e = reply_check_arguments(&j, buf_span(&x->text));
	if (e == ERR_OK)
		e = json_string(&j, json_get(&j, JSON_ROOT, "input"), &text);
	if (e == ERR_OK) {
		buf_reset(&x->text);
		e = buf_put_span(&x->text, buf_span(&text));
	} else if (e != ERR_MEMORY) {
		e = ERR_OK;
	}
	buf_fini(&text);
	json_fini(&j);
	return e;
}

static enum err seal_signature(struct writer *x)
{
	struct buf sealed;
	enum err e;

	if (!x->signature.len_bytes)
		return ERR_OK;
	buf_init(&sealed, TEXT_MAX_BYTES);
	e = responses_seal(x->signer, x->part == NEUTRAL_REDACTED,
			   buf_span(&x->signature), &sealed);
	buf_reset(&x->signature);
	if (e == ERR_OK)
		e = buf_put_span(&x->signature, buf_span(&sealed));
	buf_fini(&sealed);
	return e == ERR_UNSUPPORTED ? ERR_OK : e;
}

static enum err end_text(struct writer *x, struct buf *out)
{
	const struct manner *m = manner_of(x);
	struct span text = buf_span(&x->text);
	enum err e = ERR_OK;

	if (x->custom)
		e = put_text_event(x, m->delta, "delta", "", text, "", out);
	if (e == ERR_OK)
		e = put_text_event(x, m->done, m->text, "", text, m->extra,
				   out);
	if (e == ERR_OK && m->part_done)
		e = put_text_event(x, m->part_done, "part", m->part, text, "}",
				   out);
	return e;
}

static enum err on_block_stop(struct writer *x, struct buf *out)
{
	struct jsonw w;
	enum err e = ERR_OK;

	if (x->part == NEUTRAL_TOOL_CALL && !x->text.len_bytes)
		e = buf_put_text(&x->text, "{}");
	if (e == ERR_OK && x->custom)
		e = unwrap_input(x);
	if (e == ERR_OK)
		e = seal_signature(x);
	if (e == ERR_OK && x->streamed && x->part_open)
		e = end_text(x, out);
	if (e == ERR_OK && x->streamed)
		e = put_item_event(x, true, out);
	if (e == ERR_OK && x->output.len_bytes)
		e = buf_put_u8(&x->output, ',');
	if (e != ERR_OK)
		return e;
	jsonw_init(&w, &x->output);
	put_item(x, &w, true);
	x->index++;
	return jsonw_finish(&w);
}

static enum err on_stop(struct writer *x, const struct neutral_event *ev,
			struct buf *out)
{
	struct responses_head h = {
		.status = "completed",
		.output = buf_span(&x->output),
		.usage = &x->usage,
	};

	if (ev->stop == NEUTRAL_STOP_LENGTH ||
	    ev->stop == NEUTRAL_STOP_CONTEXT || ev->stop == NEUTRAL_STOP_OTHER)
		h.incomplete = "max_output_tokens";
	else if (ev->stop == NEUTRAL_STOP_REFUSAL)
		h.incomplete = "content_filter";
	if (h.incomplete)
		h.status = "incomplete";
	if (!x->streamed)
		return put_response(x, &h, out);
	return put_response_event(x,
				  h.incomplete ? "response.incomplete"
					       : "response.completed",
				  &h, out);
}

static enum err on_error(struct writer *x, const struct neutral_event *ev,
			 struct buf *out)
{
	const struct responses_head h = {
		.status = "failed",
		.error_code = responses_error_code(ev->error),
		.error_text = ev->text,
		.output = buf_span(&x->output),
		.usage = &x->usage,
	};
	unsigned status;

	if (!x->streamed)
		return responses_put_error(out,
					   responses_error_name(ev->error,
								&status),
					   ev->text);
	return put_response_event(x, "response.failed", &h, out);
}

static enum err writer_put(struct neutral_writer *w,
			   const struct neutral_event *ev, struct buf *out)
{
	struct writer *x = (struct writer *)w;

	switch (ev->kind) {
	case NEUTRAL_START:
		return on_start(x, ev, out);
	case NEUTRAL_BLOCK_START:
		return on_block_start(x, ev, out);
	case NEUTRAL_BLOCK_TEXT:
		return on_block_text(x, ev, out);
	case NEUTRAL_BLOCK_SIGNATURE:
		return on_signature(x, ev);
	case NEUTRAL_BLOCK_STOP:
		return on_block_stop(x, out);
	case NEUTRAL_USAGE:
		x->usage = ev->usage;
		return ERR_OK;
	case NEUTRAL_STOP:
		return on_stop(x, ev, out);
	case NEUTRAL_ERROR:
		return on_error(x, ev, out);
	}
	return ERR_STATE;
}

static enum err writer_ping(struct neutral_writer *w, struct buf *out)
{
	const struct writer *x = (const struct writer *)w;

	return x->streamed ? buf_put_text(out, ": keep-alive\n\n") : ERR_OK;
}

static void writer_free(struct neutral_writer *w)
{
	struct writer *x = (struct writer *)w;

	neutral_names_free(x->names);
	buf_fini(&x->model);
	buf_fini(&x->output);
	buf_fini(&x->text);
	buf_fini(&x->signature);
	buf_fini(&x->call_id);
	buf_fini(&x->name);
	buf_fini(&x->name_space);
	free(x);
}

static const struct neutral_writer_ops writer_ops = {
	.put = writer_put,
	.ping = writer_ping,
	.free = writer_free,
};

/**
 * responses_writer_new() - Start writing a response
 * @a:	What is known of the request; copied
 *
 * Return: owned by the caller; NULL without memory.
 */
struct neutral_writer *responses_writer_new(const struct neutral_answer *a)
{
	struct writer *x = calloc(1, sizeof(*x));
	time_t now = time(NULL);

	if (!x)
		return NULL;
	x->base.ops = &writer_ops;
	x->streamed = a->stream;
	x->created_at_s = now > 0 ? (uint64_t)now : 0;
	x->names = neutral_names_copy(a->names);
	(void)snprintf(x->id, sizeof(x->id), "resp_kenaz");
	buf_init(&x->model, MODEL_MAX_BYTES);
	buf_init(&x->output, TEXT_MAX_BYTES);
	buf_init(&x->text, TEXT_MAX_BYTES);
	buf_init(&x->signature, TEXT_MAX_BYTES);
	buf_init(&x->call_id, CALL_ID_MAX_BYTES);
	buf_init(&x->name, TOOL_NAME_MAX_BYTES);
	buf_init(&x->name_space, TOOL_NAME_MAX_BYTES);
	if (buf_put_span(&x->model, a->model) != ERR_OK) {
		writer_free(&x->base);
		return NULL;
	}
	return &x->base;
}
