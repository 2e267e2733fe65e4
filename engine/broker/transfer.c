/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.c - one granted attempt: request out, answer back
 *
 * Runs in: kenaz-broker.
 * Trusts:  core for what it grants; recomputes both digests of it all the
 *	    same. Not the provider, not the gate.
 * Never:   retries, follows a redirect, uses a proxy, sends before
 *	    transfer_start(), parses a body.
 *
 * Theory of operation
 *
 *	WAITING --start--> RUNNING --end--> DRAINING --> gone
 *	   \______________fail_______________^
 *
 * WAITING: prepared, but audit has not released it. RUNNING: libcurl has it.
 * DRAINING: the outcome was reported to core (exactly once), what is left
 * for the gate is being written. A gate that reads slowly fills `frames`;
 * past TRANSFER_QUEUE_BYTES libcurl is paused, which in the end stops the
 * provider. A gate that closes its end cancels the transfer at once.
 *
 * The credential's header line is linked into libcurl's list where it lies,
 * in locked memory. libcurl copies it into its send buffer; those bytes are
 * the residue that stays in ordinary (never dumped) memory.
 */
#include "engine/broker/transfer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/digest.h"
#include "engine/base/log.h"
#include "engine/base/memfd.h"
#include "engine/base/text.h"
#include "engine/broker/curl_request.h"
#include "engine/broker/response.h"
#include "engine/proto/attrs.h"

#define FRAMES_KEEP_BYTES     16384u
#define HEADERS_GIVEN_MAX     32u
#define HEADER_LINE_MAX_BYTES 8192u

enum state { WAITING, RUNNING, DRAINING, GONE };

struct transfer {
	struct transfer *next;
	struct transfer_host *host;
	uint64_t grant;
	enum state state;
	int handles; /* libuv handles not closed yet */

	int stream_fd; /* -1: nobody listens */
	uv_poll_t poll;
	int events; /* that it waits for */
	LIST_ENTRY(transfer) next_unsent;
	bool unsent; /* in host->unsent */
	uv_timer_t timer;
	uint64_t started_ns, active_ns, total_ns;

	char url[ROUTE_URL_MAX_BYTES + 1];
	struct body body;
	struct buf inlined;
	struct curl_slist *headers;
	struct curl_slist auth; /* in front of headers when there is a key */
	struct credential *credential;
	CURL *easy;
	bool paused;
	char curl_text[CURL_ERROR_SIZE];

	struct response response;
	bool keep_body;
	enum err error; /* ours, when we made libcurl stop */
	char text[REASON_MAX_BYTES];
};

/** transfer_grant() - Number of the grant */
uint64_t transfer_grant(const struct transfer *t)
{
	return t->grant;
}

/** transfer_is_done() - Whether its outcome was reported */
bool transfer_is_done(const struct transfer *t)
{
	return t->state >= DRAINING;
}

/** transfer_next() - Next in the owner's list */
struct transfer *transfer_next(const struct transfer *t)
{
	return t->next;
}

/** transfer_set_next() - Link into the owner's list */
void transfer_set_next(struct transfer *t, struct transfer *next)
{
	t->next = next;
}

static void release_request(struct transfer *t)
{
	if (t->easy) {
		curl_loop_remove(t->host->curl, t->easy);
		curl_easy_cleanup(t->easy);
		t->easy = NULL;
	}
	curl_slist_free_all(t->headers);
	t->headers = NULL;
	credential_release(t->credential);
	t->credential = NULL;
	body_close(&t->body);
	buf_fini(&t->inlined);
}

static void on_closed(uv_handle_t *handle)
{
	struct transfer *t = handle->data;

	if (--t->handles > 0)
		return;
	if (t->stream_fd >= 0)
		(void)close(t->stream_fd);
	response_fini(&t->response);
	free(t);
}

/*
 * Frames wait until libcurl has returned: head, body and end of a short answer
 * leave in one piece then, and the gate wakes once.
 */
static void want_flush(struct transfer *t)
{
	if (t->unsent || t->stream_fd < 0)
		return;
	t->unsent = true;
	LIST_INSERT_HEAD(&t->host->unsent, t, next_unsent);
}

