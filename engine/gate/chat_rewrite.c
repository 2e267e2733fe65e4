/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chat_rewrite.c - chunks of a chat completion without the denied calls
 *
 * Runs in: kenaz-gate.
 * Trusts:  chat_stream.c to have read the same chunks before.
 * Never:   lets a delta of a denied call pass, or changes anything else than
 *	    calls and the finish_reason of a choice that has none left.
 *
 * A denied call's deltas are taken out of their chunks; a chunk of our own
 * with a text that names the rule takes the place of the first. Calls that
 * remain are numbered 0, 1, 2... in the order they began, and only the first
 * delta of each keeps id, type and name.
 */
#include "engine/gate/chat_stream.h"

#include <string.h>

#include "engine/base/jsonw.h"
#include "engine/gate/chat_edit.h"

struct rewriting {
	struct chat_stream *s;
	struct chat_edits edits;
	size_t *cursor;                  /* in s->deltas */
	uint32_t denied[CHAT_CALLS_MAX]; /* that begin in this chunk */
	uint32_t denied_count;
	bool emptied; /* a delta lost its only member */
};

static struct chat_call *next_call(struct rewriting *x, bool *ret_first)
{
	uint32_t mark;

	memcpy(&mark, x->s->deltas.data + *x->cursor, sizeof(mark));
	*x->cursor += sizeof(mark);
	*ret_first = (mark & CHAT_DELTA_FIRST) != 0;
	mark &= ~CHAT_DELTA_FIRST;
	if (*ret_first && x->s->calls.items[mark].denied)
		x->denied[x->denied_count++] = mark;
	return &x->s->calls.items[mark];
}

/* Among the calls of its choice that remain. */
static uint32_t number_of(const struct chat_stream *s,
			  const struct chat_call *call)
{
	uint32_t i, number = 0;

	for (i = 0; &s->calls.items[i] != call; i++)
		number += s->calls.items[i].choice == call->choice &&
			  s->calls.items[i].kind != CHAT_CALL_LEGACY &&
			  !s->calls.items[i].denied;
	return number;
}

static enum err put_member(struct buf *b, const struct json *j, json_ref at)
{
	const struct json_token *t = &j->tokens[at];
	enum err e;

	e = buf_put(b, j->text.data + t->key_at_bytes - 1,
		    t->key_len_bytes + 2);
	if (e == ERR_OK)
		e = buf_put_u8(b, ':');
	return e == ERR_OK ? buf_put_span(b, json_raw(j, at)) : e;
}

/* The function of a later delta: without the name, if it is repeated. */
static enum err put_function(struct buf *b, const struct json *j, json_ref at)
{
	bool any = false;
	enum err e;

	e = buf_put_text(b, json_key_is(j, at, "custom") ? "\"custom\":{"
							 : "\"function\":{");
	JSON_EACH (j, member, at) {
		if (json_key_is(j, member, "name"))
			continue;
		if (e == ERR_OK && any)
			e = buf_put_u8(b, ',');
		if (e == ERR_OK)
			e = put_member(b, j, member);
		any = true;
	}
	return e == ERR_OK ? buf_put_u8(b, '}') : e;
}

static enum err put_item(struct rewriting *x, json_ref item,
			 const struct chat_call *call, bool first)
{
	const struct json *j = &x->s->event;
	struct buf *b = &x->edits.texts;
	enum err e;

	e = buf_printf(b, "{\"index\":%u", number_of(x->s, call));
	JSON_EACH (j, member, item) {
		bool function = json_key_is(j, member, "function") ||
				json_key_is(j, member, "custom");

		if (json_key_is(j, member, "index") ||
		    (!first && (json_key_is(j, member, "id") ||
				json_key_is(j, member, "type"))))
			continue;
		if (e == ERR_OK)
			e = buf_put_u8(b, ',');
		if (e != ERR_OK)
			return e;
		if (function && !first && json_is(j, member, JSON_OBJECT))
			e = put_function(b, j, member);
		else
			e = put_member(b, j, member);
	}
	return e == ERR_OK ? buf_put_u8(b, '}') : e;
}

