/* SPDX-License-Identifier: Apache-2.0 */
/*
 * infer_source.c - a granted response on its way in from the broker
 *
 * Runs in: kenaz-gate.
 * Trusts:  the broker to frame what it received; nothing inside the frames.
 * Never:   reads on while the guest does not, or while a call is judged.
 */
#include "engine/gate/infer_state.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "engine/base/text.h"
#include "engine/gate/tool_call.h"
#include "engine/proto/attrs.h"

#define READ_BYTES 65536u

/*
 * The type as the guest gets it. Bytes were judged as UTF-8: in another
 * charset (UTF-7, say) they may say something else.
 */
static enum err keep_type(struct infer *x, struct span type)
{
	static const char *const utf8[] = {"charset=utf-8",
					   "charset=\"utf-8\""};
	size_t len = 0, at, i;

	while (len < type.len_bytes && !strchr("; ,", type.data[len]))
		len++;
	at = len;
	while (at < type.len_bytes && strchr("; ", type.data[at]))
		at++;
	for (i = 0; i < ARRAY_SIZE(utf8); i++)
		if (type.len_bytes - at == strlen(utf8[i]) &&
		    strncasecmp((const char *)type.data + at, utf8[i],
				strlen(utf8[i])) == 0)
			len = type.len_bytes;
	return span_copy_text(span_of(type.data, len), x->content_type,
			      sizeof(x->content_type)) == ERR_OK
		       ? ERR_OK
		       : ERR_FORMAT;
}

static enum err take_head(struct infer *x, const struct respframe *f)
{
	struct span type = span_text("");
	struct reader r;
	struct attr a;
	enum err e = ERR_OK;

	reader_init(&r, f->headers);
	while (e == ERR_OK && attrs_next(&r, &a)) {
		if (a.type != ATTR_TEXT ||
		    !http_head_may_return(a.key, x->wire == x->dialect))
			continue;
		if (a.key.len_bytes == sizeof("content-type") - 1 &&
		    strncasecmp((const char *)a.key.data, "content-type",
				a.key.len_bytes) == 0)
			type = a.text;
		else
			e = attrs_put_pair(&x->headers, a.key, a.text);
	}
	if (e == ERR_OK && r.status != ERR_OK)
		e = r.status;
	if (e == ERR_OK && x->scripted)
		e = attrs_put_text(&x->headers, "x-kenaz-provider",
				   span_text("scripted; no model is called"));
	if (e != ERR_OK)
		return e;
	x->http_status = f->status;
	e = keep_type(x, type);
	if (e != ERR_OK)
		return e;
	x->reply = infer_reply_new(x, f->status, type);
	return x->reply ? ERR_OK : ERR_UNSUPPORTED;
}

static enum infer_retry retry_of_status(unsigned status)
{
	if (status == 401 || status == 402 || status == 403)
		return RETRY_HTTP_AUTH;
	if (status == 408)
		return RETRY_TIMEOUT;
	if (status == 429)
		return RETRY_HTTP_429;
	if (status == 503 || status == 529)
		return RETRY_OVERLOADED;
	return status >= 500 ? RETRY_HTTP_5XX : RETRY_NONE;
}

/* An error under a 200 counts as the status does that it should have had. */
static enum infer_retry retry_of_error_200(unsigned status)
{
	enum infer_retry retry = retry_of_status(status);

	if (status == 0 || retry == RETRY_HTTP_5XX || retry == RETRY_TIMEOUT)
		return RETRY_ERROR_200;
	return retry;
}

/* The whole response is there, or the provider's own error event. */
static void response_ended(struct infer *x)
{
	char text[64];

	x->retry = retry_of_status(x->http_status);
	if (x->reply->state == REPLY_FAILED) {
		if (x->http_status < 400)
			x->retry = retry_of_error_200(x->reply->error_status);
		infer_set_text(x, ERR_UPSTREAM, x->reply->error_text);
	} else if (x->http_status >= 400) {
		(void)snprintf(text, sizeof(text), "the provider answered %u",
			       x->http_status);
		infer_set_text(x, ERR_UPSTREAM, text);
	}
	infer_send_end(x);
}

/* Asks for a verdict; a call that cannot be described is denied here. */
static enum err judge(struct infer *x)
{
	static const char too_large[] = "its arguments are too large to judge";
	const struct reply_verdict deny = {.text = span_text(too_large)};
	struct tool_call call = {0};
	struct buf out;
	enum err e = tool_call_make(&call, &x->reply->call);

	call.message.request = x->request;
	call.message.streamed = x->reply->ops->streamed;
	if (e == ERR_OK)
		e = chan_send_infer_tool(x->set->core, &call.message, NULL, 0);
	tool_call_fini(&call);
	if (e == ERR_OK) {
		infer_enter(x, INFER_JUDGED);
		return ERR_OK;
	}
	buf_init(&out, HTTP_OUT_MAX_BYTES);
	e = reply_verdict(x->reply, &deny, &out);
	infer_deliver(x, buf_span(&out));
	buf_fini(&out);
	return e;
}

/**
 * infer_settle() - Follow the reply's state after it was fed or judged
 * @x:	Request; waits for core afterwards unless the reply wants bytes
 */
void infer_settle(struct infer *x)
{
	enum err e = ERR_OK;

	while (e == ERR_OK && x->state != INFER_JUDGED &&
	       x->reply->state == REPLY_JUDGE)
		e = judge(x);
	if (e != ERR_OK)
		infer_broken(x, e);
	else if (x->reply->state == REPLY_DONE ||
		 x->reply->state == REPLY_FAILED)
		response_ended(x);
}

