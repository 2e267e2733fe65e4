/* SPDX-License-Identifier: Apache-2.0 */
/*
 * turn.c - one prompt of the user, to the end of the model's turn
 *
 * Runs in: kenaz-workbench.
 * Trusts:  nothing that comes back from the gate.
 * Never:   retries: what failed is said, and the prompt is taken back out of
 *	    the conversation, so that the next one starts clean.
 */
#include "guest/workbench/turn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/base/text.h"
#include "engine/base/version.h"
#include "guest/workbench/event_reader.h"

#define ERROR_BODY_MAX_BYTES (64u * 1024)
#define HEADERS_MAX_BYTES    1024
#define STATUS_OK            200
#define STATUS_FORBIDDEN     403
#define SCRIPTED_MODEL       "kenaz-scripted"

/* One request and what comes back. */
struct step {
	struct workbench *w;
	struct http_reader reader;
	struct event_reader events;
	struct model_reply *reply;
	struct buf error_body;
	bool is_stream;
	bool is_scripted;
};

static void on_header(void *owner, struct span name, struct span value)
{
	static const char stream_type[] = "text/event-stream";
	struct step *s = owner;

	if (http_reader_name_is(name, "content-type"))
		s->is_stream = value.len_bytes >= sizeof(stream_type) - 1 &&
			       memcmp(value.data, stream_type,
				      sizeof(stream_type) - 1) == 0;
	else if (http_reader_name_is(name, "x-kenaz-scripted"))
		s->is_scripted = span_is(value, "1");
}

static void note_scripted(struct step *s)
{
	if (strcmp(s->reply->model, SCRIPTED_MODEL) == 0)
		s->is_scripted = true;
	if (!s->is_scripted || s->w->said_scripted)
		return;
	s->w->said_scripted = true;
	transcript_note(&s->w->transcript,
			"scripted provider: no model is called; add one with "
			"`kenaz provider add`");
}

static enum err on_model_event(void *owner, struct span name, struct span data)
{
	struct step *s = owner;
	bool had_begun = s->reply->has_begun;
	enum err e;

	e = model_reply_take(s->reply, name, data);
	if (!had_begun && s->reply->has_begun)
		note_scripted(s);
	return e;
}

static enum err on_body(void *owner, struct span data)
{
	struct step *s = owner;

	if (s->reader.status == STATUS_OK && s->is_stream)
		return event_reader_feed(&s->events, data);
	return buf_put_span(&s->error_body, data);
}

static void on_text(void *owner, const struct model_block *b, struct span added)
{
	struct workbench *w = owner;

	(void)b;
	if (added.len_bytes)
		transcript_text(&w->transcript, added);
	else
		transcript_text_end(&w->transcript);
}

/* An HTTP answer that is no stream: a refusal of policy, or an error. */
static enum err report_status(struct step *s)
{
	struct model_reply *r = s->reply;
	unsigned status = s->reader.status;
	const char *text;

	model_reply_take_error(r, buf_span(&s->error_body));
	text = r->error[0] ? r->error : "no explanation";
	if (status == STATUS_FORBIDDEN ||
	    (status >= 400 && status < 500 &&
	     strcmp(r->error_type, "permission_error") == 0)) {
		transcript_denied(&s->w->transcript, span_text(text));
		return ERR_DENIED;
	}
	if (status == STATUS_OK)
		transcript_error(&s->w->transcript,
				 "the gate answered without a stream");
	else
		transcript_error(&s->w->transcript,
				 "the gate answered %u%s%s: %s", status,
				 r->error_type[0] ? " " : "", r->error_type,
				 text);
	return ERR_UPSTREAM;
}

static enum err report_failure(struct step *s, enum err e, const char *step)
{
	struct transcript *t = &s->w->transcript;

	if (e == ERR_CANCELLED)
		transcript_note(t, "interrupted");
	else if (e == ERR_UPSTREAM)
		transcript_error(t, "the stream ended with an error: %s%s%s",
				 s->reply->error_type,
				 s->reply->error_type[0] ? ": " : "",
				 s->reply->error[0] ? s->reply->error
						    : "no explanation");
	else if (e == ERR_SHORT)
		transcript_error(t, "%s: the connection broke before the end",
				 step);
	else if (e == ERR_SYS)
		transcript_error(t, "%s: %s", step, strerror(errno));
	else
		transcript_error(t, "%s: %s", step, err_text(e));
	return e;
}

static enum err send_step(struct step *s, const struct buf *body)
{
	char headers[HEADERS_MAX_BYTES];
	const char *what = "sending the request";
	struct http_call call = {.place = &s->w->place,
				 .route = "/v1/messages",
				 .headers = headers,
				 .body = buf_span(body),
				 .is_cancelled = s->w->is_cancelled,
				 .reader = &s->reader};
	enum err e;
	int n = snprintf(headers, sizeof(headers),
			 "Accept: text/event-stream\r\n"
			 "User-Agent: kenaz-workbench/%s\r\n"
			 "anthropic-version: 2023-06-01\r\nx-api-key: %s\r\n",
			 KENAZ_VERSION, s->w->api_key);