static enum err edit_calls(struct rewriting *x, json_ref delta, json_ref calls)
{
	const struct json *j = &x->s->event;
	struct buf *b = &x->edits.texts;
	size_t text_at = b->len_bytes;
	bool kept = false, first;
	enum err e = ERR_OK;

	JSON_EACH (j, item, calls) {
		const struct chat_call *call = next_call(x, &first);

		if (call->denied)
			continue;
		if (e == ERR_OK)
			e = buf_put_u8(b, kept ? ',' : '[');
		if (e == ERR_OK)
			e = put_item(x, item, call, first);
		kept = true;
	}
	if (e != ERR_OK)
		return e;
	if (!kept) {
		x->emptied = json_count(j, delta) == 1;
		return chat_edits_remove(&x->edits, j, calls);
	}
	e = buf_put_u8(b, ']');
	return e == ERR_OK
		       ? chat_edits_add(&x->edits, json_offset(j, calls),
					json_raw(j, calls).len_bytes, text_at)
		       : e;
}

static enum err edit_choice(struct rewriting *x, json_ref choice)
{
	const struct json *j = &x->s->event;
	json_ref delta = json_get(j, choice, "delta");
	json_ref calls = json_get(j, delta, "tool_calls");
	json_ref legacy = json_get(j, delta, "function_call");
	json_ref reason = json_get(j, choice, "finish_reason");
	const struct chat_choice *state = x->s->choices;
	uint64_t number;
	enum err e = ERR_OK;
	bool first;

	if (json_uint(j, json_get(j, choice, "index"), 0, CHAT_CHOICES_MAX - 1,
		      &number) == ERR_OK)
		state += number;
	if (json_count(j, calls))
		e = edit_calls(x, delta, calls);
	if (e == ERR_OK && legacy != JSON_NONE &&
	    !json_is(j, legacy, JSON_NULL) && next_call(x, &first)->denied)
		e = chat_edits_replace(&x->edits, j, legacy, "null");
	if (e == ERR_OK && state->calls && state->calls == state->denied &&
	    (json_string_is(j, reason, "tool_calls") ||
	     json_string_is(j, reason, "function_call")))
		e = chat_edits_replace(&x->edits, j, reason, "\"stop\"");
	return e;
}

/* The text that stands for a denied call, as a chunk like the others. */
static enum err put_denial(struct rewriting *x, const struct chat_call *call,
			   struct buf *out)
{
	static const char *const copied[] = {"id", "object", "created",
					     "model"};
	struct chat_choice *choice = &x->s->choices[call->choice];
	const struct json *j = &x->s->event;
	struct buf text, chunk;
	struct jsonw w;
	enum err e = ERR_OK;
	size_t i;

	buf_init(&text, 2 * TOOL_ARGUMENTS_MAX_BYTES);
	buf_init(&chunk, 2 * SSE_EVENT_MAX_BYTES);
	if (choice->has_content)
		e = buf_put_text(&text, "\n\n");
	if (e == ERR_OK)
		e = buf_put_span(&text, buf_span(&call->arguments));
	choice->has_content = true;
	jsonw_init(&w, &chunk);
	jsonw_begin_object(&w);
	for (i = 0; i < ARRAY_SIZE(copied); i++) {
		json_ref at = json_get(j, JSON_ROOT, copied[i]);

		if (at == JSON_NONE || json_raw(j, at).len_bytes > 1024)
			continue;
		jsonw_key(&w, copied[i]);
		jsonw_raw(&w, json_raw(j, at));
	}
	jsonw_key(&w, "choices");
	jsonw_begin_array(&w);
	jsonw_begin_object(&w);
	jsonw_put_u64(&w, "index", call->choice);
	jsonw_key(&w, "delta");
	jsonw_begin_object(&w);
	jsonw_put_text(&w, "content", buf_span(&text));
	jsonw_end_object(&w);
	jsonw_key(&w, "finish_reason");
	jsonw_null(&w);
	jsonw_end_object(&w);
	jsonw_end_array(&w);
	jsonw_end_object(&w);
	if (e == ERR_OK)
		e = jsonw_finish(&w);
	if (e == ERR_OK)
		e = buf_put_text(out, "data: ");
	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(&chunk));
	buf_fini(&text);
	buf_fini(&chunk);
	return e == ERR_OK ? buf_put_text(out, "\n\n") : e;
}

