/* SPDX-License-Identifier: Apache-2.0 */
/*
 * converse_stream.c - a streamed Converse reply on its way to the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on a byte that completes a call before its verdict, or a
 *	    messageStop before release; changes a frame unless policy does.
 *
 * Amazon Bedrock Runtime, API of 2023-09-30:
 *
 *	messageStart, then blocks one after the other (contentBlockStart, which
 *	only calls have for sure, contentBlockDelta..., contentBlockStop),
 *	messageStop with the stop reason, metadata with the usage. Unknown
 *	events anywhere. An exception or error ends it.
 *
 * Theory of operation. Every frame is judged whole and handed on as the bytes
 * it came in. The frames of a call are kept in `held` until its verdict; what
 * follows messageStop is kept until release. Stricter than the clients: block
 * numbers only rise, nothing comes inside a call, and its arguments must be
 * one strict JSON object, because a call that two parsers read differently
 * cannot be judged. Such a call is replaced as a denied one is.
 */
#include "engine/gate/converse.h"

#include <stdlib.h>

#include "engine/base/text.h"
#include "engine/gate/bedrock_error.h"

#define FRAMES_KEPT_BYTES (TOOL_HELD_MAX_BYTES + EVENTSTREAM_FRAME_MAX_BYTES)

enum phase {
	PHASE_START,   /* before messageStart */
	PHASE_BLOCKS,  /* blocks come */
	PHASE_STOPPED, /* messageStop came */
};

struct stream {
	struct reply base;
	enum phase phase;
	struct eventstream frames;
	struct json event, call_json;
	bool in_block, holding; /* holding: the open block is a call */
	uint64_t index;         /* of the open block */
	uint64_t least;         /* number that the next one may have */
	struct buf held, arguments, terminal, words;
	char call_id[CALL_ID_MAX_BYTES + 1];
	char call_name[TOOL_NAME_MAX_BYTES + 1];
};

typedef enum err frame_handler(struct stream *s,
			       const struct eventstream_frame *f,
			       struct buf *out);

static enum err broken(struct stream *s, const char *why)
{
	s->base.error_text = why;
	return ERR_FORMAT;
}

/* Where frames that need no verdict of their own go now. */
static enum err pass(struct stream *s, struct span raw, struct buf *out)
{
	if (s->phase == PHASE_STOPPED)
		return buf_put_span(&s->terminal, raw);
	return buf_put_span(s->holding ? &s->held : out, raw);
}

static json_ref member(const struct stream *s, const char *path)
{
	return json_find(&s->event, JSON_ROOT, path);
}

static enum err on_message_start(struct stream *s,
				 const struct eventstream_frame *f,
				 struct buf *out)
{
	if (s->phase != PHASE_START)
		return broken(s, "a second messageStart");
	s->phase = PHASE_BLOCKS;
	return pass(s, f->raw, out);
}

/* The frame's block becomes the open one; numbers only rise. */
static enum err enter_block(struct stream *s)
{
	uint64_t index;

	if (s->phase != PHASE_BLOCKS)
		return broken(s, "a content block out of turn");
	if (json_uint(&s->event, member(s, "contentBlockIndex"), 0, UINT32_MAX,
		      &index) != ERR_OK)
		return broken(s, "a content block without a number");
	if (s->in_block && index == s->index)
		return ERR_OK;
	if (s->holding)
		return broken(s, "a content block inside a tool call");
	if (index < s->least)
		return broken(s, "a content block with the wrong number");
	s->in_block = true;
	s->index = index;
	s->least = index + 1;
	return ERR_OK;
}

static enum err begin_call(struct stream *s)
{
	const struct json *j = &s->event;

	if (json_text(j, member(s, "start.toolUse.toolUseId"), s->call_id,
		      sizeof(s->call_id)) != ERR_OK ||
	    json_text(j, member(s, "start.toolUse.name"), s->call_name,
		      sizeof(s->call_name)) != ERR_OK ||
	    s->call_name[0] == '\0')
		return broken(s, "a tool call without a proper id and name");
	buf_reset(&s->held);
	buf_reset(&s->arguments);
	s->holding = true;
	return ERR_OK;
}

static enum err on_block_start(struct stream *s,
			       const struct eventstream_frame *f,
			       struct buf *out)
{
	uint64_t least = s->least;
	enum err e = enter_block(s);

	if (e != ERR_OK)
		return e;
	/* Nothing was entered: the block had begun. */
	if (s->least == least)
		return broken(s, "a content block that starts twice");
	if (member(s, "start.toolUse") != JSON_NONE)
		e = begin_call(s);
	return e == ERR_OK ? pass(s, f->raw, out) : e;
}

static enum err on_block_delta(struct stream *s,
			       const struct eventstream_frame *f,
			       struct buf *out)
{
	json_ref call = member(s, "delta.toolUse");
	json_ref input = json_get(&s->event, call, "input");
	enum err e = enter_block(s);

