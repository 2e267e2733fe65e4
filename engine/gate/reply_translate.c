/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reply_translate.c - a response in one dialect, answered in another
 *
 * Runs in: kenaz-gate.
 * Trusts:  nothing in a response.
 * Never:   hands on a byte of a call before its verdict, or of the terminal
 *	    part before release; ends well what did not end on the wire.
 *
 * Theory of operation. The wire's reader turns bytes into events; the events
 * of a call are gathered until it is whole and judged, those behind it wait in
 * a queue; the client's writer turns what may go on into bytes. What STOP or
 * ERROR becomes is held in `terminal`. A reader says what a response means,
 * this file what may become of it:
 *
 *	- calls whose arguments are not one JSON object are denied;
 *	- denied calls become texts that name the rule;
 *	- the stop reason tells whether calls remain, whatever the wire said;
 *	- a word for the stop that nobody knows means that the answer may not
 *	  be whole: it is there, and ends as one that was cut short;
 *	- a pause, which only Anthropic's dialect can express, is an error
 *	  elsewhere, because a finished turn would be a lie;
 *	- missing ids of messages and calls are made up.
 */
#include "engine/gate/reply_translate.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "engine/base/text.h"
#include "engine/gate/neutral_queue.h"
#include "engine/gate/neutral_tools.h"
#include "engine/gate/sse_clean.h"

#define SLICE_BYTES          16384u /* fed at once: bounds what may queue up */
#define TERMINAL_MAX_BYTES   (64u << 20)
#define ERROR_TEXT_MAX_BYTES 8192u

struct translation {
	struct reply base;
	const struct dialect_ops *client;
	struct neutral_reader *reader;
	struct neutral_writer *writer;
	struct neutral_names *names;
	struct neutral_queue queue;
	struct buf *out; /* of the call under way */
	struct buf arguments, terminal;
	struct json call_json;
	uint32_t index;
	bool started, open; /* START came; a block is open */
	bool holding;       /* the open block is a call */
	bool unsaid;        /* the open block is a text, as yet empty */
	bool stopped;       /* STOP came */
	bool ended;         /* so did the end of the bytes */
	bool begun;         /* the client got some */
	char call_id[CALL_ID_MAX_BYTES + 1];
	char call_name[TOOL_NAME_MAX_BYTES + 1];
};

static enum err broken(struct translation *t, const char *why)
{
	t->base.error_text = why;
	return ERR_FORMAT;
}

static enum err put(struct translation *t, const struct neutral_event *ev)
{
	if (ev->kind == NEUTRAL_BLOCK_TEXT ||
	    ev->kind == NEUTRAL_BLOCK_SIGNATURE)
		t->base.said = true;
	return t->writer->ops->put(t->writer, ev, t->out);
}

/* A name of our own where the wire gave none. */
static enum err make_id(const char *prefix, char *ret_id, size_t cap_bytes)
{
	uint8_t random[12];
	char digits[2 * sizeof(random) + 1];

	if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
		return ERR_SYS;
	text_hex(random, sizeof(random), digits);
	return text_format(ret_id, cap_bytes, "%s%s", prefix, digits);
}

static enum err on_start(struct translation *t, const struct neutral_event *ev)
{
	struct reply_summary *s = &t->base.summary;
	struct neutral_event copy = *ev;
	enum err e = ERR_OK;

	if (t->started)
		return broken(t, "a response that starts twice");
	t->started = true;
	/* What does not fit is replaced: it is only reported. */
	if (!ev->id.len_bytes ||
	    span_copy_text(ev->id, s->id, sizeof(s->id)) != ERR_OK)
		e = make_id("kenaz_", s->id, sizeof(s->id));
	(void)!span_copy_text(ev->model, s->model, sizeof(s->model));
	copy.id = span_text(s->id);
	return e == ERR_OK ? put(t, &copy) : e;
}

static enum err begin_call(struct translation *t,
			   const struct neutral_event *ev)
{
	struct span name = neutral_names_find(t->names, ev->name);
	enum err e;

	if (!name.len_bytes ||
	    span_copy_text(name, t->call_name, sizeof(t->call_name)) != ERR_OK)
		return broken(t, "a tool call without a proper name");
	if (ev->id.len_bytes)
		e = span_copy_text(ev->id, t->call_id, sizeof(t->call_id));
	else
		e = make_id("call_", t->call_id, sizeof(t->call_id));
	if (e != ERR_OK)
		return e == ERR_SYS ? e
				    : broken(t, "a tool call without a proper "
						"id");
	buf_reset(&t->arguments);
	t->holding = true;
	return ERR_OK;
}