	if (n < 0 || (size_t)n >= sizeof(headers))
		return report_failure(s, ERR_LIMIT, "the API key is too long");
	e = http_call_post(&call, &what);
	if (e == ERR_OK && (s->reader.status != STATUS_OK || !s->is_stream))
		return report_status(s);
	if (e == ERR_OK)
		e = event_reader_end(&s->events);
	/* A stream without its terminal event is never a success. */
	if (e == ERR_OK && !s->reply->has_ended)
		e = ERR_SHORT;
	return e == ERR_OK ? e : report_failure(s, e, what);
}

/* Ask the model once; @reply is filled in. */
static enum err ask(struct workbench *w, struct model_reply *reply)
{
	struct step s = {.w = w, .reply = reply};
	struct buf body;
	enum err e;

	buf_init(&body, CONVERSATION_MAX_BYTES + (64u * 1024));
	buf_init(&s.error_body, ERROR_BODY_MAX_BYTES);
	http_reader_init(&s.reader);
	event_reader_init(&s.events, on_model_event, &s);
	s.reader.on_header = on_header;
	s.reader.on_body = on_body;
	s.reader.owner = &s;
	reply->on_text = on_text;
	reply->owner = w;
	e = conversation_request(&w->conversation, w->model, &body);
	if (e == ERR_OK)
		e = send_step(&s, &body);
	else
		e = report_failure(&s, e, "building the request");
	reply->on_text = NULL;
	event_reader_fini(&s.events);
	http_reader_fini(&s.reader);
	buf_fini(&s.error_body);
	buf_fini(&body);
	return e;
}

static void run_call(struct workbench *w, const struct model_block *b,
		     struct tool_result *result)
{
	struct tool_call call = {.input = buf_span(&b->content),
				 .is_cancelled = w->is_cancelled};

	tool_result_init(result);
	(void)snprintf(result->id, sizeof(result->id), "%.*s",
		       (int)sizeof(result->id) - 1, b->id);
	transcript_call(&w->transcript, span_text(b->name), call.input);
	if (w->is_cancelled && w->is_cancelled())
		tool_fail(result, "Skipped: the user interrupted.");
	else
		tools_run(span_text(b->name), &call, result);
	transcript_result(&w->transcript, result);
}

/* Every call gets its result, in the order of the calls. */
static enum err run_calls(struct workbench *w, const struct model_reply *reply,
			  size_t *ret_count)
{
	struct tool_result *results;
	size_t i, count = 0;
	enum err e = ERR_OK;

	results = calloc(MODEL_REPLY_MAX_BLOCKS, sizeof(*results));
	if (!results)
		return ERR_MEMORY;
	for (i = 0; i < reply->count; i++)
		if (reply->blocks[i].type == MODEL_BLOCK_TOOL_USE)
			run_call(w, &reply->blocks[i], &results[count++]);
	if (count)
		e = conversation_add_results(&w->conversation, results, count);
	for (i = 0; i < count; i++)
		tool_result_fini(&results[i]);
	free(results);
	*ret_count = count;
	return e;
}

static void note_stop(struct workbench *w, const struct model_reply *reply)
{
	const char *reason = reply->stop_reason;

	if (strcmp(reason, "max_tokens") == 0)
		transcript_note(&w->transcript,
				"the reply was cut at the model's limit");
	else if (strcmp(reason, "refusal") == 0)
		transcript_note(&w->transcript, "the model refused to go on");
}

/* One request and its calls; @ret_done when the turn has ended. */
static enum err run_step(struct workbench *w, bool *ret_done)
{
	struct model_reply *reply = malloc(sizeof(*reply));
	size_t calls = 0;
	enum err e;

	if (!reply)
		return ERR_MEMORY;
	model_reply_init(reply);
	e = ask(w, reply);
	/* A reply without content cannot be told back: it said nothing. */
	if (e == ERR_OK && reply->count)
		e = conversation_add_reply(&w->conversation, reply);
	if (e == ERR_OK)
		e = run_calls(w, reply, &calls);
	if (e == ERR_OK && w->is_cancelled && w->is_cancelled()) {
		transcript_note(&w->transcript, "interrupted");
		e = ERR_CANCELLED;
	}
	if (e == ERR_OK && calls == 0)
		note_stop(w, reply);
	*ret_done = calls == 0;
	model_reply_fini(reply);
	free(reply);
	return e;
}

/**
 * turn_run() - Take a prompt to the end of the model's turn
 * @w:		Workbench
 * @prompt:	UTF-8, not empty
 *
 * Everything is shown in the transcript, failures too.
 *
 * Return: ERR_OK at the end of the turn; ERR_CANCELLED; ERR_DENIED by
 *	   policy; ERR_LIMIT past TURN_MAX_STEPS; another error when it failed.
 */
enum err turn_run(struct workbench *w, struct span prompt)
{
	size_t mark = conversation_mark(&w->conversation);
	bool done = false;
	unsigned steps = 0;
	enum err e = conversation_add_prompt(&w->conversation, prompt);

	if (e != ERR_OK)
		transcript_error(&w->transcript, "the prompt: %s", err_text(e));
	w->said_scripted = false;
	while (e == ERR_OK && !done) {
		if (steps++ == TURN_MAX_STEPS) {
			transcript_error(&w->transcript,
					 "stopped after %d requests for one "
					 "prompt",
					 TURN_MAX_STEPS);
			e = ERR_LIMIT;
		} else {
			e = run_step(w, &done);
		}
	}
	if (e != ERR_OK)
		conversation_rewind(&w->conversation, mark);
	return e;
}