	s->base.said = true;
	if (e != ERR_OK)
		return e;
	if (!s->holding && call != JSON_NONE)
		return broken(s, "a tool call's input without its start");
	if (!s->holding)
		return pass(s, f->raw, out);
	if (json_count(&s->event, member(s, "delta")) != 1 ||
	    !json_is(&s->event, input, JSON_STRING))
		return broken(s, "a tool call with a foreign delta");
	e = json_string(&s->event, input, &s->arguments);
	if (e == ERR_LIMIT)
		s->base.error_text = "a tool call with too long arguments";
	return e == ERR_OK ? pass(s, f->raw, out) : e;
}

static enum err put_denied_block(struct stream *s,
				 const struct reply_verdict *v, struct buf *out)
{
	struct buf data, text;
	struct jsonw w;
	enum err e;

	buf_init(&data, 65536);
	buf_init(&text, 16384);
	e = reply_put_denial(&text, span_text(s->call_name), v);
	jsonw_init(&w, &data);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "contentBlockIndex", s->index);
	jsonw_key(&w, "delta");
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "text", buf_span(&text));
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	if (e == ERR_OK)
		e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = eventstream_put_event(out, "contentBlockDelta",
					  buf_span(&data));
	buf_reset(&data);
	if (e == ERR_OK)
		e = buf_printf(&data, "{\"contentBlockIndex\":%llu}",
			       (unsigned long long)s->index);
	if (e == ERR_OK)
		e = eventstream_put_event(out, "contentBlockStop",
					  buf_span(&data));
	buf_fini(&data);
	buf_fini(&text);
	return e;
}

static enum err settle_call(struct stream *s, const struct reply_verdict *v,
			    struct buf *out)
{
	enum err e;

	if (v->allow)
		e = buf_put_span(out, buf_span(&s->held));
	else
		e = put_denied_block(s, v, out);
	s->base.summary.calls++;
	if (!v->allow)
		s->base.summary.calls_denied++;
	buf_fini(&s->held);
	buf_fini(&s->arguments);
	s->holding = false;
	s->in_block = false;
	return e;
}

static enum err judge(struct stream *s, struct buf *out)
{
	static const char unreadable[] =
		"its arguments are not one valid JSON object";
	const struct reply_verdict deny = {.text = span_text(unreadable)};
	enum err e = ERR_OK;

	if (s->arguments.len_bytes == 0)
		e = buf_put_text(&s->arguments, "{}");
	if (e != ERR_OK)
		return e;
	e = reply_check_arguments(&s->call_json, buf_span(&s->arguments));
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return settle_call(s, &deny, out);
	s->base.call = (struct reply_call){
		.index = (uint32_t)s->index,
		.id = span_text(s->call_id),
		.name = span_text(s->call_name),
		.arguments = buf_span(&s->arguments),
	};
	s->base.state = REPLY_JUDGE;
	return ERR_OK;
}

static enum err on_block_stop(struct stream *s,
			      const struct eventstream_frame *f,
			      struct buf *out)
{
	enum err e = enter_block(s);

	s->base.said = true;
	if (e == ERR_OK)
		e = pass(s, f->raw, out);
	if (e != ERR_OK)
		return e;
	if (s->holding)
		return judge(s, out);
	s->in_block = false;
	return ERR_OK;
}

/* The frame with the stop reason of a finished turn in place of tool_use. */
static enum err put_finished_turn(struct stream *s,
				  const struct eventstream_frame *f,
				  json_ref reason)
{
	struct span old = json_raw(&s->event, reason);
	size_t at = json_offset(&s->event, reason);
	size_t end = at + old.len_bytes;
	struct buf payload;
	enum err e;

	buf_init(&payload, EVENTSTREAM_FRAME_MAX_BYTES);
	e = buf_put(&payload, f->payload.data, at);
	if (e == ERR_OK)
		e = buf_put_text(&payload, "\"end_turn\"");
	if (e == ERR_OK)
		e = buf_put(&payload, f->payload.data + end,
			    f->payload.len_bytes - end);
	if (e == ERR_OK)
		e = eventstream_put_event(&s->terminal, "messageStop",
					  buf_span(&payload));
	buf_fini(&payload);
	return e;
}

static enum err on_message_stop(struct stream *s,
				const struct eventstream_frame *f,
				struct buf *out)
{
	struct reply_summary *sum = &s->base.summary;
	json_ref reason = member(s, "stopReason");

	if (s->phase != PHASE_BLOCKS || s->holding)
		return broken(s, "a messageStop out of turn");
	if (json_text(&s->event, reason, sum->stop_reason,
		      sizeof(sum->stop_reason)) != ERR_OK)
		return broken(s, "a messageStop without a reason");
	s->phase = PHASE_STOPPED;
	if (!json_string_is(&s->event, reason, "tool_use") || !sum->calls ||
	    sum->calls != sum->calls_denied)
		return pass(s, f->raw, out);
	(void)!span_copy_text(span_text("end_turn"), sum->stop_reason,
			      sizeof(sum->stop_reason));
	return put_finished_turn(s, f, reason);
}

static enum err on_metadata(struct stream *s, const struct eventstream_frame *f,
			    struct buf *out)
{
	converse_note_usage(&s->event, member(s, "usage"), &s->base.summary);
	return pass(s, f->raw, out);
}

