/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.c - the guest's HTTP connections, on libmicrohttpd and libuv
 *
 * Runs in: kenaz-gate.
 * Trusts:  libmicrohttpd to split requests; not to check them.
 * Never:   listens, opens a socket, decodes a path.
 *
 * Theory of operation. The library's daemon has no listening socket; streams
 * are added as they come from the device. Its epoll descriptor is polled by
 * our loop. A request is read whole, then its connection is suspended until
 * http_answer() or http_begin(); a streamed response is suspended whenever
 * there is nothing to write. The library does not notice that a client left
 * while its connection is suspended, so a poll of our own on the same socket
 * does. A half-closed connection counts as left: over the shim in the guest
 * there is no other sign of a client that died.
 */
#include "engine/gate/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/proto/attrs.h"

#define RUNS_PER_TURN          8
#define TIMER_MAX_MS           1000u
#define BODY_DISCARD_MAX_BYTES (2 * (uint64_t)BODY_MAX_BYTES)
#define CALLBACK_BLOCK_BYTES   256u /* unused with chunked encoding */

/* A connection; its request, if any, has deadlines of its own. */
struct peer {
	LIST_ENTRY(peer) next;
	struct hangup *hangup;
	int fd;
	bool busy;
	uint64_t idle_ns; /* since when */
};

struct http {
	uv_poll_t poll;
	uv_timer_t timer;
	uv_check_t check;
	struct MHD_Daemon *daemon;
	const char *const *forwarded;
	struct http_handler handler;
	void *context;
	LIST_HEAD(request_list, http_request) requests;
	LIST_HEAD(peer_list, peer) peers;
	size_t bodies_bytes;
	bool again; /* the library has something to do */
	int handles;
};

/*
 * Watches a connection all its life, because to begin and end that for each
 * request costs more system calls than the request. Lives until libuv has
 * closed its handle.
 */
struct hangup {
	uv_poll_t poll;
	struct http_request *request; /* the one that runs, or NULL */
	bool stopped;
};

static void run(struct http *h);

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

/* Lets the library work; only ever called by the loop. */
static void run(struct http *h)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;
	unsigned turns = 0;

	do {
		h->again = false;
		if (MHD_run(h->daemon) != MHD_YES)
			log_error("libmicrohttpd: run failed");
	} while (h->again && ++turns < RUNS_PER_TURN);
	if (MHD_get_timeout(h->daemon, &wait_ms) != MHD_YES ||
	    wait_ms > TIMER_MAX_MS)
		wait_ms = TIMER_MAX_MS;
	if (h->again)
		wait_ms = 0;
	(void)uv_timer_start(&h->timer, on_timer, wait_ms, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	run(poll->data);
}

/*
 * After the turn's events: what was written goes out, and what the library
 * makes of it reaches the channels before the loop sleeps.
 */
static void on_check(uv_check_t *check)
{
	struct http *h = check->data;

	if (h->again)
		run(h);
}

/* The loop must not sleep before on_check() ran. */
static void want_run(struct http *h)
{
	if (h->again)
		return;
	h->again = true;
	(void)uv_timer_start(&h->timer, on_timer, 0, 0);
}

