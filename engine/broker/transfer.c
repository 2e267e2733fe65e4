/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.c - one granted attempt: request out, answer back
 *
 * Runs in: kenaz-broker.
 * Trusts:  core for what it grants; not the provider, not the gate.
 * Never:   retries, follows a redirect, sends before transfer_start(), parses
 *	    a body.
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
 */
#include "engine/broker/transfer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/base/text.h"
#include "engine/broker/curl_cause.h"
#include "engine/broker/curl_failure.h"
#include "engine/broker/curl_request.h"
#include "engine/broker/request.h"
#include "engine/broker/response.h"

#define FRAMES_FLUSH_BYTES 16384u
#define MS_NS              1000000ull

enum state { WAITING, RUNNING, DRAINING, GONE };

struct transfer {
	struct transfer *next;
	struct transfer_host *host;
	uint64_t grant;
	enum state state;
	int handles; /* libuv handles not closed yet */

	int stream_fd; /* -1: nobody listens */
	bool watched;  /* poll is in the loop */
	uv_poll_t poll;
	int events; /* that it waits for */
	LIST_ENTRY(transfer) next_unsent;
	bool unsent; /* in host->unsent */
	uv_timer_t timer;
	uint64_t started_ns; /* the grant came */
	uint64_t sent_ns;    /* libcurl got it */
	uint64_t active_ns;  /* the last byte came, or went to the gate */
	struct upstream_times times;
	uint64_t total_ns;
	const char *total_name; /* the setting that total_ns is from */

	struct request request;
	uint64_t request_bytes; /* of its body */
	bool by_proxy;
	CURL *easy;
	bool added;      /* to the loop */
	unsigned issued; /* requests that libcurl wanted to send */
	bool paused;
	char curl_text[CURL_ERROR_SIZE];

	struct response response;
	bool keep_body;
	enum err error;                /* ours, when we made libcurl stop */
	enum transfer_failure failure; /* of the outcome */
	enum transfer_cause cause;
	const char *text;
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
		if (t->added)
			curl_loop_remove(t->host->curl, t->easy);
		t->added = false;
		curl_easy_cleanup(t->easy);
		t->easy = NULL;
	}
	request_fini(&t->request);
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
	if (t->watched)
		uv_close((uv_handle_t *)&t->poll, on_closed);
	uv_close((uv_handle_t *)&t->timer, on_closed);
}

static void on_stream(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);
static void arm_timer(struct transfer *t);

/*
 * The loop needs five system calls to take a socket in and let it go, more
 * than all that a short answer needs. So it is taken in once the answer is
 * late, or does not fit into the socket.
 */
static bool start_to_watch(struct transfer *t)
{
	if (t->response.frames.len_bytes == 0 &&
	    uv_hrtime() - t->started_ns < TRANSFER_UNWATCHED_NS)
		return false;
	if (uv_poll_init(t->host->loop, &t->poll, t->stream_fd) != 0) {
		log_error("a response's socket cannot be watched");
		(void)close(t->stream_fd);
		t->stream_fd = -1;
		return false;
	}
	t->poll.data = t;
	t->watched = true;
	t->handles++;
	return true;
}

static void watch_stream(struct transfer *t)
{
	int events = UV_READABLE | UV_DISCONNECT;

	if (t->stream_fd < 0 || (!t->watched && !start_to_watch(t)))
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
	/* Idle streams are many: keep no memory for them. */
	if (frames->len_bytes == 0)
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
	arm_timer(t);
}

static uint64_t info_ns(CURL *easy, CURLINFO what)
{
	curl_off_t us = 0;

	if (!easy || curl_easy_getinfo(easy, what, &us) != CURLE_OK || us < 0)
		return 0;
	return (uint64_t)us * 1000u;
}

/* Connected, by the proxy and through TLS where they are in the way. */
static bool was_connected(const struct transfer *t)
{
	return info_ns(t->easy, CURLINFO_PRETRANSFER_TIME_T) > 0;
}

static void fill_times(struct transfer *t, struct msg_transfer_done *m)
{
	long request_bytes = 0;

	if (!t->easy)
		return;
	if (was_connected(t) &&
	    curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request_bytes) ==
		    CURLE_OK &&
	    request_bytes > 0) {
		m->sent = 1;
		m->request_bytes = t->request_bytes;
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
	if (error == ERR_OK && r->status >= 400)
		t->failure = FAILURE_HTTP;
	else if (error != ERR_OK && t->failure == FAILURE_NONE)
		t->failure = FAILURE_LOCAL;
	m.failure = (uint8_t)t->failure;
	m.cause = (uint8_t)t->cause;
	m.retry_after_ms = retry_after_ms(&r->retry);
	m.should_retry = (uint8_t)r->retry.advice;
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

	if (t->state < DRAINING)
		t->failure = error == ERR_STATE || error == ERR_NOT_FOUND ||
					     error == ERR_CONFIG
				     ? FAILURE_NO_KEY
				     : FAILURE_LOCAL;
	va_start(args, format);
	if (vsnprintf(text, sizeof(text), format, args) < 0)
		text[0] = '\0';
	va_end(args);
	finish(t, error, text);
}

