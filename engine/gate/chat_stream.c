/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_stream.c - a streamed chat completion on its way to the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on a byte of a call before its verdict, or of the end before
 *	    release; changes a byte unless policy does, or unless clients could
 *	    read a call otherwise than it was judged.
 *
 * OpenAI chat completions, streamed: chunks with pieces of each choice's
 * message, a finish_reason per choice, perhaps a chunk with usage alone, and
 * [DONE]; comments anywhere; an object with the member error ends it.
 *
 * Theory of operation. Calls have no end of their own here: they are whole
 * with their choice's finish_reason, and their deltas may be mixed. So from
 * the first delta of a call on every event is held, until all calls seen are
 * judged; then the held events go on, as they came where every call is allowed
 * and numbered as clients expect, else with calls taken out or renumbered. The
 * events from the last choice's finish_reason on are kept in `terminal`.
 *
 * A missing [DONE] is added. Data that is blank is dropped, because clients
 * fail on it.
 */
#include "engine/gate/chat_stream.h"

#include <stdlib.h>
#include <string.h>

#include "engine/gate/chat.h"
#include "engine/gate/lax.h"
#include "engine/gate/sse_clean.h"

static enum err broken(struct chat_stream *s, const char *why)
{
	s->base.error_text = why;
	return ERR_FORMAT;
}

static bool is_set(const struct chat_stream *s, json_ref at)
{
	return at != JSON_NONE && !json_is(&s->event, at, JSON_NULL);
}

static enum err hold(struct chat_stream *s, const struct chat_event *ev,
		     uint32_t deltas)
{
	struct chat_held mark = {
		.at = s->held.len_bytes,
		.len = ev->raw.len_bytes,
		.data_at = s->held.len_bytes + ev->data_at,
		.data_len = ev->data.len_bytes,
		.has_data = ev->has_data,
		.in_raw = ev->in_raw,
		.deltas = deltas,
	};
	enum err e = buf_put_span(&s->held, ev->raw);

	if (e == ERR_OK && ev->has_data && !ev->in_raw) {
		mark.data_at = s->held.len_bytes;
		e = buf_put_span(&s->held, ev->data);
	}
	if (e == ERR_OK)
		e = buf_put(&s->marks, &mark, sizeof(mark));
	if (e == ERR_LIMIT)
		s->base.error_text = "tool calls over the size limit";
	return e;
}

/* Hands an event on: to the guest, to those held, or to the end. */
static enum err place(struct chat_stream *s, const struct chat_event *ev,
		      uint32_t deltas, struct buf *out)
{
	struct buf *to = s->tail ? &s->terminal : out;
	size_t none = 0;

	if (s->holding)
		return hold(s, ev, deltas);
	if (!s->rewriting)
		return buf_put_span(to, ev->raw);
	return chat_stream_rewrite(s, ev, &none, to);
}

static enum err flush(struct chat_stream *s, struct buf *out)
{
	size_t at, cursor = 0, n = 0;
	struct chat_held mark;
	enum err e = ERR_OK;

	for (at = 0; e == ERR_OK && at < s->marks.len_bytes;
	     at += sizeof(mark), n++) {
		const uint8_t *base = s->held.data;
		struct chat_event ev;
		struct buf *to;

		memcpy(&mark, s->marks.data + at, sizeof(mark));
		to = s->tail && n >= s->tail_at ? &s->terminal : out;
		ev = (struct chat_event){
			.raw = span_of(base + mark.at, mark.len),
			.data = span_of(base + mark.data_at, mark.data_len),
			.data_at = mark.data_at - mark.at,
			.has_data = mark.has_data,
			.in_raw = mark.in_raw,
		};
		if (s->rewriting)
			e = chat_stream_rewrite(s, &ev, &cursor, to);
		else
			e = buf_put_span(to, ev.raw);
	}
	s->holding = false;
	buf_fini(&s->held);
	buf_fini(&s->marks);
	buf_fini(&s->deltas);
	return e;
}

static enum err settle(struct chat_stream *s, struct chat_call *call,
		       const struct reply_verdict *v)
{
	struct reply_summary *sum = &s->base.summary;
	struct chat_choice *choice = &s->choices[call->choice];

	call->judged = true;
	call->denied = !v->allow;
	sum->calls++;
	choice->calls++;
	if (v->allow)
		return ERR_OK;
	sum->calls_denied++;
	choice->denied++;
	s->rewriting = true;
	/* The text that stands for it takes the place of its arguments. */
	buf_reset(&call->arguments);
	return reply_put_denial(&call->arguments, span_text(call->name), v);
}