static const struct {
	const char *type;
	frame_handler *handle;
} frame_table[] = {
	{"contentBlockDelta", on_block_delta},
	{"contentBlockStart", on_block_start},
	{"contentBlockStop", on_block_stop},
	{"messageStart", on_message_start},
	{"messageStop", on_message_stop},
	{"metadata", on_metadata},
};

static enum err on_failure(struct stream *s, const struct eventstream_frame *f)
{
	struct bedrock_failure failure;
	enum err e;

	e = bedrock_read_failure(f, &s->event, &s->words, &failure);
	if (e != ERR_OK)
		return e;
	bedrock_note_failure(&failure, s->base.upstream_error,
			     sizeof(s->base.upstream_error));
	(void)bedrock_error_name(failure.error, &s->base.error_status);
	buf_fini(&s->words);
	s->holding = false;
	buf_reset(&s->terminal);
	e = buf_put_span(&s->terminal, f->raw);
	if (e == ERR_OK) {
		s->base.error_text = "the provider reported an error";
		s->base.state = REPLY_FAILED;
	}
	return e;
}

static enum err on_frame(struct stream *s, const struct eventstream_frame *f,
			 struct buf *out)
{
	const struct json_limits limits = {
		.max_bytes = EVENTSTREAM_FRAME_MAX_BYTES,
		.max_tokens = CONVERSE_FRAME_TOKENS,
		.allow_nul = true,
	};
	enum err e;
	size_t i;

	if (f->message_type.len_bytes == 0)
		return broken(s, "a frame without a message type");
	if (!span_is(f->message_type, "event"))
		return on_failure(s, f);
	for (i = 0; i < ARRAY_SIZE(frame_table); i++)
		if (span_is(f->event_type, frame_table[i].type))
			break;
	if (i == ARRAY_SIZE(frame_table))
		return pass(s, f->raw, out);
	e = json_parse(&s->event, f->payload, &limits);
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK || !json_is(&s->event, JSON_ROOT, JSON_OBJECT))
		return broken(s, "an event that is not valid JSON");
	return frame_table[i].handle(s, f, out);
}

static enum err stream_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct stream *s = (struct stream *)r;
	struct eventstream_frame f;
	enum err e = ERR_OK;

	while (e == ERR_OK && r->state == REPLY_OPEN) {
		e = eventstream_next(&s->frames, in, &f);
		if (s->frames.error_text)
			r->error_text = s->frames.error_text;
		if (e == ERR_OK)
			e = on_frame(s, &f, out);
	}
	r->held_bytes = s->held.cap_bytes + s->arguments.cap_bytes +
			s->frames.raw.cap_bytes + s->terminal.cap_bytes;
	if (e == ERR_LIMIT && !r->error_text)
		r->error_text = "a response part over the size limit";
	return e == ERR_AGAIN ? ERR_OK : e;
}

static enum err stream_end(struct reply *r, struct buf *out)
{
	struct stream *s = (struct stream *)r;

	(void)out;
	if (s->phase != PHASE_STOPPED ||
	    !eventstream_is_between_frames(&s->frames)) {
		r->error_text = "the provider's stream ended before its "
				"messageStop";
		return ERR_SHORT;
	}
	r->state = REPLY_DONE;
	return ERR_OK;
}

static enum err stream_verdict(struct reply *r, const struct reply_verdict *v,
			       struct buf *out)
{
	r->state = REPLY_OPEN;
	return settle_call((struct stream *)r, v, out);
}

static enum err stream_release(struct reply *r, struct buf *out)
{
	struct stream *s = (struct stream *)r;
	enum err e = buf_put_span(out, buf_span(&s->terminal));

	buf_fini(&s->terminal);
	return e;
}

static enum err stream_fail(struct reply *r, const char *type, struct span text)
{
	struct stream *s = (struct stream *)r;

	buf_fini(&s->held);
	buf_reset(&s->terminal);
	s->holding = false;
	return bedrock_put_exception(&s->terminal, type, text);
}

static void stream_free(struct reply *r)
{
	struct stream *s = (struct stream *)r;

	eventstream_fini(&s->frames);
	json_fini(&s->event);
	json_fini(&s->call_json);
	buf_fini(&s->held);
	buf_fini(&s->arguments);
	buf_fini(&s->terminal);
	buf_fini(&s->words);
	free(s);
}

static enum err stream_ping(struct reply *r, struct buf *out)
{
	(void)r;
	return eventstream_put_ping(out);
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
 * converse_stream_new() - Start reading a response in AWS's frames
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *converse_stream_new(void)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->base.ops = &stream_ops;
	eventstream_init(&s->frames, EVENTSTREAM_FRAME_MAX_BYTES);
	json_init(&s->event);
	json_init(&s->call_json);
	buf_init(&s->held, FRAMES_KEPT_BYTES);
	buf_init(&s->arguments, TOOL_ARGUMENTS_MAX_BYTES);
	buf_init(&s->terminal, 1u << 20);
	buf_init(&s->words, 65536);
	return &s->base;
}