static void forget_flush(struct transfer *t)
{
	if (t->unsent)
		LIST_REMOVE(t, next_unsent);
	t->unsent = false;
}

static void go(struct transfer *t)
{
	if (t->state == GONE)
		return;
	forget_flush(t);
	t->state = GONE;
	t->host->gone(t->host->context, t);
	if (t->stream_fd >= 0)
		uv_close((uv_handle_t *)&t->poll, on_closed);
	uv_close((uv_handle_t *)&t->timer, on_closed);
}

static void on_stream(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);

static void watch_stream(struct transfer *t)
{
	int events = UV_READABLE | UV_DISCONNECT;

	if (t->stream_fd < 0)
		return;
	if (t->response.frames.len_bytes)
		events |= UV_WRITABLE;
	if (events == t->events)
		return;
	t->events = events;
	(void)uv_poll_start(&t->poll, events, on_stream);
}

/* Writes what the socket takes. ERR_CLOSED: the gate is gone. */
static enum err flush(struct transfer *t)
{
	struct buf *frames = &t->response.frames;
	size_t done = 0;

	forget_flush(t);
	if (t->stream_fd < 0)
		return ERR_OK;
	while (done < frames->len_bytes) {
		ssize_t n = send(t->stream_fd, frames->data + done,
				 frames->len_bytes - done,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOBUFS))
			break;
		if (n <= 0)
			return ERR_CLOSED;
		done += (size_t)n;
	}
	buf_consume(frames, done);
	if (frames->len_bytes == 0 && frames->cap_bytes > FRAMES_KEEP_BYTES)
		buf_fini(frames);
	return ERR_OK;
}

static void drain(struct transfer *t)
{
	if (t->state != DRAINING)
		return;
	if (t->stream_fd < 0 || flush(t) != ERR_OK ||
	    t->response.frames.len_bytes == 0) {
		go(t);
		return;
	}
	watch_stream(t);
	on_timer(&t->timer);
}

static uint64_t info_ns(CURL *easy, CURLINFO what)
{
	curl_off_t us = 0;

	if (!easy || curl_easy_getinfo(easy, what, &us) != CURLE_OK || us < 0)
		return 0;
	return (uint64_t)us * 1000u;
}

static void fill_times(struct transfer *t, struct msg_transfer_done *m)
{
	long request_bytes = 0;

	if (!t->easy)
		return;
	if (curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request_bytes) ==
		    CURLE_OK &&
	    request_bytes > 0) {
		m->sent = 1;
		m->request_bytes = t->body.bytes.len_bytes;
	}
	m->connect_ns = info_ns(t->easy, CURLINFO_APPCONNECT_TIME_T);
	if (m->connect_ns == 0)
		m->connect_ns = info_ns(t->easy, CURLINFO_CONNECT_TIME_T);
	m->first_byte_ns = info_ns(t->easy, CURLINFO_STARTTRANSFER_TIME_T);
}

/* Reports the outcome and starts to drain. Safe outside libcurl only. */
static void finish(struct transfer *t, enum err error, const char *text)
{
	struct msg_transfer_done m = {.grant = t->grant, .error = (int)error};
	struct response *r = &t->response;
	char safe[REASON_MAX_BYTES];
	int memfd = -1;

	if (t->state >= DRAINING)
		return;
	m.text = span_of(safe,
			 text_escape_line(span_text(text), safe, sizeof(safe)));
	fill_times(t, &m);
	m.total_ns = uv_hrtime() - t->started_ns;
	t->state = DRAINING;
	if (response_end(r, error, m.text, m.response_digest) != ERR_OK)
		log_error("the end of an answer could not be kept");
	m.http_status = r->status;
	m.key_echoed = r->key_echoed;
	m.response_bytes = r->body_bytes;
	if (t->keep_body && response_take_memfd(r, &memfd) != ERR_OK)
		log_error("an answer's copy could not be sealed");
	if (t->keep_body && memfd < 0)
		m.body_inline = buf_span(&r->inlined);
	release_request(t);
	t->active_ns = uv_hrtime();
	t->host->done(t->host->context, t, &m, memfd);
	drain(t);
}

