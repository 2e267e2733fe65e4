/* SPDX-License-Identifier: Apache-2.0 */
/*
 * responses_stream.c - a streamed Responses reply on its way to the guest
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on a byte that completes a call before its verdict, or the
 *	    last event before release; changes a byte unless policy does.
 *
 * OpenAI Responses streaming:
 *
 *	response.created, then items, each from output_item.added to
 *	output_item.done, and one of response.completed, .incomplete, .failed,
 *	or error. Unknown types anywhere.
 *
 * Theory of operation. Every event is judged whole and handed on as the bytes
 * it came in. From the first event of a call on, all events are kept in
 * `held`, of other items too, so that their order and numbers stay; once no
 * call is open any more, they are handed on. If one was denied, its events
 * are left out, a message takes its place, and from there on events are
 * numbered anew. The last event repeats all items: calls in it must be those
 * that were judged, others are judged there.
 *
 * Tolerated: no event names, no sequence numbers, [DONE] at the end, a call
 * without output_item.added. Stricter than the clients: an event's name must
 * equal its type, and what a call's parts add up to must be what its last
 * event says: one that can be read in two ways is replaced as if denied.
 */
#include "engine/gate/responses.h"
#include "engine/gate/lax.h"
#include "engine/gate/sse_clean.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPEN_MAX           16u /* calls at once */
#define TERMINAL_MAX_BYTES (2 * SSE_EVENT_MAX_BYTES + REPLY_TAIL_MAX_BYTES)

/* A call between its first event and the end of the hold. */
struct slot {
	bool used, settled, has_text;
	bool torn; /* its events contradict each other */
	uint32_t output_index, entry;
	size_t command_at; /* in text: the command that comes in now */
	struct responses_call call;
	struct buf text; /* what came in pieces */
};

struct stream {
	struct reply base;
	struct sse sse;
	struct json event, call_json;
	struct sse_event last; /* the one being judged */
	struct slot *slots[OPEN_MAX];
	struct slot *judging; /* NULL: an item of the last event */
	struct responses_ledger ledger;
	struct responses_walk walk;
	struct buf held, terminal;
	bool stopped, failed;
	struct responses_numbers numbers;
	uint64_t seen; /* number behind the last one that came in */
	uint64_t created_at_s;
};

typedef enum err event_handler(struct stream *s, const struct sse_event *ev,
			       struct buf *out);

static enum err broken(struct stream *s, const char *why)
{
	s->base.error_text = why;
	return ERR_FORMAT;
}

static json_ref member(const struct stream *s, const char *path)
{
	return json_find(&s->event, JSON_ROOT, path);
}

static bool is_holding(const struct stream *s)
{
	size_t i;

	for (i = 0; i < OPEN_MAX; i++)
		if (s->slots[i])
			return true;
	return false;
}

static struct slot *find_slot(const struct stream *s, uint64_t output_index)
{
	size_t i;

	for (i = 0; i < OPEN_MAX; i++)
		if (s->slots[i] && s->slots[i]->output_index == output_index)
			return s->slots[i];
	return NULL;
}

static void free_slots(struct stream *s)
{
	size_t i;

	for (i = 0; i < OPEN_MAX; i++) {
		if (!s->slots[i])
			continue;
		responses_call_fini(&s->slots[i]->call);
		buf_fini(&s->slots[i]->text);
		free(s->slots[i]);
		s->slots[i] = NULL;
	}
}

/* Hands an event on; @doc was parsed from its data. */
static enum err put_event(struct stream *s, const struct sse_event *ev,
			  const struct json *doc, struct buf *out)
{
	json_ref at = json_get(doc, JSON_ROOT, "sequence_number");
	uint64_t number;

	if (json_uint(doc, at, 0, UINT32_MAX, &number) != ERR_OK)
		return buf_put_span(out, ev->raw);
	if (s->numbers.renumber)
		return responses_put_numbered(&s->numbers, ev, ev->data,
					      json_offset(doc, at),
					      json_raw(doc, at).len_bytes, out);
	s->numbers.sequence = number + 1;
	return buf_put_span(out, ev->raw);
}

/* Where an event that needs no verdict of its own goes now. */
static enum err pass(struct stream *s, const struct sse_event *ev,
		     struct buf *out)
{
	uint64_t number;