/* A finished choice without a call that remains: the record agrees. */
static void note_finished_turn(struct chat_stream *s)
{
	struct reply_summary *sum = &s->base.summary;

	if (sum->calls && sum->calls == sum->calls_denied &&
	    (strcmp(sum->stop_reason, "tool_calls") == 0 ||
	     strcmp(sum->stop_reason, "function_call") == 0))
		(void)!span_copy_text(span_text("stop"), sum->stop_reason,
				      sizeof(sum->stop_reason));
}

/* Asks for the next verdict that is due; without one the held may go on. */
static enum err judge_next(struct chat_stream *s, struct buf *out)
{
	static const char unreadable[] =
		"its arguments are not one valid JSON object";
	const struct reply_verdict deny = {.text = span_text(unreadable)};
	bool waiting = false;
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < s->calls.count; i++) {
		struct chat_call *call = &s->calls.items[i];

		if (call->judged)
			continue;
		if (!s->choices[call->choice].finished) {
			waiting = true;
			continue;
		}
		e = chat_call_close(call, &s->call_json);
		if (e == ERR_MEMORY)
			return e;
		if (e != ERR_OK) {
			e = settle(s, call, &deny);
			continue;
		}
		s->judged = i;
		s->base.call = (struct reply_call){
			.index = i,
			.id = span_text(call->id),
			.name = span_text(call->name),
			.arguments = buf_span(&call->arguments),
		};
		s->base.state = REPLY_JUDGE;
		return ERR_OK;
	}
	note_finished_turn(s);
	return e == ERR_OK && s->holding && !waiting ? flush(s, out) : e;
}

static enum err note_delta(struct chat_stream *s,
			   const struct chat_delta *where)
{
	uint32_t mark =
		where->call | (where->first ? CHAT_DELTA_FIRST : (uint32_t)0);

	s->holding = true;
	s->rewriting |= !where->plain;
	return buf_put(&s->deltas, &mark, sizeof(mark));
}

static enum err read_calls(struct chat_stream *s, json_ref delta,
			   uint32_t number)
{
	const struct json *j = &s->event;
	json_ref calls = json_get(j, delta, "tool_calls");
	json_ref legacy = json_get(j, delta, "function_call");
	struct chat_delta where;
	enum err e = ERR_OK;

	if (is_set(s, calls) && !json_is(j, calls, JSON_ARRAY))
		return broken(s, "tool_calls that are no list");
	if ((json_count(j, calls) || is_set(s, legacy)) &&
	    s->choices[number].finished)
		return broken(s, "a tool call after the finish_reason");
	JSON_EACH (j, item, calls) {
		e = chat_calls_add(&s->calls, j, item, number, &where);
		if (e == ERR_OK)
			e = note_delta(s, &where);
		if (e != ERR_OK)
			break;
	}
	if (e == ERR_OK && is_set(s, legacy)) {
		e = chat_calls_add_legacy(&s->calls, j, legacy, number, &where);
		if (e == ERR_OK)
			e = note_delta(s, &where);
	}
	if (e != ERR_OK && !s->base.error_text)
		s->base.error_text = s->calls.error_text;
	return e;
}

static enum err read_reason(struct chat_stream *s, json_ref reason,
			    struct chat_choice *choice)
{
	struct reply_summary *sum = &s->base.summary;
	char text[sizeof(sum->stop_reason)];

	/* Some servers send an empty one with every chunk. */
	if (!is_set(s, reason) || json_string_is(&s->event, reason, ""))
		return ERR_OK;
	if (json_text(&s->event, reason, text, sizeof(text)) != ERR_OK)
		return broken(s, "a malformed finish_reason");
	if (chat_is_failure(text))
		return broken(s, "the provider broke the answer off");
	choice->finished = true;
	if (!sum->stop_reason[0])
		memcpy(sum->stop_reason, text, sizeof(text));
	return ERR_OK;
}

/* Whether a delta has more than a role: null and what is empty say nothing. */
static bool says(const struct chat_stream *s, json_ref delta)
{
	const struct json *j = &s->event;

	JSON_EACH (j, at, delta) {
		bool empty =
			json_is(j, at, JSON_NULL) ||
			json_string_is(j, at, "") ||
			(json_is(j, at, JSON_ARRAY) && json_count(j, at) == 0);

		if (!empty && !json_key_is(j, at, "role"))
			return true;
	}
	return false;
}