static int socket_of(const struct http_request *r)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(r->connection,
					MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

static void suspend(struct http_request *r)
{
	r->suspended = true;
	MHD_suspend_connection(r->connection);
}

static void wake(struct http_request *r)
{
	if (r->suspended) {
		r->suspended = false;
		MHD_resume_connection(r->connection);
	}
	want_run(r->http);
}

/* --- hanging up --------------------------------------------------------- */

static void on_hangup_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void drop(struct http_request *r)
{
	int fd = socket_of(r);

	r->broken = true;
	if (fd >= 0)
		(void)shutdown(fd, SHUT_RDWR);
	wake(r);
}

static void on_hangup(uv_poll_t *poll, int status, int events)
{
	struct hangup *g = poll->data;
	struct http_request *r = g->request;

	if (status == 0 && !(events & UV_DISCONNECT))
		return;
	/* Between requests the library sees the end by itself. */
	(void)uv_poll_stop(poll);
	g->stopped = true;
	if (!r)
		return;
	g->request = NULL;
	r->hung_up = true;
	drop(r);
}

static struct hangup *hangup_new(uv_loop_t *loop, int fd)
{
	struct hangup *g = calloc(1, sizeof(*g));

	if (!g || uv_poll_init(loop, &g->poll, fd) != 0) {
		free(g);
		return NULL;
	}
	g->poll.data = g;
	g->stopped = uv_poll_start(&g->poll, UV_DISCONNECT, on_hangup) != 0;
	return g;
}

static void hangup_close(struct hangup *g)
{
	if (!g)
		return;
	(void)uv_poll_stop(&g->poll);
	g->request = NULL;
	uv_close((uv_handle_t *)&g->poll, on_hangup_closed);
}

/* --- connections -------------------------------------------------------- */

static struct peer *peer_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection,
					MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void stop_hangup(struct http_request *r)
{
	struct peer *p = peer_of(r->connection);

	if (p && p->hangup && p->hangup->request == r)
		p->hangup->request = NULL;
}

static void start_hangup(struct http_request *r)
{
	struct peer *p = peer_of(r->connection);

	if (!p || !p->hangup)
		return;
	p->hangup->request = r;
	/* It ended its side before the request was read: say so again. */
	if (p->hangup->stopped)
		p->hangup->stopped =
			uv_poll_start(&p->hangup->poll, UV_DISCONNECT,
				      on_hangup) != 0;
}

/* The library's own timeout takes a clock that steps back for its end. */
static void on_connection(void *context, struct MHD_Connection *connection,
			  void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection,
					MHD_CONNECTION_INFO_CONNECTION_FD);
	struct http *h = context;
	struct peer *p = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED && info) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return;
		p->fd = info->connect_fd;
		p->idle_ns = uv_hrtime();
		p->hangup = hangup_new(h->poll.loop, p->fd);
		LIST_INSERT_HEAD(&h->peers, p, next);
		*socket_context = p;
	} else if (code == MHD_CONNECTION_NOTIFY_CLOSED && p) {
		LIST_REMOVE(p, next);
		hangup_close(p->hangup);
		free(p);
		*socket_context = NULL;
	}
}

static void set_busy(struct MHD_Connection *connection, bool busy)
{
	struct peer *p = peer_of(connection);

	if (!p)
		return;
	p->busy = busy;
	p->idle_ns = uv_hrtime();
}

/* --- requests ----------------------------------------------------------- */

static void *on_uri(void *context, const char *uri,
		    struct MHD_Connection *connection)
{
	struct http *h = context;
	struct http_request *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->uri = strdup(uri);
	if (!r->uri) {
		free(r);
		return NULL;
	}
	r->http = h;
	r->connection = connection;
	r->moved_ns = uv_hrtime();
	http_head_init(&r->head);
	buf_init(&r->body, BODY_MAX_BYTES);
	buf_init(&r->out, HTTP_OUT_MAX_BYTES);
	LIST_INSERT_HEAD(&h->requests, r, next);
	set_busy(connection, true);
	return r;
}

static void uncount_body(struct http_request *r)
{
	r->http->bodies_bytes -= r->body_counted_bytes;
	r->body_counted_bytes = 0;
}

/** http_drop_body() - The body is no longer needed: give its memory back */
void http_drop_body(struct http_request *r)
{
	uncount_body(r);
	buf_fini(&r->body);
}

static void on_completed(void *context, struct MHD_Connection *connection,
			 void **request, enum MHD_RequestTerminationCode code)
{
	struct http *h = context;
	struct http_request *r = *request;

	set_busy(connection, false);
	if (!r)
		return;
	*request = NULL;
	stop_hangup(r);
	if (r->given)
		h->handler.on_gone(
			h->context, r,
			code == MHD_REQUEST_TERMINATED_COMPLETED_OK &&
				!r->broken && !r->hung_up);
	LIST_REMOVE(r, next);
	uncount_body(r);
	if (r->response)
		MHD_destroy_response(r->response);
	http_head_fini(&r->head);
	buf_fini(&r->body);
	buf_fini(&r->out);
	free(r->uri);
	free(r);
}

