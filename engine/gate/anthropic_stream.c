/* SPDX-License-Identifier: Apache-2.0 */
/*
 * anthropic_stream.c - a streamed Anthropic reply on its way to the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on a byte that completes a call before its verdict, or a
 *	    message_stop before release; changes a byte unless policy does.
 *
 * Anthropic Messages streaming, version 2023-06-01:
 *
 *	message_start, then blocks one after the other (content_block_start,
 *	content_block_delta..., content_block_stop), message_delta with the
 *	stop reason, message_stop. ping and unknown types anywhere. error ends
 *	it.
 *
 * Theory of operation. Every event is judged whole and handed on as the bytes
 * it came in. The bytes of a tool_use block are kept in `held` until its
 * verdict. Stricter than the clients: the event's name must equal its type,
 * blocks are numbered 0, 1, 2..., and a call's arguments must be one strict
 * JSON object, because a call that two parsers read differently cannot be
 * judged. Such a call is replaced as a denied one is.
 */
#include "engine/gate/anthropic_reply.h"

#include <stdlib.h>
#include <string.h>

#include "engine/gate/lax.h"
#include "engine/gate/sse_clean.h"

#define EVENT_TOKENS_MAX 65536u

enum phase {
	PHASE_START,   /* before message_start */
	PHASE_BETWEEN, /* no block is open */
	PHASE_BLOCK,   /* a block is open */
	PHASE_TAIL,    /* the stop reason was given */
	PHASE_STOPPED, /* message_stop came */
};

struct stream {
	struct reply base;
	enum phase phase;
	struct sse sse;
	struct json event, call_json;
	struct anthropic_usage usage;
	uint32_t index;   /* of the open block, or of the next one */
	bool holding;     /* the open block is a call */
	bool input_whole; /* its arguments came with its start */
	struct buf held, arguments, terminal;
	char call_id[CALL_ID_MAX_BYTES + 1];
	char call_name[TOOL_NAME_MAX_BYTES + 1];
};

typedef enum err event_handler(struct stream *s, const struct sse_event *ev,
			       struct buf *out);

static enum err broken(struct stream *s, const char *why)
{
	s->base.error_text = why;
	return ERR_FORMAT;
}

/* Where bytes that need no verdict of their own go now. */
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

static bool index_is_current(const struct stream *s)
{
	uint64_t index;

	return json_uint(&s->event, member(s, "index"), 0, UINT32_MAX,
			 &index) == ERR_OK &&
	       index == s->index;
}

static enum err on_message_start(struct stream *s, const struct sse_event *ev,
				 struct buf *out)
{
	json_ref message = member(s, "message");

	if (s->phase != PHASE_START)
		return broken(s, "a second message_start");
	if (!json_is(&s->event, message, JSON_OBJECT) ||
	    json_count(&s->event, member(s, "message.content")) != 0)
		return broken(s, "message_start without an empty message");
	anthropic_read_message(&s->event, message, &s->base.summary);
	anthropic_read_usage(&s->event, member(s, "message.usage"), &s->usage,
			     &s->base.summary);
	s->phase = PHASE_BETWEEN;
	return pass(s, ev->raw, out);
}

static enum err begin_call(struct stream *s)
{
	json_ref input = member(s, "content_block.input");
	const struct json *j = &s->event;

	if (json_text(j, member(s, "content_block.id"), s->call_id,
		      sizeof(s->call_id)) != ERR_OK ||
	    json_text(j, member(s, "content_block.name"), s->call_name,
		      sizeof(s->call_name)) != ERR_OK ||
	    s->call_name[0] == '\0')
		return broken(s, "a tool call without a proper id and name");
	if (input != JSON_NONE && !json_is(j, input, JSON_OBJECT) &&
	    !json_is(j, input, JSON_NULL))
		return broken(s, "a tool call whose input is no object");
	buf_reset(&s->held);
	buf_reset(&s->arguments);
	s->holding = true;
	s->input_whole = json_count(j, input) > 0;
	return s->input_whole ? buf_put_span(&s->arguments, json_raw(j, input))
			      : ERR_OK;
}

