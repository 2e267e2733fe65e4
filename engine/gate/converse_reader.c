/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_reader.c - Converse responses as neutral events
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   takes a stream without its messageStop for a whole one, or an
 *	    exception for an event.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30, streamed and plain. As Bedrock
 * sends it: texts and reasoning have no contentBlockStart; a text may be
 * empty; a call's input may come in one piece; block numbers may have gaps;
 * metadata follows messageStop, so the stop waits for the end of the stream;
 * every payload has a member "p", which is padding.
 */
#include "engine/gate/converse.h"

#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/gate/bedrock_error.h"
#include "engine/gate/neutral_tools.h"

enum open_block { BLOCK_NONE, BLOCK_OPEN, BLOCK_LEFT_OUT };

struct converse_reader {
	struct neutral_reader base;
	struct eventstream frames;
	struct buf body; /* plain: all of it */
	struct json doc;
	struct buf text; /* of the event that is emitted */
	bool started, stopping;
	enum open_block block;
	enum neutral_part_kind part;
	uint64_t index, next_index; /* of the open block; the least allowed */
	enum neutral_stop stop;
	char reason[65];
};

typedef enum err frame_handler(struct converse_reader *r);

static enum err emit(struct converse_reader *r, struct neutral_event *ev)
{
	ev->signer = DIALECT_CONVERSE;
	return r->base.emit(r->base.context, ev);
}

static enum err emit_kind(struct converse_reader *r,
			  enum neutral_event_kind kind)
{
	return emit(r, &(struct neutral_event){.kind = kind, .part = r->part});
}

/* A string of the document, decoded into r->text. */
static enum err get_text(struct converse_reader *r, json_ref at)
{
	enum err e;

	buf_reset(&r->text);
	e = json_string(&r->doc, at, &r->text);
	if (e == ERR_OK || e == ERR_MEMORY)
		return e;
	r->base.error_text = e == ERR_LIMIT ? "a text over the size limit"
					    : "a text that is no string";
	return e == ERR_LIMIT ? e : ERR_FORMAT;
}

static enum err emit_text(struct converse_reader *r,
			  enum neutral_event_kind kind, struct span text)
{
	return emit(r, &(struct neutral_event){.kind = kind,
					       .part = r->part,
					       .text = text});
}

static enum err start(struct converse_reader *r)
{
	if (r->started)
		return neutral_broken(&r->base, "a second messageStart");
	r->started = true;
	return emit_kind(r, NEUTRAL_START);
}

static enum err close_block(struct converse_reader *r)
{
	enum open_block was = r->block;

	r->block = BLOCK_NONE;
	return was == BLOCK_OPEN ? emit_kind(r, NEUTRAL_BLOCK_STOP) : ERR_OK;
}

/* Makes sure that a block of this kind is open. */
static enum err open_block(struct converse_reader *r,
			   enum neutral_part_kind part)
{
	enum err e;

	if (r->block == BLOCK_OPEN && r->part == part)
		return ERR_OK;
	if (r->block == BLOCK_OPEN && r->part == NEUTRAL_TOOL_CALL)
		return neutral_broken(&r->base,
				      "a tool call with a foreign delta");
	e = close_block(r);
	r->part = part;
	r->block = BLOCK_OPEN;
	return e == ERR_OK ? emit_kind(r, NEUTRAL_BLOCK_START) : e;
}

/* The start of a call; its id and name are strings of the document. */
static enum err open_call(struct converse_reader *r, json_ref call)
{
	char id[CALL_ID_MAX_BYTES + 1], name[TOOL_NAME_MAX_BYTES + 1];
	const struct json *j = &r->doc;
	enum err e;