static enum MHD_Result on_header(void *context, enum MHD_ValueKind kind,
				 const char *key, size_t key_len,
				 const char *value, size_t value_len)
{
	struct http_request *r = context;

	(void)kind;
	http_head_add(&r->head, span_of(key, key_len),
		      span_of(value, value ? value_len : 0),
		      r->http->forwarded);
	return MHD_YES;
}

static void check_head(struct http_request *r, const char *method)
{
	struct http_refusal refusal;

	r->head_checked = true;
	refusal = http_head_target(method, r->uri, &r->target);
	(void)MHD_get_connection_values_n(r->connection, MHD_HEADER_KIND,
					  on_header, r);
	http_head_finish(&r->head, method);
	http_head_settle(&r->head, &r->target);
	if (refusal.status)
		r->head.refusal = refusal;
}

static enum MHD_Result queue(struct http_request *r)
{
	r->moved_ns = uv_hrtime();
	return MHD_queue_response(r->connection, r->status, r->response);
}

/* Refused by its head: what was not read must not be taken for another. */
static enum MHD_Result refuse(struct http_request *r)
{
	r->given = true;
	r->http->handler.on_request(r->http->context, r);
	if (!r->response)
		return MHD_NO;
	(void)MHD_add_response_header(r->response, "Connection", "close");
	return queue(r);
}

static enum MHD_Result take_body(struct http_request *r, const char *data,
				 size_t *len)
{
	struct http *h = r->http;
	struct http_refusal *refusal = &r->head.refusal;
	enum err e = ERR_OK;

	r->body_seen_bytes += *len;
	if (r->body_seen_bytes > BODY_DISCARD_MAX_BYTES)
		return MHD_NO;
	if (refusal->status == 0 && h->bodies_bytes > HTTP_BODIES_MAX_BYTES)
		*refusal = (struct http_refusal){
			529, "the session has too many bytes under way"};
	if (refusal->status == 0)
		e = buf_put(&r->body, data, *len);
	if (e == ERR_LIMIT)
		*refusal =
			(struct http_refusal){413,
					      "the body is larger than 32 MiB"};
	else if (e != ERR_OK)
		return MHD_NO;
	if (refusal->status) {
		http_drop_body(r);
	} else {
		h->bodies_bytes += r->body.cap_bytes - r->body_counted_bytes;
		r->body_counted_bytes = r->body.cap_bytes;
	}
	*len = 0;
	return MHD_YES;
}

static enum MHD_Result on_access(void *context,
				 struct MHD_Connection *connection,
				 const char *url, const char *method,
				 const char *version, const char *upload_data,
				 size_t *upload_len, void **request)
{
	struct http *h = context;
	struct http_request *r = *request;

	(void)connection;
	(void)url;
	(void)version;
	if (!r)
		return MHD_NO;
	if (!r->head_checked) {
		check_head(r, method);
		return r->head.refusal.status ? refuse(r) : MHD_YES;
	}
	if (*upload_len)
		return take_body(r, upload_data, upload_len);
	if (r->broken)
		return MHD_NO;
	if (!r->given) {
		r->given = true;
		h->handler.on_request(h->context, r);
		if (!r->response)
			start_hangup(r);
	}
	if (r->response)
		return queue(r);
	suspend(r);
	return MHD_YES;
}

/* --- responses ---------------------------------------------------------- */

static void add_headers(struct MHD_Response *response, struct span headers)
{
	struct reader reader;
	struct attr a;
	char name[ATTR_KEY_MAX_BYTES + 1], value[1024];

	reader_init(&reader, headers);
	while (attrs_next(&reader, &a)) {
		if (a.type != ATTR_TEXT ||
		    span_copy_text(a.key, name, sizeof(name)) != ERR_OK ||
		    span_copy_text(a.text, value, sizeof(value)) != ERR_OK)
			continue;
		/* The library refuses names and values with line ends. */
		if (MHD_add_response_header(response, name, value) != MHD_YES)
			log_debug("a response header was left out");
	}
}