static enum err on_block_start(struct stream *s, const struct sse_event *ev,
			       struct buf *out)
{
	json_ref type = member(s, "content_block.type");
	enum err e = ERR_OK;

	if (s->phase != PHASE_BETWEEN)
		return broken(s, "a content_block_start out of turn");
	if (!index_is_current(s))
		return broken(s, "a content block with the wrong index");
	if (!json_is(&s->event, type, JSON_STRING))
		return broken(s, "a content block without a type");
	s->phase = PHASE_BLOCK;
	if (json_string_is(&s->event, type, "tool_use"))
		e = begin_call(s);
	return e == ERR_OK ? pass(s, ev->raw, out) : e;
}

static enum err on_block_delta(struct stream *s, const struct sse_event *ev,
			       struct buf *out)
{
	json_ref part = member(s, "delta.partial_json");
	size_t before = s->arguments.len_bytes;
	enum err e;

	if (s->phase != PHASE_BLOCK || !index_is_current(s))
		return broken(s, "a content_block_delta out of turn");
	s->base.said = true;
	if (!s->holding)
		return pass(s, ev->raw, out);
	if (!json_string_is(&s->event, member(s, "delta.type"),
			    "input_json_delta") ||
	    !json_is(&s->event, part, JSON_STRING))
		return broken(s, "a tool call with a foreign delta");
	e = json_string(&s->event, part, &s->arguments);
	if (e == ERR_LIMIT)
		s->base.error_text = "a tool call with too long arguments";
	if (e != ERR_OK)
		return e;
	if (s->input_whole && s->arguments.len_bytes != before)
		return broken(s, "a tool call with two inputs");
	return pass(s, ev->raw, out);
}

static enum err put_event(struct buf *b, const char *name, struct span data)
{
	enum err e = buf_printf(b, "event: %s\ndata: ", name);

	if (e == ERR_OK)
		e = buf_put_span(b, data);
	return e == ERR_OK ? buf_put_text(b, "\n\n") : e;
}

static enum err put_denied_block(struct stream *s,
				 const struct reply_verdict *v, struct buf *out)
{
	struct buf data;
	enum err e;

	buf_init(&data, 65536);
	e = buf_printf(&data,
		       "{\"type\":\"content_block_start\",\"index\":%u,"
		       "\"content_block\":{\"type\":\"text\",\"text\":\"\"}}",
		       s->index);
	if (e == ERR_OK)
		e = put_event(out, "content_block_start", buf_span(&data));
	buf_reset(&data);
	if (e == ERR_OK)
		e = buf_printf(&data,
			       "{\"type\":\"content_block_delta\",\"index\":%u,"
			       "\"delta\":{\"type\":\"text_delta\",\"text\":",
			       s->index);
	if (e == ERR_OK)
		e = anthropic_put_text(&data, span_text(s->call_name), v);
	if (e == ERR_OK)
		e = buf_put_text(&data, "}}");
	if (e == ERR_OK)
		e = put_event(out, "content_block_delta", buf_span(&data));
	buf_reset(&data);
	if (e == ERR_OK)
		e = buf_printf(&data,
			       "{\"type\":\"content_block_stop\",\"index\":%u}",
			       s->index);
	if (e == ERR_OK)
		e = put_event(out, "content_block_stop", buf_span(&data));
	buf_fini(&data);
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
	json_fini(&s->call_json);
	s->holding = false;
	s->phase = PHASE_BETWEEN;
	s->index++;
	return e;
}

static enum err on_block_stop(struct stream *s, const struct sse_event *ev,
			      struct buf *out)
{
	static const char unreadable[] =
		"its arguments are not one valid JSON object";
	const struct reply_verdict deny = {.text = span_text(unreadable)};
	struct reply *r = &s->base;
	enum err e;