	if (json_text(j, json_get(j, call, "toolUseId"), id, sizeof(id)) !=
		    ERR_OK ||
	    json_text(j, json_get(j, call, "name"), name, sizeof(name)) !=
		    ERR_OK ||
	    name[0] == '\0')
		return neutral_broken(&r->base,
				      "a tool call without a proper id and "
				      "name");
	e = close_block(r);
	r->part = NEUTRAL_TOOL_CALL;
	r->block = BLOCK_OPEN;
	if (e != ERR_OK)
		return e;
	return emit(r, &(struct neutral_event){.kind = NEUTRAL_BLOCK_START,
					       .part = r->part,
					       .id = span_text(id),
					       .name = span_text(name)});
}

static enum err leave_out(struct converse_reader *r, json_ref member)
{
	enum err e = close_block(r);

	buf_reset(&r->text);
	if (e == ERR_OK && json_key(&r->doc, member, &r->text) == ERR_OK)
		neutral_note_dropped(&r->base, buf_span(&r->text));
	r->block = BLOCK_LEFT_OUT;
	return e;
}

static enum err take_text(struct converse_reader *r,
			  enum neutral_part_kind part, json_ref at)
{
	enum err e = get_text(r, at);

	/* No block is opened for nothing. */
	if (e != ERR_OK || !r->text.len_bytes)
		return e;
	e = open_block(r, part);
	return e == ERR_OK
		       ? emit_text(r, NEUTRAL_BLOCK_TEXT, buf_span(&r->text))
		       : e;
}

static enum err take_signature(struct converse_reader *r, json_ref at)
{
	enum err e = get_text(r, at);

	if (e != ERR_OK || !r->text.len_bytes)
		return e;
	e = open_block(r, NEUTRAL_THINKING);
	return e == ERR_OK ? emit_text(r, NEUTRAL_BLOCK_SIGNATURE,
				       buf_span(&r->text))
			   : e;
}

static enum err take_redacted(struct converse_reader *r, json_ref at)
{
	struct buf data;
	enum err e = get_text(r, at);

	if (e != ERR_OK)
		return e;
	buf_init(&data, CONVERSE_TEXT_MAX_BYTES);
	e = converse_get_redacted(buf_span(&r->text), &data);
	if (e == ERR_FORMAT)
		r->base.error_text = "reasoning that is not base64";
	if (e == ERR_OK)
		e = open_block(r, NEUTRAL_REDACTED);
	if (e == ERR_OK)
		e = emit_text(r, NEUTRAL_BLOCK_SIGNATURE, buf_span(&data));
	buf_fini(&data);
	return e;
}

/* A streamed delta of reasoning, or all of it. */
static enum err take_reasoning(struct converse_reader *r, json_ref reasoning)
{
	const struct json *j = &r->doc;
	json_ref whole = json_get(j, reasoning, "reasoningText");
	json_ref redacted = json_get(j, reasoning, "redactedContent");
	json_ref text, signature;
	enum err e = ERR_OK;

	if (json_is(j, whole, JSON_OBJECT))
		reasoning = whole;
	text = json_get(j, reasoning, "text");
	signature = json_get(j, reasoning, "signature");
	if (redacted != JSON_NONE)
		return take_redacted(r, redacted);
	if (text != JSON_NONE)
		e = take_text(r, NEUTRAL_THINKING, text);
	if (e == ERR_OK && signature != JSON_NONE)
		e = take_signature(r, signature);
	return e;
}

/* --- frames ------------------------------------------------------------- */

static enum err check_order(struct converse_reader *r)
{
	if (!r->started)
		return neutral_broken(&r->base, "a block before messageStart");
	if (r->stopping)
		return neutral_broken(&r->base, "a block after messageStop");
	return ERR_OK;
}

/* Blocks come one after the other; their numbers may have gaps. */
static enum err enter_block(struct converse_reader *r)
{
	json_ref at = json_get(&r->doc, JSON_ROOT, "contentBlockIndex");
	uint64_t index;
	enum err e = check_order(r);