static bool wants_bytes(const struct infer *x)
{
	return x->fd >= 0 &&
	       (x->state == INFER_WAITING || x->state == INFER_STREAMING);
}

/* False while the rest of the frame waits for a verdict. */
static bool take_data(struct infer *x, struct span data)
{
	struct span in =
		span_of(data.data + x->data_at, data.len_bytes - x->data_at);
	struct buf out;
	enum err e;

	buf_init(&out, HTTP_OUT_MAX_BYTES);
	while (in.len_bytes && wants_bytes(x)) {
		e = reply_feed(x->reply, &in, &out);
		infer_deliver(x, buf_span(&out));
		buf_reset(&out);
		if (e == ERR_OK)
			infer_settle(x);
		else
			infer_broken(x, e);
	}
	buf_fini(&out);
	x->data_at = in.len_bytes ? data.len_bytes - in.len_bytes : 0;
	return in.len_bytes == 0;
}

static void take_end(struct infer *x, const struct respframe *f)
{
	char text[REASON_MAX_BYTES];
	struct buf out;
	enum err e;

	(void)text_escape_line(f->text, text, sizeof(text));
	e = f->error;
	infer_close_source(x);
	if (e != ERR_OK || !x->reply) {
		infer_fail(x, e == ERR_OK ? ERR_UPSTREAM : e,
			   text[0] ? text : err_text(e));
		return;
	}
	buf_init(&out, HTTP_OUT_MAX_BYTES);
	e = reply_end(x->reply, &out);
	infer_deliver(x, buf_span(&out));
	buf_fini(&out);
	if (e == ERR_OK)
		infer_settle(x);
	else
		infer_broken(x, e);
}

static void take_first(struct infer *x, const struct respframe *f)
{
	enum err e = take_head(x, f);

	if (e == ERR_OK)
		infer_enter(x, INFER_STREAMING);
	else if (e == ERR_UNSUPPORTED)
		infer_fail(x, ERR_UPSTREAM,
			   "the provider answered with neither JSON nor an "
			   "event stream");
	else
		infer_fail(x, e == ERR_MEMORY ? e : ERR_UPSTREAM,
			   "the provider's response headers are malformed");
}

/* False when the frame is still needed. */
static bool take_frame(struct infer *x, const struct respframe *f)
{
	x->moved_ns = uv_hrtime();
	if (f->type == RESPFRAME_DATA && x->reply)
		return take_data(x, f->data);
	if (f->type == RESPFRAME_END)
		take_end(x, f);
	else if (f->type == RESPFRAME_HEAD && x->state == INFER_WAITING)
		take_first(x, f);
	else
		infer_fail(x, ERR_FORMAT,
			   "the broker sent frames out of order");
	return true;
}

/**
 * infer_pump() - Take the frames that are there, up to a call to judge
 * @x:	Request
 */
void infer_pump(struct infer *x)
{
	size_t at = 0, taken;
	struct respframe f;
	enum err e;

	while (wants_bytes(x)) {
		e = respframe_get(span_of(x->in.data + at,
					  x->in.len_bytes - at),
				  &f, &taken);
		if (e == ERR_AGAIN)
			break;
		if (e != ERR_OK)
			infer_fail(x, e, "the broker sent a malformed frame");
		else if (take_frame(x, &f))
			at += taken;
	}
	if (x->fd < 0)
		return;
	buf_consume(&x->in, at);
	/* Idle streams are many: keep no memory for them. */
	if (x->in.len_bytes == 0)
		buf_fini(&x->in);
	infer_charge(x);
	if (x->set->buffered_bytes > INFER_BUFFERED_MAX_BYTES)
		infer_fail(x, ERR_MEMORY,
			   "the session has too many bytes under way");
}

/* ERR_AGAIN when nothing more is there; ERR_CLOSED at the end. */
static enum err read_some(struct infer *x)
{
	size_t before = x->in.len_bytes;
	uint8_t *at;
	ssize_t n;
	enum err e = buf_reserve(&x->in, READ_BYTES, &at);

	if (e != ERR_OK)
		return e;
	do
		n = read(x->fd, at, READ_BYTES);
	while (n < 0 && errno == EINTR);
	buf_truncate(&x->in, before + (n > 0 ? (size_t)n : 0));
	if (n < 0)
		return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
	return n == 0 ? ERR_CLOSED : ERR_OK;
}

static bool guest_is_slow(const struct infer *x)
{
	return http_pending_bytes(x->http) >= HTTP_OUT_HIGH_BYTES;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct infer *x = poll->data;
	size_t budget = INFER_READ_TURN_BYTES / READ_BYTES;
	enum err e = ERR_OK;

	(void)status;
	(void)events;
	while (budget-- && e == ERR_OK && wants_bytes(x) && !guest_is_slow(x)) {
		e = read_some(x);
		infer_pump(x);
	}
	/* What was read before the end is taken first. */
	if (wants_bytes(x) && !guest_is_slow(x) && e != ERR_OK &&
	    e != ERR_AGAIN)
		infer_fail(x, e,
			   e == ERR_CLOSED
				   ? "the broker was lost in mid-response"
				   : "the response cannot be kept");
	infer_update_source(x);
}

/** infer_update_source() - Read on, or pause, as the state demands */
void infer_update_source(struct infer *x)
{
	bool want = wants_bytes(x) && !guest_is_slow(x);

	if (want == x->polling || x->fd < 0)
		return;
	x->polling = want;
	if (!want)
		(void)uv_poll_stop(&x->poll);
	else if (uv_poll_start(&x->poll, UV_READABLE, on_readable) != 0)
		infer_fail(x, ERR_SYS, "the response cannot be read");
}