	if (s->stopped)
		return buf_put_span(&s->terminal, ev->raw);
	if (ev->has_data && json_uint(&s->event, member(s, "sequence_number"),
				      0, UINT32_MAX, &number) == ERR_OK) {
		s->numbers.numbered = true;
		s->seen = number + 1;
	}
	if (is_holding(s))
		return buf_put_span(&s->held, ev->raw);
	return ev->has_data ? put_event(s, ev, &s->event, out)
			    : buf_put_span(out, ev->raw);
}

static enum err flush_event(struct stream *s, const struct sse_event *ev,
			    struct json *doc, struct buf *out)
{
	const struct json_limits limits = {
		.max_bytes = SSE_EVENT_MAX_BYTES,
		.max_tokens = RESPONSES_EVENT_TOKENS_MAX,
		.allow_nul = true,
	};
	const struct slot *x = NULL;
	struct responses_denial d;
	uint64_t index;
	enum err e;

	if (!ev->has_data)
		return buf_put_span(out, ev->raw);
	e = json_parse(doc, ev->data, &limits);
	if (e != ERR_OK)
		return e;
	if (json_uint(doc, json_get(doc, JSON_ROOT, "output_index"), 0,
		      UINT32_MAX, &index) == ERR_OK)
		x = find_slot(s, index);
	if (!x || !s->ledger.entries[x->entry].denied)
		return put_event(s, ev, doc, out);
	if (json_string_is(doc, json_get(doc, JSON_ROOT, "type"),
			   "response.output_item.done")) {
		d.output_index = x->output_index;
		d.number = s->ledger.entries[x->entry].number;
		d.text = responses_ledger_text(&s->ledger,
					       &s->ledger.entries[x->entry]);
		return responses_put_denied(&s->numbers, &d, out);
	}
	return ERR_OK;
}

/* All held calls are judged. */
static enum err flush(struct stream *s, struct buf *out)
{
	struct span in = buf_span(&s->held);
	struct sse_event ev;
	struct json doc;
	struct sse sse;
	size_t i;
	enum err e = ERR_OK;

	for (i = 0; i < OPEN_MAX; i++)
		if (s->slots[i] && s->ledger.entries[s->slots[i]->entry].denied)
			s->numbers.renumber = true;
	if (!s->numbers.renumber) {
		e = buf_put_span(out, in);
		s->numbers.sequence = s->seen;
	} else {
		sse_init(&sse, SSE_EVENT_MAX_BYTES);
		json_init(&doc);
		while (e == ERR_OK) {
			e = sse_next(&sse, &in, &ev);
			if (e == ERR_OK)
				e = flush_event(s, &ev, &doc, out);
		}
		/* The LF of a CR LF may lie at the end. */
		if (e == ERR_AGAIN)
			e = buf_put_span(out, sse_rest(&sse));
		sse_fini(&sse);
		json_fini(&doc);
	}
	buf_fini(&s->held);
	free_slots(s);
	return e;
}

static enum err settle(struct stream *s, struct slot *x,
		       const struct reply_verdict *v, struct buf *out)
{
	enum err e = responses_ledger_add(&s->ledger, &x->call, v, &x->entry);
	size_t i;

	if (e == ERR_LIMIT)
		s->base.error_text = "too many tool calls in one response";
	if (e != ERR_OK)
		return e;
	s->base.summary.calls++;
	if (!v->allow)
		s->base.summary.calls_denied++;
	x->settled = true;
	responses_call_fini(&x->call);
	buf_fini(&x->text);
	for (i = 0; i < OPEN_MAX; i++)
		if (s->slots[i] && !s->slots[i]->settled)
			return ERR_OK;
	return flush(s, out);
}

static enum err open_slot(struct stream *s, uint64_t output_index,
			  struct slot **ret_slot)
{
	json_ref item = member(s, "item");
	struct slot *x;
	size_t i;
	enum err e;

	for (i = 0; i < OPEN_MAX && s->slots[i]; i++)
		;
	if (i == OPEN_MAX)
		return broken(s, "too many open tool calls");
	x = calloc(1, sizeof(*x));
	if (!x)
		return ERR_MEMORY;
	s->slots[i] = x;
	x->output_index = (uint32_t)output_index;
	responses_call_init(&x->call);
	buf_init(&x->text, TOOL_ARGUMENTS_MAX_BYTES);
	e = responses_call_read(&s->event, item, &x->call);
	if (e == ERR_FORMAT)
		return broken(s, "a tool call without a proper id and name");
	if (e == ERR_OK)
		e = buf_put_span(&x->text, buf_span(&x->call.text));
	x->has_text = x->text.len_bytes > 0;
	*ret_slot = x;
	return e;
}