static enum err set_response(struct http_request *r, unsigned status,
			     struct span headers, struct MHD_Response *response)
{
	if (!response)
		return ERR_MEMORY;
	add_headers(response, headers);
	r->response = response;
	r->status = status;
	wake(r);
	return ERR_OK;
}

/**
 * http_answer() - Answer a request with a whole body
 * @r:		Request without an answer
 * @status:	HTTP status
 * @headers:	attrs.h texts, borrowed
 * @body:	Taken over; empty afterwards
 *
 * Return: ERR_OK; ERR_STATE when it was answered already; ERR_MEMORY.
 */
enum err http_answer(struct http_request *r, unsigned status,
		     struct span headers, struct buf *body)
{
	size_t len = body->len_bytes;
	void *data = body->data;
	struct MHD_Response *response;

	if (r->response)
		return ERR_STATE;
	if (len) {
		*body = (struct buf){.max_bytes = body->max_bytes};
		response =
			MHD_create_response_from_buffer(len, data,
							MHD_RESPMEM_MUST_FREE);
		if (!response)
			free(data);
	} else {
		static char nothing[1];

		response =
			MHD_create_response_from_buffer(0, nothing,
							MHD_RESPMEM_PERSISTENT);
	}
	return set_response(r, status, headers, response);
}

static ssize_t on_read(void *context, uint64_t position, char *to, size_t max)
{
	struct http_request *r = context;
	size_t len = r->out.len_bytes - r->out_at;
	size_t before = len;

	(void)position;
	if (r->broken)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (len == 0 && r->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (len == 0) {
		suspend(r);
		return 0;
	}
	if (len > max)
		len = max;
	memcpy(to, r->out.data + r->out_at, len);
	r->out_at += len;
	r->moved_ns = uv_hrtime();
	if (r->out_at == r->out.len_bytes) {
		/* Idle streams are many: keep no memory for them. */
		buf_fini(&r->out);
		r->out_at = 0;
	}
	if (before > HTTP_OUT_LOW_BYTES && before - len <= HTTP_OUT_LOW_BYTES)
		r->http->handler.on_drained(r->http->context, r);
	return (ssize_t)len;
}

/**
 * http_begin() - Start a response whose body follows with http_write()
 * @r:		Request without an answer
 * @status:	HTTP status
 * @headers:	attrs.h texts, borrowed
 *
 * Return: ERR_OK; ERR_STATE; ERR_MEMORY.
 */
enum err http_begin(struct http_request *r, unsigned status,
		    struct span headers)
{
	if (r->response)
		return ERR_STATE;
	r->streaming = true;
	r->moved_ns = uv_hrtime();
	return set_response(r, status, headers,
			    MHD_create_response_from_callback(
				    MHD_SIZE_UNKNOWN, CALLBACK_BLOCK_BYTES,
				    on_read, r, NULL));
}

/**
 * http_write() - Append to a streamed response's body
 * @r:		Request after http_begin()
 * @bytes:	Borrowed
 *
 * Return: ERR_OK; ERR_LIMIT; ERR_MEMORY.
 */
enum err http_write(struct http_request *r, struct span bytes)
{
	enum err e = ERR_OK;

	if (bytes.len_bytes == 0)
		return ERR_OK;
	if (http_pending_bytes(r) == 0)
		r->moved_ns = uv_hrtime();
	if (r->out_at > HTTP_OUT_LOW_BYTES) {
		buf_consume(&r->out, r->out_at);
		r->out_at = 0;
	}
	e = buf_put_span(&r->out, bytes);
	if (e == ERR_OK)
		wake(r);
	return e;
}

/** http_pending_bytes() - What the guest did not read yet */
size_t http_pending_bytes(const struct http_request *r)
{
	return r->out.len_bytes - r->out_at;
}

/** http_end() - A streamed response is complete */
void http_end(struct http_request *r)
{
	r->ended = true;
	wake(r);
}

/** http_break() - Cut the connection */
void http_break(struct http_request *r)
{
	drop(r);
}

/* --- the whole ---------------------------------------------------------- */

/**
 * http_new() - Prepare to serve streams
 * @loop:	Loop
 * @forwarded:	Headers to collect, lower case, NULL-ended; static
 * @handler:	Copied
 * @context:	Borrowed
 * @ret_http:	Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS when the library does not start.
 */
enum err http_new(uv_loop_t *loop, const char *const *forwarded,
		  const struct http_handler *handler, void *context,
		  struct http **ret_http)
{
	const union MHD_DaemonInfo *info;
	struct http *h = calloc(1, sizeof(*h));

	if (!h)
		return ERR_MEMORY;
	h->forwarded = forwarded;
	h->handler = *handler;
	h->context = context;
	LIST_INIT(&h->requests);
	LIST_INIT(&h->peers);
	h->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
			MHD_ALLOW_SUSPEND_RESUME |
			MHD_USE_SUPPRESS_DATE_NO_CLOCK,
		0, NULL, NULL, on_access, h, MHD_OPTION_URI_LOG_CALLBACK,
		on_uri, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
		MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_POOL_BYTES,
		MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)4096,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
	info = h->daemon ? MHD_get_daemon_info(h->daemon,
					       MHD_DAEMON_INFO_EPOLL_FD)
			 : NULL;
	if (!info || uv_poll_init(loop, &h->poll, info->epoll_fd) != 0) {
		if (h->daemon)
			MHD_stop_daemon(h->daemon);
		free(h);
		return ERR_SYS;
	}
	h->poll.data = h;
	(void)uv_timer_init(loop, &h->timer);
	(void)uv_check_init(loop, &h->check);
	h->timer.data = h;
	h->check.data = h;
	h->handles = 3;
	if (uv_poll_start(&h->poll, UV_READABLE, on_poll) != 0 ||
	    uv_check_start(&h->check, on_check) != 0) {
		http_free(h);
		return ERR_SYS;
	}
	*ret_http = h;
	return ERR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct http *h = handle->data;

	if (--h->handles == 0)
		free(h);
}

