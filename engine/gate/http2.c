/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2.c - the guest's HTTP/2 connections, on libnghttp2 and libuv
 *
 * Runs in: kenaz-gate.
 * Trusts:  libnghttp2 with framing, HPACK and flow control (RFC 9113, 7541);
 *	    not to bound what a peer may cost.
 * Never:   pushes, speaks TLS, upgrades from HTTP/1.1.
 *
 * Theory of operation. The library is a state machine without I/O: what the
 * socket has is fed to it, what it makes is collected in `out` and written
 * after the loop's turn. http2_stream.c has its callbacks, where requests come
 * from. A connection is never closed inside a callback: a fault is marked, the
 * library stops, and its last frame is GOAWAY with the reason.
 *
 * Limits. The library's own: streams at once, SETTINGS entries, CONTINUATION
 * frames, unsent acknowledgements, resets by the peer. Ours: its memory per
 * connection; frames that achieve nothing (`chatter`: each frame costs one,
 * requests, body bytes and response frames give credit, time does, too);
 * streams cut short by whoever's fault (CVE-2023-44487, CVE-2025-8671); what
 * is queued while the peer does not read.
 */
#include "engine/gate/http2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/base/log.h"

#define READ_BYTES      65536u
#define READS_PER_TURN  4
#define WRITES_PER_TURN 8
#define FRAME_MAX_BYTES (16u * 1024 + 9 + 256)

struct http2 {
	struct http *http;
	uv_check_t check;
	uv_timer_t timer;
	nghttp2_session_callbacks *callbacks;
	nghttp2_option *option;
	LIST_HEAD(http2_list, http2_connection) connections;
	LIST_HEAD(http2_dirty_list, http2_connection) dirty;
	unsigned count;
	uint64_t second_ns;
	uint64_t least_ms; /* until the next turn that the timer makes */
	int handles;
};

/* --- the library's memory ------------------------------------------------ */

/* In front of each block. */
union block {
	size_t len_bytes;
	max_align_t align;
};

static void *on_realloc(void *at, size_t len, void *user)
{
	struct http2_connection *c = user;
	union block *b = at ? (union block *)at - 1 : NULL, *grown;
	size_t before = b ? b->len_bytes : 0;

	if (len > HTTP2_MEMORY_MAX_BYTES ||
	    c->memory_bytes - before + len > HTTP2_MEMORY_MAX_BYTES)
		return NULL;
	grown = realloc(b, sizeof(*grown) + len);
	if (!grown)
		return NULL;
	grown->len_bytes = len;
	c->memory_bytes = c->memory_bytes - before + len;
	return grown + 1;
}

static void *on_malloc(size_t len, void *user)
{
	return on_realloc(NULL, len, user);
}

static void *on_calloc(size_t count, size_t len, void *user)
{
	void *at;

	if (len && count > HTTP2_MEMORY_MAX_BYTES / len)
		return NULL;
	at = on_realloc(NULL, count * len, user);
	if (at)
		memset(at, 0, count * len);
	return at;
}

static void on_free(void *at, void *user)
{
	struct http2_connection *c = user;
	union block *b = at ? (union block *)at - 1 : NULL;

	if (!b)
		return;
	c->memory_bytes -= b->len_bytes;
	free(b);
}

/* --- what a peer costs -----------------------------------------------------
 */

/** http2_fault() - The connection ends, and says why */
void http2_fault(struct http2_connection *c, uint32_t error)
{
	if (c->fault == NGHTTP2_NO_ERROR)
		c->fault = error;
}

/** http2_chatter() - A frame came: the connection ends when it is too much */
void http2_chatter(struct http2_connection *c)
{
	if (++c->chatter > HTTP2_CHATTER_MAX)
		http2_fault(c, NGHTTP2_ENHANCE_YOUR_CALM);
}

/** http2_useful() - Something was achieved that explains some frames */
void http2_useful(struct http2_connection *c, unsigned frames)
{
	c->chatter = c->chatter > frames ? c->chatter - frames : 0;
}

static void forgive(struct http2_connection *c)
{
	http2_useful(c, HTTP2_CHATTER_PER_SECOND);
	c->resets = c->resets > HTTP2_RESETS_PER_SECOND
			    ? c->resets - HTTP2_RESETS_PER_SECOND
			    : 0;
}

/* --- a connection's end ----------------------------------------------------
 */

static void close_connection(struct http2_connection *c)
{
	struct http2 *two = c->two;

	LIST_REMOVE(c, next);
	if (c->dirty)
		LIST_REMOVE(c, next_dirty);
	two->count--;
	c->http->n_connections--;
	http2_streams_end(c);
	nghttp2_session_del(c->session);
	http_watch_free(c->watch);
	close(c->fd);
	buf_fini(&c->out);
	free(c);
}