static enum err on_block_start(struct translation *t,
			       const struct neutral_event *ev)
{
	if (!t->started || t->open)
		return broken(t, "a block out of turn");
	t->open = true;
	if (ev->part == NEUTRAL_TOOL_CALL)
		return begin_call(t, ev);
	/* A text in which nothing is said opens no block. */
	t->unsaid = ev->part == NEUTRAL_TEXT || ev->part == NEUTRAL_REFUSAL;
	return t->unsaid ? ERR_OK : put(t, ev);
}

static enum err say(struct translation *t, const struct neutral_event *ev)
{
	struct neutral_event start = *ev;
	enum err e = ERR_OK;

	if (t->unsaid && !ev->text.len_bytes)
		return ERR_OK;
	start.kind = NEUTRAL_BLOCK_START;
	start.text = span_of(NULL, 0);
	if (t->unsaid)
		e = put(t, &start);
	t->unsaid = false;
	return e == ERR_OK ? put(t, ev) : e;
}

static enum err on_block_piece(struct translation *t,
			       const struct neutral_event *ev)
{
	enum err e;

	if (!t->open)
		return broken(t, "a part of a block out of turn");
	if (!t->holding)
		return say(t, ev);
	if (ev->kind != NEUTRAL_BLOCK_TEXT)
		return ERR_OK;
	e = buf_put_span(&t->arguments, ev->text);
	if (e == ERR_LIMIT)
		t->base.error_text = "a tool call with too long arguments";
	return e;
}

static enum err put_block(struct translation *t, struct neutral_event first,
			  struct span text)
{
	struct neutral_event ev = first;
	enum err e;

	ev.kind = NEUTRAL_BLOCK_START;
	e = put(t, &ev);
	ev.kind = NEUTRAL_BLOCK_TEXT;
	ev.text = text;
	if (e == ERR_OK)
		e = put(t, &ev);
	ev.kind = NEUTRAL_BLOCK_STOP;
	ev.text = span_of(NULL, 0);
	return e == ERR_OK ? put(t, &ev) : e;
}

static enum err settle_call(struct translation *t,
			    const struct reply_verdict *v)
{
	const struct neutral_event call = {
		.part = NEUTRAL_TOOL_CALL,
		.id = span_text(t->call_id),
		.name = span_text(t->call_name),
	};
	const struct neutral_event text = {.part = NEUTRAL_TEXT};
	struct buf denial;
	enum err e;

	t->base.summary.calls++;
	if (v->allow) {
		e = put_block(t, call, buf_span(&t->arguments));
	} else {
		t->base.summary.calls_denied++;
		buf_init(&denial, 16384);
		e = reply_put_denial(&denial, span_text(t->call_name), v);
		if (e == ERR_OK)
			e = put_block(t, text, buf_span(&denial));
		buf_fini(&denial);
	}
	buf_fini(&t->arguments);
	t->holding = false;
	t->open = false;
	t->index++;
	return e;
}

static enum err on_block_stop(struct translation *t,
			      const struct neutral_event *ev)
{
	static const char unreadable[] =
		"its arguments are not one valid JSON object";
	const struct reply_verdict deny = {.text = span_text(unreadable)};
	enum err e = ERR_OK;

	if (!t->open)
		return broken(t, "a block's end out of turn");
	if (!t->holding) {
		bool unsaid = t->unsaid;

		t->open = false;
		t->unsaid = false;
		t->index++;
		return unsaid ? ERR_OK : put(t, ev);
	}
	if (t->arguments.len_bytes == 0)
		e = buf_put_text(&t->arguments, "{}");
	if (e != ERR_OK)
		return e;
	e = reply_check_arguments(&t->call_json, buf_span(&t->arguments));
	if (e == ERR_MEMORY)
		return e;
	if (e != ERR_OK)
		return settle_call(t, &deny);
	t->base.call = (struct reply_call){
		.index = t->index,
		.id = span_text(t->call_id),
		.name = span_text(t->call_name),
		.arguments = buf_span(&t->arguments),
	};
	t->base.state = REPLY_JUDGE;
	return ERR_OK;
}