/** http_free() - Close every connection; handlers get their last call */
void http_free(struct http *h)
{
	struct http_request *r;

	if (!h)
		return;
	/* The library does not stop with a suspended connection. */
	for (r = LIST_FIRST(&h->requests); r; r = LIST_NEXT(r, next)) {
		r->broken = true;
		wake(r);
	}
	MHD_stop_daemon(h->daemon);
	uv_close((uv_handle_t *)&h->check, on_handle_closed);
	uv_close((uv_handle_t *)&h->poll, on_handle_closed);
	uv_close((uv_handle_t *)&h->timer, on_handle_closed);
}

/**
 * http_add() - Serve a connected stream
 * @h:		Server
 * @fd:		Owned from here on
 *
 * Return: ERR_OK; ERR_LIMIT when there are too many; ERR_SYS.
 */
enum err http_add(struct http *h, int fd)
{
	struct sockaddr_un unnamed = {.sun_family = AF_UNIX};

	/* The library closes the descriptor when it refuses. */
	if (MHD_add_connection(h->daemon, fd, (struct sockaddr *)&unnamed,
			       sizeof(unnamed)) != MHD_YES)
		return errno == ENFILE || errno == ENOMEM ? ERR_LIMIT : ERR_SYS;
	want_run(h);
	return ERR_OK;
}

/**
 * http_tick() - Enforce deadlines; call about once a second
 * @h:		Server
 * @now_ns:	uv_hrtime()
 */
void http_tick(struct http *h, uint64_t now_ns)
{
	struct http_request *r;
	struct peer *p;

	for (p = LIST_FIRST(&h->peers); p; p = LIST_NEXT(p, next)) {
		if (!p->busy && now_ns > p->idle_ns &&
		    now_ns - p->idle_ns > HTTP_IDLE_MAX_NS)
			(void)shutdown(p->fd, SHUT_RDWR);
	}

	for (r = LIST_FIRST(&h->requests); r; r = LIST_NEXT(r, next)) {
		uint64_t limit_ns = HTTP_STALL_MAX_NS;

		if (!r->given)
			limit_ns = HTTP_READ_MAX_NS;
		else if (!r->streaming || http_pending_bytes(r) == 0)
			continue;
		if (now_ns > r->moved_ns && now_ns - r->moved_ns > limit_ns)
			drop(r);
	}
}