static bool read_index(const struct stream *s, uint64_t *ret_index)
{
	return json_uint(&s->event, member(s, "output_index"), 0, UINT32_MAX,
			 ret_index) == ERR_OK;
}

static enum err on_item_added(struct stream *s, const struct sse_event *ev,
			      struct buf *out)
{
	json_ref item = member(s, "item");
	struct slot *x;
	uint64_t index;
	enum err e = ERR_OK;

	if (!json_is(&s->event, member(s, "item.type"), JSON_STRING))
		return broken(s, "an output item without a type");
	if (!read_index(s, &index))
		return broken(s, "an output item without a proper index");
	if (find_slot(s, index))
		return broken(s, "an output item inside another");
	if (responses_kind_of(&s->event, item))
		e = open_slot(s, index, &x);
	return e == ERR_OK ? pass(s, ev, out) : e;
}

/* Whether the call that is complete now is the one that its events made. */
static enum err compare(struct stream *s, struct slot *x)
{
	char id[CALL_ID_MAX_BYTES + 1], name[TOOL_NAME_MAX_BYTES + 1];
	enum err e;

	memcpy(id, x->call.id, sizeof(id));
	memcpy(name, x->call.name, sizeof(name));
	e = responses_call_read(&s->event, member(s, "item"), &x->call);
	if (e == ERR_FORMAT)
		return broken(s, "a tool call without a proper id and name");
	if (e != ERR_OK)
		return e;
	if (strcmp(id, x->call.id) != 0 || strcmp(name, x->call.name) != 0 ||
	    (x->has_text &&
	     !span_equal(buf_span(&x->text), buf_span(&x->call.text))))
		x->torn = true;
	return ERR_OK;
}

static enum err judge(struct stream *s, struct slot *x, struct buf *out)
{
	static const char torn[] = "its parts contradict each other";
	static const char unreadable[] =
		"its arguments are not one valid JSON object";
	struct reply_verdict deny = {.text = span_text(torn)};
	struct reply *r = &s->base;
	enum err e;

	if (x->torn)
		return settle(s, x, &deny, out);
	e = reply_check_arguments(&s->call_json, buf_span(&x->call.judged));
	deny.text = span_text(unreadable);
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return settle(s, x, &deny, out);
	r->call = (struct reply_call){
		.index = x->output_index,
		.id = span_text(x->call.id),
		.name = span_text(x->call.name),
		.arguments = buf_span(&x->call.judged),
	};
	r->state = REPLY_JUDGE;
	s->judging = x;
	return ERR_OK;
}

static enum err on_item_done(struct stream *s, const struct sse_event *ev,
			     struct buf *out)
{
	const struct responses_kind *kind =
		responses_kind_of(&s->event, member(s, "item"));
	struct slot *x;
	uint64_t index;
	enum err e = ERR_OK;

	if (!json_is(&s->event, member(s, "item.type"), JSON_STRING))
		return broken(s, "an output item without a type");
	if (!read_index(s, &index))
		return broken(s, "an output item without a proper index");
	x = find_slot(s, index);
	if (x && (x->settled || x->call.kind != kind))
		return broken(s, "an output item that changed its type");
	if (!kind)
		return pass(s, ev, out);
	if (!x)
		e = open_slot(s, index, &x);
	else
		e = compare(s, x);
	if (e == ERR_OK)
		e = pass(s, ev, out);
	return e == ERR_OK ? judge(s, x, out) : e;
}

enum piece { PIECE_NEXT, PIECE_MORE, PIECE_WHOLE };

/* Events that bring a call in pieces. */
static const struct {
	const char *type, *key;
	enum piece piece;
} piece_table[] = {
	{"response.function_call_arguments.delta", "delta", PIECE_MORE},
	{"response.function_call_arguments.done", "arguments", PIECE_WHOLE},
	{"response.custom_tool_call_input.delta", "delta", PIECE_MORE},
	{"response.custom_tool_call_input.done", "input", PIECE_WHOLE},
	{"response.apply_patch_call_operation_diff.delta", "delta", PIECE_MORE},
	{"response.apply_patch_call_operation_diff.done", "diff", PIECE_WHOLE},
	{"response.shell_call_command.added", "command", PIECE_NEXT},
	{"response.shell_call_command.delta", "delta", PIECE_MORE},
	{"response.shell_call_command.done", "command", PIECE_WHOLE},
};