/* Notes why, a static text, from inside libcurl, which then ends it. */
static size_t stop(struct transfer *t, enum err error, const char *text)
{
	t->error = error;
	t->failure = error == ERR_UPSTREAM ? FAILURE_PROTOCOL
		     : error == ERR_LIMIT  ? FAILURE_TOO_LARGE
					   : FAILURE_LOCAL;
	t->text = text;
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
		t->failure = FAILURE_LOCAL;
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
		arm_timer(t);
		curl_loop_resume(t->host->curl, t->easy);
	}
	watch_stream(t);
}

struct deadline {
	uint64_t at_ns;
	enum transfer_failure failure;
	const char *text;    /* what did not come in time */
	const char *setting; /* or NULL */
	uint64_t after_ns;
};

static struct deadline deadline_after(uint64_t from_ns, uint64_t after_ns,
				      enum transfer_failure failure,
				      const char *text, const char *setting)
{
	return (struct deadline){from_ns + after_ns, failure, text, setting,
				 after_ns};
}

static struct deadline deadline_of(const struct transfer *t)
{
	struct deadline total =
		deadline_after(t->started_ns, t->total_ns,
			       FAILURE_TIMEOUT_TOTAL,
			       "the request was not over", t->total_name);
	struct deadline other;

	if (t->state >= DRAINING)
		return deadline_after(t->active_ns, TRANSFER_DRAIN_MAX_NS,
				      FAILURE_NONE, "", NULL);
	if (t->state == WAITING)
		other = deadline_after(t->started_ns, TRANSFER_RELEASE_MAX_NS,
				       FAILURE_LOCAL,
				       "audit did not release the request",
				       NULL);
	else if (!t->response.head_done)
		other = deadline_after(t->sent_ns,
				       t->times.first_byte_ms * MS_NS,
				       FAILURE_TIMEOUT_FIRST_BYTE,
				       "the provider did not answer",
				       "first_byte_timeout_s");
	else if (t->paused)
		return total;
	else
		other = deadline_after(t->active_ns, t->times.idle_ms * MS_NS,
				       FAILURE_TIMEOUT_IDLE,
				       "the provider sent nothing more",
				       "idle_timeout_s");
	return other.at_ns < total.at_ns ? other : total;
}

/* Whenever the state changed to one whose deadline may be earlier. */
static void arm_timer(struct transfer *t)
{
	uint64_t at_ns = deadline_of(t).at_ns;
	uint64_t now = uv_hrtime(), left;

	if (!t->watched && t->stream_fd >= 0 &&
	    t->started_ns + TRANSFER_UNWATCHED_NS < at_ns)
		at_ns = t->started_ns + TRANSFER_UNWATCHED_NS;
	left = at_ns > now ? at_ns - now : 0;
	if (t->state != GONE)
		(void)uv_timer_start(&t->timer, on_timer, left / MS_NS + 1, 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct transfer *t = timer->data;
	struct deadline deadline = deadline_of(t);
	char text[REASON_MAX_BYTES];

	if (t->state == GONE)
		return;
	watch_stream(t);
	if (deadline.at_ns > uv_hrtime()) {
		arm_timer(t);
		return;
	}
	if (t->state == DRAINING) {
		go(t);
		return;
	}
	(void)snprintf(text, sizeof(text), "%s within %g s%s%s%s",
		       deadline.text, (double)deadline.after_ns / 1e9,
		       deadline.setting ? " (" : "",
		       deadline.setting ? deadline.setting : "",
		       deadline.setting ? ")" : "");
	t->failure = deadline.failure;
	finish(t, ERR_TIMEOUT, text);
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
	t->total_ns = UPSTREAM_TOTAL_MS * MS_NS;
	request_init(&t->request);
	if (response_init(&t->response, stream_fd >= 0) != ERR_OK) {
		if (stream_fd >= 0)
			(void)close(stream_fd);
		response_fini(&t->response);
		free(t);
		return ERR_SYS;
	}
	t->handles = 1;
	(void)uv_timer_init(host->loop, &t->timer);
	t->timer.data = t;
	arm_timer(t);
	*ret_transfer = t;
	return ERR_OK;
}

/*
 * An answer may take hours: a large request is not kept in memory meanwhile. A
 * second one on another connection is never sent (curl_request.c).
 */
static void drop_sent_body(struct transfer *t)
{
	curl_off_t sent = 0;

	if (curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent) ==
		    CURLE_OK &&
	    sent >= 0 && (uint64_t)sent == t->request_bytes)
		request_drop_body(&t->request);
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
	struct transfer *t = context;
	size_t len = size * count;
	bool had_head = t->response.head_done;
	enum err e = response_header_line(&t->response, span_of(data, len));

	t->active_ns = uv_hrtime();
	if (e != ERR_OK)
		return stop(t, e, t->response.problem);
	if (t->response.head_done && !had_head) {
		drop_sent_body(t);
		arm_timer(t);
	}
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
	if (t->response.frames.len_bytes < FRAMES_FLUSH_BYTES) {
		want_flush(t);
		return len;
	}
	if (flush(t) != ERR_OK)
		return stop(t, ERR_CANCELLED, "the client hung up");
	if (t->response.frames.len_bytes)
		watch_stream(t);
	return len;
}

