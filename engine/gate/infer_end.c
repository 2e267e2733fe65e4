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
#include <string.h>
#include <unistd.h>

#include "engine/base/jsonw.h"
#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/gate/models_list.h"
#include "engine/gate/neutral_names.h"
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
	infer_drop_request(x);
	buf_fini(&x->start);
	buf_fini(&x->headers);
	free(x->fail_text);
	x->forgotten = true;
	if (!x->poll_closing)
		free(x);
}

/** infer_charge() - Bring the session's count of buffered bytes up to date */
void infer_charge(struct infer *x)
{
	size_t now =
		x->in.cap_bytes + x->start.cap_bytes + x->http->out.cap_bytes;

	if (x->reply)
		now += x->reply->held_bytes;
	x->set->buffered_bytes += now - x->charged_bytes;
	x->charged_bytes = now;
}

/** infer_drop_request() - No other attempt will need what the client sent */
void infer_drop_request(struct infer *x)
{
	neutral_names_free(x->names);
	x->names = NULL;
	if (!x->facts)
		return;
	request_facts_fini(x->facts);
	free(x->facts);
	x->facts = NULL;
	http_drop_body(x->http);
	buf_fini(&x->http->head.forwarded);
}

/** infer_start_over() - Forget the failed attempt: another one follows */
void infer_start_over(struct infer *x)
{
	infer_close_source(x);
	reply_free(x->reply);
	x->reply = NULL;
	buf_fini(&x->start);
	buf_reset(&x->headers);
	x->content_type[0] = '\0';
	x->data_at = 0;
	x->http_status = 0;
	x->failed = false;
	free(x->fail_text);
	x->fail_text = NULL;
	x->fail_error = ERR_OK;
	x->retry = RETRY_NONE;
	infer_charge(x);
	infer_enter(x, INFER_ASKED);
}

/* An error's name in a dialect; the status where none was chosen. */
static const char *name_error(const struct dialect_ops *d,
			      enum error_class error, unsigned *status)
{
	static const unsigned statuses[ERROR_CLASS_COUNT] = {
		[ERROR_CLASS_INVALID] = 400,
		[ERROR_CLASS_AUTHENTICATION] = 401,
		[ERROR_CLASS_BILLING] = 402,
		[ERROR_CLASS_PERMISSION] = 403,
		[ERROR_CLASS_NOT_FOUND] = 404,
		[ERROR_CLASS_TOO_LARGE] = 413,
		[ERROR_CLASS_CONTEXT] = 400,
		[ERROR_CLASS_RATE] = 429,
		[ERROR_CLASS_QUOTA] = 429,
		[ERROR_CLASS_TIMEOUT] = 504,
		[ERROR_CLASS_OVERLOADED] = 529,
		[ERROR_CLASS_API] = 500,
	};
	unsigned own = statuses[error];
	const char *name = NULL;

	if (d->error_name)
		name = d->error_name((enum neutral_error)error, &own);
	if (*status == 0)
		*status = own;
	return name ? name : d->error_type(statuses[error]);
}
_Static_assert((int)ERROR_CLASS_COUNT == (int)NEUTRAL_ERROR_API + 1 &&
		       (int)ERROR_CLASS_API == (int)NEUTRAL_ERROR_API &&
		       (int)ERROR_CLASS_RATE == (int)NEUTRAL_ERROR_RATE,
	       "both name the same errors in the same order");

/* Where no dialect is known: what most clients can read. */
static enum err put_generic(struct buf *b, const char *type, struct span text)
{
	struct jsonw w;

	jsonw_init(&w, b);
	jsonw_begin_object(&w);
	jsonw_key(&w, "error");
	jsonw_begin_object(&w);
	jsonw_put_cstr(&w, "type", type);
	jsonw_key(&w, "message");
	jsonw_text(&w, text);
	jsonw_end_object(&w);
	jsonw_end_object(&w);
	return jsonw_finish(&w);
}