static enum err add_piece(struct stream *s, struct slot *x, enum piece piece,
			  json_ref at)
{
	size_t before = x->text.len_bytes;
	uint64_t n = 0;
	struct span had;
	enum err e = ERR_OK;

	if (piece == PIECE_NEXT) {
		(void)!json_uint(&s->event, member(s, "command_index"), 0,
				 UINT32_MAX, &n);
		if (n > 0)
			e = buf_put_u8(&x->text, '\n');
		x->command_at = before = x->text.len_bytes;
	}
	if (e == ERR_OK)
		e = json_string(&s->event, at, &x->text);
	if (e != ERR_OK)
		return e;
	x->has_text = true;
	had = span_of(x->text.data + x->command_at, before - x->command_at);
	if (piece != PIECE_WHOLE || had.len_bytes == 0)
		return ERR_OK;
	/* It says again what came already. */
	if (!span_equal(had, span_of(x->text.data + before,
				     x->text.len_bytes - before)))
		x->torn = true;
	buf_truncate(&x->text, before);
	return ERR_OK;
}

static enum err on_piece(struct stream *s, const struct sse_event *ev, size_t i,
			 struct buf *out)
{
	json_ref at = member(s, piece_table[i].key);
	struct slot *x;
	uint64_t index;
	enum err e;

	x = read_index(s, &index) ? find_slot(s, index) : NULL;
	/* A client has nothing to add such a piece to either. */
	if (!x || x->settled)
		return broken(s, "a part of a tool call without its "
				 "output_item.added");
	/* Absent is not empty: the item itself says it later. */
	if (at == JSON_NONE || json_is(&s->event, at, JSON_NULL))
		return pass(s, ev, out);
	if (!json_is(&s->event, at, JSON_STRING))
		return broken(s, "a part of a tool call that is no text");
	e = add_piece(s, x, piece_table[i].piece, at);
	if (e == ERR_LIMIT)
		s->base.error_text = "a tool call with too long arguments";
	return e == ERR_OK ? pass(s, ev, out) : e;
}

static enum err on_progress(struct stream *s, const struct sse_event *ev,
			    struct buf *out)
{
	json_ref response = member(s, "response");

	if (responses_has_calls(&s->event, member(s, "response.output")))
		return broken(s, "a tool call outside its own events");
	responses_read_summary(&s->event, response, &s->base.summary);
	(void)!json_uint(&s->event, member(s, "response.created_at"), 0,
			 UINT32_MAX, &s->created_at_s);
	return pass(s, ev, out);
}

/* The last event, with what was denied replaced and its number right. */
static enum err put_terminal(struct stream *s, const struct sse_event *ev)
{
	json_ref number = member(s, "sequence_number");
	size_t at = json_offset(&s->event, number);
	struct buf data;
	uint32_t i;
	enum err e;

	if (!s->numbers.renumber && s->walk.edit_count == 0)
		return buf_put_span(&s->terminal, ev->raw);
	buf_init(&data, TERMINAL_MAX_BYTES);
	e = responses_walk_put(&s->walk, ev->data, &data);
	for (i = 0; i < s->walk.edit_count; i++) {
		const struct responses_edit *d = &s->walk.edits[i];

		if (d->at_bytes < json_offset(&s->event, number))
			at = at + d->text_len - d->len_bytes;
	}
	if (e == ERR_OK && s->numbers.renumber &&
	    json_is(&s->event, number, JSON_NUMBER))
		e = responses_put_numbered(
			&s->numbers, ev, buf_span(&data), at,
			json_raw(&s->event, number).len_bytes, &s->terminal);
	else if (e == ERR_OK)
		e = responses_put_changed(ev, buf_span(&data), &s->terminal);
	buf_fini(&data);
	return e;
}

static void note_error(struct stream *s, json_ref error)
{
	struct reply *r = &s->base;

	responses_note_error(&s->event, error, r->upstream_error,
			     sizeof(r->upstream_error));
	(void)responses_error_name(responses_error_class(&s->event, error, 0),
				   &r->error_status);
}