static enum err make_request(struct transfer *t, const struct upstream *up)
{
	bool embedded = up->kind->transport == PROVIDER_TRANSPORT_EMBEDDED;
	struct curl_request q = {
		.url = t->request.url,
		.method = t->request.row->method,
		.unix_socket = embedded ? t->host->scripted_socket : NULL,
		.body = t->request.body.bytes,
		.ca_pem = buf_span(&up->ca_pem),
		.headers = request_headers(&t->request),
		.proxy = embedded ? "" : up->proxy,
		.proxy_headers = request_proxy_headers(&t->request),
		.http1 = up->http_version == HTTP_VERSION_1_1,
		.connect_max_ms = (long)up->times.connect_ms,
		.context = t,
		.on_header = on_header,
		.on_body = on_body,
		.issued = &t->issued,
		.ret_text = t->curl_text,
	};
	enum err e;

	t->by_proxy = q.proxy[0] != '\0';
	t->request_bytes = q.body.len_bytes;
	e = curl_request_make(&q, &t->easy);
	request_drop_url(&t->request);
	return e;
}

static void take_limits(struct transfer *t, const struct upstream *up,
			const struct msg_grant *m)
{
	t->times = up->times;
	t->total_ns = up->times.total_ms * MS_NS;
	t->total_name = "total_timeout_s";
	if (m->total_timeout_ns && m->total_timeout_ns < t->total_ns) {
		t->total_ns = m->total_timeout_ns;
		t->total_name = "limits.request_s";
	}
	t->keep_body = m->keep_body != 0;
	arm_timer(t);
}

/**
 * transfer_prepare() - Make the request ready, and check it
 * @t:		Fresh transfer
 * @up:		Provider, borrowed during the call; its key is there
 * @m:		Grant, borrowed during the call
 * @body_fd:	Sealed memfd of the body, borrowed; or -1
 * @ret_why:	A static sentence; written on failure
 *
 * Return: ERR_OK; as request_make(). The caller ends a transfer that failed
 *	   with transfer_fail().
 */
enum err transfer_prepare(struct transfer *t, const struct upstream *up,
			  const struct msg_grant *m, int body_fd,
			  const char **ret_why)
{
	uint64_t max_bytes = m->response_max_bytes;
	const struct credential *key;
	enum err e;

	if (max_bytes == 0 || max_bytes > RESPONSE_MAX_BYTES)
		max_bytes = RESPONSE_MAX_BYTES;
	take_limits(t, up, m);
	e = request_make(&t->request, up, m, body_fd, (int64_t)time(NULL),
			 ret_why);
	if (e != ERR_OK)
		return e;
	key = t->request.credential;
	response_expect(&t->response, up->kind, key ? key->scan : NULL,
			max_bytes, t->keep_body);
	*ret_why = "out of memory";
	return make_request(t, up);
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
	t->active_ns = t->sent_ns = uv_hrtime();
	arm_timer(t);
	t->added = curl_loop_add(t->host->curl, t->easy) == ERR_OK;
	if (!t->added)
		finish(t, ERR_MEMORY, "out of memory");
}

/* libcurl's own reason, in our words and class. */
static void finish_curl(struct transfer *t, CURLcode result)
{
	bool broke = result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR ||
		     result == CURLE_GOT_NOTHING;
	const struct curl_failure *f =
		curl_failure_of(result,
				t->by_proxy && broke && !was_connected(t));
	char text[REASON_MAX_BYTES];

	(void)snprintf(text, sizeof(text), "%s%s%s", f->text,
		       t->curl_text[0] ? ": " : "", t->curl_text);
	if (f->failure == FAILURE_TIMEOUT_CONNECT)
		(void)snprintf(text, sizeof(text),
			       "the provider could not be connected within %g "
			       "s (connect_timeout_s)",
			       (double)t->times.connect_ms / 1e3);
	t->failure = f->failure;
	t->cause = curl_cause_of(result, t->easy, t->by_proxy, t->curl_text);
	finish(t, f->error, text);
}

/**
 * transfer_on_curl_done() - libcurl ended the transfer; for curl_loop_new()
 * @context:	The transfer
 * @result:	How
 */
void transfer_on_curl_done(void *context, CURLcode result)
{
	struct transfer *t = context;

	if (t->error != ERR_OK)
		finish(t, t->error, t->text);
	else if (result == CURLE_OK && t->response.head_done)
		finish(t, ERR_OK, "");
	else
		finish_curl(t, result);
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
			t->failure = FAILURE_LOCAL;
			finish(t, ERR_CANCELLED, "the client hung up");
			go(t);
			continue;
		}
		watch_stream(t);
	}
}