/* --- output ------------------------------------------------------------------
 */

static size_t pending(const struct http2_connection *c)
{
	return c->out.len_bytes - c->out_at;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *data,
		       size_t len, int flags, void *user)
{
	struct http2_connection *c = user;

	(void)session;
	(void)flags;
	if (c->out.len_bytes >= HTTP2_OUT_BYTES)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (buf_put(&c->out, data, len) != ERR_OK)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	return (ssize_t)len;
}

/* Bytes of a response, without the library's copy. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame,
			const uint8_t *head, size_t len,
			nghttp2_data_source *source, void *user)
{
	struct http2_connection *c = user;
	struct http_request *r = source->ptr;
	struct span out = http_request_out(r);

	(void)session;
	/* No padding is ever asked for. */
	if (frame->data.padlen || out.len_bytes < len)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (c->out.len_bytes >= HTTP2_OUT_BYTES)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (buf_put(&c->out, head, 9) != ERR_OK ||
	    buf_put(&c->out, out.data, len) != ERR_OK)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	http_request_sent(r, len);
	return 0;
}

/* ERR_AGAIN when the socket takes no more; ERR_CLOSED. */
static enum err write_out(struct http2_connection *c)
{
	while (pending(c)) {
		ssize_t n = send(c->fd, c->out.data + c->out_at, pending(c),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? ERR_AGAIN : ERR_CLOSED;
		c->out_at += (size_t)n;
		c->moved_ns = uv_hrtime();
	}
	/* Idle connections keep none. */
	buf_fini(&c->out);
	buf_init(&c->out, HTTP2_OUT_BYTES + FRAME_MAX_BYTES);
	c->out_at = 0;
	return ERR_OK;
}

static void on_event(uv_poll_t *poll, int status, int events);

/* What is read may queue answers: not while the peer does not take them. */
static bool may_read(const struct http2_connection *c)
{
	return !c->blocked || nghttp2_session_get_outbound_queue_size(
				      c->session) < HTTP2_QUEUE_MAX_FRAMES;
}

static enum err update(struct http2_connection *c)
{
	int events = UV_DISCONNECT;

	if (may_read(c))
		events |= UV_READABLE;
	if (c->blocked)
		events |= UV_WRITABLE;
	if (events == c->events)
		return ERR_OK;
	c->events = events;
	return uv_poll_start(&c->watch->poll, events, on_event) == 0 ? ERR_OK
								     : ERR_SYS;
}

/* The last words of a connection that broke a rule; closes it. */
static void end_with_fault(struct http2_connection *c)
{
	log_debug("an HTTP/2 connection ends: %s",
		  nghttp2_http2_strerror(c->fault));
	if (nghttp2_session_terminate_session(c->session, c->fault) == 0 &&
	    nghttp2_session_send(c->session) == 0)
		(void)!write_out(c);
	close_connection(c);
}

/* Everything that can be sent, up to a turn's share; may close @c. */
static void flush(struct http2_connection *c)
{
	enum err e = ERR_OK;
	unsigned rounds;

	for (rounds = 0; e == ERR_OK && rounds < WRITES_PER_TURN; rounds++) {
		if (nghttp2_session_send(c->session) != 0)
			e = ERR_CLOSED;
		else if (pending(c) == 0)
			break;
		else
			e = write_out(c);
	}
	/* Its deadline begins when there is something that waits. */
	if (e == ERR_AGAIN && !c->blocked)
		c->moved_ns = uv_hrtime();
	c->blocked = e == ERR_AGAIN;
	if (rounds == WRITES_PER_TURN)
		http2_want_flush(c);
	if (e == ERR_AGAIN)
		e = ERR_OK;
	/* After GOAWAY nothing is wanted any more. */
	if (e == ERR_OK && !pending(c) &&
	    !nghttp2_session_want_read(c->session) &&
	    !nghttp2_session_want_write(c->session))
		e = ERR_CLOSED;
	if (e == ERR_OK)
		e = update(c);
	if (e != ERR_OK)
		close_connection(c);
	else if (c->fault != NGHTTP2_NO_ERROR)
		end_with_fault(c);
}

static void turn(struct http2 *two)
{
	LIST_HEAD(, http2_connection) now;
	struct http2_connection *c;

	/* Who is not done is put on the list again, for the next turn. */
	LIST_INIT(&now);
	while ((c = LIST_FIRST(&two->dirty))) {
		LIST_REMOVE(c, next_dirty);
		LIST_INSERT_HEAD(&now, c, next_dirty);
	}
	while ((c = LIST_FIRST(&now))) {
		LIST_REMOVE(c, next_dirty);
		c->dirty = false;
		flush(c);
	}
}

/* libuv runs a timer of no time that a timer starts at once, for ever. */
static void on_timer(uv_timer_t *timer)
{
	struct http2 *two = timer->data;

	two->least_ms = 1;
	turn(two);
	two->least_ms = 0;
}

/* After the turn's events, so that what they wrote goes out together. */
static void on_check(uv_check_t *check)
{
	struct http2 *two = check->data;

	if (!LIST_EMPTY(&two->dirty))
		turn(two);
}

/** http2_want_flush() - There is something to send after this turn's events */
void http2_want_flush(struct http2_connection *c)
{
	if (c->dirty)
		return;
	c->dirty = true;
	LIST_INSERT_HEAD(&c->two->dirty, c, next_dirty);
	/* The loop must not sleep before on_check() ran. */
	(void)uv_timer_start(&c->two->timer, on_timer, c->two->least_ms, 0);
}

/* --- input -------------------------------------------------------------------
 */

static enum err feed(struct http2_connection *c, struct span bytes)
{
	ssize_t n = nghttp2_session_mem_recv(c->session, bytes.data,
					     bytes.len_bytes);