static enum err on_usage(struct translation *t, const struct neutral_event *ev)
{
	struct reply_summary *s = &t->base.summary;
	const struct neutral_usage *u = &ev->usage;

	s->usage_known = neutral_usage_is_known(u);
	s->input_tokens = u->input;
	s->output_tokens = u->output;
	s->cache_read_tokens = u->cache_read;
	s->cache_write_tokens = u->cache_write;
	s->cost_known = u->cost_known;
	s->cost_uusd = u->cost_uusd;
	return put(t, ev);
}

/* The client's error becomes the terminal part. */
static enum err hold_error(struct translation *t, enum neutral_error error,
			   struct span text)
{
	const struct neutral_event ev = {
		.kind = NEUTRAL_ERROR,
		.error = error,
		.text = text,
	};
	unsigned status = 500;
	const char *name = t->client->error_name(error, &status);
	enum err e;

	buf_reset(&t->terminal);
	t->holding = false;
	t->base.error_type = name;
	if (t->base.ops->streamed &&
	    (t->begun || (t->out && t->out->len_bytes))) {
		e = t->writer->ops->put(t->writer, &ev, &t->terminal);
	} else {
		t->base.http_status = status;
		t->base.content_type = "application/json";
		e = t->client->put_error(&t->terminal, name, text);
	}
	/* Not before: the text may lie there. */
	neutral_queue_fini(&t->queue);
	buf_fini(&t->arguments);
	return e;
}

static enum err on_error(struct translation *t, const struct neutral_event *ev)
{
	struct span text = ev->text;
	enum err e;

	while (text.len_bytes > ERROR_TEXT_MAX_BYTES ||
	       (text.len_bytes && text.len_bytes < ev->text.len_bytes &&
		!text_is_utf8(text)))
		text.len_bytes = text.len_bytes > ERROR_TEXT_MAX_BYTES
					 ? ERROR_TEXT_MAX_BYTES
					 : text.len_bytes - 1;
	e = hold_error(t, ev->error, text);
	if (e != ERR_OK)
		return e;
	(void)t->client->error_name(ev->error, &t->base.error_status);
	memcpy(t->base.upstream_error, t->reader->upstream_error,
	       sizeof(t->base.upstream_error));
	if (!t->base.upstream_error[0])
		(void)text_escape_line(text, t->base.upstream_error,
				       sizeof(t->base.upstream_error));
	t->base.error_text = "the provider reported an error";
	t->base.state = REPLY_FAILED;
	return ERR_OK;
}

/* What the stop reason is, given the calls that remain. */
static enum neutral_stop stop_of(const struct translation *t,
				 enum neutral_stop stop)
{
	const struct reply_summary *s = &t->base.summary;
	bool remain = s->calls > s->calls_denied;

	if (stop == NEUTRAL_STOP_OTHER)
		return remain ? NEUTRAL_STOP_TOOL : NEUTRAL_STOP_LENGTH;
	if (stop == NEUTRAL_STOP_TOOL && !remain)
		return NEUTRAL_STOP_END;
	if (stop == NEUTRAL_STOP_END && remain)
		return NEUTRAL_STOP_TOOL;
	return stop;
}

static enum err on_stop(struct translation *t, const struct neutral_event *ev)
{
	static const char paused[] = "Kenaz: the provider paused its turn, "
				     "which this dialect cannot express";
	struct reply_summary *s = &t->base.summary;
	struct neutral_event copy = *ev;
	struct buf *out = t->out;
	enum err e;

	if (!t->started || t->open || t->stopped)
		return broken(t, "a stop out of turn");
	if (ev->stop == NEUTRAL_STOP_PAUSE &&
	    t->client->id != DIALECT_ANTHROPIC &&
	    t->client->id != DIALECT_INVOKE) {
		e = hold_error(t, NEUTRAL_ERROR_API, span_text(paused));
		t->base.error_text = "the provider paused its turn";
		if (e == ERR_OK)
			t->base.state = REPLY_FAILED;
		return e;
	}
	copy.stop = stop_of(t, ev->stop);
	/* The log has the word that nobody knows. */
	if ((copy.stop != ev->stop && ev->stop != NEUTRAL_STOP_OTHER) ||
	    !ev->reason.len_bytes ||
	    span_copy_text(ev->reason, s->stop_reason,
			   sizeof(s->stop_reason)) != ERR_OK)
		(void)snprintf(s->stop_reason, sizeof(s->stop_reason), "%s",
			       neutral_stop_name(copy.stop));
	t->stopped = true;
	t->out = &t->terminal;
	e = put(t, &copy);
	t->out = out;
	return e;
}