static enum err put_denials(struct rewriting *x, struct buf *out)
{
	enum err e = ERR_OK;
	uint32_t i;

	for (i = 0; e == ERR_OK && i < x->denied_count; i++)
		e = put_denial(x, &x->s->calls.items[x->denied[i]], out);
	return e;
}

static enum err put_changed(struct rewriting *x, const struct chat_event *ev,
			    struct buf *out)
{
	struct buf data;
	enum err e;
	size_t i;

	buf_init(&data, 2 * SSE_EVENT_MAX_BYTES);
	e = chat_edits_put(&x->edits, ev->data, &data);
	/* Line ends inside the data were between its lines. */
	for (i = 0; i < data.len_bytes; i++)
		if (data.data[i] == '\n' || data.data[i] == '\r')
			data.data[i] = ' ';
	if (e == ERR_OK && ev->in_raw)
		e = buf_put(out, ev->raw.data, ev->data_at);
	else if (e == ERR_OK)
		e = buf_put_text(out, "data: ");
	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(&data));
	buf_fini(&data);
	if (e == ERR_OK && ev->in_raw) {
		size_t at = ev->data_at + ev->data.len_bytes;

		return buf_put(out, ev->raw.data + at, ev->raw.len_bytes - at);
	}
	return e == ERR_OK ? buf_put_text(out, "\n\n") : e;
}

static bool has_reason(const struct json *j, json_ref choices)
{
	JSON_EACH (j, choice, choices)
		if (json_is(j, json_get(j, choice, "finish_reason"),
			    JSON_STRING))
			return true;
	return false;
}

static enum err rewrite_chunk(struct rewriting *x, const struct chat_event *ev,
			      struct buf *out)
{
	const struct json *j = &x->s->event;
	json_ref choices = json_get(j, JSON_ROOT, "choices");
	bool last = has_reason(j, choices), empty;
	enum err e = ERR_OK;

	if (json_is(j, choices, JSON_ARRAY))
		JSON_EACH (j, choice, choices)
			if (e == ERR_OK)
				e = edit_choice(x, choice);
	empty = x->emptied && !last && json_count(j, choices) == 1 &&
		!json_is(j, json_get(j, JSON_ROOT, "usage"), JSON_OBJECT);
	/* No text may follow the finish_reason. */
	if (e == ERR_OK && last)
		e = put_denials(x, out);
	if (e == ERR_OK && x->edits.count == 0)
		e = buf_put_span(out, ev->raw);
	else if (e == ERR_OK && !empty)
		e = put_changed(x, ev, out);
	if (e == ERR_OK && !last)
		e = put_denials(x, out);
	return e;
}

/**
 * chat_stream_rewrite() - Hand an event on without the denied calls
 * @s:		Stream whose calls in this event are all judged
 * @ev:		The event
 * @cursor:	Place in s->deltas, in bytes; moved
 * @out:	Buffer
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err chat_stream_rewrite(struct chat_stream *s, const struct chat_event *ev,
			     size_t *cursor, struct buf *out)
{
	const struct json_limits limits = {
		.max_bytes = SSE_EVENT_MAX_BYTES,
		.max_tokens = CHAT_CHUNK_TOKENS_MAX,
		.allow_nul = true,
	};
	struct rewriting x = {.s = s, .cursor = cursor};
	enum err e;

	if (!ev->has_data)
		return buf_put_span(out, ev->raw);
	e = json_parse(&s->event, ev->data, &limits);
	if (e != ERR_OK)
		return e;
	chat_edits_init(&x.edits, 2 * SSE_EVENT_MAX_BYTES);
	e = rewrite_chunk(&x, ev, out);
	chat_edits_fini(&x.edits);
	return e;
}
