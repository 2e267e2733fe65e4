/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1.c - the guest's HTTP/1.1 connections, on libmicrohttpd and libuv
 *
 * Runs in: kenaz-gate.
 * Trusts:  libmicrohttpd to split requests; not to check them.
 * Never:   listens, opens a socket, decodes a path.
 *
 * Theory of operation. The library's daemon has no listening socket; streams
 * are added as they come from the device. Its epoll descriptor is polled by
 * our loop. A request is read whole, then its connection is suspended until
 * there is an answer; a streamed response is suspended whenever there is
 * nothing to write. The library does not notice that a client left while its
 * connection is suspended, so a poll of our own on the same socket does. It
 * lasts as long as the connection, because to begin and end that for each
 * request costs more system calls than the request.
 */
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "engine/base/log.h"
#include "engine/gate/http_wire.h"
#include "engine/proto/attrs.h"

#define RUNS_PER_TURN        8
#define TIMER_MAX_MS         1000u
#define POOL_BYTES           8192u /* headers and one write, each */
#define CALLBACK_BLOCK_BYTES 256u  /* unused with chunked encoding */

/* A connection; its request, if any, has deadlines of its own. */
struct peer {
	LIST_ENTRY(peer) next;
	struct http_watch *watch;
	struct http_request *request; /* the one that waits, or NULL */
	int fd;
	bool busy, stopped;
	uint64_t idle_ns; /* since when */
};

/* The common part is the first: a pointer to it is one to the whole. */
struct http1_request {
	struct http_request r;
	struct MHD_Connection *connection;
	struct MHD_Response *response;
	bool suspended;
};

struct http1 {
	uv_poll_t poll;
	uv_timer_t timer;
	uv_idle_t soon; /* the library wants its next turn at once */
	uv_check_t check;
	struct MHD_Daemon *daemon;
	struct http *http;
	LIST_HEAD(peer_list, peer) peers;
	struct http_watch *adding; /* of the connection that is added */
	bool again;                /* the library has something to do */
	int handles;
};

static void run(struct http1 *one);

static struct http1_request *own(struct http_request *r)
{
	return (struct http1_request *)r;
}

static void on_timer(uv_timer_t *timer)
{
	run(timer->data);
}

static void on_soon(uv_idle_t *idle)
{
	run(idle->data);
}

/*
 * Not by a timer of no time: libuv runs one that a timer starts in the same
 * turn, for ever, while a guest sends faster than the library works.
 */
static void want_turn(struct http1 *one)
{
	(void)uv_timer_stop(&one->timer);
	(void)uv_idle_start(&one->soon, on_soon);
}

/* Lets the library work; only ever called by the loop. */
static void run(struct http1 *one)
{
	MHD_UNSIGNED_LONG_LONG wait_ms;
	unsigned turns = 0;

	do {
		one->again = false;
		if (MHD_run(one->daemon) != MHD_YES)
			log_error("libmicrohttpd: run failed");
	} while (one->again && ++turns < RUNS_PER_TURN);
	if (MHD_get_timeout(one->daemon, &wait_ms) != MHD_YES ||
	    wait_ms > TIMER_MAX_MS)
		wait_ms = TIMER_MAX_MS;
	if (one->again || wait_ms == 0) {
		want_turn(one);
		return;
	}
	(void)uv_idle_stop(&one->soon);
	(void)uv_timer_start(&one->timer, on_timer, wait_ms, 0);
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
	struct http1 *one = check->data;

	if (one->again)
		run(one);
}

/* The loop must not sleep before on_check() ran. */
static void want_run(struct http1 *one)
{
	if (one->again)
		return;
	one->again = true;
	want_turn(one);
}

static int socket_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection,
					MHD_CONNECTION_INFO_CONNECTION_FD);

	return info ? info->connect_fd : -1;
}

static void suspend(struct http1_request *x)
{
	x->suspended = true;
	MHD_suspend_connection(x->connection);
}

static void wake(struct http_request *r)
{
	struct http1_request *x = own(r);

	if (x->suspended) {
		x->suspended = false;
		MHD_resume_connection(x->connection);
	}
	want_run(r->http->one);
}

static void drop(struct http_request *r)
{
	int fd = socket_of(own(r)->connection);

	if (fd >= 0)
		(void)shutdown(fd, SHUT_RDWR);
	wake(r);
}

/* --- hanging up --------------------------------------------------------- */

static void on_hangup(uv_poll_t *poll, int status, int events)
{
	struct peer *p = poll->data;
	struct http_request *r = p->request;

	if (status == 0 && !(events & UV_DISCONNECT))
		return;
	/* Between requests the library sees the end by itself. */
	(void)uv_poll_stop(poll);
	p->stopped = true;
	if (!r)
		return;
	p->request = NULL;
	r->hung_up = r->broken = true;
	drop(r);
}