static enum err read_choice(struct chat_stream *s, json_ref at)
{
	const struct json *j = &s->event;
	json_ref index = json_get(j, at, "index");
	json_ref delta = json_get(j, at, "delta");
	json_ref whole = json_get(j, at, "message");
	json_ref content = json_get(j, delta, "content");
	struct chat_choice *choice;
	uint64_t number = 0;
	enum err e;

	if (!json_is(j, at, JSON_OBJECT) ||
	    (is_set(s, index) &&
	     json_uint(j, index, 0, CHAT_CHOICES_MAX - 1, &number) != ERR_OK))
		return broken(s, "a malformed choice");
	if (is_set(s, json_get(j, whole, "tool_calls")) ||
	    is_set(s, json_get(j, whole, "function_call")))
		return broken(s, "a whole message with calls in a stream");
	choice = &s->choices[number];
	choice->seen = true;
	if (is_set(s, content) && !json_string_is(j, content, ""))
		choice->has_content = true;
	s->base.said |= says(s, delta);
	e = read_calls(s, delta, (uint32_t)number);
	if (e != ERR_OK)
		return e;
	return read_reason(s, json_get(j, at, "finish_reason"), choice);
}

static bool all_finished(const struct chat_stream *s)
{
	bool any = false;
	size_t i;

	for (i = 0; i < CHAT_CHOICES_MAX; i++) {
		if (s->choices[i].seen && !s->choices[i].finished)
			return false;
		any |= s->choices[i].seen;
	}
	return any;
}

static enum err read_choices(struct chat_stream *s, json_ref choices,
			     struct buf *out)
{
	bool before = s->tail;
	enum err e = ERR_OK;

	JSON_EACH (&s->event, choice, choices) {
		e = read_choice(s, choice);
		if (e != ERR_OK)
			return e;
	}
	s->tail = all_finished(s);
	if (s->tail && !before)
		s->tail_at = s->marks.len_bytes / sizeof(struct chat_held);
	/* Another choice has begun: what was kept is not the end yet. */
	if (before && !s->tail) {
		e = buf_put_span(out, buf_span(&s->terminal));
		buf_reset(&s->terminal);
	}
	return e;
}

static enum err on_error(struct chat_stream *s, const struct chat_event *ev,
			 json_ref error)
{
	struct reply *r = &s->base;
	enum err e;

	chat_error_words(&s->event, error, r->upstream_error,
			 sizeof(r->upstream_error));
	(void)chat_error_name(chat_error_class(&s->event, error, 0),
			      &r->error_status);
	buf_reset(&s->terminal);
	e = buf_put_span(&s->terminal, ev->raw);
	if (e == ERR_OK) {
		r->error_text = "the provider reported an error";
		r->state = REPLY_FAILED;
	}
	return e;
}

static void read_names(struct chat_stream *s)
{
	struct reply_summary *sum = &s->base.summary;
	const struct json *j = &s->event;

	/* A name that does not fit is left empty: it is only reported. */
	if (!sum->id[0])
		(void)!json_text(j, json_get(j, JSON_ROOT, "id"), sum->id,
				 sizeof(sum->id));
	if (!sum->model[0])
		(void)!json_text(j, json_get(j, JSON_ROOT, "model"), sum->model,
				 sizeof(sum->model));
	chat_read_usage(j, JSON_ROOT, &s->usage);
	chat_sum_usage(&s->usage, sum);
}

static enum err on_chunk(struct chat_stream *s, const struct chat_event *ev,
			 struct buf *out)
{
	const struct json *j = &s->event;
	json_ref choices = json_get(j, JSON_ROOT, "choices"), error;
	size_t before = s->deltas.len_bytes;
	enum err e;

	if (chat_is_error(j, &error))
		return on_error(s, ev, error);
	if (!json_is(j, JSON_ROOT, JSON_OBJECT) ||
	    (is_set(s, choices) && !json_is(j, choices, JSON_ARRAY)))
		return broken(s, "a chunk that is none");
	read_names(s);
	if (s->base.strip_usage && json_count(j, choices) == 0 &&
	    is_set(s, json_get(j, JSON_ROOT, "usage")))
		return ERR_OK;
	e = read_choices(s, choices, out);
	if (e == ERR_OK)
		e = place(s, ev,
			  (uint32_t)((s->deltas.len_bytes - before) /
				     sizeof(uint32_t)),
			  out);
	return e == ERR_OK ? judge_next(s, out) : e;
}