/**
 * transfer_fail() - End a transfer for a reason of our own
 * @t:		Transfer in any state; one that is done is let be
 * @error:	Why
 * @format:	As printf(3): a sentence for the user
 */
void transfer_fail(struct transfer *t, enum err error, const char *format, ...)
{
	char text[REASON_MAX_BYTES];
	va_list args;

	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	finish(t, error, text);
}

/* Notes why from inside libcurl, which then ends the transfer. */
static size_t stop(struct transfer *t, enum err error, const char *text)
{
	t->error = error;
	(void)snprintf(t->text, sizeof(t->text), "%s", text);
	return 0;
}

static void on_stream(uv_poll_t *poll, int status, int events)
{
	struct transfer *t = poll->data;
	enum err e = status < 0 ? ERR_CLOSED : ERR_OK;
	char byte;

	if (events & (UV_READABLE | UV_DISCONNECT)) {
		ssize_t n = recv(t->stream_fd, &byte, 1, MSG_DONTWAIT);

		/* The gate has nothing to say here: anything ends it. */
		if (n >= 0 || (errno != EAGAIN && errno != EINTR))
			e = ERR_CLOSED;
	}
	if (e == ERR_OK && (events & UV_WRITABLE)) {
		e = flush(t);
		t->active_ns = uv_hrtime();
	}
	if (e != ERR_OK) {
		finish(t, ERR_CANCELLED, "the client hung up");
		go(t);
		return;
	}
	if (t->state == DRAINING) {
		drain(t);
		return;
	}
	if (t->paused && t->response.frames.len_bytes < TRANSFER_QUEUE_BYTES) {
		t->paused = false;
		curl_loop_resume(t->host->curl, t->easy);
	}
	watch_stream(t);
}

static uint64_t deadline_of(const struct transfer *t, const char **ret_what)
{
	uint64_t total = t->started_ns + t->total_ns;
	uint64_t other;

	*ret_what = "the request took longer than allowed";
	if (t->state == DRAINING)
		return t->active_ns + TRANSFER_DRAIN_MAX_NS;
	if (t->state == WAITING) {
		*ret_what = "audit did not release the request in time";
		other = t->started_ns + TRANSFER_RELEASE_MAX_NS;
	} else if (t->state == RUNNING && !t->response.head_done) {
		*ret_what = "the provider did not answer in time";
		other = t->started_ns + TRANSFER_FIRST_BYTE_MAX_NS;
	} else if (t->state == RUNNING && t->paused) {
		return total;
	} else {
		*ret_what = "the provider stopped sending";
		other = t->active_ns + TRANSFER_IDLE_MAX_NS;
	}
	if (other < total)
		return other;
	*ret_what = "the request took longer than allowed";
	return total;
}

static void on_timer(uv_timer_t *timer)
{
	struct transfer *t = timer->data;
	uint64_t now = uv_hrtime();
	const char *what;
	uint64_t deadline = deadline_of(t, &what);

	if (t->state == GONE)
		return;
	if (deadline > now) {
		(void)uv_timer_start(timer, on_timer,
				     (deadline - now) / 1000000u + 1, 0);
		return;
	}
	if (t->state == DRAINING)
		go(t);
	else
		finish(t, ERR_TIMEOUT, what);
}

/**
 * transfer_new() - Start to keep track of a grant
 * @host:		Shared, borrowed
 * @grant:		Its number
 * @stream_fd:		Where the answer goes, owned from here on (closed on
 *			failure too); or -1
 * @ret_transfer:	Owned by itself: host->gone tells when it ended
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS.
 */
enum err transfer_new(struct transfer_host *host, uint64_t grant, int stream_fd,
		      struct transfer **ret_transfer)
{
	struct transfer *t = calloc(1, sizeof(*t));