	if (c->resets > HTTP2_RESETS_MAX)
		http2_fault(c, NGHTTP2_ENHANCE_YOUR_CALM);
	if (n == NGHTTP2_ERR_FLOODED)
		http2_fault(c, NGHTTP2_ENHANCE_YOUR_CALM);
	else if (n == NGHTTP2_ERR_BAD_CLIENT_MAGIC)
		http2_fault(c, NGHTTP2_PROTOCOL_ERROR);
	else if (n < 0)
		http2_fault(c, NGHTTP2_INTERNAL_ERROR);
	return c->fault == NGHTTP2_NO_ERROR ? ERR_OK : ERR_FORMAT;
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	static uint8_t bytes[READ_BYTES];
	struct http2_connection *c = poll->data;
	unsigned reads = 0;
	bool ended = status < 0, more = !ended;

	while (more && may_read(c) && reads++ < READS_PER_TURN) {
		ssize_t n;

		do
			n = recv(c->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		while (n < 0 && errno == EINTR);
		more = n == (ssize_t)sizeof(bytes);
		ended = n == 0 || (n < 0 && errno != EAGAIN);
		if (n > 0 && feed(c, span_of(bytes, (size_t)n)) != ERR_OK) {
			end_with_fault(c);
			return;
		}
	}
	/*
	 * It left, or ended its side, which over the shim is the same. Who
	 * does not read what it caused gets nothing more read either.
	 */
	if (ended || ((events & UV_DISCONNECT) && !(more && may_read(c)))) {
		close_connection(c);
		return;
	}
	flush(c);
}

/* --- the whole
 * ----------------------------------------------------------------- */

static enum err begin_session(struct http2_connection *c)
{
	static const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE,
		 HTTP2_STREAM_WINDOW_BYTES},
		/* As it is counted: 32 bytes more for each. */
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE,
		 HTTP_HEADERS_MAX_BYTES + 32 * HTTP_HEADERS_MAX},
		{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};

	c->memory = (nghttp2_mem){c, on_malloc, on_free, on_calloc, on_realloc};
	if (nghttp2_session_server_new3(&c->session, c->two->callbacks, c,
					c->two->option, &c->memory) != 0)
		return ERR_MEMORY;
	if (nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
				    ARRAY_SIZE(settings)) != 0 ||
	    nghttp2_session_set_local_window_size(c->session, NGHTTP2_FLAG_NONE,
						  0, HTTP2_WINDOW_BYTES) != 0)
		return ERR_MEMORY;
	return ERR_OK;
}

static enum err refuse(int fd, struct http_watch *w, enum err e)
{
	http_watch_free(w);
	close(fd);
	return e;
}

/**
 * http2_add() - Serve a connection whose preface was seen
 * @two:	Server
 * @fd:		Owned from here on
 * @w:		A stopped watch of it, owned from here on, or NULL
 *
 * Return: ERR_OK; ERR_LIMIT when there are too many; ERR_MEMORY.
 */
enum err http2_add(struct http2 *two, int fd, struct http_watch *w)
{
	struct http2_connection *c;