	if (e != ERR_OK)
		return e;
	if (json_uint(&r->doc, at, 0, UINT32_MAX, &index) != ERR_OK)
		return neutral_broken(&r->base, "a block without a number");
	if (r->block != BLOCK_NONE && index == r->index)
		return ERR_OK;
	if (index < r->next_index)
		return neutral_broken(&r->base,
				      "a block with the wrong number");
	if (r->block == BLOCK_OPEN && r->part == NEUTRAL_TOOL_CALL)
		return neutral_broken(&r->base, "a block inside a tool call");
	e = close_block(r);
	r->index = index;
	r->next_index = index;
	return e;
}

static enum err on_block_start(struct converse_reader *r)
{
	json_ref begun = json_get(&r->doc, JSON_ROOT, "start");
	json_ref call = json_get(&r->doc, begun, "toolUse");
	bool open = r->block != BLOCK_NONE;
	enum err e = enter_block(r);

	if (e != ERR_OK)
		return e;
	if (open && r->block != BLOCK_NONE)
		return neutral_broken(&r->base, "a block started twice");
	if (call != JSON_NONE)
		return open_call(r, call);
	if (json_count(&r->doc, begun) == 0)
		return ERR_OK;
	return leave_out(r, json_first(&r->doc, begun));
}

static enum err on_block_delta(struct converse_reader *r)
{
	const struct json *j = &r->doc;
	json_ref delta = json_get(j, JSON_ROOT, "delta");
	json_ref first = json_first(j, delta);
	enum err e = enter_block(r);

	if (e != ERR_OK || r->block == BLOCK_LEFT_OUT)
		return e;
	if (json_count(j, delta) != 1)
		return neutral_broken(&r->base, "a delta of no known form");
	if (json_key_is(j, first, "text"))
		return take_text(r, NEUTRAL_TEXT, first);
	if (json_key_is(j, first, "reasoningContent"))
		return take_reasoning(r, first);
	if (!json_key_is(j, first, "toolUse")) {
		/* A citation, say, beside the text that it belongs to. */
		buf_reset(&r->text);
		if (json_key(j, first, &r->text) == ERR_OK)
			neutral_note_dropped(&r->base, buf_span(&r->text));
		return ERR_OK;
	}
	if (r->block != BLOCK_OPEN || r->part != NEUTRAL_TOOL_CALL)
		return neutral_broken(&r->base,
				      "a tool call's input without its start");
	e = get_text(r, json_get(j, first, "input"));
	if (e != ERR_OK || !r->text.len_bytes)
		return e;
	return emit_text(r, NEUTRAL_BLOCK_TEXT, buf_span(&r->text));
}

static enum err on_block_stop(struct converse_reader *r)
{
	enum err e = enter_block(r);

	r->next_index = r->index + 1;
	return e == ERR_OK ? close_block(r) : e;
}

static enum err fail(struct converse_reader *r, enum neutral_error error,
		     struct span name, struct span message)
{
	neutral_note_error(&r->base, name, message);
	r->base.stopped = true;
	return emit(r, &(struct neutral_event){.kind = NEUTRAL_ERROR,
					       .error = error,
					       .text = message});
}

static enum err read_stop(struct converse_reader *r)
{
	json_ref at = json_get(&r->doc, JSON_ROOT, "stopReason");
	struct span reason;

	if (json_text(&r->doc, at, r->reason, sizeof(r->reason)) != ERR_OK ||
	    !r->reason[0])
		return neutral_broken(&r->base, "a stop without a reason");
	reason = span_text(r->reason);
	r->stopping = true;
	r->stop = converse_stop_of(reason);
	if (strncmp(r->reason, "malformed_", 10) == 0)
		return fail(r, NEUTRAL_ERROR_API, reason,
			    span_text("the model's output was malformed"));
	return ERR_OK;
}

static enum err on_message_stop(struct converse_reader *r)
{
	enum err e = check_order(r);