static enum err handle(struct translation *t, const struct neutral_event *ev)
{
	static enum err (*const handlers[])(struct translation *,
					    const struct neutral_event *) = {
		[NEUTRAL_START] = on_start,
		[NEUTRAL_BLOCK_START] = on_block_start,
		[NEUTRAL_BLOCK_TEXT] = on_block_piece,
		[NEUTRAL_BLOCK_SIGNATURE] = on_block_piece,
		[NEUTRAL_BLOCK_STOP] = on_block_stop,
		[NEUTRAL_USAGE] = on_usage,
		[NEUTRAL_STOP] = on_stop,
		[NEUTRAL_ERROR] = on_error,
	};

	return handlers[ev->kind](t, ev);
}

static enum err on_event(void *context, const struct neutral_event *ev)
{
	struct translation *t = context;
	enum err e;

	if (t->base.state == REPLY_FAILED)
		return ERR_OK;
	if (t->base.state == REPLY_OPEN && neutral_queue_is_empty(&t->queue))
		return handle(t, ev);
	e = neutral_queue_put(&t->queue, ev);
	if (e == ERR_LIMIT)
		t->base.error_text = "too much follows a tool call";
	return e;
}

/* Takes waiting events, up to a call to judge, and the end of the bytes. */
static enum err go_on(struct translation *t)
{
	struct neutral_event ev;
	enum err e = ERR_OK;

	while (e == ERR_OK && t->base.state == REPLY_OPEN) {
		e = neutral_queue_take(&t->queue, &ev);
		if (e == ERR_OK)
			e = handle(t, &ev);
	}
	if (e == ERR_AGAIN)
		e = ERR_OK;
	if (e != ERR_OK || t->base.state != REPLY_OPEN || !t->ended)
		return e;
	if (!t->stopped) {
		t->base.error_text = "the response ended early";
		return ERR_SHORT;
	}
	t->base.state = REPLY_DONE;
	return ERR_OK;
}

static bool is_sse(const struct translation *t)
{
	const char *type = t->base.content_type;

	return t->base.ops->streamed && type &&
	       strcmp(type, "text/event-stream") == 0;
}

/*
 * After each call: what the reader noted, and the memory in use. What this
 * call wrote, whole events, begins at @from.
 */
static enum err settle(struct translation *t, size_t from, enum err e)
{
	struct reply *r = &t->base;

	if (e == ERR_OK && t->out && is_sse(t))
		e = sse_escape_breaks(t->out, from);
	if (e != ERR_OK && !r->error_text)
		r->error_text = t->reader->error_text;
	if (t->reader->upstream_error[0])
		memcpy(r->upstream_error, t->reader->upstream_error,
		       sizeof(r->upstream_error));
	memcpy(r->summary.dropped, t->reader->dropped,
	       sizeof(r->summary.dropped));
	if (t->out && t->out->len_bytes)
		t->begun = true;
	t->out = NULL;
	r->held_bytes = t->arguments.cap_bytes + t->queue.bytes.cap_bytes +
			t->terminal.cap_bytes;
	return e;
}

static enum err translate_feed(struct reply *r, struct span *in,
			       struct buf *out)
{
	struct translation *t = (struct translation *)r;
	size_t before = out->len_bytes;
	enum err e = ERR_OK;

	t->out = out;
	while (e == ERR_OK && in->len_bytes && r->state == REPLY_OPEN) {
		size_t len = in->len_bytes < SLICE_BYTES ? in->len_bytes
							 : SLICE_BYTES;

		e = t->reader->ops->feed(t->reader, span_of(in->data, len));
		*in = span_of(in->data + len, in->len_bytes - len);
		if (out->len_bytes > before)
			t->begun = true;
	}
	return settle(t, before, e);
}

static enum err translate_end(struct reply *r, struct buf *out)
{
	struct translation *t = (struct translation *)r;
	size_t before = out->len_bytes;
	enum err e;