	if (two->count >= HTTP2_CONNECTIONS_MAX)
		return refuse(fd, w, ERR_LIMIT);
	c = calloc(1, sizeof(*c));
	if (c && !w)
		w = http_watch_new(two->http->loop, fd);
	if (!c || !w) {
		free(c);
		return refuse(fd, w, ERR_MEMORY);
	}
	c->two = two;
	c->http = two->http;
	c->watch = w;
	w->poll.data = c;
	c->fd = fd;
	c->idle_ns = c->moved_ns = uv_hrtime();
	LIST_INIT(&c->streams);
	buf_init(&c->out, HTTP2_OUT_BYTES + FRAME_MAX_BYTES);
	if (begin_session(c) != ERR_OK) {
		nghttp2_session_del(c->session);
		free(c);
		return refuse(fd, w, ERR_MEMORY);
	}
	LIST_INSERT_HEAD(&two->connections, c, next);
	two->count++;
	two->http->n_connections++;
	flush(c);
	return ERR_OK;
}

static bool is_over(uint64_t now_ns, uint64_t since_ns, uint64_t max_ns)
{
	return now_ns > since_ns && now_ns - since_ns > max_ns;
}

/* True when it must be closed at once. */
static bool is_late(struct http2_connection *c, uint64_t now_ns)
{
	if (pending(c) && is_over(now_ns, c->moved_ns, HTTP_STALL_MAX_NS))
		return true;
	if (c->n_streams || !is_over(now_ns, c->idle_ns, HTTP_IDLE_MAX_NS))
		return false;
	if (c->ending)
		return true;
	c->ending = true;
	http2_want_flush(c);
	return nghttp2_session_terminate_session(c->session,
						 NGHTTP2_NO_ERROR) != 0;
}

/**
 * http2_tick() - Enforce deadlines; call about once a second
 * @two:	Server
 * @now_ns:	uv_hrtime()
 */
void http2_tick(struct http2 *two, uint64_t now_ns)
{
	bool second = now_ns - two->second_ns >= UINT64_C(900000000);
	struct http2_connection *c, *after;

	if (second)
		two->second_ns = now_ns;
	for (c = LIST_FIRST(&two->connections); c; c = after) {
		after = LIST_NEXT(c, next);
		if (second) {
			forgive(c);
			http2_streams_tick(c);
		}
		if (c->fault != NGHTTP2_NO_ERROR)
			end_with_fault(c);
		else if (is_late(c, now_ns))
			close_connection(c);
	}
}

static enum err set_up(struct http2 *two)
{
	unsigned type;

	if (nghttp2_session_callbacks_new(&two->callbacks) != 0 ||
	    nghttp2_option_new(&two->option) != 0)
		return ERR_MEMORY;
	nghttp2_session_callbacks_set_send_callback(two->callbacks, on_send);
	nghttp2_session_callbacks_set_send_data_callback(two->callbacks,
							 on_send_data);
	http2_stream_set_callbacks(two->callbacks);
	nghttp2_option_set_no_closed_streams(two->option, 1);
	nghttp2_option_set_max_continuations(two->option,
					     HTTP2_CONTINUATIONS_MAX);
	nghttp2_option_set_max_settings(two->option, HTTP2_SETTINGS_MAX);
	nghttp2_option_set_max_outbound_ack(two->option, HTTP2_ACKS_MAX);
	nghttp2_option_set_stream_reset_rate_limit(two->option,
						   HTTP2_RESETS_MAX,
						   HTTP2_RESETS_PER_SECOND);
	/* Types that nobody here knows are counted, too. */
	for (type = NGHTTP2_ALTSVC; type <= UINT8_MAX; type++)
		nghttp2_option_set_user_recv_extension_type(two->option,
							    (uint8_t)type);
	return ERR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct http2 *two = handle->data;

	if (--two->handles == 0)
		free(two);
}

/**
 * http2_new() - Prepare to serve HTTP/2
 * @h:		Server
 * @ret_two:	Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS.
 */
enum err http2_new(struct http *h, struct http2 **ret_two)
{
	struct http2 *two = calloc(1, sizeof(*two));

	if (!two)
		return ERR_MEMORY;
	two->http = h;
	LIST_INIT(&two->connections);
	LIST_INIT(&two->dirty);
	(void)uv_timer_init(h->loop, &two->timer);
	(void)uv_check_init(h->loop, &two->check);
	two->timer.data = two;
	two->check.data = two;
	two->handles = 2;
	if (set_up(two) != ERR_OK ||
	    uv_check_start(&two->check, on_check) != 0) {
		http2_free(two);
		return ERR_MEMORY;
	}
	*ret_two = two;
	return ERR_OK;
}

/** http2_free() - Close every connection; handlers get their last call */
void http2_free(struct http2 *two)
{
	struct http2_connection *c;

	if (!two)
		return;
	while ((c = LIST_FIRST(&two->connections)))
		close_connection(c);
	nghttp2_session_callbacks_del(two->callbacks);
	nghttp2_option_del(two->option);
	uv_close((uv_handle_t *)&two->check, on_handle_closed);
	uv_close((uv_handle_t *)&two->timer, on_handle_closed);
}