static void answer(struct http_request *r, const struct dialect_ops *d,
		   unsigned status, const char *type, struct span text,
		   uint32_t retry_s)
{
	char number[16];
	struct buf body, headers;
	enum err e;

	buf_init(&body, 65536);
	buf_init(&headers, 1024);
	/* 529 is Anthropic's own. */
	if (status == 529 && d && d->id != DIALECT_ANTHROPIC)
		status = 503;
	e = d ? d->put_error(&body, type, text)
	      : put_generic(&body, type, text);
	if (e == ERR_OK)
		e = attrs_put_text(&headers, "content-type",
				   span_text("application/json"));
	if (e == ERR_OK && d &&
	    (d->id == DIALECT_INVOKE || d->id == DIALECT_CONVERSE))
		e = attrs_put_text(&headers, "x-amzn-errortype",
				   span_text(type));
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

static const struct dialect_ops *dialect_of(const struct http_request *r)
{
	return dialect_find((enum dialect)r->target.dialect);
}

/**
 * infer_answer_error() - Answer with an error of our own in the dialect
 * @r:		Request without an answer
 * @status:	HTTP status; 0: the dialect's own
 * @error:	What went wrong
 * @text:	Sentence, UTF-8
 * @retry_s:	For retry-after; 0 is none
 */
void infer_answer_error(struct http_request *r, unsigned status,
			enum error_class error, struct span text,
			uint32_t retry_s)
{
	const struct dialect_ops *d = dialect_of(r);
	const char *type =
		d ? name_error(d, error, &status) : error_class_name(error);

	answer(r, d, status, type, text, retry_s);
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
	const struct dialect_ops *d = dialect_of(r);
	char sentence[512];

	/* Kenaz's own paths, and those that are none. */
	if (!d && r->target.dialect == DIALECT_NONE)
		d = &dialect_anthropic;
	(void)snprintf(sentence, sizeof(sentence), "Kenaz: %s", text);
	answer(r, d, status, d ? d->error_type(status) : "not_supported",
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

/**
 * infer_answer_models() - Answer with a list of models that core made
 * @x:		Request without an answer
 * @names:	attrs.h texts
 * @omitted:	How many more there are; said in a header
 */
void infer_answer_models(struct infer *x, struct span names, uint32_t omitted)
{
	char number[16];
	struct buf body, headers;
	enum err e;

	buf_init(&body, MODELS_LIST_MAX_BYTES);
	buf_init(&headers, 256);
	(void)snprintf(number, sizeof(number), "%u", omitted);
	e = models_list_write(x->dialect->id, names, &body);
	if (e == ERR_OK)
		e = attrs_put_text(&headers, "content-type",
				   span_text("application/json"));
	if (e == ERR_OK && omitted)
		e = attrs_put_text(&headers, "x-kenaz-models-omitted",
				   span_text(number));
	if (e == ERR_OK)
		e = http_answer(x->http, 200, buf_span(&headers), &body);
	if (e != ERR_OK)
		http_break(x->http);
	buf_fini(&body);
	buf_fini(&headers);
}

/** infer_send_end() - Report the response's end; the rest is held */
void infer_send_end(struct infer *x)
{
	struct reply_summary none = {.usage_known = false};
	const struct reply_summary *s = x->reply ? &x->reply->summary : &none;
	struct msg_infer_end m = {
		.request = x->request,
		.error = x->fail_error,
		.text = span_text(infer_fail_text(x)),
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
		.cost_known = s->cost_known,
		.cost_microusd = s->cost_uusd,
		.retry = x->handed ? RETRY_NONE : (uint8_t)x->retry,
		.dropped = span_text(s->dropped),
	};

	infer_close_source(x);
	infer_enter(x, INFER_HELD);
	if (chan_send_infer_end(x->set->core, &m, NULL, 0) != ERR_OK)
		log_error("core was not told of a request's end");
}

static const struct {
	enum err error;
	unsigned status;
	enum error_class class;
} failure_table[] = {
	{ERR_TIMEOUT, 504, ERROR_CLASS_TIMEOUT},
	{ERR_DENIED, 403, ERROR_CLASS_PERMISSION},
	{ERR_PERMISSION, 403, ERROR_CLASS_PERMISSION},
	/* No key, or a locked vault: a client that tries again gets the same.
	 */
	{ERR_STATE, 403, ERROR_CLASS_PERMISSION},
	{ERR_NOT_FOUND, 403, ERROR_CLASS_PERMISSION},
	{ERR_MEMORY, 529, ERROR_CLASS_OVERLOADED},
	{ERR_CANCELLED, 503, ERROR_CLASS_API},
	{ERR_SEALED, 503, ERROR_CLASS_API},
	{ERR_STORAGE, 503, ERROR_CLASS_API},
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
	char whole[REASON_MAX_BYTES + 1];
	int len = snprintf(whole, sizeof(whole), "Kenaz: %s%s%s", text,
			   upstream[0] ? ": " : "", upstream);
	size_t used = len < 0 ? 0 : (size_t)len;

	if (used >= sizeof(whole))
		used = sizeof(whole) - 1;
	/* Cutting may have split a code point. */
	while (used && !text_is_utf8(span_of(whole, used)))
		used--;
	free(x->fail_text);
	x->fail_text = strndup(whole, used);
	x->fail_error = error;
}

/** infer_fail_text() - What infer_set_text() noted last; else empty */
const char *infer_fail_text(const struct infer *x)
{
	if (x->fail_text)
		return x->fail_text;
	return x->fail_error == ERR_OK ? "" : "Kenaz: out of memory";
}

/**
 * infer_spoil() - Turn what is held into an error
 * @x:		Request
 * @error:	Not ERR_OK
 * @text:	Sentence fragment, UTF-8
 */
void infer_spoil(struct infer *x, enum err error, const char *text)
{
	unsigned status = 0;
	size_t i;

	x->http_status = 502;
	x->failed = true;
	x->fail_class = ERROR_CLASS_API;
	for (i = 0; i < ARRAY_SIZE(failure_table); i++) {
		if (failure_table[i].error != error)
			continue;
		x->http_status = failure_table[i].status;
		x->fail_class = failure_table[i].class;
	}
	infer_set_text(x, error, text);
	infer_close_source(x);
	if (x->reply &&
	    reply_fail(x->reply, name_error(x->dialect, x->fail_class, &status),
		       span_text(infer_fail_text(x))) != ERR_OK)
		http_break(x->http);
}

/* Our own shortages and ends are not the provider's. */
static enum infer_retry retry_of_error(const struct infer *x, enum err error)
{
	if (error == ERR_TIMEOUT)
		return RETRY_TIMEOUT;
	if (error == ERR_STATE || error == ERR_NOT_FOUND || error == ERR_CONFIG)
		return RETRY_HTTP_AUTH;
	if (error != ERR_UPSTREAM && error != ERR_CLOSED &&
	    error != ERR_FORMAT && error != ERR_SHORT)
		return RETRY_NONE;
	return x->reply ? RETRY_BROKEN : RETRY_CONNECT;
}

/** infer_fail() - Spoil the response and report its end */
void infer_fail(struct infer *x, enum err error, const char *text)
{
	x->retry = retry_of_error(x, error);
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

/* Headers for the guest, with the content type of what it gets. */
static enum err begin(struct infer *x, bool streamed, struct buf *body)
{
	const struct reply *r = x->reply;
	const char *type =
		r && r->content_type ? r->content_type : x->content_type;
	unsigned status = r && r->http_status ? r->http_status : x->http_status;
	enum err e = ERR_OK;

	if (type[0])
		e = attrs_put_text(&x->headers, "content-type",
				   span_text(type));
	if (e == ERR_OK && r && r->error_type && x->wire != x->dialect &&
	    (x->dialect->id == DIALECT_INVOKE ||
	     x->dialect->id == DIALECT_CONVERSE))
		e = attrs_put_text(&x->headers, "x-amzn-errortype",
				   span_text(r->error_type));
	if (e != ERR_OK)
		return e;
	x->begun = true;
	e = streamed
		    ? http_begin(x->http, status, buf_span(&x->headers))
		    : http_answer(x->http, status, buf_span(&x->headers), body);
	buf_fini(&x->headers);
	return e;
}

/** infer_begin_stream() - Say that a stream will come, before it does */
void infer_begin_stream(struct infer *x)
{
	const char *type = x->dialect->stream_type ? x->dialect->stream_type
						   : "text/event-stream";
	struct buf headers;
	enum err e;

	buf_init(&headers, 256);
	e = attrs_put_text(&headers, "content-type", span_text(type));
	if (e == ERR_OK)
		e = http_begin(x->http, 200, buf_span(&headers));
	if (e != ERR_OK)
		http_break(x->http);
	x->begun = true;
	buf_fini(&headers);
}

static void hand_on(struct infer *x, struct span bytes)
{
	enum err e = ERR_OK;

	if (!x->begun)
		e = begin(x, true, NULL);
	if (!x->handed)
		infer_drop_request(x);
	x->handed = true;
	x->written_ns = uv_hrtime();
	if (e == ERR_OK)
		e = http_write(x->http, bytes);
	if (e != ERR_OK)
		http_break(x->http);
}

/** infer_deliver_start() - Hand on what waited: no attempt may follow */
void infer_deliver_start(struct infer *x)
{
	if (!x->start.len_bytes)
		return;
	hand_on(x, buf_span(&x->start));
	buf_fini(&x->start);
}

/*
 * Some providers send an error only once a stream has begun. Until the
 * answer's first piece is there its start waits, so that another attempt can
 * be made; with that piece it goes, or when it has waited long enough.
 */
static bool may_wait(const struct infer *x, struct span bytes)
{
	const struct reply *r = x->reply;

	return !x->handed && x->state != INFER_HELD && r && r->ops->streamed &&
	       !r->said &&
	       x->start.len_bytes + bytes.len_bytes <= INFER_START_MAX_BYTES;
}

/** infer_deliver() - Hand bytes on; the first ones start the response */
void infer_deliver(struct infer *x, struct span bytes)
{
	if (may_wait(x, bytes)) {
		if (bytes.len_bytes && !x->start.len_bytes)
			x->start_ns = uv_hrtime();
		if (buf_put_span(&x->start, bytes) != ERR_OK)
			http_break(x->http);
		return;
	}
	infer_deliver_start(x);
	if (bytes.len_bytes)
		hand_on(x, bytes);
}

/**
 * infer_stream_error() - End a stream of which only keep-alives were sent
 * @x:		Request that has begun
 * @error:	What went wrong
 * @text:	Sentence, UTF-8
 */
void infer_stream_error(struct infer *x, enum error_class error,
			struct span text)
{
	struct reply *r = x->dialect->stream_new();
	unsigned status = 0;
	struct buf out;
	enum err e = r ? ERR_OK : ERR_MEMORY;

	buf_init(&out, HTTP_OUT_MAX_BYTES);
	if (e == ERR_OK)
		e = reply_fail(r, name_error(x->dialect, error, &status), text);
	if (e == ERR_OK)
		e = reply_release(r, &out);
	if (e == ERR_OK)
		e = http_write(x->http, buf_span(&out));
	if (e == ERR_OK)
		http_end(x->http);
	else
		http_break(x->http);
	buf_fini(&out);
	reply_free(r);
}

static enum error_class class_of_status(unsigned status)
{
	static const struct {
		unsigned status;
		enum error_class class;
	} table[] = {
		{400, ERROR_CLASS_INVALID},   {401, ERROR_CLASS_AUTHENTICATION},
		{402, ERROR_CLASS_BILLING},   {403, ERROR_CLASS_PERMISSION},
		{404, ERROR_CLASS_NOT_FOUND}, {408, ERROR_CLASS_TIMEOUT},
		{413, ERROR_CLASS_TOO_LARGE}, {422, ERROR_CLASS_INVALID},
		{429, ERROR_CLASS_RATE},      {503, ERROR_CLASS_OVERLOADED},
		{504, ERROR_CLASS_TIMEOUT},   {529, ERROR_CLASS_OVERLOADED},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (table[i].status == status)
			return table[i].class;
	return ERROR_CLASS_API;
}

/* Keep-alives were sent, so a status is no more to be had: say it there. */
static void end_kept_alive(struct infer *x)
{
	enum error_class class =
		x->failed ? x->fail_class : class_of_status(x->http_status);
	const char *text = x->fail_error != ERR_OK
				   ? infer_fail_text(x)
				   : "Kenaz: the provider answered "
				     "with a plain body";

	infer_stream_error(x, class, span_text(text));
}

/* Whether what the reply holds can end a stream. */
static bool ends_stream(const struct infer *x)
{
	const struct reply *r = x->reply;

	return r && r->ops->streamed &&
	       (!r->content_type ||
		strcmp(r->content_type, "application/json") != 0);
}

/* The held part of a reply: the rest of a stream, or all of a body. */
static enum err release(struct infer *x)
{
	bool streamed = ends_stream(x);
	struct buf out;
	enum err e;

	buf_init(&out, HTTP_OUT_MAX_BYTES);
	e = reply_release(x->reply, &out);
	if (e == ERR_OK && streamed) {
		infer_deliver(x, buf_span(&out));
		http_end(x->http);
	} else if (e == ERR_OK) {
		e = begin(x, false, &out);
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
	if (!x->begun && x->failed)
		infer_answer_error(x->http, x->http_status, x->fail_class,
				   span_text(infer_fail_text(x)), 0);
	else if (x->begun && !x->handed && !ends_stream(x))
		end_kept_alive(x);
	else if (!x->reply || release(x) != ERR_OK)
		http_break(x->http);
	infer_forget(x);
}