	t->out = out;
	e = t->reader->ops->end(t->reader);
	t->ended = e == ERR_OK;
	if (e == ERR_OK)
		e = go_on(t);
	return settle(t, before, e);
}

static enum err translate_verdict(struct reply *r,
				  const struct reply_verdict *v,
				  struct buf *out)
{
	struct translation *t = (struct translation *)r;
	size_t before = out->len_bytes;
	enum err e;

	t->out = out;
	r->state = REPLY_OPEN;
	e = settle_call(t, v);
	if (out->len_bytes)
		t->begun = true;
	if (e == ERR_OK)
		e = go_on(t);
	return settle(t, before, e);
}

static enum err translate_release(struct reply *r, struct buf *out)
{
	struct translation *t = (struct translation *)r;
	enum err e = ERR_OK;

	if (is_sse(t))
		e = sse_escape_breaks(&t->terminal, 0);
	if (e == ERR_OK)
		e = buf_put_span(out, buf_span(&t->terminal));
	buf_fini(&t->terminal);
	return e;
}

/* The error that a dialect calls by this name; the first of several. */
static enum neutral_error error_of(const struct dialect_ops *client,
				   const char *type)
{
	unsigned status;
	int i;

	for (i = NEUTRAL_ERROR_INVALID; i < NEUTRAL_ERROR_API; i++)
		if (strcmp(client->error_name((enum neutral_error)i, &status),
			   type) == 0)
			return (enum neutral_error)i;
	return NEUTRAL_ERROR_API;
}

static enum err translate_fail(struct reply *r, const char *type,
			       struct span text)
{
	struct translation *t = (struct translation *)r;
	enum err e = hold_error(t, error_of(t->client, type), text);

	r->held_bytes = t->terminal.cap_bytes;
	return e;
}

static enum err translate_ping(struct reply *r, struct buf *out)
{
	struct translation *t = (struct translation *)r;

	return t->writer->ops->ping ? t->writer->ops->ping(t->writer, out)
				    : ERR_OK;
}

static void translate_free(struct reply *r)
{
	struct translation *t = (struct translation *)r;

	if (t->reader)
		t->reader->ops->free(t->reader);
	if (t->writer)
		t->writer->ops->free(t->writer);
	neutral_names_free(t->names);
	neutral_queue_fini(&t->queue);
	buf_fini(&t->arguments);
	buf_fini(&t->terminal);
	json_fini(&t->call_json);
	free(t);
}

static const struct reply_ops streamed_ops = {
	.feed = translate_feed,
	.end = translate_end,
	.verdict = translate_verdict,
	.release = translate_release,
	.fail = translate_fail,
	.ping = translate_ping,
	.free = translate_free,
	.streamed = true,
};

static const struct reply_ops plain_ops = {
	.feed = translate_feed,
	.end = translate_end,
	.verdict = translate_verdict,
	.release = translate_release,
	.fail = translate_fail,
	.free = translate_free,
};

/**
 * reply_translate_new() - Start reading a response of another dialect
 * @wire:	What the provider speaks; has a reader
 * @streamed:	Whether it answers with a stream
 * @client:	What the guest's program speaks; has a writer
 * @answer:	What it asked for; borrowed during the call
 *
 * Whether the client gets a stream is up to @answer alone. When the reply is
 * FAILED before the client got a byte, http_status and content_type are those
 * of the error that reply_release() gives.
 *
 * Return: owned by the caller, for reply_free(); NULL without memory.
 */
struct reply *reply_translate_new(const struct dialect_ops *wire, bool streamed,
				  const struct dialect_ops *client,
				  const struct neutral_answer *answer)
{
	struct translation *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->base.ops = answer->stream ? &streamed_ops : &plain_ops;
	t->base.content_type =
		answer->stream ? client->stream_type : "application/json";
	t->client = client;
	neutral_queue_init(&t->queue);
	buf_init(&t->arguments, TOOL_ARGUMENTS_MAX_BYTES);
	buf_init(&t->terminal, TERMINAL_MAX_BYTES);
	json_init(&t->call_json);
	t->names = neutral_names_copy(answer->names);
	t->reader = wire->reader_new(streamed, on_event, t);
	t->writer = client->writer_new(answer);
	if (t->reader && t->writer && (t->names || !answer->names))
		return &t->base;
	translate_free(&t->base);
	return NULL;
}