	if (e == ERR_OK && r->block == BLOCK_OPEN &&
	    r->part == NEUTRAL_TOOL_CALL)
		return neutral_broken(&r->base,
				      "a messageStop inside a tool call");
	if (e == ERR_OK)
		e = close_block(r);
	return e == ERR_OK ? read_stop(r) : e;
}

static enum err emit_usage(struct converse_reader *r)
{
	json_ref usage = json_get(&r->doc, JSON_ROOT, "usage");
	struct neutral_event ev = {.kind = NEUTRAL_USAGE};

	if (!json_is(&r->doc, usage, JSON_OBJECT))
		return ERR_OK;
	converse_read_usage(&r->doc, usage, &ev.usage);
	return emit(r, &ev);
}

static const struct {
	const char *type;
	frame_handler *handle;
} frame_table[] = {
	{"contentBlockDelta", on_block_delta},
	{"contentBlockStart", on_block_start},
	{"contentBlockStop", on_block_stop},
	{"messageStart", start},
	{"messageStop", on_message_stop},
	{"metadata", emit_usage},
};

static const struct json_limits limits = {
	.max_bytes = EVENTSTREAM_FRAME_MAX_BYTES,
	.max_tokens = CONVERSE_FRAME_TOKENS,
	.allow_nul = true,
};

static enum err on_failure(struct converse_reader *r,
			   const struct eventstream_frame *f)
{
	struct bedrock_failure failure;
	enum err e;

	e = bedrock_read_failure(f, &r->doc, &r->text, &failure);
	if (e != ERR_OK)
		return e;
	return fail(r, failure.error, failure.name, failure.message);
}

static enum err on_frame(struct converse_reader *r,
			 const struct eventstream_frame *f)
{
	enum err e;
	size_t i;

	if (f->message_type.len_bytes == 0)
		return neutral_broken(&r->base,
				      "a frame without a message type");
	if (!span_is(f->message_type, "event"))
		return on_failure(r, f);
	for (i = 0; i < ARRAY_SIZE(frame_table); i++)
		if (span_is(f->event_type, frame_table[i].type))
			break;
	if (i == ARRAY_SIZE(frame_table)) {
		neutral_note_dropped(&r->base, f->event_type);
		return ERR_OK;
	}
	e = json_parse(&r->doc, f->payload, &limits);
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK || !json_is(&r->doc, JSON_ROOT, JSON_OBJECT))
		return neutral_broken(&r->base,
				      "an event that is not valid JSON");
	return frame_table[i].handle(r);
}

static enum err stream_feed(struct neutral_reader *base, struct span in)
{
	struct converse_reader *r = (struct converse_reader *)base;
	struct eventstream_frame f;
	enum err e = ERR_OK;

	while (e == ERR_OK && !base->stopped) {
		e = eventstream_next(&r->frames, &in, &f);
		if (r->frames.error_text)
			base->error_text = r->frames.error_text;
		if (e == ERR_OK)
			e = on_frame(r, &f);
	}
	/* Idle streams are many: keep no memory for them. */
	if (e == ERR_AGAIN && !r->frames.raw.len_bytes)
		buf_fini(&r->text);
	return e == ERR_AGAIN ? ERR_OK : e;
}

static enum err emit_stop(struct converse_reader *r)
{
	r->base.stopped = true;
	return emit(r, &(struct neutral_event){.kind = NEUTRAL_STOP,
					       .stop = r->stop,
					       .reason = span_text(r->reason)});
}

static enum err stream_end(struct neutral_reader *base)
{
	struct converse_reader *r = (struct converse_reader *)base;

	if (base->stopped)
		return ERR_OK;
	if (!r->stopping || !eventstream_is_between_frames(&r->frames)) {
		base->error_text = "the provider's stream ended before its "
				   "messageStop";
		return ERR_SHORT;
	}
	return emit_stop(r);
}

/* --- plain bodies ------------------------------------------------------- */

static enum err read_call(struct converse_reader *r, json_ref call)
{
	json_ref input = json_get(&r->doc, call, "input");
	enum err e = open_call(r, call);

