/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_end.c - what the guest gets, and how a request ends
 *
 * Runs in: kenaz-gate.
 * Trusts:  core to say when an outcome is durable.
 * Never:   makes a failed response look whole.
 *
 * The response to the guest starts with the first byte that may go on. A
 * failure before that is a proper HTTP error, afterwards an error in the
 * stream; either way the guest learns it once core has made it durable.
 */
#include "engine/gate/infer_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/proto/attrs.h"

static void on_poll_closed(uv_handle_t *handle)
{
	struct infer *x = handle->data;

	x->poll_closing = false;
	if (x->forgotten)
		free(x);
}

/** infer_enter() - Go to a state; its deadline starts anew */
void infer_enter(struct infer *x, enum infer_state state)
{
	x->state = state;
	x->moved_ns = uv_hrtime();
}

/** infer_close_source() - Stop reading: the broker cancels the transfer */
void infer_close_source(struct infer *x)
{
	if (x->fd < 0)
		return;
	/* Before the number is free: closing stops whoever has it by then. */
	uv_close((uv_handle_t *)&x->poll, on_poll_closed);
	x->poll_closing = true;
	close(x->fd);
	x->fd = -1;
	x->polling = false;
	buf_fini(&x->in);
}

/** infer_forget() - The request is over; @x is gone afterwards */
void infer_forget(struct infer *x)
{
	infer_close_source(x);
	x->http->owner = NULL;
	LIST_REMOVE(x, next);
	x->set->count--;
	x->set->buffered_bytes -= x->charged_bytes;
	reply_free(x->reply);
	buf_fini(&x->headers);
	x->forgotten = true;
	if (!x->poll_closing)
		free(x);
}

/** infer_charge() - Bring the session's count of buffered bytes up to date */
void infer_charge(struct infer *x)
{
	size_t now = x->in.cap_bytes + x->http->out.cap_bytes;

	if (x->reply)
		now += x->reply->held_bytes;
	x->set->buffered_bytes += now - x->charged_bytes;
	x->charged_bytes = now;
}

/**
 * infer_answer_error() - Answer with an error of our own in the dialect
 * @r:		Request without an answer
 * @status:	HTTP status
 * @type:	Error type in the dialect's terms
 * @text:	Sentence, UTF-8
 * @retry_s:	For retry-after; 0 is none
 */
void infer_answer_error(struct http_request *r, unsigned status,
			const char *type, struct span text, uint32_t retry_s)
{
	char number[16];
	struct buf body, headers;
	enum err e;

	buf_init(&body, 65536);
	buf_init(&headers, 1024);
	e = dialect_anthropic.put_error(&body, type, text);
	if (e == ERR_OK)
		e = attrs_put_text(&headers, "content-type",
				   span_text("application/json"));
	if (e == ERR_OK && retry_s) {
		(void)snprintf(number, sizeof(number), "%u", retry_s);
		e = attrs_put_text(&headers, "retry-after", span_text(number));
	}
	if (e == ERR_OK)
		e = http_answer(r, status, buf_span(&headers), &body);
	if (e != ERR_OK)
		http_break(r);
	buf_fini(&body);
	buf_fini(&headers);
}

/**
 * infer_refuse_later() - Refuse a request that may be tried again
 * @r:		Request without an answer
 * @status:	HTTP status
 * @text:	Sentence fragment
 * @retry_s:	When, in seconds
 */
void infer_refuse_later(struct http_request *r, unsigned status,
			const char *text, uint32_t retry_s)
{
	char sentence[512];

	(void)snprintf(sentence, sizeof(sentence), "Kenaz: %s", text);
	infer_answer_error(r, status, dialect_anthropic.error_type(status),
			   span_text(sentence), retry_s);
}

/**
 * infer_refuse() - Answer a request that is not for core to decide
 * @r:		Request without an answer
 * @status:	HTTP status
 * @text:	Sentence fragment
 */
void infer_refuse(struct http_request *r, unsigned status, const char *text)
{
	infer_refuse_later(r, status, text, status == 429 ? 1 : 0);
}

/** infer_send_end() - Report the response's end; the rest is held */
void infer_send_end(struct infer *x)
{
	struct reply_summary none = {.usage_known = false};
	const struct reply_summary *s = x->reply ? &x->reply->summary : &none;
	struct msg_infer_end m = {
		.request = x->request,
		.error = x->fail_error,
		.text = span_text(x->fail_text),
		.response_id = span_text(s->id),
		.response_model = span_text(s->model),
		.stop_reason = span_text(s->stop_reason),
		.usage_known = s->usage_known,
		.input_tokens = s->input_tokens,
		.output_tokens = s->output_tokens,
		.cache_read_tokens = s->cache_read_tokens,
		.cache_write_tokens = s->cache_write_tokens,
		.tool_calls = s->calls,
		.tool_calls_denied = s->calls_denied,
	};

	infer_close_source(x);
	infer_enter(x, INFER_HELD);
	if (chan_send_infer_end(x->set->core, &m, NULL, 0) != ERR_OK)
		log_error("core was not told of a request's end");
}