static void watch(struct peer *p)
{
	p->stopped =
		uv_poll_start(&p->watch->poll, UV_DISCONNECT, on_hangup) != 0;
}

/* --- connections -------------------------------------------------------- */

static struct peer *peer_of(struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection,
					MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void stop_hangup(struct http1_request *x)
{
	struct peer *p = peer_of(x->connection);

	if (p && p->request == &x->r)
		p->request = NULL;
}

static void start_hangup(struct http1_request *x)
{
	struct peer *p = peer_of(x->connection);

	if (!p || !p->watch)
		return;
	p->request = &x->r;
	/* It ended its side before the request was read: say so again. */
	if (p->stopped)
		watch(p);
}

static struct peer *peer_new(struct http1 *one,
			     struct MHD_Connection *connection)
{
	struct peer *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->fd = socket_of(connection);
	p->idle_ns = uv_hrtime();
	p->watch = one->adding;
	one->adding = NULL;
	if (!p->watch)
		p->watch = http_watch_new(one->http->loop, p->fd);
	if (p->watch) {
		p->watch->poll.data = p;
		watch(p);
	}
	LIST_INSERT_HEAD(&one->peers, p, next);
	return p;
}

/* The library's own timeout takes a clock that steps back for its end. */
static void on_connection(void *context, struct MHD_Connection *connection,
			  void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http1 *one = context;
	struct peer *p = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		one->http->n_connections++;
		*socket_context = peer_new(one, connection);
		return;
	}
	one->http->n_connections--;
	if (!p)
		return;
	LIST_REMOVE(p, next);
	http_watch_free(p->watch);
	free(p);
	*socket_context = NULL;
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

static enum err answer(struct http_request *r, struct span headers,
		       struct buf *body);
static enum err begin(struct http_request *r, struct span headers);

static const struct http_wire wire = {answer, begin, wake, drop};

static void *on_uri(void *context, const char *uri,
		    struct MHD_Connection *connection)
{
	struct http1 *one = context;
	struct http1_request *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->r.uri = strdup(uri);
	if (!x->r.uri) {
		free(x);
		return NULL;
	}
	x->connection = connection;
	http_request_init(one->http, &x->r, &wire);
	set_busy(connection, true);
	return x;
}

static void on_completed(void *context, struct MHD_Connection *connection,
			 void **request, enum MHD_RequestTerminationCode code)
{
	struct http1_request *x = *request;

	(void)context;
	set_busy(connection, false);
	if (!x)
		return;
	*request = NULL;
	stop_hangup(x);
	http_request_fini(&x->r, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
	if (x->response)
		MHD_destroy_response(x->response);
	free(x);
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

static enum MHD_Result queue(struct http1_request *x)
{
	x->r.moved_ns = uv_hrtime();
	return MHD_queue_response(x->connection, x->r.status, x->response);
}

/* Refused by its head: what was not read must not be taken for another. */
static enum MHD_Result refuse(struct http1_request *x)
{
	http_request_give(&x->r);
	if (!x->response)
		return MHD_NO;
	(void)MHD_add_response_header(x->response, "Connection", "close");
	return queue(x);
}

static enum MHD_Result take_body(struct http1_request *x, const char *data,
				 size_t *len)
{
	if (http_request_body(&x->r, span_of(data, *len)) != ERR_OK)
		return MHD_NO;
	*len = 0;
	return MHD_YES;
}

static enum MHD_Result on_access(void *context,
				 struct MHD_Connection *connection,
				 const char *url, const char *method,
				 const char *version, const char *upload_data,
				 size_t *upload_len, void **request)
{
	struct http1_request *x = *request;

	(void)context;
	(void)url;
	(void)version;
	if (!x)
		return MHD_NO;
	if (!x->r.head_checked) {
		(void)MHD_get_connection_values_n(connection, MHD_HEADER_KIND,
						  on_header, &x->r);
		http_request_check(&x->r, method);
		return x->r.head.refusal.status ? refuse(x) : MHD_YES;
	}
	if (*upload_len)
		return take_body(x, upload_data, upload_len);
	if (x->r.broken)
		return MHD_NO;
	if (!x->r.given) {
		http_request_give(&x->r);
		if (!x->response)
			start_hangup(x);
	}
	if (x->response)
		return queue(x);
	suspend(x);
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

static enum err set_response(struct http_request *r, struct span headers,
			     struct MHD_Response *response)
{
	if (!response)
		return ERR_MEMORY;
	add_headers(response, headers);
	own(r)->response = response;
	wake(r);
	return ERR_OK;
}

static enum err answer(struct http_request *r, struct span headers,
		       struct buf *body)
{
	size_t len = body->len_bytes;
	void *data = body->data;
	struct MHD_Response *response;

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
	return set_response(r, headers, response);
}

static ssize_t on_read(void *context, uint64_t position, char *to, size_t max)
{
	struct http_request *r = context;
	struct span out = http_request_out(r);
	size_t len = out.len_bytes < max ? out.len_bytes : max;

	(void)position;
	if (r->broken)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (len == 0 && r->ended)
		return MHD_CONTENT_READER_END_OF_STREAM;
	if (len == 0) {
		suspend(own(r));
		return 0;
	}
	memcpy(to, out.data, len);
	http_request_sent(r, len);
	return (ssize_t)len;
}

static enum err begin(struct http_request *r, struct span headers)
{
	return set_response(r, headers,
			    MHD_create_response_from_callback(
				    MHD_SIZE_UNKNOWN, CALLBACK_BLOCK_BYTES,
				    on_read, r, NULL));
}

/* --- the whole ---------------------------------------------------------- */

static struct MHD_Daemon *start_daemon(struct http1 *one)
{
	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET |
			MHD_ALLOW_SUSPEND_RESUME |
			MHD_USE_SUPPRESS_DATE_NO_CLOCK,
		0, NULL, NULL, on_access, one, MHD_OPTION_URI_LOG_CALLBACK,
		on_uri, one, MHD_OPTION_NOTIFY_COMPLETED, on_completed, one,
		MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, one,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
		MHD_OPTION_CONNECTION_MEMORY_INCREMENT, (size_t)4096,
		MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

/**
 * http1_new() - Prepare to serve HTTP/1.1
 * @h:		Server
 * @ret_one:	Owned by the caller
 *
 * Return: ERR_OK; ERR_MEMORY; ERR_SYS when the library does not start.
 */
enum err http1_new(struct http *h, struct http1 **ret_one)
{
	const union MHD_DaemonInfo *info;
	struct http1 *one = calloc(1, sizeof(*one));

	if (!one)
		return ERR_MEMORY;
	one->http = h;
	LIST_INIT(&one->peers);
	one->daemon = start_daemon(one);
	info = one->daemon ? MHD_get_daemon_info(one->daemon,
						 MHD_DAEMON_INFO_EPOLL_FD)
			   : NULL;
	if (!info || uv_poll_init(h->loop, &one->poll, info->epoll_fd) != 0) {
		if (one->daemon)
			MHD_stop_daemon(one->daemon);
		free(one);
		return ERR_SYS;
	}
	one->poll.data = one;
	(void)uv_timer_init(h->loop, &one->timer);
	(void)uv_check_init(h->loop, &one->check);
	one->timer.data = one;
	(void)uv_idle_init(h->loop, &one->soon);
	one->soon.data = one;
	one->check.data = one;
	one->handles = 4;
	if (uv_poll_start(&one->poll, UV_READABLE, on_poll) != 0 ||
	    uv_check_start(&one->check, on_check) != 0) {
		http1_free(one);
		return ERR_SYS;
	}
	*ret_one = one;
	return ERR_OK;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct http1 *one = handle->data;

	if (--one->handles == 0)
		free(one);
}

/** http1_free() - Close every connection; handlers get their last call */
void http1_free(struct http1 *one)
{
	struct http_request *r;

	if (!one)
		return;
	/* The library does not stop with a suspended connection. */
	for (r = LIST_FIRST(&one->http->requests); r; r = LIST_NEXT(r, next)) {
		if (r->wire != &wire)
			continue;
		r->broken = true;
		wake(r);
	}
	MHD_stop_daemon(one->daemon);
	uv_close((uv_handle_t *)&one->check, on_handle_closed);
	uv_close((uv_handle_t *)&one->poll, on_handle_closed);
	uv_close((uv_handle_t *)&one->timer, on_handle_closed);
	uv_close((uv_handle_t *)&one->soon, on_handle_closed);
}

/**
 * http1_add() - Serve a connection
 * @one:	Server
 * @fd:		Owned from here on
 * @w:		A stopped watch of it, owned from here on, or NULL
 *
 * Return: ERR_OK; ERR_LIMIT when there are too many; ERR_SYS.
 */
enum err http1_add(struct http1 *one, int fd, struct http_watch *w)
{
	struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
	enum MHD_Result added;
	int why;

	one->adding = w;
	/* The library closes the descriptor when it refuses. */
	added = MHD_add_connection(one->daemon, fd, (struct sockaddr *)&unnamed,
				   sizeof(unnamed));
	why = errno;
	http_watch_free(one->adding);
	one->adding = NULL;
	if (added != MHD_YES)
		return why == ENFILE || why == ENOMEM ? ERR_LIMIT : ERR_SYS;
	want_run(one);
	return ERR_OK;
}

/** http1_tick() - Close connections that ask nothing */
void http1_tick(struct http1 *one, uint64_t now_ns)
{
	struct peer *p;

	for (p = LIST_FIRST(&one->peers); p; p = LIST_NEXT(p, next)) {
		if (!p->busy && now_ns > p->idle_ns &&
		    now_ns - p->idle_ns > HTTP_IDLE_MAX_NS)
			(void)shutdown(p->fd, SHUT_RDWR);
	}
}