	if (!t) {
		if (stream_fd >= 0)
			(void)close(stream_fd);
		return ERR_MEMORY;
	}
	t->host = host;
	t->grant = grant;
	t->stream_fd = stream_fd;
	t->started_ns = t->active_ns = uv_hrtime();
	t->total_ns = TRANSFER_TOTAL_MAX_NS;
	buf_init(&t->inlined, BODY_INLINE_MAX_BYTES);
	if (response_init(&t->response, stream_fd >= 0) != ERR_OK ||
	    (stream_fd >= 0 &&
	     uv_poll_init(host->loop, &t->poll, stream_fd) != 0)) {
		if (stream_fd >= 0)
			(void)close(stream_fd);
		response_fini(&t->response);
		free(t);
		return ERR_SYS;
	}
	t->poll.data = t;
	t->handles = stream_fd >= 0 ? 2 : 1;
	(void)uv_timer_init(host->loop, &t->timer);
	t->timer.data = t;
	on_timer(&t->timer);
	watch_stream(t);
	*ret_transfer = t;
	return ERR_OK;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
	struct transfer *t = context;
	size_t len = size * count;
	enum err e = response_header_line(&t->response, span_of(data, len));

	t->active_ns = uv_hrtime();
	if (e != ERR_OK)
		return stop(t, e, t->response.problem);
	if (t->response.frames.len_bytes)
		want_flush(t);
	return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
	struct transfer *t = context;
	size_t len = size * count;
	enum err e;

	if (t->stream_fd >= 0 &&
	    t->response.frames.len_bytes >= TRANSFER_QUEUE_BYTES) {
		t->paused = true;
		return CURL_WRITEFUNC_PAUSE;
	}
	t->active_ns = uv_hrtime();
	e = response_data(&t->response, span_of(data, len));
	if (e != ERR_OK)
		return stop(t, e, t->response.problem);
	if (t->response.frames.len_bytes < FRAMES_KEEP_BYTES) {
		want_flush(t);
		return len;
	}
	if (flush(t) != ERR_OK)
		return stop(t, ERR_CANCELLED, "the client hung up");
	if (t->response.frames.len_bytes)
		watch_stream(t);
	return len;
}

static enum err add_header(struct transfer *t, struct span name,
			   struct span value)
{
	struct curl_slist *list;
	struct buf line;
	const char *text;
	enum err e;

	buf_init(&line, HEADER_LINE_MAX_BYTES);
	e = buf_put_span(&line, name);
	if (e == ERR_OK)
		e = buf_put_text(&line, value.len_bytes ? ": " : ":");
	if (e == ERR_OK)
		e = buf_put_span(&line, value);
	if (e == ERR_OK)
		e = buf_terminate(&line, &text);
	if (e == ERR_OK) {
		list = curl_slist_append(t->headers, text);
		if (list)
			t->headers = list;
		else
			e = ERR_MEMORY;
	}
	buf_fini(&line);
	return e;
}

static enum err given_headers(struct span attrs, struct route_header *ret,
			      size_t *ret_count)
{
	struct reader r;
	struct attr a;
	size_t count = 0;

	reader_init(&r, attrs);
	while (attrs_next(&r, &a)) {
		if (a.type != ATTR_TEXT || count == HEADERS_GIVEN_MAX)
			return ERR_FORMAT;
		ret[count++] = (struct route_header){a.key, a.text};
	}
	*ret_count = count;
	return r.status;
}