static enum err on_event(struct chat_stream *s, const struct sse_event *sse,
			 struct buf *out)
{
	const struct json_limits limits = {
		.max_bytes = SSE_EVENT_MAX_BYTES,
		.max_tokens = CHAT_CHUNK_TOKENS_MAX,
		.allow_nul = true,
	};
	const struct chat_event ev = {
		.raw = sse->raw,
		.data = sse->data,
		.data_at = sse->data_at_bytes,
		.has_data = sse->has_data,
		.in_raw = sse->data_in_raw,
	};
	enum err e;

	if (!ev.has_data)
		return place(s, &ev, 0, out);
	if (chat_is_blank(ev.data))
		return ERR_OK;
	if (s->done)
		return broken(s, "an event after [DONE]");
	if (chat_is_done(ev.data)) {
		s->done = true;
		if (!s->tail)
			return broken(s, "the provider's stream ended before "
					 "its finish_reason");
		return buf_put_span(&s->terminal, ev.raw);
	}
	e = json_parse(&s->event, ev.data, &limits);
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return broken(s, "an event that is not valid JSON");
	if (lax_find_key(&s->event))
		return broken(s, "a key that some readers take for another");
	return on_chunk(s, &ev, out);
}

static enum err stream_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct chat_stream *s = (struct chat_stream *)r;
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
	r->held_bytes = s->held.cap_bytes + s->marks.cap_bytes +
			s->deltas.cap_bytes + s->calls.bytes +
			s->sse.raw.cap_bytes + s->terminal.cap_bytes;
	if (e == ERR_LIMIT && !r->error_text)
		r->error_text = "an event over the size limit";
	return e;
}

static enum err stream_end(struct reply *r, struct buf *out)
{
	struct chat_stream *s = (struct chat_stream *)r;
	struct span rest = sse_rest(&s->sse);
	enum err e = ERR_OK;

	(void)out;
	if (!s->tail) {
		r->error_text = "the provider's stream ended before its "
				"finish_reason";
		return ERR_SHORT;
	}
	if (!chat_rest_is_done(rest)) {
		r->error_text = "the provider's stream ended in mid-event";
		return ERR_SHORT;
	}
	if (sse_is_between_events(&s->sse))
		e = buf_put_span(&s->terminal, rest);
	if (e == ERR_OK && !s->done)
		e = buf_put_text(&s->terminal, "data: [DONE]\n\n");
	if (e == ERR_OK)
		r->state = REPLY_DONE;
	return e;
}

static enum err stream_verdict(struct reply *r, const struct reply_verdict *v,
			       struct buf *out)
{
	struct chat_stream *s = (struct chat_stream *)r;
	enum err e = settle(s, &s->calls.items[s->judged], v);

	r->state = REPLY_OPEN;
	return e == ERR_OK ? judge_next(s, out) : e;
}

static enum err stream_release(struct reply *r, struct buf *out)
{
	struct chat_stream *s = (struct chat_stream *)r;
	enum err e = buf_put_span(out, buf_span(&s->terminal));

	buf_fini(&s->terminal);
	return e;
}

static enum err stream_fail(struct reply *r, const char *type, struct span text)
{
	struct chat_stream *s = (struct chat_stream *)r;
	enum err e;

	buf_fini(&s->held);
	buf_fini(&s->marks);
	buf_reset(&s->terminal);
	e = buf_put_text(&s->terminal, "data: ");
	if (e == ERR_OK)
		e = chat_put_error(&s->terminal, type, text);
	return e == ERR_OK ? buf_put_text(&s->terminal, "\n\n") : e;
}

static enum err stream_ping(struct reply *r, struct buf *out)
{
	(void)r;
	return buf_put_text(out, ": keep-alive\n\n");
}

static void stream_free(struct reply *r)
{
	struct chat_stream *s = (struct chat_stream *)r;

	sse_fini(&s->sse);
	json_fini(&s->event);
	json_fini(&s->call_json);
	chat_calls_fini(&s->calls);
	buf_fini(&s->held);
	buf_fini(&s->marks);
	buf_fini(&s->deltas);
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
 * chat_stream_new() - Start reading a text/event-stream response
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *chat_stream_new(void)
{
	struct chat_stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->base.ops = &stream_ops;
	sse_init(&s->sse, SSE_EVENT_MAX_BYTES);
	json_init(&s->event);
	json_init(&s->call_json);
	buf_init(&s->held, TOOL_HELD_MAX_BYTES);
	buf_init(&s->marks, TOOL_HELD_MAX_BYTES);
	buf_init(&s->deltas, TOOL_HELD_MAX_BYTES);
	buf_init(&s->terminal, 2 * SSE_EVENT_MAX_BYTES);
	return &s->base;
}