	if (s->phase != PHASE_BLOCK || !index_is_current(s))
		return broken(s, "a content_block_stop out of turn");
	s->base.said = true;
	e = pass(s, ev->raw, out);
	if (e != ERR_OK)
		return e;
	if (!s->holding) {
		s->phase = PHASE_BETWEEN;
		s->index++;
		return ERR_OK;
	}
	if (s->arguments.len_bytes == 0)
		e = buf_put_text(&s->arguments, "{}");
	if (e != ERR_OK)
		return e;
	e = reply_check_arguments(&s->call_json, buf_span(&s->arguments));
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return settle_call(s, &deny, out);
	r->call = (struct reply_call){
		.index = s->index,
		.id = span_text(s->call_id),
		.name = span_text(s->call_name),
		.arguments = buf_span(&s->arguments),
	};
	r->state = REPLY_JUDGE;
	return ERR_OK;
}

/* The event with the stop reason of a finished turn in place of tool_use. */
static enum err put_finished_turn(struct stream *s, const struct sse_event *ev,
				  json_ref reason, struct buf *out)
{
	struct span old = json_raw(&s->event, reason), whole = ev->data;
	size_t at = json_offset(&s->event, reason), i;
	const char *head = "event: message_delta\ndata: ";
	enum err e;

	if (ev->data_in_raw) {
		whole = ev->raw;
		at += ev->data_at_bytes;
		e = buf_put(out, whole.data, at);
	} else {
		e = buf_put_text(out, head);
		for (i = 0; e == ERR_OK && i < at; i++)
			e = buf_put_u8(out, whole.data[i] == '\n'
						    ? ' '
						    : whole.data[i]);
	}
	if (e == ERR_OK)
		e = buf_put_text(out, "\"end_turn\"");
	at += old.len_bytes;
	if (ev->data_in_raw)
		return e == ERR_OK ? buf_put(out, whole.data + at,
					     whole.len_bytes - at)
				   : e;
	for (; e == ERR_OK && at < whole.len_bytes; at++)
		e = buf_put_u8(out,
			       whole.data[at] == '\n' ? ' ' : whole.data[at]);
	return e == ERR_OK ? buf_put_text(out, "\n\n") : e;
}

static enum err on_message_delta(struct stream *s, const struct sse_event *ev,
				 struct buf *out)
{
	struct reply_summary *sum = &s->base.summary;
	json_ref reason = member(s, "delta.stop_reason");

	if (s->phase != PHASE_BETWEEN && s->phase != PHASE_TAIL)
		return broken(s, "a message_delta out of turn");
	anthropic_read_usage(&s->event, member(s, "usage"), &s->usage, sum);
	if (!json_is(&s->event, reason, JSON_STRING))
		return pass(s, ev->raw, out);
	s->phase = PHASE_TAIL;
	if (json_string_is(&s->event, reason, "tool_use") && sum->calls &&
	    sum->calls == sum->calls_denied) {
		(void)!span_copy_text(span_text("end_turn"), sum->stop_reason,
				      sizeof(sum->stop_reason));
		return put_finished_turn(s, ev, reason, out);
	}
	anthropic_read_message(&s->event, member(s, "delta"), sum);
	return pass(s, ev->raw, out);
}

static enum err on_message_stop(struct stream *s, const struct sse_event *ev,
				struct buf *out)
{
	if (s->phase != PHASE_TAIL)
		return broken(s, "a message_stop without a stop reason");
	s->phase = PHASE_STOPPED;
	return pass(s, ev->raw, out);
}

static enum err on_error(struct stream *s, const struct sse_event *ev,
			 struct buf *out)
{
	enum err e;

	(void)out;
	anthropic_read_error(&s->event, JSON_ROOT, &s->base);
	s->holding = false;
	buf_reset(&s->terminal);
	e = buf_put_span(&s->terminal, ev->raw);
	if (e == ERR_OK) {
		s->base.error_text = "the provider reported an error";
		s->base.state = REPLY_FAILED;
	}
	return e;
}

static enum err on_other(struct stream *s, const struct sse_event *ev,
			 struct buf *out)
{
	return pass(s, ev->raw, out);
}

static const struct {
	const char *type;
	event_handler *handle;
} event_table[] = {
	{"content_block_delta", on_block_delta},
	{"content_block_start", on_block_start},
	{"content_block_stop", on_block_stop},
	{"message_start", on_message_start},
	{"message_delta", on_message_delta},
	{"message_stop", on_message_stop},
	{"error", on_error},
};