/* Builds the request anew and compares it with what was granted. */
static enum err take_request(struct transfer *t, const struct upstream *up,
			     const struct msg_grant *m, const char **ret_why)
{
	struct route_header given[HEADERS_GIVEN_MAX];
	struct route_values values = {.model = m->model,
				      .query = m->query,
				      .headers = given};
	struct route_target target = upstream_target(up);
	struct route_request request;
	uint8_t digest[DIGEST_BYTES];
	size_t i;
	enum err e;

	*ret_why = "the request cannot be built for this provider";
	e = given_headers(m->headers, given, &values.header_count);
	if (e == ERR_OK)
		e = route_build(&target, (enum route)m->route, &values,
				&request);
	if (e == ERR_OK)
		e = route_header_digest(&request, digest);
	if (e != ERR_OK)
		return e;
	*ret_why = "the request differs from the one in the audit log";
	if (!digest_equal(digest, m->header_digest))
		return ERR_INTEGRITY;
	*ret_why = "out of memory";
	for (i = 0; e == ERR_OK && i < request.header_count; i++)
		e = add_header(t, request.headers[i].name,
			       request.headers[i].value);
	if (e == ERR_OK)
		e = add_header(t, span_text("expect"), (struct span){0});
	if (e == ERR_OK)
		e = span_copy_text(span_of(request.url, request.url_len_bytes),
				   t->url, sizeof(t->url));
	return e;
}

static enum err take_body(struct transfer *t, const struct msg_grant *m,
			  int body_fd, const char **ret_why)
{
	uint8_t digest[DIGEST_BYTES];
	enum err e = ERR_OK;

	*ret_why = "the request's body did not arrive as stated";
	if (body_fd < 0) {
		e = buf_put_span(&t->inlined, m->body_inline);
		if (e != ERR_OK)
			return e;
	}
	e = body_open(buf_span(&t->inlined), body_fd, m->body_bytes,
		      BODY_MAX_BYTES, &t->body);
	if (e != ERR_OK)
		return e;
	digest_sha256(t->body.bytes, digest);
	*ret_why = "the request's body differs from the one in the audit log";
	return digest_equal(digest, m->body_digest) ? ERR_OK : ERR_INTEGRITY;
}

static enum err make_request(struct transfer *t, const struct upstream *up,
			     const char *method)
{
	bool embedded = up->kind->transport == PROVIDER_TRANSPORT_EMBEDDED;
	struct curl_request q = {
		.url = t->url,
		.method = method,
		.unix_socket = embedded ? t->host->scripted_socket : NULL,
		.body = t->body.bytes,
		.ca_pem = buf_span(&up->ca_pem),
		.headers = t->headers,
		.connect_max_ms = TRANSFER_CONNECT_MAX_MS,
		.context = t,
		.on_header = on_header,
		.on_body = on_body,
		.ret_text = t->curl_text,
	};

	if (t->credential) {
		t->auth.data = (char *)t->credential->line->data;
		t->auth.next = t->headers;
		q.headers = &t->auth;
	}
	return curl_request_make(&q, &t->easy);
}

static void take_limits(struct transfer *t, const struct msg_grant *m)
{
	if (m->total_timeout_ns && m->total_timeout_ns < t->total_ns)
		t->total_ns = m->total_timeout_ns;
	t->keep_body = m->keep_body != 0;
	on_timer(&t->timer);
}

/**
 * transfer_prepare() - Make the request ready, and check it
 * @t:		Fresh transfer
 * @up:		Provider, borrowed during the call
 * @m:		Grant, borrowed during the call
 * @body_fd:	Sealed memfd of the body, borrowed; or -1
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; ERR_INTEGRITY when a digest differs; ERR_NOT_FOUND when
 *	   the provider's secret is missing; as route_build(), body_open().
 *	   The caller ends a transfer that failed with transfer_fail().
 */
enum err transfer_prepare(struct transfer *t, const struct upstream *up,
			  const struct msg_grant *m, int body_fd,
			  const char **ret_why)
{
	uint64_t max_bytes = m->response_max_bytes;
	const struct provider_route *row;
	enum err e;

	if (max_bytes == 0 || max_bytes > RESPONSE_MAX_BYTES)
		max_bytes = RESPONSE_MAX_BYTES;
	take_limits(t, m);
	e = take_request(t, up, m, ret_why);
	if (e == ERR_OK)
		e = take_body(t, m, body_fd, ret_why);
	if (e != ERR_OK)
		return e;
	*ret_why = "the provider's secret is not set";
	if (upstream_needs_key(up) && !up->credential)
		return ERR_NOT_FOUND;
	t->credential = credential_hold(up->credential);
	response_expect(&t->response, up->kind,
			t->credential ? t->credential->scan : NULL, max_bytes,
			t->keep_body);
	*ret_why = "out of memory";
	row = provider_route(up->kind, (enum route)m->route);
	return row ? make_request(t, up, row->method) : ERR_UNSUPPORTED;
}