static const struct {
	enum err error;
	unsigned status;
	const char *type;
} failure_table[] = {
	{ERR_TIMEOUT, 504, "timeout_error"},
	{ERR_DENIED, 403, "permission_error"},
	{ERR_PERMISSION, 403, "permission_error"},
	{ERR_MEMORY, 529, "overloaded_error"},
	{ERR_CANCELLED, 503, "api_error"},
	{ERR_SEALED, 503, "api_error"},
	{ERR_STORAGE, 503, "api_error"},
};

/**
 * infer_set_text() - Note why the response is no success
 * @x:		Request
 * @error:	Not ERR_OK
 * @text:	Sentence fragment, UTF-8
 *
 * The provider's own words are added when it gave any.
 */
void infer_set_text(struct infer *x, enum err error, const char *text)
{
	const char *upstream = x->reply ? x->reply->upstream_error : "";
	int len = snprintf(x->fail_text, sizeof(x->fail_text), "Kenaz: %s%s%s",
			   text, upstream[0] ? ": " : "", upstream);
	size_t used = len < 0 ? 0 : (size_t)len;

	if (used >= sizeof(x->fail_text))
		used = sizeof(x->fail_text) - 1;
	/* Cutting may have split a code point. */
	while (used && !text_is_utf8(span_of(x->fail_text, used)))
		used--;
	x->fail_text[used] = '\0';
	x->fail_error = error;
}

/**
 * infer_spoil() - Turn what is held into an error
 * @x:		Request
 * @error:	Not ERR_OK
 * @text:	Sentence fragment, UTF-8
 */
void infer_spoil(struct infer *x, enum err error, const char *text)
{
	size_t i;

	x->http_status = 502;
	x->fail_type = "api_error";
	for (i = 0; i < ARRAY_SIZE(failure_table); i++) {
		if (failure_table[i].error != error)
			continue;
		x->http_status = failure_table[i].status;
		x->fail_type = failure_table[i].type;
	}
	infer_set_text(x, error, text);
	infer_close_source(x);
	if (x->reply && reply_fail(x->reply, x->fail_type,
				   span_text(x->fail_text)) != ERR_OK)
		http_break(x->http);
}

/** infer_fail() - Spoil the response and report its end */
void infer_fail(struct infer *x, enum err error, const char *text)
{
	infer_spoil(x, error, text);
	infer_send_end(x);
}

/** infer_broken() - The provider's response broke its dialect */
void infer_broken(struct infer *x, enum err e)
{
	const char *why = x->reply && x->reply->error_text
				  ? x->reply->error_text
				  : err_text(e);

	/* A memory shortage is ours, everything else the provider's. */
	infer_fail(x, e == ERR_MEMORY ? e : ERR_UPSTREAM, why);
}

/** infer_deliver() - Hand bytes on; the first ones start the response */
void infer_deliver(struct infer *x, struct span bytes)
{
	enum err e = ERR_OK;

	if (!bytes.len_bytes)
		return;
	if (!x->begun)
		e = http_begin(x->http, x->http_status, buf_span(&x->headers));
	x->begun = true;
	x->written_ns = uv_hrtime();
	if (e == ERR_OK)
		e = http_write(x->http, bytes);
	if (e != ERR_OK)
		http_break(x->http);
}

/* The held part of a reply: the rest of a stream, or all of a body. */
static enum err release(struct infer *x)
{
	struct buf out;
	enum err e;

	buf_init(&out, HTTP_OUT_MAX_BYTES);
	e = reply_release(x->reply, &out);
	if (e == ERR_OK && x->reply->ops->streamed) {
		infer_deliver(x, buf_span(&out));
		http_end(x->http);
	} else if (e == ERR_OK) {
		e = http_answer(x->http, x->http_status, buf_span(&x->headers),
				&out);
	}
	buf_fini(&out);
	return e;
}

/**
 * infer_finish() - The outcome is durable: let go of what was held
 * @x:	Request; gone afterwards
 */
void infer_finish(struct infer *x)
{
	if (!x->begun && x->fail_type)
		infer_answer_error(x->http, x->http_status, x->fail_type,
				   span_text(x->fail_text), 0);
	else if (release(x) != ERR_OK)
		http_break(x->http);
	infer_forget(x);
}