	if (e != ERR_OK || input == JSON_NONE)
		return e;
	return emit_text(r, NEUTRAL_BLOCK_TEXT, json_raw(&r->doc, input));
}

static enum err read_cited(struct converse_reader *r, json_ref cited)
{
	enum err e = ERR_OK;

	neutral_note_dropped(&r->base, span_text("citation"));
	JSON_EACH (&r->doc, piece, json_get(&r->doc, cited, "content")) {
		json_ref text = json_get(&r->doc, piece, "text");

		if (e == ERR_OK && text != JSON_NONE)
			e = take_text(r, NEUTRAL_TEXT, text);
	}
	return e;
}

static enum err read_block(struct converse_reader *r, json_ref block)
{
	const struct json *j = &r->doc;
	json_ref first = json_first(j, block);
	enum err e;

	if (!json_is(j, block, JSON_OBJECT) || json_count(j, block) != 1)
		return neutral_broken(&r->base, "a block of no known form");
	if (json_key_is(j, first, "text"))
		e = take_text(r, NEUTRAL_TEXT, first);
	else if (json_key_is(j, first, "toolUse"))
		e = read_call(r, first);
	else if (json_key_is(j, first, "reasoningContent"))
		e = take_reasoning(r, first);
	else if (json_key_is(j, first, "citationsContent"))
		e = read_cited(r, first);
	else
		e = leave_out(r, first);
	return e == ERR_OK ? close_block(r) : e;
}

static enum err read_message(struct converse_reader *r)
{
	const struct json *j = &r->doc;
	json_ref content = json_find(j, JSON_ROOT, "output.message.content");
	enum err e;

	if (!json_is(j, content, JSON_ARRAY))
		return neutral_broken(&r->base, "a reply without a message");
	e = start(r);
	JSON_EACH (j, block, content) {
		if (e == ERR_OK)
			e = read_block(r, block);
	}
	if (e == ERR_OK)
		e = emit_usage(r);
	if (e == ERR_OK)
		e = read_stop(r);
	return e == ERR_OK && !r->base.stopped ? emit_stop(r) : e;
}

static enum err body_feed(struct neutral_reader *base, struct span in)
{
	struct converse_reader *r = (struct converse_reader *)base;
	enum err e = buf_put_span(&r->body, in);

	if (e == ERR_LIMIT)
		base->error_text = "a reply over the size limit";
	return e;
}

static enum err body_end(struct neutral_reader *base)
{
	const struct json_limits whole = {.max_tokens = 1u << 20,
					  .allow_nul = true};
	struct converse_reader *r = (struct converse_reader *)base;
	enum err e = json_parse(&r->doc, buf_span(&r->body), &whole);

	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK || !json_is(&r->doc, JSON_ROOT, JSON_OBJECT))
		return neutral_broken(base, "a reply that is not valid JSON");
	return read_message(r);
}

static void reader_free(struct neutral_reader *base)
{
	struct converse_reader *r = (struct converse_reader *)base;

	eventstream_fini(&r->frames);
	buf_fini(&r->body);
	buf_fini(&r->text);
	json_fini(&r->doc);
	free(r);
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
 * converse_reader_new() - Start reading a response
 * @streamed:	Frames come, not a plain body
 * @emitter:	Called with each event
 * @context:	For @emitter
 *
 * Return: owned by the caller, for its free; NULL without memory.
 */
struct neutral_reader *converse_reader_new(bool streamed, neutral_emit *emitter,
					   void *context)
{
	struct converse_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->base.ops = streamed ? &stream_ops : &body_ops;
	r->base.emit = emitter;
	r->base.context = context;
	eventstream_init(&r->frames, EVENTSTREAM_FRAME_MAX_BYTES);
	buf_init(&r->body, BODY_MAX_BYTES);
	buf_init(&r->text, CONVERSE_TEXT_MAX_BYTES);
	json_init(&r->doc);
	return &r->base;
}