/**
 * transfer_start() - Send it: core granted and audit released it
 * @t:	Prepared transfer
 */
void transfer_start(struct transfer *t)
{
	if (t->state != WAITING)
		return;
	t->state = RUNNING;
	t->active_ns = uv_hrtime();
	if (curl_loop_add(t->host->curl, t->easy) != ERR_OK)
		finish(t, ERR_MEMORY, "out of memory");
}

static const struct {
	CURLcode code;
	enum err error;
	const char *text;
} curl_errors[] = {
	{CURLE_COULDNT_RESOLVE_HOST, ERR_UPSTREAM,
	 "the provider's name cannot be resolved"},
	{CURLE_COULDNT_CONNECT, ERR_UPSTREAM,
	 "the provider cannot be connected"},
	{CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT,
	 "the provider cannot be connected in time"},
	{CURLE_PEER_FAILED_VERIFICATION, ERR_UPSTREAM,
	 "the provider's certificate is not trusted"},
	{CURLE_SSL_CONNECT_ERROR, ERR_UPSTREAM, "TLS with the provider failed"},
	{CURLE_SSL_CACERT_BADFILE, ERR_CONFIG,
	 "the certificates to check the provider with cannot be read"},
	{CURLE_PARTIAL_FILE, ERR_UPSTREAM, "the provider's answer was cut off"},
	{CURLE_GOT_NOTHING, ERR_UPSTREAM,
	 "the provider closed without an answer"},
	{CURLE_RECV_ERROR, ERR_UPSTREAM, "the provider's answer was cut off"},
	{CURLE_SEND_ERROR, ERR_UPSTREAM,
	 "the provider closed during the request"},
	{CURLE_HTTP2, ERR_UPSTREAM, "the provider broke HTTP/2"},
	{CURLE_HTTP2_STREAM, ERR_UPSTREAM, "the provider broke HTTP/2"},
	{CURLE_WEIRD_SERVER_REPLY, ERR_UPSTREAM,
	 "the provider's answer is not HTTP"},
	{CURLE_UNSUPPORTED_PROTOCOL, ERR_UPSTREAM,
	 "the provider's answer is not HTTP"},
	{CURLE_OUT_OF_MEMORY, ERR_MEMORY, "out of memory"},
};

/**
 * transfer_on_curl_done() - libcurl ended the transfer; for curl_loop_new()
 * @context:	The transfer
 * @result:	How
 */
void transfer_on_curl_done(void *context, CURLcode result)
{
	struct transfer *t = context;
	size_t i;

	if (t->error != ERR_OK) {
		finish(t, t->error, t->text);
		return;
	}
	if (result == CURLE_OK && t->response.head_done) {
		finish(t, ERR_OK, "");
		return;
	}
	for (i = 0; i < ARRAY_SIZE(curl_errors); i++)
		if (curl_errors[i].code == result)
			break;
	if (i < ARRAY_SIZE(curl_errors))
		transfer_fail(t, curl_errors[i].error, "%s%s%s",
			      curl_errors[i].text, t->curl_text[0] ? ": " : "",
			      t->curl_text);
	else
		transfer_fail(t, ERR_UPSTREAM, "the provider failed: %s",
			      t->curl_text[0] ? t->curl_text
					      : curl_easy_strerror(result));
}

/** transfer_on_curl_turn() - Pass on what came; for curl_loop_new() */
void transfer_on_curl_turn(void *context)
{
	struct transfer_host *host = context;
	struct transfer *t;

	while ((t = LIST_FIRST(&host->unsent))) {
		forget_flush(t);
		if (t->state != RUNNING)
			continue; /* ended, which sends the rest */
		if (flush(t) != ERR_OK) {
			finish(t, ERR_CANCELLED, "the client hung up");
			go(t);
			continue;
		}
		watch_stream(t);
	}
}