static enum err walk_on(struct stream *s)
{
	enum err e = responses_walk_on(&s->walk, &s->ledger, &s->base);

	if (e != ERR_OK || s->base.state != REPLY_OPEN)
		return e;
	e = put_terminal(s, &s->last);
	s->stopped = true;
	if (e == ERR_OK && s->failed) {
		s->base.error_text = "the provider reported an error";
		s->base.state = REPLY_FAILED;
	}
	return e;
}

static enum err on_terminal(struct stream *s, const struct sse_event *ev,
			    struct buf *out)
{
	json_ref response = member(s, "response"), error;

	(void)out;
	s->failed =
		json_string_is(&s->event, member(s, "type"), "response.failed");
	if (!json_is(&s->event, response, JSON_OBJECT))
		return broken(s, "a last event without its response");
	if (is_holding(s) && !s->failed)
		return broken(s, "the response ended inside a tool call");
	free_slots(s);
	buf_fini(&s->held);
	if (!s->failed &&
	    responses_status(&s->event, response) == RESPONSES_FAILED)
		return broken(s, "a failed response that is called complete");
	responses_read_summary(&s->event, response, &s->base.summary);
	if (s->failed && responses_error_at(&s->event, response, &error))
		note_error(s, error);
	s->last = *ev;
	s->judging = NULL;
	responses_walk_begin(&s->walk, &s->event, response);
	return walk_on(s);
}

static enum err on_error(struct stream *s, const struct sse_event *ev)
{
	json_ref error;
	enum err e;

	if (responses_error_at(&s->event, JSON_ROOT, &error))
		note_error(s, error);
	free_slots(s);
	buf_fini(&s->held);
	buf_reset(&s->terminal);
	e = buf_put_span(&s->terminal, ev->raw);
	if (e == ERR_OK) {
		s->base.error_text = "the provider reported an error";
		s->base.state = REPLY_FAILED;
	}
	return e;
}

static const struct {
	const char *type;
	event_handler *handle;
} event_table[] = {
	{"response.output_item.added", on_item_added},
	{"response.output_item.done", on_item_done},
	{"response.created", on_progress},
	{"response.queued", on_progress},
	{"response.in_progress", on_progress},
	{"response.completed", on_terminal},
	{"response.incomplete", on_terminal},
	{"response.failed", on_terminal},
};

/* What comes before the answer's first piece: empty items and parts. */
static bool says(const char *type)
{
	static const char added[] = ".added";
	const size_t len = sizeof(added) - 1, all = strlen(type);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(event_table); i++)
		if (event_table[i].handle == on_progress &&
		    strcmp(type, event_table[i].type) == 0)
			return false;
	return all < len || strcmp(type + all - len, added) != 0;
}

static enum err dispatch(struct stream *s, const struct sse_event *ev,
			 const char *type, struct buf *out)
{
	size_t i;

	if (strcmp(type, "error") == 0)
		return on_error(s, ev);
	if (s->stopped && strncmp(type, "response.", 9) == 0)
		return broken(s, "an event behind the response's end");
	if (strcmp(type, "response.failed") != 0)
		s->base.said |= says(type);
	for (i = 0; i < ARRAY_SIZE(event_table); i++)
		if (strcmp(type, event_table[i].type) == 0)
			return event_table[i].handle(s, ev, out);
	for (i = 0; i < ARRAY_SIZE(piece_table); i++)
		if (strcmp(type, piece_table[i].type) == 0)
			return on_piece(s, ev, i, out);
	return pass(s, ev, out);
}

static enum err on_event(struct stream *s, const struct sse_event *ev,
			 struct buf *out)
{
	const struct json_limits limits = {
		.max_bytes = SSE_EVENT_MAX_BYTES,
		.max_tokens = RESPONSES_EVENT_TOKENS_MAX,
		.allow_nul = true,
	};
	char type[96];
	json_ref error;
	enum err e;