static enum err on_event(struct stream *s, const struct sse_event *ev,
			 struct buf *out)
{
	const struct json_limits limits = {
		.max_bytes = SSE_EVENT_MAX_BYTES,
		.max_tokens = EVENT_TOKENS_MAX,
		.allow_nul = true,
	};
	json_ref type;
	char name[64];
	enum err e;
	size_t i;

	if (!ev->has_data)
		return ev->has_name ? broken(s, "an event without data")
				    : pass(s, ev->raw, out);
	e = json_parse(&s->event, ev->data, &limits);
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return broken(s, "an event that is not valid JSON");
	if (lax_find_key(&s->event))
		return broken(s, "a key that some readers take for another");
	type = member(s, "type");
	if (!json_is(&s->event, type, JSON_STRING))
		return broken(s, "an event without a type");
	if (ev->has_name &&
	    (span_copy_text(ev->name, name, sizeof(name)) != ERR_OK ||
	     !json_string_is(&s->event, type, name)))
		return broken(s, "an event whose name is not its type");
	for (i = 0; i < ARRAY_SIZE(event_table); i++)
		if (json_string_is(&s->event, type, event_table[i].type))
			return event_table[i].handle(s, ev, out);
	return on_other(s, ev, out);
}

static enum err stream_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct stream *s = (struct stream *)r;
	struct sse_event ev;
	enum err e = ERR_OK;

	while (e == ERR_OK && r->state == REPLY_OPEN) {
		e = sse_next_clean(&s->sse, in, &ev);
		if (e == ERR_AGAIN) {
			/* It may idle now: keep no memory for that. */
			json_fini(&s->event);
			e = ERR_OK;
			break;
		}
		if (e == ERR_OK)
			e = on_event(s, &ev, out);
	}
	r->held_bytes = s->held.cap_bytes + s->arguments.cap_bytes +
			s->sse.raw.cap_bytes + s->terminal.cap_bytes;
	if (e == ERR_LIMIT && !r->error_text)
		r->error_text = "an event over the size limit";
	return e;
}

static enum err stream_end(struct reply *r, struct buf *out)
{
	struct stream *s = (struct stream *)r;
	enum err e;

	(void)out;
	if (s->phase != PHASE_STOPPED || !sse_is_between_events(&s->sse)) {
		r->error_text = "the provider's stream ended before its "
				"message_stop";
		return ERR_SHORT;
	}
	e = buf_put_span(&s->terminal, sse_rest(&s->sse));
	if (e == ERR_OK)
		r->state = REPLY_DONE;
	return e;
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
	struct buf data;
	enum err e;

	buf_init(&data, 65536);
	buf_fini(&s->held);
	buf_reset(&s->terminal);
	s->holding = false;
	e = anthropic_put_error(&data, type, text);
	if (e == ERR_OK)
		e = put_event(&s->terminal, "error", buf_span(&data));
	buf_fini(&data);
	return e;
}

static enum err stream_ping(struct reply *r, struct buf *out)
{
	(void)r;
	return buf_put_text(out, "event: ping\ndata: {\"type\": \"ping\"}\n\n");
}

static void stream_free(struct reply *r)
{
	struct stream *s = (struct stream *)r;

	sse_fini(&s->sse);
	json_fini(&s->event);
	json_fini(&s->call_json);
	buf_fini(&s->held);
	buf_fini(&s->arguments);
	buf_fini(&s->terminal);
	free(s);
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
 * anthropic_stream_new() - Start reading a text/event-stream response
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *anthropic_stream_new(void)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->base.ops = &stream_ops;
	sse_init(&s->sse, SSE_EVENT_MAX_BYTES);
	json_init(&s->event);
	json_init(&s->call_json);
	buf_init(&s->held, TOOL_HELD_MAX_BYTES);
	buf_init(&s->arguments, TOOL_ARGUMENTS_MAX_BYTES);
	buf_init(&s->terminal, REPLY_TAIL_MAX_BYTES);
	return &s->base;
}