	if (!ev->has_data)
		return ev->has_name ? broken(s, "an event without data")
				    : pass(s, ev, out);
	if (span_is(ev->data, "[DONE]"))
		return s->stopped ? buf_put_span(&s->terminal, ev->raw)
				  : broken(s, "[DONE] before the response's "
					      "end");
	e = json_parse(&s->event, ev->data, &limits);
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return broken(s, "an event that is not valid JSON");
	if (lax_find_key(&s->event))
		return broken(s, "a key that some readers take for another");
	e = json_text(&s->event, member(s, "type"), type, sizeof(type));
	if (e != ERR_OK && json_is(&s->event, member(s, "error"), JSON_OBJECT))
		return on_error(s, ev);
	if (e != ERR_OK)
		return broken(s, "an event without a type");
	if (ev->has_name && !span_is(ev->name, type))
		return responses_error_at(&s->event, JSON_ROOT, &error) &&
				       span_is(ev->name, "error")
			       ? on_error(s, ev)
			       : broken(s, "an event whose name is not its "
					   "type");
	return dispatch(s, ev, type, out);
}

static void count_held(struct stream *s)
{
	size_t n = s->held.cap_bytes + s->sse.raw.cap_bytes +
		   s->terminal.cap_bytes,
	       i;

	for (i = 0; i < OPEN_MAX; i++)
		if (s->slots[i])
			n += s->slots[i]->text.cap_bytes +
			     s->slots[i]->call.text.cap_bytes +
			     s->slots[i]->call.judged.cap_bytes;
	s->base.held_bytes = n;
}

static enum err stream_feed(struct reply *r, struct span *in, struct buf *out)
{
	struct stream *s = (struct stream *)r;
	struct sse_event ev;
	enum err e = ERR_OK;

	while (e == ERR_OK && r->state == REPLY_OPEN) {
		e = sse_next_clean(&s->sse, in, &ev);
		if (e == ERR_AGAIN) {
			e = ERR_OK;
			break;
		}
		if (e == ERR_OK)
			e = on_event(s, &ev, out);
	}
	count_held(s);
	if (e == ERR_LIMIT && !r->error_text)
		r->error_text = "an event over the size limit";
	return e;
}

static enum err stream_end(struct reply *r, struct buf *out)
{
	struct stream *s = (struct stream *)r;
	enum err e;

	(void)out;
	if (!s->stopped || !sse_is_between_events(&s->sse)) {
		r->error_text = "the provider's stream ended before its last "
				"event";
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
	struct stream *s = (struct stream *)r;
	enum err e;

	r->state = REPLY_OPEN;
	if (s->judging)
		return settle(s, s->judging, v, out);
	e = responses_walk_settle(&s->walk, &s->ledger, r, v);
	return e == ERR_OK ? walk_on(s) : e;
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
	const struct reply_summary *sum = &r->summary;
	const struct responses_head head = {
		.id = span_text(sum->id[0] ? sum->id : "resp_kenaz"),
		.model = span_text(sum->model),
		.status = "failed",
		.error_code = responses_code_of(type),
		.error_text = text,
		.created_at_s = s->created_at_s,
	};
	struct buf data;
	enum err e;

	buf_init(&data, 1u << 18);
	free_slots(s);
	buf_fini(&s->held);
	buf_reset(&s->terminal);
	/* Also where the provider did not come to say one. */
	s->numbers.numbered = true;
	e = buf_put_text(&data, "\"response\":");
	if (e == ERR_OK)
		e = responses_put_response(&data, &head);
	if (e == ERR_OK)
		e = responses_put_made(&s->numbers, "response.failed", &data,
				       &s->terminal);
	buf_fini(&data);
	return e;
}

static enum err stream_ping(struct reply *r, struct buf *out)
{
	(void)r;
	return buf_put_text(out, ": keep-alive\n\n");
}

static void stream_free(struct reply *r)
{
	struct stream *s = (struct stream *)r;

	free_slots(s);
	sse_fini(&s->sse);
	json_fini(&s->event);
	json_fini(&s->call_json);
	responses_ledger_fini(&s->ledger);
	responses_walk_fini(&s->walk);
	buf_fini(&s->held);
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
 * responses_stream_new() - Start reading a text/event-stream response
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *responses_stream_new(void)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->base.ops = &stream_ops;
	sse_init(&s->sse, SSE_EVENT_MAX_BYTES);
	json_init(&s->event);
	json_init(&s->call_json);
	responses_ledger_init(&s->ledger);
	responses_walk_init(&s->walk);
	buf_init(&s->held, TOOL_HELD_MAX_BYTES);
	buf_init(&s->terminal, TERMINAL_MAX_BYTES);
	return &s->base;
}
